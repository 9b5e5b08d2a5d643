"""From a name to a model that runs, and back into a file."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import torch
from torch import Tensor, nn

from mmfm import hub
from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadInput, BadWeights, NotHere
from mmfm.machine import pick_device
from mmfm.models import tokenizer_files, weights, wrapped_denoiser
from mmfm.models.clip import CLIP, CLIPConfig, TextConfig, Towers, TwoTowers
from mmfm.models.denoiser import Denoiser, DenoiserConfig
from mmfm.models.tables import open_clip, timm, transformers
from mmfm.models.tokenizer import SETTINGS, Tokenizer
from mmfm.models.vit import ViT, ViTConfig
from mmfm.models.wrapped import OpenCLIP
from mmfm.models.wrapped_denoiser import StockDenoiser
from mmfm.nn import make_room, shapes_only

_Model = TypeVar("_Model", bound=nn.Module)

_PROCESSOR = "preprocessor_config.json"
# What a tokenizer of transformers' cannot do without: of each row one file. The vocabulary, which
# in one form is two files; then how texts are cleaned and framed.
_TOKENIZER = (
    tokenizer_files.VOCABULARY_FILES,
    ("merges.txt", *(file for file in tokenizer_files.VOCABULARY_FILES if file != "vocab.json")),
    ("tokenizer_config.json",),
)
_MARKS = ("special_tokens_map.json",)  # what some older ones say beside it
_OUR_TOKENIZER = ((SETTINGS,), ("tokenizer.json", "merges.txt", "spiece.model"))


def load_vit(
    name: str | PathLike[str], *, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> ViT:
    """Load a vision transformer: bundled, a path, `timm:NAME` or `hf:OWNER/NAME`.

    The folder may be ours, timm's or transformers'; it is loaded as it is, strictly.
    """
    name = hub.name_of(name)
    _check_dtype(dtype)
    where = pick_device(device)
    found = hub.find(name)
    settings = _settings(found)
    if "mmfm" in settings:
        build, state = _ours(found, settings)
    elif "architecture" in settings:
        build, state = _timm(found, settings)
    elif "model_type" in settings:
        build, state = _transformers(found, settings)
    elif "model_cfg" in settings:
        raise BadInput(f"{name}: this is open_clip's CLIP; load it with load_clip")
    else:
        raise BadInput(f"{name}: its config.json is neither ours, timm's nor transformers'")
    # Half precision is for running: sums of weights are made in float32 at least.
    exact = torch.promote_types(dtype, torch.float32)
    cast = {key: tensor.to(exact) for key, tensor in state.items()}
    config: ViTConfig = build.args[0]
    state = _fold_positions(cast, config, name)
    model = _drafted(build, [config.depth], state, name).to(exact)
    make_room(model)
    weights.load_strictly(model, state, name)
    model.name, model.origin = name, found.origin
    return model.to(where, dtype).eval()


def load_clip(
    name: str | PathLike[str],
    *,
    towers: Towers = "both",
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TwoTowers:
    """Load a CLIP: bundled, a path, `hf:OWNER/NAME` or open_clip's `MODEL/TAG`.

    With one tower named, the other costs nothing: its weights are not read. What is no pair of
    plain transformers, but known to open_clip, is run by open_clip; of that both towers are read,
    and the other one is let go afterwards.
    """
    name = hub.name_of(name)
    if towers not in get_args(Towers):
        raise BadInput(f"towers {towers!r} is none of {', '.join(get_args(Towers))}")
    _check_dtype(dtype)
    where = pick_device(device)
    found = hub.find(name, hub.FOR_CLIP)
    settings = _settings(found)
    foreign = None
    if "model_cfg" in settings:
        with _translating(found):
            open_clip.check_settings(settings, _settings_of(found))
            foreign = open_clip.unlike(settings["model_cfg"])
    model: TwoTowers
    if "mmfm" in settings:
        model = _joined(found, _our_clip(found, settings, towers), towers, dtype)
    elif foreign is not None:
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


def load_denoiser(
    name: str | PathLike[str], *, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Denoiser:
    """Load a denoiser: bundled, the folder of a training run, another path, or `hf:OWNER/NAME`.

    The folder may be ours, or diffusers': a pipeline that is a `UNet2DModel` and its betas, or such
    a network alone, which is then taken to have learned as DDPM does. Those are wrapped.
    """
    name = hub.name_of(name)
    _check_dtype(dtype)
    where = pick_device(device)
    found = hub.find(name, hub.FOR_DENOISER, glance=partial(_check_pipeline, name=name))
    settings = _settings(found)
    if "mmfm" in settings:
        model = _our_denoiser(found, settings, dtype)
    elif str(settings.get("_class_name", "")).startswith("UNet"):
        model = _stock_denoiser(found, settings, dtype)
    else:
        raise BadInput(
            f"{name}: its {found.layout.settings} is not that of a denoiser of ours, nor of a "
            "UNet2DModel of diffusers'"
        )
    model.name, model.origin = name, found.origin
    return model.to(where, dtype).eval()


def _our_denoiser(found: hub.Found, settings: Mapping[str, Any], dtype: torch.dtype) -> Denoiser:
    name = found.name
    _demand("denoiser", settings, name)
    with _translating(found):
        config = DenoiserConfig(**settings["config"])
        _check_numbers(config)
        labels = tuple(map(str, settings["labels"]))
        reads = str(settings.get("reads", ""))  # which older ones do not say
        best, lessons = dict(settings["sampling"]), _lessons(settings)
        build = partial(Denoiser, config, labels, best, reads, **lessons)
    layers = config.depth if config.kind == "dit" else sum(config.depths) + config.middle
    state = weights.read(found.weights)
    exact = torch.promote_types(dtype, torch.float32)
    with _translating(found):
        model = _drafted(build, [layers], state, name).to(exact)
    make_room(model)
    weights.load_strictly(model, {key: tensor.to(exact) for key, tensor in state.items()}, name)
    return model


_INDEX = "model_index.json"  # what a pipeline of diffusers' is made of
_SCHEDULER = ("scheduler/scheduler_config.json", "scheduler_config.json")


def _check_pipeline(folder: Path, name: str) -> None:
    """Look at what a pipeline is made of before its weights are fetched, gigabytes perhaps."""
    index = hub.Found(name, "hub", folder, ()).settings(_INDEX)
    if index is not None:
        wrapped_denoiser.check_index(index, name)


def _stock_denoiser(
    found: hub.Found, settings: Mapping[str, Any], dtype: torch.dtype
) -> StockDenoiser:
    name = found.name
    index, scheduler = _pipeline(found)
    with _translating(found, _SCHEDULER[0]):
        noising = wrapped_denoiser.noising(scheduler, name)
    state = wrapped_denoiser.renamed(weights.read(found.weights))
    with _translating(found):
        layers = [settings.get("layers_per_block", 2), len(settings.get("block_out_channels", ()))]
        if any(type(count) is not int for count in layers):
            raise TypeError(f"layers_per_block is {layers[0]!r:.40}")
        net = _drafted(partial(wrapped_denoiser.network, settings, name), layers, state, name)
        given = cast("Mapping[str, Any]", net.config)
        classes = given["num_class_embeds"] or 0
        labels = wrapped_denoiser.labels_of(index, classes, name)
        config = wrapped_denoiser.config(given, noising, labels, name)
        wrapped_denoiser.check_shapes(net, config, name)
    exact = torch.promote_types(dtype, torch.float32)
    net = nn.Module.to(net, exact)  # diffusers' own way warns of nothing in particular
    make_room(net)
    weights.load_strictly(net, {key: tensor.to(exact) for key, tensor in state.items()}, name)
    return StockDenoiser(
        net,
        config,
        noising,
        labels=labels,
        null=bool(labels) and len(labels) < classes,
        scheduler=scheduler,
    )


def _pipeline(found: hub.Found) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a network of diffusers' is a part of, and how its noise was added; {} where unsaid."""
    hub.complete(found, (), also=(_INDEX,))
    index = found.settings(_INDEX)
    if index is not None:
        wrapped_denoiser.check_index(index, found.name)
        hub.complete(found, (_SCHEDULER,))
    elif found.origin == "local" and (found.folder.parent / _INDEX).is_file():
        raise BadInput(
            f"{found.name}: this is a part of a pipeline, which says how noise was added; name the "
            f"whole, {found.folder.parent}"
        )
    for file in _SCHEDULER:
        if (scheduler := found.settings(file)) is not None:
            return index or {}, scheduler
    if index is not None:
        raise NotHere(f"{found.name}: a pipeline without its {_SCHEDULER[0]}")
    return {}, {}


