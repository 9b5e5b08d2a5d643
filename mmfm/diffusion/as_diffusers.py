"""The courses that diffusers' schedulers take, stop by stop, peculiarities included.

Whoever moves from diffusers gets the same pictures with these. What differs from
`mmfm.diffusion.course`, and why one would not want it:

    DDPM     "trailing" may take a step more than asked for, by a rounding
    DDIM     a step always leads a fixed stride down, also where the next stop lies elsewhere
    DPM++    "linspace" and "leading" lay out one stop more than asked for, and leave out the last
    Euler    "linspace" is not rounded; between two betas the noise's strength is interpolated
    flow     stops short of 0 by itself, and shifts the ends of the times twice

`kept` is `schedules.kept(betas)`. DPM++ and Euler can't begin in pure noise: where the betas end in
it, diffusers puts 2**-24 for the 0 at the end of `kept`. `to_clean=False` is what it calls
`set_alpha_to_one=False` in DDIM and `final_sigmas_type="sigma_min"` elsewhere.
"""

import math

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from mmfm.diffusion.course import WHOLE_SPACINGS, Course, table, through
from mmfm.diffusion.schedules import (
    Level,
    chosen,
    flow,
    karras_sigmas,
    shifted,
    variance_preserving,
)

Kept = Float64[Tensor, " steps"]


def ddpm(kept: Kept, steps: int, *, spacing: str = "leading", offset: int = 0) -> Course:
    """The stops of `DDPMScheduler`."""
    return _down(_whole(len(kept), steps, spacing, offset), kept, to_clean=True)


def ddim(
    kept: Kept, steps: int, *, spacing: str = "leading", offset: int = 0, to_clean: bool = True
) -> Course:
    """The stops of `DDIMScheduler`, and read `backwards` those of `DDIMInverseScheduler`."""
    t = _whole(len(kept), steps, spacing, offset)
    next_t = t - len(kept) // steps
    # Whoever strides beyond the first beta arrives at the end.
    left = torch.where(next_t < 0, _end(kept, to_clean), kept[next_t.clamp(min=0).long()])
    return Course(
        t, *variance_preserving(kept[t.long()]), next_t.clamp(min=0), *variance_preserving(left)
    )


