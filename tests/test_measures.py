"""Numbers about answers: the same as scikit-learn's where it has them, and right by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn import metrics
from sklearn.calibration import calibration_curve

from mmfm.errors import BadInput
from mmfm.measures import (
    brier,
    by_class,
    calibration_error,
    confusion,
    error_by_chance,
    log_loss,
    reliability,
    risk_coverage,
    roc,
    wilson,
)

LOTS = np.random.default_rng(0)


# --- shares -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [  # Newcombe 1998, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_wilson_agrees_with_the_published_intervals(
    hits: int, count: int, low: float, high: float
) -> None:
    share = wilson(hits, count)
    assert share is not None
    assert (share.value, share.count) == (hits / count, count)
    assert (share.low, share.high) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


def test_a_share_of_nothing_is_not_known() -> None:
    assert wilson(0, 0) is None


def test_the_interval_holds_the_true_share_in_95_of_100_samples() -> None:
    shares = [wilson(int(hits), 40) for hits in np.random.default_rng(1).binomial(40, 0.9, 2000)]
    held = [share.low <= 0.9 <= share.high for share in shares if share]
    assert 0.93 < np.mean(held) < 0.985


# --- classes ------------------------------------------------------------------------------------


def test_confusion_precision_recall_and_f1_are_scikit_learns() -> None:
    truth, answers = LOTS.integers(5, size=300), LOTS.integers(5, size=300)
    answers[:150] = truth[:150]
    table = confusion(truth, torch.from_numpy(answers), 5)
    assert np.array_equal(table, metrics.confusion_matrix(truth, answers))
    precision, recall, f1, count = metrics.precision_recall_fscore_support(truth, answers)
    for number, one in enumerate(by_class(table)):
        assert one.count == count[number]
        for mine, theirs in ((one.precision, precision), (one.recall, recall), (one.f1, f1)):
            assert mine is not None
            assert mine.value == pytest.approx(theirs[number])
            assert mine.low < mine.value < mine.high


def test_what_never_occurs_is_not_known_rather_than_zero() -> None:
    found, never_answered, never_there = by_class(confusion([0, 0, 1], [0, 0, 0], 3))
    assert found.precision and found.precision.value == pytest.approx(2 / 3)
    assert never_answered.precision is None
    assert never_answered.recall and never_answered.recall.value == 0
    assert never_answered.f1 and never_answered.f1.value == 0
    assert never_there.recall is never_there.precision is never_there.f1 is None


# --- calibration --------------------------------------------------------------------------------


def test_reliability_is_scikit_learns() -> None:
    confidence = LOTS.random(500)
    right = LOTS.random(500) < confidence**2
    bins = reliability(confidence, right, 15)
    share, mean = calibration_curve(right, confidence, n_bins=15)
    assert [b.right.value for b in bins] == pytest.approx(share.tolist())
    assert [b.confidence for b in bins] == pytest.approx(mean.tolist())
    assert sum(b.count for b in bins) == 500


def test_the_calibration_error_by_hand() -> None:
    # Two answers of 90 %, one of them right; two of 60 %, both right.
    bins = reliability([0.9, 0.9, 0.6, 0.6], [True, False, True, True], 10)
    assert [(b.low, b.high, b.count) for b in bins] == [
        (pytest.approx(0.5), pytest.approx(0.6), 2),
        (pytest.approx(0.8), pytest.approx(0.9), 2),
    ]
    assert calibration_error(bins) == pytest.approx((0.4 + 0.4) / 2)


def test_scores_of_0_and_1_have_a_bin() -> None:
    bins = reliability(torch.tensor([0.0, 1.0]), torch.tensor([False, True]))
    assert [(b.low, b.high) for b in bins] == [(0, 1 / 15), (14 / 15, 1)]
    assert calibration_error(bins) == 0


def test_honest_scores_show_about_the_error_that_chance_makes() -> None:
    lots = np.random.default_rng(3)
    confidence = 0.5 + lots.random(200) / 2
    by_chance = error_by_chance(confidence)
    seen = [
        calibration_error(reliability(confidence, lots.random(200) < confidence)) for _ in range(50)
    ]
    assert by_chance == pytest.approx(np.mean(seen), rel=0.1)
    assert by_chance > 3 * error_by_chance(np.repeat(confidence, 16), draws=20)


def test_log_loss_and_brier_are_scikit_learns() -> None:
    logits, truth = torch.from_numpy(3 * LOTS.standard_normal((100, 4))), LOTS.integers(4, size=100)
    probabilities = logits.softmax(dim=1).numpy()
    assert log_loss(logits, truth) == pytest.approx(metrics.log_loss(truth, probabilities))
    assert brier(probabilities, truth) == pytest.approx(
        metrics.brier_score_loss(truth, probabilities, labels=range(4), scale_by_half=False)
    )


def test_log_loss_of_the_surest_wrong_answer_is_a_number() -> None:
    assert log_loss([[0.0, 2000.0]], [0]) == pytest.approx(2000)


# --- risk and coverage ----------------------------------------------------------------------------


def test_risk_and_coverage_by_hand() -> None:
    curve = risk_coverage([0.9, 0.6, 0.8, 0.7], [True, False, False, True])
    assert curve.risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 2 / 4])
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert curve.area == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert [curve.at(c) for c in (0.25, 0.3, 1)] == pytest.approx([0, 0.5, 0.5])


def test_equally_sure_answers_carry_the_same_risk_in_any_order() -> None:
    sure, right = [0.5] * 4, [True, True, True, False]
    assert risk_coverage(sure, right).risk.tolist() == pytest.approx([0.25] * 4)
    assert risk_coverage(sure, right[::-1]).risk.tolist() == pytest.approx([0.25] * 4)


def test_a_share_of_the_pictures_is_counted_without_rounding_errors() -> None:
    assert 0.07 * 100 > 7  # in floating point
    curve = risk_coverage(np.arange(100.0), np.arange(100) != 92)  # the eighth surest is wrong
    assert curve.at(0.07) == 0
    assert curve.at(0.0701) == curve.at(0.08) == pytest.approx(1 / 8)


# --- rejection ------------------------------------------------------------------------------------


def test_the_roc_is_scikit_learns() -> None:
    own = np.round(LOTS.normal(1, 1, 150), 1)  # rounded, so that there are draws
    others = np.round(LOTS.normal(0, 1, 90), 1)
    truth = [1] * 150 + [0] * 90
    curve = roc(own, others)
    let_in, kept, _ = metrics.roc_curve(truth, [*own, *others], drop_intermediate=False)
    assert curve.kept == pytest.approx(kept)
    assert curve.let_in == pytest.approx(let_in)
    assert curve.area.value == pytest.approx(metrics.roc_auc_score(truth, [*own, *others]))
    assert curve.let_in_at(0.95) == pytest.approx(let_in[np.argmax(kept >= 0.95)])


def test_the_interval_of_the_area_is_about_as_wide_as_a_bootstraps() -> None:
    lots = np.random.default_rng(5)
    own, others = lots.normal(1.2, 1, 120), lots.normal(0, 1, 80)
    area = roc(own, others).area
    again = [roc(lots.choice(own, 120), lots.choice(others, 80)).area.value for _ in range(500)]
    low, high = np.quantile(again, [0.025, 0.975])
    assert area.low == pytest.approx(low, abs=0.02)
    assert area.high == pytest.approx(high, abs=0.02)


def test_heaps_that_part_cleanly_still_leave_a_doubt() -> None:
    curve = roc([3.0, 4.0, 5.0], [0.0, 1.0])
    assert curve.area.value == curve.area.high == 1
    assert 0.2 < curve.area.low < 0.8
    assert curve.let_in_at(0.95) == 0
    assert roc([1.0], [1.0]).area.value == 0.5


# --- what cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (lambda: wilson(3, 2), "3 hits of 2; they are from none to all"),
        (lambda: wilson(math.nan, 2), "nan hits of 2"),
        (lambda: wilson(1, 2, confidence=95), "a confidence of 95"),
        (lambda: confusion([0, 3], [0, 0], 3), "numbers of classes are 0 to 2"),
        (lambda: confusion([0], [0, 0], 3), "1 and 2 numbers"),
        (lambda: reliability([math.nan], [True]), "not finite"),
        (lambda: reliability([1.5], [True]), "from 0 to 1"),
        (lambda: reliability([0.5], [True], 0), "0 bins"),
        (lambda: calibration_error([]), "at least one answer"),
        (lambda: error_by_chance([]), "at least one answer"),
        (lambda: log_loss([[0.0, math.inf]], [0]), "not finite"),
        (lambda: log_loss([[0.0, 1.0]], [2]), "numbers of classes are 0 to 1"),
        (lambda: brier([0.5, 0.5], [0]), "as \\(n k\\)"),
        (lambda: risk_coverage([], []), "at least one answer"),
        (lambda: risk_coverage([0.5], [True]).at(0), "a coverage of 0"),
        (lambda: roc([1.0], []), "numbers of both kinds"),
        (lambda: roc([math.nan], [1.0]), "not finite"),
    ],
)
def test_what_cannot_be_is_one_clear_line(wrong: Callable[[], object], line: str) -> None:
    with pytest.raises(BadInput, match=line):
        wrong()
