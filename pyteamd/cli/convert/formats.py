"""How bonds are written down: a line of options, ifcfg files, NetworkManager keyfiles, systemd-networkd, netplan. Text ↔ Bond, pure.

A format reads any number of files, of which some describe the bond and others its ports, and writes a file per interface. All but the
bond and who its ports are (addresses, for instance) is left alone: it is not the team's configuration either.
"""

from __future__ import annotations

import configparser
import io
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pyteamd.cli.convert.bonding import Bond, ConvertError

NETWORKD = {
    "Mode": "mode",
    "TransmitHashPolicy": "xmit_hash_policy",
    "LACPTransmitRate": "lacp_rate",
    "MIIMonitorSec": "miimon",
    "UpDelaySec": "updelay",
    "DownDelaySec": "downdelay",
    "AdSelect": "ad_select",
    "AdActorSystemPriority": "ad_actor_sys_prio",
    "FailOverMACPolicy": "fail_over_mac",
    "ARPValidate": "arp_validate",
    "ARPIntervalSec": "arp_interval",
    "ARPIPTargets": "arp_ip_target",
    "ARPAllTargets": "arp_all_targets",
    "ARPMissedMax": "arp_missed_max",
    "PrimaryReselectPolicy": "primary_reselect",
    "ResendIGMP": "resend_igmp",
    "GratuitousARP": "num_grat_arp",
    "MinLinks": "min_links",
}
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
TIMES = frozenset({"miimon", "updelay", "downdelay", "arp_interval"})
"""Milliseconds in the driver; networkd and netplan take units."""
_UNITS = {"": 1000.0, "s": 1000.0, "sec": 1000.0, "ms": 1.0, "msec": 1.0, "us": 0.001, "min": 60_000.0}
_DIGITS_MAX = 20
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)\Z")

Files = dict[str, str]
"""Name of a file → its text."""


@dataclass(frozen=True, slots=True)
class Format:
    """A way to write a bond down."""

    help: str
    read: Callable[[Mapping[str, str]], Bond]
    write: Callable[[Bond], Files]
    mode: int = 0o644
    """Permissions of the files."""
    options: frozenset[str] | None = None
    """The options that it can express; None: all."""

    def left_out(self, bond: Bond) -> list[str]:
        """One sentence for each of the bond's options that cannot be written down so."""
        known = bond.options.keys() if self.options is None else self.options
        return [
            f"{name}={value}: this format has no word for it"
            for name, value in bond.options.items()
            if name not in known
        ]


def read_options(files: Mapping[str, str]) -> Bond:
    """`mode=1 miimon=100`, as for the module or in BONDING_OPTS. ConvertError."""
    bond = Bond()
    for text in files.values():
        bond.options |= _words(text)
    return bond


def write_options(bond: Bond) -> Files:
    """One line."""
    return {bond.name: " ".join(f"{name}={value}" for name, value in bond.options.items()) + "\n"}


def _words(text: str) -> dict[str, str]:
    found = {}
    for word in text.replace("options bonding", "").split():
        name, sign, value = word.partition("=")
        if not sign:
            raise ConvertError(f"{word!r} is not NAME=VALUE")
        found[name] = value
    return found


# -- ifcfg -------------------------------------------------------------------------------------------------------------


def read_ifcfg(files: Mapping[str, str]) -> Bond:
    """ifcfg-bond0 and the files of its ports. ConvertError."""
    bond = Bond()
    found = False
    for name, text in files.items():
        try:
            settings = dict(word.split("=", 1) for word in shlex.split(text, comments=True) if "=" in word)
        except ValueError as error:
            raise ConvertError(f"{name}: {error}") from None
        device = settings.get("DEVICE") or name.rpartition("ifcfg-")[2]
        if "BONDING_OPTS" in settings or settings.get("TYPE") == "Bond":
            bond.name, found = device, True
            bond.options = _words(settings.get("BONDING_OPTS", ""))
        elif "MASTER" in settings:
            bond.ports.append(device)
    return _found(bond, found, "no file has BONDING_OPTS")


