"""The drawings that Photos shows to whoever has allowed no folder, and what to ask about them."""

from pathlib import Path

from PIL import Image

from mmfm.data import shapes
from mmfm.data.shapes import Kind

OPENING = {
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
}


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
