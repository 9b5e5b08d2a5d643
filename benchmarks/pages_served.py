"""The pages of `mmfm demo` in a process of their own, and a browser to visit them with."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mmfm.tasks.studio import Studio

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PATIENCE = 120.0  # seconds after which nobody waits any longer

# As the tests of the pages look for it and start it.
CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@dataclass(frozen=True)
class Served:
    """Pages in a process of their own."""

    address: str  # with a slash at its end
    after: float  # seconds from the command until they answered
    runs: Path


@contextlib.contextmanager
def serving(*options: str) -> Generator[Served]:
    """Start `mmfm demo`, with nothing kept from before, and end it with all that it began."""
    with tempfile.TemporaryDirectory(prefix="mmfm-", ignore_cleanup_errors=True) as name:
        own = Path(name)
        kept = {f"MMFM_{what.upper()}": str(own / what) for what in ("cache", "store", "runs")}
        command = [sys.executable, "-m", "mmfm", "demo", *options, "--port", "0"]
        began = time.perf_counter()
        with (own / "said.txt").open("w") as said:
            process = subprocess.Popen(
                command, stdout=said, stderr=subprocess.STDOUT, env={**os.environ, **kept}
            )
        try:
            address = address_in(own / "said.txt", process)
            knock(address)
            yield Served(address, time.perf_counter() - began, own / "runs")
        finally:
            end_trainings(own / "runs")
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def address_in(said: Path, process: subprocess.Popen[bytes]) -> str:
    """Where the pages are, once they have said so."""
    while process.poll() is None:
        if found := re.search(r"runs at (http://[^/\s]+/)", said.read_text()):
            return found[1]
        time.sleep(0.02)
    sys.exit(f"mmfm demo ended at once: {said.read_text().strip()}")


def knock(address: str) -> None:
    """Wait for an answer, whatever it says. No page is asked for: the first visitor shall do so."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE)
    connection.request("GET", "/robots.txt")
    connection.getresponse().read()
    connection.close()


def end_trainings(runs: Path) -> None:
    """Stop what trains: a run goes on by itself when its pages are gone."""
    studio = Studio(runs)
    for name in studio.names():
        studio.stop(name)
    until = time.monotonic() + PATIENCE
    while studio.training() is not None and time.monotonic() < until:
        time.sleep(0.05)


@contextlib.contextmanager
def chromium() -> Generator["Browser | None"]:
    """A browser without a window; None where there is none."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None or find_spec("playwright") is None:
        yield None
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS.split())
        yield browser
        browser.close()
