"""From a name to a model that runs, and back into a file."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmfm import hub
from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadInput, BadWeights
from mmfm.files import write_whole
from mmfm.machine import pick_device
from mmfm.models import weights
from mmfm.models.tables import timm, transformers
from mmfm.models.vit import ViT, ViTConfig


def load_vit(name: str, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> ViT:
    """Load a vision transformer: bundled, a path, `timm:NAME` or `hf:OWNER/NAME`.

    The folder may be ours, timm's or transformers'; it is loaded as it is, strictly.
    """
    where = pick_device(device)
    found = hub.find(name)
    settings = _settings(found)
    if "mmfm" in settings:
        model, state = _ours(found, settings)
    elif "architecture" in settings:
        model, state = _timm(found, settings)
    elif "model_type" in settings:
        model, state = _transformers(found, settings)
    else:
        raise BadInput(f"{name}: its config.json is neither ours, timm's nor transformers'")
    # Half precision is for running: sums of weights are made in float32 at least.
    exact = torch.promote_types(dtype, torch.float32)
    cast = {key: tensor.to(exact) for key, tensor in state.items()}
    weights.load_strictly(model.to(exact), _fold_positions(cast, model.config, name), name)
    model.source = f"{name} ({found.origin})"
    return model.to(where, dtype).eval()


def save_vit(model: ViT, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write a model into a folder that `load_vit` takes: weights, then settings, each whole."""
    settings = {
        "mmfm": 1,
        "model": "vit",
        "config": asdict(model.config),
        "preprocessing": asdict(model.preprocessing),
        "labels": list(model.labels),
    }
    weights.save(folder / "model.safetensors", model, settings, dtype)
    text = json.dumps(settings, indent=2, ensure_ascii=False)
    write_whole(folder / "config.json", text + "\n")


def _settings(found: hub.Found) -> dict[str, Any]:
    """What the checkpoint says of itself: inside our own weight file, else in the config beside."""
    first = found.weights[0]
    if first.suffix == ".safetensors":
        inside = weights.read_settings(first)
        if inside is not None:
            return inside
    beside = found.settings()
    if beside is None:
        raise BadInput(f"{found.name}: no config.json beside {first.name} says what it is")
    return beside


def _ours(found: hub.Found, settings: Mapping[str, Any]) -> tuple[ViT, dict[str, Tensor]]:
    if settings.get("model") != "vit":
        raise BadInput(f"{found.name}: this is a {settings.get('model')!r}, not a 'vit'")
    try:
        config = ViTConfig(**settings["config"])
        preprocessing = Preprocessing(**settings["preprocessing"])
    except (KeyError, TypeError) as error:
        raise BadWeights(f"{found.name}: settings of another version ({error})") from error
    return ViT(config, preprocessing, settings.get("labels", ())), weights.read(found.weights)


def _timm(found: hub.Found, settings: Mapping[str, Any]) -> tuple[ViT, dict[str, Tensor]]:
    built = timm.build(str(found.folder), found.name)
    config = timm.config(built, found.name)
    theirs = weights.read(found.weights)
    state = weights.translate(theirs, timm.table(built), found.name, unused=timm.UNUSED)
    preprocessing = timm.preprocessing(built, config, found.name)
    return ViT(config, preprocessing, timm.labels(settings, built)), state


def _transformers(found: hub.Found, settings: Mapping[str, Any]) -> tuple[ViT, dict[str, Tensor]]:
    theirs = weights.read(found.weights)
    family = settings["model_type"]
    config = transformers.config(settings, theirs, found.name)
    state = weights.translate(
        theirs,
        transformers.TABLES[family],
        found.name,
        prefix=transformers.prefix(theirs),
        unused=transformers.unused(theirs),
    )
    processor = found.settings("preprocessor_config.json")
    preprocessing = transformers.preprocessing(processor, family, config, found.name)
    labels = transformers.labels(settings) if config.classes else ()
    return ViT(config, preprocessing, labels), state


def _fold_positions(state: dict[str, Tensor], config: ViTConfig, name: str) -> dict[str, Tensor]:
    """Publishers give the first tokens positions too; a sum of two constants is one constant.

    The positions that stand before those of the patches are added to the tokens they belong to:
    CLS, distillation, registers, in this order.
    """
    tokens = [key for key in ("cls", "distillation", "registers") if key in state]
    misshapen = any(
        state[k].shape[1:] != (config.dim,) for k in ("positions", *tokens) if k in state
    )
    if "positions" not in state or misshapen:
        return state  # nothing to fold, or `load_strictly` says what is wrong
    state = dict(state)
    patches = config.grid[0] * config.grid[1]
    ahead, state["positions"] = state["positions"].split(
        [max(len(state["positions"]) - patches, 0), min(patches, len(state["positions"]))]
    )
    for key in tokens:
        count = min(len(ahead), len(state[key]))
        state[key] = state[key].clone()
        state[key][:count] += ahead[:count]
        ahead = ahead[count:]
    if len(ahead):
        raise BadWeights(f"{name}: positions for {len(ahead)} more tokens than the model has")
    return state
