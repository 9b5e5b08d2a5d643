"""`mmfm train clip`: pairs of one's own become a CLIP; killed and resumed like any run."""

import csv
import itertools
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mixtures import make_sources, tables
from PIL import Image, ImageDraw
from safetensors.torch import load_file

import mmfm
from mmfm.data.captions import KNOWN, CaptionedPictures, load_captioned
from mmfm.data.mixture import load_mixture
from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadInput, BadRun, NotHere
from mmfm.models.clip import CLIP, CLIPConfig, TextConfig, TwoTowers
from mmfm.models.vit import ViTConfig
from mmfm.nn import shapes_only
from mmfm.recipes import read_sources
from mmfm.tasks.train_clip import (
    ClipRecipe,
    Pairs,
    Shown,
    ShownMixture,
    build,
    measure,
    recipe_for,
    resume_clip,
    train_clip,
)

TINY = """
size = 16
[model]
dim = 16
[model.image]
patch_size = 4
dim = 32
depth = 1
heads = 2
mlp_dim = 32
cls_token = false
pool = "mean"
[model.text]
vocabulary = 300
context = 16
dim = 32
depth = 1
heads = 2
mlp_dim = 32
[augment]
shift = 1
[plan]
steps = 40
batch = 32
rate = 3e-3
precision = "fp32"
threads = 1
average = 0.9
save_steps = 7
"""
COLOURS = {"red": "빨간", "green": "초록", "blue": "파란", "black": "검은"}
SHAPES = {"circle": "원", "bar": "막대"}


