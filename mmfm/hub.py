"""A model's name -> its files on this machine.

    vit-cifar                       bundled with the package
    runs/a, model.safetensors       a folder or a file: ours, timm's or transformers'
    timm:vit_base_patch16_224       a checkpoint of timm, from the Hugging Face cache or the network
    hf:facebook/dinov2-small        a repository of the Hugging Face hub, likewise

Files only: nothing here knows what is in them.
"""

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, cast

from mmfm.errors import BadInput, BadWeights, NotHere, Offline

Origin = Literal["bundled", "local", "hub"]

# What a checkpoint needs, without the same weights in three more formats: safe ones before others.
_SMALL = ("*.json", "*.txt", "*.model")
_PATTERNS = ("model*.safetensors", "pytorch_model*.bin")
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


@dataclass(frozen=True)
class Found:
    """The files of one checkpoint."""

    name: str  # as it was asked for
    origin: Origin
    folder: Path
    weights: tuple[Path, ...]  # one file, or the shards of one

    def settings(self, file: str = "config.json") -> dict[str, Any] | None:
        """A JSON file of the checkpoint, None where it has none of that name."""
        path = self.folder / file
        if not path.is_file():
            return None
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise BadWeights(f"{path}: not whole JSON ({error})") from error
        if not isinstance(settings, dict):
            raise BadWeights(f"{path}: holds something else than settings")
        return settings


def find(name: str) -> Found:
    """Find the files of a model by its name, over the network where it names a hub's."""
    if not name.strip():
        raise BadInput(f"an empty model name; {_what_is_here()}")
    if name in bundled():
        return in_folder(bundled()[name], name, "bundled")
    if name.startswith("timm:"):
        return in_folder(_fetch(_timm_repository(name), name), name, "hub")
    if name.startswith("hf:"):
        return in_folder(_fetch(name.removeprefix("hf:"), name), name, "hub")
    path = _local(name)
    if path is None:
        raise NotHere(
            f"no model {name!r}: it is neither bundled nor a file or folder; {_what_is_here()}"
        )
    return in_folder(path, name) if path.is_dir() else Found(name, "local", path.parent, (path,))


def _local(name: str) -> Path | None:
    try:
        path = Path(name).expanduser()
        return path if path.is_dir() or path.is_file() else None
    except (OSError, RuntimeError):
        return None  # no file can have such a name, or no person is called so


def _what_is_here() -> str:
    here = ", ".join([*bundled(), *cached()]) or "none"
    return f"here are: {here}; or name a folder, timm:NAME or hf:OWNER/NAME"


def bundled() -> dict[str, Path]:
    """The checkpoints that came with the package, by name."""
    root = Path(str(files("mmfm.assets") / "checkpoints"))
    if not root.is_dir():
        return {}
    return {path.name: path for path in sorted(root.iterdir()) if (path / "config.json").is_file()}


def in_folder(folder: Path, name: str, origin: Origin = "local") -> Found:
    """The checkpoint in a folder; safe formats before older ones."""
    for file in _WEIGHTS:
        path = folder / file
        if path.is_file():
            return Found(name, origin, folder, _shards(path) if path.suffix == ".json" else (path,))
    there = ", ".join(sorted(p.name for p in folder.iterdir())[:6]) or "nothing"
    raise NotHere(
        f"{name}: no model.safetensors or pytorch_model.bin in {folder}; it holds {there}"
    )


def _shards(index: Path) -> tuple[Path, ...]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        elsewhere = [name for name in names if Path(name).name != name]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadWeights(f"{index}: not an index of weight files") from error
    if elsewhere or not names:
        raise BadWeights(f"{index}: not an index of weight files beside it")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise NotHere(f"{index}: names {missing[0]}, which is not beside it")
    return tuple(index.parent / name for name in names)


# --- the hub ------------------------------------------------------------------------------------


