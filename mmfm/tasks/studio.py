"""A training to watch: start it, pause it, take a few steps, come back to it, put two side by side.

    studio = Studio()                                   # in MMFM_RUNS, or the user's data folder
    name = studio.start(Choice("digits", minutes=1))
    studio.status(name)                                 # training, for so long, so fast
    studio.pause(name), studio.go_on(name, steps=5), studio.stop(name)
    studio.model(name, step=120)                        # the model as it was then

A run is a folder, and what trains it is a process of its own (`mmfm.tasks.studio_process`).
So a page that is closed or a server that ends takes nothing away. They speak by files:

    RUNS/mnist-1/studio.json    what was chosen
    RUNS/mnist-1/wish.json      what the person wants of the process: train, pause, stop
    RUNS/mnist-1/state.json     what it does, or why it has ended
    RUNS/mnist-1/live.jsonl     the curve: [step, loss, pictures a second, seconds] a line
    RUNS/mnist-1/process.log    whatever else it has said
    RUNS/mnist-1/.lock          held for as long as it lives
    RUNS/mnist-1/run/           the run itself, as `mmfm train diffusion` makes it
    RUNS/.training.lock         held by the one that trains: there is one at a time

A process that rests holds the model and the data in memory, so that a single step is quick; all of
it is on the disk at that time, too. Of several that rest the last one stays as it is when another
run begins. Importing this module is light: what trains comes later.
"""

import contextlib
import datetime
import json
import math
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast, get_args

from filelock import FileLock, Timeout

from mmfm.errors import BadInput, BadRun, InUse, NotHere, OutOfSpace
from mmfm.files import FULL, write_whole

if TYPE_CHECKING:
    from mmfm.tasks.train_diffusion import DiffusionRecipe

State = Literal[
    "starting",  # the process is on its way
    "loading",  # it reads the data, or downloads them
    "training",
    "paused",  # it rests, and goes on at once
    "stopped",  # there is no process; all is kept, and goes on with a new one
    "interrupted",  # so it is here, but the process was ended from outside
    "failed",  # or by an error
    "finished",
    "elsewhere",  # a process trains that is none of ours: mmfm train diffusion --resume
]
ACTIVE: tuple[State, ...] = ("starting", "loading", "training")
Want = Literal["train", "pause", "stop"]

SCHEDULES = ("flow", "cosine", "linear")
OBJECTIVES = ("flow", "velocity", "noise", "clean")
SIZES = {"tiny": 0.25, "small": 0.5, "medium": 1.0, "large": 1.5}  # times the recipe's widths
MINUTES = (0.02, 60.0)
RATES = (0.001, 100.0)
MOST_STEPS = 1000  # of those that are taken one by one
MOST_RUNS = 60
MOST_LABELS = 100

_PICTURES = 32  # the side that pictures of a folder are brought to
_SAVE_SECONDS = 20.0  # so much a kill can take away
_MOST_POINTS = 3000  # of a curve that is read from its beginning
START_SECONDS = 20.0  # within which a process takes its lock
_LEAST_ROOM = 150_000_000  # bytes free on the disk, before a run is begun
_TIGHT = 32_000_000  # bytes free: with fewer, a process that ended without a word had no room left
_NAME = re.compile(r"[a-z]+-[1-9]\d{0,5}")


class TooManyRuns(BadInput):
    """More runs than are kept: some have to be removed first."""


