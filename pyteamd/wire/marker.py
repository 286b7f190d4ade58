"""Marker PDU: "everything I sent before this has arrived when you answer" (IEEE 802.1AX-2014, 6.5).

The responder, which every aggregator must have, returns the request with its type changed; the generator is
optional. As for LACP the version, the pad and reserved octets are not judged, but type and length of the
marker TLV are.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from enum import IntEnum
from typing import Final

from pyteamd.values import dataclass
from pyteamd.wire import DropReason, PeerError, slow
from pyteamd.wire.ethernet import ETHERTYPE_SLOW, EthernetFrame, require_mac

_VERSION: Final = 1
_TLV_LENGTH: Final = 16
_PDU: Final = struct.Struct("!BB BBH6sI2x")


class Kind(IntEnum):
    """TLV type of the marker TLV."""

    REQUEST = 1
    RESPONSE = 2


@dataclass(frozen=True, slots=True)
class Marker:
    """`port`, `system` and `transaction` are the requester's; they mean nothing to the responder."""

    kind: Kind
    port: int
    system: bytes
    transaction: int

    def __post_init__(self) -> None:
        require_mac(self.system)

    def response(self) -> Marker:
        """The answer to this request, to be sent on the port it came from."""
        return replace(self, kind=Kind.RESPONSE)

    def build(self) -> bytes:
        """The 110 octets after the Ethernet header. The terminator is the first of the zeros."""
        pdu = _PDU.pack(slow.SUBTYPE_MARKER, _VERSION, self.kind, _TLV_LENGTH, self.port, self.system, self.transaction)
        return pdu.ljust(slow.PDU_LENGTH, b"\0")

    def frame(self, source: bytes) -> bytes:
        """The whole frame; `source` is the port's own address."""
        return EthernetFrame(slow.GROUP, source, ETHERTYPE_SLOW, self.build()).build()


def parse(payload: bytes, destination: bytes) -> Marker:
    """Read a marker PDU that was sent to `destination`.

    Raises PeerError: WRONG_DESTINATION, SUBTYPE, TOO_SHORT, TLV_TYPE, TLV_LENGTH.
    """
    slow.check(payload, destination, slow.SUBTYPE_MARKER)
    _, _, kind, length, port, system, transaction = _PDU.unpack_from(payload)
    if kind not in (Kind.REQUEST, Kind.RESPONSE):
        raise PeerError(DropReason.TLV_TYPE, f"{kind} is neither request nor response")
    if length != _TLV_LENGTH:
        raise PeerError(DropReason.TLV_LENGTH, f"{length}, not {_TLV_LENGTH}")
    return Marker(Kind(kind), port, system, transaction)
