"""What the daemon needs of a kernel, in one network namespace: the interface of the real one and of the simulated one.

Requests are plain calls: the kernel does the work inside the sender's system call, so there is nothing to wait for, and the
caller chooses the thread. Only events are awaited.
"""

from __future__ import annotations

import errno as codes
from collections.abc import Sequence
from typing import Protocol

from pyteamd.events import FrameSeen, KernelEvent, LinkSeen, Refused, Resync
from pyteamd.model import Tap, Write

WORDS = {
    codes.EPERM: "operation not permitted",
    codes.EACCES: "permission denied",
    codes.EEXIST: "file exists",
    codes.EBUSY: "device or resource busy",
    codes.EINVAL: "invalid argument",
    codes.EOPNOTSUPP: "operation not supported",
    codes.EADDRNOTAVAIL: "cannot assign requested address",
    codes.ENOENT: "no such option",
    codes.ENODEV: "no such device",
    codes.EMFILE: "too many open files",
    codes.ENOBUFS: "no buffer space available",
}


def reason_for(code: int) -> str:
    """An errno of the kernel in words."""
    return WORDS.get(code) or codes.errorcode.get(code, f"error {code}")


class KernelGone(Exception):
    """The device or port named in the request does not exist (any more)."""


class KernelRefused(Exception):
    """The kernel said no. `errno` is its reason, `what` the request in words, `hint` what a person can check."""

    def __init__(self, errno: int, what: str, hint: str = "") -> None:
        super().__init__(f"{what}: {reason_for(errno)}" + (f" ({hint})" if hint else ""))
        self.errno = errno
        self.what = what
        self.hint = hint


class PortSocket(Protocol):
    """A packet socket on one port."""

    def send(self, octets: bytes) -> None:
        """Send a frame that starts with its Ethernet header. OSError when the link cannot take it."""

    async def receive(self) -> list[FrameSeen]:
        """Wait for frames; at least one unless the wake-up was for a malformed one. KernelGone when the port is gone."""
        ...

    def close(self) -> None:
        """Close; a waiting receive ends with KernelGone or is cancelled by its owner."""


class Kernel(Protocol):
    """Links and team devices of one network namespace."""

    def find_link(self, name: str) -> LinkSeen | None:
        """The link of that name now, or None."""

    def create_team(self, name: str) -> int:
        """Create a team device and return its ifindex. KernelRefused: EEXIST, EOPNOTSUPP without the driver, EPERM."""
        ...

    def delete_link(self, ifindex: int) -> None:
        """Delete a link of any kind. KernelGone when there is none."""

    def watch_team(self, ifindex: int) -> None:
        """Deliver the events of this team from now on. KernelRefused(EINVAL) when it is not a team device."""

    def unwatch_team(self, ifindex: int) -> None:
        """Stop delivering the events of this team."""

    def dump(self, team: int) -> Resync:
        """Links, ports and options now. Links: the team and every link of the namespace. KernelGone without the device."""
        ...

    def apply(self, team: int, writes: Sequence[Write]) -> tuple[Refused, ...]:
        """Perform writes in order; consecutive options travel in one message. Returns those refused, the rest was applied.

        A refusal does not stop the writes behind it. A port that vanished is a refusal with ENODEV or ENOENT.
        KernelGone when the team device itself is gone.
        """
        ...

    def prepare(self, writes: Sequence[Write]) -> None:
        """These writes may be wanted soon: whatever can be encoded ahead is. Only a matter of speed."""

    async def events(self) -> list[tuple[int, KernelEvent]]:
        """Wait for events: (ifindex of the team, event); 0 for link events and overruns, which concern every team."""
        ...

    def open_port(self, ifindex: int, tap: Tap) -> PortSocket:
        """Open a packet socket on a port with the filter of `tap`. KernelGone or KernelRefused."""
        ...

    def close(self) -> None:
        """Close every socket."""
