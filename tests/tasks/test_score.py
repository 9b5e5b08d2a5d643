"""`mmfm score`: real pictures get the floor, spoiled ones less, where it should tell."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import typer
from diffusers import DDPMPipeline, DDPMScheduler
from PIL import Image
from stock_unet import stock_unet
from torch import Tensor
from typer.testing import CliRunner

from mmfm.commands.score import score as command
from mmfm.data import digits
from mmfm.data.folders import picture_files
from mmfm.data.labelled import LabelledPictures
from mmfm.errors import BadData, BadInput, NotHere
from mmfm.models.checkpoints import save_denoiser
from mmfm.models.denoiser import Denoiser, DenoiserConfig
from mmfm.models.ruler import Ruler, RulerConfig, load_ruler, save_ruler
from mmfm.tasks.export import export
from mmfm.tasks.generate import Sampling, chosen, order, write_files
from mmfm.tasks.score import (
    Drawn,
    Score,
    Yardstick,
    _agreement,
    _labels,
    _way,
    as_json,
    holds_pictures,
    lines,
    own_data,
    score,
    score_folder,
    score_pictures,
)
from mmfm.tasks.train_ruler import RulerRecipe, train_ruler

APP = typer.Typer()
APP.command()(command)


@pytest.fixture(scope="module")
def rulers(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two rulers of scikit-learn's digits, which need no network."""
    root = tmp_path_factory.mktemp("rulers")
    for seed, name in enumerate(("one", "two")):
        recipe = RulerRecipe.of(
            {
                "model": {"widths": [16, 32], "features": 32},
                "plan": {
                    "steps": 250,
                    "batch": 64,
                    "precision": "fp32",
                    "threads": 1,
                    "seed": seed,
                    "save_steps": 250,
                },
            }
        )
        list(train_ruler("digits", root / name, recipe, device="cpu"))
    return str(root / "one"), str(root / "two")


@pytest.fixture(scope="module")
def yardstick(rulers: tuple[str, str]) -> Yardstick:
    return Yardstick("digits", rulers, device="cpu")


@pytest.fixture(scope="module")
def real(yardstick: Yardstick) -> LabelledPictures:
    return yardstick.real(120)


@pytest.fixture(scope="module")
def measured(yardstick: Yardstick, real: LabelledPictures) -> Score:
    return yardstick.measure(real.images, real.labels)


# --- real and spoiled pictures ------------------------------------------------------------------


def test_real_pictures_get_the_floor_itself(measured: Score) -> None:
    for reading in measured.readings:
        assert reading.these == reading.floor and reading.ratio == 1
        assert reading.right.value > 0.9
        assert reading.these.accuracy is not None and reading.these.accuracy.value > 0.9
        assert reading.these.precision > 0.6 and reading.these.recall > 0.6
        assert abs(reading.these.kid) < 4 * reading.these.kid_error
    assert measured.neighbours == measured.real_neighbours
    assert abs(measured.neighbours.train.value - measured.by_chance) < 0.15
    (agreement,) = measured.agreements
    assert agreement.agrees and agreement.alike.value > 0.9


def test_mixed_labels_cost_accuracy_and_nothing_else(
    yardstick: Yardstick, real: LabelledPictures, measured: Score
) -> None:
    half = real.labels.clone()
    half[::2] = (half[::2] + 1) % 10
    found = yardstick.measure(real.images, half)
    before, after = measured.readings[0].these, found.readings[0].these
    assert before.accuracy is not None and after.accuracy is not None
    assert after.accuracy.value == pytest.approx(before.accuracy.value / 2, abs=0.05)
    assert replace(after, accuracy=None) == replace(before, accuracy=None)


def test_another_order_costs_nothing_where_labels_come_along(
    yardstick: Yardstick, real: LabelledPictures, measured: Score
) -> None:
    order = torch.randperm(len(real))
    found = yardstick.measure(real.images[order], real.labels[order])
    assert found.readings[0].these.fid == pytest.approx(measured.readings[0].these.fid)
    assert found.readings[0].these.accuracy == measured.readings[0].these.accuracy


