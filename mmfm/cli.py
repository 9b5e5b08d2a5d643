"""The command line: which commands there are, and how they end.

Each parses, calls a task and prints what that yields. Nothing heavy is imported above a command,
so that `mmfm --help` answers at once.
"""

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import mmfm
from mmfm.commands import machine, pages, photos, training, trust
from mmfm.commands.classify import classify
from mmfm.commands.draw import train_draw
from mmfm.commands.export import export
from mmfm.commands.few_steps import train_few_steps
from mmfm.commands.ruler import train_ruler
from mmfm.commands.sample import sample
from mmfm.commands.score import score
from mmfm.data.texts import legible
from mmfm.errors import MmfmError
from mmfm.files import FULL

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
app.add_typer(machine.models, name="models")


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


app.command()(pages.demo)
app.command()(classify)
app.command()(photos.index)
app.command()(photos.search)
app.command()(photos.undo)
app.command()(trust.evaluate)
app.command()(trust.adapt)
app.command()(trust.explain)
train.command("vit")(training.train_vit)
train.command("clip")(training.train_clip)
train.command("diffusion")(training.train_diffusion)
train.command("draw")(train_draw)
train.command("few-steps")(train_few_steps)
train.command("ruler")(train_ruler)
app.command()(sample)
app.command()(score)
app.command()(export)
app.command()(machine.doctor)


# --- how a command ends -----------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; a person's mistake is one line on stderr."""
    # Pillow warns of damaged notes in pictures; which file is meant, it does not know.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    _open_streams()
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
        line = f"{error.format_message().rstrip('.')}; {_file_meant(arguments)}see {command} --help"
        return _fail(error, line, error.exit_code)
    except OSError as error:
        # A folder that may not be written to, a disk that is gone: not ours to mend.
        line = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        if error.filename is None and error.errno in FULL:
            line = "no space left where the answers are written to; make room, and run it again"
        return _fail(error, line, 1)
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        line = f"{type(error).__name__} in {Path(at.filename).name}, line {at.lineno}: {error}"
        return _fail(error, f"this is a bug, please report it with MMFM_DEBUG=1: {line}", 1)


def _open_streams() -> None:
    """What whoever started us has closed leads nowhere now.

    Otherwise the next file that is opened would get its number, and be written into.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)


def _file_meant(arguments: Sequence[str] | None) -> str:
    """How to name a file that was taken for an option, if there is one of that name."""
    given = sys.argv[1:] if arguments is None else arguments
    # os.path answers for what can be no name, where Path would raise.
    there = (each for each in given if each.startswith("-") and os.path.exists(each))  # noqa: PTH110
    meant = next(there, None)
    return f"for the file of that name write ./{meant}; " if meant else ""


def _fail(error: Exception, line: str, status: int) -> int:
    if os.environ.get("MMFM_DEBUG") == "1":
        traceback.print_exception(error)
    print(f"mmfm: {legible(' '.join(line.split()))}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
