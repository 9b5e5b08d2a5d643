"""How long a person waits for `mmfm --help`, and a program for `import mmfm`.

python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from about import this_run


def median_seconds(command: list[str], times: int = 5) -> float:
    """The median of some runs, after one that warms the disk."""
    seconds: list[float] = []
    for _ in range(times + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


if __name__ == "__main__":
    print(this_run())
    mmfm = str(Path(sys.executable).with_name("mmfm"))
    for name, command in {
        "mmfm --help": [mmfm, "--help"],
        "import mmfm": [sys.executable, "-c", "import mmfm"],
        "import torch, to compare": [sys.executable, "-c", "import torch"],
    }.items():
        print(f"{name:26} {median_seconds(command):.2f} s (median of 5, warm)")
