"""From the files of a checkpoint to the tokenizer that its publisher uses with it.

    ours               a folder that `Tokenizer.save` wrote
    for_open_clip      as open_clip does, by the model's configuration
    for_transformers   as transformers does, by the model's settings

Nothing is guessed from a name: how texts are cleaned, framed and padded is read from the files.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmfm.errors import BadInput, BadWeights, NotHere
from mmfm.models.tokenizer import (
    SETTINGS,
    ClipBPE,
    Frame,
    HuggingFace,
    Siglip,
    Tokenizer,
    clip_bpe,
    parse_pairs,
)

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor
    from tokenizers import Tokenizer as Library

# What a loader fetches beside the weights. The first one there is read, in this order.
VOCABULARY_FILES = (
    "tokenizer.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
)
FILES = (*VOCABULARY_FILES, "merges.txt", "tokenizer_config.json", "special_tokens_map.json")


def ours(folder: Path) -> Tokenizer:
    """The tokenizer that `save` wrote into a folder."""
    path = folder / SETTINGS
    if not path.is_file():
        raise NotHere(f"no tokenizer: {folder} has no {SETTINGS}; copy it from where it was saved")
    settings = _json(path)
    try:
        kind, clean = settings["kind"], settings["clean"]
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in settings["frame"].items()
        }
        frame = Frame(**fields)
        if kind == ClipBPE.KIND:
            return ClipBPE(_read_pairs(folder / "merges.txt"), frame.context, clean)
        if kind == HuggingFace.KIND:
            library = _read_library(folder / "tokenizer.json")
            return HuggingFace(library, frame, clean, literal=settings["literal"])
        if kind == Siglip.KIND:
            return Siglip(_read_pieces(folder / "spiece.model"), frame)
    except (KeyError, TypeError) as error:
        raise BadWeights(f"{path}: settings of another version ({error})") from error
    raise BadWeights(f"{path}: a kind of tokenizer that we don't know, {kind!r}")


def repository(text_cfg: Mapping[str, Any]) -> str | None:
    """The hub repository where open_clip looks for a model's tokenizer; None for CLIP's own."""
    return text_cfg.get("hf_tokenizer_name") or None


def for_open_clip(text_cfg: Mapping[str, Any], folder: Path) -> Tokenizer:
    """The tokenizer that open_clip gives a model, by the `text_cfg` of its configuration.

    Where that names a `repository`, its files (`FILES`) are expected in the folder; else it is
    CLIP's own, and the folder is not looked at.
    """
    context = text_cfg.get("context_length", 77)
    options = dict(text_cfg.get("tokenizer_kwargs") or {})
    strip = options.pop("strip_sep_token", False)
    theirs = repository(text_cfg)
    clean = options.pop("clean", "whitespace" if theirs else "lower")
    mode = text_cfg.get("tokenizer_mode") or "plain"
    if options or mode not in ("plain", "clips"):
        raise BadInput(f"{folder}: a tokenizer with options that we don't know: {mode}, {options}")
    if theirs is None:
        return clip_bpe(context, clean=clean)
    library, config = _library_in(folder, theirs)
    frame = _frame(library, config, context, folder)
    if strip:
        frame = replace(frame, blank=_mark(library.token_to_id, config, "sep_token", folder))
    if mode == "clips":
        begin, end, last = (
            (_mark(library.token_to_id, config, name, folder),)
            for name in ("bos_token", "eos_token", "cls_token")
        )
        frame = Frame(context, begin, end, frame.pad, last)
    return HuggingFace(library, frame, clean, literal=False)


def for_transformers(settings: Mapping[str, Any], folder: Path) -> Tokenizer:
    """The tokenizer that transformers gives a model, by its `config.json` and the files beside it.

    Rows are as long as the model has positions: what SigLIP was trained on, and CLIP allows.
    """
    family = settings.get("model_type")
    text = settings.get("text_config") or {}
    context = text.get("max_position_embeddings", 64 if family == "siglip" else 77)
    config = _config_in(folder)
    kind = config.get("tokenizer_class", "SiglipTokenizer" if family == "siglip" else "")
    if kind == "SiglipTokenizer" and (folder / "spiece.model").is_file():
        return _siglip_in(folder, context)
    library, config = _library_in(folder)
    # SigLIP 2 learnt from lower case. Its first folders say so in a setting of the Gemma tokenizer
    # that transformers doesn't read; the later ones by a class of their own.
    if kind.startswith("Siglip2") or (kind.startswith("Gemma") and config.get("do_lower_case")):
        from tokenizers.normalizers import Lowercase, Sequence

        first = [library.normalizer] if library.normalizer else []
        library.normalizer = Sequence([Lowercase(), *first])
    frame = _frame(library, config, context, folder)
    clean = "siglip" if kind == "SiglipTokenizer" else "none"
    return HuggingFace(library, frame, clean, literal=False)


def _vocabulary_in(folder: Path, usual: str = "") -> Path:
    """The file with the pieces: of several, the one that says most."""
    for name in VOCABULARY_FILES:
        if (folder / name).is_file():
            return folder / name
    names = ", ".join(VOCABULARY_FILES)
    where = f" (open_clip takes it from {usual})" if usual else ""
    raise NotHere(f"no tokenizer: {folder} has none of {names}; copy the publisher's there{where}")


def _library_in(folder: Path, usual: str = "") -> tuple["Library", dict[str, Any]]:
    """The pieces of a folder and its settings; transformers rewrites what is no tokenizer.json."""
    path = _vocabulary_in(folder, usual)
    if path.name == "tokenizer.json":
        return _read_library(path), _config_in(folder)
    from transformers import AutoTokenizer

    try:
        rewritten = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # whatever the damaged file makes of the code of its class
        reason = str(error).strip().split("\n")[0]
        raise BadWeights(f"{path}: transformers can't read this tokenizer ({reason})") from error
    return rewritten.backend_tokenizer, {**_config_in(folder), **rewritten.special_tokens_map}


def _read_library(path: Path) -> "Library":
    from tokenizers import Tokenizer as Library

    if not path.is_file():
        raise NotHere(f"no tokenizer: {path} is not there; copy it from where the model was saved")
    try:
        return Library.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise BadWeights(f"{path}: not a whole tokenizer.json ({error})") from error


def _siglip_in(folder: Path, context: int) -> Tokenizer:
    model = _read_pieces(folder / "spiece.model")
    config = {"pad_token": "</s>", **_config_in(folder)}

    def find(token: str) -> int | None:
        number = model.piece_to_id(token)
        return number if model.id_to_piece(number) == token else None

    end, pad = (_mark(find, config, name, folder) for name in ("eos_token", "pad_token"))
    return Siglip(model, Frame(context, end=(end,), pad=pad))


def _read_pieces(path: Path) -> "SentencePieceProcessor":
    from sentencepiece import SentencePieceProcessor

    if not path.is_file():
        raise NotHere(f"no tokenizer: {path} is not there; copy it from where the model was saved")
    model = SentencePieceProcessor()
    try:
        model.load_from_serialized_proto(path.read_bytes())
        model.get_piece_size()
    except (RuntimeError, OSError) as error:
        raise BadWeights(f"{path}: not a whole SentencePiece model") from error
    return model


def _config_in(folder: Path) -> dict[str, Any]:
    """What the files beside the vocabulary say, each special token by its text alone."""
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            config |= _json(folder / name)
    for side in ("padding_side", "truncation_side"):
        if config.get(side, "right") != "right":
            raise BadInput(f"{folder}: {side} is {config[side]!r}; text towers are read rightwards")
    return {
        key: value["content"] if isinstance(value, dict) and "content" in value else value
        for key, value in config.items()
        if value is not None
    }


# What a special token is called where no file of the folder says it.
_USUAL = {
    "pad_token": ("<pad>", "[PAD]", "<|endoftext|>"),
    "sep_token": ("[SEP]", "</s>"),
    "cls_token": ("[CLS]", "<s>"),
    "bos_token": ("<s>",),
    "eos_token": ("</s>",),
}


def _mark(
    find: Callable[[str], int | None], config: Mapping[str, Any], name: str, folder: Path
) -> int:
    """The number of a special token."""
    said = config.get(name)
    for token in _USUAL[name] if said is None else (said,):
        number = find(token)
        if number is not None:
            return number
    raise BadWeights(f"{folder}: the tokenizer has no {name}{f' {said!r}' if said else ''}")


def _frame(library: "Library", config: Mapping[str, Any], context: int, folder: Path) -> Frame:
    """What the library sets around a text: begin and end are what it adds to a trial."""
    library.no_padding()
    trial = library.encode("a")
    ids, added = trial.ids, trial.special_tokens_mask
    begin = next((i for i, mark in enumerate(added) if not mark), len(added))
    end = next((i for i, mark in enumerate(reversed(added)) if not mark), 0)
    return Frame(
        context,
        tuple(ids[:begin]),
        tuple(ids[len(ids) - end :]),
        _mark(library.token_to_id, config, "pad_token", folder),
    )


def _read_pairs(path: Path) -> tuple[tuple[str, str], ...]:
    if not path.is_file():
        raise NotHere(f"no tokenizer: {path} is not there; copy it from where the model was saved")
    return parse_pairs(path.read_text(encoding="utf-8").rstrip("\n").split("\n"), path)


def _json(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadWeights(f"{path}: not whole JSON ({error})") from error
    if not isinstance(settings, dict):
        raise BadWeights(f"{path}: holds something else than settings")
    return settings
