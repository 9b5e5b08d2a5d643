"""Teach a denoiser to draw: digits, clothes, or whatever is in a folder of one's own."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from PIL import Image
from torch import Tensor, nn

from mmfm import plot
from mmfm.data import digits
from mmfm.data.augment import Augment, augment
from mmfm.data.decode import Sides
from mmfm.data.draws import generator, key
from mmfm.data.labelled import (
    KNOWN,
    NO_LABEL,
    LabelledPictures,
    Parts,
    described,
    load_parts,
)
from mmfm.diffusion import objectives
from mmfm.diffusion.schedules import TIMES, WEIGHTS, chosen
from mmfm.errors import BadInput
from mmfm.machine import pick_device
from mmfm.models.checkpoints import (
    denoiser_from,
    denoiser_settings,
    load_denoiser,
    save_denoiser,
)
from mmfm.models.denoiser import Denoiser, DenoiserConfig
from mmfm.recipes import Recipe, check_types
from mmfm.reports import SHARE_DRAWN, Report, Snapshots, drawn_reports
from mmfm.runs import Run, absolute, of_another_version
from mmfm.tasks.generate import Order, Sampling
from mmfm.team import Team, own_device
from mmfm.train import Batch, Loss, fit

SIDES = Sides(8, 64)  # what a small network learns in minutes

_BEGINNINGS = "a run of mmfm train diffusion"
_DRAWS = 4  # the stream of draws: noise, times, dropped labels
COLUMNS, ROWS = 10, 4  # of a sheet
_SHEET_STEPS = 8  # the network is asked so often for a sheet, which must cost little time
_WAY_STEPS = 24  # at least so many, for a film that moves smoothly

# For whoever opens the folder of a run, in its run.json.
_ABOUT = "A denoiser that was taught to draw: mmfm train diffusion. In Python: mmfm.load_denoiser"
FILES = {
    "run.json": "this: what is trained, on what, by which recipe",
    "config.json": "the network, its labels, and how it draws best",
    "model.safetensors": "its weights, averaged over the last steps; config.json is in it too",
    "metrics.jsonl": "a line for each step: loss, learning rate, pictures a second, seconds",
    "loss.png": "the loss, drawn",
    "grids/": "what it drew after so many steps, always from the same noise",
    "learning.gif": "these one after the other: how it learned",
    "steps.gif": "the way from noise to the last of them",
    "checkpoint.safetensors": "all that --resume goes on from; not needed to draw",
}
_WATCHED = {"snapshots/": "the model as it was at some of the grids: a folder for each"}


@dataclass(frozen=True, kw_only=True)
class DrawingRecipe(Recipe):
    """How a model that draws is taught, whatever it is asked.

    A table [sampling], with fields of Sampling, says what it draws best with.
    """

    times: str = "logit-normal"  # which times it learns from, a name in TIMES
    drop_label: float = 0.1  # share of the labels that it is not told, so that it can be guided
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        chosen("way to draw times", self.times, TIMES)
        if not 0 <= self.drop_label <= 1:
            raise BadInput(f"drop_label is a share from 0 to 1, not {self.drop_label}")

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """A recipe from its plain form, with a table more than others."""
        rest = dict(content)
        given = rest.pop("sampling", {})
        if not isinstance(given, Mapping):
            raise BadInput(f"a recipe's sampling is a table, [sampling], not {given!r}")
        check_types("[sampling]", Sampling, given)
        said = dict(given)
        if "interval" in said:
            said["interval"] = tuple(said["interval"])  # TOML and JSON know lists only
        return replace(super().of(rest), sampling=Sampling(**said))

    def plain(self) -> dict[str, Any]:
        """The other way: what `of` reads."""
        return super().plain() | {"sampling": asdict(self.sampling)}

    @classmethod
    def _loss_fields(cls) -> list[str]:
        return [name for name in super()._loss_fields() if name != "sampling"]


@dataclass(frozen=True, kw_only=True)
class DiffusionRecipe(DrawingRecipe):
    """How a denoiser is taught; [model] has fields of DenoiserConfig."""

    KIND: ClassVar[str] = "diffusion"

    weight: str = "none"  # which levels count how much, a name in WEIGHTS
    labels: tuple[str, ...] = ()  # of the data only these; none named: all

    def __post_init__(self) -> None:
        super().__post_init__()
        chosen("loss weight", self.weight, WEIGHTS)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """A recipe from its plain form, which may name labels."""
        rest = dict(content)
        labels = rest.pop("labels", [])
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise BadInput(f"a recipe's labels are a list of names, not {labels!r:.60}")
        return replace(super().of(rest), labels=tuple(labels))

    def plain(self) -> dict[str, Any]:
        """The other way: what `of` reads."""
        labels = {"labels": list(self.labels)} if self.labels else {}
        return super().plain() | labels

    @classmethod
    def _loss_fields(cls) -> list[str]:
        return [name for name in super()._loss_fields() if name != "labels"]

    @classmethod
    def check_model(cls, given: Mapping[str, Any]) -> None:
        """Refuse settings that a denoiser does not have."""
        check_types("[model]", DenoiserConfig, given)
        if given.get("jumps", "none") != "none":
            raise BadInput("[model]: a denoiser is taught jumps by mmfm train few-steps")
        if given.get("text_dim"):
            raise BadInput("[model]: a denoiser is taught to read by mmfm train draw")


def recipe_for(data: str) -> str:
    """The name of the recipe that fits a data set best."""
    known = {"digits": "digits", "mnist": "mnist", "fashion": "mnist"}
    if data not in known and any(digits.find_idx(Path(data), name) for name in digits.FILES):
        return "diffusion-mnist"
    return f"diffusion-{known.get(data, 'pictures')}"


# --- a run --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Watch:
    """For whoever watches a training: more sheets, and the model as it was beside each of them."""

    share: float = 0.1  # of the time that was asked for; as much may be spent on drawing
    room: int = 64_000_000  # bytes; where the models would take more, some of them go


Load = Callable[..., Parts]  # `load_parts`, or one that has kept what it gave before


def train_diffusion(
    data: str,
    out: Path,
    recipe: DiffusionRecipe,
    *,
    watch: Watch | None = None,
    load: Load = load_parts,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Start a run in a new folder; yields a report for every step."""
    where = own_device(pick_device(device))
    Run.check_new(out)  # before the data, which may take long to come
    begun = recipe.begun(load_denoiser, _BEGINNINGS)
    parts = _parts(data, recipe, load, progress)
    # A recipe that cannot be carried out must not leave a folder behind.
    model, one = _build(recipe, parts.train, begun), torch.tensor([0])
    shown = Shown(parts.train.select(one), recipe, model, torch.device("cpu"))
    shown.batch(one, one, recipe.plan.seed)
    settings: dict[str, Any] = {
        "mmfm": 1,
        "train": "diffusion",
        "about": _ABOUT,
        "files": FILES if watch is None else FILES | _WATCHED,
        "data": absolute(data, known=KNOWN),
        "pictures": described(parts.train),
        "model": denoiser_settings(model),
        "recipe": recipe.plain(),
    }
    if watch is not None:
        kinds = Sheets(model).kinds
        settings |= {"watch": asdict(watch), "columns": [model.labels[kind] for kind in kinds]}
    with Team.joined(where), Run.start(out, settings) as run:
        yield from _train(run, model, parts, recipe, where, stop, watch)


