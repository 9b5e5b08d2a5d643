"""open_clip's CLIPs: their names, and how their settings say what ours say."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from mmfm.data.pictures import Fit, Preprocessing
from mmfm.errors import BadInput
from mmfm.models.clip import CLIPConfig, Projection, TextConfig
from mmfm.models.tables import timm
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
    demand,
)
from mmfm.models.vit import ViTConfig, has_edge
from mmfm.models.weights import Table, add_batch, flat_patches, nested, number, transposed
from mmfm.nn import Activation

_BLOCKS: Table = [
    ("blocks.*.norm1.weight", "transformer.resblocks.*.ln_1.weight"),
    ("blocks.*.norm1.bias", "transformer.resblocks.*.ln_1.bias"),
    ("blocks.*.attention.{q|k|v}.weight", "transformer.resblocks.*.attn.in_proj_weight"),
    ("blocks.*.attention.{q|k|v}.bias", "transformer.resblocks.*.attn.in_proj_bias"),
    ("blocks.*.attention.out.weight", "transformer.resblocks.*.attn.out_proj.weight"),
    ("blocks.*.attention.out.bias", "transformer.resblocks.*.attn.out_proj.bias"),
    ("blocks.*.scale1.weight", "transformer.resblocks.*.ls_1.gamma"),
    ("blocks.*.norm2.weight", "transformer.resblocks.*.ln_2.weight"),
    ("blocks.*.norm2.bias", "transformer.resblocks.*.ln_2.bias"),
    ("blocks.*.mlp.up.weight", "transformer.resblocks.*.mlp.c_fc.weight"),
    ("blocks.*.mlp.up.bias", "transformer.resblocks.*.mlp.c_fc.bias"),
    ("blocks.*.mlp.down.weight", "transformer.resblocks.*.mlp.c_proj.weight"),
    ("blocks.*.mlp.down.bias", "transformer.resblocks.*.mlp.c_proj.bias"),
    ("blocks.*.scale2.weight", "transformer.resblocks.*.ls_2.gamma"),
]

_IMAGE: Table = [
    ("cls", "class_embedding", add_batch),
    ("positions", "positional_embedding"),
    ("embed.weight", "conv1.weight", flat_patches),
    ("norm_before.weight", "ln_pre.weight"),
    ("norm_before.bias", "ln_pre.bias"),
    *_BLOCKS,
    ("norm_after.weight", "ln_post.weight"),
    ("norm_after.bias", "ln_post.bias"),
]

# Of an average over the patches, CLIPA takes the norm after it and not before.
_IMAGE_NORMED_LAST: Table = [
    ("norm_pooled.weight", "ln_post.weight"),
    ("norm_pooled.bias", "ln_post.bias"),
    *_IMAGE,
]

# A picture tower of timm's, which may end in a projection of its own.
_TRUNK: Table = [
    ("image_projection.weight", "visual.trunk.head.weight"),
    ("image_projection.bias", "visual.trunk.head.bias"),
    ("image_projection.weight", "visual.head.proj.weight"),
    ("image_projection.bias", "visual.head.proj.bias"),
    *nested(timm.VIT, "image.", "visual.trunk."),
]

_REST: Table = [
    ("image_projection.weight", "visual.proj", transposed),
    ("text.embed.weight", "token_embedding.weight"),
    ("text.positions", "positional_embedding"),
    *nested(_BLOCKS, "text.", ""),
    ("text.norm_after.weight", "ln_final.weight"),
    ("text.norm_after.bias", "ln_final.bias"),
    ("text_projection.weight", "text_projection", transposed),
    ("text_projection.weight", "text_projection.weight"),
    ("text_projection.bias", "text_projection.bias"),
    ("scale", "logit_scale", number),
    ("bias", "logit_bias", number),
]

# Models with towers of other kinds keep the text tower under this name, and the others may.
PREFIX = "text."

# OpenAI's own files carry these settings among the weights.
UNUSED = ("input_resolution", "context_length", "vocab_size")


def table(settings: Mapping[str, Any]) -> Table:
    """The table for a model of these settings."""
    vision = settings["vision_cfg"]
    if vision.get("timm_model_name"):
        return [*_TRUNK, *_REST]
    image = _IMAGE_NORMED_LAST if vision.get("final_ln_after_pool") else _IMAGE
    return [*nested(image, "image.", "visual."), *_REST]


# --- settings -------------------------------------------------------------------------------------

# Options that change nothing that is computed when a model is used, or that others here read.
_IDLE = {"patch_dropout", "output_tokens", "pad_id"}
_TIMM = {
    "timm_model_name",
    "timm_model_pretrained",
    "timm_pool",
    "timm_proj",
    "timm_proj_bias",
    "timm_drop",
    "timm_drop_path",
    "image_size",
}
_VISION = {
    "layers",
    "width",
    "head_width",
    "mlp_ratio",
    "patch_size",
    "image_size",
    "ls_init_value",
    "no_ln_pre",
    "final_ln_after_pool",
    "pool_type",
    "act_kwargs",
    "norm_kwargs",
    "pos_embed_type",
}
_TEXT = {
    "context_length",
    "vocab_size",
    "hf_tokenizer_name",
    "tokenizer_mode",
    "tokenizer_kwargs",
    "width",
    "heads",
    "layers",
    "mlp_ratio",
    "ls_init_value",
    "eos_id",
    "no_causal_mask",
    "pool_type",
    "proj_type",
    "proj_bias",
    "act_kwargs",
    "norm_kwargs",
}
_WHOLE = {
    "embed_dim",
    "vision_cfg",
    "text_cfg",
    "quick_gelu",
    "custom_text",
    "init_logit_scale",
    "init_logit_bias",
    "nonscalar_logit_scale",
}
# Without a projection the tower's own head is one.
_TIMM_PROJECTION: dict[str | None, Projection] = {
    "linear": "linear",
    "none": "none",
    "": "affine",
    None: "affine",
}
_TEXT_POOL = {"argmax": "argmax", "eos": "end", "last": "last", "first": "first"}


_LAYERS = Kind(
    f"{COUNT.says}, or a ResNet's list of them",
    lambda value: all(map(COUNT.holds, value if isinstance(value, list) else [value])),
)
_EVERYWHERE: Kinds = {"vision_cfg": TABLE, "text_cfg": TABLE, "embed_dim": SIZE}
_NUMBERS: Kinds = {"init_logit_scale": NUMBER, "init_logit_bias": NUMBER.or_null()}
_OF_A_TOWER: Kinds = {
    "width": SIZE,
    "mlp_ratio": SHARE,
    "ls_init_value": NUMBER.or_null(),
    "pool_type": TEXT,
    "act_kwargs": TABLE.or_null(),
    "norm_kwargs": TABLE.or_null(),
}
_OF_VISION: Kinds = {
    **_OF_A_TOWER,
    "layers": _LAYERS,
    "head_width": SIZE,
    "patch_size": SIDES.or_null(),
    "image_size": SIDES,
    "timm_model_name": TEXT.or_null(),
    "timm_pool": TEXT.or_null(),
    "timm_proj": TEXT.or_null(),
}
_OF_TEXT: Kinds = {
    **_OF_A_TOWER,
    "layers": COUNT,
    "heads": SIZE,
    "context_length": SIZE,
    "vocab_size": SIZE,
    "eos_id": COUNT,
    "proj_type": TEXT.or_null(),
    "hf_model_name": TEXT.or_null(),
    "hf_tokenizer_name": TEXT.or_null(),
    "tokenizer_mode": TEXT.or_null(),
    "tokenizer_kwargs": TABLE.or_null(),
}
_THREE = Kind(
    "a number, or a list of three",
    lambda value: (
        (isinstance(value, list | tuple) and len(value) == 3 and all(map(NUMBER.holds, value)))
        or NUMBER.holds(value)
    ),
)
_OF_PICTURES: Kinds = {
    "mean": _THREE.or_null(),
    "std": _THREE.or_null(),
    "mode": TEXT.or_null(),
    "interpolation": TEXT.or_null(),
    "resize_mode": TEXT.or_null(),
}


def check_settings(settings: Mapping[str, Any], where: str) -> None:
    """Refuse a file's settings that no model can have."""
    demand(settings, {"model_cfg": TABLE}, where)
    model = settings["model_cfg"]
    demand(model, _EVERYWHERE, f"{where}: model_cfg")
    check(model, _NUMBERS, f"{where}: model_cfg")
    for key, kinds in (("vision_cfg", _OF_VISION), ("text_cfg", _OF_TEXT)):
        check(model[key], kinds, f"{where}: {key}")
        check(model[key].get("norm_kwargs") or {}, {"eps": NUMBER}, f"{where}: {key}: norm_kwargs")
    check(settings.get("preprocess_cfg", {}), _OF_PICTURES, f"{where}: preprocess_cfg")


