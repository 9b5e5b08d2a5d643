"""Give files new places so that nothing is lost, overwritten or doubled, and all can be undone.

Every deed is written down in a journal before it is done, and the journal reaches the disk first:

    sorted/mmfm-sorted-20250131-184500.jsonl
        {"journal": "mmfm sort", "version": 1, ...}     how, whereto, when
        {"folder": "cat"}                               about to be made
        {"plan": 0, "from": ..., "to": ..., ...}        about to be placed
        {"done": 0}  or  {"failed": 0}                  that is how it went
        {"end": "sorted"}                               nothing is left to do

So whatever moment a kill or a power cut finds, the plans that have no outcome tell where to look,
and what lies there tells the rest (`_settle`). A file gets its new name by a hard link, which fails
where the name is taken; only when that name has reached the disk is the old one let go. Across file
systems a copy is made under a hidden name, brought to the disk, read back and compared, and then
named the same way. A file that is moved so is held before: it takes a hidden name beside its old
one, which of several that move it at the same time only one can give it. Undoing goes on in the
same journal, the last deed first:

        {"end": "undoing"}
        {"back": 0, "copying": false}                   about to be moved back
        {"undone": 0}
        {"end": "undone", "left": 0}

Many deeds are done at a time: the disk is waited for as often as it would be for one.
"""

import contextlib
import errno
import json
import os
import secrets
import shutil
import stat
import sys
import time
from array import array
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self

from filelock import FileLock, Timeout

from mmfm.errors import BadData, BadInput, BadRun, InUse, OutOfSpace
from mmfm.files import FULL, digest, sync_folders, write_whole

_KIND, _VERSION = "mmfm sort", 1
_NAMES = "mmfm-sorted-*.jsonl"
_LOCK = ".mmfm-sort.lock"
_HALF = "." + "[0-9a-f]" * 12 + ".part"  # a file of mmfm.files.whole that is not whole
_LONGEST = 255  # bytes of a name, on all systems in use
_TAIL = 1 << 17  # bytes: no line of a journal is longer
_SAME_TIME = 2 * 10**9  # nanoseconds: FAT counts time in steps of two seconds
_NO_LINKS = (
    *(errno.EPERM, errno.EACCES, errno.EINVAL, errno.EMLINK, errno.ENOSYS),
    *(errno.ENOTSUP, errno.EOPNOTSUPP),  # these are one on Linux, two on macOS
)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY)  # surely not done


# --- the journals of a folder ---------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """How far the work that a journal tells of has come."""

    out: Path  # the folder that was sorted into, as it was called then
    move: bool
    stage: Literal["sorting", "sorted", "undoing", "undone"]
    left: int  # what the last undoing has not taken back
    asked: str | None  # for what answers it sorts; None: by a caller that does not say


def journals(out: Path) -> list[Path]:
    """The journals of all sorts into a folder, the latest last."""
    return sorted((path for path in out.glob(_NAMES) if path.is_file()), key=lambda path: path.stem)


def standing(path: Path) -> Standing:
    """Read the two ends of a journal, which must be one of ours."""
    with path.open("rb") as file:
        header = _parsed(file.readline(_TAIL)) or {}
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        rows = [row for line in file.readlines() if (row := _parsed(line)) is not None]
    if header.get("journal") != _KIND:
        raise BadData(f"{path}: is no journal of mmfm; such are called {_NAMES}")
    if header.get("version") != _VERSION:
        raise BadData(
            f"{path}: is a journal of version {header.get('version')}, and this mmfm reads "
            f"version {_VERSION}; undo it with the mmfm that wrote it"
        )
    last = rows[-1] if rows else header
    stage = last.get("end") or ("undoing" if "back" in last or "undone" in last else "sorting")
    left, asked = last.get("left", 0), header.get("asked")
    return Standing(Path(header["out"]), header["move"], stage, left, asked)


def interrupted(out: Path) -> list[Path]:
    """The journals that tell of an interrupted sort, or of an interrupted undoing."""
    found: list[Path] = []
    for path in journals(out):
        with contextlib.suppress(BadData):  # not ours, or of a version that we know nothing of
            if standing(path).stage in ("sorting", "undoing"):
                found.append(path)
    return found


