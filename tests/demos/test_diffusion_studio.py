"""The Diffusion Studio answers scripts, keeps within its limits, and shows what is so."""

import base64
import html
import io
import json
import math
import os
import shutil
import time
from collections.abc import Generator
from pathlib import Path
from string import Formatter
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
import visitors
from gradio_client import Client, handle_file
from mmfm.demos import app, diffusion_studio, patches, studio_sources
from mmfm.demos.diffusion_studio import (
    CHANGES,
    GUESSES,
    LESSONS,
    SAID,
    DiffusionStudio,
    Visit,
    source_data,
    status_data,
)
from mmfm.demos.page import Context
from mmfm.demos.studio_judge import Judge, tiles
from mmfm.demos.studio_keep import kept_in
from mmfm.demos.studio_sources import as_choice, as_wish, sources
from mmfm.demos.words_studio import WORDS
from PIL import Image, ImageSequence
from studio_runs import TINY, end_all, trained

from mmfm import keepsakes, plot
from mmfm.data import digits
from mmfm.errors import BadInput
from mmfm.models.ruler import load_ruler, look
from mmfm.runs import Run
from mmfm.tasks import studio as task
from mmfm.tasks.generate import order
from mmfm.tasks.studio import OBJECTIVES, SCHEDULES, SIZES, Choice, Sheets, Status, Studio

VISIT = Visit("en")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """A folder with a run and a change of it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("studio") / "runs"
        patch.setenv("MMFM_RUNS", str(folder))
        patch.setenv("MMFM_DATA", str(folder.parent / "no data"))
        studio = Studio()
        trained(studio, "digits-1", state="finished")
        other = Choice("digits", minutes=1.0, size="tiny", rate=3.0)
        change = {"like": "digits-1", "changed": "rate", "guess": "better"}
        trained(studio, "digits-2", other, made=1, **change)
        yield folder


@pytest.fixture(scope="module")
def page(runs: Path) -> DiffusionStudio:
    return DiffusionStudio(Context("cpu"))


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What visitors are told."""
    heard: list[str] = []
    monkeypatch.setattr(gr, "Warning", heard.append)
    return heard


def event(**data: Any) -> Any:
    return SimpleNamespace(**data)


def sent(update: Any, name: str) -> dict[str, Any]:
    return update.props[name] if hasattr(update, "props") else update[name]


# --- words ----------------------------------------------------------------------------------------


def test_both_languages_say_the_same_things_with_the_same_gaps() -> None:
    english, korean = WORDS["en"], WORDS["ko"]
    assert english.keys() == korean.keys()
    for key, text in english.items():
        gaps, others = (
            {g for _, g, _, _ in Formatter().parse(t) if g} for t in (text, korean[key])
        )
        assert gaps == others or (key == "unreadable" and others <= gaps), key


def test_whatever_can_be_chosen_has_a_name() -> None:
    for say in WORDS.values():
        for field, values in (
            ("objective", OBJECTIVES),
            ("schedule", SCHEDULES),
            ("size", SIZES),
            ("guess", GUESSES),
        ):
            assert all(f"{field}_{value}" in say for value in values)
        assert all(field in say for field in CHANGES)
        assert all(f"lesson_{part}_text" in say for part in LESSONS)
        assert all(f"source_{name}" in say for name in studio_sources.KNOWN)
        assert all(key in say for _, key in SAID)


# --- what there is to learn from ------------------------------------------------------------------


