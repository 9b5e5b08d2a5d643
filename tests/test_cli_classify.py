"""`mmfm classify` as a newcomer runs it: what it prints, writes, refuses, and how it ends."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mmfm
from mmfm import cli, faces
from mmfm.commands import classify as commands
from mmfm.data import shapes
from mmfm.files import Stamp
from mmfm.hub import bundled
from mmfm.memory import Memory
from mmfm.store import Row, Store
from mmfm.tasks import classify, sort

LABELS = "red circle,star=파란 별|blue star,green square"
NAMES = ["red circle", "star", "green square"]
SHAPES = ("--model", "clip-shapes")  # which knows what is drawn here
KNOWS = classify.DEFAULTS[classify.default_model()]  # the sentence about the usual model


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMFM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("MMFM_STORE", str(tmp_path_factory.mktemp("own") / "store"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three drawings, one of them deeper, and a note beside them."""
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    pairs = [("red", "circle"), ("blue", "star"), ("green", "square")]
    scenes = [shapes.Scene((shapes.Shape(*pair, "large", "in the centre"),)) for pair in pairs]
    for name, image in zip(("a", "b", "deep/c"), shapes.draw(scenes, 64, seed=1), strict=True):
        Image.fromarray(image.numpy()).save(folder / f"{name}.png")
    (folder / "note.txt").write_text("not a picture")
    return folder


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = cli.main([f"{argument}" for argument in arguments])
    return status, *capsys.readouterr()


def test_a_folder_prints_a_line_for_each_picture(folder: Path, capsys: pytest.CaptureFixture[str]):
    status, out, err = run("classify", folder, "--labels", LABELS, *SHAPES, capsys=capsys)
    assert status == 0
    lines = out.splitlines()
    assert [line.split(": ")[1].rsplit(" ", 1)[0] for line in lines] == NAMES
    assert all(line.endswith("%") and "100" not in line for line in lines)
    assert err.count("\n") == 1 and "1 .txt" in err


