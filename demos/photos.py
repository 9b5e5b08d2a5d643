"""Photos: a folder of one's own is indexed once, then searched and sorted by any words.

Nothing that a browser sends names a file. A visitor picks a folder by its number in a list that the
server made, below those that were allowed on the command line, and a picture by its number in the
album that was shown. Pictures are sent small, inside the page.

This file is the page: what visitors can do and what they are shown. What stands behind it:

    photos_asked.py      reads what a browser sends
    photos_folders.py    folders that may be looked into, and their pictures
    photos_job.py        indexing, for as long as somebody watches
    photos_found.py      searching
    photos_answers.py    sorting, corrections, the table
    photos_examples.py   the pictures that are here without any folder
"""

import itertools
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from mmfm.errors import InUse, MmfmError, NotHere, OutOfSpace
from mmfm.models.checkpoints import load_clip
from mmfm.models.clip import TwoTowers
from mmfm.models.reading import MULTILINGUAL
from mmfm.store import Store
from mmfm.tasks.classify import DEFAULT_MODEL

from .page import DEVICE, LANGUAGES, Context
from .parts import (
    complain,
    heading,
    html,
    is_clip,
    lessons_html,
    link_followed,
    models_here,
    script,
    top_html,
    weights_words,
)
from .photos_answers import Answers, answer_tiles, answered, as_table, chosen, tally
from .photos_asked import LONGEST, Told, as_numbers, as_question, as_wish
from .photos_examples import examples_for
from .photos_folders import (
    Album,
    Place,
    album_of,
    checked,
    failed_data,
    folder_name,
    large_picture,
    place_name,
    small_picture,
    subfolders,
)
from .photos_found import MOST_SHOWN, Hits, hit_tiles, nearest
from .photos_job import Job, steps
from .words_photos import WORDS

LESSONS = ("once", "search", "uncertain", "kept")
BUNDLED = DEFAULT_MODEL
FOR_PHOTOS = "ViT-B-32/laion2b_s34b_b79k"
# Small models of ours: what they know, and what others are for.
SMALL = {BUNDLED: ("knows_shapes", "for_photos"), "clip-nano": ("knows_things", "for_work")}

MOST_FOLDERS = 200  # that are listed inside of one
PAGE = 36  # pictures that are sent at a time
SLICE = 2.0  # seconds that indexing holds the device before others have their turn


@dataclass(eq=False)
class Visit:
    """What the server remembers of one visitor.

    It changes in place: indexing, thumbnails and corrections come by events of their own, side by
    side, and one that put a copy back would undo what another had noted.
    """

    lang: str
    model: str
    place: Place
    folders: tuple[str, ...] = ()  # inside of the place, as they were listed
    album: Album | None = None
    hits: Hits | None = None
    answers: Answers | None = None
    failed: dict[str, str] = field(default_factory=dict[str, str])  # path -> why it is not read
    corrections: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Path -> the labels that a person says apply."""


def title(lang: str) -> str:
    """The page's name."""
    return WORDS[lang]["title"]


def takes(settings: Mapping[str, Any]) -> bool:
    """Whether the page can run a checkpoint of these settings."""
    return is_clip(settings)


def build(context: Context, blocks: gr.Blocks) -> None:
    """Draw the page and wire its events."""
    page = Photos(context)

    visit = gr.State(None, time_to_live=6 * 3600)
    top = heading()
    with gr.Row(elem_id="photos_bar"):
        about = html("photos_about")
        with gr.Column(elem_id="photos_own", min_width=180, scale=0):
            model = gr.Dropdown(page.names, elem_id="photos_model", filterable=False)
    stage = html(
        "photos",
        html_template='<div class="photos"></div>',
        js_on_load=script("photos.js"),
        place=None,
        progress=None,
        found=None,
        answers=None,
        more=None,
        thumbs=None,
        large=None,
        checked=None,
        table=None,
    )
    lessons = html("lessons")

    shown = [visit, top, about, model, stage]
    light: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    light["trigger_mode"] = "multiple"  # by itself, Gradio drops what comes while it is busy
    heavy = {**light, **DEVICE}
    blocks.load(page.arrive, None, [*shown, lessons], **heavy)
    top.speak(page.speak, [visit], [*shown, lessons], **heavy)
    model.input(page.switch, [visit, model], shown, **heavy)
    stage.enter(page.enter, [visit], [visit, stage], **heavy)
    stage.work(page.work, [visit], [visit, stage], **heavy)
    stage.halt(page.halt, [visit], None, **light)
    stage.search(page.search, [visit], [visit, stage], **heavy)
    stage.sort(page.sort, [visit], [visit, stage], **heavy)
    stage.more(page.more, [visit], [stage], **light)
    stage.thumbs(page.thumbs, [visit], [stage], **light)
    stage.look(page.look, [visit], [stage], **light)
    stage.correct(page.correct, [visit], [visit, stage], **light)
    stage.export(page.export, [visit], [stage], **light)


