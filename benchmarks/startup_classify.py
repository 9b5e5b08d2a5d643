"""How long one answer takes: `mmfm classify` of a picture, beside `import torch`, in turns.

    python benchmarks/startup_classify.py [--rounds 7] [--size 640x480]

The bundled checkpoint and a warm disk; the first turn only warms up, so that the labels' vectors
are kept already. With "labels never seen" they are not: a user's first time with these words.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from about import this_run
from photographs import photograph

TARGET = (1.3, 1.0)  # times `import torch`, and seconds more


def seconds(command: list[str]) -> float:
    """How long a command takes, from its start to its end."""
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    spent = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", default="640x480")
    arguments = parser.parse_args()
    print(this_run())
    with tempfile.TemporaryDirectory() as name:
        wide, tall = map(int, arguments.size.split("x"))
        picture = Path(name) / "one.png"
        photograph(0, (wide, tall)).save(picture)
        os.environ["MMFM_CACHE"] = name
        classify = [str(Path(sys.executable).with_name("mmfm")), "classify", str(picture)]
        commands = {
            "import torch": lambda turn: [sys.executable, "-c", "import torch"],
            "mmfm classify": lambda turn: [*classify, "--labels", "red circle,blue star"],
            "labels never seen": lambda turn: [*classify, "--labels", f"red {turn},blue {turn}"],
        }
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(arguments.rounds + 1):
            for name, command in commands.items():
                spent = seconds(command(turn))
                if turn:
                    taken[name].append(spent)
    medians = {name: statistics.median(several) for name, several in taken.items()}
    allowed = TARGET[0] * medians["import torch"] + TARGET[1]
    for name, spent in medians.items():
        few, most = min(taken[name]), max(taken[name])
        print(f"{name:18} {spent:.2f} s (median of {arguments.rounds}; {few:.2f} to {most:.2f})")
    kept = "kept" if medians["mmfm classify"] <= allowed else "missed"
    print(
        f"target: at most {TARGET[0]} x import torch + {TARGET[1]:.0f} s = {allowed:.2f} s: {kept}"
    )


if __name__ == "__main__":
    main()
