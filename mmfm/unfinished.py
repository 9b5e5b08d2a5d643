"""What a long look at many pictures has seen so far, kept until it is finished.

A run over a hundred thousand photos that is interrupted, by Ctrl-C or by a power cut, goes on from
the last batch that was written. One SQLite file a run; each batch is one transaction. Beside it
lies a lock: of two runs at once that would share the file, the first one has it.
"""

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from jaxtyping import Float32

from mmfm.errors import BadData, InUse
from mmfm.files import Stamp

_KEPT_DAYS = 30  # of a run that nobody has gone on with
_AT_ONCE = 500  # places in one question; SQLite takes no more than 999 in old versions


class Unfinished:
    """The rows of a run, by path; a file that has changed since is not known.

    `of` names the run: by the model, by how it is run, by what it looks at.
    """

    def __init__(self, folder: Path, of: Iterable[str]) -> None:
        name = hashlib.sha256("\0".join(of).encode("utf-8", "surrogateescape")).hexdigest()
        self.file = folder / f"{name[:32]}.sqlite"
        self._lock = FileLock(self._beside(".lock"), thread_local=False)
        self._open: sqlite3.Connection | None = None

    def hold(self) -> bool:
        """Be the one who writes, until it is closed or finished; False: another run is."""
        if self._lock.is_locked:
            return True
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self._beside(".lock").touch()  # so that it is not taken for an old one
        except Timeout:
            return False
        except OSError as error:
            raise self._cannot_keep(error) from error
        return True

    def count(self, paths: Iterable[str]) -> int:
        """How many of these files an earlier run has seen, as they are."""
        if not self.file.exists():
            return 0
        asked = {os.fsencode(path) for path in paths}
        with self._asking() as rows:
            seen = rows.execute("SELECT path, size, changed FROM looked")
            known = ((path, Stamp(*stamp)) for path, *stamp in seen if path in asked)
            return sum(Stamp.of(os.fsdecode(path)) == stamp for path, stamp in known)

    @property
    def engine(self) -> str | None:
        """With what an earlier run has looked; None if it has seen nothing."""
        if not self.file.exists():
            return None
        with self._asking() as rows:
            found = rows.execute("SELECT engine FROM looked LIMIT 1").fetchone()
        return None if found is None else found[0]

    def rows(self, paths: Sequence[str]) -> list[Float32[np.ndarray, " d"] | None]:
        """What an earlier run made of these files; None for each that it did not see as it is."""
        found: dict[bytes, tuple[int, int, bytes]] = {}
        names = [os.fsencode(path) for path in paths]
        with self._asking() as rows:
            for start in range(0, len(names), _AT_ONCE):
                some = names[start : start + _AT_ONCE]
                asked = ",".join("?" * len(some))
                query = f"SELECT path, size, changed, vector FROM looked WHERE path IN ({asked})"
                found |= {row[0]: row[1:] for row in rows.execute(query, some)}
        return [self._row(found.get(name), path) for name, path in zip(names, paths, strict=True)]

    @staticmethod
    def _row(found: tuple[int, int, bytes] | None, path: str) -> Float32[np.ndarray, " d"] | None:
        if found is None or Stamp.of(path) != Stamp(*found[:2]):
            return None
        return np.frombuffer(found[2], np.float32)

    def keep(
        self, seen: Iterable[tuple[str, Stamp, Float32[np.ndarray, " d"]]], engine: str
    ) -> None:
        """Write a batch down: all of it, or nothing if the machine stops meanwhile."""
        new = [
            (os.fsencode(path), stamp.size, stamp.changed, engine, row.tobytes())
            for path, stamp, row in seen
        ]
        with self._writing() as rows:
            rows.executemany("INSERT OR REPLACE INTO looked VALUES (?, ?, ?, ?, ?)", new)

    def cut(self, labels: str) -> float | None:
        """Where the evidence for any of these labels began in the whole folder, if it was kept."""
        with self._asking() as rows:
            found = rows.execute("SELECT cut FROM cuts WHERE labels = ?", [labels]).fetchone()
        return None if found is None else found[0]

    def keep_cut(self, labels: str, cut: float) -> None:
        """Write that down: what is left of the folder would tell another."""
        with self._writing() as rows:
            rows.execute("INSERT OR REPLACE INTO cuts VALUES (?, ?)", [labels, cut])

    def finish(self) -> None:
        """The run has come to its end; nothing needs to be kept."""
        self._disconnect()
        if self._lock.is_locked:  # else it is another's, or nothing was kept
            for end in ("", "-wal", "-shm"):
                self._beside(end).unlink(missing_ok=True)
            with contextlib.suppress(PermissionError):  # Windows keeps it for as long as it is held
                self._beside(".lock").unlink(missing_ok=True)
        self._lock.release()

    def close(self) -> None:
        """Let go of the file; what was kept stays."""
        self._disconnect()
        self._lock.release()

    def _disconnect(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _beside(self, end: str) -> Path:
        return self.file.with_name(self.file.name + end)

    @contextlib.contextmanager
    def _writing(self) -> Generator[sqlite3.Connection]:
        """All that is written, or nothing; by one run at a time."""
        if not self.hold():
            raise InUse(f"{self.file}: another run writes there; wait until it is done")
        with self._asking() as rows, rows:
            yield rows

    @contextlib.contextmanager
    def _asking(self) -> Generator[sqlite3.Connection]:
        try:
            if self._open is None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                _forget_the_old(self.file.parent)
                self._open = sqlite3.connect(self.file, timeout=60)
                self._open.execute("PRAGMA journal_mode=WAL")
                self._open.execute(
                    "CREATE TABLE IF NOT EXISTS looked (path BLOB PRIMARY KEY, size INTEGER, "
                    "changed INTEGER, engine TEXT, vector BLOB)"
                )
                self._open.execute(
                    "CREATE TABLE IF NOT EXISTS cuts (labels TEXT PRIMARY KEY, cut REAL)"
                )
            yield self._open
        except (sqlite3.Error, OSError) as error:
            raise self._cannot_keep(error) from error

    def _cannot_keep(self, error: Exception) -> BadData:
        return BadData(
            f"{self.file}: what the unfinished run has seen cannot be kept there ({error}); "
            "delete the file, or set MMFM_CACHE to a folder on another disk"
        )


def _forget_the_old(folder: Path) -> None:
    """Delete what runs left behind with which nobody went on for a month."""
    for file in folder.glob("*.sqlite*"):
        with contextlib.suppress(FileNotFoundError):  # another process was quicker
            if time.time() - file.stat().st_mtime > _KEPT_DAYS * 86_400:
                file.unlink()
