"""A process that stood still: what came meanwhile waits in its sockets, and is read before anybody is taken for silent.

A timer that is noticed late proves only that nobody looked. So the judgement is put off, once and for a moment in which the sockets are
read. Only once: a process that is late every time must judge, too. All who judge a silence do it with this: LACP, the link watchers,
activebackup's first choice, the carrier, a configuration on trial.
"""

from __future__ import annotations

from pyteamd.values import dataclass

PUNCTUAL_S = 0.005
"""So late says that the process was kept waiting; as much time is enough to read what waits: all sockets are ready at once."""


@dataclass(frozen=True, slots=True)
class Silence:
    """The silence of another end, which is given up at `until` if nothing is heard."""

    until: float
    put_off: bool = False
    """The end was noticed late, and put off."""

    def judge(self, now: float, late_s: float = PUNCTUAL_S, reading_s: float = PUNCTUAL_S) -> Silence | None:
        """None: it has lasted too long. Otherwise what to go on with: this silence, or the same with its end put off.

        `late_s`: noticed later than this, the process stood still. `reading_s`: by how much the end is put off then.
        """
        if now < self.until:
            return self
        if self.put_off or now <= self.until + late_s:
            return None
        return Silence(now + reading_s, put_off=True)
