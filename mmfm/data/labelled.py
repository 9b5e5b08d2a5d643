"""Labelled pictures in memory, whatever they lay in before: digits, folders or a parquet file.

`load_labelled` brings them to one square size and one tensor, which is the fastest thing to train
small models from.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Int64, UInt8
from numpy import ndarray
from PIL import Image
from torch import Tensor

from mmfm.data import digits
from mmfm.data.decode import (
    ANY_SIDE,
    Example,
    Progress,
    Sides,
    check_memory,
    check_size,
    decode,
    first_of,
    square_side,
)
from mmfm.data.draws import stratified
from mmfm.data.folders import (
    beside,
    class_folders,
    file_parts,
    folder_parts,
    loose_pictures,
    lost_links,
)
from mmfm.data.parquet import read_labels, read_pictures
from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadData, NotHere

KNOWN = ("digits", "mnist", "fashion")


@dataclass(frozen=True, eq=False)
class LabelledPictures:
    """Pictures of one size with their labels; `names[labels[i]]` is what `images[i]` shows."""

    images: UInt8[Tensor, "n h w c"]
    labels: Int64[Tensor, "n"]
    names: tuple[str, ...]
    source: str
    skipped: tuple[tuple[str, str], ...] = ()  # (which, why) of the unreadable ones

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: Int[Tensor, "m"]) -> "LabelledPictures":
        """Keep the examples with these numbers, in this order."""
        return LabelledPictures(
            self.images[index], self.labels[index], self.names, self.source, self.skipped
        )

    def split(self, fraction: float, seed: int) -> tuple["LabelledPictures", "LabelledPictures"]:
        """Hold out a fraction of every class: (the rest to train on, the held-out part)."""
        train, held_out = stratified(self.labels, fraction, seed)
        return self.select(train), self.select(held_out)


def load_labelled(
    spec: str, *, size: int | None, grey: bool = False, progress: Progress | None = None
) -> tuple[LabelledPictures, LabelledPictures | None]:
    """Load a set of labelled pictures: (to train on, its own held-out part or None).

    `spec` is "digits", "mnist" or "fashion", a folder of IDX files, a folder of class folders, or
    a parquet file. A held-out part is what lies beside the training part under a name that begins
    with val or test. Without `size` the pictures keep their own, which must then be one and square.
    IDX sets have one channel; the others have three, or one with `grey`.
    """
    check_size(size)
    if (known := _idx(spec, size, ANY_SIDE, progress)) is not None:
        return known
    train, held_out = _undecoded(spec, labels_needed=True)
    pictures = _decoded(train, size, grey=grey, progress=progress)
    if len(pictures.labels.unique()) < 2:
        raise BadData(
            f"{spec}: pictures of at least two classes are needed{first_of(pictures.skipped)}"
        )
    if held_out is None:
        return pictures, None
    side = pictures.images.shape[1]
    held_out = _renumbered(held_out, pictures.names)
    return pictures, _decoded(held_out, side, grey=grey, progress=progress)


# Three parts, labels or none ----------------------------------------------------------------------

NO_LABEL = -1  # stands in `labels` for a picture that has none

# Of its training file, in the order of the file: as many are set apart as its test file has.
_FIRST_OF_MNIST, _LAST_OF_MNIST = 50_000, 10_000


@dataclass(frozen=True, eq=False)
class Parts:
    """A set of pictures for a model that makes pictures, and for those who judge it.

    It learns from `train` alone. What it makes is held against `test`; so are the pictures `apart`,
    which neither it nor its judge has learned from, and which tell how alike real ones are.
    """

    train: LabelledPictures
    apart: LabelledPictures
    test: LabelledPictures


def load_parts(
    spec: str,
    *,
    size: int | None = None,
    sides: Sides = ANY_SIDE,
    progress: Progress | None = None,
) -> Parts:
    """Load a set of pictures, labelled or not, in three parts that are the same for everyone.

    `spec` is what `load_labelled` takes, but pictures without a class folder or a label are welcome
    too; where there are not two classes to choose from, there are none at all. Pictures that are
    all grey have one channel, others three. Without `size` they keep their own, one of `sides`.

    MNIST, Fashion-MNIST and sets of their kind give the first 50,000 of the training file, in its
    order, the last 10,000, and the test file. Of others a tenth of every class is set apart, and
    a tenth to test, where they have no such part of their own.
    """
    check_size(size, sides)
    known = _idx(spec, size, sides, progress)
    train, test = known or _with_or_without_labels(spec, size, sides, progress)
    if known is not None and len(train) == _FIRST_OF_MNIST + _LAST_OF_MNIST:
        in_order = torch.arange(len(train)).split(_FIRST_OF_MNIST)
        return Parts(train.select(in_order[0]), train.select(in_order[1]), known[1])
    if test is None:
        train, test = train.split(0.1, seed=0)
    train, apart = train.split(1 / 9, seed=0)
    return Parts(train, apart, test)


def _with_or_without_labels(
    spec: str, size: int | None, sides: Sides, progress: Progress | None
) -> tuple[LabelledPictures, LabelledPictures | None]:
    train_part, test_part = _undecoded(spec, labels_needed=False)
    train = _decoded(train_part, size, sides=sides, progress=progress)
    test = None
    classes = train.labels.unique()
    if len(classes[classes != NO_LABEL]) < 2:
        train = _nameless(train)
    if test_part is not None:
        if train.names:
            test_part = _renumbered(test_part, train.names)
        test = _decoded(test_part, train.images.shape[1], progress=progress)
        test = test if train.names else _nameless(test)
    if _is_grey(train) and (test is None or _is_grey(test)):
        train, test = _first_channel(train), None if test is None else _first_channel(test)
    return train, test


def _nameless(pictures: LabelledPictures) -> LabelledPictures:
    none = torch.full_like(pictures.labels, NO_LABEL)
    return replace(pictures, labels=none, names=())


def _is_grey(pictures: LabelledPictures) -> bool:
    some = pictures.images.split(4096)  # a comparison of all at once would double the memory
    return all(bool((images[..., 1:] == images[..., :1]).all()) for images in some)


def _first_channel(pictures: LabelledPictures) -> LabelledPictures:
    return replace(pictures, images=pictures.images[..., :1].clone())


# What a run remembers -----------------------------------------------------------------------------


def described(pictures: LabelledPictures) -> dict[str, Any]:
    """What a run learns from, in a few words and a checksum by which any change is noticed."""
    shape, labels = pictures.images.shape, pictures.labels
    return description(shape, pictures.names, pictures.images, labels)


def description(
    shape: Sequence[int], classes: Iterable[str], *content: Tensor | str
) -> dict[str, Any]:
    """The same of any heap of n h w c pictures; the content tells it from all others."""
    count, side, _, channels = shape
    known = hashlib.sha256()
    for part in content:
        if isinstance(part, str):
            known.update(part.encode("utf-8", "surrogatepass"))
        else:
            for some in part.split(4096):  # so that no second copy is in memory
                known.update(some.numpy().tobytes())
    return {
        "count": count,
        "side": side,
        "channels": channels,
        "classes": list(classes),
        "sha256": known.hexdigest(),
    }


# Digits -------------------------------------------------------------------------------------------


def _idx(
    spec: str, size: int | None, sides: Sides, progress: Progress | None
) -> tuple[LabelledPictures, LabelledPictures] | None:
    """The digits and their kind, which come with a held-out part; None for any other set."""
    if spec in KNOWN:
        return _load_known(spec, size, sides, progress)
    folder = Path(spec)
    if folder.is_dir() and any(digits.find_idx(folder, name) for name in digits.FILES):
        return _from_digits(digits.load_idx_folder(folder), None, str(folder), size, sides)
    return None


def _load_known(
    name: str, size: int | None, sides: Sides, progress: Progress | None
) -> tuple[LabelledPictures, LabelledPictures]:
    if name == "digits":
        return _from_digits(digits.load_digits8(), digits.MNIST.classes, name, size, sides)
    published = digits.FASHION if name == "fashion" else digits.MNIST
    loaded = digits.load_mnist(fashion=name == "fashion", progress=progress)
    return _from_digits(loaded, published.classes, name, size, sides)


def _from_digits(
    loaded: digits.Digits,
    names: tuple[str, ...] | None,
    source: str,
    size: int | None,
    sides: Sides,
) -> tuple[LabelledPictures, LabelledPictures]:
    if names is None:
        top = max(int(loaded.train_labels.max()), int(loaded.test_labels.max()))
        names = tuple(str(label) for label in range(top + 1))

    def part(images: UInt8[ndarray, "n h w"], labels: UInt8[ndarray, "n"]) -> LabelledPictures:
        side = square_side(images.shape[1:], size, source, sides)
        if images.shape[1:] != (side, side):
            check_memory(len(images) * side * side, source, side)
            fit = Preprocessing((side, side), mean=(0.0,), std=(1.0,))
            images = np.stack([np.asarray(fit.view(Image.fromarray(image))) for image in images])
        return LabelledPictures(
            torch.from_numpy(images[..., None].copy()),
            torch.from_numpy(labels.astype(np.int64)),
            names,
            source,
        )

    return (
        part(loaded.train_images, loaded.train_labels),
        part(loaded.test_images, loaded.test_labels),
    )


# Folders and parquet files: first what is there, then the decoding -------------------------------


@dataclass(frozen=True)
class _Part:
    """The examples of one part, not decoded yet."""

    source: str
    names: tuple[str, ...]
    labels: Sequence[int | None]  # None: the set itself has no label for the example
    pictures: Iterable[tuple[str, Path | bytes | None]]  # where it lies, and the picture
    labels_needed: bool  # an example without one is left out
    lost: tuple[tuple[str, str], ...] = ()  # (which, why) of links that lead to none


def _undecoded(spec: str, *, labels_needed: bool) -> tuple[_Part, _Part | None]:
    """What lies at a path: (to train on, held out)."""
    path = Path(spec)
    if path.is_file():
        files, held_out_files = [path], beside(path)
    elif path.is_dir():
        files, held_out_files = file_parts(path, (".parquet",))
    else:
        raise NotHere(
            f"no data set {spec!r}: known names are {', '.join(KNOWN)}; or give a folder of "
            f"{'class folders' if labels_needed else 'pictures'}, a folder of IDX files, or a "
            "parquet file"
        )
    if files:
        held_out = _from_parquet(held_out_files, labels_needed) if held_out_files else None
        return _from_parquet(files, labels_needed), held_out
    folder, held_out_folder = folder_parts(path, need_classes=labels_needed)
    held_out = _from_folders(held_out_folder, labels_needed) if held_out_folder else None
    return _from_folders(folder, labels_needed), held_out


def _from_folders(folder: Path, labels_needed: bool) -> _Part:
    classes = class_folders(folder, at_least=2 if labels_needed else 0)
    loose = [] if labels_needed else loose_pictures(folder)
    labels: list[int | None] = [
        label for label, files in enumerate(classes.values()) for _ in files
    ]
    labels += [None] * len(loose)
    pictures = ((str(path), path) for files in (*classes.values(), loose) for path in files)
    lost = [(str(path), why) for path, why in lost_links(folder).items() if path not in loose]
    return _Part(str(folder), tuple(classes), labels, pictures, labels_needed, tuple(lost))


def _from_parquet(paths: Sequence[Path], labels_needed: bool) -> _Part:
    labels, names = read_labels(paths, needed=labels_needed)
    source = ", ".join(str(path) for path in paths)
    return _Part(source, names, labels, read_pictures(paths), labels_needed)


def _renumbered(part: _Part, names: tuple[str, ...]) -> _Part:
    """Give the held-out part the training part's label numbers."""
    if part.names == names:
        return part
    if unknown := [name for name in part.names if name not in names]:
        raise BadData(
            f"{part.source}: holds {', '.join(unknown)}, which the training part does not; it has "
            f"{', '.join(names)}"
        )
    number = [names.index(name) for name in part.names]
    labels = [None if label is None else number[label] for label in part.labels]
    return replace(part, names=names, labels=labels)


def _decoded(
    part: _Part,
    size: int | None,
    *,
    sides: Sides = ANY_SIDE,
    grey: bool = False,
    progress: Progress | None,
) -> LabelledPictures:
    examples = (
        Example(where, picture, "it has no label" if label is None and part.labels_needed else None)
        for (where, picture), label in zip(part.pictures, part.labels, strict=True)
    )
    images, kept, skipped = decode(
        examples,
        len(part.labels),
        part.source,
        size=size,
        sides=sides,
        grey=grey,
        progress=progress,
    )
    found = [part.labels[number] for number in kept]
    labels = torch.tensor([NO_LABEL if label is None else label for label in found])
    return LabelledPictures(images, labels, part.names, part.source, (*part.lost, *skipped))
