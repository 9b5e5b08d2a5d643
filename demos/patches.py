"""The Patch Lens: a picture as patches, who looks at whom, and what is said when patches go."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from PIL import Image
from torch import Tensor

from mmfm.data.kinds import read_kinds
from mmfm.errors import BadInput, MmfmError, NotHere
from mmfm.models.checkpoints import load_vit
from mmfm.models.vit import ViT, ViTConfig
from mmfm.tasks.look import Lens, Look, patch_costs

from . import words
from .page import DEVICE, LANGUAGES, Context
from .parts import (
    RANDOM,
    base64_of,
    complain,
    data_address,
    examples,
    heading,
    html,
    is_vit,
    lessons_html,
    link_followed,
    models_here,
    read_picture,
    refuse_addresses,
    script,
    thumbnail,
    told,
    top_html,
    whole_number,
)

# Bytes of one layer's attention that are sent at once, so that pointing at a patch needs no
# answer from the server; beyond, it is sent patch by patch.
SENT_AT_ONCE = 600_000
LESSONS = ("patch", "token", "attention", "rollout", "caution")
SHOWN_LABELS = 6


@dataclass(frozen=True)
class Visit:
    """What the server remembers of one visitor."""

    lang: str
    model: str
    picture: Image.Image
    name: str  # of an example, or "yours"


def title(lang: str) -> str:
    """The page's name."""
    return words.PATCHES[lang]["title"]


def takes(settings: Mapping[str, Any]) -> bool:
    """Whether the page can run a checkpoint of these settings."""
    return is_vit(settings)


def build(context: Context, blocks: gr.Blocks) -> None:
    """Draw the page and wire its events."""
    page = PatchLens(context)

    def read(question: object) -> dict[str, Any] | None:  # the browser calls it by its name
        return page.read(question)

    visit = gr.State(None, time_to_live=3600)
    top = heading()
    with gr.Row(elem_id="bar"):
        picker = html("picker", js_on_load=script("picker.js"))
        with gr.Column(elem_id="own", min_width=180, scale=0):
            upload = gr.UploadButton(elem_id="upload", size="md")
            model = gr.Dropdown(page.names, elem_id="model", filterable=False)
    stage = html(
        "stage",
        html_template='<div class="stage"></div>',
        js_on_load=script("stage.js"),
        server_functions=[read],
        answer=None,
    )
    sizes = html(
        "sizes",
        html_template='<div class="sizes"></div>',
        js_on_load=script("sizes.js"),
    )
    lessons = html("lessons")
    refuse_addresses(upload)

    shown = [visit, top, picker, model, stage, sizes]
    heavy: dict[str, Any] = {**DEVICE, "api_visibility": "private", "show_progress": "hidden"}
    heavy["trigger_mode"] = "multiple"  # by itself, Gradio drops what comes while it is busy
    blocks.load(page.arrive, None, [*shown, upload, lessons], **heavy)
    top.speak(page.speak, [visit], [*shown, upload, lessons], **heavy)
    picker.pick(page.pick, [visit], shown, **heavy)
    upload.upload(page.bring, [visit, upload], shown, **heavy)
    model.input(page.switch, [visit, model], shown, **heavy)
    stage.lost(page.again, [visit], shown, **heavy)
    stage.mask(page.mask, [visit], [stage], **heavy)

    with gr.Column(visible=False):  # what a script may ask: /predict and /attention
        picture = gr.File(label="picture")
        kept = gr.Textbox("", label="kept")
        layer, head, asker = (gr.Number(label=x, precision=0) for x in ("layer", "head", "asker"))
        result, go = gr.JSON(), gr.Button()
    refuse_addresses(picture)
    go.click(page.predict, [picture, kept], result, api_name="predict", **DEVICE)
    asked = [picture, layer, head, asker]
    go.click(page.attention, asked, result, api_name="attention", **DEVICE)


