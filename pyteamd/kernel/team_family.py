"""The generic netlink family "team": messages ↔ values.

The classes below describe the family to pyroute2, which encodes and decodes; this module adds what a daemon needs around
it. Encoding one option costs pyroute2 60 µs, and the same few options are written again and again: so each (key, value)
is encoded once and its octets are kept; a message is a packed header and those octets joined. Decoding costs 40 µs per
option, and most of what arrives is the echo of our own writes: so results are kept by the octets they were made from.
The counters of `loadbalance` never repeat, but all octets before their value do: there these are kept.

Received octets are measured before pyroute2 sees them (it reads past short attributes, and logs a traceback for broken
ones); what does not fit is counted and left out. Protocol: include/uapi/linux/if_team.h and
Documentation/netlink/specs/team.yaml. A false flag is the absence of its DATA attribute.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import Any, Final, NamedTuple

from pyteamd.kernel.framing import (
    ATTRIBUTE,
    F_ACK,
    F_REQUEST,
    FIRST_FAMILY_TYPE,
    Malformed,
    attributes,
    by_type,
    number,
    text,
)
from pyteamd.kernel.option_table import OPTIONS, OptionKind, guess, problem_of
from pyteamd.kernel.pyroute2_codec import ctrlmsg, genlmsg, nla
from pyteamd.model.desired import OptionKey, OptionValue
from pyteamd.model.events import OptionGone, OptionSeen, PortGone, PortSeen

TeamEvent = OptionSeen | OptionGone | PortSeen | PortGone

GROUP: Final = "change_event"
MAX_LIST: Final = 60_000
"""Octets of options in one message; the list is an attribute, which cannot exceed 65,535."""

_OPTIONS_SET, _OPTIONS_GET, _PORT_LIST_GET = 1, 2, 3
_TEAM_IFINDEX, _LIST_OPTION, _LIST_PORT, _ITEM = 1, 2, 3, 1
_NAME, _TYPE, _DATA, _PORT_IFINDEX, _ARRAY_INDEX = 1, 3, 4, 6, 7
_OPTION_SIZES: Final = {_TYPE: 1, _PORT_IFINDEX: 4, _ARRAY_INDEX: 4}
_PORT_SIZES: Final = {1: 4, 4: 4, 5: 1}
_CTRL_GETFAMILY, _CTRL_FAMILY_ID, _CTRL_GROUPS, _CTRL_GROUP_NAME, _CTRL_GROUP_ID = 3, 1, 7, 1, 2
_NESTED: Final = 0x8000
_VERSION: Final = 1
_BODY: Final = 20  # behind nlmsghdr and genlmsghdr
_PORT: Final = Struct("=I")
_SET_HEAD: Final = Struct("=IHHII BBH HHI HH")  # nlmsghdr, genlmsghdr, TEAM_IFINDEX, header of LIST_OPTION
_COUNTER: Final = ATTRIBUTE.pack(4 + 8, _DATA)
_KEPT: Final = 2048


class teammsg(genlmsg):  # type: ignore[misc]
    """The family's messages, described the way pyroute2 wants it."""

    nla_map = (
        ("TEAM_ATTR_UNSPEC", "none"),
        ("TEAM_ATTR_TEAM_IFINDEX", "uint32"),
        ("TEAM_ATTR_LIST_OPTION", "list_option"),
        ("TEAM_ATTR_LIST_PORT", "list_port"),
    )

    class list_option(nla):  # type: ignore[misc]
        """A list of options."""

        nla_flags = _NESTED
        nla_map = (("TEAM_ATTR_ITEM_OPTION_UNSPEC", "none"), ("TEAM_ATTR_ITEM_OPTION", "option"))

        class option(nla):  # type: ignore[misc]
            """One option instance."""

            nla_flags = _NESTED
            nla_map = (
                ("TEAM_ATTR_OPTION_UNSPEC", "none"),
                ("TEAM_ATTR_OPTION_NAME", "asciiz"),
                ("TEAM_ATTR_OPTION_CHANGED", "flag"),
                ("TEAM_ATTR_OPTION_TYPE", "uint8"),
                ("TEAM_ATTR_OPTION_DATA", "value_class"),
                ("TEAM_ATTR_OPTION_REMOVED", "flag"),
                ("TEAM_ATTR_OPTION_PORT_IFINDEX", "uint32"),
                ("TEAM_ATTR_OPTION_ARRAY_INDEX", "uint32"),
            )

            @staticmethod
            def value_class(self: Any, *_: Any, **__: Any) -> Any:
                """The class of DATA follows from the TYPE before it."""
                classes = {
                    OptionKind.U32: nla.uint32,
                    OptionKind.S32: nla.int32,
                    OptionKind.STRING: nla.asciiz,
                    OptionKind.FLAG: nla.flag,
                }
                return classes.get(self.get_attr("TEAM_ATTR_OPTION_TYPE"), nla.cdata)

    class list_port(nla):  # type: ignore[misc]
        """A list of ports."""

        nla_flags = _NESTED
        nla_map = (("TEAM_ATTR_ITEM_PORT_UNSPEC", "none"), ("TEAM_ATTR_ITEM_PORT", "port"))

        class port(nla):  # type: ignore[misc]
            """One port."""

            nla_flags = _NESTED
            nla_map = (
                ("TEAM_ATTR_PORT_UNSPEC", "none"),
                ("TEAM_ATTR_PORT_IFINDEX", "uint32"),
                ("TEAM_ATTR_PORT_CHANGED", "flag"),
                ("TEAM_ATTR_PORT_LINKUP", "flag"),
                ("TEAM_ATTR_PORT_SPEED", "uint32"),
                ("TEAM_ATTR_PORT_DUPLEX", "uint8"),
                ("TEAM_ATTR_PORT_REMOVED", "flag"),
            )


