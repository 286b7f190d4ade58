"""What the daemon needs of a kernel, in one network namespace: the interface of the real one and of the simulated one.

Requests are plain calls: the kernel does the work inside the sender's system call, so there is nothing to wait for, and the
caller chooses the thread. Only events and frames are awaited.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from pyteamd.model.desired import Tap, Write
from pyteamd.model.events import FrameSeen, KernelEvent, LinkSeen, Refused, Resync

Batch = list[tuple[int, KernelEvent]]
"""Events that were read at once, in order, each with the ifindex of its team; 0 for links and overruns, which may concern any."""


class PortSocket(Protocol):
    """A packet socket on one port."""

    def send(self, octets: bytes) -> None:
        """Send a frame that starts with its Ethernet header. OSError when the link cannot take it."""

    def read(self) -> list[FrameSeen]:
        """What can be read now; none when it was malformed. KernelGone when the port is gone. OSError for a passing failure."""
        ...

    def close(self) -> None:
        """Close it."""


class Kernel(Protocol):
    """Links and team devices of one network namespace."""

    may_stall: bool
    """Whether `apply` may stand still for long, as a real kernel's does while its lock is taken: not to be called in an event loop."""

    def find_link(self, name: str) -> LinkSeen | None:
        """The link of that name now, its own or an alternative one, or None. KernelRefused when the kernel does not say."""

    def get_link(self, ifindex: int) -> LinkSeen | None:
        """The link of that number now, or None. KernelRefused when the kernel does not say."""

    def all_links(self) -> tuple[LinkSeen, ...]:
        """Every link of the namespace now, by number. KernelRefused when the kernel does not say."""
        ...

    def create_team(self, name: str) -> int:
        """Create a team device and return its ifindex. KernelRefused: EEXIST, EINVAL for the name, EOPNOTSUPP without the driver, EPERM.

        KernelGone when it is gone again at once.
        """
        ...

    def delete_link(self, ifindex: int) -> None:
        """Delete a link of any kind. KernelGone when there is none, KernelRefused for what cannot be deleted."""

    def watch_team(self, ifindex: int) -> None:
        """Deliver the events of this team from now on. KernelGone without such a link, KernelRefused(EINVAL) when it is no team device."""

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

    def prepare(self, team: int, losses: Mapping[int, Sequence[Write]]) -> None:
        """By port: what `apply` will be asked for, by this very object, if `events` tells that its link is lost before anything else of the
        team or its ports. Only a matter of speed: it may be encoded, or be done the moment the link is lost. {}: nothing is known."""

    def encode(self, writes: Iterable[Write]) -> None:
        """These may be wanted one day. Only a matter of speed: nothing is done."""

    def is_done(self, team: int, writes: Sequence[Write]) -> bool:
        """Whether these very writes were done when a link was lost: `apply` does not stall then, it has only to tell."""
        ...

    def look_out(self) -> None:
        """In a thread of its own, until `close`: do what `prepare` says the moment a link is lost. A kernel may do without, and return."""

    async def events(self) -> Batch:
        """Wait for events."""
        ...

    def open_port(self, ifindex: int, tap: Tap) -> PortSocket:
        """Open a packet socket on a port with the filter of `tap`. KernelGone or KernelRefused."""
        ...

    async def readable(self) -> Sequence[PortSocket]:
        """Wait until some of the open packet sockets can be read: which."""
        ...

    def close(self) -> None:
        """Close every socket."""
