"""The Meaning Map: pictures and captions in one space, what lies near what, and what sums give."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from html import escape
from itertools import product
from typing import Any

import gradio as gr
import torch
from jaxtyping import Float, Int64
from PIL import Image
from torch import Tensor

from mmfm.data import shapes
from mmfm.data.shapes import Scene, Shape
from mmfm.data.templates import language_of
from mmfm.data.texts import tidy
from mmfm.errors import BadInput, MmfmError, NotHere
from mmfm.models.checkpoints import load_clip
from mmfm.models.clip import TwoTowers
from mmfm.tasks.classify import DEFAULT_MODEL
from mmfm.tasks.meaning import (
    Found,
    Memory,
    Rival,
    close_gap,
    found_first,
    found_in_pile,
    gap,
    plane,
    plane_across,
    plane_within,
    rivals,
    similarity,
    sums,
)

from .page import DEVICE, LANGUAGES, Context
from .parts import (
    complain,
    data_address,
    examples,
    heading,
    html,
    is_clip,
    lessons_html,
    link_followed,
    models_here,
    read_picture,
    refuse_addresses,
    script,
    told,
    top_html,
)
from .words_meaning_map import WORDS

LESSONS = ("space", "cosine", "map", "gap", "sums", "rivals")
SMALL = DEFAULT_MODEL  # a bundled model, which knows drawn shapes only
KNOWS = {SMALL: "small", "clip-nano": "small_things"}  # under which key it is said what one knows
OPENS = {"clip-nano": "photos"}  # with this set, for it never saw those that are drawn

PICTURES, CAPTIONS, LETTERS = 24, 60, 200  # at most; captions that are said twice count once
LEAST = 2  # of both: one point makes no map
LONGEST_SIDE = 768  # what a visit remembers of each of its many pictures
TILE = 160  # pixels of a side, as the browser is sent them
COARSE = 96  # up to here a picture's own pixels are shown

# What the two sliders can be set to. All of it is worked out at once, so that they never wait.
GAPS = [step / 10 for step in range(-10, 21)]  # how much of the gap is closed
STRENGTHS = [step / 10 for step in range(21)]

SCRIPTS = ("tools", "set", "matrix", "space", "sums", "rivals", "page")


@dataclass(frozen=True)
class Item:
    """A picture and the captions that are its own."""

    picture: Image.Image
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Sum:
    """One picture of the set, minus some words, plus others."""

    start: int
    minus: str
    plus: str


@dataclass(frozen=True)
class Visit:
    """What the server remembers of one visitor."""

    lang: str
    model: str
    name: str  # of a set in `sets`, or "yours"
    items: tuple[Item, ...]
    extra: tuple[str, ...]  # captions of no picture
    sum: Sum


def title(lang: str) -> str:
    """The page's name."""
    return WORDS[lang]["title"]


def takes(settings: Mapping[str, Any]) -> bool:
    """Whether the page can run a checkpoint of these settings."""
    return is_clip(settings)


