"""Out of the Noise: draw a digit, bury it in noise, and watch what a denoiser digs out again.

This file is the page: what visitors can do and what they are shown. What stands behind it:

    denoise_asked.py   reads what a browser, a link or a picture's settings say
    denoise_kept.py    what is kept of a way that was walked, and the pictures one takes away
    denoise_plane.py   the part below: the same with points on a plane, where all of it can be seen
    way.py             what Drawn from Words does, too: a way is walked, and watched
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from html import escape
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from mmfm.errors import BadInput, MmfmError, NotHere
from mmfm.models.denoiser import Denoiser
from mmfm.models.ruler import Ruler, load_ruler
from mmfm.tasks.doctor import reads_words
from mmfm.tasks.generate import chosen, names_of, samplers_of
from mmfm.tasks.redraw import drawing_of, noise_of, redraw

from . import denoise_plane
from .denoise_asked import (
    KIND,
    LEAST_INK,
    LIMITS,
    MOST_INK,
    NAMES,
    as_asked,
    as_drawing,
    as_taught,
    from_link,
    leaps,
    refitted,
    untold,
)
from .denoise_kept import Walk, as_grey, as_noise, read_digits
from .page import DEVICE, LANGUAGES, Context
from .parts import (
    base64_of,
    lessons_html,
    models_here,
    read_picture,
    refuse_addresses,
    told,
    top_html,
)
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
    settings_in,
    usual,
)
from .words_denoise import WORDS

LESSONS = ("noise", "guess", "told", "steps", "fill")
BUNDLED = "mnist-nano"
READER = "mnist-ruler"
SCRIPTS = ("desk", "way", "denoise_pad", "denoise_show", "denoise_page")


def title(lang: str) -> str:
    """The page's name."""
    return WORDS[lang]["title"]


def takes(settings: Mapping[str, Any]) -> bool:
    """Whether the page can run a checkpoint of these settings."""
    stock = str(settings.get("_class_name", "")).startswith("UNet")  # of diffusers, wrapped
    ours = settings.get("model") == "denoiser" and not reads_words(settings)  # those: another page
    return ours or stock


def build(context: Context, blocks: gr.Blocks) -> None:
    """Draw the page and wire its events."""
    page = OutOfTheNoise(context)
    parts = components("denoise", page.names, SCRIPTS, hears="read")
    plane = denoise_plane.build(context, blocks, parts.top)
    page.wire(parts, blocks)
    parts.stage.read(page.read, [parts.visit], [parts.stage], **LIGHT)

    def open_file(seen: Visit | None, file: str, world: Any) -> list[Any]:
        """Restore what is the drawing part's or the plane's; a plain picture is drawn after."""
        opened = page.open(seen, file)
        if isinstance(opened, dict):  # settings of the plane
            return [gr.skip()] * len(parts.shown) + plane.restore(world, opened)
        return opened + [gr.skip()] * len(plane.shown)

    asked = [parts.visit, parts.upload, plane.world]
    parts.upload.upload(open_file, asked, [*parts.shown, *plane.shown], **HEAVY)

    with gr.Column(visible=False):  # what a script may ask: /redraw
        picture, mask = gr.File(label="picture"), gr.File(label="mask")
        noise, switch_at = gr.Number(0.6, label="noise"), gr.Number(None, label="switch_at")
        label, after = gr.Textbox("", label="label"), gr.Textbox("", label="label_after")
        steps, guidance = gr.Number(None, label="steps"), gr.Number(None, label="guidance")
        sampler, seed = gr.Textbox("", label="sampler"), gr.Number(0, label="seed")
        pictures, settings = gr.File(file_count="multiple"), gr.JSON()
        go = gr.Button()
    refuse_addresses(picture)
    refuse_addresses(mask)
    asked = [picture, noise, label, after, switch_at, steps, sampler, guidance, seed, mask]
    go.click(page.answer, asked, [pictures, settings], api_name="redraw", **DEVICE)


