"""The control socket of one team: AF_UNIX, SOCK_SEQPACKET, one packet per request and one per reply.

    REQUEST\\n<method>\\n<argument>\\n…        REPLY_SUCCESS\\n<payload>        REPLY_ERROR\\n<code>\\n<text>\\n

A field cannot be empty: newlines before one are skipped. In arguments, and only there, backslash and newline are written as `\\\\` and
`\\n`. The packet ends at its first NUL. What is no request, or asks for no method of ours, gets no reply: that is teamd's
behaviour, and clients run into their time-out of 5 s.

The name appears when the socket is ready: it is bound under another name, listens, and is then renamed, because NetworkManager connects the
moment the file is there. A socket that a process listens at is left to it: the start fails. At the end the name is removed only if it
still leads to our socket and not to a successor's.

Each connection is a task of its own, so a client that does not read its reply delays nobody; after SEND_TIMEOUT_S it is cut off.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket

import trio

from pyteamd.daemon.control import methods
from pyteamd.daemon.control.desk import MAXIMUM_REQUEST_OCTETS, TOO_LONG, Desk, guarded
from pyteamd.daemon.device_lock import CREDENTIALS
from pyteamd.daemon.pid_file import is_dying
from pyteamd.daemon.read_file import identity_of
from pyteamd.model.errors import INVALID_ARGUMENTS, UserError
from pyteamd.model.printable import printable_lines

BACKLOG = 64
MAXIMUM_CONNECTIONS = 256
SEND_TIMEOUT_S = 5.0
DEFAULT_SEND_BUFFER = 160 * 1024
"""A reply up to this size fits into the kernel's usual send buffer of 212992 octets with its overhead."""

PAUSE_S = 0.1
"""After an error a connection may be accepted a little later: no file can be opened, no memory is left, a rule forbids it."""

KIND = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
SO_SNDBUFFORCE = 32
REQUEST = "REQUEST"


