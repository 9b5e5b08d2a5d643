"""A picture tower in whole numbers: an ONNX graph that multiplies bytes, run by onnxruntime.

A linear layer takes most of the time, and bytes multiply four times as fast as floats. So its input
and its weights are rounded to bytes before it, and its sums become floats again right behind it:

    weights       a scale for each output, so that a row of small weights keeps its digits
    inputs        a scale for each layer, from the largest values that probe pictures bring forth
    in between    norms, softmax, activations and shortcuts stay floats

A few channels of a trained tower are many times larger than the others, and one scale for all would
round those away. What is large there is made small in the norm before the layer and large again in
its weights (SmoothQuant, Xiao et al. 2022, equation 4), which changes nothing but the rounding.

Shapes: b pictures, n patches, t tokens, d numbers a token, e numbers in the common space.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float32
from numpy import ndarray
from torch import Tensor, nn

from mmfm.models.clip import CLIP
from mmfm.models.vit import AttentionPool
from mmfm.nn import MLP, Attention, Block, LayerNorm, LayerScale, resize_positions, sincos_2d

_SMOOTH = 0.5  # how much of a channel's size moves from the input into the weights
_MICROSOFT = "com.microsoft"  # whose operators onnxruntime adds to ONNX's own


@dataclass
class Range:
    """The smallest and the largest value that each channel of a layer's input took."""

    low: Float32[ndarray, " d"]
    high: Float32[ndarray, " d"]

    @property
    def largest(self) -> Float32[ndarray, " d"]:
        return np.maximum(np.abs(self.low), np.abs(self.high))


