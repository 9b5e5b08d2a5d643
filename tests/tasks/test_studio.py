"""Trainings that are watched: they live on the disk and in processes of their own.

The processes are real, and so are the kills; the networks are tiny.
"""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from filelock import FileLock
from PIL import Image

from mmfm.data.labelled import NO_LABEL, LabelledPictures
from mmfm.errors import BadInput, BadRun, InUse, NotHere, OutOfSpace
from mmfm.models.checkpoints import load_denoiser
from mmfm.models.denoiser import Denoiser, DenoiserConfig
from mmfm.nn import shapes_only
from mmfm.runs import Run
from mmfm.tasks import studio as module
from mmfm.tasks.studio import SIZES, Choice, Status, Studio, recipe_of, wish_in
from mmfm.tasks.studio_process import Kept, Process
from mmfm.tasks.train_diffusion import DiffusionRecipe, Watch, _only, train_diffusion

TINY = Choice("digits", minutes=1.0, size="tiny")
PATIENCE = 240.0  # seconds: others may be computing, and the machine may be slow


def end_all(studio: Studio) -> None:
    """Kill what is still at work in a studio."""
    for name in studio.names():
        folder = studio.folder / name
        if module._is_held(folder / ".lock"):
            os.kill(json.loads((folder / "state.json").read_text())["pid"], signal.SIGKILL)
    for child in studio._children.values():
        child.kill()
        child.wait()


@pytest.fixture
def studio(tmp_path: Path) -> Generator[Studio]:
    """A studio whose processes end with the test."""
    studio = Studio(tmp_path / "runs")
    yield studio
    end_all(studio)


def wait_for(studio: Studio, name: str, fits: Callable[[Status], bool]) -> Status:
    """Look at a run until it is as it should be."""
    until = time.monotonic() + PATIENCE
    while not fits(now := studio.status(name)):
        log = (studio.folder / name / "process.log").read_text()
        assert time.monotonic() < until and now.state != "failed", (now, log)
        time.sleep(0.02)
    return now


def is_training(now: Status) -> bool:
    return now.state == "training" and now.step > 0 and not now.asked


def stops_soon(
    studio: Studio,
    name: str,
    ask: Callable[[str], None],
    state: str,
    *,
    again: Callable[[str], None],
) -> Status:
    """What is asked of a run that trains is done within a second on a machine that is free.

    Others may be computing here, on a slower one: so it has five, and two tries more.
    """
    took: list[float] = []
    while True:
        began = time.monotonic()
        ask(name)
        now = wait_for(studio, name, lambda now: now.state == state and not now.asked)
        took.append(time.monotonic() - began)
        if took[-1] < 5 or len(took) == 3:
            break
        again(name)
        wait_for(studio, name, is_training)
    assert min(took) < 5, took
    return now


def rows(studio: Studio, name: str) -> list[dict[str, float]]:
    lines = (studio.folder / name / "run" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def forged(studio: Studio, name: str = "digits-1", **state: object) -> Path:
    """A run that nothing has trained, with a state that its process could have left."""
    folder = studio.folder / name
    folder.mkdir(parents=True)
    about = module.About(name, "2026-11-21T12:00:00+00:00", TINY)
    (folder / "studio.json").write_text(json.dumps(asdict(about)))
    if state:
        (folder / "state.json").write_text(json.dumps(state))
    return folder


# --- what is chosen -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": ""},
        {"data": 3},
        {"minutes": math.nan},
        {"minutes": math.inf},
        {"minutes": 0},
        {"minutes": 61},
        {"minutes": True},
        {"minutes": "3"},
        {"rate": math.nan},
        {"rate": -1},
        {"rate": 1000},
        {"rate": None},
        {"labels": "012"},
        {"labels": [1, 2]},
        {"labels": [str(number) for number in range(101)]},
        {"schedule": "karras"},
        {"schedule": ["flow"]},
        {"objective": "beauty"},
        {"size": "huge"},
        {"seed": -1},
        {"seed": 2**31},
        {"seed": 1.5},
        {"seed": True},
        {"taste": "sweet"},
    ],
)
def test_a_wrong_choice_is_refused_in_one_line(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput) as refused:
        Choice.of({"data": "digits", **wrong})
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("content", [None, [], "digits", {}, {3: "digits"}])
def test_what_is_no_choice_is_refused(content: object) -> None:
    with pytest.raises(BadInput):
        Choice.of(content)