def draw_pairs(folder: Path, copies: int = 6) -> Path:
    """Circles and bars in four colours, and a CSV file that says so in two columns."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = random.Random(0)
    rows = [("path", "english", "korean")]
    for number, (colour, shape) in enumerate(list(itertools.product(COLOURS, SHAPES)) * copies):
        picture = Image.new("RGB", (16, 16), "white")
        x, y = generator.randint(1, 5), generator.randint(1, 5)
        box = (x, y, x + 9, y + 9) if shape == "circle" else (x, y, x + 9, y + 2)
        pen = ImageDraw.Draw(picture)
        (pen.ellipse if shape == "circle" else pen.rectangle)(box, fill=colour)
        picture.save(folder / f"{number}.png")
        rows.append((f"{number}.png", f"{colour} {shape}", f"{COLOURS[colour]} {SHAPES[shape]}"))
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder / "pairs.csv"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pairs(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(TINY)
    return path


def both(data: Path) -> Pairs:
    return Pairs(str(data), ("english", "korean"))


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "mmfm.cli", "train", "clip", *map(str, arguments)]


def run_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=300, env=environment
    )


def rows_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").open()]


# --- what comes out -----------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["info_nce", "sigmoid"])
def test_own_pairs_are_learned_in_both_languages_and_load_as_a_clip(
    tmp_path: Path, drawn: Path, tiny: Path, loss: str
) -> None:
    out, recipe = tmp_path / "run", replace(ClipRecipe.read(str(tiny)), kind=loss)
    recipe = recipe.changed({"steps": 150})
    reports = list(train_clip(both(drawn), out, recipe, device="cpu"))
    scores = reports[-1].scores
    assert list(scores) == ["text R@1", "picture R@1", "text R@5", "picture R@5"]
    assert scores["text R@1"] >= 0.75, scores  # one in eight by chance

    model = mmfm.load_clip(str(out))
    assert isinstance(model, CLIP)
    pictures = [drawn.parent / f"{number}.png" for number in range(8)]
    asked = [(c, s) for c, s in itertools.product(COLOURS, SHAPES)]
    for texts in ([f"{c} {s}" for c, s in asked], [f"{COLOURS[c]} {SHAPES[s]}" for c, s in asked]):
        near = model.encode_image(pictures) @ model.encode_text(texts).T
        assert (near.argmax(dim=1) == torch.arange(8)).sum() >= 6
    assert (model.bias is None) == (loss == "info_nce")
    assert [row["step"] for row in rows_of(out) if "loss" in row] == list(range(1, 151))
    assert rows_of(out)[-1]["text R@1"] == scores["text R@1"]
    assert Image.open(out / "loss.png").width > 300


def test_the_scale_is_held_at_100(tmp_path: Path, drawn: Path, tiny: Path) -> None:
    recipe = ClipRecipe.read(str(tiny)).changed({"steps": 1})
    hot = replace(recipe, model={**recipe.model, "scale": math.log(100) + 1})
    list(train_clip(both(drawn), tmp_path / "run", hot, device="cpu"))
    saved = load_file(tmp_path / "run" / "checkpoint.safetensors")
    assert saved["model/scale"] == pytest.approx(math.log(100))
    # The sigmoid loss has no such bound (Zhai et al. 2023), and its models have learned more.
    list(train_clip(both(drawn), tmp_path / "free", replace(hot, kind="sigmoid"), device="cpu"))
    saved = load_file(tmp_path / "free" / "checkpoint.safetensors")
    assert saved["model/scale"] > math.log(100) + 0.5


def test_with_a_chunk_the_same_is_learned(tmp_path: Path, drawn: Path, tiny: Path) -> None:
    recipe = ClipRecipe.read(str(tiny)).changed({"steps": 5})
    whole = list(train_clip(both(drawn), tmp_path / "whole", recipe, device="cpu"))
    chunked = replace(recipe, chunk=10)
    parts = list(train_clip(both(drawn), tmp_path / "parts", chunked, device="cpu"))
    assert [r.step.loss for r in parts] == pytest.approx([r.step.loss for r in whole], abs=1e-4)


def test_fewer_pairs_than_a_batch_are_all_of_the_batch(
    tmp_path: Path, drawn: Path, tiny: Path
) -> None:
    recipe = ClipRecipe.read(str(tiny)).changed({"batch": 500, "steps": 2})
    reports = list(train_clip(both(drawn), tmp_path / "run", recipe, device="cpu"))
    count = 48 - reports[-1].pictures  # less those that are held out
    assert f"batches of {count} pairs, not 500: there are no more" in reports[0].step.notes
    assert not any("no more" in note for note in reports[1].step.notes)
    plan = json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]["plan"]
    assert plan["batch"] == count
    # A resumed run keeps to that.
    resumed = list(resume_clip(tmp_path / "run", changes={"steps": 3}, device="cpu"))
    assert [report.step.number for report in resumed] == [3]


def test_a_run_can_begin_with_a_trained_model_and_keeps_its_tokenizer(
    tmp_path: Path, drawn: Path, tiny: Path
) -> None:
    recipe = ClipRecipe.read(str(tiny))
    list(train_clip(Pairs(str(drawn), ("english",)), tmp_path / "one", recipe, device="cpu"))
    still = recipe.changed(
        {"steps": 1, "rate": 0.0, "matrix_rate": 0.0}, start=str(tmp_path / "one")
    )
    list(train_clip(both(drawn), tmp_path / "two", still, device="cpu"))
    one, two = (mmfm.load_clip(str(tmp_path / name)) for name in ("one", "two"))
    assert all(torch.equal(a, two.state_dict()[name]) for name, a in one.state_dict().items())
    assert one.tokenizer is not None and two.tokenizer is not None
    assert torch.equal(one.tokenizer(["빨간 원 red"]), two.tokenizer(["빨간 원 red"]))
    with pytest.raises(BadInput, match="--size"):
        next(train_clip(both(drawn), tmp_path / "no", still.changed({}, size=32), device="cpu"))
    with pytest.raises(BadInput, match="no bias"):
        wrong = replace(still, kind="sigmoid")
        next(train_clip(both(drawn), tmp_path / "no", wrong, device="cpu"))
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("chunk", [None, 10])
def test_pictures_can_be_put_to_words_that_stay_as_they_are(
    tmp_path: Path, drawn: Path, tiny: Path, chunk: int | None
) -> None:
    recipe = ClipRecipe.read(str(tiny)).changed({"steps": 5})
    list(train_clip(both(drawn), tmp_path / "one", recipe, device="cpu"))
    locked = replace(recipe, only_image=True, chunk=chunk)
    with pytest.raises(BadInput, match="--start clip-nano"):
        next(train_clip(both(drawn), tmp_path / "no", locked, device="cpu"))
    assert not (tmp_path / "no").exists()
    locked = locked.changed({"steps": 3}, start=str(tmp_path / "one"))
    list(train_clip(both(drawn), tmp_path / "two", locked, device="cpu"))
    list(resume_clip(tmp_path / "two", changes={"steps": 6}, device="cpu"))
    one, two = (mmfm.load_clip(str(tmp_path / name)).state_dict() for name in ("one", "two"))
    same = {name for name, weight in one.items() if torch.equal(weight, two[name])}
    words = {name for name in one if name.startswith(("text.", "text_projection"))}
    assert words <= same and same - words <= {"scale"} and len(words) < len(one) - 5


def test_what_cannot_be_read_is_named_and_left_out(tmp_path: Path, tiny: Path) -> None:
    data = draw_pairs(tmp_path / "data")
    (tmp_path / "data" / "3.png").write_bytes(b"\x89PNG torn")
    count = len(list((tmp_path / "data").glob("*.png")))
    out = tmp_path / "run"
    done = run_command("--data", data, "--out", out, "--recipe", tiny, "--text", "korean",
                       "--steps", 2)  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("3.png") == 1 and "Traceback" not in done.stderr
    assert done.stderr.count(f"mmfm: 1 of {count} pictures left out") == 2  # at first, at last
    assert "mmfm.load_clip(" in done.stdout
    settings = json.loads((out / "run.json").read_text())
    assert settings["text"] == ["korean"] and Path(settings["data"]).is_absolute()


def test_of_many_that_cannot_be_read_the_first_are_named_and_all_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mmfm.faces import TrainingScreen
    from mmfm.reports import Report
    from mmfm.train import Step

    screen = TrainingScreen("x", tmp_path, lambda: False, use="y", live=False, silent=False)
    for done, total in ((20, 50), (50, 50), (10, 10)):  # to train on, and held out
        screen.loading(done, total)
    skipped = tuple((f"{number}.png", "torn") for number in range(40))
    step = Step(1, 1.0, 1.0, 1.0, 1.0, seconds_left=0.0, progress=1.0, epoch=1.0, last=True)
    screen.show(Report(step, skipped=skipped))
    began = capsys.readouterr().err.splitlines()
    assert began == [
        *(f"mmfm: {number}.png: torn; left out" for number in range(10)),
        "mmfm: 40 of 60 pictures left out",
    ]
    screen.conclude()
    assert capsys.readouterr().err == "mmfm: 40 of 60 pictures left out\n"
    assert screen.exit_status == 3


def test_class_folders_are_asked_zero_shot_by_all_that_their_classes_are_called(
    tmp_path: Path, tiny: Path
) -> None:
    draw_pairs(tmp_path / "all", copies=8)
    for number, (colour, shape) in enumerate(list(itertools.product(COLOURS, SHAPES)) * 8):
        place = tmp_path / "data" / f"{colour}_{shape}" / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / f"{number}.png").rename(place)
    names = {f"{c}_{s}": [f"{c} {s}", f"{COLOURS[c]} {SHAPES[s]}"] for c in COLOURS for s in SHAPES}
    (tmp_path / "names.json").write_text(json.dumps(names))
    pairs = Pairs(str(tmp_path / "data"), names=tmp_path / "names.json")
    recipe = ClipRecipe.read(str(tiny)).changed({"steps": 100})
    reports = list(train_clip(pairs, tmp_path / "run", recipe, device="cpu"))
    assert reports[-1].pictures == 8  # one of each class is held out
    assert reports[-1].scores["zero-shot"] >= 0.75
    assert list(resume_clip(tmp_path / "run", device="cpu")) == []  # finds its names again


# --- what is shown and what is asked ------------------------------------------------------------


def test_another_caption_is_drawn_each_time_whatever_the_batch(drawn: Path, tiny: Path) -> None:
    shown = shown_pairs(drawn, tiny)
    every = torch.arange(len(shown))
    epochs = [shown.batch(every, torch.full_like(every, epoch), 0)["groups"] for epoch in range(16)]
    assert all(len(set(drawn_texts)) == 2 for drawn_texts in torch.stack(epochs, 1).tolist())
    alone = [shown.batch(every[i : i + 1], torch.tensor([3]), 0)["groups"] for i in range(20)]
    assert torch.equal(torch.cat(alone), epochs[3][:20])


def test_padding_that_is_cut_off_changes_nothing(drawn: Path, tiny: Path) -> None:
    shown = shown_pairs(drawn, tiny)
    index = torch.arange(8)
    batch = shown.batch(index, torch.zeros_like(index), 0)
    model = build(ClipRecipe.read(str(tiny)), shown.pictures)
    whole = torch.nn.functional.pad(batch["ids"], (0, 16 - batch["ids"].shape[1]))
    assert whole.shape[1] > batch["ids"].shape[1]
    assert model.tokenizer is not None
    assert all(row in model.tokenizer(shown.pictures.texts).tolist() for row in whole.tolist())
    assert torch.allclose(model.project_text(batch["ids"]), model.project_text(whole), atol=1e-6)


def test_the_mark_of_the_end_stays_where_it_is_the_padding_too(drawn: Path, tiny: Path) -> None:
    pictures, _ = load_captioned(str(drawn), size=16, text=("english", "korean"))
    recipe = ClipRecipe.read(str(tiny))
    model = build(recipe, pictures)
    assert model.tokenizer is not None
    frame = model.tokenizer.frame
    model.tokenizer.frame = replace(frame, pad=frame.end[0])
    shown, index = Shown(pictures, recipe, model), torch.arange(8)
    ids = shown.batch(index, torch.zeros_like(index), 0)["ids"]
    assert ids.shape[1] < 16 and (ids == frame.end[0]).any(dim=1).all()
    whole = torch.nn.functional.pad(ids, (0, 16 - ids.shape[1]), value=frame.end[0])
    assert torch.allclose(model.project_text(ids), model.project_text(whole), atol=1e-6)


def test_padding_that_is_looked_at_stays(drawn: Path, tiny: Path) -> None:
    recipe = ClipRecipe.read(str(tiny))
    for change in ({"causal": False}, {"pool": "last"}):
        other = replace(recipe, model={**recipe.model, "text": {**recipe.model["text"], **change}})
        pictures, _ = load_captioned(str(drawn), size=16, text=("english", "korean"))
        shown = Shown(pictures, other, build(other, pictures))
        batch = shown.batch(torch.tensor([0, 1]), torch.tensor([0, 0]), 0)
        assert batch["ids"].shape == (2, 16)


def test_captions_of_one_meaning_are_one_group_in_whatever_language(
    drawn: Path, tiny: Path
) -> None:
    pictures, _ = load_captioned(str(drawn), size=16, text=("english", "korean"))
    colours = torch.tensor(
        [
            next(i for i, words in enumerate(COLOURS.items()) if any(w in text for w in words))
            for text in pictures.texts
        ]
    )
    recipe = ClipRecipe.read(str(tiny))
    known = replace(pictures, meanings=colours[:, None])
    shown = Shown(known, recipe, build(recipe, pictures))
    index = torch.arange(len(pictures))
    batch = shown.batch(index, torch.zeros_like(index), 0)
    assert batch["groups"].tolist() == [number // 2 % 4 for number in range(len(pictures))]


def test_captions_of_one_class_are_one_group_however_it_is_said(drawn: Path, tiny: Path) -> None:
    pictures, _ = load_captioned(str(drawn), size=16, text=("english", "korean"))
    labels = torch.arange(len(pictures)) % 3
    recipe = ClipRecipe.read(str(tiny))
    shown = Shown(replace(pictures, labels=labels), recipe, build(recipe, pictures))
    index = torch.tensor([5, 0, 9, 1])
    assert shown.batch(index, torch.zeros_like(index), 0)["groups"].tolist() == [2, 0, 0, 1]


def shown_pairs(drawn: Path, tiny: Path) -> Shown:
    pictures, _ = load_captioned(str(drawn), size=16, text=("english", "korean"))
    recipe = ClipRecipe.read(str(tiny))
    return Shown(pictures, recipe, build(recipe, pictures))


class Oracle(TwoTowers):
    """Sees the mean of a picture, and reads a number out of a text."""

    def __init__(self) -> None:
        super().__init__()
        self.preprocessing = Preprocessing((2, 2), (0.0,), (1 / 255,))

    def project_image(self, images: torch.Tensor) -> torch.Tensor:
        return self._at(images.mean(dim=(1, 2, 3)))

    def project_text(self, ids: torch.Tensor) -> torch.Tensor:
        return self._at(ids.squeeze(1).float())

    def encode_image(self, pictures: object, *, batch: int = 64) -> torch.Tensor:
        assert isinstance(pictures, torch.Tensor)
        return self.project_image(pictures)

    def encode_text(self, texts: object, *, batch: int = 256) -> torch.Tensor:
        assert isinstance(texts, Sequence)
        return self._at(torch.tensor([float(text.split()[-1]) for text in texts]))

    def _at(self, degrees: torch.Tensor) -> torch.Tensor:
        return torch.stack([degrees.deg2rad().cos(), degrees.deg2rad().sin()], dim=1)


def test_what_is_measured_counts_every_true_caption_and_every_picture_of_it() -> None:
    degrees = [0, 40, 90, 130]
    images = torch.tensor(degrees, dtype=torch.uint8).reshape(4, 1, 1, 1).expand(4, 2, 2, 1)
    captions = [["at 0"], ["at 40", "again 90"], ["at 90"], ["at 100"]]
    pictures = CaptionedPictures.of(images, captions, "test")
    classes = {"labels": torch.tensor([0, 0, 1, 1]), "names": ("low", "high")}
    prompts = (("at 10", "at 20"), ("at 80",))
    scores = measure(Oracle(), replace(pictures, **classes, prompts=prompts))
    # 40 degrees lie nearer to 15 than to 80; 130 nearer to 80.
    assert scores["zero-shot"] == 1.0
    # Picture 2, at 90, has "again 90" as near as its own "at 90"; picture 3 has 100 nearest.
    assert scores["text R@1"] == 0.75
    # "again 90" is of the picture at 40, and "at 100" of that at 130: the one at 90 is nearer.
    assert scores["picture R@1"] == 3 / 5
    assert scores["text R@5"] == scores["picture R@5"] == 1.0

    # Where the source knows what is true, "again 90" is true of picture 2 as well.
    facts, meanings = torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 1, 1, 2])  # as in `texts`
    known = replace(pictures, facts=facts[:, None], meanings=meanings[:, None])
    assert "zero-shot" not in measure(Oracle(), known)
    assert measure(Oracle(), known)["text R@1"] == 1.0
    assert measure(Oracle(), known)["picture R@1"] == 4 / 5


# --- killed, stopped, resumed -------------------------------------------------------------------


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(
    tmp_path: Path, drawn: Path, tiny: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    recipe = ClipRecipe.read(str(tiny)).changed({"steps": 120})
    list(train_clip(both(drawn), whole, recipe, device="cpu"))
    generator, kills = random.Random(5), 0
    start = command("--data", drawn, "--out", killed, "--recipe", tiny, "--steps", 120,
                    "--text", "english", "--text", "korean")  # fmt: skip
    for _ in range(2):
        seen = _metrics_size(killed)
        process = subprocess.Popen(
            command("--out", killed, "--resume") if (killed / "run.json").exists() else start,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # Strike while it is training, at no particular moment of it.
        while process.poll() is None and _metrics_size(killed) == seen:
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 0.2))
        if process.poll() is None:
            process.kill()
            kills += 1
        process.wait()
    assert kills == 2
    list(resume_clip(killed, device="cpu"))
    ours, theirs = load_file(killed / "model.safetensors"), load_file(whole / "model.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert [row["step"] for row in rows_of(killed) if "loss" in row] == list(range(1, 121))


def _metrics_size(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return path.stat().st_size if path.exists() else 0


def test_ctrl_c_stops_with_a_model_that_loads_and_says_how_to_go_on(
    tmp_path: Path, drawn: Path, tiny: Path
) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        command("--data", drawn, "--out", out, "--recipe", tiny, "--text", "english",
                "--steps", 100_000),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    while _metrics_size(out) == 0 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=60)
    assert process.returncode == 130, complained
    assert f"mmfm train clip --out {out} --resume" in said
    assert "Traceback" not in complained
    assert mmfm.load_clip(str(out)).encode_text(["red circle"]).shape == (1, 16)
    assert run_command("--out", out, "--resume", "--minutes", "0.005").returncode == 0


def test_shapes_are_no_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shapes").mkdir()
    assert Pairs("shapes").plain(KNOWN)["data"] == "shapes"
    assert Pairs("shapes").plain(())["data"] == str(tmp_path / "shapes")


def test_a_resumed_run_asks_for_the_same_data_and_a_kill_at_the_end_is_made_good(
    tmp_path: Path, drawn: Path, tiny: Path
) -> None:
    out = tmp_path / "run"
    recipe = ClipRecipe.read(str(tiny)).changed({"steps": 2})
    list(train_clip(both(drawn), out, recipe, device="cpu"))
    with pytest.raises(BadRun, match="was trained on"):
        next(resume_clip(out, data="shapes", device="cpu"))
    with pytest.raises(BadRun, match="--resume"):
        next(train_clip(both(drawn), out, recipe, device="cpu"))
    whole = (out / "model.safetensors").read_bytes()
    for name in ("model.safetensors", "config.json", "loss.png"):
        (out / name).unlink()
    assert list(resume_clip(out, device="cpu")) == []
    assert (out / "model.safetensors").read_bytes() == whole and (out / "loss.png").is_file()
    assert [r.step.number for r in resume_clip(out, changes={"steps": 4}, device="cpu")] == [3, 4]


def test_a_run_goes_on_with_its_own_tokenizer_and_without_the_model_that_it_began_with(
    tmp_path: Path, drawn: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, recipe = tmp_path / "first", ClipRecipe.read(str(tiny)).changed({"steps": 10})
    list(train_clip(both(drawn), first, recipe, device="cpu"))
    onward = recipe.changed({}, start=str(first))
    for name in ("whole", "parts"):
        steps = train_clip(both(drawn), tmp_path / name, onward, device="cpu")
        for report in steps:
            if name == "parts" and report.step.number == 4:
                break
        steps.close()
    shutil.rmtree(first)
    monkeypatch.setattr("mmfm.tasks.train_clip.learn", None)  # nor is anything learned again
    list(resume_clip(tmp_path / "parts", device="cpu"))
    ours, theirs = (load_file(tmp_path / n / "model.safetensors") for n in ("parts", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_before_its_first_checkpoint_a_run_begins_again_with_its_own_tokenizer(
    tmp_path: Path, drawn: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, out = ClipRecipe.read(str(tiny)), tmp_path / "run"
    begun = train_clip(both(drawn), out, recipe, device="cpu")
    next(begun)
    begun.close()
    (out / "checkpoint.safetensors").unlink()
    monkeypatch.setattr("mmfm.tasks.train_clip.learn", None)
    again = resume_clip(out, device="cpu")
    assert next(again).step.number == 1
    again.close()


def test_a_run_without_its_tokenizer_or_its_model_is_of_another_version(
    tmp_path: Path, drawn: Path, tiny: Path
) -> None:
    out = tmp_path / "run"
    recipe = ClipRecipe.read(str(tiny)).changed({"steps": 2})
    list(train_clip(both(drawn), out, recipe, device="cpu"))
    settings = json.loads((out / "run.json").read_text())
    kept = settings.pop("model")
    (out / "run.json").write_text(json.dumps(settings))
    with pytest.raises(BadRun, match="of another version"):
        next(resume_clip(out, changes={"steps": 3}, device="cpu"))
    (out / "run.json").write_text(json.dumps({**settings, "model": kept}))
    (out / "tokenizer_settings.json").unlink()
    with pytest.raises(BadRun, match=r"of another version \(no tokenizer"):
        next(resume_clip(out, changes={"steps": 3}, device="cpu"))


def test_a_run_leaves_its_model_in_16_bits_and_its_checkpoint_in_32(
    tmp_path: Path, drawn: Path, tiny: Path
) -> None:
    recipe = ClipRecipe.read(str(tiny)).changed({"steps": 2})
    list(train_clip(both(drawn), tmp_path / "run", recipe, device="cpu"))
    left = load_file(tmp_path / "run" / "model.safetensors")
    kept = load_file(tmp_path / "run" / "checkpoint.safetensors")
    for name, weight in left.items():
        whole = kept[f"averaged/{name}"]
        assert (weight.dtype, whole.dtype) == (torch.float16, torch.float32)
        assert torch.equal(weight, whole.half())
    model = mmfm.load_clip(str(tmp_path / "run"))
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_a_run_is_not_gone_on_with_on_other_captions(tmp_path: Path, tiny: Path) -> None:
    pairs, out = both(draw_pairs(tmp_path / "data")), tmp_path / "run"
    begun = train_clip(pairs, out, ClipRecipe.read(str(tiny)), device="cpu")
    next(begun)
    begun.close()
    file = Path(pairs.data)
    kept = file.read_bytes()
    file.write_bytes(kept.replace(b"red circle", b"wet circle"))
    with pytest.raises(BadRun, match=r"csv is not what it was: .* put it back"):
        next(resume_clip(out, device="cpu"))
    file.write_bytes(kept)
    assert next(resume_clip(out, device="cpu")).step.number == 2


def test_a_run_goes_on_where_its_pairs_lie_now(tmp_path: Path, tiny: Path) -> None:
    pairs, out = both(draw_pairs(tmp_path / "data")), tmp_path / "run"
    recipe = ClipRecipe.read(str(tiny)).changed({"steps": 1})
    list(train_clip(pairs, out, recipe, device="cpu"))
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(NotHere, match=r"which is gone; .*--data"):
        next(resume_clip(out, device="cpu"))
    data = str(tmp_path / "moved" / Path(pairs.data).name)
    assert len(list(resume_clip(out, data=data, changes={"steps": 2}, device="cpu"))) == 1
    assert len(list(resume_clip(out, changes={"steps": 3}, device="cpu"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("extra", ["", "[loss]\nchunk = 5", '[loss]\nkind = "sigmoid"'])
def test_torchrun_trains_the_same_as_one_process(tmp_path: Path, drawn: Path, extra: str) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(f"{TINY}\n{extra}")
    arguments = ["--data", drawn, "--text", "korean", "--recipe", recipe, "--steps", 20, "--out"]
    done = run_command(*arguments, tmp_path / "one")
    assert done.returncode == 0, done.stderr
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    together = [*torchrun, "--nproc-per-node", "2", "-m", "mmfm", "train", "clip"]
    done = subprocess.run(
        [*together, *map(str, arguments), str(tmp_path / "two")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    one, two = (
        [row["loss"] for row in rows_of(tmp_path / name) if "loss" in row]
        for name in ("one", "two")
    )
    assert len(one) == 20
    assert two == pytest.approx(one, abs=1e-4)


# --- what a newcomer gets wrong -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says", "status"),
    [
        (("--out", "OUT"), "--data is missing", 2),
        (("--data", "nowhere", "--out", "OUT"), "nowhere", 1),
        (("--data", "CSV", "--out", "OUT", "--text", "frensh"), "english, korean", 2),
        (("--data", "CSV", "--out", "OUT", "--recipe", "cake"), "clip-shapes", 2),
        (("--data", "CSV", "--out", "OUT", "--recipe", "vit-cifar"), "there are clip-nano", 2),
        (
            ("--data", "CSV", "--text", "english", "--out", "OUT", "--start", "mnist-nano"),
            "name a run of mmfm train clip",
            2,
        ),
        (("--data", "TWO", "--out", "OUT"), "two.csv: too few to train on", 2),
        (("--data", "CSV", "--out", "CSV"), "is a file", 2),
        (("--data", "nowhere", "--out", "OUT", "--recipe", "clip-nano-again"), "--start RUN", 2),
        (("--data", "nowhere", "--out", "OUT", "--start", "mnist-nano"), "mmfm train clip", 2),
        (("--out", "OUT", "--resume"), "no run to go on with", 1),
        (("--out", "OUT", "--resume", "--seed", "0"), "leave out --seed", 2),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    tmp_path: Path, drawn: Path, arguments: Sequence[str], says: str, status: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from mmfm.cli import main

    two = tmp_path / "two.csv"
    two.write_text(f"path,caption\n{drawn.parent / '0.png'},one\n{drawn.parent / '1.png'},two\n")
    places = {"OUT": str(tmp_path / "run"), "CSV": str(drawn), "TWO": str(two)}
    assert main(["train", "clip", *(places.get(word, word) for word in arguments)]) == status
    complained = capsys.readouterr().err
    assert says in complained
    assert len(complained.strip().splitlines()) == 1, complained
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "text",
    [
        "[plan]\nsteps = 1\n[loss]\nkind = 'hinge'",
        "[plan]\nsteps = 1\n[loss]\nchunk = 0",
        "[plan]\nsteps = 1\n[loss]\nlabel_smoothing = 0.1",
        "[plan]\nsteps = 1\naccumulate = 2",
        "[plan]\nsteps = 1\n[model]\nimage = 3",
        "[plan]\nsteps = 1\n[model]\nimagge = {dim = 8}",
        "[plan]\nsteps = 1\n[model.text]\ndim = 'x'",
        "[plan]\nsteps = 1\n[model.text]\nbanana = 1",
        "plan = 3",
    ],
)
def test_a_wrong_recipe_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(BadInput):
        ClipRecipe.read(str(tmp_path / "wrong.toml"))


@pytest.mark.parametrize(
    "wrong",
    ["image = {patch_size = 5}", "text = {heads = 5}", "text = {vocabulary = 100}",
     'text = {pool = "argmax"}', "dim = 0", "dim = 8\n[augment]\nshift = 99"],
)  # fmt: skip
def test_a_recipe_that_cannot_be_carried_out_leaves_no_folder(
    tmp_path: Path, drawn: Path, wrong: str
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(f"size = 16\n[plan]\nsteps = 1\nbatch = 8\n[model]\n{wrong}")
    with pytest.raises(BadInput):
        next(train_clip(both(drawn), tmp_path / "run", ClipRecipe.read(str(path)), device="cpu"))
    assert not (tmp_path / "run").exists()


def test_recipes_that_came_with_the_package_can_be_read() -> None:
    for data in ("shapes", "pairs.csv"):
        assert ClipRecipe.read(recipe_for(data)).plan.batch > 0
    assert ClipRecipe.of(ClipRecipe.read("clip-shapes").plain()) == ClipRecipe.read("clip-shapes")


# --- several sources at once --------------------------------------------------------------------

MIXED = (
    TINY.replace("context = 16", "context = 48")
    .replace("size = 16", 'size = 8\nsources = "SOURCES"')
    .replace("[augment]\nshift = 1\n", "")
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three small sources, and a recipe beside them that learns from all."""
    folder = make_sources(tmp_path_factory.mktemp("sources"))
    lines: list[str] = []
    for table in tables(folder):
        lines += [
            "[[sources]]",
            *(f"{name} = {json.dumps(value)}" for name, value in table.items()),
        ]
    (folder / "sources.toml").write_text("\n".join(lines), encoding="utf-8")
    (folder / "mixed.toml").write_text(MIXED.replace("SOURCES", str(folder / "sources.toml")))
    return folder