def test_without_a_model_the_usual_one_answers_and_says_once_what_it_knows(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    status, out, err = run("classify", folder, "--labels", LABELS, capsys=capsys)
    assert status == 0 and len(out.splitlines()) == 3
    assert err.count("\n") == 2 and err.count(KNOWS) == 1 and "--model" in err


def test_with_a_model_named_nothing_but_answers_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    wish = ("classify", folder / "a.png", "--labels", LABELS, *SHAPES)
    status, out, err = run(*wish, capsys=capsys)
    assert (status, err) == (0, "") and out.startswith(f"{folder / 'a.png'}: red circle ")


def test_json_is_one_object_a_line_and_nothing_else(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    (folder / "z.png").write_bytes(b"broken")
    status, out, err = run("classify", folder, "--labels", LABELS, *SHAPES, "--json", capsys=capsys)
    assert status == 3 and "z.png" in err
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row.get("label") for row in rows] == ["red circle", "star", "green square", None]
    assert list(rows[0]) == ["path", "label", "score", "score_kind", "scores"]
    assert rows[0]["score_kind"] == "among_labels" and rows[0]["score"] == max(
        rows[0]["scores"].values()
    )
    assert list(rows[3]) == ["path", "error"]


def test_json_holds_the_top_five_unless_all_are_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    labels = ",".join(f"{colour} {form}" for colour, form in shapes.classes()[:20])
    wish = ("classify", folder / "a.png", "--labels", labels, *SHAPES, "--json")
    few = json.loads(run(*wish, capsys=capsys)[1])["scores"]
    every = json.loads(run(*wish, "--all-scores", capsys=capsys)[1])["scores"]
    assert len(few) == 5 and len(every) == 20
    assert list(every.items())[:5] == list(few.items())
    assert list(every.values()) == sorted(every.values(), reverse=True)


def test_multi_and_none_are_said_in_words_and_in_json(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    others = ("--labels", "pink ring,black cross", *SHAPES)
    assert "none of these" in run("classify", folder / "a.png", *others, "--none", capsys=capsys)[1]
    several = ("classify", folder / "a.png", "--labels", "red circle,red,pink ring", *SHAPES)
    row = json.loads(run(*several, "--multi", "--json", capsys=capsys)[1])
    assert row["score_kind"] == "each_label_uncalibrated" and "red circle" in row["labels"]
    assert "pink ring" not in row["labels"]


def test_a_table_is_written_whole_for_spreadsheets(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    file = tmp_path / "answers.csv"
    wish = ("classify", folder, "--labels", LABELS, *SHAPES)
    status, out, _ = run(*wish, "--csv", file, capsys=capsys)
    assert (status, out) == (0, f"{file}: 3 pictures\n")
    assert file.read_bytes().startswith("\ufeffpath".encode())
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = list(csv.DictReader(text))
    assert [row["label"] for row in rows] == NAMES
    assert all(0 < float(row["score"]) <= 1 for row in rows)


def test_a_page_needs_no_other_file_and_escapes_what_it_shows(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    file = tmp_path / "answers.html"
    (folder / "<i>x.png").write_bytes((folder / "a.png").read_bytes())
    labels = "<b>red</b>=red circle,blue star,green square"
    wish = ("classify", folder, "--labels", labels, *SHAPES, "--html", file)
    assert run(*wish, capsys=capsys)[0] == 0
    text = file.read_text(encoding="utf-8")
    assert "\\u003cb>red\\u003c/b>" in text and "<b>red</b>" not in text and "<i>x" not in text
    # The name of a kind of drawing, of which nothing is fetched.
    assert set(re.findall(r"https?://[^\"']+", text)) == {"http://www.w3.org/2000/svg"}
    assert text.count('"/9j/') == 4


def test_v_says_what_is_run_and_what_the_scores_mean(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    err = run("classify", folder, "--labels", LABELS, *SHAPES, "-v", capsys=capsys)[2]
    assert "clip-shapes (bundled) on cpu, 3 labels" in err
    assert (
        "probability among these labels" in err
        and "1 file is no picture and left out: 1 .txt" in err
    )


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["{folder}"], 2, "--labels is missing"),
        (["{folder}", "--labels", ""], 2, "no labels"),
        (["{folder}", "--labels", "a,a"], 2, "'a' is there twice"),
        (["{folder}", "--labels", "a,b=|c"], 2, "empty synonym"),
        (["{folder}", "--labels", "@nowhere"], 1, "no such file"),
        (["{folder}/nowhere", "--labels", "a,b"], 1, "no such file or folder"),
        (["{folder}/note.txt", "--labels", "a,b"], 1, "left out"),
        (["{folder}/empty", "--labels", "a,b"], 1, "no picture in"),
        (["{folder}", "--labels", "a,b", "--model", "nowhere"], 1, "no model 'nowhere'"),
        (["{folder}", "--labels", "a,b", "--model", "vit-nano"], 2, "load_vit"),
        (["{folder}", "--labels", "a,b", "--templates", "baroque"], 2, "baroque"),
        (["{folder}", "--labels", "a,b", "--device", "abacus"], 2, "abacus"),
        (["{folder}", "--labels", "a,b", "--calibration", "no.json"], 1, "no such calibration"),
        (["{folder}", "--labels", "a,b", "--adapter", "no.safetensors"], 1, "no.safetensors"),
        (["{folder}", "--labels", "a,b", "--json", "--csv", "x.csv"], 2, "exclude each other"),
        (["{folder}", "--labels", "a,b", "--all-scores"], 2, "goes with --json"),
        (["{folder}", "--labels", "a,b", "--html", "no/such/x.html"], 1, "there is no folder"),
    ],
)
def test_mistakes_are_one_line_with_their_status(
    arguments: list[str],
    status: int,
    said: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir()
    arguments = [argument.format(folder=folder) for argument in arguments]
    found, out, err = run("classify", *arguments, capsys=capsys)
    lines = [line for line in err.splitlines() if KNOWS not in line]
    assert (found, out, len(lines)) == (status, "", 1)
    assert lines[0].startswith("mmfm: ") and said in lines[0]


def test_labels_in_a_file_of_another_encoding_are_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    (folder / "labels.txt").write_text("빨간 원\n파란 별\n초록색 사각형\n", encoding="cp949")
    wish = ("classify", folder, "--labels", f"@{folder / 'labels.txt'}")
    status, out, _ = run(*wish, capsys=capsys)
    assert status == 0 and "파란 별" in out
    (folder / "labels.txt").write_bytes(b"\xff\xfa\x81")
    status, _, err = run(*wish, capsys=capsys)
    assert status == 1 and "save it as UTF-8" in err


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_still_printed(folder: Path):
    odd = os.fsencode(folder) + b"/\xff\xfe.png"
    Path(os.fsdecode(odd)).write_bytes((folder / "a.png").read_bytes())
    for extra in ([], ["--json"], ["--csv", folder / "x.csv"], ["--html", folder / "x.html"]):
        command = [sys.executable, "-m", "mmfm", "classify", folder, "--labels", LABELS, *extra]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        if extra == ["--json"]:
            paths = [os.fsencode(json.loads(line)["path"]) for line in done.stdout.splitlines()]
            assert odd in paths


def test_one_picture_waits_for_nothing_that_it_does_not_need(folder: Path):
    """The start is as quick as torch's own: what takes seconds to import is not imported."""
    slow = {"torch._dynamo", "sympy", "torch.onnx", "lancedb", "pyarrow", "onnxruntime", "onnx"}
    slow |= {"transformers", "open_clip", "gradio", "sklearn", "scipy", "pandas", "matplotlib"}
    code = (
        "import sys; from mmfm.cli import main; "
        f"main(['classify', {str(folder / 'a.png')!r}, '--labels', 'red circle,blue star']); "
        f"print(sorted({slow} & sys.modules.keys()))"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout.splitlines()[-1] == "[]"


# --- with the model that was indexed with ---------------------------------------------------------


def test_without_a_model_the_one_by_which_the_folder_is_indexed_answers(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    own = tmp_path / "own model"
    shutil.copytree(bundled()["clip-shapes"], own)
    assert run("index", folder / "deep", "--model", own, capsys=capsys)[0] == 0
    wish = ("classify", folder, "--labels", LABELS)
    status, out, err = run(*wish, capsys=capsys)
    assert status == 0 and [line.split(": ")[1].rsplit(" ", 1)[0] for line in out.splitlines()]
    assert f"with {own}, by which these pictures are indexed" in err
    assert KNOWS not in err and err.count("\n") == 2
    # Where nothing of it is indexed, or more than one model has, all is as it was.
    assert KNOWS in run("classify", folder / "a.png", *wish[2:], capsys=capsys)[2]
    assert "by which" not in run(*wish, "--model", "clip-shapes", capsys=capsys)[2]
    with Store().writing() as writer:
        path = os.fsencode(folder.resolve() / "b.png")
        row = Row(path, path, b"/", 1, 1, bytes(32), "fp32", True, np.ones(4, np.float32))
        writer.shelf("b" * 32, dim=4, model="another").put([row], new=True)
    assert KNOWS in run(*wish, capsys=capsys)[2]


def test_what_was_fitted_for_the_usual_model_is_not_given_to_the_indexed_one(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    own, adapter = tmp_path / "own model", tmp_path / "mine.safetensors"
    shutil.copytree(bundled()["clip-shapes"], own)
    run("index", folder, "--model", own, capsys=capsys)
    status, _, err = run(
        "classify", folder, "--labels", LABELS, "--adapter", adapter, capsys=capsys
    )
    assert status == 1 and "by which" not in err


def test_a_store_that_is_named_and_knows_none_of_the_pictures_is_not_passed_by_in_silence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    store = ("--store", tmp_path / "other store", "--model", "clip-shapes")
    run("index", folder / "deep", *store, capsys=capsys)
    wish = ("classify", folder / "a.png", "--labels", LABELS, *store)
    status, _, err = run(*wish, capsys=capsys)
    assert status == 0 and err.count("\n") == 1
    assert "other store: none of these pictures is indexed there with clip-shapes" in err
    assert "none of these" not in run("classify", folder, *wish[2:], capsys=capsys)[2]


# --- sorting, interrupted -------------------------------------------------------------------------


@contextmanager
def stopped_after(asked: int) -> Iterator[None]:
    """As if Ctrl-C came when the work has asked so often whether to stop."""
    times = iter(range(asked))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faces, "stopping", lambda: nullcontext(lambda: next(times, None) is None))
        yield


def test_what_is_left_after_a_stopped_move_is_judged_as_the_whole_folder_was(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for number in range(20):
        shutil.copy(folder / "a.png", folder / f"n{number:02}.png")
    out = tmp_path / "sorted here"
    wish = ("classify", folder, "--labels", LABELS, "--model", "clip-shapes", "--none")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classify, "valley", lambda evidence: -2.5)
        patch.setattr(sort, "_BATCH", 4)
        with stopped_after(10):
            status, _, err = run(*wish, "--move-to", out, capsys=capsys)
    left = sum(path.suffix == ".png" for path in folder.rglob("*"))
    assert status == 130 and "--resume goes on" in err and 0 < left < 23
    # Without --resume a dry run is refused before anything is loaded, as the sort itself is.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "chosen_clip", pytest.fail)
        status, _, err = run(*wish, "--move-to", out, "--dry-run", capsys=capsys)
        assert status == 1 and "an earlier sort was interrupted" in err
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classify.ZeroShotClassifier, "_probe", pytest.fail)
        for dry in (["--dry-run"], []):
            wished = (*wish, "--move-to", out, *dry, "--resume")
            status, _, err = run(*wished, capsys=capsys)
            assert status == 0, err
    assert not list(folder.rglob("*.png"))
    journal = next(out.glob("*.jsonl"))
    assert f"mmfm undo {shlex.quote(str(journal))} takes it back" in err


def test_a_stopped_move_goes_on_by_no_other_labels(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    wish = ("classify", folder, "--model", "clip-shapes", "--move-to", tmp_path / "out")
    with stopped_after(1):
        assert run(*wish, "--labels", LABELS, "--none", capsys=capsys)[0] == 130
    others = [("--labels", LABELS), ("--labels", "red circle,star", "--none")]
    for other in (*others, ("--labels", LABELS, "--none", "--multi")):
        status, out, err = run(*wish, *other, "--resume", capsys=capsys)
        assert (status, out) == (1, "") and f"was by --labels {LABELS} --none with clip-s" in err
    assert run(*wish, "--labels", LABELS, "--none", "--resume", capsys=capsys)[0] == 0


def test_of_very_many_labels_the_journal_tells_the_first(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file, out = tmp_path / "labels.txt", tmp_path / "out"
    file.write_text("\n".join(f"label {number:04}" for number in range(2000)))
    wish = ("classify", folder, "--labels", f"@{file}", "--model", "clip-shapes")
    assert run(*wish, "--move-to", out, capsys=capsys)[0] == 0
    header = json.loads(next(out.glob("*.jsonl")).read_bytes().splitlines()[0])
    assert "... (2,000 labels, " in header["asked"] and len(header["asked"]) < 500


def test_a_reader_that_goes_away_stops_a_move_and_is_told_how_it_goes_on(
    folder: Path, tmp_path: Path
):
    wish = ["classify", folder, "--labels", LABELS, "--model", "clip-shapes"]
    command = [sys.executable, "-m", "mmfm", *wish, "--move-to", tmp_path / "out"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.close()  # as `| head` does
        err = child.stderr.read().decode()
    assert child.returncode == 1 and "stopped" in err and "--resume goes on" in err
    # Where nothing is half done, there is nothing to be told.
    with subprocess.Popen(command[:-2], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.close()
        err = child.stderr.read().decode()
    assert child.returncode == 1 and "stopped" not in err


def test_a_picture_that_is_gone_when_it_should_be_moved_is_not_left_where_it_is(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    link = os.link

    def overtaken(file: Path, goal: Path, *rest: object, **more: object) -> None:
        link(file, goal)
        Path(file).rename(tmp_path / Path(file).name)

    wish = ("classify", folder / "a.png", "--labels", LABELS, *SHAPES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", overtaken)
        status, _, err = run(*wish, "--move-to", tmp_path / "out", capsys=capsys)
    assert status == 3 and "was taken away while it was moved; it is gone from there" in err
    assert "left where it is" not in err and (tmp_path / "a.png").exists()


def test_links_that_break_by_a_move_are_counted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (folder / "link.png").symlink_to("a.png")
    (folder / "far.png").symlink_to(tmp_path / "far.png")
    shutil.copy(folder / "a.png", tmp_path / "far.png")
    (folder / "never.png").symlink_to("nowhere")
    wish = ("classify", folder, "--labels", LABELS, "--model", "clip-shapes")
    err = run(*wish, "--move-to", tmp_path / "out", "--dry-run", capsys=capsys)[2]
    assert "nowhere: what" not in err
    err = run(*wish, "--move-to", tmp_path / "out", capsys=capsys)[2]
    assert "mmfm: 1 link now leads nowhere: what was there has been moved\n" in err


def test_a_run_beside_another_keeps_nothing_and_does_not_take_it_for_interrupted(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    wish = ("classify", folder, "--labels", LABELS, "--model", "clip-shapes", "--engine", "fp32")
    clip = mmfm.load_clip("clip-shapes")
    files = sorted(folder.rglob("*.png"))
    run_of = ["fp32", os.path.realpath(folder)]
    other = Memory(clip, files, run=run_of, store="none", say=print)
    stamp = Stamp.of(files[0])
    assert stamp is not None
    other.keeping("fp32")([(str(files[0]), stamp, np.ones(clip.dim, np.float32))])
    for more in ([], ["--resume"]):
        status, out, err = run(*wish, *more, capsys=capsys)
        assert status == 0 and len(out.splitlines()) == 3
        assert "another mmfm looks at these pictures" in err and "interrupted" not in err
        assert "going on" not in err
    with stopped_after(0):
        status, _, err = run(*wish, capsys=capsys)
        assert status == 130 and "begins anew" in err and "goes on" not in err
    other.close()
    assert "going on: 1 " in run(*wish, "--resume", capsys=capsys)[2]


@pytest.mark.parametrize("option", ["--csv", "--html"])
def test_what_would_be_lost_or_cannot_be_written_is_refused_before_the_work(
    option: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(commands, "chosen_clip", pytest.fail)
    (folder / "labels").write_text("red circle\nblue star\n")
    (folder / "plain").write_bytes((folder / "a.png").read_bytes())
    (folder / "bad.jpg").write_bytes(b"broken")
    (folder / "link.csv").symlink_to("nowhere/x.csv")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    wish = ("classify", folder, folder / "plain", "--labels", "@labels", option)
    cases = [
        ("deep/c.png", 2, "is a picture"),
        ("plain", 2, "is read by the same command"),
        ("bad.jpg", 2, "is a picture"),
        (folder / "labels", 2, "is read by the same command"),
        ("-", 2, "/dev/stdout"),
        ("link.csv", 1, "link.csv: cannot be written"),
    ]
    for file, status, told in cases:
        found, out, err = run(*wish, file, capsys=capsys)
        assert (found, out, err.count("\n")) == (status, "", 1) and told in err
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.skipif(os.name != "posix", reason="files that are open have names there")
def test_a_table_goes_into_a_pipe_and_behind_what_is_in_a_file(folder: Path, tmp_path: Path):
    wish = [sys.executable, "-m", "mmfm", "classify", folder, "--labels", LABELS, *SHAPES]
    wish += ["--csv", "/dev/fd/1"]
    done = subprocess.run(wish, capture_output=True, check=True, text=True, encoding="utf-8-sig")
    assert [row["label"] for row in csv.DictReader(done.stdout.splitlines())] == NAMES
    assert "/dev/fd/1: 3 pictures" in done.stderr
    with (tmp_path / "log").open("wb", buffering=0) as log:
        log.write(b"before\n")
        subprocess.run(wish, stdout=log, stderr=subprocess.DEVNULL, check=True)
    text = (tmp_path / "log").read_text(encoding="utf-8")
    assert text == f"before\n\ufeff{done.stdout}".replace("\r", "")


def test_a_folder_in_two_spellings_is_looked_at_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    (folder.parent / "link").symlink_to(folder, target_is_directory=True)
    paths = (folder, folder / "deep" / ".." / "deep", folder.parent / "link")
    status, out, _ = run("classify", *paths, "--labels", LABELS, capsys=capsys)
    assert status == 0 and len(out.splitlines()) == 3


def test_a_cache_that_cannot_be_written_costs_a_line_and_no_answer(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MMFM_CACHE", str(folder / "note.txt" / "cache"))
    wish = ("classify", folder, "--labels", LABELS, "--model", "clip-shapes", "--none")
    for more in ([], ["--move-to", folder.parent / "sorted"]):
        status, out, err = run(*wish, *more, capsys=capsys)
        assert status == 0 and len(out.splitlines()) == 3 and "Traceback" not in err
    assert err.count("--resume would begin anew") == 1
