"""Vectors on disk: whole after any mishap, small after many batches, one writer at a time."""

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import mmfm
import mmfm.store
from mmfm.errors import BadData, BadInput, InUse, NotHere, OutOfSpace
from mmfm.models.clip import TwoTowers
from mmfm.models.label_vectors import fingerprint
from mmfm.store import Kept, OpenShelf, Row, Store, below, default_store, stored_vectors

MARK, DIM = "0" * 31 + "1", 16


def rows(start: int, stop: int, *, dim: int = DIM, root: bytes = b"/p", seed: int = 0) -> list[Row]:
    numbers = np.random.default_rng(seed)
    vectors = numbers.standard_normal((stop - start, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        Row(
            path=root + b"/%06d.jpg" % number,
            root=root,
            disk=b"/",
            size=number,
            mtime_ns=number * 1000,
            content=number.to_bytes(32, "big"),
            engine="fp32",
            exact=number % 2 == 0,
            vector=vectors[number - start],
        )
        for number in range(start, stop)
    ]


def filled(folder: Path, *batches: Sequence[Row]) -> Store:
    store = Store(folder)
    with store.writing() as writer:
        shelf = writer.shelf(MARK, dim=DIM, model="nobody (random)")
        for batch in batches:
            shelf.put(batch, new=True)
    return store


def paths_in(store: Store, where: str | None = None) -> list[bytes]:
    return sorted(store.shelf(MARK).read(["path"], where).column("path").to_pylist())


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


# --- what is put in comes out ---------------------------------------------------------------------


def test_what_is_put_in_comes_out_to_the_last_bit(tmp_path: Path):
    some = rows(0, 50)
    store = filled(tmp_path / "s", some[:20], some[20:])
    table = store.shelf(MARK).read(["path", "size", "mtime_ns", "content", "exact", "vector"])
    found = {row["path"]: row for row in table.to_pylist()}
    assert len(found) == len(table) == 50
    for row in some:
        kept = found[row.path]
        assert (kept["size"], kept["mtime_ns"]) == (row.size, row.mtime_ns)
        assert (kept["content"], kept["exact"]) == (row.content, row.exact)
        assert np.array_equal(np.asarray(kept["vector"], np.float32), row.vector)


def test_a_file_that_is_put_again_is_replaced(tmp_path: Path):
    store = filled(tmp_path / "s", rows(0, 10))
    with store.writing() as writer:
        shelf = writer.shelf(MARK, dim=DIM, model="nobody")
        shelf.put(rows(5, 15, seed=1), new=False)
        assert len(shelf) == 15
    assert paths_in(store) == [row.path for row in rows(0, 15)]
    with store.writing() as writer, pytest.raises(BadInput, match="only once"):
        writer.shelf(MARK, dim=DIM, model="nobody").put([*rows(0, 1), *rows(0, 1)], new=False)


def test_paths_are_bytes_of_any_kind(tmp_path: Path):
    names = [
        b"/p/'; drop table x --.jpg",
        b"/p/\xff\xfe\n.jpg",
        "/p/사진 🎉.jpg".encode(),
        b"/p/%_.j",
    ]
    odd = [
        Row(name, b"/p", b"/", 1, 1, bytes(32), "fp32", True, row.vector)
        for name, row in zip(names, rows(0, 4), strict=True)
    ]
    store = filled(tmp_path / "s", odd)
    assert paths_in(store) == sorted(names)
    with store.writing() as writer:
        writer.shelf(MARK, dim=DIM, model="nobody").drop(names[:2])
    assert paths_in(store) == sorted(names[2:])


def test_below_a_folder_is_what_lies_in_it_and_not_beside_it(tmp_path: Path):
    one, other = rows(0, 3, root=b"/a"), rows(0, 2, root=b"/ab")
    deep = rows(0, 2, root=b"/a/b/c")
    store = filled(tmp_path / "s", one + other + deep)
    assert paths_in(store, below([b"/a"])) == sorted(row.path for row in one + deep)
    assert len(paths_in(store, below([b"/"]))) == 7
    assert paths_in(store, below([b"/a/b", one[0].path])) == sorted(
        row.path for row in [one[0], *deep]
    )
    with store.writing() as writer:
        assert writer.shelf(MARK, dim=DIM, model="nobody").drop_below(b"/a") == 5
    assert paths_in(store) == [row.path for row in other]


def test_two_models_live_side_by_side(tmp_path: Path):
    store = Store(tmp_path / "s")
    assert store.models() == [] and not (tmp_path / "s").exists()
    with store.writing() as writer:
        writer.shelf("a" * 32, dim=4, model="one").put(rows(0, 3, dim=4), new=True)
        writer.shelf("b" * 32, dim=8, model="두 번째").put(rows(0, 5, dim=8), new=True)
    first, second = store.models()
    assert first == Kept("a" * 32, "one", 4, first.since, 3)
    assert second == Kept("b" * 32, "두 번째", 8, second.since, 5)
    assert store.shelf("a" * 32).dim == 4
    with pytest.raises(NotHere, match="mmfm index"):
        store.shelf("c" * 32)
    assert store.holds("a" * 32) and not store.holds("c" * 32)


def test_the_store_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("MMFM_STORE", str(tmp_path / "here"))
    assert default_store() == Store().folder == tmp_path / "here"
    monkeypatch.delenv("MMFM_STORE")
    assert default_store().parts[-1] == "store" and "mmfm" in str(default_store())


def test_importing_the_store_does_not_load_lancedb():
    code = "import sys, mmfm.tasks.index, mmfm.tasks.search; print('lancedb' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# --- many batches ---------------------------------------------------------------------------------


def test_the_disk_holds_little_more_than_the_data_after_many_commits(tmp_path: Path):
    store = Store(tmp_path / "s")
    dim, batch, commits = 256, 16, 300
    largest = most_files = 0
    with store.writing() as writer:
        shelf = writer.shelf(MARK, dim=dim, model="nobody")
        for number in range(commits):
            shelf.put(rows(number * batch, (number + 1) * batch, dim=dim), new=number % 3 > 0)
            if number % 20 == 0:
                largest = max(largest, bytes_in(store.folder))
                most_files = max(most_files, len(list(store.folder.rglob("*"))))
        shelf.tidy()
    data = commits * batch * (4 * dim + 100)
    assert len(store.shelf(MARK)) == commits * batch
    assert bytes_in(store.folder) < 1.2 * data
    assert largest < 2.5 * data and most_files < 400
    assert len(list(store.folder.rglob("*"))) < 40


def test_what_killed_writers_left_is_cleared_away(tmp_path: Path):
    store = filled(tmp_path / "s", rows(0, 100))
    left = store.folder / f"{MARK}.lance" / "data" / ("0" * 49 + "1.lance")
    left.write_bytes(bytes(1_000_000))
    (store.folder / ".abc.part").write_bytes(b"x")
    with store.writing() as writer:
        writer.shelf(MARK, dim=DIM, model="nobody").tidy()
    assert not left.exists() and not (store.folder / ".abc.part").exists()
    assert len(paths_in(store)) == 100


def test_readers_see_a_whole_state_while_a_writer_clears_away(tmp_path: Path):
    """Another thread commits and clears all old versions as fast as it can."""
    store = filled(tmp_path / "s", rows(0, 1000))
    over = threading.Event()

    def write() -> None:
        with store.writing() as writer:
            shelf = writer.shelf(MARK, dim=DIM, model="nobody")
            for turn in range(1, 10_000):
                if over.is_set():
                    return
                shelf.put(rows(1000 * turn, 1000 * turn + 1000), new=True)
                shelf.tidy()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        shelf, counts = store.shelf(MARK), list[int]()
        end = time.monotonic() + 3
        while time.monotonic() < end:
            counts.append(len(shelf.read(["path", "vector"])))
            counts.append(
                shelf.scan(["path", "vector"], lambda parts: sum(len(part) for part in parts))
            )
    finally:
        over.set()
        writer.join()
    assert all(count % 1000 == 0 for count in counts) and counts == sorted(counts)
    assert counts[-1] > counts[0]


# --- one writer -----------------------------------------------------------------------------------

HOLD = """
import sys, time
from mmfm.store import Store
with Store(sys.argv[1]).writing():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def holder(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """Another process that writes."""
    folder = tmp_path_factory.mktemp("held") / "s"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    yield folder, other
    other.kill()
    other.wait()


def test_a_second_writer_is_told_who_writes_and_waits(
    holder: tuple[Path, subprocess.Popen[str]],
):
    folder, other = holder
    store = Store(folder)
    with (
        pytest.raises(InUse, match=f"process {other.pid} is writing there"),
        store.writing(wait=False),
    ):
        pass
    assert store.models() == []  # who reads needs no lock
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        threading.Timer(0.3, other.kill).start()

    with store.writing(say=say):  # the lock of a killed process is free
        pass
    assert len(said) == 1 and f"process {other.pid}" in said[0] and "waiting" in said[0]


def test_a_process_does_not_write_twice_at_once(tmp_path: Path):
    store = Store(tmp_path / "s")
    us = pytest.raises(InUse, match=f"process {os.getpid()} is writing")
    with store.writing(), us, Store(store.folder).writing(wait=False):
        pass
    with store.writing(wait=False):
        pass


def test_who_waits_for_another_writer_can_be_stopped(tmp_path: Path):
    store, asked = Store(tmp_path / "s"), 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == 2

    with store.writing():
        stopped = pytest.raises(KeyboardInterrupt)
        with stopped, Store(store.folder).writing(say=lambda line: None, stop=stop):
            pass
        assert asked == 2
    with store.writing(wait=False):
        pass


def test_rows_are_counted_without_being_read(tmp_path: Path):
    store = filled(tmp_path / "s", rows(0, 10), rows(0, 5, root=b"/q"))
    shelf = store.shelf(MARK)
    assert (shelf.count(below([b"/q"])), shelf.count(below([b"/p"]))) == (5, 10)
    assert shelf.count(below([b"/r"])) == 0


# --- what is no store -----------------------------------------------------------------------------


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path):
    (tmp_path / "letter.txt").write_text("dear")
    store = Store(tmp_path)
    for ask in (store.models, lambda: store.shelf(MARK), lambda: store.writing().__enter__()):
        with pytest.raises(BadInput, match="holds other things"):
            ask()
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    with pytest.raises(BadInput, match="is a file"):
        Store(tmp_path / "letter.txt").models()


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="Linux has a folder no one may write to"
)
def test_a_folder_that_cannot_be_made_is_named_in_a_line():
    with pytest.raises(BadInput, match=r"/proc/x/y: cannot be used as a store") as caught:
        Store("/proc/x/y").writing().__enter__()
    assert "\n" not in str(caught.value)


def test_below_a_file_there_is_no_store(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="Not a directory"):
        Store(tmp_path / "file" / "s").writing().__enter__()


@pytest.mark.parametrize("part", ["data", "_versions"])
@pytest.mark.parametrize("how", ["cut", "empty", "gone", "noise"])
def test_a_damaged_store_says_so_in_a_line(tmp_path: Path, part: str, how: str):
    store = filled(tmp_path / "s", rows(0, 100))
    for file in (store.folder / f"{MARK}.lance" / part).iterdir():
        whole = file.read_bytes()
        if how == "gone":
            file.unlink()
        else:
            noise = np.random.default_rng(0).bytes(len(whole))
            file.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "noise": noise}[how])
    with pytest.raises(BadData, match=r"damaged.*mmfm index") as caught:
        store.shelf(MARK).read(["path", "vector"])
    assert "\n" not in str(caught.value) and str(store.folder) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"mmfm": 2}'])
def test_a_damaged_note_says_so_in_a_line(tmp_path: Path, text: str):
    store = filled(tmp_path / "s", rows(0, 10))
    (store.folder / f"{MARK}.json").write_text(text)
    with pytest.raises(BadData, match=MARK):
        store.models()
    (store.folder / "mmfm-store.json").write_text(text)
    with pytest.raises(BadData, match="mmfm-store"):
        store.models()


FILL = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_store import MARK, rows, filled, paths_in
from mmfm.errors import OutOfSpace
from mmfm.store import Store
store = Store(sys.argv[1])
whole = 0
try:
    with store.writing() as writer:
        shelf = writer.shelf(MARK, dim=256, model="nobody")
        for whole in range(0, 100_000, 500):
            shelf.put(rows(whole, whole + 500, dim=256), new=True)
except OutOfSpace as error:
    print(error)
assert len(paths_in(store)) == len(set(paths_in(store))) == whole > 0
(Path(sys.argv[1]).parent / "ballast").unlink()
with store.writing() as writer:
    shelf = writer.shelf(MARK, dim=256, model="nobody")
    shelf.tidy()
    shelf.put(rows(whole, whole + 500, dim=256), new=True)
assert len(paths_in(store)) == whole + 500
print("went on")
"""


def test_a_full_disk_loses_nothing_and_goes_on_when_there_is_room(tmp_path: Path):
    """A real disk of 6 MB, made for this process alone."""
    make = (
        'mount -t tmpfs -o size=6m tmpfs "$0" && head -c 3000000 /dev/zero > "$0/ballast" '
        '&& exec "$@"'
    )
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets no one mount a small disk")
    here = str(Path(__file__).parent)
    python = [sys.executable, "-c", FILL, str(tmp_path / "s"), here]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", make, str(tmp_path), *python],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said, went_on = done.stdout.splitlines()
    assert "no space left" in said and went_on == "went on"


def test_a_full_disk_is_known_by_its_number_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = filled(tmp_path / "s", rows(0, 10))
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutOfSpace, match="what was stored before is intact"):
        store.writing().__enter__()
    monkeypatch.undo()
    with store.writing(wait=False):  # and the lock was let go
        pass


