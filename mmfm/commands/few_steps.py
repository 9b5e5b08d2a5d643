"""`mmfm train few-steps`: a model that draws in one step or two."""

import shlex
from typing import Annotated

import typer

from mmfm.commands.options import Device
from mmfm.commands.training import (
    InPrecision,
    Minutes,
    Out,
    Resume,
    Steps,
    Threads,
    plan_changes,
    refuse_to_change,
)
from mmfm.errors import BadInput


def train_few_steps(
    out: Out,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="M", help="The model that is to draw in few steps: mnist-nano, a run."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="What it was trained on: mnist, a folder, a parquet file."
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Teach it so: direct, progressive, shortcut, mean-flow or consistency.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Train by this recipe, a TOML file."),
    ] = None,
    minutes: Minutes = None,
    steps: Steps = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Draw other noise, and another order.")
    ] = None,
    threads: Threads = None,
    precision: InPrecision = None,
    device: Device = "auto",
    resume: Resume = False,
) -> None:
    """Teach a denoiser to draw in one step or two."""
    from mmfm.faces import show_training, stopping
    from mmfm.tasks import train_few_steps as task

    changes = plan_changes(minutes, steps, seed, threads, precision)
    fixed = {"from": from_, "method": method, "recipe": recipe, "seed": seed}
    fixed |= {"precision": precision}
    use = f"mmfm sample {shlex.quote(str(out))} --out grid.png"
    also = f"how it learned: {out / 'learning.gif'}, how it draws: {out / 'steps.gif'}"
    command = "mmfm train few-steps"
    with stopping() as stop, show_training(command, out, stop, use=use, also=also) as screen:
        if resume:
            refuse_to_change(fixed)
            reports = task.resume_few_steps(
                out, data=data, changes=changes, device=device, progress=screen.loading, stop=stop
            )
        else:
            if from_ is None:
                raise BadInput(
                    "--from is missing: which model is to draw in few steps, mnist-nano or a run"
                )
            if data is None:
                raise BadInput("--data is missing: what that model was trained on, mnist say")
            if recipe is not None and method is not None:
                raise BadInput("a recipe names its method; leave out --method or --recipe")
            named = recipe or task.recipe_for(method or task.BEST)
            chosen = task.FewStepsRecipe.read(named).changed(changes, start=from_)
            reports = task.train_few_steps(
                data, out, chosen, device=device, progress=screen.loading, stop=stop
            )
        for report in reports:
            screen.show(report)
    raise typer.Exit(screen.exit_status)
