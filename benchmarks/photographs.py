"""Photographs to measure with, made from those that scikit-image and scikit-learn carry along.

A file is a crop of one of them, blown up to the size that is wanted; so that it costs what a
camera's file of that size costs to decode, the fine grain of another one is laid over it, and a
sensor's noise. The same number always gives the same file.
"""

import io
import math
from functools import cache
from pathlib import Path

import numpy as np
import skimage
import sklearn
from numpy.typing import NDArray
from PIL import Image, ImageFilter

_COLOURED = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
_GRAINY = ("brick.png", "grass.png", "gravel.png")
_GRAIN = 9.0  # of 255, a standard deviation
_NOISE = 6.0


@cache
def photographs() -> tuple[Image.Image, ...]:
    """Five of scikit-image's photographs, and the two of scikit-learn."""
    theirs = Path(sklearn.__file__).parent / "datasets" / "images"
    files = [Path(skimage.data_dir, name) for name in _COLOURED]
    files += [theirs / "china.jpg", theirs / "flower.jpg"]
    return tuple(Image.open(file).convert("RGB") for file in files)


def photograph(number: int, size: tuple[int, int]) -> Image.Image:
    """A picture of width and height `size`."""
    numbers = np.random.default_rng(number)
    source = photographs()[number % len(photographs())]
    wide, tall = size
    share = numbers.uniform(0.5, 1)  # of the photograph
    scale = share * min(source.width / wide, source.height / tall)
    width, height = wide * scale, tall * scale
    left = numbers.uniform(0, source.width - width)
    top = numbers.uniform(0, source.height - height)
    crop = source.resize(
        size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height)
    )
    pixels = np.asarray(crop).astype(np.float32)
    pixels += _GRAIN * _grain(_GRAINY[number % len(_GRAINY)], size)[:, :, None]
    pixels += _NOISE * numbers.standard_normal(pixels.shape, dtype=np.float32)
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def jpeg(picture: Image.Image, quality: int = 90) -> bytes:
    """The bytes of a JPEG file."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def write_photographs(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Fill a folder with so many JPEGs of width and height `size`."""
    folder.mkdir(parents=True)
    paths = [folder / f"photo-{number:06}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(jpeg(photograph(number, size)))
    return paths


@cache
def _grain(name: str, size: tuple[int, int]) -> NDArray[np.float32]:
    """What a photograph of a rough surface shows beside its coarser forms, as large as wanted."""
    whole = Image.open(Path(skimage.data_dir, name)).convert("L")
    coarse = whole.filter(ImageFilter.GaussianBlur(3))
    fine = np.asarray(whole).astype(np.float32) - np.asarray(coarse)
    fine /= fine.std()
    # Mirrored at its edges, the surface goes on without a seam.
    fine = np.block([[fine, fine[:, ::-1]], [fine[::-1], fine[::-1, ::-1]]])
    wide, tall = size
    times = math.ceil(tall / fine.shape[0]), math.ceil(wide / fine.shape[1])
    return np.tile(fine, times)[:tall, :wide]
