"""Files that appear whole or not at all; what is no file takes its bytes as they come."""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mmfm.errors import BadData, OutOfSpace

FULL = (errno.ENOSPC, errno.EDQUOT)  # what an OSError says when no space is left
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES, errno.ENOENT)


@contextlib.contextmanager
def whole(path: Path) -> Generator[BinaryIO]:
    """Open a file that takes its name only when everything in it has reached the disk.

    A reader, or a process that starts after a kill at any moment, finds the old file or the new
    one: the bytes go to a hidden neighbour, are flushed to the disk, and then take the name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part_of(path)
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
        if error.filename == f"{part}":  # of which nobody has heard
            raise OSError(error.errno, error.strerror, f"{path}") from error
        raise
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a whole file at once; see `whole`."""
    with whole(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def named(path: Path) -> Generator[BinaryIO]:
    """Open the file that a person names for what is written; see `whole`.

    A link goes on leading where it leads. What `is_stream` takes the bytes as they come.
    """
    if not is_stream(path):
        with whole(_meant(path)) as file:
            yield file
        return
    number = _opened_as(path)
    try:
        with open(path if number is None else os.dup(number), "wb") as file:  # noqa: PTH123
            yield file
    except OSError as error:
        if error.errno in FULL:
            raise OutOfSpace(f"no space left to write {path}") from error
        if error.filename is None:  # of what is open already
            raise OSError(error.errno, error.strerror, f"{path}") from error
        raise


def write_named(path: Path, data: bytes | str) -> None:
    """Write a file that a person names at once; see `named`."""
    with named(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def is_stream(path: Path) -> bool:
    """Whether a path is no file to be replaced: a pipe, a terminal, /dev/null, /dev/stdout."""
    if _opened_as(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def check_named(path: Path) -> None:
    """Refuse what `named` could not write, before there is anything to be written."""
    try:
        if (number := _opened_as(path)) is not None:
            os.fstat(number)
        elif is_stream(path):
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        else:
            part = _part_of(_meant(path))
            part.touch(exist_ok=False)
            part.unlink()
    except OSError as error:
        raise BadData(f"{path}: cannot be written ({error.strerror})") from error


_OPENED = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,9})|/dev/std(out|err)", re.ASCII)


def _opened_as(path: Path) -> int | None:
    """The number under which a file is open already, if the path says that.

    Opened by its name once more, it would begin anew: `>> log` would lose what is in it.
    """
    if os.name != "posix" or (match := _OPENED.fullmatch(f"{path}")) is None:
        return None
    number, standard = match.groups()
    return int(number) if number else {"out": 1, "err": 2}[standard]


def _meant(path: Path) -> Path:
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _part_of(path: Path) -> Path:
    return path.parent / f".{secrets.token_hex(6)}.part"


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
