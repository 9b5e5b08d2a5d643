"""`mmfm train draw`: a model that draws what is said."""

import shlex
from typing import Annotated

import typer

from mmfm.commands.options import Device
from mmfm.commands.training import (
    InPrecision,
    Minutes,
    Out,
    Resume,
    Size,
    Start,
    Steps,
    Threads,
    plan_changes,
    refuse_to_change,
)
from mmfm.errors import BadInput


def train_draw(
    out: Out,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="The folder that holds what the recipe learns from: emoji, say."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Train by this recipe: emoji-nano, say, or a TOML file."),
    ] = None,
    clip: Annotated[
        str | None,
        typer.Option(metavar="M", help="Have this CLIP read the words, not the recipe's."),
    ] = None,
    minutes: Minutes = None,
    steps: Steps = None,
    size: Size = None,
    start: Start = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Draw other weights, order and noise.")
    ] = None,
    threads: Threads = None,
    precision: InPrecision = None,
    device: Device = "auto",
    resume: Resume = False,
) -> None:
    """Teach a denoiser to draw what is said."""
    from mmfm.faces import show_training, stopping
    from mmfm.tasks import train_draw as task

    changes = plan_changes(minutes, steps, seed, threads, precision)
    fixed = {"recipe": recipe, "clip": clip, "size": size, "start": start, "seed": seed}
    fixed |= {"precision": precision}
    use = f'mmfm sample {shlex.quote(str(out))} --prompt "red heart" --out grid.png'
    also = f"how it learned: {out / 'learning.gif'}, how it draws: {out / 'steps.gif'}"
    command = "mmfm train draw"
    with stopping() as stop, show_training(command, out, stop, use=use, also=also) as screen:
        if resume:
            refuse_to_change(fixed)
            reports = task.resume_draw(
                out, data=data, changes=changes, device=device, progress=screen.loading, stop=stop
            )
        else:
            chosen = task.DrawRecipe.read(recipe or "emoji-nano")
            if data is None:
                wanted = ", ".join(source.data for source in chosen.sources)
                raise BadInput(
                    f"--data is missing: the folder that holds {wanted}, which this recipe asks for"
                )
            chosen = chosen.changed(changes, size=size, start=start)
            reports = task.train_draw(
                data,
                out,
                chosen,
                clip=clip,
                device=device,
                progress=screen.loading,
                stop=stop,
            )
        for report in reports:
            screen.show(report)
    raise typer.Exit(screen.exit_status)
