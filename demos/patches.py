"""The Patch Lens: a picture as patches, who looks at whom, and what is said when patches go."""

import base64
import contextlib
import io
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import psutil
import torch
from gradio_client.utils import is_http_url_like
from PIL import Image, ImageDraw
from torch import Tensor

from mmfm import hub
from mmfm.data.pictures import open_picture
from mmfm.errors import BadInput, MmfmError, NotHere
from mmfm.models.checkpoints import load_vit
from mmfm.models.tables import transformers
from mmfm.models.vit import ViT, ViTConfig
from mmfm.runs import Run
from mmfm.tasks.doctor import checkpoints, in_words
from mmfm.tasks.look import Lens, Look, patch_costs

from . import words
from .page import DEVICE, LANGUAGES, STATIC, Context

MAX_PIXELS = 50_000_000
LONGEST_SIDE = 2048  # what a visit remembers of a picture; no model here sees more
# Bytes of one layer's attention that are sent at once, so that pointing at a patch needs no
# answer from the server; beyond, it is sent patch by patch.
SENT_AT_ONCE = 600_000
SHOWN_LABELS = 6
RANDOM = "random"  # a model's name here when no checkpoint is


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


def build(context: Context, blocks: gr.Blocks) -> None:
    """Draw the page and wire its events."""
    page = PatchLens(context)

    def read(question: object) -> dict[str, Any] | None:  # the browser calls it by its name
        return page.read(question)

    visit = gr.State(None, time_to_live=3600)
    top = html("top", js_on_load=script("top.js"))
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
        query = getattr(event, "query", None)
        query = query if isinstance(query, dict) else {}
        visit = visit or self.first_visit()
        lang = query.get("lang")
        return self.greet(replace(visit, lang=lang if lang in LANGUAGES else visit.lang), query)

    def greet(self, visit: Visit, query: Mapping[str, Any]) -> list[Any]:
        """Everything on the page, down to what never changes while a language is spoken."""
        say = words.PATCHES[visit.lang]
        shown = self.show(visit, query)
        shown[3] = gr.Dropdown(label=say["model"], value=visit.model)
        return [*shown, gr.UploadButton(label=say["upload"]), lessons_html(say)]

    def pick(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Show one of the examples."""
        visit = visit or self.first_visit()
        name = str(getattr(event, "name", ""))
        if name not in examples():
            return complain(NotHere(f"no example {name!r}"), visit)
        return self.change(visit, picture=examples()[name], name=name)

    def bring(self, visit: Visit | None, file: str) -> Any:
        """Show a picture that the visitor brought."""
        visit = visit or self.first_visit()
        try:
            picture = read_picture(file)
        except MmfmError as error:
            return complain(error, visit)
        return self.change(visit, picture=picture, name="yours")

    def switch(self, visit: Visit | None, model: str) -> Any:
        """Show the same picture to another model."""
        visit = visit or self.first_visit()
        if model not in self.names:
            return complain(NotHere(f"no model {model!r} on this page"), visit)
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
            answer = answer_data(look, keep, words.PATCHES[visit.lang])
        except MmfmError as error:
            complain(error, visit)
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
            return complain(error, visit)

    def show(self, visit: Visit, query: Mapping[str, Any] | None = None) -> list[Any]:
        """All that hangs on the picture and the model, for `shown` in `build`."""
        lens = self.lens(visit.model)
        look = lens.look(visit.picture)
        say = words.PATCHES[visit.lang]
        return [
            visit,
            top_html(lens.model, visit, say),
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
            english = words.PATCHES["en"]
            return {label_of(look.model, i, english): p for i, p in enumerate(chances.tolist())}

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
    """The models to choose from: the one asked for, the bundled, the cached; else random."""
    here = [found.name for found in checkpoints() if not found.fault and is_vit(found.folder)]
    names = list(dict.fromkeys([wanted, *here] if wanted else here))
    return names or [RANDOM]


def is_vit(folder: Path) -> bool:
    """Whether a checkpoint's settings name a vision transformer."""
    settings = hub.in_folder(folder, folder.name).settings() or {}
    architecture = str(settings.get("architecture", ""))
    return (
        settings.get("model") == "vit"
        or settings.get("model_type") in transformers.TABLES
        or architecture.startswith(("vit_", "deit_"))
    )


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


@cache
def examples() -> dict[str, Image.Image]:
    """Pictures that need no network: photographs of scikit-image, and some drawn here."""
    photographs = {
        "cat": "chelsea.png",
        "astronaut": "astronaut.png",
        "rocket": "rocket.jpg",
        "coffee": "coffee.png",
    }
    found: dict[str, Image.Image] = {}
    for name, file in photographs.items():
        path = Path(str(files("skimage") / "data" / file))
        if path.is_file():  # a later scikit-image may leave some of them out
            found[name] = open_picture(path)
    return {**found, "shapes": draw_shapes(), "stripes": draw_stripes()}


def draw_shapes() -> Image.Image:
    """A red disc, a yellow square and a green triangle under a blue sky."""
    picture = Image.new("RGB", (384, 384), "#8ec5f0")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 288, 384, 384), fill="#c9b48f")
    draw.ellipse((36, 36, 156, 156), fill="#d7263d")
    draw.rectangle((216, 168, 336, 288), fill="#f2c14e")
    draw.polygon([(108, 180), (48, 300), (168, 300)], fill="#2e7d4f")
    return picture


