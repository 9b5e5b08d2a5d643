"""How long a visitor waits for each page of `mmfm demo`, and for its first answer; the target: 2 s.

    python benchmarks/pages_first_answer.py [--runs 3] [--pages patches photos ...] [--model M]
        [--no-browser]

Each visit has pages of its own: `mmfm demo` in a new process, with no model loaded, no label seen
and no picture indexed before. A headless Chromium opens the page and does what a newcomer does.

    stands   from asking for the address until the page's heading is there; a page that shows its
             model in the heading has loaded it by then
    first    from the click, or the Enter, until the answer is seen; of what a page shows by itself,
             from asking for its address
    second   the same for a second visitor, to the same process

Numbers are medians of the runs. A picture that is drawn "to its end" is shown at a pace that the
eye follows, however fast the model is. Photos searches a small folder that is made of photographs
of scikit-image. Where there is no Chromium (or with --no-browser), answers are asked for as scripts
ask. Run it alone on the machine: browser and pages share its cores, as they do for a person.
"""

import argparse
import math
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from about import this_run
from gradio_client import Client, handle_file
from mmfm.demos import app
from pages_served import PATIENCE, Served, chromium, end_trainings, serving
from photographs import write_photographs

from mmfm.errors import MmfmError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TARGET = 2.0  # seconds
HEADING = "#top h1"
PHOTOS, SIZE = 24, (640, 480)


@dataclass(frozen=True)
class Step:
    """Something that a visitor does, and by what its answer is known."""

    what: str
    there: str  # is seen once it is answered
    press: str | None = None  # what is clicked for it
    into: str | None = None  # or where `text` is typed, and Enter; with neither, it comes by itself
    text: str = ""
    once: bool = False  # there is nothing to be done for a second visitor

    def ask(self, page: "Page", before: float) -> float:
        """Do it as soon as it can be done, and tell when; what comes by itself began before."""
        if self.press is not None:
            page.wait_for_selector(self.press)
            now = time.perf_counter()
            page.click(self.press)
            return now
        if self.into is not None:
            page.fill(self.into, self.text)
            now = time.perf_counter()
            page.press(self.into, "Enter")
            return now
        return before


@dataclass(frozen=True)
class Visit:
    """What somebody does who comes to a page for the first time."""

    steps: tuple[Step, ...]
    link: str = ""  # behind the page's address


VISITS: dict[str, tuple[Visit, ...]] = {
    "patches": (
        Visit(
            (
                Step("opens on a picture's patches", "#stage .bars li"),
                Step(
                    "another picture",
                    "#picker [data-picture=stripes][aria-pressed=true]",
                    press="#picker [data-picture=stripes]",
                ),
            )
        ),
    ),
    "zero_shot": (
        Visit(
            (
                Step("opens with pictures named", "#zero .bars button.name"),
                Step("and what an answer rests on", "#zero .relevance canvas"),
                Step(
                    "labels of one's own",
                    "#zero .bars [data-label=dog]",
                    into="#zero_labels",
                    text="dog, cat",
                ),
            )
        ),
    ),
    "meaning_map": (
        Visit(
            (
                Step("opens on its map", "#mm-stage .near li"),
                Step(
                    "another set",
                    "#mm-chooser [data-set=order][aria-pressed=true]",
                    press="#mm-chooser [data-set=order]",
                ),
            )
        ),
    ),
    "photos": (
        Visit(
            (
                Step(
                    f"{PHOTOS} photos indexed",
                    "#photos .go:not(.first)",
                    press="#photos .go.first",
                    once=True,
                ),
                Step(
                    "a search through them",
                    "#photos_search_panel .tile img[src]",
                    into="#photos_text",
                    text="a cat",
                ),
            )
        ),
    ),
    "text_to_picture": (
        Visit(
            (
                Step("first step of a picture", "#draw .after", press="#draw button.go"),
                Step("the picture, to its end", "#draw .keep"),
            )
        ),
    ),
    "denoise": (
        Visit(
            (
                Step(
                    "first step of a digit",
                    "#denoise .triptych:not(.waiting)",
                    press="#denoise button.go",
                ),
                Step("the digit, to its end", "#denoise .keep"),
            )
        ),
        Visit(
            (Step("points on paper: first frame", "#plane .said:not(:empty)", press="#plane .go"),)
        ),
    ),
    "diffusion_studio": (
        Visit(
            (
                Step(
                    "first pictures of a training",
                    "#studio .column canvas",
                    press="#studio_start",
                ),
            ),
            link="?new=1",
        ),
    ),
}
MODELLESS = ("diffusion_studio",)  # it makes its own


