"""What an unfinished run has seen is known to the next, and nothing else is."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mmfm.errors import BadData, InUse
from mmfm.unfinished import Stamp, Unfinished


def files(folder: Path, count: int = 3) -> list[str]:
    paths = [folder / f"사진 {number}.jpg" for number in range(count)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return [str(path) for path in paths]


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, 8), dtype=np.float32)


def keep(run: Unfinished, paths: list[str], vectors: np.ndarray) -> None:
    stamps = [Stamp.of(path) for path in paths]
    seen = zip(paths, stamps, vectors, strict=True)
    run.keep([(path, stamp, row) for path, stamp, row in seen if stamp is not None], "int8")


def test_what_was_seen_is_known_to_the_next_run(tmp_path: Path):
    paths, vectors = files(tmp_path), rows(3)
    first = Unfinished(tmp_path / "runs", ["model", "here"])
    assert first.count(paths) == 0 and first.engine is None
    keep(first, paths[:2], vectors[:2])
    first.close()
    again = Unfinished(tmp_path / "runs", ["model", "here"])
    assert again.count(paths) == 2 and again.engine == "int8"
    known = again.rows([paths[2], paths[1], paths[0]])
    assert known[0] is None
    np.testing.assert_array_equal(known[1], vectors[1])
    np.testing.assert_array_equal(known[2], vectors[0])


def test_another_model_or_other_pictures_are_another_run(tmp_path: Path):
    paths = files(tmp_path)
    keep(Unfinished(tmp_path / "runs", ["model", "here"]), paths, rows(3))
    assert Unfinished(tmp_path / "runs", ["model", "there"]).rows(paths) == [None] * 3
    assert Unfinished(tmp_path / "runs", ["modelhere"]).rows(paths) == [None] * 3


def test_a_file_that_changed_or_went_is_not_known(tmp_path: Path):
    paths = files(tmp_path)
    run = Unfinished(tmp_path / "runs", ["m"])
    keep(run, paths, rows(3))
    Path(paths[0]).write_bytes(b"longer than it was before")
    os.utime(paths[1], ns=(1, 1))
    assert [row is None for row in run.rows(paths)] == [True, True, False]
    Path(paths[2]).unlink()
    assert run.rows(paths) == [None] * 3


def test_names_that_are_no_unicode_and_more_files_than_one_question_holds(tmp_path: Path):
    paths = files(tmp_path, 1200)
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.jpg")
    Path(strange).write_bytes(b"x")
    run = Unfinished(tmp_path / "runs", ["m", strange])
    vectors = rows(1201)
    keep(run, [*paths, strange], vectors)
    known = run.rows([strange, *paths])
    np.testing.assert_array_equal(known[0], vectors[1200])
    np.testing.assert_array_equal(np.stack(known[1:]), vectors[:1200])  # type: ignore[arg-type]


def test_only_the_files_that_are_asked_for_and_are_as_they_were_count(tmp_path: Path):
    paths = files(tmp_path, 4)
    run = Unfinished(tmp_path / "runs", ["m"])
    keep(run, paths, rows(4))
    assert run.count(paths) == 4 and run.count(paths[2:]) == 2
    Path(paths[2]).unlink()
    os.utime(paths[3], ns=(1, 1))
    assert run.count(paths) == 2 and run.count(paths[2:]) == 0


def test_of_two_runs_at_once_the_first_has_the_file(tmp_path: Path):
    paths = files(tmp_path)
    first, second = (Unfinished(tmp_path / "runs", ["m"]) for _ in range(2))
    keep(first, paths[:1], rows(1))
    assert first.hold() and not second.hold()
    with pytest.raises(InUse, match="another run writes there"):
        keep(second, paths, rows(3))
    second.finish()
    keep(first, paths[1:], rows(2))
    first.close()
    assert second.count(paths) == 3 and second.hold() and not first.hold()
    second.finish()
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_cut_is_kept_for_the_labels_that_it_was_made_for(tmp_path: Path):
    run = Unfinished(tmp_path / "runs", ["m"])
    assert run.cut("cats and dogs") is None
    run.keep_cut("cats and dogs", -1.25)
    run.keep_cut("ships", 0.0)
    run.close()
    again = Unfinished(tmp_path / "runs", ["m"])
    assert [again.cut(labels) for labels in ("cats and dogs", "ships", "x")] == [-1.25, 0.0, None]


def test_where_nothing_can_be_written_is_said_in_one_line(tmp_path: Path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(BadData, match="set MMFM_CACHE"):
        Unfinished(tmp_path / "runs", ["m"]).hold()


def test_a_finished_run_leaves_nothing(tmp_path: Path):
    paths = files(tmp_path)
    run = Unfinished(tmp_path / "runs", ["m"])
    keep(run, paths, rows(3))
    run.finish()
    assert list((tmp_path / "runs").iterdir()) == []
    run.finish()


def test_what_nobody_goes_on_with_is_forgotten_after_a_month(tmp_path: Path):
    paths = files(tmp_path)
    old = Unfinished(tmp_path / "runs", ["old"])
    keep(old, paths, rows(3))
    old.close()
    for age, left in ((29, True), (31, False)):
        then = time.time() - age * 86_400
        os.utime(old.file, (then, then))
        Unfinished(tmp_path / "runs", [f"new {age}"]).rows(paths)
        assert old.file.exists() == left


def test_a_damaged_file_is_said_in_one_line(tmp_path: Path):
    run = Unfinished(tmp_path / "runs", ["m"])
    run.file.parent.mkdir()
    run.file.write_bytes(b"no database at all" * 100)
    with pytest.raises(BadData, match="delete the file"):
        run.rows(files(tmp_path))


CHILD = """
import os, signal, sys
import numpy as np
from pathlib import Path
from mmfm.unfinished import Stamp, Unfinished
run, paths = Unfinished(Path(sys.argv[1]), ["m"]), sys.argv[2:]
for number, path in enumerate(paths):
    run.keep([(path, Stamp.of(path), np.full(8, number, np.float32))], "fp32")
    print(number, flush=True)
"""


def test_a_kill_loses_at_most_what_was_being_written(tmp_path: Path):
    paths = files(tmp_path, 2000)
    said = 0
    for _ in range(3):
        left = paths[said:]
        command = [sys.executable, "-c", CHILD, str(tmp_path / "runs"), *left]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _ in range(20):
            child.stdout.readline()
        child.kill()
        said += 20 + len(child.stdout.read().splitlines())
        child.wait()
        known = Unfinished(tmp_path / "runs", ["m"]).rows(paths)
        count = sum(row is not None for row in known)
        assert said <= count <= said + 1
        assert all(row is not None for row in known[:count])
        said = count
    assert 60 <= said < 2000
