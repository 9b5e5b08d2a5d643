"""What Out of the Noise and Drawn from Words have in common: a way out of noise that is watched.

The browser draws: the server walks the way as fast as the model allows and sends its steps, and the
browser shows them at a pace that a person can follow, so that nobody holds the device for looking.
Its part of what is here are way.js and way.css.
"""

import base64
import itertools
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any, Protocol

import gradio as gr
from PIL import Image

from mmfm import keepsakes
from mmfm.data.pictures import read_picture_file
from mmfm.data.texts import legible
from mmfm.errors import BadInput, MmfmError
from mmfm.models.checkpoints import load_denoiser
from mmfm.models.denoiser import Denoiser
from mmfm.tasks.generate import Sampling, chosen

from .page import DEVICE, LANGUAGES, Context
from .parts import complain, heading, html, link_followed, read_picture, refuse_addresses, script

News = dict[str, Any]
Words = Mapping[str, str]
Limits = Mapping[str, tuple[float, float]]

LIGHT: dict[str, Any] = {
    "api_visibility": "private",
    "show_progress": "hidden",
    "trigger_mode": "multiple",  # by itself, Gradio drops what comes while it is busy
}
HEAVY = {**LIGHT, **DEVICE}

TOLD = 0.06  # seconds between two messages of one way; each may bring many steps
# Ways of a visitor that can still be taken away: some more than are shown, since one that was
# stopped while it was being shown is one of them, too.
KEPT = 10
LARGEST_SIDE = 96  # of a model's pictures, of which each step sends up to seven
WIDE = 640  # pixels of what is taken away, about
SECONDS = (0.04, 0.2, 3.0)  # of a film's picture at least and at most, and of a film


class Told(MmfmError):
    """What a visitor did wrong, in their own language already."""


class Way(Protocol):
    """What is kept of a way that was walked, and the pictures that one takes away."""

    def png(self) -> bytes: ...
    def gif(self) -> bytes: ...
    def file_name(self, ending: str) -> str: ...


@dataclass(eq=False)
class Visit:
    """What the server remembers of one visitor.

    It changes in place: a way that is being walked has to hear that it was halted.
    """

    lang: str
    model: str  # "" where none is
    opening: dict[str, Any]  # what the page begins with
    halted: int = -1  # the last turn that was stopped; what came before it is stopped, too
    ways: dict[int, Way] = field(default_factory=dict[int, Way])  # by their turns, the last ones

    def keep(self, turn: int, way: Way) -> None:
        """Remember a way, and forget the first of too many."""
        self.ways.pop(turn, None)
        self.ways[turn] = way
        while len(self.ways) > KEPT:
            del self.ways[next(iter(self.ways))]


# --- the page -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Components:
    """What both pages are built of."""

    visit: gr.State
    top: gr.HTML
    about: gr.HTML
    upload: gr.UploadButton
    model: gr.Dropdown
    stage: gr.HTML
    lessons: gr.HTML

    @property
    def shown(self) -> list[Any]:
        """What hangs on the model and the language: `show` of a page fills it."""
        return [self.visit, self.top, self.about, self.model, self.stage]


def components(name: str, models: Sequence[str], scripts: Sequence[str], hears: str) -> Components:
    """Draw what both pages are built of; its ids begin with a name.

    Besides what both stages hear of the server, each hears something of its own.
    """
    visit = gr.State(None, time_to_live=6 * 3600)
    top = heading()
    with gr.Row(elem_id=f"{name}_bar", elem_classes="walk-bar"):
        about = html(f"{name}_about", elem_classes="walk-about")
        with gr.Column(elem_id=f"{name}_own", elem_classes="walk-own", min_width=180, scale=0):
            upload = gr.UploadButton(elem_id=f"{name}_upload", size="md")
            model = gr.Dropdown(list(models), elem_id=f"{name}_model", filterable=False)
    stage = html(
        name,
        html_template='<div class="desk walk"></div>',
        # One component, so that all that is on it knows each other; a file for each part.
        js_on_load="\n".join(script(f"{part}.js") for part in scripts),
        news=None,
        kept=None,
        **{hears: None},
    )
    refuse_addresses(upload)
    return Components(visit, top, about, upload, model, stage, html("lessons"))


