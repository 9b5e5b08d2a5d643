"""How a picture turns into noise: pure functions from a time to a level, numbers in, tensor out.

    x = alpha * picture + sigma * noise

A level is such a pair (alpha, sigma). There are three ways to say which one is meant:

    by a time     flow, cosine, linear: t from 0 (picture) to 1 (noise); our networks learn these
    by betas      a thousand small portions of noise, as DDPM and Stable Diffusion count them
    by sigmas     the picture untouched, noise up to 80 times as strong on top of it (EDM)

What matters of a level is its signal-to-noise ratio; the rest is scale.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import torch
from einops import rearrange
from jaxtyping import Float, Float64
from torch import Generator, Tensor

from mmfm.errors import BadInput

Entry = TypeVar("Entry")


class Level(NamedTuple):
    """How much of the picture is there and how much noise, in tensors of one shape."""

    alpha: Float[Tensor, "*levels"]
    sigma: Float[Tensor, "*levels"]

    def beside(self, x: Tensor) -> "Level":
        """The same level shaped and typed to be multiplied with pictures: `* c y x`."""
        alpha, sigma = (rearrange(part.to(x), "... -> ... 1 1 1") for part in self)
        return Level(alpha, sigma)


def add_noise(
    picture: Float[Tensor, "*b c y x"], noise: Float[Tensor, "*b c y x"], level: Level
) -> Float[Tensor, "*b c y x"]:
    """Mix picture and noise as the level says: one level for all, or one for each picture."""
    alpha, sigma = level.beside(picture)
    return alpha * picture + sigma * noise


def snr(level: Level) -> Float[Tensor, "*levels"]:
    """The signal-to-noise ratio: infinite for the picture alone, 0 for noise alone."""
    return (level.alpha / level.sigma) ** 2


def log_snr(level: Level) -> Float[Tensor, "*levels"]:
    """Its logarithm, from infinity for the picture alone to minus infinity for noise alone."""
    return 2 * (level.alpha.log() - level.sigma.log())


# --- by a time from 0 (picture) to 1 (noise) ------------------------------------------------------


def flow(t: Float[Tensor, "*levels"]) -> Level:
    """Fade from one to the other in a straight line: rectified flow (Liu et al. 2022)."""
    return Level(1 - t, t)


def cosine(t: Float[Tensor, "*levels"]) -> Level:
    """A quarter of a circle, so that the variance stays 1 (Salimans & Ho 2022, section 4)."""
    # sin(pi/2 (1 - t)) is cos(pi/2 t), and exactly 0 at the end, where rounding would miss it.
    return Level((math.pi / 2 * (1 - t)).sin(), (math.pi / 2 * t).sin())


def linear(t: Float[Tensor, "*levels"], start: float = 0.1, end: float = 20.0) -> Level:
    """What `linear_betas` become when steps grow many and small (Y. Song et al. 2021, eq. 33)."""
    log_alpha = -(t**2) * (end - start) / 4 - t * start / 2
    return Level(log_alpha.exp(), (-(2 * log_alpha).expm1()).sqrt())


SCHEDULES: dict[str, Callable[[Tensor], Level]] = {
    "flow": flow,
    "cosine": cosine,
    "linear": linear,
}


def shifted(t: Float[Tensor, "*levels"], by: float) -> Float[Tensor, "*levels"]:
    """Move times towards the noise, as large pictures need it (Esser et al. 2024, equation 23).

    The ends stay; on the `flow` schedule noise becomes `by` times as strong beside the picture.
    """
    return by * t / (by * t + (1 - t))


# --- by betas, small portions of noise ------------------------------------------------------------


def linear_betas(
    steps: int = 1000, start: float = 1e-4, end: float = 0.02
) -> Float64[Tensor, " steps"]:
    """Each step adds a little more noise than the one before (DDPM: Ho et al. 2020)."""
    return torch.linspace(start, end, steps, dtype=torch.float64)


def scaled_linear_betas(
    steps: int = 1000, start: float = 1e-4, end: float = 0.02
) -> Float64[Tensor, " steps"]:
    """The same with straight square roots, so that noise comes later (Rombach et al. 2022).

    Stable Diffusion's go from 0.00085 to 0.012; these ends are DDPM's.
    """
    return torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2


def cosine_betas(steps: int = 1000, largest: float = 0.999) -> Float64[Tensor, " steps"]:
    """Betas that leave cos² of the picture's variance (Nichol & Dhariwal 2021, equation 17)."""
    t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    left = ((t + 0.008) / 1.008 * math.pi / 2).cos() ** 2
    return (1 - left[1:] / left[:-1]).clamp(max=largest)


