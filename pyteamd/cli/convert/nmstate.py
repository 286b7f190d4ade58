"""nmstate's YAML: bonds, and the teams of its first major version. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyteamd.cli.convert.bonding import Bond, ConvertError
from pyteamd.cli.convert.ifcfg import Files
from pyteamd.cli.convert.reading import Links, Reading, Team, address_of, flattened, plain, tree_of_yaml

_PORT_KEYS = {"priority": "prio", "queue-id": "queue_id"}


def read_nmstate(files: Mapping[str, str], links: Links) -> Reading:
    """Interfaces of type bond and team, also in a NodeNetworkConfigurationPolicy. ConvertError."""
    reading = Reading(links)
    for file, document in tree_of_yaml(files, lambda tree: tree if _state(tree) else None):
        rest = dict(_state(document) or {})
        outside = {key: value for key, value in document.items() if rest != document and key != "spec"}
        reading.settings(file, flattened(outside))
        for number, tree in enumerate(rest.pop("interfaces")):
            if not isinstance(tree, dict) or not tree.get("name"):
                raise ConvertError(f"{file}: interfaces[{number}] has no name")
            _interface(reading, f"{file}: {tree['name']}", dict(tree))
        reading.settings(file, flattened(rest))
    return reading


def _state(tree: Mapping[str, Any]) -> dict[str, Any] | None:
    spec = tree.get("spec")
    state = spec.get("desiredState") if isinstance(spec, dict) else tree
    return state if isinstance(state, dict) and isinstance(state.get("interfaces"), list) else None


def _interface(reading: Reading, place: str, tree: dict[str, Any]) -> None:
    name, kind = str(tree.pop("name")), tree.get("type")
    if tree.get("state") in ("absent", "down", "ignore"):
        reading.note(f"{place}: state {tree.pop('state')}: not converted")
        kind = ""
    if kind in ("bond", "team"):
        for key in ("type", "state"):
            tree.pop(key, None)
        extra = address_of(str(tree.get("mac-address", "")))
        if extra:
            del tree["mac-address"]
        own = dict(tree.pop("link-aggregation" if kind == "bond" else "team", None) or {})
        device = _bond(name, own, extra) if kind == "bond" else _team(name, own, extra)
        reading.device(device, place)
        reading.settings(f"{place}: {kind}", flattened(own))
    elif tree.get("type") == "ethernet" and (device_of := tree.get("controller")):
        tree.pop("controller")
        reading.port(name, str(device_of), place)
    if kind == "ethernet":
        for key, usual in (("type", "ethernet"), ("state", "up")):
            if tree.get(key) == usual:
                del tree[key]
    reading.settings(place, flattened(tree))


def _bond(name: str, own: dict[str, Any], extra: dict[str, Any]) -> Bond:
    bond = Bond(name, extra=extra)
    if mode := own.pop("mode", None):
        bond.options["mode"] = plain(mode)
    for key, value in (own.pop("options", None) or {}).items():
        text = ",".join(str(part) for part in value) if isinstance(value, list) else _option(value)
        bond.options[str(key)] = text
    for port in own.pop("port", None) or own.pop("slaves", None) or own.pop("ports", None) or []:
        bond.ports.append(str(port))
    own.pop("slaves", None)
    for port in own.pop("ports-config", None) or []:
        name = str(port.get("name", ""))
        if name not in bond.ports:
            bond.ports.append(name)
        bond.port_trees[name] = {_PORT_KEYS[key]: value for key, value in port.items() if key in _PORT_KEYS}
    return bond


def _option(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else plain(value)


def _team(name: str, own: dict[str, Any], extra: dict[str, Any]) -> Team:
    team = Team(name, extra)
    for port in own.pop("ports", None) or []:
        keys = dict(port) if isinstance(port, dict) else {"name": port}
        team.ports[str(keys.pop("name", ""))] = keys
    team.tree |= own
    own.clear()
    return team


def write_nmstate(bond: Bond) -> Files:
    """One state."""
    options = dict(bond.options)
    lines = ["interfaces:", f"- name: {bond.name}", "  type: bond", "  state: up"]
    if "hwaddr" in bond.extra:
        lines.append(f'  mac-address: "{bond.extra["hwaddr"]}"')
    lines += ["  link-aggregation:", f"    mode: {options.pop('mode')}"]
    if options:
        lines.append("    options:")
        lines += [f'      {option}: "{value}"' for option, value in options.items()]
    lines.append("    port:" if bond.ports else "    port: []")
    lines += [f"    - {port}" for port in bond.ports]
    for port in bond.ports:
        lines += [f"- name: {port}", "  type: ethernet", "  state: up"]
    return {f"{bond.name}.yml": "\n".join(lines) + "\n"}
