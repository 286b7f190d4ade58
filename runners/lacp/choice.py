"""Which of several aggregates a team uses.

How it works: a policy says which aggregate is better, but ability comes before priority. An aggregate is able as far as its partner is in
sync and means us, on ports that are done with waiting; it carries when the partner collects as well. While the one in use carries, another
takes its place only if its able ports are better than the able ports of the one in use. So it is with one that is able and has not carried
yet; one that is not able may be replaced by any that is better. One in use that does not carry gives way after a while to one that is able,
and one that was able and yet did not carry is not tried again before a port comes that it did not have, its partner has fallen silent on
all of its ports, or the policy changes. Where none is able all are tried in turn, ever more slowly: there are partners that say that they
are in sync only to one that has said it first.

Two ends that prefer different aggregates must not follow each other: the end with the larger system identifier gives way first. The other
waits two seconds longer, more than the first one's LACPDU needs (three a second). docs/lacp.md has the whole argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from pyteamd.runners.lacp.machines import AGGREGATE_WAIT_S
from pyteamd.runners.lacp.selection import POLICIES, Aggregate, LagId, Member, choose
from pyteamd.runners.lacp.system import RateLimit

FOLLOWS_S = AGGREGATE_WAIT_S + 1.0
"""How long an aggregate in use may be attached and carry nothing, at the end with the larger system identifier."""
LEADS_S = FOLLOWS_S + 2.0
"""How long at the end with the smaller identifier, and the first turn where no other aggregate is able."""
LONGEST_TURN = 4
"""How often the length of a turn doubles at most."""
LINES_PER_MINUTE = 10
"""Lines of the log about the aggregate in use."""
IN_TURN = "in turn"
"""Told in place of an aggregate: the one in use has had its turn before, and nothing carries."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An aggregate whose partner was heard lately, and what it can do."""

    whole: Aggregate
    able: tuple[Member, ...] = ()
    """Ports that could be in service at once: the partner is in sync and means us, waiting is over."""
    ready: bool = False
    """A port is done with waiting, or attached."""
    attached: bool = False
    carries: bool = False
    """A port is in service and the partner collects."""

    @property
    def lag(self) -> LagId:
        """Its identifier."""
        return self.whole.lag

    def able_part(self) -> Aggregate:
        """The aggregate as if it had only its able ports."""
        return Aggregate(self.lag, self.able)

    def ports(self) -> frozenset[int]:
        """Ifindexes of its members."""
        return frozenset(member.ifindex for member in self.whole.members)


class Trial(IntEnum):
    """The best that was seen of the aggregate in use since it was chosen."""

    NOTHING = 0
    ABLE = 1
    CARRIED = 2


