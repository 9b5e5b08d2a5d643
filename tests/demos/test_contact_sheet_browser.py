"""A report in a real browser, opened as a file: filters, order, the large view, corrections."""

import csv
import io
import os
import re
import unicodedata
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import visitors
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from mmfm.contact_sheet import Report, Sheet
from mmfm.tasks.classify import Prediction

pytestmark = visitors.NEEDS_CHROMIUM
BOLD = "<b>rocket</b>"


class Visitor(visitors.Visitor):
    """One who opens a page from the disk; leaving the folder counts as leaving the server."""

    READY = ("#grid > *",)

    @property
    def names(self) -> list[str]:
        return self.page.locator(".card .where").all_inner_texts()


def answer(path: Path | str, **scores: float) -> Prediction:
    ordered = dict(sorted(scores.items(), key=lambda one: -one[1]))
    best = next(iter(ordered))
    return Prediction(str(path), best, (best,), ordered[best], "among_labels", ordered)


def picture(path: Path, grey: int, size: tuple[int, int] = (400, 300)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size[::-1], 3), grey, np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    report = Report(folder / "report.html", "a model <i>of</i> ours")
    seen = {
        "sure.jpg": {"cat": 0.97, "no cat at all, but another animal in the grass": 0.03},
        "in a folder/#1? 50%.jpg": {"dog": 0.8, "cat": 0.15, BOLD: 0.05},
        unicodedata.normalize("NFD", "고양이.jpg"): {"cat": 0.51, "dog": 0.44, BOLD: 0.05},
        "<img src=x onerror=alert(1)>.jpg": {BOLD: 0.6, "cat": 0.3, "dog": 0.1},
    }
    for number, (name, scores) in enumerate(seen.items()):
        report.add(answer(picture(folder / name, 40 * number), **scores))
    odd = os.fsdecode(os.fsencode(folder) + b"/\xff.jpg")
    report.add(answer(picture(Path(odd), 200), cat=0.7, dog=0.3))
    report.add(Prediction(str(folder / "broken.jpg"), error="the file is empty"))
    report.write()

    many = Report(folder / "many.html", "a model")
    lots = np.random.default_rng(0)
    for number in range(5_000):
        score = float(lots.uniform(0.5, 1))
        many.add(answer(folder / f"gone/{number}.jpg", cat=score, dog=1 - score))
    many.write()

    sheet = Sheet(folder / "groups.html", "Alike", about="a model")
    sheet.group([picture(folder / "s.png", 9, (40, 30)), picture(folder / "l.png", 9)])
    sheet.group([folder / "sure.jpg", folder / "gone.jpg"], same_bytes=True)
    sheet.write()
    return folder


@pytest.fixture
def visitor(browser: Browser, folder: Path) -> Generator[Visitor]:
    visitor = Visitor(browser, folder.as_uri(), locale="en-US")
    yield visitor
    visitor.page.context.close()
    assert visitor.faults == []


def chip(page: Page, text: str) -> None:
    page.locator(".chip", has_text=text).first.click()


def test_the_uncertain_ones_come_first_beside_what_they_could_be(visitor: Visitor) -> None:
    page = visitor.open("report.html")
    expect(page.locator("h1")).to_have_text("5 answers")
    expect(page.locator("#about")).to_have_text("a model <i>of</i> ours")
    assert [unicodedata.normalize("NFC", name) for name in visitor.names] == [
        "고양이.jpg",
        "<img src=x onerror=alert(1)>.jpg",
        "\\udcff.jpg",
        "#1? 50%.jpg",
        "sure.jpg",
    ]
    expect(page.locator(".card em")).to_have_text(["or dog?"])
    expect(page.locator(".card .head b").nth(1)).to_have_text(BOLD)
    expect(page.locator(".card img")).to_have_count(5)
    page.locator("#order").select_option("sure")
    assert visitor.names[0] == "sure.jpg"
    page.locator("#order").select_option("folder")
    expect(page.locator("#grid h2").nth(1)).to_contain_text("in a folder")
    page.locator("summary").click()
    expect(page.locator("details")).to_contain_text("probability among these labels")
    expect(page.locator("details")).to_contain_text("less than 20%")


def test_filters_by_label_score_name_and_what_could_not_be_read(visitor: Visitor) -> None:
    page = visitor.open("report.html")
    shown = page.locator("#shown")
    expect(page.locator("#labels .chip")).to_have_text([r"cat3", "dog1", f"{BOLD}1"])
    chip(page, "dog")
    expect(shown).to_have_text("1 of 5 shown")
    chip(page, BOLD)  # labels add up
    expect(shown).to_have_text("2 of 5 shown")
    chip(page, "dog")
    chip(page, BOLD)
    page.locator("#text").fill("고양")  # typed whole, while the file's name is in pieces
    expect(shown).to_have_text("1 of 5 shown")
    page.locator("#text").fill("no such name")
    expect(page.locator(".empty")).to_be_visible()
    page.locator(".empty button").click()
    expect(shown).to_have_text("5 of 5 shown")
    page.locator("#low").fill("65")
    expect(shown).to_have_text("3 of 5 shown")
    page.locator("#high").fill("90")
    expect(shown).to_have_text("2 of 5 shown")
    chip(page, "not read")
    expect(page.locator("#grid p")).to_have_text([re.compile(r"broken\.jpg the file is empty")])
    chip(page, "uncertain")
    page.locator("#low").fill("0")
    expect(shown).to_have_text("1 of 5 shown")


