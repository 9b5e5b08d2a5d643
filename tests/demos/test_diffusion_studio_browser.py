"""The Diffusion Studio in a real browser: train, watch, travel, guess, compare, come back."""

import base64
import io
import json
import re
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
import visitors
from mmfm.demos import app, diffusion_studio, patches
from mmfm.demos.page import Context
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from studio_runs import end_all, trained

from mmfm import keepsakes
from mmfm.errors import BadInput
from mmfm.tasks.studio import Choice, Studio

pytestmark = visitors.NEEDS_CHROMIUM

SMALL = Choice("digits", minutes=1.0, size="tiny")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """A folder with a run and a change of it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("studio") / "runs"
        patch.setenv("MMFM_RUNS", str(folder))
        patch.setenv("MMFM_DATA", str(folder.parent / "no data"))
        patch.setenv("MMFM_CACHE", str(folder.parent / "cache"))
        studio = Studio()
        trained(studio, "digits-1", SMALL, state="finished", steps=30)
        other = Choice("digits", minutes=1.0, size="tiny", rate=0.03)
        change = {"like": "digits-1", "changed": "rate", "guess": "worse"}
        trained(studio, "digits-2", other, made=1, steps=30, state="finished", **change)
        yield folder
        end_all(studio)


@pytest.fixture(scope="module")
def address(runs: Path) -> Generator[str]:
    """Where the page is served."""
    with pytest.MonkeyPatch.context() as patch, app.private_gradio():
        pages = {"patches": patches, "diffusion_studio": diffusion_studio}
        patch.setattr(app, "pages", lambda: pages)
        with visitors.serving(app.build(Context("cpu"))) as address:
            yield address


class Visitor(visitors.Visitor):
    """One who visits this page."""

    PAGE = "diffusion_studio"
    READY = ("#studio .list .run",)

    def __init__(self, browser: Browser, address: str, **settings: object) -> None:
        super().__init__(browser, address, **settings)
        self.page.set_default_timeout(60_000)

    def close(self) -> None:
        self.page.context.close()
        assert self.faults == []


@pytest.fixture
def visitor(browser: Browser, address: str) -> Generator[Visitor]:
    visitor = Visitor(browser, address, locale="en-US", accept_downloads=True)
    yield visitor
    visitor.close()


def drop(page: Page, path: Path) -> None:
    """Let a file fall onto the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    page.evaluate(
        """([data, name]) => {
            const carried = new DataTransfer();
            const type = `image/${name.slice(-3)}`;
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            carried.items.add(new File([bytes], name, {type}));
            document.body.dispatchEvent(
                new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true})
            );
        }""",
        [data, path.name],
    )


def pixels(page: Page, which: str = "first") -> str:
    column = page.locator("#studio .column").nth(0 if which == "first" else 1)
    return column.locator("canvas").evaluate("canvas => canvas.toDataURL()")


def has_drawn(page: Page) -> None:
    expect(page.locator("#studio .column canvas").first).to_be_visible(timeout=60_000)
    page.wait_for_function(
        "document.querySelector('#studio .column figcaption').textContent.includes('step')"
    )


def test_a_newcomer_sees_noise_one_button_and_how_to_get_more(visitor: Visitor) -> None:
    page = visitor.open("?new=1")
    expect(page).to_have_title("Diffusion Studio")
    expect(page.locator("#studio .empty h2")).to_have_text("Nothing learned yet")
    assert page.locator("#studio .empty canvas").evaluate("canvas => canvas.width") > 300
    start = page.locator("#studio_start")
    expect(start).to_be_visible()
    pressed = page.locator("#studio .choice[aria-pressed=true]")
    expect(pressed).to_have_text("Small digits")
    expect(page.locator("#studio .setup")).to_contain_text("MNIST, which is not on this machine")
    page.get_by_role("button", name="MNIST digits").click()
    expect(page.locator("#studio .hint")).to_contain_text("downloads 11 MB")
    expect(page.locator("#studio .toggle")).to_have_count(10)
    page.locator("#studio .toggle").first.click()
    expect(page.locator("#studio .toggle[aria-pressed=true]")).to_have_count(9)
    expect(page.locator("#studio .toggle").first).to_be_focused()
    page.locator("#studio .all").click()
    expect(page.locator("#studio .toggle[aria-pressed=true]")).to_have_count(10)