class Family(NamedTuple):
    """The kernel's numbers for the family and its group of events; both change when the module is loaded again."""

    id: int
    group: int


# Requests. All carry sequence number 0: the socket fills it in.


@lru_cache(maxsize=1)
def get_family() -> bytes:
    """Ask for the family's numbers."""
    message = ctrlmsg()
    message["cmd"], message["version"] = _CTRL_GETFAMILY, 1
    message["attrs"] = [("CTRL_ATTR_FAMILY_NAME", "team")]
    message["header"].update(type=FIRST_FAMILY_TYPE, flags=F_REQUEST)
    message.encode()
    return bytes(message.data)


@lru_cache(maxsize=64)
def get_options(family: int, team: int) -> bytes:
    """Ask for all options of a team."""
    return _get(family, team, _OPTIONS_GET)


@lru_cache(maxsize=64)
def get_ports(family: int, team: int) -> bytes:
    """Ask for all ports of a team."""
    return _get(family, team, _PORT_LIST_GET)


def _get(family: int, team: int, command: int) -> bytes:
    message = teammsg()
    message["cmd"], message["version"] = command, _VERSION
    message["attrs"] = [("TEAM_ATTR_TEAM_IFINDEX", team)]
    message["header"].update(type=family, flags=F_REQUEST)
    message.encode()
    return bytes(message.data)


def set_options(family: int, team: int, items: Sequence[bytes]) -> bytes:
    """Set options in this order; `items` are from `encode_option` and at most MAX_LIST octets together."""
    octets = b"".join(items)
    head = _SET_HEAD.pack(
        _SET_HEAD.size + len(octets), family, F_REQUEST | F_ACK, 0, 0,
        _OPTIONS_SET, _VERSION, 0,
        8, _TEAM_IFINDEX, team,
        4 + len(octets), _LIST_OPTION | _NESTED,
    )  # fmt: skip
    return head + octets


def encode_option(key: OptionKey, value: OptionValue, kind: int = 0) -> bytes:
    """One option as an item of the list. ValueError for a value that the option's type does not have.

    `kind` matters only for options that are not in the table; 0 takes it from the value.
    """
    octets, port_at = _encoded(key._replace(port=int(key.port > 0)), value, kind)
    return octets[:port_at] + _PORT.pack(key.port) + octets[port_at + 4 :] if key.port else octets


