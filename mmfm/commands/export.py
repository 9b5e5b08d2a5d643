"""`mmfm export`: a denoiser for other programs."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[
        str, typer.Argument(metavar="RUN|NAME", help="A run of mmfm train diffusion, or a model.")
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="PROGRAM",
            help="Write for diffusers (a pipeline's folder) or for onnx (onnxruntime).",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Write into this folder, a new one.")
    ],
) -> None:
    """Write a denoiser into a folder that other programs run without mmfm."""
    from mmfm.listing import printable
    from mmfm.models.checkpoints import load_denoiser
    from mmfm.tasks import export as task

    out = out.expanduser()
    task.check(to, out)
    made = task.export(load_denoiser(model), to, out)
    print(printable(f"{out}: {model} {made.told}; README.md in it says how to use it"))
