"""Diffusion Studio: train a model that draws, watch it learn, change one thing and compare.

A run belongs to no page: it lies on the disk and has a process of its own (`mmfm.tasks.studio`).
The page only says what is wanted, and asks again and again what there is to be seen; neither waits
for the device, so that the other pages have it for themselves. Only drawing anew does.

    studio_sources.py    what there is to learn from
    studio_judge.py      whether drawn digits can be read
    studio_keep.py       pictures and films to take along, and back into settings
"""

import base64
import contextlib
import itertools
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from PIL import Image

from mmfm.errors import BadInput, BadRun, BadWeights, InUse, MmfmError, NotHere, OutOfSpace
from mmfm.keepsakes import Later, Unsigned
from mmfm.machine import usable_threads
from mmfm.models.checkpoints import load_denoiser
from mmfm.models.denoiser import Denoiser
from mmfm.tasks.doctor import in_words
from mmfm.tasks.generate import Order, as_bytes, order
from mmfm.tasks.studio import (
    MINUTES,
    MOST_RUNS,
    OBJECTIVES,
    SCHEDULES,
    SIZES,
    Choice,
    Status,
    Studio,
    TooManyRuns,
)

from .page import DEVICE, LANGUAGES, Context
from .parts import (
    base64_of,
    complain,
    heading,
    html,
    lessons_html,
    link_followed,
    pages_html,
    refuse_addresses,
    script,
    told,
)
from .studio_judge import Judge
from .studio_keep import (
    Elsewhere,
    Shown,
    as_seed,
    file_name,
    film,
    film_anew,
    kept_in,
    picture,
    picture_anew,
    sheet_of,
)
from .studio_sources import (
    NoSource,
    SameName,
    Source,
    as_choice,
    as_wish,
    sources,
    written,
)
from .words_studio import WORDS

SCRIPTS = ("desk", "studio_chart", "studio_pictures", "studio_form", "studio")  # in this order
LESSONS = ("noise", "learns", "loss", "rate", "question", "average")
CHANGES = ("rate", "objective", "schedule", "size", "labels", "minutes", "seed")
GUESSES = ("better", "same", "worse", "broken", "open")
RATES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # that the slider offers
MINUTES_SHOWN = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0)
OPENING_MINUTES = {"digits": 1.0}  # of other data more
LONGER = 2.0  # minutes that a finished run is given more
A_FEW = 5  # steps that are taken by a press

ROWS = 2  # of what is drawn anew
FRAME = 0.04  # seconds between two moments of it, at least


@dataclass(frozen=True)
class Visit:
    """What the server remembers of one visitor."""

    lang: str


class Told(BadInput):
    """What went wrong, in the visitor's own language."""


# What goes wrong in ordinary use, and the words for it; the first that fits is taken.
SAID: tuple[tuple[type[MmfmError], str], ...] = (
    (Unsigned, "not_ours"),
    (Later, "of_later"),
    (Elsewhere, "of_elsewhere"),
    (TooManyRuns, "too_many"),
    (OutOfSpace, "error_OutOfSpace"),
    (InUse, "in_use"),
    (BadRun, "half_there_text"),
    (NotHere, "not_there"),
)


def title(lang: str) -> str:
    """The page's name."""
    return WORDS[lang]["title"]


def takes(settings: Mapping[str, Any]) -> bool:
    """Whether the page can run a checkpoint of these settings: it makes its own."""
    return False