def test_a_run_is_started_paused_stepped_left_and_found_again(
    visitor: Visitor, browser: Browser, address: str, runs: Path
) -> None:
    page = visitor.open("?new=1")
    page.locator("#studio summary").click()
    page.locator("#studio_size").select_option("tiny")
    for label in range(2, 10):
        page.locator(f"#studio [data-at='label {label}']").click()
    # A press more, before the first one is answered, begins nothing more.
    page.locator("#studio_start").dblclick()
    state = page.locator("#studio .state")
    expect(state).to_have_text("Training", timeout=90_000)
    has_drawn(page)
    expect(page.locator("#studio .labels span").first).to_have_text("0")
    assert visitor.link["run"] == ["digits-3"]
    facts = page.locator("#studio .facts")
    expect(facts).to_contain_text("pictures/s")
    expect(page.locator("#studio .busy:not([hidden])")).to_have_count(0)
    # Ten times a second it tells something new, where nobody else computes; a page that only looks
    # in now and then would find two.
    told = next((n for n in (news_in_a_second(page) for _ in range(8)) if n >= 4), 0)
    assert told >= 4
    page.locator("#studio [data-what=pause]").click()
    expect(state).to_have_text("Paused")
    expect(page.locator("#studio [data-what=go_on]")).to_be_focused()
    before = facts.inner_text()
    page.locator("#studio [data-what=step]").click()
    expect(facts).not_to_have_text(before)
    expect(state).to_have_text("Paused")
    first, then = (int(re.search(r"step ([\d,]+)", text)[1].replace(",", "")) for text in
                   (before, facts.inner_text()))  # fmt: skip
    assert then == first + 5
    # Somebody else opens the link, and goes on with it; the first tab sees that.
    other = Visitor(browser, address, locale="en-US")
    elsewhere = other.open("?run=digits-3")
    expect(elsewhere.locator("#studio .state")).to_have_text("Paused")
    elsewhere.locator("#studio [data-what=go_on]").click()
    expect(state).to_have_text("Training")
    other.close()  # a closed tab takes nothing away
    # A second training has to wait, or to ask.
    page.locator("#studio .new").click()
    page.locator("#studio_start").click()
    question = page.locator("#studio .setup .busy")
    expect(question).to_contain_text("is training")
    question.locator(".leave").click()
    expect(question).to_be_hidden()
    page.locator("#studio [data-run=digits-3]").click()
    page.locator("#studio [data-what=stop]").click()
    expect(state).to_have_text("Stopped")
    assert Studio(runs).status("digits-3").state == "stopped"
    page.locator("#studio [data-what=remove]").click()
    page.locator("#studio [data-what=sure]").click()
    expect(page.locator("#studio .run")).to_have_count(2)
    expect(page.locator("#studio .empty")).to_be_visible()


def news_in_a_second(page: Page) -> int:
    """How often what is said of the training changes, and to how many different things."""
    return page.evaluate(
        """async () => {
            const facts = document.querySelector('#studio .facts');
            const told = new Set();
            const watch = new MutationObserver(() => told.add(facts.textContent));
            watch.observe(facts, {childList: true, characterData: true, subtree: true});
            await new Promise((resolve) => setTimeout(resolve, 1000));
            watch.disconnect();
            return told.size;
        }"""
    )


def test_one_travels_back_plays_and_draws_anew(visitor: Visitor) -> None:
    page = visitor.open("?run=digits-1")
    has_drawn(page)
    caption = page.locator("#studio figcaption span").first
    expect(caption).to_contain_text("step 30")
    newest = pixels(page)
    slider = page.locator("#studio_travel")
    page.wait_for_function("document.querySelector('#studio_travel').max >= 3")
    slider.focus()
    page.keyboard.press("Home")
    expect(caption).to_contain_text("step 1")
    assert pixels(page) != newest
    page.keyboard.press("ArrowRight")
    expect(caption).not_to_contain_text(re.compile(r"step 1\b"))
    page.locator("#studio .newest").click()
    expect(caption).to_contain_text("step 30")
    assert pixels(page) == newest
    slider.focus()
    page.keyboard.press("Home")
    page.locator("#studio .redraw").click()
    expect(caption).to_contain_text("from other noise (no. 1)")
    usual = page.get_by_text("Always from the same noise.")
    expect(usual).to_be_hidden()
    page.locator("#studio .same").click()
    expect(caption).to_contain_text("step 1")
    expect(usual).to_be_visible()
    page.locator("#studio .play").click()
    expect(caption).to_contain_text("step 30", timeout=30_000)
    expect(page.locator("#studio .play")).to_have_text("Play")
    expect(page.locator("#studio .curve.readable svg")).to_be_visible()
    expect(page.locator("#studio .curve.loss path.line.a").first).to_be_attached()


