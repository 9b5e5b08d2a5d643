"""Which files of a folder are pictures; which are for training and which are held out.

A held-out part is called val, valid, validation or test; "valley" and "testtube" are no parts.
"""

import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmfm.data.formats import HEAD, RAW_ENDINGS, kind_of, picture_endings
from mmfm.errors import BadData, NotHere

_HELD_OUT = ("val", "valid", "validation", "test")  # the first that is there is taken
_ENDLESS = "a link to a folder that it lies in, so without end"


def file_parts(folder: Path, suffixes: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """Find a folder's data files: (to train on, held out); both empty where there are none."""
    files = _files(folder, suffixes)
    held_out = _held_out(files)
    train = [file for file in files if _part(file) == "train"]
    train = train or [file for file in files if _part(file) not in _HELD_OUT]
    if files and not train:
        raise BadData(f"{folder}: only held-out files, {', '.join(f.name for f in files)}")
    return train, held_out


def beside(path: Path) -> list[Path]:
    """Find the held-out files beside a training file; none for a file called otherwise."""
    return _held_out(_files(path.parent, (path.suffix,))) if _part(path) == "train" else []


def folder_parts(folder: Path, *, need_classes: bool = True) -> tuple[Path, Path | None]:
    """Find a folder's parts: (to train on, held out); the folder itself where it has none.

    A folder called train is a part only if class folders lie inside it and nothing but parts
    beside it; otherwise train is a class like any other. Where no classes are needed, pictures
    may lie right inside it, if a held-out part is beside it.
    """
    inside = {child.name: child for child in visible(folder.iterdir()) if is_folder(child)}
    train = inside.get("train")
    if train is None or not inside.keys() <= {"train", *_HELD_OUT}:
        return folder, None
    held_out = next((inside[name] for name in _HELD_OUT if name in inside), None)
    if any(is_folder(child) for child in visible(train.iterdir())):
        return train, held_out
    return (folder, None) if need_classes or held_out is None else (train, held_out)


def class_folders(folder: Path, *, at_least: int = 2) -> dict[str, list[Path]]:
    """List DIR/<label>/... : the label is the first folder's name, below it may be more folders.

    A label may be a link to a folder; one that cannot be followed is left out (`lost_links`).
    """
    lost = lost_links(folder)
    classes = {
        child.name: files
        for child in sorted(visible(folder.iterdir()))
        if child not in lost and is_folder(child) and (files := list(_walk(child)))
    }
    if len(classes) < at_least:
        others = "".join(f"; {which}: {why}" for which, why in lost.items())
        raise BadData(
            f"{folder}: {len(classes)} class folders with files in them; at least two are needed, "
            f"as {folder / 'cat'} and {folder / 'dog'}{others}"
        )
    return classes


def lost_links(folder: Path) -> dict[Path, str]:
    """Find the links right inside a folder that cannot be followed to an end, and why not."""
    lost: dict[Path, str] = {}
    for entry in _entries(os.fspath(folder), Found([], Counter(), [])):
        path = Path(entry.path)
        if not entry.is_symlink():
            continue
        try:
            path.stat()
        except OSError as error:
            lost[path] = _reason(error)
        else:
            if _is_endless(path):
                lost[path] = _ENDLESS
    return lost


def is_folder(path: Path) -> bool:
    """Whether it is a folder, or a link to one."""
    # Where a link cannot be followed, Path.is_dir may raise an error.
    return os.path.isdir(path)  # noqa: PTH112


@dataclass(frozen=True)
class Found:
    """What lies in a folder, and in the folders below it."""

    files: list[Path]  # what may be pictures, sorted
    others: Counter[str]  # how many are none, by ending; "" has none, "/" is a link to a folder
    unreadable: list[tuple[Path, str]]  # what could not be looked into, and why

    def __iter__(self) -> Iterator[Any]:
        """For `files, others = picture_files(folder)`: the files, and how many others there are."""
        return iter((self.files, self.others.total()))


def picture_files(path: Path, *, without: Path | None = None) -> Found:
    """Find what may be a picture at a path: the file itself, or those in the folder, sorted.

    In a folder a file is known by its ending or, where no picture ends so, by its first bytes; what
    is hidden is passed over, and so are cameras' raw files and the folder `without`. Links to files
    are followed, links to folders are not. A file that is named is taken at its word.
    """
    if not path.exists():
        why = "a link that leads nowhere" if path.is_symlink() else "no such file or folder"
        raise NotHere(f"{path}: {why}")
    if not path.is_dir():
        return Found([path], Counter(), [])
    found = Found([], Counter(), [])
    left_out = None if without is None else os.path.realpath(without)
    # A list of lists, not a function that calls itself: folders may lie deeper than Python calls.
    folders = [_entries(os.fspath(path), found)]
    while folders:
        entry = next(folders[-1], None)
        if entry is None:
            folders.pop()
        elif not entry.is_dir(follow_symlinks=False):
            _take_up(entry, found)
        elif left_out is None or os.path.realpath(entry.path) != left_out:
            folders.append(_entries(entry.path, found))
    return found


def left_out(others: Counter[str]) -> list[str]:
    """What was found beside pictures, by its endings: a line for each reason to leave it out."""
    raw = Counter({ending: count for ending, count in others.items() if ending in RAW_ENDINGS})
    rest = others - raw
    lines: list[str] = []
    if total := rest.total():
        are = "1 file is no picture" if total == 1 else f"{total:,} files are no pictures"
        lines.append(f"{are} and left out: {_by_ending(rest)}")
    if total := raw.total():
        are = "1 raw file of a camera is" if total == 1 else f"{total:,} raw files of cameras are"
        lines.append(
            f"{are} left out: {_by_ending(raw)}; nothing here develops them, so export JPEGs"
        )
    return lines


def _by_ending(files: Counter[str]) -> str:
    known = {"": "without an ending", "/": "links to folders"}
    kinds = [f"{count:,} {known.get(kind, kind)}" for kind, count in files.most_common(5)]
    return ", ".join(kinds) + (", ..." if len(files) > 5 else "")


def loose_pictures(folder: Path) -> list[Path]:
    """Find the pictures that lie in a folder itself, sorted; also links that lead to none."""
    found = Found([], Counter(), [])
    for entry in _entries(os.fspath(folder), found):
        if not (entry.is_dir(follow_symlinks=False) or _leads_to_folder(entry)):
            _take_up(entry, found)
    return sorted(found.files + [path for path, _ in found.unreadable])


def _entries(folder: str, found: Found) -> Iterator[os.DirEntry[str]]:
    """What a folder holds, by name, without what is hidden."""
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        reason = f"this folder cannot be listed: {error.strerror or error}"
        found.unreadable.append((Path(folder), reason))
        return iter(())
    return iter(sorted(shown, key=lambda entry: entry.name))


def _take_up(entry: os.DirEntry[str], found: Found) -> None:
    """Put one file, or whatever else is no folder, where it belongs."""
    path = Path(entry.path)
    ending = path.suffix.lower()
    if _leads_to_folder(entry):
        if _is_endless(path):
            found.unreadable.append((path, _ENDLESS))
        else:
            found.others["/"] += 1
    elif ending in picture_endings():
        found.files.append(path)
    else:
        try:
            # A pipe, a socket or a device is not opened: that may wait for ever.
            regular = stat.S_ISREG(entry.stat().st_mode)
            picture = regular and ending not in RAW_ENDINGS and _begins_as_picture(path)
        except OSError as error:
            found.unreadable.append((path, _reason(error)))
        else:
            if picture:
                found.files.append(path)
            else:
                found.others[ending] += 1


def _is_endless(path: Path) -> bool:
    """Whether a link leads to a folder that it lies in itself."""
    return Path(os.path.realpath(path)) in Path(os.path.realpath(path.parent), "x").parents


def _reason(error: OSError) -> str:
    """Why a link cannot be followed."""
    if isinstance(error, FileNotFoundError):
        return "a link that leads nowhere"
    return "a loop of links" if error.errno == errno.ELOOP else error.strerror or str(error)


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link to a folder.

    One that cannot be followed passes for none, where other ways to ask would raise an error; its
    reason is told as soon as the file itself is asked for.
    """
    return entry.is_symlink() and os.path.isdir(entry.path)  # noqa: PTH112


def _begins_as_picture(path: Path) -> bool:
    with path.open("rb", buffering=0) as file:
        return kind_of(file.read(HEAD)) is not None


def visible(paths: Iterable[Path]) -> Iterator[Path]:
    """Leave out hidden files and folders."""
    return (path for path in paths if not path.name.startswith("."))


def _walk(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):  # follows no links, so loops of them do no harm
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(here, name) for name in sorted(files) if not name.startswith("."))


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    here = visible(folder.iterdir())
    return sorted(path for path in here if path.suffix.lower() in suffixes and path.is_file())


def _held_out(files: Sequence[Path]) -> list[Path]:
    for part in _HELD_OUT:
        if found := [file for file in files if _part(file) == part]:
            return found
    return []


def _part(file: Path) -> str | None:
    """Read the part off a name like train-00000.parquet, val.csv or test2.csv."""
    match = re.match(rf"(train|{'|'.join(_HELD_OUT)})(?![^\W\d_])", file.name)
    return match[1] if match else None
