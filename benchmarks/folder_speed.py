"""How fast a folder of photographs is classified, beside transformers, open_clip and rclip.

    python benchmarks/folder_speed.py [--pictures 128] [--rounds 3] [--sizes 4000x3000 500x375]
        [--engines auto exact] [--peers transformers open_clip ...] [--rclip PATH] [--threads N]

The same random ViT-B/32 weights, written as each package reads them; the same files, labels,
sentences and threads. Each run is a process of its own, from the command to its last answer, on a
warm disk; the packages take turns, and medians count. Every turn runs all pictures and then one:
that is the start-up, and the others over the time beyond it are the steady rate.

    transformers         the zero-shot-image-classification pipeline over a list of paths
    transformers-batch   the same with batch_size=32
    open_clip            the loop of its README, a picture at a time
    open_clip-workers    a DataLoader of two processes, batches of 32 (open_clip-1-worker: of one)
    open_clip-workers-bf16   the same with open_clip's precision="bf16", which few know of
    rclip                rclip's index, then one search; with --rclip PATH/TO/ITS/COMMAND

mmfm runs as `mmfm classify DIR --labels ... --json`, once for each of --engines; "exact" is the
plain decode in fp32. Its label vectors and its choice of an engine are kept from the turn that
warms up, as they are for a person. What it answers with --exact is compared with what the others
answer.

rclip wants its own environment (an older numpy): python -m venv X && X/bin/pip install rclip. It
has weights of its own, but takes what lies in RCLIP_DATADIR: our graphs, fp32, under their names
(torch writes them with onnxscript, which has to be installed here). It prepares 256x256 pixels and
stores vectors instead of naming pictures, so its answers are not compared.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch
from about import this_run
from folder_peers import LABELS, PEERS, TEMPLATE
from photographs import write_photographs
from same_weights import random_clip, write_open_clip, write_rclip, write_transformers

# How many times as fast as each of them we want to be, at 12 megapixels and at 500x375.
TARGETS = {"transformers": (8, 6), "open_clip": (4, 3), "open_clip-workers": (2.5, 2)}
USUAL = (
    "transformers",
    "transformers-batch",
    "open_clip",
    "open_clip-workers",
    "open_clip-workers-bf16",
)


@dataclass
class Tool:
    """One package in the race: its command, to which the folder is put where FOLDER stands."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict[str, str])
    in_folder: bool = False  # it works on the folder that it is started in
    forget: Path | None = None  # what it must not remember from its last run
    one: list[float] = field(default_factory=list[float])  # seconds
    all: list[float] = field(default_factory=list[float])

    def run(self, folder: Path, out: Path) -> float:
        """Run over a folder, and tell how many seconds that took; its answers go to a file."""
        if self.forget is not None:
            self.forget.unlink(missing_ok=True)
        command = [str(folder) if part == "FOLDER" else part for part in self.command]
        with out.open("w") as answers, out.with_suffix(".err").open("w") as told:
            start = time.perf_counter()
            done = subprocess.run(
                command,
                stdout=answers,
                stderr=told,
                env={**os.environ, **self.environment},
                cwd=folder if self.in_folder else None,
            )
            seconds = time.perf_counter() - start
        if done.returncode:
            lines = out.with_suffix(".err").read_text().strip().splitlines()
            sys.exit(f"{self.name} failed: {' '.join(command)}\n" + "\n".join(lines[-5:]))
        return seconds

    def startup(self) -> float:
        """Seconds before the first picture, and that one."""
        return statistics.median(self.one)

    def rate(self, pictures: int) -> float:
        """Pictures a second once it runs; no number where so few took no longer than one."""
        beyond = [whole - one for whole, one in zip(self.all, self.one, strict=True)]
        return (pictures - 1) / taken if (taken := statistics.median(beyond)) > 0 else math.nan

    def whole_rate(self, pictures: int) -> float:
        """Pictures a second with the start-up in it."""
        return pictures / statistics.median(self.all)


def tools(
    root: Path, engines: Sequence[str], peers: Sequence[str], rclip: Path | None
) -> list[Tool]:
    """Write the weights in each package's format, and say how each is run on them."""
    clip = random_clip()
    theirs = {name: root / "models" / name for name in ("open_clip", "transformers", "rclip")}
    write_open_clip(clip, theirs["open_clip"])
    write_transformers(clip, theirs["transformers"])
    templates = root / "templates.txt"
    templates.write_text(TEMPLATE.format("{name}") + "\n")

    ours = [str(Path(sys.executable).with_name("mmfm")), "classify", "FOLDER", "--json"]
    ours += ["--labels", ",".join(LABELS), "--templates", str(templates), "--all-scores"]
    ours += ["--model", str(theirs["open_clip"]), "--device", "cpu"]
    how = {
        engine: ["--exact", "--engine", "fp32"] if engine == "exact" else ["--engine", engine]
        for engine in engines
    }
    own_cache = {"MMFM_CACHE": str(root / "cache")}
    found = [Tool(f"mmfm {e}", [*ours, *options], own_cache) for e, options in how.items()]
    program = str(Path(__file__).with_name("folder_peers.py"))
    for peer in peers:
        weights = theirs["transformers" if peer.startswith("transformers") else "open_clip"]
        found.append(Tool(peer, [sys.executable, program, peer, "FOLDER", str(weights)]))
    if rclip is not None:
        with torch.no_grad():
            write_rclip(clip, theirs["rclip"])
        found.append(
            Tool(
                "rclip",
                [str(rclip.absolute()), TEMPLATE.format(LABELS[0])],
                {"RCLIP_DATADIR": str(theirs["rclip"])},
                in_folder=True,
                forget=theirs["rclip"] / "db.sqlite3",
            )
        )
    return found


