"""`mmfm score`: how good drawn pictures are, beside what real ones get."""

from pathlib import Path
from typing import Annotated

import typer

from mmfm.commands.options import Device, Interval, Rescale, as_times
from mmfm.errors import BadInput


def score(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A run, a bundled denoiser, or a folder of picture files."
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Measure against this: mnist, fashion, a folder, a parquet file; else against "
            "what the run has learned from.",
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option(metavar="N", help="Measure so many pictures, not 5,000.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Draw in so many steps, not as the model does.")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(metavar="S", help="Draw by this sampler: euler, dpm++, say.")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(metavar="G", help="Guide to the label so strongly; 1: not.")
    ] = None,
    interval: Interval = None,
    rescale: Rescale = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Draw other pictures.")] = 0,
    ruler: Annotated[
        list[str] | None,
        typer.Option(
            metavar="M",
            help="Measure by this one, not by mnist-ruler; repeated, the others are asked too.",
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on one line, nothing else.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Measure how good drawn pictures are: FID, accuracy, precision, recall, copies."""
    between = as_times(interval)
    from mmfm.faces import counting, stopping
    from mmfm.listing import printable
    from mmfm.models.checkpoints import load_denoiser
    from mmfm.tasks import score as task

    rulers = tuple(ruler or ())
    data = data or task.own_data(model)
    if data is None:
        raise BadInput("--data is missing: mnist, fashion, a folder or a parquet file")
    with stopping() as stop, counting() as counter:
        if task.holds_pictures(Path(model)):
            how = {"steps": steps, "sampler": sampler, "guidance": guidance}
            how |= {"interval": interval, "rescale": rescale, "seed": seed or None}
            if given := [name for name, value in how.items() if value is not None]:
                raise BadInput(f"{model} is a folder of pictures; leave out --{given[0]}")
            found = task.score_folder(
                Path(model),
                data,
                count=count,
                rulers=rulers,
                device=device,
                show=counter.show,
                stop=stop,
            )
        else:
            found = task.score(
                load_denoiser(model, device=device),
                data,
                count=count,
                steps=steps,
                sampler=sampler,
                guidance=guidance,
                interval=between,
                rescale=rescale,
                seed=seed,
                rulers=rulers,
                device=device,
                show=counter.show,
                stop=stop,
                warn=counter.say,
            )
    for line in [task.as_json(found)] if json else task.lines(found):
        print(printable(line))
