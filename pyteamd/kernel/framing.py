"""Netlink framing: the messages of a datagram, the attributes of a message, the words of a refusal.

Everything received passes through here first. Lengths are checked against the buffer before anything is read; what
does not fit raises Malformed, and no other exception can come out. Layouts: include/uapi/linux/netlink.h. Attributes are
16-bit length (header included), 16-bit type (two flag bits), value, padding to four octets; numbers in host order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final, NamedTuple

from pyteamd.model.printable import of_kernel

ACK: Final = 2
"""NLMSG_ERROR: an errno, 0 for "done as asked"."""
DONE: Final = 3
"""NLMSG_DONE: the end of a multi-part answer."""
FIRST_FAMILY_TYPE: Final = 16
"""Message types below are netlink's own."""

F_REQUEST: Final = 0x01
F_MULTI: Final = 0x02
F_ACK: Final = 0x04
F_DUMP_INTR: Final = 0x10
F_DUMP: Final = 0x300
F_EXCL: Final = 0x200
F_CREATE: Final = 0x400
F_CAPPED: Final = 0x100
"""In an NLMSG_ERROR: the request is echoed without its payload."""
F_ACK_TLVS: Final = 0x200
"""In an NLMSG_ERROR: attributes follow (extended acknowledgement)."""

HEADER: Final = Struct("=IHHII")
"""nlmsghdr: length, type, flags, sequence number, port id."""
SEQUENCE_AT: Final = 8
NUMBER: Final = Struct("=I")
SIGNED: Final = Struct("=i")
ATTRIBUTE: Final = Struct("=HH")

_TYPE_MASK: Final = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_EXT_ACK_MESSAGE: Final = 1


class Malformed(Exception):
    """Octets that are no netlink message, or none of the kind expected there."""


class Message(NamedTuple):
    """One message within a datagram; `octets` include the header."""

    type: int
    flags: int
    sequence: int
    octets: bytes


def messages(datagram: bytes) -> Iterable[Message]:
    """The messages of a datagram, in order. Malformed, after the good ones before it, where the framing breaks."""
    if len(datagram) >= HEADER.size:
        length, kind, flags, sequence, _ = HEADER.unpack_from(datagram)
        if length == len(datagram):  # an event has one of its own, and a fail-over waits for that
            return (Message(kind, flags, sequence, datagram),)
    return _several(datagram)


def _several(datagram: bytes) -> Iterator[Message]:
    offset, end = 0, len(datagram)
    while offset < end:
        if end - offset < HEADER.size:
            raise Malformed(f"{end - offset} octets left of a datagram")
        length, kind, flags, sequence, _ = HEADER.unpack_from(datagram, offset)
        if not HEADER.size <= length <= end - offset:
            raise Malformed(f"a message of {length} octets, {end - offset} are there")
        yield Message(kind, flags, sequence, datagram[offset : offset + length])
        offset += (length + 3) & ~3


def attributes(octets: bytes, start: int, end: int | None = None) -> Iterator[tuple[int, int, int]]:
    """(type, where its value begins, where it ends) for the attributes between `start` and `end`.

    `start` must be a multiple of four. Fewer than four octets at the end are padding, as the kernel takes them.
    """
    offset = start
    stop = len(octets) if end is None else end
    if offset > stop:
        raise Malformed(f"attributes expected at {offset}, the message ends at {stop}")
    while stop - offset >= 4:
        length, kind = ATTRIBUTE.unpack_from(octets, offset)
        if not 4 <= length <= stop - offset:
            raise Malformed(f"an attribute of {length} octets, {stop - offset} are there")
        yield kind & _TYPE_MASK, offset + 4, offset + length
        offset += (length + 3) & ~3


def by_type(octets: bytes, start: int, end: int | None = None) -> dict[int, tuple[int, int]]:
    """What `attributes` gives, as a dictionary, the last of each type; Malformed. A link message has some forty: written to be fast."""
    found: dict[int, tuple[int, int]] = {}
    offset, unpack = start, ATTRIBUTE.unpack_from
    stop = len(octets) if end is None else end
    if offset > stop:
        raise Malformed(f"attributes expected at {offset}, the message ends at {stop}")
    while stop - offset >= 4:
        length, kind = unpack(octets, offset)
        if not 4 <= length <= stop - offset:
            raise Malformed(f"an attribute of {length} octets, {stop - offset} are there")
        found[kind & _TYPE_MASK] = (offset + 4, offset + length)
        offset += (length + 3) & ~3
    return found


def text(octets: bytes, start: int, end: int) -> str:
    """A string attribute: up to the first zero octet, UTF-8; what is not UTF-8 stays recognisable as escapes."""
    return of_kernel(octets[start:end].split(b"\0", 1)[0])


def number(octets: bytes, start: int, end: int) -> int:
    """An unsigned attribute of 32 bits; Malformed for another size."""
    if end - start != NUMBER.size:
        raise Malformed(f"{end - start} octets where a 32-bit number was expected")
    value: int = NUMBER.unpack_from(octets, start)[0]
    return value


def error_of(message: Message) -> int:
    """The errno of an NLMSG_ERROR, or of the NLMSG_DONE that ends a dump; 0 is success.

    Generic netlink's multi-part answers to a plain request end in an NLMSG_DONE without a payload: success.
    """
    if message.type == DONE and len(message.octets) < HEADER.size + SIGNED.size:
        return 0
    if len(message.octets) < HEADER.size + SIGNED.size:
        raise Malformed("an error without a number")
    value: int = SIGNED.unpack_from(message.octets, HEADER.size)[0]
    return -value if value < 0 else 0


def explanation_of(message: Message) -> str:
    """The kernel's own words about a refusal (extended acknowledgement); "" when it gave none."""
    if message.type != ACK or not message.flags & F_ACK_TLVS:
        return ""
    start = HEADER.size + SIGNED.size
    echoed = HEADER.size
    if not message.flags & F_CAPPED and len(message.octets) >= start + HEADER.size:
        echoed = max(echoed, HEADER.unpack_from(message.octets, start)[0])
    try:
        for kind, begin, end in attributes(message.octets, start + ((echoed + 3) & ~3)):
            if kind == _EXT_ACK_MESSAGE:
                return text(message.octets, begin, end)
    except Malformed:
        pass
    return ""