@lru_cache(maxsize=512, typed=True)
def _encoded(key: OptionKey, value: OptionValue, kind: int) -> tuple[bytes, int]:
    """The same of the first port, and where that stands: ports come and go, and what is kept is of all of them."""
    known = OPTIONS.get(key.name)
    kind = known.kind if known else kind or guess(value)
    problem = problem_of(kind, value)
    if problem:
        raise ValueError(f"option {key.name}: {problem}")
    attrs: list[tuple[str, Any]] = [("TEAM_ATTR_OPTION_NAME", key.name), ("TEAM_ATTR_OPTION_TYPE", int(kind))]
    if kind != OptionKind.FLAG:
        attrs.append(("TEAM_ATTR_OPTION_DATA", value))
    elif value:
        attrs.append(("TEAM_ATTR_OPTION_DATA", None))
    if key.port:
        attrs.append(("TEAM_ATTR_OPTION_PORT_IFINDEX", key.port))
    if key.index or (known and known.array_size):
        attrs.append(("TEAM_ATTR_OPTION_ARRAY_INDEX", key.index))
    item = teammsg.list_option.option()
    item["attrs"] = attrs
    item["header"]["type"] = _ITEM | _NESTED
    item.encode()
    octets = bytes(item.data)
    return octets, len(octets) - (12 if attrs[-1][0] == "TEAM_ATTR_OPTION_ARRAY_INDEX" else 4)


# What arrives.


def family_of(octets: bytes) -> Family:
    """The answer to `get_family`. Malformed when the number or the group of events is missing."""
    identity = group = 0
    for kind, begin, end in attributes(octets, _BODY):
        if kind == _CTRL_FAMILY_ID:
            identity = int.from_bytes(octets[begin:end], sys.byteorder)
        elif kind == _CTRL_GROUPS:
            for _, first, last in attributes(octets, begin, end):
                parts = by_type(octets, first, last)
                name, place = parts.get(_CTRL_GROUP_NAME), parts.get(_CTRL_GROUP_ID)
                if name and place and text(octets, *name) == GROUP:
                    group = number(octets, *place)
    if not identity or not group:
        raise Malformed("the family has no number or no events")
    return Family(identity, group)


class Decoder:
    """Octets of the family → events, and what was learned on the way.

    `kinds`: type numbers of the options that are not in the table. `malformed`: how much had to be left out.
    """

    __slots__ = ("_counters", "_keys", "_seen", "kinds", "malformed")

    def __init__(self) -> None:
        self._seen: dict[bytes, TeamEvent] = {}
        self._counters: dict[bytes, OptionKey] = {}
        self._keys: dict[OptionKey, OptionKey] = {}
        """Each once: traces keep them."""
        self.kinds: dict[str, int] = {}
        self.malformed = 0

    def decode(self, octets: bytes) -> tuple[int, Sequence[TeamEvent]]:
        """(ifindex of the team, its events in order) of one message."""
        team = 0
        events: list[TeamEvent] = []
        try:
            for kind, begin, end in attributes(octets, _BODY):
                if kind == _TEAM_IFINDEX:
                    team = number(octets, begin, end)
                elif kind in (_LIST_OPTION, _LIST_PORT):
                    for item, first, last in attributes(octets, begin, end):
                        if item == _ITEM:
                            self._add(octets[first - 4 : last], kind == _LIST_OPTION, events)
        except Malformed:
            self.malformed += 1
        return team, events

    def _add(self, raw: bytes, is_option: bool, events: list[TeamEvent]) -> None:
        seen = self._seen.get(raw)
        if seen is not None:
            events.append(seen)
        elif counter := self._counters.get(raw[:-8]):
            events.append(OptionSeen(counter, raw[-8:]))
        else:
            try:
                events.append(self._option(raw) if is_option else self._keep(raw, _port(raw)))
            except Malformed:
                self.malformed += 1

    def _keep(self, raw: bytes, event: TeamEvent) -> TeamEvent:
        if len(self._seen) >= _KEPT:
            self._seen.clear()
            self._keys.clear()
        self._seen[raw] = event
        if type(event) is PortGone:
            self._forget(event.ifindex)
        return event

    def _forget(self, port: int) -> None:
        """Of a port that is gone nothing comes again."""
        self._seen = {raw: event for raw, event in self._seen.items() if port_of(event) != port}
        self._counters = {raw: key for raw, key in self._counters.items() if key.port != port}
        self._keys = {key: key for key in self._keys if key.port != port}

    def _option(self, raw: bytes) -> TeamEvent:
        key, kind, value, removed = _option(raw)
        key = self._keys.setdefault(key, key)
        known = OPTIONS.get(key.name)
        if known is None:
            self.kinds[key.name] = kind
        if removed:
            return self._keep(raw, OptionGone(key))
        if (
            known and known.read_only and raw[-12:-8] == _COUNTER and any(raw[-8:])
        ):  # what counts nothing is the same for all teams
            if len(self._counters) >= _KEPT:
                self._counters.clear()
            self._counters[raw[:-8]] = key
            return OptionSeen(key, value)
        return self._keep(raw, OptionSeen(key, value))


