"""The denoiser: shown a noisy picture, told how noisy and what it shows, it says what to undo.

Two networks do the same work. The U-Net (Ronneberger et al. 2015, as Ho et al. 2020 and Dhariwal &
Nichol 2021 made it a denoiser) looks at the picture at several sizes, by convolutions: it learns
fast and from little. The DiT (Peebles & Xie 2023) is the vision transformer next door whose blocks
are told something: it is the one that grows well.

Either may read as well (Rombach et al. 2022): every place of the picture looks at the tokens that a
text tower made of some words, and takes of them what it needs. The last token, in which the tower
sums the others up, goes to all blocks instead, beside time and class: places that could look at it
would look at nothing else. Who reads for it is found in `mmfm.models.words`.

Nothing here knows how noise is added or what is asked for, only what `config` says of it, so that
a file of weights is used as it was trained.

Shapes: b pictures, c channels, y rows and x columns of pixels, w channels inside, n places,
m tokens of a text, d numbers a place or token, e numbers of what the network is told, h heads.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isqrt
from typing import Any, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from mmfm.errors import BadInput
from mmfm.hub import Origin
from mmfm.models.vit import patchify, source_of, unpatchify
from mmfm.nn import MLP, Attention, RMSNorm, Steered, sincos_2d, sinusoidal

Kind = Literal["unet", "dit"]
Join = Literal["concat", "add"]
Bend = Literal["silu", "gelu", "relu"]
Objective = Literal["noise", "clean", "velocity", "flow"]
Schedule = Literal["flow", "cosine", "linear"]
Jumps = Literal["none", "anywhere", "picture"]

BENDS: dict[Bend, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": partial(F.gelu, approximate="tanh"),  # which nn.ACTIVATIONS calls gelu_tanh
    "relu": F.relu,
}


@dataclass(frozen=True)
class DenoiserConfig:
    """What a denoiser is made of, and what it was taught to say."""

    image_size: int = 28  # side of the square pictures
    channels: int = 1
    classes: int = 10  # what it can be told to draw; 0: nothing
    kind: Kind = "unet"
    patch: int = 1  # side of the squares of pixels that become one place; 1: every pixel is one
    embed: int = 128  # numbers that hold the time and the class

    # of a U-Net: a number for each level, from the finest to the coarsest
    widths: tuple[int, ...] = (16, 48, 96)  # channels
    depths: tuple[int, ...] = (1, 1, 1)  # residual blocks on the way down, and as many on that up
    middle: int = 1  # more of them at the coarsest level, between the two ways
    # levels where, on the way down, each place looks at all (and reads); (2, 2): twice there
    attention: tuple[int, ...] = (2,)
    groups: int = 8  # of channels that are normed together
    join: Join = "concat"  # how the way up takes over what the way down has seen
    activation: Bend = "silu"

    # of a DiT
    dim: int = 256
    depth: int = 8

    # of whatever looks
    head_dim: int = 32  # numbers of a head
    mlp: int = 4  # an MLP after each attention, this many times as wide; 0: none

    # of one that reads
    text_dim: int = 0  # numbers of a token; 0: it reads nothing
    text_context: int = 0  # the most tokens of a text
    text_model: str = ""  # the fingerprint of the text tower whose tokens it knows; "": of any

    objective: Objective = "flow"  # what it says
    schedule: Schedule = "flow"  # how noise was added when it learned that
    # Where its answer leads: a small step on, or with one question to any time or to the picture.
    jumps: Jumps = "none"

    def __post_init__(self) -> None:
        for name in ("widths", "depths", "attention"):
            given: Any = getattr(self, name)
            whole = isinstance(given, list | tuple) and all(type(n) is int for n in given)
            _require(whole, f"{name} is a list of whole numbers, not {given!r:.40}")
            object.__setattr__(self, name, tuple(given))  # JSON and TOML know lists only
        for name, known in (
            ("kind", Kind),
            ("join", Join),
            ("activation", Bend),
            ("objective", Objective),
            ("schedule", Schedule),
            ("jumps", Jumps),
        ):
            value = getattr(self, name)
            _require(value in get_args(known), f"{name} {value!r} is none of {_all(known)}")
        sizes = (self.image_size, self.channels, self.patch, self.embed, self.head_dim, self.dim)
        _require(min(sizes) >= 1, "sizes and widths must be positive")
        _require(min(self.classes, self.mlp, self.depth, self.middle) >= 0, "no count is below 0")
        _require(self.embed % 2 == 0, f"time is written in pairs of numbers, not in {self.embed}")
        _require(
            self.jumps == "none" or (self.objective, self.schedule) == ("flow", "flow"),
            f"jumps lead along the flow, not by {self.objective!r} on a {self.schedule!r} schedule",
        )
        self._check_dit() if self.kind == "dit" else self._check_unet()
        self._check_text()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of its pictures."""
        return self.channels, self.image_size, self.image_size

    def _check_unet(self) -> None:
        levels = len(self.widths)
        _require(
            levels >= 1 and levels == len(self.depths),
            f"{levels} widths and {len(self.depths)} depths: a U-Net has one of each a level",
        )
        _require(min(self.widths) >= 1 and min(self.depths) >= 1, "each level has a block")
        _require(
            set(self.attention) <= set(range(levels)),
            f"attention at levels {_said(self.attention)}, of 0 to {levels - 1}",
        )
        _require(self.groups >= 1, "channels are normed in at least one group")
        for width in self.widths:
            _require(
                width % self.groups == 0,
                f"{width} channels do not divide into {self.groups} groups",
            )
        for level in self.attention:
            _require_heads(self.widths[level], self.head_dim)

    def _check_dit(self) -> None:
        _require(self.depth >= 1 and self.mlp >= 1, "a DiT has blocks, and MLPs in them")
        _require(self.dim % 4 == 0, f"places need a multiple of four numbers, not {self.dim}")
        _require_heads(self.dim, self.head_dim)

    def _check_text(self) -> None:
        given: Any = self.text_model
        _require(isinstance(given, str), f"text_model is a fingerprint, not {given!r:.40}")
        _require(min(self.text_dim, self.text_context) >= 0, "no count is below 0")
        if self.text_dim == 0 or self.text_context == 0:
            _require(
                self.text_dim == self.text_context == 0 and not self.text_model,
                f"texts of {self.text_context} tokens of {self.text_dim} numbers: who reads names "
                "both, who does not names neither, nor a text_model",
            )
        elif self.kind == "unet":
            _require(len(self.attention) > 0, "a U-Net reads where it has attention: name a level")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise BadInput(message)


