"""Recall: counted as one would by hand, with several right answers, and ties that win nothing."""

import pytest
import torch
from torch import Tensor

from mmfm.errors import BadInput
from mmfm.models.retrieval import recall


def by_hand(questions: Tensor, answers: Tensor, right: list[set[int]], k: int) -> float:
    hits = asked = 0
    for question, mine in zip(questions, right, strict=True):
        if not mine:
            continue
        asked += 1
        near = (answers @ question).tolist()
        # The wrong ones first, where two are equally near.
        order = sorted(range(len(near)), key=lambda a: (-near[a], a in mine))
        hits += any(a in mine for a in order[:k])
    return hits / asked


@pytest.mark.parametrize("seed", range(5))
def test_recall_is_what_one_counts_by_hand(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Small whole numbers, so that ties are frequent and exact; more questions than one chunk.
    questions = torch.randint(-2, 3, (1100, 4), generator=generator).float()
    answers = torch.randint(-2, 3, (37, 4), generator=generator).float()
    right = torch.rand(1100, 37, generator=generator) < 0.04
    sets = [set(row.nonzero().flatten().tolist()) for row in right]
    assert any(not mine for mine in sets) and any(len(mine) > 1 for mine in sets)
    found = recall(questions, answers, right.nonzero(), at=(1, 5, 37))
    assert found == pytest.approx([by_hand(questions, answers, sets, k) for k in (1, 5, 37)])
    assert found[-1] == 1.0


def test_the_other_direction_is_the_same_question_with_the_pairs_turned_round() -> None:
    generator = torch.Generator().manual_seed(0)
    image, text = torch.randn(6, 3, generator=generator), torch.randn(9, 3, generator=generator)
    pairs = torch.tensor([[0, 0], [0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [5, 8]])
    sets = [set(pairs[pairs[:, 1] == t, 0].tolist()) for t in range(9)]
    assert recall(text, image, pairs.flip(1), at=(2,)) == [by_hand(text, image, sets, 2)]


def test_a_model_for_which_all_is_alike_finds_nothing() -> None:
    ones, pairs = torch.ones(8, 4), torch.arange(8)[:, None].expand(-1, 2)
    assert recall(ones, ones, pairs, at=(1, 5, 8)) == [0.0, 0.0, 1.0]
    assert recall(torch.eye(8), torch.eye(8), pairs, at=(1,)) == [1.0]


def test_no_question_is_no_recall() -> None:
    with pytest.raises(BadInput, match="at least one"):
        recall(torch.ones(2, 3), torch.ones(2, 3), torch.empty(0, 2, dtype=torch.long))
