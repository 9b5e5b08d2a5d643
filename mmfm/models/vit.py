"""The vision transformer: a picture becomes patches, patches become tokens, tokens talk.

Dosovitskiy et al. 2021, with what its descendants added: registers (Darcet et al. 2024), attention
pooling (Zhai et al. 2022), layer scale (Touvron et al. 2021), the distillation token of DeiT. One
class runs the published checkpoints of timm, DeiT, transformers' ViT, DINOv2 and SigLIP, and ours.

Shapes: b pictures, c channels, n patches, t tokens (patches and what stands before them),
d numbers a token, h heads, k classes.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadInput
from mmfm.hub import Origin
from mmfm.nn import (
    MLP,
    Activation,
    Attention,
    Block,
    LayerNorm,
    resize_positions,
    shapes_only,
    sincos_2d,
)

Positions = Literal["learned", "sincos", "none"]
Pool = Literal["cls", "mean", "map", "cls+mean"]


@dataclass(frozen=True)
class ViTConfig:
    """What a vision transformer is made of."""

    image_size: tuple[int, int] = (224, 224)  # height and width that the positions were learned at
    patch_size: int = 16
    channels: int = 3
    dim: int = 768
    depth: int = 12
    heads: int = 12
    mlp_dim: int = 3072
    activation: Activation = "gelu"
    cls_token: bool = True  # a token of no patch, into which the picture is summed up
    distilled: bool = False  # DeiT's second such token, with a head of its own
    registers: int = 0  # tokens of no patch and no meaning: scratch paper
    positions: Positions = "learned"  # of the patches
    antialias_positions: bool = True  # when positions are resized: timm yes, transformers no
    patch_bias: bool = True
    drop_edge: bool = False  # pixels beside the last whole patch are let go; else there are none
    qkv_bias: bool = True
    qk_norm: bool = False
    layer_scale: float | None = None  # its initial value
    norm_eps: float = 1e-6
    norm_before: bool = False  # a norm between the positions and the first block (CLIP)
    norm_after: bool = True  # a norm over all tokens after the last block
    pool: Pool = "cls"
    norm_pooled: bool = False  # a norm over the pooled token instead (timm's fc_norm)
    pooler: bool = False  # a last tanh layer over the pooled token (transformers' ViTModel)
    classes: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", tuple(self.image_size))  # JSON knows lists only
        height, width = self.image_size
        sizes = (height, width, self.patch_size, self.channels, self.dim, self.mlp_dim)
        _require(min(sizes) >= 1, "sizes and widths must be positive")
        counts = (self.depth, self.registers, self.classes)
        _require(min(counts) >= 0, "depth, registers and classes are not below 0")
        if self.drop_edge:
            _require(self.patch_size <= min(height, width), "the picture has no whole patch")
        else:
            _require_whole_patches(self.patch_size, height, width)
        _require(
            self.heads >= 1 and self.dim % self.heads == 0,
            f"{self.dim} numbers a token do not divide among {self.heads} heads",
        )
        for name, value, known in (
            ("activation", self.activation, get_args(Activation)),
            ("positions", self.positions, get_args(Positions)),
            ("pool", self.pool, get_args(Pool)),
        ):
            _require(value in known, f"{name} {value!r} is none of {', '.join(known)}")
        _require(
            self.positions != "sincos" or self.dim % 4 == 0,
            f"sin-cos positions need a multiple of four numbers a token, not {self.dim}",
        )
        _require(
            self.cls_token or self.pool not in ("cls", "cls+mean"),
            f"pooling by {self.pool!r} needs a CLS token",
        )
        _require(
            self.pool == "cls" or not self.distilled,
            f"a distillation token goes with pooling by 'cls', not by {self.pool!r}",
        )
        _require(
            not (self.distilled or self.pool == "cls+mean")
            or not (self.norm_pooled or self.pooler),
            "two pooled tokens go straight to the head: no norm, no tanh layer between",
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def patch_dim(self) -> int:
        """Numbers in one patch."""
        return self.patch_size**2 * self.channels

    @property
    def prefix(self) -> int:
        """Tokens that stand before the patches: CLS, distillation, registers."""
        return self.cls_token + self.distilled + self.registers

    @property
    def pooled_dim(self) -> int:
        """Numbers into which a whole picture is summed up."""
        return 2 * self.dim if self.pool == "cls+mean" else self.dim


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise BadInput(message)


def _require_whole_patches(size: int, height: int, width: int) -> None:
    _require(size >= 1, f"a patch of {size} pixels")
    near = [max(1, round(side / size)) * size for side in (height, width)]
    _require(
        near == [height, width],
        f"patches of {size} pixels do not divide a picture of {height}x{width}; "
        f"the nearest that fits is {near[0]}x{near[1]}",
    )


def has_edge(sides: Iterable[int], patch: int) -> bool:
    """Whether a picture is more than its whole patches: 6 of 384 pixels of one SigLIP are left."""
    return any(side % patch for side in sides)


# The paper's sizes (table 1 there; Ti and S from DeiT, so400m from Alabdulmohsin et al. 2023).
SIZES: dict[str, dict[str, int]] = {
    "Ti": {"dim": 192, "depth": 12, "heads": 3, "mlp_dim": 768},
    "S": {"dim": 384, "depth": 12, "heads": 6, "mlp_dim": 1536},
    "B": {"dim": 768, "depth": 12, "heads": 12, "mlp_dim": 3072},
    "L": {"dim": 1024, "depth": 24, "heads": 16, "mlp_dim": 4096},
    "H": {"dim": 1280, "depth": 32, "heads": 16, "mlp_dim": 5120},
    "so400m": {"dim": 1152, "depth": 27, "heads": 16, "mlp_dim": 4304},
}
VARIANTS: dict[str, dict[str, int]] = {
    f"{size}/{patch}": {**SIZES[size], "patch_size": patch}
    for size, patches in {
        "Ti": (16,),
        "S": (32, 16, 14, 8),
        "B": (32, 16, 14, 8),
        "L": (32, 16, 14),
        "H": (16, 14),
        "so400m": (16, 14),
    }.items()
    for patch in patches
}


@dataclass
class ViTOutput:
    """All that one pass over some pictures has made."""

    tokens: Float[Tensor, "b t d"]  # after the last norm
    pooled: Float[Tensor, "b d"]
    logits: Float[Tensor, "b k"] | None  # if the model has a head
    prefix: int  # tokens that stand before the patches
    grid: tuple[int, int]  # rows and columns of patches
    layers: list[Float[Tensor, "b t d"]] = field(default_factory=list[Tensor])
    """On request: the tokens before the first block, then after each block."""
    attention: dict[int, Float[Tensor, "b h t t"]] = field(default_factory=dict[int, Tensor])
    """On request: who looked at whom, by block. A gradient of all that was made reaches it."""
    probe: Float[Tensor, "b h 1 n"] | None = None
    """With the attention, of a model that pools by it: which patches the learned question took."""

    @property
    def patches(self) -> Float[Tensor, "b n d"]:
        """The tokens that stand for patches."""
        return self.tokens[:, self.prefix :]


class ViT(nn.Module):
    """A vision transformer, with the preprocessing and class names its weights were made for."""

    def __init__(
        self,
        config: ViTConfig,
        preprocessing: Preprocessing | None = None,
        labels: Sequence[str] = (),
    ) -> None:
        super().__init__()
        c = self.config = config
        self.preprocessing = preprocessing or plain_preprocessing(c)
        self.labels = tuple(labels)
        self.name = ""
        self.origin: Origin | Literal["random"] = "random"

        norm = partial(LayerNorm, eps=c.norm_eps)
        self.embed = nn.Linear(c.patch_dim, c.dim, bias=c.patch_bias)
        self.cls = nn.Parameter(torch.zeros(1, c.dim)) if c.cls_token else None
        self.distillation = nn.Parameter(torch.zeros(1, c.dim)) if c.distilled else None
        self.registers = nn.Parameter(torch.zeros(c.registers, c.dim)) if c.registers else None
        self.positions = None
        if c.positions == "learned":
            self.positions = nn.Parameter(torch.zeros(c.grid[0] * c.grid[1], c.dim))
        self.norm_before = norm(c.dim) if c.norm_before else nn.Identity()
        self.blocks = nn.ModuleList(
            Block(
                c.dim,
                c.heads,
                c.mlp_dim,
                activation=c.activation,
                norm=norm,
                bias=c.qkv_bias,
                qk_norm=norm if c.qk_norm else None,
                layer_scale=c.layer_scale,
            )
            for _ in range(c.depth)
        )
        self.norm_after = norm(c.dim) if c.norm_after else nn.Identity()
        self.attention_pool = AttentionPool(c) if c.pool == "map" else None
        self.norm_pooled = norm(c.dim) if c.norm_pooled else nn.Identity()
        self.pooler = nn.Linear(c.dim, c.dim) if c.pooler else None
        self.head = nn.Linear(c.pooled_dim, c.classes) if c.classes else None
        self.distillation_head = nn.Linear(c.dim, c.classes) if c.distilled and c.classes else None
        self.reset()

    def reset(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh weights: narrow normal ones, zero biases and a head that starts out silent."""
        draw_weights(self, self.config.layer_scale, generator)

    @property
    def source(self) -> str:
        """Which weights these are, for a person."""
        return source_of(self.name, self.origin)

    # --- from pixels to patches and back --------------------------------------------------------

    def patchify(self, images: Float[Tensor, "b c y x"]) -> Float[Tensor, "b n p"]:
        """Cut pictures into squares, row by row, each one written out as a row of numbers."""
        return patchify(self._checked(images), self.config.patch_size)

    def unpatchify(
        self, patches: Float[Tensor, "b n p"], grid: tuple[int, int] | None = None
    ) -> Float[Tensor, "b c y x"]:
        """Put the squares together again."""
        return unpatchify(patches, self.config.patch_size, grid or self.config.grid)

    # --- the whole ------------------------------------------------------------------------------

    def forward(
        self,
        images: Float[Tensor, "b c y x"],
        *,
        keep: Bool[Tensor, " n"] | Bool[Tensor, "b n"] | None = None,
        layers: bool = False,
        attention: bool | Collection[int] = False,
    ) -> ViTOutput:
        """Look at pictures of any size that the patches divide.

        `keep` drops the other patches before the first block: the model never learns that they
        were there. One choice serves all pictures, or each has its own of the same number.
        `layers` and `attention` (of all blocks, or of those named) are handed out too. What is
        handed out as attention is what the blocks compute with, so that gradients reach it.
        """
        c = self.config
        wanted = range(c.depth) if attention is True else (attention or ())
        _require(set(wanted) <= set(range(c.depth)), f"the model's blocks are 0 to {c.depth - 1}")
        patches = self.patchify(images)  # b n p
        grid = (images.shape[-2] // c.patch_size, images.shape[-1] // c.patch_size)
        x = self.embed(patches)  # b n d
        x = self._with_prefix_and_positions(x, grid)  # b t d
        if keep is not None:
            x = self._without_dropped(x, keep)  # b t d, a smaller t
        x = self.norm_before(x)

        tokens, weights = [x], dict[int, Tensor]()
        for number, block in enumerate(self.blocks):
            if number in wanted:
                assert isinstance(block, Block)
                x, weights[number] = block.look(x)  # b t d, b h t t
            else:
                x = block(x)  # b t d
            if layers:
                tokens.append(x)

        x = self.norm_after(x)  # b t d
        if self.attention_pool is not None and attention:
            pooled, probe = self.attention_pool.look(x[:, c.prefix :])  # b d, b h 1 n
        else:
            pooled, probe = self._gathered(x), None  # b d
        pooled = self._finished(pooled)  # b d
        return ViTOutput(
            tokens=x,
            pooled=pooled,
            logits=self._logits(x, pooled),  # b k
            prefix=c.prefix,
            grid=grid,
            layers=tokens if layers else [],
            attention=weights,
            probe=probe,
        )

    def _with_prefix_and_positions(
        self, x: Float[Tensor, "b n d"], grid: tuple[int, int]
    ) -> Float[Tensor, "b t d"]:
        c = self.config
        prefix = x.new_zeros(0, c.dim)  # t-n d
        for part in (self.cls, self.distillation, self.registers):
            prefix = prefix if part is None else torch.cat([prefix, part])
        if self.positions is not None:
            x = x + resize_positions(self.positions, c.grid, grid, antialias=c.antialias_positions)
        elif c.positions == "sincos":
            x = x + sincos_2d(*grid, c.dim).to(x)
        return torch.cat([repeat(prefix, "t d -> b t d", b=len(x)), x], dim=1)

    def _without_dropped(
        self, x: Float[Tensor, "b t d"], keep: Bool[Tensor, "... n"]
    ) -> Float[Tensor, "b s d"]:
        patches = x.shape[1] - self.config.prefix
        keep = repeat(keep, "n -> b n", b=len(x)) if keep.ndim == 1 else keep
        counts = set(keep.sum(dim=-1).flatten().tolist())
        _require(
            keep.dtype == torch.bool
            and keep.shape == (len(x), patches)
            and len(counts) == 1
            and 0 not in counts,
            f"keep says yes or no to each of {patches} patches, yes to as many in every picture",
        )
        ahead = keep.new_ones(len(x), self.config.prefix)
        return rearrange(x[torch.cat([ahead, keep], dim=1)], "(b s) d -> b s d", b=len(x))

    def pool(self, tokens: Float[Tensor, "b t d"]) -> Float[Tensor, "b d"]:
        """Sum up tokens that have gone through the last norm: how `forward` makes `pooled`."""
        return self._finished(self._gathered(tokens))

    def _gathered(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b d"]:
        if self.attention_pool is not None:
            return self.attention_pool(x[:, self.config.prefix :])
        if self.config.distilled:
            return x[:, :2].mean(dim=1)
        if self.config.pool == "cls":
            return x[:, 0]
        mean = x[:, self.config.prefix :].mean(dim=1)
        return torch.cat([x[:, 0], mean], dim=-1) if self.config.pool == "cls+mean" else mean

    def _finished(self, pooled: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        pooled = self.norm_pooled(pooled)
        return pooled if self.pooler is None else self.pooler(pooled).tanh()

    def _logits(self, x: Tensor, pooled: Float[Tensor, "b d"]) -> Float[Tensor, "b k"] | None:
        if self.head is None:
            return None
        if self.distillation_head is not None:
            return (self.head(x[:, 0]) + self.distillation_head(x[:, 1])) / 2
        return self.head(pooled)

    def _checked(self, images: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        c = self.config
        _require(images.ndim == 4, f"pictures come as (b c h w), not as {tuple(images.shape)}")
        channels, height, width = images.shape[1:]
        _require(
            channels == c.channels, f"the model looks at {c.channels} channels, not {channels}"
        )
        if c.drop_edge:
            height, width = (side - side % c.patch_size for side in (height, width))
            images = images[..., :height, :width]
        _require_whole_patches(c.patch_size, height, width)
        return images


class AttentionPool(nn.Module):
    """Let one learned question gather the answer from all patches (MAP; Zhai et al. 2022)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.zeros(1, config.dim))
        self.attention = Attention(config.dim, config.heads)
        self.norm = LayerNorm(config.dim, config.norm_eps)
        self.mlp = MLP(config.dim, config.mlp_dim, config.activation)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b d"]:
        return self._thought_over(self.attention(self._question(x), x))

    def look(
        self, x: Float[Tensor, "b n d"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b h 1 n"]]:
        """What `forward` does, with the weights beside it (see `Attention.look`)."""
        found, weights = self.attention.look(self._question(x), x)  # b 1 d, b h 1 n
        return self._thought_over(found), weights

    def _question(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b 1 d"]:
        return repeat(self.probe, "1 d -> b 1 d", b=len(x))

    def _thought_over(self, x: Float[Tensor, "b 1 d"]) -> Float[Tensor, "b d"]:
        return (x + self.mlp(self.norm(x)))[:, 0]


def plain_preprocessing(config: ViTConfig) -> Preprocessing:
    """What a picture goes through where no publisher says more: colours from -1 to 1."""
    # A picture has one channel or three; a model of other data never meets one.
    half = (0.5,) * (1 if config.channels == 1 else 3)
    return Preprocessing(config.image_size, mean=half, std=half)


def draw_weights(
    tower: nn.Module, layer_scale: float | None, generator: torch.Generator | None
) -> None:
    """Fresh weights for a tower of pictures or of texts."""
    for name, parameter in tower.named_parameters():
        if name.endswith("bias") or (parameter.ndim == 2 and "head" in name):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 2:
            nn.init.trunc_normal_(parameter, std=0.02, generator=generator)
        else:
            first = layer_scale if ".scale" in name else 1.0
            nn.init.constant_(parameter, first or 0.0)


def source_of(name: str, origin: Origin | Literal["random"]) -> str:
    """Which weights a model has, for a person."""
    return "random weights" if origin == "random" else f"{name} ({origin})"


def patchify(images: Float[Tensor, "b c y x"], size: int) -> Float[Tensor, "b n p"]:
    """Cut pictures into squares of `size` pixels, row by row; the inverse of `unpatchify`."""
    _require_whole_patches(size, *images.shape[-2:])
    return rearrange(images, "b c (h p) (w q) -> b (h w) (p q c)", p=size, q=size)


def unpatchify(
    patches: Float[Tensor, "b n p"], size: int, grid: tuple[int, int]
) -> Float[Tensor, "b c y x"]:
    """Put squares together again, `grid` rows and columns of them."""
    return rearrange(
        patches, "b (h w) (p q c) -> b c (h p) (w q)", h=grid[0], w=grid[1], p=size, q=size
    )


# --- what attention says ------------------------------------------------------------------------


def rollout(attention: Sequence[Float[Tensor, "b h t t"]]) -> Float[Tensor, "b t t"]:
    """Follow attention through all layers: how much of each first token is in each last one.

    Abnar & Zuidema 2020, section 3: half of each layer is its shortcut, so half of each step stays.
    """
    flow: Tensor | None = None
    for weights in attention:
        step = weights.mean(dim=1)  # b t t
        step = (step + torch.eye(step.shape[-1]).to(step)) / 2
        flow = step if flow is None else step @ flow
    if flow is None:
        raise BadInput("rollout needs the attention of at least one layer")
    return flow


def similarity(tokens: Float[Tensor, "... n d"]) -> Float[Tensor, "... n n"]:
    """The cosine between every two tokens: which patches the model takes for alike."""
    unit = tokens / tokens.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return unit @ unit.transpose(-1, -2)


@dataclass(frozen=True)
class Cost:
    """What one picture costs."""

    tokens: int
    flops: int  # a multiplication and an addition count as two
    parameters: int


def cost(config: ViTConfig, height: int | None = None, width: int | None = None) -> Cost:
    """Count the work for one picture; tokens cost linearly in the MLP, squared in attention."""
    c = config
    height, width = height or c.image_size[0], width or c.image_size[1]
    if not c.drop_edge:
        _require_whole_patches(c.patch_size, height, width)
    patches = (height // c.patch_size) * (width // c.patch_size)
    tokens = patches + c.prefix
    mlp_layers = 3 if c.activation == "swiglu" else 2
    block = 4 * tokens * c.dim**2 + 2 * tokens**2 * c.dim + mlp_layers * tokens * c.dim * c.mlp_dim
    pool = 0
    if c.pool == "map":
        pool = 2 * (1 + patches) * c.dim**2 + 2 * patches * c.dim + mlp_layers * c.dim * c.mlp_dim
    head = c.classes * c.dim * (2 if c.distilled or c.pool == "cls+mean" else 1)
    pooler = c.dim**2 if c.pooler else 0
    multiplications = patches * c.patch_dim * c.dim + c.depth * block + pool + pooler + head
    with shapes_only():
        parameters = sum(p.numel() for p in ViT(c).parameters())
    return Cost(tokens, 2 * multiplications, parameters)


def variant(name: str, **changes: Any) -> ViTConfig:
    """A size of the paper by its name: `variant("B/16", classes=1000)`."""
    if name not in VARIANTS:
        raise BadInput(f"no variant {name!r}; there are {', '.join(VARIANTS)}")
    sizes: dict[str, Any] = {**VARIANTS[name], **changes}
    return ViTConfig(**sizes)
