"""What a reader makes of files: every bond and team with its ports, and a note for every setting that it did not use. Pure.

A reader hands over each place of a file (a section, a file, a node) as Settings, takes what it understands, says which device there is
and which link belongs to which, in any order. `devices()` then brings ports to their devices by name, UUID or alias, and refuses what is
ambiguous: two descriptions of one thing, a port whose device no file describes, a port whose name no file says. `notes()` tells what
was not taken; so nothing of a file is lost in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any

from pyteamd.cli.convert.bonding import Bond, ConvertError
from pyteamd.values import dataclass

NameOfAddress = Mapping[str, str]
"""Hardware address, in small letters → name of the link, for files that name ports by address alone."""

_SECRET = re.compile(r"passw|secret|psk|private|pin\b|\bkeys?\b|shared", re.IGNORECASE)
_OF_THE_DEVICE = re.compile(
    r"addr|prefix|netmask|network|gateway|broadcast|dns|domain|nameserver|route|dhcp|ip[46v]|bootproto|mtu|vlan|method|metric"
    r"|ntp|search|lladdr|link-local|accept-ra|hostname|dad|bridge|vrf",
    re.IGNORECASE,
)
_NO_NAMES = {"yes", "no", "true", "false", "on", "off", "y", "n", "null"}
"""Words that YAML takes for values."""
_GLOB = re.compile(r"[*?\[\]!|&]|^/")
_OCTETS = re.compile(r"(?:[0-9a-f]{2}([:-]?)){5}[0-9a-f]{2}|(?:[0-9a-f]{4}\.){2}[0-9a-f]{4}", re.IGNORECASE)
_NUMBERS = re.compile(r"(?:\d{1,3};){6}")
"""An address as an old keyfile has it: an array of octets."""


@dataclass(slots=True)
class FoundTeam:
    """A team: its configuration, ports included."""

    name: str
    tree: dict[str, Any] = field(default_factory=dict)
    ports: dict[str, dict[str, Any]] = field(default_factory=dict)


class Settings:
    """The settings of one place of a file. Readers take what they use; the rest becomes notes."""

    def __init__(self, place: str, values: Mapping[str, str]) -> None:
        self.place = place
        self._values = dict(values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def peek(self, name: str) -> str | None:
        """The value, which stays to be told."""
        return self._values.get(name)

    def take(self, *names: str) -> str | None:
        """The value of the first name that is there. The other names are used too if they have that value; if not, a note tells of them."""
        found = [name for name in names if name in self._values]
        if not found:
            return None
        value = self._values[found[0]]
        for name in found:
            if self._values[name] == value:
                del self._values[name]
        return value

    def take_if(self, name: str, values: Iterable[str]) -> None:
        """Take a setting that has one of these values (in any case), which need no note; another value gets one."""
        if (self._values.get(name) or "").lower() in values:
            self._values.pop(name, None)

    def take_address(self, name: str) -> dict[str, str]:
        """The team's key for this hardware address, if it is one; a word such as `random` gets a note."""
        found = address_of(self._values.get(name))
        if found:
            del self._values[name]
        return found

    def matching(self, pattern: str) -> dict[str, re.Match[str]]:
        """The names that match as a whole."""
        return {name: match for name in self._values if (match := re.fullmatch(pattern, name))}

    def all(self) -> dict[str, str]:
        """Everything, taken."""
        values, self._values = self._values, {}
        return values

    def rest(self) -> Iterable[tuple[str, str]]:
        """What nobody took."""
        return self._values.items()


@dataclass(frozen=True, slots=True)
class _Claim:
    """A link says that it is a port, or a device names its port."""

    port: str
    device: str
    place: str
    tree: Mapping[str, Any]
    primary: bool
    sure: bool