class Usock:
    """The socket and its file. A context manager: on leaving, the socket is closed and the file removed."""

    def __init__(self, path: str, log: logging.Logger) -> None:
        """Bind and listen; the name is there when this returns. OSError."""
        self.path = path
        self._log = log
        if has_listener(path):
            raise OSError(errno.EADDRINUSE, "a running daemon's socket")
        self._clients: dict[trio.CancelScope, None] = {}
        """Connections, the one that has been silent for the longest time first."""
        self._round = trio.CancelScope()
        """Of accepting on one listener."""
        self._listener, self._identity = opened(path)

    def restore(self) -> bool:
        """Make the socket again if its name was removed, or leads to what nobody listens at. Returns whether that was done. OSError."""
        with contextlib.suppress(FileNotFoundError):
            if identity_of(self.path) == self._identity or has_listener(self.path):
                return False
        self._listener, self._identity = opened(self.path)
        self._round.cancel()
        return True

    def close(self) -> None:
        """Close the socket and remove its name if it is ours; one that stays does no harm, for nobody listens."""
        self._listener.close()
        try:
            if identity_of(self.path) == self._identity:
                os.unlink(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._log.warning("Control socket: %s is left behind: %s", self.path, os.strerror(error.errno or 0))

    async def serve(self, desk: Desk) -> None:
        """Accept connections and answer requests until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                with trio.socket.from_stdlib_socket(self._listener) as listener, trio.CancelScope() as self._round:
                    await self._accept(listener, nursery, desk)

    async def _accept(self, listener: trio.socket.SocketType, nursery: trio.Nursery, desk: Desk) -> None:
        while True:
            try:
                client, _ = await listener.accept()
            except OSError as error:
                self._log.warning("Control socket: %s", os.strerror(error.errno or 0))
                self._drop_idlest()
                await trio.sleep(PAUSE_S)
                continue
            if len(self._clients) >= MAXIMUM_CONNECTIONS:
                self._drop_idlest()
            scope = trio.CancelScope()
            self._clients[scope] = None
            nursery.start_soon(self._connection, client, scope, desk)

    async def _connection(self, client: trio.socket.SocketType, scope: trio.CancelScope, desk: Desk) -> None:
        with client, scope:
            try:
                while packet := await client.recv(MAXIMUM_REQUEST_OCTETS + 1):
                    if scope.cancel_called:
                        return  # dropped while the packet was on its way
                    self._clients[scope] = self._clients.pop(scope)
                    reply = await answer(desk, packet, self._log)
                    if reply is not None and not await send(client, reply):
                        self._log.warning("Control socket: a client did not take its reply.")
                        return
            except OSError as error:
                self._log.debug("Control socket: %s", error)
            finally:
                self._clients.pop(scope, None)

    def _drop_idlest(self) -> None:
        """Cut off the client that has asked nothing for the longest time."""
        scope = next(iter(self._clients), None)
        if scope is not None:
            del self._clients[scope]
            scope.cancel()


def opened(path: str) -> tuple[socket.socket, tuple[int, int]]:
    """A socket that listens under this name, and the identity of the name. OSError."""
    listener = socket.socket(socket.AF_UNIX, KIND)
    temporary = f"{path}.{os.getpid()}"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # left by a process of the same number that crashed
        os.fchmod(listener.fileno(), 0o700)
        listener.bind(temporary)
        listener.listen(BACKLOG)
        identity = identity_of(temporary)
        os.rename(temporary, path)
    except OSError:
        listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    return listener, identity


def has_listener(path: str) -> bool:
    """Whether a living process listens at a socket of this name, of any type; a crash leaves a socket at which none does."""
    with socket.socket(socket.AF_UNIX, KIND) as probe:
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True  # of another type, or too busy
        owner = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return not is_dying(CREDENTIALS.unpack(owner)[0])


async def answer(desk: Desk, packet: bytes, log: logging.Logger) -> bytes | None:
    """The reply to one request, None for silence."""
    fields = split(packet)
    method = methods.BY_NAME.get(fields[1]) if len(fields) > 1 and fields[0] == REQUEST else None
    if method is None:
        log.debug("Control socket: no such request: %r", fields[:2])
        return None
    if len(packet) > MAXIMUM_REQUEST_OCTETS:
        return refusal(UserError(*TOO_LONG))
    log.debug("Control socket: %s", " ".join(fields[1:]))
    try:
        arguments = [unescape(field) for field in fields[2 : 2 + len(method.arguments)]]
        payload = await desk.call(method, arguments)
        with guarded(method.name, log):
            return b"REPLY_SUCCESS\n" + payload.encode("utf-8", "surrogateescape")
    except UserError as error:
        return refusal(error)


def refusal(error: UserError) -> bytes:
    """An error as a reply."""
    return f"REPLY_ERROR\n{error.code}\n{printable_lines(error.text)}\n".encode()


def split(packet: bytes) -> list[str]:
    """The fields of a packet, as teamd would find them: up to the first NUL, empty lines do not count."""
    text = packet.partition(b"\0")[0].decode("utf-8", "surrogateescape")
    return [field for field in text.split("\n") if field]


def unescape(field: str) -> str:
    """Undo the client's escaping. A backslash at the very end stands for itself. UserError for any other escape."""
    if "\\" not in field:
        return field
    letters = iter(field)
    found = []
    for letter in letters:
        if letter == "\\":
            match next(letters, None):
                case "\\" | None:
                    pass
                case "n":
                    letter = "\n"
                case _:
                    raise UserError(*INVALID_ARGUMENTS)
        found.append(letter)
    return "".join(found)


async def send(client: trio.socket.SocketType, reply: bytes) -> bool:
    """Send a reply as one packet, however big. False when the client does not take it in time. OSError."""
    if len(reply) > DEFAULT_SEND_BUFFER:
        room = 2 * len(reply)
        try:
            client.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, room)
        except PermissionError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
    with trio.move_on_after(SEND_TIMEOUT_S) as patience:
        await client.send(reply)
    return not patience.cancelled_caught