def sigmoid_betas(
    steps: int = 1000, start: float = 1e-4, end: float = 0.02
) -> Float64[Tensor, " steps"]:
    """Betas that stay low, rise in the middle and stay high (GeoDiff: Xu et al. 2022)."""
    return start + (end - start) * torch.linspace(-6, 6, steps, dtype=torch.float64).sigmoid()


def kept(betas: Float64[Tensor, " steps"]) -> Float64[Tensor, " steps"]:
    """How much of the picture's variance is left after each step: DDPM's alpha-bar."""
    return (1 - betas).cumprod(dim=0)


def variance_preserving(kept: Float[Tensor, "*levels"]) -> Level:
    """Noise takes the place of what the picture loses, and the variance stays 1."""
    return Level(kept.sqrt(), (1 - kept).sqrt())


def zero_terminal_snr(betas: Float64[Tensor, " steps"]) -> Float64[Tensor, " steps"]:
    """Betas that leave nothing of the picture at the last step (Lin et al. 2023, algorithm 1).

    Stable Diffusion's leave half a percent of its variance, from which a network learns how bright
    a picture is, and which is missing when it samples from pure noise.
    """
    alpha = kept(betas).sqrt()
    alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
    left = alpha**2
    return torch.cat([1 - left[:1], 1 - left[1:] / left[:-1]])


# --- by sigmas, noise on top of the picture -------------------------------------------------------


def edm(sigma: Float[Tensor, "*levels"]) -> Level:
    """Noise of this strength on the picture as it is (EDM: Karras et al. 2022)."""
    return Level(torch.ones_like(sigma), sigma)


def karras_sigmas(
    n: int, smallest: float = 0.002, largest: float = 80.0, rho: float = 7.0
) -> Float64[Tensor, " n"]:
    """From strong noise to weak, more closely towards the end (Karras et al. 2022, equation 5)."""
    ramp = torch.linspace(0, 1, n, dtype=torch.float64)
    first, last = largest ** (1 / rho), smallest ** (1 / rho)
    return (first + ramp * (last - first)) ** rho


def exponential_sigmas(
    n: int, smallest: float = 0.002, largest: float = 80.0
) -> Float64[Tensor, " n"]:
    """From strong noise to weak, each by the same factor weaker than the one before."""
    return torch.linspace(math.log(largest), math.log(smallest), n, dtype=torch.float64).exp()


# --- which times to learn from --------------------------------------------------------------------


def uniform(b: int, generator: Generator) -> Float[Tensor, " b"]:
    """Every time as often as every other."""
    return torch.rand(b, generator=generator, device=generator.device)


def logit_normal(
    b: int, generator: Generator, mean: float = 0.0, std: float = 1.0
) -> Float[Tensor, " b"]:
    """The middle more often than the ends, where there is less to learn (Esser et al. 2024)."""
    drawn = torch.randn(b, generator=generator, device=generator.device)
    return (mean + std * drawn).sigmoid()


def stratified(b: int, generator: Generator) -> Float[Tensor, " b"]:
    """One time from each of b equal parts, shuffled: no batch is luckier than another."""
    parts = torch.randperm(b, generator=generator, device=generator.device)
    return (parts + uniform(b, generator)) / b


TIMES: dict[str, Callable[[int, Generator], Tensor]] = {
    "uniform": uniform,
    "logit-normal": logit_normal,
    "stratified": stratified,
}


# --- which levels count how much ------------------------------------------------------------------


def min_snr_weight(level: Level, most: float = 5.0) -> Float[Tensor, "*levels"]:
    """By their signal-to-noise ratio, but clear pictures no more than this (Hang et al. 2023)."""
    return snr(level).clamp(max=most)


def edm_weight(level: Level, spread: float = 0.5) -> Float[Tensor, "*levels"]:
    """By how surely the picture can be told at all, if its pixels spread so (Karras et al. 2022).

    Each level then weighs the same for a network that starts from the best guess at that level.
    """
    return snr(level) + 1 / spread**2


# What an error of the guessed picture costs; "none" leaves that to what the network is asked for.
WEIGHTS: dict[str, Callable[[Level], Tensor] | None] = {
    "none": None,
    "min-snr": min_snr_weight,
    "edm": edm_weight,
}


def chosen(kind: str, name: str, table: Mapping[str, Entry]) -> Entry:
    """The entry of this name, or one line that says which names there are."""
    if name not in table:
        raise BadInput(f"no {kind} {name!r}; there are {', '.join(table)}")
    return table[name]
