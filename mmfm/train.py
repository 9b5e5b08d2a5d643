"""The training loop: any model, any loss, one step at a time, and never a lost hour.

    for step in fit(model, examples, loss, Plan(steps=1000), run=run):
        print(step.number, step.loss)

`fit` knows no model and no data. It draws the order of the examples, asks for a batch, takes the
gradient, and steps; it writes a checkpoint every so often, and a run that was killed at any moment
goes on from the last one to the same weights, bit for bit, that an unbroken run would have reached
(one process, CPU, fp32, the same number of threads). What makes that hold: the order of examples
is a function of the seed, augmentation is keyed by (seed, epoch, example), and a checkpoint holds
all the rest.
"""

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import torch
import torch.distributed as dist
from filelock import FileLock, Timeout
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW, Optimizer

from mmfm.errors import BadInput, BadRun, InUse
from mmfm.files import write_whole
from mmfm.machine import ThreadWatch, bf16_is_fast

Batch = dict[str, Tensor]
Loss = Callable[[nn.Module, Batch], Float[Tensor, ""]]
Precision = Literal["auto", "fp32", "bf16"]


class Examples(Protocol):
    """What is learned from: anything that makes the same batch whenever it is asked for it."""

    def __len__(self) -> int: ...

    def batch(self, index: Int64[Tensor, " b"], epoch: Int64[Tensor, " b"], seed: int) -> Batch: ...


@dataclass(frozen=True)
class Plan:
    """How to train."""

    steps: int | None = None  # until this many steps are done,
    minutes: float | None = None  # or until this much time is over: one of the two
    batch: int = 128  # examples a step, over all processes
    accumulate: int = 1  # in so many pieces, where a whole batch does not fit in memory
    rate: float = 1e-3  # AdamW's, at its highest
    matrix_rate: float = 0.02  # Muon's, for the matrices that are handed to it
    warmup: float = 0.05  # share of the time in which the rate climbs
    final_rate: float = 0.0  # share of the highest rate that is left at the end
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0  # longest gradient that is let through
    average: float = 0.999  # memory of the averaged weights; 0 for none
    precision: Precision = "auto"
    threads: int | None = None  # None: measure what is fastest, and keep watching
    seed: int = 0
    save_seconds: float = 60.0  # between checkpoints
    save_steps: int | None = None  # the same, counted in steps

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))  # JSON knows lists only
        if (self.steps is None) == (self.minutes is None):
            raise BadInput("training needs either a number of steps or a number of minutes")
        amount, unit = (self.minutes, "minutes") if self.steps is None else (self.steps, "steps")
        if amount is None or not math.isfinite(amount) or amount <= 0:
            raise BadInput(f"training for {amount} {unit} is not possible; name a positive number")
        if self.batch < 1 or self.accumulate < 1 or self.batch % self.accumulate:
            raise BadInput(f"a batch of {self.batch} does not divide into {self.accumulate} pieces")
        if self.threads is not None and self.threads < 1:
            raise BadInput(f"{self.threads} threads cannot compute; name at least one")
        if not math.isfinite(self.rate) or self.rate < 0:
            raise BadInput(f"a learning rate of {self.rate} is not possible")

    def save_due(self, step: int, last_save: float) -> bool:
        """Whether it is time for a checkpoint."""
        if self.save_steps is not None:
            return step % self.save_steps == 0
        return time.monotonic() - last_save >= self.save_seconds


@dataclass
class Step:
    """What one step of training has done."""

    number: int  # steps done so far
    loss: float
    rate: float
    examples_per_second: float
    seconds: float  # trained so far, over all sittings
    seconds_left: float
    progress: float  # from 0 to 1
    epoch: float  # times that all examples were seen
    saved: bool = False  # a checkpoint holds this step
    last: bool = False
    notes: list[str] = field(default_factory=list[str])  # for a person: threads, precision


# --- the loop -----------------------------------------------------------------------------------


