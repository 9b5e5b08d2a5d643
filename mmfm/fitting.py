"""What labelled pictures can teach about scores: a few numbers, fitted so that few pictures do no
harm.

    temperature   what all logits are divided by (Guo et al. 2017)
    logistic      a slope and an offset that turn log-odds into honest ones (Platt 1999)
    thresholds    from which log-odds on each label is said to apply

Every fit leans on something that holds without pictures: a temperature of 1, targets that are never
quite 0 or 1, the other labels' threshold. Pictures outweigh it as they become many.

Shapes: n pictures, k labels, t cuts that are tried.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

_FAR = 1.0  # how far a temperature's logarithm is likely to lie from 0, before any picture is seen
_LENT = 10  # pictures' worth of all labels that stand beside each label's own
_SURE = 12.0  # log-odds beyond which a probability cannot be told from 0 or 1
_CUTS = 481  # one every 0.05


def temperature(logits: Float[Tensor, "n k"], truth: Int64[Tensor, " n"]) -> float:
    """By what to divide logits, so that their softmax is as sure as it is right."""
    low, high = math.log(0.01), math.log(100)

    def cost(log_t: float) -> float:
        loss = F.cross_entropy(logits / math.exp(log_t), truth, reduction="sum")
        return float(loss) + (log_t / _FAR) ** 2 / 2

    # The cost has one valley: close in on it by the golden ratio, one new look a step.
    ratio = (math.sqrt(5) - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    at_a, at_b = cost(a), cost(b)
    while high - low > 1e-4:
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - ratio * (high - low)
            at_a = cost(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + ratio * (high - low)
            at_b = cost(b)
    return math.exp((low + high) / 2)


def logistic(
    odds: Float[Tensor, " n"], so: Bool[Tensor, " n"], *, balanced: bool = False
) -> tuple[float, float]:
    """The slope and offset with which sigmoid(slope * odds + offset) says how likely `so` is.

    `balanced`: as if both kinds were as frequent, where their counts are of no meaning. A slope is
    never below 0: numbers that point the wrong way tell nothing.
    """
    x, so = odds.double(), so.bool()
    yes, no = int(so.sum()), int((~so).sum())
    target = torch.where(so, (yes + 1) / (yes + 2), 1 / (no + 2)).double()
    weight = torch.ones_like(x)
    if balanced and yes and no:
        weight = torch.where(so, len(x) / (2 * yes), len(x) / (2 * no)).double()
    mean, spread = x.mean(), x.std(unbiased=False).clamp_min(1e-9)
    z = (x - mean) / spread
    slope, offset = _newton(z, target, weight)
    if slope <= 0:
        share = float((weight * target).sum() / weight.sum())
        return 0.0, math.log(share / (1 - share))
    return slope / float(spread), offset - slope * float(mean / spread)


def _newton(
    z: Float[Tensor, " n"], target: Float[Tensor, " n"], weight: Float[Tensor, " n"]
) -> tuple[float, float]:
    """Minimise the weighted log loss over a slope and an offset; it has one valley."""
    # What is so of all without looking at the numbers: a start from where few steps are left.
    at = torch.stack([z.new_zeros(()), ((weight * target).sum() / weight.sum()).logit()])

    def cost(at: Tensor) -> float:
        said = at[0] * z + at[1]
        return float((weight * (F.softplus(said) - target * said)).sum())

    now = cost(at)
    for _ in range(100):
        p = (at[0] * z + at[1]).sigmoid()
        gap, bend = weight * (p - target), weight * p * (1 - p)
        slope = torch.stack([(gap * z).sum(), gap.sum()])
        cross = (bend * z).sum()
        curve = torch.stack(
            [torch.stack([(bend * z * z).sum(), cross]), torch.stack([cross, bend.sum()])]
        )
        step = torch.linalg.solve(curve + 1e-9 * torch.eye(2, dtype=torch.float64), slope)
        size = 1.0
        while size > 1e-6 and cost(at - size * step) > now:
            size /= 2
        at = at - size * step
        before, now = now, cost(at)
        if before - now < 1e-9 * (1 + abs(now)):
            break
    return float(at[0]), float(at[1])


def thresholds(odds: Float[Tensor, "n k"], truth: Int64[Tensor, " n"]) -> list[float]:
    """The probability from which on each label is said to apply, where its F1 is highest.

    A few pictures' worth of all labels together is lent to each label, so that one of two pictures
    gets nearly the threshold that suits all, and one of a hundred its own.
    """
    odds, labels = odds.double().clamp(-_SURE, _SURE), odds.shape[1]
    cuts = torch.linspace(-_SURE, _SURE, _CUTS, dtype=torch.float64)
    hits = torch.empty(labels, _CUTS, dtype=torch.float64)
    false = torch.empty(labels, _CUTS, dtype=torch.float64)
    for label in range(labels):
        so = truth == label
        hits[label] = _from_on(odds[so, label], cuts)
        false[label] = _from_on(odds[~so, label], cuts)
    count = torch.bincount(truth, minlength=labels).double()[:, None]  # k 1
    lent = _LENT / max(1, len(truth))
    hits = hits + lent * hits.sum(dim=0)  # k t
    false = false + lent * false.sum(dim=0)
    f1 = 2 * hits / (hits + false + count + _LENT)
    return [float(_middle_of_the_best(row, cuts).sigmoid()) for row in f1]


def _from_on(values: Float[Tensor, " n"], cuts: Float[Tensor, " t"]) -> Float[Tensor, " t"]:
    """How many values reach each cut."""
    return (len(values) - torch.searchsorted(values.sort().values, cuts)).double()


def _middle_of_the_best(f1: Float[Tensor, " t"], cuts: Float[Tensor, " t"]) -> Float[Tensor, ""]:
    """Where many cuts are as good, the one farthest from being worse."""
    first = int(f1.argmax())
    as_good = (f1[first:] >= f1[first] - 1e-9).int()
    last = first + int(as_good.cumprod(dim=0).sum()) - 1
    return (cuts[first] + cuts[last]) / 2
