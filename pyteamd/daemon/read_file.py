"""Read a file that others write, without being held up by what stands there.

A configuration is a regular file of a bounded size. A FIFO would wait for a writer, a device may never end, a network file system may
be dead: such a file is refused, or waited for in a thread that nothing depends on.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Final, TypeVar

import trio

from pyteamd.daemon.in_thread import in_thread

MAXIMUM_OCTETS: Final = 1 << 20
TIMEOUT_S: Final = 5.0
"""How long a file, or what is made of it, is waited for."""

_T = TypeVar("_T")
_one = trio.CapacityLimiter(1)


def read_file(path: str | os.PathLike[str], most: int = MAXIMUM_OCTETS) -> bytes:
    """What a regular file of at most so many octets holds. OSError, with words that say what is wrong."""
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        octets = file.read(most + 1)
    if len(octets) > most:
        raise OSError(errno.EFBIG, f"longer than {most} octets")
    return octets


def read_text(path: str | os.PathLike[str]) -> str:
    """The file's text; octets that are no UTF-8 are found by the parser. OSError."""
    return read_file(path).decode("utf-8", "surrogateescape")


async def off_loop(work: Callable[[], _T]) -> _T:
    """What may take long, done in a thread, one at a time, while the ports are served. OSError when it takes too long.

    A thread that is given up goes on by itself, and until it is done the next one waits.
    """
    with trio.move_on_after(TIMEOUT_S):
        return await in_thread(work, limiter=_one, long=True)
    raise OSError(errno.ETIMEDOUT, f"takes longer than {TIMEOUT_S:.0f} s")
