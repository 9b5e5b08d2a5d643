"""Index folders of pictures: each is looked at once, and stays known however it is moved about.

    for step in index(clip, engine, ["~/photos"], store=Store()):
        print(step.done, "of", step.total)

A file of the same size and time as before is not opened. Another is read once, and what was read
is hashed: a picture that is known anywhere, by whatever name, lends its vector, and only a new one
costs the model's work. Each batch is committed before the next one begins, so a kill loses one at
most. A power cut may cost more: the disk is not waited for, and a store that is damaged says so.

A file is forgotten when it is gone, which a file on a disk that is not mounted is not. So nothing
is dropped below a folder that cannot be listed, that has lost all its pictures at once, or whose
disk was another when the file was indexed; `forget` drops a folder knowingly.
"""

# Paths are texts and bytes here: with Path objects, a hundred thousand files take seconds more.
# ruff: noqa: PTH112, PTH113, PTH116, PTH118, PTH120, PTH206

import functools
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from mmfm.data.folders import left_out, picture_files
from mmfm.data.loading import in_order, prepared
from mmfm.data.pictures import read_picture_file
from mmfm.engines import Engine
from mmfm.errors import BadInput, MmfmError, NotHere
from mmfm.files import Stamp
from mmfm.models.clip import TwoTowers
from mmfm.models.label_vectors import fingerprint
from mmfm.store import OpenShelf, Row, Say, Store, among, below

Choose = Callable[[int], Engine]  # by the number of pictures
MayRead = Callable[[str], bool]  # of where a file really lies, links followed

_PRECISE = "fp32"  # the engine whose rows are exact, if every pixel was decoded
_TICK_NS = 20_000_000  # file systems tell two changes apart if so much time lies between them
_AT_LEAST = 32  # pictures of a commit, however few the engine takes at once
_LEADS_OUT = "a link that leads to where nothing may be read"
_DISPLACED = 10_000  # vectors of overwritten files that are kept in memory: 20 MB
_ASKED = 100  # files, beyond the folders of this run, that tell whether a disk is another


@dataclass(frozen=True)
class Indexed:
    """How far it has come. The numbers are of all so far; what is named is named once."""

    done: int = 0
    total: int = 0
    new: int = 0  # the model looked at them
    recognised: int = 0  # known under another name, or touched and still the same
    unchanged: int = 0  # not even opened
    dropped: int = 0  # gone, and forgotten
    unreadable: int = 0
    failed: tuple[tuple[str, str], ...] = ()  # (path, reason): since the last time
    notes: tuple[str, ...] = ()  # what a person should know, since the last time


def index(
    clip: TwoTowers,
    engine: Engine | Choose,
    folders: Sequence[str | Path],
    *,
    store: Store,
    exact: bool = False,
    may_read: MayRead | None = None,
    stop: Callable[[], bool] = lambda: False,
    wait: bool = True,
    say: Say | None = None,
) -> Iterator[Indexed]:
    """Bring the store up to date with folders, or single files; a step a batch.

    `engine`: what runs the picture tower, or what chooses it once the pictures that have to be
    looked at are counted. `exact`: every pixel is decoded, and what was stored otherwise is looked
    at again. While another process writes to the store, it is waited for and `say` is told; or not,
    without `wait`. To stop while it waits is an interrupt.

    `may_read`: a file that it refuses is passed over and nothing is said of it, as if it were not
    there. It is asked once more, in a thread, when the file is opened: a link may have taken its
    place since.
    """
    if isinstance(engine, Engine):
        _check_exact(engine, exact)
    if not folders:
        raise BadInput("no folder to index; name one: mmfm index DIR")
    return _Indexing(clip, engine, _roots(folders), exact, may_read, stop).into(store, wait, say)


def _check_exact(engine: Engine, exact: bool) -> None:
    if exact and engine.name != _PRECISE:
        raise BadInput(f"exact vectors are made by the engine {_PRECISE}, not by {engine.name}")