def build(context: Context, blocks: gr.Blocks) -> None:
    """Draw the page and wire its events."""
    page = DiffusionStudio(context)

    def news(question: object) -> dict[str, Any]:  # the browser calls it by its name
        return page.news(question)

    def sheet(question: object) -> dict[str, Any] | None:
        return page.sheet(question)

    visit = gr.State(None, time_to_live=6 * 3600)
    top = heading()
    stage = html(
        "studio",
        html_template='<div class="studio desk"></div>',
        js_on_load="\n".join(script(f"{part}.js") for part in SCRIPTS),
        server_functions=[news, sheet],
        answer=None,
        drawn=None,
        kept=None,
        restored=None,
    )
    with gr.Column(elem_id="studio_own"):
        upload = gr.UploadButton(elem_id="studio_upload")
    lessons = html("lessons")
    refuse_addresses(upload)

    light: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    light["trigger_mode"] = "multiple"  # by itself, Gradio drops what comes while it is busy
    everything = [visit, top, stage, upload, lessons]
    blocks.load(page.arrive, None, everything, **light)
    top.speak(page.speak, [visit], everything, **light)
    stage.begin(page.begin, [visit], [stage], **light)
    stage.act(page.act, [visit], [stage], **light)
    stage.keep(page.keep, [visit], [stage], **light)
    stage.keep_redrawn(page.keep_redrawn, [visit], [stage], **{**light, **DEVICE})
    stage.redraw(page.redraw, [visit], [stage], **{**light, **DEVICE})
    upload.upload(page.restore, [visit, upload], [stage], **light)

    with gr.Column(visible=False):  # what a script may ask: /train_start and so on
        data, labels = gr.Textbox("digits", label="data"), gr.Textbox("", label="labels")
        minutes, rate = gr.Number(1.0, label="minutes"), gr.Number(1.0, label="rate")
        schedule = gr.Textbox("flow", label="schedule")
        objective = gr.Textbox("flow", label="objective")
        size, seed = gr.Textbox("medium", label="size"), gr.Number(0, label="seed")
        run, step = gr.Textbox(label="run"), gr.Number(0, label="step")
        steps = gr.Number(0, label="steps")
        result, image, go = gr.JSON(), gr.Image(type="pil", format="png"), gr.Button()
    chosen = [data, labels, minutes, rate, schedule, objective, size, seed]
    go.click(page.train_start, chosen, result, api_name="train_start")
    go.click(page.train_status, [run], result, api_name="train_status")
    go.click(page.train_pause, [run], result, api_name="train_pause")
    go.click(page.train_go_on, [run, steps], result, api_name="train_go_on")
    go.click(page.train_stop, [run], result, api_name="train_stop")
    go.click(page.train_runs, None, result, api_name="train_runs")
    go.click(page.train_draw, [run, step, seed], image, api_name="train_draw", **DEVICE)