class Choice:
    """The aggregate in use, and what was learned of the others. Owned by one Group."""

    def __init__(self, policy_name: str) -> None:
        self.lag: LagId | None = None
        """The aggregate in use."""
        self.policy_name = ""
        self.set_policy(policy_name)
        self.gives_way_at: float | None = None
        """When it is replaced by an able one if nothing changes; None for never."""
        self._trial = Trial.NOTHING
        self._idle_since: float | None = None
        """Since when it is attached and carries nothing."""
        self._disproved: Mapping[LagId, frozenset[int]] = {}
        """Aggregates that were able and did not carry, with the ports they had."""
        self._tried: tuple[LagId, ...] = ()
        """Aggregates that had their turn since anything carried, the latest last; some more than once."""
        self._told: LagId | str | None = None
        """What the log was told last."""
        self._lines = RateLimit(LINES_PER_MINUTE, 60.0)
        self._pinned: frozenset[Aggregate] | None = None
        """What there was when a user chose; while that is so, the choice stands."""

    def set_policy(self, name: str) -> None:
        """How to choose from now on. What was learned of aggregates under another policy is forgotten."""
        if name == self.policy_name:
            return
        self.policy_name = name
        self.policy = POLICIES[name]
        self._disproved, self._tried = {}, ()

    @property
    def by_user(self) -> bool:
        """The choice is a user's."""
        return self._pinned is not None

    def pin(self, lag: LagId, candidates: Iterable[Candidate]) -> None:
        """A user chooses: this one, until an aggregate comes, goes, or changes, or this one carries nothing and another is able."""
        self.take(lag)
        self._pinned = frozenset(one.whole for one in candidates)

    def take(self, lag: LagId | None) -> None:
        """Use this one, as before a restart or an interruption."""
        self.lag = lag
        if lag is not None or self._told is not IN_TURN:
            self._told = lag
        self._pinned = None
        self._begin()

    def news(self, now: float) -> LagId | str | None:
        """What the log is to be told: the aggregate in use, IN_TURN when each has had its turn and none carried, None for nothing new.

        Where two partners meet on one link the aggregate changes with every LACPDU: a minute has few lines, and what is left is told
        when there is room for one more.
        """
        new = self._untold()
        if new is None or now < self._lines.free_at():
            return None
        self._lines.use(now)
        self._told = new
        return new

    def news_at(self) -> float | None:
        """When the log may be told what it was not told yet; None when there is nothing."""
        return None if self._untold() is None else self._lines.free_at()

    def _untold(self) -> LagId | str | None:
        new = IN_TURN if self.lag in self._tried else self.lag
        return None if new == self._told else new

    def disproved(self, lag: LagId | None) -> bool:
        """Whether this aggregate was able and did not carry."""
        return lag in self._disproved

    def update(self, candidates: Sequence[Candidate], now: float) -> None:
        """Choose among the aggregates there are now; the one in use stays, for the time being, when there are none."""
        self._forget(candidates)
        if self._pinned is not None and self._pinned != frozenset(one.whole for one in candidates):
            self._pinned = None
        used = next((one for one in candidates if one.lag == self.lag), None)
        others = [one for one in candidates if one.lag != self.lag]
        self.gives_way_at = None
        if used is None:
            self._start(candidates)
        elif used.carries:
            self._trial, self._idle_since, self._tried = Trial.CARRIED, None, ()
            if self._pinned is None:
                self._challenge(used, others)
        else:
            self._watch(used, others, now)

    def _begin(self) -> None:
        self._trial, self._idle_since, self.gives_way_at = Trial.NOTHING, None, None

    def _forget(self, candidates: Iterable[Candidate]) -> None:
        ports = {one.lag: one.ports() for one in candidates}
        self._disproved = {lag: had for lag, had in self._disproved.items() if lag in ports and ports[lag] <= had}

    def _choose(self, aggregates: Sequence[Aggregate]) -> None:
        best = choose(self.policy, aggregates, self.lag)
        if best is not None and best.lag != self.lag:
            self.lag = best.lag
            self._pinned = None
            self._begin()

    def _start(self, candidates: Sequence[Candidate]) -> None:
        """Nothing is in use: the best of the able ones, or else of all."""
        able = [one.able_part() for one in candidates if one.able and one.lag not in self._disproved]
        self._choose(able or [one.whole for one in candidates])

    def _challenge(self, used: Candidate, others: Iterable[Candidate]) -> None:
        """The one in use carries; another must be better by what it is able to do."""
        able = [one.able_part() for one in others if one.able and one.lag not in self._disproved]
        self._choose([used.able_part(), *able])

    def _watch(self, used: Candidate, others: Sequence[Candidate], now: float) -> None:
        """The one in use does not carry."""
        if used.able:
            self._trial = max(self._trial, Trial.ABLE)
        if not used.attached or self._idle_since is None:
            self._idle_since = now
        able = [one for one in others if one.able]
        ready = [one for one in others if one.ready]
        if used.attached and ready:
            gives_way_at = self._idle_since + (patience_s(used.lag) if able else self._turn_s(used.lag))
            if now >= gives_way_at:
                self._give_way(used, able, ready)
                return
            self.gives_way_at = gives_way_at
        if self._trial is not Trial.CARRIED and self._pinned is None:
            passed_over = {*self._disproved, *self._tried}
            rivals = [one for one in (able if used.able else ready) if one.lag not in passed_over]
            self._choose([one.able_part() if used.able else one.whole for one in (used, *rivals)])

    def _turn_s(self, lag: LagId) -> float:
        """How long this one is given while no other is able either."""
        before = self._tried.count(lag) + (self._trial is Trial.CARRIED)
        return float(LEADS_S * 2 ** min(before, LONGEST_TURN))

    def _give_way(self, used: Candidate, able: Sequence[Candidate], ready: Sequence[Candidate]) -> None:
        if self._trial is Trial.ABLE:
            self._disproved = {**self._disproved, used.lag: used.ports()}
        fresh = [one for one in able if one.lag not in self._disproved]
        turn = min(self._tried.count(one.lag) for one in ready)
        next_ones = [one.whole for one in ready if self._tried.count(one.lag) == turn]
        self._tried = (*self._tried, used.lag)[-len(ready) * LONGEST_TURN * 2 :]
        self.lag = None
        self._choose([one.able_part() for one in fresh or able] or next_ones)
        if self.disproved(self.lag):  # all were tried, so every one gets another chance
            self._disproved = {used.lag: used.ports()}


def patience_s(lag: LagId) -> float:
    """How long this end waits for the partner to carry before it follows it to another aggregate."""
    ours, theirs = (lag.system_priority, lag.system), (lag.partner_priority, lag.partner_system)
    return FOLLOWS_S if ours > theirs else LEADS_S