# --- for who wants to know a file's vector --------------------------------------------------------


@pytest.fixture(scope="module")
def clip() -> TwoTowers:
    return mmfm.load_clip("clip-shapes")


def put_files(store: Store, clip: TwoTowers, files: Sequence[Path]) -> list[Row]:
    """As if these files had been indexed; every second row is exact."""
    vectors = np.random.default_rng(0).standard_normal((len(files), clip.dim), dtype=np.float32)
    made: list[Row] = []
    for number, file in enumerate(files):
        there, name = file.stat(), os.fsencode(file)
        stamp = (there.st_size, there.st_mtime_ns, bytes(32))
        made.append(Row(name, b"/", b"/", *stamp, "int8", number % 2 == 0, vectors[number]))
    with store.writing() as writer:
        shelf: OpenShelf = writer.shelf(fingerprint(clip), dim=clip.dim, model="x")
        shelf.put(made, new=True)
    return made


def test_stored_vectors_are_those_of_files_that_have_not_changed(
    tmp_path: Path, clip: TwoTowers, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path.resolve() / "사진"
    folder.mkdir()
    files = [folder / f"{number}.jpg" for number in range(8)]
    for file in files:
        file.write_bytes(b"12345")
    store = Store(tmp_path / "s")
    assert stored_vectors(store, clip, files).get(files[0]) is None
    made = put_files(store, clip, files)

    known = stored_vectors(store, clip, files)
    assert len(known) == 8
    for file, row in zip(files, made, strict=True):
        assert np.array_equal(known.get(file), row.vector)
        assert np.array_equal(known.get(str(file)), row.vector)
    monkeypatch.chdir(folder)
    assert np.array_equal(stored_vectors(store, clip, ["3.jpg"]).get("3.jpg"), made[3].vector)
    (tmp_path / "link").symlink_to(folder)
    assert np.array_equal(known.get(tmp_path / "link" / "3.jpg"), made[3].vector)

    files[0].write_bytes(b"123456")
    os.utime(files[1], ns=(1, 1))
    files[2].unlink()
    known = stored_vectors(store, clip, files)
    assert [known.get(file) is None for file in files] == [True] * 3 + [False] * 5
    assert known.get(folder / "other.jpg") is None
    assert known.get("\0") is None


def test_exact_wishes_are_served_by_exact_rows_only(tmp_path: Path, clip: TwoTowers):
    files = [tmp_path.resolve() / f"{number}.jpg" for number in range(4)]
    for file in files:
        file.write_bytes(b"x")
    store = Store(tmp_path / "s")
    put_files(store, clip, files)
    known = stored_vectors(store, clip, files, exact=True)
    assert [known.get(file) is not None for file in files] == [True, False, True, False]


def test_many_files_are_read_in_one_go_and_only_those_of_the_folder(
    tmp_path: Path, clip: TwoTowers, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mmfm.store, "_FEW", 50)
    folder, beside = tmp_path.resolve() / "in", tmp_path.resolve() / "in-deed"
    for each in (folder, beside):
        each.mkdir()
    files = [folder / f"{number}.jpg" for number in range(100)]
    others = [beside / f"{number}.jpg" for number in range(10)]
    for file in [*files, *others]:
        file.touch()
    store = Store(tmp_path / "s")
    made = put_files(store, clip, [*files, *others])
    known = stored_vectors(store, clip, files[:60])
    assert len(known) == 100
    for file, row in zip(files, made[:100], strict=True):
        assert np.array_equal(known.get(file), row.vector)


def test_the_lock_may_be_let_go_by_another_thread(tmp_path: Path):
    """A page's work begins in one thread and ends in another."""
    store = Store(tmp_path / "store")
    writing = store.writing()
    writing.__enter__()
    with pytest.raises(InUse), store.writing(wait=False):
        pass
    other = threading.Thread(target=writing.__exit__, args=(None, None, None))
    other.start()
    other.join()
    with store.writing(wait=False):
        pass
