"""Work beside the caller: in order, a few batches ahead, ended when the caller ends."""

import io
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
import torch
from nasty import photo, saved
from PIL import Image

from mmfm.data.loading import in_order, prepared
from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadInput

PREPARE = Preprocessing((32, 32), (0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize("ahead", [0, 1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 40])
def test_results_come_in_the_order_of_the_items(count: int, ahead: int):
    def work(number: int) -> int:
        time.sleep((number * 7 % 5) / 2000)  # the later ones are often done first
        return number * number

    batches = list(in_order(work, iter(range(count)), batch=4, threads=3, ahead=ahead))
    assert all(results == [n * n for n in items] for items, results in batches)
    assert [n for items, _ in batches for n in items] == list(range(count))
    assert [len(items) for items, _ in batches[:-1]] == [4] * max(0, len(batches) - 1)


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_no_more_is_begun_than_was_agreed(ahead: int):
    begun: list[int] = []
    for done, (items, _) in enumerate(in_order(begun.append, range(100), batch=5, ahead=ahead), 1):
        time.sleep(0.005)
        assert len(items) == 5 and len(begun) <= 5 * (done + ahead)


def test_the_next_batches_are_worked_on_while_the_caller_is_busy():
    done = [threading.Event() for _ in range(12)]
    batches = in_order(lambda n: done[n].set(), range(12), batch=4, threads=2)
    next(batches)
    assert all(event.wait(10) for event in done)


def test_with_none_ahead_the_caller_works_alone():
    working = 0

    def work(_: int) -> None:
        nonlocal working
        working += 1

    for turn, _ in enumerate(in_order(work, range(20), batch=5, threads=2, ahead=0), 1):
        time.sleep(0.02)
        assert working == 5 * turn


def test_an_endless_stream_takes_no_more_memory_as_it_goes_on():
    def endless():
        while True:
            yield 100_000

    tracemalloc.start()
    peaks = []
    for turn, _ in enumerate(in_order(bytes, endless(), batch=8, threads=2)):
        if turn in (20, 200):
            peaks.append(tracemalloc.get_traced_memory()[1])
        if turn == 200:
            break
    tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.5 and peaks[1] < 100_000 * 8 * 5


def test_what_the_work_raises_is_raised_in_its_turn_and_the_threads_end():
    def work(number: int) -> int:
        if number == 5:
            raise RuntimeError("the sixth")
        return number

    got = []
    with pytest.raises(RuntimeError, match="sixth"):
        for items, _ in in_order(work, range(100), batch=2, threads=2):
            got += items
    assert got == [0, 1, 2, 3]
    assert _threads() == 0


def test_who_stops_early_waits_for_what_has_begun_only():
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        time.sleep(0.02 if number >= 4 else 0)

    batches = in_order(work, range(10_000), batch=4, threads=2, ahead=100)
    next(batches)
    start = time.perf_counter()
    batches.close()
    assert time.perf_counter() - start < 1 and len(begun) < 50 and _threads() == 0


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"threads": 0}, {"ahead": -1}])
def test_what_cannot_be_is_refused_at_once(wrong: dict[str, int]):
    with pytest.raises(BadInput, match="at least"):
        in_order(str, [1], **{"batch": 1, **wrong})


def test_a_file_its_bytes_and_the_opened_picture_give_one_tensor(tmp_path: Path):
    file = tmp_path / "a.jpg"
    file.write_bytes(saved(photo(500, 400), "JPEG"))
    with Image.open(file) as picture:
        plain = PREPARE(picture)
    for given in (file, str(file), file.read_bytes()):
        assert torch.equal(prepared(given, PREPARE, exact=True), plain)
        quick = prepared(given, PREPARE)
        assert 0 < (quick - plain).abs().mean() * 127.5 < 1
    assert torch.equal(prepared(Image.open(io.BytesIO(file.read_bytes())), PREPARE), plain)


def test_what_cannot_be_read_is_said_without_the_path(tmp_path: Path):
    (tmp_path / "text.jpg").write_text("no")
    assert prepared(tmp_path / "text.jpg", PREPARE).startswith("not a picture")
    assert prepared(str(tmp_path / "gone.jpg"), PREPARE) == "no such file"
    assert prepared(tmp_path, PREPARE) == "this is a folder, not a picture"
    assert prepared(b"", PREPARE) == "the file is empty"
    assert "not int" in prepared(3, PREPARE)


def _threads() -> int:
    return sum(thread.name.startswith("mmfm-loading") for thread in threading.enumerate())
