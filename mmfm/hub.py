"""A model's name -> its files on this machine.

    vit-nano                        bundled with the package
    runs/a, model.safetensors       a folder or a file: ours, timm's, transformers', open_clip's
    timm:vit_base_patch16_224       a checkpoint of timm, from the Hugging Face cache or the network
    hf:facebook/dinov2-small        a repository of the Hugging Face hub, likewise
    hf:google/ddpm-cifar10-32       that may be a pipeline of diffusers', as a folder may
    ViT-B-32/laion2b_s34b_b79k      a model and a tag of open_clip, likewise

Files only: nothing here knows what is in them. What a loader misses it fetches by itself;
`mmfm models get` (mmfm/tasks/get_model.py) brings a model whole, before it is needed.
"""

import functools
import hashlib
import importlib.util
import json
import os
import re
import shlex
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

from mmfm.errors import BadInput, BadWeights, NotHere, Offline

Origin = Literal["bundled", "local", "hub"]

QUICK = 1.2  # seconds in which the hub is to answer, so that offline a refusal comes at once


@dataclass(frozen=True)
class Layout:
    """What the files of a checkpoint are called: safe formats before older ones."""

    settings: str
    weights: tuple[str, ...]
    patterns: tuple[str, ...]  # of the weights, in as many formats

    def weights_in(self, folder: Path) -> Path | None:
        """The weights, or the index of their shards."""
        return next((folder / file for file in self.weights if (folder / file).is_file()), None)


# Ours, timm's and transformers'.
PLAIN = Layout(
    "config.json",
    (
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ),
    ("model*.safetensors", "pytorch_model*.bin"),
)
OPEN_CLIP = Layout(
    "open_clip_config.json",
    (
        "open_clip_model.safetensors",
        "open_clip_pytorch_model.safetensors",
        "open_clip_pytorch_model.bin",
    ),
    ("open_clip_*.safetensors", "open_clip_*.bin"),
)


def _diffusers(part: str) -> Layout:
    """Where diffusers keeps a network: in a folder of a pipeline's folder, or alone."""
    stem = f"{part}diffusion_pytorch_model"
    endings = ("safetensors", "safetensors.index.json", "bin", "bin.index.json")
    return Layout(
        f"{part}config.json",
        tuple(f"{stem}.{ending}" for ending in endings),
        (f"{stem}*.safetensors", f"{stem}*.bin"),
    )


# A repository may hold a model in both layouts; of a CLIP then open_clip's is the whole one.
FOR_VIT = (PLAIN,)
FOR_CLIP = (OPEN_CLIP, PLAIN)
# The part of diffusers' own pipelines, that of ours, and a network alone.
FOR_DENOISER = (PLAIN, _diffusers("unet/"), _diffusers("denoiser/"), _diffusers(""))

FOR_ANY = tuple(dict.fromkeys((*FOR_CLIP, *FOR_DENOISER)))  # whatever it may be
# In the cache there may also be pipelines that mmfm does not run; they take their room as well.
_LISTED = (*FOR_ANY, _diffusers("transformer/"))

# What is fetched beside the weights.
SMALL = ("*.json", "*.txt", "*.model")


@dataclass(frozen=True)
class Found:
    """The files of one checkpoint."""

    name: str  # as it was asked for
    origin: Origin
    folder: Path
    weights: tuple[Path, ...]  # one file, or the shards of one
    layout: Layout = PLAIN
    preset: dict[str, Any] | None = None  # settings that do not lie beside the weights
    repository: str | None = None  # of the hub, where all of it lies

    def settings(self, file: str | None = None) -> dict[str, Any] | None:
        """The checkpoint's settings or another JSON file of it, None where it has none."""
        if file is None and self.preset is not None:
            return self.preset
        path = self.folder / (file or self.layout.settings)
        return _read_json(path) if path.is_file() else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadWeights(f"{path}: not whole JSON ({error})") from error
    if not isinstance(settings, dict):
        raise BadWeights(f"{path}: holds something else than settings")
    return settings


