"""A folder of small sources for a mixture: photographs in classes, and signs that three hands drew.

What a picture shows can be read off its last pixel, whose red is ten times the number of the thing:
`Oracle` does.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from mmfm.data.pictures import Preprocessing
from mmfm.models.clip import TwoTowers

SIZE = 8
HANDS = ("brush", "chalk", "pen")
SIGNS = (  # number, name, Korean name, keywords in both languages
    (0, "bird", "새", ("wing", "animal"), ("날개", "동물")),
    (1, "alpha", "알파", ("letter",), ("글자",)),
    (2, "beta", "베타", ("letter",), ("글자",)),
    (3, "gamma", "감마", ("letter", "gamma"), ("글자",)),
    (4, "delta", "델타", (), ()),
    (5, "omega", "오메가", ("last",), ("마지막",)),
    (6, "heart", "하트", ("love",), ("사랑",)),
    (7, "moon", "달", ("night",), ("밤",)),
    (8, "sun", "해", ("day",), ("낮",)),
    (9, "cloud", "구름", ("weather",), ("날씨",)),
    (10, "rain", "비", ("weather",), ("날씨",)),
    (11, "snow", "눈", ("weather",), ("날씨",)),
)
PHOTOS = {20: "sparrow", 21: "trout", 22: "oak"}
COARSE = {23: "bird", 24: "fish"}
KOREAN = {20: "참새", 21: "송어", 22: "참나무", 23: "새", 24: "물고기"}
NAMES = """class,wnid,en,ko,broader
sparrow,n00000001,sparrow|house sparrow,참새,bird
trout,n00000002,trout,송어,fish
oak,n00000003,oak|oak tree,참나무,plant
bird,,bird,새,animal
fish,,fish,물고기,animal
plant,,plant,,
animal,,animal,동물,
"""


def solid(number: int, shade: int) -> bytes:
    return png(Image.new("RGB", (SIZE, SIZE), (10 * number, shade, 50 * (number % 5))))


def sign(number: int, hand: int) -> bytes:
    """Clear to the left, half so in the middle, opaque to the right."""
    picture = Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0))
    colour = (10 * number, 80 * hand, 200)
    picture.paste((*colour, 128), (3, 0, 5, SIZE))
    picture.paste((*colour, 255), (5, 0, SIZE, SIZE))
    return png(picture)


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def make_sources(folder: Path) -> Path:
    """20 + 6 photos in parquet files, 2 x 10 in class folders, 12 signs by three hands but one."""
    photos = folder / "photos"
    photos.mkdir()
    numbers = list(PHOTOS)
    for name, first, last in (("train-0", 0, 12), ("train-1", 12, 20), ("val", 20, 26)):
        rows = [{"image": solid(numbers[i % 3], i), "label": i % 3} for i in range(first, last)]
        pq.write_table(pa.Table.from_pylist(rows), photos / f"{name}.parquet")
    (photos / "classes.json").write_text(json.dumps(list(PHOTOS.values())))
    for number, name in COARSE.items():
        (folder / "coarse" / name).mkdir(parents=True)
        for i in range(10):
            (folder / "coarse" / name / f"{i}.png").write_bytes(solid(number, i))
    rows = [
        row(number, hand)
        for number in range(len(SIGNS))
        for hand in range(len(HANDS))
        if (number, hand) != (4, 2)
    ]
    rows.append(row(5, 0) | {"image": b"\x89PNG torn"})
    rows.append(row(6, 0) | {"name_en": " ", "name_ko": None})
    pq.write_table(pa.Table.from_pylist(rows), folder / "signs.parquet")
    (folder / "names.csv").write_text(NAMES, encoding="utf-8")
    return folder


def row(number: int, hand: int) -> dict[str, Any]:
    _, name_en, name_ko, keywords_en, keywords_ko = SIGNS[number]
    return {
        "image": sign(number, hand),
        "sign": f"<{name_en}>",
        "hand": HANDS[hand],
        "name_en": name_en,
        "name_ko": name_ko,
        "keywords_en": list(keywords_en),
        "keywords_ko": list(keywords_ko),
    }


def tables(folder: Path, **signs: Any) -> list[dict[str, Any]]:
    """What a recipe says of the three sources; of the signs something else may be said."""
    names = str(folder / "names.csv")
    return [
        {"data": "photos", "share": 0.5, "classes": names, "broader": 0.25},
        {"data": "coarse", "share": 0.2, "classes": names},
        {
            "data": "signs.parquet",
            "share": 0.3,
            "kind": "sign",
            "hand": "hand",
            "names": ["name_en", "name_ko"],
            "words": ["keywords_en", "keywords_ko"],
            "templates": ["{name}", "a sign of {a} {name}", "{name}{을/를} 나타내는 표시"],
            "ask": ["{name}"],
            "hold_hands": ["chalk"],
            "hold_kinds": 3,
            **signs,
        },
    ]


class Oracle(TwoTowers):
    """Reads what is shown off the last pixel, and knows all names but those it mixes up."""

    def __init__(self, taken_for: dict[str, int | None]) -> None:
        super().__init__()
        self.preprocessing = Preprocessing((SIZE, SIZE), (0.0,) * 3, (1 / 255,) * 3)
        self.names = {name: number for number, name, *_ in SIGNS}
        self.names |= {korean: number for number, _, korean, *_ in SIGNS}
        for number, name in {**PHOTOS, **COARSE}.items():
            self.names.setdefault(name, number)
            self.names.setdefault(KOREAN[number], number)
        self.names |= taken_for  # pyright: ignore[reportOperatorIssue]

    def project_image(self, images: Tensor) -> Tensor:
        number = (images[:, 0, -1, -1] / 10).round().long()
        number[number == 23] = 0  # a bird is a bird, drawn or photographed
        return torch.eye(32)[number]

    def project_text(self, ids: Tensor) -> Tensor:
        raise AssertionError("words are read as they are written, never as numbers of a tokenizer")

    def encode_image(self, pictures: object, *, batch: int = 64) -> Tensor:
        assert isinstance(pictures, Tensor)
        return self.project_image(pictures)

    def encode_text(self, texts: object, *, batch: int = 256) -> Tensor:
        assert isinstance(texts, Sequence)
        rows = torch.zeros(len(texts), 32)
        for row, text in zip(rows, texts, strict=True):
            name = max((name for name in self.names if name in text), key=len)
            number = self.names[name]
            if number is not None:
                row[number] = 1
        return rows
