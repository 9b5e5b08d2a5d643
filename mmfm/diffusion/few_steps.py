"""Few steps: what a network must be taught that leads from noise to a picture in one or two.

A denoiser says which way a picture goes at this moment. That way bends, so one walks a little along
it and asks again. A network that jumps is asked for the mean direction u of the whole way from a
time t to an earlier one, `to`, and one question leads there:

    x_to = x_t - (t - to) u(x_t, t, to)

For a way of no length, u(x, t, t) is what every denoiser says. For longer ones nobody knows u, and
the methods to teach it differ in whom they ask for it:

    direct        the teacher, in all its small steps from noise on           (Luhman & Luhman 2021)
    progressive   the teacher, in two steps; who learned that, teaches next   (Salimans & Ho 2022)
    shortcut      the student, in two steps of half the length                (Frans et al. 2024)
    mean_flow     the student, how its answer changes if the way begins later (Geng et al. 2025)
    consistency   the teacher for a small step, the student for the rest      (Song et al. 2023)

Each function here gives the answer that would have been right, as far as it is known; no gradient
goes through it. All of it is said of the `flow` schedule and of networks that are asked for the
flow. A teacher may be guided: then the student needs no guidance any more, and half as many
questions.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from einops import rearrange, reduce
from jaxtyping import Float, Int64
from torch import Tensor
from torch.func import jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmfm.diffusion.course import Course
from mmfm.diffusion.objectives import Model
from mmfm.diffusion.samplers import Pictures

Times = Float[Tensor, " b"]
Labels = Int64[Tensor, " b"] | None
Jumping = Callable[[Tensor, Tensor, Tensor | None, Tensor], Tensor]  # (x, t, condition, to) -> way


def landed(x: Pictures, way: Pictures, t: Times, to: Times) -> Pictures:
    """Where x at time t is at the time `to`, if this is the mean way there."""
    return x - _each(t - to) * way


@torch.no_grad()
def mean_way(
    model: Jumping, x: Pictures, t: Times, to: Times, condition: Labels, *, steps: int
) -> Pictures:
    """The mean of what the model says on the way, walked in so many equal steps.

    With two steps of a teacher this is what progressive distillation asks for (Salimans & Ho 2022,
    algorithm 2), with all of them direct distillation.
    """
    total, here = torch.zeros_like(x), t
    for number in range(1, steps + 1):
        there = torch.lerp(t, to, number / steps)
        way = model(x, here, condition, there)
        x, here, total = landed(x, way, here, there), there, total + way
    return total / steps


def shortcut(
    student: Jumping, x: Pictures, t: Times, to: Times, condition: Labels, *, smallest: float
) -> Pictures:
    """Two jumps are as good as one of twice the length (Frans et al. 2024, equation 5).

    A half that is no longer than the smallest step is asked for as a way of no length, which is
    what the teacher teaches: there the chain of ever longer jumps begins.
    """

    def ask(x: Tensor, t: Tensor, condition: Tensor | None, to: Tensor) -> Tensor:
        # A little more, for a length that comes out of differences of rounded times.
        return student(x, t, condition, torch.where(t - to <= 1.001 * smallest, t, to))

    return mean_way(ask, x, t, to, condition, steps=2)


@torch.no_grad()
def mean_flow(
    student: Jumping, direction: Pictures, x: Pictures, t: Times, to: Times, condition: Labels
) -> Pictures:
    """u = v - (t - to) du/dt, where d/dt goes along the way (Geng et al. 2025, equations 6 and 8).

    `direction` is v, what the teacher says at t. How u changes while x moves along v and t with it,
    is one product with u's Jacobian, (v, 1), made in the same sweep as u.
    """

    def u(x: Tensor, t: Tensor) -> Tensor:
        return student(x, t, condition, to)

    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
        warnings.simplefilter("ignore", FutureWarning)  # torch's about itself, the first time
        # In this direction neither faster attention nor autocast can be differentiated.
        with torch.autocast(x.device.type, enabled=False):
            change = jvp(u, (x, t), (direction.to(x), torch.ones_like(t)))[1]
    return (direction - _each(t - to) * change).detach()


@torch.no_grad()
def consistency(
    student: Model, teacher: Model, x: Pictures, t: Times, earlier: Times, condition: Labels
) -> Pictures:
    """The way to the picture to which the student goes from a little further on the same way.

    Consistency distillation (Song et al. 2023, equation 8; its target network is the student as it
    is, Song & Dhariwal 2023, section 3.2). The picture at time 0 is x itself (their boundary
    condition): x - t * way is.
    """
    x_earlier = landed(x, teacher(x, t, condition), t, earlier)
    picture = x_earlier - _each(earlier) * student(x_earlier, earlier, condition)
    return (x - picture) / _each(t)


# --- what is minimised ----------------------------------------------------------------------------


def cost(answer: Pictures, right: Pictures, huber: float) -> Float[Tensor, ""]:
    """How wrong answers are, in squares; with `huber` in squares only if wrong by less than that.

    The pseudo-Huber metric (Song & Dhariwal 2023, section 3.3), of a pixel's mean error: what is
    hopelessly wrong as yet doesn't drown the rest.
    """
    error = reduce((answer - right) ** 2, "b c y x -> b", "mean")
    if huber > 0:
        error = (error + huber**2).sqrt() - huber
    return error.mean()


# --- which ways -----------------------------------------------------------------------------------


def cell(draw: Times, count: int | Tensor) -> tuple[Times, Times]:
    """End and start of that of so many equal parts of the time into which a number falls."""
    place = torch.minimum((draw * count).floor(), torch.as_tensor(count - 1).to(draw))
    return (place + 1) / count, place / count


def stretches(counts: Sequence[int], steps: int) -> list[tuple[int, int]]:
    """The ways that jumps go, one jump, two or more from noise to picture, in a teacher's stops."""
    return [
        (place * steps // count, (place + 1) * steps // count)
        for count in counts
        for place in range(count)
    ]


def by_way_of_pictures(course: Course) -> Course:
    """The same stops, each of whose steps leads to the clean picture.

    `euler` then puts fresh noise on that at the next stop, which is how a consistency model draws
    in several steps (Song et al. 2023, algorithm 1).
    """
    nothing = torch.zeros_like(course.t)
    return replace(course, next_t=nothing, next_alpha=nothing + 1, next_sigma=nothing)


def _each(t: Times) -> Float[Tensor, "b 1 1 1"]:
    return rearrange(t, "b -> b 1 1 1")
