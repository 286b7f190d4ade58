"""rtnetlink's link messages: requests, and RTM_NEWLINK → LinkSeen.

Requests are encoded by pyroute2 from a description of just the attributes we send; octets of those that repeat are kept. A received
link has some forty attributes, of which we want twelve: decoding all of them costs 300 µs, so the wanted ones are picked out of the
octets. Their places are the same in message after message about a link: a Layout, kept by the length of the message, reads them
with one `unpack`, after another one has shown that all headers of attributes are as before. Decoded links are kept by what was
read. Before even that, netlink.py reads interface and flags from the fixed part, which is all a fail-over needs. Layouts:
include/uapi/linux/if_link.h, struct ifinfomsg in rtnetlink.h.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from operator import itemgetter
from struct import Struct
from typing import Any, Final, NamedTuple

from pyteamd.kernel.framing import (
    F_ACK,
    F_CREATE,
    F_DUMP,
    F_EXCL,
    F_REQUEST,
    Malformed,
    attributes,
    by_type,
    number,
    text,
)
from pyteamd.kernel.pyroute2_codec import nla, nlmsg
from pyteamd.model.events import LinkSeen
from pyteamd.model.limits import NAME_MAX

NEWLINK: Final = 16
DELLINK: Final = 17
GETLINK: Final = 18
GROUP_LINK: Final = 1
"""RTNLGRP_LINK."""

PAIRED: Final = ("netkit", "veth")
"""Kinds whose IFLA_LINK is the other end of the pair."""

IFF_UP: Final = 0x01
IFF_RUNNING: Final = 0x40

_GLANCE: Final = Struct("=4xH10xBxHiI4x")  # of nlmsghdr the type, then ifinfomsg: family, hardware type, index, flags
_BODY: Final = 32
_ADDRESS, _IFNAME, _MASTER, _LINKINFO, _CARRIER, _PROP_LIST, _ALT_IFNAME, _PERM_ADDRESS = 1, 3, 10, 18, 33, 52, 53, 54
_MTU, _LINK, _TX_QUEUES, _LINK_NETNSID, _MAX_MTU = 4, 5, 31, 37, 51
_FIXED: Final = 3  # values that Layout reads before those of attributes
_WANTED: Final = (
    *(_IFNAME, _ADDRESS, _MASTER, _LINKINFO, _CARRIER, _PROP_LIST, _PERM_ADDRESS),
    *(_LINK, _LINK_NETNSID, _MTU, _MAX_MTU, _TX_QUEUES),
)
GLANCE: Final = _GLANCE.size
_KEPT: Final = 512
_KEPT_LINKS: Final = 192
"""Decoded links that are kept: 64 ports, up and down, and some more. Those of links that pass by are kept as well, a kilobyte each."""
_INFO_KIND, _INFO_DATA = 1, 2
_DETAILS: Final = {"vlan": 2, "macsec": 3}  # IFLA_VLAN_FLAGS: flags and a mask; IFLA_MACSEC_ICV_LEN: an octet
_LOOSE_BINDING: Final = 0x4  # VLAN_FLAG_LOOSE_BINDING
_SECTAG: Final = 16  # octets, with the channel's identifier
_SKIP_STATISTICS: Final = 8  # RTEXT_FILTER_SKIP_STATS
_NESTED: Final = 0x8000


class linkmsg(nlmsg):  # type: ignore[misc]
    """What we say about links, described the way pyroute2 wants it."""

    fields = (("family", "B"), ("_align", "x"), ("ifi_type", "H"), ("index", "i"), ("flags", "I"), ("change", "I"))
    nla_map = (
        (_ADDRESS, "IFLA_ADDRESS", "cdata"),
        (_IFNAME, "IFLA_IFNAME", "asciiz"),
        (_MASTER, "IFLA_MASTER", "uint32"),
        (_LINKINFO, "IFLA_LINKINFO", "linkinfo"),
        (29, "IFLA_EXT_MASK", "uint32"),
        (_CARRIER, "IFLA_CARRIER", "uint8"),
        (_ALT_IFNAME, "IFLA_ALT_IFNAME", "asciiz"),
    )

    class linkinfo(nla):  # type: ignore[misc]
        """The kind of a link."""

        nla_flags = _NESTED
        nla_map = (("IFLA_INFO_UNSPEC", "none"), ("IFLA_INFO_KIND", "asciiz"))


# Requests. All carry sequence number 0: the socket fills it in.


def dump_links() -> bytes:
    """Ask for all links."""
    return _encode(GETLINK, F_REQUEST | F_DUMP, 0, ("IFLA_EXT_MASK", _SKIP_STATISTICS))


def get_link(ifindex: int) -> bytes:
    """Ask for one link."""
    return _encode(GETLINK, F_REQUEST, ifindex, ("IFLA_EXT_MASK", _SKIP_STATISTICS))


def find_link(name: bytes) -> bytes:
    """Ask for the link of a name, an alternative one or its own; the latter have at most 15 octets."""
    kind = "IFLA_IFNAME" if len(name) <= NAME_MAX else "IFLA_ALT_IFNAME"
    return _encode(GETLINK, F_REQUEST, 0, ("IFLA_EXT_MASK", _SKIP_STATISTICS), (kind, name))


def create(name: bytes, kind: str) -> bytes:
    """Make a link that must not exist yet."""
    about = {"attrs": [("IFLA_INFO_KIND", kind)]}
    flags = F_REQUEST | F_ACK | F_CREATE | F_EXCL
    return _encode(NEWLINK, flags, 0, ("IFLA_IFNAME", name), ("IFLA_LINKINFO", about))


def delete(ifindex: int) -> bytes:
    """Remove a link."""
    return _encode(DELLINK, F_REQUEST | F_ACK, ifindex)


@lru_cache(maxsize=64)
def set_master(ifindex: int, master: int) -> bytes:
    """Enslave a link; `master` 0 releases it."""
    return _encode(NEWLINK, F_REQUEST | F_ACK, ifindex, ("IFLA_MASTER", master))


def set_admin(ifindex: int, up: bool) -> bytes:
    """Set a link up or down."""
    message = linkmsg()
    message["index"], message["flags"], message["change"] = ifindex, IFF_UP if up else 0, IFF_UP
    message["header"].update(type=NEWLINK, flags=F_REQUEST | F_ACK)
    message.encode()
    return bytes(message.data)


@lru_cache(maxsize=64)
def set_mac(ifindex: int, mac: bytes) -> bytes:
    """Set the hardware address."""
    return _encode(NEWLINK, F_REQUEST | F_ACK, ifindex, ("IFLA_ADDRESS", mac))


@lru_cache(maxsize=64)
def set_carrier(ifindex: int, up: bool) -> bytes:
    """Set the carrier, for drivers that let user space decide."""
    return _encode(NEWLINK, F_REQUEST | F_ACK, ifindex, ("IFLA_CARRIER", int(up)))


def _encode(kind: int, flags: int, ifindex: int, *attrs: tuple[str, Any]) -> bytes:
    message = linkmsg()
    message["index"] = ifindex
    message["attrs"] = list(attrs)
    message["header"].update(type=kind, flags=flags)
    message.encode()
    return bytes(message.data)


# What arrives.

_layouts: dict[tuple[int, bytes], Layout] = {}
"""The last layout seen for each length of a message and of the name, which stands first: eth9 and eth10 are padded to one length."""


def loss_in(beginning: bytes) -> int:
    """The link that a message with this beginning (GLANCE octets) says is not running, 0 for none."""
    if len(beginning) < GLANCE:
        return 0
    kind, family, _, ifindex, flags = _GLANCE.unpack(beginning)
    return 0 if flags & IFF_RUNNING or kind != NEWLINK or family else ifindex


def decode(octets: bytes) -> LinkSeen:
    """The link that an RTM_NEWLINK describes. Malformed."""
    if len(octets) < _BODY:
        raise Malformed(f"a link message of {len(octets)} octets")
    shape = len(octets), octets[_BODY : _BODY + 2]
    layout = _layouts.get(shape)
    if layout is None or layout.headers.unpack_from(octets, _BODY) != layout.known:
        if len(_layouts) >= _KEPT:
            _layouts.clear()
        layout = _layouts[shape] = _layout(octets)
    return _link(*layout.sorted((*layout.values.unpack_from(octets), None)))


class About(NamedTuple):
    """What is particular to a kind of links."""

    kind: str = ""
    overhead: int = 0
    loose_binding: bool = False


class Layout(NamedTuple):
    """Where the attributes of a link message stand."""

    headers: Struct
    """Reads lengths and types of all of them, from the first one on."""
    known: tuple[int, ...]
    """What it reads."""
    values: Struct
    """Reads, of the whole message, type of hardware, ifindex, flags and the values in _WANTED that are there."""
    sorted: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    """Puts what that reads, with a None behind it, in the order in which _link takes it: None for each value that is not there."""


def _layout(octets: bytes) -> Layout:
    parts = by_type(octets, _BODY)
    headers, end = ["="], len(octets)
    for _, begin, stop in attributes(octets, _BODY):
        headers.append(f"HH{min((stop + 3) & ~3, end) - begin}x")
    there = sorted((*parts[kind], row) for row, kind in enumerate(_WANTED) if kind in parts)
    values, at = ["=18xHiI4x"], _BODY
    for begin, stop, _ in there:
        values.append(f"{begin - at}x{stop - begin}s")
        at = stop
    places = {row: _FIXED + place for place, (_, _, row) in enumerate(there)}
    order = [*range(_FIXED), *[places.get(row, _FIXED + len(there)) for row in range(len(_WANTED))]]
    shape = Struct("".join(headers))
    return Layout(shape, shape.unpack_from(octets, _BODY), Struct("".join(values)), itemgetter(*order))


@lru_cache(maxsize=_KEPT_LINKS)
def _link(
    hardware: int, ifindex: int, flags: int, name: bytes | None, mac: bytes | None, master: bytes | None, about: bytes | None,
    carrier: bytes | None, properties: bytes | None, permanent_mac: bytes | None, lower: bytes | None, namespace: bytes | None,
    mtu: bytes | None, max_mtu: bytes | None, queues: bytes | None,
) -> LinkSeen:  # fmt: skip
    if name is None or ifindex <= 0:
        raise Malformed("a link without name or number")
    kind, overhead, loose_binding = _about(about or b"")
    return LinkSeen(
        ifindex,
        name=text(name, 0, len(name)),
        mac=mac or b"",
        master=_number(master),
        up=bool(flags & IFF_UP),
        running=bool(flags & IFF_RUNNING),
        permanent_mac=permanent_mac or b"",
        kind=kind,
        carrier=None if carrier is None else any(carrier),
        altnames=_altnames(properties or b""),
        lower=0 if kind in PAIRED or namespace is not None else _number(lower),
        hardware=hardware,
        mtu=_number(mtu),
        max_mtu=_number(max_mtu),
        overhead=overhead,
        loose_binding=loose_binding,
        tx_queues=_number(queues) if kind == "team" else 0,
    )


def _number(octets: bytes | None) -> int:
    return 0 if octets is None else number(octets, 0, len(octets))


def _altnames(octets: bytes) -> tuple[str, ...]:
    found = attributes(octets, 0, len(octets))
    return tuple([text(octets, begin, end) for kind, begin, end in found if kind == _ALT_IFNAME])


@lru_cache(maxsize=_KEPT)
def _about(octets: bytes) -> About:
    """What IFLA_LINKINFO says."""
    parts = by_type(octets, 0)
    kind = text(octets, *parts[_INFO_KIND]) if _INFO_KIND in parts else ""
    wanted = _DETAILS.get(kind)
    if wanted is None or _INFO_DATA not in parts:
        return About(kind)
    details = by_type(octets, *parts[_INFO_DATA])
    if wanted not in details:
        return About(kind)
    begin, end = details[wanted]
    if kind == "macsec":
        return About(kind, overhead=_SECTAG + int.from_bytes(octets[begin:end], sys.byteorder))
    return About(
        kind, loose_binding=bool(int.from_bytes(octets[begin : min(end, begin + 4)], sys.byteorder) & _LOOSE_BINDING)
    )