def blurred(images: Tensor, by: float) -> Tensor:
    """Mixed with the mean of its neighbours."""
    x = images.permute(0, 3, 1, 2).float()
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), "replicate"), 3, 1)
    return (x + by * (soft - x)).round().byte().permute(0, 2, 3, 1)


def test_the_more_pictures_are_blurred_the_worse_they_score(
    yardstick: Yardstick, real: LabelledPictures, measured: Score
) -> None:
    found = [measured] + [
        yardstick.measure(blurred(real.images, by), real.labels) for by in (0.5, 1.0)
    ]
    for number in range(2):
        ratios = [one.readings[number].ratio for one in found]
        assert ratios[0] < ratios[1] < ratios[2] and ratios[2] > 2
        kids = [one.readings[number].these.kid for one in found]
        assert kids[0] < kids[1] < kids[2]


def test_a_class_that_is_never_drawn_costs_recall_not_precision(
    yardstick: Yardstick, measured: Score
) -> None:
    whole = yardstick.parts.apart
    few = whole.select((whole.labels <= 4).nonzero().squeeze(1))
    found = yardstick.measure(few.images, few.labels).readings[0]
    same = yardstick.real(len(few))
    floor = yardstick.measure(same.images, same.labels).readings[0].these
    assert found.these.recall < 0.75 * floor.recall
    assert found.these.precision > 0.9 * floor.precision
    assert found.ratio > 2
    assert found.these.accuracy is not None and found.these.accuracy.value > 0.9


def test_noise_is_neither_true_nor_right(yardstick: Yardstick, real: LabelledPictures) -> None:
    noise = torch.randint(0, 256, real.images.shape, dtype=torch.uint8)
    found = yardstick.measure(noise, real.labels).readings[0].these
    assert found.precision < 0.3
    assert found.accuracy is not None and found.accuracy.value < 0.4


def test_what_was_learned_by_heart_is_told_by_its_neighbours_alone(
    yardstick: Yardstick, measured: Score
) -> None:
    copies = yardstick.parts.train.select(torch.arange(120))
    found = yardstick.measure(copies.images, copies.labels)
    assert found.neighbours.distance == 0
    assert found.neighbours.close.value == found.neighbours.train.value == 1
    assert found.real_neighbours == measured.real_neighbours
    these, floor = found.readings[0].these, found.readings[0].floor
    assert these.precision > 0.95 * floor.precision
    assert these.accuracy is not None and these.accuracy.value == 1

    mixed = yardstick.real(120).images.clone()
    mixed[::4] = copies.images[::4]
    partly = yardstick.measure(mixed).neighbours
    assert 0.2 < partly.close.value < 0.35


def test_without_labels_there_is_no_accuracy(
    yardstick: Yardstick, real: LabelledPictures, measured: Score
) -> None:
    found = yardstick.measure(real.images)
    assert found.readings[0].these == replace(measured.readings[0].these, accuracy=None)
    assert "named right" not in "\n".join(lines(found))


def test_rulers_that_see_otherwise_do_not_agree(measured: Score) -> None:
    first, other = measured.readings
    worse = replace(other, these=replace(other.these, fid=2 * other.these.fid))
    alike = torch.arange(10)
    agreement = _agreement(first, worse, alike, alike)
    assert agreement.factor == pytest.approx(2, abs=1e-4) and not agreement.agrees
    assert agreement.alike.value == 1
    told = replace(measured, readings=(first, worse), agreements=(agreement,))
    assert any("does NOT agree: FID" in line for line in lines(told))
    assert not any("NOT" in line for line in lines(measured))


# --- what a model draws -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawer() -> Denoiser:
    """A denoiser that has learned nothing: what it draws is noise, but always the same."""
    config = DenoiserConfig(
        image_size=8, widths=(8, 16), depths=(1, 1), attention=(), middle=0, embed=16
    )
    den = Denoiser(config, tuple("9876543210"))  # its labels in another order than the data's
    den.name = "drawer"
    return den.eval()


