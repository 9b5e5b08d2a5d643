"""How predictions are written down: as lines, JSON, a table, or a page of thumbnails."""

import base64
import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from html import escape
from pathlib import Path

from PIL import Image

from mmfm.data.pictures import open_picture
from mmfm.errors import MmfmError
from mmfm.files import write_whole
from mmfm.models.scores import SCORE_KINDS
from mmfm.tasks.classify import Prediction

NONE = "none of these"

_TOP = 5  # scores of one picture, unless all are asked for
_SHOWN = 60  # pictures of one label on a page; beyond, they are counted
_SIDE = 160  # pixels of a thumbnail


def as_line(prediction: Prediction) -> str:
    """One line for a person: what, and how sure."""
    p = prediction
    if p.error is not None:
        return printable(f"{p.path}: {p.error}")
    applies = [f"{label} {_percent(p.scores[label])}" for label in p.labels]
    said = ", ".join(applies) or f"{NONE} {_percent(p.score or 0)}"
    return printable(f"{p.path}: {said}")


def as_json(prediction: Prediction, *, all_scores: bool = False) -> str:
    """One object on one line, for a program."""
    p = prediction
    if p.error is not None:
        return printable(json.dumps({"path": p.path, "error": p.error}, ensure_ascii=False))
    best = list(p.scores.items())[: None if all_scores else _TOP]
    said: dict[str, object] = {"path": p.path, "label": p.label}
    if len(p.labels) > 1 or (p.score_kind or "").startswith("each_label"):
        said["labels"] = list(p.labels)
    said |= {"score": _rounded(p.score), "score_kind": p.score_kind}
    said["scores"] = {label: _rounded(score) for label, score in best}
    return printable(json.dumps(said, ensure_ascii=False))


def printable(text: str) -> str:
    """Text that can be written as UTF-8, also where a file's name is none."""
    return text.encode("utf-8", "backslashreplace").decode()


class Table:
    """A CSV file with one row a picture, written whole when all are there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._text = io.StringIO(newline="")
        self._rows = csv.writer(self._text)
        self._rows.writerow(("path", "label", "labels", "score", "score_kind", "error"))

    def add(self, prediction: Prediction) -> None:
        """Take up one picture."""
        p = prediction
        score = "" if p.score is None else _rounded(p.score)
        row = (p.path, p.label, "|".join(p.labels), score, p.score_kind, p.error)
        self._rows.writerow([printable(f"{'' if cell is None else cell}") for cell in row])

    def write(self) -> None:
        """Write the file. Its first bytes tell spreadsheets that it is UTF-8."""
        write_whole(self.path, "\ufeff" + self._text.getvalue())


class Page:
    """A page of thumbnails by label, the surest first, in one file that needs no other."""

    def __init__(self, path: Path, about: str) -> None:
        self.path, self.about = path, about
        self._shown: defaultdict[str, list[tuple[float, str, str]]] = defaultdict(list)
        self._count: defaultdict[str, int] = defaultdict(int)
        self._kind = ""
        self._errors: list[tuple[str, str]] = []

    def add(self, prediction: Prediction) -> None:
        """Take up one picture, and its thumbnail while it is among the surest of its label."""
        p = prediction
        if p.error is not None:
            self._errors.append((p.path or "", p.error))
            return
        self._kind = SCORE_KINDS[p.score_kind] if p.score_kind else ""
        for label in p.labels or (NONE,):
            score = p.scores.get(label, p.score or 0.0)
            self._count[label] += 1
            tiles = self._shown[label]
            if len(tiles) == _SHOWN and score <= tiles[-1][0]:
                continue
            tiles.append((score, p.path or "", thumbnail(p.path)))
            tiles.sort(key=lambda tile: -tile[0])
            del tiles[_SHOWN:]

    def write(self) -> None:
        """Write the file."""
        write_whole(self.path, printable("".join(self._parts())))

    def _parts(self) -> Iterator[str]:
        yield (
            '<!doctype html><html><head><meta charset="utf-8"><meta name="viewport" '
            'content="width=device-width"><meta name="color-scheme" content="light dark">'
            f"<title>mmfm classify</title><style>{_STYLE}</style></head><body>"
            f"<h1>{sum(self._count.values()):,} answers</h1>"
            f"<p>{escape(self.about)}</p><p>{escape(self._kind)}</p>"
        )
        order = sorted(self._count, key=lambda label: (label == NONE, -self._count[label]))
        for label in order:
            tiles = self._shown[label]
            more = self._count[label] - len(tiles)
            yield f"<h2>{escape(label)} <small>{self._count[label]:,}</small></h2><ul>"
            for score, path, source in tiles:
                image = f'<img src="{source}" alt="" loading="lazy">' if source else ""
                name = escape(Path(path).name)
                yield f'<li title="{escape(path)}">{image}<b>{_percent(score)}</b> {name}</li>'
            yield "</ul>" + (f"<p>and {more:,} more</p>" if more else "")
        if self._errors:
            yield f"<h2>not read <small>{len(self._errors):,}</small></h2><ol>"
            yield from (f"<li>{escape(path)}: {escape(why)}</li>" for path, why in self._errors)
            yield "</ol>"
        yield "</body></html>\n"


def thumbnail(path: str | None) -> str:
    """A small JPEG inside its own address; empty where the file has gone meanwhile."""
    if path is None:
        return ""
    try:
        picture = open_picture(path)
    except (MmfmError, OSError):
        return ""
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _percent(score: float) -> str:
    # Never 0 or 100 %: nothing here is certain.
    return f"{score:.0%}" if 0.01 <= score < 0.99 else f"{min(max(score, 0.001), 0.999):.1%}"


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 6)


_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1100px;padding:0 1rem;
background:#f5f6fa;color:#171a2b}
h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
small{font-weight:400;color:#525a75}p{color:#525a75;margin:.3rem 0}
ul{list-style:none;padding:0;display:grid;gap:12px;
grid-template-columns:repeat(auto-fill,minmax(140px,1fr))}
ul li{background:#fff;border:1px solid #d9dde9;border-radius:10px;padding:8px;font-size:13px;
overflow-wrap:anywhere}
img{display:block;width:100%;height:120px;object-fit:contain;margin-bottom:6px}
@media(prefers-color-scheme:dark){body{background:#10131e;color:#eceef7}
ul li{background:#191d2b;border-color:#2d3347}p,small{color:#a9b0c8}}
"""
