"""The foot of a terminal: one line that shows how far work has come, and all else goes above it.

    line = FootLine(sys.stderr)
    line.show("indexing", 0.25, "1,000 of 4,000")
    print("photo.jpg: dog")             # stands above the line, and still goes where stdout goes
    line.close()

What is printed is not touched: not wrapped, not coloured, and not moved from one stream to another.
Nothing but spaces and a return to the line's beginning is asked of the terminal.
"""

import os
import sys
import threading
import time
from typing import Any, TextIO

_EVERY = 0.1  # seconds between two drawings
_WIDE = 40  # cells of a bar, where there is room


def is_live(stream: TextIO) -> bool:
    """Whether somebody watches who can see a line change."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class FootLine:
    """A line that is drawn anew; as long as it is open, what others print goes above it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text = ""  # what stands there now
        self._hidden = ""  # what stood there before somebody began a line of text
        self._drawn = -_EVERY
        self._lock = threading.RLock()
        done, left = "━", "╌"
        try:
            (done + left).encode(stream.encoding or "ascii")
        except UnicodeEncodeError:
            done, left = "#", "."
        self._done, self._left = done, left
        self._before = sys.stdout, sys.stderr
        self._own = [_Above(s, self) if is_live(s) else s for s in self._before]
        sys.stdout, sys.stderr = self._own

    def show(self, what: str, share: float | None, told: str = "") -> None:
        """Draw the line, unless it was drawn a moment ago; `share` is how much of it is done."""
        now = time.monotonic()
        if now - self._drawn < _EVERY and share != 1:
            return
        self._drawn = now
        columns = self._columns() - 1  # a full line would begin the next one
        parts = [what, told]
        wide = min(_WIDE, columns - sum(map(len, parts)) - 2)
        if share is not None and wide >= 5:
            done = round(wide * min(max(share, 0.0), 1.0))
            parts.insert(1, self._done * done + self._left * (wide - done))
        with self._lock:
            self._draw(" ".join(part for part in parts if part)[:columns])

    def above(self, stream: TextIO, text: str) -> int:
        """Write to one of the streams; where a line of it ends, this one comes back."""
        with self._lock:
            stood = self._text or self._hidden
            self._draw("")
            written = stream.write(text)
            self._hidden = "" if text.endswith("\n") else stood
            if not self._hidden:
                stream.flush()
                self._draw(stood)
            return written

    def close(self) -> None:
        """Take the line away and give the streams back."""
        with self._lock:
            self._draw("")
        if [sys.stdout, sys.stderr] == self._own:
            sys.stdout, sys.stderr = self._before

    def _draw(self, text: str) -> None:
        if not text and not self._text:
            return
        rest = " " * (len(self._text) - len(text))
        self._stream.write(f"\r{text}{rest}" + ("" if text else "\r"))
        self._stream.flush()
        self._text = text

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80


class _Above:
    """Stands for a stream, and lets what is written to it go above the line."""

    def __init__(self, stream: TextIO, line: FootLine) -> None:
        self._stream, self._line = stream, line

    def write(self, text: str) -> int:
        return self._line.above(self._stream, text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