def draw_stripes() -> Image.Image:
    """Stripes, upright on the left and lying on the right: parts that are alike."""
    picture = Image.new("RGB", (384, 384), "#f7f3e9")
    draw = ImageDraw.Draw(picture)
    for start in range(0, 384, 48):
        if start < 192:
            draw.rectangle((start, 0, start + 23, 383), fill="#22577a")
        draw.rectangle((192, start, 383, start + 23), fill="#c8553d")
    return picture


# --- what visitors send, and what they are told -------------------------------------------------


def complain(error: MmfmError, visit: Visit) -> Any:
    """Say what went wrong and leave the page as it is."""
    say = words.PATCHES[visit.lang]
    # Gradio shows a message as HTML.
    gr.Warning(escape(f"{say['failed']}: {words.explain(error, say)}"))
    return gr.skip()


@contextlib.contextmanager
def told() -> Generator[None]:
    """Tell a script what went wrong."""
    try:
        yield
    except MmfmError as error:
        # Not escaped: no page shows it, only a script reads it.
        line = words.explain(error, words.PATCHES["en"])
        raise gr.Error(line, print_exception=False) from error


def refuse_addresses(component: gr.UploadButton | gr.File) -> None:
    """Take files that were uploaded only: Gradio would fetch what an address names."""
    take = component.async_move_resource_to_block_cache

    async def take_file(url_or_file_path: str | Path | None) -> str | None:
        if is_http_url_like(str(url_or_file_path)):
            raise gr.Error("Send a file, not an address.", print_exception=False)
        return await take(url_or_file_path)

    component.async_move_resource_to_block_cache = take_file


def read_picture(path: str) -> Image.Image:
    """Open a picture and keep no more of it than any model sees."""
    picture = open_picture(path, max_pixels=MAX_PIXELS)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return picture


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
        "answer": answer_data(look, None, say),
        "lang": visit.lang,
        "words": say,
    }


def fits_at_once(look: Look) -> bool:
    """Whether a layer's attention of all askers is small enough to be sent together."""
    askers = len(look.askers) + look.patches
    return look.model.config.heads * askers * look.patches <= SENT_AT_ONCE


def whole_number(text: object, low: int, high: int, otherwise: int) -> int:
    """A number from a link, brought between its limits; nonsense counts as nothing."""
    if not isinstance(text, str) or not re.fullmatch(r"\d{1,6}", text):
        return otherwise
    return min(max(int(text), low), high)


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


