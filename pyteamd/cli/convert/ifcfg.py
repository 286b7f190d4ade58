"""Network scripts' ifcfg files of bonds and of teams (TEAM_CONFIG, TEAM_PORT_CONFIG), and SUSE's, which wicked reads. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pyteamd.cli.convert.bonding import Bond, ConvertError
from pyteamd.cli.convert.reading import YES, FoundTeam, NameOfAddress, Reading, Settings, truth
from pyteamd.cli.convert.shell import assignments, in_double, quoted
from pyteamd.schema import json_text

Files = dict[str, str]

NEEDED = re.compile(r"DEVICE|TYPE|DEVICETYPE|BONDING_\w+|MASTER\w*|TEAM_\w+|HWADDR|UUID")
"""Settings whose values must be known."""
MASTERS = ("MASTER", "TEAM_MASTER", "MASTER_UUID", "TEAM_MASTER_UUID")
"""Settings by which a port names its device. A UUID that no file has is no error beside a name."""


def options_of(text: str, place: str = "") -> dict[str, str]:
    """`mode=1 miimon=100`, as in BONDING_OPTS. ConvertError."""
    found: dict[str, str] = {}
    for word in text.replace("options bonding", "").split():
        name, sign, value = word.partition("=")
        if not sign:
            raise ConvertError(f"{place}{': ' if place else ''}{word!r} is not NAME=VALUE")
        if name in found and name.endswith("_target"):  # each is one more for the driver
            value = f"{found[name]},{value}"
        elif found.get(name, value) != value:
            raise ConvertError(f"{place}{': ' if place else ''}{name} is {found[name]} and {value}; keep one of them")
        found[name] = value
    return found


def tree_of(text: str, place: str) -> dict[str, Any]:
    """The JSON object of a setting. ConvertError."""
    try:
        tree = json_text.loads(text)
    except json_text.JanssonError as error:
        raise ConvertError(f"{place} is no JSON: {error}; after the quotes it is {text!r}") from None
    if not isinstance(tree, dict):
        raise ConvertError(f"{place} is no JSON object")
    return tree


def team_of(name: str, text: str, place: str) -> FoundTeam:
    """A team from the JSON text in one of these settings. ConvertError."""
    tree = tree_of(text, place) if text.strip() else {}
    ports = tree.pop("ports", {})
    tree.pop("device", None)
    return FoundTeam(name, tree, dict(ports) if isinstance(ports, dict) else {})


def read_ifcfg(files: Mapping[str, str], links: NameOfAddress) -> Reading:
    """ifcfg-bond0, ifcfg-team0 and the files of their ports. ConvertError."""
    reading = Reading(links)
    for file, text in files.items():
        settings = reading.settings(file, assignments(file, text, NEEDED, reading.note))
        if settings.peek("TYPE") == "Bond" or "BONDING_OPTS" in settings or truth(settings.peek("BONDING_MASTER")):
            options = options_of(settings.take("BONDING_OPTS") or "", f"{file}: BONDING_OPTS")
            settings.take_if("TYPE", ("bond", "ethernet"))
            settings.take_if("BONDING_MASTER", YES)
            device: Bond | FoundTeam = Bond(_device(reading, settings), options, extra=settings.take_address("MACADDR"))
        elif settings.peek("DEVICETYPE") == "Team" or "TEAM_CONFIG" in settings or settings.peek("TYPE") == "Team":
            settings.take_if("DEVICETYPE", ("team",))
            settings.take_if("TYPE", ("team", "ethernet"))
            name = _device(reading, settings)
            device = team = team_of(name, settings.take("TEAM_CONFIG") or "", f"{file}: TEAM_CONFIG")
            team.tree |= settings.take_address("MACADDR")
        else:
            _port(reading, settings)
            continue
        reading.device(device, file, settings.take("UUID"), settings.peek("NAME"))
    return reading


def _port(reading: Reading, settings: Settings) -> None:
    """Add a port; of a file that has nothing to do with a bond or team every setting is told."""
    place = settings.place
    masters = [name for name in MASTERS if (settings.peek(name) or "").strip()]
    if not masters:
        return
    text = settings.take("TEAM_PORT_CONFIG")
    tree = tree_of(text, f"{place}: TEAM_PORT_CONFIG") if text and text.strip() else {}
    settings.take_if("SLAVE", YES)
    settings.take_if("DEVICETYPE", ("teamport",))
    settings.take_if("TYPE", ("ethernet",))
    queue = re.fullmatch(r"queue_id=(\d+)", (settings.peek("BONDING_SLAVE_OPTS") or "").strip())
    if queue:
        settings.take("BONDING_SLAVE_OPTS")
    port = _device(reading, settings)
    for name in masters:  # all of them mean the same device, or it is refused
        tree |= {"queue_id": int(queue[1])} if queue else {}
        reading.port(port, settings.take(name) or "", place, tree, sure=name == masters[0])


def _device(reading: Reading, settings: Settings) -> str:
    name, address = settings.take("DEVICE"), settings.peek("HWADDR")
    if name:
        return name
    if address:
        settings.take("HWADDR")
        return reading.by_address(address, settings.place)
    raise ConvertError(f"{settings.place}: has neither DEVICE nor HWADDR, so nobody knows which link it is about")


def write_ifcfg(bond: Bond) -> Files:
    """A file for the bond and one for each port."""
    options = " ".join(f"{name}={value}" for name, value in bond.options.items())
    name = quoted(bond.name)
    lines = [f"DEVICE={name}", "TYPE=Bond", "BONDING_MASTER=yes", f"BONDING_OPTS={in_double(options)}", "ONBOOT=yes"]
    if address := bond.extra.get("hwaddr"):
        lines.append(f"MACADDR={address}")
    files = {f"ifcfg-{bond.name}": "\n".join(lines) + "\n"}
    for port in bond.ports:
        files[f"ifcfg-{port}"] = f"DEVICE={quoted(port)}\nTYPE=Ethernet\nMASTER={name}\nSLAVE=yes\nONBOOT=yes\n"
    return files


def write_ifcfg_team(team: FoundTeam) -> Files:
    """The same for a team, for network scripts and NetworkManager."""
    config, name = quoted(json.dumps(team.tree)), quoted(team.name)
    files = {f"ifcfg-{team.name}": f"DEVICE={name}\nDEVICETYPE=Team\nTEAM_CONFIG={config}\nONBOOT=yes\n"}
    for port, tree in team.ports.items():
        own = f"TEAM_PORT_CONFIG={quoted(json.dumps(tree))}\n" if tree else ""
        files[f"ifcfg-{port}"] = f"DEVICE={quoted(port)}\nDEVICETYPE=TeamPort\nTEAM_MASTER={name}\n{own}ONBOOT=yes\n"
    return files


# -- SUSE --------------------------------------------------------------------------------------------------------------

TEAM_SETTINGS: dict[str, str] = {
    "TEAM_RUNNER": "runner.name",
    "TEAM_DEBUG_LEVEL": "debug_level",
    "TEAM_NOTIFY_PEERS_COUNT": "notify_peers.count",
    "TEAM_NOTIFY_PEERS_INTERVAL": "notify_peers.interval",
    "TEAM_MCAST_REJOIN_COUNT": "mcast_rejoin.count",
    "TEAM_MCAST_REJOIN_INTERVAL": "mcast_rejoin.interval",
    "TEAM_AB_HWADDR_POLICY": "runner.hwaddr_policy",
    "TEAM_LB_TX_HASH": "runner.tx_hash",
    "TEAM_LB_TX_BALANCER_NAME": "runner.tx_balancer.name",
    "TEAM_LB_TX_BALANCER_INTERVAL": "runner.tx_balancer.balancing_interval",
    "TEAM_LACP_ACTIVE": "runner.active",
    "TEAM_LACP_SYS_PRIO": "runner.sys_prio",
    "TEAM_LACP_FAST_RATE": "runner.fast_rate",
    "TEAM_LACP_MIN_PORTS": "runner.min_ports",
    "TEAM_LACP_SELECT_POLICY": "runner.agg_select_policy",
    "TEAM_LACP_TX_HASH": "runner.tx_hash",
    "TEAM_LACP_TX_BALANCER": "runner.tx_balancer.name",
    "TEAM_LACP_TX_BALANCER_NAME": "runner.tx_balancer.name",
    "TEAM_LACP_TX_BALANCER_INTERVAL": "runner.tx_balancer.balancing_interval",
}
"""Setting of wicked → key of the team, as in ifcfg-team(5) and the program."""
PORT_SETTINGS = ("queue_id", "prio", "sticky", "lacp_prio", "lacp_key")
WATCH_SETTINGS = {
    "ethtool": ("delay_up", "delay_down"),
    "arp_ping": (
        *("source_host", "target_host", "interval", "init_wait", "validate_active", "validate_inactive"),
        *("send_always", "missed_max", "vlanid"),
    ),
    "nsna_ping": ("target_host", "interval", "init_wait", "missed_max"),
}
_LISTS = frozenset({"runner.tx_hash"})


def read_wicked(files: Mapping[str, str], links: NameOfAddress) -> Reading:
    """SUSE's ifcfg-bond0 (BONDING_SLAVE_0, BONDING_MODULE_OPTS) and ifcfg-team0 (TEAM_RUNNER, TEAM_PORT_DEVICE_0). ConvertError."""
    reading = Reading(links)
    for file, text in files.items():
        if text.lstrip().startswith("<"):
            raise ConvertError(f"{file}: this is wicked's XML; its ifcfg files are read, in /etc/sysconfig/network")
        settings = reading.settings(file, assignments(file, text, NEEDED, reading.note))
        name = file.rpartition("ifcfg-")[2]
        if truth(settings.peek("BONDING_MASTER")):
            settings.take_if("BONDING_MASTER", YES)
            options = options_of(settings.take("BONDING_MODULE_OPTS") or "", f"{file}: BONDING_MODULE_OPTS")
            bond = Bond(name, options, extra=settings.take_address("LLADDR"))
            reading.device(bond, file)
            for setting in _in_order(settings, r"BONDING_SLAVE_?(\w+)"):
                if port := settings.take(setting):
                    reading.port(port, name, file)
        elif "TEAM_RUNNER" in settings:
            team = FoundTeam(name, _team_tree(settings) | settings.take_address("LLADDR"))
            reading.device(team, file)
            for setting in _in_order(settings, r"TEAM_PORT_DEVICE(\w*)"):
                suffix = setting.removeprefix("TEAM_PORT_DEVICE")
                if port := settings.take(setting):
                    tree = _taken(settings, {key: f"TEAM_PORT_{key.upper()}{suffix}" for key in PORT_SETTINGS})
                    reading.port(port, name, file, tree)
    return reading


