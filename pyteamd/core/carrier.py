"""The team's carrier where the runner leaves it to the driver, on a device that was there before us.

By the driver's rule the team has carrier while any port has a link, until the carrier is set: then it stays as it was set until
the mode changes, which it cannot while there are ports. No message tells whether that happened. So the carrier of a device that
was taken over is compared with the rule. Where they disagree for longer than the driver needs, and it was not the carrier alone that
changed, it had been set before we came, by a person or an lacp daemon that left; the daemon then does what the driver no longer does.
A carrier that is set by hand while we run stays so, as with teamd.
"""

from __future__ import annotations

from pyteamd.core.facts import KernelFacts
from pyteamd.model.desired import Level, Note, OptionKey
from pyteamd.model.incidents import Incident
from pyteamd.model.standstill import Silence

PATIENCE_S = 2.0
"""The kernel announces a team's carrier at most once a second."""


class Carrier:
    """Whether the driver still makes the carrier follow the links; what it is to be where it does not."""

    def __init__(self, facts: KernelFacts) -> None:
        self.notes: list[Note] = []
        self._facts = facts
        self._ours = False
        """The daemon follows the rule, because the driver does not."""
        self._theirs = False
        """It was set by hand while we ran."""
        self._before: tuple[bool, bool] | None = None
        """The carrier by the rule, and the one there was, when they last agreed or began to disagree."""
        self._dispute: Silence | None = None
        """They disagree; at its end the kernel had the time to say otherwise."""
        self._lost = False
        """The log was told that there is none any more."""

    def desired(self) -> bool | None:
        """What the carrier is to be; None leaves it to the driver."""
        return self._rule() if self._ours else None

    def deadline(self) -> float | None:
        """When to look again."""
        return None if self._dispute is None else self._dispute.until

    def tell(self, had: bool | None) -> None:
        """It went or came back, and no runner that sets it tells so by itself. `had`: what there was before."""
        has = self._facts.observed.carrier
        if had and has is False:
            self._lost = True
            text = "The team has no carrier any more: no port has a link."
            self.notes.append(Note(Level.ERROR, text, "", Incident.CARRIER_LOST))
        elif has and self._lost:
            self._lost = False
            self.notes.append(Note(Level.INFO, "The team has carrier again.", "", Incident.CARRIER_BACK))

    def look(self, now: float) -> None:
        """Compare the carrier with the rule."""
        rule, real = self._rule(), self._facts.observed.carrier
        if self._ours or self._theirs or real is None:
            return
        if not self._facts.team.up:
            self._dispute = None  # the carrier of such a device changes in silence
        elif rule is real:
            self._before, self._dispute = (rule, real), None
        elif self._dispute is None:
            self._dispute = Silence(now + PATIENCE_S)
        elif (dispute := self._dispute.judge(now)) is not None:
            self._dispute = dispute
        else:
            self._dispute = None
            self._theirs = self._before is not None and self._before[0] is rule
            self._ours = not self._theirs
            if self._ours:
                text = "The driver does not follow the links: the carrier was set by hand, or by lacp. It is set from here now."
                self.notes.append(Note(Level.INFO, text))

    def _rule(self) -> bool:
        """Any port has a link, by our verdict where the driver goes by that."""
        options = self._facts.observed.options
        for ifindex, port in self._facts.port_list.items():
            by_verdict = options.get(OptionKey("user_linkup_enabled", ifindex)) is True
            if options.get(OptionKey("user_linkup", ifindex)) is True if by_verdict else port.linkup:
                return True
        return False