def test_a_model_is_asked_for_the_labels_of_the_floor_by_their_names(
    drawer: Denoiser, yardstick: Yardstick
) -> None:
    asked: list[Tensor] = []

    class Listening(Denoiser):
        def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
            assert condition is not None
            asked.append(condition)
            return super().forward(x, t, condition)

    den = Listening(drawer.config, drawer.labels)
    found = score(den.eval(), yardstick, count=40, steps=1, guidance=1.0)
    names = [den.labels[number] for number in asked[0].tolist()]
    assert names == [str(label) for label in yardstick.real(40).labels.tolist()]
    assert found.what == "this model" and found.count == 40


def test_a_score_can_be_had_again_and_says_how(
    drawer: Denoiser, yardstick: Yardstick, rulers: tuple[str, str]
) -> None:
    first = score(drawer, yardstick, count=30, steps=2, sampler="euler", guidance=1.5, seed=4)
    again = score(drawer, yardstick, count=30, steps=2, sampler="euler", guidance=1.5, seed=4)
    other = score(drawer, yardstick, count=30, steps=2, sampler="euler", guidance=1.5, seed=5)
    assert first == again
    assert first.readings != other.readings

    said = json.loads(as_json(first))
    known = {"model": "drawer", "data": "digits", "count": 30, "seed": 4, "steps": 2}
    assert said.items() >= {**known, "sampler": "euler", "guidance": 1.5}.items()
    for name, told in zip(rulers, said["rulers"], strict=True):
        assert told["ruler"] == name and told["digest"] == load_ruler(name).digest
        for figures in (told, told["floor"]):
            assert figures.keys() >= {"fid", "kid", "kid_error", "accuracy", "precision", "recall"}
    assert said["neighbours"].keys() >= {"distance", "close", "train", "floor", "by_chance"}
    assert said["agreement"][0].keys() == {"alike", "factor", "agrees"}

    told = lines(first)
    assert "\n" not in "".join(told)
    text = "\n".join(told)
    for word in ("euler, 2 steps, guidance 1.5, seed 4", "FID", "KID", "recall", "times the floor"):
        assert word in text
    assert all(load_ruler(name).digest[:12] in text for name in rulers)


def test_a_stop_stops(drawer: Denoiser, yardstick: Yardstick, real: LabelledPictures) -> None:
    with pytest.raises(KeyboardInterrupt):
        score(drawer, yardstick, count=30, steps=2, stop=lambda: True)
    with pytest.raises(KeyboardInterrupt):
        yardstick.measure(real.images, stop=lambda: True)


def test_progress_ends_where_the_work_does(drawer: Denoiser, rulers: tuple[str, str]) -> None:
    told: dict[str, list[tuple[int, int]]] = {}

    def show(what: str) -> Callable[[int, int], None]:
        return lambda done, total: told.setdefault(what, []).append((done, total))

    score(drawer, "digits", rulers=rulers, device="cpu", count=30, steps=2, show=show)
    for what in ("drawing", "measuring"):
        done = [one for one, _ in told[what]]
        assert done == sorted(done) and told[what][-1][0] == told[what][-1][1], what


# --- picture files ------------------------------------------------------------------------------


def put(images: Tensor, labels: Tensor | None, folder: Path) -> None:
    for number, image in enumerate(images):
        below = folder if labels is None else folder / str(int(labels[number]))
        below.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0].numpy()).save(below / f"{number:04}.png")


def test_files_score_as_their_pictures_do(
    tmp_path: Path, rulers: tuple[str, str], real: LabelledPictures, measured: Score
) -> None:
    put(real.images, real.labels, tmp_path / "named")
    found = score_folder(tmp_path / "named", "digits", rulers=rulers, device="cpu")
    ours, theirs = found.readings[0].these, measured.readings[0].these
    assert ours.accuracy == theirs.accuracy
    assert (ours.fid, ours.kid) == pytest.approx((theirs.fid, theirs.kid))
    assert (ours.precision, ours.recall) == (theirs.precision, theirs.recall)
    assert found.what == str(tmp_path / "named") and found.drawn is None

    put(real.images, None, tmp_path / "loose")
    loose = score_folder(tmp_path / "loose", "digits", rulers=rulers, device="cpu", count=50)
    assert loose.count == 50 and loose.readings[0].these.accuracy is None