@contextmanager
def watching(clip: CLIP) -> Generator[dict[str, Range]]:
    """Note, of all pictures that the model sees meanwhile, what comes into each linear layer."""
    assert clip.image is not None
    ranges: dict[str, Range] = {}

    def note(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            x = rearrange(inputs[0].float(), "... d -> (...) d")
            low, high = x.amin(dim=0).cpu().numpy(), x.amax(dim=0).cpu().numpy()
            if (old := ranges.get(name)) is not None:
                low, high = np.minimum(low, old.low), np.maximum(high, old.high)
            ranges[name] = Range(low, high)

        return hook

    with ExitStack() as hooks:
        for name, part in clip.image.named_modules():
            if isinstance(part, nn.Linear):
                hooks.callback(part.register_forward_pre_hook(note(name)).remove)
        yield ranges


def write(clip: CLIP, ranges: Mapping[str, Range], *, levels: int = 127) -> bytes:
    """The picture tower as the bytes of an .onnx file; weights are rounded to -levels..levels."""
    assert clip.image is not None
    return _Writer(clip, ranges, levels).model()


class _Writer:
    """Writes the tower node by node; each method takes and gives the names of values."""

    def __init__(self, clip: CLIP, ranges: Mapping[str, Range], levels: int) -> None:
        assert clip.image is not None
        self.clip, self.vit, self.ranges, self.levels = clip, clip.image, ranges, levels
        self.names = {id(part): name for name, part in clip.image.named_modules()}
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}

    def model(self) -> bytes:
        from onnx import TensorProto, helper, numpy_helper

        size = self.clip.preprocessing.size
        row = self.rows("images")
        images = helper.make_tensor_value_info(
            "images", TensorProto.FLOAT, ["b", self.vit.config.channels, *size]
        )
        rows = helper.make_tensor_value_info(row, TensorProto.FLOAT, ["b", self.clip.dim])
        kept = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "tower", [images], [rows], kept)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(_MICROSOFT, 1)]
        # The version of 2022, so that an older onnxruntime reads it too.
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        return model.SerializeToString()

    # --- the tower, as ViT.forward has it ---------------------------------------------------------

    def rows(self, images: str) -> str:
        """The whole: pictures to rows of the common space, of whatever length."""
        c = self.vit.config
        x = self.embedded(images)  # b t d
        if isinstance(self.vit.norm_before, LayerNorm):
            x = self.norm(x, self.vit.norm_before)
        blocks = list(self.vit.blocks)
        alone = c.pool == "cls" and not c.distilled  # the last block need make one token only
        for number, block in enumerate(blocks):
            assert isinstance(block, Block)
            x = self.block(x, block, first_only=alone and number == len(blocks) - 1)
        x = self.norm(x, self.vit.norm_after) if c.norm_after else x
        pooled = self.pooled(x)  # b d
        if isinstance(self.vit.norm_pooled, LayerNorm):
            pooled = self.norm(pooled, self.vit.norm_pooled)
        if self.vit.pooler is not None:
            pooled = self.add("Tanh", self.plain_linear(pooled, self.vit.pooler))
        projection = self.clip.image_projection
        if isinstance(projection, nn.Linear):
            pooled = self.plain_linear(pooled, projection)  # b e
        return pooled

    def embedded(self, images: str) -> str:
        """Patches as tokens, with the prefix before them and the positions added.

        A picture was bytes before it was normalised, so it becomes the same bytes again, without
        loss; the norm's scale moves into the weights. The prefix is made of patches of nothing.
        """
        c, size, prepare = self.vit.config, self.vit.config.patch_size, self.clip.preprocessing
        height, width = (side // size for side in prepare.size)
        mean, std = (np.array(v, np.float32)[:, None, None] for v in (prepare.mean, prepare.std))
        if c.drop_edge:
            ends = self.keep("ends", np.array([height * size, width * size]))
            start, axes = self.keep("start", np.array([0, 0])), self.keep("axes", np.array([2, 3]))
            images = self.add("Slice", images, start, ends, axes)
        x = self.add("Mul", images, self.keep("pixel.scale", 255 * std))
        x = self.add("Add", x, self.keep("pixel.shift", 255 * mean - 128))
        middle = self.keep("pixel.middle", np.array(128, np.uint8))
        one = self.keep("pixel.one", np.array(1, np.float32))
        x = self.add("QuantizeLinear", x, one, middle)
        x = self.reshaped(x, 0, c.channels, height, size, width, size)
        x = self.add("Transpose", x, perm=[0, 2, 4, 1, 3, 5])
        x = self.reshaped(x, 0, height * width, c.patch_dim)
        if c.prefix:
            before = self.keep("pads", np.array([0, c.prefix, 0, 0, 0, 0]))
            x = self.add("Pad", x, before, middle)

        weight = _numpy(self.vit.embed.weight)
        weight = rearrange(weight, "d (p q c) -> (c p q) d", p=size, q=size)
        channel = np.arange(c.channels).repeat(size**2)
        std, mean = std.ravel()[channel][:, None], mean.ravel()[channel][:, None]
        table = self.table((height, width))
        table[c.prefix :] += (weight * (128 - 255 * mean) / (255 * std)).sum(axis=0)
        pixels = _Rounded(x, one, middle, np.ones(len(weight), np.float32))
        x = self.product(pixels, "embed", weight / (255 * std), None)
        return self.add("Add", x, self.keep("positions", table))

    def table(self, grid: tuple[int, int]) -> Float32[ndarray, "t d"]:
        """What is added to each token: the prefix itself, or position and bias of the patches."""
        c, vit = self.vit.config, self.vit
        patches = np.zeros((prod(grid), c.dim), np.float32)
        if vit.positions is not None:
            patches = patches + _numpy(
                resize_positions(vit.positions, c.grid, grid, antialias=c.antialias_positions)
            )
        elif c.positions == "sincos":
            patches = patches + _numpy(sincos_2d(*grid, c.dim))
        if c.patch_bias:
            patches = patches + _numpy(vit.embed.bias)
        parts = [part for part in (vit.cls, vit.distillation, vit.registers) if part is not None]
        return np.concatenate([*map(_numpy, parts), patches])

    def block(self, x: str, block: Block, *, first_only: bool) -> str:
        """Attention and MLP; of the last block perhaps for the first token only."""
        look, think = block.attention, block.mlp
        inputs = self.rounded_norm(x, block.norm1, look.q, look.k, look.v)
        asking = inputs
        if first_only:
            x, asking = self.first(x), replace(inputs, value=self.first(inputs.value))
        x = self.add("Add", x, self.attention(asking, inputs, look, block.scale1))
        wide = (think.up,) if think.gate is None else (think.gate, think.up)
        inputs = self.rounded_norm(x, block.norm2, *wide)
        return self.add("Add", x, self.mlp(inputs, think, block.scale2))

    def attention(
        self, asking: "_Rounded | str", inputs: "_Rounded", part: Attention, scale: nn.Module
    ) -> str:
        """Every token asks and is answered, as Attention.forward has it; `asking` may be asked."""
        q = asking if isinstance(asking, str) else self.linear(asking, part.q)
        k = self.linear(inputs, part.k)
        # What comes to `out` is a mean of values, so that its channels are evened out in theirs.
        even = self.evenness([part.out])
        v = self.linear(inputs, part.v, divided=even)
        if isinstance(part.q_norm, LayerNorm) and isinstance(part.k_norm, LayerNorm):
            q, k = self.head_norm(q, part.q_norm), self.head_norm(k, part.k_norm)
        found = self.add("MultiHeadAttention", q, k, v, domain=_MICROSOFT, num_heads=part.heads)
        return self.linear(self.rounded(found, part.out, even), part.out, scale=scale)

    def mlp(self, inputs: "_Rounded", part: MLP, scale: nn.Module) -> str:
        """Widen, bend, narrow, as MLP.forward has it."""
        if part.gate is not None:
            even = self.evenness([part.down])
            bent = self.add(
                "QuickGelu", self.linear(inputs, part.gate), domain=_MICROSOFT, alpha=1.0
            )
            x = self.add("Mul", bent, self.linear(inputs, part.up, divided=even))
        else:
            even = np.ones(part.down.in_features, np.float32)
            kind, options = _BENDS[self.vit.config.activation]
            x = self.add(kind, self.linear(inputs, part.up), domain=_MICROSOFT, **options)
        return self.linear(self.rounded(x, part.down, even), part.down, scale=scale)

    def pooled(self, x: str) -> str:
        """The tokens summed up, as ViT._gathered has it."""
        c = self.vit.config
        if self.vit.attention_pool is not None:
            return self.attention_pooled(self.from_token(x, c.prefix), self.vit.attention_pool)
        if c.distilled:
            return self.add("ReduceMean", self.from_token(x, 0, 2), axes=[1], keepdims=0)
        first = self.add("Gather", x, self.keep("zero", np.array(0)), axis=1)
        if c.pool == "cls":
            return first
        mean = self.add("ReduceMean", self.from_token(x, c.prefix), axes=[1], keepdims=0)
        return self.add("Concat", first, mean, axis=1) if c.pool == "cls+mean" else mean

    def attention_pooled(self, x: str, pool: AttentionPool) -> str:
        """One learned question to all patches, as AttentionPool.forward has it."""
        part = pool.attention
        with torch.no_grad():
            question = part.q(pool.probe)
        name = self.keep("question", _numpy(rearrange(question, "1 d -> 1 1 d")))
        # As often as there are pictures.
        one = self.keep("one.token", np.array([1]))
        count = self.add("Slice", self.add("Shape", x), self.keep("no.token", np.array([0])), one)
        shape = self.add("Concat", count, one, one, axis=0)
        asking = self.add("Expand", name, shape)
        ones = np.ones(part.k.in_features, np.float32)
        found = self.attention(asking, self.rounded(x, part.k, ones), part, nn.Identity())
        inputs = self.rounded_norm(found, pool.norm, pool.mlp.up)
        x = self.add("Add", found, self.mlp(inputs, pool.mlp, nn.Identity()))
        return self.add("Gather", x, self.keep("zero", np.array(0)), axis=1)

    # --- layers in whole numbers ------------------------------------------------------------------

    def evenness(self, layers: Sequence[nn.Linear]) -> Float32[ndarray, " d"]:
        """By what to divide each channel of these layers' input, and to multiply its weights."""
        inputs = self.range_of(layers[0]).largest.clip(1e-5)
        weights = np.stack([np.abs(_numpy(layer.weight)).max(axis=0) for layer in layers])
        return inputs**_SMOOTH / weights.max(axis=0).clip(1e-5) ** (1 - _SMOOTH)

    def range_of(self, layer: nn.Linear) -> Range:
        return self.ranges[self.names[id(layer)]]

    def rounded_norm(self, x: str, norm: nn.Module, *layers: nn.Linear) -> "_Rounded":
        """A norm whose outcome goes to linear layers, as bytes."""
        even = self.evenness(layers)
        return self.rounded(self.norm(x, norm, divided=even), layers[0], even)

    def rounded(self, x: str, layer: nn.Linear, divided: Float32[ndarray, " d"]) -> "_Rounded":
        """Floats as bytes, over the range that this layer's input took; 0 stays exactly 0."""
        seen = self.range_of(layer)
        low, high = min(0.0, (seen.low / divided).min()), max(0.0, (seen.high / divided).max())
        step = max(high - low, 1e-8) / 255
        name = self.names[id(layer)]
        scale = self.keep(f"{name}.step", np.array(step, np.float32))
        zero = self.keep(f"{name}.zero", np.array(np.rint(-low / step), np.uint8))
        return _Rounded(self.add("QuantizeLinear", x, scale, zero), scale, zero, divided)

    def linear(
        self,
        x: "_Rounded",
        layer: nn.Linear,
        *,
        divided: Float32[ndarray, " d"] | None = None,
        scale: nn.Module | None = None,
    ) -> str:
        """A linear layer, with a factor for each outcome where one follows."""
        weight, bias = _numpy(layer.weight).T * x.divided[:, None], _bias(layer)
        factor = np.ones(layer.out_features, np.float32) if divided is None else 1 / divided
        if isinstance(scale, LayerScale):
            factor = factor * _numpy(scale.weight)
        return self.product(x, self.names[id(layer)], weight * factor, bias * factor)

    def product(
        self, x: "_Rounded", name: str, weight: Float32[ndarray, "d k"], bias: np.ndarray | None
    ) -> str:
        """Bytes times bytes, as floats."""
        steps = np.abs(weight).max(axis=0).clip(1e-12) / self.levels
        whole = np.rint(weight / steps).astype(np.int8)
        inputs = [x.value, self.keep(f"{name}.weight", whole), x.scale,
                  self.keep(f"{name}.steps", steps.astype(np.float32)), x.zero, ""]  # fmt: skip
        if bias is not None:
            inputs.append(self.keep(f"{name}.bias", bias.astype(np.float32)))
        return self.add("MatMulIntegerToFloat", *inputs, domain=_MICROSOFT)

    # --- layers in floats -------------------------------------------------------------------------

    def norm(self, x: str, norm: nn.Module, *, divided: np.ndarray | float = 1.0) -> str:
        assert isinstance(norm, LayerNorm)
        name = self.names[id(norm)]
        weight = self.keep(f"{name}.weight", _numpy(norm.weight) / divided)
        bias = self.keep(f"{name}.bias", _numpy(norm.bias) / divided)
        return self.add("LayerNormalization", x, weight, bias, axis=-1, epsilon=norm.eps)

    def head_norm(self, x: str, norm: LayerNorm) -> str:
        """Each head by itself."""
        width = norm.weight.numel()
        split = self.reshaped(x, 0, 0, -1, width)
        return self.reshaped(self.norm(split, norm), 0, 0, -1)

    def plain_linear(self, x: str, layer: nn.Linear) -> str:
        name = f"{self.names.get(id(layer), 'projection')}.floats"
        weight, bias = self.keep(f"{name}.weight", _numpy(layer.weight).T), _bias(layer)
        return self.add("Gemm", x, weight, self.keep(f"{name}.bias", bias))

    # --- pieces of a graph ------------------------------------------------------------------------

    def first(self, x: str) -> str:
        return self.from_token(x, 0, 1)

    def from_token(self, x: str, start: int, end: int = 2**31) -> str:
        ends = [self.keep(f"token.{place}", np.array([place])) for place in (start, end)]
        return self.add("Slice", x, *ends, self.keep("token.axis", np.array([1])))

    def reshaped(self, x: str, *shape: int) -> str:
        """0 stands for the side as it is, -1 for what is left over."""
        name = "shape." + "x".join(map(str, shape))
        return self.add("Reshape", x, self.keep(name, np.array(shape)))

    def keep(self, name: str, array: np.ndarray) -> str:
        """A constant under a name; the same name is the same constant."""
        self.constants.setdefault(name, np.array(array, order="C"))
        return name

    def add(self, kind: str, *inputs: str, domain: str = "", **options: Any) -> str:
        """A node with one outcome; answers with its name."""
        from onnx import helper

        value = f"{kind}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [value], value, domain=domain, **options))
        return value


@dataclass(frozen=True)
class _Rounded:
    """A value in bytes: (value - zero) * step, times what each channel was divided by."""

    value: str
    scale: str
    zero: str
    divided: Float32[ndarray, " d"]


_BENDS: dict[str, tuple[str, dict[str, float]]] = {
    "gelu": ("Gelu", {}),
    "gelu_tanh": ("FastGelu", {}),
    "quick_gelu": ("QuickGelu", {"alpha": 1.702}),
}


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()


def _bias(layer: nn.Linear) -> np.ndarray:
    bias = getattr(layer, "bias", None)
    return np.zeros(layer.out_features, np.float32) if bias is None else _numpy(bias)
