"""The control methods, one table for every transport: all arguments and all replies are strings.

A method reads the Team, or feeds an event to its pump and waits for the kernel's answer. What cannot be done raises UserError with
teamd's code and text; what else may be raised is the desk's business. A transport parses a request, calls `Desk.call`, and packs the reply;
it knows nothing else.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pyteamd.config.config import PortSetup
from pyteamd.core import reload
from pyteamd.daemon.control import inspection, reconfigure
from pyteamd.daemon.control import spread as balance
from pyteamd.daemon.pump import Pump
from pyteamd.model.desired import Level, Note, SetMember
from pyteamd.model.errors import ADD_FAILED, NO_DEVICE, UserError
from pyteamd.model.events import LinkSeen, PortAdd, PortConfigUpdate, PortRemove, Refused
from pyteamd.schema import json_text
from pyteamd.schema.problems import ConfigError
from pyteamd.values import dataclass
from pyteamd.views import state as statetree

CONFIG_DUMP_FAILED = ("ConfigDumpFail", "Failed to dump config.")
CONFIG_UPDATE_FAILED = ("ConfigUpdateFail", "Failed to update config.")
PORT_REMOVE_FAILED = ("PortRemoveFail", "Failed to del port.")

AT_ONCE = ("prio", "set_down", "steal")
"""Settings of a port that are in force as soon as they are stored: the others are used when the port joins."""
JOIN_TIMEOUT_S = 1.0
"""How long a reply waits for the kernel's events to confirm what the kernel has accepted; clients wait 5 s."""


EXPLAINED = ("StateItemValueGet", "StateItemValueSet", "PortConfigUpdate", "PortAdd")
"""Methods whose errors say little, because they are teamd's; the first argument is what they are about."""


@dataclass(frozen=True, slots=True)
class Method:
    """One row. `arguments` and `reply` ("" for none) are names for introspection; `handler` gets that many strings."""

    name: str
    arguments: tuple[str, ...]
    reply: str
    handler: Callable[..., Awaitable[str]]
    help: str
    follows: bool = False
    """The client waits for something to happen."""


async def reason(pump: Pump, name: str, subject: str) -> str:
    """Why a call was refused. The desk knows (desk.py); elsewhere nobody has asked for anything."""
    return json_text.dumps({"reason": ""})


async def config_dump(pump: Pump) -> str:
    """The stored configuration."""
    return json_text.dumps(pump.team.config.dump())


async def config_dump_actual(pump: Pump) -> str:
    """The configuration with the ports that are there now."""
    config, ports = pump.team.config, pump.team.ports.values()
    return json_text.dumps(
        config.dump_actual([port.name for port in ports], {p.name: pump.team.joining.key(p.link) for p in ports})
    )


async def state_dump(pump: Pump) -> str:
    """The whole state."""
    return json_text.dumps(statetree.state(pump.team))


async def state_item_value_get(pump: Pump, path: str) -> str:
    """One item of the state."""
    return statetree.get_item(pump.team, path)


async def state_item_value_set(pump: Pump, path: str, value: str) -> str:
    """Change an item of the state."""
    await pump.request(statetree.set_request(pump.team, path, value))
    return ""


async def port_add(pump: Pump, name: str) -> str:
    """Make a link a port."""
    link = find(pump, name)
    if link.ifindex == pump.ifindex:
        raise UserError(*ADD_FAILED, f"{link.name} is the team itself")
    wish = PortAdd(link.ifindex, link)
    pump.learn(wish)
    found = None if link.ifindex in pump.team.ports else pump.team.joining.hindrance(link, pump.kernel.get_link)
    if found is not None and found.half_way:
        raise UserError(*ADD_FAILED, f"{link.name} {found.why}{f' ({found.hint})' if found.hint else ''}")
    refused = await pump.request(wish)
    _check_membership(refused, link.ifindex, ADD_FAILED)
    await pump.until(lambda: link.ifindex in pump.team.ports, JOIN_TIMEOUT_S)
    return ""


async def port_remove(pump: Pump, name: str) -> str:
    """Release a port."""
    link = find(pump, name)
    refused = await pump.request(PortRemove(link.ifindex))
    _check_membership(refused, link.ifindex, PORT_REMOVE_FAILED)
    await pump.until(lambda: link.ifindex not in pump.team.ports, JOIN_TIMEOUT_S)
    return ""


async def port_config_update(pump: Pump, name: str, text: str) -> str:
    """Replace the stored configuration of a link, port or not."""
    link = find(pump, name)
    try:
        tree = pump.team.config.read_port(link.name, text, live=link.ifindex in pump.team.ports)
    except ConfigError as error:
        pump.log(Note(Level.WARNING, line) for line in str(error).splitlines())
        raise UserError(*CONFIG_UPDATE_FAILED, "; ".join(problem.told("") for problem in error.problems)) from None
    pump.log(Note(Level.WARNING, line) for line in remarks(checked(pump, link, tree)))
    await pump.request(PortConfigUpdate(pump.team.joining.key(link), tree))
    return ""


