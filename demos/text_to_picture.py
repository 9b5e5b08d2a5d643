"""Drawn from Words: say what you want to see, and watch a small model draw it out of noise.

This file is the page: what visitors can do and what they are shown. What stands behind it:

    text_to_picture_asked.py   reads what a browser, a link or a picture's settings say
    text_to_picture_kept.py    what is kept of a drawing, and the pictures one takes away

Where no model is that reads words, or not the CLIP that it reads with, the page says so, and what
to do. The browser draws: the server walks the way as fast as the model allows and sends its steps,
and the browser shows them at a pace that a person can follow, so that nobody holds the device for
looking.
"""

import base64
import itertools
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from mmfm.errors import BadInput, MmfmError, NotHere
from mmfm.models.checkpoints import load_denoiser
from mmfm.models.denoiser import Denoiser
from mmfm.models.words import Reader, reader_for
from mmfm.tasks.doctor import reads_words
from mmfm.tasks.draw_words import COUNT, looked, noise_of, tell
from mmfm.tasks.generate import chosen, names_of

from .page import DEVICE, LANGUAGES, Context
from .parts import (
    complain,
    heading,
    html,
    lessons_html,
    models_here,
    pages_html,
    refuse_addresses,
    script,
    told,
    top_html,
)
from .text_to_picture_asked import (
    LIMITS,
    LONGEST,
    NAMES,
    Told,
    as_asked,
    as_whole,
    from_link,
    settings_in,
    usual,
)
from .text_to_picture_kept import Drawn, as_noise, file_name, told_parts
from .words_text_to_picture import WORDS

LESSONS = ("read", "look", "guide", "change", "walk", "caution")
LARGEST_SIDE = 96  # of a model's pictures, of which each step sends up to seven
SCRIPTS = ("way", "text_to_picture_show", "text_to_picture_looks", "text_to_picture_page")

TOLD = 0.06  # seconds between two messages of one way; each may bring many steps
# Drawings of a visitor that can still be taken away: some more than are shown, since one that was
# stopped while it was being shown is one of them, too.
KEPT = 10


@dataclass(frozen=True, eq=False)
class Painter:
    """A model that draws, and what reads words for it."""

    den: Denoiser
    reader: Reader


@dataclass(eq=False)
class Visit:
    """What the server remembers of one visitor.

    It changes in place: a way that is being walked has to hear that it was halted.
    """

    lang: str
    model: str  # "" where none is
    opening: dict[str, Any]  # what the page begins with
    halted: int = -1  # the last turn that was stopped; what came before it is stopped, too
    drawn: dict[int, Drawn] = field(
        default_factory=dict[int, Drawn]
    )  # by their turns, the last ones

    def keep(self, turn: int, drawn: Drawn) -> None:
        """Remember a drawing, and forget the first of too many."""
        self.drawn.pop(turn, None)
        self.drawn[turn] = drawn
        while len(self.drawn) > KEPT:
            del self.drawn[next(iter(self.drawn))]


def title(lang: str) -> str:
    """The page's name."""
    return WORDS[lang]["title"]


def takes(settings: Mapping[str, Any]) -> bool:
    """Whether the page can run a checkpoint of these settings: a denoiser that reads words."""
    return reads_words(settings)


def build(context: Context, blocks: gr.Blocks) -> None:
    """Draw the page and wire its events."""
    page = DrawnFromWords(context)

    visit = gr.State(None, time_to_live=6 * 3600)
    top = heading()
    with gr.Row(elem_id="draw_bar"):
        about = html("draw_about")
        with gr.Column(elem_id="draw_own", min_width=180, scale=0):
            upload = gr.UploadButton(elem_id="draw_upload", size="md")
            model = gr.Dropdown(page.names, elem_id="draw_model", filterable=False)
    stage = html(
        "draw",
        html_template='<div class="drawing"></div>',
        # One component, so that pictures, words and settings know each other; a file for each.
        js_on_load="\n".join(script(f"{part}.js") for part in SCRIPTS),
        noise=None,
        news=None,
        kept=None,
    )
    refuse_addresses(upload)
    lessons = html("lessons")

    shown = [visit, top, about, model, stage]
    light: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    light["trigger_mode"] = "multiple"  # by itself, Gradio drops what comes while it is busy
    heavy = {**light, **DEVICE}
    blocks.load(page.arrive, None, [*shown, upload, lessons], **heavy)
    top.speak(page.speak, [visit], [*shown, upload, lessons], **heavy)
    model.input(page.switch, [visit, model], shown, **heavy)
    upload.upload(page.open, [visit, upload], shown, **heavy)
    stage.draw(page.paint, [visit], [visit, stage], **heavy)
    stage.halt(page.halt, [visit], None, **light)
    stage.bury(page.bury, [visit], [stage], **light)
    stage.keep(page.keep, [visit], [stage], **light)

    with gr.Column(visible=False):  # what a script may ask: /draw
        prompt, other = gr.Textbox("", label="prompt"), gr.Textbox("", label="other")
        mode, hand = gr.Textbox("one", label="mode"), gr.Textbox("", label="hand")
        steps, guidance = gr.Number(None, label="steps"), gr.Number(None, label="guidance")
        seed = gr.Number(0, label="seed")
        pictures, settings = gr.File(file_count="multiple"), gr.JSON()
        go = gr.Button()
    asked = [prompt, other, mode, hand, steps, guidance, seed]
    go.click(page.answer, asked, [pictures, settings], api_name="draw", **DEVICE)


