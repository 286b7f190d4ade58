"""The running team as runners see it, read from where each fact is kept."""

from __future__ import annotations

from pyteamd.core.facts import KernelFacts
from pyteamd.core.joining import JoiningPorts
from pyteamd.core.set_once import SetOnce
from pyteamd.runners.base import TeamView


class TeamNow(TeamView):
    """A TeamView that is never out of date."""

    __slots__ = ("_facts", "_once")

    def __init__(self, name: str, facts: KernelFacts, once: SetOnce, joining: JoiningPorts, adopted: bool) -> None:
        self.name, self._facts, self._once = name, facts, once
        self.ifindex, self.adopted = facts.team.ifindex, adopted
        self.ports, self.observed = joining.ports, facts.observed
        self.awaited, self.order = joining.awaited, joining.members.wanted
        self.worked_out = None

    @property
    def mac(self) -> bytes:  # type: ignore[override]
        """The address that is to be the team's, or is."""
        return self._once.mac or self._facts.mac_of_team()

    @property
    def up(self) -> bool:  # type: ignore[override]
        """Administratively up."""
        return self._facts.team.up
