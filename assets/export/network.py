"""The network of a denoiser that mmfm has trained, for diffusers: nothing of mmfm is needed.

Shown noisy pictures, told how noisy they are and what they show, it says what to undo. Its time
runs from 0, the picture, to 1, noise alone; `pipeline.py` knows how to walk that way.

Shapes: b pictures, c channels, y rows and x columns of pixels, w channels inside, n places,
d numbers a place, e numbers of what the network is told.
"""

import math
from functools import partial
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

BENDS = {"silu": F.silu, "gelu": partial(F.gelu, approximate="tanh"), "relu": F.relu}


class Denoiser(ModelMixin, ConfigMixin):
    """Time and class in one row of numbers, and a network that is steered by it all the way."""

    @register_to_config
    def __init__(self, settings: dict) -> None:
        super().__init__()
        c = SimpleNamespace(**settings)
        self.null = c.classes  # the class that stands for none in particular
        self.told_by, self.patch = c.embed, c.patch
        self.time = clock(c.embed)
        self.classes = nn.Embedding(c.classes + 1, c.embed)
        # Of a network that was made for few steps: how far its answer leads.
        self.span = clock(c.embed) if c.jumps == "anywhere" else None
        self.net = UNet(c) if c.kind == "unet" else DiT(c)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        class_labels: Tensor | None = None,
        to: Tensor | None = None,
        return_dict: bool = False,
    ) -> tuple[Tensor] | dict[str, Tensor]:
        """What the network was taught to say of noisy pictures (b c y x) at these times (b)."""
        t = timestep.to(sample.device).expand(sample.shape[0])  # b
        if class_labels is None:
            class_labels = torch.full_like(t, self.null, dtype=torch.long)
        told = self.time(self.waves(1000 * t)) + self.classes(class_labels)  # b e
        if self.span is not None:
            told = told + self.span(self.waves(10 * (t - (t if to is None else to))))
        x = padded(sample.to(self.classes.weight.dtype), self.patch)
        answer = cropped(self.net(x, F.silu(told)), sample).to(sample.dtype)
        return {"sample": answer} if return_dict else (answer,)

    def waves(self, number: Tensor) -> Tensor:
        return sinusoidal(number, self.told_by).to(self.classes.weight.dtype)  # b e


def clock(embed: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(embed, embed), nn.SiLU(), nn.Linear(embed, embed))


