"""Which files are pictures, by the end of the name or the first bytes; the parts of two kinds."""

import functools
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

HEAD = 64  # bytes that tell what a file is

# What a person calls a picture, yet Pillow cannot draw it here: data of weather and of tables,
# films, drawings for another program (EPS would be handed to Ghostscript, which runs programs).
UNDRAWN = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"})

# Pillow knows nothing of HEIC by itself; pillow-heif reads it.
_HEIC_ENDINGS = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})
_AVIF_ENDINGS = frozenset({".avif", ".avifs"})

# What a camera's sensor saw, to be developed by a program for that. Many of these files begin as a
# TIFF does; what Pillow would find in them is a stamp-sized preview.
RAW_ENDINGS = frozenset({
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".k25", ".kdc", ".mef",
    ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf",
    ".srw", ".x3f",
})  # fmt: skip

_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})

_FIRST_BYTES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"8BPS\0\x01": "PSD",
    b"qoif": "QOI",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xffO\xffQ": "JPEG 2000",
}


@functools.cache
def picture_endings() -> frozenset[str]:
    """The endings, in small letters, of files that can be opened as pictures."""
    from PIL import Image

    known = Image.registered_extensions().items()
    drawn = {ending for ending, kind in known if kind in Image.OPEN and kind not in UNDRAWN}
    # Taken up also where what reads them is not installed: the person is told what to install.
    return frozenset(drawn | _HEIC_ENDINGS | _AVIF_ENDINGS | {".mpo"})


def kind_of(head: bytes) -> str | None:
    """Name the kind of picture that a file with these first bytes is; None: it looks like none."""
    for first, kind in _FIRST_BYTES.items():
        if head.startswith(first):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    # Two letters alone would take up a text that begins with "BM".
    if head[:2] == b"BM" and len(head) >= 18 and struct.unpack("<I", head[14:18])[0] in range(257):
        return "BMP"
    if head[4:8] == b"ftyp":
        length = min(struct.unpack(">I", head[:4])[0], len(head))
        # The brand, four bytes of version, then the brands it is compatible with.
        brands = {head[at : at + 4] for at in (8, *range(16, length, 4))}
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEIC_BRANDS:
            return "HEIC"
    # Four bytes that are nearly all zeros say little: the first picture's entry must fit, too.
    if head[:4] == b"\0\0\1\0" and len(head) >= 12 and head[4:6] != b"\0\0":
        reserved, planes = struct.unpack("<BH", head[9:12])
        if reserved == 0 and planes in (0, 1):
            return "ICO"
    return None


@dataclass(frozen=True)
class PngChunk:
    """One part of a PNG: four bytes of length, four of its name, the body, four of checksum."""

    name: bytes
    start: int
    end: int  # may lie behind the end of a file that was cut short

    @property
    def body(self) -> slice:
        return slice(self.start + 8, self.end - 4)


def png_chunks(data: bytes) -> Iterator[PngChunk]:
    """The parts of a PNG up to its end, or to where what follows is no part of one."""
    start = 8
    while start + 8 <= len(data):
        length, name = struct.unpack(">I4s", data[start : start + 8])
        if not name.isalpha():
            return
        chunk = PngChunk(name, start, start + 12 + length)
        yield chunk
        if name == b"IEND":
            return
        start = chunk.end


def first_scan(data: bytes) -> int:
    """Where a JPEG's pixels begin; before them may lie a small JPEG with an end of its own."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        padding = data[at + 1] == 0xFF
        at += 1 if padding else 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return at


# Among a JPEG's pixels FF is followed by 0, or by the number of a restart.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # begin with the list of channels


def every_scan_begun(data: bytes) -> bool:
    """Whether a JPEG has come to the last of its scans: a progressive one sharpens in ten or so.

    After it all 64 waves of each channel are known to their last bit (ITU T.81, B.2.3 and G.1.1).
    """
    awaited: dict[int, set[int]] = {}
    at = 2
    try:
        while marker := _MARKER.search(data, at):
            kind, at = marker[0][1], marker.end()
            if kind == 0xD9:
                break
            (length,) = struct.unpack(">H", data[at : at + 2])
            body = data[at + 2 : at + length]
            if kind in _FRAMES:
                awaited = {body[6 + 3 * number]: set(range(64)) for number in range(body[5])}
            elif kind == 0xDA:
                first, last, bits = body[1 + 2 * body[0] :]
                for channel in body[1 : 1 + 2 * body[0] : 2]:
                    if bits & 0x0F == 0:
                        awaited[channel] -= set(range(first, last + 1))
            at += length
    except (struct.error, IndexError, KeyError, ValueError):
        return False  # cut within a header
    return bool(awaited) and not any(awaited.values())
