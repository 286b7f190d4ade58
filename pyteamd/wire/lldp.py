"""LLDPDUs (IEEE 802.1AB-2016, 9): what the system at the other end of a cable says of itself. Received only.

Mandatory TLVs come first and in order: chassis, port, time to live. Of the others those are read that a person at a cabling problem
wants to know; unknown ones are passed over, but a TLV that does not fit makes the whole LLDPDU unacceptable (9.2.7.7).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final

from pyteamd.values import dataclass
from pyteamd.wire import DropReason, PeerError
from pyteamd.wire.frame_filter import FrameFilter

ETHERTYPE_LLDP: Final = 0x88CC
GROUP: Final = bytes.fromhex("0180c200000e")
"""The nearest bridge: no bridge forwards it (7.1)."""
FRAMES: Final = FrameFilter(ETHERTYPE_LLDP)
MOST_TLVS: Final = 128
"""More are not read; an LLDPDU has a tenth of that."""

_END, _CHASSIS, _PORT, _TTL, _PORT_TEXT, _SYSTEM_NAME, _SYSTEM_TEXT = range(7)
_ORGANISATION: Final = 127
_IEEE_8021: Final = b"\x00\x80\xc2"
_IEEE_8023: Final = b"\x00\x12\x0f"
_PVID, _AGGREGATION_8021, _AGGREGATION_8023 = 1, 7, 3
_LONGEST_ID: Final = 256  # of a chassis or port, its subtype included
_MAC_SUBTYPES: Final = {_CHASSIS: 4, _PORT: 3}
_ADDRESS_SUBTYPES: Final = {_CHASSIS: 5, _PORT: 4}
_LAST_SUBTYPE: Final = 7
_CAPABLE, _ENABLED = 0x01, 0x02


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One LLDPDU. Texts may hold anything a peer likes; see printable.py for how they are shown."""

    chassis: str
    port: str
    ttl_s: int
    """For how long this counts; 0: the neighbour takes its leave."""
    system_name: str = ""
    port_description: str = ""
    vlan: int | None = None
    """VLAN of untagged frames there, 1 to 4094; None when it does not say."""
    aggregation_capable: bool | None = None
    """None when it does not say."""
    aggregation_enabled: bool | None = None

    @property
    def system(self) -> str:
        """What to call the system: its name, else its chassis identifier."""
        return self.system_name or self.chassis


def parse(payload: bytes) -> Neighbour:
    """Read what follows the Ethernet header. PeerError: TOO_SHORT, TLV_LENGTH, TLV_TYPE."""
    tlvs = _tlvs(payload)
    if [kind for kind, _ in tlvs[:3]] != [_CHASSIS, _PORT, _TTL]:
        raise PeerError(DropReason.TLV_TYPE, "does not begin with chassis, port and time to live")
    if any(kind in (_CHASSIS, _PORT, _TTL) for kind, _ in tlvs[3:]):
        raise PeerError(DropReason.TLV_TYPE, "a mandatory TLV comes twice")
    (_, chassis), (_, port), (_, ttl) = tlvs[:3]
    if len(ttl) < 2:
        raise PeerError(DropReason.TLV_LENGTH, f"{len(ttl)} octets of time to live")
    found = {kind: value for kind, value in reversed(tlvs) if kind != _ORGANISATION}
    special = {value[:4]: value[4:] for kind, value in reversed(tlvs) if kind == _ORGANISATION}
    capable, enabled = _aggregation(special)
    return Neighbour(
        _identifier(_CHASSIS, chassis),
        _identifier(_PORT, port),
        int.from_bytes(ttl[:2]),
        _text(found.get(_SYSTEM_NAME, b"")),
        _text(found.get(_PORT_TEXT, b"")),
        _vlan(special.get(_IEEE_8021 + bytes([_PVID]))),
        capable,
        enabled,
    )


def _tlvs(payload: bytes) -> list[tuple[int, bytes]]:
    """Type and value of each up to the end of the LLDPDU, which may be its TLV or the end of the frame."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at + 2 <= len(payload) and len(found) < MOST_TLVS:
        head = int.from_bytes(payload[at : at + 2])
        kind, length = head >> 9, head & 0x1FF
        value = payload[at + 2 : at + 2 + length]
        if len(value) < length:
            raise PeerError(DropReason.TOO_SHORT, f"{len(value)} of {length} octets of TLV {kind}")
        if kind == _END:
            break
        if kind == _ORGANISATION and length < 4:
            raise PeerError(DropReason.TLV_LENGTH, f"{length} octets of an organisation's TLV")
        found.append((kind, value))
        at += 2 + length
    return found


def _identifier(kind: int, value: bytes) -> str:
    """Chassis or port as people write it (8.5.2, 8.5.3)."""
    if not 2 <= len(value) <= _LONGEST_ID:
        raise PeerError(DropReason.TLV_LENGTH, f"{len(value)} octets of {'chassis' if kind == _CHASSIS else 'port'}")
    subtype, octets = value[0], value[1:]
    if not 1 <= subtype <= _LAST_SUBTYPE:
        raise PeerError(DropReason.TLV_TYPE, f"subtype {subtype} of an identifier")
    if subtype == _MAC_SUBTYPES[kind]:
        return octets.hex(":")
    if subtype == _ADDRESS_SUBTYPES[kind]:
        if octets[0] == 1 and len(octets) == 5:
            return str(IPv4Address(octets[1:]))
        if octets[0] == 2 and len(octets) == 17:
            return str(IPv6Address(octets[1:]))
        return octets.hex()
    return _text(octets)


def _text(octets: bytes) -> str:
    return octets.decode(errors="replace").rstrip("\0")


def _vlan(octets: bytes | None) -> int | None:
    number = int.from_bytes(octets[:2]) if octets is not None and len(octets) >= 2 else 0
    return number if 1 <= number <= 4094 else None


def _aggregation(special: dict[bytes, bytes]) -> tuple[bool | None, bool | None]:
    """(can, does) aggregate: 802.1's TLV, else the older one of 802.3."""
    for key in (_IEEE_8021 + bytes([_AGGREGATION_8021]), _IEEE_8023 + bytes([_AGGREGATION_8023])):
        octets = special.get(key)
        if octets:
            return bool(octets[0] & _CAPABLE), bool(octets[0] & _ENABLED)
    return None, None
