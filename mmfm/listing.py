"""How predictions are written down: as lines, JSON or a table; contact_sheet.py makes pages."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from mmfm.data.texts import harmless_json, legible
from mmfm.files import write_named
from mmfm.tasks.classify import Prediction

NONE = "none of these"
COLUMNS = ("path", "label", "labels", "score", "score_kind", "error")  # of a table

_TOP = 5  # scores of one picture, unless all are asked for


def as_line(prediction: Prediction) -> str:
    """One line for a person: what, and how sure."""
    p = prediction
    if p.error is not None:
        return legible(f"{p.path}: {p.error}")
    applies = [f"{label} {_percent(p.scores[label])}" for label in p.labels]
    said = ", ".join(applies) or f"{NONE} {_percent(p.score or 0)}"
    return legible(f"{p.path}: {said}")


def as_json(
    prediction: Prediction, *, all_scores: bool = False, to: Sequence[str] | None = None
) -> str:
    """One object on one line, for a program; `to`: where the picture was put, if it was sorted."""
    p = prediction
    if p.error is not None:
        return json_line({"path": p.path, "error": p.error})
    best = list(p.scores.items())[: None if all_scores else _TOP]
    said: dict[str, object] = {"path": p.path, "label": p.label}
    if len(p.labels) > 1 or (p.score_kind or "").startswith("each_label"):
        said["labels"] = list(p.labels)
    said |= {"score": _rounded(p.score), "score_kind": p.score_kind}
    said["scores"] = {label: _rounded(score) for label, score in best}
    if to is not None:
        said["to"] = list(to)
    return json_line(said)


def json_line(said: dict[str, object]) -> str:
    """An object on one line, which reads back as it is and does nothing to a terminal."""
    return harmless_json(printable(json.dumps(said, ensure_ascii=False)))


def as_row(prediction: Prediction) -> list[str]:
    """The cells of one picture, as `COLUMNS` names them; empty where there is nothing to say."""
    p = prediction
    row = (p.path, p.label, "|".join(p.labels), _rounded(p.score), p.score_kind, p.error)
    return [printable(f"{'' if cell is None else cell}") for cell in row]


def printable(text: str) -> str:
    """Text that can be written as UTF-8, also where a file's name is none."""
    return text.encode("utf-8", "backslashreplace").decode()


class Table:
    """A CSV file with one row a picture, written when all are there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._text = io.StringIO(newline="")
        self._rows = csv.writer(self._text)
        self._rows.writerow(COLUMNS)

    def add(self, prediction: Prediction) -> None:
        """Take up one picture."""
        self._rows.writerow(as_row(prediction))

    def write(self) -> None:
        """Write the file. Its first bytes tell spreadsheets that it is UTF-8."""
        write_named(self.path, "\ufeff" + self._text.getvalue())


def _percent(score: float) -> str:
    # Never 0 or 100 %: nothing here is certain.
    return f"{score:.0%}" if 0.01 <= score < 0.99 else f"{min(max(score, 0.001), 0.999):.1%}"


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 6)
