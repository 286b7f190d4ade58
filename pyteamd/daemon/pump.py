"""The pump: one Team and the kernel it lives in. The only code that touches the Team of a running daemon.

`feed` takes a batch of events and brings the kernel to what the Team then wants. For each event: handle it, write what follows
from it, note it in the trace; what became of the writes is the next event. Only after the whole batch come packet sockets, frames
and log lines, which may take time.

There is no queue between tasks and no second task: whoever has events (the netlink reader, a packet socket, a control request,
the clock) calls `feed`, and because it never awaits, nobody else can be in it at the same time. Waking another task first would
cost half as much again before the first write. What comes while a write is under way waits in the kernel's socket buffers, which
are bounded and say when they overflow.

`perform` may be replaced by something that returns at once and calls `done` in the event loop later (a thread that writes);
meanwhile events are digested, and what they lead to is written when `done` was called.

Time is an argument, or comes from the clock given at the start. So a pump can be driven without an event loop: `feed`, and `wake`
when `wake_at` comes. Only `clock`, `request` and `until` wait, and need trio.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

import trio

from pyteamd.core import invariants
from pyteamd.core.team import Team
from pyteamd.core.trace import Trace
from pyteamd.daemon.ahead import foresee, leaves_valid
from pyteamd.daemon.unconfirmed import Unconfirmed
from pyteamd.kernel.api import Kernel
from pyteamd.model.desired import Frame, Level, Note, Outputs, Tap, Write
from pyteamd.model.errors import KernelGone, KernelRefused
from pyteamd.model.events import (
    Applied,
    CarrierSeen,
    Event,
    HostName,
    HostsResolved,
    LinkGone,
    LinkSeen,
    Overrun,
    PortRemove,
    Refused,
    Stop,
    Tick,
)
from pyteamd.views.metrics import Gauges

MAXIMUM_ROUNDS = 100
"""Times to write for one batch of events; a start with many ports needs a few."""
RETRY_S = 1.0
SHORTEST_SLEEP_S = 0.001
REST_S = 0.01
"""When nothing has changed for so long, invariants are checked and fail-overs thought through."""
REST_SHARE = 3
"""… or for so many times as long as that takes."""

ABOUT_ANY_LINK = frozenset((LinkSeen, LinkGone, CarrierSeen))
"""The kernel tells them of all links; a team is concerned by some."""

PARTING = (Stop, PortRemove)
"""After these, ports are released and their packet sockets closed."""

LEVELS = {
    Level.DEBUG: logging.DEBUG,
    Level.INFO: logging.INFO,
    Level.WARNING: logging.WARNING,
    Level.ERROR: logging.ERROR,
}

Done: TypeAlias = Callable[[Sequence[Write], Sequence[Refused] | KernelGone], None]


class Performer(Protocol):
    """Does the writes, and calls `done` in the event loop's thread, before it returns or later."""

    def __call__(self, writes: Sequence[Write], done: Done) -> None: ...


class Surroundings(Protocol):
    """What a pump needs besides the kernel: see taps.py and daemon.py."""

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