_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def _check_dtype(dtype: torch.dtype) -> None:
    if dtype not in _DTYPES:
        known = ", ".join(str(one) for one in _DTYPES)
        raise BadInput(f"dtype {dtype} is none in which a model runs here: {known}")


def _drafted(
    build: Callable[[], _Model], depths: Sequence[int], state: Mapping[str, Tensor], name: str
) -> _Model:
    """A model of shapes without numbers, held against the weights.

    So settings that ask for a model of any size cost nothing, and fresh weights are not drawn only
    to be written over.
    """
    if max(depths) > len(state):  # nor may it take all day to lay out
        raise BadWeights(f"{name}: says that it has {max(depths)} layers, of {len(state)} weights")
    try:
        with shapes_only():
            model = build()
    except RuntimeError as error:
        raise BadWeights(f"{name}: settings of a size that no model has ({error})") from error
    weights.check(model, state, name)
    return model


def _settings_of(found: hub.Found, file: str | None = None) -> str:
    return f"{found.name}: its {file or found.layout.settings}"


@contextmanager
def _translating(found: hub.Found, file: str | None = None) -> Generator[None]:
    """Settings that somebody damaged can trip whoever reads them: say whose they are."""
    where = _settings_of(found, file)
    try:
        yield
    except BadInput as error:
        if str(error).startswith(found.name):
            raise
        raise BadInput(f"{where}: {error}") from error
    except (
        ArithmeticError,
        AttributeError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise BadWeights(f"{where}: settings of another version, or damaged ({what})") from error


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
    sizes = weights.shapes(found.weights)
    depths = [parts.config.image.depth, parts.config.text.depth]
    drafts = {
        which: partial(CLIP, parts.config, parts.preprocessing, parts.tokenizer, towers=which)
        for which in (parts.towers, towers)
    }
    _drafted(drafts[parts.towers], depths, parts.ours(sizes, name, exact), name)
    if towers != parts.towers:
        other = "text" if towers == "image" else "image"
        homes = parts.homes(sizes, name)
        wanted = [key for key, home in homes.items() if not home.startswith(other)]
    with shapes_only():
        model = drafts[towers]()
    model = model.to(exact)
    make_room(model)
    state = parts.ours(weights.read(found.weights, wanted), name, exact)
    weights.load_strictly(model, state, name)
    return model


def _our_clip(found: hub.Found, settings: Mapping[str, Any], towers: Towers) -> _Parts:
    _demand("clip", settings, found.name)
    with _translating(found):
        config = CLIPConfig(**settings["config"])
        for part in (config, config.image, config.text):
            _check_numbers(part)
        preprocessing = Preprocessing(**settings["preprocessing"])
        reads = settings["tokenizer"] and towers != "image"
        holds: Towers = settings["towers"]
        if holds not in get_args(Towers):
            raise ValueError(f"towers {holds!r}")
    if reads:
        hub.complete(found, _OUR_TOKENIZER)
    tokenizer = tokenizer_files.ours(found.folder) if reads else None
    return _Parts(config, preprocessing, tokenizer, holds)


def _open_clip(found: hub.Found, settings: Mapping[str, Any], towers: Towers) -> _Parts:
    given = settings["model_cfg"]
    with _translating(found):
        config = open_clip.config(given)
        preprocessing = open_clip.preprocessing(
            settings.get("preprocess_cfg", {}), given, found.name
        )
    return _Parts(
        config,
        preprocessing,
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
        folder = hub.fetch_files(repository, found.name, _TOKENIZER, also=_MARKS)
    return tokenizer_files.for_open_clip(text, folder)


def _transformers_clip(found: hub.Found, settings: Mapping[str, Any], towers: Towers) -> _Parts:
    with _translating(found):
        transformers.check_settings(settings, _settings_of(found))
        config = transformers.clip_config(settings, found.name)
    family = settings["model_type"]
    reads = towers != "image"
    processor = _processor(found, _TOKENIZER if reads else (), _MARKS if reads else ())
    with _translating(found, _PROCESSOR):
        preprocessing = transformers.preprocessing(processor, family, config.image, found.name)
    return _Parts(
        config,
        preprocessing,
        tokenizer_files.for_transformers(settings, found.folder) if reads else None,
        table=transformers.CLIP_TABLES[family],
        unused=transformers.CLIP_UNUSED,
    )


def _processor(
    found: hub.Found, needs: Sequence[Sequence[str]] = (), also: Sequence[str] = ()
) -> dict[str, Any] | None:
    """What transformers does with pictures; None where its publisher says nothing of it.

    transformers 5 may keep the picture's part among that of the text. In one go with it comes what
    else is needed from the hub.
    """
    own, joint = _PROCESSOR, "processor_config.json"
    if not (found.settings(joint) or {}).get("image_processor"):
        needs = (*needs, (own,), (own, joint))
    hub.complete(found, needs, also)
    return found.settings(own) or (found.settings(joint) or {}).get("image_processor")


def _wrapped(found: hub.Found, settings: Mapping[str, Any], towers: Towers) -> TwoTowers:
    given = settings["model_cfg"]
    with _translating(found):
        preprocessing = open_clip.preprocessing(
            settings.get("preprocess_cfg", {}), given, found.name
        )
    reads = towers != "image"
    tokenizer = _open_clip_tokenizer(found, given["text_cfg"]) if reads else None
    model = OpenCLIP(given, preprocessing, tokenizer, name=found.name)
    model.read(found.weights[0])
    model.keep(towers)
    return model


def save_clip(model: CLIP, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write a model into a folder that `load_clip` takes: weights, tokenizer, then settings."""
    if model.tokenizer is not None:
        model.tokenizer.save(folder)
    weights.save_folder(folder, model, clip_settings(model), dtype)


def clip_settings(model: CLIP) -> dict[str, Any]:
    """What it takes, apart from its weights and its tokenizer, to build a CLIP of ours again."""
    return {
        "mmfm": 1,
        "model": "clip",
        "towers": model.towers,
        "config": asdict(model.config),
        "preprocessing": asdict(model.preprocessing),
        "tokenizer": model.tokenizer is not None,
    }


def clip_from(settings: Mapping[str, Any], tokenizer: Tokenizer) -> CLIP:
    """A CLIP with both towers as its settings say, before it has its weights."""
    config = CLIPConfig(**settings["config"])
    return CLIP(config, Preprocessing(**settings["preprocessing"]), tokenizer)


def save_vit(model: ViT, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write a model into a folder that `load_vit` takes: weights, then settings, each whole."""
    weights.save_folder(folder, model, vit_settings(model), dtype)


def vit_settings(model: ViT) -> dict[str, Any]:
    """What it takes, apart from its weights, to build a ViT of ours again."""
    return {
        "mmfm": 1,
        "model": "vit",
        "config": asdict(model.config),
        "preprocessing": asdict(model.preprocessing),
        "labels": list(model.labels),
    }


def vit_from(settings: Mapping[str, Any]) -> ViT:
    """A ViT as its settings say, before it has its weights."""
    config, labels = ViTConfig(**settings["config"]), tuple(settings["labels"])
    return ViT(config, Preprocessing(**settings["preprocessing"]), labels)


def save_denoiser(model: Denoiser, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write a model into a folder that `load_denoiser` takes: weights, then settings."""
    weights.save_folder(folder, model, denoiser_settings(model), dtype)


def denoiser_settings(model: Denoiser) -> dict[str, Any]:
    """What it takes, apart from its weights, to build a denoiser of ours again."""
    if isinstance(model, StockDenoiser):
        raise BadInput(
            f"{model.source} is kept as diffusers keeps it: mmfm export --to diffusers writes that"
        )
    # Said only where there is something to say, as in files of before these were noted.
    lessons: dict[str, Any] = {} if model.guidable else {"guidable": False}
    if model.taught is not None:
        lessons["taught"] = list(model.taught)
    return {
        "mmfm": 1,
        "model": "denoiser",
        "config": asdict(model.config),
        "labels": list(model.labels),
        "sampling": model.sampling,
        "reads": model.reads,
        **lessons,
    }


def denoiser_from(settings: Mapping[str, Any]) -> Denoiser:
    """A denoiser of ours as its settings say, before it has its weights."""
    sampling = {  # JSON knows lists only
        name: tuple(value) if isinstance(value, list) else value
        for name, value in dict(settings["sampling"]).items()
    }
    config = DenoiserConfig(**settings["config"])
    labels, reads = tuple(settings["labels"]), settings["reads"]
    return Denoiser(config, labels, sampling, reads, **_lessons(settings))


def _lessons(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a denoiser was and was not taught, as far as its settings say."""
    guidable, taught = settings.get("guidable", True), settings.get("taught")
    if type(guidable) is not bool:
        raise TypeError(f"guidable is {guidable!r:.40}")
    if taught is not None and not all(type(steps) is int and steps > 0 for steps in taught):
        raise TypeError(f"taught is {taught!r:.40}")
    return {"guidable": guidable, "taught": taught}


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


def _check_numbers(config: ViTConfig | TextConfig | CLIPConfig | DenoiserConfig) -> None:
    for field in fields(config):
        value = getattr(config, field.name)
        if field.type is int and type(value) is not int:
            raise TypeError(f"{field.name} is {value!r:.40}")


def _demand(kind: str, settings: Mapping[str, Any], name: str) -> None:
    given = settings.get("model")
    if given != kind:
        mend = f"; load it with load_{given}" if given in ("vit", "clip", "denoiser") else ""
        raise BadInput(f"{name}: this is a {given!r}, not a {kind!r}{mend}")


# A ViT of some settings, and its weights.
_Draft = tuple[partial[ViT], dict[str, Tensor]]


def _ours(found: hub.Found, settings: Mapping[str, Any]) -> _Draft:
    _demand("vit", settings, found.name)
    with _translating(found):
        config = ViTConfig(**settings["config"])
        _check_numbers(config)
        preprocessing = Preprocessing(**settings["preprocessing"])
        labels = tuple(settings.get("labels", ()))
    return partial(ViT, config, preprocessing, labels), weights.read(found.weights)


def _timm(found: hub.Found, settings: Mapping[str, Any]) -> _Draft:
    built = timm.build(str(found.folder), found.name)
    with _translating(found):
        config = timm.config(built, found.name)
        preprocessing = timm.preprocessing(built, config, found.name)
        labels = timm.labels(settings, built)
    theirs = weights.read(found.weights)
    state = weights.translate(theirs, timm.table(built), found.name, unused=timm.UNUSED)
    return partial(ViT, config, preprocessing, labels), state


def _transformers(found: hub.Found, settings: Mapping[str, Any]) -> _Draft:
    transformers.check_settings(settings, _settings_of(found))
    processor = _processor(found)
    theirs = weights.read(found.weights)
    family = settings["model_type"]
    with _translating(found):
        config = transformers.config(settings, theirs, found.name)
        labels = transformers.labels(settings) if config.classes else ()
    with _translating(found, _PROCESSOR):
        preprocessing = transformers.preprocessing(processor, family, config, found.name)
    state = weights.translate(
        theirs,
        transformers.TABLES[family],
        found.name,
        prefix=transformers.prefix(theirs),
        unused=transformers.unused(theirs),
    )
    return partial(ViT, config, preprocessing, labels), state


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
        # Of shapes alone there is nothing to sum, and torch would import sympy for it: a second.
        if not state[key].is_meta:
            state[key] = state[key].clone()
            state[key][:count] += ahead[:count]
        ahead = ahead[count:]
    if len(ahead):
        raise BadWeights(f"{name}: positions for {len(ahead)} more tokens than the model has")
    return state
