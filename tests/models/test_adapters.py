"""Adapters compute what they say, in the measure of zero-shot, and come back from a file whole."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from mmfm.errors import BadData, NotHere
from mmfm.models.adapters import Adapter, likeness, probes, voices

LABELS = ("cat", "dog", "owl")


def rows(count: int, dim: int, seed: int) -> Tensor:
    return F.normalize(
        torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1
    )


def some_examples(dim: int = 12, each: tuple[int, ...] = (4, 2, 5)) -> tuple[Tensor, Tensor]:
    answers = torch.tensor([label for label, count in enumerate(each) for _ in range(count)])
    return rows(len(answers), dim, seed=1), answers


def a_tip(**changes: object) -> Adapter:
    examples, answers = some_examples()
    tip = Adapter("tip", LABELS, "model", examples=examples, answers=answers, alpha=3.0, beta=2.0)
    return replace(tip, **changes)  # type: ignore[arg-type]


def a_linear(**changes: object) -> Adapter:
    linear = Adapter("linear", LABELS, "model", weights=rows(3, 12, seed=5), note="better")
    return replace(linear, **changes)  # type: ignore[arg-type]


# --- Tip-Adapter ----------------------------------------------------------------------------------


def test_each_example_speaks_for_its_label_as_loud_as_the_picture_is_like_it():
    tip = a_tip()
    assert tip.examples is not None and tip.answers is not None
    pictures, zero_shot = rows(6, 12, seed=2), torch.randn(6, 3)
    said = torch.zeros(6, 3)
    for i, picture in enumerate(pictures):
        for label in range(3):
            mine = [
                e for e, answer in zip(tip.examples, tip.answers, strict=True) if answer == label
            ]
            loud = [math.exp(-2.0 * (1 - float(picture @ example))) for example in mine]
            said[i, label] = sum(loud) / len(loud)
    expected = zero_shot + 3.0 * (said - said.mean(dim=1, keepdim=True))
    torch.testing.assert_close(tip.logits(pictures, zero_shot), expected)


def test_a_label_is_not_the_louder_for_having_the_same_example_twice():
    examples, answers = some_examples()
    more = (
        torch.cat([examples, examples[answers == 2]]),
        torch.cat([answers, answers[answers == 2]]),
    )
    pictures = rows(6, 12, seed=2)
    torch.testing.assert_close(
        voices(likeness(pictures, more[0], 2.0), more[1], 3),
        voices(likeness(pictures, examples, 2.0), answers, 3),
    )


def test_a_label_without_examples_is_left_as_it_is():
    examples, answers = some_examples()
    kept = answers != 1
    said = voices(likeness(rows(6, 12, seed=2), examples[kept], 2.0), answers[kept], 3)
    assert (said[:, 1] == 0).all()
    assert (said[:, 0] != 0).all()
    moved = probes(examples[kept], answers[kept], 10 * rows(3, 12, seed=3), [0.1])[0]
    torch.testing.assert_close(moved[1], 10 * rows(3, 12, seed=3)[1])
    assert (moved[0] - 10 * rows(3, 12, seed=3)[0]).norm() > 0.1


# --- the linear probe -----------------------------------------------------------------------------


def test_held_fast_the_probe_is_zero_shot_and_let_go_it_answers_all_examples_right():
    examples, _ = some_examples()
    answers = torch.tensor([2, 0, 1, 1, 0, 2, 2, 0, 1, 0, 2])  # which nothing in the rows tells
    start = 10 * rows(3, 12, seed=3)
    fast, free = probes(examples, answers, start, [1e9, 1e-4])
    torch.testing.assert_close(fast, start, atol=1e-4, rtol=0)
    assert ((examples @ start.T).argmax(dim=1) == answers).float().mean() < 0.8
    assert ((examples @ free.T).argmax(dim=1) == answers).all()
    assert F.cross_entropy(examples @ free.T, answers) < 0.01


@pytest.mark.parametrize("dim", [5, 40], ids=["many examples", "few examples"])
@pytest.mark.parametrize("strength", [0.3, 3.0])
def test_the_probe_finds_what_scikit_learn_finds(dim: int, strength: float):
    """scikit-learn holds weights to zero. Examples so faint that they only pull, one a label and
    along its vector, move that point: their cross-entropy is a straight line with that slope.
    """
    examples, answers = some_examples(dim)
    start = 2 * rows(3, dim, seed=3)
    faint = 1e-3
    balanced = len(answers) / (3 * torch.bincount(answers))[answers]
    theirs = LogisticRegression(C=1 / strength, fit_intercept=False, tol=1e-10, max_iter=10_000)
    theirs.fit(
        torch.cat([examples, faint * start]).double().numpy(),
        torch.cat([answers, torch.arange(3)]).numpy(),
        sample_weight=np.concatenate([balanced.double().numpy(), np.full(3, strength / faint)]),
    )
    (ours,) = probes(examples, answers, start, [strength])
    pictures = rows(50, dim, seed=4)
    expected = torch.from_numpy(theirs.predict_proba(pictures.double().numpy())).float()
    torch.testing.assert_close((pictures @ ours.T).softmax(dim=1), expected, atol=2e-3, rtol=0)
    assert ((pictures @ start.T).softmax(dim=1) - expected).abs().max() > 0.02


def test_a_search_that_goes_on_from_a_stronger_hold_ends_where_it_would_from_the_start():
    examples, answers = some_examples()
    start = 10 * rows(3, 12, seed=3)
    torch.testing.assert_close(
        probes(examples, answers, start, [10.0, 1.0, 0.1])[-1],
        probes(examples, answers, start, [0.1])[0],
        atol=5e-2,
        rtol=0,
    )


# --- the measure ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tip", "linear", "zero-shot"])
def test_only_the_share_of_the_labels_changes_and_not_their_mean(kind: str):
    examples, answers = some_examples()
    start = 10 * rows(3, 12, seed=3)
    pictures = rows(20, 12, seed=2)
    zero_shot = pictures @ start.T
    adapter = {
        "tip": a_tip(),
        "linear": a_linear(weights=probes(examples, answers, start, [0.1])[0]),
        "zero-shot": Adapter("zero-shot", LABELS, "model"),
    }[kind]
    logits = adapter.logits(pictures, zero_shot)
    torch.testing.assert_close(logits.mean(dim=1), zero_shot.mean(dim=1), atol=1e-4, rtol=1e-4)
    assert torch.equal(logits, zero_shot) == (kind == "zero-shot")


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tip", "linear", "zero-shot"])
def test_what_is_saved_is_read_again(kind: str, tmp_path: Path):
    said = (("고양이", "cat"), ("dog",), ("owl",))
    adapter = {
        "tip": a_tip(said=said, note="더 낫다"),
        "linear": a_linear(said=said),
        "zero-shot": Adapter("zero-shot", LABELS, "model", said),
    }[kind]
    adapter.save(tmp_path / "own.adapter")
    assert [path.name for path in tmp_path.iterdir()] == ["own.adapter"]
    again = Adapter.read(tmp_path / "own.adapter")
    for name in ("kind", "labels", "model", "said", "alpha", "beta", "note", "dim"):
        assert getattr(again, name) == getattr(adapter, name)
    pictures, zero_shot = rows(6, 12, seed=2), torch.randn(6, 3)
    assert torch.equal(again.logits(pictures, zero_shot), adapter.logits(pictures, zero_shot))
    assert [label.names for label in again.all_labels] == list(said)


def test_a_file_that_is_not_there_or_no_adapter_is_one_clear_line(tmp_path: Path):
    file = tmp_path / "own.adapter"
    for missing in (file, tmp_path):
        with pytest.raises(NotHere, match="no such adapter; mmfm adapt DIR --save FILE makes one"):
            Adapter.read(missing)
    a_tip().save(file)
    whole = file.read_bytes()
    weights = {"weight": torch.zeros(2)}
    for data in (
        b"",
        b"a text",
        whole[:-10],
        whole[:40],
        save(weights),
        save(weights, metadata={"mmfm": "{"}),
        save(weights, metadata={"mmfm": "[1]"}),
        save(weights, metadata={"mmfm": '{"kind": "calibration", "mmfm": 1}'}),
    ):
        file.write_bytes(data)
        with pytest.raises(BadData, match=r"own.adapter: not an adapter.* makes one$") as error:
            Adapter.read(file)
        assert "\n" not in str(error.value)


def test_a_file_of_a_later_mmfm_is_told_from_a_damaged_one(tmp_path: Path):
    file = tmp_path / "own.adapter"
    file.write_bytes(save({}, metadata={"mmfm": '{"kind": "adapter", "mmfm": 2}'}))
    with pytest.raises(BadData, match="an adapter of another mmfm than this one"):
        Adapter.read(file)


BROKEN = {
    "NaN": ({"examples": torch.full((11, 12), math.nan)}, {}, "numbers only"),
    "infinite": ({"examples": torch.full((11, 12), math.inf)}, {}, "numbers only"),
    "too few answers": ({"answers": torch.zeros(3, dtype=torch.int64)}, {}, "one answer for each"),
    "no such answer": ({"answers": torch.full((11,), 3)}, {}, "numbers of its 3 labels"),
    "answers that are no numbers of labels": ({"answers": torch.zeros(11)}, {}, "one answer"),
    "flat": ({"examples": torch.zeros(11)}, {}, "rows of float32"),
    "half precision": ({"examples": torch.zeros(11, 12).half()}, {}, "rows of float32"),
    "none": ({"examples": torch.zeros(0, 12)}, {}, "rows of float32"),
    "left over": ({"weights": torch.zeros(3, 12)}, {}, "holds examples and answers, not"),
    "strange": ({"bias": torch.zeros(3)}, {}, "other parts"),
    "another kind": ({}, {"way": "magic"}, "one of the kinds"),
    "no kind": ({}, {"way": None}, "one of the kinds"),
    "no labels": ({}, {"labels": []}, "labels"),
    "labels that are no texts": ({}, {"labels": [1, 2, 3]}, "texts"),
    "labels twice": ({}, {"labels": ["cat", "cat", "owl"]}, "once"),
    "too few labels": ({}, {"labels": ["cat", "dog"], "said": [["cat"], ["dog"]]}, "2 labels"),
    "nothing said": ({}, {"said": [["cat"], [], ["owl"]]}, "what it is called"),
    "said for too few": ({}, {"said": [["cat"]]}, "what it is called"),
    "alpha below 0": ({}, {"alpha": -1}, "from 0 up"),
    "alpha a text": ({}, {"alpha": "much"}, "from 0 up"),
    "no model": ({}, {"model": None}, "texts"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_an_adapter_is_one_clear_line(case: str, tmp_path: Path):
    tensors, about, line = BROKEN[case]
    tip = a_tip()
    assert tip.examples is not None and tip.answers is not None
    whole = {"mmfm": 1, "kind": "adapter", "way": "tip", "labels": LABELS, "model": "model"}
    whole |= {"said": [["cat"], ["dog"], ["owl"]], "alpha": 1.0, "beta": 2.0, "note": ""}
    file = tmp_path / "own.adapter"
    made = {"examples": tip.examples, "answers": tip.answers, **tensors}
    file.write_bytes(save(made, metadata={"mmfm": json.dumps({**whole, **about})}))
    with pytest.raises(BadData, match=line) as error:
        Adapter.read(file)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize("missing", ["labels", "way", "model", "examples", "answers"])
def test_what_a_file_lacks_is_noticed(missing: str, tmp_path: Path):
    tip = a_tip()
    assert tip.examples is not None and tip.answers is not None
    whole = {"mmfm": 1, "kind": "adapter", "way": "tip", "labels": LABELS, "model": "model"}
    tensors = {"examples": tip.examples, "answers": tip.answers}
    whole.pop(missing, None)
    tensors.pop(missing, None)
    file = tmp_path / "own.adapter"
    file.write_bytes(save(tensors, metadata={"mmfm": json.dumps(whole)}))
    with pytest.raises(BadData, match=r"own\.adapter: an adapter "):
        Adapter.read(file)


def test_weights_for_other_labels_than_there_are_are_refused():
    with pytest.raises(BadData, match="a row of weights for each of its 3 labels, not 2"):
        a_linear(weights=rows(2, 12, seed=5))
