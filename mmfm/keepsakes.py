"""Pictures that remember how they were made: settings inside a PNG or a GIF, and out of it again.

    data = png(picture, {"model": "mnist-nano", "seed": 7})
    about(data)                             # {"model": "mnist-nano", "seed": 7}
    gif(frames, settings)                   # a film that remembers, too

The settings are one line of JSON, in a PNG's text of the name "mmfm" (an iTXt chunk) or in a GIF's
comment, before the pixels. First in it stands the version of what the settings mean:

    0    PNGs of `mmfm sample` before there were numbers, which hold none
    1    any settings, of whatever made the picture

What comes out may have been written by a stranger. `about` gives a dict of JSON's own values, no
number of it NaN or infinite, and not large; whoever uses it checks names, types and bounds.
"""

import io
import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo, PngStream

from mmfm import plot
from mmfm.data.formats import HEAD, kind_of
from mmfm.errors import BadInput

VERSION = 1

_NAME = "mmfm"
_MOST = 64 * 2**10  # bytes of settings
_LOOKED_AT = 256 * 2**10  # bytes at the beginning of a file: a colour profile may come first
_COMMENT = 0xFE  # a GIF's label for it
_DAMAGED = (
    "this picture, or the settings in it, are damaged or cut short; take the file as it was saved"
)


class Unsigned(BadInput):
    """A picture that holds no settings of mmfm."""


class Later(BadInput):
    """Settings of a version that this mmfm does not know yet."""


# --- into a picture -------------------------------------------------------------------------------


def png(picture: Image.Image, about: Mapping[str, Any]) -> bytes:
    """The bytes of a PNG file that holds the picture and these settings."""
    note = PngInfo()
    note.add_itxt(_NAME, _written(about))
    file = io.BytesIO()
    picture.save(file, "PNG", pnginfo=note)
    return file.getvalue()


def gif(
    frames: Sequence[Image.Image],
    about: Mapping[str, Any],
    *,
    seconds: float = 0.1,
    hold: float = 2.0,
) -> bytes:
    """The bytes of a GIF file, a film as `plot.gif` makes it, that holds these settings."""
    note = _written(about)
    if frames:
        first = frames[0].copy()
        first.info["comment"] = note.encode()  # Pillow writes what the first picture carries
        frames = [first, *frames[1:]]
    return plot.gif(frames, seconds=seconds, hold=hold)


def check(about: Mapping[str, Any]) -> None:
    """Refuse settings that no picture could hold, before one is drawn for them."""
    _written(about)


def _written(about: Mapping[str, Any]) -> str:
    if _NAME in about:
        raise BadInput(f"no setting may be called {_NAME!r}: that is the version's name")
    try:
        text = json.dumps({_NAME: VERSION, **about}, ensure_ascii=False, allow_nan=False)
        length = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"a picture can't hold these settings: {error}") from error
    if length > _MOST:
        raise BadInput(f"{length:,} bytes of settings; a picture holds at most {_MOST:,}")
    return text


# --- out of a picture -----------------------------------------------------------------------------


def about(data: bytes) -> dict[str, Any]:
    """The settings in a PNG or a GIF file, without their version.

    Pixels are not looked at: neither are they decoded, nor need they be there. What stands behind
    the first 256 KB does not count.
    """
    kind = kind_of(data[:HEAD])
    if kind is None:
        raise BadInput("this is not a picture; take a PNG or a GIF that mmfm has made")
    if kind not in ("PNG", "GIF"):
        raise Unsigned(f"mmfm keeps settings in PNG and GIF files, and this is of the kind {kind}")
    head = data[:_LOOKED_AT]
    try:
        text = _text_of_png(head) if kind == "PNG" else _text_of_gif(head)
    except (EOFError, OSError) as error:
        if len(data) == len(head):
            raise BadInput(_DAMAGED) from error
        text = None
    except (SyntaxError, ValueError) as error:
        raise BadInput(_DAMAGED) from error
    if text is None:
        raise Unsigned(
            f"no settings of mmfm in it: another program made this {kind}, or took them out"
        )
    return _read(text)


def _text_of_png(head: bytes) -> str | None:
    """What stands under our name before the pixels.

    Pillow's reader of single chunks is asked, not its reader of pictures: that one unpacks profiles
    and other texts as well, and makes room for a film's frames, be they as large as they say.
    """
    file = io.BytesIO(head)
    chunks = PngStream(file)
    file.seek(8)
    while _NAME not in chunks.im_text:
        try:
            name, start, length = chunks.read()
        except struct.error as error:
            raise EOFError from error
        if name in (b"IDAT", b"IEND"):
            return None
        if name == b"iTXt":
            chunks.crc(name, chunks.call(name, start, length))  # unpacks 1 MB at the most
        else:
            file.seek(start + length + 4)
    return chunks.im_text[_NAME]


def _text_of_gif(head: bytes) -> str | None:
    """Our comment before the first frame.

    By hand, for Pillow makes room for that frame, too.
    """
    ours = f'{{"{_NAME}":'.encode()
    try:
        flags = head[10]
        at = 13 + (3 * 2 ** (flags % 8 + 1) if flags & 0x80 else 0)  # behind the colours
        while head[at] == ord("!"):
            label, at = head[at + 1], at + 2
            parts: list[bytes] = []
            while size := head[at]:
                parts.append(head[at + 1 : at + 1 + size])
                at += 1 + size
            at += 1
            comment = b"".join(parts)
            if label == _COMMENT and comment.startswith(ours):
                return comment.decode()
    except IndexError as error:
        raise EOFError from error
    return None


def _read(text: str) -> dict[str, Any]:
    if len(text.encode()) > _MOST:
        raise BadInput(f"the settings in it are larger than any that mmfm writes ({_MOST:,} bytes)")
    try:
        told = json.loads(text, parse_constant=_no_number, parse_float=_finite)
        json.dumps(told, ensure_ascii=False).encode()  # fails at half a character
    except (ValueError, RecursionError) as error:
        raise BadInput(_DAMAGED) from error
    if not isinstance(told, dict):
        raise BadInput(_DAMAGED)
    version = told.pop(_NAME, 0)
    if type(version) is not int or version < 0:
        raise BadInput(_DAMAGED)
    if version > VERSION:
        raise Later(
            f"a later mmfm wrote the settings in it, of version {version!s:.20}; this one reads "
            f"those up to {VERSION}, so update it"
        )
    return told


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _no_number(digits)
