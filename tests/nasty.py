"""A folder of the nastiest picture files that people have, and what is to be said of each."""

import io
import os
import stat
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

RED, WHITE = (255, 0, 0), (255, 255, 255)


@dataclass(frozen=True)
class Nasty:
    """One file, and what is to be expected of it."""

    name: str  # its path in the folder
    size: tuple[int, int] | None = None  # of the upright picture; None: whatever it is
    corner: tuple[int, int, int] | None = None  # its left upper colour, give or take a few levels
    error: str | None = None  # or a pattern that the reason fits
    listed: bool = True  # taken for a picture; else it is left out, or named by the walk
    forbidden: bool = False  # may not be read, but by root


# --- pictures ---------------------------------------------------------------------------------


def corners(mode: str = "RGB") -> Image.Image:
    """48 x 32, red in the left upper corner, three other colours in the others."""
    picture = Image.new("RGB", (48, 32), "red")
    picture.paste("lime", (24, 0, 48, 16))
    picture.paste("blue", (0, 16, 24, 32))
    picture.paste("yellow", (24, 16, 48, 32))
    return picture.convert(mode)


def photo(wide: int = 96, tall: int = 64) -> Image.Image:
    """Smooth and rough parts, as a photograph has."""
    y, x = np.mgrid[0:tall, 0:wide]
    waves = 128 + 90 * np.sin(x[..., None] / (5, 9, 13) + y[..., None] / (11, 7, 17))
    noise = np.random.default_rng(0).normal(0, 12, (tall, wide, 3))
    return Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8))


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of the picture's file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG written by hand, for the kinds that Pillow doesn't write."""
    header = png_part(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = (*more, png_part(b"IDAT", zlib.compress(rows)), png_part(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(body)


def png_part(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def tiff_16(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """A TIFF of 16 bits a channel in one colour."""
    pixels = struct.pack("<3H", *colour) * (width * height)
    short, long = 3, 4
    tags = [
        (256, short, 1, width), (257, short, 1, height), (258, short, 3, 134), (259, short, 1, 1),
        (262, short, 1, 2), (273, long, 1, 140), (277, short, 1, 3), (278, short, 1, height),
        (279, long, 1, len(pixels)), (284, short, 1, 1),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return head + struct.pack("<3H", 16, 16, 16) + pixels


def icc(red: tuple[float, ...], green: tuple[float, ...], blue: tuple[float, ...]) -> bytes:
    """An ICC profile of three primaries (as the profile connection space has them), gamma 2.2."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.2 * 256)) + bytes(2)
    text = b"wide\0"
    words = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78)
    white = (0.9642, 1.0, 0.8249)
    points = {b"wtpt": white, b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue}
    parts = {name: b"XYZ " + bytes(4) + fixed(*point) for name, point in points.items()}
    parts |= {b"desc": words, b"cprt": b"text" + bytes(4) + b"none\0"}
    parts |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body = b"", b""
    start = 128 + 4 + 12 * len(parts)
    for name, part in parts.items():
        table += name + struct.pack(">II", start + len(body), len(part))
        body += part + bytes(-len(part) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x02100000, b"mntr", b"RGB ",
                         b"XYZ ")  # fmt: skip
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed(*white)
    return header.ljust(128, b"\0") + struct.pack(">I", len(parts)) + table + body


def display_p3() -> bytes:
    """The wide colours of phones."""
    return icc((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))


def adobe_rgb() -> bytes:
    """The wide colours of cameras."""
    return icc((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))


def turned(orientation: int) -> bytes:
    """A JPEG as a camera that is held so stores it."""
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    sensor = corners() if orientation == 1 else corners().transpose(stored[orientation])
    return saved(sensor, "JPEG", quality=95, subsampling=0, exif=exif)


# --- the folder -------------------------------------------------------------------------------


