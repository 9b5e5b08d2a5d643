"""What the diffusion benchmarks have measured so far: a line a run, kept between sittings.

They take hours in all, and nobody has a quiet machine for so long. So each run is written down when
it is whole, and the next sitting leaves out what is there. A line counts as the same run only if
the data, the ruler's weights, the number of pictures and all that the run is known by are the same.
"""

import argparse
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from about import this_run
from filelock import FileLock

from mmfm.data.labelled import KNOWN
from mmfm.files import write_whole
from mmfm.models.ruler import load_ruler
from mmfm.runs import absolute
from mmfm.tasks.score import BUNDLED, Score, Yardstick, as_json

Row = dict[str, Any]


class Results:
    """A folder of runs, what they are measured with, and what was found."""

    def __init__(self, folder: Path, data: str, rulers: Sequence[str], count: int) -> None:
        self.folder, self.data, self.rulers, self.count = folder, data, tuple(rulers), count
        self.path = folder / "results.jsonl"

    @cached_property
    def yardstick(self) -> Yardstick:
        """Data and rulers; looking at the real pictures takes a while, so not before it is due."""
        return Yardstick(self.data, self.rulers)

    @cached_property
    def conditions(self) -> Row:
        """Without these figures cannot be compared."""
        ruler = load_ruler((self.rulers or BUNDLED)[0])
        data = absolute(self.data, known=KNOWN)
        return {"data": data, "ruler": ruler.digest[:12], "count": self.count}

    def rows(self, **like: object) -> list[Row]:
        """All that was found under these conditions and is like this, oldest first."""
        if not self.path.is_file():
            return []
        wanted = _plain(self.conditions | like)
        rows = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        return [row for row in rows if all(row.get(k) == v for k, v in wanted.items())]

    def keep(self, known_by: Row, found: Score, **facts: object) -> Row:
        """Write down a run that is whole."""
        first = found.readings[0]
        accuracy = first.these.accuracy
        row = _plain(
            self.conditions
            | known_by
            | facts
            | {
                "fid": first.these.fid,
                "floor": first.floor.fid,
                "ratio": first.ratio,
                "accuracy": None if accuracy is None else accuracy.value,
                "agrees": all(agreement.agrees for agreement in found.agreements),
                "score": json.loads(as_json(found)),
                "on": this_run("precision as told"),
            }
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):  # two benchmarks may write here at once
            before = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
            write_whole(self.path, before + json.dumps(row, ensure_ascii=False) + "\n")
        return row


def _plain(row: Row) -> Row:
    """As JSON gives it back: lists for tuples."""
    return json.loads(json.dumps(row))


def second_opinions(rows: Sequence[Row]) -> list[Row]:
    """The same runs in the eyes of the second ruler; none unless it was asked about all of them."""
    others = [row["score"]["rulers"][1:] for row in rows]
    if not all(others):
        return []
    return [
        {
            "fid": told["fid"],
            "floor": told["floor"]["fid"],
            "ratio": told["fid"] / told["floor"]["fid"],
            "accuracy": told["accuracy"],
        }
        for told, *_ in others
    ]


def figures(row: Row) -> str:
    """What matters most of a run, in a few words."""
    named = "" if row["accuracy"] is None else f"{row['accuracy']:.2%} named right, "
    said = f"{named}FID {row['fid']:.2f}, {row['ratio']:.2f} times the floor"
    for other in second_opinions([row]):
        doubt = "" if row["agrees"] else ", which does NOT agree"
        said += f" ({other['ratio']:.2f} by the second ruler{doubt})"
    return said


def add_options(parser: argparse.ArgumentParser) -> None:
    """What all of these benchmarks can be told."""
    parser.add_argument("--data", default="mnist", help="mnist, or a folder with its IDX files")
    parser.add_argument("--results", type=Path, default=Path("runs/diffusion-benchmarks"))
    parser.add_argument("--ruler", action="append", default=[], help="in place of the bundled ones")
    parser.add_argument("--count", type=int, default=5000, help="pictures that are scored")


def results_of(arguments: argparse.Namespace) -> Results:
    """The results that these options speak of; tells what is measured, and on what machine."""
    results = Results(arguments.results, arguments.data, arguments.ruler, arguments.count)
    print(this_run("precision as measured or told"))
    said = ", ".join(f"{name} {value}" for name, value in results.conditions.items())
    print(f"{said}; results in {results.path}", flush=True)
    return results
