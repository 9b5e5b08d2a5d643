"""`mmfm train ruler`: what pictures are measured with."""

from typing import Annotated

import typer

from mmfm.commands.options import Device
from mmfm.commands.training import (
    InPrecision,
    Minutes,
    Out,
    Resume,
    Seed,
    Size,
    Start,
    Steps,
    Threads,
    plan_changes,
    refuse_to_change,
)
from mmfm.errors import BadInput


def train_ruler(
    out: Out,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="mnist, fashion, digits, a folder of class folders, a parquet file.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Train by this recipe: ruler-mnist, say, or a file."),
    ] = None,
    minutes: Minutes = None,
    steps: Steps = None,
    size: Size = None,
    start: Start = None,
    seed: Seed = None,
    threads: Threads = None,
    precision: InPrecision = None,
    device: Device = "auto",
    resume: Resume = False,
) -> None:
    """Teach a classifier by whose features pictures are scored."""
    from mmfm.faces import show_training, stopping
    from mmfm.tasks import train_ruler as task

    changes = plan_changes(minutes, steps, seed, threads, precision)
    fixed = {"recipe": recipe, "size": size, "start": start, "seed": seed, "precision": precision}
    with stopping() as stop, show_training("mmfm train ruler", out, stop, use="") as screen:
        if resume:
            refuse_to_change(fixed)
            reports = task.resume_ruler(
                out, data=data, changes=changes, device=device, progress=screen.loading, stop=stop
            )
        else:
            if data is None:
                raise BadInput(
                    "--data is missing: mnist, fashion, digits, a folder or a parquet file"
                )
            chosen = task.RulerRecipe.read(recipe or "ruler-mnist")
            chosen = chosen.changed(changes, size=size, start=start)
            reports = task.train_ruler(
                data, out, chosen, device=device, progress=screen.loading, stop=stop
            )
        for report in reports:
            screen.show(report)
        # Its folder knows what it is for, also of a run that was gone on with.
        screen.use, screen.also = task.what_for(out)
    raise typer.Exit(screen.exit_status)
