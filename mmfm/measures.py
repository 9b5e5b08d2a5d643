"""How good answers are, in numbers, and how sure one can be of those numbers.

    wilson              a share of so many, with its 95 % interval
    confusion           what was taken for what; by_class reads precision, recall and F1 off it
    reliability         is 80 % sure right in 80 %? calibration_error sums it up (ECE)
    log_loss, brier     how far probabilities lie from what is so
    risk_coverage       how often answers are wrong if only the surest are given
    roc                 how well a number parts one heap from another

Pure functions of arrays, NumPy's or torch's on the CPU. Every share comes with its interval, for a
hundred pictures say less than ten thousand do.

Shapes: n pictures, k classes, b bins.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from mmfm.errors import BadInput

Values = Any  # a list of numbers, an array of NumPy's, or a tensor on the CPU

BINS = 15  # of equal width, as calibration errors are usually reported (Guo et al. 2017)


@dataclass(frozen=True)
class Share:
    """A share of a count, and the interval that holds the true one in 95 of 100 such samples."""

    value: float
    low: float
    high: float
    count: int  # of how many it is a share


def wilson(hits: float, count: float, confidence: float = 0.95) -> Share | None:
    """The share of hits, with Wilson's interval (1927); None where nothing was counted.

    Near 0 and 1, and for few pictures, it stays honest where "plus or minus" would not: of ten
    right out of ten it says 72 % to 100 %.
    """
    if not 0 <= hits <= count or not math.isfinite(count):
        raise BadInput(f"{hits} hits of {count}; they are from none to all")
    if not 0 < confidence < 1:
        raise BadInput(f"a confidence of {confidence}; it lies between 0 and 1")
    if count == 0:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = hits / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    reach = z / (1 + z**2 / count)
    reach *= math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    # Rounding must not push the share itself out of its interval.
    low, high = min(share, max(0.0, middle - reach)), max(share, min(1.0, middle + reach))
    return Share(share, low, high, round(count))


# --- which class is taken for which -------------------------------------------------------------


@dataclass(frozen=True)
class ClassMeasures:
    """How one class fares; None is what its pictures or answers are too few to tell."""

    count: int  # pictures of it
    answered: int  # pictures taken for it
    recall: Share | None  # of its pictures, those that are found
    precision: Share | None  # of the answers, those that are right
    f1: Share | None  # both in one number


def confusion(truth: Values, answers: Values, classes: int) -> Int64[ndarray, "k k"]:
    """Count what was taken for what: a row for what it is, a column for what was answered."""
    truth, answers = _numbers(truth, "n", np.int64), _numbers(answers, "n", np.int64)
    _same_length(truth, answers)
    for numbers in (truth, answers):
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < classes:
            raise BadInput(f"numbers of classes are 0 to {classes - 1}")
    return np.bincount(truth * classes + answers, minlength=classes**2).reshape(classes, classes)


def by_class(table: Int64[ndarray, "k k"]) -> list[ClassMeasures]:
    """Read each class's recall, precision and F1 off a table of confusions."""
    measures: list[ClassMeasures] = []
    for hits, count, answered in zip(
        table.diagonal().tolist(),
        table.sum(axis=1).tolist(),
        table.sum(axis=0).tolist(),
        strict=True,
    ):
        measures.append(
            ClassMeasures(
                count,
                answered,
                recall=wilson(hits, count),
                precision=wilson(hits, answered),
                f1=_f1(hits, count + answered - hits) if count else None,
            )
        )
    return measures


def _f1(hits: int, either: int) -> Share | None:
    """F1 rises with the hits' share of all that is of a class or taken for it; so its interval."""
    share = wilson(hits, either)
    if share is None:
        return None
    value, low, high = (2 * x / (1 + x) for x in (share.value, share.low, share.high))
    return Share(value, low, high, share.count)


# --- do scores say how often they are right? ----------------------------------------------------


@dataclass(frozen=True)
class Bin:
    """The answers that were about as sure as one another."""

    low: float
    high: float
    count: int
    confidence: float  # how sure they were on average
    right: Share  # and how many were right


