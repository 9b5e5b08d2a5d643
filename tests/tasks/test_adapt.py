"""A few own pictures a label help where they do, and where they do not zero-shot stays."""

import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import mmfm
from mmfm.data import shapes
from mmfm.errors import BadData, BadInput, NotHere
from mmfm.models.adapters import Adapter
from mmfm.models.clip import TwoTowers
from mmfm.tasks.adapt import (
    UNCHOSEN,
    WAYS,
    Adaptation,
    Chosen,
    Examples,
    Way,
    adapt,
    choose,
    paired_interval,
)
from mmfm.tasks.classify import ZeroShotClassifier

FORMS = list(shapes.FORMS)[:4]
MADE_UP = ["blicket", "dax", "fep", "wug"]  # in the order of the folders


@pytest.fixture(scope="module")
def clip() -> TwoTowers:
    return mmfm.load_clip("clip-shapes")


def drawn(each: int, seed: int) -> list[tuple[Image.Image, int]]:
    """So many drawings of each of four forms, of combinations that training never showed."""
    images, scenes = shapes.evaluation("colour and shape", 16 * each + 60, seed=seed)
    several = [
        (FORMS.index(s.objects[0].form) if s.objects[0].form in FORMS else -1) for s in scenes
    ]
    numbers = [
        i for form in range(4) for i in [j for j, f in enumerate(several) if f == form][:each]
    ]
    assert len(numbers) == 4 * each
    return [(Image.fromarray(images[i].numpy()), several[i]) for i in numbers]


def written(folder: Path, names: list[str], each: int, seed: int = 20) -> Path:
    for number, (picture, form) in enumerate(drawn(each, seed)):
        (folder / names[form]).mkdir(parents=True, exist_ok=True)
        picture.save(folder / names[form] / f"{number:03}.png")
    return folder


@pytest.fixture(scope="module")
def made_up(clip: TwoTowers, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Adaptation]:
    """Four forms under names that mean nothing to the model."""
    folder = written(tmp_path_factory.mktemp("own"), MADE_UP, each=6)
    (folder / "dax" / "broken.jpg").write_text("no picture")
    (folder / "zup").symlink_to("nowhere")
    return folder, adapt(clip, folder, cache=None)


def world(labels: int, each: int, seed: int, *, apart: float = 1.0) -> Examples:
    """Rows around a middle a label, and label vectors that say nothing of where those lie."""
    generator = torch.Generator().manual_seed(seed)
    middles = apart * torch.randn(labels, 16, generator=generator)
    answers = torch.arange(labels).repeat_interleave(each)
    noise = torch.randn(len(answers), 16, generator=generator)
    names = torch.randn(labels, 16, generator=generator)
    return Examples(
        F.normalize(middles[answers] + noise, dim=1), answers, F.normalize(names, dim=1), 30.0
    )


def shuffled(examples: Examples, seed: int) -> Examples:
    order = torch.randperm(len(examples.answers), generator=torch.Generator().manual_seed(seed))
    return Examples(examples.vectors, examples.answers[order], examples.labels, examples.scale)


# --- what it brings -------------------------------------------------------------------------------


def test_names_that_mean_nothing_are_repaired_also_for_drawings_never_shown(
    clip: TwoTowers, made_up: tuple[Path, Adaptation], tmp_path: Path
):
    _, done = made_up
    c = done.chosen
    assert c.zero_shot < 0.5 and c.adapted > 0.9
    assert (
        c.interval[0] > 0.3 and c.way == c.best and c.way.kind == done.adapter.kind != "zero-shot"
    )
    done.adapter.save(tmp_path / "own.adapter")
    adapted = ZeroShotClassifier(clip, MADE_UP, adapter=tmp_path / "own.adapter", cache=None)
    plain = ZeroShotClassifier(clip, MADE_UP, cache=None)
    fresh = drawn(25, seed=21)
    right = [
        sum(
            found.label == MADE_UP[form]
            for found, (_, form) in zip(clf.classify([p for p, _ in fresh]), fresh, strict=True)
        )
        / len(fresh)
        for clf in (plain, adapted)
    ]
    assert right[0] < 0.5 and right[1] > 0.9
    # What was promised on held-out folds is what new drawings show.
    assert c.interval[0] <= right[1] - right[0] <= c.interval[1]


