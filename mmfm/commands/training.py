"""`mmfm train`: a model of one's own."""

import shlex
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mmfm.commands.options import Device
from mmfm.errors import BadInput

Precision = StrEnum("Precision", ["auto", "fp32", "bf16"])

Out = Annotated[Path, typer.Option(metavar="RUN", help="Keep the run in this folder.")]
Minutes = Annotated[
    float | None,
    typer.Option(metavar="N", help="Train for so many minutes, not as the recipe says."),
]
Steps = Annotated[
    int | None,
    typer.Option(metavar="N", help="Train for so many steps, not as the recipe says."),
]
Size = Annotated[int | None, typer.Option(metavar="N", help="Bring the pictures to this size.")]
Start = Annotated[
    str | None, typer.Option(metavar="M", help="Begin with the weights of this model.")
]
Seed = Annotated[
    int | None, typer.Option(metavar="N", help="Draw other weights, order and held-out part.")
]
Threads = Annotated[
    int | None, typer.Option(metavar="N", help="Compute on so many, not on the fastest number.")
]
InPrecision = Annotated[
    Precision | None, typer.Option("--precision", help="Compute in this, not in the fastest.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]


def train_vit(
    out: Out,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="digits, mnist, fashion, a folder of class folders, a parquet file.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Train by this recipe: vit-cifar, say, or a TOML file.",
        ),
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
    """Teach a vision transformer to name pictures."""
    from mmfm.faces import show_training, stopping
    from mmfm.tasks import train_vit as task

    changes = plan_changes(minutes, steps, seed, threads, precision)
    fixed = {"recipe": recipe, "size": size, "start": start, "seed": seed, "precision": precision}
    use = f"mmfm demo patches --model {shlex.quote(str(out))}"
    with stopping() as stop, show_training("mmfm train vit", out, stop, use=use) as screen:
        if resume:
            refuse_to_change(fixed)
            reports = task.resume_vit(
                out, data=data, changes=changes, device=device, progress=screen.loading, stop=stop
            )
        else:
            if data is None:
                raise BadInput(
                    "--data is missing: digits, mnist, fashion, a folder or a parquet file"
                )
            chosen = task.VitRecipe.read(recipe or task.recipe_for(data))
            chosen = chosen.changed(changes, size=size, start=start)
            reports = task.train_vit(
                data, out, chosen, device=device, progress=screen.loading, stop=stop
            )
        for report in reports:
            screen.show(report)
    raise typer.Exit(screen.exit_status)


def train_clip(
    out: Out,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="shapes, class folders, a parquet file, a CSV file of paths and captions.",
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Take captions from this column; may be repeated."),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take the names of the classes from this file."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Train by this recipe: clip-shapes, say, or a TOML file.",
        ),
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
    """Teach two towers which caption goes with which picture."""
    from mmfm.faces import show_training, stopping
    from mmfm.tasks import train_clip as task

    changes = plan_changes(minutes, steps, seed, threads, precision)
    fixed = {"recipe": recipe, "size": size, "start": start, "seed": seed, "precision": precision}
    fixed |= {"text": text, "names": names}
    use = f"mmfm.load_clip({str(out)!r})  # in Python"
    with stopping() as stop, show_training("mmfm train clip", out, stop, use=use) as screen:
        if resume:
            refuse_to_change(fixed)
            reports = task.resume_clip(
                out, data=data, changes=changes, device=device, progress=screen.loading, stop=stop
            )
        else:
            if data is None:
                raise BadInput("--data is missing: shapes, a folder, a parquet file or a CSV file")
            pairs = task.Pairs(data, tuple(text or ()), names)
            chosen = task.ClipRecipe.read(recipe or task.recipe_for(data))
            chosen = chosen.changed(changes, size=size, start=start)
            reports = task.train_clip(
                pairs, out, chosen, device=device, progress=screen.loading, stop=stop
            )
        for report in reports:
            screen.show(report)
    raise typer.Exit(screen.exit_status)


def train_diffusion(
    out: Out,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="digits, mnist, fashion, a folder of pictures or class folders, a parquet file.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Train by this recipe: diffusion-mnist, say, or a TOML file.",
        ),
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
    """Teach a denoiser to draw such pictures."""
    from mmfm.faces import show_training, stopping
    from mmfm.tasks import train_diffusion as task

    changes = plan_changes(minutes, steps, seed, threads, precision)
    fixed = {"recipe": recipe, "size": size, "start": start, "seed": seed, "precision": precision}
    use = f"mmfm sample {shlex.quote(str(out))} --out grid.png"
    also = f"how it learned: {out / 'learning.gif'}, how it draws: {out / 'steps.gif'}"
    command = "mmfm train diffusion"
    with stopping() as stop, show_training(command, out, stop, use=use, also=also) as screen:
        if resume:
            refuse_to_change(fixed)
            reports = task.resume_diffusion(
                out, data=data, changes=changes, device=device, progress=screen.loading, stop=stop
            )
        else:
            if data is None:
                raise BadInput(
                    "--data is missing: digits, mnist, fashion, a folder or a parquet file"
                )
            chosen = task.DiffusionRecipe.read(recipe or task.recipe_for(data))
            chosen = chosen.changed(changes, size=size, start=start)
            reports = task.train_diffusion(
                data, out, chosen, device=device, progress=screen.loading, stop=stop
            )
        for report in reports:
            screen.show(report)
    raise typer.Exit(screen.exit_status)


def plan_changes(
    minutes: float | None,
    steps: int | None,
    seed: int | None,
    threads: int | None,
    precision: Precision | None,
) -> dict[str, object]:
    """What the person says otherwise than the recipe's plan does."""
    given = {"seed": seed, "threads": threads, "precision": precision}
    changes: dict[str, object] = {name: v for name, v in given.items() if v is not None}
    if minutes is not None or steps is not None:
        changes |= {"minutes": minutes, "steps": steps}
    return changes


def refuse_to_change(fixed: Mapping[str, object]) -> None:
    """A run goes on as it began: its end and its threads may change, nothing else."""
    if given := [name for name, value in fixed.items() if value not in (None, [])]:
        raise BadInput(f"a run goes on as it began; leave out --{given[0]} with --resume")