def idx(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in digits.FILES:
        (folder / f"{name}.gz").write_bytes(b"")


def test_small_digits_come_first_where_mnist_is_not_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMFM_DATA", str(tmp_path))
    assert [(s.id, s.here) for s in sources(())] == [
        ("digits", True),
        ("mnist", False),
        ("fashion", False),
    ]
    idx(tmp_path / "mnist")
    assert [(s.id, s.here) for s in sources(())][:2] == [("mnist", True), ("digits", True)]


def test_only_allowed_folders_are_offered_and_none_that_a_link_leads_to(tmp_path: Path) -> None:
    own, elsewhere = tmp_path / "own", tmp_path / "elsewhere"
    for folder in (own / "cat", own / "dog", own / "sets" / "a", elsewhere / "x", elsewhere / "y"):
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(b"")
    (own / "link").symlink_to(elsewhere)
    found = [source for source in sources((own,)) if source.id.startswith("folder")]
    assert [(source.name, source.labels) for source in found] == [
        ("own", ("cat", "dog")),
        ("cat", ()),
        ("dog", ()),
    ]
    # Half a minute of these would show noise and no more; of small digits it does.
    assert min(source_data(found[0])["minutes"]) == 1
    assert min(source_data(sources(())[0])["minutes"]) == 0.5
    choice = as_choice({"source": found[0].id, "labels": ["dog"]}, (own,))
    assert choice.data == str(own) and choice.labels == ("dog",)
    wish = as_wish(choice)
    assert wish["source"] == "folder/own" and str(tmp_path) not in json.dumps(wish)
    assert as_choice(wish, (own,)) == choice
    with pytest.raises(BadInput, match="no data 'folder/own' here"):
        as_choice(wish, ())


def test_a_folder_is_asked_for_by_the_same_id_later_and_by_no_name_that_two_have(
    tmp_path: Path,
) -> None:
    one, other = tmp_path / "a" / "own", tmp_path / "b" / "own"
    for folder in (one / "cat", one / "dog", other / "cat", other / "dog"):
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(b"")
    ids = {s.data: s.id for s in sources((one, other)) if s.name == "own"}
    assert len(set(ids.values())) == 2
    # One more folder, or another order, leaves the others their ids.
    assert {s.data: s.id for s in sources((other, tmp_path, one)) if s.name == "own"} == ids
    for folder in (one, other):
        assert as_choice({"source": ids[str(folder)]}, (one, other)).data == str(folder)
        assert as_choice({"source": "folder/own"}, (folder,)).data == str(folder)
    with pytest.raises(BadInput, match="2 folders are called 'folder/own'"):
        as_choice({"source": "folder/own"}, (one, other))


@pytest.mark.parametrize(
    "wish",
    [
        None,
        [],
        {},
        {"source": "/etc"},
        {"source": "folder/../etc"},
        {"source": "digits", "data": "/etc"},
        {"source": "digits", "labels": ["cat"]},
        {"source": "digits", "minutes": math.nan},
        {"source": "digits", "minutes": 1e9},
        {"source": "digits", "rate": math.inf},
        {"source": "digits", "size": ["medium"]},
        {"source": "digits", "more": 1},
    ],
)
def test_what_a_browser_may_not_choose_is_refused(wish: object) -> None:
    with pytest.raises(BadInput) as refused:
        as_choice(wish, ())
    assert len(str(refused.value).splitlines()) == 1


def test_all_labels_are_the_same_as_none_named() -> None:
    assert as_choice({"source": "digits", "labels": list("9876543210")}, ()).labels == ()


# --- the judge ------------------------------------------------------------------------------------


def sheet_of(images: torch.Tensor, columns: int) -> bytes:
    """Pictures of numbers from 0 to 255, laid out as a run lays them out."""
    picture = plot.enlarged(plot.grid(images[:, None] / 255, columns=columns, gap=1))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def test_a_sheet_is_taken_apart_into_the_very_pictures() -> None:
    images = torch.randint(0, 256, (12, 8, 8), dtype=torch.uint8)
    laid_out = Sheets(8, 1, 6, ("0",) * 6, (1,), ())
    assert np.array_equal(tiles(sheet_of(images, 6), laid_out)[..., 0], images.numpy())


def test_the_judge_of_small_digits_reads_real_ones_and_no_others() -> None:
    real = digits.load_digits8()
    numbers = [int(np.flatnonzero(real.test_labels == label)[0]) for label in range(10)]
    images = torch.from_numpy(real.test_images[numbers].copy())
    laid_out = Sheets(8, 1, 10, tuple("0123456789"), (1,), ())
    assert Judge().reads(sheet_of(images, 10), laid_out, "digits") == [True] * 10
    turned = Judge().reads(sheet_of(images.roll(1, 0), 10), laid_out, "digits")
    assert turned == [False] * 10


def test_the_judge_of_large_digits_is_the_bundled_classifier() -> None:
    noise = torch.randint(0, 256, (10, 28, 28), dtype=torch.uint8)
    laid_out = Sheets(28, 1, 10, tuple("0123456789"), (1,), ())
    seen = look(load_ruler("mnist-ruler"), noise[..., None]).logits.argmax(dim=1)
    expected = (seen == torch.arange(10)).tolist()
    assert Judge().reads(sheet_of(noise, 10), laid_out, "mnist") == expected


def test_of_other_pictures_there_is_no_judge() -> None:
    sheet = sheet_of(torch.zeros(10, 8, 8, dtype=torch.uint8), 10)
    assert Judge().reads(sheet, Sheets(8, 1, 10, (), (1,), ()), "digits") is None
    assert Judge().reads(sheet, Sheets(8, 1, 10, ("Coat",) * 10, (1,), ()), "fashion") is None


# --- what is shown --------------------------------------------------------------------------------


def test_news_come_from_where_the_browser_is(page: DiffusionStudio) -> None:
    first = page.news({"runs": {"digits-1": None, "digits-2": None}, "list": True})
    assert [run["name"] for run in first["list"]] == ["digits-2", "digits-1"]
    one = first["runs"]["digits-1"]
    assert one["state"] == "finished" and one["step"] == 24 and one["points"][-1][0] == 24
    assert one["sheets"]["steps"][-1] == 24 == one["sheets"]["kept"][-1]
    later = page.news({"runs": {"digits-1": one["at"]}})
    assert later["runs"]["digits-1"]["points"] == [] and "list" not in later
    json.dumps(first, allow_nan=False)


@pytest.mark.parametrize(
    "question",
    [None, [], {"runs": 3}, {"runs": {"../x": None}}, {"runs": {"digits-1": ["x", -1]}}],
)
def test_nonsense_from_a_browser_gets_no_news(page: DiffusionStudio, question: object) -> None:
    answer = page.news(question)
    assert all(run.get("gone") or run.get("state") for run in answer["runs"].values())


def test_a_sheet_comes_with_what_can_be_read(page: DiffusionStudio) -> None:
    found = page.sheet({"run": "digits-1", "step": 24})
    assert found is not None and found["address"].startswith("data:image/png;base64,")
    assert len(found["read"]) == 40 and set(found["read"]) <= {"0", "1"}
    for question in ({"run": "digits-1", "step": 23.5}, {"run": "x", "step": 1}, None, {}):
        assert page.sheet(question) is None
    assert page.sheet({"run": "digits-1", "step": 10**12}) is None


def test_a_half_there_run_is_listed_and_does_no_harm(page: DiffusionStudio, runs: Path) -> None:
    (runs / "digits-9").mkdir()
    try:
        listed = {run["name"]: run for run in page.runs_data()}
        assert "half there" in listed["digits-9"]["broken"] and len(listed) == 3
        assert "half there" in page.news({"runs": {"digits-9": None}})["runs"]["digits-9"]["broken"]
        data = page.stage_data("en", {"run": "digits-9"})
        assert data["open"] is None
    finally:
        (runs / "digits-9").rmdir()


@pytest.fixture
def left(runs: Path) -> Generator[Path]:
    """A run to be spoiled."""
    folder = shutil.copytree(runs / "digits-1", runs / "digits-9")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("state.json", '{"state": "training", "left_out": null}'),
        ("state.json", '{"state": "dreaming"}'),
        ("wish.json", '{"turn": null}'),
        ("live.jsonl", "mark\n[1]\n"),
    ],
)
def test_a_run_of_another_version_takes_no_other_run_away(
    page: DiffusionStudio, left: Path, file: str, content: str
) -> None:
    (left / file).write_text(content)
    data = page.stage_data("en", {"run": "digits-1"})
    listed = {run["name"]: run for run in data["runs"]}
    assert "another version" in listed["digits-9"]["broken"]
    assert listed["digits-1"]["state"] == "finished" and data["open"] == "digits-1"
    assert page.news({"runs": {"digits-9": None}})["runs"]["digits-9"]["broken"]


