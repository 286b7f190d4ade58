"""What goes out of a team: frames, log lines, packet sockets, and what the shell must be told when it changes.

Gathered event by event, delivered when a whole batch has been digested and its writes are under way: all of it may take time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from pyteamd.core.team import NOTHING, REPEATED, Team
from pyteamd.daemon.log import fields_of
from pyteamd.kernel.api import Kernel
from pyteamd.model.desired import Frame, Level, Note, Outputs, Tap
from pyteamd.model.events import ConfigApply, Event, HostName, HostsResolved
from pyteamd.model.printable import printable

LEVELS: Final = {
    Level.DEBUG: logging.DEBUG,
    Level.INFO: logging.INFO,
    Level.WARNING: logging.WARNING,
    Level.ERROR: logging.ERROR,
}

REWATCHING: Final = frozenset((ConfigApply, HostsResolved))
"""With these, ports may get other watchers, which listen to other frames, even if nothing is written or said."""


class Surroundings(Protocol):
    """What a pump needs besides the kernel: see packet_sockets.py and team_server.py."""

    def update_taps(self, wanted: Mapping[int, frozenset[Tap]], now: float) -> float:
        """Make the open packet sockets those wanted. Returns when to call again whatever happens, or infinity."""
        ...

    def send(self, frame: Frame) -> None:
        """Send a frame."""

    def resolve(self, hosts: Iterable[HostName]) -> None:
        """Find the addresses of these hosts, and feed them."""

    def debug_level(self, level: int) -> None:
        """The level of the log was set by a user."""

    def ports_changed(self, ports: Iterable[int]) -> None:
        """The team has these ports now."""

    def runner_replaced(self) -> None:
        """Another configuration brought another runner."""

    def fault(self, text: str) -> None:
        """A fault of ours cost a port: say so, and keep the trace."""


class Outlet:
    """Gathers what one team has to say, and delivers it after the batch."""

    def __init__(self, team: Team, kernel: Kernel, around: Surroundings, log: logging.Logger) -> None:
        self.taps_at = math.inf
        """When packet sockets have to be looked after, whatever happens."""
        self._team = team
        self._kernel = kernel
        self._around = around
        self._log = log
        self._gathered = NOTHING
        self._said: Outputs | None = None
        """Of the event being digested, what went out before its writes."""
        self._news = True
        """Other events were digested than those that come again and again, and change neither sockets nor what is asked."""
        self._asked: set[HostName] = set()
        """Hosts that are being looked up."""
        self._ports: tuple[int, ...] = ()
        """For these there are packet sockets and prepared writes."""
        self._broken: set[str] = set()
        """Broken invariants that were logged."""
        self._level = team.setup.debug_level
        self._runner = team.runner

    def gather(self, event: Event) -> Outputs:
        """An event has been digested: take what came of it, and return all of it."""
        if type(event) not in REPEATED:
            self._news = True
            if type(event) in REWATCHING:
                self.taps_at = 0.0
        outputs = self._team.take()
        if outputs.frames or outputs.notes:
            self._gathered = joined(self._gathered, outputs)
        if (said := self._said) is not None:
            self._said = None
            return joined(said, outputs)
        return outputs

    def last_words(self) -> None:
        """Frames that go out now: what is written next closes the sockets they go through."""
        self._said = outputs = self._team.take()
        self._gathered = Outputs(self._gathered.frames, (*self._gathered.notes, *outputs.notes))
        for frame in outputs.frames:
            self._around.send(frame)

    def resolve(self, hosts: Iterable[HostName]) -> None:
        """Find the addresses of these hosts, and feed them."""
        self._around.resolve(hosts)

    def resolved(self, event: HostsResolved) -> None:
        """These hosts are no longer looked up."""
        self._asked.difference_update(event.addresses)

    def deliver(self, wrote: bool, now: float) -> None:
        """The batch is digested: open and close packet sockets, send frames, write log lines, say what has changed."""
        team, around = self._team, self._around
        gathered, ports = self._gathered, tuple(team.ports)
        some = gathered.frames or gathered.notes
        if wrote or gathered.notes or (some and self._news) or ports != self._ports or now >= self.taps_at:
            self.taps_at = around.update_taps(team.taps(), now)
        if some:
            self._gathered = NOTHING
            for frame in gathered.frames:
                around.send(frame)
            self.log(gathered.notes)
        if ports != self._ports:
            self._ports = ports
            around.ports_changed(ports)
            self._kernel.encode(team.prepared())
        if self._news or team.joining.hosts.failing:
            self._news = False
            self._tell_changes(now)

    def log(self, notes: Iterable[Note]) -> None:
        """Write notes to the log."""
        for note in notes:
            if note.fault:
                self._around.fault(note.text)
            else:
                self._log.log(LEVELS[note.level], "%s", printable(note.text), extra=self._fields(note))

    def _fields(self, note: Note) -> dict[str, object]:
        """What the journal gets beside the text."""
        return fields_of(
            note.incident,
            TEAM=self._team.facts.team.name,
            RUNNER=self._team.runner.name,
            PORT=note.port,
            REASON=note.reason,
        )

    def accuse(self, broken: Iterable[str]) -> None:
        """Log each broken invariant, once."""
        for sentence in broken:
            if sentence not in self._broken:
                self._broken.add(sentence)
                self._log.error("This is a bug, please report it: %s", sentence)

    def _tell_changes(self, now: float) -> None:
        team, around = self._team, self._around
        if team.runner is not self._runner:
            self._runner = team.runner
            around.runner_replaced()
        if team.setup.debug_level != self._level:
            self._level = team.setup.debug_level
            around.debug_level(self._level)
        if hosts := [host for host in team.unresolved(now) if host not in self._asked]:
            self._asked.update(hosts)
            around.resolve(hosts)


def joined(first: Outputs, second: Outputs) -> Outputs:
    """One after the other."""
    return Outputs((*first.frames, *second.frames), (*first.notes, *second.notes))