def _in_order(settings: Settings, pattern: str) -> list[str]:
    """Settings of a pattern by the number in their names."""
    found = settings.matching(pattern)
    return sorted(found, key=lambda name: (len(found[name][1]), found[name][1]))


def _team_tree(settings: Settings) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for setting, path in TEAM_SETTINGS.items():
        if (text := settings.take(setting)) is None:
            continue
        *parents, last = path.split(".")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = text.replace(",", " ").split() if path in _LISTS else _typed(text)
    watchers = []
    for setting in _in_order(settings, r"TEAM_LW_NAME(\w*)"):
        kind, suffix = settings.take(setting) or "", setting.removeprefix("TEAM_LW_NAME")
        names = {key: f"TEAM_LW_{kind.upper()}_{key.upper()}{suffix}" for key in WATCH_SETTINGS.get(kind, ())}
        watchers.append({"name": kind, **_taken(settings, names)})
    if watchers:
        tree["link_watch"] = watchers if len(watchers) > 1 else watchers[0]
    return tree


def _taken(settings: Settings, names: Mapping[str, str]) -> dict[str, Any]:
    return {key: _typed(text) for key, name in names.items() if (text := settings.take(name)) is not None}


def _typed(text: str) -> Any:
    """A number, a truth value or the text."""
    if re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    return {"yes": True, "true": True, "no": False, "false": False}.get(text.lower(), text)
