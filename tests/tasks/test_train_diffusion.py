"""`mmfm train diffusion`: what a person starts, stops, kills, resumes and gets."""

import contextlib
import errno
import gc
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mmfm import cli
from mmfm.data import digits
from mmfm.data.labelled import NO_LABEL, LabelledPictures
from mmfm.errors import BadData, BadInput, BadRun, NotHere, OutOfSpace
from mmfm.models.checkpoints import load_denoiser
from mmfm.models.denoiser import DenoiserConfig
from mmfm.tasks.generate import Sampling, as_bytes, generate
from mmfm.tasks.train_diffusion import (
    DiffusionRecipe,
    Shown,
    _build,
    recipe_for,
    resume_diffusion,
    train_diffusion,
)

TINY = """
[model]
widths = [8]
depths = [1]
attention = []
middle = 0
groups = 4
embed = 16
[plan]
steps = 40
batch = 16
rate = 1e-2
precision = "fp32"
threads = 1
save_steps = 7
[sampling]
steps = 3
guidance = 1.2
"""
CPU = torch.device("cpu")


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def tiny(tiny_file: Path) -> DiffusionRecipe:
    return DiffusionRecipe.read(str(tiny_file))


def mmfm_command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "mmfm.cli", *map(str, arguments)]


def started(*arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        mmfm_command("train", "diffusion", *arguments),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, process: "subprocess.Popen[str]", more_than: int = 0) -> None:
    while process.poll() is None and (not path.exists() or path.stat().st_size <= more_than):
        time.sleep(0.01)


