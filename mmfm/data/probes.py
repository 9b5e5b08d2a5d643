"""Pictures that every installation has, to try a model out on: photographs and drawings.

The photographs lie in the packages of scikit-image and scikit-learn, so nothing is fetched; each
gives three crops, from near and far. The drawings fill up what a package of another version lacks.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from mmfm.data.pictures import open_picture
from mmfm.data.shapes import draw, scenes

PROBES = 64  # pictures
_SIDE = 256  # pixels: enough for a tower of 224
_SEED = 20_26

# Where they lie within a package, and their names. Colour and grey; things, faces, textures, the
# sky, a page, cells: what a model may meet.
_PHOTOGRAPHS = {
    "skimage/data": (
        "astronaut.png",
        "brick.png",
        "camera.png",
        "chelsea.png",
        "coffee.png",
        "coins.png",
        "grass.png",
        "gravel.png",
        "hubble_deep_field.jpg",
        "ihc.png",
        "moon.png",
        "page.png",
        "retina.jpg",
        "rocket.jpg",
    ),
    "sklearn/datasets/images": ("china.jpg", "flower.jpg"),
}
# What a crop leaves off on the left, at the top, on the right, at the bottom, as shares of a side.
_CROPS = ((0.0, 0.0, 0.0, 0.0), (0.05, 0.1, 0.45, 0.35), (0.4, 0.3, 0.1, 0.1))

# Sentences that tell these pictures apart, for a model to choose from.
TEXTS = (
    "a photo of a cat",
    "a photo of an astronaut",
    "a cup of coffee",
    "a rocket before its launch",
    "a flower",
    "a temple in China",
    "a brick wall",
    "grass",
    "coins",
    "stars in the sky",
    "a printed page",
    "a drawing of a red circle",
    "a drawing of a blue star",
    "a drawing of a green triangle",
    "a drawing of a yellow square",
    "a drawing of a black heart",
)


def probes() -> list[Image.Image]:
    """The pictures, always in the same order: crops of photographs, then drawings."""
    photographs = list(_crops())
    count = max(PROBES - len(photographs), PROBES // 4)
    drawings = [
        Image.fromarray(pixels.numpy())
        for pixels in draw(scenes("training", count, _SEED), _SIDE, seed=_SEED)
    ]
    return photographs + drawings


def _crops() -> Iterator[Image.Image]:
    for path in photographs():
        picture = open_picture(path)
        wide, tall = picture.size
        for left, top, right, bottom in _CROPS:
            box = (left * wide, top * tall, (1 - right) * wide, (1 - bottom) * tall)
            # Small, for a model shrinks it anyway, and all of them wait in memory.
            size = tuple(min(_SIDE, round(s)) for s in (box[2] - box[0], box[3] - box[1]))
            yield picture.resize((size[0], size[1]), Image.Resampling.BICUBIC, box, 3.0)


def photographs() -> list[Path]:
    """The files of the photographs that are here."""
    found: list[Path] = []
    for folder, names in _PHOTOGRAPHS.items():
        package, _, inside = folder.partition("/")
        spec = find_spec(package)  # finds it without importing it
        for place in (spec.submodule_search_locations or ()) if spec else ():
            found += [Path(place) / inside / name for name in names]
    return [path for path in found if path.is_file()]
