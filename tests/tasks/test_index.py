"""Indexing: each picture is looked at once, whatever is moved, and whenever it is killed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import mmfm
from mmfm.engines import Engine, plain
from mmfm.errors import BadInput, InUse, NotHere
from mmfm.models.clip import TwoTowers
from mmfm.models.label_vectors import fingerprint
from mmfm.store import OpenShelf, Store, Writer
from mmfm.tasks import index as task
from mmfm.tasks.index import Indexed, forget, index


@pytest.fixture(scope="module")
def clip() -> TwoTowers:
    return mmfm.load_clip("clip-shapes")


class Counting(Engine):
    """The model as it is, counting how many pictures it looks at."""

    def __init__(self, clip: TwoTowers, name: str = "fp32") -> None:
        self.plain = plain(clip)
        super().__init__(name, clip.project_image, dim=clip.dim, batch=8, threads=1)
        self.looked_at = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.looked_at += len(images)
        return self.plain(images)


@pytest.fixture
def engine(clip: TwoTowers, monkeypatch: pytest.MonkeyPatch) -> Counting:
    monkeypatch.setattr(task, "_AT_LEAST", 8)
    return Counting(clip)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "photos"
    paint(folder, range(20))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def paint(folder: Path, numbers: Sequence[int]) -> list[Path]:
    """Small pictures, each unlike the others."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:04}.png" for number in numbers]
    for file, number in zip(files, numbers, strict=True):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((24, 24), Image.Resampling.NEAREST).save(file)
    return files


def run(clip: TwoTowers, engine: Engine, *folders: Path, store: Store, **wishes: Any) -> Indexed:
    """Index, and sum all that was said up in the last step."""
    steps = list(index(clip, engine, folders, store=store, **wishes))
    last = steps[-1]
    failed = tuple(one for step in steps for one in step.failed)
    notes = tuple(line for step in steps for line in step.notes)
    return Indexed(**{**vars(last), "failed": failed, "notes": notes})


def kept(store: Store, clip: TwoTowers) -> dict[Path, np.ndarray]:
    """What the store holds; no file twice."""
    table = store.shelf(fingerprint(clip)).read(["path", "vector"])
    paths = [Path(os.fsdecode(path)) for path in table.column("path").to_pylist()]
    assert len(set(paths)) == len(paths)
    vectors = [np.asarray(vector, np.float32) for vector in table.column("vector").to_pylist()]
    return dict(zip(paths, vectors, strict=True))


# --- what it holds --------------------------------------------------------------------------------


def test_each_picture_gets_the_vector_that_the_model_gives_it(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store
):
    done = run(clip, engine, photos, store=store)
    assert (done.done, done.total, done.new, engine.looked_at) == (20, 20, 20, 20)
    found = kept(store, clip)
    files = sorted(photos.iterdir())
    assert sorted(found) == files
    expected = clip.encode_image(files).numpy()
    np.testing.assert_allclose(np.stack([found[file] for file in files]), expected, atol=1e-5)
    (model,) = store.models()
    assert (model.model, model.dim, model.pictures) == (clip.name, clip.dim, 20)


def test_progress_comes_batch_by_batch_and_each_is_on_the_disk(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store
):
    seen: list[int] = []
    for step in index(clip, engine, [photos], store=store):
        assert step.done <= step.total == 20
        assert len(kept(store, clip)) == step.new
        seen.append(step.done)
    assert seen == [0, 8, 16, 20, 20]


def test_what_is_known_is_not_even_opened(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store, monkeypatch: pytest.MonkeyPatch
):
    run(clip, engine, photos, store=store)
    monkeypatch.setattr(task, "read_picture_file", pytest.fail)
    done = run(clip, engine, photos, store=store)
    assert (done.unchanged, done.new, done.done, engine.looked_at) == (20, 0, 20, 20)


def test_moved_renamed_copied_and_touched_files_cost_no_model_run(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store
):
    run(clip, engine, photos, store=store)
    before = kept(store, clip)
    one, two, three, four, five, six = sorted(photos.iterdir())[:6]
    (photos / "sub").mkdir()
    one.rename(photos / "sub" / "moved.png")
    two.rename(photos / "renamed 이름.png")
    shutil.copy(three, photos / "copied.png")
    os.utime(four, ns=(10**18, 10**18))
    five.rename(photos / "x"), six.rename(five), (photos / "x").rename(six)  # they swap names
    done = run(clip, engine, photos, store=store)
    assert engine.looked_at == 20
    assert (done.recognised, done.new, done.unchanged, done.dropped) == (6, 0, 15, 2)
    after = kept(store, clip)
    assert len(after) == 21
    for old, new in (
        (one, photos / "sub" / "moved.png"),
        (two, photos / "renamed 이름.png"),
        (three, photos / "copied.png"),
        (three, three),
        (four, four),
        (five, six),
        (six, five),
    ):
        assert np.array_equal(before[old], after[new]), new
    assert one not in after and two not in after


