"""Start from a picture instead of noise: repaint a part, redraw the whole, blend two, walk back.

inpaint        paint anew what is hidden, around what is known
from_picture   add noise to a picture and take it away again (SDEdit)
invert         find the noise that a picture would come from; `ddim` leads back
slerp          from one noise to another along an arc
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from mmfm.diffusion.course import Course
from mmfm.diffusion.objectives import Condition, Model
from mmfm.diffusion.samplers import Mend, Noise, Pictures, Sampler, Step, asking, drawn, mending
from mmfm.diffusion.schedules import Level, add_noise
from mmfm.errors import BadInput


def inpaint(
    sampler: Sampler,
    model: Model,
    x: Pictures,
    course: Course,
    *,
    picture: Pictures,
    hidden: Bool[Tensor, "*b c y x"],
    objective: str,
    condition: Condition = None,
    generator: Noise | None = None,
    clip: float | Mend | None = None,
) -> Iterator[Step]:
    """Paint what is hidden, and keep the rest of the picture as it is.

    In every guess the known part is replaced by what is known. So at each step x holds there the
    known picture with as much noise on it as elsewhere (replacement: Y. Song et al. 2021, appendix
    I.2), and at the end the known picture. On a `churned` course both parts get to fit better.
    """
    if hidden.dtype != torch.bool:
        raise BadInput(f"what is hidden is said by True and False, not by {hidden.dtype}")
    for name, part in (("the known picture", picture), ("what is hidden", hidden)):
        _require_broadcast(name, part, x)
    keep = _Known(picture.to(x), hidden.to(x.device), mending(clip))
    return sampler(
        model,
        x,
        course,
        objective=objective,
        condition=condition,
        generator=generator,
        clip=keep,
    )


@dataclass(frozen=True, eq=False)
class _Known:
    """Put what is known into a guess of the picture."""

    picture: Pictures
    hidden: Bool[Tensor, "*b c y x"]
    mend: Mend | None

    def __call__(self, guessed: Pictures) -> Pictures:
        guessed = self.mend(guessed) if self.mend else guessed
        return torch.where(self.hidden, guessed, self.picture)


def from_picture(
    sampler: Sampler,
    model: Model,
    picture: Pictures,
    course: Course,
    *,
    strength: float,
    objective: str,
    condition: Condition = None,
    generator: Noise | None = None,
    clip: float | Mend | None = None,
) -> Iterator[Step]:
    """Drown a picture in noise to some degree, and let the model find one below it (SDEdit).

    Meng et al. 2022. `strength` is the share of the course's steps that are taken: little of it
    keeps the picture, 1 keeps nothing. The first noise comes from the generator, too.
    """
    if not 0 < strength <= 1:
        raise BadInput(f"no strength of {strength}; name a share of the way above 0, up to 1")
    rest = course.last(max(1, math.floor(strength * len(course) + 1e-9)))
    x = add_noise(picture, drawn(picture, generator), Level(rest.alpha[0], rest.sigma[0]))
    return sampler(
        model,
        x,
        rest,
        objective=objective,
        condition=condition,
        generator=generator,
        clip=clip,
    )


@torch.no_grad()
def invert(
    model: Model,
    picture: Pictures,
    course: Course,
    *,
    objective: str,
    condition: Condition = None,
    clip: float | Mend | None = None,
    refinements: int = 0,
) -> Iterator[Step]:
    """Walk the way of `ddim` backwards, from a picture to its noise (J. Song et al. 2021, 4.3).

    `ddim` over the same course then leads back to the picture, about: each step should use the
    model's answer where it arrives, which is not known yet. With `refinements` it is asked there,
    and the step mended, so many times (Pan et al. 2023), and the way back gets exact.
    """
    if refinements < 0:
        raise BadInput(f"a step can't be refined {refinements} times; name 0 or more")
    if objective == "clean" and course.next_sigma[-1] == 0:
        raise BadInput(
            "a network that guesses the clean picture can't tell the noise of a clean one; "
            "name a course that ends before, where there is some noise"
        )
    ask = asking(model, objective, condition, clip, rederive=False)
    x = picture
    for t, here, _, there in course.backwards():
        guessed, noise = ask(x, t, here)
        arrived = there.alpha * guessed + there.sigma * noise
        for _ in range(refinements):
            guessed, noise = ask(arrived, t, there)
            # Half of the answer is used, x gives the other: the half that changes less with where
            # it is asked, which is the noise where there is little or where it was asked for.
            if here.sigma <= here.alpha or (objective == "noise" and there.alpha > 0):
                guessed = (x - here.sigma * noise) / here.alpha
            else:
                noise = (x - here.alpha * guessed) / here.sigma
            arrived = there.alpha * guessed + there.sigma * noise
        x = arrived
        yield Step(x, guessed, t.item())


def slerp(a: Pictures, b: Pictures, share: float | Float[Tensor, " b"]) -> Pictures:
    """From one noise to another along an arc; a straight line would pass through weaker noise.

    Shoemake 1985. `share` is 0 for a and 1 for b, or one number for each picture.
    """
    if a.shape != b.shape:
        raise BadInput(f"noise of shapes {tuple(a.shape)} and {tuple(b.shape)} can't be blended")
    one, other = (rearrange(part.double(), "b c y x -> b (c y x)") for part in (a, b))
    cos = torch.cosine_similarity(one, other, dim=1).clamp(-1, 1)
    angle, share = cos.arccos(), torch.as_tensor(share).to(one)
    straight = angle.sin() < 1e-6  # the same direction, or opposite ones with no arc of their own
    turn = torch.where(straight, 1.0, angle)
    of_a = torch.where(straight, 1 - share, ((1 - share) * turn).sin() / turn.sin())
    of_b = torch.where(straight, share, (share * turn).sin() / turn.sin())
    of_a, of_b = (rearrange(part, "b -> b 1 1 1").to(a) for part in (of_a, of_b))
    return of_a * a + of_b * b


def _require_broadcast(name: str, part: Tensor, x: Pictures) -> None:
    try:
        fits = torch.broadcast_shapes(part.shape, x.shape) == x.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise BadInput(f"{name} of shape {tuple(part.shape)} does not lie on {tuple(x.shape)}")
