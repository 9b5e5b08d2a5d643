"""What a training tells as it goes, and what it leaves in its folder for a person to use.

`reports` draws the steps of `train.fit`; at each checkpoint it asks how the averaged model does on
held-out pictures, and puts the model so far and the picture of its loss into the run's folder.
`drawn_reports` does so for a model that draws; what is looked at there are its drawings, and with
`Snapshots` the model as it was lies beside them.
"""

import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from PIL import Image

from mmfm import plot
from mmfm.errors import OutOfSpace
from mmfm.files import whole, write_whole
from mmfm.runs import Run
from mmfm.train import Step

_GLANCE = 1000  # held-out pictures that are enough for a look in between
_SHARE = 0.05  # of the time so far: as much may be spent on looking,
_SHARE_OF_HOURS = 0.02  # and less of a training that takes an hour or more
_HOUR = 3600.0

Scores = dict[str, float]  # shares of right answers by name, what matters most first


@dataclass
class Report:
    """A step, and what the held-out pictures said after it, if they were asked."""

    step: Step
    scores: Scores = field(default_factory=dict[str, float])
    pictures: int = 0  # how many held-out pictures were asked
    skipped: tuple[tuple[str, str], ...] = ()  # with the first step: (which, why) of the unreadable


def reports(
    steps: Generator[Step],
    run: Run,
    *,
    measure: Callable[[int], Scores],
    held_out: int,
    save: Callable[[], None],
    skipped: tuple[tuple[str, str], ...] = (),
) -> Generator[Report]:
    """Follow a training.

    `measure` asks so many of the `held_out` pictures; `save` writes the model into the folder.
    """
    spent_looking, began = 0.0, time.monotonic()
    asked = False
    with _left_with_its_run(steps):
        for step in steps:
            report, skipped, asked = Report(step, skipped=skipped), (), True
            if step.saved and run.writable:
                start = time.monotonic()
                whole_look = step.progress >= 1
                affordable = spent_looking <= _share(step) * (start - began)
                if whole_look or (not step.last and affordable):
                    report.pictures = held_out if whole_look else min(_GLANCE, held_out)
                    report.scores = measure(report.pictures)
                    run.log(step=step.number, **report.scores, pictures=report.pictures)
                _publish(run, save)
                spent_looking += time.monotonic() - start
            yield report
    if not asked and run.writable:
        # Finished already; but a kill may have struck between the last checkpoint and this.
        rows = run.rows()
        if not any(row.get("pictures") == held_out for row in rows[-2:]):
            number = rows[-1]["step"] if rows else 0
            run.log(step=number, **measure(held_out), pictures=held_out)
        _publish(run, save)


def _share(step: Step) -> float:
    return _SHARE_OF_HOURS if step.seconds + step.seconds_left >= _HOUR else _SHARE


@contextmanager
def _left_with_its_run(steps: Generator[Step]) -> Generator[None]:
    """Whoever leaves a training ends it at once, while its run is open and its folder locked."""
    try:
        yield
    except Exception:
        with suppress(OutOfSpace):  # one fault is told: the one for which it is left
            steps.close()
        raise
    finally:
        steps.close()


def _publish(run: Run, save: Callable[[], None]) -> None:
    """Leave in the run folder what a person wants from it: the model so far, and the picture."""
    save()
    losses = [(row["step"], row["loss"]) for row in run.rows() if "loss" in row]
    picture = plot.curve(_thin(losses), x="step", y="loss")
    _write(picture, run.folder / "loss.png")