def test_what_went_wrong_is_told_without_the_names_of_the_servers_files(
    page: DiffusionStudio, left: Path
) -> None:
    secret = str(left.parent)
    for kind, words in (("NotHere", "error_NotHere"), ("FileNotFoundError", "error_other")):
        told = {"state": "failed", "error": f"{secret}/photos: no such folder", "kind": kind}
        (left / "state.json").write_text(json.dumps(told))
        news = page.news({"runs": {"digits-9": None}, "list": True})
        status = page.train_status("digits-9")
        assert secret not in json.dumps([news, status])
        assert news["runs"]["digits-9"]["trouble"] == words
        assert status["kind"] == kind and status["error"] == WORDS["en"][words]
    (left / "state.json").write_text('{"state": "training", "turn": 1}')
    (left / "process.log").write_text(f"Traceback\nOSError: cannot read {secret}/photos\n")
    assert secret not in json.dumps(page.train_status("digits-9"))
    assert status_data(Status("failed", error="the loss became nan"))["trouble"] == "error_nan"
    assert status_data(Status("finished"))["trouble"] is None


def test_a_link_opens_a_run_beside_another(page: DiffusionStudio) -> None:
    data = page.stage_data("ko", {"run": "digits-1", "with": "digits-2"})
    assert (data["open"], data["beside"]) == ("digits-1", "digits-2")
    data = page.stage_data("en", {"run": "<b>", "with": "digits-2"})
    assert data["open"] is None
    assert data["opening"]["source"] == "digits" and not data["sources"][1]["here"]
    json.dumps(data, allow_nan=False)


