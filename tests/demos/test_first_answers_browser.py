"""benchmarks/pages_first_answer.py in a real browser: every visit finds what it waits for."""

import math
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
import visitors
import word_models
from mmfm.demos import app
from mmfm.demos.page import Context
from playwright.sync_api import Browser

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import pages_first_answer as bench

pytestmark = visitors.NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Generator[bench.Served]:
    """All pages, with a folder of photographs, and a small model that reads words."""
    model = word_models.save_both(tmp_path_factory.mktemp("words"))
    photos = tmp_path_factory.mktemp("photos") / "few"
    bench.write_photographs(photos, 3, (64, 48))
    own = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch, app.private_gradio():
        for what in ("cache", "store", "runs", "data"):
            patch.setenv(f"MMFM_{what.upper()}", str(own / what))
        pages = app.build(Context("cpu", str(model), allow=(photos,)))
        with visitors.serving(pages) as address:
            yield bench.Served(f"{address}/", 0.0, own / "runs")
        bench.end_trainings(own / "runs")


@pytest.mark.parametrize("page", bench.VISITS)
def test_two_visitors_get_every_answer_of_a_page(
    page: str, browser: Browser, served: bench.Served
) -> None:
    path = "" if page == next(iter(bench.VISITS)) else page
    for visit in bench.VISITS[page]:
        answers = bench.in_browser(browser, path, visit, served)
        assert len(answers) == len(visit.steps)
        for step, (stands, first, second) in zip(visit.steps, answers, strict=True):
            assert math.isfinite(stands) and math.isfinite(first), step
            assert math.isnan(second) if step.once else math.isfinite(second), step
        bench.end_trainings(served.runs)


def test_an_answer_that_never_comes_is_told_and_ends_the_visit(
    browser: Browser, served: bench.Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "PATIENCE", 1.0)
    visit = bench.Visit((bench.Step("nothing", "#nowhere"), bench.Step("more", "#nowhere")))
    _, answers = bench.visited(browser, served.address, visit)
    assert answers == [math.inf, math.inf]