def reliability(confidence: Values, right: Values, bins: int = BINS) -> list[Bin]:
    """Hold sureness against being right, in bins of equal width; those without answers are left
    out. What lies on an edge belongs below it."""
    confidence, right = _sureness(confidence, right)
    edges = _edges(bins)
    place = np.searchsorted(edges[1:-1], confidence)
    made: list[Bin] = []
    for number in np.unique(place).tolist():
        inside = place == number
        count = int(inside.sum())
        share = wilson(int(right[inside].sum()), count)
        assert share is not None
        low, high = float(edges[number]), float(edges[number + 1])
        made.append(Bin(low, high, count, float(confidence[inside].mean()), share))
    return made


def calibration_error(bins: Sequence[Bin]) -> float:
    """The gap between sureness and being right, averaged over all answers (ECE)."""
    count = sum(b.count for b in bins)
    if count == 0:
        raise BadInput("a calibration error needs at least one answer")
    return sum(b.count * abs(b.confidence - b.right.value) for b in bins) / count


def error_by_chance(
    confidence: Values, *, bins: int = BINS, draws: int = 200, seed: int = 0
) -> float:
    """The calibration error that perfectly honest scores would show on so few answers.

    It is never 0: lots are drawn that are right exactly as often as the scores say.
    """
    confidence, _ = _sureness(confidence, np.zeros(len(np.asarray(confidence)), dtype=bool))
    if len(confidence) == 0:
        raise BadInput("a calibration error needs at least one answer")
    place = np.searchsorted(_edges(bins)[1:-1], confidence)
    lots = np.random.default_rng(seed)
    total = 0.0
    for _ in range(draws):
        right = lots.random(len(confidence)) < confidence
        gaps = np.bincount(place, weights=confidence - right, minlength=bins)
        total += float(np.abs(gaps).sum()) / len(confidence)
    return total / draws


def log_loss(logits: Values, truth: Values) -> float:
    """The mean of -log(probability of what is so), from logits: no probability rounds to 0."""
    logits, truth = _rows(logits, truth)
    top = logits.max(axis=1)
    whole = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float((whole - logits[np.arange(len(truth)), truth]).mean())


def brier(probabilities: Values, truth: Values) -> float:
    """The mean squared distance of the probabilities from what is so, from 0 to 2."""
    probabilities, truth = _rows(probabilities, truth)
    wanted = np.zeros_like(probabilities)
    wanted[np.arange(len(truth)), truth] = 1
    return float(((probabilities - wanted) ** 2).sum(axis=1).mean())


# --- answering only where one is sure -----------------------------------------------------------


@dataclass(frozen=True)
class RiskCoverage:
    """How often answers are wrong among the surest 1, 2, ... of all pictures."""

    risk: Float64[ndarray, " n"]

    @property
    def coverage(self) -> Float64[ndarray, " n"]:
        """Which share of the pictures is answered."""
        return np.arange(1, len(self.risk) + 1) / len(self.risk)

    @property
    def area(self) -> float:
        """The risk averaged over all coverages (AURC; Geifman & El-Yaniv 2017)."""
        return float(self.risk.mean())

    def at(self, coverage: float) -> float:
        """The risk if at least this share of the pictures is answered, the surest first."""
        if not 0 < coverage <= 1:
            raise BadInput(f"a coverage of {coverage}; it lies above 0, up to 1")
        # Rounded, lest 0.9 of 10 pictures become 10 of them.
        return float(self.risk[math.ceil(round(coverage * len(self.risk), 9)) - 1])


def risk_coverage(confidence: Values, right: Values) -> RiskCoverage:
    """Answer the surest pictures first; among equally sure ones any order is as likely."""
    confidence = _numbers(confidence, "n", np.float64)
    right = _numbers(right, "n", np.bool_)
    _same_length(confidence, right)
    if len(confidence) == 0:
        raise BadInput("a risk needs at least one answer")
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~right[order])
    count = np.arange(1, len(order) + 1)
    ends = np.append(np.flatnonzero(np.diff(confidence[order])), len(order) - 1)
    wrong = np.interp(count, np.append(0, count[ends]), np.append(0, wrong[ends]))
    return RiskCoverage(wrong / count)


