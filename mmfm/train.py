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

import math
import time
from collections.abc import Callable, Collection, Generator
from dataclasses import asdict, dataclass, field
from typing import Literal, Protocol, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.optim import Optimizer

from mmfm.data.draws import generator
from mmfm.errors import BadInput, BadRun
from mmfm.machine import ThreadWatch, bf16_is_fast
from mmfm.optimizers import Muon, make_optimizers
from mmfm.runs import Run, State
from mmfm.team import Team

Batch = dict[str, Tensor]
Loss = Callable[[nn.Module, Batch], Float[Tensor, ""]]
Precision = Literal["auto", "fp32", "bf16"]
Fall = Literal["cosine", "linear"]


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
    warmup: float = 0.05  # share of the time in which the rate climbs,
    hold: float = 0.0  # then of that in which it stays up; in what is left it falls,
    fall: Fall = "cosine"  # along half a wave or straight,
    final_rate: float = 0.0  # to this share of the highest
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0  # a gradient that is longer is shortened to this
    average: float = 0.999  # memory of the averaged weights; 0 for none
    precision: Precision = "auto"
    threads: int | None = None  # None: measure what is fastest, and keep watching
    seed: int = 0
    save_seconds: float = 60.0  # between checkpoints
    save_steps: int | None = None  # the same, counted in steps

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))  # JSON knows lists only
        if self.steps is None and self.minutes is None:
            raise BadInput("training needs a number of steps or a number of minutes")
        if self.steps is not None and self.minutes is not None:
            raise BadInput("training ends after --steps or after --minutes, not both")
        if self.precision not in get_args(Precision):
            raise BadInput(f"precision is one of {', '.join(get_args(Precision))}")
        if self.fall not in get_args(Fall):
            raise BadInput(f"a rate falls as one of {', '.join(get_args(Fall))}, not {self.fall!r}")
        if not (self.warmup >= 0 and self.hold >= 0 and self.warmup + self.hold <= 1):
            raise BadInput(
                f"a warm-up of {self.warmup} and a hold of {self.hold} are no shares of the time: "
                "each is at least 0, together they are at most 1"
            )
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise BadInput(f"betas are two numbers from 0 up to 1, not {self.betas}")
        if not self.clip > 0:
            raise BadInput(f"gradients shortened to {self.clip} teach nothing; name more than 0")
        if self.save_steps is not None and self.save_steps < 1:
            raise BadInput(f"a checkpoint every {self.save_steps} steps is not possible")
        amount, unit = (self.minutes, "minutes") if self.steps is None else (self.steps, "steps")
        if amount is None or not math.isfinite(amount) or amount <= 0:
            raise BadInput(f"training for {amount} {unit} is not possible; name a positive number")
        if self.batch < 1 or self.accumulate < 1 or self.batch % self.accumulate:
            raise BadInput(f"a batch of {self.batch} does not divide into {self.accumulate} pieces")
        if self.threads is not None and self.threads < 1:
            raise BadInput(f"{self.threads} threads cannot compute; name at least one")
        if not math.isfinite(self.rate) or self.rate < 0:
            raise BadInput(f"a learning rate of {self.rate} is not possible")

    def progress(self, state: State) -> float:
        """How much of the training is done, from 0 to 1."""
        if self.steps is not None:
            return min(1.0, state.step / self.steps)
        return min(1.0, state.seconds / (60 * (self.minutes or 0)))

    def seconds_left(self, state: State) -> float:
        """How long the rest will take, as far as one can tell."""
        if self.steps is not None:
            return state.seconds / max(state.step, 1) * (self.steps - state.step)
        return max(0.0, 60 * (self.minutes or 0) - state.seconds)

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
    run: Run | None = None,
    device: torch.device | None = None,
    stop: Callable[[], bool] = lambda: False,
    after_step: Callable[[], None] = lambda: None,
) -> Generator[Step]:
    """Train a model, one step at a time.

    `averaged`, a copy of the model, follows it as a moving average. `matrices` names the weights
    that Muon takes; all others are AdamW's. `run` keeps checkpoints and goes on from the last one.
    When `stop` says so, in any process, the loop ends after that step with a checkpoint of it; so
    it does when the caller leaves the loop. `after_step` is called when the weights have moved and
    before they are averaged and saved, to hold one of them within bounds.
    """
    device = device or torch.device("cpu")
    team = Team.of_this_process()
    _check(plan, examples, team)
    model.to(device).train()
    if averaged is not None:
        averaged.to(device).eval()
    state = State(model, averaged, _optimizers(model, plan, matrices))
    found = run is not None and state.restore(run)
    if plan.progress(state) >= 1:
        return
    if run is not None and run.resumed:
        run.go_on_by(asdict(plan))
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
    if run is not None and run.resumed and not found:
        notes.insert(0, "no checkpoint yet: beginning again")
    for optimizer in state.optimizers:
        if isinstance(optimizer, Muon) and state.precision == "bf16":
            optimizer.precision = torch.bfloat16
    network = team.wrap(model)
    began, last_save = time.monotonic() - state.seconds, time.monotonic()
    while True:
        start = time.perf_counter()
        before = plan.progress(state)
        total = torch.zeros((), device=device)
        for part in range(plan.accumulate):
            batch = batches.piece(state.step, part)
            with team.exchange(network, now=part == plan.accumulate - 1):
                with autocast(state.precision):
                    value = loss(network, batch) / plan.accumulate
                value.backward()
            total += value.detach()
        state.step += 1

        # The processes must agree on the time and on stopping, or they would wait for each other.
        mean_loss, state.seconds, stopped = team.agree(total, time.monotonic() - began, stop())
        if not math.isfinite(mean_loss):
            raise BadRun(
                f"the loss became {mean_loss} at step {state.step}; a lower rate than {plan.rate} "
                "may help, and the last checkpoint is as it was"
            )

        # The rate of a step's middle: by its beginning the first step, by its end the last one
        # would be taken with a rate of 0.
        middle = (before + plan.progress(state)) / 2
        factor = rate_factor(middle, plan.warmup, plan.final_rate, hold=plan.hold, fall=plan.fall)
        nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
        for optimizer in state.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["highest"] * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        after_step()
        if averaged is not None:
            # A short memory early on, or the first, random weights would stay in the mean.
            follow(averaged, model, min(plan.average, state.step / (9 + state.step)))
        took = time.perf_counter() - start
        last = plan.progress(state) >= 1 or stopped
        saved = run is not None and (last or plan.save_due(state.step, last_save))
        step = Step(
            number=state.step,
            loss=mean_loss,
            rate=plan.rate * factor,
            examples_per_second=plan.batch / took,
            seconds=state.seconds,
            seconds_left=plan.seconds_left(state),
            progress=plan.progress(state),
            epoch=state.step * plan.batch / len(examples),
            saved=saved,
            last=last,
            notes=notes,
        )
        if run is not None:
            run.log(
                step=step.number,
                loss=step.loss,
                rate=step.rate,
                examples_per_second=round(step.examples_per_second, 1),
                seconds=round(step.seconds, 3),
            )
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


