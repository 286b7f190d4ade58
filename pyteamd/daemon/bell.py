"""Who waits for a pump: its clock, for the moment when something is due, and others, for something to have been fed."""

from __future__ import annotations

import trio


class Bell:
    """Owned by one pump. Only waiting needs an event loop."""

    def __init__(self) -> None:
        self._fed = trio.lowlevel.ParkingLot()
        self._alarm: trio.CancelScope | None = None

    def ring(self, wake_at: float) -> None:
        """Something has been fed; the clock is to wake at that moment."""
        if self._alarm is not None and wake_at != self._alarm.deadline:
            self._alarm.deadline = wake_at
        self._fed.unpark_all()

    def waiting(self) -> int:
        """How many wait for something to be fed."""
        return len(self._fed)

    async def fed(self) -> None:
        """Wait until something has been fed."""
        await self._fed.park()

    async def moment(self, wake_at: float) -> float:
        """Wait until then, or until the moment that `ring` named meanwhile. Returns the moment that came."""
        with trio.CancelScope(deadline=wake_at) as self._alarm:
            await trio.sleep_forever()
        return self._alarm.deadline
