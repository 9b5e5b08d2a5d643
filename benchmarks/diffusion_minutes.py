"""How good mmfm's digits are after so many minutes of training: medians of a few seeds.

    python benchmarks/diffusion_minutes.py [--minutes 5 20] [--seeds 3] [--recipe NAME]
        [--data mnist] [--results FOLDER] [--count 5000] [--device cpu]

Each run is `mmfm train diffusion --minutes N --seed S`, then `mmfm score`: as many pictures as make
the floor, of the same labels, drawn as the recipe's [sampling] says, in whole bytes. Accuracy and
FID come from the same pictures; the floor is what real digits that nobody has learned from get.
A target is kept if the second ruler says so, too: its ratio stands beside the first one's.

It may be stopped at any time: the same command goes on where it was. A recipe that was changed is
trained anew; where only its [sampling] was, the same weights draw again.

    --device cuda --minutes 0.95      the quality of twenty minutes in less than one, on a GPU
    --minutes 0.1 --seeds 1 --count 100      only to see that it works
"""

import argparse
import hashlib
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from diffusion_results import Results, Row, add_options, figures, results_of, second_opinions
from safetensors import safe_open

from mmfm.data.augment import Augment
from mmfm.errors import MmfmError
from mmfm.machine import pick_device
from mmfm.models.checkpoints import load_denoiser
from mmfm.models.denoiser import DenoiserConfig
from mmfm.tasks.score import score
from mmfm.tasks.train_diffusion import (
    DiffusionRecipe,
    DrawingRecipe,
    recipe_for,
    resume_diffusion,
    train_diffusion,
)
from mmfm.train import Plan

# Minutes of training on a processor -> least accuracy, and the FID at most so many times the floor.
TARGETS = {5.0: (0.98, 4.0), 20.0: (0.99, 1.8)}
ON_A_GPU = 1.0  # minutes for what takes a processor twenty


def known_by(recipe: DiffusionRecipe, minutes: float, seed: int, device: str) -> Row:
    """What tells one run of ours from another."""
    return {
        "tool": "mmfm",
        "minutes": minutes,
        "seed": seed,
        "device": device,
        "recipe": digest(recipe),
        "sampling": asdict(recipe.sampling),
    }


def digest(recipe: DrawingRecipe) -> str:
    """By what a recipe is known, however long it is followed and however the model then draws."""
    plain = recipe.plain()
    del plain["sampling"]
    plain["model"] = asdict(DenoiserConfig(**recipe.model))
    apart = ("minutes", "steps", "seed")
    plain["plan"] = {name: value for name, value in plain["plan"].items() if name not in apart}
    # What is as it is unless it is said otherwise counts as not there, so that an option that is
    # new makes no run a new one.
    usual = {
        "model": asdict(DenoiserConfig()),
        "augment": asdict(Augment()),
        "plan": asdict(Plan(steps=1)),
        "loss": {field.name: field.default for field in fields(recipe)},
    }
    for section, defaults in usual.items():
        said = plain[section].items()
        plain[section] = {name: value for name, value in said if value != defaults[name]}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:8]


def run_folder(results: Results, recipe: DiffusionRecipe, minutes: float, seed: int) -> Path:
    """Where such a run lies."""
    return results.folder / f"mmfm-{minutes:g}min-seed{seed}-{digest(recipe)}"


def measured(
    results: Results, recipe: DiffusionRecipe, minutes: float, seed: int, device: str
) -> Row:
    """One run: what was found of it, or is found now."""
    known = known_by(recipe, minutes, seed, device)
    if found := results.rows(**known):
        return found[-1]
    out = run_folder(results, recipe, minutes, seed)
    facts = _train(results.data, out, recipe, minutes, seed, device)
    den = load_denoiser(str(out), device=device)
    weights = sum(parameter.numel() for parameter in den.parameters())
    how = asdict(recipe.sampling)
    scored = score(den, results.yardstick, count=results.count, seed=seed, device=device, **how)
    return results.keep(known, scored, parameters=weights, **facts)


