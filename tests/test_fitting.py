"""What is fitted finds what was put in, and leans on what is known where pictures are few."""

import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from mmfm.fitting import logistic, temperature, thresholds


def honest(count: int, labels: int = 5, spread: float = 2.0) -> tuple[Tensor, Tensor]:
    """Logits, and truths drawn just as often as their softmax says."""
    lots = torch.Generator().manual_seed(0)
    logits = spread * torch.randn(count, labels, generator=lots)
    return logits, torch.multinomial(logits.softmax(dim=1), 1, generator=lots)[:, 0]


@pytest.mark.parametrize("factor", [0.2, 1.0, 5.0])
def test_temperature_recovers_the_factor_that_logits_were_scaled_by(factor: float) -> None:
    logits, truth = honest(4000)
    assert temperature(factor * logits, truth) == pytest.approx(factor, rel=0.06)


def test_few_pictures_move_the_temperature_a_little_only() -> None:
    right = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    # Two right answers alone would ask for a temperature of 0.
    assert 0.3 < temperature(right, torch.tensor([0, 1])) < 1
    assert 1 < temperature(right, torch.tensor([1, 0])) < 30


def test_logistic_is_scikit_learns_where_pictures_are_many() -> None:
    lots = torch.Generator().manual_seed(1)
    odds = 3 * torch.randn(5000, generator=lots) + 7
    so = torch.rand(5000, generator=lots) < (0.7 * odds - 4).sigmoid()
    slope, offset = logistic(odds, so)
    theirs = LogisticRegression(C=1e9, tol=1e-8).fit(odds[:, None].numpy(), so.numpy())
    assert slope == pytest.approx(theirs.coef_[0, 0], rel=0.01)
    assert offset == pytest.approx(theirs.intercept_[0], rel=0.01)


def test_balanced_forgets_how_many_there_are_of_each() -> None:
    lots = torch.Generator().manual_seed(2)
    yes, no = torch.randn(900, generator=lots) + 1, torch.randn(90, generator=lots) - 1
    odds, so = torch.cat([yes, no]), torch.tensor([True] * 900 + [False] * 90)
    slope, offset = logistic(odds, so, balanced=True)
    assert -offset / slope == pytest.approx(0, abs=0.15)  # half way
    slope, offset = logistic(odds, so)
    assert -offset / slope < -0.8


def test_what_parts_cleanly_gives_finite_numbers() -> None:
    slope, offset = logistic(torch.tensor([-2.0, -1.0, 1.0, 2.0]), torch.tensor([0, 0, 1, 1]) > 0)
    assert 0 < slope < 20 and math.isfinite(offset)
    # Never surer than the two pictures of each kind allow.
    assert torch.tensor(2 * slope + offset).sigmoid() < 0.9


def test_numbers_that_point_the_wrong_way_tell_nothing() -> None:
    slope, offset = logistic(torch.tensor([2.0, 1.0, -1.0, -2.0]), torch.tensor([0, 0, 1, 1]) > 0)
    assert (slope, offset) == (0, pytest.approx(0))
    slope, offset = logistic(torch.ones(30), torch.arange(30) < 10)
    assert torch.tensor(slope + offset).sigmoid() == pytest.approx(1 / 3, abs=0.03)


def test_a_threshold_parts_a_label_from_the_others_in_the_middle() -> None:
    truth = torch.tensor([0] * 50 + [1] * 50)
    odds = torch.full((100, 2), -6.0)
    odds[:50, 0], odds[50:, 1] = 2.0, -2.0  # the second label is never sure, and yet always told
    first, second = (torch.tensor(t).logit() for t in thresholds(odds, truth))
    # Anything above -6 would do for the first; what is lent to it by the second says how far.
    assert first == pytest.approx(-4, abs=0.1)
    assert second == pytest.approx(-4, abs=0.1)


def test_a_label_of_one_picture_borrows_the_threshold_of_all() -> None:
    lots = torch.Generator().manual_seed(3)
    truth = torch.tensor([0] * 200 + [1] * 200 + [2])
    odds = torch.randn(401, 3, generator=lots) - 3
    odds[torch.arange(401), truth] += 6
    odds[400, 2] = 9.0  # alone, it would ask for a threshold of nearly 1
    odds[:400, 2] = torch.randn(400, generator=lots) - 3
    few, many = thresholds(odds, truth)[2], thresholds(odds, truth)[0]
    assert abs(torch.tensor(few).logit() - torch.tensor(many).logit()) < 1.5


def test_thresholds_are_where_f1_is_highest() -> None:
    lots = torch.Generator().manual_seed(4)
    truth = torch.randint(2, (2000,), generator=lots)
    odds = torch.randn(2000, 2, generator=lots)
    odds[torch.arange(2000), truth] += 1.5

    def f1(cut: float) -> float:
        said, so = odds[:, 0] >= cut, truth == 0
        return float(2 * (said & so).sum() / (said.sum() + so.sum()))

    found = torch.tensor(thresholds(odds, truth)[0]).logit()
    assert f1(float(found)) >= max(f1(cut / 20) for cut in range(-60, 60)) - 0.01
