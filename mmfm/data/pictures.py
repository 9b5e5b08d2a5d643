"""A file becomes an upright RGB picture, and a picture becomes the tensor that a model takes.

`open_picture` answers with a picture or with an error of one line; it does not hang and hands on no
half picture. `Preprocessing` is the publisher's recipe, equal to timm's and transformers' own.
"""

import functools
import io
import math
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import ExifTags, Image, ImageCms
from torch import Tensor

from mmfm.data.decoders import JPEG, closed, damage, in_a_line, opened, part_missing, sound_png
from mmfm.data.formats import HEAD, RAW_ENDINGS, kind_of, png_chunks
from mmfm.data.tiff import SAMPLE_FORMAT, Tiff, tiff_in
from mmfm.errors import BadInput, NotHere, UnreadablePicture

MAX_PIXELS = 100_000_000  # of one picture as it is decoded; a phone of today makes half of them
MAX_BYTES = 512 * 2**20  # of one file, which is read whole

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

# What each turn does to the left upper corner, after rows have become columns or not.
_ON_ITS_SIDE = {_UPRIGHT[5], _UPRIGHT[6], _UPRIGHT[7], _UPRIGHT[8]}
_FROM_THE_RIGHT = {_UPRIGHT[2], _UPRIGHT[3], _UPRIGHT[6], _UPRIGHT[7]}
_FROM_BELOW = {_UPRIGHT[3], _UPRIGHT[4], _UPRIGHT[7], _UPRIGHT[8]}

# A strip longer than this, once its short side has grown to the model's size, would fill gigabytes.
_LONGEST_STRIP = 100

# Shrinking to the model's size begins with at least so many pixels a side for each that is wanted.
_SPARE = 2

# A JPEG that is decoded at reduced size may be so many times larger: so many fewer are decoded.
_REDUCED = 4

# A profile that moves no colour by more levels than this is sRGB, whatever it is called.
_SAME_COLOURS = 2

# White in files that do not say it: bytes, what cameras measure (10 to 14 bits), 16 bits.
_WHITES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)

_COLOUR_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}  # Pillow's modes, ICC's names


@dataclass(frozen=True)
class _Frame:
    """Where in a picture that was made smaller the whole one lies.

    A side that the reduction does not divide ends within the last pixel, before its edge. Were that
    forgotten, the picture would be shifted, and what a model sees differ five times as much.
    """

    size: tuple[int, int]  # width, height of the whole picture
    box: tuple[float, float, float, float]  # left, top, right, bottom of it in the smaller one


def open_picture(
    path_or_file: str | os.PathLike[str] | BinaryIO,
    *,
    at_least: int | None = None,
    exact: bool = False,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
) -> Image.Image:
    """Open a picture file, or a file already open, as an upright RGB picture in sRGB.

    Of an animation the first frame is taken. With `at_least`, the short side that the picture will
    be shrunk to, a large one comes out smaller, its short side at least twice as long as that; a
    JPEG is then decoded at an eighth to a half of its size, several times as fast. For a model's
    tensor use `Preprocessing.opened`, which does so and knows where within the last pixels the
    picture ends: at 224 pixels a photograph then differs by 0.2 levels of 255 on the average, 0.5
    where it is all edges.

    Without it, or with `exact`, every pixel is decoded and kept. For an upright 8-bit picture
    without transparent parts these are, bit for bit, those of Pillow's plain `convert("RGB")`,
    which is what the publishers' own code calls. An ICC profile that is not sRGB is the exception:
    the plain path passes over it and sees other colours than a person does; here it is followed,
    exact or not. A damaged profile is passed over.
    """
    return _open(path_or_file, None if exact else at_least, max_pixels, max_bytes)[0]


