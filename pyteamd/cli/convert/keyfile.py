"""NetworkManager's keyfiles of bonds and teams. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pyteamd.cli.convert.bonding import Bond, ConvertError
from pyteamd.cli.convert.ifcfg import Files, team_of, tree_of
from pyteamd.cli.convert.ini import escaped, read_ini, unescaped
from pyteamd.cli.convert.reading import FoundTeam, NameOfAddress, Reading, Settings, literal

_ETHERNET = ("ethernet", "802-3-ethernet")


def read_keyfile(files: Mapping[str, str], links: NameOfAddress) -> Reading:
    """Connections of type bond and team, and those of their ports. ConvertError."""
    reading = Reading(links)
    for file, text in files.items():
        sections = {
            name: reading.settings(f"{file}: [{name}]", values) for name, values in _sections(reading, file, text)
        }
        connection = sections.get("connection")
        if connection is None:
            raise ConvertError(f"{file}: has no [connection]")
        kind = connection.peek("type")
        if kind in ("bond", "team"):
            _device(reading, file, sections, connection, kind)
        elif _port_kind(connection, sections) and (master := connection.take("controller", "master")):
            connection.take("port-type", "slave-type")
            for usual in _ETHERNET:
                connection.take_if("type", (usual,))
            reading.port(_link(reading, file, sections, connection), master, file, _port_tree(file, sections))
    return reading


def _sections(reading: Reading, file: str, text: str) -> Iterable[tuple[str, dict[str, str]]]:
    """Each section once, as NetworkManager reads them: of a key that stands again the last counts, and the others are told."""
    found: dict[str, dict[str, str]] = {}
    for name, values in read_ini(file, text, "#"):
        section = found.setdefault(name, {})
        for key, value in values:
            if section.get(key, value) != value:
                reading.note(f"{file}: [{name}] {key} stands again; what stood there before is not used")
            section[key] = value
    return ((name, {key: unescaped(value) for key, value in values.items()}) for name, values in found.items())


def _port_kind(connection: Settings, sections: Mapping[str, Settings]) -> bool:
    """Whether the connection is a port of a bond or a team, by its type or by a section for such ports."""
    kind = connection.peek("port-type") or connection.peek("slave-type")
    return kind in ("bond", "team") if kind else "bond-port" in sections or "team-port" in sections


def _device(reading: Reading, file: str, sections: dict[str, Settings], connection: Settings, kind: str) -> None:
    own = sections.get(kind)
    name = connection.take("interface-name") or (own.take("interface-name") if own else None)  # where it once stood
    if not name:
        raise ConvertError(f"{file}: [connection] has no interface-name, so nobody knows what the {kind} is called")
    connection.take("type")
    if kind == "bond":
        device: Bond | FoundTeam = Bond(name, own.all() if own else {}, extra=_address(sections))
    else:
        device = team = team_of(name, (own.take("config") if own else None) or "", f"{file}: [team] config")
        team.tree |= _address(sections)
    reading.device(device, file, connection.take("uuid"), connection.peek("id"))


def _address(sections: Mapping[str, Settings]) -> dict[str, str]:
    for name in _ETHERNET:
        if name in sections and (found := sections[name].take_address("cloned-mac-address")):
            return found
    return {}


def _link(reading: Reading, file: str, sections: Mapping[str, Settings], connection: Settings) -> str:
    """The port's name: that of the connection, or the only one that it matches, or that of the address."""
    if name := connection.take("interface-name"):
        return name
    if match := sections.get("match"):
        names = (match.take("interface-name") or "").replace(";", " ").replace(",", " ").split()
        if len(names) == 1:
            return literal(names[0], file)
        if names:
            raise ConvertError(f"{file}: [match] interface-name is {' '.join(names)}: one of them, which nobody knows")
    for name in _ETHERNET:
        if name in sections and (address := sections[name].take("mac-address")):
            return reading.by_address(address, file)
    raise ConvertError(f"{file}: has no interface-name, so nobody knows which link it is about")


def _port_tree(file: str, sections: Mapping[str, Settings]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    if (team := sections.get("team-port")) and (text := team.take("config")):
        tree = tree_of(text, f"{file}: [team-port] config")
    if bond := sections.get("bond-port"):
        for name, key in (("queue-id", "queue_id"), ("prio", "prio")):
            if (text := bond.take(name)) is not None:
                tree[key] = int(text) if text.lstrip("-").isdecimal() else text
    return tree


def write_keyfile(bond: Bond) -> Files:
    """A connection for the bond and one for each port."""
    options = "".join(f"{name}={escaped(value)}\n" for name, value in bond.options.items())
    called = escaped(bond.name)
    address = bond.extra.get("hwaddr")
    ethernet = f"\n[ethernet]\ncloned-mac-address={address}\n" if address else ""
    files = {
        f"{bond.name}.nmconnection": f"[connection]\nid={called}\ntype=bond\ninterface-name={called}\n\n[bond]\n{options}{ethernet}"
    }
    for port in bond.ports:
        files[f"{port}.nmconnection"] = _port_file(port, bond.name, "bond", "")
    return files


def write_keyfile_team(team: FoundTeam) -> Files:
    """The same for a team."""
    config, called = escaped(json.dumps(team.tree)), escaped(team.name)
    files = {
        f"{team.name}.nmconnection": f"[connection]\nid={called}\ntype=team\ninterface-name={called}\n\n[team]\nconfig={config}\n"
    }
    for port, tree in team.ports.items():
        own = f"\n[team-port]\nconfig={escaped(json.dumps(tree))}\n" if tree else ""
        files[f"{port}.nmconnection"] = _port_file(port, team.name, "team", own)
    return files


def _port_file(port: str, device: str, kind: str, own: str) -> str:
    port, device = escaped(port), escaped(device)
    return f"[connection]\nid={port}\ntype=ethernet\ninterface-name={port}\nmaster={device}\nslave-type={kind}\n{own}"
