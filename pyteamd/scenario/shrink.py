"""Delta debugging: the shortest part of a failing list that still fails (Zeller, Hildebrandt: Simplifying and isolating
failure-inducing input, 2002; the complement half of it, which is what matters for lists of events)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def shrink(items: Sequence[Item], fails: Callable[[Sequence[Item]], bool], tries: int = 2000) -> list[Item]:
    """Drop ever smaller pieces as long as the rest fails. `fails(items)` must be true; at most `tries` calls are made.

    When the budget suffices, no single item can be left out of the result.
    """
    rest = list(items)
    size = max(1, len(rest) // 2)
    while rest:
        at, dropped = 0, False
        while at < len(rest):
            shorter = rest[:at] + rest[at + size :]
            if tries <= 0:
                return rest
            tries -= 1
            if fails(shorter):
                rest, dropped = shorter, True
            else:
                at += size
        if size == 1 and not dropped:
            return rest
        size = size if dropped and size == 1 else max(1, size // 2)
    return rest
