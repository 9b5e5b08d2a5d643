"""What pages are built from: the heading, pictures that visitors bring, examples, messages."""

import base64
import contextlib
import io
import math
import re
from collections.abc import Callable, Generator, Mapping, Sequence
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

from mmfm import hub
from mmfm.data.pictures import open_picture
from mmfm.errors import MmfmError
from mmfm.models.clip import TwoTowers
from mmfm.models.denoiser import Denoiser
from mmfm.models.tables import transformers
from mmfm.models.vit import ViT
from mmfm.runs import Run
from mmfm.tasks.classify import DEFAULTS
from mmfm.tasks.doctor import checkpoints, in_words

from . import words
from .page import STATIC

Model = ViT | TwoTowers | Denoiser
Titles = Mapping[str, Callable[[str], str]]  # address -> the page's name in a language

MAX_PIXELS = 50_000_000
LONGEST_SIDE = 2048  # what a visit remembers of a picture; no model here sees more
RANDOM = "random"  # a model's name here when no checkpoint is
# Of several that fit; the others come as they are listed. Out of the Noise begins with many steps.
FIRST = (*DEFAULTS, "vit-nano", "mnist-nano")


# --- which models -------------------------------------------------------------------------------


def models_here(wanted: str | None, fits: Callable[[Mapping[str, Any]], bool]) -> list[str]:
    """The models that a page can run: the one asked for, the bundled, those in the cache.

    A page starts with the first. One `--model` serves all pages, so that a page passes over what
    another one is for.
    """
    here = [
        found.name
        for found in checkpoints()
        if not found.fault and fits(hub.in_folder(found.folder, found.name).settings() or {})
    ]
    here.sort(key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    if wanted is not None and fits(hub.find(wanted, hub.FOR_ANY).settings() or {}):
        here = [wanted, *here]
    return list(dict.fromkeys(here))


def is_vit(settings: Mapping[str, Any]) -> bool:
    """Whether a checkpoint's settings name a vision transformer."""
    return (
        settings.get("model") == "vit"
        or settings.get("model_type") in transformers.TABLES
        or str(settings.get("architecture", "")).startswith(("vit_", "deit_"))
    )


def is_clip(settings: Mapping[str, Any]) -> bool:
    """Whether a checkpoint's settings name two towers."""
    return (
        settings.get("model") == "clip"
        or settings.get("model_type") in transformers.CLIP_TABLES
        or "model_cfg" in settings
    )


@cache
def examples() -> dict[str, Image.Image]:
    """Pictures that need no network: photographs of scikit-image, and some drawn here."""
    photographs = {  # first what the small models get right, too
        "coffee": "coffee.png",
        "rocket": "rocket.jpg",
        "cat": "chelsea.png",
        "astronaut": "astronaut.png",
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


@contextlib.contextmanager
def told() -> Generator[None]:
    """Tell a script what went wrong."""
    try:
        yield
    except MmfmError as error:
        # Not escaped: no page shows it, only a script reads it.
        line = words.explain(error, words.COMMON["en"])
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


def whole_number(text: object, low: int, high: int, otherwise: int) -> int:
    """A number from a link, brought between its limits; nonsense counts as nothing."""
    # More digits than any limit here has, and fewer than Python refuses to read.
    if not isinstance(text, str) or not re.fullmatch(r"\d{1,20}", text):
        return otherwise
    return min(max(int(text), low), high)


def real_number(text: str, low: float, high: float, otherwise: float) -> float:
    """The same of a number that need not be whole."""
    try:
        value = float(text)
    except ValueError:
        return otherwise
    return min(max(value, low), high) if math.isfinite(value) else otherwise


def data_address(picture: Image.Image) -> str:
    """A picture inside its own address, so that no file has to be served."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def top_html(
    model: Model, name: str, lang: str, say: Mapping[str, str], titles: Titles | None = None
) -> str:
    """The heading, the way to the other pages, and plainly which weights run where."""
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
        (say["weights"], weights_words(model, name, say)),
        (say["device"], device),
        (say["numbers"], str(parameter.dtype).removeprefix("torch.")),
        (say["memory"], memory),
    ]
    other = "en" if lang == "ko" else "ko"
    listed = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    warning = ' class="untrained"' if name == RANDOM else ""
    return (
        f"{pages_html(titles or {}, lang, say)}"
        f'<header lang="{lang}"><div><h1>{escape(say["title"])}</h1>'
        f"<p>{escape(say['tagline'])}</p></div>"
        f'<a id="language" href="?lang={other}" lang="{other}">{say["other_language"]}</a></header>'
        f'<dl id="status"{warning}>{listed}</dl>'
    )


def pages_html(titles: Titles, lang: str, say: Mapping[str, str]) -> str:
    """Links to all pages, in the language that is spoken; nothing where there is only one."""

    def link(address: str, name: str) -> str:
        here = ' aria-current="page"' if name == say["title"] else ""
        return f'<a href="{address}?lang={lang}"{here}>{escape(name)}</a>'

    links = "".join(link(address, title(lang)) for address, title in titles.items())
    if len(titles) < 2:
        return ""
    return f'<nav class="pages" lang="{lang}" aria-label="{escape(say["pages"])}">{links}</nav>'


def weights_words(model: Model, name: str, say: Mapping[str, str]) -> str:
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

    folder = hub.find(name, hub.FOR_ANY).folder
    if (folder / "run.json").is_file():
        # Its last two parts: where the rest lies is nobody's business but the owner's.
        return "/".join(Path(str(Run.read_settings(folder).get("data"))).parts[-2:])
    card = folder / "README.md"
    datasets = (metadata_load(card) or {}).get("datasets") if card.is_file() else None
    return ", ".join(datasets) if isinstance(datasets, list) else datasets


def thumbnail(picture: Image.Image) -> str:
    """A small square of a picture's middle."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return data_address(picture.crop((left, top, left + side, top + side)).resize((80, 80)))


def lessons_html(say: Mapping[str, str], lessons: Sequence[str]) -> str:
    """The short explanations at the foot of a page."""
    parts = "".join(
        f"<section><h3>{escape(say[f'lesson_{part}'])}</h3>"
        f"<p>{escape(say[f'lesson_{part}_text'])}</p></section>"
        for part in lessons
    )
    return f'<h2>{escape(say["lessons"])}</h2><div class="lessons">{parts}</div>'


def base64_of(values: np.ndarray[Any, Any]) -> str:
    """Numbers as text; the browser reads them back without parsing any."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def html(name: str, **settings: Any) -> gr.HTML:
    """An HTML component without Gradio's own styles, empty until a visitor arrives."""
    return gr.HTML(None, elem_id=name, apply_default_css=False, **settings)


def heading() -> gr.HTML:
    """The heading of a page, with which every page also makes sure that no answer gets lost."""
    top = html("top", js_on_load=script("top.js"))
    # Asked by top.js alone; whatever was waiting comes along with the answer.
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    top.wake(lambda: None, None, None, trigger_mode="multiple", **quiet)
    return top


def script(file: str) -> str:
    """The browser's part of a component."""
    return (STATIC / file).read_text(encoding="utf-8")


def link_followed(event: gr.EventData) -> Mapping[str, Any]:
    """What the link says that was followed within a page."""
    query = getattr(event, "query", None)
    return query if isinstance(query, dict) else {}


def complain(error: MmfmError, say: Mapping[str, str]) -> Any:
    """Say what went wrong and leave the page as it is."""
    # Gradio shows a message as HTML.
    gr.Warning(escape(f"{say['failed']}: {words.explain(error, say)}"))
    return gr.skip()