class OutOfTheNoise(WayPage):
    """What the page does when a visitor does something."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, WORDS)
        self.names = models_here(context.model, takes)
        if not self.names:
            raise NotHere(f"no denoiser is here, not even {BUNDLED}; install mmfm again")
        if self.names[0] == context.model:
            self.den(self.names[0])  # a wrong --model is said now, not to the first visitor

    def den(self, name: str) -> Denoiser:
        """A model, which takes the place of the one that was loaded before."""
        device = self.context.device
        return self.context.slot.take(("denoiser", name), lambda: drawable(name, device))

    @cached_property
    def ruler(self) -> Ruler:
        """The digit reader, so small that it stays beside any model."""
        return load_ruler(READER)

    def reader(self, den: Denoiser) -> Ruler | None:
        """The digit reader, for a model that draws what it can read."""
        c, r = den.config, self.ruler.config
        fits = (c.image_size, c.channels) == (r.image_size, r.channels)
        return self.ruler if fits and names_of(den) == self.ruler.labels else None

    # --- what a visitor does ----------------------------------------------------------------------

    def switch(self, visit: Visit | None, model: str) -> Any:
        """Give the same drawing to another model."""
        visit = visit or self.first_visit()
        say = WORDS[visit.lang]
        try:
            if model not in self.names:
                raise Told(say["no_model"].format(name=model))
            if model == visit.model:  # Gradio says so too when somebody only walks past
                return gr.skip()
            den = self.den(model)
            visit.model, visit.opening = model, from_link({}, den)
            return self.show(visit)
        except MmfmError as error:
            self.complain(error, visit)
            # The list says again which model it is that draws.
            return [gr.skip(), gr.skip(), gr.skip(), visit.model, gr.skip()]

    def set_out(
        self, visit: Visit, event: gr.EventData, is_halted: Callable[[], bool]
    ) -> tuple[Walk, Iterator[News]]:
        """Bury the drawing, and walk the way back."""
        den = self.den(visit.model)
        sent = {name: getattr(event, name, None) for name in NAMES}
        walk = Walk(visit.model, as_asked(sent, den, WORDS[visit.lang]))
        return walk, self.walking(walk, den, is_halted)

    def walking(self, walk: Walk, den: Denoiser, is_halted: Callable[[], bool]) -> Iterator[News]:
        """Walk a way and tell of its steps."""
        reader = self.reader(den)
        frames: list[News] = []

        def news(first: int) -> News:
            fresh = [n for n, frame in enumerate(frames) if "reads" not in frame]
            thought = [walk.steps[n][1] for n in fresh]
            said = read_digits(reader, thought) if reader else [None] * len(fresh)
            for number, reads in zip(fresh, said, strict=True):
                frames[number]["reads"] = reads
            total = walk.asked.wish.steps
            return {"first": first, "frames": frames[first:], "total": total}

        yield news(0)  # the device is ours
        moments = redraw(den, walk.asked.images(den.config.channels), walk.asked.wish)
        yield from in_time(map(walk.add, moments), frames, news, is_halted)
        result = read_digits(reader, [walk.result])[0] if reader else None
        end = base64_of(walk.result.numpy())
        yield {**news(0), "over": True, "halted": is_halted(), "end": end, "result": result}

    def read(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Say what a drawing looks like, and which noise it will be buried in.

        It waits for no device, so it loads no model: without one there is nothing to say.
        """
        if visit is None:
            return gr.skip()
        say = WORDS[visit.lang]
        den = self.context.slot.held(("denoiser", visit.model))
        read: dict[str, Any] = {"turn": getattr(event, "turn", 0), "reads": None, "noise": None}
        if not isinstance(den, Denoiser):
            return gr.HTML(read=read)
        try:
            drawing = as_drawing(getattr(event, "drawing", None), den.config.image_size, say)
            seed = as_whole({"seed": getattr(event, "seed", None)}, "seed", LIMITS, say)
        except MmfmError as error:
            return self.complain(error, visit)
        reader = self.reader(den)
        enough = drawing.float().sum().item() / 255 >= LEAST_INK
        reads = read_digits(reader, [as_grey(drawing)])[0] if reader and enough else None
        return gr.HTML(read={**read, "reads": reads, "noise": as_noise(noise_of(den, seed))})

    def open(self, visit: Visit | None, file: str) -> Any:
        """Restore what a picture says of itself, or take it as a drawing if it says nothing.

        Settings of the part with the points come back as they are.
        """
        visit = visit or self.first_visit()
        say = WORDS[visit.lang]
        try:
            about = settings_in(file, say)
            if about is not None and about.get("kind") == denoise_plane.KIND:
                return about
            return self.show(visit, self.brought(visit, file, about))
        except MmfmError as error:
            self.complain(error, visit)
            return [gr.skip()] * 5

    # --- what it takes ----------------------------------------------------------------------------

    def first_visit(self, lang: str | None = None, query: Mapping[str, str] | None = None) -> Visit:
        """A visit as it begins, or begins anew when the server has forgotten it."""
        query = query or {}
        model = query.get("model", "")
        model = model if model in self.names else self.names[0]
        try:
            den = self.den(model)
        except MmfmError:  # a link to a model that this page cannot show counts as none
            model = self.names[0]
            den = self.den(model)
        return Visit(lang or self.context.lang or LANGUAGES[0], model, from_link(query, den))

    def brought(self, visit: Visit, file: str, about: Mapping[str, Any] | None) -> dict[str, Any]:
        """What a visitor's file puts on the pad, and which settings it brings."""
        say = WORDS[visit.lang]
        if about is None:
            picture, size = read_picture(file), self.den(visit.model).config.image_size
            try:
                ink = drawing_of(picture, size)
            except BadInput as error:
                raise Told(say["blank"]) from error
            return {"drawing": base64_of(ink.numpy()), "hidden": None, "note": say["taken"]}
        if about.get("kind") != KIND:
            raise Told(say["other_kind"])
        name = about.get("model")
        model = name if name in self.names else visit.model
        den = self.den(model)
        # What another model drew need not be possible with this one.
        asked = as_asked(about if name == model else refitted(about, den), den, say)
        visit.model = model
        note = say["restored"] if name == model else say["restored_other"]
        return {**asked.about(model), "note": note.format(model=f"{name!s:.60}")}

    # --- what is sent to the browser --------------------------------------------------------------

    def greet(self, visit: Visit) -> list[Any]:
        """Everything on the page, down to what never changes while a language is spoken."""
        say = WORDS[visit.lang]
        shown = self.show(visit)
        shown[3] = gr.Dropdown(label=say["model"], value=visit.model)
        return [*shown, gr.UploadButton(label=say["upload"]), lessons_html(say, LESSONS)]

    def show(self, visit: Visit, brought: Mapping[str, Any] | None = None) -> list[Any]:
        """All that hangs on the model and the language, for `shown` in `build`."""
        say, den = WORDS[visit.lang], self.den(visit.model)
        sent = {
            "number": next(self.turns),
            "lang": visit.lang,
            "words": say,
            "model": visit.model,
            "size": den.config.image_size,
            "channels": den.config.channels,
            "straight": den.config.schedule == "flow",
            "labels": list(names_of(den)),
            "samplers": list(samplers_of(den)),
            "untold": untold(den),
            "guidable": den.guidable,
            "jumps": den.config.jumps,
            "leaps": leaps(den),
            "reader": self.reader(den) is not None,
            "limits": {**LIMITS, "least_ink": LEAST_INK, "most_ink": MOST_INK},
            "opening": visit.opening,
            "usual": {"guidance": usual(den, LIMITS).guidance},
            "brought": brought,
        }
        top = top_html(den, visit.model, visit.lang, say, self.context.titles)
        return [visit, top, about_html(visit.model, say), visit.model, sent]

    # --- scripts ----------------------------------------------------------------------------------

    def answer(
        self,
        picture: str | None,
        noise: float | None,
        label: str,
        label_after: str,
        switch_at: float | None,
        steps: float | None,
        sampler: str,
        guidance: float | None,
        seed: float | None,
        mask: str | None,
    ) -> Iterator[Any]:
        """Redraw a picture: a PNG and a GIF with their settings inside, and these as JSON.

        `noise` is a share up to 1, which needs no picture. A mask is bright where the picture is
        to be painted anew. What is left empty, a number by None, is as the model draws best.
        """
        with told(), tempfile.TemporaryDirectory(prefix="mmfm-") as folder:
            den = self.den(self.names[0])
            size, best = den.config.image_size, usual(den, LIMITS)
            if not den.config.classes:
                _ = chosen(den, guidance=guidance)  # refused: there is nothing to guide it to
            ink, hidden = np.zeros((size, size), np.uint8), None
            if picture is not None:
                ink = drawing_of(read_picture(picture), size).numpy()
            elif noise != 1:
                raise BadInput("no picture was sent; only noise of 1 needs none")
            if mask is not None:
                grey = read_picture(mask).convert("L")
                bits = np.asarray(grey.resize((size, size), Image.Resampling.NEAREST)) > 127
                hidden = base64_of(np.packbits(bits.ravel()))
            wishes = {
                "drawing": base64_of(ink),
                "hidden": hidden,
                "noise": noise,
                "label": label or untold(den),
                "label_after": label_after or untold(den),
                "switch_at": switch_at,
                "steps": as_taught(noise, best.steps, den)[1] if steps is None else steps,
                "sampler": sampler or best.sampler,
                "guidance": best.guidance if guidance is None else guidance,
                "seed": 0 if seed is None else seed,
            }
            walk = Walk(self.names[0], as_asked(wishes, den, WORDS["en"]))
            *_, end = self.walking(walk, den, lambda: False)
            about = {**walk.asked.about(walk.model), "reads": end["result"]}
            # Gradio makes copies of its own before it comes back for more.
            yield save(walk, folder), about


def about_html(model: str, say: Mapping[str, str]) -> str:
    """What there is to do here, and what the bundled model knows."""
    lines = [escape(say["drop"])]
    if model == BUNDLED:
        lines = [f"<strong>{escape(say['knows'])}</strong>", *lines]
    return "".join(f'<p class="note">{line}</p>' for line in lines)
