"""What the machine can do, and the choice of threads, with a clock and a workload of our own."""

import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from mmfm import machine
from mmfm.errors import BadInput
from mmfm.machine import ThreadWatch

# --- the processor ------------------------------------------------------------------------------


def test_features_are_read_from_every_systems_own_words():
    intel = "processor : 0\nflags\t\t: fpu avx2 avx512f amx_bf16 avx512_vnni ht\nbugs : x\n"
    arm = "processor : 0\nFeatures\t: fp asimd i8mm bf16\n"
    apple = "hw.optional.neon: 1\nhw.optional.arm.FEAT_BF16: 0\nhw.optional.arm.FEAT_I8MM: 1\n"
    assert machine.linux_features(intel) == {"avx2", "avx512f", "amx_bf16", "avx512_vnni"}
    assert machine.linux_features(arm) == {"neon", "bf16", "i8mm"}
    assert machine.macos_features(apple) == {"neon", "i8mm"}
    assert machine.linux_features("processor : 0\n") == frozenset()


def test_a_system_that_tells_nothing_has_no_features(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine.platform, "system", lambda: "Plan9")
    assert machine.cpu_features.__wrapped__() == frozenset()


# --- devices ------------------------------------------------------------------------------------


def test_auto_takes_cuda_before_mps_before_cpu(monkeypatch: pytest.MonkeyPatch):
    def with_devices(cuda: int, mps: bool) -> str:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        return str(machine.pick_device("auto"))

    assert with_devices(cuda=0, mps=False) == "cpu"
    assert with_devices(cuda=0, mps=True) == "mps"
    assert with_devices(cuda=2, mps=True) == "cuda:0"
    assert str(machine.pick_device("cuda:1")) == "cuda:1"
    assert str(machine.pick_device("cuda")) == "cuda:0"


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "", "cuda:-1", "meta"])
def test_a_device_that_is_not_here_is_refused_and_what_is_here_is_named(name: str):
    with pytest.raises(BadInput, match=r"no device .* here are: auto, cpu") as caught:
        machine.pick_device(name)
    assert repr(name) in str(caught.value)