def fit(
    model: nn.Module,
    examples: Examples,
    loss: Loss,
    plan: Plan,
    *,
    averaged: nn.Module | None = None,
    matrices: Collection[str] = (),
    run: "Run | None" = None,
    device: torch.device | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Step]:
    """Train a model, one step at a time.

    `averaged`, a copy of the model, follows it as a moving average. `matrices` names the weights
    that Muon takes; all others are AdamW's. `run` keeps checkpoints and goes on from the last one.
    When `stop` says so, in any process, the loop ends after that step with a checkpoint of it; so
    it does when the caller leaves the loop.
    """
    device = device or torch.device("cpu")
    team = Team.of_this_process()
    _check(plan, examples, team)
    model.to(device).train()
    if averaged is not None:
        averaged.to(device).eval()
    state = _State(model, averaged, make_optimizers(model, plan, matrices))
    if run is not None:
        state.restore(run)
    if state.finished(plan):
        return
    batches = _Batches(examples, plan, team, device)

    def autocast(precision: str) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")

    def probe(precision: str) -> None:
        few = {name: tensor[:32] for name, tensor in batches.piece(state.step, 0).items()}
        with autocast(precision):
            value = loss(model, few)
        value.backward()
        model.zero_grad(set_to_none=True)

    pace = _Pace(plan, probe, device, alone=team.size == 1)
    notes = pace.choose(state)
    network = team.wrap(model)
    began, last_save = time.monotonic() - state.seconds, time.monotonic()
    while True:
        start = time.perf_counter()
        factor = rate_factor(state.progress(plan), plan.warmup, plan.final_rate)
        total = torch.zeros((), device=device)
        for part in range(plan.accumulate):
            batch = batches.piece(state.step, part)
            with team.exchange(network, now=part == plan.accumulate - 1):
                with autocast(state.precision):
                    value = loss(network, batch) / plan.accumulate
                value.backward()
            total += value.detach()
        nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
        for optimizer in state.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["highest"] * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if averaged is not None:
            follow(averaged, model, min(plan.average, (1 + state.step) / (10 + state.step)))
        state.step += 1

        # The processes must agree on the time and on stopping, or they would wait for each other.
        mean_loss, state.seconds, stopped = team.agree(total, time.monotonic() - began, stop())
        if not math.isfinite(mean_loss):
            raise BadRun(
                f"the loss became {mean_loss} at step {state.step}; a lower rate than {plan.rate} "
                "may help, and the last checkpoint is as it was"
            )
        took = time.perf_counter() - start
        last = state.finished(plan) or stopped
        saved = run is not None and (last or plan.save_due(state.step, last_save))
        step = Step(
            number=state.step,
            loss=mean_loss,
            rate=plan.rate * factor,
            examples_per_second=plan.batch / took,
            seconds=state.seconds,
            seconds_left=state.seconds_left(plan),
            progress=state.progress(plan),
            epoch=state.step * plan.batch / len(examples),
            saved=saved,
            last=last,
            notes=notes,
        )
        if run is not None:
            run.log_step(step)
        if run is not None and saved:
            state.save(run)
            last_save = time.monotonic()
        try:
            yield step
        except GeneratorExit:
            if run is not None and not saved:
                state.save(run)
            raise
        if last:
            return
        notes = pace.observe(took, state)


def _check(plan: Plan, examples: Examples, team: "Team") -> None:
    if len(examples) == 0:
        raise BadInput("there are no examples to learn from")
    if plan.batch % (plan.accumulate * team.size):
        raise BadInput(
            f"a batch of {plan.batch} does not divide among {team.size} processes"
            f" in {plan.accumulate} pieces"
        )


def rate_factor(progress: float, warmup: float, final: float) -> float:
    """The learning rate as a share of its highest: a ramp up, then half a cosine down."""
    ramp = min(1.0, progress / warmup) if warmup > 0 else 1.0
    after = max(0.0, progress - warmup) / (1 - warmup) if warmup < 1 else 0.0
    return ramp * (final + (1 - final) * (1 + math.cos(math.pi * min(after, 1.0))) / 2)


