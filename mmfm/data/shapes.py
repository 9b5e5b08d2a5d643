"""A small world of drawn shapes, with captions in English and Korean.

    Shape, Scene     what there is: a colour, a form, a size, a place; one object or two
    scenes           draw lots for scenes of a kind, the same ones for the same seed
    draw             scenes -> pictures
    describe         a scene -> what can truly be said of it, each with its meaning in numbers
    ask              the questions that a CLIP is examined with, and their right answers

Some pairs of attributes are held out: no scene to train on holds a blue circle or a small orange
object. A model that answers right about those has learned what the words mean, not what it saw.

Shapes: b objects or pictures, n scenes, k answers to choose from.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float32, Int64, UInt8
from numpy import ndarray
from torch import Tensor

from mmfm.data.draws import uniform
from mmfm.data.templates import article, particle
from mmfm.errors import BadInput

Language = Literal["en", "ko"]
# One object that has one held-out pair, of the kind named; or none, as in training; or two objects.
Kind = Literal["training", "seen", "colour and shape", "shape and place", "size and colour", "two"]
About = Literal[
    "colour and shape", "everything", "colour", "shape", "size", "place", "relation", "order"
]

SIZE = 64  # pixels of a side, unless told otherwise
TWO_OBJECTS = 0.4  # share of the training scenes

_STREAM = 4  # of draws: which scenes
_LOOKS = 5  # of draws: their exact colours, sizes, angles and places
_BATCH = 256  # pictures drawn at a time


# What there is ------------------------------------------------------------------------------------


class _Colour(NamedTuple):
    korean: str
    hue: tuple[float, float]  # degrees
    saturation: tuple[float, float]
    value: tuple[float, float]


COLOURS = {
    "red": _Colour("빨간", (-8, 6), (0.8, 1.0), (0.75, 0.95)),
    "orange": _Colour("주황색", (22, 34), (0.85, 1.0), (0.93, 1.0)),
    "yellow": _Colour("노란", (50, 58), (0.75, 1.0), (0.92, 1.0)),
    "green": _Colour("초록색", (105, 150), (0.6, 1.0), (0.45, 0.75)),
    "blue": _Colour("파란", (212, 235), (0.7, 1.0), (0.7, 1.0)),
    "purple": _Colour("보라색", (268, 288), (0.55, 0.9), (0.5, 0.75)),
    "pink": _Colour("분홍색", (325, 345), (0.35, 0.55), (0.95, 1.0)),
    "black": _Colour("검은", (0, 360), (0.0, 0.3), (0.03, 0.18)),
}
FORMS = {
    "circle": "원",
    "square": "사각형",
    "triangle": "삼각형",
    "star": "별",
    "heart": "하트",
    "cross": "십자가",
    "ring": "고리",
    "crescent": "초승달",
}
SIZES = {"small": "작은", "large": "큰"}
PLACES = {  # row by row, as on paper
    "at the top left": "왼쪽 위",
    "at the top": "위쪽",
    "at the top right": "오른쪽 위",
    "on the left": "왼쪽",
    "in the centre": "가운데",
    "on the right": "오른쪽",
    "at the bottom left": "왼쪽 아래",
    "at the bottom": "아래쪽",
    "at the bottom right": "오른쪽 아래",
}
RELATIONS = {"to the left of": "왼쪽", "to the right of": "오른쪽", "above": "위", "below": "아래"}
_INVERSE = dict(
    zip(RELATIONS, ("to the right of", "to the left of", "below", "above"), strict=True)
)

_COLOURS, _FORMS, _SIZES, _PLACES = map(tuple, (COLOURS, FORMS, SIZES, PLACES))
_RELATIONS = tuple(RELATIONS)


@dataclass(frozen=True, order=True)
class Shape:
    """One object, by its English words."""

    colour: str
    form: str
    size: str
    place: str

    def __post_init__(self) -> None:
        for word, known in zip(self._words, (_COLOURS, _FORMS, _SIZES, _PLACES), strict=True):
            if word not in known:
                raise BadInput(f"{word!r} is none of {', '.join(known)}")

    @property
    def _words(self) -> tuple[str, str, str, str]:
        return self.colour, self.form, self.size, self.place

    @property
    def pair(self) -> tuple[str, str]:
        """Its colour and form, by which it is usually called."""
        return self.colour, self.form

    @property
    def row(self) -> tuple[int, int, int, int]:
        """The numbers of its colour, form, size and place."""
        return (
            _COLOURS.index(self.colour),
            _FORMS.index(self.form),
            _SIZES.index(self.size),
            _PLACES.index(self.place),
        )


@dataclass(frozen=True)
class Scene:
    """What a picture shows: one object, or two that stand opposite each other."""

    objects: tuple[Shape, ...]

    def __post_init__(self) -> None:
        if len(self.objects) not in (1, 2):
            raise BadInput(f"a scene has one object or two, not {len(self.objects)}")
        if len(self.objects) == 2:
            first, second = self.objects
            places = (first.row[3], second.row[3])
            if first.pair == second.pair or places not in _OPPOSITE:
                raise BadInput(f"{self.objects}: two unlike objects at opposite places are needed")

    @property
    def relation(self) -> str | None:
        """How the first object stands to the second; None where there is only one."""
        if len(self.objects) == 1:
            return None
        return _OPPOSITE[tuple(shape.row[3] for shape in self.objects)]


def _opposite() -> dict[tuple[int, ...], str]:
    """The places of two objects in one row or one column of the nine -> their relation."""
    pairs: dict[tuple[int, ...], str] = {}
    for line in range(3):
        pairs[3 * line, 3 * line + 2] = "to the left of"
        pairs[3 * line + 2, 3 * line] = "to the right of"
        pairs[line, line + 6] = "above"
        pairs[line + 6, line] = "below"
    return pairs


_OPPOSITE = _opposite()

# The held-out pairs, as numbers. Every colour, form, size and place still occurs in training, each
# with most of the others: 12 of 64, 8 of 72 and 4 of 16 are held out.
HELD_OUT: dict[str, frozenset[tuple[int, int]]] = {
    "colour and shape": frozenset(
        [(colour, (3 * colour + 1) % 8) for colour in range(8)]
        + [(colour, (3 * colour + 4) % 8) for colour in range(0, 8, 2)]
    ),
    "shape and place": frozenset((form, (2 * form + 1) % 9) for form in range(8)),
    "size and colour": frozenset({(0, 1), (1, 2), (0, 5), (1, 6)}),
}


def held_out_pairs(shape: Shape) -> list[str]:
    """Name the kinds of held-out pairs that an object has."""
    colour, form, size, place = shape.row
    pairs = {
        "colour and shape": (colour, form),
        "shape and place": (form, place),
        "size and colour": (size, colour),
    }
    return [kind for kind, pair in pairs.items() if pair in HELD_OUT[kind]]


def held_out(scene: Scene) -> bool:
    """Tell whether a scene holds a pair of attributes that training never shows."""
    return any(held_out_pairs(shape) for shape in scene.objects)


def classes() -> list[tuple[str, str]]:
    """List all pairs of a colour and a form: the answers of the usual question."""
    return list(itertools.product(_COLOURS, _FORMS))


# Scenes -------------------------------------------------------------------------------------------


def scenes(kind: Kind, count: int, seed: int) -> list[Scene]:
    """Draw lots for scenes of a kind, from all that are possible."""
    _known(kind, get_args(Kind))
    lot = uniform(seed, get_args(Kind).index(kind), torch.arange(count), 3, stream=_STREAM)
    every = [Shape(*words) for words in itertools.product(_COLOURS, _FORMS, _SIZES, _PLACES)]
    plain = [shape for shape in every if not held_out_pairs(shape)]
    at = [[shape for shape in plain if shape.row[3] == place] for place in range(len(_PLACES))]
    if kind in HELD_OUT:
        single = [shape for shape in every if held_out_pairs(shape) == [kind]]
    else:
        single = plain
    places = list(_OPPOSITE)
    share = {"two": 1.0, "training": TWO_OBJECTS}.get(kind, 0.0)

    def one(which: float) -> Scene:
        return Scene((single[_one_of(len(single), which)],))

    def two(where: float, which: float) -> Scene:
        first, second = (at[place] for place in places[_one_of(len(places), where)])
        # One lot is divided in two: which pair of a long list that need not be written down.
        number = _one_of(len(first) * len(second), which)
        a, b = first[number // len(second)], second[number % len(second)]
        while a.pair == b.pair:
            number = (number + 1) % (len(first) * len(second))
            a, b = first[number // len(second)], second[number % len(second)]
        return Scene((a, b))

    return [
        two(where, which) if several < share else one(which)
        for several, where, which in lot.tolist()
    ]


def _one_of(count: int, lot: float) -> int:
    return min(int(lot * count), count - 1)


def evaluation(
    kind: Kind, count: int, seed: int, size: int = SIZE
) -> tuple[UInt8[Tensor, "n h w c"], list[Scene]]:
    """Draw pictures to examine a model with; those of another seed or kind look otherwise."""
    made = scenes(kind, count, seed)
    return draw(made, size, seed=seed, part=get_args(Kind).index(kind)), made


# Pictures -----------------------------------------------------------------------------------------

_CELLS = (0.24, 0.5, 0.76)  # the middles of the nine places, as shares of the side
_JITTER = 0.04  # how far an object lies off its place
_TILT = 0.25  # how far it is turned, in radians
_RADIUS = ((0.105, 0.13), (0.175, 0.205))  # small, large


def draw(
    several: Sequence[Scene],
    size: int,
    *,
    seed: int,
    part: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> UInt8[Tensor, "n h w c"]:
    """Draw scenes, each with colours, sizes, angles and places a little of its own.

    The look of a picture depends on seed, part and its number in the list alone.
    """
    if size < 8:
        raise BadInput(f"shapes in pictures of {size}x{size} cannot be told apart; 8 is the least")
    images = torch.empty(len(several), size, size, 3, dtype=torch.uint8)
    for start in range(0, len(several), _BATCH):
        some = several[start : start + _BATCH]
        index = torch.arange(start, start + len(some))
        lots = uniform(seed, part, index, 5 + 2 * 7, stream=_LOOKS).numpy()
        canvas = _background(size, lots[:, :5])
        for turn in range(2):
            having = [i for i, scene in enumerate(some) if len(scene.objects) > turn]
            if having:
                rows = np.array([some[i].objects[turn].row for i in having])
                look = lots[having, 5 + 7 * turn : 12 + 7 * turn]
                cover = _cover(size, rows, look)
                colour = rearrange(_colours(rows[:, 0], look[:, 4:]), "b c -> b c 1 1")
                canvas[having] += cover[:, None] * (colour - canvas[having])
        pixels = rearrange(np.rint(canvas * 255).astype(np.uint8), "b c h w -> b h w c")
        images[start : start + len(some)] = torch.from_numpy(pixels)
        if progress is not None:
            progress(start + len(some), len(several))
    return images


def _background(size: int, lot: Float32[ndarray, "b 5"]) -> Float32[ndarray, "b c h w"]:
    """A light tone that grows a little darker in one direction."""
    tone = _rgb(lot[:, 0], 0.12 * lot[:, 1], 0.9 + 0.1 * lot[:, 2])
    x = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    angle, depth = 2 * math.pi * lot[:, 3], 0.12 * lot[:, 4]
    across = rearrange(depth * np.cos(angle), "b -> b 1 1") * x
    down = rearrange(depth * np.sin(angle), "b -> b 1 1") * x[:, None]
    shade = 1 - np.abs(depth)[:, None, None] * 0.7 + across + down  # at most 1
    return rearrange(tone, "b c -> b c 1 1") * rearrange(shade.clip(0, 1), "b h w -> b 1 h w")


def _cover(
    size: int, rows: Int64[ndarray, "b 4"], look: Float32[ndarray, "b 7"]
) -> Float32[ndarray, "b h w"]:
    """How much of each pixel an object covers, from the pixel's distance to its outline."""
    low, high = np.array(_RADIUS, np.float32)[rows[:, 2]].T
    radius = (low + (high - low) * look[:, 3])[:, None, None]
    cells = np.array(_CELLS, np.float32)
    middle_y = (cells[rows[:, 3] // 3] + _JITTER * (2 * look[:, 0] - 1))[:, None, None]
    middle_x = (cells[rows[:, 3] % 3] + _JITTER * (2 * look[:, 1] - 1))[:, None, None]
    tilt = (_TILT * (2 * look[:, 2] - 1))[:, None, None]
    side = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = (side - middle_x) / radius, (side[:, None] - middle_y) / radius
    x, y = np.cos(tilt) * x + np.sin(tilt) * y, np.cos(tilt) * y - np.sin(tilt) * x
    outside = np.empty(x.shape, np.float32)
    for number, form in enumerate(_FORMS):
        mine = rows[:, 1] == number
        if mine.any():
            outside[mine] = _OUTLINES[form](x[mine], y[mine])
    return np.clip(0.5 - outside * radius * size, 0, 1)


_Plane = Float32[ndarray, "b h w"]

# Each answers how far outside of the form a point lies, negative within; y points down and the form
# reaches about 1 from its middle. (After the distance functions of Inigo Quilez.)


def _circle(x: _Plane, y: _Plane) -> _Plane:
    return np.hypot(x, y) - np.float32(0.9)


def _square(x: _Plane, y: _Plane) -> _Plane:
    return _box(x, y, 0.8, 0.8)


def _triangle(x: _Plane, y: _Plane) -> _Plane:
    slope = math.sqrt(3) / 2 * np.abs(x)
    return np.maximum(y, slope - y / 2) - np.float32(0.55)


def _star(x: _Plane, y: _Plane) -> _Plane:
    # Folded onto one tenth: the line from a tip at (0, 1) to the hollow beside it.
    angle, far = np.abs(np.arctan2(x, -y)), np.hypot(x, y)
    folded = np.abs((angle + math.pi / 5) % (2 * math.pi / 5) - math.pi / 5)
    across, along = far * np.sin(folded), far * np.cos(folded)
    hollow_x, hollow_y = 0.45 * math.sin(math.pi / 5), 0.45 * math.cos(math.pi / 5)
    length = math.hypot(hollow_x, 1.05 - hollow_y)
    edge = across * (1.05 - hollow_y) + (along - 1.05) * hollow_x
    return edge / np.float32(length)


def _heart(x: _Plane, y: _Plane) -> _Plane:
    # A square on its corner, with half circles on its upper sides.
    half = 0.55
    lean_x, lean_y = (x + y - 0.15) / math.sqrt(2), (y - 0.15 - x) / math.sqrt(2)
    left, right = np.hypot(lean_x + half, lean_y), np.hypot(lean_x, lean_y + half)
    return np.minimum(_box(lean_x, lean_y, half, half), np.minimum(left, right) - np.float32(half))


def _cross(x: _Plane, y: _Plane) -> _Plane:
    return np.minimum(_box(x, y, 0.95, 0.3), _box(x, y, 0.3, 0.95))


def _ring(x: _Plane, y: _Plane) -> _Plane:
    return np.abs(np.hypot(x, y) - np.float32(0.7)) - np.float32(0.23)


def _crescent(x: _Plane, y: _Plane) -> _Plane:
    # Its back and its tips lie as far from the middle on either side.
    whole = np.hypot(x - np.float32(0.2), y) - np.float32(0.95)
    bite = np.hypot(x - np.float32(0.7), y) - np.float32(0.75)
    return np.maximum(whole, -bite)


def _box(x: _Plane, y: _Plane, half_width: float, half_height: float) -> _Plane:
    return np.maximum(np.abs(x) - np.float32(half_width), np.abs(y) - np.float32(half_height))


_OUTLINES: dict[str, Callable[[_Plane, _Plane], _Plane]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "cross": _cross,
    "ring": _ring,
    "crescent": _crescent,
}


def _colours(colour: Int64[ndarray, "b"], lot: Float32[ndarray, "b 3"]) -> Float32[ndarray, "b c"]:
    """An exact colour within the range that bears its name."""
    ranges = np.array([kind[1:] for kind in COLOURS.values()], np.float32)[colour]
    low, high = ranges[..., 0], ranges[..., 1]
    hue, saturation, value = (low + (high - low) * lot).T
    return _rgb(hue / 360, saturation, value)


def _rgb(
    hue: Float32[ndarray, "b"], saturation: Float32[ndarray, "b"], value: Float32[ndarray, "b"]
) -> Float32[ndarray, "b c"]:
    """Hue, saturation and value (hue 1 is once around the circle) as red, green and blue."""
    turn = (np.array([5, 3, 1], np.float32) + 6 * hue[:, None]) % 6
    drop = np.minimum(np.minimum(turn, 4 - turn), 1).clip(0)
    return (value[:, None] * (1 - saturation[:, None] * drop)).astype(np.float32)


# Captions -----------------------------------------------------------------------------------------

# A meaning says for each of these columns the number of what is said, counted from 1; 0 is "there
# is none" (no second object), -1 "not said". A caption names every object of its picture.
FACTS = ("colour", "form", "size", "place", "colour 2", "form 2", "size 2", "relation")


class Caption(NamedTuple):
    """A sentence, and what it says in numbers."""

    text: str
    language: Language
    meaning: tuple[int, ...]


def facts(scene: Scene) -> tuple[int, ...]:
    """What is true of a scene: as a meaning that leaves nothing unsaid.

    Of two objects the one with the lower numbers of colour and form comes first, and places are
    said only as the relation between them.
    """
    first, second, relation = _ordered(scene)
    colour, form, size, place = (number + 1 for number in first.row)
    if second is None or relation is None:
        return colour, form, size, place, 0, 0, 0, 0
    colour_2, form_2, size_2, _ = (number + 1 for number in second.row)
    number = _RELATIONS.index(relation) + 1
    return colour, form, size, 0, colour_2, form_2, size_2, number


def _ordered(scene: Scene) -> tuple[Shape, Shape | None, str | None]:
    if len(scene.objects) == 1 or scene.relation is None:
        return scene.objects[0], None, None
    first, second = scene.objects
    if first.row[:2] < second.row[:2]:
        return first, second, scene.relation
    return second, first, _INVERSE[scene.relation]


def describe(scene: Scene) -> list[Caption]:
    """Say what a scene shows, shorter and longer, in English and Korean."""
    whole = facts(scene)
    first, second, relation = _ordered(scene)
    captions: list[Caption] = []

    def add(said: dict[Language, list[str]], unsaid: Sequence[str]) -> None:
        meaning = tuple(
            -1 if name in unsaid else number for name, number in zip(FACTS, whole, strict=True)
        )
        captions.extend(Caption(t, language, meaning) for language in said for t in said[language])

    if second is None or relation is None:
        for size, place in itertools.product((False, True), (False, True)):
            unsaid = [name for name, is_said in (("size", size), ("place", place)) if not is_said]
            add({"en": _one_en(first, size, place), "ko": _one_ko(first, size, place)}, unsaid)
        return captions
    for sizes in (False, True):
        unsaid = ["place"] if sizes else ["place", "size", "size 2"]
        add(
            {
                "en": _two_en(first, second, relation, sizes),
                "ko": _two_ko(first, second, relation, sizes),
            },
            unsaid,
        )
    a, b = _en(first), _en(second)
    c, d = _ko(first), _ko(second)
    together: dict[Language, list[str]] = {
        "en": [f"{_a(a)} and {_a(b)}", f"{_a(b)} and {_a(a)}"],
        "ko": [f"{c}{particle(c, '과/와')} {d}", f"{d}{particle(d, '과/와')} {c}"],
    }
    add(together, ["place", "size", "size 2", "relation"])
    return captions


def captions(scene: Scene) -> dict[Language, list[str]]:
    """The same sentences by language, without their meanings."""
    said = describe(scene)
    return {
        language: [caption.text for caption in said if caption.language == language]
        for language in get_args(Language)
    }


def say_class(colour: str, form: str, language: Language | None = None) -> list[str]:
    """Say a colour and a form, in one language or in both."""
    shape = Shape(colour, form, _SIZES[0], _PLACES[0])
    said: dict[Language, list[str]] = {
        "en": _one_en(shape, False, False),
        "ko": _one_ko(shape, False, False),
    }
    return said[language] if language else said["en"] + said["ko"]


def _en(shape: Shape, size: bool = False) -> str:
    return f"{shape.size} {shape.colour} {shape.form}" if size else f"{shape.colour} {shape.form}"


def _ko(shape: Shape, size: bool = False) -> str:
    thing = f"{COLOURS[shape.colour].korean} {FORMS[shape.form]}"
    return f"{SIZES[shape.size]} {thing}" if size else thing


def _a(thing: str) -> str:
    return f"{article(thing)} {thing}"


def _one_en(shape: Shape, size: bool, place: bool) -> list[str]:
    thing, where = _en(shape, size), shape.place
    if place:
        return [f"{_a(thing)} {where}", f"there is {_a(thing)} {where}", f"the {thing} is {where}"]
    return [thing, _a(thing), f"a drawing of {_a(thing)}"]


def _one_ko(shape: Shape, size: bool, place: bool) -> list[str]:
    thing, where = _ko(shape, size), PLACES[shape.place]
    there_is = thing + particle(thing, "이/가")
    if place:
        return [f"{where}의 {thing}", f"{there_is} {where}에 있다", f"{where}에 {there_is} 있다"]
    return [thing, f"{thing} 그림", f"{there_is} 있다"]


def _two_en(a: Shape, b: Shape, relation: str, sizes: bool) -> list[str]:
    first, second = _a(_en(a, sizes)), _a(_en(b, sizes))
    return [f"{first} {relation} {second}", f"{second} {_INVERSE[relation]} {first}"]


def _two_ko(a: Shape, b: Shape, relation: str, sizes: bool) -> list[str]:
    first, second = _ko(a, sizes), _ko(b, sizes)
    here, there = RELATIONS[relation], RELATIONS[_INVERSE[relation]]
    return [
        f"{first}{particle(first, '이/가')} {second}의 {here}에 있다",
        f"{second}{particle(second, '이/가')} {first}의 {there}에 있다",
    ]


# Questions ----------------------------------------------------------------------------------------


class Questions(NamedTuple):
    """Answers to choose from, each said in one or more ways, and for each picture the right one.

    Picture i is asked for the best of `answers[k]` for k in `choices[i]`; `choices[i, right[i]]` is
    the right one.
    """

    answers: list[list[str]]
    choices: Int64[Tensor, "n k"]
    right: Int64[Tensor, "n"]

    def judge(self, likeness: Float32[Tensor, "n a"]) -> Bool[Tensor, "n"]:
        """Tell which pictures were answered right, by the likeness of each to every answer.

        A wrong answer that is as like as the right one counts as chosen.
        """
        near = likeness.gather(1, self.choices)
        mine = rearrange(self.right, "n -> n 1")
        best = near.gather(1, mine)
        return (near.scatter(1, mine, -torch.inf) < best).all(dim=1)


def ask(several: Sequence[Scene], about: About, language: Language) -> Questions:
    """Ask of each scene one thing.

    "colour and shape": which of the 64; "everything": which of all full captions; "colour",
    "shape", "size", "place": which, everything else being right. For two objects "relation": which
    of the four; "order": which way round.
    """
    _known(about, get_args(About))
    _known(language, get_args(Language))
    pair = about in ("relation", "order")
    if any(len(scene.objects) != 1 + pair for scene in several):
        raise BadInput(f"{about!r} is asked of scenes of {'two objects' if pair else 'one object'}")
    if pair:
        return _ask_of_two(several, about == "order", language)
    shapes = [scene.objects[0] for scene in several]
    rows = torch.tensor([shape.row for shape in shapes]).reshape(-1, 4)
    if about == "colour and shape":
        answers = [say_class(*pair, language) for pair in classes()]
        choices = torch.arange(len(answers)).expand(len(shapes), -1)
        return Questions(answers, choices, rows[:, 0] * len(_FORMS) + rows[:, 1])
    say = _one_en if language == "en" else _one_ko
    counts = [len(words) for words in (_COLOURS, _FORMS, _SIZES, _PLACES)]
    every = itertools.product(_COLOURS, _FORMS, _SIZES, _PLACES)
    answers = [say(Shape(*words), True, True) for words in every]
    strides = torch.tensor([math.prod(counts[i + 1 :]) for i in range(4)])
    mine = rows @ strides
    if about == "everything":
        return Questions(answers, torch.arange(len(answers)).expand(len(shapes), -1), mine)
    column = ("colour", "shape", "size", "place").index(about)
    others = rearrange(mine - rows[:, column] * strides[column], "n -> n 1")
    return Questions(
        answers, others + torch.arange(counts[column]) * strides[column], rows[:, column]
    )


def _ask_of_two(several: Sequence[Scene], order: bool, language: Language) -> Questions:
    say = _two_en if language == "en" else _two_ko
    answers: list[list[str]] = []
    right: list[int] = []
    for scene in several:
        (first, second), relation = scene.objects, scene.relation
        assert relation is not None
        offered = [relation, _INVERSE[relation]] if order else list(_RELATIONS)
        offered = sorted(offered)  # so that the place in the list tells nothing
        answers += [say(first, second, other, False) for other in offered]
        right.append(offered.index(relation))
    choices = torch.arange(len(answers)).reshape(len(several), 2 if order else len(_RELATIONS))
    return Questions(answers, choices, torch.tensor(right))


def _known(word: str, words: Sequence[str]) -> None:
    if word not in words:
        raise BadInput(f"{word!r} is none of {', '.join(words)}")