def forget(
    folders: Sequence[str | Path], *, store: Store, wait: bool = True, say: Say | None = None
) -> int:
    """Drop what is stored of folders or files, there or not, for every model; how much it was.

    If nothing is stored of one of them, which may be mistyped, nothing is dropped of any.
    """
    paths = [os.fsencode(os.path.realpath(Path(folder).expanduser())) for folder in folders]
    if not store.models():
        raise NotHere(f"{store.folder}: holds no pictures, so there is nothing to forget")
    dropped = 0
    with store.writing(wait=wait, say=say) as writer:
        shelves = [writer.shelf(k.mark, dim=k.dim, model=k.model) for k in store.models()]
        for folder, path in zip(folders, paths, strict=True):
            if not any(shelf.read(["path"], below([path])).num_rows for shelf in shelves):
                raise NotHere(
                    f"{folder}: no picture of it is stored in {store.folder}, so nothing was "
                    "forgotten; name a folder that was indexed, or one inside it"
                )
        for shelf in shelves:
            dropped += sum(shelf.drop_below(path) for path in paths)
            shelf.tidy()
    return dropped


# --- one run --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Look:
    """What one reading of a file gave."""

    size: int = 0
    mtime_ns: int = 0
    content: bytes | None = None  # None: it could not be read
    image: Tensor | str | None = None  # or why there is none; None: its content is known


@dataclass(frozen=True)
class _Made:
    """A vector, and what made it."""

    vector: Float32[np.ndarray, " d"]
    engine: str
    exact: bool


class _Known:
    """What the store knew when the run began, in little memory."""

    def __init__(self, shelf: OpenShelf, exact: bool) -> None:
        columns = ("path", "size", "mtime_ns", "content", "exact")
        table = shelf.read(columns)
        paths = table.column("path").to_pylist()
        self.place: dict[bytes, int] = {path: number for number, path in enumerate(paths)}
        self._sizes, self._times = (table.column(name).to_numpy() for name in columns[1:3])
        self._serves = table.column("exact").to_numpy() if exact else np.ones(len(paths), bool)
        self.seen = np.zeros(len(paths), bool)
        contents = zip(table.column("content").to_pylist(), self._serves, strict=True)
        self._contents = {content[:8] for content, serves in contents if serves}

    def unchanged(self, path: bytes, size: int, mtime_ns: int) -> bool:
        """Whether the file is as it was."""
        place = self.place.get(path)
        if place is None or not self._serves[place]:
            return False
        return self._sizes[place] == size and self._times[place] == mtime_ns

    def see(self, path: bytes) -> None:
        """The file is there."""
        if (place := self.place.get(path)) is not None:
            self.seen[place] = True

    def still_there(self, path: bytes) -> bool:
        """Whether the disk has a known file as it was, by asking it."""
        place = self.place[path]
        stamp = Stamp.of(os.fsdecode(path))
        return stamp is not None and stamp == (self._sizes[place], self._times[place])

    def has(self, content: bytes) -> bool:
        """Whether this content has a vector somewhere, as far as its first bytes tell."""
        return content[:8] in self._contents

    def add(self, content: bytes) -> None:
        """It has one now."""
        self._contents.add(content[:8])

    def unseen(self, root: bytes) -> list[bytes]:
        """The files below a folder that were known and have not been seen."""
        inside = os.path.join(root, b"")
        places = self.place.items()
        return [p for p, place in places if not self.seen[place] and p.startswith(inside)]

    def below(self, root: bytes) -> int:
        """How many files were known below a folder."""
        inside = os.path.join(root, b"")
        return sum(path.startswith(inside) for path in self.place)


def _name(clip: TwoTowers) -> str:
    """The name by which the model is found again, from whatever folder."""
    return (
        os.fspath(Path(clip.name).absolute())
        if clip.origin == "local"
        else clip.name or clip.source
    )


