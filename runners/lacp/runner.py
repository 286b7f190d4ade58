"""The lacp runner: aggregates negotiated with the partner (IEEE 802.1AX-2014, 6.4), as teamd's lacp and beyond.

How it works: an event concerns some ports. For each of those: follow the link, read the frame, let timers run out (`port`). If
that changed anything the others must know of, settle: choose an aggregate and let the mux machines step (`group`). Then send what
is due. Whether a port carries traffic, and the carrier of the team, follow from the states of the mux machines.

The raw link is followed, not the link watchers' verdict, as teamd does. While the team is down all its ports are disabled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from pyteamd.model.desired import Desired, Frame, Level, OptionKey, OptionValue, Tap
from pyteamd.model.errors import SET_FAILED, UserError
from pyteamd.model.events import CarrierSeen, Event, FrameSeen, LinkSeen, OptionSeen, PortSeen, Resync, Tick
from pyteamd.model.incidents import Incident
from pyteamd.runners.base import PortView, Reason, Runner, TeamView
from pyteamd.runners.lacp.blocked import Blocked, Place, blocking, port_state, team_state
from pyteamd.runners.lacp.fallback import Fallback
from pyteamd.runners.lacp.frames import LINK_NOT_UP, answer, complaint, count_bad, malformed, read
from pyteamd.runners.lacp.group import Group
from pyteamd.runners.lacp.habits import Habits
from pyteamd.runners.lacp.keys import LacpConfig, LacpPortConfig
from pyteamd.runners.lacp.log_lines import (
    choice_line,
    identifier_line,
    loop_line,
    moved,
    selected_port,
    service_line,
    speeds_line,
    state_line,
    suspects,
)
from pyteamd.runners.lacp.machines import Current, Defaulted, Disabled, Expired, Happening, Link, Pace, Receive
from pyteamd.runners.lacp.membership import Membership
from pyteamd.runners.lacp.port import FAILED, NEVER, LacpPort, mismatch
from pyteamd.runners.lacp.reload import PORT_IDENTITY, Consequences, arrival, disruption, port_disruption, take_over
from pyteamd.runners.lacp.snapshot import in_fallback_before, save
from pyteamd.runners.lacp.system import LocalSystem, link_of
from pyteamd.runners.lacp.words import in_fallback, in_service, out_of_service
from pyteamd.runners.spread.hash_keys import insert_tx_hash
from pyteamd.runners.spread.loadbalance import Spreader
from pyteamd.wire import slow
from pyteamd.wire.ethernet import MAC_LENGTH
from pyteamd.wire.lacpdu import Lacpdu

option_key = lru_cache(4096)(OptionKey)
"""Asked for with every frame."""


class Lacp(Runner):
    """IEEE 802.1AX link aggregation."""

    name = "lacp"
    mode = "loadbalance"
    has_partners = True
    sets_carrier = True
    Config = LacpConfig
    PortConfig = LacpPortConfig
    settable = ("ports.PORT.runner.aggregator.selected",)
    heeds_watchers = False
    summary = "Negotiates aggregates with the partner (IEEE 802.1AX) and spreads traffic over the one in use."

    def __init__(self, config: LacpConfig) -> None:
        super().__init__(config)
        self.config: LacpConfig = config
        by_speed = config.key_policy == "speed"
        local = LocalSystem(config.sys_prio, bytes(MAC_LENGTH), config.active, config.fast_rate, by_speed)
        self._group = Group(local, config.agg_select_policy, config.max_ports)
        self._membership = Membership(self._group, config.system_id)
        self._fallback = Fallback(config.fallback, config.fallback_delay / 1000)
        self.spreader = Spreader(config)
        self._habits = Habits()
        self._serving: frozenset[int] = frozenset()
        self._carrier: bool | None = None
        self._now = 0.0
        self._unsettled = False
        """Something changed that is not in a port's own state."""

    @classmethod
    def normalise(cls, tree: dict[str, Any]) -> None:
        insert_tx_hash(tree)
        as_sonic_has_it = {True: "individual", False: "off"}
        if type(fallback := tree["runner"].get("fallback")) is bool:
            tree["runner"]["fallback"] = as_sonic_has_it[fallback]

    def settings(self) -> Mapping[OptionKey, OptionValue]:
        return self.spreader.settings()

    def announcements(self) -> Iterable[str]:
        return self.spreader.announcements()

    # -- events --------------------------------------------------------------------------------------------------------

    def handle(self, event: Event, team: TeamView, now: float) -> bool:
        before = self.revision
        safe: set[int] = set()
        while True:
            try:
                balanced = self._digest(event, team, now)
                if moved := balanced or self._moved(event, before):
                    self._habits.forget()
                return moved
            except Exception as fault:
                well = [ifindex for ifindex in self._group.ports if ifindex not in safe]
                if self.faults_are_fatal or not well:
                    raise
                suspected = suspects(fault, event, well, self._habits.wakes, now)
                self._make_safe(suspected, fault, now)
                safe.update(suspected)
                event = Tick()

    def _moved(self, event: Event, before: int) -> bool:
        """Whether what is desired may have changed. Nearly all LACPDUs, received and sent, only go on saying what is so."""
        if self.revision != before or type(event) not in (FrameSeen, Tick):
            return True
        return self._carrier is None  # a port is left alone for now, or nothing was settled yet

    def expects(self, event: Event, due: bool, now: float) -> bool:
        try:
            return self._goes_on(event, due, now)
        except Exception:
            if self.faults_are_fatal:
                raise
            self._habits.forget()  # a full look, which can make a port safe, needs none of it
            return False

    def _goes_on(self, event: Event, due: bool, now: float) -> bool:
        """Do what a full look would do, if all that happens is what always does."""
        port = self._habits.repeats(event) if isinstance(event, FrameSeen) else None
        judge_at = self.spreader.deadline() if due else None
        if (port is None and type(event) is not Tick) or (judge_at is not None and judge_at <= now):
            return False
        frames = [] if not due else None if self._due(now) else self._habits.speak(now)
        if frames is None:
            return False
        self.outbox.frames += frames
        if port is not None:
            port.heard_again(self._group.local, now)
        self._now = now
        return True

    def _make_safe(self, ifindexes: Iterable[int], fault: Exception, now: float) -> None:
        """A fault of ours: these ports are out of service until their links have been down. The others go on."""
        names = []
        for ifindex in ifindexes:
            port = self._group.ports[ifindex]
            spoke = port.transmitter.said is not None
            port.begin_again(Link.FAULT)
            if spoke and port.view.running:
                with suppress(Exception):  # the fault may be in speaking
                    self._take_leave(port, now)
            names.append(port.name)
        self._unsettled = True
        kind = f"{type(fault).__name__}: {fault}"
        self.note(Level.ERROR, f"{', '.join(names)}: out of service after a fault of this daemon ({kind})", fault=True)

    def _digest(self, event: Event, team: TeamView, now: float) -> bool:
        """Returns whether flows are to change ports."""
        before, self._now = self._now, now
        came_or_went = self._follow_team(team, now)
        ports = self._group.ports
        touched = None if came_or_went else self._concerned(event, team, now)
        settle = touched is None or self._unsettled or self._due(now)
        touched = list(ports) if touched is None else touched
        known = self._pictures(touched, before)
        usual = (
            isinstance(event, FrameSeen) and event.ifindex in ports and self._frame(ports[event.ifindex], event, now)
        )
        self._refresh(touched, team, now)
        gated = frozenset([ifindex for ifindex in ports if team.ports[ifindex].gated])
        settle = settle or self._unsettled or gated != self._group.gated
        self._group.gated = gated
        if settle or self._pictures(touched, now) != known:
            self._settle(team, now)
            touched = list(ports)
        ready_at = self._group.ready_times(touched)
        for ifindex in touched:
            self._finish(ports[ifindex], ready_at.get(ifindex, now), now)
        if usual and isinstance(event, FrameSeen):
            self._habits.heard(event)
        self._membership.begun = self._membership.begun or isinstance(event, Resync)
        return self.spreader.handle(event, self._weights(team) if self.spreader.balancing else {}, team, now)

    def deadline(self) -> float | None:
        moments = (*self._habits.wakes.values(), *self._common_moments(), self.spreader.deadline())
        return min([moment for moment in moments if moment is not None], default=None)

    def _common_moments(self) -> tuple[float | None, ...]:
        """When something is due that concerns all ports."""
        choice = self._group.choice
        return self._fallback.begins_at(), choice.gives_way_at, choice.news_at()

    def _due(self, now: float) -> bool:
        """A moment has come that concerns all ports."""
        return any(moment is not None and now >= moment for moment in self._common_moments())

    def _follow_team(self, team: TeamView, now: float) -> bool:
        """Ports that come and go, and the address of the team. Returns whether all ports are concerned."""
        before = self._group.local.mac
        renamed = self._membership.follow_identifier(team)
        if renamed and any(before) and self._group.ports:
            self.note(Level.INFO, identifier_line(before, self._group.local.mac))
        moved_in_or_out = self._membership.follow_ports(team, now)
        for ifindex in self._habits.wakes.keys() - self._group.ports.keys():
            del self._habits.wakes[ifindex]
        return renamed or moved_in_or_out

    def _concerned(self, event: Event, team: TeamView, now: float) -> list[int] | None:
        """Ports the event may mean something to, and those whose time has come; None for all, and they are to settle."""
        ports = self._group.ports
        due = [ifindex for ifindex, wake in self._habits.wakes.items() if wake <= now]
        match event:
            case FrameSeen(ifindex=ifindex) | CarrierSeen(ifindex=ifindex) | PortSeen(ifindex=ifindex):
                direct = [ifindex]
            case LinkSeen(ifindex=ifindex) if ifindex != team.ifindex:
                direct = [ifindex]
            case OptionSeen(key=key) if key.name != "priority":
                direct = [key.port]
            case Tick():
                direct = [i for i in ports if team.ports[i].damped == (ports[i].link is Link.UP)]
            case _:
                return None
        wanted = {*due, *direct}
        return [ifindex for ifindex in ports if ifindex in wanted]

    def _refresh(self, touched: Iterable[int], team: TeamView, now: float) -> None:
        """Follow the links of these ports, and let timers run out."""
        for ifindex in touched:
            self._refresh_port(self._group.ports[ifindex], team.ports[ifindex], team, now)

    def _refresh_port(self, port: LacpPort, view: PortView, team: TeamView, now: float) -> None:
        before = port.receive
        if view.speed_mbps or (view.running and view.speed_unknown):
            port.speed_mbps = view.speed_mbps
        apart = [option_key(name, port.ifindex) for name in ("rx_enabled", "tx_enabled")]
        port.set_mode(all(key in team.observed.options for key in apart))
        link = link_of(view, team.up and self._group.addressed(port), port.link)
        if link is not port.link:
            self._set_link(port, link, view.running, now)
        port.expire(self._group.local, now)
        self._note_state(port, before)

    def _set_link(self, port: LacpPort, link: Link, running: bool, now: float) -> None:
        local = self._group.local
        speaks = running and port.pace(local) is not Pace.NONE and not port.transmitter.took_leave
        port.set_link(link, local, now)
        if link is not Link.UP and speaks:
            self._take_leave(port, now)

    def _take_leave(self, port: LacpPort, now: float) -> None:
        """A last word, so that the partner does not count on a port that falls silent."""
        self.send(port.ifindex, port.transmit(self._group.local, now))
        port.transmitter.forget()
        port.transmitter.took_leave = True

    def _note_state(self, port: LacpPort, before: Receive) -> None:
        if before.name != port.receive.name:
            lost = isinstance(port.receive, Expired | Defaulted) and isinstance(before, Current | Expired)
            incident = Incident.PARTNER_LOST if lost else None
            if isinstance(port.receive, Current):
                incident = Incident.PARTNER_FOUND
            self.note(Level.WARNING if lost else Level.INFO, state_line(port, before), port.name, incident)

    # -- frames --------------------------------------------------------------------------------------------------------

    def _frame(self, port: LacpPort, frame: FrameSeen, now: float) -> bool:
        """Returns whether it is an LACPDU that tells nothing new and asks for nothing."""
        useful = read(frame)
        if useful is None:
            return False
        if isinstance(useful, str):
            count_bad(port, useful)
            if malformed(frame, useful) and (text := complaint(port, useful, now)):
                self.note(Level.WARNING, text, port.name)
        elif isinstance(port.receive, Disabled):
            count_bad(port, LINK_NOT_UP)
        elif isinstance(useful, Lacpdu):
            return self._lacpdu(port, useful, frame.source, now)
        else:
            octets = answer(port, useful, now)
            if octets is not None:
                self.send(port.ifindex, octets)
        return False

    def _lacpdu(self, port: LacpPort, pdu: Lacpdu, source: bytes, now: float) -> bool:
        local, before = self._group.local, port.receive
        news = pdu.actor != port.partner or pdu.partner != port.told
        held, known = port.hold_until is not None, port.partner
        port.counters.lacpdus_received += 1
        port.hear(pdu, source, local, now)
        self._note_state(port, before)
        if not news:
            return not port.transmitter.ntt
        if port.looped(local):
            if mismatch(pdu.actor, known):
                echo = next((one.name for one in self._group.ports.values() if one.source == source), "")
                if text := loop_line(port, echo, now):
                    self.note(Level.WARNING, text, port.name)
            return False
        for other in self._group.ports.values():
            if moved(other, port):
                was = other.receive
                other.happen(Happening.MOVED, local, now)
                self.note(Level.INFO, f"{other.name}: partner moved to {port.name}.", other.name)
                self._note_state(other, was)
                self._unsettled = True
        if held:
            self._membership.take_over(port, pdu)
        return False

    # -- consequences --------------------------------------------------------------------------------------------------

    def _pictures(self, touched: Iterable[int], at: float) -> list[tuple[Any, ...]]:
        """What the others, or a successor, must know of these ports."""
        ready_at = self._group.ready_times(touched)
        return [
            (
                type(port.receive),
                port.partner,
                port.told,
                port.standing,
                at >= ready_at.get(port.ifindex, at),
                port.speed_mbps,
                port.independent,
                port.well_since == FAILED,
                port.restoring(at),
            )
            for port in map(self._group.ports.__getitem__, touched)
        ]

    def _settle(self, team: TeamView, now: float) -> None:
        ports = self._group.ports.values()
        self._unsettled = False
        self.revision += 1
        self._group.settle(now)
        self._group.check()
        if (news := self._group.choice.news(now)) is not None:
            self.note(Level.INFO, choice_line(self._group.lead(self._group.chosen, self._group.look(now)), news))
        self._fallback.update(ports, self._group.gated, now, team.awaited)
        serving = self._able()
        for ifindex in sorted(serving ^ self._serving):
            one = self._group.ports.get(ifindex)
            if one is not None:
                one.served_since = now
                level, incident = (
                    (Level.INFO, Incident.IN_SERVICE)
                    if ifindex in serving
                    else (Level.WARNING, Incident.OUT_OF_SERVICE)
                )
                text = service_line(one, ifindex in serving, ifindex in self._fallback.ports)
                self.note(level, text, one.name, incident)
        self._serving = serving
        self._note_speeds()
        holding = any(port.hold_until is not None for port in ports)
        self._set_carrier(None if holding else len(serving) >= self._needed(self.config), team)

    def _able(self) -> frozenset[int]:
        """Ports that may carry traffic. A watcher (bfd) may keep one from it; the mux machines know nothing of that (RFC 7130, 3)."""
        alone, ports = self._fallback.ports, self._group.ports
        return frozenset(i for i, port in ports.items() if port.mux.distributing or i in alone) - self._group.gated

    def _needed(self, config: LacpConfig) -> int:
        """How many ports must be in service for the team to have carrier."""
        return self._fallback.needed(config.min_ports) if self._fallback.ports else config.min_ports

    def _weights(self, team: TeamView) -> dict[int, float]:
        """Ports the kernel may send through, for the balancer."""
        ports = self._group.ports
        sending = [i for i in ports if i in self._serving or ports[i].hold_until is not None]
        return {ifindex: float(team.ports[ifindex].config.weight) for ifindex in sending}

    def _note_speeds(self) -> None:
        serving = [port for port in self._group.ports.values() if port.ifindex in self._serving and port.speed_mbps]
        if self.spreader.becomes_uneven(port.speed_mbps for port in serving):
            self.note(Level.WARNING, speeds_line(serving))

    def _set_carrier(self, carrier: bool | None, team: TeamView) -> None:
        before = team.observed.carrier if self._carrier is None and team.adopted else self._carrier
        if carrier is not None and before is not None and carrier != before:
            level, incident = (Level.INFO, Incident.CARRIER_BACK) if carrier else (Level.ERROR, Incident.CARRIER_LOST)
            self.note(level, f"carrier changed to {'UP' if carrier else 'DOWN'}", "", incident)
        self._carrier = carrier

    def _finish(self, port: LacpPort, ready_at: float, now: float) -> None:
        """Churn, transmission, and when to look again. `ready_at`: when waiting is over."""
        local = self._group.local
        for who, began in zip(("actor", "partner"), port.step_churn(local, now), strict=True):
            if began and port.churn.is_news(who):
                level = Level.WARNING if who == "partner" else Level.INFO
                self.note(level, f"{port.name}: {who} churn: not in sync for a minute.", port.name)
        said, due = None, port.due(local)
        if due is not None and due <= now:
            said = Frame(port.ifindex, port.transmit(local, now))
            self.outbox.frames.append(said)
            due = port.due(local)
        self._habits.learn(port, port.pace(local).interval_s, due, ready_at if ready_at > now else NEVER, said)

    # -- what the kernel and people are told ---------------------------------------------------------------------------

    def desired(self, team: TeamView) -> Desired:
        options: dict[OptionKey, OptionValue] = dict(self.spreader.options())
        for ifindex, port in self._group.ports.items():
            if port.hold_until is not None:
                continue
            alone = ifindex in self._fallback.ports
            serves = (port.mux.distributing or alone) and not team.ports[ifindex].gated
            if port.independent:
                options[option_key("rx_enabled", ifindex)] = port.mux.collecting or alone
                options[option_key("tx_enabled", ifindex)] = serves
            else:
                options[option_key("enabled", ifindex)] = serves
        return Desired(options=options, macs=dict.fromkeys(team.ports, team.mac), carrier=self._carrier)

    def taps(self, port: PortView) -> tuple[Tap, ...]:
        return (Tap(slow.FRAMES, slow.GROUP),)

    def state(self, team: TeamView) -> dict[str, Any]:
        return team_state(self.config)

    def port_state(self, port: PortView, team: TeamView) -> dict[str, Any] | None:
        known = self._group.ports.get(port.ifindex)
        return None if known is None else port_state(known, self._place(known), self.blocking(port.ifindex))

    def machines(self, port: PortView) -> Mapping[str, str]:
        known = self._group.ports.get(port.ifindex)
        return {} if known is None else {"LACP receive": known.receive.name, "LACP mux": known.mux.value}

    def _place(self, port: LacpPort) -> Place:
        return self._group.place(port, self._now, self.config.fallback, self._fallback.begins_at())

    def blocking(self, ifindex: int) -> Blocked | None:
        """The first thing that keeps this port from carrying traffic; None when it does. KeyError: no such port."""
        port = self._group.ports[ifindex]
        return None if ifindex in self._fallback.ports else blocking(port, self._place(port))

    def explain(self, port: PortView, team: TeamView, now: float) -> Reason:
        known, blocked = self._group.ports[port.ifindex], self.blocking(port.ifindex)
        since = known.served_since
        if port.ifindex in self._fallback.ports:
            return in_fallback(self.config.fallback, since)
        return in_service(known, since) if blocked is None else out_of_service(known, blocked, now, since)

    def explain_carrier(self) -> str:
        alone = " (fallback individual: one is enough)" if self._needed(self.config) < self.config.min_ports else ""
        return f"{len(self._serving)} in service, min_ports is {self.config.min_ports}{alone}"

    def broken(self, team: TeamView) -> list[str]:
        look = self._group.look(self._now)
        found = self._group.broken(look) + ([] if self._unsettled else self._group.stuck(look))
        due = self.deadline()
        for ifindex, ready_at in look.ready_at.items():
            if ready_at > self._now and (due is None or due > ready_at):
                found.append(f"{self._group.ports[ifindex].name}: waits until {ready_at}, and nothing wakes it")
        if self._fallback.ports and any(port.mux.distributing for port in self._group.ports.values()):
            found.append("fallback beside a partner")
        return found

    def set(self, path: str, value: str, team: TeamView, now: float) -> None:
        if not self._group.select_by_user(selected_port(path, value), now):
            raise UserError(*SET_FAILED, "the port has no aggregate that could be selected: no partner is heard on it")
        self._unsettled = True

    def leave(self, team: TeamView, now: float) -> None:
        for ifindex in self._group.ports:
            self.leave_port(ifindex, team, now)

    def leave_port(self, ifindex: int, team: TeamView, now: float) -> None:
        self._now = now
        port, view = self._group.ports.get(ifindex), team.ports.get(ifindex)
        if port is None or view is None or port.link is Link.LEAVING:
            return
        before = port.receive
        self._set_link(port, Link.LEAVING, view.running, now)
        self._unsettled = True
        self._note_state(port, before)

    def disruption(self, name: str, config: LacpConfig, ports: Mapping[int, LacpPortConfig], team: TeamView) -> str:
        if name == "min_ports":
            at_last = len(self._group.used_at_last(config, ports, self._now))  # of another aggregate, perhaps
            too_few = self._too_few(config, ports) or self.config.min_ports <= at_last < config.min_ports
            return "team" if too_few else "none"
        return disruption(name, self._consequences(config, ports, team), team)

    def port_disruption(
        self, ifindex: int, name: str, config: LacpConfig, ports: Mapping[int, LacpPortConfig], team: TeamView
    ) -> str:
        found = self._consequences(config, ports, team)
        renamed = found.renamed if name in PORT_IDENTITY else ()
        if ifindex in renamed and self._too_few(config, ports.keys() - renamed):
            return "team"
        return port_disruption(ifindex, name, found)

    def arrival(
        self,
        port: LacpPortConfig,
        config: LacpConfig,
        ports: Mapping[int, LacpPortConfig],
        team: TeamView,
        coming: int = 1,
    ) -> tuple[str, str]:
        return arrival(port, self._consequences(config, ports, team), coming)

    def departure(self, ifindex: int, config: LacpConfig, ports: Mapping[int, LacpPortConfig], team: TeamView) -> str:
        """Another aggregate may be better without it, or too few ports be left for a carrier."""
        worse = self._too_few(config, ports) or self._consequences(config, ports, team).lost
        return "team" if worse else "port"

    def _consequences(self, config: LacpConfig, ports: Mapping[int, LacpPortConfig], team: TeamView) -> Consequences:
        """One object for all questions that are asked with one view (`TeamView.worked_out`)."""
        new = Consequences(config, ports, self._group, self._fallback, self._now)
        return new if team.worked_out is None else team.worked_out.setdefault(self.name, new)

    def _too_few(self, config: LacpConfig, ports: Collection[int]) -> bool:
        """Whether too few of these ports are in service to keep the carrier."""
        return self._carrier is not False and len(self._serving.intersection(ports)) < self._needed(config)

    def reconfigure(self, config: LacpConfig, team: TeamView, now: float) -> None:
        self.config, self._unsettled = config, True
        take_over(config, self._group, self._membership, self._fallback, now)
        self.spreader.reconfigure(config)

    def choice(self) -> str:
        return self._group.choice_in_words()

    def choose_again(self, choice: str, team: TeamView, now: float) -> None:
        self._follow_team(team, now)
        self._refresh(self._group.ports, team, now)
        self._group.choose_again(choice, now)

    # -- a successor ---------------------------------------------------------------------------------------------------

    def snapshot(self, now: float) -> dict[str, Any]:
        return save(self._group.ports.values(), self._group.chosen, now, self._fallback.begun)

    def resume(self, snapshot: Mapping[str, Any], age_s: float, now: float) -> None:
        self._fallback.resume(in_fallback_before(snapshot), now)
        of_no_port = isinstance(snapshot, Mapping) and snapshot.get("ports") == {}
        if not self._membership.resume(snapshot, age_s, now) and not of_no_port:
            self.note(
                Level.WARNING,
                "What the last daemon left is damaged or of another version: partners are listened to again",
            )
