"""Guidance as a wrapper of the model: what it computes, and what it spares."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from mmfm.diffusion.course import course
from mmfm.diffusion.guidance import guided
from mmfm.diffusion.samplers import euler
from mmfm.errors import BadInput

NULL = 10


class Counted:
    """A model whose answer depends on all it is told, and which notes how much it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        self.asked.append(len(x))
        assert len(t) == len(x)
        if condition is None:
            condition = torch.full((len(x),), NULL)
        assert len(condition) == len(x)
        size = (1 + condition.to(x))[:, None, None, None]
        return torch.sin(x * size) + t[:, None, None, None]


def numbers(b: int = 3) -> Tensor:
    return torch.randn(b, 2, 4, 4, generator=torch.Generator().manual_seed(0)).double()


def times(*values: float) -> Tensor:
    return torch.tensor(values).double()


LABELS = torch.tensor([1, 2, 3])


def test_guided_answers_lie_on_the_line_through_both():
    model = Counted()
    x, t = numbers(), times(0.5, 0.5, 0.5)
    with_, without = model(x, t, LABELS), model(x, t, None)
    for scale in (-1.0, 0.0, 0.5, 1.5, 7.0):
        answer = guided(model, scale, null=NULL)(x, t, LABELS)
        torch.testing.assert_close(answer, without + scale * (with_ - without))
    assert model.asked == [3, 3, 6, 6, 6, 6, 6]


def test_scale_1_is_the_model_itself_and_costs_no_second_half():
    model = Counted()
    x, t = numbers(), times(0.5, 0.5, 0.5)
    assert torch.equal(guided(model, 1.0, null=NULL)(x, t, LABELS), model(x, t, LABELS))
    assert model.asked == [3, 3]


def test_outside_the_interval_only_the_conditional_half_is_computed():
    model = Counted()
    guide = guided(model, 3.0, null=NULL, interval=(0.3, 0.85))
    x = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    list(euler(guide, x, course("flow", 10), objective="flow", condition=LABELS))
    # At 1, 0.9 | 0.8, 0.7, ... 0.3 | 0.2, 0.1.
    assert model.asked == [3, 3, 6, 6, 6, 6, 6, 6, 3, 3]
    for t in (0.29, 0.86):
        three = times(t, t, t)
        assert torch.equal(guide(numbers(), three, LABELS), model(numbers(), three, LABELS))


def test_the_ends_of_the_interval_belong_to_it_also_in_float32():
    model = Counted()
    guide = guided(model, 3.0, null=NULL, interval=(0.3, 0.85))
    for t in (0.3, 0.85):
        guide(numbers().float(), torch.full((3,), t), LABELS)
    assert model.asked == [6, 6]


def test_pictures_at_different_times_are_each_treated_by_their_own():
    x, t = numbers(), times(0.1, 0.5, 0.9)
    mixed = guided(Counted(), 3.0, null=NULL, interval=(0.3, 0.6))(x, t, LABELS)
    everywhere = guided(Counted(), 3.0, null=NULL)(x, t, LABELS)
    nowhere = Counted()(x, t, LABELS)
    torch.testing.assert_close(mixed, torch.stack([nowhere[0], everywhere[1], nowhere[2]]))


def test_without_a_condition_there_is_nothing_to_guide_towards():
    model = Counted()
    x, t = numbers(), times(0.5, 0.5, 0.5)
    assert torch.equal(guided(model, 3.0, null=NULL)(x, t, None), model(x, t, None))


def test_the_null_condition_may_be_a_vector():
    """A prompt's vector is a condition as a label's number is."""
    null = torch.tensor([0.5, -0.5]).double()
    conditions = torch.arange(6).double().reshape(3, 2)

    def model(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        assert condition is not None
        return x * condition.sum(dim=1)[:, None, None, None]

    answer = guided(model, 2.0, null=null)(numbers(), times(0.5, 0.5, 0.5), conditions)
    factor = 2 * conditions.sum(dim=1)[:, None, None, None]
    torch.testing.assert_close(answer, numbers() * factor)


class Wish(NamedTuple):
    """A condition in several parts, as that of a network which reads words."""

    kinds: Tensor
    words: Tensor


def test_a_condition_may_have_several_parts_which_go_in_one_batch_with_nothing():
    asked: list[Wish] = []

    def model(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        assert isinstance(condition, Wish)
        asked.append(condition)
        return x * (condition.kinds + condition.words.sum(dim=1))[:, None, None, None]

    wish = Wish(torch.tensor([1.0, 2.0, 3.0]).double(), torch.arange(6).double().reshape(3, 2))
    nothing = Wish(torch.full((3,), 0.5).double(), torch.tensor([[0.25, 0.0]] * 3).double())
    x, t = numbers(), times(0.5, 0.5, 0.5)
    with_, without = model(x, t, wish), model(x, t, nothing)
    asked.clear()
    answer = guided(model, 3.0, null=nothing)(x, t, wish)
    torch.testing.assert_close(answer, without + 3 * (with_ - without))
    (both,) = asked
    for part, own, null in zip(both, wish, nothing, strict=True):
        assert torch.equal(part, torch.cat([own, null]))
    assert torch.equal(guided(model, 1.0, null=nothing)(x, t, wish), with_)
    late = guided(model, 3.0, null=nothing, interval=(0.6, 1))(x, t, wish)
    assert torch.equal(late, with_) and len(asked[-1].kinds) == 3


def test_rescaling_gives_each_picture_the_contrast_of_the_conditional_answer():
    model = Counted()
    x, t = numbers(), times(0.5, 0.5, 0.5)
    with_ = model(x, t, LABELS)
    wild = guided(model, 7.0, null=NULL)(x, t, LABELS)
    tame = guided(model, 7.0, null=NULL, rescale=1.0)(x, t, LABELS)
    half = guided(model, 7.0, null=NULL, rescale=0.5)(x, t, LABELS)

    def contrast(answer: Tensor) -> Tensor:
        return answer.flatten(1).std(dim=1)

    assert (contrast(wild) > 1.5 * contrast(with_)).all()
    torch.testing.assert_close(contrast(tame), contrast(with_))
    torch.testing.assert_close(half, (wild + tame) / 2)


def test_a_network_that_answers_zeros_everywhere_is_rescaled_to_zeros():
    guide = guided(lambda x, t, c: torch.zeros_like(x), 2.0, null=NULL, rescale=0.7)
    answer = guide(numbers(), times(0.5, 0.5, 0.5), LABELS)
    assert torch.equal(answer, torch.zeros_like(answer))


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "nan": (lambda: guided(Counted(), math.nan, null=NULL), "guidance of nan"),
    "infinite": (lambda: guided(Counted(), math.inf, null=NULL), "guidance of inf"),
    "reversed": (lambda: guided(Counted(), 2.0, null=NULL, interval=(0.8, 0.2)), "0.8 to 0.2"),
    "nan limit": (lambda: guided(Counted(), 2.0, null=NULL, interval=(math.nan, 1)), "nan to 1"),
    "rescale": (lambda: guided(Counted(), 2.0, null=NULL, rescale=1.5), "back by 1.5"),
    "rescale nan": (lambda: guided(Counted(), 2.0, null=NULL, rescale=math.nan), "back by nan"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_values_are_refused_in_one_line(what: str):
    call, says = WRONG[what]
    with pytest.raises(BadInput, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)