def test_several_sources_are_learned_from_at_once_in_both_languages(
    tmp_path: Path, sources: Path
) -> None:
    recipe = ClipRecipe.read(str(sources / "mixed.toml")).changed({"steps": 150})
    out = tmp_path / "run"
    reports = list(train_clip(Pairs(str(sources)), out, recipe, device="cpu"))
    scores = reports[-1].scores
    mixture = load_mixture(recipe.sources, sources, size=8)
    assert reports[-1].pictures == sum(len(part.kinds) for part in mixture.held_out)
    assert list(scores)[:4] == ["photos top-1 en", "photos top-1 ko", "coarse top-1 en",
                                "coarse top-1 ko"]  # fmt: skip
    assert {name for name in scores if "signs" in name} == {
        f"{title} signs R@{first} {language}"
        for title in ("new hand", "new")
        for first in (1, 10)
        for language in ("en", "ko")
    }
    assert min(scores["photos top-1 en"], scores["photos top-1 ko"]) >= 5 / 6, scores
    assert scores["new hand signs R@1 en"] >= 0.5, scores  # one in nine by chance
    model = mmfm.load_clip(str(out))
    near = (
        model.encode_image([Image.new("RGB", (8, 8), (200, 3, 0))])
        @ model.encode_text(["참새", "송어", "참나무"]).T
    )
    assert near.argmax() == 0


