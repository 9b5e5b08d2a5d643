"""Why, CLIP? in a real browser: asking, sliding, teaching, in two languages, on any width."""

from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlparse

import pytest
import visitors
from mmfm.demos import app, patches, zero_shot
from mmfm.demos.page import Context
from PIL import Image
from playwright.sync_api import Browser, Page, Request, expect

pytestmark = visitors.NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Where the page is served, with label vectors of its own."""
    with pytest.MonkeyPatch.context() as patch, app.private_gradio():
        patch.setenv("MMFM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(app, "pages", lambda: {"patches": patches, "zero_shot": zero_shot})
        with visitors.serving(app.build(Context("cpu", "clip-shapes"))) as address:
            yield address


class Visitor(visitors.Visitor):
    """One who visits this page."""

    PAGE = "zero_shot"
    READY = (
        "#zero .bars button.name",
        "#zero .relevance canvas",
    )

    @property
    def said(self) -> list[str]:
        """The answer under each picture."""
        return self.page.locator("#zero .tile b").all_inner_texts()


@pytest.fixture
def visitor(browser: Browser, address: str) -> Generator[Visitor]:
    visitor = Visitor(browser, address, locale="en-US")
    yield visitor
    visitor.page.context.close()
    assert visitor.faults == []


def slide(page: Page, step: int) -> None:
    page.locator("#zero_scale").evaluate(
        "(slider, step) => { slider.value = step; slider.dispatchEvent(new Event('input')); }", step
    )


def test_the_page_opens_with_answers_and_what_they_rest_on(visitor: Visitor) -> None:
    page = visitor.open()
    expect(page).to_have_title("Why, CLIP?")
    assert visitor.said[:4] == ["red circle", "blue star", "green triangle", "yellow heart"]
    expect(page.locator("#zero .headline strong")).to_have_text("red circle")
    expect(page.locator("#zero .bars button.name")).to_have_count(5)
    expect(page.locator("#zero .bars .value").first).to_have_text("100%")
    expect(page.locator("#zero .evidence h2")).to_have_text("What speaks for “red circle”")
    expect(page.locator("#zero .words .word")).to_have_text(["red", "circle"])
    expect(page.locator("#zero_about")).to_contain_text("drawn shapes only")
    # The middle, where the circle is, stays light; the corner is dark.
    middle, corner = page.locator("#zero .relevance canvas").evaluate(
        """canvas => [[3, 3], [0, 0]].map(([x, y]) =>
            canvas.getContext('2d').getImageData(x, y, 1, 1).data[3])"""
    )
    assert middle < corner


def test_a_wrong_answer_becomes_an_example_and_the_next_ones_change_at_once(
    visitor: Visitor,
) -> None:
    page = visitor.open()
    assert "pentagon" not in visitor.said[4:7]
    page.locator("[data-picture=pentagon-2]").click()
    page.locator("#zero [data-really=pentagon]").click()
    expect(page.locator("#zero .examples li")).to_have_text(["pentagon×"])
    assert visitor.said[4:7] == ["pentagon"] * 3
    assert visitor.said[:4] == ["red circle", "blue star", "green triangle", "yellow heart"]
    expect(page.locator("#zero .tile.moved .was").first).to_contain_text("was: ")
    expect(page.locator("#zero .tile.taught")).to_have_count(1)
    expect(page.locator("#zero .bars .added").first).to_contain_text("+")
    page.locator("#zero .examples .forget").click()
    expect(page.locator("#zero .examples li")).to_have_count(0)
    expect(page.locator("#zero .tile.moved")).to_have_count(0)
    assert "pentagon" not in visitor.said[4:7]


def asks(request: Request) -> bool:
    """Whether a request says anything to the page; waking it, and waiting for answers, does not."""
    address = urlparse(request.url)
    if address.scheme == "data" or address.path.endswith("/queue/data"):
        return False
    return not address.path.endswith("/queue/join") or bool(request.post_data_json["data"])


def test_the_scale_slides_without_asking_the_server(visitor: Visitor) -> None:
    page = visitor.open()
    score = page.locator("#zero .headline .score")
    own = page.locator("#zero_scale").input_value()
    expect(page.locator("#zero .scale label")).to_have_text("Scale 31.9 (the model’s own)")
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))  # playwright marks what it calls
    slide(page, 0)
    expect(page.locator("#zero .scale label")).to_have_text("Scale 1.00")
    low = score.inner_text()
    assert float(low.rstrip("%")) < 50  # five labels that are nearly equal
    page.locator("#zero_scale").press("ArrowRight")
    expect(page.locator("#zero .scale label")).not_to_have_text("Scale 1.00")
    page.locator("#zero .reset").click()
    expect(score).to_have_text("100%")
    assert page.locator("#zero_scale").input_value() == own
    assert [request.url for request in asked if asks(request)] == []


def test_labels_sentences_and_switches_ask_again(visitor: Visitor) -> None:
    page = visitor.open()
    labels = page.locator("#zero_labels")
    labels.fill("a ring, <i>pentagon</i>, yellow heart")
    labels.press("Enter")
    expect(page.locator("#zero .bars button.name")).to_have_count(3)
    assert visitor.said[3] == "yellow heart"
    # A label is text, whatever is in it.
    expect(page.locator("#zero .bars")).to_contain_text("<i>pentagon</i>")
    assert visitor.link["labels"] == ["a ring, <i>pentagon</i>, yellow heart"]
    page.locator("#zero_template").select_option("own")
    expect(page.locator("#zero summary")).to_have_text("The model reads this sentence.")
    own = page.locator("#zero_own_template")
    own.fill("there is {a} {name}")
    own.press("Enter")
    page.locator("[data-picture=heart]").click()
    expect(page.locator("#zero .sentences li")).to_have_text("there is a yellow heart")
    expect(page.locator("#zero .words .word")).to_have_text(["there", "is", "a", "yellow", "heart"])
    page.locator("#zero_none").check()
    expect(page.locator("#zero .bars .nothing")).to_have_count(1)
    expect(page.locator("#zero .known")).to_contain_text("general texts")
    assert visitor.said[0] == "none of these"
    assert visitor.said[3] == "yellow heart"
    page.locator("#zero_multi").check()
    expect(page.locator("#zero .kind")).to_contain_text("an order, and not yet a probability")
    link = visitor.link
    assert (link["none"], link["multi"], link["template"]) == (
        ["1"], ["1"], ["there is {a} {name}"]
    )  # fmt: skip
    page.reload(wait_until="domcontentloaded")
    page.wait_for_selector("#zero .bars button.name")
    expect(page.locator("#zero_none")).to_be_checked()
    expect(page.locator("#zero_own_template")).to_have_value("there is {a} {name}")


def test_another_label_shows_its_own_evidence(visitor: Visitor) -> None:
    page = visitor.open()
    pixels = "canvas => canvas.toDataURL()"
    before = page.locator("#zero .relevance canvas").evaluate(pixels)
    page.locator("#zero [data-label='green triangle']").click()
    expect(page.locator("#zero .evidence h2")).to_contain_text("green triangle")
    expect(page.locator("#zero [data-label='green triangle']")).to_be_focused()
    assert page.locator("#zero .relevance canvas").evaluate(pixels) != before
    expect(page.locator("#zero .words .word").first).to_have_text("green")


def test_the_keyboard_walks_teaches_and_takes_away(visitor: Visitor) -> None:
    page = visitor.open()
    page.locator("#zero .tile").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")  # the edge holds
    expect(page.locator("#zero .tile").last).to_be_focused()
    expect(page.locator("#zero .tile").last).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#zero .tile").nth(7)).to_be_focused()
    expect(page.locator("#zero .tile").nth(7)).to_have_attribute(
        "aria-label", "Picture 8: " + ", ".join(
            page.locator("#zero .tile").nth(7).inner_text().split("\n"))
    )  # fmt: skip
    assert page.locator("#zero .tile[tabindex='0']").count() == 1
    page.keyboard.press("Delete")
    expect(page.locator("#zero .tile")).to_have_count(8)
    expect(page.locator("#zero .tile").nth(7)).to_be_focused()
    page.locator("#zero [data-really='blue star']").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#zero .examples li")).to_have_count(1)
    expect(page.locator("#zero [data-really='blue star']")).to_be_focused()
    outline = "node => getComputedStyle(node).outlineStyle"
    for place in ("#zero_labels", "#zero .tile[tabindex='0']", "#zero_none", "#zero_template"):
        page.locator(place).focus()
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")
        assert page.locator(place).evaluate(outline) == "solid", place


def test_several_pictures_come_at_once_and_are_dropped(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.open()
    files: list[str] = []
    for name in ("red", "blue"):
        Image.new("RGB", (40, 30), name).save(tmp_path / f"{name}.png")
        files.append(str(tmp_path / f"{name}.png"))
    page.locator("#zero_own input[type=file]").set_input_files(files)
    expect(page.locator("#zero .tile")).to_have_count(11)
    expect(page.locator("#zero .tile").nth(9)).to_have_attribute("aria-pressed", "true")
    page.evaluate(
        """async () => {
            const carried = new DataTransfer();
            for (const name of ['a.png', 'b.png']) {
                const canvas = document.createElement('canvas');
                const blob = await new Promise((done) => canvas.toBlob(done));
                carried.items.add(new File([blob], name, {type: 'image/png'}));
            }
            document.body.dispatchEvent(
                new DragEvent('drop', {dataTransfer: carried, bubbles: true, cancelable: true}));
        }"""
    )
    expect(page.locator("#zero .tile")).to_have_count(13)
    page.locator("#zero .restore").click()
    expect(page.locator("#zero .tile")).to_have_count(9)


def test_what_cannot_be_asked_is_said_and_the_page_goes_on(
    browser: Browser, address: str, tmp_path: Path
) -> None:
    visitor = Visitor(browser, address, locale="ko-KR")
    page = visitor.open()
    text = tmp_path / "no.jpg"
    text.write_text("no picture")
    page.locator("#zero_own input[type=file]").set_input_files(text)
    expect(page.get_by_text("그림으로 읽을 수 없는 파일이에요")).to_be_visible()
    before = visitor.said
    page.locator("#zero_labels").fill(",".join(f"라벨 {number}" for number in range(30)))
    page.locator("#zero .ask").click()
    expect(page.get_by_text("라벨이 30개예요")).to_be_visible()
    assert visitor.said == before
    page.locator("#zero_labels").fill("노란 하트, 파란 별")
    page.locator("#zero .ask").click()
    expect(page.locator("#zero .bars button.name")).to_have_count(2)
    page.context.close()
    assert visitor.faults == []


def test_a_korean_browser_reads_korean_and_the_other_language_keeps_what_was_done(
    browser: Browser, address: str
) -> None:
    visitor = Visitor(browser, address, locale="ko-KR")
    page = visitor.open()
    expect(page.locator("h1")).to_have_text("CLIP, 왜 그렇게 답했나요?")
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    assert visitor.said[:2] == ["빨간 원", "파란 별"]
    expect(page.locator("#zero_upload")).to_have_text("그림 추가")
    page.locator("#language").click()
    expect(page.locator("h1")).to_have_text("Why, CLIP?")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("#zero .tile b").first).to_have_text("red circle")
    page.locator("[data-picture=pentagon-2]").click()
    page.locator("#zero [data-really=pentagon]").click()
    expect(page.locator("#zero .examples li")).to_have_count(1)
    page.locator("#language").click()
    expect(page.locator("h1")).to_have_text("CLIP, 왜 그렇게 답했나요?")
    expect(page.locator("#zero .examples li")).to_have_count(1)
    expect(page.locator("#zero_upload")).to_have_text("그림 추가")
    page.context.close()
    assert visitor.faults == []


def test_nothing_sticks_out_at_any_width(visitor: Visitor) -> None:
    page = visitor.open("?none=1")
    page.locator("[data-picture=pentagon-2]").click()
    page.locator("#zero [data-really=pentagon]").click()
    expect(page.locator("#zero .examples li")).to_have_count(1)
    page.locator("#zero_template").select_option("own")
    expect(page.locator("#zero summary")).to_have_text("The model reads this sentence.")
    for width in (320, 390, 600, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        sticking = page.evaluate(
            """() => [...document.querySelectorAll('#zero *, #zero_bar *')]
                .filter((node) => node.clientWidth && node.scrollWidth > node.clientWidth + 1
                    && getComputedStyle(node).overflowX === 'visible')
                .map((node) => node.outerHTML.slice(0, 90))"""
        )
        assert sticking == [], width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, address: str, scheme: str) -> None:
    visitor = Visitor(browser, address, color_scheme=scheme)
    page = visitor.open("?none=1")
    page.locator("[data-picture=pentagon-2]").click()
    page.locator("#zero [data-really=pentagon]").click()
    expect(page.locator("#zero .examples li")).to_have_count(1)
    assert visitors.faint_text(page, "#top", "#zero_bar", "#zero", "#lessons") == []
    page.context.close()
    assert visitor.faults == []


def test_a_word_that_is_pressed_shows_where_it_is_found(visitor: Visitor) -> None:
    page = visitor.open()
    title = page.locator("#zero .relevance figcaption b")
    expect(title).to_have_text("What the answer rests on")
    pixels = "canvas => canvas.toDataURL()"
    label = page.locator("#zero .relevance canvas").evaluate(pixels)
    word = page.locator("#zero .words .word").first
    word.focus()
    page.keyboard.press("Enter")
    expect(title).to_have_text("Where “red” is found")
    expect(word).to_have_attribute("aria-pressed", "true")
    expect(word).to_be_focused()
    assert page.locator("#zero .relevance canvas").evaluate(pixels) != label
    page.keyboard.press("Enter")
    expect(title).to_have_text("What the answer rests on")
    assert page.locator("#zero .relevance canvas").evaluate(pixels) == label
    assert visitor.faults == []
