"""Photos shows what was allowed only, goes on where it stopped, and keeps what it is told."""

import base64
import csv
import io
import json
import os
import re
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from string import Formatter
from typing import Any

import gradio as gr
import nasty
import numpy as np
import pytest
import torch
import visitors
from gradio_client import Client
from mmfm.demos import app, parts, photos, photos_job
from mmfm.demos.page import Context
from mmfm.demos.photos import Photos, Visit
from mmfm.demos.photos_answers import as_table, doubts
from mmfm.demos.photos_asked import Question, Told
from mmfm.demos.photos_examples import PARTS, PHOTOGRAPHS, SHAPES
from mmfm.demos.photos_folders import VIEW, Place, checked, shown_name
from mmfm.demos.photos_job import Job
from mmfm.demos.words import COMMON
from mmfm.demos.words_photos import WORDS
from PIL import Image

from mmfm.contact_sheet import doubt
from mmfm.data import shapes
from mmfm.data.folders import picture_files
from mmfm.data.pictures import open_picture
from mmfm.engines import Engine, plain
from mmfm.errors import MmfmError
from mmfm.listing import Table
from mmfm.models.checkpoints import load_clip
from mmfm.models.clip import TwoTowers
from mmfm.store import Store
from mmfm.tasks.classify import DEFAULTS, ZeroShotClassifier
from mmfm.tasks.search import search

LABELS = "circle=원|circle, square, star, heart"