def find(
    name: str,
    layouts: Sequence[Layout] = FOR_VIT,
    *,
    glance: Callable[[Path], None] = lambda folder: None,
) -> Found:
    """Find the files of a model by its name, over the network where it names a hub's.

    There `glance` may look at the small files, and refuse before the large ones are fetched.
    """
    if not name.strip():
        raise BadInput(f"an empty model name; {_what_is_here()}")
    if name in bundled():
        return in_folder(bundled()[name], name, "bundled")
    repository = _repository(name)
    if repository is not None:
        folder = _fetch_model(repository, name, layouts, glance)
        found = in_folder(folder, name, "hub", layouts)
        return replace(found, repository=repository)
    path = _local(name)
    if path is None:
        published = _published_by_open_clip(name) if OPEN_CLIP in layouts else None
        if published is None:
            raise _unknown(name)
        return published
    if path.is_dir():
        return in_folder(path, name, "local", layouts)
    return Found(name, "local", path.parent, (path,), _layout_of(path))


def name_of(name: str | os.PathLike[str]) -> str:
    """A model's name as it was given, or a path as its name."""
    try:
        path = os.fspath(name)
    except TypeError:
        path = None
    if not isinstance(path, str):
        raise BadInput(f"a model has a name or a path, and {name!r:.60} is neither")
    return path


def _unknown(name: str) -> NotHere:
    return NotHere(
        f"no model {name!r}: it is neither bundled nor a file or folder; {_what_is_here()}"
    )


@dataclass(frozen=True)
class Source:
    """Where a public model lies on the hub, and in which layouts it may."""

    repository: str
    layouts: tuple[Layout, ...]
    preset: dict[str, Any] | None = None  # settings that open_clip's own tables hold


def source(name: str, seconds: float = QUICK) -> Source | None:
    """Where a model is published; None of what came with the package, and of one's own.

    A short name of timm's may have to be looked up, if the hub answers in so many seconds.
    """
    if not name.strip():
        raise BadInput(f"an empty model name; {_what_is_here()}")
    if name in bundled():
        return None
    repository = _repository(name, seconds)
    if repository is not None:
        return Source(repository, FOR_VIT if name.startswith("timm:") else FOR_ANY)
    if _local(name) is not None:
        return None
    entry = open_clip_entry(name)
    if entry is None:
        raise _unknown(name)
    repository, layout = _published(entry["preprocess_cfg"])
    return Source(repository, (layout,), entry)


def here(name: str, seconds: float = QUICK) -> Found | None:
    """The files of a model if all of its weights are on this machine; nobody else is asked."""
    origin = source(name, seconds)
    if origin is None:
        return find(name, FOR_ANY)
    folder = folder_of(origin.repository, name)
    if origin.preset is not None:
        entry = origin.preset["preprocess_cfg"]
        weights = _kept_by_open_clip(entry)
        if weights is None and folder is not None:
            weights = origin.layouts[0].weights_in(folder)
        if weights is None:
            return None
        return Found(name, "hub", weights.parent, (weights,), OPEN_CLIP, preset=origin.preset)
    if folder is None or not _is_whole(folder, origin.layouts):
        return None
    found = in_folder(folder, name, "hub", origin.layouts)
    return replace(found, repository=origin.repository)


def _repository(name: str, seconds: float = QUICK) -> str | None:
    """The repository that timm:NAME or hf:OWNER/NAME means; None of other names."""
    if name.startswith("timm:"):
        return _timm_repository(name, seconds)
    return name.removeprefix("hf:") if name.startswith("hf:") else None


def _layout_of(path: Path) -> Layout:
    """Whose file a lone weight file is: by its own name, else by the settings beside it."""
    theirs, plain = ((path.parent / layout.settings).is_file() for layout in (OPEN_CLIP, PLAIN))
    return OPEN_CLIP if path.name in OPEN_CLIP.weights or (theirs and not plain) else PLAIN


