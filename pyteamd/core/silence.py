"""Ports that are up and hear nothing, or whose driver counts errors: told, never acted on.

A switch that drops a port from its VLAN, or from an aggregate, leaves the link as it is. The only thing that shows is the driver's count
of what was received: it stands still on one port while other ports of the team receive. What is seen here decides nothing; for that,
configure a link watcher that sends probes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pyteamd.model.desired import Level, Note
from pyteamd.model.incidents import Incident
from pyteamd.model.printable import in_shell
from pyteamd.values import dataclass

SILENT_S = 10.0
"""How long a port must have received nothing; a network that is alive sends broadcasts more often."""
HEARD = 3
"""Frames that another port has to have received meanwhile."""
ERRORS_S = 60.0
"""How long errors are told after the last one."""
ERRORS_TOLD_S = 3600.0
"""How long the log has one line only, however many errors follow."""


@dataclass(frozen=True, slots=True)
class LinkCounters:
    """What the driver of a link has counted: frames received and sent, and errors of both."""

    received: int
    sent: int
    errors: int


@dataclass(slots=True)
class _Watched:
    """One port since it last received something."""

    counters: LinkCounters
    heard_at: float
    others: dict[int, int]
    """What the other ports had received then."""
    errors_at: float = 0.0
    errors: int = 0
    """In the last run of errors; `errors_at`: when the last one was seen."""
    told: bool = False
    errors_told_at: float | None = None


class SilentPorts:
    """The ports of one team."""

    def __init__(self) -> None:
        self._ports: dict[int, _Watched] = {}

    def look(
        self, counters: Mapping[int, LinkCounters], names: Mapping[int, str], carries: Callable[[int], bool], now: float
    ) -> list[Note]:
        """What the drivers count now. Returns what is to be told, once each time.

        `carries`: whether a port carries traffic. It is asked only of ports that would be told of, because the answer takes time.
        """
        for ifindex in self._ports.keys() - counters.keys():
            del self._ports[ifindex]
        for ifindex, seen in counters.items():
            self._see(ifindex, seen, counters, now)
        news = [ifindex for ifindex in names if self._is_news(ifindex, now) and carries(ifindex)]
        bad = [ifindex for ifindex in names if self._are_news(ifindex, now)]
        silent = [self._tell(ifindex, names[ifindex], now) for ifindex in news]
        return silent + [self._tell_errors(ifindex, names[ifindex], now) for ifindex in bad]

    def silent_since(self, ifindex: int, now: float) -> float | None:
        """Since when a port has received nothing while another one did; None when it is not so."""
        port = self._ports.get(ifindex)
        if port is None or now - port.heard_at < SILENT_S or not self.heard_by(ifindex):
            return None
        return port.heard_at

    def heard_by(self, ifindex: int) -> tuple[int, ...]:
        """The ports that received something meanwhile."""
        return tuple(self._heard_by(ifindex))

    def errors(self, ifindex: int, now: float) -> int:
        """Errors that the driver counted lately, 0 for none."""
        port = self._ports.get(ifindex)
        return port.errors if port is not None and port.errors and now - port.errors_at < ERRORS_S else 0

    def total(self, ifindex: int) -> LinkCounters | None:
        """The counters as they were seen last."""
        port = self._ports.get(ifindex)
        return None if port is None else port.counters

    def _see(self, ifindex: int, seen: LinkCounters, all_of_them: Mapping[int, LinkCounters], now: float) -> None:
        port = self._ports.get(ifindex)
        others = {other: counted.received for other, counted in all_of_them.items() if other != ifindex}
        if port is None or seen.received < port.counters.received:  # new, or counted from zero
            self._ports[ifindex] = _Watched(seen, now, others)
            return
        if seen.received != port.counters.received:
            port.heard_at, port.others = now, others
        if (more := seen.errors - port.counters.errors) > 0:
            port.errors = more + (port.errors if now - port.errors_at < ERRORS_S else 0)
            port.errors_at = now
        port.counters = seen

    def _heard_by(self, ifindex: int) -> Iterable[int]:
        before = self._ports[ifindex].others if ifindex in self._ports else {}
        for other, port in self._ports.items():
            if other != ifindex and port.counters.received - before.get(other, port.counters.received) >= HEARD:
                yield other

    def _is_news(self, ifindex: int, now: float) -> bool:
        port = self._ports.get(ifindex)
        return port is not None and (self.silent_since(ifindex, now) is not None) is not port.told

    def _tell(self, ifindex: int, name: str, now: float) -> Note:
        port = self._ports[ifindex]
        port.told = not port.told
        if port.told:
            text = f"{name}: carries traffic and has received nothing for {now - port.heard_at:.0f} s, while other ports receive."
            return Note(Level.WARNING, text, name, Incident.SILENCE)
        return Note(Level.INFO, f"{name}: receives again.", name)

    def _are_news(self, ifindex: int, now: float) -> bool:
        """Whether there are errors of which the log has not told lately."""
        port = self._ports.get(ifindex)
        told_at = None if port is None else port.errors_told_at
        return bool(self.errors(ifindex, now)) and (told_at is None or now - told_at >= ERRORS_TOLD_S)

    def _tell_errors(self, ifindex: int, name: str, now: float) -> Note:
        port = self._ports[ifindex]
        port.errors_told_at = now
        count = f"{port.errors} error{'' if port.errors == 1 else 's'}"
        text = f"{name}: its driver counted {count} (check cable and transceiver: ethtool -S {in_shell(name)})."
        return Note(Level.WARNING, text, name, Incident.ERRORS)
