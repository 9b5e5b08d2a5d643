"""A page of pictures holds what was said about them, whatever they are called and however many."""

import base64
import io
import json
import os
import re
import time
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
from PIL import Image

from mmfm import contact_sheet
from mmfm.contact_sheet import WORDS, Report, Sheet, doubt, thumbnail
from mmfm.models.scores import ScoreKind
from mmfm.tasks.classify import Prediction

HOSTILE = "</script><script>alert(1)</script><!--\"'&\u2028"


def among(path: str | None, **scores: float) -> Prediction:
    """One of the labels; what the scores leave over is the chance that none applies."""
    ordered = dict(sorted(scores.items(), key=lambda one: -one[1]))
    share = sum(scores.values())
    label, score = next(iter(ordered.items()))
    if share < 0.5:
        return Prediction(path, None, (), 1 - share, "among_labels", ordered)
    return Prediction(path, label, (label,), score, "among_labels", ordered)


def each(**scores: float) -> Prediction:
    """Each label by itself."""
    ordered = dict(sorted(scores.items(), key=lambda one: -one[1]))
    labels = tuple(label for label, score in ordered.items() if score >= 0.5)
    score = ordered[labels[0]] if labels else 1 - max(scores.values())
    return Prediction("a", next(iter(labels), None), labels, score, "each_label", ordered)


