"""Drawn from Words in a browser: said, watched, pointed at by mouse, finger and keys, restored."""

import base64
import re
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import torch
import visitors
import word_models
from mmfm.demos import app, denoise, patches, text_to_picture
from mmfm.demos.page import Context
from playwright.sync_api import Browser, Locator, Page, expect

from mmfm import keepsakes
from mmfm.models.denoiser import Denoiser

pytestmark = visitors.NEEDS_CHROMIUM

PARTS = ("#top", "#draw_bar", "#draw", "#lessons")  # of the page, in which text is looked at
PIXELS = "canvas => canvas.toDataURL()"
# How dark each patch of the large picture is, 0 to 255.
HEAT = """canvas => canvas.hidden ? null : [...canvas.getContext('2d')
    .getImageData(0, 0, canvas.width, canvas.height).data].filter((_, i) => i % 4 === 3)"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Where the page is served."""
    model = word_models.save_both(tmp_path_factory.mktemp("words"))
    with pytest.MonkeyPatch.context() as patch, app.private_gradio():
        patch.setenv("MMFM_CACHE", str(tmp_path_factory.mktemp("cache")))
        known = {"patches": patches, "text_to_picture": text_to_picture, "denoise": denoise}
        patch.setattr(app, "pages", lambda: known)
        with visitors.serving(app.build(Context("cpu", str(model)))) as address:
            yield address


class Visitor(visitors.Visitor):
    """One who visits this page."""

    PAGE = "text_to_picture"
    READY = ("#draw .ask, #draw .missing",)

    def __init__(self, browser: Browser, address: str, **settings: object) -> None:
        super().__init__(browser, address, **settings)
        self.page.set_default_timeout(20_000)

    def close(self) -> None:
        self.page.context.close()
        assert self.faults == []

    def part(self, place: str, says: str | None = None) -> Locator:
        return self.page.locator(f"#draw {place}", has_text=says)

    def draw(self) -> None:
        """Press the button, and wait for the end."""
        self.part("button.go").click()
        self.arrive()

    def arrive(self) -> None:
        expect(self.part(".status")).to_have_text(re.compile(r"Done\.|다 그렸어요\."))

    def becomes(self, look: Callable[[], object], what: object) -> None:
        """Wait until something is as it shall be."""
        deadline = time.monotonic() + 30
        while (seen := look()) != what and time.monotonic() < deadline:
            self.page.wait_for_timeout(50)
        assert seen == what

    def picture(self, number: int = 0) -> str:
        return self.part(".screen .picture").nth(number).evaluate(PIXELS)

    def pixels(self) -> list[int]:
        return self.part(".screen .picture").first.evaluate(
            "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
        )

    def heat(self, number: int = 0) -> list[int] | None:
        return self.part(".screen .heat").nth(number).evaluate(HEAT)

    @property
    def shares(self) -> list[str]:
        return self.part("button.word .value").all_text_contents()


@pytest.fixture
def visitor(browser: Browser, served: str) -> Generator[Visitor]:
    visitor = Visitor(browser, served, locale="en-US", accept_downloads=True)
    yield visitor
    visitor.close()


def slide(page: Page, name: str, value: float) -> None:
    """Move a slider there, and let it go."""
    page.locator(f"#draw_{name}").evaluate(
        """(slider, value) => {
            slider.value = value;
            slider.dispatchEvent(new Event('input'));
            slider.dispatchEvent(new Event('change'));
        }""",
        value,
    )


