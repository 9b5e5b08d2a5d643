"""Fetch a public model, so that it is whole on this machine when there is no network.

    order = look_up("ViT-B-32/laion2b_s34b_b79k")   # what belongs to it, and how much is to come
    for done, total in fetch(order): ...            # bytes; to be stopped and taken up at any time

Files are brought and none is loaded: the weights, the settings and other small files beside them,
the card, and the tokenizer where another repository lends it.

A file gathers in the cache of the hub's own library, and goes on from where it was after a broken
line, Ctrl-C or a kill. It takes its name when its checksum is the one that the hub states: SHA-256,
and of small files git's own. Only then it counts, and the library lays it out as if it had fetched
it itself.
"""

import hashlib
import http.client
import json
import os
import re
import shutil
import time
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from glob import escape
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mmfm import hub
from mmfm.errors import BadData, BadInput, BadWeights, InUse, NotHere, Offline, OutOfSpace
from mmfm.files import FULL, sync_folders
from mmfm.hub import in_words

# What loaders read beside the weights: of a tokenizer what mmfm.models.tokenizer_files reads (it
# would import torch), of a picture how it is prepared, of a pipeline what it is made of.
TOKENIZER = (
    "tokenizer.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
_READ = (
    *TOKENIZER,
    "tokenizer_settings.json",
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "model_index.json",
    "scheduler/scheduler_config.json",
    "scheduler_config.json",
)
_CARD = "README.md"

_CHUNK = 1 << 20  # bytes
_TRIES = 4  # in a row that bring nothing, before a broken line is given up
_PAUSE = 1.0  # seconds before another one
_STALL_SECONDS = 15.0  # a server that sends nothing for so long is asked anew, or was never there
_CHECKSUM = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class File:
    """One file of a revision of a repository."""

    repository: str
    revision: str | None  # as it was asked for; None: the usual one
    commit: str  # which that is
    path: str
    size: int  # bytes
    checksum: str  # SHA-256 of the content, or of a small file the one by which git knows it

    @property
    def place(self) -> Path:
        """Where the cache shows the file."""
        return hub.home_of(self.repository) / "snapshots" / self.commit / self.path

    @property
    def blob(self) -> Path:
        """Where the cache keeps the content, which several files may share."""
        return hub.home_of(self.repository) / "blobs" / self.checksum

    @property
    def part(self) -> Path:
        """Where the content gathers; the library's earlier versions called it so."""
        return self.blob.with_name(f"{self.checksum}.incomplete")

    @property
    def is_here(self) -> bool:
        """Whether all of its content is."""
        return self.place.is_file() or self.blob.is_file()

    @property
    def weighs(self) -> bool:
        """Whether it is one of the weights, and no small file beside them."""
        return self.path.endswith((".safetensors", ".bin"))

    @property
    def have(self) -> int:
        """How many of its bytes are here."""
        if self.is_here:
            return self.size
        return min(self.part.stat().st_size, self.size) if self.part.is_file() else 0


@dataclass(frozen=True)
class Order:
    """The files that make a model whole; none of them where it is."""

    name: str
    files: tuple[File, ...] = ()
    certain: bool = True  # False: whether small files are missing only the hub knows, and is away

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        return sum(file.size for file in self.files)

    @property
    def left(self) -> int:
        """Bytes that are still to come."""
        return self.size - sum(file.have for file in self.files)


# --- what is to come ----------------------------------------------------------------------------


def look_up(name: str) -> Order:
    """Find out what is missing of a model; of one that is whole here, nobody is asked.

    Who asks for this wants the hub, so that a slow line is given more time than when a model is
    loaded.
    """
    origin, found = hub.source(name, _STALL_SECONDS), hub.here(name, _STALL_SECONDS)
    if origin is None:
        return Order(name)
    if found is None:
        hub.demand_network(name, _STALL_SECONDS)
    else:
        missing = _missing(origin, found)
        if missing == []:
            return Order(name)
        if not hub.network(_STALL_SECONDS):
            if missing:
                raise Offline(
                    f"{name}: its weights are here, but not {missing[0]}, and {hub.why_offline()}; "
                    "the same command with a network fetches it"
                )
            return Order(name, certain=False)
    wanted = _first(origin, name) if found is None else _rest(origin, found)
    return Order(name, tuple(dict.fromkeys(wanted)))


def _missing(origin: hub.Source, found: hub.Found) -> list[str] | None:
    """Files that a loader would miss beside the weights; None where only the hub can say."""
    asked = {origin.repository: _READ} if _reads_beside(found) else {}
    asked |= _lenders(found.settings() or {})
    missing: list[str] = []
    certain = True
    for repository, names in asked.items():
        folder = hub.folder_of(repository, found.name)
        listed = None if folder is None else hub.listed_files(repository, folder)
        if folder is None:
            missing.append(f"the files that hf:{repository} lends it")
        elif listed is None:
            certain = False
        else:
            lacking = (file for file in names if file in listed and not (folder / file).is_file())
            missing += (f"{file} of hf:{repository}" for file in lacking)
    return missing if missing or certain else None


def _first(origin: hub.Source, name: str) -> list[File]:
    """All files of a model of which no weights are here."""
    offered = _offered(origin.repository)
    layout = _layout(offered, origin, name)
    if origin.preset is None:
        small = _small(offered)
        settings = _settings(offered[layout.settings], name)
        index = offered.get("model_index.json")
        _refuse_foreign(settings, None if index is None else _settings(index, name), name)
    else:
        # By their own settings, beside open_clip's, the pages list the weights.
        settings = origin.preset
        own = offered.get(hub.OPEN_CLIP.settings) if layout is hub.OPEN_CLIP else None
        small = [] if own is None else [own]
    card = [offered[_CARD]] if _CARD in offered else []
    lent = _lent(settings, {origin.repository: offered})
    return [*lent, *small, *card, *_weights(offered, layout)]


def _rest(origin: hub.Source, found: hub.Found) -> list[File]:
    """The small files that are missing beside weights, of the revision that is here."""
    wanted = _lent(found.settings() or {}, {})
    if _reads_beside(found):
        wanted += _small(_offered(origin.repository, found.folder.name))
    return [file for file in wanted if not file.place.is_file()]


def _reads_beside(found: hub.Found) -> bool:
    """Whether a loader reads more beside the weights than the settings by which they were found."""
    return found.layout is not hub.OPEN_CLIP


def _lent(settings: Mapping[str, Any], known: Mapping[str, Mapping[str, File]]) -> list[File]:
    """What other repositories lend, of the revision that is here; `known` are listed already."""
    files: list[File] = []
    for repository, names in _lenders(settings).items():
        offered = known.get(repository)
        if offered is None:
            folder = hub.folder_of(repository, repository)
            offered = _offered(repository, None if folder is None else folder.name)
        files += (offered[name] for name in names if name in offered)
    return files


def _lenders(settings: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """The repositories from which open_clip's models borrow, and what."""
    model = settings.get("model_cfg")
    text = model.get("text_cfg") if isinstance(model, dict) else None
    if not isinstance(text, dict):
        return {}
    lenders: dict[str, Sequence[str]] = {}
    if tokenizer := text.get("hf_tokenizer_name"):
        lenders[str(tokenizer)] = TOKENIZER
    if language_model := text.get("hf_model_name"):
        known = lenders.get(str(language_model), ())
        lenders[str(language_model)] = (*known, "config.json")
    return lenders


def _offered(repository: str, revision: str | None = None) -> dict[str, File]:
    """What the hub has in a repository, by its paths."""
    from huggingface_hub import HfApi

    with hub.told_in_a_line(f"hf:{repository}"):
        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
    files: dict[str, File] = {}
    for listed in info.siblings or []:
        checksum = listed.blob_id if listed.lfs is None else listed.lfs.sha256
        # It becomes the name of a file here: nothing else may be in it.
        if info.sha and checksum and _CHECKSUM.fullmatch(checksum):
            path, size = listed.rfilename, listed.size or 0
            files[path] = File(repository, revision, info.sha, path, size, checksum)
    return files


def _layout(offered: Mapping[str, File], origin: hub.Source, name: str) -> hub.Layout:
    for layout in origin.layouts:
        described = origin.preset is not None or layout.settings in offered
        if described and any(weights in offered for weights in layout.weights):
            return layout
    there = ", ".join(sorted(offered)[:6]) or "nothing"
    raise NotHere(
        f"{name}: no weights that mmfm reads, with their settings, in {origin.repository} on the "
        f"hub; it holds {there}"
    )


def _weights(offered: Mapping[str, File], layout: hub.Layout) -> list[File]:
    """The weights in the safest form that there is: one file, or an index and its shards."""
    first = next(file for file in layout.weights if file in offered)
    if not first.endswith(".index.json"):
        return [offered[first]]
    stem, _, ending = first.removesuffix(".index.json").rpartition(".")
    shard = re.compile(rf"{re.escape(stem)}-\d+-of-\d+\.{re.escape(ending)}")
    return [offered[first], *(file for path, file in offered.items() if shard.fullmatch(path))]


def _small(offered: Mapping[str, File]) -> list[File]:
    return [
        file
        for path, file in offered.items()
        if any(fnmatch(path, pattern) for pattern in hub.SMALL)
    ]


def _settings(file: File, name: str) -> dict[str, Any]:
    """What a settings file says, which is brought first of all."""
    for _ in _bring(file):
        pass
    path = file.place if file.place.is_file() else file.blob
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadWeights(f"{name}: its {file.path} is not whole JSON ({error})") from error
    if not isinstance(settings, dict):
        raise BadWeights(f"{name}: its {file.path} holds something else than settings")
    return settings


def _refuse_foreign(
    settings: Mapping[str, Any], index: Mapping[str, Any] | None, name: str
) -> None:
    """Refuse before gigabytes come what could not be run with them."""
    if "mmfm" in settings or "model_cfg" in settings or "architecture" in settings:
        return
    from mmfm.models import wrapped_denoiser
    from mmfm.models.tables import transformers

    if index is not None:
        wrapped_denoiser.check_index(index, name)
    elif kind := settings.get("_class_name"):
        if kind != "UNet2DModel":
            raise BadInput(f"{name}: a {kind!r:.60}; of diffusers' networks mmfm runs UNet2DModel")
    else:
        family = settings.get("model_type")
        known = dict.fromkeys((*transformers.CLIP_TABLES, *transformers.TABLES))
        if family not in known:
            raise BadInput(
                f"{name}: a {family!r:.60}, which mmfm does not run; of transformers' models it "
                f"runs {', '.join(known)}"
            )


# --- its coming -----------------------------------------------------------------------------------


def check_room(order: Order) -> None:
    """Refuse what the disk has no room for, before the first byte comes."""
    cache, free = room()
    if order.left > free:
        raise OutOfSpace(
            f"{order.name}: {in_words(order.left)} are still to come, and {in_words(free)} are "
            f"free on the disk of {cache}; make room there, or set HF_HOME to a folder on another "
            "disk"
        )


def room() -> tuple[Path, int]:
    """Where models are kept, and how many bytes are free on its disk."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    return cache, shutil.disk_usage(there).free


def fetch(order: Order) -> Generator[tuple[int, int]]:
    """Bring the files of an order, and lay them out: how many bytes are here, of how many.

    It may be stopped at any moment, and begun again: what has come is not asked for again.
    """
    check_room(order)
    had = [file.have for file in order.files]
    here, total = sum(had), order.size
    for file, before in zip(order.files, had, strict=True):
        for have in _bring(file):
            yield here + have - before, total
        here += file.size - before
    # The weights last: without them nothing counts as a model.
    for _, files in groupby(order.files, key=lambda f: (f.repository, f.revision, f.weighs)):
        _lay_out(list(files), order.name)
    if order.files:
        hub.find(order.name, hub.FOR_ANY)  # an index may name shards that nobody has published


def _lay_out(files: Sequence[File], name: str) -> None:
    """Have the library show, under their names, files of one revision whose content is here."""
    from huggingface_hub import snapshot_download

    first = files[0]
    wanted = [escape(file.path) for file in files]
    with hub.told_in_a_line(name), _without_bars():
        folder = Path(
            snapshot_download(first.repository, revision=first.revision, allow_patterns=wanted)
        )
    if not any(path.is_symlink() for path in folder.parent.rglob("*")):
        # On this system the library has made copies.
        for file in files:
            file.blob.unlink(missing_ok=True)


@contextmanager
def _without_bars() -> Generator[None]:
    """Keep the hub's library from drawing bars of its own."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    shown = not are_progress_bars_disabled()
    if shown:
        disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()


@contextmanager
def _alone(file: File) -> Generator[None]:
    """Bring a file in no other process at the same time, not in one of the library's either."""
    from filelock import Timeout
    from huggingface_hub.utils import WeakFileLock

    home = hub.home_of(file.repository)
    lock = home.parent / ".locks" / home.name / f"{file.checksum}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(WeakFileLock(lock, timeout=0.1))
        except Timeout as error:
            raise InUse(
                f"hf:{file.repository}: another process is fetching {file.path}; let it come to "
                "its end"
            ) from error
        yield


def _bring(file: File) -> Generator[int]:
    """Bring the content of one file into the cache; how many bytes of it are there."""
    if file.is_here:
        yield file.size
        return
    with _alone(file), _Part(file) as part:
        if file.is_here:  # since another process has brought it
            part.remove()
            yield file.size
            return
        from_before = part.have > 0
        yield from _grow(part)
        if from_before and not part.is_right():
            part.restart()  # what was here may be at fault
            yield from _grow(part)
        if not part.is_right():
            part.remove()
            raise BadData(
                f"hf:{file.repository}: {file.path} came with another checksum than the hub "
                "states, and was removed; try again, and should it happen again, something on the "
                "way changes what passes"
            )
        part.finish()


def _grow(part: "_Part") -> Generator[int]:
    """Let a part grow to its whole length, over as many connections as that takes."""
    size, tries = part.file.size, 0
    yield part.have
    while part.have < size:
        before, reason = part.have, "the server hung up"
        try:
            with _answer(part.file, part.have) as answer:
                if part.have and answer.status != http.HTTPStatus.PARTIAL_CONTENT:
                    part.restart()  # this server only sends files from their beginning
                while data := answer.read1(min(_CHUNK, size - part.have)):
                    part.add(data)
                    yield part.have
        except Offline:
            reason = "the hub does not answer"
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        if part.have < size:
            tries = 1 if part.have > before else tries + 1
            if tries == _TRIES:
                raise Offline(
                    f"hf:{part.file.repository}: fetching {part.file.path} broke off after "
                    f"{in_words(part.have)} of {in_words(size)} ({reason}); the same command goes "
                    "on from there"
                )
            time.sleep(_PAUSE)


def _answer(file: File, have: int) -> http.client.HTTPResponse:
    """The server's answer to a request for what is missing of a file."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    address = hf_hub_url(file.repository, file.path, revision=file.commit)
    # Large files lie elsewhere, at an address that is good for some minutes.
    with hub.told_in_a_line(f"hf:{file.repository}"):
        location = get_hf_file_metadata(address).location
    request = urllib.request.Request(location)
    if have:
        request.add_header("Range", f"bytes={have}-")
    for key, value in build_hf_headers().items():
        if key.lower() != "authorization":
            request.add_header(key, value)
        elif urlsplit(location).netloc == urlsplit(address).netloc:
            # A person's key is for the hub, and for nobody that it refers to.
            request.add_unredirected_header(key, value)
    return urllib.request.urlopen(request, timeout=_STALL_SECONDS)


class _Part:
    """The content of a file on its way, and the checksum of what has come."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.have = 0
        file.part.parent.mkdir(parents=True, exist_ok=True)
        self._out = file.part.open("a+b", buffering=0)
        self._sum = self._begin()
        self._out.seek(0)
        while self.have <= file.size and (data := self._out.read(_CHUNK)):
            self._sum.update(data)
            self.have += len(data)
        if self.have > file.size:
            self.restart()

    def _begin(self) -> Any:
        if len(self.file.checksum) == 64:
            return hashlib.sha256()
        # Git counts a heading in. It tells damage, and is not asked to stand up to an attacker.
        return hashlib.sha1(b"blob %d\0" % self.file.size, usedforsecurity=False)

    def __enter__(self) -> "_Part":
        return self

    def __exit__(self, *_: object) -> None:
        self._out.close()

    def add(self, data: bytes) -> None:
        """Write down what has come."""
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._out.write(rest) :]
        except OSError as error:
            if error.errno in FULL:
                raise OutOfSpace(
                    f"no space left for {self.file.path} of hf:{self.file.repository}; make room, "
                    "and the same command goes on from there"
                ) from error
            raise BadData(f"{self.file.part}: cannot be written ({error.strerror})") from error
        self._sum.update(data)
        self.have += len(data)

    def restart(self) -> None:
        """Forget what has come."""
        self._out.truncate(0)
        self._sum, self.have = self._begin(), 0

    def is_right(self) -> bool:
        """Whether the content is what the hub states."""
        return self._sum.hexdigest() == self.file.checksum

    def remove(self) -> None:
        """Take the file away."""
        self._out.close()
        self.file.part.unlink(missing_ok=True)

    def finish(self) -> None:
        """Give the content its name, now that all of it has reached the disk."""
        os.fsync(self._out.fileno())
        self._out.close()
        self.file.part.replace(self.file.blob)
        sync_folders(self.file.blob.parent)
