"""Photos: a folder of one's own is indexed once, then searched and sorted by any words.

Nothing that a browser sends names a file. A visitor picks a folder by its number in a list that the
server made, below those that were allowed on the command line, and a picture by its number in the
album that was shown. Pictures are sent small, inside the page.
"""

import base64
import contextlib
import csv
import io
import itertools
import os
import re
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from PIL import Image

from mmfm.data import shapes
from mmfm.data.folders import picture_files
from mmfm.data.pictures import open_picture
from mmfm.data.shapes import Kind
from mmfm.data.texts import tidy
from mmfm.engines import choose
from mmfm.errors import InUse, MmfmError, NotHere, OutOfSpace
from mmfm.models.checkpoints import load_clip
from mmfm.models.clip import TwoTowers
from mmfm.models.label_vectors import fingerprint
from mmfm.models.reading import MULTILINGUAL
from mmfm.store import Store, below, stored_vectors
from mmfm.tasks.classify import DEFAULT_MODEL, ZeroShotClassifier
from mmfm.tasks.index import Indexed, index
from mmfm.tasks.search import search

from .page import DEVICE, LANGUAGES, Context
from .parts import (
    MAX_PIXELS,
    complain,
    html,
    is_clip,
    lessons_html,
    models_here,
    script,
    top_html,
    weights_words,
)
from .words_photos import WORDS

LESSONS = ("once", "search", "uncertain", "kept")
BUNDLED = DEFAULT_MODEL
FOR_PHOTOS = "ViT-B-32/laion2b_s34b_b79k"

MOST_LABELS = 100
LONGEST = {"text": 200, "labels": 4000}  # letters
MOST_FOLDERS = 200  # that are listed inside of one
PAGE = 36  # pictures that are sent at a time
MOST_SHOWN = 960  # in one list
MOST_FAILED = 100  # files that are named
SHOWN_SCORES = 9  # of one picture
THUMB, VIEW = 208, 1200  # pixels of a thumbnail's side, of a large picture's longer one
COARSE = 96  # up to here a picture's own pixels are shown

SLICE = 2.0  # seconds that indexing holds the device before others have their turn
TOLD = 0.2  # seconds between two reports
PATIENCE = 20.0  # seconds after which indexing that nobody watches ends


class Told(MmfmError):
    """What a visitor did wrong, in their own language already."""


@dataclass(frozen=True)
class Place:
    """A folder that visitors may look into: one that was allowed, or below it."""

    root: Path
    inside: tuple[str, ...] = ()
    examples: bool = False

    @property
    def folder(self) -> Path:
        """Where it is, if nobody has put a link there."""
        return self.root.joinpath(*self.inside)


@dataclass(eq=False)
class Album:
    """The pictures of a place whose vectors are known, at one moment; a picture is its number."""

    place: Place
    model: str
    paths: list[str]
    rows: Float32[np.ndarray, "n d"]
    total: int  # with those that are not indexed
    engines: tuple[str, ...]  # what the picture tower was run with

    @cached_property
    def number(self) -> dict[str, int]:
        """The number of each picture, by its path."""
        return {path: number for number, path in enumerate(self.paths)}


@dataclass(frozen=True)
class Wish:
    """What is searched for."""

    text: str = ""
    minus: str = ""
    like: int | None = None  # a picture of the album


@dataclass(frozen=True, eq=False)
class Hits:
    """Pictures of an album, the nearest to a wish first."""

    wish: Wish
    order: list[int]
    scores: list[float]


