"""The text that `teamdctl TEAM state` shows, made from the daemon's JSON state; pure.

How it works: every part of the text is a `Section`: the members it needs, each with the form it must have, and its
lines. All members are read before the first line is written, so a section comes whole or not at all; a missing member,
or one of another type, ends the text with the section's complaint. Members not named here are ignored, objects are
walked in the order received, integers wrap to 32 bits: all as in the C program. A runner or a watcher that the C
program has no text for is shown by its members as they are, but not under the name teamdctl.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    _Line = tuple[int, bool, str]
    """Level of indentation, whether it needs -v, text."""

_STEP = "  "
_DETAIL = "-v "


class ViewError(Exception):
    """The state lacks something; the text is teamdctl's complaint."""


class Section:
    """Members of the state, by dotted path, and the templates of the lines that show them.

    A template names a member by its path with underscores for dots; `-v ` in front means: only with -v.
    """

    __slots__ = ("complaint", "lines", "members")

    def __init__(self, complaint: str, members: Mapping[str, Callable[[Any], str]], lines: tuple[str, ...]) -> None:
        self.complaint = complaint
        self.members = members
        self.lines = lines

    def texts(self, state: Any) -> dict[str, str]:
        """What the templates need. Raises ViewError."""
        try:
            return {path.replace(".", "_"): form(_at(state, path)) for path, form in self.members.items()}
        except (KeyError, TypeError):
            raise ViewError(self.complaint) from None


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(value, dict):
            raise TypeError
        value = value[name]
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _yes_no(value: Any) -> str:
    return "yes" if _flag(value) else "no"


def _up_down(value: Any) -> str:
    return "up" if _flag(value) else "down"


def _selected(value: Any) -> str:
    return ", Selected" if _flag(value) else ""


