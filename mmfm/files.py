"""Files that appear whole or not at all."""

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mmfm.errors import OutOfSpace

FULL = (errno.ENOSPC, errno.EDQUOT)  # what an OSError says when no space is left
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES, errno.ENOENT)


@contextlib.contextmanager
def whole(path: Path) -> Generator[BinaryIO]:
    """Open a file that takes its name only when everything in it has reached the disk.

    A reader, or a process that starts after a kill at any moment, finds the old file or the new
    one: the bytes go to a hidden neighbour, are flushed to the disk, and then take the name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".{secrets.token_hex(6)}.part"
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folders(path.parent)
    except OSError as error:
        if error.errno in FULL:
            raise OutOfSpace(
                f"no space left to write {path}; what was there before is intact"
            ) from error
        raise
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a whole file at once; see `whole`."""
    with whole(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


class Stamp(NamedTuple):
    """By what a changed file is known without reading it."""

    size: int
    changed: int  # nanoseconds since 1970

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> "Stamp | None":
        """The stamp of a file that is there."""
        try:
            found = os.stat(path)  # noqa: PTH116 - the path may be a str, a hundred thousand times
        except (OSError, ValueError):
            return None
        return cls(found.st_size, found.st_mtime_ns)


def digest(path: Path) -> str:
    """Tell files apart by what is in them."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folders(*folders: Path) -> None:
    """Bring the names in folders to the disk, so that they survive a power cut.

    Some systems cannot do that for a folder, and one may not be ours to read, or gone meanwhile.
    """
    for folder in set(folders) if os.name == "posix" else ():
        try:
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise
