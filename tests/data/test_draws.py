"""A number depends on its address and on nothing else, and looks random from every side."""

import numpy as np
import pytest
import torch
from scipy import stats

from mmfm.data import draws
from mmfm.data.draws import generator, normal, stratified, uniform
from mmfm.errors import BadInput

INDEX = torch.arange(4000)
BOTH = pytest.mark.parametrize("draw", [uniform, normal])


def numbers(draw, seed=0, epoch=0, index=INDEX, count=50, stream=0):
    return draw(seed, torch.full_like(index, epoch), index, count, stream)


@BOTH
def test_the_same_address_gives_the_same_number(draw):
    assert torch.equal(numbers(draw), numbers(draw))
    assert numbers(draw).dtype == torch.float32 and numbers(draw).shape == (4000, 50)


@BOTH
def test_a_sample_draws_the_same_in_any_batch(draw):
    whole = numbers(draw, count=37)
    order = torch.randperm(4000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(numbers(draw, index=INDEX[order], count=37), whole[order])
    for start, size in ((0, 1), (1, 2), (5, 7), (100, 33), (3999, 1)):
        assert torch.equal(
            numbers(draw, index=INDEX[start : start + size], count=37), whole[start : start + size]
        )


@BOTH
def test_more_columns_leave_the_first_ones_as_they_were(draw):
    for count in (1, 2, 7, 49):
        assert torch.equal(numbers(draw, count=count), numbers(draw)[:, :count])
    assert numbers(draw, count=0).shape == (4000, 0)


@BOTH
def test_one_epoch_for_all_and_one_for_each_are_the_same(draw):
    assert torch.equal(draw(3, 5, INDEX, 4), numbers(draw, seed=3, epoch=5, count=4))
    mixed = draw(3, torch.tensor([5, 6]), torch.tensor([1, 1]), 4)
    assert torch.equal(mixed[1], draw(3, 6, torch.tensor([1]), 4)[0])


@BOTH
@pytest.mark.parametrize("key", ["seed", "epoch", "stream"])
@pytest.mark.parametrize("value", [1, 2, 1 << 31, -1])
def test_any_other_key_gives_other_numbers(draw, key, value):
    same = numbers(draw) == numbers(draw, **{key: value})
    assert same.float().mean() < 1e-4


def test_keys_do_not_stand_in_for_one_another():
    seen = {
        uniform(seed, epoch, torch.tensor([index]), 4, stream).numpy().tobytes()
        for seed in range(4)
        for epoch in range(4)
        for index in range(4)
        for stream in range(4)
    }
    assert len(seen) == 4**4


def test_uniform_numbers_are_even_and_below_one():
    values = numbers(uniform).numpy()
    assert values.min() >= 0 and values.max() < 1
    counts, _ = np.histogram(values, bins=256, range=(0, 1))
    assert stats.chisquare(counts).pvalue > 1e-3
    assert abs(values.mean() - 0.5) < 0.003 and abs(values.var() - 1 / 12) < 0.001


def test_normal_numbers_follow_the_bell_curve():
    values = numbers(normal).numpy().ravel()
    assert np.isfinite(values).all()
    assert stats.kstest(values, "norm").pvalue > 1e-3
    assert abs(values.mean()) < 0.01 and abs(values.std() - 1) < 0.01
    assert abs(stats.skew(values)) < 0.03 and abs(stats.kurtosis(values)) < 0.06
    assert 4 < np.abs(values).max() < 7


def test_no_hash_gives_a_number_without_end(monkeypatch):
    for bits in (0, 2**32 - 1):
        words = np.full((1, 2), bits, np.uint32)
        monkeypatch.setattr(draws, "_words", lambda *address, words=words: words)
        assert normal(0, 0, INDEX[:1], 2).abs().max() < 7
        assert 0 <= uniform(0, 0, INDEX[:1], 2).max() < 1


@BOTH
def test_neighbours_know_nothing_of_each_other(draw):
    values = numbers(draw)
    pairs = {
        "samples": (values[:-1], values[1:]),
        "columns": (values[:, :-1], values[:, 1:]),
        "pairs of columns": (values[:, :-2], values[:, 2:]),
        "epochs": (values, numbers(draw, epoch=1)),
        "seeds": (values, numbers(draw, seed=1)),
        "streams": (values, numbers(draw, stream=1)),
        "epoch and sample": (values[1:], numbers(draw, epoch=1)[:-1]),
    }
    for name, (first, second) in pairs.items():
        for left, right in ((first, second), (first.square(), second.square())):
            both = np.corrcoef(left.numpy().ravel(), right.numpy().ravel())
            assert abs(both[0, 1]) < 4.5 / np.sqrt(left.numel()), name


def test_the_numbers_stay_what_they_are_from_version_to_version():
    """A saved run goes on with the numbers that it began with."""
    drawn = uniform(1, 2, torch.tensor([3, 4]), 3, stream=5)
    assert (drawn * 2**24).long().tolist() == [
        [13322563, 9372473, 7678200],
        [363030, 14497685, 674715],
    ]


@pytest.mark.parametrize("fraction", [0.1, 1 / 3, 0.5, 0.9])
def test_a_stratified_split_takes_the_same_share_of_every_class(fraction):
    labels = torch.arange(1000) % 7
    most, rest = stratified(labels, fraction, seed=0)
    assert torch.equal(torch.cat([most, rest]).sort().values, torch.arange(1000))
    for label in range(7):
        total, held = int((labels == label).sum()), int((labels[rest] == label).sum())
        assert abs(held - fraction * total) <= 0.5
    again, other = stratified(labels, fraction, seed=0)[1], stratified(labels, fraction, seed=1)[1]
    assert torch.equal(rest, again) and not torch.equal(rest, other)


def test_a_class_of_two_is_on_both_sides_and_one_of_one_is_trained_on():
    most, rest = stratified(torch.tensor([0, 0, 1, 2, 2]), 0.01, seed=0)
    assert 2 in most and len(rest) == 2
    most, rest = stratified(torch.tensor([0, 0, 1, 2, 2]), 0.99, seed=0)
    assert 2 in most and len(most) == 3


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, float("nan")])
def test_a_share_of_nothing_or_all_is_refused(fraction):
    with pytest.raises(BadInput):
        stratified(torch.arange(4), fraction, seed=0)


def test_a_key_for_a_generator_is_another_for_every_address():
    places = [
        (seed, epoch, index, stream)
        for seed in range(4)
        for epoch in range(5)
        for index in range(100)
        for stream in range(3)
    ]
    keys = [draws.key(*place) for place in places]
    assert keys == [draws.key(*place) for place in places]
    assert len(set(keys)) == len({key % 2**32 for key in keys}) == len(keys)
    assert min(keys) >= 0 and max(keys) < 2**63
    # A generator takes any of them, and half of all bits are set.
    torch.Generator().manual_seed(max(keys))
    assert 0.49 < np.mean([key.bit_count() / 63 for key in keys]) < 0.51


@pytest.mark.parametrize("seed", [0, 7, -1, -(2**63), 2**63, 2**64 - 1])
def test_a_generator_draws_what_torchs_own_does_as_far_as_that_knows_the_seed(seed):
    ours, theirs = generator(seed), torch.Generator().manual_seed(seed)
    assert torch.equal(torch.rand(9, generator=ours), torch.rand(9, generator=theirs))


def test_a_generator_takes_seeds_beyond_those_of_torch():
    first, second = (torch.rand(9, generator=generator(10**25 + more)) for more in (0, 1))
    assert not torch.equal(first, second)
