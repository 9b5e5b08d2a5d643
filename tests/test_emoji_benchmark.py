"""benchmarks/emoji_nano.py: what it counts, it counts right."""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mixtures import SIGNS, SIZE, make_sources, tables
from PIL import Image

from mmfm.data.kinds import Kind
from mmfm.data.mixture import load_mixture
from mmfm.errors import BadInput
from mmfm.models.ruler import Ruler, RulerConfig
from mmfm.recipes import read_sources

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import emoji_nano as bench

THINGS = (*bench.COMPOSITIONS, *bench.CONTROLS)


def answered(path: Path, say: dict[int, tuple[str, str]] | None = None) -> list[str]:
    """What is counted where somebody saw what was asked for, but for some numbers."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["number", "colour", "thing"])
        for number, cell in enumerate(bench.cells(), start=1):
            table.writerow([number, *(say or {}).get(number, cell.thing[1:])])
    return list(bench.counted(path))


def test_the_order_of_the_sheets_is_fixed_and_tells_nothing() -> None:
    cells = bench.cells()
    assert cells == bench.cells() and len(set(cells)) == len(cells) == len(THINGS) * bench.EACH
    assert [cell.composed for cell in cells].count(True) == len(bench.COMPOSITIONS) * bench.EACH
    first = [cell.composed for cell in cells[:48]]
    assert 12 < sum(first) < 36
    colours = {colour for _, colour, _ in bench.CONTROLS}
    for _, colour, thing in bench.COMPOSITIONS:  # each is known, apart from the other
        assert colour in colours | {"white"} and thing in {t for _, _, t in bench.CONTROLS}
    names = [one.names for one in bench.read_judged()]
    assert len(names) == bench.COUNT == len({name["en"] for name in names})


def test_right_answers_are_counted_right(tmp_path: Path) -> None:
    lines = answered(tmp_path / "answers.csv")
    shares = [
        line.split() for line in lines if line.strip().startswith(("colour ", "thing ", "both"))
    ]
    shares = [words for words in shares if words[1].endswith("%")]
    assert [words[0] for words in shares] == ["colour", "thing", "both"] * 2
    assert {words[1] for words in shares} == {"100.0%"}
    # Five of nine are hearts, two are orange: so often any order would be right.
    chances = [float(words[-1].rstrip("%")) / 100 for words in shares]
    for part in (0, 1):
        said = [one[part + 1] for one in bench.COMPOSITIONS]
        expected = sum(said.count(word) ** 2 for word in set(said)) / len(said) ** 2
        assert chances[part] == pytest.approx(expected, abs=1e-3)
    assert chances[2] == pytest.approx(1 / 9, abs=1e-3)


def test_wrong_answers_stand_where_they_belong(tmp_path: Path) -> None:
    cells = bench.cells()
    orange = [n for n, c in enumerate(cells, start=1) if c.thing[1:] == ("orange", "heart")]
    wrong = dict.fromkeys(orange[:6], ("Red ", "heart")) | {orange[6]: ("", "")}
    lines = answered(tmp_path / "answers.csv", wrong)
    assert lines[0] == "held out, 72 pictures of 9 things"
    assert lines[1].split()[1] == f"{65 / 72:.1%}" and lines[2].split()[1] == f"{71 / 72:.1%}"
    header = next(line for line in lines if "colour asked for" in line).split()[3:]
    row = next(line for line in lines if line.strip().startswith("orange"))
    counts = dict(zip(header, map(int, row.split()[1:]), strict=True))
    assert counts["red"] == 6 and counts["(nothing)"] == 1 and sum(counts.values()) == 16
    (tmp_path / "few.csv").write_text("number,colour,thing\n1,red,heart\n")
    with pytest.raises(BadInput, match="no line for number 2; there are 160"):
        list(bench.counted(tmp_path / "few.csv"))
    (tmp_path / "other.csv").write_text("number,color\none,red\n")
    with pytest.raises(BadInput, match="not a table of number,colour,thing"):
        list(bench.counted(tmp_path / "other.csv"))
    with pytest.raises(BadInput, match="--sheet writes one"):
        list(bench.counted(tmp_path / "none.csv"))


def test_sheets_are_numbered_and_do_not_say_what_was_asked_for(tmp_path: Path) -> None:
    images = {
        cell: torch.full((32, 32, 3), 10 * cell.which, dtype=torch.uint8) for cell in bench.cells()
    }
    written = bench.write_sheets(images, tmp_path / "sheet.png")
    assert [path.name for path in written] == [
        "sheet-1.png", "sheet-2.png", "sheet-3.png", "sheet-4.png", "sheet.csv",
    ]  # fmt: skip
    sheet = Image.open(written[1])
    for place, cell in enumerate(bench.cells()[48:96]):
        y, x = place // 8 * (128 + 26) + 18 + 64, place % 8 * 136 + 68
        assert sheet.getpixel((x, y)) == (10 * cell.which,) * 3
    lines = written[-1].read_text().splitlines()
    assert lines[0] == "number,colour,thing" and lines[-1] == "160,,"
    written[-1].write_text("begun")  # what somebody has begun to write is not written over
    bench.write_sheets(images, tmp_path / "sheet.png")
    assert written[-1].read_text() == "begun"
    bench.write_grid(images, tmp_path / "grid.png")
    assert Image.open(tmp_path / "grid.png").width > 600


def test_what_nobody_could_copy_is_by_hands_that_are_no_forks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_sources(tmp_path)
    recipe = tables(folder, hold_kinds=0, hold_hands=["chalk", "pen"])[2:]
    mixture = load_mixture(read_sources(recipe), folder, size=SIZE)
    assert mixture.drawers == ("brush",)
    both = bench.never_learned(mixture)
    assert {both.drawers[hand] for hand in both.hands.tolist()} == {"chalk", "pen"}
    monkeypatch.setattr(bench, "FORKS", {"brush": "pen"})
    one = bench.never_learned(mixture)
    assert {one.drawers[hand] for hand in one.hands.tolist()} == {"chalk"}
    assert len(one.images) == len(one.kinds) == 12  # chalk has drawn all
    assert (one.images[:, -1, -1, 0].float() / 10).round().long().tolist() == [
        next(number for number, name, *_ in SIGNS if name == mixture.kinds[kind].names["en"][0])
        for kind in one.kinds.tolist()
    ]


def test_a_judge_is_asked_among_the_hundred_alone() -> None:
    names = [one.names["en"] for one in bench.read_judged()]
    labels = ("something else", *reversed(names), "another")
    ruler = Ruler(RulerConfig(image_size=16, channels=3, classes=len(labels)), labels)
    with torch.no_grad():
        ruler.head.bias.zero_()
        ruler.head.bias[0] = 9.0  # what is not asked for would win
        ruler.head.bias[labels.index(names[7])] = 5.0
    judge = bench.Judge(ruler, bench.read_judged())
    assert judge.named(torch.zeros(3, 32, 32, 3, dtype=torch.uint8)).tolist() == [7, 7, 7]
    with pytest.raises(BadInput, match="knows no 'lotion bottle'"):
        bench.Judge(Ruler(RulerConfig(channels=3, classes=2), ("a", "b")), bench.read_judged())
    with pytest.raises(BadInput, match="not brought to 16"):
        bench.shrunk(torch.zeros(1, 20, 20, 3, dtype=torch.uint8), 16)


def test_smaller_pictures_are_means_and_distances_are_in_levels() -> None:
    images = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    small = bench.shrunk(images, 16)
    mean = images[2, 4:6, 8:10, 1].float().mean().round()
    assert small[2, 2, 4, 1] == mean
    assert torch.equal(bench.shrunk(small, 16), small)
    darker = bench.pixels(small) - bench.pixels((small.float() * 0).byte())
    level = small[1].double().square().mean().sqrt()
    assert float(darker[1].norm()) == pytest.approx(float(level), rel=1e-5)


def test_a_copy_that_is_moved_by_a_pixel_is_a_copy() -> None:
    learned = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    several = list(bench.moved(learned))
    assert len(several) == 9 and sum(torch.equal(some, learned) for some in several) == 1
    rows, of = torch.cat([bench.pixels(some) for some in several]), torch.arange(3).repeat(9)
    copied = torch.full_like(learned[1:2], 255)
    copied[:, 1:, :-1] = learned[1:2, :-1, 1:]
    everywhere = torch.ones(27, dtype=torch.bool)
    where_it_lies = torch.arange(27) // 3 == 4
    for whose in ("the same emoji", "any emoji"):
        for among, copy in ((everywhere, True), (where_it_lies, False)):
            found = bench.distances(bench.pixels(copied), torch.tensor([1]), rows, of, among)
            assert (float(found[whose]) == 0.0) == copy


def test_compositions_are_named_among_all_things_of_the_sheets(tmp_path: Path) -> None:
    names = [f"{colour} {thing}" for _, colour, thing in THINGS]
    kinds = tuple(Kind({"en": (name,), "ko": (name,)}, {}) for name in names)
    folder = make_sources(tmp_path)
    some = load_mixture(read_sources(tables(folder)[2:]), folder, size=SIZE)
    mixture = replace(some, kinds=kinds, keys=tuple(emoji for emoji, *_ in THINGS))
    ruler = Ruler(RulerConfig(image_size=16, channels=3, classes=len(names)), tuple(names))
    with torch.no_grad():
        ruler.head.bias.zero_()
        ruler.head.bias[2] = 9.0  # whatever it sees it calls the third composition
    images = {cell: torch.zeros(32, 32, 3, dtype=torch.uint8) for cell in bench.cells()}
    _, held_out, learned = bench.judged_composed(ruler, mixture, images)
    assert held_out.count(f"{1 / len(bench.COMPOSITIONS):.1%} (") == 2
    assert learned.count("0.0% (") == 2


def test_an_interval_draws_names_anew() -> None:
    right = torch.zeros(5, 20, dtype=torch.bool)
    right[:, :10] = True  # each name always or never: five pictures of it say no more than one
    share, low, high = bench.interval_of(right)
    assert share == 0.5 and low < 0.32 and high > 0.68
    mixed = (torch.arange(5)[:, None] + torch.arange(20)) % 2 == 0
    share, low, high = bench.interval_of(mixed)
    assert share == 0.5 and high - low < 0.1  # every name nearly as often
    share, low, high = bench.interval_of(torch.ones(5, 20, dtype=torch.bool))
    assert share == high == 1 and 0.8 < low < 0.9  # of twenty names, not of a hundred pictures