def resume_diffusion(
    out: Path,
    *,
    data: str | None = None,
    changes: Mapping[str, Any] | None = None,
    load: Load = load_parts,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Go on with a run from its last checkpoint; `changes` may set its end or its threads anew."""
    settings = Run.read_settings(out)
    where = own_device(pick_device(device))
    with Team.joined(where), Run.resume(out, "diffusion") as run:
        try:
            recipe = DiffusionRecipe.of(settings["recipe"])
            # A run of before its model was kept begins as it began then.
            begun = denoiser_from(settings["model"]) if "model" in settings else None
            watch = Watch(**settings["watch"]) if "watch" in settings else None
            check_types("watch", Watch, settings.get("watch", {}))
        except (KeyError, TypeError, ValueError) as error:
            raise of_another_version(out, error) from error
        recipe = recipe.changed(changes or {})
        data = run.data_now(data, known=KNOWN)
        parts = _parts(data, recipe, load, progress)
        run.go_on_with(data, described(parts.train))
        # The weights are in the checkpoint; without one it begins again, with those it began with.
        if begun is None or not run.checkpoint.is_file():
            begun = _build(recipe, parts.train, recipe.begun(load_denoiser, _BEGINNINGS))
        yield from _train(run, begun, parts, recipe, where, stop, watch)


def _parts(
    data: str, recipe: DiffusionRecipe, load: Load, progress: Callable[[int, int], None] | None
) -> Parts:
    """The data in three parts, of which each keeps the pictures of the recipe's labels."""
    parts = load(data, size=recipe.size, sides=SIDES, progress=progress)
    if not recipe.labels:
        return parts
    names = parts.train.names
    if strange := [label for label in recipe.labels if label not in names]:
        known = ", ".join(names) or "none at all"
        raise BadInput(f"no label {strange[0]!r:.60} in {data}; its labels are {known:.200}")
    return Parts(*(_only(part, recipe.labels) for part in (parts.train, parts.apart, parts.test)))


def _only(pictures: LabelledPictures, labels: Sequence[str]) -> LabelledPictures:
    """The pictures of these labels alone, which are numbered anew."""
    names = tuple(name for name in pictures.names if name in labels)
    # The last entry is that of NO_LABEL, -1, too.
    number = torch.tensor(
        [names.index(name) if name in names else NO_LABEL for name in (*pictures.names, None)]
    )
    found = number[pictures.labels]
    kept = pictures.select(torch.nonzero(found != NO_LABEL).squeeze(1))
    return replace(kept, labels=found[found != NO_LABEL], names=names)


def shows_none(recipe: DrawingRecipe, pictures: LabelledPictures) -> bool:
    """Whether some picture is shown without a label, now and then or always."""
    return recipe.drop_label > 0 or bool((pictures.labels == NO_LABEL).any())


def check_guidance(recipe: DrawingRecipe, model: Denoiser) -> None:
    """Refuse to teach a model that is to be guided, and would never have drawn without a label."""
    if recipe.sampling.guidance != 1 and not model.guidable:
        raise BadInput(
            f"[sampling]: guidance of {recipe.sampling.guidance:g} leads away from what is drawn "
            "without a label, which with a drop_label of 0 is never learned; set the guidance to "
            "1, or drop_label in [loss] to 0.1, say"
        )


def _build(
    recipe: DiffusionRecipe, pictures: LabelledPictures, begun: Denoiser | None = None
) -> Denoiser:
    """The model that is trained, as it begins, if it can become what the recipe says."""
    model = _begin(recipe, pictures, begun)
    # Whoever could draw without a label before can do so still.
    could = model is begun and model.guidable
    model.guidable = could or shows_none(recipe, pictures)
    check_guidance(recipe, model)
    return model


def _begin(recipe: DiffusionRecipe, pictures: LabelledPictures, begun: Denoiser | None) -> Denoiser:
    """The model with its first weights, which the seed decides, unless it has begun elsewhere."""
    if begun is not None:
        return _begin_with(begun, pictures, recipe)
    fixed: dict[str, Any] = {
        "image_size": pictures.images.shape[1],
        "channels": pictures.images.shape[3],
        "classes": len(pictures.names),
    }
    try:
        config = DenoiserConfig(**{**recipe.model, **fixed})
    except TypeError as error:
        raise BadInput(f"the recipe's [model] does not fit a denoiser ({error})") from error
    return _fresh(config, pictures, recipe)


def _fresh(config: DenoiserConfig, pictures: LabelledPictures, recipe: DiffusionRecipe) -> Denoiser:
    model = Denoiser(config, pictures.names, asdict(recipe.sampling))
    model.reset(generator(recipe.plan.seed))
    return model


def _begin_with(model: Denoiser, pictures: LabelledPictures, recipe: DiffusionRecipe) -> Denoiser:
    """A trained model to go on with; of other labels than its own it knows nothing yet."""
    if not model.ours or model.config.jumps != "none":
        what = "was made for few steps" if model.ours else "is a network of diffusers'"
        raise BadInput(
            f"{recipe.start} {what}: it draws, but is not trained on; begin with another denoiser"
        )
    _, side, _, channels = pictures.images.shape
    c = model.config
    if (c.image_size, c.channels) != (side, channels):
        mend = "--size brings it to its size" if c.channels == channels else "leave out --start"
        raise BadInput(
            f"{recipe.start} draws {c.image_size}x{c.image_size} pixels in {c.channels} channels, "
            f"the data has {side}x{side} and {channels}; {mend}"
        )
    if model.labels == pictures.names:
        model.sampling = asdict(recipe.sampling)
        return model
    fresh = _fresh(replace(c, classes=len(pictures.names)), pictures, recipe)
    kept = {k: v for k, v in model.state_dict().items() if not k.startswith("classes.")}
    fresh.load_state_dict(fresh.state_dict() | kept)
    # What it draws when it is not told a label, it keeps.
    fresh.classes.weight.data[-1] = model.classes.weight.data[-1]
    fresh.guidable = model.guidable
    return fresh


def _train(
    run: Run,
    model: Denoiser,
    parts: Parts,
    recipe: DiffusionRecipe,
    device: torch.device,
    stop: Callable[[], bool],
    watch: Watch | None,
) -> Iterator[Report]:
    averaged = copy.deepcopy(model)
    steps = fit(
        model,
        Shown(parts.train, recipe, model, device),
        _loss(recipe, model.config),
        recipe.plan,
        averaged=averaged,
        matrices=model.matrices(),
        run=run,
        device=device,
        stop=stop,
    )
    snapshots = watch and Snapshots(run, partial(_save_small, averaged), watch.room)
    yield from drawn_reports(
        steps,
        run,
        snapshots=snapshots,
        share=SHARE_DRAWN if watch is None else watch.share,
        drawings=Sheets(averaged),
        save=lambda: save_denoiser(averaged, run.folder),
        # The parts of one set that was split name the same files.
        skipped=tuple(dict.fromkeys(parts.train.skipped + parts.test.skipped)),
    )


def _save_small(model: Denoiser, folder: Path) -> None:
    save_denoiser(model, folder, dtype=torch.float16)  # as exact as drawing needs it


# --- what the model is shown, and asked -----------------------------------------------------------


class Shown:
    """The training pictures, each time under other noise.

    All that a batch draws comes from one generator, whose seed is the address of its first picture:
    a batch is the same whenever it is asked for, and no number has to be looked up one by one.
    """

    def __init__(
        self,
        pictures: LabelledPictures,
        recipe: DrawingRecipe,
        model: Denoiser,
        device: torch.device,
    ) -> None:
        self.recipe, self.null = recipe, model.config.classes  # which may never be shown
        # Where they are computed with: then nothing has to be moved at any step.
        self.images = rearrange(pictures.images, "n y x c -> n c y x").to(device).contiguous()
        labels = pictures.labels.to(device)
        self.conditions = torch.where(labels == NO_LABEL, self.null, labels)
        self.random = torch.Generator(device)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Int64[Tensor, " b"], epoch: Int64[Tensor, " b"], seed: int) -> Batch:
        random = self.random.manual_seed(key(seed, int(epoch[0]), int(index[0]), stream=_DRAWS))
        device, place = self.images.device, index.to(self.images.device)
        images = _scaled(self.images[place])
        if self.recipe.augment != Augment():
            images = augment(images, self.recipe.augment, seed, epoch, index)
        batch = {
            "images": images,
            "noise": torch.randn(images.shape, generator=random, device=device),
            "t": TIMES[self.recipe.times](len(index), random),
        }
        if self.null > 0:  # there are labels
            dropped = torch.rand(len(index), generator=random, device=device)
            untold = dropped < self.recipe.drop_label
            batch["condition"] = torch.where(untold, self.null, self.conditions[place])
        return batch