def paint(folder: Path, count: int, seed: int) -> list[Path]:
    """Draw pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    several = shapes.scenes("seen", count, seed)
    paths = [folder / f"{number:03d}-{scene.objects[0].colour}-{scene.objects[0].form}.png"
             for number, scene in enumerate(several)]  # fmt: skip
    for path, drawing in zip(paths, shapes.draw(several, 48, seed=seed), strict=True):
        Image.fromarray(drawing.numpy()).save(path)
    return paths


@pytest.fixture(scope="module", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """A store and a cache that no test of another module knows."""
    with pytest.MonkeyPatch.context() as patch:
        base = tmp_path_factory.mktemp("own")
        patch.setenv("MMFM_STORE", str(base / "store"))
        patch.setenv("MMFM_CACHE", str(base / "cache"))
        patch.setattr(photos, "models_here", lambda wanted, fits: [photos.BUNDLED])
        patch.setattr(photos_job, "choose", few_at_a_time)
        patch.setattr(photos_job, "TOLD", 0.002)
        yield


def few_at_a_time(clip: TwoTowers, *, pictures: int | None) -> Engine:
    """An engine whose batches are so small that there are several."""
    engine = plain(clip)
    engine.batch = 8
    return engine


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An allowed folder, beside it what nobody may see, and a store that knows neither."""
    monkeypatch.setenv("MMFM_STORE", str(tmp_path / "store"))
    root = tmp_path / "holiday"
    paint(root, 10, 1)
    [inside, *_] = paint(root / "deep" / "er", 4, 2)
    paint(root / ".hidden", 2, 3)
    (root / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    outside = paint(tmp_path / "outside", 3, 4)
    (root / "leads-out").symlink_to(tmp_path / "outside")
    (root / "secret.png").symlink_to(outside[0])
    (root / "again.png").symlink_to(inside)
    return root


@pytest.fixture
def page(root: Path) -> Generator[Photos]:
    page = Photos(Context("cpu", allow=(root,)))
    yield page
    if page.job is not None:
        page.job.end()


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", said.append)
    return said


def event(**data: object) -> gr.EventData:
    return gr.EventData(None, data)


def sent(shown: Any, name: str) -> Any:
    """What one part of the stage is sent, as JSON would carry it."""
    update = shown[1] if isinstance(shown, list) else shown
    return json.loads(json.dumps(update.props[name], ensure_ascii=False).encode())


def index_all(page: Photos, visit: Visit) -> list[dict[str, Any]]:
    """Watch until it ends, as the browser does."""
    told: list[dict[str, Any]] = []
    while not told or told[-1]["state"] == "running":
        told += [sent(shown, "progress") for shown in page.work(visit)]
        assert told[-1]["over"]
    return told


def names(tiles: Iterable[dict[str, Any]]) -> list[str]:
    return [tile["name"] for tile in tiles]


# --- words --------------------------------------------------------------------------------------


def test_both_languages_say_the_same_things_with_the_same_gaps() -> None:
    english, korean = WORDS["en"], WORDS["ko"]
    assert english.keys() == korean.keys()
    for key, text in english.items():
        gaps, others = (
            {g for _, g, _, _ in Formatter().parse(t) if g} for t in (text, korean[key])
        )
        assert gaps == others or key == "unreadable", key


def test_every_word_is_used() -> None:
    files = Path(photos.__file__).parent.glob("photos*.py")
    code = "".join(file.read_text() for file in files) + photos.script("photos.js")
    built = ("kind_", "lesson_", "order_", "way_", "examples_")
    for key in WORDS["en"].keys() - COMMON["en"].keys():
        used = re.search(rf"(say|words)\.{key}\b", code) or f'"{key}"' in code or f"'{key}'" in code
        # The heading's are asked for by parts.py, one by a name that the script puts together.
        assert used or key.startswith(built) or key in ("tagline", "title"), key


# --- where visitors may look ----------------------------------------------------------------------


def test_without_an_allowed_folder_there_are_examples_and_the_way_to_begin() -> None:
    page = Photos(Context("cpu"))
    shown = page.greet(page.first_visit("en"))
    assert "mmfm demo photos --allow ~/Pictures" in shown[2]
    assert "--model" in shown[2]
    data = json.loads(json.dumps(shown[4]))
    assert data["place"]["places"] == ["Examples"]
    assert data["place"]["examples"]
    assert data["place"]["folders"] == ["one shape", "two shapes"]
    assert data["place"]["total"] == 84
    [place] = page.places(photos.BUNDLED)
    folder = place.folder
    assert folder.is_dir()
    # Their vectors are not put into the person's own store.
    assert page.store(place).folder != Store().folder


def test_the_examples_can_be_found_in_both_languages_from_the_first_second() -> None:
    page = Photos(Context("cpu"))
    visit = page.first_visit("en")
    index_all(page, visit)
    for lang in ("en", "ko"):
        opening = SHAPES.opening[lang]
        found = sent(page.search(visit, event(**opening)), "found")
        assert all("pink-heart" in name for name in names(found["tiles"])[:2])
        assert found["notes"] == []
        answers = sent(page.sort(visit, event(labels=opening["labels"])), "answers")
        # Two shapes leave more doubt than one.
        assert sum(name.startswith("two/") for name in names(answers["tiles"])[:12]) >= 10
    assert not Store().models()


def test_clip_nano_is_what_the_page_starts_with_and_it_is_shown_photographs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(photos, "models_here", parts.models_here)
    page = Photos(Context("cpu"))
    assert page.names[:2] == ["clip-nano", "clip-shapes"]
    visit = page.first_visit("en")
    _, _, about, _, data = page.show(visit)
    assert WORDS["en"]["knows_things"] in about and "--model" in about
    assert DEFAULTS["clip-nano"] in about  # as the commands say it
    assert WORDS["en"]["knows_shapes"] not in about
    assert data["opening"] == PHOTOGRAPHS.opening["en"]
    assert data["examples"] == WORDS["en"]["examples_note_photographs"]
    assert data["place"]["folders"] == ["parts of them", "whole photographs"]
    assert data["place"]["total"] == 4 * (1 + PARTS)
    assert index_all(page, visit)[-1]["place"]["indexed"] == 4 * (1 + PARTS)
    # Another model has other examples, and the first one's are there again when it is.
    page.enter(visit, event(into=0))
    for model, examples, total in (("clip-shapes", SHAPES, 84), ("clip-nano", PHOTOGRAPHS, 28)):
        data = page.switch(visit, model)[4]
        assert data["opening"] == examples.opening["en"] and data["place"]["inside"] == []
        assert data["place"]["total"] == total
        place = sent(page.enter(visit, event(root=0)), "place")
        assert place["total"] == total and place["places"] == ["Examples"]


def test_another_model_looks_at_the_same_folder_where_it_is_a_persons_own(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, "models_here", parts.models_here)
    page = Photos(Context("cpu", allow=(root,)))
    visit = page.first_visit("en")
    page.enter(visit, event(into=0))
    page.switch(visit, "clip-shapes")
    assert visit.place == Place(page.allowed[0].root, ("deep",))


def test_a_place_is_chosen_by_its_number_in_what_the_server_listed(page: Photos) -> None:
    visit = page.first_visit("en")
    data = sent(page.enter(visit, event(root=0)), "place")
    assert data["places"] == ["holiday", "Examples"]
    assert data["folders"] == ["deep"]  # no link, nothing hidden
    data = sent(page.enter(visit, event(into=0)), "place")
    assert (data["inside"], data["folders"], data["total"]) == (["deep"], ["er"], 4)
    data = sent(page.enter(visit, event(into=0)), "place")
    assert (data["inside"], data["folders"]) == (["deep", "er"], [])
    data = sent(page.enter(visit, event(up=1)), "place")
    assert data["inside"] == ["deep"]
    assert sent(page.enter(visit, event(root=1)), "place")["examples"]


@pytest.mark.parametrize(
    "step",
    [
        {},
        {"root": 2},
        {"root": -1},
        {"root": True},
        {"root": "0"},
        {"root": "/etc"},
        {"into": 1},
        {"into": -1},
        {"into": "../outside"},
        {"into": ".."},
        {"into": ["deep"]},
        {"up": 1},
        {"up": -1},
        {"up": "/"},
        {"root": 0, "into": 0},
        {"path": "/etc", "folder": "/etc"},
    ],
)
def test_any_other_step_is_refused_and_leads_nowhere(
    page: Photos, warnings: list[str], step: dict[str, Any]
) -> None:
    visit = page.first_visit("ko")
    before = visit.place
    assert sent(page.enter(visit, event(**step)), "place")["here"] == 0
    assert visit.place == before
    assert warnings == [WORDS["ko"]["no_folder"]]


def test_a_folder_that_has_become_a_link_is_refused(
    page: Photos, root: Path, warnings: list[str]
) -> None:
    visit = page.first_visit("en")
    (root / "deep").rename(root.parent / "elsewhere")
    (root / "deep").symlink_to(root.parent / "outside")
    page.enter(visit, event(into=0))
    assert visit.place.inside == ()
    assert warnings == [WORDS["en"]["no_folder"]]
    # So is one that is being looked at already.
    visit.place = Place(page.allowed[0].root, ("deep",))
    [*_, last] = page.work(visit)
    assert sent(last, "progress")["state"] == "failed"
    assert page.job is None


def test_names_that_climb_are_refused_wherever_they_come_from(root: Path) -> None:
    for inside in (("..", "outside"), ("deep", "..", "..", "outside"), ("/etc",), ("leads-out",)):
        with pytest.raises(Told):
            checked(Place(root, inside), WORDS["en"])
    assert checked(Place(root, ("deep", "er")), WORDS["en"]) == root / "deep" / "er"


def test_a_file_behind_a_link_that_leads_out_is_never_shown(page: Photos) -> None:
    visit = page.first_visit("en")
    index_all(page, visit)
    assert visit.album is not None
    shown = {shown_name(path, visit.place) for path in visit.album.paths}
    assert "again.png" in shown  # a link to what may be seen
    assert "secret.png" not in shown
    assert len(shown) == 15
    found = sent(page.search(visit, event(text="a red heart")), "found")
    assert found["count"] == 15
    assert set(names(found["tiles"])) == shown
    answers = sent(page.sort(visit, event(labels=LABELS)), "answers")
    assert set(names(answers["tiles"])) == shown
    assert visit.answers is not None
    assert "secret" not in as_table(visit.answers, visit.corrections, visit.failed)


def test_a_file_behind_a_link_that_leads_out_is_never_indexed(page: Photos, root: Path) -> None:
    (root / "null.jpg").symlink_to("/dev/zero")
    (root / "deep" / "nowhere").symlink_to(root.parent / "outside" / "nowhere")
    visit = page.first_visit("en")
    last = index_all(page, visit)[-1]
    assert [name for name, _ in last["failed"]] == ["torn.jpg"]
    clip = load_clip(photos.BUNDLED)
    stored = {hit.path.name for hit in search(clip, ["a star"], store=Store(), n=99)}
    assert len(stored) == 15
    assert "again.png" in stored
    assert "secret.png" not in stored
    # A link takes a picture's place after the folder was listed, before it is opened.
    [victim, *_] = paint(root, 1, 77)
    victim.write_bytes(victim.read_bytes() + b" ")
    job = photos_job.steps(clip, visit.place, Store(), None, lambda: False)
    next(job)
    victim.unlink()
    victim.symlink_to(next((root.parent / "outside").iterdir()))
    failed = {path: why for step in job for path, why in step.failed}
    assert "leads to where nothing may be read" in failed[str(victim)]


def test_folders_that_cannot_be_listed_are_no_pictures_that_wait(page: Photos, root: Path) -> None:
    (root / "deep" / "loop").symlink_to(root)
    (root / "null.jpg").symlink_to("/dev/zero")
    (root / "lost.jpg").symlink_to(root / "nowhere.jpg")
    visit = page.first_visit("en")
    data = index_all(page, visit)[-1]["place"]
    assert [name for name, _ in data["failed"]] == ["deep/loop", "lost.jpg", "torn.jpg"]
    assert data["failures"] == 3
    assert (data["total"], data["indexed"], data["unread"]) == (17, 15, 2)
    # Who is turned away learns nothing new, and forgets nothing.
    with Store().writing():
        data = index_all(page, visit)[-1]["place"]
    assert (data["indexed"], data["unread"]) == (15, 2)


def test_a_picture_that_has_become_a_link_is_no_longer_sent(page: Photos, root: Path) -> None:
    visit = page.first_visit("en")
    index_all(page, visit)
    assert visit.album is not None
    path = Path(visit.album.paths[3])
    small = sent(page.thumbs(visit, event(pictures=[3], album=7)), "thumbs")
    assert small["small"]["3"].startswith("data:image/png;base64,")
    assert small["album"] == 7
    path.unlink()
    path.symlink_to(next((root.parent / "outside").iterdir()))
    assert sent(page.thumbs(visit, event(pictures=[3])), "thumbs")["small"] == {"3": ""}
    assert sent(page.look(visit, event(picture=3)), "large")["data"] == ""
    assert not sent(page.search(visit, event(like=3)), "found").get("tiles")


def test_nonsense_instead_of_numbers_of_pictures_sends_nothing(page: Photos) -> None:
    visit = page.first_visit("en")
    index_all(page, visit)
    for wrong in (None, "0", [-1], [99], ["../../etc/passwd"], [True], [1.0], {"a": 1}):
        assert sent(page.thumbs(visit, event(pictures=wrong)), "thumbs")["small"] == {}
        assert sent(page.look(visit, event(picture=wrong)), "large")["data"] == ""
    many = sent(page.thumbs(visit, event(pictures=list(range(15)) * 50)), "thumbs")["small"]
    assert len(many) == 15


def test_the_folder_may_be_gone_when_a_visitor_comes(
    page: Photos, root: Path, warnings: list[str]
) -> None:
    root.rename(root.parent / "away")
    data = page.show(page.first_visit("en"))[4]
    assert data["place"]["examples"]
    assert warnings == [WORDS["en"]["no_folder"]]


def test_names_of_any_bytes_can_be_sent_and_written(tmp_path: Path) -> None:
    root = tmp_path / "사진"
    [one, two] = paint(root, 2, 5)
    one.rename(root / "해변 🏖.png")
    two.rename(root / os.fsdecode(b"\xff=1+1.png"))
    page = Photos(Context("cpu", allow=(root,)))
    visit = page.first_visit("ko")
    index_all(page, visit)
    found = sent(page.search(visit, event(text="별")), "found")
    assert sorted(names(found["tiles"])) == ["\\udcff=1+1.png", "해변 🏖.png"]
    page.sort(visit, event(labels=LABELS))
    assert "해변 🏖.png" in sent(page.export(visit), "table")["text"]


# --- indexing -------------------------------------------------------------------------------------


class Slow(Engine):
    """An engine that leaves a person time to press a button."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        time.sleep(0.25)
        return super().__call__(images)


def slowly(clip: TwoTowers, *, pictures: int | None) -> Engine:
    engine = few_at_a_time(clip, pictures=pictures)
    engine.__class__ = Slow
    return engine


def test_indexing_stops_and_goes_on_and_names_what_it_cannot_read(
    page: Photos, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos_job, "choose", slowly)
    paint(root / "more", 150, 9)
    visit = page.first_visit("en")
    now: dict[str, Any] = {"state": "running"}
    while now["state"] == "running":
        for shown in page.work(visit):
            now = sent(shown, "progress")
            if now["done"]:
                page.halt(visit)
    assert now["state"] == "stopped"
    kept = now["place"]["indexed"]
    assert 0 < kept < 165
    assert now["place"]["total"] == 166
    told = index_all(page, visit)
    last = told[-1]
    assert last["state"] == "finished"
    assert last["place"]["indexed"] == 165
    assert last["done"] == last["total"] == 166
    assert [name for name, _ in last["failed"]] == ["torn.jpg"]
    assert last["place"]["failures"] == last["place"]["unread"] == 1
    assert [step["done"] for step in told] == sorted(step["done"] for step in told)
    # Who comes next is told of it too, until the file is gone.
    data = page.show(page.first_visit("en"))[4]
    assert data["place"]["failed"] == last["failed"]
    (root / "torn.jpg").unlink()
    assert page.show(page.first_visit("en"))[4]["place"]["failures"] == 0
    # What was there from before is not looked at again.
    assert kept <= next(step["done"] for step in told if step["ready"] and step["done"])


def test_another_visit_begins_with_what_is_indexed(page: Photos, root: Path) -> None:
    index_all(page, page.first_visit("en"))
    again = Photos(Context("cpu", allow=(root,)))
    data = again.show(again.first_visit("en"))[4]
    assert data["place"]["indexed"] == 15
    # The command line finds it too.
    hits = search(load_clip(photos.BUNDLED), ["a star"], store=Store(), folders=[root], n=3)
    assert len(hits) == 3


def test_indexing_that_nobody_watches_rests_and_then_ends(
    page: Photos, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos_job, "PATIENCE", 8.0)
    monkeypatch.setattr(photos, "SLICE", 60.0)
    paint(root, 250, 6)
    visit = page.first_visit("en")
    watching = page.work(visit)
    while not sent(next(watching), "progress")["done"]:
        pass
    watching.close()  # the tab is closed
    job = page.job
    assert job is not None
    time.sleep(2)  # what was begun is finished
    rests = job.report()["done"]
    time.sleep(0.3)
    assert job.report()["done"] == rests < job.report()["total"]
    assert not job.ended
    deadline = time.monotonic() + 60
    while not job.ended and time.monotonic() < deadline:
        time.sleep(0.05)
    assert job.ended
    with Store().writing(wait=False):  # whoever comes next may write
        pass


def test_what_is_stopped_between_two_requests_does_not_begin_anew(
    page: Photos, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos_job, "choose", slowly)
    monkeypatch.setattr(photos, "SLICE", 0.4)
    paint(root, 250, 6)
    visit = page.first_visit("en")
    now: dict[str, Any] = {"done": 0}
    while not now["done"]:
        *_, shown = page.work(visit)
        now = sent(shown, "progress")
    assert now["state"] == "running"
    page.halt(visit)
    job, deadline = page.job, time.monotonic() + 10
    assert job is not None
    while not job.ended and time.monotonic() < deadline:
        time.sleep(0.01)
    *_, shown = page.work(visit)  # the browser has asked already
    assert sent(shown, "progress")["state"] == "stopped"
    assert page.job is job
    assert 0 < sent(shown, "progress")["place"]["indexed"] < 200
    assert index_all(page, visit)[-1]["state"] == "finished"  # whoever asks now does want it


def test_two_folders_are_not_indexed_at_once(
    page: Photos, root: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos_job, "choose", slowly)
    first, second = page.first_visit("en"), page.first_visit("ko")
    page.enter(second, event(into=0))
    watching = page.work(first)
    next(watching)
    *_, shown = page.work(second)
    assert sent(shown, "progress")["state"] == "failed"
    assert warnings == [WORDS["ko"]["other_visitor"]]
    watching.close()
    assert index_all(page, second)[-1]["state"] == "finished"  # nobody watches the first any more
    assert index_all(page, first)[-1]["state"] == "finished"


def test_while_another_program_writes_it_is_said(page: Photos, warnings: list[str]) -> None:
    visit = page.first_visit("en")
    with Store().writing():
        [*_, shown] = page.work(visit)
        while sent(shown, "progress")["state"] == "running":
            *_, shown = page.work(visit)
    assert sent(shown, "progress")["state"] == "failed"
    assert warnings == [WORDS["en"]["in_use"]]
    assert index_all(page, visit)[-1]["state"] == "finished"


def test_a_fault_in_the_thread_reaches_who_watches() -> None:
    def broken(stop: Callable[[], bool]) -> Generator[Any]:
        raise ZeroDivisionError
        yield

    job = Job(Place(Path("/nowhere")), "model", load_clip(photos.BUNDLED), broken)
    list(job.watch(5))
    assert job.ended
    with pytest.raises(ZeroDivisionError):
        job.raise_error()


# --- searching ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Photos, Visit]:
    """An indexed folder that no test changes."""
    root = tmp_path_factory.mktemp("shared") / "album"
    paint(root, 70, 8)
    page = Photos(Context("cpu", allow=(root,)))
    visit = page.first_visit("en")
    index_all(page, visit)
    return page, visit


@pytest.fixture
def known(shared: tuple[Photos, Visit]) -> tuple[Photos, Visit]:
    page, visit = shared
    fresh = page.first_visit("en")
    fresh.album = visit.album
    return page, fresh


@pytest.mark.parametrize(("text", "minus"), [("a red star", ""), ("빨간 별", ""), ("star", "red")])
def test_search_gives_what_the_task_gives(
    known: tuple[Photos, Visit], text: str, minus: str
) -> None:
    page, visit = known
    found = sent(page.search(visit, event(text=f" {text} ", minus=minus)), "found")
    less = [minus] if minus else []
    hits = search(
        load_clip(photos.BUNDLED), [text], less, store=Store(), folders=[visit.place.folder]
    )
    assert names(found["tiles"])[:20] == [hit.path.name for hit in hits]
    scores = [tile["score"] for tile in found["tiles"]][:20]
    np.testing.assert_allclose(scores, [hit.score for hit in hits], atol=1e-6)
    assert found["count"] == 70
    assert "clip-shapes" in found["by"]
    assert "float32" in found["by"]
    assert "engine fp32" in found["by"]


def test_more_like_a_picture_leaves_that_picture_out(known: tuple[Photos, Visit]) -> None:
    page, visit = known
    assert visit.album is not None
    number = next(n for n, path in enumerate(visit.album.paths) if "star" in path)
    found = sent(page.search(visit, event(like=number)), "found")
    assert number not in [tile["id"] for tile in found["tiles"]]
    assert found["count"] == 69
    assert found["wish"]["like"] == number
    assert "star" in found["tiles"][0]["name"]
    drawn = names(sent(page.search(visit, event(like=number, text="red")), "found")["tiles"])
    assert drawn != names(found["tiles"])


def test_the_next_pictures_of_a_list_follow_the_first(known: tuple[Photos, Visit]) -> None:
    page, visit = known
    first = sent(page.search(visit, event(text="a star")), "found")["tiles"]
    rest = sent(page.more(visit, event(which="found", start=len(first))), "more")
    assert len(first) == photos.PAGE
    assert len(rest["tiles"]) == 70 - photos.PAGE
    scores = [tile["score"] for tile in (*first, *rest["tiles"])]
    assert scores == sorted(scores, reverse=True)
    for start in (-1, "0", 10**9, None, True):
        nothing = sent(page.more(visit, event(which="found", start=start)), "more")
        assert nothing["tiles"] == []


@pytest.mark.parametrize(
    ("wish", "word"),
    [
        ({"text": "  "}, "no_words"),
        ({"minus": "people"}, "no_words"),
        ({"text": "x" * 201}, "too_long"),
        ({"text": "x", "minus": "x" * 201}, "too_long"),
        ({"like": 70}, "no_picture"),
        ({"like": "0"}, "no_picture"),
    ],
)
def test_what_cannot_be_searched_for_is_said(
    known: tuple[Photos, Visit], warnings: list[str], wish: dict[str, Any], word: str
) -> None:
    page, visit = known
    assert sent(page.search(visit, event(**wish)), "found")["failed"]
    assert warnings == [WORDS["en"][word].format(count=201, limit=200)]


def test_before_anything_is_indexed_it_is_said(page: Photos, warnings: list[str]) -> None:
    visit = page.first_visit("ko")
    assert sent(page.search(visit, event(text="별")), "found")["failed"]
    assert sent(page.sort(visit, event(labels="별")), "answers")["failed"]
    assert warnings == [WORDS["ko"]["first_index"]] * 2


def test_a_model_that_reads_no_korean_is_said_in_the_visitors_language(
    known: tuple[Photos, Visit],
) -> None:
    page, _ = known
    lines = [
        f"laion does not read Korean words such as 개: take --model {photos.MULTILINGUAL}",
        "'a very long name': longer than the model reads, at least in some templates; cut",
    ]
    said = page.notes(lines * 2, "ko")
    assert said[0] == WORDS["ko"]["splinters"].format(model=photos.MULTILINGUAL)
    assert said[1] == WORDS["ko"]["unread"].format(text="'a very long name'")
    assert len(said) == 2


# --- sorting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("none", [False, True])
@pytest.mark.parametrize("multi", [False, True])
def test_answers_are_those_of_the_classifier(
    known: tuple[Photos, Visit], none: bool, multi: bool
) -> None:
    page, visit = known
    assert visit.album is not None
    data = sent(page.sort(visit, event(labels=LABELS, none=none, multi=multi)), "answers")
    answers = visit.answers
    assert answers is not None
    clf = ZeroShotClassifier(
        load_clip(photos.BUNDLED), LABELS.split(","), none_of_these=none, multi_label=multi
    )
    said = clf.classify(visit.album.paths)
    for number, p in enumerate(said):
        assert {answers.labels[k] for k in np.flatnonzero(answers.applies[number])} == set(p.labels)
        mine = [p.scores[label] for label in clf.labels]
        np.testing.assert_allclose(answers.scores[number], mine, atol=1e-3)
        # Doubt is what it is on the page that mmfm classify --html writes.
        margin, rival = doubt(p, dict(zip(clf.labels, clf.thresholds, strict=True)))
        assert answers.margin[number] == pytest.approx(margin, abs=2e-3)
        if margin > 0.01 and answers.rival[number] >= 0:
            assert answers.labels[answers.rival[number]] == rival
    assert data["kind"] == said[0].score_kind
    assert sum(data["counts"]) + data["nothing"] >= 70
    margins = [tile["margin"] for tile in data["tiles"]]
    assert margins == sorted(margins)


def test_a_picture_that_is_refused_as_a_whole_is_as_sure_as_that() -> None:
    scores = np.array([[0.1, 0.45], [0.1, 0.45], [0.1, 0.7]], np.float32)
    # The first is none of these; of the second no label applies; of the third the last one does.
    none = np.array([0.9, 1 - 0.45, 0], np.float32)
    applies = scores >= 0.5
    asked = Question(LABELS, none=True, multi=True)
    margin, rival = doubts(scores, none, applies, asked, np.full(2, 0.5, np.float32))
    np.testing.assert_allclose(margin, [0.8, 0.05, 0.2], atol=1e-6)
    assert rival.tolist() == [1, 1, 1]


def test_one_label_alone_can_be_asked_for(known: tuple[Photos, Visit]) -> None:
    page, visit = known
    for none in (False, True):
        data = sent(page.sort(visit, event(labels="star", none=none)), "answers")
        assert data["labels"] == ["star"]
        assert len(data["tiles"]) == photos.PAGE


@pytest.mark.parametrize(
    ("question", "line"),
    [
        ({"labels": ""}, "label"),
        ({"labels": ",".join(f"l{n}" for n in range(101))}, "this page takes 100"),
        ({"labels": "x" * 4001}, "this page takes 4000"),
        ({"labels": "@/etc/passwd, <b>x</b>, <b>x</b>"}, "twice"),
        ({"labels": None}, "label"),
    ],
)
def test_labels_that_are_too_many_or_wrong_are_said(
    known: tuple[Photos, Visit], warnings: list[str], question: dict[str, Any], line: str
) -> None:
    page, visit = known
    assert sent(page.sort(visit, event(**question)), "answers")["failed"]
    assert line in warnings[0]
    assert "<b>" not in warnings[0]


def test_nothing_typed_is_taken_for_a_file(known: tuple[Photos, Visit], tmp_path: Path) -> None:
    page, visit = known
    (tmp_path / "labels").write_text("dog\ncat\n")
    data = sent(page.sort(visit, event(labels=f"@{tmp_path}/labels")), "answers")
    assert data["labels"] == [f"@{tmp_path}/labels"]


def test_pictures_are_chosen_by_answer_and_put_in_order(known: tuple[Photos, Visit]) -> None:
    page, visit = known
    data = sent(page.sort(visit, event(labels=LABELS)), "answers")

    def listed(**asked: object) -> list[dict[str, Any]]:
        question = {"which": "answers", "start": 0, "order": "uncertain", **asked}
        return sent(page.more(visit, event(**question)), "more")

    stars = listed(only=2)
    assert stars["count"] == data["counts"][2]
    assert all(tile["said"] == [2] for tile in stars["tiles"])
    sure = listed(only=None, order="sure")["tiles"]
    assert sure[0]["margin"] == max(tile["margin"] for tile in sure)
    by_name = names(listed(order="folder")["tiles"])
    assert by_name == sorted(by_name)
    assert listed(only="none")["count"] == data["nothing"]
    assert listed(only="checked")["count"] == 0
    assert listed(only=99)["count"] == listed(only={"a": 1})["count"] == 70  # nonsense: all


# --- corrections ----------------------------------------------------------------------------------


def table_of(page: Photos, visit: Visit) -> list[dict[str, str]]:
    text = sent(page.export(visit), "table")["text"]
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:])))


def test_corrections_are_counted_filtered_kept_and_exported(known: tuple[Photos, Visit]) -> None:
    page, visit = known
    assert visit.album is not None
    data = sent(page.sort(visit, event(labels=LABELS)), "answers")
    wrong, agreed = data["tiles"][:2]
    other = (wrong["said"][0] + 1) % 4
    told = sent(page.correct(visit, event(picture=wrong["id"], labels=[other])), "checked")
    assert visit.corrections[visit.album.paths[wrong["id"]]] == (data["labels"][other],)
    assert (told["checked"], told["changed"]) == (1, 1)
    assert told["counts"][other] == data["counts"][other] + 1
    told = sent(page.correct(visit, event(picture=agreed["id"], labels=agreed["said"])), "checked")
    assert (told["checked"], told["changed"]) == (2, 1)
    rows = {row["path"]: row for row in table_of(page, visit)}
    assert len(rows) == 70
    assert rows[wrong["name"]]["label"] == data["labels"][other]
    assert rows[wrong["name"]]["corrected"] == "yes"
    assert float(rows[wrong["name"]]["score"]) == pytest.approx(
        dict(wrong["scores"])[other], abs=1e-4
    )
    assert rows[agreed["name"]]["corrected"] == "confirmed"
    assert sum(row["corrected"] == "" for row in rows.values()) == 68

    asked = {"which": "answers", "start": 0, "only": "checked", "order": "uncertain"}
    assert sent(page.more(visit, event(**asked)), "more")["count"] == 2
    # Sorted anew, they stay, as far as there are such labels.
    again = sent(page.sort(visit, event(labels=LABELS + ", cross")), "answers")
    assert again["checked"] == 2
    assert sent(page.sort(visit, event(labels="cross, ring")), "answers")["checked"] == 0
    assert sent(page.sort(visit, event(labels=LABELS)), "answers")["checked"] == 2
    told = sent(page.correct(visit, event(picture=wrong["id"], labels=None)), "checked")
    assert told["checked"] == 1
    tiles = sent(page.sort(visit, event(labels=LABELS)), "answers")["tiles"]
    assert {tile["id"]: tile["right"] for tile in tiles[:2]} == {
        wrong["id"]: None,
        agreed["id"]: agreed["said"],
    }


def test_corrections_stay_when_the_folder_is_looked_through_again(page: Photos) -> None:
    visit = page.first_visit("en")
    index_all(page, visit)
    tile = sent(page.sort(visit, event(labels=LABELS)), "answers")["tiles"][0]
    page.correct(visit, event(picture=tile["id"], labels=[]))
    index_all(page, visit)
    assert visit.answers is None
    assert sent(page.sort(visit, event(labels=LABELS)), "answers")["checked"] == 1
    rows = table_of(page, visit)
    assert [(r["label"], r["corrected"]) for r in rows if r["path"] == tile["name"]] == [
        ("", "yes")
    ]
    assert [(r["path"], r["label"]) for r in rows if r["error"]] == [("torn.jpg", "")]


def test_several_labels_may_be_right_only_where_several_may_apply(
    known: tuple[Photos, Visit], warnings: list[str]
) -> None:
    page, visit = known
    page.sort(visit, event(labels=LABELS, multi=True))
    told = sent(page.correct(visit, event(picture=0, labels=[3, 1])), "checked")
    assert told["checked"] == 1
    row = table_of(page, visit)[0]
    assert set(row["labels"].split("|")) == {"square", "heart"}
    # Where only one may apply, that says nothing.
    assert sent(page.sort(visit, event(labels=LABELS)), "answers")["checked"] == 0
    for labels in ([1, 3], [4], [-1], "1", 1, [[1]], [True], ["square"]):
        assert page.correct(visit, event(picture=0, labels=labels)) == gr.skip()
    assert page.correct(visit, event(picture=70, labels=[1])) == gr.skip()
    assert len(warnings) == 9


def test_the_table_is_that_of_the_command_line_with_one_more_column(
    page: Photos, tmp_path: Path
) -> None:
    visit = page.first_visit("en")
    index_all(page, visit)
    page.sort(visit, event(labels=LABELS, none=True, multi=True))
    assert visit.album is not None
    clf = ZeroShotClassifier(
        load_clip(photos.BUNDLED), LABELS.split(","), none_of_these=True, multi_label=True
    )
    table = Table(tmp_path / "out.csv")
    for p in clf.stream([*visit.album.paths, *visit.failed]):
        table.add(p)
    table.write()
    with table.path.open(encoding="utf-8-sig", newline="") as file:
        theirs = list(csv.DictReader(file))
    ours = table_of(page, visit)
    assert [*ours[0]] == [*theirs[0], "corrected"]
    for mine, row in zip(ours, theirs, strict=True):
        assert mine.pop("corrected") == ""
        assert str(visit.place.root / mine.pop("path")) == row.pop("path")
        scores = [float(cells.pop("score") or -1) for cells in (mine, row)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-3)
        assert mine == row


def test_there_is_no_table_before_there_are_answers(page: Photos, warnings: list[str]) -> None:
    assert page.export(page.first_visit("ko")) == gr.skip()
    assert warnings == [WORDS["ko"]["no_answers"]]


# --- the rest -------------------------------------------------------------------------------------


def test_large_pictures_are_sent_small(tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    Image.effect_noise((3000, 2000), 60).convert("RGB").save(folder / "noise.jpg")
    page = Photos(Context("cpu", allow=(folder,)))
    visit = page.first_visit("en")
    index_all(page, visit)
    small = sent(page.thumbs(visit, event(pictures=[0])), "thumbs")["small"]["0"]
    large = sent(page.look(visit, event(picture=0)), "large")["data"]
    assert small.startswith("data:image/jpeg;base64,")
    assert len(small) < 60_000
    with Image.open(io.BytesIO(base64.b64decode(large.partition(",")[2]))) as picture:
        assert max(picture.size) == VIEW


def test_another_language_keeps_what_was_found(known: tuple[Photos, Visit]) -> None:
    page, visit = known
    page.search(visit, event(text="a star"))
    page.sort(visit, event(labels=LABELS))
    shown = page.speak(visit, event(query={"lang": "ko"}))
    assert shown[0] is visit
    assert shown[4]["lang"] == "ko"
    assert shown[4]["found"]["count"] == 70
    assert shown[4]["answers"]["count"] == 70
    assert page.speak(visit, event(query={"lang": "xx"}))[0].lang == "ko"


def test_a_model_that_is_not_here_is_refused(
    known: tuple[Photos, Visit], warnings: list[str]
) -> None:
    page, visit = known
    assert page.switch(visit, "<b>another</b>") == gr.skip()
    assert "<b>" not in warnings[0]
    assert page.switch(visit, photos.BUNDLED) == gr.skip()


def test_scripts_are_offered_nothing_and_no_file_is_served(root: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, app.private_gradio():
        patch.setattr(app, "pages", lambda: {"photos": photos})
        with visitors.serving(app.build(Context("cpu", allow=(root,)))) as address:
            client = Client(address, verbose=False, analytics_enabled=False)
            assert client.view_api(return_format="dict")["named_endpoints"] == {}
            import httpx

            for path in (root / "torn.jpg", next(root.glob("0*.png"))):
                assert httpx.get(f"{address}/gradio_api/file={path}").status_code in (403, 404)


def test_it_takes_what_has_two_towers() -> None:
    for settings in ({"model": "clip"}, {"model_type": "siglip"}, {"model_cfg": {}}):
        assert photos.takes(settings)
    for settings in ({"model": "vit"}, {"model": "denoiser"}, {"model_type": "dinov2"}, {}):
        assert not photos.takes(settings)


def test_its_title_is_in_the_visitors_language() -> None:
    assert [photos.title(lang) for lang in ("en", "ko")] == ["Photos", "사진"]


def test_korean_has_words_for_every_reason_why_a_file_cannot_be_read(tmp_path: Path):
    nasty.make(tmp_path)
    found = picture_files(tmp_path)
    reasons = {reason for _, reason in found.unreadable}
    # What a camera wrote is found by nobody, but a link may lead to it.
    for path in [*found.files, tmp_path / "disguised" / "camera.NEF"]:
        try:
            open_picture(path)
        except MmfmError as error:
            reasons.add(str(error))
    known = [pair.partition("=") for pair in WORDS["ko"]["reasons"].split("|")]
    assert all(start and words for start, _, words in known)
    assert len(reasons) > 30
    assert [why for why in reasons if not any(start in why for start, _, _ in known)] == []
