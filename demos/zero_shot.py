"""Why, CLIP?: name pictures by any words, see what an answer rests on, and put it right."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from html import escape
from typing import Any

import gradio as gr
import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from mmfm.data import shapes
from mmfm.data.labels import Label, as_labels
from mmfm.data.shapes import Scene, Shape
from mmfm.data.templates import SETS
from mmfm.errors import BadInput, MmfmError
from mmfm.models.adapters import Adapter
from mmfm.models.checkpoints import load_clip
from mmfm.models.clip import TwoTowers
from mmfm.models.reading import MULTILINGUAL
from mmfm.tasks.classify import DEFAULT_MODEL, ZeroShotClassifier
from mmfm.tasks.explain import Evidence, explain, spans

from . import words
from .page import DEVICE, LANGUAGES, Context
from .parts import (
    base64_of,
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
from .words_zero_shot import WORDS

LESSONS = ("space", "labels", "none", "heat")
BUNDLED = DEFAULT_MODEL
FOR_PHOTOS = "ViT-B-32/laion2b_s34b_b79k"
# Small models of ours: what they know, and what others are for.
SMALL = {BUNDLED: ("knows_shapes", "for_photos"), "clip-nano": ("knows_things", "for_work")}

MOST_PICTURES = 24
MOST_EXAMPLES = 24
MOST_LABELS = 24
LONGEST = {"labels": 1000, "template": 200}  # letters
KEPT_PIXELS = 640 * 640  # of a picture; no model here sees more
THUMB = 128  # pixels of a tile's side, at most
SENTENCES = 12  # of a label, that are written out
EXPLAINED = 8  # labels for which evidence is looked for

SCALES = tuple(float(f"{200 ** (step / 40):.3g}") for step in range(41))  # of the slider
REACH = 3.0  # beta of the Tip-Adapter: how near a picture must be to an example
LOUDNESS = tuple(2 ** (step / 2) for step in range(-10, 3))  # alpha, in scales of the model
SURE = 0.8  # the score at which an example counts as answered right


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture on the page."""

    id: str
    picture: Image.Image
    thumb: str
    vector: Float[Tensor, " d"]


@dataclass(frozen=True, eq=False)
class Example:
    """A picture whose right label a visitor has told."""

    tile: Tile
    label: str


@dataclass(frozen=True)
class Question:
    """What a visitor asks of all pictures, as it was typed."""

    labels: str
    template: str = "default"  # or another set, or a sentence with {name}
    none: bool = False
    multi: bool = False


@dataclass(frozen=True)
class Visit:
    """What the server remembers of one visitor."""

    lang: str
    model: str
    question: Question
    tiles: tuple[Tile, ...]
    examples: tuple[Example, ...] = ()
    brought: int = 0  # pictures of the visitor's own, ever


def title(lang: str) -> str:
    """The page's name."""
    return WORDS[lang]["title"]


def takes(settings: Mapping[str, Any]) -> bool:
    """Whether the page can run a checkpoint of these settings."""
    return is_clip(settings)


def build(context: Context, blocks: gr.Blocks) -> None:
    """Draw the page and wire its events."""
    page = WhyClip(context)

    visit = gr.State(None, time_to_live=3600)
    top = heading()
    with gr.Row(elem_id="zero_bar"):
        about = html("zero_about")
        with gr.Column(elem_id="zero_own", min_width=180, scale=0):
            upload = gr.UploadButton(elem_id="zero_upload", size="md", file_count="multiple")
            model = gr.Dropdown(page.names, elem_id="zero_model", filterable=False)
    stage = html(
        "zero",
        html_template='<div class="zero"></div>',
        js_on_load=script("zero_shot.js"),
        answer=None,
        heat=None,
        word=None,
    )
    lessons = html("lessons")
    refuse_addresses(upload)

    shown = [visit, top, about, model, stage]
    heavy: dict[str, Any] = {**DEVICE, "api_visibility": "private", "show_progress": "hidden"}
    heavy["trigger_mode"] = "multiple"  # by itself, Gradio drops what comes while it is busy
    blocks.load(page.arrive, None, [*shown, upload, lessons], **heavy)
    top.speak(page.speak, [visit], [*shown, upload, lessons], **heavy)
    upload.upload(page.bring, [visit, upload], shown, **heavy)
    model.input(page.switch, [visit, model], shown, **heavy)
    stage.restore(page.restore, [visit], shown, **heavy)
    stage.remove(page.remove, [visit], shown, **heavy)
    stage.ask(page.ask, [visit], shown, **heavy)
    stage.teach(page.teach, [visit], shown, **heavy)
    stage.forget(page.forget, [visit], shown, **heavy)
    stage.explain(page.explain, [visit], [stage], **heavy)
    stage.word(page.word, [visit], [stage], **heavy)

    with gr.Column(visible=False):  # what a script may ask: /classify
        picture = gr.File(label="picture")
        labels, template = gr.Textbox(label="labels"), gr.Textbox("default", label="template")
        none, multi = gr.Checkbox(label="none"), gr.Checkbox(label="multi")
        result, go = gr.JSON(), gr.Button()
    refuse_addresses(picture)
    asked = [picture, labels, template, none, multi]
    go.click(page.classify, asked, result, api_name="classify", **DEVICE)


