"""Who waits for something to hold after a feed is woken when it holds, and not before."""

from __future__ import annotations

import math

import trio

from pyteamd.daemon.bell import Bell


async def test_nobody_is_woken_in_vain(nursery: trio.Nursery) -> None:
    bell, wanted = Bell(), {"value": 0}
    nursery.start_soon(bell.until, lambda: wanted["value"] > 3)
    await trio.testing.wait_all_tasks_blocked()
    for value in (1, 2, 3):
        wanted["value"] = value
        bell.ring(math.inf)
        assert trio.lowlevel.current_statistics().tasks_runnable == 0
    wanted["value"] = 4
    bell.ring(math.inf)
    assert trio.lowlevel.current_statistics().tasks_runnable == 1
    await trio.testing.wait_all_tasks_blocked()
    assert len(bell._waiting) == 0


async def test_what_holds_no_longer_when_it_is_looked_at_again_is_waited_for(nursery: trio.Nursery) -> None:
    bell, holds = Bell(), [False]
    nursery.start_soon(bell.until, lambda: holds[0])
    await trio.testing.wait_all_tasks_blocked()
    holds[0] = True
    bell.ring(math.inf)
    holds[0] = False
    await trio.testing.wait_all_tasks_blocked()
    assert len(bell._waiting) == 1
    holds[0] = True
    bell.ring(math.inf)
    await trio.testing.wait_all_tasks_blocked()
    assert len(bell._waiting) == 0


async def test_who_gives_up_waits_no_more() -> None:
    bell = Bell()
    with trio.move_on_after(0):
        await bell.until(lambda: False)
    assert len(bell._waiting) == 0
