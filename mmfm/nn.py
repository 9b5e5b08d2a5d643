"""The parts that every transformer here is built from, each written once.

    Attention   every token looks at every other (or at a context) and takes what it finds
    MLP         every token thinks for itself
    Block       the two, each with a norm before it and a shortcut around it
    Steered     either, with a norm, a shortcut and a gate that something outside decides
    positions   where a token stands: learned, sinusoidal, sin-cos over a grid, rotary

Shapes: b pictures or sentences, n tokens, d numbers a token, h heads, k numbers a head.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmfm.errors import BadInput

Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "swiglu"]
Rotate = Callable[[Float[Tensor, "b h n k"]], Float[Tensor, "b h n k"]]


# --- norms ------------------------------------------------------------------------------------


class LayerNorm(nn.Module):
    """Give each token mean 0 and variance 1, then a learned scale and shift (Ba et al. 2016)."""

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class RMSNorm(nn.Module):
    """Give each token length sqrt(d), then a learned scale (Zhang & Sennrich 2019)."""

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        # Under autocast x may be in half precision, and only of one kind it is done in one go.
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


# --- attention --------------------------------------------------------------------------------


class Attention(nn.Module):
    """Let each token ask all tokens a question and gather their answers, in several heads at once.

    softmax(q k^T / sqrt(k)) v, equation 1 of Vaswani et al. 2017. With a `context` the questions
    come from x and the answers from the context (cross-attention). `rotate` turns queries and keys
    by their position (see `rotary_1d`). `mask` is true for the tokens that may be asked, in each
    row one at least: the padding of shorter texts may not.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        context_dim: int | None = None,
        bias: bool = True,
        causal: bool = False,
        qk_norm: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.q = nn.Linear(dim, dim, bias=bias)
        self.k = nn.Linear(context_dim or dim, dim, bias=bias)
        self.v = nn.Linear(context_dim or dim, dim, bias=bias)
        self.q_norm = qk_norm(dim // heads) if qk_norm else nn.Identity()
        self.k_norm = qk_norm(dim // heads) if qk_norm else nn.Identity()
        self.out = nn.Linear(dim, dim)

    def forward(
        self,
        x: Float[Tensor, "b n d"],
        context: Float[Tensor, "b m c"] | None = None,
        *,
        rotate: Rotate | None = None,
        mask: Bool[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b n d"]:
        q, k = self._queries_and_keys(x, context, rotate)  # b h n k, b h m k
        v = self._split_heads(self.v(x if context is None else context))  # b h m k
        if q.requires_grad and q.device.type == "cpu" and q.dtype == torch.bfloat16:
            # There torch's own way takes several times as long backwards (34 tokens, torch 2.15).
            x = self._shares(q, k, mask) @ v  # b h n k
        elif mask is None:
            x = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)  # b h n k
        else:
            asked = rearrange(mask, "b m -> b 1 1 m")
            if self.causal:
                asked = asked & ~_future(q.shape[-2], k.shape[-2], q.device)  # b 1 n m
            x = F.scaled_dot_product_attention(q, k, v, attn_mask=asked)  # b h n k
        return self.out(rearrange(x, "b h n k -> b n (h k)"))

    def look(
        self,
        x: Float[Tensor, "b n d"],
        context: Float[Tensor, "b m c"] | None = None,
        *,
        rotate: Rotate | None = None,
        mask: Bool[Tensor, "b m"] | None = None,
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b h n m"]]:
        """What `forward` does, slower, with the weights beside it that the outcome is made of.

        A gradient of the outcome reaches them, also where no weight of the model learns.
        """
        weights = self.weights(x, context, rotate=rotate, mask=mask)  # b h n m
        if torch.is_grad_enabled() and not weights.requires_grad:
            weights.requires_grad_()
        v = self._split_heads(self.v(x if context is None else context))  # b h m k
        return self.out(rearrange(weights @ v, "b h n k -> b n (h k)")), weights

    def weights(
        self,
        x: Float[Tensor, "b n d"],
        context: Float[Tensor, "b m c"] | None = None,
        *,
        rotate: Rotate | None = None,
        mask: Bool[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b h n m"]:
        """How much of each token every token takes: what `forward` uses and never writes down."""
        return self._shares(*self._queries_and_keys(x, context, rotate), mask)

    def _shares(
        self,
        q: Float[Tensor, "b h n k"],
        k: Float[Tensor, "b h m k"],
        mask: Bool[Tensor, "b m"] | None,
    ) -> Float[Tensor, "b h n m"]:
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if self.causal:
            future = _future(q.shape[-2], k.shape[-2], q.device)
            scores = scores.masked_fill(future, float("-inf"))
        if mask is not None:
            scores = scores.masked_fill(rearrange(~mask, "b m -> b 1 1 m"), float("-inf"))
        return scores.softmax(dim=-1)

    def _queries_and_keys(
        self, x: Tensor, context: Tensor | None, rotate: Rotate | None
    ) -> tuple[Tensor, Tensor]:
        q = self.q_norm(self._split_heads(self.q(x)))
        k = self.k_norm(self._split_heads(self.k(x if context is None else context)))
        return (rotate(q), rotate(k)) if rotate else (q, k)

    def _split_heads(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b h n k"]:
        return rearrange(x, "b n (h k) -> b h n k", h=self.heads)


def _future(queries: int, keys: int, device: torch.device) -> Bool[Tensor, "n m"]:
    return torch.ones(queries, keys, dtype=torch.bool, device=device).triu(1)


# --- feed-forward -----------------------------------------------------------------------------


def quick_gelu(x: Tensor) -> Tensor:
    """The cheap GELU of OpenAI's CLIP; it differs enough from the exact one to cost accuracy."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "quick_gelu": quick_gelu,
    "swiglu": F.silu,
}


class MLP(nn.Module):
    """Widen each token, bend it, narrow it again; SwiGLU bends by a second, gating projection."""

    def __init__(self, dim: int, hidden: int, activation: Activation = "gelu") -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.gate = nn.Linear(dim, hidden) if activation == "swiglu" else None
        self.up = nn.Linear(dim, hidden)
        self.down = nn.Linear(hidden, dim)

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        if self.gate is not None:
            return self.down(self.activation(self.gate(x)) * self.up(x))
        return self.down(self.activation(self.up(x)))


# --- the block --------------------------------------------------------------------------------


class LayerScale(nn.Module):
    """A learned factor for each channel, small at first, so that deep stacks start out calm."""

    def __init__(self, dim: int, initial: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((dim,), initial))

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        return x * self.weight


class Block(nn.Module):
    """Look around, then think: attention and MLP, normed before and added to what came in."""

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_dim: int,
        *,
        activation: Activation = "gelu",
        norm: Callable[[int], nn.Module] = LayerNorm,
        bias: bool = True,
        causal: bool = False,
        qk_norm: Callable[[int], nn.Module] | None = None,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = norm(dim)
        self.attention = Attention(dim, heads, bias=bias, causal=causal, qk_norm=qk_norm)
        self.scale1 = nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale)
        self.norm2 = norm(dim)
        self.mlp = MLP(dim, mlp_dim, activation)
        self.scale2 = nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale)

    def forward(
        self, x: Float[Tensor, "b n d"], *, rotate: Rotate | None = None
    ) -> Float[Tensor, "b n d"]:
        x = x + self.scale1(self.attention(self.norm1(x), rotate=rotate))
        return x + self.scale2(self.mlp(self.norm2(x)))

    def look(
        self, x: Float[Tensor, "b n d"], *, rotate: Rotate | None = None
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b h n n"]]:
        """What `forward` does, with the attention weights beside it (see `Attention.look`)."""
        found, weights = self.attention.look(self.norm1(x), rotate=rotate)
        x = x + self.scale1(found)
        return x + self.scale2(self.mlp(self.norm2(x))), weights

    def attention_weights(
        self, x: Float[Tensor, "b n d"], *, rotate: Rotate | None = None
    ) -> Float[Tensor, "b h n n"]:
        """The attention weights of this block for the tokens that come into it."""
        return self.attention.weights(self.norm1(x), rotate=rotate)


class Steered(nn.Module):
    """A part that is told something: that sets the scale and shift of its norm, and opens its gate.

    adaLN-zero, section 3.2 of Peebles & Xie 2023: two of these, around an attention and an MLP,
    are the block of a DiT. With `steer` at zero the gate is shut, and what came in goes out.
    """

    def __init__(self, part: nn.Module, dim: int, told: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.part = part
        self.eps = eps
        self.steer = nn.Linear(told, 3 * dim)

    def forward(
        self, x: Float[Tensor, "b n d"], told: Float[Tensor, "b e"]
    ) -> Float[Tensor, "b n d"]:
        shift, scale, gate = rearrange(self.steer(told), "b (three d) -> three b 1 d", three=3)
        normed = F.layer_norm(x, x.shape[-1:], eps=self.eps)  # b n d
        return torch.addcmul(x, gate, self.part(torch.addcmul(shift, normed, 1 + scale)))


# --- positions --------------------------------------------------------------------------------


def sinusoidal(
    positions: Float[Tensor, " n"], dim: int, base: float = 10_000.0
) -> Float[Tensor, "n d"]:
    """Write a number as sines and cosines of ever longer waves (Vaswani et al. 2017, section 3.5).

    The first half holds the sines, the second the cosines; works for places and for times alike.
    """
    _require_multiple(dim, 2)
    exact = torch.float32 if positions.device.type == "mps" else torch.float64  # it has no other
    waves = base ** (-torch.arange(dim // 2, device=positions.device).to(exact) * 2 / dim)
    angles = positions.to(exact)[:, None] * waves
    return torch.cat([angles.sin(), angles.cos()], dim=-1).to(positions.dtype)


def sincos_2d(height: int, width: int, dim: int) -> Float[Tensor, "n d"]:
    """Sinusoidal codes over a grid, row by row: the first half says the row, the second the column.

    As MoCo v3 has them; MAE and DiT have the halves the other way round. `dim` must be a multiple
    of four.
    """
    _require_multiple(dim, 4)
    rows, columns = _grid(height, width)
    return torch.cat([sinusoidal(rows, dim // 2), sinusoidal(columns, dim // 2)], dim=-1)


def resize_positions(
    positions: Float[Tensor, "n d"],
    old: tuple[int, int],
    new: tuple[int, int],
    *,
    antialias: bool,
) -> Float[Tensor, "m d"]:
    """Stretch learned positions over a grid of another size, as one would resize a picture."""
    if old == new:
        return positions
    grid = rearrange(positions, "(h w) d -> 1 d h w", h=old[0])
    # In float32 always: that is how the published models were made and are compared.
    grid = F.interpolate(
        grid.float(), size=new, mode="bicubic", align_corners=False, antialias=antialias
    )
    return rearrange(grid, "1 d h w -> (h w) d").to(positions.dtype)


def rotary_1d(length: int, dim: int, base: float = 10_000.0) -> Rotate:
    """Turn queries and keys by an angle that grows with their place (Su et al. 2021).

    The score of two tokens then depends on how far apart they are, not on where they stand.
    """
    _require_multiple(dim, 2)
    positions = torch.arange(length).double()
    return partial(_rotate, angles=_angles(positions, dim, base))


def rotary_2d(height: int, width: int, dim: int, base: float = 10_000.0) -> Rotate:
    """Rotary positions over a grid: half of each head turns with the row, half with the column."""
    _require_multiple(dim, 4)
    rows, columns = _grid(height, width)
    angles = [_angles(rows.double(), dim // 2, base), _angles(columns.double(), dim // 2, base)]
    return partial(_rotate, angles=torch.cat(angles, dim=-1))


def _require_multiple(dim: int, of: int) -> None:
    if dim < of or dim % of:
        raise BadInput(f"a position is written in a multiple of {of} numbers, not in {dim}")


def _grid(height: int, width: int) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    rows, columns = torch.meshgrid(
        torch.arange(height).float(), torch.arange(width).float(), indexing="ij"
    )
    return rows.flatten(), columns.flatten()


def _angles(positions: Float[Tensor, " n"], dim: int, base: float) -> Float[Tensor, "n half"]:
    return positions[:, None] * base ** (-torch.arange(0, dim, 2).double() / dim)


def _rotate(
    x: Float[Tensor, "b h n k"], angles: Float[Tensor, "n half"]
) -> Float[Tensor, "b h n k"]:
    """Turn the pairs (x[i], x[i + k/2]) by their angle."""
    cos, sin = angles.cos().to(x), angles.sin().to(x)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


# --- models without numbers -----------------------------------------------------------------------


@contextmanager
def shapes_only() -> Generator[None]:
    """Build modules of shapes without numbers: nothing is drawn, no memory is taken."""
    with torch.device("meta"), _Undrawn():
        yield


class _Undrawn(TorchFunctionMode):
    """Leave fresh weights as they are. To draw what has no numbers torch loads its compiler."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def make_room(model: nn.Module) -> None:
    """Give a model of shapes its numbers, whatever they are: weights are about to be put there.

    `Module.to_empty` does the same, but loads torch's symbolic shapes for it, which takes a second.
    """
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            room = torch.empty(weight.shape, dtype=weight.dtype)
            setattr(module, name, nn.Parameter(room, weight.requires_grad))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype))
