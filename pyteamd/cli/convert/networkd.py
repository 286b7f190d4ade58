"""systemd-networkd's .netdev, .network and .link files. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from pyteamd.cli.convert.bonding import Bond, ConvertError, back
from pyteamd.cli.convert.ifcfg import Files
from pyteamd.cli.convert.ini import read_ini
from pyteamd.cli.convert.reading import NameOfAddress, Reading, Settings, literal, normal, truth
from pyteamd.cli.convert.times import TIMES, milliseconds

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
"""Setting of networkd ↔ option of the driver."""
OPTIONS = frozenset({*NETWORKD.values(), "primary"})
_ALIASES = {"GratuitiousARP": "GratuitousARP"}
_ONE = {*NETWORKD, "Kind", "Bond", "PrimarySlave"} - {"ARPIPTargets"}
"""Settings of which the last counts."""
_MATCH = ("Name", "OriginalName")
_ADDRESSES = ("PermanentMACAddress", "MACAddress")


def read_networkd(files: Mapping[str, str], links: NameOfAddress) -> Reading:
    """Each .netdev of kind bond and the .network files of the ports; .link files say what links of an address are called. ConvertError."""
    reading = Reading(links)
    parsed = {file: _sections(reading, parts) for file, parts in _with_drop_ins(files).items()}
    for sections in parsed.values():
        name, match = sections.get("Link", {}).get("Name"), sections.get("Match", {})
        addresses = " ".join(match.get(key, "") for key in _ADDRESSES)
        if name:
            reading.links |= {normal(address): name for address in addresses.split()}
    for file, sections in parsed.items():
        places = {name: reading.settings(f"{file}: [{name}]", values) for name, values in sections.items()}
        if "NetDev" in places and places["NetDev"].peek("Kind") == "bond":
            _bond(reading, file, places)
        elif "Network" in places and "Bond" in places["Network"]:
            _ports(reading, file, places)
    return reading


def _with_drop_ins(files: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Each file, and behind it those that add to it, as networkd reads them (NAME.d/*.conf). ConvertError for one that adds to nothing."""
    found = {name: {name: text} for name, text in files.items() if not _directory(name)}
    for name in sorted((name for name in files if _directory(name)), key=lambda name: PurePath(name).name):
        of = [main for main in found if _directory(name) in _drop_ins_of(PurePath(main).name)]
        if not of:
            raise ConvertError(f"{name} adds to {_directory(name).removesuffix('.d')}, which is not among the files")
        for main in of:
            found[main][name] = files[name]
    return found


def _directory(name: str) -> str:
    """The directory of a drop-in; "" for another file."""
    path = PurePath(name)
    return path.parent.name if path.suffix == ".conf" and path.parent.suffix == ".d" else ""


def _drop_ins_of(name: str) -> set[str]:
    """Directories whose files add to this one: for a-b.network a-b.network.d and a-.network.d."""
    stem, dot, kind = name.rpartition(".")
    parts = stem.split("-")
    return {f"{name}.d", *(f"{'-'.join(parts[:count])}-{dot}{kind}.d" for count in range(1, len(parts)))}


def _sections(reading: Reading, files: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Each section with its settings. Values of a repeated one are joined by blanks, of one in _ONE the last counts; "" empties it."""
    found: dict[str, dict[str, str]] = {}
    for file, text in files.items():
        for name, values in read_ini(file, text, joined_lines=True):
            section = found.setdefault(name, {})
            for key, value in values:
                old = section.get(key, "")
                if old and old != value and (key in _ONE or not value):
                    reading.note(f"{file}: [{name}] {key} stands again; {old} is not used")
                section[key] = f"{old} {value}" if value and old and key not in _ONE else value
    return found


def _bond(reading: Reading, file: str, places: Mapping[str, Settings]) -> None:
    netdev = places["NetDev"]
    name = netdev.take("Name")
    netdev.take("Kind")
    if not name:
        raise ConvertError(f"{file}: [NetDev] has no Name")
    bond = Bond(name, extra=netdev.take_address("MACAddress"))
    if own := places.get("Bond"):
        for key, option in NETWORKD.items():
            names = [key, *[alias for alias, meant in _ALIASES.items() if meant == key]]
            if value := own.take(*names):
                bond.options[option] = milliseconds(option, value, 1000.0)
    reading.device(bond, file)


def _ports(reading: Reading, file: str, places: Mapping[str, Settings]) -> None:
    network = places["Network"]
    bond, primary = network.take("Bond") or "", truth(network.take("PrimarySlave"))
    for port in _names(reading, file, places.get("Match")):
        reading.port(port, bond, file, primary=primary)


def _names(reading: Reading, file: str, match: Settings | None) -> list[str]:
    """The names of the links that a [Match] selects. ConvertError when it selects by something else."""
    if match is not None and (names := (match.take(*_MATCH) or "").split()):
        return [literal(name, f"{file}: [Match] Name") for name in names]
    if match is not None and (addresses := (match.take(*_ADDRESSES) or "").split()):
        return [reading.by_address(address, f"{file}: [Match]") for address in addresses]
    raise ConvertError(f"{file}: [Match] has no Name, so nobody knows which link is the port")


def write_networkd(bond: Bond) -> Files:
    """A .netdev and a .network for each port."""
    keys = back(NETWORKD)
    lines = []
    for option, value in bond.options.items():
        if option == "primary":
            continue
        text = f"{value}ms" if option in TIMES else value.replace(",", " ")
        lines.append(f"{keys[option]}={text}" if option in keys else f"# networkd has no setting for {option}={value}")
    body = "".join(f"{line}\n" for line in lines)
    address = f"MACAddress={bond.extra['hwaddr']}\n" if "hwaddr" in bond.extra else ""
    files = {f"{bond.name}.netdev": f"[NetDev]\nName={bond.name}\nKind=bond\n{address}\n[Bond]\n{body}"}
    for port in bond.ports:
        literal(port, "networkd")
        primary = "PrimarySlave=yes\n" if bond.options.get("primary") == port else ""
        files[f"{port}.network"] = f"[Match]\nName={port}\n\n[Network]\nBond={bond.name}\n{primary}"
    return files
