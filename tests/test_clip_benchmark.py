"""benchmarks/clip_nano.py: what it counts, it counts right, and what it leaves out, it says."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mixtures import HANDS, SIZE, Oracle, make_sources, tables

from mmfm.data.mixture import Mixture, load_mixture
from mmfm.errors import NotHere
from mmfm.recipes import read_sources

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import clip_nano as bench


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    folder = make_sources(tmp_path_factory.mktemp("sources"))
    return load_mixture(read_sources(tables(folder)), folder, size=SIZE)


def table(oracle: Oracle, mixture: Mixture) -> dict[str, list[str]]:
    """The cells of each row: questions, answers to choose from, and the shares in each language."""
    header, *lines = bench.figures(oracle, mixture)
    assert header.split() == ["questions", "among", "English", "Korean"]
    rows = [re.split(r"\s{2,}|(?<=\d) (?=\d)", line) for line in lines]
    return {name: [cell for cell in cells if cell] for name, *cells in rows}


def test_each_sort_of_question_has_its_row_and_says_among_how_many(mixture: Mixture) -> None:
    rows = table(Oracle({}), mixture)
    assert list(rows) == [
        "photos, top-1",
        "coarse, top-1",
        "new hand signs, chalk, R@1",
        "new hand signs, chalk, R@10",
        "new signs, hands seen, R@1",
        "new signs, hands seen, R@10",
        "new signs, the hand held out, R@1",
        "new signs, the hand held out, R@10",
        "new signs, one picture of each, R@1",
        "new signs, one picture of each, no twin learned, R@1",
        "new signs, one picture of each, R@10",
        "new signs, one picture of each, no twin learned, R@10",
    ]
    assert rows["photos, top-1"][:2] == ["6", "3"] and rows["coarse, top-1"][:2] == ["2", "2"]
    assert rows["new hand signs, chalk, R@1"][:2] == ["9", "9"]
    assert rows["new signs, one picture of each, R@1"][:2] == ["3", "3"]
    new = mixture.held_out[3]
    asked = [int((new.gallery == number).sum()) for number, name in enumerate(HANDS)]
    assert int(rows["new signs, hands seen, R@1"][0]) == asked[0] + asked[2]
    assert all(cell.startswith("100.0%") for _, _, *cells in rows.values() for cell in cells)


def test_what_is_mixed_up_counts_where_it_is_asked(mixture: Mixture) -> None:
    new = mixture.held_out[3]
    mine, other = (mixture.kinds[kind].names["en"][0] for kind in new.choices[:2].tolist())
    rows = table(Oracle({mine: Oracle({}).names[other]}), mixture)
    _, _, english, korean = rows["new signs, one picture of each, R@1"]
    assert english.startswith("66.7%") and korean.startswith("100.0%")
    _, _, english, _ = rows["new signs, one picture of each, R@10"]  # there are but three
    assert english.startswith("100.0%")


def test_galleries_of_different_sizes_say_so(mixture: Mixture) -> None:
    new = mixture.held_out[3]
    fewer = new.select((torch.arange(len(new.kinds)) != new.gallery.argmin()).nonzero()[:, 0])
    cut = replace(mixture, held_out=(*mixture.held_out[:3], fewer))
    among = {name: cells[1] for name, cells in table(Oracle({}), cut).items()}
    assert among["new signs, hands seen, R@1"] == "2-3"
    assert among["new signs, one picture of each, R@1"] == "3"


def test_one_picture_of_each_is_by_the_first_hand_that_drew_it(mixture: Mixture) -> None:
    new = mixture.held_out[3]
    gone = new.choices[1]
    kept = ~((new.kinds == gone) & (new.gallery == 0))
    ones = bench.once_each(new.select(kept.nonzero()[:, 0]))
    assert sorted(ones.kinds.tolist()) == new.choices.tolist()
    for image, kind in zip(ones.images, ones.kinds, strict=True):
        hand = 1 if kind == gone else 0
        (place,) = ((new.kinds == kind) & (new.gallery == hand)).nonzero()[:, 0].tolist()
        assert torch.equal(image, new.images[place])
    assert ones.galleries == ("",) and not ones.gallery.any()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("🏌‍♀", "🏌‍♂"),
        ("🏌🏽‍♀️", "🏌"),
        ("👩‍🚀", "🧑🏿‍🚀"),
        ("👨‍👩‍👧", "👨‍👨‍👦"),
        ("👵", "👴"),
        ("👍🏻", "👍"),
    ],
)
def test_twins_have_one_base(one: str, other: str) -> None:
    assert bench.base(one) == bench.base(other)


def test_what_is_no_twin_keeps_its_own_base() -> None:
    keys = ["👩‍🚀", "👩‍🚒", "👩", "👧", "🐱", "🐶", "♀", "♂", "❤", "sparrow"]
    assert len({bench.base(key) for key in keys}) == len(keys)


def test_questions_whose_twin_was_learned_are_left_out_of_their_row(mixture: Mixture) -> None:
    learned, held = mixture.shown[2][0].item(), mixture.held_out[3].choices[0].item()
    keys = list(mixture.keys)
    keys[int(learned)], keys[int(held)] = "👨‍🚀", "👩🏽‍🚀"
    rows = table(Oracle({}), replace(mixture, keys=tuple(keys)))
    assert rows["new signs, one picture of each, R@10"][:2] == ["3", "3"]
    assert rows["new signs, one picture of each, no twin learned, R@10"][:2] == ["2", "3"]


# --- photographs, and a head ----------------------------------------------------------------------


class Names:
    """A classifier that reads the file's name, but takes a cup of coffee for a pizza."""

    def __init__(self, model: object, labels: list[str], cache: object) -> None:
        self.labels = labels

    def classify(self, path: Path) -> SimpleNamespace:
        assert path.is_file()
        language = 0 if "cat" in self.labels else 1
        name = bench.PHOTOS[path.name][language]
        wrong = (list(bench.OTHERS)[2], list(bench.OTHERS.values())[2])[language]
        label = wrong if path.name == "coffee.png" else name
        assert label in self.labels
        return SimpleNamespace(label=label, score=0.5)


def test_photographs_are_asked_in_both_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "ZeroShotClassifier", Names)
    lines = list(bench.photographs(Oracle({})))
    gone = [line for line in lines if "is not here" in line]
    there = len(bench.PHOTOS) - len(gone)
    (english,) = [line for line in lines if line.startswith("photographs") and "English" in line]
    (korean,) = [line for line in lines if line.startswith("photographs") and "Korean" in line]
    assert english.endswith(f": {there - 1} of {there}") and f"of {8 + 6} labels" in korean
    assert "  coffee.png           pizza 50%, but: cup of coffee" in lines
    assert "  chelsea.png          고양이 50%, right" in lines
    assert len(lines) == len(gone) + 2 * (there + 1)


def test_a_photograph_that_is_not_there_is_said_and_four_must_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench, "ZeroShotClassifier", Names)
    monkeypatch.setitem(bench.PHOTOS, "nobody.png", ("nobody", "아무도"))
    lines = list(bench.photographs(Oracle({})))
    assert "  nobody.png           is not here, and nothing is asked about it" in lines
    monkeypatch.setattr(bench, "DEMANDED", ("nobody.png",))
    with pytest.raises(NotHere, match=r"lacks nobody\.png"):
        list(bench.photographs(Oracle({})))
