"""What this machine can do: its processor, its devices, its threads, its memory."""

import ctypes
import functools
import os
import platform
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from mmfm.errors import BadInput

if TYPE_CHECKING:
    import torch

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")

_M_ARENA_MAX = -8  # of malloc.h

# What the systems call a feature -> what we call it. Only those that decide how fast a model runs.
LINUX_FEATURES = {
    "avx2": "avx2",
    "avx_vnni": "avx_vnni",
    "avx512f": "avx512f",
    "avx512_vnni": "avx512_vnni",
    "avx512_bf16": "avx512_bf16",
    "amx_bf16": "amx_bf16",
    "amx_int8": "amx_int8",
    "asimd": "neon",
    "bf16": "bf16",
    "i8mm": "i8mm",
}
MACOS_FEATURES = {
    "hw.optional.avx2_0": "avx2",
    "hw.optional.avx512f": "avx512f",
    "hw.optional.neon": "neon",
    "hw.optional.AdvSIMD": "neon",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
}


# --- the processor ----------------------------------------------------------------------------


@functools.cache
def cpu_features() -> frozenset[str]:
    """Tell which fast instructions the processor has; an empty set where no one can say."""
    if platform.system() == "Linux":
        return linux_features(Path("/proc/cpuinfo").read_text())
    if platform.system() == "Darwin":
        asked = ["sysctl", "hw.optional"]
        return macos_features(subprocess.run(asked, capture_output=True, text=True).stdout)
    return frozenset()


def linux_features(cpuinfo: str) -> frozenset[str]:
    """Read the features from /proc/cpuinfo: a line "flags" on x86, "Features" on ARM."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(
                LINUX_FEATURES[flag] for flag in value.split() if flag in LINUX_FEATURES
            )
    return frozenset()


def macos_features(sysctl: str) -> frozenset[str]:
    """Read the features from `sysctl hw.optional`: lines like "hw.optional.neon: 1"."""
    pairs = (line.split(": ", 1) for line in sysctl.splitlines() if ": " in line)
    return frozenset(
        MACOS_FEATURES[key] for key, value in pairs if key in MACOS_FEATURES and value == "1"
    )


def cpu_name() -> str:
    """Tell the processor's name as its maker writes it."""
    if platform.system() == "Linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if platform.system() == "Darwin":
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    return platform.processor() or platform.machine()


# --- devices ----------------------------------------------------------------------------------


def pick_device(name: str = "auto") -> "torch.device":
    """Turn "auto", "cpu", "cuda", "cuda:0" or "mps" into a device that is here.

    "auto" is the first of CUDA, MPS and CPU. A CUDA device always comes with its number, so that it
    equals the `.device` of the tensors on it.
    """
    import torch

    here = ["cpu"]
    here += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    here += ["mps"] if torch.backends.mps.is_available() else []
    if name == "auto":
        name = next(
            (kind for kind in ("cuda", "mps") if any(h.startswith(kind) for h in here)), "cpu"
        )
    if name == "cuda" and "cuda:0" in here:
        return torch.device("cuda", torch.cuda.current_device())
    if name not in here:
        raise BadInput(f"there is no device {name!r} here; here are: auto, {', '.join(here)}")
    return torch.device(name)


def bf16_is_fast(device: str = "auto") -> bool:
    """Tell whether bf16 pays on this device: measured on a CPU in a few milliseconds, once."""
    chosen = pick_device(device)
    if chosen.type == "cpu":
        return _bf16_beats_fp32()
    if chosen.type == "cuda":
        import torch

        return torch.cuda.get_device_capability(chosen)[0] >= 8
    return False


@functools.cache
def _bf16_beats_fp32() -> bool:
    """Time one linear layer of a small transformer in both types.

    A processor without AMX or AVX512-BF16 computes bf16 too, many times slower than fp32, and flags
    alone don't tell which kernels this torch has: so measure.
    """
    import torch

    # Weight and input have the shapes of the first half of an MLP, 192 tokens of width 384.
    def seconds(dtype: torch.dtype) -> float:
        tokens = torch.randn(192, 384, dtype=dtype)
        linear = torch.nn.Linear(384, 1536, dtype=dtype)
        with torch.inference_mode():
            return min(_timed(lambda: linear(tokens)) for _ in range(6))

    return seconds(torch.bfloat16) < 0.8 * seconds(torch.float32)