def unlike(settings: Mapping[str, Any]) -> str | None:
    """What our towers are not, of a model that open_clip builds from these settings; else None.

    An option that we have never heard of makes a model another one.
    """
    vision, text = settings["vision_cfg"], settings["text_cfg"]
    trunk = bool(vision.get("timm_model_name"))
    strange = [
        *_set(settings, _WHOLE),
        *_set(vision, (_TIMM if trunk else _VISION) | _IDLE),
        *_set(text, _TEXT | _IDLE),
    ]
    if strange:
        return f"its settings name {', '.join(strange)}"
    if not isinstance(vision.get("layers", 12), int):
        return "its picture tower is a ResNet"
    if vision.get("pool_type", "tok") not in ("tok", "avg"):
        return f"its picture tower pools by {vision['pool_type']!r}"
    if text.get("pool_type", "argmax") not in _TEXT_POOL:
        return f"its text tower pools by {text['pool_type']!r}"
    towers = [text] if trunk else [vision, text]
    if any(_activation(tower, settings) is None for tower in towers):
        return "an activation that we do not know"
    if not trunk:
        return None
    if vision.get("timm_proj", "linear") not in _TIMM_PROJECTION:
        return f"its picture tower ends in a projection of kind {vision['timm_proj']!r}"
    return timm.unlike(_trunk(settings))


