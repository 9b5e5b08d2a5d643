"""Many picture files become one tensor of bytes, in a few threads where that is faster.

A picture that cannot be read is named with the reason and left out; the others go on.
"""

import io
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, ImageOps
from torch import Tensor

from mmfm.data.decoders import opened
from mmfm.data.pictures import Preprocessing, open_picture
from mmfm.errors import BadData, BadInput, NotHere, UnreadablePicture
from mmfm.files import Stamp
from mmfm.machine import memory_available

Progress = Callable[[int, int], None]  # (done, total): pictures, or bytes of a download
Skipped = Sequence[tuple[str, str]]  # (which, why)

_SHARE_OF_MEMORY = 0.6
_COPIES = 2  # of all pictures, while some are being set apart
_ONE_SIZE = "bring them to one size (--size)"
_CHUNK = 128  # pictures that a thread decodes at a time
# Decoding a smaller file is mostly Python, and threads only wait for one another: measured on two
# cores, 1 kB JPEGs take 86 us each in one thread and 122 in two, 22 kB 941 and 478.
_WORTH_A_THREAD = 12_000  # bytes


class Example(NamedTuple):
    """A picture that is not decoded yet."""

    where: str
    picture: Path | bytes | None
    fault: str | None = None  # why it is left out unseen: it has no label, say


