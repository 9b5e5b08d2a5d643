"""What new labels cost once a folder is indexed: 100,000 pictures x 1,000 labels, top five of each.

    python benchmarks/store_100k.py [--pictures 100000] [--labels 1000] [--duplicates]

The files are there, of a few bytes each, and are asked whether they have changed; their vectors of
512 numbers are drawn, and go through the store as indexing writes them. What is timed begins where
the program has started: torch and LanceDB are loaded, the labels are read.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from about import this_run
from torch import Tensor

import mmfm
from mmfm.models.label_vectors import fingerprint
from mmfm.store import Row, Store, stored_vectors
from mmfm.tasks import search

DIM = 512
BATCH = 32


def stand_in() -> SimpleNamespace:
    """A model of 512 numbers, of which the store wants to know the name and the width only."""
    clip = mmfm.load_clip("clip-shapes")
    return SimpleNamespace(
        state_dict=clip.state_dict,
        tokenizer=clip.tokenizer,
        preprocessing=clip.preprocessing,
        source="drawn vectors",
        dim=DIM,
    )


def make(folder: Path, count: int) -> list[str]:
    """So many files, a thousand to a folder."""
    files: list[str] = []
    for start in range(0, count, 1000):
        part = folder / f"{start // 1000:04}"
        part.mkdir(parents=True)
        for number in range(start, min(start + 1000, count)):
            file = part / f"IMG_{number:06}.jpg"
            file.write_bytes(number.to_bytes(4, "big"))
            files.append(str(file))
    return files


def fill(store: Store, clip: SimpleNamespace, files: list[str]) -> None:
    """Write vectors down as indexing does: a batch, a commit."""
    numbers = np.random.default_rng(0)
    with store.writing() as writer:
        shelf = writer.shelf(fingerprint(clip), dim=DIM, model=clip.source)  # type: ignore[arg-type]
        for start in range(0, len(files), BATCH):
            part = files[start : start + BATCH]
            vectors = numbers.standard_normal((len(part), DIM), dtype=np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            rows: list[Row] = []
            for file, vector in zip(part, vectors, strict=True):
                found = Path(file).stat()
                content = numbers.bytes(32)
                stamp = (found.st_size, found.st_mtime_ns, content)
                rows.append(Row(os.fsencode(file), b"/", b"/", *stamp, "fp32", True, vector))
            shelf.put(rows, new=True)
        shelf.tidy()


def best_of_each(
    vectors: list[np.ndarray], labels: Tensor, top: int = 5
) -> tuple[float, float, Tensor]:
    """(seconds of the product, of choosing, the best labels) of the pictures, some at a time."""
    spent = [0.0, 0.0]
    found: list[Tensor] = []
    for start in range(0, len(vectors), 4096):
        began = time.perf_counter()
        cosines = torch.from_numpy(np.stack(vectors[start : start + 4096])) @ labels
        spent[0] += time.perf_counter() - began
        began = time.perf_counter()
        found.append(cosines.topk(top, dim=1).indices)
        spent[1] += time.perf_counter() - began
    return spent[0], spent[1], torch.cat(found)


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
    clip = stand_in()
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

        labels = torch.nn.functional.normalize(torch.randn(DIM, arguments.labels), dim=0)
        for turn in ("first", "again", "again", "again"):
            began = time.perf_counter()
            known = stored_vectors(store, clip, files)  # type: ignore[arg-type]
            read = time.perf_counter() - began
            rows = [row for file in files if (row := known.get(file)) is not None]
            checked = time.perf_counter() - began - read
            assert len(rows) == len(files)
            product, chosen, best = best_of_each(rows, labels)
            assert best.shape == (len(files), 5)
            total = time.perf_counter() - began
            print(
                f"{turn}: read {read:.2f} s, files unchanged {checked:.2f} s, "
                f"product {product:.2f} s, top five {chosen:.2f} s; in all {total:.2f} s"
            )

        shelf = store.shelf(fingerprint(clip))  # type: ignore[arg-type]
        query = labels[:, 0].contiguous()
        spent = min(
            timed(lambda: shelf.scan(["path", "vector"], lambda b: search._best(b, query, 84)))
            for _ in range(3)
        )
        print(f"one search through all of them: {spent:.2f} s")
        if arguments.duplicates:
            spent = timed(lambda: search.duplicates(clip, store=store, threshold=0.97))  # type: ignore[arg-type]
            print(f"duplicates among all of them: {spent:.1f} s")


if __name__ == "__main__":
    main()