@dataclass(frozen=True)
class Question:
    """By what pictures are sorted, as it was typed."""

    labels: str
    none: bool = False
    multi: bool = False


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says about every picture of an album."""

    question: Question
    labels: tuple[str, ...]
    kind: str  # of the scores
    scores: Float[np.ndarray, "n k"]
    none: Float[np.ndarray, " n"]  # the chance that no label applies
    applies: Bool[np.ndarray, "n k"]
    margin: Float[np.ndarray, " n"]  # how far the answer is from being another one
    rival: Int[np.ndarray, " n"]  # that other one; -1: none of these


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
    top = html("top", js_on_load=script("top.js"))
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

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Where visitors may begin: what was allowed, else the examples, which come last."""
        allowed = [Place(Path(os.path.realpath(folder))) for folder in self.context.allow]
        return (*allowed, Place(self.drawings, examples=True))

    @cached_property
    def drawings(self) -> Path:
        """A folder for example pictures, removed when the server ends."""
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
        query = getattr(event, "query", None)
        lang = query.get("lang") if isinstance(query, dict) else None
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
        failed: dict[str, str] = {}
        try:
            job = self.hire(visit)
            failed = job.failed
            for now in job.watch(SLICE):
                yield [gr.skip(), gr.HTML(progress={**now, "turn": next(self.turns)})]
            if job.ended:
                job.raise_error()
        except MmfmError as error:
            self.complain(error, visit)
            now = {**now, "state": "failed"}
        if now["state"] != "running":
            self.settle_or_say(visit, failed)
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
            wish = as_wish(event, album, WORDS[visit.lang])
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
            tiles, count = hit_tiles(visit.album, visit.hits, start), len(visit.hits.order)
        elif which == "answers" and visit.answers is not None:
            listed = chosen(visit, visit.answers, event)
            tiles = answer_tiles(visit, visit.answers, listed[start : start + PAGE])
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
        return [visit, gr.HTML(checked={"turn": next(self.turns), **tally(visit, answers)})]

    def export(self, visit: Visit | None) -> Any:
        """Send all answers as a table, corrections among them."""
        visit = visit or self.first_visit()
        if visit.answers is None:
            return self.complain(Told(WORDS[visit.lang]["no_answers"]), visit)
        text = as_table(visit, visit.answers)
        return gr.HTML(table={"text": text, "turn": next(self.turns)})

    # --- what it takes ----------------------------------------------------------------------------

    def first_visit(self, lang: str | None = None, model: str = "") -> Visit:
        """A visit as it begins, or begins anew when the server has forgotten it."""
        lang = lang or self.context.lang or LANGUAGES[0]
        model = model if model in self.names else self.names[0]
        visit = Visit(lang, model, self.places[0])
        for place in self.places:
            try:
                self.settle(visit, place, model)
                break
            except MmfmError as error:  # a folder that is gone; the examples are always there
                self.complain(error, visit)
        return visit

    def place_of(self, visit: Visit, event: gr.EventData) -> Place:
        """The place that a visitor wants to go to, by its number in what the server listed."""
        place, say = visit.place, WORDS[visit.lang]
        steps = {name: getattr(event, name, None) for name in ("root", "up", "into")}
        match [(name, number) for name, number in steps.items() if type(number) is int]:
            case [("root", number)] if 0 <= number < len(self.places):
                return self.places[number]
            case [("up", number)] if 0 <= number <= len(place.inside):
                return replace(place, inside=place.inside[:number])
            case [("into", number)] if 0 <= number < len(visit.folders):
                return replace(place, inside=(*place.inside, visit.folders[number]))
            case _:
                raise Told(say["no_folder"])

    def settle_or_say(self, visit: Visit, failed: Mapping[str, str]) -> None:
        """See what has been indexed; where the folder has gone meanwhile, say so."""
        try:
            self.settle(visit, visit.place, visit.model, failed=failed)
        except MmfmError as error:
            self.complain(error, visit)

    def settle(
        self, visit: Visit, place: Place, model: str, *, failed: Mapping[str, str] | None = None
    ) -> None:
        """Look into a place, and see which of its pictures are indexed for a model."""
        say = WORDS[visit.lang]
        if place.examples and not self.drawings.exists():
            draw_examples(self.drawings)
        folders = subfolders(checked(place, say))
        album = self.album(place, model)
        visit.place, visit.model, visit.folders, visit.album = place, model, folders, album
        visit.hits = visit.answers = None
        key = (place.folder, model)
        if failed is not None:
            self.unread[key] = dict(failed)
        known = self.unread.get(key, {}).items()
        visit.failed = {
            path: why for path, why in known if path not in album.number and Path(path).exists()
        }

    def album(self, place: Place, model: str) -> Album:
        """All pictures of a place that are indexed as they are now."""
        found = (os.fspath(file) for file in picture_files(place.folder).files)
        paths = [path for path in found if stays_inside(path, place)]
        clip = self.clip(model)
        store = self.store(place)
        stored = stored_vectors(store, clip, paths)
        rows = [(path, row) for path in paths if (row := stored.get(path)) is not None]
        vectors = np.stack([row for _, row in rows]) if rows else np.empty((0, clip.dim))
        matrix = vectors.astype(np.float32, copy=False)
        engines: list[str] = []
        if rows:
            where = below([os.fsencode(place.folder)])
            column = store.shelf(fingerprint(clip)).read(["engine"], where).column("engine")
            engines = sorted(column.unique().to_pylist())
        named = [path for path, _ in rows]
        return Album(place, model, named, matrix, len(paths), tuple(engines))

    def known(self, visit: Visit) -> Album:
        """The album of a visit, which has pictures in it."""
        if visit.album is None or not visit.album.paths:
            raise Told(WORDS[visit.lang]["first_index"])
        return visit.album

    def hire(self, visit: Visit) -> "Job":
        """The job that indexes where this visitor is; one at a time writes to a store."""
        clip, place = self.clip(visit.model), visit.place
        with self._hiring:
            job = self.job
            if job is not None and not job.ended and job.key == (place.folder, visit.model):
                if job.clip is clip:
                    return job
                job.end()  # another page took the model away; two of them might not fit
            elif job is not None and job.is_watched:
                raise Told(WORDS[visit.lang]["other_visitor"])
            elif job is not None:
                job.end()
            checked(place, WORDS[visit.lang])
            waiting = visit.album.total - len(visit.album.paths) if visit.album else None
            self.job = Job(
                place, visit.model, clip, lambda stop: self.steps(clip, place, waiting, stop)
            )
            return self.job

    def steps(
        self, clip: TwoTowers, place: Place, pictures: int | None, stop: Callable[[], bool]
    ) -> Generator[Indexed]:
        """Choose how to run the model, then index with it."""
        engine = choose(clip, pictures=pictures)
        store = self.store(place)
        yield from index(clip, engine, [place.folder], store=store, stop=stop, wait=False)

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
            "opening": OPENING[visit.lang],
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
        named = [place_name(each, say) for each in self.places]
        job = self.job
        return {
            "turn": next(self.turns),
            "places": named,
            "here": self.places.index(replace(place, inside=())),
            "inside": [folder_name(place, name, say) for name in place.inside],
            "folders": [folder_name(place, name, say) for name in visit.folders[:MOST_FOLDERS]],
            "more": max(0, len(visit.folders) - MOST_FOLDERS),
            "examples": place.examples,
            "indexed": len(album.paths),
            "total": album.total,
            "failed": failed_data(visit.failed, place),
            "failures": len(visit.failed),
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
            "tiles": hit_tiles(album, hits, 0),
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
            "tiles": answer_tiles(visit, answers, listed[:PAGE]),
            "notes": self.notes(notes, visit.lang),
            "by": self.made_by(visit),
            **tally(visit, answers),
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


# --- indexing -------------------------------------------------------------------------------------


class Job:
    """Indexing that works while somebody watches, and rests while nobody does.

    It has a thread of its own from beginning to end, as the lock of the store demands, whichever
    thread of the server happens to watch.
    """

    def __init__(
        self,
        place: Place,
        model: str,
        clip: TwoTowers,
        start: Callable[[Callable[[], bool]], Generator[Indexed]],
    ) -> None:
        self.place, self.key, self.clip = place, (place.folder, model), clip
        self.failed: dict[str, str] = {}
        self.now: Indexed | None = None
        self.ended = self.stopped = False
        self._error: Exception | None = None
        self._speeds: deque[tuple[int, float]] = deque(maxlen=20)  # (files opened, seconds)
        self._watchers = 0
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, args=(start,))
        self._thread.start()

    @property
    def is_watched(self) -> bool:
        """Whether anybody waits for it."""
        return not self.ended and self._watchers > 0

    def stop(self) -> None:
        """End after the batch that the model is looking at; what was indexed stays."""
        with self._news:
            self.stopped = True
            self._news.notify_all()

    def end(self) -> None:
        """Stop, and wait until the store is free again."""
        self.stop()
        self._thread.join()

    def raise_error(self) -> None:
        """Hand on what went wrong."""
        if self._error is not None:
            raise self._error

    def watch(self, seconds: float) -> Iterator[dict[str, Any]]:
        """Have it work for a while and report how far it comes."""
        until = time.monotonic() + seconds
        with self._news:
            self._watchers += 1
            self._news.notify_all()
        try:
            while not self.ended and time.monotonic() < until:
                with self._news:
                    self._news.wait_for(lambda: self.ended, TOLD)
                yield self.report()
        finally:
            with self._news:
                self._watchers -= 1

    def report(self) -> dict[str, Any]:
        """How far it has come."""
        now = self.now or Indexed()
        speeds = list(self._speeds)
        opened, spent = sum(files for files, _ in speeds), sum(seconds for _, seconds in speeds)
        speed = opened / spent if opened and spent else None
        return {
            "state": "running" if not self.ended else "stopped" if self.stopped else "finished",
            "ready": self.now is not None,
            "stopping": self.stopped,
            "done": now.done,
            "total": now.total,
            "speed": speed,
            "left": (now.total - now.done) / speed if speed else None,
            "failed": failed_data(dict(self.failed), self.place),
            "failures": len(self.failed),
        }

    def _run(self, start: Callable[[Callable[[], bool]], Generator[Indexed]]) -> None:
        try:
            with contextlib.closing(start(lambda: self._is_over)) as steps:
                began = time.monotonic()
                for now in steps:
                    before, self.now = self.now or Indexed(), now
                    opened = (now.done - now.unchanged) - (before.done - before.unchanged)
                    self._speeds.append((opened, time.monotonic() - began))
                    self.failed.update(now.failed)
                    if not self._may_go_on():
                        self.stopped = True
                        break
                    began = time.monotonic()
        except Exception as error:  # handed on by raise_error to whoever watches
            self._error = error
        with self._news:
            self.ended = True
            self._news.notify_all()

    def _may_go_on(self) -> bool:
        """Tell those who watch. Where nobody does, rest; where nobody comes, it is over."""
        until = time.monotonic() + PATIENCE
        with self._news:
            self._news.notify_all()
            while not self._watchers and not self._is_over and time.monotonic() < until:
                self._news.wait(0.5)
            return self._watchers > 0 and not self._is_over

    @property
    def _is_over(self) -> bool:
        """Whether somebody has stopped it, or the server."""
        return self.stopped or not threading.main_thread().is_alive()