def _local(name: str) -> Path | None:
    try:
        path = Path(name).expanduser()
        return path if path.is_dir() or path.is_file() else None
    except (OSError, RuntimeError):
        return None  # no file can have such a name, or no person is called so


def _what_is_here() -> str:
    here = ", ".join([*bundled(), *cached()]) or "none"
    return (
        f"here are: {here}; or name a folder, timm:NAME or hf:OWNER/NAME (or open_clip's MODEL/TAG)"
    )


def bundled() -> dict[str, Path]:
    """The checkpoints that came with the package, by name."""
    root = Path(str(files("mmfm.assets") / "checkpoints"))
    if not root.is_dir():
        return {}
    return {path.name: path for path in sorted(root.iterdir()) if (path / "config.json").is_file()}


def in_folder(
    folder: Path, name: str, origin: Origin = "local", layouts: Sequence[Layout] = FOR_VIT
) -> Found:
    """The checkpoint in a folder: in the layouts that are asked for, else in any."""
    ordered = list(dict.fromkeys((*layouts, PLAIN, *_LISTED)))
    # Weights without settings may hold them inside; but where both lie side by side, they belong.
    ordered.sort(key=lambda layout: not (folder / layout.settings).is_file())
    for layout in ordered:
        path = layout.weights_in(folder)
        if path is not None:
            weights = _shards(path) if path.suffix == ".json" else (path,)
            return Found(name, origin, folder, weights, layout)
    if (folder / "run.json").is_file() and (kind := _read_json(folder / "run.json").get("train")):
        raise NotHere(
            f"{name}: a run that has no model yet; mmfm train {kind} --out "
            f"{shlex.quote(str(folder))} --resume goes on with it"
        )
    there = ", ".join(sorted(p.name for p in folder.iterdir())[:6]) or "nothing"
    stock = " (or diffusers' diffusion_pytorch_model)" if layouts is FOR_DENOISER else ""
    raise NotHere(
        f"{name}: no model.safetensors or pytorch_model.bin{stock} in {folder}; it holds {there}"
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
        name = _asked_for_as(repository, folder)
        if name is not None:
            found[name] = folder
    return found


def _asked_for_as(repository: str, folder: Path) -> str | None:
    """The name of a repository in the cache; None where the weights have no settings."""
    if repository.startswith("timm/") and _is_whole(folder, FOR_VIT):
        return f"timm:{repository[5:]}"
    if OPEN_CLIP.weights_in(folder) is not None and repository in _tags():
        return _tags()[repository]
    return f"hf:{repository}" if _is_whole(folder, _LISTED) else None


def _cached_repositories() -> Iterator[tuple[str, Path]]:
    """Repositories in the cache that have all weights of their usual revision, and its folder."""
    from huggingface_hub import constants

    for path in sorted(Path(constants.HF_HUB_CACHE).glob("models--*--*")):
        folder = _usual_revision(path)
        if folder is None:
            continue
        if _is_whole(folder, _LISTED) or OPEN_CLIP.weights_in(folder) is not None:
            yield path.name.removeprefix("models--").replace("--", "/", 1), folder


def folder_of(repository: str, name: str) -> Path | None:
    """What is here of a repository's usual revision; `name` is what a person asked for."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise BadInput(f"{name}: a hub name looks like hf:OWNER/NAME") from error
    return _usual_revision(home_of(repository))


def home_of(repository: str) -> Path:
    """The folder in which the cache keeps a repository, with all of its revisions."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"


def _usual_revision(home: Path) -> Path | None:
    """What is here of the usual revision of a repository, which the cache keeps in `home`."""
    main = home / "refs" / "main"
    folder = home / "snapshots" / (main.read_text().strip() if main.is_file() else "")
    return folder if main.is_file() and folder.is_dir() else None


def _timm_repository(name: str, seconds: float) -> str:
    """timm's name may leave out which training it means; timm knows the usual one."""
    short = name.removeprefix("timm:")
    if "." in short:
        return f"timm/{short}"
    # Importing timm takes seconds: first see whether anything could come of it.
    if not any(f"{here}.".startswith(f"timm/{short}.") for here, _ in _cached_repositories()):
        demand_network(name, seconds)
    from timm.models import get_pretrained_cfg, is_model

    if not is_model(short):
        raise NotHere(f"{name}: timm has no model of that name")
    known = get_pretrained_cfg(short)
    if known is None or not known.hf_hub_id:
        raise NotHere(f"{name}: timm publishes no weights under that name")
    return known.hf_hub_id


def _fetch_model(
    repository: str, name: str, layouts: Sequence[Layout], glance: Callable[[Path], None]
) -> Path:
    """The folder of a model's repository."""

    def whole(folder: Path) -> bool:
        glance(folder)
        return _is_whole(folder, layouts)

    rounds = [[*SMALL, pattern] for layout in layouts for pattern in layout.patterns]
    return _fetch(repository, name, rounds, whole)


def fetch_files(
    repository: str, name: str, needs: Sequence[Sequence[str]], also: Sequence[str] = ()
) -> Path:
    """The folder of a hub repository that lends a model some of its files: its tokenizer, say.

    What it must hold is said as in `complete`.
    """
    lender = f"hf:{repository} (for {name})"
    wanted = list(dict.fromkeys([*(file for need in needs for file in need), *also]))
    folder = _fetch(repository, lender, [wanted], lambda folder: True)
    _complete(repository, folder, lender, needs, also)
    return folder


def complete(found: Found, needs: Sequence[Sequence[str]], also: Sequence[str] = ()) -> None:
    """See to it that small files lie beside a checkpoint of the hub's, fetching what is missing.

    Other programs leave a repository half fetched in the cache, and a fetch may break off. Of each
    of `needs` one file is enough; `also` are fetched, but not missed offline. What the publisher
    does not have, nobody misses: that is known from the hub, and then remembered in the cache. A
    folder of one's own is left as it is.
    """
    if found.repository is not None:
        _complete(found.repository, found.folder, found.name, needs, also)


def _complete(
    repository: str,
    folder: Path,
    name: str,
    needs: Sequence[Sequence[str]],
    also: Sequence[str],
) -> None:
    def unknown(files: Sequence[str]) -> list[str]:
        """Files that the publisher may have and that are not here; none if one of them is."""
        if any((folder / file).is_file() for file in files):
            return []
        return [file for file in files if not _known_absent(repository, folder, file)]

    groups = [*needs, *([file] for file in also)]
    if not any(unknown(group) for group in groups):
        return
    if network():
        for group in groups:
            for file in unknown(group):
                if _fetch_one(repository, folder, file, name):
                    break
        return
    for need in needs:
        if missing := unknown(need):
            which = f"no {missing[0]}" if len(missing) == 1 else f"none of {', '.join(missing)}"
            raise Offline(
                f"{name}: {which} in the cache, and {why_offline()}; load it once with a network, "
                "and it stays in the cache"
            )


def _known_absent(repository: str, folder: Path, file: str) -> bool:
    """Whether the cache remembers that a revision of a repository has no such file."""
    if (folder.parent.parent / ".no_exist" / folder.name / file).is_file():
        return True
    listed = listed_files(repository, folder)
    return listed is not None and file not in listed


def listed_files(repository: str, folder: Path) -> set[str] | None:
    """All files of a revision that is here in part; None where the cache does not know them."""
    import huggingface_hub

    # Only later versions of the library keep the list of what they once fetched from.
    listing = getattr(huggingface_hub, "get_cached_repo_tree", None)
    if listing is None:
        return None
    try:
        return {entry.path for entry in listing(repository, revision=folder.name)}
    except huggingface_hub.errors.CachedRepoTreeNotFoundError:
        return None


def _fetch_one(repository: str, folder: Path, file: str, name: str) -> bool:
    """Fetch a file of the revision that is here; of one that it lacks, the cache remembers that."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    try:
        with told_in_a_line(name):
            hf_hub_download(repository, file, revision=folder.name)
    except RemoteEntryNotFoundError:
        return False
    return True


def _fetch(
    repository: str, name: str, rounds: Sequence[Sequence[str]], whole: Callable[[Path], bool]
) -> Path:
    """The folder of a hub repository: from the cache, else over the network.

    Of the rounds of patterns to fetch, those after the first that makes it whole are left out.
    """
    # Not asked of the library: to it a repository is whole with files that nobody here needs.
    folder = folder_of(repository, name)
    if folder is not None and whole(folder):
        return folder
    demand_network(name)
    from huggingface_hub import snapshot_download  # slow, and offline not needed

    with told_in_a_line(name):
        folder = Path(snapshot_download(repository, allow_patterns=list(rounds[0])))
        for patterns in rounds[1:]:
            if whole(folder):
                break
            folder = Path(snapshot_download(repository, allow_patterns=list(patterns)))
        return folder


@contextmanager
def told_in_a_line(name: str) -> Generator[None]:
    """What the hub's own client raises, for a person. That a file does not exist passes through."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
    )

    # OSError and what the hub's own client raises: httpx, under the name that it has there.
    broken_off = cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__)
    try:
        yield
    except RemoteEntryNotFoundError:
        raise
    except GatedRepoError as error:
        raise NotHere(f"{name}: ask for access on the hub, then run `hf auth login`") from error
    except RepositoryNotFoundError as error:
        raise NotHere(f"{name}: the hub has no such repository (or it is private)") from error
    except broken_off as error:
        raise Offline(
            f"{name}: fetching it broke off; try again, or with mmfm models get, which goes on "
            "where it broke off"
        ) from error