def test_words_become_a_picture_step_by_step_and_the_slider_goes_through_them(
    visitor: Visitor,
) -> None:
    page = visitor.open("?steps=8")
    expect(page).to_have_title("Drawn from Words")
    expect(visitor.part("#draw_text")).to_have_value("red heart")
    expect(visitor.part("figcaption").first).to_contain_text("Pure noise")
    expect(visitor.part(".after")).to_be_hidden()
    start = visitor.picture()
    visitor.part("#draw_text").fill("blue heart")
    page.keyboard.press("Enter")
    visitor.arrive()
    expect(visitor.part("figcaption").first).to_have_text("blue heart")
    expect(visitor.part(".summary")).to_contain_text("euler, 8 steps · guidance 2 · noise no. 0")
    expect(visitor.part(".word .said")).to_have_text(["blue", "heart"])
    end, shares = visitor.picture(), visitor.shares
    scrubber = visitor.part("#draw_scrubber")
    assert scrubber.get_attribute("max") == "8"
    scrubber.focus()
    page.keyboard.press("Home")
    expect(visitor.part(".place .name")).to_have_text("Step 1 of 8")
    expect(visitor.part(".moment")).to_have_text("100% of this is noise")
    assert visitor.picture() == start, "what was shown beforehand is what it began with"
    seen = {start}
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        seen.add(visitor.picture())
    assert len(seen) == 4 and visitor.shares != shares
    visitor.part("button.view").nth(1).click()
    expect(visitor.part(".moment")).to_contain_text("its guess of the clean picture")
    assert visitor.picture() not in seen
    scrubber.focus()
    page.keyboard.press("End")
    assert visitor.picture() == end and visitor.shares == shares
    # It replays for less than a second, so what stands there is read at once.
    assert visitor.part(".replay").evaluate("b => { b.click(); return b.textContent; }") == "Pause"
    expect(visitor.part(".replay")).to_have_text("Play again")
    assert visitor.link["text"] == ["blue heart"] and visitor.link["steps"] == ["8"]


def test_a_word_lights_its_patches_and_a_patch_its_words_by_mouse(visitor: Visitor) -> None:
    page = visitor.open()
    assert visitor.heat() is None
    visitor.draw()
    words = visitor.part("button.word")
    whole = visitor.shares
    words.nth(0).hover()
    expect(visitor.part(".says")).to_contain_text("“red” gets")
    red = visitor.heat()
    assert red is not None and len(red) == 256 and min(red) == 0 and max(red) > 60
    words.nth(1).hover()
    assert visitor.heat() != red
    page.locator("#top h1").hover()
    assert visitor.heat() is None
    expect(visitor.part(".says")).to_contain_text("Point at a word")
    box = visitor.part(".screen").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.28 * box["width"], box["y"] + 0.03 * box["height"])
    expect(visitor.part(".says")).to_contain_text("The patch in row 1, column 5 looks most at")
    expect(visitor.part(".scope")).to_have_text("row 1, column 5")
    expect(visitor.part(".screen .cursor").first).to_be_visible()
    shares = [int(share.removesuffix("%")) for share in visitor.shares]
    assert visitor.shares != whole and 98 <= sum(shares) <= 102
    best = max(range(2), key=shares.__getitem__)
    expect(words.nth(best)).to_have_class(re.compile(r"\blit\b"))
    page.locator("#top h1").hover()
    assert visitor.shares == whole
    # A press keeps it while one looks elsewhere, a second one lets go.
    words.nth(0).click()
    page.locator("#top h1").hover()
    expect(words.nth(0)).to_have_attribute("aria-pressed", "true")
    assert visitor.heat() == red
    words.nth(0).click()
    page.locator("#top h1").hover()
    assert visitor.heat() is None