@contextlib.contextmanager
def locked(out: Path) -> Generator[None]:
    """Hold a folder: one sort, or one undoing, at a time."""
    lock = FileLock(out / _LOCK, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InUse(f"{out}: another process is sorting into it; wait until it is done") from error
    except OSError as error:
        raise BadInput(f"{out}: cannot be written ({why(error)})") from error
    try:
        for part in out.glob(_HALF):  # of a journal that was killed before its first line stood
            part.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


# --- the journal ----------------------------------------------------------------------------------

_PLANNED, _DONE, _FAILED, _BACK, _BACK_COPYING, _UNDONE = range(6)
_TO_UNDO = (_DONE, _BACK, _BACK_COPYING)
_STATES = {"done": _DONE, "failed": _FAILED, "back": _BACK, "undone": _UNDONE}
_ROW = {"plan", "from", "to", "size", "mtime_ns", "inode", "copying"}


@dataclass(frozen=True)
class Wish:
    """A file that should get a place, which is free as far as is known."""

    source: Path
    goal: Path
    copying: bool = False  # no link can reach the place, as was found out


@dataclass(frozen=True)
class Deed:
    """One file that gets a new name, or a like under that name."""

    number: int
    source: Path
    goal: Path
    size: int
    mtime_ns: int
    inode: int
    move: bool
    copying: bool  # content has to be copied: it is wanted, or the file systems differ
    part: Path  # the hidden name of an unfinished copy
    sha256: str | None = None  # of what was copied

    @property
    def held(self) -> Path:
        """The hidden name, beside its old one, of a file that is moved by a copy."""
        return self.source.with_name(f"{self.part.stem}.held")

    @property
    def old(self) -> Path:
        """What a moved file lets go of once it has its new name."""
        return self.held if self.copying else self.source

    def swapped(self, *, copying: bool) -> Self:
        """The way back."""
        part = self.source.with_name(self.part.name)
        return replace(self, source=self.goal, goal=self.source, part=part, copying=copying)


class Journal:
    """What was planned and how it went; all that is kept in memory is a few bytes an entry.

    Hold the folder while you use it (`locked`), and begin with `settle`.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.out = path, path.parent
        self._folders: dict[str, None] = {}  # those that we made
        self._plans = array("Q")  # where in the file each plan is
        self._outcomes = array("Q")  # and that it was done
        self._states = bytearray()
        self._end = 0
        with path.open("rb") as file:
            for at, line, row in _rows(path, file):
                if at == 0:
                    self._header = row
                elif not self._take(at, row):
                    raise BadData(
                        f"{path}: does not fit together at byte {at}; nothing was changed"
                    )
                self._end = at + len(line)
        self._file = path.open("r+b", buffering=0)
        self._file.truncate(self._end)  # a line that a kill cut short

    @classmethod
    def new(cls, out: Path, move: bool, asked: str | None = None) -> Self:
        """Begin a journal under a name that is free."""
        path = out / _NAMES.replace("*", time.strftime("%Y%m%d-%H%M%S"))
        for number in count(2):
            if not os.path.lexists(path):
                break
            path = path.with_stem(path.stem.removesuffix(f"-{number - 1}") + f"-{number}")
        header = {
            "journal": _KIND,
            "version": _VERSION,
            "command": "mmfm classify --move-to" if move else "mmfm classify --copy-to",
            "move": move,
            "out": str(out),
            "asked": asked,
            "began": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "token": secrets.token_hex(4),
        }
        write_whole(path, _line(header))
        return cls(path)

    @property
    def move(self) -> bool:
        """Whether files are moved; else they are copied."""
        return self._header["move"]

    def __len__(self) -> int:
        return len(self._plans)

    def close(self) -> None:
        """Let go of the file; what was noted stays."""
        self._file.close()

    def end(self, how: Literal["sorted", "undoing", "undone"], **more: int) -> None:
        """Note that a stage is reached."""
        self._note({"end": how, **more}, sync=True)

    def place(self, wishes: Sequence[Wish]) -> list[Exception | None]:
        """Give files their places: what went wrong with each, if anything.

        A FileExistsError says that the place was taken, an OSError of EXDEV that only a copy can
        get there. Nothing is under way any more when this returns.
        """
        outcomes: list[str | Exception | None] = [None] * len(wishes)
        deeds: dict[int, Deed] = {}
        for i, wish in enumerate(wishes):
            try:
                self._make_folder(wish.goal.parent)
                deeds[i] = self._draft(len(self) + len(deeds), wish)
            except OSError as error:
                outcomes[i] = _unless_full(error, wish.goal)
        if deeds:
            self._note(*(_plan(deed, self.out) for deed in deeds.values()), sync=True)
            done = _carry(list(deeds.values()))
            for i, deed in deeds.items():
                outcomes[i] = done[deed.number]
            # Should these lines be lost, what lies there tells the same.
            self._note(*(_outcome(deed, done[deed.number]) for deed in deeds.values()))
        return [outcome if isinstance(outcome, Exception) else None for outcome in outcomes]

    def settle(self) -> list[Deed]:
        """Finish or take back all that was planned and has no outcome: what was finished."""
        finished: list[Deed] = []
        while (number := self._states.find(_PLANNED)) >= 0:
            deed = self._deed(number)
            if is_done := _settle(deed):
                finished.append(deed)
            sha256 = digest(deed.goal) if is_done and deed.copying else None
            self._note(_outcome(deed, sha256) if is_done else {"failed": number})
        return finished

    def backwards(self, at_most: int) -> Iterator[list[Deed]]:
        """What is to be taken back, the last first, some at a time that don't hang together."""
        some: list[Deed] = []
        for number in reversed(range(len(self))):
            if self._states[number] not in _TO_UNDO:
                continue
            deed = self._deed(number)
            # A later one may have taken on what this one placed, or lie where this one came from.
            hangs = any(deed.goal == d.source or deed.source == d.goal for d in some)
            if hangs or len(some) == at_most:
                yield some
                some = []
            some.append(deed)
        if some:
            yield some

    @property
    def left(self) -> int:
        """How many deeds are not noted as undone."""
        return sum(self._states.count(state) for state in _TO_UNDO)

    def take_back(self, deeds: Sequence[Deed]) -> list[Exception | None]:
        """Undo deeds: why each was left, if it was; nothing is under way when this returns.

        What others have moved back is not noted as undone. That may have been a later sort, which
        takes it away again when it is undone itself; then this can be repeated.
        """
        outcomes: dict[int, str | Exception | None] = {}
        wanted: list[Deed] = []
        by_others: set[int] = set()
        for deed in deeds:
            outcomes[deed.number] = None
            try:
                if not deed.move:
                    _remove(deed)
                elif back := _way_back(deed, self._states[deed.number]):
                    wanted.append(back)
                elif self._states[deed.number] == _DONE:
                    by_others.add(deed.number)
            except (OSError, _Left) as error:
                outcomes[deed.number] = _unless_full(error, deed.source)
        while wanted:
            self._note(*({"back": d.number, "copying": d.copying} for d in wanted), sync=True)
            outcomes |= _carry(wanted)
            wanted = [
                replace(back, copying=True)
                for back in wanted
                if isinstance(outcome := outcomes[back.number], OSError)
                and outcome.errno == errno.EXDEV
                and not back.copying
            ]
        why_left = [_why_left(outcomes[deed.number]) for deed in deeds]
        undone = [d.number for d, reason in zip(deeds, why_left, strict=True) if reason is None]
        self._note(*({"undone": number} for number in undone if number not in by_others))
        return why_left

    def remove_folders(self) -> None:
        """Remove the folders that we made and that are empty again."""
        for folder in reversed(self._folders):
            with contextlib.suppress(OSError):  # something else lies there, or it is gone
                (self.out / folder).rmdir()

    def _make_folder(self, folder: Path) -> None:
        """Make a label's folder, and remember that it is ours to remove."""
        if not folder.is_dir():
            self._note({"folder": str(folder.relative_to(self.out))}, sync=True)
            folder.mkdir(exist_ok=True)
            sync_folders(folder.parent)

    def _draft(self, number: int, wish: Wish) -> Deed:
        """Look at what is about to be done."""
        move, goal = self.move, wish.goal
        found = wish.source.stat(follow_symlinks=not move)
        if os.path.lexists(goal):  # a plan is for a free name: so it is known whose file lies there
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        across = found.st_dev != goal.parent.stat().st_dev
        return Deed(
            number,
            wish.source,
            goal,
            found.st_size,
            found.st_mtime_ns,
            found.st_ino,
            move,
            wish.copying or across or not move,
            self._part(goal, number),
        )

    def _deed(self, number: int) -> Deed:
        """Read an entry again."""
        row = self._read(self._plans[number])
        goal = self.out / row["to"]
        done = self._read(self._outcomes[number]) if self._outcomes[number] else {}
        return Deed(
            number,
            Path(row["from"]),
            goal,
            row["size"],
            row["mtime_ns"],
            row["inode"],
            self.move,
            row["copying"],
            self._part(goal, number),
            done.get("sha256"),
        )

    def _part(self, goal: Path, number: int) -> Path:
        return goal.with_name(f".mmfm-{self._header['token']}-{number}.part")

    def _read(self, at: int) -> dict[str, Any]:
        os.lseek(self._file.fileno(), at, os.SEEK_SET)
        return json.loads(os.read(self._file.fileno(), _TAIL).split(b"\n", 1)[0])

    def _note(self, *rows: Mapping[str, Any], sync: bool = False) -> None:
        """Add lines; whole ones or, on a full disk, none."""
        data = b"".join(_line(row) for row in rows)
        handle = self._file.fileno()
        try:
            os.lseek(handle, self._end, os.SEEK_SET)
            if os.write(handle, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if sync:
                os.fsync(handle)
        except OSError as error:
            os.ftruncate(handle, self._end)
            raise _unless_full(error, self.path) from None
        for row in rows:
            self._take(self._end, row)
            self._end += len(_line(row))

    def _take(self, at: int, row: Mapping[str, Any]) -> bool:
        """Keep in mind what a line says, if it can be true."""
        if "folder" in row:
            self._folders[row["folder"]] = None
        elif "plan" in row:
            if row["plan"] != len(self) or not row.keys() >= _ROW:
                return False
            self._plans.append(at)
            self._outcomes.append(0)
            self._states.append(_PLANNED)
        elif "end" not in row:
            word = next((word for word in _STATES if word in row), None)
            number = row[word] if word is not None else None
            if word is None or not isinstance(number, int) or not 0 <= number < len(self):
                return False
            self._states[number] = _BACK_COPYING if row.get("copying") else _STATES[word]
            if word == "done":
                self._outcomes[number] = at
        return True


def _plan(deed: Deed, out: Path) -> dict[str, Any]:
    return {
        "plan": deed.number,
        "from": str(deed.source),
        "to": str(deed.goal.relative_to(out)),
        "size": deed.size,
        "mtime_ns": deed.mtime_ns,
        "inode": deed.inode,
        "copying": deed.copying,
    }


def _outcome(deed: Deed, outcome: str | Exception | None) -> dict[str, Any]:
    """How it went; by its digest a copy is known again as one that we put there."""
    if isinstance(outcome, Exception):
        return {"failed": deed.number}
    return {"done": deed.number} | ({"sha256": outcome} if deed.copying else {})


def _line(row: Mapping[str, Any]) -> bytes:
    # What of a name is no UTF-8 is kept as JSON's escapes of lone surrogates, as Python reads it.
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _rows(path: Path, file: BinaryIO) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
    """The whole lines of a journal and where they are; what was torn at the end is left out."""
    at, torn = 0, 0
    for number, line in enumerate(file, 1):
        row = _parsed(line)
        if row is None:
            torn = torn or number
        elif torn:
            raise BadData(f"{path}: line {torn} is damaged; nothing was changed")
        else:
            yield at, line, row
            at += len(line)


# --- deeds ----------------------------------------------------------------------------------------


class _Left(Exception):
    """Why a file stays where it is."""


def _carry(deeds: Sequence[Deed]) -> dict[int, str | Exception | None]:
    """Do some deeds: number -> what went wrong, or the digest of what was copied."""
    outcomes: dict[int, str | Exception | None] = {}
    doubled: list[Deed] = []  # those that have both names

    for deed in deeds:
        try:
            outcomes[deed.number], is_doubled = _put(deed)
            doubled += [deed] if is_doubled else []
        except (OSError, _Left) as error:
            _clear(deed.part)
            outcomes[deed.number] = _unless_full(error, deed.goal)
    # The new names reach the disk before any old one goes, and both before the journal says done.
    good = [deed for deed in deeds if not isinstance(outcomes[deed.number], Exception)]
    sync_folders(*(deed.goal.parent for deed in good))
    for deed in doubled:
        if deed.move:
            try:
                _let_go(deed)
            except (OSError, _Left) as error:
                if deed.copying:
                    _give_back(deed)
                outcomes[deed.number] = _unless_full(error, deed.goal)
    sync_folders(*(deed.source.parent for deed in deeds if deed.move))
    return outcomes


def _put(deed: Deed) -> tuple[str | None, bool]:
    """Give a file, or a true copy of it, the new name: the copy's digest; is the old name there?"""
    if not deed.copying:
        return None, _name(deed.source, deed.goal)
    sha256 = _copy(deed.source, deed.part)
    if deed.move and not _hold(deed):
        raise _Left("was taken away while it was moved")
    try:
        _name(deed.part, deed.goal)
        _clear(deed.part)
    except OSError:
        if deed.move:
            _give_back(deed)
        raise
    return sha256, True


def _name(file: Path, goal: Path) -> bool:
    """Give a file a second name, which must be free; False: it has that one alone now."""
    try:
        goal.hardlink_to(file)
        return True
    except OSError as error:
        if error.errno not in _NO_LINKS:
            with _answering(goal):
                old, new = look(file), look(goal)
            if old is None or new is None or not os.path.samestat(old, new):
                raise
            return True  # a network disk did it, and only its answer was lost
    # A disk without links (FAT, exFAT, some of the network). An empty file that nobody else had
    # made holds the name, and the file takes its place, which is one step; a kill in between leaves
    # the empty one, which the journal explains.
    goal.touch(exist_ok=False)
    try:
        file.replace(goal)
    except OSError:
        # If a network disk did it and only its answer was lost, this is the file itself.
        with _answering(goal):
            old, new = look(file), look(goal)
            holds = new is not None and not new.st_size and _is_empty(goal)
        if holds:
            goal.unlink()
        if holds or new is None or old is not None:
            raise
    return False


def _is_empty(path: Path) -> bool:
    """By opening it: what the system remembers of a network disk may be old."""
    with path.open("rb") as file:
        return not file.read(1)


def _clear(path: Path) -> None:
    """Take a name away that is not the last of its kind."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        with _answering(path):
            found = look(path)
        if found is not None:
            raise


@contextlib.contextmanager
def _answering(path: Path) -> Generator[None]:
    """Look what has been done; a disk that does not tell ends the work.

    What was planned has no outcome then, so that `_settle` finds it when the disk is back.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadRun(
            f"{path}: {why(error)}; nothing is lost: go on with --resume, or undo"
        ) from error


def _copy(source: Path, part: Path) -> str:
    """Copy a file with its times and rights, onto the disk; the digest is that of both."""
    shutil.copyfile(source, part)
    found = source.stat()
    os.utime(part, ns=(found.st_atime_ns, found.st_mtime_ns))
    with part.open("r+b") as file:  # before it gets rights that may forbid it
        with contextlib.suppress(OSError):  # a disk that knows no rights; the times are kept
            shutil.copystat(source, part)
        if sys.platform == "darwin":  # a locked copy could be neither named nor taken away
            os.chflags(part, 0)
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):  # so that the disk is read, not what was kept of it
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    sha256 = digest(part)
    if sha256 != digest(source):
        raise _Left("changed while it was copied, or was not copied faithfully")
    return sha256


def _hold(deed: Deed) -> bool:
    """Keep a file that was copied from others who would move it too; False: one was quicker.

    Two copies of one file would not know of each other, as two links do. Until it is held, nobody
    has seen the copy; from then on it is on its way, and comes back only if it cannot go on.
    """
    try:
        deed.source.rename(deed.held)
    except OSError as error:
        with _answering(deed.held):
            held = look(deed.held)
        if held is None and isinstance(error, FileNotFoundError):
            return False
        if held is None:
            raise
    return True


def _give_back(deed: Deed) -> None:
    """Let a file that is held have its old name again; where that is taken, one that is free."""
    with _answering(deed.held):
        held = look(deed.held)
    if held is None:
        return
    for place in numbered(deed.source):
        with contextlib.suppress(FileExistsError):
            _name(deed.held, place)
            break
    _clear(deed.held)


def numbered(goal: Path) -> Iterator[Path]:
    """IMG_1.jpg, IMG_1 (2).jpg, IMG_1 (3).jpg ..."""
    yield goal
    for number in count(2):
        stem, end = goal.stem, f" ({number}){goal.suffix}"
        while stem and len(os.fsencode(stem + end)) > _LONGEST:
            stem = stem[:-1]
        yield goal.with_name(stem + end)


def _let_go(deed: Deed) -> None:
    """Take the old name away, now that the new one stands; else take the new one back."""
    with _answering(deed.goal):
        old, goal = look(deed.old), look(deed.goal)
    if goal is None:
        raise _Left("was taken away from its new place")
    if old is not None and not os.path.samestat(old, goal) and not _unchanged(deed, old):
        deed.goal.unlink()
        raise _Left("changed while it was moved")
    if not _drop(deed) and _is_elsewhere(deed):
        deed.goal.unlink()
        raise _Left("was taken away while it was moved")


def _drop(deed: Deed) -> bool:
    """Take the old name away; where that cannot be, the new one. False: somebody was quicker.

    Of several moves that have all named the file anew, the system lets one alone take the old name
    away: that one has moved it, however their looks fell in between.
    """
    with _answering(deed.old):
        before = look(deed.old)
    try:
        deed.old.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        if before is None or not _still_stands(deed, before, error):
            return True
        deed.goal.unlink()  # it cannot be moved, as from a disk that is read-only
        raise
    return True


def _is_elsewhere(deed: Deed) -> bool:
    """Whether a file that somebody else took away has a further name, and so needs no new one.

    A copy, and what may be the last of its kind, stays.
    """
    with _answering(deed.goal):
        goal = look(deed.goal)
    return not deed.copying and goal is not None and goal.st_nlink > 1


def _still_stands(deed: Deed, before: os.stat_result, error: OSError) -> bool:
    """Whether the old name is there after an error, so that the new one is not the last.

    A network disk may have done what it was asked, and only its answer was lost.
    """
    with _answering(deed.old):
        old = look(deed.old)
        if old is None or not os.path.samestat(old, before):
            return False
        if error.errno in _REFUSED:
            return True
        # What the system remembers of such a disk may be old, until a file is opened.
        try:
            deed.old.open("rb").close()
        except FileNotFoundError:
            return False
        with deed.goal.open("rb") as file:
            goal = os.fstat(file.fileno())
    return goal.st_nlink > 1 or not os.path.samestat(old, goal)


def _settle(deed: Deed) -> bool:
    """After a kill: finish what has its new name (True), take back what has not."""
    if deed.move and deed.copying and look(deed.held) is not None:
        return _settle_held(deed)
    source, goal = look(deed.source, follow=not deed.move), look(deed.goal)
    part = look(deed.part)
    if goal is not None and goal.st_size == 0 and deed.size and (source or part):
        deed.goal.unlink()  # it held the name on a disk without links
        goal = None
    if part is not None and (source is not None or goal is not None):
        deed.part.unlink()  # never the last of its kind
    if goal is None:
        return False
    if source is None:
        return _alike(deed, deed.goal, goal)
    if not os.path.samestat(source, goal):
        # The name was free, and a copy was under way: what equals the source is that copy.
        same_size = source.st_size == goal.st_size
        if not (deed.copying and same_size and digest(deed.source) == digest(deed.goal)):
            return False
    elif not deed.move:
        return False
    sync_folders(deed.goal.parent)
    if deed.move:
        # Nobody holds it: what goes is its old name itself.
        if not _drop(replace(deed, copying=False)) and _is_elsewhere(deed):
            deed.goal.unlink()
            return False
        sync_folders(deed.source.parent)
    return True


def _settle_held(deed: Deed) -> bool:
    """Of a file that is held: finish with its copy (True), or give it back if that is not whole."""
    _clear_way(deed.goal, deed)
    known = replace(deed, sha256=digest(deed.held))
    goal, part = look(deed.goal), look(deed.part)
    if goal is None and part is not None and _is_true(known, deed.part, part):
        _name(deed.part, deed.goal)
        goal = look(deed.goal)
    _clear(deed.part)
    is_done = goal is not None and _is_true(known, deed.goal, goal)
    if is_done:
        sync_folders(deed.goal.parent)
        _drop(deed)
    else:
        _clear_way(deed.source, deed)
        _give_back(deed)
    sync_folders(deed.source.parent)
    return is_done


def _clear_way(path: Path, deed: Deed) -> None:
    """Take an empty file away that held a name on a disk without links."""
    found = look(path)
    if found is not None and found.st_size == 0 and deed.size:
        path.unlink()


def _unchanged(deed: Deed, found: os.stat_result) -> bool:
    now = (found.st_size, found.st_mtime_ns, found.st_ino)
    return now == (deed.size, deed.mtime_ns, deed.inode)


def _alike(deed: Deed, path: Path, found: os.stat_result) -> bool:
    """Whether a file still is what was placed, as far as size and time, or its digest, tell."""
    if found.st_size != deed.size or not stat.S_ISREG(found.st_mode):
        return False
    if abs(found.st_mtime_ns - deed.mtime_ns) < _SAME_TIME:
        return True
    return deed.sha256 is not None and digest(path) == deed.sha256


def _is_true(deed: Deed, path: Path, found: os.stat_result) -> bool:
    """Whether a file still is, byte for byte, what was copied."""
    regular = stat.S_ISREG(found.st_mode)  # what else there is may hang whoever reads it
    return regular and found.st_size == deed.size and digest(path) == deed.sha256


# --- the way back ---------------------------------------------------------------------------------


def _remove(deed: Deed) -> None:
    """Take a copy away, if nothing is lost by that."""
    copy = look(deed.goal)
    if copy is None:
        return
    if not _is_true(deed, deed.goal, copy):
        raise _Left("has changed since")
    original = look(deed.source, follow=True)
    # The original may have become a link to the copy.
    is_link = os.path.realpath(deed.source) == os.path.realpath(deed.goal)
    if original is None or is_link or not _is_true(deed, deed.source, original):
        raise _Left("its original is gone or has changed; this copy is the only one")
    _clear(deed.goal)


def _way_back(deed: Deed, state: int) -> Deed | None:
    """How a moved file comes to lie where it was; None: it does."""
    back = deed.swapped(copying=state == _BACK_COPYING)
    if state in (_BACK, _BACK_COPYING) and _settle(back):
        return None
    moved, old = look(deed.goal), look(deed.source)
    if moved is None:
        if old is not None and _alike(deed, deed.source, old):
            return None
        raise _Left("is no longer where it was placed")
    if not _alike(deed, deed.goal, moved):
        raise _Left("has changed since")
    if old is not None:
        raise _Left("its old place is taken")
    _remake(deed.source.parent)
    across = moved.st_dev != deed.source.parent.stat().st_dev
    return replace(back, mtime_ns=moved.st_mtime_ns, inode=moved.st_ino, copying=across)


def _remake(folder: Path) -> None:
    """Make a folder again that was removed when it had become empty."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if there != folder and not any(there.iterdir()):
        # As the place of a disk looks that is not mounted.
        raise _Left(f"its old folder {folder} is gone; mount its disk or make it, and undo again")
    folder.mkdir(parents=True, exist_ok=True)


# --- what is there, and what went wrong -----------------------------------------------------------


def look(path: Path, *, follow: bool = False) -> os.stat_result | None:
    """What lies at a path, if anything; a link is looked at itself, or followed."""
    try:
        return path.stat(follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError):
        return None


def why(error: Exception) -> str:
    """What went wrong, without the paths that the system's errors repeat."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _why_left(outcome: str | Exception | None) -> Exception | None:
    if isinstance(outcome, FileExistsError):
        return _Left("its old place is taken")
    return outcome if isinstance(outcome, Exception) else None


def _unless_full(error: Exception, goal: Path) -> Exception:
    """A full disk ends the work; all else is the trouble of one file."""
    if isinstance(error, OSError) and error.errno in FULL:
        raise OutOfSpace(
            f"no space left for {goal}; nothing is lost, and what was on its way "
            "lies in both places: make room, then --resume or undo"
        ) from error
    return error
