"""How alike two heaps are: equal to the plain formulas, right where the answer is known, in pieces
as in one."""

import math
import subprocess
import sys
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from mmfm import likeness
from mmfm.errors import BadInput
from mmfm.likeness import (
    Gaussian,
    frechet,
    gaussian,
    kernel_distance,
    nearest,
    precision_recall,
)


def heap(n: int, d: int = 6, seed: int = 0, scale: float = 1.0, at: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.eye(d) + 0.3 * torch.randn(d, d, generator=torch.Generator().manual_seed(99))
    return (torch.randn(n, d, generator=generator) @ mixed * scale + at).float()


# --- Fréchet ------------------------------------------------------------------------------------


def plain_frechet(x: Tensor, y: Tensor) -> float:
    """As it is usually written, with SciPy's root of a matrix."""
    x, y = x.double().numpy(), y.double().numpy()
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.asarray(sqrtm(a @ b)).real
    apart = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    return float(apart + np.trace(a) + np.trace(b) - 2 * np.trace(root))


@pytest.mark.parametrize("seed", range(5))
def test_frechet_is_scipys_formula(seed: int) -> None:
    x, y = heap(200, 12, seed, 1.7), heap(150, 12, seed + 50, at=0.4)
    assert frechet(gaussian(x), gaussian(y)) == pytest.approx(plain_frechet(x, y), rel=1e-9)


def test_frechet_of_known_bell_curves() -> None:
    """Of curves without correlations: the squared differences of means and of deviations."""
    mean_a, mean_b = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([1.0, -1.0, 0.5])
    a, b = torch.tensor([1.0, 4.0, 0.0]), torch.tensor([9.0, 0.25, 1.0])
    known = (mean_a - mean_b).square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    one = Gaussian(mean_a.double(), a.diag().double())
    other = Gaussian(mean_b.double(), b.diag().double())
    assert frechet(one, other) == pytest.approx(float(known), rel=1e-12)
    assert frechet(other, one) == pytest.approx(float(known), rel=1e-12)


def test_frechet_of_a_heap_to_itself_is_0() -> None:
    curve = gaussian(heap(300))
    assert frechet(curve, curve) == pytest.approx(0, abs=1e-9)


def test_frechet_turns_with_the_space_and_grows_with_its_square() -> None:
    x, y = heap(100, 5).double(), heap(100, 5, 1, 2.0, 0.3).double()
    turn = torch.linalg.qr(heap(5, 5, 2).double()).Q
    before = frechet(gaussian(x), gaussian(y))
    assert frechet(gaussian(x @ turn + 7), gaussian(y @ turn + 7)) == pytest.approx(before)
    assert frechet(gaussian(3 * x), gaussian(3 * y)) == pytest.approx(9 * before)


def test_frechet_of_fewer_pictures_than_numbers_is_finite_and_right() -> None:
    """Both covariances have only a few directions, here the same: the rest adds nothing."""
    x, y = heap(8, 3).double(), heap(9, 3, 1, 1.5).double()
    wide = torch.linalg.qr(heap(20, 20, 2).double()).Q[:3]
    inside = frechet(gaussian(x @ wide), gaussian(y @ wide))
    assert inside == pytest.approx(frechet(gaussian(x), gaussian(y)), rel=1e-6)


def test_a_bell_curve_is_numpys() -> None:
    x = heap(40)
    curve = gaussian(x)
    assert np.allclose(curve.mean, x.double().mean(dim=0))
    assert np.allclose(curve.covariance, np.cov(x.double().numpy(), rowvar=False))


# --- kernels ------------------------------------------------------------------------------------


def plain_kid(x: Tensor, y: Tensor) -> float:
    """Pair by pair."""

    def kernel(a: Tensor, b: Tensor) -> float:
        return float((a.double() @ b.double() / len(a) + 1) ** 3)

    n, m = len(x), len(y)
    within_x = sum(kernel(x[i], x[j]) for i, j in product(range(n), range(n)) if i != j)
    within_y = sum(kernel(y[i], y[j]) for i, j in product(range(m), range(m)) if i != j)
    across = sum(kernel(a, b) for a in x for b in y)
    return within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * across / (n * m)


def without(x: Tensor, number: int) -> Tensor:
    return torch.cat([x[:number], x[number + 1 :]])


def test_kid_is_the_sum_over_pairs_and_its_error_what_leaving_out_each_one_says() -> None:
    x, y = heap(13), heap(9, seed=1, at=0.5)
    found = kernel_distance(x, y)
    assert found.value == pytest.approx(plain_kid(x, y), rel=1e-10)
    variance = 0.0
    for values in (
        [plain_kid(without(x, i), y) for i in range(len(x))],
        [plain_kid(x, without(y, j)) for j in range(len(y))],
    ):
        n, mean = len(values), sum(values) / len(values)
        variance += (n - 1) / n * sum((value - mean) ** 2 for value in values)
    assert found.error == pytest.approx(math.sqrt(variance), rel=1e-8)


def test_kid_is_without_bias_and_its_error_is_how_far_it_strays() -> None:
    """Of heaps of one kind it is 0 on the average, below it half the time."""
    found = [kernel_distance(heap(60, 4, 2 * s), heap(80, 4, 2 * s + 1)) for s in range(300)]
    values = np.array([one.value for one in found])
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(len(values))
    assert 0.3 < (values < 0).mean() < 0.8
    # Of heaps that differ, the error told is the spread.
    found = [
        kernel_distance(heap(60, 4, 2 * s), heap(80, 4, 2 * s + 1, at=0.7)) for s in range(300)
    ]
    spread = np.std([one.value for one in found])
    told = math.sqrt(np.mean([one.error**2 for one in found]))
    assert told == pytest.approx(spread, rel=0.2)


# --- precision and recall -----------------------------------------------------------------------


def plain_precision_recall(real: Tensor, made: Tensor, k: int) -> tuple[float, float]:
    def covered(x: np.ndarray, centres: np.ndarray) -> float:
        inside = 0
        for point in x:
            for number, centre in enumerate(centres):
                others = np.delete(centres, number, axis=0)
                radius = sorted(np.linalg.norm(others - centre, axis=1))[k - 1]
                if np.linalg.norm(point - centre) <= radius:
                    inside += 1
                    break
        return inside / len(x)

    a, b = real.double().numpy(), made.double().numpy()
    return covered(b, a), covered(a, b)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_are_what_the_paper_says(k: int) -> None:
    real, made = heap(40, 3), heap(30, 3, 1, scale=0.7, at=0.6)
    found = precision_recall(real, made, k)
    assert tuple(found) == pytest.approx(plain_precision_recall(real, made, k))
    assert 0 < found.recall < found.precision < 1  # the narrower heap is true, not manifold


def test_precision_and_recall_change_places_with_the_heaps() -> None:
    real, made = heap(60, 3), heap(60, 3, 1, scale=0.5)
    assert tuple(precision_recall(real, made)) == tuple(precision_recall(made, real))[::-1]


def test_precision_and_recall_know_the_extremes() -> None:
    real = heap(50, 4)
    assert tuple(precision_recall(real, real.flip(0))) == (1, 1)
    assert tuple(precision_recall(real, real + 1000)) == (0, 0)
    one_good = real[7:8].expand(50, 4)
    found = precision_recall(real, one_good)
    assert found.precision == 1 and found.recall == pytest.approx(1 / 50)


def test_copies_lie_in_balls_of_no_size() -> None:
    """Where all pictures come in fours, the third nearest one is a copy, up to rounding."""
    real = heap(25, 40, at=30.0).repeat(4, 1)
    assert tuple(precision_recall(real, real[torch.randperm(100)])) == (1, 1)
    assert tuple(precision_recall(real, real + 0.001)) == (0, 0)


# --- the nearest one ----------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0.0, 5000.0])
def test_the_nearest_is_found_also_far_from_the_middle(at: float) -> None:
    x, among = heap(30, 8, at=at), heap(70, 8, 1, at=at)
    found = nearest(x, among)
    distances = torch.cdist(x.double(), among.double(), compute_mode="donot_use_mm_for_euclid_dist")
    assert torch.equal(found.which, distances.argmin(dim=1))
    assert torch.allclose(found.distance, distances.min(dim=1).values, rtol=1e-12)


def test_a_copy_is_at_distance_0_and_found_among_bytes() -> None:
    among = torch.randint(0, 256, (500, 784), dtype=torch.uint8)
    found = nearest(among[[3, 499]], among)
    assert found.which.tolist() == [3, 499] and found.distance.tolist() == [0, 0]
    one_off = among[[8]].clone()
    one_off[0, 0] ^= 1
    assert nearest(one_off, among).distance.tolist() == [1]


# --- in pieces ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "measure",
    [
        kernel_distance,
        precision_recall,
        lambda x, y: (*nearest(x, y)[0].tolist(), *nearest(x, y)[1].tolist()),
    ],
    ids=["kid", "precision and recall", "nearest"],
)
@pytest.mark.parametrize(("rows", "others"), [(7, 11), (1, 1), (50, 3), (3, 1000)])
def test_pieces_change_nothing(
    measure: Callable[..., tuple[float, ...]],
    rows: int,
    others: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, y = heap(50), heap(43, seed=1, at=0.3)
    whole = tuple(measure(x, y))
    monkeypatch.setattr(likeness, "_PIECE", rows)
    monkeypatch.setattr(likeness, "_PIECE_OF_OTHERS", others)
    assert tuple(measure(x, y)) == pytest.approx(whole, rel=1e-9)


@pytest.mark.slow
def test_ten_thousand_against_fifty_thousand_fit_in_memory() -> None:
    code = """
import resource, torch
from mmfm.likeness import kernel_distance, nearest, precision_recall
def used(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
x, y = torch.randn(10_000, 128), torch.randn(50_000, 128)
pixels = torch.randint(0, 256, (50_000, 784), dtype=torch.uint8)
before = used()
nearest(pixels[:10_000], pixels)
kernel_distance(x, y)
precision_recall(y[:10_000], x)
print(used() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 800  # MB; all pairs at once would be 4,000


# --- what cannot be measured --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (lambda: gaussian(torch.zeros(1, 3)), "1 pictures are too few"),
        (lambda: gaussian(torch.zeros(3)), "features come as"),
        (lambda: kernel_distance(heap(5), heap(2)), "2 pictures are too few"),
        (lambda: kernel_distance(heap(5, 3), heap(5, 4)), "3 numbers a picture, the other 4"),
        (lambda: precision_recall(heap(9), heap(3)), "3 pictures are too few"),
        (lambda: precision_recall(heap(9), heap(9), k=0), "k = 0"),
        (lambda: gaussian(torch.full((4, 3), math.nan)), "not finite"),
        (lambda: nearest(heap(0), heap(3)), "0 pictures are too few"),
        (lambda: nearest(heap(3, 2), heap(3, 5)), "2 numbers a picture"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_line(work: Callable[[], object], says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        work()
    assert "\n" not in str(caught.value)
