"""A thread that writes to the kernel, for teams whose frames must leave in time even while a write stalls.

How it works: a write needs the kernel's lock for network devices, and whoever holds that may hold it for seconds. The thread does one
batch of writes after the other. The event loop waits for each a moment, in which nearly all of them are done, and goes on as if it had
written itself; a batch that takes longer is reported when it is done, by a task of the team, and until then the loop does everything else.
A fault is raised where the outcome is reported, so it is the team's. Of a batch that is done after the team's end nobody is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Final, TypeAlias

import trio

from pyteamd.daemon import realtime
from pyteamd.daemon.writing import Done
from pyteamd.kernel.api import Kernel
from pyteamd.model.desired import Write
from pyteamd.model.errors import KernelGone
from pyteamd.model.events import Refused

PATIENCE_S: Final = 0.002
"""How long the event loop waits. A fail-over takes the kernel a tenth of it; a partner allows a hundred times as much."""

Outcome: TypeAlias = Sequence[Refused] | BaseException


class Batch:
    """Writes on their way. Whoever is second, the thread with the outcome or the loop with its patience, sees what the first did."""

    def __init__(self, writes: Sequence[Write], done: Done) -> None:
        self.writes = writes
        self._done = done
        self._finished = Lock()
        self._finished.acquire()
        self._turn = Lock()
        self._outcome: Outcome | None = None
        self._left = False

    def finish(self, outcome: Outcome) -> bool:
        """The thread is done. Returns whether the loop has gone on, and has to be told."""
        with self._turn:
            self._outcome = outcome
            self._finished.release()
            return self._left

    def wait(self) -> bool:
        """The loop waits a moment. Returns whether the outcome is there; if not, `finish` will return true."""
        if self._finished.acquire(timeout=PATIENCE_S):
            return True
        with self._turn:
            self._left = self._outcome is None
            return not self._left

    def report(self) -> None:
        """Tell who wanted the writes, in the event loop. A fault is raised."""
        outcome = self._outcome
        assert outcome is not None
        if isinstance(outcome, BaseException) and not isinstance(outcome, KernelGone):
            raise outcome
        self._done(self.writes, outcome)


class Writer:
    """The Performer (see pump.py) with a thread of its own, for one team. To be made inside the event loop."""

    def __init__(self, kernel: Kernel, ifindex: int) -> None:
        self._kernel = kernel
        self._ifindex = ifindex
        self._loop = trio.lowlevel.current_trio_token()
        self._late, self._reports = trio.open_memory_channel[Batch](math.inf)
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=f"writer-{ifindex}", daemon=True)
        self._thread.start()

    def __call__(self, writes: Sequence[Write], done: Done) -> None:
        batch = Batch(writes, done)
        self._queue.put(batch)
        if batch.wait():
            batch.report()

    async def report(self) -> None:
        """A task of the team: tell of the writes that the loop did not wait for, until the thread ends."""
        async for batch in self._reports:
            batch.report()

    def close(self) -> None:
        """No more writes. A stalled one is left to itself: it must not hold up the end of the process."""
        self._queue.put(None)
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        realtime.ask()
        while (batch := self._queue.get()) is not None:
            try:
                outcome: Outcome = self._kernel.apply(self._ifindex, batch.writes)
            except BaseException as problem:
                outcome = problem  # the event loop's to judge
            if batch.finish(outcome):
                self._tell(partial(self._late.send_nowait, batch))
        self._tell(self._late.close)

    def _tell(self, what: Callable[[], None]) -> None:
        with suppress(trio.RunFinishedError):
            self._loop.run_sync_soon(what)
