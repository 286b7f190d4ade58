"""One daemon for a device, whatever its pid file is called and wherever its control socket is.

The lock is a listening socket with an abstract name made of the device's number: the kernel keeps such names for each network namespace,
as it does the numbers, and frees one with the process that has it, however that ends. Anybody may take a name; only a lock that root
holds is believed, for nobody else can serve a device.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from pyteamd.daemon.pid_file import is_dying, status_of

NAME: Final = "\0pyteamd/device/{}"
LONGEST_DEATH_S: Final = 2.0
"""A daemon that was killed keeps its lock until the kernel has cleaned up, which a busy machine takes its time for."""
LOOK_AGAIN_S: Final = 0.01
CREDENTIALS: Final = struct.Struct("3i")
"""struct ucred: process, user, group."""


class Served(Exception):
    """Another daemon serves the device; `pid` is its number, 0 when that is not known here (another namespace)."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"the daemon with PID {pid} serves it" if pid else "another daemon serves it")
        self.pid = pid


class DeviceLock:
    """Held from its making to `close`."""

    def __init__(self, ifindex: int) -> None:
        """Served when a daemon has the lock; OSError when it cannot be had and that proves nothing (a stranger took the name)."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        patience = LONGEST_DEATH_S
        while True:
            began = time.monotonic()
            try:
                self._socket.bind(NAME.format(ifindex))
                self._socket.listen(1)
                return
            except OSError as error:
                pid = holder(ifindex) if error.errno == errno.EADDRINUSE else None
                if pid is None:  # its owner has just gone, or is not root
                    patience = min(patience, 10 * LOOK_AGAIN_S)
                waits = patience > 0 and error.errno == errno.EADDRINUSE and (pid is None or is_dying(pid))
                if not waits:
                    self._socket.close()
                    if pid is not None:
                        raise Served(pid) from None
                    raise
            time.sleep(LOOK_AGAIN_S)  # before anything is served, and only where the predecessor is being ended
            patience -= time.monotonic() - began

    def close(self) -> None:
        """Let go of the device."""
        self._socket.close()


def holder(ifindex: int) -> int | None:
    """Process number of the daemon that has this lock, None without one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(NAME.format(ifindex))
            pid, user, _ = CREDENTIALS.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
        except BlockingIOError:  # everybody may connect, so often that it takes no more
            return listening_at(NAME.format(ifindex))
        except OSError:
            return None
    return pid if user in (0, os.geteuid()) else None


def listening_at(name: str) -> int | None:
    """Process number of root, or of us, that listens under this abstract name; None when the kernel tells of none."""
    from pyteamd.kernel.unix_sockets import listening  # hardly ever

    with suppress(OSError):
        sockets = {f"socket:[{inode}]" for inode in listening(name.encode(), (0, os.geteuid()))}
        return next(
            (int(pid) for pid in os.listdir("/proc") if pid.isdigit() and sockets and trusted(pid, sockets)), None
        )
    return None


def trusted(pid: str, files: Collection[str]) -> bool:
    """Whether the process is root's or ours, and one of these files is open in it."""
    with suppress(OSError, ValueError, IndexError, KeyError):
        user = int(status_of(pid)["Uid"].split()[1])
        return user in (0, os.geteuid()) and any(
            opened(pid, number) in files for number in os.listdir(f"/proc/{pid}/fd")
        )
    return False


def opened(pid: str, number: str) -> str:
    """What a descriptor leads to, "" when it is closed by now."""
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/fd/{number}")
    return ""
