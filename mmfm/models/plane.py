"""The smallest denoiser: shown a noisy point of a plane and the time, it says what to undo.

A point (a, b) is to it a picture of one row and two pixels. So whatever is done with pictures in
`mmfm.diffusion` is done with points just so, and can be looked at on paper.

Shapes: b points, d numbers a point, e numbers that the time is written in.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Generator, Tensor, nn

from mmfm.nn import sinusoidal


@dataclass(frozen=True)
class PlaneConfig:
    """What it is made of."""

    dim: int = 96  # numbers that stand for a point inside
    depth: int = 3  # hidden layers
    embed: int = 32  # numbers that the time is written in


class PlaneDenoiser(nn.Module):
    """A multilayer perceptron that is told the time."""

    def __init__(self, config: PlaneConfig) -> None:
        super().__init__()
        self.config = config
        self.point = nn.Linear(2, config.dim)
        self.time = nn.Linear(config.embed, config.dim)
        self.layers = nn.ModuleList(
            nn.Linear(config.dim, config.dim) for _ in range(config.depth - 1)
        )
        self.leave = nn.Linear(config.dim, 2)

    def forward(
        self, x: Float[Tensor, "b 1 1 2"], t: Float[Tensor, " b"], condition: Tensor | None = None
    ) -> Float[Tensor, "b 1 1 2"]:
        points = rearrange(x, "b 1 1 two -> b two")
        # Waves as long as thousands, for a time that runs to 1: so it is spread over a hundred.
        waves = sinusoidal(100 * t, self.config.embed)  # b e
        h = self.point(points) + self.time(waves)  # b d
        for layer in self.layers:
            h = h + layer(F.silu(h))  # b d
        return rearrange(self.leave(F.silu(h)), "b two -> b 1 1 two")

    def reset(self, generator: Generator | None = None) -> None:
        """Draw fresh weights; what it says starts out as zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5, generator=generator)
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.leave.weight)