def test_a_run_of_several_sources_is_resumed_from_its_own_folder_alone(
    tmp_path: Path, sources: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    recipe = ClipRecipe.read(str(sources / "mixed.toml")).changed({"steps": 12})
    list(train_clip(Pairs(str(sources)), whole, recipe, device="cpu"))
    begun = train_clip(Pairs(str(sources)), parts, recipe, device="cpu")
    assert [next(begun).step.number for _ in range(5)][-1] == 5
    begun.close()
    settings = json.loads((parts / "run.json").read_text())
    assert [source["data"] for source in settings["recipe"]["sources"]] == [
        "photos", "coarse", "signs.parquet",
    ]  # fmt: skip
    assert ClipRecipe.of(settings["recipe"]).sources == recipe.sources
    list(resume_clip(parts, device="cpu"))
    assert [row["step"] for row in rows_of(parts) if "loss" in row] == list(range(1, 13))
    ours, theirs = load_file(parts / "model.safetensors"), load_file(whole / "model.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_such_a_run_is_not_gone_on_with_when_other_words_are_said(
    tmp_path: Path, sources: Path
) -> None:
    recipe = ClipRecipe.read(str(sources / "mixed.toml"))
    sources = make_sources(tmp_path)
    recipe = replace(recipe, sources=read_sources(tables(sources)))
    begun = train_clip(Pairs(str(sources)), tmp_path / "run", recipe, device="cpu")
    next(begun)
    begun.close()
    names = sources / "names.csv"
    names.write_text(names.read_text(encoding="utf-8").replace("송어", "연어"), encoding="utf-8")
    with pytest.raises(BadRun, match="is not what it was"):
        next(resume_clip(tmp_path / "run", device="cpu"))


def test_a_batch_of_several_sources_tells_what_is_shown_and_what_is_said(sources: Path) -> None:
    recipe = ClipRecipe.read(str(sources / "mixed.toml"))
    mixture = load_mixture(recipe.sources, sources, size=8)
    model = build(replace(recipe, keep_patches=0.5), mixture)
    shown = ShownMixture(mixture, replace(recipe, keep_patches=0.5), model)
    index = torch.arange(20)
    batch = shown.batch(index, torch.zeros_like(index), 0)
    assert batch["images"].shape == (20, 3, 8, 8) and batch["images"].abs().max() <= 1
    assert mixture.truth[batch["groups"], batch["said"]].all()
    assert model.tokenizer is not None
    for ids, word in zip(batch["ids"], batch["said"].tolist(), strict=True):
        assert mixture.words[word] in model.tokenizer.decode(ids)
    assert batch["keep"].shape == (20, 4) and (batch["keep"].sum(dim=1) == 2).all()
    assert "keep" not in ShownMixture(mixture, recipe, model).batch(index, index * 0, 0)


def test_what_is_said_again_is_cut_into_the_same_pieces_without_asking(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = ClipRecipe.read(str(sources / "mixed.toml"))
    mixture = load_mixture(recipe.sources, sources, size=8)
    model = build(recipe, mixture)
    shown, fresh = (ShownMixture(mixture, recipe, model) for _ in range(2))
    index = torch.arange(30)
    for epoch in range(5):
        shown.batch(index, torch.full_like(index, epoch), 0)
    assert len(shown.rows) <= len(mixture.sayable)
    then = fresh.batch(index, torch.full_like(index, 4), 0)["ids"]
    monkeypatch.setattr(type(model.tokenizer), "__call__", None)
    assert torch.equal(shown.batch(index, torch.full_like(index, 4), 0)["ids"], then)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('sources = "nowhere"', "no sources 'nowhere'.*nano-emoji, nano-photos"),
        ("sources = [3]", "sources are tables"),
        ("[[sources]]\nshare = 1.0", "data is missing"),
        ('[[sources]]\ndata = "x"\nshape = 3', "has no 'shape'"),
        ('[[sources]]\ndata = "x"\n[sources.augment]\nspin = 3', "has no 'spin'"),
        ('[[sources]]\ndata = "x"\nhand = "y"', "go with kind"),
        ('[[sources]]\ndata = "x"\n[augment]\nshift = 1', "its own"),
    ],
)
def test_a_recipe_of_sources_that_cannot_be_is_refused(
    tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(f"size = 8\n{text}\n[plan]\nsteps = 1\n")
    with pytest.raises(BadInput, match=says):
        ClipRecipe.read(str(path))
    path.write_text('[[sources]]\ndata = "x"\n[plan]\nsteps = 1\n')
    with pytest.raises(BadInput, match="one size"):
        ClipRecipe.read(str(path))


def test_what_such_a_recipe_says_itself_is_not_said_on_the_command_line(
    tmp_path: Path, sources: Path
) -> None:
    recipe, out = sources / "mixed.toml", tmp_path / "run"
    done = run_command("--data", sources, "--out", out, "--recipe", recipe, "--text", "name_en")
    assert done.returncode == 2 and "no --text" in done.stderr, done.stderr
    done = run_command("--data", tmp_path, "--out", out, "--recipe", recipe)
    assert done.returncode == 1 and "no photos in it" in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not out.exists()


@pytest.mark.parametrize(
    ("name", "least", "most"), [("clip-nano", 4e6, 7e6), ("clip-nano-gpu", 10e6, 15e6)]
)
def test_the_recipes_of_clip_nano_are_as_large_as_they_should_be(
    name: str, least: float, most: float
) -> None:
    recipe = ClipRecipe.read(name)
    given = dict(recipe.model)
    assert recipe.size is not None
    image = ViTConfig(**given.pop("image"), image_size=(recipe.size,) * 2)
    text = TextConfig(**given.pop("text"), pool="end", end=2)
    with shapes_only():
        model = CLIP(CLIPConfig(image=image, text=text, **given))
    assert least <= sum(weight.numel() for weight in model.parameters()) <= most


def test_the_recipes_of_clip_nano_are_whole_and_hold_out_the_same() -> None:
    names = ("clip-nano", "clip-nano-again", "clip-nano-gpu")
    recipes = [ClipRecipe.read(name) for name in names]
    assert recipes[0].sources == recipes[1].sources == recipes[2].sources
    photos, cifar, emoji = recipes[0].sources
    assert (photos.data, cifar.data) == ("tiny-imagenet", "cifar10")
    assert (emoji.hold_hands, emoji.hold_kinds, emoji.seed) == (("twemoji",), 200, 0)
    assert emoji.scenes + emoji.background < 1
