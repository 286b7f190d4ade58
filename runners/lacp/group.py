"""The ports of a team together: which aggregate is used, and what that means for each port's mux machine.

How it works: selection depends on the mux states (a port that has expired keeps its place only when attached) and the mux machines
depend on selection, so both are computed in turn until nothing moves. The choice of the aggregate is made anew only when something
it depends on has changed; between two such moments a user may choose another one. Otherwise only the choice itself is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyteamd.runners.lacp.blocked import Place
from pyteamd.runners.lacp.machines import Current, Defaulted, Mux, MuxInput, Selection
from pyteamd.runners.lacp.port import LacpPort
from pyteamd.runners.lacp.selection import POLICIES, Aggregate, LagId, Member, choose, in_use, ready_at
from pyteamd.runners.lacp.system import LocalSystem

SETTLE_LIMIT = 16
"""Rounds after which selection and mux machines must have come to rest; the longest real way is detach, wait, attach, serve."""

BY_USER = "user"


class Group:
    """Owned by one runner. `ports` is in ifindex order."""

    def __init__(self, local: LocalSystem, policy_name: str, max_ports: int | None) -> None:
        self.local = local
        self.ports: dict[int, LacpPort] = {}
        self.chosen: LagId | None = None
        """The aggregate in use."""
        self.set_policy(policy_name, max_ports)
        self._pinned: tuple[Aggregate, ...] | None = None
        """What there was when a user chose; while that is so, the choice stands."""
        self._usable: frozenset[int] = frozenset()

    def set_policy(self, name: str, max_ports: int | None) -> None:
        """How to choose, from the next `settle` on."""
        self.policy_name = name
        self._policy = POLICIES[name]
        self._max_ports = max_ports
        self._judged: tuple[Aggregate, ...] = ()
        """What the last choice was based on."""

    def settle(self, now: float) -> None:
        """Selection and mux machines, until all rest."""
        for _ in range(SETTLE_LIMIT):
            before = self.chosen, self._usable
            self._measure_waits()
            self._select(now)
            stepped = [port for port in self.ports.values() if self._step(port, now)]
            if not stepped and before == (self.chosen, self._usable):
                return
        raise AssertionError("LACP selection does not come to rest")

    def _measure_waits(self) -> None:
        """First of all, since a port may wait for one that waits no longer; selection asks who is ready."""
        for port in self.ports.values():
            if port.mux is Mux.WAITING:
                port.ready_at = self._ready_at(port)

    def addressed(self, port: LacpPort) -> bool:
        """Both the team and the port have an Ethernet address to speak with."""
        return any(self.local.mac) and any(port.source)

    def select_by_user(self, ifindex: int, now: float) -> bool:
        """Use this port's aggregate until a port or an aggregate comes, goes, or changes. Returns whether there is one."""
        port = self.ports.get(ifindex)
        lag = port.member_of(self.local) if port else None
        if lag is not None:
            self.chosen = lag
            self._pinned = self._candidates(now)
        return lag is not None

    def choice(self) -> str:
        """The ports of the aggregate in use, and whether a user chose it; "" when there is none."""
        ports = [str(port.ifindex) for port in self.ports.values() if port.member_of(self.local) == self.chosen]
        return "" if self.chosen is None else " ".join([*ports, BY_USER] if self._pinned is not None else ports)

    def choose_again(self, choice: str, now: float) -> None:
        """Use the aggregate of these ports again, and at once: a moment ago they were in service."""
        by_user = choice.endswith(BY_USER)
        for ifindex in map(int, choice.removesuffix(BY_USER).split()):
            if self.select_by_user(ifindex, now):
                break
        else:
            return
        if not by_user:
            self._pinned = None
        for port in self.ports.values():
            if port.mux is Mux.WAITING and port.lag == self.chosen:
                port.wait_until = now

    # -- which aggregate -----------------------------------------------------------------------------------------------

    def _select(self, now: float) -> None:
        aggregates = self._candidates(now)
        if aggregates != self._pinned:
            self._pinned = None
            self._choose(tuple(one for one in aggregates if self._can_take_over(one, aggregates, now)))
        ports = self.ports.values()
        members = (member_of(port, self.local) for port in ports if self._may_serve(port, now))
        serving = {port.ifindex for port in ports if port.mux.distributing}
        arrived = {port.ifindex for port in ports if self._partner_ready(port)}
        self._usable = in_use(members, self._max_ports, serving, arrived)

    def _choose(self, aggregates: tuple[Aggregate, ...]) -> None:
        if aggregates == self._judged:
            return
        self._judged = aggregates
        best = choose(self._policy, aggregates, self.chosen)
        if best is not None:
            self.chosen = best.lag
        elif all(port.lag != self.chosen for port in self.ports.values()):
            self.chosen = None

    def _candidates(self, now: float) -> tuple[Aggregate, ...]:
        """Aggregates to choose from. Ports that have to wait after a failure count only when there are no others."""
        alive = [port for port in self.ports.values() if port.member_of(self.local) is not None]
        well = [port for port in alive if not port.restoring(now)]
        return self._aggregates(well or alive)

    def _can_take_over(self, aggregate: Aggregate, others: tuple[Aggregate, ...], now: float) -> bool:
        """Make before break: while the aggregate in use has a port, another one must be ready before it is chosen."""
        if aggregate.lag == self.chosen or all(one.lag != self.chosen for one in others):
            return True
        ports = [self.ports[member.ifindex] for member in aggregate.members]
        return any(port.mux is Mux.WAITING and now >= port.ready_at for port in ports)

    def _aggregates(self, ports: Iterable[LacpPort]) -> tuple[Aggregate, ...]:
        found: dict[LagId, list[Member]] = {}
        for port in ports:
            lag = port.member_of(self.local)
            if lag is not None:
                found.setdefault(lag, []).append(member_of(port, self.local))
        return tuple(Aggregate(lag, tuple(members)) for lag, members in found.items())

    # -- which of its ports --------------------------------------------------------------------------------------------

    def _may_serve(self, port: LacpPort, now: float) -> bool:
        """It competes for a place: right aggregate, and attached or done with waiting."""
        if port.lag is None or port.lag != self.chosen or self._held_back(port, now):
            return False
        return port.mux.in_sync or (isinstance(port.receive, Current) and now >= port.ready_at)

    def _partner_ready(self, port: LacpPort) -> bool:
        """Once attached, it is in service."""
        return port.partner_sync(self.local) and (port.partner_collecting() or not port.independent)

    def _held_back(self, port: LacpPort, now: float) -> bool:
        """wait_to_restore keeps it out; a port that is needed need not wait."""
        if not port.restoring(now):
            return False
        return any(
            other.mux.distributing for other in self.ports.values() if other.lag == port.lag and other is not port
        )

    def _ready_at(self, port: LacpPort) -> float:
        waiting = [other for other in self.ports.values() if other.mux is Mux.WAITING and other.lag == port.lag]
        return ready_at([(other.wait_since, other.wait_until) for other in waiting], port.wait_until)

    def selection(self, port: LacpPort, now: float) -> Selection:
        """What the mux machine is told. Ports of aggregates that are not in use stand by, ready when theirs is chosen."""
        lag = port.lag_id(self.local)
        wrong = lag is None or (port.mux is not Mux.DETACHED and port.lag != lag)
        if wrong or isinstance(port.receive, Defaulted):
            return Selection.UNSELECTED
        if not port.mux.in_sync and not isinstance(port.receive, Current):
            return Selection.UNSELECTED
        return Selection.SELECTED if lag == self.chosen and port.ifindex in self._usable else Selection.STANDBY

    def _step(self, port: LacpPort, now: float) -> bool:
        selection = self.selection(port, now)
        ready = now >= port.ready_at
        inputs = MuxInput(selection, ready, port.partner_sync(self.local), port.partner_collecting())
        return port.step_mux(inputs, now, port.lag_id(self.local))

    def broken(self) -> list[str]:
        """What must hold of ports in service and does not, one sentence each."""
        found = []
        partners = set()
        for port in self.ports.values():
            if not port.mux.collecting:
                continue
            partners.add((port.partner.system, port.partner.key, port.key(self.local)))
            if not isinstance(port.receive, Current):
                found.append(f"{port.name}: in service in the state {port.receive.name}")
            elif not port.partner_sync(self.local):
                found.append(f"{port.name}: in service, and the partner is not in sync")
            if port.lag != self.chosen:
                found.append(f"{port.name}: in service in an aggregate that is not in use")
        serving = [port.name for port in self.ports.values() if port.mux.distributing]
        if self._max_ports is not None and len(serving) > self._max_ports:
            found.append(f"{', '.join(serving)} in service, max_ports is {self._max_ports}")
        if len(partners) > 1:
            found.append("ports in service have different partners or keys")
        return found

    # -- for people ----------------------------------------------------------------------------------------------------

    def lead(self, lag: LagId | None) -> LacpPort | None:
        """The leading port of an aggregate; None when it has no port."""
        for aggregate in self._aggregates(self.ports.values()):
            if aggregate.lag == lag:
                return self.ports[self._policy.lead(aggregate).ifindex]
        return None

    def place(self, port: LacpPort, now: float, fallback: str, fallback_at: float | None) -> Place:
        """Where a port stands; `fallback` and its moment as in Place."""
        lag = port.member_of(self.local)
        lead, used_lead = self.lead(lag), self.lead(self.chosen)
        used = lag is not None and lag == self.chosen
        held_back = self._held_back(port, now)
        waited = used and not held_back and now >= port.ready_at
        echo = port.looped(self.local)
        return Place(
            local=self.local,
            lead=lead.ifindex if lead else 0,
            used=used,
            used_lead=used_lead.name if used_lead else "",
            policy=self.policy_name,
            standby=waited and self.selection(port, now) is Selection.STANDBY,
            max_ports=self._max_ports,
            restoring=held_back,
            fallback=fallback,
            fallback_at=fallback_at,
            echo_port=next((one.name for one in self.ports.values() if echo and one.source == port.heard_from), ""),
        )


def member_of(port: LacpPort, local: LocalSystem) -> Member:
    """A port as the policies see it. The system with the smaller identifier decides by its own priorities."""
    ours = (local.priority, int.from_bytes(local.mac))
    theirs = (port.partner.system_priority, int.from_bytes(port.partner.system))
    own_end = (*ours, port.priority, port.number)
    rank = min(own_end, (*theirs, port.partner.port_priority, port.partner.port))
    current = isinstance(port.receive, Current)
    return Member(port.ifindex, rank, port.kernel_priority, port.sticky, port.speed_mbps, current)
