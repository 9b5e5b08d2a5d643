"""`mmfm evaluate`, `adapt` and `explain`: how far an answer can be trusted, and why it is given."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mmfm.commands.options import (
    Adapted,
    AsTemplates,
    Clip,
    Device,
    Folder,
    Names,
    as_templates,
    chosen_clip,
    label_file,
    need_outputs,
    spare_pictures,
)
from mmfm.errors import BadData, BadInput


def evaluate(
    folder: Folder,
    other: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Pictures that show none of the labels."),
    ] = None,
    labels: Names = None,
    model: Clip = None,
    templates: AsTemplates = "default",
    adapter: Adapted = None,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep what was fitted, for classify --calibration."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw all of it on a page.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Halve the pictures in another way.")] = 0,
    device: Device = "auto",
) -> None:
    """Measure how far answers and scores can be trusted, and fit them."""
    need_outputs(save, html, inputs=(label_file(labels), templates, adapter))
    spare_pictures(save, html)
    from mmfm.data.labels import read_labels
    from mmfm.evaluation_report import lines, write_report
    from mmfm.faces import counting, stopping
    from mmfm.listing import printable
    from mmfm.tasks.evaluate import evaluate as measure

    wished = None if labels is None else read_labels(labels)
    with stopping() as stop, counting() as counter:
        found = measure(
            chosen_clip(model, device, counter.say),
            folder,
            labels=wished,
            other=other,
            templates=as_templates(templates),
            adapter=adapter,
            seed=seed,
            label_progress=counter.show("reading labels"),
            progress=counter.show("looking at pictures"),
            stop=stop,
            warn=counter.say,
        )
        for path, why in found.unreadable:
            counter.say(printable(f"{path}: {why}; left out"))
    # First what is kept: `mmfm evaluate DIR | head` ends with the first lines.
    if html is not None:
        write_report(found, html)
    if save is not None and found.calibration is not None:
        found.calibration.save(save)
    for line in lines(found):
        print(line)
    if html is not None:
        print(f"{html}: the report")
    if save is not None:
        if found.calibration is None:
            raise BadData(f"{folder}: too few pictures to fit anything; {save} is not written")
        told = shlex.quote(str(save))
        print(f"{save}: the calibration; use it as mmfm classify PATH --calibration {told}")
    raise typer.Exit(3 if found.unreadable else 0)


def adapt(
    folder: Folder,
    save: Annotated[
        Path, typer.Option(metavar="FILE", help="Keep what was learned, for classify --adapter.")
    ],
    labels: Names = None,
    model: Clip = None,
    templates: AsTemplates = "default",
    seed: Annotated[int, typer.Option(metavar="N", help="Fold the pictures in another way.")] = 0,
    device: Device = "auto",
) -> None:
    """Learn from a few pictures of your own, and say whether that helps."""
    need_outputs(save, inputs=(label_file(labels), templates))
    spare_pictures(save)
    from mmfm.data.labels import read_labels
    from mmfm.faces import counting
    from mmfm.listing import printable
    from mmfm.tasks.adapt import adapt as learn

    wished = None if labels is None else read_labels(labels)
    with counting() as counter:
        found = learn(
            chosen_clip(model, device, counter.say),
            folder,
            labels=wished,
            templates=as_templates(templates),
            seed=seed,
            progress=counter.show("looking at pictures"),
            reading=counter.show("reading labels"),
            choosing=counter.show("choosing"),
            warn=counter.say,
        )
    found.adapter.save(save)
    for line in found.lines():
        print(printable(line))
    print(f"{save}: use it as mmfm classify PATH --adapter {shlex.quote(str(save))}")
    raise typer.Exit(3 if found.unreadable else 0)


def explain(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A picture.")],
    labels: Annotated[
        str,
        typer.Option(
            metavar="LABELS",
            help="Explain the scores of these: dog=강아지|puppy,cat, or @FILE, one a line.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Draw the evidence into this picture.")],
    model: Clip = None,
    templates: AsTemplates = "default",
    device: Device = "auto",
) -> None:
    """Show where in a picture each label finds its evidence, and test it."""
    need_outputs(out, inputs=(photo, label_file(labels), templates))
    import torch
    from PIL import Image

    from mmfm.data.labels import read_labels
    from mmfm.data.pictures import open_picture
    from mmfm.faces import counting
    from mmfm.files import named
    from mmfm.listing import printable
    from mmfm.tasks import explain as task
    from mmfm.tasks.classify import ZeroShotClassifier

    kind = Image.registered_extensions().get(out.suffix.lower())
    if kind not in Image.SAVE:
        raise BadInput(f"--out {out}: no picture is called so; end it in .png")
    wished = read_labels(labels)
    picture = open_picture(photo)
    with counting() as counter:
        clip = chosen_clip(model, device, counter.say)
        clf = ZeroShotClassifier(
            clip,
            wished,
            templates=as_templates(templates),
            progress=counter.show("reading labels"),
            warn=counter.say,
        )
        texts = [label.text for label in clf.all_labels]
        found = task.explain(clip, picture, clf.labels, clf.vectors, texts)
        generator = torch.Generator().manual_seed(0)
        # Of the answer; what speaks for a label that is not there has little to be tested by.
        first = found.labels[0]
        test = task.curves(
            clip, picture, clf.vectors, first.number, first.order, generator=generator
        )
        with named(out) as file:
            task.draw(found, [test]).save(file, kind)
    for line in task.lines(found, [test]):
        print(printable(line))
    print(f"{out}: the evidence, drawn over the picture")