def test_what_is_drawn_anew_does_not_come_back_when_it_was_left(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diffusion_studio, "FRAME", 0.15)  # so that it is left in the middle
    page = visitor.open("?run=digits-1")
    has_drawn(page)
    caption = page.locator("#studio figcaption span").first
    page.locator("#studio .redraw").click()
    expect(caption).to_contain_text("from other noise")
    page.locator("#studio_travel").focus()
    page.keyboard.press("Home")
    expect(caption).to_contain_text("step 1")
    page.wait_for_timeout(700)  # several moments more of it
    expect(caption).to_contain_text("step 1")
    expect(page.locator("#studio .same")).to_be_hidden()


def test_what_was_drawn_from_other_noise_is_saved_and_comes_back(
    visitor: Visitor, tmp_path: Path
) -> None:
    page = visitor.open("?run=digits-1")
    has_drawn(page)
    caption = page.locator("#studio figcaption span").first
    for number in (1, 2):
        page.locator("#studio .redraw").click()
        expect(caption).to_contain_text(f"from other noise (no. {number})")
    for which in ("png", "gif"):
        with page.expect_download() as download:
            page.locator(f"#studio .{which}").click()
        assert download.value.suggested_filename == f"digits-1-000030-noise2.{which}"
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        assert keepsakes.about(path.read_bytes())["seed"] == 2
        drop(page, path)
        expect(page.locator("#studio .empty")).to_be_visible()
        expect(page.locator("#studio .said")).to_contain_text("begins with its noise, no. 2")
        page.locator("#studio [data-run=digits-1]").click()
        page.locator("#studio .redraw").click()
        expect(caption).to_contain_text("from other noise (no. 2)")