def write_ifcfg(bond: Bond) -> Files:
    """A file for the bond and one for each port."""
    options = " ".join(f"{name}={value}" for name, value in bond.options.items())
    files = {
        f"ifcfg-{bond.name}": f'DEVICE={bond.name}\nTYPE=Bond\nBONDING_MASTER=yes\nBONDING_OPTS="{options}"\nONBOOT=yes\n'
    }
    for port in bond.ports:
        files[f"ifcfg-{port}"] = f"DEVICE={port}\nTYPE=Ethernet\nMASTER={bond.name}\nSLAVE=yes\nONBOOT=yes\n"
    return files


# -- keyfiles and units ------------------------------------------------------------------------------------------------


def _ini(name: str, text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(
        delimiters=("=",), comment_prefixes=("#", ";"), interpolation=None, strict=False, allow_no_value=True
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ConvertError(f"{name}: {str(error).splitlines()[0]}") from None
    return parser


def read_keyfile(files: Mapping[str, str]) -> Bond:
    """NetworkManager's connection of the bond and those of its ports. ConvertError."""
    bond = Bond()
    found = False
    for name, text in files.items():
        parser = _ini(name, text)
        connection = parser["connection"] if parser.has_section("connection") else {}
        device = connection.get("interface-name", "")
        if connection.get("type") == "bond":
            bond.name, found = device or bond.name, True
            bond.options = dict(parser["bond"]) if parser.has_section("bond") else {}
        elif "bond" in (connection.get("slave-type"), connection.get("port-type")):
            bond.ports.append(device or str(connection.get("id", "")))
    return _found(bond, found, "no connection of type bond")


def write_keyfile(bond: Bond) -> Files:
    """A connection for the bond and one for each port."""
    options = "".join(f"{name}={value}\n" for name, value in bond.options.items())
    files = {
        f"{bond.name}.nmconnection": f"[connection]\nid={bond.name}\ntype=bond\ninterface-name={bond.name}\n\n[bond]\n{options}"
    }
    for port in bond.ports:
        files[f"{port}.nmconnection"] = (
            f"[connection]\nid={port}\ntype=ethernet\ninterface-name={port}\nmaster={bond.name}\nslave-type=bond\n"
        )
    return files


def read_networkd(files: Mapping[str, str]) -> Bond:
    """A .netdev and the .network files of its ports. ConvertError."""
    bond = Bond()
    found = False
    for name, text in files.items():
        parser = _ini(name, text)
        if parser.has_section("NetDev") and parser["NetDev"].get("Kind") == "bond":
            bond.name, found = parser["NetDev"].get("Name", bond.name), True
            section = parser["Bond"] if parser.has_section("Bond") else {}
            for key, value in section.items():
                option = NETWORKD.get(key, key)
                bond.options[option] = _from_unit(option, value, 1000.0)
        elif parser.has_section("Network") and "Bond" in parser["Network"]:
            port = parser["Match"].get("Name", name) if parser.has_section("Match") else name
            bond.ports.append(port)
            if parser["Network"].get("PrimarySlave") in ("yes", "true", "1"):
                bond.options["primary"] = port
    return _found(bond, found, "no .netdev of kind bond")


def write_networkd(bond: Bond) -> Files:
    """A .netdev and a .network for each port."""
    back = {option: key for key, option in NETWORKD.items()}
    lines = []
    for option, value in bond.options.items():
        if option == "primary":
            continue
        text = f"{value}ms" if option in TIMES else value.replace(",", " ")
        lines.append(f"{back[option]}={text}" if option in back else f"# networkd has no setting for {option}={value}")
    body = "".join(f"{line}\n" for line in lines)
    files = {f"{bond.name}.netdev": f"[NetDev]\nName={bond.name}\nKind=bond\n\n[Bond]\n{body}"}
    for port in bond.ports:
        primary = "PrimarySlave=yes\n" if bond.options.get("primary") == port else ""
        files[f"{port}.network"] = f"[Match]\nName={port}\n\n[Network]\nBond={bond.name}\n{primary}"
    return files


# -- netplan -----------------------------------------------------------------------------------------------------------


def read_netplan(files: Mapping[str, str]) -> Bond:
    """The first bond of a netplan file. ConvertError."""
    import yaml

    for name, text in files.items():
        try:
            tree = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConvertError(f"{name}: {str(error).splitlines()[0]}") from None
        bonds = _below(_below(tree, "network"), "bonds")
        for device, bond in bonds.items():
            made = Bond(str(device), {}, [str(port) for port in _below_list(bond, "interfaces")])
            for key, value in _below(bond, "parameters").items():
                option = NETPLAN.get(str(key), str(key))
                text = ",".join(str(part) for part in value) if isinstance(value, list) else _plain(value)
                made.options[option] = _from_unit(option, text, 1.0)
            return made
    raise ConvertError("no file has network.bonds")


def write_netplan(bond: Bond) -> Files:
    """One file."""
    back = {option: key for key, option in NETPLAN.items()}
    lines = ["network:", "  version: 2", "  ethernets:"]
    lines += [f"    {port}: {{}}" for port in bond.ports] or ["    {}"]
    lines += ["  bonds:", f"    {bond.name}:", f"      interfaces: [{', '.join(bond.ports)}]", "      parameters:"]
    for option, value in bond.options.items():
        text = f"[{value.replace(',', ', ')}]" if option == "arp_ip_target" else value
        known = option in back
        lines.append(
            f"        {back[option]}: {text}" if known else f"        # netplan has no key for {option}: {value}"
        )
    return {f"{bond.name}.yaml": "\n".join(lines) + "\n"}


def _below(tree: Any, key: str) -> dict[Any, Any]:
    found = tree.get(key) if isinstance(tree, dict) else None
    return found if isinstance(found, dict) else {}


def _below_list(tree: Any, key: str) -> list[Any]:
    found = tree.get(key) if isinstance(tree, dict) else None
    return found if isinstance(found, list) else []


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# -- all of them -------------------------------------------------------------------------------------------------------


def _found(bond: Bond, found: bool, otherwise: str) -> Bond:
    if not found:
        raise ConvertError(otherwise)
    return bond


def _from_unit(option: str, value: str, bare_ms: float) -> str:
    """A value as the driver takes it; times in milliseconds. A bare number is worth `bare_ms`."""
    if option not in TIMES:
        return value.replace(" ", ",") if option == "arp_ip_target" else value
    match = _TIME.match(value.strip().lower())
    if match is None or match[2] not in _UNITS:
        raise ConvertError(f"{option}: {value!r} is no time; for instance 100ms")
    if len(match[1]) > _DIGITS_MAX:
        raise ConvertError(f"{option}: {value!r} is longer than any time the driver takes")
    return str(round(float(match[1]) * (_UNITS[match[2]] if match[2] else bare_ms)))


def joined(files: Files) -> str:
    """Several files as one text; a line with the name goes before each unless there is only one."""
    if len(files) == 1:
        return next(iter(files.values()))
    out = io.StringIO()
    for name, text in files.items():
        out.write(f"# ---- {name}\n{text}")
    return out.getvalue()


FORMATS: dict[str, Format] = {
    "bonding": Format("options of the bonding driver, mode=1 miimon=100 …", read_options, write_options),
    "ifcfg": Format("ifcfg files of network scripts", read_ifcfg, write_ifcfg),
    "keyfile": Format("NetworkManager's .nmconnection files", read_keyfile, write_keyfile, 0o600),
    "networkd": Format(
        "systemd-networkd's .netdev and .network files",
        read_networkd,
        write_networkd,
        options=frozenset({*NETWORKD.values(), "primary"}),
    ),
    "netplan": Format("netplan's YAML", read_netplan, write_netplan, 0o600, frozenset(NETPLAN.values())),
}
