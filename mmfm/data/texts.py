"""Text files in the encodings that are about, Korean ones among them, in one spelling."""

import unicodedata
from pathlib import Path

from mmfm.errors import BadData


def read_text(path: Path) -> str:
    """Read a text file in the encoding that it turns out to have."""
    data = path.read_bytes()
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp949"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:  # which UTF-16 has after every letter, where its mark is missing
            return text
    raise BadData(f"{path}: neither UTF-8 nor UTF-16 nor CP949; save it as UTF-8")


def legible(text: str) -> str:
    """A line that does nothing to the terminal it is written on, whatever files are called."""
    return text.encode("utf-8", "backslashreplace").decode().translate(_CONTROLS)


def harmless_json(text: str) -> str:
    """JSON that does nothing to a terminal; whoever reads it is given the same texts."""
    return text.translate(_IN_JSON)


# Those of Unicode that end a line or turn its direction round.
_TURNING = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))

_CONTROLS = {
    **{number: f"\\x{number:02x}" for number in (*range(0x20), *range(0x7F, 0xA0))},
    **{number: f"\\u{number:04x}" for number in _TURNING},
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
}

# JSON escapes the others itself.
_IN_JSON = {number: f"\\u{number:04x}" for number in (*range(0x7F, 0xA0), *_TURNING)}


def tidy(text: str) -> str:
    """One line, and one spelling of letters that can be written in two ways (macOS splits 가)."""
    return " ".join(unicodedata.normalize("NFC", text).split())