def test_words_and_patches_are_reached_by_keyboard(visitor: Visitor) -> None:
    page = visitor.open()
    visitor.draw()
    visitor.part("button.go").focus()
    for _ in range(20):
        page.keyboard.press("Tab")
        if visitor.part(".screen:focus").count():
            break
    expect(visitor.part(".screen").first).to_be_focused()
    expect(visitor.part(".scope")).to_have_text("row 9, column 9")
    for key in ("ArrowUp", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    expect(visitor.part(".scope")).to_have_text("row 8, column 11")
    expect(visitor.part(".unseen[aria-live]")).to_contain_text("row 8, column 11 looks most at")
    page.keyboard.press("Enter")  # holds it
    page.keyboard.press("Tab")
    expect(visitor.part("button.word").first).to_be_focused()
    expect(visitor.part(".says")).to_contain_text("“red” gets")
    page.keyboard.press("Tab")
    expect(visitor.part(".says")).to_contain_text("“heart” gets")
    assert visitor.heat() is not None
    outline = visitor.part("button.word").nth(1).evaluate("n => getComputedStyle(n).outlineStyle")
    assert outline == "solid"
    visitor.part("#draw_scrubber").focus()
    expect(visitor.part(".scope")).to_have_text("row 8, column 11")
    page.keyboard.press("Escape")
    expect(visitor.part(".scope")).to_have_text("over the whole picture")


def test_words_and_patches_are_reached_by_touch(browser: Browser, served: str) -> None:
    visitor = Visitor(browser, served, has_touch=True, viewport={"width": 390, "height": 800})
    visitor.open()
    visitor.draw()
    word = visitor.part("button.word").nth(1)
    word.tap()
    expect(word).to_have_attribute("aria-pressed", "true")
    assert visitor.heat() is not None
    word.tap()
    visitor.becomes(visitor.heat, None)
    screen = visitor.part(".screen").first
    screen.tap(position={"x": 5, "y": 5})
    expect(visitor.part(".scope")).to_have_text("row 1, column 1")
    screen.tap(position={"x": 5, "y": 5})
    expect(visitor.part(".scope")).to_have_text("over the whole picture")
    visitor.close()


def test_ten_frames_a_second_and_more_are_painted(visitor: Visitor) -> None:
    page = visitor.open("?steps=16")
    page.evaluate(
        """() => {
            window.painted = [];
            new MutationObserver(() => window.painted.push(performance.now())).observe(
                document.querySelector('#draw .show'), {attributeFilter: ['data-shown']});
        }"""
    )
    best = 0.0
    for _ in range(4):  # whatever else this machine has to do meanwhile
        page.evaluate("window.painted = []")
        visitor.draw()
        times: list[float] = page.evaluate("window.painted")
        assert len(times) >= 16
        best = max(best, (len(times) - 1) / (times[-1] - times[0]) * 1000)
        if best >= 10:
            break
    assert best >= 10


def test_stop_stops_within_a_second_and_what_was_seen_stays(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visitor.open("?steps=50")
    thinking: list[float] = []

    def forward(self: Denoiser, *args: Any, **more: Any) -> torch.Tensor:
        time.sleep(0.2)
        thinking.append(time.monotonic())
        return plain(self, *args, **more)

    plain = Denoiser.forward
    monkeypatch.setattr(Denoiser, "forward", forward)
    took: list[float] = []
    while not took or (min(took) > 1 and len(took) < 4):  # whatever else this machine has to do
        visitor.part("button.go").click()
        expect(visitor.part(".place .name")).to_have_text(re.compile(r"^Step ([4-9]|\d\d) "))
        pressed = time.monotonic()
        said = visitor.part("button.go.stop").evaluate(
            """button => {
                button.click();
                return [button.textContent, document.querySelector('#draw .status').textContent];
            }"""
        )
        assert said == ["Draw", "Stopped."], "whoever looks sees it stop at once"
        time.sleep(1.5)
        took.append(thinking[-1] - pressed)
    assert min(took) < 1, "the model goes on"
    expect(visitor.part(".keep")).to_be_hidden()
    last = int(visitor.part("#draw_scrubber").get_attribute("max") or 0)
    assert 3 <= last < 40
    visitor.part("button.word").nth(1).hover()
    assert visitor.heat() is not None, "what was drawn can be looked into"
    seen = visitor.picture()
    visitor.part("button.go").evaluate("button => { button.click(); button.click(); }")
    expect(visitor.part(".status")).to_have_text("Stopped.")
    assert visitor.picture() == seen, "where nothing new was seen yet, the old is still there"
    monkeypatch.undo()
    slide(page, "steps", 3)  # draws anew
    visitor.arrive()
    expect(visitor.part(".keep")).to_be_visible()


def test_what_is_set_is_drawn_anew_from_the_same_noise(visitor: Visitor) -> None:
    page = visitor.open("?seed=3&steps=4")
    visitor.draw()
    first = visitor.picture()
    slide(page, "guidance", 6)
    expect(visitor.part(".summary")).to_contain_text("guidance 6")
    visitor.arrive()
    firm = visitor.picture()
    assert firm != first
    visitor.part("button.hand", "Noto").click()
    expect(visitor.part(".summary")).to_contain_text("drawn as Noto")
    visitor.arrive()
    assert visitor.picture() not in (first, firm)
    visitor.part(".dice").click()
    expect(visitor.part(".summary")).not_to_contain_text(re.compile(r"noise no\. 3\b"))
    visitor.arrive()
    visitor.becomes(
        lambda: [visitor.link.get(key) for key in ("guidance", "hand")], [["6"], ["noto"]]
    )
    visitor.becomes(lambda: visitor.link["seed"] != ["3"], True)
    tiles = visitor.part(".again")
    expect(tiles).to_have_count(4)
    tiles.nth(3).click()
    expect(tiles.nth(3)).to_be_focused()
    visitor.becomes(visitor.picture, first)
    expect(visitor.part("#draw_guidance")).to_have_value("2")
    expect(visitor.part("#draw_seed")).to_have_value("3")
    # Who looks at an old one while a new one waits for the hand to rest has thought better of it.
    page.evaluate(
        """() => {
            const slider = document.querySelector('#draw_guidance');
            slider.value = 8;
            slider.dispatchEvent(new Event('change'));
            document.querySelectorAll('#draw .again')[3].click();
        }"""
    )
    page.wait_for_timeout(1000)
    expect(tiles).to_have_count(4)
    expect(visitor.part("button.go")).to_have_text("Draw")
    assert visitor.picture() == first


def test_one_word_is_changed_and_the_noise_is_kept(visitor: Visitor) -> None:
    page = visitor.open("?steps=4&seed=5")
    visitor.part("button.mode").nth(1).click()
    expect(visitor.part("#draw_other")).to_have_value("blue heart")
    expect(visitor.part(".pane")).to_have_count(2)
    visitor.draw()
    expect(visitor.part(".pane figcaption")).to_have_text(["red heart", "blue heart"])
    assert visitor.picture(0) != visitor.picture(1)
    expect(visitor.part(".word.changed .said")).to_have_text(["red", "blue"])
    visitor.part("button.word", "blue").hover()
    first, second = visitor.heat(0), visitor.heat(1)
    assert first and second and first != second, "red lights up beside it"
    slide_to = visitor.part("#draw_scrubber")
    slide_to.focus()
    page.keyboard.press("Home")
    assert visitor.picture(0) == visitor.picture(1), "the same noise"
    assert visitor.link["mode"] == ["change"] and visitor.link["other"] == ["blue heart"]


def test_seven_pictures_lead_from_one_text_to_another(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.open("?steps=3&mode=between&text=red+heart&other=green+apple")
    expect(visitor.part(".pane").nth(1)).to_be_hidden()
    expect(visitor.part(".stops button").first).to_be_disabled()
    visitor.draw()
    stops = visitor.part(".stops button")
    expect(stops).to_have_count(7)
    expect(stops.nth(3)).to_have_attribute("aria-pressed", "true")
    expect(visitor.part(".reading")).to_be_hidden()
    middle = visitor.picture()
    stops.nth(0).click()
    first, begins = visitor.picture(), visitor.pixels()
    visitor.part("#draw_walker").focus()
    page.keyboard.press("End")
    expect(stops.nth(6)).to_have_attribute("aria-pressed", "true")
    assert len({first, middle, visitor.picture()}) == 3
    with page.expect_download() as download:
        visitor.part(".keep .gif").click()
    assert download.value.suggested_filename == "red_heart-to-green_apple-seed0.gif"
    download.value.save_as(tmp_path / "walk.gif")
    assert keepsakes.about((tmp_path / "walk.gif").read_bytes())["mode"] == "between"
    visitor.part("button.mode").first.click()
    visitor.draw()
    apart = [abs(a - b) for a, b in zip(visitor.pixels(), begins, strict=True)]
    assert max(apart) <= 1, "the walk begins where the text alone leads"  # but for a rounding


def drop(page: Page, file: Path) -> None:
    page.evaluate(
        """([text, name]) => {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            const carried = new DataTransfer();
            carried.items.add(new File([bytes], name, {type: 'image/png'}));
            document.querySelector('#draw').dispatchEvent(
                new DragEvent('drop', {dataTransfer: carried, bubbles: true, cancelable: true}));
        }""",
        [base64.b64encode(file.read_bytes()).decode(), file.name],
    )


def test_what_is_taken_is_dropped_and_everything_is_back(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.open("?text=웃는+얼굴&hand=noto&seed=9&steps=5&guidance=3")
    visitor.becomes(lambda: visitor.link.get("guidance"), ["3"])  # it is still a link to it
    visitor.draw()
    result = visitor.picture()
    with page.expect_download() as download:
        visitor.part(".keep .png").click()
    assert download.value.suggested_filename == "웃는_얼굴-seed9.png"
    download.value.save_as(tmp_path / "kept.png")
    page = visitor.open()
    expect(visitor.part("#draw_text")).to_have_value("red heart")
    (tmp_path / "no.png").write_text("no picture")
    drop(page, tmp_path / "no.png")
    expect(page.get_by_text("This is no picture that can be read")).to_be_visible()
    drop(page, tmp_path / "kept.png")
    expect(visitor.part(".status")).to_contain_text("Everything is as it was")
    expect(visitor.part("#draw_text")).to_have_value("웃는 얼굴")
    expect(visitor.part("#draw_guidance")).to_have_value("3")
    expect(visitor.part("#draw_seed")).to_have_value("9")
    expect(visitor.part("button.hand[aria-pressed=true]")).to_have_text("Noto")
    visitor.draw()
    assert visitor.picture() == result


def test_nothing_said_is_nothing_drawn_and_markup_is_text(visitor: Visitor) -> None:
    page = visitor.open("?steps=2")
    visitor.part("#draw_text").fill("   ")
    visitor.part("button.go").click()
    expect(visitor.part(".status")).to_contain_text("Say in a word or two")
    expect(visitor.part("#draw_text")).to_be_focused()
    visitor.part("#draw_text").fill("<img src=x onerror=alert(1)> heart 쀍")
    visitor.draw()
    expect(visitor.part("figcaption").first).to_have_text("<img src=x onerror=alert(1)> heart 쀍")
    expect(visitor.part(".word .said").first).to_have_text("<img")
    expect(visitor.part(".warned")).to_contain_text("쀍")
    assert page.locator("#draw img").count() == 0
    visitor.part("#draw_text").fill("heart " * 19)
    visitor.draw()
    expect(visitor.part(".warned")).to_contain_text("longer than the model reads")
    expect(visitor.part("button.word").nth(18)).to_be_disabled()


def test_an_example_is_drawn_at_a_press(visitor: Visitor) -> None:
    visitor.open("?steps=2")
    visitor.part("button.example", "파란 하트").click()
    visitor.arrive()
    expect(visitor.part("#draw_text")).to_have_value("파란 하트")
    expect(visitor.part(".word .said")).to_have_text(["파란", "하트"])
    visitor.part("button.mode").nth(1).click()
    expect(visitor.part("#draw_other")).to_have_value("노란 하트")


def test_a_korean_browser_reads_korean_and_the_other_language_keeps_what_was_done(
    browser: Browser, served: str
) -> None:
    visitor = Visitor(browser, served, locale="ko-KR")
    page = visitor.open("?steps=3")
    expect(page.locator("h1")).to_have_text("말로 그린 그림")
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    expect(visitor.part("#draw_text")).to_have_value("빨간 하트")
    visitor.draw()
    picture = visitor.picture()
    visitor.part("button.word").first.click()
    expect(visitor.part(".says")).to_contain_text("“빨간”: 이 걸음에서")
    page.locator("#language").click()
    expect(page.locator("h1")).to_have_text("Drawn from Words")
    expect(visitor.part(".says")).to_contain_text("“빨간” gets")
    assert visitor.picture() == picture and visitor.heat() is not None
    visitor.close()


# --- where nobody reads ---------------------------------------------------------------------------


def test_where_no_model_reads_a_visitor_is_told_kindly_what_to_do(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_to_picture, "models_here", lambda wanted, fits: [])
    known = {"patches": patches, "text_to_picture": text_to_picture, "denoise": denoise}
    monkeypatch.setattr(app, "pages", lambda: known)
    with app.private_gradio(), visitors.serving(app.build(Context("cpu"))) as address:
        visitor = Visitor(browser, address, locale="ko-KR")
        page = visitor.open()
        expect(visitor.part(".missing h2")).to_have_text("말을 읽는 모델이 아직 여기에 없어요")
        expect(page.locator("#draw_own button, #draw_own input")).to_have_count(0)
        for width in (320, 768, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert sticking_out(page) == [], width
        assert visitors.faint_text(page, *PARTS) == []
        page.locator("#language").click()
        expect(visitor.part(".missing h2")).to_have_text("No model that reads words is here yet")
        expect(visitor.part(".missing code")).to_have_text(
            [
                re.compile("mmfm train draw .*--out runs/emoji-nano"),
                "mmfm demo text_to_picture --model runs/emoji-nano",
            ]
        )
        visitor.part(".copy").first.click()
        expect(page.locator("#lessons h2")).to_have_text("What am I looking at?")
        visitor.part(".meanwhile a").click()
        expect(page.locator("h1")).to_have_text("Out of the Noise")
        visitor.close()


@pytest.mark.slow  # what the server says of it is tested without a browser
def test_a_model_without_its_clip_says_so_and_another_one_draws(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "lost"):
        (tmp_path / name).mkdir()
        word_models.save_both(tmp_path / name)
    names = [str(tmp_path / name / "reads") for name in ("lost", "here")]
    (tmp_path / "lost" / "clip").rename(tmp_path / "lost" / "away")
    monkeypatch.setattr(text_to_picture, "models_here", lambda wanted, fits: names)
    monkeypatch.setattr(
        app, "pages", lambda: {"patches": patches, "text_to_picture": text_to_picture}
    )
    with app.private_gradio(), visitors.serving(app.build(Context("cpu"))) as address:
        visitor = Visitor(browser, address, locale="en-US")
        page = visitor.open()
        expect(visitor.part(".missing h2")).to_contain_text("cannot draw here yet")
        expect(visitor.part(".why")).to_contain_text("learned to read with")
        page.locator("#draw_model input").click()
        page.get_by_role("option", name=names[1]).click()
        expect(visitor.part(".ask")).to_be_visible()
        visitor.draw()
        page.locator("#draw_model input").click()
        page.get_by_role("option", name=names[0]).click()
        expect(visitor.part(".missing")).to_be_visible()
        visitor.close()


# --- what it looks like ---------------------------------------------------------------------------


def sticking_out(page: Page) -> list[str]:
    return page.evaluate(
        """() => [...document.querySelectorAll('#top *, #draw_bar *, #draw *')]
            .filter((node) => !node.closest('.unseen') && node.getClientRects().length
                && ((node.clientWidth && node.scrollWidth > node.clientWidth + 1
                        && getComputedStyle(node).overflowX === 'visible')
                    || node.getBoundingClientRect().right > window.innerWidth + 0.5))
            .map((node) => node.outerHTML.slice(0, 90))"""
    )


@pytest.mark.parametrize(("lang", "scheme"), [("en", "light"), ("ko", "dark")])
def test_nothing_sticks_out_at_any_width_and_text_stands_out_from_its_ground(
    browser: Browser, served: str, lang: str, scheme: str
) -> None:
    visitor = Visitor(browser, served, color_scheme=scheme)
    page = visitor.open(f"?lang={lang}&steps=2&text=cat+with+supercalifragilistic+쀍")
    poor = visitors.faint_text(page, *PARTS)
    for number in range(3):
        visitor.part("button.mode").nth(number).click()
        visitor.draw()
        if number < 2:
            visitor.part("button.word").nth(1).click()
        poor += visitors.faint_text(page, *PARTS)
        for width in (320, 390, 600, 768, 1000, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert sticking_out(page) == [], (number, width)
            box = visitor.part(".screen").first.bounding_box()
            assert box is not None and box["width"] >= 120, (number, width)
    assert poor == []
    visitor.close()
