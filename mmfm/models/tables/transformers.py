"""transformers' ViT, DINOv2 and SigLIP: their names, and how their settings say what ours say."""

from collections.abc import Mapping
from dataclasses import replace
from math import floor, nextafter
from typing import Any

from torch import Tensor

from mmfm.data.pictures import Interpolation, Preprocessing
from mmfm.errors import BadInput
from mmfm.models.clip import CLIPConfig, TextConfig
from mmfm.models.tables.settings import (
    COUNT,
    NUMBER,
    SHARE,
    SIDES,
    SIZE,
    TABLE,
    TEXT,
    Kind,
    Kinds,
    check,
)
from mmfm.models.vit import ViTConfig, has_edge
from mmfm.models.weights import Table, add_batch, drop_batch, flat_patches, nested, number
from mmfm.nn import Activation

_VIT_AND_DINOV2: Table = [
    ("cls", "embeddings.cls_token", drop_batch),
    ("registers", "embeddings.register_tokens", drop_batch),
    ("positions", "embeddings.position_embeddings", drop_batch),
    ("embed.weight", "embeddings.patch_embeddings.projection.weight", flat_patches),
    ("embed.bias", "embeddings.patch_embeddings.projection.bias"),
    ("blocks.*.attention.q.weight", "encoder.layer.*.attention.attention.query.weight"),
    ("blocks.*.attention.q.bias", "encoder.layer.*.attention.attention.query.bias"),
    ("blocks.*.attention.k.weight", "encoder.layer.*.attention.attention.key.weight"),
    ("blocks.*.attention.k.bias", "encoder.layer.*.attention.attention.key.bias"),
    ("blocks.*.attention.v.weight", "encoder.layer.*.attention.attention.value.weight"),
    ("blocks.*.attention.v.bias", "encoder.layer.*.attention.attention.value.bias"),
    ("blocks.*.attention.out.weight", "encoder.layer.*.attention.output.dense.weight"),
    ("blocks.*.attention.out.bias", "encoder.layer.*.attention.output.dense.bias"),
    ("norm_after.weight", "layernorm.weight"),
    ("norm_after.bias", "layernorm.bias"),
    ("pooler.weight", "pooler.dense.weight"),
    ("pooler.bias", "pooler.dense.bias"),
    ("head.weight", "classifier.weight"),
    ("head.bias", "classifier.bias"),
]

VIT: Table = [
    *_VIT_AND_DINOV2,
    ("blocks.*.norm1.weight", "encoder.layer.*.layernorm_before.weight"),
    ("blocks.*.norm1.bias", "encoder.layer.*.layernorm_before.bias"),
    ("blocks.*.norm2.weight", "encoder.layer.*.layernorm_after.weight"),
    ("blocks.*.norm2.bias", "encoder.layer.*.layernorm_after.bias"),
    ("blocks.*.mlp.up.weight", "encoder.layer.*.intermediate.dense.weight"),
    ("blocks.*.mlp.up.bias", "encoder.layer.*.intermediate.dense.bias"),
    ("blocks.*.mlp.down.weight", "encoder.layer.*.output.dense.weight"),
    ("blocks.*.mlp.down.bias", "encoder.layer.*.output.dense.bias"),
]

DINOV2: Table = [
    *_VIT_AND_DINOV2,
    ("blocks.*.norm1.weight", "encoder.layer.*.norm1.weight"),
    ("blocks.*.norm1.bias", "encoder.layer.*.norm1.bias"),
    ("blocks.*.scale1.weight", "encoder.layer.*.layer_scale1.lambda1"),
    ("blocks.*.norm2.weight", "encoder.layer.*.norm2.weight"),
    ("blocks.*.norm2.bias", "encoder.layer.*.norm2.bias"),
    ("blocks.*.mlp.up.weight", "encoder.layer.*.mlp.fc1.weight"),
    ("blocks.*.mlp.up.bias", "encoder.layer.*.mlp.fc1.bias"),
    ("blocks.*.mlp.down.weight", "encoder.layer.*.mlp.fc2.weight"),
    ("blocks.*.mlp.down.bias", "encoder.layer.*.mlp.fc2.bias"),
    ("blocks.*.mlp.{gate|up}.weight", "encoder.layer.*.mlp.weights_in.weight"),
    ("blocks.*.mlp.{gate|up}.bias", "encoder.layer.*.mlp.weights_in.bias"),
    ("blocks.*.mlp.down.weight", "encoder.layer.*.mlp.weights_out.weight"),
    ("blocks.*.mlp.down.bias", "encoder.layer.*.mlp.weights_out.bias"),
    ("blocks.*.scale2.weight", "encoder.layer.*.layer_scale2.lambda1"),
]