class Photos:
    """What the page does when a visitor does something."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.names = models_here(context.model, is_clip)
        if not self.names:
            raise NotHere(f"no CLIP is here, not even {BUNDLED}; install mmfm again")
        if self.names[0] == context.model:
            self.clip(self.names[0])  # a wrong --model is said now, not to the first visitor
        self.turns = itertools.count(1)  # what equals the last of its kind would not be noticed
        self.job: Job | None = None
        self.unread: dict[tuple[Path, str], dict[str, str]] = {}  # as indexing has found it
        self._hiring = threading.Lock()

    def clip(self, name: str) -> TwoTowers:
        """A model, which takes the place of the one that was loaded before."""
        load = self.context.slot.take
        return load(("clip", name), lambda: load_clip(name, device=self.context.device))

    def places(self, model: str) -> tuple[Place, ...]:
        """Where visitors may begin: what was allowed, else the examples, which come last."""
        return (*self.allowed, self.examples(model))

    @cached_property
    def allowed(self) -> tuple[Place, ...]:
        """The folders that were named when the pages were started."""
        return tuple(Place(Path(os.path.realpath(folder))) for folder in self.context.allow)

    def examples(self, model: str) -> Place:
        """The examples that are for a model, in a folder that is removed when the server ends."""
        return Place(self.drawings / examples_for(model).name, examples=True)

    @cached_property
    def drawings(self) -> Path:
        """A folder for the folders of examples."""
        return Path(os.path.realpath(self._temporary.name)) / "pictures"

    @cached_property
    def _temporary(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="mmfm-photos-", ignore_cleanup_errors=True)

    def store(self, place: Place) -> Store:
        """The person's own store, which `mmfm search` reads too; that of examples passes."""
        return Store(Path(self._temporary.name) / "store") if place.examples else Store()

    # --- what a visitor does ----------------------------------------------------------------------

    def arrive(self, request: gr.Request) -> list[Any]:
        """Greet a visitor in their language."""
        query = dict(request.query_params)
        lang = self.context.language(query, dict(request.headers))
        return self.greet(self.first_visit(lang, query.get("model", "")))

    def speak(self, visit: Visit | None, event: gr.EventData) -> list[Any]:
        """Go on in the language of the link that was followed."""
        visit = visit or self.first_visit()
        lang = link_followed(event).get("lang")
        visit.lang = lang if lang in LANGUAGES else visit.lang
        return self.greet(visit)

    def switch(self, visit: Visit | None, model: str) -> Any:
        """Look at the same folder with another model, which knows nothing of it yet."""
        visit = visit or self.first_visit()
        say = WORDS[visit.lang]
        if model not in self.names:
            return self.complain(Told(say["no_model"].format(name=model)), visit)
        if model == visit.model:  # Gradio says so too when somebody only walks past
            return gr.skip()
        try:
            self.clip(model)
            self.settle(visit, visit.place, model)
            return self.show(visit)
        except MmfmError as error:
            return self.complain(error, visit)

    def enter(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Go to one of the places, into one of the folders there, or back up."""
        visit = visit or self.first_visit()
        try:
            self.settle(visit, self.place_of(visit, event), visit.model)
        except MmfmError as error:
            self.complain(error, visit)
        return [visit, gr.HTML(place=self.place_data(visit))]

    def work(self, visit: Visit | None) -> Iterator[Any]:
        """Index for a moment; the browser asks again until all is done, or somebody stops it.

        So those who wait for the device have their turn, and nothing goes on that nobody watches.
        """
        visit = visit or self.first_visit()
        now: dict[str, Any] = {"state": "failed"}
        job: Job | None = None
        try:
            job = self.hire(visit)
            for now in job.watch(SLICE):
                yield [gr.skip(), gr.HTML(progress={**now, "turn": next(self.turns)})]
            if now["state"] != "running":
                job.raise_error()
        except MmfmError as error:
            self.complain(error, visit)
            now = {**now, "state": "failed"}
        if now["state"] != "running":
            if job is not None:
                # Until all has been looked at, what failed before is still known to.
                before = {} if now["state"] == "finished" else self.unread.get(job.key, {})
                self.unread[job.key] = {**before, **job.failed}
            self.settle_or_say(visit)
            now["place"] = self.place_data(visit)
        yield [visit, gr.HTML(progress={**now, "turn": next(self.turns), "over": True})]

    def halt(self, visit: Visit | None) -> None:
        """Stop indexing after the batch that the model is looking at."""
        job = self.job
        if visit is not None and job is not None and job.key == (visit.place.folder, visit.model):
            job.stop()

    def search(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Put the pictures in order: the nearest to what is asked for first."""
        visit = visit or self.first_visit()
        try:
            album = self.known(visit)
            wish = as_wish(event, len(album.paths), WORDS[visit.lang])
            notes: list[str] = []
            store = self.store(album.place)
            hits = nearest(self.clip(album.model), album, wish, store, notes.append)
        except MmfmError as error:
            self.complain(error, visit)
            return [visit, gr.HTML(found={"failed": True, "turn": next(self.turns)})]
        visit.hits = hits
        return [visit, gr.HTML(found=self.found_data(visit, hits, notes))]

    def sort(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Name every picture by labels."""
        visit = visit or self.first_visit()
        say = WORDS[visit.lang]
        try:
            album = self.known(visit)
            question = as_question(event, say)
            notes: list[str] = []
            answers = answered(self.clip(album.model), album, question, notes.append)
        except MmfmError as error:
            self.complain(error, visit)
            return [visit, gr.HTML(answers={"failed": True, "turn": next(self.turns)})]
        visit.answers = answers
        return [visit, gr.HTML(answers=self.answers_data(visit, answers, notes))]

    def more(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Send the next pictures of a list, or the first ones of another."""
        which, start = getattr(event, "which", None), getattr(event, "start", None)
        data: dict[str, Any] = {"which": which, "turn": next(self.turns)}
        if visit is None or type(start) is not int or not 0 <= start < MOST_SHOWN:
            return gr.HTML(more={**data, "tiles": [], "start": 0, "count": 0})
        tiles: list[dict[str, Any]] = []
        count = 0
        if which == "found" and visit.album is not None and visit.hits is not None:
            tiles = hit_tiles(visit.album, visit.hits, slice(start, start + PAGE))
            count = len(visit.hits.order)
        elif which == "answers" and visit.answers is not None:
            listed = chosen(visit.answers, visit.corrections, event)
            tiles = answer_tiles(visit.answers, visit.corrections, listed[start : start + PAGE])
            count = len(listed)
        return gr.HTML(more={**data, "tiles": tiles, "start": start, "count": count})

    def thumbs(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Send small versions of some pictures."""
        asked = getattr(event, "pictures", None)
        album = visit.album if visit else None
        numbers = as_numbers(asked, 0 if album is None else len(album.paths))[:PAGE]
        small: dict[str, str] = {}
        if album is not None:
            with ThreadPoolExecutor(4) as pool:
                made = pool.map(lambda number: small_picture(album, number), numbers)
                small = {str(number): data for number, data in zip(numbers, made, strict=True)}
        key = getattr(event, "album", None)
        return gr.HTML(thumbs={"small": small, "album": key, "turn": next(self.turns)})

    def look(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Send one picture large."""
        asked = getattr(event, "picture", None)
        album = visit.album if visit else None
        numbers = as_numbers([asked], 0 if album is None else len(album.paths))
        data = large_picture(album, numbers[0]) if album is not None and numbers else ""
        return gr.HTML(large={"picture": asked, "data": data, "turn": next(self.turns)})

    def correct(self, visit: Visit | None, event: gr.EventData) -> Any:
        """Note which labels really apply to a picture, or take that back."""
        asked, labels = getattr(event, "picture", None), getattr(event, "labels", None)
        if visit is None or visit.album is None or visit.answers is None:
            return gr.skip()
        answers, say = visit.answers, WORDS[visit.lang]
        numbers = as_numbers([asked], len(visit.album.paths))
        if not numbers:
            return self.complain(Told(say["no_picture"]), visit)
        path = visit.album.paths[numbers[0]]
        if labels is None:
            visit.corrections.pop(path, None)
        else:
            which = as_numbers(labels, len(answers.labels))
            single = not answers.question.multi and len(which) > 1
            if not isinstance(labels, list) or len(which) != len(labels) or single:
                return self.complain(Told(say["no_such_label"]), visit)
            visit.corrections[path] = tuple(answers.labels[number] for number in sorted(which))
        return [
            visit,
            gr.HTML(checked={"turn": next(self.turns), **tally(answers, visit.corrections)}),
        ]

    def export(self, visit: Visit | None) -> Any:
        """Send all answers as a table, corrections among them."""
        visit = visit or self.first_visit()
        if visit.answers is None:
            return self.complain(Told(WORDS[visit.lang]["no_answers"]), visit)
        text = as_table(visit.answers, visit.corrections, visit.failed)
        return gr.HTML(table={"text": text, "turn": next(self.turns)})

    # --- what it takes ----------------------------------------------------------------------------

    def first_visit(self, lang: str | None = None, model: str = "") -> Visit:
        """A visit as it begins, or begins anew when the server has forgotten it."""
        lang = lang or self.context.lang or LANGUAGES[0]
        model = model if model in self.names else self.names[0]
        places = self.places(model)
        visit = Visit(lang, model, places[0])
        for place in places:
            try:
                self.settle(visit, place, model)
                break
            except MmfmError as error:  # a folder that is gone; the examples are always there
                self.complain(error, visit)
        return visit

    def place_of(self, visit: Visit, event: gr.EventData) -> Place:
        """The place that a visitor wants to go to, by its number in what the server listed."""
        place, say = visit.place, WORDS[visit.lang]
        places = self.places(visit.model)
        steps = {name: getattr(event, name, None) for name in ("root", "up", "into")}
        match [(name, number) for name, number in steps.items() if type(number) is int]:
            case [("root", number)] if 0 <= number < len(places):
                return places[number]
            case [("up", number)] if 0 <= number <= len(place.inside):
                return replace(place, inside=place.inside[:number])
            case [("into", number)] if 0 <= number < len(visit.folders):
                return replace(place, inside=(*place.inside, visit.folders[number]))
            case _:
                raise Told(say["no_folder"])

    def settle_or_say(self, visit: Visit) -> None:
        """See what has been indexed; where the folder has gone meanwhile, say so."""
        try:
            self.settle(visit, visit.place, visit.model)
        except MmfmError as error:
            self.complain(error, visit)

    def settle(self, visit: Visit, place: Place, model: str) -> None:
        """Look into a place, and see which of its pictures are indexed for a model."""
        say = WORDS[visit.lang]
        if place.examples:
            known = self.examples(model)
            place = place if place.root == known.root else known
            if not place.root.exists():
                examples_for(model).make(place.root)
        folders = subfolders(checked(place, say))
        album = album_of(place, model, self.clip(model), self.store(place))
        visit.place, visit.model, visit.folders, visit.album = place, model, folders, album
        visit.hits = visit.answers = None
        known = self.unread.get((place.folder, model), {}).items()
        # A link that leads nowhere is there too.
        visit.failed = {
            path: why for path, why in known if path not in album.number and os.path.lexists(path)
        }

    def known(self, visit: Visit) -> Album:
        """The album of a visit, which has pictures in it."""
        if visit.album is None or not visit.album.paths:
            raise Told(WORDS[visit.lang]["first_index"])
        return visit.album

    def hire(self, visit: Visit) -> Job:
        """The job that indexes where this visitor is; one at a time writes to a store."""
        clip, place = self.clip(visit.model), visit.place
        with self._hiring:
            job = self.job
            if job is not None and job.has_news and job.key == (place.folder, visit.model):
                if job.clip is clip:
                    return job
                job.end()  # another page took the model away; two of them might not fit
            elif job is not None and job.is_watched:
                raise Told(WORDS[visit.lang]["other_visitor"])
            elif job is not None:
                job.end()
            checked(place, WORDS[visit.lang])
            waiting = len(visit.album.left) if visit.album else None
            store = self.store(place)
            start = partial(steps, clip, place, store, waiting)
            self.job = Job(place, visit.model, clip, start)
            return self.job

    def complain(self, error: MmfmError, visit: Visit) -> Any:
        """Say what went wrong, in the visitor's language where known, and change nothing."""
        say = WORDS[visit.lang]
        if isinstance(error, InUse):
            error = Told(say["in_use"])
        elif isinstance(error, OutOfSpace):
            error = Told(say["no_space"])
        if not isinstance(error, Told):
            return complain(error, say)
        gr.Warning(escape(str(error)))  # Gradio shows a message as HTML
        return gr.skip()

    # --- what is sent to the browser --------------------------------------------------------------

    def greet(self, visit: Visit) -> list[Any]:
        """Everything on the page, down to what never changes while a language is spoken."""
        say = WORDS[visit.lang]
        shown = self.show(visit)
        shown[3] = gr.Dropdown(label=say["model"], value=visit.model)
        return [*shown, lessons_html(say, LESSONS)]

    def show(self, visit: Visit) -> list[Any]:
        """All that hangs on the place and the model, for `shown` in `build`."""
        say = WORDS[visit.lang]
        clip = self.clip(visit.model)
        sent = {
            "lang": visit.lang,
            "words": say,
            "model": visit.model,
            "limits": {**LONGEST, "shown": MOST_SHOWN, "page": PAGE},
            "opening": examples_for(visit.model).opening[visit.lang],
            "examples": say[examples_for(visit.model).note],
            "place": self.place_data(visit),
            "found": visit.hits and self.found_data(visit, visit.hits, []),
            "answers": visit.answers and self.answers_data(visit, visit.answers, []),
        }
        top = top_html(clip, visit.model, visit.lang, say, self.context.titles)
        return [
            visit,
            top,
            about_html(visit.model, bool(self.context.allow), say),
            visit.model,
            sent,
        ]

    def place_data(self, visit: Visit) -> dict[str, Any]:
        """Where a visitor is, what is there, and how much of it is indexed."""
        say, place, album = WORDS[visit.lang], visit.place, visit.album
        assert album is not None
        places, job = self.places(visit.model), self.job
        return {
            "turn": next(self.turns),
            "places": [place_name(each, say) for each in places],
            "here": places.index(replace(place, inside=())),
            "inside": [folder_name(place, name, say) for name in place.inside],
            "folders": [folder_name(place, name, say) for name in visit.folders[:MOST_FOLDERS]],
            "more": max(0, len(visit.folders) - MOST_FOLDERS),
            "examples": place.examples,
            "indexed": len(album.paths),
            "total": album.total,
            "failed": failed_data(visit.failed, place),
            "failures": len(visit.failed),  # folders that cannot be listed among them
            "unread": len(album.left & visit.failed.keys()),
            "working": job is not None and not job.ended and job.key == (place.folder, visit.model),
        }

    def found_data(self, visit: Visit, hits: Hits, notes: Sequence[str]) -> dict[str, Any]:
        """The first pictures that a search found."""
        album = visit.album
        assert album is not None
        return {
            "turn": next(self.turns),
            "wish": {"text": hits.wish.text, "minus": hits.wish.minus, "like": hits.wish.like},
            "count": len(hits.order),
            "tiles": hit_tiles(album, hits, slice(PAGE)),
            "notes": self.notes(notes, visit.lang),
            "by": self.made_by(visit),
        }

    def answers_data(self, visit: Visit, answers: Answers, notes: Sequence[str]) -> dict[str, Any]:
        """The pictures about whose answers there is most doubt, and how many have which."""
        listed = np.argsort(answers.margin, kind="stable")
        return {
            "turn": next(self.turns),
            "labels": list(answers.labels),
            "question": {
                "labels": answers.question.labels,
                "none": answers.question.none,
                "multi": answers.question.multi,
            },
            "kind": answers.kind,
            "count": len(listed),
            "tiles": answer_tiles(answers, visit.corrections, listed[:PAGE]),
            "notes": self.notes(notes, visit.lang),
            "by": self.made_by(visit),
            **tally(answers, visit.corrections),
        }

    def made_by(self, visit: Visit) -> str:
        """Which weights made a result, and where they ran."""
        say, clip, album = WORDS[visit.lang], self.clip(visit.model), visit.album
        return say["made_by"].format(
            engines=", ".join(album.engines if album else ()),
            weights=weights_words(clip, visit.model, say),
            device=clip.weight.device,
            numbers=str(clip.weight.dtype).removeprefix("torch."),
        )

    def notes(self, lines: Sequence[str], lang: str) -> list[str]:
        """What the task warns of, in a visitor's language where that is known."""
        say = WORDS[lang]
        said = [
            say["splinters"].format(model=MULTILINGUAL)
            if MULTILINGUAL in line
            else say["unread"].format(text=line.partition(": longer than")[0])
            if ": longer than" in line
            else line
            for line in lines
        ]
        return list(dict.fromkeys(said))


def about_html(model: str, allowed: bool, say: Mapping[str, str]) -> str:
    """How to have one's own folder here, and which model is for what."""
    commands = {
        "command": "mmfm demo photos --allow ~/Pictures",
        "photos": f"--model {FOR_PHOTOS}",
        "korean": f"--model {MULTILINGUAL}",
    }
    tagged = {name: f"<code>{escape(text)}</code>" for name, text in commands.items()}
    lines: list[str] = []
    knows, others = SMALL.get(model, ("", ""))
    if knows:
        lines += [f"<strong>{escape(say[knows])}</strong>"]
    if not allowed:
        lines += [escape(say["start"]).format(**tagged)]
    if others:
        lines += [escape(say[others]).format(**tagged)]
    lines += [escape(say["only_allowed"])]
    return "".join(f'<p class="note">{line}</p>' for line in lines)
