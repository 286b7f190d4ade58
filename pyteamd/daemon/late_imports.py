"""What a running daemon may need one day: imported soon after it is ready, before an upgrade takes the files away or puts others there.

A start imports what the first frames and the clients need. The rest follows piece by piece, each in a thread that gives way to the event
loop. That thread has the lower real-time priority: with the interpreter's lock in its hands it would otherwise have to wait on a busy
machine, and the loop for it. The kernel's workers that tell of a lost link are ordinary, and on one processor wait for it; so a piece is
one module, a few milliseconds, with a pause behind it. What holds up the loop is only what cannot be interrupted: to read a module takes
at most 0.4 ms. To collect garbage among all that is new took several, so there is no collection meanwhile, and none later looks at what
is there to stay.
"""

from __future__ import annotations

import gc
import importlib
import logging
import sys
from typing import Final

import trio

from pyteamd import linkwatch, runners
from pyteamd.daemon.in_thread import NoThread, in_thread

AFTER_S: Final = 2.0
PAUSE_S: Final = 0.05
OTHERS: Final = (
    "pyteamd.core.packed",
    "pyteamd.daemon.control.http",
    "pyteamd.daemon.control.inspection",
    "pyteamd.daemon.fault_file",
    "pyteamd.linkwatch.damping",
    "pyteamd.linkwatch.neighbour",
    "pyteamd.views.lanes",
    "pyteamd.views.metrics",
    "pyteamd.views.prediction",
    "pyteamd.wire.bpf",
)
NEVER: Final = frozenset(
    (
        "pyteamd.daemon.control.bus_line",
        "pyteamd.daemon.control.dbus",
        "pyteamd.kernel.unix_sockets",
        "pyteamd.schema.yaml_text",
    )
)
"""Needed at the start only, with -D or when the device has a daemon already; or, with PyYAML, when a configuration in YAML is applied."""


def late() -> list[str]:
    """Every module that may be imported later than the start, in the order to import them."""
    classes = (*runners.RUNNERS.places.values(), *linkwatch.WATCHERS.places.values())
    rest = {place.partition(":")[0] for place in classes} | {*OTHERS}
    pieces = (*linkwatch.PIECES, *runners.PIECES)
    return [*pieces, *sorted(rest.difference(pieces))]


async def import_late(log: logging.Logger) -> None:
    """A task of the process: import them, one after the other. What cannot be imported any more is missed when it is needed, not before."""
    await trio.sleep(AFTER_S)
    for name in late():
        if name in sys.modules:
            continue
        gc.disable()
        try:
            await import_beside(name)
        except Exception as fault:  # a file that an upgrade is just writing may say anything
            log.warning("%s cannot be loaded (%s: %s): after an upgrade, restart.", name, type(fault).__name__, fault)
        finally:
            gc.freeze()
            gc.enable()
        await trio.sleep(PAUSE_S)


async def import_beside(name: str) -> None:
    """Import it in a thread; where none can be had, the loop does it rather than miss it later."""
    try:
        await in_thread(importlib.import_module, name)
    except NoThread:
        importlib.import_module(name)