def base64_of(values: np.ndarray[Any, Any]) -> str:
    """Numbers as text; the browser reads them back without parsing any."""
    return base64.b64encode(values.tobytes()).decode()


def answer_data(look: Look, keep: list[bool] | None, say: Mapping[str, str]) -> dict[str, Any]:
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
                "label": label_of(look.model, number, say),
                "whole": float(whole[number]),
                "now": float(now.probabilities[number]),
            }
            for number in chosen
        ]
    return seen


def label_of(model: ViT, number: int, say: Mapping[str, str]) -> str:
    """A class's name, or its number where the model has no names."""
    named = number < len(model.labels)
    return model.labels[number] if named else say["class"].format(number=number)


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


def data_address(picture: Image.Image) -> str:
    """A picture inside its own address, so that no file has to be served."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


# --- what is written on the page ----------------------------------------------------------------


def top_html(model: ViT, visit: Visit, say: Mapping[str, str]) -> str:
    """The heading, and plainly which weights run where."""
    parameter = next(model.parameters())
    weights = sum(p.nbytes for p in model.parameters())
    device = str(parameter.device)
    used = (
        torch.cuda.memory_allocated(parameter.device)
        if parameter.is_cuda
        else psutil.Process().memory_info().rss
    )
    memory = say["memory_value"].format(weights=in_words(weights), process=in_words(used))
    facts = [
        (say["weights"], weights_words(model, visit.model, say)),
        (say["device"], device),
        (say["numbers"], str(parameter.dtype).removeprefix("torch.")),
        (say["memory"], memory),
    ]
    other = "en" if visit.lang == "ko" else "ko"
    listed = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    warning = ' class="untrained"' if visit.model == RANDOM else ""
    return (
        f'<header lang="{visit.lang}"><div><h1>{escape(say["title"])}</h1>'
        f"<p>{escape(say['tagline'])}</p></div>"
        f'<a id="language" href="?lang={other}" lang="{other}">{say["other_language"]}</a></header>'
        f'<dl id="status"{warning}>{listed}</dl>'
    )


def weights_words(model: ViT, name: str, say: Mapping[str, str]) -> str:
    """Whose weights these are, and what they were trained on as far as the card tells."""
    if name == RANDOM:
        return f"{say['random']} · {say['random_note']}"
    data = trained_on(name)
    learned = say["trained_on"].format(data=data) if data else say["no_card"]
    return f"{name} · {say[model.origin]} · {learned}"


@cache
def trained_on(name: str) -> str | None:
    """The data of one's own run, or what a checkpoint's card names in its head, as the hub's do."""
    from huggingface_hub.repocard import metadata_load

    folder = hub.find(name).folder
    if (folder / "run.json").is_file():
        # Its last two parts: where the rest lies is nobody's business but the owner's.
        return "/".join(Path(str(Run.read_settings(folder).get("data"))).parts[-2:])
    card = folder / "README.md"
    datasets = (metadata_load(card) or {}).get("datasets") if card.is_file() else None
    return ", ".join(datasets) if isinstance(datasets, list) else datasets


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


def thumbnail(picture: Image.Image) -> str:
    """A small square of a picture's middle."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return data_address(picture.crop((left, top, left + side, top + side)).resize((80, 80)))


def lessons_html(say: Mapping[str, str]) -> str:
    """The short explanations under the lens."""
    parts = "".join(
        f"<section><h3>{escape(say[f'lesson_{part}'])}</h3>"
        f"<p>{escape(say[f'lesson_{part}_text'])}</p></section>"
        for part in ("patch", "token", "attention", "rollout", "caution")
    )
    return f'<h2>{escape(say["lessons"])}</h2><div class="lessons">{parts}</div>'


def html(name: str, **settings: Any) -> gr.HTML:
    """An HTML component without Gradio's own styles, empty until a visitor arrives."""
    return gr.HTML(None, elem_id=name, apply_default_css=False, **settings)


def script(file: str) -> str:
    """The browser's part of a component."""
    return (STATIC / file).read_text(encoding="utf-8")
