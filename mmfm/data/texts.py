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


def tidy(text: str) -> str:
    """One line, and one spelling of letters that can be written in two ways (macOS splits 가)."""
    return " ".join(unicodedata.normalize("NFC", text).split())
