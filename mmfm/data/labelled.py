"""Labelled pictures in memory, whatever they lay in before: digits, folders or a parquet file.

`load_labelled` brings them to one square size and one tensor, which is the fastest thing to train
small models from. `augment` varies a batch of them, keyed by seed, epoch and sample.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float, Int, Int64, UInt8
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
from mmfm.data.draws import stratified, uniform
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
from mmfm.errors import BadData, BadInput, NotHere

KNOWN = ("digits", "mnist", "fashion")

_AUGMENT = 1  # the stream of draws, so that noise for the same sample draws other numbers


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


# Augmentation -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Augment:
    """How far a picture may be varied each time that it is shown; all off is no change at all."""

    flip: bool = False  # left and right swapped, every second time
    shift: int = 0  # pixels up, down, left or right; what comes in is mirrored at the border
    zoom: float = 0.0  # by at most this share the part that is shown is smaller than the whole
    erase: float = 0.0  # probability that a rectangle is filled with the picture's mean colour
    brightness: float = 0.0  # at most so much is added or taken away, in the images' own unit
    contrast: float = 0.0  # distances to the picture's mean change by at most this share

    def __post_init__(self) -> None:
        if self.shift < 0 or not 0 <= self.erase <= 1 or min(self.brightness, self.contrast) < 0:
            raise BadInput(f"{self}: erase lies between 0 and 1, the others are not below 0")
        if not 0 <= self.zoom < 1:
            raise BadInput(f"{self}: zoom lies from 0 up to 1, where nothing would be left")


def augment(
    images: Float[Tensor, "b c h w"],
    recipe: Augment,
    seed: int,
    epoch: Int[Tensor, "b"] | int,
    index: Int[Tensor, "b"],
) -> Float[Tensor, "b c h w"]:
    """Vary a batch; sample `index[i]` of an epoch is varied the same in whatever batch it comes."""
    height, width = images.shape[2:]
    if recipe.shift >= min(height, width):
        raise BadInput(f"a shift of {recipe.shift} is too far for pictures of {width}x{height}")
    draw = uniform(seed, epoch, index, 15, stream=_AUGMENT).to(images.device)
    if recipe.flip or recipe.shift:
        images = _moved(images, recipe, draw[:, 0:3])
    if recipe.zoom:
        images = _zoomed(images, recipe.zoom, draw[:, 10:15])
    mean = images.mean(dim=(2, 3), keepdim=True)
    if recipe.erase:
        erased = _rectangles(recipe.erase, draw[:, 3:8], height, width)
        images = torch.where(rearrange(erased, "b h w -> b 1 h w"), mean, images)
    if recipe.brightness or recipe.contrast:
        change = rearrange(2 * draw[:, 8:10] - 1, "b two -> two b 1 1 1").to(images.dtype)
        images = (images - mean) * (1 + recipe.contrast * change[0]) + mean
        images = images + recipe.brightness * change[1]
    return images


def _moved(
    images: Float[Tensor, "b c h w"], recipe: Augment, draw: Float[Tensor, "b 3"]
) -> Float[Tensor, "b c h w"]:
    """Flip and shift by looking up, for every pixel, the one that moves there."""
    channels, height, width = images.shape[1:]
    offset = (draw[:, :2] * (2 * recipe.shift + 1)).long() - recipe.shift
    rows = _mirrored(torch.arange(height, device=images.device) + offset[:, 0:1], height)
    columns = _mirrored(torch.arange(width, device=images.device) + offset[:, 1:2], width)
    if recipe.flip:
        columns = torch.where(draw[:, 2:3] < 0.5, columns.flip(1), columns)
    pixels = rearrange(rows, "b h -> b h 1") * width + rearrange(columns, "b w -> b 1 w")
    moved = rearrange(images, "b c h w -> b c (h w)").gather(
        2, repeat(pixels, "b h w -> b c (h w)", c=channels)
    )
    return rearrange(moved, "b c (h w) -> b c h w", h=height)


def _zoomed(
    images: Float[Tensor, "b c h w"], zoom: float, draw: Float[Tensor, "b 5"]
) -> Float[Tensor, "b c h w"]:
    """Show a part of each picture as large as the whole, a little wider or taller than it was."""
    # Both sides become shorter by nearly the same.
    sides = 1 - zoom * (0.75 * draw[:, 0:1] + 0.25 * draw[:, 1:3])
    middles = (1 - sides) * (2 * draw[:, 3:5] - 1)
    rows, columns = (
        (2 * torch.arange(side, device=images.device) + 1) / side - 1 for side in images.shape[2:]
    )
    x, y = middles[:, 0:1] + sides[:, 0:1] * columns, middles[:, 1:2] + sides[:, 1:2] * rows
    grid = torch.stack(
        [repeat(x, "b w -> b h w", h=len(rows)), repeat(y, "b h -> b h w", w=len(columns))], dim=-1
    ).to(images.dtype)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _mirrored(position: Int64[Tensor, "b n"], length: int) -> Int64[Tensor, "b n"]:
    position = position.abs()
    return (length - 1) - ((length - 1) - position).abs()


def _rectangles(
    probability: float, draw: Float[Tensor, "b 5"], height: int, width: int
) -> Float[Tensor, "b h w"]:
    """Choose the pixels to erase (Zhong et al. 2017): 2 to 33 % of the area, 0.3 to 3.3 wide."""
    area = (0.02 + 0.31 * draw[:, 1:2]) * height * width
    aspect = 0.3 * (3.3 / 0.3) ** draw[:, 2:3]
    tall = (area / aspect).sqrt().round().clamp(1, height)
    wide = (area * aspect).sqrt().round().clamp(1, width)
    top, left = (
        (draw[:, 3:4] * (height - tall + 1)).floor(),
        (draw[:, 4:5] * (width - wide + 1)).floor(),
    )
    y, x = torch.arange(height, device=draw.device), torch.arange(width, device=draw.device)
    inside_y = rearrange((y >= top) & (y < top + tall), "b h -> b h 1")
    inside_x = rearrange((x >= left) & (x < left + wide), "b w -> b 1 w")
    return inside_y & inside_x & rearrange(draw[:, 0:1] < probability, "b 1 -> b 1 1")