class Read(HTMLParser):
    """What a browser finds in a page: its tags, and the text of its scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)

    def data(self, name: str) -> Any:
        (text,) = [text for attributes, text in self.scripts if attributes.get("id") == name]
        return json.loads(text)

    @property
    def thumbnails(self) -> dict[int, Image.Image]:
        parts = [text for attributes, text in self.scripts if attributes.get("class")]
        encoded = {int(row): code for part in parts for row, code in json.loads(part).items()}
        return {row: Image.open(io.BytesIO(base64.b64decode(c))) for row, c in encoded.items()}


def picture(path: Path, size: tuple[int, int] = (300, 200)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(256, size=(*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


# --- what is said ---------------------------------------------------------------------------------


def test_a_report_holds_each_answer_its_thumbnail_and_what_could_not_be_read(tmp_path: Path):
    files = [picture(tmp_path / f"{name}.jpg", (800, 600)) for name in "ab"]
    report = Report(tmp_path / "report.html", "a model")
    report.add(among(str(files[0]), cat=0.9, dog=0.1))
    report.add(among(str(files[1]), cat=0.45, dog=0.55))
    report.add(Prediction(str(tmp_path / "c.jpg"), error="the file is empty"))
    report.write()
    read = Read(report.path)
    page, rows = read.data("page"), read.data("rows")
    labels = page["labels"]
    said = [(name, [labels[i] for i in answers], margin) for _, name, margin, _, answers, _ in rows]
    assert said == [("a.jpg", ["cat"], 8000), ("b.jpg", ["dog"], 1000)]
    assert labels[rows[1][3]] == "cat"  # what it could be instead
    assert rows[0][5] == [labels.index("cat"), 9000, labels.index("dog"), 1000]
    assert page["folders"] == [f"{tmp_path}{os.sep}"]
    assert read.data("failed") == [[str(tmp_path / "c.jpg"), "the file is empty"]]
    assert {row: small.size for row, small in read.thumbnails.items()} == {
        0: (192, 144),
        1: (192, 144),
    }
    assert not page["limited"]


def test_a_report_of_nothing_is_a_page_too(tmp_path: Path):
    report = Report(tmp_path / "report.html", "a model")
    report.write()
    assert Read(report.path).data("rows") == []


def test_a_picture_that_has_gone_keeps_its_answer_and_has_no_thumbnail(tmp_path: Path):
    report = Report(tmp_path / "report.html", "a model")
    report.add(among(str(tmp_path / "gone.jpg"), cat=0.9, dog=0.1))
    report.add(among(None, cat=0.9, dog=0.1))  # came as a picture, not as a file
    report.write()
    read = Read(report.path)
    assert [row[1] for row in read.data("rows")] == ["gone.jpg", ""] and not read.thumbnails
    assert thumbnail(str(tmp_path / "gone.jpg")) == thumbnail(None) == ""


def test_none_of_these_has_its_own_bar_where_it_is_an_answer(tmp_path: Path):
    report = Report(tmp_path / "report.html", "a model")
    report.add(among("a.jpg", cat=0.3, dog=0.1))
    report.add(among("b.jpg", cat=0.5, dog=0.1))
    report.write()
    read = Read(report.path)
    first, second = read.data("rows")
    assert read.data("page")["labels"][0] == "none of these"
    assert (first[4], first[5][:2]) == ([], [0, 6000])
    assert (second[4], second[5]) == ([1], [1, 5000, 0, 4000, 2, 1000])


@pytest.mark.parametrize(
    ("prediction", "margin", "rival"),
    [
        (among("a", cat=0.7, dog=0.2, cow=0.1), 0.5, "dog"),
        (among("a", cat=1.0), 1.0, None),
        (among("a", cat=0.52, dog=0.01), 0.06, "none of these"),  # nearly none
        (among("a", cat=0.3, dog=0.28), 0.02, "dog"),
        (among("a", cat=0.4, dog=0.01), 0.18, "cat"),  # none, but nearly a cat
        (each(cat=0.9, dog=0.55, cow=0.1), 0.05, "dog"),
        (each(cat=0.4, dog=0.1), 0.1, "cat"),
        (Prediction("a", None, (), 0.6, "each_label", {"cat": 0.9}), 0.2, "cat"),  # refused
    ],
)
def test_doubt_is_how_near_another_answer_is(prediction: Prediction, margin: float, rival: str):
    found = doubt(prediction, {})
    assert found == (pytest.approx(margin, abs=1e-9), rival)


def test_a_threshold_of_its_own_moves_what_is_doubtful():
    assert doubt(each(cat=0.9, dog=0.3), {"cat": 0.85})[1] == "cat"
    assert doubt(each(cat=0.9, dog=0.3), {"dog": 0.32})[1] == "dog"


def test_a_sheet_holds_scores_sizes_and_dates(tmp_path: Path):
    first, second = picture(tmp_path / "a.jpg"), picture(tmp_path / "b.png", (30, 20))
    turned = picture(tmp_path / "turned.jpg", (40, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(turned).save(turned, exif=exif)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    os.utime(first, (1_700_000_000, 1_700_000_000))
    sheet = Sheet(tmp_path / "hits.html", "beach", about="4,200 pictures")
    sheet.add(str(first), 0.31)
    sheet.add(second, 0.3)
    sheet.write()
    read = Read(sheet.path)
    size = first.stat().st_size
    assert read.data("rows")[0] == [0, "a.jpg", 0.31, size, 300, 200, 1_700_000_000, 0]
    assert read.data("page")["kind"] == "hits" and len(read.thumbnails) == 2

    sheet = Sheet(tmp_path / "groups.html", "alike")
    sheet.group([first, second])
    sheet.group([turned, tmp_path / "broken.jpg"])
    sheet.write()
    rows = Read(sheet.path).data("rows")
    assert [row[-1] for row in rows] == [1, 1, 2, 2]
    assert [row[4:6] for row in rows] == [[300, 200], [30, 20], [20, 40], [None, None]]


# --- whatever it is called ------------------------------------------------------------------------


def test_nothing_that_a_user_names_ends_the_data(tmp_path: Path):
    report = Report(tmp_path / "report.html", HOSTILE)
    report.add(among(f"folder\n{HOSTILE[:2]}/x\n<b>.jpg", **{HOSTILE: 0.8, "cat": 0.2}))
    report.add(Prediction(HOSTILE, error=HOSTILE))
    report.write()
    read = Read(report.path)
    kinds = [attributes.get("id") or attributes.get("class") for attributes, _ in read.scripts]
    assert kinds == ["page", "rows", "failed", None]
    page = read.data("page")
    assert page["about"] == HOSTILE and page["labels"][1] == HOSTILE
    assert read.data("failed") == [[HOSTILE, HOSTILE]]
    assert read.data("rows")[0][1] == "x\n<b>.jpg"


def test_a_browser_is_told_to_run_and_fetch_nothing_else(tmp_path: Path):
    sheet = Sheet(tmp_path / "hits.html", "beach")
    sheet.write()
    read = Read(sheet.path)
    (policy,) = [
        a["content"] for tag, a in read.tags if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None and policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy and "http" not in policy
    assert not [a for _, a in read.tags if "src" in a or "href" in a]


ODD = [
    "한 장 #1? 100%.jpg",
    "-dash.jpg",
    "a:b.jpg",
    'q"<i>\n.jpg',
    "\udcff\udcfe.jpg",
    "emoji 🐈.jpg",
]


def test_a_link_finds_its_file_whatever_it_is_called(tmp_path: Path):
    inside, outside = tmp_path / "page", tmp_path / "oth#er\udcff"
    report = Report(inside / "report.html", "a model")
    report.add(among(str(inside / "a.jpg"), cat=1.0))
    for folder in (inside / "빨간 #", outside):
        for name in ODD:
            report.add(among(str(folder / name), cat=1.0))
    report.write()
    read = Read(report.path)
    page, rows = read.data("page"), read.data("rows")
    assert page["links"][:2] == ["", "%EB%B9%A8%EA%B0%84%20%23/"]  # goes along with the page
    assert page["links"][2].startswith("file:///")
    assert unquote_to_bytes(page["links"][2].removeprefix("file://")) == os.fsencode(outside) + b"/"
    # Names are made into links by the page, but for those that are no text.
    assert [row[6:] for row in rows if len(row) > 6] == [["%FF%FE.jpg"]] * 2
    assert [row[1] for row in rows if len(row) > 6] == ["\\udcff\\udcfe.jpg"] * 2


def test_words_are_the_same_in_both_languages():
    assert WORDS["en"].keys() == WORDS["ko"].keys()
    for key, english in WORDS["en"].items():
        blanks = re.findall(r"\{\w+\}", english)
        assert sorted(blanks) == sorted(re.findall(r"\{\w+\}", WORDS["ko"][key])), key


@pytest.mark.parametrize("kind", get_args(ScoreKind))
def test_each_kind_of_score_is_explained_in_both_languages(kind: ScoreKind, tmp_path: Path):
    report = Report(tmp_path / "report.html", "a model")
    report.add(Prediction("a.jpg", "cat", ("cat",), 1.0, kind, {"cat": 1.0}))
    report.write()
    means = Read(report.path).data("page")["means"]
    assert len(means["en"]) > 40 and re.search("[가-힣]", means["ko"])


# --- however many there are -----------------------------------------------------------------------


def test_of_too_many_the_most_uncertain_and_some_of_each_label_have_thumbnails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(contact_sheet, "THUMBNAILS", 4)
    monkeypatch.setattr(contact_sheet, "OF_LABELS", 2)
    file = str(picture(tmp_path / "a.png", (20, 20)))
    report = Report(tmp_path / "report.html", "a model")
    for number in range(40):
        report.add(among(file, cat=0.9 - number / 100, dog=0.1 + number / 100))
    report.add(among(file, cat=0.01, dog=0.99))  # the only dog, and a sure one
    report.write()
    read = Read(report.path)
    assert set(read.thumbnails) == {36, 37, 38, 39, 40}
    page = read.data("page")
    assert (page["thumbnails"], page["limited"]) == (5, True)
    assert len(read.data("rows")) == 41


def test_memory_stays_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(contact_sheet, "THUMBNAILS", 10)
    monkeypatch.setattr(contact_sheet, "_OF_ONE_LABEL", 10)

    def peak(pictures: int) -> int:
        report = Report(tmp_path / "report.html", "a model")
        tracemalloc.start()
        for number in range(pictures):
            report.add(among(f"{tmp_path}/{number}.jpg", cat=0.9, dog=0.1))
        report.write()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(100)
    assert peak(8_000) < 1.1 * peak(2_000)


def test_a_run_does_not_leave_its_thumbnails_behind_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(contact_sheet, "_AHEAD", 4)
    file = str(picture(tmp_path / "a.jpg"))
    report = Report(tmp_path / "report.html", "a model")
    tracemalloc.start()
    for _ in range(100):
        report.add(among(file, cat=0.9, dog=0.1))
        time.sleep(0.01)  # the model's work, during which thumbnails pile up
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    report.write()
    small = len(thumbnail(file)) * 3 / 4
    assert len(Read(report.path).thumbnails) == 100 and most < 50 * small
