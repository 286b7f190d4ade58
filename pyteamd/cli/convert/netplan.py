"""netplan's YAML. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from pyteamd.cli.convert.bonding import Bond, ConvertError, back
from pyteamd.cli.convert.ifcfg import Files
from pyteamd.cli.convert.reading import (
    NameOfAddress,
    Reading,
    address_of,
    flattened,
    in_yaml,
    literal,
    mapping_in,
    names_in,
    plain,
    trees_of_yaml,
)
from pyteamd.cli.convert.times import milliseconds

NETPLAN = {
    "mode": "mode",
    "transmit-hash-policy": "xmit_hash_policy",
    "lacp-rate": "lacp_rate",
    "mii-monitor-interval": "miimon",
    "up-delay": "updelay",
    "down-delay": "downdelay",
    "ad-select": "ad_select",
    "fail-over-mac-policy": "fail_over_mac",
    "arp-validate": "arp_validate",
    "arp-interval": "arp_interval",
    "arp-ip-targets": "arp_ip_target",
    "arp-all-targets": "arp_all_targets",
    "primary-reselect-policy": "primary_reselect",
    "resend-igmp": "resend_igmp",
    "gratuitous-arp": "num_grat_arp",
    "min-links": "min_links",
    "primary": "primary",
}
"""Key of netplan ↔ option of the driver."""
OPTIONS = frozenset(NETPLAN.values())
_ALIASES = {"gratuitious-arp": "gratuitous-arp"}


def read_netplan(files: Mapping[str, str], links: NameOfAddress) -> Reading:
    """Every bond of the files, which are one configuration, as netplan takes them. ConvertError."""
    reading = Reading(links)
    network: dict[str, Any] = {}
    for name, tree in trees_of_yaml(reading, _in_order(files), lambda tree: "network" in tree):
        _merge(reading, name, network, mapping_in(tree.pop("network"), f"{name}: network"))
        reading.settings(name, flattened(tree))
    place = ", ".join(files)
    bonds = mapping_in(network.pop("bonds", None), f"{place}: bonds")
    if network.get("version") == 2:
        del network["version"]
    names = {kind: _names(reading, place, network.get(kind)) for kind in ("ethernets", "wifis", "modems")}
    known = {key: name for kind in names.values() for key, name in kind.items()}
    for name, tree in bonds.items():
        _bond(reading, place, name, mapping_in(tree, f"{place}: bonds.{name}"), known, network)
    reading.settings(place, flattened(network))
    return reading


def _in_order(files: Mapping[str, str]) -> dict[str, str]:
    """As netplan reads them: by their names, whatever their directories. ConvertError for two of one name, of which it reads one."""
    names: dict[str, str] = {}
    for path in sorted(files, key=lambda path: PurePath(path).name):
        if (other := names.setdefault(PurePath(path).name, path)) != path:
            raise ConvertError(f"{other} and {path}: netplan reads only one of them; name that one")
    return {path: files[path] for path in names.values()}


def _merge(reading: Reading, file: str, into: dict[str, Any], tree: Mapping[str, Any], at: str = "") -> None:
    """As netplan joins its files: mappings key by key, lists one behind the other; what a later file replaces is told."""
    for key, value in tree.items():
        old = into.get(key)
        path = f"{at}.{key}" if at else str(key)
        if isinstance(old, dict) and isinstance(value, dict):
            _merge(reading, file, old, value, path)
        elif isinstance(old, list) and isinstance(value, list):
            into[key] = old + [part for part in value if part not in old]
        else:
            if old not in (None, value):
                reading.note(f"{file}: {path} replaces {plain(old)} of an earlier file")
            into[key] = value


def _bond(
    reading: Reading, place: str, name: str, tree: dict[str, Any], known: Mapping[str, Any], network: dict[str, Any]
) -> None:
    parameters = mapping_in(tree.pop("parameters", None), f"{place}: bonds.{name}.parameters")
    interfaces = names_in(tree.pop("interfaces", None), f"{place}: bonds.{name}.interfaces")
    extra = address_of(str(tree.get("macaddress", "")))
    if extra:
        del tree["macaddress"]
    bond = Bond(name, extra=extra)
    rest = reading.settings(f"{place}: bonds.{name}.parameters", {k: _listed(v) for k, v in parameters.items()})
    for key, option in NETPLAN.items():
        names = [key, *[alias for alias, meant in _ALIASES.items() if meant == key]]
        if (value := rest.take(*names)) is not None:
            bond.options[option] = milliseconds(option, value, 1.0)
    if primary := bond.options.get("primary"):
        bond.options["primary"] = _known(primary, known)
    reading.settings(f"{place}: bonds.{name}", flattened(tree))
    reading.device(bond, f"{place}: bonds.{name}")
    for port in interfaces:
        reading.port(_known(port, known), name, f"{place}: bonds.{name}")
        _use_name(network.get("ethernets"), port)


def _use_name(ethernets: Any, port: Any) -> None:
    """Drop the keys that only say which link a port is: they have been used, and need no note."""
    tree = ethernets.get(port) if isinstance(ethernets, dict) else None
    match = tree.get("match") if isinstance(tree, dict) else None
    if isinstance(tree, dict) and tree.pop("set-name", None) is None and isinstance(match, dict):
        match.pop("name" if "name" in match else "macaddress", None)
        if not match:
            del tree["match"]
    if isinstance(ethernets, dict) and not tree:
        ethernets.pop(port, None)


def _known(port: str, known: Mapping[str, Any]) -> str:
    name = known.get(port, port)
    if isinstance(name, ConvertError):
        raise name
    return str(name)


def _names(reading: Reading, place: str, kind: Any) -> dict[str, str | ConvertError]:
    """Key of a link → its name, or the error where it is unknown, which is raised only for ports."""
    found: dict[str, str | ConvertError] = {}
    for key, tree in kind.items() if isinstance(kind, dict) else ():
        match = tree.get("match") if isinstance(tree, dict) else None
        if not isinstance(match, dict):
            found[str(key)] = str(key)
            continue
        here = f"{place}: {key}"
        try:
            if new := tree.get("set-name"):
                found[str(key)] = str(new)
            elif "name" in match:
                found[str(key)] = literal(str(match["name"]), f"{here}.match.name")
            elif "macaddress" in match:
                found[str(key)] = reading.by_address(str(match["macaddress"]), here)
            else:
                raise ConvertError(f"{here}: match has neither name nor macaddress, so nobody knows which link it is")
        except ConvertError as error:
            found[str(key)] = error
    return found


def _listed(value: Any) -> str:
    return ",".join(str(part) for part in value) if isinstance(value, list) else plain(value)


def write_netplan(bond: Bond) -> Files:
    """One file."""
    keys = back(NETPLAN)
    lines = ["network:", "  version: 2", "  ethernets:"]
    lines += [f"    {in_yaml(port)}: {{}}" for port in bond.ports] or ["    {}"]
    lines += ["  bonds:", f"    {in_yaml(bond.name)}:", f"      interfaces: [{', '.join(map(in_yaml, bond.ports))}]"]
    if "hwaddr" in bond.extra:
        lines.append(f'      macaddress: "{bond.extra["hwaddr"]}"')
    lines.append("      parameters:")
    for option, value in bond.options.items():
        text = f"[{value.replace(',', ', ')}]" if option == "arp_ip_target" else value
        text = in_yaml(value) if option == "primary" else text
        known = option in keys
        lines.append(
            f"        {keys[option]}: {text}" if known else f"        # netplan has no key for {option}: {value}"
        )
    return {f"{bond.name}.yaml": "\n".join(lines) + "\n"}
