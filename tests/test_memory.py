"""What is known of pictures before a run: what an interrupted one has seen, and with what."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mmfm
from mmfm.errors import BadData
from mmfm.files import Stamp
from mmfm.memory import Memory, models_of
from mmfm.models.clip import TwoTowers
from mmfm.store import Row, Store


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMFM_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def clip() -> TwoTowers:
    return mmfm.load_clip("clip-shapes")


def pictures(folder: Path, count: int) -> list[Path]:
    files = [folder / f"{number}.png" for number in range(count)]
    for file in files:
        Image.new("RGB", (8, 8)).save(file)
    return files


def see(memory: Memory, files: list[Path], clip: TwoTowers) -> None:
    """As if these had been looked at by the int8 engine."""
    row = np.ones(clip.dim, np.float32)
    stamps = [Stamp.of(file) for file in files]
    pairs = zip(files, stamps, strict=True)
    memory.keeping("int8")([(str(file), stamp, row) for file, stamp in pairs if stamp is not None])


def test_an_interrupted_run_goes_on_with_the_engine_that_it_began_with(
    tmp_path: Path, clip: TwoTowers
):
    files = pictures(tmp_path, 3)
    said: list[str] = []

    def memory(*, resume: bool) -> Memory:
        return Memory(clip, files, run=["auto"], store="none", resume=resume, say=said.append)

    first = memory(resume=False)
    assert (first.engine, first.unknown, said) == (None, 3, [])
    see(first, files[1:2], clip)
    first.close()

    again = memory(resume=True)
    assert (again.engine, again.unknown) == ("int8", 2) and "going on" in said[-1]
    again.close()
    anew = memory(resume=False)
    assert (anew.engine, anew.unknown) == (None, 3) and "--resume" in said[-1]
    anew.finish()


def test_what_was_moved_away_is_not_taken_for_what_is_left(tmp_path: Path, clip: TwoTowers):
    files = pictures(tmp_path, 10)
    said: list[str] = []
    first = Memory(clip, files, run=["auto"], store="none", say=said.append)
    see(first, files[:6], clip)
    first.close()
    for file in files[:5]:
        file.unlink()
    again = Memory(clip, files[5:], run=["auto"], store="none", resume=True, say=said.append)
    assert (again.engine, again.unknown) == ("int8", 4)
    assert said == ["going on: 1 pictures were looked at before"]
    again.close()
    for file in files[5:]:
        file.unlink()
    left = pictures(tmp_path, 2)
    last = Memory(clip, left, run=["auto"], store="none", resume=True, say=said.append)
    assert (last.engine, last.unknown) == ("int8", 2)  # the same names, and other files
    last.finish()


def test_of_two_runs_at_once_the_second_keeps_nothing_and_says_so(tmp_path: Path, clip: TwoTowers):
    files = pictures(tmp_path, 4)
    said: list[str] = []
    early = Memory(clip, files, run=["auto"], store="none", say=said.append)
    first = Memory(clip, files, run=["auto"], store="none", say=said.append)
    see(first, files[:2], clip)
    assert said == [] and first.keeps and early.keeps

    for resume in (False, True):
        second = Memory(clip, files, run=["auto"], store="none", resume=resume, say=said.append)
        assert len(said) == 1 and "another mmfm looks at these" in said.pop()
        assert (second.engine, second.unknown, second.keeps) == (None, 4, False)
        see(second, files, clip)
        second.finish()
    see(early, files, clip)  # it had begun before there was anything to be kept
    early.keep_cut("labels", 1.0)
    assert len(said) == 1 and "another mmfm looks at these" in said.pop() and not early.keeps
    early.finish()

    see(first, files[2:3], clip)
    first.close()
    again = Memory(clip, files, run=["auto"], store="none", resume=True, say=said.append)
    assert again.unknown == 1 and again.cut("labels") is None
    again.finish()


def test_where_the_evidence_begins_is_known_to_who_goes_on(tmp_path: Path, clip: TwoTowers):
    files = pictures(tmp_path, 4)
    first = Memory(clip, files, run=["auto"], store="none", say=print)
    first.keep_cut("these labels", -0.5)
    first.close()
    anew = Memory(clip, files, run=["auto"], store="none", say=print)
    assert anew.cut("these labels") is None
    anew.close()
    again = Memory(clip, files[2:], run=["auto"], store="none", resume=True, say=print)
    assert (again.cut("these labels"), again.cut("others")) == (-0.5, None)
    again.finish()


def test_a_store_that_is_named_and_knows_nothing_is_not_passed_by_in_silence(
    tmp_path: Path, clip: TwoTowers
):
    files, store = pictures(tmp_path, 2), Store(tmp_path / "store")
    fill(store, "a" * 32, "another", tmp_path)
    said: list[str] = []
    Memory(clip, files, run=["auto"], store=store.folder, say=said.append)
    assert len(said) == 1
    assert f"{store.folder}: none of these pictures is indexed there with clip-shapes" in said[0]


def fill(store: Store, mark: str, model: str, folder: Path) -> None:
    with store.writing() as writer:
        path = os.fsencode(folder.resolve() / "x.png")
        row = Row(path, path, b"/", 1, 1, bytes(32), "fp32", True, np.ones(4, np.float32))
        writer.shelf(mark, dim=4, model=model).put([row], new=True)


def test_the_models_of_a_folder_are_those_by_which_something_in_it_is_indexed(tmp_path: Path):
    store = Store(tmp_path / "store")
    assert models_of([tmp_path], store.folder) == []
    fill(store, "a" * 32, "one", tmp_path / "p")
    fill(store, "b" * 32, "two", tmp_path / "p" / "deep")
    assert sorted(models_of([tmp_path / "p"], store.folder)) == ["one", "two"]
    assert models_of([tmp_path / "p" / "deep"], store.folder) == ["two"]
    assert models_of([tmp_path / "q", tmp_path / "p" / "x.png"], store.folder) == ["one"]
    assert models_of([tmp_path / "q"], store.folder) == []


def test_where_nothing_can_be_kept_is_said_once_and_what_is_kept_is_not_passed_by(
    tmp_path: Path, clip: TwoTowers, monkeypatch: pytest.MonkeyPatch
):
    files = pictures(tmp_path, 4)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MMFM_CACHE", str(tmp_path / "file" / "cache"))
    said: list[str] = []
    for resume in (False, True):
        memory = Memory(clip, files, run=["auto"], store="none", resume=resume, say=said.append)
        see(memory, files[:2], clip)
        memory.keep_cut("labels", 1.0)
        assert len(said) == 1 and said.pop().endswith("; --resume would begin anew")
        assert not memory.keeps and memory.unknown == 4
        memory.finish()

    monkeypatch.setenv("MMFM_CACHE", str(tmp_path / "cache"))
    first = Memory(clip, files, run=["auto"], store="none", say=said.append)
    see(first, files[:2], clip)
    first.close()
    (kept,) = (tmp_path / "cache" / "unfinished").glob("*.sqlite")
    kept.write_bytes(b"no rows of a run at all" * 100)
    with pytest.raises(BadData, match="cannot be kept"):
        Memory(clip, files, run=["auto"], store="none", resume=True, say=said.append).close()
    memory = Memory(clip, files, run=["auto"], store="none", say=said.append)
    assert len(said) == 1 and not memory.keeps
    memory.finish()
