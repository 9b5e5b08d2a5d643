"""What labels look like to a model: a unit row for each, made once and kept on disk.

The text tower reads every label in every template; that takes seconds for ten labels and minutes
for ten thousand. So each row is kept under the model and the sentences it was made of, in one small
database in the user's cache, and is found there the next time, whatever labels stand beside it.
"""

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mmfm.errors import BadInput
from mmfm.models.clip import CLIP, TwoTowers
from mmfm.models.retrieval import class_vectors
from mmfm.models.wrapped import OpenCLIP

Progress = Callable[[int, int], None]  # (done, total): labels
Sentences = Sequence[str]  # all that is said of one label

_FILE = "label-vectors.sqlite"
_AT_A_TIME = 64  # labels: so many are lost at most when the reading is interrupted
_SAMPLED = 64  # numbers of each weight that tell one model from another
_PROBES = ("A red heart, and 3 blue stars!", "빨간 하트와 파란 별")  # show how texts are cut up
_LARGEST = 1_000_000_000  # bytes; beyond, the oldest half is let go


def fingerprint(model: TwoTowers) -> str:
    """Tell models apart by their weights, settings and tokenizer, whatever they are called.

    A few numbers of every weight are looked at: training changes them all. Settings tell apart what
    the same weights do with another activation, say.
    """
    digest = hashlib.sha256()
    for name, weight in model.state_dict().items():
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(_some(weight).float().cpu().numpy().tobytes())
    digest.update(json.dumps(_settings(model), sort_keys=True).encode())
    tokenizer = model.tokenizer
    if tokenizer is not None:
        digest.update(f"{tokenizer.vocabulary} {tokenizer.clean} {tokenizer.frame}".encode())
    digest.update(repr(model.preprocessing).encode())
    return digest.hexdigest()[:32]


def _settings(model: TwoTowers) -> Any:
    """What a model was built by."""
    if isinstance(model, OpenCLIP):
        return model.settings
    return _changed(model.config) if isinstance(model, CLIP) else None


def _changed(config: Any) -> dict[str, Any]:
    """What a configuration says otherwise than by default.

    So a field that a later version adds makes no known model another one.
    """
    said: dict[str, Any] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            said[field.name] = _changed(value)
        elif value != field.default:
            said[field.name] = value
    return said


def text_fingerprint(model: CLIP) -> str:
    """Tell text towers apart, with their tokenizers, by the tokens that they make of a text.

    The picture tower is not looked at, so it need not be there; and numbers are looked at in half
    precision, so a copy of a model that was saved in float16 is the same.
    """
    if model.text is None:
        raise BadInput(f"{model.source}: was loaded without its text tower")
    digest = hashlib.sha256()
    for name, weight in model.text.state_dict().items():
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(_some(weight).half().cpu().numpy().tobytes())
    c = model.text.config
    digest.update(f"{c.heads} {c.activation} {c.causal} {c.norm_eps}".encode())
    if model.tokenizer is not None:
        digest.update(model.tokenizer(_PROBES).numpy().tobytes())
    return digest.hexdigest()[:32]


def _some(weight: Tensor) -> Float[Tensor, " n"]:
    flat = weight.detach().flatten()
    return flat[:: max(1, len(flat) // _SAMPLED)][:_SAMPLED]


def same_vectors(vectors: Float[Tensor, "k d"], names: Sequence[str]) -> str:
    """A name for a set of labels with all that is said of them, as the model read it."""
    rounded = vectors.detach().float().cpu().mul(1000).round().to(torch.int16)
    digest = hashlib.sha256(rounded.numpy().tobytes())
    digest.update("\n".join(names).encode())
    return digest.hexdigest()[:32]


def cache_file() -> Path:
    """Where the rows are kept: in MMFM_CACHE, else in the user's cache folder."""
    if folder := os.environ.get("MMFM_CACHE"):
        return Path(folder).expanduser() / _FILE
    import platformdirs

    return platformdirs.user_cache_path("mmfm") / _FILE


def label_vectors(
    model: TwoTowers,
    labels: Sequence[Sentences],
    *,
    cache: Path | None,
    progress: Progress | None = None,
    note: Callable[[str], None] = lambda line: None,
    mark: str | None = None,
) -> Float[Tensor, "k d"]:
    """A unit row a label, from the cache or from the text tower; `mark` is the model's fingerprint.

    Where the cache cannot be read or written, `note` is told once, and the tower does the work.
    """
    mark = mark or fingerprint(model)
    keys = [_key(mark, sentences) for sentences in labels]
    found: dict[bytes, np.ndarray] = {}
    if cache is not None:
        try:
            found = _read(cache, keys, model.dim)
        except (sqlite3.Error, OSError) as error:
            note(f"{cache}: label vectors cannot be kept there ({error})")
            cache = None
    missing = list(dict.fromkeys(key for key in keys if key not in found))
    said = dict(zip(keys, labels, strict=True))
    for start in range(0, len(missing), _AT_A_TIME):
        if progress is not None:
            progress(len(keys) - len(missing) + start, len(keys))
        part = missing[start : start + _AT_A_TIME]
        rows = class_vectors(model, [said[key] for key in part]).float().cpu().numpy()
        fresh = dict(zip(part, rows, strict=True))
        found |= fresh
        if cache is not None:
            try:
                _write(cache, fresh)
            except (sqlite3.Error, OSError) as error:
                note(f"{cache}: label vectors cannot be kept there ({error})")
                cache = None
    if progress is not None and missing:
        progress(len(keys), len(keys))
    rows = np.stack([found[key] for key in keys]) if keys else np.empty((0, model.dim), np.float32)
    return torch.from_numpy(rows).to(model.weight.device)


def _key(mark: str, sentences: Sentences) -> bytes:
    return hashlib.sha256("\n".join([mark, *sentences]).encode()).digest()


# --- the database -----------------------------------------------------------------------------


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, timeout=10)
    try:
        database.execute(
            "create table if not exists vectors "
            "(key blob primary key, row blob not null, made integer not null) without rowid"
        )
    except sqlite3.DatabaseError as error:
        database.close()
        if isinstance(error, sqlite3.OperationalError):  # locked, read-only: not to be thrown away
            raise
        path.unlink()  # a damaged cache holds nothing that could not be made again
        return _open(path)
    return database


def _read(path: Path, keys: Sequence[bytes], dim: int) -> dict[bytes, np.ndarray]:
    if not path.is_file():
        return {}
    found: dict[bytes, np.ndarray] = {}
    with closing(_open(path)) as database:
        for start in range(0, len(keys), 500):
            part = list(dict.fromkeys(keys[start : start + 500]))
            marks = ",".join("?" * len(part))
            query = f"select key, row from vectors where key in ({marks})"
            for key, row in database.execute(query, part):
                if len(row) == 4 * dim:
                    found[key] = np.frombuffer(row, np.float32)
    return found


def _write(path: Path, rows: dict[bytes, np.ndarray]) -> None:
    with closing(_open(path)) as database, database:
        database.executemany(
            "insert or replace into vectors values (?, ?, ?)",
            [(key, row.tobytes(), int(time.time())) for key, row in rows.items()],
        )
        if path.stat().st_size > _LARGEST:
            database.execute(
                "delete from vectors where made <= "
                "(select made from vectors order by made limit 1 offset "
                "(select count(*) / 2 from vectors))"
            )