@dataclass(frozen=True)
class Row:
    """One answer of a page, in seconds; NaN where there is nothing to measure."""

    page: str
    what: str
    model: str
    stands: float
    first: float
    second: float


# --- the pages ----------------------------------------------------------------------------------


def models_of_pages(wanted: str | None) -> dict[str, str | None]:
    """All pages, the first one first, and the model that each begins with; None: it has none."""
    with app.private_gradio():
        known = app.pages()
        from mmfm.demos.parts import models_here

        return {
            name: next(iter(models_here(wanted, page.takes)), None) for name, page in known.items()
        }


# --- their visitors -----------------------------------------------------------------------------


def visited(
    browser: "Browser", address: str, visit: Visit, *, again: bool = False
) -> tuple[float, list[float]]:
    """How soon a page stands, and each of its answers is there: for the first visitor, or again."""
    from playwright.sync_api import TimeoutError as TooLong

    context = browser.new_context(locale="en-US")
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    stands, taken = math.inf, list[float]()
    try:
        began = time.perf_counter()
        page.goto(address + visit.link, wait_until="domcontentloaded")
        page.wait_for_selector(HEADING)
        stands = time.perf_counter() - began
        for step in visit.steps:
            if again and step.once:
                taken.append(math.nan)
                continue
            began = step.ask(page, began)
            page.wait_for_selector(step.there)
            taken.append(time.perf_counter() - began)
    except TooLong:
        taken += [math.inf] * (len(visit.steps) - len(taken))
    finally:
        context.close()
    return stands, taken


def first_sheet(client: Client) -> None:
    """Begin a training, and wait for its first pictures."""
    choice = ["digits", "", 1, 1, "flow", "flow", "medium", 0]
    name = client.predict(*choice, api_name="/train_start")["run"]
    while not (now := client.predict(name, api_name="/train_status")).get("drawn"):
        if now["error"]:
            sys.exit(f"the training failed: {now['error']}")
        time.sleep(0.05)


# What a script asks of a page about a picture. Photos has nothing for scripts.
SCRIPTS: dict[str, Callable[[Client, Any], object]] = {
    "patches": lambda client, picture: client.predict(picture, "", api_name="/predict"),
    "zero_shot": lambda client, picture: client.predict(
        picture, "dog, cat", "default", False, False, api_name="/classify"
    ),
    "meaning_map": lambda client, picture: client.predict(
        [picture], "a dog\na cat", api_name="/similarity"
    ),
    "text_to_picture": lambda client, picture: client.predict(
        "red heart", "", "one", "", None, None, 0, api_name="/draw"
    ),
    "denoise": lambda client, picture: client.predict(
        None, 1, "7", "", None, None, "", None, 0, None, api_name="/redraw"
    ),
    "diffusion_studio": lambda client, picture: first_sheet(client),
}


# --- what is found ------------------------------------------------------------------------------

Answers = list[list[float]]  # for each step how soon the page stood, the first and the second one


def in_browser(browser: "Browser", path: str, visit: Visit, served: Served) -> Answers:
    """What two visitors wait for, one after the other."""
    stands, first = visited(browser, served.address + path, visit)
    end_trainings(served.runs)  # one trains at a time
    _, second = visited(browser, served.address + path, visit, again=True)
    return [[stands, *both] for both in zip(first, second, strict=True)]


def by_script(page: str, photo: Path, served: Served) -> Answers:
    """What a script waits for, twice; that it finds out what can be asked is not counted."""
    client = Client(served.address, verbose=False, analytics_enabled=False)
    taken: list[float] = []
    for _ in range(2):
        began = time.perf_counter()
        SCRIPTS[page](client, handle_file(photo))
        taken.append(time.perf_counter() - began)
        end_trainings(served.runs)
    return [[math.nan, *taken]]


