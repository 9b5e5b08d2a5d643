"""The plane: diffusion with pictures of two numbers, where noise, network and ways can be seen.

A part of the page "denoise", which calls `build`. What stands behind it:

    denoise_plane_asked.py   reads what is asked for
    denoise_plane_job.py     networks learn, ways are walked, for as long as somebody watches
    denoise_plane_drawn.py   pictures and films to take home
    mmfm.tasks.plane         all that is computed
"""

import base64
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from mmfm import keepsakes
from mmfm.data import plane as points_of
from mmfm.diffusion.samplers import SAMPLERS
from mmfm.diffusion.schedules import SCHEDULES
from mmfm.errors import BadInput, MmfmError
from mmfm.tasks import plane

from .denoise_plane_asked import KIND, LEAST_POINTS, MOST_PANELS, MOST_POINTS, YOURS, as_wish
from .denoise_plane_drawn import COLOURS, TRAILS, moments, sheet
from .denoise_plane_job import (
    ACROSS,
    DOTS,
    FEW_TIMES,
    PLACE,
    REACH,
    SPEED,
    TIMES,
    World,
    packed,
    result_data,
)
from .page import DEVICE, LANGUAGES, Context
from .parts import complain, html, link_followed, refuse_addresses, script, told
from .words_denoise_plane import WORDS

SCRIPTS = ("tools", "paper", "points", "tries", "watch", "page")
SLICE = 2.0  # seconds that learning holds the device before others have their turn
LARGEST = 20 * 2**20  # bytes of a picture that is opened for its settings


def _way(
    sampler: str, steps: int, schedule: str = "cosine", objective: str = "velocity", **more: bool
) -> dict[str, Any]:
    named = {"schedule": schedule, "objective": objective, "sampler": sampler}
    return {**named, "steps": steps, "exact": False, **more}


@dataclass(frozen=True)
class Experiment:
    """Something to try, and what a visitor is asked before it is shown."""

    panels: tuple[dict[str, Any], ...]
    asks: str | None = None  # "steps", "near", "copies" or "back"
    shape: str = "moons"
    count: int = 150
    back: bool = False


EXPERIMENTS: dict[str, Experiment] = {
    "one": Experiment((_way("euler", 16, "flow", "flow"),)),
    "schedule": Experiment(
        (_way("euler", 16, "flow", "flow"), _way("euler", 16, "linear", "flow")), "steps", "spiral"
    ),
    "ahead": Experiment((_way("euler", 8), _way("heun", 8)), "steps"),
    "asked": Experiment(
        tuple(_way("ddpm", 64, "cosine", name) for name in plane.OBJECTIVES), "near", "rings"
    ),
    "chance": Experiment((_way("ddim", 12), _way("ddpm", 12)), "near", "letter", 200),
    "memory": Experiment(
        (
            _way("heun", 48, "flow", "flow"),
            _way("heun", 48, "flow", "flow", exact=True),
        ),
        "copies",
        "rings",
        60,
    ),
    "back": Experiment((_way("ddim", 24), _way("ddpm", 24)), "back", "clusters", back=True),
    "all": Experiment(tuple(_way(name, 8) for name in SAMPLERS), "near", "checkerboard", 300),
}


def build(context: Context, blocks: gr.Blocks, top: gr.HTML) -> "Plane":
    """Put the plane here on a page whose heading is `top`."""
    part = Plane(context)
    part.world = gr.State(None, time_to_live=3600)
    part.stage = html(
        "plane",
        html_template='<div class="plane"></div>',
        # One component, so that what is chosen in one part shows in all; a file for each part.
        js_on_load="\n".join(script(f"denoise_plane_{name}.js") for name in SCRIPTS),
        news=None,
        restored=None,
        kept=None,
    )
    with gr.Column(elem_id="plane-own"):  # hidden: the stage has a button for it
        upload = gr.UploadButton()
    refuse_addresses(upload)

    greeted = part.shown
    light: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    light["trigger_mode"] = "multiple"  # by itself, Gradio drops what comes while it is busy
    heavy = {**light, **DEVICE}
    blocks.load(part.arrive, None, greeted, **light)
    top.speak(part.speak, [part.world], greeted, **light)
    part.stage.go(part.go, [part.world], part.shown, **heavy)
    part.stage.work(part.work, [part.world], part.shown, **heavy)
    part.stage.halt(part.halt, [part.world], None, **light)
    part.stage.keep(part.keep, [part.world], part.stage, **heavy)
    upload.upload(part.open, [part.world, upload], part.shown, **light)

    with gr.Column(visible=False):  # what a script may ask: /plane
        wish, result, go = gr.JSON(), gr.JSON(), gr.Button()
    go.click(part.plane, wish, result, api_name="plane", **DEVICE)
    return part


