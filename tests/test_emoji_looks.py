"""benchmarks/emoji_looks.py: what it tells of a word is so."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import word_models
from torch import Tensor

from mmfm.errors import BadInput
from mmfm.models.words import Reader
from mmfm.tasks.draw_words import Moment, Wish

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import emoji_looks as bench


def test_all_pairs_differ_in_one_word() -> None:
    assert [bench.changed(*pair) for pair in bench.PAIRS] == [0, 1, 0, 1, 0, 3, 2, 0, 1, 0, 0]
    with pytest.raises(BadInput, match="differ in 2 words"):
        bench.changed("red heart", "blue book")


def test_maps_are_correlated_as_torch_does_it() -> None:
    a, b = torch.rand(2, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    found = bench.correlations(a, b)
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            wanted = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
            torch.testing.assert_close(found[i, j], wanted)


def test_a_word_that_is_looked_at_where_it_matters_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of every noise another row is changed by the word, and half of it looks at the word."""

    def draw(den: Any, reader: Any, texts: Any, wish: Wish) -> Iterator[Moment]:
        x = torch.zeros(2, 3, 16, 16)
        x[0, :, wish.seed] = 1
        yield from [Moment(x, x, x, 0.5, 0.5)] * 2

    def looked(den: Any, told: Any, moment: Moment) -> Tensor:
        shares = torch.zeros(2, 3, 16, 16)
        shares[0, 1] = 0.5 * moment.x[0, 0]
        return shares

    monkeypatch.setattr(bench, "draw", draw)
    monkeypatch.setattr(bench, "looked", looked)
    reader = Reader(word_models.make_clip())
    den = word_models.make_denoiser(reader)
    found = bench.told_of(den, reader, "red heart", "red apple", 4)
    assert found.word == "heart" and found.share == pytest.approx(0.5 / 16)
    assert found.own == pytest.approx(1) and found.others == pytest.approx(-1 / 15)
    assert found.contrast == pytest.approx(15**0.5, rel=0.01)


def test_a_model_of_chance_is_measured_to_the_end() -> None:
    reader = Reader(word_models.make_clip())
    lines = list(bench.measured(word_models.make_denoiser(reader), reader, seeds=2))
    assert len(lines) == 2 + len(bench.PAIRS) + 4
    assert "heart" in lines[3] and lines[-1].startswith("mean others: ")
