"""Real-time scheduling: LACPDUs on time, and a fail-over at once, on a machine that is busy with something else.

A start of the daemon asks for SCHED_RR, priority 2: as its first act, because importing may take seconds on a busy machine, and again in
each process and thread that goes on from there, because SCHED_RESET_ON_FORK makes every child and every thread an ordinary one. Where
we were started with a real-time class already, it stays.

Threads that help for a moment (they look up a host name, import a module) have priority 1. The event loop takes the processor from them,
but not the interpreter's lock: were they ordinary ones, the loop would have to wait until a busy machine lets them run and give it back.
And they give it back at once, not after the 5 ms that are usual. What may compute for long (a user's text) is done by an ordinary thread:
it could meet the bound below, and the kernel's workers that tell of a lost link would wait for it.

A process that computes for long without ever waiting is an ordinary one from then on: a fault of ours must not take the machine.
RLIMIT_RTTIME says when, with SIGXCPU, which would end us; but in a virtual machine whose host is busy, time that others had counts as
ours. The last bound, which the kernel enforces with SIGKILL, is for a fault that not even the signal gets through to.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import logging

SETTING: Final = "PYTEAMD_REALTIME"
"""Environment variable: "no" leaves the scheduling as it is."""
PRIORITY: Final = 2
"""Of the event loop, the thread that writes, and the look-out."""
HELPERS_PRIORITY: Final = 1
GIVE_WAY_S: Final = 0.0001
"""How long a thread that computes keeps the interpreter's lock when another one asks for it."""
LONGEST_RUN_S: Final = 10.0
"""Much more than a start takes on a slow machine; a partner has given us up by then."""
LAST_BOUND_S: Final = 60

_RLIMIT_RTTIME: Final = 15  # in µs; the resource module has no name for it
_REAL_TIME: Final = (os.SCHED_FIFO, os.SCHED_RR)


_CALM: Final[list[int]] = []
"""Not empty once a thread has computed for too long: none asks again, for the event loop is ordinary now and would come second."""


def wanted() -> bool:
    """Whether the one who starts us has not turned it off."""
    return os.environ.get(SETTING, "").lower() not in ("no", "off", "false", "0")


def ask(priority: int = PRIORITY) -> OSError | None:
    """Ask for this thread, unless that is turned off. Returns why the kernel refused."""
    if not wanted() or _CALM:
        return None
    try:
        if os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK in _REAL_TIME:
            return None
        _bound()
        try:
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
        except PermissionError:  # with LimitRTPRIO=1 threads that look up hosts are its equals
            if priority == HELPERS_PRIORITY:
                raise
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(HELPERS_PRIORITY))
    except OSError as refusal:
        return refusal
    return None


def ask_no_more() -> None:
    """Make this thread an ordinary one again: it may compute for long."""
    if os.sched_getscheduler(0) == os.SCHED_RR | os.SCHED_RESET_ON_FORK:
        os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))


def ask_or_tell(log: logging.Logger) -> None:
    """Ask for the event loop; other threads give way to it from now on. A refusal is one line of the log, and has no other consequence."""
    sys.setswitchinterval(GIVE_WAY_S)
    if (refusal := ask()) is not None:
        log.info(
            "No real-time scheduling (%s): on a busy machine frames may be late. It needs CAP_SYS_NICE or LimitRTPRIO=%d.",
            os.strerror(refusal.errno or 0),
            PRIORITY,
        )


def _bound() -> None:
    """Bound the time of computing without a pause, for the whole process: the first thread does it. OSError."""
    with suppress(ValueError):
        if signal.getsignal(signal.SIGXCPU) is signal.SIG_DFL:
            signal.signal(signal.SIGXCPU, _calm)
    hard = resource.getrlimit(_RLIMIT_RTTIME)[1]
    wanted_us, last_us = int(LONGEST_RUN_S * 1e6), LAST_BOUND_S * 1_000_000
    if hard == resource.RLIM_INFINITY or hard > wanted_us:
        resource.setrlimit(
            _RLIMIT_RTTIME, (wanted_us, last_us if hard == resource.RLIM_INFINITY else min(hard, last_us))
        )


def _calm(*_: object) -> None:
    """Ordinary scheduling for every thread, and a line about it."""
    import logging

    _CALM.append(os.getpid())
    for thread in os.listdir("/proc/self/task"):
        with suppress(OSError):  # it has just ended
            os.sched_setscheduler(int(thread), os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
    logging.getLogger("pyteamd").warning(
        "Computed for %.0f s without a pause: no real-time scheduling from now on; frames may be late on a busy machine.",
        LONGEST_RUN_S,
    )
