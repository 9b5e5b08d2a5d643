"""Which files are pictures: by the end of the name, or else by the first bytes."""

import functools
import struct

HEAD = 64  # bytes that tell what a file is

# What a person calls a picture, yet Pillow cannot draw it here: data of weather and of tables,
# films, drawings for another program (EPS would be handed to Ghostscript, which runs programs).
UNDRAWN = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"})

# Pillow knows nothing of HEIC by itself; pillow-heif reads it.
_HEIC_ENDINGS = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})
_AVIF_ENDINGS = frozenset({".avif", ".avifs"})

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
    return None
