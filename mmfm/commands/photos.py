"""`mmfm classify`: pictures of one's own, named."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mmfm.commands.options import (
    Adapted,
    AsTemplates,
    Clip,
    Device,
    as_templates,
    chosen_clip,
    need_folders,
)
from mmfm.errors import BadInput, NotHere


def classify(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Pictures, or folders of them.")
    ],
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="LABELS",
            help="Answer with these: dog=강아지|puppy,cat (shown=called|called), or @FILE, one a "
            "line.",
        ),
    ] = None,
    model: Clip = None,
    templates: AsTemplates = "default",
    multi: Annotated[
        bool, typer.Option("--multi", help="Judge each label by itself: none, one or many apply.")
    ] = False,
    none: Annotated[
        bool, typer.Option("--none", help="Allow the answer that none of the labels applies.")
    ] = False,
    adapter: Adapted = None,
    calibration: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Use what mmfm evaluate has fitted.")
    ] = None,
    device: Device = "auto",
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, nothing else.")
    ] = False,
    all_scores: Annotated[
        bool, typer.Option("--all-scores", help="Put every score into the JSON, not the top five.")
    ] = False,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a table, a picture a row.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page of thumbnails.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("-v", help="Say what is run, and what the scores mean.")
    ] = False,
) -> None:
    """Name pictures by labels of your own, without any training."""
    if sum((json, csv is not None, html is not None)) > 1:
        raise BadInput("--json, --csv and --html exclude each other; run it once for each")
    if all_scores and not json:
        raise BadInput("--all-scores goes with --json")
    need_folders(csv, html)
    from mmfm.data.folders import picture_files
    from mmfm.faces import counting
    from mmfm.listing import Page, Table, as_json, as_line, printable
    from mmfm.models.scores import SCORE_KINDS
    from mmfm.tasks.classify import ZeroShotClassifier

    wished = _wished_labels(labels, adapter, calibration)
    files: list[Path] = []
    others = 0
    for path in paths:
        found, left_out = picture_files(path)
        files += found
        others += left_out
    if not files:
        raise NotHere(f"no picture in {', '.join(map(str, paths))} ({others} other files)")
    with counting() as counter:
        clf = ZeroShotClassifier(
            chosen_clip(model, device, counter.say),
            wished,
            templates=as_templates(templates),
            multi_label=multi,
            none_of_these=none,
            adapter=adapter,
            calibration=calibration,
            progress=counter.show("reading labels"),
            warn=counter.say,
        )
        about = f"{clf.clip.source} on {clf.vectors.device}, {len(clf.labels)} labels"
        if verbose:
            counter.say(about)
            counter.say(f"score: {SCORE_KINDS[clf.score_kind]}")
            if others:
                counter.say(f"{others:,} files that are no pictures are left out")
        sheet = Table(csv) if csv else Page(html, about) if html else None
        show = counter.show("classifying")
        read = 0
        for done, prediction in enumerate(clf.stream(files), 1):
            show(done, len(files))
            read += prediction.error is None
            if sheet is not None:
                sheet.add(prediction)
            elif json:
                print(as_json(prediction, all_scores=all_scores), flush=True)
            elif prediction.error is None:
                print(as_line(prediction), flush=True)
            if prediction.error is not None:
                counter.say(printable(f"{prediction.path}: {prediction.error}; left out"))
        if sheet is not None:
            sheet.write()
            print(f"{sheet.path}: {read:,} pictures")
    if not read:
        raise typer.Exit(1)
    raise typer.Exit(0 if read == len(files) else 3)


def _wished_labels(labels: str | None, adapter: Path | None, calibration: Path | None) -> Any:
    """The labels that were written down, else those that a file was made for."""
    from mmfm.data.labels import Label, read_labels

    if labels is not None:
        return read_labels(labels)
    if adapter is not None:
        from mmfm.models.adapters import Adapter

        return Adapter.read(adapter).all_labels
    if calibration is not None:
        from mmfm.models.scores import Calibration

        return [Label(shown, tuple(said)) for shown, *said in Calibration.read(calibration).said]
    raise BadInput('--labels is missing: --labels "dog=강아지|puppy,cat", or --labels @FILE')