def test_no_path_of_the_server_is_sent(page: DiffusionStudio, runs: Path) -> None:
    said = json.dumps([page.stage_data("en", {}), page.news({"runs": {"digits-1": None}})])
    assert str(runs.parent) not in said


# --- taken along, and back ------------------------------------------------------------------------


def kept(page: DiffusionStudio, **asked: object) -> tuple[str, bytes]:
    data = sent(page.keep(VISIT, event(**asked)), "kept")
    return data["name"], base64.b64decode(data["data"])


def test_a_picture_holds_its_settings_and_brings_them_back(
    page: DiffusionStudio, tmp_path: Path
) -> None:
    name, data = kept(page, run="digits-1", step=24, kind="png", beside="digits-2", beside_step=24)
    assert name == "digits-1-000024.png"
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.size[0] > 2 * 600
    told = keepsakes.about(data)
    assert told["kind"] == "studio" and told["changed"] == "rate"
    assert told["beside"]["rate"] == 3.0 and told["step"] == 24
    (tmp_path / "kept.png").write_bytes(data)
    restored = sent(page.restore(VISIT, str(tmp_path / "kept.png")), "restored")
    assert restored["choice"] == page.form(TINY)
    # And those of the run beside it.
    assert restored["beside"] == {**page.form(TINY), "rate": 3.0} and restored["seed"] is None
    _, data = kept(page, run="digits-1", step=24, kind="png")
    (tmp_path / "alone.png").write_bytes(data)
    restored = sent(page.restore(VISIT, str(tmp_path / "alone.png")), "restored")
    assert restored["choice"] == page.form(TINY) and restored["beside"] is None


def test_a_film_shows_how_both_learned(page: DiffusionStudio) -> None:
    name, data = kept(page, run="digits-1", step=24, kind="gif", beside="digits-2", beside_step=24)
    assert name.endswith(".gif") and kept_in(data).choice["size"] == "tiny"
    with Image.open(io.BytesIO(data)) as film:
        assert film.n_frames >= 3 and film.size[0] > 2 * 600


