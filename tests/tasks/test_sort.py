"""Sorting: whatever happens, no picture is lost, overwritten or doubled, and all can be undone."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mmfm import journal
from mmfm.errors import BadData, BadInput, BadRun, InUse, NotHere, OutOfSpace
from mmfm.files import digest
from mmfm.journal import _HALF
from mmfm.tasks import sort
from mmfm.tasks.sort import (
    NONE,
    Placed,
    Undone,
    check_out,
    folder_name,
    journals,
    sort_pictures,
    undo,
)

LABELS = ["cat", "dog", "강아지"]


@dataclass(frozen=True)
class Prediction:
    """What sorting reads of a prediction; that one brings torch, with which a fork is dear."""

    path: str | None
    label: str | None = None
    labels: tuple[str, ...] = ()
    score: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    error: str | None = None


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Nine files in three folders, with names that collide and names that are nasty."""
    return make_photos(tmp_path / "photos")


def make_photos(folder: Path) -> Path:
    names = [
        b"a/IMG_1.jpg",
        b"b/IMG_1.jpg",
        b"c/IMG_1.jpg",
        b"a/new\nline.jpg",
        b"a/-rf.jpg",
        b"a/caf\xe9.jpg",
        "b/사진 🐶.jpg".encode(),
        b"b/noending",
        b"c/twin.jpg",
    ]
    for number, name in enumerate(names):
        file = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"picture {number} ".encode() * (50 + number))
        os.utime(file, ns=(10**18, 10**18 + number * 10**10 + 123))
        file.chmod(0o640)
    # Two files with the same content and the same name stay two when they are moved.
    shutil.copy2(folder / "c/twin.jpg", folder / "a/twin.jpg")
    return folder


