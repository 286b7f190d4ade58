"""The simulated kernel for programs that wait: the complete Kernel interface on trio."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident

import trio

from pyteamd.kernel.api import Batch, Kernel
from pyteamd.model.desired import Tap
from pyteamd.model.errors import KernelGone
from pyteamd.model.events import CarrierSeen, FrameSeen
from pyteamd.sim.kernel import SimKernel
from pyteamd.sim.link import SimLink
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


class WaitingSocket(SimSocket):
    """A packet socket that can be waited for."""

    def __init__(self, net: SimNet, link: SimLink, tap: Tap) -> None:
        super().__init__(net, link, tap)
        self._readable = trio.Event()
        self.wake = self._wake = Wake(lambda: self._readable.set())

    async def receive(self) -> list[FrameSeen]:
        self._wake.awaited()
        await trio.lowlevel.checkpoint()
        while not (frames := self.take()):
            if not self.open:
                raise KernelGone(self.link.name)
            self._readable = trio.Event()
            await self._readable.wait()
        return frames


class WaitingSimKernel(SimKernel):
    """SimKernel as a daemon sees it."""

    socket_class = WaitingSocket

    def __init__(self, net: SimNet | None = None) -> None:
        self._readable = trio.Event()
        self._waiting = False
        super().__init__(net)
        self.wake = self._wake = Wake(lambda: self._readable.set())

    def glance(self) -> int:
        match self.next_event() if self._waiting else None:
            case (0, CarrierSeen(ifindex=ifindex, running=False)):
                return ifindex
        return 0

    async def events(self) -> Batch:
        self._wake.awaited()
        await trio.lowlevel.checkpoint()
        while not (found := self.take_events()):
            self._readable = trio.Event()
            self._waiting = True
            try:
                await self._readable.wait()
            finally:
                self._waiting = False
        return found

    def open_port(self, ifindex: int, tap: Tap) -> WaitingSocket:
        socket = super().open_port(ifindex, tap)
        assert isinstance(socket, WaitingSocket)
        return socket


_complete: type[Kernel] = WaitingSimKernel
