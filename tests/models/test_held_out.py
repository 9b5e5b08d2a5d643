"""What a model makes of held-out pictures is counted as one would by hand, ties included."""

from collections.abc import Sequence

import pytest
import torch
from mixtures import HANDS, SIZE, Oracle, make_sources, tables

from mmfm.data.mixture import Mixture, load_mixture
from mmfm.models.held_out import Outcome, examine
from mmfm.recipes import read_sources


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    folder = make_sources(tmp_path_factory.mktemp("sources"))
    return load_mixture(read_sources(tables(folder)), folder, size=SIZE)


def shares(outcomes: Sequence[Outcome]) -> dict[str, float]:
    return {str(one): float(one.right.double().mean()) for one in outcomes}


def test_who_knows_all_is_always_right_and_is_asked_in_both_languages(mixture: Mixture) -> None:
    found = shares(list(examine(Oracle({}), mixture)))
    assert set(found.values()) == {1.0}
    wanted: set[str] = set()
    for language in ("en", "ko"):
        wanted |= {f"{title}, top-1 {language}" for title in ("photos", "coarse")}
        for first in (1, 10):
            wanted.add(f"new hand signs by chalk, R@{first} {language}")
            wanted |= {f"new signs by {hand}, R@{first} {language}" for hand in HANDS}
    assert set(found) == wanted


def test_a_class_that_is_taken_for_another_counts_as_often_as_it_occurs(mixture: Mixture) -> None:
    outcomes = list(examine(Oracle({"송어": 20}), mixture))
    found = shares(outcomes)
    truth = mixture.held_out[0].kinds
    assert found["photos, top-1 en"] == 1.0
    assert found["photos, top-1 ko"] == pytest.approx(float((truth != 1).double().mean()))
    photos = next(one for one in outcomes if str(one) == "photos, top-1 ko")
    assert torch.equal(photos.kinds, truth) and torch.equal(photos.right, truth != 1)


def test_a_name_that_means_nothing_finds_nothing_first(mixture: Mixture) -> None:
    """All pictures are as near: the wrong ones stand before the right one."""
    hand = mixture.held_out[2]
    names = [mixture.kinds[kind].names["en"][0] for kind in hand.choices.tolist()]
    found = shares(list(examine(Oracle({names[0]: None}), mixture)))
    count = len(hand.kinds)
    assert count == 9
    assert found["new hand signs by chalk, R@1 en"] == pytest.approx((count - 1) / count)
    assert found["new hand signs by chalk, R@1 ko"] == 1.0
    assert found["new hand signs by chalk, R@10 en"] == 1.0  # there are only nine


def test_a_name_that_is_taken_for_another_finds_that_one_first(mixture: Mixture) -> None:
    new = mixture.held_out[3]
    names = [mixture.kinds[kind].names["ko"][0] for kind in new.choices.tolist()]
    taken = Oracle({})
    swapped = {names[0]: taken.names[names[1]], names[1]: taken.names[names[0]]}
    outcomes = list(examine(Oracle(swapped), mixture))
    for hand in HANDS:
        (one,) = [o for o in outcomes if str(o) == f"new signs by {hand}, R@1 ko"]
        wrong = {new.choices[0].item(), new.choices[1].item()}
        assert set(one.kinds[~one.right].tolist()) == wrong & set(one.kinds.tolist())


def test_a_glance_asks_about_some_of_each_part(mixture: Mixture) -> None:
    outcomes = list(examine(Oracle({}), mixture, 4))
    asked = {(one.title, one.language, one.measure): 0 for one in outcomes}
    for one in outcomes:
        asked[one.title, one.language, one.measure] += len(one.right)
    assert max(asked.values()) == 4 and asked["coarse", "en", "top-1"] == 2


def test_a_glance_looks_through_whole_galleries(mixture: Mixture) -> None:
    """Else a question would be easier in a glance than at the end."""
    whole = {str(one): one for one in examine(Oracle({}), mixture)}
    for one in examine(Oracle({}), mixture, 1):
        assert len(one.right) == 1 and one.among == whole[str(one)].among
    assert whole["new hand signs by chalk, R@1 en"].among == 9
    assert whole["photos, top-1 en"].among == 3
    new = mixture.held_out[3]
    glanced = new.kinds[0].item()  # of one picture, the first
    names = [mixture.kinds[kind].names["en"][0] for kind in new.choices.tolist()]
    other = next(
        name for name, kind in zip(names, new.choices.tolist(), strict=True) if kind != glanced
    )
    mine = mixture.kinds[glanced].names["en"][0]
    mixed = Oracle({mine: Oracle({}).names[other]})  # takes it for one that is not asked about
    (first,) = [
        o
        for o in examine(mixed, mixture, 1)
        if str(o).startswith("new signs") and o.measure == "R@1" and o.language == "en"
    ]
    assert not first.right.any()
