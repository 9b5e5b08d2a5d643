"""Training goes on from any kill to the same weights, in one process as in two."""

import copy
import errno
import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from mmfm import train
from mmfm.data.draws import normal
from mmfm.errors import BadInput, BadRun, InUse, OutOfSpace
from mmfm.optimizers import Muon, make_optimizers, orthogonal
from mmfm.runs import Run
from mmfm.train import Batch, Plan, Step, fit, rate_factor


class Noisy:
    """A small regression whose inputs carry noise keyed by (seed, epoch, example)."""

    def __init__(self, count: int = 50) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(count, 6, generator=generator)
        self.y = torch.randn(count, 3, generator=generator)

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        return {"x": self.x[index] + 0.1 * normal(seed, epoch, index, 6), "y": self.y[index]}


def small_model() -> nn.Module:
    torch.manual_seed(1)
    # Dropout draws from torch's own random state, which a checkpoint must hold too.
    return nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Dropout(0.2), nn.Linear(16, 3))


def squared_error(model: nn.Module, batch: Batch) -> Tensor:
    return F.mse_loss(model(batch["x"]), batch["y"])


PLAN = Plan(steps=24, batch=12, threads=1, precision="fp32", save_steps=5, rate=1e-2)
MATRICES = ("0.weight", "3.weight")


def run_to_end(
    folder: Path, *, resume: bool = False, plan: Plan = PLAN, leave_at: int | None = None
) -> tuple[dict[str, Tensor], list[Step]]:
    """Train in a folder until the end, or walk away after a step; the weights and the steps."""
    model = small_model()
    averaged = copy.deepcopy(model)
    run = Run.resume(folder, "test") if resume else Run.start(folder, {"train": "test"})
    steps: list[Step] = []
    with run:
        for step in fit(
            model, Noisy(), squared_error, plan, averaged=averaged, matrices=MATRICES, run=run
        ):
            steps.append(step)
            if step.number == leave_at:
                break
    both = {f"model.{k}": v.clone() for k, v in model.state_dict().items()}
    return both | {f"averaged.{k}": v.clone() for k, v in averaged.state_dict().items()}, steps


