"""A model that draws leaves sheets as it learns, which cost little of its time, and films."""

import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from mmfm.reports import Snapshots, drawn_reports, reports, snapshots_in
from mmfm.runs import Run
from mmfm.train import Step


class Pen:
    """Draws a sheet in a shade lighter than the last, and takes its time."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.sheets = seconds, 0

    def sheet(self) -> Image.Image:
        time.sleep(self.seconds)
        self.sheets += 1
        return Image.new("L", (4, 4), self.sheets)

    def way(self) -> list[Image.Image]:
        return [Image.new("L", (4, 4), shade) for shade in (0, 128, 255)]


def steps(first: int = 1, last: int = 1000, seconds: float = 1000.0) -> Iterator[Step]:
    """Steps of a training of a thousand that seems to take so many seconds."""
    for number in range(first, last + 1):
        done = number / 1000
        yield Step(
            number=number,
            loss=1.0,
            rate=1.0,
            examples_per_second=1.0,
            seconds=seconds * done,
            seconds_left=seconds * (1 - done),
            progress=done,
            epoch=0.0,
            last=number == last,
        )


def drawn(folder: Path, pen: Pen, **which: int) -> list[int]:
    """Follow these steps; after which of them there is a sheet."""
    resumed = (folder / "run.json").exists()
    run = Run.resume(folder, "test") if resumed else Run.start(folder, {"train": "test"})
    with run:
        for _ in drawn_reports(steps(**which), run, drawings=pen, save=lambda: None):
            pass
    return sorted(int(path.stem) for path in (folder / "grids").glob("*.png"))


def test_sheets_come_every_few_per_cent_and_more_closely_at_first(tmp_path: Path) -> None:
    sheets = drawn(tmp_path / "run", Pen(0.0))
    gaps = [later - earlier for earlier, later in pairwise(sheets)]
    assert sheets[0] == 1 and sheets[-1] == 1000 and 35 <= len(sheets) <= 60
    assert max(gaps) <= 26 and gaps[0] < 5


def test_dear_sheets_are_fewer_so_that_they_cost_a_small_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pen = Pen(0.0)
    clock = SimpleNamespace(monotonic=lambda: 0.02 * pen.sheets)  # a sheet takes so long
    monkeypatch.setattr("mmfm.reports.time", clock)
    sheets = drawn(tmp_path / "run", pen, seconds=10)
    assert 5 <= len(sheets) <= 0.04 * 10 / 0.02 + 1
    assert sum(number <= 500 for number in sheets) <= 0.8 * len(sheets)


def test_films_show_all_sheets_and_the_way_and_are_made_when_it_is_stopped(tmp_path: Path) -> None:
    pen = Pen(0.0)
    sheets = drawn(tmp_path / "run", pen, last=300)
    with Image.open(tmp_path / "run" / "learning.gif") as film:
        assert film.n_frames == len(sheets) == pen.sheets
        film.seek(film.n_frames - 1)
        assert film.convert("L").getpixel((0, 0)) == pen.sheets
    with Image.open(tmp_path / "run" / "steps.gif") as film:
        assert film.n_frames == 3


def test_a_run_that_goes_on_from_before_draws_again_what_came_after(tmp_path: Path) -> None:
    run = tmp_path / "run"
    before = drawn(run, Pen(0.0), last=300)
    (run / "grids" / ".0123.part").write_bytes(b"half")
    after = drawn(run, Pen(0.0), first=101, last=200)
    assert [n for n in after if n <= 100] == [n for n in before if n <= 100]
    assert max(after) == 200
    assert not list(run.rglob("*.part"))


def test_a_film_of_very_many_sheets_stays_short_and_ends_with_the_last(tmp_path: Path) -> None:
    run = tmp_path / "run"
    drawn(run, Pen(0.0), last=1)
    for number in range(2, 500):
        Image.new("L", (4, 4), number % 200).save(run / "grids" / f"{number:06}.png")
    drawn(run, Pen(0.0), first=500, last=500)
    with Image.open(run / "learning.gif") as film:
        assert 60 <= film.n_frames <= 120


# --- the model as it was --------------------------------------------------------------------------


def kept(folder: Path, room: int, *, size: int = 100, **which: int) -> list[int]:
    """Follow these steps with snapshots of so many bytes each; of which steps there is one."""

    def save(path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        (path / "model.safetensors").write_bytes(bytes(size))

    resumed = (folder / "run.json").exists()
    run = Run.resume(folder, "test") if resumed else Run.start(folder, {"train": "test"})
    with run:
        snapshots = Snapshots(run, save, room)
        reports = drawn_reports(
            steps(**which), run, drawings=Pen(0.0), save=lambda: None, snapshots=snapshots
        )
        for _ in reports:
            taken = sum(p.stat().st_size for p in (folder / "snapshots").rglob("*.safetensors"))
            assert taken <= max(room, 2 * size)
    return list(snapshots_in(folder / "snapshots"))


def test_snapshots_take_no_more_room_than_is_granted_and_are_spread(tmp_path: Path) -> None:
    several = kept(tmp_path / "run", 1000)
    assert len(several) == 10 and several[0] == 1 and several[-1] == 1000
    gaps = [later**0.5 - earlier**0.5 for earlier, later in pairwise(several)]
    assert max(gaps[:-1]) < 4 * min(gaps[:-1])  # the last one is kept wherever it is
    everything = kept(tmp_path / "large", 10**9)
    assert everything == sorted(int(p.stem) for p in (tmp_path / "large" / "grids").glob("*.png"))
    assert kept(tmp_path / "none", 1) == [1, 1000]


def test_snapshots_of_a_way_that_is_not_gone_on_with_are_taken_away(tmp_path: Path) -> None:
    run = tmp_path / "run"
    before = kept(run, 10**9, last=300)
    half = run / "snapshots" / "000050"  # a kill left it without its weights
    half.mkdir()
    (half / "config.json").write_text("{}")
    after = kept(run, 10**9, first=101, last=200)
    assert [n for n in after if n <= 100] == [n for n in before if n <= 100]
    assert max(after) == 200 and not half.exists()


def test_films_are_made_at_the_end_only_of_a_run_that_stops_and_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    kept(run, 10**9, last=300)
    assert not (run / "learning.gif").exists() and (run / "grids" / "000300.png").exists()
    kept(run, 10**9, first=301)
    assert (run / "learning.gif").exists() and (run / "steps.gif").exists()


def test_a_run_that_goes_on_draws_no_sheet_at_once(tmp_path: Path) -> None:
    run = tmp_path / "run"
    drawn(run, Pen(0.0), last=500)
    sheets = drawn(run, Pen(0.0), first=501, last=503)
    assert 501 not in sheets and sheets[-1] == 503


# --- looking at what is held out ------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "share"), [(1000.0, 0.05), (10_000.0, 0.02)])
def test_looking_costs_a_small_share_and_a_smaller_one_of_hours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, share: float
) -> None:
    now = 0.0
    monkeypatch.setattr("mmfm.reports.time", SimpleNamespace(monotonic=lambda: now))

    def measure(count: int) -> dict[str, float]:
        nonlocal now
        now += 0.001 * seconds
        return {"accuracy": count / 5000}

    def trained() -> Generator[Step]:
        nonlocal now
        for step in steps(seconds=seconds):
            now += 0.001 * seconds
            yield replace(step, saved=True)

    with Run.start(tmp_path / "run", {"train": "test"}) as run:
        monkeypatch.setattr("mmfm.reports._publish", lambda run, save: None)
        looks = [
            report.step.number
            for report in reports(trained(), run, measure=measure, held_out=5000, save=lambda: None)
            if report.scores
        ]
    assert looks[0] == 1 and looks[-1] == 1000
    assert len(looks) == pytest.approx(share * 1000, rel=0.1)
