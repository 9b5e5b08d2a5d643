"""How long 100 digits at full quality take: as a whole command, and once the model is loaded.

    python benchmarks/diffusion_sampling.py [--model mnist-nano] [--count 100] [--rounds 3]
        [--threads N]

Full quality is what the model says of itself: its sampler, steps and guidance. `mmfm sample` is
measured from the command to the written sheet; in Python, from the call to the last picture, in
batches as it likes. For a model of one's own, a run of `diffusion_minutes.py` will do; its score
at these very settings is in the results there.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from about import this_run

from mmfm.models.checkpoints import load_denoiser
from mmfm.models.denoiser import Denoiser
from mmfm.tasks.generate import order, samples

TARGET = 10.0  # seconds for 100 digits


def as_command(model: str, count: int, folder: Path) -> float:
    """Seconds of `mmfm sample`, with all that a fresh process has to load."""
    out = folder / "sheet.png"
    command = [sys.executable, "-m", "mmfm", "sample", model, "--device", "cpu"]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "--count", str(count), "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    seconds = time.perf_counter() - start
    if done.returncode or not out.is_file():
        sys.exit(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return seconds


def in_python(den: Denoiser, count: int, seed: int) -> float:
    """Seconds of the drawing alone."""
    start = time.perf_counter()
    made = sum(len(images) for _, images in samples(den, count=count, seed=seed))
    seconds = time.perf_counter() - start
    if made != count:
        sys.exit(f"{made} pictures came, not {count}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mnist-nano")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
        torch.set_num_threads(arguments.threads)
    model, count, rounds = arguments.model, arguments.count, arguments.rounds
    den = load_denoiser(model)
    print(this_run())
    print(order(den, count=count).told())
    drawing = statistics.median(in_python(den, count, seed) for seed in range(rounds))
    with tempfile.TemporaryDirectory() as folder:
        whole = statistics.median(as_command(model, count, Path(folder)) for _ in range(rounds))
    print(f"in Python    {drawing:6.2f} s, {count / drawing:.0f} a second")
    print(f"mmfm sample  {whole:6.2f} s", end="")
    if count == 100:
        print(f"   {'kept' if whole < TARGET else 'MISSED'}: under {TARGET:g} s", end="")
    print(f"   (medians of {rounds})")


if __name__ == "__main__":
    main()