# --- folders --------------------------------------------------------------------------------------


def checked(place: Place, say: Mapping[str, str]) -> Path:
    """Where a place is, refused where it is gone or a link leads elsewhere by now."""
    folder = place.folder
    if os.path.realpath(folder) != os.fspath(folder) or not folder.is_relative_to(place.root):
        raise Told(say["no_folder"])
    if not folder.is_dir():
        raise Told(say["no_folder"])
    return folder


def subfolders(folder: Path) -> tuple[str, ...]:
    """The folders inside of one; not the hidden ones, and no links."""
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]
    except OSError as error:
        raise NotHere(f"{folder.name}: {error.strerror}") from error
    return tuple(sorted(names))


def stays_inside(path: str, place: Place) -> bool:
    """Whether a file is where it seems to be, or a link to another that may be looked at."""
    if not Path(path).is_symlink():
        return True
    return Path(os.path.realpath(path)).is_relative_to(place.root)


def place_name(place: Place, say: Mapping[str, str]) -> str:
    """What a place to begin at is called."""
    return say["examples_place"] if place.examples else legible(place.root.name or str(place.root))


def folder_name(place: Place, name: str, say: Mapping[str, str]) -> str:
    """What a folder is called; those of the examples have names in two languages."""
    return say.get(f"examples_{name}", name) if place.examples else legible(name)


