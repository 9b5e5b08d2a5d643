"""What a network is asked for: four questions with one answer, and the loss for each.

    noise       the noise that was added                     (Ho et al. 2020)
    clean       the picture below it
    velocity    alpha noise - sigma picture                  (Salimans & Ho 2022, v-prediction)
    flow        noise - picture, the straight way            (Liu et al. 2022, rectified flow)

Whoever knows x and one of them knows all of them. They differ in what a mistake costs at which
level, and in where the question makes sense: in pure noise "which noise?" says nothing about the
picture, in a clean picture "which picture?" says nothing about the noise. The last two are good
questions everywhere.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

from mmfm.diffusion.schedules import SCHEDULES, WEIGHTS, Level, add_noise, chosen, snr
from mmfm.errors import BadInput

Objective = Literal["noise", "clean", "velocity", "flow"]
# What a model is told of its pictures, classes or words, say; None: nothing. It is only handed on.
Condition = Any
Model = Callable[[Tensor, Tensor, Condition], Tensor]  # (x, t, condition) -> prediction


class Guess(NamedTuple):
    """What a prediction says about both parts of x."""

    picture: Float[Tensor, "*b c y x"]
    noise: Float[Tensor, "*b c y x"]


def target(
    objective: str,
    picture: Float[Tensor, "*b c y x"],
    noise: Float[Tensor, "*b c y x"],
    level: Level,
) -> Float[Tensor, "*b c y x"]:
    """The right answer.

    Where the variance is not kept at 1, the velocity is that of x scaled back to it; this is what
    networks are asked that see such an x. Along the `cosine` schedule it is dx/dt, but for a
    factor pi/2; along `flow`, the flow is.
    """
    alpha, sigma = level.beside(picture)
    match objective:
        case "noise":
            return noise
        case "clean":
            return picture
        case "velocity":
            return (alpha * noise - sigma * picture) / torch.hypot(alpha, sigma)
        case "flow":
            return noise - picture
        case _:
            raise _unknown(objective)


def guess(
    objective: str,
    prediction: Float[Tensor, "*b c y x"],
    x: Float[Tensor, "*b c y x"],
    level: Level,
) -> Guess:
    """What an answer says about picture and noise: `target` solved for both.

    Not finite where it says nothing: the picture at alpha = 0 for "noise", the noise at sigma = 0
    for "clean".
    """
    alpha, sigma = level.beside(x)
    match objective:
        case "noise":
            return Guess((x - sigma * prediction) / alpha, prediction)
        case "clean":
            return Guess(prediction, (x - alpha * prediction) / sigma)
        case "velocity":
            size = torch.hypot(alpha, sigma)
            alpha, sigma, x = alpha / size, sigma / size, x / size
            return Guess(alpha * x - sigma * prediction, sigma * x + alpha * prediction)
        case "flow":
            size = alpha + sigma
            return Guess((x - sigma * prediction) / size, (x + alpha * prediction) / size)
        case _:
            raise _unknown(objective)


def restated(
    prediction: Float[Tensor, "*b c y x"],
    x: Float[Tensor, "*b c y x"],
    level: Level,
    *,
    old: str,
    new: str,
) -> Float[Tensor, "*b c y x"]:
    """The same answer to another question."""
    if old == new:
        return prediction
    picture, noise = guess(old, prediction, x, level)
    return target(new, picture, noise, level)


# --- what is minimised ----------------------------------------------------------------------------


def loss(
    model: Model,
    pictures: Float[Tensor, "b c y x"],
    noise: Float[Tensor, "b c y x"],
    t: Float[Tensor, " b"],
    condition: Condition,
    *,
    objective: str,
    schedule: str,
    weight: str = "none",
) -> Float[Tensor, ""]:
    """How wrong the model is about these pictures at these times: the mean squared error."""
    level = chosen("schedule", schedule, SCHEDULES)(t)
    x = add_noise(pictures, noise, level)
    error = model(x, t, condition) - target(objective, pictures, noise, level)
    error = reduce(error**2, "b c y x -> b", "mean")
    return (error * importance(weight, objective, level).to(error)).mean()


def importance(weight: str, objective: str, level: Level) -> Float[Tensor, "*levels"]:
    """What the squared error of each answer is multiplied by, for a mistake to cost that weight.

    Weights are prices of a mistake in the picture, so that the loss is the same whichever question
    was asked. "edm" has no bound for "clean" where the noise goes to 0, nor for "noise" where the
    picture does.
    """
    price = chosen("loss weight", weight, WEIGHTS)
    if price is None:
        return torch.ones_like(level.alpha)
    # At the ends this may be 0 / 0 or have no bound; what counts there is its value a hair before.
    level = Level(level.alpha.clamp(min=1e-4), level.sigma.clamp(min=1e-4))
    return price(level) / emphasis(objective, level)


def emphasis(objective: str, level: Level) -> Float[Tensor, "*levels"]:
    """What a mistake in the picture costs when only the plain error of the answer counts.

    Here is how the four questions differ: noise asks for precision where the picture is clear,
    velocity and flow ask for some at every level.
    """
    ratio = snr(level)
    match objective:
        case "noise":
            return ratio
        case "clean":
            return torch.ones_like(ratio)
        case "velocity":
            return ratio + 1
        case "flow":
            return (ratio.sqrt() + 1) ** 2
        case _:
            raise _unknown(objective)


def _unknown(objective: str) -> BadInput:
    return BadInput(f"no objective {objective!r}; there are {', '.join(get_args(Objective))}")
