"""`mmfm train few-steps`: a student is made from its teacher, killed, resumed, drawn with."""

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
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from mmfm import cli
from mmfm.commands import few_steps as command
from mmfm.data.labelled import load_parts
from mmfm.diffusion import few_steps
from mmfm.errors import BadInput, BadRun
from mmfm.models.checkpoints import load_denoiser, save_denoiser
from mmfm.models.denoiser import Denoiser, DenoiserConfig
from mmfm.tasks.generate import Sampling, chosen, generate, order
from mmfm.tasks.train_diffusion import DiffusionRecipe, Shown, train_diffusion
from mmfm.tasks.train_few_steps import (
    METHODS,
    FewStepsRecipe,
    _School,
    _taken_on,
    recipe_for,
    resume_few_steps,
    train_few_steps,
)

CPU = torch.device("cpu")

TEACHER = """
[model]
widths = [8]
depths = [1]
attention = [0]
middle = 0
groups = 4
head_dim = 8
embed = 16
mlp = 0
[plan]
steps = 100
batch = 32
rate = 1e-2
save_steps = 100
precision = "fp32"
threads = 1
[sampling]
steps = 8
guidance = 1.2
"""
OWN = {
    "direct": "counts = [1, 2]\nways = 64",
    "progressive": "counts = [4, 2]",
    "shortcut": "counts = [1, 2, 4]\nshare = 0.5",
    "mean-flow": "share = 0.5\nhuber = 0.03",
    "consistency": "counts = [4, 8]",
}
PLAN = """
[plan]
steps = 20
batch = 16
rate = 5e-3
matrix_rate = 0.01
average = 0.9
weight_decay = 0.0
precision = "fp32"
threads = 1
save_steps = 8
[sampling]
sampler = "jump"
steps = 2
"""
EVERY = pytest.mark.parametrize("method", METHODS)


def recipe_of(method: str, teacher: Path | str, **plan: Any) -> FewStepsRecipe:
    import tomllib

    text = f'{PLAN}[loss]\nmethod = "{method}"\n{OWN[method]}\n'
    return FewStepsRecipe.of(tomllib.loads(text)).changed(plan, start=str(teacher))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small denoiser of 8x8 digits that has learned a little."""
    folder = tmp_path_factory.mktemp("teacher")
    (folder / "tiny.toml").write_text(TEACHER)
    recipe = DiffusionRecipe.read(str(folder / "tiny.toml"))
    list(train_diffusion("digits", folder / "run", recipe, device="cpu"))
    return folder / "run"


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command, should the command line not have it yet."""
    commands = cli.train.registered_commands
    if all(one.name != "few-steps" for one in commands):
        monkeypatch.setattr(cli.train, "registered_commands", [*commands])
        cli.train.command("few-steps")(command.train_few_steps)


PROGRAM = """
import sys
from mmfm import cli
from mmfm.commands.few_steps import train_few_steps
cli.train.command("few-steps")(train_few_steps)
sys.exit(cli.main())
"""


def started(*arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "train", "few-steps", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, process: "subprocess.Popen[str]", more_than: int = 0) -> None:
    while process.poll() is None and (not path.exists() or path.stat().st_size <= more_than):
        time.sleep(0.01)


def rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").open()]


def same_weights(one: Path, other: Path) -> bool:
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def drawn(den: Denoiser, **how: Any) -> Tensor:
    *_, last = generate(den, count=200, seed=3, **how)
    return last.x


