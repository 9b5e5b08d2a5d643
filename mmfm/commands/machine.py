"""`mmfm models` and `mmfm doctor`: what is here, and what is broken."""

import sys
from collections.abc import Sequence

import typer


def models() -> None:
    """List the models whose weights are on this machine."""
    from mmfm.tasks.doctor import checkpoints, in_words

    rows = [(c.name, c.task, in_words(c.size), c.fault or c.where) for c in checkpoints()]
    if not rows:
        print("mmfm: no model is on this machine", file=sys.stderr)
        return
    draw(("name", "task", "size", "where"), rows)


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
