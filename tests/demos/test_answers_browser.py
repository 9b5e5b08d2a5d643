"""No answer gets lost, although Gradio ends its stream of answers while another is asked for."""

import time
from collections.abc import Generator

import gradio as gr
import pytest
import visitors
from fastapi import FastAPI
from gradio.queueing import Queue
from mmfm.demos import app, parts
from playwright.sync_api import Browser, Page, Route, expect

pytestmark = visitors.NEEDS_CHROMIUM


def soon() -> str:
    time.sleep(0.5)
    return "the first"


def later() -> str:
    time.sleep(0.9)
    return "the second"


@pytest.fixture
def page(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> Generator[Page]:
    """Two questions; the server ends the stream after the first, as if it knew of no other."""
    push, forgotten = Queue.push, set[str]()

    async def forgetful(self: Queue, *given: object, **named: object) -> object:
        pushed = await push(self, *given, **named)  # pyright: ignore[reportArgumentType]
        for known in self.pending_event_ids_session.values():
            if forgotten:  # the third question; now it knows again
                known |= forgotten
            elif len(known) > 1:
                forgotten.update(known)
                known.clear()
        return pushed

    with app.private_gradio():
        monkeypatch.setattr(Queue, "push", forgetful)
        with gr.Blocks() as blocks:
            parts.heading()
            first, second, said = gr.Button("1"), gr.Button("2"), gr.Textbox(label="said")
            first.click(soon, None, said, concurrency_id="one", concurrency_limit=1)
            second.click(later, None, said, concurrency_id="two", concurrency_limit=1)
        with visitors.serving(gr.mount_gradio_app(FastAPI(), blocks, "/")) as address:
            page = browser.new_context().new_page()
            page.goto(address, wait_until="domcontentloaded")
            expect(page.get_by_label("said")).to_be_visible()
            yield page
            page.context.close()


def test_an_answer_that_waits_for_the_next_stream_is_fetched(page: Page) -> None:
    page.get_by_role("button", name="1").click()
    page.wait_for_timeout(200)  # its stream is open
    page.get_by_role("button", name="2").click()
    expect(page.get_by_label("said")).to_have_value("the second", timeout=12_000)


def test_so_is_one_that_was_asked_before_the_stream_was_open(page: Page) -> None:
    held: list[Route] = []
    page.route("**/queue/join*", lambda route: route.continue_() if held else held.append(route))
    page.get_by_role("button", name="2").click()
    page.wait_for_timeout(100)
    page.get_by_role("button", name="1").click()
    page.wait_for_timeout(200)  # its stream is open
    held[0].continue_()
    expect(page.get_by_label("said")).to_have_value("the second", timeout=12_000)
