"""Teach a vision transformer to name pictures, from digits to a folder of one's own."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from mmfm.data import digits
from mmfm.data.draws import uniform
from mmfm.data.labelled import LabelledPictures, augment, load_labelled
from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadInput, BadRun
from mmfm.machine import pick_device
from mmfm.models.checkpoints import load_vit, save_vit
from mmfm.models.vit import ViT, ViTConfig
from mmfm.recipes import Recipe, check_types
from mmfm.reports import Report, reports
from mmfm.runs import Run, absolute
from mmfm.team import Team, own_device
from mmfm.train import Batch, fit

_HELD_OUT = 0.1  # of data that has no held-out part of its own
_KEEP = 2  # the stream of draws that chooses patches; augmentation has its own


@dataclass(frozen=True, kw_only=True)
class VitRecipe(Recipe):
    """How a vision transformer is taught; [model] has fields of ViTConfig."""

    KIND: ClassVar[str] = "vit"

    label_smoothing: float = 0.0
    keep_patches: float = 1.0  # share of the patches that the model is shown in training

    def __post_init__(self) -> None:
        if not 0 < self.keep_patches <= 1 or not 0 <= self.label_smoothing < 1:
            raise BadInput("keep_patches lies above 0 and up to 1, label_smoothing from 0 up to 1")

    @classmethod
    def check_model(cls, given: Mapping[str, Any]) -> None:
        """Refuse settings that a ViT does not have."""
        check_types("[model]", ViTConfig, given)


def recipe_for(data: str) -> str:
    """The name of the recipe that fits a data set best."""
    known = {"digits": "vit-digits", "mnist": "vit-mnist", "fashion": "vit-mnist"}
    if any(digits.find_idx(Path(data), name) for name in digits.FILES):
        return "vit-mnist"
    return known.get(data, "vit-pictures")


def train_vit(
    data: str,
    out: Path,
    recipe: VitRecipe,
    *,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Start a run in a new folder; yields a report for every step."""
    settings = {"mmfm": 1, "train": "vit", "data": absolute(data), "recipe": recipe.plain()}
    where = own_device(pick_device(device))
    Run.check_new(out)  # before the data, which may take long to come
    pictures, held_out = _load(data, recipe, progress)
    # A recipe that cannot be carried out must not leave a folder behind.
    shown = _Shown(pictures, recipe, _build(recipe, pictures))
    shown.batch(torch.tensor([0]), torch.tensor([0]), recipe.plan.seed)
    with Team.joined(where), Run.start(out, settings) as run:
        yield from _train(run, pictures, held_out, recipe, where, stop)