def test_a_choice_comes_back_from_its_plain_form() -> None:
    choice = Choice("mnist", ("3", "7"), 2, 0.3, "cosine", "noise", "large", 5)
    assert Choice.of(json.loads(json.dumps(asdict(choice)))) == choice


@pytest.mark.parametrize(("data", "side"), [("digits", 8), ("mnist", 28), ("some/folder", 32)])
def test_each_size_is_a_network_larger_than_the_last(data: str, side: int) -> None:
    counts: list[int] = []
    for size in SIZES:
        recipe = recipe_of(Choice(data, size=size))
        with shapes_only():
            model = Denoiser(DenoiserConfig(**{**recipe.model, "image_size": side}))
        counts.append(sum(weight.numel() for weight in model.parameters()))
    assert counts == sorted(set(counts))
    plain = DiffusionRecipe.read(module_recipe(data))
    assert list(recipe_of(Choice(data)).model["widths"]) == list(plain.model["widths"])


def module_recipe(data: str) -> str:
    names = {"digits": "diffusion-digits", "mnist": "diffusion-mnist"}
    return names.get(data, "diffusion-pictures")


def test_the_recipe_says_what_was_chosen_and_goes_into_a_file() -> None:
    recipe = recipe_of(Choice("digits", ("0", "4"), 2, 3.0, "cosine", "velocity", seed=9), 1)
    plain = DiffusionRecipe.read("diffusion-digits")
    assert recipe.plan.rate == 3 * plain.plan.rate
    assert recipe.plan.matrix_rate == 3 * plain.plan.matrix_rate
    assert (recipe.plan.minutes, recipe.plan.seed, recipe.plan.threads) == (2, 9, 1)
    assert (recipe.model["schedule"], recipe.model["objective"]) == ("cosine", "velocity")
    assert DiffusionRecipe.of(json.loads(json.dumps(recipe.plain()))) == recipe
    assert "labels" not in plain.plain() and recipe.labels == ("0", "4")


# --- what the training does for it ----------------------------------------------------------------


def test_only_the_chosen_labels_are_learned_under_new_numbers() -> None:
    labels = torch.tensor([0, 1, 2, NO_LABEL, 2, 1])
    images = torch.arange(6).byte().reshape(6, 1, 1, 1).expand(-1, 8, 8, 1)
    only = _only(LabelledPictures(images, labels, ("a", "b", "c"), "test"), ("c", "a"))
    assert only.names == ("a", "c")  # in the order of the data
    assert only.labels.tolist() == [0, 1, 1]
    assert only.images[:, 0, 0, 0].tolist() == [0, 2, 4]


def test_a_watched_run_keeps_the_model_of_each_sheet_and_draws_the_same_with_it(
    tmp_path: Path,
) -> None:
    recipe = recipe_of(replace(TINY, labels=("3", "8")), 1)
    recipe = recipe.changed({"minutes": None, "steps": 12, "save_steps": 4, "precision": "fp32"})
    out = tmp_path / "runs" / "digits-1" / "run"
    list(train_diffusion("digits", out, recipe, watch=Watch(share=10.0), device="cpu"))
    told = json.loads((out / "run.json").read_text())
    there = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert {name.rstrip("/") for name in told["files"]} == there
    forged_one = out.parent / "studio.json"
    about = module.About("digits-1", "2026-11-21T12:00:00+00:00", TINY)
    forged_one.write_text(json.dumps(asdict(about)))
    studio = Studio(tmp_path / "runs")
    sheets = studio.sheets("digits-1")
    assert sheets is not None and sheets.labels == ("3",) * 5 + ("8",) * 5
    assert sheets.steps == sheets.kept and sheets.steps[0] == 1 and sheets.steps[-1] == 12
    assert len(sheets.steps) >= 5
    step, path = studio.model("digits-1", 7)
    assert step == max(s for s in sheets.kept if s <= 7)
    then, last = load_denoiser(str(path)), load_denoiser(str(out))
    assert then.labels == ("3", "8") == last.labels
    assert not torch.equal(then.net.leave.weight, last.net.leave.weight)
    _, newest = studio.model("digits-1", 10**6)
    for kept, trained in zip(
        load_denoiser(str(newest)).parameters(), last.parameters(), strict=True
    ):
        assert torch.allclose(kept, trained, atol=1e-3, rtol=1e-3)  # kept in 16 bits


