"""A file becomes an upright RGB picture, and a picture becomes the tensor that a model takes.

`open_picture` answers with a picture or with an error of one line; it does not hang and hands on no
half picture. `Preprocessing` is the publisher's recipe, equal to timm's and transformers' own.
"""

import math
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, get_args

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from mmfm.errors import BadInput, NotHere, UnreadablePicture

HalfPixel = Literal["even", "down"]
Fit = Literal["crop", "squash"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

# What undoes each EXIF orientation (EXIF 2.32, tag 0x0112); 1 is already upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# A strip longer than this, once its short side has grown to the model's size, would fill gigabytes.
_LONGEST_STRIP = 100


def open_picture(
    path_or_file: str | os.PathLike[str] | BinaryIO, *, max_pixels: int = 100_000_000
) -> Image.Image:
    """Open a picture file, or a file already open, as an upright RGB picture.

    Of an animation the first frame is taken. Pillow's own limit (about 179 million pixels) holds
    beside `max_pixels`.
    """
    if not isinstance(path_or_file, str | os.PathLike):
        return _decode(path_or_file, getattr(path_or_file, "name", "picture"), max_pixels)
    path = Path(path_or_file)
    _check_regular(path)
    try:
        with path.open("rb") as file:
            return _decode(file, path, max_pixels)
    except OSError as error:
        raise UnreadablePicture(path, error.strerror or str(error)) from error


def as_rgb(picture: Image.Image) -> Image.Image:
    """Turn a picture of any mode into RGB: deep grey scaled down, transparent parts over white."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith(("I", "F")):
        return _deep_grey(picture).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    # Pillow turns grey with premultiplied alpha ("La") into nothing but "LA".
    picture = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


@dataclass(frozen=True)
class Preprocessing:
    """What a model's publisher did to a picture before the model saw it.

    `dataclasses.asdict` writes it as JSON can hold it; `Preprocessing(**that)` reads it back.
    """

    size: tuple[int, int]  # height, width
    mean: tuple[float, ...]  # one number a channel: three are RGB, one is grey
    std: tuple[float, ...]
    fit: Fit = "crop"  # "crop" keeps the proportions and loses the edges, "squash" the reverse
    interpolation: Interpolation = "bicubic"
    crop_fraction: float = 1.0  # share of the resized side that stays after the crop
    half_pixel: HalfPixel = "even"  # where a crop with half a pixel over begins: rounded to an even
    # place, as torchvision and timm do, or "down", as transformers does

    def __post_init__(self) -> None:
        # JSON knows no tuples, so lists come back.
        for field in ("size", "mean", "std"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if len(self.size) != 2 or min(self.size) < 1:
            raise BadInput(f"size {self.size} is not a height and a width of at least 1")
        if len(self.mean) not in (1, 3) or len(self.std) != len(self.mean) or min(self.std) <= 0:
            raise BadInput(
                f"mean {self.mean} and std {self.std}: both need 1 number (grey) or 3 (RGB), "
                "and std is above 0"
            )
        if self.fit not in get_args(Fit):
            raise BadInput(f"fit {self.fit!r} is none of {', '.join(get_args(Fit))}")
        if self.interpolation not in get_args(Interpolation):
            known = ", ".join(get_args(Interpolation))
            raise BadInput(f"interpolation {self.interpolation!r} is none of {known}")
        if self.half_pixel not in get_args(HalfPixel):
            known = ", ".join(get_args(HalfPixel))
            raise BadInput(f"half_pixel {self.half_pixel!r} is none of {known}")
        if not 0 < self.crop_fraction <= 1:
            raise BadInput(f"crop_fraction {self.crop_fraction} is not above 0 and at most 1")

    def __call__(self, picture: Image.Image) -> Float[Tensor, "c h w"]:
        """Turn a picture into the normalised tensor that the model takes."""
        pixels = np.array(self.view(picture)).reshape(*self.size, len(self.mean))
        image = rearrange(torch.from_numpy(pixels), "h w c -> c h w").float().contiguous()
        # The publishers' own order of rounding: dividing by 255 * std at once differs in the
        # last bit.
        return image.div_(255).sub_(_channels(self.mean)).div_(_channels(self.std))

    def batch(self, pictures: Sequence[Image.Image]) -> Float[Tensor, "b c h w"]:
        """Turn some pictures into one batch."""
        if not pictures:
            return torch.empty(0, len(self.mean), *self.size)
        return torch.stack([self(picture) for picture in pictures])

    def normalise(self, images: UInt8[Tensor, "b h w c"]) -> Float[Tensor, "b c h w"]:
        """Turn bytes that have the right size already into a batch."""
        scaled = (images.float() / 255 - torch.tensor(self.mean)) / torch.tensor(self.std)
        return rearrange(scaled, "b h w c -> b c h w").contiguous()

    def view(self, picture: Image.Image) -> Image.Image:
        """Show what the model sees: the picture after resizing and cropping, still in colours."""
        picture = as_rgb(picture)
        picture = picture if len(self.mean) == 3 else picture.convert("L")
        height, width = self.size
        if self.fit == "crop":
            picture = _shorten(picture, _LONGEST_STRIP * max(height / width, width / height))
        tall, wide = self._resized(picture.height, picture.width)
        resample = Image.Resampling[self.interpolation.upper()]
        picture = picture.resize((wide, tall), resample)
        if self.half_pixel == "down":
            left, top = (wide - width) // 2, (tall - height) // 2
        else:
            left, top = round((wide - width) / 2), round((tall - height) / 2)
        return picture.crop((left, top, left + width, top + height))

    def undo(self, image: Float[Tensor, "c h w"]) -> Image.Image:
        """Turn a normalised tensor back into a picture to look at."""
        image = image.detach().float().cpu() * _channels(self.std) + _channels(self.mean)
        pixels = image.mul(255).round().clamp(0, 255).byte().numpy()
        if len(pixels) == 1:
            return Image.fromarray(pixels[0])
        return Image.fromarray(rearrange(pixels, "c h w -> h w c").copy())

    def _resized(self, tall: int, wide: int) -> tuple[int, int]:
        """Height and width between resizing and cropping, rounded as timm and torchvision round."""
        height, width = (math.floor(side / self.crop_fraction) for side in self.size)
        if self.fit == "squash":
            return height, width
        if height == width:
            short = min(tall, wide)
            return int(height * tall / short), int(width * wide / short)
        ratio = min(tall / height, wide / width)
        return round(tall / ratio), round(wide / ratio)


def _check_regular(path: Path) -> None:
    """Refuse what is no file before opening it: reading a pipe or a device may never end."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotHere(f"{path}: no such file") from error
    except (OSError, ValueError) as error:  # a loop of links, a name too long, a NUL in the name
        raise UnreadablePicture(path, getattr(error, "strerror", None) or str(error)) from error
    if stat.S_ISDIR(found.st_mode):
        raise UnreadablePicture(path, "this is a folder, not a picture")
    if not stat.S_ISREG(found.st_mode):
        raise UnreadablePicture(path, "this is a pipe, a socket or a device, not a picture")


def _decode(file: BinaryIO, name: object, max_pixels: int) -> Image.Image:
    """Read one picture from an open file and set it upright."""
    if not file.read(1):
        raise UnreadablePicture(name, "the file is empty")
    file.seek(0)
    try:
        with Image.open(file) as picture:
            if picture.width * picture.height > max_pixels:
                raise UnreadablePicture(
                    name,
                    f"{picture.width} x {picture.height} pixels are over the limit of "
                    f"{max_pixels:,} pixels",
                )
            picture.load()
            return _upright(as_rgb(picture), picture)
    except UnreadablePicture:
        raise
    except UnidentifiedImageError as error:
        raise UnreadablePicture(name, "not a picture in a format that Pillow reads") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadablePicture(name, "more pixels than Pillow agrees to decode") from error
    except MemoryError as error:
        raise UnreadablePicture(name, "the picture does not fit into memory") from error
    except Exception as error:
        # Pillow's decoders answer a damaged file with nearly any exception: OSError, SyntaxError,
        # ValueError, struct.error, IndexError, zlib.error ...
        raise UnreadablePicture(name, f"damaged or cut short ({error})") from error


def _upright(picture: Image.Image, opened: Image.Image) -> Image.Image:
    """Turn the picture the way the camera was held."""
    try:
        orientation = opened.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        # A damaged note about the picture doesn't make the picture unreadable.
        orientation = None
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    picture = picture.copy() if turn is None else picture.transpose(turn)
    # Pillow copies the notes along; an orientation left in them would be applied a second time.
    picture.info = {}
    return picture


def _deep_grey(picture: Image.Image) -> Image.Image:
    """Scale grey of 16 or 32 bits, or of floats, to 8 bits; Pillow's own way cuts it off at 255."""
    values = np.asarray(picture).astype(np.float32)
    if picture.mode == "F":
        values = np.nan_to_num(values)
        white = 1.0 if values.max() <= 1 else 255.0
    else:
        # Pillow opens 16-bit files as "I;16" or "I"; only a true 32-bit file goes beyond.
        white = max(65535.0, float(values.max()))
    grey = np.rint(values.clip(0, white) * (255 / white)).astype(np.uint8)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey)


def _shorten(picture: Image.Image, longest: float) -> Image.Image:
    """Cut the ends off an extreme strip; the crop would lose them anyway."""
    most = math.ceil(longest * min(picture.size))
    wide, tall = min(picture.width, most), min(picture.height, most)
    if (wide, tall) == picture.size:
        return picture
    left, top = (picture.width - wide) // 2, (picture.height - tall) // 2
    return picture.crop((left, top, left + wide, top + tall))


def _channels(values: tuple[float, ...]) -> Float[Tensor, "c 1 1"]:
    return rearrange(torch.tensor(values), "c -> c 1 1")