def resume_vit(
    out: Path,
    *,
    data: str | None = None,
    changes: Mapping[str, Any] | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Go on with a run from its last checkpoint; `changes` may set its end or its threads anew."""
    settings = Run.read_settings(out)
    if data is not None and settings.get("data") != absolute(data):
        raise BadRun(
            f"{out} was trained on {settings.get('data')}, not on {data}; leave out --data"
        )
    where = own_device(pick_device(device))
    with Team.joined(where), Run.resume(out, "vit") as run:
        try:
            recipe = VitRecipe.of(settings["recipe"])
            data = str(settings["data"])
        except (KeyError, TypeError) as error:
            raise BadRun(f"{out}: its run.json is of another version ({error})") from error
        recipe = recipe.changed(changes or {})
        pictures, held_out = _load(data, recipe, progress)
        yield from _train(run, pictures, held_out, recipe, where, stop)


def _load(
    data: str, recipe: VitRecipe, progress: Callable[[int, int], None] | None
) -> tuple[LabelledPictures, LabelledPictures]:
    grey = recipe.model.get("channels") == 1
    pictures, held_out = load_labelled(data, size=recipe.size, grey=grey, progress=progress)
    if held_out is None:
        pictures, held_out = pictures.split(_HELD_OUT, recipe.plan.seed)
    if len(held_out) == 0:
        raise BadInput(
            f"{data}: {len(pictures)} pictures are too few to hold some out; "
            "a class needs at least two"
        )
    return pictures, held_out


def _build(recipe: VitRecipe, pictures: LabelledPictures) -> ViT:
    """The model with its first weights, which the seed decides."""
    height, width, channels = pictures.images.shape[1:]
    half = (0.5,) * channels
    if recipe.start is not None:
        return _begin_with(load_vit(recipe.start), pictures, recipe)
    fixed: dict[str, Any] = {
        "image_size": (height, width),
        "channels": channels,
        "classes": len(pictures.names),
    }
    try:
        config = ViTConfig(**{**recipe.model, **fixed})
    except TypeError as error:
        raise BadInput(f"the recipe's [model] does not fit a ViT ({error})") from error
    model = ViT(config, Preprocessing((height, width), half, half), pictures.names)
    model.reset(torch.Generator().manual_seed(recipe.plan.seed))
    return model


def _begin_with(model: ViT, pictures: LabelledPictures, recipe: VitRecipe) -> ViT:
    """A trained model to go on with; for other classes than its own it gets a fresh head."""
    height, width, channels = pictures.images.shape[1:]
    c = model.config
    if (*c.image_size, c.channels) != (height, width, channels):
        raise BadInput(
            f"{recipe.start} looks at {c.image_size[0]}x{c.image_size[1]} pixels and {c.channels} "
            f"channels, the data has {height}x{width} and {channels}; --size brings it to its size"
        )
    if model.labels == pictures.names:
        return model
    fresh = ViT(replace(c, classes=len(pictures.names)), model.preprocessing, pictures.names)
    heads = ("head.", "distillation_head.")
    kept = {k: v for k, v in model.state_dict().items() if not k.startswith(heads)}
    fresh.load_state_dict(fresh.state_dict() | kept)
    return fresh


def _train(
    run: Run,
    pictures: LabelledPictures,
    held_out: LabelledPictures,
    recipe: VitRecipe,
    device: torch.device,
    stop: Callable[[], bool],
) -> Iterator[Report]:
    model = _build(recipe, pictures)
    averaged = copy.deepcopy(model)
    steps = fit(
        model,
        _Shown(pictures, recipe, model),
        _Loss(recipe.label_smoothing),
        recipe.plan,
        averaged=averaged,
        # Muon takes the matrices inside the blocks; the first and last layer are AdamW's.
        matrices=[
            name
            for name, p in model.named_parameters()
            if name.startswith("blocks.") and p.ndim == 2
        ],
        run=run,
        device=device,
        stop=stop,
    )
    yield from reports(
        steps,
        run,
        measure=lambda count: {"accuracy": accuracy(averaged, held_out, count)},
        held_out=len(held_out),
        save=lambda: save_vit(averaged, run.folder),
        # Both parts of one set that was split name the same files.
        skipped=tuple(dict.fromkeys(pictures.skipped + held_out.skipped)),
    )


class _Shown:
    """The training pictures, varied anew each time they are shown."""

    def __init__(self, pictures: LabelledPictures, recipe: VitRecipe, model: ViT) -> None:
        self.pictures, self.recipe, self.preprocessing = pictures, recipe, model.preprocessing
        self.patches = model.config.grid[0] * model.config.grid[1]
        self.kept = max(1, round(recipe.keep_patches * self.patches))

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, index: Int64[Tensor, " b"], epoch: Int64[Tensor, " b"], seed: int) -> Batch:
        images = self.preprocessing.normalise(self.pictures.images[index])
        batch = {
            "images": augment(images, self.recipe.augment, seed, epoch, index),
            "labels": self.pictures.labels[index],
        }
        if self.kept < self.patches:
            lots = uniform(seed, epoch, index, self.patches, stream=_KEEP)
            batch["keep"] = lots.argsort(dim=1).argsort(dim=1) < self.kept
        return batch


class _Loss:
    """Cross-entropy, of the patches that are shown."""

    def __init__(self, label_smoothing: float) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        keep: Bool[Tensor, "b n"] | None = batch.get("keep")
        logits = model(batch["images"], keep=keep).logits
        return F.cross_entropy(logits, batch["labels"], label_smoothing=self.label_smoothing)


@torch.inference_mode()
def accuracy(model: ViT, pictures: LabelledPictures, count: int | None = None) -> float:
    """The share of pictures that the model names right; `count` of them, spread evenly."""
    device = next(model.parameters()).device
    count = count or len(pictures)
    chosen = torch.linspace(0, len(pictures) - 1, count).round().long()
    right = 0
    for some in chosen.split(250):
        images = model.preprocessing.normalise(pictures.images[some])
        logits = model(images.to(device)).logits
        right += int((logits.argmax(dim=-1).cpu() == pictures.labels[some]).sum())
    return right / count