def test_a_label_that_the_data_does_not_have_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    recipe = recipe_of(replace(TINY, labels=("3", "cat")), 1)
    with pytest.raises(BadInput, match=r"'cat' in digits; its labels are 0, 1, 2"):
        next(train_diffusion("digits", tmp_path / "run", recipe, device="cpu"))
    assert not (tmp_path / "run").exists()


# --- a life ---------------------------------------------------------------------------------------


def test_a_run_is_paused_stepped_killed_found_again_and_stopped(studio: Studio) -> None:
    name = studio.start(TINY, device="cpu")
    assert name == "digits-1" and studio.status(name).state in ("starting", "loading")
    assert studio.training() == name
    with pytest.raises(InUse, match="digits-1 is training; pause it first"):
        studio.start(TINY, device="cpu")
    assert studio.names() == [name]
    wait_for(studio, name, is_training)
    process = psutil.Process(json.loads((studio.folder / name / "state.json").read_text())["pid"])
    assert process.nice() > 0 or os.name != "posix"

    now = stops_soon(studio, name, studio.pause, "paused", again=studio.go_on)
    assert studio.training() is None
    sheets = studio.sheets(name)
    assert sheets is not None and sheets.steps[-1] == sheets.kept[-1] == now.step
    time.sleep(0.3)
    assert studio.status(name) == now  # it rests

    studio.go_on(name, steps=5)
    now = wait_for(studio, name, lambda later: later.state == "paused" and not later.asked)
    assert now.step == sheets.steps[-1] + 5
    sheets = studio.sheets(name)
    assert sheets is not None and sheets.steps[-1] == now.step
    assert process.is_running()  # it is the same one

    studio.go_on(name)
    later = wait_for(studio, name, lambda later: is_training(later) and later.step > now.step + 5)
    # Another server, that knows nothing of its children, finds it at work.
    other = Studio(studio.folder)
    assert other.status(name).state == "training" and other.training() == name
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert other.status(name).state == "interrupted" == studio.status(name).state
    assert other.training() is None and not other.status(name).error
    image = studio.sheet(name, now.step)
    assert image.startswith(b"\x89PNG")

    other.go_on(name)
    again = wait_for(other, name, is_training)
    assert again.state == "training"
    at = other.curve(name)
    steps = [point[0] for point in at.points]
    assert steps == sorted(set(steps)) and steps[0] <= 5
    # What the kill took away has been taken again: no line stands there twice.
    taken = [row["step"] for row in rows(other, name)]
    assert taken == sorted(set(taken))
    assert later.step > 0
    stops_soon(other, name, other.stop, "stopped", again=other.go_on)
    load_denoiser(str(other.folder / name / "run"))
    other._children[name].wait(10)
    other.remove(name)
    assert other.names() == []
    assert all(path.name.endswith(".lock") for path in other.folder.iterdir())


def test_stop_while_it_is_still_starting_is_heard_at_once(studio: Studio) -> None:
    name = studio.start(TINY, device="cpu")
    time.sleep(0.3)
    began = time.monotonic()
    studio.stop(name)
    wait_for(studio, name, lambda now: now.state == "stopped")
    assert time.monotonic() - began < 10
    assert not (studio.folder / name / "run").exists()


