"""What the networks and recipes that were candidates draw after a few minutes of learning.

    python benchmarks/denoiser_candidates.py [NAME...] [--minutes 2.5] [--seeds 1]
        [--results FOLDER] [--data mnist] [--count 2000] [--guidance 1]

Each is the recipe for the data with one thing changed, and learns for as many minutes on this
machine: a network that is better a picture may be worse a minute. It draws without guidance, which
would hide the differences. NAMEs choose candidates by a part of their name; the networks are those
of `denoiser_speed.py`, without those that nobody asks for. A difference that another seed would
turn round is none, so look at two rows of the same before you trust one.

It may be stopped at any time: the same command goes on where it was.

    dit --minutes 0.05 --count 50      only to see that it works
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from denoiser_speed import CANDIDATES
from diffusion_minutes import measured, median
from diffusion_results import add_options, results_of, second_opinions

from mmfm.errors import MmfmError
from mmfm.machine import pick_device
from mmfm.tasks.train_diffusion import DiffusionRecipe, recipe_for

Change = Callable[[DiffusionRecipe], DiffusionRecipe]

NETWORKS = (
    "unet 16-48-96",
    "unet 16-48-96 blind",
    "unet 16-32-64",
    "unet 16-64-128",
    "unet /2 48-96 add",
    "unet /2 48-128 add",
    "dit /4 128x6",
)


def network(name: str) -> Change:
    """Another network, asked the same."""
    asked = ("objective", "schedule")
    given = CANDIDATES[name]
    return lambda recipe: replace(
        recipe, model={**{key: recipe.model[key] for key in asked}, **given}
    )


def asked(**settings: Any) -> Change:
    """The same network, asked something else."""
    return lambda recipe: replace(recipe, model={**recipe.model, **settings})


def times_rates(recipe: DiffusionRecipe, factor: float) -> dict[str, float]:
    """Both rates so many times as high; as much weight as before is lost to decay."""
    plan = recipe.plan
    return {
        "rate": factor * plan.rate,
        "matrix_rate": factor * plan.matrix_rate,
        "weight_decay": plan.weight_decay / factor,
    }


CHANGES: dict[str, Change] = {
    "as the recipe says": lambda recipe: recipe,
    **{name: network(name) for name in NETWORKS},
    "asked for the noise": asked(objective="noise"),
    "asked for the picture": asked(objective="clean"),
    "cosine schedule, velocity": asked(objective="velocity", schedule="cosine"),
    "times uniform": lambda recipe: replace(recipe, times="uniform"),
    "batch 32": lambda recipe: recipe.changed({"batch": 32}),
    "batch 128": lambda recipe: recipe.changed({"batch": 128}),
    "twice the rates": lambda recipe: recipe.changed(times_rates(recipe, 2)),
    "half the rates": lambda recipe: recipe.changed(times_rates(recipe, 1 / 2)),
    "no weight decay": lambda recipe: recipe.changed({"weight_decay": 0.0}),
    "average 0.9995": lambda recipe: recipe.changed({"average": 0.9995}),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    add_options(parser)
    parser.set_defaults(count=2000)
    parser.add_argument("--minutes", type=float, default=2.5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = pick_device(arguments.device).type
    wanted = [
        name for name in CHANGES if not arguments.names or any(n in name for n in arguments.names)
    ]
    if not wanted:
        sys.exit("no such candidate; there are: " + ", ".join(CHANGES))
    results = results_of(arguments)
    usual = DiffusionRecipe.read(recipe_for(arguments.data))
    how = replace(usual.sampling, guidance=arguments.guidance)
    said = ", ".join(f"{name} {value}" for name, value in asdict(how).items() if value is not None)
    print(f"{arguments.minutes:g} minutes each; {said}")
    print(
        f"{'':26} {'weights':>9} {'pictures/s':>10} {'accuracy':>9} {'FID':>8} {'ratio':>8} ",
        end="",
    )
    print(f"{'second':>8} {'seeds':>5}")
    for name in wanted:
        recipe = replace(CHANGES[name](usual), sampling=how)
        rows = [
            measured(results, recipe, arguments.minutes, seed, device)
            for seed in range(arguments.seeds)
        ]
        print(
            f"{name:26} {rows[0]['parameters']:9,} {median(rows, 'rate'):10,.0f} "
            f"{median(rows, 'accuracy'):9.2%} {median(rows, 'fid'):8.2f} "
            f"{median(rows, 'ratio'):7.2f}x {median(second_opinions(rows), 'ratio'):7.2f}x "
            f"{len(rows):5}",
            flush=True,
        )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on")
    except MmfmError as error:
        sys.exit(str(error))
