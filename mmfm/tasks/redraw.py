"""Redraw a picture: bury it in noise, and let a denoiser dig out what it finds there.

    for moment in redraw(den, drawing, Wish(noise=0.6)):
        moment.noisy, moment.x0, moment.removed   # shown to it; its guess; what the step takes away
        moment.x, moment.share, moment.label      # left then; how much noise; what it is told

A little noise keeps the picture, all of it keeps nothing: then it is the one that `generate`
draws from the same seed. What the model is told can be switched on the way, and where something is
hidden only that part is painted anew, while the rest stays as it is.

Shapes: b pictures, c channels, y x pixels.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from PIL import Image
from torch import Tensor

from mmfm.diffusion.course import Course, fading, through, time_of
from mmfm.diffusion.editing import inpaint
from mmfm.diffusion.objectives import Model
from mmfm.diffusion.samplers import Pictures, Sampler, Step
from mmfm.diffusion.schedules import Level, add_noise
from mmfm.errors import BadInput
from mmfm.models.denoiser import Denoiser
from mmfm.tasks.generate import Label, Order, chosen, label_numbers, names_of, walk

LEAST_NOISE = 0.01  # less is no noise at all

_INK = 20 / 28  # of a side, into which MNIST fits the ink of a digit
_FAINT = 32  # levels of 255 by which ink must stand out from its paper
_STAIN = 0.15  # of the strongest ink; what is fainter belongs to the paper


@dataclass(frozen=True, eq=False)
class Wish:
    """What is to become of a picture; what is not said is as the model draws best."""

    noise: float = 0.5  # its share in the mix that the way begins with; 1: nothing but noise
    label: Label = None  # what the model is told that it sees; None: nothing
    label_after: Label = None  # what it is told later
    switch_at: float | None = None  # share of the way after which that is; None: never
    steps: int | None = None
    sampler: str | None = None
    guidance: float | None = None
    seed: int = 0
    hidden: Bool[Tensor, "*b c y x"] | None = None  # painted anew, and nothing else is

    def __post_init__(self) -> None:
        if not _lies(self.noise, LEAST_NOISE, 1):
            raise BadInput(
                f"noise of {self.noise!r:.40}: it is a share from {LEAST_NOISE}, where the picture "
                "stays, to 1, where nothing is left of it"
            )
        if self.switch_at is not None and not _lies(self.switch_at, 0, 1):
            raise BadInput(
                f"a switch at {self.switch_at!r:.40} of the way: name a share from 0 to 1, or None"
            )
        if type(self.seed) is not int:
            raise BadInput(f"a seed of {self.seed!r:.40}: it is a whole number")


def _lies(value: object, low: float, high: float) -> bool:
    """Whether a value, which a stranger may have sent, is a number between two others."""
    return isinstance(value, int | float) and type(value) is not bool and low <= value <= high


class Moment(NamedTuple):
    """One step of the way, and what there is to see of it."""

    noisy: Pictures  # what the model is shown
    x0: Pictures  # what it thinks is there: its guess of the clean picture
    x: Pictures  # what the step makes of it
    t: float  # the time that it was asked about
    share: float  # of noise in what it is shown
    label: str | None  # what it is told

    @property
    def removed(self) -> Pictures:
        """What the step takes away; below 0 where it adds."""
        return self.noisy - self.x


def redraw(den: Denoiser, drawing: Float[Tensor, "b c y x"], wish: Wish) -> Iterator[Moment]:
    """Bury pictures from -1 to 1 in noise, and show each step of the way back (SDEdit).

    Meng et al. 2022; with a part `hidden`, that part alone (Y. Song et al. 2021, appendix I.2). All
    steps lie between the noise that is wished for and none. A wrong value is refused here, not at
    the first step.
    """
    how = chosen(den, steps=wish.steps, sampler=wish.sampler, guidance=wish.guidance)
    if wish.label is None and wish.label_after is None:
        how = replace(how, guidance=1.0)  # nothing to be guided to: don't ask twice
    before, after, turn = _told(den, wish, how.steps)
    drawing = _checked(den, drawing, wish)
    asked = Order(den, (), len(drawing), wish.seed, how)
    numbers, epochs = torch.arange(asked.count), itertools.count()

    def noise() -> Pictures:
        return asked.noise(numbers, next(epochs))  # at first that of the start

    way = _way(den, wish.noise, how.steps)
    start = noise()
    drawing = drawing.to(start)
    if wish.noise < 1:
        x = add_noise(drawing, start, Level(way.alpha[0], way.sigma[0]))
    else:
        # As `generate` begins: some schedules would leave a trace of the drawing.
        x = way.start(start) if den.ours else start
    condition = None if before is None else torch.full((len(x),), before, device=x.device)
    switched = _Switched(after, _time_between(way, turn))

    def via(
        sampler: Sampler, model: Model, x: Pictures, way: Course, **told: Any
    ) -> Iterator[Step]:
        switched.model = model
        if wish.hidden is None:
            return sampler(switched, x, way, **told)
        return inpaint(sampler, switched, x, way, picture=drawing, hidden=wish.hidden, **told)

    steps = walk(den, how, x, way, condition, noise=noise, via=via)
    labels = [_name(den, before if number < turn else after) for number in range(len(way))]
    return _moments(way, steps, labels, switched)


def noise_of(den: Denoiser, seed: int) -> Float[Tensor, "1 c y x"]:
    """The noise that a single picture is buried in."""
    return Order(den, (), 1, seed, chosen(den)).noise(torch.arange(1))


# --- the way --------------------------------------------------------------------------------------


def _way(den: Denoiser, noise: float, steps: int) -> Course:
    """From so much noise to none, in steps of equal times."""
    fade = fading(den.config.schedule)
    first = torch.ones(1, dtype=torch.float64)
    if noise < 1:
        first = time_of(fade, noise / (1 - noise) * first)
    times = first * torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return through(times, fade(times))


@dataclass
class _Switched:
    """A model that is told another class once there is little noise left; it remembers what it saw.

    It goes by the time, so that a sampler may ask as often and as far ahead as it likes.
    """

    after: int | None
    below: float  # this time
    model: Callable[..., Tensor] | None = None
    seen: Pictures | None = None  # what a step first asked about

    def __call__(
        self,
        x: Pictures,
        t: Float[Tensor, " b"],
        condition: Int64[Tensor, " b"] | None,
        to: Tensor | None = None,
    ) -> Pictures:
        assert self.model is not None
        if self.seen is None:
            self.seen = x
        if condition is not None and self.after is not None:
            condition = torch.where(t < self.below, self.after, condition)
        return self.model(x, t, condition, to)


def _time_between(way: Course, number: int) -> float:
    """A time that parts the first so many stops from the rest."""
    if number == 0:
        return math.inf
    if number >= len(way):
        return 0.0
    return ((way.t[number - 1] + way.t[number]) / 2).item()


def _moments(
    way: Course, steps: Iterator[Step], labels: list[str | None], model: _Switched
) -> Iterator[Moment]:
    shares = way.sigma / (way.alpha + way.sigma)
    for share, label in zip(shares.tolist(), labels, strict=True):
        model.seen = None
        step = next(steps)
        assert model.seen is not None
        yield Moment(model.seen, step.x0, step.x, step.t, share, label)


# --- what is asked --------------------------------------------------------------------------------


def _told(den: Denoiser, wish: Wish, steps: int) -> tuple[int | None, int | None, int]:
    """What the model is told first and later, and at which step that changes."""
    before = _class(den, wish.label)
    if wish.switch_at is None:
        return before, before, steps
    return before, _class(den, wish.label_after), round(wish.switch_at * steps)


def _class(den: Denoiser, label: Label) -> int | None:
    """The number of one label; None for a model that knows none."""
    if label is None and not den.config.classes:
        return None
    numbers = label_numbers(den, [label])
    if len(numbers) != 1:
        raise BadInput(f"labels {label!r:.40}: a drawing becomes one thing; name one label")
    return numbers[0]


def _name(den: Denoiser, number: int | None) -> str | None:
    names = names_of(den)
    return names[number] if number is not None and number < len(names) else None


def _checked(den: Denoiser, drawing: Tensor, wish: Wish) -> Tensor:
    shape = den.config.shape
    if drawing.ndim != 4 or tuple(drawing.shape[1:]) != shape or len(drawing) == 0:
        said = ", ".join(map(str, shape))
        raise BadInput(f"drawings come as (b, {said}), not as {tuple(drawing.shape)}")
    low, high = drawing.amin(dim=(1, 2, 3)), drawing.amax(dim=(1, 2, 3))
    if not (drawing.isfinite().all() and low.min() >= -1 and high.max() <= 1):
        raise BadInput("a drawing's numbers lie from -1 (black) to 1 (white), all of them")
    if wish.noise < 1 and wish.hidden is None and (high - low).min() < 1 / 255:
        raise BadInput(
            "nothing is drawn: all pixels of the drawing are alike; draw something, or name noise "
            "of 1, which needs no drawing"
        )
    return drawing


# --- from a picture -------------------------------------------------------------------------------


def drawing_of(picture: Image.Image, size: int = 28) -> UInt8[Tensor, "y x"]:
    """A picture prepared as those of MNIST were: bright ink on black, fitted into the middle.

    LeCun et al. 1998: the ink fits into 20 of 28 pixels, and its centre of gravity lies in the
    middle. Whether the paper is dark or bright is told by the picture's rim. What is of this size
    already, on black, stays as it is.
    """
    grey = np.asarray(picture.convert("L"), dtype=np.float32)
    paper = float(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))
    ink = np.abs(grey - paper)
    if ink.max() < _FAINT:
        raise BadInput("nothing is drawn on this picture; take one of dark ink on bright paper")
    if picture.size == (size, size) and paper < _FAINT:
        return torch.from_numpy(grey.astype(np.uint8))
    ink = np.where(ink < _STAIN * ink.max(), 0, ink) / ink.max()
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    shrink = _INK * size / max(ink.shape)
    tall, wide = (max(1, round(side * shrink)) for side in ink.shape)
    fitted = Image.fromarray(ink.astype(np.float32)).resize((wide, tall), _SMOOTH)
    small = np.asarray(fitted)
    small = small * (255 / small.max())  # a thin line is faint once it is small
    top, left = (_centred(small.sum(axis=axis), size) for axis in (1, 0))
    drawing = np.zeros((size, size), np.uint8)
    drawing[top : top + tall, left : left + wide] = small.round()
    return torch.from_numpy(drawing)


# Averages only: what sharpens as well would leave a fringe around each line.
_SMOOTH = Image.Resampling.HAMMING


def _centred(weights: np.ndarray[Any, Any], size: int) -> int:
    """Where these weights begin, for their centre of gravity to lie in the middle if it fits."""
    centre = float((weights * (np.arange(len(weights)) + 0.5)).sum() / weights.sum())
    return min(max(round(size / 2 - centre), 0), size - len(weights))