def draw(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def frames(path: Path) -> list[Image.Image]:
    with Image.open(path) as film:
        shown = []
        for number in range(film.n_frames):
            film.seek(number)
            shown.append(film.convert("RGB"))
    return shown


def milliseconds(path: Path) -> int:
    """How long a film lasts. Two frames that show the same are one, which lasts as long."""
    with Image.open(path) as film:
        total = 0
        for number in range(film.n_frames):
            film.seek(number)
            total += film.info["duration"]
    return total


def rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").open()]


def same_weights(one: Path, other: Path) -> bool:
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- what comes out -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.toml").write_text(TINY)
    recipe = DiffusionRecipe.read(str(folder / "tiny.toml"))
    list(train_diffusion("digits", folder / "run", recipe, device="cpu"))
    return folder / "run"


def test_the_folder_holds_a_model_and_says_what_everything_in_it_is(trained: Path) -> None:
    about = json.loads((trained / "run.json").read_text())
    there = {path.name for path in trained.iterdir() if not path.name.startswith(".")}
    assert {name.rstrip("/") for name in about["files"]} == there
    assert about["data"] == "digits" and about["pictures"]["side"] == 8
    model = load_denoiser(str(trained))
    assert model.config == DenoiserConfig(
        image_size=8, channels=1, classes=10, widths=(8,), depths=(1,), attention=(), middle=0,
        groups=4, embed=16,
    )  # fmt: skip
    assert model.labels == tuple("0123456789")
    assert model.sampling["steps"] == 3 and model.sampling["guidance"] == 1.2
    assert [row["step"] for row in rows(trained)] == list(range(1, 41))


def test_sheets_and_films_show_what_the_model_draws(trained: Path) -> None:
    sheets = sorted((trained / "grids").iterdir())
    assert sheets[0].name == "000001.png" and sheets[-1].name == "000040.png"
    with Image.open(sheets[-1]) as last:
        assert last.size == ((10 * 9 - 1) * 7, (4 * 9 - 1) * 7)  # 10 columns of 8 pixels, 7 times
        pixels = np.asarray(last)
    *_, drawn = generate(load_denoiser(str(trained)), count=40, seed=0)
    for number, image in enumerate(as_bytes(drawn.x)):
        y, x = number // 10 * 9 * 7, number % 10 * 9 * 7
        shown = pixels[y : y + 56 : 7, x : x + 56 : 7].astype(int)
        assert np.abs(shown - image[..., 0].numpy().astype(int)).max() <= 1
    learning, way = frames(trained / "learning.gif"), frames(trained / "steps.gif")
    assert np.array_equal(np.asarray(learning[-1])[..., 0], pixels)
    assert milliseconds(trained / "steps.gif") == 24 * 120 + 3000  # noise, and 24 steps from it
    first = np.asarray(way[0], float)
    assert first.std() > 60 and not np.array_equal(first, np.asarray(way[-1]))


def test_training_learns(tmp_path: Path, tiny: DiffusionRecipe) -> None:
    recipe = tiny.changed({"steps": 120, "batch": 32})
    losses = [r.step.loss for r in train_diffusion("digits", tmp_path / "run", recipe)]
    assert sum(losses[-20:]) < 0.6 * sum(losses[:20])


def test_minutes_are_kept_and_the_rate_ends_with_them(
    tmp_path: Path, tiny: DiffusionRecipe
) -> None:
    recipe = tiny.changed({"steps": None, "minutes": 0.03, "save_steps": None})
    reports = list(train_diffusion("digits", tmp_path / "run", recipe, device="cpu"))
    last = reports[-1].step
    assert 1.8 <= last.seconds < 10 and last.progress == 1 and last.seconds_left == 0
    assert last.rate < 0.05 * max(report.step.rate for report in reports)
    sheets = len(list((tmp_path / "run" / "grids").iterdir()))
    assert sheets >= 2


def test_colour_pictures_without_labels_train(tmp_path: Path, tiny: DiffusionRecipe) -> None:
    for number in range(12):
        draw(tmp_path / "photos" / f"{number}.png", (20 * number, 0, 255), size=(30, 20))
    recipe = tiny.changed({"steps": 3}, size=16)
    list(train_diffusion(str(tmp_path / "photos"), tmp_path / "run", recipe, device="cpu"))
    model = load_denoiser(str(tmp_path / "run"))
    assert (model.config.channels, model.config.classes, model.labels) == (3, 0, ())
    with Image.open(tmp_path / "run" / "grids" / "000003.png") as sheet:
        assert sheet.mode == "RGB" and sheet.size[0] == (10 * 17 - 1) * 3


def test_class_folders_give_labels_and_each_label_columns(
    tmp_path: Path, tiny: DiffusionRecipe
) -> None:
    for number in range(10):
        for name, colour in (
            ("dark", (10, 10, 10)),
            ("light", (240, 240, 240)),
            ("mid", (99,) * 3),
        ):
            draw(tmp_path / "data" / name / f"{number}.png", colour)
    (tmp_path / "data" / "mid" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    recipe = tiny.changed({"steps": 3})
    reports = list(train_diffusion(str(tmp_path / "data"), tmp_path / "run", recipe, device="cpu"))
    assert [Path(which).name for which, _ in reports[0].skipped] == ["torn.png"]
    model = load_denoiser(str(tmp_path / "run"))
    assert model.labels == ("dark", "light", "mid") and model.config.channels == 1
    with Image.open(tmp_path / "run" / "grids" / "000003.png") as sheet:
        assert sheet.size[0] == (9 * 9 - 1) * 8  # three columns for each


def test_a_run_can_begin_with_a_trained_model_and_learn_other_labels(
    tmp_path: Path, trained: Path, tiny: DiffusionRecipe
) -> None:
    still = {"steps": 1, "rate": 0.0, "matrix_rate": 0.0}
    recipe = tiny.changed(still, start=str(trained))
    first = load_denoiser(str(trained))
    list(train_diffusion("digits", tmp_path / "same", recipe, device="cpu"))
    again = load_denoiser(str(tmp_path / "same"))
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)
    )
    for name, colour in (("dark", (10, 10, 10)), ("light", (240, 240, 240))):
        for number in range(5):
            draw(tmp_path / "data" / name / f"{number}.png", colour)
    list(train_diffusion(str(tmp_path / "data"), tmp_path / "other", recipe, device="cpu"))
    other = load_denoiser(str(tmp_path / "other"))
    assert other.labels == ("dark", "light")
    assert torch.equal(other.net.enter.weight, first.net.enter.weight)
    assert torch.equal(other.classes.weight[2], first.classes.weight[10])
    with pytest.raises(BadInput, match="draws 8x8 pixels"):
        larger = recipe.changed({}, size=16)
        next(train_diffusion("digits", tmp_path / "larger", larger, device="cpu"))


