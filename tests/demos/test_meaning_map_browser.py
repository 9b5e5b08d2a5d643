"""The Meaning Map in a real browser: table, map, gap, sums and rivals, by mouse and keyboard."""

import shutil
from collections.abc import Generator
from pathlib import Path

import mmfm.assets
import pytest
import visitors
from mmfm.demos import app, meaning_map, patches
from mmfm.demos.page import Context
from PIL import Image
from playwright.sync_api import Browser, Locator, expect

pytestmark = visitors.NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second model to change to: the bundled one in another folder."""
    folder = tmp_path_factory.mktemp("models") / "clip-other"
    bundled = Path(str(mmfm.assets.__file__)).parent / "checkpoints" / meaning_map.SMALL
    return Path(shutil.copytree(bundled, folder))


@pytest.fixture(scope="module")
def served(other: Path) -> Generator[str]:
    """Where the page is served."""
    with pytest.MonkeyPatch.context() as patch, app.private_gradio():
        names = [meaning_map.SMALL, str(other)]
        patch.setattr(app, "pages", lambda: {"patches": patches, "meaning_map": meaning_map})
        patch.setattr(meaning_map, "models_here", lambda wanted, fits: names)
        with visitors.serving(app.build(Context("cpu"))) as address:
            yield address


class Visitor(visitors.Visitor):
    """One who visits this page."""

    PAGE = "meaning_map"
    READY = ("#mm-stage .near li",)

    def __init__(self, browser: Browser, address: str, **settings: object) -> None:
        super().__init__(browser, address, **settings)
        self.page.set_default_timeout(20_000)

    def close(self) -> None:
        self.page.context.close()
        assert self.faults == []

    def cell(self, text: int, picture: int) -> Locator:
        return self.page.locator("#mm-stage tbody tr").nth(text).locator("td").nth(picture)

    @property
    def places(self) -> list[str]:
        """Where the points of the map lie."""
        return self.page.locator("#mm-stage .point").evaluate_all(
            "points => points.map((point) => point.getAttribute('aria-label')"
            " + point.style.transform).sort()"
        )


@pytest.fixture
def visitor(browser: Browser, served: str) -> Generator[Visitor]:
    visitor = Visitor(browser, served, locale="en-US")
    yield visitor
    visitor.close()


def test_the_page_opens_on_a_table_that_can_be_pointed_at_and_walked(visitor: Visitor) -> None:
    page = visitor.open()
    expect(page).to_have_title("Meaning Map")
    expect(page.locator("#mm-stage [role=gridcell]")).to_have_count(24 * 12)
    expect(page.locator("#mm-stage td.own")).to_have_count(24)
    expect(page.locator("#mm-stage td .down")).to_have_count(12)
    expect(page.locator("#mm-stage td .side")).to_have_count(24)
    expect(page.locator("#mm-chooser .warn")).to_contain_text("--model")
    said = page.locator("#mm-stage .pair")
    expect(said).to_contain_text("a red circle")
    visitor.cell(2, 4).hover()
    expect(said).to_contain_text("a blue circle")
    expect(said).to_contain_text("do not belong together")
    page.locator("#top h1").hover()
    expect(said).to_contain_text("a red circle")

    visitor.cell(0, 0).focus()
    page.keyboard.press("ArrowRight")
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    expect(visitor.cell(2, 1)).to_be_focused()
    expect(said).to_contain_text("For this picture, number")
    label = visitor.cell(2, 1).get_attribute("aria-label") or ""
    assert label.startswith("Picture 2, a blue circle: 0.")
    assert "belong together" in label
    page.keyboard.press("Control+End")
    expect(visitor.cell(23, 11)).to_be_focused()
    page.keyboard.press("ArrowRight")  # the edge holds
    expect(visitor.cell(23, 11)).to_be_focused()
    assert page.locator("#mm-stage td[tabindex='0']").count() == 1
    # What is chosen in the table is chosen on the map too.
    expect(page.locator("#mm-stage .point.on")).to_have_count(2)


def test_closing_the_gap_moves_the_map_and_the_counts(visitor: Visitor) -> None:
    page = visitor.open()
    pile = page.locator("#mm-stage .curves .pile dd")
    before, there = pile.inner_text(), visitor.places
    page.locator("#mm-gap").focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#mm-stage .gap .amount")).to_have_text("Closed by 100%")
    expect(pile).to_have_text("12 of 12")
    assert before != "12 of 12"
    assert visitor.places != there
    closed = visitor.places
    kept = page.locator("#mm-stage .kept").inner_text()
    page.locator("#mm-stage [data-value=within]").click()
    expect(page.locator("#mm-stage [data-value=within]")).to_have_attribute("aria-pressed", "true")
    assert visitor.places != closed
    expect(page.locator("#mm-stage .kept")).not_to_have_text(kept)


def test_the_map_is_walked_by_keyboard_from_left_to_right(visitor: Visitor) -> None:
    page = visitor.open()
    point = page.locator("#mm-stage .point[tabindex='0']")
    expect(point).to_have_count(1)
    point.focus()
    for _ in range(40):
        page.keyboard.press("ArrowLeft")
    xs: list[float] = []
    names: set[str] = set()
    for _ in range(36):
        here = page.evaluate(
            "[document.activeElement.getAttribute('aria-label'),"
            " parseFloat(document.activeElement.style.transform.slice(10))]"
        )
        names.add(here[0])
        xs.append(here[1])
        page.keyboard.press("ArrowRight")
    assert xs == sorted(xs)
    assert len(names) == 36
    expect(page.locator("#mm-stage .point:focus")).to_have_class("point picture on asks")


def test_a_sum_leads_from_red_to_blue_and_other_words_elsewhere(visitor: Visitor) -> None:
    page = visitor.open()
    says = page.locator("#mm-stage .sums .says")
    expect(says).to_contain_text("Picture 1 − red + blue arrives at “a blue circle”")
    page.locator("#mm-strength").focus()
    page.keyboard.press("Home")
    expect(says).to_contain_text("still nearest to itself")
    expect(page.locator("#mm-stage .near li").first).to_contain_text("began here")
    page.keyboard.press("End")
    page.locator("#mm-minus").fill("circle")
    page.locator("#mm-plus").fill("<b>star</b> star")
    page.keyboard.press("Enter")
    expect(says).to_contain_text("− circle + <b>star</b> star")
    page.locator("#mm-plus").fill("star")
    page.keyboard.press("Enter")
    expect(says).to_contain_text("arrives at “a red star”")
    page.locator("#mm-start").select_option(index=1)
    expect(says).to_contain_text("Picture 2 − circle + star arrives at “a blue star”")


def test_left_and_right_show_rivals_that_win(visitor: Visitor) -> None:
    page = visitor.open("?set=order")
    lost = page.locator("#mm-stage .rivals .lost")
    assert lost.count() > 0
    lost.first.focus()
    page.keyboard.press("Enter")
    said = page.locator("#mm-stage .pair")
    expect(said).to_contain_text("do not belong together")
    expect(said).to_contain_text("number 1 of 16 captions")
    page.locator("#mm-stage .asking [data-value=texts]").click()
    expect(page.locator("#mm-stage .rivals li")).to_have_count(16)


def test_captions_are_changed_without_losing_the_place_of_the_keyboard(visitor: Visitor) -> None:
    page = visitor.open("?set=places")
    assert visitor.link["set"] == ["places"]
    page.locator("#mm-stage summary").focus()
    page.keyboard.press("Enter")
    field = page.locator("#mm-stage .editor li input").first
    field.fill("<img src=x onerror=alert(1)> | 초록색 별")
    page.keyboard.press("Tab")
    row = page.locator("#mm-stage tbody th").first
    expect(row).to_have_text("<img src=x onerror=alert(1)>")
    remove = page.locator("#mm-stage .remove")
    expect(remove.first).to_be_focused()
    assert "set" not in visitor.link
    page.keyboard.press("Enter")
    expect(page.locator("#mm-stage .editor .note").first).to_contain_text("8 pictures, 16 captions")
    expect(remove.first).to_be_focused()
    page.locator("#mm-extra").fill("a red ring\na black heart")
    page.keyboard.press("Tab")
    expect(page.locator("#mm-stage tbody tr")).to_have_count(18)


def test_ones_own_pictures_join_and_what_is_no_picture_is_said(
    browser: Browser, served: str, tmp_path: Path
) -> None:
    visitor = Visitor(browser, served, locale="ko-KR")
    page = visitor.open("?set=order")
    expect(page.locator("h1")).to_have_text("의미 지도")
    own, text = tmp_path / "own.png", tmp_path / "no.jpg"
    Image.new("RGB", (300, 200), "teal").save(own)
    text.write_text("no picture")
    page.locator("#mm-own input[type=file]").set_input_files([own, text])
    expect(page.get_by_text("그림으로 읽을 수 없는 파일이에요")).to_be_visible()
    expect(page.locator("#mm-stage thead img")).to_have_count(9)
    # The new picture waits for a caption.
    field = page.locator("#mm-stage .editor li input").last
    expect(field).to_be_visible()
    expect(field).to_have_attribute("placeholder", "짝이 되는 설명 없음")
    page.evaluate(
        """async () => {
            const canvas = document.createElement('canvas');
            const blob = await new Promise((done) => canvas.toBlob(done));
            const carried = new DataTransfer();
            carried.items.add(new File([blob], 'dropped.png', {type: 'image/png'}));
            document.body.dispatchEvent(
                new DragEvent('drop', {dataTransfer: carried, bubbles: true, cancelable: true}));
        }"""
    )
    expect(page.locator("#mm-stage thead img")).to_have_count(10)
    # Too long a caption is refused, and the page goes on.
    field.fill("x" * 201)
    field.press("Enter")
    expect(page.get_by_text("200자까지")).to_be_visible()
    expect(page.locator("#mm-stage .mm")).not_to_have_attribute("aria-busy", "true")
    page.locator("#language").click()
    expect(page.locator("h1")).to_have_text("Meaning Map")
    expect(page.locator("#mm-stage thead img")).to_have_count(10)
    expect(page.locator("#mm-upload")).to_have_text("Add pictures")
    visitor.close()


def test_sets_and_models_are_changed_by_keyboard(visitor: Visitor, other: Path) -> None:
    page = visitor.open()
    page.locator("[data-set=places]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#mm-stage thead img")).to_have_count(9)
    expect(page.locator("[data-set=places]")).to_have_attribute("aria-pressed", "true")
    page.locator("#mm-model input").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("clip-other")
    expect(page.locator("#mm-chooser .warn")).to_have_count(0)
    expect(page.locator("#mm-stage thead img")).to_have_count(9)
    page.wait_for_function("window.location.search.includes('clip-other')")
    page.reload(wait_until="domcontentloaded")
    page.wait_for_selector("#mm-stage .near li")
    expect(page.locator("#status")).to_contain_text("clip-other")
    expect(page.locator("#mm-stage thead img")).to_have_count(9)


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_nothing_sticks_out_at_any_width(browser: Browser, served: str, lang: str) -> None:
    visitor = Visitor(browser, served)
    page = visitor.open(f"?set=order&lang={lang}")
    page.locator("#mm-stage summary").click()
    for width in (390, 600, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        sticking = page.evaluate(
            """() => [...document.querySelectorAll('#top *, #mm-bar *, #mm-stage *, #mm-lessons *')]
                .filter((node) => !(node instanceof SVGElement) && !node.closest('.scroll')
                    && node.clientWidth && node.scrollWidth > node.clientWidth + 1
                    && getComputedStyle(node).overflowX === 'visible')
                .map((node) => node.outerHTML.slice(0, 90))"""
        )
        assert sticking == [], width
    visitor.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, served: str, scheme: str) -> None:
    visitor = Visitor(browser, served, color_scheme=scheme)
    page = visitor.open("?set=order")
    page.locator("#mm-stage summary").click()
    assert visitors.faint_text(page, "#mm-bar", "#mm-stage", "#mm-lessons") == []
    visitor.close()
