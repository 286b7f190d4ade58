"""The writes of one team that are on their way, and what the Team has still to hear of them.

A batch of writes ends in one or more events (Applied, Refused). Until the Team has digested the last of them it is not asked what to write:
it would want the same again. So there is never more than one batch under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol, TypeAlias

from pyteamd.daemon.forecast import Result
from pyteamd.model.desired import Write
from pyteamd.model.errors import KernelGone
from pyteamd.model.events import Applied, Event, LinkGone, Refused
from pyteamd.views.metrics import Gauges

MAXIMUM_ROUNDS: Final = 100
"""Batches for one event; a start with many ports needs a few."""
ANSWERS: Final = frozenset((Applied, Refused))
"""What became of writes."""

Done: TypeAlias = Callable[[Sequence[Write], Result], None]


class Performer(Protocol):
    """Does the writes, and calls `done` in the event loop's thread, before it returns or later."""

    def __call__(self, writes: Sequence[Write], done: Done) -> None: ...


class Writing:
    """Whether writes are under way, how many batches one event has led to, and which answers the Team has still to hear."""

    def __init__(self, ifindex: int, perform: Performer, gauges: Gauges) -> None:
        self.perform = perform
        self.errno = 0
        """Of the last refused write."""
        self.begun = 0
        """Batches so far."""
        self._fresh_at = 0
        self._ifindex = ifindex
        self._gauges = gauges
        self._under_way = False
        self._answers = 0
        """Events (see ANSWERS) that the Team has still to hear of."""
        self._began = 0.0
        self._collectors: list[list[Refused]] = []

    @property
    def busy(self) -> bool:
        """Whether the Team is not to be asked for writes."""
        return self._under_way or self._answers > 0

    def fresh(self) -> None:
        """A new event: what is written for it is counted from the start."""
        self._fresh_at = self.begun

    @property
    def rounds(self) -> int:
        """Batches since the last `fresh`."""
        return self.begun - self._fresh_at

    def begin(self, writes: Sequence[Write], now: float, done: Done) -> bool:
        """Perform a batch; `done` is given the outcome, which goes to `end`. False when there were too many for this event."""
        self.begun += 1
        if self.begun - self._fresh_at > MAXIMUM_ROUNDS:
            return False
        self._under_way = True
        self._began = now
        self.perform(writes, done)
        return True

    def returned(self, now: float) -> None:
        """The kernel has answered."""
        if self._began:
            self._gauges.writes.add(now - self._began)
            self._began = 0.0

    def end(self, writes: Sequence[Write], result: Result) -> list[Event]:
        """What the Team has to digest next, before all else; call `heard` after each."""
        following: list[Event] = []
        if isinstance(result, KernelGone):
            following.append(LinkGone(self._ifindex))
        else:
            refused = [refusal.write for refusal in result]
            if applied := tuple([write for write in writes if write not in refused]):
                following.append(Applied(applied))
            following += result
            for refusal in result:
                self.errno = refusal.errno
                for collector in self._collectors:
                    collector.append(refusal)
        self._under_way = False
        self._answers = len(following)
        return following

    def heard(self) -> None:
        """The Team has digested an event. While it has answers to hear, nothing else is digested."""
        if self._answers:
            self._answers -= 1

    @contextmanager
    def refusals(self) -> Iterator[list[Refused]]:
        """A list of what is refused until the end of the block."""
        found: list[Refused] = []
        self._collectors.append(found)
        try:
            yield found
        finally:
            self._collectors = [other for other in self._collectors if other is not found]
