"""`mmfm train ruler`: what it learns from, what it leaves behind, what it refuses."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from mixtures import make_sources, tables
from PIL import Image
from typer.testing import CliRunner

from mmfm import cli
from mmfm.commands.ruler import train_ruler as command
from mmfm.data.labelled import load_parts
from mmfm.data.mixture import load_mixture
from mmfm.errors import BadInput, BadRun
from mmfm.models.ruler import RulerConfig, load_ruler, look
from mmfm.tasks.train_ruler import (
    RulerRecipe,
    accuracy,
    resume_ruler,
    train_ruler,
    what_for,
)

TINY = """
[model]
widths = [8, 16]
features = 16
[augment]
shift = 1
turn = 10.0
stretch = 0.1
slant = 0.1
[plan]
steps = 12
batch = 16
precision = "fp32"
threads = 1
save_steps = 5
[loss]
label_smoothing = 0.05
"""

APP = typer.Typer()
APP.command()(command)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def test_digits_are_learned_from_the_training_part_alone(tmp_path: Path, tiny: Path) -> None:
    recipe = RulerRecipe.read(str(tiny))
    recipe = replace(recipe, plan=replace(recipe.plan, steps=300, batch=64, save_steps=150))
    reports = list(train_ruler("digits", tmp_path / "run", recipe, device="cpu"))
    parts = load_parts("digits")
    assert reports[-1].pictures == len(parts.apart)
    assert reports[-1].step.epoch == pytest.approx(300 * 64 / len(parts.train))

    ruler = load_ruler(str(tmp_path / "run"))
    assert accuracy(ruler, parts.apart) == pytest.approx(reports[-1].scores["accuracy"])
    assert accuracy(ruler, parts.test) > 0.8  # which it was never shown
    assert ruler.labels == tuple("0123456789")
    assert Image.open(tmp_path / "run" / "loss.png").width > 300


def test_a_run_that_stops_and_goes_on_ends_with_the_same_weights(
    tmp_path: Path, tiny: Path
) -> None:
    recipe = RulerRecipe.read(str(tiny))
    list(train_ruler("digits", tmp_path / "whole", recipe, device="cpu"))
    seen = 0

    def after_seven() -> bool:
        nonlocal seen
        seen += 1
        return seen == 7

    list(train_ruler("digits", tmp_path / "parted", recipe, device="cpu", stop=after_seven))
    reports = list(resume_ruler(tmp_path / "parted", device="cpu"))
    assert reports[0].step.number == 8
    whole, parted = (load_ruler(str(tmp_path / name)) for name in ("whole", "parted"))
    assert whole.digest == parted.digest


def test_a_run_goes_on_without_the_ruler_that_it_began_with(tmp_path: Path, tiny: Path) -> None:
    first, recipe = tmp_path / "first", RulerRecipe.read(str(tiny))
    list(train_ruler("digits", first, recipe, device="cpu"))
    onward = recipe.changed({}, start=str(first))
    for name in ("whole", "parts"):
        for report in train_ruler("digits", tmp_path / name, onward, device="cpu"):
            if name == "parts" and report.step.number == 4:
                break
    shutil.rmtree(first)
    list(resume_ruler(tmp_path / "parts", device="cpu"))
    whole, parts = (load_ruler(str(tmp_path / name)) for name in ("whole", "parts"))
    assert whole.digest == parts.digest
    settings = json.loads((tmp_path / "parts" / "run.json").read_text())
    del settings["model"]
    (tmp_path / "parts" / "run.json").write_text(json.dumps(settings))
    with pytest.raises(BadRun, match=r"of another version \(no 'model'\); name another folder"):
        next(resume_ruler(tmp_path / "parts", device="cpu"))


def test_another_seed_makes_another_ruler_and_the_same_seed_the_same(
    tmp_path: Path, tiny: Path
) -> None:
    digests = []
    for number, seed in enumerate((0, 0, 1)):
        recipe = RulerRecipe.read(str(tiny)).changed({"seed": seed, "steps": 2})
        list(train_ruler("digits", tmp_path / f"{number}", recipe, device="cpu"))
        digests.append(load_ruler(str(tmp_path / f"{number}")).digest)
    assert digests[0] == digests[1] != digests[2]


def test_it_can_begin_with_the_weights_of_another(tmp_path: Path, tiny: Path) -> None:
    recipe = RulerRecipe.read(str(tiny))
    list(train_ruler("digits", tmp_path / "first", recipe, device="cpu"))
    still = replace(recipe.plan, steps=1, rate=0.0, matrix_rate=0.0)
    again = replace(recipe, start=str(tmp_path / "first"), plan=still)
    list(train_ruler("digits", tmp_path / "second", again, device="cpu"))
    first, second = (load_ruler(str(tmp_path / name)) for name in ("first", "second"))
    assert first.digest == second.digest
    with pytest.raises(BadInput, match="8x8 pixels"):
        larger = replace(again, size=16)
        next(train_ruler("digits", tmp_path / "third", larger, device="cpu"))
    assert not (tmp_path / "third").exists()


def test_the_recipe_that_came_with_the_package_makes_the_bundled_rulers() -> None:
    recipe = RulerRecipe.read("ruler-mnist")
    made = RulerConfig(**recipe.model)
    assert load_ruler("mnist-ruler").config == load_ruler("mnist-ruler-2").config == made


# --- several sources ----------------------------------------------------------------------------


def mixed(folder: Path, **signs: object) -> RulerRecipe:
    """A recipe to name signs, with one hand held out."""
    sign = tables(folder, **{"hold_kinds": 0, **signs})[2]
    return RulerRecipe.of(
        {
            "size": 8,
            "sources": [sign | {"augment": {"shift": 1, "turn": 5.0}, "background": 0.3}],
            "model": {"widths": [8, 16], "features": 16},
            "plan": {"steps": 150, "batch": 24, "precision": "fp32", "threads": 1, "rate": 5e-3},
        }
    )


def test_hands_that_were_never_seen_tell_how_well_it_names(tmp_path: Path) -> None:
    data = make_sources(tmp_path)
    recipe = mixed(data, hold_hands=["chalk", "pen"])
    assert RulerRecipe.of(recipe.plain()) == recipe
    reports = list(train_ruler(str(data), tmp_path / "run", recipe, device="cpu"))
    scores, ruler = reports[-1].scores, load_ruler(str(tmp_path / "run"))
    assert list(scores) == ["accuracy", "accuracy, chalk", "accuracy, pen"]
    assert reports[-1].pictures == 12 + 11  # nobody has drawn the sign 4 with a pen
    (part,) = load_mixture(recipe.sources, data, size=8).held_out
    right = look(ruler, part.images).logits.argmax(dim=1) == part.kinds
    assert scores["accuracy"] == pytest.approx(float(right.double().mean()))
    for number, hand in ((1, "chalk"), (2, "pen")):
        share = float(right[part.gallery == number].double().mean())
        assert scores[f"accuracy, {hand}"] == pytest.approx(share)
    losses = [report.step.loss for report in reports]
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])
    assert ruler.labels[:2] == ("bird", "alpha") and len(ruler.labels) == 12
    assert (ruler.config.image_size, ruler.config.channels) == (8, 3)
    assert {Path(which.split(" row")[0]).name for which, _ in reports[0].skipped} == {
        "signs.parquet"
    }


def test_a_run_on_several_sources_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    data = make_sources(tmp_path)
    recipe = mixed(data)
    recipe = recipe.changed({"steps": 12})
    digests: list[str] = []
    for name, leave_at in (("whole", 0), ("parted", 5)):
        for report in train_ruler(str(data), tmp_path / name, recipe, device="cpu"):
            if report.step.number == leave_at:
                break
        list(resume_ruler(tmp_path / name, device="cpu"))
        digests.append(load_ruler(str(tmp_path / name)).digest)
    assert digests[0] == digests[1]


def test_what_a_ruler_could_not_name_is_not_held_out(tmp_path: Path) -> None:
    data = make_sources(tmp_path)
    for signs, line in (
        ({"hold_kinds": 2}, "new signs: a ruler names only what it has learned"),
        ({"hold_names": ["<sun>"]}, "never drawn signs: a ruler names only"),
        ({"hold_hands": []}, "hold nothing out; hold_hands"),
    ):
        with pytest.raises(BadInput, match=line):
            next(train_ruler(str(data), tmp_path / "run", mixed(data, **signs), device="cpu"))
    assert not (tmp_path / "run").exists()
    assert RulerRecipe.read("ruler-emoji").sources[0].hold_kinds == 0


# --- what a newcomer gets wrong -----------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "[augment]\nturn = 200.0",
        "[augment]\nstretch = 1.0",
        "[augment]\nslant = -0.1",
        "[loss]\nlabel_smoothing = 1.0",
        "[loss]\nturn = 5.0",
        f"[augment]\nturn = {math.nan}",
        "[model]\nwings = 2",
        "[model]\nwidths = 'wide'",
        "[model]\nwidths = [8, 12]",
    ],
)
def test_a_recipe_that_cannot_be_carried_out_leaves_no_folder(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(f"{text}\n[plan]\nsteps = 1\n")
    with pytest.raises(BadInput):
        next(train_ruler("digits", tmp_path / "run", RulerRecipe.read(str(path)), device="cpu"))
    assert not (tmp_path / "run").exists()


def test_pictures_without_labels_are_refused(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "loose").mkdir()
    for number in range(30):
        Image.new("L", (8, 8), number * 8).save(tmp_path / "loose" / f"{number}.png")
    with pytest.raises(BadInput, match="labels of at least two classes"):
        next(
            train_ruler(
                str(tmp_path / "loose"), tmp_path / "run", RulerRecipe.read(str(tiny)), device="cpu"
            )
        )
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_as_it_began(tmp_path: Path, tiny: Path) -> None:
    list(train_ruler("digits", tmp_path / "run", RulerRecipe.read(str(tiny)), device="cpu"))
    with pytest.raises(BadRun, match="was trained on digits"):
        next(resume_ruler(tmp_path / "run", data="mnist"))
    with pytest.raises(BadRun, match="--resume"):
        next(train_ruler("digits", tmp_path / "run", RulerRecipe.read(str(tiny)), device="cpu"))


def test_a_run_is_not_gone_on_with_on_pictures_that_have_changed(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = tmp_path / "data", tmp_path / "run"
    for number in range(60):
        path = data / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 4 * number).save(path)
    recipe = RulerRecipe.read(str(tiny))
    list(train_ruler(str(data), out, recipe, device="cpu"))
    data = data.rename(tmp_path / "data, moved")  # what has only moved has not changed
    list(resume_ruler(out, data=str(data), changes={"steps": 13}, device="cpu"))
    list(resume_ruler(out, changes={"steps": 14}, device="cpu"))
    for path in data.rglob("*.png"):
        Image.new("L", (8, 8), 255).save(path)
    with pytest.raises(BadRun, match=r"moved is not what it was: 48 grey .* put it back"):
        next(resume_ruler(out, changes={"steps": 16}, device="cpu"))

    (tmp_path / "sources").mkdir()
    sources = make_sources(tmp_path / "sources")
    mixture = mixed(sources).changed({"steps": 2})
    list(train_ruler(str(sources), tmp_path / "mixed", mixture, device="cpu"))
    monkeypatch.chdir(shutil.copytree(sources, tmp_path / "copy" / "digits").parent)
    # Of several sources "digits" is a folder, however it is called, and this one is a copy.
    copied = resume_ruler(tmp_path / "mixed", data="digits", changes={"steps": 3}, device="cpu")
    assert len(list(copied)) == 1
    settings = json.loads((tmp_path / "mixed" / "run.json").read_text())
    assert settings["data"] == str(tmp_path / "copy" / "digits")
    told = settings["pictures"]
    assert told["side"] == 8 and len(told["classes"]) == 12 and len(told["sha256"]) == 64


def test_a_finished_run_without_its_metrics_is_made_good(tmp_path: Path, tiny: Path) -> None:
    out = tmp_path / "run"
    list(train_ruler("digits", out, RulerRecipe.read(str(tiny)), device="cpu"))
    (out / "metrics.jsonl").unlink()
    (out / "model.safetensors").unlink()
    assert list(resume_ruler(out, device="cpu")) == []
    assert load_ruler(str(out)).labels == tuple("0123456789")
    (row,) = map(json.loads, (out / "metrics.jsonl").open())
    assert row["accuracy"] > 0 and row["pictures"] == len(load_parts("digits").apart)


def test_the_command_trains_and_resumes(tmp_path: Path, tiny: Path) -> None:
    out = str(tmp_path / "my run")
    said = CliRunner().invoke(
        APP, ["--data", "digits", "--out", out, "--recipe", str(tiny), "--device", "cpu"]
    )
    assert said.exit_code == 0, said.output
    assert f"mmfm score RUN --data digits --ruler '{out}'" in said.output
    again = CliRunner().invoke(APP, ["--out", out, "--resume", "--steps", "14", "--device", "cpu"])
    assert again.exit_code == 0, again.output
    assert f"mmfm score RUN --data digits --ruler '{out}'" in again.output
    wrong = CliRunner().invoke(APP, ["--out", out, "--resume", "--seed", "3"])
    assert isinstance(wrong.exception, BadInput) and "--seed" in str(wrong.exception)
    nothing = CliRunner().invoke(APP, ["--out", str(tmp_path / "other")])
    assert isinstance(nothing.exception, BadInput) and "--data is missing" in str(nothing.exception)


@pytest.mark.parametrize(
    ("arguments", "says", "status"),
    [
        (("--out", "OUT"), "--data is missing: mnist", 2),
        (("--data", "shapes", "--out", "OUT"), "known names are digits", 1),
        (("--data", "digits", "--out", "OUT", "--recipe", "vit-digits"), "are ruler-emoji", 2),
        (("--data", "digits", "--out", "OUT", "--recipe", "VIT"), "[model] has no 'patch_size'", 2),
        (("--data", "nowhere", "--out", "OUT", "--recipe", "ruler-emoji"), "--data names", 1),
        (("--data", "digits", "--out", "OUT", "--start", "vit-nano"), "mmfm train ruler makes", 2),
        (("--data", "digits", "--out", "OUT", "--start", "mnist-ruler"), "--size brings it", 2),
        (("--data", "digits", "--out", "OTHER"), "already holds a run of mmfm train vit", 1),
        (("--out", "OTHER", "--resume"), "mmfm train vit --out", 1),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do_and_leaves_nothing_behind(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    says: str,
    status: int,
) -> None:
    (tmp_path / "vit.toml").write_text("[model]\npatch_size = 2\n[plan]\nsteps = 1\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text('{"mmfm": 1, "train": "vit"}')
    places = {"OUT": "run", "VIT": "vit.toml", "OTHER": "other"}
    given = [str(tmp_path / places[word]) if word in places else word for word in arguments]
    assert cli.main(["train", "ruler", *given]) == status
    line = capsys.readouterr().err
    assert says in line and len(line.strip().splitlines()) == 1, line
    assert not (tmp_path / "run").exists()
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["run.json"]


# --- what it is for -----------------------------------------------------------------------------


def test_a_ruler_of_several_sources_is_not_said_to_be_one_for_scores(tmp_path: Path) -> None:
    """`mmfm score` asks pictures by the labels of its data, which such sources don't have."""
    data, out = make_sources(tmp_path), tmp_path / "run"
    list(train_ruler(str(data), out, mixed(data).changed({"steps": 1}), device="cpu"))
    use, also = what_for(out)
    assert "mmfm score" not in use and "can judge" in also
    exec(use)  # the very line that a person is told


def test_a_ruler_of_emoji_judges_what_draws_emoji(tmp_path: Path) -> None:
    recipe = RulerRecipe.read("ruler-emoji").plain()
    told = {"train": "ruler", "data": "emojis", "recipe": recipe}
    (tmp_path / "run.json").write_text(json.dumps(told))
    use, also = what_for(tmp_path)
    python, script, *options = use.split()
    assert (python, options[:2]) == ("python", ["--data", "emojis"])
    assert f"--judge {tmp_path} --model RUN" in use and "mmfm train draw" in also
    text = (Path(__file__).parents[2] / script).read_text(encoding="utf-8")
    assert all(f'"{option}"' in text for option in options if option.startswith("--"))
