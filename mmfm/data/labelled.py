"""Labelled pictures in memory, whatever they lay in before: digits, folders or a parquet file.

`load_labelled` brings them to one square size and one tensor, which is the fastest thing to train
small models from. `augment` varies a batch of them, keyed by seed, epoch and sample.
"""

import io
import json
import os
import re
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import psutil
import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int, Int64, UInt8
from numpy import ndarray
from PIL import Image
from torch import Tensor

from mmfm.data import digits
from mmfm.data.draws import stratified, uniform
from mmfm.data.pictures import Preprocessing, open_picture
from mmfm.errors import BadData, BadInput, NotHere, UnreadablePicture

if TYPE_CHECKING:
    import pyarrow

Progress = Callable[[int, int], None]  # (done, total): pictures, or bytes of a download

KNOWN = ("digits", "mnist", "fashion")

_SHARE_OF_MEMORY = 0.6
_HELD_OUT = ("val", "test")  # how the held-out files or folders begin; val goes first
_CHUNK = 128  # pictures that a thread decodes at a time
# Decoding a smaller file is mostly Python, and threads only wait for one another: measured on two
# cores, 1 kB JPEGs take 86 us each in one thread and 122 in two, 22 kB 941 and 478.
_WORTH_A_THREAD = 12_000  # bytes
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
    if size is not None and size < 1:
        raise BadInput(f"size {size} is below 1")
    if spec in KNOWN:
        return _load_known(spec, size, progress)
    path = Path(spec)
    if path.is_dir():
        if any(digits.find_idx(path, name) for name in digits.FILES):
            return _from_digits(digits.load_idx_folder(path), None, str(path), size)
        train, held_out = _folder_parts(path)
    elif path.is_file():
        train, held_out = _parquet_parts(path)
    else:
        raise NotHere(
            f"no data set {spec!r}: known names are {', '.join(KNOWN)}; or give a folder of class "
            "folders, a folder of IDX files, or a parquet file"
        )
    pictures = _decode(train, size, grey, progress)
    if len(pictures.labels.unique()) < 2:
        raise BadInput(
            f"{spec}: pictures of at least two classes are needed{_why(pictures.skipped)}"
        )
    if held_out is None:
        return pictures, None
    own = _decode(_renumbered(held_out, pictures.names), pictures.images.shape[1], grey, progress)
    return pictures, own


# Digits -------------------------------------------------------------------------------------------


def _load_known(
    name: str, size: int | None, progress: Progress | None
) -> tuple[LabelledPictures, LabelledPictures]:
    if name == "digits":
        return _from_digits(digits.load_digits8(), digits.MNIST.classes, name, size)
    published = digits.FASHION if name == "fashion" else digits.MNIST
    loaded = digits.load_mnist(fashion=name == "fashion", progress=progress)
    return _from_digits(loaded, published.classes, name, size)


def _from_digits(
    loaded: digits.Digits, names: tuple[str, ...] | None, source: str, size: int | None
) -> tuple[LabelledPictures, LabelledPictures]:
    if names is None:
        top = max(int(loaded.train_labels.max()), int(loaded.test_labels.max()))
        names = tuple(str(label) for label in range(top + 1))

    def part(images: UInt8[ndarray, "n h w"], labels: UInt8[ndarray, "n"]) -> LabelledPictures:
        side = _side(images.shape[1:], size, source)
        if images.shape[1:] != (side, side):
            _check_memory(len(images) * side * side, source, side)
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


class _Example(NamedTuple):
    where: str
    label: int | None  # None: the set itself has no label for it
    picture: Path | bytes | None


@dataclass(frozen=True)
class _Part:
    """The examples of one part, not decoded yet."""

    source: str
    names: tuple[str, ...]
    count: int
    examples: Iterator[_Example]


def _folder_parts(folder: Path) -> tuple[_Part, _Part | None]:
    files = sorted(_visible(folder.glob("*.parquet")))
    if files:
        held_out = _held_out(files)
        train = [file for file in files if file.name.startswith("train")]
        train = train or [file for file in files if file not in held_out]
        if not train:
            raise BadInput(f"{folder}: only held-out files, {', '.join(f.name for f in files)}")
        return _parquet_part(train), _parquet_part(held_out) if held_out else None
    inside = sorted(child for child in _visible(folder.iterdir()) if child.is_dir())
    train = folder / "train"
    if train in inside and all(child == train or _held_out([child]) for child in inside):
        held_out = _held_out(inside)
        return _class_folders(train), _class_folders(held_out[0]) if held_out else None
    return _class_folders(folder), None


