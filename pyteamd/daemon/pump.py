"""The pump: one Team and the kernel it lives in. The only code that touches the Team of a running daemon.

`feed` takes a batch of events and brings the kernel to what the Team then wants. For each event: handle it, write what follows
from it, note it in the trace; what became of the writes is the next event. Only after the whole batch come packet sockets, frames
and log lines, which may take time.

There is no queue between tasks and no second task: what has events (the netlink reader, a packet socket, a control request,
the clock) calls `feed`, and because it never awaits, nobody else can be in it at the same time. Waking another task first would delay the
first write by a turn of the event loop. What comes while a write is under way waits in the kernel's socket buffers, which are bounded and
say when they overflow.

`perform` may be replaced by something that returns at once and calls `done` in the event loop later (a thread that writes);
meanwhile events are digested, and what they lead to is written when `done` was called.

Time is an argument, or comes from the clock given at the start. So a pump can be driven without an event loop: `feed`, and `wake`
when `wake_at` comes. Only `clock`, `request` and `until` wait, and need trio.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import trio

from pyteamd.core import invariants
from pyteamd.core.namespace_links import NamespaceLinks
from pyteamd.core.team import NOTHING, Team
from pyteamd.core.trace import Trace
from pyteamd.daemon.bell import Bell
from pyteamd.daemon.forecast import Forecast, Result, leaves_valid, may_foresee
from pyteamd.daemon.outlet import Outlet, Surroundings
from pyteamd.daemon.unconfirmed import Unconfirmed
from pyteamd.daemon.writing import ANSWERS, MAXIMUM_ROUNDS, Done, Performer, Writing
from pyteamd.kernel.api import Kernel
from pyteamd.model.desired import Note, Write
from pyteamd.model.errors import KernelGone, KernelRefused
from pyteamd.model.events import (
    CarrierSeen,
    Event,
    HostName,
    HostsResolved,
    LinkGone,
    LinkSeen,
    Overrun,
    PortRemove,
    Refused,
    Resync,
    Stop,
    Tick,
)
from pyteamd.views.metrics import Gauges

RETRY_S: Final = 1.0
SHORTEST_SLEEP_S: Final = 0.001
REST_S: Final = 0.01
"""How long nothing must have changed before fail-overs are worked out ahead."""
REST_SHARE: Final = 3
"""… or for so many times as long as that takes."""
CHECK_S: Final = 0.7
"""The same before invariants are checked: a link that goes and comes back is judged by how it ends."""

ABOUT_ANY_LINK: Final = frozenset((LinkSeen, LinkGone, CarrierSeen))
"""The kernel tells them of all links, the reader those that a team is to know; there is something new in some of them."""

PARTING: Final = (Stop, PortRemove)
"""After these, ports are released and their packet sockets closed."""


class Agenda:
    """When time alone makes the pump do something, besides the Team's own deadline."""

    def __init__(self) -> None:
        self.retry_at = self.rest_at = self.check_at = math.inf
        self._rest_s = REST_S
        self.disturbed = False
        """Something has changed since `settles`."""

    def retry(self, now: float) -> None:
        """Something did not work: once more, a little later."""
        self.retry_at = now + RETRY_S

    def disturb(self) -> None:
        """Something changed."""
        self.disturbed = True

    def settles(self, now: float) -> bool:
        """All that has come is digested. Returns whether something changed: then rest begins again."""
        if not self.disturbed:
            return False
        self.disturbed = False
        self.rest_at, self.check_at = math.inf, now + CHECK_S
        return True

    def rest(self, now: float) -> None:
        """Fail-overs are to be worked out ahead."""
        self.rest_at = now + self._rest_s

    def rested(self, took_s: float) -> None:
        """Thinking ahead took this time: the rest before the next time grows with it."""
        self._rest_s = max(REST_S, REST_SHARE * took_s)


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
        self.trace = trace
        self.gauges = Gauges()
        self.unconfirmed = Unconfirmed("", log)
        self.links: NamespaceLinks | None = None
        """All there are; None: the Team is told of all."""
        self._log = log
        self._time_s = time_s
        self._pending: deque[Event] = deque()
        self._feeding = self._lost = False
        self._writing = Writing(self.ifindex, self._perform_now, self.gauges)
        self._forecast = Forecast()
        self._outlet = Outlet(team, kernel, around, log)
        self._agenda = Agenda()
        self._bell = Bell()

    @property
    def ifindex(self) -> int:
        """Of the team."""
        return self.team.view.ifindex

    @property
    def perform(self) -> Performer:
        """What does the writes; may be replaced at any time, and counts from the next batch on."""
        return self._writing.perform

    @perform.setter
    def perform(self, performer: Performer) -> None:
        self._writing.perform = performer

    @property
    def errno(self) -> int:
        """Of the last refused write."""
        return self._writing.errno

    def feed(self, events: Iterable[Event], now: float) -> None:
        """Digest events with all that follows from them. UserError from an event of a user; it was without effect."""
        pending = self._pending
        pending.extend(events)
        if (ahead := self._forecast.event) is not None and ahead not in pending:
            # The kernel said so: it is digested even if its message was lost, or is late, or differs.
            pending.appendleft(ahead)
        begun = self._writing.begun
        self._feeding = True
        mattered = not pending  # without an event, tasks that wait only check their conditions
        try:
            while pending:
                event = pending.popleft()
                # Asked only now: the events before this one may have changed the answer.
                if type(event) in ABOUT_ANY_LINK and not (self._forecast.awaits(event) or self.team.wants(event)):
                    continue
                mattered = self._digest(event, now) or mattered
        except BaseException:
            mattered = True
            raise
        finally:
            self._feeding = False
            if mattered or self._agenda.disturbed:
                self._outlet.deliver(self._writing.begun > begun, now)
                if self._agenda.settles(now) and not self._recalls(now):
                    self._agenda.rest(now)
                self._bell.ring(self.wake_at())

    def write_ahead(self, events: Iterable[Event]) -> bool:
        """If it is known what the Team will want because of these events, write that. The events have to be fed then."""
        writing = self._writing
        if writing.busy or self._pending or not (writes := self._forecast.match(events, self.team)):
            return False
        writing.fresh()
        return writing.begin(writes, self._time_s(), self._done)

    async def request(self, event: Event) -> tuple[Refused, ...]:
        """Feed a user's event and wait until the kernel has answered; what it refused is the result. UserError."""
        with self._writing.refusals() as refused:
            self.feed(self.with_others(event), self._time_s())
            await self._bell.until(lambda: not self._writing.busy)
        return tuple(refused)

    def learn(self, event: Event) -> None:
        """Tell the Team what it has to know for this event, which is about to be judged."""
        if others := self.with_others(event)[:-1]:
            self.feed(others, self._time_s())

    def with_others(self, event: Event) -> tuple[Event, ...]:
        """What is said of a link, what a user wants, or a dump; and before it the links that the Team has to know for it."""
        if self.links is None:
            return (event,)
        if isinstance(event, Resync):
            return self.links.of(self.team, event)
        return (*self.links.before(self.team, event), event)

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until the condition holds after some feed, or the time is up. Returns whether it holds."""
        with trio.move_on_after(timeout_s):
            await self._bell.until(condition)
        return condition()

    async def clock(self) -> None:
        """Feed a Tick whenever the Team's deadline comes, until cancelled."""
        while True:
            # A deadline in the past would be a fault of the core; it must not cost a whole processor.
            moment = await self._bell.moment(max(self.wake_at(), self._time_s() + SHORTEST_SLEEP_S))
            now = self._time_s()
            self.gauges.late.add(now - moment)
            self.wake(now)

    def wake_at(self) -> float:
        """When to call `wake` if nothing is fed before; infinity for never."""
        return self._due() if self._writing.busy else min(self._due(), self._agenda.rest_at, self._agenda.check_at)

    def wake(self, now: float) -> None:
        """Time has passed: do what is due."""
        if now >= self._due():
            self._agenda.retry_at = math.inf
            self.feed((Tick(),), now)
        if now >= self._agenda.rest_at and not self._writing.busy:
            self._agenda.rest_at = math.inf
            self._think_ahead(now)
        if now >= self._agenda.check_at and not self._writing.busy:
            self._agenda.check_at = math.inf
            self._outlet.accuse(invariants.check(self.team, now))
            if self.trace.pack():
                self._agenda.check_at = now + CHECK_S

    def resolve(self, hosts: Iterable[HostName]) -> None:
        """Find the addresses of these hosts, and feed them."""
        self._outlet.resolve(hosts)

    def look_at_taps(self, at: float) -> None:
        """At this moment packet sockets are to be looked after, whatever happens."""
        self._outlet.taps_at = min(self._outlet.taps_at, at)
        self._bell.ring(self.wake_at())

    def log(self, notes: Iterable[Note]) -> None:
        self._outlet.log(notes)

    # -- one event -----------------------------------------------------------------------------------------------------

    def _digest(self, event: Event, now: float) -> bool:
        """One event. False: nothing but the trace and counters knows of it."""
        team, matters = self.team, True
        writes: tuple[Write, ...] = ()
        if type(event) not in ANSWERS:
            self._writing.fresh()
        try:
            matters = team.handle(event, now)
            self._writing.heard()
            if type(event) in PARTING:
                self._outlet.last_words()
            if (ahead := self._forecast.digested(event)) is not None:
                writes, result = ahead
                if result is not None:
                    self._done(writes, result)
            elif matters and not self._writing.busy:
                if writes := team.writes(now):
                    writes = self._write(writes, now)
                else:
                    team.rest(now)
        finally:
            outputs = self._outlet.gather(event) if matters else NOTHING
            self.trace.record(now, event, writes, outputs)
        if not matters:
            return False
        if writes or outputs.notes or not leaves_valid(event, team):
            if self._forecast.spoil():
                self.kernel.prepare(self.ifindex, {})
            self._agenda.disturb()
        if type(event) is HostsResolved:
            self._outlet.resolved(event)
        if type(event) is Overrun or (self._lost and type(event) is Tick):
            self._resync(now)
        return True

    def _write(self, writes: tuple[Write, ...], now: float) -> tuple[Write, ...]:
        """Begin these writes, unless one event has led to too many. Returns those that are under way."""
        if self._writing.begin(writes, now, self._done):
            return writes
        if self._writing.rounds == MAXIMUM_ROUNDS + 1:
            self._log.error("The kernel does not have what is wanted after writing %d times.", MAXIMUM_ROUNDS)
        self._agenda.retry(now)
        return ()

    def _perform_now(self, writes: Sequence[Write], done: Done) -> None:
        try:
            result: Result = self.kernel.apply(self.ifindex, writes)
        except KernelGone as gone:
            result = gone
        done(writes, result)

    def _done(self, writes: Sequence[Write], result: Result) -> None:
        """The writes are done or refused: that is the next event, before all that already wait."""
        self._writing.returned(self._time_s())
        if self._forecast.event is not None:
            self._forecast.done(result)
            return
        following = self._writing.end(writes, result)
        if self._lost:
            following.append(Overrun())
        if self._feeding:
            self._pending.extendleft(reversed(following))
        else:
            self.feed(following, self._time_s())

    def _resync(self, now: float) -> None:
        """Messages were lost: read everything, once the writes are done. If even that fails, the clock tries again."""
        self._lost = self._writing.busy
        if self._lost:
            return
        try:
            self._pending.extendleft(reversed(self.with_others(self.kernel.dump(self.ifindex))))
        except KernelGone:
            self._pending.appendleft(LinkGone(self.ifindex))
        except KernelRefused as refusal:
            self._log.error("%s", refusal)
            self._lost = True
            self._agenda.retry(now)

    # -- time --------------------------------------------------------------------------------------------------------

    def _due(self) -> float:
        deadline = self.team.deadline()
        at = min(self._agenda.retry_at, self._outlet.taps_at)
        return at if deadline is None else min(deadline, at)

    def _recalls(self, now: float) -> bool:
        """Whether there is nothing to work out ahead, or it is known from before."""
        if not may_foresee(self.team):
            return True
        if self.team.facts.awaits_echo(now):
            self._agenda.disturb()  # once more when that is told, even if it is nothing new; should it never be, after a rest
            return False
        if self._writing.busy or (known := self._forecast.recall(self.team)) is None:
            return False
        self.kernel.prepare(self.ifindex, known)
        return True

    def _think_ahead(self, now: float) -> None:
        """Work out what losses of links that may come would have written, and have it encoded."""
        known = self._forecast.recall(self.team)
        self.kernel.prepare(self.ifindex, self._forecast.look(self.team, now) if known is None else known)
        self._agenda.rested(self._time_s() - now)