def test_renumbered_files_cost_no_model_run(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store
):
    run(clip, engine, photos, store=store)
    before = kept(store, clip)
    files = sorted(photos.iterdir())
    for file in reversed(files):
        file.rename(photos / f"{int(file.stem) + 1:04}.png")
    run(clip, engine, photos, store=store)
    after = kept(store, clip)
    assert engine.looked_at == 20 and len(after) == 20
    assert all(
        np.array_equal(before[file], after[photos / f"{int(file.stem) + 1:04}.png"])
        for file in files
    )


def test_a_changed_file_is_looked_at_again(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store
):
    run(clip, engine, photos, store=store)
    file = photos / "0003.png"
    there, (other,) = file.stat(), paint(photos.parent / "other", [99])
    file.write_bytes(other.read_bytes())
    os.utime(file, ns=(there.st_atime_ns, there.st_mtime_ns + 1))
    done = run(clip, engine, photos, store=store)
    assert (done.new, done.unchanged, engine.looked_at) == (1, 19, 21)
    np.testing.assert_allclose(kept(store, clip)[file], clip.encode_image([other])[0], atol=1e-5)


def test_the_same_picture_twice_in_a_batch_is_looked_at_once(
    clip: TwoTowers, engine: Counting, store: Store, tmp_path: Path
):
    first = paint(tmp_path / "p", [1])[0]
    for name in "abc":
        shutil.copy(first, tmp_path / "p" / f"{name}.png")
    done = run(clip, engine, tmp_path / "p", store=store)
    assert (done.new, engine.looked_at, len(kept(store, clip))) == (4, 1, 4)


def test_what_cannot_be_read_is_named_and_not_stored(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store
):
    (photos / "empty.jpg").touch()
    (photos / "text.png").write_text("no picture")
    (photos / "away.png").symlink_to(photos / "nowhere")
    os.mkfifo(photos / "pipe.jpg")
    done = run(clip, engine, photos, store=store)
    assert (done.new, done.unreadable, done.done, done.total) == (20, 4, 24, 24)
    reasons = {Path(path).name: reason for path, reason in done.failed}
    assert reasons.keys() == {"empty.jpg", "text.png", "away.png", "pipe.jpg"}
    assert "empty" in reasons["empty.jpg"] and "pipe" in reasons["pipe.jpg"]
    assert "leads nowhere" in reasons["away.png"]
    assert len(kept(store, clip)) == 20


def test_a_picture_that_was_spoilt_is_not_found_any_more(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store
):
    run(clip, engine, photos, store=store)
    (photos / "0003.png").write_text("no picture")
    done = run(clip, engine, photos, store=store)
    assert done.unreadable == 1 and photos / "0003.png" not in kept(store, clip)


def test_a_file_that_changes_while_it_is_read_is_looked_at_the_next_time(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store, monkeypatch: pytest.MonkeyPatch
):
    read, victim = task.read_picture_file, photos / "0003.png"
    (other,) = paint(photos.parent / "other", [99])

    def changing(path: str) -> bytes:
        data = read(path)
        if path == str(victim):
            victim.write_bytes(other.read_bytes())
        return data

    with monkeypatch.context() as patched:
        patched.setattr(task, "read_picture_file", changing)
        run(clip, engine, photos, store=store)
    done = run(clip, engine, photos, store=store)
    assert (done.new, done.unchanged) == (1, 19)
    np.testing.assert_allclose(kept(store, clip)[victim], clip.encode_image([other])[0], atol=1e-5)


