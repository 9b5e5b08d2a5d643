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

from mmfm import hub
from mmfm.data import digits
from mmfm.data.augment import augment
from mmfm.data.draws import generator, uniform
from mmfm.data.labelled import KNOWN, LabelledPictures, described, load_labelled
from mmfm.data.mixture import Mixture, load_mixture
from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadInput
from mmfm.machine import pick_device
from mmfm.models.checkpoints import load_clip, load_vit, save_vit, vit_from, vit_settings
from mmfm.models.clip import CLIP
from mmfm.models.vit import ViT, ViTConfig
from mmfm.recipes import Recipe, check_types
from mmfm.reports import Report, reports
from mmfm.runs import Run, absolute, of_another_version
from mmfm.team import Team, own_device
from mmfm.train import Batch, Examples, fit

_BEGINNINGS = "a run of mmfm train vit or train clip"
_HELD_OUT = 0.1  # of data that has no held-out part of its own
_KEEP = 2  # the stream of draws that chooses patches; augmentation has its own

_Pictures = LabelledPictures | Mixture  # a mixture has its held-out pictures with it


@dataclass(frozen=True, kw_only=True)
class VitRecipe(Recipe):
    """How a vision transformer is taught; [model] has fields of ViTConfig."""

    KIND: ClassVar[str] = "vit"
    MIXES: ClassVar[bool] = True

    label_smoothing: float = 0.0
    keep_patches: float = 1.0  # share of the patches that the model is shown in training
    only_head: bool = False  # the rest stays as it is in the model that is begun with

    def __post_init__(self) -> None:
        if not 0 < self.keep_patches <= 1 or not 0 <= self.label_smoothing < 1:
            raise BadInput("keep_patches lies above 0 and up to 1, label_smoothing from 0 up to 1")

    @classmethod
    def check_model(cls, given: Mapping[str, Any]) -> None:
        """Refuse settings that a ViT does not have."""
        check_types("[model]", ViTConfig, given)

    def check_beginning(self) -> None:
        """Refuse what begins with nothing; a head alone needs a trained model below it."""
        if self.only_head and self.start is None:
            raise BadInput(
                "only_head learns on top of a trained model: name one, --start clip-nano"
            )
        super().check_beginning()


def recipe_for(data: str) -> str:
    """The name of the recipe that fits a data set best."""
    known = {"digits": "vit-digits", "mnist": "vit-mnist", "fashion": "vit-mnist"}
    if data not in known and any(digits.find_idx(Path(data), name) for name in digits.FILES):
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
    where = own_device(pick_device(device))
    recipe.check_beginning()  # before the data, which may take long to come
    Run.check_new(out)
    begun = recipe.begun(_tower, _BEGINNINGS)
    pictures, held_out = _load(data, recipe, progress)
    # A recipe that cannot be carried out must not leave a folder behind.
    model, one = _build(recipe, pictures, begun), torch.tensor([0])
    _shown(pictures, recipe, model, torch.device("cpu")).batch(one, one, recipe.plan.seed)
    settings = {
        "mmfm": 1,
        "train": "vit",
        "data": absolute(data, known=_known(recipe)),
        "pictures": _described(pictures),
        "model": vit_settings(model),
        "recipe": recipe.plain(),
    }
    with Team.joined(where), Run.start(out, settings) as run:
        yield from _train(run, model, pictures, held_out, recipe, where, stop)


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
    where = own_device(pick_device(device))
    with Team.joined(where), Run.resume(out, "vit") as run:
        try:
            recipe = VitRecipe.of(settings["recipe"])
            begun = vit_from(settings["model"])
        except (KeyError, TypeError, ValueError) as error:
            raise of_another_version(out, error) from error
        recipe = recipe.changed(changes or {})
        data = run.data_now(data, known=_known(recipe))
        pictures, held_out = _load(data, recipe, progress)
        run.go_on_with(data, _described(pictures))
        # The weights are in the checkpoint; without one it begins again, with those it began with.
        if not run.checkpoint.is_file():
            begun = _build(recipe, pictures, recipe.begun(_tower, _BEGINNINGS))
        yield from _train(run, begun, pictures, held_out, recipe, where, stop)


def _known(recipe: VitRecipe) -> tuple[str, ...]:
    """Data that are no path; several sources lie in a folder, however it is called."""
    return () if recipe.sources else KNOWN


def _load(
    data: str, recipe: VitRecipe, progress: Callable[[int, int], None] | None
) -> tuple[_Pictures, LabelledPictures]:
    if recipe.sources:
        assert recipe.size is not None  # or it would not be a recipe
        mixture = load_mixture(recipe.sources, data, size=recipe.size, progress=progress)
        return mixture, _held_out(mixture)
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


def _described(pictures: _Pictures) -> dict[str, Any]:
    """What is learned from; what is held out may change."""
    return pictures.described() if isinstance(pictures, Mixture) else described(pictures)


def _held_out(mixture: Mixture) -> LabelledPictures:
    """The pictures of all classes that a mixture holds out."""
    if strange := [part.title for part in mixture.held_out if part.way != "name"]:
        raise BadInput(f"{strange[0]}: these pictures have no classes that a ViT could name")
    images = torch.cat([part.images for part in mixture.held_out])
    labels = torch.cat([part.kinds for part in mixture.held_out])
    return LabelledPictures(images, labels, _names(mixture), "what is held out")


def _names(pictures: _Pictures) -> tuple[str, ...]:
    """What the classes are called; in a mixture by their usual names."""
    if isinstance(pictures, LabelledPictures):
        return pictures.names
    return tuple(next(iter(kind.names.values()))[0] for kind in pictures.kinds)


