"""A connection to a D-Bus message bus for a server: log in, ask the bus, receive calls, send replies.

jeepney packs and unpacks; the socket and what may go wrong on it are handled here. The bus checks messages before it passes them on,
but strangers wrote them: only the header of a message is unpacked, and of the body no more than the strings that a method takes, so that
a body of a million variants costs nothing. A message whose header jeepney does not know is skipped, and so is all that follows the first
LOOKED_AT_OCTETS of a message: anybody may send a signal to anybody, as long as 128 MB.

The bus gets ANSWER_TIMEOUT_S to answer us and to take what we send; only calls are waited for without a limit. Any failure is a BusError,
after which the line is of no use.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
from collections import deque
from typing import Any

import trio
from jeepney import HeaderFields, Message, MessageType
from jeepney.auth import BEGIN, AuthenticationError, Authenticator
from jeepney.bus import get_bus
from jeepney.bus_messages import message_bus
from jeepney.low_level import Header, calc_msg_size, parse_signature

from pyteamd.daemon.control.desk import MAXIMUM_REQUEST_OCTETS
from pyteamd.values import dataclass

ANSWER_TIMEOUT_S = 3.0
"""NetworkManager gives a daemon 5 s in all."""
MAXIMUM_MESSAGE_OCTETS = 134_217_728
"""The specification's limit; the bus passes on no more."""
LOOKED_AT_OCTETS = 1 << 17
"""Twice the longest request: the rest is the header."""
START_OCTETS = 16
"""How much of a message says how long it is."""
READ_OCTETS = 1 << 16
CROWD_S = 0.02
MAXIMUM_WAITING = 1024
"""Calls that came while we waited for an answer of the bus."""


class BusError(Exception):
    """The bus cannot be used, or did not do what it was asked for."""


@dataclass(slots=True)
class Call:
    """A message received: its header unpacked, its body not."""

    header: Any
    body: bytes
    too_long: bool = False
    """Longer than a request may be; what lies beyond LOOKED_AT_OCTETS was not even kept."""

    @property
    def kind(self) -> MessageType:
        """Call, reply, error or signal."""
        kind: MessageType = self.header.message_type
        return kind

    def field(self, which: HeaderFields) -> str:
        """A header field, "" without it."""
        return str(self.header.fields.get(which, ""))

    def strings(self, count: int) -> list[str] | None:
        """The first `count` arguments; None unless all of them are strings."""
        if not self.field(HeaderFields.signature).startswith("s" * count):
            return None
        kind = parse_signature(list(f"({'s' * count})"))
        return list(kind.parse_data(self.body, 0, self.header.endianness)[0]) if count else []


