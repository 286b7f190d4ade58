"""A daemon in a simulated world: the shipped Reader with the shipped Pump of each team, called by a clock that jumps instead of by tasks.

What is simulated is what lies around them: the kernel, packet sockets, the resolver. What happened is told from the trace, step by step
as the core saw it: first what was said, then what was written. A complaint of the shell itself is a fault.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from pyteamd.core.invariants import check
from pyteamd.core.team import Team
from pyteamd.core.trace import Trace, encode
from pyteamd.daemon.fleet import ENDED, SharedReader
from pyteamd.daemon.pump import Pump
from pyteamd.daemon.reader import Reader
from pyteamd.daemon.writing import Done
from pyteamd.kernel.api import Batch
from pyteamd.model.desired import Frame, Level, Tap, Write
from pyteamd.model.errors import KernelGone
from pyteamd.model.events import Event, HostName, HostsResolved, Refused, Stop
from pyteamd.model.words import in_words
from pyteamd.sim.net import Dice, SimSocket
from pyteamd.sim.waiting import WaitingSimKernel

OnNews = Callable[[str, str], None]
"""Called with what happens: kind (see Happened) and text."""


class NotQuiet(AssertionError):
    """Something happens without end at one moment."""


class Faults(logging.Logger):
    """The log. Notes are taken from the trace; any other line is a fault, or an error of the user."""

    def __init__(self, report: OnNews, kind: str = "broken") -> None:
        super().__init__("simulated")
        self._report = report
        self._kind = kind

    def log(self, level: int, msg: object, *args: object, **kwargs: object) -> None:
        """A note."""

    def error(self, msg: object, *args: object, **kwargs: object) -> None:
        """What must not happen."""
        self._report(self._kind, str(msg) % args)


class SimDaemon:
    """One process on a simulated kernel: the reader, and the teams it serves. `ended` says that the process is gone."""

    farewell = ""
    """Said when a team has come to its end."""

    def __init__(self, kernel: WaitingSimKernel, report: OnNews, name_of: Callable[[int], str]) -> None:
        self.kernel = kernel
        self.report = report
        self.name_of = name_of
        self.reader = Reader(kernel)
        self.served: dict[str, ServedTeam] = {}
        """By the name of the device; those that ended, too."""
        self.hosts: Mapping[HostName, str] = {}
        """What the resolver knows."""
        self.sent: Callable[[Frame], None] = lambda frame: None
        """Told of each frame."""
        self.batches: Dice | None = None
        """Decides how many of the events that wait are read at once; None: all."""

    @property
    def ended(self) -> bool:
        """Whether no team is left."""
        return all(one.ended for one in self.served.values())

    def hear(self, batch: Batch, now: float) -> None:
        """Events that the reader gets at once."""
        if self.ended:
            return
        teams = list(self.served.values())
        try:
            self.reader.hear(batch, now)
        finally:
            for one in teams:
                one.tell()
        for one in teams:
            one.follow(now)

    def poll(self, now: float) -> bool:
        """Read what can be read, and wake up if it is time. Returns whether there was anything."""
        busy = False
        waiting = self.kernel.take_events() if not self.ended else []
        while waiting and not self.ended:
            busy = True
            number = 1 + self.batches.below(len(waiting)) if self.batches else len(waiting)
            batch, waiting = waiting[:number], waiting[number:]
            self.hear(batch, now)
        for one in list(self.served.values()):
            busy |= one.poll(now)
        return busy

    def wakes_at(self) -> float:
        """When the clock matters next; infinity for never."""
        return min((one.wakes_at() for one in self.served.values()), default=math.inf)

    def stop(self, now: float) -> None:
        """A signal came."""
        for one in self.served.values():
            one.stop(now)

    def kill(self) -> None:
        """End the process without a word, as SIGKILL does."""
        for one in self.served.values():
            one.leave()
        self.kernel.close()


class ServingDaemon(SimDaemon):
    """A process with many teams: the lines of each begin with its name, and a fault of one is its own."""

    farewell = ENDED

    def __init__(self, kernel: WaitingSimKernel, report: OnNews, name_of: Callable[[int], str]) -> None:
        super().__init__(kernel, report, name_of)
        self.reader = SharedReader(kernel, self._broken)

    def _broken(self, pump: Pump, fault: Exception) -> None:
        for one in self.served.values():
            if one.pump is pump:
                one.report("broken", repr(fault))
                one.leave()


class ServedTeam:
    """One team of a daemon; also the Surroundings of its pump. `ended` says that it is served no more."""

    def __init__(self, daemon: SimDaemon, team: Team, report: OnNews, keep: bool = False) -> None:
        """`keep`: as `-N`, leave device and ports as they are on the way out."""
        self.daemon = daemon
        self.team = team
        self.report = report
        self.ended = False
        self.ended_at: float | None = None
        kernel = daemon.kernel
        beginning = {"config": team.config.dump(), "link": encode(team.facts.team)}
        beginning |= {"adopted": team.view.adopted, "enslave": team.enslave}
        self.pump = Pump(team, kernel, self, Trace(beginning), Faults(report), lambda: kernel.net.now)
        self.pump.perform = self._perform
        self.pump.links = daemon.reader.links
        self._kernel = kernel
        self._keep = keep
        self._sockets: dict[tuple[int, Tap], SimSocket] = {}
        self._told = 0
        """Steps of the trace that were reported."""
        self._refused: deque[frozenset[Write] | None] = deque()
        """What the kernel refused of each list of writes that is still to be reported; None: there was no device."""
        self._unresolved: list[HostName] = []

    def begin(self, now: float) -> None:
        """Listen, dump, go."""
        self.daemon.reader.pumps[self.pump.ifindex] = self.pump
        self._kernel.watch_team(self.pump.ifindex)
        self.feed(self._kernel.dump(self.pump.ifindex), now)

    def feed(self, event: Event, now: float) -> None:
        """One event with all that follows from it. UserError as the core says."""
        if not self.ended:
            self._do(lambda: self.pump.feed(self.pump.with_others(event), now), now)

    def poll(self, now: float) -> bool:
        """Hear the frames that came, and wake up if it is time. Returns whether there was anything."""
        frames = [frame for socket in self._sockets.values() for frame in socket.read()]
        busy = bool(frames)
        if frames:
            self._do(lambda: self.pump.feed(frames, now), now)
        if not self.ended and self.wakes_at() <= now:
            busy = True
            self._do(lambda: self.pump.wake(now), now)
        return busy

    def wakes_at(self) -> float:
        """When the clock matters next; infinity for never."""
        return math.inf if self.ended else self.pump.wake_at()

    def stop(self, now: float) -> None:
        """It is to end in good order."""
        self.feed(Stop(self._keep), now)

    def leave(self) -> None:
        """Nobody listens for it any more."""
        if self.ended:
            return
        self.ended = True
        self.ended_at = self._kernel.net.now
        for socket in self._sockets.values():
            socket.close()
        self._sockets.clear()
        self.daemon.reader.pumps.pop(self.pump.ifindex, None)
        self.daemon.reader.own(self.pump, ())
        self._kernel.unwatch_team(self.pump.ifindex)

    # -- what the pump needs -------------------------------------------------------------------------------------------

    def update_taps(self, wanted: Mapping[int, frozenset[Tap]], now: float) -> float:
        places = {(ifindex, tap) for ifindex, taps in wanted.items() for tap in taps}
        for place in self._sockets.keys() - places:
            self._sockets.pop(place).close()
        for ifindex, tap in sorted(places - self._sockets.keys(), key=repr):
            try:
                self._sockets[ifindex, tap] = self._kernel.open_port(ifindex, tap)
            except KernelGone:
                continue  # the event that says so is on its way
        return math.inf

    def send(self, frame: Frame) -> None:
        link = self._kernel.links.get(frame.port)
        socket = next((socket for place, socket in self._sockets.items() if place[0] == frame.port), None)
        if socket is not None and link is not None and link.running:
            self.daemon.sent(frame)
            socket.send(frame.octets)

    def resolve(self, hosts: Iterable[HostName]) -> None:
        self._unresolved += hosts

    def debug_level(self, level: int) -> None:
        """See Surroundings."""

    def ports_changed(self, ports: Iterable[int]) -> None:
        self.daemon.reader.own(self.pump, ports)

    def runner_replaced(self) -> None:
        """See Surroundings."""

    def fault(self, text: str) -> None:
        """See Surroundings. In a simulation a fault is what is looked for."""
        raise AssertionError(text)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _perform(self, writes: Sequence[Write], done: Done) -> None:
        result: Sequence[Refused] | KernelGone
        try:
            result = self._kernel.apply(self.pump.ifindex, writes)
        except KernelGone as gone:
            result = gone
        no_device = isinstance(result, KernelGone)
        self._refused.append(None if no_device else frozenset(refusal.write for refusal in result))  # type: ignore[union-attr]
        done(writes, result)

    def _do(self, action: Callable[[], None], now: float) -> None:
        """Do something that a daemon's shell does, and what follows from it."""
        try:
            action()
        finally:
            self.tell()
        self.follow(now)

    def follow(self, now: float) -> None:
        """What follows from the last step outside of the pump."""
        if self._unresolved:
            found = {host: self.daemon.hosts.get(host, "") for host in self._unresolved}
            self._unresolved = []
            self.feed(HostsResolved(found), now)
        for problem in () if self.ended else check(self.team, now):
            self.report("broken", problem)
        if not self.ended and (self.team.gone or self.team.done or self.team.failed):
            self._finish()

    def tell(self) -> None:
        """Report the new steps of the trace."""
        for number, entry in self.pump.trace.since(self._told):
            self._told = number + 1
            for note in entry.outputs.notes:
                if note.level is not Level.DEBUG:
                    self.report(note.level.value, note.text)
            if not entry.writes or (refused := self._refused.popleft()) is None:
                continue
            for write in entry.writes:
                self.report("refused" if write in refused else "write", in_words(write, self.daemon.name_of))

    def _finish(self) -> None:
        team = self.team
        if team.failed:
            self.report("error", team.failed)
        if not (team.gone or self._keep or (team.failed and team.view.adopted)):
            self._kernel.delete_link(self.pump.ifindex)
        self.leave()
        if self.daemon.farewell:
            self.report("info", self.daemon.farewell)
        if self.daemon.ended:
            self._kernel.close()