# --- what comes out -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, marks=() if method == "direct" else pytest.mark.slow)
        for method in METHODS
    ],
)
def test_a_student_draws_in_two_steps_nearer_to_what_the_teacher_draws_in_many(
    method: str, teacher: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(method, teacher, steps=150, batch=32, save_steps=150)
    reports = list(train_few_steps("digits", tmp_path / "run", recipe, device="cpu"))
    losses = [report.step.loss for report in reports]
    assert all(loss == loss and loss < 100 for loss in losses)

    first, student = load_denoiser(str(teacher)), load_denoiser(str(tmp_path / "run"))
    assert student.sampling["sampler"] == "jump" and student.sampling["steps"] == 2
    many = drawn(first, steps=8)
    if method == "consistency":  # its second step begins with other noise: only one is comparable
        few, ours = drawn(first, steps=1), drawn(student, steps=1)
    else:
        few, ours = drawn(first, steps=2), drawn(student)
    before, after = ((x - many).square().mean().sqrt().item() for x in (few, ours))
    assert after < BETTER[method] * before, (before, after)


# The share of the distance that is left at most.
BETTER = {
    "direct": 0.8,
    "progressive": 0.8,
    "shortcut": 0.9,
    "mean-flow": 1.0,
    "consistency": 0.9,
}


@pytest.fixture(scope="module")
def trained(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each method that nobody disturbed."""
    folder = tmp_path_factory.mktemp("trained")
    for method in METHODS:
        list(train_few_steps("digits", folder / method, recipe_of(method, teacher), device="cpu"))
    return {method: folder / method for method in METHODS}


@EVERY
def test_the_folder_holds_a_model_and_says_what_everything_in_it_is(
    method: str, trained: dict[str, Path], teacher: Path
) -> None:
    out = trained[method]
    about = json.loads((out / "run.json").read_text())
    there = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert {name.rstrip("/") for name in about["files"]} == there
    assert about["train"] == "few-steps" and about["recipe"]["start"] == str(teacher)
    model = load_denoiser(str(out))
    jumps = "picture" if method == "consistency" else "anywhere"
    assert model.config == replace(load_denoiser(str(teacher)).config, jumps=jumps)
    taught = {"direct": (1, 2), "progressive": (2, 4), "shortcut": (1, 2, 4)}
    assert (model.taught, model.guidable) == (taught.get(method, ()), True)
    assert model.labels == tuple("0123456789")
    assert [row["step"] for row in rows(out)] == list(range(1, 21))
    with Image.open(out / "steps.gif") as film:
        assert film.n_frames == 3  # noise, and two steps from it
    sheets = sorted(path.name for path in (out / "grids").iterdir())
    assert sheets[0] == "000001.png" and sheets[-1] == "000020.png"


@EVERY
def test_with_no_rate_the_student_stays_the_teacher(
    method: str, teacher: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(method, teacher, steps=2, rate=0.0, matrix_rate=0.0)
    list(train_few_steps("digits", tmp_path / "run", recipe, device="cpu"))
    student, first = load_denoiser(str(tmp_path / "run")), load_denoiser(str(teacher))
    x, t, labels = torch.randn(4, 1, 8, 8), torch.rand(4), torch.tensor([1, 2, 3, 10])
    to = {} if method == "consistency" else {"to": t / 2}
    with torch.no_grad():
        assert torch.equal(student(x, t, labels, **to), first(x, t, labels))


@pytest.mark.parametrize("method", ["direct", "progressive"])
def test_minutes_are_kept_and_the_stages_follow_the_clock(
    method: str, teacher: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(method, teacher, steps=None, minutes=0.02, save_steps=None)
    reports = list(train_few_steps("digits", tmp_path / "run", recipe, device="cpu"))
    last = reports[-1].step
    assert 1.2 <= last.seconds < 10 and last.progress == 1 and last.seconds_left == 0
    state = load_file(tmp_path / "run" / "checkpoint.safetensors")
    assert state["model/stage"] == (1 if method == "progressive" else 0)


def test_a_student_draws_without_a_label_only_if_that_was_taught(
    tmp_path: Path, teacher: Path
) -> None:
    guided = replace(recipe_of("progressive", teacher, steps=2), drop_label=0.0)
    with pytest.raises(BadInput, match="drop_label of 0 is never learned"):
        wrong = replace(guided, sampling=Sampling("jump", 2, guidance=1.5))
        next(train_few_steps("digits", tmp_path / "wrong", wrong, device="cpu"))
    assert not (tmp_path / "wrong").exists()
    list(train_few_steps("digits", tmp_path / "run", guided, device="cpu"))
    assert not load_denoiser(str(tmp_path / "run")).guidable  # though its teacher is

    first = load_denoiser(str(teacher))
    first.guidable, first.sampling["guidance"] = False, 1.0
    save_denoiser(first, tmp_path / "first")
    for method in ("direct", "shortcut"):
        recipe, out = recipe_of(method, tmp_path / "first", steps=2), tmp_path / method
        with pytest.raises(BadInput, match="cannot teach that; set drop_label"):
            next(train_few_steps("digits", out, recipe, device="cpu"))
        list(train_few_steps("digits", out, replace(recipe, drop_label=0.0), device="cpu"))
        assert not load_denoiser(str(out)).guidable


# --- lessons --------------------------------------------------------------------------------------


def school(method: str, teacher: Path, **plan: Any) -> _School:
    recipe = recipe_of(method, teacher, **plan)
    student, how = _taken_on(recipe)
    pictures = load_parts("digits").train
    return _School(recipe, student, how, pictures, CPU)


def batch_of(one: _School, step: int = 0) -> dict[str, Tensor]:
    size = one.recipe.plan.batch
    index, length = torch.arange(size) + step * size, len(one.examples)
    return one.examples.batch(index % length, index // length, 0)


def test_the_teacher_is_guided_as_it_draws_best(teacher: Path) -> None:
    one, first = school("progressive", teacher), load_denoiser(str(teacher))
    assert one.how == chosen(first) and one.how.guidance == 1.2
    x, t, labels = torch.randn(3, 1, 8, 8), torch.rand(3), torch.tensor([1, 2, 10])
    with torch.no_grad():
        with_, without = first(x, t, labels), first(x, t)
        said = one.teacher(x, t, labels)
    torch.testing.assert_close(said, without + 1.2 * (with_ - without))


def test_ways_are_those_that_the_teacher_draws_by(teacher: Path) -> None:
    one = school("direct", teacher)
    batch = batch_of(one)
    den = load_denoiser(str(teacher))
    spans = {(1.0, 0.0), (1.0, 0.5), (0.5, 0.0)}
    pairs = set(zip(batch["t"].tolist(), batch["to"].tolist(), strict=True))
    assert pairs <= spans and len(pairs) >= 2
    # From each noise, drawn in the usual way, one comes to where the lesson says.
    for number in torch.nonzero(batch["t"] == 1).flatten()[:4].tolist():
        label = int(batch["condition"][number])
        x = batch["x"][number : number + 1]
        asked = order(den, [None if label == 10 else label], count=1, how=chosen(den))
        for step in _walk(asked, x):
            if abs(step.t - 1 / 8 - float(batch["to"][number])) < 1e-6:
                landed = x - (1 - batch["to"][number]) * batch["way"][number]
                torch.testing.assert_close(landed, step.x, rtol=0, atol=0.01)  # kept as halves
                break
        else:
            pytest.fail("no step leads there")


def _walk(asked: Any, noise: Tensor) -> Any:
    from mmfm.diffusion.course import course
    from mmfm.tasks.generate import walk

    way = course("flow", asked.how.steps)
    labels = asked._condition(torch.arange(1))
    return walk(asked.den, asked.how, noise, way, labels, noise=lambda: noise)


def test_new_ways_come_first_and_are_walked_once(teacher: Path) -> None:
    one = school("direct", teacher)
    ways: Any = one.examples
    walked: list[int] = []
    first_walk = ways._walked
    ways._walked = lambda new, seed: walked.append(len(new)) or first_walk(new, seed)
    batches = [batch_of(one, step) for step in range(10)]
    assert walked == [16, 16, 16, 16]  # 64 ways
    again = school("direct", teacher)
    for step in (9, 2, 0):  # whenever it is asked for, and in whatever order
        batch = batch_of(again, step)
        assert all(torch.equal(batch[name], batches[step][name]) for name in batch)
    assert not torch.equal(batches[0]["x"], batches[1]["x"])
    dropped = torch.cat([batch["condition"] == 10 for batch in batches[:4]]).float().mean()
    assert 0 < dropped < 0.35


def test_a_shortcut_batch_teaches_jumps_of_every_length_and_directions(teacher: Path) -> None:
    one = school("shortcut", teacher, batch=64)
    batch = batch_of(one)
    span = one.averaged.student.span
    assert span is not None
    with torch.no_grad():
        for weight in span.parameters():  # who has heard of lengths already
            weight.add_(torch.randn_like(weight))
        lesson = one_lesson(one, batch)
    lengths = (lesson.t - lesson.to).tolist()
    assert sorted({round(length, 4) for length in lengths}) == [0, 0.25, 0.5, 1]
    assert sum(length > 0 for length in lengths) == 32
    short = lesson.t == lesson.to
    with torch.no_grad():
        said = one.teacher(lesson.x[short], lesson.t[short], batch["condition"][short])
        student = one.averaged.student
        labels = batch["condition"][~short]
        long = few_steps.shortcut(
            student, lesson.x[~short], lesson.t[~short], lesson.to[~short], labels, smallest=0.125
        )
    torch.testing.assert_close(lesson.way[short], said)
    torch.testing.assert_close(lesson.way[~short], long)


def one_lesson(one: _School, batch: dict[str, Tensor]) -> Any:
    from mmfm.tasks.train_few_steps import _LESSONS

    return _LESSONS[one.recipe.method](one, batch)


def test_who_has_learned_the_first_stage_teaches_the_second(teacher: Path) -> None:
    one = school("progressive", teacher, steps=4)
    with torch.no_grad():
        for weight in one.averaged.student.parameters():
            weight.add_(0.1)
    stages = []
    for _ in range(4):
        one.after_step()
        stages.append(int(one.pupil.stage))
    assert stages == [0, 1, 1, 1]
    taught, learned = one.pupil.teacher.state_dict(), one.averaged.student.state_dict()
    assert all(torch.equal(taught[name], learned[name]) for name in taught)
    assert not any(weight.requires_grad for weight in one.pupil.teacher.parameters())
    lesson = one_lesson(one, batch_of(one))
    assert {round(length, 4) for length in (lesson.t - lesson.to).tolist()} == {0.5}


@EVERY
def test_a_loss_in_half_precision_reaches_every_weight(method: str, teacher: Path) -> None:
    """Autocast keeps the weights that it has cast: those of the lesson know no gradient."""
    one = school(method, teacher)
    batch = batch_of(one)
    with torch.autocast("cpu", torch.bfloat16):
        loss = one.loss(one.pupil, batch)
    loss.backward()
    without = [
        name
        for name, weight in one.pupil.student.named_parameters()
        if weight.grad is None or not weight.grad.isfinite().all()
    ]
    assert without == []
    assert all(weight.grad is None for weight in one.pupil.teacher.parameters())
    assert one.pupil.student.net.leave.weight.grad.abs().max() > 0


# --- stopped, killed, resumed ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "leave_at"),
    [("progressive", 1), ("progressive", 9), *((one, 11) for one in METHODS)],
)
def test_a_run_that_was_left_goes_on_to_the_same_weights(
    method: str, leave_at: int, tmp_path: Path, trained: dict[str, Path], teacher: Path
) -> None:
    out = tmp_path / "run"
    for report in train_few_steps("digits", out, recipe_of(method, teacher), device="cpu"):
        if report.step.number == leave_at:
            break
    steps = [report.step.number for report in resume_few_steps(out, device="cpu")]
    assert steps == list(range(leave_at + 1, 21))
    assert same_weights(out, trained[method])


@pytest.mark.parametrize("method", ["direct", "progressive"])
def test_a_student_goes_on_when_its_teacher_has_gone(
    method: str, tmp_path: Path, trained: dict[str, Path], teacher: Path
) -> None:
    first, out = Path(shutil.copytree(teacher, tmp_path / "first")), tmp_path / "run"
    for report in train_few_steps("digits", out, recipe_of(method, first), device="cpu"):
        if report.step.number == 9:
            break
    shutil.rmtree(first)
    steps = [report.step.number for report in resume_few_steps(out, device="cpu")]
    assert steps == list(range(10, 21))
    assert same_weights(out, trained[method])


def test_a_run_of_before_its_student_was_kept_goes_on(tmp_path: Path, teacher: Path) -> None:
    out = tmp_path / "run"
    recipe = recipe_of("shortcut", teacher, steps=2)
    list(train_few_steps("digits", out, recipe, device="cpu"))
    settings = json.loads((out / "run.json").read_text())
    del settings["model"], settings["teacher"]
    (out / "run.json").write_text(json.dumps(settings))
    longer = resume_few_steps(out, changes={"steps": 3}, device="cpu")
    assert [report.step.number for report in longer] == [3]


def test_a_finished_run_stays_and_can_be_made_longer(tmp_path: Path, teacher: Path) -> None:
    out = tmp_path / "run"
    list(train_few_steps("digits", out, recipe_of("direct", teacher), device="cpu"))
    whole = (out / "model.safetensors").read_bytes()
    (out / "model.safetensors").unlink()
    assert list(resume_few_steps(out, device="cpu")) == []
    assert (out / "model.safetensors").read_bytes() == whole
    longer = list(resume_few_steps(out, changes={"steps": 22}, device="cpu"))
    assert [report.step.number for report in longer] == [21, 22]


def write_recipe(path: Path, method: str) -> Path:
    path.write_text(f'{PLAN}[loss]\nmethod = "{method}"\n{OWN[method]}\n')
    return path


def test_ctrl_c_leaves_a_whole_folder_and_says_how_to_go_on(tmp_path: Path, teacher: Path) -> None:
    out, recipe = tmp_path / "run", write_recipe(tmp_path / "tiny.toml", "direct")
    process = started(
        "--from", teacher, "--data", "digits", "--recipe", recipe, "--steps", 10**6, "--out", out
    )
    wait_for(out / "metrics.jsonl", process)
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=60)
    assert process.returncode == 130, complained
    assert f"mmfm train few-steps --out {out} --resume" in said
    assert "Traceback" not in complained
    assert load_denoiser(str(out)).config.jumps == "anywhere"
    assert (out / "learning.gif").is_file() and (out / "steps.gif").is_file()


@pytest.mark.usefixtures("registered")
def test_the_command_that_draws_can_be_copied_whatever_the_folder_is_called(
    tmp_path: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, recipe = tmp_path / "my run", write_recipe(tmp_path / "tiny.toml", "mean-flow")
    given = ("--from", teacher, "--data", "digits", "--recipe", recipe, "--steps", 1, "--out", out)
    assert cli.main(["train", "few-steps", *map(str, given)]) == 0
    assert f"mmfm sample '{out}' --out grid.png" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("method", ["direct", "progressive"])
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(
    method: str, tmp_path: Path, teacher: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    recipe = write_recipe(tmp_path / "tiny.toml", method)
    given = ("--from", teacher, "--data", "digits", "--recipe", recipe, "--steps", 400)
    process = started(*given, "--out", whole)
    assert process.wait() == 0
    generator, kills = random.Random(5), 0
    for _ in range(4):
        begun = (killed / "run.json").exists()
        metrics = killed / "metrics.jsonl"
        seen = metrics.stat().st_size if metrics.exists() else 0
        process = started(*(("--out", killed, "--resume") if begun else (*given, "--out", killed)))
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
    assert not list(killed.rglob("*.part"))


def test_a_run_that_another_process_teaches_is_left_alone_and_can_be_drawn_with(
    tmp_path: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, grid = tmp_path / "run", tmp_path / "grid.png"
    at_work = train_few_steps("digits", out, recipe_of("direct", teacher), device="cpu")
    while next(at_work).step.number < 10:  # it has saved what it had at 8
        pass
    before = (out / "checkpoint.safetensors").read_bytes()
    for arguments in (("--resume",), ("--from", teacher, "--data", "digits")):
        ended = cli.main(["train", "few-steps", "--out", str(out), *map(str, arguments)])
        line = capsys.readouterr().err
        assert ended == 1 and len(line.strip().splitlines()) == 1
        assert ("another process is training there" in line) == (arguments == ("--resume",))
    assert cli.main(["sample", str(out), "--count", "2", "--out", str(grid)]) == 0
    assert grid.is_file() and (out / "checkpoint.safetensors").read_bytes() == before
    assert [report.step.number for report in at_work] == list(range(11, 21))


def together(*arguments: object) -> None:
    """Teach in two processes, as torchrun starts them."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*torchrun, "--nproc-per-node", "2", "-m", "mmfm", "train", "few-steps"]
    done = subprocess.run(
        [*command, *map(str, arguments), "--device", "cpu"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@EVERY
def test_torchrun_teaches_as_well_as_one_process(
    method: str, tmp_path: Path, teacher: Path, trained: dict[str, Path]
) -> None:
    out, recipe = tmp_path / "run", write_recipe(tmp_path / "tiny.toml", method)
    together("--from", teacher, "--data", "digits", "--recipe", recipe, "--out", out)
    ours, one = ([row["loss"] for row in rows(folder)] for folder in (out, trained[method]))
    assert len(ours) == len(one) == 20
    if method == "direct":  # whoever walks its ways: each hangs on its number alone
        assert ours == pytest.approx(one, rel=1e-3)
    else:  # each process draws noises of its own
        assert sum(ours) == pytest.approx(sum(one), rel=0.5)
    assert load_denoiser(str(out)).sampling == load_denoiser(str(trained[method])).sampling
    assert (out / "learning.gif").is_file() and not list(out.rglob("*.part"))
    together("--out", out, "--resume", "--steps", 22)
    assert [row["step"] for row in rows(out)] == list(range(1, 23))


# --- what a newcomer gets wrong -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says", "status"),
    [
        (("--out", "OUT"), "--from is missing", 2),
        (("--from", "TEACHER", "--out", "OUT"), "--data is missing", 2),
        (("--from", "nobody", "--data", "digits", "--out", "OUT"), "nobody", 1),
        (("--from", "vit-nano", "--data", "digits", "--out", "OUT"), "mmfm train diffusion", 2),
        (("--from", "STUDENT", "--data", "digits", "--out", "OUT"), "few steps itself", 2),
        (("--from", "NOISE", "--data", "digits", "--out", "OUT"), "'flow'", 2),
        (("--from", "READS", "--data", "digits", "--out", "OUT"), "reads words", 2),
        (("--from", "mnist-nano", "--data", "FOLDER", "--out", "OUT"), "labels", 2),
        (("--from", "TEACHER", "--data", "nowhere", "--out", "OUT"), "nowhere", 1),
        (("--from", "TEACHER", "--data", "digits", "--out", "OUT", "--method", "x"), "shortcut", 2),
        (
            ("--from", "TEACHER", "--data", "digits", "--out", "OUT", "--recipe", "FILE"),
            "not a recipe",
            2,
        ),
        (
            (
                *("--from", "TEACHER", "--data", "digits", "--out", "OUT"),
                *("--recipe", "few-steps-direct", "--method", "direct"),
            ),
            "--method or --recipe",
            2,
        ),
        (
            ("--from", "TEACHER", "--data", "digits", "--out", "OUT", "--minutes", "0"),
            "0.0 minutes",
            2,
        ),
        (("--from", "TEACHER", "--data", "digits", "--out", "FILE"), "is a file", 2),
        (("--out", "OUT", "--resume"), "no run to go on with", 1),
        (("--out", "OUT", "--resume", "--from", "TEACHER"), "leave out --from", 2),
        (("--out", "TEACHER", "--resume"), "is a run of 'diffusion'", 1),
    ],
)
@pytest.mark.usefixtures("registered")
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    tmp_path: Path,
    teacher: Path,
    trained: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    says: str,
    status: int,
) -> None:
    (tmp_path / "file").write_text("no recipe")
    for number in range(12):
        folder = tmp_path / "pictures" / ("dark" if number % 2 else "light")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (28, 28), 20 * number).save(folder / f"{number}.png")
    config = DenoiserConfig(
        image_size=8, widths=(8,), depths=(1,), attention=(), embed=16, objective="noise"
    )
    save_denoiser(Denoiser(config, tuple("0123456789")), tmp_path / "noise")
    reads = {"attention": (0,), "head_dim": 8, "text_dim": 8, "text_context": 8}
    config = replace(config, objective="flow", **reads)  # type: ignore[arg-type]
    save_denoiser(Denoiser(config, tuple("0123456789")), tmp_path / "reads")
    places = {
        "OUT": tmp_path / "run",
        "FILE": tmp_path / "file",
        "FOLDER": tmp_path / "pictures",
        "NOISE": tmp_path / "noise",
        "READS": tmp_path / "reads",
        "TEACHER": teacher,
        "STUDENT": trained["direct"],
    }
    before = (teacher / "run.json").read_bytes()
    ended = cli.main(["train", "few-steps", *(str(places.get(word, word)) for word in arguments)])
    line = capsys.readouterr().err
    assert ended == status, line
    assert says in line and len(line.strip().splitlines()) == 1, line
    assert not (tmp_path / "run").exists()
    assert (teacher / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("loss", "rest"),
    [
        ('method = "direct"\ncounts = [1, 2]', ""),
        ('method = "direct"\nways = 64', ""),
        ('method = "direct"\ncounts = [1, 2]\nways = 8', ""),
        ('method = "direct"\ncounts = [1, 2]\nways = 64\nshare = 0.5', ""),
        ('method = "direct"\ncounts = [0]\nways = 64', ""),
        ('method = "direct"\ncounts = 2\nways = 64', ""),
        ('method = "direct"\ncounts = [1]\nways = 64\ntimes = "logit-normal"', ""),
        ('method = "direct"\ncounts = [1]\nways = 64', "[augment]\nshift = 1"),
        ('method = "progressive"\ncounts = [4, 1]', ""),
        ('method = "shortcut"\ncounts = [1, 4]\nshare = 0.25', ""),
        ('method = "shortcut"\ncounts = [1, 2]\nshare = 1.5', ""),
        ('method = "mean-flow"\nshare = 0.25\ncounts = [2]', ""),
        ('method = "mean-flow"\nshare = 0.25\nhuber = nan', ""),
        ('method = "consistency"', ""),
        ('method = "magic"', ""),
        ('method = "mean-flow"\nshare = 0.25', "[model]\nwidths = [8]"),
        ('method = "mean-flow"\nshare = 0.25', "[teacher]\ntaste = 1"),
    ],
)
def test_a_wrong_recipe_is_named(tmp_path: Path, loss: str, rest: str) -> None:
    (tmp_path / "wrong.toml").write_text(f"{PLAN}[loss]\n{loss}\n{rest}")
    with pytest.raises(BadInput) as caught:
        FewStepsRecipe.read(str(tmp_path / "wrong.toml"))
    assert "\n" not in str(caught.value)


def test_a_student_must_be_drawn_by_jumps_and_a_teacher_not_at_random(teacher: Path) -> None:
    good = recipe_of("direct", teacher)
    with pytest.raises(BadInput, match="'jump'"):
        replace(good, sampling=Sampling())
    with pytest.raises(BadInput, match="size"):
        replace(good, size=8)
    with pytest.raises(BadInput, match="another way each time"):
        _taken_on(replace(good, teacher={"sampler": "ddpm"}))
    with pytest.raises(BadInput, match="do not divide into 2"):
        _taken_on(replace(good, teacher={"steps": 7}))
    with pytest.raises(BadInput, match="needs a teacher"):
        _taken_on(replace(good, start=None))


def test_recipes_come_back_from_their_plain_form(teacher: Path) -> None:
    for method in METHODS:
        for recipe in (recipe_of(method, teacher), FewStepsRecipe.read(recipe_for(method))):
            again = FewStepsRecipe.of(json.loads(json.dumps(recipe.plain())))
            assert again == recipe and again.method == method
    asked = replace(recipe_of("direct", teacher), teacher={"guidance": 1.5, "interval": [0.2, 0.9]})
    again = FewStepsRecipe.of(json.loads(json.dumps(asked.plain())))
    assert _taken_on(again)[1].interval == (0.2, 0.9) and _taken_on(again)[1].guidance == 1.5


def test_a_run_is_not_gone_on_with_on_other_data_nor_as_another_kind(
    tmp_path: Path, teacher: Path
) -> None:
    out = tmp_path / "run"
    for report in train_few_steps("digits", out, recipe_of("mean-flow", teacher), device="cpu"):
        if report.step.number == 3:
            break
    text = (out / "run.json").read_text()
    about = json.loads(text)
    for change, line in (
        ({"pictures": {**about["pictures"], "count": 3}}, "is not what it was"),
        ({"train": "vit"}, "is a run of 'vit'"),
        ({"recipe": {}}, "another version|needs"),
    ):
        (out / "run.json").write_text(json.dumps(about | change))
        with pytest.raises((BadRun, BadInput), match=line):
            next(resume_few_steps(out, device="cpu"))
    (out / "run.json").write_text(text)
    with pytest.raises(BadRun, match="not on mnist"):
        next(resume_few_steps(out, data="mnist", device="cpu"))
    with pytest.raises(BadRun, match="--resume"):
        next(train_few_steps("digits", out, recipe_of("direct", teacher), device="cpu"))


def test_a_batch_that_is_shown_is_the_denoisers(teacher: Path) -> None:
    one = school("shortcut", teacher)
    assert isinstance(one.examples, Shown) and len(one.examples) == len(load_parts("digits").train)