# --- telling one heap from another --------------------------------------------------------------


@dataclass(frozen=True)
class ROC:
    """What a number keeps of what it should keep, and lets in of what it should not."""

    kept: Float64[ndarray, " t"]  # true positive rate, from 0 to 1 as the cut goes down
    let_in: Float64[ndarray, " t"]  # false positive rate
    area: Share  # how often a random one to keep has the higher number (AUROC)

    def let_in_at(self, kept: float = 0.95) -> float:
        """What must be let in to keep this share."""
        return float(self.let_in[np.argmax(self.kept >= kept - 1e-12)])


def roc(own: Values, others: Values) -> ROC:
    """Part a heap of numbers that should be high from another that should be low."""
    own, others = _numbers(own, "n", np.float64), _numbers(others, "m", np.float64)
    if len(own) == 0 or len(others) == 0:
        raise BadInput("a ROC curve needs numbers of both kinds")
    cuts = np.unique(np.concatenate([own, others]))[::-1]
    kept, let_in = (
        np.append(0, len(x) - np.searchsorted(np.sort(x), cuts)) / len(x) for x in (own, others)
    )
    return ROC(kept, let_in, _area(own, others))


def _area(own: Float64[ndarray, " n"], others: Float64[ndarray, " m"]) -> Share:
    """The area below the curve, with DeLong's variance (1988) in Wilson's interval.

    A plain interval would leave 0 to 1, and have no width where both heaps part cleanly.
    """
    # How often each beats the numbers of the other heap; a draw counts half.
    own_wins = _beaten(own, others)
    other_losses = 1 - _beaten(others, own)
    area = float(own_wins.mean())
    fewer = min(len(own), len(others))
    worth = float(fewer)
    if fewer > 1:
        variance = own_wins.var(ddof=1) / len(own) + other_losses.var(ddof=1) / len(others)
        if variance > 0:
            worth = area * (1 - area) / float(variance)
    share = wilson(area * worth, worth)
    assert share is not None
    return Share(area, share.low, share.high, len(own) + len(others))


def _beaten(these: Float64[ndarray, " n"], those: Float64[ndarray, " m"]) -> Float64[ndarray, " n"]:
    those = np.sort(those)
    below = np.searchsorted(those, these, side="left")
    not_above = np.searchsorted(those, these, side="right")
    return (below + not_above) / (2 * len(those))


# --- what may come in ---------------------------------------------------------------------------


def _edges(bins: int) -> Float64[ndarray, " b+1"]:
    if bins < 1:
        raise BadInput(f"{bins} bins; at least one is needed")
    return np.linspace(0, 1, bins + 1)


def _numbers(values: Values, shape: str, kind: type) -> Any:
    """A row of finite numbers, and nothing else."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise BadInput(f"numbers come as ({shape}), not as {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise BadInput("some of the numbers are not finite (NaN, say); nothing can be measured")
    return array.astype(kind)


def _same_length(one: Any, other: Any) -> None:
    if len(one) != len(other):
        raise BadInput(f"{len(one)} and {len(other)} numbers, where each belongs to one other")


def _sureness(confidence: Values, right: Values) -> tuple[Any, Any]:
    confidence = _numbers(confidence, "n", np.float64)
    right = _numbers(right, "n", np.bool_)
    _same_length(confidence, right)
    if len(confidence) and not (confidence.min() >= -1e-6 and confidence.max() <= 1 + 1e-6):
        raise BadInput("how sure an answer is lies from 0 to 1")
    return confidence.clip(0, 1), right


def _rows(rows: Values, truth: Values) -> tuple[Any, Any]:
    table = np.asarray(rows, dtype=np.float64)
    truth = _numbers(truth, "n", np.int64)
    if table.ndim != 2 or not len(table):
        raise BadInput(f"scores come as (n k) with at least one row, not as {table.shape}")
    _same_length(table, truth)
    if not np.isfinite(table).all():
        raise BadInput("some of the scores are not finite (NaN, say); nothing can be measured")
    if not 0 <= truth.min() <= truth.max() < table.shape[1]:
        raise BadInput(f"numbers of classes are 0 to {table.shape[1] - 1}")
    return table, truth
