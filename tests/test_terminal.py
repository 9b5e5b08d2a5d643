"""The line at a terminal's foot: seen below all else, and in nobody's way."""

import io
import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

from mmfm import terminal
from mmfm.terminal import FootLine


class Screen(io.StringIO):
    """A terminal that remembers what was written, and knows what it would show."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def shown(self) -> list[str]:
        return seen(self.getvalue())


def seen(written: str) -> list[str]:
    """What stands on a screen that was written to: a return goes back, and writes over."""
    lines, at = [""], 0
    for sign in written.replace("\r\n", "\n"):
        if sign == "\n":
            lines.append("")
            at = 0
        elif sign == "\r":
            at = 0
        else:
            lines[-1] = lines[-1][:at].ljust(at) + sign + lines[-1][at + 1 :]
            at += 1
    return [line.rstrip() for line in lines]


def open_screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Let both streams of this test lead to one terminal."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(terminal, "_EVERY", 0.0)
    made = Screen()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setattr(sys, "stdout", made)
    return made


def test_the_line_is_drawn_over_and_goes_in_the_end(monkeypatch: pytest.MonkeyPatch):
    screen = open_screen(monkeypatch)
    line = FootLine(screen)
    line.show("indexing", 0.5, "1,000 of 2,000, 85/s, 0:12 left")
    assert screen.shown()[-1].startswith("indexing ━")
    assert screen.shown()[-1].endswith("╌ 1,000 of 2,000, 85/s, 0:12 left")
    line.show("indexing", None, "all")
    assert screen.shown() == ["indexing all"]
    line.close()
    assert screen.shown() == [""]
    assert sys.stdout is screen and sys.stderr is screen


def test_what_is_printed_stands_above_whole(monkeypatch: pytest.MonkeyPatch):
    screen = open_screen(monkeypatch)
    line = FootLine(screen)
    line.show("classifying", 0.1, "1 of 10")
    path = "/photos/" + "long/" * 60 + "a.jpg: [red]dog[/red]"
    print(path)
    print("mmfm: b.jpg: cut short", file=sys.stderr)
    print("in", "pieces", end="")
    print(" of one line")
    *above, foot = screen.shown()
    assert above == [path, "mmfm: b.jpg: cut short", "in pieces of one line"]
    assert foot.startswith("classifying") and foot.endswith("1 of 10")
    line.close()
    assert screen.shown() == [*above, ""]


def test_a_narrow_terminal_gets_one_line_too(monkeypatch: pytest.MonkeyPatch):
    screen = open_screen(monkeypatch)
    for columns in (20, 40, 60):
        monkeypatch.setattr(FootLine, "_columns", lambda self, wide=columns: wide)
        line = FootLine(screen)
        line.show("classifying", 0.3, "1,234 of 100,000, 85/s, 12:34 left")
        assert 0 < len(screen.shown()[-1]) < columns
        line.close()


def test_where_signs_are_few_the_bar_is_of_those(monkeypatch: pytest.MonkeyPatch):
    screen = open_screen(monkeypatch)
    monkeypatch.setattr(Screen, "encoding", "ascii")
    line = FootLine(screen)
    line.show("indexing", 0.5, "1 of 2")
    assert "#" in screen.shown()[-1] and screen.shown()[-1].isascii()
    line.close()


def run_on_a_terminal(arguments: list[str], tmp_path: Path, *, out: Path | None) -> tuple[int, str]:
    """Run mmfm with a real terminal for its messages, and for its answers unless they go to a file.

    The status, and all that was written to the terminal.
    """
    outer, inner = pty.openpty()
    written: list[bytes] = []

    def listen() -> None:
        while True:
            try:
                part = os.read(outer, 65536)
            except OSError:  # the other end is closed
                return
            if not part:
                return
            written.append(part)

    listener = threading.Thread(target=listen)
    environment = {**os.environ, "MMFM_CACHE": str(tmp_path / "cache"), "TERM": "xterm"}
    command = [sys.executable, "-m", "mmfm", *arguments]
    with (out or Path(os.devnull)).open("wb") as file:
        where = file if out is not None else inner
        child = subprocess.Popen(command, stdout=where, stderr=inner, env=environment)
        os.close(inner)
        listener.start()
        status = child.wait(timeout=120)
    listener.join(timeout=10)
    os.close(outer)
    return status, b"".join(written).decode()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(40):
        Image.new("RGB", (32, 32), (6 * number, 0, 0)).save(folder / f"사진 {number:02}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def test_answers_go_to_their_file_while_a_terminal_shows_how_far_it_is(
    photos: Path, tmp_path: Path
):
    wish = ["classify", str(photos), "--labels", "red circle,blue star", "--json"]
    out = tmp_path / "answers.jsonl"
    status, told = run_on_a_terminal(wish, tmp_path, out=out)
    assert status == 3
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 41 and sum("error" in row for row in rows) == 1
    assert "classifying" in told and "40 of 41" not in seen(told)[-1]
    assert any("broken.png" in line for line in seen(told)) and "[" not in told
    assert seen(told)[-1] == ""


def test_on_a_terminal_each_answer_is_one_line(photos: Path, tmp_path: Path):
    wish = ["classify", str(photos), "--labels", "red circle,blue star", "--json"]
    status, told = run_on_a_terminal(wish, tmp_path, out=None)
    assert status == 3
    rows = [json.loads(line) for line in seen(told) if line.startswith("{")]
    assert len(rows) == 41 and seen(told)[-1] == ""
