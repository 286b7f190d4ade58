"""Files that a user names: of any kind, pipes and devices too, read whole, and no more of them than anybody writes."""

from __future__ import annotations

import errno
import io
import os
import select
import time
from typing import Final

MOST_OCTETS: Final = 1 << 25
"""A trace of a team with a hundred ports is a third of it."""
PIECE: Final = 1 << 16


def octets_of(path: str | int, patience_s: float | None = None) -> bytes:
    """What is in a file, or is to come from an open one. OSError, with words that say what is wrong.

    An end that does not come within `patience_s` is an OSError too; what is there already is read in any case.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | (0 if patience_s is None else os.O_NONBLOCK)
    descriptor = os.dup(path) if isinstance(path, int) else os.open(path, flags)
    try:
        found = bytearray()
        give_up_s = time.monotonic() + (patience_s or 0.0)
        while len(found) <= MOST_OCTETS:
            if patience_s is not None and not is_ready(descriptor, max(0.0, give_up_s - time.monotonic())):
                what = "its end did not come within" if found else "nothing came from it for"
                raise OSError(errno.ETIMEDOUT, f"{what} {patience_s:.0f} s")
            piece = os.read(descriptor, PIECE)
            if not piece:
                return bytes(found)
            found += piece
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)
    raise OSError(errno.EFBIG, f"longer than {MOST_OCTETS} octets", path)


def text_of(path: str, errors: str = "strict") -> str:
    """The same as text, its lines ended by newlines. OSError, UnicodeDecodeError."""
    return io.TextIOWrapper(io.BytesIO(octets_of(path)), "utf-8", errors).read()


def is_ready(descriptor: int, patience_s: float) -> bool:
    """Whether a read would not wait. A FIFO that nobody writes to is not ready, and not at its end either."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(patience_s * 1000))
