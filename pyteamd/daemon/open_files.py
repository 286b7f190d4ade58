"""How many files the process may have open at once: as many packet sockets, connections and control sockets as its teams need.

Each port has one or two packet sockets, each team a control socket and the connections of its clients. The usual soft limit of 1024 is
there for programs that use select(2), which counts no further; this one uses epoll and poll alone, and starts no other program that
would inherit the limit.
"""

from __future__ import annotations

import logging
import resource
from typing import Final

WANTED: Final = 65536
"""No more, though the hard limit may be a thousand million: 64 teams with 64 ports each need a quarter of it."""
LEAST: Final = 32
"""A start without ports and clients takes two thirds of it."""
ENOUGH_FOR_ONE: Final = 1024
"""A team with some hundred ports."""
ENOUGH_FOR_MANY: Final = 4096


def raise_open_files(enough: int, log: logging.Logger) -> int:
    """Raise the soft limit towards the hard one, and return it. One line of warning if it stays below `enough`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, goal = finite(soft), min(finite(hard), WANTED)
    if soft < goal:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (goal, hard))
            soft = goal
        except (OSError, ValueError):
            pass  # a sandbox may forbid it; the warning says what there is
    if soft < enough:
        log.warning(
            "Only %d files can be open at once, which many ports or clients exceed; raise LimitNOFILE or ulimit -Hn.",
            soft,
        )
    return soft


def finite(limit: int) -> int:
    """A limit that can be compared: RLIM_INFINITY is below all numbers."""
    return WANTED if limit == resource.RLIM_INFINITY else limit
