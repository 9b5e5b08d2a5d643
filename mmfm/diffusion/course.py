"""Where a sampler stops on its way from noise to picture, and where each of its steps leads.

    course      for our networks, which are told a time from 1 (noise) to 0 (picture)
    discrete    for networks that count betas, as DDPM does: 999 is noise, 0 almost a picture
    strengths   for EDM's networks, which are told how strong the noise is: from 80 down to 0
    churned     the same way with a little noise added before each step, as EDM's sampler takes it

A course is a table of numbers in float64; a sampler knows nothing else of the schedule.
`mmfm.diffusion.as_diffusers` has the courses that diffusers takes, with its peculiarities.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from mmfm.diffusion.schedules import SCHEDULES, Level, chosen, edm, karras_sigmas, shifted
from mmfm.errors import BadInput

Schedule = Callable[[Float64[Tensor, " n"]], Level]


class Stop(NamedTuple):
    """One stop: what the network is told, the level of x there, and where the step leads."""

    t: Float64[Tensor, ""]
    here: Level
    next_t: Float64[Tensor, ""]
    there: Level


@dataclass(frozen=True, eq=False)
class Course:
    """The stops from noise to picture, in a table of n rows; iterate over it to get each `Stop`.

    A step leads to the next stop, as a rule. Where that stop is noisier than where the step led,
    the samplers `euler` and `heun` add the noise that is missing (see `churned`).
    """

    t: Float64[Tensor, " n"]  # what the network is told
    alpha: Float64[Tensor, " n"]  # the level of x then
    sigma: Float64[Tensor, " n"]
    next_t: Float64[Tensor, " n"]
    next_alpha: Float64[Tensor, " n"]  # the level that the step leads to
    next_sigma: Float64[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.t)

    def __iter__(self) -> Iterator[Stop]:
        columns = (self.t, self.alpha, self.sigma, self.next_t, self.next_alpha, self.next_sigma)
        for t, alpha, sigma, next_t, next_alpha, next_sigma in zip(*columns, strict=True):
            yield Stop(t, Level(alpha, sigma), next_t, Level(next_alpha, next_sigma))

    def start(self, noise: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """Noise of mean 0 and variance 1 as the first stop expects it."""
        return self.sigma[0] * noise

    def last(self, steps: int) -> "Course":
        """Only the last steps of the way."""
        if not 1 <= steps <= len(self):
            raise BadInput(f"a course of {len(self)} steps has no last {steps}")
        return Course(*(getattr(self, field.name)[-steps:] for field in fields(self)))

    def backwards(self) -> "Course":
        """The way from picture to noise. The network is told the time that a step leads to.

        There, not where it stands, its answer would be needed to walk the way back exactly.
        """
        (t, alpha, sigma), (next_alpha, next_sigma) = (
            (self.t.flip(0), self.alpha.flip(0), self.sigma.flip(0)),
            (self.next_alpha.flip(0), self.next_sigma.flip(0)),
        )
        return Course(t, next_alpha, next_sigma, t, alpha, sigma)


def through(t: Float64[Tensor, " n+1"], level: Level) -> Course:
    """Stop at each time but the last, which is where the way ends."""
    alpha, sigma = level
    return Course(t[:-1], alpha[:-1], sigma[:-1], t[1:], alpha[1:], sigma[1:])


# --- our networks: a time from 1 to 0 -------------------------------------------------------------


def course(
    schedule: str | Sequence[float], steps: int, *, spacing: str = "even", shift: float = 1.0
) -> Course:
    """From noise at time 1 to the picture at time 0, for a network that learned this schedule.

    That is one of a name or, for a network that counts betas, a table of what they keep (see
    `fading`). A `shift` above 1 spends more of the steps where there is much noise.
    """
    fade = fading(schedule)
    if not (math.isfinite(shift) and shift > 0):
        raise BadInput(
            f"times can't be shifted by {shift}; name a number above 0, 1 for not at all"
        )
    if not isinstance(schedule, str) and steps > len(schedule):
        raise BadInput(
            f"{steps} steps are not possible among {len(schedule)} betas; name at most that"
        )
    times = chosen("spacing", spacing, SPACINGS)(fade, _possible(steps))
    times = shifted(times, shift)
    return through(times, fade(times))


def fading(schedule: str | Sequence[float]) -> Schedule:
    """How a picture fades into noise over our time: the schedule of a name, or a table of betas.

    The table says what is left of the picture's variance after each of n betas (`schedules.kept`):
    time 0 is the picture, k / n is after k of them, 1 after the last. `course` over it stops where
    `discrete` does with "trailing" spacing, if the steps divide n.
    """
    if isinstance(schedule, str):
        return chosen("schedule", schedule, SCHEDULES)
    level = table(torch.tensor([1.0, *schedule], dtype=torch.float64))

    def fade(t: Float64[Tensor, " n"]) -> Level:
        place = t * len(schedule)
        # At a beta itself the next one doesn't count; a rounding must not make it count.
        return level(torch.where((place - place.round()).abs() < 1e-6, place.round(), place))

    return fade


def _even(schedule: Schedule, steps: int) -> Float64[Tensor, " n+1"]:
    """Times that lie equally far apart."""
    return torch.linspace(1, 0, steps + 1, dtype=torch.float64)


def _karras(schedule: Schedule, steps: int) -> Float64[Tensor, " n+1"]:
    """Times at which the noise is as strong beside the picture as at EDM's stops."""
    between = time_of(schedule, karras_sigmas(steps)[1:])
    return torch.cat([between.new_ones(1), between, between.new_zeros(1)])