def shown_name(path: str, place: Place) -> str:
    """A picture's path as visitors see it: below the folder that was allowed."""
    return legible(os.path.relpath(path, place.root))


def legible(text: str) -> str:
    """Text that can be sent, also where a file's name is no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def failed_data(failed: Mapping[str, str], place: Place) -> list[list[str]]:
    """Which files cannot be read, and why."""
    some = itertools.islice(failed.items(), MOST_FAILED)
    return [[shown_name(path, place), legible(reason)] for path, reason in some]


# --- pictures, small and large --------------------------------------------------------------------


def small_picture(album: Album, number: int) -> str:
    """The middle of a picture as a small square, inside its own address; empty if it is gone."""
    return _seen(album, number, _small)


def large_picture(album: Album, number: int) -> str:
    """A picture large enough to look at, inside its own address; empty if it is gone."""
    return _seen(album, number, _large)


def real_path(album: Album, number: int) -> str | None:
    """Where a picture is; None where it leads out of what was allowed.

    It is asked anew each time: a link may have taken its place, or that of a folder above it.
    """
    real = os.path.realpath(album.paths[number])
    return real if Path(real).is_relative_to(album.place.root) else None


def _seen(album: Album, number: int, look: Callable[[str, int], str]) -> str:
    real = real_path(album, number)
    try:
        return "" if real is None else look(real, Path(real).stat().st_mtime_ns)
    except (MmfmError, OSError):
        return ""


@lru_cache(4096)
def _small(path: str, changed: int) -> str:
    """Kept under the time of its last change."""
    picture = open_picture(path, at_least=THUMB, max_pixels=MAX_PIXELS)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    square.thumbnail((THUMB, THUMB), Image.Resampling.BICUBIC)
    return _inside_address(square)


def _large(path: str, changed: int) -> str:
    picture = open_picture(path, at_least=VIEW // 2, max_pixels=MAX_PIXELS)
    picture.thumbnail((VIEW, VIEW), Image.Resampling.BICUBIC)
    return _inside_address(picture)


def _inside_address(picture: Image.Image) -> str:
    kind = "PNG" if max(picture.size) <= COARSE else "JPEG"
    file = io.BytesIO()
    picture.save(file, kind, quality=84)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(file.getvalue()).decode()


# --- searching ------------------------------------------------------------------------------------


def as_wish(event: gr.EventData, album: Album, say: Mapping[str, str]) -> Wish:
    """Read what is searched for."""
    texts = [tidy(str(getattr(event, name, None) or "")) for name in ("text", "minus")]
    for text in texts:
        if len(text) > LONGEST["text"]:
            limit = LONGEST["text"]
            raise Told(say["too_long"].format(count=len(text), limit=limit))
    like = getattr(event, "like", None)
    if like is not None and not as_numbers([like], len(album.paths)):
        raise Told(say["no_picture"])
    if not texts[0] and like is None:
        raise Told(say["no_words"])
    return Wish(texts[0], texts[1], like)


def nearest(
    clip: TwoTowers, album: Album, wish: Wish, store: Store, warn: Callable[[str], None]
) -> Hits:
    """The pictures of an album that are nearest to a wish; the one it begins with is left out."""
    plus: list[str | Path | Image.Image] = [wish.text] if wish.text else []
    if wish.like is not None:
        file = real_path(album, wish.like)
        if file is None:
            raise NotHere(f"picture {wish.like + 1}: no longer there")
        side = clip.preprocessing.short_side
        plus.append(open_picture(file, at_least=side, max_pixels=MAX_PIXELS))
    minus = [wish.minus] if wish.minus else []
    folders = [album.place.folder]
    hits = search(clip, plus, minus, store=store, n=MOST_SHOWN + 1, folders=folders, warn=warn)
    # The store may know more of the folder than may be shown: files behind links that lead out.
    found = [(album.number[path], hit.score) for hit in hits if (path := str(hit.path)) in
             album.number and album.number[path] != wish.like]  # fmt: skip
    return Hits(wish, [number for number, _ in found], [score for _, score in found])


def hit_tiles(album: Album, hits: Hits, start: int) -> list[dict[str, Any]]:
    """Some of the pictures that were found, as the browser is sent them."""
    some = slice(start, start + PAGE)
    return [
        {"id": number, "name": shown_name(album.paths[number], album.place), "score": score}
        for number, score in zip(hits.order[some], hits.scores[some], strict=True)
    ]


# --- sorting --------------------------------------------------------------------------------------


def as_question(event: gr.EventData, say: Mapping[str, str]) -> Question:
    """Read by which labels pictures are sorted."""
    text = str(getattr(event, "labels", None) or "")
    if len(text) > LONGEST["labels"]:
        raise Told(say["too_long"].format(count=len(text), limit=LONGEST["labels"]))
    count = len(label_parts(text))
    if count > MOST_LABELS:
        raise Told(say["too_many_labels"].format(count=count, limit=MOST_LABELS))
    flags = [getattr(event, name, None) is True for name in ("none", "multi")]
    return Question(text, none=flags[0], multi=flags[1])


def label_parts(text: str) -> list[str]:
    """Part labels at commas and line ends; nothing typed is ever taken for a file's name."""
    return [part for part in re.split(r"[,\n]", text) if part.strip()]


