"""A configuration that is in force until it is confirmed, and what was in force before (`config apply --confirm`).

What was before is kept in a small file of the run directory, with the moment at which it comes back, so that a daemon that is restarted
meanwhile, for whatever reason, takes the configuration back all the same. The moment is one of CLOCK_BOOTTIME, which nobody sets.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

import trio

from pyteamd import values
from pyteamd.daemon.boot_time import boot_id, boottime_s
from pyteamd.daemon.read_file import read_file, replace
from pyteamd.model.events import ConfigApply
from pyteamd.model.limits import LONGEST_TRIAL_S
from pyteamd.model.standstill import Silence

STALE_S = 3600.0
"""A daemon that comes back later than this after the moment takes nothing back: things have moved on."""
MAXIMUM_OCTETS = 1 << 22


class Unconfirmed:
    """Whether a configuration waits to be confirmed. `path`: the file, "" for none."""

    def __init__(self, path: str, log: logging.Logger, clock: Callable[[], float] = boottime_s) -> None:
        self.path = path
        self._log = log
        self._clock = clock
        self._before: ConfigApply | None = None
        self._until_s = math.inf
        self._written = b""
        """The file as we wrote or found it."""
        self._changed = trio.Event()

    @property
    def before(self) -> ConfigApply | None:
        """What brings back what was before; None when nothing waits."""
        return self._before

    def left_s(self) -> float:
        """How long one has to confirm; infinity when nothing waits."""
        return max(0.0, self._until_s - self._clock())

    def begin(self, before: ConfigApply, seconds: float) -> None:
        """Wait for this time from now on. What was before the first of several unconfirmed ones comes back. OSError: cannot be kept."""
        first = self._before or before
        self._set(values.replace(first, tried=(*first.tried, *before.tried)), self._clock() + seconds)

    def postpone(self, seconds: float) -> None:
        """Try again later, if something waits. The next daemon tries at once."""
        if self._before is not None:
            self._until_s = self._clock() + seconds
            self._tell()

    def end(self) -> None:
        """Nothing waits any more. A file that cannot be removed is told of: the next daemon would go by it."""
        self._before, self._until_s = None, math.inf
        try:
            if self.path:
                os.unlink(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            self._log.error("%s stays: %s; a restart within the hour would go by it.", self.path, reason)
        self._tell()

    def resume(self) -> None:
        """Go on from what an earlier daemon left, if it left anything."""
        if not self.path:
            return
        try:
            octets = read_file(self.path, MAXIMUM_OCTETS)
            tree = json.loads(octets)
            # An earlier version wrote no more of it than this.
            text, written, choice = str(tree["text"]), tuple(map(str, tree["written"])), str(tree["choice"])
            tried = tuple(map(str, tree.get("tried", ())))
            kept = None if tree.get("kept") is None else tuple(map(str, tree["kept"]))
            out, former = (tuple((int(i), str(what)) for i, what in tree.get(key, ())) for key in ("out", "former"))
            mac = bytes.fromhex(tree.get("mac", "")).hex()
            before = ConfigApply(text, written, choice, kept, mac, out, former, tried)
            until_s, boot = float(tree["until_s"]), tree["boot"]
        except FileNotFoundError:
            return
        except OSError as error:
            self._log.warning("%s cannot be read: %s", self.path, os.strerror(error.errno or 0))
            return
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            self._log.warning("%s is ignored: damaged", self.path)
            return
        now = self._clock()
        here = boot_id()
        other_boot = bool(boot and here and boot != here)
        if other_boot or not now - STALE_S <= until_s <= now + LONGEST_TRIAL_S:
            why = "from before the machine was started" if other_boot else "the time to confirm ended long ago"
            self._log.warning("%s is ignored: %s", self.path, why)
            self.end()
            return
        self._written = octets
        self._before, self._until_s = before, until_s
        self._tell()

    async def due(self) -> ConfigApply:
        """Wait until a configuration has to be taken back."""
        while True:
            silence: Silence | None = Silence(trio.current_time() + self.left_s())
            while silence is not None:
                with trio.move_on_at(silence.until) as patience:
                    await self._changed.wait()
                if not patience.cancelled_caught:
                    break
                silence = silence.judge(trio.current_time())
            else:
                if self._before is not None:
                    return self._before

    def restore(self) -> bool:
        """Write the file again if something waits and it was removed or replaced. Returns whether that was done. OSError."""
        if self._before is None or not self.path:
            return False
        with suppress(OSError):
            if read_file(self.path, MAXIMUM_OCTETS) == self._written:
                return False
        self._write(self._before, self._until_s)
        return True

    def _set(self, before: ConfigApply, until_s: float) -> None:
        if self.path:
            self._write(before, until_s)
        self._before, self._until_s = before, until_s
        self._tell()

    def _write(self, before: ConfigApply, until_s: float) -> None:
        octets = json.dumps({**asdict(before), "until_s": until_s, "boot": boot_id()}).encode()
        replace(self.path, octets)
        self._written = octets

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