def test_names_that_were_swapped_are_repaired(clip: TwoTowers, tmp_path: Path):
    done = adapt(clip, written(tmp_path, FORMS[1:] + FORMS[:1], each=6), cache=None)
    assert done.chosen.zero_shot < 0.1 and done.chosen.adapted > 0.8
    assert done.adapter.kind != "zero-shot"


def test_where_zero_shot_is_right_it_stays_and_this_is_said(clip: TwoTowers, tmp_path: Path):
    folder = written(tmp_path / "own", FORMS, each=4)
    done = adapt(clip, folder, cache=None)
    assert done.adapter.kind == "zero-shot" and done.chosen.zero_shot == 1
    assert done.lines()[-1].startswith("kept: zero-shot; the examples bring no gain (100.0% before")
    # The file is written all the same, and a command after this one works.
    done.adapter.save(tmp_path / "own.adapter")
    labels = Adapter.read(tmp_path / "own.adapter").all_labels
    adapted = ZeroShotClassifier(clip, labels, adapter=tmp_path / "own.adapter", cache=None)
    plain = ZeroShotClassifier(clip, labels, cache=None)
    vectors = clip.encode_image([picture for picture, _ in drawn(2, seed=22)])
    assert torch.equal(adapted.logits(vectors), plain.logits(vectors))