def _optimizers(model: nn.Module, plan: Plan, matrices: Collection[str]) -> list[Optimizer]:
    return make_optimizers(
        model,
        rate=plan.rate,
        matrix_rate=plan.matrix_rate,
        weight_decay=plan.weight_decay,
        betas=plan.betas,
        matrices=matrices,
    )


def _check(plan: Plan, examples: Examples, team: Team) -> None:
    if len(examples) == 0:
        raise BadInput("there are no examples to learn from")
    if plan.batch % (plan.accumulate * team.size):
        raise BadInput(
            f"a batch of {plan.batch} does not divide among {team.size} processes"
            f" in {plan.accumulate} pieces"
        )


def rate_factor(
    progress: float, warmup: float, final: float, *, hold: float = 0.0, fall: Fall = "cosine"
) -> float:
    """The learning rate as a share of its highest: a ramp up, a stretch up there, a way down."""
    ramp = min(1.0, progress / warmup) if warmup > 0 else 1.0
    start = warmup + hold
    after = min(1.0, max(0.0, progress - start) / (1 - start)) if start < 1 else 0.0
    left = (1 + math.cos(math.pi * after)) / 2 if fall == "cosine" else 1 - after
    return ramp * (final + (1 - final) * left)


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

    def __init__(self, examples: Examples, plan: Plan, team: Team, device: torch.device) -> None:
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
            self.orders = {e: order for e, order in self.orders.items() if e >= epoch - 1}
            shuffle = generator(self.plan.seed * 1_000_003 + epoch)
            self.orders[epoch] = torch.randperm(len(self.examples), generator=shuffle)
        return self.orders[epoch]


# --- threads and precision ----------------------------------------------------------------------


class _Pace:
    """Measures what is fastest here, keeps watching, and says when that changes.

    Measuring must not move the random numbers that training draws, nor its weights.
    """

    def __init__(
        self, plan: Plan, probe: Callable[[str], None], device: torch.device, *, alone: bool
    ) -> None:
        self.plan, self.probe, self.device = plan, probe, device
        self.alone = alone
        watched = plan.threads is None and device.type == "cpu" and alone
        self.watch = ThreadWatch() if watched else None

    def choose(self, state: State) -> list[str]:
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

    def observe(self, seconds: float, state: State) -> list[str]:
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
        if not self.alone:
            return "fp32"  # each process would measure for itself, and they must compute alike
        best = dict.fromkeys(("fp32", "bf16"), math.inf)
        for _ in range(4):  # by turns, so that a moment's disturbance does not decide
            for precision in best:
                start = time.perf_counter()
                self.probe(precision)
                best[precision] = min(best[precision], time.perf_counter() - start)
        return "bf16" if best["bf16"] < 0.9 * best["fp32"] else "fp32"


def _threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"
