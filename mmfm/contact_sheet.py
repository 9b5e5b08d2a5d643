"""Pages of pictures in one file: what `classify --html` and `search --html` write.

    Report     the answers of a model, the uncertain ones first; what a person corrects is saved
    Sheet      pictures with a score, the best first; or groups of pictures that are alike
    thumbnail  one picture as a small JPEG inside its own address

A page opens without a network, today and in ten years: style, program (contact_sheet.css and .js,
which lie beside this file), data and thumbnails are inside it, and a browser is told to fetch
nothing but the pictures themselves, from this machine, when somebody wants to see one large.

However many pictures there are, memory stays flat: rows and thumbnails wait in temporary files
until the page is written. Thumbnails are made by threads beside the run, and beyond a few thousand
pictures only for the most uncertain ones and for some of each label.
"""

import base64
import hashlib
import heapq
import io
import json
import os
import secrets
import tempfile
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote_from_bytes

from PIL import ExifTags, Image

from mmfm.data.pictures import open_picture
from mmfm.errors import MmfmError
from mmfm.files import named
from mmfm.listing import NONE, printable
from mmfm.models.scores import SCORE_KINDS, ScoreKind
from mmfm.tasks.classify import Prediction

THUMBNAILS = 3_000  # of a page: so many of the most uncertain pictures, or of the best hits,
OF_LABELS = 1_000  # and about so many more, the same number of each label
NARROW = 0.2  # a margin between the best two scores that is worth a look
NARROW_EACH = 0.1  # the same for the distance to a threshold

_SIDE = 192  # pixels of a thumbnail's longer side; about 5 kB
_SHORT = 72  # half the shorter side of most photographs then: a reduced decode holds twice that
_BARS = 5  # scores of one picture
_MOST_BARS = 12  # where more labels than those apply
_OF_ONE_LABEL = 60  # thumbnails beside the uncertain ones
_THREADS = min(4, os.cpu_count() or 1)
_AHEAD = 64  # thumbnails that wait to be written down
_AT_ONCE = 250  # thumbnails in one part of the page