def answered(
    clip: TwoTowers, album: Album, question: Question, warn: Callable[[str], None]
) -> Answers:
    """Name all pictures of an album by their vectors; no file is opened."""
    clf = ZeroShotClassifier(
        clip,
        label_parts(question.labels),
        none_of_these=question.none,
        multi_label=question.multi,
        warn=warn,
    )
    n, k = len(album.paths), len(clf.labels)
    scores, none = np.empty((n, k), np.float32), np.zeros(n, np.float32)
    applies = np.zeros((n, k), bool)
    place = {label: number for number, label in enumerate(clf.labels)}
    said = clf.stream(album.paths, known=lambda some: [album.rows[number] for number, _ in some])
    for number, p in enumerate(said):
        scores[number] = [p.scores[label] for label in clf.labels]
        applies[number, [place[label] for label in p.labels]] = True
        none[number] = (p.score or 0) if not p.labels else 0
    if question.none and not question.multi:
        none = 1 - scores.sum(axis=1)  # what the labels leave over
    margin, rival = doubts(scores, none, applies, question, np.array(clf.thresholds, np.float32))
    return Answers(question, clf.labels, clf.score_kind, scores, none, applies, margin, rival)


def doubts(
    scores: Float[np.ndarray, "n k"],
    none: Float[np.ndarray, " n"],
    applies: Bool[np.ndarray, "n k"],
    question: Question,
    thresholds: Float[np.ndarray, " k"],
) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """How far each answer is from being another one, and which that would be; -1: none of these.

    One of the labels: what parts the best two, or the chance that any applies from one half. Each
    label by itself: what parts the score that is nearest to its threshold from that.
    """
    rows = np.arange(len(scores))
    if question.multi:
        away = np.abs(scores - thresholds)
        rival = away.argmin(axis=1)
        return away[rows, rival], rival
    order = np.argsort(-scores, axis=1, kind="stable")
    best = order[:, 0]
    second = order[:, 1] if scores.shape[1] > 1 else np.full(len(rows), -1)
    ahead = scores[rows, best] - np.where(second < 0, 0, scores[rows, second])
    if not question.none:
        return ahead, second
    from_half = np.abs(1 - 2 * none)
    nothing = ~applies.any(axis=1)
    margin = np.where(nothing, from_half, np.minimum(ahead, from_half))
    return margin, np.where(nothing, best, np.where(from_half < ahead, -1, second))