def files(folder: Path) -> dict[Path, bytes]:
    """All pictures below a folder: where, and what is in them; half ones would show as well."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    return {
        path.relative_to(folder): path.read_bytes()
        for path in found
        if path.suffix not in (".jsonl", ".lock") and not path.match(_HALF)
    }


def contents(*folders: Path) -> Counter[bytes]:
    return Counter(data for folder in folders for data in files(folder).values())


def label_of(path: Path) -> str:
    return LABELS[sum(os.fsencode(path.name)) % 2] if path.suffix else LABELS[2]


def predictions(folder: Path) -> list[Prediction]:
    return [seen(folder / path, label_of(path)) for path in files(folder)]


def seen(path: Path, *labels: str) -> Prediction:
    scores = dict.fromkeys([*labels, *LABELS], 0.3)
    return Prediction(str(path), labels[0] if labels else None, labels, 0.5, scores=scores)


def run(
    found: Iterable[Prediction], out: Path, *, move: bool = True, **wishes: Any
) -> list[Placed]:
    return list(sort_pictures(found, out, move=move, **wishes))


def rows(journal: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in journal.read_bytes().splitlines()]


# --- moving and copying ---------------------------------------------------------------------------


def test_moved_pictures_lie_in_their_label_folders_and_nowhere_else(photos: Path, tmp_path: Path):
    before, out = contents(photos), tmp_path / "out"
    placed = run(predictions(photos), out)
    assert {place.how for place in placed} == {"moved"} and len(placed) == 10
    assert contents(out) == before and not files(photos)
    for place in placed:
        assert place.to is not None and place.path is not None and place.reason is None
        assert place.to.parent.name == label_of(Path(place.path))
    numbered = sorted(place.to.name for place in placed if place.to and "IMG" in place.to.name)
    assert numbered == ["IMG_1 (2).jpg", "IMG_1 (3).jpg", "IMG_1.jpg"]


def test_copies_are_true_and_the_originals_stay_as_they_are(photos: Path, tmp_path: Path):
    before, out = files(photos), tmp_path / "out"
    placed = run(predictions(photos), out, move=False)
    assert files(photos) == before
    # The twins have one name and one content, and one label: one copy is both.
    assert [place.how for place in placed].count("already there") == 1
    assert contents(out) == Counter(set(before.values()))
    for place in placed:
        assert place.to is not None and place.path is not None
        was, now = Path(place.path).stat(), place.to.stat()
        assert (now.st_mode, now.st_size) == (was.st_mode, was.st_size)
        assert now.st_ino != was.st_ino
        if place.how == "copied":
            assert now.st_mtime_ns == was.st_mtime_ns


def test_copying_again_doubles_nothing(photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    run(predictions(photos), out, move=False)
    after = files(out)
    placed = run(predictions(photos), out, move=False)
    assert {place.how for place in placed} == {"already there"}
    assert files(out) == after
    assert len(journals(out)) == 1  # the second had nothing to tell


def test_what_lies_there_is_never_overwritten(photos: Path, tmp_path: Path):
    for move in (False, True):
        out = tmp_path / f"out {move}"
        (out / "cat").mkdir(parents=True)
        (out / "cat" / "IMG_1.jpg").write_bytes(b"somebody else's")
        (out / "cat" / "IMG_1 (2).jpg").symlink_to("nowhere")
        place = run([seen(photos / "a/IMG_1.jpg", "cat")], out, move=move)[0]
        assert place.to == out / "cat" / "IMG_1 (3).jpg"
        assert (out / "cat" / "IMG_1.jpg").read_bytes() == b"somebody else's"
        assert (out / "cat" / "IMG_1 (2).jpg").is_symlink()


def test_an_equal_file_is_no_reason_to_let_go_of_a_source(photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    (out / "cat").mkdir(parents=True)
    shutil.copy2(photos / "a/IMG_1.jpg", out / "cat")
    before = contents(photos, out)
    place = run([seen(photos / "a/IMG_1.jpg", "cat")], out)[0]
    assert (place.how, place.to) == ("moved", out / "cat" / "IMG_1 (2).jpg")
    assert contents(photos, out) == before
    # A second name of the very same file is left alone as well.
    (photos / "IMG_1.jpg").hardlink_to(out / "cat/IMG_1.jpg")
    place = run([seen(photos / "IMG_1.jpg", "cat")], out)[0]
    assert (place.how, place.to) == ("already there", out / "cat/IMG_1.jpg")
    assert (photos / "IMG_1.jpg").exists()


def test_several_labels_are_several_copies_and_one_move(photos: Path, tmp_path: Path):
    two = [seen(photos / "a/IMG_1.jpg", "dog", "cat")]
    copied = run(two, tmp_path / "copies", move=False)
    assert [place.to.parent.name for place in copied if place.to] == ["dog", "cat"]
    moved = run(two, tmp_path / "moves")
    assert [place.to.parent.name for place in moved if place.to] == ["dog"]


def test_what_has_no_label_or_no_picture_in_it(photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    (photos / "empty.jpg").touch()
    os.mkfifo(photos / "pipe.jpg")
    found = [
        seen(photos / "a/IMG_1.jpg"),
        seen(photos / "b/IMG_1.jpg", NONE),
        Prediction(str(photos / "c/IMG_1.jpg"), error="cut short"),
        Prediction(None, "cat", ("cat",)),
        seen(photos / "gone.jpg", "cat"),
        seen(photos / "empty.jpg", "cat"),
        seen(photos / "pipe.jpg", "cat"),
        seen(photos / "a", "cat"),
    ]
    placed = run(found, out)
    assert [place.to.parent.name for place in placed if place.to] == [NONE, f"{NONE} (2)"]
    left = [place.reason for place in placed if place.how == "left"]
    assert left[0] == "cut short" and "in memory" in (left[1] or "")
    assert left[2] == os.strerror(errno.ENOENT)
    assert left[3:] == ["is empty", "is not a regular file", "is not a regular file"]
    assert (photos / "c/IMG_1.jpg").exists() and (photos / "empty.jpg").exists()


def test_a_link_is_copied_as_what_it_shows_and_never_moved(photos: Path, tmp_path: Path):
    link = photos / "link.jpg"
    link.symlink_to("a/IMG_1.jpg")
    place = run([seen(link, "cat")], tmp_path / "moves")[0]
    assert place.how == "left" and "symbolic link" in (place.reason or "") and link.is_symlink()
    place = run([seen(link, "cat")], tmp_path / "copies", move=False)[0]
    assert place.to is not None and not place.to.is_symlink()
    assert place.to.read_bytes() == (photos / "a/IMG_1.jpg").read_bytes()
    # A folder that is a link leads to files like any others.
    (tmp_path / "way").symlink_to(photos)
    assert run([seen(tmp_path / "way/b/IMG_1.jpg", "cat")], tmp_path / "moves")[0].how == "moved"


def test_sorting_a_folder_into_itself_and_again(photos: Path):
    before = contents(photos)
    run(predictions(photos), photos)
    assert contents(photos) == before
    after = files(photos)
    by_folder = [seen(photos / path, path.parts[0]) for path in after]
    placed = run(by_folder, photos)
    assert {place.how for place in placed} == {"already there"}
    assert files(photos) == after
    copied = run(by_folder, photos, move=False)
    assert {place.how for place in copied} == {"already there"} and files(photos) == after


def test_a_picture_that_is_named_twice_is_moved_once(photos: Path, tmp_path: Path):
    path = photos / "a/IMG_1.jpg"
    other = photos / "b/../a/IMG_1.jpg"
    before = contents(photos)
    placed = run([seen(path, "cat"), seen(other, "dog"), seen(path, "cat")], tmp_path / "out")
    assert [place.how for place in placed] == ["moved", "left", "left"]
    assert contents(photos, tmp_path / "out") == before


def test_long_names_are_shortened_to_get_a_number(tmp_path: Path):
    name = "가" * 83 + ".jpeg"  # 254 bytes
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(folder)
    found = [seen(tmp_path / folder / name, "cat") for folder in "ab"]
    placed = run(found, tmp_path / "out")
    assert [place.how for place in placed] == ["moved", "moved"]
    assert placed[1].to is not None and placed[1].to.name.endswith("가 (2).jpeg")


@pytest.mark.parametrize("move", [True, False])
def test_a_dry_run_tells_exactly_what_is_done_then_and_touches_nothing(
    photos: Path, tmp_path: Path, move: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sort, "_BATCH", 3)
    out = photos / "out"
    (out / "cat").mkdir(parents=True)
    (out / "dog").write_text("a file where a folder should be")
    shutil.copy2(photos / "a/IMG_1.jpg", out / "cat")
    found = predictions(photos)
    # The name of one that goes away is free for the next.
    found += [seen(out / "cat/IMG_1.jpg", "강아지"), seen(photos / "b/IMG_1.jpg", "cat")]
    found += found[:2]
    before = files(tmp_path), sorted(tmp_path.rglob("*"))
    told = run(found, out, move=move, dry_run=True)
    assert (files(tmp_path), sorted(tmp_path.rglob("*"))) == before
    assert told == run(found, out, move=move)
    assert {"left", "moved" if move else "copied"} <= {place.how for place in told}
    assert not run([], tmp_path / "new", dry_run=True) and not (tmp_path / "new").exists()


def test_what_sorting_reads_of_a_prediction_is_there():
    from mmfm.tasks import classify

    ours, theirs = fields(Prediction), fields(classify.Prediction)
    assert {part.name for part in ours} <= {part.name for part in theirs}


def test_importing_it_brings_no_torch():
    code = "import sys, mmfm.tasks.sort; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_any_number_of_predictions_streams(photos: Path, tmp_path: Path):
    taken = 0

    def source() -> Iterator[Prediction]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield Prediction(f"{number}", error="unreadable")

    stream = sort_pictures(source(), tmp_path / "out", move=True)
    assert next(stream).path == "0" and taken <= 32
    assert len(list(stream)) == 999


# --- label folders --------------------------------------------------------------------------------


@given(st.text())
@example("../../etc/passwd")
@example("AUX.tar.gz")
@example("com¹")
@example(" . . ")
@example("\udcff")
@example("강" * 200)
@example("é" * 101)
@example("👨‍👩‍👧‍👦" * 30)
def test_every_label_makes_a_safe_folder_name(label: str):
    name = folder_name(label)
    assert name and len(name.encode()) <= 200
    assert name == unicodedata.normalize("NFC", name)
    assert name.strip(" .") == name == name.strip()
    assert not set(name) & set('/\\:*?"<>|')
    assert all(unicodedata.category(character) not in ("Cc", "Cs") for character in name)
    stem = name.split(".")[0].strip().upper()
    assert stem not in ("CON", "PRN", "AUX", "NUL") and not (
        stem[:3] in ("COM", "LPT") and len(stem) == 4 and stem[3] in "0123456789¹²³"
    )
    assert folder_name(name) == name


@given(st.lists(st.one_of(st.text(max_size=4), st.sampled_from([NONE, "a", "A", "a (2)", "a/b"]))))
def test_no_two_labels_share_a_folder_in_whatever_order_they_come(labels: list[str]):
    def named(order: list[str]) -> dict[str, str]:
        folders = sort._Folders()
        return {label: folders.of(label, labels) for label in order}

    forth = named(labels)
    assert forth == named(labels[::-1])
    keys = [unicodedata.normalize("NFC", name.casefold()) for name in forth.values()]
    assert len(set(keys)) == len(forth) and NONE not in keys


@pytest.mark.parametrize("label", ["강아지", "🐶 dog", "golden retriever", "New York, N.Y", "(x)"])
def test_usual_labels_stay_as_they_are(label: str):
    assert folder_name(label) == label
    assert folder_name(unicodedata.normalize("NFD", label)) == label


def test_a_label_that_is_called_like_a_journal_hinders_nothing(photos: Path, tmp_path: Path):
    label = "mmfm-sorted-1.jsonl"
    run([seen(photos / "a/IMG_1.jpg", label)], tmp_path / "out")
    run([seen(photos / "b/IMG_1.jpg", label)], tmp_path / "out")
    assert all(path.is_file() for path in journals(tmp_path / "out"))
    assert [u.how for u in undo(journals(tmp_path / "out")[-1])] == ["moved back"]


def test_labels_that_look_alike_as_folders_are_told_apart(photos: Path, tmp_path: Path):
    paths = [photos / "a/IMG_1.jpg", photos / "b/IMG_1.jpg", photos / "c/IMG_1.jpg"]
    labels = ["a/b", "a:b", "a-b"]
    found = [
        Prediction(str(path), label, (label,), scores=dict.fromkeys(labels, 0.3))
        for path, label in zip(paths, labels, strict=True)
    ]
    placed = run(found, tmp_path / "out")
    assert [p.to.parent.name for p in placed if p.to] == ["a-b (2)", "a-b (3)", "a-b"]


def test_a_label_has_one_folder_whichever_pictures_come_first(photos: Path, tmp_path: Path):
    """A sort that goes on sees other pictures first, and of their scores the best alone."""
    paths = [photos / "a/IMG_1.jpg", photos / "b/IMG_1.jpg", photos / "c/IMG_1.jpg"]
    labels = ["a/b", "a:b", "a-b"]
    found = [
        Prediction(str(path), label, (label,), scores={label: 0.9})
        for path, label in zip(paths, labels, strict=True)
    ]
    placed = [run([one], tmp_path / "out", labels=labels)[0] for one in reversed(found)]
    assert [p.to.parent.name for p in placed if p.to] == ["a-b", "a-b (3)", "a-b (2)"]


# --- undoing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("move", [True, False])
def test_undoing_brings_back_what_was(photos: Path, tmp_path: Path, move: bool):
    before, times = files(photos), {p: p.stat().st_mtime_ns for p in photos.rglob("*.jpg")}
    out = tmp_path / "out"
    placed = run(predictions(photos), out, move=move)
    undone = list(undo(journals(out)[0]))
    assert len(undone) == sum(place.how in ("moved", "copied") for place in placed)
    assert {u.how for u in undone} == {"moved back" if move else "removed"}
    assert files(photos) == before and not files(out)
    assert {p: p.stat().st_mtime_ns for p in times} == times
    assert [path.name for path in out.iterdir() if path.is_dir()] == []
    with pytest.raises(BadRun, match="undone already"):
        undo(journals(out)[0])


def test_an_out_folder_that_was_renamed_can_be_undone(photos: Path, tmp_path: Path):
    before, out = files(photos), tmp_path / "out"
    run(predictions(photos), out)
    out.rename(tmp_path / "renamed")
    assert {u.how for u in undo(journals(tmp_path / "renamed")[0])} == {"moved back"}
    assert files(photos) == before


def test_only_unchanged_copies_whose_original_is_there_are_removed(photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    names = ["a/IMG_1.jpg", "b/IMG_1.jpg", "c/IMG_1.jpg", "a/-rf.jpg", "c/twin.jpg"]
    placed = run([seen(photos / name, "cat") for name in names], out, move=False)
    edited, orphan, other, linked, _ = [place.to for place in placed if place.to]
    stamp = edited.stat().st_mtime_ns
    data = edited.read_bytes()
    edited.write_bytes(data[:-1] + b"!")  # the same size and time
    os.utime(edited, ns=(stamp, stamp))
    (photos / "b/IMG_1.jpg").unlink()
    (photos / "c/IMG_1.jpg").write_bytes(b"another picture")
    (photos / "a/-rf.jpg").unlink()
    (photos / "a/-rf.jpg").symlink_to(linked)
    (out / "cat" / "mine.txt").write_text("a note")
    undone = {u.to: u for u in undo(journals(out)[0])}
    assert [undone[path].how for path in (edited, orphan, other, linked)] == ["left"] * 4
    assert undone[edited].reason == "has changed since"
    assert all("only one" in (undone[path].reason or "") for path in (orphan, other, linked))
    assert sorted(files(out)) == sorted(
        [Path("cat/mine.txt"), *(p.relative_to(out) for p in (edited, orphan, other, linked))]
    )
    # What hindered being mended, the rest can be undone.
    shutil.copy2(orphan, photos / "b/IMG_1.jpg")
    assert [u.how for u in undo(journals(out)[0])] == ["left", "left", "removed", "left"]


def test_only_unchanged_files_go_back_and_only_to_free_places(photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    names = ["a/IMG_1.jpg", "b/IMG_1.jpg", "c/IMG_1.jpg", "a/-rf.jpg"]
    placed = run([seen(photos / name, "cat") for name in names], out)
    edited, hindered, gone, by_hand = [place.to for place in placed if place.to]
    edited.write_bytes(b"edited")
    (photos / "b/IMG_1.jpg").write_bytes(b"a new picture of that name")
    gone.unlink()
    by_hand.rename(photos / "a/-rf.jpg")
    undone = {u.to: u for u in undo(journals(out)[0])}
    assert undone[edited].reason == "has changed since" and edited.read_bytes() == b"edited"
    assert undone[hindered].reason == "its old place is taken" and hindered.exists()
    assert "no longer" in (undone[gone].reason or "")
    assert undone[by_hand] == Undone(photos / "a/-rf.jpg", by_hand, "moved back")
    assert (photos / "b/IMG_1.jpg").read_bytes() == b"a new picture of that name"
    (photos / "b/IMG_1.jpg").unlink()
    again = {u.to: u.how for u in undo(journals(out)[0])}
    assert again == {edited: "left", hindered: "moved back", gone: "left", by_hand: "moved back"}


def test_sorts_that_are_undone_in_the_wrong_order_leave_nothing_behind(photos: Path):
    """The second one brings a picture to where it had been, and so does the first undoing."""
    before, out = files(photos), photos / "sorted"
    (place,) = run([seen(photos / "a/IMG_1.jpg", "cat")], out)
    assert place.to is not None
    run([seen(place.to, "a")], photos)
    (first,), (second,) = journals(out), journals(photos)
    for path in (first, second, first):
        assert [u.how for u in undo(path)] == ["moved back"]
    first.unlink()
    second.unlink()
    assert files(photos) == before
    assert contents(photos) == Counter(before.values())


def test_an_interrupted_sort_goes_on_by_the_same_labels_only(photos: Path, tmp_path: Path):
    out, found = tmp_path / "out", predictions(photos)

    def go(asked: str | None, **wishes: bool) -> list[Placed]:
        return list(sort_pictures(found, out, move=True, asked=asked, **wishes))

    stopped = sort_pictures(found, out, move=True, asked="--labels cat,dog")
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    for dry in (True, False):
        with pytest.raises(BadRun, match="sort was by --labels cat,dog, and this one is by --la"):
            go("--labels cat", resume=True, dry_run=dry)
    go("--labels cat,dog", resume=True)
    assert not files(photos)


def test_a_copy_stays_when_its_original_was_edited_and_keeps_its_size_and_time(
    photos: Path, tmp_path: Path
):
    original, out = photos / "a/IMG_1.jpg", tmp_path / "out"
    run([seen(original, "cat")], out, move=False)
    data, found = original.read_bytes(), original.stat()
    original.write_bytes(data[:-1] + b"!")
    os.utime(original, ns=(found.st_atime_ns, found.st_mtime_ns))
    undone = list(undo(journals(out)[0]))
    assert "only one" in (undone[0].reason or "") and undone[0].to.read_bytes() == data
    # A new time alone is no change.
    original.write_bytes(data)
    assert [u.how for u in undo(journals(out)[0])] == ["removed"]


def test_what_moved_to_where_another_came_from_goes_back_before_it(photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    (out / "cat").mkdir(parents=True)
    shutil.copy2(photos / "b/IMG_1.jpg", out / "cat")
    before = files(tmp_path)
    placed = run([seen(out / "cat/IMG_1.jpg", "dog"), seen(photos / "a/IMG_1.jpg", "cat")], out)
    assert [p.to for p in placed] == [out / "dog/IMG_1.jpg", out / "cat/IMG_1.jpg"]
    assert [u.how for u in undo(journals(out)[0])] == ["moved back"] * 2
    assert files(tmp_path) == before


def test_folders_that_were_cleared_away_are_made_again_but_not_on_a_missing_disk(
    photos: Path, tmp_path: Path
):
    before, out = files(photos), tmp_path / "out"
    run(predictions(photos), out)
    shutil.rmtree(photos / "a")
    shutil.rmtree(photos / "b")
    shutil.rmtree(photos / "c")
    said = list(undo(journals(out)[0]))
    assert {u.how for u in said} == {"left"} and "mount" in (said[0].reason or "")
    assert not files(photos)
    (photos / "a").mkdir()
    assert {u.how for u in undo(journals(out)[0])} == {"moved back"}
    assert files(photos) == before


def test_names_that_are_no_utf8_survive_the_journal(photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    path = next(photos / path for path in files(photos) if "caf" in path.name)
    run([seen(path, "cat")], out)
    journal = journals(out)[0]
    journal.read_bytes().decode("utf-8")
    assert rows(journal)[2]["from"] == str(path)
    assert next(undo(journal)).path == path


def test_the_journal_says_who_wrote_it_and_what(photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    run([seen(photos / "a/IMG_1.jpg", "cat")], out, move=False)
    header, folder, plan, done, end = rows(journals(out)[0])
    assert header["version"] == 1 and header["move"] is False and header["out"] == str(out)
    assert header["command"] == "mmfm classify --copy-to"
    assert folder == {"folder": "cat"} and end == {"end": "sorted"}
    found = (photos / "a/IMG_1.jpg").stat()
    assert plan["from"] == str(photos / "a/IMG_1.jpg") and plan["to"] == "cat/IMG_1.jpg"
    assert (plan["size"], plan["mtime_ns"]) == (found.st_size, found.st_mtime_ns)
    assert done == {"done": 0, "sha256": digest(photos / "a/IMG_1.jpg")}


def test_what_is_no_journal_is_refused(photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    run(predictions(photos), out)
    journal = journals(out)[0]
    whole = journal.read_bytes()
    with pytest.raises(NotHere, match="no such journal"):
        undo(tmp_path / "x.jsonl")
    with pytest.raises(BadInput, match=journal.name):
        undo(out)
    for wrong in (b"", b"hello\n", b"[1]\n", b"\xff\xd8\xff" * 100):
        (tmp_path / "x.jsonl").write_bytes(wrong)
        with pytest.raises(BadData, match="no journal of mmfm"):
            undo(tmp_path / "x.jsonl")
    journal.write_bytes(whole.replace(b'"version": 1', b'"version": 2'))
    with pytest.raises(BadData, match="version 2"):
        undo(journal)
    lines = whole.splitlines(keepends=True)
    for damaged in (
        [*lines[:5], b"garbage\n", *lines[6:]],
        [*lines[:5], *lines[6:]],
        [*lines[:-1], b'{"done": 999}\n', lines[-1]],
        [*lines[:-1], b'{"what": 1}\n', lines[-1]],
    ):
        journal.write_bytes(b"".join(damaged))
        after = contents(photos, out)
        with pytest.raises(BadData, match="nothing was changed"):
            list(undo(journal))
        assert contents(photos, out) == after and not files(photos)
    (tmp_path / "copy.jsonl").write_bytes(whole)
    journal.write_bytes(whole)
    shutil.copy(journal, tmp_path)
    with pytest.raises(BadRun, match="is a copy"):
        undo(tmp_path / journal.name)
    journal.write_bytes(whole + b'{"end": "und')  # a torn line
    assert {u.how for u in undo(journal)} == {"moved back"}


# --- where it cannot be done ----------------------------------------------------------------------


def test_an_out_folder_that_cannot_be_is_refused_at_once(photos: Path, tmp_path: Path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BadInput, match=f"{tmp_path / 'file'} is a file"):
            sort_pictures([], out, move=True)
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o555)
        with pytest.raises(BadInput, match="cannot be written"):
            sort_pictures([], tmp_path / "locked" / "out", move=True)


def test_two_sorts_into_one_folder_do_not_meet(photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    first = sort_pictures(predictions(photos), out, move=True)
    next(first)
    with pytest.raises(InUse, match="another process"):
        list(undo(journals(out)[0]))
    for resume in (False, True):  # it is at work, and not interrupted
        with pytest.raises(InUse, match="another process"):
            check_out(out, move=True, resume=resume)
    with pytest.raises(InUse, match="another process"):
        run(predictions(photos), out, resume=True)
    first.close()  # type: ignore[attr-defined]
    run(predictions(photos), out, resume=True)


@pytest.mark.parametrize("move", [True, False])
def test_a_full_disk_loses_nothing_and_can_be_gone_on_with(
    photos: Path, tmp_path: Path, move: bool
):
    """A file system of 200 kB of memory is filled for real, where one may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        big = tmp_path / "big"
        big.mkdir()
        for number in range(10):
            (big / f"{number}.jpg").write_bytes(os.urandom(40_000))
        before, found = contents(big), predictions(big)
        with pytest.raises(OutOfSpace, match="--resume"):
            run(found, disk / "out", move=move)
        if move:
            assert contents(big, disk) == before
        else:
            assert contents(big) == before
        assert not list(disk.rglob("*.part"))
        with pytest.raises(BadRun, match="mmfm undo"):
            run(found, disk / "out", move=move)
        subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
        run(found, disk / "out", move=move, resume=True)
        assert contents(disk / "out") == before
        list(undo(journals(disk / "out")[0]))
        assert contents(big) == before and not files(disk / "out")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_file_that_cannot_be_let_go_is_not_doubled(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
):
    def refused(whole: Callable[..., None]) -> Callable[..., None]:
        def refuse(path: Path, *rest: object, **more: object) -> None:
            if str(photos) in str(path):
                raise OSError(number, os.strerror(number))
            whole(path, *rest, **more)

        return refuse

    before = files(photos)
    for out in (tmp_path / "out", elsewhere()):
        with monkeypatch.context() as patch:
            for call in ("unlink", "rename"):
                patch.setattr(os, call, refused(getattr(os, call)))
            placed = run(predictions(photos), out)
        assert {(p.how, p.reason) for p in placed} == {("left", os.strerror(number))}
        assert files(photos) == before and not files(out)
        shutil.rmtree(out)


