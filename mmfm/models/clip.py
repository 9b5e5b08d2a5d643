"""CLIP: a picture and its caption become two vectors that point the same way.

Radford et al. 2021, with what its descendants changed: text towers that look both ways, other ways
to sum a text up, a bias for the sigmoid loss (SigLIP; Zhai et al. 2023). One class runs the
published checkpoints of OpenAI, LAION, DataComp, DFN, MetaCLIP, CLIPA and SigLIP, and ours.

Shapes: b pictures or texts, c channels, n tokens of a text, d numbers a token, e numbers in the
common space, h heads.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from math import log
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from PIL import Image
from torch import Tensor, nn

from mmfm.data.pictures import Preprocessing, open_picture
from mmfm.errors import BadInput
from mmfm.hub import Origin
from mmfm.models.tokenizer import Tokenizer
from mmfm.models.vit import ViT, ViTConfig, draw_weights, plain_preprocessing, source_of
from mmfm.nn import Activation, Block, LayerNorm

TextPool = Literal["argmax", "end", "last", "first"]
Projection = Literal["linear", "affine", "none"]
Towers = Literal["both", "image", "text"]


@dataclass(frozen=True)
class TextConfig:
    """What a text tower is made of."""

    vocabulary: int = 49_408
    context: int = 77  # the most tokens of a text
    dim: int = 512
    depth: int = 12
    heads: int = 8
    mlp_dim: int = 2048
    activation: Activation = "gelu"
    causal: bool = True  # a token looks at those before it only; else at all, padding too
    # Whose token stands for the text. argmax: that of the largest number, which is CLIP's end of
    # text; end: the first that is `end`; last: the last one, padding or not (SigLIP); first: the
    # first one.
    pool: TextPool = "argmax"
    end: int | None = None
    layer_scale: float | None = None  # its initial value
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        sizes = (self.vocabulary, self.context, self.dim, self.mlp_dim)
        _require(min(sizes) >= 1 and self.depth >= 0, "sizes of a text tower must be positive")
        _require(
            self.heads >= 1 and self.dim % self.heads == 0,
            f"{self.dim} numbers a token do not divide among {self.heads} heads",
        )
        _require_known("activation", self.activation, get_args(Activation))
        _require_known("pool", self.pool, get_args(TextPool))
        _require(
            (self.pool == "end") == (self.end is not None),
            "pooling by 'end' needs the number of the end token, and nothing else does",
        )


@dataclass(frozen=True)
class CLIPConfig:
    """Two towers and the space in which they meet."""

    image: ViTConfig = field(default_factory=lambda: ViTConfig(norm_eps=1e-5, norm_before=True))
    text: TextConfig = field(default_factory=TextConfig)
    dim: int = 512  # of the common space
    image_projection: Projection = "linear"  # into it: a matrix, a matrix and a bias, or as it is
    text_projection: Projection = "linear"
    scale: float = log(1 / 0.07)  # initial, as a logarithm
    bias: float | None = None  # initial; the sigmoid loss needs one

    def __post_init__(self) -> None:
        # JSON knows no dataclasses, so the towers' settings come back as dictionaries.
        for name, kind in (("image", ViTConfig), ("text", TextConfig)):
            value: Any = getattr(self, name)
            if isinstance(value, dict):
                object.__setattr__(self, name, kind(**value))
        _require(self.dim >= 1, "the common space needs at least one number")
        _require(self.image.classes == 0, "the picture tower of a CLIP has no head")
        for name, projection, width in (
            ("image", self.image_projection, self.image.pooled_dim),
            ("text", self.text_projection, self.text.dim),
        ):
            _require_known(f"{name}_projection", projection, get_args(Projection))
            _require(
                projection != "none" or width == self.dim,
                f"without a projection {width} numbers of the {name} tower are not {self.dim}",
            )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise BadInput(message)


def _require_known(name: str, value: str, known: Sequence[str]) -> None:
    _require(value in known, f"{name} {value!r} is none of {', '.join(known)}")


# --- the text tower -------------------------------------------------------------------------------


@dataclass
class TextOutput:
    """All that one pass over some texts has made."""

    tokens: Float[Tensor, "b n d"]  # after the last norm
    pooled: Float[Tensor, "b d"]
    place: Int64[Tensor, " b"]  # where in each row the token stands that sums it up
    layers: list[Float[Tensor, "b n d"]] = field(default_factory=list[Tensor])
    """On request: the tokens before the first block, then after each block."""
    attention: dict[int, Float[Tensor, "b h n n"]] = field(default_factory=dict[int, Tensor])
    """On request: which token looked at which, by block. A gradient of `pooled` reaches it."""


class TextTransformer(nn.Module):
    """Read a text token by token, and sum it up in one of them."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        c = self.config = config
        norm = partial(LayerNorm, eps=c.norm_eps)
        self.embed = nn.Embedding(c.vocabulary, c.dim)
        self.positions = nn.Parameter(torch.zeros(c.context, c.dim))
        self.blocks = nn.ModuleList(
            Block(
                c.dim,
                c.heads,
                c.mlp_dim,
                activation=c.activation,
                norm=norm,
                causal=c.causal,
                layer_scale=c.layer_scale,
            )
            for _ in range(c.depth)
        )
        self.norm_after = norm(c.dim)
        self.reset()

    def reset(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh weights, as a ViT does."""
        draw_weights(self, self.config.layer_scale, generator)

    def forward(
        self,
        ids: Int64[Tensor, "b n"],
        *,
        layers: bool = False,
        attention: bool | Collection[int] = False,
    ) -> TextOutput:
        """Read rows of token numbers, at most `context` in each.

        `layers` and `attention` (of all blocks, or of those named) are handed out too. What is
        handed out as attention is what the blocks compute with, so that gradients reach it.
        """
        c = self.config
        wanted = range(c.depth) if attention is True else (attention or ())
        _require(set(wanted) <= set(range(c.depth)), f"the tower's blocks are 0 to {c.depth - 1}")
        _require(
            ids.ndim == 2 and 1 <= ids.shape[1] <= c.context,
            f"texts come as rows of 1 to {c.context} token numbers, not as {tuple(ids.shape)}",
        )
        x = self.embed(ids)  # b n d
        x = x + self.positions[: ids.shape[1]]  # b n d

        tokens, weights = [x], dict[int, Tensor]()
        for number, block in enumerate(self.blocks):
            if number in wanted:
                assert isinstance(block, Block)
                x, weights[number] = block.look(x)  # b n d, b h n n
            else:
                x = block(x)  # b n d
            if layers:
                tokens.append(x)

        x = self.norm_after(x)  # b n d
        place = self._place(ids)  # b
        return TextOutput(
            tokens=x,
            pooled=x[torch.arange(len(x), device=x.device), place],  # b d
            place=place,
            layers=tokens if layers else [],
            attention=weights,
        )

    def _place(self, ids: Int64[Tensor, "b n"]) -> Int64[Tensor, " b"]:
        """Where in each row the token stands that sums it up."""
        if self.config.pool == "argmax":
            return ids.argmax(dim=-1)
        if self.config.pool == "end":
            return (ids == self.config.end).int().argmax(dim=-1)
        return ids.new_full((len(ids),), 0 if self.config.pool == "first" else ids.shape[1] - 1)


# --- the whole ------------------------------------------------------------------------------------


@dataclass
class CLIPOutput:
    """Pictures and texts in the common space, as rows of length 1, and what a cosine counts."""

    image: Float[Tensor, "b e"] | None
    text: Float[Tensor, "m e"] | None
    scale: Float[Tensor, ""]
    bias: Float[Tensor, ""] | None

    @property
    def logits(self) -> Float[Tensor, "b m"]:
        """How well each picture goes with each text."""
        if self.image is None or self.text is None:
            raise BadInput("logits need both pictures and texts")
        logits = self.scale * self.image @ self.text.T
        return logits if self.bias is None else logits + self.bias


class TwoTowers(nn.Module, ABC):
    """What every model can do that puts pictures and texts into one space, whoever wrote it."""

    scale: Float[Tensor, ""]  # as a logarithm
    bias: Float[Tensor, ""] | None
    dim: int  # of the common space
    vocabulary: int  # token numbers that the text tower knows
    preprocessing: Preprocessing
    tokenizer: Tokenizer | None
    name: str
    origin: Origin | Literal["random"]

    @abstractmethod
    def project_image(self, images: Float[Tensor, "b c y x"]) -> Float[Tensor, "b e"]:
        """Put pictures into the common space, at whatever length the tower gives them."""

    @abstractmethod
    def project_text(self, ids: Int64[Tensor, "b n"]) -> Float[Tensor, "b e"]:
        """Put texts into the common space, at whatever length the tower gives them."""

    @property
    def source(self) -> str:
        """Which weights these are, for a person."""
        return source_of(self.name, self.origin)

    @property
    def weight(self) -> Tensor:
        """One of the large weights, by whose device and type pictures and texts are prepared."""
        return next(weight for weight in self.parameters() if weight.ndim > 1)

    def forward(
        self,
        images: Float[Tensor, "b c y x"] | None = None,
        ids: Int64[Tensor, "m n"] | None = None,
    ) -> CLIPOutput:
        """Put pictures, texts or both into the common space."""
        return CLIPOutput(
            image=None if images is None else _unit(self.project_image(images)),  # b e
            text=None if ids is None else _unit(self.project_text(ids)),  # m e
            scale=self.scale.exp(),
            bias=self.bias,
        )

    # Not in inference_mode, whose rows could not be multiplied by the scale outside of it.
    @torch.no_grad()
    def encode_image(
        self, pictures: Iterable[str | Path | bytes | Image.Image] | Tensor, *, batch: int = 64
    ) -> Float[Tensor, "n e"]:
        """Turn picture files, pictures or a prepared tensor into rows of length 1."""
        if isinstance(pictures, str | Path | bytes | Image.Image):
            raise BadInput("one picture where a list of pictures is expected: write [picture]")
        items = _listed(pictures, "pictures")
        _require(
            not isinstance(items, Tensor) or items.is_floating_point(),
            f"a tensor of {getattr(items, 'dtype', '')} is no prepared picture; bytes become "
            "floating-point numbers by preprocessing.normalise",
        )

        def project(part: Any) -> Tensor:
            if not isinstance(part, Tensor):
                part = self.preprocessing.batch([_opened(picture) for picture in part])
            return self.project_image(part.to(self.weight))

        return self._rows(project, items, batch)

    @torch.no_grad()
    def encode_text(
        self, texts: Iterable[str] | Int64[Tensor, "b n"], *, batch: int = 256
    ) -> Float[Tensor, "n e"]:
        """Turn texts, or the rows of token numbers that they became, into rows of length 1."""
        if isinstance(texts, str):
            raise BadInput(f"one text where a list of texts is expected: write [{texts!r:.60}]")
        items = _listed(texts, "texts")
        if isinstance(items, Tensor):
            known = items.dtype in (torch.int64, torch.int32)
            _require(known, f"token numbers are whole (int64 or int32), not {items.dtype}")
        elif strange := [text for text in items if not isinstance(text, str)]:
            raise BadInput(f"a text is a str, not {_kind(strange[0])}: {strange[0]!r:.40}")

        def project(part: Any) -> Tensor:
            ids = part if isinstance(part, Tensor) else self._tokenized(part)
            known = not ids.numel() or 0 <= int(ids.min()) <= int(ids.max()) < self.vocabulary
            _require(known, f"{self.source}: knows token numbers from 0 to {self.vocabulary - 1}")
            return self.project_text(ids.to(self.weight.device))

        return self._rows(project, items, batch)

    def _tokenized(self, texts: Sequence[str]) -> Int64[Tensor, "b n"]:
        if self.tokenizer is None:
            raise BadInput(f"{self.source}: has no tokenizer, so it reads token numbers only")
        return self.tokenizer(texts)

    def _rows(
        self, project: Callable[[Any], Tensor], items: Sequence[Any] | Tensor, batch: int
    ) -> Float[Tensor, "n e"]:
        _require(batch >= 1, f"a batch of {batch}; it holds at least one")
        starts = range(0, len(items), batch)
        rows = [_unit(project(items[start : start + batch])) for start in starts]
        return torch.cat(rows) if rows else _unit(self.weight.new_empty(0, self.dim))


class CLIP(TwoTowers):
    """A ViT and a text tower whose vectors meet, with what prepares pictures and texts for them."""

    def __init__(
        self,
        config: CLIPConfig,
        preprocessing: Preprocessing | None = None,
        tokenizer: Tokenizer | None = None,
        *,
        towers: Towers = "both",
    ) -> None:
        super().__init__()
        _require_known("towers", towers, get_args(Towers))
        c = self.config = config
        self.dim, self.vocabulary = c.dim, c.text.vocabulary
        self.towers: Towers = towers
        self.image = ViT(c.image, preprocessing) if towers != "text" else None
        self.image_projection = (
            _projection(c.image_projection, c.image.pooled_dim, c.dim) if self.image else None
        )
        self.text = TextTransformer(c.text) if towers != "image" else None
        self.text_projection = (
            _projection(c.text_projection, c.text.dim, c.dim) if self.text else None
        )
        self.scale = nn.Parameter(torch.tensor(float(c.scale)))
        self.bias = None if c.bias is None else nn.Parameter(torch.tensor(float(c.bias)))
        self.preprocessing = preprocessing or plain_preprocessing(c.image)
        self.tokenizer = _fitting(tokenizer, c.text)
        self.name, self.origin = "", "random"
        self.reset()

    def reset(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh weights for both towers; scale and bias begin where the configuration says."""
        for tower in (self.image, self.text):
            if tower is not None:
                tower.reset(generator)
        for projection in (self.image_projection, self.text_projection):
            if isinstance(projection, nn.Linear):
                nn.init.normal_(
                    projection.weight, std=projection.in_features**-0.5, generator=generator
                )
                if projection.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
                    nn.init.zeros_(projection.bias)
        nn.init.constant_(self.scale, self.config.scale)
        if self.bias is not None and self.config.bias is not None:
            nn.init.constant_(self.bias, self.config.bias)

    def forward(
        self,
        images: Float[Tensor, "b c y x"] | None = None,
        ids: Int64[Tensor, "m n"] | None = None,
        *,
        keep: Bool[Tensor, "b n"] | None = None,
    ) -> CLIPOutput:
        """Put pictures, texts or both into the common space; with `keep`, those patches only."""
        if images is None or keep is None:
            return super().forward(images, ids)
        out = super().forward(ids=ids)
        out.image = _unit(self.project_image(images, keep))  # b e
        return out

    def project_image(
        self, images: Float[Tensor, "b c y x"], keep: Bool[Tensor, "b n"] | None = None
    ) -> Float[Tensor, "b e"]:
        """Put pictures into the common space, at whatever length the tower gives them."""
        if self.image is None or self.image_projection is None:
            raise BadInput(f"{self.source}: was loaded without its picture tower")
        return self.image_projection(self.image(images, keep=keep).pooled)

    def project_text(self, ids: Int64[Tensor, "b n"]) -> Float[Tensor, "b e"]:
        """Put texts into the common space, at whatever length the tower gives them."""
        if self.text is None or self.text_projection is None:
            raise BadInput(f"{self.source}: was loaded without its text tower")
        return self.text_projection(self.text(ids).pooled)


def _projection(kind: Projection, width: int, dim: int) -> nn.Module:
    return nn.Identity() if kind == "none" else nn.Linear(width, dim, bias=kind == "affine")


def _fitting(tokenizer: Tokenizer | None, config: TextConfig) -> Tokenizer | None:
    # Of pieces it may have more than the tower: T5's has a hundred that no text brings forth.
    if tokenizer is not None:
        _require(
            tokenizer.context <= config.context,
            f"the tokenizer writes {tokenizer.context} in a row; the tower reads {config.context}",
        )
    return tokenizer


def _listed(items: Any, what: str) -> Sequence[Any] | Tensor:
    if isinstance(items, Tensor | list | tuple):
        return items
    _require(isinstance(items, Iterable), f"{what} come as a list or a tensor, not {_kind(items)}")
    return list(items)


def _kind(value: object) -> str:
    return type(value).__name__


def _opened(picture: Any) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture
    known = isinstance(picture, str | Path | bytes)
    _require(
        known,
        f"a picture is a path, a PIL picture or the bytes of a file, not {_kind(picture)}",
    )
    return open_picture(BytesIO(picture) if isinstance(picture, bytes) else picture)


def _unit(x: Float[Tensor, "b e"]) -> Float[Tensor, "b e"]:
    # In half precision a row of length 1 would be off by a thousandth.
    return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)
