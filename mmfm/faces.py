"""How long work shows itself: a live bar on a terminal, plain lines in a pipe, a stop that stops.

Shared by the commands that take a while; a page has its own ways.
"""

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from mmfm.data.texts import legible
from mmfm.terminal import FootLine, is_live

if TYPE_CHECKING:
    from mmfm.reports import Report

_LINE_EVERY = 10.0  # seconds between two plain lines
_SURE_AFTER = 2.0  # seconds, before which a rate is a guess
_NAMED = 10  # pictures that cannot be read; the others are counted


@contextmanager
def stopping() -> Generator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a question that the work can ask itself; the second one breaks.

    The first one breaks as well while nobody has asked yet: what is loaded, measured or waited for
    then need not be brought to an end.
    """
    wished = listening = False

    def note(signal_number: int, frame: FrameType | None) -> None:
        nonlocal wished
        if wished or not listening:
            raise KeyboardInterrupt
        wished = True

    def stop() -> bool:
        nonlocal listening
        listening = True
        return wished

    before = signal.signal(signal.SIGINT, note), signal.signal(signal.SIGTERM, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])


@contextmanager
def counting() -> Generator["Counter"]:
    """Show on a terminal how far some counted work has come; a pipe is told nothing."""
    counter = Counter(live=is_live(sys.stderr))
    try:
        yield counter
    finally:
        counter.close()


class Counter:
    """One bar after another, for work whose amount is known."""

    def __init__(self, *, live: bool) -> None:
        self._line = FootLine(sys.stderr) if live else None

    def show(self, what: str) -> Callable[[int, int], None]:
        """Make the function to which that work tells (done, total)."""
        pace = Pace()

        def tell(done: int, total: int) -> None:
            if self._line is not None:
                told = f"{done:,} of {total:,}{pace.told(done, total)}"
                self._line.show(what, done / total if total else None, told)

        return tell

    def say(self, line: str) -> None:
        """A line for the person, above the bar."""
        print(f"mmfm: {legible(line)}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Give the terminal back."""
        if self._line is not None:
            self._line.close()
            self._line = None


class Pace:
    """How fast counted work goes, and what is left of it; silent until that can be said."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: tuple[float, int] | None = None

    def told(self, done: int, total: int) -> str:
        """Say it, as what follows on "so many of so many"."""
        now = self._clock()
        if self._began is None:
            # The first tell says where the count starts: a run that goes on does not start at 0.
            self._began = now, done
        seconds, more = now - self._began[0], done - self._began[1]
        if seconds < _SURE_AFTER or more <= 0:
            return ""
        rate = more / seconds
        shown = f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
        return f", {shown}/s, {_duration((total - done) / rate)} left"


@contextmanager
def show_training(
    command: str, out: Path, stopped: Callable[[], bool], *, use: str, also: str = ""
) -> Generator["TrainingScreen"]:
    """Show a training run; of several processes that train together only the first one speaks.

    `use` says what to do with the model in the end, `also` what else there is to look at.
    """
    silent = os.environ.get("RANK", "0") != "0"
    live = is_live(sys.stderr)
    screen = TrainingScreen(command, out, stopped, use=use, also=also, live=live, silent=silent)
    try:
        yield screen
    finally:
        screen.close()
    screen.conclude()


class TrainingScreen:
    """Draws the reports of a training run and remembers how it ended."""

    def __init__(
        self,
        command: str,
        out: Path,
        stopped: Callable[[], bool],
        *,
        use: str,
        also: str = "",
        live: bool,
        silent: bool,
    ) -> None:
        self.command, self.out, self.stopped = command, out, stopped
        self.use, self.also, self.silent = use, also, silent
        self.last: Report | None = None
        self.looked: Report | None = None  # the last one that asked the held-out pictures
        self.skipped = 0
        self._loaded = 0  # pictures that were looked at, readable or not
        self._next_line = 0.0
        self._line = FootLine(sys.stderr) if live and not silent else None
        if self._line is not None:
            self._line.show("loading", None)

    def loading(self, done: int, total: int) -> None:
        """Show how far the data has come."""
        if self.stopped():
            raise KeyboardInterrupt
        self._loaded += total if done == total else 0  # one part after another
        if self._line is not None:
            self._line.show("loading", done / total if total else None, f"{done:,} of {total:,}")

    def show(self, report: "Report") -> None:
        """Show one step."""
        self.last = report
        if report.scores:
            self.looked = report
        if self.silent:
            return
        for which, why in report.skipped[:_NAMED]:
            print(f"mmfm: {which}: {why}; left out", file=sys.stderr)
        self.skipped += len(report.skipped)
        if report.skipped:
            print(f"mmfm: {self._left_out()}", file=sys.stderr)
        for note in report.step.notes:
            print(note, file=sys.stderr, flush=True)
        if self._line is not None:
            self._line.show("training", report.step.progress, self._told(report))
        elif time.monotonic() >= self._next_line or report.step.last:
            self._next_line = time.monotonic() + _LINE_EVERY
            print(f"step {report.step.number}: {self._told(report)}", flush=True)

    def _told(self, report: "Report") -> str:
        step = report.step
        parts = [f"loss {step.loss:.3f}", f"{step.examples_per_second:,.0f} pictures/s"]
        if self.looked is not None:
            parts.append(_scores(self.looked, most=3))
        return ", ".join([*parts, f"{_duration(step.seconds_left)} left"])

    def close(self) -> None:
        """Give the terminal back."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def conclude(self) -> None:
        """Say what has come of it, and what to do next."""
        if self.silent:
            return
        if self.last is None:
            print(f"{self.out} is finished already; --steps or --minutes make it longer")
        elif not self._finished():
            print(f"stopped at step {self.last.step.number}; go on with", flush=True)
            print(f"  {self.command} --out {shlex.quote(str(self.out))} --resume")
        else:
            if self.looked is not None:
                print(_scores(self.looked))
            print(f"the model is in {self.out}, try")
            print(f"  {self.use}")
        if self.also and self.last is not None:
            print(self.also)
        if self.skipped:
            print(f"mmfm: {self._left_out()}", file=sys.stderr)

    def _left_out(self) -> str:
        return f"{self.skipped:,} of {self._loaded:,} pictures left out"

    def _finished(self) -> bool:
        return self.last is None or self.last.step.progress >= 1

    @property
    def exit_status(self) -> int:
        """130 for a run that was stopped, 3 if some pictures could not be read."""
        if not self._finished():
            return 130
        return 3 if self.skipped else 0


def _scores(report: "Report", most: int | None = None) -> str:
    scores = [f"{name} {share:.1%}" for name, share in list(report.scores.items())[:most]]
    return f"{', '.join(scores)} of {report.pictures:,} held out"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
