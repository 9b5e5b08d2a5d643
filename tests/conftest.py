"""What holds for every test: it draws the same numbers each time, reports nothing to anyone, and
the run ends when the tests have.

Libraries count their uses by asking a server, without a time limit. Where such a request neither
gets through nor is refused, its thread stays for ever.
"""

import faulthandler
import os
import signal
import sys
import threading

import pytest
import torch
from hypothesis import HealthCheck, settings

# Read when the libraries are imported, so before any test is.
os.environ.update(
    HF_HUB_DISABLE_TELEMETRY="1", GRADIO_ANALYTICS_ENABLED="False", DISABLE_TELEMETRY="YES"
)

# The same examples in every run, however slow the machine is.
settings.register_profile(
    "mmfm", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mmfm")

# A shell that puts the tests into the background has them ignore Ctrl-C, and they would hand that
# on to the programs that they start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

PATIENCE = 60.0  # seconds for the process to end after its last test
STATUS = pytest.StashKey[int]()


@pytest.fixture(autouse=True)
def drawn_anew() -> None:
    """What fails once, fails again: also where a test makes weights without naming a seed."""
    torch.manual_seed(0)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[STATUS] = int(exitstatus)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Should something keep the process from ending, say what, and end it as the tests did."""
    if hasattr(config, "workerinput"):
        return  # one of several at work: it is ended by the one that asked it
    status = config.stash.get(STATUS, 1)

    def end() -> None:
        names = ", ".join(t.name for t in threading.enumerate() if t is not timer)
        print(f"the tests are over, but these threads are not: {names}", file=sys.__stderr__)
        faulthandler.dump_traceback(sys.__stderr__)
        sys.stdout.flush()
        os._exit(status)

    timer = threading.Timer(PATIENCE, end)
    timer.daemon = True
    timer.start()