@torch.no_grad()
def follow(averaged: nn.Module, model: nn.Module, memory: float) -> None:
    """Move the averaged weights a little towards the model's: a mean over the last steps."""
    for mean, new in zip(averaged.parameters(), model.parameters(), strict=True):
        mean.lerp_(new, 1 - memory)
    for mean, new in zip(averaged.buffers(), model.buffers(), strict=True):
        mean.copy_(new)


# --- the order of the examples --------------------------------------------------------------------


class _Batches:
    """This process's share of every batch, a function of the seed and the step alone."""

    def __init__(self, examples: Examples, plan: Plan, team: "Team", device: torch.device) -> None:
        self.examples, self.plan, self.device = examples, plan, device
        self.share = plan.batch // team.size
        self.first = team.rank * self.share
        self.orders: dict[int, Int64[Tensor, " n"]] = {}

    def piece(self, step: int, part: int) -> Batch:
        size = self.share // self.plan.accumulate
        start = step * self.plan.batch + self.first + part * size
        position = torch.arange(start, start + size)
        epoch = position // len(self.examples)
        place = position % len(self.examples)
        index = torch.cat([self._order(int(e))[place[epoch == e]] for e in epoch.unique()])
        batch = self.examples.batch(index, epoch, self.plan.seed)
        return {name: tensor.to(self.device) for name, tensor in batch.items()}

    def _order(self, epoch: int) -> Int64[Tensor, " n"]:
        """Every example once, in an order of this epoch's own."""
        if epoch not in self.orders:
            generator = torch.Generator().manual_seed(self.plan.seed * 1_000_003 + epoch)
            self.orders = {e: order for e, order in self.orders.items() if e >= epoch - 1}
            self.orders[epoch] = torch.randperm(len(self.examples), generator=generator)
        return self.orders[epoch]


# --- optimisers -----------------------------------------------------------------------------------


