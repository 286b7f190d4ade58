"""What the client is asked over D-Bus, and the daemons on the bus; golden/teamdctl-1.31-dbus.json has the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ctl_bus import BUS_DIES, BusReply, refusal, success
from ctl_cases import CONFIG, STATES, TEAM, Case
from ctl_mock import HANG_UP, SILENT

NO_BUS = "no bus"
NO_NAME = "no name"
"""Worlds without a daemon: no bus, and a bus where nobody owns the name."""


def daemon(**replies: BusReply) -> dict[str, BusReply]:
    """A daemon on the bus; further replies by method."""
    usual = {
        "ConfigDump": success(json.dumps(CONFIG)),
        "ConfigDumpActual": success('{"device":"team0"}'),
        "StateDump": success(json.dumps(STATES["ab"])),
        "StateItemValueGet": success("multi\nline\\"),
        "StateItemValueSet": success(None),
        "PortAdd": success(None),
        "PortRemove": success("surplus"),
        "PortConfigUpdate": ("", "i", (1,)),
        "PortConfigDump": success('{"b":1,"a":2}'),
    }
    return {**usual, **replies}


BUS_WORLDS: dict[str, dict[str, BusReply]] = {
    "ab": daemon(),
    "refusing": daemon(
        PortAdd=refusal("NoSuchDev", "No such device."),
        PortRemove=("org.freedesktop.DBus.Error.Failed", "", ()),
        PortConfigUpdate=(".".join(("org.example", "Other")), "i", (7,)),
        PortConfigDump=success(None),
        StateItemValueGet=("", "i", (7,)),
        StateItemValueSet=(".".join(("org.example", "Other")), "ss", ("one", "two")),
    ),
    "probe refused": daemon(ConfigDump=refusal("ConfigDumpFail", "Failed to dump config.")),
    "probe empty": daemon(ConfigDump=success(None)),
    "state refused": daemon(StateDump=refusal("StateDumpFail", "Failed to dump state.")),
    "silent": daemon(PortAdd=SILENT),
    "silent early": daemon(ConfigDump=SILENT),
    "lost": daemon(PortAdd=HANG_UP),
    "bus lost": daemon(PortAdd=BUS_DIES),
    "other team": daemon(ConfigDump=success('{"device":"team1"}')),
}
CALLS = (
    ("state",),
    ("config", "dump"),
    ("config", "dump", "actual"),
    ("port", "add", "eth9"),
    ("port", "remove", "eth9"),
    ("port", "config", "update", "eth1", '{"a":\n"x\\\\y"}'),
    ("port", "config", "dump", "eth1"),
    ("state", "item", "get", ""),
    ("state", "item", "set", "a", "\u00e9"),
)
ADDRESSES = (
    "unix:path=/nonexistent/bus",
    "unix:path=/run",
    "unix:abstract=/nonexistent",
    "bogus",
)


def bus_cases() -> Iterator[Case]:
    """Every case, in a fixed order. There is never a unix socket, so without -D the client falls back."""
    for world in ("ab", "refusing"):
        yield from (Case(("-D", TEAM, *words), world) for words in CALLS)
    yield Case((TEAM, "state"), "ab")
    yield Case(("-U", TEAM, "state"), "ab")
    for option in ((), ("-D",)):
        for world in ("probe refused", "probe empty", "state refused", "silent early", "other team", NO_NAME, NO_BUS):
            yield Case((*option, TEAM, "state"), world)
    for world in ("silent", "lost", "bus lost"):
        yield Case(("-D", TEAM, "port", "add", "x"), world)
    for address in ADDRESSES:
        yield Case(("-D", TEAM, "state"), NO_BUS, {"DBUS_SYSTEM_BUS_ADDRESS": address})
    yield Case((TEAM, "state"), NO_NAME, {"TEAMDCTL_LOG": "debug"})
    yield Case(("-D", TEAM, "state"), NO_NAME, {"TEAMDCTL_LOG": "2"})


def calls_as_json(calls: list[tuple[str, tuple[Any, ...]]]) -> list[list[Any]]:
    return [[method, *body] for method, body in calls]
