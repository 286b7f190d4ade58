"""Who waits for a pump: its clock, for the moment when something is due, and others, for something to hold after a feed.

A condition is looked at here, after each feed, and who waits for it is woken when it holds: looking costs a fraction of a turn of the
event loop, and nearly all feeds are nothing to those who wait.
"""

from __future__ import annotations

from collections.abc import Callable

import trio


class Bell:
    """Owned by one pump. Only waiting needs an event loop."""

    def __init__(self) -> None:
        self._waiting: dict[trio.Event, Callable[[], bool]] = {}
        self._alarm: trio.CancelScope | None = None

    def ring(self, wake_at: float) -> None:
        """Something has been fed; the clock is to wake at that moment."""
        if self._alarm is not None and wake_at != self._alarm.deadline:
            self._alarm.deadline = wake_at
        for event, condition in self._waiting.items():
            if condition():
                event.set()

    def waiting(self) -> int:
        """How many wait for something to be fed."""
        return len(self._waiting)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds: it is looked at now and after each feed, so it must be cheap and must not fail."""
        while not condition():
            event = trio.Event()
            self._waiting[event] = condition
            try:
                await event.wait()
            finally:
                del self._waiting[event]

    async def moment(self, wake_at: float) -> float:
        """Wait until then, or until the moment that `ring` named meanwhile. Returns the moment that came."""
        with trio.CancelScope(deadline=wake_at) as self._alarm:
            await trio.sleep_forever()
        return self._alarm.deadline