def _held_out(paths: Sequence[Path]) -> list[Path]:
    for prefix in _HELD_OUT:
        if found := [path for path in paths if path.name.startswith(prefix)]:
            return found
    return []


def _visible(paths: Iterator[Path]) -> Iterator[Path]:
    return (path for path in paths if not path.name.startswith("."))


def _class_folders(folder: Path) -> _Part:
    """Read DIR/<label>/... : the label is the first folder's name, below it may be more folders."""
    classes = {
        child.name: files
        for child in sorted(_visible(folder.iterdir()))
        if child.is_dir() and (files := list(_walk(child)))
    }
    if len(classes) < 2:
        raise BadInput(
            f"{folder}: {len(classes)} class folders with files in them; at least two are needed, "
            f"as {folder / 'cat'} and {folder / 'dog'} (IDX or parquet files are not here either)"
        )
    examples = (
        _Example(str(path), label, path)
        for label, files in enumerate(classes.values())
        for path in files
    )
    return _Part(str(folder), tuple(classes), sum(map(len, classes.values())), examples)


def _walk(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):  # follows no links, so loops of them do no harm
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(here, name) for name in sorted(files) if not name.startswith("."))


def _parquet_parts(path: Path) -> tuple[_Part, _Part | None]:
    train = _parquet_part([path])
    beside = path.name.startswith("train")
    held_out = _held_out(sorted(_visible(path.parent.glob("*.parquet")))) if beside else []
    return train, _parquet_part(held_out) if held_out else None


def _parquet_part(paths: Sequence[Path]) -> _Part:
    """Read what parquet files hold: the columns `image` (bytes) and `label` (numbers or text)."""
    import pyarrow.parquet as parquet

    values: list[int | str | None] = []
    known: tuple[str, ...] | None = None
    for path in paths:
        with _reading(path):
            file = parquet.ParquetFile(path)
            schema = file.schema_arrow
        _check_columns(schema, path)
        known = known or _metadata_names(schema, path)
        with _reading(path):
            values += file.read(columns=["label"]).column("label").to_pylist()
    classes = paths[0].with_name("classes.json")
    numbered = all(value is None or isinstance(value, int) for value in values)
    if known is None and numbered and classes.is_file():
        known = _json_names(classes)
    source = ", ".join(str(path) for path in paths)
    labels, names = _numbered(values, known, source)
    return _Part(source, names, len(labels), _parquet_examples(paths, labels))


def _parquet_examples(paths: Sequence[Path], labels: Sequence[int | None]) -> Iterator[_Example]:
    import pyarrow.parquet as parquet

    numbers = iter(labels)
    for path in paths:
        row = 0
        with _reading(path):
            for batch in parquet.ParquetFile(path).iter_batches(_CHUNK, columns=["image"]):
                column: Any = batch.column(0)
                if _arrow().types.is_struct(column.type):
                    column = column.flatten()[column.type.get_field_index("bytes")]
                for picture in column.to_pylist():
                    yield _Example(f"{path} row {row}", next(numbers), picture)
                    row += 1


def _check_columns(schema: "pyarrow.Schema", path: Path) -> None:
    types = _arrow().types
    there = ", ".join(f"{field.name} ({field.type})" for field in schema)
    for name in ("image", "label"):
        if name not in schema.names:
            raise BadInput(f"{path}: no column {name!r}; it has {there}")
    image, label = schema.field("image").type, schema.field("label").type
    if types.is_struct(image) and image.get_field_index("bytes") >= 0:
        image = image.field("bytes").type
    if not (types.is_binary(image) or types.is_large_binary(image)):
        raise BadInput(f"{path}: column 'image' has to hold bytes of picture files; it has {there}")
    label = label.value_type if types.is_dictionary(label) else label
    if not (types.is_integer(label) or types.is_string(label) or types.is_large_string(label)):
        raise BadInput(f"{path}: column 'label' has to hold whole numbers or text; it has {there}")


def _metadata_names(schema: "pyarrow.Schema", path: Path) -> tuple[str, ...] | None:
    """Class names as the datasets library leaves them in a parquet file."""
    note = (schema.metadata or {}).get(b"huggingface")
    if note is None:
        return None
    try:
        label = json.loads(note)["info"]["features"]["label"]
        return tuple(label["names"]) if label["_type"] == "ClassLabel" else None
    except (ValueError, KeyError, TypeError) as error:
        raise BadData(f"{path}: its HuggingFace metadata does not describe 'label'") from error


