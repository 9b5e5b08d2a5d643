"""What the studio can learn from: sets that are known by name, and folders that were allowed.

A visitor names a source by its id in a list that the server has made, never a path.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mmfm.data import digits
from mmfm.errors import BadInput
from mmfm.tasks.studio import MOST_LABELS, Choice

MOST_FOLDERS = 24
_LOOKED_AT = 400  # entries of a folder, to see what it holds

NUMERALS = digits.MNIST.classes
KNOWN = {"mnist": NUMERALS, "fashion": digits.FASHION.classes, "digits": NUMERALS}


class NoSource(BadInput):
    """What was asked for is not here to learn from."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name  # as a stranger wrote it


class SameName(NoSource):
    """Several folders are called so."""


@dataclass(frozen=True)
class Source:
    """Something to learn from."""

    id: str
    data: str  # as `mmfm train diffusion --data` takes it
    labels: tuple[str, ...]  # to choose from; none: it has none, or they are not known yet
    here: bool = True  # on this machine already
    name: str = ""  # of a folder


def sources(allowed: Sequence[Path]) -> list[Source]:
    """All of them, as they are now; those that are here first."""
    known = [
        Source(name, name, labels, here=name == "digits" or _is_here(name))
        for name, labels in KNOWN.items()
    ]
    known.sort(key=lambda source: not source.here)
    return [*known, *_folders(allowed)]


def _is_here(name: str) -> bool:
    folder = digits.default_folder(digits.FASHION if name == "fashion" else digits.MNIST)
    return all(digits.find_idx(folder, file) is not None for file in digits.FILES)


def _folders(allowed: Sequence[Path]) -> Iterator[Source]:
    """Allowed folders that hold pictures or classes of them, and such folders right inside them."""
    candidates = dict.fromkeys(folder for root in allowed for folder in (root, *_inside(root)))
    found = 0
    for folder in candidates:
        classes = [child.name for child in _inside(folder) if _has_file(child)]
        if (len(classes) >= 2 or _has_file(folder)) and found < MOST_FOLDERS:
            found += 1
            labels = tuple(classes) if 2 <= len(classes) <= MOST_LABELS else ()
            yield Source(_id(folder), os.fspath(folder), labels, name=folder.name)


def _id(folder: Path) -> str:
    """What a folder is asked for by: the same one later, whatever has come into the list.

    Where the folder lies can't be read from it.
    """
    return f"folder-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"


def _inside(folder: Path) -> list[Path]:
    """The folders in a folder, but no links and none that is hidden."""
    try:
        with os.scandir(folder) as entries:
            some = [entry for _, entry in zip(range(_LOOKED_AT), entries, strict=False)]
            names = sorted(
                entry.name
                for entry in some
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            )
    except OSError:  # not ours to read, or gone
        return []
    return [folder / name for name in names]


def _has_file(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(
                entry.is_file(follow_symlinks=False) and not entry.name.startswith(".")
                for _, entry in zip(range(_LOOKED_AT), entries, strict=False)
            )
    except OSError:
        return False


# --- to a choice, and back ------------------------------------------------------------------------


def as_choice(wish: object, allowed: Sequence[Path]) -> Choice:
    """What a browser asks for, or a picture that somebody brought: held against what is here."""
    if not isinstance(wish, dict):
        raise BadInput("a choice is a table of settings")
    rest: dict[str, Any] = {str(name): value for name, value in wish.items()}
    asked = rest.pop("source", None)
    if "data" in rest:
        raise BadInput("data are chosen by their source, not by a path")
    there = sources(allowed)
    found = [one for one in there if asked in (one.id, written(one.data))]
    name = f"{asked!s:.60}"
    if not found:
        raise NoSource(name, f"no data {name!r} here; there are {_listed(there)}")
    if len(found) > 1:
        ids = ", ".join(one.id for one in found)
        raise SameName(name, f"{len(found)} folders are called {name!r}; name one by its id: {ids}")
    source = found[0]
    choice = Choice.of({**rest, "data": source.data})
    if source.labels:
        if strange := [label for label in choice.labels if label not in source.labels]:
            known = ", ".join(source.labels)
            called = written(source.data)
            raise BadInput(f"no label {strange[0]!r:.60} in {called}; it has {known:.200}")
        if set(choice.labels) == set(source.labels):
            choice = replace(choice, labels=())
    elif choice.labels:
        called = written(source.data)
        raise BadInput(f"{called} has no labels to choose from; leave them out")
    return choice


def as_wish(choice: Choice) -> dict[str, Any]:
    """The other way; of a folder no more than its name is told."""
    told = asdict(choice)
    return {"source": written(told.pop("data")), **told, "labels": list(choice.labels)}


def written(data: str) -> str:
    """How data are called where a visitor, or a stranger, may read it."""
    return data if data in KNOWN else f"folder/{Path(data).name}"


def _listed(there: Sequence[Source]) -> str:
    return ", ".join(written(source.data) for source in there)
