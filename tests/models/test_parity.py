"""Our vision transformer computes what timm's and transformers' own compute.

Each case is a small model of theirs with random weights, moved away from their initial values so
that no bias, scale or token can be forgotten unseen; it is written to a folder by its own library
and read by `load_vit` as it is. Compared are every hidden state, what is pooled, the logits and
the attention: to 1e-9 in float64, to 1e-5 of the largest value in float32.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from timm.models import save_for_hf
from torch import Tensor, nn
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from mmfm.errors import BadInput
from mmfm.models.checkpoints import load_vit
from mmfm.models.vit import ViTOutput

DTYPES = [torch.float64, torch.float32]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    yield
    transformers.logging.enable_progress_bar()
    transformers.logging.set_verbosity_warning()


@dataclass
class Theirs:
    """What a library's own module computed; None where it has no such thing."""

    layers: list[Tensor]
    tokens: Tensor
    pooled: Tensor | None
    logits: Tensor | None
    attention: list[Tensor]


def shake(model: nn.Module) -> Any:
    """Move every weight; positions to numbers that a bicubic doubling need not round."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
            if "pos" in name:
                parameter.mul_(64).round_().div_(64)
    return model.eval()


def pictures(channels: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, channels, height, width, generator=generator).to(dtype)


def assert_equal(ours: Tensor, theirs: Tensor, exact: float = 1e-9) -> None:
    limit = exact if ours.dtype == torch.float64 else 1e-5 * max(1.0, theirs.abs().max().item())
    torch.testing.assert_close(ours, theirs, rtol=0, atol=limit)


def assert_all_equal(ours: ViTOutput, theirs: Theirs, exact_attention: float = 1e-9) -> None:
    assert len(ours.layers) == len(theirs.layers) == 1 + len(theirs.attention)
    for mine, their in zip(ours.layers, theirs.layers, strict=True):
        assert_equal(mine, their)
    assert_equal(ours.tokens, theirs.tokens)
    if theirs.pooled is not None:
        assert_equal(ours.pooled, theirs.pooled)
    if theirs.logits is None:
        assert ours.logits is None
    else:
        assert ours.logits is not None
        assert_equal(ours.logits, theirs.logits)
    for number, attention in enumerate(theirs.attention):
        assert_equal(ours.attention[number], attention, exact_attention)


# --- timm -----------------------------------------------------------------------------------------

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4}
PLAIN = "vit_tiny_patch16_224"
TIMM: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": (PLAIN, {}),
    "no head": (PLAIN, {"num_classes": 0}),
    "no head, no pooling": (PLAIN, {"num_classes": 0, "global_pool": ""}),
    "mean": (PLAIN, {"global_pool": "avg"}),
    "mean, final norm": (PLAIN, {"global_pool": "avg", "fc_norm": False}),
    "mean, no class token": (PLAIN, {"global_pool": "avg", "class_token": False}),
    "class token, norm after pooling": (PLAIN, {"fc_norm": True}),
    "no last norm": (PLAIN, {"final_norm": False}),
    "attention pool": (PLAIN, {"global_pool": "map", "class_token": False}),
    "attention pool beside a class token": (PLAIN, {"global_pool": "map"}),
    "registers with positions": (PLAIN, {"reg_tokens": 3}),
    "registers without": (PLAIN, {"reg_tokens": 3, "no_embed_class": True}),
    "registers, no class token": (
        PLAIN,
        {"reg_tokens": 2, "class_token": False, "global_pool": "avg"},
    ),
    "no positions": (PLAIN, {"pos_embed": "none"}),
    "layer scale": (PLAIN, {"init_values": 0.1}),
    "QK-norm": (PLAIN, {"qk_norm": True}),
    "norm before": (PLAIN, {"pre_norm": True}),
    "no qkv bias": (PLAIN, {"qkv_bias": False}),
    "quick GELU": (PLAIN, {"act_layer": "quick_gelu", "pre_norm": True}),
    "tanh GELU": (PLAIN, {"act_layer": "gelu_tanh"}),
    "another eps": (PLAIN, {"norm_layer": "layernorm", "qk_norm": True}),
    "narrow MLP": (PLAIN, {"mlp_ratio": 1.5}),
    "not square": (PLAIN, {"img_size": (32, 48)}),
    "one channel": (PLAIN, {"in_chans": 1}),
    "five channels": (PLAIN, {"in_chans": 5}),
    "one patch": (PLAIN, {"img_size": 8}),
    "DINOv2, packed SwiGLU": ("vit_giant_patch14_dinov2", {"mlp_ratio": 4.0}),
    "AIMv2's SwiGLU": (
        "aimv2_large_patch14_224",
        {"norm_layer": "layernorm", "embed_norm_layer": "", "proj_bias": True},
    ),
    "DINOv2, registers": ("vit_small_patch14_reg4_dinov2", {}),
    "SigLIP": ("vit_base_patch16_siglip_224", {"num_classes": 5}),
    "CLIP's tower": ("vit_base_patch32_clip_quickgelu_224", {"num_classes": 0}),
    "DeiT": ("deit_tiny_patch16_224", {}),
    "DeiT, distilled": ("deit_tiny_distilled_patch16_224", {}),
    "DeiT, distilled, no head": ("deit_tiny_distilled_patch16_224", {"num_classes": 0}),
    "DeiT-3": ("deit3_small_patch16_224", {}),
}
EVERYTHING = {
    "reg_tokens": 2,
    "qk_norm": True,
    "init_values": 0.1,
    "pre_norm": True,
    "global_pool": "map",
    "img_size": (24, 40),
}


def timm_model(name: str, **options: Any) -> Any:
    return shake(timm.create_model(name, **{**SMALL, "num_classes": 7, **options}))


def timm_computes(model: Any, images: Tensor) -> Theirs:
    layers: list[Tensor] = []
    attention: list[Tensor] = []
    model.blocks[0].register_forward_pre_hook(lambda _, given: layers.append(given[0]))
    for block in model.blocks:
        block.register_forward_hook(lambda _m, _given, made: layers.append(made))
        block.attn.fused_attn = False  # softmax(qk) then passes through a module that can be asked
        block.attn.attn_drop.register_forward_hook(lambda _m, _given, made: attention.append(made))
    with torch.no_grad():
        tokens = model.forward_features(images)
        pooled = model.forward_head(tokens, pre_logits=True)
        return Theirs(
            layers=layers,
            tokens=tokens,
            pooled=pooled if pooled.ndim == 2 else None,
            logits=model.forward_head(tokens) if model.num_classes else None,
            attention=attention,
        )


def compare_with_timm(
    model: Any, folder: Path, dtype: torch.dtype, size: tuple[int, int] | None = None
) -> None:
    save_for_hf(model, str(folder), safe_serialization=True)
    vit = load_vit(str(folder), dtype=dtype)
    images = pictures(vit.config.channels, *(size or vit.config.image_size), dtype)
    with torch.no_grad():
        out = vit(images, layers=True, attention=True)
    assert_all_equal(out, timm_computes(model.to(dtype), images))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", TIMM)
def test_a_folder_of_timm_computes_what_timm_computes(
    name: str, dtype: torch.dtype, tmp_path: Path
):
    architecture, options = TIMM[name]
    compare_with_timm(timm_model(architecture, **options), tmp_path, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", [PLAIN, "vit_giant_patch14_reg4_dinov2"])
def test_all_of_timms_options_together(name: str, dtype: torch.dtype, tmp_path: Path):
    options = EVERYTHING if name == PLAIN else {**EVERYTHING, "global_pool": "avg"}
    compare_with_timm(timm_model(name, **options), tmp_path, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [(64, 64), (24, 40), (8, 8), (16, 64)], ids=str)
@pytest.mark.parametrize("options", [{}, {"reg_tokens": 2, "no_embed_class": True}], ids=str)
def test_timms_positions_at_another_resolution(
    options: dict[str, Any], size: tuple[int, int], dtype: torch.dtype, tmp_path: Path
):
    model = timm_model(PLAIN, dynamic_img_size=True, **options)
    compare_with_timm(model, tmp_path, dtype, size)


def test_timms_older_weight_file_is_the_same_model(tmp_path: Path):
    model = timm_model(PLAIN)
    save_for_hf(model, str(tmp_path / "safe"), safe_serialization=True)
    save_for_hf(model, str(tmp_path / "old"), safe_serialization=False)
    assert not (tmp_path / "old" / "model.safetensors").exists()
    images = pictures(3, 32, 32, torch.float32)
    safe, old = (load_vit(str(tmp_path / kind))(images).logits for kind in ("safe", "old"))
    assert torch.equal(safe, old)


@pytest.mark.parametrize(
    ("name", "options", "because"),
    [
        ("resnet18", None, "ResNet"),
        (PLAIN, {"global_pool": "avgmax"}, "pooling"),
        (PLAIN, {"global_pool": "max"}, "pooling"),
        (PLAIN, {"global_pool": "prr"}, "pooling"),
        (PLAIN, {"global_pool": "avg", "pool_include_prefix": True}, "pooling"),
        (PLAIN, {"norm_layer": "rmsnorm"}, "norm"),
        (PLAIN, {"act_layer": "relu"}, "MLP"),
        (PLAIN, {"scale_mlp_norm": True}, "MLP"),
        (PLAIN, {"scale_attn_norm": True}, "attention"),
        (PLAIN, {"proj_bias": False}, "attention"),
        (PLAIN, {"attn_layer": "diff"}, "attention"),
        (PLAIN, {"patch_size": (8, 16)}, "patch embedding"),
        (PLAIN, {"embed_norm_layer": "layernorm"}, "patch embedding"),
        ("vit_small_patch16_18x2_224", {}, "blocks"),
        ("vit_small_patch16_36x1_224", {"class_token": False, "global_pool": "token"}, "build"),
        ("vit_relpos_small_patch16_224", {}, "VisionTransformerRelPos"),
        ("beit_base_patch16_224", {}, "Beit"),
        ("vit_giant_patch14_dinov2", {"global_pool": "map"}, "pooling"),
        ("deit_tiny_distilled_patch16_224", {"reg_tokens": 2}, "first tokens"),
    ],
)
def test_a_timm_model_that_we_would_compute_differently_is_refused(
    name: str, options: dict[str, Any] | None, because: str, tmp_path: Path
):
    if because == "build":  # a folder that timm itself cannot build
        save_for_hf(timm_model(PLAIN), str(tmp_path), safe_serialization=True)
        config = json.loads((tmp_path / "config.json").read_text())
        config["model_args"] |= options
        (tmp_path / "config.json").write_text(json.dumps(config))
    else:
        model = timm.create_model(name) if options is None else timm_model(name, **options)
        save_for_hf(model, str(tmp_path), safe_serialization=True)
    with pytest.raises(BadInput, match=because) as caught:
        load_vit(str(tmp_path))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (PLAIN, {}),
        (PLAIN, {"img_size": (32, 48)}),
        ("vit_base_patch16_siglip_224", {}),  # squashed
        ("deit3_small_patch16_224", {}),
        ("vit_base_patch16_clip_224", {"img_size": 40}),
    ],
)
def test_timms_preprocessing_is_read_from_the_folder(
    name: str, options: dict[str, Any], tmp_path: Path
):
    model = timm_model(name, **options)
    save_for_hf(model, str(tmp_path), safe_serialization=True)
    ours = load_vit(str(tmp_path)).preprocessing
    reloaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    theirs = create_transform(**resolve_model_data_config(reloaded))
    for picture in photos():
        torch.testing.assert_close(ours(picture), theirs(picture), rtol=0, atol=1e-6)


def test_timms_class_names(tmp_path: Path):
    model = timm_model(PLAIN, num_classes=2)
    names = {"label_names": ["n01", "n02"], "label_descriptions": {"n01": "tench", "n02": "shark"}}
    save_for_hf(model, str(tmp_path / "own"), names, safe_serialization=True)
    assert load_vit(str(tmp_path / "own")).labels == ("tench", "shark")
    save_for_hf(model, str(tmp_path / "none"), safe_serialization=True)
    assert load_vit(str(tmp_path / "none")).labels == ()
    save_for_hf(timm_model(PLAIN, num_classes=1000), str(tmp_path / "in"), safe_serialization=True)
    labels = load_vit(str(tmp_path / "in")).labels
    assert len(labels) == 1000
    assert "tench" in labels[0]


# --- transformers ---------------------------------------------------------------------------------

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
WITH_MLP = {**TINY, "intermediate_size": 48}
TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": 20,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def vit_config(**options: Any) -> Any:
    return transformers.ViTConfig(**{**WITH_MLP, **options})


def dinov2_config(**options: Any) -> Any:
    return transformers.Dinov2Config(**{**TINY, **options})


def registers_config(**options: Any) -> Any:
    return transformers.Dinov2WithRegistersConfig(**{**TINY, **options})


def siglip_vision_config(**options: Any) -> Any:
    return transformers.SiglipVisionConfig(**{**WITH_MLP, **options})


def siglip_config(**options: Any) -> Any:
    return transformers.SiglipConfig(
        vision_config=WITH_MLP, text_config={**TEXT, "projection_size": 32}, **options
    )


TRANSFORMERS: dict[str, tuple[Any, Any]] = {
    "ViT": (transformers.ViTModel, vit_config()),
    "ViT, classes": (transformers.ViTForImageClassification, vit_config(num_labels=7)),
    "ViT, no qkv bias": (transformers.ViTModel, vit_config(qkv_bias=False)),
    "ViT, a large eps": (transformers.ViTModel, vit_config(layer_norm_eps=0.1)),
    "ViT, quick GELU": (transformers.ViTModel, vit_config(hidden_act="quick_gelu")),
    "ViT, tanh GELU": (transformers.ViTModel, vit_config(hidden_act="gelu_pytorch_tanh")),
    "ViT, not square": (transformers.ViTModel, vit_config(image_size=[32, 48])),
    "ViT, one channel": (transformers.ViTModel, vit_config(num_channels=1)),
    "ViT, four channels": (transformers.ViTModel, vit_config(num_channels=4)),
    "DINOv2": (transformers.Dinov2Model, dinov2_config()),
    "DINOv2, classes": (transformers.Dinov2ForImageClassification, dinov2_config(num_labels=7)),
    "DINOv2, SwiGLU": (transformers.Dinov2Model, dinov2_config(use_swiglu_ffn=True)),
    "DINOv2, no mask token": (transformers.Dinov2Model, dinov2_config(use_mask_token=False)),
    "DINOv2, options": (
        transformers.Dinov2Model,
        dinov2_config(qkv_bias=False, mlp_ratio=2, layerscale_value=0.1, layer_norm_eps=0.1),
    ),
    "registers": (transformers.Dinov2WithRegistersModel, registers_config()),
    "registers, classes": (
        transformers.Dinov2WithRegistersForImageClassification,
        registers_config(num_labels=7, num_register_tokens=2),
    ),
    "registers, SwiGLU": (
        transformers.Dinov2WithRegistersModel,
        registers_config(use_swiglu_ffn=True),
    ),
    "SigLIP's tower": (transformers.SiglipVisionModel, siglip_vision_config()),
    "SigLIP's tower, exact GELU": (
        transformers.SiglipVisionModel,
        siglip_vision_config(hidden_act="gelu", layer_norm_eps=0.1),
    ),
    "SigLIP's tower, no pooling": (
        transformers.SiglipVisionModel,
        siglip_vision_config(vision_use_head=False),
    ),
    "SigLIP": (transformers.SiglipModel, siglip_config()),
    "SigLIP, classes": (transformers.SiglipForImageClassification, siglip_config(num_labels=7)),
}


def transformers_model(name: str) -> Any:
    kind, config = TRANSFORMERS[name]
    return shake(kind(config))


def transformers_computes(model: Any, images: Tensor, **options: Any) -> Theirs:
    tower = model.vision_model if isinstance(model, transformers.SiglipModel) else model
    with torch.no_grad():
        model.set_attn_implementation("sdpa")
        out = tower(images, output_hidden_states=True, **options)
        pooled, tokens = (
            getattr(out, "pooler_output", None),
            getattr(out, "last_hidden_state", None),
        )
        if tokens is None:  # a classifier tells its logits only; its tower tells the rest
            inner = getattr(model, model.base_model_prefix, None) or model.vision_model
            tokens = inner(images, **options).last_hidden_state
        model.set_attn_implementation("eager")  # the only one that tells its attention
        attention = tower(images, output_attentions=True, **options).attentions
    return Theirs(list(out.hidden_states), tokens, pooled, getattr(out, "logits", None), attention)


def compare_with_transformers(
    name: str, folder: Path, dtype: torch.dtype, size: tuple[int, int] | None = None
) -> None:
    model = transformers_model(name)
    model.save_pretrained(folder)
    vit = load_vit(str(folder), dtype=dtype)
    images = pictures(vit.config.channels, *(size or vit.config.image_size), dtype)
    with torch.no_grad():
        out = vit(images, layers=True, attention=True)
    resizes = size and not name.startswith(("DINOv2", "registers"))  # those need no telling
    options = {"interpolate_pos_encoding": True} if resizes else {}
    # ViT and SigLIP take their eager softmax in float32, whatever the model's type.
    exact = 1e-9 if name.startswith(("DINOv2", "registers")) else 1e-6
    assert_all_equal(out, transformers_computes(model.to(dtype), images, **options), exact)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_folder_of_transformers_computes_what_transformers_computes(
    name: str, dtype: torch.dtype, tmp_path: Path
):
    compare_with_transformers(name, tmp_path, dtype)


# ViT and SigLIP stretch their positions in the model's own type, we in float32 at least: in
# float64 both agree to 1e-9 where the numbers need no rounding, as in a doubling.
@pytest.mark.parametrize(
    ("size", "dtype"),
    [
        ((64, 64), torch.float64),
        ((64, 64), torch.float32),
        ((24, 40), torch.float32),
        ((16, 64), torch.float32),
        ((8, 8), torch.float32),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["ViT", "DINOv2, classes", "registers", "SigLIP's tower"])
def test_transformers_positions_at_another_resolution(
    name: str, size: tuple[int, int], dtype: torch.dtype, tmp_path: Path
):
    compare_with_transformers(name, tmp_path, dtype, size)


@pytest.mark.parametrize("name", ["DINOv2", "registers"])
@pytest.mark.parametrize("size", [(24, 40), (16, 64)], ids=str)
def test_dinov2_stretches_positions_in_float32_as_we_do(
    name: str, size: tuple[int, int], tmp_path: Path
):
    compare_with_transformers(name, tmp_path, torch.float64, size)


def test_shards_and_the_older_weight_file_are_the_same_model(tmp_path: Path):
    model = transformers_model("ViT, classes")
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "many", max_shard_size="20KB")
    assert len(list((tmp_path / "many").glob("model-*.safetensors"))) > 2
    old = tmp_path / "old"
    old.mkdir()
    (old / "config.json").write_bytes((tmp_path / "one" / "config.json").read_bytes())
    from safetensors.torch import load_file

    torch.save(load_file(tmp_path / "one" / "model.safetensors"), old / "pytorch_model.bin")
    images = pictures(3, 32, 32, torch.float32)
    one, many, bin_ = (load_vit(str(tmp_path / f))(images).logits for f in ("one", "many", "old"))
    assert torch.equal(one, many)
    assert torch.equal(one, bin_)


def test_a_tower_stored_under_its_longer_name_is_the_same_model(tmp_path: Path):
    """transformers 4 wrote SigLIP's tower as "vision_model.*", 5 without; both are on the hub."""
    from safetensors.torch import load_file, save_file

    transformers_model("SigLIP's tower").save_pretrained(tmp_path)
    images = pictures(3, 32, 32, torch.float32)
    before = load_vit(str(tmp_path))(images).pooled
    state = load_file(tmp_path / "model.safetensors")
    save_file({f"vision_model.{k}": v for k, v in state.items()}, tmp_path / "model.safetensors")
    assert torch.equal(load_vit(str(tmp_path))(images).pooled, before)


