"""The Patch Lens in a real browser: pointing, walking, masking, in two languages, on any width."""

import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest
import visitors
from mmfm.demos import patches
from PIL import Image
from playwright.sync_api import Browser, expect

from mmfm.tasks.look import Lens, Look

pytestmark = visitors.NEEDS_CHROMIUM
HEAT = "tiles => tiles.map(tile => Number(tile.style.getPropertyValue('--heat')))"


class Visitor(visitors.Visitor):
    """One who visits this page."""

    READY = ("#stage .bars li",)

    @property
    def heat(self) -> list[float]:
        return self.page.locator("#stage .patch").evaluate_all(HEAT)

    @property
    def asking(self) -> int:
        """The patch that asks, -1 if it is none."""
        return self.page.locator("#stage .patch").evaluate_all(
            "tiles => tiles.findIndex(tile => tile.classList.contains('asking'))"
        )


@pytest.fixture
def visitor(browser: Browser, address: str) -> Generator[Visitor]:
    visitor = Visitor(browser, address, locale="en-US")
    yield visitor
    visitor.page.context.close()
    assert visitor.faults == []


def test_the_page_opens_on_the_summary_of_an_example(visitor: Visitor) -> None:
    page = visitor.open()
    expect(page).to_have_title("Patch Lens")
    expect(page.locator("#stage .patch")).to_have_count(64)
    expect(page.locator("#stage .chips button.on")).to_have_text("CLS")
    assert max(visitor.heat) == 1
    assert min(visitor.heat) < 0.9
    expect(page.locator("#status")).to_contain_text("trained on noise-10")
    # A label is text, whatever is in it.
    expect(page.locator("#stage .bars")).to_contain_text("<b>horse</b>")


def test_pointing_at_a_patch_shows_its_attention_and_leaving_ends_it(visitor: Visitor) -> None:
    page = visitor.open()
    before = visitor.heat
    page.locator("#stage .patch").nth(27).hover()
    expect(page.locator("#stage .patch").nth(27)).to_have_class("patch asking")
    expect(page.locator("#stage .says")).to_contain_text("Patch in row 4, column 4")
    assert visitor.heat != before
    expect(page.locator("#stage .alike .rank")).to_have_count(5)
    page.locator("#top h1").hover()
    expect(page.locator("#stage .says")).to_contain_text("CLS")
    assert visitor.heat == before


def test_the_keyboard_walks_masks_and_goes_back(visitor: Visitor) -> None:
    page = visitor.open()
    page.locator("#stage .patch").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#stage .patch").nth(9)).to_be_focused()
    expect(page.locator("#stage .patch").nth(9)).to_have_class("patch asking")
    assert visitor.link["patch"] == ["10"]
    first = visitor.heat
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")  # the edge holds
    expect(page.locator("#stage .patch").nth(15)).to_be_focused()
    expect(page.locator("#stage .patch").nth(15)).to_have_class("patch asking")
    assert visitor.heat != first
    page.keyboard.press(" ")
    expect(page.locator("#stage .patch").nth(15)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#stage .patch").nth(15)).to_have_attribute(
        "aria-label", "Patch in row 2, column 8, masked"
    )
    expect(page.locator("#stage .answer .note").last).to_contain_text("63 of 64")
    page.keyboard.press("Escape")
    expect(page.locator("#stage .chips button.on")).to_have_text("CLS")
    assert "patch" not in visitor.link
    # Of all patches one is on the way of the Tab key.
    assert page.locator("#stage .patch[tabindex='0']").count() == 1


def test_masking_moves_the_prediction_and_clearing_brings_it_back(visitor: Visitor) -> None:
    page = visitor.open()
    note = page.locator("#stage .answer .note").last
    values = page.locator("#stage .bars .value")
    before = values.all_inner_texts()
    page.locator("#stage .mask-most").click()
    expect(note).to_contain_text("48 of 64")
    assert values.all_inner_texts() != before
    masked = page.locator("#stage .patch[aria-pressed='true']")
    expect(masked).to_have_count(16)
    page.locator("#stage .mask-random").click()
    expect(masked).to_have_count(16)
    page.locator("#stage .clear").click()
    expect(note).to_contain_text("all 64 patches")
    expect(masked).to_have_count(0)
    assert values.all_inner_texts() == before
    page.locator("#stage .clear").click()  # the same answer once more is an answer too
    expect(page.locator("#stage .answer")).not_to_have_attribute("aria-busy", "true")

    page.locator("#stage .to-mask").click()
    for patch in (0, 1, 2, 3, 2):  # faster than the model answers
        page.locator("#stage .patch").nth(patch).click()
    expect(masked).to_have_count(3)
    expect(note).to_contain_text("61 of 64")
    expect(page.locator("#stage .answer")).not_to_have_attribute("aria-busy", "true")


