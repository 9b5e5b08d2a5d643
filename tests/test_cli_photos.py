"""A folder of photos from the command line: indexed, searched, sorted, interrupted, undone."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from PIL import Image

from mmfm import cli, engines
from mmfm.commands import options, photos
from mmfm.data import shapes

LABELS = "red circle,blue star,green square"
PAIRS = [("red", "circle"), ("blue", "star"), ("green", "square"), ("yellow", "heart")]
MODEL = ("--model", "clip-shapes")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMFM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MMFM_STORE", str(tmp_path / "store"))


def draw(folder: Path, each: int = 2, size: int = 64) -> dict[str, list[Path]]:
    """Some drawings of each pair, by what they show."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes = [
        shapes.Scene((shapes.Shape(*pair, "large", "in the centre"),))
        for _ in range(each)
        for pair in PAIRS
    ]
    drawn: dict[str, list[Path]] = {}
    for number, image in enumerate(shapes.draw(scenes, size, seed=5)):
        name = " ".join(PAIRS[number % len(PAIRS)])
        path = folder / f"IMG_{number:04}.png"
        Image.fromarray(image.numpy()).save(path)
        drawn.setdefault(name, []).append(path)
    return drawn


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = cli.main([f"{argument}" for argument in arguments])
    return status, *capsys.readouterr()


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "mmfm", *map(str, arguments)]


