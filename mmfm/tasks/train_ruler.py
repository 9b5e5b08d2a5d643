"""Teach a ruler to name pictures, so that others can be measured by what it sees.

A ruler and the denoiser that it judges learn from the same pictures: the `train` part of a set.
What is held apart tells how well it does; the test part is never looked at in here. A recipe of
several sources says by itself what is held out: other hands, for instance, than the ruler learns
from, so that it can judge a denoiser with which it has no picture in common.
"""

import copy
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from mmfm.data.augment import augment
from mmfm.data.draws import generator
from mmfm.data.labelled import (
    KNOWN,
    LabelledPictures,
    Parts,
    described,
    load_parts,
)
from mmfm.data.mixture import HeldOut, Mixture, load_mixture
from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadInput
from mmfm.machine import pick_device
from mmfm.models.ruler import (
    Ruler,
    RulerConfig,
    load_ruler,
    look,
    ruler_from,
    ruler_settings,
    save_ruler,
)
from mmfm.recipes import Recipe, check_types, read_sources
from mmfm.reports import Report, Scores, reports
from mmfm.runs import Run, absolute, of_another_version
from mmfm.team import Team, own_device
from mmfm.train import Batch, Examples, fit

_Pictures = Parts | Mixture  # a mixture has its held-out pictures with it


@dataclass(frozen=True, kw_only=True)
class RulerRecipe(Recipe):
    """How a ruler is taught; [model] has fields of RulerConfig."""

    KIND: ClassVar[str] = "ruler"
    MIXES: ClassVar[bool] = True

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise BadInput("label_smoothing lies from 0 up to 1")

    @classmethod
    def check_model(cls, given: Mapping[str, Any]) -> None:
        """Refuse settings that a ruler does not have."""
        check_types("[model]", RulerConfig, given)


