"""What happens on the plane: networks learn while somebody watches, then all ways are walked."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mmfm.diffusion.objectives import Model
from mmfm.machine import torch_threads
from mmfm.tasks import plane
from mmfm.tasks.plane import Taught, Way

from .denoise_plane_asked import Panel, Wish
from .parts import base64_of

TOLD = 0.08  # seconds between two looks at what is being learned
STEPS = plane.STEPS  # of teaching
# Threads. With networks of this size more are no faster; and beside the browser that draws, on two
# cores, they wait for one another longer than they compute.
THREADS = 1
LONGEST = 60.0  # seconds of teaching, after which it stops by itself

DOTS = 200  # that are led out of the noise
QUICK = 8  # steps, at most, while it is watched learning
REACH, ACROSS = 2.7, 15  # how far the arrows' grid reaches, and how many there are in a row
TIMES = tuple(1 - 0.07 * number for number in range(15))  # when arrows are looked at: 1 to 0.02
FEW_TIMES = (1.0, 0.7, 0.4, 0.1)  # while it learns

PLACE, SPEED = 4096, 1024  # numbers are sent as whole ones, so many to one


class Lesson:
    """A network that is taught a few steps at a time."""

    def __init__(self, points: Float[Tensor, "k 2"], way: Way) -> None:
        self._steps = plane.teach(points, way, steps=STEPS)
        self._losses: deque[float] = deque(maxlen=50)
        self.now: Taught = self._step()

    def _step(self) -> Taught:
        now = next(self._steps)
        self._losses.append(now.loss)
        return now

    @property
    def finished(self) -> bool:
        """Whether it has learned what it can."""
        return self.now.step >= self.now.steps

    @property
    def loss(self) -> float:
        """The mean of the last ones: a single one depends on the noise that was drawn."""
        return sum(self._losses) / len(self._losses)

    def go_on(self) -> None:
        """Learn one step more."""
        if not self.finished:
            self.now = self._step()


@dataclass(frozen=True, eq=False)
class Walk:
    """Where a model leads."""

    path: Float[Tensor, "s n 2"]
    field: Float[Tensor, "t g 2"]  # the arrows of every time
    distance: float  # from what comes out to the points
    copies: float  # how many only repeat a point
    returned: float | None  # back: how far from where it began, on average


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out of a panel."""

    panel: Panel
    walk: Walk
    exact: Walk | None  # what the formula gives beside it
    step: int | None = None  # how far the network came,
    steps: int | None = None  # of how many
    curve: tuple[float, ...] = ()  # the distance for each of `plane.NUMBERS` of steps
    needs: int | None = None  # how many it takes to come near


@dataclass(frozen=True, eq=False)
class Result:
    """All panels, and which of them are best."""

    wish: Wish
    points: Float[Tensor, "k 2"]
    outcomes: tuple[Outcome, ...]
    enough: float | None  # the distance that counts as near
    best: dict[str, list[int]]  # by question