def _set(settings: Mapping[str, Any], known: set[str]) -> list[str]:
    return [key for key, value in settings.items() if key not in known and value]


def config(settings: Mapping[str, Any]) -> CLIPConfig:
    """Our settings from the `model_cfg` of a model that is not `unlike` ours."""
    vision, text = settings["vision_cfg"], settings["text_cfg"]
    image_projection: Projection = "linear"
    if vision.get("timm_model_name"):
        # A head of the tower's own is the projection.
        image = replace(timm.config(_trunk(settings), vision["timm_model_name"]), classes=0)
        image_projection = _TIMM_PROJECTION[vision.get("timm_proj", "linear")]
        if image_projection == "linear" and vision.get("timm_proj_bias"):
            image_projection = "affine"
    else:
        image = _image(vision, settings)
    text_projection: Projection = "affine" if text.get("proj_bias") else "linear"
    return CLIPConfig(
        image=image,
        text=_text(text, settings),
        dim=settings["embed_dim"],
        image_projection=image_projection,
        text_projection="none" if text.get("proj_type") == "none" else text_projection,
        scale=settings.get("init_logit_scale", CLIPConfig.scale),
        bias=settings.get("init_logit_bias"),
    )


def _image(given: Mapping[str, Any], settings: Mapping[str, Any]) -> ViTConfig:
    width = given.get("width", 768)
    last = bool(given.get("final_ln_after_pool"))
    image_size = _pair(given.get("image_size", 224))
    patch_size = _pair(given.get("patch_size", 16))[0]
    return ViTConfig(
        image_size=image_size,
        patch_size=patch_size,
        drop_edge=has_edge(image_size, patch_size),
        dim=width,
        depth=given.get("layers", 12),
        heads=width // given.get("head_width", 64),
        mlp_dim=int(width * given.get("mlp_ratio", 4.0)),
        activation=_activation(given, settings) or "gelu",
        patch_bias=False,
        layer_scale=given.get("ls_init_value"),
        norm_eps=_eps(given),
        norm_before=not given.get("no_ln_pre"),
        norm_after=not last,
        norm_pooled=last,
        pool="mean" if given.get("pool_type") == "avg" else "cls",
    )