class DrawnFromWords:
    """What the page does when a visitor does something."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.names = models_here(context.model, takes)
        self.turns = itertools.count(1)  # what equals the last of its kind would not be noticed
        self.wanting: dict[str, str] = {}  # a model's name -> which half of it was loaded last
        if self.names and self.names[0] == context.model:
            # A wrong --model is said now, not to the first visitor.
            drawable(self.names[0], context.device)

    def painter(self, name: str) -> Painter:
        """A model with its reader, which take the place of what was loaded before."""
        device = self.context.device

        def load() -> Painter:
            self.wanting[name] = "denoiser"
            den = drawable(name, device)
            self.wanting[name] = "reader"
            return Painter(den, reader_for(den, device=device))

        if not name:
            raise NotHere("no model that reads words is here; mmfm train draw makes one")
        return self.context.slot.take(("painter", name), load)

    # --- what a visitor does ----------------------------------------------------------------------

    def arrive(self, request: gr.Request) -> list[Any]:
        """Greet a visitor in their language, with what the link asks for."""
        query = dict(request.query_params)
        lang = self.context.language(query, dict(request.headers))
        return self.greet(self.first_visit(lang, query))

    def speak(self, visit: Visit | None, event: gr.EventData) -> list[Any]:
        """Go on in the language of the link that was followed."""
        visit = visit or self.first_visit()
        query = getattr(event, "query", None)
        lang = query.get("lang") if isinstance(query, dict) else None
        visit.lang = lang if lang in LANGUAGES else visit.lang
        return self.greet(visit)

    def switch(self, visit: Visit | None, model: str) -> Any:
        """Give the same words to another model."""
        visit = visit or self.first_visit()
        say = WORDS[visit.lang]
        if model not in self.names:
            return self.complain(Told(say["no_model"].format(name=f"{model!s:.60}")), visit)
        if model == visit.model:  # Gradio says so too when somebody only walks past
            return gr.skip()
        visit.model, visit.opening = model, self.opening(model, {}, visit.lang)
        return self.show(visit)

    def paint(self, visit: Visit | None, event: gr.EventData) -> Iterator[Any]:
        """Draw what is said, until it is drawn or somebody stops it."""
        visit = visit or self.first_visit()
        turn = getattr(event, "turn", None)
        turn = turn if type(turn) is int else 0
        sent = {name: getattr(event, name, None) for name in NAMES}
        try:
            painter = self.painter(visit.model)
            asked = as_asked(sent, painter.den, WORDS[visit.lang])
            drawn = Drawn.begin(visit.model, asked, painter.reader)
            for news in self.drawing(drawn, painter, lambda: turn <= visit.halted):
                over = news.get("over") is True
                if over and not news["halted"]:
                    visit.keep(turn, drawn)  # before the browser can ask for it
                message = {**news, "turn": turn, "number": next(self.turns)}
                yield [visit if over else gr.skip(), gr.HTML(news=message)]
        except MmfmError as error:
            self.complain(error, visit)
            yield [visit, gr.HTML(news={"turn": turn, "failed": True})]

    def drawing(
        self, drawn: Drawn, painter: Painter, is_halted: Callable[[], bool]
    ) -> Iterator[dict[str, Any]]:
        """Walk the way to a drawing and tell of its steps, at times so that a browser keeps up.

        A message begins where the one before did; the last one brings all. So whoever misses some,
        as browsers do that are busy, still sees every step.
        """
        asked, frames = drawn.asked, list[dict[str, Any]]()
        ends = deque([0, 0], maxlen=2)
        parts = [told_parts(part, painter.reader) for part in drawn.parts]

        def news(first: int) -> dict[str, Any]:
            total = asked.wish.steps
            return {"first": first, "frames": frames[first:], "total": total, "parts": parts}

        yield news(0)  # the device is ours
        moments = asked.drawing(painter.den, painter.reader)
        words = tell(painter.den, painter.reader, asked.texts, asked.wish.hand)
        told_at = time.monotonic()
        for moment in moments:
            shares = looked(painter.den, words, moment) if parts else None
            frames.append(drawn.add(moment, shares))
            if is_halted():
                break
            if time.monotonic() - told_at > TOLD:
                yield news(ends[0])
                ends.append(len(frames))
                told_at = time.monotonic()
        end = base64.b64encode(drawn.result.numpy().tobytes()).decode()
        yield {**news(0), "over": True, "halted": is_halted(), "end": end}

    def halt(self, visit: Visit | None, event: gr.EventData) -> None:
        """Stop a drawing after the step that the model is thinking about."""
        turn = getattr(event, "turn", None)
        if visit is not None and type(turn) is int:
            visit.halted = max(visit.halted, turn)

    def bury(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Show the noise that a picture will come from.

        It waits for no device, so it loads no model: without one there is nothing to show.
        """
        if visit is None:
            return gr.skip()
        painter = self.context.slot.held(("painter", visit.model))
        if not isinstance(painter, Painter):
            return gr.skip()
        try:
            seed = as_whole({"seed": getattr(event, "seed", None)}, "seed", WORDS[visit.lang])
        except MmfmError as error:
            return self.complain(error, visit)
        noise = as_noise(noise_of(painter.den, seed))
        return gr.HTML(noise={"seed": seed, "noise": noise, "number": next(self.turns)})

    def keep(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Send a drawing as a picture or as a film, with its settings inside."""
        turn, kind = getattr(event, "turn", None), getattr(event, "kind", None)
        drawn = visit.drawn.get(turn) if visit is not None and type(turn) is int else None
        if drawn is None or kind not in ("png", "gif"):
            say = WORDS[visit.lang if visit else self.context.lang or LANGUAGES[0]]
            gr.Warning(escape(say["forgotten"]))  # Gradio shows a message as HTML
            return gr.skip()
        data = drawn.png() if kind == "png" else drawn.gif()
        kept = {
            "number": next(self.turns),
            "name": file_name(drawn, kind),
            "type": f"image/{kind}",
            "data": base64.b64encode(data).decode(),
        }
        return gr.HTML(kept=kept)

    def open(self, visit: Visit | None, file: str) -> Any:
        """Restore what a picture says of itself."""
        visit = visit or self.first_visit()
        say = WORDS[visit.lang]
        try:
            about = settings_in(file, say)
            name = about.get("model")
            model = name if name in self.names else visit.model
            asked = as_asked(about, self.painter(model).den, say)
        except MmfmError as error:
            self.complain(error, visit)
            return [gr.skip()] * 5
        visit.model = model
        note = say["restored"] if name == model else say["restored_other"]
        told_of = {**asked.about(model), "note": note.format(model=f"{name!s:.60}")}
        return self.show(visit, told_of)

    # --- what it takes ----------------------------------------------------------------------------

    def first_visit(self, lang: str | None = None, query: Mapping[str, str] | None = None) -> Visit:
        """A visit as it begins, or begins anew when the server has forgotten it."""
        lang, query = lang or self.context.lang or LANGUAGES[0], query or {}
        model = query.get("model", "")
        model = model if model in self.names else next(iter(self.names), "")
        return Visit(lang, model, self.opening(model, query, lang))

    def opening(self, model: str, query: Mapping[str, str], lang: str) -> dict[str, Any]:
        """What the page begins with; nothing where the model can't be had."""
        try:
            return from_link(query, self.painter(model).den, WORDS[lang])
        except MmfmError:  # what is missing is said when the page is shown
            return {}

    def complain(self, error: MmfmError, visit: Visit) -> Any:
        """Say what went wrong, in the visitor's language where known, and change nothing."""
        if not isinstance(error, Told):
            return complain(error, WORDS[visit.lang])
        gr.Warning(escape(str(error)))  # Gradio shows a message as HTML
        return gr.skip()

    # --- what is sent to the browser --------------------------------------------------------------

    def greet(self, visit: Visit) -> list[Any]:
        """Everything on the page, down to what never changes while a language is spoken."""
        say = WORDS[visit.lang]
        shown = self.show(visit)
        shown[3] = gr.Dropdown(
            label=say["model"], value=visit.model or None, visible=bool(self.names)
        )
        upload = gr.UploadButton(label=say["upload"], visible=bool(self.names))
        return [*shown, upload, lessons_html(say, LESSONS)]

    def show(self, visit: Visit, brought: Mapping[str, Any] | None = None) -> list[Any]:
        """All that hangs on the model and the language, for `shown` in `build`."""
        say = WORDS[visit.lang]
        sent: dict[str, Any] = {
            "number": next(self.turns),
            "lang": visit.lang,
            "words": say,
            "model": visit.model,
            "limits": {**LIMITS, "text": LONGEST},
            "brought": brought,
            "missing": None,
        }
        try:
            painter = self.painter(visit.model)
        except MmfmError as error:
            kind = self.wanting[visit.model] if visit.model else "model"  # where there is none
            sent["missing"] = {"kind": kind, "why": f"{error}"}
            return [visit, self.bare_top(visit.lang), "", visit.model or None, sent]
        den = painter.den
        sent |= {
            "size": den.config.image_size,
            "channels": den.config.channels,
            "hands": list(names_of(den)),
            "opening": visit.opening or from_link({}, den, say),
            "usual": {"guidance": usual(den).guidance},
            "noise": {"seed": 0, "noise": as_noise(noise_of(den, 0))},
            "sampler": chosen(den).sampler,
            "stops": COUNT,
        }
        top = top_html(den, visit.model, visit.lang, say, self.context.titles)
        about = f'<p class="note">{escape(say["drop"])}</p>'
        return [visit, top, about, visit.model, sent]

    def bare_top(self, lang: str) -> str:
        """The heading where no model is that it could speak of."""
        say, other = WORDS[lang], "en" if lang == "ko" else "ko"
        return (
            f"{pages_html(self.context.titles, lang, say)}"
            f'<header lang="{lang}"><div><h1>{escape(say["title"])}</h1>'
            f"<p>{escape(say['tagline'])}</p></div>"
            f'<a id="language" href="?lang={other}" lang="{other}">{say["other_language"]}</a>'
            "</header>"
        )

    # --- scripts ----------------------------------------------------------------------------------

    def answer(
        self,
        prompt: str,
        other: str,
        mode: str,
        hand: str,
        steps: float | None,
        guidance: float | None,
        seed: float | None,
    ) -> Iterator[Any]:
        """Draw words: a PNG and a GIF with their settings inside, and these as JSON.

        `mode` is "one" picture; "change", one of `prompt` and one of `other` from the same noise;
        or "between", seven from the one to the other. What is left empty is as the model draws
        best.
        """
        with told(), tempfile.TemporaryDirectory(prefix="mmfm-") as folder:
            model = next(iter(self.names), "")
            painter = self.painter(model)
            best = usual(painter.den)
            wishes = {
                "mode": mode,
                "text": prompt,
                "other": other or None,
                "hand": hand or None,
                "steps": best.steps if steps is None else steps,
                "guidance": best.guidance if guidance is None else guidance,
                "seed": 0 if seed is None else seed,
            }
            asked = as_asked(wishes, painter.den, WORDS["en"])
            drawn = Drawn.begin(model, asked, painter.reader)
            for _ in self.drawing(drawn, painter, lambda: False):
                pass
            files = {Path(folder) / file_name(drawn, "png"): drawn.png()}
            files[Path(folder) / file_name(drawn, "gif")] = drawn.gif()
            for path, data in files.items():
                path.write_bytes(data)
            # Gradio makes copies of its own before it comes back for more.
            yield [str(path) for path in files], asked.about(model)


def drawable(name: str, device: str) -> Denoiser:
    """Load a denoiser, if its pictures are such as this page can show."""
    den = load_denoiser(name, device=device)
    channels, rows, columns = den.config.shape
    if rows != columns or rows > LARGEST_SIDE or channels not in (1, 3):
        raise BadInput(
            f"{name} draws {channels} channels of {rows}x{columns} pixels; this page takes squares "
            f"of up to {LARGEST_SIDE} pixels a side, grey or coloured"
        )
    return den
