"""Work in a thread that nobody waits for any longer when it is cancelled."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final, TypeVar

import trio

_T = TypeVar("_T")
_NAMES: Final = inspect.signature(trio.to_thread.run_sync).parameters
_ABANDON: Final[dict[str, Any]] = {"abandon_on_cancel" if "abandon_on_cancel" in _NAMES else "cancellable": True}
"""The option's name: trio calls it abandon_on_cancel since 0.23; Debian 12 has 0.22."""


async def in_thread(work: Callable[..., _T], *args: object, limiter: trio.CapacityLimiter | None = None) -> _T:
    """What `work(*args)` returns or raises. A thread that was given up goes on by itself."""
    return await trio.to_thread.run_sync(work, *args, limiter=limiter, **_ABANDON)