class Reading:
    """What has been read so far."""

    def __init__(self, links: NameOfAddress | None = None) -> None:
        self.links = dict(links or {})
        self._devices: dict[str, Bond | FoundTeam] = {}
        self._places: dict[str, str] = {}
        self._aliases: dict[str, set[str]] = {}
        self._claims: list[_Claim] = []
        self._settings: list[Settings] = []
        self._notes: list[str] = []

    def settings(self, place: str, values: Mapping[str, str]) -> Settings:
        """Settings of a place in a file; those that no reader takes get a note."""
        made = Settings(place, values)
        self._settings.append(made)
        return made

    def note(self, text: str) -> None:
        """Something to be told."""
        self._notes.append(text)

    def device(self, device: Bond | FoundTeam, place: str, *aliases: str | None) -> None:
        """Add a device, which ports may also name by an alias. ConvertError when there is one of that name."""
        self._unique(device.name, place)
        self._devices[device.name] = device
        for alias in aliases:
            if alias and alias != device.name:
                self._aliases.setdefault(alias, set()).add(device.name)

    def port(
        self,
        port: str,
        device: str,
        place: str,
        tree: Mapping[str, Any] | None = None,
        primary: bool = False,
        sure: bool = True,
    ) -> None:
        """Make a link a port of the device with this name or alias; `sure`: it is an error when there is none."""
        self._claims.append(_Claim(port, device, place, tree or {}, primary, sure))

    def by_address(self, address: str, place: str) -> str:
        """The name of the link with this address. ConvertError when it is unknown."""
        name = self.links.get(normal(address))
        if name is None:
            raise ConvertError(
                f"{place}: the port is told by its address {address} alone; say its name there, or to `pyteamd convert`: "
                f"--link {address}=NAME"
            )
        return name

    def devices(self) -> list[Bond | FoundTeam]:
        """All of them with their ports. ConvertError when there is none, or a port of none."""
        if not self._devices and not self._claims:
            raise ConvertError("no bond and no team is described there")
        owners: dict[str, _Claim] = {}
        for claim in self._claims:
            if not claim.sure and claim.device not in self._devices and claim.device not in self._aliases:
                continue
            name = self._named(claim)
            owner = owners.setdefault(claim.port, claim)
            if self._named(owner) != name:
                raise ConvertError(
                    f"{claim.port} is a port of {owner.device} ({owner.place}) and of {claim.device} ({claim.place})"
                )
            self._join(self._devices[name], claim)
        return list(self._devices.values())

    def notes(self) -> list[str]:
        """The notes of the readers, then one for each setting that none of them took."""
        told = [told_as(settings.place, name, value) for settings in self._settings for name, value in settings.rest()]
        return self._notes + told

    def _named(self, claim: _Claim) -> str:
        """The device that a port means. A device's name goes before the alias of another one. ConvertError."""
        names = {claim.device} if claim.device in self._devices else self._aliases.get(claim.device, set())
        if not names:
            there = ", ".join(self._devices) or "none"
            raise ConvertError(
                f"{claim.place}: {claim.port} is a port of {claim.device}, which no file describes (there: {there})"
            )
        if len(names) > 1:
            raise ConvertError(f"{claim.place}: {claim.device} is what {' and '.join(sorted(names))} are called")
        return min(names)

    def _unique(self, name: str, place: str) -> None:
        if name in self._places:
            raise ConvertError(f"{self._places[name]} and {place} both describe {name}; name only one of them")
        self._places[name] = place

    def _join(self, device: Bond | FoundTeam, claim: _Claim) -> None:
        if isinstance(device, Bond):
            if claim.port not in device.ports:
                device.ports.append(claim.port)
            if claim.tree:
                device.port_trees.setdefault(claim.port, {}).update(claim.tree)
            if claim.primary:
                if device.options.get("primary", claim.port) != claim.port:
                    self.note(f"{claim.place}: {claim.port} is the primary, no longer {device.options['primary']}")
                device.options["primary"] = claim.port
            return
        known = device.ports.setdefault(claim.port, {})
        for key, value in claim.tree.items():
            if key in known and known[key] != value:
                self.note(
                    f"{claim.place}: {claim.port}.{key} is {value!r} here and {known[key]!r} elsewhere; this is used"
                )
            known[key] = value


