"""Which files of a folder are for training and which are held out, as their names say.

A held-out part is called val, valid, validation or test; "valley" and "testtube" are no parts.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mmfm.errors import BadData, NotHere

_HELD_OUT = ("val", "valid", "validation", "test")  # the first that is there is taken


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


def folder_parts(folder: Path) -> tuple[Path, Path | None]:
    """Find a folder's parts: (to train on, held out); the folder itself where it has none.

    A folder called train is a part only if class folders lie inside it and nothing but parts
    beside it; otherwise train is a class like any other.
    """
    inside = {child.name: child for child in visible(folder.iterdir()) if child.is_dir()}
    train = inside.get("train")
    if train is None or not inside.keys() <= {"train", *_HELD_OUT}:
        return folder, None
    if not any(child.is_dir() for child in visible(train.iterdir())):
        return folder, None
    return train, next((inside[name] for name in _HELD_OUT if name in inside), None)


def class_folders(folder: Path) -> dict[str, list[Path]]:
    """List DIR/<label>/... : the label is the first folder's name, below it may be more folders."""
    classes = {
        child.name: files
        for child in sorted(visible(folder.iterdir()))
        if child.is_dir() and (files := list(_walk(child)))
    }
    if len(classes) < 2:
        raise BadData(
            f"{folder}: {len(classes)} class folders with files in them; at least two are needed, "
            f"as {folder / 'cat'} and {folder / 'dog'}"
        )
    return classes


def picture_files(path: Path) -> tuple[list[Path], int]:
    """List what may be a picture at a path: (the file, or those in the folder; how many others).

    In a folder a file is known by its ending; a file that is named is taken at its word.
    """
    if not path.exists():
        raise NotHere(f"{path}: no such file or folder")
    if not path.is_dir():
        return [path], 0
    from PIL import Image

    endings = {end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    files = list(_walk(path))
    pictures = [file for file in files if file.suffix.lower() in endings]
    return pictures, len(files) - len(pictures)


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
