"""`pyteamnl TEAM monitor`: options, ports and links of a team as they change, one paragraph per message of the kernel.

Two blocking sockets, the team family's group of events and rtnetlink's of links. When the kernel says that messages were lost, everything
is read again: what changed meanwhile is not shown, and what is shown from then on is right.
"""

from __future__ import annotations

import errno
import selectors
import socket
from collections.abc import Callable
from typing import TextIO, TypeVar

from pyteamd.cli.pyteamnl.device import Device, cut, option_line, port_line
from pyteamd.kernel import framing, rtnl, team_family
from pyteamd.kernel.sockets import ADD_MEMBERSHIP, DATAGRAM, GENERIC, ROUTE, SOL_NETLINK, set_receive_buffer
from pyteamd.model.events import LinkSeen, OptionGone, OptionSeen, PortGone, PortSeen
from pyteamd.model.printable import shown

BUFFER_OCTETS = 1 << 20
_T = TypeVar("_T")


def monitor(team: Device, everything: bool, out: TextIO) -> None:
    """Show changes until the team is gone. `everything`: whole lists, with marks at what changed."""
    with _events(GENERIC, team.kernel.family().group) as options, _events(ROUTE, rtnl.GROUP_LINK) as links:
        selector = selectors.DefaultSelector()
        for channel in (options, links):
            selector.register(channel, selectors.EVENT_READ)
        decoder = team_family.Decoder()
        while True:
            for ready, _ in selector.select():
                try:
                    datagram = ready.fileobj.recv(DATAGRAM)  # type: ignore[union-attr]
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    team.load()
                    continue
                for message in framing.messages(datagram):
                    if ready.fileobj is options:
                        _team_message(team, decoder, message, everything, out)
                    elif not _link_message(team, message, everything, out):
                        return
                out.flush()


def _events(protocol: int, group: int) -> socket.socket:
    channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    channel.bind((0, 0))
    set_receive_buffer(channel, BUFFER_OCTETS)
    channel.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, group)
    return channel


def _team_message(
    team: Device, decoder: team_family.Decoder, message: framing.Message, everything: bool, out: TextIO
) -> None:
    if message.type != team.kernel.family().id:
        return
    ifindex, events = decoder.decode(message.octets)
    if ifindex != team.ifindex:
        return
    marks: dict[object, str] = {}
    options: list[OptionSeen] = []
    ports: list[PortSeen] = []
    gone = False
    for event in reversed(events):
        match event:
            case OptionSeen(key=key):
                marks[key] = "*"
                team.options = _with(team.options, event, lambda option: option.key)
                options.append(event)
            case OptionGone(key=key):
                team.options = [other for other in team.options if other.key != key]
                gone = True
            case PortSeen(ifindex=port):
                marks[port] = "*"
                team.ports = _with(team.ports, event, lambda port: port.ifindex)
                ports.append(event)
            case PortGone(ifindex=port):
                marks[port] = "-"
                ports.append(PortSeen(port, False, 0, 0))  # teamnl shows a port that left without its last values
                team.ports = [other for other in team.ports if other.ifindex != port]
    if options or (gone and everything):
        shown = team.options if everything else options
        lines = [option_line(team, option, marks.get(option.key, " ")) for option in shown]
        _paragraph(out, "options", [line.removesuffix(" ") for line in lines])  # not so in `options`, nor in teamnl's
    if ports:
        listed = [*(port for port in ports if marks[port.ifindex] == "-"), *team.ports] if everything else ports
        _paragraph(out, "ports", [port_line(team, port, marks.get(port.ifindex, " ")) for port in listed])


def _with(known: list[_T], new: _T, key: Callable[[_T], object]) -> list[_T]:
    """The list with a new value in the place of the old one, or in front."""
    if not any(key(one) == key(new) for one in known):
        return [new, *known]
    return [new if key(one) == key(new) else one for one in known]


def _link_message(team: Device, message: framing.Message, everything: bool, out: TextIO) -> bool:
    """False when the team itself is gone."""
    if message.type not in (rtnl.NEWLINK, rtnl.DELLINK):
        return True
    try:
        link = rtnl.decode(message.octets)
    except framing.Malformed:
        return True
    before = team.links.get(link.ifindex)
    if message.type == rtnl.DELLINK:
        team.links.pop(link.ifindex, None)
        _paragraph(out, "ifinfos", [_link_line(link, before, "-")])
        return link.ifindex != team.ifindex
    team.links[link.ifindex] = link
    team.names[link.ifindex] = link.name
    if before is not None and (link.mac, link.master, link.name) != (before.mac, before.master, before.name):
        ours = (team.ifindex, *(port.ifindex for port in team.ports)) if everything else ()
        shown = [link if index == link.ifindex else team.links[index] for index in ours if index in team.links]
        if link not in shown:
            shown.append(link)
        _paragraph(
            out,
            "ifinfos",
            [_link_line(one, before if one is link else one, "*" if one is link else " ") for one in shown],
        )
    return True


def _link_line(link: LinkSeen, before: LinkSeen | None, flag: str) -> str:
    def mark(name: str) -> str:
        return "*" if before is not None and getattr(link, name) != getattr(before, name) else ""

    address = ":".join(f"{octet:02x}" for octet in link.mac)
    return cut(
        f"{flag}{link.ifindex}: {mark('name')}{link.name}: {mark('mac')}{address}: {mark('master')}{link.master} "
    )


def _paragraph(out: TextIO, title: str, lines: list[str]) -> None:
    out.write("".join(f"{shown(line, out)}\n" for line in (f"{title}:", *(f"  {line}" for line in lines))))
