"""Debian's /etc/network/interfaces, with the options of ifenslave. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pyteamd.cli.convert.bonding import Bond, ConvertError
from pyteamd.cli.convert.ifcfg import Files
from pyteamd.cli.convert.reading import NameOfAddress, Reading, Settings, address_of, literal

OPTIONS = frozenset(
    {
        *("mode", "miimon", "updelay", "downdelay", "use_carrier", "arp_interval", "arp_ip_target", "arp_validate"),
        *("primary", "primary_reselect", "fail_over_mac", "lacp_rate", "ad_select", "xmit_hash_policy", "num_grat_arp"),
        *("num_unsol_na", "packets_per_slave", "tlb_dynamic_lb"),
    }
)
"""Options of the driver that Debian's ifenslave (2.13) writes: bond-NAME, with - for _. Others it passes over in silence."""
_STANZAS = re.compile(r"(auto|allow-[\w-]*|mapping|source|source-dir|source-directory|no-auto-down|no-scripts|rename)")
"""Words that begin a stanza; `autoconf` and the like are options."""
_PORTS = ("bond-slaves", "bond_slaves", "slaves", "bond-ports")
"""Settings that list a bond's ports; the first that is there counts."""
_BOND = (*_PORTS, "bond-mode", "bond_mode")
"""A stanza with one of these settings is a bond's: see ifenslave's if-pre-up.d script."""
_FORMER = {"ad-sys-priority": "ad_actor_sys_prio", "lacp-bypass-allow": "lacp_bypass_allow"}


def read_ifupdown(files: Mapping[str, str], links: NameOfAddress) -> Reading:
    """Stanzas with bond-slaves or bond-mode, and those with bond-master. ConvertError."""
    reading = Reading(links)
    bonds: dict[str, Bond] = {}
    primaries: dict[str, list[str]] = {}
    for file, text in files.items():
        for place, name, settings in _stanzas(reading, file, text):
            master = _bonding(settings, "master")
            if master is not None:
                reading.port(literal(name, place), master, place)
                for primary in (_bonding(settings, "primary") or "").split():
                    if primary not in primaries.setdefault(master, []):
                        primaries[master].append(primary)
            elif any(word in settings for word in _BOND):
                _bond(reading, bonds, place, name, settings)
    for bond, names in primaries.items():
        if bond in bonds:
            chosen = bonds[bond].options.setdefault("primary", names[0])
            for name in names:
                if name != chosen:
                    reading.note(f"{bond}: bond-primary {name}: {chosen} is used")
    return reading


def _bond(reading: Reading, bonds: dict[str, Bond], place: str, name: str, settings: Settings) -> None:
    """Add a bond. It may have a stanza for each address family, and these must agree."""
    ports = (settings.take(*_PORTS) or "").split()
    if ports[:1] in (["all"], ["glob"], ["regex"]):
        raise ConvertError(
            f"{place}: bond-slaves {' '.join(ports)}: which links that is is not written there; name them"
        )
    queues = [pair.partition(":")[::2] for pair in (_bonding(settings, "queue-id") or "").split()]
    options = _options(reading, place, settings)
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
    ports = [] if ports == ["none"] else ports
    for port in ports:
        found = [int(queue) for owner, queue in queues if owner == port and queue.isdecimal()]
        reading.port(literal(port, place), name, place, {"queue_id": found[-1]} if found else {})
    for port, queue in queues:
        if port not in ports or not queue.isdecimal():
            reading.note(
                f"{place}: bond-queue-id {port}:{queue} is no port of {name} here with a number; not converted"
            )


def _options(reading: Reading, place: str, settings: Settings) -> dict[str, str]:
    """The options of a bond's stanza, by the driver's names. ConvertError when two spellings of one differ."""
    options: dict[str, str] = {}
    for setting in settings.matching(r"bond[-_].*"):
        option = _bond_name(setting)
        value = " ".join((settings.peek(setting) or "").split())
        if option.endswith("_target"):
            value = value.replace(",", " ").replace(" ", ",")
        if options.setdefault(option, value) != value:
            raise ConvertError(
                f"{place}: {setting} is {value}, and {options[option]} in another spelling; keep one of them"
            )
        settings.take(setting)
    if len((options.get("primary") or "").split()) > 1:
        reading.note(f"{place}: bond-primary {options['primary']}: the first is used")
        options["primary"] = options["primary"].split()[0]
    return options


