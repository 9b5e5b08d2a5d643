"""What is asked of the plane: by a browser, by a script, by a picture that was saved.

Each of them may have been written by a stranger, so that all of it is read in one place.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from mmfm.data import plane
from mmfm.data.plane import SHAPES
from mmfm.errors import BadInput
from mmfm.tasks.plane import Way

KIND = "plane"  # of a picture that was saved here
YOURS = "yours"  # the name of points that a visitor drew

LEAST_POINTS, MOST_POINTS = 3, 400
MOST_PANELS = 6
MOST_SEED = 9999


@dataclass(frozen=True)
class Panel:
    """One of several ways that are looked at side by side."""

    way: Way
    exact: bool = False  # whether a formula answers and no network

    @property
    def lesson(self) -> tuple[str, str] | None:
        """What a network has to be taught for it: two panels may share one."""
        return None if self.exact else (self.way.schedule, self.way.objective)


@dataclass(frozen=True)
class Wish:
    """Which points, and which ways to them."""

    shape: str
    count: int
    drawn: tuple[tuple[float, float], ...]  # those of a visitor, if the shape is "yours"
    panels: tuple[Panel, ...]
    back: bool  # whether points are led to their noise and back again
    seed: int  # of the noise
    formula: bool  # whether what is shown of all is the exact answer

    @property
    def points(self) -> Float[Tensor, "k 2"]:
        """The points that are to be learned."""
        if self.shape == YOURS:
            return plane.drawn(self.drawn, least=LEAST_POINTS, most=MOST_POINTS)
        return plane.points(self.shape, self.count)

    @property
    def of_points(self) -> tuple[object, ...]:
        """What decides on the points: what was learned of others is of no use."""
        return (self.drawn,) if self.shape == YOURS else (self.shape, self.count)

    def plain(self) -> dict[str, Any]:
        """As it is sent and saved; `as_wish` reads it."""
        panels = [{**asdict(panel.way), "exact": panel.exact} for panel in self.panels]
        return {
            "shape": self.shape,
            "count": self.count,
            "drawn": [list(point) for point in self.drawn],
            "panels": panels,
            "back": self.back,
            "seed": self.seed,
            "formula": self.formula,
        }


def as_wish(given: object) -> Wish:
    """Read a wish; what it does not say is as usual."""
    if not isinstance(given, Mapping):
        raise BadInput(f"a wish is a table with shape and panels, not {given!r:.40}")
    shape = given.get("shape", "moons")
    if not isinstance(shape, str) or shape not in (*SHAPES, YOURS):
        raise BadInput(f"no shape {shape!r:.40}; there are {', '.join(SHAPES)} and {YOURS}")
    drawn: tuple[tuple[float, float], ...] = ()
    if shape == YOURS:
        placed = plane.drawn(given.get("drawn"), least=LEAST_POINTS, most=MOST_POINTS)
        drawn = tuple((round(x, 3), round(y, 3)) for x, y in placed.tolist())
    panels = given.get("panels", [{}])
    if not isinstance(panels, list | tuple) or not 1 <= len(panels) <= MOST_PANELS:
        raise BadInput(f"panels are a list of 1 to {MOST_PANELS} ways, not {panels!r:.40}")
    return Wish(
        shape,
        _whole("count", given.get("count", 120), LEAST_POINTS, MOST_POINTS),
        drawn,
        tuple(_panel(panel) for panel in panels),
        _flag("back", given.get("back", False)),
        _whole("seed", given.get("seed", 0), 0, MOST_SEED),
        _flag("formula", given.get("formula", False)),
    )


def _panel(given: object) -> Panel:
    if not isinstance(given, Mapping):
        raise BadInput(f"a way is a table with schedule, objective, sampler, not {given!r:.40}")
    usual = Way()
    names: dict[str, str] = {}
    for name in ("schedule", "objective", "sampler"):
        value = given.get(name, getattr(usual, name))
        if not isinstance(value, str) or len(value) > 20:
            raise BadInput(f"a {name} is named by a word, not by {value!r:.40}")
        names[name] = value
    steps = given.get("steps", usual.steps)
    if type(steps) is not int:
        raise BadInput(f"steps are a whole number, not {steps!r:.40}")
    return Panel(Way(**names, steps=steps), _flag("exact", given.get("exact", False)))


def _whole(name: str, value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise BadInput(f"{name} is a whole number from {least} to {most}, not {value!r:.40}")
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadInput(f"{name} is true or false, not {value!r:.40}")
    return value