def test_a_model_that_is_always_told_a_label_is_never_guided(
    tmp_path: Path, tiny: DiffusionRecipe
) -> None:
    told, out = replace(tiny, drop_label=0.0), tmp_path / "run"
    with pytest.raises(BadInput, match="drop_label of 0 is never learned") as caught:
        next(train_diffusion("digits", out, told, device="cpu"))
    assert "\n" not in str(caught.value) and not out.exists()
    told = replace(told, sampling=Sampling(steps=3)).changed({"steps": 9})
    for report in train_diffusion("digits", out, told, device="cpu"):
        if report.step.number == 8:
            break
    list(resume_diffusion(out, device="cpu"))
    den = load_denoiser(str(out))
    assert not den.guidable and len(list(generate(den, [3], guidance=1.0))) == 3
    for wish in ({"guidance": 2.0}, {"labels": [None]}):
        with pytest.raises(BadInput, match="never drawn without a label"):
            generate(den, **wish)  # type: ignore[arg-type]


def test_what_a_model_can_draw_without_a_label_it_can_after_a_training_with_labels_alone(
    tmp_path: Path, trained: Path, tiny: DiffusionRecipe
) -> None:
    told = replace(tiny, drop_label=0.0, sampling=Sampling(steps=3)).changed({"steps": 1})
    places = [tmp_path / name for name in ("never", "first", "still")]
    for place, recipe, start in (
        (places[0], told, None),
        (places[1], replace(told, drop_label=0.1), places[0]),
        (places[2], told, places[1]),
    ):
        begun = recipe.changed({}, start=start and str(start))
        list(train_diffusion("digits", place, begun, device="cpu"))
    assert [load_denoiser(str(place)).guidable for place in places] == [False, True, True]


# --- what the model is shown ----------------------------------------------------------------------


def shown(recipe: DiffusionRecipe, count: int = 2000) -> Shown:
    labels = torch.arange(count) % 4 - 1  # the first of four has none
    images = (torch.arange(count) % 256).byte().reshape(-1, 1, 1, 1).expand(-1, 8, 8, 1)
    pictures = LabelledPictures(images, labels, ("a", "b", "c"), "test")
    return Shown(pictures, recipe, _build(recipe, pictures), CPU)


def test_a_batch_is_the_same_whenever_it_is_asked_for(tiny: DiffusionRecipe) -> None:
    examples, again = shown(tiny), shown(tiny)
    index, epoch = torch.tensor([7, 3, 1999]), torch.zeros(3, dtype=torch.int64)
    first = examples.batch(index, epoch, 0)
    torch.manual_seed(123)
    examples.batch(index, epoch + 1, 0)
    for batch in (examples.batch(index, epoch, 0), again.batch(index, epoch, 0)):
        assert batch.keys() == {"images", "noise", "t", "condition"}
        assert all(torch.equal(batch[name], first[name]) for name in first)
    for seed, other in ((1, epoch), (0, epoch + 1)):
        batch = examples.batch(index, other, seed)
        assert torch.equal(batch["images"], first["images"])
        assert not torch.isclose(batch["noise"], first["noise"]).any()
        assert not torch.isclose(batch["t"], first["t"]).any()
    neighbour = examples.batch(index.flip(0), epoch, 0)
    assert not torch.isclose(neighbour["noise"], first["noise"].flip(0)).any()


def test_what_is_drawn_is_spread_as_it_should_be(tiny: DiffusionRecipe) -> None:
    examples = shown(tiny)
    batch = examples.batch(torch.arange(2000), torch.zeros(2000, dtype=torch.int64), 0)
    noise, t = batch["noise"], batch["t"]
    assert noise.shape == (2000, 1, 8, 8) and abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    assert t.min() > 0 and t.max() < 1 and abs(t.mean() - 0.5) < 0.02
    assert batch["images"][0, 0, 0, 0] == -1 and batch["images"][255, 0, 0, 0] == 1
    labels = torch.arange(2000) % 4 - 1
    told = batch["condition"]
    assert (told[labels == NO_LABEL] == 3).all()
    dropped = (told[labels != NO_LABEL] == 3).float().mean()
    assert 0.07 < dropped < 0.13
    kept = told != 3
    assert torch.equal(told[kept], labels[kept])


