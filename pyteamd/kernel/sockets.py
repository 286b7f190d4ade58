"""Netlink sockets for requests: send one, get everything that answers it, or a NetlinkError.

The kernel does what a request asks inside `send`, so when that returns the answer is already in the receive buffer (the
rest of a dump is made inside `recv`). A blocking socket therefore never really waits, and any thread may use it; a lock keeps
one request at a time. The socket is connected to the kernel: other processes cannot send to it.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from array import array
from contextlib import suppress
from threading import Lock
from typing import Final

from pyteamd.kernel.framing import (
    ACK,
    DONE,
    F_ACK,
    F_DUMP_INTR,
    F_MULTI,
    NUMBER,
    SEQUENCE_AT,
    Malformed,
    Message,
    error_of,
    explanation_of,
    messages,
)

ROUTE: Final = 0
"""NETLINK_ROUTE."""
GENERIC: Final = 16
"""NETLINK_GENERIC."""

SOL_NETLINK: Final = 270
ADD_MEMBERSHIP: Final = 1
DATAGRAM: Final = 65536
"""Room for the largest datagram: dumps come in pieces of at most 32 KiB."""

_CAP_ACK, _EXT_ACK = 10, 11
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_SO_RCVBUFFORCE: Final = 33
_REQUEST_BUFFER: Final = 1 << 21  # an answer of many messages is all made before the first is read
_PATIENCE_S: Final = 10  # against a kernel that never answers: an error is better than a hang
_DUMP_ATTEMPTS: Final = 5
_FLAGS_AT: Final = 6


class NetlinkError(Exception):
    """The answer to a request was an error: its errno, and the kernel's own words when it gave any."""

    def __init__(self, code: int, explanation: str = "") -> None:
        reason = os.strerror(code) if code in errno.errorcode else f"error {code}"
        super().__init__(reason + (f": {explanation}" if explanation else ""))
        self.errno = code
        self.explanation = explanation


def attach_filter(sock: socket.socket, program: bytes) -> None:
    """Let the kernel run this program on every message or frame, before it is queued."""
    held = array("B", program)
    address, size = held.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", size // 8, address))


def detach_filter(sock: socket.socket) -> None:
    """Let everything through again; harmless without a filter."""
    with suppress(FileNotFoundError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def set_receive_buffer(sock: socket.socket, size: int) -> None:
    """Ask for a receive buffer, beyond the system's limit when we are allowed to."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


class RequestSocket:
    """A socket of one netlink protocol. Requests are octets whose sequence number is filled in here."""

    def __init__(self, protocol: int) -> None:
        self._lock = Lock()
        self._sequence = 0
        self._buffer = bytearray(DATAGRAM)
        self._view = memoryview(self._buffer)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.setsockopt(SOL_NETLINK, _CAP_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, _EXT_ACK, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", _PATIENCE_S, 0))
        set_receive_buffer(self._socket, _REQUEST_BUFFER)
        self._socket.connect((0, 0))

    def request(self, request: bytes) -> list[Message]:
        """Send, and return what answers it, acknowledgements left out. NetlinkError when the kernel says no."""
        return self._exchange(request)[0]

    def dump(self, request: bytes) -> list[Message]:
        """A dump, repeated a few times when the kernel says that things changed in the middle of it.

        After that the last one is taken: whatever changed is also on its way as an event.
        """
        for _ in range(_DUMP_ATTEMPTS):
            answers, interrupted = self._exchange(request)
            if not interrupted:
                break
        return answers

    def close(self) -> None:
        """Close the socket."""
        self._view.release()
        self._socket.close()

    def _exchange(self, request: bytes) -> tuple[list[Message], bool]:
        with self._lock:
            self._sequence = self._sequence % 0x7FFFFFFF + 1
            octets = bytearray(request)
            NUMBER.pack_into(octets, SEQUENCE_AT, self._sequence)
            try:
                self._socket.send(octets)
                answer = Answer(self._sequence, bool(octets[_FLAGS_AT] & F_ACK))
                while not answer.complete:
                    size = self._socket.recv_into(self._buffer, 0, socket.MSG_TRUNC)
                    if size > DATAGRAM:
                        raise Malformed(f"a datagram of {size} octets")
                    answer.feed(bytes(self._view[:size]))
            except BlockingIOError as problem:
                raise NetlinkError(errno.ETIMEDOUT, f"no answer in {_PATIENCE_S} seconds") from problem
            except OSError as problem:
                raise NetlinkError(problem.errno or errno.EIO) from problem
            except Malformed as problem:
                raise NetlinkError(errno.EBADMSG, str(problem)) from problem
            return answer.messages, answer.interrupted


class Answer:
    """Collects what answers the request with this sequence number; everything else was for a request given up.

    An answer ends with an acknowledgement, an error, a "done", or, when none of these was asked for, with its only message.
    `interrupted`: the kernel says that the parts of a dump do not fit together.
    """

    def __init__(self, sequence: int, acknowledged: bool) -> None:
        self.messages: list[Message] = []
        self.complete = False
        self.interrupted = False
        self._sequence = sequence
        self._acknowledged = acknowledged

    def feed(self, datagram: bytes) -> None:
        """Take a datagram. NetlinkError when it says no; Malformed."""
        for message in messages(datagram):
            if message.sequence != self._sequence or self.complete:
                continue
            self.interrupted = self.interrupted or bool(message.flags & F_DUMP_INTR)
            if message.type in (ACK, DONE):
                code = error_of(message)
                if code:
                    raise NetlinkError(code, explanation_of(message))
                self.complete = True
            else:
                self.messages.append(message)
                self.complete = not self._acknowledged and not message.flags & F_MULTI