def _train(
    data: str, out: Path, recipe: DiffusionRecipe, minutes: float, seed: int, device: str
) -> Row:
    """Train, or go on with a training that was stopped."""
    if (out / "run.json").is_file():
        reports = resume_diffusion(out, data=data, device=device)
    else:
        plan = {"minutes": minutes, "steps": None, "seed": seed}
        reports = train_diffusion(data, out, recipe.changed(plan), device=device)
    notes: list[str] = []
    for report in reports:
        notes += report.step.notes
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    last = [row for line in lines if "loss" in (row := json.loads(line))][-1]
    seen = last["step"] * recipe.plan.batch
    return {
        "steps": last["step"],
        "seen": seen,
        "seconds": last["seconds"],
        "rate": seen / last["seconds"],
        "precision": _precision(out),
        "notes": notes,
    }


def _precision(out: Path) -> str:
    """What the machine was found to be fastest in."""
    with safe_open(out / "checkpoint.safetensors", "pt") as checkpoint:
        return json.loads(checkpoint.metadata()["mmfm"])["precision"]


def median(rows: Sequence[Row], name: str) -> float:
    """The median of a figure over the runs that have it; NaN where none has."""
    values = [row[name] for row in rows if row[name] is not None]
    return statistics.median(values) if values else float("nan")


def targets(minutes: float, device: str) -> tuple[float, float] | None:
    """Least accuracy and highest ratio to the floor after so long, if anything was promised."""
    if device == "cpu":
        return TARGETS.get(minutes)
    return TARGETS[20.0] if minutes <= ON_A_GPU else None


def verdict(rows: Sequence[Row], accuracy: float, ratio: float) -> str:
    """Whether the medians keep what was promised, in the eyes of the second ruler, too."""
    other = second_opinions(rows)
    kept = all(
        median(seen, "accuracy") >= accuracy and median(seen, "ratio") <= ratio
        for seen in (rows, other)
        if seen
    )
    word = "MISSED" if not kept else "kept" if other else "kept, by one ruler alone"
    return f"{word}: {accuracy:.0%} at {ratio:g}x or less"


def _line(minutes: float, rows: Sequence[Row], device: str) -> str:
    line = (
        f"{minutes:7g} {len(rows):5} {median(rows, 'rate'):10,.0f} {median(rows, 'accuracy'):9.2%} "
        f"{median(rows, 'fid'):7.2f} {median(rows, 'floor'):7.2f} {median(rows, 'ratio'):7.2f}x "
        f"{median(second_opinions(rows), 'ratio'):7.2f}x"
    )
    wanted = targets(minutes, device)
    return line if wanted is None else f"{line}   {verdict(rows, *wanted)}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--minutes", type=float, nargs="+", default=sorted(TARGETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipe", help="a recipe's name or file; else the one for the data")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = pick_device(arguments.device).type
    results = results_of(arguments)
    recipe = DiffusionRecipe.read(arguments.recipe or recipe_for(arguments.data))
    for seed in range(arguments.seeds):
        for minutes in arguments.minutes:
            row = measured(results, recipe, minutes, seed, device)
            told = f"{row['seen']:,} pictures in {row['seconds']:.0f} s, {row['precision']}"
            print(f"{minutes:g} minutes, seed {seed}: {told}; {figures(row)}", flush=True)
            for note in row["notes"]:
                print(f"    {note}")
    print(f"\nmedians\n{'minutes':>7} {'seeds':>5} {'pictures/s':>10} {'accuracy':>9} ", end="")
    print(f"{'FID':>7} {'floor':>7} {'ratio':>8} {'second':>8}   target")
    for minutes in arguments.minutes:
        rows = [measured(results, recipe, minutes, s, device) for s in range(arguments.seeds)]
        print(_line(minutes, rows, device))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on")
    except MmfmError as error:
        sys.exit(str(error))
