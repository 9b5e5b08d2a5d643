"""From a name to a model that runs, and back into a file."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from mmfm import hub
from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadInput, BadWeights
from mmfm.files import write_whole
from mmfm.machine import pick_device
from mmfm.models import tokenizer_files, weights
from mmfm.models.clip import CLIP, CLIPConfig, Towers, TwoTowers
from mmfm.models.tables import open_clip, timm, transformers
from mmfm.models.tokenizer import Tokenizer
from mmfm.models.vit import ViT, ViTConfig
from mmfm.models.wrapped import OpenCLIP


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
    elif "model_cfg" in settings:
        raise BadInput(f"{name}: this is open_clip's CLIP; load it with load_clip")
    else:
        raise BadInput(f"{name}: its config.json is neither ours, timm's nor transformers'")
    # Half precision is for running: sums of weights are made in float32 at least.
    exact = torch.promote_types(dtype, torch.float32)
    cast = {key: tensor.to(exact) for key, tensor in state.items()}
    weights.load_strictly(model.to(exact), _fold_positions(cast, model.config, name), name)
    model.name, model.origin = name, found.origin
    return model.to(where, dtype).eval()


def load_clip(
    name: str,
    *,
    towers: Towers = "both",
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TwoTowers:
    """Load a CLIP: bundled, a path, `hf:OWNER/NAME` or open_clip's `MODEL/TAG`.

    With one tower named, the other costs nothing: its weights are not read. What is no pair of
    plain transformers, but known to open_clip, is run by open_clip.
    """
    if towers not in get_args(Towers):
        raise BadInput(f"towers {towers!r} is none of {', '.join(get_args(Towers))}")
    where = pick_device(device)
    found = hub.find(name, hub.FOR_CLIP)
    settings = _settings(found)
    model: TwoTowers
    if "mmfm" in settings:
        model = _joined(found, _our_clip(found, settings, towers), towers, dtype)
    elif "model_cfg" in settings and open_clip.unlike(settings["model_cfg"]):
        model = _wrapped(found, settings, towers)
    elif "model_cfg" in settings:
        model = _joined(found, _open_clip(found, settings, towers), towers, dtype)
    elif "model_type" in settings:
        model = _joined(found, _transformers_clip(found, settings, towers), towers, dtype)
    else:
        raise BadInput(f"{name}: its {found.layout.settings} is not that of a CLIP")
    model.name, model.origin = name, found.origin
    # A temperature in half precision would be off by a hundredth.
    exact = [(number, number.data) for number in (model.scale, model.bias) if number is not None]
    model.to(where, dtype)
    for number, value in exact:
        number.data = value.to(where)
    return model.eval()


@dataclass(frozen=True)
class _Parts:
    """A CLIP's checkpoint, before one of its weights is read."""

    config: CLIPConfig
    preprocessing: Preprocessing | None
    tokenizer: Tokenizer | None
    towers: Towers = "both"  # that it holds
    table: weights.Table | None = None  # where its names are not ours
    prefix: str = ""
    unused: Sequence[str] = ()

    def homes(self, theirs: Iterable[str], name: str) -> dict[str, str]:
        """Where in our model each of its weights belongs."""
        if self.table is None:
            return {key: key for key in theirs}
        rows = weights.rows(theirs, self.table, name, prefix=self.prefix, unused=self.unused)
        return {key: row[0] for key, (row, _) in rows.items()}

    def ours(
        self, theirs: Mapping[str, Tensor], name: str, dtype: torch.dtype
    ) -> dict[str, Tensor]:
        """Its weights as our model wants them."""
        state = dict(theirs)
        if self.table is not None:
            state = weights.translate(
                theirs, self.table, name, prefix=self.prefix, unused=self.unused
            )
        cast = {key: tensor.to(dtype) for key, tensor in state.items()}
        return _fold_positions(cast, self.config.image, name, "image.")


def _joined(found: hub.Found, parts: _Parts, towers: Towers, dtype: torch.dtype) -> CLIP:
    """Read the towers asked for; the other one is held to its names and shapes, and not read."""
    name, wanted = found.name, None
    if parts.towers not in ("both", towers):
        raise BadInput(f"{name}: holds one tower only; load it with towers={parts.towers!r}")
    # Half precision is for running: sums of weights are made in float32 at least.
    exact = torch.promote_types(dtype, torch.float32)
    if towers != parts.towers:
        sizes = weights.shapes(found.weights)
        with torch.device("meta"):
            whole = CLIP(parts.config)
        weights.check(whole, parts.ours(sizes, name, exact), name)
        other = "text" if towers == "image" else "image"
        homes = parts.homes(sizes, name)
        wanted = [key for key, home in homes.items() if not home.startswith(other)]
    # On the meta device a model has shapes and no numbers: none are drawn to be written over.
    with torch.device("meta"):
        model = CLIP(parts.config, parts.preprocessing, parts.tokenizer, towers=towers)
    model = model.to(exact).to_empty(device="cpu")
    state = parts.ours(weights.read(found.weights, wanted), name, exact)
    weights.load_strictly(model, state, name)
    return model