class Plane:
    """What the plane does when a visitor does something."""

    world: gr.State
    stage: gr.HTML

    def __init__(self, context: Context) -> None:
        self.context = context
        self.turns = itertools.count(1)  # what equals the last of its kind would not be noticed

    @property
    def shown(self) -> list[Any]:
        """What `go`, `work` and `restore` give values for."""
        return [self.world, self.stage]

    def arrive(self, request: gr.Request) -> list[Any]:
        """Greet a visitor in their language."""
        lang = self.context.language(dict(request.query_params), dict(request.headers))
        return self.greet(World(lang))

    def speak(self, world: World | None, event: gr.EventData) -> list[Any]:
        """Go on in the language of the link that was followed."""
        world = world or self.first_world()
        lang = link_followed(event).get("lang")
        world.lang = lang if lang in LANGUAGES else world.lang
        return self.greet(world)

    def greet(self, world: World) -> list[Any]:
        """All that is written, and all that never changes."""
        return [world, stage_data(world.lang)]

    def go(self, world: World | None, event: gr.EventData) -> Iterator[Any]:
        """Set out for what is wished, and begin with it."""
        world = world or self.first_world()
        try:
            wish = as_wish(getattr(event, "wish", None))
            world.begin(wish, anew=getattr(event, "anew", None) is True)
        except BadInput:
            gr.Warning(escape(WORDS[world.lang]["impossible"]))  # Gradio shows a message as HTML
            yield [world, self.news(state="failed", over=True)]
            return
        yield from self.work(world)

    def work(self, world: World | None) -> Iterator[Any]:
        """Learn for a moment; the browser asks again until it is over, or somebody stops it.

        So those who wait for the device have their turn, and nothing goes on that nobody watches.
        """
        world = world or self.first_world()
        if world.wish is None:  # the server has forgotten what it was about
            yield [world, self.news(state="lost", over=True)]
            return
        wish = world.wish
        try:
            for panels in world.watch(SLICE):
                if world.wish is not wish:  # somebody has set out for something else
                    return
                yield [gr.skip(), self.news(state="learning", over=False, panels=panels)]
            if not world.is_over:
                yield [world, self.news(state="learning", over=True)]
                return
            result = world.conclude()
            state = "done" if world.is_finished else "stopped"
            yield [world, self.news(state=state, over=True, result=result_data(result))]
        except MmfmError as error:
            yield self.failed(world, error)

    def halt(self, world: World | None) -> None:
        """Stop learning; what has been learned stays."""
        if world is not None:
            world.stopped = True

    def keep(self, world: World | None, event: gr.EventData) -> Any:
        """Draw what is shown, as a picture or a film that remembers how it was made."""
        if world is None or world.result is None:  # the server has forgotten it
            return self.kept(None)
        result, wanted = world.result, getattr(event, "what", None)
        moment, formula = getattr(event, "moment", None), getattr(event, "formula", None) is True
        about = {"kind": KIND, **result.wish.plain(), "formula": formula}
        every = moments(result)
        try:
            if wanted == "gif":
                frames = [sheet(result, one, formula=formula) for one in every]
                data = keepsakes.gif(frames, about, seconds=0.09, hold=2.5)
            else:
                if not isinstance(moment, int | float) or not 0 <= moment <= every[-1]:
                    moment = every[-1]
                data = keepsakes.png(sheet(result, moment, formula=formula), about)
        except MmfmError as error:
            complain(error, WORDS[world.lang])
            return self.kept(None)
        return self.kept(data, "gif" if wanted == "gif" else "png")

    def open(self, world: World | None, file: str | None) -> list[Any]:
        """Bring back the settings of a picture that was saved here."""
        world = world or self.first_world()
        say = WORDS[world.lang]
        path = Path(str(file))
        if not path.is_file() or path.stat().st_size > LARGEST:
            return self.refused(say["too_large"].format(most=LARGEST // 2**20))
        try:
            about = keepsakes.about(path.read_bytes())
        except keepsakes.Unsigned:
            return self.refused(say["unsigned"])
        except keepsakes.Later:
            return self.refused(say["later"])
        except BadInput:
            return self.refused(say["damaged"])
        if about.get("kind") != KIND:
            return self.refused(say["not_plane"])
        return self.restore(world, about)

    def restore(self, world: World | None, about: dict[str, Any]) -> list[Any]:
        """Set everything as it is said in a picture; the browser then sets out for it."""
        world = world or self.first_world()
        try:
            wish = as_wish(about)
        except BadInput:
            return self.refused(WORDS[world.lang]["damaged"])
        return [world, gr.HTML(restored={"wish": wish.plain(), "turn": next(self.turns)})]

    def refused(self, words: str) -> list[Any]:
        """Say why a file is of no use here, and leave everything as it is."""
        gr.Warning(escape(words))  # Gradio shows a message as HTML
        return [gr.skip(), gr.skip()]

    def plane(self, wish: Any) -> dict[str, Any]:
        """Walk the ways of a wish, after teaching what they need; a script gets all the numbers."""
        with told():
            world = World("en")
            world.begin(as_wish({} if wish is None else wish))
            for _ in world.watch(float("inf")):
                pass
            if not world.is_finished:
                raise BadInput("that takes too long to learn here; ask for fewer panels at a time")
            result = world.conclude()
        panels = [
            {
                "path": [
                    [[round(x, 4), round(y, 4)] for x, y in stop] for stop in walk.path.tolist()
                ],
                "distance": walk.distance,
                "copies": walk.copies,
                "returned": walk.returned,
                "needs": outcome.needs,
            }
            for outcome in result.outcomes
            for walk in [outcome.walk]
        ]
        return {"points": result.points.tolist(), "panels": panels, "best": result.best}

    def first_world(self) -> World:
        """A visit at its beginning; one that the server has forgotten begins anew."""
        return World(self.context.lang or LANGUAGES[0])

    def news(self, **news: Any) -> Any:
        """What the browser is told of what goes on."""
        return gr.HTML(news={**news, "turn": next(self.turns)})

    def kept(self, data: bytes | None, kind: str = "png") -> Any:
        """What the browser is told of a picture that it shall save; of none, that there is none."""
        text = None if data is None else base64.b64encode(data).decode()
        return gr.HTML(kept={"data": text, "kind": kind, "turn": next(self.turns)})

    def failed(self, world: World, error: MmfmError) -> list[Any]:
        """Say what went wrong."""
        complain(error, WORDS[world.lang])
        return [world, self.news(state="failed", over=True)]


def stage_data(lang: str) -> dict[str, Any]:
    """What the browser needs to begin with, in one language."""
    shapes = {name: packed(points_of.points(name, MOST_POINTS), PLACE) for name in points_of.SHAPES}
    return {
        "lang": lang,
        "words": WORDS[lang],
        "shapes": shapes,
        "yours": YOURS,
        "noise": packed(plane.as_places(plane.noise(DOTS)), PLACE),
        "scales": {"place": PLACE, "speed": SPEED},
        "edge": points_of.EDGE,
        "grid": {"reach": REACH, "across": ACROSS},
        "times": {"all": list(TIMES), "few": list(FEW_TIMES)},
        "limits": {
            "least": LEAST_POINTS,
            "most": MOST_POINTS,
            "panels": MOST_PANELS,
            "steps": plane.MOST_STEPS,
        },
        "names": {
            "schedule": list(SCHEDULES),
            "objective": list(plane.OBJECTIVES),
            "sampler": list(SAMPLERS),
        },
        "numbers": list(plane.NUMBERS),
        "colours": len(COLOURS),
        "trails": TRAILS,
        "experiments": {
            name: {
                "shape": one.shape,
                "count": one.count,
                "panels": list(one.panels),
                "back": one.back,
                "asks": one.asks,
            }
            for name, one in EXPERIMENTS.items()
        },
    }
