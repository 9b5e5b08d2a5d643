"""An evaluation measures on pictures that it has not fitted on, and what it fits is of use."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mmfm
from mmfm.data import shapes
from mmfm.errors import BadData, BadInput, MmfmError, NotHere
from mmfm.evaluation_report import lines, write_report
from mmfm.measures import wilson
from mmfm.models.clip import CLIP
from mmfm.models.scores import Calibration
from mmfm.tasks import evaluate as task
from mmfm.tasks.classify import ZeroShotClassifier
from mmfm.tasks.evaluate import Evaluation, evaluate

LABELS = ("red_circle", "blue_star", "black_ring", "pink_heart")
OTHERS = ("green_square", "yellow_cross")


def draw(name: str, count: int, folder: Path, *, seed: int) -> None:
    """Drawings of one thing, some so noisy that they are hard to tell."""
    colour, form = name.split("_")
    lots = np.random.default_rng(seed)
    sizes, places = list(shapes.SIZES), list(shapes.PLACES)
    scenes = [
        shapes.Scene((shapes.Shape(colour, form, lots.choice(sizes), lots.choice(places)),))
        for _ in range(count)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(shapes.draw(scenes, 64, seed=seed)):
        noise = lots.normal(0, lots.uniform(0, 150), image.shape)
        pixels = (image.numpy() + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")


@pytest.fixture(scope="module")
def clip() -> CLIP:
    loaded = mmfm.load_clip("clip-shapes")
    assert isinstance(loaded, CLIP)
    return loaded


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """world/own/<label>/*.png and world/other/*/*.png"""
    folder = tmp_path_factory.mktemp("world")
    for seed, name in enumerate(LABELS):
        draw(name, 60 if seed else 41, folder / "own" / name, seed=seed)
    for seed, name in enumerate(OTHERS, start=10):
        draw(name, 40, folder / "other" / name, seed=seed)
    (folder / "own" / "blue_star" / "broken.jpg").write_bytes(b"no picture")
    (folder / "own" / "blue_star" / "notes.txt").write_text("not counted, as in classify")
    return folder


@pytest.fixture(scope="module")
def found(clip: CLIP, world: Path) -> Evaluation:
    return evaluate(clip, world / "own", other=world / "other", cache=None)


def vectors(clip: CLIP, world: Path) -> dict[Path, torch.Tensor]:
    paths = sorted((world / "own").rglob("*.png"))
    return dict(zip(paths, clip.encode_image(paths), strict=True))


# --- what is measured -----------------------------------------------------------------------------


def test_every_readable_picture_is_in_one_half_and_each_label_in_both(
    world: Path, found: Evaluation
) -> None:
    # Half of 41 and of three times 60: what is odd is reported.
    assert (found.fitted_on, found.reported_on) == (20 + 90, 21 + 90)
    assert [c.count for c in found.classes] == [30, 30, 30, 21]
    assert found.names == tuple(sorted(LABELS))
    [(path, why)] = found.unreadable
    assert path == world / "own" / "blue_star" / "broken.jpg"
    assert "not a picture" in why


def test_the_halves_are_disjoint_stratified_and_the_same_for_the_same_seed() -> None:
    truth = torch.tensor([0] * 9 + [1] * 4 + [2])
    paths = [Path(f"{number}") for number in range(14)]
    seen = task._Seen(paths, torch.arange(14.0)[:, None], truth)
    fit, report = task._halves(seen, 3, 7)
    assert sorted(fit.paths + report.paths) == sorted(paths)
    assert torch.bincount(fit.truth, minlength=3).tolist() == [4, 2, 0]
    assert [f"{int(row)}" for row in fit.vectors] == [path.name for path in fit.paths]
    assert task._halves(seen, 3, 7)[0].paths == fit.paths
    assert any(task._halves(seen, 3, seed)[0].paths != fit.paths for seed in range(8, 12))


def test_what_is_reported_is_what_classify_says(
    clip: CLIP, world: Path, found: Evaluation, tmp_path: Path
) -> None:
    assert found.calibration is not None and found.after is not None
    found.calibration.save(tmp_path / "c.json")
    plain = ZeroShotClassifier(clip, found.labels, cache=None)
    fitted = ZeroShotClassifier(
        clip, found.labels, calibration=tmp_path / "c.json", none_of_these=True, cache=None
    )
    assert plain.score_kind == "among_labels"
    assert fitted.score_kind == "among_labels_calibrated"
    wrong = {one.path: one for one in found.wrong}
    assert len(wrong) > 5
    assert sorted((one.score for one in found.wrong), reverse=True) == [
        w.score for w in found.wrong
    ]
    assert found.table.sum() - found.table.trace() == len(wrong)
    by_path = vectors(clip, world)
    chances = fitted.probabilities(torch.stack([by_path[path] for path in wrong]))
    for (path, one), row in zip(wrong.items(), chances, strict=True):
        assert path.parent.name == one.truth
        assert found.names[int(row.argmax())] == one.answer
        assert one.score == pytest.approx(float(row.max()), abs=1e-5)
    # All wrong answers of the reported half are listed, so what is not listed is right or fitted.
    right = sum(
        plain.labels[int(plain.logits(row[None]).argmax())] == path.parent.name
        for path, row in by_path.items()
        if path not in wrong
    )
    assert right >= found.reported_on - len(wrong)
    assert found.accuracy == wilson(found.reported_on - len(wrong), found.reported_on)


def test_multi_label_numbers_are_what_classify_says(
    clip: CLIP, world: Path, found: Evaluation, tmp_path: Path
) -> None:
    assert found.calibration is not None and found.each_after is not None
    fitted = ZeroShotClassifier(
        clip, found.labels, calibration=found.calibration, multi_label=True, cache=None
    )
    assert fitted.score_kind == "each_label_calibrated"
    by_path = vectors(clip, world)
    seen = task._Seen(
        list(by_path),
        torch.stack(list(by_path.values())),
        torch.tensor([found.names.index(path.parent.name) for path in by_path]),
    )
    fit, report = task._halves(seen, len(LABELS), found.seed)
    judged = fitted.judge(report.vectors)
    said = sum(len(one.labels) for one in judged)
    hits = sum(
        found.names[t] in one.labels for one, t in zip(judged, report.truth.tolist(), strict=True)
    )
    assert found.each_after.right == wilson(hits, said)
    assert found.each_after.found == wilson(hits, len(judged))

    # On the pictures that they were chosen by, the thresholds do better than half would.
    so = torch.nn.functional.one_hot(fit.truth, len(LABELS)).bool()
    chances = fitted.probabilities(fit.vectors)

    def f1(cuts: torch.Tensor) -> float:
        said = chances >= cuts
        return float(2 * (said & so).sum() / (said.sum() + so.sum()))

    assert f1(torch.tensor(fitted.thresholds)) > f1(torch.tensor(0.5))


def test_fitting_makes_scores_honest_on_pictures_it_has_not_seen(found: Evaluation) -> None:
    assert found.after is not None and found.each_after is not None
    assert found.after.log_loss < found.before.log_loss
    assert found.after.error < 0.1
    assert found.each_after.error < found.each_before.error
    assert found.each_after.found and found.each_before.found
    assert found.each_after.found.value > found.each_before.found.value


def test_temperature_undoes_a_scale_that_makes_scores_too_sure(clip: CLIP, world: Path) -> None:
    sure = mmfm.load_clip("clip-shapes")
    with torch.no_grad():
        sure.scale += math.log(8)
    plain = evaluate(clip, world / "own", cache=None)
    scaled = evaluate(sure, world / "own", cache=None)
    assert plain.calibration and scaled.calibration and scaled.after and plain.after
    ratio = scaled.calibration.temperature / plain.calibration.temperature
    assert ratio == pytest.approx(8, rel=0.1)
    assert scaled.before.error > scaled.after.error
    assert scaled.after.log_loss == pytest.approx(plain.after.log_loss, rel=0.05)


def test_rejection_is_measured_and_fitted_on_different_pictures(found: Evaluation) -> None:
    assert found.rejection is not None and found.rejection.after is not None
    assert found.calibration is not None and found.calibration.known_slope
    assert found.rejection.roc.area.count == found.reported_on + 40
    assert found.rejection.roc.area.low > 0.6
    kept, refused = found.rejection.after.kept, found.rejection.after.refused
    assert kept.value + refused.value > 1.2
    assert (kept.count, refused.count) == (found.reported_on, 40)


def test_the_same_seed_measures_the_same(clip: CLIP, world: Path, found: Evaluation) -> None:
    again = evaluate(clip, world / "own", other=world / "other", cache=None)
    assert again.calibration == found.calibration
    assert again.wrong == found.wrong
    other_seed = evaluate(clip, world / "own", other=world / "other", seed=1, cache=None)
    assert other_seed.calibration != found.calibration


def test_labels_may_be_called_otherwise_than_their_folders(clip: CLIP, world: Path) -> None:
    called = ["pink_heart=분홍색 하트|pink heart", "red_circle=red circle", "blue_star=blue star"]
    e = evaluate(clip, world / "own", labels=[*called, "black_ring=black ring"], cache=None)
    assert e.names == ("pink_heart", "red_circle", "blue_star", "black_ring")
    assert e.labels[0].names == ("분홍색 하트", "pink heart")
    assert [c.count for c in e.classes] == [30, 21, 30, 30]
    assert e.mean_recall > 0.6


def test_progress_is_told_and_a_stop_stops(clip: CLIP, world: Path) -> None:
    told: list[tuple[int, int]] = []
    with pytest.raises(KeyboardInterrupt):
        evaluate(
            clip,
            world / "own",
            cache=None,
            progress=lambda done, total: told.append((done, total)),
            stop=lambda: len(told) == 3,
        )
    assert told == [(1, 222), (2, 222), (3, 222)]


# --- few pictures ---------------------------------------------------------------------------------


def few(tmp_path: Path, **counts: int) -> Path:
    for seed, (name, count) in enumerate(counts.items()):
        draw(name, count, tmp_path / "few" / name, seed=seed)
    return tmp_path / "few"


def test_one_picture_a_label_is_measured_but_nothing_is_fitted(clip: CLIP, tmp_path: Path) -> None:
    folder = few(tmp_path, red_circle=1, blue_star=1)
    draw("pink_heart", 1, tmp_path / "other", seed=3)
    e = evaluate(clip, folder, other=tmp_path / "other", cache=None)
    assert (e.fitted_on, e.reported_on) == (0, 2)
    assert e.calibration is e.after is e.each_after is None
    assert e.rejection is not None and e.rejection.after is None
    assert any("nothing is fitted" in note for note in e.notes)
    assert e.accuracy.low < 0.5
    assert lines(e)
    write_report(e, tmp_path / "report.html")
    assert "nothing was fitted" in (tmp_path / "report.html").read_text()


def test_a_label_of_one_picture_beside_others_is_said_not_to_be_fitted_on(
    clip: CLIP, tmp_path: Path
) -> None:
    folder = few(tmp_path, red_circle=8, blue_star=1)
    (folder / "green_square").mkdir()
    (folder / "pink_heart").symlink_to("nowhere")
    e = evaluate(clip, folder, cache=None)
    assert e.calibration is not None and len(e.calibration.thresholds) == 2
    notes = "\n".join(e.notes)
    assert "one picture only, so measured but not fitted on: blue_star" in notes
    assert "empty, so left out: green_square" in notes
    assert "pink_heart: a link that leads nowhere; left out" in notes
    assert "fitted on 4 pictures" in notes


def test_one_other_picture_is_measured_but_not_fitted_on(clip: CLIP, tmp_path: Path) -> None:
    folder = few(tmp_path, red_circle=4, blue_star=4)
    draw("pink_heart", 1, tmp_path / "other", seed=3)
    e = evaluate(clip, folder, other=tmp_path / "other", cache=None)
    assert e.calibration is not None and e.calibration.known_slope is None
    assert any("only one other picture" in note for note in e.notes)


# --- calibrations that do not fit -----------------------------------------------------------------


def test_a_calibration_serves_its_own_model_and_labels_only(
    clip: CLIP, found: Evaluation, tmp_path: Path
) -> None:
    assert found.calibration is not None
    path = tmp_path / "c.json"
    found.calibration.save(path)
    assert Calibration.read(path) == found.calibration
    synonym = replace(found.labels[0], names=("another name",))
    for labels in (["red circle", "blue star"], [synonym, *found.labels[1:]]):
        with pytest.raises(BadInput, match=r"fitted for (the labels|'\w+' called)"):
            ZeroShotClassifier(clip, labels, calibration=path, cache=None)
    another = mmfm.load_clip("clip-shapes")
    with torch.no_grad():
        for weight in another.parameters():
            weight.mul_(1.01)
    with pytest.raises(BadInput, match="fitted for another model"):
        ZeroShotClassifier(another, found.labels, calibration=path, cache=None)


@pytest.mark.parametrize("field", ["temperature", "slope", "known_slope", "thresholds"])
def test_a_calibration_with_nan_in_it_is_refused(
    found: Evaluation, field: str, tmp_path: Path
) -> None:
    assert found.calibration is not None
    path = tmp_path / "c.json"
    found.calibration.save(path)
    settings = json.loads(path.read_text())
    settings[field] = [math.nan] * 4 if field == "thresholds" else math.nan
    path.write_text(json.dumps(settings))
    with pytest.raises(BadData, match=r"c\.json: a calibration holds numbers only"):
        Calibration.read(path)


# --- what cannot be evaluated ---------------------------------------------------------------------


def nothing(folder: Path) -> None:
    folder.mkdir()


def one_label(folder: Path) -> None:
    draw("red_circle", 2, folder / "red_circle", seed=0)


def no_picture(folder: Path) -> None:
    one_label(folder)
    (folder / "blue_star").mkdir()
    (folder / "blue_star" / "notes.txt").write_text("none")


def none_readable(folder: Path) -> None:
    one_label(folder)
    (folder / "blue_star").mkdir()
    (folder / "blue_star" / "1.png").write_bytes(b"")


def parts(folder: Path) -> None:
    one_label(folder / "train")
    one_label(folder / "val")


@pytest.mark.parametrize(
    ("made", "kind", "line"),
    [
        (lambda folder: None, NotHere, "no such folder"),
        (lambda folder: folder.write_text("x"), BadInput, "not a folder"),
        (nothing, BadData, "0 class folders with files in them; at least two"),
        (one_label, BadData, "1 class folders with files in them; at least two"),
        (no_picture, BadData, r"blue_star: no picture in it \(1 other files\)"),
        (none_readable, BadData, r"blue_star: none of its 1 files is a readable picture \(1\.png"),
        (parts, BadInput, "holds parts of a data set, not labels; name one of them: .*val"),
    ],
)
def test_a_folder_without_labels_is_one_clear_line(
    clip: CLIP, tmp_path: Path, made: Callable[[Path], object], kind: type[MmfmError], line: str
) -> None:
    made(tmp_path / "folder")
    with pytest.raises(kind, match=line) as caught:
        evaluate(clip, tmp_path / "folder", cache=None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (["red_circle", "dog"], "no folder for the label dog; its folders are blue_star, red_"),
        (["red_circle"], "no label for the folder blue_star; the labels are red_circle"),
        (["red_circle", "red_circle"], "is there twice"),
    ],
)
def test_labels_and_folders_must_be_the_same(
    clip: CLIP, tmp_path: Path, labels: list[str], line: str
) -> None:
    with pytest.raises(BadInput, match=line):
        evaluate(clip, few(tmp_path, red_circle=2, blue_star=2), labels=labels, cache=None)


def test_others_must_be_pictures_of_their_own(clip: CLIP, world: Path, tmp_path: Path) -> None:
    for other in (world / "own", world / "own" / "red_circle", world):
        with pytest.raises(BadInput, match="shares pictures with"):
            evaluate(clip, world / "own", other=other, cache=None)
    with pytest.raises(NotHere, match="no such folder"):
        evaluate(clip, world / "own", other=tmp_path / "gone", cache=None)
    with pytest.raises(BadData, match="no picture in it"):
        evaluate(clip, world / "own", other=tmp_path, cache=None)
    (tmp_path / "x.png").write_bytes(b"")
    folder = few(tmp_path / "more", red_circle=2, blue_star=2)
    (tmp_path / "empty").mkdir()
    shutil.move(tmp_path / "x.png", tmp_path / "empty")
    with pytest.raises(BadData, match="empty: none of its 1 files is a readable picture"):
        evaluate(clip, folder, other=tmp_path / "empty", cache=None)


def test_a_model_that_gives_no_numbers_is_refused(tmp_path: Path) -> None:
    broken = mmfm.load_clip("clip-shapes")
    assert isinstance(broken, CLIP) and broken.image is not None
    with torch.no_grad():
        next(broken.image.parameters()).fill_(math.nan)
    with pytest.raises(BadData, match=r"gives no numbers \(NaN\)"):
        evaluate(broken, few(tmp_path, red_circle=2, blue_star=2), cache=None)
