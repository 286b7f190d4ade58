"""Strings with a form of their own: interface names, hardware addresses, hosts. For `convert` in option declarations.

Each function takes what the user wrote and returns the value to work with, or raises ValueError whose text continues
a sentence that begins with the value ("is longer than 15 octets"). Names are not looked up here: that needs I/O.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from pyteamd.model.limits import ALTNAME_MAX, NAME_MAX, SOCKET_PATH_MAX
from pyteamd.wire.ethernet import parse_mac

MAC_PATTERN = r"^\s*(0[xX])?[0-9a-fA-F]{1,2}\s*(:\s*(0[xX])?[0-9a-fA-F]{1,2}\s*){5}$"
"""The usual ways to write a hardware address, for editors."""

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?\Z")
_DOTTED = re.compile(r"[0-9.]+\Z")
_DOTTED_QUAD = re.compile(r"(?:(?:0[0-9]+|25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?!\Z)|\Z)){4}\Z")


def interface_name(text: str) -> str:
    """A name the kernel takes for a network interface (dev_valid_name in net/core/dev.c)."""
    if not text:
        raise ValueError("is no interface name")
    if len(text.encode("utf-8", "surrogatepass")) > NAME_MAX:
        raise ValueError(f"is longer than {NAME_MAX} octets, no interface can have that name")
    if text in (".", "..") or any(char in "/:" or char.isspace() for char in text):
        raise ValueError('is no interface name: blanks, "/" and ":" are not allowed in one')
    if "%" in text:
        raise ValueError('is no interface name: for the kernel "%" stands for a number that it chooses')
    return text


def name_of_link(text: str) -> str:
    """A name that some network interface may have, its own or an alternative one, for which the kernel has fewer rules."""
    if not text:
        raise ValueError("is no interface name")
    if len(text.encode("utf-8", "surrogatepass")) > ALTNAME_MAX:
        raise ValueError(f"is longer than {ALTNAME_MAX} octets, no interface can have that name")
    if text in (".", "..") or any(char == "/" or char.isspace() for char in text):
        raise ValueError('is no interface name: blanks and "/" are not allowed in one')
    return text


def hardware_address(text: str) -> bytes:
    """A hardware address that a team can have, written as `parse_mac` reads it.

    The driver takes no multicast address and not zero (is_valid_ether_addr).
    """
    try:
        address = parse_mac(text)
    except ValueError:
        raise ValueError("is no hardware address (six bytes like 02:00:5e:00:53:01)") from None
    if address[0] & 1:
        raise ValueError("is a multicast address, the team cannot have it")
    if not any(address):
        raise ValueError("is the zero address, the team cannot have it")
    return address


def host4(text: str) -> str:
    """A host name or an IPv4 address."""
    if ":" in text:
        raise ValueError("is an IPv6 address, but an IPv4 address or a host name is needed")
    # Fewer than four parts, and leading zeros, are old forms that name resolution understands.
    if _DOTTED.match(text) and text.count(".") >= 3 and not _DOTTED_QUAD.match(text):
        raise ValueError("is no IPv4 address")
    return _host(text)


def host6(text: str) -> str:
    """A host name or an IPv6 address, with or without a scope (fe80::1%eth0)."""
    if ":" in text:
        _check_ipv6(text)
        return text
    if _DOTTED.match(text):
        raise ValueError("is an IPv4 address, but an IPv6 address or a host name is needed")
    return _host(text)


def numeric_address(text: str) -> str:
    """An IPv4 or IPv6 address of one station, in its usual form. Names are not looked up, and a scope has no meaning on one port."""
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError("is no IPv4 or IPv6 address (a name is not allowed here)") from None
    if address.is_multicast or address.is_unspecified or "%" in text:
        raise ValueError("is no address of one station")
    return str(address)


def _check_ipv6(text: str) -> None:
    from ipaddress import IPv6Address  # on demand: only this check needs the module

    try:
        IPv6Address(text)
    except ValueError:
        raise ValueError("is no IPv6 address") from None


def _host(text: str) -> str:
    if not _HOST_NAME.match(text):
        raise ValueError("is no host name")
    return text


def listen_address(text: str) -> tuple[int, str | tuple[str, int]]:
    """Where to listen: an absolute path of a unix socket, or a loopback address with a port. Returns family (AF_UNIX 1, AF_INET 2,
    AF_INET6 10) and what to bind to."""
    if text.startswith("/"):
        if len(text.encode()) > SOCKET_PATH_MAX:
            raise ValueError(f"is longer than {SOCKET_PATH_MAX} octets")
        return 1, text
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError('is neither a path ("/run/team0.metrics") nor an address with a port ("127.0.0.1:9700")')
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        raise ValueError("has no numeric address before the port") from None
    if not address.is_loopback:
        raise ValueError("is not a loopback address; from elsewhere anybody could read them")
    return (2 if address.version == 4 else 10), (str(address), int(port))


def listen_text(text: str) -> str:
    """The text itself, when it is an address for `listen_address`. ValueError."""
    listen_address(text)
    return text


def listening_doubt(text: str) -> str:
    """Why the kernel may refuse to bind to an address that `listen_address` takes, because of its port; "" where that is not so."""
    where = listen_address(text)[1]
    if isinstance(where, str) or where[1] >= 1024:
        return ""
    allowed = f"works only where net.ipv4.ip_unprivileged_port_start is at most {where[1]}"
    return f"port {where[1]} {allowed}: the daemon gives up the right to lower ports"