def test_the_large_view_shows_the_files_and_is_walked_with_keys(visitor: Visitor) -> None:
    page = visitor.open("report.html")
    page.locator(".open").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    large = page.locator("#large")
    width = "picture => picture.decode().then(() => picture.naturalWidth)"
    for step in range(4):  # names with quotes, that are no text, in folders with blanks
        expect(large.locator(".walk span")).to_have_text(f"{step + 2} of 5")
        assert large.locator("img").evaluate(width) == 400
        expect(large.locator("figcaption")).to_have_count(0)
        page.keyboard.press("ArrowRight")
    expect(large.locator(".walk span")).to_have_text("5 of 5")  # the end holds
    page.keyboard.press("Escape")
    expect(large).to_be_hidden()
    expect(page.locator(".open").nth(4)).to_be_focused()


def test_corrections_are_kept_and_saved_as_a_table(visitor: Visitor) -> None:
    page = visitor.open("report.html")
    first = page.locator(".card").first
    expect(page.locator("#save-bar")).to_be_hidden()
    first.locator(".bars button", has_text="dog").click()
    expect(first.locator(".head")).to_contain_text("✓ dog")
    expect(first.locator(".bars button", has_text="dog")).to_be_focused()
    page.locator(".open").nth(1).click()
    page.keyboard.press("1")  # the model's own label: it is right
    page.keyboard.press("ArrowRight")
    page.locator("#large input").fill(BOLD)
    page.locator("#large input").press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator("#save-bar")).to_contain_text("3 checked, 2 of them corrected")
    page.reload()
    chip(page, "checked")
    expect(page.locator("#shown")).to_have_text("3 of 5 shown")
    with page.expect_download() as download:
        page.locator("#save-bar button").click()
    text = Path(download.value.path()).read_bytes().decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    folder = unicodedata.normalize("NFC", str(Path(rows[0]["path"]).parent))
    found = {Path(row["path"]).name: (row["label"], row["score"], row["said"]) for row in rows}
    assert {unicodedata.normalize("NFC", name): said for name, said in found.items()} == {
        "고양이.jpg": ("dog", "0.44", "cat"),
        "<img src=x onerror=alert(1)>.jpg": (BOLD, "0.6", BOLD),
        "\\udcff.jpg": (BOLD, "", "cat"),
    }
    assert Path(folder).is_dir() and rows[0]["score_kind"] == "among_labels"
    # Pressed once more, it is taken back.
    page.locator(".card").first.locator(".bars [aria-pressed=true]").click()
    expect(page.locator("#save-bar")).to_contain_text("2 checked")


def test_five_thousand_rows_are_drawn_in_portions(visitor: Visitor) -> None:
    page = visitor.open("many.html")
    drawn = page.locator(".card").count()
    assert drawn <= 120
    page.mouse.wheel(0, 100_000)
    expect(page.locator(".card").nth(drawn)).to_be_attached()
    page.locator("#text").fill("4999")
    expect(page.locator("#shown")).to_have_text("1 of 5,000 shown")
    page.locator("summary").click()
    expect(page.locator("details")).to_contain_text("0 of 5,000 pictures have a thumbnail")
    expect(page.locator(".open")).to_have_text("no thumbnail")


def test_groups_stand_side_by_side_with_what_tells_them_apart(visitor: Visitor) -> None:
    page = visitor.open("groups.html")
    expect(page.locator("#grid h2")).to_have_text(
        ["Group 1 2 pictures", "Group 2 2 pictures, the same bytes"]
    )
    facts = page.locator(".facts")
    expect(facts.nth(1)).to_contain_text("400 × 300")
    expect(page.locator(".facts b")).to_have_text(["most pixels"])
    expect(facts.nth(3)).to_have_text("size not known")
    page.locator(".open").nth(1).click()
    expect(page.locator("#large .where")).to_contain_text("l.png")


def test_a_korean_browser_reads_korean_and_a_phone_need_not_scroll_sideways(
    browser: Browser, folder: Path
) -> None:
    visitor = Visitor(
        browser, folder.as_uri(), locale="ko-KR", viewport={"width": 360, "height": 740}
    )
    page = visitor.open("report.html")
    expect(page.locator("h1")).to_have_text("답 5개")
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) <= 360
    inside = "parts => parts.every(part => part.scrollWidth <= part.clientWidth)"
    assert page.locator(".said").evaluate_all(inside)
    page.locator(".open").last.click()
    expect(page.locator("#large")).to_contain_text("맞는 라벨을 누르세요")
    assert page.locator("#large aside").evaluate_all(inside)
    page.keyboard.press("Escape")
    page.locator("#language").click()
    expect(page.locator("h1")).to_have_text("5 answers")
    assert page.evaluate(wide) <= 360
    visitor.page.context.close()
    assert visitor.faults == []
