"""The simulated kernel for programs that wait: the complete Kernel interface on trio."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident

import trio

from pyteamd.kernel.api import Batch, Kernel
from pyteamd.sim.kernel import SimKernel
from pyteamd.sim.net import SimNet, SimSocket


class Wake:
    """Calls a function in the event loop that waits for it, from any thread."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._thread = 0
        self._loop: trio.lowlevel.TrioToken | None = None

    def awaited(self) -> None:
        """It is this event loop that is going to wait: the kernel may have been made before there was one."""
        self._thread, self._loop = get_ident(), trio.lowlevel.current_trio_token()

    def __call__(self) -> None:
        if self._loop is None or get_ident() == self._thread:
            self._action()
        else:
            self._loop.run_sync_soon(self._action)


class WaitingSimKernel(SimKernel):
    """SimKernel as a daemon sees it."""

    def __init__(self, net: SimNet | None = None) -> None:
        self._readable, self._heard = trio.Event(), trio.Event()
        super().__init__(net)
        self.wake = self._wake = Wake(lambda: self._readable.set())
        self.net.heard = self._frames = Wake(lambda: self._heard.set())

    async def events(self) -> Batch:
        self._wake.awaited()
        await trio.lowlevel.checkpoint()
        while not (found := self.take_events()):
            self._readable = trio.Event()
            await self._readable.wait()
        return found

    async def readable(self) -> list[SimSocket]:
        self._frames.awaited()
        await trio.lowlevel.checkpoint()
        while not (found := [socket for socket in self.net.sockets if socket.waiting and socket.link.here]):
            self._heard = trio.Event()
            await self._heard.wait()
        return found


_complete: type[Kernel] = WaitingSimKernel