def told_as(place: str, name: str, value: str) -> str:
    """The note about a setting that was not used."""
    hidden = _SECRET.search(name) or (value[:1] in ("[", "{") and _SECRET.search(value))
    shown = f"{name} (its value is not shown)" if hidden else f"{name}={value}" if value else name
    if _OF_THE_DEVICE.search(name):
        return f"{place}: {shown}: belongs to the device, not to a team's configuration"
    return f"{place}: {shown}: not converted"


def normal(address: str) -> str:
    """A hardware address in small letters with colons between its octets; any other text as it is."""
    text = address.strip()
    if _NUMBERS.fullmatch(f"{text.rstrip(';')};"):
        octets = [int(part) for part in text.rstrip(";").split(";")]
        return ":".join(f"{octet:02x}" for octet in octets) if max(octets) < 256 else text
    if not _OCTETS.fullmatch(text):
        return text.lower()
    digits = re.sub(r"[^0-9a-f]", "", text.lower())
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def address_of(value: str | None) -> dict[str, str]:
    """The team's key `hwaddr` if the text is a hardware address, else nothing."""
    found = normal(value or "")
    return {"hwaddr": found} if _OCTETS.fullmatch(found) else {}


def literal(name: str, place: str) -> str:
    """A name that stands for one link. ConvertError when it is a pattern."""
    if _GLOB.search(name):
        raise ConvertError(f"{place}: {name!r} is a pattern: which links it stands for is not written there")
    return name


def truth(value: str | None) -> bool:
    """Whether a word of a configuration means yes."""
    return (value or "").strip().lower() in YES


YES = ("yes", "true", "on", "1", "y", "t")


def flattened(tree: Any, prefix: str = "") -> dict[str, str]:
    """A tree of a YAML file as settings: path → text."""
    if isinstance(tree, dict) and tree:
        found: dict[str, str] = {}
        for key, value in tree.items():
            found |= flattened(value, f"{prefix}.{key}" if prefix else str(key))
        return found
    return {prefix: plain(tree)} if prefix else {}


def in_yaml(name: str) -> str:
    """A name as a YAML file has it, in quotes where it would be something else."""
    import json

    plain_word = re.fullmatch(r"[A-Za-z_][\w.@/+-]*", name, re.ASCII)
    return name if plain_word and name.lower() not in _NO_NAMES else json.dumps(name)


def plain(value: Any) -> str:
    """A value of a YAML file as text."""
    match value:
        case bool():
            return str(value).lower()
        case None:
            return ""
        case list() | dict():
            import json

            return json.dumps(value, default=str)
    return str(value)


def names_in(value: Any, place: str) -> list[str]:
    """A list of names in a YAML file. ConvertError when it is something else."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(name, str | int) and str(name) for name in value):
        raise ConvertError(f"{place}: a list of names is expected, not {plain(value)!r}")
    return [str(name) for name in value]


def mapping_in(value: Any, place: str) -> dict[str, Any]:
    """A mapping in a YAML file, to be taken from. ConvertError when it is something else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConvertError(f"{place}: a mapping is expected, not {plain(value)!r}")
    return {str(key): part for key, part in value.items()}


def trees_of_yaml(reading: Reading, files: Mapping[str, str], only: Callable[[Any], bool]) -> list[tuple[str, Any]]:
    """The documents of YAML files that have what `only` looks for; the others are told. ConvertError."""
    import yaml

    from pyteamd.cli.convert.yaml_text import documents

    found = []
    for name, text in files.items():
        try:
            trees = documents(text)
        except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:  # of explicit tags
            raise ConvertError(f"{name}: {yaml_reason(error)}") from None
        for tree in trees:
            if isinstance(tree, dict) and only(tree):
                found.append((name, tree))
            else:
                reading.settings(name, flattened(tree) or {"": plain(tree)} if tree is not None else {})
    return found


def yaml_reason(error: Exception) -> str:
    """Place and cause of a YAML error, in one line."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    return (
        f"line {mark.line + 1}: {problem}"
        if mark and problem
        else next(iter(str(error).splitlines()), type(error).__name__)
    )
