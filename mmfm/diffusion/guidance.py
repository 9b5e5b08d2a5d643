"""Guidance: let a picture be more of what was asked for than the network alone would make it.

`guided` wraps a model into another model, so every sampler can use it.
"""

import math
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from mmfm.diffusion.objectives import Condition, Model
from mmfm.errors import BadInput


def guided(
    model: Model,
    scale: float,
    *,
    null: Condition,
    interval: tuple[float, float] = (0.0, math.inf),
    rescale: float = 0.0,
) -> Model:
    """Go beyond the conditional answer, away from the unconditional one (Ho & Salimans 2022).

    At scale 1 this is the model itself; 1.5 goes half again as far. `null` is the condition that
    means none; where conditions have several parts, as `Told` has, it has them for as many
    pictures. Both answers come from one batch of twice the size, but outside the `interval` of
    times only the conditional one is computed: at strong noise guidance narrows the choice, at weak
    noise it does nothing (Kynkäänniemi et al. 2024). `rescale` is how far the contrast that
    guidance adds is taken back (Lin et al. 2023, equations 15 and 16).
    """
    low, high = interval
    if not math.isfinite(scale):
        raise BadInput(f"no guidance of {scale}; name a number, 1 for none")
    if not low <= high:
        raise BadInput(f"no interval from {low} to {high}; name the lower time first")
    if not 0 <= rescale <= 1:
        raise BadInput(f"contrast can't be taken back by {rescale}; name a share from 0 to 1")

    def guide(
        x: Float[Tensor, "b c y x"], t: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b c y x"]:
        inside = (low <= t) & (t <= high)
        if scale == 1 or condition is None or not inside.any():
            return model(x, t, condition)
        both = model(torch.cat([x, x]), torch.cat([t, t]), _both(condition, null))
        with_, without = both.chunk(2)
        answer = without + scale * (with_ - without)
        if rescale:
            answer = answer * (1 - rescale + rescale * _spread(with_) / _spread(answer))
        return _where(inside, answer, with_)

    return guide


def _both(condition: Condition, null: Condition) -> Condition:
    """What pictures are told, and that they are told nothing: one batch of twice the size."""
    if isinstance(condition, tuple):  # of several parts, in each of which a picture has its row
        parts: Any = condition
        return type(parts)(*(torch.cat(both) for both in zip(parts, null, strict=True)))
    nothing = torch.as_tensor(null).to(condition).expand_as(condition)
    return torch.cat([condition, nothing])


def _spread(answer: Float[Tensor, "b c y x"]) -> Float[Tensor, "b 1 1 1"]:
    """How far the numbers of each answer lie apart; more than 0, also for a constant one."""
    spread = rearrange(answer, "b c y x -> b (c y x)").std(dim=1)
    return rearrange(spread.clamp(min=torch.finfo(spread.dtype).tiny), "b -> b 1 1 1")


def _where(
    inside: Bool[Tensor, " b"], answer: Float[Tensor, "b c y x"], otherwise: Tensor
) -> Float[Tensor, "b c y x"]:
    return torch.where(rearrange(inside, "b -> b 1 1 1"), answer, otherwise)