def build(context: Context, blocks: gr.Blocks) -> None:
    """Draw the page and wire its events."""
    page = MeaningMap(context)
    visit = gr.State(None, time_to_live=3600)
    top = heading()
    with gr.Row(elem_id="mm-bar"):
        chooser = html("mm-chooser", js_on_load=script("meaning_map_chooser.js"))
        with gr.Column(elem_id="mm-own", min_width=180, scale=0):
            upload = gr.UploadButton(elem_id="mm-upload", size="md", file_count="multiple")
            model = gr.Dropdown(page.names, elem_id="mm-model", filterable=False)
    stage = html(
        "mm-stage",
        html_template='<div class="mm"></div>',
        # One component, so that what is chosen in one part shows in all; a file for each part.
        js_on_load="\n".join(script(f"meaning_map_{part}.js") for part in SCRIPTS),
        answer=None,
        done=0,
    )
    lessons = html("mm-lessons")
    refuse_addresses(upload)

    shown = [visit, top, chooser, model, stage]
    heavy: dict[str, Any] = {**DEVICE, "api_visibility": "private", "show_progress": "hidden"}
    heavy["trigger_mode"] = "multiple"  # by itself, Gradio drops what comes while it is busy
    blocks.load(page.arrive, None, [*shown, upload, lessons], **heavy)
    top.speak(page.speak, [visit], [*shown, upload, lessons], **heavy)
    chooser.start(page.start, [visit], shown, **heavy)
    upload.upload(page.bring, [visit, upload], shown, **heavy)
    model.input(page.switch, [visit, model], shown, **heavy)
    stage.write(page.write, [visit], shown, **heavy)
    stage.reckon(page.reckon, [visit], [visit, stage], **heavy)

    with gr.Column(visible=False):  # what a script may ask: /similarity
        pictures = gr.File(label="pictures", file_count="multiple")
        captions = gr.Textbox(label="captions")
        result, go = gr.JSON(), gr.Button()
    refuse_addresses(pictures)
    go.click(page.similarity, [pictures, captions], result, api_name="similarity", **DEVICE)


