"""Long work tells how far it is, how fast it goes and what is left; a stop stops it."""

import shlex
import signal
from pathlib import Path

import pytest

from mmfm.faces import Pace, TrainingScreen, stopping
from mmfm.reports import Report
from mmfm.train import Step


def test_a_pace_is_told_when_it_is_known_and_not_before():
    now = [100.0]
    pace = Pace(lambda: now[0])
    assert pace.told(0, 1000) == ""
    now[0] = 101.0
    assert pace.told(50, 1000) == ""
    now[0] = 110.0
    assert pace.told(500, 1000) == ", 50/s, 0:10 left"
    now[0] = 200.0
    assert pace.told(600, 4000) == ", 6.0/s, 9:27 left"


def test_a_run_that_goes_on_counts_from_where_it_began():
    now = [0.0]
    pace = Pace(lambda: now[0])
    pace.told(40_000, 100_000)
    now[0] = 10.0
    assert pace.told(40_100, 100_000) == ", 10/s, 1:39:50 left"


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_a_question_to_who_asks_it_and_breaks_what_does_not(kind: signal.Signals):
    before = signal.getsignal(kind)
    with pytest.raises(KeyboardInterrupt), stopping():
        signal.raise_signal(kind)  # nobody has asked: something is loaded, or waited for
    with stopping() as stop:
        assert not stop()
        signal.raise_signal(kind)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(kind)
    assert signal.getsignal(kind) == before


def test_the_command_that_goes_on_can_be_copied_whatever_the_folder_is_called(
    capsys: pytest.CaptureFixture[str],
):
    out = Path("runs of 'mine'; $HOME")
    screen = TrainingScreen("mmfm train vit", out, bool, use="", live=False, silent=False)
    screen.show(Report(Step(3, 1.0, 0.1, 9.0, 1.0, 1.0, progress=0.5, epoch=1.0), {}, 0))
    screen.conclude()
    command = capsys.readouterr().out.splitlines()[-1]
    assert shlex.split(command) == ["mmfm", "train", "vit", "--out", str(out), "--resume"]
