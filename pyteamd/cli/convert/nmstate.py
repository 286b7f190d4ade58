"""nmstate's YAML: bonds, and the teams of its first major version. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from pyteamd.cli.convert.bonding import Bond, ConvertError
from pyteamd.cli.convert.ifcfg import Files
from pyteamd.cli.convert.reading import (
    FoundTeam,
    NameOfAddress,
    Reading,
    address_of,
    flattened,
    in_yaml,
    mapping_in,
    names_in,
    plain,
    trees_of_yaml,
)

_PORTS = ("port", "ports", "slaves")
"""Lists of a bond's ports: the word of today and the former ones."""
_PORT_KEYS = {"priority": "prio", "queue-id": "queue_id"}


def read_nmstate(files: Mapping[str, str], links: NameOfAddress) -> Reading:
    """Interfaces of type bond and team, also in a NodeNetworkConfigurationPolicy. ConvertError."""
    reading = Reading(links)
    interfaces: list[tuple[str, dict[str, Any]]] = []
    for file, document in trees_of_yaml(reading, files, lambda tree: bool(_states(tree))):
        for state in _states(document):
            for number, tree in enumerate(state.pop("interfaces")):
                if not isinstance(tree, dict) or not tree.get("name"):
                    raise ConvertError(f"{file}: interfaces[{number}] has no name")
                interfaces.append((f"{file}: {tree['name']}", dict(tree)))
        reading.settings(file, flattened(_without_empty(document)))
    labels = {
        str(tree["name"]): name for place, tree in interfaces if (name := _named_by_address(reading, place, tree))
    }
    devices = {str(tree["name"]) for _, tree in interfaces if tree.get("type") in ("bond", "team")}
    for place, tree in interfaces:
        _interface(reading, place, tree, labels, devices)
    return reading


def _states(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """The states of a document: itself, that of a policy, those of a list of policies."""
    if isinstance(tree.get("interfaces"), list):
        return [tree]
    spec = tree.get("spec")
    state = spec.get("desiredState") if isinstance(spec, dict) else None
    if isinstance(state, dict):
        return _states(state)
    items = tree.get("items")
    return (
        [state for item in items if isinstance(item, dict) for state in _states(item)]
        if isinstance(items, list)
        else []
    )


def _without_empty(tree: dict[str, Any]) -> dict[str, Any]:
    """The document without mappings that are empty, because all that was in them was used."""
    found = {key: _without_empty(value) if isinstance(value, dict) else value for key, value in tree.items()}
    return {key: value for key, value in found.items() if value != {}}


def _named_by_address(reading: Reading, place: str, tree: dict[str, Any]) -> str:
    """The link that an interface stands for when its address says which; "" where its name does. ConvertError."""
    if tree.get("identifier") != "mac-address" or tree.get("type") in ("bond", "team"):
        return ""
    del tree["identifier"]
    return reading.by_address(str(tree.pop("mac-address", "")), place)


def _interface(
    reading: Reading, place: str, tree: dict[str, Any], labels: Mapping[str, str], devices: Collection[str]
) -> None:
    label, kind = str(tree.pop("name")), tree.get("type")
    name = labels.get(label, label)
    if tree.get("state") in ("absent", "down", "ignore"):
        reading.note(f"{place}: state {tree.pop('state')}: not converted")
        kind = ""
    if kind in ("bond", "team"):
        tree.pop("type")
        if tree.get("state") == "up":
            del tree["state"]
        extra = address_of(str(tree.get("mac-address", "")))
        if extra:
            del tree["mac-address"]
        key = "link-aggregation" if kind == "bond" else "team"
        own = mapping_in(tree.pop(key, None), f"{place}: {key}")
        device = _bond(place, name, own, extra, labels) if kind == "bond" else _team(place, name, own, extra, labels)
        reading.device(device, place)
        reading.settings(f"{place}: {kind}", flattened(own))
    elif str(tree.get("controller")) in devices:
        reading.port(name, str(tree.pop("controller")), place)
    if kind == "ethernet":
        for key, usual in (("type", "ethernet"), ("state", "up")):
            if tree.get(key) == usual:
                del tree[key]
    reading.settings(place, flattened(tree))


def _bond(place: str, name: str, own: dict[str, Any], extra: dict[str, Any], labels: Mapping[str, str]) -> Bond:
    bond = Bond(name, extra=extra)
    if mode := own.pop("mode", None):
        bond.options["mode"] = plain(mode)
    for key, value in mapping_in(own.pop("options", None), f"{place}: options").items():
        bond.options[key] = ",".join(str(part) for part in value) if isinstance(value, list) else _option(value)
    for word in _PORTS:
        for port in names_in(own.pop(word, None), f"{place}: {word}"):
            _join(bond.ports, labels.get(port, port))
    settings = own.pop("ports-config", None) or []
    for number, given in enumerate(settings if isinstance(settings, list) else [settings]):
        port_tree = mapping_in(given, f"{place}: ports-config")
        port = str(port_tree.pop("name", ""))
        if not port:
            raise ConvertError(f"{place}: ports-config[{number}] has no name")
        port = labels.get(port, port)
        _join(bond.ports, port)
        bond.port_trees[port] = {key: port_tree.pop(word) for word, key in _PORT_KEYS.items() if word in port_tree}
        own |= {f"ports-config.{port}": port_tree} if port_tree else {}
    return bond


def _join(ports: list[str], port: str) -> None:
    if port not in ports:
        ports.append(port)


def _option(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else plain(value)


def _team(place: str, name: str, own: dict[str, Any], extra: dict[str, Any], labels: Mapping[str, str]) -> FoundTeam:
    team = FoundTeam(name, extra)
    ports = own.pop("ports", None) or []
    for number, given in enumerate(ports if isinstance(ports, list) else [ports]):
        keys = {"name": given} if isinstance(given, str) else mapping_in(given, f"{place}: ports[{number}]")
        port = str(keys.pop("name", ""))
        if not port:
            raise ConvertError(f"{place}: ports[{number}] has no name")
        team.ports[labels.get(port, port)] = keys
    team.tree |= own
    own.clear()
    return team


def write_nmstate(bond: Bond) -> Files:
    """One state."""
    options = dict(bond.options)
    lines = ["interfaces:", f"- name: {in_yaml(bond.name)}", "  type: bond", "  state: up"]
    if "hwaddr" in bond.extra:
        lines.append(f'  mac-address: "{bond.extra["hwaddr"]}"')
    lines += ["  link-aggregation:", f"    mode: {options.pop('mode')}"]
    if options:
        lines.append("    options:")
        lines += [f"      {option}: {json.dumps(value)}" for option, value in options.items()]
    lines.append("    port:" if bond.ports else "    port: []")
    lines += [f"    - {in_yaml(port)}" for port in bond.ports]
    for port in bond.ports:
        lines += [f"- name: {in_yaml(port)}", "  type: ethernet", "  state: up"]
    return {f"{bond.name}.yml": "\n".join(lines) + "\n"}