def test_transformers_defaults_that_the_file_leaves_out(tmp_path: Path):
    """The hub's SigLIP says of its tower only what kind it is; all the rest are defaults."""
    for kind in ("siglip", "vit", "dinov2", "dinov2_with_registers"):
        theirs = transformers.AutoConfig.for_model(kind)
        theirs = getattr(theirs, "vision_config", theirs)
        from mmfm.models.tables import transformers as table

        ours = table.config({"model_type": kind}, {}, kind)
        assert ours.image_size == (theirs.image_size, theirs.image_size)
        assert ours.patch_size == theirs.patch_size
        assert (ours.dim, ours.depth, ours.heads) == (
            theirs.hidden_size,
            theirs.num_hidden_layers,
            theirs.num_attention_heads,
        )
        assert ours.norm_eps == theirs.layer_norm_eps
        assert ours.registers == getattr(theirs, "num_register_tokens", 0)
        assert (
            ours.activation == {"gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh"}[theirs.hidden_act]
        )


@pytest.mark.parametrize(
    ("config", "because"),
    [
        (transformers.BertConfig(), "'bert'"),
        (vit_config(hidden_act="relu"), "'relu'"),
        (vit_config(patch_size=[8, 16]), "8x16"),
        (vit_config(pooler_act="relu"), "pooler"),
    ],
)
def test_a_transformers_model_that_we_would_compute_differently_is_refused(
    config: Any, because: str, tmp_path: Path
):
    transformers_model("ViT").save_pretrained(tmp_path)
    config.save_pretrained(tmp_path)
    with pytest.raises(BadInput, match=because) as caught:
        load_vit(str(tmp_path))
    assert str(tmp_path) in str(caught.value)