def test_a_file_of_this_moment_is_read_when_a_later_change_will_show(tmp_path: Path):
    """Two changes within one tick of the clock leave the same time behind."""
    file = tmp_path / "now.jpg"
    for _ in range(5):
        file.write_bytes(b"x")
        size, mtime_ns = task._stamp(str(file))
        assert (size, mtime_ns) == (1, file.stat().st_mtime_ns)
        assert time.time_ns() - mtime_ns >= task._TICK_NS
    os.utime(file, ns=(1, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task.time, "sleep", pytest.fail)
        assert task._stamp(str(file)) == (1, 1)


# --- exact ----------------------------------------------------------------------------------------


def test_exact_vectors_serve_all_and_others_do_not_serve_who_wants_exact_ones(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store
):
    run(clip, Counting(clip, "int8"), photos, store=store)
    done = run(clip, engine, photos, store=store, exact=True)
    assert (done.new, engine.looked_at) == (20, 20)
    assert run(clip, engine, photos, store=store, exact=True).unchanged == 20
    assert run(clip, engine, photos, store=store).unchanged == 20
    shutil.copy(photos / "0003.png", photos / "copy.png")
    assert run(clip, Counting(clip, "int8"), photos, store=store).recognised == 1
    assert run(clip, engine, photos, store=store, exact=True).unchanged == 21
    with pytest.raises(BadInput, match="fp32, not by int8"):
        index(clip, Counting(clip, "int8"), [photos], store=store, exact=True)


# --- which folders --------------------------------------------------------------------------------


def test_what_may_not_be_read_is_neither_opened_nor_named(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store, monkeypatch: pytest.MonkeyPatch
):
    outside = photos.parent / "outside"
    (secret, _) = paint(outside, [40, 41])
    (photos / "out.png").symlink_to(secret)
    (photos / "null.jpg").symlink_to("/dev/zero")
    (photos / "nowhere").symlink_to(outside / "nowhere")
    (photos / "again.png").symlink_to(photos / "0000.png")
    (photos / "loop").symlink_to(".")
    (photos / "torn.jpg").write_bytes(b"torn")
    opened: list[str] = []
    read = task.read_picture_file
    monkeypatch.setattr(task, "read_picture_file", lambda f: opened.append(str(f)) or read(f))

    def inside(real: str) -> bool:
        return Path(real).is_relative_to(photos)

    done = run(clip, engine, photos, store=store, may_read=inside)
    assert (done.new, done.unreadable, done.done, done.total) == (21, 2, 23, 23)
    assert {Path(path).name for path, _ in done.failed} == {"loop", "torn.jpg"}
    assert len(opened) == 22 and all(map(inside, opened))
    assert kept(store, clip).keys() == {
        *(photos / f"{number:04}.png" for number in range(20)),
        photos / "again.png",
    }
    # Whoever may read everything does.
    assert run(clip, engine, photos, store=store).new == 1
    assert str(photos / "out.png") in opened


@pytest.mark.parametrize("when", ["listed", "asked"])
def test_a_link_that_takes_a_files_place_does_not_lead_out(
    clip: TwoTowers,
    engine: Counting,
    photos: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
):
    """The file itself after it was listed; or its folder when it was already asked about."""
    paint(photos / "sub", [50])
    paint(photos.parent / "outside", [0, 50])
    read, inside = task.read_picture_file, f"{photos}/"
    victim = photos / "0000.png" if when == "listed" else photos / "sub" / "0050.png"

    def swap(swapped: Path, by: Path) -> None:
        swapped.rename(photos.parent / "away")
        swapped.symlink_to(by)

    def reading(file: str) -> bytes:
        if file == str(victim):
            assert when == "asked"
            swap(photos / "sub", photos.parent / "outside")
        return read(file)

    monkeypatch.setattr(task, "read_picture_file", reading)
    steps = index(clip, engine, [photos], store=store, may_read=lambda r: r.startswith(inside))
    next(steps)
    if when == "listed":
        swap(victim, photos.parent / "outside" / "0000.png")
    failed = [one for step in steps for one in step.failed]
    assert failed == [(str(victim), "a link that leads to where nothing may be read")]
    assert victim not in kept(store, clip) and len(kept(store, clip)) == 20


def test_a_file_is_in_the_store_once_however_its_folder_is_named(
    clip: TwoTowers,
    engine: Counting,
    photos: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
):
    paint(photos / "sub", range(30, 33))
    (photos.parent / "link").symlink_to(photos)
    monkeypatch.chdir(photos)
    folders = [
        Path(),
        photos,
        Path(f"{photos}/"),
        photos / "sub" / "..",
        photos / "sub",
        photos.parent / "link",
        photos / "sub" / "0030.png",
    ]
    done = run(clip, engine, *folders, store=store)
    assert (done.total, engine.looked_at, len(kept(store, clip))) == (23, 23, 23)
    for folder in folders:
        again = run(clip, engine, folder, store=store)
        assert again.unchanged == again.total > 0
    assert len(kept(store, clip)) == 23


def test_a_hidden_folder_is_passed_over_unless_it_is_named(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store
):
    paint(photos / ".hidden" / "in", [40])
    assert run(clip, engine, photos, store=store).total == 20
    assert run(clip, engine, photos, photos / ".hidden" / "in", store=store).total == 21


def test_a_folder_that_is_not_there_is_an_error_and_drops_nothing(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store
):
    run(clip, engine, photos, store=store)
    photos.rename(photos.parent / "elsewhere")
    with pytest.raises(NotHere, match=r"no such file or folder.*stays.*--forget"):
        index(clip, engine, [photos], store=store)
    assert len(kept(store, clip)) == 20
    with pytest.raises(BadInput, match="no folder"):
        index(clip, engine, [], store=store)


# --- what is gone ---------------------------------------------------------------------------------


def test_a_deleted_file_is_dropped_only_below_the_folder_that_is_indexed(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store
):
    other = photos.parent / "photos2"
    paint(other, range(50, 53))
    run(clip, engine, photos, other, store=store)
    (photos / "0001.png").unlink()
    (other / "0050.png").unlink()
    done = run(clip, engine, photos, store=store)
    assert done.dropped == 1
    assert photos / "0001.png" not in kept(store, clip) and other / "0050.png" in kept(store, clip)


def test_a_folder_that_lost_all_its_pictures_drops_nothing_and_says_so(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store
):
    run(clip, engine, photos, store=store)
    for file in photos.iterdir():
        file.unlink()
    done = run(clip, engine, photos, store=store)
    assert done.dropped == 0 and len(kept(store, clip)) == 20
    (note,) = done.notes
    assert str(photos) in note and "20" in note and "--forget" in note


def test_a_folder_that_cannot_be_listed_drops_nothing(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store, monkeypatch: pytest.MonkeyPatch
):
    paint(photos / "sub", range(30, 33))
    run(clip, engine, photos, store=store)
    scandir = os.scandir

    def failing(path: Any) -> Any:
        if Path(os.fsdecode(path)) == photos / "sub":
            raise OSError(5, "Input/output error")
        return scandir(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", failing)
        patched.setattr(task, "_is_gone", pytest.fail)  # not even asked for
        done = run(clip, engine, photos, store=store)
    assert done.dropped == 0 and len(kept(store, clip)) == 23
    assert done.failed[0][0] == str(photos / "sub") and "Input/output" in done.failed[0][1]


MOUNTED = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
import subprocess
from test_index import Counting, kept, mmfm, paint, run, Store
from mmfm.tasks.index import forget
here = Path(sys.argv[1]).resolve()
clip = mmfm.load_clip("clip-shapes")
disk = here / "photos" / "disk"
paint(here / "photos", range(3))
disk.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=True)
paint(disk, range(10, 14))
store, engine = Store(here / "store"), Counting(clip)
assert run(clip, engine, here / "photos", store=store).new == 7
(disk / "0010.png").unlink()
assert run(clip, engine, here / "photos", store=store).dropped == 1
subprocess.run(["umount", disk], check=True)
(here / "photos" / "0000.png").unlink()
done = run(clip, engine, here / "photos", store=store)
assert done.dropped == 1 and len(kept(store, clip)) == 5, done
assert str(disk) in done.notes[0] and "3 pictures" in done.notes[0], done
assert run(clip, engine, disk, store=store).dropped == 0
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=True)
paint(disk, range(20, 22))
done = run(clip, engine, here / "photos", store=store)
assert (done.dropped, done.new) == (0, 2) and "another one" in done.notes[0], done
assert forget([disk], store=store) == 5
"""


def test_what_lies_on_a_disk_that_is_not_mounted_stays(tmp_path: Path):
    """A real disk below the indexed folder, mounted for this process alone; then another one."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets no one mount a small disk")
    code = [sys.executable, "-c", MOUNTED, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(["unshare", "-rm", *code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_folder_that_was_refilled_is_on_the_same_disk_if_another_folder_of_it_is_as_it_was(
    clip: TwoTowers,
    engine: Counting,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """As where /home is a disk of its own, and only ~/inbox is looked through again."""
    home = tmp_path.resolve() / "home"
    ismount = os.path.ismount
    monkeypatch.setattr(
        os.path, "ismount", lambda path: os.fsencode(path) == os.fsencode(home) or ismount(path)
    )
    inbox, pictures = home / "inbox", home / "pictures"
    paint(inbox, range(4)), paint(pictures, range(10, 20))
    run(clip, engine, inbox, pictures, store=store)
    for file in inbox.iterdir():
        file.unlink()
    paint(inbox, range(20, 23))
    done = run(clip, engine, inbox, store=store)
    assert (done.new, done.dropped, done.notes) == (3, 4, ())
    assert len(kept(store, clip)) == 13

    # Another card at that place may have files of the same names.
    for file in [*inbox.iterdir(), *pictures.iterdir()]:
        file.unlink()
    paint(inbox, range(30, 33)), paint(pictures, range(40, 43))
    for number in range(10, 13):
        (pictures / f"{number:04}.png").write_bytes(b"of the same name")
    done = run(clip, engine, inbox, store=store)
    assert done.dropped == 0 and "another one" in done.notes[0]
    assert len(kept(store, clip)) == 16


def test_a_folder_is_forgotten_knowingly_there_or_not(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store
):
    with pytest.raises(NotHere, match="nothing to forget"):
        forget([photos], store=store)
    paint(photos / "sub", range(30, 33))
    run(clip, engine, photos, store=store)
    shutil.rmtree(photos / "sub")
    assert forget([photos / "sub"], store=store) == 3
    assert forget([photos / "0000.png"], store=store) == 1
    assert len(kept(store, clip)) == 19
    # What is mistyped is said, and then nothing is dropped at all.
    with pytest.raises(NotHere, match=r"photoz: no picture of it is stored in .*nothing was forg"):
        forget([photos, photos.parent / "photoz"], store=store)
    with pytest.raises(NotHere, match="sub: no picture of it"):
        forget([photos / "sub"], store=store)
    assert len(kept(store, clip)) == 19
    assert forget([photos, photos / "0001.png"], store=store) == 19


# --- stopped, killed, in use ----------------------------------------------------------------------


def test_the_engine_is_chosen_by_how_many_have_to_be_looked_at(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store
):
    asked: list[int] = []

    def choose(pictures: int) -> Counting:
        asked.append(pictures)
        return engine

    assert list(task.index(clip, choose, [photos], store=store))[-1].new == 20
    paint(photos, range(100, 103))
    assert list(task.index(clip, choose, [photos], store=store))[-1].new == 3
    assert asked == [20, 3] and engine.looked_at == 23
    with pytest.raises(BadInput, match="fp32"):
        list(task.index(clip, lambda _: Counting(clip, "int8"), [photos], store=store, exact=True))


def test_who_stops_keeps_what_is_done_and_drops_nothing(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store
):
    run(clip, engine, photos, store=store)
    (photos / "0000.png").unlink()
    paint(photos, range(100, 140))
    seen = engine.looked_at
    done = run(clip, engine, photos, store=store, stop=lambda: engine.looked_at > seen)
    assert 0 < done.new < 40 and done.dropped == 0
    done = run(clip, engine, photos, store=store)
    assert engine.looked_at == 60 and done.dropped == 1 and len(kept(store, clip)) == 59


def test_who_stops_while_another_writes_does_not_wait_for_it(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store
):
    with store.writing(), pytest.raises(KeyboardInterrupt):
        run(clip, engine, photos, store=store, stop=lambda: True)
    assert engine.looked_at == 0 and run(clip, engine, photos, store=store, wait=False).new == 20


def test_who_walks_away_leaves_the_store_free(
    clip: TwoTowers, engine: Counting, photos: Path, store: Store
):
    steps = index(clip, engine, [photos], store=store)
    next(steps), next(steps)
    with pytest.raises(InUse):
        next(index(clip, engine, [photos], store=store, wait=False))
    steps.close()  # type: ignore[attr-defined]
    assert run(clip, engine, photos, store=store, wait=False).unchanged == 8
    assert engine.looked_at == 20


class _Fault(Exception):
    pass


class Faults:
    """Fail before or after the n-th thing that reaches the disk or the model."""

    POINTS = ((OpenShelf, "put"), (OpenShelf, "drop"), (OpenShelf, "tidy"), (Writer, "shelf"))

    def __init__(self, fail_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed, self.fail_at = 0, fail_at
        for owner, name in self.POINTS:
            monkeypatch.setattr(owner, name, self._guarded(getattr(owner, name)))
        monkeypatch.setattr(Counting, "__call__", self._guarded(Counting.__call__))

    def _guarded(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **wishes: Any) -> Any:
            self._pass()
            done = work(*arguments, **wishes)
            self._pass()
            return done

        return guarded

    def _pass(self) -> None:
        self.passed += 1
        if self.passed == self.fail_at:
            raise _Fault


def test_a_fault_at_any_step_leaves_a_whole_store_and_costs_one_batch(
    clip: TwoTowers, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(task, "_AT_LEAST", 8)
    (photos / "0000.png").write_text("spoilt")
    start = Store(tmp_path / "start")
    run(clip, Counting(clip), photos, store=start)
    (photos / "0001.png").unlink()  # to be dropped
    (photos / "0002.png").write_text("spoilt since")
    (photos / "0003.png").rename(photos / "z.png")
    paint(photos, range(100, 120))
    fail_at, failed = 0, True
    while failed:
        fail_at += 1
        store = Store(tmp_path / "runs" / f"{fail_at}")
        shutil.copytree(start.folder, store.folder)
        engine = Counting(clip)
        with monkeypatch.context() as patched:
            faults = Faults(fail_at, patched)
            try:
                run(clip, engine, photos, store=store)
                failed = False
            except _Fault:
                pass
        before = kept(store, clip)
        assert len(before) >= 17
        run(clip, engine, photos, store=store, wait=False)
        assert engine.looked_at <= 20 + 8, fail_at
        assert len(kept(store, clip)) == 37, fail_at
    assert faults.passed >= 12 and fail_at == faults.passed + 1


# Everything is loaded once; each line that comes in starts a process that indexes.
INDEX = """
import os, sys
import mmfm
from mmfm.engines import plain
from mmfm.store import Store
from mmfm.tasks import index as task
task._AT_LEAST = 8
clip = mmfm.load_clip("clip-shapes")
engine = plain(clip)
engine.batch = 8
for line in sys.stdin:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        print("over", flush=True)
        continue
    print(os.getpid(), flush=True)
    for step in task.index(clip, engine, sys.argv[1:2], store=Store(sys.argv[2])):
        print(step.done, flush=True)
    os._exit(0)
"""


def survive(clip: TwoTowers, tmp_path: Path, kills: int) -> None:
    """Kill a process that indexes at some moment, again and again, and then let one finish."""
    folder, store = tmp_path.resolve() / "photos", Store(tmp_path / "store")
    count = 60 * kills
    paint(folder, range(count))
    chance = random.Random(0)

    def held() -> int:
        return len(kept(store, clip)) if store.models() else 0

    command = [sys.executable, "-c", INDEX, str(folder), str(store.folder)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as mother:
        assert mother.stdin is not None and mother.stdout is not None
        for _ in range(kills):
            had = held()
            mother.stdin.write("go\n")
            child = int(mother.stdout.readline())
            told = [int(mother.stdout.readline()) for _ in range(chance.randrange(1, 5))]
            time.sleep(chance.random() * 0.05)
            os.kill(child, signal.SIGKILL)
            while (line := mother.stdout.readline()) != "over\n":
                told.append(int(line))
            assert held() >= max(had, *told)  # what was said to be done is done
        mother.stdin.close()
    engine = Counting(clip)
    has = held()
    assert 0 < has < count
    done = run(clip, engine, folder, store=store, wait=False)
    assert engine.looked_at == done.new == count - has
    assert len(kept(store, clip)) == count


def test_a_killed_run_loses_a_batch_at_most(clip: TwoTowers, tmp_path: Path):
    survive(clip, tmp_path, kills=3)


@pytest.mark.slow
def test_twenty_kills_lose_a_batch_each_at_most(clip: TwoTowers, tmp_path: Path):
    survive(clip, tmp_path, kills=20)


# --- cost -----------------------------------------------------------------------------------------


def test_memory_holds_a_few_batches_whatever_the_number_of_files(
    clip: TwoTowers, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Counted in prepared pictures: those that are alive at once."""
    monkeypatch.setattr(task, "_AT_LEAST", 8)
    paint(tmp_path / "p", range(100))
    alive, most = 0, 0
    prepared = task.prepared

    class Watched(Tensor):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def watching(*arguments: Any, **wishes: Any) -> Any:
        nonlocal alive, most
        image = prepared(*arguments, **wishes)
        assert isinstance(image, Tensor)
        alive += 1
        most = max(most, alive)
        return image.as_subclass(Watched)

    monkeypatch.setattr(task, "prepared", watching)
    engine = Counting(clip)
    engine.plain = lambda images: plain(clip)(images.as_subclass(torch.Tensor))  # type: ignore
    run(clip, engine, tmp_path / "p", store=store)
    assert engine.looked_at == 100 and most <= 8 * 4