def test_files_that_cannot_be_scored_are_named(
    tmp_path: Path, rulers: tuple[str, str], real: LabelledPictures
) -> None:
    def refused(folder: Path, says: str) -> None:
        with pytest.raises(BadData, match=says) as caught:
            score_folder(folder, "digits", rulers=rulers, device="cpu")
        assert "\n" not in str(caught.value)

    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no pictures")
    put(real.images[:20], real.labels[:20], tmp_path / "strange")
    (tmp_path / "strange" / "cats").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "strange" / "cats" / "a.png")
    refused(tmp_path / "strange", "holds cats; put pictures into folders named 0, 1")
    put(real.images[:20], real.labels[:20], tmp_path / "half")
    Image.new("L", (8, 8)).save(tmp_path / "half" / "a.png")
    refused(tmp_path / "half", "pictures without a folder")
    put(real.images[:20], None, tmp_path / "torn")
    (tmp_path / "torn" / "0003.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    refused(tmp_path / "torn", "1 pictures cannot be read: .*0003.png")
    put(torch.zeros(20, 9, 9, 1, dtype=torch.uint8), None, tmp_path / "large")
    refused(tmp_path / "large", "pictures of 9x9, and .*one is a ruler for 8x8; make .*--size 9")
    Image.new("L", (9, 8)).save(tmp_path / "large" / "0000.png")
    refused(tmp_path / "large", "pictures of 9x8, and a ruler looks at square ones")
    Image.new("L", (8, 8)).save(tmp_path / "large" / "0000.png")
    refused(tmp_path / "large", "several sizes .*; bring them to one size$")


def test_data_of_several_sizes_are_looked_at_as_large_as_the_samples(
    tmp_path: Path, rulers: tuple[str, str], yardstick: Yardstick, real: LabelledPictures
) -> None:
    own = yardstick.parts.train.select(torch.arange(400))
    put(own.images, own.labels, tmp_path / "own")
    for path in sorted((tmp_path / "own").rglob("*.png"))[::3]:
        with Image.open(path) as picture:
            picture.resize((16, 16)).save(path)
    put(real.images[:20], real.labels[:20], tmp_path / "samples")
    found = score_folder(tmp_path / "samples", str(tmp_path / "own"), rulers=rulers, device="cpu")
    these = found.readings[0].these
    assert found.count == 20 and these.accuracy is not None and these.accuracy.value > 0.8


def test_folders_are_known_by_what_of_a_label_can_be_a_name_of_theirs(tmp_path: Path) -> None:
    clothes = digits.FASHION.classes
    for name in ("Ankle boot", "Bag", "T-shirt_top"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "a.png")
    labels = _labels(tmp_path, picture_files(tmp_path).files, [{}] * 3, clothes)
    assert labels is not None and [clothes[n] for n in labels] == ["Ankle boot", "Bag", clothes[0]]
    (tmp_path / "Bag").rename(tmp_path / "Bags")
    with pytest.raises(BadData, match="holds Bags; put pictures into folders named T-shirt_top, T"):
        _labels(tmp_path, picture_files(tmp_path).files, [{}] * 3, clothes)
    # Of two labels that would be called the same, only the one whose own name it is.
    labels = _labels(tmp_path, [tmp_path / "a_b" / "1.png"], [{}], ("a/b", "a:b", "a_b"))
    assert labels is not None and labels.tolist() == [2]


def test_files_that_mmfm_sample_has_drawn_know_their_labels(
    tmp_path: Path, drawer: Denoiser, rulers: tuple[str, str], yardstick: Yardstick
) -> None:
    how = chosen(drawer, steps=2, guidance=1.0)
    asked = order(drawer, ["3", "7"], count=20, how=how)
    write_files(asked, tmp_path / "drawn")
    found = score_folder(tmp_path / "drawn", "digits", rulers=rulers, device="cpu")
    images = torch.cat([images for _, images in asked.pictures()])
    wanted = yardstick.measure(images, torch.tensor([3, 7] * 10)).readings[0].these
    assert wanted.accuracy is not None
    assert found.readings[0].these.accuracy == wanted.accuracy
    assert found.readings[0].these.fid == pytest.approx(wanted.fid)
    # Among others that do not tell, they are as good as without labels.
    put(images[:1], None, tmp_path / "drawn")
    mixed = score_folder(tmp_path / "drawn", "digits", rulers=rulers, device="cpu")
    assert mixed.count == 21 and mixed.readings[0].these.accuracy is None


def test_a_folder_says_how_mmfm_sample_has_drawn_it(
    tmp_path: Path, drawer: Denoiser, rulers: tuple[str, str], real: LabelledPictures
) -> None:
    def scored(**how: Any) -> Score:
        return score_folder(folder, "digits", rulers=rulers[:1], device="cpu", **how)

    folder = tmp_path / "drawn"
    how = chosen(drawer, steps=2, guidance=1.5, interval=(0.1, 0.9), sampler="ddim")
    write_files(order(drawer, ["3"], count=12, seed=7, how=how), folder)
    found = scored()
    assert found.drawn == Drawn("drawer", how, 7) and found.ways == 1
    assert "drawn by drawer: ddim, 2 steps, guidance 1.5 from 0.1 to 0.9, seed 7" in lines(found)
    said = json.loads(as_json(found))
    told = {"drawn_by": "drawer", "seed": 7, "steps": 2, "guidance": 1.5, "sampler": "ddim"}
    assert said.items() >= {**told, "interval": [0.1, 0.9], "rescale": 0, "ways": 1}.items()
    # It's the same where they lie in folders named as labels.
    (folder / "3").mkdir()
    for path in folder.glob("*.png"):
        path.rename(folder / "3" / path.name)
    assert scored().drawn == found.drawn

    write_files(order(drawer, ["4"], count=12, seed=8, how=how), folder / "4")
    mixed = scored()
    assert mixed.drawn is None and mixed.ways == 2
    assert lines(mixed)[1] == "drawn in several ways: seed, guidance and steps cannot be named"
    said = json.loads(as_json(mixed))
    assert said["ways"] == 2 and said["seed"] is said["steps"] is said["guidance"] is None
    shutil.rmtree(folder / "4")
    put(real.images[:12], None, folder / "4")
    assert scored().ways == 2  # one of them is not known
    shutil.rmtree(folder / "3")
    unknown = scored()
    assert unknown.drawn is None and unknown.ways == 0
    assert "drawn in ways that are not known" in lines(unknown)[1]


@pytest.mark.parametrize(
    "strange",
    [
        {"steps": "many"},
        {"steps": -2},
        {"sampler": ["euler"]},
        {"sampler": "magic"},
        {"interval": 3},
        {"interval": [[0], [1]]},
        {"seed": "7"},
        {"seed": True},
        {"model": None},
    ],
)
def test_settings_that_no_order_has_are_not_believed(strange: dict[str, Any]) -> None:
    known = {"model": "m", "seed": 7, **asdict(Sampling())}
    assert _way(known) == Drawn("m", Sampling(), 7)
    assert _way(known | strange) is None
    assert _way({name: value for name, value in known.items() if name not in strange}) is None


def test_a_folder_of_pictures_is_told_from_a_run(tmp_path: Path, rulers: tuple[str, str]) -> None:
    (tmp_path / "pictures").mkdir()
    assert holds_pictures(tmp_path / "pictures")
    assert not holds_pictures(Path(rulers[0])) and not holds_pictures(tmp_path / "nowhere")
    assert own_data(rulers[0]) == "digits" and own_data("mnist-nano") is None


# --- what a newcomer gets wrong -----------------------------------------------------------------


@pytest.mark.parametrize("count", [0, -3, 9, 10_001])
def test_a_number_of_pictures_without_a_floor_is_refused(
    drawer: Denoiser, yardstick: Yardstick, count: int
) -> None:
    with pytest.raises(BadInput, match=f"from 10 to {yardstick.most}"):
        score(drawer, yardstick, count=count, steps=1)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (torch.zeros(7, dtype=torch.int64), "20 pictures with 7 labels"),
        (torch.full((20,), 10), "from 0 to 9"),
        (torch.full((20,), -1), "from 0 to 9"),
    ],
)
def test_labels_that_are_none_are_refused(
    yardstick: Yardstick, real: LabelledPictures, labels: Tensor, says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        score_pictures(real.images[:20], labels, yardstick)


def test_a_ruler_of_other_data_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput,
        match=r"mnist-ruler is a ruler for 28x28 grey pictures of 0, 1, 2, ... 9, digits has 8x8"
        r" .*mmfm train ruler --data digits --size 8 --out runs/ruler.*--ruler runs/ruler",
    ) as caught:
        Yardstick("digits")
    assert "\n" not in str(caught.value)
    # As large and called the same, but never taught: only looking at the answers can tell.
    ignorant = Ruler(RulerConfig(image_size=8, widths=(8, 16)), tuple("0123456789"))
    save_ruler(ignorant, tmp_path / "ignorant")
    yardstick = Yardstick("digits", [str(tmp_path / "ignorant")], device="cpu")
    with pytest.raises(BadInput, match=r"names only .*% of digits right"):
        yardstick.measure(yardstick.real(20).images)


