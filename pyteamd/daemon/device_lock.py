"""One daemon for a device, whatever its pid file is called and wherever its control socket is.

The lock is a listening socket with an abstract name made of the device's number: the kernel keeps such names for each network name space,
as it does the numbers, and frees one with the process that has it, however that ends. Anybody may take a name; only a lock that root
holds is believed, for nobody else can serve a device.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Final

NAME: Final = "\0pyteamd/device/{}"
_CREDENTIALS: Final = struct.Struct("3i")
"""struct ucred: process, user, group."""


class Served(Exception):
    """Another daemon serves the device; `pid` is its number, 0 when that is not known here (another name space)."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"the daemon with PID {pid} serves it" if pid else "another daemon serves it")
        self.pid = pid


class DeviceLock:
    """Held from its making to `close`."""

    def __init__(self, ifindex: int) -> None:
        """Served when a daemon has it. OSError, EADDRINUSE among them, when it cannot be had and that proves nothing."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.bind(NAME.format(ifindex))
            self._socket.listen(1)
        except OSError as error:
            self._socket.close()
            if error.errno == errno.EADDRINUSE and (pid := holder(ifindex)) is not None:
                raise Served(pid) from None
            raise

    def close(self) -> None:
        """Let go of the device."""
        self._socket.close()


def holder(ifindex: int) -> int | None:
    """Process number of the daemon that has this lock, None without one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(NAME.format(ifindex))
            octets = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError:
            return None
    pid, user, _ = _CREDENTIALS.unpack(octets)
    return pid if user in (0, os.geteuid()) else None