def dpm(
    kept: Kept,
    steps: int,
    *,
    spacing: str = "linspace",
    offset: int = 0,
    to_clean: bool = True,
    least: float = -math.inf,
    karras: str | None = None,
) -> Course:
    """The stops of `DPMSolverMultistepScheduler`.

    `least` is its `lambda_min_clipped`, half the log-SNR to begin at. With `karras`, the strengths
    of noise are EDM's, and times are whole numbers: the nearest ("round"), or, as the scheduler has
    it for cosine betas, the one below ("floor").
    """
    if karras:
        strength = _karras_between(_strength(kept), steps)
        t = _time_of(strength, kept)
        return _from_strength(
            t.round() if karras == "round" else t.floor(), strength, kept, to_clean
        )
    alpha, sigma = variance_preserving(kept)
    total = int((alpha.log() - sigma.log() >= least).sum())
    match spacing:
        case "linspace":
            t = _linspace(total - 1, steps + 1).round()[:-1]
        case "leading":
            t = _arange(0, steps + 1, 1).mul(total // (steps + 1)).flip(0)[:-1] + offset
        case _:
            chosen("spacing", spacing, WHOLE_SPACINGS)
            t = _arange(total, 0, -len(kept) / steps).round() - 1
    return _down(t, kept, to_clean)


def euler(
    kept: Kept,
    steps: int,
    *,
    spacing: str = "linspace",
    offset: int = 0,
    to_clean: bool = True,
    karras: bool = False,
) -> Course:
    """The stops of `EulerDiscreteScheduler` and `HeunDiscreteScheduler`."""
    if spacing == "linspace":
        t = _linspace(len(kept) - 1, steps)
    else:
        t = _whole(len(kept), steps, spacing, offset)
    alpha, sigma = table(kept)(t)
    strength = sigma / alpha
    if karras:
        strength = _karras_between(strength.flip(0), steps)
        t = _time_of(strength, kept)
    return _from_strength(t, strength, kept, to_clean)


def flow_euler(steps: int, *, shift: float = 1.0, total: int = 1000) -> Course:
    """The stops of `FlowMatchEulerDiscreteScheduler`, unless it is given others."""
    first, last = shifted(torch.tensor([1.0, 1 / total], dtype=torch.float64), shift).tolist()
    t = shifted(torch.linspace(first, last, steps, dtype=torch.float64), shift)
    t = torch.cat([t, t.new_zeros(1)])
    return through(t, flow(t))


def flow_dpm(steps: int, *, shift: float = 1.0, total: int = 1000) -> Course:
    """The stops of `DPMSolverMultistepScheduler` with `use_flow_sigmas`."""
    left = torch.linspace(1, 1 / total, steps + 1, dtype=torch.float64)
    t = shifted(1 - left, shift).flip(0)  # the last is 0
    return through(t, flow(t))


# --- what they share ------------------------------------------------------------------------------


def _whole(total: int, steps: int, spacing: str, offset: int) -> Float64[Tensor, " n"]:
    """Whole times, as DDPM, DDIM, Euler and Heun lay them out."""
    match spacing:
        case "trailing":  # the offset is for "leading" alone, as there
            return _arange(total, 0, -total / steps).round() - 1
        case "linspace":
            return _linspace(total - 1, steps).round()
        case _:
            return chosen("spacing", spacing, WHOLE_SPACINGS)(total, steps) + offset


# NumPy's, as there: torch's differ in the last digit, and what lies halfway is rounded elsewhere.


def _arange(start: float, end: float, step: float) -> Float64[Tensor, " n"]:
    return torch.from_numpy(np.arange(start, end, step, dtype=np.float64))


def _linspace(last: int, count: int) -> Float64[Tensor, " n"]:
    """From the last down to 0, or 0 alone."""
    return torch.from_numpy(np.linspace(0, last, count)).flip(0)


def _end(kept: Kept, to_clean: bool) -> Float64[Tensor, ""]:
    return torch.ones_like(kept[0]) if to_clean else kept[0]


def _down(t: Float64[Tensor, " n"], kept: Kept, to_clean: bool) -> Course:
    """Through whole times, each step to the next."""
    left = torch.cat([kept[t.long()], _end(kept, to_clean)[None]])
    return through(torch.cat([t, t.new_zeros(1)]), variance_preserving(left))


def _from_strength(
    t: Float64[Tensor, " n"], strength: Float64[Tensor, " n"], kept: Kept, to_clean: bool
) -> Course:
    """Through strengths of noise beside the picture, with the times that are told there."""
    last = torch.zeros_like(kept[:1]) if to_clean else _strength(kept)[:1]
    strength = torch.cat([strength, last])
    alpha = (1 + strength**2) ** -0.5
    return through(torch.cat([t, t.new_zeros(1)]), Level(alpha, strength * alpha))


def _strength(kept: Kept) -> Float64[Tensor, " steps"]:
    return ((1 - kept) / kept).sqrt()


def _karras_between(strength: Float64[Tensor, " n"], steps: int) -> Float64[Tensor, " n"]:
    """EDM's strengths from the last of these, the largest, to the first."""
    return karras_sigmas(steps, strength[0].item(), strength[-1].item())


def _time_of(strength: Float64[Tensor, " n"], kept: Kept) -> Float64[Tensor, " n"]:
    """The time when noise is so strong, on straight lines between the logarithms of the table."""
    known, wanted = _strength(kept).log(), strength.log()
    # The last place that is not above: where betas end in noise, the 2**-24 is not the smallest.
    places = torch.arange(len(known)) * (known <= wanted[:, None])
    low = places.amax(dim=1).clamp(max=len(known) - 2)
    share = (wanted - known[low]) / (known[low + 1] - known[low])
    return low + share.clamp(0, 1)
