"""`mmfm models` and `mmfm doctor`: what is here, what can be had, and what is broken."""

import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mmfm.tasks.doctor import Checkpoint

_COLUMNS = ("name", "task", "size", "where", "score", "card")
_SURE_AFTER = 2.0  # seconds, before which a rate is a guess

models = typer.Typer(rich_markup_mode=None)


@models.callback(invoke_without_command=True)
def list_models(
    context: typer.Context,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, nothing else.")
    ] = False,
) -> None:
    """List the models on this machine, or fetch another."""
    if context.invoked_subcommand is not None:
        return
    from mmfm.tasks.doctor import checkpoints, in_words

    if json:
        for found in checkpoints():
            print(_as_json(found))
        return
    rows = [
        (c.name, c.task, in_words(c.size), c.where, c.score or "-", c.fault or c.card or "-")
        for c in checkpoints()
    ]
    if not rows:
        print("mmfm: no model is on this machine", file=sys.stderr)
        return
    draw(_COLUMNS, rows)


def _as_json(found: "Checkpoint") -> str:
    """One object on one line, for a program."""
    from json import dumps

    said: dict[str, object] = {key: getattr(found, key) for key in _COLUMNS}
    said |= {"folder": f"{found.folder}", "fault": found.fault}
    return dumps({key: value if value != "" else None for key, value in said.items()})


@models.command()
def get(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="What --model takes: ViT-B-32/laion2b_s34b_b79k, hf:OWNER/NAME, timm:NAME.",
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it begins.")] = False,
) -> None:
    """Fetch a public model, so that it works without a network."""
    from mmfm.tasks.doctor import about, in_words
    from mmfm.tasks.get_model import check_room, fetch, look_up, room

    order = look_up(name)
    if not order.files:
        what = about(name)
        if what.where != "cached":
            whose = "comes with the package" if what.where == "bundled" else "is a folder of yours"
            print(f"{name} {whose}; there is nothing to fetch")
            return
        unsure = "" if order.certain else "; of small files beside its weights only the hub knows"
        print(f"{name} is here already, {in_words(what.size)}, for use without a network{unsure}")
        return
    check_room(order)
    cache, free = room()
    files = "1 file" if len(order.files) == 1 else f"{len(order.files):,} files"
    size, left = in_words(order.size), in_words(order.left)
    rest = "" if left == size else f", {left} of it still to come"
    said = f"{name}: {size} in {files}{rest}; {in_words(free)} are free in {cache}"
    print(f"mmfm: {said}", file=sys.stderr)
    if not yes and sys.stdin.isatty() and sys.stderr.isatty() and not _agreed():
        print("mmfm: nothing was fetched", file=sys.stderr)
        raise typer.Exit(1)
    try:
        with _bytes_shown() as show:
            for done, total in fetch(order):
                show(done, total)
    except KeyboardInterrupt:
        print("mmfm: stopped; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130) from None
    print(f"{name} is here, {in_words(about(name).size)}: --model {name}, also without a network")


def _agreed() -> bool:
    try:
        return typer.confirm("mmfm: fetch it?", default=True, err=True)
    except typer.Abort:
        return False


@contextmanager
def _bytes_shown() -> Generator[Callable[[int, int], None]]:
    """Show on a terminal how many bytes have come, how fast, and how long the others will take."""
    from mmfm.terminal import FootLine, is_live

    if not is_live(sys.stderr):
        yield lambda done, total: None
        return
    from mmfm.tasks.doctor import in_words

    line = FootLine(sys.stderr)
    began: tuple[float, int] | None = None

    def show(done: int, total: int) -> None:
        nonlocal began
        # The first bytes that are told were here before.
        began = began or (time.monotonic(), done)
        seconds, more = time.monotonic() - began[0], done - began[1]
        told = f"{in_words(done)} of {in_words(total)}"
        if seconds >= _SURE_AFTER and more > 0:
            left = round((total - done) * seconds / more)
            told += f", {in_words(round(more / seconds))}/s, {left // 60}:{left % 60:02} left"
        line.show("fetching", done / total if total else None, told)

    try:
        yield show
    finally:
        line.close()


@models.command()
def card(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model on this machine.")],
) -> None:
    """Print a model's card: what it saw, what it scores, what it cannot do."""
    from mmfm.data.texts import legible
    from mmfm.errors import NotHere
    from mmfm.tasks.doctor import CARD, about

    found = about(name)
    path = found.folder / CARD
    if not path.is_file():
        there = f"; its publisher's is at {found.card}" if found.card else ""
        raise NotHere(f"{name}: no card lies beside its weights, in {found.folder}{there}")
    for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        print(legible(line))


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