def test_a_sheet_that_did_not_come_is_asked_for_again(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, asked = diffusion_studio.DiffusionStudio.sheet, set[int]()

    def sheet(self: diffusion_studio.DiffusionStudio, question: dict[str, int]) -> object:
        first = question["step"] not in asked
        asked.add(question["step"])
        return None if first else plain(self, question)

    monkeypatch.setattr(diffusion_studio.DiffusionStudio, "sheet", sheet)
    page = visitor.open("?run=digits-1")
    expect(page.locator("#studio figcaption span").first).to_contain_text("step 30")


def test_a_run_that_has_the_name_of_a_deleted_one_shows_its_own_pictures(
    visitor: Visitor, runs: Path
) -> None:
    trained(Studio(runs), "digits-7", SMALL, made=2, steps=3, state="finished")
    try:
        page = visitor.open("?run=digits-7")
        has_drawn(page)
        caption = page.locator("#studio figcaption span").first
        expect(caption).to_contain_text("step 3")
        before = pixels(page)
        shutil.rmtree(runs / "digits-7")
        other = Choice("digits", labels=("0", "1"), minutes=1.0, size="tiny", seed=3)
        trained(Studio(runs), "digits-7", other, made=3, steps=3, state="finished")
        expect(page.locator("#studio .labels span").nth(5)).to_have_text("1")
        expect(caption).to_contain_text("step 3")
        assert pixels(page) != before
    finally:
        shutil.rmtree(runs / "digits-7")


def test_a_change_is_guessed_first_and_then_shown_beside_it(visitor: Visitor) -> None:
    page = visitor.open("?run=digits-1")
    begin = page.locator("#studio .changing .form .go.first")
    expect(begin).to_be_disabled()
    page.locator("#studio_change").select_option("size")
    expect(page.locator("#studio_change_value option")).to_have_text(["small", "medium", "large"])
    page.locator("#studio .guess").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#studio .guess").first).to_be_focused()
    expect(begin).to_be_enabled()
    page.locator("#studio [data-run=digits-2]").click()
    assert (visitor.link["run"], visitor.link["with"]) == (["digits-1"], ["digits-2"])
    expect(page.locator("#studio .column:not([hidden])")).to_have_count(2)
    expect(page.locator("#studio .column h3.second")).to_have_text("Learning rate: × 0.03")
    expect(page.locator("#studio .verdict")).to_contain_text("Your guess: readable later.")
    expect(page.locator("#studio .curve.loss path.line.b").first).to_be_attached()
    page.get_by_role("button", name="at equal steps").click()
    captions = page.locator("#studio .column figcaption span")
    expect(captions.nth(0)).to_contain_text("step 30")
    expect(captions.nth(1)).to_contain_text("step 30")
    assert pixels(page, "first") != pixels(page, "second")


def test_a_picture_is_saved_and_brings_its_settings_back(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.open("?run=digits-1&with=digits-2")
    has_drawn(page)
    page.wait_for_function("!document.querySelector('#studio .png').disabled")
    kept: list[Path] = []
    for which in ("png", "gif"):
        with page.expect_download() as download:
            page.locator(f"#studio .{which}").click()
        assert download.value.suggested_filename.endswith(f".{which}")
        kept.append(tmp_path / download.value.suggested_filename)
        download.value.save_as(kept[-1])
        assert keepsakes.about(kept[-1].read_bytes())["kind"] == "studio"
    for path in kept:
        page.locator("#studio .new").click()
        drop(page, path)
        expect(page.locator("#studio .said")).to_contain_text("The settings of that picture")
        expect(page.locator("#studio_size")).to_have_value("tiny")
        expect(page.locator("#studio .said")).to_contain_text("the change that made the second")
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    (tmp_path / "foreign.png").write_bytes(file.getvalue())
    page.locator("#studio_own input[type=file]").set_input_files(tmp_path / "foreign.png")
    expect(page.get_by_text("no settings of mmfm in this picture")).to_be_visible()


def test_a_change_is_of_the_run_as_it_is_by_now(
    visitor: Visitor, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been given more minutes, and what is changed is to be one thing."""
    asked: list[Choice] = []

    def start(studio: Studio, choice: Choice, **_: object) -> str:
        asked.append(choice)
        raise BadInput("seen")

    monkeypatch.setattr(Studio, "start", start)
    page = visitor.open("?run=digits-1")
    has_drawn(page)
    page.locator("#studio .guess").first.click()
    room = page.locator("#studio_room")
    before = room.inner_text()
    assert before != "0 bytes"
    about, large = runs / "digits-1" / "studio.json", runs / "large"
    told = about.read_text()
    longer = json.loads(told)
    longer["choice"]["minutes"] = 2.5
    about.write_text(json.dumps(longer))
    large.write_bytes(bytes(3_000_000))
    try:
        expect(page.locator("#studio")).to_contain_text("2.5 min")
        expect(room).not_to_have_text(before)
        page.locator("#studio .changing .form .go.first").click()
        page.wait_for_function("document.querySelector('#studio .go.first[aria-busy]') === null")
        expect(room).to_be_visible()
    finally:
        about.write_text(told)
        large.unlink()
    assert [choice.minutes for choice in asked] == [2.5]


def test_of_two_runs_in_a_picture_the_second_one_is_prepared_as_a_change(
    visitor: Visitor, runs: Path, tmp_path: Path
) -> None:
    choice = {"source": "digits", "minutes": 1.0, "size": "tiny"}
    about = {"kind": "studio", "choice": choice, "beside": {**choice, "rate": 0.5}}
    (tmp_path / "two.png").write_bytes(keepsakes.png(Image.new("L", (4, 4)), about))
    page = visitor.open("?new=1")
    drop(page, tmp_path / "two.png")
    expect(page.locator("#studio .said")).to_contain_text("the change that made the second")
    expect(page.locator("#studio .neighbour")).to_be_hidden()
    page.locator("#studio_start").click()
    try:
        change = page.locator("#studio_change_value option:checked")
        expect(change).to_have_text("× 0.5", timeout=90_000)
        expect(page.locator("#studio_change")).to_have_value("rate")
        page.locator("#studio .guess").first.click()
        expect(change).to_have_text("× 0.5")
    finally:
        end_all(Studio(runs))
        shutil.rmtree(runs / "digits-3")


def test_of_two_runs_that_differ_in_more_than_one_thing_each_can_be_taken(
    visitor: Visitor, tmp_path: Path
) -> None:
    choice = {"source": "digits", "minutes": 1.0, "size": "tiny"}
    beside = {**choice, "size": "large", "objective": "noise"}
    about = {"kind": "studio", "choice": choice, "beside": beside}
    (tmp_path / "two.png").write_bytes(keepsakes.png(Image.new("L", (4, 4)), about))
    page = visitor.open("?new=1")
    drop(page, tmp_path / "two.png")
    expect(page.locator("#studio .said")).to_contain_text("differ in more than one thing")
    expect(page.locator("#studio_size")).to_have_value("tiny")
    page.locator("#studio .neighbour").click()
    expect(page.locator("#studio_size")).to_have_value("large")
    expect(page.locator("#studio_objective")).to_have_value("noise")
    page.locator("#studio .neighbour").click()
    expect(page.locator("#studio_size")).to_have_value("tiny")


def test_the_other_language_keeps_what_is_shown(browser: Browser, address: str) -> None:
    visitor = Visitor(browser, address, locale="ko-KR")
    page = visitor.open("?run=digits-1&with=digits-2")
    expect(page.locator("h1")).to_have_text("디퓨전 스튜디오")
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    expect(page.locator("#studio .state")).to_have_text("완료")
    expect(page.locator("#studio .verdict")).to_contain_text("내 예상")
    page.locator("#language").click()
    expect(page.locator("h1")).to_have_text("Diffusion Studio")
    expect(page.locator("#studio .state")).to_have_text("Finished")
    expect(page.locator("#studio .column:not([hidden])")).to_have_count(2)
    assert visitor.link["with"] == ["digits-2"]
    visitor.close()


def test_a_half_there_run_is_named_and_a_server_that_is_gone_is_said(
    visitor: Visitor, runs: Path
) -> None:
    (runs / "digits-8").mkdir()
    try:
        page = visitor.open("?run=digits-1")
        page.locator("#studio [data-run=digits-8]").click()
        expect(page.locator("#studio .state")).to_contain_text("half there")
        page.locator("#studio [data-what=remove]").click()
        page.locator("#studio [data-what=sure]").click()
        expect(page.locator("#studio [data-run=digits-8]")).to_have_count(0)
    finally:
        assert not (runs / "digits-8").exists()
    page.locator("#studio [data-run=digits-1]").click()
    page.route(re.compile("component_server"), lambda route: route.abort())
    expect(page.locator("#studio .right > .trouble")).to_be_visible()
    page.unroute(re.compile("component_server"))
    expect(page.locator("#studio .right > .trouble")).to_be_hidden()
    visitor.faults[:] = [fault for fault in visitor.faults if "ERR_FAILED" not in fault]


def test_nothing_sticks_out_at_any_width(visitor: Visitor) -> None:
    page = visitor.open("?run=digits-1&with=digits-2")
    has_drawn(page)
    for link in (None, "#studio .new"):
        if link:
            page.locator(link).click()
            page.locator("#studio summary").click()
        for width in (320, 390, 600, 768, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_timeout(150)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            sticking = page.evaluate(
                """() => [...document.querySelectorAll('#studio *:not(svg *)')]
                    .filter((node) => node.clientWidth && node.scrollWidth > node.clientWidth + 1
                        && getComputedStyle(node).overflowX === 'visible'
                        && node.tagName !== 'svg')
                    .map((node) => node.outerHTML.slice(0, 90))"""
            )
            assert sticking == [], width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, address: str, scheme: str) -> None:
    visitor = Visitor(browser, address, color_scheme=scheme)
    page = visitor.open("?run=digits-1&with=digits-2")
    has_drawn(page)
    parts = ("#top", "#studio", "#lessons")
    assert visitors.faint_text(page, *parts) == []
    page.locator("#studio .new").click()
    page.get_by_role("button", name="MNIST digits").click()
    assert visitors.faint_text(page, *parts) == []
    visitor.close()


def test_everything_can_be_reached_by_keyboard_and_shows_where_one_is(visitor: Visitor) -> None:
    page = visitor.open("?run=digits-1")
    has_drawn(page)
    outline = "node => getComputedStyle(node).outlineStyle"
    for place in ("#studio_travel", "#studio_compare", "#studio_change", "#studio .play"):
        page.locator(place).focus()
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")
        expect(page.locator(place)).to_be_focused()
        assert page.locator(place).evaluate(outline) == "solid", place
    page.locator("#studio .new").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#studio_minutes")).to_be_visible()  # what is hidden takes no keys
    page.locator("#studio_minutes").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#studio .field:has(#studio_minutes) .value")).to_have_text("2 min")
    assert visitor.link["new"] == ["1"]