class Sides(NamedTuple):
    """From which side to which a square picture may be."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.least}x{self.least} to {self.most}x{self.most}"


ANY_SIDE = Sides(1, sys.maxsize)


class Decoded(NamedTuple):
    """Pictures of one size; `images[i]` is the example number `kept[i]`."""

    images: UInt8[Tensor, "n h w c"]
    kept: list[int]
    skipped: tuple[tuple[str, str], ...]


def decode(
    examples: Iterable[Example],
    count: int,
    source: str,
    *,
    size: int | None,
    sides: Sides = ANY_SIDE,
    grey: bool = False,
    alpha: bool = False,
    advice: str = _ONE_SIZE,
    progress: Progress | None = None,
) -> Decoded:
    """Decode `count` examples; without `size` they must all have the same, which is square.

    With `alpha` a fourth channel says how opaque each pixel is, which the others show over white.
    `advice` says what to do with pictures of several sizes.
    """
    threads = os.cpu_count() or 1
    channels = 1 if grey else 4 if alpha else 3
    images: Tensor | None = None
    kept: list[int] = []
    skipped: list[tuple[str, str]] = []
    done = 0

    def keep(decoded: list[tuple[Example, UInt8[ndarray, "h w c"] | str]]) -> None:
        nonlocal images, size, done
        for number, (example, pixels) in enumerate(decoded, start=done):
            if isinstance(pixels, str):
                skipped.append((example.where, pixels))
                continue
            if images is None:
                size = square_side(pixels.shape[:2], size, source, sides, advice)
                check_memory(count * size * size * channels, source, size)
                images = torch.empty(count, size, size, channels, dtype=torch.uint8)
            if pixels.shape != images.shape[1:]:
                raise BadData(
                    f"{source}: pictures of several sizes ({size}x{size}, and {example.where} "
                    f"is {pixels.shape[1]}x{pixels.shape[0]}); {advice}"
                )
            images[len(kept)] = torch.from_numpy(pixels)
            kept.append(number)
        done += len(decoded)
        if progress is not None:
            progress(done, count)

    if size is not None:
        check_memory(count * size * size * channels, source, size)
    asked, examples = size, iter(examples)
    pending: deque[Future[list[tuple[Example, UInt8[ndarray, "h w c"] | str]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        while chunk := list(islice(examples, _CHUNK)):
            heavy = _bytes(chunk[0]) > _WORTH_A_THREAD
            if heavy:
                pending.append(pool.submit(_decode_some, chunk, asked, channels))
            # A bounded queue: the undecoded files of a large set need not fit in memory.
            while len(pending) > (2 * threads if heavy else 0):
                keep(pending.popleft().result())
            if not heavy:
                keep(_decode_some(chunk, asked, channels))
        while pending:
            keep(pending.popleft().result())
    if images is None:
        raise BadData(f"{source}: no readable picture{first_of(skipped)}")
    return Decoded(images[: len(kept)], kept, tuple(skipped))


def square_side(
    shape: Sequence[int],
    size: int | None,
    source: str,
    sides: Sides = ANY_SIDE,
    advice: str = _ONE_SIZE,
) -> int:
    """Tell the side of the square that the pictures will have."""
    if size is not None:
        return size
    if shape[0] != shape[1]:
        raise BadData(f"{source}: pictures of {shape[1]}x{shape[0]} are not square; {advice}")
    if not sides.least <= shape[0] <= sides.most:
        raise BadData(
            f"{source}: pictures of {shape[0]}x{shape[0]}, where {sides} is wanted; {advice}"
        )
    return shape[0]


def check_memory(needed: int, source: str, side: int) -> None:
    """Refuse a set that would fill the memory, before anything of it is read."""
    available = memory_available()
    if _COPIES * needed > _SHARE_OF_MEMORY * available:
        raise BadInput(
            f"{source}: at {side}x{side} the pictures fill {needed / 1e9:.1f} GB, and twice that "
            f"while some are set apart: more than {_SHARE_OF_MEMORY:.0%} of the "
            f"{available / 1e9:.1f} GB available here; choose a smaller size, or fewer pictures"
        )


def check_size(size: int | None, sides: Sides = ANY_SIDE) -> None:
    """Refuse a side that no picture has, or that is of no use here."""
    if size is not None and size < 1:
        raise BadInput(f"size {size} is below 1")
    if size is not None and not sides.least <= size <= sides.most:
        raise BadInput(f"size {size} is not possible here, where {sides} is wanted")


def first_of(skipped: Skipped) -> str:
    """Say how many were skipped, and why the first one was; nothing where none was."""
    if not skipped:
        return ""
    which, reason = skipped[0]
    return f" ({len(skipped)} were skipped, the first: {which}: {reason})"


def _bytes(example: Example) -> int:
    if isinstance(example.picture, Path):
        stamp = Stamp.of(example.picture)  # None where a link cannot be followed
        return stamp.size if stamp is not None else 0
    return len(example.picture or b"")


def _decode_some(
    examples: Sequence[Example], size: int | None, channels: int
) -> list[tuple[Example, UInt8[ndarray, "h w c"] | str]]:
    """Decode a few examples; in place of an unreadable picture stands the reason."""
    return [(example, _pixels(example, size, channels)) for example in examples]


def _pixels(example: Example, size: int | None, channels: int) -> UInt8[ndarray, "h w c"] | str:
    if example.fault is not None:
        return example.fault
    if example.picture is None:
        return "it holds no picture"
    file = example.picture if isinstance(example.picture, Path) else io.BytesIO(example.picture)
    try:
        picture = open_picture(file)
    except UnreadablePicture as error:
        return error.reason
    except NotHere:
        return "the file is gone, or a link leads nowhere"
    if channels == 1:
        return np.array(_at(size, picture.convert("L")))[..., None]
    pixels = np.array(_at(size, picture))
    if channels == 3:
        return pixels
    return np.dstack([pixels, np.array(_at(size, _opacity(example)))])


def _at(size: int | None, picture: Image.Image) -> Image.Image:
    """The picture at a size, if one is wanted."""
    if size is None or picture.size == (size, size):
        return picture
    channels = len(picture.getbands())
    return Preprocessing((size, size), (0.0,) * channels, (1.0,) * channels).view(picture)


def _opacity(example: Example) -> Image.Image:
    """How opaque each pixel is, of a file that `open_picture` could read."""
    file = example.picture
    data = file.read_bytes() if isinstance(file, Path) else file or b""
    with opened(data, example.where) as picture:
        upright = ImageOps.exif_transpose(picture)
        if not upright.has_transparency_data:
            return Image.new("L", upright.size, 255)
        return upright.convert("RGBA").getchannel("A")