def test_an_adapted_classifier_still_knows_what_it_does_not_know(
    clip: TwoTowers, made_up: tuple[Path, Adaptation]
):
    plain = ZeroShotClassifier(clip, MADE_UP, cache=None)
    adapted = ZeroShotClassifier(clip, MADE_UP, adapter=made_up[1].adapter, cache=None)
    noise = torch.rand(8, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    strange = clip.encode_image([Image.fromarray((255 * x).byte().numpy()) for x in noise])
    own = clip.encode_image([picture for picture, _ in drawn(4, seed=23)])
    assert (adapted.evidence(own) > plain.evidence(own)).all()
    assert adapted.evidence(own).median() > adapted.evidence(strange).max() + 5
    assert adapted.evidence(strange).max() < 0


def test_what_is_said_to_a_person(made_up: tuple[Path, Adaptation]):
    folder, done = made_up
    c = done.chosen
    assert done.lines() == [
        f"{folder / 'zup'}: a link that leads nowhere; left out",
        f"{folder / 'dax' / 'broken.jpg'}: not a picture, or one cut short: only 10 bytes; "
        "left out",
        "24 pictures of 4 labels; 24 of them held out once, in 5 folds:",
        f"  zero-shot          {c.zero_shot:6.1%} right",
        f"  with the examples  {c.adapted:6.1%} right",
        f"  gain               {100 * c.gain:+6.1f} points (95 % interval "
        f"{100 * c.interval[0]:+.1f} to {100 * c.interval[1]:+.1f})",
        f"kept: {c.way}, learned from all 24 pictures",
    ]


# --- honesty --------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", [2, 3, 6])
def test_labels_shuffled_at_random_bring_no_gain(each: int):
    """One try in forty may look like a gain by chance."""
    found = [choose(shuffled(world(4, each, seed), seed), seed=seed) for seed in range(8)]
    assert all(isinstance(c, Chosen) for c in found)
    kept = [c for c in found if c is not None and c.way.kind != "zero-shot"]
    assert len(kept) <= 1
    assert abs(sum(c.gain for c in found if c is not None)) / 8 < 0.1


def test_the_gain_that_is_named_is_what_new_pictures_show():
    promised, shown = [], []
    for seed in range(6):
        both = world(4, 58, seed)
        own = torch.arange(58).repeat(4) < 8
        mine, fresh = (
            both.select(torch.nonzero(own).squeeze(1)),
            both.select(torch.nonzero(~own)[:, 0]),
        )
        c = choose(mine, seed=seed)
        assert c is not None and c.way.kind != "zero-shot"
        said = dict(zip(WAYS, mine.ways(fresh.vectors), strict=True))
        right = {way: (said[way].argmax(1) == fresh.answers).float().mean() for way in said}
        promised.append(c.gain)
        shown.append(float(right[c.way] - right[WAYS[0]]))
    assert sum(promised) / 6 == pytest.approx(sum(shown) / 6, abs=0.06)


def test_a_held_out_picture_has_no_part_in_what_judges_it():
    """Rows that all lie apart: what was learned of one says nothing of any other."""
    answers = torch.tensor([0, 1] * 20)[
        torch.randperm(40, generator=torch.Generator().manual_seed(1))
    ]
    examples = Examples(torch.eye(40), answers, torch.zeros(2, 40), 30.0)
    c = choose(examples)
    assert c is not None and c.adapted <= 0.5 and c.way.kind == "zero-shot"


def test_the_same_pictures_give_the_same_answer():
    examples = world(4, 5, seed=3, apart=0.5)
    assert choose(examples, seed=1) == choose(examples, seed=1)
    assert choose(examples, seed=1) != choose(examples, seed=2)


def test_an_adapter_says_what_its_way_said(clip: TwoTowers, made_up: tuple[Path, Adaptation]):
    labels = made_up[1].adapter.all_labels
    examples = world(4, 5, seed=3)
    others = world(4, 3, seed=4).vectors
    zero_shot = examples.scale * others @ examples.labels.T
    for way, logits in zip(WAYS, examples.ways(others), strict=True):
        adapter = examples.adapter(way, labels, "model", "")
        assert adapter.kind == way.kind
        torch.testing.assert_close(adapter.logits(others, zero_shot), logits)


@pytest.mark.parametrize(("share", "count"), [(0.05, 20), (0.3, 30), (0.8, 12)])
def test_the_interval_holds_the_true_gain_as_often_as_it_says(share: float, count: int):
    generator = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(1000):
        before = torch.rand(count, generator=generator) < 0.5
        after = torch.where(torch.rand(count, generator=generator) < share, ~before, before)
        low, high = paired_interval(before, after)
        held += low <= 0 <= high
    assert held >= 930


def test_a_gain_needs_more_than_a_few_answers():
    before = torch.zeros(20, dtype=torch.bool)
    lows = [paired_interval(before, torch.arange(20) < better)[0] for better in range(8)]
    assert lows == sorted(lows)
    assert lows[3] < 0 < lows[6]
    assert paired_interval(before, before) == pytest.approx((-0.126, 0.126), abs=0.002)


# --- few pictures ---------------------------------------------------------------------------------


def picked(examples: Examples, counts: list[int]) -> Examples:
    index = [torch.nonzero(examples.answers == k)[:count, 0] for k, count in enumerate(counts)]
    return examples.select(torch.cat(index))


@pytest.mark.parametrize(
    ("counts", "folds", "measured"),
    [
        ([2, 2, 2], 2, 6),
        ([3, 3, 3], 3, 9),
        ([9, 9, 9], 5, 27),
        ([1, 2, 4], 4, 6),
        ([1, 9, 2], 5, 11),
    ],
)
def test_folds_are_as_many_as_the_pictures_allow(counts: list[int], folds: int, measured: int):
    c = choose(picked(world(3, 9, seed=1), counts))
    assert c is not None and (c.folds, c.measured) == (folds, measured)


def test_with_two_pictures_of_a_label_nothing_is_chosen_and_still_measured():
    c = choose(picked(world(8, 2, seed=1, apart=3.0), [2] * 8))
    assert c is not None and c.best == UNCHOSEN
    assert c.way == UNCHOSEN and c.adapted > c.zero_shot


def test_with_one_picture_of_each_label_nothing_can_be_measured(clip: TwoTowers, tmp_path: Path):
    folder = written(tmp_path, MADE_UP, each=1)
    with pytest.raises(
        BadData, match=r"two labels need two pictures each.* blicket has 1, dax has 1"
    ):
        adapt(clip, folder, cache=None)


def test_a_label_of_one_picture_is_named(clip: TwoTowers, tmp_path: Path):
    folder = written(tmp_path, MADE_UP, each=3)
    for path in sorted((folder / "fep").iterdir())[1:]:
        path.unlink()
    done = adapt(clip, folder, cache=None)
    assert done.alone == ("fep",) and done.chosen.measured == 9 and done.pictures == 10
    assert done.lines()[0].startswith("fep: one picture only; it is learned from, but")


# --- folders --------------------------------------------------------------------------------------


def test_labels_are_called_as_their_folders_unless_they_are_given(clip: TwoTowers, tmp_path: Path):
    folder = written(tmp_path, ["red_circle", "b", "c", "d"], each=2)
    assert adapt(clip, folder, cache=None).adapter.said == (("b",), ("c",), ("d",), ("red circle",))
    given = ["d=star|별", "c=triangle", "b=square", "red_circle=circle"]
    done = adapt(clip, folder, labels=given, cache=None)
    assert done.adapter.labels == ("d", "c", "b", "red_circle")
    assert done.adapter.said[0] == ("star", "별")
    assert done.chosen.zero_shot == 1


def test_labels_and_folders_have_to_agree(clip: TwoTowers, tmp_path: Path):
    folder = written(tmp_path, MADE_UP, each=1)
    with pytest.raises(BadInput, match="no folder with pictures for owl; there are blicket, dax"):
        adapt(clip, folder, labels=[*MADE_UP, "owl"], cache=None)
    with pytest.raises(BadInput, match="wug is none of the labels blicket, dax, fep"):
        adapt(clip, folder, labels=MADE_UP[:3], cache=None)
    with pytest.raises(NotHere, match="no such folder; it holds one folder a label"):
        adapt(clip, folder / "nowhere", cache=None)
    with pytest.raises(BadData, match="0 class folders"):
        adapt(clip, folder / "dax", cache=None)


def test_a_label_without_a_readable_picture_is_named(clip: TwoTowers, tmp_path: Path):
    folder = written(tmp_path, MADE_UP, each=2)
    for path in (folder / "wug").iterdir():
        path.write_bytes(b"")
    with pytest.raises(BadData, match=r"no readable picture of wug \(2 were skipped, the first"):
        adapt(clip, folder, cache=None)


def test_a_copy_counts_once_and_under_two_labels_is_refused(clip: TwoTowers, tmp_path: Path):
    folder = written(tmp_path, MADE_UP, each=2)
    first = min((folder / "dax").iterdir())
    shutil.copy(first, folder / "dax" / "z.png")
    done = adapt(clip, folder, cache=None)
    assert done.pictures == 8
    assert done.copies == ((str(folder / "dax" / "z.png"), str(first)),)
    assert done.lines()[0] == f"{folder / 'dax' / 'z.png'}: a copy of {first}; left out"
    shutil.copy(first, folder / "wug" / "z.png")
    with pytest.raises(BadData, match=r"z\.png: lies under 'dax' too, as .*; remove one"):
        adapt(clip, folder, cache=None)


def test_progress_is_told(clip: TwoTowers, tmp_path: Path):
    folder = written(tmp_path, MADE_UP, each=2)
    pictures: list[tuple[int, int]] = []
    trials: list[tuple[int, int]] = []
    adapt(
        clip,
        folder,
        cache=None,
        progress=lambda done, total: pictures.append((done, total)),
        choosing=lambda done, total: trials.append((done, total)),
    )
    assert pictures == [(done, 8) for done in range(1, 9)]
    assert trials == [(1, 3), (2, 3), (3, 3)]


# --- what the classifier refuses ------------------------------------------------------------------


def test_an_adapter_of_another_model_or_of_other_labels_is_refused(
    clip: TwoTowers, made_up: tuple[Path, Adaptation], tmp_path: Path
):
    examples = world(4, 2, seed=1)
    labels = made_up[1].adapter.all_labels
    file = tmp_path / "own.adapter"
    examples.adapter(WAYS[-1], labels, "another model", "").save(file)
    with pytest.raises(BadInput, match=r"own\.adapter: was made for another model than"):
        ZeroShotClassifier(clip, MADE_UP, adapter=file, cache=None)
    with pytest.raises(BadInput, match="was made for the labels blicket, dax, fep, wug;"):
        ZeroShotClassifier(clip, MADE_UP[:3], adapter=made_up[1].adapter, cache=None)
    narrow = examples.adapter(WAYS[-1], labels, made_up[1].adapter.model, "")
    with pytest.raises(BadInput, match="holds vectors of 16 numbers, and those of"):
        ZeroShotClassifier(clip, MADE_UP, adapter=narrow, cache=None)


def test_every_way_says_what_it_is():
    assert len({str(way) for way in WAYS}) == len(WAYS)
    assert str(Way("zero-shot")) == "zero-shot"
    assert UNCHOSEN in WAYS


def test_rows_of_zero_shot_are_the_models_own(clip: TwoTowers, tmp_path: Path):
    """The probe starts, and Tip-Adapter adds to, just what the classifier says by itself."""
    clf = ZeroShotClassifier(clip, FORMS, cache=None)
    vectors: Tensor = clip.encode_image([picture for picture, _ in drawn(2, seed=24)])
    examples = Examples(vectors, torch.zeros(8, dtype=torch.int64), clf.vectors, clf.scale)
    torch.testing.assert_close(next(examples.ways(vectors)), clf.logits(vectors))
