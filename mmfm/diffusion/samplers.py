"""The way from noise to a picture: samplers, each a short generator that yields every step.

    ddpm       small random steps, as the network was taught                  (Ho et al. 2020)
    ddim       long straight steps, with as much noise as one likes        (J. Song et al. 2021)
    euler      the same steps seen as an equation in the noise's strength     (Karras et al. 2022)
    heun       looks ahead and averages: two questions a step, fewer steps    (Karras et al. 2022)
    dpm_2m     looks back instead: one question a step                        (Lu et al. 2022)
    dpm_2m_sde the same with fresh noise
    jump       Euler's steps by a network that is told where each leads     (Frans et al. 2024)

A sampler asks the model about the noisy picture x at each stop of a `mmfm.diffusion.course` and
takes the model's guess of the clean picture and of the noise (`mmfm.diffusion.objectives`) to the
level where the step leads. It knows neither the schedule nor the network: any callable
`model(x, t, condition)` will do; `jump` asks `model(x, t, condition, to)`.

In the equations alpha and sigma are the level of x at the stop, next_alpha and next_sigma that of
x after the step: x = alpha * picture + sigma * noise. Every formula holds where the first alpha is
0, pure noise, and where the last sigma is: nothing is divided by them there.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, Protocol

import torch
from einops import rearrange
from jaxtyping import Float, Float64
from torch import Tensor

from mmfm.diffusion.course import Course
from mmfm.diffusion.objectives import Condition, Guess, Model, guess
from mmfm.diffusion.schedules import Level
from mmfm.errors import BadInput

Pictures = Float[Tensor, "b c y x"]
Mend = Callable[[Pictures], Pictures]
# Where noise comes from: a generator, or whatever gives the next noise, shaped as x is.
Noise = torch.Generator | Callable[[], Tensor]

# An alpha to divide by must be larger than this, or only rounding errors are left.
NOTHING = 1e-6


class Step(NamedTuple):
    """What a sampler yields after every step."""

    x: Pictures  # the picture, a little less noisy now
    x0: Pictures  # the clean picture that the model guessed on the way
    t: float  # the time that it was asked about


class Jumper(Protocol):
    """A model that can be told which time its answer is to lead to."""

    def __call__(
        self, x: Tensor, t: Tensor, condition: Condition, to: Tensor | None = None, /
    ) -> Tensor: ...


class Sampler(Protocol):
    """What all samplers have in common; their own options come besides."""

    def __call__(
        self,
        model: Model,
        x: Pictures,
        course: Course,
        *,
        objective: str,
        condition: Condition = None,
        generator: Noise | None = None,
        clip: float | Mend | None = None,
    ) -> Iterator[Step]:
        """Take x, as noisy as the first stop of the course, to where the course ends.

        `objective` says what the model predicts; `clip` bounds its guess of the clean picture, or
        mends it in another way (`Threshold`).
        """
        ...


# --- random steps ---------------------------------------------------------------------------------


@torch.no_grad()
def ddpm(
    model: Model,
    x: Pictures,
    course: Course,
    *,
    objective: str,
    condition: Condition = None,
    generator: Noise | None = None,
    clip: float | Mend | None = None,
    variance: Literal["small", "large"] = "small",
    as_diffusers: bool = False,
) -> Iterator[Step]:
    """Undo one small portion of noise at a time (Ho et al. 2020, algorithm 2, equations 6 and 7).

    Of the two variances that they name, the "small" is right if all pictures are alike, the "large"
    if pixels are independent. diffusers adds noise after the last step too, unless that was asked
    about time 0.
    """
    if variance not in ("small", "large"):
        raise BadInput(f"no variance {variance!r}; there are small, large")
    ask = asking(model, objective, condition, clip)
    for t, (alpha, sigma), _, (next_alpha, next_sigma) in course:
        picture, _ = ask(x, t, Level(alpha, sigma))
        shrink = alpha / next_alpha  # the square root of their 1 - beta
        beta = sigma**2 - (shrink * next_sigma) ** 2
        behind = (next_sigma / sigma) ** 2  # the share of the noise that stays
        x = next_alpha * beta / sigma**2 * picture + shrink * behind * x  # their mean, equation 7
        if (t > 0) if as_diffusers else (next_sigma > 0):
            spread = behind * beta if variance == "small" else beta
            x = x + spread.clamp(min=1e-20).sqrt() * drawn(x, generator)
        yield Step(x, picture, t.item())


@torch.no_grad()
def ddim(
    model: Model,
    x: Pictures,
    course: Course,
    *,
    objective: str,
    condition: Condition = None,
    generator: Noise | None = None,
    clip: float | Mend | None = None,
    eta: float = 0.0,
    rederive: bool = True,
) -> Iterator[Step]:
    """Keep the guessed picture and put less of the guessed noise over it.

    J. Song et al. 2021, equation 12. `eta` says how much fresh noise takes the place of old: with 0
    the same noise makes the same picture each time, with 1 this is `ddpm`.
    When the guess was clipped, the noise is read anew from x and what the clipping left; with
    `rederive=False` it stays the model's, which is what diffusers does.
    """
    _require_share("eta", eta)
    ask = asking(model, objective, condition, clip, rederive)
    for t, (alpha, sigma), _, (next_alpha, next_sigma) in course:
        picture, noise = ask(x, t, Level(alpha, sigma))
        if eta == 0:
            x = next_alpha * picture + next_sigma * noise
        else:
            beta = sigma**2 - (alpha / next_alpha * next_sigma) ** 2
            fresh = eta * next_sigma / sigma * beta.sqrt()  # equation 16
            stays = (next_sigma**2 - fresh**2).clamp(min=0).sqrt()
            x = next_alpha * picture + stays * noise + fresh * drawn(x, generator)
        yield Step(x, picture, t.item())


# --- an equation to be solved ---------------------------------------------------------------------


@torch.no_grad()
def euler(
    model: Model,
    x: Pictures,
    course: Course,
    *,
    objective: str,
    condition: Condition = None,
    generator: Noise | None = None,
    clip: float | Mend | None = None,
    noise_scale: float = 1.0,
) -> Iterator[Step]:
    """Follow the direction at the stop to the end of the step (Karras et al. 2022, section 3).

    In their variables, y = x / alpha and strength s = sigma / alpha, the noise is the slope dy/ds.
    Seen in x that is DDIM, and on the `flow` schedule x + (next_t - t) * (noise - picture). On a
    `churned` course each step begins with fresh noise, times `noise_scale`.
    """
    ask = asking(model, objective, condition, clip)
    came: Level | None = None
    for t, here, _, there in course:
        x = _lifted(x, came, here, noise_scale, generator)
        picture, noise = ask(x, t, here)
        x = there.alpha * picture + there.sigma * noise
        came = there
        yield Step(x, picture, t.item())


@torch.no_grad()
def heun(
    model: Model,
    x: Pictures,
    course: Course,
    *,
    objective: str,
    condition: Condition = None,
    generator: Noise | None = None,
    clip: float | Mend | None = None,
    noise_scale: float = 1.0,
) -> Iterator[Step]:
    """Look where Euler's step leads, ask again there, and walk along the mean of both directions.

    Algorithm 1 of Karras et al. 2022, and on a `churned` course their stochastic algorithm 2 with
    S_noise = `noise_scale`. The step into the clean picture stays Euler's.
    """
    ask = asking(model, objective, condition, clip)
    came: Level | None = None
    for t, here, next_t, there in course:
        x = _lifted(x, came, here, noise_scale, generator)
        picture, noise = ask(x, t, here)
        x = there.alpha * picture + there.sigma * noise
        if there.sigma > 0:
            ahead = ask(x, next_t, there)
            # Half the difference of the slopes, times the way: by s = sigma / alpha, in which the
            # noise is the slope, or in pure noise, where s is infinite, by 1/s and the picture.
            if here.alpha > NOTHING:
                way = there.sigma - there.alpha * here.sigma / here.alpha
                x = x + way * (ahead.noise - noise) / 2
            else:
                way = there.alpha - there.sigma * here.alpha / here.sigma
                x = x + way * (ahead.picture - picture) / 2
        came = there
        yield Step(x, picture, t.item())


@torch.no_grad()
def jump(
    model: Jumper,
    x: Pictures,
    course: Course,
    *,
    objective: str,
    condition: Condition = None,
    generator: Noise | None = None,
    clip: float | Mend | None = None,
) -> Iterator[Step]:
    """Take Euler's steps with a network that is told where each leads, and answers for all of it.

    What it answers is the mean direction on the way there, which may be as bent as it likes
    (`mmfm.diffusion.few_steps`): one or two steps will do. A guess of the picture on the way is
    where that direction would lead if it went on; the last one is the picture.
    """
    for t, here, next_t, there in course:
        ask = asking(_leading(model, next_t), objective, condition, clip)
        picture, noise = ask(x, t, here)
        x = there.alpha * picture + there.sigma * noise
        yield Step(x, picture, t.item())


def _leading(model: Jumper, to: Float64[Tensor, ""]) -> Model:
    return lambda x, t, condition: model(x, t, condition, to)


@torch.no_grad()
def dpm_2m(
    model: Model,
    x: Pictures,
    course: Course,
    *,
    objective: str,
    condition: Condition = None,
    generator: Noise | None = None,
    clip: float | Mend | None = None,
    eta: float = 0.0,
    low_order_end: bool = True,
) -> Iterator[Step]:
    """Continue the line through the last two guesses (DPM-Solver++ 2M: Lu et al. 2022, alg. 2).

    The line is drawn over lambda = log(alpha / sigma). `eta` says how much fresh noise takes the
    place of old, 1 for the SDE form. The last step relies on its own guess alone if it leads to a
    clean picture, or if there are less than 15 (unless `low_order_end` is False).
    """
    _require_share("eta", eta)
    ask = asking(model, objective, condition, clip)
    alone_at_end = course.next_sigma[-1] == 0 or (low_order_end and len(course) < 15)
    before: tuple[Pictures, Float64[Tensor, ""]] | None = None
    for number, (t, (alpha, sigma), _, (next_alpha, next_sigma)) in enumerate(course, 1):
        picture, _ = ask(x, t, Level(alpha, sigma))
        lambda_, next_lambda = (alpha / sigma).log(), (next_alpha / next_sigma).log()
        line = picture
        if before and not (number == len(course) and alone_at_end):
            old_picture, old_lambda = before
            r = (lambda_ - old_lambda) / (next_lambda - lambda_)
            line = picture + (picture - old_picture) / (2 * r)
        shrink = next_sigma * alpha / (sigma * next_alpha)  # exp(-h), and 0 from or to infinity
        x = next_sigma / sigma * shrink**eta * x + next_alpha * (1 - shrink ** (1 + eta)) * line
        if eta > 0:
            x = x + next_sigma * (1 - shrink ** (2 * eta)).sqrt() * drawn(x, generator)
        before = picture, lambda_
        yield Step(x, picture, t.item())


dpm_2m_sde = partial(dpm_2m, eta=1.0)


# For any network. `jump` asks more of it, so it is not among them.
SAMPLERS: dict[str, Sampler] = {
    "ddpm": ddpm,
    "ddim": ddim,
    "dpm++": dpm_2m,
    "dpm++sde": dpm_2m_sde,
    "euler": euler,
    "heun": heun,
}


# --- what is done to a guess ----------------------------------------------------------------------


@dataclass(frozen=True)
class Threshold:
    """Dynamic thresholding: bound each guess by what most of its pixels keep to, then scale it.

    Saharia et al. 2022, section 2.3. Strong guidance drives pixels far beyond -1 and 1, and a plain
    bound would leave nothing but black and white.
    """

    share: float = 0.995  # of the pixels, which decide on the bound
    most: float = 1.0  # the largest bound; at 1 it is plain clipping

    def __post_init__(self) -> None:
        _require_share("a share of pixels", self.share)
        if not self.most >= 1:
            raise BadInput(f"no bound of {self.most}: pictures reach from -1 to 1; name at least 1")

    def __call__(self, picture: Pictures) -> Pictures:
        precise = torch.promote_types(picture.dtype, torch.float32)  # quantiles ask for that
        sizes = rearrange(picture.abs().to(precise), "b c y x -> b (c y x)")
        bound = sizes.quantile(self.share, dim=1).clamp(min=1, max=self.most)
        bound = rearrange(bound.to(picture.dtype), "b -> b 1 1 1")
        return picture.clamp(-bound, bound) / bound


# --- what the samplers share ----------------------------------------------------------------------

_Ask = Callable[[Pictures, Float64[Tensor, ""], Level], Guess]


def asking(
    model: Model,
    objective: str,
    condition: Condition,
    clip: float | Mend | None,
    rederive: bool = True,
) -> _Ask:
    """A question to the model: what are the picture and the noise in x, at this time and level?"""
    mend = mending(clip)

    def ask(x: Pictures, t: Float64[Tensor, ""], level: Level) -> Guess:
        # Times in half precision would be told apart no better than to the second digit.
        told = t.to(x.device, torch.promote_types(x.dtype, torch.float32)).expand(len(x))
        prediction = model(x, told, condition)
        if objective == "noise" and level.alpha == 0:
            # x is the noise, and nothing can be said of the picture: all grey is its mean.
            picture, noise = torch.zeros_like(x), x / level.sigma
        else:
            picture, noise = guess(objective, prediction.to(x.dtype), x, level)
        if mend is None:
            return Guess(picture, noise)
        picture = mend(picture)
        return Guess(picture, (x - level.alpha * picture) / level.sigma if rederive else noise)

    return ask


def mending(clip: float | Mend | None) -> Mend | None:
    if clip is None or callable(clip):
        return clip
    if not clip > 0:
        raise BadInput(f"pictures can't be clipped to {clip}; name a number above 0, or None")
    return partial(torch.clamp, min=-clip, max=clip)


def _lifted(
    x: Pictures, came: Level | None, here: Level, noise_scale: float, generator: Noise | None
) -> Pictures:
    """Add the noise that x lacks at a stop which is noisier than where the last step led."""
    if came is None:
        return x
    shrink = here.alpha / came.alpha
    lacking = here.sigma**2 - (shrink * came.sigma) ** 2
    if lacking <= 0:
        return x
    return shrink * x + lacking.sqrt() * noise_scale * drawn(x, generator)


def drawn(x: Pictures, source: Noise | None) -> Pictures:
    """Noise for all of x, drawn where the generator is: a seed says the same on every device."""
    if source is not None and not isinstance(source, torch.Generator):
        return source().to(x)
    device = x.device if source is None else source.device
    return torch.randn(x.shape, generator=source, dtype=x.dtype, device=device).to(x.device)


def _require_share(name: str, value: float) -> None:
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise BadInput(f"{name} of {value} is not possible; name one between 0 and 1")
