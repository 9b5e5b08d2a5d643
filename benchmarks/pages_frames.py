"""Frames a second of the pages that show diffusion at work, and how soon Stop stops.

    python benchmarks/pages_frames.py [--rounds 5] [--device cpu] [--parts denoise plane studio]

The pages are served as `mmfm demo` serves them, by a process of its own, and looked at in a
Chromium without a window on the same machine. What is counted is what comes to the screen:

    denoise   other steps of the triptych, while a digit comes back in 50 steps and in 8
    plane     other words about the network that learns; other places of the dots that are led
    studio    other curves of the loss, while digits are learned; other pictures drawn anew

The pages show steps at a pace that the eye follows, so more than some twenty a second are not
wanted. Stop is pressed in the page. On denoise the screen stops at once, so that the time until
another way is seen is measured, too: by then the model has let go. On the plane it takes until what
was learned so far is shown, in the studio until the run's own process has said that it is paused,
or has ended.
"""

import argparse
import re
import signal
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence

from about import this_run
from pages_served import CHROMIUM, PATIENCE, chromium, serving
from playwright.sync_api import Page, expect

MODEL = "mnist-nano"
FRAMES, SECONDS = 10.0, 1.0  # at least so many a second; Stop within so many
MILLISECONDS = 1000 * PATIENCE  # until a page gives up

# Presses a button and notes when a part of the page becomes another one, until some other part is
# there, with these words if there are any, or so many milliseconds are over.
CHANGES = """async ({press, watch, what, done, words, most}) => {
    const find = (place) => document.querySelector(place);
    const canvas = (node) => node.getContext('2d').getImageData(0, 0, 60, 60).data.join();
    const read = {text: (node) => node.textContent, value: (node) => node.value, canvas};
    const look = () => {
        const node = find(watch);
        return node && (read[what] ? read[what](node) : node.getAttribute(what));
    };
    const over = () => {
        const node = done && find(done);
        return node && !node.hidden && (words === null || node.textContent === words);
    };
    const [times, end] = [[], performance.now() + most];
    let before = look();
    if (press) find(press).click();
    while (performance.now() < end && !over()) {
        await new Promise(requestAnimationFrame);
        const now = look();
        if (now !== before) times.push(performance.now());
        before = now;
    }
    return times;
}"""

# Presses a button, and says after how many milliseconds a part is there, with these words if any.
UNTIL = """async ({press, place, words}) => {
    const began = performance.now();
    document.querySelector(press).click();
    const there = () => {
        const node = document.querySelector(place);
        return node && !node.hidden && (words === null || node.textContent === words);
    };
    while (!there()) await new Promise(requestAnimationFrame);
    return performance.now() - began;
}"""

# Stops a way and begins another one: milliseconds until the first is seen to stop, and until the
# first step of the second is seen.
STOP_AND_GO = """async () => {
    const go = document.querySelector('#denoise button.go');
    const triptych = document.querySelector('#denoise .triptych');
    const began = performance.now();
    go.click();
    while (go.classList.contains('stop')) await new Promise(requestAnimationFrame);
    const stopped = performance.now() - began;
    const before = triptych.dataset.shown;
    go.click();
    while (triptych.dataset.shown === before) await new Promise(requestAnimationFrame);
    return [stopped, performance.now() - began];
}"""