def train_ruler(
    data: str,
    out: Path,
    recipe: RulerRecipe,
    *,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Start a run in a new folder; yields a report for every step."""
    where = own_device(pick_device(device))
    Run.check_new(out)  # before the data, which may take long to come
    pictures = _load(data, recipe, progress)
    # A recipe that cannot be carried out must not leave a folder behind.
    ruler = _build(recipe, pictures)
    shown = _shown(pictures, recipe, ruler, torch.device("cpu"))
    shown.batch(torch.tensor([0]), torch.tensor([0]), recipe.plan.seed)
    settings = {
        "mmfm": 1,
        "train": "ruler",
        "data": absolute(data, known=_known(recipe)),
        "pictures": _described(pictures),
        "model": ruler_settings(ruler),
        "recipe": recipe.plain(),
    }
    with Team.joined(where), Run.start(out, settings) as run:
        yield from _train(run, ruler, pictures, recipe, where, stop)


def resume_ruler(
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
    with Team.joined(where), Run.resume(out, "ruler") as run:
        try:
            recipe = RulerRecipe.of(settings["recipe"])
            begun = ruler_from(settings["model"])
        except (KeyError, TypeError, ValueError) as error:
            raise of_another_version(out, error) from error
        recipe = recipe.changed(changes or {})
        data = run.data_now(data, known=_known(recipe))
        pictures = _load(data, recipe, progress)
        run.go_on_with(data, _described(pictures))
        # The weights are in the checkpoint; without one it begins again, with those it began with.
        ruler = begun if run.checkpoint.is_file() else _build(recipe, pictures)
        yield from _train(run, ruler, pictures, recipe, where, stop)


def what_for(out: Path) -> tuple[str, str]:
    """What the ruler of a run can be used for: a command to try, and what that does."""
    settings = Run.read_settings(out)
    sources = RulerRecipe.of(settings["recipe"]).sources
    data, ruler = shlex.quote(settings["data"]), shlex.quote(str(out))
    if not sources:
        return (
            f"mmfm score RUN --data {data} --ruler {ruler}",
            "the ruler measures how good the pictures are that a RUN of mmfm train diffusion draws",
        )
    if sources == read_sources("emoji-to-judge"):
        return (
            f"python benchmarks/emoji_nano.py --data {data} --judge {ruler} --model RUN",
            "the ruler tells whether a RUN of mmfm train draw draws the emoji that it is asked "
            "for; benchmarks/ lies in a checkout of mmfm",
        )
    return (
        f"from mmfm.models.ruler import load_ruler; load_ruler({str(out)!r})  # in Python",
        "the ruler names what its sources show, and so can judge who was taught to draw that",
    )


def _known(recipe: RulerRecipe) -> tuple[str, ...]:
    """Data that are no path; several sources lie in a folder, however it is called."""
    return () if recipe.sources else KNOWN


def _load(data: str, recipe: RulerRecipe, progress: Callable[[int, int], None] | None) -> _Pictures:
    if recipe.sources:
        assert recipe.size is not None  # or it would not be a recipe
        mixture = load_mixture(recipe.sources, data, size=recipe.size, progress=progress)
        _check_held_out(mixture, data)
        return mixture
    parts = load_parts(data, size=recipe.size, progress=progress)
    if len(parts.train.names) < 2:
        raise BadInput(
            f"{data}: a ruler learns to name pictures; labels of at least two classes are needed, "
            "as class folders or a column of a parquet file"
        )
    named = Parts(*(_labelled(part) for part in (parts.train, parts.apart, parts.test)))
    if len(named.apart) == 0:
        raise BadInput(f"{data}: {len(named.train)} pictures are too few to hold some apart")
    return named


def _described(pictures: _Pictures) -> dict[str, Any]:
    """What is learned from; what is held out may change."""
    return pictures.described() if isinstance(pictures, Mixture) else described(pictures.train)


def _check_held_out(mixture: Mixture, data: str) -> None:
    """Something must be held out to tell how well it does, and nothing that it cannot name."""
    if not mixture.held_out:
        raise BadInput(f"{data}: its sources hold nothing out; hold_hands names who shall be")
    learned = torch.cat([shown.unique() for shown in mixture.shown])
    for part in mixture.held_out:
        if not bool(torch.isin(part.kinds, learned).all()):
            raise BadInput(
                f"{part.title}: a ruler names only what it has learned; leave out hold_kinds and "
                "hold_names"
            )


def _labelled(part: LabelledPictures) -> LabelledPictures:
    """Without the pictures that have no label."""
    known = part.labels >= 0
    return part if bool(known.all()) else part.select(known.nonzero().squeeze(1))


def _build(recipe: RulerRecipe, pictures: _Pictures) -> Ruler:
    """The ruler with its first weights, which the seed decides."""
    mixed = isinstance(pictures, Mixture)
    names = pictures.names if mixed else pictures.train.names
    height, width, channels = pictures.shape if mixed else pictures.train.images.shape[1:]
    if recipe.start is not None:
        begun = load_ruler(recipe.start)
        return _begin_with(begun, (height, width, channels), names, recipe.start)
    fixed: dict[str, Any] = {"image_size": height, "channels": channels, "classes": len(names)}
    ruler = Ruler(RulerConfig(**{**recipe.model, **fixed}), names)
    ruler.reset(generator(recipe.plan.seed))
    return ruler


def _begin_with(
    ruler: Ruler, shape: tuple[int, int, int], names: tuple[str, ...], start: str
) -> Ruler:
    height, width, channels = shape
    c = ruler.config
    if (c.image_size, c.image_size, c.channels) != shape:
        mend = "--size brings it to its size" if c.channels == channels else "leave out --start"
        raise BadInput(
            f"{start} looks at {c.image_size}x{c.image_size} pixels and {c.channels} channels, the "
            f"data has {height}x{width} and {channels}; {mend}"
        )
    if ruler.labels != names:
        raise BadInput(
            f"{start} names {', '.join(ruler.labels):.200}, the data {', '.join(names):.200}; "
            "leave out --start"
        )
    return ruler


def _train(
    run: Run,
    ruler: Ruler,
    pictures: _Pictures,
    recipe: RulerRecipe,
    device: torch.device,
    stop: Callable[[], bool],
) -> Iterator[Report]:
    averaged = copy.deepcopy(ruler)
    heaps = _held_out(pictures)
    steps = fit(
        ruler,
        _shown(pictures, recipe, ruler, device),
        _Loss(recipe.label_smoothing),
        recipe.plan,
        averaged=averaged,
        matrices=ruler.matrices(),
        run=run,
        device=device,
        stop=stop,
    )
    mixed = isinstance(pictures, Mixture)
    skipped = pictures.skipped if mixed else pictures.train.skipped + pictures.apart.skipped
    yield from reports(
        steps,
        run,
        measure=lambda count: _scores(averaged, heaps, count),
        held_out=sum(map(len, heaps.values())),
        save=lambda: save_ruler(averaged, run.folder),
        # Parts of one set that was split name the same files.
        skipped=tuple(dict.fromkeys(skipped)),
    )


def _shown(
    pictures: _Pictures, recipe: RulerRecipe, ruler: Ruler, device: torch.device
) -> Examples:
    if isinstance(pictures, Mixture):
        return _ShownMixture(pictures.to(device))
    return _Shown(pictures.train, recipe, ruler)


class _Shown:
    """The training pictures, varied anew each time they are shown."""

    def __init__(self, pictures: LabelledPictures, recipe: RulerRecipe, ruler: Ruler) -> None:
        self.pictures, self.recipe, self.ruler = pictures, recipe, ruler

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, index: Int64[Tensor, " b"], epoch: Int64[Tensor, " b"], seed: int) -> Batch:
        images = self.ruler.as_seen(self.pictures.images[index])
        return {
            "images": augment(images, self.recipe.augment, seed, epoch, index),
            "labels": self.pictures.labels[index],
        }


class _ShownMixture:
    """Pictures of several sources, each varied as its source says."""

    def __init__(self, mixture: Mixture) -> None:
        self.mixture = mixture
        half = (0.5,) * 3
        self.preprocessing = Preprocessing(mixture.shape[:2], half, half)  # as a ruler sees bytes

    def __len__(self) -> int:
        return len(self.mixture)

    def batch(self, index: Int64[Tensor, " b"], epoch: Int64[Tensor, " b"], seed: int) -> Batch:
        drawn = self.mixture.draw(index, epoch, seed)
        images = self.mixture.show(drawn, index, epoch, seed, self.preprocessing)
        return {"images": images, "labels": drawn.kinds}


class _Loss:
    """Cross-entropy."""

    def __init__(self, label_smoothing: float) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        logits = model(batch["images"]).logits
        return F.cross_entropy(logits, batch["labels"], label_smoothing=self.label_smoothing)


def _held_out(pictures: _Pictures) -> dict[str, LabelledPictures]:
    """What it is asked about, heap by heap: of a mixture each source, and each hand, by itself."""
    if not isinstance(pictures, Mixture):
        return {"": pictures.apart}
    return {name: heap for part in pictures.held_out for name, heap in _heaps(part, pictures.names)}


def _heaps(part: HeldOut, names: tuple[str, ...]) -> Iterator[tuple[str, LabelledPictures]]:
    for number, hand in enumerate(part.galleries):
        here = part.gallery == number
        if bool(here.any()):
            name = hand or part.title
            yield name, LabelledPictures(part.images[here], part.kinds[here], names, name)


def _scores(ruler: Ruler, heaps: Mapping[str, LabelledPictures], count: int) -> Scores:
    """The share of `count` pictures that it names right, each heap's part of them, and of each."""
    total = sum(map(len, heaps.values()))
    asked = {name: max(1, count * len(heap) // total) for name, heap in heaps.items()}
    shares = {name: accuracy(ruler, heap, asked[name]) for name, heap in heaps.items()}
    right = sum(asked[name] * share for name, share in shares.items())
    apart = {f"accuracy, {name}": share for name, share in shares.items()}
    return {"accuracy": right / sum(asked.values())} | (apart if len(apart) > 1 else {})


def accuracy(ruler: Ruler, pictures: LabelledPictures, count: int | None = None) -> float:
    """The share of pictures that the ruler names right; `count` of them, spread evenly."""
    count = count or len(pictures)
    chosen = torch.linspace(0, len(pictures) - 1, count).round().long()
    named = look(ruler, pictures.images[chosen]).logits.argmax(dim=1)
    return float((named == pictures.labels[chosen]).double().mean())