def test_data_without_labels_cannot_be_scored_against(tmp_path: Path) -> None:
    put(torch.randint(0, 256, (40, 8, 8, 1), dtype=torch.uint8), None, tmp_path / "loose")
    with pytest.raises(BadInput, match="has no labels"):
        Yardstick(str(tmp_path / "loose"))


def test_a_model_of_other_pictures_is_refused(drawer: Denoiser, yardstick: Yardstick) -> None:
    larger = Denoiser(replace(drawer.config, image_size=16), drawer.labels)
    with pytest.raises(BadInput, match=r"draws 16x16 grey .* digits has 8x8 grey"):
        score(larger, yardstick, count=20, steps=1)
    animals = Denoiser(replace(drawer.config, classes=2), ("cat", "dog"))
    with pytest.raises(BadInput, match=r"knows cat, dog, but not 0, 1, .* of digits"):
        score(animals, yardstick, count=20, steps=1)


def test_a_model_of_some_labels_is_measured_by_the_pictures_of_those(
    drawer: Denoiser, yardstick: Yardstick, real: LabelledPictures
) -> None:
    den = Denoiser(replace(drawer.config, classes=2), ("7", "3")).eval()
    found = score(den, yardstick, count=20, steps=1, guidance=1.0)
    assert found.only == ("3", "7") and json.loads(as_json(found))["labels"] == ["3", "7"]
    assert lines(found)[0].endswith("held against the test part of digits of 3, 7 alone")
    fewer = yardstick.of(("3", "7"))
    for part, whole in zip(parts_of(fewer), parts_of(yardstick), strict=True):
        kept = torch.isin(whole.labels, torch.tensor([3, 7]))
        assert torch.equal(part.images, whole.images[kept]) and part.names == whole.names
        assert torch.equal(part.labels, whole.labels[kept])
    # Real ones of these labels get the floor of these, and copies are known by their own kind.
    same = fewer.real(20)
    again = fewer.measure(same.images, same.labels)
    assert again.readings[0].these == again.readings[0].floor == found.readings[0].floor
    assert again.neighbours == again.real_neighbours == found.real_neighbours
    assert found.by_chance == len(fewer.parts.train) / sum(map(len, parts_of(fewer)[::2]))
    # What was known of the whole is not asked of the part, nor the other way round.
    assert again.readings[0].floor != yardstick.measure(real.images[:20]).readings[0].floor
    assert yardstick.of("0123456789") is yardstick and not yardstick.only

    odd = Denoiser(replace(drawer.config, classes=2), ("3", "cat"))
    with pytest.raises(BadInput, match=r"knows 3, cat, but not 0, 1, 2, 4, .* of digits"):
        score(odd, yardstick, count=20, steps=1)