@dataclass(eq=False)
class World:
    """What the server remembers of one visitor; it changes in place, as somebody else stops it."""

    lang: str
    wish: Wish | None = None
    points: Float[Tensor, "k 2"] = field(default_factory=lambda: torch.zeros(0, 2))
    lessons: dict[tuple[str, str], Lesson] = field(default_factory=dict[tuple[str, str], Lesson])
    still: dict[Panel, dict[str, Any]] = field(default_factory=dict[Panel, dict[str, Any]])
    stopped: bool = False
    spent: float = 0.0  # seconds of teaching since it began
    result: Result | None = None

    def begin(self, wish: Wish, *, anew: bool = False) -> None:
        """Set out for something else. What was learned of the same points is still of use."""
        if self.wish is None or self.wish.of_points != wish.of_points:
            self.lessons.clear()
            self.points = wish.points
        if anew:
            for panel in wish.panels:
                if panel.lesson is not None:
                    self.lessons.pop(panel.lesson, None)
        self.still.clear()
        self.wish, self.stopped, self.spent, self.result = wish, False, 0.0, None

    def watch(self, seconds: float) -> Iterator[list[dict[str, Any]]]:
        """Teach for a while and show how far all panels have come."""
        if self.wish is None:
            return
        until = time.monotonic() + seconds
        showing = 0.0
        while not self.is_over and time.monotonic() < until:
            # Between two looks a thread of the server's may change, so it is said anew.
            with torch_threads(THREADS):
                began = time.monotonic()
                # Where showing takes long, it is done more rarely: half of the time is learning's.
                teaching = max(TOLD - showing, showing)
                while not self.is_over and time.monotonic() < began + teaching:
                    # By turns, so that all of them are seen learning at once.
                    for lesson in self._learning():
                        lesson.go_on()
                shown = time.monotonic()
                self.spent += shown - began
                panels = self._seen(self.wish)
                showing = time.monotonic() - shown
            yield panels

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be learned, or somebody has stopped it."""
        return (
            self.stopped or self.spent > LONGEST or all(each.finished for each in self._learning())
        )

    @property
    def is_finished(self) -> bool:
        """Whether all that was to be learned has been."""
        return all(lesson.finished for lesson in self._learning())

    def conclude(self) -> Result:
        """Walk all ways, as well as it is known by now."""
        wish, points = self.wish, self.points
        if wish is None:
            raise LookupError("there is nothing to conclude")
        whole = self.is_finished
        with torch_threads(THREADS):
            outcomes = [self._outcome(panel, wish, compared=whole) for panel in wish.panels]
        enough = None
        if whole and not wish.back:
            curves = [outcome.curve for outcome in outcomes]
            enough = plane.near_enough(curves)
            needs = plane.needed(curves)
            outcomes = [
                replace(outcome, needs=need) for outcome, need in zip(outcomes, needs, strict=True)
            ]
        best = best_of(outcomes, back=wish.back) if whole else {}
        self.result = Result(wish, points, tuple(outcomes), enough, best)
        return self.result

    def _learning(self) -> list[Lesson]:
        """The lessons that the panels need, each once; what is missing is begun."""
        if self.wish is None:
            return []
        found: dict[tuple[str, str], Lesson] = {}
        for panel in self.wish.panels:
            if panel.lesson is not None and panel.lesson not in found:
                if panel.lesson not in self.lessons:
                    self.lessons[panel.lesson] = Lesson(self.points, panel.way)
                found[panel.lesson] = self.lessons[panel.lesson]
        return list(found.values())

    def _model(self, panel: Panel) -> Model:
        if panel.lesson is None:
            return plane.exact(self.points, panel.way)
        return self.lessons[panel.lesson].now.model

    def _seen(self, wish: Wish) -> list[dict[str, Any]]:
        """What the panels show while their networks learn."""
        fields: dict[tuple[str, str], str] = {}  # one network sends all who follow it the same way

        def looked_at(panel: Panel) -> dict[str, Any]:
            model = self._model(panel)
            way = replace(panel.way, steps=min(panel.way.steps, QUICK))
            dots = packed(plane.paths(model, way, count=DOTS, seed=wish.seed)[-1], PLACE)
            if panel.lesson is None:
                return {"dots": dots, "field": packed(arrows(model, way, FEW_TIMES), SPEED)}
            if panel.lesson not in fields:
                fields[panel.lesson] = packed(arrows(model, way, FEW_TIMES), SPEED)
            learned = self.lessons[panel.lesson]
            said = {"step": learned.now.step, "of": learned.now.steps, "loss": learned.loss}
            return {"dots": dots, "field": fields[panel.lesson], **said}

        for panel in wish.panels:  # a formula learns nothing
            if panel.lesson is None and panel not in self.still:
                self.still[panel] = looked_at(panel)
        return [self.still.get(panel) or looked_at(panel) for panel in wish.panels]

    def _outcome(self, panel: Panel, wish: Wish, *, compared: bool) -> Outcome:
        model = self._model(panel)
        walk = self._walk(model, panel.way, wish)
        beside = curve = None
        if not panel.exact:
            beside = self._walk(plane.exact(self.points, panel.way), panel.way, wish)
        if compared and not wish.back:
            curve = plane.distances(model, panel.way, self.points, count=DOTS, seed=wish.seed)
        lesson = None if panel.lesson is None else self.lessons[panel.lesson].now
        return Outcome(
            panel,
            walk,
            beside,
            lesson.step if lesson else None,
            lesson.steps if lesson else None,
            curve or (),
        )

    def _walk(self, model: Model, way: Way, wish: Wish) -> Walk:
        if wish.back:
            path = plane.there_and_back(model, way, self.points[:DOTS], seed=wish.seed)
            returned = (path[-1] - path[0]).norm(dim=1).mean().item()
        else:
            path = plane.paths(model, way, count=DOTS, seed=wish.seed)
            returned = None
        return Walk(
            path,
            arrows(model, way, TIMES),
            plane.energy_distance(path[-1], self.points),
            plane.copies(path[-1], self.points),
            returned,
        )


def best_of(outcomes: Sequence[Outcome], *, back: bool) -> dict[str, list[int]]:
    """Which panels do best at what may be asked about them; several, if they are about equal."""
    walks = [outcome.walk for outcome in outcomes]
    if back:
        returned = [walk.returned or 0.0 for walk in walks]
        least = min(returned)
        return {"back": [at for at, far in enumerate(returned) if far <= 1.25 * least + 0.02]}
    distances, copies = [walk.distance for walk in walks], [walk.copies for walk in walks]
    needs = [outcome.needs for outcome in outcomes]
    fewest = min((need for need in needs if need is not None), default=None)
    return {
        "steps": [at for at, need in enumerate(needs) if need == fewest and need is not None],
        "near": [at for at, far in enumerate(distances) if far <= 1.25 * min(distances) + 0.002],
        "copies": [at for at, share in enumerate(copies) if share >= max(copies) - 0.1],
    }


# --- what the browser is sent ---------------------------------------------------------------------


def grid() -> Float[Tensor, "g 2"]:
    """Where the arrows stand, row by row from the lowest."""
    ticks = np.linspace(-REACH, REACH, ACROSS)
    return torch.tensor([(x, y) for y, x in product(ticks, ticks)], dtype=torch.float32)


def arrows(model: Model, way: Way, times: Sequence[float]) -> Float[Tensor, "t g 2"]:
    """Where the model sends what stands on the grid, at each of these times."""
    places = grid()
    return torch.stack([plane.field(model, way, places, t) for t in times])


def packed(values: Float[Tensor, "*any"], scale: int) -> str:
    """Numbers as whole ones of two bytes; what is too large for them lies off the paper anyway."""
    whole = (values.nan_to_num() * scale).round().clamp(-32767, 32767)
    return base64_of(whole.numpy().astype("<i2"))


def result_data(result: Result) -> dict[str, Any]:
    """What the browser draws from."""
    return {
        "panels": [_outcome_data(outcome) for outcome in result.outcomes],
        "enough": result.enough,
        "best": result.best,
        "back": result.wish.back,
    }


def _outcome_data(outcome: Outcome) -> dict[str, Any]:
    return {
        **_walk_data(outcome.walk),
        "exact": None if outcome.exact is None else _walk_data(outcome.exact),
        "step": outcome.step,
        "of": outcome.steps,
        "curve": [round(far, 5) for far in outcome.curve],
        "needs": outcome.needs,
    }


def _walk_data(walk: Walk) -> dict[str, Any]:
    return {
        "path": packed(walk.path, PLACE),
        "stops": len(walk.path),
        "field": packed(walk.field, SPEED),
        "distance": round(walk.distance, 5),
        "copies": round(walk.copies, 4),
        "returned": None if walk.returned is None else round(walk.returned, 5),
    }