@dataclass(frozen=True)
class Tour:
    """Visits to all pages, and what they have in common."""

    browser: "Browser | None"
    photos: Path  # a folder of them
    model: str | None
    runs: int
    served_after: list[float] = field(default_factory=list[float])

    def lines(self, page: str, path: str, model: str | None) -> Iterator[str]:
        """What is measured of a page, or why nothing is."""
        if page not in VISITS:
            yield f"{page:17} not measured: VISITS in {Path(__file__).name} says nothing of it"
        elif model is None and page not in MODELLESS:
            yield f"{page:17} not measured: no model that it runs is here; --model names one"
        elif self.browser is not None:
            for visit in VISITS[page]:
                runs = self.repeated(partial(in_browser, self.browser, path, visit))
                yield from map(line, rows_of(page, model, [s.what for s in visit.steps], runs))
        elif page in SCRIPTS:
            photo = next(self.photos.iterdir())
            runs = self.repeated(partial(by_script, page, photo))
            yield from map(line, rows_of(page, model, ["to a script"], runs))
        else:
            yield f"{page:17} not measured: it answers nobody but a browser"

    def repeated(self, measure: Callable[[Served], Answers]) -> list[Answers]:
        """Measure as often as is wished, in a new process each time."""
        found: list[Answers] = []
        for _ in range(self.runs):
            model = () if self.model is None else ("--model", self.model)
            with serving("--allow", str(self.photos), *model) as served:
                self.served_after.append(served.after)
                found.append(measure(served))
        return found


def rows_of(
    page: str, model: str | None, steps: Sequence[str], runs: Sequence[Answers]
) -> list[Row]:
    """The medians of some runs, a row for each step."""
    return [
        Row(page, what, model or "-", *map(statistics.median, zip(*several, strict=True)))
        for what, several in zip(steps, zip(*runs, strict=True), strict=True)
    ]


def line(row: Row) -> str:
    """A row of the table."""
    verdict = "kept" if row.first <= TARGET else "missed"
    times = " ".join(f"{in_words(taken):>10}" for taken in (row.stands, row.first, row.second))
    return f"{row.page:17} {row.what:30} {row.model:12} {times}  {verdict}"


def in_words(taken: float) -> str:
    if math.isnan(taken):
        return "-"
    return f"over {PATIENCE:.0f} s" if math.isinf(taken) else f"{taken:.2f} s"


def head() -> str:
    """What stands above the table."""
    times = " ".join(f"{name:>10}" for name in ("stands", "first", "second"))
    return f"{'page':17} {'answer':30} {'model':12} {times}  first within {TARGET:.0f} s"


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--pages", nargs="+", metavar="NAME", help="these, not all of them")
    parser.add_argument("--model", metavar="M", help="as of mmfm demo: for pages that can run it")
    parser.add_argument("--no-browser", action="store_true", help="ask as scripts do")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    wished = parsed(arguments)
    # What ends it, `timeout` perhaps, shall not leave a training behind that nobody watches.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        models = models_of_pages(wished.model)
    except MmfmError as error:
        sys.exit(str(error))
    if unknown := set(wished.pages or ()) - models.keys():
        sys.exit(f"no page {', '.join(sorted(unknown))}; there are: {', '.join(models)}")
    print(this_run())
    first_page = next(iter(models))  # at the root
    visitor = nullcontext() if wished.no_browser else chromium()
    with tempfile.TemporaryDirectory() as name, visitor as browser:
        if browser is None:
            missing = "--no-browser" if wished.no_browser else "no Chromium here, or no Playwright"
            print(f"{missing}: how soon pages stand is not measured; answers are those to scripts")
        photos = Path(name) / "photos"
        write_photographs(photos, PHOTOS, SIZE)
        tour = Tour(browser, photos, wished.model, wished.runs)
        print(head(), flush=True)
        for page in wished.pages or models:
            path = "" if page == first_page else page
            for told in tour.lines(page, path, models[page]):
                print(told, flush=True)
    if after := tour.served_after:
        median = statistics.median(after)
        print(f"mmfm demo served after {median:.1f} s (median of {len(after)} starts)")


if __name__ == "__main__":
    main()