def parts_of(yardstick: Yardstick) -> tuple[LabelledPictures, ...]:
    return yardstick.parts.train, yardstick.parts.apart, yardstick.parts.test


# --- the command --------------------------------------------------------------------------------


def test_the_command_prints_a_table_or_one_line_of_json(
    tmp_path: Path, drawer: Denoiser, rulers: tuple[str, str], real: LabelledPictures
) -> None:
    save_denoiser(drawer, tmp_path / "model")
    asked = [str(tmp_path / "model"), "--data", "digits", "--ruler", rulers[0], "--count", "20"]
    asked += ["--steps", "2", "--device", "cpu"]
    said = CliRunner().invoke(APP, asked)
    assert said.exit_code == 0, said.output
    assert "FID" in said.output and "seed 0" in said.output
    more = ["--seed", "3", "--sampler", "ddim", "--interval", ".2,.8", "--rescale", ".5"]
    said = CliRunner().invoke(APP, [*asked, "--json", *more])
    told = json.loads(said.stdout)
    assert (told["interval"], told["rescale"]) == ([0.2, 0.8], 0.5)
    assert (told["seed"], told["sampler"], told["count"]) == (3, "ddim", 20)
    assert len(told["rulers"]) == 1 and told["agreement"] == []

    put(real.images[:20], real.labels[:20], tmp_path / "pictures")
    folder = [str(tmp_path / "pictures"), "--data", "digits", "--ruler", rulers[0]]
    said = CliRunner().invoke(APP, [*folder, "--json", "--device", "cpu"])
    told = json.loads(said.stdout)
    assert told["count"] == 20 and told["ways"] == 0
    assert [told[name] for name in ("seed", "steps", "guidance", "sampler")] == [None] * 4


