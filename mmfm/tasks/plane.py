"""Diffusion where all of it can be seen: points on a plane, and how noise is led to them.

    teach            a small network learns to make such points, a step at a time
    exact            the best answer there is, where the points are all there is
    noise            what everything begins with
    field            where a model sends whatever stands here, at this time
    paths            from noise to points, stop by stop
    there_and_back   from points to their noise, and to points again
    energy_distance  how far two sets of points are from being alike
    copies           how many of what was made only repeat what was shown
    needed           how many steps a way needs to come near enough

A point is a picture of two pixels, so that schedules, objectives and samplers are those of
`mmfm.diffusion`: what is learned here by looking holds there.

Shapes: n points, k points that were shown, s stops, b points at once; two numbers a point.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, get_args

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from mmfm.data.draws import key, normal
from mmfm.data.plane import EDGE
from mmfm.diffusion.course import Course, course, through
from mmfm.diffusion.editing import invert
from mmfm.diffusion.objectives import Model, Objective, loss, target
from mmfm.diffusion.samplers import SAMPLERS, Step, euler
from mmfm.diffusion.schedules import SCHEDULES, TIMES, Level, chosen
from mmfm.errors import BadInput
from mmfm.models.plane import PlaneConfig, PlaneDenoiser
from mmfm.train import Batch, Plan, fit

OBJECTIVES: tuple[str, ...] = get_args(Objective)
MOST_STEPS = 64
NUMBERS = (1, 2, 4, 8, 16, 32, 64)  # of steps, by which ways are compared
STEPS = 1200  # of teaching: some seconds

_BATCH = 256
_NOISE, _LESSONS = 22, 23  # streams of draws
_MOMENT = 1e-3  # of the time from 1 to 0, in which nothing bends
_ALMOST = 0.01  # the time at which the way back begins; with no noise at all, none can be told

Places = Float[Tensor, "n 2"]
Path = Float[Tensor, "s n 2"]


@dataclass(frozen=True)
class Way:
    """How points are led out of the noise, and what the model that leads them was asked for."""

    schedule: str = "flow"
    objective: str = "flow"
    sampler: str = "euler"
    steps: int = 16

    def __post_init__(self) -> None:
        chosen("schedule", self.schedule, SCHEDULES)
        chosen("objective", self.objective, dict.fromkeys(OBJECTIVES))
        chosen("sampler", self.sampler, SAMPLERS)
        if not 1 <= self.steps <= MOST_STEPS:
            raise BadInput(f"{self.steps} steps on the plane; name 1 to {MOST_STEPS}")


# --- who answers ----------------------------------------------------------------------------------


class Taught(NamedTuple):
    """How far a network has come."""

    step: int
    steps: int  # in all
    loss: float
    model: PlaneDenoiser  # its weights averaged over the last steps


def teach(
    points: Float[Tensor, "k 2"],
    way: Way,
    *,
    steps: int = STEPS,
    seed: int = 0,
    config: PlaneConfig | None = None,
) -> Iterator[Taught]:
    """Teach a network to make such points, as the way's schedule and objective want it."""
    model = PlaneDenoiser(config or PlaneConfig())
    model.reset(torch.Generator().manual_seed(seed))
    averaged = copy.deepcopy(model)
    plan = Plan(
        steps=steps,
        batch=_BATCH,
        rate=3e-3,
        weight_decay=0.0,
        average=0.99,
        precision="fp32",
        threads=torch.get_num_threads(),  # as they are: measuring would take longer than teaching
        seed=seed,
    )

    def wrong(network: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        return loss(
            network,
            batch["points"],
            batch["noise"],
            batch["t"],
            None,
            objective=way.objective,
            schedule=way.schedule,
        )

    for step in fit(model, _Shown(points), wrong, plan, averaged=averaged):
        yield Taught(step.number, steps, step.loss, averaged)


class _Shown:
    """The points, each time under other noise, as often as it takes to fill a batch."""

    def __init__(self, points: Float[Tensor, "k 2"]) -> None:
        self.points = as_pictures(points)
        self.random = torch.Generator()

    def __len__(self) -> int:
        return len(self.points) * math.ceil(_BATCH / max(1, len(self.points)))

    def batch(self, index: Int64[Tensor, " b"], epoch: Int64[Tensor, " b"], seed: int) -> Batch:
        address = key(seed, int(epoch[0]), int(index[0]), stream=_LESSONS)
        random = self.random.manual_seed(address)
        shown = self.points[index % len(self.points)]
        return {
            "points": shown,
            "noise": torch.randn(shown.shape, generator=random),
            "t": TIMES["stratified"](len(index), random),
        }


def exact(points: Float[Tensor, "k 2"], way: Way) -> Model:
    """The answer of least error, if there are no other points than these.

    Each of them may lie below x, the likelier the nearer: a softmax over all, which Karras et al.
    2022 give in appendix B.3. What is asked about the picture is then asked about their mean.
    Followed to the end it leads to these points and to no other: it has learned them by heart.
    """
    known = points.double()  # k 2
    size = known.square().sum(dim=1)  # k

    def answer(
        x: Float[Tensor, "b 1 1 2"], t: Float[Tensor, " b"], condition: Tensor | None
    ) -> Float[Tensor, "b 1 1 2"]:
        alpha, sigma = SCHEDULES[way.schedule](t.double())
        level = Level(alpha, sigma.clamp(min=1e-6))  # without noise: whichever is nearest
        alpha, sigma = (rearrange(part, "b -> b 1") for part in level)
        # |x - alpha p|^2 without |x|^2, which is the same for all points and drops out.
        near = alpha * (as_places(x.double()) @ known.T) - alpha**2 * size / 2  # b k
        likely = (near / sigma**2).softmax(dim=1)  # b k
        picture = as_pictures(likely @ known)
        alpha, sigma = level.beside(picture)
        above = (x.double() - alpha * picture) / sigma
        return target(way.objective, picture, above, level).to(x)

    return answer


# --- where it leads -------------------------------------------------------------------------------


def field(model: Model, way: Way, places: Places, t: float) -> Places:
    """Where everything that stands here goes at this time, and how fast as time runs down.

    A very short step of Euler's sampler, divided by its length.
    """
    if not _MOMENT <= t <= 1:
        raise BadInput(f"no field at time {t}; name one from {_MOMENT:g} to 1")
    times = torch.tensor([t, t - _MOMENT], dtype=torch.float64)
    moment = through(times, SCHEDULES[way.schedule](times))
    [step] = euler(model, as_pictures(places), moment, objective=way.objective, clip=EDGE)
    return (as_places(step.x) - places) / _MOMENT


def paths(model: Model, way: Way, *, count: int, seed: int = 0) -> Path:
    """Lead noise to points: where each is at the start and after every step.

    The same seed is the same noise for every way. As pictures are bounded by black and white, each
    guess is bounded by the edge of the paper.
    """
    road = course(way.schedule, way.steps)
    start = road.start(noise(count, seed))
    return _path(start, _steps(model, way, start, road, seed))


def there_and_back(model: Model, way: Way, points: Places, *, seed: int = 0) -> Path:
    """Lead points back to their noise, and that to points again: twice the steps.

    Back leads DDIM, whichever sampler it is that leads to points again.
    """
    times = torch.linspace(1, _ALMOST, way.steps + 1, dtype=torch.float64)
    road = through(times, SCHEDULES[way.schedule](times))
    start = as_pictures(points)
    back = _path(start, invert(model, start, road, objective=way.objective, clip=EDGE))
    found = as_pictures(back[-1])
    there = _path(found, _steps(model, way, found, road, seed))
    return torch.cat([back, there[1:]])


def _steps(
    model: Model, way: Way, start: Float[Tensor, "n 1 1 2"], road: Course, seed: int
) -> Iterator[Step]:
    fresh = (noise(len(start), seed, number) for number in range(1, 2 * MOST_STEPS))
    return SAMPLERS[way.sampler](
        model,
        start,
        road,
        objective=way.objective,
        generator=lambda: next(fresh),
        clip=EDGE,
    )


def _path(start: Float[Tensor, "n 1 1 2"], steps: Iterator[Step]) -> Path:
    return torch.stack([as_places(x) for x in (start, *(step.x for step in steps))])


def noise(count: int, seed: int = 0, number: int = 0) -> Float[Tensor, "n 1 1 2"]:
    """What the points begin with, and from number 1 on what is fresh in their steps."""
    return as_pictures(normal(seed, number, torch.arange(count), 2, stream=_NOISE))


def as_pictures(places: Places) -> Float[Tensor, "n 1 1 2"]:
    """Points as the pictures of two pixels that samplers lead."""
    return rearrange(places, "n two -> n 1 1 two")


def as_places(pictures: Float[Tensor, "n 1 1 2"]) -> Places:
    """The way back."""
    return rearrange(pictures, "n 1 1 two -> n two")


# --- how good it is -------------------------------------------------------------------------------


def energy_distance(one: Places, other: Float[Tensor, "k 2"]) -> float:
    """How far two sets of points are from being alike: 0 for the same set (Székely & Rizzo 2013).

    Twice the mean distance between them, less the mean distances within each.
    """
    one, other = one.double(), other.double()
    across, within, without = (
        torch.cdist(a, b).mean().item() for a, b in ((one, other), (one, one), (other, other))
    )
    return max(0.0, 2 * across - within - without)


def copies(made: Places, points: Float[Tensor, "k 2"]) -> float:
    """The share of what was made that lies on a point which was shown.

    On it means: nearer than a fifth of what is usual between neighbours. A few new points of the
    same shape do so by chance.
    """
    between = torch.cdist(points.double(), points.double())
    between.fill_diagonal_(math.inf)
    usual = between.min(dim=1).values.median().item()
    near = max(0.01, usual / 5 if math.isfinite(usual) else 0.0)
    nearest = torch.cdist(made.double(), points.double()).min(dim=1).values
    return (nearest < near).double().mean().item()


def distances(
    model: Model, way: Way, points: Float[Tensor, "k 2"], *, count: int, seed: int = 0
) -> tuple[float, ...]:
    """How far from the points a way ends, for each of `NUMBERS` of steps."""
    ends = (
        paths(model, replace(way, steps=steps), count=count, seed=seed)[-1] for steps in NUMBERS
    )
    return tuple(energy_distance(end, points) for end in ends)


def needed(several: Sequence[Sequence[float]]) -> list[int | None]:
    """How many steps each of several ways needs to come about as near as the best of them comes.

    None, if it does not with `MOST_STEPS`. `several` has the `distances` of each way.
    """
    enough = near_enough(several)
    return [
        next((n for n, far in zip(NUMBERS, way, strict=True) if far <= enough), None)
        for way in several
    ]


def near_enough(several: Sequence[Sequence[float]]) -> float:
    """The distance at which nobody sees a difference to the best of all."""
    return 1.5 * min(min(way) for way in several) + 0.002
