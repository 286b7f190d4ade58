"""Churn detection (IEEE 802.1AX-2014, 6.4.17): has an end of the link been out of sync for a minute?

How it works: two machines for each port run on the table CHURN, one for the actor and one for the partner. A machine that gets into
`Churned` is counted; the way out is to be in sync. It is told of once, until both ends have been in sync: a port whose aggregates are
tried in turn, none of which carries, churns every few minutes.
"""

from __future__ import annotations

from pyteamd.runners.lacp.machines import CHURN, CHURN_DETECTION_S, Churn, Churned, Drift, Monitor, NoChurn

NO_CHURN = NoChurn()


class ChurnDetection:
    """Both machines of one port."""

    __slots__ = ("_told", "actor", "partner")

    def __init__(self) -> None:
        self.stop()

    def stop(self) -> None:
        """The link is of no use; nothing is to be expected."""
        self.actor: Churn = NO_CHURN
        self.partner: Churn = NO_CHURN
        self._told: frozenset[str] = frozenset()

    def watch(self, now: float) -> None:
        """Both ends are expected to get in sync from now on."""
        self.actor = self.partner = Monitor(now + CHURN_DETECTION_S)

    def step(self, actor_in_sync: bool, partner_in_sync: bool, now: float) -> tuple[bool, bool]:
        """Look again. Returns whether the actor's and the partner's churn began."""
        actor, partner = self.actor, self.partner
        if actor_in_sync and partner_in_sync:
            self._told = frozenset()
        self.actor, self.partner = drift(actor, actor_in_sync, now), drift(partner, partner_in_sync, now)
        return _began(actor, self.actor), _began(partner, self.partner)

    def is_news(self, who: str) -> bool:
        """Whether the churn of this end ("actor" or "partner") that began just now was not told of yet. Asked once each time."""
        told, self._told = self._told, self._told | {who}
        return who not in told

    def deadline(self) -> float | None:
        """Next moment at which time alone changes something."""
        return min((timer.until for timer in (self.actor, self.partner) if isinstance(timer, Monitor)), default=None)


def _began(before: Churn, after: Churn) -> bool:
    return isinstance(after, Churned) and not isinstance(before, Churned)


def drift(churn: Churn, in_sync: bool, now: float) -> Churn:
    """Next state of a churn machine."""
    what = Drift.IN_SYNC if in_sync else Drift.OUT_OF_SYNC
    if not in_sync and isinstance(churn, Monitor) and now >= churn.until:
        what = Drift.TIMEOUT
    target = CHURN.get((type(churn), what))
    if target is None:
        return churn
    if target is Monitor:
        return Monitor(now + CHURN_DETECTION_S)
    return NO_CHURN if target is NoChurn else Churned()
