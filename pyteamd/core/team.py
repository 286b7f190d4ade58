"""The core: one team, told what happened and asked what to do. No I/O, no clock, no log.

Call `handle` with each event in order of arrival, perform `writes` until there are none, then call `rest`. Send the frames and print
the notes of `take`, and come back at `deadline` with a Tick. What the kernel said last is in `facts`; what it should look like is computed
from that, from the runner, and from the settings that are still to be written `once`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from enum import IntEnum
from typing import Any

from pyteamd.config.config import Config, PortSetup
from pyteamd.core import reload
from pyteamd.core.alarm import Alarm
from pyteamd.core.answers import Answers
from pyteamd.core.backoff import Backoff
from pyteamd.core.carrier import Carrier
from pyteamd.core.facts import MASTER_KINDS, KernelFacts
from pyteamd.core.joining import JoiningPorts
from pyteamd.core.port import Port
from pyteamd.core.ports import Ports
from pyteamd.core.reconcile import reconcile
from pyteamd.core.set_once import SetOnce
from pyteamd.core.team_now import TeamNow
from pyteamd.core.wanted import WantedPorts
from pyteamd.model.desired import Desired, Level, Note, OptionKey, Outputs, Tap, Write
from pyteamd.model.errors import ADD_FAILED, NO_DEVICE, SET_FAILED, UserError
from pyteamd.model.events import (
    Applied,
    CarrierSeen,
    ConfigApply,
    Event,
    FrameSeen,
    HostName,
    HostsResolved,
    LinkGone,
    LinkSeen,
    OptionGone,
    OptionSeen,
    Overrun,
    PortAdd,
    PortConfigUpdate,
    PortGone,
    PortRemove,
    PortSeen,
    Refused,
    Resync,
    Stop,
    Tick,
    UserSet,
)
from pyteamd.model.incidents import Incident
from pyteamd.model.setup import Setup
from pyteamd.runners.base import Runner, TeamView

NOTHING = Outputs()
"""What most events lead to."""
ANNOUNCED = frozenset((OptionSeen, PortSeen))
"""Events of the team family: mostly what we wrote ourselves. Nothing is said or sent for one that tells nothing new."""
REPEATED = frozenset((FrameSeen, Tick))


class Phase(IntEnum):
    """How far a team has come; it never goes back."""

    AWAITED = 0
    """No dump was read yet."""
    STARTING = 1
    RUNNING = 2
    """The first reconciliation is complete."""
    RELEASING = 3
    """Told to end: the ports leave."""
    KEEPING = 4
    """Told to end and to leave all as it is."""
    GONE = 5
    """There is no such device any more."""


class Team:
    """One team device and its ports."""

    def __init__(
        self,
        config: Config,
        link: LinkSeen,
        *,
        setup: Setup | None = None,
        adopted: bool = False,
        enslave: bool = True,
        strict: bool = False,
    ) -> None:
        """`adopted`: the device existed before the daemon started. `enslave`: add the configured ports (not `-n`).

        `strict`: a port that the kernel refuses at the start fails it, as with teamd; otherwise it is tried again.
        """
        self.config = config
        self.setup = setup or Setup()
        self.enslave = enslave
        self.runner = config.runner_class(config.runner)
        self.facts = KernelFacts(link)
        self.once = SetOnce(self.runner, config.team)
        self.joining = JoiningPorts(config, self.facts, self.once, config.port_names() if enslave else ())
        self.carrier = Carrier(self.facts)
        self.view: TeamView = TeamNow(config.team.device or link.name, self.facts, self.once, self.joining, adopted)
        self.phase = Phase.AWAITED
        self.failed = ""
        """Why the team cannot start; "" when it can."""
        self.backoff = Backoff()
        self.answers = Answers(self.facts, self.once, self.joining, self.backoff, strict)
        self._notes = [Note(Level.INFO, text) for text in self.runner.announcements()]
        self._dirty = True
        """Something happened since nothing was left to write."""
        self._alarm = Alarm()

    # -- how far it is -------------------------------------------------------------------------------------------------

    @property
    def ports(self) -> Ports:
        """The ports, in ifindex order."""
        return self.joining.ports

    @property
    def members(self) -> WantedPorts:
        """Which links are to be ports."""
        return self.joining.members

    @property
    def started(self) -> bool:
        """The first reconciliation is complete, or the team was told to end before."""
        return self.phase >= Phase.RUNNING

    @property
    def stopping(self) -> bool:
        """On the way out: nothing is chosen or added any more."""
        return self.phase >= Phase.RELEASING

    @property
    def done(self) -> bool:
        """Stopped, and nothing is left to do."""
        return self.stopping and not self._dirty and (self.phase is not Phase.RELEASING or not self.ports)

    @property
    def gone(self) -> bool:
        """The device was deleted."""
        return self.phase is Phase.GONE

    # -- what the shell calls ------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> bool:
        """Digest one event. UserError: a user's request cannot be met, nothing changed. False: there is nothing to write, nor to take."""
        due = self._alarm.due(now)
        stirred = self._run_due(now) if due else False
        if type(event) in REPEATED and self._is_expected(event, stirred, now):
            if due:
                self._set_alarm(now)
            return due or self._dirty or type(event) is Tick
        if HANDLERS[type(event)](self, event, now) or stirred:
            if self.stopping:
                self._dirty = True
            else:
                moved = self.runner.handle(event, self.view, now) is not False
                self._dirty = self._dirty or moved or (stirred and self.others_wait())
                if self.view.adopted and not self.runner.sets_carrier:
                    self.carrier.look(now)
                    follows_links = self.carrier.desired() is not None  # which may mean nothing to the runner
                    self._dirty = self._dirty or follows_links
            if self._writable():
                self.once.forget_done(self.facts.observed, self.view.ifindex)
            self._set_alarm(now)
            return True
        if due:
            self._set_alarm(now)
        return due or self._dirty or type(event) not in ANNOUNCED

    def writes(self, now: float) -> tuple[Write, ...]:
        """What to perform now, in order; () when the kernel is as desired or has to be given time: then call `rest`."""
        if not self._dirty or not self._writable():
            return ()
        mode = None if self.stopping else self.once.mode_first(self.facts.observed)
        if mode is not None:
            return self.backoff.allowed((mode,), now)
        return self.backoff.allowed(reconcile(self.desired(), self.facts.observed), now)

    def rest(self, now: float) -> None:
        """There is nothing to write, and no answer of the kernel is awaited: what was begun is complete."""
        if self._dirty and self._writable():
            self._dirty = False
            self.phase = max(self.phase, Phase.RUNNING)
            self.ports.mark_written()
            self._set_alarm(now)

    @property
    def unfinished(self) -> bool:
        """Something has changed since `rest`: there may be something to write."""
        return self._dirty

    def deadline(self) -> float | None:
        """When to come back with a Tick if nothing else happens; None for never."""
        return self._alarm.at

    def take(self) -> Outputs:
        """Frames and notes since the last call: the team's, each port's in order, the runner's."""
        notes: list[Note] = []
        for said in (self._notes, self.joining.notes, self.answers.notes, self.carrier.notes):
            if said:
                notes += said
                said.clear()
        probes, heard = self.ports.take()
        sent, told = self.runner.outbox.take()
        if notes or probes or heard or sent or told:
            return Outputs((*probes, *sent), (*notes, *heard, *told))
        return NOTHING

    def desired(self) -> Desired:
        """What the kernel should look like."""
        if self.stopping:
            leaving = (*self.ports, *self.facts.members()) if self.phase is Phase.RELEASING else ()
            return Desired(members=dict.fromkeys(leaving, False))
        base = self.runner.desired(self.view)
        options = dict(base.options)
        for ifindex, port in self.ports.items():
            options[OptionKey("user_linkup", ifindex)] = port.up
        options.update(self.once.options)
        macs = dict(base.macs)
        if self.once.mac is not None:
            macs[self.view.ifindex] = self.once.mac
        carrier = self.carrier.desired() if base.carrier is None else base.carrier
        found = self.joining.desired()
        steal, set_down = frozenset(found.steal), frozenset(found.set_down)
        return Desired(options, macs, found.members, carrier, steal, set_down)

    def taps(self) -> Mapping[int, frozenset[Tap]]:
        """Packet sockets wanted, by port."""
        wanted = {i: frozenset(port.taps() | set(self.runner.taps(port))) for i, port in self.ports.items()}
        return {ifindex: taps for ifindex, taps in wanted.items() if taps}

    def wants(self, event: Event) -> bool:
        """Whether there is anything new in what the team is told of a link; in any other event there is."""
        match event:
            case LinkSeen(ifindex=ifindex):  # mostly of a change of which the early word was heard
                return ifindex not in self.ports or not self.facts.repeats(event)
            case CarrierSeen(ifindex=ifindex):
                return ifindex in self.ports
            case LinkGone(ifindex=ifindex):
                return self.facts.knows(ifindex)
        return True

    def follows(self, link: LinkSeen, lower: LinkSeen | None) -> bool:
        """Whether the team is to be told of this link, which stands on `lower`: see namespace_links.py."""
        if self.facts.follows(link) or self._named(link):
            return True
        return lower is not None and (lower.master == self.view.ifindex or self._named(lower))

    def unresolved(self, now: float) -> list[HostName]:
        """Hosts whose addresses are to be looked up now, for some port to be watched."""
        hosts = self.joining.needed_hosts()
        return self.joining.hosts.to_look_up(hosts, now) if hosts else []

    def prepared(self) -> tuple[Write, ...]:
        """Writes a fail-over may need, worth encoding ahead."""
        return tuple(self.ports.prepared())

    def replace_runner(self) -> None:
        """The configuration names another runner now. Only for a team without ports."""
        took_carrier, self.runner = self.runner.sets_carrier, self.config.runner_class(self.config.runner)
        self.once.set_up(self.runner)
        self.carrier = Carrier(self.facts)  # which goes back to the driver with the mode
        self.once.leave_mode = took_carrier and not self.runner.sets_carrier
        self._notes += [Note(Level.INFO, text) for text in self.runner.announcements()]

    # -- what the kernel says ------------------------------------------------------------------------------------------

    def _link_seen(self, event: LinkSeen, now: float) -> bool:
        ifindex = event.ifindex
        if ifindex == self.view.ifindex:
            had = self.facts.observed.carrier
            for refused in tuple(self.joining.refusals) if event.mtu != self.facts.team.mtu else ():
                self.backoff.forgive_port(refused, now)
                if refused in self.members.out:
                    self.joining.try_again(refused)
            changed = self.facts.team_seen(event, now)
            if self.started and not self.stopping and event.up and not self.runner.sets_carrier:
                self.carrier.tell(had)
            return changed
        port = self.ports.get(ifindex)
        wanted = self.members.wants(event)
        before = self.facts.link_seen(event, now)
        if port is None:
            if self.phase <= Phase.RUNNING and before is not None and self.joining.is_taken(before, event.master):
                self.joining.taken(before, event.master)
            if before is None or (before.up and not event.up):
                self.backoff.forgive_port(ifindex, now)
            if wanted:
                self.joining.look_at(event, before)
            matters = wanted or ifindex in self.members.released or self.joining.hindered_by(ifindex, event.lower)
            return self._join(ifindex, now) or matters
        if event.master != self.view.ifindex:
            if self.phase <= Phase.RUNNING:
                self.joining.taken(port.link, event.master)
            self._leave(ifindex)
            return True
        changed = port.running != event.running
        if port.link.names != event.names:
            self.joining.renamed(port.link, event)
        port.link = event
        if changed:
            self._carrier(port, now)
        return before != event

    def _carrier_seen(self, event: CarrierSeen, now: float) -> bool:
        port = self.ports.get(event.ifindex)
        if port is None or port.running == event.running:
            return False
        port.link = self.facts.running_seen(event.ifindex, event.running)
        self._carrier(port, now)
        return True

    def _carrier(self, port: Port, now: float) -> None:
        """The raw link of the port has changed."""
        self.backoff.forget_port(port.ifindex)
        port.carrier(self.ports.now_of(port), now)

    def _link_gone(self, event: LinkGone, now: float) -> bool:
        if event.ifindex == self.view.ifindex:
            if not self.gone:
                self._notes.append(Note(Level.WARNING, "Team device removal detected."))
            self.phase = Phase.GONE
            return True
        link = self.facts.links.get(event.ifindex)
        lost = event.ifindex in self.ports or (link is not None and self.joining.is_taken(link, 0))
        if link is not None and lost and self.phase <= Phase.RUNNING:
            self._notes.append(
                Note(Level.WARNING, f"{link.name}: is no port of the team any more", link.name, Incident.PORT_LOST)
            )
        matters = self._leave(event.ifindex) or (
            link is not None and (self._named(link) or self.joining.hindered_by(event.ifindex, link.lower))
        )
        self.facts.link_gone(event.ifindex)
        self.joining.link_gone(event.ifindex, link.names if link is not None and self._named(link) else ())
        return matters

    def _port_seen(self, event: PortSeen, now: float) -> bool:
        before = self.facts.port_list.get(event.ifindex)
        self.facts.port_list[event.ifindex] = event
        port = self.ports.get(event.ifindex)
        if port is None:
            return self._join(event.ifindex, now)
        port.seen = event
        return before != event

    def _port_gone(self, event: PortGone, now: float) -> bool:
        self.facts.port_gone(event.ifindex)
        return self._leave(event.ifindex)

    def _option_seen(self, event: OptionSeen, now: float) -> bool:
        if not self.facts.option_seen(event, now):
            return False
        port = self.ports.get(event.key.port)
        if port is None:
            return not event.key.port or self._join(event.key.port, now)
        if event.key.name == "priority" and isinstance(event.value, int):
            port.kernel_priority = event.value
        return True

    def _option_gone(self, event: OptionGone, now: float) -> bool:
        return self.facts.option_gone(event.key)

    def _resync(self, event: Resync, now: float) -> bool:
        """Make the picture equal to the dump, whatever was missed."""
        if all(link.ifindex != self.view.ifindex for link in event.links):
            return self._link_gone(LinkGone(self.view.ifindex), now)
        for ifindex in self.facts.links_missing_from(event):
            self._link_gone(LinkGone(ifindex), now)
        self.facts.replace_options(event)
        self.ports.read_priorities()
        for listed in event.ports:
            self._port_seen(listed, now)
        # Owners first, so that who has a link is told by name; wanted links last, so that what is in their way is known by then.
        for link in sorted(
            event.links, key=lambda link: (link.kind not in MASTER_KINDS, self.members.wants(link), link.ifindex)
        ):
            self._link_seen(link, now)
        for ifindex in self.facts.ports_missing_from(event):
            self._port_gone(PortGone(ifindex), now)
        if self.phase is Phase.AWAITED:
            self.phase = Phase.STARTING
            self.once.leave_mode = self.view.adopted and not self.facts.port_list and not self.runner.sets_carrier
            for name in [name for name in self.members.wanted if self.facts.called(name) is None]:
                ours = name in self.facts.team.names
                why = "not added: it is the team itself" if ours else "Skipped adding a missing port."
                self._notes.append(Note(Level.WARNING, f"{name}: {why}", name))
        return True

    def _nothing(self, event: Event, now: float) -> bool:
        """Overrun: a Resync follows. Tick: whatever was due has been run."""
        return False

    def _frame_seen(self, event: FrameSeen, now: float) -> bool:
        port = self.ports.get(event.ifindex)
        if port is None:
            return False
        changed = port.frame(self.ports.hearing(port, self.view.mac), event, now)
        self._dirty = self._dirty or changed
        self._alarm.sooner(port.deadline())
        # With many ports most events are answers to pings, which change nothing; only who asked for frames is told of them.
        return changed or type(self.runner).taps is not Runner.taps

    def _applied(self, event: Applied, now: float) -> bool:
        self.answers.applied(event, now)
        return True

    def _refused(self, event: Refused, now: float) -> bool:
        self.failed = self.answers.refused(event, now, starting=not self.started) or self.failed
        return True

    # -- what users say ------------------------------------------------------------------------------------------------

    def _user_set(self, event: UserSet, now: float) -> bool:
        if event.path == "setup.debug_level":
            self.setup.set_debug_level(event.value)
        elif event.path.startswith("damping."):
            self._forgive(int(event.path.removeprefix("damping.")), event.value, now)
        else:
            self.runner.set(event.path.removeprefix("runner."), event.value, self.view, now)
        return True

    def _forgive(self, ifindex: int, value: str, now: float) -> None:
        """A user clears the penalty of a port that flapped; another penalty than 0 cannot be set."""
        port = self.ports.get(ifindex)
        if port is None or value.strip() != "0":
            raise UserError(*SET_FAILED, "a penalty can be cleared, with 0, and not set")
        port.forgive(self.ports.now_of(port), now)

    def _port_add(self, event: PortAdd, now: float) -> bool:
        link = self.facts.links.get(event.ifindex) or event.link
        if link is None or event.ifindex == self.view.ifindex:
            raise UserError(*NO_DEVICE)
        if event.ifindex in self.ports:
            return False
        if wrong := self.joining.liberties(link).unusable:
            raise UserError(*ADD_FAILED, wrong)
        self.members.want([name for name in link.names if name in self.config.written] or [link.name], link)
        if event.ifindex not in self.facts.links:  # another device's port: kept in mind from now on
            self._link_seen(link, now)
        self.backoff.forget_port(event.ifindex)
        return True

    def _port_remove(self, event: PortRemove, now: float) -> bool:
        if event.ifindex in self.ports:
            self.runner.leave_port(event.ifindex, self.view, now)
        elif not self.facts.complete(event.ifindex) or event.ifindex in self.members.released:
            if not self.joining.give_up(event.ifindex):
                raise UserError(*NO_DEVICE)
            return True
        self.joining.release(event.ifindex)
        return True

    def _port_config_update(self, event: PortConfigUpdate, now: float) -> bool:
        refused = self.joining.settings_of_refused()
        self.config.set_port(event.name, dict(event.tree))
        self.joining.reprioritise(event.name)
        self._try_again(refused, (event.name,))
        self._join_all(now)
        return True

    def _config_apply(self, event: ConfigApply, now: float) -> bool:
        new = reload.accepted(self, event.text, lenient=event.written is not None)
        if event.written is not None:
            new.written = event.written
        self.joining.former |= {ifindex: name for ifindex, name in event.former if ifindex in self.facts.links}
        setups = list(reload.staying(self, new, event.kept))
        once, team, named = dict(self.once.options), self.config.team, self.config.written
        refused = self.joining.settings_of_refused()
        another_runner = new.runner_class is not self.config.runner_class
        for_all = (new.runner, new.team) != (self.config.runner, team)
        self.config.become(new)
        for ifindex, why in (
            self.joining.rename((*named, *event.tried), event.kept, event.out).items() if self.enslave else ()
        ):
            self.runner.leave_port(ifindex, self.view, now)
            self.joining.release(ifindex, why)
        for port, setup in setups:
            if port.ifindex in self.ports:
                self.joining.reconfigure(port, setup, now)
        if another_runner:
            self.replace_runner()
        else:
            settings = self.runner.settings()
            self.runner.reconfigure(new.runner, self.view, now)
            self.once.options.update(dict(self.runner.settings().items() - settings.items()))
        changed = {name: after for _, name, _, after in reload.values(team, new.team)}
        self._try_again(refused, new.written, for_all, for_any=another_runner)
        self.once.reconfigure(changed)
        known = len(event.mac) == 2 * len(self.facts.team.mac) > 0  # of another length once the team has another type
        if known:
            self.once.mac = bytes.fromhex(event.mac)
        self.once.mac_stays = known and not self.ports
        self.setup.debug_level = max(0, changed.get("debug_level", self.setup.debug_level))
        for key, _ in self.once.options.items() - once.items():
            self.backoff.forget(key)
        if event.choice:
            self._choose_again(event.choice, setups, now)
        self._join_all(now)
        return True

    def _try_again(
        self, refused: Mapping[int, PortSetup], names: Container[str], for_all: bool = False, for_any: bool = False
    ) -> None:
        """Links that the kernel refused under other settings: their own or those of all if they have one of these names, or any."""
        for ifindex, before in refused.items():
            link = self.facts.links[ifindex]
            named = any(name in names for name in link.names)
            if for_any or (named and (for_all or self.joining.settings(link) != before)):
                self.joining.try_again(ifindex)
                self.backoff.forget_port(ifindex)

    def _choose_again(self, choice: str, setups: list[tuple[Port, PortSetup]], now: float) -> None:
        """A configuration is taken back, and with it what was chosen under it."""
        for port, setup in setups:
            if OptionKey("priority", port.ifindex) in self.once.options:
                port.kernel_priority = setup.config.prio  # the old one again, for a runner that chooses by it
        self.runner.choose_again(choice, self.view, now)

    def _hosts_resolved(self, event: HostsResolved, now: float) -> bool:
        self.joining.resolved(event.addresses, now)
        self._join_all(now)
        return True

    def _stop(self, event: Stop, now: float) -> bool:
        self.phase = max(self.phase, Phase.KEEPING if event.keep else Phase.RELEASING)
        self.joining.closed = True
        if not event.keep:
            self.runner.leave(self.view, now)
        return True

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _named(self, link: LinkSeen) -> bool:
        """Whether people may ask about this link, whatever owns it: it is wanted, configured, or was taken out."""
        if link.ifindex in self.members.out or self.members.wants(link):
            return True
        return any(name in self.config.written or self.config.has_port(name) for name in link.names)

    def _join(self, ifindex: int, now: float) -> bool:
        return self.joining.join(ifindex, now, found=self.view.adopted and not self.started)

    def _join_all(self, now: float) -> None:
        """Members that are no ports yet may join now: settings changed, or a host's address became known."""
        for ifindex in sorted(self.facts.port_list):
            if ifindex not in self.ports:
                self._join(ifindex, now)

    def _leave(self, ifindex: int) -> bool:
        self.backoff.forget_port(ifindex)
        return self.joining.leave(ifindex) is not None

    def _is_expected(self, event: Event, stirred: bool, now: float) -> bool:
        """The runner has digested what comes again and again; `stirred`: it, or others, had something to do."""
        if self.stopping or (stirred and self.others_wait()):
            return False
        return self.runner.expects(event, stirred, now)

    def _run_due(self, now: float) -> bool:
        """Run what is due. Returns whether anything may follow from it: a ping that is sent and was answered changes nothing."""
        stirred = self._alarm.stirs(now)
        for _ in self.ports.tick(now):
            stirred = self._dirty = True  # even if the event itself turns out to be a request that cannot be met
            self.runner.handle(Tick(), self.view, now)
        return stirred

    def others_wait(self) -> bool:
        """Others than the runner and the watchers may have been what was due."""
        return self.backoff.holding or self.carrier.deadline() is not None or self.joining.hosts.failing

    def _writable(self) -> bool:
        """The first dump was read, the device is there, and nothing keeps the team from starting."""
        return self.phase not in (Phase.AWAITED, Phase.GONE) and not self.failed

    def _set_alarm(self, now: float) -> None:
        # Of a team that stops they would stay due.
        others = () if self.stopping else (self.runner.deadline(), self.carrier.deadline(), self.joining.deadline(now))
        self._alarm.set(self.ports.deadline(), (self.backoff.deadline(now), *others))


HANDLERS: Mapping[type, Callable[[Team, Any, float], bool]] = {
    LinkSeen: Team._link_seen,
    CarrierSeen: Team._carrier_seen,
    LinkGone: Team._link_gone,
    PortSeen: Team._port_seen,
    PortGone: Team._port_gone,
    OptionSeen: Team._option_seen,
    OptionGone: Team._option_gone,
    Resync: Team._resync,
    Overrun: Team._nothing,
    Tick: Team._nothing,
    FrameSeen: Team._frame_seen,
    Applied: Team._applied,
    Refused: Team._refused,
    HostsResolved: Team._hosts_resolved,
    UserSet: Team._user_set,
    PortAdd: Team._port_add,
    PortRemove: Team._port_remove,
    PortConfigUpdate: Team._port_config_update,
    ConfigApply: Team._config_apply,
    Stop: Team._stop,
}