def test_one_that_waits_until_another_makes_way_hears_at_once_that_it_shall_stop(
    studio: Studio,
) -> None:
    folder = forged(studio)
    module._write_wish(folder, "train")
    waiting = Process(folder)
    threading.Timer(0.3, module._write_wish, (folder, "stop")).start()
    with FileLock(studio.folder / ".training.lock"):
        began = time.monotonic()
        assert not waiting._sit(Kept())
    assert time.monotonic() - began < 10
    assert not (folder / "run").exists()


def test_of_runs_that_rest_in_memory_the_last_one_stays_when_another_begins(
    studio: Studio,
) -> None:
    names = [f"digits-{number}" for number in (1, 2, 3)]
    with contextlib.ExitStack() as held:
        for name in names:
            folder = forged(studio, name, state="paused", turn=0)
            held.enter_context(FileLock(folder / ".lock"))  # as by a process
        for name in ("digits-2", "digits-3", "digits-1"):
            studio.pause(name)
        studio.start(TINY, device="cpu")
        wishes = [wish_in(studio.folder / name).want for name in names]
    assert wishes == ["pause", "stop", "stop"]


@pytest.mark.slow
def test_a_run_ends_with_its_minutes_is_made_longer_and_another_takes_its_place(
    studio: Studio,
) -> None:
    name = studio.start(replace(TINY, minutes=0.05), device="cpu")
    now = wait_for(studio, name, lambda now: now.state == "finished")
    assert now.progress == 1 and now.left == 0 and 2.9 < now.seconds < 4
    with pytest.raises(BadInput, match="has come to its end"):
        studio.go_on(name)
    with pytest.raises(BadInput, match="name more than these"):
        studio.lengthen(name, 0.04)
    studio.lengthen(name, 1.0)
    longer = wait_for(studio, name, lambda later: is_training(later) and later.step > now.step)
    assert longer.minutes == 1
    second = studio.start(replace(TINY, rate=3.0), like=name, changed="rate", instead=True)
    wait_for(studio, second, is_training)
    assert studio.status(name).state == "paused"
    about = studio.about(second)
    assert (about.like, about.changed, about.choice.rate) == (name, "rate", 3.0)
    assert studio.names() == [second, name]
    with pytest.raises(InUse, match="digits-2 is training"):
        studio.go_on(name)


@pytest.mark.slow
def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here")
    studio = Studio(disk / "runs")
    try:
        name = studio.start(TINY, device="cpu")
        now = wait_for(studio, name, is_training)
        with (disk / "ballast").open("wb") as ballast:
            try:
                while True:
                    ballast.write(bytes(1 << 20))
            except OSError:
                pass
        until = time.monotonic() + PATIENCE
        while (now := studio.status(name)).state == "training" and time.monotonic() < until:
            time.sleep(0.1)
        assert now.state == "failed" and now.kind == "OutOfSpace", now
        (disk / "ballast").unlink()
        studio.go_on(name)
        wait_for(studio, name, is_training)
    finally:
        end_all(studio)
        subprocess.run(["umount", str(disk)], check=True)


def test_too_little_room_is_said_before_anything_is_begun(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LEAST_ROOM", 10**18)
    with pytest.raises(OutOfSpace, match="remove some runs"):
        studio.start(TINY)
    assert studio.names() == []


# --- what is found on the disk --------------------------------------------------------------------


def test_what_a_process_left_behind_tells_what_has_happened(studio: Studio) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({}, "stopped"),
        ({"state": "training", "turn": 1}, "interrupted"),
        ({"state": "loading", "turn": 1}, "interrupted"),
        ({"state": "starting", "since": time.time() - 999}, "interrupted"),
        ({"state": "starting", "since": time.time()}, "starting"),
        ({"state": "paused", "turn": 1}, "stopped"),
        ({"state": "finished", "turn": 1}, "finished"),
        ({"state": "failed", "error": "no luck", "kind": "BadRun"}, "failed"),
    ]
    for number, (state, expected) in enumerate(cases, start=1):
        forged(studio, f"digits-{number}", **state)
        assert studio.status(f"digits-{number}").state == expected, state
    assert studio.status("digits-8").error == "no luck"
    (studio.folder / "digits-2" / "process.log").write_text("Traceback\nImportError: no torch\n")
    assert studio.status("digits-2").error == "ImportError: no torch"