def make_optimizers(model: nn.Module, plan: Plan, matrices: Collection[str]) -> list[Optimizer]:
    """AdamW for everything but the `matrices`, which are Muon's.

    Weights of layers decay; biases, norms, tokens and positions don't.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    strangers = set(matrices) - {name for name, _ in named}
    if strangers:
        raise BadInput(f"Muon was handed weights that the model does not have: {min(strangers)}")
    rest = [(name, p) for name, p in named if name not in matrices]
    decaying = [p for name, p in rest if p.ndim >= 2 and name.endswith("weight")]
    others = [p for name, p in rest if p.ndim < 2 or not name.endswith("weight")]
    groups = [
        {"params": decaying, "weight_decay": plan.weight_decay, "highest": plan.rate},
        {"params": others, "weight_decay": 0.0, "highest": plan.rate},
    ]
    fused = all(p.device.type in ("cpu", "cuda") for _, p in named)
    optimizers: list[Optimizer] = [
        AdamW([group for group in groups if group["params"]], betas=plan.betas, fused=fused)
    ]
    muon = [p for name, p in named if name in matrices]
    if muon:
        optimizers.append(Muon(muon, plan.matrix_rate, plan.weight_decay))
    return optimizers


class Muon(Optimizer):
    """Momentum whose every direction gets the same length (Jordan et al. 2024).

    A gradient matrix is dominated by a few directions; replaced by the nearest orthogonal matrix,
    all that it says is heard. Learns a small transformer in about half of AdamW's steps.
    """

    def __init__(
        self, matrices: list[nn.Parameter], rate: float, weight_decay: float, momentum: float = 0.95
    ) -> None:
        defaults = {"lr": rate, "highest": rate, "decay": weight_decay, "momentum": momentum}
        super().__init__(matrices, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                direction = p.grad.lerp(state["momentum"], group["momentum"]).flatten(1)
                rows, columns = direction.shape
                length = max(1.0, rows / columns) ** 0.5
                p.mul_(1 - group["lr"] * group["decay"])
                p.add_(orthogonal(direction).view_as(p), alpha=-group["lr"] * length)


def orthogonal(matrix: Float[Tensor, "m n"], iterations: int = 5) -> Float[Tensor, "m n"]:
    """Bring all singular values near 1 by a Newton-Schulz iteration, matrix products only."""
    a, b, c = 3.4445, -4.7750, 2.0315  # Jordan et al. 2024: steep at 0, close enough to 1
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x.to(torch.bfloat16) if matrix.is_cuda else x
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x if wide else x.T).to(matrix.dtype)


# --- what a checkpoint holds --------------------------------------------------------------------


class _State:
    """All that training has made so far: what goes into a checkpoint and comes out of it."""

    def __init__(
        self, model: nn.Module, averaged: nn.Module | None, optimizers: list[Optimizer]
    ) -> None:
        self.model, self.averaged, self.optimizers = model, averaged, optimizers
        self.step = 0
        self.seconds = 0.0
        self.precision = ""

    def progress(self, plan: Plan) -> float:
        if plan.steps is not None:
            return min(1.0, self.step / plan.steps)
        return min(1.0, self.seconds / (60 * (plan.minutes or 0)))

    def finished(self, plan: Plan) -> bool:
        return self.progress(plan) >= 1

    def seconds_left(self, plan: Plan) -> float:
        if plan.steps is not None:
            return self.seconds / max(self.step, 1) * (plan.steps - self.step)
        return max(0.0, 60 * (plan.minutes or 0) - self.seconds)

    def save(self, run: "Run") -> None:
        """Write everything into one file, whole."""
        from safetensors.torch import save

        if not run.writable:
            return
        tensors = {"random/cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            tensors["random/cuda"] = torch.cuda.get_rng_state()
        for kind, module in self._modules():
            tensors |= {f"{kind}/{name}": tensor for name, tensor in module.state_dict().items()}
        for number, optimizer in enumerate(self.optimizers):
            for index, entry in optimizer.state_dict()["state"].items():
                for name, tensor in entry.items():
                    tensors[f"optimizer{number}/{index}/{name}"] = tensor
        about = {"step": self.step, "seconds": self.seconds, "precision": self.precision}
        packed = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        run.sync()
        write_whole(run.checkpoint, save(packed, metadata={"mmfm": json.dumps(about)}))

    def restore(self, run: "Run") -> None:
        """Go back to the last checkpoint; without one, stay at the start."""
        from safetensors import SafetensorError, safe_open

        if not run.checkpoint.is_file():
            run.trim(0)
            return
        try:
            with safe_open(run.checkpoint, "pt") as file:
                about = json.loads(file.metadata()["mmfm"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise BadRun(f"{run.checkpoint}: not a whole checkpoint ({error})") from error
        try:
            for kind, module in self._modules():
                module.load_state_dict(_under(kind, tensors), strict=True)
            for number, optimizer in enumerate(self.optimizers):
                _restore_optimizer(optimizer, _under(f"optimizer{number}", tensors))
        except (RuntimeError, KeyError, ValueError) as error:
            line = str(error).splitlines()[0]
            raise BadRun(f"{run.checkpoint}: of another model ({line})") from error
        torch.set_rng_state(tensors["random/cpu"])
        if "random/cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random/cuda"])
        self.step, self.seconds = about["step"], about["seconds"]
        self.precision = about["precision"]
        run.trim(self.step)

    def _modules(self) -> list[tuple[str, nn.Module]]:
        averaged = [] if self.averaged is None else [("averaged", self.averaged)]
        return [("model", self.model), *averaged]


def _under(kind: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = kind + "/"
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}


def _restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    entries: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split("/")
        entries.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": entries, "param_groups": groups})


# --- the folder of a run ------------------------------------------------------------------------


class Run:
    """A folder that holds one run: what it is, how it goes, and where it can go on.

    run.json                 what is trained, on what, by which plan
    metrics.jsonl            a line for every step, and for every measurement
    checkpoint.safetensors   everything that going on takes
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], lock: FileLock | None) -> None:
        self.folder, self.settings = folder, dict(settings)
        self.checkpoint = folder / "checkpoint.safetensors"
        self.metrics = folder / "metrics.jsonl"
        self._lock = lock
        self._lines: list[str] = []

    @property
    def writable(self) -> bool:
        """Of several processes that train together only the first one writes."""
        return self._lock is not None

    @classmethod
    def start(cls, folder: Path, settings: Mapping[str, Any]) -> Self:
        """Begin a new run in a folder that is new or empty."""
        if Team.of_this_process().rank > 0:
            return cls(folder, settings, None)
        if (folder / "run.json").exists():
            raise BadRun(
                f"{folder} already holds a run; go on with --resume or name another folder"
            )
        if folder.exists() and not folder.is_dir():
            raise BadInput(f"{folder} is a file; name a folder for the run")
        if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise BadInput(f"{folder} is not empty and holds no run; name a new folder for the run")
        lock = cls._locked(folder)
        text = json.dumps(settings, indent=2, ensure_ascii=False)
        write_whole(folder / "run.json", text + "\n")
        return cls(folder, settings, lock)

    @classmethod
    def resume(cls, folder: Path, kind: str) -> Self:
        """Go on with the run in a folder, which must be of this kind."""
        settings = cls.read_settings(folder)
        if settings.get("train") != kind:
            raise BadRun(f"{folder} is a run of {settings.get('train')!r}, not of {kind!r}")
        if Team.of_this_process().rank > 0:
            return cls(folder, settings, None)
        return cls(folder, settings, cls._locked(folder))

    @staticmethod
    def read_settings(folder: Path) -> dict[str, Any]:
        """What a run folder says it is."""
        path = folder / "run.json"
        if not path.is_file():
            half = (folder / "checkpoint.safetensors").exists()
            what = (
                "is half there: its run.json is missing" if half else "holds no run to go on with"
            )
            raise BadRun(f"{folder} {what}; leave out --resume to start one in a new folder")
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise BadRun(f"{path}: not whole JSON ({error})") from error
        if not isinstance(settings, dict):
            raise BadRun(f"{path}: does not describe a run")
        return settings

    @staticmethod
    def _locked(folder: Path) -> FileLock:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / ".lock")
            lock.acquire(timeout=0)
            for part in folder.glob(".*.part"):  # what a kill left of a file that was never whole
                part.unlink()
        except Timeout as error:
            raise InUse(f"{folder}: another process is training there") from error
        except OSError as error:
            raise BadInput(f"{folder}: cannot be written ({error.strerror})") from error
        return lock

    def log_step(self, step: Step) -> None:
        """Note one step."""
        self.log(
            step=step.number,
            loss=step.loss,
            rate=step.rate,
            examples_per_second=round(step.examples_per_second, 1),
            seconds=round(step.seconds, 3),
        )

    def log(self, **row: object) -> None:
        """Add a line to the metrics; it reaches the disk before the next checkpoint does."""
        if self.writable:
            self._lines.append(json.dumps(row) + "\n")
            if len(self._lines) >= 50:
                self.sync()

    def sync(self) -> None:
        """Bring the lines so far to the disk."""
        if self._lines:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write("".join(self._lines))
                file.flush()
                os.fsync(file.fileno())
            self._lines = []

    def rows(self) -> list[dict[str, Any]]:
        """All lines of the metrics; one that a kill cut short is left out."""
        self.sync()
        if not self.metrics.is_file():
            return []
        lines = self.metrics.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def trim(self, step: int) -> None:
        """Forget the lines after a step: the run goes on from there and will write them again."""
        if not self.writable or not self.metrics.is_file():
            return
        kept = [row for row in self.rows() if row["step"] <= step]
        write_whole(self.metrics, "".join(json.dumps(row) + "\n" for row in kept))

    def close(self) -> None:
        """Let another process have the folder."""
        self.sync()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# --- several processes ------------------------------------------------------------------------