def _scaled(images: Tensor) -> Float[Tensor, "b c y x"]:
    """Bytes as the numbers from -1 to 1 that a denoiser knows."""
    return images.float() / 127.5 - 1


def _loss(recipe: DiffusionRecipe, config: DenoiserConfig) -> Loss:
    def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        return objectives.loss(
            model,
            batch["images"],
            batch["noise"],
            batch["t"],
            batch.get("condition"),
            objective=config.objective,
            schedule=config.schedule,
            weight=recipe.weight,
        )

    return loss


# --- what it draws --------------------------------------------------------------------------------


class Sheets:
    """What the model draws from forty noises that are always the same, a column a label."""

    wide: int = 640  # pixels at the most, unless the pictures are larger by themselves

    def __init__(self, model: Denoiser) -> None:
        self.model = model
        classes = model.config.classes
        if classes >= COLUMNS:
            self.kinds = [round(n) for n in torch.linspace(0, classes - 1, COLUMNS).tolist()]
        else:  # of three labels each gets three columns
            each = COLUMNS // max(1, classes)
            self.kinds = [kind for kind in range(classes) for _ in range(each)]
        self.columns = len(self.kinds) or COLUMNS

    def sheet(self) -> Image.Image:
        """The pictures as the model draws them now."""
        *_, images = self._drawn(replace(self._best, steps=min(self._best.steps, _SHEET_STEPS)))
        return self._laid_out(images)

    def way(self) -> list[Image.Image]:
        """How they come out of the noise, step by step."""
        # Whoever was made for few steps is not asked for more.
        least = _WAY_STEPS if self.model.config.jumps == "none" else 1
        way = self._drawn(replace(self._best, steps=max(self._best.steps, least)))
        return [self._laid_out(images) for images in way]

    def asked(self, how: Sampling) -> Order:
        """What is drawn on a sheet, row by row."""
        return Order(self.model, tuple(self.kinds), count=self.columns * ROWS, seed=0, how=how)

    @property
    def _best(self) -> Sampling:
        return Sampling(**self.model.sampling)

    def _drawn(self, how: Sampling) -> Iterator[Float[Tensor, "b c y x"]]:
        asked = self.asked(how)
        numbers = torch.arange(asked.count)
        yield asked.noise(numbers)
        for step in asked.steps(numbers):
            yield step.x

    def _laid_out(self, images: Float[Tensor, "b c y x"]) -> Image.Image:
        sheet = plot.grid((images + 1) / 2, columns=self.columns, gap=1)
        return plot.enlarged(sheet, wide=self.wide)