_LAYERS: Table = [
    ("blocks.*.norm1.weight", "encoder.layers.*.layer_norm1.weight"),
    ("blocks.*.norm1.bias", "encoder.layers.*.layer_norm1.bias"),
    ("blocks.*.attention.q.weight", "encoder.layers.*.self_attn.q_proj.weight"),
    ("blocks.*.attention.q.bias", "encoder.layers.*.self_attn.q_proj.bias"),
    ("blocks.*.attention.k.weight", "encoder.layers.*.self_attn.k_proj.weight"),
    ("blocks.*.attention.k.bias", "encoder.layers.*.self_attn.k_proj.bias"),
    ("blocks.*.attention.v.weight", "encoder.layers.*.self_attn.v_proj.weight"),
    ("blocks.*.attention.v.bias", "encoder.layers.*.self_attn.v_proj.bias"),
    ("blocks.*.attention.out.weight", "encoder.layers.*.self_attn.out_proj.weight"),
    ("blocks.*.attention.out.bias", "encoder.layers.*.self_attn.out_proj.bias"),
    ("blocks.*.norm2.weight", "encoder.layers.*.layer_norm2.weight"),
    ("blocks.*.norm2.bias", "encoder.layers.*.layer_norm2.bias"),
    ("blocks.*.mlp.up.weight", "encoder.layers.*.mlp.fc1.weight"),
    ("blocks.*.mlp.up.bias", "encoder.layers.*.mlp.fc1.bias"),
    ("blocks.*.mlp.down.weight", "encoder.layers.*.mlp.fc2.weight"),
    ("blocks.*.mlp.down.bias", "encoder.layers.*.mlp.fc2.bias"),
]

SIGLIP: Table = [
    ("positions", "embeddings.position_embedding.weight"),
    ("embed.weight", "embeddings.patch_embedding.weight", flat_patches),
    ("embed.bias", "embeddings.patch_embedding.bias"),
    *_LAYERS,
    ("norm_after.weight", "post_layernorm.weight"),
    ("norm_after.bias", "post_layernorm.bias"),
    ("attention_pool.probe", "head.probe", drop_batch),
    ("attention_pool.attention.{q|k|v}.weight", "head.attention.in_proj_weight"),
    ("attention_pool.attention.{q|k|v}.bias", "head.attention.in_proj_bias"),
    ("attention_pool.attention.out.weight", "head.attention.out_proj.weight"),
    ("attention_pool.attention.out.bias", "head.attention.out_proj.bias"),
    ("attention_pool.norm.weight", "head.layernorm.weight"),
    ("attention_pool.norm.bias", "head.layernorm.bias"),
    ("attention_pool.mlp.up.weight", "head.mlp.fc1.weight"),
    ("attention_pool.mlp.up.bias", "head.mlp.fc1.bias"),
    ("attention_pool.mlp.down.weight", "head.mlp.fc2.weight"),
    ("attention_pool.mlp.down.bias", "head.mlp.fc2.bias"),
    ("head.weight", "classifier.weight"),
    ("head.bias", "classifier.bias"),
]

# A CLIP, by its own names: two towers of the same layers.
_TEXT: Table = [
    ("text.embed.weight", "text_model.embeddings.token_embedding.weight"),
    ("text.positions", "text_model.embeddings.position_embedding.weight"),
    *nested(_LAYERS, "text.", "text_model."),
    ("text.norm_after.weight", "text_model.final_layer_norm.weight"),
    ("text.norm_after.bias", "text_model.final_layer_norm.bias"),
    ("scale", "logit_scale", number),
    ("bias", "logit_bias", number),
]

CLIP: Table = [
    ("image.cls", "vision_model.embeddings.class_embedding", add_batch),
    ("image.positions", "vision_model.embeddings.position_embedding.weight"),
    ("image.embed.weight", "vision_model.embeddings.patch_embedding.weight", flat_patches),
    ("image.norm_before.weight", "vision_model.pre_layrnorm.weight"),
    ("image.norm_before.bias", "vision_model.pre_layrnorm.bias"),
    *nested(_LAYERS, "image.", "vision_model."),
    ("image.norm_after.weight", "vision_model.post_layernorm.weight"),
    ("image.norm_after.bias", "vision_model.post_layernorm.bias"),
    ("image_projection.weight", "visual_projection.weight"),
    *_TEXT,
    ("text_projection.weight", "text_projection.weight"),
]

