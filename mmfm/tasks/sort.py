"""Sort pictures into label folders: nothing is overwritten, lost or doubled, all can be undone.

    for placed in sort_pictures(classifier.stream(paths), Path("sorted"), move=True): ...
    for undone in undo(journals(Path("sorted"))[-1]): ...

Labels become folders (`folder_name`), and each picture is found a free place in its folder
(`_Planner`) and gets it (`_placed`), 32 pictures at a time. How that is safe from kills and power
cuts, and can be taken back, is told in `mmfm.journal`.
"""

import contextlib
import errno
import os
import shlex
import stat
import unicodedata
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mmfm.errors import BadInput, BadRun, NotHere, OutOfSpace
from mmfm.files import digest
from mmfm.journal import (
    Deed,
    Journal,
    Wish,
    interrupted,
    journals,
    locked,
    look,
    numbered,
    standing,
    why,
)

if TYPE_CHECKING:
    from mmfm.tasks.classify import Prediction

NONE = "none of these"  # the folder of pictures to which no label applies

_BATCH = 32
_TRIES = 10  # for a name that somebody else takes in that moment
_LONGEST_FOLDER = 200  # leaves room for a number, and for file systems that hide names


@dataclass(frozen=True)
class Placed:
    """What became of one picture; a copied picture with several labels comes once for each."""

    path: str | None  # as the prediction names it
    to: Path | None  # where it lies now; None: it was left
    how: Literal["copied", "moved", "already there", "left"]
    reason: str | None = None  # why it was left


@dataclass(frozen=True)
class Undone:
    """What became of one placed picture when the sorting was undone."""

    path: Path  # where it came from
    to: Path  # where it had been placed
    how: Literal["moved back", "removed", "left"]
    reason: str | None = None  # why it was left


def sort_pictures(
    predictions: "Iterable[Prediction]",
    out: Path,
    *,
    move: bool,
    labels: Iterable[str] = (),
    asked: str | None = None,
    dry_run: bool = False,
    resume: bool = False,
) -> Iterator[Placed]:
    """Copy or move pictures into a folder for each label, in the order of the predictions.

    A picture with several labels is copied to each of them, or moved to the best. `labels`: all
    that there are, so that each gets the same folder whichever pictures come first. `asked` says in
    words for what answers the pictures were asked; it goes into the journal. `dry_run` tells what
    would be done and touches nothing; it remembers every name it would give. `resume` finishes what
    an interrupted sort into this folder began, and goes on in its journal, if that was asked for
    the same answers.
    """
    check_out(out, move=move, asked=asked, resume=resume)
    out = Path(os.path.realpath(out))
    folders = _Folders(labels)
    if dry_run:
        planner = _Planner(out, move, folders)
        return (placed for prediction in predictions for placed in planner.places(prediction))
    return _sorted(predictions, out, move, folders, asked, resume)


def check_out(out: Path, *, move: bool, resume: bool, asked: str | None = None) -> None:
    """Refuse a folder that cannot be sorted into, before any work is done."""
    if interrupted(out):
        with locked(out):  # what another process is at is not interrupted
            pass
    _check_out(out, move=move, resume=resume, asked=asked)


def _check_out(out: Path, *, move: bool, resume: bool, asked: str | None) -> None:
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise BadInput(f"{there} is a file; name a folder to sort into")
    if not os.access(there, os.W_OK | os.X_OK):
        raise BadInput(f"{there}: cannot be written; name another folder to sort into")
    for journal in interrupted(out):
        back = f"mmfm undo {shlex.quote(str(journal))}"
        begun = standing(journal)
        if begun.stage == "undoing":
            raise BadRun(f"{out}: an earlier sort is half undone; finish that with {back}")
        if not resume:
            raise BadRun(
                f"{out}: an earlier sort was interrupted; go on with --resume, or take it back "
                f"with {back}"
            )
        if begun.move != move:
            was = "--move-to" if begun.move else "--copy-to"
            raise BadRun(f"{out}: the interrupted sort was a {was}; go on with that, or {back}")
        if None not in (asked, begun.asked) and asked != begun.asked:
            raise BadRun(
                f"{out}: the interrupted sort was by {begun.asked}, and this one is by {asked}; go "
                f"on with that, or {back}"
            )


def undo(journal: Path) -> Iterator[Undone]:
    """Take back what a journal tells, the last picture first; it may be interrupted and repeated.

    A copy is removed only if it is still what was put there and its original still exists. A moved
    picture goes back only if it is unchanged and its old place is free. What is left is named.
    """
    path = Path(os.path.realpath(journal))
    if path.is_dir():
        there = ", ".join(file.name for file in journals(path)) or "none"
        raise BadInput(f"{journal} is a folder; name one of the journals in it: {there}")
    if not path.exists():
        raise NotHere(f"{journal}: no such journal; they lie in the folder that was sorted into")
    begun = standing(path)
    if begun.stage == "undone" and not begun.left:
        raise BadRun(f"{journal}: was undone already")
    if begun.out != path.parent and (itself := begun.out / path.name).exists():
        raise BadRun(f"{journal} is a copy; undo {itself} itself")
    return _undone(path)