# --- what a person chooses ------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """What a person chooses of a training; all else is as the recipe says that fits the data."""

    data: str  # mnist, fashion, digits, or a path
    labels: tuple[str, ...] = ()  # what it shall learn to draw; none named: all
    minutes: float = 3.0
    rate: float = 1.0  # times the recipe's
    schedule: str = "flow"
    objective: str = "flow"
    size: str = "medium"  # of the network, a name in SIZES
    seed: int = 0

    def __post_init__(self) -> None:
        data: Any = self.data
        given: Any = self.labels
        _require(isinstance(data, str) and bool(data), "no data: mnist, digits, a folder")
        words = isinstance(given, list | tuple) and all(isinstance(word, str) for word in given)
        _require(words, f"labels are a list of words, not {given!r:.60}")
        _require(len(given) <= MOST_LABELS, f"{len(given)} labels: at most {MOST_LABELS}")
        object.__setattr__(self, "labels", tuple(dict.fromkeys(given)))  # JSON knows lists only
        for name, (low, high) in (("minutes", MINUTES), ("rate", RATES)):
            value: Any = getattr(self, name)
            fits = _is_number(value) and low <= value <= high
            _require(fits, f"{name} of {value!r:.40}: a number from {low:g} to {high:g}")
        for name, known in (
            ("schedule", SCHEDULES),
            ("objective", OBJECTIVES),
            ("size", tuple(SIZES)),
        ):
            value = getattr(self, name)
            _require(value in known, f"{name} {value!r:.40} is none of {', '.join(known)}")
        whole = type(self.seed) is int and 0 <= self.seed < 2**31
        _require(whole, f"seed of {self.seed!r:.40}: a whole number from 0 up to 2,147,483,647")

    @classmethod
    def of(cls, content: object) -> Self:
        """A choice from its plain form, which anybody may have written."""
        known = [one.name for one in fields(cls)]
        if not isinstance(content, Mapping) or not all(name in known for name in content):
            raise BadInput(f"a choice has {', '.join(known)}, and nothing else")
        _require("data" in content, "no data: mnist, digits, a folder")
        return cls(**cast(Mapping[str, Any], content))


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise BadInput(message)


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def recipe_of(choice: Choice, threads: int | None = None) -> "DiffusionRecipe":
    """The recipe that fits the data, changed as was chosen."""
    from mmfm.tasks.train_diffusion import DiffusionRecipe, recipe_for

    which = recipe_for(choice.data)
    base = DiffusionRecipe.read(which)
    model = {
        **base.model,
        "widths": _widths(base.model["widths"], base.model["attention"], SIZES[choice.size]),
        "objective": choice.objective,
        "schedule": choice.schedule,
    }
    plan = {
        "minutes": choice.minutes,
        "steps": None,
        "rate": base.plan.rate * choice.rate,
        "matrix_rate": base.plan.matrix_rate * choice.rate,
        "seed": choice.seed,
        "threads": threads,
        "save_seconds": _SAVE_SECONDS,
    }
    size = _PICTURES if which == "diffusion-pictures" else None
    return replace(base, model=model, labels=choice.labels).changed(plan, size=size)


def _widths(widths: Sequence[int], looks: Sequence[int], times: float) -> list[int]:
    """As many times the channels, in whole groups, and in whole heads where places look around."""
    units = [32 if level in looks else 8 for level in range(len(widths))]
    return [
        unit * max(1, round(width * times / unit))
        for width, unit in zip(widths, units, strict=True)
    ]


# --- what there is to know of a run ---------------------------------------------------------------


@dataclass(frozen=True)
class About:
    """What was chosen for a run, and why."""

    name: str
    made: str  # when, in ISO's form
    choice: Choice
    device: str = "auto"
    like: str = ""  # the run that it is a change of
    changed: str = ""  # which field of the choice is another
    guess: str = ""  # what the person expected of that


@dataclass(frozen=True)
class Status:
    """What a run does at this moment."""

    state: State
    asked: Want | Literal[""] = ""  # what it has been asked for, and does not do yet
    error: str = ""  # why it failed; it may name files of this machine
    kind: str = ""  # which of `mmfm.errors` that was
    done: int = 0  # pictures read, or bytes that have come,
    total: int = 0  # of so many
    notes: tuple[str, ...] = ()  # for a person: threads, precision
    left_out: int = 0  # pictures that could not be read
    step: int = 0
    loss: float = math.nan
    speed: float = 0.0  # pictures a second
    seconds: float = 0.0  # trained so far
    minutes: float = 1.0  # of so many

    @property
    def progress(self) -> float:
        """How much is done, from 0 to 1."""
        return 1.0 if self.state == "finished" else min(1.0, self.seconds / (60 * self.minutes))

    @property
    def left(self) -> float:
        """Seconds of training that are left."""
        return 0.0 if self.state == "finished" else max(0.0, 60 * self.minutes - self.seconds)


Point = tuple[int, float, float, float]  # step, loss, pictures a second, seconds


@dataclass(frozen=True)
class Curve:
    """What has come to a curve since one looked last."""

    points: list[Point]
    at: tuple[str, int]  # to be handed in at the next look
    anew: bool  # the points begin at the beginning: those from before are no longer true


@dataclass(frozen=True)
class Sheets:
    """How the pictures that a run has drawn are laid out, and after which steps there are some."""

    side: int
    channels: int
    columns: int
    labels: tuple[str, ...]  # what each column shows; none where the data has no labels
    steps: tuple[int, ...]
    kept: tuple[int, ...]  # after which of them the model is kept


# --- all runs -------------------------------------------------------------------------------------


