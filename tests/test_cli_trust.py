"""`mmfm evaluate`, `adapt` and `explain` as a newcomer runs them, one after the other."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from mmfm import cli
from mmfm.data import shapes

NAMES = ["red circle", "blue star", "green square"]
OTHERS = ["pink ring", "black cross", "orange heart"]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMFM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def draw(folder: Path, names: list[str], count: int, seed: int) -> Path:
    for part, name in enumerate(names):
        places = [(size, place) for size in shapes.SIZES for place in shapes.PLACES][:count]
        scenes = [shapes.Scene((shapes.Shape(*name.split(), *words),)) for words in places]
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(shapes.draw(scenes, 48, seed=seed, part=part)):
            Image.fromarray(image.numpy()).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw(folder / "mine", NAMES, 8, seed=1)
    draw(folder / "other", OTHERS, 5, seed=2)
    # Names that say the wrong thing, so that there is something to learn.
    draw(folder / "toys", OTHERS, 8, seed=3)
    for real, made_up in zip(OTHERS, ("dax", "wug", "blick"), strict=True):
        (folder / "toys" / real).rename(folder / "toys" / made_up)
    return folder


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = cli.main([f"{argument}" for argument in arguments])
    return status, *capsys.readouterr()


MODEL = ("--model", "clip-shapes")


def test_what_evaluate_fits_is_taken_by_classify(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    saved, report = tmp_path / "my c.json", tmp_path / "report.html"
    wish = ("evaluate", drawn / "mine", "--other", drawn / "other", "--save", saved)
    status, out, err = run(*wish, "--html", report, *MODEL, capsys=capsys)
    assert (status, err) == (0, "")
    for told in (
        "accuracy",
        "calibration error",
        "AUROC",
        "red circle",
        f"--calibration '{saved}'",
    ):
        assert told in out
    assert "<table" in report.read_text(encoding="utf-8")
    # The labels need not be written again.
    wish = ("classify", drawn / "mine" / "blue star", "--json", *MODEL)
    status, out, err = run(*wish, "--none", "--calibration", saved, capsys=capsys)
    assert (status, err) == (0, "")
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["score_kind"] for row in rows} == {"among_labels_calibrated"}
    assert sum(row["label"] == "blue star" for row in rows) >= 6
    wrong = ("classify", drawn / "mine", "--labels", "a,b", "--calibration", saved, *MODEL)
    status, out, err = run(*wrong, capsys=capsys)
    assert (status, out) == (2, "") and "fitted for the labels" in err and err.count("\n") == 1
    # In another order they are the same.
    turned = ("--labels", ",".join(sorted(NAMES, reverse=True)))
    wish = ("classify", drawn / "mine", *turned, "--multi", "--calibration", saved, *MODEL)
    assert run(*wish, capsys=capsys)[0] == 0


def test_what_adapt_learns_is_taken_by_classify(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    saved = tmp_path / "a.safetensors"
    status, out, err = run("adapt", drawn / "toys", "--save", saved, *MODEL, capsys=capsys)
    assert (status, err) == (0, "") and "gain" in out and "kept:" in out
    # The labels need not be written again.
    wish = ("classify", drawn / "toys", "--adapter", saved, "--json", *MODEL)
    status, out, err = run(*wish, capsys=capsys)
    assert (status, err) == (0, "")
    rows = [json.loads(line) for line in out.splitlines()]
    assert all(row["label"] == Path(row["path"]).parent.name for row in rows)
    wrong = ("classify", drawn / "toys", "--labels", "a,b", "--adapter", saved, *MODEL)
    status, out, err = run(*wrong, capsys=capsys)
    assert (status, out) == (2, "") and "was made for the labels" in err


def test_evaluate_takes_an_adapter_and_names_what_it_cannot_read(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    toys = shutil.copytree(drawn / "toys", tmp_path / "toys")
    saved = tmp_path / "a.safetensors"
    assert run("adapt", toys, "--save", saved, *MODEL, capsys=capsys)[0] == 0
    # What was learned from proves nothing.
    status, out, err = run("evaluate", toys, "--adapter", saved, *MODEL, capsys=capsys)
    assert (status, out) == (1, "") and "learned from every picture" in err
    for real, made_up in zip(OTHERS, ("dax", "wug", "blick"), strict=True):
        for path in draw(tmp_path / "new" / made_up, [real], 6, seed=9).rglob("*.png"):
            shutil.copy(path, toys / made_up / f"new-{path.name}")
    (toys / "dax" / "broken.png").write_bytes(b"broken")
    status, out, err = run("evaluate", toys, "--adapter", saved, *MODEL, capsys=capsys)
    assert status == 3 and "broken.png" in err and "accuracy 100.0%" in out
    assert "left out: 24 pictures that the adapter learned from" in out
    status, out, err = run("adapt", toys, "--save", saved, *MODEL, capsys=capsys)
    assert status == 3 and "broken.png" in out + err


def test_explain_draws_and_prints_the_curve(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    photo, out_file = drawn / "mine" / "blue star" / "0.png", tmp_path / "why.png"
    labels = ("--labels", "blue star,red circle=빨간 원")
    wish = ("explain", photo, *labels, "--out", out_file, *MODEL)
    status, out, err = run(*wish, capsys=capsys)
    assert (status, err) == (0, "")
    assert "blue star: " in out and "taken away" in out and "in random order" in out
    assert "rests on the words" in out and "빨간" in out
    with Image.open(out_file) as picture:
        assert picture.width > 500
    first = out
    assert run(*wish, capsys=capsys)[1] == first  # the random orders are always the same


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["evaluate", "{here}/nowhere"], 1, "no such folder"),
        (["evaluate", "{here}/one"], 1, "at least two"),
        (["evaluate", "{here}/none"], 1, "at least two"),
        (["evaluate", "{here}/two", "--labels", "cat,bird"], 2, "bird"),
        (["evaluate", "{here}/two", "--save", "{here}/no/c.json"], 1, "there is no folder"),
        (["evaluate", "{here}/two", "--other", "{here}/nowhere"], 1, "no such folder"),
        (["adapt", "{here}/nowhere", "--save", "a.safetensors"], 1, "no such folder"),
        (["adapt", "{here}/one", "--save", "a.safetensors"], 1, "at least two"),
        (["adapt", "{here}/two"], 2, "--save"),
        (["adapt", "{here}/two", "--save", "{here}"], 2, "this is a folder"),
        (["explain", "{here}/nowhere.png", "--labels", "a", "--out", "o.png"], 1, "no such file"),
        (["explain", "{here}/bad.png", "--labels", "a", "--out", "o.png"], 1, "bad.png"),
        (["explain", "{here}/two", "--labels", "a", "--out", "o.png"], 1, "folder"),
        (["explain", "{here}/bad.png", "--labels", "", "--out", "o.png"], 2, "no labels"),
        (["explain", "{here}/bad.png", "--labels", "a", "--out", "o.docx"], 2, "end it in .png"),
        (["explain", "{here}/bad.png", "--labels", "a"], 2, "--out"),
        (["explain", "{here}/bad.png", "--labels", "a", "--out", "bad.png"], 2, "is read by"),
        (["evaluate", "{here}/two", "--html", "two/cat/a.png"], 2, "is a picture"),
        (["adapt", "{here}/two", "--save", "-"], 2, "name a file"),
    ],
)
def test_mistakes_are_one_line_with_their_status(
    arguments: list[str],
    status: int,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    for name in ("one/cat", "none", "two/cat", "two/dog"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("one/cat", "two/cat", "two/dog"):
        Image.new("RGB", (20, 20), "red").save(tmp_path / name / "a.png")
    (tmp_path / "bad.png").write_bytes(b"broken")
    arguments = [argument.format(here=tmp_path) for argument in arguments]
    before = sorted(path.name for path in tmp_path.iterdir())
    found, out, err = run(*arguments, *MODEL, capsys=capsys)
    assert (found, out, err.count("\n")) == (status, "", 1)
    assert err.startswith("mmfm: ") and said in err
    assert sorted(path.name for path in tmp_path.iterdir()) == before