class WayPage(ABC):
    """What both pages do when a visitor does something."""

    def __init__(self, context: Context, words: Mapping[str, Words]) -> None:
        self.context = context
        self.words = words
        self.turns = itertools.count(1)  # what equals the last of its kind would not be noticed

    @abstractmethod
    def first_visit(self, lang: str | None = None, query: Mapping[str, str] | None = None) -> Visit:
        """A visit as it begins, or begins anew when the server has forgotten it."""

    @abstractmethod
    def greet(self, visit: Visit) -> list[Any]:
        """Everything on the page, down to what never changes while a language is spoken."""

    @abstractmethod
    def switch(self, visit: Visit | None, model: str) -> Any:
        """Give what was drawn or said to another model."""

    @abstractmethod
    def set_out(
        self, visit: Visit, event: gr.EventData, is_halted: Callable[[], bool]
    ) -> tuple[Way, Iterator[News]]:
        """A way as it was wished for, and what is told of it while it is walked."""

    def wire(self, parts: Components, blocks: gr.Blocks) -> None:
        """Say which method answers what."""
        visit, stage = parts.visit, parts.stage
        greeted = [*parts.shown, parts.upload, parts.lessons]
        blocks.load(self.arrive, None, greeted, **HEAVY)
        parts.top.speak(self.speak, [visit], greeted, **HEAVY)
        parts.model.input(self.switch, [visit, parts.model], parts.shown, **HEAVY)
        stage.go(self.go, [visit], [visit, stage], **HEAVY)
        stage.halt(self.halt, [visit], None, **LIGHT)
        stage.keep(self.keep, [visit], [stage], **LIGHT)

    def arrive(self, request: gr.Request) -> list[Any]:
        """Greet a visitor in their language, with what the link asks for."""
        query = dict(request.query_params)
        lang = self.context.language(query, dict(request.headers))
        return self.greet(self.first_visit(lang, query))

    def speak(self, visit: Visit | None, event: gr.EventData) -> list[Any]:
        """Go on in the language of the link that was followed."""
        visit = visit or self.first_visit()
        lang = link_followed(event).get("lang")
        visit.lang = lang if lang in LANGUAGES else visit.lang
        return self.greet(visit)

    def go(self, visit: Visit | None, event: gr.EventData) -> Iterator[Any]:
        """Walk a way, until it is walked or somebody stops it."""
        visit = visit or self.first_visit()
        turn = getattr(event, "turn", None)
        turn = turn if type(turn) is int else 0
        try:
            way, told = self.set_out(visit, event, lambda: turn <= visit.halted)
            for news in told:
                over = news.get("over") is True
                if over and not news["halted"]:
                    visit.keep(turn, way)  # before the browser can ask for it
                message = {**news, "turn": turn, "number": next(self.turns)}
                yield [visit if over else gr.skip(), gr.HTML(news=message)]
        except MmfmError as error:
            self.complain(error, visit)
            yield [visit, gr.HTML(news={"turn": turn, "failed": True})]

    def halt(self, visit: Visit | None, event: gr.EventData) -> None:
        """Stop a way after the step that the model is thinking about."""
        turn = getattr(event, "turn", None)
        if visit is not None and type(turn) is int:
            visit.halted = max(visit.halted, turn)

    def keep(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Send a result as a picture or as a film, with its settings inside."""
        turn, kind = getattr(event, "turn", None), getattr(event, "kind", None)
        way = visit.ways.get(turn) if visit is not None and type(turn) is int else None
        if way is None or kind not in ("png", "gif"):
            say = self.words[visit.lang if visit else self.context.lang or LANGUAGES[0]]
            gr.Warning(escape(say["forgotten"]))  # Gradio shows a message as HTML
            return gr.skip()
        data = way.png() if kind == "png" else way.gif()
        kept = {
            "number": next(self.turns),
            "name": way.file_name(kind),
            "type": f"image/{kind}",
            "data": base64.b64encode(data).decode(),
        }
        return gr.HTML(kept=kept)

    def complain(self, error: MmfmError, visit: Visit) -> Any:
        """Say what went wrong, in the visitor's language where known, and change nothing."""
        if not isinstance(error, Told):
            return complain(error, self.words[visit.lang])
        gr.Warning(escape(str(error)))  # Gradio shows a message as HTML
        return gr.skip()


# --- walking --------------------------------------------------------------------------------------


def drawable(name: str, device: str) -> Denoiser:
    """Load a denoiser, if its pictures are such as these pages can show."""
    den = load_denoiser(name, device=device)
    channels, rows, columns = den.config.shape
    if rows != columns or rows > LARGEST_SIDE or channels not in (1, 3):
        raise BadInput(
            f"{name} draws {channels} channels of {rows}x{columns} pixels; this page takes squares "
            f"of up to {LARGEST_SIDE} pixels a side, grey or coloured"
        )
    return den


def in_time(
    steps: Iterable[News],
    frames: list[News],
    news: Callable[[int], News],
    is_halted: Callable[[], bool],
) -> Iterator[News]:
    """Note steps as frames, and tell of them at times so that a browser keeps up.

    A message begins where the one before did; the last one, which is the caller's, brings all. So
    whoever misses some, as browsers do that are busy, still sees every step.
    """
    ends = deque([0, 0], maxlen=2)
    told_at = time.monotonic()
    for step in steps:
        frames.append(step)
        if is_halted():
            break
        if time.monotonic() - told_at > TOLD:
            yield news(ends[0])
            ends.append(len(frames))
            told_at = time.monotonic()


def film(frames: Sequence[Image.Image], about: Mapping[str, Any]) -> bytes:
    """Pictures of a way as a film that takes about as long, however many there are."""
    least, most, whole = SECONDS
    seconds = min(max(whole / len(frames), least), most)
    return keepsakes.gif(frames, about, seconds=seconds)


def save(way: Way, folder: str) -> list[str]:
    """Write what one takes away of a way into a folder."""
    files = {way.file_name("png"): way.png(), way.file_name("gif"): way.gif()}
    for name, data in files.items():
        (Path(folder) / name).write_bytes(data)
    return [str(Path(folder) / name) for name in files]


# --- what is asked --------------------------------------------------------------------------------


def settings_in(file: str, say: Words) -> dict[str, Any] | None:
    """What a picture says of how it was made; None for one that mmfm did not make."""
    try:
        return keepsakes.about(read_picture_file(file))
    except keepsakes.Unsigned:
        return None
    except keepsakes.Later as error:
        raise Told(say["later"]) from error
    except BadInput as error:
        read_picture(file)  # says what is wrong with a file that is no picture at all
        raise Told(say["damaged"]) from error


def as_number(told: Mapping[str, Any], name: str, limits: Limits, say: Words) -> float:
    """Read a number between the limits that a page sets to it."""
    value, (low, high) = told.get(name), limits[name]
    # NaN lies between no two numbers.
    if type(value) not in (int, float) or not low <= value <= high:
        given = "-" if value is None else in_short(value)
        raise Told(say["out_of_range"].format(name=say[name], value=given, low=low, high=high))
    return float(value)


def as_whole(told: Mapping[str, Any], name: str, limits: Limits, say: Words) -> int:
    """Read a whole number; one that JSON or a text box has made 20.0 is whole, too."""
    value = as_number(told, name, limits, say)
    if value != int(value):
        raise Told(say["not_whole"].format(name=say[name], value=f"{value:g}"))
    return int(value)


def in_short(value: object) -> str:
    """The beginning of something that somebody has sent, in one line."""
    return legible(f"{value!s:.20}")


def usual(den: Denoiser, limits: Limits) -> Sampling:
    """How a model draws best, as far as a page goes."""
    best, (_, most), (low, high) = chosen(den), limits["steps"], limits["guidance"]
    guidance = min(max(best.guidance, low), high)
    return replace(best, steps=min(best.steps, int(most)), guidance=guidance)