def test_what_was_drawn_from_other_noise_is_taken_along_as_it_was_seen(
    page: DiffusionStudio, tmp_path: Path
) -> None:
    asked = {"run": "digits-1", "step": 24, "seed": 5}
    *_, last = (sent(update, "drawn") for update in page.redraw(VISIT, event(**asked)))
    update = sent(page.keep_redrawn(VISIT, event(kind="png", **asked)), "kept")
    assert update["name"] == "digits-1-000024-noise5.png"
    data = base64.b64decode(update["data"])
    laid_out = page.studio.sheets("digits-1")
    assert laid_out is not None
    pixels = np.frombuffer(base64.b64decode(last["pixels"]), np.uint8)
    assert np.array_equal(tiles(data, laid_out).ravel(), pixels)
    _, usual = kept(page, run="digits-1", step=24, kind="png")
    assert not np.array_equal(tiles(usual, laid_out)[:20], tiles(data, laid_out))

    (tmp_path / "kept.png").write_bytes(data)
    restored = sent(page.restore(VISIT, str(tmp_path / "kept.png")), "restored")
    assert (restored["choice"], restored["seed"]) == (page.form(TINY), 5)
    # As a film it is the way there; what stands beside it stays as it is.
    beside = {"beside": "digits-2", "beside_step": 24}
    update = sent(page.keep_redrawn(VISIT, event(kind="gif", **asked, **beside)), "kept")
    film = base64.b64decode(update["data"])
    assert kept_in(film).seed == 5 and kept_in(film).beside is not None
    with Image.open(io.BytesIO(film)) as moving:
        frames = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(moving)]
    assert len(frames) == last["of"] + 1
    half = frames[0].shape[1] // 2
    assert not np.array_equal(frames[0][:, :half], frames[-1][:, :half])
    assert np.array_equal(frames[0][:, half + 20 :], frames[-1][:, half + 20 :])


@pytest.mark.parametrize("seed", [None, -1, 2**31, 1.5, "1", True])
def test_a_wrong_seed_is_neither_kept_nor_restored(
    page: DiffusionStudio, warnings: list[str], tmp_path: Path, seed: object
) -> None:
    asked = event(run="digits-1", step=24, kind="png", seed=seed)
    assert sent(page.keep_redrawn(VISIT, asked), "answer")["failed"]
    about = {"kind": "studio", "choice": as_wish(TINY), "seed": -1 if seed is None else seed}
    (tmp_path / "x.png").write_bytes(keepsakes.png(Image.new("L", (4, 4)), about))
    assert sent(page.restore(VISIT, str(tmp_path / "x.png")), "answer")["failed"]
    assert len(warnings) == 2 and warnings[1] == WORDS["en"]["damaged"]


