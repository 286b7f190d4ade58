"""Talk to the service manager: sd_notify without libsystemd. It never waits and never fails.

NOTIFY_SOCKET names a datagram socket ("@" stands for the abstract namespace's NUL); WATCHDOG_USEC, if WATCHDOG_PID is absent or us, asks
for a sign of life at least that often. See sd_notify(3) and sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping

MICROSECONDS = re.compile("0*[1-9][0-9]{0,19}")
"""Up to what 64 bits hold."""


class Notifier:
    """Sends states to the service manager, if there is one."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self.ready = False
        """READY=1 was sent, or would have been."""
        self.watchdog_s: float | None = None
        """Send WATCHDOG=1 this often: half of what the manager allows. None when it does not ask."""
        allowed_us, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID")
        if self._address and MICROSECONDS.fullmatch(allowed_us) and pid in (None, str(os.getpid())):
            self.watchdog_s = int(allowed_us) / 2e6

    @property
    def wanted(self) -> bool:
        """Whether there is a service manager that wants to hear anything."""
        return bool(self._address)

    def send(self, **states: str) -> None:
        """For instance `send(READY="1", STATUS="two ports")`."""
        self.ready = self.ready or "READY" in states
        if not self._address:
            return
        text = "\n".join(f"{name}={value}" for name, value in states.items())
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        try:
            with socket.socket(socket.AF_UNIX, kind) as sender:
                sender.sendto(text.encode("utf-8", "backslashreplace"), self._address)
        except OSError:
            # Nobody listens, or no file can be opened: a manager that restarts asks again by its own means.
            return
