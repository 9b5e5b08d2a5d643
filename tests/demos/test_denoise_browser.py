"""Out of the Noise in a browser: drawn by mouse, finger and keys, watched, stopped, restored."""

import base64
import re
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch
import visitors
from diffusers import DDPMPipeline, DDPMScheduler
from mmfm.demos import app, denoise, patches
from mmfm.demos.page import Context
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from stock_unet import stock_unet

from mmfm import keepsakes
from mmfm.models.checkpoints import save_denoiser
from mmfm.models.denoiser import Denoiser, DenoiserConfig

pytestmark = visitors.NEEDS_CHROMIUM

PARTS = ("#top", "#denoise_bar", "#denoise", "#lessons")  # of the page, in which text is looked at
INK = """() => {
    const pad = document.querySelector('#denoise_pad');
    const pixels = pad.getContext('2d').getImageData(0, 0, pad.width, pad.height).data;
    return [...pixels].filter((_, i) => i % 4 === 0);
}"""
PIXELS = "canvas => canvas.toDataURL()"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Where the page is served."""
    with pytest.MonkeyPatch.context() as patch, app.private_gradio():
        patch.setenv("MMFM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(app, "pages", lambda: {"patches": patches, "denoise": denoise})
        with visitors.serving(app.build(Context("cpu"))) as address:
            yield address


class Visitor(visitors.Visitor):
    """One who visits this page."""

    PAGE = "denoise"
    READY = ("#denoise .triptych", "#denoise .examples canvas")

    def __init__(self, browser: Browser, address: str, **settings: object) -> None:
        super().__init__(browser, address, **settings)
        self.page.set_default_timeout(20_000)

    def close(self) -> None:
        self.page.context.close()
        assert self.faults == []

    def bring_back(self) -> None:
        """Press the button, and wait for the end."""
        self.page.locator("#denoise button.go").click()
        self.arrive()

    def arrive(self) -> None:
        expect(self.page.locator("#denoise .keep")).to_be_visible(timeout=20_000)
        expect(self.page.locator("#denoise button.go")).not_to_have_class("go stop")

    def ink(self) -> list[int]:
        return self.page.evaluate(INK)

    def pixels(self, name: str) -> list[int]:
        return self.page.locator(f"#denoise .{name} canvas").evaluate(
            "c => [...c.getContext('2d').getImageData(0, 0, 28, 28).data]"
        )

    def picture(self, name: str) -> str:
        return self.page.locator(f"#denoise .{name} canvas").evaluate(PIXELS)


@pytest.fixture
def visitor(browser: Browser, served: str) -> Generator[Visitor]:
    visitor = Visitor(browser, served, locale="en-US", accept_downloads=True)
    yield visitor
    visitor.close()


def slide(page: Page, name: str, value: float) -> None:
    page.locator(f"#denoise_{name}").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }",
        value,
    )


def test_the_page_opens_with_a_seven_under_noise_and_asks_for_a_guess(visitor: Visitor) -> None:
    page = visitor.open()
    expect(page).to_have_title("Out of the Noise")
    expect(page.locator("#denoise h2").first).to_contain_text("Draw a digit")
    expect(page.locator("#denoise .question")).to_contain_text("will your 7 come back as a 7?")
    expect(page.locator("#denoise .noisy figcaption")).to_contain_text("under 60% of noise")
    expect(page.locator("#denoise button.go")).to_have_text("Bring it back")
    expect(page.locator("#denoise .after")).to_be_hidden()
    assert max(visitor.ink()) == 255 and visitor.ink().count(0) > 500
    before = visitor.picture("noisy")
    slide(page, "noise", 90)
    expect(page.locator("#denoise .noisy figcaption")).to_contain_text("under 90% of noise")
    assert visitor.picture("noisy") != before
    assert visitor.link["noise"] == ["90"] and visitor.link["digit"] == ["7"]


def test_a_digit_comes_back_step_by_step_and_the_scrubber_goes_through_them(
    visitor: Visitor,
) -> None:
    page = visitor.open("?noise=40&digit=7&seed=3")
    expect(page.locator("#denoise .question")).to_be_visible()
    page.locator("#denoise .guess").first.click()
    expect(page.locator("#denoise .guess").first).to_have_attribute("aria-pressed", "true")
    start = visitor.pixels("noisy")
    visitor.bring_back()
    expect(page.locator("#denoise .verdict")).to_contain_text("It came back as a 7")
    expect(page.locator("#denoise .verdict")).to_contain_text("You guessed right. (1 of 1 so far)")
    expect(page.locator("#denoise .status")).to_have_text("Done.")
    expect(page.locator("#denoise .noisy b")).to_have_text("What came back")
    expect(page.locator("#denoise .summary")).to_have_text(
        "40% noise · told nothing · Euler, 20 steps · noise no. 3"
    )
    result = visitor.picture("noisy")
    scrubber = page.locator("#denoise_scrubber")
    assert scrubber.get_attribute("max") == "20"
    scrubber.focus()
    page.keyboard.press("Home")
    expect(page.locator("#denoise .scrub label")).to_have_text("Step 1 of 20")
    expect(page.locator("#denoise .noisy figcaption")).to_contain_text("40% of this is noise")
    expect(page.locator("#denoise .thought figcaption")).to_contain_text("The digit reader sees a")
    # What was shown beforehand is what it began with, but for the last digits of the noise.
    apart = [abs(a - b) for a, b in zip(visitor.pixels("noisy"), start, strict=True)]
    assert max(apart) <= 4 < max(start)
    page.keyboard.press("ArrowRight")
    expect(page.locator("#denoise .scrub label")).to_have_text("Step 2 of 20")
    expect(page.locator("#denoise .noisy figcaption")).to_contain_text("38% of this is noise")
    seen = {visitor.picture(name) for name in ("noisy", "thought", "removed")}
    page.keyboard.press("End")
    assert visitor.picture("noisy") == result
    assert len({*seen, *(visitor.picture(name) for name in ("noisy", "thought", "removed"))}) >= 5
    # It replays for less than two seconds, so what stands there is read at once.
    replay = page.locator("#denoise .replay")
    assert replay.evaluate("b => { b.click(); return b.textContent; }") == "Pause"
    expect(page.locator("#denoise .replay")).to_have_text("Play again")
    expect(page.locator("#denoise .verdict")).to_contain_text("(1 of 1 so far)")


def test_ten_frames_a_second_and_more_are_painted(visitor: Visitor) -> None:
    page = visitor.open("?steps=50&noise=80")
    expect(page.locator("#denoise .question")).to_be_visible()
    page.evaluate(
        """() => {
            window.painted = [];
            new MutationObserver(() => window.painted.push(performance.now())).observe(
                document.querySelector('#denoise .triptych'), {attributeFilter: ['data-shown']});
        }"""
    )
    for steps in (50, 8):
        slide(page, "steps", steps)
        best = 0.0
        for _ in range(4):  # whatever else this machine has to do meanwhile
            page.evaluate("window.painted = []")
            visitor.bring_back()
            times: list[float] = page.evaluate("window.painted")
            assert len(times) >= steps
            best = max(best, (len(times) - 1) / (times[-1] - times[0]) * 1000)
            if best >= 10:
                break
        assert best >= 10, steps


def test_stop_stops_within_a_second_and_what_was_seen_stays(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visitor.open("?steps=100")
    expect(page.locator("#denoise .question")).to_be_visible()
    thinking: list[float] = []

    def forward(self: Denoiser, *args: Any, **more: Any) -> torch.Tensor:
        time.sleep(0.25)
        thinking.append(time.monotonic())
        return plain(self, *args, **more)

    plain = Denoiser.forward
    monkeypatch.setattr(Denoiser, "forward", forward)
    took: list[float] = []
    while not took or (min(took) > 1 and len(took) < 4):  # whatever else this machine has to do
        page.locator("#denoise button.go").click()
        shown = page.locator("#denoise .scrub label")
        expect(shown).to_have_text(re.compile(r"^Step ([4-9]|\d\d) "))
        pressed = time.monotonic()
        said = page.locator("#denoise button.go.stop").evaluate(
            """button => {
                button.click();
                return [button.textContent, document.querySelector('#denoise .status').textContent];
            }"""
        )
        assert said == ["Bring it back", "Stopped."], "whoever looks sees it stop at once"
        time.sleep(2)
        took.append(thinking[-1] - pressed)
    assert min(took) < 1, "the model goes on"
    expect(page.locator("#denoise .keep")).to_be_hidden()
    last = int(page.locator("#denoise_scrubber").get_attribute("max") or 0)
    assert 3 <= last < 60
    page.locator("#denoise_scrubber").focus()
    page.keyboard.press("Home")
    expect(page.locator("#denoise .scrub label")).to_have_text("Step 1 of 100")
    monkeypatch.undo()
    slide(page, "steps", 5)
    visitor.bring_back()


def test_the_pad_is_drawn_on_by_mouse(visitor: Visitor) -> None:
    page = visitor.open()
    page.locator("#denoise .clear").click()
    expect(page.locator("#denoise .invite")).to_be_visible()
    assert set(visitor.ink()) == {0}
    page.locator("#denoise button.go").click()
    expect(page.locator("#denoise .status")).to_contain_text("The pad is empty")
    box = page.locator("#denoise_pad").bounding_box()
    assert box is not None
    x, y, side = box["x"], box["y"], box["width"]
    page.mouse.move(x + 0.5 * side, y + 0.18 * side)
    page.mouse.down()
    page.mouse.move(x + 0.5 * side, y + 0.82 * side, steps=8)
    page.mouse.up()
    ink = visitor.ink()
    line = [ink[28 * row + 14] for row in range(28)]
    assert all(value > 200 for value in line[6:22]) and line[1] == line[26] == 0
    # A soft pen: between full ink and none lie greys.
    assert any(0 < value < 200 for value in ink)
    expect(page.locator("#denoise .question")).to_contain_text("will your 1 come back as a 1?")
    assert "digit" not in visitor.link
    page.locator("#denoise .undo").click()
    assert set(visitor.ink()) == {0}
    page.locator("#denoise .undo").click()
    assert max(visitor.ink()) == 255  # the seven that was cleared


def test_the_pad_is_drawn_on_by_touch(browser: Browser, served: str) -> None:
    visitor = Visitor(browser, served, has_touch=True, viewport={"width": 390, "height": 800})
    page = visitor.open()
    page.locator("#denoise .clear").click()
    page.locator("#denoise_pad").scroll_into_view_if_needed()
    box = page.locator("#denoise_pad").bounding_box()
    assert box is not None
    session = page.context.new_cdp_session(page)
    for kind, share in (("Start", 0.3), ("Move", 0.5), ("Move", 0.7), ("End", None)):
        points = [] if share is None else [
            {"x": box["x"] + 0.5 * box["width"], "y": box["y"] + share * box["height"]}
        ]  # fmt: skip
        session.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    ink = visitor.ink()
    assert all(ink[28 * row + 14] > 200 for row in range(10, 19))
    visitor.close()


def test_the_pad_is_drawn_on_by_keyboard(visitor: Visitor) -> None:
    page = visitor.open()
    pad = page.locator("#denoise_pad")
    pad.focus()
    page.keyboard.press("Delete")
    assert set(visitor.ink()) == {0}
    expect(page.locator("#denoise .cursor")).to_be_visible()
    for key in ("ArrowUp",) * 9:
        page.keyboard.press(key)
    page.keyboard.press(" ")
    expect(page.locator("#denoise .unseen")).to_contain_text("Pen down, column 15, row 6")
    for key in ("Shift+ArrowDown",) * 4:
        page.keyboard.press(key)
    page.keyboard.press("Escape")
    expect(page.locator("#denoise .unseen")).to_contain_text("Pen up, column 15, row 22")
    page.keyboard.press("ArrowRight")
    ink = visitor.ink()
    assert all(ink[28 * row + 14] > 200 for row in range(6, 21)) and ink[28 * 21 + 18] == 0
    page.keyboard.press("e")
    expect(page.locator("#denoise .tool").nth(1)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press(" ")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press(" ")
    expect(page.locator("#denoise button.go")).to_have_text("Fill it in")
    page.keyboard.press("Control+z")
    expect(page.locator("#denoise button.go")).to_have_text("Bring it back")
    page.keyboard.press("Backspace")
    assert set(visitor.ink()) == {0}
    # From the pad on, everything is reached by Tab and says where it is.
    outline = "node => getComputedStyle(node).outlineStyle"
    for place in ("#denoise_pad", "#denoise_noise", "#denoise button.go", "#denoise_sampler"):
        page.locator(place).focus()
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")
        expect(page.locator(place)).to_be_focused()
        assert page.locator(place).evaluate(outline) == "solid", place


def test_a_small_drawing_in_a_corner_is_brought_to_the_middle(visitor: Visitor) -> None:
    page = visitor.open()
    page.locator("#denoise .clear").click()
    expect(page.locator("#denoise .askew")).to_be_hidden()
    box = page.locator("#denoise_pad").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 120, steps=5)
    page.mouse.up()
    page.locator("#denoise .centre").click()
    expect(page.locator("#denoise .askew")).to_be_hidden()
    rows = [n // 28 for n, value in enumerate(visitor.ink()) if value > 40]
    assert 18 <= max(rows) - min(rows) + 1 <= 22 and 3 <= min(rows) <= 6


def test_a_part_is_erased_and_filled_in_and_the_rest_stays(visitor: Visitor) -> None:
    page = visitor.open("?digit=3&noise=50")
    page.locator("#denoise .tool").nth(1).click()
    box = page.locator("#denoise_pad").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.8 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.8 * box["height"], steps=6)
    page.mouse.up()
    expect(page.locator("#denoise .watch > .note").first).to_contain_text("An erased part")
    expect(page.locator("#denoise_noise")).to_be_disabled()
    expect(page.locator("#denoise_noise")).to_have_value("100")
    page.locator("#denoise button.go", has_text="Fill it in").click()
    visitor.arrive()
    expect(page.locator("#denoise .summary")).to_contain_text("a part filled in")
    ends = page.locator("#denoise .noisy canvas").evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 0)"
    )
    assert ends[: 28 * 16] == visitor.ink()[: 28 * 16]
    page.locator("#denoise .undo").click()
    expect(page.locator("#denoise_noise")).to_be_enabled()
    expect(page.locator("#denoise_noise")).to_have_value("50")


def test_it_is_told_a_digit_and_another_one_half_way(visitor: Visitor) -> None:
    page = visitor.open("?noise=95&steps=10&digit=7")
    expect(page.locator("#denoise .group .note", has_text="Has no effect")).to_be_visible()
    page.locator("#denoise_label").select_option("7")
    expect(page.locator("#denoise .question")).to_contain_text(
        "Will this become a 7", ignore_case=True
    )
    page.locator("#denoise_switched").check()
    page.locator("#denoise_label_after").select_option("3")
    slide(page, "when", 30)
    expect(page.locator("#denoise .question")).to_contain_text("told so late")
    visitor.bring_back()
    expect(page.locator("#denoise .summary")).to_contain_text("told 7, from 30% on 3")
    page.locator("#denoise_scrubber").focus()
    page.keyboard.press("Home")
    expect(page.locator("#denoise .noisy figcaption")).to_contain_text("It is told: 7.")
    slide(page, "scrubber", 5)
    expect(page.locator("#denoise .noisy figcaption")).to_contain_text("It is told: 3.")
    link = visitor.link
    assert (link["label"], link["after"], link["when"]) == (["7"], ["3"], ["30"])
    page.reload(wait_until="domcontentloaded")
    page.wait_for_selector("#denoise .examples canvas")
    expect(page.locator("#denoise_label_after")).to_have_value("3")
    expect(page.locator("#denoise_steps")).to_have_value("10")


def test_what_is_taken_as_png_and_gif_is_dropped_and_everything_is_back(
    visitor: Visitor, tmp_path: Path
) -> None:
    page = visitor.open("?digit=4&noise=70&seed=9&steps=12&sampler=heun&label=9&guidance=2")
    expect(page.locator("#denoise .question")).to_be_visible()
    assert visitor.link["guidance"] == ["2"]  # it is still a link to it
    visitor.bring_back()
    ink, result = visitor.ink(), visitor.picture("noisy")
    files: dict[str, Path] = {}
    for kind in ("png", "gif"):
        with page.expect_download() as download:
            page.locator(f"#denoise .keep .{kind}").click()
        assert download.value.suggested_filename == f"9-noise70-seed9.{kind}"
        files[kind] = tmp_path / f"kept.{kind}"
        download.value.save_as(files[kind])
        about = keepsakes.about(files[kind].read_bytes())
        assert (about["noise"], about["sampler"], about["seed"]) == (0.7, "heun", 9)
    for file in files.values():
        page = visitor.open()
        expect(page.locator("#denoise_noise")).to_have_value("60")
        drop(page, file)
        expect(page.locator("#denoise .status")).to_contain_text("Everything is as it was")
        expect(page.locator("#denoise_noise")).to_have_value("70")
        expect(page.locator("#denoise_sampler")).to_have_value("heun")
        expect(page.locator("#denoise_label")).to_have_value("9")
        expect(page.locator("#denoise_guidance")).to_have_value("2")
        assert visitor.ink() == ink
        visitor.bring_back()
        assert visitor.picture("noisy") == result


def drop(page: Page, file: Path) -> None:
    page.evaluate(
        """([text, name]) => {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            const carried = new DataTransfer();
            carried.items.add(new File([bytes], name, {type: 'image/png'}));
            document.querySelector('#denoise').dispatchEvent(
                new DragEvent('drop', {dataTransfer: carried, bubbles: true, cancelable: true}));
        }""",
        [base64.b64encode(file.read_bytes()).decode(), file.name],
    )


def test_a_foreign_picture_is_drawn_after_and_what_is_none_is_told(
    visitor: Visitor, tmp_path: Path
) -> None:
    page = visitor.open()
    before = visitor.ink()
    (tmp_path / "no.png").write_text("no picture")
    drop(page, tmp_path / "no.png")
    expect(page.get_by_text("This is no picture that can be read")).to_be_visible()
    assert visitor.ink() == before
    Image.new("L", (60, 60), 255).save(tmp_path / "blank.png")
    drop(page, tmp_path / "blank.png")
    expect(page.get_by_text("nothing is drawn on this picture")).to_be_visible()
    assert visitor.ink() == before
    picture = Image.new("L", (100, 60), 255)
    picture.paste(0, (70, 10, 80, 50))
    picture.save(tmp_path / "one.png")
    drop(page, tmp_path / "one.png")
    expect(page.locator("#denoise .status")).to_contain_text("taken as a drawing")
    assert visitor.ink() != before
    expect(page.locator("#denoise_noise")).to_have_value("60")
    page.locator("#denoise .undo").click()
    assert visitor.ink() == before


def test_what_came_back_before_can_be_looked_at_again(visitor: Visitor) -> None:
    page = visitor.open("?noise=50&steps=4")
    expect(page.locator("#denoise .question")).to_be_visible()
    visitor.bring_back()
    first = visitor.picture("noisy")
    slide(page, "noise", 100)
    expect(page.locator("#denoise button.go")).to_have_text("Draw from pure noise")
    visitor.bring_back()
    assert visitor.picture("noisy") != first
    tiles = page.locator("#denoise .again")
    expect(tiles).to_have_count(2)
    tiles.nth(1).click()
    expect(tiles.nth(1)).to_be_focused()
    expect(page.locator("#denoise .summary")).to_contain_text("50% noise")
    assert visitor.picture("noisy") == first
    with page.expect_download() as download:
        page.locator("#denoise .keep .png").click()
    assert download.value.suggested_filename == "free-noise50-seed0.png"


def test_another_model_takes_the_same_drawing_at_its_own_size_and_without_labels(
    browser: Browser, tmp_path: Path
) -> None:
    config = DenoiserConfig(
        image_size=12, channels=3, classes=0, widths=(8, 8), depths=(1, 1), attention=()
    )
    save_denoiser(Denoiser(config), tmp_path / "colours")
    with pytest.MonkeyPatch.context() as patch, app.private_gradio():
        patch.setattr(app, "pages", lambda: {"patches": patches, "denoise": denoise})
        context = Context("cpu", str(tmp_path / "colours"))
        with visitors.serving(app.build(context)) as address:
            visitor = Visitor(browser, address)
            page = visitor.open("?label=7&guidance=3&steps=5")
            assert len(visitor.ink()) == 12 * 12 and max(visitor.ink()) > 200
            expect(page.locator("#denoise_label")).to_have_count(0)
            expect(page.locator("#denoise .question")).to_be_hidden()
            visitor.bring_back()
            expect(page.locator("#denoise .verdict")).to_be_hidden()
            expect(page.locator("#denoise .summary")).to_have_text(
                "60% noise · Euler, 5 steps · noise no. 0"
            )
            page.locator("#denoise_model input").click()
            page.get_by_role("option", name="mnist-nano").click()
            expect(page.locator("#denoise_label")).to_be_visible()
            assert len(visitor.ink()) == 28 * 28 and max(visitor.ink()) == 255
            expect(page.locator("#denoise .question")).to_contain_text("will your 7")
            visitor.bring_back()
            assert page.locator("#denoise .again").count() == 2
            page.locator("#denoise .again").nth(1).click()  # of the other model, in its colours
            visitor.close()


def test_a_model_for_few_steps_can_only_be_sent_the_ways_that_it_was_taught(
    browser: Browser, tmp_path: Path
) -> None:
    config = DenoiserConfig(
        image_size=12, widths=(8, 8), depths=(1, 1), attention=(), jumps="anywhere"
    )
    save_denoiser(Denoiser(config, tuple("0123456789"), {"steps": 2}), tmp_path / "fast")
    with pytest.MonkeyPatch.context() as patch, app.private_gradio():
        patch.setattr(app, "pages", lambda: {"patches": patches, "denoise": denoise})
        with visitors.serving(app.build(Context("cpu", str(tmp_path / "fast")))) as address:
            visitor = Visitor(browser, address, locale="en-US")
            page = visitor.open()
            note = page.locator("#denoise .watch > .note").first
            steps, switched = page.locator("#denoise_steps"), page.locator("#denoise_switched")
            single = page.locator("#denoise .more .note", has_text="In a single step")
            # From half of the noise one leap is left, and nothing can change on the way.
            expect(page.locator("#denoise_noise")).to_have_value("50")
            expect(note).to_contain_text("taught 2 leaps of equal length")
            expect(note).to_contain_text("in steps of 50%")
            expect(steps).to_be_disabled()
            expect(steps).to_have_value("1")
            expect(switched).to_be_disabled()
            expect(single).to_be_visible()
            visitor.bring_back()
            expect(page.locator("#denoise .summary")).to_contain_text("50% noise")
            expect(page.locator("#denoise .summary")).to_contain_text("Jump, 1 step · ")
            slide(page, "noise", 100)
            expect(note).to_contain_text("Nothing of it is left")
            expect(steps).to_be_enabled()
            expect(steps).to_have_value("2")
            expect(steps).to_have_attribute("max", "2")
            expect(single).to_be_hidden()
            page.locator("#denoise_label").select_option("7")
            expect(page.locator("#denoise .more")).to_contain_text("Above, it is guided once more")
            switched.check()
            slide(page, "when", 90)  # of two steps the second one is the only later one
            expect(page.locator("#denoise .later .name")).to_have_text("After 50% of the way")
            visitor.bring_back()
            expect(page.locator("#denoise .summary")).to_contain_text("Jump, 2 steps")
            expect(page.locator("#denoise .summary")).to_contain_text("told 7, from 50% on 8")
            page.locator("#denoise_model input").click()
            page.get_by_role("option", name="mnist-nano").click()
            expect(steps).to_have_attribute("max", "100")
            slide(page, "noise", 60)
            expect(note).to_contain_text("A shadow of it at most")
            visitor.close()


def test_a_model_that_is_always_told_a_label_has_its_guidance_locked(
    browser: Browser, tmp_path: Path
) -> None:
    net = stock_unet(sample_size=12, num_class_embeds=3)
    DDPMPipeline(net, DDPMScheduler()).save_pretrained(tmp_path / "told")
    with pytest.MonkeyPatch.context() as patch, app.private_gradio():
        patch.setattr(app, "pages", lambda: {"patches": patches, "denoise": denoise})
        with visitors.serving(app.build(Context("cpu", str(tmp_path / "told")))) as address:
            visitor = Visitor(browser, address, locale="ko-KR")
            page = visitor.open("?guidance=3&steps=3&noise=100")
            expect(page.locator("#denoise_label option")).to_have_text(["0", "1", "2"])
            expect(page.locator("#denoise_guidance")).to_be_disabled()
            expect(page.locator("#denoise_guidance")).to_have_value("1")
            expect(page.locator("#denoise .more")).to_contain_text("언제나 하나를 알려 줘요")
            expect(page.locator("#denoise .more")).to_contain_text("1로 두었어요")
            page.locator("#denoise_switched").check()
            expect(page.locator("#denoise_label_after")).to_have_value("1")
            visitor.bring_back()
            expect(page.locator("#denoise .summary")).to_contain_text("가이던스 1")
            page.locator("#denoise_model input").click()
            page.get_by_role("option", name="mnist-nano").click()
            expect(page.locator("#denoise_guidance")).to_be_enabled()
            expect(page.locator("#denoise_label option")).to_have_count(11)
            visitor.close()


def test_a_korean_browser_reads_korean_and_the_other_language_keeps_what_was_done(
    browser: Browser, served: str
) -> None:
    visitor = Visitor(browser, served, locale="ko-KR")
    page = visitor.open("?digit=5")
    expect(page.locator("h1")).to_have_text("노이즈 속에서")
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    expect(page.locator("#denoise .question")).to_contain_text("5 그대로 돌아올까요?")
    page.locator("#denoise .clear").click()
    page.locator("#denoise button.go").click()
    expect(page.locator("#denoise .status")).to_contain_text("그림판이 비어 있어요")
    page.locator("#denoise .example").nth(8).click()
    slide(page, "noise", 45)
    visitor.bring_back()
    expect(page.locator("#denoise .verdict")).to_contain_text("돌아온 숫자: 8")
    ink = visitor.ink()
    page.locator("#language").click()
    expect(page.locator("h1")).to_have_text("Out of the Noise")
    expect(page.locator("#denoise .verdict")).to_contain_text("It came back as an 8")
    expect(page.locator("#denoise_noise")).to_have_value("45")
    assert visitor.ink() == ink
    visitor.close()


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_nothing_sticks_out_at_any_width(browser: Browser, served: str, lang: str) -> None:
    visitor = Visitor(browser, served)
    page = visitor.open(f"?lang={lang}&steps=4&label=7&after=3&noise=70")
    expect(page.locator("#denoise .question")).to_be_visible()
    visitor.bring_back()
    for width in (320, 390, 600, 768, 1000, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        sticking = page.evaluate(
            """() => [...document.querySelectorAll('#top *, #denoise_bar *, #denoise *')]
                .filter((node) => !node.closest('.unseen')
                    && node.clientWidth && node.scrollWidth > node.clientWidth + 1
                    && getComputedStyle(node).overflowX === 'visible')
                .map((node) => node.outerHTML.slice(0, 90))"""
        )
        assert sticking == [], width
        right = page.evaluate(
            "() => Math.max(...[...document.querySelectorAll('#denoise *')]"
            ".filter((n) => !n.closest('.unseen')).map((n) => n.getBoundingClientRect().right))"
        )
        assert right <= width, width
    visitor.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, served: str, scheme: str) -> None:
    visitor = Visitor(browser, served, color_scheme=scheme)
    page = visitor.open("?steps=4&label=7&after=3&noise=70")
    expect(page.locator("#denoise .question")).to_be_visible()
    page.locator("#denoise .guess").first.click()
    poor = visitors.faint_text(page, *PARTS)
    visitor.bring_back()
    poor += visitors.faint_text(page, *PARTS)
    page.locator("#denoise .clear").click()
    assert poor + visitors.faint_text(page, *PARTS) == []
    visitor.close()


def test_the_keyboard_sees_which_switch_it_is_at(visitor: Visitor) -> None:
    page = visitor.open("?label=7")
    switch = page.locator("#denoise_switched")
    switch.focus()
    page.keyboard.press("Shift+Tab")
    expect(switch).not_to_be_focused()
    page.keyboard.press("Tab")
    expect(switch).to_be_focused()
    expect(switch).to_have_css("outline-style", "solid")
    expect(switch).to_have_css("outline-width", "3px")