def _bond_name(setting: str) -> str:
    """The driver's name for a bond-… setting."""
    name = setting[len("bond-") :]
    return _FORMER.get(name, name.replace("-", "_"))


def _bonding(settings: Settings, word: str) -> str | None:
    return settings.take(*(spelling for spelling in settings.matching(rf"bond[-_]{word.replace('-', '[-_]')}")))


def _stanzas(reading: Reading, file: str, text: str) -> list[tuple[str, str, Settings]]:
    """Place, name of the interface and settings of each iface; what stands elsewhere is told. ConvertError."""
    found: list[tuple[str, str, dict[str, str]]] = []
    outside: list[str] = []
    mappings: list[tuple[str, dict[str, str]]] = []
    templates: set[str] = set()
    inside: dict[str, str] | None = None
    for number, line in _lines(text):
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        if word == "iface":
            kind, _, template = rest.partition(" inherits ")
            if not kind.split():
                raise ConvertError(f"{file}:{number}: iface without a name")
            name, *method = kind.split()
            inside = _inherited(found, template, f"{file}:{number}") if template else {}
            templates.add(template)
            found.append((f"{file}: iface {rest}", name, inside))
            if method[-1:] not in (["manual"], []):
                inside["method"] = method[-1]
        elif _STANZAS.fullmatch(word):
            inside = None
            outside.append(line)
            if word == "mapping":
                inside = {}
                mappings.append((f"{file}: {line}", inside))
        elif inside is None:
            raise ConvertError(f"{file}:{number}: {line[:60]!r} stands in no iface stanza")
        else:
            inside[word] = f"{inside[word]} {rest}" if word in inside else rest
    started = _outside(reading, file, outside)
    for place, values in mappings:
        reading.settings(place, values)
    return [
        (place, name, reading.settings(place, values))
        for place, name, values in found
        if name not in templates or name in started
    ]


def _outside(reading: Reading, file: str, lines: list[str]) -> set[str]:
    """Tell of what stands in no iface stanza; the names that it starts."""
    for line in lines:
        if line.startswith("source"):
            reading.note(f"{file}: {line}: the files that it names are not read; give them too")
    reading.settings(file, {line: "" for line in lines if not line.startswith("source")})
    return {name for line in lines if line.startswith(("auto", "allow-")) for name in line.split()[1:]}


def _inherited(found: list[tuple[str, str, dict[str, str]]], template: str, place: str) -> dict[str, str]:
    """The settings of the stanza that another one extends; ifupdown wants it to stand before. ConvertError."""
    for _, name, values in found:
        if name == template.strip():
            return {word: value for word, value in values.items() if word != "method"}
    raise ConvertError(f"{place}: inherits {template.strip()}, and no stanza before it has this name")


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
    if kept.strip():
        found.append((len(text.splitlines()), " ".join(kept.split())))
    return found


def write_ifupdown(bond: Bond) -> Files:
    """One file for /etc/network/interfaces.d."""
    for name in (bond.name, *bond.ports):
        literal(name, "ifupdown")
    lines = [f"auto {bond.name}", f"iface {bond.name} inet manual", f"    bond-slaves {' '.join(bond.ports) or 'none'}"]
    if "hwaddr" in bond.extra:
        lines.append(f"    hwaddress {bond.extra['hwaddr']}")
    for option, value in bond.options.items():
        word = f"bond-{option.replace('_', '-')}"
        text = value.replace(",", " ") if option == "arp_ip_target" else value
        lines.append(f"    {word} {text}" if option in OPTIONS else f"    # ifenslave has no word for {option}={value}")
    return {bond.name: "\n".join(lines) + "\n"}
