"""`mmfm train draw`: words decide what is drawn, and a run can be stopped, killed and gone on with.

The world is small: circles, squares and bars in red, green and blue, as three hands draw them on
8x8 pixels, with names in two languages; and a CLIP of random weights, which reads them.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from mixtures import png
from PIL import Image, ImageDraw
from safetensors.torch import load_file

from mmfm import cli
from mmfm.data.mixture import Mixture
from mmfm.data.templates import language_of
from mmfm.errors import BadInput, BadRun, MmfmError, NotHere
from mmfm.models.checkpoints import load_clip, load_denoiser, save_clip
from mmfm.models.clip import CLIP, CLIPConfig, TextConfig
from mmfm.models.tokenizer import learn
from mmfm.models.vit import ViTConfig
from mmfm.models.words import Reader
from mmfm.recipes import read_sources
from mmfm.tasks.generate import Sampling, generate
from mmfm.tasks.train_draw import (
    DrawRecipe,
    Lesson,
    Said,
    Shown,
    _build,
    _loss,
    _prepared,
    resume_draw,
    train_draw,
)

CPU = torch.device("cpu")
HANDS = ("brush", "chalk", "pen")
COLOURS = {"red": ("빨간", 0), "green": ("초록", 1), "blue": ("파란", 2)}
THINGS = {"circle": "원", "square": "네모", "bar": "막대"}
SOURCES = """
[[sources]]
data = "things.parquet"
kind = "thing"
hand = "hand"
names = ["name_en", "name_ko"]
words = ["keywords_en", "keywords_ko"]
templates = ["{name}", "{name} picture", "{name} 그림"]
ask = ["{name}"]
broader = 0.2
hold_hands = ["chalk"]
hold_names = ["<green circle>"]
"""
TINY = f"""
size = 8
{SOURCES}
[model]
widths = [8]
depths = [1]
attention = [0]
middle = 0
mlp = 0
groups = 4
head_dim = 8
embed = 16
[plan]
steps = 30
batch = 16
rate = 1e-2
precision = "fp32"
threads = 1
save_steps = 10
[sampling]
steps = 3
guidance = 1.5
"""


def drawing(colour: str, thing: str, hand: int) -> bytes:
    """A thing in its colour on nothing; each hand has a shade of its own."""
    shade = [30 * hand] * 3
    shade[COLOURS[colour][1]] = 255 - 10 * hand
    picture = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    match thing:
        case "circle":
            pen.ellipse((1, 1, 6, 6), fill=tuple(shade))
        case "square":
            pen.rectangle((1, 1, 6, 6), fill=tuple(shade))
        case _:
            pen.rectangle((3, 0, 4, 7), fill=tuple(shade))
    return png(picture)


def make_things(folder: Path, *, without: str = "") -> None:
    rows = [
        {
            "image": drawing(colour, thing, hand),
            "thing": f"<{colour} {thing}>",
            "hand": HANDS[hand],
            "name_en": f"{colour} {thing}",
            "name_ko": f"{COLOURS[colour][0]} {THINGS[thing]}",
            "keywords_en": [colour],
            "keywords_ko": [COLOURS[colour][0]],
        }
        for colour in COLOURS
        for thing in THINGS
        for hand in range(len(HANDS))
        if f"{colour} {thing}" != without
    ]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "things.parquet")


def make_clip(folder: Path, *, seed: int = 0, towers: Any = "both") -> Path:
    """Both towers with random weights, which tell one word from another all the same."""
    said = [f"{c} {t}" for c in COLOURS for t in THINGS]
    said += [f"{ko} {t}" for ko, _ in COLOURS.values() for t in THINGS.values()]
    tokenizer = learn([*said, "picture", "그림"], vocabulary=400, context=12)
    text = TextConfig(
        vocabulary=tokenizer.vocabulary, context=12, dim=24, depth=1, heads=2, mlp_dim=24,
        pool="end", end=tokenizer.frame.end[0],
    )  # fmt: skip
    image = ViTConfig((8, 8), 4, dim=16, depth=1, heads=2, mlp_dim=16)
    clip = CLIP(CLIPConfig(image, text, dim=12), None, tokenizer, towers=towers)
    clip.reset(torch.Generator().manual_seed(seed))
    if clip.text is not None:  # as far apart as trained ones are
        torch.nn.init.normal_(clip.text.embed.weight, generator=torch.Generator().manual_seed(seed))
    save_clip(clip, folder)
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    make_things(folder / "data")
    make_clip(folder / "clip")
    (folder / "tiny.toml").write_text(TINY, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def tiny(world: Path) -> DrawRecipe:
    recipe = DrawRecipe.read(str(world / "tiny.toml"))
    return replace(recipe, clip=str(world / "clip"))


@pytest.fixture(scope="module")
def lesson(world: Path, tiny: DrawRecipe) -> Lesson:
    return _prepared(str(world / "data"), tiny, CPU, None, lambda: False)


@pytest.fixture(scope="module")
def trained(world: Path, tiny: DrawRecipe) -> Path:
    out = world / "trained"
    list(train_draw(str(world / "data"), out, tiny, device="cpu"))
    return out


def rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").open()]


def same_weights(one: Path, other: Path) -> bool:
    a, b = (load_file(folder / "checkpoint.safetensors") for folder in (one, other))
    names = [name for name in a if name.startswith(("model/", "averaged/"))]
    return bool(names) and all(torch.equal(a[name], b[name]) for name in names)


# --- what comes out -------------------------------------------------------------------------------


def test_the_folder_holds_a_model_and_says_what_everything_in_it_is(
    trained: Path, world: Path
) -> None:
    about = json.loads((trained / "run.json").read_text(encoding="utf-8"))
    there = {path.name for path in trained.iterdir() if not path.name.startswith(".")}
    assert {name.rstrip("/") for name in about["files"]} == there
    assert about["pictures"]["count"] == 8 * 2 and about["pictures"]["hands"] == ["brush", "pen"]
    model = load_denoiser(str(trained))
    c, clip = model.config, load_clip(str(world / "clip"), towers="text")
    assert isinstance(clip, CLIP)
    assert (c.image_size, c.channels, c.classes, c.widths) == (8, 3, 2, (8,))
    assert (c.text_dim, c.text_context) == (24, 11)
    assert c.text_model == Reader(clip).fingerprint == about["words"]
    assert model.labels == ("brush", "pen") and model.reads == str(world / "clip")
    assert model.sampling["guidance"] == 1.5
    assert [row["step"] for row in rows(trained)] == list(range(1, 31))
    stored = load_file(trained / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}


def test_a_clip_is_found_again_from_anywhere(
    tmp_path: Path, world: Path, tiny: DrawRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    recipe = replace(tiny, clip="clip").changed({"steps": 4})
    for report in train_draw("data", tmp_path / "run", recipe, device="cpu"):
        if report.step.number == 2:
            break
    monkeypatch.chdir(tmp_path)
    assert [report.step.number for report in resume_draw(tmp_path / "run")] == [3, 4]


def test_sheets_show_a_column_a_prompt_and_a_row_a_hand(trained: Path) -> None:
    sheets = sorted((trained / "grids").iterdir())
    assert sheets[0].name == "000001.png" and sheets[-1].name == "000030.png"
    prompts = json.loads((trained / "run.json").read_text(encoding="utf-8"))["prompts"]
    languages = [language_of(prompt) for prompt in prompts]
    assert len(prompts) == len(set(prompts)) >= 7 and 3 <= languages.count("ko") <= 5
    with Image.open(sheets[-1]) as last:
        times = 660 // (9 * len(prompts) - 1)
        assert last.size == ((9 * len(prompts) - 1) * times, (4 * 9 - 1) * times)
    for name in ("learning.gif", "steps.gif"):
        with Image.open(trained / name) as film:
            assert film.n_frames > 1


def test_words_of_both_languages_decide_what_is_drawn(tmp_path: Path, world: Path) -> None:
    recipe = DrawRecipe.of(
        {
            "size": 8,
            "sources": read_sources_as_plain(),
            "clip": str(world / "clip"),
            "model": {
                "widths": [16, 32], "depths": [1, 1], "attention": [1], "middle": 0, "mlp": 0,
                "groups": 4, "head_dim": 16, "embed": 32,
            },
            "plan": {
                "steps": 200, "batch": 32, "rate": 5e-3, "precision": "fp32", "threads": 1,
                "average": 0.98, "weight_decay": 0.0,
            },
            "sampling": {"steps": 6, "guidance": 2.0},
        }
    )  # fmt: skip
    reports = list(train_draw(str(world / "data"), tmp_path / "run", recipe, device="cpu"))
    losses = [report.step.loss for report in reports]
    assert sum(losses[-40:]) < 0.6 * sum(losses[:40])
    model = load_denoiser(str(tmp_path / "run"))
    clip = load_clip(str(world / "clip"), towers="text")
    assert isinstance(clip, CLIP)
    reader = Reader(clip)

    def colour(prompt: str) -> torch.Tensor:
        """The mean of each channel, of eight pictures."""
        *_, last = generate(model, [None], prompt=prompt, reader=reader, count=8, seed=1)
        return last.x.mean(dim=(0, 2, 3))

    for colours in (("red", "blue"), ("빨간", "파란")):
        for thing in ("square", "bar") if colours[0] == "red" else ("네모", "막대"):
            red, blue = (colour(f"{name} {thing}") for name in colours)
            assert red[0] > blue[0] + 0.1 and blue[2] > red[2] + 0.1, (colours, thing, red, blue)


def read_sources_as_plain() -> list[dict[str, Any]]:
    import tomllib

    return tomllib.loads(SOURCES)["sources"]


# --- what is said ---------------------------------------------------------------------------------


def test_all_that_can_be_said_has_been_read(lesson: Lesson) -> None:
    texts = list(lesson.said.rows)
    assert {"red circle", "red picture", "파란 막대 그림", "초록"} <= set(texts)
    assert not any("green circle" in text or "초록 원" in text for text in texts)
    for number in range(30):  # and nothing else is ever said
        index = torch.arange(len(lesson.mixture))
        drawn = lesson.mixture.draw(index, torch.full_like(index, number), 0)
        said, _ = lesson.mixture.say(drawn, index, torch.full_like(index, number), 0)
        assert set(said) <= set(texts)


def test_kept_tokens_are_the_readers_own_in_any_company(lesson: Lesson) -> None:
    texts = list(lesson.said.rows)
    some = ["red", "파란 막대 그림", "blue square picture"]
    ours, theirs = lesson.said(some), lesson.reader(some)
    assert torch.equal(ours.seen, theirs.seen[:, : ours.seen.shape[1]])
    assert not theirs.seen[:, ours.seen.shape[1] :].any()
    assert torch.allclose(ours.words[ours.seen], theirs.words[theirs.seen], atol=2e-3, rtol=2e-3)
    assert (ours.words[~ours.seen] == 0).all() and (~ours.seen).any()
    whole = lesson.said(texts)
    for number in (0, len(texts) // 2, len(texts) - 1):
        alone = lesson.said([texts[number]])
        assert torch.equal(alone.words[0], whole.words[number][whole.seen[number]])
    again = Said(lesson.reader, texts)
    assert torch.equal(again.tokens, lesson.said.tokens)


def shown(lesson: Lesson, recipe: DrawRecipe) -> Shown:
    return Shown(lesson, recipe, _build(recipe, lesson), CPU)


def test_a_batch_is_the_same_whenever_it_is_asked_for(lesson: Lesson, tiny: DrawRecipe) -> None:
    examples, again = shown(lesson, tiny), shown(lesson, tiny)
    index, epoch = torch.tensor([7, 3, 15]), torch.zeros(3, dtype=torch.int64)
    first = examples.batch(index, epoch, 0)
    assert first.keys() == {"images", "noise", "t", "kinds", "words", "seen", "silent"}
    torch.manual_seed(123)
    examples.batch(index, epoch + 1, 0)
    for batch in (examples.batch(index, epoch, 0), again.batch(index, epoch, 0)):
        assert all(torch.equal(batch[name], first[name]) for name in first)
    for seed, other in ((1, epoch), (0, epoch + 1)):
        batch = examples.batch(index, other, seed)
        assert not torch.isclose(batch["noise"], first["noise"]).any()
        assert not torch.isclose(batch["t"], first["t"]).any()


def test_pictures_come_with_true_words_and_their_hand_or_without(
    lesson: Lesson, tiny: DrawRecipe
) -> None:
    recipe = replace(tiny, drop_words=0.3, drop_label=0.4)
    examples, mixture = shown(lesson, recipe), lesson.mixture
    silent = unnamed = count = 0
    colours = {"red": 0, "green": 1, "blue": 2}
    captions = {tuple(row.flatten().tolist()): text for text, row in _rows(lesson).items()}
    for number in range(40):
        index = torch.arange(len(mixture))
        batch = examples.batch(index, torch.full_like(index, number), 0)
        hands = batch["images"].min(dim=1).values.flatten(1).min(dim=1).values
        for i in range(len(index)):
            words = batch["words"][i][batch["seen"][i]]
            text = captions[tuple(words.flatten().tolist())]
            middle = batch["images"][i, :, 3, 3]
            said = [c for c, (ko, _) in COLOURS.items() if c in text or ko in text]
            assert int(middle.argmax()) == colours[said[0]]
            # The least of all numbers tells the hand: a shade of 0 or of 60.
            hand = 0 if hands[i] < -0.9 else 1
            assert int(batch["kinds"][i]) in (hand, 2)
        silent += int(batch["silent"].sum())
        unnamed += int((batch["kinds"] == 2).sum())
        count += len(index)
    assert 0.24 < silent / count < 0.36 and 0.34 < unnamed / count < 0.46
    assert batch["images"].min() >= -1 and batch["images"].max() == 1  # white around


def _rows(lesson: Lesson) -> dict[str, torch.Tensor]:
    return {text: lesson.said([text]).words[0] for text in lesson.said.rows}


def test_whoever_is_told_nothing_hears_silence_and_learns_what_it_is(
    lesson: Lesson, trained: Path, tiny: DrawRecipe
) -> None:
    model = load_denoiser(str(trained))
    index = torch.arange(16)
    batch = shown(lesson, replace(tiny, drop_words=0.5)).batch(index, index * 0, 0)
    assert 3 < batch["silent"].sum() < 13
    loss = _loss(model)
    first = loss(model, batch)
    first.backward()
    assert model.silence is not None and model.silence.grad is not None
    assert model.silence.grad.abs().max() > 0
    noise = torch.randn(batch["words"].shape, generator=torch.Generator().manual_seed(0))
    for rows, same in ((batch["silent"], True), (~batch["silent"], False)):
        words = torch.where(rows[:, None, None], noise, batch["words"])
        assert torch.equal(loss(model, batch | {"words": words}), first) == same


def test_what_is_held_out_is_never_shown(lesson: Lesson) -> None:
    mixture: Mixture = lesson.mixture
    learned = {mixture.keys[kind] for kind in mixture.shown[0].unique().tolist()}
    assert "<green circle>" not in learned and len(learned) == 8
    assert mixture.drawers == ("brush", "pen")
    assert {part.title for part in mixture.held_out} == {"new hand things", "never drawn things"}


# --- stopped, killed, resumed ---------------------------------------------------------------------


def test_a_run_that_was_left_goes_on_to_the_same_weights(
    tmp_path: Path, world: Path, trained: Path, tiny: DrawRecipe
) -> None:
    leave_at = 17
    out = tmp_path / "run"
    for report in train_draw(str(world / "data"), out, tiny, device="cpu"):
        if report.step.number == leave_at:
            break
    steps = [report.step.number for report in resume_draw(out, device="cpu")]
    assert steps == list(range(leave_at + 1, 31))
    assert same_weights(out, trained)
    assert (out / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()
    for path in (out / "grids").iterdir():
        Image.open(path).load()


def test_the_command_trains_and_resumes(
    tmp_path: Path, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my run"
    given = ("--data", world / "data", "--recipe", world / "tiny.toml", "--clip", world / "clip")
    status = cli.main(["train", "draw", *map(str, (*given, "--out", out, "--steps", 2))])
    said = capsys.readouterr()
    assert status == 0, said.err
    assert f"""mmfm sample '{out}' --prompt "red heart" --out grid.png""" in said.out
    assert "computing in fp32" in said.err and "pictures/s" in said.out
    again = ["train", "draw", "--out", str(out), "--resume", "--steps", "3"]
    assert cli.main([*again, "--data", str(world / "data")]) == 0, capsys.readouterr().err
    assert [row["step"] for row in rows(out)] == [1, 2, 3]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "mmfm.cli", "train", "draw", *map(str, arguments)]


def started(*arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(*arguments),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, process: "subprocess.Popen[str]", more_than: int = 0) -> None:
    while process.poll() is None and (not path.exists() or path.stat().st_size <= more_than):
        time.sleep(0.01)


@pytest.mark.slow
def test_ctrl_c_leaves_a_whole_folder_and_says_how_to_go_on(tmp_path: Path, world: Path) -> None:
    out = tmp_path / "run"
    process = started(
        "--data", world / "data", "--out", out, "--recipe", world / "tiny.toml",
        "--clip", world / "clip", "--steps", 10**6,
    )  # fmt: skip
    wait_for(out / "metrics.jsonl", process)
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=60)
    assert process.returncode == 130, complained
    assert f"mmfm train draw --out {out} --resume" in said
    assert "learning.gif" in said and "Traceback" not in complained
    assert load_denoiser(str(out)).reads == str(world / "clip")


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(
    tmp_path: Path, world: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    given = ("--data", world / "data", "--recipe", world / "tiny.toml", "--clip", world / "clip")
    given += ("--steps", 500)
    assert started(*given, "--out", whole).wait() == 0
    generator, kills = random.Random(5), 0
    for _ in range(4):
        begun = (killed / "run.json").exists()
        metrics = killed / "metrics.jsonl"
        seen = metrics.stat().st_size if metrics.exists() else 0
        arguments = ("--out", killed, "--resume") if begun else (*given, "--out", killed)
        process = started(*arguments)
        wait_for(metrics, process, more_than=seen)
        time.sleep(generator.uniform(0, 0.3))
        if process.poll() is None:
            process.kill()
            kills += 1
        process.wait()
    assert kills >= 3
    assert started("--out", killed, "--resume").wait() == 0
    assert same_weights(whole, killed)
    assert [row["step"] for row in rows(killed)] == list(range(1, 501))
    assert not list(killed.rglob("*.part"))


def test_a_run_can_begin_with_a_trained_model(
    tmp_path: Path, world: Path, trained: Path, tiny: DrawRecipe
) -> None:
    still = {"steps": 1, "rate": 0.0, "matrix_rate": 0.0}
    recipe = tiny.changed(still, start=str(trained))
    list(train_draw(str(world / "data"), tmp_path / "same", recipe, device="cpu"))
    first, again = load_denoiser(str(trained)), load_denoiser(str(tmp_path / "same"))
    pairs = zip(first.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    make_clip(tmp_path / "twin")  # the same, elsewhere: who reads is who was named
    twin = train_draw(
        str(world / "data"), tmp_path / "moved", recipe, clip=str(tmp_path / "twin"), device="cpu"
    )
    list(twin)
    assert load_denoiser(str(tmp_path / "moved")).reads == str(tmp_path / "twin")
    make_clip(tmp_path / "other", seed=1)
    with pytest.raises(BadInput, match="reads the words of another CLIP"):
        data = str(world / "data")
        next(train_draw(data, tmp_path / "run", recipe, clip=str(tmp_path / "other"), device="cpu"))
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_without_the_model_that_it_began_with(
    tmp_path: Path, world: Path, trained: Path, tiny: DrawRecipe
) -> None:
    first = Path(shutil.copytree(trained, tmp_path / "first"))
    recipe = replace(tiny, sampling=Sampling(steps=3, guidance=1.5, interval=(0.1, 0.9)))
    recipe = recipe.changed({"steps": 6}, start=str(first))
    for name in ("whole", "parts"):
        for report in train_draw(str(world / "data"), tmp_path / name, recipe, device="cpu"):
            if name == "parts" and report.step.number == 3:
                break
    shutil.rmtree(first)
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    assert [report.step.number for report in resume_draw(parts, device="cpu")] == [4, 5, 6]
    assert same_weights(parts, whole)
    for name in ("model.safetensors", "config.json"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()
    settings = json.loads((parts / "run.json").read_text(encoding="utf-8"))
    del settings["model"]
    (parts / "run.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(BadRun, match=r"of another version \(no 'model'\); name another folder"):
        next(resume_draw(parts, changes={"steps": 7}, device="cpu"))


def test_a_run_whose_clip_is_gone_says_that_it_needs_it_back(
    tmp_path: Path, world: Path, tiny: DrawRecipe
) -> None:
    out, clip = tmp_path / "run", make_clip(tmp_path / "clip")
    recipe = replace(tiny, clip=str(clip)).changed({"steps": 1})
    list(train_draw(str(world / "data"), out, recipe, device="cpu"))
    shutil.rmtree(clip)
    with pytest.raises(NotHere, match=r"read by .*clip, which is not here: .* needs it back"):
        next(resume_draw(out, changes={"steps": 2}, device="cpu"))


# --- what a newcomer gets wrong -------------------------------------------------------------------


def one_line(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    status = cli.main(["train", "draw", *map(str, arguments)])
    line = capsys.readouterr().err
    assert len(line.strip().splitlines()) == 1, line
    return status, line


@pytest.mark.parametrize(
    ("arguments", "says", "status"),
    [
        (("--out", "OUT"), "--data is missing: the folder that holds things.parquet", 2),
        (("--data", "DATA", "--out", "OUT", "--recipe", "cake"), "emoji-nano", 2),
        (("--data", "nowhere", "--out", "OUT"), "no things.parquet", 1),
        (
            ("--data", "nowhere", "--out", "OUT", "--start", "vit-nano"),
            "a run of mmfm train draw",
            2,
        ),
        (("--data", "digits", "--out", "OUT"), "--data names the folder that holds them", 1),
        (("--data", "DATA", "--out", "OUT", "--recipe", "clip-nano"), "there are emoji-nano", 2),
        (("--data", "DATA", "--out", "OUT", "--clip", "no-such"), "no model 'no-such'", 1),
        (
            ("--data", "DATA", "--out", "OUT", "--clip", "no-such"),
            "name another CLIP with --clip",
            1,
        ),
        (("--data", "DATA", "--out", "OUT", "--clip", "EYES"), "cannot read what is said", 2),
        (("--data", "DATA", "--out", "OUT", "--clip", "mnist-nano"), "name a CLIP with --clip", 2),
        (("--data", "DATA", "--out", "OUT", "--size", "4"), "8x8 to 64x64", 2),
        (("--data", "DATA", "--out", "OUT", "--start", "mnist-nano"), "does not draw what is", 2),
        (("--data", "DATA", "--out", "FILE"), "is a file", 2),
        (("--out", "OUT", "--resume"), "no run to go on with", 1),
        (("--out", "OUT", "--resume", "--clip", "x"), "leave out --clip", 2),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    tmp_path: Path,
    world: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    says: str,
    status: int,
) -> None:
    if "EYES" in arguments:
        make_clip(tmp_path / "eyes", towers="image")
    (tmp_path / "file").write_text("")
    places = {
        "OUT": str(tmp_path / "run"),
        "FILE": str(tmp_path / "file"),
        "DATA": str(world / "data"),
        "EYES": str(tmp_path / "eyes"),
    }
    given = [places.get(word, word) for word in arguments]
    if "--resume" not in given and "--recipe" not in given:
        given += ["--recipe", str(world / "tiny.toml")]
    if "--resume" not in given and "--clip" not in given:
        given += ["--clip", str(world / "clip")]
    ended, line = one_line(capsys, *given)
    assert ended == status and says in line, line
    assert not (tmp_path / "run").exists()


def refused(recipe: DrawRecipe, data: Path, out: Path) -> str:
    with pytest.raises(MmfmError) as caught:
        next(train_draw(str(data), out, recipe, device="cpu"))
    assert "\n" not in str(caught.value) and not out.exists()
    return str(caught.value)


def test_data_that_does_not_say_what_is_needed_is_named(
    tmp_path: Path, world: Path, tiny: DrawRecipe
) -> None:
    (source,) = tiny.sources
    nameless = replace(tiny, sources=(replace(source, names=("title",)),))
    line = refused(nameless, world / "data", tmp_path / "run")
    assert "no column 'title'; it has image, thing" in line
    make_things(tmp_path / "data", without="green circle")
    line = refused(tiny, tmp_path / "data", tmp_path / "run")
    assert "'<green circle>'" in line and "no picture shows" in line
    alone = replace(tiny, model={**tiny.model, "attention": []})
    assert "attention" in refused(alone, world / "data", tmp_path / "run")
    silent = replace(tiny, prompts=("red bar", " "))
    assert "empty prompt" in refused(silent, world / "data", tmp_path / "run")


@pytest.mark.parametrize(
    "text",
    [
        TINY.replace(SOURCES, ""),
        f"clip = 3\n{TINY}",
        f"prompts = 'red bar'\n{TINY}",
        f"{TINY}\n[loss]\ndrop_words = 2.0",
        f"{TINY}\n[loss]\nclip = 'other'",
        f"{TINY}\n[loss]\ndrop_label = -0.1",
        TINY.replace("widths = [8]", "text_dim = 3"),
        TINY.replace("widths = [8]", "jumps = 'anywhere'"),
        TINY.replace("size = 8", "size = 100"),
        TINY.replace("size = 8", ""),
    ],
)
def test_a_wrong_recipe_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "wrong.toml").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        DrawRecipe.read(str(tmp_path / "wrong.toml"))
    assert "\n" not in str(caught.value)


def test_a_run_goes_on_with_the_data_and_the_words_it_began_with(
    tmp_path: Path, tiny: DrawRecipe
) -> None:
    make_things(tmp_path / "data")
    make_clip(tmp_path / "clip")
    recipe = replace(tiny, clip=str(tmp_path / "clip")).changed({"steps": 4})
    out = tmp_path / "run"
    for report in train_draw(str(tmp_path / "data"), out, recipe, device="cpu"):
        if report.step.number == 2:
            break
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(NotHere, match=r"was trained on .*data, and there is no digits"):
        next(resume_draw(out, data="digits", device="cpu"))
    make_things(tmp_path / "data", without="blue bar")
    with pytest.raises(BadRun, match="is not what it was: 16 pictures of 8 kinds"):
        next(resume_draw(out, device="cpu"))
    make_things(tmp_path / "data")
    make_clip(tmp_path / "clip", seed=1)
    with pytest.raises(BadRun, match="is not the CLIP that it was"):
        next(resume_draw(out, device="cpu"))
    with pytest.raises(BadRun, match="--resume"):
        next(train_draw(str(tmp_path / "data"), out, recipe, device="cpu"))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    make_clip(tmp_path / "clip")
    (tmp_path / "data").rename(tmp_path / "moved")
    list(resume_draw(out, data=str(tmp_path / "moved"), device="cpu"))
    list(resume_draw(out, changes={"steps": 5}, device="cpu"))
    text = (out / "run.json").read_text(encoding="utf-8")
    (out / "run.json").write_text(text.replace('"train": "draw"', '"train": "vit"'))
    with pytest.raises(BadRun, match="is a run of 'vit'"):
        next(resume_draw(out, device="cpu"))
    (out / "run.json").write_text(text.replace('"words"', '"letters"'))
    with pytest.raises(BadRun, match="of another version"):
        next(resume_draw(out, device="cpu"))


# --- the recipes of the package -------------------------------------------------------------------


def test_recipes_come_back_from_their_plain_form(tiny: DrawRecipe) -> None:
    for recipe in (tiny, DrawRecipe.read("emoji-nano"), DrawRecipe.read("emoji-nano-gpu")):
        assert DrawRecipe.of(json.loads(json.dumps(recipe.plain()))) == recipe
    assert DrawRecipe.read("emoji-nano").clip == "clip-nano"
    sizes = [DrawRecipe.read(name).size for name in ("emoji-nano", "emoji-nano-gpu")]
    assert sizes == [32, 64]


def test_what_clip_nano_never_saw_emoji_nano_never_sees() -> None:
    """Which emoji are held out follows from data, column, seed and number: they are the same."""
    ((read,), (drawn,), (judge,)) = (
        read_sources(name) for name in ("nano-emoji", "emoji-to-draw", "emoji-to-judge")
    )
    for name in ("data", "kind", "hand", "hold_kinds", "seed"):
        assert getattr(read, name) == getattr(drawn, name)
    assert set(read.hold_hands) <= set(drawn.hold_hands) == {"twemoji", "blob"}
    assert not set(judge.hold_hands) & set(drawn.hold_hands) and judge.data == drawn.data
    assert len(judge.hold_hands) + len(drawn.hold_hands) == 5
    assert judge.hold_kinds == 0 and len(drawn.hold_names) == 15