def _json_names(path: Path) -> tuple[str, ...]:
    """Class names from a classes.json, in the order of the labels.

    It may be a list of names, a list of {"wnid", "names"}, or an object of label or WordNet number
    to name or names, or of name to label. Of several names the first counts.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        if isinstance(content, dict) and all(isinstance(v, int) for v in content.values()):
            entries = sorted(content, key=content.__getitem__)
        elif isinstance(content, dict) and all(key.isdecimal() for key in content):
            entries = [content[key] for key in sorted(content, key=int)]
        else:
            entries = list(content.values() if isinstance(content, dict) else content)
        names = [_first_name(entry) for entry in entries]
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise BadData(f"{path}: neither a list of class names nor an object of them") from error
    # ImageNet has two cranes.
    return tuple(
        f"{name} ({label})" if names.count(name) > 1 else name for label, name in enumerate(names)
    )


def _first_name(entry: Any) -> str:
    entry = entry["names"] if isinstance(entry, dict) else entry
    names = [entry] if isinstance(entry, str) else entry
    words = [str(name) for name in names if not re.fullmatch(r"n\d{8}", name)]
    return (words or names)[0]


def _numbered(
    values: Sequence[int | str | None], known: tuple[str, ...] | None, source: str
) -> tuple[list[int | None], tuple[str, ...]]:
    """Number the labels from 0; below 0 or empty means that the set itself gives none."""
    values = [None if isinstance(value, int) and value < 0 else value for value in values]
    found = {value for value in values if value is not None}
    if known is not None and all(isinstance(value, int) for value in found):
        top = max((value for value in found if isinstance(value, int)), default=-1)
        if top >= len(known):
            raise BadData(f"{source}: has label {top}, but its class names are only {len(known)}")
        return [value if isinstance(value, int) else None for value in values], known
    ordered = sorted(found, key=lambda value: (isinstance(value, str), value))
    number = {value: label for label, value in enumerate(ordered)}
    labels = [None if value is None else number[value] for value in values]
    return labels, tuple(str(value) for value in ordered)


def _renumbered(part: _Part, names: tuple[str, ...]) -> _Part:
    """Give the held-out part the training part's label numbers."""
    if part.names == names:
        return part
    if unknown := [name for name in part.names if name not in names]:
        raise BadInput(
            f"{part.source}: holds {', '.join(unknown)}, which the training part does not; it has "
            f"{', '.join(names)}"
        )
    number = [names.index(name) for name in part.names]
    examples = (
        example if example.label is None else example._replace(label=number[example.label])
        for example in part.examples
    )
    return _Part(part.source, names, part.count, examples)


