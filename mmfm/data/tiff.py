"""What kind of TIFF a file holds: Pillow does not read all of them, and takes a few for others.

kind = tiff_in(data)
if kind and kind.is_whole: ...      # all pixels are there, so that it is not damaged
kind.not_read                       # what to say of one that is sound, and not read
"""

import io
from dataclasses import dataclass

from PIL import ExifTags, TiffImagePlugin

_NUMBERS = {2: " with a sign", 3: " of floats", 5: " of complex integers", 6: " of complex floats"}
_COLOURS = {5: ", CMYK", 6: ", YCbCr", 8: ", CIE Lab", 9: ", ICC Lab", 10: ", ITU Lab"}

_Tag = ExifTags.Base
_TILE_STARTS, _TILE_LENGTHS = 324, 325
SAMPLE_FORMAT = 339  # of that tag, 1: numbers without a sign


@dataclass(frozen=True)
class Tiff:
    """What the first directory of a TIFF says of its pixels."""

    bits: int  # of each number
    numbers: int  # 1: without a sign; what the others are stands in `_NUMBERS`
    channels: int
    colours: int
    in_planes: bool  # all of the first channel, then all of the second
    is_packed: bool
    is_whole: bool  # no pixel lies behind the end of the file

    @property
    def not_read(self) -> str:
        """Why it is left out, though nothing is wrong with it."""
        channels = "1 channel" if self.channels == 1 else f"{self.channels} channels"
        planes = ", each in a plane of its own" if self.in_planes else ""
        words = f"{self.bits} bits{_NUMBERS.get(self.numbers, '')}, {channels}{planes}"
        colours = _COLOURS.get(self.colours, "")
        return f"a kind of TIFF that is not read here ({words}{colours}); save it as a PNG or JPEG"

    @property
    def is_mistaken(self) -> bool:
        """Whether Pillow takes its numbers for bytes, and shows stripes."""
        return self.in_planes and self.channels > 1 and self.bits > 8


def tiff_in(data: bytes) -> Tiff | None:
    """Read the first directory; None for what is none, or is damaged."""
    try:
        large = data[2:4] in (b"+\0", b"\0+")
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if large else 8])
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        starts = tags.get(_Tag.StripOffsets) or tags[_TILE_STARTS]
        lengths = tags.get(_Tag.StripByteCounts) or tags[_TILE_LENGTHS]
        ends = [start + length for start, length in zip(starts, lengths, strict=True)]
        return Tiff(
            bits=max(tags.get(_Tag.BitsPerSample, (1,))),
            numbers=tags.get(SAMPLE_FORMAT, (1,))[0],
            channels=tags.get(_Tag.SamplesPerPixel, 1),
            colours=tags.get(_Tag.PhotometricInterpretation, 1),
            in_planes=tags.get(_Tag.PlanarConfiguration) == 2,
            is_packed=tags.get(_Tag.Compression, 1) != 1,
            is_whole=max(ends) <= len(data),
        )
    except Exception:
        # As with Pillow's decoders: a damaged file is answered with nearly any of them.
        return None
