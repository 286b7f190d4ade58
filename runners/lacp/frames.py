"""Frames of the slow protocols as they come in: what each one is, or why it is of no use.

A link is heard only through frames that are what they should be: in no VLAN, to the group address, long enough, with the lengths
where the fields are expected. Everything else is counted by reason under the port and changes nothing.
"""

from __future__ import annotations

from typing import TypeAlias

from pyteamd.model.events import FrameSeen
from pyteamd.runners.lacp.port import LacpPort
from pyteamd.wire import DropReason, PeerError, lacpdu, marker, slow
from pyteamd.wire.ethernet import ETHERTYPE_SLOW
from pyteamd.wire.lacpdu import Lacpdu
from pyteamd.wire.marker import Marker

COMPLAINT = "malformed LACP PDU came."
"""teamd's words."""

TAGGED = "tagged"
LINK_NOT_UP = "link_not_up"
MARKER_RATE = "marker_rate"
MARKER_RESPONSE = "marker_response"

Useful: TypeAlias = Lacpdu | Marker


def read(frame: FrameSeen) -> Useful | str | None:
    """The PDU, or the reason why it is useless; None for what is no slow protocol at all."""
    if frame.ethertype != ETHERTYPE_SLOW:
        return None
    if frame.vlan:  # VLAN 0 is only a priority
        return TAGGED
    try:
        match slow.subtype(frame.payload):
            case slow.SUBTYPE_LACP:
                return lacpdu.parse(frame.payload, frame.destination)
            case slow.SUBTYPE_MARKER:
                return marker.parse(frame.payload, frame.destination)
            case _:
                return DropReason.SUBTYPE.value
    except PeerError as error:
        return error.reason.value


def count_bad(port: LacpPort, reason: str) -> None:
    """Count a frame of no use."""
    port.counters.drop(reason)


def malformed(frame: FrameSeen, reason: str) -> bool:
    """Worth a complaint: meant as an LACPDU and broken, and no other slow protocol."""
    return reason in (DropReason.TOO_SHORT, DropReason.TLV_LENGTH) and frame.payload[:1] == bytes((slow.SUBTYPE_LACP,))


def complaint(port: LacpPort, reason: str, now: float) -> str:
    """The line to log, "" when one for this port was logged a moment ago."""
    more = port.patience.complain(COMPLAINT, now)
    return "" if more is None else f"{port.name}: {COMPLAINT} ({reason}{more and f', {more}'})"


def answer(port: LacpPort, request: Marker, now: float) -> bytes | None:
    """The frame that answers a marker PDU (6.5.4.2), None when it needs or gets none."""
    if request.kind is not marker.Kind.REQUEST:
        count_bad(port, MARKER_RESPONSE)
        return None
    port.counters.markers_received += 1
    if now < port.patience.markers.free_at():
        count_bad(port, MARKER_RATE)
        return None
    port.patience.markers.use(now)
    port.counters.marker_responses_sent += 1
    return request.response().frame(port.source)