class Pump:
    """Owner of one Team. Plain methods run to their end without letting another task in."""

    def __init__(
        self,
        team: Team,
        kernel: Kernel,
        around: Surroundings,
        trace: Trace,
        log: logging.Logger,
        time_s: Callable[[], float] = trio.current_time,
    ) -> None:
        """`time_s`: the monotonic clock that `now` of every feed was read from."""
        self.team = team
        self.kernel = kernel
        self.ifindex = team.view.ifindex
        self.trace = trace
        self.perform: Performer = self._perform_now
        self.gauges = Gauges()
        self.errno = 0
        """Of the last refused write."""
        self.unconfirmed = Unconfirmed("", log)
        self._around = around
        self._log = log
        self._time_s = time_s
        self._pending: deque[Event] = deque()
        self._busy = self._feeding = self._lost = False
        self._rounds = 0
        self._answers = 0
        """Answers of writes that the Team has still to hear of; until then it counts as busy."""
        self._began = 0.0
        self._frames: list[Frame] = []
        self._said: Outputs | None = None
        self._notes: list[Note] = []
        self._collectors: list[list[Refused]] = []
        self._fed = trio.lowlevel.ParkingLot()
        self._alarm: trio.CancelScope | None = None
        self._retry_at = self._rest_at = self._taps_at = math.inf
        self._rest_s = REST_S
        self._forecast: Mapping[Event, tuple[Write, ...]] = {}
        self._ahead: Event | None = None
        """The event whose writes were performed before it was digested, which has still to come."""
        self._ahead_writes: tuple[Write, ...] = ()
        self._ahead_result: Sequence[Refused] | KernelGone | None = None
        self._broken: set[str] = set()
        self._asked: set[HostName] = set()
        """Hosts that are being looked up."""
        self._ports: tuple[int, ...] = ()
        """Those that packet sockets and prepared writes are for."""
        self._level = team.setup.debug_level
        self._runner = team.runner

    def feed(self, events: Iterable[Event], now: float) -> None:
        """Digest events with all that follows from them. UserError from an event of a user; it was without effect."""
        pending = self._pending
        pending.extend(events)
        self._rounds = 0
        self._feeding = True
        digested = not pending  # without an event somebody only wants those who wait to look again
        try:
            while pending:
                event = pending.popleft()
                # Asked only now: the events before this one may have changed the answer.
                if type(event) in ABOUT_ANY_LINK and event != self._ahead and not self.team.wants(event):
                    continue
                digested = True
                self._digest(event, now)
        finally:
            self._feeding = False
            if digested:
                self._afterwards(now)

    def write_ahead(self, events: Iterable[Event]) -> bool:
        """If it is known what the Team will want because of these events, write that. The events have to be fed then.

        Only the first event that concerns the Team counts: what was foreseen holds for a team at rest.
        """
        if not self._forecast or self._busy or self._pending:
            return False
        for event in events:
            if type(event) is CarrierSeen and (writes := self._forecast.get(event, ())):
                self._forecast = {}
                self._ahead, self._ahead_writes, self._ahead_result = event, writes, None
                self._busy = True
                self._began = self._time_s()
                self.perform(writes, self._done)
                return True
            if not leaves_valid(event, self.team):
                return False
        return False

    async def request(self, event: Event) -> tuple[Refused, ...]:
        """Feed a user's event and wait until the kernel has answered; what it refused is the result. UserError."""
        refused: list[Refused] = []
        self._collectors.append(refused)
        try:
            self.feed((event,), self._time_s())
            while self._busy:
                await self._fed.park()
        finally:
            self._collectors = [other for other in self._collectors if other is not refused]
        return tuple(refused)

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until the condition holds after some feed, or the time is up. Returns whether it holds."""
        with trio.move_on_after(timeout_s):
            while not condition():
                await self._fed.park()
        return condition()

    async def clock(self) -> None:
        """Feed a Tick whenever the Team's deadline comes, until cancelled."""
        while True:
            # A deadline in the past would be a fault of the core; it shall not cost a whole processor.
            at = max(self.wake_at(), self._time_s() + SHORTEST_SLEEP_S)
            with trio.CancelScope(deadline=at) as self._alarm:
                await trio.sleep_forever()
            now = self._time_s()
            self.gauges.woke(now - self._alarm.deadline)
            self.wake(now)

    def wake_at(self) -> float:
        """When to call `wake` if nothing is fed before; infinity for never."""
        return self._due() if self._busy else min(self._due(), self._rest_at)

    def wake(self, now: float) -> None:
        """Time has passed: do what is due."""
        if now >= self._due():
            self._retry_at = math.inf
            self.feed((Tick(),), now)
        if now >= self._rest_at and not self._busy:
            self._rest_at = math.inf
            self._at_rest(now)

    def resolve(self, hosts: Iterable[HostName]) -> None:
        """Find the addresses of these hosts, and feed them."""
        self._around.resolve(hosts)

    def perform_here(self) -> None:
        """Do the next writes in the event loop, and wait for them."""
        self.perform = self._perform_now

    def log(self, notes: Iterable[Note]) -> None:
        """Write notes to the log."""
        for note in notes:
            if note.fault:
                self._around.fault(note.text)
            else:
                self._log.log(LEVELS[note.level], "%s", note.text)

    # -- one event -----------------------------------------------------------------------------------------------------

    def _digest(self, event: Event, now: float) -> None:
        team = self.team
        writes: tuple[Write, ...] = ()
        try:
            team.handle(event, now)
            if self._answers:
                self._answers -= 1
                self._busy = self._answers > 0
            if type(event) in PARTING:
                self._last_words()
            if self._ahead is not None and event == self._ahead:
                writes = self._end_ahead()
            elif not self._busy:
                if writes := team.writes(now):
                    self._write(writes, now)
                else:
                    team.rest(now)
        finally:
            outputs = team.take()
            self._frames += outputs.frames
            self._notes += outputs.notes
            if said := self._said:
                outputs, self._said = Outputs(said.frames + outputs.frames, said.notes + outputs.notes), None
            self.trace.record(now, event, writes, outputs)
        if writes or outputs.notes or not leaves_valid(event, team):
            self._forecast = {}
            self._rest_at = now + self._rest_s
        if type(event) is HostsResolved:
            self._asked.difference_update(event.addresses)
        if type(event) is Overrun or (self._lost and type(event) is Tick):
            self._resync(now)

    def _last_words(self) -> None:
        """Frames that go out now: what is written next closes the sockets they go through."""
        self._said = outputs = self.team.take()
        self._notes += outputs.notes
        for frame in outputs.frames:
            self._around.send(frame)

    def _write(self, writes: tuple[Write, ...], now: float) -> None:
        self._rounds += 1
        if self._rounds > MAXIMUM_ROUNDS:
            if self._rounds == MAXIMUM_ROUNDS + 1:
                self._log.error("The kernel is not as it shall be after writing %d times.", MAXIMUM_ROUNDS)
            self._retry_at = now + RETRY_S
            return
        self._busy = True
        self._began = now
        self.perform(writes, self._done)

    def _perform_now(self, writes: Sequence[Write], done: Done) -> None:
        try:
            result: Sequence[Refused] | KernelGone = self.kernel.apply(self.ifindex, writes)
        except KernelGone as gone:
            result = gone
        done(writes, result)

    def _done(self, writes: Sequence[Write], result: Sequence[Refused] | KernelGone) -> None:
        """The writes are done or refused: that is the next event, before all that already wait."""
        if self._began:
            self.gauges.wrote(self._time_s() - self._began)
            self._began = 0.0
        if self._ahead is not None:
            self._ahead_result = result
            return
        following: list[Event] = []
        if isinstance(result, KernelGone):
            following.append(LinkGone(self.ifindex))
        else:
            refused = [refusal.write for refusal in result]
            if applied := tuple([write for write in writes if write not in refused]):
                following.append(Applied(applied))
            following += result
            for refusal in result:
                self.errno = refusal.errno
                for collector in self._collectors:
                    collector.append(refusal)
        # The Team is not asked again before it has heard everything.
        self._answers = len(following)
        if self._lost:
            following.append(Overrun())
        if self._feeding:
            self._pending.extendleft(reversed(following))
        else:
            self.feed(following, self._time_s())

    def _end_ahead(self) -> tuple[Write, ...]:
        """The event whose writes were performed ahead has been digested: now the Team may hear what became of them."""
        writes, result = self._ahead_writes, self._ahead_result
        self._ahead, self._ahead_result = None, None
        if result is not None:
            self._done(writes, result)
        return writes

    def _resync(self, now: float) -> None:
        """Messages were lost: read everything, once the writes are done. If even that fails, the clock tries again."""
        self._lost = self._busy
        if self._busy:
            return
        try:
            self._pending.appendleft(self.kernel.dump(self.ifindex))
        except KernelGone:
            self._pending.appendleft(LinkGone(self.ifindex))
        except KernelRefused as refusal:
            self._log.error("%s", refusal)
            self._lost = True
            self._retry_at = now + RETRY_S

    # -- after the events ----------------------------------------------------------------------------------------------

    def _afterwards(self, now: float) -> None:
        team, around = self.team, self._around
        frames, self._frames = self._frames, []
        notes, self._notes = self._notes, []
        ports = tuple(team.ports)
        if self._rounds or frames or notes or ports != self._ports or now >= self._taps_at:
            self._taps_at = around.update_taps(team.taps(), now)
            for frame in frames:
                around.send(frame)
            self.log(notes)
        if ports != self._ports:
            self._ports = ports
            around.ports_changed(ports)
            self.kernel.prepare(team.prepared())
        if team.runner is not self._runner:
            self._runner = team.runner
            around.runner_replaced()
        if team.setup.debug_level != self._level:
            self._level = team.setup.debug_level
            around.debug_level(self._level)
        if hosts := [host for host in team.unresolved() if host not in self._asked]:
            self._asked.update(hosts)
            around.resolve(hosts)
        if self._alarm is not None:
            at = self.wake_at()
            if at != self._alarm.deadline:
                self._alarm.deadline = at
        self._fed.unpark_all()

    def _due(self) -> float:
        deadline = self.team.deadline()
        at = min(self._retry_at, self._taps_at)
        return at if deadline is None else min(deadline, at)

    def _at_rest(self, now: float) -> None:
        """Say what must not be, once each; then think of what might come."""
        for sentence in invariants.check(self.team, now):
            if sentence not in self._broken:
                self._broken.add(sentence)
                self._log.error("This is a bug, please report it: %s", sentence)
        self._forecast = foresee(self.team, now)
        for writes in self._forecast.values():
            self.kernel.prepare(writes)
        self._rest_s = max(REST_S, REST_SHARE * (self._time_s() - now))
