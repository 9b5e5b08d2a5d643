"""The process that trains a run of the studio: python -m mmfm.tasks.studio_process FOLDER

It does what wish.json in the folder says, tells in state.json what it does, and writes the curve
into live.jsonl; see `mmfm.tasks.studio`. What is heavy is imported when it has taken its lock.
"""

import contextlib
import json
import os
import secrets
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from mmfm.errors import InUse, MmfmError, OutOfSpace
from mmfm.files import FULL, write_whole
from mmfm.tasks.studio import (
    START_SECONDS,
    Point,
    State,
    Studio,
    mean_of,
    points_in,
    recipe_of,
    thinned,
    wish_in,
    write_json,
)

if TYPE_CHECKING:
    from mmfm.data.labelled import Parts
    from mmfm.train import Step

_NICE = 10  # whoever looks at a page goes first
_MOMENT = 0.08  # seconds of training in a line of the curve
_RESTING = 600.0  # seconds after which a process that rests ends
_WAITING = 15.0  # seconds that it waits for another one to make way
_GLANCE = 0.1  # seconds between two looks at what is wished meanwhile


class Live:
    """Writes the curve, a line for each moment."""

    def __init__(self, folder: Path) -> None:
        self.path, self.metrics = folder / "live.jsonl", folder / "run" / "metrics.jsonl"
        self._begun, self._moment = False, 0.0
        self._waiting: list[Point] = []

    def add(self, step: "Step") -> None:
        """Note a step that was taken."""
        if not self._begun:
            self._begin(step.number)
            self._begun = True
        self._waiting.append((step.number, step.loss, step.examples_per_second, step.seconds))
        if step.last or time.monotonic() - self._moment >= _MOMENT:
            self._append()

    def _append(self) -> None:
        step, loss, speed, seconds = mean_of(self._waiting)
        line = json.dumps([step, round(loss, 5), round(speed, 1), round(seconds, 3)]) + "\n"
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            if error.errno in FULL:
                raise OutOfSpace(
                    f"{self.path}: no space left on the disk; the last checkpoint is intact"
                ) from error
            raise
        self._waiting, self._moment = [], time.monotonic()

    def _begin(self, number: int) -> None:
        """Keep what holds: the run goes on with this step, from its last checkpoint."""
        try:
            _, _, lines = self.path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            lines = b""
        lines = lines[: lines.rfind(b"\n") + 1]
        points = [point for point in points_in(lines) if point[0] < number]
        # Another process may have trained it further.
        points += self._from_metrics(points[-1][0] if points else 0, number)
        text = "".join(json.dumps(point) + "\n" for point in points)
        write_whole(self.path, f"{secrets.token_hex(8)}\n{text}")

    def _from_metrics(self, after: int, before: int) -> list[Point]:
        if after >= before - 1 or not self.metrics.is_file():
            return []
        lines = self.metrics.read_text(encoding="utf-8").splitlines(keepends=True)
        rows = [json.loads(line) for line in lines if line.endswith("\n")]
        return thinned(
            [
                (row["step"], row["loss"], row["examples_per_second"], row["seconds"])
                for row in rows
                if "loss" in row and after < row["step"] < before
            ],
            400,
        )


class Kept:
    """Reads the data once: a process that goes on has them still."""

    def __init__(self) -> None:
        self._parts: Parts | None = None

    def __call__(self, data: str, **how: Any) -> "Parts":
        from mmfm.data.labelled import load_parts

        if self._parts is None:  # a run has the same data for ever
            self._parts = load_parts(data, **how)
        return self._parts


