"""Pictures a second of the denoisers that were candidates: learning, and drawing digits.

    python benchmarks/denoiser_speed.py [NAME...] [--steps 12] [--device cpu]

Learning is `train.fit` as it is: Muon, AdamW, clipping, averaged weights; batches of 64 pictures of
28x28 in memory. Drawing is the network alone, a hundred at a time, 8 steps with guidance: 16 passes
a picture. NAMEs choose candidates by a part of their name.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from about import this_run
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmfm.machine import pick_device, usable_threads
from mmfm.models.denoiser import Denoiser, DenoiserConfig
from mmfm.train import Batch, Plan, fit

TWO: dict[str, Any] = {"patch": 2, "depths": (1, 1), "attention": (1,)}
FOUR: dict[str, Any] = {"kind": "dit", "patch": 4}
CANDIDATES: dict[str, dict[str, Any]] = {
    "unet 16-48-96": {},
    "unet 16-48-96 add": {"join": "add"},
    "unet 16-48-96 no mlp": {"mlp": 0},
    "unet 16-48-96 add no mlp": {"join": "add", "mlp": 0},
    "unet 16-48-96 blind": {"attention": ()},
    "unet 16-48-96 relu": {"activation": "relu"},
    "unet 16-48-96 no middle": {"middle": 0},
    "unet 8-48-96": {"widths": (8, 48, 96)},
    "unet 16-32-64": {"widths": (16, 32, 64)},
    "unet 16-64-128": {"widths": (16, 64, 128)},
    "unet 16-48-128 looks": {"widths": (16, 48, 128), "attention": (2, 2), "middle": 0},
    "unet 32-64-128": {"widths": (32, 64, 128)},
    "unet /2 32-64": {**TWO, "widths": (32, 64)},
    "unet /2 48-96": {**TWO, "widths": (48, 96)},
    "unet /2 48-96 add": {**TWO, "widths": (48, 96), "join": "add"},
    "unet /2 48-128 add": {**TWO, "widths": (48, 128), "join": "add"},
    "unet /2 64-128": {**TWO, "widths": (64, 128)},
    "unet /2 48-128 looks": {
        **TWO, "widths": (48, 128), "attention": (1, 1, 1), "middle": 0
    },
    "unet /4 128": {"patch": 4, "widths": (128,), "depths": (2,), "attention": (0, 0)},
    "dit /4 128x6": {**FOUR, "dim": 128, "depth": 6},
    "dit /4 192x8": {**FOUR, "dim": 192, "depth": 8},
    "dit /4 256x6": {**FOUR, "dim": 256, "depth": 6},
    "dit /2 128x6": {**FOUR, "patch": 2, "dim": 128, "depth": 6},
}  # fmt: skip
BATCH, DRAWN, PASSES = 64, 100, 16


class Noise:
    """Stands for pictures on their way to noise: what they show costs no time."""

    def __init__(self, device: torch.device) -> None:
        self.x = torch.randn(4096, 1, 28, 28, device=device)
        self.t = torch.rand(4096, device=device)
        self.condition = torch.randint(11, (4096,), device=device)

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        chosen = index.to(self.x.device)
        return {"x": self.x[chosen], "t": self.t[chosen], "condition": self.condition[chosen]}


def loss(model: nn.Module, batch: Batch) -> Tensor:
    return F.mse_loss(model(batch["x"], batch["t"], batch["condition"]), batch["x"])


def learning(model: Denoiser, precision: Any, threads: int, steps: int, device: Any) -> float:
    """Pictures a second of `fit`, in the middle of its steps."""
    plan = Plan(steps=steps + 3, batch=BATCH, threads=threads, precision=precision)
    model = copy.deepcopy(model)
    averaged = copy.deepcopy(model)
    steps_taken = fit(
        model,
        Noise(device),
        loss,
        plan,
        averaged=averaged,
        matrices=model.matrices(),
        device=device,
    )
    return statistics.median([step.examples_per_second for step in steps_taken][3:])


@torch.inference_mode()
def drawing(model: Denoiser, precision: str, threads: int, rounds: int, device: Any) -> float:
    """Pictures a second that could be drawn, if the network were all that it takes."""
    torch.set_num_threads(threads)
    model = copy.deepcopy(model).to(device).eval()
    if precision == "bf16":
        model.bfloat16()
    x, t = torch.randn(DRAWN, 1, 28, 28, device=device), torch.rand(DRAWN, device=device)
    condition = torch.randint(11, (DRAWN,), device=device)
    seconds: list[float] = []
    for _ in range(rounds + 2):
        with _timed(seconds, device):
            model(x, t, condition)
    return DRAWN / (PASSES * statistics.median(seconds[2:]))


@contextmanager
def _timed(seconds: list[float], device: torch.device) -> Iterator[None]:
    start = time.perf_counter()
    yield
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds.append(time.perf_counter() - start)


def work(model: Denoiser) -> float:
    """Millions of multiplications and additions of one pass over one picture."""
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        model(torch.zeros(1, 1, 28, 28), torch.zeros(1))
    return counter.get_total_flops() / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[""])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = pick_device(arguments.device)
    counts = [1] if device.type == "cuda" else sorted({1, usable_threads()})
    ways = [(precision, threads) for threads in counts for precision in ("fp32", "bf16")]
    print(this_run("fp32 and bf16"))
    print("pictures a second, learning and drawing, on so many threads")
    heads = "".join(f"{f'{precision} x{threads}':>14}" for precision, threads in ways)
    print(f"{'':24}{'M weights':>10}{'MFLOP':>7}{heads}")
    for name, options in CANDIDATES.items():
        if not any(part in name for part in arguments.names):
            continue
        model = Denoiser(DenoiserConfig(**options))
        size = sum(p.numel() for p in model.parameters()) / 1e6
        row = f"{name:24}{size:10.2f}{work(model):7.0f}"
        for precision, threads in ways:
            learned = learning(model, precision, threads, arguments.steps, device)
            drawn = drawing(model, precision, threads, arguments.steps, device)
            row += f"{learned:8.0f} {drawn:5.0f}"
        print(row, flush=True)


if __name__ == "__main__":
    main()