class MeaningMap:
    """What the page does when a visitor does something."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.memory = Memory()
        self.names = models_here(context.model, is_clip)
        if not self.names:
            raise NotHere(f"no CLIP is here, not even {SMALL}; install mmfm again")
        if self.names[0] == context.model:
            self.model(self.names[0])  # a wrong --model is said now, not to the first visitor

    def model(self, name: str) -> TwoTowers:
        """A model, which takes the place of the one that was loaded before."""
        device = self.context.device
        return self.context.slot.take(("clip", name), lambda: load_clip(name, device=device))

    def arrive(self, request: gr.Request) -> list[Any]:
        """Greet a visitor in their language, with the set that the link names, else the model's."""
        query = dict(request.query_params)
        lang = self.context.language(query, dict(request.headers))
        name, model = query.get("set", ""), query.get("model", "")
        model = model if model in self.names else self.names[0]
        return self.greet(self.first_visit(lang, name if name in sets() else "", model))

    def speak(self, visit: Visit | None, event: gr.EventData) -> list[Any]:
        """Go on with the same pictures in the language of the link that was followed."""
        lang = link_followed(event).get("lang")
        visit = visit or self.first_visit()
        return self.greet(replace(visit, lang=lang if lang in LANGUAGES else visit.lang))

    def greet(self, visit: Visit) -> list[Any]:
        """Everything on the page, down to what never changes while a language is spoken."""
        say = WORDS[visit.lang]
        shown = self.show(visit)
        shown[3] = gr.Dropdown(label=say["model"], value=visit.model)
        return [*shown, gr.UploadButton(label=say["upload_several"]), lessons_html(say, LESSONS)]

    def start(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Begin with one of the sets."""
        visit = visit or self.first_visit()
        name = str(getattr(event, "name", ""))
        if name not in sets():
            return complain(NotHere(f"no set {name!r}"), WORDS[visit.lang])
        return self.change(visit, self.first_visit(visit.lang, name, visit.model))

    def bring(self, visit: Visit | None, files: list[str] | None) -> Any:
        """Add pictures that the visitor brought; those that cannot be read are left out."""
        visit = visit or self.first_visit()
        items = list(visit.items)
        complaint: Any = None
        for file in (files or [])[: PICTURES + 1]:
            try:
                items.append(Item(small(read_picture(file)), ()))
            except MmfmError as error:
                complaint = complaint or complain(error, WORDS[visit.lang])
        if len(items) == len(visit.items):
            return gr.skip()
        return self.change(visit, replace(visit, name="yours", items=tuple(items)))

    def switch(self, visit: Visit | None, model: str) -> Any:
        """Show the same pictures and captions to another model."""
        visit = visit or self.first_visit()
        if model not in self.names:
            return complain(NotHere(f"no model {model!r} on this page"), WORDS[visit.lang])
        return self.change(visit, replace(visit, model=model))

    def write(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Take the captions as they are now written, and only the pictures that are kept."""
        visit = visit or self.first_visit()
        done = gr.HTML(done=getattr(event, "turn", 0))  # so that the browser waits no longer
        try:
            kept = as_kept(getattr(event, "kept", None), len(visit.items))
            written = as_texts(getattr(event, "captions", None), len(kept))
            [extra] = as_texts([getattr(event, "extra", None)], 1)
        except BadInput as error:
            complain(error, WORDS[visit.lang])
            return [gr.skip()] * 4 + [done]
        items = tuple(
            Item(visit.items[number].picture, as_captions(text))
            for number, text in zip(kept, written, strict=True)
        )
        start = kept.index(visit.sum.start) if visit.sum.start in kept else 0
        changed = replace(
            visit,
            name="yours",
            items=items,
            extra=as_captions(extra),
            sum=replace(visit.sum, start=start),
        )
        if (items, changed.extra) == (visit.items, visit.extra):
            changed = replace(changed, name=visit.name)
        return self.change(visit, changed, otherwise=[gr.skip()] * 4 + [done])

    def reckon(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Do another sum."""
        visit = visit or self.first_visit()
        turn = getattr(event, "turn", 0)  # tells the browser which question this answers
        try:
            wish = as_sum(event, len(visit.items))
            changed = replace(visit, sum=wish)
            answer = sum_data(wish, self.model(visit.model), self.memory, *self.rows(changed))
        except MmfmError as error:
            complain(error, WORDS[visit.lang])
            return [gr.skip(), gr.HTML(answer={"failed": True, "turn": turn})]
        return [changed, gr.HTML(answer={**answer, "turn": turn})]

    def first_visit(self, lang: str | None = None, name: str = "", model: str = "") -> Visit:
        """A visit at its beginning; one that the server has forgotten begins anew."""
        lang, model = lang or self.context.lang or "en", model or self.names[0]
        name = name or OPENS.get(model, next(iter(sets())))
        minus, plus = SUMS[name][lang]
        return Visit(lang, model, name, sets()[name], (), Sum(0, minus, plus))

    def change(self, visit: Visit, changed: Visit, otherwise: Any = None) -> Any:
        """Show what has changed, or say why it cannot be shown."""
        say = WORDS[visit.lang]
        fault = too_much(len(changed.items), texts_of(changed), say)
        if fault is not None:
            gr.Warning(escape(fault))  # Gradio shows a message as HTML
            return otherwise or gr.skip()
        try:
            return self.show(changed)
        except MmfmError as error:
            complaint = complain(error, say)
            return otherwise or complaint

    def rows(self, visit: Visit) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
        """The vectors of all pictures and all captions."""
        model = self.model(visit.model)
        pictures = [item.picture for item in visit.items]
        return self.memory.images(model, pictures), self.memory.texts(model, texts_of(visit))

    def show(self, visit: Visit) -> list[Any]:
        """All that hangs on the pictures, the captions and the model, for `shown` in `build`."""
        model = self.model(visit.model)
        say = WORDS[visit.lang]
        images, texts = self.rows(visit)
        answer = sum_data(visit.sum, model, self.memory, images, texts)
        return [
            visit,
            top_html(model, visit.model, visit.lang, say, self.context.titles),
            chooser_html(visit, say),
            visit.model,
            {**stage_data(visit, images, texts, say), "answer": answer},
        ]

    def similarity(self, pictures: list[str] | None, captions: str) -> list[list[float]]:
        """The cosine of every picture (a row) with every caption (a column, one a line)."""
        with told():
            texts = [line for line in map(tidy, captions.splitlines()) if line]
            fault = too_much(len(pictures or []), texts, WORDS["en"], least=1)
            if fault is not None:
                raise BadInput(fault)
            model = self.model(self.names[0])
            seen = [read_picture(file) for file in pictures or []]
            near = similarity(self.memory.images(model, seen), self.memory.texts(model, texts))
            return near.tolist()


# --- the sets to begin with ---------------------------------------------------------------------

# What is taken from the first picture, and what is added to it, in words that the set knows.
SUMS = {
    "forms": {"en": ("red", "blue"), "ko": ("빨간", "파란")},
    "places": {"en": ("at the top left", "at the bottom right"), "ko": ("왼쪽 위", "오른쪽 아래")},
    "order": {"en": ("to the left of", "to the right of"), "ko": ("왼쪽", "오른쪽")},
    "photos": {"en": ("a cat", "a dog"), "ko": ("고양이", "강아지")},
}
PHOTOS = {  # of the examples -> what they show
    "cat": ("a photo of a cat", "고양이 사진"),
    "astronaut": ("an astronaut in an orange suit", "주황색 옷을 입은 우주비행사"),
    "rocket": ("a rocket on its launch pad", "발사대에 선 로켓"),
    "coffee": ("a cup of coffee with a spoon", "숟가락이 놓인 커피 한 잔"),
    "shapes": ("a circle, a square and a triangle", "원과 사각형과 삼각형"),
    "stripes": ("blue and red stripes", "파란색과 빨간색 줄무늬"),
}


@cache
def sets() -> dict[str, tuple[Item, ...]]:
    """Pictures with captions in English and Korean, each set for a lesson of its own."""
    forms = product(("circle", "square", "star", "heart"), ("red", "blue", "yellow"))
    single = [_one(colour, form, "in the centre") for form, colour in forms]
    placed = [_one("green", "star", place) for place in shapes.PLACES]
    photos = [Item(small(examples()[name]), said) for name, said in PHOTOS.items()
              if name in examples()]  # fmt: skip
    return {
        # Of the captions that the world of shapes has for each scene, one in either language.
        "forms": _drawn(single, {"en": 1, "ko": 0}),
        "places": _drawn(placed, {"en": 3, "ko": 3}),
        "order": _drawn(_both_ways(), {"en": 0, "ko": 0}),
        "photos": tuple(photos),
    }


def _one(colour: str, form: str, place: str) -> Scene:
    return Scene((Shape(colour, form, "large", place),))


def _both_ways() -> list[Scene]:
    """Two objects, and the same two with their places exchanged."""
    couples = (
        (("red", "heart"), ("blue", "square"), ("on the left", "on the right")),
        (("green", "star"), ("black", "ring"), ("at the top", "at the bottom")),
        (("yellow", "cross"), ("purple", "circle"), ("on the left", "on the right")),
        (("pink", "triangle"), ("blue", "star"), ("at the top", "at the bottom")),
    )
    return [
        Scene((Shape(*first, "large", places[0]), Shape(*second, "large", places[1])))
        for one, other, places in couples
        for first, second in ((one, other), (other, one))
    ]


def _drawn(several: Sequence[Scene], number: Mapping[shapes.Language, int]) -> tuple[Item, ...]:
    drawings = shapes.draw(several, 48, seed=3)
    return tuple(
        Item(
            Image.fromarray(drawing.numpy()),
            tuple(shapes.captions(scene)[language][which] for language, which in number.items()),
        )
        for drawing, scene in zip(drawings, several, strict=True)
    )


# --- what visitors send -------------------------------------------------------------------------


def small(picture: Image.Image) -> Image.Image:
    """A picture as it is remembered, one of many."""
    picture = picture.copy()
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return picture


def as_kept(numbers: object, count: int) -> list[int]:
    """Read which pictures are kept, by their numbers."""
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        raise BadInput("the pictures to keep are a list of whole numbers")
    if sorted(set(numbers)) != numbers or not all(0 <= number < count for number in numbers):
        raise BadInput(f"the pictures to keep are some of 0 to {count - 1}, in their order")
    return numbers


def as_texts(texts: object, count: int) -> list[str]:
    """Read a list of texts, one for each picture."""
    if not isinstance(texts, list) or len(texts) != count:
        raise BadInput(f"a list of {count} texts is needed")
    if not all(isinstance(text, str) and len(text) <= CAPTIONS * LETTERS for text in texts):
        raise BadInput("captions are texts, and not whole books")
    return texts


def as_captions(text: str) -> tuple[str, ...]:
    """Part a text into captions, at | and at the ends of lines."""
    parts = map(tidy, text.replace("|", "\n").splitlines())
    return tuple(dict.fromkeys(part for part in parts if part))


def as_sum(event: gr.EventData, pictures: int) -> Sum:
    """Read which picture to begin with, and the words to take away and to add."""
    start = getattr(event, "start", None)
    words = getattr(event, "minus", None), getattr(event, "plus", None)
    if type(start) is not int or not 0 <= start < pictures:
        raise BadInput(f"a sum begins with a picture from 0 to {pictures - 1}")
    if not all(isinstance(word, str) and len(word) <= LETTERS for word in words):
        raise BadInput(f"words are texts of at most {LETTERS} letters")
    return Sum(start, tidy(str(words[0])), tidy(str(words[1])))


def too_much(
    pictures: int, texts: Sequence[str], say: Mapping[str, str], least: int = LEAST
) -> str | None:
    """What is wrong with a set's size, in the words of a visitor; None if nothing is."""
    if pictures < least or len(texts) < least:
        return say["too_few"].format(least=least)
    if pictures > PICTURES:
        return say["too_many_pictures"].format(most=PICTURES)
    if len(texts) > CAPTIONS:
        return say["too_many_captions"].format(most=CAPTIONS)
    if any(len(text) > LETTERS for text in texts):
        return say["too_long"].format(most=LETTERS)
    return None


def texts_of(visit: Visit) -> list[str]:
    """All captions, each once, in the order of the pictures."""
    said = [text for item in visit.items for text in item.captions]
    return list(dict.fromkeys([*said, *visit.extra]))


def pairs_of(visit: Visit) -> Int64[Tensor, "p 2"]:
    """Which pictures go with which captions."""
    texts = texts_of(visit)
    pairs = [
        (number, texts.index(text))
        for number, item in enumerate(visit.items)
        for text in item.captions
    ]
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)


# --- what the browser is sent -------------------------------------------------------------------


def stage_data(
    visit: Visit, images: Float[Tensor, "n d"], texts: Float[Tensor, "m d"], say: Mapping[str, str]
) -> dict[str, Any]:
    """What the browser's part draws from."""
    pairs = pairs_of(visit)
    near = similarity(images, texts)
    written = texts_of(visit)
    return {
        "model": visit.model,
        "set": visit.name,
        "pictures": [
            {
                "view": tile(item.picture),
                "coarse": max(item.picture.size) <= COARSE,
                "captions": " | ".join(item.captions),
            }
            for item in visit.items
        ],
        "extra": "\n".join(visit.extra),
        "texts": [{"text": text, "lang": language_of(text)} for text in written],
        "pairs": pairs.tolist(),
        "cosines": rounded(near),
        "found": {
            "pictures": found_data(found_first(images, texts, pairs)),
            "texts": found_data(found_first(texts, images, pairs.flip(1))),
        },
        "rivals": {
            "pictures": [rival_data(rival) for rival in rivals(near, pairs)],
            "texts": [rival_data(rival) for rival in rivals(near.T, pairs.flip(1))],
        },
        "space": space_data(images, texts, pairs),
        "sum": {"start": visit.sum.start, "minus": visit.sum.minus, "plus": visit.sum.plus},
        "strengths": STRENGTHS,
        "letters": LETTERS,
        "least": LEAST,
        "small": visit.model in KNOWS,
        "lang": visit.lang,
        "words": say,
    }


def space_data(
    images: Float[Tensor, "n d"], texts: Float[Tensor, "m d"], pairs: Int64[Tensor, "p 2"]
) -> dict[str, Any]:
    """Both maps, and how well all find each other, for every setting of the gap."""
    planes = {
        "across": plane_across(images, texts),
        "all": plane(torch.cat([images, texts])),
        "within": plane_within(images, texts),
    }
    steps: list[dict[str, Any]] = []
    for amount in GAPS:
        seen, read = close_gap(images, texts, amount)
        both = torch.cat([seen, read])
        steps.append(
            {
                "amount": amount,
                "gap": round(float(gap(seen, read).norm()), 4),
                "pictures": found_data(found_first(seen, read, pairs)),
                "texts": found_data(found_first(read, seen, pairs.flip(1))),
                "pile": found_data(found_in_pile(seen, read, pairs)),
                "places": {name: rounded(sheet.place(both)) for name, sheet in planes.items()},
                "kept": {name: list(sheet.kept(both)) for name, sheet in planes.items()},
            }
        )
    own = similarity(images, texts)[pairs[:, 0], pairs[:, 1]]
    return {
        "steps": steps,
        "now": GAPS.index(0),
        "mean": {
            "pairs": float(own.mean()) if len(own) else None,
            "pictures": mean_between(images),
            "texts": mean_between(texts),
        },
    }


def mean_between(vectors: Float[Tensor, "k d"]) -> float:
    """The mean cosine between two different ones of these."""
    near = vectors @ vectors.T
    count = len(vectors)
    return float((near.sum() - near.trace()) / (count * (count - 1)))


def sum_data(
    wish: Sum,
    model: TwoTowers,
    memory: Memory,
    images: Float[Tensor, "n d"],
    texts: Float[Tensor, "m d"],
) -> dict[str, Any]:
    """What lies near a sum, for every strength of it."""
    minus, plus = (
        memory.texts(model, [word])[0] if word else None for word in (wish.minus, wish.plus)
    )
    found = sums(images[wish.start], minus, plus, STRENGTHS)  # s d
    return {
        "start": wish.start,
        "minus": wish.minus,
        "plus": wish.plus,
        "pictures": rounded(found @ images.T),
        "texts": rounded(found @ texts.T),
    }


def found_data(found: Found) -> list[int]:
    """How many found a right answer first, and how many were asked."""
    return [found.found, found.asked]


def rival_data(rival: Rival) -> dict[str, Any]:
    """A question, its nearest wrong and its nearest right answer."""
    return {
        "question": rival.question,
        "wrong": rival.wrong,
        "right": rival.right,
        "wrong_cosine": rival.wrong_cosine,
        "right_cosine": rival.right_cosine,
        "margin": rival.margin,
    }


def rounded(values: Tensor) -> list[Any]:
    """Numbers as short as the page shows them."""
    return [rounded(value) if value.ndim else round(float(value), 4) for value in values.detach()]


def tile(picture: Image.Image) -> str:
    """The square middle of a picture inside its own address; few pixels are left as they are."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    if max(picture.size) <= COARSE:
        return data_address(square)
    square.thumbnail((TILE, TILE))
    file = io.BytesIO()
    square.convert("RGB").save(file, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


# --- what is written on the page ----------------------------------------------------------------


def chooser_html(visit: Visit, say: Mapping[str, str]) -> str:
    """The sets as buttons."""

    def pressed(name: str) -> str:
        return "true" if name == visit.name else "false"

    buttons = "".join(
        f'<button type="button" data-set="{name}" aria-pressed="{pressed(name)}">'
        f'<img src="{tile(items[0].picture)}" alt=""'
        f"{' class=coarse' if max(items[0].picture.size) <= COARSE else ''}>"
        f"<span>{escape(say[f'set_{name}'])}</span></button>"
        for name, items in sets().items()
    )
    knows = KNOWS.get(visit.model)
    small_model = f'<p class="warn">{escape(say[knows])}</p>' if knows else ""
    return (
        f'<div class="heading">{escape(say["sets"])}</div>'
        f'<div class="tiles">{buttons}</div><p class="note">{escape(say["drop_several"])}</p>'
        f"{small_model}"
    )
