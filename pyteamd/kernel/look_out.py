"""The look-out: a thread that answers the loss of a link before the event loop has woken up.

How it works: while it is armed, what is said of our ports and teams wakes this thread, and not the loop. If that is the loss of a port for
which a message was prepared, it sends the message. Then it gives the sockets back, and the loop reads what was said, as ever; the writes
that it wants then are done. So a fail-over waits for no turn of the loop and for no other thread, and on one processor the kernel's own
worker, which holds the lock that the message needs, has the processor meanwhile. While that lock is held elsewhere, the message waits, and
the loop hears nothing of links and teams: without the lock nothing new is said of them.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import Final, TypeAlias

from pyteamd.model.desired import Write
from pyteamd.model.events import Refused

ShotOutcome: TypeAlias = tuple[Refused, ...] | None
STAND_BACK_S: Final = 0.0005
"""With one processor, programs that wait for what was just written run before our own book-keeping. For that the event loop has to be left
asleep for a moment: it may be a real-time process, and yielding is not enough. With a second processor they run anyway."""

DRIVER_FIRST_MS: Final = 2
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

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is under way."""
        return not self._over.locked()

    def over(self, outcome: ShotOutcome) -> None:
        """This came of them; None: nothing, they are to be done by others."""
        self.outcome = outcome
        self._over.release()

    def wait(self) -> ShotOutcome:
        """What came of them, once they are over."""
        with self._over:
            return self.outcome


class LookOut:
    """`ready`: what the event loop waits for. `links`, `teams`: where ours are told of. `loss`: whose link is lost, by the next message.

    `man` and what it calls run in a thread of their own. A shot that is told in `fired` before it is taken out of `_armed` is waited for by
    who writes for this team next, and of two who take it out one gets it: so nothing foreseen is written behind anything newer.
    """

    def __init__(
        self,
        ready: select.epoll,
        links: socket.socket,
        teams: socket.socket,
        loss: Callable[[], int],
        send: Callable[[Sequence[Write], bytes], ShotOutcome],
    ) -> None:
        self.fired: dict[int, Shot] = {}
        """By team: what was written here, or is, and nobody has claimed."""
        self._armed: dict[int, Shot] = {}
        """By port."""
        self._shots: dict[int, dict[int, Shot]] = {}
        """By team and port: what was armed last."""
        self._ready, self._loss, self._send = ready, loss, send
        self._ours, self._mine = select.epoll(), select.epoll()
        self._links = select.poll()
        self._links.register(links, select.POLLIN)
        for each in (links, teams):
            self._ours.register(each, select.EPOLLIN)
        ready.register(self._ours, select.EPOLLIN)
        self._mine.register(self._ours, select.EPOLLONESHOT)
        self._bell, self._rope = socket.socketpair()
        self._mine.register(self._bell, select.EPOLLIN)
        self._manned = self._watching = self._closed = False
        self._one_processor = len(os.sched_getaffinity(0)) == 1

    def arm(self, team: int, losses: Mapping[int, Prepared]) -> None:
        """From now on, these are the writes for the losses of ports of a team; {}: none."""
        self._disarm(team)
        if losses:
            if (shot := self.fired.get(team)) is not None and shot.is_over:
                self.fired.pop(team, None)  # nobody asked for it: the kernel's own words told the team that it was done
            shots = self._shots[team] = {port: Shot(team, *prepared) for port, prepared in losses.items() if port}
            self._armed.update(shots)

    def watch(self) -> None:
        """The event loop has read all that was said, and waits: have the sockets until something is said, if anything is armed."""
        if self._armed and self._manned and not self._watching:
            self._watching = True
            self._ready.modify(self._ours, 0)
            self._mine.modify(self._ours, select.EPOLLIN | select.EPOLLONESHOT)

    def claim(self, team: int, writes: Sequence[Write]) -> ShotOutcome:
        """These are about to be written: what came of them if that was done here, None otherwise. Waits for what is done here for the team.

        From now on nothing is, until it is armed.
        """
        self._disarm(team)
        if (shot := self.fired.pop(team, None)) is None:
            return None
        outcome = shot.wait()
        return outcome if shot.writes is writes else None

    def forget(self, team: int) -> None:
        """The team has ended."""
        self._disarm(team)
        self.fired.pop(team, None)

    def _disarm(self, team: int) -> None:
        for port, shot in self._shots.pop(team, {}).items():
            if self._armed.get(port) is shot:
                self._armed.pop(port, None)

    def close(self) -> None:
        """End the watch."""
        self._closed = True
        with suppress(OSError):  # it was closed before
            self._rope.send(b"!")
        if not self._manned:
            self._release()

    def man(self) -> None:
        """Keep watch, until `close`."""
        self._manned = True
        try:
            while not self._closed:
                self._mine.poll(-1, 1)
                if not self._closed:
                    try:
                        self._answer()
                    finally:
                        self._give_back()
        except (OSError, ValueError):
            if not self._closed:
                raise
        finally:
            self._manned = False
            if self._closed:
                self._release()
            else:
                self._give_back()  # the event loop goes on alone

    def _answer(self) -> None:
        """Something was said. Once for each team, until that is claimed."""
        if not (port := self._loss()):
            self._links.poll(DRIVER_FIRST_MS)
            port = self._loss()
        shot = self._armed.get(port)
        if shot is None or shot.team in self.fired:
            return
        self.fired[shot.team], outcome = shot, None
        try:
            if self._armed.pop(port, None) is shot:
                outcome = self._send(shot.writes, shot.message)
        finally:
            shot.over(outcome)
        if self._one_processor and outcome is not None:
            time.sleep(STAND_BACK_S)

    def _give_back(self) -> None:
        """What is said wakes the event loop. Should that have asked us to watch meanwhile, both hear it."""
        self._watching = False
        self._ready.modify(self._ours, select.EPOLLIN)

    def _release(self) -> None:
        """May be called twice: by who closes before the thread has begun, and by that."""
        for each in (self._mine, self._ours, self._bell, self._rope):
            each.close()
