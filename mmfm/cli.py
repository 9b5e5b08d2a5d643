"""The command line: parse, call a task, print what it yields.

Nothing heavy is imported above the commands, so that `mmfm --help` answers at once.
"""

import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import mmfm
from mmfm.errors import BadData, BadInput, MmfmError, NotHere

# Without rich's markup: importing it takes longer than everything else that --help needs.
app = typer.Typer(
    name="mmfm",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
train = typer.Typer(help="Train a model of your own.", rich_markup_mode=None)
app.add_typer(train, name="train")

Device = Annotated[
    str, typer.Option(metavar="D", help="Compute on auto, cpu, cuda, cuda:N or mps.")
]


class Language(StrEnum):
    """The languages that the pages speak."""

    en = "en"
    ko = "ko"


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Read, run and use multimodal foundation models."""
    if version:
        print(f"mmfm {mmfm.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


# --- demo -------------------------------------------------------------------------------------


@app.command()
def demo(
    page: Annotated[
        str | None, typer.Argument(metavar="PAGE", help="Open this page first.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="M", help="Run this model.")] = None,
    device: Device = "auto",
    port: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, max=65535, help="Listen on this port, not the first free from 7860."
        ),
    ] = None,
    host: Annotated[str, typer.Option(metavar="H", help="Listen on this address.")] = "127.0.0.1",
    allowed_host: Annotated[
        list[str] | None, typer.Option(metavar="H", help="Answer to this host name too.")
    ] = None,
    auth: Annotated[
        str | None,
        typer.Option(metavar="USER:PASS", envvar="MMFM_AUTH", help="Ask visitors for this."),
    ] = None,
    allow: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="Let the pages read this folder.")
    ] = None,
    lang: Annotated[
        Language | None, typer.Option(help="Speak this language, not the browser's.")
    ] = None,
) -> None:
    """Open the demo pages in the browser."""
    # Pyright reads the checkout, where these pages lie in demos/; installed, they are mmfm.demos.
    from mmfm.demos.app import serve  # pyright: ignore[reportMissingImports]

    serve(
        page,
        model=model,
        device=device,
        port=port,
        host=host,
        allowed_hosts=allowed_host or [],
        auth=auth,
        allow=allow or [],
        lang=None if lang is None else lang.value,
        open_browser=sys.stdout.isatty(),
    )


# --- classify -----------------------------------------------------------------------------------

Clip = Annotated[str | None, typer.Option(metavar="M", help="Run this model.")]
AsTemplates = Annotated[
    str,
    typer.Option(
        metavar="T",
        help="Put labels into these: default, simple, english, korean, or a file, one a line.",
    ),
]


Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="A folder with one folder of pictures a label.")
]
Names = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="LABELS",
        help="Call the folders' labels so: dog=강아지|puppy,cat, or @FILE, one a line.",
    ),
]
Adapted = Annotated[
    Path | None, typer.Option("--adapter", metavar="FILE", help="Use what mmfm adapt has learned.")
]


@app.command()
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
    _need_folders(csv, html)
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
            _clip(model, device, counter.say),
            wished,
            templates=_templates(templates),
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


@app.command()
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
    _need_folders(save, html)
    from mmfm.data.labels import read_labels
    from mmfm.evaluation_report import lines, write_report
    from mmfm.faces import counting, stopping
    from mmfm.listing import printable
    from mmfm.tasks.evaluate import evaluate as measure

    wished = None if labels is None else read_labels(labels)
    with stopping() as stop, counting() as counter:
        found = measure(
            _clip(model, device, counter.say),
            folder,
            labels=wished,
            other=other,
            templates=_templates(templates),
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
        print(f"{save}: the calibration; use it as mmfm classify PATH --calibration {save}")
    raise typer.Exit(3 if found.unreadable else 0)


@app.command()
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
    _need_folders(save)
    from mmfm.data.labels import read_labels
    from mmfm.faces import counting
    from mmfm.listing import printable
    from mmfm.tasks.adapt import adapt as learn

    wished = None if labels is None else read_labels(labels)
    with counting() as counter:
        found = learn(
            _clip(model, device, counter.say),
            folder,
            labels=wished,
            templates=_templates(templates),
            seed=seed,
            progress=counter.show("looking at pictures"),
            reading=counter.show("reading labels"),
            choosing=counter.show("choosing"),
            warn=counter.say,
        )
    found.adapter.save(save)
    for line in found.lines():
        print(printable(line))
    print(f"{save}: use it as mmfm classify PATH --adapter {save}")
    raise typer.Exit(3 if found.unreadable else 0)


@app.command()
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
    _need_folders(out)
    import torch
    from PIL import Image

    from mmfm.data.labels import read_labels
    from mmfm.data.pictures import open_picture
    from mmfm.faces import counting
    from mmfm.files import whole
    from mmfm.listing import printable
    from mmfm.tasks import explain as task
    from mmfm.tasks.classify import ZeroShotClassifier

    kind = Image.registered_extensions().get(out.suffix.lower())
    if kind not in Image.SAVE:
        raise BadInput(f"--out {out}: no picture is called so; end it in .png")
    wished = read_labels(labels)
    picture = open_picture(photo)
    with counting() as counter:
        clip = _clip(model, device, counter.say)
        clf = ZeroShotClassifier(
            clip,
            wished,
            templates=_templates(templates),
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
        with whole(out) as file:
            task.draw(found, [test]).save(file, kind)
    for line in task.lines(found, [test]):
        print(printable(line))
    print(f"{out}: the evidence, drawn over the picture")


def _need_folders(*files: Path | None) -> None:
    """Refuse before the work what could not be written after it."""
    for file in files:
        if file is not None and not file.parent.is_dir():
            raise NotHere(f"{file}: there is no folder {file.parent}")
        if file is not None and file.is_dir():
            raise BadInput(f"{file}: this is a folder; name a file")


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


def _templates(wish: str) -> Any:
    """A set's name, or a file."""
    path = Path(wish).expanduser()
    return path if path.is_file() else wish


def _clip(model: str | None, device: str, say: Callable[[str], None]) -> Any:
    """The CLIP that was asked for, else the one that comes with the package."""
    from mmfm.models.checkpoints import load_clip
    from mmfm.tasks.classify import DEFAULT_MODEL, MULTILINGUAL

    if model is None:
        say(
            f"{DEFAULT_MODEL} is a small teaching model that knows drawn shapes only; for photos "
            f"name a public one: --model ViT-B-32/laion2b_s34b_b79k, or {MULTILINGUAL} for Korean"
        )
    return load_clip(model or DEFAULT_MODEL, device=device)


# --- train ------------------------------------------------------------------------------------

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


@train.command("vit")
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

    changes = _plan_changes(minutes, steps, seed, threads, precision)
    fixed = {"recipe": recipe, "size": size, "start": start, "seed": seed, "precision": precision}
    use = f"mmfm demo patches --model {out}"
    with stopping() as stop, show_training("mmfm train vit", out, stop, use=use) as screen:
        if resume:
            _refuse_to_change(fixed)
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


@train.command("clip")
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

    changes = _plan_changes(minutes, steps, seed, threads, precision)
    fixed = {"recipe": recipe, "size": size, "start": start, "seed": seed, "precision": precision}
    fixed |= {"text": text, "names": names}
    use = f"mmfm.load_clip({str(out)!r})  # in Python"
    with stopping() as stop, show_training("mmfm train clip", out, stop, use=use) as screen:
        if resume:
            _refuse_to_change(fixed)
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


def _plan_changes(
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


def _refuse_to_change(fixed: Mapping[str, object]) -> None:
    if given := [name for name, value in fixed.items() if value not in (None, [])]:
        raise BadInput(f"a run goes on as it began; leave out --{given[0]} with --resume")


# --- what is here -----------------------------------------------------------------------------


@app.command()
def models() -> None:
    """List the models whose weights are on this machine."""
    from mmfm.tasks.doctor import checkpoints, in_words

    rows = [(c.name, c.task, in_words(c.size), c.fault or c.where) for c in checkpoints()]
    if not rows:
        print("mmfm: no model is on this machine", file=sys.stderr)
        return
    draw(("name", "task", "size", "where"), rows)


@app.command()
def doctor() -> None:
    """Examine this machine, and say what is broken and what mends it."""
    from rich.console import Console

    from mmfm.tasks.doctor import examine

    with Console(stderr=True).status("examining this machine"):
        findings = list(examine())
    draw(
        ("part", "state", "detail"),
        [
            (f.part, f.state, f"{f.detail}\nmend: {f.remedy}" if f.remedy else f.detail)
            for f in findings
        ],
    )
    broken = [f.part for f in findings if f.state == "broken"]
    if broken:
        print(f"mmfm: broken: {', '.join(broken)}", file=sys.stderr)
        raise typer.Exit(1)


def draw(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: with lines and colours on a terminal, in plain aligned columns elsewhere."""
    if sys.stdout.isatty():
        from rich import box, console, table
        from rich.text import Text

        colours = {"ok": "green", "broken": "bold red", "info": "cyan"}
        grid = table.Table(*heading, box=box.SIMPLE_HEAD)
        for row in rows:
            grid.add_row(*(Text(cell, style=colours.get(cell, "")) for cell in row))
        console.Console().print(grid)
        return
    widths = [max(len(row[i]) for row in (heading, *rows)) for i in range(len(heading) - 1)]
    for row in (heading, *rows):
        columns = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*columns, row[-1].replace("\n", "; ")]))


# --- how a command ends -----------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; a person's mistake is one line on stderr."""
    try:
        outcome = app(arguments, prog_name="mmfm", standalone_mode=False)
        # That a reader has gone away is noticed when the last lines are written: do it in here.
        sys.stdout.flush()
        return outcome or 0  # typer answers an interrupt with 130
    except (BrokenPipeError, SystemExit):
        # `mmfm models | head -1` closes our output; typer turns that into SystemExit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MmfmError as error:
        return _fail(error, str(error), error.exit_status)
    except typer.TyperException as error:
        context: typer.Context | None = getattr(error, "ctx", None)
        command = context.command_path if context else "mmfm"
        line = f"{error.format_message().rstrip('.')}; see {command} --help"
        return _fail(error, line, error.exit_code)
    except OSError as error:
        # A folder that may not be written to, a disk that is gone: not ours to mend.
        line = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return _fail(error, line, 1)
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        line = f"{type(error).__name__} in {Path(at.filename).name}, line {at.lineno}: {error}"
        return _fail(error, f"this is a bug, please report it with MMFM_DEBUG=1: {line}", 1)


def _fail(error: Exception, line: str, status: int) -> int:
    if os.environ.get("MMFM_DEBUG") == "1":
        traceback.print_exception(error)
    print(f"mmfm: {' '.join(line.split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
