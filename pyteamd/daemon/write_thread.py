"""The thread that does what the event loop wants written to the kernel, so that the loop goes on while a write stalls.

How it works: a write needs the kernel's lock for network devices, and its holder may keep it for seconds. One thread, for all teams
of the process, does one batch of writes after the other, those that traffic waits for first. (What was foreseen for a lost port
the look-out, kernel/look_out.py, may have written already; then nobody has to wait here.) The event loop waits for each a moment, in
which nearly all of them are done, and goes on as if it had written itself; a batch that takes longer is reported when it is done, by a
task of its team, and until then the loop does everything else. More threads would wait for the same lock.
A fault is raised where the outcome is reported, so it is the team's. Of a batch that is done after the team's end nobody is told.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Final, TypeAlias

import trio

from pyteamd.daemon import realtime
from pyteamd.daemon.writing import Done
from pyteamd.kernel.api import Kernel
from pyteamd.model.desired import SetOption, Write
from pyteamd.model.errors import KernelGone
from pyteamd.model.events import Refused

PATIENCE_S: Final = 0.002
"""How long the event loop waits. A fail-over takes the kernel a tenth of it; an LACP partner waits 3 s at least."""

BOOK_KEEPING: Final = frozenset(("user_linkup", "user_linkup_enabled"))
"""Options that pass on what the watchers say. Where `enabled` decides they change nothing; elsewhere the driver sees the link first."""

Outcome: TypeAlias = Sequence[Refused] | BaseException


class WriteBatch:
    """Writes that were given to the thread. It finishes first, or the event loop stops waiting first; who is second sees that."""

    _outcome: Outcome | None = None
    _left = False

    def __init__(self, ifindex: int, writes: Sequence[Write], done: Done, late: Callable[[WriteBatch], None]) -> None:
        """`late` is called in the thread with this batch when the loop has gone on."""
        self.ifindex = ifindex
        self.writes = writes
        self._done = done
        self._late = late
        self._finished = Lock()
        """Free once there is an outcome; who takes it then is the one to tell of it."""
        self._finished.acquire()

    def finish(self, outcome: Outcome) -> None:
        """The thread is done."""
        self._outcome = outcome
        self._finished.release()
        if self._left and self._finished.acquire(False):
            self._late(self)

    def wait(self) -> bool:
        """Wait, in the event loop, PATIENCE_S at most. Returns whether the outcome is there; if not, `late` will be called."""
        if self._finished.acquire(timeout=PATIENCE_S):
            return True
        self._left = True
        return self._finished.acquire(False)

    def report(self) -> None:
        """Tell who wanted the writes, in the event loop. A fault is raised."""
        outcome = self._outcome
        assert outcome is not None
        if isinstance(outcome, BaseException) and not isinstance(outcome, KernelGone):
            raise outcome
        self._done(self.writes, outcome)


class WriteThread:
    """The thread for all writes to one kernel but those of the look-out. It starts with the first batch that it has to do."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._urgent: deque[WriteBatch] = deque()
        self._book_keeping: deque[WriteBatch] = deque()
        self._orders: SimpleQueue[bool] = SimpleQueue()
        """True for each batch, False for the end."""
        self._thread: Thread | None = None

    def submit(self, batch: WriteBatch) -> None:
        """Queue a batch: before all book-keeping if traffic waits for it."""
        if self._kernel.is_done(batch.ifindex, batch.writes) or (self._thread is None and not self._start()):
            self._perform(batch)
            return
        (self._book_keeping if is_book_keeping(batch.writes) else self._urgent).append(batch)
        self._orders.put(True)

    def look_out(self) -> None:
        """Let the kernel's look-out have a thread, if there is one to be had. It ends with the kernel."""

        def keep_watch() -> None:
            realtime.ask()
            self._kernel.look_out()

        with suppress(RuntimeError):
            Thread(target=keep_watch, name="look-out", daemon=True).start()

    def close(self) -> None:
        """End the thread. A stalled write is not waited for: it must not hold up the end of the process."""
        if self._thread is not None:
            self._orders.put(False)
            self._thread.join(PATIENCE_S)
            self._thread = None

    def _start(self) -> bool:
        """False where no thread can be had: then the event loop writes by itself, and the next batch asks again."""
        thread = Thread(target=self._run, name="writer", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        realtime.ask()
        while self._orders.get():
            self._perform((self._urgent or self._book_keeping).popleft())

    def _perform(self, batch: WriteBatch) -> None:
        try:
            outcome: Outcome = self._kernel.apply(batch.ifindex, batch.writes)
        except BaseException as problem:
            outcome = problem  # the event loop's to judge
        batch.finish(outcome)


class Writer:
    """The Performer (see writing.py) that leaves the writes of one team to the thread. To be made inside the event loop."""

    def __init__(self, thread: WriteThread, ifindex: int) -> None:
        self._write_thread = thread
        self._ifindex = ifindex
        self._loop = trio.lowlevel.current_trio_token()
        self._late, self._reports = trio.open_memory_channel[WriteBatch](math.inf)

    def __call__(self, writes: Sequence[Write], done: Done) -> None:
        batch = WriteBatch(self._ifindex, writes, done, self._tell)
        self._write_thread.submit(batch)
        if batch.wait():
            batch.report()

    async def report(self) -> None:
        """A task of the team: tell of the writes that the loop did not wait for."""
        async for batch in self._reports:
            batch.report()

    def _tell(self, batch: WriteBatch) -> None:
        with suppress(trio.RunFinishedError):
            self._loop.run_sync_soon(self._late.send_nowait, batch)


def is_book_keeping(writes: Sequence[Write]) -> bool:
    """Whether no traffic waits for any of them."""
    return all(isinstance(write, SetOption) and write.key.name in BOOK_KEEPING for write in writes)
