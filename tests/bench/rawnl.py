"""Just enough netlink for the bench, written out with `struct`: it must share no code with a daemon it measures.

A message is a 16-byte header (length, type, flags, sequence, port) and a body; attributes are (length, type) and a
value padded to 4 bytes. Two families are spoken: rtnetlink (linux/rtnetlink.h, if_link.h) to make and cut ports,
and the generic family "team" (linux/if_team.h) to set a mode and to hear the driver's "change_event" group.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

NETLINK_ROUTE = 0
NETLINK_GENERIC = 16
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_CREATE, NLM_F_EXCL = 0x400, 0x200
NLMSG_ERROR, NLMSG_DONE = 2, 3
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP = 270, 1
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTNLGRP_LINK = 1
IFF_UP, IFF_LOWER_UP = 0x1, 0x10000
IFLA_IFNAME, IFLA_MASTER, IFLA_LINKINFO = 3, 10, 18
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
GENL_ID_CTRL, CTRL_CMD_GETFAMILY = 16, 3
CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME, CTRL_ATTR_MCAST_GROUPS = 1, 2, 7
CTRL_ATTR_MCAST_GRP_NAME, CTRL_ATTR_MCAST_GRP_ID = 1, 2
TEAM_CMD_OPTIONS_SET, TEAM_CMD_OPTIONS_GET = 1, 2
TEAM_ATTR_TEAM_IFINDEX, TEAM_ATTR_LIST_OPTION, TEAM_ATTR_ITEM_OPTION = 1, 2, 1
OPTION_NAME, OPTION_TYPE, OPTION_DATA, OPTION_PORT, OPTION_INDEX = 1, 3, 4, 6, 7
NLA_U32, NLA_STRING, NLA_FLAG = 3, 5, 6  # the kernel's NLA_* numbers that the family carries as an option's type
NLA_NESTED = 0x8000
HEADER = struct.Struct("=IHHII")
IFINFO = struct.Struct("=BxHiII")
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Link:
    """One network device as a link message shows it."""

    ifindex: int
    name: str
    flags: int
    master: int

    @property
    def carrier(self) -> bool:
        return bool(self.flags & IFF_LOWER_UP)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", len(value) + 4, kind) + value + b"\0" * (-len(value) % 4)


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, body[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def messages(packet: bytes) -> Iterator[tuple[int, bytes]]:
    """The (type, body) of every message in one read."""
    offset = 0
    while offset + 16 <= len(packet):
        length, kind, _flags, _sequence, _port = HEADER.unpack_from(packet, offset)
        if length < 16:
            return
        yield kind, packet[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def message(kind: int, flags: int, body: bytes, sequence: int = 1) -> bytes:
    return HEADER.pack(16 + len(body), kind, flags | NLM_F_REQUEST, sequence, 0) + body


def open_socket(protocol: int, *groups: int) -> socket.socket:
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    netlink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    netlink.bind((0, 0))
    netlink.settimeout(TIMEOUT_S)
    for group in groups:
        netlink.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
    return netlink


def ask(netlink: socket.socket, request: bytes) -> list[tuple[int, bytes]]:
    """Send a request or dump and collect the answer; OSError with the kernel's errno when it refuses."""
    netlink.send(request)
    found: list[tuple[int, bytes]] = []
    while True:
        for kind, body in messages(netlink.recv(1 << 17)):
            if kind == NLMSG_ERROR:
                error = struct.unpack_from("=i", body)[0]
                if error:
                    raise OSError(-error, f"netlink refused a request of type {HEADER.unpack_from(request)[1]}")
                return found
            if kind == NLMSG_DONE:
                return found
            found.append((kind, body))


def parse_link(body: bytes) -> Link:
    _family, _kind, ifindex, flags, _change = IFINFO.unpack_from(body)
    values = dict(attributes(body[IFINFO.size :]))
    name = values.get(IFLA_IFNAME, b"").rstrip(b"\0").decode()
    master = struct.unpack("=I", values[IFLA_MASTER])[0] if IFLA_MASTER in values else 0
    return Link(ifindex, name, flags, master)