class WhyClip:
    """What the page does when a visitor does something."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.names = models_here(context.model, is_clip)
        self.turns = itertools.count(1)  # an answer that equals the last one would not be noticed
        if self.names[0] == context.model:
            self.clip(self.names[0])  # what is wrong with it is said now, not to the first visitor

    def clip(self, name: str) -> TwoTowers:
        """A model, which takes the place of the one that was loaded before."""
        load = self.context.slot.take
        return load(("clip", name), lambda: load_clip(name, device=self.context.device))

    # --- what a visitor does ----------------------------------------------------------------------

    def arrive(self, request: gr.Request) -> list[Any]:
        """Greet a visitor in their language, with the question of the link, else an example."""
        query = dict(request.query_params)
        lang = self.context.language(query, dict(request.headers))
        model = query.get("model", "")
        visit = self.first_visit(lang, model if model in self.names else self.names[0])
        try:
            return self.greet(replace(visit, question=as_question(query, visit.question)))
        except MmfmError:  # a link with nonsense in it counts as a link without
            return self.greet(visit)

    def speak(self, visit: Visit | None, event: gr.EventData) -> list[Any]:
        """Go on with the same pictures in the language of the link that was followed."""
        visit = visit or self.first_visit()
        lang = link_followed(event).get("lang")
        if lang not in LANGUAGES:
            return self.greet(visit)
        question = visit.question
        if question.labels == opening_labels(visit.model, visit.lang) and not visit.examples:
            question = replace(question, labels=opening_labels(visit.model, lang))
        return self.greet(replace(visit, lang=lang, question=question))

    def greet(self, visit: Visit) -> list[Any]:
        """Everything on the page, down to what never changes while a language is spoken."""
        say = WORDS[visit.lang]
        shown = self.show(visit)
        shown[3] = gr.Dropdown(label=say["model"], value=visit.model)
        return [*shown, gr.UploadButton(label=say["upload"]), lessons_html(say, LESSONS)]

    def bring(self, visit: Visit | None, files: Sequence[str] | None) -> Any:
        """Add the pictures that a visitor brought; what is no picture is said and passed over."""
        visit = visit or self.first_visit()
        say = WORDS[visit.lang]
        room = MOST_PICTURES - len(visit.tiles)
        files = list(files or ())
        if len(files) > room:
            complain(BadInput(say["too_many_pictures"].format(limit=MOST_PICTURES)), say)
        pictures: list[Image.Image] = []
        for file in files[:room]:
            try:
                pictures.append(kept(read_picture(file)))
            except MmfmError as error:
                complain(error, say)
        if not pictures:
            return gr.skip()
        first = visit.brought + 1
        named = {f"own-{first + i}": picture for i, picture in enumerate(pictures)}
        tiles = (*visit.tiles, *self.tiles(visit.model, named))
        return self.change(visit, tiles=tiles, brought=visit.brought + len(pictures))

    def switch(self, visit: Visit | None, model: str) -> Any:
        """Ask another model about the same pictures; the first ones give way to those it knows."""
        visit = visit or self.first_visit()
        say = WORDS[visit.lang]
        if model not in self.names:
            return complain(BadInput(say["no_such_model"].format(name=model)), say)
        if model == visit.model:  # Gradio says so too when somebody only walks past
            return gr.skip()
        try:
            if not visit.brought and not visit.examples and opening_question(visit):
                return self.show(self.first_visit(visit.lang, model))
            again = {tile.id: tile.picture for tile in visit.tiles}
            taught = {one.tile.id: one.tile.picture for one in visit.examples}
            tiles = self.tiles(model, again)
            known = {tile.id: tile for tile in (*self.tiles(model, taught), *tiles)}
            kept_on = tuple(replace(one, tile=known[one.tile.id]) for one in visit.examples)
            return self.show(replace(visit, model=model, tiles=tiles, examples=kept_on))
        except MmfmError as error:
            return complain(error, say)

    def restore(self, visit: Visit | None) -> Any:
        """Begin again, with the first pictures and the first labels."""
        visit = visit or self.first_visit()
        return self.show(self.first_visit(visit.lang, visit.model))

    def remove(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Take a picture off the page; as an example it stays."""
        visit = visit or self.first_visit()
        gone = getattr(event, "picture", None)
        return self.change(visit, tiles=tuple(tile for tile in visit.tiles if tile.id != gone))

    def ask(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Ask something else of the same pictures: their vectors stay as they are."""
        if visit is None:
            return self.show(self.first_visit())
        texts = [str(getattr(event, name, None) or "") for name in ("labels", "template")]
        flags = [getattr(event, name, None) is True for name in ("none", "multi")]
        try:
            question = Question(texts[0], texts[1], none=flags[0], multi=flags[1])
            return self.answer(replace(visit, question=question))
        except MmfmError as error:
            return self.failed(visit, error)

    def teach(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Keep a picture as an example of the label that it really has."""
        if visit is None:
            return self.show(self.first_visit())
        say = WORDS[visit.lang]
        name, label = str(getattr(event, "picture", "")), str(getattr(event, "label", ""))
        tile = next((tile for tile in visit.tiles if tile.id == name), None)
        try:
            if tile is None:
                raise BadInput(say["no_such_picture"])
            if label not in [one.name for one in as_wished(visit.question, say)]:
                raise BadInput(say["no_such_label"].format(label=label))
            others = tuple(one for one in visit.examples if one.tile.id != name)
            if len(others) >= MOST_EXAMPLES:
                raise BadInput(say["too_many_examples"].format(limit=MOST_EXAMPLES))
            return self.answer(replace(visit, examples=(*others, Example(tile, label))))
        except MmfmError as error:
            return self.failed(visit, error)

    def forget(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Let go of an example."""
        if visit is None:
            return self.show(self.first_visit())
        gone = getattr(event, "picture", None)
        rest = tuple(one for one in visit.examples if one.tile.id != gone)
        try:
            return self.answer(replace(visit, examples=rest))
        except MmfmError as error:
            return self.failed(visit, error)

    def explain(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Find what speaks for the likeliest labels of one picture."""
        name = str(getattr(event, "picture", ""))
        heat: dict[str, Any] = {"turn": next(self.turns), "picture": name}
        tile = next((tile for tile in visit.tiles if tile.id == name), None) if visit else None
        if visit is None or tile is None:
            return gr.HTML(heat={**heat, "reason": WORDS["en"]["no_such_picture"]})
        say = WORDS[visit.lang]
        try:
            clf = asked(self.clip(visit.model), visit.question, say)
            found = heat_data(clf, tile)
        except MmfmError as error:  # a model may run without showing its attention
            found = {"reason": words.explain(error, say)}
        return gr.HTML(heat={**heat, **found, "key": key_of(visit)})

    def word(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Find what speaks for one word of a label, asked by itself."""
        name, label, word = (getattr(event, key, None) for key in ("picture", "label", "word"))
        tile = next((tile for tile in visit.tiles if tile.id == name), None) if visit else None
        if visit is None or tile is None:
            return gr.skip()
        try:
            clf = asked(self.clip(visit.model), visit.question, WORDS[visit.lang])
            found = word_data(clf, tile, label, word)
        except MmfmError as error:
            return complain(error, WORDS[visit.lang])
        named = {"picture": name, "label": label, "word": word, "key": key_of(visit)}
        return gr.HTML(word={**named, "relevance": found, "turn": next(self.turns)})

    # --- what it takes ----------------------------------------------------------------------------

    def first_visit(self, lang: str | None = None, model: str | None = None) -> Visit:
        """A visit as it begins, or begins anew when the server has forgotten it."""
        lang, model = lang or self.context.lang or "en", model or self.names[0]
        question = Question(opening_labels(model, lang))
        return Visit(lang, model, question, self.tiles(model, opening_pictures(model)))

    def tiles(self, model: str, pictures: Mapping[str, Image.Image]) -> tuple[Tile, ...]:
        """Pictures as this model sees them, each encoded once."""
        if not pictures:
            return ()
        vectors = self.clip(model).encode_image(list(pictures.values())).float().cpu()
        return tuple(
            Tile(name, picture, thumb(picture), vector)
            for (name, picture), vector in zip(pictures.items(), vectors, strict=True)
        )

    def change(self, visit: Visit, **changes: Any) -> Any:
        """Show what has changed, or say why it cannot be shown."""
        try:
            return self.show(replace(visit, **changes))
        except MmfmError as error:
            return self.failed(visit, error)

    def failed(self, visit: Visit, error: MmfmError) -> list[Any]:
        """Say why, and leave the last answer as it stands."""
        complain(error, WORDS[visit.lang])
        answer = {"failed": True, "turn": next(self.turns)}
        return [gr.skip(), gr.skip(), gr.skip(), gr.skip(), gr.HTML(answer=answer)]

    def answer(self, visit: Visit) -> list[Any]:
        """Only what hangs on the question and the examples: no picture is sent again."""
        answer = self.answer_data(visit)
        return [visit, gr.skip(), gr.skip(), gr.skip(), gr.HTML(answer=answer)]

    def show(self, visit: Visit) -> list[Any]:
        """All that hangs on the pictures and the model, for `shown` in `build`."""
        say = WORDS[visit.lang]
        clip = self.clip(visit.model)
        sent = {
            "model": visit.model,
            "lang": visit.lang,
            "words": say,
            "tiles": [
                {"id": tile.id, "thumb": tile.thumb, "small": max(tile.picture.size) <= 96}
                for tile in visit.tiles
            ],
            "opening": opening_labels(visit.model, visit.lang),
            "limits": LONGEST,
            "explained": EXPLAINED,
            "answer": self.answer_data(visit),
        }
        top = top_html(clip, visit.model, visit.lang, say, self.context.titles)
        return [visit, top, about_html(visit.model, say), visit.model, sent]

    def answer_data(self, visit: Visit) -> dict[str, Any]:
        """What the browser draws answers from."""
        notes: list[str] = []
        clf = asked(self.clip(visit.model), visit.question, WORDS[visit.lang], notes)
        teach_from(clf, visit.examples)
        splinters = any(MULTILINGUAL in line for line in notes)
        return {
            "turn": next(self.turns),
            "splinters": MULTILINGUAL if splinters else None,
            **answer_data(clf, visit),
        }

    def classify(
        self, picture: str | None, labels: str, template: str, none: bool, multi: bool
    ) -> dict[str, Any]:
        """Name a picture by labels, written as on the command line: dog=강아지|puppy,cat.

        `template` is the name of a set, or a sentence with {name}; a label of null is "none of
        these".
        """
        with told():
            if picture is None:
                raise BadInput("no picture was sent")
            question = Question(labels or "", template or "default", bool(none), bool(multi))
            clf = asked(self.clip(self.names[0]), question, WORDS["en"])
            said = clf.judge(clf.clip.encode_image([read_picture(picture)]))[0]
            return {
                "label": said.label,
                "score": said.score,
                "score_kind": said.score_kind,
                "scores": said.scores,
            }


# --- what the page opens with -------------------------------------------------------------------


def opening_labels(model: str, lang: str) -> str:
    """Labels that fit the first pictures; the last of them the bundled model has never heard."""
    if model != BUNDLED:
        return {
            "en": "cat, astronaut, rocket, cup of coffee=커피 한 잔|cup of coffee",
            "ko": "고양이, 우주비행사, 로켓, 커피 한 잔=cup of coffee|커피 한 잔",
        }[lang]
    return {
        "en": "red circle, blue star=파란 별|blue star, green triangle, yellow heart, pentagon",
        "ko": "빨간 원, 파란 별=blue star|파란 별, 초록색 삼각형, 노란 하트, 오각형",
    }[lang]


def opening_question(visit: Visit) -> bool:
    """Whether a visitor still asks what the page opened with."""
    return visit.question.labels == opening_labels(visit.model, visit.lang)


@cache
def opening_pictures(model: str) -> Mapping[str, Image.Image]:
    """Photographs; for the model that knows shapes only, shapes and one picture it cannot know."""
    if model != BUNDLED:
        return {name: kept(picture) for name, picture in examples().items()}
    drawn = [
        ("red", "circle", "large", "in the centre"),
        ("blue", "star", "large", "at the top left"),
        ("green", "triangle", "large", "on the right"),
        ("yellow", "heart", "small", "at the bottom"),
        ("black", "crescent", "large", "at the top"),
    ]
    images = shapes.draw([Scene((Shape(*words),)) for words in drawn], 48, seed=3)
    found = {
        words[1]: Image.fromarray(image.numpy()) for words, image in zip(drawn, images, strict=True)
    }
    # A form that it has never seen, three times: what one example teaches shows in the others.
    places = (
        (0.5, 0.5, 0.0, "#e6e4ef"),
        (0.72, 0.3, 0.15, "#f4ead9"),
        (0.28, 0.5, -0.2, "#dcebe6"),
    )
    found |= {f"pentagon-{i}": pentagon(*place) for i, place in enumerate(places, 1)}
    found["crescent"] = found.pop("crescent")  # behind them: it is none of the labels
    photograph = examples().get("cat")
    return found if photograph is None else {**found, "cat": kept(photograph)}


def pentagon(x: float, y: float, tilt: float, ground: str) -> Image.Image:
    """A yellow pentagon, drawn large and shrunk, so that its edges are smooth."""
    side, radius = 192, 0.2
    turns = [tilt + number * 2 * math.pi / 5 for number in range(5)]
    corners = [(x + radius * math.sin(turn), y - radius * math.cos(turn)) for turn in turns]
    picture = Image.new("RGB", (side, side), ground)
    points = [(side * across, side * down) for across, down in corners]
    ImageDraw.Draw(picture).polygon(points, fill="#e8c51c")
    return picture.resize((48, 48), Image.Resampling.LANCZOS)


# --- what visitors send ---------------------------------------------------------------------------


def kept(picture: Image.Image) -> Image.Image:
    """A picture with no more pixels than a visit remembers, its shape as it was."""
    shrink = math.sqrt(picture.width * picture.height / KEPT_PIXELS)
    if shrink <= 1:
        return picture
    size = (max(1, round(picture.width / shrink)), max(1, round(picture.height / shrink)))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3)


def thumb(picture: Image.Image) -> str:
    """The middle of a picture as a small square."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    square.thumbnail((THUMB, THUMB))
    return data_address(square)


def as_question(query: Mapping[str, str], otherwise: Question) -> Question:
    """The question that a link asks."""
    return Question(
        query.get("labels") or otherwise.labels,
        query.get("template") or otherwise.template,
        query.get("none") == "1",
        query.get("multi") == "1",
    )


def as_wished(question: Question, say: Mapping[str, str]) -> list[Label]:
    """The labels that were typed; a line's end parts them as a comma does.

    Nothing typed is ever taken for the name of a file, as it is on the command line.
    """
    for text, limit in ((question.labels, "labels"), (question.template, "template")):
        if len(text) > LONGEST[limit]:
            raise BadInput(say["too_long"].format(count=len(text), limit=LONGEST[limit]))
    parts = [part for part in re.split(r"[,\n]", question.labels) if part.strip()]
    if len(parts) > MOST_LABELS:
        raise BadInput(say["too_many_labels"].format(count=len(parts), limit=MOST_LABELS))
    return as_labels(parts)


def asked(
    clip: TwoTowers, question: Question, say: Mapping[str, str], notes: list[str] | None = None
) -> ZeroShotClassifier:
    """The classifier for a question; `notes` collects what it warns of."""
    labels = as_wished(question, say)
    template: str | list[str] = question.template
    if template not in SETS:
        if "{name}" not in template:
            raise BadInput(say["no_name"])
        template = [template]
    return ZeroShotClassifier(
        clip,
        labels,
        templates=template,
        none_of_these=question.none,
        multi_label=question.multi,
        warn=[].append if notes is None else notes.append,
    )


def teach_from(clf: ZeroShotClassifier, taught: Sequence[Example]) -> None:
    """Give a classifier a visitor's examples, as loud as it takes for them to be answered right."""
    used = [one for one in taught if one.label in clf.labels]
    if not used:
        return
    rows = torch.stack([one.tile.vector for one in used])
    answers = [clf.labels.index(one.label) for one in used]
    # An adapter weighs against one another the labels that have examples. Here one example alone
    # shall be heard: every other label gets a row of zeros, which no picture is like.
    silent = [number for number in range(len(clf.labels)) if number not in answers]
    adapter = Adapter(
        "tip",
        clf.labels,
        clf.model,
        said=tuple(label.names for label in clf.all_labels),
        examples=torch.cat([rows, torch.zeros(len(silent), rows.shape[1])]),
        answers=torch.tensor([*answers, *silent]),
        beta=REACH,
    ).to(clf.vectors.device)
    best, most = adapter, -1
    for loudness in LOUDNESS:
        clf.adapter = replace(adapter, alpha=loudness * clf.scale)
        said = clf.judge(rows.to(clf.vectors))
        pairs = zip(said, used, strict=True)
        right = sum(e.label in p.labels and p.scores[e.label] >= SURE for p, e in pairs)
        if right > most:
            best, most = clf.adapter, right
    clf.adapter = best


# --- what the browser is sent ---------------------------------------------------------------------


def key_of(visit: Visit) -> str:
    """By what the browser keeps evidence: it hangs on the model and the sentences."""
    q = visit.question
    return f"{visit.model}\n{q.template}\n{q.labels}"


def answer_data(clf: ZeroShotClassifier, visit: Visit) -> dict[str, Any]:
    """Every picture's answer at every scale of the slider, so that it moves without the server."""
    own = clf.scale
    scales = sorted({*SCALES, own})
    rows = clf.vectors.new_zeros(len(visit.tiles), clf.vectors.shape[1])
    for number, tile in enumerate(visit.tiles):
        rows[number] = tile.vector
    scores, answers = at_scales(clf, rows, scales)
    cosines = clf.cosines(rows)
    adapter, plain, added = clf.adapter, answers, None
    if adapter is not None:
        added = (adapter.logits(rows, own * cosines) - own * cosines).cpu()
        clf.adapter = None
        _, plain = at_scales(clf, rows, scales)
        clf.adapter = adapter
    uses_bank = clf.none_of_these or (clf.multi_label and clf.bias is None)
    said = [label.sentences(clf.templates) for label in clf.all_labels]
    tokenizer = clf.clip.tokenizer
    assert tokenizer is not None  # without one there is no classifier
    cut = [[tokenizer.too_long(text) for text in texts] for texts in said]
    return {
        "key": key_of(visit),
        "question": {
            "labels": visit.question.labels,
            "template": visit.question.template,
            "none": clf.none_of_these,
            "multi": clf.multi_label,
        },
        "labels": list(clf.labels),
        "sentences": [
            {"some": list(zip(texts, cuts, strict=True))[:SENTENCES], "count": len(texts)}
            for texts, cuts in zip(said, cut, strict=True)
        ],
        "unread": [name for name, cuts in zip(clf.labels, cut, strict=True) if all(cuts)],
        "kind": clf.score_kind,
        "threshold": clf.thresholds[0],
        "scales": scales,
        "own": scales.index(own),
        "scores": base64_of((scores * 65535).round().astype("<u2")),  # pictures, scales, labels + 1
        "answers": base64_of(answers.astype(np.int8)),  # pictures, scales; -1: none of these
        "plain": base64_of(plain.astype(np.int8)),  # the same without examples
        "cosines": cosines.cpu().double().round(decimals=4).tolist(),
        "added": None if added is None else added.double().round(decimals=3).tolist(),
        "bank": len(clf.bank) if uses_bank else 0,
        "near": near_texts(clf, rows) if clf.none_of_these else None,
        "examples": [
            {
                "id": one.tile.id,
                "thumb": one.tile.thumb,
                "small": max(one.tile.picture.size) <= 96,
                "label": one.label,
                "used": one.label in clf.labels,
            }
            for one in visit.examples
        ],
        "weight": None if adapter is None else adapter.alpha,
    }


def at_scales(
    clf: ZeroShotClassifier, rows: Float[Tensor, "n d"], scales: Sequence[float]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Scores of all labels, and behind them how likely any applies; and the number of the answer.

    Both for each picture at each scale.
    """
    own, k = clf.scale, len(clf.labels)
    scores = np.ones((len(rows), len(scales), k + 1))
    answers = np.full((len(rows), len(scales)), -1)
    for s, scale in enumerate(scales):
        clf.scale = scale
        if clf.none_of_these:
            scores[:, s, k] = clf.known(rows).numpy()
        for i, said in enumerate(clf.judge(rows)):
            scores[i, s, :k] = [said.scores[name] for name in clf.labels]
            answers[i, s] = -1 if said.label is None else clf.labels.index(said.label)
    clf.scale = own
    return scores, answers


def near_texts(clf: ZeroShotClassifier, rows: Float[Tensor, "n d"]) -> list[dict[str, Any]]:
    """Which of the general texts lies nearest to each picture."""
    best = (rows @ clf.bank.T).max(dim=1)
    pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
    return [{"text": clf.bank_texts[number], "cosine": cosine} for cosine, number in pairs]


def heat_data(clf: ZeroShotClassifier, tile: Tile) -> dict[str, Any]:
    """Where a picture's likeliest labels find their evidence, and in which words."""
    texts = [label.sentences(clf.templates)[0] for label in clf.all_labels]
    found = explain(clf.clip, tile.picture, clf.labels, clf.vectors, texts, most=EXPLAINED)
    return {
        "view": data_address(found.view),
        "small": max(found.view.size) <= 96,
        "size": [found.view.width, found.view.height],
        "grid": list(found.grid),
        "labels": {str(evidence.number): evidence_data(evidence) for evidence in found.labels},
    }


def word_data(clf: ZeroShotClassifier, tile: Tile, label: object, word: object) -> str:
    """Where a word of a label finds its evidence, in place of the label and beside all others."""
    if not isinstance(label, int) or not 0 <= label < len(clf.labels):
        raise BadInput(f"no label {label!r:.20} is asked for")
    assert clf.clip.tokenizer is not None  # without one there were no labels
    text = clf.all_labels[label].sentences(clf.templates)[0]
    words = [found for found, _, _ in spans(clf.clip.tokenizer, text)]
    if not isinstance(word, int) or not 0 <= word < len(words):
        raise BadInput(f"{clf.labels[label]} has no word {word!r:.20}")
    others = [number for number in range(len(clf.labels)) if number != label]
    alone = clf.clip.encode_text([words[word]]).to(clf.vectors)
    names = [words[word], *(clf.labels[number] for number in others)]
    vectors = torch.cat([alone, clf.vectors[others]])
    found = explain(clf.clip, tile.picture, names, vectors, names, only=[0])
    return as_bytes(found.labels[0].relevance)


def evidence_data(evidence: Evidence) -> dict[str, Any]:
    """One label's maps, a byte a patch, and its words."""
    alike = evidence.similarity - evidence.similarity.min()
    return {
        "relevance": as_bytes(evidence.relevance),
        "similarity": as_bytes(alike),
        "range": [float(evidence.similarity.min()), float(evidence.similarity.max())],
        "words": [{"text": word.text, "relevance": word.relevance} for word in evidence.words],
    }


def as_bytes(values: Tensor) -> str:
    """Numbers as shares of the highest, a byte each."""
    shares = values / values.max().clamp_min(1e-12)
    return base64_of(shares.clamp(0, 1).mul(255).round().byte().numpy())


# --- what is written on the page ------------------------------------------------------------------


def about_html(model: str, say: Mapping[str, str]) -> str:
    """What the chosen model knows, as far as that is surprising, and how to bring pictures."""
    lines = [escape(say["drop"])]
    if model in SMALL:
        knows, others = SMALL[model]
        start = "mmfm demo zero_shot --model "
        commands = {"photos": start + FOR_PHOTOS, "korean": start + MULTILINGUAL}
        tagged = {name: f"<code>{escape(text)}</code>" for name, text in commands.items()}
        lines = [
            f"<strong>{escape(say[knows])}</strong>",
            escape(say[others]).format(**tagged),
            *lines,
        ]
    return "".join(f'<p class="note">{line}</p>' for line in lines)