@dataclass(frozen=True)
class Team:
    """The processes that train one model together, as `torchrun` starts them; mostly just one."""

    rank: int = 0
    size: int = 1

    @classmethod
    def of_this_process(cls) -> "Team":
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @staticmethod
    @contextlib.contextmanager
    def joined(device: torch.device) -> Generator["Team"]:
        """Join the others, if `torchrun` started any, and part from them at the end."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            yield Team()
            return
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            yield Team.of_this_process()
        finally:
            dist.destroy_process_group()

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with its gradients averaged over the team."""
        if self.size == 1:
            return model
        device = next(model.parameters()).device
        return DistributedDataParallel(model, [device] if device.type == "cuda" else None)

    def exchange(self, network: nn.Module, *, now: bool) -> contextlib.AbstractContextManager[Any]:
        """Average the gradients only when the last piece of a batch is in."""
        if isinstance(network, DistributedDataParallel) and not now:
            return network.no_sync()
        return contextlib.nullcontext()

    def agree(self, loss: Tensor, seconds: float, stop: bool) -> tuple[float, float, bool]:
        """The mean loss, the first process's time, and whether anyone wants to stop."""
        if self.size == 1:
            return loss.item(), seconds, stop
        mine = [loss.item() / self.size, seconds if self.rank == 0 else 0.0, float(stop)]
        said = torch.tensor(mine, dtype=torch.float64, device=loss.device)
        dist.all_reduce(said)
        return said[0].item(), said[1].item(), said[2].item() > 0