def rate(times: Sequence[float]) -> float:
    """Frames a second of moments in milliseconds; none for fewer than two."""
    return 1000 * (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0


def changes(
    page: Page,
    watch: str,
    what: str,
    *,
    press: str | None = None,
    done: str | None = None,
    words: str | None = None,
    most: float = MILLISECONDS,
) -> float:
    """How often a second a part of the page becomes another one."""
    asked = {"press": press, "watch": watch, "what": what, "done": done, "words": words}
    return rate(page.evaluate(CHANGES, {**asked, "most": most}))


def until(page: Page, press: str, place: str, words: str | None = None) -> float:
    """Seconds from a press until a part of the page is there."""
    return page.evaluate(UNTIL, {"press": press, "place": place, "words": words}) / 1000


def line(what: str, values: Sequence[float], *, stops: bool = False) -> str:
    """A row of the table: the median, from where to where, and whether the promise is kept."""
    middle, unit = statistics.median(values), " s" if stops else "/s"
    kept = middle <= SECONDS if stops else middle >= FRAMES
    promise = f"within {SECONDS:g} s" if stops else f"at least {FRAMES:g}/s"
    digits = 2 if stops else 1
    spread = f"({min(values):.{digits}f} to {max(values):.{digits}f})"
    verdict = f"{'kept' if kept else 'MISSED'}: {promise}"
    return f"{what:52}{middle:6.{digits}f}{unit} {spread:18}{verdict}"


# --- the pages ------------------------------------------------------------------------------------


def denoise(page: Page, address: str, rounds: int) -> Iterator[str]:
    """A digit comes back out of the noise."""
    go, done = "#denoise button.go", {"done": "#denoise .status", "words": "Done."}
    for steps in (50, 8):
        page.goto(f"{address}denoise?steps={steps}&noise=80")
        page.wait_for_selector("#denoise .examples canvas")
        # The first way loads the model, and does not count.
        shown = [
            changes(page, "#denoise_scrubber", "value", press=go, **done) for _ in range(rounds + 1)
        ]
        yield line(f"denoise: a digit comes back in {steps} steps", shown[1:])
    page.goto(f"{address}denoise?steps=100&noise=80")
    page.wait_for_selector("#denoise .examples canvas")
    begun = re.compile(r"^Step ([3-9]|\d\d) ")
    seen: list[float] = []
    free: list[float] = []
    for _ in range(rounds):
        page.locator(go).click()
        expect(page.locator("#denoise .scrub label")).to_have_text(begun)
        stopped, another = page.evaluate(STOP_AND_GO)
        seen.append(stopped / 1000)
        free.append(another / 1000)
        page.locator(go).click()
        expect(page.locator("#denoise .status")).to_have_text("Stopped.")
    yield line("denoise: Stop is seen", seen, stops=True)
    yield line("denoise: Stop, and another way is seen", free, stops=True)


def plane(page: Page, address: str, rounds: int) -> Iterator[str]:
    """A network learns points on a plane, and dots are led to them."""
    page.goto(f"{address}denoise")
    page.wait_for_selector("#plane .figures canvas")
    start, done, said = "#plane .go", "#plane .keep", "#plane .said"
    learning: list[float] = []
    moving: list[float] = []
    for _ in range(rounds):
        learning.append(changes(page, said, "text", press=start, done=done))
        start = "#plane .anew"
        expect(page.locator("#plane .play")).to_contain_text("Play")  # it came to its end
        moving.append(changes(page, "#plane-time", "value", press="#plane .play", most=1000))
    yield line("plane: one network learns", learning)
    yield line("plane: dots are led", moving)
    page.locator("[data-try=all]").click()
    page.locator("#plane .go").click()
    page.wait_for_selector("[data-guess=skip]")
    yield line(
        "plane: six ways at once, while one network learns",
        [changes(page, said, "text", press="[data-guess=skip]", done=done)],
    )
    stops: list[float] = []
    for _ in range(rounds):
        page.locator(start).click()
        expect(page.locator(said).first).to_contain_text("Learning: step")
        stops.append(until(page, "#plane .halt", done))
    yield line("plane: Stop, and what was learned is shown", stops, stops=True)


def studio(page: Page, address: str, rounds: int) -> Iterator[str]:
    """A training that is watched."""
    page.goto(f"{address}diffusion_studio?new=1")
    page.get_by_role("button", name="Small digits").click()
    page.locator("#studio_start").click()
    loss, state = "#studio .curve.loss path.line.a", "#studio .state"
    page.wait_for_selector(loss, state="attached")
    yield line(
        "studio: the loss while digits are learned",
        [changes(page, loss, "d", most=2000) for _ in range(rounds)],
    )
    for what, name, words in (("pause", "Pause", "Paused"), ("stop", "Stop", "Stopped")):
        taken: list[float] = []
        for _ in range(rounds):
            expect(page.locator(state)).to_have_text("Training")
            page.wait_for_timeout(500)  # it shall be at work, and not about to begin
            taken.append(until(page, f"#studio [data-what={what}]", state, words))
            page.locator("#studio [data-what=go_on]").click()
        yield line(f"studio: {name}", taken, stops=True)
    expect(page.locator(state)).to_have_text("Training")
    until(page, "#studio [data-what=stop]", state, "Stopped")
    column = "#studio .column canvas"
    drawn = [
        changes(page, column, "canvas", press="#studio .redraw", most=3000)
        for _ in range(rounds + 1)  # the first one loads the model
    ]
    yield line("studio: digits are drawn from other noise", drawn[1:])


PARTS: dict[str, Callable[[Page, str, int], Iterator[str]]] = {
    "denoise": denoise,
    "plane": plane,
    "studio": studio,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    arguments = parser.parse_args()
    # What ends it shall not leave a training behind that nobody watches.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    expect.set_options(timeout=MILLISECONDS)
    with chromium() as browser:
        if browser is None:
            sys.exit(f"no browser to look with: install one of {', '.join(CHROMIUM)}")
        print(this_run())
        print(f"{MODEL}, Chromium {browser.version}, medians of {arguments.rounds} (range)")
        with serving("denoise", "--model", MODEL, "--device", arguments.device) as served:
            for part in arguments.parts:
                page = browser.new_context(locale="en-US").new_page()
                page.set_default_timeout(MILLISECONDS)
                for row in PARTS[part](page, served.address, arguments.rounds):
                    print(row, flush=True)
                page.context.close()


if __name__ == "__main__":
    main()