# --- names of folders and files -------------------------------------------------------------------


def folder_name(label: str) -> str:
    """A label as a folder can be called on every system; most stay as they are."""
    name = unicodedata.normalize("NFC", label)
    name = "".join("-" if _forbidden(character) else character for character in name)
    name = _trimmed(name)
    while len(name.encode()) > _LONGEST_FOLDER:
        name = name[:-1]
    name = _trimmed(name) or "_"
    stem = name.split(".")[0].rstrip().upper()
    devices = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    numbered = stem[:3] in ("COM", "LPT") and len(stem) == 4 and stem[3] in "0123456789¹²³"
    return f"_{name}" if stem in devices or numbered else name


def _forbidden(character: str) -> bool:
    return character in '/\\:*?"<>|' or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def _trimmed(name: str) -> str:
    """Without dots and blanks at the ends, which Windows drops and others hide."""
    while name != (shorter := name.strip().strip(".")):
        name = shorter
    return name


class _Folders:
    """Which label lies in which folder: no two in one, also where case makes no difference.

    All labels that are known are named at once, so that it hangs on no order.
    """

    def __init__(self, labels: Iterable[str] = ()) -> None:
        self._names: dict[str | None, str] = {None: NONE}
        self._taken = {NONE}
        self._name(labels)

    def of(self, label: str | None, among: Iterable[str]) -> str:
        """The folder's name; a label that comes as new is named with those beside it."""
        if label is not None and label not in self._names:
            self._name({label, *among})
        return self._names[label]

    def _name(self, labels: Iterable[str]) -> None:
        new = set(labels) - self._names.keys()
        for name in sorted(new, key=lambda name: (folder_name(name) != name, name)):
            self._names[name] = self._free(folder_name(name))

    def _free(self, name: str) -> str:
        for number in count(1):
            tried = name if number == 1 else f"{name} ({number})"
            key = unicodedata.normalize("NFC", tried.casefold())
            if key not in self._taken:
                self._taken.add(key)
                return tried
        raise AssertionError("there is always a further number")


# --- where each picture would go ------------------------------------------------------------------


class _Planner:
    """Finds each picture its place; touches nothing.

    It remembers what was planned since `forget`, and takes it for done.
    """

    def __init__(self, out: Path, move: bool, folders: _Folders) -> None:
        self.out, self.move = out, move
        self._folders = folders
        self._taken: dict[Path, Path] = {}  # goal -> the file that will lie there
        self._gone: set[Path] = set()

    def forget(self) -> None:
        """Look at the disk again: what was planned is done."""
        self._taken.clear()
        self._gone.clear()

    def places(self, prediction: "Prediction") -> Iterator[Placed]:
        """Where a picture should go: one place, or when copying one for each of its labels."""
        if prediction.path is None or prediction.error is not None:
            reason = prediction.error or "is a picture in memory, not a file"
            yield Placed(prediction.path, None, "left", reason)
            return
        labels = prediction.labels or (prediction.label,)
        for label in labels[:1] if self.move else labels:
            folder = self.out / self._folders.of(label, prediction.scores)
            yield self.place(prediction.path, folder)

    def place(self, path: str, folder: Path) -> Placed:
        """Where in a folder a file should go."""
        try:
            source = _spot(Path(path))
            if source in self._gone:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            found = source.lstat() if self.move else source.stat()
            if reason := _unfit(found):
                return Placed(path, None, "left", reason)
            if os.path.lexists(folder) and not folder.is_dir():
                return Placed(path, None, "left", f"{folder} is no folder")
            goal, is_there = self._goal(source, found, folder)
        except OSError as error:
            return Placed(path, None, "left", why(error))
        if is_there:
            return Placed(path, goal, "already there")
        self._taken[goal] = source
        if self.move:
            self._gone.add(source)
        return Placed(path, goal, "moved" if self.move else "copied")

    def _goal(self, source: Path, found: os.stat_result, folder: Path) -> tuple[Path, bool]:
        """The first free name; or one under which this very file, or for a copy its like, lies."""
        for goal in numbered(folder / source.name):
            holder = self._taken.get(goal)
            if holder is None and goal in self._gone:
                return goal, False
            there = look(holder or goal, follow=holder is not None)
            if there is None:
                return goal, False
            if os.path.samestat(there, found):
                return goal, True
            # An equal file is no reason to let go of this one: two files stay two when moved.
            same_size = stat.S_ISREG(there.st_mode) and there.st_size == found.st_size
            if not self.move and same_size and digest(holder or goal) == digest(source):
                return goal, True
        raise AssertionError("there is always a further number")


