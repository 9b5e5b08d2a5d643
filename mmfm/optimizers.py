"""The optimisers: AdamW for most weights, Muon for the matrices that are handed to it."""

from collections.abc import Callable, Collection

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from mmfm.errors import BadInput


def make_optimizers(
    model: nn.Module,
    *,
    rate: float,
    matrix_rate: float,
    weight_decay: float,
    betas: tuple[float, float],
    matrices: Collection[str] = (),
) -> list[Optimizer]:
    """AdamW for everything but the `matrices`, which are Muon's.

    Weights of layers decay; biases, norms, positions and tokens, those of a vocabulary too, don't.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    strangers = set(matrices) - {name for name, _ in named}
    if strangers:
        raise BadInput(f"Muon was handed weights that the model does not have: {min(strangers)}")
    rest = [(name, p) for name, p in named if name not in matrices]
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}

    def decays(name: str, p: nn.Parameter) -> bool:
        return p.ndim >= 2 and name.endswith("weight") and id(p) not in tables

    decaying = [p for name, p in rest if decays(name, p)]
    others = [p for name, p in rest if not decays(name, p)]
    groups = [
        {"params": decaying, "weight_decay": weight_decay, "highest": rate},
        {"params": others, "weight_decay": 0.0, "highest": rate},
    ]
    fused = all(p.device.type in ("cpu", "cuda") for _, p in named)
    optimizers: list[Optimizer] = [
        AdamW([group for group in groups if group["params"]], betas=betas, fused=fused)
    ]
    muon = [p for name, p in named if name in matrices]
    if muon:
        optimizers.append(Muon(muon, matrix_rate, weight_decay))
    return optimizers


class Muon(Optimizer):
    """Momentum whose every direction gets the same length (Jordan et al. 2024).

    A gradient matrix is dominated by a few directions; replaced by the nearest orthogonal matrix,
    all that it says is heard.
    """

    def __init__(
        self, matrices: list[nn.Parameter], rate: float, weight_decay: float, momentum: float = 0.95
    ) -> None:
        defaults = {"lr": rate, "highest": rate, "decay": weight_decay, "momentum": momentum}
        super().__init__(matrices, defaults)
        self.precision = torch.float32  # of the iteration, which bears bf16 where that is fast

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                direction = p.grad.lerp(state["momentum"], group["momentum"]).flatten(1)
                rows, columns = direction.shape
                length = max(1.0, rows / columns) ** 0.5
                p.mul_(1 - group["lr"] * group["decay"])
                straight = orthogonal(direction, self.precision).view_as(p)
                p.add_(straight, alpha=-group["lr"] * length)


def orthogonal(
    matrix: Float[Tensor, "m n"], precision: torch.dtype = torch.float32, iterations: int = 5
) -> Float[Tensor, "m n"]:
    """Bring all singular values near 1 by a Newton-Schulz iteration, matrix products only."""
    a, b, c = 3.4445, -4.7750, 2.0315  # Jordan et al. 2024: steep at 0, close enough to 1
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = (x / (x.norm() + 1e-7)).to(precision)
    for _ in range(iterations):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x if wide else x.T).to(matrix.dtype)