def test_a_run_that_another_process_trains_is_left_alone(studio: Studio) -> None:
    folder = forged(studio, state="paused", turn=1)
    with Run.start(folder / "run", {"train": "diffusion"}):
        assert studio.status("digits-1").state == "elsewhere"
        with pytest.raises(InUse, match="another process is training there"):
            studio.go_on("digits-1")
        with pytest.raises(InUse, match="another process is training there"):
            studio.lengthen("digits-1", 5)
        assert studio.about("digits-1").choice == TINY and not (folder / "process.log").exists()
        with pytest.raises(InUse, match="stop it first"):
            studio.remove("digits-1")
        # Its own curve knows nothing of what is trained now, the training's figures do.
        step = {"step": 7, "loss": 0.5, "examples_per_second": 90.0, "seconds": 3.5}
        lines = [json.dumps(step), json.dumps({"step": 7, "accuracy": 0.5}), '{"step": 8, "lo']
        (folder / "run" / "metrics.jsonl").write_text("\n".join(lines))
        for line in ("", '"a line"\n', "[1, 2]\n"):
            with (folder / "run" / "metrics.jsonl").open("a") as file:
                file.write(f"\n{line}")
            now = studio.status("digits-1")
            assert (now.step, now.loss, now.speed, now.seconds) == (7, 0.5, 90.0, 3.5)
    assert studio.status("digits-1").state == "stopped"
    assert studio.status("digits-1").step == 7


def test_a_folder_that_is_half_there_is_named_and_can_be_removed(studio: Studio) -> None:
    forged(studio)
    (studio.folder / "digits-2").mkdir()
    damaged = forged(studio, "mnist-3")
    text = (damaged / "studio.json").read_text()
    (damaged / "studio.json").write_text(text[:50])
    other = forged(studio, "mnist-4")
    (other / "studio.json").write_text(text.replace('"medium"', '"huge"').replace("tiny", "huge"))
    (studio.folder / "no run").mkdir()
    assert set(studio.names()) == {"digits-1", "digits-2", "mnist-3", "mnist-4"}
    for name, line in (
        ("digits-2", "half there"),
        ("mnist-3", "half there"),
        ("mnist-4", "another version"),
    ):
        with pytest.raises(BadRun, match=line):
            studio.status(name)
    assert studio.training() is None
    for name in ("digits-2", "mnist-3"):
        studio.remove(name)
    assert set(studio.names()) == {"digits-1", "mnist-4"}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("state.json", '{"state": "dreaming"}'),
        ("state.json", '{"state": ["training"]}'),
        ("state.json", '{"state": "starting", "since": null}'),
        ("state.json", '{"state": "training", "left_out": null}'),
        ("state.json", '{"state": "training", "notes": null}'),
        ("state.json", '{"state": "training", "notes": [1]}'),
        ("state.json", '{"state": "loading", "done": "many"}'),
        ("state.json", '{"state": "failed", "error": 3}'),
        ("wish.json", '{"turn": null}'),
        ("wish.json", '{"want": "sleep"}'),
        ("wish.json", '{"want": "train", "turn": 1, "steps": "3"}'),
        ("live.jsonl", "mark\n[1, 0.9]\n"),
        ("live.jsonl", "mark\n[1, 0.9, 100.0, null]\n"),
        ("live.jsonl", "mark\n[1, 0.9, 100.0, 0.1\n"),
    ],
)
def test_files_of_another_version_are_named_and_cost_no_other_run(
    studio: Studio, file: str, content: str
) -> None:
    forged(studio, "digits-1")
    (forged(studio, "digits-2") / file).write_text(content)
    with pytest.raises(BadRun, match="remove it"):
        studio.status("digits-2")
    assert studio.training() is None and studio.status("digits-1").state == "stopped"
    studio.remove("digits-2")
    assert studio.names() == ["digits-1"]


