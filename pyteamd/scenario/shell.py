"""A daemon in a simulated world: the shipped Pump and the shipped Reader, called by a clock that jumps instead of by tasks.

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
from pyteamd.daemon.pump import Pump
from pyteamd.daemon.reader import Batch, Reader
from pyteamd.daemon.writing import Done
from pyteamd.model.desired import Frame, Level, Tap, Write
from pyteamd.model.errors import KernelGone
from pyteamd.model.events import Event, HostName, HostsResolved, Refused, Stop
from pyteamd.model.words import in_words
from pyteamd.sim.net import Dice, SimSocket
from pyteamd.sim.waiting import WaitingSimKernel

Report = Callable[[str, str], None]
"""Told what happens: kind (write, refused, broken, or the level of a note) and text."""


class NotQuiet(AssertionError):
    """It goes on and on at one moment."""


class Faults(logging.Logger):
    """The log: notes are told from the trace; what else the pump has to say must not happen."""

    def __init__(self, report: Report) -> None:
        super().__init__("simulated")
        self._report = report

    def log(self, level: int, msg: object, *args: object, **kwargs: object) -> None:
        """A note."""

    def error(self, msg: object, *args: object, **kwargs: object) -> None:
        """A fault."""
        self._report("broken", str(msg) % args)


class SimDaemon:
    """One daemon with one team on a simulated kernel; also the Surroundings of its pump. `ended` says that the process is gone."""

    def __init__(
        self, kernel: WaitingSimKernel, team: Team, report: Report, name_of: Callable[[int], str], keep: bool = False
    ) -> None:
        """`keep`: as `-N`, leave device and ports as they are on the way out."""
        self.kernel = kernel
        self.team = team
        self.ended = False
        self.ended_at: float | None = None
        self.hosts: Mapping[HostName, str] = {}
        """What the resolver knows."""
        self.sent: Callable[[Frame], None] = lambda frame: None
        """Told of each frame."""
        self.batches: Dice | None = None
        """Decides how many of the events that wait are read at once; None: all."""
        beginning = {"config": team.config.dump(), "link": encode(team.facts.team)}
        beginning |= {"adopted": team.view.adopted, "enslave": team.enslave}
        self.pump = Pump(team, kernel, self, Trace(beginning), Faults(report), lambda: kernel.net.now)
        self.pump.perform = self._perform
        self._reader = Reader(kernel)
        self._report = report
        self._name_of = name_of
        self._keep = keep
        self._sockets: dict[tuple[int, Tap], SimSocket] = {}
        self._told = 0
        """Steps of the trace that were reported."""
        self._refused: deque[frozenset[Write] | None] = deque()
        """What the kernel refused of each list of writes that is still to be reported; None: there was no device."""
        self._unresolved: list[HostName] = []

    def begin(self, now: float) -> None:
        """Listen, dump, go."""
        self._reader.pumps[self.pump.ifindex] = self.pump
        self.kernel.watch_team(self.pump.ifindex)
        self.feed(self.kernel.dump(self.pump.ifindex), now)

    def feed(self, event: Event, now: float) -> None:
        """One event with all that follows from it. UserError as the core says."""
        if not self.ended:
            self._do(lambda: self.pump.feed((event,), now), now)

    def hear(self, batch: Batch, now: float) -> None:
        """Events that the reader gets at once."""
        if not self.ended:
            self._do(lambda: self._reader.hear(batch, now), now)

    def poll(self, now: float) -> bool:
        """Read what can be read, and wake up if it is time. Returns whether there was anything."""
        busy = False
        waiting = self.kernel.take_events() if not self.ended else []
        while waiting and not self.ended:
            busy = True
            number = 1 + self.batches.below(len(waiting)) if self.batches else len(waiting)
            batch, waiting = waiting[:number], waiting[number:]
            self.hear(batch, now)
        for socket in list(self._sockets.values()):
            if frames := socket.take():
                busy = True
                self._do(lambda heard=frames: self.pump.feed(heard, now), now)  # type: ignore[misc]
        if not self.ended and self.wakes_at() <= now:
            busy = True
            self._do(lambda: self.pump.wake(now), now)
        return busy

    def wakes_at(self) -> float:
        """When the clock matters next; infinity for never."""
        return math.inf if self.ended else self.pump.wake_at()

    def stop(self, now: float) -> None:
        """A signal came."""
        self.feed(Stop(self._keep), now)

    def kill(self) -> None:
        """The process is gone, without a word to anybody."""
        if not self.ended:
            self.ended_at = self.kernel.net.now
        self.ended = True
        for socket in self._sockets.values():
            socket.close()
        self._sockets.clear()
        self.kernel.close()

    # -- what the pump needs -------------------------------------------------------------------------------------------

    def update_taps(self, wanted: Mapping[int, frozenset[Tap]], now: float) -> float:
        places = {(ifindex, tap) for ifindex, taps in wanted.items() for tap in taps}
        for place in self._sockets.keys() - places:
            self._sockets.pop(place).close()
        for ifindex, tap in sorted(places - self._sockets.keys(), key=repr):
            try:
                self._sockets[ifindex, tap] = self.kernel.open_port(ifindex, tap)
            except KernelGone:
                continue  # the event that says so is on its way
        return math.inf

    def send(self, frame: Frame) -> None:
        link = self.kernel.links.get(frame.port)
        socket = next((socket for place, socket in self._sockets.items() if place[0] == frame.port), None)
        if socket is not None and link is not None and link.running:
            self.sent(frame)
            socket.send(frame.octets)

    def resolve(self, hosts: Iterable[HostName]) -> None:
        self._unresolved += hosts

    def debug_level(self, level: int) -> None:
        """See Surroundings."""

    def ports_changed(self, ports: Iterable[int]) -> None:
        self._reader.own(self.pump, ports)

    def runner_replaced(self) -> None:
        """See Surroundings."""

    def fault(self, text: str) -> None:
        """See Surroundings. In a simulation a fault is what is looked for."""
        raise AssertionError(text)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _perform(self, writes: Sequence[Write], done: Done) -> None:
        result: Sequence[Refused] | KernelGone
        try:
            result = self.kernel.apply(self.pump.ifindex, writes)
        except KernelGone as gone:
            result = gone
        no_device = isinstance(result, KernelGone)
        self._refused.append(None if no_device else frozenset(refusal.write for refusal in result))  # type: ignore[union-attr]
        done(writes, result)

    def _do(self, action: Callable[[], None], now: float) -> None:
        """Something that the shell of a daemon does; then what follows outside of it."""
        try:
            action()
        finally:
            self._tell()
        if self._unresolved:
            found = {host: self.hosts.get(host, "") for host in self._unresolved}
            self._unresolved = []
            self.feed(HostsResolved(found), now)
        for problem in () if self.ended else check(self.team, now):
            self._report("broken", problem)
        if not self.ended and (self.team.gone or self.team.done or self.team.failed):
            self._finish()

    def _tell(self) -> None:
        """Report the new steps of the trace."""
        for number, entry in self.pump.trace.since(self._told):
            self._told = number + 1
            for note in entry.outputs.notes:
                if note.level is not Level.DEBUG:
                    self._report(note.level.value, note.text)
            if not entry.writes or (refused := self._refused.popleft()) is None:
                continue
            for write in entry.writes:
                self._report("refused" if write in refused else "write", in_words(write, self._name_of))

    def _finish(self) -> None:
        team = self.team
        if team.failed:
            self._report("error", team.failed)
        if not (team.gone or self._keep or (team.failed and team.view.adopted)):
            self.kernel.delete_link(self.pump.ifindex)
        self.kill()
