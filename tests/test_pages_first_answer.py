"""benchmarks/pages_first_answer.py: no page is forgotten, and what is measured is told as it is."""

import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import pages_first_answer as bench


def tour(tmp_path: Path) -> bench.Tour:
    """One that starts no pages: there is nothing to measure."""
    return bench.Tour(None, tmp_path, None, runs=1)


def test_every_page_has_its_visits_and_no_visit_is_to_a_page_that_went() -> None:
    assert bench.models_of_pages(None).keys() == bench.VISITS.keys()
    assert all(visit.steps for visits in bench.VISITS.values() for visit in visits)


def test_each_page_begins_with_a_model_that_is_bundled_unless_it_makes_its_own() -> None:
    models = bench.models_of_pages("mnist-nano")
    assert models["denoise"] == "mnist-nano"
    assert models["patches"] and models["zero_shot"] == models["meaning_map"] == models["photos"]
    assert [models[page] for page in bench.MODELLESS] == [None]


def test_a_page_that_is_not_measured_is_named_with_the_reason(tmp_path: Path) -> None:
    for page, model, why in (
        ("a_new_page", "clip-shapes", "says nothing of it"),
        ("text_to_picture", None, "no model that it runs is here"),
        ("photos", "clip-shapes", "nobody but a browser"),
    ):
        [told] = tour(tmp_path).lines(page, page, model)
        assert told.startswith(f"{page} ") and "not measured" in told and why in told


def test_medians_are_taken_step_by_step_and_the_first_answer_decides() -> None:
    runs = [
        [[1.0, 1.5, 9.0], [1.0, 2.5, math.nan]],
        [[3.0, 0.5, 8.0], [3.0, math.inf, math.nan]],
        [[2.0, 1.75, 7.0], [2.0, 2.25, math.nan]],
    ]
    quick, slow = bench.rows_of("photos", "clip-shapes", ["seen", "found"], runs)
    assert (quick.stands, quick.first, quick.second) == (2.0, 1.5, 8.0)
    assert (slow.stands, slow.first) == (2.0, 2.5)
    assert bench.line(quick).split()[-7:] == ["2.00", "s", "1.50", "s", "8.00", "s", "kept"]
    assert bench.line(slow).split()[-6:] == ["2.00", "s", "2.50", "s", "-", "missed"]
    [never] = bench.rows_of("photos", None, ["seen"], [[[1.0, math.inf, math.inf]]])
    assert bench.line(never).endswith("over 120 s  missed")
    assert "over 120 s" in bench.line(never) and never.model == "-"


def test_a_page_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(SystemExit, match=r"no page nowhere; there are: patches, .*photos"):
        bench.main(["--pages", "patches", "nowhere"])


def test_a_model_that_is_not_here_is_refused_before_anything_is_started() -> None:
    with pytest.raises(SystemExit, match="no-such-model"):
        bench.main(["--model", "no-such-model"])


def test_its_help_says_what_is_measured_and_names_every_option(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="0"):
        bench.main(["--help"])
    said = capsys.readouterr().out
    for part in ("--runs", "--pages", "--model", "--no-browser", "stands", "first", "second"):
        assert part in said


def test_pages_are_started_as_a_person_does_and_a_script_gets_two_answers(tmp_path: Path) -> None:
    photos = bench.write_photographs(tmp_path / "photos", 1, (64, 48))
    with bench.serving("--allow", str(photos[0].parent)) as served:
        [[stands, *answers]] = bench.by_script("patches", photos[0], served)
    assert math.isnan(stands) and len(answers) == 2 and min(answers) > 0
