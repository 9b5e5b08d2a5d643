"""What new labels cost once a folder is indexed: 100,000 pictures x 1,000 labels, top five of each.

    python benchmarks/store_100k.py [--pictures 100000] [--labels 1000] [--duplicates]

The files are there, of a few bytes each, and are asked whether they have changed; their vectors of
512 numbers are drawn, and go through the store as indexing writes them. What is timed begins where
the program has started: torch and LanceDB are loaded, the labels are read.
"""

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from about import this_run

from mmfm.memory import Memory
from mmfm.models.clip import CLIP, CLIPConfig, TextConfig
from mmfm.models.label_vectors import fingerprint
from mmfm.models.tokenizer import clip_bpe
from mmfm.models.vit import ViTConfig
from mmfm.store import Row, Store
from mmfm.tasks import search
from mmfm.tasks.classify import ZeroShotClassifier

DIM = 512
BATCH = 32


def small_clip() -> CLIP:
    """A model of 512 numbers whose towers hardly cost anything: they are not what is measured."""
    small = {"dim": 64, "depth": 1, "heads": 2, "mlp_dim": 64}
    image = ViTConfig(image_size=(32, 32), patch_size=16, **small)
    clip = CLIP(CLIPConfig(image=image, text=TextConfig(**small), dim=DIM), tokenizer=clip_bpe())
    clip.name = "drawn vectors"
    return clip.eval()


def make(folder: Path, count: int) -> list[Path]:
    """So many files, a thousand to a folder."""
    files: list[Path] = []
    for start in range(0, count, 1000):
        part = folder / f"{start // 1000:04}"
        part.mkdir(parents=True)
        for number in range(start, min(start + 1000, count)):
            file = part / f"IMG_{number:06}.jpg"
            file.write_bytes(number.to_bytes(4, "big"))
            files.append(file)
    return files


def fill(store: Store, clip: CLIP, files: list[Path]) -> None:
    """Write vectors down as indexing does: a batch, a commit."""
    numbers = np.random.default_rng(0)
    with store.writing() as writer:
        shelf = writer.shelf(fingerprint(clip), dim=DIM, model=clip.name)
        for start in range(0, len(files), BATCH):
            part = files[start : start + BATCH]
            vectors = numbers.standard_normal((len(part), DIM), dtype=np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            rows: list[Row] = []
            for file, vector in zip(part, vectors, strict=True):
                found = file.stat()
                content = numbers.bytes(32)
                stamp = (found.st_size, found.st_mtime_ns, content)
                rows.append(Row(os.fsencode(file), b"/", b"/", *stamp, "fp32", True, vector))
            shelf.put(rows, new=True)
        shelf.tidy()


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--duplicates", action="store_true", help="compare all with all, too")
    arguments = parser.parse_args()
    print(this_run())
    clip = small_clip()
    with tempfile.TemporaryDirectory() as name:
        store, folder = Store(Path(name) / "store"), Path(name).resolve() / "photos"
        files = make(folder, arguments.pictures)
        spent = timed(lambda: fill(store, clip, files))
        size = sum(file.stat().st_size for file in store.folder.rglob("*") if file.is_file())
        per = size / len(files)
        print(
            f"writing {len(files):,} rows, a commit each {BATCH}: {spent:.1f} s; "
            f"{size / 1e6:,.0f} MB on disk, {per / (4 * DIM):.2f} times the numbers alone"
        )

        words = [f"label {number}" for number in range(arguments.labels)]
        clf = ZeroShotClassifier(clip, words, templates="simple", cache=None)
        gc.freeze()  # as mmfm classify does
        for turn in ("first", "again", "again", "again"):
            began = time.perf_counter()
            memory = Memory(clip, files, run=["benchmark"], store=store.folder, say=print)
            assert memory.indexed == len(files)
            read = time.perf_counter() - began
            answers = sum(len(p.scores) == 5 for p in clf.stream(files, top=5, known=memory.known))
            assert answers == len(files)
            total = time.perf_counter() - began
            print(
                f"{turn}: read and found unchanged {read:.2f} s, answers {total - read:.2f} s; "
                f"in all {total:.2f} s"
            )
        matrix = torch.randn(4096, DIM)
        began = time.perf_counter()
        for _ in range(0, len(files), 4096):
            (matrix @ clf.vectors.T).topk(5, dim=1)
        print(f"of that, product and top five alone: {time.perf_counter() - began:.2f} s")

        shelf = store.shelf(fingerprint(clip))
        query = clf.vectors[0].contiguous()
        spent = min(
            timed(lambda: shelf.scan(["path", "vector"], lambda b: search._best(b, query, 84)))
            for _ in range(3)
        )
        print(f"one search through all of them: {spent:.2f} s")
        if arguments.duplicates:
            spent = timed(lambda: search.duplicates(clip, store=store, threshold=0.97))
            print(f"duplicates among all of them: {spent:.1f} s")


if __name__ == "__main__":
    main()