def test_a_name_taken_by_another_in_that_very_moment_is_not_overwritten(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    link = os.link
    foreign = tmp_path / "out/cat/IMG_1.jpg"

    def late(source: Path, goal: Path, *rest: object, **more: object) -> None:
        if Path(goal) == foreign and not foreign.exists():
            foreign.write_bytes(b"somebody else's")
        link(source, goal)

    monkeypatch.setattr(os, "link", late)
    place = run([seen(photos / "a/IMG_1.jpg", "cat")], tmp_path / "out")[0]
    assert place.to == foreign.with_name("IMG_1 (2).jpg") and place.to.exists()
    assert foreign.read_bytes() == b"somebody else's"


def test_a_place_that_no_link_reaches_though_it_seems_one_disk_gets_a_copy(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    link, before, out = os.link, files(photos), tmp_path / "out"

    def bound(source: Path, goal: Path, *rest: object, **more: object) -> None:
        if Path(source).parent != Path(goal).parent:  # as between two mounts of one disk
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(source, goal)

    monkeypatch.setattr(os, "link", bound)
    assert {place.how for place in run(predictions(photos), out)} == {"moved"}
    assert contents(out) == Counter(before.values()) and not files(photos)
    assert {undone.how for undone in undo(journals(out)[0])} == {"moved back"}
    assert files(photos) == before and not files(out)


@pytest.mark.parametrize("when", ["it is copied", "its copy has its name"])
def test_a_file_that_is_edited_while_it_is_moved_stays_with_what_was_written(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
):
    link, copy, source, out = os.link, journal._copy, photos / "a/IMG_1.jpg", tmp_path / "out"

    def edit() -> None:
        editor.write(b"edited")
        editor.truncate()

    def copied(file: Path, part: Path) -> str:
        sha256 = copy(file, part)
        if when == "it is copied":
            edit()
        return sha256

    def named(file: Path, goal: Path, *rest: object, **more: object) -> None:
        if Path(file) == source:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(file, goal)
        if when == "its copy has its name" and Path(file).suffix == ".part":
            edit()

    monkeypatch.setattr(os, "link", named)
    monkeypatch.setattr(journal, "_copy", copied)
    with source.open("r+b", buffering=0) as editor:
        place = run([seen(source, "cat")], out)[0]
    assert (place.how, place.reason) == ("left", "changed while it was moved")
    assert source.read_bytes() == b"edited" and not files(out)


def test_what_takes_the_old_name_of_a_file_that_is_held_changes_nothing(
    photos: Path, monkeypatch: pytest.MonkeyPatch
):
    link, source, out = os.link, photos / "a/IMG_1.jpg", elsewhere()
    before, data, next_one = files(photos), source.read_bytes(), b"the camera's next picture"

    def late(file: Path, goal: Path, *rest: object, **more: object) -> None:
        if Path(file).suffix == ".part" and not source.exists():
            source.write_bytes(next_one)
            if not whole:
                raise OSError(errno.EIO, "Input/output error")
        link(file, goal)

    monkeypatch.setattr(os, "link", late)
    whole = False
    place = run([seen(source, "cat")], out)[0]
    assert (place.how, place.reason) == ("left", "Input/output error") and not files(out)
    second = source.with_name("IMG_1 (2).jpg")
    assert (source.read_bytes(), second.read_bytes()) == (next_one, data)
    assert contents(photos) == Counter(before.values()) + Counter([next_one])

    second.replace(source)
    whole = True
    place = run([seen(source, "cat")], out)[0]
    assert place.how == "moved" and place.to is not None and place.to.read_bytes() == data
    assert source.read_bytes() == next_one
    assert contents(photos, out) == Counter(before.values()) + Counter([next_one])
    shutil.rmtree(out)


def test_what_is_held_when_a_disk_fails_is_given_back_or_moved_by_the_next(
    photos: Path, monkeypatch: pytest.MonkeyPatch
):
    unlink, before, out = os.unlink, files(photos), elsewhere()

    def fail(path: Path, *rest: object, **more: object) -> None:
        if Path(path).suffix == ".held":
            raise OSError(errno.EIO, "Input/output error")
        unlink(path)

    wanted = predictions(photos)
    with monkeypatch.context() as patch, pytest.raises(BadRun, match="nothing is lost"):
        patch.setattr(os, "unlink", fail)
        run(wanted, out)
    assert contents(photos, out) >= Counter(before.values())
    run(wanted, out, resume=True)
    assert contents(out) == Counter(before.values()) and not files(photos)
    list(undo(journals(out)[0]))
    assert files(photos) == before and not files(out)
    shutil.rmtree(out)


def test_two_moves_of_one_folder_give_each_picture_one_place(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    link, before = os.link, files(photos)
    first, second = tmp_path / "first", tmp_path / "second"

    def overtaken(file: Path, goal: Path, *rest: object, **more: object) -> None:
        link(file, goal)
        if second in Path(goal).parents and not first.exists():
            run(predictions(photos), first)

    monkeypatch.setattr(os, "link", overtaken)
    placed = run(predictions(photos), second)
    assert {place.how for place in placed} == {"left"}
    assert placed[0].reason == "was taken away while it was moved"
    assert contents(first) == Counter(before.values()) and not files(photos) | files(second)
    list(undo(journals(first)[0]))
    assert files(photos) == before


class Turns:
    """Lets two threads do their steps in one order; who has ended is passed over."""

    def __init__(self, order: Iterable[Path]) -> None:
        self.order = list(order)
        self.mine = threading.local()
        self.changed = threading.Condition()

    def stepped(self, whole: Callable[..., object]) -> Callable[..., object]:
        def call(*values: Any, **wishes: Any) -> object:
            if not any(str(value).endswith(("IMG_1.jpg", ".held")) for value in values):
                return whole(*values, **wishes)
            with self.changed:
                self.changed.wait_for(lambda: not self.order or self.order[0] == self.mine.out)
                del self.order[:1]
                try:
                    return whole(*values, **wishes)
                finally:
                    self.changed.notify_all()

        return call

    def run(self, picture: Path, out: Path) -> list[Placed]:
        self.mine.out = out
        try:
            return run([seen(picture, "cat")], out)
        finally:
            with self.changed:
                self.order = [each for each in self.order if each != out]
                self.changed.notify_all()


def test_of_two_moves_of_one_picture_one_has_it_however_their_steps_fall(
    photos: Path, tmp_path: Path
):
    picture, outs = photos / "a/IMG_1.jpg", [tmp_path / "first", tmp_path / "second"]
    before, reasons = files(photos), Counter[str | None]()
    for places in combinations(range(10), 5):
        turns = Turns(outs[place in places] for place in range(10))
        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as both:
            patch.setattr(os, "fsync", lambda handle: None)
            for at, name in ((os, "link"), (os, "unlink"), (journal, "look")):
                patch.setattr(at, name, turns.stepped(getattr(at, name)))
            (one,), (other,) = both.map(lambda out: turns.run(picture, out), outs)  # noqa: B023
        assert sorted([one.how, other.how]) == ["left", "moved"], places
        reasons[one.reason or other.reason] += 1
        assert contents(photos, *outs) == Counter(before.values())
        for out in outs:
            for path in journals(out):
                list(undo(path))
            shutil.rmtree(out)
        assert files(photos) == before
    assert reasons["was taken away while it was moved"] > 200


def test_of_two_moves_to_other_disks_one_has_the_picture_however_their_steps_fall(photos: Path):
    picture, outs, before = photos / "a/IMG_1.jpg", [elsewhere(), elsewhere()], files(photos)
    for places in combinations(range(8), 4):
        turns = Turns(outs[place in places] for place in range(8))
        both_copy_first = turns.order[0] != turns.order[1]
        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as both:
            patch.setattr(os, "fsync", lambda handle: None)
            for at, name in ((journal, "_copy"), (os, "rename"), (os, "link"), (os, "unlink")):
                patch.setattr(at, name, turns.stepped(getattr(at, name)))
            (one,), (other,) = both.map(lambda out: turns.run(picture, out), outs)  # noqa: B023
        assert sorted([one.how, other.how]) == ["left", "moved"], places
        if both_copy_first:
            assert (one.reason or other.reason) == "was taken away while it was moved"
        assert contents(photos, *outs) == Counter(before.values()), places
        for out in outs:
            for path in journals(out):
                list(undo(path))
            shutil.rmtree(out)
        assert files(photos) == before


def test_on_a_disk_without_links_what_takes_the_old_place_changes_nothing(
    photos: Path, tmp_path: Path
):
    source, replace = photos / "a/IMG_1.jpg", os.replace
    data = source.read_bytes()
    with going("move without links", tmp_path) as (_, out), pytest.MonkeyPatch.context() as patch:

        def late(file: Path, goal: Path) -> None:
            replace(file, goal)
            if Path(file) == source:
                source.write_bytes(b"the camera's next picture of that name")

        patch.setattr(os, "replace", late)
        place = run([seen(source, "cat")], out)[0]
    assert place.how == "moved" and place.to is not None and place.to.read_bytes() == data
    assert source.read_bytes() == b"the camera's next picture of that name"


# --- disks that do not answer ---------------------------------------------------------------------


@contextmanager
def answers_lost(call: str, *folders: Path) -> Iterator[None]:
    """A call does its work, and its answer is lost, as on the way from a network disk.

    What lies in the folders cannot even be looked at after that.
    """
    whole, stat = getattr(os, call), os.stat
    with pytest.MonkeyPatch.context() as patch:

        def silent(path: Any, **wishes: Any) -> os.stat_result:
            if isinstance(path, Path) and any(folder in path.parents for folder in folders):
                raise OSError(errno.EIO, "Input/output error")
            return stat(path, **wishes)

        def losing(*values: Any, **wishes: Any) -> None:
            whole(*values, **wishes)
            if not any(str(value).endswith(".jsonl") for value in values):
                patch.setattr(os, "stat", silent)
                raise OSError(errno.EIO, "Input/output error")

        patch.setattr(os, call, losing)
        yield


LOST = [
    ("move", "unlink"),
    ("move", "link"),
    ("move across", "unlink"),
    ("move across", "link"),
    ("move across", "rename"),
    ("move without links", "replace"),
    ("copy", "unlink"),
    ("copy", "link"),
    ("copy without links", "replace"),
]


@pytest.mark.parametrize(("way", "call"), LOST)
def test_what_was_done_without_an_answer_is_neither_lost_nor_doubled(
    photos: Path, tmp_path: Path, way: str, call: str
):
    before = files(photos)
    with going(way, tmp_path) as (move, out):
        with answers_lost(call):
            placed = run(predictions(photos), out, move=move)
        hows = {place.how for place in placed}
        assert hows == ({"moved"} if move else {"copied", "already there"})
        assert {place.to for place in placed} == {out / path for path in files(out)}
        # Of two equal pictures of one name there is one copy.
        assert contents(out) == Counter(before.values() if move else set(before.values()))
        assert files(photos) == ({} if move else before)
        with answers_lost(call):
            undone = list(undo(journals(out)[0]))
        assert {one.how for one in undone} == {"moved back" if move else "removed"}
        assert files(photos) == before and not files(out)


@pytest.mark.parametrize("then", ["--resume", "undo"])
@pytest.mark.parametrize(("way", "call"), [lost for lost in LOST if lost[0].startswith("move")])
def test_a_disk_that_falls_silent_ends_the_move_which_is_settled_when_it_is_back(
    photos: Path, tmp_path: Path, way: str, call: str, then: str
):
    before = files(photos)
    with going(way, tmp_path) as (_, out):
        with answers_lost(call, photos, out), pytest.raises(BadRun, match="nothing is lost"):
            run(predictions(photos), out)
        assert contents(photos, out) >= Counter(before.values())
        if then == "--resume":
            run(predictions(photos), out, resume=True)
            assert contents(out) == Counter(before.values()) and not files(photos)
        list(undo(journals(out)[0]))
        assert files(photos) == before and not files(out)


@pytest.mark.parametrize(("way", "call"), [lost for lost in LOST if lost[0].startswith("move")])
def test_a_disk_that_falls_silent_ends_the_undoing_which_is_finished_when_it_is_back(
    photos: Path, tmp_path: Path, way: str, call: str
):
    before = files(photos)
    with going(way, tmp_path) as (_, out):
        run(predictions(photos), out)
        with answers_lost(call, photos, out), pytest.raises(BadRun, match="nothing is lost"):
            list(undo(journals(out)[0]))
        assert contents(photos, out) >= Counter(before.values())
        list(undo(journals(out)[0]))
        assert files(photos) == before and not files(out)


# --- what comes in between ------------------------------------------------------------------------


def elsewhere() -> Path:
    """A folder on another file system than the temporary one."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev:
        pytest.skip("there is no second file system here")
    return Path(tempfile.mkdtemp(dir=memory))


WAYS = ["move", "move across", "move without links", "copy", "copy without links"]
QUICK = [way if "links" not in way else pytest.param(way, marks=pytest.mark.slow) for way in WAYS]


@pytest.fixture(scope="module")
def small() -> Iterator[ProcessPoolExecutor]:
    """A process with little in it, so that it can be forked for every moment."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@contextmanager
def going(way: str, tmp_path: Path) -> Iterator[tuple[bool, Path]]:
    """One of the ways in which files are placed: (whether they move, where to)."""
    out = elsewhere() if "across" in way else tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sort, "_BATCH", 2)
        # A kill takes nothing from the disk's own memory, and waiting for the disk takes minutes.
        patch.setattr(os, "fsync", lambda handle: None)
        if "links" in way:

            def no_link(*paths: object, **wishes: object) -> None:
                raise OSError(errno.EPERM, "Operation not permitted")  # as FAT answers

            patch.setattr(os, "link", no_link)
        yield way.startswith("move"), out
    if "across" in way:
        shutil.rmtree(out)


STEPS = ["link", "unlink", "rename", "replace", "mkdir", "rmdir", "fsync", "write", "ftruncate"]
STEPS += ["sendfile", "utime", "chmod", "close"]


def killed_at(moment: int, work: Callable[[], object]) -> bool:
    """Do work in a process that is killed at that moment; False: it was done before.

    A moment lies before each call to the system that changes something, and in the midst of each
    that writes.
    """
    child = os.fork()
    if child == 0:
        moments = 0

        def pass_by(half: Callable[[], object] | None = None) -> None:
            nonlocal moments
            if moments == moment:
                if half is not None:
                    half()
                os.kill(os.getpid(), signal.SIGKILL)
            moments += 1

        def watched(name: str) -> Callable[..., object]:
            whole = getattr(os, name)

            def call(*values: object, **wishes: object) -> object:
                pass_by()
                if name == "write":
                    file, data = values
                    pass_by(lambda: whole(file, data[: len(data) // 2]))  # type: ignore[index]
                elif name == "sendfile":
                    to, come, at, _ = values
                    pass_by(lambda: whole(to, come, at, 100))
                return whole(*values, **wishes)

            return call

        for name in STEPS:
            setattr(os, name, watched(name))
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def few(folder: Path) -> None:
    """Three pictures of one name for one folder, and one for another."""
    for name in ("a", "b", "c"):
        (folder / name).mkdir(parents=True)
        (folder / name / "IMG.jpg").write_bytes(f"picture {name} ".encode() * 60)
        os.utime(folder / name / "IMG.jpg", ns=(10**18, 10**18 + 5))
    (folder / "a/x.jpg").write_bytes(b"picture a " * 60)


def few_of(folder: Path) -> list[Prediction]:
    """Those of them that still are there."""
    return [
        seen(folder / path, "cat" if path.name == "IMG.jpg" else "dog") for path in files(folder)
    ]


def fresh(folder: Path, out: Path) -> None:
    for path in (folder, out):
        with suppress(FileNotFoundError):
            shutil.rmtree(path)


def whatever_moment(
    work: Callable[[], object], begin: Callable[[], None], then: Callable[[], None]
) -> int:
    """Kill the work at its first moment, its second, and so on; each time look what `then`."""
    for moment in range(1000):
        begin()
        if not killed_at(moment, work):
            return moment
        then()
    raise AssertionError("it does not end")


def killed_and_gone_on_with(way: str, tmp_path: Path) -> int:
    folder, before = tmp_path / "photos", dict[Path, bytes]()
    with going(way, tmp_path) as (move, out):

        def begin() -> None:
            fresh(folder, out)
            few(folder)
            before.update(files(folder))

        def work() -> None:
            run(few_of(folder), out, move=move)

        def then() -> None:
            nothing_is_lost(folder, out, before, move)
            run(few_of(folder), out, move=move, resume=True)
            assert files(folder) == ({} if move else before)
            assert contents(out) == Counter(before.values()) and not list(out.rglob("*.part"))
            for journal in journals(out):
                list(undo(journal))
            assert files(folder) == before and not files(out)

        return whatever_moment(work, begin, then)


def killed_and_undone(way: str, tmp_path: Path) -> int:
    folder, before = tmp_path / "photos", dict[Path, bytes]()
    with going(way, tmp_path) as (move, out):

        def begin() -> None:
            fresh(folder, out)
            few(folder)
            before.update(files(folder))

        def work() -> None:
            run(few_of(folder), out, move=move)

        def then() -> None:
            for journal in journals(out):
                if not has_ended(journal):
                    is_refused_with_both_ways_on(out, move)
                list(undo(journal))
            assert files(folder) == before
            if out.exists():
                assert not files(out) and not [path for path in out.iterdir() if path.is_dir()]

        return whatever_moment(work, begin, then)


def undoing_killed(way: str, tmp_path: Path) -> int:
    folder, before = tmp_path / "photos", dict[Path, bytes]()
    with going(way, tmp_path) as (move, out):

        def begin() -> None:
            fresh(folder, out)
            few(folder)
            before.update(files(folder))
            run(few_of(folder), out, move=move)

        def work() -> None:
            list(undo(journals(out)[0]))

        def then() -> None:
            nothing_is_lost(folder, out, before, move)
            with suppress(BadRun):  # it had just been done
                list(undo(journals(out)[0]))
            assert files(folder) == before and not files(out)
            assert not [path for path in out.iterdir() if path.is_dir()]

        return whatever_moment(work, begin, then)


def going_on_killed(way: str, tmp_path: Path) -> int:
    folder, before = tmp_path / "photos", dict[Path, bytes]()
    with going(way, tmp_path) as (move, out):

        def begin() -> None:
            fresh(folder, out)
            few(folder)
            before.update(files(folder))
            killed_at(25, lambda: run(few_of(folder), out, move=move))

        def work() -> None:
            run(few_of(folder), out, move=move, resume=True)

        def then() -> None:
            nothing_is_lost(folder, out, before, move)
            work()
            assert files(folder) == ({} if move else before)
            assert contents(out) == Counter(before.values())

        return whatever_moment(work, begin, then)


def nothing_is_lost(folder: Path, out: Path, before: dict[Path, bytes], move: bool) -> None:
    """Right after a kill every content is there, whole, and of copies the originals are."""
    if move:
        there = contents(folder, out) if out.exists() else contents(folder)
        assert all(there[data] >= 1 for data in before.values())
    else:
        assert files(folder) == before


def has_ended(journal: Path) -> bool:
    return journal.read_bytes().endswith(b'{"end": "sorted"}\n')


def is_refused_with_both_ways_on(out: Path, move: bool) -> None:
    """Without --resume an interrupted sort is in the way, and the line names both ways on."""
    try:
        check_out(out, move=move, resume=False)
    except BadRun as error:
        assert "--resume, or take it back with mmfm undo" in str(error)
    else:
        raise AssertionError("an interrupted sort was not noticed")


@pytest.mark.parametrize("way", QUICK)
def test_a_kill_at_any_moment_can_be_gone_on_from(
    tmp_path: Path, way: str, small: ProcessPoolExecutor
):
    assert small.submit(killed_and_gone_on_with, way, tmp_path).result() > 40


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_kill_at_any_moment_can_be_undone(tmp_path: Path, way: str, small: ProcessPoolExecutor):
    assert small.submit(killed_and_undone, way, tmp_path).result() > 40


@pytest.mark.parametrize("way", QUICK)
def test_an_undoing_killed_at_any_moment_is_finished_by_the_next(
    tmp_path: Path, way: str, small: ProcessPoolExecutor
):
    assert small.submit(undoing_killed, way, tmp_path).result() > 15


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_going_on_killed_at_any_moment_can_be_gone_on_with(
    tmp_path: Path, way: str, small: ProcessPoolExecutor
):
    assert small.submit(going_on_killed, way, tmp_path).result() > 15