def chosen(visit: Visit, answers: Answers, event: gr.EventData) -> Int[np.ndarray, " m"]:
    """The pictures of one kind, in one order: all, those with one answer, or those checked."""
    assert visit.album is not None
    order, only = getattr(event, "order", None), getattr(event, "only", None)
    by = {"uncertain": answers.margin, "sure": -answers.margin}.get(str(order))
    listed = np.arange(len(answers.margin)) if by is None else np.argsort(by, kind="stable")
    if only == "checked":
        right = corrections(visit, answers)
        return listed[[visit.album.paths[number] in right for number in listed]]
    if type(only) is int and 0 <= only < len(answers.labels):
        return listed[now_applies(visit, answers)[listed, only]]
    if only == "none":
        return listed[~now_applies(visit, answers)[listed].any(axis=1)]
    return listed


def corrections(visit: Visit, answers: Answers) -> dict[str, list[int]]:
    """What a person said, as far as it can be said in these labels: path -> their numbers."""
    place = {label: number for number, label in enumerate(answers.labels)}
    return {
        path: [place[label] for label in labels]
        for path, labels in visit.corrections.items()
        if all(label in place for label in labels) and (answers.question.multi or len(labels) < 2)
    }


def now_applies(visit: Visit, answers: Answers) -> Bool[np.ndarray, "n k"]:
    """Which labels apply after a person's corrections."""
    assert visit.album is not None
    applies = answers.applies.copy()
    for path, labels in corrections(visit, answers).items():
        if (number := visit.album.number.get(path)) is not None:
            applies[number] = False
            applies[number, labels] = True
    return applies