@pytest.mark.parametrize("exported", [False, True])
def test_a_pipeline_of_diffusers_is_drawn_with_and_measured(
    exported: bool, tmp_path: Path, drawer: Denoiser, rulers: tuple[str, str]
) -> None:
    folder, asked = tmp_path / "pipe", ["--data", "digits", "--ruler", rulers[0], "--count", "12"]
    if exported:
        export(drawer, "diffusers", folder)
    else:
        DDPMPipeline(stock_unet(), DDPMScheduler()).save_pretrained(folder)
    said = CliRunner().invoke(APP, [str(folder), *asked, "--steps", "2", "--json"])
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    assert (told["drawn_by"], told["count"], told["steps"]) == (str(folder), 12, 2)
    accuracy = told["rulers"][0]["accuracy"]
    assert (accuracy is not None) == exported, "a stock network is told no labels to be true to"


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (["DIR"], BadInput, "--data is missing"),
        (["DIR", "--data", "digits", "--steps", "3"], BadInput, "leave out --steps"),
        (["DIR", "--data", "digits", "--rescale", "0"], BadInput, "leave out --rescale"),
        (["nowhere", "--data", "digits"], NotHere, "no model 'nowhere'"),
        (["RULER", "--data", "digits"], BadInput, "'ruler', not a 'denoiser'"),
        (["MODEL", "--data", "nowhere"], NotHere, "no data set 'nowhere'"),
        (["MODEL", "--data", "digits", "--steps", "0"], BadInput, "0 steps"),
        (["MODEL", "--data", "digits", "--guidance", "nan"], BadInput, "guidance of nan"),
        (["MODEL", "--data", "digits", "--interval", "1"], BadInput, "two numbers"),
        (["MODEL", "--data", "digits", "--rescale", "2"], BadInput, "rescale of 2"),
        (["MODEL", "--data", "digits", "--ruler", "nowhere"], NotHere, "no model 'nowhere'"),
        (["MODEL", "--data", "digits", "--ruler", "MODEL"], BadInput, "not a ruler"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path,
    drawer: Denoiser,
    rulers: tuple[str, str],
    arguments: list[str],
    kind: type[Exception],
    says: str,
) -> None:
    save_denoiser(drawer, tmp_path / "model")
    (tmp_path / "pictures").mkdir()
    places = {
        "DIR": str(tmp_path / "pictures"),
        "MODEL": str(tmp_path / "model"),
        "RULER": rulers[0],
    }
    said = CliRunner().invoke(APP, [places.get(word, word) for word in arguments])
    assert isinstance(said.exception, kind), said.exception
    assert says in str(said.exception) and "\n" not in str(said.exception)
