"""Files appear whole or not at all, whatever fails and whenever the process dies."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mmfm import files
from mmfm.errors import BadData, OutOfSpace
from mmfm.files import check_named, whole, write_named, write_whole

OLD, NEW = b"old" * 1000, b"new" * 1000


class Faults:
    """Let the n-th call to the system fail, whatever it does; see STEPS."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail_at: int, error: int) -> None:
        self.calls: list[str] = []
        self._fail_at, self._error = fail_at, error
        real_open = Path.open
        monkeypatch.setattr(files.os, "fsync", self._guard("fsync", os.fsync))
        monkeypatch.setattr(files.os, "open", self._guard("open folder", os.open))
        monkeypatch.setattr(Path, "replace", self._guard("rename", Path.replace))

        def open_guarded(path: Path, mode: str) -> Any:
            file = self._guard("open", real_open)(path, mode)
            return _File(file, self)

        monkeypatch.setattr(Path, "open", open_guarded)

    def _guard(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **options: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) - 1 == self._fail_at:
                raise OSError(self._error, os.strerror(self._error))
            return call(*arguments, **options)

        return guarded


class _File:
    """A file whose writes and flushes can fail."""

    def __init__(self, file: Any, faults: Faults) -> None:
        self._file = file
        self.write = faults._guard("write", file.write)
        self.flush = faults._guard("flush", file.flush)
        self.fileno = file.fileno

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def write_in_two_halves(path: Path) -> None:
    with whole(path) as file:
        file.write(NEW[:1500])
        file.write(NEW[1500:])


STEPS = ["open", "write", "write", "flush", "fsync", "rename", "open folder", "fsync"]


def test_a_whole_file_takes_these_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    faults = Faults(monkeypatch, fail_at=-1, error=errno.EIO)
    write_in_two_halves(tmp_path / "a")
    assert faults.calls == STEPS


@pytest.mark.parametrize("fail_at", range(len(STEPS)))
@pytest.mark.parametrize("there_before", [True, False])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_when_any_step_fails_the_old_or_the_new_file_is_there_and_nothing_else(
    fail_at: int, there_before: bool, error: int, tmp_path: Path
):
    path = tmp_path / "a"
    if there_before:
        path.write_bytes(OLD)
    with pytest.MonkeyPatch.context() as monkeypatch:
        faults = Faults(monkeypatch, fail_at, error)
        with pytest.raises(OSError if error == errno.EIO else OutOfSpace) as caught:
            write_in_two_halves(path)
    assert faults.calls == STEPS[: fail_at + 1], "it stops at the fault"
    renamed = fail_at > STEPS.index("rename")
    assert (path.read_bytes() if path.exists() else None) == (
        NEW if renamed else OLD if there_before else None
    )
    assert list(tmp_path.iterdir()) == ([path] if path.exists() else [])
    if error != errno.EIO:
        assert str(path) in str(caught.value)


def test_an_error_of_the_writer_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(OLD)
    with pytest.raises(ZeroDivisionError), whole(path) as file:
        file.write(NEW)
        _ = 1 / 0
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="limits on file size are POSIX")
def test_a_real_limit_of_the_system_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(OLD)
    code = (
        "import resource, sys; from pathlib import Path; from mmfm.files import write_whole\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "write_whole(Path(sys.argv[1]), b'new' * 100_000)\n"
    )
    child = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert "File too large" in child.stderr
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
def test_a_process_killed_while_it_writes_leaves_a_whole_file(tmp_path: Path):
    path = tmp_path / "a"
    code = (
        "import sys; from pathlib import Path; from mmfm.files import write_whole\n"
        "while True:\n"
        "    for letter in 'ab':\n"
        "        write_whole(Path(sys.argv[1]), letter * 1_000_000)\n"
    )
    for delay in (0.0, 0.013, 0.029):
        child = subprocess.Popen([sys.executable, "-c", code, path])
        while not path.exists():
            time.sleep(0.001)
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert path.read_text() in ("a" * 1_000_000, "b" * 1_000_000)
        path.unlink()


@pytest.mark.skipif(os.name != "posix", reason="the umask is POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(umask: int, mode: int, tmp_path: Path):
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


def test_missing_folders_are_made_and_text_is_utf_8(tmp_path: Path):
    path = tmp_path / "b" / "c" / "a.txt"
    write_whole(path, "강아지")
    assert path.read_bytes().decode("utf-8") == "강아지"


def test_a_writer_who_closes_the_file_early_is_told(tmp_path: Path):
    with pytest.raises(ValueError, match="closed"), whole(tmp_path / "a") as file:
        file.close()
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_a_person_names_goes_on_leading_where_it_leads(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/a")
    for data in ("new", "newer"):  # of which the first makes the file
        write_named(tmp_path / "link", data)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real" / "a").read_text() == data
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["a"]


@pytest.mark.skipif(os.name != "posix", reason="pipes with a name are POSIX")
def test_a_pipe_and_a_device_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Path, "replace", pytest.fail)  # a test must not lose this machine's device
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit((tmp_path / "pipe").read_bytes)
        check_named(tmp_path / "pipe")
        write_named(tmp_path / "pipe", NEW)
        assert read.result(timeout=10) == NEW
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "null").symlink_to("/dev/null")
    for path in (Path("/dev/null"), tmp_path / "null"):
        check_named(path)
        write_named(path, NEW)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_device_that_takes_no_more_is_told_as_a_full_disk(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Path, "replace", pytest.fail)  # as above
    with pytest.raises(OutOfSpace, match="no space left to write /dev/full"):
        write_named(Path("/dev/full"), NEW)


@pytest.mark.skipif(os.name != "posix", reason="files that are open have names there")
def test_what_is_open_already_is_written_on_from_where_it_is(tmp_path: Path):
    with (tmp_path / "log").open("wb", buffering=0) as log:
        log.write(OLD)
        check_named(Path(f"/dev/fd/{log.fileno()}"))
        write_named(Path(f"/dev/fd/{log.fileno()}"), NEW)
    assert (tmp_path / "log").read_bytes() == OLD + NEW
    with pytest.raises(BadData, match="/dev/fd/987654: cannot be written"):
        check_named(Path("/dev/fd/987654"))


def test_a_file_that_cannot_be_written_is_named_as_the_person_named_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "answers.csv"
    check_named(path)
    assert list(tmp_path.iterdir()) == []

    def refuse(part: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", f"{part}")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(BadData, match=r"answers\.csv: cannot be written \(Permission denied"):
        check_named(path)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError) as caught:
        write_whole(path, NEW)
    assert caught.value.filename == f"{path}"