def test_pictures_without_a_label_teach_to_draw_without_one(tiny: DiffusionRecipe) -> None:
    told, one = replace(tiny, drop_label=0.0), torch.tensor([0])
    images = torch.zeros(8, 8, 8, 1, dtype=torch.uint8)
    for labels, names in (
        (torch.arange(8) % 4 - 1, ("a", "b", "c")),
        (torch.full((8,), NO_LABEL), ()),
    ):
        pictures = LabelledPictures(images, labels, names, "test")
        model = _build(told, pictures)
        assert model.guidable and model.sampling["guidance"] == 1.2
        batch = Shown(pictures, told, model, CPU).batch(one, one, 0)
        assert batch.get("condition", torch.tensor([model.null])) == model.null
    with pytest.raises(BadInput, match="without a label"):
        _build(told, LabelledPictures(images, torch.arange(8) % 3, ("a", "b", "c"), "test"))


# --- stopped, killed, resumed ---------------------------------------------------------------------


@pytest.mark.parametrize("leave_at", [1, 23])
def test_a_run_that_was_left_goes_on_to_the_same_weights(
    tmp_path: Path, trained: Path, tiny: DiffusionRecipe, leave_at: int
) -> None:
    out = tmp_path / "run"
    for report in train_diffusion("digits", out, tiny, device="cpu"):
        if report.step.number == leave_at:
            break
    (out / "grids" / f"{leave_at + 10:06}.png").write_bytes(b"of a way that was not gone on with")
    steps = [report.step.number for report in resume_diffusion(out, device="cpu")]
    assert steps == list(range(leave_at + 1, 41))
    assert same_weights(out, trained)
    for path in (out / "grids").iterdir():
        Image.open(path).load()


def test_a_run_goes_on_without_the_model_that_it_began_with_and_one_of_before_as_it_began(
    tmp_path: Path, trained: Path, tiny: DiffusionRecipe
) -> None:
    first = Path(shutil.copytree(trained, tmp_path / "first"))
    for name, start in (("whole", first), ("parts", first), ("before", None)):
        recipe = tiny.changed({"steps": 12}, start=start and str(start))
        for report in train_diffusion("digits", tmp_path / name, recipe, device="cpu"):
            if name != "whole" and report.step.number == 5:
                break
    shutil.rmtree(first)
    list(resume_diffusion(tmp_path / "parts", device="cpu"))
    assert same_weights(tmp_path / "parts", tmp_path / "whole")
    settings = json.loads((tmp_path / "before" / "run.json").read_text())
    del settings["model"]
    (tmp_path / "before" / "run.json").write_text(json.dumps(settings))
    steps = [report.step.number for report in resume_diffusion(tmp_path / "before", device="cpu")]
    assert steps == list(range(6, 13))


def test_a_kill_after_the_last_checkpoint_is_made_good_by_resuming(
    tmp_path: Path, tiny: DiffusionRecipe
) -> None:
    out = tmp_path / "run"
    list(train_diffusion("digits", out, tiny, device="cpu"))
    names = ("model.safetensors", "config.json", "learning.gif", "steps.gif", "grids/000040.png")
    whole = {name: (out / name).read_bytes() for name in names}
    for name in names:
        (out / name).unlink()
    assert list(resume_diffusion(out, device="cpu")) == []
    assert {name: (out / name).read_bytes() for name in names} == whole


def test_a_run_can_be_made_longer(tmp_path: Path, tiny: DiffusionRecipe) -> None:
    out = tmp_path / "run"
    list(train_diffusion("digits", out, tiny, device="cpu"))
    reports = list(resume_diffusion(out, changes={"steps": 50}, device="cpu"))
    assert [report.step.number for report in reports] == list(range(41, 51))
    assert (out / "grids" / "000050.png").is_file()
    assert (out / "grids" / "000040.png").is_file()