SIGLIP_OF_TWO: Table = [
    *nested(SIGLIP, "image.", "vision_model."),
    *_TEXT,
    ("text_projection.weight", "text_model.head.weight"),
    ("text_projection.bias", "text_model.head.bias"),
]

CLIP_TABLES: dict[str, Table] = {
    "clip": CLIP,
    "metaclip_2": CLIP,
    "siglip": SIGLIP_OF_TWO,
}
CLIP_UNUSED = ("**position_ids",)

TABLES: dict[str, Table] = {
    "vit": VIT,
    "dinov2": DINOV2,
    "dinov2_with_registers": DINOV2,
    "siglip": SIGLIP,
    "siglip_vision_model": SIGLIP,
}
PREFIXES = ("vit.", "dinov2.", "dinov2_with_registers.", "vision_model.")

# What the checkpoints carry beside the picture tower: masks for training, SigLIP's other half.
UNUSED = ("**mask_token", "text_model.**", "logit_scale", "logit_bias", "**position_ids")

_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "quick_gelu": "quick_gelu",
}


_TOWERS = ("vision_config", "text_config", "vision_config_dict", "text_config_dict")
_WHOLE: Kinds = {
    "model_type": TEXT,
    **dict.fromkeys(_TOWERS, TABLE.or_null()),
    "id2label": TABLE.or_null(),
}
_OF_A_TOWER: Kinds = {
    "hidden_size": SIZE,
    "num_hidden_layers": COUNT,
    "num_attention_heads": SIZE,
    "intermediate_size": SIZE,
    "hidden_act": TEXT,
    "layer_norm_eps": NUMBER,
    "image_size": SIDES,
    "patch_size": SIDES,
    "num_channels": SIZE,
    "num_register_tokens": COUNT,
    "mlp_ratio": SHARE,
    "layerscale_value": NUMBER,
    "vocab_size": SIZE,
    "max_position_embeddings": SIZE,
    "eos_token_id": COUNT.or_null(),
    "projection_dim": SIZE,
    "projection_size": SIZE.or_null(),
}


def check_settings(settings: Mapping[str, Any], where: str) -> None:
    """Refuse a `config.json` whose settings no model can have."""
    check(settings, _WHOLE, where)
    check(settings, _OF_A_TOWER, where)
    for tower in _TOWERS:
        check(settings.get(tower) or {}, _OF_A_TOWER, f"{where}: {tower}")


def prefix(state: Mapping[str, Tensor]) -> str:
    """The name under which a checkpoint keeps its picture tower; a bare tower has none."""
    return next((p for p in PREFIXES if any(key.startswith(p) for key in state)), "")


