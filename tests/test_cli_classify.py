"""`mmfm classify` as a newcomer runs it: what it prints, writes, refuses, and how it ends."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mmfm import cli
from mmfm.data import shapes

LABELS = "red circle,star=파란 별|blue star,green square"
NAMES = ["red circle", "star", "green square"]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMFM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


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
    status, out, err = run("classify", folder, "--labels", LABELS, capsys=capsys)
    assert status == 0
    lines = out.splitlines()
    assert [line.split(": ")[1].rsplit(" ", 1)[0] for line in lines] == NAMES
    assert all(line.endswith("%") and "100" not in line for line in lines)
    assert err.count("\n") == 2 and "drawn shapes only" in err and "--model" in err
    assert "1 .txt" in err


def test_with_a_model_named_nothing_but_answers_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    wish = ("classify", folder / "a.png", "--labels", LABELS, "--model", "clip-shapes")
    status, out, err = run(*wish, capsys=capsys)
    assert (status, err) == (0, "") and out.startswith(f"{folder / 'a.png'}: red circle ")


def test_json_is_one_object_a_line_and_nothing_else(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    (folder / "z.png").write_bytes(b"broken")
    status, out, err = run("classify", folder, "--labels", LABELS, "--json", capsys=capsys)
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
    wish = ("classify", folder / "a.png", "--labels", labels, "--json")
    few = json.loads(run(*wish, capsys=capsys)[1])["scores"]
    every = json.loads(run(*wish, "--all-scores", capsys=capsys)[1])["scores"]
    assert len(few) == 5 and len(every) == 20
    assert list(every.items())[:5] == list(few.items())
    assert list(every.values()) == sorted(every.values(), reverse=True)


def test_multi_and_none_are_said_in_words_and_in_json(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    others = ("--labels", "pink ring,black cross")
    assert "none of these" in run("classify", folder / "a.png", *others, "--none", capsys=capsys)[1]
    several = ("classify", folder / "a.png", "--labels", "red circle,red,pink ring", "--multi")
    row = json.loads(run(*several, "--json", capsys=capsys)[1])
    assert row["score_kind"] == "each_label_uncalibrated" and "red circle" in row["labels"]
    assert "pink ring" not in row["labels"]


def test_a_table_is_written_whole_for_spreadsheets(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    file = tmp_path / "answers.csv"
    status, out, _ = run("classify", folder, "--labels", LABELS, "--csv", file, capsys=capsys)
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
    assert run("classify", folder, "--labels", labels, "--html", file, capsys=capsys)[0] == 0
    text = file.read_text(encoding="utf-8")
    assert "\\u003cb>red\\u003c/b>" in text and "<b>red</b>" not in text and "<i>x" not in text
    # The name of a kind of drawing, of which nothing is fetched.
    assert set(re.findall(r"https?://[^\"']+", text)) == {"http://www.w3.org/2000/svg"}
    assert text.count('"/9j/') == 4


def test_v_says_what_is_run_and_what_the_scores_mean(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    err = run("classify", folder, "--labels", LABELS, "-v", capsys=capsys)[2]
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
        (["{folder}", "--labels", "a,b", "--model", "vit-cifar"], 2, "load_vit"),
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
    lines = [line for line in err.splitlines() if "drawn shapes only" not in line]
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
