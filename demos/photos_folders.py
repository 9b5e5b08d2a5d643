"""Folders that visitors of Photos may look into, what stays inside them, and their pictures.

Names may have become links since they were listed. So it is asked anew, each time a folder is
entered or a picture is sent, whether that still lies below what was allowed.
"""

import base64
import io
import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image

from mmfm.data.folders import picture_files
from mmfm.data.pictures import open_picture
from mmfm.errors import MmfmError, NotHere
from mmfm.listing import printable
from mmfm.models.clip import TwoTowers
from mmfm.models.label_vectors import fingerprint
from mmfm.store import Store, below, stored_rows

from .parts import MAX_PIXELS
from .photos_asked import Told

MOST_FAILED = 100  # files that are named
THUMB, VIEW = 208, 1200  # pixels of a thumbnail's side, of a large picture's longer one
COARSE = 96  # up to here a picture's own pixels are shown


@dataclass(frozen=True)
class Place:
    """A folder that visitors may look into: one that was allowed, or below it."""

    root: Path
    inside: tuple[str, ...] = ()
    examples: bool = False

    @property
    def folder(self) -> Path:
        """Where it is, if nobody has put a link there."""
        return self.root.joinpath(*self.inside)


@dataclass(eq=False)
class Album:
    """The pictures of a place whose vectors are known, at one moment; a picture is its number."""

    place: Place
    model: str
    paths: list[str]
    rows: Float32[np.ndarray, "n d"]
    left: frozenset[str]  # the paths of those that are not indexed
    engines: tuple[str, ...]  # what the picture tower was run with

    @property
    def total(self) -> int:
        """How many there are, indexed or not."""
        return len(self.paths) + len(self.left)

    @cached_property
    def number(self) -> dict[str, int]:
        """The number of each picture, by its path."""
        return {path: number for number, path in enumerate(self.paths)}


# --- what is inside -------------------------------------------------------------------------------


def checked(place: Place, say: Mapping[str, str]) -> Path:
    """Where a place is, refused where it is gone or a link leads elsewhere by now."""
    folder = place.folder
    if os.path.realpath(folder) != os.fspath(folder) or not folder.is_relative_to(place.root):
        raise Told(say["no_folder"])
    if not folder.is_dir():
        raise Told(say["no_folder"])
    return folder


def subfolders(folder: Path) -> tuple[str, ...]:
    """The folders inside of one; not the hidden ones, and no links."""
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]
    except OSError as error:
        raise NotHere(f"{folder.name}: {error.strerror}") from error
    return tuple(sorted(names))


def is_allowed(real: str, place: Place) -> bool:
    """Whether a path, in which no link is left, lies below what was allowed."""
    return Path(real).is_relative_to(place.root)


def stays_inside(path: str, place: Place) -> bool:
    """Whether a file is where it seems to be, or a link to another that may be looked at."""
    return not Path(path).is_symlink() or is_allowed(os.path.realpath(path), place)


def album_of(place: Place, model: str, clip: TwoTowers, store: Store) -> Album:
    """All pictures of a place that are indexed as they are now."""
    found = (os.fspath(file) for file in picture_files(place.folder).files)
    paths = [path for path in found if stays_inside(path, place)]
    stored = zip(paths, stored_rows(store, clip, paths), strict=True)
    rows = [(path, row) for path, row in stored if row is not None]
    vectors = np.stack([row for _, row in rows]) if rows else np.empty((0, clip.dim))
    matrix = vectors.astype(np.float32, copy=False)
    engines: list[str] = []
    if rows:
        where = below([os.fsencode(place.folder)])
        column = store.shelf(fingerprint(clip)).read(["engine"], where).column("engine")
        engines = sorted(column.unique().to_pylist())
    named = [path for path, _ in rows]
    left = frozenset(paths).difference(named)
    return Album(place, model, named, matrix, left, tuple(engines))


# --- names ----------------------------------------------------------------------------------------


def place_name(place: Place, say: Mapping[str, str]) -> str:
    """What a place to begin at is called."""
    if place.examples:
        return say["examples_place"]
    return printable(place.root.name or str(place.root))


def folder_name(place: Place, name: str, say: Mapping[str, str]) -> str:
    """What a folder is called; those of the examples have names in two languages."""
    return say.get(f"examples_{name}", name) if place.examples else printable(name)


def shown_name(path: str, place: Place) -> str:
    """A picture's path as visitors see it: below the folder that was allowed."""
    return printable(os.path.relpath(path, place.root))


def failed_data(failed: Mapping[str, str], place: Place) -> list[list[str]]:
    """Which files cannot be read, and why."""
    some = itertools.islice(failed.items(), MOST_FAILED)
    return [[shown_name(path, place), printable(reason)] for path, reason in some]


# --- pictures, small and large --------------------------------------------------------------------


def small_picture(album: Album, number: int) -> str:
    """The middle of a picture as a small square, inside its own address; empty if it is gone."""
    return _seen(album, number, _small)


def large_picture(album: Album, number: int) -> str:
    """A picture large enough to look at, inside its own address; empty if it is gone."""
    return _seen(album, number, _large)


def real_path(album: Album, number: int) -> str | None:
    """Where a picture is; None where it leads out of what was allowed.

    It is asked anew each time: a link may have taken its place, or that of a folder above it.
    """
    real = os.path.realpath(album.paths[number])
    return real if is_allowed(real, album.place) else None


def _seen(album: Album, number: int, look: Callable[[str, int], str]) -> str:
    real = real_path(album, number)
    try:
        return "" if real is None else look(real, Path(real).stat().st_mtime_ns)
    except (MmfmError, OSError):
        return ""


@lru_cache(4096)
def _small(path: str, changed: int) -> str:
    """Kept under the time of its last change."""
    picture = open_picture(path, at_least=THUMB, max_pixels=MAX_PIXELS)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    square.thumbnail((THUMB, THUMB), Image.Resampling.BICUBIC)
    return _inside_address(square)


def _large(path: str, changed: int) -> str:
    picture = open_picture(path, at_least=VIEW // 2, max_pixels=MAX_PIXELS)
    picture.thumbnail((VIEW, VIEW), Image.Resampling.BICUBIC)
    return _inside_address(picture)


def _inside_address(picture: Image.Image) -> str:
    kind = "PNG" if max(picture.size) <= COARSE else "JPEG"
    file = io.BytesIO()
    picture.save(file, kind, quality=84)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(file.getvalue()).decode()
