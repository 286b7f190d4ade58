"""The pid file: written, believed and removed as teamd's library does, but a number alone proves nothing.

The file holds the decimal process number and a newline. A process number is used again sooner or later, so a file that a crash left
behind may name a stranger; teamd then refuses to start, and `-k` kills the stranger. Here the process must also look like a team daemon,
ours or teamd: its command line has the word, and it is not a zombie.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

MAXIMUM_PID = 2**22
"""PID_MAX_LIMIT of the kernel."""


def running(path: str, log: logging.Logger) -> int:
    """Process number of the daemon whose file this is, 0 when there is none. A stale file is removed, with a log line."""
    try:
        text = Path(path).read_bytes()
    except OSError:
        return 0
    number = text.strip()
    if number in (b"", b"0"):
        return 0
    if not number.isdigit() or int(number) > MAXIMUM_PID:
        log.warning("PID file corrupt, removing. (%s)", path)
    elif (pid := int(number)) and (reason := why_not(pid)):
        log.warning("Process %d died: %s; trying to remove PID file. (%s)", pid, reason, path)
    else:
        return pid
    _unlink(path)
    return 0


def why_not(pid: int) -> str:
    """Why this process is no team daemon, "" when it is one."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError as error:
        return os.strerror(error.errno or 0)
    except PermissionError:
        pass
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""  # without /proc the number is all there is, as for teamd
    # Empty for a zombie and for a thread of the kernel.
    return "" if b"teamd" in command else "its number belongs to another process"


class PidFile:
    """Our own file: made by `create`, removed by `remove` if it is still ours."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._text = f"{os.getpid()}\n".encode()

    def create(self) -> None:
        """Write the file; it must not exist, unless it is empty or says 0. OSError."""
        try:
            descriptor = self._open()
        except FileExistsError:
            if Path(self.path).read_bytes().strip() not in (b"", b"0"):
                raise
            _unlink(self.path)
            descriptor = self._open()
        try:
            os.fchmod(descriptor, 0o644)
            os.write(descriptor, self._text)
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove it, unless somebody else has put his own in its place."""
        try:
            ours = Path(self.path).read_bytes() == self._text
        except OSError:
            return
        if ours:
            _unlink(self.path)

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        # Not ours to remove, or gone already; creating the new one will tell.
        return