class Process:
    """Trains the run in a folder for as long as it is wished, and rests in between."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run = folder, folder / "run"
        self.wish = wish_in(folder)
        self._ended = False  # by a signal
        self._told = 0.0  # when the count of what is loaded was last told

    def work(self) -> int:
        """Do what is wished until it is over; the answer is the exit status."""
        try:
            with FileLock(self.folder / ".lock").acquire(timeout=START_SECONDS / 2):
                return self._work()
        except Timeout:
            return 1  # another process has taken over

    def _work(self) -> int:
        if hasattr(os, "nice"):
            os.nice(_NICE)
        try:
            import_module("mmfm.tasks.train_diffusion")  # takes seconds; until then, a signal kills
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._end)
            self._say(self._serve())
        except MmfmError as error:
            self._fail(error)
            return error.exit_status
        except Exception as error:
            self._fail(error)
            raise
        return 0

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._ended = True

    def _fail(self, error: Exception) -> None:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        with contextlib.suppress(OutOfSpace):  # then the full disk tells by itself
            self._say("failed", error=line, kind=type(error).__name__)

    def _say(self, state: State, **more: object) -> None:
        told = {"state": state, "turn": self.wish.turn, "since": time.time(), "pid": os.getpid()}
        write_json(self.folder / "state.json", told | more)

    def _serve(self) -> State:
        """Fulfil one wish after the other; the answer is how it ended."""
        load = Kept()
        while not self._ended:
            self.wish = wish_in(self.folder)
            trouble: InUse | None = None
            if self.wish.want == "stop":
                break
            if self.wish.want == "train":
                try:
                    if self._sit(load):
                        return "finished"
                except InUse as error:
                    trouble = error
            if self._ended or self._is_over():
                continue
            why = {} if trouble is None else {"error": str(trouble), "kind": "InUse"}
            self._say("paused", **why)
            since = time.monotonic()
            while not self._ended and not self._is_over():
                if time.monotonic() - since > _RESTING:
                    return "stopped"
                time.sleep(0.03)
        return "stopped"

    def _is_over(self) -> bool:
        """Whether something else is wished by now."""
        return wish_in(self.folder).turn != self.wish.turn

    def _sit(self, load: "Kept") -> bool:
        """Train until something else is wished, or the steps are taken; True: it is finished."""
        from mmfm.machine import usable_threads
        from mmfm.tasks.train_diffusion import Watch, resume_diffusion, train_diffusion

        about = Studio(self.folder.parent).about(self.folder.name)
        choice, steps, taken = about.choice, self.wish.steps, 0
        # One processor is left to whoever looks at a page.
        threads = max(1, usable_threads() - 1)

        def stop() -> bool:
            nonlocal taken
            taken += 1
            return self._ended or taken == steps or self._is_over()

        settings: dict[str, Any] = {
            "load": load,
            "progress": self._loading,
            "device": about.device,
            "stop": stop,
        }
        turn = FileLock(self.folder.parent / ".training.lock")
        try:
            if not self._has_turn(turn):
                return False
            try:
                self._say("loading")
                if (self.run / "run.json").exists():
                    changes = {"minutes": choice.minutes, "steps": None, "threads": threads}
                    reports = resume_diffusion(self.run, changes=changes, **settings)
                else:
                    recipe = recipe_of(choice, threads)
                    settings["watch"] = Watch()
                    reports = train_diffusion(choice.data, self.run, recipe, **settings)
                live, last = Live(self.folder), None
                for report in reports:
                    if last is None:
                        left_out = len(report.skipped)
                        self._say("training", notes=report.step.notes, left_out=left_out)
                    last = report.step
                    live.add(last)
                return last is None or last.progress >= 1
            finally:
                turn.release()
        except KeyboardInterrupt:  # while the data were read
            return False

    def _has_turn(self, turn: FileLock) -> bool:
        """Wait until the one that trains has made way; False: by then something else is wished."""
        until = time.monotonic() + _WAITING
        while not self._ended and not self._is_over():
            try:
                turn.acquire(timeout=_GLANCE)
            except Timeout as error:
                if time.monotonic() > until:
                    raise InUse("another run is training; pause it first") from error
            else:
                return True
        return False

    def _loading(self, done: int, total: int) -> None:
        """Tell how far the data have come, twice a second."""
        if self._ended or self._is_over():
            raise KeyboardInterrupt
        if time.monotonic() - self._told > 0.5:
            self._told = time.monotonic()
            self._say("loading", done=done, total=total)


if __name__ == "__main__":
    sys.exit(Process(Path(sys.argv[1])).work())