# --- threads and precision ----------------------------------------------------------------------


class _Pace:
    """Measures what is fastest here, keeps watching, and says when that changes.

    Measuring must not move the random numbers that training draws, nor its weights.
    """

    def __init__(
        self, plan: Plan, probe: Callable[[str], None], device: torch.device, *, alone: bool
    ) -> None:
        self.plan, self.probe, self.device = plan, probe, device
        watched = plan.threads is None and device.type == "cpu" and alone
        self.watch = ThreadWatch() if watched else None

    def choose(self, state: _State) -> list[str]:
        """Settle threads, and precision too unless a checkpoint has settled it before."""
        random = torch.get_rng_state()
        if self.plan.threads is not None:
            torch.set_num_threads(self.plan.threads)
        if self.watch is not None:
            self.watch.choose(lambda: self.probe(state.precision))
        if not state.precision:
            state.precision = self._fastest_precision()
        torch.set_rng_state(random)
        return [f"computing in {state.precision} on {_threads(torch.get_num_threads())}"]

    def observe(self, seconds: float, state: _State) -> list[str]:
        """Take note of a step; measure again when speed has collapsed or might be back."""
        if self.watch is None or not self.watch.observe(seconds):
            return []
        before, random = torch.get_num_threads(), torch.get_rng_state()
        after = self.watch.choose(lambda: self.probe(state.precision))
        torch.set_rng_state(random)
        if after == before:
            return []
        why = "another program is busy" if after < before else "the other program has gone"
        return [f"{why}: now on {_threads(after)}"]

    def _fastest_precision(self) -> str:
        """bf16 where the hardware is fast at it: known of a GPU, measured on a CPU."""
        if self.plan.precision != "auto":
            return self.plan.precision
        if self.device.type != "cpu":
            return "bf16" if bf16_is_fast(str(self.device)) else "fp32"
        best = dict.fromkeys(("fp32", "bf16"), math.inf)
        for _ in range(4):  # by turns, so that a moment's disturbance does not decide
            for precision in best:
                start = time.perf_counter()
                self.probe(precision)
                best[precision] = min(best[precision], time.perf_counter() - start)
        return "bf16" if best["bf16"] < 0.9 * best["fp32"] else "fp32"


def _threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"