def _is_whole(folder: Path, layouts: Sequence[Layout]) -> bool:
    """Whether a folder of the cache holds the settings and all weights; a fetch may break off."""
    return any(_holds(folder, layout) for layout in layouts)


def _holds(folder: Path, layout: Layout) -> bool:
    weights = layout.weights_in(folder)
    if weights is None or not (folder / layout.settings).is_file():
        return False
    try:
        return weights.suffix != ".json" or bool(_shards(weights))
    except NotHere:
        return False


def demand_network(name: str, seconds: float = QUICK) -> None:
    if not network(seconds):
        advice = " (get it once with a network: mmfm models get NAME; it stays in the cache)"
        if _told_to_be_offline():
            advice = ""  # that would be refused as well
        raise Offline(
            f"{name} is not on this machine and {why_offline()}; {_what_is_here()}{advice}"
        )


def why_offline() -> str:
    """Why nothing can be fetched, for the middle of a sentence."""
    if _told_to_be_offline():
        return "HF_HUB_OFFLINE is set; unset it to have the hub asked"
    return "the hub cannot be reached"


def _told_to_be_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def network(seconds: float = QUICK) -> bool:
    """Whether the hub answers. Anything it says will do; a name that hangs is given up in time."""
    if _told_to_be_offline():
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


