"""A small HTTP listener for metrics: GET of / or /metrics, one answer per connection, on a unix socket or a loopback address only.

It is there when `metrics_listen` is configured. What comes in is bounded in size, time and number; nobody can make it do anything else.
Everybody on the machine reaches a loopback address, web pages in a browser included: a request that names a host which is none of this
machine's addresses is refused (a page can make its own name lead here), and one connection too many ends the oldest, so that nobody can
keep the others out by doing nothing.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import re
import socket
import stat
import time
from collections.abc import Callable

import trio

from pyteamd.daemon.control.desk import guarded, take_turn
from pyteamd.daemon.control.usock import PAUSE_S, has_listener
from pyteamd.daemon.read_file import identity_of
from pyteamd.model.errors import UserError
from pyteamd.schema.values import listen_address, listening_doubt
from pyteamd.views.metrics import CONTENT_TYPE

MAXIMUM_OCTETS = 8192
"""Of a request."""
PATIENCE_S = 5.0
"""How long a connection may take, from accepting to the last octet of the answer."""
MAXIMUM_CONNECTIONS = 16
LOOK_S = 5.0
"""How often the socket's name is checked, and an address that could not be had is tried again."""
KEPT_S = 0.25
"""How long an answer is given again: everybody on the machine may ask as often as they like, and it must not take time from the ports."""
OWN_HOST = re.compile(rb"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?", re.I)
HOST = re.compile(rb"\r\nhost:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", re.I)


class ListeningSocket:
    """The address, and the socket that listens there."""

    def __init__(self, address: str) -> None:
        """`address`: as in the configuration."""
        self._kind, self._where = listen_address(address)
        self._path = self._where if isinstance(self._where, str) else ""
        self._identity: tuple[int, int] | None = None
        """Of our socket's name."""
        self.reachable = not self._path
        """By everybody on the machine, a browser included."""

    def open(self) -> socket.socket:
        """Bind and listen. OSError."""
        opened = socket.socket(self._kind, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._path and stat.S_ISSOCK(mode_of(self._path)) and not has_listener(self._path):
                os.unlink(self._path)
            opened.bind(self._where)
            opened.listen(MAXIMUM_CONNECTIONS)
            self._identity = identity_of(self._path) if self._path else None
        except OSError:
            opened.close()
            raise
        return opened

    async def lost(self) -> None:
        """Wait until the name does not lead to our socket any more; an address with a port cannot be lost."""
        while True:
            await trio.sleep(LOOK_S)
            if not self.reachable and not self._is_ours():
                return

    def remove(self) -> None:
        """Remove the name, if it is ours."""
        with contextlib.suppress(OSError):
            if self._path and self._is_ours():
                os.unlink(self._path)

    def _is_ours(self) -> bool:
        with contextlib.suppress(OSError):
            return identity_of(self._path) == self._identity
        return False


def why(error: OSError, address: str) -> str:
    """What a refusal to bind means, where its number is the cause; else ""."""
    return f" ({doubt})" if error.errno == errno.EACCES and (doubt := listening_doubt(address)) else ""


async def listen(address: str, answer: Callable[[], str], log: logging.Logger) -> None:
    """Answer until cancelled. An address that cannot be had, or is lost, is tried again; the same reason is not logged twice in a row."""
    place, told, was_there = ListeningSocket(address), "", False
    page = MetricsPage(answer, place.reachable, log, trio.current_time)
    while True:
        try:
            opened = place.open()
        except OSError as error:
            if (reason := os.strerror(error.errno or 0)) != told:
                log.error("metrics_listen %s: %s", address, reason + why(error, address))
            told = reason
            await trio.sleep(LOOK_S)
            continue
        if told or was_there:
            log.warning("metrics_listen %s: it is there %s.", address, "again" if was_there else "now")
        await _serve(opened, place, page, log)
        told, was_there = "", True


async def _serve(opened: socket.socket, place: ListeningSocket, page: MetricsPage, log: logging.Logger) -> None:
    """Accept connections until the address is lost."""
    try:
        with trio.socket.from_stdlib_socket(opened) as listener:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_accept, listener, page, log)
                await place.lost()
                nursery.cancel_scope.cancel()
    finally:
        place.remove()


def mode_of(path: str) -> int:
    """The mode of a file, 0 when there is none. OSError."""
    with contextlib.suppress(FileNotFoundError):
        return os.lstat(path).st_mode
    return 0


async def _accept(listener: trio.socket.SocketType, page: MetricsPage, log: logging.Logger) -> None:
    """A task for each connection; one too many costs the oldest."""
    open_now: dict[trio.CancelScope, None] = {}
    async with trio.open_nursery() as nursery:
        while True:
            try:
                client, _ = await listener.accept()
            except OSError as error:
                log.warning("metrics_listen: %s", os.strerror(error.errno or 0))
                await trio.sleep(PAUSE_S)
                continue
            if len(open_now) >= MAXIMUM_CONNECTIONS:
                oldest = next(iter(open_now))
                del open_now[oldest]
                oldest.cancel()
            scope = trio.CancelScope(deadline=trio.current_time() + PATIENCE_S)
            open_now[scope] = None
            nursery.start_soon(_connection, client, page, scope, open_now)


async def _connection(
    client: trio.socket.SocketType, page: MetricsPage, scope: trio.CancelScope, open_now: dict[trio.CancelScope, None]
) -> None:
    with client, scope, contextlib.suppress(OSError):
        try:
            request = b""
            while b"\r\n\r\n" not in request and len(request) < MAXIMUM_OCTETS:
                piece = await client.recv(MAXIMUM_OCTETS - len(request))
                if not piece:
                    return
                request += piece
            await take_turn()
            left = memoryview(page.response(request))
            while left:
                left = left[await client.send(left) :]
        finally:
            open_now.pop(scope, None)


class MetricsPage:
    """The page of metrics, and the answers to requests for anything else."""

    def __init__(
        self,
        answer: Callable[[], str],
        reachable: bool,
        log: logging.Logger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`reachable`: on an address, so that a browser could ask for another user."""
        self._answer = answer
        self._clock = clock
        self._kept: tuple[float, bytes] = (-math.inf, b"")
        """When it was made, and the whole answer."""
        self._reachable = reachable
        self._log = log

    def response(self, request: bytes) -> bytes:
        """The whole answer to a request."""
        words = request.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return reply("400 Bad Request", "text/plain", "this is not HTTP\n")
        if self._reachable and not all(OWN_HOST.fullmatch(host) for host in HOST.findall(request)):
            return reply("421 Misdirected Request", "text/plain", "ask for localhost or the address itself\n")
        if words[0] != b"GET":
            return reply("405 Method Not Allowed", "text/plain", "only GET\n")
        if words[1].split(b"?")[0] not in (b"/", b"/metrics"):
            return reply("404 Not Found", "text/plain", "ask for /metrics\n")
        try:
            with guarded("metrics", self._log):
                if self._clock() - self._kept[0] >= KEPT_S:
                    self._kept = (self._clock(), reply("200 OK", CONTENT_TYPE, self._answer()))
                return self._kept[1]
        except UserError as error:
            return reply("500 Internal Server Error", "text/plain", f"{error.text}\n")


def reply(status: str, content_type: str, text: str) -> bytes:
    """An HTTP response."""
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
