"""The balancer of loadbalance and lacp: which of the 256 hash values leaves through which port.

The kernel counts the octets sent per hash value and reports the counts that changed every `balancing_interval`. Shortly after such a
report the loads are looked at: the load of a port is what its hash values sent in the interval, divided by its weight. Only when the
fullest port is clearly above the best split that can be had (HYSTERESIS) are values moved, and then as few as bring it back: flows
that need not move stay where they are, which teamd's balancer, placing everything each time, does not grant. Values without a port
(a new one, or one whose port failed) are placed at once, largest first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

HASHES = 256
HYSTERESIS = 1.05
"""Nothing moves while the fullest port carries less than this times what it would in the best split."""
SETTLED = 1.02
"""Moving stops when the fullest port carries this times what it would in the best split."""
LEAST_OCTETS = 10_000
"""Below so much traffic in an interval there is nothing worth balancing."""
MOST_MOVES = HASHES
SMOOTHING = 0.5
"""Weight of the newest interval in the remembered rates; one busy interval must not move everything."""
LEAST_RATE = 1.0
"""Octets per interval below which a hash value counts as idle; halving alone would never end."""
_COUNTER = struct.Struct("=Q")


def octets_in(statistics: object) -> int | None:
    """The counter in the payload of `lb_hash_stats` and `lb_port_stats` (first u64, host order); None if it is none."""
    if not isinstance(statistics, bytes) or len(statistics) < _COUNTER.size:
        return None
    return int(_COUNTER.unpack_from(statistics)[0])


class Balancer:
    """Rates per hash value, and the map from hash value to port (ifindex)."""

    def __init__(self) -> None:
        self.mapping: dict[int, int] = {}
        self.rates = [0.0] * HASHES
        """Octets per interval, smoothed."""
        self._counters: dict[int, int] = {}
        self._judged: dict[int, int] = {}

    def count(self, hash_value: int, octets: int) -> None:
        """A new reading of a counter."""
        self._counters[hash_value] = octets

    def place(self, weights: Mapping[int, float], spread_idle: bool = False) -> None:
        """Every hash value gets a usable port; those that have one keep it. `weights`: usable ports by ifindex.

        `spread_idle`: a port came, so values known to carry nothing are dealt out again; that moves no flow.
        """
        if spread_idle:
            self.mapping = {h: port for h, port in self.mapping.items() if self.rates[h] > 0}
        homeless = [h for h in range(HASHES) if self.mapping.get(h) not in weights]
        if not weights:
            self.mapping.clear()
            return
        loads = self.loads(weights)
        counts = dict.fromkeys(weights, 0)
        for port in self.mapping.values():
            if port in counts:
                counts[port] += 1
        self.mapping |= dealt_out(homeless, self.rates, weights, loads, counts)

    def judge(self, weights: Mapping[int, float]) -> int:
        """An interval ended: learn the rates and move what must move. Returns how many hash values moved."""
        self._learn()
        if len(weights) < 2 or sum(self.rates) < LEAST_OCTETS:
            return 0
        best = best_split(self.rates, weights)
        if self._fullest(weights) <= best * HYSTERESIS:
            return 0
        before = dict(self.mapping)
        self._move(weights, best * SETTLED)
        if self._fullest(weights) > best * HYSTERESIS:
            self.mapping = largest_first(self.rates, weights)
        return sum(self.mapping[h] != port for h, port in before.items())

    def loads(self, weights: Mapping[int, float]) -> dict[int, float]:
        """Octets per interval of each usable port."""
        loads = dict.fromkeys(weights, 0.0)
        for hash_value, port in self.mapping.items():
            if port in loads:
                loads[port] += self.rates[hash_value]
        return loads

    def _learn(self) -> None:
        for hash_value, octets in self._counters.items():
            # The first reading of a counter says nothing of the interval; a smaller one means it began again.
            sent = max(0, octets - self._judged.get(hash_value, octets))
            self._judged[hash_value] = octets
            rate = self.rates[hash_value]
            learnt = sent if rate == 0.0 else rate + SMOOTHING * (sent - rate)
            self.rates[hash_value] = learnt if learnt >= LEAST_RATE else 0.0

    def _fullest(self, weights: Mapping[int, float]) -> float:
        return max(load / weights[port] for port, load in self.loads(weights).items())

    def _move(self, weights: Mapping[int, float], goal: float) -> None:
        """Move single values from the fullest to the emptiest port while that helps."""
        loads = self.loads(weights)
        for _ in range(MOST_MOVES):
            full = max(weights, key=lambda p: (loads[p] / weights[p], p))
            empty = min(weights, key=lambda p: (loads[p] / weights[p], p))
            high = loads[full] / weights[full]
            if high <= goal:
                return
            candidates = [h for h, port in self.mapping.items() if port == full and self.rates[h] > 0]
            after = {
                h: max((loads[full] - self.rates[h]) / weights[full], (loads[empty] + self.rates[h]) / weights[empty])
                for h in candidates
            }
            chosen = min(candidates, key=lambda h: (after[h], h), default=None)
            if chosen is None or after[chosen] >= high:
                return
            self.mapping[chosen] = empty
            loads[full] -= self.rates[chosen]
            loads[empty] += self.rates[chosen]


def largest_first(rates: list[float], weights: Mapping[int, float]) -> dict[int, int]:
    """All values placed, largest first onto the port that is then least full: with equal weights within 4/3 of the optimum."""
    return dealt_out(range(HASHES), rates, weights, dict.fromkeys(weights, 0.0), dict.fromkeys(weights, 0))


def dealt_out(
    values: Iterable[int],
    rates: list[float],
    weights: Mapping[int, float],
    loads: dict[int, float],
    counts: dict[int, int],
) -> dict[int, int]:
    """Busy values, largest first, go to the port that is then least full; idle ones to the port with the fewest values.

    `loads` and `counts` are what the ports have already; they are brought up to date.
    """
    mapping = {}
    for hash_value in sorted(values, key=lambda h: (-rates[h], h)):
        rate = rates[hash_value]
        if rate > 0:
            port = min(weights, key=lambda p: ((loads[p] + rate) / weights[p], counts[p] / weights[p], p))
        else:
            port = min(weights, key=lambda p: (counts[p] / weights[p], p))
        mapping[hash_value] = port
        loads[port] += rate
        counts[port] += 1
    return mapping


def best_split(rates: list[float], weights: Mapping[int, float]) -> float:
    """Load of the fullest port in the best split that `largest_first` finds."""
    loads = dict.fromkeys(weights, 0.0)
    for hash_value, port in largest_first(rates, weights).items():
        loads[port] += rates[hash_value]
    return max(load / weights[port] for port, load in loads.items())