def sinusoidal(numbers: Tensor, dim: int) -> Tensor:
    """Write numbers as sines, then cosines, of ever longer waves."""
    lengths = [10_000 ** (-2 * n / dim) / (2 * math.pi) for n in range(dim // 2)]
    exact = torch.float32 if numbers.device.type == "mps" else torch.float64  # it has no other
    turns = numbers.to(exact)[:, None] * torch.tensor(lengths, dtype=exact, device=numbers.device)
    angles = (2 * math.pi * (turns - turns.floor())).float()  # whole turns change nothing
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


# --- the U-Net ------------------------------------------------------------------------------------


class UNet(nn.Module):
    """Down to ever fewer, wider places, and up again; each level hands what it saw across."""

    def __init__(self, c: SimpleNamespace) -> None:
        super().__init__()
        self.patch, self.joins = c.patch, c.join == "concat"
        inside, finest, coarsest = c.channels * c.patch**2, c.widths[0], c.widths[-1]
        self.enter = nn.Conv2d(inside, finest, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, (width, depth) in enumerate(zip(c.widths, c.depths, strict=True)):
            joined = 2 * width if self.joins else width
            blocks = [ResidualBlock(width, width, c) for _ in range(depth)]
            looks = [Look(width, c) for _ in range(c.attention.count(level))]
            rest = [ResidualBlock(width, width, c) for _ in range(depth - 1)]
            self.down.append(Stage([*blocks, *looks]))
            self.up.append(Stage([ResidualBlock(joined, width, c), *rest]))
        steps = list(zip(c.widths, c.widths[1:], strict=False))
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in steps)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in steps)
        self.middle = Stage(ResidualBlock(coarsest, coarsest, c) for _ in range(c.middle))
        self.norm = nn.GroupNorm(c.groups, finest)
        self.bend = BENDS[c.activation]
        self.leave = nn.Conv2d(finest, inside, 3, padding=1)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        last = len(self.down) - 1
        x = self.enter(folded(x, self.patch))  # b w y x

        seen = []
        for level in range(last + 1):
            x = self.down[level](x, told)
            seen.append(x)
            if level < last:
                x = self.shrink[level](padded(x, 2))  # b wider y/2 x/2
        x = self.middle(x, told)
        for level in range(last, -1, -1):
            if level < last:
                x = cropped(self.grow[level](x), seen[level])  # b narrower 2y 2x
            x = torch.cat([x, seen[level]], dim=1) if self.joins else x + seen[level]
            x = self.up[level](x, told)

        return unfolded(self.leave(self.bend(self.norm(x))), self.patch)


class Stage(nn.ModuleList):
    """Parts one after the other, all of which are told the same."""

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        for part in self:
            x = part(x, told)
        return x


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut around them; what is told scales and shifts in between."""

    def __init__(self, before: int, after: int, c: SimpleNamespace) -> None:
        super().__init__()
        self.groups, self.bend = c.groups, BENDS[c.activation]
        self.norm = nn.GroupNorm(c.groups, before)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.steer = nn.Linear(c.embed, 2 * after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.steer(told)[:, :, None, None].chunk(2, dim=1)  # b w 1 1
        h = self.conv1(self.bend(self.norm(x)))  # b w y x
        h = F.group_norm(h, self.groups) * (1 + scale) + shift
        return self.shortcut(x) + self.conv2(self.bend(h))


class Look(nn.Module):
    """Let every place of a picture look at every other, and think about it."""

    def __init__(self, width: int, c: SimpleNamespace) -> None:
        super().__init__()
        self.parts = looking(width, c)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        places = self.parts(x.flatten(2).transpose(1, 2), told)  # b n d
        return places.transpose(1, 2).reshape(x.shape)  # b w y x


# --- the DiT --------------------------------------------------------------------------------------


class DiT(nn.Module):
    """A vision transformer of blocks that are told something, which answers with patches."""

    def __init__(self, c: SimpleNamespace) -> None:
        super().__init__()
        self.patch, self.dim = c.patch, c.dim
        inside = c.channels * c.patch**2
        self.enter = nn.Linear(inside, c.dim)
        self.blocks = Stage(looking(c.dim, c) for _ in range(c.depth))
        self.steer = nn.Linear(c.embed, 2 * c.dim)
        self.leave = nn.Linear(c.dim, inside)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        squares = folded(x, self.patch)  # b (p q c) y x
        rows, columns = (int(side) for side in squares.shape[-2:])
        places = self.enter(squares.flatten(2).transpose(1, 2))  # b n d
        places = self.blocks(places + self.positions(rows, columns, places), told)
        shift, scale = self.steer(told)[:, None].chunk(2, dim=-1)  # b 1 d
        places = F.layer_norm(places, (self.dim,), eps=1e-6) * (1 + scale) + shift
        squares = self.leave(places).transpose(1, 2).reshape(squares.shape)
        return unfolded(squares, self.patch)

    def positions(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """Where each place lies: half of its numbers say the row, half the column."""
        row = torch.arange(rows, device=like.device).repeat_interleave(columns)
        column = torch.arange(columns, device=like.device).repeat(rows)
        half = self.dim // 2
        return torch.cat([sinusoidal(row, half), sinusoidal(column, half)], dim=-1).to(like.dtype)


# --- what both are made of ------------------------------------------------------------------------


def looking(width: int, c: SimpleNamespace) -> Stage:
    parts: list[nn.Module] = [Attention(width, width // c.head_dim)]
    if c.mlp:
        parts.append(MLP(width, c.mlp * width))
    return Stage(Steered(part, width, c.embed) for part in parts)


class Steered(nn.Module):
    """A part whose norm is scaled and shifted, and whose gate is opened, by what is told."""

    def __init__(self, part: nn.Module, dim: int, told: int) -> None:
        super().__init__()
        self.part, self.dim = part, dim
        self.steer = nn.Linear(told, 3 * dim)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        shift, scale, gate = self.steer(told)[:, None].chunk(3, dim=-1)  # b 1 d
        normed = F.layer_norm(x, (self.dim,), eps=1e-6)
        return x + gate * self.part(normed * (1 + scale) + shift)


class Attention(nn.Module):
    """Every place asks all places a question and gathers their answers, in several heads."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part(x).reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)  # b h n k
            for part in (self.q, self.k, self.v)
        )
        found = F.scaled_dot_product_attention(q, k, v)
        return self.out(found.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Every place thinks for itself."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(dim, hidden)
        self.down = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x), approximate="tanh"))


# --- pictures as places ---------------------------------------------------------------------------


def folded(x: Tensor, patch: int) -> Tensor:
    """Squares of pixels as channels of one place: b c (y p) (x q) -> b (p q c) y x."""
    if patch == 1:
        return x
    channels, rows, columns = (int(side) for side in x.shape[1:])
    x = x.reshape(-1, channels, rows // patch, patch, columns // patch, patch)
    return x.permute(0, 3, 5, 1, 2, 4).flatten(1, 3)


def unfolded(x: Tensor, patch: int) -> Tensor:
    """The other way round."""
    if patch == 1:
        return x
    inside, rows, columns = (int(side) for side in x.shape[1:])
    x = x.reshape(-1, patch, patch, inside // patch**2, rows, columns)
    x = x.permute(0, 3, 4, 1, 5, 2)
    return x.reshape(-1, inside // patch**2, rows * patch, columns * patch)


def padded(x: Tensor, multiple: int) -> Tensor:
    """Zeros below and to the right, until `multiple` divides the sides."""
    down, right = (-int(side) % multiple for side in x.shape[-2:])
    return F.pad(x, (0, right, 0, down)) if down or right else x


def cropped(x: Tensor, like: Tensor) -> Tensor:
    return x[..., : int(like.shape[-2]), : int(like.shape[-1])]