# --- transformers' pictures -----------------------------------------------------------------------


def photos() -> list[Image.Image]:
    random = np.random.default_rng(0)
    shapes = [(61, 83, 3), (40, 32, 3), (90, 35, 3), (20, 20, 3)]
    return [Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)) for shape in shapes]


@pytest.mark.parametrize(
    ("name", "processor"),
    [
        ("ViT", ViTImageProcessorPil(size={"height": 32, "width": 32})),
        ("ViT", ViTImageProcessorPil(size={"height": 32, "width": 48}, resample=3)),
        ("ViT", ViTImageProcessorPil(size={"height": 32, "width": 32}, do_normalize=False)),
        (
            "DINOv2",
            BitImageProcessorPil(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}),
        ),
        ("SigLIP", SiglipImageProcessorPil(size={"height": 32, "width": 32})),
    ],
)
def test_transformers_preprocessing_is_read_from_the_folder(
    name: str, processor: Any, tmp_path: Path
):
    transformers_model(name).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    ours = load_vit(str(tmp_path)).preprocessing
    for picture in photos():
        theirs = torch.from_numpy(processor(picture).pixel_values[0])
        torch.testing.assert_close(ours(picture), theirs, rtol=0, atol=1e-6)


def test_a_crop_with_half_a_pixel_over_begins_where_transformers_begins(tmp_path: Path):
    transformers_model("DINOv2").save_pretrained(tmp_path)
    processor = BitImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    processor.save_pretrained(tmp_path)
    picture = photos()[0].resize((35, 32))
    theirs = torch.from_numpy(processor(picture).pixel_values[0])
    ours = load_vit(str(tmp_path)).preprocessing(picture)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_transformers_torchvision_processor_differs_by_one_level_at_most(tmp_path: Path):
    """It resizes bytes with torchvision, not with Pillow, and rounds differently."""
    transformers_model("ViT").save_pretrained(tmp_path)
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path)
    ours = load_vit(str(tmp_path)).preprocessing
    for picture in photos():
        theirs = processor(picture, return_tensors="pt").pixel_values[0]
        torch.testing.assert_close(ours(picture), theirs, rtol=0, atol=1.01 / 255 / 0.5)


