"""Pillow's decoders, and whether what they decode is all there.

A decoder is content with less than a person is: it makes up what is missing in a JPEG, and takes a
PNG whose pixels have changed on the disk. Here each is asked a second time.
"""

import errno
import io
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import Image, ImageFile

from mmfm.data.formats import HEAD, UNDRAWN, every_scan_begun, first_scan, kind_of, png_chunks
from mmfm.data.tiff import tiff_in
from mmfm.errors import UnreadablePicture

JPEG = ("JPEG", "MPO")  # a second picture, of other eyes or for depth, makes it an MPO
_JPEG_END = b"\xff\xd9"

# Put in behind a JPEG's pixels: all ways in which the next three bits may differ from zeros.
_FILLINGS = (b"\xff\0", b"\xaa", b"\x55", b"\x33", b"\x66", b"\x99", b"\xcc")

# Without these a PNG has no pixels, or other ones; all else in it is said about them.
_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"IDAT"})
_ANIMATION_CHUNKS = frozenset({b"acTL", b"fcTL", b"fdAT"})

# Behind the last pixel stand two sums of four bytes, of zlib's and of the PNG's.
_PNG_SUMS = 8

# Fewer bytes than the smallest of pictures, or than tell its kind.
_TOO_FEW = 12


# --- decoders -------------------------------------------------------------------------------------


