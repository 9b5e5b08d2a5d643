"""Scores that say what they are: pure functions, and the calibration that is kept in a file."""

import json
import math
from pathlib import Path

import pytest
import torch

from mmfm.errors import BadData, NotHere
from mmfm.models.scores import SURE, Calibration, known, margins, valley


def draws(mean: float, count: int, seed: int = 0) -> torch.Tensor:
    return mean + torch.randn(count, generator=torch.Generator().manual_seed(seed))


def test_a_margin_is_the_log_odds_of_a_softmax_over_the_label_and_the_bank():
    logits, bank = torch.randn(5, 3), torch.randn(5, 7)
    for picture in range(5):
        for label in range(3):
            every = torch.cat([logits[picture, label : label + 1], bank[picture]])
            share = every.softmax(dim=0)[0]
            torch.testing.assert_close(
                margins(logits, bank)[picture, label], (share / (1 - share)).log()
            )


def test_any_label_is_known_as_the_softmax_over_all_would_have_it():
    logits, bank = torch.randn(5, 3), torch.randn(5, 7)
    share = torch.cat([logits, bank], dim=1).softmax(dim=1)[:, :3].sum(dim=1)
    torch.testing.assert_close(known(logits, bank).sigmoid(), share)


def test_two_heaps_of_pictures_part_in_the_valley_between_them():
    evidence = torch.cat([draws(-3, 150), draws(4, 100, 1)])
    cut = valley(evidence)
    assert -SURE <= cut <= SURE
    assert (draws(-3, 150) < cut).float().mean() > 0.97
    assert (draws(4, 100, 1) > cut).float().mean() > 0.97


@pytest.mark.parametrize("mean", [-6.0, 6.0])
def test_two_heaps_on_one_side_do_not_overrule_a_bank_that_is_sure(mean: float):
    evidence = torch.cat([draws(mean - 4, 100), draws(mean + 4, 100, 1)])
    assert abs(valley(evidence)) <= SURE


def test_two_heaps_of_which_the_bank_doubts_neither_are_both_known():
    assert valley(torch.cat([draws(2, 100), draws(9, 100, 1)])) == 0


def test_one_heap_or_too_few_pictures_leave_the_bank_alone():
    assert valley(draws(1.0, 300)) == 0
    assert valley([-5.0, 5.0] * 5) == 0
    assert valley([1.0] * 50) == 0
    assert valley([]) == 0
    assert valley([math.nan, 1.0]) == 0


# --- the file -------------------------------------------------------------------------------------


WHOLE = Calibration("m", "l", 1.5, 0.8, -0.1, (0.4, 0.6), 1.2, -0.3, 80)


def test_a_calibration_comes_back_as_it_was(tmp_path: Path):
    WHOLE.save(tmp_path / "c.json")
    assert Calibration.read(tmp_path / "c.json") == WHOLE


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": math.nan},
        {"temperature": 0},
        {"thresholds": [math.nan, 0.5]},
        {"thresholds": [1.5]},
        {"slope": math.inf},
        {"known_slope": math.nan},
        {"temperature": "warm"},
        {"kind": "recipe"},
        {"unheard": 1},
    ],
)
def test_a_calibration_that_cannot_be_right_is_refused_with_its_file(
    change: dict[str, object], tmp_path: Path
):
    path = tmp_path / "c.json"
    WHOLE.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BadData, match=r"c\.json: ") as caught:
        Calibration.read(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_calibration_is_said(tmp_path: Path):
    with pytest.raises(NotHere, match="mmfm evaluate"):
        Calibration.read(tmp_path / "nowhere.json")
    for content in ("", "[]", "{}", "\x00"):
        (tmp_path / "c.json").write_text(content)
        with pytest.raises(BadData, match="not a calibration"):
            Calibration.read(tmp_path / "c.json")