def unused(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Names that may be left over; a classifier passes by the pooling that is stored beside it."""
    if "classifier.weight" not in state:
        return UNUSED
    return (*UNUSED, f"{prefix(state)}head.**", f"{prefix(state)}pooler.**")


def config(settings: Mapping[str, Any], state: Mapping[str, Tensor], name: str) -> ViTConfig:
    """Our settings from transformers' `config.json`; the weights say which heads are there."""
    family = settings["model_type"]
    if family not in TABLES:
        known = ", ".join(TABLES)
        raise BadInput(f"{name}: a {family!r} is no vision transformer we know; we know {known}")
    given = settings.get("vision_config", settings) if family == "siglip" else settings
    siglip = family.startswith("siglip")
    dim = given.get("hidden_size", 768)
    activation = _activation(given, "gelu_pytorch_tanh" if siglip else "gelu", name)
    swiglu = bool(given.get("use_swiglu_ffn"))
    mlp_dim = given.get("intermediate_size", 3072)
    if family.startswith("dinov2"):
        mlp_dim = int(dim * given.get("mlp_ratio", 4))
        mlp_dim = (int(mlp_dim * 2 / 3) + 7) // 8 * 8 if swiglu else mlp_dim
    head = state.get("classifier.weight")
    pooler = head is None and any(key.endswith("pooler.dense.weight") for key in state)
    if pooler and given.get("pooler_act", "tanh") != "tanh":
        raise BadInput(f"{name}: a pooler of {given['pooler_act']!r}; only 'tanh' is known")
    if siglip:
        has_pool = any("head.probe" in key for key in state)
        pool = "map" if has_pool and head is None else "mean"
    else:
        pool = "cls+mean" if head is not None and head.shape[1] == 2 * dim else "cls"
    image_size = _pair(given.get("image_size", 224))
    patch_size = _one(given.get("patch_size", 14 if family == "dinov2" else 16), name)
    return ViTConfig(
        image_size=image_size,
        patch_size=patch_size,
        drop_edge=has_edge(image_size, patch_size),
        channels=given.get("num_channels", 3),
        dim=dim,
        depth=given.get("num_hidden_layers", 12),
        heads=given.get("num_attention_heads", 12),
        mlp_dim=mlp_dim,
        activation="swiglu" if swiglu else activation,
        cls_token=not siglip,
        registers=given.get("num_register_tokens", 4 if "registers" in family else 0),
        # Only the registers' resizing smooths; the rest stretch as plain bicubic does.
        antialias_positions=family == "dinov2_with_registers",
        qkv_bias=given.get("qkv_bias", True),
        layer_scale=given.get("layerscale_value", 1.0) if family.startswith("dinov2") else None,
        norm_eps=given.get("layer_norm_eps", 1e-12 if family == "vit" else 1e-6),
        pool=pool,
        pooler=pooler,
        classes=0 if head is None else head.shape[0],
    )


def clip_config(settings: Mapping[str, Any], name: str) -> CLIPConfig:
    """Our settings of two towers from transformers' `config.json`."""
    family = settings["model_type"]
    if family not in CLIP_TABLES:
        known = ", ".join(CLIP_TABLES)
        raise BadInput(f"{name}: a {family!r} is no CLIP that we know; we know {known}")
    siglip = family == "siglip"
    vision, text = (_tower(settings, f"{tower}_config") for tower in ("vision", "text"))
    if siglip and not vision.get("vision_use_head", True):
        raise BadInput(f"{name}: a SigLIP without its pooling head; only with it is it known")
    eps = 1e-6 if siglip else 1e-5
    usual = "gelu_pytorch_tanh" if siglip else "quick_gelu"
    image_size = _pair(vision.get("image_size", 224))
    patch_size = _one(vision.get("patch_size", 16 if siglip else 32), name)
    image = ViTConfig(
        image_size=image_size,
        patch_size=patch_size,
        drop_edge=has_edge(image_size, patch_size),
        channels=vision.get("num_channels", 3),
        dim=vision.get("hidden_size", 768),
        depth=vision.get("num_hidden_layers", 12),
        heads=vision.get("num_attention_heads", 12),
        mlp_dim=vision.get("intermediate_size", 3072),
        activation=_activation(vision, usual, name),
        cls_token=not siglip,
        antialias_positions=False,
        patch_bias=siglip,
        norm_eps=vision.get("layer_norm_eps", eps),
        norm_before=not siglip,
        pool="map" if siglip else "cls",
    )
    width = text.get("hidden_size", 768 if siglip else 512)
    end = text.get("eos_token_id", 49_407)
    # Before their pull request 24773 CLIP's files named a wrong end of text, and it wasn't used.
    largest = family == "clip" and end == 2
    return CLIPConfig(
        image=image,
        text=TextConfig(
            vocabulary=text.get("vocab_size", 32_000 if siglip else 49_408),
            context=text.get("max_position_embeddings", 64 if siglip else 77),
            dim=width,
            depth=text.get("num_hidden_layers", 12),
            heads=text.get("num_attention_heads", 12 if siglip else 8),
            mlp_dim=text.get("intermediate_size", 3072 if siglip else 2048),
            activation=_activation(text, usual, name),
            causal=not siglip,
            pool="last" if siglip else ("argmax" if largest else "end"),
            end=None if siglip or largest else end,
            norm_eps=text.get("layer_norm_eps", eps),
        ),
        dim=(text.get("projection_size") or width)
        if siglip
        else settings.get("projection_dim", 512),
        image_projection="none" if siglip else "linear",
        text_projection="affine" if siglip else "linear",
        bias=0.0 if siglip else None,
    )


def _tower(settings: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The settings of a tower; CLIP's older files say them twice, and the second ones count."""
    second = None if settings["model_type"] == "siglip" else settings.get(f"{key}_dict")
    return (settings.get(key) or {}) if second is None else second


def _activation(given: Mapping[str, Any], usual: str, name: str) -> Activation:
    activation = given.get("hidden_act", usual)
    if activation not in _ACTIVATIONS:
        raise BadInput(f"{name}: an activation {activation!r} that we do not know")
    return _ACTIVATIONS[activation]


def _pair(size: int | list[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _one(size: int | list[int], name: str) -> int:
    height, width = _pair(size)
    if height != width:
        raise BadInput(f"{name}: patches of {height}x{width} pixels; only square ones are known")
    return height


# Pillow's numbers; box and Hamming, 4 and 5, no model is known to look through.
_RESAMPLE: dict[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_SIDES = Kind(
    "a size, or an object of height and width or of shortest_edge",
    lambda value: all(
        side is None or SIZE.holds(side)
        for side in (value.values() if isinstance(value, Mapping) else [value])
    ),
)
_CHANNELS = Kind(
    "a list of one number or three",
    lambda value: isinstance(value, list) and all(map(NUMBER.holds, value)),
)
_PROCESSOR: Kinds = {
    "size": _SIDES,
    "crop_size": _SIDES,
    "image_mean": _CHANNELS,
    "image_std": _CHANNELS,
    "rescale_factor": NUMBER,
    "resample": Kind(
        f"one of {', '.join(f'{number} ({said})' for number, said in _RESAMPLE.items())}",
        lambda value: COUNT.holds(value) and value in _RESAMPLE,
    ),
}
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def preprocessing(
    settings: Mapping[str, Any] | None, family: str, config: ViTConfig, name: str
) -> Preprocessing | None:
    """The picture processor that `preprocessor_config.json` describes.

    Without such a file it is the one that the family's publisher uses, at the model's size. None
    for a model of other data: a picture has one channel or three.
    """
    if config.channels not in (1, 3):
        return None
    half = (0.5,) * (1 if config.channels == 1 else 3)
    usual = Preprocessing(config.image_size, half, half, fit="squash", half_pixel="down")
    if family == "vit":
        usual = replace(usual, interpolation="bilinear")
    elif family.startswith("dinov2"):
        mean, std = _IMAGENET if config.channels != 1 else (half, half)
        usual = replace(usual, mean=mean, std=std, fit="crop", crop_fraction=224 / 256)
    elif family in ("clip", "metaclip_2"):
        mean, std = _OPENAI if config.channels != 1 else (half, half)
        usual = replace(usual, mean=mean, std=std, fit="crop")
    if settings is None:
        return usual
    check(settings, {}, f"{name}: its preprocessor_config.json")
    given = {key: value for key, value in settings.items() if value is not None}
    check(given, _PROCESSOR, f"{name}: its preprocessor_config.json")
    size: Any = given.get("size", {})
    crop_size: Any = given.get("crop_size", {})
    crops = given.get("do_center_crop", usual.fit == "crop")
    # Old files write a number for a square, or for the shortest edge where a crop follows.
    if isinstance(size, int):
        size = {"shortest_edge": size} if crops else {"height": size, "width": size}
    if isinstance(crop_size, int):
        crop_size = {"height": crop_size, "width": crop_size}
    height, width = ((crop_size if crops else size).get(side) for side in ("height", "width"))
    edge = size.get("shortest_edge")
    known = height and width and (not crops or (edge and edge >= height == width))
    unlike = [step for step in ("do_resize", "do_rescale") if not given.get(step, True)]
    if unlike or not known or abs(255 * given.get("rescale_factor", 1 / 255) - 1) > 1e-6:
        raise BadInput(
            f"{name}: its preprocessor_config.json treats pictures in a way not known here"
        )
    normal = given.get("do_normalize", True)
    return Preprocessing(
        size=(height, width),
        mean=given.get("image_mean", usual.mean) if normal else tuple(0.0 for _ in usual.mean),
        std=given.get("image_std", usual.std) if normal else tuple(1.0 for _ in usual.std),
        fit="crop" if crops else "squash",
        interpolation=_RESAMPLE[given["resample"]] if "resample" in given else usual.interpolation,
        crop_fraction=_fraction(height, edge) if crops else 1.0,
        half_pixel="down",
    )


def _fraction(side: int, edge: int) -> float:
    """The share that gives `edge` again when `Preprocessing` divides `side` by it."""
    fraction = side / edge
    return fraction if floor(side / fraction) == edge else nextafter(fraction, 0)


def labels(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Class names in the order of the logits."""
    names = settings.get("id2label") or {}
    return tuple(names[key] for key in sorted(names, key=int))
