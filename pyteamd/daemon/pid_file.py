"""The pid file: written and removed as teamd's library does, but a number alone proves nothing.

The file holds the decimal process number and a newline. A process number is used again sooner or later, so a file that a crash left
behind may name a stranger; teamd then refuses to start, and `-k` kills the stranger. Here a daemon holds a lock (flock) on its file for
life: a file that nobody holds is stale, no matter whose the number is. teamd holds none, and its library's own lock (fcntl) does not meet
ours; so a file that nobody holds is also believed when the process is called teamd and is not, by its command line, another team's.

Of daemons that start at the same moment one gets the file. It appears with its number in it, for it is written under another name and
linked (where that can be done). Before a process removes a file it locks it (fcntl, as in teamd, which needs the right to write the file)
and checks that the name still leads to it and that it says what it said, so nobody removes what a rival has just put in the place of a
stale file.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import stat
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

MAXIMUM_PID = 2**22
"""PID_MAX_LIMIT of the kernel."""
MAXIMUM_OCTETS = 64
"""More than any process number takes."""
RUN_DIR = ("/var/run/", "/run/")
"""Where the name of a pid file is the team's."""
SIGKILL_BIT = 1 << (signal.SIGKILL - 1)
ATTEMPTS = 10
"""Rivals that may come and go while a stale file is looked at."""


def running(path: str, log: logging.Logger) -> int:
    """Process number of the daemon whose file this is, 0 when there is none. A stale file is removed, with a log line."""
    for _ in range(ATTEMPTS):
        text = read(path)
        if text.strip() in (b"", b"0"):
            return 0
        if not (reason := stale(text, path)):
            return int(text)
        log.warning("%s (%s)", reason, path)
        if not remove(path, text):
            return 0
    return 0


def stale(text: bytes, path: str) -> str:
    """Why a pid file with this text is not believed, "" when it names a daemon, or says nothing."""
    number = text.strip()
    if len(text) >= MAXIMUM_OCTETS:
        return "This is no PID file; it stays."
    if number and (not number.isdigit() or int(number) > MAXIMUM_PID):
        return "PID file corrupt, removing."
    if (pid := int(number or b"0")) and (reason := why_not(pid, path)):
        return f"Process {pid} died: {reason}; trying to remove PID file."
    return ""


def read(path: str) -> bytes:
    """The first octets of the file, as many as matter; b"" without one. A device or a FIFO is not even opened."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b""
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            return file.read(MAXIMUM_OCTETS)
    except OSError:
        return b""


def remove(path: str, text: bytes) -> bool:
    """Remove the file if it still has this text. False when it stays: creating the new one will say why.

    A device, or a file too long to be a pid file, was named by mistake and is never removed.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode) or len(text) >= MAXIMUM_OCTETS:
            return False
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


def why_not(pid: int, path: str) -> str:
    """Why this process is not the daemon of this pid file, "" when it is."""
    if pid == os.getpid():
        return "its number is our own"
    try:
        os.kill(pid, 0)
    except ProcessLookupError as error:
        return os.strerror(error.errno or 0)
    except PermissionError:
        pass
    if is_dying(pid):
        return "it was killed"
    return "" if holds(pid, path) or is_teamd(pid, path) else "its number belongs to another process"


def is_dying(pid: int) -> bool:
    """Whether a process is being ended by the kernel: it holds its locks and sockets for a moment longer, and does nothing any more.

    SIGKILL is on its way, or its memory is gone already.
    """
    try:
        fields = status_of(pid)
        killed = any(int(fields[name], 16) & SIGKILL_BIT for name in ("SigPnd", "ShdPnd"))
        return killed or "VmSize" not in fields
    except (OSError, ValueError, KeyError):
        return False


def status_of(pid: int | str) -> dict[str, str]:
    """What the kernel tells of a process, by name. A process chooses its own name, in which only newlines are escaped. OSError."""
    text = Path(f"/proc/{pid}/status").read_bytes().decode("utf-8", "surrogateescape")
    return dict(line.split(":\t", 1) for line in text.split("\n") if ":\t" in line)


