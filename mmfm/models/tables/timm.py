"""timm's ViT and DeiT: their names, and how their settings say what ours say."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadInput
from mmfm.models.vit import ViTConfig, has_edge
from mmfm.models.weights import Table, drop_batch, flat_patches

VIT: Table = [
    ("cls", "cls_token", drop_batch),
    ("distillation", "dist_token", drop_batch),
    ("registers", "reg_token", drop_batch),
    ("positions", "pos_embed", drop_batch),
    ("embed.weight", "patch_embed.proj.weight", flat_patches),
    ("embed.bias", "patch_embed.proj.bias"),
    ("norm_before.weight", "norm_pre.weight"),
    ("norm_before.bias", "norm_pre.bias"),
    ("blocks.*.norm1.weight", "blocks.*.norm1.weight"),
    ("blocks.*.norm1.bias", "blocks.*.norm1.bias"),
    ("blocks.*.attention.{q|k|v}.weight", "blocks.*.attn.qkv.weight"),
    ("blocks.*.attention.{q|k|v}.bias", "blocks.*.attn.qkv.bias"),
    ("blocks.*.attention.q_norm.weight", "blocks.*.attn.q_norm.weight"),
    ("blocks.*.attention.q_norm.bias", "blocks.*.attn.q_norm.bias"),
    ("blocks.*.attention.k_norm.weight", "blocks.*.attn.k_norm.weight"),
    ("blocks.*.attention.k_norm.bias", "blocks.*.attn.k_norm.bias"),
    ("blocks.*.attention.out.weight", "blocks.*.attn.proj.weight"),
    ("blocks.*.attention.out.bias", "blocks.*.attn.proj.bias"),
    ("blocks.*.scale1.weight", "blocks.*.ls1.gamma"),
    ("blocks.*.scale1.weight", "blocks.*.gamma_1"),
    ("blocks.*.norm2.weight", "blocks.*.norm2.weight"),
    ("blocks.*.norm2.bias", "blocks.*.norm2.bias"),
    ("blocks.*.mlp.up.weight", "blocks.*.mlp.fc1.weight"),
    ("blocks.*.mlp.up.bias", "blocks.*.mlp.fc1.bias"),
    ("blocks.*.mlp.gate.weight", "blocks.*.mlp.fc1_g.weight"),
    ("blocks.*.mlp.gate.bias", "blocks.*.mlp.fc1_g.bias"),
    ("blocks.*.mlp.up.weight", "blocks.*.mlp.fc1_x.weight"),
    ("blocks.*.mlp.up.bias", "blocks.*.mlp.fc1_x.bias"),
    ("blocks.*.mlp.down.weight", "blocks.*.mlp.fc2.weight"),
    ("blocks.*.mlp.down.bias", "blocks.*.mlp.fc2.bias"),
    ("blocks.*.scale2.weight", "blocks.*.ls2.gamma"),
    ("blocks.*.scale2.weight", "blocks.*.gamma_2"),
    ("norm_after.weight", "norm.weight"),
    ("norm_after.bias", "norm.bias"),
    ("attention_pool.probe", "attn_pool.latent", drop_batch),
    ("attention_pool.attention.q.weight", "attn_pool.q.weight"),
    ("attention_pool.attention.q.bias", "attn_pool.q.bias"),
    ("attention_pool.attention.{k|v}.weight", "attn_pool.kv.weight"),
    ("attention_pool.attention.{k|v}.bias", "attn_pool.kv.bias"),
    ("attention_pool.attention.out.weight", "attn_pool.proj.weight"),
    ("attention_pool.attention.out.bias", "attn_pool.proj.bias"),
    ("attention_pool.norm.weight", "attn_pool.norm.weight"),
    ("attention_pool.norm.bias", "attn_pool.norm.bias"),
    ("attention_pool.mlp.up.weight", "attn_pool.mlp.fc1.weight"),
    ("attention_pool.mlp.up.bias", "attn_pool.mlp.fc1.bias"),
    ("attention_pool.mlp.down.weight", "attn_pool.mlp.fc2.weight"),
    ("attention_pool.mlp.down.bias", "attn_pool.mlp.fc2.bias"),
    ("norm_pooled.weight", "fc_norm.weight"),
    ("norm_pooled.bias", "fc_norm.bias"),
    ("head.weight", "head.weight"),
    ("head.bias", "head.bias"),
    ("distillation_head.weight", "head_dist.weight"),
    ("distillation_head.bias", "head_dist.bias"),
]

# Packed SwiGLU keeps the gate and the way up in one matrix, where a plain MLP has its way up.
PACKED_SWIGLU: Table = [
    ("blocks.*.mlp.{gate|up}.weight", "blocks.*.mlp.fc1.weight"),
    ("blocks.*.mlp.{gate|up}.bias", "blocks.*.mlp.fc1.bias"),
    *VIT,
]


# Stored by some publishers, used by their training only.
UNUSED = ("mask_token", "pre_logits.**")


def table(model: nn.Module) -> Table:
    """The table for a timm model: only the packed SwiGLU needs another."""
    return PACKED_SWIGLU if type(model.blocks[0].mlp).__name__ == "GluMlp" else VIT  # type: ignore[index]


def build(folder: str, name: str) -> Any:
    """Let timm build the model of a folder, without its weights: the model says what it is made of.

    timm's thousand names differ in a dozen options; asking the built model is the only way to know
    them that cannot fall out of step with timm.
    """
    import timm

    try:
        with torch.device("meta"):
            return timm.create_model(f"local-dir:{folder}", pretrained=False)
    except Exception as error:  # damaged settings meet nearly any exception in there
        reason = " ".join(str(error).split())
        raise BadInput(f"{name}: timm cannot build it from config.json ({reason:.300})") from error


def unlike(model: Any) -> str | None:
    """What of a model that timm built we would compute differently; None if nothing."""
    kind = type(model).__name__
    if kind not in ("VisionTransformer", "VisionTransformerDistilled"):
        return f"timm's {kind} is no plain vision transformer"
    if any(type(block).__name__ != "Block" for block in model.blocks):
        kind = type(model.blocks[0]).__name__
        return f"this timm model has blocks of another kind ({kind}) than a ViT's"
    block, patch = model.blocks[0], model.patch_embed
    mlp, attention = block.mlp, block.attn
    differences = {
        "attention": type(attention).__name__ != "Attention"
        or getattr(attention, "gate", None) is not None
        or not isinstance(attention.norm, nn.Identity)
        or attention.proj.bias is None,
        "norm": not isinstance(block.norm1, nn.LayerNorm),
        "patch embedding": type(patch).__name__ != "PatchEmbed"
        or not isinstance(patch.norm, nn.Identity)
        or patch.patch_size[0] != patch.patch_size[1],
        "MLP": _activation(mlp) is None or not isinstance(mlp.norm, nn.Identity),
        "pooling": model.global_pool not in ("", "token", "avg", "map")
        or model.pool_include_prefix
        or (model.global_pool == "" and model.num_classes > 0)
        or (model.global_pool == "map" and type(mlp).__name__ != "Mlp"),
        "first tokens": kind == "VisionTransformerDistilled" and model.num_reg_tokens > 0,
    }
    parts = ", ".join(part for part, differs in differences.items() if differs)
    return f"this timm model has another kind of {parts} than a plain ViT" if parts else None


def config(model: Any, name: str) -> ViTConfig:
    """Read our settings off a model that timm built; refuse what we would compute differently."""
    difference = unlike(model)
    if difference is not None:
        raise BadInput(f"{name}: {difference}")
    block, patch = model.blocks[0], model.patch_embed
    mlp, attention = block.mlp, block.attn
    kind = type(model).__name__
    distilled = kind == "VisionTransformerDistilled"
    pool = {
        "token": "cls",
        "avg": "mean",
        "map": "map",
        "": "cls" if model.has_class_token else "mean",
    }
    return ViTConfig(
        image_size=tuple(patch.img_size),
        patch_size=patch.patch_size[0],
        channels=patch.proj.in_channels,
        dim=model.embed_dim,
        depth=len(model.blocks),
        heads=attention.num_heads,
        mlp_dim=mlp.fc2.in_features,
        activation=_activation(mlp) or "gelu",
        cls_token=model.has_class_token,
        distilled=distilled,
        registers=model.num_reg_tokens,
        positions="none" if model.pos_embed is None else "learned",
        patch_bias=patch.proj.bias is not None,
        drop_edge=has_edge(patch.img_size, patch.patch_size[0]),
        qkv_bias=attention.qkv.bias is not None,
        qk_norm=not isinstance(attention.q_norm, nn.Identity),
        layer_scale=None if isinstance(block.ls1, nn.Identity) else 1e-5,
        norm_eps=block.norm1.eps,
        norm_before=not isinstance(model.norm_pre, nn.Identity),
        norm_after=not isinstance(model.norm, nn.Identity),
        pool=pool[model.global_pool],  # type: ignore[arg-type]
        norm_pooled=not isinstance(model.fc_norm, nn.Identity),
        classes=model.num_classes,
    )


def _activation(mlp: Any) -> Any:
    kind = type(mlp).__name__
    act = type(mlp.act).__name__
    if kind == "Mlp":
        if act == "GELU":
            return "gelu_tanh" if getattr(mlp.act, "approximate", "none") == "tanh" else "gelu"
        return {"GELUTanh": "gelu_tanh", "QuickGELU": "quick_gelu"}.get(act)
    gated = kind == "SwiGLU" or (kind == "GluMlp" and not mlp.gate_last)
    return "swiglu" if gated and act == "SiLU" else None


def preprocessing(model: Any, config: ViTConfig, name: str) -> Preprocessing | None:
    """timm's evaluation transform, from the settings beside the weights; None if not of pictures.

    A picture has one channel or three; what a model of other data looks at, its owner prepares.
    """
    from timm.data.config import resolve_model_data_config

    if config.channels not in (1, 3):
        return None
    given = resolve_model_data_config(model)
    if given["crop_mode"] not in ("center", "squash"):
        raise BadInput(f"{name}: pictures cropped by {given['crop_mode']!r}, not known here")
    mean, std = given["mean"], given["std"]
    if config.channels == 1:
        # timm keeps the numbers of the three colours; grey takes their mean.
        mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
    return Preprocessing(
        size=config.image_size,
        mean=mean,
        std=std,
        fit="squash" if given["crop_mode"] == "squash" else "crop",
        interpolation=given["interpolation"],
        crop_fraction=given["crop_pct"],
    )


def labels(settings: Mapping[str, Any], model: Any) -> tuple[str, ...]:
    """Class names: the folder's own, or ImageNet's where timm takes the model for one of its."""
    given = {**settings.get("pretrained_cfg", {}), **settings}
    names = given.get("label_names") or ()
    if isinstance(names, Mapping):
        names = [names[number] for number in sorted(names, key=int)]
    if names:
        descriptions = given.get("label_descriptions") or {}
        return tuple(descriptions.get(name, name) for name in names)
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset(model)
    if subset is None:
        return ()
    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(number) for number in range(model.num_classes))
