"""A small HTTP listener for metrics: GET of / or /metrics, one answer per connection, on a unix socket or a loopback address only.

It is there when `metrics_listen` is configured. What comes in is bounded in size, time and number; nobody can make it do anything else.
Everybody on the machine reaches a loopback address, web pages in a browser included: a request that names a host which is none of this
machine's addresses is refused (a page can make its own name lead here), and of too many connections the idlest is dropped, so that nobody
can keep the others out by doing nothing.
"""

from __future__ import annotations

import contextlib
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
from pyteamd.daemon.control.usock import PASSING, PAUSE_S, identity_of, somebody_listens
from pyteamd.model.errors import UserError
from pyteamd.schema.values import listen_address
from pyteamd.views.metrics import CONTENT_TYPE

MAXIMUM_OCTETS = 8192
PATIENCE_S = 5.0
MAXIMUM_CONNECTIONS = 16
KEPT_S = 0.25
"""Everybody on the machine may ask, as often as they like; the ports' time is not theirs."""
OWN_HOST = re.compile(rb"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?", re.I)
HOST = re.compile(rb"\r\nhost:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", re.I)


async def listen(address: str, answer: Callable[[], str], log: logging.Logger) -> None:
    """Answer until cancelled. An address that cannot be had is an error in the log and nothing else."""
    kind, where = listen_address(address)
    path = where if isinstance(where, str) else ""
    opened: socket.socket | None = None
    try:
        opened = socket.socket(kind, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if path and stat.S_ISSOCK(mode_of(path)) and not somebody_listens(path):
            os.unlink(path)
        opened.bind(where)
        opened.listen(MAXIMUM_CONNECTIONS)
        identity = identity_of(path) if path else None
    except OSError as error:
        if opened is not None:
            opened.close()
        log.error("metrics_listen %s: %s", address, os.strerror(error.errno or 0))
        return
    try:
        with trio.socket.from_stdlib_socket(opened) as listener:
            await _accept(listener, Page(answer, not path, log, trio.current_time), log)
    finally:
        with contextlib.suppress(OSError):
            if path and identity_of(path) == identity:
                os.unlink(path)


def mode_of(path: str) -> int:
    """The kind of a file, 0 when there is none. OSError."""
    with contextlib.suppress(FileNotFoundError):
        return os.lstat(path).st_mode
    return 0


async def _accept(listener: trio.socket.SocketType, page: Page, log: logging.Logger) -> None:
    """A task for each connection; one too many costs the oldest."""
    open_now: dict[trio.CancelScope, None] = {}
    async with trio.open_nursery() as nursery:
        while True:
            try:
                client, _ = await listener.accept()
            except OSError as error:
                if error.errno not in PASSING:
                    raise
                log.warning("metrics_listen: %s", os.strerror(error.errno))
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
    client: trio.socket.SocketType, page: Page, scope: trio.CancelScope, open_now: dict[trio.CancelScope, None]
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


class Page:
    """The one page there is."""

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