def _text(given: Mapping[str, Any], settings: Mapping[str, Any]) -> TextConfig:
    width = given.get("width", 512)
    pool = _TEXT_POOL[given.get("pool_type", "argmax")]
    return TextConfig(
        vocabulary=given.get("vocab_size", 49_408),
        context=given.get("context_length", 77),
        dim=width,
        depth=given.get("layers", 12),
        heads=given.get("heads", 8),
        mlp_dim=int(width * given.get("mlp_ratio", 4.0)),
        activation=_activation(given, settings) or "gelu",
        causal=not given.get("no_causal_mask"),
        pool=pool,  # type: ignore[arg-type]
        end=given.get("eos_id", 2) if pool == "end" else None,
        layer_scale=given.get("ls_init_value"),
        norm_eps=_eps(given),
    )


def _pair(size: int | list[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _eps(given: Mapping[str, Any]) -> float:
    return (given.get("norm_kwargs") or {}).get("eps", 1e-5)


def _activation(given: Mapping[str, Any], settings: Mapping[str, Any]) -> Activation | None:
    """The activation of a tower; None for one that we do not know."""
    options = dict(given.get("act_kwargs") or {})
    if settings.get("quick_gelu"):
        return None if options else "quick_gelu"
    tanh = options.pop("approximate", "none") == "tanh"
    return None if options else ("gelu_tanh" if tanh else "gelu")


def _trunk(settings: Mapping[str, Any]) -> Any:
    """Let timm build the picture tower as open_clip has it built, without its weights."""
    given = settings["vision_cfg"]
    name, pool = given["timm_model_name"], given.get("timm_pool", "avg")
    return _built(name, pool, given.get("timm_proj", "linear"), settings["embed_dim"])


@lru_cache(maxsize=1)
def _built(name: str, pool: str, projection: str | None, dim: int) -> Any:
    import timm as library

    try:
        with torch.device("meta"):
            if projection in ("linear", "mlp"):
                trunk: Any = library.create_model(name)
                trunk.reset_classifier(0, **({"global_pool": pool} if pool else {}))
                return trunk
            classes = 0 if projection == "none" else dim
            return library.create_model(name, num_classes=classes, global_pool=pool)
    except (RuntimeError, TypeError, AssertionError, KeyError) as error:
        raise BadInput(f"timm cannot build {name!r} ({error})") from error


# --- pictures -------------------------------------------------------------------------------------

_OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_FIT: dict[str, Fit] = {"shortest": "crop", "squash": "squash"}


def preprocessing(
    given: Mapping[str, Any], settings: Mapping[str, Any], name: str
) -> Preprocessing:
    """The evaluation transform that a `preprocess_cfg` describes, at the model's size."""
    given = {key: value for key, value in given.items() if value is not None}
    mode = given.get("resize_mode", "shortest")
    if mode not in _FIT or given.get("mode", "RGB") != "RGB":
        raise BadInput(f"{name}: pictures fitted by {mode!r}, which is not known here")
    size = _pair(settings["vision_cfg"].get("image_size", 224))
    bilinear = given.get("interpolation") == "bilinear"
    if mode == "shortest" and size[0] != size[1]:
        bilinear = False  # open_clip forgets the choice on the way to a crop that is no square
    return Preprocessing(
        size=size,
        mean=_three(given.get("mean", _OPENAI[0])),
        std=_three(given.get("std", _OPENAI[1])),
        fit=_FIT[mode],
        interpolation="bilinear" if bilinear else "bicubic",
    )


def _three(values: float | Sequence[float]) -> tuple[float, ...]:
    return (values,) * 3 if isinstance(values, int | float) else tuple(values)