def tally(visit: Visit, answers: Answers) -> dict[str, Any]:
    """How many pictures have each answer, and how many a person has checked."""
    assert visit.album is not None
    applies = now_applies(visit, answers)
    here = [
        (answers.applies[number], labels)
        for path, labels in corrections(visit, answers).items()
        if (number := visit.album.number.get(path)) is not None
    ]
    changed = sum(np.flatnonzero(said).tolist() != sorted(labels) for said, labels in here)
    return {
        "counts": applies.sum(axis=0).tolist(),
        "nothing": int((~applies.any(axis=1)).sum()),
        "checked": len(here),
        "changed": changed,
    }


def answer_tiles(
    visit: Visit, answers: Answers, numbers: Sequence[int] | Int[np.ndarray, " m"]
) -> list[dict[str, Any]]:
    """Some answers, as the browser is sent them."""
    album = visit.album
    assert album is not None
    right = corrections(visit, answers)
    tiles: list[dict[str, Any]] = []
    for number in map(int, numbers):
        scores = answers.scores[number]
        best = np.argsort(-scores, kind="stable")[
            : max(SHOWN_SCORES, answers.applies[number].sum())
        ]
        tiles.append(
            {
                "id": number,
                "name": shown_name(album.paths[number], album.place),
                "said": np.flatnonzero(answers.applies[number]).tolist(),
                "none": round(float(answers.none[number]), 4),
                "scores": [[int(label), round(float(scores[label]), 4)] for label in best],
                "rival": int(answers.rival[number]),
                "margin": round(float(answers.margin[number]), 4),
                "right": right.get(album.paths[number]),
            }
        )
    return tiles


