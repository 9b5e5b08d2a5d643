"""An evaluation can be read in a terminal and in a browser, whatever its labels are called."""

import re
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mmfm
from mmfm.data.labels import Label
from mmfm.evaluation_report import lines, write_report
from mmfm.measures import by_class
from mmfm.tasks.evaluate import Evaluation, evaluate

VOID = {"meta", "img", "br", "path", "circle"}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Noise under names that a page and a terminal could stumble over: most answers are wrong."""
    folder = tmp_path_factory.mktemp("noise")
    lots = np.random.default_rng(0)
    for name in ("own/<b>red & 'x'", "own/빨간 원", "own/blue_star", "other"):
        (folder / name).mkdir(parents=True)
        for number in range(9):
            pixels = lots.integers(256, size=(32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"<i>{number}.png")
    (folder / "own" / "blue_star" / "<u>broken.png").write_bytes(b"")
    clip = mmfm.load_clip("clip-shapes")
    return evaluate(clip, folder / "own", other=folder / "other", cache=None, warn=lambda _: None)


@pytest.fixture(scope="module")
def page(found: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(found, path)
    return path.read_text(encoding="utf-8")


class Outline(HTMLParser):
    """The elements of a page; each must be closed where it was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_asks_nothing_of_a_network(page: str) -> None:
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page.replace("base64,//", ""))
    outline = Outline()
    outline.feed(page)
    assert not {"script", "link", "iframe", "object"} & set(outline.seen)
    assert outline.sources and all(s.startswith("data:image/jpeg;base64,") for s in outline.sources)
    assert "default-src 'none'" in page


def test_the_page_is_well_formed_and_names_cannot_break_out_of_it(
    page: str, found: Evaluation
) -> None:
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    assert outline.seen.count("h1") == 1
    assert outline.seen.count("h2") == 8
    # What stands in names is written as text, so it opens no element; <i> and <u> are the meters'.
    assert "<b>red" not in page and "&lt;b&gt;red &amp; &#x27;x&#x27;" in page
    assert outline.seen.count("i") == outline.seen.count("u") <= 2 * len(found.labels)
    assert "&lt;u&gt;broken.png" in page


def test_the_page_says_what_was_measured_and_how(page: str, found: Evaluation) -> None:
    for fact in (
        found.model,
        found.date,
        found.machine,
        f"seed {found.seed}",
        f"{found.accuracy.value:.1%}",
        "빨간 원",
        "{a} {name}",
        f"mmfm {mmfm.__version__}",
    ):
        assert fact in page, fact
    assert page.count("<li title=") == len(found.wrong)
    for row in found.table.tolist():
        for count in row:
            assert not count or f">{count}</td>" in page


def test_a_picture_that_has_gone_does_not_spoil_the_page(found: Evaluation, tmp_path: Path) -> None:
    gone = [replace(one, path=tmp_path / "gone.png") for one in found.wrong]
    write_report(replace(found, wrong=tuple(gone)), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().count("<em>gone</em>") == len(gone)


def test_columns_stand_under_each_other_with_korean_names_too(found: Evaluation) -> None:
    shown = lines(found)
    start = next(number for number, line in enumerate(shown) if line.startswith("  label "))
    table = shown[start : start + 4]
    assert "빨간 원" in table[3]

    def places(line: str) -> int:
        return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in line)

    assert len({places(line) for line in table}) == 1


def test_the_terminal_is_told_everything_that_matters(found: Evaluation) -> None:
    text = "\n".join(lines(found))
    for part in ("accuracy", "most often confused", "calibration error (ECE)", "fitted", "AUROC"):
        assert part in text
    assert f"{found.accuracy.low:.1%} to {found.accuracy.high:.1%}" in text
    assert f"{found.risk.at(0.9):.1%} of 90%" in text
    assert "1 could not be read" in text
    count, truth, said = found.confused[0]
    assert re.search(rf"{count} +{re.escape(truth)} +for +{re.escape(said)}", text)


def test_names_cannot_steer_a_terminal(found: Evaluation) -> None:
    renamed = replace(found, folder=Path("a\x1b[31mb\nc\udcff"))
    text = "\n".join(lines(renamed))
    assert "\x1b" not in text and "b\nc" not in text
    text.encode()


def test_of_many_labels_the_worst_are_shown(found: Evaluation, tmp_path: Path) -> None:
    lots = np.random.default_rng(0)
    table = np.diag(lots.integers(1, 9, size=80)) + (lots.random((80, 80)) < 0.01)
    many = replace(
        found,
        labels=tuple(Label(f"label {number:02}", ("x",)) for number in range(80)),
        table=table,
        classes=tuple(by_class(table)),
        wrong=(),
    )
    shown = lines(many)
    assert "the 30 worst of 80 labels" in shown
    start = shown.index("the 30 worst of 80 labels")
    worst = [
        float(line.rsplit(maxsplit=1)[1].rstrip("%")) for line in shown[start + 2 : start + 32]
    ]
    assert worst == sorted(worst)
    assert worst[0] == pytest.approx(100 * min(c.f1.value for c in many.classes if c.f1), abs=0.1)
    write_report(many, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "The 30 most confused of 80." in page
    assert "There is none." in page