def read_picture_file(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> bytes:
    """Read a whole file that may be a picture; what is no file is refused and never waited for."""
    path = Path(path)
    _check_regular(path)
    try:
        # Should a pipe take the name in this moment, opening it does not wait either.
        with os.fdopen(os.open(path, _READ_AT_ONCE), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise UnreadablePicture(path, _NO_FILE)
            _check_length(found.st_size, path, max_bytes)
            data = file.read(found.st_size)
    except OSError as error:
        raise UnreadablePicture(path, in_a_line(error)) from error
    # What only has its ending, a JPEG say, is a picture like any other.
    if data and path.suffix.lower() in RAW_ENDINGS and kind_of(data[:HEAD]) in (None, "TIFF"):
        raise UnreadablePicture(path, _RAW)
    return data


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

    def opened(
        self,
        path_or_file: str | os.PathLike[str] | BinaryIO,
        *,
        exact: bool = False,
        max_pixels: int = MAX_PIXELS,
        max_bytes: int = MAX_BYTES,
    ) -> Float[Tensor, "c h w"]:
        """Open a picture file and turn it into the normalised tensor; see `open_picture`.

        What is decoded is as large as it need be, or with `exact` as large as it is.
        """
        at_least = None if exact else self.short_side
        picture, frame = _open(path_or_file, at_least, max_pixels, max_bytes)
        small = frame.size != picture.size
        return self._normalised(self._view(picture, frame) if small else self.view(picture))

    @property
    def short_side(self) -> int:
        """What to ask `open_picture` for: the side to which a picture's shorter one is shrunk."""
        return max(math.floor(side / self.crop_fraction) for side in self.size)

    def __call__(self, picture: Image.Image) -> Float[Tensor, "c h w"]:
        """Turn a picture into the normalised tensor that the model takes."""
        return self._normalised(self.view(picture))

    def _normalised(self, view: Image.Image) -> Float[Tensor, "c h w"]:
        pixels = np.array(view).reshape(*self.size, len(self.mean))
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
        mean, std = (torch.tensor(one, device=images.device) for one in (self.mean, self.std))
        scaled = (images.float() / 255 - mean) / std
        return rearrange(scaled, "b h w c -> b c h w").contiguous()

    def view(self, picture: Image.Image) -> Image.Image:
        """Show what the model sees: the picture after resizing and cropping, still in colours."""
        picture = as_rgb(picture)
        if self.fit == "crop":
            picture = _shorten(picture, _LONGEST_STRIP * max(self.size) / min(self.size))
        return self._view(picture, _whole(picture))

    def _view(self, picture: Image.Image, frame: _Frame) -> Image.Image:
        picture = picture if len(self.mean) == 3 else picture.convert("L")
        height, width = self.size
        tall, wide = self._resized(frame.size[1], frame.size[0])
        resample = Image.Resampling[self.interpolation.upper()]
        picture = picture.resize((wide, tall), resample, box=frame.box)
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


# Windows tells texts from other files, and has no pipes among its files.
_READ_AT_ONCE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_NO_FILE = "this is a pipe, a socket or a device, not a picture"
_RAW = "a camera's raw file, which is not developed here; export it as a JPEG"


def _check_regular(path: Path) -> None:
    """Refuse what is no file before opening it: reading a pipe or a device may never end."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_symlink():
            raise NotHere(f"{path}: a link that leads nowhere") from error
        raise NotHere(f"{path}: no such file") from error
    except (OSError, ValueError) as error:  # a loop of links, a name too long, a NUL in the name
        raise UnreadablePicture(path, in_a_line(error)) from error
    if stat.S_ISDIR(found.st_mode):
        raise UnreadablePicture(path, "this is a folder, not a picture")
    if not stat.S_ISREG(found.st_mode):
        raise UnreadablePicture(path, _NO_FILE)


def _check_length(length: int, name: object, max_bytes: int) -> None:
    if length > max_bytes:
        raise UnreadablePicture(name, f"the file is over the limit of {max_bytes:,} bytes")


# --- decoding ---------------------------------------------------------------------------------


def _open(
    path_or_file: str | os.PathLike[str] | BinaryIO,
    at_least: int | None,
    max_pixels: int,
    max_bytes: int,
) -> tuple[Image.Image, _Frame]:
    """Read a file whole and decode it, every pixel of it or not."""
    if isinstance(path_or_file, str | os.PathLike):
        name, data = Path(path_or_file), read_picture_file(path_or_file, max_bytes=max_bytes)
    else:
        name = getattr(path_or_file, "name", "picture")
        path_or_file.seek(0)
        data = path_or_file.read(max_bytes + 1)
        _check_length(len(data), name, max_bytes)
    return _decode(data, name, at_least, max_pixels)


def _decode(
    data: bytes, name: object, at_least: int | None, max_pixels: int
) -> tuple[Image.Image, _Frame]:
    """Make one picture of a file's bytes, in the colours and the way up that a person sees it."""
    if not data:
        raise UnreadablePicture(name, "the file is empty")
    kind = kind_of(data[:HEAD])
    tiff = tiff_in(data) if kind == "TIFF" else None
    try:
        if kind == "PNG":
            data = sound_png(data, name)
        with opened(closed(data) if kind == "JPEG" else data, name) as picture:
            if tiff is not None and tiff.is_mistaken:
                raise UnreadablePicture(name, tiff.not_read)
            drafted = _drafts(picture, at_least)
            _check_pixels(picture, name, max_pixels * (_REDUCED if drafted else 1), at_least)
            frame = _whole(picture)
            if drafted and at_least is not None:
                side = _SPARE * at_least
                found = picture.draft(None, (side, side))
                frame = frame if found is None else _Frame(frame.size, found[1])
            picture.load()
            if picture.format in JPEG and part_missing(picture, data):
                raise UnreadablePicture(name, "cut short: a part of the JPEG is missing")
            if kind == "PNG":
                _note_what_pillow_leaves_out(picture, data)
            return _upright(*_smaller(_in_srgb(picture), frame, at_least), picture)
    except UnreadablePicture:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadablePicture(name, "more pixels than Pillow agrees to decode") from error
    except MemoryError as error:
        raise UnreadablePicture(name, "the picture does not fit into memory") from error
    except Exception as error:
        # Pillow's decoders answer a damaged file with nearly any exception: OSError, SyntaxError,
        # ValueError, struct.error, IndexError, zlib.error ...
        raise UnreadablePicture(name, _why_not(tiff, error)) from error


def _why_not(tiff: Tiff | None, error: Exception) -> str:
    """What to say of a file that Pillow failed at; pixels that are not packed are never torn."""
    if tiff is not None and tiff.is_whole and not tiff.is_packed:
        return tiff.not_read
    return damage(error)


def _whole(picture: Image.Image) -> _Frame:
    return _Frame(picture.size, (0, 0, *picture.size))


def _drafts(picture: Image.Image, at_least: int | None) -> bool:
    """Whether a picture is a JPEG so large that it is decoded at a reduced size."""
    large = at_least is not None and min(picture.size) >= 2 * _SPARE * at_least
    return large and picture.format in JPEG


def _check_pixels(picture: Image.Image, name: object, most: int, at_least: int | None) -> None:
    if picture.width * picture.height > most:
        reason = f"{picture.width} x {picture.height} pixels are over the limit of {most:,} pixels"
        if at_least is not None and picture.format not in JPEG:
            reason += "; a JPEG may have four times as many"
        raise UnreadablePicture(name, reason)


def _note_what_pillow_leaves_out(picture: Image.Image, data: bytes) -> None:
    """Add what a PNG of 16 bits says about its pixels to what Pillow has read of it."""
    if picture.mode.startswith("I"):
        for chunk in png_chunks(data):
            if chunk.name == b"sBIT" and (body := data[chunk.body]):
                picture.info["significant_bits"] = body[0]
    depth, key = data[24], picture.info.get("transparency")
    if picture.mode == "RGB" and depth == 16 and isinstance(key, tuple):
        # Pillow has kept the upper half of each number, and would compare it with the whole key.
        pixels = np.asarray(picture).astype(np.uint16) * 256 + _lower_bytes(data)
        clear = (pixels == np.array(key)).all(axis=2)
        del picture.info["transparency"]
        picture.putalpha(Image.fromarray(np.where(clear, 0, 255).astype(np.uint8)))


def _lower_bytes(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """The lower half of each number in a PNG of 16 bits: read as if it were stored first."""
    with opened(data, "") as picture:
        picture.tile = [tile._replace(args="RGB;16L") for tile in picture.tile]
        return np.asarray(picture)


def _smaller(
    picture: Image.Image, frame: _Frame, at_least: int | None
) -> tuple[Image.Image, _Frame]:
    """Average away the pixels that the model would not see; cheaper than carrying them along."""
    factor = 1 if at_least is None else min(picture.size) // (_SPARE * at_least)
    if factor < 2:
        return picture, frame
    left, top, right, bottom = (edge / factor for edge in frame.box)
    return picture.reduce(factor), _Frame(frame.size, (left, top, right, bottom))


# --- colours ----------------------------------------------------------------------------------


def _in_srgb(picture: Image.Image) -> Image.Image:
    """Turn an opened picture into RGB by its own profile, where it has one that says more."""
    profile = picture.info.get("icc_profile")
    if picture.mode == "LAB":
        return _changed(picture, _from_lab())
    if picture.mode == "CMYK":
        return _changed(picture, _to_srgb(profile, "CMYK") if profile else None)
    rgb = as_rgb(picture)
    if not profile:
        return rgb
    if (change := _to_srgb(profile, "RGB")) is not None:
        return _changed(rgb, change)
    if (change := _to_srgb(profile, "L")) is not None and picture.mode in ("1", "L", "LA", "I;16"):
        return _changed(rgb.convert("L"), change)
    return rgb


def _changed(picture: Image.Image, change: ImageCms.ImageCmsTransform | None) -> Image.Image:
    if change is None:
        return as_rgb(picture)
    changed = ImageCms.applyTransform(picture, change)
    assert changed is not None, "only a change in place returns nothing"
    return changed


@functools.lru_cache(16)  # the pictures of one camera all carry the same
def _to_srgb(
    profile: bytes, mode: Literal["RGB", "L", "CMYK"]
) -> ImageCms.ImageCmsTransform | None:
    """What brings colours under a profile to sRGB; None where they are there already.

    None, too, for a profile that is damaged, or made for another kind of picture than this mode.
    """
    try:
        source: Any = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _COLOUR_SPACES[mode]:
            return None
        change = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode == "CMYK":
            return change
        colours = _colours().convert(mode)
        moved = np.asarray(_changed(colours, change)).astype(int) - np.asarray(as_rgb(colours))
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
    return change if np.abs(moved).max() > _SAME_COLOURS else None


@functools.cache
def _from_lab() -> ImageCms.ImageCmsTransform:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, srgb, "LAB", "RGB")


def _colours() -> Image.Image:
    """Sixteen levels of each channel, in all their combinations."""
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1)
    return Image.fromarray(rearrange(cube, "r g b c -> r (g b) c").copy())


def _upright(
    picture: Image.Image, frame: _Frame, opened: Image.Image
) -> tuple[Image.Image, _Frame]:
    """Turn the picture the way the camera was held."""
    try:
        orientation = opened.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        # A damaged note about the picture doesn't make the picture unreadable.
        orientation = None
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    if turn is not None:
        picture, frame = picture.transpose(turn), _turned(frame, picture.size, turn)
    elif picture is opened:
        picture = picture.copy()  # of its own, no longer bound to the file
    # Pillow copies the notes along; an orientation left in them would be applied a second time.
    picture.info = {}
    return picture, frame


def _turned(frame: _Frame, within: tuple[int, int], turn: Image.Transpose) -> _Frame:
    """Where the whole picture lies when the smaller one has been turned."""
    (left, top, right, bottom), (wide, tall), size = frame.box, within, frame.size
    if turn in _ON_ITS_SIDE:
        left, top, right, bottom = top, left, bottom, right
        wide, tall, size = tall, wide, (size[1], size[0])
    if turn in _FROM_THE_RIGHT:
        left, right = wide - right, wide - left
    if turn in _FROM_BELOW:
        top, bottom = tall - bottom, tall - top
    return _Frame(size, (left, top, right, bottom))


def _deep_grey(picture: Image.Image) -> Image.Image:
    """Scale grey of 16 or 32 bits, or of floats, to 8 bits; Pillow's own way cuts it off at 255."""
    numbers = np.asarray(picture)
    if picture.mode == "I" and _without_sign(picture):
        numbers = numbers.view(np.uint32)
    values = numbers.astype(np.float32)
    white = _white(picture, values)
    levels = np.nan_to_num(values).clip(0, white) * (255 / white)
    # A TIFF may say that 0 is white (tag 262); Pillow heeds it in those of 8 bits.
    if _tiff_tags(picture).get(ExifTags.Base.PhotometricInterpretation) == 0:
        levels = 255 - levels
    grey = np.rint(levels).astype(np.uint8)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey)