async def port_config_check(pump: Pump, name: str, text: str) -> str:
    """What a new configuration of a link would bring: what is wrong with it, and what waits until the port joins again."""
    link = find(pump, name)
    live = link.ifindex in pump.team.ports
    try:
        tree = pump.team.config.read_port(link.name, text, live=live)
    except ConfigError as error:
        return json.dumps({"problems": str(error).splitlines(), "waiting": []})
    setup = checked(pump, link, tree)
    return json.dumps({"problems": remarks(setup), "waiting": waiting(pump, link, setup) if live else []})


def checked(pump: Pump, link: LinkSeen, tree: Mapping[str, Any]) -> PortSetup:
    """New settings of a link as a file with them would be read."""
    key = pump.team.joining.key(link)
    return pump.team.config.with_port(key, tree).port(key)


def remarks(setup: PortSetup) -> list[str]:
    """What is wrong with the settings of this port; what is wrong elsewhere was told when the configuration was read."""
    return [problem.text("") for problem in setup.problems if problem.path[:1] == ("ports",)]


def waiting(pump: Pump, link: LinkSeen, setup: PortSetup) -> list[str]:
    """Which of the new settings of a port are not in force at once."""
    team, settings = pump.team, {link.ifindex: setup.config}
    changes = reload.of_port(team, team.config, team.ports[link.ifindex], setup, settings, team.view)
    return [
        f"{change.path}: from {reload.shown(change.before)} to {reload.shown(change.after)} when {link.name} joins again"
        for change in changes
        if change.path.rpartition(".")[2] not in AT_ONCE
    ]


async def port_config_dump(pump: Pump, name: str) -> str:
    """The stored configuration of a port."""
    link = find(pump, name)
    if link.ifindex not in pump.team.ports:
        raise UserError(*CONFIG_DUMP_FAILED)
    return json_text.dumps(pump.team.config.dump_port(pump.team.joining.key(link)))


PORT_CONFIG = "port_devname", "port_config"
METHODS = (
    Method("PortConfigUpdate", PORT_CONFIG, "", port_config_update, "Replace a port's configuration"),
    Method("PortConfigCheck", PORT_CONFIG, "report", port_config_check, "What a port's configuration would bring"),
    Method("PortConfigDump", ("port_devname",), "port_config", port_config_dump, "A port's configuration"),
    Method("PortAdd", ("port_devname",), "", port_add, "Add a port"),
    Method("PortRemove", ("port_devname",), "", port_remove, "Remove a port"),
    Method("ConfigDump", (), "config", config_dump, "The configuration"),
    Method("ConfigDumpActual", (), "config", config_dump_actual, "The configuration with the ports that are there now"),
    Method("StateDump", (), "state", state_dump, "The state"),
    Method("StateItemValueGet", ("state_item_path",), "value", state_item_value_get, "One item of the state"),
    Method("StateItemValueSet", ("state_item_path", "value"), "", state_item_value_set, "Change an item of the state"),
    Method("Explain", (), "reasons", inspection.explain, "Why each port carries traffic or not"),
    Method("Diff", (), "difference", inspection.diff, "What the kernel is to have, against what it has"),
    Method("History", (), "transitions", inspection.history, "What happened lately, and why"),
    Method("FlowHash", ("flow",), "prediction", balance.flow_hash, "Bucket and port of a flow"),
    Method("Balance", (), "balance", balance.spread, "What each port sent, and how even that is"),
    Method("Metrics", (), "text", inspection.metrics, "Metrics as OpenMetrics text"),
    Method("Events", ("from_step",), "events", inspection.events, "What was said from a step on, as it happens", True),
    Method("ConfigApply", ("config", "how"), "report", reconfigure.config_apply, "Go over to another configuration"),
    Method("Reason", ("method", "subject"), "reason", reason, "Why the last call of a method was refused"),
    Method("ConfigConfirm", ("how",), "report", reconfigure.config_confirm, "Keep what is on trial, or take it back"),
    Method("Trace", ("from_step",), "lines", inspection.trace, "The recorded steps, for replay"),
)
BY_NAME = {method.name: method for method in METHODS}


def find(pump: Pump, name: str) -> LinkSeen:
    """The link of this name. UserError when there is none."""
    link = pump.kernel.find_link(name)
    if link is None:
        raise UserError(*NO_DEVICE)
    return link


def _check_membership(refused: Sequence[Refused], ifindex: int, failure: tuple[str, str]) -> None:
    """Raise what the refusal of a SetMember means to the user who asked for it."""
    for refusal in refused:
        match refusal.write:
            case SetMember(ifindex=refused_ifindex) if refused_ifindex == ifindex:
                raise UserError(*(NO_DEVICE if refusal.errno == errno.ENODEV else failure))
