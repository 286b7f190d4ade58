"""The ports of one team, always in ifindex order, and what is done to all of them alike."""

from __future__ import annotations

from collections.abc import Iterator

from pyteamd.core.port import Port
from pyteamd.linkwatch.base import PortNow
from pyteamd.model.desired import Frame, Note, Observed, OptionKey, SetOption
from pyteamd.values import replace


class Ports(dict[int, Port]):
    """Ports by ifindex."""

    def __init__(self, observed: Observed) -> None:
        super().__init__()
        self._observed = observed
        self._macs: list[bytes] = []
        self._own_macs: frozenset[bytes] = frozenset()
        """`_macs` as a set."""
        self._touched: set[int] = set()
        """Ports whose watchers may have something to hand over, since `now_of`, which every call of a watcher needs, was asked for them."""
        self._stale: set[int] = set()
        """Ports whose deadlines may have changed since the last `deadline`."""
        self._due: dict[int, float] = {}
        """Deadlines of ports; of many ports few have one, or few change it at a time."""

    def add(self, port: Port) -> None:
        """Put a port in its place."""
        ordered = sorted([*self.items(), (port.ifindex, port)])
        self.clear()
        self.update(ordered)
        self._stale.add(port.ifindex)

    def remove(self, ifindex: int) -> Port | None:
        """Take a port out; None when it is none."""
        self._due.pop(ifindex, None)
        self._stale.discard(ifindex)
        return self.pop(ifindex, None)

    def named(self, name: str) -> Port | None:
        """The port that has this name now, the kernel's or an alternative one."""
        return next((port for port in self.values() if name in port.link.names), None)

    def now_of(self, port: Port) -> PortNow:
        """What the watchers of a port may know of it."""
        self._touched.add(port.ifindex)
        self._stale.add(port.ifindex)
        enabled = self._observed.serves(port.ifindex)
        some = enabled or any(map(self._observed.serves, self))
        return PortNow(port.ifindex, port.name, port.mac, port.running, enabled, some, port.original_mac)

    def hearing(self, port: Port, team_mac: bytes) -> PortNow:
        """As `now_of`, for a frame that came in: with our own addresses, and whether a port in service is answered."""
        macs = [
            team_mac,
            *[other.link.mac for other in self.values()],
            *[other.original_mac for other in self.values()],
        ]
        if macs != self._macs:
            self._macs = macs
            self._own_macs = frozenset(macs)
        carried = port.probes and any(
            other.proven() and self._observed.serves(ifindex) for ifindex, other in self.items()
        )
        return replace(self.now_of(port), own_macs=self._own_macs, carried=carried)

    def tick(self, now: float) -> Iterator[Port]:
        """Run the watchers whose time has come, in order of time; yields each port whose watchers changed their mind.

        Who comes first matters to a sticky port, even if the clock was looked at only once for both.
        """
        self.deadline()
        for _, ifindex in sorted([(at, ifindex) for ifindex, at in self._due.items() if at <= now]):
            port = self[ifindex]
            if port.tick(self.now_of(port), now):
                yield port

    def mark_written(self) -> None:
        """The first writes of all ports are done."""
        for port in self.values():
            port.written_once = True

    def read_priorities(self) -> None:
        """A dump told all options."""
        for port in self.values():
            self.read_priority(port)

    def read_priority(self, port: Port) -> None:
        """The kernel's priority of this port counts, whatever was wished for."""
        priority = self._observed.options.get(OptionKey("priority", port.ifindex))
        port.kernel_priority = priority if isinstance(priority, int) else None

    def deadline(self) -> float | None:
        """Earliest deadline of any watcher."""
        for ifindex in self._stale:
            port = self.get(ifindex)
            at = None if port is None else port.deadline()
            if at is None:
                self._due.pop(ifindex, None)
            else:
                self._due[ifindex] = at
        self._stale.clear()
        return min(self._due.values()) if self._due else None

    def prepared(self) -> list[SetOption]:
        """Writes a fail-over may need."""
        found = [SetOption(OptionKey("activeport"), ifindex) for ifindex in self]
        for name in ("enabled", "user_linkup"):
            found += [SetOption(OptionKey(name, ifindex), value) for ifindex in self for value in (True, False)]
        return found

    def take(self) -> tuple[list[Frame], list[Note]]:
        """Frames and notes of the ports and their watchers since the last call."""
        frames: list[Frame] = []
        notes: list[Note] = []
        if not self._touched:
            return frames, notes
        touched = [port for ifindex in sorted(self._touched) if (port := self.get(ifindex)) is not None]
        self._touched.clear()
        for port in touched:
            notes += port.notes
            port.notes = []
            for watcher in port.watchers:
                sent, said = watcher.outbox.take()
                frames += sent
                notes += said
        return frames, notes
