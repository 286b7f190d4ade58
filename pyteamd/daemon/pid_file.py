"""The pid file: written, believed and removed as teamd's library does, but a number alone proves nothing.

The file holds the decimal process number and a newline. A process number is used again sooner or later, so a file that a crash left
behind may name a stranger; teamd then refuses to start, and `-k` kills the stranger. Here the process must also look like a team daemon,
ours or teamd: its command line has the word, and it is not a zombie.

Of daemons that start at the same moment one gets the file. It appears with its number in it, for it is written under another name and
linked (where that can be done). A file is removed only by who has locked it and sees that its name still leads to it and that it says
what it said, so nobody removes what a rival has just put in the place of a stale file. The lock (fcntl, as in teamd) takes the right to
write the file.
"""

from __future__ import annotations

import fcntl
import logging
import os
from contextlib import suppress
from pathlib import Path

MAXIMUM_PID = 2**22
"""PID_MAX_LIMIT of the kernel."""
MAXIMUM_OCTETS = 64
"""More than any process number takes."""
ATTEMPTS = 10
"""Rivals that may come and go while a stale file is looked at."""


def running(path: str, log: logging.Logger) -> int:
    """Process number of the daemon whose file this is, 0 when there is none. A stale file is removed, with a log line."""
    for _ in range(ATTEMPTS):
        text = read(path)
        number = text.strip()
        if number in (b"", b"0"):
            return 0
        if not number.isdigit() or len(number) >= MAXIMUM_OCTETS or int(number) > MAXIMUM_PID:
            log.warning("PID file corrupt, removing. (%s)", path)
        elif (pid := int(number)) and (reason := why_not(pid)):
            log.warning("Process %d died: %s; trying to remove PID file. (%s)", pid, reason, path)
        else:
            return pid
        if not remove(path, text):
            return 0
    return 0


def read(path: str) -> bytes:
    """What the file says, as much of it as matters; b"" without one."""
    try:
        with open(path, "rb") as file:
            return file.read(MAXIMUM_OCTETS)
    except OSError:
        return b""


def remove(path: str, text: bytes) -> bool:
    """Remove the file if it still says so. False when that is not ours to do; creating the new one will tell."""
    try:
        with open(path, "r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)  # its holders only compare and unlink
            there = os.stat(path)
            opened = os.fstat(file.fileno())
            if os.path.samestat(there, opened) and file.read(MAXIMUM_OCTETS) == text:
                os.unlink(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


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
        self._new = f"{path}.{os.getpid()}"

    def create(self) -> None:
        """Write the file; it must not exist, unless it is empty or says 0. OSError."""
        with suppress(FileNotFoundError):
            os.unlink(self._new)  # who had our number before crashed
        try:
            self._write(self._new)
            self._name()
        finally:
            with suppress(FileNotFoundError):
                os.unlink(self._new)

    def remove(self) -> None:
        """Remove it, unless somebody else has put his own in its place."""
        remove(self.path, self._text)

    def _write(self, path: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.fchmod(descriptor, 0o644)
            os.write(descriptor, self._text)
        finally:
            os.close(descriptor)

    def _name(self) -> None:
        try:
            self._link()
        except FileExistsError:
            text = read(self.path)
            if text.strip() not in (b"", b"0"):
                raise
            remove(self.path, text)
            self._link()

    def _link(self) -> None:
        try:
            os.link(self._new, self.path)
        except FileExistsError:
            raise
        except OSError:
            self._write(
                self.path
            )  # no hard links on this file system (FAT): for a moment the file is empty, as teamd's is
