"""A small HTTP listener for metrics: GET of / or /metrics, one answer per connection, on a unix socket or a loopback address only.

It is there when `metrics_listen` is configured. What comes in is bounded in size, time and number; nobody can make it do anything else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
from collections.abc import Callable

import trio

from pyteamd.daemon.control.usock import PASSING, PAUSE_S, identity_of, somebody_listens
from pyteamd.schema.values import listen_address
from pyteamd.views.metrics import CONTENT_TYPE

MAXIMUM_OCTETS = 8192
PATIENCE_S = 5.0
MAXIMUM_CONNECTIONS = 16


async def listen(address: str, answer: Callable[[], str], log: logging.Logger) -> None:
    """Answer until cancelled. An address that cannot be had is an error in the log and nothing else."""
    kind, where = listen_address(address)
    path = where if isinstance(where, str) else ""
    opened = socket.socket(kind, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if path and stat.S_ISSOCK(mode_of(path)) and not somebody_listens(path):
            os.unlink(path)
        opened.bind(where)
        opened.listen(MAXIMUM_CONNECTIONS)
        identity = identity_of(path) if path else None
    except OSError as error:
        opened.close()
        log.error("metrics_listen %s: %s", address, os.strerror(error.errno or 0))
        return
    limit = trio.CapacityLimiter(MAXIMUM_CONNECTIONS)
    try:
        with trio.socket.from_stdlib_socket(opened) as listener:
            async with trio.open_nursery() as nursery:
                while True:
                    async with limit:
                        try:
                            client, _ = await listener.accept()
                        except OSError as error:
                            if error.errno not in PASSING:
                                raise
                            log.warning("metrics_listen: %s", os.strerror(error.errno))
                            await trio.sleep(PAUSE_S)
                            continue
                    nursery.start_soon(_connection, client, answer, limit)
    finally:
        with contextlib.suppress(OSError):
            if path and identity_of(path) == identity:
                os.unlink(path)


def mode_of(path: str) -> int:
    """The kind of a file, 0 when there is none. OSError."""
    with contextlib.suppress(FileNotFoundError):
        return os.lstat(path).st_mode
    return 0


async def _connection(client: trio.socket.SocketType, answer: Callable[[], str], limit: trio.CapacityLimiter) -> None:
    with client, trio.move_on_after(PATIENCE_S), contextlib.suppress(OSError):
        async with limit:
            request = b""
            while b"\r\n\r\n" not in request and len(request) < MAXIMUM_OCTETS:
                piece = await client.recv(MAXIMUM_OCTETS - len(request))
                if not piece:
                    return
                request += piece
            left = memoryview(response(request, answer))
            while left:
                left = left[await client.send(left) :]


def response(request: bytes, answer: Callable[[], str]) -> bytes:
    """The whole answer to a request."""
    words = request.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return reply("400 Bad Request", "text/plain", "this is not HTTP\n")
    if words[0] != b"GET":
        return reply("405 Method Not Allowed", "text/plain", "only GET\n")
    if words[1].split(b"?")[0] not in (b"/", b"/metrics"):
        return reply("404 Not Found", "text/plain", "ask for /metrics\n")
    return reply("200 OK", CONTENT_TYPE, answer())


def reply(status: str, content_type: str, text: str) -> bytes:
    """An HTTP response."""
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