class Report:
    """The page of a model's answers: the uncertain ones first, to be filtered and corrected.

    report = Report(Path("report.html"), "clip-shapes, 3 labels")
    for prediction in classifier.stream(paths):
        report.add(prediction)
    report.write()

    `thresholds`: from which score on each label applies, in multi-label mode; .5 where none is
    given.
    """

    def __init__(
        self, path: Path, about: str, *, thresholds: Mapping[str, float] | None = None
    ) -> None:
        self.path, self.about = path, about
        self._thresholds = thresholds or {}
        self._pictures = _Pictures(path)
        self._failed = _Lines()
        self._labels = {NONE: 0}  # what is shown, and its number on the page
        self._kind: ScoreKind | None = None
        self._most_uncertain = _Lowest()
        self._of_label: defaultdict[int, _Lowest] = defaultdict(_Lowest)

    def add(self, prediction: Prediction) -> None:
        """Take up one picture."""
        p = prediction
        if p.error is not None:
            self._failed.add([printable(p.path or ""), printable(p.error)])
            return
        self._kind = p.score_kind
        margin, rival = doubt(p, self._thresholds)
        if len(self._labels) == 1:
            for label in p.scores:
                self._number(label)
        answers = [self._number(label) for label in p.labels]
        row = self._pictures.add(
            p.path,
            [
                _whole(margin),
                None if rival is None else self._number(rival),
                answers,
                [part for label, score in self._bars(p) for part in (label, _whole(score))],
            ],
        )
        # All are asked, so that each knows what it holds.
        wanted = [self._most_uncertain.takes(margin, row, THUMBNAILS)]
        several = [self._of_label[label] for label in answers or [0]]
        wanted += [lowest.takes(margin, row, self._share) for lowest in several]
        if p.path is not None and any(wanted):
            self._pictures.show(row, p.path)

    def write(self) -> None:
        """Write the file."""
        rows = set(self._most_uncertain.rows(THUMBNAILS))
        for lowest in self._of_label.values():
            rows.update(lowest.rows(self._share))
        kind = self._kind
        each = (kind or "").startswith("each_label")
        self._pictures.write(
            rows,
            self._failed,
            kind="answers",
            title="mmfm classify",
            about=printable(self.about),
            labels=[printable(label) for label in self._labels],
            each=each,
            narrow=NARROW_EACH if each else NARROW,
            score_kind=kind,
            means={"en": SCORE_KINDS[kind], "ko": _SCORE_KINDS_KO[kind]} if kind else None,
        )

    @property
    def _share(self) -> int:
        """How many thumbnails each label gets, as far as labels were met."""
        return min(_OF_ONE_LABEL, OF_LABELS // max(1, len(self._of_label)))

    def _number(self, label: str) -> int:
        return self._labels.setdefault(label, len(self._labels))

    def _bars(self, p: Prediction) -> list[tuple[int, float]]:
        """The best scores by label; the chance of none of these, where it is an answer."""
        most = min(_MOST_BARS, max(_BARS, len(p.labels)))
        best = [(self._number(label), score) for label, score in list(p.scores.items())[:most]]
        none = _none(p)
        if not p.labels:
            return [(0, p.score or 0.0), *best]
        return sorted([*best, (0, none)], key=lambda bar: -bar[1]) if none else best


class Sheet:
    """The page of what a search found: pictures with their scores, or groups that are alike.

    sheet = Sheet(Path("hits.html"), "beach, without people", about="clip-shapes, 4,200 pictures")
    for hit in hits:
        sheet.add(hit.path, hit.score)
    sheet.write()
    """

    def __init__(self, path: Path, title: str, *, about: str = "") -> None:
        self.path, self.title, self.about = path, title, about
        self._pictures = _Pictures(path)
        self._groups = 0
        self._same_bytes: list[int] = []  # groups

    def add(self, path: str | os.PathLike[str], score: float) -> None:
        """Take up one hit. The page shows the best first, thumbnails go to those added first."""
        self._add(os.fspath(path), [score, *_facts(path), 0])

    def group(self, paths: Iterable[str | os.PathLike[str]], *, same_bytes: bool = False) -> None:
        """Take up pictures that are alike, to be shown side by side."""
        self._groups += 1
        if same_bytes:
            self._same_bytes.append(self._groups)
        for path in paths:
            self._add(os.fspath(path), [0, *_facts(path), self._groups])

    def write(self) -> None:
        """Write the file."""
        self._pictures.write(
            range(THUMBNAILS),
            _Lines(),
            kind="groups" if self._groups else "hits",
            title=printable(self.title),
            about=printable(self.about),
            same_bytes=self._same_bytes,
        )

    def _add(self, path: str, values: Sequence[object]) -> None:
        row = self._pictures.add(path, values)
        if row < THUMBNAILS:
            self._pictures.show(row, path)


def doubt(prediction: Prediction, thresholds: Mapping[str, float]) -> tuple[float, str | None]:
    """How far an answer is from being another one, and which: (margin, the other answer).

    One of the labels: what parts the best two; where none of these is an answer, no more than what
    parts the chance that any applies from one half. Each label by itself: what parts the score that
    is nearest to its threshold from that.
    """
    p = prediction
    scores = list(p.scores.items())
    if (p.score_kind or "").startswith("each_label"):
        if not p.labels and p.score is not None and abs(p.score - (1 - scores[0][1])) > 1e-6:
            return 2 * p.score - 1, scores[0][0]  # refused as a whole, whatever the labels say
        label, score = min(scores, key=lambda one: abs(one[1] - thresholds.get(one[0], 0.5)))
        return abs(score - thresholds.get(label, 0.5)), label
    any_applies = 1 - _none(p)
    if not p.labels:
        return max(0.0, 1 - 2 * any_applies), scores[0][0]
    best, (rival, second) = scores[0][1], scores[1] if len(scores) > 1 else (None, 0.0)
    to_none = 2 * any_applies - 1
    return (best - second, rival) if best - second <= to_none else (max(0.0, to_none), NONE)


def thumbnail(path: str | None) -> str:
    """A small JPEG inside its own address; empty where the file has gone meanwhile."""
    small = _small(path) if path is not None else b""
    return "data:image/jpeg;base64," + base64.b64encode(small).decode() if small else ""


# --- what waits to be written -------------------------------------------------------------------


class _Lowest:
    """The rows with the lowest values among any number that pass by; of equal ones the first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []  # negative, so that what goes next is in front

    def takes(self, value: float, row: int, most: int) -> bool:
        """Keep a row if it is among the lowest so far; `most` may shrink from call to call."""
        one = (-value, -row)
        heapq.heappush(self._heap, one)
        gone = [heapq.heappop(self._heap) for _ in range(len(self._heap) - most)]
        return one not in gone

    def rows(self, most: int) -> list[int]:
        return [-row for _, row in sorted(self._heap, reverse=True)[:most]]


class _Lines:
    """The parts of a JSON list, in a temporary file."""

    def __init__(self) -> None:
        self.count = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this object

    def add(self, values: object) -> None:
        self._file.write((b",\n" if self.count else b"") + _json(values))
        self.count += 1

    def parts(self) -> Iterator[bytes]:
        self._file.seek(0)
        yield b"["
        while part := self._file.read(1 << 16):
            yield part
        yield b"]"


class _Pictures:
    """The pictures of a page that will be written to `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._beside = path.absolute().parent
        self._rows = _Lines()
        self._folders: dict[str, int] = {}
        self._links: list[str] = []  # of the folders
        self._small = tempfile.TemporaryFile()  # noqa: SIM115 - as above
        self._where: dict[int, tuple[int, int]] = {}  # of each row's thumbnail: from, to
        self._pool = ThreadPoolExecutor(_THREADS)
        self._waiting: deque[tuple[int, Future[bytes]]] = deque()

    def add(self, path: str | None, values: Sequence[object]) -> int:
        """Take up one row: folder, name, what is said about it, and a link that JS cannot make."""
        path = path or ""
        name = os.path.split(path)[1]  # pathlib would keep each name in memory
        folder = path.removesuffix(name)
        if folder not in self._folders:
            self._folders[folder] = len(self._links)
            self._links.append(self._link(folder))
        row = [self._folders[folder], printable(name), *values]
        if row[1] != name:
            row.append(quote_from_bytes(os.fsencode(name)))
        self._rows.add(row)
        return self._rows.count - 1

    def show(self, row: int, path: str) -> None:
        """Have a thumbnail made; where that falls behind, the run waits for it."""
        self._waiting.append((row, self._pool.submit(_small, path)))
        self._keep(_AHEAD)

    def write(self, shown: Collection[int], failed: _Lines, **page: object) -> None:
        """Write the page, with the thumbnails of some rows."""
        self._keep(0)
        self._pool.shutdown()
        rows = [row for row in shown if row in self._where]
        page |= {
            "id": secrets.token_hex(8),  # under which a browser keeps the corrections
            "thumbnails": len(rows),
            "limited": len(shown) < self._rows.count,
            "folders": [printable(folder) for folder in self._folders],
            "links": self._links,
            "words": WORDS,
        }
        style, program = (_beside(f"contact_sheet.{end}") for end in ("css", "js"))
        with named(self._path) as file:
            file.write(_HEAD.format(style=_hash(style), program=_hash(program)).encode())
            file.write(b"<style>" + style + b"</style></head><body>\n")
            file.write(f"<noscript>{WORDS['en']['no_script']}</noscript>\n".encode())
            _write_data(file, 'id="page"', [_json(page)])
            _write_data(file, 'id="rows"', self._rows.parts())
            _write_data(file, 'id="failed"', failed.parts())
            for start in range(0, len(rows), _AT_ONCE):
                some = {row: self._encoded(row) for row in rows[start : start + _AT_ONCE]}
                _write_data(file, 'class="thumbnails"', [_json(some)])
            file.write(b"<script>" + program + b"</script>\n</body></html>\n")

    def _keep(self, waiting: int) -> None:
        """Write thumbnails down until no more than so many wait."""
        while len(self._waiting) > waiting:
            row, future = self._waiting.popleft()
            if small := future.result():
                start = self._small.seek(0, os.SEEK_END)
                self._where[row] = (start, start + self._small.write(small))

    def _encoded(self, row: int) -> str:
        start, end = self._where[row]
        self._small.seek(start)
        return base64.b64encode(self._small.read(end - start)).decode()

    def _link(self, folder: str) -> str:
        """Where the pictures of a folder are: seen from the page if they lie below it.

        So a folder can be handed on, or served, together with its page.
        """
        there = (Path.cwd() / folder).absolute()
        if not there.is_relative_to(self._beside):
            return there.as_uri().removesuffix("/") + "/"
        inside = there.relative_to(self._beside).as_posix()
        return "" if inside == "." else quote_from_bytes(os.fsencode(inside)) + "/"


# --- one picture --------------------------------------------------------------------------------


def _small(path: str) -> bytes:
    """A small JPEG; nothing where the file has gone meanwhile."""
    try:
        picture = open_picture(path, at_least=_SHORT)
    except (MmfmError, OSError):
        return b""
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=72)
    return file.getvalue()


def _facts(path: str | os.PathLike[str]) -> list[int | None]:
    """Bytes, width, height and time of change of a picture's file; None for what is not known."""
    try:
        found = Path(path).stat()
    except OSError:  # gone meanwhile
        return [None, None, None, None]
    try:
        with Image.open(path) as picture:  # reads the head only
            wide, tall = picture.size
            lying = picture.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    except Exception:
        # To a damaged head Pillow answers with nearly anything: then the size is a blank.
        return [found.st_size, None, None, int(found.st_mtime)]
    wide, tall = (tall, wide) if lying else (wide, tall)
    return [found.st_size, wide, tall, int(found.st_mtime)]


def _none(p: Prediction) -> float:
    """The chance that no label applies, which is what the others leave over."""
    left = 1 - sum(p.scores.values())
    return left if left > 1e-4 and (p.score_kind or "").startswith("among") else 0.0


def _whole(score: float) -> int:
    """Ten thousandths: five letters of a row instead of twenty."""
    return round(10_000 * score)


# --- the file -----------------------------------------------------------------------------------


def _beside(name: str) -> bytes:
    return Path(__file__).with_name(name).read_bytes()


def _hash(code: bytes) -> str:
    return base64.b64encode(hashlib.sha256(code).digest()).decode()


def _json(values: object) -> bytes:
    """JSON that nothing in it can end, whatever labels and files are called."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").encode()


def _write_data(file: BinaryIO, which: str, parts: Iterable[bytes]) -> None:
    file.write(f'<script type="application/json" {which}>'.encode())
    file.writelines(parts)
    file.write(b"</script>\n")


_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
img-src 'self' data: file:; style-src 'sha256-{style}'; script-src 'sha256-{program}'; \
base-uri 'none'; form-action 'none'">
<meta name="referrer" content="no-referrer">
<title>mmfm</title>
"""

_SCORE_KINDS_KO: dict[ScoreKind, str] = {
    "among_labels": "이 라벨들 가운데 하나일 확률. 해당 없음(--none)은 일반적인 문장과 견준 "
    "값이며 아직 확률이 아닙니다(mmfm evaluate --other로 맞춥니다)",
    "among_labels_calibrated": "이 라벨들 가운데 하나일 확률. 라벨이 달린 사진에 맞추었습니다",
    "each_label": "라벨 하나하나의 확률. 모델이 배운 그대로입니다",
    "each_label_calibrated": "라벨 하나하나의 확률. 라벨이 달린 사진에 맞추었습니다",
    "each_label_uncalibrated": "라벨 하나하나를 일반적인 문장과 견준 값. 순서일 뿐 아직 확률이 "
    "아닙니다(mmfm evaluate로 맞춥니다)",
}

# What the page says; a key means the same in both languages.
WORDS: dict[str, dict[str, str]] = {
    "en": {
        "other_language": "한국어",
        "no_script": "This page needs JavaScript.",
        "answers": "{n} answers",
        "hits": "{n} pictures",
        "groups": "{groups} groups of {n} pictures that are alike",
        "show": "Show",
        "all": "all",
        "uncertain": "uncertain",
        "checked": "checked",
        "failed": "not read",
        "labels": "Labels",
        "none": "none of these",
        "more_labels": "{n} more",
        "fewer_labels": "fewer",
        "order": "Order",
        "order_uncertain": "uncertain first",
        "order_sure": "surest first",
        "order_name": "by name",
        "order_folder": "by folder",
        "order_score": "best first",
        "order_given": "as found",
        "name": "File name contains",
        "score": "Score",
        "score_from": "lowest score",
        "score_to": "highest score",
        "shown": "{n} of {all} shown",
        "reset": "Show all again",
        "nothing": "No picture is like that.",
        "or": "or {label}?",
        "near": "{label}?",
        "near_note": "near its threshold",
        "open": "Look at {name}",
        "file": "Open the file",
        "no_thumbnail": "no thumbnail",
        "no_original": "The file cannot be shown here; this is its thumbnail.",
        "no_picture": "The file cannot be shown here, and it has no thumbnail.",
        "previous": "Previous",
        "next": "Next",
        "close": "Close",
        "of": "{n} of {all}",
        "other": "Another label",
        "is_right": "Press what is right.",
        "keys": "Keys 1 to 9 do too; arrows walk on.",
        "says": "the model says",
        "undo": "Take back",
        "corrections": "{n} checked, {changed} of them corrected",
        "save": "Save as CSV",
        "correct_note": "Press the label that is right, also the model's own. What you pressed "
        "stays in this browser until you take it back; save it as a table (CSV) to keep it.",
        "about": "What the scores mean, and what this page holds",
        "about_sheet": "About this page",
        "score_of_hits": "The figure says how near a picture lies to what was asked for, as the "
        "model sees it (a cosine). It is an order, not a probability.",
        "kind": "Score: {means}.",
        "uncertain_among": "Uncertain: less than {narrow} parts the best two labels or, where none "
        "of these is an answer, the chance that any label applies from one half (the margin counts "
        "twice then). First comes what could most easily be something else.",
        "uncertain_each": "Uncertain: the score of a label lies within {narrow} of the threshold "
        "from which on it applies. First comes what is nearest to its threshold.",
        "sure_note": "A model can be sure and wrong: look at some of the sure ones too.",
        "thumbnails_all": "Each picture that could be opened has a thumbnail.",
        "thumbnails_some": "{n} of {all} pictures have a thumbnail: the most uncertain ones and "
        "some of each label. The others are listed, filtered and opened all the same.",
        "thumbnails_first": "{n} of {all} pictures have a thumbnail: those found first. The others "
        "are listed and opened all the same.",
        "links_note": "Pictures are opened from where they lay when this page was written. Nothing "
        "on this page is sent anywhere.",
        "group": "Group {n}",
        "group_of": "{n} pictures",
        "same_bytes": "the same bytes",
        "most_pixels": "most pixels",
        "pixels": "{wide} × {tall}",
        "unknown": "size not known",
    },
    "ko": {
        "other_language": "English",
        "no_script": "이 페이지에는 JavaScript가 필요합니다.",
        "answers": "답 {n}개",
        "hits": "사진 {n}장",
        "groups": "서로 닮은 사진 {n}장, {groups}묶음",
        "show": "보기",
        "all": "모두",
        "uncertain": "불확실",
        "checked": "확인함",
        "failed": "읽지 못함",
        "labels": "라벨",
        "none": "해당 없음",
        "more_labels": "{n}개 더",
        "fewer_labels": "줄이기",
        "order": "순서",
        "order_uncertain": "불확실한 것부터",
        "order_sure": "확실한 것부터",
        "order_name": "이름순",
        "order_folder": "폴더순",
        "order_score": "점수 높은 것부터",
        "order_given": "찾은 순서대로",
        "name": "파일 이름",
        "score": "점수",
        "score_from": "가장 낮은 점수",
        "score_to": "가장 높은 점수",
        "shown": "{all}장 중 {n}장",
        "reset": "다시 모두 보기",
        "nothing": "그런 사진이 없습니다.",
        "or": "또는 {label}?",
        "near": "{label}?",
        "near_note": "문턱값에 가까움",
        "open": "{name} 크게 보기",
        "file": "파일 열기",
        "no_thumbnail": "작은 그림 없음",
        "no_original": "파일을 여기에 보일 수 없어 작은 그림을 보입니다.",
        "no_picture": "파일을 여기에 보일 수 없고 작은 그림도 없습니다.",
        "previous": "이전",
        "next": "다음",
        "close": "닫기",
        "of": "{all}장 중 {n}번째",
        "other": "다른 라벨",
        "is_right": "맞는 라벨을 누르세요.",
        "keys": "1부터 9까지의 키로도 되고, 화살표 키로 넘깁니다.",
        "says": "모델의 답",
        "undo": "되돌리기",
        "corrections": "{n}장 확인, 그중 {changed}장 고침",
        "save": "CSV로 저장",
        "correct_note": "맞는 라벨을 누르세요. 모델의 답이 맞아도 누르세요. 누른 것은 되돌릴 "
        "때까지 이 브라우저에 남습니다. 표(CSV)로 저장해 두세요.",
        "about": "점수의 뜻과 이 페이지에 담긴 것",
        "about_sheet": "이 페이지에 대하여",
        "score_of_hits": "숫자는 모델이 보기에 사진이 찾는 것에 얼마나 가까운지(코사인)를 "
        "말합니다. 순서일 뿐 확률이 아닙니다.",
        "kind": "점수: {means}.",
        "uncertain_among": "불확실: 가장 높은 두 라벨의 차이가 {narrow}보다 작습니다. 해당 "
        "없음도 답이 될 수 있으면, 어느 라벨이든 맞을 확률과 절반의 차이(두 배로 셉니다)도 "
        "봅니다. 가장 쉽게 다른 답이 될 수 있는 것이 먼저 나옵니다.",
        "uncertain_each": "불확실: 어떤 라벨의 점수가 그 라벨의 문턱값에서 {narrow} 안에 있습니다. "
        "문턱값에 가장 가까운 것이 먼저 나옵니다.",
        "sure_note": "모델은 확신하면서도 틀릴 수 있습니다. 확실한 것도 몇 장 살펴보세요.",
        "thumbnails_all": "열 수 있었던 사진에는 모두 작은 그림이 있습니다.",
        "thumbnails_some": "사진 {all}장 중 {n}장에 작은 그림이 있습니다. 가장 불확실한 사진과 "
        "라벨마다 몇 장씩입니다. 나머지도 똑같이 찾고, 거르고, 열 수 있습니다.",
        "thumbnails_first": "사진 {all}장 중 먼저 찾은 {n}장에 작은 그림이 있습니다. 나머지도 "
        "똑같이 찾고 열 수 있습니다.",
        "links_note": "사진은 이 페이지를 만들 때 있던 곳에서 엽니다. 이 페이지는 아무것도 "
        "어디로도 보내지 않습니다.",
        "group": "묶음 {n}",
        "group_of": "사진 {n}장",
        "same_bytes": "내용이 똑같음",
        "most_pixels": "화소가 가장 많음",
        "pixels": "{wide} × {tall}",
        "unknown": "크기를 모름",
    },
}
