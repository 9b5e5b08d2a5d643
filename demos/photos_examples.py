"""The pictures that Photos shows to whoever has allowed no folder, and what to ask about them."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mmfm.data import shapes
from mmfm.data.shapes import Kind

from .parts import examples

PARTS = 6  # that are cut out of each photograph


@dataclass(frozen=True)
class Examples:
    """Pictures that a model knows something about, and what is asked of them at first."""

    name: str  # of their folder
    make: Callable[[Path], None]
    note: str  # under which key a page says what they are
    opening: Mapping[str, Mapping[str, str]]  # in each language


def examples_for(model: str) -> Examples:
    """What to show to a model; shapes and their colours are what most models know."""
    return PHOTOGRAPHS if model == "clip-nano" else SHAPES


def draw_examples(folder: Path) -> None:
    """Draw pictures of one shape, and of two, about which there is more doubt."""
    wanted: tuple[tuple[str, Kind, int], ...] = (("one", "seen", 60), ("two", "two", 24))
    for name, kind, count in wanted:
        here = folder / name
        here.mkdir(parents=True)
        several = shapes.scenes(kind, count, 5)
        for number, (scene, drawing) in enumerate(
            zip(several, shapes.draw(several, 224, seed=5), strict=True), 1
        ):
            said = "-and-".join(f"{shape.colour}-{shape.form}" for shape in scene.objects)
            Image.fromarray(drawing.numpy()).save(
                here / f"{number:02d}-{said}.png", compress_level=1
            )


def cut_examples(folder: Path) -> None:
    """Put photographs there, and squares cut out of them, about which there is more doubt."""
    whole, parts = folder / "whole", folder / "parts"
    for here in (whole, parts):
        here.mkdir(parents=True)
    lots = random.Random(5)
    for name in ("cat", "astronaut", "rocket", "coffee"):
        if name not in examples():
            continue
        photograph = examples()[name]
        photograph.save(whole / f"{name}.jpg", quality=90)
        for number in range(1, PARTS + 1):
            side = round(min(photograph.size) * lots.uniform(0.5, 0.9))
            x = lots.randint(0, photograph.width - side)
            y = lots.randint(0, photograph.height - side)
            part = photograph.crop((x, y, x + side, y + side))
            part.save(parts / f"{name}-{number}.jpg", quality=90)


SHAPES = Examples(
    "shapes",
    draw_examples,
    "examples_note",
    {
        "en": {
            "text": "a pink heart",
            "minus": "",
            "labels": "circle, square, triangle, star, heart, cross, ring, crescent",
        },
        "ko": {
            "text": "분홍색 하트",
            "minus": "",
            "labels": "원, 사각형, 삼각형, 별, 하트, 십자가, 고리, 초승달",
        },
    },
)
PHOTOGRAPHS = Examples(
    "photographs",
    cut_examples,
    "examples_note_photographs",
    {
        "en": {
            "text": "a cat",
            "minus": "",
            "labels": "cat, astronaut, rocket, cup of coffee",
        },
        "ko": {
            "text": "고양이",
            "minus": "",
            "labels": "고양이, 우주비행사, 로켓, 커피 한 잔",
        },
    },
)
