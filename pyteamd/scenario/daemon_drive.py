"""One event through the core and its writes into the kernel: the loop that tests, scenarios and random runs share with the daemon.

    handle(event) → writes → kernel → handle(Applied), handle(Refused) … until there is nothing left to write

A core that is not content after `ROUNDS` rounds will never be: that is a fault, never a reason to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from pyteamd.core.team import Team
from pyteamd.model.desired import Outputs, Write
from pyteamd.model.errors import KernelGone
from pyteamd.model.events import Applied, Event, LinkGone, Refused

ROUNDS = 50

Apply: TypeAlias = Callable[[Sequence[Write]], tuple[Refused, ...]]
"""Perform writes; returns those refused. KernelGone when the team device is no more."""


class NotQuiet(AssertionError):
    """The core goes on writing and writing."""


def step(team: Team, event: Event, now: float, apply: Apply, listen: Callable[[Outputs], None]) -> None:
    """Give the team one event and do what it wants done. UserError: a request that cannot be met, nothing changed.

    `listen` gets frames and notes as they come: before the writes they led to, and after refusals.
    """
    team.handle(event, now)
    listen(team.take())
    for _ in range(ROUNDS):
        writes = team.writes(now)
        if not writes:
            return
        try:
            refused = apply(writes)
        except KernelGone:
            team.handle(LinkGone(team.view.ifindex), now)
            listen(team.take())
            return
        failed = [refusal.write for refusal in refused]
        accepted = tuple([write for write in writes if write not in failed])
        if accepted:
            team.handle(Applied(accepted), now)
        for refusal in refused:
            team.handle(refusal, now)
        listen(team.take())
    raise NotQuiet(f"not quiet after {ROUNDS} rounds; still to write: {', '.join(map(str, team.writes(now)))}")