def _int32(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return (value + 2**31) % 2**32 - 2**31


def _number(value: Any) -> str:
    return str(_int32(value))


def _hex(value: Any) -> str:
    return f"0x{_int32(value) % 2**32:x}"


def _hex_in_words(value: Any) -> str:
    from pyteamd.wire.lacpdu import describe_state

    return f"{_hex(value)} ({describe_state(_int32(value) & 0xFF)})"


def _any(_: Any) -> str:
    """No line of its own: the member must be there, and other sections show what is in it."""
    return ""


_SETUP = Section(
    "Failed to parse JSON setup dump.",
    {
        "setup.runner_name": _text,
        "setup.kernel_team_mode_name": _text,
        "setup.dbus_enabled": _yes_no,
        "setup.zmq_enabled": _yes_no,
        "setup.debug_level": _number,
        "setup.daemonized": _yes_no,
        "setup.pid": _number,
        "setup.pid_file": _text,
    },
    (
        "runner: {setup_runner_name}",
        "-v kernel team mode: {setup_kernel_team_mode_name}",
        "-v D-BUS enabled: {setup_dbus_enabled}",
        "-v ZeroMQ enabled: {setup_zmq_enabled}",
        "-v debug level: {setup_debug_level}",
        "-v daemonized: {setup_daemonized}",
        "-v PID: {setup_pid}",
        "-v PID file: {setup_pid_file}",
    ),
)

_PORT = Section(
    "Failed to parse JSON port dump.",
    {
        "ifinfo.dev_addr": _text,
        "ifinfo.dev_addr_len": _number,
        "ifinfo.ifindex": _number,
        "ifinfo.ifname": _text,
        "link.duplex": _text,
        "link.speed": _number,
        "link.up": _up_down,
        "link_watches": _any,
    },
    (
        "-v ifindex: {ifinfo_ifindex}",
        "-v addr: {ifinfo_dev_addr}",
        "-v ethtool link: {link_speed}mbit/{link_duplex}duplex/{link_up}",
    ),
)

_LINK_WATCHES = Section("Failed to parse JSON port link watches dump.", {"up": _up_down}, ("link summary: {up}",))

_LINK_WATCH = Section(
    "Failed to parse JSON port link watch dump.",
    {"up": _up_down, "name": _text, "down_count": _number},
    ("name: {name}", "link: {up}", "down count: {down_count}"),
)

_WATCHERS = {
    "ethtool": Section(
        "Failed to parse JSON ethtool link watch dump.",
        {"delay_up": _number, "delay_down": _number},
        ("-v link up delay: {delay_up}", "-v link down delay: {delay_down}"),
    ),
    "arp_ping": Section(
        "Failed to parse JSON arp_ping link watch dump.",
        {
            "source_host": _text,
            "target_host": _text,
            "interval": _number,
            "init_wait": _number,
            "validate_active": _yes_no,
            "validate_inactive": _yes_no,
            "send_always": _yes_no,
            "missed_max": _number,
            "missed": _number,
        },
        (
            "-v source host: {source_host}",
            "-v target host: {target_host}",
            "-v interval: {interval}",
            "-v missed packets: {missed}/{missed_max}",
            "-v validate_active: {validate_active}",
            "-v validate_inactive: {validate_inactive}",
            "-v send_always: {send_always}",
            "-v initial wait: {init_wait}",
        ),
    ),
    "nsna_ping": Section(
        "Failed to parse JSON nsna_ping link watch dump.",
        {"target_host": _text, "interval": _number, "init_wait": _number, "missed_max": _number, "missed": _number},
        (
            "-v target host: {target_host}",
            "-v interval: {interval}",
            "-v missed packets: {missed}/{missed_max}",
            "-v initial wait: {init_wait}",
        ),
    ),
    "tipc": Section(
        "Failed to parse JSON tipc_bearer link watch dump", {"tipc_bearer": _text}, ("-v tipc bearer: {tipc_bearer}",)
    ),
}
_UNKNOWN_WATCHER = "Failed to parse JSON unknown link watch info dump."

_LACP_PORT = Section(
    "Failed to parse JSON port runner dump.",
    {
        "runner.selected": _yes_no,
        "runner.aggregator.id": _number,
        "runner.aggregator.selected": _selected,
        "runner.state": _text,
        "runner.key": _number,
        "runner.prio": _number,
        "runner.actor_lacpdu_info": _any,
        "runner.partner_lacpdu_info": _any,
    },
    (
        "aggregator ID: {runner_aggregator_id}{runner_aggregator_selected}",
        "selected: {runner_selected}",
        "state: {runner_state}",
        "-v key: {runner_key}",
        "-v priority: {runner_prio}",
    ),
)

_LACPDU = Section(
    "Failed to parse JSON port runner lacpdu dump.",
    {
        "system_priority": _number,
        "system": _text,
        "key": _number,
        "port_priority": _number,
        "port": _number,
        "state": _hex,
    },
    (
        "-v system priority: {system_priority}",
        "-v system: {system}",
        "-v key: {key}",
        "-v port_priority: {port_priority}",
        "-v port: {port}",
        "-v state: {state}",
    ),
)

_LACPDU_IN_WORDS = Section(_LACPDU.complaint, {**_LACPDU.members, "state": _hex_in_words}, _LACPDU.lines)

_RUNNERS = {
    "activebackup": Section(
        "Failed to parse JSON runner dump.", {"runner.active_port": _text}, ("active port: {runner_active_port}",)
    ),
    "lacp": Section(
        "Failed to parse JSON runner dump.",
        {"runner.active": _yes_no, "runner.sys_prio": _number, "runner.fast_rate": _yes_no},
        ("active: {runner_active}", "fast rate: {runner_fast_rate}", "-v system priority: {runner_sys_prio}"),
    ),
}


def view(state: Any, verbosity: int, in_words: bool = False) -> Iterator[str]:
    """The lines of the text; `verbosity` is the number of -v given. Raises ViewError after the lines before it.

    `in_words`: what teamdctl does not do: LACP state octets also in words, and plug-ins it does not know.
    """
    for level, detail, text in _root(state, in_words):
        if verbosity > 0 or not detail:
            yield _STEP * level + text


def _show(section: Section, state: Any, level: int) -> Iterator[_Line]:
    texts = section.texts(state)
    for line in section.lines:
        yield level, line.startswith(_DETAIL), line.removeprefix(_DETAIL).format_map(texts)


def _whatever(value: Any, level: int, detail: bool) -> Iterator[_Line]:
    """The members of an object that nobody here knows."""
    for name, member in _members(value):
        if isinstance(member, dict):
            yield level, detail, f"{name}:"
            yield from _whatever(member, level + 1, detail)
        else:
            yield level, detail, f"{name}: {_plain(member)}"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return {True: "yes", False: "no", None: "none"}[value] if value is None or isinstance(value, bool) else str(value)


def _root(state: Any, in_words: bool) -> Iterator[_Line]:
    yield 0, False, "setup:"
    yield from _show(_SETUP, state, 1)
    runner = state["setup"]["runner_name"]
    if "ports" in state:
        yield 0, False, "ports:"
        for name, port in _members(state["ports"]):
            yield from _port(name, port, runner, in_words)
    if runner in _RUNNERS:
        yield 0, False, "runner:"
        yield from _show(_RUNNERS[runner], state, 1)
    elif in_words and _members(state.get("runner")):
        yield 0, False, "runner:"
        yield from _whatever(state["runner"], 1, False)


def _port(name: str, port: Any, runner: str, in_words: bool) -> Iterator[_Line]:
    shown = list(_show(_PORT, port, 2))
    yield 1, False, name
    yield from shown
    yield from _link_watches(port["link_watches"], in_words)
    if in_words and _members(port.get("neighbour")):
        yield 2, True, "neighbour:"
        yield from _whatever(port["neighbour"], 3, True)
    if in_words and _members(port.get("damping")):
        yield 2, False, "damping:"
        yield from _whatever(port["damping"], 3, False)
    if runner == "lacp":
        lacpdu = _LACPDU_IN_WORDS if in_words else _LACPDU
        yield 2, False, "runner:"
        yield from _show(_LACP_PORT, port, 3)
        for side in ("actor", "partner"):
            yield 3, True, f"{side} LACPDU info:"
            yield from _show(lacpdu, port["runner"][f"{side}_lacpdu_info"], 4)
    elif in_words and _members(port.get("runner")):
        yield 2, False, "runner:"
        yield from _whatever(port["runner"], 3, False)


def _link_watches(watches: Any, in_words: bool) -> Iterator[_Line]:
    shown = list(_show(_LINK_WATCHES, watches, 3))
    yield 2, False, "link watches:"
    yield from shown
    for name, watch in _members(watches.get("list")):
        shown = list(_show(_LINK_WATCH, watch, 4))
        yield 3, False, f"instance[{name}]:"
        yield from shown
        watcher = _WATCHERS.get(watch["name"])
        if watcher is not None:
            yield from _show(watcher, watch, 4)
        elif in_words:
            own = {name: value for name, value in watch.items() if name not in _LINK_WATCH.members}
            yield from _whatever(own, 4, True)
        else:
            raise ViewError(_UNKNOWN_WATCHER)


def _members(value: Any) -> list[tuple[str, Any]]:
    """The members of an object; none of anything else."""
    return list(value.items()) if isinstance(value, dict) else []
