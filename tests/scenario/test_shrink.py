"""Delta debugging finds the part that matters."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pyteamd.scenario.shrink import shrink


@pytest.mark.parametrize("culprits", [{0}, {99}, {17, 18}, {3, 50, 97}, {10, 20, 30, 40, 50}])
def test_only_the_culprits_stay(culprits: set[int]) -> None:
    assert shrink(range(100), lambda rest: culprits <= set(rest)) == sorted(culprits)


def test_nothing_matters() -> None:
    assert shrink(range(10), lambda rest: True) == []


def test_the_budget_is_kept() -> None:
    calls: list[int] = []

    def fails(rest: Sequence[int]) -> bool:
        calls.append(len(rest))
        return {1, 50} <= set(rest)

    rest = shrink(range(100), fails, tries=5)
    assert len(calls) == 5
    assert {1, 50} <= set(rest)