@pytest.mark.parametrize(
    "name", ["", "..", "digits-1/..", "../x", "digits", "digits-0", "a" * 300, None, 3, []]
)
def test_a_name_that_is_no_runs_finds_nothing(studio: Studio, name: Any) -> None:
    forged(studio)
    with pytest.raises(NotHere, match="there are: digits-1"):
        studio.about(name)
    with pytest.raises(NotHere):
        studio.remove(name)


def test_only_a_few_runs_are_kept(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_RUNS", 2)
    forged(studio, "digits-1")
    forged(studio, "digits-2")
    with pytest.raises(BadInput, match="2 runs are kept"):
        studio.start(TINY)


def test_steps_that_are_no_number_are_refused(studio: Studio) -> None:
    forged(studio)
    for steps in (0, -1, 1001, math.nan, True, "3"):
        with pytest.raises(BadInput, match="whole number"):
            studio.go_on("digits-1", steps=steps)  # pyright: ignore[reportArgumentType]


def test_the_curve_is_read_on_from_where_one_was(studio: Studio) -> None:
    folder = forged(studio)
    assert studio.curve("digits-1").points == []
    live = folder / "live.jsonl"
    live.write_text("mark1\n[1, 0.9, 100.0, 0.1]\n[2, 0.8, 100.0, 0.2]\n[3, 0.")
    first = studio.curve("digits-1")
    assert first.anew and [point[0] for point in first.points] == [1, 2]
    with live.open("a") as file:
        file.write("7, 99.0, 0.3]\n")
    second = studio.curve("digits-1", first.at)
    assert not second.anew and second.points == [(3, 0.7, 99.0, 0.3)]
    assert studio.curve("digits-1", second.at).points == []
    live.write_text("mark2\n[1, 0.9, 100.0, 0.1]\n")  # it went on from before
    third = studio.curve("digits-1", second.at)
    assert third.anew and len(third.points) == 1
    status = studio.status("digits-1")
    assert (status.step, status.loss, status.seconds) == (1, 0.9, 0.1)


def test_a_long_curve_is_thinned_to_its_means() -> None:
    points: list[module.Point] = [(n, float(n % 2), 10.0, n / 10) for n in range(1, 10_001)]
    thin = module.thinned(points)
    assert len(thin) <= 3000 and thin[-1][0] == 10_000
    assert all(abs(loss - 0.5) < 0.26 for _, loss, _, _ in thin)
    assert module.thinned(points[:50]) == points[:50]


def test_the_folder_is_the_users_unless_the_environment_names_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MMFM_RUNS", str(tmp_path / "mine"))
    assert Studio().folder == tmp_path / "mine"
    assert Studio().names() == [] and not (tmp_path / "mine").exists()
    monkeypatch.delenv("MMFM_RUNS")
    assert Studio().folder.parts[-2:] == ("mmfm", "runs")


def test_importing_it_is_light() -> None:
    code = "import sys, mmfm.tasks.studio; print({'torch', 'numpy', 'PIL'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_a_sheet_that_is_not_there_is_named(studio: Studio) -> None:
    folder = forged(studio)
    with pytest.raises(NotHere, match="drawn nothing after step 7"):
        studio.sheet("digits-1", 7)
    with pytest.raises(NotHere, match="not kept a model yet"):
        studio.model("digits-1", 7)
    assert studio.sheets("digits-1") is None
    grids = folder / "run" / "grids"
    grids.mkdir(parents=True)
    Image.new("L", (89, 35)).save(grids / "000007.png")
    pictures = {"side": 8, "channels": 1}
    told = {"train": "diffusion", "pictures": pictures, "columns": list("0123456789")}
    (folder / "run" / "run.json").write_text(json.dumps(told))
    sheets = studio.sheets("digits-1")
    assert sheets is not None and (sheets.steps, sheets.kept) == ((7,), ())
    assert studio.sheet("digits-1", 7).startswith(b"\x89PNG")
