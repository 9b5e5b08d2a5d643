"""Zero-shot answers: right where the model is, honest where it is not."""

import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mmfm
from mmfm.data import shapes
from mmfm.encoding import Known
from mmfm.errors import BadInput
from mmfm.models.adapters import Adapter
from mmfm.models.clip import CLIP, CLIPConfig, TextConfig, TwoTowers
from mmfm.models.scores import Calibration
from mmfm.models.tokenizer import clip_bpe, learn
from mmfm.models.vit import ViTConfig
from mmfm.tasks.classify import Prediction, ZeroShotClassifier

LABELS = ["red circle", "blue star", "green square=초록색 사각형|green square", "yellow heart"]
NAMES = ["red circle", "blue star", "green square", "yellow heart"]


@pytest.fixture(scope="module")
def clip() -> TwoTowers:
    return mmfm.load_clip("clip-shapes")


def drawn(*pairs: str, size: int = 96, seed: int = 3) -> list[Image.Image]:
    """One drawing for each colour and form."""
    several = [
        shapes.Scene((shapes.Shape(*pair.split(), "large", "in the centre"),))  # type: ignore[arg-type]
        for pair in pairs
    ]
    return [Image.fromarray(image.numpy()) for image in shapes.draw(several, size, seed=seed)]


def classifier(clip: TwoTowers, labels: object = LABELS, **wishes: object) -> ZeroShotClassifier:
    return ZeroShotClassifier(clip, labels, **{"cache": None, **wishes})  # type: ignore[arg-type]


def paths_of(folder: Path, pictures: list[Image.Image]) -> list[Path]:
    paths = [folder / f"{number:03}.png" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path)
    return paths


# --- one of many ----------------------------------------------------------------------------------


def test_drawings_get_their_names_and_the_scores_add_up(clip: TwoTowers):
    found = classifier(clip).classify(drawn(*NAMES))
    assert [p.label for p in found] == NAMES
    for p in found:
        assert p.labels == (p.label,)
        assert p.score == p.scores[p.label] == max(p.scores.values())
        assert sum(p.scores.values()) == pytest.approx(1)
        assert list(p.scores.values()) == sorted(p.scores.values(), reverse=True)
        assert p.score_kind == "among_labels" and p.error is None and p.path is None


def test_the_scores_are_the_softmax_of_the_models_own_logits(clip: TwoTowers):
    picture = drawn("red circle")
    clf = classifier(clip, ["red circle", "blue star"], templates=["{a} {name}"])
    texts = clip.encode_text(["a red circle", "a blue star"])
    logits = clip.scale.exp() * clip.encode_image(picture) @ texts.T
    expected = logits.softmax(dim=1)[0].tolist()
    found = clf.classify(picture)[0].scores
    assert [found["red circle"], found["blue star"]] == pytest.approx(expected, abs=1e-6)


def test_one_picture_gives_one_prediction_and_a_list_a_list(clip: TwoTowers, tmp_path: Path):
    path = paths_of(tmp_path, drawn("blue star"))[0]
    clf = classifier(clip)
    one = clf.classify(path)
    assert isinstance(one, Prediction) and one.path == str(path)
    assert clf.classify(str(path)) == one
    assert clf.classify([path]) == [one]
    assert clf.classify([]) == []
    with pytest.raises(BadInput, match=r"\[picture\]"):
        next(clf.stream(str(path)))


def test_the_public_name_is_this_class():
    assert mmfm.ZeroShotClassifier is ZeroShotClassifier