@pytest.mark.parametrize(
    "about",
    [
        {"kind": "redraw"},
        {"kind": "studio"},
        {"kind": "studio", "choice": {"source": "/etc/passwd"}},
        {"kind": "studio", "choice": {"source": "digits", "minutes": 10**400}},
        {"kind": "studio", "choice": {"source": "digits", "rate": "3"}},
        {"kind": "studio", "choice": {"source": "digits"}, "beside": "digits-2"},
    ],
)
def test_settings_of_a_stranger_are_refused_in_one_line(
    page: DiffusionStudio, tmp_path: Path, warnings: list[str], about: dict[str, Any]
) -> None:
    (tmp_path / "x.png").write_bytes(keepsakes.png(Image.new("L", (4, 4)), about))
    assert sent(page.restore(VISIT, str(tmp_path / "x.png")), "answer")["failed"]
    assert len(warnings) == 1 and len(warnings[0].splitlines()) == 1


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_what_is_wrong_with_a_picture_is_said_in_the_visitors_language(
    lang: str,
    page: DiffusionStudio,
    tmp_path: Path,
    warnings: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def with_settings(about: dict[str, Any]) -> bytes:
        return keepsakes.png(Image.new("L", (4, 4)), about)

    foreign, photo = io.BytesIO(), io.BytesIO()
    Image.new("L", (4, 4)).save(foreign, "PNG")
    Image.new("L", (4, 4)).save(photo, "JPEG")
    monkeypatch.setattr(keepsakes, "VERSION", 2)
    later = with_settings({"kind": "studio"})
    monkeypatch.undo()
    monkeypatch.setattr(gr, "Warning", warnings.append)
    folder = {"source": "folder/cats"}
    for key, data in {
        "not_ours": foreign.getvalue(),
        "of_later": later,
        "of_elsewhere": with_settings({"kind": "redraw"}),
        "no_source": with_settings({"kind": "studio", "choice": folder}),
        "damaged": with_settings({"kind": "studio", "choice": {"source": "digits", "rate": 0}}),
    }.items():
        (tmp_path / "x.png").write_bytes(data)
        page.restore(Visit(lang), str(tmp_path / "x.png"))
        assert html.unescape(warnings[-1]) == WORDS[lang][key].format(name="folder/cats")
    (tmp_path / "x.jpg").write_bytes(photo.getvalue())
    page.restore(Visit(lang), str(tmp_path / "x.jpg"))
    assert warnings[-1] == WORDS[lang]["not_ours"]
    (tmp_path / "x.png").write_bytes(b"no picture")
    page.restore(Visit(lang), str(tmp_path / "x.png"))
    assert warnings[-1] == WORDS[lang]["damaged"] and len(warnings) == 7


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_what_cannot_be_in_ordinary_use_is_said_in_the_visitors_language(
    lang: str, page: DiffusionStudio, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    visit, say = Visit(lang), WORDS[lang]
    page.act(visit, event(run="digits-77", what="pause"))
    list(page.redraw(visit, event(run="digits-77", step=1, seed=1)))
    page.begin(visit, event(choice={"source": "folder/cats"}))
    monkeypatch.setattr(task, "MOST_RUNS", 2)
    page.begin(visit, event(choice={"source": "digits"}))
    assert [html.unescape(line) for line in warnings] == [
        say["not_there"],
        say["not_there"],
        say["no_source"].format(name="folder/cats"),
        say["too_many"].format(count=diffusion_studio.MOST_RUNS),
    ]


@pytest.mark.parametrize(
    "wish",
    [
        {"choice": None},
        {"choice": {"source": "digits", "minutes": math.nan}},
        {"choice": {"source": "digits"}, "like": "digits-77"},
        {"choice": {"source": "digits"}, "like": "digits-1", "changed": "taste"},
        {"choice": {"source": "digits"}, "like": "digits-1", "changed": "rate", "guess": "42"},
    ],
)
def test_what_cannot_begin_is_said_and_no_run_is_made(
    page: DiffusionStudio, warnings: list[str], wish: dict[str, Any]
) -> None:
    assert sent(page.begin(VISIT, event(**wish)), "answer")["failed"]
    assert len(warnings) == 1 and page.studio.names() == ["digits-2", "digits-1"]


@pytest.mark.parametrize(
    "wish", [{}, {"run": "digits-1", "what": "explode"}, {"run": "../..", "what": "remove"}]
)
def test_what_cannot_be_done_is_said(
    page: DiffusionStudio, warnings: list[str], wish: dict[str, Any]
) -> None:
    assert sent(page.act(VISIT, event(**wish)), "answer")["failed"]
    assert len(warnings) == 1 and page.studio.names() == ["digits-2", "digits-1"]


@pytest.mark.parametrize("seed", [None, -1, 2**31, 1.5, "1", True])
def test_a_wrong_seed_draws_nothing(
    page: DiffusionStudio, warnings: list[str], seed: object
) -> None:
    (answer,) = page.redraw(VISIT, event(run="digits-1", step=24, seed=seed))
    assert sent(answer, "drawn")["failed"] and len(warnings) == 1


def test_a_model_that_made_room_for_newer_ones_meanwhile_is_not_there(
    page: DiffusionStudio, left: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = page.studio.model("digits-9", 24)
    shutil.rmtree(found[1])
    monkeypatch.setattr(page.studio, "model", lambda name, step: found)  # looked up just before
    (answer,) = page.redraw(VISIT, event(run="digits-9", step=24, seed=1))
    assert sent(answer, "drawn")["failed"] and warnings == [WORDS["en"]["not_there"]]


@pytest.mark.parametrize("run", [None, 3, ["digits-1"]])
def test_a_run_that_has_no_name_is_refused(page: DiffusionStudio, run: Any) -> None:
    for ask in (page.train_status, page.train_pause, page.train_go_on, page.train_stop):
        with pytest.raises(gr.Error, match="no run"):
            ask(run)
    with pytest.raises(gr.Error, match="a run's name"):
        page.train_draw(run, 24, 1)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, -3, 10**400])
def test_numbers_that_no_browser_sends_are_refused_of_a_script_too(
    page: DiffusionStudio, number: float
) -> None:
    good: list[Any] = ["digits", "", 1.0, 1.0, "flow", "flow", "tiny", 0]
    for place, name in ((2, "minutes"), (3, "rate"), (7, "seed")):
        with pytest.raises(gr.Error, match=f"{name} of") as refused:
            page.train_start(*good[:place], number, *good[place + 1 :])
        assert "\n" not in str(refused.value) and len(str(refused.value)) < 250
    with pytest.raises(gr.Error, match="whole number"):
        page.train_go_on("digits-1", number)
    for place in ((number, 1), (24, number)):
        with pytest.raises(gr.Error, match=r"whole number|a step of it"):
            page.train_draw("digits-1", *place)
    assert page.studio.names() == ["digits-2", "digits-1"]


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_a_run_that_another_process_writes_is_looked_at_and_left_alone(
    page: DiffusionStudio, left: Path, lang: str, warnings: list[str]
) -> None:
    def content() -> dict[Path, bytes]:
        files = (path for path in left.rglob("*") if path.is_file() and path.name != ".lock")
        return {path: path.read_bytes() for path in files}

    visit, before = Visit(lang), content()
    with Run.resume(left / "run", "diffusion"):
        assert page.news({"runs": {"digits-9": None}})["runs"]["digits-9"]["state"] == "elsewhere"
        for what in ("go_on", "step", "lengthen", "remove"):
            answer = sent(page.act(visit, event(run="digits-9", what=what)), "answer")
            assert answer["failed"] and answer["busy"] is None
        with pytest.raises(gr.Error, match="another process is training there"):
            page.train_go_on("digits-9")
        # What it has drawn and learned so far is there for everybody all the while.
        assert page.sheet({"run": "digits-9", "step": 24}) is not None
        *_, last = page.redraw(visit, event(run="digits-9", step=24, seed=1))
        assert "pixels" in sent(last, "drawn")
        assert kept(page, run="digits-9", step=24, kind="png")[1]
    assert warnings == [WORDS[lang]["in_use"]] * 4
    assert content() == before


def test_a_model_of_then_draws_from_other_noise_step_by_step(page: DiffusionStudio) -> None:
    frames = [
        sent(update, "drawn")
        for update in page.redraw(VISIT, event(run="digits-1", step=10, seed=5))
    ]
    assert [frame["done"] for frame in frames] == list(range(1, frames[0]["of"] + 1))
    step, path = page.studio.model("digits-1", 10)
    assert frames[0]["step"] == step <= 10
    pixels = np.frombuffer(base64.b64decode(frames[-1]["pixels"]), np.uint8)
    asked = order(page.denoiser(path), list(range(10)), count=20, seed=5)
    *_, last = asked.steps(torch.arange(20))
    drawn = ((last.x.clamp(-1, 1) + 1) * 127.5).round().byte().numpy().reshape(-1)
    assert np.abs(pixels.astype(int) - drawn.astype(int)).max() <= 1


# --- through the API ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(runs: Path) -> Generator[str]:
    with pytest.MonkeyPatch.context() as patch, app.private_gradio():
        pages = {"patches": patches, "diffusion_studio": diffusion_studio}
        patch.setattr(app, "pages", lambda: pages)
        with visitors.serving(app.build(Context("cpu"))) as address:
            yield address
    end_all(Studio(runs))


def test_a_script_trains_pauses_steps_and_draws_and_other_pages_answer_meanwhile(
    address: str, tmp_path: Path
) -> None:
    client = Client(address, verbose=False)
    begun = client.predict("digits", "0, 1", 10.0, 1.0, "flow", "flow", "tiny", 3,
                           api_name="/train_start")  # fmt: skip
    name = begun["run"]
    deadline = time.monotonic() + 400

    def status() -> dict[str, Any]:
        assert time.monotonic() < deadline
        return client.predict(name, api_name="/train_status")

    while status()["step"] < 5:
        time.sleep(0.05)
    began = time.monotonic()
    listed = client.predict(api_name="/train_runs")
    assert time.monotonic() - began < 15 and listed[0]["choice"]["labels"] == ["0", "1"]
    # Another page loads its model and runs it, while this one goes on.
    before = status()
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    began = time.monotonic()
    answer = client.predict(handle_file(str(tmp_path / "red.png")), "", api_name="/predict")
    assert time.monotonic() - began < 60
    assert len(answer) > 1 and sum(answer.values()) == pytest.approx(1, abs=1e-3)
    assert before["state"] == status()["state"] == "training"
    while status()["step"] == before["step"]:
        time.sleep(0.05)
    client.predict(name, api_name="/train_pause")
    while (now := status())["state"] != "paused":
        time.sleep(0.05)
    client.predict(name, 3, api_name="/train_go_on")
    while (later := status())["state"] != "paused" or later["step"] == now["step"]:
        time.sleep(0.05)
    assert later["step"] == now["step"] + 3 and later["drawn"][-1] == later["step"]
    drawn = client.predict(name, later["step"], 1, api_name="/train_draw")
    with Image.open(drawn) as sheet:
        assert sheet.size[0] > 600
    client.predict(name, api_name="/train_stop")
    while status()["state"] != "stopped":
        time.sleep(0.05)


def test_scripts_get_one_clear_line(address: str) -> None:
    client = Client(address, verbose=False)
    good: list[Any] = ["digits", "", 1.0, 1.0, "flow", "flow", "tiny", 0]
    for place, wrong, line in (
        (0, "/etc", "no data '/etc' here"),
        (1, "cat", "no label 'cat'"),
        (2, 0, "minutes of 0"),
        (2, 1e9, "minutes of"),
        (3, -1, "rate of -1"),
        (3, None, "rate of None"),
        (4, "karras", "schedule 'karras' is none of flow"),
        (6, "huge", "size 'huge'"),
        (7, 1.5, "seed of 1.5"),
    ):
        asked = [*good[:place], wrong, *good[place + 1 :]]
        with pytest.raises(Exception, match=line):
            client.predict(*asked, api_name="/train_start")
    for arguments, name in (
        (("../x",), "/train_status"),
        (("digits-77",), "/train_pause"),
        (("digits-1", 10**6), "/train_go_on"),
        (("digits-1", -3, 0), "/train_draw"),
    ):
        with pytest.raises(Exception, match=r"no run|whole number|step"):
            client.predict(*arguments, api_name=name)


# --- a beginner's first minute --------------------------------------------------------------------


@pytest.mark.slow
def test_sixty_seconds_after_start_most_digits_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what the page opens with, on MNIST; read by the bundled classifier."""
    if not all(digits.find_idx(digits.default_folder(digits.MNIST), f) for f in digits.FILES):
        pytest.skip("MNIST is not on this machine")
    monkeypatch.setenv("MMFM_RUNS", str(tmp_path / "runs"))
    page = DiffusionStudio(Context("cpu"))
    opening = page.stage_data("en", {})["opening"]
    assert opening["source"] == "mnist"
    began = time.monotonic()
    answer = sent(page.begin(VISIT, event(choice=opening)), "answer")
    name = answer["run"]
    try:
        time.sleep(max(0.0, 60 - (time.monotonic() - began)))
        status = page.studio.status(name)
        sheets = page.studio.sheets(name)
        assert sheets is not None and status.state == "training"
        _, path = page.studio.model(name, sheets.kept[-1])
        den = page.denoiser(path)
        asked = order(den, count=200, seed=1)
        images = torch.cat([images for _, images in asked.pictures()])
        seen = look(load_ruler("mnist-ruler"), images).logits.argmax(dim=1)
        right = (seen == torch.arange(200) % 10).float().mean()
        marks = page.sheet({"run": name, "step": sheets.steps[-1]})
        assert marks is not None
        print(f"{os.cpu_count()} processors, {status}: {right:.1%} of 200, {marks['read']}")
        assert right >= 0.6
        assert marks["read"].count("1") >= 24
    finally:
        end_all(page.studio)
