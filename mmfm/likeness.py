"""How alike two heaps of pictures are, in numbers, by the features that a network sees in them.

    frechet            how far the bell curves fitted to both lie apart (FID)
    kernel_distance    the same without fitting anything, with its standard error (KID)
    precision_recall   how many of the made ones could be real, how much of what is real they cover
    nearest            for each picture of one heap, the nearest one of another: is it a copy?

No number tells everything: the first two see blur as well as monotony, the third tells them apart,
and only the fourth sees that a model has learned its pictures by heart. Pure functions of tensors.
What is subtracted or summed up is float64, and it is done piece by piece, so that 10,000 pictures
held against 50,000 need some hundred megabytes, not gigabytes.

Shapes: n and m pictures, d numbers a picture.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor

from mmfm.errors import BadInput

Features = Shaped[Tensor, "n d"]

_PIECE = 500  # pictures that are held against others at a time
_PIECE_OF_OTHERS = 2000  # so few that the memory for it is used again, not fetched each time
_NUMBERS = 16_000_000  # of others that are brought to float32 at a time, where each has very many
_ROUNDING = 1e-12  # of the squared lengths: below it two pictures are the same


# --- bell curves ------------------------------------------------------------------------------


class Gaussian(NamedTuple):
    """The bell curve that is fitted to a heap of features."""

    mean: Float64[Tensor, " d"]
    covariance: Float64[Tensor, "d d"]


def gaussian(features: Features) -> Gaussian:
    """Fit a bell curve: the mean, and how the numbers vary together."""
    x = _checked(features, least=2)
    mean = x.mean(dim=0)
    x = x - mean
    return Gaussian(mean, x.T @ x / (len(x) - 1))


def frechet(a: Gaussian, b: Gaussian) -> float:
    """The squared Fréchet distance of two bell curves; of features of pictures it is called FID.

    |mean - mean|² + trace(A + B - 2 (A B)^(1/2)), Dowson & Landau 1982; Heusel et al. 2017,
    equation 6. The root of A B has the trace of the root of A^(1/2) B A^(1/2), which is symmetric:
    its eigenvalues are real and not negative, also where fewer pictures than numbers were seen.
    """
    values, vectors = torch.linalg.eigh(a.covariance)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    inner = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp_min(0).sqrt().sum()
    apart = (a.mean - b.mean).square().sum()
    return float(apart + a.covariance.trace() + b.covariance.trace() - 2 * inner)


# --- kernels ----------------------------------------------------------------------------------


class Estimate(NamedTuple):
    """A number that was estimated from a sample, and its standard error."""

    value: float
    error: float


class _Sums(NamedTuple):
    """What each picture shares with all of a heap, by the kernel, and the sum of it all."""

    rows: Float64[Tensor, " n"]
    total: Float64[Tensor, ""]


def kernel_distance(x: Features, y: Features) -> Estimate:
    """The squared distance of two heaps' means under the kernel (x y / d + 1)³: KID.

    Bińkowski et al. 2018, section 4: without bias, so it may fall below 0 where both heaps are of
    one kind, and heaps of different sizes can be compared. Every pair of pictures counts, no lots
    are drawn. The standard error is the two-sample jackknife's (Arvesen 1969): how far the value
    moves when one picture is left out, which the sums over rows tell without computing anew.
    """
    x, y = _checked(x, least=3), _checked(y, least=3)
    _same_width(x, y)
    n, m = len(x), len(y)
    within_x, within_y = _within(x), _within(y)
    across_x, across_y = _across(x, y)
    a = within_x.total / (n * (n - 1))
    b = within_y.total / (m * (m - 1))
    c = across_x.total / (n * m)

    # The value without the picture number i, for every i.
    a_without = (within_x.total - 2 * within_x.rows) / ((n - 1) * (n - 2))
    b_without = (within_y.total - 2 * within_y.rows) / ((m - 1) * (m - 2))
    without_x = a_without + b - 2 * (across_x.total - across_x.rows) / ((n - 1) * m)
    without_y = a + b_without - 2 * (across_x.total - across_y.rows) / (n * (m - 1))
    variance = (n - 1) * without_x.var(correction=0) + (m - 1) * without_y.var(correction=0)
    return Estimate(float(a + b - 2 * c), float(variance.sqrt()))


def _kernel(x: Tensor, y: Tensor) -> Float64[Tensor, "n m"]:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _within(x: Float64[Tensor, "n d"]) -> _Sums:
    """Over all pairs of two different pictures."""
    own = (x.square().sum(dim=1) / x.shape[1] + 1) ** 3
    rows = _across(x, x)[0].rows - own
    return _Sums(rows, rows.sum())


def _across(x: Float64[Tensor, "n d"], y: Float64[Tensor, "m d"]) -> tuple[_Sums, _Sums]:
    """Over all pairs of a picture of x and one of y; then the same seen from y."""
    of_x, of_y = x.new_zeros(len(x)), y.new_zeros(len(y))
    for i, piece in _pieces(x, _PIECE):
        for j, others in _pieces(y, _PIECE_OF_OTHERS):
            shared = _kernel(piece, others)
            of_x[i : i + len(piece)] += shared.sum(dim=1)
            of_y[j : j + len(others)] += shared.sum(dim=0)
    return _Sums(of_x, of_x.sum()), _Sums(of_y, of_y.sum())


# --- precision and recall ---------------------------------------------------------------------


class PrecisionRecall(NamedTuple):
    """Precision: which share of what was made could be real. Recall: the other way round."""

    precision: float
    recall: float


def precision_recall(real: Features, made: Features, k: int = 3) -> PrecisionRecall:
    """How true and how manifold made pictures are (Kynkäänniemi et al. 2019, equations 1 and 2).

    Around each picture of a heap a ball reaches to its k-th nearest neighbour of the same heap;
    all balls together are where such pictures lie. Precision is the share of the made ones that
    lie in a ball of a real one, recall the share of the real ones in a ball of a made one. Larger
    heaps have smaller balls: compare figures of equal numbers only.
    """
    real, made = _checked(real, least=k + 1), _checked(made, least=k + 1)
    _same_width(real, made)
    in_real = _covered(made, real, _radii(real, k))
    in_made = _covered(real, made, _radii(made, k))
    return PrecisionRecall(float(in_real.double().mean()), float(in_made.double().mean()))


def _radii(x: Float64[Tensor, "n d"], k: int) -> Float64[Tensor, " n"]:
    """The squared distance of each picture to its k-th nearest other one."""
    if k < 1:
        raise BadInput(f"k = {k}: a picture's nearest neighbour is number 1")
    radii = x.new_empty(len(x))
    for i, piece in _pieces(x, _PIECE):
        # The nearest so far, each piece of the others adding its own.
        best = x.new_full((len(piece), k), float("inf"))
        for j, others in _pieces(x, _PIECE_OF_OTHERS):
            squares = _squares(piece, others)
            itself = torch.arange(i, i + len(piece))[:, None] == torch.arange(j, j + len(others))
            squares[itself.to(x.device)] = float("inf")
            best = torch.cat([best, squares], dim=1).topk(k, dim=1, largest=False).values
        radii[i : i + len(piece)] = best[:, -1]
    return radii


def _covered(
    x: Float64[Tensor, "n d"], centres: Float64[Tensor, "m d"], radii: Float64[Tensor, " m"]
) -> Tensor:
    """Whether each picture lies in any of the balls."""
    covered = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for i, piece in _pieces(x, _PIECE):
        for j, others in _pieces(centres, _PIECE_OF_OTHERS):
            inside = _squares(piece, others) <= radii[j : j + len(others)]
            covered[i : i + len(piece)] |= inside.any(dim=1)
    return covered


def _squares(x: Float64[Tensor, "n d"], y: Float64[Tensor, "m d"]) -> Float64[Tensor, "n m"]:
    """Squared distances; 0 for what differs by no more than rounding."""
    lengths = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)
    squares = lengths - 2 * x @ y.T
    return torch.where(squares > _ROUNDING * lengths, squares, 0.0)


# --- the nearest one --------------------------------------------------------------------------


class Nearest(NamedTuple):
    """For each picture the nearest of some others."""

    distance: Float64[Tensor, " n"]
    which: Int64[Tensor, " n"]


def nearest(x: Features, among: Shaped[Tensor, "m d"]) -> Nearest:
    """Find each picture's nearest one of the others, by features or by the pixels themselves.

    It is looked for in float32, which is fast; the distance to it is then taken in float64, so that
    of a copy it is exactly 0. Rows of bytes are taken as they are.
    """
    _check(x, least=1)
    _check(among, least=1)
    _same_width(x, among)
    size = min(_PIECE_OF_OTHERS, max(1, _NUMBERS // among.shape[1]))
    total = among.new_zeros(among.shape[1], dtype=torch.float64)
    for _, others in _pieces(among, size):
        total += others.float().sum(dim=0)
    # Subtracted, so that less is lost in the difference below.
    centre = (total / len(among)).float()
    best = torch.full((len(x),), float("inf"), device=x.device)
    which = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    for j, others in _pieces(among, size):
        others = others.float() - centre
        lengths = others.square().sum(dim=1)
        for i, piece in _pieces(x, _PIECE):
            rows = slice(i, i + len(piece))
            # Without the piece's own lengths, which are the same for all of the others.
            found = (lengths - 2 * (piece.float() - centre) @ others.T).min(dim=1)
            nearer = found.values < best[rows]
            best[rows] = torch.where(nearer, found.values, best[rows])
            which[rows] = torch.where(nearer, found.indices + j, which[rows])
    distance = torch.cat(
        [
            (piece.double() - among[which[i : i + len(piece)]].double()).norm(dim=1)
            for i, piece in _pieces(x, _PIECE)
        ]
    )
    return Nearest(distance, which)


# --- what may come in -------------------------------------------------------------------------


def _pieces(x: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    """A heap piece by piece, and the number of each piece's first picture."""
    for first in range(0, len(x), size):
        yield first, x[first : first + size]


def _checked(features: Features, least: int) -> Float64[Tensor, "n d"]:
    _check(features, least)
    return features.double()


def _check(features: Features, least: int) -> None:
    if features.ndim != 2 or features.shape[1] < 1:
        raise BadInput(f"features come as (n d), not as {tuple(features.shape)}")
    if len(features) < least:
        raise BadInput(f"{len(features)} pictures are too few for this; {least} is the least")
    if features.is_floating_point() and not bool(features.isfinite().all()):
        raise BadInput("some of the features are not finite (NaN, say); nothing can be measured")


def _same_width(x: Tensor, y: Tensor) -> None:
    if x.shape[1] != y.shape[1]:
        raise BadInput(
            f"one heap has {x.shape[1]} numbers a picture, the other {y.shape[1]}: features of "
            "one network are needed"
        )