def test_one_question_about_a_mask_is_on_its_way_at_a_time(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visitor.open()
    asked: list[int] = []
    answer = patches.answer_data

    def slowly(look: Look, keep: list[bool] | None, say: Mapping[str, str]) -> dict[str, Any]:
        asked.append(sum(keep or []))
        time.sleep(0.7)
        return answer(look, keep, say)

    monkeypatch.setattr(patches, "answer_data", slowly)
    page.locator("#stage .to-mask").click()
    for patch in range(5):
        page.locator("#stage .patch").nth(patch).click()
    expect(page.locator("#stage .answer .note").last).to_contain_text("59 of 64")
    expect(page.locator("#stage .answer")).not_to_have_attribute("aria-busy", "true")
    # The first click's question, perhaps one in between, and the last state: not one a click.
    assert asked[0] == 63
    assert asked[-1] == 59
    assert len(asked) <= 3


def test_tab_walks_through_the_page_without_moving_the_asker(visitor: Visitor) -> None:
    page = visitor.open()
    page.locator("#stage .chips button").last.focus()
    before = visitor.heat
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#stage .patch')"):
            break
    else:
        raise AssertionError("Tab does not reach the patches")
    assert visitor.asking == -1
    assert visitor.heat == before


def test_layers_and_heads_change_the_heat_and_the_link(visitor: Visitor) -> None:
    page = visitor.open("?picture=shapes&layer=2&head=1&patch=20")
    expect(page.locator("#picker [aria-pressed='true']")).to_have_text("Shapes")
    expect(page.locator("#stage .layer label")).to_have_text("Layer 2 of 3")
    expect(page.locator("#stage .head[aria-pressed='true']")).to_have_text("1")
    assert visitor.asking == 19
    heats = [visitor.heat]
    page.locator("#stage .head").nth(3).click()
    heats.append(visitor.heat)
    page.locator("#layer").press("ArrowRight")
    expect(page.locator("#stage .layer label")).to_have_text("Layer 3 of 3")
    page.wait_for_function(
        "old => document.querySelector('#stage .patch').style.getPropertyValue('--heat') !== old",
        arg=f"{heats[-1][0]:.3f}",
    )
    heats.append(visitor.heat)
    assert len({tuple(heat) for heat in heats}) == 3
    link = visitor.link
    assert link.pop("model")
    assert link == {
        "picture": ["shapes"], "layer": ["3"], "head": ["3"], "patch": ["20"]
    }  # fmt: skip
    reopened = visitor.heat
    page.reload(wait_until="domcontentloaded")
    page.wait_for_selector("#stage .bars li")
    assert visitor.heat == reopened


def test_a_picture_of_very_many_patches_is_looked_up_patch_by_patch(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor.open("?patch=20&head=2")
    at_once = visitor.heat
    monkeypatch.setattr(patches, "SENT_AT_ONCE", 100)
    page = visitor.open("?patch=20&head=2")
    page.wait_for_selector("#stage .patch.asking")
    assert visitor.heat == at_once
    page.locator("#stage .patch").nth(3).hover()
    expect(page.locator("#stage .patch").nth(3)).to_have_class("patch asking")


def test_a_picture_that_the_server_forgot_is_looked_at_again(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visitor.open("?patch=20&layer=3")
    forgets = iter([None])
    remember = Lens.remembered
    monkeypatch.setattr(Lens, "remembered", lambda lens, key: next(forgets, remember(lens, key)))
    page.locator("#layer").press("ArrowLeft")
    expect(page.locator("#stage .layer label")).to_have_text("Layer 2 of 3")
    page.locator("#stage .patch").nth(3).hover()
    expect(page.locator("#stage .patch").nth(3)).to_have_class("patch asking")


def test_another_picture_and_ones_own(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.open()
    before = visitor.heat
    page.locator("[data-picture=stripes]").click()
    expect(page.locator("#picker [aria-pressed='true']")).to_have_text("Stripes")
    page.wait_for_function("window.location.search.includes('stripes')")
    assert visitor.heat != before
    own = tmp_path / "own.png"
    Image.new("LA", (1, 1), (90, 255)).save(own)
    page.locator("#own input[type=file]").set_input_files(own)
    expect(page.locator("#picker [aria-pressed='true']")).to_have_text("Your picture")
    expect(page.locator("#stage .patch")).to_have_count(64)


def test_what_is_dropped_on_the_page_is_taken(visitor: Visitor) -> None:
    page = visitor.open()
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
    expect(page.locator("#picker [aria-pressed='true']")).to_have_text("Your picture")


def test_a_file_that_is_no_picture_is_said_and_the_page_goes_on(
    browser: Browser, address: str, tmp_path: Path
) -> None:
    visitor = Visitor(browser, address, locale="ko-KR")
    page = visitor.open()
    text = tmp_path / "no.jpg"
    text.write_text("no picture")
    page.locator("#own input[type=file]").set_input_files(text)
    expect(page.get_by_text("그림으로 읽을 수 없는 파일이에요")).to_be_visible()
    expect(page.get_by_text("Warning")).to_be_hidden()  # Gradio's own heading is English
    page.locator("[data-picture=shapes]").click()
    expect(page.locator("#picker [aria-pressed='true']")).to_have_text("도형")
    page.context.close()
    assert visitor.faults == []


def test_a_korean_browser_reads_korean_and_can_change_to_english(
    browser: Browser, address: str
) -> None:
    visitor = Visitor(browser, address, locale="ko-KR")
    page = visitor.open()
    expect(page.locator("h1")).to_have_text("패치 렌즈")
    expect(page).to_have_title("패치 렌즈")
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    expect(page.locator("#upload")).to_have_text("그림 열기")
    expect(page.locator("#own")).to_contain_text("모델")
    expect(page.locator("#stage .patch").first).to_have_attribute("aria-label", "1행 1열 패치")
    page.locator("#language").click()
    expect(page.locator("h1")).to_have_text("Patch Lens")
    page.context.close()
    assert visitor.faults == []


def test_the_other_language_keeps_ones_own_picture(
    browser: Browser, address: str, tmp_path: Path
) -> None:
    visitor = Visitor(browser, address, locale="ko-KR")
    page = visitor.open("?layer=2")
    own = tmp_path / "own.png"
    Image.new("RGB", (40, 30), "teal").save(own)
    page.locator("#own input[type=file]").set_input_files(own)
    expect(page.locator("#picker [aria-pressed='true']")).to_have_text("내 그림")
    view = page.locator("#picker [aria-pressed='true'] img").get_attribute("src")
    page.locator("#layer").press("ArrowLeft")
    expect(page.locator("#stage .layer label")).to_have_text("3개 층 가운데 1번째")
    page.locator("#language").click()
    expect(page.locator("#picker [aria-pressed='true']")).to_have_text("Your picture")
    assert page.locator("#picker [aria-pressed='true'] img").get_attribute("src") == view
    expect(page.locator("#stage .layer label")).to_have_text("Layer 1 of 3")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("#upload")).to_have_text("Open a picture")
    assert visitor.link["lang"] == ["en"]
    page.locator("#language").click()
    expect(page.locator("#picker [aria-pressed='true']")).to_have_text("내 그림")
    page.context.close()
    assert visitor.faults == []


def test_other_patch_sizes_show_their_cost(visitor: Visitor) -> None:
    page = visitor.open()
    rows = page.locator("#sizes tbody tr")
    expect(rows).to_have_count(6)
    expect(page.locator("#sizes tr.on")).to_contain_text("this model")
    page.locator("#sizes input[value='8']").check()
    expect(page.locator("#sizes tr.on")).to_contain_text("8 × 8")
    assert page.locator("#sizes .lines").evaluate(
        "lines => lines.style.getPropertyValue('--columns')"
    ) == "4"  # fmt: skip


def test_nothing_sticks_out_at_any_width(visitor: Visitor) -> None:
    page = visitor.open()
    for width in (320, 390, 600, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if width < 390:
            continue  # there the numbers of the nearest patches reach over their small picture
        sticking = page.evaluate(
            """() => [...document.querySelectorAll('.gradio-container :is(header, .block) *')]
                .filter((node) => node.clientWidth && node.scrollWidth > node.clientWidth + 1
                    && getComputedStyle(node).overflowX === 'visible')
                .map((node) => node.outerHTML.slice(0, 90))"""
        )
        assert sticking == [], width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, address: str, scheme: str) -> None:
    visitor = Visitor(browser, address, color_scheme=scheme)
    page = visitor.open()
    dark = page.evaluate("document.body.classList.contains('dark')")
    assert dark == (scheme == "dark")
    assert visitors.faint_text(page, "#top", "#bar", "#stage", "#sizes", "#lessons") == []
    page.context.close()