@contextmanager
def _reading(path: Path) -> Generator[None, None, None]:
    """Say in one line which parquet file is none, or is damaged."""
    try:
        yield
    except (_arrow().ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadData(f"{path}: not a parquet file, or damaged ({reason})") from error


def _arrow() -> Any:
    import pyarrow

    return pyarrow


# Decoding -----------------------------------------------------------------------------------------


def _decode(
    part: _Part, size: int | None, grey: bool, progress: Progress | None
) -> LabelledPictures:
    """Decode all examples of a part, in a few threads where that is faster."""
    threads = os.cpu_count() or 1
    channels = 1 if grey else 3
    images: Tensor | None = None
    labels: list[int] = []
    skipped: list[tuple[str, str]] = []
    done = 0

    def keep(decoded: list[tuple[_Example, UInt8[ndarray, "h w c"] | str]]) -> None:
        nonlocal images, size, done
        for example, pixels in decoded:
            if example.label is None or isinstance(pixels, str):
                why = pixels if isinstance(pixels, str) else "it has no label"
                skipped.append((example.where, why))
                continue
            if images is None:
                size = _side(pixels.shape[:2], size, part.source)
                _check_memory(part.count * size * size * channels, part.source, size)
                images = torch.empty(part.count, size, size, channels, dtype=torch.uint8)
            if pixels.shape != images.shape[1:]:
                raise BadInput(
                    f"{part.source}: pictures of several sizes ({size}x{size}, and {example.where} "
                    f"is {pixels.shape[1]}x{pixels.shape[0]}); bring them to one size (--size)"
                )
            images[len(labels)] = torch.from_numpy(pixels)
            labels.append(example.label)
        done += len(decoded)
        if progress is not None:
            progress(done, part.count)

    if size is not None:
        _check_memory(part.count * size * size * channels, part.source, size)
    asked = size
    pending: deque[Future[list[tuple[_Example, UInt8[ndarray, "h w c"] | str]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        while chunk := list(islice(part.examples, _CHUNK)):
            heavy = _bytes(chunk[0]) > _WORTH_A_THREAD
            if heavy:
                pending.append(pool.submit(_decode_some, chunk, asked, grey))
            # A bounded queue: the undecoded files of a large set need not fit in memory.
            while len(pending) > (2 * threads if heavy else 0):
                keep(pending.popleft().result())
            if not heavy:
                keep(_decode_some(chunk, asked, grey))
        while pending:
            keep(pending.popleft().result())
    if images is None:
        raise BadInput(f"{part.source}: no readable picture{_why(skipped)}")
    return LabelledPictures(
        images[: len(labels)], torch.tensor(labels), part.names, part.source, tuple(skipped)
    )


def _bytes(example: _Example) -> int:
    if isinstance(example.picture, Path):
        return example.picture.stat().st_size if example.picture.is_file() else 0
    return len(example.picture or b"")


def _decode_some(
    examples: Sequence[_Example], size: int | None, grey: bool
) -> list[tuple[_Example, UInt8[ndarray, "h w c"] | str]]:
    """Decode a few examples; in place of an unreadable picture stands the reason."""
    return [(example, _pixels(example, size, grey)) for example in examples]


def _pixels(example: _Example, size: int | None, grey: bool) -> UInt8[ndarray, "h w c"] | str:
    if example.label is None:
        return "it has no label"
    if example.picture is None:
        return "the row holds no bytes"
    file = example.picture if isinstance(example.picture, Path) else io.BytesIO(example.picture)
    try:
        picture = open_picture(file)
    except UnreadablePicture as error:
        return error.reason
    except NotHere:
        return "the file is gone, or a link leads nowhere"
    picture = picture.convert("L") if grey else picture
    if size is not None and picture.size != (size, size):
        values = (0.0,) if grey else (0.0, 0.0, 0.0)
        ones = (1.0,) if grey else (1.0, 1.0, 1.0)
        picture = Preprocessing((size, size), values, ones).view(picture)
    pixels = np.array(picture)
    return pixels[..., None] if grey else pixels


def _side(shape: Sequence[int], size: int | None, source: str) -> int:
    """The side of the square that the pictures will have."""
    if size is not None:
        return size
    if shape[0] != shape[1]:
        raise BadInput(
            f"{source}: pictures of {shape[1]}x{shape[0]} are not square; bring them to one size "
            "(--size)"
        )
    return shape[0]


def _check_memory(needed: int, source: str, side: int) -> None:
    available = _available_memory()
    if needed > _SHARE_OF_MEMORY * available:
        raise BadInput(
            f"{source}: at {side}x{side} the pictures fill {needed / 1e9:.1f} GB, more than "
            f"{_SHARE_OF_MEMORY:.0%} of the {available / 1e9:.1f} GB available here; choose a "
            "smaller size, or fewer pictures"
        )


def _available_memory() -> int:
    available = psutil.virtual_memory().available
    # psutil sees the whole machine; a container may have been given less of it.
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (most := limit.read_text().strip()) != "max":
        available = min(available, int(most))
    return available


def _why(skipped: Sequence[tuple[str, str]]) -> str:
    if not skipped:
        return ""
    which, reason = skipped[0]
    return f" ({len(skipped)} were skipped, the first: {which}: {reason})"


# Augmentation -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Augment:
    """How far a picture may be varied each time that it is shown; all off is no change at all."""

    flip: bool = False  # left and right swapped, every second time
    shift: int = 0  # pixels up, down, left or right; what comes in is mirrored at the border
    erase: float = 0.0  # probability that a rectangle is filled with the picture's mean colour
    brightness: float = 0.0  # at most so much is added or taken away, in the images' own unit
    contrast: float = 0.0  # distances to the picture's mean change by at most this share

    def __post_init__(self) -> None:
        if self.shift < 0 or not 0 <= self.erase <= 1 or min(self.brightness, self.contrast) < 0:
            raise BadInput(f"{self}: erase lies between 0 and 1, the others are not below 0")


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
    draw = uniform(seed, epoch, index, 10, stream=_AUGMENT).to(images.device)
    if recipe.flip or recipe.shift:
        images = _moved(images, recipe, draw[:, 0:3])
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