def same_bits(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return run_to_end(tmp_path_factory.mktemp("unbroken") / "run")[0]


# --- stopping and going on ----------------------------------------------------------------------


@pytest.mark.parametrize("leave_at", [1, 5, 7, 23])
def test_a_run_that_was_left_goes_on_to_the_same_weights(
    tmp_path: Path, unbroken: dict[str, Tensor], leave_at: int
) -> None:
    run_to_end(tmp_path / "run", leave_at=leave_at)
    weights, steps = run_to_end(tmp_path / "run", resume=True)
    assert steps[0].number == leave_at + 1
    assert same_bits(weights, unbroken)


def test_asking_to_stop_ends_the_run_with_a_checkpoint_of_that_step(tmp_path: Path) -> None:
    model = small_model()
    with Run.start(tmp_path / "run", {"train": "test"}) as run:
        asked: list[int] = []
        steps = fit(model, Noisy(), squared_error, PLAN, run=run, stop=lambda: len(asked) >= 7)
        taken = [step for step in steps if not asked.append(step.number)]
    assert [step.number for step in taken] == list(range(1, 9))
    assert [step.last for step in taken] == [False] * 7 + [True]
    assert taken[-1].saved


def test_a_finished_run_has_nothing_more_to_do(tmp_path: Path, unbroken: dict[str, Tensor]) -> None:
    run_to_end(tmp_path / "run")
    weights, steps = run_to_end(tmp_path / "run", resume=True)
    assert steps == []
    assert same_bits(weights, unbroken)


def test_a_run_that_goes_on_by_another_plan_remembers_it(tmp_path: Path) -> None:
    out = tmp_path / "run"

    def train_by(plan: Plan) -> dict[str, dict[str, object]]:
        settings = {"train": "test", "recipe": {"size": 8, "plan": asdict(plan)}}
        begun = (out / "run.json").exists()
        with Run.resume(out, "test") if begun else Run.start(out, settings) as run:
            list(fit(small_model(), Noisy(), squared_error, plan, run=run))
        return json.loads((out / "run.json").read_text())

    first = train_by(PLAN)
    assert train_by(PLAN) == train_by(replace(PLAN, steps=9)) == first  # there was nothing to do
    longer = json.loads(json.dumps(asdict(replace(PLAN, steps=30))))
    assert train_by(Plan(**longer)) == first | {"recipe": {"size": 8, "plan": longer}}
    assert not list(out.glob(".*.part"))


def test_another_seed_gives_other_weights(tmp_path: Path, unbroken: dict[str, Tensor]) -> None:
    weights, _ = run_to_end(tmp_path / "run", plan=Plan(**{**vars(PLAN), "seed": 1}))
    assert not same_bits(weights, unbroken)


def test_any_whole_number_is_a_seed_as_the_nanoseconds_of_a_clock_are(tmp_path: Path) -> None:
    first, second = (
        run_to_end(tmp_path / str(seed), plan=replace(PLAN, seed=seed))[0]
        for seed in (1_763_838_103_123_456_789, 10**30)
    )
    assert not same_bits(first, second)


@pytest.mark.parametrize("seed", [0, 3, -3, 9_000_000_000_000])
def test_what_a_seed_shuffles_stays_as_it_was_when_earlier_runs_began(seed: int) -> None:
    seen: list[Tensor] = []

    class Watched(Noisy):
        def batch(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
            seen.append(index)
            return super().batch(index, epoch, seed)

    plan = replace(PLAN, steps=2, batch=50, seed=seed)
    list(fit(small_model(), Watched(), squared_error, plan))
    orders = [torch.Generator().manual_seed(seed * 1_000_003 + epoch) for epoch in (0, 1)]
    for index, order in zip(seen[-2:], orders, strict=True):
        assert torch.equal(index, torch.randperm(50, generator=order))


class Killed(BaseException):
    """Stands for a kill: nothing of the process runs after it."""


class Faults:
    """Kills at the n-th write, fsync or rename; half of a write reaches the file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.count, self.at, self.dead = 0, at, False
        real_open, real_fsync = Path.open, os.fsync
        real_replace, real_unlink = Path.replace, Path.unlink

        def opened(path: Path, mode: str = "r", *args: object, **kwargs: object) -> object:
            file = real_open(path, mode, *args, **kwargs)  # type: ignore[arg-type]
            if any(letter in mode for letter in "wxa"):
                real_write = file.write

                def write(data: bytes | str) -> int:
                    if self.strikes():
                        real_write(data[: len(data) // 2])
                        file.flush()
                        raise Killed
                    return real_write(data)

                file.write = write  # type: ignore[method-assign]
            return file

        def fsync(handle: int) -> None:
            if self.strikes():
                raise Killed
            real_fsync(handle)

        def replace(path: Path, target: Path) -> Path:
            if self.strikes():
                raise Killed
            return real_replace(path, target)

        def unlink(path: Path, missing_ok: bool = False) -> None:
            if not self.dead:  # the dead clean nothing up
                real_unlink(path, missing_ok)

        monkeypatch.setattr(Path, "open", opened)
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(Path, "replace", replace)
        monkeypatch.setattr(Path, "unlink", unlink)

    def strikes(self) -> bool:
        if self.dead:
            raise Killed
        self.count += 1
        self.dead = self.count == self.at
        return self.dead


def count_of_operations(tmp_path: Path) -> int:
    with pytest.MonkeyPatch.context() as monkeypatch:
        faults = Faults(monkeypatch, at=0)
        run_to_end(tmp_path / "counted")
    return faults.count


def test_a_kill_at_any_write_fsync_or_rename_loses_nothing(
    tmp_path: Path, unbroken: dict[str, Tensor]
) -> None:
    operations = count_of_operations(tmp_path)
    assert operations >= 4 * 6  # at least five checkpoints and the settings
    for at in range(1, operations + 1):
        folder = tmp_path / str(at)
        with pytest.MonkeyPatch.context() as monkeypatch:
            Faults(monkeypatch, at)
            with pytest.raises(Killed):
                run_to_end(folder)
        begun = (folder / "run.json").exists()
        weights, _ = run_to_end(folder, resume=begun)
        assert same_bits(weights, unbroken), f"other weights after a kill at operation {at}"
        steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").open()]
        assert steps == list(range(1, 25)), f"lines lost or doubled by a kill at operation {at}"
        assert not list(folder.glob(".*.part"))


def test_with_minutes_the_seconds_already_trained_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(train.time, "monotonic", lambda: now[0])

    def tick(step: Step, sittings: list[Step]) -> None:
        sittings.append(step)
        now[0] += 1.0

    plan = Plan(minutes=0.5, batch=12, threads=1, precision="fp32", save_seconds=5)
    first: list[Step] = []
    with Run.start(tmp_path / "run", {"train": "test"}) as run:
        for step in fit(small_model(), Noisy(), squared_error, plan, run=run):
            tick(step, first)
            if step.seconds >= 12:
                break
    now[0] += 3600  # an hour passes in which nothing trains
    second: list[Step] = []
    with Run.resume(tmp_path / "run", "test") as run:
        for step in fit(small_model(), Noisy(), squared_error, plan, run=run):
            tick(step, second)
    assert first[-1].seconds == pytest.approx(12)
    assert second[0].seconds == pytest.approx(12, abs=1.5)
    assert second[-1].seconds == pytest.approx(30, abs=1.5)
    assert len(second) == pytest.approx(19, abs=1)
    assert second[0].rate == pytest.approx(first[-1].rate, rel=0.1)
    assert second[-1].rate < 0.02 * max(step.rate for step in first)


# --- the folder of a run ------------------------------------------------------------------------


def test_a_folder_with_a_run_is_not_begun_anew(tmp_path: Path) -> None:
    run_to_end(tmp_path / "run", leave_at=3)
    with pytest.raises(BadRun, match=r"a run of mmfm train test; .*--resume"):
        Run.start(tmp_path / "run", {"train": "test"})


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(BadInput, match="not empty"):
        Run.start(tmp_path, {"train": "test"})
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(BadRun, match="no run to go on with"):
        Run.resume(tmp_path, "test")


def test_a_run_of_another_kind_or_model_is_refused(tmp_path: Path) -> None:
    run_to_end(tmp_path / "run", leave_at=3)
    with pytest.raises(BadRun, match="'test', not of 'vit'"):
        Run.resume(tmp_path / "run", "vit")
    other = nn.Linear(6, 3)
    with (
        Run.resume(tmp_path / "run", "test") as run,
        pytest.raises(BadRun, match="of another model"),
    ):
        next(fit(other, Noisy(), squared_error, PLAN, run=run))


def test_a_checkpoint_that_was_cut_short_is_named(tmp_path: Path) -> None:
    run_to_end(tmp_path / "run", leave_at=6)
    path = tmp_path / "run" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BadRun, match=r"not a whole checkpoint.*; name another folder"):
        run_to_end(tmp_path / "run", resume=True)
    (tmp_path / "run" / "model.safetensors").touch()
    with pytest.raises(BadRun, match=r"may begin with the model .* --start .*run$"):
        run_to_end(tmp_path / "run", resume=True)
    student = json.dumps({"train": "few-steps"})  # which no training takes on
    (tmp_path / "run" / "run.json").write_text(student)
    with (
        Run.resume(tmp_path / "run", "few-steps") as run,
        pytest.raises(BadRun, match="name another folder"),
    ):
        next(fit(small_model(), Noisy(), squared_error, PLAN, run=run))


def test_a_half_run_folder_is_named(tmp_path: Path) -> None:
    run_to_end(tmp_path / "run", leave_at=6)
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(BadRun, match="half there"):
        Run.resume(tmp_path / "run", "test")


@pytest.mark.parametrize("line", [b'{"step": 3, "lo', b"null", b"{}", b"\xff\xff", b""])
def test_a_damaged_line_of_the_metrics_is_named_and_may_be_taken_out(
    tmp_path: Path, line: bytes
) -> None:
    run_to_end(tmp_path / "run", leave_at=6)
    path = tmp_path / "run" / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:2], line, *lines[3:]]))
    with pytest.raises(BadRun, match=r"metrics\.jsonl: line 3 is damaged; take it out"):
        run_to_end(tmp_path / "run", resume=True)
    path.write_bytes(b"\n".join([*lines[:2], *lines[3:]]))
    assert run_to_end(tmp_path / "run", resume=True)[1][0].number == 7


def test_a_full_disk_does_not_keep_a_run_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = Run.start(tmp_path / "run", {"train": "test"})
    run.log(step=1)
    with monkeypatch.context() as disk, pytest.raises(OutOfSpace, match=r"metrics\.jsonl"):
        disk.setattr(os, "fsync", full)
        run.close()
    with Run.resume(tmp_path / "run", "test"):  # another process could go on with it
        pass


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    run_to_end(tmp_path / "run", leave_at=3)
    code = (
        "import sys, pathlib; from mmfm.runs import Run; from mmfm.errors import InUse\n"
        "try: Run.resume(pathlib.Path(sys.argv[1]), 'test')\n"
        "except InUse: sys.exit(9)"
    )
    with Run.resume(tmp_path / "run", "test"):
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")])
    assert other.returncode == 9
    with Run.resume(tmp_path / "run", "test"):  # and afterwards it is free again
        pass
    assert issubclass(InUse, Exception)


# --- the plan and the parts ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"steps": 5, "minutes": 1.0},
        {"steps": 0},
        {"minutes": math.nan},
        {"minutes": -1.0},
        {"steps": 5, "batch": 0},
        {"steps": 5, "batch": 8, "accumulate": 3},
        {"steps": 5, "threads": 0},
        {"steps": 5, "rate": math.inf},
        {"steps": 5, "fall": "stairs"},
        {"steps": 5, "hold": -0.1},
        {"steps": 5, "warmup": -0.1},
        {"steps": 5, "warmup": 0.3, "hold": 0.8},
        {"steps": 5, "clip": 0.0},
        {"steps": 5, "clip": math.nan},
        {"steps": 5, "hold": math.nan},
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        Plan(**wrong)  # type: ignore[arg-type]


def test_a_loss_that_is_no_number_ends_the_run_and_spares_the_checkpoint(tmp_path: Path) -> None:
    def explode(model: nn.Module, batch: Batch) -> Tensor:
        value = squared_error(model, batch)
        return value * math.nan if explode.calls > 8 else value  # type: ignore[attr-defined]

    explode.calls = 0  # type: ignore[attr-defined]
    with Run.start(tmp_path / "run", {"train": "test"}) as run:
        steps = fit(small_model(), Noisy(), squared_error, PLAN, run=run)
        for _ in range(5):
            next(steps)
        before = run.checkpoint.read_bytes()
        steps.close()
    explode.calls = 9  # type: ignore[attr-defined]
    with Run.resume(tmp_path / "run", "test") as run, pytest.raises(BadRun, match="lower rate"):
        list(fit(small_model(), Noisy(), explode, PLAN, run=run))
    assert run.checkpoint.read_bytes() == before


def test_accumulating_pieces_is_the_same_as_the_whole_batch() -> None:
    def losses(accumulate: int) -> list[float]:
        model = nn.Linear(6, 3)
        nn.init.ones_(model.weight)
        nn.init.zeros_(model.bias)
        plan = Plan(steps=6, batch=12, accumulate=accumulate, threads=1, precision="fp32")
        return [step.loss for step in fit(model, Noisy(), squared_error, plan)]

    assert losses(1) == pytest.approx(losses(4), rel=1e-5)


def test_every_example_is_shown_once_an_epoch() -> None:
    seen: list[int] = []

    class Watched(Noisy):
        def batch(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
            seen.extend(zip(epoch.tolist(), index.tolist(), strict=True))
            return super().batch(index, epoch, seed)

    plan = Plan(steps=10, batch=15, threads=1, precision="fp32")  # 150 shown: three epochs of 50
    list(fit(small_model(), Watched(), squared_error, plan))
    assert sorted(seen) == [(epoch, index) for epoch in range(3) for index in range(50)]
    assert [i for e, i in seen if e == 0] != [i for e, i in seen if e == 1]


def test_the_rate_climbs_then_falls_to_its_end() -> None:
    rates = [rate_factor(p / 100, warmup=0.1, final=0.2) for p in range(101)]
    assert rates[0] == 0
    assert max(rates) == rates[10] == pytest.approx(1)
    assert rates[-1] == pytest.approx(0.2)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)


def old_factor(progress: float, warmup: float, final: float) -> float:
    """What the rate was before it could be held or fall straight."""
    ramp = min(1.0, progress / warmup) if warmup > 0 else 1.0
    after = max(0.0, progress - warmup) / (1 - warmup) if warmup < 1 else 0.0
    return ramp * (final + (1 - final) * (1 + math.cos(math.pi * min(after, 1.0))) / 2)


@given(
    progress=st.floats(0, 1),
    warmup=st.floats(0, 1),
    final=st.floats(0, 1, allow_subnormal=False),
)
def test_a_plan_that_says_nothing_of_holding_has_the_rates_it_always_had(
    progress: float, warmup: float, final: float
) -> None:
    assert rate_factor(progress, warmup, final) == old_factor(progress, warmup, final)


def test_the_rate_can_be_held_and_fall_straight() -> None:
    rates = [
        rate_factor(p / 100, warmup=0.1, final=0.2, hold=0.3, fall="linear") for p in range(101)
    ]
    assert rates[5] == pytest.approx(0.5)
    assert rates[10:41] == pytest.approx([1.0] * 31)
    assert rates[70] == pytest.approx(0.6)
    falls = [a - b for a, b in itertools.pairwise(rates[40:])]
    assert falls == pytest.approx([0.8 / 60] * 60)
    assert rate_factor(1.0, warmup=0.1, final=0.0, hold=0.3) == pytest.approx(0)
    assert rate_factor(0.4, warmup=0.1, final=0.0, hold=0.3) == pytest.approx(1)


@pytest.mark.parametrize(("warmup", "hold"), [(0.5, 0.5), (0.0, 1.0), (1.0, 0.0)])
def test_a_rate_that_is_held_to_the_end_does_not_fall(warmup: float, hold: float) -> None:
    assert rate_factor(1.0, warmup, 0.0, hold=hold, fall="linear") == 1


def test_training_takes_its_steps_with_the_rates_of_the_plan() -> None:
    plan = Plan(**{**vars(PLAN), "steps": 10, "warmup": 0.2, "hold": 0.4, "fall": "linear"})
    rates = [step.rate / plan.rate for step in fit(small_model(), Noisy(), squared_error, plan)]
    wanted = [0.25, 0.75, 1, 1, 1, 1, 0.875, 0.625, 0.375, 0.125]
    assert rates == pytest.approx(wanted)


@pytest.mark.parametrize("limit", [{"steps": 3}, {"minutes": 1e-5}])
def test_no_step_is_taken_with_a_rate_of_zero(limit: dict[str, float]) -> None:
    model = small_model()
    before = model[0].weight.detach().clone()  # type: ignore[index, union-attr]
    plan = Plan(**{**vars(PLAN), "steps": None, **limit})
    rates = []
    for step in fit(model, Noisy(), squared_error, plan):
        rates.append(step.rate)
        if step.number == 1:
            assert not torch.equal(model[0].weight, before)  # type: ignore[index]
    assert min(rates) > 0


def test_a_bound_held_after_each_step_holds_for_the_average_and_the_checkpoint(
    tmp_path: Path,
) -> None:
    model = small_model()
    averaged = copy.deepcopy(model)

    def hold() -> None:
        model[0].bias.data.fill_(0.125)  # type: ignore[index, union-attr]

    with Run.start(tmp_path / "run", {"train": "test"}) as run:
        plan = Plan(**{**vars(PLAN), "steps": 3, "average": 0.0})
        list(fit(model, Noisy(), squared_error, plan, averaged=averaged, run=run, after_step=hold))
    assert (averaged[0].bias == 0.125).all()  # type: ignore[index]
    saved = load_file(tmp_path / "run" / "checkpoint.safetensors")
    assert (saved["model/0.bias"] == 0.125).all() and (saved["averaged/0.bias"] == 0.125).all()


def test_going_on_without_a_checkpoint_says_that_it_begins_again(tmp_path: Path) -> None:
    Run.start(tmp_path / "run", {"train": "test"}).close()  # and killed before the first checkpoint
    _, steps = run_to_end(tmp_path / "run", resume=True)
    assert steps[0].number == 1
    assert steps[0].notes[0] == "no checkpoint yet: beginning again"
    assert all("beginning" not in note for step in steps[1:] for note in step.notes)
    _, fresh = run_to_end(tmp_path / "fresh", leave_at=2)
    _, later = run_to_end(tmp_path / "fresh", resume=True)
    assert all("beginning" not in note for step in fresh + later for note in step.notes)


def test_the_average_follows_and_forgets() -> None:
    model, averaged = nn.Linear(2, 2), nn.Linear(2, 2)
    start = averaged.weight.detach().clone()
    train.follow(averaged, model, 0.75)
    assert torch.allclose(averaged.weight, 0.75 * start + 0.25 * model.weight)


def test_orthogonal_brings_singular_values_near_one() -> None:
    matrix = torch.randn(24, 40, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(matrix))
    assert values.min() > 0.6 and values.max() < 1.3
    # and keeps the directions: the nearest orthogonal matrix is U V^T
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    assert F.cosine_similarity(orthogonal(matrix).flatten(), (u @ v).flatten(), dim=0) > 0.98


def test_muon_moves_as_torchs_own_does() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(12, 20, bias=False), nn.Linear(12, 20, bias=False)
    theirs.load_state_dict(ours.state_dict())
    start = ours.weight.detach().clone()
    a = Muon([ours.weight], 0.05, weight_decay=0.1)
    b = torch.optim.Muon([theirs.weight], lr=0.05, weight_decay=0.1, momentum=0.95)
    for _ in range(5):
        x = torch.randn(7, 12)
        for layer, optimizer in ((ours, a), (theirs, b)):
            optimizer.zero_grad()
            layer(x).square().mean().backward()
            optimizer.step()
    # torch's iterates in bf16, ours in fp32 on a CPU: the same way to within that rounding
    moved = (ours.weight - start).detach().flatten()
    expected = (theirs.weight - start).detach().flatten()
    assert F.cosine_similarity(moved, expected, dim=0) > 0.998
    assert moved.norm() == pytest.approx(expected.norm().item(), rel=0.02)


def test_only_weights_of_layers_decay() -> None:
    vocabulary = nn.Embedding(9, 4)
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4), vocabulary)
    adam, muon = make_optimizers(
        model,
        rate=1e-3,
        matrix_rate=0.02,
        weight_decay=0.1,
        betas=(0.9, 0.99),
        matrices=["2.weight"],
    )
    decaying, others = adam.param_groups
    assert [id(p) for p in decaying["params"]] == [id(model[0].weight)]
    assert decaying["weight_decay"] > 0 == others["weight_decay"]
    assert len(others["params"]) == 5
    assert id(vocabulary.weight) in [id(p) for p in others["params"]]
    assert [id(p) for p in muon.param_groups[0]["params"]] == [id(model[2].weight)]


def test_a_change_of_threads_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watch:
        chosen: Iterator[int] = iter([2, 1])

        def choose(self, probe: object) -> int:
            threads = next(self.chosen)
            torch.set_num_threads(threads)
            return threads

        def observe(self, seconds: float) -> bool:
            return torch.get_num_threads() == 2

    monkeypatch.setattr(train, "ThreadWatch", Watch)
    before = torch.get_num_threads()
    try:
        plan = Plan(steps=3, batch=4, precision="fp32")
        steps = list(fit(small_model(), Noisy(), squared_error, plan))
    finally:
        torch.set_num_threads(before)
    assert steps[0].notes == ["computing in fp32 on 2 threads"]
    assert steps[1].notes == ["another program is busy: now on 1 thread"]


def test_measuring_the_pace_changes_neither_weights_nor_draws() -> None:
    def weights(precision: str, threads: int | None) -> Tensor:
        model = small_model()
        plan = Plan(steps=0 + 4, batch=12, precision=precision, threads=threads)  # type: ignore[arg-type]
        list(fit(model, Noisy(), squared_error, plan))
        return model[0].weight.detach().clone()  # type: ignore[index]

    before = torch.get_num_threads()
    try:
        # A layer this small is computed alike on any number of threads.
        assert torch.equal(weights("fp32", None), weights("fp32", 1))
    finally:
        torch.set_num_threads(before)


# --- several processes --------------------------------------------------------------------------

SCRIPT = """
import sys, json, pathlib, torch
sys.path.insert(0, sys.argv[2])
from test_train import Noisy, squared_error
from mmfm.runs import Run
from mmfm.team import Team
from mmfm.train import Plan, fit
torch.manual_seed(1)
model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.GELU(), torch.nn.Linear(16, 3))
plan = Plan(steps=50, batch=12, accumulate=2, threads=1, precision="fp32", rate=1e-2, save_steps=10)
out = pathlib.Path(sys.argv[1])
with Team.joined(torch.device("cpu")) as team, Run.start(out, {"train": "test"}) as run:
    steps = fit(model, Noisy(), squared_error, plan, matrices=("0.weight",), run=run)
    losses = [step.loss for step in steps]
if team.rank == 0:
    (out / "losses.json").write_text(json.dumps(losses))
"""


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    here = str(Path(__file__).parent)
    alone = [sys.executable, str(script), str(tmp_path / "one"), here]
    subprocess.run(alone, check=True, timeout=120)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    together = [*torchrun, "--nproc-per-node", "2", str(script), str(tmp_path / "two"), here]
    subprocess.run(together, check=True, timeout=180, capture_output=True)
    one = json.loads((tmp_path / "one" / "losses.json").read_text())
    two = json.loads((tmp_path / "two" / "losses.json").read_text())
    assert len(one) == 50
    assert two == pytest.approx(one, abs=1e-4)
    assert len((tmp_path / "two" / "metrics.jsonl").read_text().splitlines()) == 50


def test_muon_takes_a_convolution_as_the_matrix_of_its_patches() -> None:
    """All that one output channel looks at is one row; the kernel is moved as that matrix is."""
    generator = torch.Generator().manual_seed(0)
    kernel, push = torch.randn(2, 6, 4, 3, 3, generator=generator)
    folded = nn.Parameter(kernel.clone())
    flat = nn.Parameter(kernel.flatten(1).clone())
    beside = nn.Parameter(kernel.clone(memory_format=torch.channels_last))
    muon = Muon([folded, flat, beside], rate=0.1, weight_decay=0.01)
    for factor in (1.0, -0.5, 2.0):
        folded.grad, flat.grad = push * factor, push.flatten(1) * factor
        beside.grad = (push * factor).to(memory_format=torch.channels_last)
        muon.step()
    assert not torch.equal(folded, kernel)
    assert torch.equal(folded.flatten(1), flat)
    assert torch.equal(folded, beside)