def _our_clip(found: hub.Found, settings: Mapping[str, Any], towers: Towers) -> _Parts:
    _demand("clip", settings, found.name)
    try:
        config = CLIPConfig(**settings["config"])
        preprocessing = Preprocessing(**settings["preprocessing"])
        reads = settings["tokenizer"] and towers != "image"
        holds = settings["towers"]
    except (KeyError, TypeError) as error:
        raise BadWeights(f"{found.name}: settings of another version ({error})") from error
    tokenizer = tokenizer_files.ours(found.folder) if reads else None
    return _Parts(config, preprocessing, tokenizer, holds)


def _open_clip(found: hub.Found, settings: Mapping[str, Any], towers: Towers) -> _Parts:
    given = settings["model_cfg"]
    return _Parts(
        open_clip.config(given),
        open_clip.preprocessing(settings.get("preprocess_cfg", {}), given, found.name),
        None if towers == "image" else _open_clip_tokenizer(found, given["text_cfg"]),
        table=open_clip.table(given),
        prefix=open_clip.PREFIX,
        unused=open_clip.UNUSED,
    )


def _open_clip_tokenizer(found: hub.Found, text: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer from where open_clip takes it: a local folder itself, else the hub."""
    repository = tokenizer_files.repository(text)
    folder = found.folder
    if repository is not None and found.origin == "hub":
        folder = hub.fetch_files(repository, found.name, tokenizer_files.FILES)
    return tokenizer_files.for_open_clip(text, folder)


def _transformers_clip(found: hub.Found, settings: Mapping[str, Any], towers: Towers) -> _Parts:
    config = transformers.clip_config(settings, found.name)
    family = settings["model_type"]
    # transformers 5 may keep the picture's part among that of the text.
    processor = found.settings("preprocessor_config.json")
    if processor is None:
        processor = (found.settings("processor_config.json") or {}).get("image_processor")
    reads = towers != "image"
    return _Parts(
        config,
        transformers.preprocessing(processor, family, config.image, found.name),
        tokenizer_files.for_transformers(settings, found.folder) if reads else None,
        table=transformers.CLIP_TABLES[family],
        unused=transformers.CLIP_UNUSED,
    )


def _wrapped(found: hub.Found, settings: Mapping[str, Any], towers: Towers) -> TwoTowers:
    given = settings["model_cfg"]
    preprocessing = open_clip.preprocessing(settings.get("preprocess_cfg", {}), given, found.name)
    reads = towers != "image"
    tokenizer = _open_clip_tokenizer(found, given["text_cfg"]) if reads else None
    model = OpenCLIP(given, preprocessing, tokenizer, name=found.name)
    model.read(found.weights[0])
    model.keep(towers)
    return model


def save_clip(model: CLIP, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write a model into a folder that `load_clip` takes: weights, tokenizer, then settings."""
    settings = {
        "mmfm": 1,
        "model": "clip",
        "towers": model.towers,
        "config": asdict(model.config),
        "preprocessing": asdict(model.preprocessing),
        "tokenizer": model.tokenizer is not None,
    }
    if model.tokenizer is not None:
        model.tokenizer.save(folder)
    weights.save(folder / "model.safetensors", model, settings, dtype)
    text = json.dumps(settings, indent=2, ensure_ascii=False)
    write_whole(folder / "config.json", text + "\n")


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
        what = found.layout.settings
        raise BadInput(f"{found.name}: no {what} beside {first.name} says what it is")
    return beside


def _demand(kind: str, settings: Mapping[str, Any], name: str) -> None:
    given = settings.get("model")
    if given != kind:
        mend = f"; load it with load_{given}" if given in ("vit", "clip") else ""
        raise BadInput(f"{name}: this is a {given!r}, not a {kind!r}{mend}")


def _ours(found: hub.Found, settings: Mapping[str, Any]) -> tuple[ViT, dict[str, Tensor]]:
    _demand("vit", settings, found.name)
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


def _fold_positions(
    state: dict[str, Tensor], config: ViTConfig, name: str, tower: str = ""
) -> dict[str, Tensor]:
    """Publishers give the first tokens positions too; a sum of two constants is one constant.

    The positions that stand before those of the patches are added to the tokens they belong to:
    CLS, distillation, registers, in this order.
    """
    positions = f"{tower}positions"
    tokens = [f"{tower}{part}" for part in ("cls", "distillation", "registers")]
    tokens = [key for key in tokens if key in state]
    misshapen = any(state[k].shape[1:] != (config.dim,) for k in (positions, *tokens) if k in state)
    if positions not in state or misshapen:
        return state  # nothing to fold, or `load_strictly` says what is wrong
    state = dict(state)
    patches = config.grid[0] * config.grid[1]
    ahead, state[positions] = state[positions].split(
        [max(len(state[positions]) - patches, 0), min(patches, len(state[positions]))]
    )
    for key in tokens:
        count = min(len(ahead), len(state[key]))
        state[key] = state[key].clone()
        state[key][:count] += ahead[:count]
        ahead = ahead[count:]
    if len(ahead):
        raise BadWeights(f"{name}: positions for {len(ahead)} more tokens than the model has")
    return state
