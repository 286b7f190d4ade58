"""Work in a thread that nobody waits for any longer when it is cancelled."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final, TypeVar

import trio

from pyteamd.daemon import realtime

_T = TypeVar("_T")
_NAMES: Final = inspect.signature(trio.to_thread.run_sync).parameters
_ABANDON: Final[dict[str, Any]] = {"abandon_on_cancel" if "abandon_on_cancel" in _NAMES else "cancellable": True}
"""The option's name: trio calls it abandon_on_cancel since 0.23; Debian 12 has 0.22."""


class NoThread(RuntimeError):
    """None can be had: the machine, or the unit, allows no more."""


async def in_thread(
    work: Callable[..., _T], *args: object, limiter: trio.CapacityLimiter | None = None, long: bool = False
) -> _T:
    """What `work(*args)` returns or raises, else NoThread. A thread that was given up goes on by itself. `long`: it may compute."""
    begun: list[bool] = []
    try:
        return await trio.to_thread.run_sync(_help, begun, long, work, *args, limiter=limiter, **_ABANDON)
    except RuntimeError as error:
        if begun:
            raise
        raise NoThread(str(error)) from None


def _help(begun: list[bool], long: bool, work: Callable[..., _T], *args: object) -> _T:
    begun.append(True)
    if long:
        realtime.ask_no_more()
    else:
        realtime.ask(realtime.HELPERS_PRIORITY)
    return work(*args)
