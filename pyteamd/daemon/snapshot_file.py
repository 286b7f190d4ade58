"""What a team leaves to the daemon that takes it over after a crash: the runner's snapshot in a small file of the run directory.

How it works: the file is replaced whenever the runner has something new to tell, and touched whenever a frame was sent, for a partner's
patience is counted from there. The time of its last change is therefore the last sign of life; it is taken from CLOCK_BOOTTIME, which goes
on while the machine sleeps and which nobody sets. (That is why such a file seems to be from 1970.) Who takes a team over reads the
file, hands it to the runner with its age, and says in one line when it is of no use. An orderly end removes it.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import trio

from pyteamd.daemon.boot_time import boot_id, boottime_s
from pyteamd.daemon.control.desk import guarded
from pyteamd.daemon.pump import Pump
from pyteamd.daemon.read_file import opened, replace
from pyteamd.model.errors import UserError
from pyteamd.runners.base import Runner

PAUSE_S: Final = 0.05
"""The least time between two writes; a start with many ports has something new to tell with each frame."""
TOUCH_S: Final = 0.1
"""The same for saying that we live: at rest nobody has to wait for that, which costs a timer."""
OLD_S: Final = 90.0
"""No partner is patient for longer."""
MAXIMUM_OCTETS: Final = 1 << 22


class Useless(Exception):
    """There is a file, and it tells nothing about this team. The text says why."""


class SnapshotFile:
    """The file of one team device. `ifindex` tells it from an earlier device of the same name."""

    def __init__(
        self, path: str, ifindex: int, log: logging.Logger, *, clock: Callable[[], float] = boottime_s, boot: str = ""
    ) -> None:
        """`clock` and `boot` are CLOCK_BOOTTIME and the kernel's boot id; only tests give others."""
        self.path = path
        self._ifindex = ifindex
        self.handed_over: tuple[dict[str, Any], float, float] | None = None
        """What the runner was given to go on from, its age and when that was; a trace begins with it."""
        self._log = log
        self._clock = clock
        self._boot = boot or boot_id()
        self._revision = self._tried = 0
        self._left: tuple[int, ...] = ()
        """Marks of the file as we last wrote or touched it."""
        self._spoke = self._complained = self._removed = False
        self._touch_at = 0.0

    def hand_over(self, runner: Runner, now: float) -> None:
        """Tell the runner what its predecessor left, if there is anything."""
        try:
            snapshot, age_s = self.load()
        except FileNotFoundError:
            return
        except (OSError, Useless) as problem:
            reason = os.strerror(problem.errno or 0) if isinstance(problem, OSError) else problem
            self._log.warning("%s is ignored: %s", self.path, reason)
            return
        if age_s > OLD_S:
            self._log.warning("%s is %.0f s old: partners are listened to again", self.path, age_s)
        try:
            runner.resume(snapshot, age_s, now)
        except Exception:  # a fault of ours; the next start must not meet the same file again
            self.remove()
            raise
        self.handed_over = (snapshot, age_s, now)

    def load(self) -> tuple[dict[str, Any], float]:
        """The snapshot and its age in seconds. FileNotFoundError, OSError, Useless."""
        with open(opened(self.path), "rb") as file:
            age_s = self._clock() - os.fstat(file.fileno()).st_mtime_ns / 1e9
            octets = file.read(MAXIMUM_OCTETS + 1)
        if len(octets) > MAXIMUM_OCTETS:
            raise Useless("too long")
        try:
            tree = json.loads(octets)
        except (ValueError, RecursionError):
            raise Useless("damaged") from None
        if not isinstance(tree, dict) or not isinstance(tree.get("snapshot"), dict):
            raise Useless("damaged")
        other_boot = tree.get("boot") not in ("", self._boot) and self._boot != ""  # a unit's restrictions may hide it
        if other_boot or age_s < 0:
            raise Useless("from before the machine was started")
        if tree.get("ifindex") != self._ifindex:
            raise Useless("about another device")
        return tree["snapshot"], age_s

    def spoke(self) -> None:
        """A frame was sent."""
        self._spoke = self._spoke or trio.current_time() >= self._touch_at

    async def keep(self, pump: Pump) -> None:
        """Keep the file as new as the runner, until cancelled, or until it was removed and there is something new."""
        runner = pump.team.runner
        while not self._removed:
            await pump.until(lambda: self._spoke or runner.revision != self._tried, math.inf)
            new = runner.revision != self._tried
            self._touch_at = trio.current_time() + TOUCH_S
            with suppress(UserError), guarded("What is kept for the next daemon", self._log):
                self.update(runner, trio.current_time())
            if new:
                await trio.sleep(PAUSE_S)

    def update(self, runner: Runner, now: float) -> None:
        """Write what is new, or say that we live."""
        if self._removed:
            return
        self._spoke = False
        self._tried = runner.revision
        try:
            if self._tried != self._revision or not self._touched():
                self._save(runner.snapshot(now))
                self._revision = self._tried  # only now: an old snapshot must not be made to look new
        except OSError as error:
            if not self._complained:
                self._log.warning("%s: %s; a restart will interrupt traffic", self.path, os.strerror(error.errno or 0))
            self._complained = True

    def _touched(self) -> bool:
        """Say that we live. False when the file was removed, or is not ours: another one must not be made to look new."""
        try:
            if marks(self.path) != self._left:
                return False
            self._touch(self.path)
        except FileNotFoundError:
            return False
        return True

    def remove(self) -> None:
        """No successor is to go on from here: remove the file, and write nothing any more."""
        self._removed = True
        with suppress(OSError):
            os.unlink(self.path)

    def _save(self, snapshot: dict[str, Any] | None) -> None:
        tree = {"boot": self._boot, "ifindex": self._ifindex, "snapshot": snapshot}
        replace(self.path, json.dumps(tree).encode(), self._touch)

    def _touch(self, path: str) -> None:
        now_ns = int(self._clock() * 1e9)
        os.utime(path, ns=(now_ns, now_ns))
        self._left = marks(path)


def marks(path: str) -> tuple[int, ...]:
    """What tells a file from one that replaced it: the time too, because inode numbers are used again at once. OSError."""
    found = os.lstat(path)
    return found.st_dev, found.st_ino, found.st_mtime_ns
