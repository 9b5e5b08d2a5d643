"""The vectors of pictures on disk: a picture is looked at once, and asked about as often as wished.

    store = Store()                                    # in the user's data folder
    with store.writing() as writer:                    # one process at a time
        shelf = writer.shelf(mark, dim=512, model="clip-shapes")
        shelf.put(rows, new=True)                      # one batch, all of it or nothing
    store.shelf(mark).read(["path", "vector"])         # any number of readers, at any time

    STORE/mmfm-store.json    says what this folder is
    STORE/<mark>.json        whose vectors these are, for a person
    STORE/<mark>.lance       a LanceDB table, one row a file

The mark is the model's fingerprint, which includes how pictures are prepared for it; so each model
has a shelf of its own, and none can be taken for another's. Every batch is a new version of the
table, and a kill at any moment leaves the last whole one. Old versions are cleared away on the way;
a reader whose version is gone takes the next one.

LanceDB lets two writers that merge the same rows at once double every one of them, without a word
(measured with 0.40). Hence the lock; only who holds it is given a shelf that can be written.
"""

# Paths are texts and bytes here: with Path objects, a hundred thousand files take seconds more.
# ruff: noqa: PTH118, PTH208

import contextlib
import datetime
import errno
import json
import os
import time
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from filelock import FileLock, Timeout
from jaxtyping import Float32

from mmfm.errors import BadData, BadInput, InUse, MmfmError, NotHere, OutOfSpace
from mmfm.files import FULL, Stamp, write_whole
from mmfm.machine import share_one_heap
from mmfm.models.clip import TwoTowers
from mmfm.models.label_vectors import fingerprint

if TYPE_CHECKING:
    import pyarrow as pa

Say = Callable[[str], None]
R = TypeVar("R")

_ABOUT = "mmfm-store.json"
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_TRIES = 20  # to find a version that stays for as long as it is read
_COMMITS = 64  # between two clearings, while the table is small
_GROWN = 65_536  # rows: with each so many more, the clearings come as much more rarely
_NAMED = 500  # paths in one condition
_FEW = 5_000  # files asked for: beyond, everything between them is read
_ASKS_EVERY = 0.2  # seconds, while it waits, whether it should go on waiting


@dataclass(frozen=True)
class Row:
    """One file, as it was when it was looked at."""

    path: bytes  # absolute, as the file system spells it (os.fsencode)
    root: bytes  # the folder under which it was indexed
    disk: bytes  # where its file system was mounted
    size: int
    mtime_ns: int
    content: bytes  # SHA-256
    engine: str
    exact: bool  # from every pixel, in full precision
    vector: Float32[np.ndarray, " d"]  # of length 1


@dataclass(frozen=True)
class Kept:
    """A model whose vectors are in the store."""

    mark: str
    model: str  # the name by which it is loaded
    dim: int
    since: str  # the day of its first picture
    pictures: int


def default_store() -> Path:
    """Where vectors are kept: in MMFM_STORE, else in the user's data folder."""
    if folder := os.environ.get("MMFM_STORE"):
        return Path(folder).expanduser()
    import platformdirs

    return platformdirs.user_data_path("mmfm") / "store"


