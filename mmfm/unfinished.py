"""What a long look at many pictures has seen so far, kept until it is finished.

A run over a hundred thousand photos that is interrupted, by Ctrl-C or by a power cut, goes on from
the last batch that was written. One SQLite file a run; each batch is one transaction.
"""

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from mmfm.errors import BadData
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
        self._open: sqlite3.Connection | None = None

    def __len__(self) -> int:
        """How many pictures an earlier run has seen."""
        if not self.file.exists():
            return 0
        with self._asking() as rows:
            return rows.execute("SELECT count(*) FROM looked").fetchone()[0]

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
        with self._asking() as rows, rows:
            rows.executemany("INSERT OR REPLACE INTO looked VALUES (?, ?, ?, ?, ?)", new)

    def finish(self) -> None:
        """The run has come to its end; nothing needs to be kept."""
        self.close()
        for end in ("", "-wal", "-shm"):
            self.file.with_name(self.file.name + end).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        if self._open is not None:
            self._open.close()
            self._open = None

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
            yield self._open
        except sqlite3.Error as error:
            raise BadData(
                f"{self.file}: what the unfinished run has seen cannot be kept there ({error}); "
                "delete the file, or set MMFM_CACHE to a folder on another disk"
            ) from error


def _forget_the_old(folder: Path) -> None:
    """Delete what runs left behind with which nobody went on for a month."""
    for file in folder.glob("*.sqlite*"):
        with contextlib.suppress(FileNotFoundError):  # another process was quicker
            if time.time() - file.stat().st_mtime > _KEPT_DAYS * 86_400:
                file.unlink()