def port_of(event: TeamEvent) -> int:
    """The port that an event is about, 0 for none."""
    return event.key.port if isinstance(event, (OptionSeen, OptionGone)) else event.ifindex


def _option(raw: bytes) -> tuple[OptionKey, int, OptionValue, bool]:
    """(key, type number, value, removed) of an item of the option list."""
    _measure_option(raw)
    item = teammsg.list_option.option(raw)
    item.decode()
    found = dict(iter(item["attrs"]))
    key = OptionKey(
        sys.intern(found["TEAM_ATTR_OPTION_NAME"]),
        found.get("TEAM_ATTR_OPTION_PORT_IFINDEX", 0),
        found.get("TEAM_ATTR_OPTION_ARRAY_INDEX", 0),
    )
    kind = found["TEAM_ATTR_OPTION_TYPE"]
    removed = "TEAM_ATTR_OPTION_REMOVED" in found
    value = found.get("TEAM_ATTR_OPTION_DATA", False if kind == OptionKind.FLAG else b"")
    return key, kind, value, removed


def _port(raw: bytes) -> TeamEvent:
    """An item of the port list."""
    sizes = {kind: _size(_PORT_SIZES, kind, end - begin) for kind, begin, end in attributes(raw, 4)}
    if 1 not in sizes:
        raise Malformed("a port without an ifindex")
    item = teammsg.list_port.port(raw)
    item.decode()
    found = dict(iter(item["attrs"]))
    ifindex = found["TEAM_ATTR_PORT_IFINDEX"]
    if "TEAM_ATTR_PORT_REMOVED" in found:
        return PortGone(ifindex)
    return PortSeen(
        ifindex,
        "TEAM_ATTR_PORT_LINKUP" in found,
        found.get("TEAM_ATTR_PORT_SPEED", 0),
        found.get("TEAM_ATTR_PORT_DUPLEX", 0),
    )


def _measure_option(raw: bytes) -> None:
    """Malformed unless pyroute2 can decode the item without reading past an attribute or failing on its text."""
    parts: dict[int, bytes] = {}
    for part, begin, end in attributes(raw, 4):
        if part in parts or (part == _DATA and _TYPE not in parts):
            raise Malformed(f"attribute {part} comes twice or too early")
        _size(_OPTION_SIZES, part, end - begin)
        parts[part] = raw[begin:end]
    if not _utf8(parts.get(_NAME, b"")) or _TYPE not in parts:
        raise Malformed("an option without name or type")
    value = parts.get(_DATA, b"")
    match parts[_TYPE][0]:
        case OptionKind.U32 | OptionKind.S32 if len(value) != 4:
            raise Malformed(f"{len(value)} octets for a 32-bit option")
        case OptionKind.STRING:
            _utf8(value)
            if _DATA not in parts:
                raise Malformed("an option without its value")


def _size(sizes: dict[int, int], kind: int, size: int) -> int:
    if sizes.get(kind, size) != size:
        raise Malformed(f"attribute {kind} has {size} octets, not {sizes[kind]}")
    return size


def _utf8(octets: bytes) -> str:
    try:
        return octets.rstrip(b"\0").decode()
    except UnicodeDecodeError as problem:
        raise Malformed("text that is not UTF-8") from problem