class DiffusionStudio:
    """What the page does when a visitor does something."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.studio = Studio()
        self.judge = Judge()
        self.turns = itertools.count(1)  # an answer that equals the last one would not be noticed
        self.judged = lru_cache(maxsize=2000)(self._judged)

    def sources(self) -> list[Source]:
        """What there is to learn from, as it is now."""
        return sources(self.context.allow)

    # --- what a visitor does ----------------------------------------------------------------------

    def arrive(self, request: gr.Request) -> list[Any]:
        """Greet a visitor in their language, with the run of the link if it names one."""
        query = dict(request.query_params)
        return self.greet(Visit(self.context.language(query, dict(request.headers))), query)

    def speak(self, visit: Visit | None, event: gr.EventData) -> list[Any]:
        """Go on with the same runs in the language of the link that was followed."""
        query = link_followed(event)
        lang = query.get("lang")
        return self.greet(Visit(lang) if lang in LANGUAGES else self.known(visit), query)

    def greet(self, visit: Visit, query: Mapping[str, Any]) -> list[Any]:
        """Everything on the page, down to what never changes while a language is spoken."""
        say = WORDS[visit.lang]
        return [
            visit,
            self.top(visit.lang),
            self.stage_data(visit.lang, query),
            gr.UploadButton(label=say["upload"]),
            lessons_html(say, LESSONS),
        ]

    def begin(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Start a run; of a change of another one, what the person expects is kept."""
        visit = self.known(visit)
        like, changed = str(getattr(event, "like", "")), str(getattr(event, "changed", ""))
        guess = str(getattr(event, "guess", ""))
        try:
            choice = self.choice(getattr(event, "choice", None), visit)
            if like:
                self.studio.about(like)  # refused if there is no such run
                if changed not in CHANGES or guess not in GUESSES:
                    raise BadInput(f"a change is one of {', '.join(CHANGES)}, with a guess")
            name = self.studio.start(
                choice,
                device=self.context.device,
                like=like,
                changed=changed if like else "",
                guess=guess if like else "",
                instead=getattr(event, "instead", None) is True,
            )
        except MmfmError as error:
            return self.failed(error, visit)
        return self.answer({"did": "begin", "run": name})

    def act(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Pause, go on, take a few steps, stop, train longer, or remove."""
        visit = self.known(visit)
        name, what = str(getattr(event, "run", "")), str(getattr(event, "what", ""))
        try:
            self.do(name, what, instead=getattr(event, "instead", None) is True)
        except MmfmError as error:
            return self.failed(error, visit)
        return self.answer({"did": what, "run": name})

    def do(self, name: str, what: str, *, instead: bool) -> None:
        """What a button says."""
        studio = self.studio
        match what:
            case "pause":
                studio.pause(name)
            case "stop":
                studio.stop(name)
            case "go_on":
                studio.go_on(name, instead=instead)
            case "step":
                studio.go_on(name, steps=A_FEW, instead=instead)
            case "lengthen":
                minutes = studio.about(name).choice.minutes + LONGER
                studio.lengthen(name, min(minutes, MINUTES[1]), instead=instead)
            case "remove":
                studio.remove(name)
            case _:
                raise BadInput(f"nothing that can be done is called {what!r:.40}")

    def keep(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Hand out a picture, or a film, with the settings inside."""
        visit = self.known(visit)
        as_film = getattr(event, "kind", None) == "gif"
        try:
            shown = _shown(event)
            data = (film if as_film else picture)(self.studio, shown)
            return self.handed_out(data, shown, as_film=as_film)
        except MmfmError as error:
            return self.failed(error, visit)

    def keep_redrawn(self, visit: Visit | None, event: gr.EventData) -> Any:
        """The same of what was drawn from other noise; for that it is drawn once more."""
        visit = self.known(visit)
        as_film = getattr(event, "kind", None) == "gif"
        try:
            shown = _shown(event)
            step, asked = self.asked(shown.name, shown.step, getattr(event, "seed", None))
            shown = replace(shown, step=step)
            data = (film_anew if as_film else picture_anew)(self.studio, shown, asked)
            return self.handed_out(data, shown, as_film=as_film, seed=asked.seed)
        except MmfmError as error:
            return self.failed(error, visit)

    def handed_out(
        self, data: bytes, shown: Shown, *, as_film: bool, seed: int | None = None
    ) -> Any:
        """A file for the browser to save."""
        ending = "gif" if as_film else "png"
        kept = {
            "name": file_name(self.studio.about(shown.name), shown.step, ending, seed),
            "type": f"image/{ending}",
            "data": _as_text(data),
            "turn": next(self.turns),
        }
        return gr.HTML(kept=kept)

    def restore(self, visit: Visit | None, file: str | None) -> Any:
        """Take the settings out of a picture that somebody brought, to train the same again."""
        visit = self.known(visit)
        try:
            if file is None:
                raise BadInput("no picture was sent")
            kept = kept_in(Path(file).read_bytes())
            choice = self.choice(kept.choice, visit)
            beside = None if kept.beside is None else self.choice(kept.beside, visit)
        except (Told, Unsigned, Later, Elsewhere) as error:
            return self.failed(error, visit)
        except BadInput:
            return self.failed(Told(WORDS[visit.lang]["damaged"]), visit)
        restored = {
            "choice": self.form(choice),
            "beside": None if beside is None else self.form(beside),
            "seed": kept.seed,
        }
        return gr.HTML(restored={**restored, "turn": next(self.turns)})

    def choice(self, wish: object, visit: Visit) -> Choice:
        """What is wished, held against what is here; what is not is said in words."""
        try:
            return as_choice(wish, self.context.allow)
        except NoSource as error:
            key = "same_name" if isinstance(error, SameName) else "no_source"
            raise Told(WORDS[visit.lang][key].format(name=error.name)) from error

    def redraw(self, visit: Visit | None, event: gr.EventData) -> Iterator[Any]:
        """Draw from other noise with the model as it was after a step, and show the way."""
        visit = self.known(visit)
        seed = getattr(event, "seed", None)
        try:
            name, step = _place(getattr(event, "run", None), getattr(event, "step", None))
            kept, asked = self.asked(name, step, seed)
            numbers = torch.arange(asked.count)
            for done, step_of_it in enumerate(asked.steps(numbers), start=1):
                began = time.monotonic()
                yield gr.HTML(
                    drawn={
                        "run": name,
                        "step": kept,
                        "seed": seed,
                        "pixels": base64_of(as_bytes(step_of_it.x).numpy()),
                        "done": done,
                        "of": asked.how.steps,
                        "turn": next(self.turns),
                    }
                )
                time.sleep(max(0.0, FRAME - (time.monotonic() - began)))
        except MmfmError as error:
            self.complain(error, visit)
            yield gr.HTML(drawn={"failed": True, "turn": next(self.turns)})

    def asked(self, name: str, step: int, seed: object) -> tuple[int, Order]:
        """What is to be drawn anew: the step that the model is of, and the order."""
        seed = as_seed(seed)
        kept, path = self.studio.model(name, step)
        sheets = self.studio.sheets(name)
        if sheets is None:
            raise NotHere(f"{name} was removed meanwhile")
        den = self.denoiser(path)
        return kept, order(den, sheets.labels or None, count=sheets.columns * ROWS, seed=seed)

    def denoiser(self, path: Path) -> Denoiser:
        """A model, which takes the place of the one that was loaded before."""
        load = self.context.slot.take
        try:
            stamp = (path / "model.safetensors").stat().st_mtime_ns  # a run may come here again
            return load(
                ("denoiser", str(path), stamp),
                lambda: load_denoiser(str(path), device=self.context.device),
            )
        except (FileNotFoundError, NotHere, BadWeights) as error:  # a run makes room for newer ones
            raise NotHere("this model is not kept any more; take one of another step") from error

    # --- what the browser asks again and again ----------------------------------------------------

    def news(self, question: object) -> dict[str, Any]:
        """What has come since the browser looked last; only files are read."""
        asked = question if isinstance(question, dict) else {}
        runs = asked.get("runs")
        runs = runs if isinstance(runs, dict) else {}
        told = {str(name): self.run_news(str(name), at) for name, at in list(runs.items())[:2]}
        if asked.get("list") is not True:
            return {"runs": told}
        return {"runs": told, "list": self.runs_data(), "room": self.room()}

    def run_news(self, name: str, at: object) -> dict[str, Any]:
        """What one run does, and what has come to its curve and to its pictures."""
        try:
            now = self.studio.status(name)
            made = self.studio.about(name).made
            curve = self.studio.curve(name, _as_mark(at))
            sheets = self.studio.sheets(name)
        except NotHere:
            return {"gone": True}
        except BadRun:
            return {"broken": BROKEN}
        return {
            **status_data(now),
            "made": made,
            "points": curve.points,
            "at": list(curve.at),
            "anew": curve.anew,
            "sheets": None if sheets is None else asdict(sheets),
        }

    def sheet(self, question: object) -> dict[str, Any] | None:
        """One sheet as a picture inside its own address, and which of its digits can be read."""
        asked = question if isinstance(question, dict) else {}
        try:
            name, step = _place(asked.get("run"), asked.get("step"))
            data = self.studio.sheet(name, step)
            address = "data:image/png;base64," + _as_text(data)
            return {"address": address, "read": self.judged(name, step, data)}
        except MmfmError:
            return None

    def _judged(self, name: str, step: int, data: bytes) -> str | None:
        """A 1 for each picture that is read as what it was meant to be, a 0 for the others."""
        sheets = self.studio.sheets(name)
        if sheets is None:
            return None
        reads = self.judge.reads(data, sheets, self.studio.about(name).choice.data)
        return None if reads is None else "".join("01"[is_read] for is_read in reads)

    # --- what a script asks -----------------------------------------------------------------------

    def train_start(
        self,
        data: str,
        labels: str,
        minutes: float | None,
        rate: float | None,
        schedule: str,
        objective: str,
        size: str,
        seed: float | None,
    ) -> dict[str, Any]:
        """Start a run; labels are parted by commas, none means all. The answer names it."""
        with told():
            words = [word.strip() for word in (labels or "").split(",")]
            wish = {
                "source": data,
                "labels": [word for word in words if word],
                "minutes": minutes,
                "rate": rate,
                "schedule": schedule,
                "objective": objective,
                "size": size,
                "seed": _whole(seed, "seed"),
            }
            choice = as_choice(wish, self.context.allow)
            return self.status_of(self.studio.start(choice, device=self.context.device))

    def train_status(self, run: str) -> dict[str, Any]:
        """What a run does, how far it is and how fast."""
        with told():
            return self.status_of(run)

    def train_pause(self, run: str) -> dict[str, Any]:
        """Have a run rest."""
        with told():
            self.studio.pause(run)
            return self.status_of(run)

    def train_go_on(self, run: str, steps: float | None = None) -> dict[str, Any]:
        """Go on with a run, for so many steps; 0 for as long as it takes."""
        with told():
            count = _whole(steps or 0, "steps")
            self.studio.go_on(run, steps=count or None)
            return self.status_of(run)

    def train_stop(self, run: str) -> dict[str, Any]:
        """End the process of a run; what it has learned stays."""
        with told():
            self.studio.stop(run)
            return self.status_of(run)

    def train_runs(self) -> list[dict[str, Any]]:
        """All runs, the last one first."""
        with told():
            return self.runs_data()

    def train_draw(self, run: str, step: float | None, seed: float | None) -> Image.Image:
        """Draw with the model as it was after a step, two rows of a column for each label."""
        with told():
            place = _place(run, _whole(step, "step"))
            _, asked = self.asked(*place, _whole(seed, "seed"))
            *_, last = asked.steps(torch.arange(asked.count))
            return sheet_of(as_bytes(last.x), asked.count // ROWS)

    def status_of(self, name: str) -> dict[str, Any]:
        """A run's name and what it does."""
        shown = status_data(self.studio.status(name))
        sheets = self.studio.sheets(name)
        drawn = {} if sheets is None else {"drawn": sheets.steps, "kept": sheets.kept}
        return {"run": name, **shown, **drawn}

    # --- what is sent to the browser --------------------------------------------------------------

    def stage_data(self, lang: str, query: Mapping[str, Any]) -> dict[str, Any]:
        """What studio.js draws from."""
        there = self.sources()
        runs = self.runs_data()
        names = [run["name"] for run in runs if "broken" not in run]
        wanted = [query.get(key) for key in ("run", "with")]
        opened, beside = (name if name in names else None for name in wanted)
        if opened is None and wanted[0] is None and not query.get("new"):
            # Whoever comes back while something is training sees it.
            opened = self.studio.training()
        data = there[0].id
        opening = Choice(there[0].data, minutes=OPENING_MINUTES.get(data, MINUTES_SHOWN[3]))
        return {
            "lang": lang,
            "words": WORDS[lang],
            "sources": [source_data(source) for source in there],
            "opening": self.form(opening),
            "options": {
                "schedule": SCHEDULES,
                "objective": OBJECTIVES,
                "size": list(SIZES),
                "rate": RATES,
            },
            "opening_minutes": {one.id: OPENING_MINUTES.get(one.id, 3.0) for one in there},
            "most_minutes": MINUTES[1],
            "changes": CHANGES,
            "guesses": GUESSES,
            "few": A_FEW,
            "longer": LONGER,
            "rows": ROWS,
            "runs": runs,
            "open": opened,
            "beside": beside if beside != opened else None,
            "turn": next(self.turns),
        }

    def form(self, choice: Choice, there: Sequence[Source] | None = None) -> dict[str, Any]:
        """A choice as the page's controls show it; a folder not allowed has its name only."""
        wish = as_wish(choice)
        for source in self.sources() if there is None else there:
            if source.data == choice.data:
                wish["source"] = source.id
        return wish

    def runs_data(self) -> list[dict[str, Any]]:
        """All runs, the last one first."""
        there = self.sources()
        return [self.run_data(name, there) for name in self.studio.names()]

    def run_data(self, name: str, there: Sequence[Source]) -> dict[str, Any]:
        """What a run is, in short."""
        try:
            about, now = self.studio.about(name), self.studio.status(name)
            sheets = self.studio.sheets(name)
        except (BadRun, NotHere):
            return {"name": name, "broken": BROKEN}
        return {
            "name": name,
            "made": about.made,
            "choice": self.form(about.choice, there),
            "called": written(about.choice.data),
            "like": about.like,
            "changed": about.changed,
            "guess": about.guess,
            "state": now.state,
            "progress": now.progress,
            "step": now.step,
            "last": sheets.steps[-1] if sheets is not None and sheets.steps else None,
            "sheets": None if sheets is None else asdict(sheets),
        }

    def top(self, lang: str) -> str:
        """The heading, the way to the other pages, and where and how trainings run."""
        say = WORDS[lang]
        other = "en" if lang == "ko" else "ko"
        threads = max(1, usable_threads() - 1)
        facts = [
            (say["device"], self.context.device),
            (say["threads"], say["threads_value"].format(count=threads, all=usable_threads())),
        ]
        listed = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
        # studio.js writes this one anew while runs grow.
        room = f'<dt>{escape(say["runs_lie"])}</dt><dd id="studio_room">{escape(self.room())}</dd>'
        return (
            f"{pages_html(self.context.titles, lang, say)}"
            f'<header lang="{lang}"><div><h1>{escape(say["title"])}</h1>'
            f"<p>{escape(say['tagline'])}</p></div>"
            f'<a id="language" href="?lang={other}" lang="{other}">{say["other_language"]}</a>'
            f'</header><dl id="status">{listed}<div>{room}</div></dl>'
        )

    def room(self) -> str:
        """How much the runs take on the disk."""
        return in_words(_size(self.studio.folder))

    def answer(self, told: dict[str, Any]) -> Any:
        """What was done, and all runs as they are now."""
        return gr.HTML(answer={**told, "runs": self.runs_data(), "turn": next(self.turns)})

    def failed(self, error: MmfmError, visit: Visit) -> Any:
        """Say what went wrong; where another run is in the way, offer to pause it."""
        busy = self.studio.training() if isinstance(error, InUse) else None
        if busy is None:
            self.complain(error, visit)
        return gr.HTML(answer={"failed": True, "busy": busy, "turn": next(self.turns)})

    def complain(self, error: MmfmError, visit: Visit) -> None:
        """Say what went wrong, in the visitor's language where known."""
        say = WORDS[visit.lang]
        key = next((key for kind, key in SAID if isinstance(error, kind)), None)
        if isinstance(error, Told):
            gr.Warning(escape(str(error)))  # Gradio shows a message as HTML
        elif key is not None:
            gr.Warning(escape(say[key].format(count=MOST_RUNS)))
        else:
            complain(error, say)

    def known(self, visit: Visit | None) -> Visit:
        """The visit, begun anew where the server has forgotten it."""
        return visit or Visit(self.context.lang or LANGUAGES[0])


# --- what visitors send ---------------------------------------------------------------------------


def _place(name: object, step: object) -> tuple[str, int]:
    """A run and one of its steps; whether they are there shows when they are looked up."""
    if not isinstance(name, str) or type(step) is not int or not 0 <= step < 10**9:
        raise BadInput("a run's name and a step of it are needed")
    return name, step


def _shown(event: gr.EventData) -> Shown:
    """What a browser says that it shows."""
    name, step = _place(getattr(event, "run", None), getattr(event, "step", None))
    other = getattr(event, "beside", None)
    beside = None if other is None else _place(other, getattr(event, "beside_step", None))
    return Shown(name, step, beside)


def _as_mark(at: object) -> tuple[str, int] | None:
    """Where the browser has read a curve up to."""
    match at:
        case [str(mark), int(place)] if place >= 0:
            return mark, place
        case _:
            return None


def _whole(number: float | None, name: str) -> int:
    """A whole number from a script."""
    # NaN lies between no two numbers, and a whole one may be too large for any float.
    if number is None or not abs(number) < 2**53 or number != int(number):
        raise BadInput(f"{name} of {number!s:.40}: a whole number is needed")
    return int(number)


# --- what the browser is sent ---------------------------------------------------------------------

BROKEN = WORDS["en"]["half_there_text"]


def status_data(now: Status) -> dict[str, Any]:
    """What a run does; JSON knows no NaN, and where files lie is the owner's business."""
    trouble = trouble_of(now)
    return {
        **asdict(now),
        "progress": now.progress,
        "left": now.left,
        "loss": now.loss if math.isfinite(now.loss) else None,
        "trouble": trouble,
        "error": "" if trouble is None else WORDS["en"][trouble],
    }


def trouble_of(now: Status) -> str | None:
    """Which words say what went wrong. The error itself may name files of the server."""
    if not now.error and not now.kind:
        return None
    if "the loss became" in now.error:
        return "error_nan"
    key = f"error_{now.kind}"
    return key if key in WORDS["en"] else "error_other"


def source_data(source: Source) -> dict[str, Any]:
    """Something to learn from; where it lies is nobody's business but the owner's."""
    return {
        "id": source.id,
        "labels": list(source.labels),
        "here": source.here,
        "name": source.name,
        # Pictures of one's own are larger and slower: before a minute is over there's but noise.
        "minutes": [one for one in MINUTES_SHOWN if one >= 1] if source.name else MINUTES_SHOWN,
    }


def _as_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _size(folder: Path) -> int:
    """How many bytes the runs take; files come and go while one looks."""
    total = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(inside) / name).stat().st_size
    return total
