"""What a team at rest does all the time: the partner repeats itself, and so do we. No step that looks at everything is needed for that.

How it works: a step that looks at everything leaves for each port that it touched what comes next if nothing changes. As long as no step
changes anything (`forget`), an LACPDU of the partner that is the same as its last one only begins its silence again, and ours is sent
again as it is. That holds while nothing else is due; where something is, the step looks at everything. The end of the partner's silence
moves with each LACPDU and the alarm does not: it rings at the old moment, and is set again here.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyteamd.model.desired import Frame
from pyteamd.model.events import FrameSeen
from pyteamd.runners.lacp.port import NEVER, LacpPort

TOGETHER_S = 0.05
"""This long before it is due a port speaks with one that is: once, for then they are due together. One wake-up serves many ports."""


@dataclass(slots=True)
class Habit:
    """What one port does next if nothing changes."""

    port: LacpPort
    pace_s: float
    speaks_at: float
    until: float
    """When anything else is due, but for the end of the partner's silence."""
    said: Frame | None = None
    """Our last LACPDU; None: the next one has to be made."""
    heard: FrameSeen | None = None
    """The partner's last one, if it told nothing new and asked for nothing."""

    def is_more(self, now: float) -> bool:
        """Whether more is due than to say the same again."""
        return self.until <= now or self.port.silent_at() <= now or (self.speaks_at <= now and self.said is None)

    def wakes_at(self) -> float:
        """When the port is to be looked at again."""
        return min(self.speaks_at, self.until, self.port.silent_at())


class Habits:
    """Of all ports of a team. Owned by one runner."""

    __slots__ = ("_by_port", "wakes")

    def __init__(self) -> None:
        self.wakes: dict[int, float] = {}
        """When each port is to be looked at again."""
        self._by_port: dict[int, Habit] = {}

    def forget(self) -> None:
        """Something has changed."""
        self._by_port.clear()

    def learn(
        self, port: LacpPort, pace_s: float | None, due: float | None, ready_at: float, said: Frame | None
    ) -> None:
        """A step has looked at this port, and sent `said`. `due`: when it speaks next. `ready_at`: when waiting is over, NEVER for none."""
        at = NEVER if due is None else due
        habit = Habit(port, pace_s or NEVER, at, min(port.deadline(), ready_at), said)
        if (before := self._by_port.get(port.ifindex)) is not None:
            habit.said, habit.heard = said or before.said, before.heard
        self._by_port[port.ifindex] = habit
        self.wakes[port.ifindex] = habit.wakes_at()

    def heard(self, frame: FrameSeen) -> None:
        """This LACPDU told nothing new and asked for nothing: the next one like it does not, either."""
        self._by_port[frame.ifindex].heard = frame

    def repeats(self, frame: FrameSeen) -> LacpPort | None:
        """The port whose partner says what it said before."""
        habit = self._by_port.get(frame.ifindex)
        return habit.port if habit is not None and (habit.heard is frame or habit.heard == frame) else None

    def speak(self, now: float) -> list[Frame] | None:
        """Our LACPDUs that are due, and those that are in a moment. None: it is time for something else, and nothing is done."""
        known = self._by_port
        due = [ifindex for ifindex, at in self.wakes.items() if at <= now]
        if any(ifindex not in known or known[ifindex].is_more(now) for ifindex in due):
            return None
        soon = now
        if any(known[ifindex].speaks_at <= now for ifindex in due):
            soon += TOGETHER_S
            due = [ifindex for ifindex, at in self.wakes.items() if at <= soon and ifindex in known]
        frames = []
        for ifindex in due:
            habit = known[ifindex]
            if habit.said is not None and habit.speaks_at <= soon and habit.port.transmitter.limit.free_at() <= now:
                habit.port.said_again(now)
                habit.speaks_at = now + habit.pace_s
                frames.append(habit.said)
            self.wakes[ifindex] = habit.wakes_at()
        return frames
