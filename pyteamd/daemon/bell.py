"""Tasks that wait for a pump: its clock waits for the moment when something is due, the others for a condition that a feed makes true.

Conditions are checked here, after each feed, and a task is woken only when its own holds: a check costs a fraction of a turn of the event
loop, and most feeds change nothing for those who wait.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

WORTH_S = 0.05
"""An alarm that is put off by this much or more is not moved: waking in vain now and then costs less than moving it after each feed."""


class Bell:
    """The tasks that wait for one pump. Only waiting needs an event loop."""

    def __init__(self) -> None:
        self._waiting: dict[trio.Event, Callable[[], bool]] = {}
        self._alarm: trio.CancelScope | None = None

    def ring(self, wake_at: float) -> None:
        """Something has been fed, and the clock is to wake at this moment now. It also wakes at the moment before if that was not moved."""
        if self._alarm is not None and wake_at != (at := self._alarm.deadline) and wake_at < at + WORTH_S:
            self._alarm.deadline = wake_at
        for event, condition in self._waiting.items():
            if condition():
                event.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds. It is checked now and after each feed, so it must be cheap and must not fail."""
        while not condition():
            event = trio.Event()
            self._waiting[event] = condition
            try:
                await event.wait()
            finally:
                del self._waiting[event]

    async def moment(self, wake_at: float) -> float:
        """Wait until this moment, or until the one to which `ring` has moved it meanwhile. Returns the moment that came."""
        with trio.CancelScope(deadline=wake_at) as self._alarm:
            await trio.sleep_forever()
        return self._alarm.deadline
