"""The state as users and programs see it: teamd's JSON, rendered on demand, and its items by dotted path.

Layout, names and types are teamd's (a client that misses a member of a known object gives up); additional members may stand
beside them. Runners and watchers answer `state()` with a plain object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from pyteamd.core.port import SPEED_UNKNOWN, Port
from pyteamd.core.team import Team
from pyteamd.linkwatch.base import Watcher
from pyteamd.model.errors import NOT_SUPPORTED, SET_FAILED, UserError
from pyteamd.model.events import LinkSeen, UserSet
from pyteamd.runners.base import SETTABLE

Tree: TypeAlias = dict[str, Any]

NO_PATH = ("PathDoesNotExist", "Item path does not exist.")
MALFORMED_PATH = "a path to an item of a port is ports.NAME.…, with the name in double quotes where it has dots"
MALFORMED_GET = ("ItemValueGetFail", "Failed to get item value.")


def state(team: Team) -> Tree:
    """The whole state of a team. Member `ports` is absent without ports, `runner` where the runner has none."""
    return part(team, lambda port: True)


def part(team: Team, shown: Callable[[Port], bool]) -> Tree:
    """The state of a team, in which only the ports that are to be shown have one."""
    root: Tree = {"setup": setup_state(team), "team_device": {"ifinfo": ifinfo(team.facts.team)}}
    if team.ports:
        root["ports"] = {port.name: port_state(team, port) if shown(port) else {} for port in team.ports.values()}
    runner = team.runner.state(team.view)
    if runner is not None:
        root["runner"] = runner
    return root


def setup_state(team: Team) -> Tree:
    """How the daemon was started, and the level of its log."""
    setup = team.setup
    return {
        "runner_name": team.runner.name,
        "kernel_team_mode_name": team.runner.mode,
        "dbus_enabled": setup.dbus_enabled,
        "zmq_enabled": setup.zmq_enabled,
        "debug_level": setup.debug_level,
        "daemonized": setup.daemonized,
        "pid": setup.pid,
        "pid_file": setup.pid_file,
    }


def ifinfo(link: LinkSeen) -> Tree:
    """What rtnetlink says of a link."""
    return {"ifindex": link.ifindex, "ifname": link.name, "dev_addr": link.mac.hex(":"), "dev_addr_len": len(link.mac)}


def port_state(team: Team, port: Port) -> Tree:
    """One port; a port is shown completely or not at all."""
    speed_mbps = -1 if port.seen.speed_mbps == SPEED_UNKNOWN else port.seen.speed_mbps
    shown: Tree = {
        "ifinfo": ifinfo(port.link),
        "link": {"up": port.running, "speed": speed_mbps, "duplex": "full" if port.duplex else "half"},
        "link_watches": {
            "up": port.up,
            "list": {f"link_watch_{n}": watcher_state(watcher) for n, watcher in enumerate(port.voters())},
        },
    }
    shown |= {watcher.name: said for watcher in port.watchers if watcher.only_vetoes and (said := watcher.state())}
    runner = team.runner.port_state(port, team.view)
    if runner is not None:
        shown["runner"] = runner
    return shown


def watcher_state(watcher: Watcher) -> Tree:
    """One link watcher of one port."""
    return {"name": watcher.name, "up": watcher.up, "down_count": watcher.down_count, **watcher.state()}


def get_item(team: Team, path: str) -> str:
    """Text of the leaf at a dotted path. UserError when there is none or the path is malformed."""
    value = item(team, split_path(team, path, MALFORMED_GET))
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return ",".join(str(element) for element in value)
    return str(value)


def set_request(team: Team, path: str, value: str) -> UserSet:
    """The event for a request to set an item. UserError: no such item, or nothing that can be set."""
    keys = split_path(team, path, SET_FAILED)
    item(team, keys)
    match keys:
        case ["setup", "debug_level"]:
            return UserSet(path, value)
        case ["runner", *_] if path in team.runner.settable:
            return UserSet(path, value)
        case ["ports", name, "damping", "penalty"] if (port := team.ports.named(name)) is not None:
            return UserSet(f"damping.{port.ifindex}", value)
        case ["ports", name, "runner", *rest] if ".".join(("ports.PORT.runner", *rest)) in team.runner.settable:
            if (port := team.ports.named(name)) is not None:
                return UserSet(".".join(("ports", str(port.ifindex), *rest)), value)
    settable = "; ".join((*SETTABLE, *team.runner.settable))
    raise UserError(*NOT_SUPPORTED, f"{path} can only be read; what can be set: {settable}")


def item(team: Team, keys: list[str]) -> Any:
    """The leaf that the keys lead to, for which at most one port is looked at; UserError when there is none."""
    return find(part(team, lambda port: keys[:2] == ["ports", port.name]), keys)


def find(tree: Tree, keys: list[str]) -> Any:
    """The leaf that the keys lead to; UserError when there is none."""
    found: Any = tree
    for depth, key in enumerate(keys):
        if not isinstance(found, dict) or key not in found:
            raise UserError(*NO_PATH, no_such_key(found, keys[:depth], key))
        found = found[key]
    if isinstance(found, dict):
        raise UserError(*NO_PATH, f"{'.'.join(keys)} is an object; below it there are: {', '.join(found)}")
    return found


def no_such_key(parent: Any, way: list[str], key: str) -> str:
    """Why there is nothing at a path, and what there is."""
    place = ".".join(way)
    if not isinstance(parent, dict):
        return f"{place} is a value, and nothing is below it"
    return f"there is no {key} in {place or 'the state'}; there are: {', '.join(parent)}"


def split_path(team: Team, path: str, malformed: tuple[str, str]) -> list[str]:
    """Keys of a path, the kernel's name for that of a port; UserError."""
    if not path.startswith("ports."):
        return path.split(".")
    ports, name, *rest = split_ports(team, path, malformed)
    port = team.ports.named(name)
    return [ports, port.name if port is not None else name, *rest]


def split_ports(team: Team, path: str, malformed: tuple[str, str]) -> list[str]:
    """Keys of a path below `ports`. A name stands in double quotes when it has dots, or as it is when it is a whole name of a port."""
    rest = path.removeprefix("ports.")
    if rest.startswith('"'):
        name, quote, rest = rest[1:].rpartition('"')
        if not quote or not rest.startswith("."):
            raise UserError(*malformed, MALFORMED_PATH)
        return ["ports", name, *rest[1:].split(".")]
    names = [name for port in team.ports.values() for name in port.link.names if rest.startswith(name + ".")]
    if names:
        name = max(names, key=len)  # eth0.100 is not eth0
        return ["ports", name, *rest[len(name) + 1 :].split(".")]
    if "." not in rest:
        raise UserError(*malformed, MALFORMED_PATH)
    return ["ports", *rest.split(".")]
