"""Teach a vision transformer to name pictures, from digits to a folder of one's own."""

import copy
import os
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from mmfm import plot
from mmfm.data import digits
from mmfm.data.draws import uniform
from mmfm.data.labelled import Augment, LabelledPictures, augment, load_labelled
from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadInput, BadRun
from mmfm.files import whole
from mmfm.machine import pick_device
from mmfm.models.checkpoints import load_vit, save_vit
from mmfm.models.vit import ViT, ViTConfig
from mmfm.runs import Run
from mmfm.team import Team
from mmfm.train import Batch, Plan, Step, fit

_HELD_OUT = 0.1  # of data that has no held-out part of its own
_GLANCE = 1000  # held-out pictures that are enough for a look in between
_KEEP = 2  # the stream of draws that chooses patches; augmentation has its own


@dataclass(frozen=True)
class VitRecipe:
    """All that decides what comes out, but the data."""

    model: Mapping[str, Any]  # fields of ViTConfig
    plan: Plan
    size: int | None = None  # side of the pictures; None: as the data has them
    augment: Augment = field(default_factory=Augment)
    label_smoothing: float = 0.0
    keep_patches: float = 1.0  # share of the patches that the model is shown in training
    start: str | None = None  # begin with this model's weights; it takes the place of [model]

    def __post_init__(self) -> None:
        if not 0 < self.keep_patches <= 1 or not 0 <= self.label_smoothing < 1:
            raise BadInput("keep_patches lies above 0 and up to 1, label_smoothing from 0 up to 1")


@dataclass
class Report:
    """A step, and what the held-out pictures said after it, if they were asked."""

    step: Step
    accuracy: float | None = None  # on held-out pictures
    pictures: int = 0  # how many of them were asked
    skipped: tuple[tuple[str, str], ...] = ()  # with the first step: (which, why) of the unreadable


def recipe_for(data: str) -> str:
    """The name of the recipe that fits a data set best."""
    known = {"digits": "vit-digits", "mnist": "vit-mnist", "fashion": "vit-mnist"}
    if any(digits.find_idx(Path(data), name) for name in digits.FILES):
        return "vit-mnist"
    return known.get(data, "vit-pictures")


def read_recipe(name: str) -> VitRecipe:
    """Read a recipe: one that came with the package, or a TOML file."""
    shelf = Path(str(files("mmfm.assets") / "recipes"))
    path = shelf / f"{name}.toml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        here = ", ".join(sorted(p.stem for p in shelf.glob("vit-*.toml")))
        raise BadInput(f"no recipe {name!r}: it is neither a file nor one of {here}")
    try:
        return recipe_from(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError) as error:
        raise BadInput(f"{path}: not a recipe ({error})") from error


def recipe_from(content: Mapping[str, Any]) -> VitRecipe:
    """A recipe from its plain form: TOML in a file, JSON in a run folder."""
    known = {"size", "start", "model", "plan", "augment", "loss"}
    if strange := set(content) - known:
        raise BadInput(f"a recipe has no {min(strange)!r}; it has {', '.join(sorted(known))}")
    _check_types("the recipe", VitRecipe, {"size": content.get("size"), **content.get("loss", {})})
    for part, kind in (("model", ViTConfig), ("plan", Plan), ("augment", Augment)):
        _check_types(f"[{part}]", kind, content.get(part, {}))
    return VitRecipe(
        model=content.get("model", {}),
        plan=Plan(**content.get("plan", {})),
        size=content.get("size"),
        start=content.get("start"),
        augment=Augment(**content.get("augment", {})),
        **content.get("loss", {}),
    )


def _check_types(part: str, kind: type, given: Mapping[str, Any]) -> None:
    """A number where a number belongs, a word that is known where a word belongs."""
    types = {f.name: f.type for f in fields(kind)}
    for name, value in given.items():
        if name not in types:
            raise BadInput(f"{part} has no {name!r}; it has {', '.join(types)}")
        wanted = types[name]
        if get_origin(wanted) is Literal:
            if value not in get_args(wanted):
                raise BadInput(f"{part}: {name} is one of {', '.join(get_args(wanted))}")
            continue
        if get_origin(wanted) not in (None, UnionType):
            continue  # a pair or a table, which looks after itself
        allowed: Any = get_args(wanted) or (wanted,)
        fits = isinstance(value, allowed) or (float in allowed and isinstance(value, int))
        if not fits or (isinstance(value, bool) and bool not in allowed):
            raise BadInput(f"{part}: {name} cannot be {value!r}")


def changed(recipe: VitRecipe, plan: Mapping[str, Any], **others: Any) -> VitRecipe:
    """The recipe with some of its plan, its size or its start said otherwise by the person."""
    new = replace(recipe, plan=replace(recipe.plan, **plan)) if plan else recipe
    return replace(new, **{name: value for name, value in others.items() if value is not None})


