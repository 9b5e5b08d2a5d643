"""`mmfm sample`: pictures out of noise."""

import csv
from pathlib import Path
from typing import Annotated

import typer

from mmfm.commands.options import Device, Interval, Rescale, as_times, need_outputs
from mmfm.errors import BadInput, NotHere

_ENDINGS = "end it in .png for a grid, in .gif for the way from noise, in / for a file a picture"


def sample(
    model: Annotated[
        str, typer.Argument(metavar="RUN|NAME", help="A run of mmfm train diffusion, or a model.")
    ],
    out: Annotated[
        str,
        typer.Option(
            metavar="OUT",
            help="Write a grid (.png), the way from noise (.gif), or a file a picture (DIR/).",
        ),
    ],
    labels: Annotated[
        str | None,
        typer.Option(metavar="LABELS", help="Draw these in turn, not all: 0-9, or 3,7, or names."),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="Draw what this says, with a model that reads; repeated, in turn.",
        ),
    ] = None,
    clip: Annotated[
        str | None,
        typer.Option(metavar="M", help="Read with the CLIP here, if it is not where it was."),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Draw so many in all, not ten a label or a prompt (one of more than ten, 16 "
            "without).",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", help="Take so many steps; heun asks the network twice in each."),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            metavar="S",
            help="Sample by ddpm, ddim, dpm++, dpm++sde, euler or heun; made for few steps: jump.",
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(metavar="G", help="Guide to label and prompt: 1 not at all, 2 strongly."),
    ] = None,
    interval: Interval = None,
    rescale: Rescale = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Begin with other noise.")] = 0,
    device: Device = "auto",
) -> None:
    """Draw pictures with a denoiser."""
    path, kind = _destination(out)
    wished = None if labels is None else _listed(labels)
    between = as_times(interval)
    if clip is not None and not prompt:
        raise BadInput(f"--clip {clip}: it reads prompts, and there is none; add --prompt TEXT")
    from mmfm.faces import counting
    from mmfm.listing import printable
    from mmfm.models.checkpoints import load_denoiser
    from mmfm.models.words import reader_for
    from mmfm.tasks import generate as task

    with counting() as counter:
        den = load_denoiser(model, device=device)
        if labels is not None and labels.strip() in task.names_of(den):
            wished = [labels.strip()]  # commas and all
        how = task.chosen(
            den,
            steps=steps,
            sampler=sampler,
            guidance=guidance,
            interval=between,
            rescale=rescale,
        )
        asked = task.order(
            den,
            task.crossed(den, wished, prompt) if wished and prompt else wished,
            prompt=prompt or None,
            reader=reader_for(den, clip, device) if clip else None,
            count=count,
            seed=seed,
            how=how,
            warn=counter.say,
        )
        write = {"grid": task.write_grid, "film": task.write_film, "files": task.write_files}[kind]
        write(asked, path, counter.show("drawing"))
    print(printable(f"{out}: {asked.told()}"))


def _destination(out: str) -> tuple[Path, str]:
    """Where to write, and what; refused before the work where that cannot be."""
    path = Path(out).expanduser()
    if not out.strip():
        raise BadInput(f"--out is empty; {_ENDINGS}")
    if out.endswith(("/", "\\")) or path.is_dir():
        if path.exists() and not path.is_dir():
            raise BadInput(f"--out {out}: this is a file; name a folder")
        if path.is_dir() and any(not p.name.startswith(".") for p in path.iterdir()):
            raise BadInput(f"--out {out}: this folder is not empty; name a new one")
        kind = "files"
    elif path.suffix.lower() in (".png", ".gif"):
        kind = "grid" if path.suffix.lower() == ".png" else "film"
    else:
        raise BadInput(f"--out {out}: {_ENDINGS}")
    if not path.parent.is_dir():
        raise NotHere(f"--out {out}: there is no folder {path.parent}")
    if kind != "files":
        need_outputs(path)
    return path, kind


def _listed(labels: str) -> list[str]:
    """The labels in a list with commas; a label that has some itself stands in quotes."""
    listed = next(csv.reader([labels], skipinitialspace=True), [])
    wished = [label.strip() for label in listed if label.strip()]
    if not wished:
        raise BadInput("--labels: no labels in it; write them as 0-9, as 3,7 or by name")
    return wished
