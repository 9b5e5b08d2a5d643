"""What in a folder may be a picture is found, in a fixed order, and nothing vanishes unsaid."""

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from nasty import corners, saved

from mmfm.data.folders import class_folders, folder_parts, loose_pictures, lost_links, picture_files
from mmfm.data.formats import RAW_ENDINGS, picture_endings
from mmfm.errors import BadData, NotHere

PNG = saved(corners(), "PNG")


def put(folder: Path, *names: str, data: bytes = PNG) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def names(folder: Path, **options: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in picture_files(folder, **options).files]


def refusing(name: str, error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no link of this name be followed, as if it led into a dead network mount."""
    follow, scan = os.stat, os.scandir

    def refuse(path: Any, **options: Any) -> os.stat_result:
        follows = options.get("follow_symlinks", True) and isinstance(path, str | Path)
        if follows and Path(path).stem == name:
            raise error
        return follow(path, **options)

    class Entry:
        def __init__(self, entry: os.DirEntry[str]) -> None:
            self.name, self.path, self.is_symlink = entry.name, entry.path, entry.is_symlink

        def stat(self) -> os.stat_result:
            return Path(self.path).stat()

        def is_dir(self, *, follow_symlinks: bool = True) -> bool:
            return stat.S_ISDIR(Path(self.path).stat(follow_symlinks=follow_symlinks).st_mode)

    @contextmanager
    def scanned(folder: str) -> Iterator[list[Entry]]:
        with scan(folder) as entries:
            yield [Entry(entry) for entry in entries]

    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(os, "scandir", scanned)


def test_files_come_sorted_however_they_lie(tmp_path: Path):
    put(
        tmp_path,
        "b.png",
        "a/z.png",
        "a-1.png",
        "a.png",
        "a/b/c.png",
        "나.png",
        "B.png",
        "a b/c.png",
    )
    found = picture_files(tmp_path)
    assert found.files == sorted(tmp_path.rglob("*.png")) and len(found.files) == 8


def test_a_picture_is_known_by_its_ending_or_by_its_first_bytes(tmp_path: Path):
    put(tmp_path, "photo.dat", "IMG_0001", "x.PNG", "archive.tar.gz")
    put(tmp_path, "x.jpg", "y.heic", "z.HIF", "w.avif", "v.webp", data=b"a text")
    put(tmp_path, "notes.txt", "BM.txt", "none", data=b"BM is how this text begins, said he")
    put(tmp_path, "film.mp4", data=b"\0\0\0\x18ftypisom" + bytes(50))
    put(tmp_path, "page.eps", "page.pdf", data=b"%!PS-Adobe-3.0")
    found = picture_files(tmp_path)
    plain = ["IMG_0001", "archive.tar.gz", "photo.dat"]
    taken = [*plain, "v.webp", "w.avif", "x.PNG", "x.jpg", "y.heic", "z.HIF"]
    assert [path.name for path in found.files] == taken
    assert found.others == {".txt": 2, "": 1, ".mp4": 1, ".eps": 1, ".pdf": 1}
    files, others = found
    assert (files, others) == (found.files, 6)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000"])
def test_pictures_of_every_usual_kind_need_no_ending(tmp_path: Path, kind: str):
    put(tmp_path, "nameless", data=saved(corners(), kind))
    assert names(tmp_path) == ["nameless"]


def test_a_phone_s_heic_needs_no_ending(tmp_path: Path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(corners().resize((96, 64))).save(tmp_path / "a.heic")
    (tmp_path / "a.heic").rename(tmp_path / "a")
    assert names(tmp_path) == ["a"]


def test_what_is_hidden_is_passed_over(tmp_path: Path):
    put(tmp_path, ".a.png", ".thumbs/b.png", "c.png")
    assert names(tmp_path) == ["c.png"] and not picture_files(tmp_path).others


def test_a_folder_can_be_left_out(tmp_path: Path):
    put(tmp_path, "a.png", "out/b.png", "in/out/c.png", "outer/d.png")
    without = tmp_path / "in" / ".." / "out"
    assert names(tmp_path, without=without) == ["a.png", "in/out/c.png", "outer/d.png"]
    assert len(names(tmp_path, without=tmp_path / "not there")) == 4


def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path: Path):
    put(tmp_path, "a.png", "deep/b.png")
    put(tmp_path.parent / f"{tmp_path.name} beside", "c.png")
    (tmp_path / "link").symlink_to("a.png")
    (tmp_path / "again").symlink_to("deep")
    (tmp_path / "beside.png").symlink_to(tmp_path.parent / f"{tmp_path.name} beside")
    found = picture_files(tmp_path)
    assert names(tmp_path) == ["a.png", "deep/b.png", "link"]
    assert found.others == {"/": 2} and not found.unreadable


def test_loops_and_links_to_nowhere_are_named(tmp_path: Path):
    put(tmp_path, "deep/b.png")
    (tmp_path / "deep" / "self").symlink_to(".")
    (tmp_path / "deep" / "up").symlink_to(tmp_path)
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "gone.png").symlink_to("nowhere")
    found = picture_files(tmp_path)
    assert names(tmp_path) == ["deep/b.png", "gone.png"]
    reasons = {path.relative_to(tmp_path).as_posix(): why for path, why in found.unreadable}
    assert list(reasons) == ["deep/self", "deep/up", "gone", "round"]
    assert "lies in" in reasons["deep/self"] and "lies in" in reasons["deep/up"]
    assert "leads nowhere" in reasons["gone"] and "loop" in reasons["round"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOTCONN, errno.ESTALE])
def test_a_link_that_cannot_be_followed_is_named_and_the_rest_is_found(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
):
    put(tmp_path, "a.png", "z.png")
    for name in ("closed", "closed.png"):
        (tmp_path / name).symlink_to("elsewhere")
    reason = os.strerror(number)
    refusing("closed", OSError(number, reason), monkeypatch)
    found = picture_files(tmp_path)
    # What a picture's name is given says why not when it is opened.
    assert names(tmp_path) == ["a.png", "closed.png", "z.png"]
    assert found.unreadable == [(tmp_path / "closed", reason)] and not found.others
    loose = [path.name for path in loose_pictures(tmp_path)]
    assert loose == ["a.png", "closed", "closed.png", "z.png"]


def test_links_that_nobody_can_follow_end_no_search_for_loose_pictures(tmp_path: Path):
    put(tmp_path, "a.png", "deep/b.png")
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "long").symlink_to("x" * 300)
    (tmp_path / "linked").symlink_to("deep")
    assert [path.name for path in loose_pictures(tmp_path)] == ["a.png", "long", "round"]
    reasons = {path.name: why for path, why in picture_files(tmp_path).unreadable}
    assert reasons == {"long": os.strerror(errno.ENAMETOOLONG), "round": "a loop of links"}


def test_class_folders_may_be_links_and_those_that_lead_to_none_are_named(tmp_path: Path):
    classes = tmp_path / "classes"
    put(classes, "cat/a.png", "dog/b.png", ".hidden/c.png")
    put(tmp_path, "elsewhere/deep/d.png")
    (classes / "fox").symlink_to(tmp_path / "elsewhere")
    for name, leads in (("gone", "nowhere"), ("round", "round"), ("self", "."), ("up", tmp_path)):
        (classes / name).symlink_to(leads)
    (classes / "long").symlink_to("x" * 300)  # Path.is_dir raises an error of it
    assert folder_parts(classes) == (classes, None)
    found = {name: [file.name for file in files] for name, files in class_folders(classes).items()}
    assert found == {"cat": ["a.png"], "dog": ["b.png"], "fox": ["d.png"]}
    reasons = {path.name: why for path, why in lost_links(classes).items()}
    assert list(reasons) == ["gone", "long", "round", "self", "up"]
    assert "leads nowhere" in reasons["gone"] and "loop" in reasons["round"]
    assert "lies in" in reasons["self"] and "lies in" in reasons["up"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOTCONN, errno.ESTALE])
def test_a_class_folder_on_a_dead_mount_is_left_out_and_where_too_few_are_left_it_is_named(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
):
    put(tmp_path, "cat/a.png", "dog/b.png")
    (tmp_path / "closed").symlink_to("elsewhere")
    scan = os.scandir
    refusing("closed", OSError(number, os.strerror(number)), monkeypatch)
    monkeypatch.setattr(os, "scandir", scan)  # that of os.walk, which follows no links
    assert lost_links(tmp_path) == {tmp_path / "closed": os.strerror(number)}
    assert list(class_folders(tmp_path)) == ["cat", "dog"]
    with pytest.raises(BadData, match=f"2 class folders .*closed: {os.strerror(number)}"):
        class_folders(tmp_path, at_least=3)


def test_a_camera_s_raw_files_stay_out_of_it(tmp_path: Path):
    raw = saved(corners(), "TIFF")  # how a NEF begins
    put(tmp_path, "IMG_1.NEF", "IMG_2.dng", "IMG_3.cr2", data=raw)
    put(tmp_path, "IMG_1.JPG", "IMG_2.tif", data=raw)
    (tmp_path / "gone.nef").symlink_to("nowhere")
    found = picture_files(tmp_path)
    assert names(tmp_path) == ["IMG_1.JPG", "IMG_2.tif"]
    assert found.others == {".nef": 1, ".dng": 1, ".cr2": 1}
    assert [path.name for path, _ in found.unreadable] == ["gone.nef"]
    assert [path.name for path in loose_pictures(tmp_path)] == [
        "IMG_1.JPG",
        "IMG_2.tif",
        "gone.nef",
    ]
    assert not RAW_ENDINGS & picture_endings()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.timeout(20)
def test_pipes_are_not_opened(tmp_path: Path):
    for name in ("a.png", "b", "c.txt"):
        os.mkfifo(tmp_path / name)
    found = picture_files(tmp_path)
    assert names(tmp_path) == ["a.png"] and found.others == {"": 1, ".txt": 1}


def test_a_file_is_taken_at_its_word_and_what_is_not_there_is_said(tmp_path: Path):
    put(tmp_path, "notes.txt")
    assert picture_files(tmp_path / "notes.txt").files == [tmp_path / "notes.txt"]
    with pytest.raises(NotHere, match="no such file or folder"):
        picture_files(tmp_path / "gone")
    (tmp_path / "gone.png").symlink_to("nowhere")
    with pytest.raises(NotHere, match="leads nowhere"):
        picture_files(tmp_path / "gone.png")


def test_many_files_are_found_in_little_time(tmp_path: Path):
    for folder in range(20):
        (tmp_path / f"{folder}").mkdir()
        for number in range(250):
            (tmp_path / f"{folder}" / f"{number}.jpg").touch()
    start = time.perf_counter()
    assert len(names(tmp_path)) == 5000
    assert time.perf_counter() - start < 3