class Store:
    """A folder with the vectors of pictures, a shelf for each model."""

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = (default_store() if folder is None else Path(folder).expanduser()).absolute()

    def models(self) -> list[Kept]:
        """Whose vectors there are; none where there is no store yet."""
        if not self._is_there():
            return []
        records = sorted(self.folder.glob("*.json"))
        marks = [record.stem for record in records if record.name != _ABOUT]
        return [self._kept(mark) for mark in marks]

    def holds(self, mark: str) -> bool:
        """Whether there is a shelf for this model."""
        return self._is_there() and (self.folder / f"{mark}.json").exists()

    def shelf(self, mark: str) -> "Shelf":
        """The vectors of one model, to read."""
        if not self.holds(mark):
            raise NotHere(f"{self.folder}: holds nothing of this model; mmfm index DIR puts it in")
        return Shelf(self.folder, mark)

    @contextlib.contextmanager
    def writing(
        self,
        *,
        wait: bool = True,
        say: Say | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Generator["Writer"]:
        """Be the one who writes; made anew if need be.

        While another process writes, `say` is told which, and it is waited for until `stop`;
        without `wait` that is an error. The lock of a process that was killed is free at once.
        """
        there = self._is_there()
        share_one_heap()  # else the library's threads hold on to ever more memory
        with _plainly(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            # Who holds it may be a generator, which is closed by another thread than began it.
            lock = FileLock(self.folder / ".lock", thread_local=False)
            try:
                lock.acquire(timeout=0)
            except Timeout as busy:
                line = f"{self.folder}: {self._who()} is writing there"
                if not wait:
                    raise InUse(f"{line}; wait for it to end, or name another --store") from busy
                if say is not None:
                    say(f"{line}; waiting for it to end")
                _wait_for(lock, stop)
        try:
            with _plainly(self.folder):
                (self.folder / ".writer").write_text(f"{os.getpid()}\n")
                for part in self.folder.glob(".*.part"):  # what a kill left of a record
                    part.unlink()
                if not there:
                    about = {"mmfm": 1, "kind": "store of picture vectors"}
                    write_whole(self.folder / _ABOUT, json.dumps(about) + "\n")
            yield Writer(self)
        finally:
            lock.release()

    def _who(self) -> str:
        try:
            return f"process {int((self.folder / '.writer').read_text())}"
        except (OSError, ValueError):  # it has only just begun
            return "another process"

    def _is_there(self) -> bool:
        """Whether this is a store already; refuse what is something else."""
        with _plainly(self.folder):
            if not self.folder.exists():
                return False
            if not self.folder.is_dir():
                raise BadInput(f"{self.folder}: is a file; a store is a folder")
            names = os.listdir(self.folder)
            about = self.folder / _ABOUT
            if _ABOUT in names:
                if _json(about).get("mmfm") != 1:
                    raise BadData(f"{about}: was written by another version of mmfm, or damaged")
                return True
        if any(not name.startswith(".") for name in names):
            raise BadInput(
                f"{self.folder}: holds other things and no store; name a folder that is new, "
                "empty or a store"
            )
        return False

    def _kept(self, mark: str) -> Kept:
        record = self.folder / f"{mark}.json"
        said = _json(record)
        try:
            model, dim, since = str(said["model"]), int(said["dim"]), str(said["since"])
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(self.folder, f"{record.name} does not describe a model") from error
        return Kept(mark, model, dim, since, len(Shelf(self.folder, mark)))


class Shelf:
    """One model's vectors, as they are now."""

    def __init__(self, folder: Path, mark: str) -> None:
        self.folder, self.mark = folder, mark

    def __len__(self) -> int:
        return self._from_one_version(lambda table: table.count_rows())

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        return self._from_one_version(lambda table: table.schema.field("vector").type.list_size)

    def count(self, where: str) -> int:
        """For how many rows a condition holds."""
        return self._from_one_version(lambda table: table.count_rows(where))

    def read(self, columns: Sequence[str], where: str | None = None) -> "pa.Table":
        """These columns of all rows, or of those for which a condition holds."""
        return self._from_one_version(lambda table: _query(table, columns, where).to_arrow())

    def scan(
        self,
        columns: Sequence[str],
        look: Callable[[Iterator["pa.RecordBatch"]], R],
        where: str | None = None,
    ) -> R:
        """Let `look` go through the rows in small batches, so that they need not fit into memory.

        It begins anew if what it reads is cleared away meanwhile, so it keeps nothing outside.
        """
        return self._from_one_version(lambda t: look(iter(_query(t, columns, where).to_batches())))

    def _from_one_version(self, work: Callable[[Any], R]) -> R:
        for turn in range(_TRIES):
            table = None
            try:
                table = self._open()
                return work(table)
            except MmfmError:
                raise
            except (RuntimeError, OSError, ValueError) as error:
                lasting = turn >= _TRIES // 2 if table is None else self._newest() == table.version
                if lasting:
                    raise _told(self.folder, error) from error
                time.sleep(0.02 * turn)
        raise InUse(f"{self.folder}: changes faster than it can be read; try again")

    def _newest(self) -> int | None:
        try:
            return self._open().version
        except (RuntimeError, OSError, ValueError):
            return None

    def _open(self) -> Any:
        return _database(self.folder).open_table(self.mark)


class Writer:
    """What only the holder of the lock can do."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def shelf(self, mark: str, *, dim: int, model: str) -> "OpenShelf":
        """The vectors of one model, to read and to write; made anew if need be."""
        folder = self._store.folder
        record = folder / f"{mark}.json"
        with _plainly(folder):
            if not record.exists():
                # The record comes last: where it is, the table is.
                _database(folder).create_table(mark, schema=_schema(dim), exist_ok=True)
                today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
                said = {"mmfm": 1, "kind": "vectors of pictures", "mark": mark, "model": model}
                said |= {"dim": dim, "since": today}
                write_whole(record, json.dumps(said, ensure_ascii=False, indent=2) + "\n")
        shelf = OpenShelf(folder, mark)
        if shelf.dim != dim:
            raise _damaged(folder, f"vectors of {shelf.dim} numbers where the model makes {dim}")
        return shelf


class OpenShelf(Shelf):
    """A shelf that can be written."""

    def __init__(self, folder: Path, mark: str) -> None:
        super().__init__(folder, mark)
        self._rows = len(self)
        # What writers left that were killed is counted too.
        self._commits = self._from_one_version(lambda table: len(table.list_versions()))

    def put(self, rows: Sequence[Row], *, new: bool) -> None:
        """Write a batch down, all of it or nothing; a file that was there is replaced.

        `new` says that none of the files is there, which is quicker than looking for them.
        """
        if not rows:
            return
        if len({row.path for row in rows}) < len(rows):
            raise BadInput("a file can be put into a batch only once")
        with self._changing() as table:
            batch = _as_table(rows, table.schema)
            if new:
                table.add(batch)
            else:
                merge = table.merge_insert("path").when_matched_update_all()
                merge.when_not_matched_insert_all().execute(batch)
        self._rows += len(rows)

    def drop(self, paths: Iterable[bytes]) -> None:
        """Let go of files."""
        listed = list(paths)
        for start in range(0, len(listed), _NAMED):
            with self._changing() as table:
                table.delete(among(listed[start : start + _NAMED]))

    def drop_below(self, root: bytes) -> int:
        """Let go of a folder with all that is in it; how many files that were."""
        with self._changing() as table:
            return int(table.delete(below([root])).num_deleted_rows)

    def tidy(self) -> None:
        """Join the small pieces that batches leave, and clear old versions away."""
        # To the library no time at all would be worth a warning about readers; ours try again.
        at_once = datetime.timedelta(milliseconds=1)
        with _plainly(self.folder):
            # What a killed writer left half written belongs to nobody: the lock is ours.
            self._open().optimize(cleanup_older_than=at_once, delete_unverified=True)
        self._commits = 0

    @contextlib.contextmanager
    def _changing(self) -> Generator[Any]:
        with _plainly(self.folder):
            yield self._open()
        self._commits += 1
        if self._commits >= _COMMITS * (1 + self._rows // _GROWN):
            self.tidy()


# --- what is known of files -----------------------------------------------------------------------


class StoredVectors:
    """The vectors of files, for as long as these are what they were when they were indexed."""

    def __init__(self, batches: Iterable["pa.RecordBatch"], dim: int) -> None:
        self._place: dict[bytes, int] = {}
        self._stamps: list[tuple[int, int]] = []
        self._vectors: list[Float32[np.ndarray, "n d"]] = []
        self._starts: list[int] = []  # the first row of each
        for batch in batches:
            self._starts.append(len(self._stamps))
            columns = [batch.column(name).to_pylist() for name in ("size", "mtime_ns")]
            paths = batch.column("path").to_pylist()
            self._place.update(zip(paths, range(len(self._stamps), 1 << 62), strict=False))
            self._stamps.extend(zip(*columns, strict=True))
            self._vectors.append(matrix(batch, dim))

    def __len__(self) -> int:
        return len(self._stamps)

    def get(self, path: str | os.PathLike[str]) -> Float32[np.ndarray, " d"] | None:
        """The unit row of a file, or None if it is not there or has changed."""
        return self.rows([path], [Stamp.of(path)])[0]

    def rows(
        self,
        paths: Sequence[str | os.PathLike[str]],
        stamps: Sequence[tuple[int, int] | None],
    ) -> list[Float32[np.ndarray, " d"] | None]:
        """The same of many files, of which size and time are known."""
        places = map(self._place.get, _keys(paths))
        return [
            None if place is None or self._stamps[place] != stamp else self._row(place)
            for place, stamp in zip(places, stamps, strict=True)
        ]

    def _row(self, place: int) -> Float32[np.ndarray, " d"]:
        block = bisect_right(self._starts, place) - 1
        return self._vectors[block][place - self._starts[block]]


def stored_rows(
    store: Store, clip: TwoTowers, paths: Sequence[str | os.PathLike[str]], *, exact: bool = False
) -> list[Float32[np.ndarray, " d"] | None]:
    """The unit row of each file, or None for one that is not known or has changed."""
    if not paths or not store.holds(fingerprint(clip)):
        return [None] * len(paths)
    with ThreadPoolExecutor(1) as aside:
        # While the store is read, the disk is asked about the files.
        stamps = aside.submit(lambda: [Stamp.of(path) for path in paths])
        return stored_vectors(store, clip, paths, exact=exact).rows(paths, stamps.result())


def stored_vectors(
    store: Store, clip: TwoTowers, paths: Sequence[str | os.PathLike[str]], *, exact: bool = False
) -> StoredVectors:
    """What is known of these files under this model; nothing where nothing is indexed.

    With `exact` only what was made from every pixel in full precision. All is read at once and held
    in memory: 2 KB a picture for a model of 512 numbers.
    """
    mark = fingerprint(clip)
    if not paths or not store.holds(mark):
        return StoredVectors([], clip.dim)
    keys = _keys(paths)
    common = os.path.commonpath({key.rpartition(os.fsencode(os.sep))[0] or b"/" for key in keys})
    where = among(keys) if len(keys) <= _FEW else below([common])
    if exact:
        where = f"({where}) and exact"
    columns = ("path", "size", "mtime_ns", "vector")
    shelf = store.shelf(mark)
    return shelf.scan(columns, lambda batches: StoredVectors(batches, clip.dim), where)


def _keys(paths: Sequence[str | os.PathLike[str]]) -> list[bytes]:
    """How the store spells these files: their folders without links, each looked up once."""
    real: dict[str, str] = {}
    keys: list[bytes] = []
    for path in paths:
        # os.path.split says the same, but of a hundred thousand files it takes a third of a second.
        folder, parted, name = os.fspath(path).rpartition(os.sep)
        if folder not in real:
            real[folder] = os.path.join(os.path.realpath(folder + parted), "")
        keys.append(os.fsencode(real[folder] + name))
    return keys


# --- conditions and columns -----------------------------------------------------------------------


def among(paths: Iterable[bytes]) -> str:
    """The condition that a file is one of these."""
    return f"path in ({', '.join(_literal(path) for path in paths)})"


def below(folders: Iterable[bytes]) -> str:
    """The condition that a file is one of these, or lies in one of these folders."""
    parts: list[str] = []
    for folder in folders:
        prefix = os.path.join(folder, b"")
        after = prefix[:-1] + bytes([prefix[-1] + 1])  # the first that is not below it
        inside = f"(path >= {_literal(prefix)} and path < {_literal(after)})"
        parts.append(f"{inside} or path = {_literal(folder)}")
    return " or ".join(parts)


def matrix(batch: "pa.RecordBatch", dim: int) -> Float32[np.ndarray, "n d"]:
    """The vectors of a batch, without copying them."""
    column: Any = batch.column("vector")
    return column.flatten().to_numpy(zero_copy_only=True).reshape(-1, dim)


def _literal(path: bytes) -> str:
    return f"X'{path.hex()}'"


def _query(table: Any, columns: Sequence[str], where: str | None) -> Any:
    query = table.search().select(list(columns))
    return query if where is None else query.where(where)


def _schema(dim: int) -> "pa.Schema":
    import pyarrow as pa

    return pa.schema(
        [
            ("path", pa.binary()),
            ("root", pa.binary()),
            ("disk", pa.binary()),
            ("size", pa.int64()),
            ("mtime_ns", pa.int64()),
            ("content", pa.binary()),
            ("engine", pa.string()),
            ("exact", pa.bool_()),
            ("vector", pa.list_(pa.float32(), dim)),
        ]
    )


def _as_table(rows: Sequence[Row], schema: "pa.Schema") -> "pa.Table":
    import pyarrow as pa

    dim = schema.field("vector").type.list_size
    vectors = np.stack([row.vector for row in rows]).astype(np.float32, copy=False)
    if vectors.shape != (len(rows), dim):
        raise BadInput(f"vectors of {vectors.shape[1]} numbers on a shelf of {dim}")
    columns: list[Any] = [
        pa.array([getattr(row, field.name) for row in rows], field.type)
        for field in schema
        if field.name != "vector"
    ]
    columns.append(pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim))
    return pa.table(columns, schema=schema)


# --- the folder -----------------------------------------------------------------------------------


def _database(folder: Path) -> Any:
    import lancedb

    return lancedb.connect(folder)


def _wait_for(lock: FileLock, stop: Callable[[], bool]) -> None:
    """Take a lock as soon as it is free; a stop is an interrupt, for nothing is begun yet."""
    while True:
        try:
            lock.acquire(timeout=_ASKS_EVERY)
            return
        except Timeout:
            if stop():
                raise KeyboardInterrupt from None


def _json(path: Path) -> dict[str, Any]:
    try:
        said: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(path.parent, f"{path.name} is not whole JSON") from error
    return said if isinstance(said, dict) else {}


def _damaged(folder: Path, reason: str) -> BadData:
    first = reason.partition("\n")[0].split(", /", maxsplit=1)[0]
    return BadData(
        f"{folder}: the store is damaged ({first:.200}); remove the folder and run mmfm index DIR "
        "again, or name another --store"
    )


def _told(folder: Path, error: Exception) -> MmfmError:
    """Say in a line what keeps a store from being read or written."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None:  # from the library every error of the system comes as text
        known = (n for n in FULL + _FORBIDDEN if f"(os error {n})" in str(error))
        number = next(known, None)
    if number in FULL:
        return OutOfSpace(f"{folder}: no space left on the disk; what was stored before is intact")
    if number is not None:
        return BadInput(f"{folder}: cannot be used as a store ({os.strerror(number)})")
    return _damaged(folder, str(error))


@contextlib.contextmanager
def _plainly(folder: Path) -> Generator[None]:
    """Give the errors of the system and of the library as ours."""
    try:
        yield
    except MmfmError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise _told(folder, error) from error