class _Writer:
    """Writes files into the folder and remembers what is to be expected of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nasty: list[Nasty] = []

    def good(self, name: str, data: bytes, size=(48, 32), corner=RED, **more: bool) -> None:
        self._write(name, data, Nasty(name, size, corner, **more))

    def bad(self, name: str, data: bytes, error: str) -> None:
        self._write(name, data, Nasty(name, error=error))

    def other(self, name: str, data: bytes) -> None:
        self._write(name, data, Nasty(name, listed=False))

    def special(self, make: Callable[[Path], object], nasty: Nasty) -> None:
        """What is no file written in the usual way."""
        path = self.folder / nasty.name
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path)
        self.nasty.append(nasty)

    def _write(self, name: str, data: bytes, nasty: Nasty) -> None:
        self.special(lambda path: path.write_bytes(data), nasty)


def make(folder: Path) -> list[Nasty]:
    """Fill a folder; what is to be expected of each file in it."""
    writer = _Writer(folder)
    for part in (_kinds, _colours, _cut, _bombs, _disguised, _names, _no_files):
        part(writer)
    return writer.nasty


def _kinds(w: _Writer) -> None:
    """Every format, every way of holding the camera, the first of many frames."""
    for orientation in range(1, 9):
        w.good(f"turned/{orientation}.jpg", turned(orientation))
    frames = [corners().rotate(180), corners().transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    several = {"save_all": True, "append_images": frames}
    w.good("kinds/animated.gif", saved(corners(), "GIF", duration=10, **several))
    w.good("kinds/animated.webp", saved(corners(), "WEBP", lossless=True, **several))
    w.good("kinds/animated.png", saved(corners(), "PNG", **several))
    w.good("kinds/pages.tif", saved(corners(), "TIFF", **several))
    w.good("kinds/two.mpo", saved(corners(), "MPO", quality=95, subsampling=0, **several))
    w.good("kinds/plain.avif", saved(corners(), "AVIF", quality=95, subsampling="4:4:4"))
    w.good("kinds/plain.bmp", saved(corners(), "BMP"))
    w.good("kinds/plain.jp2", saved(corners(), "JPEG2000"))
    w.good("kinds/plain.ppm", saved(corners(), "PPM"))
    w.good("kinds/plain.tga", saved(corners(), "TGA"))
    w.good("kinds/squeezed.tif", saved(corners(), "TIFF", compression="tiff_lzw"))
    w.good("kinds/progressive.jpg", saved(corners(), "JPEG", progressive=True, quality=95))
    w.good("kinds/icon.ico", saved(corners().resize((32, 32)), "ICO"), (32, 32))
    w.good("kinds/one.png", saved(Image.new("RGB", (1, 1), "red"), "PNG"), (1, 1))
    w.good("kinds/strip.png", saved(Image.new("RGB", (20_000, 1), "red"), "PNG"), (20_000, 1))
    w.good("kinds/huge.jpg", saved(Image.new("RGB", (6000, 4000), "red"), "JPEG"), (6000, 4000))
    import pillow_heif

    heic = io.BytesIO()
    pillow_heif.from_pillow(corners().resize((192, 128))).save(heic, quality=90)
    w.good("kinds/phone.heic", heic.getvalue(), (192, 128))
    w.bad("kinds/cut.heic", heic.getvalue()[: len(heic.getvalue()) // 2], "cut short")


def _colours(w: _Writer) -> None:
    """Every way to say red."""
    red = Image.new("RGB", (48, 32), "red")
    wide, same = display_p3(), saved(red, "PNG", icc_profile=b"no profile at all")
    w.good("colours/broken-profile.png", same)
    w.good("colours/p3.jpg", saved(Image.new("RGB", (48, 32), (234, 51, 35)), "JPEG", quality=95,
           icc_profile=wide))  # fmt: skip
    # What is beyond the screen's colours ends at its border.
    w.good("colours/adobe.png", saved(red, "PNG", icc_profile=adobe_rgb()))
    w.good("colours/cmyk.jpg", saved(corners("CMYK"), "JPEG", quality=95))
    w.good("colours/cmyk.tif", saved(corners("CMYK"), "TIFF"))
    w.good("colours/cmyk-broken-profile.jpg", saved(corners("CMYK"), "JPEG", icc_profile=b"?" * 99))
    w.good("colours/lab.tif", saved(Image.new("LAB", (48, 32), (138, 209, 198)), "TIFF"))
    w.good("colours/palette.png", saved(corners().quantize(4), "PNG"))
    w.good("colours/bits.png", saved(Image.new("1", (48, 32), 1), "PNG"), corner=WHITE)
    w.good("colours/grey.jpg", saved(Image.new("L", (48, 32), 200), "JPEG"), corner=(200,) * 3)
    w.good("colours/grey-wide.jpg", saved(Image.new("L", (48, 32), 255), "JPEG", icc_profile=wide),
           corner=WHITE)  # fmt: skip
    w.good("colours/clear.png", saved(Image.new("RGBA", (48, 32)), "PNG"), corner=WHITE)
    w.good("colours/clear.webp", saved(Image.new("RGBA", (48, 32)), "WEBP"), corner=WHITE)
    w.good("colours/clear-grey.png", saved(Image.new("LA", (48, 32)), "PNG"), corner=WHITE)
    hole = Image.new("P", (48, 32))
    w.good("colours/hole.gif", saved(hole, "GIF", transparency=0), corner=WHITE)
    grey_16 = Image.fromarray(np.full((32, 48), 200 * 257, np.uint16))
    w.good("colours/deep-grey.png", saved(grey_16, "PNG"), corner=(200,) * 3)
    w.good("colours/deep-grey.tif", saved(grey_16, "TIFF"), corner=(200,) * 3)
    deep = (b"\0" + struct.pack(">3H", 65535, 0, 0) * 48) * 32
    w.good("colours/deep.png", png(48, 32, 16, 2, deep))
    w.good("colours/deep.tif", tiff_16(48, 32, (65535, 0, 0)))
    floats = Image.fromarray(np.full((32, 48), 1.0, np.float32))
    w.good("colours/floats.tif", saved(floats, "TIFF"), corner=WHITE)


def _cut(w: _Writer) -> None:
    """Downloads that stopped, cards that failed."""
    kinds = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "tif": "TIFF", "bmp": "BMP"}
    for ending, kind in kinds.items():
        data = saved(photo(), kind)
        for kept in (3, 25, 60, 95):
            short = data[: max(4, len(data) * kept // 100)]
            w.bad(f"cut/{kept:02}.{ending}", short, "cut short|not a picture")
    data = saved(photo(), "JPEG", quality=90)
    w.bad("cut/empty.jpg", b"", "empty")
    w.bad("cut/one-byte.png", b"\x89", "not a picture")
    w.bad("cut/zeros.jpg", bytes(5000), "not a picture")
    w.good("cut/end-missing.jpg", data[:-2], (96, 64), None)
    w.bad("cut/end-of-zeros.jpg", data[: len(data) // 2] + bytes(len(data) // 2), "cut short")
    w.bad("cut/closed-too-early.jpg", data[: len(data) // 2] + b"\xff\xd9", "cut short")
    exif = b"Exif\0\0MM\0*\xff\xff\xff\xff"
    w.good("cut/bad-exif.jpg", saved(corners(), "JPEG", quality=95, exif=exif))
    w.good("cut/tail.jpg", saved(corners(), "JPEG", quality=95) + bytes(999))
    grey = saved(Image.new("RGB", (48, 32), (128, 128, 128)), "JPEG")
    w.good("cut/grey-by-choice.jpg", grey, corner=(128, 128, 128))


def _bombs(w: _Writer) -> None:
    """Small files that would fill the memory."""
    w.bad("bombs/header.png", png(60_000, 60_000, 8, 2, b""), "over the limit")
    w.bad("bombs/true.png", png(20_000, 20_000, 1, 0, bytes(2501 * 20_000)), "over the limit")
    jpeg = bytearray(saved(photo(), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">2H", 65_500, 65_500)
    w.bad("bombs/header.jpg", bytes(jpeg), "over the limit")
    gif = bytearray(saved(corners(), "GIF"))
    gif[6:10] = struct.pack("<2H", 65_535, 65_535)
    w.bad("bombs/header.gif", bytes(gif), "over the limit")
    w.bad("bombs/header.ppm", b"P6 99999 99999 255\n" + bytes(99), "over the limit")
    bmp = bytearray(saved(corners(), "BMP"))
    bmp[18:26] = struct.pack("<2i", 100_000, 100_000)
    w.bad("bombs/header.bmp", bytes(bmp), "over the limit")
    text = png_part(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000)))
    rows = (b"\0" + b"\xff\0\0" * 48) * 32
    w.bad("bombs/text.png", png(48, 32, 8, 2, rows, text), "damaged|cut short|too large")
    profile = png_part(b"iCCP", b"wide\0\0" + zlib.compress(bytes(50_000_000)))
    w.bad("bombs/profile.png", png(48, 32, 8, 2, rows, profile), "damaged|too large")

    def sparse(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(3 * 2**30)

    w.special(sparse, Nasty("bombs/three-gigabytes.png", error="over the limit of"))


def _disguised(w: _Writer) -> None:
    """Files that are not what their names say."""
    jpeg = saved(corners(), "JPEG", quality=95, subsampling=0)
    w.good("disguised/jpeg.png", jpeg)
    w.good("disguised/png.jpg", saved(corners(), "PNG"))
    w.good("disguised/photo.dat", jpeg)
    w.good("disguised/IMG_0001", jpeg)
    w.good("disguised/webp.txt", saved(corners(), "WEBP", lossless=True))
    w.good("disguised/SHOUTED.JPEG", jpeg)
    w.bad("disguised/text.jpg", "그림이 아니다\n".encode(), "not a picture")
    w.bad("disguised/page.png", b"<!doctype html><title>404</title>", "not a picture")
    w.bad("disguised/drawing.webp", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture")
    w.bad("disguised/archive.gif", b"PK\3\4" + bytes(99), "not a picture")
    w.bad("disguised/film.jpg", b"\0\0\0\x18ftypisom" + bytes(99), "not a picture")
    w.bad("disguised/program.heic", b"#!/bin/sh\nexit 1\n", "not a picture")
    w.other("disguised/notes.txt", b"BMW, and GIF, and II*")
    w.other("disguised/postscript.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    w.other("disguised/camera.NEF", saved(corners(), "TIFF"))
    w.other("disguised/nothing", b"")
    w.other("disguised/.hidden.jpg", jpeg)


def _names(w: _Writer) -> None:
    """Names that some program has stumbled over."""
    jpeg = saved(corners(), "JPEG", quality=95, subsampling=0)
    names = [
        "강아지 사진.jpg", "강아지.jpg", "👩‍👩‍👧 🐶.jpg",
        "two\nlines.jpg", "-rf.jpg", "--json.jpg", "a\tb.jpg",
        "'quote\" $(x) `y`; *.jpg", "\x1b[31mred.jpg", "100%s{0}.jpg", " .jpg", "x" * 251 + ".jpg",
        "CON.jpg", "\u202egpj.exe.jpg", "a,b|c=d.jpg", "@file.jpg",
    ]  # fmt: skip
    for name in names:
        w.good(f"names/{name}", jpeg)
    w.bad("names/그림\n.jpg", b"no", "not a picture")
    w.good(os.fsdecode(b"names/bad \xff\xfe utf-8.jpg"), jpeg)
    w.good("names/folder.png/inside.jpg", jpeg)
    w.good("names/" + "deep/" * 60 + "down.jpg", jpeg)


def _no_files(w: _Writer) -> None:
    """Links, pipes, sockets, and what may not be read."""
    jpeg = saved(corners(), "JPEG", quality=95, subsampling=0)
    w.good("links/photo.jpg", jpeg)
    good = {"size": (48, 32), "corner": RED}
    w.special(lambda p: p.symlink_to("photo.jpg"), Nasty("links/link.jpg", **good))
    w.special(lambda p: p.symlink_to("photo.jpg"), Nasty("links/link", **good))
    w.special(lambda p: p.hardlink_to(p.parent / "photo.jpg"), Nasty("links/twice.jpg", **good))
    nowhere = "leads nowhere"
    w.special(lambda p: p.symlink_to("gone.jpg"), Nasty("links/dangling.jpg", error=nowhere))
    w.special(lambda p: p.symlink_to("gone"), Nasty("links/dangling", error=nowhere, listed=False))
    w.special(lambda p: p.symlink_to("b.jpg"), Nasty("links/a.jpg", error="loop"))
    w.special(lambda p: p.symlink_to("a.jpg"), Nasty("links/b.jpg", error="loop"))
    w.special(lambda p: p.symlink_to("round"), Nasty("links/round", error="loop", listed=False))
    w.special(lambda p: p.symlink_to(".."), Nasty("links/up", error="lies in", listed=False))
    w.special(lambda p: p.symlink_to("../names"), Nasty("links/side", listed=False))
    w.special(os.mkfifo, Nasty("special/pipe.jpg", error="pipe"))
    w.special(os.mkfifo, Nasty("special/pipe", listed=False))
    socket = stat.S_IFSOCK | 0o600
    w.special(lambda p: os.mknod(p, socket), Nasty("special/socket.png", error="socket"))
    w.special(lambda p: p.symlink_to("/dev/zero"), Nasty("special/zero.jpg", error="device"))
    w.good("special/forbidden.jpg", jpeg, forbidden=True)
    w.good("special/forbidden", jpeg, forbidden=True)
    w.good("special/closed/inside.jpg", jpeg, forbidden=True)
    for name in ("forbidden.jpg", "forbidden", "closed"):
        (w.folder / "special" / name).chmod(0)
