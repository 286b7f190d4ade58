"""Debian's /etc/network/interfaces, with the options of ifenslave. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from pyteamd.cli.convert.bonding import Bond, ConvertError
from pyteamd.cli.convert.ifcfg import Files
from pyteamd.cli.convert.reading import Links, Reading, Settings, address_of, literal

OPTIONS = frozenset(
    {
        *("mode", "miimon", "updelay", "downdelay", "use_carrier", "arp_interval", "arp_ip_target", "arp_validate"),
        *("primary", "primary_reselect", "fail_over_mac", "lacp_rate", "ad_select", "xmit_hash_policy", "num_grat_arp"),
        *("num_unsol_na", "min_links", "resend_igmp", "all_slaves_active", "packets_per_slave", "tlb_dynamic_lb"),
        *("ad_actor_sys_prio", "ad_actor_system", "ad_user_port_key", "lp_interval", "arp_all_targets"),
    }
)
"""Options of the driver that ifenslave has a word for: bond-NAME, with - for _."""
_STANZAS = ("auto", "allow-", "mapping", "source", "source-directory", "no-auto-down", "no-scripts", "rename")
_NO_PORTS = ("none",)
_PORTS = ("slaves", "ports")
_FORMER = {"ad-sys-priority": "ad_actor_sys_prio", "lacp-bypass-allow": "lacp_bypass_allow"}


def read_ifupdown(files: Mapping[str, str], links: Links) -> Reading:
    """Stanzas with bond-slaves or bond-mode, and those with bond-master. ConvertError."""
    reading = Reading(links)
    bonds: dict[str, Bond] = {}
    primaries: dict[str, list[str]] = {}
    for file, text in files.items():
        for place, name, settings in _stanzas(reading, file, text):
            master = _bonding(settings, "master")
            if master is not None:
                reading.port(literal(name, place), master, place)
                primaries.setdefault(master, []).extend((_bonding(settings, "primary") or "").split())
            elif any(_bond_name(setting) for setting in settings.matching(r"bond[-_].*")):
                _bond(reading, bonds, place, name, settings)
    for bond, names in primaries.items():
        if bond in bonds and names:
            bonds[bond].options.setdefault("primary", names[0])
    return reading


def _bond(reading: Reading, bonds: dict[str, Bond], place: str, name: str, settings: Settings) -> None:
    """The stanza of a bond; one for each family of addresses describes the same."""
    ports = [port for word in _PORTS for port in (_bonding(settings, word) or "").split()]
    options = {}
    for setting in settings.matching(r"bond[-_].*"):
        option = _bond_name(setting)
        value = (settings.take(setting) or "").strip()
        options[option] = ",".join(value.replace(",", " ").split()) if option.endswith("_target") else value
    if len((options.get("primary") or "").split()) > 1:
        reading.note(f"{place}: bond-primary {options['primary']}: the first is used")
        options["primary"] = options["primary"].split()[0]
    bond = bonds.get(name)
    if bond is None:
        bond = bonds[name] = Bond(name, options)
        reading.device(bond, place)
    elif any(bond.options.get(option, value) != value for option, value in options.items()):
        raise ConvertError(f"{place}: {name} has other options in another stanza; name only one of them")
    bond.options |= options
    if address := address_of((settings.peek("hwaddress") or "").removeprefix("ether").strip()):
        settings.take("hwaddress")
        bond.extra |= address
    for port in ports:
        if port not in _NO_PORTS:
            reading.port(literal(port, place), name, place)


def _bond_name(setting: str) -> str:
    """The driver's name for a bond-… setting."""
    name = setting[len("bond-") :]
    return _FORMER.get(name, name.replace("-", "_"))


def _bonding(settings: Settings, word: str) -> str | None:
    return settings.take(f"bond-{word}", f"bond_{word}")


def _stanzas(reading: Reading, file: str, text: str) -> list[tuple[str, str, Settings]]:
    """Place, name of the interface and settings of each iface; what stands elsewhere is told."""
    found: list[tuple[str, str, dict[str, str]]] = []
    outside: dict[str, str] = {}
    inside: dict[str, str] | None = None
    for number, line in _lines(text):
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        if word == "iface":
            name, _, kind = rest.partition(" ")
            if not name:
                raise ConvertError(f"{file}:{number}: iface without a name")
            inside = {}
            found.append((f"{file}: iface {rest}", name, inside))
            if kind.split()[-1:] not in (["manual"], []):
                inside["method"] = kind.split()[-1]
        elif word.startswith(_STANZAS):
            inside = None if word != "mapping" else {}
            outside[line] = ""
        elif inside is None:
            raise ConvertError(f"{file}:{number}: {line[:60]!r} stands in no iface stanza")
        else:
            inside[word] = f"{inside[word]} {rest}" if word in inside else rest
    reading.settings(
        file, {line: "" for line in outside if line.split()[0].startswith(("source", "mapping", "rename"))}
    )
    return [(place, name, reading.settings(place, values)) for place, name, values in found]


def _lines(text: str) -> list[tuple[int, str]]:
    """Lines without comments, joined where a backslash ends one, blanks single."""
    found: list[tuple[int, str]] = []
    kept = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not kept and line.lstrip().startswith("#"):
            continue
        if line.endswith("\\"):
            kept += line[:-1] + " "
            continue
        if joined := " ".join((kept + line).split()):
            found.append((number, joined))
        kept = ""
    return found


def write_ifupdown(bond: Bond) -> Files:
    """One file for /etc/network/interfaces.d."""
    lines = [f"auto {bond.name}", f"iface {bond.name} inet manual", f"    bond-slaves {' '.join(bond.ports) or 'none'}"]
    if "hwaddr" in bond.extra:
        lines.append(f"    hwaddress {bond.extra['hwaddr']}")
    for option, value in bond.options.items():
        word = f"bond-{option.replace('_', '-')}"
        text = value.replace(",", " ") if option == "arp_ip_target" else value
        lines.append(f"    {word} {text}" if option in OPTIONS else f"    # ifenslave has no word for {option}={value}")
    return {bond.name: "\n".join(lines) + "\n"}