def _build(recipe: VitRecipe, pictures: _Pictures, begun: ViT | None = None) -> ViT:
    """The model with its first weights, which the seed decides, unless it has begun elsewhere."""
    mixed = isinstance(pictures, Mixture)
    height, width, channels = pictures.shape if mixed else pictures.images.shape[1:]
    names, half = _names(pictures), (0.5,) * channels
    if begun is not None:
        return _begin_with(begun, (height, width, channels), names, recipe)
    fixed: dict[str, Any] = {
        "image_size": (height, width),
        "channels": channels,
        "classes": len(names),
    }
    try:
        config = ViTConfig(**{**recipe.model, **fixed})
    except TypeError as error:
        raise BadInput(f"the recipe's [model] does not fit a ViT ({error})") from error
    model = ViT(config, Preprocessing((height, width), half, half), names)
    model.reset(generator(recipe.plan.seed))
    return model


def _tower(name: str) -> ViT:
    """A ViT, or the picture tower of a CLIP of ours."""
    settings = hub.find(name).settings() or {}
    if "mmfm" not in settings or settings.get("model") != "clip":
        return load_vit(name)
    clip = load_clip(name, towers="image")
    assert isinstance(clip, CLIP) and clip.image is not None
    return clip.image


def _begin_with(
    model: ViT, shape: tuple[int, int, int], names: tuple[str, ...], recipe: VitRecipe
) -> ViT:
    """A trained model to go on with; for other classes than its own it gets a fresh head."""
    height, width, channels = shape
    c = model.config
    if (*c.image_size, c.channels) != (height, width, channels):
        mend = "--size brings it to its size" if c.channels == channels else "leave out --start"
        raise BadInput(
            f"{recipe.start} looks at {c.image_size[0]}x{c.image_size[1]} pixels and {c.channels} "
            f"channels, the data has {height}x{width} and {channels}; {mend}"
        )
    if model.labels == names:
        return model
    fresh = ViT(replace(c, classes=len(names)), model.preprocessing, names)
    heads = ("head.", "distillation_head.")
    kept = {k: v for k, v in model.state_dict().items() if not k.startswith(heads)}
    fresh.load_state_dict(fresh.state_dict() | kept)
    return fresh


def _train(
    run: Run,
    model: ViT,
    pictures: _Pictures,
    held_out: LabelledPictures,
    recipe: VitRecipe,
    device: torch.device,
    stop: Callable[[], bool],
) -> Iterator[Report]:
    if recipe.only_head:
        for name, weight in model.named_parameters():
            weight.requires_grad_(name.startswith("head."))
    averaged = copy.deepcopy(model)
    steps = fit(
        model,
        _shown(pictures, recipe, model, device),
        _Loss(recipe.label_smoothing),
        recipe.plan,
        averaged=averaged,
        # Muon takes the matrices inside the blocks; the first and last layer are AdamW's.
        matrices=[
            name
            for name, p in model.named_parameters()
            if name.startswith("blocks.") and p.ndim == 2 and p.requires_grad
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
        # Half precision is as exact as seeing needs it; a checkpoint holds all of it.
        save=lambda: save_vit(averaged, run.folder, dtype=torch.float16),
        # Both parts of one set that was split name the same files.
        skipped=tuple(dict.fromkeys(pictures.skipped + held_out.skipped)),
    )


def _shown(pictures: _Pictures, recipe: VitRecipe, model: ViT, device: torch.device) -> Examples:
    if isinstance(pictures, Mixture):
        return _ShownMixture(pictures.to(device), recipe, model)
    return _Shown(pictures, recipe, model)


class _ShownMixture:
    """Pictures of several sources, each varied as its source says."""

    def __init__(self, mixture: Mixture, recipe: VitRecipe, model: ViT) -> None:
        self.mixture, self.preprocessing = mixture, model.preprocessing
        self.keep = _Keep(recipe, model)

    def __len__(self) -> int:
        return len(self.mixture)

    def batch(self, index: Int64[Tensor, " b"], epoch: Int64[Tensor, " b"], seed: int) -> Batch:
        drawn = self.mixture.draw(index, epoch, seed)
        images = self.mixture.show(drawn, index, epoch, seed, self.preprocessing)
        return {"images": images, "labels": drawn.kinds} | self.keep(index, epoch, seed)


class _Keep:
    """Which patches of each picture are shown, where not all are."""

    def __init__(self, recipe: VitRecipe, model: ViT) -> None:
        self.patches = model.config.grid[0] * model.config.grid[1]
        self.kept = max(1, round(recipe.keep_patches * self.patches))

    def __call__(self, index: Int64[Tensor, " b"], epoch: Int64[Tensor, " b"], seed: int) -> Batch:
        if self.kept == self.patches:
            return {}
        lots = uniform(seed, epoch, index, self.patches, stream=_KEEP)
        return {"keep": lots.argsort(dim=1).argsort(dim=1) < self.kept}


class _Shown:
    """The training pictures, varied anew each time they are shown."""

    def __init__(self, pictures: LabelledPictures, recipe: VitRecipe, model: ViT) -> None:
        self.pictures, self.recipe, self.preprocessing = pictures, recipe, model.preprocessing
        self.keep = _Keep(recipe, model)

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, index: Int64[Tensor, " b"], epoch: Int64[Tensor, " b"], seed: int) -> Batch:
        images = self.preprocessing.normalise(self.pictures.images[index])
        batch = {
            "images": augment(images, self.recipe.augment, seed, epoch, index),
            "labels": self.pictures.labels[index],
        }
        return batch | self.keep(index, epoch, seed)


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
