"""What must always hold, whatever happened.

Checked after every step in tests and `simulate`, and in a running daemon when its team has come to rest: what is broken is logged once.
"""

from __future__ import annotations

from pyteamd.core.reconcile import reconcile
from pyteamd.core.team import Team
from pyteamd.model.desired import Desired, OptionKey
from pyteamd.model.words import in_words


def check(team: Team, now: float) -> list[str]:
    """Everything that is wrong, one sentence each; call it when an event is digested and its writes are done."""
    if team.gone or team.failed:
        return []
    desired = team.desired()
    found = [] if team.stopping else team.runner.broken(team.view)
    if list(team.ports) != sorted(team.ports):
        found.append(f"ports are not in ifindex order: {list(team.ports)}")
    found += strangers(team, desired)
    deadline = team.deadline()
    if deadline is not None and deadline <= now:
        found.append(f"deadline {deadline} is not after {now}")
    found += differences(team, desired, now)
    for port in team.ports.values():
        if port.up != port.combined():
            found.append(f"{port.name}: verdict {port.up} is not what its watchers say")
    return found


def strangers(team: Team, desired: Desired) -> list[str]:
    """Only ports that are there, and the team, may be named."""
    known = {0, team.view.ifindex, *team.ports}
    named = {key.port for key in desired.options} | set(desired.macs)
    found = [f"desired names interface {ifindex}, which is no port" for ifindex in sorted(named - known)]
    active = desired.options.get(OptionKey("activeport"))
    if active is not None and active not in team.ports:
        found.append(f"desired active port {active!r} is no port")
    return found


def differences(team: Team, desired: Desired, now: float) -> list[str]:
    """When there is nothing left to write, the kernel is as desired, but for writes that were refused, and those that wait for the mode."""
    if team.writes(now) or (not team.stopping and team.once.mode_first(team.facts.observed) is not None):
        return []
    left = reconcile(desired, team.facts.observed)
    words = (in_words(write, team.facts.name_of) for write in team.backoff.allowed(left, now))
    return [f"not as desired, yet nothing to write: {text}" for text in words]