# --- the table ------------------------------------------------------------------------------------

COLUMNS = ("path", "label", "labels", "score", "score_kind", "error", "corrected")


def as_table(visit: Visit, answers: Answers) -> str:
    """All answers as CSV, in the columns of `mmfm classify --csv`, and whether a person has spoken.

    `corrected` is "yes" where a person changed the answer, "confirmed" where they agreed. The score
    is the model's own for the label that stands there. Paths begin below the allowed folder.
    """
    album = visit.album
    assert album is not None
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(COLUMNS)
    right, applies = corrections(visit, answers), now_applies(visit, answers)
    for number, path in enumerate(album.paths):
        scores = answers.scores[number]
        several = sorted(np.flatnonzero(applies[number]).tolist(), key=lambda k: -scores[k])
        names = [answers.labels[label] for label in several]
        score = float(scores[several[0]] if several else answers.none[number])
        same = bool((applies[number] == answers.applies[number]).all())
        checked = "" if path not in right else "confirmed" if same else "yes"
        cells = (names[0] if names else "", "|".join(names), round(score, 6), answers.kind, "")
        row = (shown_name(path, album.place), *cells, checked)
        table.writerow([legible(str(cell)) for cell in row])
    for path, reason in visit.failed.items():
        row = (shown_name(path, album.place), "", "", "", "", reason, "")
        table.writerow([legible(cell) for cell in row])
    # Its first letter tells spreadsheets that it is UTF-8.
    return "\ufeff" + text.getvalue()


def as_numbers(numbers: object, count: int) -> list[int]:
    """Those of some numbers that are below a count, each once; nonsense counts as nothing."""
    if not isinstance(numbers, list):
        return []
    fitting = (n for n in numbers[:1000] if type(n) is int and 0 <= n < count)
    return list(dict.fromkeys(fitting))


# --- the examples ---------------------------------------------------------------------------------

OPENING = {
    "en": {
        "text": "a pink heart",
        "minus": "",
        "labels": "circle, square, triangle, star, heart, cross, ring, crescent",
    },
    "ko": {
        "text": "분홍색 하트",
        "minus": "",
        "labels": "원, 사각형, 삼각형, 별, 하트, 십자가, 고리, 초승달",
    },
}


def draw_examples(folder: Path) -> None:
    """Draw pictures of one shape, and of two, about which there is more doubt."""
    wanted: tuple[tuple[str, Kind, int], ...] = (("one", "seen", 60), ("two", "two", 24))
    for name, kind, count in wanted:
        here = folder / name
        here.mkdir(parents=True)
        several = shapes.scenes(kind, count, 5)
        for number, (scene, drawing) in enumerate(
            zip(several, shapes.draw(several, 224, seed=5), strict=True), 1
        ):
            said = "-and-".join(f"{shape.colour}-{shape.form}" for shape in scene.objects)
            Image.fromarray(drawing.numpy()).save(
                here / f"{number:02d}-{said}.png", compress_level=1
            )


# --- what is written on the page ------------------------------------------------------------------


def about_html(model: str, allowed: bool, say: Mapping[str, str]) -> str:
    """How to have one's own folder here, and which model is for what."""
    commands = {
        "command": "mmfm demo photos --allow ~/Pictures",
        "photos": f"--model {FOR_PHOTOS}",
        "korean": f"--model {MULTILINGUAL}",
    }
    tagged = {name: f"<code>{escape(text)}</code>" for name, text in commands.items()}
    lines: list[str] = []
    if model == BUNDLED:
        lines += [f"<strong>{escape(say['knows_shapes'])}</strong>"]
    if not allowed:
        lines += [escape(say["start"]).format(**tagged)]
    if model == BUNDLED:
        lines += [escape(say["for_photos"]).format(**tagged)]
    lines += [escape(say["only_allowed"])]
    return "".join(f'<p class="note">{line}</p>' for line in lines)
