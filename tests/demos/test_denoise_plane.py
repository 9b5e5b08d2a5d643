"""The plane teaches, walks and keeps what is asked for, and nothing that is not possible."""

import base64
import io
import json
import math
import re
import time
from collections.abc import Generator
from pathlib import Path
from string import Formatter
from typing import Any

import gradio as gr
import numpy as np
import plane_alone
import pytest
import torch
import visitors
from gradio_client import Client
from mmfm.demos import app, denoise_plane, denoise_plane_job
from mmfm.demos.denoise_plane import EXPERIMENTS, Plane
from mmfm.demos.denoise_plane_asked import KIND, as_wish
from mmfm.demos.denoise_plane_drawn import COLOURS, GAP, SIDE, moments, sheet
from mmfm.demos.denoise_plane_job import Outcome, Walk, World, best_of
from mmfm.demos.page import Context
from mmfm.demos.words import COMMON
from mmfm.demos.words_denoise_plane import WORDS
from PIL import Image

from mmfm import keepsakes
from mmfm.data import plane as points_of
from mmfm.errors import BadInput
from mmfm.tasks import plane
from mmfm.tasks.plane import Way

SHAPES = list(points_of.SHAPES)


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """What torch loads when it is first used comes before anything is timed."""
    world = World("en")
    world.begin(as_wish({"panels": [panel(steps=1)]}))
    next(world.watch(60))
    world.conclude()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that learn for a moment only."""
    monkeypatch.setattr(denoise_plane_job, "STEPS", 60)


@pytest.fixture
def page() -> Plane:
    return Plane(Context("cpu"))


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", said.append)
    return said


def event(**data: object) -> gr.EventData:
    return gr.EventData(None, data)


def sent(shown: Any, name: str) -> Any:
    """What the stage is sent, as JSON would carry it."""
    update = shown[1] if isinstance(shown, list) else shown
    return json.loads(json.dumps(update.props[name], allow_nan=False))


def run(page: Plane, world: World, wish: object, **more: object) -> list[dict[str, Any]]:
    """Watch until it is over, as the browser does."""
    told = [sent(shown, "news") for shown in page.go(world, event(wish=wish, **more))]
    while told[-1]["state"] == "learning":
        assert told[-1]["over"]
        told += [sent(shown, "news") for shown in page.work(world)]
    assert [news["over"] for news in told].count(True) >= 1
    assert told[-1]["over"]
    return told


def unpacked(text: str, scale: int = denoise_plane_job.PLACE) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(text), "<i2").reshape(-1, 2) / scale


def panel(**more: object) -> dict[str, object]:
    return {"schedule": "flow", "objective": "flow", "sampler": "euler", "steps": 4, **more}


# --- words --------------------------------------------------------------------------------------


def test_both_languages_say_the_same_things_with_the_same_gaps() -> None:
    english, korean = WORDS["en"], WORDS["ko"]
    assert english.keys() == korean.keys()
    for key, text in english.items():
        gaps, others = (
            {g for _, g, _, _ in Formatter().parse(t) if g} for t in (text, korean[key])
        )
        assert gaps == others or key == "unreadable", key


def test_every_word_is_used_and_every_name_is_told() -> None:
    folder = Path(denoise_plane.__file__).parent
    files = [*folder.glob("denoise_plane*.py"), *folder.glob("static/denoise_plane_*.js")]
    code = "".join(file.read_text(encoding="utf-8") for file in files)
    built = ("shape_", "try_", "why_", "ask_", "won_", "tied_", "lesson_", "whose_")
    for key in WORDS["en"].keys() - COMMON["en"].keys():
        used = re.search(rf"(say|words)\.{key}\b", code) or f'"{key}"' in code
        told = key.removesuffix("_title") in ("distance", "copies", "needs", "returned")
        assert used or told or key.startswith(built), key
    for name, one in EXPERIMENTS.items():
        assert {f"try_{name}", f"try_{name}_note"} <= WORDS["en"].keys()
        if one.asks:
            assert {f"ask_{one.asks}", f"won_{one.asks}", f"tied_{one.asks}"} <= WORDS["en"].keys()
            assert f"why_{name}" in WORDS["en"]
    assert {f"shape_{name}" for name in (*SHAPES, denoise_plane.YOURS)} <= WORDS["en"].keys()


# --- what is asked ------------------------------------------------------------------------------


def test_a_wish_is_read_as_it_was_written_and_what_it_leaves_out_is_as_usual() -> None:
    wish = as_wish({})
    assert (wish.shape, len(wish.points), wish.back, wish.seed) == ("moons", 120, False, 0)
    assert [each.way for each in wish.panels] == [Way()]
    drawn = [[0.1234, -1.0], [2.0, 2.9999], [0, 0]]
    whole = {
        "shape": "yours",
        "count": 30,
        "drawn": drawn,
        "panels": [panel(exact=True), panel(steps=64, exact=False)],
        "back": True,
        "seed": 7,
        "formula": True,
    }
    wish = as_wish(whole)
    assert wish.points.tolist() == pytest.approx(np.array(drawn).round(3), abs=1e-6)
    assert as_wish(json.loads(json.dumps(wish.plain()))) == wish
    assert as_wish(wish.plain() | {"kind": KIND, "unknown": 1}) == wish


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (None, "a wish is a table"),
        ([], "a wish is a table"),
        ({"shape": "moon"}, "no shape 'moon'; there are moons"),
        ({"shape": ["moons"]}, "no shape"),
        ({"count": 2}, "count is a whole number from 3 to 400"),
        ({"count": 401}, "count is a whole number"),
        ({"count": math.nan}, "count is a whole number"),
        ({"count": 120.0}, "count is a whole number"),
        ({"count": True}, "count is a whole number"),
        ({"seed": -1}, "seed is a whole number from 0"),
        ({"back": 1}, "back is true or false"),
        ({"formula": "yes"}, "formula is true or false"),
        ({"panels": []}, "panels are a list of 1 to 6"),
        ({"panels": [{}] * 7}, "panels are a list of 1 to 6"),
        ({"panels": "all"}, "panels are a list"),
        ({"panels": [None]}, "a way is a table"),
        ({"panels": [panel(steps=0)]}, "0 steps on the plane"),
        ({"panels": [panel(steps=65)]}, "65 steps on the plane"),
        ({"panels": [panel(steps=4.5)]}, "steps are a whole number"),
        ({"panels": [panel(steps=math.inf)]}, "steps are a whole number"),
        ({"panels": [panel(steps=True)]}, "steps are a whole number"),
        ({"panels": [panel(sampler="jump")]}, "no sampler 'jump'"),
        ({"panels": [panel(sampler=3)]}, "a sampler is named by a word"),
        ({"panels": [panel(schedule="x" * 1000)]}, "a schedule is named by a word"),
        ({"panels": [panel(objective="<b>")]}, "no objective '<b>'"),
        ({"panels": [panel(exact=0)]}, "exact is true or false"),
        ({"shape": "yours"}, "points are a list of pairs"),
        ({"shape": "yours", "drawn": [[0, 0]] * 2}, "2 points; draw 3 to 400"),
        ({"shape": "yours", "drawn": [[0, 0]] * 401}, "401 points; draw 3 to 400"),
        ({"shape": "yours", "drawn": [[0, math.nan]] * 3}, "a point is two numbers"),
    ],
)
def test_what_is_not_possible_is_refused_in_one_line(given: object, line: str) -> None:
    with pytest.raises(BadInput, match=line) as error:
        as_wish(given)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_everything_to_try_is_possible(name: str) -> None:
    one = EXPERIMENTS[name]
    plain = {"shape": one.shape, "count": one.count, "panels": list(one.panels), "back": one.back}
    wish = as_wish(plain)
    assert [{**each} for each in wish.plain()["panels"]] == list(one.panels)
    assert (one.asks is None) == (len(wish.panels) == 1)
    assert (one.asks == "back") == wish.back


# --- what happens -------------------------------------------------------------------------------


def test_a_network_is_watched_learning_and_then_all_ways_are_walked(page: Plane) -> None:
    world = World("en")
    told = run(
        page, world, {"panels": [panel(), panel(sampler="heun"), panel(exact=True, steps=9)]}
    )
    learning = [news for news in told if news.get("panels")]
    assert learning
    steps = [news["panels"][0]["step"] for news in learning]
    assert steps == sorted(steps)
    assert steps[-1] == 60 == learning[-1]["panels"][0]["of"]
    first = learning[0]["panels"]
    assert unpacked(first[0]["dots"]).shape == (denoise_plane_job.DOTS, 2)
    assert math.isfinite(first[0]["loss"])
    assert "step" not in first[2]  # computed, not learned

    assert told[-1]["state"] == "done"
    result = told[-1]["result"]
    assert len(result["panels"]) == 3
    for number, each in enumerate(result["panels"]):
        stops = 10 if number == 2 else 5
        assert each["stops"] == stops
        path = unpacked(each["path"]).reshape(stops, -1, 2)
        expected = plane.as_places(plane.noise(denoise_plane_job.DOTS))
        np.testing.assert_allclose(path[0], expected, atol=1e-3)
        assert len(each["curve"]) == len(plane.NUMBERS)
        assert (each["exact"] is None) == (number == 2)
        field = unpacked(each["field"], denoise_plane_job.SPEED)
        assert field.shape == (len(denoise_plane_job.TIMES) * denoise_plane_job.ACROSS**2, 2)
    # One network serves both that ask the same of it.
    assert list(world.lessons) == [("flow", "flow")]
    assert set(result["best"]) == {"steps", "near", "copies"}
    needs = [each["needs"] for each in result["panels"]]
    assert min(need for need in needs if need is not None) in plane.NUMBERS
    assert all(needs[at] == needs[result["best"]["steps"][0]] for at in result["best"]["steps"])


def test_what_was_learned_is_kept_until_the_points_change_or_it_is_asked_anew(page: Plane) -> None:
    world = World("en")
    run(page, world, {"panels": [panel()]})
    lesson = world.lessons["flow", "flow"]
    told = run(page, world, {"panels": [panel(sampler="ddpm", steps=9)], "seed": 3})
    assert [news["state"] for news in told] == ["done"]
    assert world.lessons["flow", "flow"] is lesson
    run(page, world, {"panels": [panel()]}, anew=True)
    assert world.lessons["flow", "flow"] is not lesson
    lesson = world.lessons["flow", "flow"]
    run(page, world, {"panels": [panel()], "count": 60})
    assert world.lessons["flow", "flow"] is not lesson


def test_stopping_shows_what_was_learned_so_far_within_a_second(
    page: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(denoise_plane_job, "STEPS", 100_000)
    world = World("en")
    wish = {"panels": [panel(schedule=name) for name in ("flow", "cosine", "linear")]}
    watching = page.go(world, event(wish=wish))
    assert sent(next(watching), "news")["state"] == "learning"
    began = time.monotonic()
    page.halt(world)
    told = [sent(shown, "news") for shown in watching]
    assert time.monotonic() - began < 5
    assert told[-1]["state"] == "stopped"
    assert told[-1]["result"]["best"] == {}
    steps = [each["step"] for each in told[-1]["result"]["panels"]]
    assert all(0 < step < 100_000 for step in steps)
    # Going on begins where it was stopped.
    again = next(page.go(world, event(wish=wish)))
    assert sent(again, "news")["panels"][0]["step"] > steps[0]


def test_it_computes_on_one_thread_and_leaves_the_others_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[int] = []
    whole = plane.paths

    def watched(*given: Any, **more: Any) -> plane.Path:
        threads.append(torch.get_num_threads())
        return whole(*given, **more)

    monkeypatch.setattr(plane, "paths", watched)
    world, before = World("en"), torch.get_num_threads()
    world.begin(as_wish({"panels": [panel()]}))
    torch.set_num_threads(2)
    try:
        for _ in world.watch(60):
            assert torch.get_num_threads() == 2
        world.conclude()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert len(threads) > 2 and set(threads) == {1}


def test_a_slice_ends_and_the_next_goes_on(page: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denoise_plane_job, "STEPS", 100_000)
    monkeypatch.setattr(denoise_plane, "SLICE", 1.0)
    world = World("en")
    told = [sent(shown, "news") for shown in page.go(world, event(wish={}))]
    assert [news["over"] for news in told] == [False] * (len(told) - 1) + [True]
    assert told[-1]["state"] == "learning"
    step = told[-2]["panels"][0]["step"]
    assert sent(next(page.work(world)), "news")["panels"][0]["step"] > step
    monkeypatch.setattr(denoise_plane_job, "LONGEST", 0.1)
    assert [sent(shown, "news")["state"] for shown in page.work(world)] == ["stopped"]


def test_there_and_back_says_by_how_much_it_misses(page: Plane) -> None:
    wish = {"panels": [panel(sampler="ddim", exact=True), panel(exact=True)], "back": True}
    result = run(page, World("en"), wish)[-1]["result"]
    assert result["back"]
    assert result["enough"] is None
    for each in result["panels"]:
        assert each["stops"] == 9
        assert each["returned"] >= 0
        assert each["curve"] == []
    assert set(result["best"]) == {"back"}
    assert result["best"]["back"] == [0, 1]  # Euler's steps are those of DDIM


def test_the_best_are_those_that_nobody_can_tell_from_the_best() -> None:
    def outcome(distance: float, copies: float, needs: int | None, back: float) -> Outcome:
        nothing = torch.zeros(2, 1, 2)
        walk = Walk(nothing, nothing, distance, copies, back)
        return Outcome(as_wish({}).panels[0], walk, None, needs=needs)

    several = [
        outcome(0.1, 0.0, 8, 0.5),
        outcome(0.012, 0.05, 4, 0.1),
        outcome(0.013, 0.9, 4, 0.101),
        outcome(0.5, 0.85, None, 2.0),
    ]
    assert best_of(several, back=False) == {"steps": [1, 2], "near": [1, 2], "copies": [2, 3]}
    assert best_of(several, back=True) == {"back": [1, 2]}


def test_what_a_visitor_sends_wrongly_is_said_and_nothing_is_lost(
    page: Plane, warnings: list[str]
) -> None:
    world = World("ko")
    run(page, world, {"panels": [panel()]})
    before = world.result
    told = [sent(shown, "news") for shown in page.go(world, event(wish={"shape": "<b>"}))]
    assert [(news["state"], news["over"]) for news in told] == [("failed", True)]
    assert warnings[0] == WORDS["ko"]["impossible"]
    assert world.result is before
    assert sent(list(page.work(None))[-1], "news")["state"] == "lost"
    assert list(page.go(None, event()))  # nothing at all was sent
    assert len(warnings) == 2


# --- pictures and films -------------------------------------------------------------------------


def test_a_picture_and_a_film_bring_their_settings_back(page: Plane, tmp_path: Path) -> None:
    world = World("en")
    drawn = [[0.5, 0.25], [-1, 1], [1.125, -2]]
    asked = {"shape": "yours", "drawn": drawn, "panels": [panel(), panel(exact=True)], "seed": 5}
    run(page, world, asked)
    assert world.wish is not None
    for what, count in (("png", 1), ("gif", 25)):
        kept = sent(page.keep(world, event(what=what, moment=0.5, formula=True)), "kept")
        assert kept["kind"] == what
        data = base64.b64decode(kept["data"])
        with Image.open(io.BytesIO(data)) as picture:
            assert picture.format == what.upper()
            assert getattr(picture, "n_frames", 1) == count
        file = tmp_path / f"kept.{what}"
        file.write_bytes(data)
        opened = page.open(World("en"), str(file))
        wish = sent(opened, "restored")["wish"]
        assert wish.pop("formula") is True
        assert as_wish(wish) == world.wish
        assert keepsakes.about(data)["kind"] == KIND


@pytest.mark.parametrize("moment", [None, "x", -1, 3, math.nan, math.inf, True, [0.5]])
def test_a_picture_is_drawn_at_an_impossible_moment_as_at_the_end(
    page: Plane, moment: object
) -> None:
    world = World("en")
    run(page, world, {"panels": [panel(exact=True)]})
    kept, end = (
        sent(page.keep(world, event(what="png", moment=one)), "kept")["data"] for one in (moment, 1)
    )
    assert kept == end


def test_the_picture_shows_the_dots_where_they_are() -> None:
    world = World("en")
    world.begin(as_wish({"panels": [panel(exact=True)], "shape": "clusters"}))
    result = world.conclude()
    first, last = (
        np.asarray(sheet(result, moment, formula=False), np.int64) for moment in (0.0, 1.0)
    )
    colour = np.array([int(COLOURS[0][at : at + 2], 16) for at in (1, 3, 5)])
    path = result.outcomes[0].walk.path.numpy()
    for picture, places in ((first, path[0]), (last, path[-1])):
        for x, y in places[np.abs(places).max(axis=1) < points_of.EDGE - 0.1]:
            across = round(GAP + (x / points_of.EDGE + 1) / 2 * SIDE)
            down = round(GAP + (1 - y / points_of.EDGE) / 2 * SIDE)
            around = picture[down - 1 : down + 2, across - 1 : across + 2]
            assert np.abs(around - colour).sum(axis=2).min() < 60
    assert (first != last).any()
    assert moments(result)[0] == 0
    assert moments(result)[-1] == 1


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_pictures_that_are_not_of_the_plane_are_told_apart(
    lang: str,
    page: Plane,
    warnings: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    say = WORDS[lang]
    with monkeypatch.context() as ahead:
        ahead.setattr(keepsakes, "VERSION", 99)
        later = keepsakes.png(Image.new("L", (4, 4)), {"kind": KIND})
    files = {
        "foreign": b"",
        "later": later,
        "elsewhere": keepsakes.png(Image.new("L", (4, 4)), {"kind": "redraw"}),
        "wrong": keepsakes.png(Image.new("L", (4, 4)), {"kind": KIND, "count": "many"}),
        "nothing": b"no picture at all",
    }
    picture = io.BytesIO()
    Image.new("RGB", (4, 4)).save(picture, "PNG")
    files["foreign"] = picture.getvalue()
    for number, (name, data) in enumerate(files.items(), start=1):
        path = tmp_path / name
        path.write_bytes(data)
        shown = page.open(World(lang), str(path))
        assert all("__type__" not in str(getattr(each, "props", "")) for each in shown)
        assert len(warnings) == number, name
    page.open(World(lang), str(tmp_path / "missing.png"))
    names = ("unsigned", "later", "not_plane", "damaged", "damaged", "too_large")
    told = [say[name] for name in names]
    assert warnings == [line.format(most=20) for line in told]


# --- a script -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client() -> Generator[Client]:
    with pytest.MonkeyPatch.context() as patch, app.private_gradio():
        patch.setattr(app, "pages", lambda: {"plane": plane_alone})
        patch.setattr(denoise_plane_job, "STEPS", 60)
        with visitors.serving(app.build(Context("cpu"))) as address:
            yield Client(address, verbose=False, analytics_enabled=False)


def test_a_script_gets_the_paths(client: Client) -> None:
    wish = {"shape": "rings", "count": 40, "panels": [panel(exact=True), panel(steps=2)]}
    answer = client.predict(wish, api_name="/plane")
    np.testing.assert_allclose(answer["points"], points_of.points("rings", 40).numpy(), atol=1e-6)
    assert [np.array(each["path"]).shape for each in answer["panels"]] == [
        (5, denoise_plane_job.DOTS, 2),
        (3, denoise_plane_job.DOTS, 2),
    ]
    way = Way("flow", "flow", "euler", 4)
    path = plane.paths(
        plane.exact(points_of.points("rings", 40), way), way, count=denoise_plane_job.DOTS
    )
    np.testing.assert_allclose(np.array(answer["panels"][0]["path"]), path, atol=2e-4)
    assert answer["best"]["near"] == [0]


def test_a_script_is_told_what_is_wrong(client: Client) -> None:
    for wish, line in (
        ({"shape": "moon"}, "no shape 'moon'"),
        ({"panels": [panel(steps=1000)]}, "1000 steps on the plane"),
        ({"shape": "yours", "drawn": [[0, 4]] * 9}, "a point is two numbers"),
        ({"count": 10**9}, "count is a whole number"),
        ([1, 2], "a wish is a table"),
    ):
        with pytest.raises(Exception, match=line):
            client.predict(wish, api_name="/plane")


def test_what_no_browser_can_send_is_refused_too(page: Plane) -> None:
    for wish in ({"count": math.nan}, {"shape": "yours", "drawn": [[0, math.nan]] * 9}, math.inf):
        with pytest.raises(gr.Error, match=r"a wish is|a point is|count is"):
            page.plane(wish)


def test_scripts_see_no_more_of_the_plane_than_that(client: Client) -> None:
    named = client.view_api(return_format="dict")["named_endpoints"]
    assert set(named) == {"/plane"}
