"""benchmarks/pages_frames.py: what it makes of the moments that it has noted."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import pages_frames as bench
import pages_served

from mmfm.tasks.studio import Choice, Studio


@pytest.mark.parametrize(
    ("moments", "frames"), [([0, 100, 200, 300], 10), ([50, 75], 40), ([7], 0), ([], 0)]
)
def test_frames_are_counted_between_the_first_and_the_last(
    moments: list[float], frames: float
) -> None:
    assert bench.rate(moments) == frames


@pytest.mark.parametrize(
    ("values", "stops", "says"),
    [
        ([9, 12, 30], False, "  12.0/s (9.0 to 30.0)     kept: at least 10/s"),
        ([30, 9.9, 1], False, "   9.9/s (1.0 to 30.0)     MISSED: at least 10/s"),
        ([0.1, 0.2, 5], True, "  0.20 s (0.10 to 5.00)    kept: within 1 s"),
        ([0.1, 2, 5], True, "  2.00 s (0.10 to 5.00)    MISSED: within 1 s"),
    ],
)
def test_the_median_keeps_the_promise_or_does_not(
    values: list[float], stops: bool, says: str
) -> None:
    assert bench.line("a page", values, stops=stops) == f"{'a page':52}{says}"


def test_all_that_streams_is_measured() -> None:
    assert list(bench.PARTS) == ["denoise", "plane", "studio"]


def test_pages_that_end_at_once_say_why_and_leave_nothing_running() -> None:
    with (
        pytest.raises(SystemExit, match=r"mmfm demo ended at once: mmfm: .*nowhere"),
        pages_served.serving("nowhere"),
    ):
        pass


def test_a_run_that_nobody_watches_any_longer_is_ended(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    name = studio.start(Choice("digits", minutes=1.0), device="cpu")
    pages_served.end_trainings(tmp_path)
    assert studio.training() is None and studio.status(name).state == "stopped"
