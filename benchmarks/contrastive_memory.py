"""How much memory a step of contrastive training takes: all pairs remembered at once, or in chunks.

    python benchmarks/contrastive_memory.py [--limit 8] [--chunk 32] [--large 8192]

Each measurement is a process of its own: the highest memory it ever held, less what it held before
the step. The plain step's batch is doubled until it passes the limit (GiB); at the largest that
fits, both are compared. Then comes one step of a large batch in chunks.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
from about import this_run

from mmfm.models.clip import CLIP, CLIPConfig, TextConfig
from mmfm.models.contrastive import contrastive_loss
from mmfm.models.vit import ViTConfig

GIB = 2**30


def model() -> CLIP:
    """A CLIP for pictures of 64x64 pixels, about as large as our bundled ones will be."""
    image = ViTConfig((64, 64), 8, dim=256, depth=8, heads=4, mlp_dim=1024)
    text = TextConfig(vocabulary=4096, context=32, dim=256, depth=4, heads=4, mlp_dim=1024)
    return CLIP(CLIPConfig(image, text, dim=256))


def held() -> int:
    """The most memory that this process has held so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def one(batch: int, chunk: int | None) -> None:
    """Take one gradient, and print what it took."""
    clip = model()
    generator = torch.Generator().manual_seed(0)
    pairs = {
        "images": torch.randn(batch, 3, 64, 64, generator=generator),
        "ids": torch.randint(0, 4096, (batch, 32), generator=generator),
    }
    before, start = held(), time.perf_counter()
    contrastive_loss("info_nce", chunk=chunk)(clip, pairs).backward()
    print(json.dumps([held() - before, held(), time.perf_counter() - start]))


def measured(batch: int, chunk: int | None) -> tuple[int, int, float]:
    """(for the step, in all, seconds), in a process of its own."""
    command = [sys.executable, __file__, "--one", str(batch), "--chunk", str(chunk or 0)]
    step, total, seconds = json.loads(subprocess.check_output(command, text=True))
    how = f"chunks of {chunk}" if chunk else "plain"
    print(
        f"{how:14} batch {batch:5}: {step / GIB:6.2f} GiB for the step, {total / GIB:5.2f} GiB in "
        f"all, {seconds:6.1f} s",
        flush=True,
    )
    return step, total, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=float, default=8, help="GiB for the plain step")
    parser.add_argument("--chunk", type=int, default=32)
    parser.add_argument("--large", type=int, default=8192)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.one, arguments.chunk or None)
        return
    print(this_run())
    print(f"{sum(p.numel() for p in model().parameters()) / 1e6:.1f} M weights")
    batch, plain = 64, 0
    while True:
        step, _, _ = measured(2 * batch, None)
        if step > arguments.limit * GIB:
            break
        batch, plain = 2 * batch, step
    if not plain:
        sys.exit(f"not even {2 * batch} pairs fit in {arguments.limit} GiB")
    print(f"the largest plain batch within {arguments.limit} GiB is {batch}")
    bounded, _, _ = measured(batch, arguments.chunk)
    print(f"chunks need {plain / bounded:.1f} times less")
    _, total, _ = measured(arguments.large, arguments.chunk)
    print(f"a batch of {arguments.large} held {total / GIB:.2f} GiB in all")


if __name__ == "__main__":
    main()
