"""What a growing folder costs: time for each picture, and the most memory that was held.

    python benchmarks/folder_growth.py [--counts 1000 10000 100000] [--work classify index]
        [--engine auto] [--model clip-shapes] [--folder DIR]

Small JPEGs, no two alike, a thousand in each folder; the smaller counts are links to the first of
them. Every run is a process of its own, `mmfm classify DIR --json` or `mmfm index DIR` into a new
store; what it takes for a single picture is taken off the time. Memory is the most that the process
and those that it started ever held together, looked at ten times a second (pages that they share
count twice), and by the kernel's account the most of the largest single one.
"""

import argparse
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from about import this_run
from photographs import jpeg, photograph

MIB = 2**20
DIFFERENT = 200  # pictures; the files differ in a comment as well
FLAT = 1.10  # times the memory of the smallest count


@dataclass(frozen=True)
class Cost:
    """What a run took."""

    seconds: float
    together: int  # bytes: of all its processes at a time
    largest: int  # bytes: of the largest process, by the kernel's account


def thumbnails(side: int = 96) -> Iterator[bytes]:
    """Endless small JPEGs, each with its number as a comment, so that no two files are alike."""
    pictures = [jpeg(photograph(number, (side, side)), 80) for number in range(DIFFERENT)]
    number = 0
    while True:
        data = pictures[number % DIFFERENT]
        said = f"picture {number}".encode()
        # A comment stands behind the first two bytes: its marker, its length with the length's own.
        yield data[:2] + b"\xff\xfe" + struct.pack(">H", len(said) + 2) + said + data[2:]
        number += 1


def write_folders(root: Path, counts: list[int]) -> dict[int, Path]:
    """A folder for each count, and one with a single picture."""
    folders = {count: root / f"{count}-pictures" for count in sorted({1, *counts}, reverse=True)}
    largest = folders[max(counts)]
    for number, data in zip(range(max(counts)), thumbnails(), strict=False):
        name = f"{number // 1000:03}/{number:06}.jpg"
        path = largest / name
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(data)
        for count, folder in folders.items():
            if number < count < max(counts):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.link(path, folder / name)
    return folders


def measured(command: list[str], answers: Path) -> Cost:
    """Run a command to its end."""
    with answers.open("w") as out, answers.with_suffix(".err").open("w") as told:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=told)
        together = Watch(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        lines = answers.with_suffix(".err").read_text().strip().splitlines()
        sys.exit(f"{' '.join(command)} ended with {process.returncode}\n" + "\n".join(lines[-5:]))
    largest = usage.ru_maxrss if sys.platform == "darwin" else 1024 * usage.ru_maxrss
    return Cost(seconds, max(together.stop(), largest), largest)


class Watch:
    """Looks at the memory of a process and its children from a thread, until it is stopped."""

    def __init__(self, pid: int) -> None:
        self._process, self._most = psutil.Process(pid), 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            try:
                family = [self._process, *self._process.children(recursive=True)]
                self._most = max(self._most, sum(one.memory_info().rss for one in family))
            except psutil.NoSuchProcess:
                continue  # one of them has just ended; the next look sees who is left

    def stop(self) -> int:
        """The most bytes that were seen."""
        self._ended.set()
        self._thread.join()
        return self._most


def command(work: str, folder: Path, root: Path, model: str, engine: str) -> list[str]:
    """The command for a folder; an index begins with an empty store."""
    how = ["--model", model, *(["--engine", engine] if engine else [])]
    mmfm = str(Path(sys.executable).with_name("mmfm"))
    if work == "index":
        store = root / "store"
        shutil.rmtree(store, ignore_errors=True)
        return [mmfm, "index", str(folder), "--store", str(store), *how]
    labels = "red circle,blue star,green square"
    return [mmfm, "classify", str(folder), "--labels", labels, "--json", *how]


def table(work: str, folders: dict[int, Path], root: Path, model: str, engine: str) -> None:
    """Run one kind of work over every count, and print what it took."""
    answers = root / "answers.jsonl"
    costs: dict[int, Cost] = {}
    print(f"\nmmfm {work}, {model}, engine {engine}")
    print(
        f"{'pictures':>9} {'seconds':>9} {'a picture':>11} {'memory':>10} {'largest process':>16}"
    )
    measured(command(work, folders[1], root, model, engine), answers)  # warms up
    for count in sorted(folders):
        cost = costs[count] = measured(command(work, folders[count], root, model, engine), answers)
        told = len(answers.read_text().splitlines())
        if work == "classify" and told != count:
            sys.exit(f"{told} answers for {count} pictures")
        each = "start-up" if count == 1 else f"{1000 * _each(costs, count):.3f} ms"
        print(
            f"{count:9,} {cost.seconds:9.1f} {each:>11} {cost.together / MIB:6.0f} MiB "
            f"{cost.largest / MIB:12.0f} MiB",
            flush=True,
        )
    counted = sorted(costs)[1:]
    least, most = counted[0], counted[-1]
    slower = _each(costs, most) / _each(costs, least)
    fuller = max(costs[count].together for count in counted) / costs[least].together
    kept = "kept" if fuller <= FLAT else "missed"
    print(
        f"from {least:,} to {most:,} pictures: {slower:.2f} times the time for each (1 is linear), "
        f"{fuller:.2f} times the memory at most (target: at most {FLAT}: {kept})"
    )


def _each(costs: dict[int, Cost], count: int) -> float:
    return (costs[count].seconds - costs[1].seconds) / (count - 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument(
        "--work", nargs="+", choices=["classify", "index"], default=["classify", "index"]
    )
    parser.add_argument("--model", default="clip-shapes")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--folder", type=Path, help="work here (1 GB) instead of in /tmp")
    arguments = parser.parse_args()
    print(this_run(), flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        root = Path(name)
        os.environ["MMFM_CACHE"] = str(root / "cache")
        folders = write_folders(root, arguments.counts)
        for work in arguments.work:
            table(work, folders, root, arguments.model, arguments.engine)


if __name__ == "__main__":
    main()