def test_korean_and_english_names_lead_to_the_same_answers(clip: TwoTowers):
    korean = ["빨간색 원", "파란색 별", "초록색 사각형", "노란색 하트"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf = classifier(clip, dict(zip(NAMES, korean, strict=True)), templates="simple")
    assert [p.label for p in clf.classify(drawn(*NAMES))] == NAMES


def test_a_label_of_synonyms_is_their_ensemble(clip: TwoTowers):
    both = classifier(clip, ["x=red circle|빨간색 원"], templates=["{name}"]).vectors[0]
    rows = clip.encode_text(["red circle", "빨간색 원"]).mean(dim=0)
    torch.testing.assert_close(both, rows / rows.norm())


# --- any number of files --------------------------------------------------------------------------


def test_a_stream_keeps_the_order_and_names_what_it_cannot_read(clip: TwoTowers, tmp_path: Path):
    paths: list[Path] = paths_of(tmp_path, drawn(*NAMES * 20))
    paths[5].write_bytes(b"\xff\xd8 no picture")
    paths[6].unlink()
    paths[7].unlink()
    paths[7].mkdir()
    found = list(classifier(clip).stream(paths, batch=8))
    assert [p.path for p in found] == [str(path) for path in paths]
    assert [p.error is None for p in found].count(False) == 3
    assert "format" in (found[5].error or "") and "no such file" in (found[6].error or "")
    assert "folder" in (found[7].error or "")
    assert str(tmp_path) not in (found[6].error or "")
    right = [p.label == NAMES[i % 4] for i, p in enumerate(found) if p.error is None]
    assert all(right)


def test_a_stream_takes_from_its_source_no_more_than_it_needs(clip: TwoTowers):
    taken = 0

    def source() -> Iterator[Image.Image]:
        nonlocal taken
        for picture in drawn(*NAMES) * 100:
            taken += 1
            yield picture

    stream = classifier(clip).stream(source(), batch=4)
    for _ in range(4):
        next(stream)
    assert taken <= 12  # one batch handed out, two waiting


def test_the_text_tower_reads_once_however_many_pictures(
    clip: TwoTowers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    reads: list[int] = []
    whole = type(clip).project_text
    monkeypatch.setattr(
        type(clip), "project_text", lambda self, ids: reads.append(len(ids)) or whole(self, ids)
    )
    cache = tmp_path / "v.sqlite"
    clf = classifier(clip, cache=cache, none_of_these=True)
    before = len(reads)
    list(clf.stream(drawn(*NAMES) * 10, batch=4))
    with_bank = len(reads)
    list(clf.stream(drawn(*NAMES) * 10, batch=4))
    assert before > 0 and len(reads) == with_bank
    # A second start reads nothing at all.
    again = classifier(clip, cache=cache, none_of_these=True)
    again.classify(drawn("red circle"))
    assert len(reads) == with_bank
    torch.testing.assert_close(again.vectors, clf.vectors, rtol=0, atol=0)


# --- none of these --------------------------------------------------------------------------------


OTHERS = ["pink ring", "black cross", "purple crescent", "orange triangle"]


def test_pictures_of_other_things_are_none_of_these(clip: TwoTowers):
    clf = classifier(clip, none_of_these=True)
    found = clf.classify(drawn(*NAMES, *OTHERS))
    assert [p.label for p in found] == [*NAMES, None, None, None, None]
    for p in found[4:]:
        assert p.labels == () and p.score is not None and p.score > 0.5
        assert p.score + sum(p.scores.values()) == pytest.approx(1)
    for p in found[:4]:
        assert sum(p.scores.values()) < 1


def test_without_the_wish_every_picture_gets_a_label(clip: TwoTowers):
    assert all(p.label in NAMES for p in classifier(clip).classify(drawn(*OTHERS)))


def test_noise_and_plain_pictures_are_none_of_these(clip: TwoTowers):
    noise = [Image.effect_noise((64, 64), 90).convert("RGB") for _ in range(3)]
    plain = [Image.new("RGB", (64, 64), colour) for colour in ("white", "grey")]
    found = classifier(clip, none_of_these=True).classify([*noise, *plain])
    assert [p.label for p in found] == [None] * 5


def test_a_folder_is_judged_by_its_own_pictures_too(
    clip: TwoTowers, monkeypatch: pytest.MonkeyPatch
):
    clf = classifier(clip, none_of_these=True)
    pictures = drawn(*NAMES, *OTHERS, size=48) * 12
    vectors = clip.encode_image(pictures)
    evidence = clf.evidence(vectors)
    own = torch.tensor([i % 8 < 4 for i in range(len(pictures))])
    # Pictures for which the bank is too strict by 1.5, as sketches are for a CLIP of photographs.
    shift = float(evidence[own].min()) + 1.5
    monkeypatch.setattr(
        ZeroShotClassifier,
        "evidence",
        lambda self, rows: torch.where(own_like(rows, vectors[own]), 0.8, -9.0) + 0 * shift - 1.5,
    )
    alone = [clf.classify(picture).label is not None for picture in pictures[:8]]
    together = [p.label is not None for p in clf.classify(pictures)]
    assert not any(alone)
    assert together == own.tolist()


def own_like(rows: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    return (rows @ own.T).amax(dim=1) > 0.99999


def test_a_long_folder_is_looked_at_here_and_there_and_nowhere_twice(
    clip: TwoTowers, monkeypatch: pytest.MonkeyPatch
):
    pictures = drawn(*NAMES, size=48) * 80
    encoded = 0
    whole = type(clip).project_image

    def count(self: TwoTowers, images: torch.Tensor) -> torch.Tensor:
        nonlocal encoded
        encoded += len(images)
        return whole(self, images)

    monkeypatch.setattr(type(clip), "project_image", count)
    found = list(classifier(clip, none_of_these=True).stream(pictures))
    assert len(found) == encoded == 320
    assert [p.label for p in found[:4]] == NAMES
    encoded = 0
    assert len(list(classifier(clip, none_of_these=True).stream(iter(pictures)))) == encoded == 320


def test_what_is_left_of_a_folder_is_judged_as_all_of_it_was(
    clip: TwoTowers, monkeypatch: pytest.MonkeyPatch
):
    clf = classifier(clip, none_of_these=True)
    pictures = drawn(*NAMES, *OTHERS, size=48) * 4
    whole = ZeroShotClassifier.evidence
    monkeypatch.setattr(ZeroShotClassifier, "evidence", lambda self, rows: whole(self, rows) - 9)
    cuts: list[float] = []
    monkeypatch.setattr("mmfm.tasks.classify.valley", lambda evidence: -7.5 - len(evidence) / 32)
    found = list(clf.stream(pictures, keep_cut=cuts.append))
    assert cuts == [-8.5]
    monkeypatch.setattr(ZeroShotClassifier, "_probe", pytest.fail)
    scores = pytest.approx([p.score for p in found[16:]], abs=1e-5)
    assert [p.score for p in clf.stream(pictures[16:], cut=cuts[0])] == scores
    assert [p.score for p in clf.stream(pictures[16:], cut=-7.5)] != scores


def looked_up(kept: dict[str, np.ndarray]) -> Known:
    return lambda pictures: [kept.get(str(picture)) for _, picture in pictures]


def test_what_is_known_is_not_looked_at_again_and_what_was_seen_is_kept(
    clip: TwoTowers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    paths = paths_of(tmp_path, drawn(*NAMES * 3))
    paths[4].write_bytes(b"broken")
    kept: dict[str, np.ndarray] = {}
    clf = classifier(clip)
    first = list(
        clf.stream(paths, batch=5, keep=lambda seen: kept.update({p: r for p, _, r in seen}))
    )
    assert sorted(kept) == [str(path) for path in paths if path != paths[4]]

    def never(*asked: object) -> torch.Tensor:
        raise AssertionError("the tower was asked again")

    paths[4].unlink()
    some = {path: row for path, row in kept.items() if path != str(paths[7])}
    known = looked_up(some)
    monkeypatch.setattr(type(clip), "project_image", never)
    with pytest.raises(AssertionError, match="asked again"):
        list(clf.stream(paths, known=known))
    some[str(paths[7])] = kept[str(paths[7])]
    again = list(clf.stream(paths, known=known))
    assert again[4].error is not None and "no such file" in again[4].error
    del first[4], again[4]
    assert again == first


def test_a_folder_that_is_known_is_not_opened_even_to_see_what_it_is_like(
    clip: TwoTowers, tmp_path: Path
):
    paths = paths_of(tmp_path, drawn(*NAMES * 2))
    clf = classifier(clip, none_of_these=True)
    kept: dict[str, np.ndarray] = {}
    first = list(clf.stream(paths, keep=lambda seen: kept.update({p: r for p, _, r in seen})))
    for path in paths:
        path.write_bytes(b"")
    assert list(clf.stream(paths, known=looked_up(kept))) == first


@pytest.mark.parametrize("wishes", [{}, {"multi_label": True}, {"none_of_these": True}])
def test_the_top_scores_are_the_first_of_all(clip: TwoTowers, wishes: dict[str, bool]):
    clf = classifier(clip, [f"{c} {f}" for c, f in shapes.classes()[:12]], **wishes)
    vectors = clip.encode_image(drawn(*NAMES))
    for whole, few in zip(clf.judge(vectors), clf.judge(vectors, top=3), strict=True):
        assert replace(few, scores={}) == replace(whole, scores={})
        first = list(whole.scores.items())
        wanted = [*first[:3], *[(n, s) for n, s in first[3:] if n in whole.labels]]
        assert list(few.scores.items()) == wanted
    with pytest.raises(BadInput, match="at least one"):
        clf.judge(vectors, top=0)


def test_the_bank_leaves_out_what_the_labels_say_themselves(clip: TwoTowers):
    plain = classifier(clip, ["red circle"]).bank
    same = classifier(clip, ["red circle", "dog", "chair"]).bank
    assert len(same) < len(plain)


# --- each label by itself -------------------------------------------------------------------------


def test_each_label_by_itself_may_be_one_none_or_several(clip: TwoTowers):
    clf = classifier(clip, ["red circle", "red", "blue star"], multi_label=True)
    circle, ring = clf.classify(drawn("red circle", "pink ring"))
    assert circle.label == "red circle" and "blue star" not in circle.labels
    assert circle.labels == tuple(n for n in circle.scores if circle.scores[n] >= 0.5)
    assert ring.label is None and ring.labels == ()
    assert circle.score_kind == "each_label_uncalibrated"


def test_a_score_by_itself_does_not_hang_on_the_other_labels(clip: TwoTowers):
    picture = drawn("red circle")
    one = classifier(clip, ["red circle", "blue star"], multi_label=True)
    # The bank leaves out texts near a label, so these do not change it.
    other = classifier(clip, ["red circle", "green square"], multi_label=True)
    same = one.bank.shape == other.bank.shape and torch.equal(one.bank, other.bank)
    a, b = one.classify(picture)[0], other.classify(picture)[0]
    assert a.scores["red circle"] == pytest.approx(
        b.scores["red circle"], abs=1e-6 if same else 0.02
    )


def tiny(bias: float | None, tokenizer: object) -> CLIP:
    image = ViTConfig((16, 16), 8, dim=16, depth=1, heads=2, mlp_dim=24)
    words = tokenizer.vocabulary  # type: ignore[attr-defined]
    text = TextConfig(words, tokenizer.context, dim=20, depth=1, heads=2, mlp_dim=24)  # type: ignore[attr-defined]
    model = CLIP(CLIPConfig(image, text, dim=12, bias=bias), tokenizer=tokenizer)  # type: ignore[arg-type]
    model.reset(torch.Generator().manual_seed(1))
    return model.eval()


def test_a_sigmoid_model_gives_its_own_probability_of_each_label():
    model = tiny(-2.0, learn(["a photo of a cat and a dog"] * 3, vocabulary=280, context=64))
    clf = classifier(model, ["cat", "dog"], multi_label=True)
    picture = drawn("red circle")
    expected = model.scale.exp() * model.encode_image(picture) @ clf.vectors.T + model.bias
    found = clf.classify(picture)[0]
    assert found.score_kind == "each_label"
    assert [found.scores[name] for name in ("cat", "dog")] == pytest.approx(
        expected.sigmoid()[0].tolist(), abs=1e-6
    )


# --- what is said about labels --------------------------------------------------------------------


def test_korean_labels_of_an_english_only_model_are_warned_of():
    model = tiny(None, clip_bpe())
    with pytest.warns(UserWarning, match="does not read Korean") as caught:
        classifier(model, ["강아지", "고양이"], templates="simple")
    assert "siglip2" in str(caught[0].message)
    said: list[str] = []
    classifier(model, ["dog=강아지|puppy", "cat=고양이"], templates="simple", warn=said.append)
    assert len(said) == 1 and "강아지" in said[0]
    said.clear()
    classifier(model, ["dog", "café", "日本"], templates="simple", warn=said.append)
    assert said == []


def test_a_label_of_200_words_is_cut_with_a_note():
    model = tiny(None, clip_bpe())
    said: list[str] = []
    clf = classifier(model, ["cat", "word " * 200], templates="simple", warn=said.append)
    assert len(said) == 1 and "cut" in said[0] and len(said[0]) < 200
    assert clf.vectors.isfinite().all()


def test_a_thousand_labels_in_two_languages_answer(clip: TwoTowers):
    labels = [f"thing {n}" for n in range(498)] + [f"물건 {n}" for n in range(498)] + NAMES
    clf = classifier(clip, labels, templates="simple", warn=lambda line: None)
    found = clf.classify(drawn("red circle"))[0]
    assert found.label == "red circle" and len(found.scores) == 1000


# --- what was fitted elsewhere --------------------------------------------------------------------


def test_a_calibration_changes_the_scores_and_what_they_are_called(clip: TwoTowers, tmp_path: Path):
    plain = classifier(clip)
    fitted = Calibration(
        plain.model,
        plain.label_set,
        temperature=3.0,
        slope=0.5,
        offset=-1.0,
        thresholds=(0.1, 0.2, 0.3, 0.4),
        known_slope=1.0,
        known_offset=-50.0,
    )
    fitted.save(tmp_path / "c.json")
    picture = drawn("red circle")
    vectors = clip.encode_image(picture)
    warm = classifier(clip, calibration=tmp_path / "c.json")
    assert warm.score_kind == "among_labels_calibrated"
    torch.testing.assert_close(
        warm.probabilities(vectors), (plain.logits(vectors) / 3).softmax(dim=1)
    )
    each = classifier(clip, multi_label=True, calibration=fitted)
    assert each.score_kind == "each_label_calibrated" and each.thresholds == (0.1, 0.2, 0.3, 0.4)
    odds = classifier(clip, multi_label=True).for_each(vectors)
    torch.testing.assert_close(each.probabilities(vectors), (0.5 * odds - 1).sigmoid())
    # Fitted so strictly that nothing is known.
    none = classifier(clip, none_of_these=True, calibration=fitted)
    assert none.classify(picture)[0].label is None


def test_a_calibration_of_another_model_labels_or_templates_is_refused(clip: TwoTowers):
    plain = classifier(clip)
    good = Calibration(plain.model, plain.label_set)
    classifier(clip, calibration=good)
    good = replace(good, said=tuple((x.name, *x.names) for x in plain.all_labels))
    synonym = [*LABELS[:3], "yellow heart=노란 하트"]
    for labels, wishes, said in (
        (LABELS[:3], {}, "fitted for the labels red circle"),
        (LABELS, {"templates": "simple"}, "other templates"),
        (synonym, {}, "'yellow heart' called yellow heart"),
    ):
        with pytest.raises(BadInput, match=said) as caught:
            classifier(clip, labels, calibration=good, **wishes)
        assert "mmfm evaluate" in str(caught.value)
    with pytest.raises(BadInput, match="another model"):
        classifier(clip, calibration=Calibration("0" * 32, plain.label_set))
    with pytest.raises(BadInput, match="one threshold for each"):
        classifier(clip, calibration=Calibration(plain.model, plain.label_set, thresholds=(0.5,)))


def test_labels_in_another_order_are_the_same_labels(clip: TwoTowers):
    plain = classifier(clip)
    said = tuple((x.name, *x.names) for x in plain.all_labels)
    limits = (0.1, 0.2, 0.3, 0.4)
    fitted = Calibration(plain.model, plain.label_set, thresholds=limits, said=said)
    turned = classifier(clip, LABELS[::-1], calibration=fitted, multi_label=True)
    assert turned.thresholds == limits[::-1]
    weights = torch.randn(4, clip.dim)
    adapter = Adapter("linear", plain.labels, plain.model, weights=weights)
    there = classifier(clip, LABELS[::-1], adapter=adapter)
    vectors = clip.encode_image(drawn(*NAMES))
    here = classifier(clip, adapter=adapter)
    torch.testing.assert_close(there.logits(vectors), here.logits(vectors).flip(1))
    assert there.label_set == here.label_set != plain.label_set
    examples = Adapter(
        "tip", plain.labels, plain.model, examples=vectors, answers=torch.tensor([3, 2, 1, 0])
    )
    one, other = (
        classifier(clip, adapter=examples),
        classifier(clip, LABELS[::-1], adapter=examples),
    )
    torch.testing.assert_close(other.logits(vectors), one.logits(vectors).flip(1))
    assert one.label_set == other.label_set


@pytest.mark.parametrize("wrong", [5, None])
def test_what_is_no_picture_is_said(clip: TwoTowers, wrong: object):
    clf = classifier(clip)
    with pytest.raises(BadInput, match="a picture is a path"):
        clf.classify(wrong)  # type: ignore[call-overload]
    found = clf.classify([wrong, *drawn("red circle")])  # type: ignore[list-item]
    assert "a picture is a path" in (found[0].error or "") and found[1].label == "red circle"
    with pytest.raises(BadInput, match="a batch of 0"):
        list(clf.stream(drawn("red circle"), batch=0))
    with pytest.raises(BadInput, match="labels are a list"):
        classifier(clip, wrong)


def test_of_many_labels_that_are_cut_one_line_tells(clip: TwoTowers):
    said: list[str] = []
    classifier(clip, [f"{'word ' * 40}{n}" for n in range(50)], warn=said.append)
    assert len(said) == 1 and "47 more" in said[0] and len(said[0]) < 300


def test_where_no_label_applies_the_score_is_that_of_none(clip: TwoTowers):
    clf = classifier(clip, ["pink ring", "black cross"], multi_label=True)
    found = clf.classify(drawn("red circle"))[0]
    assert found.label is None and found.score == pytest.approx(1 - max(found.scores.values()))
    assert found.score > 0.5


def test_a_calibration_made_without_the_adapter_does_not_fit_with_it(clip: TwoTowers):
    plain = classifier(clip)
    said = tuple((x.name, *x.names) for x in plain.all_labels)
    made = Calibration(plain.model, plain.label_set, said=said)
    same = Adapter("zero-shot", plain.labels, plain.model)
    assert classifier(clip, adapter=same, calibration=made).calibration == made
    moved = Adapter("linear", plain.labels, plain.model, weights=plain.scale * plain.vectors)
    with pytest.raises(BadInput, match="adapter"):
        classifier(clip, adapter=moved, calibration=made)


def test_an_adapter_of_another_model_or_labels_is_refused(clip: TwoTowers):
    plain = classifier(clip)
    kept = Adapter("zero-shot", plain.labels, plain.model)
    picture = drawn("red circle")
    assert classifier(clip, adapter=kept).classify(picture) == plain.classify(picture)
    with pytest.raises(BadInput, match="another model"):
        classifier(clip, adapter=Adapter("zero-shot", plain.labels, "0" * 32))
    with pytest.raises(BadInput, match="made for the labels red circle"):
        classifier(clip, LABELS[:3], adapter=kept)


def test_an_example_turns_the_answer_for_pictures_like_it(clip: TwoTowers):
    names = ["dax=pink ring", "wug=black cross"]  # taken the wrong way round
    wrong = classifier(clip, names)
    rows = clip.encode_image(drawn("black cross", "pink ring", seed=8))
    adapter = Adapter(
        "tip", wrong.labels, wrong.model, examples=rows, answers=torch.tensor([0, 1]), alpha=40.0
    )
    right = classifier(clip, names, adapter=adapter)
    pictures = drawn("black cross", "pink ring", seed=9)
    assert [p.label for p in wrong.classify(pictures)] == ["wug", "dax"]
    assert [p.label for p in right.classify(pictures)] == ["dax", "wug"]


def test_importing_the_package_for_it_loads_no_torch_before_it_is_used():
    code = "import sys, mmfm; print('torch' in sys.modules, 'ZeroShotClassifier' in dir(mmfm))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"
