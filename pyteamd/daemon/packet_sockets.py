"""The packet sockets of one team: open what the Team wants, close the rest, one reader task each.

A reader owns its socket and closes it when it ends: because the Team does not want it any more (its scope is cancelled), because the port
is gone, or because the daemon ends.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping

import trio

from pyteamd.kernel.api import Kernel, PortSocket
from pyteamd.model.desired import Frame, Tap
from pyteamd.model.errors import KernelGone, KernelRefused
from pyteamd.model.events import FrameSeen
from pyteamd.values import dataclass

RETRY_S = 5.0
"""A socket that the kernel refused is tried again this much later."""
PAUSE_S = 0.1
"""Before a socket is read again whose read failed."""


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """One open socket and the scope of the task that reads it."""

    socket: PortSocket
    scope: trio.CancelScope


class PacketSockets:
    """The open packet sockets of one team, by port and kind."""

    def __init__(
        self, kernel: Kernel, nursery: trio.Nursery, log: logging.Logger, deliver: Callable[[list[FrameSeen]], None]
    ) -> None:
        """`deliver` gets the frames of each wake-up, in the event loop."""
        self._kernel = kernel
        self._nursery = nursery
        self._log = log
        self._deliver = deliver
        self._wanted: Mapping[int, frozenset[Tap]] = {}
        self._readers: dict[int, dict[Tap, OpenSocket]] = {}
        self._refused: dict[tuple[int, Tap], float] = {}
        """When to try again."""

    def update(self, wanted: Mapping[int, frozenset[Tap]], now: float) -> float:
        """Make the open sockets those wanted. Returns when to try again what the kernel refused, infinity for never."""
        if wanted == self._wanted and not self._refused:
            return math.inf
        self._wanted = wanted
        for ifindex, there in self._readers.items():
            for tap in there.keys() - wanted.get(ifindex, frozenset()):
                there.pop(tap).scope.cancel()
        for ifindex in [ifindex for ifindex in self._readers if ifindex not in wanted]:
            del self._readers[ifindex]
        for ifindex, taps in wanted.items():
            there = self._readers.setdefault(ifindex, {})
            for tap in taps - there.keys():
                if self._refused.get((ifindex, tap), now) <= now:
                    self._open(ifindex, tap, now)
        for place in [place for place in self._refused if place[1] not in wanted.get(place[0], ())]:
            del self._refused[place]
        return min(self._refused.values(), default=math.inf)

    def send(self, frame: Frame) -> None:
        """Send a frame through any socket of its port. A port that cannot take it now is no error: links go down."""
        reader = next(iter(self._readers.get(frame.port, {}).values()), None)
        if reader is None:
            self._log.debug("interface %d: no socket to send a frame on", frame.port)
            return
        try:
            reader.socket.send(frame.octets)
        except KernelGone:
            return
        except OSError as error:
            self._log.debug("interface %d: frame not sent: %s", frame.port, os.strerror(error.errno or 0))

    def _open(self, ifindex: int, tap: Tap, now: float) -> None:
        self._refused.pop((ifindex, tap), None)
        try:
            socket = self._kernel.open_port(ifindex, tap)
        except KernelGone:
            return  # the event that says so is on its way
        except KernelRefused as refusal:
            self._log.warning("%s", refusal)
            self._refused[ifindex, tap] = now + RETRY_S
            return
        reader = OpenSocket(socket, trio.CancelScope())
        self._readers[ifindex][tap] = reader
        self._nursery.start_soon(self._read, ifindex, tap, reader)

    async def _read(self, ifindex: int, tap: Tap, reader: OpenSocket) -> None:
        try:
            with reader.scope:
                while True:
                    try:
                        frames = await reader.socket.receive()
                    except OSError as error:  # no memory, say: the socket is still there
                        self._log.warning(
                            "interface %d: frames cannot be read: %s", ifindex, os.strerror(error.errno or 0)
                        )
                        await trio.sleep(PAUSE_S)
                        continue
                    self._deliver(frames)
        except KernelGone:
            there = self._readers.get(ifindex, {})
            if there.get(tap) is reader:
                del there[tap]
                self._refused[ifindex, tap] = trio.current_time() + RETRY_S
        finally:
            reader.socket.close()
