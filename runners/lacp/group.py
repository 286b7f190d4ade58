"""The ports of a team together: which aggregate is used, and what that means for each port's mux machine.

How it works: selection depends on the mux states (a port that has expired keeps its place only when attached, an aggregate in use is left
when it carries nothing) and the mux machines depend on selection, so both are computed in turn until nothing moves any more: no mux
machine, not the choice of the aggregate, not the choice of its ports.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set
from copy import copy
from dataclasses import replace
from typing import NamedTuple

from pyteamd.runners.base import Supposed
from pyteamd.runners.lacp.blocked import Place
from pyteamd.runners.lacp.choice import Candidate, Choice
from pyteamd.runners.lacp.keys import LacpConfig, LacpPortConfig
from pyteamd.runners.lacp.machines import (
    COUPLED,
    INDEPENDENT,
    Current,
    Defaulted,
    Expired,
    Mux,
    MuxInput,
    Selection,
    Waiting,
    next_mux,
)
from pyteamd.runners.lacp.port import LacpPort
from pyteamd.runners.lacp.selection import Aggregate, LagId, Member, choose, in_use, ready_at
from pyteamd.runners.lacp.system import SPEED_CODES, LocalSystem

SETTLE_LIMIT = 32
"""Rounds after which selection and mux machines must have come to rest; the longest real way: give way, detach, wait, attach, serve."""

BY_USER = "user"
LONG_AGO = float("-inf")


class PortFault(AssertionError):
    """What must hold does not, because of these ports."""

    def __init__(self, what: str, ports: list[int]) -> None:
        super().__init__(what)
        self.ports = ports


class Look(NamedTuple):
    """What is computed of all ports at one moment, once for everything that judges them; never stored."""

    now: float
    lags: Mapping[int, LagId | None]
    """The aggregate each link could belong to. It does not depend on the mux machines, nor does `in_sync`."""
    in_sync: Set[int]
    """Ports whose partner is in sync with us."""
    ready_at: Mapping[int, float]
    """When waiting is over, of the ports that wait."""

    def ready(self, ifindex: int) -> bool:
        """Waiting is over, or it does not wait."""
        return self.now >= self.ready_at.get(ifindex, LONG_AGO)


class Group:
    """All LACP ports of a team. `ports` is in ifindex order. Owned by one runner."""

    def __init__(self, local: LocalSystem, policy_name: str, max_ports: int | None) -> None:
        self.local = local
        self.ports: dict[int, LacpPort] = {}
        self.choice = Choice(policy_name)
        self.max_ports = max_ports
        self.gated: frozenset[int] = frozenset()
        """Ports that a watcher (bfd) keeps from carrying traffic, whatever LACP says."""
        self._usable: frozenset[int] = frozenset()
        """Ports of the aggregate in use that may attach."""

    @property
    def chosen(self) -> LagId | None:
        """The aggregate in use."""
        return self.choice.lag

    def settle(self, now: float) -> None:
        """Step selection and mux machines until all rest. PortFault: they do not."""
        stepped: list[LacpPort] = []
        look = self.look(now)
        for _ in range(SETTLE_LIMIT):
            before = self.chosen, self._usable
            self._select(look)
            stepped = [port for port in self.ports.values() if self._step(port, look)]
            if not stepped and before == (self.chosen, self._usable):
                return
            look = look._replace(ready_at=self.ready_times(self.ports))
        raise PortFault("LACP selection does not come to rest", [port.ifindex for port in stepped] or list(self.ports))

    def look(self, now: float) -> Look:
        """See Look."""
        local, ports = self.local, self.ports
        lags = {ifindex: port.lag_id(local) for ifindex, port in ports.items()}
        in_sync = {ifindex for ifindex, port in ports.items() if port.partner_sync(local)}
        return Look(now, lags, in_sync, self.ready_times(self.ports))

    def check(self) -> None:
        """PortFault: a port is in service and must not be."""
        ports = [port for port in self.ports.values() if port.mux.collecting]
        unfit = [port.ifindex for port in ports if port.lag != self.chosen or not port.partner_sync(self.local)]
        if unfit:
            raise PortFault("in service, and the partner is not in sync or the aggregate not in use", unfit)

    def addressed(self, port: LacpPort) -> bool:
        """Both the team and the port have an Ethernet address to speak with."""
        return any(self.local.mac) and any(port.source)

    def select_by_user(self, ifindex: int, now: float) -> bool:
        """Use this port's aggregate until a port or an aggregate comes, goes, or changes. Returns whether there is one."""
        port = self.ports.get(ifindex)
        lag = port.member_of(self.local) if port else None
        if lag is not None:
            self.choice.pin(lag, self._candidates(self.look(now)))
        return lag is not None

    def would_lose(self, config: LacpConfig, settings: Mapping[int, LacpPortConfig], now: float) -> set[int]:
        """Ports in service that would no longer be, with another policy and limit, and ports set up in another way.

        All of them where another aggregate would be used; not those that only have to tell their partner who they are. Ports without
        settings are about to leave, and count no more.
        """
        policy_name, max_ports = config.agg_select_policy, config.max_ports
        lost = self._loses(policy_name, max_ports, self.set_up_as(settings, heard=False), now) - self.renamed(settings)
        lost |= self._loses(policy_name, max_ports, self.set_up_as(settings), now)
        as_it_is = self.set_up_as({i: port.view.config for i, port in self.ports.items()}, waited=True)
        lost_anyway = self._loses(self.choice.policy_name, self.max_ports, as_it_is, now, arrived=True)
        later = self._loses(policy_name, max_ports, self.set_up_as(settings, waited=True), now, arrived=True)
        return lost | later - lost_anyway

    def renamed(self, settings: Mapping[int, LacpPortConfig]) -> set[int]:
        """Ports in service that are others to the partner with these settings, and out of service until it has heard of it."""
        serving = [port for port in self.ports.values() if port.mux.distributing and port.ifindex in settings]
        others = self.set_up_as(settings)
        return {
            port.ifindex for port in serving if others[port.ifindex].identity(self.local) != port.identity(self.local)
        }

    def _loses(
        self, policy_name: str, max_ports: int | None, ports: dict[int, LacpPort], now: float, arrived: bool = False
    ) -> set[int]:
        """`arrived`: suppose that every partner is in sync as soon as we are."""
        other = self.supposed(policy_name, max_ports, ports)
        other._select(other.look(now), ports if arrived else ())
        stay = other._usable if other.chosen == self.chosen else ()
        return {ifindex for ifindex in ports if self.ports[ifindex].mux.distributing and ifindex not in stay}

    def used_at_last(self, config: LacpConfig, settings: Mapping[int, LacpPortConfig], now: float) -> frozenset[int]:
        """Ports that will carry traffic when none has to wait any longer, and every partner is in sync as soon as we are."""
        other = self.supposed(config.agg_select_policy, config.max_ports, self.set_up_as(settings, waited=True))
        other._select(other.look(now), other.ports)
        return other._usable - self.gated

    def supposed(self, policy_name: str, max_ports: int | None, ports: dict[int, LacpPort]) -> Group:
        """This group with another policy, limit and ports."""
        other = copy(self)
        other.choice = copy(self.choice)
        other.choice.set_policy(policy_name)
        other.max_ports = max_ports
        other.ports = ports
        return other

    def set_up_as(
        self, settings: Mapping[int, LacpPortConfig], heard: bool = True, waited: bool = False
    ) -> dict[int, LacpPort]:
        """The ports that have settings, as they would be with these; to look at, and no more.

        `heard`: the partner has heard of them. `waited`: no port has to wait any longer, for others, to restore, or until its partner
        speaks again; one whose link has just come, and which knows none, has given up.
        """
        ports = {i: self._set_up(port, settings[i], heard) for i, port in self.ports.items() if i in settings}
        for port in ports.values() if waited else ():
            port.well_since = None
            lag = port.lag_id(self.local)
            if isinstance(port.receive, Expired):
                port.receive = Defaulted() if lag is None or not port.partner_known() else Current(port.receive.until)
                if lag is not None and not port.mux.in_sync:
                    port.standing = Waiting(lag, LONG_AGO, LONG_AGO)
            elif isinstance(port.standing, Waiting):
                port.standing = Waiting(port.lag, LONG_AGO, LONG_AGO)
        return ports

    def _set_up(self, port: LacpPort, config: LacpPortConfig, heard: bool) -> LacpPort:
        supposed = replace(port, view=Supposed(port.view, config))
        lag = supposed.lag_id(self.local)
        if lag is not None and lag != port.lag_id(self.local):
            supposed.standing = Waiting(lag, LONG_AGO, LONG_AGO)
        if heard and port.matched(self.local):
            supposed.told = supposed.actor(self.local)
        return supposed

    def displaced_by(self, config: LacpPortConfig, coming: int) -> bool:
        """Whether a port with these settings, one of so many that come, may take the place of one in service.

        Its number, and what its partner says, are not known. A port that waits for its place is going to have it.
        """
        used = [port for port in self.ports.values() if port.lag is not None and port.lag == self.chosen]
        serving = [port for port in used if port.mux.distributing]
        if not serving or self.max_ports is None or len(used) + coming <= self.max_ports:
            return False
        ours = (self.local.priority, self.local.mac)
        decides = all(ours < (port.partner.system_priority, port.partner.system) for port in serving)
        return not decides or config.lacp_prio <= max(port.view.config.lacp_prio for port in serving)

    def left_for(self, config: LacpPortConfig, coming: int, now: float) -> bool:
        """Whether another aggregate may be used when so many ports like this come, link and partner being the best there are."""
        candidates = self._candidates(self.look(now))
        used = next((one for one in candidates if one.lag == self.chosen and one.carries), None)
        if used is None:
            return False
        best = Member(0, (0, 0, 0, 0), config.prio, config.sticky, max(SPEED_CODES))
        come = (best,) * coming
        rivals = [Aggregate(used.lag._replace(partner_system=b""), come)]
        rivals += [Aggregate(one.lag, (*one.whole.members, *come)) for one in candidates if one is not used]
        best_of_all = choose(self.choice.policy, [used.able_part(), *rivals], used.lag)
        return best_of_all is not None and best_of_all.lag != used.lag

    def choice_in_words(self) -> str:
        """The ports of the aggregate in use, and whether a user chose it; "" when there is none."""
        ports = [str(port.ifindex) for port in self.ports.values() if port.member_of(self.local) == self.chosen]
        return "" if self.chosen is None else " ".join([*ports, BY_USER] if self.choice.by_user else ports)

    def choose_again(self, choice: str, now: float) -> None:
        """Use the aggregate of these ports again, and at once: a moment ago they were in service."""
        by_user = choice.endswith(BY_USER)
        for ifindex in map(int, choice.removesuffix(BY_USER).split()):
            if self.select_by_user(ifindex, now):
                break
        else:
            return
        if not by_user:
            self.choice.take(self.chosen)
        for port in self.ports.values():
            if isinstance(port.standing, Waiting) and port.lag == self.chosen:
                port.standing = Waiting(port.lag, port.standing.since, now)

    # -- which aggregate -----------------------------------------------------------------------------------------------

    def _select(self, look: Look, supposed: Collection[int] = ()) -> None:
        """`supposed`: ports to go by as if their partners were ready."""
        ports = self.ports
        self.choice.update(self._candidates(look), look.now)
        if not any(port.lag == self.chosen or self._lag(port, look) == self.chosen for port in ports.values()):
            self.choice.take(None)
        members = [member_of(port, self.local) for port in ports.values() if self._may_serve(port, look)]
        serving = {ifindex for ifindex, port in ports.items() if port.mux.distributing}
        arrived = {ifindex for ifindex, port in ports.items() if ifindex in supposed or self._partner_ready(port, look)}
        self._usable = in_use(members, self.max_ports, serving, arrived)

    def _lag(self, port: LacpPort, look: Look) -> LagId | None:
        """The aggregate it belongs to."""
        return look.lags[port.ifindex] if port.belongs() else None

    def _candidates(self, look: Look) -> list[Candidate]:
        """Aggregates to choose from: those heard lately. Ports that wait to restore count only as long as nothing else carries."""
        current = [port for port in self.ports.values() if isinstance(port.receive, Current)]
        if any(self._carries(port) for port in current):
            current = [port for port in current if not port.restoring(look.now)]
        return [self._candidate(aggregate, look) for aggregate in self._aggregates(current, look)]

    def _carries(self, port: LacpPort) -> bool:
        """We send on it, and the partner collects."""
        return port.mux.distributing and port.partner_collecting() and port.ifindex not in self.gated

    def _candidate(self, aggregate: Aggregate, look: Look) -> Candidate:
        ports = [self.ports[member.ifindex] for member in aggregate.members]
        ready = {port.ifindex for port in ports if port.mux is not Mux.DETACHED and look.ready(port.ifindex)}
        in_sync = look.in_sync - self.gated
        return Candidate(
            aggregate,
            able=tuple(member for member in aggregate.members if member.ifindex in ready & in_sync),
            ready=bool(ready),
            attached=any(port.mux.in_sync for port in ports),
            carries=any(port.ifindex in in_sync and self._carries(port) for port in ports),
        )

    def _aggregates(self, ports: Iterable[LacpPort], look: Look) -> tuple[Aggregate, ...]:
        found: dict[LagId, list[Member]] = {}
        for port in ports:
            lag = self._lag(port, look)
            if lag is not None:
                found.setdefault(lag, []).append(member_of(port, self.local))
        return tuple(Aggregate(lag, tuple(members)) for lag, members in found.items())

    # -- which of its ports --------------------------------------------------------------------------------------------

    def _may_serve(self, port: LacpPort, look: Look) -> bool:
        """It competes for a place: right aggregate, and attached or done with waiting."""
        if port.lag is None or port.lag != self.chosen or self._held_back(port, look.now):
            return False
        return port.mux.in_sync or (isinstance(port.receive, Current) and look.ready(port.ifindex))

    def _partner_ready(self, port: LacpPort, look: Look) -> bool:
        """Once attached, it carries traffic."""
        collects = port.partner_collecting() or not port.independent
        return collects and port.ifindex in look.in_sync and port.ifindex not in self.gated

    def _held_back(self, port: LacpPort, now: float) -> bool:
        """wait_to_restore keeps it out; a port that is needed need not wait."""
        if not port.restoring(now):
            return False
        others = [other for other in self.ports.values() if other.lag == port.lag and other is not port]
        return any(self._carries(other) for other in others)

    def ready_times(self, ifindexes: Iterable[int]) -> dict[int, float]:
        """When waiting is over, of each of these ports that waits: for itself and those it waits for."""
        ports = self.ports
        waiting = {i: standing for i in ifindexes if isinstance(standing := ports[i].standing, Waiting)}
        if not waiting:
            return {}
        waits: dict[LagId | None, list[tuple[float, float]]] = {one.lag: [] for one in waiting.values()}
        for port in ports.values():
            one = port.standing
            if isinstance(one, Waiting) and one.lag in waits:
                waits[one.lag].append((one.since, one.until))
        times = {lag: ready_at(ones) for lag, ones in waits.items()}
        return {ifindex: times[one.lag][one.until] for ifindex, one in waiting.items()}

    def selection(self, port: LacpPort, look: Look) -> Selection:
        """What the mux machine is told. Ports of aggregates that are not in use stand by, ready when theirs is chosen."""
        lag, standing = look.lags[port.ifindex], port.standing
        wrong = lag is None or (standing.state is not Mux.DETACHED and standing.lag != lag)
        if wrong or isinstance(port.receive, Defaulted):
            return Selection.UNSELECTED
        if not standing.state.in_sync and not isinstance(port.receive, Current):
            return Selection.UNSELECTED
        return Selection.SELECTED if port.ifindex in self._usable and lag == self.choice.lag else Selection.STANDBY

    def _step(self, port: LacpPort, look: Look) -> bool:
        return port.step_mux(self._input(port, look), look.now, look.lags[port.ifindex])

    def _input(self, port: LacpPort, look: Look) -> MuxInput:
        ifindex = port.ifindex
        return MuxInput(
            self.selection(port, look), look.ready(ifindex), ifindex in look.in_sync, port.partner_collecting()
        )

    def stuck(self, look: Look) -> list[str]:
        """Ports that could go on and do not, one sentence each."""
        tables = {True: INDEPENDENT, False: COUPLED}
        return [
            f"{port.name}: {port.mux.value}, and could be {target.value}"
            for port in self.ports.values()
            if (target := next_mux(tables[port.independent], port.mux, self._input(port, look))) is not None
        ]

    def broken(self, look: Look) -> list[str]:
        """What must hold of ports in service and does not, one sentence each."""
        found = []
        partners = set()
        for port in self.ports.values():
            if not port.mux.collecting:
                continue
            partners.add((port.partner.system, port.partner.key, port.key(self.local)))
            if not isinstance(port.receive, Current):
                found.append(f"{port.name}: in service in the state {port.receive.name}")
            elif port.ifindex not in look.in_sync:
                found.append(f"{port.name}: in service, and the partner is not in sync")
            if port.lag != self.chosen:
                found.append(f"{port.name}: in service in an aggregate that is not in use")
        sending = [port for port in self.ports.values() if port.mux.distributing]
        serving = [port.name for port in sending if port.ifindex not in self.gated]
        if self.max_ports is not None and len(serving) > self.max_ports:
            found.append(f"{', '.join(serving)} in service, max_ports is {self.max_ports}")
        if len(partners) > 1:
            found.append("ports in service have different partners or keys")
        return found

    # -- for people ----------------------------------------------------------------------------------------------------

    def lead(self, lag: LagId | None, look: Look) -> LacpPort | None:
        """The leading port of an aggregate; None when it has no port."""
        for aggregate in self._aggregates(self.ports.values(), look):
            if aggregate.lag == lag:
                return self.ports[self.choice.policy.lead(aggregate).ifindex]
        return None

    def place(self, port: LacpPort, now: float, fallback: str, fallback_at: float | None) -> Place:
        """Where a port stands; `fallback` and its moment as in Place."""
        look = self.look(now)
        lag = self._lag(port, look)
        lead, used_lead = self.lead(lag, look), self.lead(self.chosen, look)
        used = lag is not None and lag == self.chosen
        held_back = self._held_back(port, now)
        waited = used and not held_back and look.ready(port.ifindex)
        echo = port.looped(self.local)
        return Place(
            local=self.local,
            lead=lead.ifindex if lead else 0,
            used=used,
            used_lead=used_lead.name if used_lead else "",
            policy=self.choice.policy_name,
            standby=(self.max_ports or 0) if waited and self.selection(port, look) is Selection.STANDBY else 0,
            restoring=held_back,
            ready_at=look.ready_at.get(port.ifindex, LONG_AGO),
            disproved=self.choice.disproved(lag),
            fallback=fallback,
            fallback_at=fallback_at,
            echo_port=next((one.name for one in self.ports.values() if echo and one.source == port.heard_from), ""),
        )


def member_of(port: LacpPort, local: LocalSystem) -> Member:
    """A port as the policies see it. The system with the smaller identifier decides by its own priorities."""
    ours = (local.priority, int.from_bytes(local.mac))
    theirs = (port.partner.system_priority, int.from_bytes(port.partner.system))
    own_end = (*ours, port.view.config.lacp_prio, port.number)
    rank = min(own_end, (*theirs, port.partner.port_priority, port.partner.port))
    current = isinstance(port.receive, Current)
    return Member(port.ifindex, rank, port.view.priority, port.view.config.sticky, port.speed_mbps, current)
