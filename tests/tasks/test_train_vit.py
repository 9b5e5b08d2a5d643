"""`mmfm train vit`: what a person starts, kills, resumes and gets."""

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

import pytest
import torch
from mixtures import make_sources, tables
from PIL import Image, ImageDraw
from safetensors.torch import load_file

import mmfm
from mmfm.data.labelled import load_labelled
from mmfm.errors import BadInput, BadRun, NotHere
from mmfm.models.checkpoints import save_clip
from mmfm.models.clip import CLIP, CLIPConfig, TextConfig
from mmfm.models.vit import ViTConfig
from mmfm.recipes import read_sources
from mmfm.tasks.train_vit import VitRecipe, accuracy, recipe_for, resume_vit, train_vit
from mmfm.train import Plan

TINY = """
[model]
patch_size = 2
dim = 16
depth = 1
heads = 2
mlp_dim = 16
cls_token = false
pool = "mean"
[augment]
shift = 1
[plan]
steps = 60
batch = 32
precision = "fp32"
threads = 1
save_steps = 7
[loss]
keep_patches = 0.5
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def mmfm_command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "mmfm.cli", *map(str, arguments)]


def run_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        mmfm_command(*arguments), capture_output=True, text=True, timeout=300, env=environment
    )


def draw_class_folders(root: Path, count: int = 12) -> None:
    """Circles and bars in folders of their names, a few colours and places each."""
    generator = random.Random(0)
    for name in ("circle", "bar"):
        (root / name).mkdir(parents=True)
        for number in range(count):
            picture = Image.new("RGB", (24, 20), "white")
            x, y = generator.randint(2, 10), generator.randint(2, 8)
            box = (x, y, x + 9, y + 9) if name == "circle" else (x, y, x + 9, y + 2)
            shape = ImageDraw.Draw(picture)
            (shape.ellipse if name == "circle" else shape.rectangle)(box, fill="black")
            picture.save(root / name / f"{number}.png")


# --- what comes out -----------------------------------------------------------------------------


def test_the_digits_are_learned_to_95_per_cent_on_the_held_out_third(tmp_path: Path) -> None:
    began = time.monotonic()
    recipe = VitRecipe.read("vit-digits")
    recipe = replace(recipe, plan=replace(recipe.plan, threads=1, precision="fp32"))
    reports = list(train_vit("digits", tmp_path / "run", recipe, device="cpu"))
    seconds = time.monotonic() - began
    assert reports[-1].pictures == 599  # a third of 1,797
    assert reports[-1].scores["accuracy"] >= 0.95
    print(f"digits: {reports[-1].scores['accuracy']:.1%} after {seconds:.0f} s")

    model = mmfm.load_vit(str(tmp_path / "run"))
    _, held_out = load_labelled("digits", size=None)
    assert held_out is not None
    # The model is left in 16 bits: a picture at the border may fall to the other side.
    assert accuracy(model, held_out) == pytest.approx(reports[-1].scores["accuracy"], abs=3 / 599)
    assert model.labels == tuple("0123456789")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, len(reports) + 1))
    assert Image.open(tmp_path / "run" / "loss.png").width > 300


def test_training_sees_pictures_as_the_finished_model_does(tmp_path: Path, tiny: Path) -> None:
    list(train_vit("digits", tmp_path / "run", VitRecipe.read(str(tiny)), device="cpu"))
    model = mmfm.load_vit(str(tmp_path / "run"))
    pictures, _ = load_labelled("digits", size=None)
    shown = model.preprocessing.normalise(pictures.images[:3])
    looked = [
        model.preprocessing(Image.fromarray(image.squeeze(-1).numpy()))
        for image in pictures.images[:3]
    ]
    assert torch.allclose(shown, torch.stack(looked), atol=1e-6)


def test_class_folders_train_and_what_cannot_be_read_is_named(tmp_path: Path, tiny: Path) -> None:
    draw_class_folders(tmp_path / "data")
    (tmp_path / "data" / "bar" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    data, out = tmp_path / "data", tmp_path / "my run"
    done = run_command("train", "vit", "--data", data, "--out", out, "--recipe", tiny, "--size", 16)
    assert done.returncode == 3
    assert f"mmfm demo patches --model '{out}'" in done.stdout
    assert done.stderr.count("torn.jpg") == 1
    assert done.stderr.count("pictures left out") == 2
    assert "Traceback" not in done.stderr
    assert mmfm.load_vit(str(out)).labels == ("bar", "circle")


def test_a_parquet_file_trains(tmp_path: Path, tiny: Path) -> None:
    import io

    import pyarrow
    import pyarrow.parquet

    rows = []
    for number in range(24):
        file = io.BytesIO()
        Image.new("RGB", (8, 8), ["black", "white"][number % 2]).save(file, "PNG")
        rows.append({"image": file.getvalue(), "label": number % 2})
    path = tmp_path / "pictures.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    (tmp_path / "classes.json").write_text('["night", "day"]')
    reports = list(train_vit(str(path), tmp_path / "run", VitRecipe.read(str(tiny)), device="cpu"))
    assert reports[-1].scores == {"accuracy": 1.0}
    assert mmfm.load_vit(str(tmp_path / "run")).labels == ("night", "day")


# --- killed, stopped, resumed -------------------------------------------------------------------


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(
    tmp_path: Path, tiny: Path
) -> None:
    whole = tmp_path / "whole"
    assert run_command("train", "vit", "--data", "digits", "--out", whole, "--recipe", tiny,
                       "--steps", 400).returncode == 0  # fmt: skip
    killed = tmp_path / "killed"
    generator = random.Random(5)
    kills = 0
    start = mmfm_command("train", "vit", "--data", "digits", "--out", killed, "--recipe", tiny,
                         "--steps", 400)  # fmt: skip
    resume = mmfm_command("train", "vit", "--out", killed, "--resume")
    for _ in range(3):
        seen = _metrics_size(killed)
        process = subprocess.Popen(
            resume if (killed / "run.json").exists() else start,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # Strike while it is training, at no particular moment of it.
        while process.poll() is None and _metrics_size(killed) == seen:
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 0.3))
        if process.poll() is None:
            process.kill()
            kills += 1
        process.wait()
    assert kills == 3
    assert run_command("train", "vit", "--out", killed, "--resume").returncode == 0
    ours, theirs = load_file(killed / "model.safetensors"), load_file(whole / "model.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    steps = [row["step"] for row in map(json.loads, (killed / "metrics.jsonl").open())
             if "loss" in row]  # fmt: skip
    assert steps == list(range(1, 401))


def _metrics_size(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return path.stat().st_size if path.exists() else 0


def test_ctrl_c_stops_with_a_checkpoint_and_says_how_to_go_on(tmp_path: Path, tiny: Path) -> None:
    out = tmp_path / "run"
    arguments = ("train", "vit", "--data", "digits", "--out", out, "--recipe", tiny)
    process = subprocess.Popen(
        mmfm_command(*arguments, "--steps", 100_000),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while _metrics_size(out) == 0 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=60)
    assert process.returncode == 130, complained
    assert f"--out {out} --resume" in said
    assert "Traceback" not in complained
    assert mmfm.load_vit(str(out)).config.depth == 1  # what it had is a usable model
    again = run_command("train", "vit", "--out", out, "--resume", "--minutes", "0.01")
    assert again.returncode == 0


@pytest.mark.slow
def test_torchrun_trains_the_same_as_one_process(tmp_path: Path, tiny: Path) -> None:
    arguments = ("train", "vit", "--data", "digits", "--recipe", tiny, "--steps", 50, "--out")
    assert run_command(*arguments, tmp_path / "one").returncode == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    together = [*torchrun, "--nproc-per-node", "2", "-m", "mmfm", *map(str, arguments)]
    done = subprocess.run(
        [*together, str(tmp_path / "two")], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    one, two = (
        [row["loss"] for row in map(json.loads, (tmp_path / name / "metrics.jsonl").open())
         if "loss" in row]
        for name in ("one", "two")
    )  # fmt: skip
    assert len(one) == 50
    assert two == pytest.approx(one, abs=1e-4)


def test_a_run_can_begin_with_a_trained_model_and_learn_other_classes(
    tmp_path: Path, tiny: Path
) -> None:
    recipe = VitRecipe.read(str(tiny))
    list(train_vit("digits", tmp_path / "first", recipe, device="cpu"))
    first = mmfm.load_vit(str(tmp_path / "first"))
    still = {"steps": 1, "threads": 1, "rate": 0.0, "matrix_rate": 0.0}
    again = replace(recipe, start=str(tmp_path / "first"), plan=Plan(**still))
    list(train_vit("digits", tmp_path / "second", again, device="cpu"))
    second = mmfm.load_vit(str(tmp_path / "second"))
    assert torch.equal(second.embed.weight, first.embed.weight)
    assert torch.equal(second.head.weight, first.head.weight)  # type: ignore[union-attr]

    draw_class_folders(tmp_path / "data")
    colours = replace(recipe, size=8)
    list(train_vit(str(tmp_path / "data"), tmp_path / "colours", colours, device="cpu"))
    with pytest.raises(BadInput, match="--size"):
        wrong = replace(colours, start=str(tmp_path / "colours"), size=16)
        next(train_vit(str(tmp_path / "data"), tmp_path / "run", wrong, device="cpu"))
    (tmp_path / "data" / "circle").rename(tmp_path / "data" / "disc")
    other = replace(colours, start=str(tmp_path / "colours"))
    list(train_vit(str(tmp_path / "data"), tmp_path / "third", other, device="cpu"))
    assert mmfm.load_vit(str(tmp_path / "third")).labels == ("bar", "disc")


def test_a_run_can_be_made_longer(tmp_path: Path, tiny: Path) -> None:
    list(train_vit("digits", tmp_path / "run", VitRecipe.read(str(tiny)), device="cpu"))
    reports = list(resume_vit(tmp_path / "run", changes={"steps": 70}, device="cpu"))
    assert [report.step.number for report in reports] == list(range(61, 71))


# --- what a newcomer gets wrong -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says", "status"),
    [
        (("--out", "OUT"), "--data is missing", 2),
        (("--data", "nowhere", "--out", "OUT"), "nowhere", 1),
        (("--data", "digits", "--out", "OUT", "--recipe", "cake"), "no recipe 'cake'", 2),
        (("--data", "digits", "--out", "OUT", "--steps", "0"), "0 steps", 2),
        (("--data", "digits", "--out", "OUT", "--minutes", "nan"), "nan minutes", 2),
        (("--data", "digits", "--out", "OUT", "--size", "7"), "do not divide", 2),
        (("--data", "digits", "--out", "FILE"), "is a file", 2),
        (("--data", "nowhere", "--out", "OUT", "--recipe", "vit-cifar-whole"), "--start RUN", 2),
        (("--data", "nowhere", "--out", "OUT", "--start", "mnist-nano"), "train vit or train", 2),
        (("--out", "OUT", "--resume"), "no run to go on with", 1),
        (("--data", "digits", "--out", "OUT", "--device", "cuda:9"), "cuda:9", 2),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    tmp_path: Path, arguments: tuple[str, ...], says: str, status: int
) -> None:
    (tmp_path / "file").write_text("")
    places = {"OUT": str(tmp_path / "run"), "FILE": str(tmp_path / "file")}
    done = run_command("train", "vit", *(places.get(word, word) for word in arguments))
    assert done.returncode == status, done.stderr
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ("mnist-nano", "name a run of mmfm train vit or train clip"),
        ("no-such", "no model 'no-such'.*; name a run of mmfm train vit"),
        ("vit-nano", "leave out --start"),
    ],
)
def test_a_start_that_does_not_fit_is_answered_with_what_does(
    tmp_path: Path, tiny: Path, start: str, says: str
) -> None:
    recipe = VitRecipe.read(str(tiny)).changed({}, start=start)
    with pytest.raises((BadInput, NotHere), match=says):
        next(train_vit("digits", tmp_path / "run", recipe, device="cpu"))
    with pytest.raises(BadInput, match="for another training; for this one there are vit-cifar"):
        VitRecipe.read("ruler-mnist")
    assert not (tmp_path / "run").exists()


def test_a_second_start_in_the_same_folder_points_to_resume(tmp_path: Path, tiny: Path) -> None:
    recipe = VitRecipe.read(str(tiny))
    list(train_vit("digits", tmp_path / "run", recipe, device="cpu"))
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    with pytest.raises(BadRun, match="--resume"):
        next(train_vit("digits", tmp_path / "run", recipe, device="cpu"))
    with pytest.raises(BadRun, match="was trained on digits"):
        next(resume_vit(tmp_path / "run", data="mnist", device="cpu"))
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_recipes_that_came_with_the_package_can_be_read() -> None:
    for data in ("digits", "mnist", "fashion", "some/folder"):
        assert VitRecipe.read(recipe_for(data)).plan.batch > 0
    assert VitRecipe.read("vit-cifar").size == 32


@pytest.mark.parametrize(
    "text",
    [
        "[plan]\nbananas = 3\nsteps = 1",
        "[plan",
        "[plan]\nsteps = 1\n[loss]\nkeep_patches = 2.0",
        "[plan]\nsteps = 1\nprecision = 'fp8'",
        "[plan]\nsteps = 1\nbetas = [2, 3]",
        "[plan]\nsteps = 1\nsave_steps = 0",
        "[plan]\nsteps = 1\n[model]\ndim = 'x'",
        "[plan]\nsteps = 1\n[model]\npool = 'sum'",
        "size = 'big'\n[plan]\nsteps = 1",
        "[plan]\nsteps = 1\n[modle]\ndim = 8",
    ],
)
def test_a_wrong_recipe_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(BadInput):
        VitRecipe.read(str(tmp_path / "wrong.toml"))


@pytest.mark.parametrize(
    "wrong", ["depth = -1", "mlp_dim = 0", "registers = -1", "[augment]\nshift = 9"]
)
def test_a_recipe_that_cannot_be_carried_out_leaves_no_folder(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(f"[plan]\nsteps = 1\n[model]\npatch_size = 2\n{wrong}")
    with pytest.raises(BadInput):
        next(train_vit("digits", tmp_path / "run", VitRecipe.read(str(path)), device="cpu"))
    assert not (tmp_path / "run").exists()


def test_one_picture_a_class_is_too_few_and_leaves_no_folder(tmp_path: Path, tiny: Path) -> None:
    draw_class_folders(tmp_path / "few", count=1)
    recipe = replace(VitRecipe.read(str(tiny)), size=8)
    with pytest.raises(BadInput, match="too few"):
        next(train_vit(str(tmp_path / "few"), tmp_path / "run", recipe, device="cpu"))
    assert not (tmp_path / "run").exists()


def test_a_kill_after_the_last_checkpoint_is_made_good_by_resuming(
    tmp_path: Path, tiny: Path
) -> None:
    recipe, out = VitRecipe.read(str(tiny)), tmp_path / "run"
    list(train_vit("digits", out, recipe, device="cpu"))
    whole = (out / "model.safetensors").read_bytes()
    for name in ("model.safetensors", "config.json", "loss.png"):
        (out / name).unlink()
    assert list(resume_vit(out, device="cpu")) == []
    assert (out / "model.safetensors").read_bytes() == whole
    assert (out / "config.json").is_file() and (out / "loss.png").is_file()


def test_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    recipe = replace(VitRecipe.read("vit-pictures"), plan=Plan(steps=1))
    with pytest.raises(NotHere, match="no data set"):
        next(train_vit(str(tmp_path / "gone"), tmp_path / "run", recipe))


# --- several sources, and a head alone ------------------------------------------------------------


def head_recipe(folder: Path, **changes: object) -> VitRecipe:
    """Classes of two sources, for a head on top of a model of 8x8 pixels."""
    plan = Plan(steps=150, batch=16, rate=0.1, precision="fp32", threads=1, average=0.9)
    sources = read_sources(tables(folder)[:2])
    recipe = VitRecipe(model={}, plan=plan, size=8, sources=sources, only_head=True)
    return replace(recipe, **changes)  # pyright: ignore[reportArgumentType]


def small_clip(folder: Path) -> CLIP:
    image = ViTConfig((8, 8), 4, dim=32, depth=1, heads=2, mlp_dim=32)
    text = TextConfig(vocabulary=40, context=6, dim=16, depth=1, heads=2, mlp_dim=24)
    clip = CLIP(CLIPConfig(image, text, dim=12))
    clip.reset(torch.Generator().manual_seed(0))
    save_clip(clip, folder)
    return clip


def test_a_head_alone_is_learned_over_the_picture_tower_of_a_clip(tmp_path: Path) -> None:
    sources = make_sources(tmp_path)
    clip = small_clip(tmp_path / "clip")
    recipe = head_recipe(sources, start=str(tmp_path / "clip"))
    reports = list(train_vit(str(sources), tmp_path / "run", recipe, device="cpu"))
    assert reports[-1].pictures == 6 + 2
    assert reports[-1].scores["accuracy"] >= 0.75, reports[-1].scores
    model = mmfm.load_vit(str(tmp_path / "run"))
    assert model.labels == ("sparrow", "trout", "oak", "bird", "fish")
    assert clip.image is not None
    for name, weight in clip.image.state_dict().items():
        # A run leaves its model in 16 bits.
        assert torch.equal(model.state_dict()[name], weight.half().float()), name
    assert model.head is not None and model.head.weight.abs().max() > 0.01
    assert model.preprocessing == clip.preprocessing


def test_such_a_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    sources = make_sources(tmp_path)
    small_clip(tmp_path / "clip")
    recipe = head_recipe(sources, start=str(tmp_path / "clip"))
    for name in ("whole", "parts"):
        steps = train_vit(str(sources), tmp_path / name, recipe, device="cpu")
        for report in steps:
            if name == "parts" and report.step.number == 20:
                break
        steps.close()
    shutil.rmtree(tmp_path / "clip")  # all that is needed of it is in the run
    list(resume_vit(tmp_path / "parts", device="cpu"))
    ours, theirs = (load_file(tmp_path / n / "model.safetensors") for n in ("parts", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert {weight.dtype for weight in ours.values()} == {torch.float16}
    settings = json.loads((tmp_path / "parts" / "run.json").read_text())
    del settings["model"]
    (tmp_path / "parts" / "run.json").write_text(json.dumps(settings))
    with pytest.raises(BadRun, match="of another version"):
        next(resume_vit(tmp_path / "parts", device="cpu"))


def test_a_run_is_not_gone_on_with_on_other_pictures(tmp_path: Path, tiny: Path) -> None:
    draw_class_folders(tmp_path / "data")
    recipe = replace(VitRecipe.read(str(tiny)), size=12)
    begun = train_vit(str(tmp_path / "data"), tmp_path / "run", recipe, device="cpu")
    next(begun)
    begun.close()
    bar = tmp_path / "data" / "bar" / "3.png"
    kept = bar.read_bytes()
    Image.new("RGB", (24, 20), "red").save(bar)
    with pytest.raises(BadRun, match=r"data is not what it was: .* put it back"):
        next(resume_vit(tmp_path / "run", device="cpu"))
    bar.write_bytes(kept)
    moved = (tmp_path / "data").rename(tmp_path / "moved")  # what has only moved has not changed
    steps = resume_vit(tmp_path / "run", data=str(moved), device="cpu")
    assert next(steps).step.number == 2
    steps.close()
    assert next(resume_vit(tmp_path / "run", device="cpu")).step.number == 3


def test_digits_are_no_folder_of_that_name_but_that_of_several_sources_is_one(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    small_clip(tmp_path / "clip")
    mixed = head_recipe(make_sources(tmp_path / "digits"), start=str(tmp_path / "clip"))
    alone = VitRecipe.read(str(tiny))
    for recipe, data in ((alone, "digits"), (mixed, str(tmp_path / "digits"))):
        begun = train_vit("digits", tmp_path / f"run-{len(data)}", recipe, device="cpu")
        next(begun)
        begun.close()
        told = json.loads((tmp_path / f"run-{len(data)}" / "run.json").read_text())
        assert told["data"] == data


def test_what_a_head_alone_cannot_learn_from_is_said(tmp_path: Path) -> None:
    sources = make_sources(tmp_path)
    with pytest.raises(BadInput, match="on top of a trained model"):
        next(train_vit(str(sources), tmp_path / "run", head_recipe(sources), device="cpu"))
    whole = {"sources": read_sources(tables(sources)), "model": {"patch_size": 4}}
    signs = head_recipe(sources, **whole, only_head=False)
    with pytest.raises(BadInput, match="new hand signs: these pictures have no classes"):
        next(train_vit(str(sources), tmp_path / "run", signs, device="cpu"))
    assert not (tmp_path / "run").exists()
    assert VitRecipe.read("vit-nano").only_head