class PatchLens:
    """What the page does when a visitor does something."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.names = models(context.model)
        self.lens(self.names[0])  # a wrong --model is said now, not to the first visitor

    def lens(self, name: str) -> Lens:
        """The lens over a model, which takes the place of the one that was loaded before."""
        return self.context.slot.take(("vit", name), lambda: open_lens(name, self.context.device))

    def arrive(self, request: gr.Request) -> list[Any]:
        """Greet a visitor in their language, with what the link names, else an example."""
        query = dict(request.query_params)
        lang = self.context.language(query, dict(request.headers))
        name = query.get("picture", "")
        name = name if name in examples() else next(iter(examples()))
        model = query.get("model", "")
        model = model if model in self.names else self.names[0]
        return self.greet(Visit(lang, model, examples()[name], name), query)

    def speak(self, visit: Visit | None, event: gr.EventData) -> list[Any]:
        """Go on with the same picture in the language of the link that was followed."""
        query = link_followed(event)
        visit = visit or self.first_visit()
        lang = query.get("lang")
        return self.greet(replace(visit, lang=lang if lang in LANGUAGES else visit.lang), query)

    def greet(self, visit: Visit, query: Mapping[str, Any]) -> list[Any]:
        """Everything on the page, down to what never changes while a language is spoken."""
        say = words.PATCHES[visit.lang]
        shown = self.show(visit, query)
        shown[3] = gr.Dropdown(label=say["model"], value=visit.model)
        return [*shown, gr.UploadButton(label=say["upload"]), lessons_html(say, LESSONS)]

    def pick(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Show one of the examples."""
        visit = visit or self.first_visit()
        name = str(getattr(event, "name", ""))
        if name not in examples():
            return complain(NotHere(f"no example {name!r}"), words.PATCHES[visit.lang])
        return self.change(visit, picture=examples()[name], name=name)

    def bring(self, visit: Visit | None, file: str) -> Any:
        """Show a picture that the visitor brought."""
        visit = visit or self.first_visit()
        try:
            picture = read_picture(file)
        except MmfmError as error:
            return complain(error, words.PATCHES[visit.lang])
        return self.change(visit, picture=picture, name="yours")

    def switch(self, visit: Visit | None, model: str) -> Any:
        """Show the same picture to another model."""
        visit = visit or self.first_visit()
        if model not in self.names:
            return complain(NotHere(f"no model {model!r} on this page"), words.PATCHES[visit.lang])
        return self.change(visit, model=model)

    def again(self, visit: Visit | None) -> Any:
        """Look once more at a picture that the lens has forgotten."""
        return self.change(visit or self.first_visit())

    def mask(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Ask the model again, about the patches that are kept."""
        visit = visit or self.first_visit()
        turn = getattr(event, "turn", 0)  # tells the browser which question this answers
        try:
            look = self.lens(visit.model).look(visit.picture)
            keep = as_keep(getattr(event, "keep", None), look)
            answer = answer_data(look, keep, visit.lang)
        except MmfmError as error:
            complain(error, words.PATCHES[visit.lang])
            answer = {"failed": True}
        return gr.HTML(answer={**answer, "turn": turn})

    def first_visit(self) -> Visit:
        """A visit that the server has forgotten begins anew."""
        name, picture = next(iter(examples().items()))
        return Visit(self.context.lang or "en", self.names[0], picture, name)

    def change(self, visit: Visit, **changes: Any) -> Any:
        """Show what has changed, or say why it cannot be shown."""
        try:
            return self.show(replace(visit, **changes))
        except MmfmError as error:
            return complain(error, words.PATCHES[visit.lang])

    def show(self, visit: Visit, query: Mapping[str, Any] | None = None) -> list[Any]:
        """All that hangs on the picture and the model, for `shown` in `build`."""
        lens = self.lens(visit.model)
        look = lens.look(visit.picture)
        say = words.PATCHES[visit.lang]
        return [
            visit,
            top_html(lens.model, visit.model, visit.lang, say, self.context.titles),
            picker_html(visit, say),
            visit.model,
            stage_data(look, visit, say, query or {}),
            sizes_data(look, say),
        ]

    def read(self, question: object) -> dict[str, Any] | None:
        """One layer's rows for the browser; None if the lens has forgotten the picture.

        Never queued, so it only looks up: it loads no model and shows it no picture.
        """
        if not isinstance(question, dict):
            return None
        lens = self.context.slot.held(("vit", question.get("model")))
        look = lens.remembered(str(question.get("key"))) if isinstance(lens, Lens) else None
        layer, asker = question.get("layer"), question.get("asker")
        if look is None or not isinstance(layer, int) or not 0 <= layer < look.depth:
            return None
        if asker is None:
            return rows_data(look, layer, None) if fits_at_once(look) else None
        known = isinstance(asker, int) and 0 <= asker < len(look.askers) + look.patches
        return rows_data(look, layer, asker) if known else None

    def predict(self, picture: str | None, kept: str = "") -> dict[str, float]:
        """Each label's probability; `kept` says 1 (kept) or 0 (masked) for every patch."""
        with told():
            look = self.look_at(picture)
            chances = look.answer(as_keep(kept, look) if kept else None).probabilities
            if chances is None:
                raise BadInput(f"{self.names[0]} has no classes")
            return {label_of(look.model, i, "en"): p for i, p in enumerate(chances.tolist())}

    def attention(
        self, picture: str | None, layer: int | None, head: int | None, asker: int | None
    ) -> list[list[float]]:
        """How much an asker takes from each patch, as rows of the picture.

        Askers are the tokens that are no patch, then the patches. All count from 0; head -1 is the
        average.
        """
        with told():
            if layer is None or head is None or asker is None:
                raise BadInput("layer, head and asker are whole numbers, all three of them")
            look = self.look_at(picture)
            weights = look.attention(layer)
            heads, askers, _ = weights.shape
            if not (-1 <= head < heads and 0 <= asker < askers):
                raise BadInput(f"heads are -1 to {heads - 1}, askers 0 to {askers - 1}")
            row = weights.mean(dim=0)[asker] if head == -1 else weights[head, asker]
            return look.as_grid(row).tolist()

    def look_at(self, picture: str | None) -> Look:
        """A script's picture under the lens of the page's first model."""
        if picture is None:
            raise BadInput("no picture was sent")
        return self.lens(self.names[0]).look(read_picture(picture))


# --- which model, which picture -----------------------------------------------------------------


def models(wanted: str | None) -> list[str]:
    """The vision transformers to choose from; where there is none, one of random weights."""
    return models_here(wanted, is_vit) or [RANDOM]


def open_lens(name: str, device: str) -> Lens:
    """Load a model by its name."""
    return Lens(random_vit(device) if name == RANDOM else load_vit(name, device=device))


def random_vit(device: str) -> ViT:
    """A small transformer that has learned nothing, for a machine without any checkpoint."""
    config = ViTConfig((32, 32), 4, dim=96, depth=4, heads=3, mlp_dim=192, classes=10)
    model = ViT(config, labels=[f"{number}" for number in range(10)])
    generator = torch.Generator().manual_seed(0)
    model.reset(generator)
    assert model.head is not None
    # A head that starts at zero gives every class the same, and nothing would ever move.
    torch.nn.init.normal_(model.head.weight, generator=generator)
    return model.to(device).eval()


# --- what visitors send, and what they are told -------------------------------------------------


def as_keep(marks: object, look: Look) -> list[bool]:
    """Read a string of 1 (kept) and 0 (masked), a sign a patch."""
    if not isinstance(marks, str) or not re.fullmatch(f"[01]{{{look.patches}}}", marks):
        raise BadInput(f"the mask is not a string of {look.patches} signs 0 and 1")
    return [mark == "1" for mark in marks]


# --- what the browser is sent -------------------------------------------------------------------


def stage_data(
    look: Look, visit: Visit, say: Mapping[str, str], query: Mapping[str, Any]
) -> dict[str, Any]:
    """What stage.js draws from."""
    c = look.model.config
    layer = whole_number(query.get("layer"), 1, c.depth, c.depth) - 1
    return {
        "key": look.key,
        "model": visit.model,
        "picture": visit.name,
        "view": data_address(look.view),
        "pixels": [look.view.width, look.view.height],
        "grid": list(look.grid),
        "askers": [asker_words(name, say) for name in look.askers],
        "summary": look.summing_up,
        "depth": c.depth,
        "heads": c.heads,
        "layer": layer,
        "head": whole_number(query.get("head"), 0, c.heads, 0) - 1,  # -1: the average
        "patch": whole_number(query.get("patch"), 0, look.patches, 0) - 1,  # -1: the summary
        "rows": rows_data(look, layer, None) if fits_at_once(look) else None,
        "answer": answer_data(look, None, visit.lang),
        "lang": visit.lang,
        "words": say,
    }


def fits_at_once(look: Look) -> bool:
    """Whether a layer's attention of all askers is small enough to be sent together."""
    askers = len(look.askers) + look.patches
    return look.model.config.heads * askers * look.patches <= SENT_AT_ONCE


def asker_words(name: str, say: Mapping[str, str]) -> dict[str, Any]:
    """How an asker that is no patch is called, in short and at length."""
    kind, _, number = name.partition(" ")
    return {
        "short": say[kind].format(number=number),
        "long": say[f"{kind}_title"].format(number=number),
        "voiceless": kind == "probe",  # a question, not a token with neighbours
    }


def rows_data(look: Look, layer: int, asker: int | None) -> dict[str, Any]:
    """Attention, rollout and likeness of one asker or of all, in a form that is small to send.

    Attention and rollout are bytes relative to the highest of their row, likeness sixteen bits.
    """
    rows = slice(None) if asker is None else slice(asker, asker + 1)
    attention = look.attention(layer)[:, rows]  # h q n
    flow = look.rollout[rows]  # q n
    alike = look.similarity(layer)[rows]  # q n
    return {
        "layer": layer,
        "first": asker or 0,
        "count": attention.shape[1],
        "attention": as_bytes(attention / peaks(attention)),
        "attention_peak": base64_of(peaks(attention).numpy().astype("<f4")),
        "rollout": as_bytes(flow / peaks(flow)),
        "alike": base64_of(((alike.clamp(-1, 1) + 1) * 32767.5).round().numpy().astype("<u2")),
    }


def peaks(rows: Tensor) -> Tensor:
    """The highest value of each row."""
    return rows.amax(dim=-1, keepdim=True).clamp_min(1e-12)


def as_bytes(values: Tensor) -> str:
    """Numbers from 0 to 1, a byte each."""
    return base64_of(values.mul(255).round().byte().numpy())


def answer_data(look: Look, keep: list[bool] | None, lang: str) -> dict[str, Any]:
    """The answer beside that for the whole picture, the likeliest labels of both."""
    now = look.answer(keep)
    keep = keep or [True] * look.patches
    seen: dict[str, Any] = {
        "keep": "".join("01"[kept] for kept in keep),
        "kept": sum(keep),
        "total": look.patches,
        "likeness": now.likeness(look.whole),
        "bars": [],
    }
    if now.probabilities is not None and look.whole.probabilities is not None:
        whole = look.whole.probabilities
        best = torch.maximum(whole, now.probabilities)
        chosen = best.topk(min(SHOWN_LABELS, len(best))).indices.tolist()
        chosen.sort(key=lambda number: -float(whole[number]))
        seen["bars"] = [
            {
                "label": label_of(look.model, number, lang),
                "whole": float(whole[number]),
                "now": float(now.probabilities[number]),
            }
            for number in chosen
        ]
    return seen


def label_of(model: ViT, number: int, lang: str) -> str:
    """A class's name, in the visitor's language where we know it; its number if it has no name."""
    if number >= len(model.labels):
        return words.PATCHES[lang]["class"].format(number=number)
    name = model.labels[number]
    return names_in(lang).get(name, name)


@cache
def names_in(lang: str) -> Mapping[str, str]:
    """What the things that our own models name are called in a language, by their English name."""
    if lang == "en":
        return {}  # as the model says it
    kinds = read_kinds(Path(str(files("mmfm.assets"))) / "names" / "photos.csv").values()
    return {kind.names["en"][0]: kind.names[lang][0] for kind in kinds if lang in kind.names}


def sizes_data(look: Look, say: Mapping[str, str]) -> dict[str, Any]:
    """What sizes.js draws from."""
    model, view = look.model, look.view
    return {
        "view": data_address(view),
        "pixels": [view.width, view.height],
        "patch_size": model.config.patch_size,
        "rows": size_rows(model.config, view.height, view.width),
        "words": say,
    }


@cache
def size_rows(config: ViTConfig, height: int, width: int) -> list[dict[str, Any]]:
    """The cost of every patch size that divides the picture, in GFLOP."""
    return [
        {
            "size": c.patch_size,
            "grid": list(c.grid),
            "tokens": c.tokens,
            "attention": c.attention_flops / 1e9,
            "total": c.flops / 1e9,
        }
        for c in patch_costs(config, height, width)
    ]


# --- what is written on the page ----------------------------------------------------------------


def picker_html(visit: Visit, say: Mapping[str, str]) -> str:
    """The examples as buttons, with the visitor's own picture in front."""

    def pressed(name: str) -> str:
        return "true" if name == visit.name else "false"

    tiles = {"yours": visit.picture} if visit.name == "yours" else {}
    buttons = "".join(
        f'<button type="button" data-picture="{name}" aria-pressed="{pressed(name)}">'
        f'<img src="{thumbnail(picture)}" alt=""><span>{escape(say[name])}</span></button>'
        for name, picture in {**tiles, **examples()}.items()
    )
    return (
        f'<div class="heading">{escape(say["pictures"])}</div>'
        f'<div class="tiles">{buttons}</div><p class="note">{escape(say["drop"])}</p>'
    )
