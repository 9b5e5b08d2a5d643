"""How long `mmfm train vit --data digits` takes as a whole command, and how good it gets.

python benchmarks/digits.py
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from about import this_run


def train(seed: int) -> tuple[float, float]:
    """Seconds of the whole command, and the accuracy on the held-out third."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "mmfm", "train", "vit", "--data", "digits"]
        start = time.perf_counter()
        subprocess.run(
            [*command, "--out", str(out), "--seed", str(seed)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        seconds = time.perf_counter() - start
        rows = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    return seconds, [row["accuracy"] for row in rows if "accuracy" in row][-1]


if __name__ == "__main__":
    print(this_run("measured precision and threads"))
    for seed in range(3):
        seconds, accuracy = train(seed)
        print(f"seed {seed}: {seconds:.0f} s, {accuracy:.1%} of 599 held-out digits")
