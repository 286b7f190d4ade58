"""For all tests: a limit for each, and a note of the one that runs, so that whatever hangs has a name."""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from pyteamd.runners.base import Runner

LIMIT_S = 120
"""No test of `make check` takes a second, no other half of this on a busy machine."""
LONGER = 20
"""Times the limit where PYTEAMD_LONG asks for the long forms, in QEMU, and for tests that boot guests or are marked slow."""
LAST_RESORT_S = 30
"""Who does not heed the alarm (blocked in a library) is ended with all its process, the place printed."""
ARMED_AGAIN_S = 10
"""How old the last resort may be when a test begins: a thread is made and ended for it, which costs more than most tests do."""
ARMED = [0.0, 0]
"""When that was, and the limit."""
ERRORS = [2]
"""The real standard error: what a test says there is captured."""


def pytest_configure() -> None:
    """Nothing is captured yet."""
    ERRORS[0] = os.dup(2)


Runner.faults_are_fatal = True


def pytest_collection_finish() -> None:
    """What is there now stays: no collection in a test needs to look at it. And collections are rarer: a tenth of the time of all tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


class TookTooLong(BaseException):
    """No `except Exception` of a test stops it."""


def limit_of(item: pytest.Item) -> int:
    """Seconds that a test may take, its fixtures not included."""
    long = os.environ.get("PYTEAMD_LONG") or os.environ.get("LAB_WORLD") == "qemu"
    long = long or item.get_closest_marker("slow") or item.get_closest_marker("lab")
    return LIMIT_S * (LONGER if long else 1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Write down which test runs, where the runner of the parts looks when this process does not come back."""
    if place := os.environ.get("PYTEAMD_RUNNING"):
        Path(place).write_text(item.nodeid)
    limit_s, now = limit_of(item), time.monotonic()
    if limit_s != ARMED[1] or now - ARMED[0] > ARMED_AGAIN_S:
        ARMED[:] = now, limit_s
        faulthandler.dump_traceback_later(2 * limit_s + LAST_RESORT_S + ARMED_AGAIN_S, exit=True, file=ERRORS[0])
    return (yield)


def pytest_unconfigure() -> None:
    """All tests have ended."""
    faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Raise in the test when its time is up."""
    limit_s = limit_of(item)

    def up(number: int, frame: FrameType | None) -> None:
        os.write(ERRORS[0], f"\nHANGS: {item.nodeid}, more than {limit_s} s\n".encode())
        raise TookTooLong(f"{item.nodeid} takes more than {limit_s} s")

    before = signal.signal(signal.SIGALRM, up)
    signal.alarm(limit_s)
    try:
        return (yield)
    except TookTooLong as problem:
        raise AssertionError(str(problem)) from problem
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        logging.setLogRecordFactory(logging.LogRecord)  # a daemon's records know less than pytest shows of them
        be_ordinary()


def be_ordinary() -> None:
    """A start within the process asks for real-time scheduling, and is not the end of it here.

    The tests behind it would be real-time, too; two such processes that wait for threads with a clock that jumps have both processors
    until the kernel's bound on real-time scheduling is met.
    """
    if os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK in (os.SCHED_FIFO, os.SCHED_RR):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