def default_runs() -> Path:
    """Where runs are kept: in MMFM_RUNS, else in the user's data folder."""
    if folder := os.environ.get("MMFM_RUNS"):
        return Path(folder).expanduser()
    import platformdirs

    return platformdirs.user_data_path("mmfm") / "runs"


class Studio:
    """The runs in a folder, and the processes that train them: one at a time."""

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = (default_runs() if folder is None else Path(folder).expanduser()).absolute()
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def names(self) -> list[str]:
        """The runs that there are, the last one first; some may be half there (see `about`)."""
        if not self.folder.is_dir():
            return []
        with os.scandir(self.folder) as entries:
            found = [
                entry.name
                for entry in entries
                if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
        made = {name: _made(self.folder / name) for name in found}
        return sorted(made, key=lambda name: (made[name], name), reverse=True)

    def about(self, name: str) -> About:
        """What was chosen for a run."""
        folder = self._folder(name)
        told = read_json(folder / "studio.json")
        if told is None:
            raise BadRun(f"{name} is half there: its studio.json is missing or damaged; remove it")
        try:
            texts = {key: str(told[key]) for key in ("made", "device", "like", "changed", "guess")}
            return About(name=name, choice=Choice.of(told["choice"]), **texts)
        except (KeyError, BadInput) as error:
            raise BadRun(f"{name} was made by another version ({error}); remove it") from error

    def status(self, name: str) -> Status:
        """What a run does, found out from its files: the process is asked nothing."""
        folder, about = self._folder(name), self.about(name)
        told, wish = _state_in(folder), wish_in(folder)
        alive = _is_held(folder / ".lock")
        if (child := self._children.get(name)) is not None:
            child.poll()  # so that the system can forget one that has ended
        state = self._state(name, told, wish, alive)
        error, kind = str(told.get("error", "")), str(told.get("kind", ""))
        if state == "interrupted" and shutil.disk_usage(folder).free < _TIGHT:
            state, kind = "failed", "OutOfSpace"
            error = "no space left on the disk of the runs; the last checkpoint is intact"
        elif state == "interrupted":
            error = _last_words(folder / "process.log")
        reached = [_last(folder / "live.jsonl") or (0, math.nan, 0.0, 0.0)]
        if not alive:  # a terminal may have gone on with it, or does so now
            reached.append(_last_of_run(folder / "run" / "metrics.jsonl") or reached[0])
        step, loss, speed, seconds = max(reached, key=itemgetter(0))
        counts = [told.get(key, 0) for key in ("done", "total")]
        return Status(
            state=state,
            asked=wish.want if alive and wish.turn != told.get("turn") else "",
            error=error,
            kind=kind,
            done=counts[0] if state == "loading" else 0,
            total=counts[1] if state == "loading" else 0,
            notes=tuple(told.get("notes", ())),
            left_out=told.get("left_out", 0),
            step=step,
            loss=loss,
            speed=speed,
            seconds=seconds,
            minutes=about.choice.minutes,
        )

    def _state(self, name: str, told: Mapping[str, Any], wish: "Wish", alive: bool) -> State:
        """What its process says that it does, if there is one."""
        said = cast(State, told.get("state", "stopped"))
        if alive:
            return said
        if said == "starting" and wish.want != "stop" and self._may_start(name, told):
            return "starting"
        if _is_held(self.folder / name / "run" / ".lock"):
            return "elsewhere"
        if said in (*ACTIVE, "paused"):
            return "stopped" if said == "paused" or wish.want == "stop" else "interrupted"
        return said

    def _may_start(self, name: str, told: Mapping[str, Any]) -> bool:
        """Whether a process that has not taken its lock yet is still on its way."""
        child = self._children.get(name)
        if child is not None and child.poll() is not None:
            return False
        return 0 <= time.time() - told.get("since", 0) < START_SECONDS

    def training(self) -> str | None:
        """The run that trains now, or is about to."""
        for name in self.names():
            with contextlib.suppress(BadRun, NotHere):
                if self.status(name).state in ACTIVE:
                    return name
        return None

    # --- what a person does -----------------------------------------------------------------------

    def start(
        self,
        choice: Choice,
        *,
        device: str = "auto",
        like: str = "",
        changed: str = "",
        guess: str = "",
        instead: bool = False,
    ) -> str:
        """Begin a run, whose name is the answer; `instead` of one that trains, which is paused."""
        with self._desk():
            self._make_way(instead=instead)
            if len(self.names()) >= MOST_RUNS:
                raise TooManyRuns(
                    f"{MOST_RUNS} runs are kept here; remove some that are not needed"
                )
            if shutil.disk_usage(self.folder).free < _LEAST_ROOM:
                least = _LEAST_ROOM // 1_000_000
                raise OutOfSpace(f"less than {least} MB are free on the disk; remove some runs")
            name = self._make_folder(choice)
            made = datetime.datetime.now().astimezone().isoformat()
            about = About(name, made, choice, device, like, changed, guess)
            try:
                write_json(self.folder / name / "studio.json", asdict(about))
                self._send(name, "train")
            except BaseException:
                shutil.rmtree(self.folder / name)
                raise
        return name

    def pause(self, name: str) -> None:
        """Have a run rest; it goes on at once when it is asked to."""
        if self._lives(name):
            _write_wish(self._folder(name), "pause")

    def stop(self, name: str) -> None:
        """End the process of a run; all that it has learned is kept, and it can be gone on with."""
        folder = self._folder(name)
        state = self.status(name).state
        _write_wish(folder, "stop")
        told = read_json(folder / "state.json") or {}
        if state == "starting" and type(told.get("pid")) is int:
            # It has read nothing and begun nothing, and would first import for some seconds.
            with contextlib.suppress(OSError):
                os.kill(told["pid"], signal.SIGTERM)
        elif state == "interrupted":
            write_json(folder / "state.json", {**told, "state": "stopped"})

    def go_on(self, name: str, *, steps: int | None = None, instead: bool = False) -> None:
        """Go on with a run that rests, was stopped or was interrupted; for so many steps."""
        if steps is not None and (type(steps) is not int or not 1 <= steps <= MOST_STEPS):
            raise BadInput(f"{steps!r:.40} steps: a whole number from 1 to {MOST_STEPS}")
        with self._desk():
            self._leave_alone(name)
            if self.status(name).state == "finished":
                raise BadInput(f"{name} has come to its end; give it more minutes, and it goes on")
            self._make_way(name, instead=instead)
            self._send(name, "train", steps)

    def lengthen(self, name: str, minutes: float, *, instead: bool = False) -> None:
        """Go on with a run until it has been trained for so many minutes in all."""
        about, status = self.about(name), self.status(name)
        choice = replace(about.choice, minutes=minutes)
        if 60 * choice.minutes <= status.seconds:
            raise BadInput(
                f"{name} has been trained for {status.seconds / 60:.1f} minutes; name more than "
                "these"
            )
        with self._desk():
            self._leave_alone(name)
            if self._lives(name) and self.status(name).state in ACTIVE:
                raise InUse(f"{name} is training; pause it first")
            self._make_way(name, instead=instead)
            told = read_json(self._folder(name) / "studio.json") or {}
            write_json(self._folder(name) / "studio.json", {**told, "choice": asdict(choice)})
            self._send(name, "train")

    def remove(self, name: str) -> None:
        """Delete a run with all that it has learned."""
        folder = self._folder(name)
        with self._desk():
            if self._lives(name) or _is_held(folder / "run" / ".lock"):
                raise InUse(f"{name} has a process at work; stop it first")
            # Out of sight at once: what is half deleted is no run.
            gone = self.folder / f".gone-{secrets.token_hex(6)}"
            folder.rename(gone)
            shutil.rmtree(gone)

    # --- what it has made -------------------------------------------------------------------------

    def curve(self, name: str, at: tuple[str, int] | None = None) -> Curve:
        """The points that have come to the curve since `at`."""
        try:
            with (self._folder(name) / "live.jsonl").open("rb") as file:
                line = file.readline()
                mark = line.decode(errors="replace").strip()
                first = file.tell()
                same = at is not None and at[0] == mark and at[1] >= first
                file.seek(at[1] if at is not None and same else first)
                begin, data = file.tell(), file.read()
        except FileNotFoundError:
            return Curve([], ("", 0), anew=at is not None and at[0] != "")
        whole = data[: data.rfind(b"\n") + 1]  # the last line may be on its way
        points = points_in(whole)
        if not same:
            points = thinned(points)
        return Curve(points, (mark, begin + len(whole)), anew=not same)

    def sheets(self, name: str) -> Sheets | None:
        """Which pictures there are to look at; None while there is not even a run."""
        run = self._folder(name) / "run"
        told = read_json(run / "run.json")
        if told is None:
            return None
        try:
            side, channels = int(told["pictures"]["side"]), int(told["pictures"]["channels"])
            labels = tuple(map(str, told["columns"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BadRun(f"{name}: its run.json is of another version ({error})") from error
        found = sorted(int(p.stem) for p in (run / "grids").glob("*.png") if p.stem.isdecimal())
        kept = sorted(
            int(path.parent.name)
            for path in (run / "snapshots").glob("*/model.safetensors")
            if path.parent.name.isdecimal()
        )
        return Sheets(side, channels, len(labels) or 10, labels, tuple(found), tuple(kept))

    def sheet(self, name: str, step: int) -> bytes:
        """What a run drew after this step, as a PNG file."""
        path = self._folder(name) / "run" / "grids" / f"{step:06}.png"
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise NotHere(f"{name} has drawn nothing after step {step}") from error

    def model(self, name: str, step: int) -> tuple[int, Path]:
        """The model as it was after this step, or what is kept nearest before it: (step, where)."""
        sheets = self.sheets(name)
        if sheets is None or not sheets.kept:
            raise NotHere(f"{name} has not kept a model yet; wait for its first pictures")
        kept = max((s for s in sheets.kept if s <= step), default=sheets.kept[0])
        return kept, self._folder(name) / "run" / "snapshots" / f"{kept:06}"

    # --- how --------------------------------------------------------------------------------------

    def _folder(self, name: str) -> Path:
        given: Any = name  # a stranger may have sent it
        folder = self.folder / name if isinstance(given, str) and _NAME.fullmatch(name) else None
        if folder is None or not folder.is_dir():
            there = ", ".join(self.names()[:8]) or "none"
            raise NotHere(f"no run {name!r:.40}; there are: {there}")
        return folder

    @contextlib.contextmanager
    def _desk(self) -> Generator[None]:
        """Of several servers that would begin something, one at a time does."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".desk.lock").acquire(timeout=10):
                yield
        except Timeout as error:
            raise InUse(
                "another process is at work in the folder of the runs; try again"
            ) from error
        except OSError as error:
            if error.errno in FULL:
                raise OutOfSpace("no space left on the disk of the runs") from error
            raise BadInput(
                f"the folder of the runs cannot be written ({error.strerror}); set MMFM_RUNS to "
                "one that can"
            ) from error

    def _leave_alone(self, name: str) -> None:
        """Refuse to train where a process does that is none of ours."""
        if self.status(name).state == "elsewhere":
            raise InUse(f"{name}: another process is training there; wait until it has ended")

    def _make_way(self, name: str = "", *, instead: bool) -> None:
        other = self.training()
        if other is None or other == name:
            return
        if not instead:
            raise InUse(f"{other} is training; pause it first, or let it come to its end")
        self.pause(other)

    def _end_resting(self, name: str) -> None:
        """Of those that rest in memory keep the last one: each of them has a model and its data."""
        resting = [other for other in self.names() if other != name and self._rests(other)]
        for other in sorted(resting, key=lambda one: wish_in(self.folder / one).turn)[:-1]:
            self.stop(other)

    def _rests(self, name: str) -> bool:
        """Whether a run has a process that does not train, or has been asked not to."""
        try:
            now = self.status(name)
        except (BadRun, NotHere):
            return False
        return now.asked == "pause" or (now.state == "paused" and not now.asked)

    def _make_folder(self, choice: Choice) -> str:
        word = choice.data if choice.data in ("mnist", "fashion", "digits") else "folder"
        taken = [int(name.rpartition("-")[2]) for name in self.names()]
        name = f"{word}-{max(taken, default=0) + 1}"
        (self.folder / name).mkdir()
        return name

    def _lives(self, name: str) -> bool:
        if _is_held(self._folder(name) / ".lock"):
            return True
        with contextlib.suppress(BadRun):  # of one that is half there, nothing starts
            return self.status(name).state == "starting"
        return False

    def _send(self, name: str, want: Want, steps: int | None = None) -> None:
        """Say to the process of a run what is wanted; if there is none, make one."""
        folder = self._folder(name)
        self._end_resting(name)
        ending = time.monotonic() + START_SECONDS
        while self._lives(name):
            if self.status(name).state in (*ACTIVE, "paused"):
                _write_wish(folder, want, steps)
                return
            if time.monotonic() > ending:
                raise InUse(f"{name}: its last process does not come to its end; try again later")
            time.sleep(0.02)  # it has said that it ends, and does not listen any more
        _write_wish(folder, want, steps)
        with (folder / "process.log").open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "mmfm.tasks.studio_process", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the server; the training goes on without it.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        self._children[name] = child
        starting = {"state": "starting", "since": time.time(), "pid": child.pid}
        write_json(folder / "state.json", starting | {"turn": wish_in(folder).turn})


@dataclass(frozen=True)
class Wish:
    want: Want
    turn: int  # no two wishes have the same
    steps: int | None = None


def wish_in(folder: Path) -> Wish:
    """What is wanted of a run; refused where it can't be understood."""
    told = read_json(folder / "wish.json") or {}
    wish = Wish(told.get("want", "pause"), told.get("turn", 0), told.get("steps"))
    steps: Any = wish.steps
    if (
        wish.want not in get_args(Want)
        or not _is_count(wish.turn)
        or not (steps is None or _is_count(steps))
    ):
        raise BadRun(f"{folder.name}: its wish.json is of another version; remove it")
    return wish


def _write_wish(folder: Path, want: Want, steps: int | None = None) -> None:
    turn = max(time.time_ns(), wish_in(folder).turn + 1)
    write_json(folder / "wish.json", {"want": want, "turn": turn, "steps": steps})


def _state_in(folder: Path) -> dict[str, Any]:
    """What state.json says; refused where it can't be understood."""
    told = read_json(folder / "state.json") or {}
    for name, fits in _SAID.items():
        if name in told and not fits(told[name]):
            raise BadRun(
                f"{folder.name}: its state.json is of another version ({name} is "
                f"{told[name]!r:.40}); remove it"
            )
    return told


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


_SAID: dict[str, Callable[[object], bool]] = {
    "state": lambda value: value in get_args(State),
    "since": _is_number,
    "notes": _are_texts,
    **dict.fromkeys(("error", "kind"), lambda value: isinstance(value, str)),
    **dict.fromkeys(("turn", "pid", "done", "total", "left_out"), _is_count),
}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """A file of JSON; None where there is none, or it is damaged."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


def _made(folder: Path) -> float:
    """When a run was begun; of one that is half there, long ago."""
    try:
        made = str((read_json(folder / "studio.json") or {})["made"])
        return datetime.datetime.fromisoformat(made).timestamp()
    except (KeyError, ValueError):
        return 0.0


def _is_held(path: Path) -> bool:
    """Whether some process holds this lock."""
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # the folder has gone meanwhile, or is not ours to write
        return False
    lock.release()
    return False


def _last_words(path: Path) -> str:
    """The error that a process ended with, if it was one that nobody had thought of."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return lines[-1][:300] if lines and re.match(r"[\w.]+(Error|Exception): ", lines[-1]) else ""


def points_in(lines: bytes) -> list[Point]:
    """The points of a curve; refused where a line is none."""
    try:
        points = [json.loads(line) for line in lines.splitlines()]
    except ValueError as error:
        raise BadRun("the curve of a run, its live.jsonl, is damaged; remove it") from error
    if not all(_is_point(point) for point in points):
        raise BadRun("the curve of a run, its live.jsonl, is of another version; remove it")
    return [cast(Point, tuple(point)) for point in points]


def _is_point(value: object) -> bool:
    numbers = isinstance(value, list) and [type(one) in (int, float) for one in value]
    return numbers == [True] * 4


def _last(path: Path) -> Point | None:
    """The last whole line of a curve."""
    lines = _last_lines(path)
    if not lines or not lines[-1].startswith(b"["):  # the first line is a mark
        return None
    return points_in(lines[-1])[0]


def _last_lines(path: Path) -> list[bytes]:
    """Lines at the end of a file, the first of them perhaps cut; no file has none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 512))
            return file.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return []


def _last_of_run(path: Path) -> Point | None:
    """The last step in a training's own figures, if they end as they should."""
    for line in reversed(_last_lines(path)):
        try:
            row = json.loads(line)
            return row["step"], row["loss"], row["examples_per_second"], row["seconds"]
        except (ValueError, KeyError, TypeError):
            continue  # cut, damaged, or not of a step: whoever goes on with the run will say so
    return None


def thinned(points: list[Point], most: int = _MOST_POINTS) -> list[Point]:
    """Means over equal stretches, so that a long curve is quickly sent."""
    size = -(-len(points) // most)
    if size <= 1:
        return points
    return [mean_of(points[start : start + size]) for start in range(0, len(points), size)]


def mean_of(points: Sequence[Point]) -> Point:
    step, _, _, seconds = points[-1]
    loss, speed = (sum(point[i] for point in points) / len(points) for i in (1, 2))
    return step, loss, speed, seconds