def rows(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


# --- index and search -----------------------------------------------------------------------------


def test_what_is_indexed_is_found_by_words_by_a_picture_and_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    drawn = draw(tmp_path / "photos")
    status, out, err = run("index", tmp_path / "photos", *MODEL, capsys=capsys)
    assert (status, out) == (0, "") and "8 files: 8 new" in err

    # Nothing but the words: which model and where its vectors lie is known.
    status, out, err = run("search", "red circle", "-n", 2, "--json", capsys=capsys)
    assert (status, err) == (0, "")
    assert {row["path"] for row in rows(out)} == {str(path) for path in drawn["red circle"]}
    assert rows(out)[0]["score"] >= rows(out)[1]["score"]  # type: ignore[operator]

    status, out, _ = run("search", drawn["blue star"][0], "-n", 2, "--json", capsys=capsys)
    assert {row["path"] for row in rows(out)} == {str(path) for path in drawn["blue star"]}

    status, out, _ = run("search", "red", "--minus", "circle", "-n", 8, capsys=capsys)
    assert status == 0 and len(out.splitlines()) == 8
    circles = {str(path) for path in drawn["red circle"]}
    assert not circles & {line.split("  ")[1] for line in out.splitlines()[:2]}

    other = tmp_path / "other photos"
    other.mkdir()
    status, out, err = run("search", "red circle", "--in", other, capsys=capsys)
    assert (status, out) == (0, "")
    assert f"no indexed picture is in {other}; mmfm index '{other}' takes it up" in err


def test_pictures_on_a_disk_that_is_not_mounted_are_indexed_and_not_to_be_reached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    disk = tmp_path / "disk"
    draw(disk)
    run("index", disk, *MODEL, capsys=capsys)
    disk.rename(tmp_path / "elsewhere")
    for _ in ("gone", "an empty folder"):
        status, out, err = run("search", "red circle", "--in", disk, capsys=capsys)
        assert (status, out) == (0, "") and "no indexed picture" not in err
        assert f"8 pictures are indexed in {disk}, but none can be reached" in err
        disk.mkdir(exist_ok=True)


def test_a_second_index_looks_at_what_changed_only_and_knows_what_moved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    drawn = draw(tmp_path / "photos")
    run("index", tmp_path / "photos", *MODEL, capsys=capsys)
    assert "8 unchanged" in run("index", tmp_path / "photos", *MODEL, capsys=capsys)[2]
    drawn["red circle"][0].rename(tmp_path / "photos" / "moved.png")
    drawn["blue star"][0].unlink()
    Image.new("RGB", (70, 70), "black").save(drawn["green square"][0])
    err = run("index", tmp_path / "photos", *MODEL, capsys=capsys)[2]
    assert "7 files: 1 new, 1 recognised, 5 unchanged, 2 dropped" in err
    err = run("index", tmp_path / "photos", "--forget", capsys=capsys)[2]
    assert "7 pictures forgotten" in err
    status, _, err = run("search", "red circle", capsys=capsys)
    assert status == 1 and "mmfm index DIR" in err


def test_duplicates_are_shown_in_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    drawn = draw(tmp_path / "photos", each=1, size=240)
    first = drawn["red circle"][0]
    (tmp_path / "photos" / "copy.png").write_bytes(first.read_bytes())
    smaller = tmp_path / "photos" / "smaller.jpg"
    Image.open(drawn["blue star"][0]).resize((200, 200)).save(smaller, quality=85)
    run("index", tmp_path / "photos", *MODEL, capsys=capsys)
    status, out, err = run("search", "--duplicates", "--json", capsys=capsys)
    assert (status, err) == (0, "")
    groups = [({Path(p).name for p in row["paths"]}, row["same_bytes"]) for row in rows(out)]  # type: ignore[union-attr]
    assert ({"copy.png", first.name}, True) in groups
    assert ({"smaller.jpg", drawn["blue star"][0].name}, False) in groups
    assert len(groups) == 2


def test_sheets_are_single_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    first, *_ = drawn = draw(tmp_path / "photos")["red circle"]
    copy = tmp_path / "photos" / "copy.png"
    copy.write_bytes(first.read_bytes())
    run("index", tmp_path / "photos", *MODEL, capsys=capsys)
    for wish, title, shown in (
        ("red circle", "red circle", [*drawn, copy]),
        ("--duplicates", "duplicates", [first, copy]),
    ):
        page = tmp_path / title / "hits.html"
        page.parent.mkdir()
        status, out, _ = run("search", wish, "--html", page, capsys=capsys)
        assert status == 0 and out.startswith(f"{page}: ")
        assert list(page.parent.iterdir()) == [page]
        text = page.read_text(encoding="utf-8")
        assert f'"title":"{title}"' in text
        assert all(f'"{path.name}"' in text for path in shown)
        assert 'class="thumbnails"' in text
        # Nothing is asked for elsewhere: no tag names a file, nor does the style.
        tags = re.sub(r"(?s)(<(script|style)\b[^>]*>).*?</\2>", r"\1", text)
        assert "<script" in tags and not re.search(r"(?i)<link|\b(src|href)\s*=", tags)
        (style,) = re.findall(r"(?s)<style>(.*?)</style>", text)
        assert "url(" not in style and "@import" not in style


def test_the_name_of_a_folder_is_a_word_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    drawn = draw(tmp_path / "photos")
    run("index", tmp_path / "photos", *MODEL, capsys=capsys)
    (tmp_path / "circle").mkdir()
    monkeypatch.chdir(tmp_path)
    status, out, err = run("search", "red", "circle", "-n", 2, "--json", capsys=capsys)
    assert status == 0 and {row["path"] for row in rows(out)} == {
        str(path) for path in drawn["red circle"]
    }
    assert err.count("\n") == 1 and "--in circle looks in it" in err
    for folder in ("circle/", "./circle", tmp_path / "circle", ".", ".."):
        status, out, err = run("search", folder, capsys=capsys)
        assert (status, out) == (2, "") and f"{folder}: is a folder; --in " in err


def test_words_that_no_path_can_be_are_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    draw(tmp_path / "photos")
    run("index", tmp_path / "photos", *MODEL, capsys=capsys)
    for words in ("빨간 동그라미 " * 20, "별" * 86, "black/white", "~ red circle", "~nobody here"):
        status, out, _ = run("search", words, "-n", 1, "--json", capsys=capsys)
        assert status == 0 and len(rows(out)) == 1
    for picture in ("gone.jpg", "/gone", f"{'x' * 300}.jpg"):
        status, out, err = run("search", picture, capsys=capsys)
        assert (status, out) == (1, "") and err.startswith(f"mmfm: {picture}: ")


def test_a_raw_file_is_passed_over_in_a_folder_and_named_by_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    drawn = draw(tmp_path / "photos", each=1)
    raw = tmp_path / "photos" / "IMG_0000.NEF"
    Image.open(drawn["red circle"][0]).save(raw, "TIFF")  # as one begins
    wish = ("--labels", LABELS, *MODEL, "--json")
    status, out, err = run("classify", tmp_path / "photos", *wish, capsys=capsys)
    assert status == 0 and len(rows(out)) == 4
    assert "1 raw file of a camera is left out: 1 .nef; nothing here develops them" in err
    status, _, err = run("index", tmp_path / "photos", *MODEL, capsys=capsys)
    assert status == 0 and "1 raw file of a camera is left out: 1 .nef" in err
    status, out, _ = run("classify", raw, *wish, capsys=capsys)
    assert status == 1 and "a camera's raw file" in str(rows(out)[0]["error"])


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["search", "beach"], 1, "mmfm index DIR"),
        (["search"], 2, "say what to search for"),
        (["search", "--duplicates", "beach"], 2, "takes no words"),
        (["search", "beach", "--threshold", "0.9"], 2, "--duplicates"),
        (["search", "beach", "--json", "--html", "x.html"], 2, "exclude each other"),
        (["search", "beach", "--html", "/nowhere/x.html"], 1, "no folder"),
        (["index", "nowhere"], 1, "no such file or folder"),
        (["index"], 2, "DIR"),
        (["index", ".", "--engine", "fast"], 2, "auto, fp32"),
        (["index", ".", "--exact", "--engine", "int8"], 2, "--exact is fp32"),
        (["undo", "nowhere.jsonl"], 1, "no such journal"),
        (["undo", "."], 2, "is a folder"),
        (["classify", ".", "--labels", "a,b", "--dry-run"], 2, "--copy-to"),
        (["classify", ".", "--labels", "a,b", "--copy-to", "x", "--move-to", "y"], 2, "exclude"),
    ],
)
def test_mistakes_are_one_line_with_their_status(
    arguments: list[str],
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    ended, out, err = run(*arguments, capsys=capsys)
    assert (ended, out) == (status, "")
    assert said in err and err.count("\n") == 1
    assert not (tmp_path / "store").exists()


# --- classify -------------------------------------------------------------------------------------


def test_with_new_labels_an_indexed_folder_is_not_opened_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    drawn = draw(tmp_path / "photos", each=9)
    wish = ("classify", tmp_path / "photos", "--labels", LABELS, *MODEL, "--json")
    before = run(*wish, capsys=capsys)[1]
    run("index", tmp_path / "photos", *MODEL, capsys=capsys)
    for paths in drawn.values():
        for path in paths:
            kept = path.stat()
            path.write_bytes(b"x" * kept.st_size)  # unreadable, if anyone looked
            os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    status, out, err = run(*wish, "-v", capsys=capsys)
    assert status == 0 and "36 pictures are known from the store" in err
    assert [(row["path"], row["label"]) for row in rows(out)] == [
        (row["path"], row["label"]) for row in rows(before)
    ]
    # What was not made from every pixel does not serve an exact wish.
    assert run(*wish, "--exact", capsys=capsys)[0] == 1


def test_an_interrupted_run_goes_on_from_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    draw(tmp_path / "photos", each=400)
    # What auto chooses is measured, and may be another engine for the whole run below.
    wish = ("classify", tmp_path / "photos", "--labels", LABELS, *MODEL, "--engine", "fp32")
    wish = (*wish, "--json")
    child = subprocess.Popen(command(*wish), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None and child.stderr is not None
    for _ in range(100):
        child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert b"--resume goes on" in err and b"Traceback" not in err
    status, out, err = run(*wish, "--resume", capsys=capsys)
    assert status == 0 and "going on: " in err
    assert int(err.split("going on: ")[1].split()[0].replace(",", "")) >= 100
    whole = run(*wish, capsys=capsys)[1]
    assert out == whole and len(rows(out)) == 1600
    assert not list((tmp_path / "cache").rglob("unfinished/*"))


def test_a_killed_run_goes_on_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    draw(tmp_path / "photos", each=200)
    table = tmp_path / "answers.csv"
    wish = ("classify", tmp_path / "photos", "--labels", LABELS, *MODEL, "--csv", table)
    child = subprocess.Popen(command(*wish), stderr=subprocess.DEVNULL)
    seen = tmp_path / "cache" / "unfinished"

    def kept() -> bool:
        for log in seen.glob("*.sqlite-wal"):  # from then on a reader is in nobody's way
            with suppress(sqlite3.Error), closing(sqlite3.connect(str(log)[:-4])) as rows:
                return rows.execute("SELECT count(*) FROM looked").fetchone()[0] > 0
        return False

    until = time.monotonic() + 60
    while not kept():
        assert time.monotonic() < until and child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert not table.exists()
    status, _, err = run(*wish, "--resume", capsys=capsys)
    assert status == 0 and "going on: " in err
    assert len(table.read_text().splitlines()) == 801


def test_pictures_are_copied_and_moved_into_folders_and_put_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    photos, out = tmp_path / "photos", tmp_path / "sorted"
    drawn = draw(photos)
    before = {path.name: path.read_bytes() for path in photos.iterdir()}
    wish = (
        "classify",
        photos,
        "--labels",
        "red circle,blue star,green square,yellow heart",
        *MODEL,
    )
    status, said, err = run(*wish, "--copy-to", out, "--dry-run", capsys=capsys)
    assert status == 0 and not out.exists() and "nothing was touched" in err
    assert f" -> {out / 'red circle' / drawn['red circle'][0].name}" in said

    for option, left in (("--copy-to", 8), ("--move-to", 0)):
        status, said, err = run(*wish, option, out, capsys=capsys)
        assert status == 0 and len(list(photos.iterdir())) == left
        for name, paths in drawn.items():
            assert sorted(p.name for p in (out / name).iterdir()) == [p.name for p in paths]
        journal = err.split("mmfm undo ")[1].split(" takes")[0]
        status, _, err = run("undo", journal, capsys=capsys)
        assert status == 0 and ("removed" if left else "moved back") in err
        assert {path.name: path.read_bytes() for path in photos.iterdir()} == before
        assert [path.name for path in out.iterdir() if path.is_dir()] == []
        status, _, err = run("undo", journal, capsys=capsys)
        assert status == 1 and "undone already" in err


def test_a_move_that_was_killed_before_it_noted_its_deeds_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    photos, out = tmp_path / "photos", tmp_path / "sorted"
    draw(photos, each=10)
    wish = ("classify", photos, "--labels", LABELS, *MODEL, "--move-to", out)
    assert run(*wish, capsys=capsys)[0] == 0
    (journal,) = out.glob("*.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if b'"plan"' in line)
    journal.write_bytes(b"".join(lines[: last + 1]))
    draw(photos / "new", each=1, size=72)
    assert run(*wish, capsys=capsys)[0] == 1
    status, said, err = run(*wish, "--resume", capsys=capsys)
    assert status == 0 and len(said.splitlines()) == 4 and "moved" in err
    assert len(list(photos.rglob("*.png"))) == 0 and len(list(out.rglob("*.png"))) == 44
    assert run("undo", journal, capsys=capsys)[0] == 0
    assert len(list(photos.rglob("*.png"))) == 44 and len(list(out.rglob("*.png"))) == 0


def test_a_name_does_nothing_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    acting = re.compile("[\x01-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
    (first, *_), *_ = draw(tmp_path / "photos", each=1).values()
    turned = ("\x9b31mred.png", "\u2066gpj.png", "\u061c\u200e\u200fa.png")
    for name in ("a\nforged.png: blue star 99%", "\x1b[31mred.png", *turned):
        (tmp_path / "photos" / name).write_bytes(first.read_bytes())
    (tmp_path / "photos" / "\x1b[2Jbroken.png").write_bytes(b"x")
    wish = ("classify", tmp_path / "photos", "--labels", LABELS, *MODEL)
    status, out, err = run(*wish, capsys=capsys)
    assert status == 3 and len(out.splitlines()) == 9
    assert "\\nforged" in out and "\\x1b[2Jbroken" in err and not acting.search(out + err)
    out = run(*wish, "--json", capsys=capsys)[1]
    assert {row["path"] for row in rows(out)} == {
        str(path) for path in (tmp_path / "photos").iterdir()
    }
    assert not acting.search(out)
    run("index", tmp_path / "photos", *MODEL, capsys=capsys)
    for more in ([], ["--json"]):
        out = run("search", "red circle", *more, capsys=capsys)[1]
        assert len(out.splitlines()) == 9 and not acting.search(out)
    out = run("search", "--duplicates", "--json", capsys=capsys)[1]
    assert "gpj.png" in out and not acting.search(out)


def test_where_a_picture_went_is_in_the_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    drawn = draw(tmp_path / "photos", each=1)
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no picture")
    wish = ("classify", tmp_path / "photos", "--labels", LABELS, *MODEL, "--json")
    status, out, _ = run(*wish, "--copy-to", tmp_path / "sorted", capsys=capsys)
    assert status == 3
    by_path = {row["path"]: row for row in rows(out)}
    first = drawn["red circle"][0]
    assert by_path[str(first)]["to"] == [str(tmp_path / "sorted" / "red circle" / first.name)]
    assert "error" in by_path[str(tmp_path / "photos" / "broken.jpg")]
    assert (tmp_path / "photos" / "broken.jpg").exists()


def test_the_commands_offer_the_engines_that_there_are():
    assert options.ENGINES == engines.ENGINES


def test_engines_give_the_same_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    draw(tmp_path / "photos", each=4)
    wish = ("classify", tmp_path / "photos", "--labels", LABELS, *MODEL, "--json")
    exact = rows(run(*wish, "--exact", capsys=capsys)[1])
    for engine in ("auto", "fp32", "bf16", "int8"):
        status, out, err = run(*wish, "--engine", engine, "-v", capsys=capsys)
        assert status == 0 and "score: " in err
        assert [row["label"] for row in rows(out)] == [row["label"] for row in exact]


def test_a_picture_that_is_named_twice_is_looked_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    draw(tmp_path / "photos", each=2)
    folder = tmp_path / "photos"
    inner = next(path for path in sorted(folder.rglob("*")) if path.is_file())
    wish = ("--labels", LABELS, *MODEL, "--json")
    status, out, _ = run("classify", folder, inner, inner.parent, *wish, capsys=capsys)
    paths = [row["path"] for row in rows(out)]
    assert status == 0 and len(paths) == 8 and len(set(paths)) == 8


def test_an_engine_that_is_named_is_not_passed_by_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    draw(tmp_path / "photos", each=2)
    store = ("--store", tmp_path / "store")
    assert (
        run("index", tmp_path / "photos", *MODEL, "--engine", "fp32", *store, capsys=capsys)[0] == 0
    )
    wish = ("--labels", LABELS, *MODEL, *store)
    again = run("index", tmp_path / "photos", *MODEL, "--engine", "bf16", *store, capsys=capsys)
    assert again[0] == 0 and "8 of them were looked at by another engine" in again[2]
    same = run("index", tmp_path / "photos", *MODEL, "--engine", "fp32", *store, capsys=capsys)
    assert "another engine" not in same[2]
    said = run("classify", tmp_path / "photos", *wish, "--engine", "bf16", capsys=capsys)[2]
    assert "--engine bf16 looks at every picture" in said
    known = run("classify", tmp_path / "photos", *wish, "-v", capsys=capsys)[2]
    assert "8 pictures are known from the store" in known and "fp32" not in known


def test_an_empty_query_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    draw(tmp_path / "photos", each=1)
    store = ("--store", tmp_path / "store")
    run("index", tmp_path / "photos", *MODEL, *store, capsys=capsys)
    status, _, err = run("search", "  ", *store, capsys=capsys)
    assert status == 2 and "empty query" in err


def test_a_stop_before_the_first_picture_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    draw(tmp_path / "photos", each=1)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(photos, "chosen_clip", interrupted)
    status, _, err = run("index", tmp_path / "photos", capsys=capsys)
    assert (status, err) == (130, "mmfm: stopped; the same command goes on from here\n")


def test_a_page_does_not_take_the_place_of_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    picture = draw(tmp_path / "photos", each=1)["red circle"][0]
    before = picture.read_bytes()
    status, out, err = run("search", "red", "--html", picture, capsys=capsys)
    assert (status, out) == (2, "") and "is a picture" in err and picture.read_bytes() == before
