"""Who opens pictures fastest: threads or processes, beside the model or in turns with it?

    python benchmarks/decode_workers.py [--pictures 64] [--rounds 3] [--threads N]

Two folders of JPEGs (12 megapixels, and 500 x 375), made of scikit-image's photographs; the model
is an image tower of the size of ViT-B/32 with random weights, in torch. First opening alone:
every pixel decoded and decoded at reduced size, in this thread, in threads, in processes. Then
with the tower: beside it (ahead 2), and in turns (ahead 0), so that each has all cores to itself.
Run it alone on the machine.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import torch
from about import this_run
from PIL import Image

from mmfm.data.loading import in_order, prepared
from mmfm.data.pictures import Preprocessing
from mmfm.machine import usable_threads
from mmfm.models.vit import ViT, ViTConfig

PREPARE = Preprocessing(
    (224, 224), (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
)
BATCH = 16
SIZES = {"12 MP": (4000, 3000), "500x375": (500, 375)}

Batches = Callable[[], Iterator[list[torch.Tensor]]]


def write_folder(folder: Path, size: tuple[int, int], count: int) -> list[Path]:
    """Photographs, each cut and turned a little otherwise, as JPEGs of quality 90."""
    from skimage import data

    folder.mkdir()
    sources = [Image.fromarray(getattr(data, n)()) for n in ("astronaut", "coffee", "chelsea")]
    paths = []
    for number in range(count):
        source = sources[number % len(sources)].rotate(number % 7, Image.Resampling.BICUBIC)
        file = io.BytesIO()
        source.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        paths.append(folder / f"{number:04}.jpg")
        paths[-1].write_bytes(file.getvalue())
    return paths


def in_threads(paths: Sequence[Path], exact: bool, threads: int, ahead: int) -> Batches:
    def batches() -> Iterator[list[torch.Tensor]]:
        work = partial(prepared, prepare=PREPARE, exact=exact)
        for _, images in in_order(work, paths, batch=BATCH, threads=threads, ahead=ahead):
            yield images

    return batches


def in_processes(pool: ProcessPoolExecutor, paths: Sequence[Path], exact: bool) -> Batches:
    """As in_order does it with two batches ahead, but each tensor comes through a pipe."""

    def batches() -> Iterator[list[torch.Tensor]]:
        waiting: deque = deque()
        rest = iter(paths)
        while True:
            while len(waiting) < 3 and (some := list(islice(rest, BATCH))):
                waiting.append([pool.submit(opened, path, exact) for path in some])
            if not waiting:
                return
            yield [torch.from_numpy(future.result()) for future in waiting.popleft()]

    return batches


def opened(path: Path, exact: bool):
    """In a worker process: as NumPy, since torch would open a file for each tensor it sends."""
    return prepared(path, PREPARE, exact=exact).numpy()


def consume(batches: Batches, tower: ViT | None) -> None:
    with torch.inference_mode():
        for images in batches():
            if tower is not None:
                tower(torch.stack(images))


def rates(works: dict[str, Callable[[], None]], count: int, rounds: int) -> dict[str, float]:
    """Pictures a second, the median of some rounds, all measured in turns."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - start)
    return {name: count / statistics.median(several) for name, several in taken.items()}


def show(title: str, found: dict[str, float]) -> None:
    print(f"\n{title}")
    for name, rate in found.items():
        print(f"  {name:34} {rate:8.1f} pictures/s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=usable_threads())
    arguments = parser.parse_args()
    count, threads = arguments.pictures, arguments.threads
    print(f"{this_run()}; {threads} workers, {count} pictures, batches of {BATCH}")
    torch.set_num_threads(threads)
    tower = ViT(ViTConfig(patch_size=32)).eval()
    # Started afresh: a copy of a process with torch's threads in it may hang.
    workers = ProcessPoolExecutor(threads, mp_context=get_context("spawn"))
    with tempfile.TemporaryDirectory() as name, workers as pool:
        for title, size in SIZES.items():
            paths = write_folder(Path(name) / title.replace(" ", ""), size, count)
            list(pool.map(partial(opened, exact=False), paths[:threads]))  # they have started

            for exact in (True, False):
                works = {
                    "this thread": in_threads(paths, exact, 1, 0),
                    f"{threads} threads": in_threads(paths, exact, threads, 2),
                    f"{2 * threads} threads": in_threads(paths, exact, 2 * threads, 2),
                    f"{threads} processes": in_processes(pool, paths, exact),
                }
                decoded = "every pixel" if exact else "reduced"
                alone = {name: partial(consume, work, None) for name, work in works.items()}
                show(f"{title}, {decoded}, opening alone", rates(alone, count, arguments.rounds))

            beside: dict[str, Batches] = {
                "the tower alone": partial(
                    iter, [[torch.zeros(3, 224, 224)] * BATCH] * (count // BATCH)
                ),
                "in turns": in_threads(paths, False, threads, 0),
                "beside, 1 thread": in_threads(paths, False, 1, 2),
                f"beside, {threads} threads": in_threads(paths, False, threads, 2),
                f"beside, {threads} processes": in_processes(pool, paths, False),
            }
            works = {name: partial(consume, work, tower) for name, work in beside.items()}
            show(f"{title}, reduced, with the tower", rates(works, count, arguments.rounds))


if __name__ == "__main__":
    main()