def _plain(recipe: VitRecipe) -> dict[str, Any]:
    """The other way: what `recipe_from` reads."""
    loss = {"label_smoothing": recipe.label_smoothing, "keep_patches": recipe.keep_patches}
    return {
        "size": recipe.size,
        "start": recipe.start,
        "model": dict(recipe.model),
        "augment": asdict(recipe.augment),
        "plan": asdict(recipe.plan),
        "loss": loss,
    }


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
    settings = {"mmfm": 1, "train": "vit", "data": _absolute(data), "recipe": _plain(recipe)}
    where = _local(pick_device(device))
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
    if data is not None and settings.get("data") != _absolute(data):
        raise BadRun(
            f"{out} was trained on {settings.get('data')}, not on {data}; leave out --data"
        )
    where = _local(pick_device(device))
    with Team.joined(where), Run.resume(out, "vit") as run:
        try:
            recipe = recipe_from(settings["recipe"])
            data = str(settings["data"])
        except (KeyError, TypeError) as error:
            raise BadRun(f"{out}: its run.json is of another version ({error})") from error
        recipe = changed(recipe, changes or {})
        pictures, held_out = _load(data, recipe, progress)
        yield from _train(run, pictures, held_out, recipe, where, stop)


def _absolute(data: str) -> str:
    """A run must find its data again from wherever it is resumed."""
    return str(Path(data).resolve()) if Path(data).exists() else data


def _local(device: torch.device) -> torch.device:
    """Under torchrun every process takes its own GPU."""
    if device.type != "cuda" or "LOCAL_RANK" not in os.environ:
        return device
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device


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
    spent_looking, began = 0.0, time.monotonic()
    # Both parts of one set that was split name the same files.
    skipped = tuple(dict.fromkeys(pictures.skipped + held_out.skipped))
    asked = False
    for step in steps:
        report, skipped, asked = Report(step, skipped=skipped), (), True
        if step.saved and run.writable:
            start = time.monotonic()
            # Looking must not eat the time that was asked for: a twentieth of it at the most.
            whole_look = step.progress >= 1
            if whole_look or (not step.last and spent_looking <= 0.05 * (start - began)):
                count = len(held_out) if whole_look else min(_GLANCE, len(held_out))
                report.pictures = count
                report.accuracy = accuracy(averaged, held_out, count)
                run.log(step=step.number, accuracy=report.accuracy, pictures=count)
            _publish(run, averaged)
            spent_looking += time.monotonic() - start
        yield report
    if not asked and run.writable:
        # Finished already; but a kill may have struck between the last checkpoint and this.
        if not any(row.get("pictures") == len(held_out) for row in run.rows()[-2:]):
            share = accuracy(averaged, held_out)
            run.log(step=run.rows()[-1]["step"], accuracy=share, pictures=len(held_out))
        _publish(run, averaged)


class _Shown:
    """The training pictures, varied anew each time they are shown."""

    def __init__(self, pictures: LabelledPictures, recipe: VitRecipe, model: ViT) -> None:
        self.pictures, self.recipe, self.preprocessing = pictures, recipe, model.preprocessing
        self.patches = model.config.grid[0] * model.config.grid[1]
        self.kept = max(1, round(recipe.keep_patches * self.patches))

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, index: Int64[Tensor, " b"], epoch: Int64[Tensor, " b"], seed: int) -> Batch:
        images = normalised(self.pictures.images[index], self.preprocessing)
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


def normalised(images: Tensor, preprocessing: Preprocessing) -> Float[Tensor, "b c h w"]:
    """Bytes of the right size as the model wants to see them, a whole batch at once."""
    mean, std = (torch.tensor(values) for values in (preprocessing.mean, preprocessing.std))
    scaled = (images.float() / 255 - mean) / std
    return rearrange(scaled, "b h w c -> b c h w").contiguous()


@torch.inference_mode()
def accuracy(model: ViT, pictures: LabelledPictures, count: int | None = None) -> float:
    """The share of pictures that the model names right; `count` of them, spread evenly."""
    device = next(model.parameters()).device
    count = count or len(pictures)
    chosen = torch.linspace(0, len(pictures) - 1, count).round().long()
    right = 0
    for some in chosen.split(250):
        logits = model(normalised(pictures.images[some], model.preprocessing).to(device)).logits
        right += int((logits.argmax(dim=-1).cpu() == pictures.labels[some]).sum())
    return right / count


def _publish(run: Run, averaged: ViT) -> None:
    """Leave in the run folder what a person wants from it: the model so far, and the picture."""
    save_vit(averaged, run.folder)
    rows = run.rows()
    losses = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    picture = plot.curve(_thin(losses), x="step", y="loss")
    with whole(run.folder / "loss.png") as file:
        picture.save(file, "PNG")


def _thin(points: list[tuple[float, float]], most: int = 400) -> list[tuple[float, float]]:
    """Averages over equal stretches, so that a long run draws as one readable line."""
    size = max(1, len(points) // most)
    stretches = [points[start : start + size] for start in range(0, len(points), size)]
    return [
        (stretch[-1][0], sum(loss for _, loss in stretch) / len(stretch)) for stretch in stretches
    ]