def test_a_folder_without_a_processor_gets_its_familys_own(tmp_path: Path):
    processors = {
        "ViT": ViTImageProcessorPil(size={"height": 32, "width": 32}),
        "SigLIP": SiglipImageProcessorPil(size={"height": 32, "width": 32}),
        "DINOv2": BitImageProcessorPil(
            size={"shortest_edge": 36},
            crop_size={"height": 32, "width": 32},
            image_mean=[0.485, 0.456, 0.406],
            image_std=[0.229, 0.224, 0.225],
        ),
    }
    for name, processor in processors.items():
        transformers_model(name).save_pretrained(tmp_path / name)
        ours = load_vit(str(tmp_path / name)).preprocessing
        theirs = torch.from_numpy(processor(photos()[0]).pixel_values[0])
        torch.testing.assert_close(ours(photos()[0]), theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("edge", [224, 256, 354, 693])  # 224 / (224 / 354) is below 354
def test_the_shortest_edge_is_met_to_the_pixel(edge: int, tmp_path: Path):
    transformers_model("DINOv2").save_pretrained(tmp_path)
    square = {"height": 224, "width": 224}
    BitImageProcessorPil(size={"shortest_edge": edge}, crop_size=square).save_pretrained(tmp_path)
    ours = load_vit(str(tmp_path)).preprocessing
    assert int(ours.size[0] / ours.crop_fraction) == edge


@pytest.mark.parametrize("size", [32, {"height": 32, "width": 32}], ids=str)
def test_a_number_in_an_old_processor_file_means_a_square(size: Any, tmp_path: Path):
    """google/vit-base-patch16-224 is such a file."""
    transformers_model("ViT").save_pretrained(tmp_path)
    settings = {"do_resize": True, "do_normalize": True, "resample": 2, "size": size}
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings | half))
    ours = load_vit(str(tmp_path)).preprocessing
    theirs = ViTImageProcessorPil(size={"height": 32, "width": 32})(photos()[0]).pixel_values[0]
    torch.testing.assert_close(ours(photos()[0]), torch.from_numpy(theirs), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "odd",
    [
        {"do_resize": False},
        {"do_rescale": False},
        {"rescale_factor": 1.0},
        {"size": {"shortest_edge": 32}},
        {"do_center_crop": True, "crop_size": {"height": 32, "width": 32}},
        {"size": {"longest_edge": 32}},
    ],
    ids=str,
)
def test_a_processor_that_we_would_not_follow_is_refused(odd: dict[str, Any], tmp_path: Path):
    transformers_model("ViT").save_pretrained(tmp_path)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | odd))
    with pytest.raises(BadInput, match=r"preprocessor_config\.json"):
        load_vit(str(tmp_path))


def test_class_names_come_in_the_order_of_the_logits(tmp_path: Path):
    names = {number: f"class {number}" for number in range(12)}
    config = vit_config(num_labels=12, id2label=names)
    shake(transformers.ViTForImageClassification(config)).save_pretrained(tmp_path)
    assert load_vit(str(tmp_path)).labels == tuple(names.values())


# --- true size ------------------------------------------------------------------------------------


def test_timms_vit_b_16_at_its_true_size(tmp_path: Path):
    model = timm.create_model("vit_base_patch16_224").eval()
    compare_with_timm(model, tmp_path, torch.float32)


def test_transformers_vit_b_16_at_its_true_size(tmp_path: Path):
    model = transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=1000)).eval()
    model.save_pretrained(tmp_path)
    images = pictures(3, 224, 224, torch.float32)
    with torch.no_grad():
        out = load_vit(str(tmp_path))(images, layers=True, attention=True)
    assert_all_equal(out, transformers_computes(model, images))
