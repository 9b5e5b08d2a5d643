"""Points on a plane: the smallest pictures there are, two numbers each.

    points   of a shape that has a name, the same ones for the same seed
    drawn    those that a person has put on paper, held against what is possible

They lie around 0, spread about as far as noise does, and stay between -EDGE and EDGE.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from mmfm.data.draws import normal, uniform
from mmfm.errors import BadInput

EDGE = 3.0  # how far the paper reaches

_LOTS, _SHAKE = 20, 21  # streams of draws: where on a shape, and how far beside it

Lots = Float32[Tensor, "n 2"]  # numbers from 0 to 1
Places = Float32[Tensor, "n 2"]


def _moons(lots: Lots) -> Places:
    """Two half circles that reach into each other."""
    side = torch.where(lots[:, 0] < 0.5, 1.0, -1.0)
    angle = math.pi * lots[:, 1]
    return 1.2 * torch.stack([side * (angle.cos() - 0.5), side * (angle.sin() - 0.25)], dim=1)


def _spiral(lots: Lots) -> Places:
    """A line that winds outwards, one and a half turns."""
    turned = (0.03 + 0.97 * lots[:, 0]).sqrt()  # the longer the radius, the more points
    wound = 1.9 * turned[:, None] * _circle(1.5 * turned)
    return wound - torch.tensor([-0.1, 0.4])  # the last half turn has more of the points


def _rings(lots: Lots) -> Places:
    """A circle around a circle."""
    radius = torch.where(lots[:, 0] < 0.7, 1.75, 0.75)
    return radius[:, None] * _circle(lots[:, 1])


def _checkerboard(lots: Lots) -> Places:
    """The dark squares of a board of four by four."""
    square = (8 * lots[:, 0]).floor()
    row, odd = (square / 2).floor(), square % 2
    inside = 8 * lots[:, 0] - square  # which part of the square the lot hit says how far across
    across = 2 * odd + row % 2 + inside
    return 0.9 * (torch.stack([across, row + lots[:, 1]], dim=1) - 2)


def _clusters(lots: Lots) -> Places:
    """Six heaps around a circle."""
    return 1.6 * _circle((6 * lots[:, 0]).floor() / 6)


def _letter(lots: Lots) -> Places:
    """An M, in four strokes."""
    corners = torch.tensor([[-1.4, -1.5], [-1.4, 1.5], [0.0, -0.4], [1.4, 1.5], [1.4, -1.5]])
    strokes = corners.diff(dim=0)
    ends = strokes.norm(dim=1).cumsum(dim=0)
    along = lots[:, 0] * ends[-1]
    stroke = torch.searchsorted(ends, along).clamp(max=len(strokes) - 1)
    left = (ends[stroke] - along) / strokes[stroke].norm(dim=1)
    return corners[stroke + 1] - left[:, None] * strokes[stroke]


# A shape, and how far its points lie beside it.
SHAPES: dict[str, tuple[Callable[[Lots], Places], float]] = {
    "moons": (_moons, 0.07),
    "spiral": (_spiral, 0.05),
    "rings": (_rings, 0.05),
    "checkerboard": (_checkerboard, 0.0),
    "clusters": (_clusters, 0.13),
    "letter": (_letter, 0.05),
}


def points(shape: str, count: int, seed: int = 0) -> Places:
    """Draw points of a shape. More of them leave the first ones where they are."""
    if shape not in SHAPES:
        raise BadInput(f"no shape {shape!r}; there are {', '.join(SHAPES)}")
    if count < 1:
        raise BadInput(f"a shape of {count} points; ask for one at least")
    place, beside = SHAPES[shape]
    index = torch.arange(count)
    shake = normal(seed, 0, index, 2, stream=_SHAKE)
    return place(uniform(seed, 0, index, 2, stream=_LOTS)) + beside * shake


def drawn(given: object, *, least: int, most: int) -> Places:
    """Points as a stranger may send them: pairs of numbers that lie on the paper."""
    if not isinstance(given, list | tuple):
        raise BadInput(f"points are a list of pairs, not {given!r:.40}")
    if not least <= len(given) <= most:
        raise BadInput(f"{len(given)} points; draw {least} to {most} of them")
    return torch.tensor([_pair(point) for point in given], dtype=torch.float32)


def _pair(point: object) -> tuple[float, float]:
    match point:
        case [int() | float() as x, int() | float() as y] if (
            # NaN lies nowhere, and True is a number to Python only.
            abs(x) <= EDGE
            and abs(y) <= EDGE
            and not isinstance(x, bool)
            and not isinstance(y, bool)
        ):
            return float(x), float(y)
        case _:
            raise BadInput(f"a point is two numbers from {-EDGE:g} to {EDGE:g}, not {point!r:.40}")


def _circle(turns: Float[Tensor, " n"]) -> Places:
    angle = 2 * math.pi * turns
    return torch.stack([angle.cos(), angle.sin()], dim=1)