class _Indexing:
    def __init__(
        self,
        clip: TwoTowers,
        engine: Engine | Choose,
        roots: Sequence[str],
        exact: bool,
        may_read: MayRead | None,
        stop: Callable[[], bool],
    ) -> None:
        self.clip, self.roots, self.exact, self.may_read = clip, roots, exact, may_read
        self._choice: Engine | Choose = engine
        self.engine: Engine
        self.stop, self.stopped = stop, False
        self.shelf: OpenShelf
        self.known: _Known
        self._counts: Counter[str] = Counter()
        self._failed: list[tuple[str, str]] = []
        self._notes: list[str] = []
        self._displaced: dict[bytes, _Made] = {}

    def into(self, store: Store, wait: bool, say: Say | None) -> Iterator[Indexed]:
        mark = fingerprint(self.clip)
        _mounted_at.cache_clear()
        with store.writing(wait=wait, say=say, stop=self.stop) as writer:
            self.shelf = writer.shelf(mark, dim=self.clip.dim, model=_name(self.clip))
            self.known = _Known(self.shelf, self.exact)
            listed, closed = self._listed()
            yield self._step()
            changed = self._changed(listed)
            self._choose(len(changed))
            batch = max(_AT_LEAST, self.engine.batch)
            for items, looks in in_order(self._look, self._unless_stopped(changed), batch=batch):
                self._take(items, looks)
                yield self._step()
            if not self.stopped:
                for root, files in listed.items():
                    self._drop_gone(root, bool(files), closed)
            self.shelf.tidy()
            yield self._step()

    def _step(self) -> Indexed:
        """How far it has come, and what is to be named since the last step."""
        ways = ("new", "recognised", "unchanged", "unreadable")
        done = sum(self._counts[way] for way in ways)
        failed, notes = tuple(self._failed), tuple(self._notes)
        self._failed, self._notes = [], []
        return Indexed(done, **self._counts, failed=failed, notes=notes)

    # --- which files ----------------------------------------------------------------------------

    def _listed(self) -> tuple[dict[str, list[str]], list[bytes]]:
        """The pictures of each root, and what could not be looked into."""
        listed: dict[str, list[str]] = {}
        closed: list[bytes] = []
        others: Counter[str] = Counter()
        named = {root for root in self.roots if os.path.isfile(root)}
        for root in self.roots:
            found = picture_files(Path(root))
            others += found.others
            files = self._allowed([str(file) for file in found.files])
            listed[root] = [file for file in files if file == root or file not in named]
            reasons = {str(path): reason for path, reason in found.unreadable}
            unreadable = self._allowed(list(reasons))
            closed += map(os.fsencode, unreadable)
            self._failed += [(path, reasons[path]) for path in unreadable]
        self._notes += left_out(others)
        self._counts["unreadable"] = len(closed)
        self._counts["total"] = sum(map(len, listed.values())) + len(closed)
        return listed, closed

    def _allowed(self, files: list[str]) -> list[str]:
        """Those that may be read."""
        if self.may_read is None:
            return files
        return [file for file in files if self.may_read(os.path.realpath(file))]

    def _choose(self, pictures: int) -> None:
        choice = self._choice
        self.engine = choice if isinstance(choice, Engine) else choice(pictures)
        _check_exact(self.engine, self.exact)

    def _unless_stopped(self, files: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        for file in files:
            if self.stop():
                self.stopped = True
                return
            yield file

    def _changed(self, listed: dict[str, list[str]]) -> list[tuple[str, str]]:
        """(root, file) of all that have to be read."""
        changed: list[tuple[str, str]] = []
        for root, files in listed.items():
            for file in files:
                if self.stop():
                    self.stopped = True
                    return changed
                path = os.fsencode(file)
                self.known.see(path)
                try:
                    found = os.stat(file)
                except OSError:
                    changed.append((root, file))  # reading it will say why
                    continue
                if self.known.unchanged(path, found.st_size, found.st_mtime_ns):
                    self._counts["unchanged"] += 1
                else:
                    changed.append((root, file))
        return changed

    # --- what is in them ------------------------------------------------------------------------

    def _look(self, item: tuple[str, str]) -> _Look:
        """Read a file, and decode it if its content is new. Runs in a thread."""
        return self._read(item[1], lambda content: not self.known.has(content))

    def _read(self, file: str, is_new: Callable[[bytes], bool]) -> _Look:
        # The stamp comes first: a change while the file is read makes it another file, which is
        # looked at the next time.
        real = file if self.may_read is None else os.path.realpath(file)
        if self.may_read is not None and not self.may_read(real):
            return _Look(image=_LEADS_OUT)
        size, mtime_ns = _stamp(real)
        try:
            data = read_picture_file(real)
        except MmfmError as error:
            reason = getattr(error, "reason", None) or str(error).removeprefix(f"{real}: ")
            return _Look(image=reason)
        if self.may_read is not None and os.path.realpath(real) != real:
            return _Look(image=_LEADS_OUT)  # a folder above it has become a link meanwhile
        content = hashlib.sha256(data).digest()
        image = None
        if is_new(content):
            image = prepared(data, self.clip.preprocessing, exact=self.exact)
        return _Look(size, mtime_ns, content, image)

    def _take(self, items: Sequence[tuple[str, str]], looks: Sequence[_Look]) -> None:
        """Give each file of a batch its vector, and write the batch down."""
        lent = self._lent({x.content for x in looks if x.content and x.image is None})
        looks = [
            self._read(file, lambda content: True)  # what was known is known no more
            if look.content and look.image is None and look.content not in lent
            else look
            for (_, file), look in zip(items, looks, strict=True)
        ]
        fresh = self._made({x.content: x.image for x in looks if x.content})
        rows: list[Row] = []
        spoilt: list[bytes] = []
        for (root, file), look in zip(items, looks, strict=True):
            path = os.fsencode(file)
            content = look.content
            made = None if content is None else (fresh.get(content) or lent.get(content))
            if content is None or made is None:
                self._failed.append((file, str(look.image)))
                self._counts["unreadable"] += 1
                if content is not None and path in self.known.place:
                    spoilt.append(path)  # what is stored is of the picture that this once was
                continue
            disk = _mounted_at(os.path.dirname(path))
            stamp = (look.size, look.mtime_ns, content)
            of = (made.engine, made.exact, made.vector)
            rows.append(Row(path, os.fsencode(root), disk, *stamp, *of))
            self._counts["new" if content in fresh else "recognised"] += 1
        known = [row.path for row in rows if row.path in self.known.place]
        self._keep_displaced(known)
        self.shelf.put(rows, new=not known)
        self.shelf.drop(spoilt)
        for row in rows:
            self.known.add(row.content)

    def _made(self, images: dict[bytes, Tensor | str | None]) -> dict[bytes, _Made]:
        """Let the model look at what is new, once at each content."""
        new = {content: image for content, image in images.items() if isinstance(image, Tensor)}
        if not new:
            return {}
        vectors = self.engine(torch.stack(list(new.values()))).numpy()
        name = self.engine.name
        return {
            content: _Made(vector, name, self.exact)
            for content, vector in zip(new, vectors, strict=True)
        }

    def _lent(self, contents: set[bytes]) -> dict[bytes, _Made]:
        """The vectors that other files with the same content have."""
        lent = {c: made for c in contents if (made := self._displaced.get(c)) is not None}
        if missing := contents - lent.keys():
            some = ", ".join(f"X'{content.hex()}'" for content in missing)
            lent |= self._stored(f"content in ({some})" + (" and exact" if self.exact else ""))
        return lent

    def _keep_displaced(self, paths: Sequence[bytes]) -> None:
        """Remember what is about to be overwritten: files that swap their names meet again."""
        if paths and len(self._displaced) < _DISPLACED:
            serving = " and exact" if self.exact else ""
            self._displaced |= self._stored(f"({among(paths)}){serving}")

    def _stored(self, where: str) -> dict[bytes, _Made]:
        table = self.shelf.read(("content", "engine", "exact", "vector"), where)
        columns = [table.column(name).to_pylist() for name in ("content", "engine", "exact")]
        vectors = (np.asarray(vector, np.float32) for vector in table.column("vector").to_pylist())
        made = [(c, _Made(v, e, x)) for c, e, x, v in zip(*columns, vectors, strict=True)]
        return dict(sorted(made, key=lambda one: one[1].exact))  # of two, the exact one stays

    # --- what is gone ---------------------------------------------------------------------------

    def _drop_gone(self, root: str, has_pictures: bool, closed: Sequence[bytes]) -> None:
        known, path = self.known, os.fsencode(root)
        if not (unseen := known.unseen(path)):
            return
        if not has_pictures:
            if path not in closed:
                self._notes.append(
                    f"{root}: no picture is there now, and {known.below(path):,} were; nothing was "
                    "dropped, for a disk may not be mounted; to drop them, mmfm index --forget DIR"
                )
            return
        behind = tuple(os.path.join(folder, b"") for folder in closed)
        gone = [file for file in unseen if not file.startswith(behind) and _is_gone(file)]
        disks: dict[bytes, bytes] = {}
        for start in range(0, len(gone), 1000):
            table = self.shelf.read(("path", "disk"), among(gone[start : start + 1000]))
            columns = (table.column(name).to_pylist() for name in ("path", "disk"))
            disks.update(zip(*columns, strict=True))
        away = {disk for disk in set(disks.values()) if not os.path.ismount(disk)}
        for disk in sorted(away):
            lost = sum(there == disk for there in disks.values())
            self._notes.append(
                f"{os.fsdecode(disk)}: the disk that was there is not mounted; what is known of "
                f"its {lost:,} pictures stays"
            )
        changed = {disk for disk in {*disks.values()} - away if self._is_another(disk)}
        for disk in sorted(changed):
            self._notes.append(
                f"{os.fsdecode(disk)}: none of the pictures that were on this disk is there, so it "
                "seems to be another one; what is known of them stays until mmfm index --forget DIR"
            )
        dropped = [file for file in gone if disks.get(file) not in away | changed]
        self.shelf.drop(dropped)
        self._counts["dropped"] += len(dropped)

    def _is_another(self, disk: bytes) -> bool:
        """Whether nothing is left of what was known on a disk: cards and sticks share a place."""
        if disk == b"/":  # which nobody takes out
            return False
        paths = self.shelf.read(("path",), f"disk = X'{disk.hex()}'").column("path").to_pylist()
        paths = [path for path in paths if path in self.known.place]
        if self.known.seen[[self.known.place[path] for path in paths]].any():
            return False
        # Its other folders were not looked into this time: a few files of them tell as much.
        roots = tuple(os.path.join(os.fsencode(root), b"") for root in self.roots)
        others = [path for path in paths if not path.startswith(roots)]
        few = others[:: max(1, len(others) // _ASKED)]
        return not any(self.known.still_there(path) for path in few)


# --- files ----------------------------------------------------------------------------------------


def _roots(folders: Sequence[str | Path]) -> list[str]:
    """Where to look, each place once: absolute, without links, none inside another."""
    real: list[str] = []
    for folder in folders:
        try:
            real.append(os.path.realpath(Path(folder).expanduser(), strict=True))
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            reason = "no such file or folder" if missing else error.strerror
            raise NotHere(
                f"{folder}: {reason}; what is stored of it stays until mmfm index --forget drops it"
            ) from error
    once = sorted(set(real))
    return [root for root in once if not any(_covers(other, root) for other in once)]


def _covers(outer: str, inner: str) -> bool:
    """Whether walking through one folder leads through the other; hidden ones are passed by."""
    inside = os.path.join(outer, "")
    if outer == inner or not inner.startswith(inside) or not os.path.isdir(inner):
        return False
    return not any(part.startswith(".") for part in inner.removeprefix(inside).split(os.sep))


def _stamp(file: str) -> tuple[int, int]:
    """Size and time of a file, read when its time has come to mean something.

    Two changes within one tick of the clock leave the same time behind. So a file that was changed
    this very moment is looked at a moment later.
    """
    try:
        found = os.stat(file)
        if 0 <= time.time_ns() - found.st_mtime_ns < _TICK_NS:
            time.sleep(_TICK_NS / 1e9)
            found = os.stat(file)
    except (OSError, ValueError):
        return -1, -1  # reading it will say why
    return found.st_size, found.st_mtime_ns


def _is_gone(path: bytes) -> bool:
    """Whether the file system says so; it may also have failed to look."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


@functools.lru_cache(4096)
def _mounted_at(folder: bytes) -> bytes:
    """Where the file system of a folder begins."""
    return folder if os.path.ismount(folder) else _mounted_at(os.path.dirname(folder))
