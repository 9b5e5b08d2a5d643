"""Drawn from Words: say what you want to see, and watch a small model draw it out of noise.

This file is the page: what visitors can do and what they are shown. What stands behind it:

    text_to_picture_asked.py   reads what a browser, a link or a picture's settings say
    text_to_picture_kept.py    what is kept of a drawing, and the pictures one takes away
    way.py                     what Out of the Noise does, too: a way is walked, and watched

Where no model is that reads words, or not the CLIP that it reads with, the page says so, and what
to do.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from mmfm.errors import MmfmError, NotHere
from mmfm.models.denoiser import Denoiser
from mmfm.models.words import Reader, reader_for
from mmfm.tasks.doctor import reads_words
from mmfm.tasks.draw_words import COUNT, Moment, looked, noise_of, tell
from mmfm.tasks.generate import chosen, names_of

from .page import DEVICE, LANGUAGES, Context
from .parts import base64_of, lessons_html, models_here, pages_html, told, top_html
from .text_to_picture_asked import LIMITS, LONGEST, NAMES, as_asked, from_link, wish_in
from .text_to_picture_kept import Drawn, as_noise, told_words
from .way import (
    HEAVY,
    LIGHT,
    News,
    Told,
    Visit,
    WayPage,
    as_whole,
    components,
    drawable,
    in_time,
    save,
    usual,
)
from .words_text_to_picture import WORDS

LESSONS = ("read", "look", "guide", "change", "walk", "caution")
SCRIPTS = ("desk", "way", "text_to_picture_show", "text_to_picture_looks", "text_to_picture_page")


@dataclass(frozen=True, eq=False)
class Painter:
    """A model that draws, and what reads words for it."""

    den: Denoiser
    reader: Reader


def title(lang: str) -> str:
    """The page's name."""
    return WORDS[lang]["title"]


def takes(settings: Mapping[str, Any]) -> bool:
    """Whether the page can run a checkpoint of these settings: a denoiser that reads words."""
    return reads_words(settings)


def build(context: Context, blocks: gr.Blocks) -> None:
    """Draw the page and wire its events."""
    page = DrawnFromWords(context)
    parts = components("draw", page.names, SCRIPTS, hears="noise")
    page.wire(parts, blocks)
    parts.stage.bury(page.bury, [parts.visit], [parts.stage], **LIGHT)
    parts.upload.upload(page.open, [parts.visit, parts.upload], parts.shown, **HEAVY)

    with gr.Column(visible=False):  # what a script may ask: /draw
        prompt, other = gr.Textbox("", label="prompt"), gr.Textbox("", label="other")
        mode, hand = gr.Textbox("one", label="mode"), gr.Textbox("", label="hand")
        steps, guidance = gr.Number(None, label="steps"), gr.Number(None, label="guidance")
        seed = gr.Number(0, label="seed")
        pictures, settings = gr.File(file_count="multiple"), gr.JSON()
        go = gr.Button()
    asked = [prompt, other, mode, hand, steps, guidance, seed]
    go.click(page.answer, asked, [pictures, settings], api_name="draw", **DEVICE)


class DrawnFromWords(WayPage):
    """What the page does when a visitor does something."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, WORDS)
        self.names = models_here(context.model, takes)
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

    def set_out(
        self, visit: Visit, event: gr.EventData, is_halted: Callable[[], bool]
    ) -> tuple[Drawn, Iterator[News]]:
        """Draw what is said."""
        painter = self.painter(visit.model)
        sent = {name: getattr(event, name, None) for name in NAMES}
        asked = as_asked(sent, painter.den, WORDS[visit.lang])
        drawn = Drawn.begin(visit.model, asked, painter.reader)
        return drawn, self.drawing(drawn, painter, is_halted)

    def drawing(
        self, drawn: Drawn, painter: Painter, is_halted: Callable[[], bool]
    ) -> Iterator[News]:
        """Walk the way to a drawing and tell of its steps."""
        asked, den, reader = drawn.asked, painter.den, painter.reader
        frames: list[News] = []
        words = [told_words(one, reader) for one in drawn.words]

        def news(first: int) -> News:
            total = asked.wish.steps
            return {"first": first, "frames": frames[first:], "total": total, "words": words}

        yield news(0)  # the device is ours
        said = tell(den, reader, asked.texts, asked.wish.hand)

        def frame(moment: Moment) -> News:
            return drawn.add(moment, looked(den, said, moment) if words else None)

        yield from in_time(map(frame, asked.drawing(den, reader)), frames, news, is_halted)
        end = base64_of(drawn.result.numpy())
        yield {**news(0), "over": True, "halted": is_halted(), "end": end}

    def bury(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Show the noise that a picture will come from.

        It waits for no device, so it loads no model: without one there is nothing to show.
        """
        if visit is None:
            return gr.skip()
        painter = self.context.slot.held(("painter", visit.model))
        if not isinstance(painter, Painter):
            return gr.skip()
        sent = {"seed": getattr(event, "seed", None)}
        try:
            seed = as_whole(sent, "seed", LIMITS, WORDS[visit.lang])
        except MmfmError as error:
            return self.complain(error, visit)
        noise = as_noise(noise_of(painter.den, seed))
        return gr.HTML(noise={"seed": seed, "noise": noise, "number": next(self.turns)})

    def open(self, visit: Visit | None, file: str) -> Any:
        """Restore what a picture says of itself."""
        visit = visit or self.first_visit()
        say = WORDS[visit.lang]
        try:
            about = wish_in(file, say)
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
            "usual": {"guidance": usual(den, LIMITS).guidance},
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
            best = usual(painter.den, LIMITS)
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
            # Gradio makes copies of its own before it comes back for more.
            yield save(drawn, folder), asked.about(model)
