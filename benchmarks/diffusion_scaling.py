"""How the quality of drawn digits grows: with training, with weights, with steps, with guidance.

    python benchmarks/diffusion_scaling.py [--what time parameters steps guidance]
        [--results FOLDER] [--data mnist] [--count 5000]
        [--minutes 1 2 5 10 20] [--seeds 1] [--widths 8,32,64 16,48,96 24,64,128] [--each 5]
        [--model RUN|NAME] [--steps 1 2 4 8 16 32 50] [--samplers euler dpm++ heun]
        [--guidance 1 1.15 1.5 2]

    time         FID and errors against minutes of training, the peers' too
    parameters   the same against millions of weights, all trained for --each minutes
    steps        against how often the network is asked for a picture, a curve a sampler
    guidance     against the guidance

Two pictures each, FOLDER/WHAT-fid.png and FOLDER/WHAT-errors.png, and a table. Without --minutes
and --widths nothing is trained: the first two draw what `diffusion_minutes.py` and
`diffusion_peers.py` have left in FOLDER (with the same --count). The last two ask --model; if none
is named, the longest run of the recipe there, or else `mnist-nano`.

    --minutes 0.05 0.1 --widths 8,16,32 --each 0.05 --steps 2 --samplers euler --guidance 1 \\
        --count 50      only to see that it works
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from diffusion_minutes import digest, measured, median, run_folder
from diffusion_peers import PEERS
from diffusion_results import Results, Row, add_options, figures, results_of

from mmfm import hub, plot
from mmfm.errors import MmfmError
from mmfm.files import digest as digest_of_file
from mmfm.files import whole
from mmfm.machine import pick_device
from mmfm.models.checkpoints import load_denoiser
from mmfm.models.denoiser import Denoiser
from mmfm.tasks.generate import Sampling, chosen
from mmfm.tasks.score import score
from mmfm.tasks.train_diffusion import DiffusionRecipe, recipe_for

AXES = {
    "time": "minutes of training",
    "parameters": "millions of weights",
    "steps": "times that the network is asked for a picture",
    "guidance": "guidance",
}
LOOKS_AHEAD = ("heun",)  # samplers that ask twice a step, but for the last one


class Point(NamedTuple):
    """What was found at one place of an axis, the median of several runs."""

    x: float
    ratio: float  # of the FID to the floor
    errors: float  # per cent; NaN where nothing could be named
    runs: int


Curves = dict[str, list[Point]]  # by the name of the curve


def points(rows: Sequence[Row], x: Callable[[Row], float]) -> list[Point]:
    """A curve through runs; those at the same place count together."""
    found: list[Point] = []
    for place in sorted({x(row) for row in rows}):
        here = [row for row in rows if x(row) == place]
        errors = 100 * (1 - median(here, "accuracy"))
        found.append(Point(place, median(here, "ratio"), errors, len(here)))
    return found


# --- what is trained ------------------------------------------------------------------------------


def over_time(results: Results, recipe: DiffusionRecipe, device: str) -> Curves:
    """All runs of this recipe, however long, and those of the peers."""
    ours = {"recipe": digest(recipe), "sampling": asdict(recipe.sampling), "device": device}
    curves = {"mmfm": points(results.rows(tool="mmfm", **ours), lambda row: row["minutes"])}
    for peer in PEERS:
        rows = results.rows(tool=peer, device=device)
        curves[peer] = points(rows, lambda row: row["minutes"])
    return curves


def over_parameters(results: Results, recipe: DiffusionRecipe, each: float, device: str) -> Curves:
    """Networks of any size that were trained for so many minutes."""
    alike = {"minutes": each, "device": device, "sampling": asdict(recipe.sampling)}
    rows = results.rows(tool="mmfm", **alike)
    return {f"{each:g} minutes": points(rows, lambda row: row["parameters"] / 1e6)}


def of_widths(recipe: DiffusionRecipe, widths: str) -> DiffusionRecipe:
    """The recipe of a network that is wider or narrower."""
    channels = [int(width) for width in widths.split(",")]
    return replace(recipe, model={**recipe.model, "widths": channels})


# --- how it draws ---------------------------------------------------------------------------------


class Drawn:
    """A model whose pictures are scored, however it is made to draw them."""

    def __init__(self, results: Results, name: str, device: str) -> None:
        self.results, self.device = results, device
        self.den: Denoiser = load_denoiser(name, device=device)
        self.weights = digest_of_file(hub.find(name).weights[0])[:12]

    def measured(self, how: Sampling) -> Row:
        """What was found of it, or is found now."""
        known = {"tool": "mmfm", "weights": self.weights, "sampling": asdict(how), "seed": 0}
        if found := self.results.rows(**known):
            return found[-1]
        results, manner = self.results, asdict(how)
        scored = score(
            self.den, results.yardstick, count=results.count, device=self.device, **manner
        )
        row = results.keep(known, scored, model=self.den.name)
        print(f"{how.sampler}, {how.steps} steps, guidance {how.guidance:g}: {figures(row)}")
        sys.stdout.flush()
        return row

    def over_steps(self, steps: Sequence[int], samplers: Sequence[str]) -> Curves:
        """The more often the network is asked, the better, up to a point."""
        curves: Curves = {}
        for sampler in samplers:
            rows = [self.measured(chosen(self.den, steps=n, sampler=sampler)) for n in steps]
            times = 2 if sampler in LOOKS_AHEAD else 1
            curves[sampler] = points(
                rows, lambda row, times=times: times * row["sampling"]["steps"] - (times - 1)
            )
        return curves

    def over_guidance(self, strengths: Sequence[float]) -> Curves:
        """What guidance gives in truth to the label, it takes in variety."""
        rows = [self.measured(chosen(self.den, guidance=strength)) for strength in strengths]
        return {self.den.name: points(rows, lambda row: row["sampling"]["guidance"])}


def a_model(results: Results, recipe: DiffusionRecipe) -> str:
    """The longest run of this recipe that is there, or the one that comes with the package."""
    rows = results.rows(tool="mmfm", recipe=digest(recipe))
    there = [
        (row["minutes"], str(folder))
        for row in rows
        if (folder := run_folder(results, recipe, row["minutes"], row["seed"])).is_dir()
    ]
    return max(there)[1] if there else "mnist-nano"


# --- what is shown --------------------------------------------------------------------------------


def show(what: str, curves: Curves, folder: Path) -> None:
    """Draw the curves, and print what they are drawn from."""
    curves = {name: line for name, line in curves.items() if line}
    print(f"\n{what}")
    if not curves:
        print("nothing was measured of it yet")
        return
    print(f"{'':12} {AXES[what]:>46} {'ratio':>8} {'errors':>8} {'runs':>5}")
    for name, line in curves.items():
        for point in line:
            errors = f"{point.errors:7.2f}%" if point.errors == point.errors else f"{'-':>8}"
            shown = Path(name).name
            print(f"{shown:12} {point.x:46g} {point.ratio:7.2f}x {errors} {point.runs:5}")
    kinds = {
        "fid": ("FID, times that of real digits", lambda point: point.ratio),
        "errors": ("named otherwise than asked for, %", lambda point: point.errors),
    }
    for kind, (axis, y) in kinds.items():
        lines = {
            Path(name).name: [(p.x, y(p)) for p in line if y(p) == y(p)]
            for name, line in curves.items()
        }
        lines = {name: line for name, line in lines.items() if line}
        # Each doubling takes as much room as the one before, but for guidance.
        logs = {"log_x": what != "guidance", "log_y": kind == "fid"}
        picture = plot.curve(lines, x=AXES[what], y=axis, **logs)
        with whole(folder / f"{what}-{kind}.png") as file:
            picture.save(file, "PNG")
        print(f"drawn: {folder / f'{what}-{kind}.png'}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--what", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--minutes", type=float, nargs="*", default=[], help="train so long first")
    parser.add_argument("--widths", nargs="*", default=[], help="train networks of such channels")
    parser.add_argument("--each", type=float, default=5.0, help="minutes for each of --widths")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--model")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 50])
    parser.add_argument("--samplers", nargs="+", default=["euler", "dpm++", "heun"])
    parser.add_argument(
        "--guidance", type=float, nargs="+", default=[1, 1.1, 1.15, 1.2, 1.3, 1.5, 2]
    )
    parser.add_argument("--recipe", help="a recipe's name or file; else the one for the data")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = pick_device(arguments.device).type
    results = results_of(arguments)
    recipe = DiffusionRecipe.read(arguments.recipe or recipe_for(arguments.data))
    if "time" in arguments.what:
        for minutes in arguments.minutes:
            for seed in range(arguments.seeds):
                row = measured(results, recipe, minutes, seed, device)
                print(f"{minutes:g} minutes, seed {seed}: {figures(row)}", flush=True)
        show("time", over_time(results, recipe, device), results.folder)
    if "parameters" in arguments.what:
        for widths in arguments.widths:
            for seed in range(arguments.seeds):
                other = of_widths(recipe, widths)
                row = measured(results, other, arguments.each, seed, device)
                print(f"widths {widths}, seed {seed}: {figures(row)}", flush=True)
        curves = over_parameters(results, recipe, arguments.each, device)
        show("parameters", curves, results.folder)
    if {"steps", "guidance"} & set(arguments.what):
        drawn = Drawn(results, arguments.model or a_model(results, recipe), device)
        print(f"\n{drawn.den.name} draws", flush=True)
        if "steps" in arguments.what:
            curves = drawn.over_steps(arguments.steps, arguments.samplers)
            show("steps", curves, results.folder)
        if "guidance" in arguments.what:
            show("guidance", drawn.over_guidance(arguments.guidance), results.folder)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on")
    except MmfmError as error:
        sys.exit(str(error))