def race(entered: Sequence[Tool], folder: Path, single: Path, rounds: int, out: Path) -> None:
    """Let all run in turns; the first turn only warms up."""
    out.mkdir()
    for turn in range(rounds + 1):
        for tool in entered:
            whole = tool.run(folder, out / f"{tool.name}.jsonl")
            if turn:
                tool.all.append(whole)
                tool.one.append(tool.run(single, out / "one.jsonl"))


def report(entered: Sequence[Tool], pictures: int, large: bool) -> None:
    """Print how fast each was, and how many times as fast the first of ours."""
    print(
        f"{'':24} {'start-up':>9} {'steady':>12} {'whole run':>12}   "
        f"{entered[0].name} is faster: steady, whole run; target"
    )
    for tool in entered:
        line = f"{tool.name:24} {tool.startup():7.1f} s {tool.rate(pictures):10.1f}/s"
        line += f" {tool.whole_rate(pictures):10.1f}/s"
        if tool is not entered[0]:
            steady = entered[0].rate(pictures) / tool.rate(pictures)
            whole = entered[0].whole_rate(pictures) / tool.whole_rate(pictures)
            line += f"   {steady:.2f}x, {whole:.2f}x"
            if tool.name in TARGETS:
                line += f"; {TARGETS[tool.name][0 if large else 1]}x"
        print(line, flush=True)


def agreement(exact: Tool, entered: Sequence[Tool], single: Path, folder: Path, out: Path) -> None:
    """Print how far the scores lie apart; of random weights all are near one another."""
    exact.run(folder, out / "exact.jsonl")
    ours = _read(out / "exact.jsonl")
    spread = float(torch.stack(list(ours.values())).std(dim=0).mean())
    print(f"agreement: from picture to picture a score varies by {spread:.1e} (standard deviation)")
    for tool in entered:
        if tool.name == "rclip":
            continue
        theirs = _read(out / f"{tool.name}.jsonl")
        if theirs.keys() != ours.keys():
            sys.exit(f"{tool.name} answered for {len(theirs)} files, mmfm for {len(ours)}")
        gaps = torch.stack([(theirs[path] - ours[path]).abs().max() for path in ours])
        same = sum(bool(theirs[path].argmax() == ours[path].argmax()) for path in ours)
        print(
            f"{tool.name:24} against mmfm exact: largest difference {gaps.max():.1e}, "
            f"median {gaps.median():.1e}; same first answer for {same} of {len(ours)}"
        )


def _read(path: Path) -> dict[str, torch.Tensor]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {
        line["path"]: torch.tensor([line["scores"][label] for label in LABELS]) for line in lines
    }


def use_threads(threads: int) -> None:
    """Let this process and those it starts have so many of the processor's cores."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)
    if hasattr(os, "sched_setaffinity"):  # not on macOS; there some packages start more threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", default=["4000x3000", "500x375"])
    parser.add_argument("--engines", nargs="+", default=["auto", "exact"])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=USUAL)
    parser.add_argument("--rclip", type=Path, help="rclip's command, in an environment of its own")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--folder", type=Path, help="work here (4 GB) instead of in /tmp")
    arguments = parser.parse_args()
    if arguments.threads:
        use_threads(arguments.threads)
    # Nobody is to ask the network; the files are here.
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    names = ("mmfm", "transformers", "open_clip_torch", "pillow")
    print(this_run("fp32 weights; mmfm's engine as named"))
    print(", ".join(f"{name} {version(name)}" for name in names), flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        root = Path(name)
        asked = [e for e in arguments.engines if e != "exact"]
        entered = tools(root, ["exact", *asked], arguments.peers, arguments.rclip)
        exact = entered[0]
        if "exact" not in arguments.engines:
            entered = entered[1:]
        elif asked:
            entered = [*entered[1 : len(asked) + 1], exact, *entered[len(asked) + 1 :]]
        for size in arguments.sizes:
            wide, tall = map(int, size.split("x"))
            files = write_photographs(root / size, arguments.pictures, (wide, tall))
            single = root / f"{size}-one"
            single.mkdir()
            shutil.copy(files[0], single)
            bytes_each = sum(file.stat().st_size for file in files) / len(files)
            print(f"\n{len(files)} JPEGs of {size}, {bytes_each / 1e6:.2f} MB each")
            for tool in entered:
                tool.one, tool.all = [], []
            out = root / f"{size}-answers"
            race(entered, root / size, single, arguments.rounds, out)
            report(entered, len(files), large=wide * tall > 5_000_000)
            agreement(exact, entered, single, root / size, out)
            shutil.rmtree(root / size)


if __name__ == "__main__":
    main()
