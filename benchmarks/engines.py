"""Pictures a second of each engine and thread count, and what the engines say of a trained model.

    python benchmarks/engines.py [--model B/32] [--seconds 20] [--batch 32]

A random tower of the paper's size shows the speed: the engines take turns, and the median of the
turns counts. The bundled clip-shapes shows the agreement with fp32 on the probe pictures, and so
does the random tower, though rows of random weights tell pictures apart by little.
"""

import argparse
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import torch
from about import this_run

import mmfm
from mmfm import engines
from mmfm.data.probes import PROBES, probes
from mmfm.machine import usable_threads
from mmfm.models.clip import CLIP, CLIPConfig, TextConfig, TwoTowers
from mmfm.models.vit import variant


def ways(clip: TwoTowers, folder: Path) -> dict[str, engines.Engine]:
    """Each engine that runs here, with one thread and with all."""
    made: dict[str, engines.Engine] = {}
    for name in ("fp32", "bf16", "int8", *(["cuda"] if torch.cuda.is_available() else [])):
        choice = engines._Choice(clip, name, folder, print)
        for threads in sorted({1, usable_threads()}) if name != "cuda" else [1]:
            made[f"{name} x {threads}"] = choice._made(name, threads)
    return made


def speeds(clip: TwoTowers, folder: Path, seconds: float, batch: int) -> None:
    made = ways(clip, folder)
    images = torch.randn(batch, 3, *clip.preprocessing.size)
    turns: dict[str, list[float]] = {way: [] for way in made}
    for engine in made.values():
        engine(images)  # the first call sets things up
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        for way, engine in made.items():
            begin = time.perf_counter()
            engine(images)
            turns[way].append(time.perf_counter() - begin)
    base = statistics.median(turns["fp32 x 1"])
    for way, took in turns.items():
        middle = statistics.median(took)
        ratio = f"{base / middle:5.2f} x fp32 on one thread"
        spread = f"{batch / max(took):.1f} to {batch / min(took):.1f} in {len(took)} turns"
        print(f"{way:10} {batch / middle:8.1f} pictures/s  {ratio}  ({spread})")


def agreements(clip: TwoTowers, folder: Path) -> None:
    images = clip.preprocessing.batch(probes())
    reference = engines.plain(clip)(images)
    texts = clip.encode_text(engines.TEXTS) if clip.tokenizer is not None else None
    for name in ("bf16", "int8"):
        choice = engines._Choice(clip, name, folder, print)
        found = engines.agreement(reference, choice._made(name, 1)(images), texts)
        print(f"{clip.source}, {name} against fp32 on {PROBES} probe pictures: {found}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="B/32", help="a size of the paper: B/32, B/16, L/14")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--batch", type=int, default=32)
    arguments = parser.parse_args()
    print(f"{this_run('as named')}, onnxruntime {version('onnxruntime')}")
    torch.manual_seed(0)
    image = variant(arguments.model, norm_before=True, norm_eps=1e-5)
    clip = CLIP(CLIPConfig(image=image, text=TextConfig(depth=1))).eval().requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        chosen = engines.choose(clip, cache=Path(folder), say=print)
        print(f"auto, in {time.perf_counter() - start:.1f} s: {chosen.about}")
        start = time.perf_counter()
        engines.choose(clip, cache=Path(folder))
        print(f"auto, the next time: {time.perf_counter() - start:.2f} s")
        speeds(clip, Path(folder), arguments.seconds, arguments.batch)
        agreements(clip, Path(folder))
        agreements(mmfm.load_clip("clip-shapes"), Path(folder))


if __name__ == "__main__":
    main()