def is_held(path: str) -> bool:
    """Whether a process holds this pid file. Every process that may read it can hold it, so that alone proves nothing."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def holds(pid: int, path: str) -> bool:
    """Whether it is this process that holds the pid file, and has opened it for writing, which only root can."""
    if not is_held(path):
        return False
    try:
        there = os.stat(path)
        return any(locks(f"/proc/{pid}", number, there) for number in os.listdir(f"/proc/{pid}/fdinfo"))
    except PermissionError:
        return could_be_ours(pid)
    except (OSError, ValueError, IndexError):
        return not os.path.isdir("/proc/self")


def locks(process: str, number: str, file: os.stat_result) -> bool:
    """Whether this descriptor of a process, which may be closed by now, is the file, open for writing and locked."""
    try:
        lines = Path(f"{process}/fdinfo/{number}").read_text().splitlines()
        writing = any(line.startswith("flags:") and int(line.split()[1], 8) & os.O_WRONLY for line in lines)
        locked = any(line.startswith("lock:") and "FLOCK" in line and "WRITE" in line for line in lines)
        return writing and locked and os.path.samestat(os.stat(f"{process}/fd/{number}"), file)
    except FileNotFoundError:
        return False


def could_be_ours(pid: int) -> bool:
    """Whether the process may be our daemon, by its name alone: its open files are hidden from us."""
    try:
        name = Path(f"/proc/{pid}/comm").read_bytes()
    except OSError:
        return True
    return b"teamd" in name or name.startswith(b"python")


def is_teamd(pid: int, path: str) -> bool:
    """Whether the process is teamd itself, which holds no lock, and not another team's, nor a user's that calls itself so."""
    try:
        name = Path(f"/proc/{pid}/comm").read_bytes().strip()
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")  # empty for a zombie
        users = status_of(pid)["Uid"].split()[:2]  # a program that becomes root by itself has its user's as the first
    except (OSError, KeyError):
        return not os.path.isdir("/proc/self")  # without /proc only the number counts, as for teamd
    if name != b"teamd" or os.path.basename(words[0]) != b"teamd" or not {*users} <= {"0", str(os.geteuid())}:
        return False
    team = Path(path).name.removesuffix(".pid").encode()
    others = [after for word, after in pairwise(words) if word in (b"-t", b"--team-dev")]
    return not path.startswith(RUN_DIR) or not others or others[-1] == team


class PidFile:
    """Our own file: made by `create`, held until the process ends, removed by `remove` if it is still ours."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1
        """Open and locked; the kernel closes it with the process, however that ends."""
        self._text = f"{os.getpid()}\n".encode()
        self._new = f"{path}.{os.getpid()}"

    def create(self) -> None:
        """Write the file; it must not exist, unless it is empty or says 0. OSError."""
        with suppress(FileNotFoundError):
            os.unlink(self._new)  # left by a process of the same number that crashed
        try:
            self._write(self._new)
            self._name()
        finally:
            with suppress(FileNotFoundError):
                os.unlink(self._new)

    def restore(self) -> bool:
        """Make it again if it was removed, or another one that names no daemon is in its place. Returns whether that was done. OSError."""
        if self._is_there():
            return False
        text = read(self.path)
        if text.strip() not in (b"", b"0"):
            if not stale(text, self.path):
                return False
            remove(self.path, text)
        self.create()
        return True

    def _is_there(self) -> bool:
        """Whether the name leads to the file that we hold, and that says what we wrote."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._descriptor)) and read(self.path) == self._text
        except FileNotFoundError:
            return False

    def remove(self) -> None:
        """Remove it, unless another process has put its own in its place."""
        remove(self.path, self._text)
        self._release()

    def _write(self, path: str) -> None:
        # Not readable by others yet: they might lock it first.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with suppress(OSError):  # a file system without locks: then it is believed less, see why_not
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fchmod(descriptor, 0o644)
            os.write(descriptor, self._text)
        except OSError:
            os.close(descriptor)
            raise
        self._release()
        self._descriptor = descriptor

    def _release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _name(self) -> None:
        try:
            self._link()
        except FileExistsError:
            text = read(self.path)
            if text.strip() not in (b"", b"0") or is_held(self.path):
                raise
            remove(self.path, text)
            self._link()

    def _link(self) -> None:
        try:
            os.link(self._new, self.path)
        except FileExistsError:
            raise
        except OSError:  # no hard links on this file system (FAT): for a moment the file is empty, as teamd's is
            self._write(self.path)