# --- open_clip ------------------------------------------------------------------------------------


def _published_by_open_clip(name: str) -> Found | None:
    """The weights that open_clip knows under MODEL/TAG, with the settings of its own tables."""
    entry = open_clip_entry(name)
    if entry is None:
        return None
    weights = _open_clip_weights(entry["preprocess_cfg"], name)
    return Found(name, "hub", weights.parent, (weights,), OPEN_CLIP, preset=entry)


def open_clip_entry(name: str) -> dict[str, Any] | None:
    """What open_clip knows of MODEL/TAG, in the form of its settings files; None of other models.

    Beside the preprocessing stands where the weights lie.
    """
    model, _, tag = name.partition("/")
    table = _open_clip_table()
    tags: dict[str, dict[str, Any]] = table._PRETRAINED.get(model, {})
    if not tags:
        return None
    if table._clean_tag(tag) not in tags:
        raise NotHere(f"no model {name!r}: open_clip's {model} has the tags {', '.join(tags)}")
    entry = tags[table._clean_tag(tag)]
    root = Path(cast("str", table.__file__)).parent
    settings = _read_json(root / "model_configs" / f"{model}.json")
    # Of some models the tag alone says that its weights were trained with quick GELU.
    settings["quick_gelu"] = settings.get("quick_gelu", False) or entry.get("quick_gelu", False)
    return {"model_cfg": settings, "preprocess_cfg": entry}


