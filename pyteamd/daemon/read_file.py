"""Files that others may have put there: read or written without being held up by what stands under their name.

A configuration is a regular file of a bounded size. A FIFO would wait for a writer, a device may never end, a network file system may
be dead: such a file is refused, or waited for in a thread that nothing depends on.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import trio

from pyteamd.daemon.in_thread import NoThread, in_thread

MAXIMUM_OCTETS: Final = 1 << 20
TIMEOUT_S: Final = 5.0
"""How long a file, or what is made of it, is waited for."""

_T = TypeVar("_T")
_one = trio.CapacityLimiter(1)


def read_file(path: str | os.PathLike[str], most: int = MAXIMUM_OCTETS) -> bytes:
    """What a regular file of at most so many octets holds. OSError, with words that say what is wrong."""
    with open(opened(path), "rb") as file:
        octets = file.read(most + 1)
    if len(octets) > most:
        raise OSError(errno.EFBIG, f"longer than {most} octets")
    return octets


def why_not(error: OSError) -> str:
    """Why a file cannot be read, and what helps where that is known."""
    reason = error.strerror or "unknown"
    if error.errno != errno.EACCES or os.geteuid() != 0:
        return reason
    return (
        f"{reason}: the daemon gave up root's right to read files of other users; "
        "make root the owner, or hand it over: pyteamdctl TEAM config apply FILE"
    )


def opened(path: str | os.PathLike[str]) -> int:
    """A regular file, opened to be read. OSError, with words that say what is wrong."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file")


def owned(path: str | os.PathLike[str]) -> int:
    """A file of ours, opened to be written from its beginning: no link is followed, and a FIFO is waited for by nobody. OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    return os.open(path, flags, 0o600)


def replace(path: str, octets: bytes, finish: Callable[[str], None] = lambda new: None) -> None:
    """Replace a file of ours in one step; `finish` gets the name of the new file before. OSError: the old one stays."""
    new = f"{path}.new"
    try:
        with open(owned(new), "wb") as file:
            file.write(octets)
        finish(new)
        os.replace(new, path)
    except OSError:
        with suppress(OSError):
            os.unlink(new)
        raise


def identity_of(path: str) -> tuple[int, int]:
    """Device and inode of a name: by these we know again what we put there. FileNotFoundError, OSError."""
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def read_text(path: str | os.PathLike[str]) -> str:
    """The file's text; octets that are no UTF-8 are found by the parser. OSError."""
    return read_file(path).decode("utf-8", "surrogateescape")


async def off_loop(work: Callable[[], _T]) -> _T:
    """What may take long, done in a thread, one at a time, while the ports are served. OSError: too long, or no thread can be had.

    A thread that is given up goes on by itself, and until it is done the next one waits.
    """
    with trio.move_on_after(TIMEOUT_S):
        try:
            return await in_thread(work, limiter=_one, long=True)
        except NoThread as error:
            raise OSError(errno.EAGAIN, str(error)) from None
    raise OSError(errno.ETIMEDOUT, f"takes longer than {TIMEOUT_S:.0f} s")