def _thin(points: list[tuple[float, float]], most: int = 400) -> list[tuple[float, float]]:
    """Averages over equal stretches, so that a long run draws as one readable line."""
    size = max(1, len(points) // most)
    stretches = [points[start : start + size] for start in range(0, len(points), size)]
    return [
        (stretch[-1][0], sum(loss for _, loss in stretch) / len(stretch)) for stretch in stretches
    ]


# --- of a model that draws ------------------------------------------------------------------------

_SHEETS = 40  # of a training, about: a frame each of the film of how it learned
SHARE_DRAWN = 0.04  # of the time that was asked for: as much may be spent on drawing them
_AT_ONCE = 0.2  # of that share may be spent at the very start, where most is learned
_MOST_FRAMES = 120


class Drawings(Protocol):
    """What a model draws from noise that is always the same."""

    def sheet(self) -> Image.Image:
        """The pictures as the model draws them now."""
        ...

    def way(self) -> list[Image.Image]:
        """How they come out of the noise, step by step."""
        ...


def drawn_reports(
    steps: Generator[Step],
    run: Run,
    *,
    drawings: Drawings,
    save: Callable[[], None],
    skipped: tuple[tuple[str, str], ...] = (),
    share: float = SHARE_DRAWN,
    snapshots: "Snapshots | None" = None,
) -> Generator[Report]:
    """Follow the training of a model that draws; its folder tells how it learned.

    grids/000123.png   what it drew after so many steps, from the same noise each time
    learning.gif       these one after the other, made when the training ends or is stopped
    steps.gif          the way from noise to the last of them

    `share` of the time may be spent on drawing. With `snapshots` the weights lie beside each sheet;
    whoever asks for them stops and goes on often, so that the films and the picture of the loss
    are made at the very end only.
    """
    album, asked = _Album(run, drawings, share, snapshots), False
    with _left_with_its_run(steps):
        for step in steps:
            report, skipped = Report(step, skipped=skipped), ()
            if run.writable:
                pictures = snapshots is None or step.progress >= 1
                if not asked:
                    album.begin(step)
                if step.saved:
                    _publish(run, save) if pictures else save()
                if step.last:
                    album.conclude(step.number, films=pictures)
                elif album.due(step):
                    album.add(step)
            asked = True
            yield report
    if not asked and run.writable:
        # Finished already; but a kill may have struck between the last checkpoint and this.
        rows = run.rows()
        _publish(run, save)
        album.conclude(rows[-1]["step"] if rows else 0)


class _Album:
    """The sheets of a run, one after the other, and the films made of them."""

    def __init__(
        self, run: Run, drawings: Drawings, share: float, snapshots: "Snapshots | None"
    ) -> None:
        self.drawings, self.share, self.snapshots = drawings, share, snapshots
        self.folder = run.folder / "grids"
        self.learning, self.way = run.folder / "learning.gif", run.folder / "steps.gif"
        self.next = 0.0  # how much of the training is done when the next sheet is wanted
        self.took = self.spent = 0.0  # seconds: the last sheet, and all of them

    def due(self, step: Step) -> bool:
        """Whether a sheet is wanted now and can be afforded."""
        whole = step.seconds + step.seconds_left
        budget = self.share * whole * (_AT_ONCE + (1 - _AT_ONCE) * step.progress)
        return step.progress >= self.next and self.spent + self.took <= budget

    def add(self, step: Step) -> None:
        """Draw a sheet, by which one sees what this step has come to."""
        start = time.monotonic()
        self._draw(step.number)
        self.took = time.monotonic() - start
        self.spent += self.took
        self._plan(step)

    def begin(self, step: Step) -> None:
        """Take away sheets from this step on: the run goes on from before and draws them again."""
        unwanted = [path for path in self._sheets() if int(path.stem) >= step.number]
        for path in [*unwanted, *self.folder.glob(".*.part")]:  # and what a kill left half written
            path.unlink()
        if self.snapshots is not None:
            self.snapshots.forget(step.number)
        if self._sheets():  # what it draws is known from before
            self._plan(step)

    def _plan(self, step: Step) -> None:
        # More closely at the start, where a step changes more.
        self.next = step.progress + min(1 / _SHEETS, 0.1 / _SHEETS + step.progress / 4)

    def conclude(self, number: int, *, films: bool = True) -> None:
        """Draw what the last step has come to, and make the films."""
        self._draw(number)
        if not films:
            return
        sheets = self._sheets()
        every = -(-len(sheets) // _MOST_FRAMES)
        frames = [_read(path) for path in sheets[::-every][::-1]]  # the last one is among them
        write_whole(self.learning, plot.gif(frames, seconds=0.2, hold=3.0))
        write_whole(self.way, plot.gif(self.drawings.way(), seconds=0.12, hold=3.0))

    def _draw(self, number: int) -> None:
        _write(self.drawings.sheet(), self.folder / f"{number:06}.png")
        if self.snapshots is not None:
            self.snapshots.add(number)

    def _sheets(self) -> list[Path]:
        found = [path for path in self.folder.glob("*.png") if path.stem.isdecimal()]
        return sorted(found, key=lambda path: int(path.stem))


def _write(picture: Image.Image, path: Path) -> None:
    with whole(path) as file:
        picture.save(file, "PNG")


def _read(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.copy()


# --- the model as it was --------------------------------------------------------------------------


class Snapshots:
    """The model as it was at the sheets of a run, in no more room than is granted.

    snapshots/000123/   what it drew grids/000123.png with, as any model is kept

    Where there would be more of them, those go that have the nearest neighbours; the first and the
    last one stay.
    """

    def __init__(self, run: Run, save: Callable[[Path], None], room: int) -> None:
        self.folder, self.save, self.room = run.folder / "snapshots", save, room

    def add(self, number: int) -> None:
        """Keep the model as it is after this step."""
        self.save(self.folder / f"{number:06}")
        kept = snapshots_in(self.folder)
        room = sum(map(_size, kept.values()))
        while room > self.room and len(kept) > 2:
            # Equally far apart in the root of the step: it learns most at the start.
            steps = list(kept)
            gaps = [later**0.5 - earlier**0.5 for earlier, later in pairwise(steps)]
            around = [before + after for before, after in pairwise(gaps)]
            gone = kept.pop(steps[1 + around.index(min(around))])
            room -= _size(gone)
            _remove(gone)

    def forget(self, number: int) -> None:
        """Take away those from this step on: the run goes on from before."""
        whole = snapshots_in(self.folder).values()
        for path in self.folder.glob("[0-9]*"):
            if path not in whole or int(path.name) >= number:  # or what a kill left half written
                shutil.rmtree(path)


def snapshots_in(folder: Path) -> dict[int, Path]:
    """The whole snapshots in a folder, by step, the earliest first."""
    found = [path.parent for path in folder.glob("*/model.safetensors")]
    steps = {int(path.name): path for path in found if path.name.isdecimal()}
    return dict(sorted(steps.items()))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _remove(folder: Path) -> None:
    (folder / "model.safetensors").unlink()  # first: without it, what is left is none
    shutil.rmtree(folder)
