"""How bonds and teams are written down elsewhere: a row for each format. Text ↔ Bond or FoundTeam, pure.

A format reads any number of files, of which some describe devices and others their ports, and writes a file per interface. What hangs
on a device (addresses, for instance) is no part of a team's configuration either: it is told, not converted.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

from pyteamd.cli.convert import ifcfg, ifupdown, keyfile, netplan, networkd, nmstate
from pyteamd.cli.convert.bonding import Bond
from pyteamd.cli.convert.ifcfg import Files, options_of
from pyteamd.cli.convert.reading import FoundTeam, NameOfAddress, Reading
from pyteamd.values import dataclass


@dataclass(frozen=True, slots=True)
class Format:
    """One format: how it is read, and how it is written."""

    help: str
    reader: Callable[[Mapping[str, str], NameOfAddress], Reading]
    write: Callable[[Bond], Files] | None = None
    write_team: Callable[[FoundTeam], Files] | None = None
    mode: int = 0o644
    """Permissions of the files."""
    options: frozenset[str] | None = None
    """The options of a bond that the format has words for; None: all."""
    address: bool = True
    """Whether the format has a word for the device's hardware address."""

    def read(self, files: Mapping[str, str], links: NameOfAddress | None = None) -> Reading:
        """What the files describe. ConvertError."""
        return self.reader(files, links or {})

    def left_out(self, bond: Bond) -> list[str]:
        """One sentence for each of the bond's options that the format has no words for."""
        known = bond.options.keys() if self.options is None else self.options
        found = [
            f"{name}={value}: this format has no word for it"
            for name, value in bond.options.items()
            if name not in known
        ]
        if "hwaddr" in bond.extra and not self.address:
            found.append("hwaddr: set the address of the bond itself")
        return found


def read_options(files: Mapping[str, str], links: NameOfAddress) -> Reading:
    """`mode=1 miimon=100`, as for the module or in BONDING_OPTS. ConvertError."""
    reading = Reading(links)
    bond = Bond()
    for text in files.values():
        bond.options |= options_of(text)
    reading.device(bond, "options")
    return reading


def write_options(bond: Bond) -> Files:
    """One line."""
    return {bond.name: " ".join(f"{name}={value}" for name, value in bond.options.items()) + "\n"}


def joined(files: Files) -> str:
    """Several files as one text; a line with the name goes before each unless there is only one."""
    if len(files) == 1:
        return next(iter(files.values()))
    out = io.StringIO()
    for name, text in files.items():
        out.write(f"# ---- {name}\n{text}")
    return out.getvalue()


FORMATS: dict[str, Format] = {
    "bonding": Format("options of the bonding driver, mode=1 miimon=100 …", read_options, write_options, address=False),
    "ifcfg": Format("ifcfg files of network scripts", ifcfg.read_ifcfg, ifcfg.write_ifcfg, ifcfg.write_ifcfg_team),
    "keyfile": Format(
        "NetworkManager's .nmconnection files",
        keyfile.read_keyfile,
        keyfile.write_keyfile,
        keyfile.write_keyfile_team,
        mode=0o600,
    ),
    "networkd": Format(
        "systemd-networkd's .netdev, .network and .link files",
        networkd.read_networkd,
        networkd.write_networkd,
        options=networkd.OPTIONS,
    ),
    "netplan": Format(
        "netplan's YAML", netplan.read_netplan, netplan.write_netplan, mode=0o600, options=netplan.OPTIONS
    ),
    "ifupdown": Format(
        "/etc/network/interfaces with ifenslave's options",
        ifupdown.read_ifupdown,
        ifupdown.write_ifupdown,
        options=ifupdown.OPTIONS,
    ),
    "nmstate": Format("nmstate's YAML", nmstate.read_nmstate, nmstate.write_nmstate),
    "wicked": Format("SUSE's ifcfg files (read only)", ifcfg.read_wicked),
}
WRITABLE = [name for name, format in FORMATS.items() if format.write]