SPACINGS: dict[str, Callable[[Schedule, int], Tensor]] = {"even": _even, "karras": _karras}


# --- networks that count betas --------------------------------------------------------------------


def discrete(kept: Float64[Tensor, " steps"], steps: int, *, spacing: str = "trailing") -> Course:
    """From the last of the betas to a clean picture, each step to the next stop.

    `kept` is what is left of the picture's variance (`schedules.kept`). Table 2 of Lin et al. 2023
    names the spacings: "trailing" begins in pure noise, as the way should; "leading", DDPM's own,
    a stride before; "linspace" at both ends.
    """
    if _possible(steps) > len(kept):
        raise BadInput(f"{steps} steps are not possible among {len(kept)} betas; name at most that")
    t = chosen("spacing", spacing, WHOLE_SPACINGS)(len(kept), steps)
    alpha, sigma = table(kept)(t)
    end = t.new_zeros(1)
    return through(torch.cat([t, end]), Level(torch.cat([alpha, end + 1]), torch.cat([sigma, end])))


def _linspace(total: int, steps: int) -> Float64[Tensor, " n"]:
    return torch.linspace(total - 1, 0, steps, dtype=torch.float64).round()


def _leading(total: int, steps: int) -> Float64[Tensor, " n"]:
    return (torch.arange(steps, dtype=torch.float64) * (total // steps)).flip(0)


def _trailing(total: int, steps: int) -> Float64[Tensor, " n"]:
    return (total - torch.arange(steps, dtype=torch.float64) * total / steps).round() - 1


WHOLE_SPACINGS: dict[str, Callable[[int, int], Tensor]] = {
    "linspace": _linspace,
    "leading": _leading,
    "trailing": _trailing,
}


def table(kept: Float64[Tensor, " steps"]) -> Schedule:
    """The level at each time of a table of betas, and between two of them.

    Between, the noise's strength beside the picture is taken to grow in a straight line.
    """
    ratios = ((1 - kept) / kept).sqrt()

    def level(t: Float64[Tensor, " n"]) -> Level:
        low = t.long().clamp(0, len(kept) - 1)
        high = (low + 1).clamp(max=len(kept) - 1)
        share = t - low
        # At a time of the table itself the next ratio doesn't count, not even if it is infinite.
        ratio = torch.where(share == 0, ratios[low], ratios[low].lerp(ratios[high], share))
        return Level((1 + ratio**2) ** -0.5, (1 + ratio**-2) ** -0.5)

    return level


# --- EDM's networks -------------------------------------------------------------------------------


def strengths(
    steps: int, *, smallest: float = 0.002, largest: float = 80.0, rho: float = 7.0
) -> Course:
    """From noise of the largest strength to none, as EDM spaces it (Karras et al. 2022, eq. 5)."""
    if not 0 < smallest <= largest < math.inf:
        raise BadInput(f"noise can't go from {largest} down to {smallest}; name 0 < small <= large")
    sigmas = karras_sigmas(_possible(steps), smallest, largest, rho)
    t = torch.cat([sigmas, sigmas.new_zeros(1)])
    return through(t, edm(t))


def churned(
    way: Course,
    schedule: Schedule,
    amount: float,
    *,
    lowest: float = 0.0,
    highest: float = math.inf,
    latest: float = 1.0,
) -> Course:
    """Lift each stop a little above where the step before leads: EDM's S_churn, S_min and S_max.

    Lines 4 and 5 of algorithm 2 of Karras et al. 2022, for any schedule: strength is what noise has
    beside the picture, sigma / alpha. `latest` is the schedule's last time. `euler` and `heun` add
    the noise (line 6); fresh noise on the way mends the mistakes of earlier steps.
    """
    if not (amount >= 0 and 0 <= lowest <= highest):
        raise BadInput(
            f"no churn of {amount} between strengths {lowest} and {highest}; "
            "name one of at least 0, and the lower strength first"
        )
    strength = way.sigma / way.alpha
    gamma = min(amount / len(way), math.sqrt(2) - 1)
    lifted = (lowest <= strength) & (strength <= highest) & strength.isfinite() & (gamma > 0)
    t = time_of(schedule, strength * (1 + gamma), latest)
    alpha, sigma = schedule(t)
    return replace(
        way,
        t=torch.where(lifted, t, way.t),
        alpha=torch.where(lifted, alpha, way.alpha),
        sigma=torch.where(lifted, sigma, way.sigma),
    )


def time_of(
    schedule: Schedule, strength: Float64[Tensor, " n"], latest: float = 1.0
) -> Float64[Tensor, " n"]:
    """When noise is so strong beside the picture, found by halving: it only ever grows."""
    early, late = torch.zeros_like(strength), torch.full_like(strength, latest)
    for _ in range(100):  # until the two are neighbours in float64
        middle = (early + late) / 2
        alpha, sigma = schedule(middle)
        beyond = sigma > strength * alpha
        early, late = torch.where(beyond, early, middle), torch.where(beyond, middle, late)
    return (early + late) / 2


def _possible(steps: int) -> int:
    if steps < 1:
        raise BadInput(f"a picture can't be made in {steps} steps; name at least 1")
    return steps
