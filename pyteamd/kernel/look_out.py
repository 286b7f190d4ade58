"""The look-out: a thread that answers the loss of a link before the event loop has woken up.

How it works: while it is armed, what is said of our ports and teams wakes this thread, and not the loop. If that is the loss of a port for
which a message was prepared, it sends the message. Then it gives the sockets back, and the loop reads what was said, as ever; the writes
that it wants then are done. So a fail-over waits for no turn of the loop and for no other thread, and on one processor the kernel's own
worker, which holds the lock that the message needs, has the processor meanwhile.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from socket import socket
from threading import Lock
from typing import Final, TypeAlias

from pyteamd.model.desired import Write
from pyteamd.model.events import Refused

ShotOutcome: TypeAlias = tuple[Refused, ...] | None
STAND_BACK_S: Final = 0.0005
"""With one processor, programs that wait for what was just written run before our own book-keeping. For that the event loop has to be left
asleep for a moment: it may be a real-time process, and yielding is not enough. With a second processor they run anyway."""

DRIVER_FIRST_S: Final = 0.0002
"""The driver tells that a port is lost, too, and may do so just before rtnetlink does: on one processor that comes while we wait."""

Prepared: TypeAlias = tuple[Sequence[Write], bytes]
"""Writes, and the message for them."""


class Shot:
    """Writes that the look-out is to do for the loss of one port."""

    outcome: ShotOutcome = None

    def __init__(self, team: int, writes: Sequence[Write], message: bytes) -> None:
        self.team, self.writes, self.message = team, writes, message
        self._over = Lock()
        self._over.acquire()

    def over(self, outcome: ShotOutcome) -> None:
        """This came of them; None: nothing, they are to be done by others."""
        self.outcome = outcome
        self._over.release()

    def wait(self) -> ShotOutcome:
        """What came of them, once they are over."""
        with self._over:
            return self.outcome


class LookOut:
    """`ready`: what the event loop waits for. `ours`: where something is said of ours. `loss`: the link that is lost, by the next message.

    `man` and what it calls run in a thread of their own. There is no lock: who takes a shot out of `_armed` has it. Should two do the same
    writes after all, nothing is lost: the second time they change nothing.
    """

    def __init__(
        self,
        ready: select.epoll,
        ours: Iterable[socket],
        loss: Callable[[], int],
        send: Callable[[Sequence[Write], bytes], ShotOutcome],
    ) -> None:
        self.fired: dict[int, Shot] = {}
        """By team: what was written here, or is, and nobody has claimed."""
        self._armed: dict[int, Shot] = {}
        """By port."""
        self._ports: dict[int, Sequence[int]] = {}
        """By team: for which of its ports something is armed, or was."""
        self._ready, self._loss, self._send = ready, loss, send
        self._ours, self._mine = select.epoll(), select.epoll()
        for each in ours:
            self._ours.register(each, select.EPOLLIN)
        ready.register(self._ours, select.EPOLLIN)
        self._mine.register(self._ours, select.EPOLLONESHOT)
        self._bell = os.eventfd(0, os.EFD_CLOEXEC)
        self._mine.register(self._bell, select.EPOLLIN)
        self._manned = self._watching = self._closed = False
        self._one_processor = len(os.sched_getaffinity(0)) == 1

    def arm(self, team: int, losses: Mapping[int, Prepared]) -> None:
        """From now on, these are the writes for the losses of ports of a team; {}: none."""
        self._disarm(team)
        if losses:
            self._ports[team] = tuple(losses)
            self._armed.update([(port, Shot(team, *prepared)) for port, prepared in losses.items()])

    def watch(self) -> None:
        """The event loop has read all that was said, and waits: have the sockets until something is said, if anything is armed."""
        if self._armed and self._manned and not self._watching:
            self._watching = True
            with suppress(FileNotFoundError):  # the thread is just giving it back
                self._ready.unregister(self._ours)
            self._mine.modify(self._ours, select.EPOLLIN | select.EPOLLONESHOT)

    def claim(self, team: int, writes: Sequence[Write]) -> Shot | None:
        """These writes are to be done: the shot, if that is done here, or None. Nothing of the team is done here then until it is armed."""
        shot = self._disarm(team)
        return shot if shot is not None and shot.writes is writes else None

    def _disarm(self, team: int) -> Shot | None:
        """Returns what was fired."""
        for port in self._ports.pop(team, ()):
            self._armed.pop(port, None)
        return self.fired.pop(team, None)

    def close(self) -> None:
        """End the watch."""
        if self._closed:
            return
        self._closed = True
        self._ours.close()
        if self._manned:
            os.eventfd_write(self._bell, 1)
        else:
            self._release()

    def man(self) -> None:
        """Keep watch, until `close`."""
        self._manned = True
        try:
            with suppress(ValueError):  # something was closed meanwhile
                while True:
                    self._mine.poll(-1, 1)
                    if self._closed:
                        return
                    try:
                        if not (port := self._loss()):
                            time.sleep(DRIVER_FIRST_S)
                            port = self._loss()
                        if (shot := self._armed.pop(port, None)) is not None:
                            self._fire(shot)
                    finally:
                        self._watching = False
                        with suppress(FileExistsError):  # the loop has them, too, since both met there
                            self._ready.register(self._ours, select.EPOLLIN)
        finally:
            self._manned = False
            if self._closed:
                self._release()

    def _fire(self, shot: Shot) -> None:
        """Once for each team, until that is claimed."""
        if shot.team in self.fired:
            return
        self.fired[shot.team], outcome = shot, None
        try:
            outcome = self._send(shot.writes, shot.message)
        finally:
            shot.over(outcome)
        if self._one_processor and outcome is not None:
            time.sleep(STAND_BACK_S)

    def _release(self) -> None:
        os.close(self._bell)
        self._mine.close()