def test_a_run_that_was_made_longer_and_stopped_goes_on_to_its_new_end(
    tmp_path: Path, tiny: DiffusionRecipe
) -> None:
    out = tmp_path / "run"
    list(train_diffusion("digits", out, tiny.changed({"steps": 10}), device="cpu"))
    for report in resume_diffusion(out, changes={"steps": 30}, device="cpu"):
        if report.step.number == 20:
            break
    # As the printed command does, which names no end.
    steps = [report.step.number for report in resume_diffusion(out, device="cpu")]
    assert steps == list(range(21, 31))


def test_what_is_known_by_name_is_no_folder_of_that_name(
    tmp_path: Path, tiny: DiffusionRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    idx_folder(tmp_path / "digits")
    assert recipe_for("digits") == "diffusion-digits"
    out = tmp_path / "run"
    list(train_diffusion("digits", out, tiny.changed({"steps": 2}), device="cpu"))
    assert json.loads((out / "run.json").read_text())["data"] == "digits"
    assert len(list(resume_diffusion(out, data="digits", changes={"steps": 3}, device="cpu"))) == 1
    for name, start in (("mnist-nano", "mnist-nano"), ("own", str(tmp_path / "own"))):
        (tmp_path / name).mkdir()
        assert tiny.changed({}, start=name).start == start


def test_the_command_that_draws_can_be_copied_whatever_the_folder_is_called(
    tmp_path: Path, tiny_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my run"
    arguments = ("--data", "digits", "--out", out, "--recipe", tiny_file, "--steps", 1)
    assert cli.main(["train", "diffusion", *map(str, arguments)]) == 0
    assert f"mmfm sample '{out}' --out grid.png" in capsys.readouterr().out


def test_ctrl_c_leaves_a_whole_folder_and_says_how_to_go_on(
    tmp_path: Path, tiny_file: Path
) -> None:
    out = tmp_path / "run"
    process = started("--data", "digits", "--out", out, "--recipe", tiny_file, "--steps", 10**6)
    wait_for(out / "metrics.jsonl", process)
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=60)
    assert process.returncode == 130, complained
    assert f"mmfm train diffusion --out {out} --resume" in said
    assert "learning.gif" in said and "Traceback" not in complained
    assert load_denoiser(str(out)).config.widths == (8,)
    assert milliseconds(out / "learning.gif") >= 3000 < milliseconds(out / "steps.gif")
    last = rows(out)[-1]["step"]
    assert (out / "grids" / f"{last:06}.png").is_file()


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(
    tmp_path: Path, tiny_file: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    given = ("--data", "digits", "--recipe", tiny_file, "--steps", 600)
    process = started(*given, "--out", whole)
    assert process.wait() == 0
    generator, kills = random.Random(5), 0
    for _ in range(4):
        begun = (killed / "run.json").exists()
        metrics = killed / "metrics.jsonl"
        seen = metrics.stat().st_size if metrics.exists() else 0
        arguments = ("--out", killed, "--resume") if begun else (*given, "--out", killed)
        process = started(*arguments)
        wait_for(metrics, process, more_than=seen)
        time.sleep(generator.uniform(0, 0.3))
        if process.poll() is None:
            process.kill()
            kills += 1
        process.wait()
        load_denoiser(str(killed))  # whatever the moment
    assert kills >= 3
    assert started("--out", killed, "--resume").wait() == 0
    assert same_weights(whole, killed)
    assert [row["step"] for row in rows(killed)] == list(range(1, 601))
    assert not list(killed.rglob("*.part"))


@pytest.mark.slow
def test_torchrun_trains_as_well_as_one_process(tmp_path: Path, tiny_file: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    arguments = ("train", "diffusion", "--data", "digits", "--recipe", tiny_file, "--out")
    done = subprocess.run(
        [*torchrun, "--nproc-per-node", "2", "-m", "mmfm", *map(str, arguments), tmp_path / "run"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    losses = [row["loss"] for row in rows(tmp_path / "run")]
    assert len(losses) == 40 and losses[-1] < losses[0]
    assert frames(tmp_path / "run" / "learning.gif")


def fill(path: Path) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while os.write(file, bytes(4096)):
            pass
    os.close(file)


def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint(
    tmp_path: Path, tiny: DiffusionRecipe
) -> None:
    """A file system of 3 MB of memory is filled for real, where one may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        out = disk / "run"
        with pytest.raises(OutOfSpace, match="no space left"):
            for report in train_diffusion("digits", out, tiny, device="cpu"):
                if report.step.number == 20:
                    fill(disk / "ballast")
        load_denoiser(str(out))
        assert not list(out.rglob("*.part"))
        (disk / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,size=30m", str(disk)], check=True)
        first = next(resume_diffusion(out, device="cpu"))
        assert 14 < first.step.number <= 22  # the checkpoints lie seven steps apart
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_full_when_a_sheet_is_drawn_is_told_once(
    tmp_path: Path, trained: Path, tiny: DiffusionRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, fsync, unheard = False, os.fsync, list[str]()

    def write(handle: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    def fill() -> bool:
        nonlocal full
        full = True
        return False

    monkeypatch.setattr(os, "fsync", write)
    monkeypatch.setattr(sys, "unraisablehook", lambda told: unheard.append(str(told.exc_value)))
    out = tmp_path / "run"
    with pytest.raises(OutOfSpace, match="no space left"):
        # The first sheet comes with the first step, which no checkpoint holds.
        list(train_diffusion("digits", out, tiny, device="cpu", stop=fill))
    gc.collect()
    assert unheard == [] and not list(out.rglob("*.part"))
    full = False
    list(resume_diffusion(out, device="cpu"))
    assert same_weights(out, trained)


# --- what a newcomer gets wrong -------------------------------------------------------------------


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    status = cli.main(["train", "diffusion", *map(str, arguments)])
    return status, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says", "status"),
    [
        (("--out", "OUT"), "--data is missing", 2),
        (("--data", "nowhere", "--out", "OUT"), "a folder of pictures", 1),
        (("--data", "digits", "--out", "OUT", "--recipe", "cake"), "diffusion-mnist", 2),
        (("--data", "digits", "--out", "OUT", "--recipe", "vit-digits"), "are diffusion-", 2),
        (("--data", "nowhere", "--out", "OUT", "--start", "vit-nano"), "mmfm train diffusion", 2),
        (("--data", "digits", "--out", "OUT", "--steps", "0"), "0 steps", 2),
        (("--data", "digits", "--out", "OUT", "--minutes", "nan"), "nan minutes", 2),
        (("--data", "digits", "--out", "OUT", "--size", "7"), "8x8 to 64x64", 2),
        (("--data", "digits", "--out", "OUT", "--size", "65"), "8x8 to 64x64", 2),
        (("--data", "digits", "--out", "FILE"), "is a file", 2),
        (("--out", "OUT", "--resume"), "no run to go on with", 1),
        (("--data", "digits", "--out", "OUT", "--device", "cuda:9"), "cuda:9", 2),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    says: str,
    status: int,
) -> None:
    (tmp_path / "file").write_text("")
    places = {"OUT": str(tmp_path / "run"), "FILE": str(tmp_path / "file")}
    ended, line = said(capsys, *(places.get(word, word) for word in arguments))
    assert ended == status, line
    assert says in line and len(line.strip().splitlines()) == 1, line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "side", [pytest.param(4, id="too small"), pytest.param(200, id="too large")]
)
def test_pictures_of_an_unfit_size_ask_for_another(
    tmp_path: Path, tiny: DiffusionRecipe, side: int
) -> None:
    for number in range(4):
        draw(tmp_path / "data" / f"{number}.png", (0, 60 * number, 0), size=(side, side))
    idx_folder(tmp_path / "idx", side=side)
    for data in (tmp_path / "data", tmp_path / "idx"):
        with pytest.raises(BadData, match=f"{side}x{side}, where 8x8 to 64x64 .*--size"):
            next(train_diffusion(str(data), tmp_path / "run", tiny, device="cpu"))
    assert not (tmp_path / "run").exists()


def idx_folder(folder: Path, side: int = 8, count: int = 24) -> None:
    folder.mkdir()
    shapes = ((count, side, side), (count,), (4, side, side), (4,))
    for name, shape in zip(digits.FILES, shapes, strict=True):
        array = (np.arange(np.prod(shape)) % 3).astype(np.uint8)
        sizes = b"".join(size.to_bytes(4, "big") for size in shape)
        data = bytes([0, 0, 8, len(shape)]) + sizes + array.tobytes()
        (folder / f"{name}.gz").write_bytes(gzip.compress(data))


def test_a_damaged_data_file_is_named(tmp_path: Path, tiny: DiffusionRecipe) -> None:
    idx_folder(tmp_path / "idx")
    file = tmp_path / "idx" / f"{digits.FILES[0]}.gz"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(BadData, match="damaged or cut short"):
        next(train_diffusion(str(tmp_path / "idx"), tmp_path / "run", tiny, device="cpu"))
    assert not (tmp_path / "run").exists()


def test_mnist_of_a_wrong_checksum_is_named(
    tmp_path: Path, tiny: DiffusionRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    idx_folder(tmp_path / "mnist")
    monkeypatch.setenv("MMFM_DATA", str(tmp_path))
    with pytest.raises(BadData, match="checksum"):
        next(train_diffusion("mnist", tmp_path / "run", tiny, device="cpu"))


def test_a_run_is_not_gone_on_with_on_other_data(tmp_path: Path, tiny: DiffusionRecipe) -> None:
    idx_folder(tmp_path / "idx")
    out = tmp_path / "run"
    for report in train_diffusion(str(tmp_path / "idx"), out, tiny, device="cpu"):
        if report.step.number == 10:
            break
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(BadRun, match=r"was trained on .*idx, not on digits"):
        next(resume_diffusion(out, data="digits", device="cpu"))
    (tmp_path / "idx").rename(tmp_path / "old")
    idx_folder(tmp_path / "idx", count=27)
    with pytest.raises(BadRun, match=r"is not what it was: 21 grey .* 24 grey"):
        next(resume_diffusion(out, changes={"steps": 50}, device="cpu"))
    with pytest.raises(BadRun, match="--resume"):
        next(train_diffusion("digits", out, tiny, device="cpu"))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_run_goes_on_where_its_data_lie_now(tmp_path: Path, tiny: DiffusionRecipe) -> None:
    then, now, out = tmp_path / "then", tmp_path / "now", tmp_path / "run"
    idx_folder(then)
    list(train_diffusion(str(then), out, tiny.changed({"steps": 2}), device="cpu"))
    then.rename(now)
    idx_folder(tmp_path / "other", count=27)
    before = (out / "run.json").read_bytes()
    for named, error, line in (
        (None, NotHere, r"was trained on .*then, which is gone; .*--data where it lies now"),
        (tmp_path / "no", NotHere, r"was trained on .*then, and there is no .*no; put it back"),
        (tmp_path / "other", BadRun, r"other is not what .*then was: 21 grey .* 24 grey"),
    ):
        data = None if named is None else str(named)
        with pytest.raises(error, match=line):
            next(resume_diffusion(out, data=data, changes={"steps": 4}, device="cpu"))
    assert (out / "run.json").read_bytes() == before
    steps = resume_diffusion(out, data=str(now), changes={"steps": 4}, device="cpu")
    assert [report.step.number for report in steps] == [3, 4]
    # It is written down: nobody has to say it again, and all else is as it was.
    settings = json.loads((out / "run.json").read_text())
    assert settings == json.loads(before) | {"data": str(now), "recipe": settings["recipe"]}
    assert len(list(resume_diffusion(out, changes={"steps": 6}, device="cpu"))) == 2


@pytest.mark.parametrize("lacking", ["side", "channels", "classes", "sha256", "count"])
def test_what_is_lacking_of_the_pictures_of_a_run_is_named(
    tmp_path: Path, tiny: DiffusionRecipe, lacking: str
) -> None:
    out = tmp_path / "run"
    list(train_diffusion("digits", out, tiny.changed({"steps": 1}), device="cpu"))
    settings = json.loads((out / "run.json").read_text())
    del settings["pictures"][lacking]
    (out / "run.json").write_text(json.dumps(settings))
    with pytest.raises(BadRun, match=rf"damaged or of another version \(no '{lacking}'\)"):
        next(resume_diffusion(out, changes={"steps": 2}, device="cpu"))


def test_a_half_there_folder_and_a_run_of_another_kind_are_named(
    tmp_path: Path, tiny: DiffusionRecipe
) -> None:
    out = tmp_path / "run"
    list(train_diffusion("digits", out, tiny.changed({"steps": 2}), device="cpu"))
    text = (out / "run.json").read_text()
    for content, line in (
        (
            text.replace('"train": "diffusion"', '"train": "vit"'),
            r"is a run of 'vit'.*; mmfm train vit --out .*run --resume goes on",
        ),
        (text[:100], "not whole JSON"),
        (text.replace('"pictures"', '"images"'), "of another version"),
        (text.replace('"drop_label": 0.1', '"drop_label": 7'), "share from 0 to 1"),
    ):
        (out / "run.json").write_text(content)
        with pytest.raises((BadRun, BadInput), match=line):
            next(resume_diffusion(out, device="cpu"))
    (out / "run.json").unlink()
    with pytest.raises(BadRun, match="half there"):
        next(resume_diffusion(out, device="cpu"))
    (out / "run.json").write_text(text)
    checkpoint = out / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(BadRun, match=r"not a whole checkpoint.* --start .*run$"):
        next(resume_diffusion(out, device="cpu"))
    again = tiny.changed({"steps": 1}, start=str(out))  # as that says
    assert len(list(train_diffusion("digits", tmp_path / "again", again, device="cpu"))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "[plan]\nsteps = 1\n[loss]\ndrop_label = 2.0",
        "[plan]\nsteps = 1\n[loss]\ntimes = 'often'",
        "[plan]\nsteps = 1\n[loss]\nweight = 'heavy'",
        "[plan]\nsteps = 1\n[model]\nwidth = 8",
        "[plan]\nsteps = 1\n[sampling]\nsteps = 0",
        "[plan]\nsteps = 1\n[sampling]\nguidance = nan",
        "[plan]\nsteps = 1\n[sampling]\nsampler = 'dice'",
        "[plan]\nsteps = 1\n[sampling]\ntaste = 1",
        "sampling = 3\n[plan]\nsteps = 1",
    ],
)
def test_a_wrong_recipe_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(BadInput):
        DiffusionRecipe.read(str(tmp_path / "wrong.toml"))


def test_a_recipe_that_cannot_be_carried_out_leaves_no_folder(
    tmp_path: Path, tiny: DiffusionRecipe
) -> None:
    wrong = replace(tiny, model={**tiny.model, "groups": 3})
    with pytest.raises(BadInput, match="groups"):
        next(train_diffusion("digits", tmp_path / "run", wrong, device="cpu"))
    assert not (tmp_path / "run").exists()


def test_recipes_come_back_from_their_plain_form(tiny: DiffusionRecipe) -> None:
    for recipe in (tiny, DiffusionRecipe.read("diffusion-mnist")):
        again = DiffusionRecipe.of(json.loads(json.dumps(recipe.plain())))
        assert again == recipe
    assert tiny.sampling == Sampling(steps=3, guidance=1.2)


@pytest.mark.parametrize(("data", "side"), [("digits", 8), ("mnist", 28), ("a/folder", 64)])
def test_recipes_that_came_with_the_package_fit_their_data(data: str, side: int) -> None:
    recipe = DiffusionRecipe.read(recipe_for(data))
    assert recipe.plan.precision == "auto" and recipe.plan.minutes
    config = DenoiserConfig(**{**recipe.model, "image_size": side})
    assert config.classes == 10
    assert recipe_for("fashion") == "diffusion-mnist"
    assert DiffusionRecipe.read("diffusion-mnist").plan.minutes == 20