def test_bf16_is_fast_on_cuda_from_capability_8(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert not machine.bf16_is_fast("cuda:0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert machine.bf16_is_fast()


def test_bf16_on_a_cpu_is_judged_once_by_measuring(monkeypatch: pytest.MonkeyPatch):
    seconds = iter([*[1.0] * 6, *[2.0] * 6, *[2.0] * 6, *[2.0] * 6])  # bf16, fp32, twice
    monkeypatch.setattr(machine, "_timed", lambda work: next(seconds))
    machine._bf16_beats_fp32.cache_clear()
    assert machine.bf16_is_fast("cpu")
    assert machine.bf16_is_fast("cpu"), "the second answer takes no measurement"
    machine._bf16_beats_fp32.cache_clear()
    assert not machine.bf16_is_fast("cpu")
    machine._bf16_beats_fp32.cache_clear()


# --- threads and memory -------------------------------------------------------------------------


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A machine with 8 processors and 16 GB, whose limits a test writes into files."""
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    free = SimpleNamespace(available=16 * 10**9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)

    def write(own: str, **limits: str) -> None:
        (tmp_path / "own").write_text(own)
        for name, value in limits.items():
            path = tmp_path / "cgroup" / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(value)

    return write


def test_without_limits_all_allowed_processors_count(container):
    assert machine.usable_threads() == 8
    assert machine.memory_available() == 16 * 10**9


def test_a_quota_of_cgroup_2_binds_even_when_a_parent_sets_it(container):
    container(
        "0::/pod/box\n",
        pod__cpu_DOT_max="350000 100000\n",
        pod__box__cpu_DOT_max="max 100000\n",
        pod__memory_DOT_max="4000000000\n",
        pod__memory_DOT_current="1000000000\n",
        pod__box__memory_DOT_max="max\n",
    )
    assert machine.usable_threads() == 3
    assert machine.memory_available() == 3 * 10**9


def test_half_a_processor_still_runs_one_thread(container):
    container("0::/\n", cpu_DOT_max="50000 100000\n")
    assert machine.usable_threads() == 1


def test_a_quota_of_cgroup_1_binds_even_when_the_own_folder_is_not_mounted(container):
    container(
        "5:cpu,cpuacct:/docker/unseen\n4:memory:/docker/unseen\n",
        cpu__cpu_DOT_cfs_quota_us="50000\n",
        cpu__cpu_DOT_cfs_period_us="100000\n",
        memory__memory_DOT_limit_in_bytes="2000000000\n",
        memory__memory_DOT_usage_in_bytes="2500000000\n",
    )
    assert machine.usable_threads() == 1, "half a processor still runs one thread"
    assert machine.memory_available() == 0


def test_no_quota_of_cgroup_1_is_written_as_minus_one(container):
    container("5:cpu:/\n", cpu__cpu_DOT_cfs_quota_us="-1\n", cpu__cpu_DOT_cfs_period_us="100000\n")
    assert machine.usable_threads() == 8


class Work:
    """Work whose time depends on the threads that compute it, and a clock that it moves."""

    def __init__(self, **seconds: float) -> None:
        self.alone(**seconds)
        self.now = 0.0
        self.threads = 0
        self.probes: list[int] = []

    def alone(self, **seconds: float) -> None:
        self.seconds = {int(name.removeprefix("on_")): value for name, value in seconds.items()}

    def probe(self) -> None:
        self.probes.append(self.threads)
        self.now += self.seconds[self.threads]

    def watch(self) -> ThreadWatch:
        return ThreadWatch(
            clock=lambda: self.now, set_threads=lambda n: setattr(self, "threads", n)
        )

    def choose(self, watch: ThreadWatch) -> int:
        return watch.choose(self.probe, sorted(self.seconds))

    def steps_until_asked(self, watch: ThreadWatch, most: int) -> int | None:
        for step in range(1, most + 1):
            self.now += self.seconds[self.threads]
            if watch.observe(self.seconds[self.threads]):
                return step
        return None


def test_the_fastest_number_of_threads_is_chosen_and_set():
    work = Work(on_1=0.10, on_4=0.03, on_8=0.05)
    watch = work.watch()
    assert work.choose(watch) == 4 == work.threads == watch.threads
    assert watch.timings == pytest.approx({1: 0.10, 4: 0.03, 8: 0.05})


def test_within_five_per_cent_fewer_threads_win():
    assert (lambda w: w.choose(w.watch()))(Work(on_1=0.104, on_2=0.100)) == 1
    assert (lambda w: w.choose(w.watch()))(Work(on_1=0.110, on_2=0.100)) == 2


def test_a_hopeless_choice_costs_a_single_probe():
    work = Work(on_1=0.1, on_2=3.0)
    assert work.choose(work.watch()) == 1
    assert work.probes.count(2) == 1


def test_the_first_call_may_be_slow_without_ruling_a_choice_out():
    work = Work(on_1=0.10, on_2=0.05)
    slow_start = {2: 0.4}

    def probe() -> None:
        work.now += slow_start.pop(work.threads, 0)
        work.probe()

    assert work.watch().choose(probe, [1, 2]) == 2


def test_short_probes_are_repeated_until_a_round_says_something():
    work = Work(on_1=0.001, on_2=0.0015)
    assert work.choose(work.watch()) == 1
    assert work.probes.count(1) >= 3 * 50


def test_by_default_one_all_and_with_many_half_are_tried(monkeypatch: pytest.MonkeyPatch):
    work = Work(on_1=1.0, on_2=1.0, on_4=1.0, on_8=1.0)
    for most, tried in ((1, {1}), (2, {1, 2}), (4, {1, 4}), (8, {1, 4, 8})):
        monkeypatch.setattr(machine, "usable_threads", lambda most=most: most)
        work.probes.clear()
        work.watch().choose(work.probe)
        assert set(work.probes) == tried


def test_a_steady_pace_with_outliers_and_a_slow_drift_raises_no_alarm():
    work = Work(on_1=0.2, on_2=0.1)
    watch = work.watch()
    work.choose(watch)
    steady = [0.1 if step % 7 else 1.0 for step in range(300)]
    drift = [0.1 * 1.01**step for step in range(150)]
    assert not any(watch.observe(seconds) for seconds in steady + drift)


def test_a_collapse_is_noticed_within_five_steps():
    work = Work(on_1=0.2, on_2=0.1)
    watch = work.watch()
    assert work.choose(watch) == 2
    assert work.steps_until_asked(watch, 40) is None
    work.alone(on_1=0.25, on_2=3.0)
    step = work.steps_until_asked(watch, 40)
    assert step is not None and step <= 5
    assert work.choose(watch) == 1
    assert work.steps_until_asked(watch, 100) is None, "the new pace is the new reference"


def test_after_a_step_down_speed_comes_back_when_the_company_leaves():
    work = Work(on_1=0.25, on_2=3.0)
    watch = work.watch()
    assert work.choose(watch) == 1
    for pause in (60, 120, 240, 480, 960, 960):
        before = work.now
        assert work.steps_until_asked(watch, 5000)
        assert work.now - before == pytest.approx(pause, abs=1)
        assert work.choose(watch) == 1
    work.alone(on_1=0.2, on_2=0.1)
    assert work.steps_until_asked(watch, 10_000)
    assert work.choose(watch) == 2
    assert work.steps_until_asked(watch, 100_000) is None, "at full speed nothing is left to ask"


def test_company_that_comes_and_goes_is_asked_after_less_and_less_often():
    work = Work(on_1=0.2, on_2=0.1)
    watch = work.watch()
    work.choose(watch)
    pauses = []
    for _ in range(6):
        work.alone(on_1=0.2, on_2=0.1)
        assert work.choose(watch) == 2
        assert work.steps_until_asked(watch, 40) is None
        work.alone(on_1=0.25, on_2=3.0)
        assert work.steps_until_asked(watch, 5)
        assert work.choose(watch) == 1
        before = work.now
        assert work.steps_until_asked(watch, 5000)
        pauses.append(round(work.now - before))
    assert pauses == [60, 120, 240, 480, 960, 960]


def test_a_long_calm_wipes_the_memory_of_past_company():
    work = Work(on_1=0.2, on_2=3.0)
    watch = work.watch()
    for _ in range(3):
        work.choose(watch)
    work.alone(on_1=0.2, on_2=0.1)
    work.choose(watch)
    assert work.steps_until_asked(watch, 10_000) is None  # 1000 seconds
    work.alone(on_1=0.2, on_2=3.0)
    work.choose(watch)
    before = work.now
    assert work.steps_until_asked(watch, 5000)
    assert work.now - before == pytest.approx(60, abs=1)


def test_torch_really_computes_on_the_chosen_number_of_threads():
    before = torch.get_num_threads()
    matrix = torch.randn(64, 64)
    try:
        chosen = ThreadWatch().choose(lambda: torch.linalg.multi_dot([matrix] * 3).sum().item())
        assert torch.get_num_threads() == chosen <= machine.usable_threads()
    finally:
        torch.set_num_threads(before)
