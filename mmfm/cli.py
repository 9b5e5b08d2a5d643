"""The command line: parse, call a task, print what it yields.

Nothing heavy is imported above the commands, so that `mmfm --help` answers at once.
"""

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import mmfm
from mmfm.errors import BadInput, MmfmError

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
    device: Annotated[
        str, typer.Option(metavar="D", help="Compute on auto, cpu, cuda, cuda:N or mps.")
    ] = "auto",
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
Device = Annotated[
    str, typer.Option(metavar="D", help="Compute on auto, cpu, cuda, cuda:N or mps.")
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
