"""Who visits the pages in the tests: a server of their own, and a browser that looks out."""

import contextlib
import shutil
import threading
import time
from collections.abc import Generator
from urllib.parse import parse_qs, urlparse

import pytest
import uvicorn
from fastapi import FastAPI
from mmfm.demos import app
from playwright.sync_api import Browser, ConsoleMessage, Page

# The headless shell first: a whole Chromium without a window now and then stops drawing frames, and
# a click that waits for its button to stand still waits forever.
CHROMIUM = next(
    filter(
        None,
        map(
            shutil.which,
            ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"),
        ),
    ),
    None,
)
NEEDS_CHROMIUM = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome is installed"
)
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)

# What Gradio's client says now and then of the streams that it ends itself as a page is left.
LEAVING = "AbortError: signal is aborted without reason"


@contextlib.contextmanager
def serving(pages: FastAPI) -> Generator[str]:
    """Where pages are served, for as long as they are."""
    with app.listen("127.0.0.1", 0) as listening:
        settings = uvicorn.Config(pages, log_level="critical", timeout_graceful_shutdown=1)
        server = uvicorn.Server(settings)
        # A daemon, with all that it starts: a request that never ends shall not keep the tests.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 60
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)


class Visitor:
    """A browser that keeps a list of what must not happen."""

    PAGE = ""  # its address
    READY: tuple[str, ...] = ()  # what is there when the page has come

    def __init__(self, browser: Browser, address: str, **settings: object) -> None:
        self.address = address
        self.faults: list[str] = []
        self.page: Page = browser.new_context(**settings).new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("request", self._see)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" and LEAVING not in message.text:
            self.faults.append(f"console: {message.text}")

    def _see(self, request: object) -> None:
        url = request.url  # pyright: ignore[reportAttributeAccessIssue]
        if urlparse(url).scheme not in ("data", "blob") and not url.startswith(self.address):
            self.faults.append(f"left the server: {url}")

    def open(self, link: str = "") -> Page:
        self.page.goto(f"{self.address}/{self.PAGE}{link}", wait_until="domcontentloaded")
        for part in self.READY:
            self.page.wait_for_selector(part)
        return self.page

    @property
    def link(self) -> dict[str, list[str]]:
        return parse_qs(urlparse(self.page.url).query)


def faint_text(page: Page, *places: str) -> list[object]:
    """Texts in these parts of a page that stand out too little from what is behind them."""
    return page.evaluate(_FAINT, [f"{place} *" for place in places])


# WCAG 2.2, 1.4.3: at least 4.5 to 1; what cannot be pressed is excepted. Colours are read from a
# canvas, since CSS may mix them, and those that let something through lie over what is behind them.
_FAINT = """(places) => {
    const pen = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const read = {};
    const rgba = (colour) => {
        if (!read[colour]) {
            pen.clearRect(0, 0, 1, 1);
            pen.fillStyle = colour;
            pen.fillRect(0, 0, 1, 1);
            const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
            read[colour] = [r, g, b, a / 255];
        }
        return read[colour];
    };
    const over = ([r, g, b, a], under) =>
        a === 1 ? [r, g, b] : [r, g, b].map((v, i) => v * a + under()[i] * (1 - a));
    const ground = (node) => node
        ? over(rgba(getComputedStyle(node).backgroundColor), () => ground(node.parentElement))
        : [255, 255, 255];
    const light = (colour) => {
        const [r, g, b] = colour.map((v) => v / 255)
            .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    return [...document.querySelectorAll(places.join(', '))]
        .filter((node) => !(node instanceof SVGElement) && node.offsetParent && !node.disabled
            && getComputedStyle(node).visibility === 'visible'
            && [...node.childNodes].some((c) => c.nodeType === 3 && c.data.trim()))
        .map((node) => {
            const behind = ground(node);
            const colour = over(rgba(getComputedStyle(node).color), () => behind);
            const [a, b] = [light(colour), light(behind)];
            const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            return [node.textContent.trim().slice(0, 40), node.className, ratio];
        })
        .filter(([, , ratio]) => ratio < 4.5);
}"""