def _open_clip_weights(entry: dict[str, Any], name: str) -> Path:
    """The weight file of an entry: in the hub's cache, in open_clip's own, or over the network."""
    kept = _kept_by_open_clip(entry)
    if kept is not None:
        return kept
    repository, layout = _published(entry)

    def there(folder: Path) -> bool:
        return layout.weights_in(folder) is not None

    folder = _fetch(repository, name, [[pattern] for pattern in layout.patterns], there)
    weights = layout.weights_in(folder)
    if weights is None:
        raise NotHere(f"{name}: the hub's {repository} has no {' or '.join(layout.weights)}")
    return weights


def _published(entry: dict[str, Any]) -> tuple[str, Layout]:
    """The repository of an entry, and what its weights are called in there."""
    repository, _, file = entry["hf_hub"].rpartition("/")
    safe = (f"{Path(file).stem}.safetensors", file)
    return repository, Layout("", safe, safe) if file else OPEN_CLIP


@functools.cache
def _tags() -> dict[str, str]:
    """Repositories of the hub, each with the MODEL/TAG that open_clip publishes from there."""
    if importlib.util.find_spec("open_clip") is None:
        return {}  # what is cached is listed nevertheless
    tags: dict[str, str] = {}
    for model, entries in _open_clip_table()._PRETRAINED.items():
        for tag, entry in entries.items():
            repository, layout = _published(entry)
            if layout is OPEN_CLIP:
                tags.setdefault(repository, f"{model}/{tag}")
    return tags


def _kept_by_open_clip(entry: dict[str, Any]) -> Path | None:
    """The file that open_clip itself once fetched by its address."""
    # What OpenAI itself publishes is a program, not a file of weights; the hub's copy is one.
    kept = Path.home() / ".cache" / "clip" / entry["url"].rpartition("/")[2]
    if entry["url"] and "openaipublic" not in entry["url"] and kept.is_file():
        return _verified(kept, entry["url"])
    return None


CHECKSUM = re.compile(r"/mlfoundations/.*-([0-9a-f]{8})\.pth?$")  # its first digits


def _verified(path: Path, address: str) -> Path:
    """The file, unless open_clip's address of it says that its checksum begins otherwise."""
    said = CHECKSUM.search(address)
    if said is not None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if not digest.startswith(said[1]):
            raise BadWeights(
                f"{path}: its checksum is {digest[:8]}, not {said[1]}; remove it, and it is "
                "fetched anew"
            )
    return path


def _open_clip_table() -> Any:
    """open_clip's table of published weights, without the package around it: that takes seconds."""
    alias = "_mmfm_open_clip"
    if alias not in sys.modules:
        found = importlib.util.find_spec("open_clip")
        if found is None or found.origin is None:
            raise NotHere("open_clip is not whole here; run: pip install open_clip_torch")
        package = ModuleType(alias)
        package.__path__ = [str(Path(found.origin).parent)]
        sys.modules[alias] = package
    with _without_torch():
        return import_module(f"{alias}.pretrained")


@contextmanager
def _without_torch() -> Generator[None]:
    """Keep open_clip's table from importing torch: it would only write weights with that."""
    part = "safetensors.torch"
    if part in sys.modules:
        yield
        return
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    modules[part] = None  # to Python, such a module cannot be imported
    try:
        yield
    finally:
        del modules[part]


def in_words(size: int) -> str:
    """Write a number of bytes for a person: 23.5 GB."""
    for unit, bytes_each in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= bytes_each:
            return f"{size / bytes_each:.1f} {unit}"
    return f"{size} bytes"