def _timed(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    work()
    return clock() - start


# --- memory -----------------------------------------------------------------------------------


def memory_available() -> int:
    """Tell how many bytes of memory this process may still take without swapping."""
    import psutil

    free = psutil.virtual_memory().available
    for folder in _cgroup_folders("memory"):
        # memory.max in version 2; memory.limit_in_bytes in version 1.
        for limit, usage in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            allowed, used = _number(folder / limit), _number(folder / usage)
            if allowed is not None and used is not None:
                free = min(free, max(0, allowed - used))
    return free


def _cgroup_folders(controller: str) -> Iterable[Path]:
    """Yield the folders whose limits bind this process, from its own cgroup up to the root."""
    for line in OWN_CGROUPS.read_text().splitlines() if OWN_CGROUPS.exists() else []:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            root = CGROUPS
        elif controller in controllers.split(","):
            root = CGROUPS / controller
        else:
            continue
        folder = root / group.lstrip("/")
        yield folder
        yield from (parent for parent in folder.parents if parent.is_relative_to(root))


def _number(path: Path) -> int | None:
    """Read a limit; None where there is no such file or it says "max"."""
    text = path.read_text().strip() if path.is_file() else "max"
    return int(text) if text.lstrip("-").isdigit() else None


# --- threads ----------------------------------------------------------------------------------


def share_one_heap() -> None:
    """Let all threads that are yet to come take their memory from one heap.

    glibc gives each a heap of its own, which keeps most of what was once taken from it. Where a
    library's threads come and go, a long run holds ever more memory, and uses no more of it.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 1)


def usable_threads() -> int:
    """Tell how many threads of this process may run at the same time.

    Not what the machine has: a container or `taskset` may allow fewer, and each thread too many
    waits for the others at every layer.
    """
    # macOS and Windows have no affinity that could be asked for.
    affinity = getattr(os, "sched_getaffinity", None)
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    for folder in _cgroup_folders("cpu"):
        allowed = min(allowed, _quota(folder) or allowed)
    return allowed


def _quota(folder: Path) -> int | None:
    """Read how many whole processors a cgroup may use; None where it sets no limit."""
    version_2 = folder / "cpu.max"
    if version_2.is_file():
        quota, period = version_2.read_text().split()
        return None if quota == "max" else max(1, int(quota) // int(period))
    quota_1, period_1 = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    if quota_1 is None or period_1 is None or quota_1 <= 0:
        return None
    return max(1, quota_1 // period_1)


@contextmanager
def torch_threads(threads: int) -> Generator[None]:
    """So many threads for torch meanwhile; it knows one number for the whole process."""
    import torch

    before = torch.get_num_threads()
    if before == threads:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class ThreadWatch:
    """Choose how many threads to compute with, and notice when the choice has turned bad.

    Threads wait for one another at the end of every layer. When another busy program takes one of
    the processors, all wait for the one that was put aside, and all threads together can be thirty
    times slower than a single one. So measure first, keep watching, and measure again:

        watch = ThreadWatch()
        watch.choose(probe)                # probe() does one real piece of the work
        for step in work:
            if watch.observe(seconds):     # True: speed collapsed, or might have come back
                watch.choose(probe)
    """

    ROUND = 0.05  # seconds; shorter rounds could fall between two turns of the other program
    TIE = 1.05  # within five per cent fewer threads win
    HOPELESS = 5  # times slower than another choice at the first call
    COLLAPSE = 2.5  # times slower than before
    RECENT = 5  # steps whose median is compared with
    WINDOW = 50  # the steps before them
    FIRST_PAUSE = 60.0  # seconds until a step-down is questioned; doubles each time ...
    LONGEST_PAUSE = 960.0  # ... up to this

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.perf_counter,
        set_threads: Callable[[int], None] | None = None,
    ) -> None:
        self._clock = clock
        self._set_threads = set_threads or _set_torch_threads
        self._steps: deque[float] = deque(maxlen=self.WINDOW + self.RECENT)
        self._pause = 0.0
        self._ask_again_at: float | None = None
        self._full_since: float | None = None
        self.threads: int | None = None  # the last choice
        self.timings: dict[int, float] = {}  # seconds a probe took, for each number of threads

    def choose(self, probe: Callable[[], None], choices: Sequence[int] | None = None) -> int:
        """Measure each number of threads for a moment, set the fastest, and return it."""
        choices = sorted(set(choices or self._choices()))
        first: dict[int, float] = {}
        for threads in choices:
            self._set_threads(threads)
            first[threads] = _timed(probe, self._clock)
        self.timings = {}
        for threads in choices:
            self._set_threads(threads)
            # A first call also starts the threads, so it only rules out what is hopeless.
            hopeless = first[threads] > self.HOPELESS * min(first.values())
            self.timings[threads] = first[threads] if hopeless else self._measure(probe)
        fastest = min(self.timings.values())
        self.threads = next(n for n in choices if self.timings[n] <= self.TIE * fastest)
        self._set_threads(self.threads)
        self._steps.clear()
        self._plan_next(stepped_down=self.threads < choices[-1])
        return self.threads

    def observe(self, seconds_per_step: float) -> bool:
        """Take note of one step; True says that it is time to `choose` again."""
        self._steps.append(seconds_per_step)
        if self._ask_again_at is not None and self._clock() >= self._ask_again_at:
            return True
        if len(self._steps) < 2 * self.RECENT:
            return False
        steps = list(self._steps)
        before, recent = steps[: -self.RECENT], steps[-self.RECENT :]
        return median(recent) > self.COLLAPSE * median(before)

    def _choices(self) -> list[int]:
        most = usable_threads()
        return [1, most // 2, most] if most > 4 else [1, most]

    def _measure(self, probe: Callable[[], None]) -> float:
        """Time the probe: the best of three rounds, fewer when another choice is twice as fast."""
        best, elsewhere = float("inf"), min(self.timings.values(), default=float("inf"))
        for _ in range(3):
            start, probes = self._clock(), 0
            while probes == 0 or self._clock() - start < self.ROUND:
                probe()
                probes += 1
            best = min(best, (self._clock() - start) / probes)
            if best > 2 * elsewhere:
                break
        return best

    def _plan_next(self, *, stepped_down: bool) -> None:
        """After a step-down, plan when to see whether the other program has gone."""
        now = self._clock()
        if not stepped_down:
            self._ask_again_at = None
            self._full_since = now if self._full_since is None else self._full_since
            return
        calm = self._full_since is not None and now - self._full_since >= self.LONGEST_PAUSE
        doubled = min(2 * self._pause, self.LONGEST_PAUSE)
        self._pause = self.FIRST_PAUSE if calm or self._pause == 0 else doubled
        self._full_since = None
        self._ask_again_at = now + self._pause


def _set_torch_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