def opened(data: bytes, name: object) -> ImageFile.ImageFile:
    """Find the decoder for a file's first bytes and let it read the header.

    Pillow's own `Image.open` warns of pictures beyond 89 million pixels and refuses those beyond
    179 million. Phones make larger ones, which are harmless as they are decoded here.
    """
    kind = kind_of(data[:HEAD])
    if kind == "HEIC":
        return _opened_heic(data, name)
    reason = f"{_a(kind)} file that is damaged or cut short" if kind else None
    if kind == "TIFF" and (tiff := tiff_in(data)) and tiff.is_whole:
        reason = tiff.not_read
    if reason is None and len(data) < _TOO_FEW:
        some = "1 byte" if len(data) == 1 else f"{len(data)} bytes"
        reason = f"not a picture, or one cut short: only {some}"
    for factory, accept in _decoders():
        try:
            accepted = accept is None or accept(data[:16])
            if accepted and not isinstance(accepted, str):
                return factory(io.BytesIO(data), "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue  # not of this kind after all, or damaged
        if accepted:  # words: Pillow was built without what reads this kind
            reason = f"this Pillow reads no {kind or 'such'} files; pip install --upgrade pillow"
    if kind == "AVIF" and "AVIF" not in Image.OPEN:
        reason = "this Pillow reads no AVIF files; pip install --upgrade pillow"
    raise UnreadablePicture(name, reason or "not a picture in a format that Pillow reads")


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "AI" else f"a {kind}"


def _opened_heic(data: bytes, name: object) -> ImageFile.ImageFile:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        reason = "a HEIC file; pip install pillow-heif, which reads them"
        raise UnreadablePicture(name, reason) from error
    try:
        return HeifImageFile(io.BytesIO(data))
    except SyntaxError as error:
        raise UnreadablePicture(name, f"a HEIC file that is {damage(error)}") from error


def _decoders() -> Iterator[tuple[Any, Any]]:
    """Pillow's decoders: first the few that it loads at once, then, if need be, the others."""
    tried: set[str] = set()
    for load in (Image.preinit, Image.init):
        load()
        new = [kind for kind in Image.ID if kind not in tried and kind not in UNDRAWN]
        tried.update(new)
        yield from (Image.OPEN[kind] for kind in new)


def in_a_line(error: Exception) -> str:
    """The reason in one line."""
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return "a loop of links"
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(reason.split())[:200]


def damage(error: Exception) -> str:
    """What to say of a file that a decoder failed at, with its words if a person has use for them.

    What Python itself raises, or a number, speaks of the program and not of the file.
    """
    words = in_a_line(error)
    decoders_own = type(error) in (OSError, SyntaxError, RuntimeError)
    if decoders_own and not re.search(r"error -\d|[<'\\]", words):
        return f"damaged or cut short ({words})"
    return "damaged or cut short"


# --- what is missing ------------------------------------------------------------------------------


def closed(data: bytes) -> bytes:
    """A JPEG with its two end bytes, put in where the file has none behind its pixels."""
    return data if data.rfind(_JPEG_END, first_scan(data)) >= 0 else data + _JPEG_END


def part_missing(picture: Image.Image, data: bytes) -> bool:
    """Whether a JPEG's data ended too early, and its decoder made up the rest.

    The decoder is content with one that goes on with zeros, as on a failed card, and with one that
    was closed behind the cut: what is missing becomes grey of 128, down to the last corner. A
    picture may also end in this grey. So bytes are put in at the end: those of a whole picture are
    passed over, those of a cut one are taken for its missing part.
    """
    start = first_scan(data)
    if data.rfind(_JPEG_END, start) < 0:  # from behind, where it nearly always is
        return not _only_the_end_missing(data)
    corner = picture.getpixel((picture.width - 1, picture.height - 1))
    levels = corner if isinstance(corner, tuple) else (corner,)
    if not all(level in (127, 128) for level in levels):
        return False
    end = data.find(_JPEG_END, start)
    longer = data[:end] + _filling(data[:end], bytes(range(1, 255))) + data[end:]
    return _pixels(longer, picture.size) != picture.tobytes()


def _only_the_end_missing(data: bytes) -> bool:
    """Whether a JPEG without end bytes holds all pixels, and its last bytes belong to them.

    What lies behind a cut, zeros or parts of other files, may look like the missing pixels; so
    something must be missing once the last bytes are away.
    """
    return every_scan_begun(data) and _all_there(data) and not _all_there(data[:-4])


def _all_there(data: bytes) -> bool:
    """Whether no bytes put in behind the last of a JPEG without end bytes change its pixels."""
    data = data.rstrip(b"\xff")  # one of the two end bytes
    try:
        pixels = _pixels(data + _JPEG_END)
        longer = (data + _filling(data, few * 250) + _JPEG_END for few in _FILLINGS)
        return all(_pixels(each) == pixels for each in longer)
    except (OSError, SyntaxError, UnreadablePicture):
        return False  # cut within a header, as Pillow finds


def _pixels(data: bytes, size: tuple[int, int] | None = None) -> bytes:
    """A JPEG's pixels, at full size or as for a picture that was decoded smaller."""
    with opened(data, "") as picture:
        if size is not None:
            picture.draft(None, size)
        picture.load()
        return picture.tobytes()


def _filling(data: bytes, part: bytes) -> bytes:
    """More pixels behind a JPEG's last, with the restarts that may be awaited next."""
    last = re.findall(rb"\xff([\xd0-\xd7])", data[first_scan(data) :])[-1:]
    following = last[0][0] - 0xD0 + 1 if last else 0
    return b"".join(part + bytes((0xFF, 0xD0 + (following + step) % 8)) for step in range(8))


def sound_png(data: bytes, name: object) -> bytes:
    """Check a PNG's pixels by their checksums, which Pillow passes over.

    What else is damaged, or was cut off, is left out: Pillow refuses a picture for a wrong word
    about it.
    """
    damaged: set[int] = set()
    view = memoryview(data)
    for chunk in png_chunks(data):
        note = chunk.name not in _PIXEL_CHUNKS
        if chunk.end > len(data):
            if note:
                damaged.add(chunk.start)
            elif chunk.end > len(data) + _PNG_SUMS:
                raise UnreadablePicture(name, "damaged or cut short: pixels of the PNG are missing")
            continue
        checksum = struct.unpack(">I", data[chunk.end - 4 : chunk.end])[0]
        if zlib.crc32(view[chunk.start + 4 : chunk.end - 4]) == checksum:
            continue
        if not note:
            reason = "damaged: its pixels have changed since they were written (wrong checksum)"
            raise UnreadablePicture(name, reason)
        damaged.add(chunk.start)
    if not damaged:
        return data
    # Frames that follow the first are shown to nobody, and counted by Pillow: none may be missing.
    kept = [
        view[chunk.start : chunk.end]
        for chunk in png_chunks(data)
        if chunk.start not in damaged and chunk.name not in _ANIMATION_CHUNKS
    ]
    return b"".join([view[:8], *kept])