class Route:
    """Requests to rtnetlink on one socket."""

    def __init__(self) -> None:
        self.socket = open_socket(NETLINK_ROUTE)

    def links(self) -> dict[str, Link]:
        answer = ask(self.socket, message(RTM_GETLINK, NLM_F_DUMP, IFINFO.pack(0, 0, 0, 0, 0)))
        found = [parse_link(body) for kind, body in answer if kind == RTM_NEWLINK]
        return {link.name: link for link in found}

    def add(self, name: str, kind: str, link_data: bytes = b"") -> None:
        parts = text(IFLA_INFO_KIND, kind)
        if link_data:
            parts += attribute(IFLA_INFO_DATA | NLA_NESTED, link_data)
        body = IFINFO.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, name) + attribute(IFLA_LINKINFO | NLA_NESTED, parts)
        ask(self.socket, message(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, body))

    def add_veth(self, name: str, peer: str) -> None:
        peer_body = IFINFO.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, peer)
        self.add(name, "veth", attribute(VETH_INFO_PEER | NLA_NESTED, peer_body))

    def delete(self, ifindex: int) -> None:
        ask(self.socket, message(RTM_DELLINK, NLM_F_ACK, IFINFO.pack(0, 0, ifindex, 0, 0)))

    def set_up(self, ifindex: int, *, up: bool) -> None:
        ask(self.socket, admin_message(ifindex, up=up, flags=NLM_F_ACK))

    def set_master(self, ifindex: int, master: int) -> None:
        body = IFINFO.pack(0, 0, ifindex, 0, 0) + number(IFLA_MASTER, master)
        ask(self.socket, message(RTM_SETLINK, NLM_F_ACK, body))


def admin_message(ifindex: int, *, up: bool, flags: int = 0) -> bytes:
    """The request that sets a device up or down; without NLM_F_ACK in `flags` the kernel answers nothing."""
    return message(RTM_SETLINK, flags, IFINFO.pack(0, 0, ifindex, IFF_UP if up else 0, IFF_UP))


class Team:
    """Requests to the team family, and what is needed to hear its events."""

    def __init__(self) -> None:
        self.socket = open_socket(NETLINK_GENERIC)
        body = struct.pack("=BBxx", CTRL_CMD_GETFAMILY, 1) + text(CTRL_ATTR_FAMILY_NAME, "team")
        answer = ask(self.socket, message(GENL_ID_CTRL, NLM_F_ACK, body))
        values = dict(attributes(answer[0][1][4:]))
        self.family: int = struct.unpack("=H", values[CTRL_ATTR_FAMILY_ID])[0]
        groups: dict[str, int] = {}
        for _, group in attributes(values[CTRL_ATTR_MCAST_GROUPS]):
            parts = dict(attributes(group))
            group_name = parts[CTRL_ATTR_MCAST_GRP_NAME].rstrip(b"\0").decode()
            groups[group_name] = struct.unpack("=I", parts[CTRL_ATTR_MCAST_GRP_ID])[0]
        self.event_group = groups["change_event"]

    def message(self, ifindex: int, *options: bytes, flags: int = 0) -> bytes:
        """The request that sets these options, in order."""
        items = b"".join(attribute(TEAM_ATTR_ITEM_OPTION | NLA_NESTED, one) for one in options)
        body = number(TEAM_ATTR_TEAM_IFINDEX, ifindex) + attribute(TEAM_ATTR_LIST_OPTION | NLA_NESTED, items)
        return message(self.family, flags, struct.pack("=BBxx", TEAM_CMD_OPTIONS_SET, 1) + body)

    def set_options(self, ifindex: int, *options: bytes) -> None:
        ask(self.socket, self.message(ifindex, *options, flags=NLM_F_ACK))

    def set_mode(self, ifindex: int, mode: str) -> None:
        self.set_options(ifindex, option("mode", mode))


def option(name: str, value: str | int | bool, port: int = 0, index: int | None = None) -> bytes:
    """One option with its value; of a port, or one place of an array."""
    match value:
        case bool():
            kind, data = NLA_FLAG, attribute(OPTION_DATA, b"") if value else b""
        case int():
            kind, data = NLA_U32, number(OPTION_DATA, value)
        case str():
            kind, data = NLA_STRING, text(OPTION_DATA, value)
    place = number(OPTION_PORT, port) if port else b""
    place += number(OPTION_INDEX, index) if index is not None else b""
    return text(OPTION_NAME, name) + attribute(OPTION_TYPE, bytes([kind])) + data + place


def active_port_in(packet: bytes) -> int | None:
    """The new active port's ifindex when this read from the event group announces one, else None."""
    if b"activeport\0" not in packet:  # most events are about something else: do not take them apart
        return None
    found = None
    for kind, body in messages(packet):
        if kind == NLMSG_DONE or body[0] != TEAM_CMD_OPTIONS_GET:
            continue
        options = dict(attributes(body[4:])).get(TEAM_ATTR_LIST_OPTION, b"")
        for _, item in attributes(options):
            values = dict(attributes(item))
            if values.get(OPTION_NAME) == b"activeport\0" and OPTION_DATA in values:
                found = struct.unpack("=I", values[OPTION_DATA])[0]
    return found
