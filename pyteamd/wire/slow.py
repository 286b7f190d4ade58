"""The slow protocols (IEEE 802.3 annex 57A): what LACP and the marker protocol have in common.

Both go untagged to one group address that no bridge forwards, start with a subtype octet, and fill 110
octets. Shorter frames are refused, as the kernel's bonding driver and Open vSwitch do.
"""

from __future__ import annotations

from typing import Final

from pyteamd.wire import DropReason, PeerError
from pyteamd.wire.ethernet import ETHERTYPE_SLOW
from pyteamd.wire.frame_filter import ANY_VLAN, FrameFilter

GROUP: Final = b"\x01\x80\xc2\x00\x00\x02"
FRAMES: Final = FrameFilter(ETHERTYPE_SLOW, vlan=ANY_VLAN)
"""PDUs of any subtype: the parser counts those it does not know."""
PDU_LENGTH: Final = 110
SUBTYPE_LACP: Final = 1
SUBTYPE_MARKER: Final = 2


def subtype(payload: bytes) -> int:
    """The octet that says which slow protocol this is. Raises PeerError(TOO_SHORT)."""
    if not payload:
        raise PeerError(DropReason.TOO_SHORT, "no octet after the Ethernet header")
    return payload[0]


def check(payload: bytes, destination: bytes, wanted: int) -> None:
    """Raise PeerError (WRONG_DESTINATION, SUBTYPE, TOO_SHORT) if this is no PDU of subtype `wanted`."""
    if destination != GROUP:
        raise PeerError(DropReason.WRONG_DESTINATION, f"sent to {destination.hex(':')}")
    if subtype(payload) != wanted:
        raise PeerError(DropReason.SUBTYPE, f"{payload[0]}, not {wanted}")
    if len(payload) < PDU_LENGTH:
        raise PeerError(DropReason.TOO_SHORT, f"{len(payload)} of {PDU_LENGTH} octets")