def _require_heads(width: int, head: int) -> None:
    _require(width % head == 0, f"{width} numbers a place do not divide into heads of {head}")


def _all(known: Any) -> str:
    return ", ".join(get_args(known))


def _said(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


# --- what a network is told -----------------------------------------------------------------------


class Told(NamedTuple):
    """What pictures are told beside the time, where that is said in words."""

    kinds: Int64[Tensor, " b"]  # a class for each, or `null` for none in particular
    words: Float[Tensor, "b m d"]  # a text for each: the tokens that a text tower made of it
    seen: Bool[Tensor, "b m"]  # which of them are there, one at least; the others are padding


Condition = Int64[Tensor, " b"] | Told


def pieces(condition: Condition, most: int) -> list[Condition]:
    """What pictures are told, in pieces of so many pictures at the most."""
    if isinstance(condition, Told):
        parts = zip(*(part.split(most) for part in condition), strict=True)
        return [Told(*part) for part in parts]
    return list(condition.split(most))


def joined(conditions: Sequence[Condition]) -> Condition:
    """The other way: one of several, all of whose texts are padded to the length of the longest."""
    told = [one for one in conditions if isinstance(one, Told)]
    plain = [one for one in conditions if not isinstance(one, Told)]
    _require(not (told and plain), "some pictures are told words, the others nothing but a class")
    if not told:
        return torch.cat(plain)
    longest = max(one.seen.shape[1] for one in told)
    padded = [_lengthened(one, longest) for one in told]
    return Told(*(torch.cat(parts) for parts in zip(*padded, strict=True)))


def _lengthened(told: Told, length: int) -> Told:
    more = length - told.seen.shape[1]
    words = F.pad(told.words, (0, 0, 0, more))
    return Told(told.kinds, words, F.pad(told.seen, (0, more), value=False))


def _last(seen: Bool[Tensor, "b m"]) -> Int64[Tensor, " b"]:
    """Where the last token of each text stands, in which a text tower sums it up."""
    places = torch.arange(seen.shape[1], device=seen.device)
    return (places * seen).argmax(dim=1)


def _others(seen: Bool[Tensor, "b m"]) -> Bool[Tensor, "b m"]:
    """All tokens but the last; that one where it is alone, as silence is."""
    others = seen.scatter(1, rearrange(_last(seen), "b -> b 1"), False)
    return torch.where(others.any(dim=1, keepdim=True), others, seen)


class Text(NamedTuple):
    """What places look at, on its way through a network."""

    words: Float[Tensor, "b m d"]
    seen: Bool[Tensor, "b m"]  # which of them may be looked at
    # On request, where each part that reads puts down which place looked at which word.
    looked: list[Float[Tensor, "b h n m"]] | None = None


# --- the parts of a U-Net -------------------------------------------------------------------------


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut around them; what the network is told steers the second norm.

    AdaGN, section 3 of Dhariwal & Nichol 2021: norm, then scale and shift by what is told.
    """

    def __init__(self, before: int, after: int, c: DenoiserConfig) -> None:
        super().__init__()
        self.groups = c.groups
        self.activation = BENDS[c.activation]
        self.norm = nn.GroupNorm(c.groups, before)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.steer = nn.Linear(c.embed, 2 * after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(
        self, x: Float[Tensor, "b v y x"], told: Float[Tensor, "b e"]
    ) -> Float[Tensor, "b w y x"]:
        scale, shift = rearrange(self.steer(told), "b (two w) -> two b w 1 1", two=2)
        h = self.conv1(self.activation(self.norm(x)))  # b w y x
        h = F.group_norm(h, self.groups)  # its scale and shift are those that are told
        h = self.conv2(self.activation(torch.addcmul(shift, h, 1 + scale)))  # b w y x
        return self.shortcut(x) + h


class Look(nn.Module):
    """Let every place of a picture look at every other, and think about it if there is an MLP."""

    def __init__(self, width: int, c: DenoiserConfig) -> None:
        super().__init__()
        self.parts = _looking(width, c)

    def forward(
        self, x: Float[Tensor, "b w y x"], told: Float[Tensor, "b e"], text: Text | None = None
    ) -> Float[Tensor, "b w y x"]:
        places = rearrange(x, "b w y x -> b (y x) w")
        places = self.parts(places, told, text)
        # Plane by plane in memory, for what follows: with the channels side by side convolutions
        # are no faster on a CPU, and norms of groups many times slower.
        return rearrange(places, "b (y x) w -> b w y x", y=x.shape[-2]).contiguous()


class Read(nn.Module):
    """Let every place look at the words, and take what it finds there.

    Its norm and its gate are steered as those of the parts beside it (`Steered`): with `steer` at
    zero nothing is taken. Questions and words are normed, or they would grow until every place
    looked at one and the same word, whatever it shows (Dehghani et al. 2023).
    """

    def __init__(self, width: int, c: DenoiserConfig) -> None:
        super().__init__()
        heads = width // c.head_dim
        self.attention = Attention(width, heads, context_dim=c.text_dim, qk_norm=RMSNorm)
        self.steer = nn.Linear(c.embed, 3 * width)

    def forward(
        self, x: Float[Tensor, "b n w"], told: Float[Tensor, "b e"], text: Text
    ) -> Float[Tensor, "b n w"]:
        shift, scale, gate = rearrange(self.steer(told), "b (three w) -> three b 1 w", three=3)
        asks = torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=1e-6), 1 + scale)  # b n w
        if text.looked is None:
            found = self.attention(asks, text.words, mask=text.seen)  # b n w
        else:
            found, shares = self.attention.look(asks, text.words, mask=text.seen)
            text.looked.append(shares)  # b h n m
        return torch.addcmul(x, gate, found)


class Stage(nn.ModuleList):
    """Parts one after the other, all told the same; where there is a text, some of them read it."""

    def forward(self, x: Tensor, told: Float[Tensor, "b e"], text: Text | None = None) -> Tensor:
        for part in self:
            reads = text is not None and isinstance(part, Look | Read | Stage)
            x = part(x, told, text) if reads else part(x, told)
        return x


def _looking(width: int, c: DenoiserConfig) -> Stage:
    parts: list[nn.Module] = [Attention(width, width // c.head_dim)]
    if c.mlp:
        parts.append(MLP(width, c.mlp * width, "gelu_tanh"))
    looking: list[nn.Module] = [Steered(part, width, c.embed) for part in parts]
    if c.text_dim:
        looking.insert(1, Read(width, c))  # look around, read, think
    return Stage(looking)


def _padded(x: Float[Tensor, "b w y x"], multiple: int) -> Float[Tensor, "b w y2 x2"]:
    """Zeros below and to the right, until `multiple` divides the sides."""
    down, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    return F.pad(x, (0, right, 0, down)) if down or right else x


def _cropped(x: Float[Tensor, "b w y x"], like: Tensor) -> Float[Tensor, "b w y2 x2"]:
    return x[..., : like.shape[-2], : like.shape[-1]]


# --- the two networks -----------------------------------------------------------------------------


class UNet(nn.Module):
    """Down to ever fewer, wider places, and up again; each level hands what it saw across."""

    def __init__(self, c: DenoiserConfig) -> None:
        super().__init__()
        self.patch, self.join = c.patch, c.join
        inside, (finest, *_), coarsest = c.channels * c.patch**2, c.widths, c.widths[-1]
        self.enter = nn.Conv2d(inside, finest, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, (width, depth) in enumerate(zip(c.widths, c.depths, strict=True)):
            joined = 2 * width if c.join == "concat" else width
            blocks = [ResidualBlock(width, width, c) for _ in range(depth)]
            looks = [Look(width, c) for _ in range(c.attention.count(level))]
            self.down.append(Stage([*blocks, *looks]))
            rest = [ResidualBlock(width, width, c) for _ in range(depth - 1)]
            self.up.append(Stage([ResidualBlock(joined, width, c), *rest]))
        steps = list(zip(c.widths, c.widths[1:], strict=False))
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.grow = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in steps
        )
        self.middle = Stage(ResidualBlock(coarsest, coarsest, c) for _ in range(c.middle))
        self.norm = nn.GroupNorm(c.groups, finest)
        self.activation = BENDS[c.activation]
        self.leave = nn.Conv2d(finest, inside, 3, padding=1)

    def forward(
        self, x: Float[Tensor, "b c y x"], told: Float[Tensor, "b e"], text: Text | None = None
    ) -> Float[Tensor, "b c y x"]:
        p, last = self.patch, len(self.down) - 1
        x = rearrange(x, "b c (y p) (x q) -> b (p q c) y x", p=p, q=p)
        x = self.enter(x)  # b w y x

        seen: list[Tensor] = []
        for level in range(last + 1):
            x = self.down[level](x, told, text)
            seen.append(x)
            if level < last:
                x = self.shrink[level](_padded(x, 2))  # b wider y/2 x/2
        x = self.middle(x, told)
        for level in range(last, -1, -1):
            if level < last:
                x = _cropped(self.grow[level](x), like=seen[level])  # b narrower 2y 2x
            x = torch.cat([x, seen[level]], dim=1) if self.join == "concat" else x + seen[level]
            x = self.up[level](x, told)

        x = self.leave(self.activation(self.norm(x)))
        return rearrange(x, "b (p q c) y x -> b c (y p) (x q)", p=p, q=p)


class DiT(nn.Module):
    """A vision transformer of blocks that are told something, which answers with patches."""

    def __init__(self, c: DenoiserConfig) -> None:
        super().__init__()
        self.patch, self.dim = c.patch, c.dim
        inside = c.channels * c.patch**2
        self.enter = nn.Linear(inside, c.dim)
        self.blocks = Stage(_looking(c.dim, c) for _ in range(c.depth))
        self.steer = nn.Linear(c.embed, 2 * c.dim)
        self.leave = nn.Linear(c.dim, inside)

    def forward(
        self, x: Float[Tensor, "b c y x"], told: Float[Tensor, "b e"], text: Text | None = None
    ) -> Float[Tensor, "b c y x"]:
        grid = x.shape[-2] // self.patch, x.shape[-1] // self.patch
        places = self.enter(patchify(x, self.patch))  # b n d
        places = places + sincos_2d(*grid, self.dim).to(places)
        places = self.blocks(places, told, text)  # b n d
        shift, scale = rearrange(self.steer(told), "b (two d) -> two b 1 d", two=2)
        places = torch.addcmul(shift, F.layer_norm(places, (self.dim,), eps=1e-6), 1 + scale)
        return unpatchify(self.leave(places), self.patch, grid)


# --- the whole ------------------------------------------------------------------------------------


def _clock(embed: int) -> nn.Sequential:
    """Numbers that say a time, made of its waves."""
    return nn.Sequential(nn.Linear(embed, embed), nn.SiLU(), nn.Linear(embed, embed))


class Denoiser(nn.Module):
    """A network that takes noise out of pictures, with the names of what it can draw."""

    ours: bool = True  # a network of this package, which can be trained on and saved
    guidable: bool  # it has drawn without a label, too: guidance leads away from that
    clip: float | None = None  # what its guesses are kept to while it draws, if it asks for that
    reads: str = ""  # the CLIP whose text tower it learned with, a name or a path; "": none
    # In how many jumps it learned to go from noise to picture; (): in any number; None: not known.
    taught: tuple[int, ...] | None = None

    def __init__(
        self,
        config: DenoiserConfig,
        labels: Sequence[str] = (),
        sampling: Mapping[str, Any] | None = None,
        reads: str = "",
        guidable: bool = True,
        taught: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        c = self.config = config
        self.labels = tuple(labels)
        _require(
            len(self.labels) in (0, c.classes),
            f"{len(self.labels)} labels for a denoiser of {c.classes} classes",
        )
        _require(guidable or c.classes > 0, "without classes there is only drawing without a label")
        self.sampling = dict(sampling or {})  # what it draws best with: sampler, steps, guidance
        self.reads = reads
        self.guidable = guidable
        self.taught = None if taught is None else tuple(taught)
        self.name = ""
        self.origin: Origin | Literal["random"] = "random"

        self.time = _clock(c.embed)
        self.classes = nn.Embedding(c.classes + 1, c.embed)  # the last one says nothing
        self.span = _clock(c.embed) if c.jumps == "anywhere" else None  # how far an answer leads
        self.net = UNet(c) if c.kind == "unet" else DiT(c)
        # Of one that reads: a text as a whole, and the token that stands in place of any text.
        self.summary = nn.Linear(c.text_dim, c.embed) if c.text_dim else None
        self.silence = nn.Parameter(torch.empty(1, c.text_dim)) if c.text_dim else None
        self.reset()

    @property
    def null(self) -> int:
        """The class that stands for none in particular; refused where that was never drawn."""
        _require(
            self.guidable,
            f"{self.name or 'this model'} has never drawn without a label, so that it can be "
            "neither guided nor asked for none: leave the guidance at 1 and name labels",
        )
        return self.config.classes

    @property
    def source(self) -> str:
        """Which weights these are, for a person."""
        return source_of(self.name, self.origin)

    def forward(
        self,
        x: Float[Tensor, "b c y x"],
        t: Float[Tensor, " b"],
        condition: Condition | None = None,
        to: Float[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b c y x"]:
        """What `config.objective` asks for, of pictures at times from 0 (clean) to 1 (noise).

        `condition` is a class for each picture, or `null`; None is `null` for all. To one that
        reads it may be `Told`; whoever is told no words hears silence. A network that jumps
        anywhere says which way leads to the time `to`; None is t, where the way only begins.
        """
        return self._answer(x, t, condition, to)

    def reading(
        self, x: Float[Tensor, "b c y x"], t: Float[Tensor, " b"], condition: Told
    ) -> list[Float[Tensor, "b h y x m"]]:
        """Which words each place looks at while the network answers, in shares that sum to 1.

        The last token, which sums the others up, has none unless it is alone. One entry for each
        `Read`, from the finest places to the coarsest: of a U-Net those of a level, of a DiT its
        patches, block by block. Where a side of the pictures had to be padded, the last places lie
        beyond their edge.
        """
        self._demand_reading()
        looked: list[Tensor] = []
        self._answer(x, t, condition, None, looked)
        return [
            rearrange(shares, "b h (y x) m -> b h y x m", y=isqrt(shares.shape[2]))
            for shares in looked
        ]

    def _answer(
        self,
        x: Float[Tensor, "b c y x"],
        t: Float[Tensor, " b"],
        condition: Condition | None,
        to: Float[Tensor, " b"] | None,
        looked: list[Float[Tensor, "b h n m"]] | None = None,
    ) -> Float[Tensor, "b c y x"]:
        self._check(x, t, condition, to)
        weight = self.classes.weight
        condition = self._heard(condition, len(x))
        told = self.told(t.expand(len(x)), condition, to)  # b e
        text = None
        if isinstance(condition, Told):
            text = Text(condition.words, _others(condition.seen), looked)
        # Half precision is for the network: what goes in and comes out stays as exact as it is.
        out = self.net(_padded(x.to(weight.dtype), self.config.patch), told, text)
        return _cropped(out, like=x).to(x.dtype)

    def told(
        self,
        t: Float[Tensor, " b"],
        condition: Condition | None = None,
        to: Float[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b e"]:
        """Time, class and the sum of the words in one row of numbers, which steers every block."""
        condition = self._heard(condition, len(t))
        kinds = condition.kinds if isinstance(condition, Told) else condition
        # Waves as long as thousands, for a time that runs to 1: so it is spread over a thousand.
        told = self.time(self._waves(1000 * t)) + self.classes(kinds)
        if self.summary is not None and isinstance(condition, Told):
            rows = torch.arange(len(condition.words), device=condition.words.device)
            told = told + self.summary(condition.words[rows, _last(condition.seen)])
        if self.span is not None:
            # Slower ones, so that a length between two that were learned lies between them.
            told = told + self.span(self._waves(10 * (t - (t if to is None else to.to(t)))))
        return F.silu(told)

    def _heard(self, condition: Condition | None, count: int) -> Condition:
        """What each picture is told: a class; to one that reads a text as well, or else silence."""
        weight = self.classes.weight
        if condition is None:
            condition = torch.full((count,), self.null, device=weight.device)
        if self.silence is None:
            return condition
        if not isinstance(condition, Told):
            here = torch.ones(1, 1, dtype=torch.bool, device=weight.device)
            condition = Told(condition, rearrange(self.silence, "m d -> 1 m d"), here)
        kinds, words, seen = condition
        return Told(kinds, words.to(weight.dtype).expand(count, -1, -1), seen.expand(count, -1))

    def _waves(self, number: Float[Tensor, " b"]) -> Float[Tensor, "b e"]:
        weight = self.classes.weight
        return sinusoidal(number.to(weight.device), self.config.embed).to(weight.dtype)

    # --- of one that reads ------------------------------------------------------------------------

    def unsaid(self, condition: Told) -> Told:
        """The same pictures told nothing: no class in particular, and silence for the words."""
        self._demand_reading()
        kinds = torch.full_like(condition.kinds, self.null)
        everywhere = torch.ones_like(condition.seen[:, 0])
        return self.silent(condition._replace(kinds=kinds), everywhere)

    def silent(self, told: Told, rows: Bool[Tensor, " b"]) -> Told:
        """Silence in place of the words of these rows: one token, which is learned."""
        self._demand_reading()
        assert self.silence is not None
        first = torch.arange(told.seen.shape[1], device=told.seen.device) == 0  # m
        silence = self.silence.to(told.words)  # at every place the same; the first one is seen
        words = torch.where(rearrange(rows, "b -> b 1 1"), silence, told.words)  # b m d
        return Told(told.kinds, words, torch.where(rearrange(rows, "b -> b 1"), first, told.seen))

    def _demand_reading(self) -> None:
        _require(
            self.config.text_dim > 0,
            f"{self.name or 'this denoiser'} reads no words: tell it classes, or nothing",
        )

    # --- its weights ------------------------------------------------------------------------------

    def matrices(self) -> list[str]:
        """The weights that Muon takes: those between the first and the last layer.

        Not what steers: it starts from what the network is told, which is a first layer too.
        """
        ends = ("net.enter.", "net.leave.")
        return [
            name
            for name, weight in self.named_parameters()
            if name.startswith("net.") and weight.ndim >= 2
            if not name.startswith(ends) and ".steer." not in name
        ]

    def reset(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh weights; what each block adds, and what the whole says, starts out as zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.GroupNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, RMSNorm):
                nn.init.ones_(module.weight)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, generator=generator)
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                nn.init.zeros_(module.conv2.weight)
            elif isinstance(module, Steered | Read | DiT):
                nn.init.zeros_(module.steer.weight)
        nn.init.zeros_(self.net.leave.weight)
        if self.span is not None:  # whoever was taught small steps begins with these
            for weight in self.span[-1].parameters():
                nn.init.zeros_(weight)
        if self.summary is not None and self.silence is not None:
            nn.init.zeros_(self.summary.weight)
            nn.init.normal_(self.silence, generator=generator)

    def _check(self, x: Tensor, t: Tensor, condition: Condition | None, to: Tensor | None) -> None:
        shape = self.config.shape
        _require(
            x.ndim == 4 and tuple(x.shape[1:]) == shape,
            f"the denoiser takes pictures of (b, {_said(shape)}), not {tuple(x.shape)}",
        )
        _require(
            to is None or self.span is not None,
            f"which time to go to is not heard by a denoiser with jumps={self.config.jumps!r}",
        )
        if isinstance(condition, Told):
            self._check_words(condition, len(x))
        kinds = condition.kinds if isinstance(condition, Told) else condition
        for name, given in (("time", t), ("class", kinds), ("time to go to", to)):
            if given is not None and tuple(given.shape) not in ((), (1,), (len(x),)):
                raise BadInput(
                    f"{len(x)} pictures need a {name} each, not numbers of {tuple(given.shape)}"
                )

    def _check_words(self, told: Told, count: int) -> None:
        self._demand_reading()
        c, shape = self.config, tuple(told.words.shape)
        fits = len(shape) == 3 and shape[0] in (1, count) and 1 <= shape[1] <= c.text_context
        _require(
            fits and shape[2] == c.text_dim and tuple(told.seen.shape) == shape[:2],
            f"words of {shape}, seen of {tuple(told.seen.shape)}: {count} pictures need a text "
            f"each of 1 to {c.text_context} tokens of {c.text_dim} numbers",
        )
