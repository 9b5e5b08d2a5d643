"""The plane as a picture and as a film, to be taken home."""

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont

from mmfm.data.plane import EDGE

from .denoise_plane_job import Outcome, Result, Walk

SIDE = 288  # pixels of a panel
FINE = 2  # it is drawn so many times as large: edges come out smooth
GAP, FOOT = 14, 46  # pixels between panels, and below them for words
TRAILS = 40  # of the paths are drawn
FRAMES = 25  # of a film, for each direction

PAPER, EDGES, INK, SOFT, GREY = "#ffffff", "#d9dde9", "#171a2b", "#525a75", "#a3a9bd"
COLOURS = ("#4338ca", "#b45309", "#0f766e", "#be185d", "#0369a1", "#4d7c0f")


def moments(result: Result) -> list[float]:
    """The moments of a film: from 0 to 1, and to 2 if the way leads back and there again."""
    ways = 2 if result.wish.back else 1
    return [float(moment) for moment in np.linspace(0, ways, ways * (FRAMES - 1) + 1)]


def sheet(result: Result, moment: float, *, formula: bool) -> Image.Image:
    """All panels at one moment."""
    count = len(result.outcomes)
    columns = min(count, 3 if count != 4 else 2)
    rows = math.ceil(count / columns)
    size = (columns * (SIDE + GAP) + GAP, rows * (SIDE + FOOT + GAP) + GAP)
    picture = Image.new("RGB", (size[0] * FINE, size[1] * FINE), "#f5f6fa")
    draw = ImageDraw.Draw(picture)
    ways = 2 if result.wish.back else 1
    for number, outcome in enumerate(result.outcomes):
        row, column = divmod(number, columns)
        left, top = GAP + column * (SIDE + GAP), GAP + row * (SIDE + FOOT + GAP)
        walk = outcome.exact if formula and outcome.exact is not None else outcome.walk
        _panel(draw, (left * FINE, top * FINE), result, walk, COLOURS[number], moment / ways)
        _words(draw, (left * FINE, (top + SIDE) * FINE), outcome, walk, number, formula=formula)
    return picture.resize(size, Image.Resampling.LANCZOS)


def _panel(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    result: Result,
    walk: Walk,
    colour: str,
    share: float,
) -> None:
    left, top = corner
    side = SIDE * FINE
    draw.rectangle((left, top, left + side, top + side), PAPER, EDGES, FINE)

    def pixels(places: Float[ndarray, "n 2"]) -> list[tuple[float, float]]:
        inside = places.clip(-EDGE, EDGE)
        across = left + (inside[:, 0] / EDGE + 1) / 2 * side
        down = top + (1 - inside[:, 1] / EDGE) / 2 * side
        return list(zip(across.tolist(), down.tolist(), strict=True))

    def dots(places: Float[ndarray, "n 2"], radius: float, fill: str) -> None:
        for x, y in pixels(places):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill)

    dots(result.points.numpy(), 1.8 * FINE, GREY)
    path = walk.path.numpy()  # s n 2
    last = len(path) - 1
    stop = min(int(share * last), last)
    part = share * last - stop
    now = path[stop] if stop == last else path[stop] * (1 - part) + path[stop + 1] * part
    gone = np.concatenate([path[: stop + 1], now[None]])
    for number in range(min(TRAILS, path.shape[1])):
        draw.line(pixels(gone[:, number]), _pale(colour), FINE)
    dots(now, 2.2 * FINE, colour)


def _words(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    outcome: Outcome,
    walk: Walk,
    number: int,
    *,
    formula: bool,
) -> None:
    """What the panel is, in names that are the same in every language."""
    way = outcome.panel.way
    asked = "exact" if outcome.panel.exact or formula else way.objective
    steps = "1 step" if way.steps == 1 else f"{way.steps} steps"
    lines = [
        (f"{'ABCDEF'[number]}  {way.schedule} · {asked} · {way.sampler} · {steps}", INK),
        (f"energy distance {walk.distance:.3f}", SOFT),
    ]
    font = ImageFont.load_default(13 * FINE)
    left, top = corner
    for row, (line, fill) in enumerate(lines):
        draw.text((left, top + (5 + 19 * row) * FINE), line, fill, font)


def _pale(colour: str) -> tuple[int, ...]:
    """A colour mixed with much of the paper's."""
    return tuple(round(0.3 * int(colour[at : at + 2], 16) + 0.7 * 255) for at in (1, 3, 5))