class BusLine:
    """One connection. `open` makes it."""

    def __init__(self, connection: trio.socket.SocketType) -> None:
        self._socket = connection
        self._serials = itertools.count(1)
        self._octets = bytearray()
        self._waiting: deque[Call] = deque()
        self._sending = trio.Lock()

    @classmethod
    async def open(cls, address: str) -> BusLine:
        """Connect, log in, say Hello. BusError."""
        try:
            path = get_bus(address)
        except (ValueError, RuntimeError, KeyError) as error:
            raise BusError(f"the bus address {address!r} is not understood ({error})") from None
        try:
            plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as error:
            raise BusError(os.strerror(error.errno or 0)) from None
        line = cls(trio.socket.from_stdlib_socket(plain))
        try:
            # Not trio's own connecting: that would resolve the path in a thread.
            with trio.fail_after(ANSWER_TIMEOUT_S):
                await let_in(plain, path)
                await line._log_in()
            await line.ask(message_bus.Hello())
        except trio.TooSlowError:
            line.close()
            raise BusError(f"no answer from the bus at {path!r}") from None
        except OSError as error:
            line.close()
            raise BusError(f"the bus at {path!r}: {os.strerror(error.errno or 0)}") from None
        except BaseException:
            line.close()
            raise
        return line

    def close(self) -> None:
        """Leave; harmless when done already."""
        self._socket.close()

    async def ask(self, message: Message) -> Message:
        """Send a call to the bus itself and wait for its reply; other messages wait meanwhile. BusError."""
        serial = await self.send(message)
        with trio.move_on_after(ANSWER_TIMEOUT_S):
            while True:
                call = await self._receive()
                if call.header.fields.get(HeaderFields.reply_serial) != serial:
                    if len(self._waiting) < MAXIMUM_WAITING:
                        self._waiting.append(call)
                    continue
                if call.kind is MessageType.error:
                    name = call.field(HeaderFields.error_name)
                    raise BusError(f"{(call.strings(1) or [''])[0]} ({name})")
                return unpacked(call)
        raise BusError("the bus does not answer")

    async def send(self, message: Message) -> int:
        """Send a message; returns its serial number. BusError."""
        async with self._sending:
            serial = next(self._serials)
            try:
                rest = memoryview(message.serialise(serial))
            except UnicodeEncodeError as error:
                raise BusError(f"{error.object!r} is no text of D-Bus") from None
            with trio.move_on_after(ANSWER_TIMEOUT_S):
                try:
                    while rest:
                        rest = rest[await self._socket.send(rest) :]
                except OSError as error:
                    raise BusError(f"connection lost ({os.strerror(error.errno or 0)})") from None
                return serial
        raise BusError("the bus takes no messages")

    async def receive(self) -> Call:
        """The next message. BusError when there will be none."""
        # Messages may be here already: the task that answers the last one has its turn first.
        await trio.lowlevel.checkpoint()
        if self._waiting:
            return self._waiting.popleft()
        return await self._receive()

    async def _receive(self) -> Call:
        while True:
            await self._fill(START_OCTETS)
            try:
                size = calc_msg_size(bytes(self._octets[:START_OCTETS]))
            except (KeyError, struct.error):
                raise BusError("the bus sends what is no message") from None
            if size > MAXIMUM_MESSAGE_OCTETS:
                raise BusError(f"a message of {size} octets")
            kept = min(size, LOOKED_AT_OCTETS)
            await self._fill(kept)
            octets = bytes(self._octets[:kept])
            del self._octets[:kept]
            await self._skip(size - kept)
            try:
                header, end = Header.from_buffer(octets)
            except (ValueError, KeyError, IndexError, struct.error):
                continue  # a field or flag that jeepney does not know; nobody can be answered
            body = octets[end + -end % 8 :]
            return Call(header, body, kept < size or len(body) > MAXIMUM_REQUEST_OCTETS)

    async def _fill(self, count: int) -> None:
        """Have at least so many octets. BusError at the end of the stream."""
        while len(self._octets) < count:
            try:
                piece = await self._socket.recv(READ_OCTETS)
            except OSError as error:
                raise BusError(f"connection lost ({os.strerror(error.errno or 0)})") from None
            if not piece:
                raise BusError("the bus closed the connection")
            self._octets += piece

    async def _skip(self, count: int) -> None:
        """Take so many octets from the stream and keep none. BusError at its end."""
        while count > 0:
            await self._fill(1)
            taken = min(count, len(self._octets))
            del self._octets[:taken]
            count -= taken

    async def _log_in(self) -> None:
        """SASL EXTERNAL: we are who the kernel says we are. BusError, OSError."""
        talk = Authenticator()
        try:
            for line in talk:
                await self._socket.send(line)
                answer = await self._socket.recv(READ_OCTETS)
                if not answer:
                    raise BusError("the bus closed the connection")
                talk.feed(answer)
        except AuthenticationError as error:
            raise BusError(f"the bus does not let us in: {error}") from None
        await self._socket.send(BEGIN)


async def let_in(plain: socket.socket, path: str | bytes) -> None:
    """Connect; while the queue of connections is full, try again every CROWD_S. OSError."""
    while True:
        try:
            plain.connect(path)
            return
        except BlockingIOError:
            await trio.sleep(CROWD_S)


def unpacked(call: Call) -> Message:
    """A reply of the bus with its body."""
    signature = call.field(HeaderFields.signature)
    body: tuple[Any, ...] = ()
    if signature:
        body = parse_signature(list(f"({signature})")).parse_data(call.body, 0, call.header.endianness)[0]
    return Message(call.header, body)
