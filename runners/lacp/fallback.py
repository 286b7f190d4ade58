"""What the lacp runner does while no partner speaks: ports that carry traffic without LACP.

How it works: the partner is silent when at least one port is defaulted and no port knows a partner. That must have lasted for the
configured delay. Then all defaulted ports carry traffic (static: the other end is an aggregate made by hand), or the preferred one
does (individual: the other end knows nothing of aggregates yet, such as a switch port that boots a machine over the network). Once
begun, only an LACPDU ends it, for all ports at once, or that no port is defaulted any more. On the wire nothing changes: we keep saying
that we are defaulted and out of sync.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable

from pyteamd.runners.lacp.machines import Current, Defaulted, Expired
from pyteamd.runners.lacp.port import LacpPort


class Fallback:
    """Which ports carry traffic without a partner, and since when there is none. Owned by one runner."""

    def __init__(self, kind: str, delay_s: float) -> None:
        self.kind = kind
        self.ports: frozenset[int] = frozenset()
        """Ports that carry traffic now without LACP."""
        self.begun = False
        """The silence has lasted long enough, here or with a predecessor."""
        self.delay_s = delay_s
        self._silent_since: float | None = None

    def configure(self, kind: str, delay_s: float) -> None:
        """Go on with other settings."""
        self.kind = kind
        self.delay_s = delay_s

    def would_end(
        self, kind: str, delay_s: float, ports: Iterable[LacpPort], gated: Container[int], now: float
    ) -> bool:
        """Whether, with these settings, a port that carries traffic now no longer would."""
        other = Fallback(kind, delay_s)
        other._silent_since, other.begun, other.ports = self._silent_since, self.begun, self.ports
        staying = list(ports)
        other.update(staying, gated, now)
        return not self.ports.intersection(port.ifindex for port in staying) <= other.ports

    def update(
        self, ports: Collection[LacpPort], gated: Container[int], now: float, awaited: Collection[int] = ()
    ) -> None:
        """Look again. `gated`: ports that a watcher keeps from carrying traffic. `awaited`: see TeamView."""
        silent = _silent(ports, self.begun)
        if self.begun and silent == [] and self.kind != "off" and (awaited or not ports):
            self.ports = frozenset()  # a predecessor had begun: those it served are about to come
            return
        if self.kind == "off" or not silent:
            self._silent_since, self.begun = None, False
            self.ports = frozenset()
            return
        if self._silent_since is None:
            self._silent_since = now
        self.begun = now >= self._silent_since + self.delay_s
        if not self.begun:
            self.ports = frozenset()
        elif self.kind == "static":
            self.ports = frozenset(port.ifindex for port in silent)
        else:
            best = min(silent, key=lambda port: (port.ifindex in gated, *preference(port)))
            self.ports = frozenset((best.ifindex,))

    def resume(self, begun: bool, now: float) -> None:
        """Go on from a predecessor: it had begun, and is not to be waited for again while the silence lasts."""
        if begun:
            self._silent_since, self.begun = now - self.delay_s, True

    def begins_at(self) -> float | None:
        """When it will begin if the silence lasts; None when it has begun or there is no silence."""
        if self._silent_since is None or self.begun:
            return None
        return self._silent_since + self.delay_s

    def needed(self, min_ports: int) -> int:
        """How many ports give the team carrier: an individual port is alone by intent."""
        return 1 if self.kind == "individual" else min_ports


def preference(port: LacpPort) -> tuple[int, ...]:
    """Sort key for the individual fallback, which uses the smallest."""
    return -port.view.priority, port.view.config.lacp_prio, port.ifindex


def _silent(ports: Iterable[LacpPort], begun: bool) -> list[LacpPort] | None:
    """Ports that are defaulted; None when a port knows a partner. Once begun, one that was known before and is not heard ends nothing."""
    silent: list[LacpPort] = []
    for port in ports:
        match port.receive:
            case Current():
                return None
            case Expired() if port.partner_known() and not begun:
                return None
            case Defaulted():
                silent.append(port)
    return silent