def cached() -> dict[str, Path]:
    """The hub's checkpoints that are already on this machine, by name."""
    found: dict[str, Path] = {}
    for repository, folder in _cached_repositories():
        timm = repository.startswith("timm/")
        found[f"timm:{repository[5:]}" if timm else f"hf:{repository}"] = folder
    return found


def _cached_repositories() -> Iterator[tuple[str, Path]]:
    """Repositories in the cache of which the usual revision is whole, each with its folder."""
    from huggingface_hub import constants

    for path in sorted(Path(constants.HF_HUB_CACHE).glob("models--*--*")):
        main = path / "refs" / "main"
        folder = path / "snapshots" / (main.read_text().strip() if main.is_file() else "")
        if main.is_file() and folder.is_dir() and _is_whole(folder):
            yield path.name.removeprefix("models--").replace("--", "/", 1), folder


def _timm_repository(name: str) -> str:
    """timm's name may leave out which training it means; timm knows the usual one."""
    short = name.removeprefix("timm:")
    if "." in short:
        return f"timm/{short}"
    # Importing timm takes seconds: first see whether anything could come of it.
    if not any(f"{here}.".startswith(f"timm/{short}.") for here, _ in _cached_repositories()):
        _demand_network(name)
    from timm.models import get_pretrained_cfg, is_model

    if not is_model(short):
        raise NotHere(f"{name}: timm has no model of that name")
    known = get_pretrained_cfg(short)
    if known is None or not known.hf_hub_id:
        raise NotHere(f"{name}: timm publishes no weights under that name")
    return known.hf_hub_id


def _fetch(repository: str, name: str) -> Path:
    """The folder of a hub repository: from the cache, else over the network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    # OSError and what the hub's own client raises: httpx, under the name that it has there.
    broken_off = cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__)
    try:
        folder = Path(snapshot_download(repository, local_files_only=True))
        if _is_whole(folder):
            return folder
    except LocalEntryNotFoundError:
        pass  # not in the cache: go on and fetch it
    except HFValidationError as error:
        raise BadInput(f"{name}: a hub name looks like hf:OWNER/NAME") from error
    _demand_network(name)
    try:
        safe, older = ([*_SMALL, pattern] for pattern in _PATTERNS)
        folder = Path(snapshot_download(repository, allow_patterns=safe))
        if not _is_whole(folder):
            folder = Path(snapshot_download(repository, allow_patterns=older))
        return folder
    except GatedRepoError as error:
        raise NotHere(f"{name}: ask for access on the hub, then run `hf auth login`") from error
    except RepositoryNotFoundError as error:
        raise NotHere(f"{name}: the hub has no such repository (or it is private)") from error
    except broken_off as error:
        raise Offline(
            f"{name}: fetching it broke off; the same command goes on from there"
        ) from error


def _is_whole(folder: Path) -> bool:
    """Whether a folder of the cache holds the settings and all weights; a fetch may break off."""
    try:
        in_folder(folder, folder.name)
    except NotHere:
        return False
    return (folder / "config.json").is_file()


def _demand_network(name: str) -> None:
    if not network():
        raise Offline(
            f"{name} is not on this machine and the hub cannot be reached; {_what_is_here()} "
            "(get it once with a network, and it stays in the cache)"
        )


def network(seconds: float = 1.2) -> bool:
    """Whether the hub answers. Anything it says will do; a name that hangs is given up in time."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return False
    from huggingface_hub import constants

    return _in_time(lambda: _answers(constants.ENDPOINT, seconds), seconds)


def _answers(address: str, seconds: float) -> bool:
    try:
        request = urllib.request.Request(address, method="HEAD")
        urllib.request.urlopen(request, timeout=seconds).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


def _in_time(question: Callable[[], bool], seconds: float) -> bool:
    """Ask in a thread that is left behind when it does not answer: looking up a name can hang."""
    answer: list[bool] = []
    thread = threading.Thread(target=lambda: answer.append(question()), daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answer and answer[0])
