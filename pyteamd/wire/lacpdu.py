"""LACPDU: what two ends of a link tell each other about themselves (IEEE 802.1AX-2014, 6.4.2).

A receiver reads a later version by the fields of version 1 and judges neither version, TLV types, the
collector's delay nor reserved octets (6.4.12); only the subtype, the lengths 20, 20 and 16 of the first
three TLVs and the length of the whole say that the fields lie where they are expected. So LACPv2 and the 0xf1 dialect of SONiC parse like
version 1; the TLVs they put before the terminator are kept in `extra` and not interpreted.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

from pyteamd.values import dataclass
from pyteamd.wire import DropReason, PeerError, slow
from pyteamd.wire.ethernet import ETHERTYPE_SLOW, EthernetFrame, require_mac

# The bits of the state octet, 6.4.2.3.
ACTIVITY: Final = 0x01
TIMEOUT: Final = 0x02
AGGREGATION: Final = 0x04
SYNCHRONIZATION: Final = 0x08
COLLECTING: Final = 0x10
DISTRIBUTING: Final = 0x20
DEFAULTED: Final = 0x40
EXPIRED: Final = 0x80

_TERMINATOR: Final = 0
_ACTOR: Final = 1
_PARTNER: Final = 2
_COLLECT: Final = 3
_LENGTHS: Final = (20, 20, 16)
_TLV_HEADER_LENGTH: Final = 2  # type and length octets; the length counts them

_HEADER: Final = struct.Struct("!BB")
_INFO: Final = struct.Struct("!BBH6sHHHB3x")
_COLLECTOR: Final = struct.Struct("!BBH12x")
_ACTOR_AT: Final = 2
_PARTNER_AT: Final = 22
_COLLECTOR_AT: Final = 42
_EXTRA_AT: Final = 58

# For each bit the words when set and when clear; the empty word is not said.
_WORDS: Final = (
    (ACTIVITY, "active", "passive"),
    (TIMEOUT, "short timeout", "long timeout"),
    (AGGREGATION, "aggregatable", "individual"),
    (SYNCHRONIZATION, "in sync", "out of sync"),
    (COLLECTING, "collecting", ""),
    (DISTRIBUTING, "distributing", ""),
    (DEFAULTED, "defaulted", ""),
    (EXPIRED, "expired", ""),
)


@dataclass(frozen=True, slots=True)
class LacpInfo:
    """One end of a link, told by itself or the other. 16-bit numbers (lower priority wins), 8-bit state."""

    system_priority: int
    system: bytes
    key: int
    port_priority: int
    port: int
    state: int

    def __post_init__(self) -> None:
        require_mac(self.system)


one_end = lru_cache(4096)(LacpInfo)
"""Nearly every LACPDU says of both ends what the last one said."""


@dataclass(frozen=True, slots=True)
class Tlv:
    """A TLV that a later version puts before the terminator. `type` is 1..255, `value` at most 253 octets."""

    type: int
    value: bytes

    def __post_init__(self) -> None:
        if not 1 <= self.type <= 255 or len(self.value) > 255 - _TLV_HEADER_LENGTH:
            raise ValueError(f"TLV type {self.type}, {len(self.value)} octets (allowed: 1..255, at most 253)")

    def build(self) -> bytes:
        """Its octets."""
        return bytes((self.type, len(self.value) + _TLV_HEADER_LENGTH)) + self.value


@dataclass(frozen=True, slots=True)
class Lacpdu:
    """One LACPDU. `collector_max_delay` is in tens of microseconds, 0..65535."""

    actor: LacpInfo
    partner: LacpInfo
    collector_max_delay: int = 0
    version: int = 1
    extra: tuple[Tlv, ...] = ()

    def build(self) -> bytes:
        """The octets after the Ethernet header: 110, more only if `extra` does not fit."""
        pdu = (
            _HEADER.pack(slow.SUBTYPE_LACP, self.version)
            + _pack_info(_ACTOR, self.actor)
            + _pack_info(_PARTNER, self.partner)
            + _COLLECTOR.pack(_COLLECT, _COLLECTOR.size, self.collector_max_delay)
            + b"".join(tlv.build() for tlv in self.extra)
            + bytes((_TERMINATOR, 0))
        )
        return pdu.ljust(slow.PDU_LENGTH, b"\0")

    def frame(self, source: bytes) -> bytes:
        """The whole frame; `source` is the port's own address, not the team's."""
        return EthernetFrame(slow.GROUP, source, ETHERTYPE_SLOW, self.build()).build()


def parse(payload: bytes, destination: bytes) -> Lacpdu:
    """Read a LACPDU that was sent to `destination`.

    Raises PeerError: WRONG_DESTINATION, SUBTYPE, TOO_SHORT, TLV_LENGTH.
    """
    slow.check(payload, destination, slow.SUBTYPE_LACP)
    _, version = _HEADER.unpack_from(payload)
    _, actor_length, *actor = _INFO.unpack_from(payload, _ACTOR_AT)
    _, partner_length, *partner = _INFO.unpack_from(payload, _PARTNER_AT)
    _, collector_length, delay = _COLLECTOR.unpack_from(payload, _COLLECTOR_AT)
    lengths = (actor_length, partner_length, collector_length)
    if lengths != _LENGTHS:
        raise PeerError(DropReason.TLV_LENGTH, f"{lengths}, not {_LENGTHS}")
    return Lacpdu(one_end(*actor), one_end(*partner), delay, version, _extra(payload))


def describe_state(state: int) -> str:
    """A state octet in words: 0x0d is "active, long timeout, aggregatable, in sync"."""
    words = (if_set if state & bit else if_clear for bit, if_set, if_clear in _WORDS)
    return ", ".join(word for word in words if word)


def _pack_info(tlv_type: int, end: LacpInfo) -> bytes:
    return _INFO.pack(
        tlv_type, _INFO.size, end.system_priority, end.system, end.key, end.port_priority, end.port, end.state
    )


def _extra(payload: bytes) -> tuple[Tlv, ...]:
    """TLVs up to the terminator or the first that cannot be one: they are tolerated, so never an error."""
    found: list[Tlv] = []
    at = _EXTRA_AT
    while at + _TLV_HEADER_LENGTH <= len(payload) and payload[at] != _TERMINATOR:
        end = at + payload[at + 1]
        if end < at + _TLV_HEADER_LENGTH or end > len(payload):
            break
        found.append(Tlv(payload[at], payload[at + _TLV_HEADER_LENGTH : end]))
        at = end
    return tuple(found)
