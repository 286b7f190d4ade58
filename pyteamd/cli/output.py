"""What the programs say when their output cannot be written: one line, status 1."""

from __future__ import annotations

import errno
import os
import sys

from pyteamd.cli.exit_status import FAILED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

REASONS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE, errno.EBADF})
"""What write(2) answers for a file that is full or gone."""


def standard() -> tuple[TextIO, TextIO]:
    """Output and errors, to nowhere where they are closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 until the end
    return sys.stdout, sys.stderr


def undelivered(program: str, error: OSError, out: TextIO, err: TextIO) -> int:
    """Say why. Returns the exit code. Raises `error` when it is about something else."""
    if error.errno not in REASONS or error.filename is not None:
        raise error
    if error.errno != errno.EPIPE:  # a reader that has seen enough
        err.write(f"{program}: cannot write the output: {error.strerror}\n")
    os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())  # Python writes the rest when it ends
    return FAILED