def _without_sign(picture: Image.Image) -> bool:
    """Whether a TIFF's numbers have none; Pillow reads those of 32 bits as if they had."""
    tags = _tiff_tags(picture)
    deep = tags.get(ExifTags.Base.BitsPerSample, (1,))[0] == 32
    return deep and tags.get(SAMPLE_FORMAT, (1,))[0] == 1


def _white(picture: Image.Image, values: Float[np.ndarray, "h w"]) -> float:
    """The value that is white in deep grey: by what the file says, or else by its values."""
    most = float(values.max(where=np.isfinite(values), initial=0))
    if picture.mode.startswith("I;16"):
        return 2.0 ** _bits(picture, values, most) - 1
    if picture.mode == "I" and picture.format == "PPM":
        return 65535.0  # Pillow has spread whatever depth it was to 16 bits
    floats = picture.mode == "F"
    if floats and most <= 2:
        return 1.0  # resizing and sharpening shoot over the edge
    over = 1.1 if floats else 1.0
    return next((white for white in _WHITES if most <= white * over), most)


def _bits(picture: Image.Image, values: Float[np.ndarray, "h w"], most: float) -> int:
    """How many bits of 16 each number has, by what the file says."""
    bits = picture.info.get("significant_bits", 0)
    if not 0 < bits < 16:
        return _tiff_tags(picture).get(ExifTags.Base.BitsPerSample, (16,))[0]
    # By the PNG's rules they are the upper ones, and what is dark is a multiple of the rest; many
    # programs write them as the lower ones.
    lower = most < 2**bits and (values % 2 ** (16 - bits)).any()
    return bits if lower else 16


def _tiff_tags(picture: Image.Image) -> Mapping[int, Any]:
    return getattr(picture, "tag_v2", {})


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