def _spot(path: Path) -> Path:
    """The one spelling of where a file lies; a link stays a link."""
    return Path(os.path.realpath(path.parent)) / path.name


def _unfit(found: os.stat_result) -> str | None:
    """Why a file is better left where it is."""
    if stat.S_ISLNK(found.st_mode):
        return "is a symbolic link, which might break when moved; copying copies what it shows"
    if not stat.S_ISREG(found.st_mode):
        return "is not a regular file"
    return None if found.st_size else "is empty"


# --- sorting --------------------------------------------------------------------------------------


def _sorted(
    predictions: "Iterable[Prediction]",
    out: Path,
    move: bool,
    folders: _Folders,
    asked: str | None,
    resume: bool,
) -> Iterator[Placed]:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{out}: cannot be made ({why(error)})") from error
    with locked(out):
        # Again: it may just have been sorted into.
        _check_out(out, move=move, asked=asked, resume=resume)
        begun = interrupted(out)
        journal = Journal(begun[-1]) if begun else Journal.new(out, move, asked)
        with _told(out, "go on with --resume"), contextlib.closing(journal):
            finished = journal.settle()
        for deed in finished:
            yield Placed(str(deed.source), deed.goal, "moved" if move else "copied")
        yield from _streamed(predictions, journal.path, folders)


def _streamed(
    predictions: "Iterable[Prediction]", path: Path, folders: _Folders
) -> Iterator[Placed]:
    """Place one handful after the other; when stopped, leave nothing half done if that can be."""
    journal = Journal(path)
    try:
        planner = _Planner(journal.out, journal.move, folders)
        waiting = iter(predictions)
        while some := list(islice(waiting, _BATCH)):
            with _told(journal.out, "go on with --resume"):
                placed = _placed(some, planner, journal)
            yield from placed
        with _told(journal.out, "go on with --resume"):
            journal.end("sorted")
    except BaseException:
        # What is in memory may be half as well. Should this fail too, the journal still tells.
        failing = contextlib.suppress(OSError, OutOfSpace, BadRun)
        with failing, contextlib.closing(Journal(path)) as again:
            again.settle()
        raise
    finally:
        journal.close()
    if not len(journal):
        path.unlink()  # it has nothing to tell


@contextlib.contextmanager
def _told(out: Path, then: str) -> Generator[None]:
    """Say in one line that a disk fails, or whatever else is no single file's trouble."""
    try:
        yield
    except OSError as error:
        raise BadRun(f"{out}: {why(error)}; nothing is lost: {then}") from error


def _placed(
    predictions: "Sequence[Prediction]", planner: _Planner, journal: Journal
) -> list[Placed]:
    """Place some pictures; nothing of them is under way any more when this returns."""
    placed = [place for prediction in predictions for place in planner.places(prediction)]
    wishes = {i: _wish(place) for i, place in enumerate(placed) if place.how in ("copied", "moved")}
    planner.forget()
    for _ in range(_TRIES):
        if not wishes:
            break
        tried, outcomes = wishes, journal.place(list(wishes.values()))
        wishes = dict[int, Wish]()
        for (i, wish), outcome in zip(tried.items(), outcomes, strict=True):
            path = placed[i].path
            across = isinstance(outcome, OSError) and outcome.errno == errno.EXDEV
            if isinstance(outcome, FileExistsError) or across:
                placed[i] = planner.place(str(path), wish.goal.parent)
                if placed[i].how in ("copied", "moved"):
                    wishes[i] = _wish(placed[i], copying=across)
            elif outcome is not None:
                placed[i] = Placed(path, None, "left", why(outcome))
        planner.forget()
    for i in wishes:
        placed[i] = Placed(placed[i].path, None, "left", "its name was taken again and again")
    return placed


def _wish(place: Placed, *, copying: bool = False) -> Wish:
    assert place.path is not None and place.to is not None
    return Wish(_spot(Path(place.path)), place.to, copying)


# --- undoing --------------------------------------------------------------------------------------


def _undone(path: Path) -> Iterator[Undone]:
    with locked(path.parent), contextlib.closing(Journal(path)) as journal:
        with _told(path.parent, "undo again"):
            journal.settle()
            journal.end("undoing")
        for deeds in journal.backwards(_BATCH):
            with _told(path.parent, "undo again"):
                said = [
                    _said(deed, reason)
                    for deed, reason in zip(deeds, journal.take_back(deeds), strict=True)
                ]
            yield from said
        with _told(path.parent, "undo again"):
            journal.remove_folders()
            journal.end("undone", left=journal.left)


def _said(deed: Deed, reason: Exception | None) -> Undone:
    if reason is not None:
        return Undone(deed.source, deed.goal, "left", why(reason))
    return Undone(deed.source, deed.goal, "moved back" if deed.move else "removed")
