"""Photos in a real browser: index, stop, go on, search, sort, correct, save; by mouse and keys."""

import csv
import re
import time
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
import visitors
from mmfm.demos import app, patches, photos, photos_job
from mmfm.demos.page import Context
from PIL import Image
from playwright.sync_api import Browser, expect

from mmfm.data import shapes
from mmfm.engines import Engine, plain
from mmfm.models.clip import TwoTowers

pytestmark = visitors.NEEDS_CHROMIUM

PARTS = ("#photos_bar", "#photos")  # of the page, in which text is looked at
PICTURE = re.compile(r"^data:image/(png|jpeg);base64,")  # inside its own address


class Slow(Engine):
    """An engine that leaves a person time to press a button."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        time.sleep(0.4)
        return super().__call__(images)


def slowly(clip: TwoTowers, *, pictures: int | None) -> Engine:
    engine = plain(clip)
    engine.__class__, engine.batch = Slow, 32
    return engine


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawings in two folders, one of them in Korean, a file that is no picture, and links."""
    root = tmp_path_factory.mktemp("photos") / "holiday"
    folders = {"seen": root, "two": root / "바닷가"}
    for kind, folder in folders.items():
        folder.mkdir()
        several = shapes.scenes("two", 44, 7) if kind == "two" else shapes.scenes("seen", 200, 7)
        for number, (scene, drawing) in enumerate(
            zip(several, shapes.draw(several, 100, seed=7), strict=True)
        ):
            said = "-".join(f"{shape.colour}-{shape.form}" for shape in scene.objects)
            Image.fromarray(drawing.numpy()).save(folder / f"{number:03d} {said}.png")
    (root / "<b>torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    (root / "바닷가" / "loop").symlink_to(root)
    (root / "null.jpg").symlink_to("/dev/zero")
    return root


@pytest.fixture(scope="module")
def served(album: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Where the page is served."""
    with pytest.MonkeyPatch.context() as patch, app.private_gradio():
        own = tmp_path_factory.mktemp("own")
        patch.setenv("MMFM_STORE", str(own / "store"))
        patch.setenv("MMFM_CACHE", str(own / "cache"))
        patch.setattr(app, "pages", lambda: {"patches": patches, "photos": photos})
        patch.setattr(photos, "models_here", lambda wanted, fits: [photos.BUNDLED])
        patch.setattr(photos_job, "choose", slowly)
        with visitors.serving(app.build(Context("cpu", allow=(album,)))) as address:
            yield address


class Visitor(visitors.Visitor):
    """One who visits this page."""

    PAGE = "photos"
    READY = ("#photos .place",)

    def __init__(self, browser: Browser, address: str, **settings: object) -> None:
        super().__init__(browser, address, **settings)
        self.page.set_default_timeout(20_000)

    def close(self) -> None:
        self.page.context.close()
        assert self.faults == []

    def index(self) -> None:
        """Index whatever is left of where the page is."""
        go = self.page.locator("#photos .go.first")
        if go.is_visible():
            go.click()
        self.page.wait_for_selector("#photos .go:not(.first)")

    def search(self, text: str) -> None:
        self.page.locator("#photos_text").fill(text)
        self.page.keyboard.press("Enter")

    def sort(self, labels: str) -> None:
        self.page.locator("#tab_sort").click()
        self.page.locator("#photos_labels").fill(labels)
        self.page.locator("#photos_sort_panel .ask").click()
        self.page.wait_for_selector("#photos_sort_panel .tile img[src]")


@pytest.fixture
def visitor(browser: Browser, served: str) -> Generator[Visitor]:
    visitor = Visitor(browser, served, locale="en-US", accept_downloads=True)
    yield visitor
    visitor.close()


def test_a_folder_is_indexed_stopped_and_gone_on_with_then_searched_sorted_and_saved(
    visitor: Visitor, tmp_path: Path
) -> None:
    page = visitor.open()
    expect(page).to_have_title("Photos")
    state, bar = page.locator("#photos .state"), page.locator("#photos progress")
    expect(page.locator("#photos .place").first).to_have_text("holiday")
    expect(page.locator("#photos .into")).to_have_text("바닷가")
    # Gradio's own news of the queue stands nowhere.
    tracker = page.locator("#photos_own [data-testid=status-tracker]")
    expect(tracker).to_have_css("display", "none")
    expect(state).to_have_text("0 of 245 indexed")
    expect(page.locator("#photos_search_panel .ask")).to_be_disabled()
    page.locator("#photos .go").click()
    page.wait_for_function("document.querySelector('#photos progress').value > 4")
    expect(state).to_contain_text("pictures/s")
    expect(state).to_contain_text("left")
    page.locator("#photos .halt").click()
    go = page.locator("#photos .go")
    expect(go).to_be_visible()
    expect(state).to_contain_text("Stopped. What was indexed stays.")
    kept = int(bar.evaluate("bar => bar.value"))
    assert 0 < kept < 244

    # What is there can be searched already.
    visitor.search("a red star")
    expect(page.locator("#photos_search_panel .about")).to_contain_text(f"of {kept} pictures")
    expect(go).to_contain_text("Go on with")
    go.click()
    expect(state).to_have_text("244 of 245 indexed; the rest cannot be read.", timeout=30_000)
    expect(go).to_have_text("Look for changes")
    assert bar.evaluate("bar => bar.value === bar.max")
    expect(page.locator("#photos .failed")).to_contain_text("2 files could not be read")
    page.locator("#photos summary").click()
    expect(page.locator("#photos .failed li b")).to_have_text(["바닷가/loop", "<b>torn.jpg"])
    # The search is asked anew.
    expect(page.locator("#photos_search_panel .about")).to_contain_text("36 of 244 pictures")

    visitor.search("빨간 하트")
    tiles = page.locator("#photos_search_panel .tile")
    expect(tiles.first.locator(".name")).to_contain_text("heart")
    expect(tiles.first.locator("img")).to_have_attribute("src", PICTURE)
    page.locator("#photos_search_panel button.more").click()
    expect(tiles).to_have_count(72)
    expect(tiles.nth(36).locator(".open")).to_be_focused()
    page.locator("#photos_minus").fill("heart")
    page.locator("#photos_search_panel .ask").click()
    expect(tiles.first.locator(".name")).not_to_contain_text("heart")

    name = tiles.nth(1).locator(".open").get_attribute("title") or ""
    tiles.nth(1).locator(".open").click()
    dialog = page.locator("#photos dialog")
    expect(dialog.locator(".path")).to_have_text(name)
    expect(dialog.locator(".seen")).to_have_attribute("src", PICTURE)
    dialog.locator(".like-this").click()
    expect(page.locator("#photos .like")).to_contain_text("like this picture")
    expect(page.locator("#photos_search_panel .about")).to_contain_text("of 244 pictures")
    assert name not in [tile.get_attribute("title") for tile in tiles.locator(".open").all()]
    page.locator("#photos .like .away").click()
    expect(page.locator("#photos .like")).to_be_hidden()

    visitor.sort("circle=원|circle, square, star, heart")
    tiles = page.locator("#photos_sort_panel .tile")
    expect(page.locator("#photos_sort_panel .by")).to_contain_text("clip-shapes")
    tiles.nth(0).locator(".no").click()
    expect(tiles.nth(0)).to_have_class("tile checked changed")
    expect(tiles.nth(0).locator(".back")).to_be_focused()
    tiles.nth(1).locator(".yes").click()
    expect(page.locator("#photos_sort_panel .checked").first).to_be_visible()
    expect(page.locator("#photos .tools .checked")).to_have_text("2 checked, 1 of them corrected")
    changed = tiles.nth(0).locator(".open").get_attribute("title")
    with page.expect_download() as download:
        page.locator("#photos .export").click()
    download.value.save_as(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 246
    said = {row["path"]: row["corrected"] for row in rows if row["corrected"]}
    assert sorted(said.values()) == ["confirmed", "yes"]
    assert said[str(changed)] == "yes"
    assert [row["path"] for row in rows if row["error"]] == ["바닷가/loop", "<b>torn.jpg"]
    page.locator("#photos .count[data-only=checked]").click()
    expect(tiles).to_have_count(2)
    tiles.nth(0).locator(".back").click()
    expect(page.locator("#photos .tools .checked")).to_have_text("1 checked, 0 of them corrected")


def test_pictures_are_walked_looked_at_and_corrected_by_keyboard(visitor: Visitor) -> None:
    page = visitor.open()
    visitor.index()
    page.locator("#tab_search").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab_sort")).to_be_focused()
    visitor.sort("circle, square, star, heart, <i>ring</i>")
    tiles = page.locator("#photos_sort_panel .tile")
    tiles.nth(0).locator(".open").focus()
    page.keyboard.press("ArrowRight")
    expect(tiles.nth(1).locator(".open")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    dialog = page.locator("#photos dialog")
    expect(dialog.locator(".choice")).to_have_count(5)
    page.keyboard.press("2")
    expect(dialog.locator(".choice").nth(1)).to_have_attribute("aria-pressed", "true")
    expect(tiles.nth(1)).to_have_class("tile checked changed")
    page.keyboard.press("ArrowRight")
    expect(dialog.locator(".caption").first).to_have_text("3 of 244")
    for _ in range(10):  # as quickly as anybody can
        page.keyboard.press("1")
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(tiles.nth(12).locator(".open")).to_be_focused()
    expect(tiles.locator(".back")).to_have_count(11)
    expect(page.locator("#photos .tools .checked")).to_have_text("11 checked, 1 of them corrected")
    expect(page.locator("#photos .count").nth(5)).to_contain_text("<i>ring</i>")
    page.locator("#photos_order").select_option("sure")
    expect(tiles.first.locator(".label")).to_contain_text("%")
    # Several may apply.
    page.locator("#photos_multi").check()
    page.locator("#photos_sort_panel .ask").click()
    expect(page.locator("#photos_sort_panel")).to_contain_text("held by itself")
    tiles.first.locator(".open").click()
    expect(dialog.locator("h3")).to_have_text("Which labels apply?")


def test_folders_are_entered_and_left_and_the_language_keeps_what_was_found(
    browser: Browser, served: str
) -> None:
    visitor = Visitor(browser, served, locale="ko-KR")
    page = visitor.open()
    expect(page.locator("h1")).to_have_text("사진")
    expect(page.locator("#top nav.pages [aria-current]")).to_have_text("사진")
    page.locator("#photos .into").click()
    expect(page.locator("#photos .trail b")).to_have_text("바닷가")
    visitor.index()
    expect(page.locator("#photos .state")).to_have_text("그림 44장을 모두 색인했어요.")
    visitor.search("빨간 별")
    expect(page.locator("#photos_search_panel .about")).to_have_text(
        "44장 가운데 36장, 가까운 것부터"
    )
    page.locator("#language").click()
    expect(page.locator("h1")).to_have_text("Photos")
    expect(page.locator("#photos_search_panel .about")).to_have_text(
        "36 of 44 pictures, the best first"
    )
    expect(page.locator("#photos_text")).to_have_value("빨간 별")
    page.locator("#photos .step").click()
    expect(page.locator("#photos .trail")).to_be_hidden()
    # The examples are ready for whoever has no folder.
    page.locator("#photos .place", has_text="Examples").click()
    expect(page.locator("#photos_search_panel .tile .name").first).to_contain_text("pink-heart")
    expect(page.locator("#photos .state")).to_have_text("All 84 pictures are indexed.")
    page.locator("#photos_text").fill("x" * 300)
    assert len(page.locator("#photos_text").input_value()) == 200
    page.locator("#photos_text").fill("")
    page.locator("#photos_search_panel .ask").click()
    expect(page.get_by_text("Write what is to be seen")).to_be_visible()
    visitor.close()


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_nothing_sticks_out_at_any_width(browser: Browser, served: str, lang: str) -> None:
    visitor = Visitor(browser, served)
    page = visitor.open(f"?lang={lang}")
    visitor.index()
    visitor.sort("circle, square, a star of five points with a very long name indeed, heart")
    for width in (320, 390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        sticking = page.evaluate(
            """() => [...document.querySelectorAll('#top *, #photos_bar *, #photos *')]
                .filter((node) => !(node instanceof SVGElement) && !node.closest('.unseen')
                    && node.clientWidth && node.scrollWidth > node.clientWidth + 1
                    && getComputedStyle(node).overflowX === 'visible')
                .map((node) => node.outerHTML.slice(0, 90))"""
        )
        assert sticking == [], width
    page.locator("#photos_sort_panel .open").first.click()
    page.set_viewport_size({"width": 390, "height": 700})
    box = page.locator("#photos dialog").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    visitor.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, served: str, scheme: str) -> None:
    visitor = Visitor(browser, served, color_scheme=scheme)
    page = visitor.open()
    visitor.index()
    visitor.sort("circle, square, star, heart")
    page.locator("#photos_sort_panel .no").first.click()
    page.wait_for_selector("#photos .tile.changed")
    poor = visitors.faint_text(page, *PARTS)
    page.locator("#photos_sort_panel .open").first.click()
    page.wait_for_selector("#photos dialog .choice[aria-pressed=true]")
    assert poor + visitors.faint_text(page, *PARTS) == []
    visitor.close()
