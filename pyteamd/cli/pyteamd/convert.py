"""`pyteamd convert`: bonds and teams in other programs' files into teams of pyteamd, and a team into a bond or a team of theirs.

    pyteamd convert --from ifcfg ifcfg-bond0 ifcfg-eth0 ifcfg-eth1 > /etc/pyteamd/team0.conf
    pyteamd convert --from netplan /etc/netplan/*.yaml --output-dir /etc/pyteamd
    pyteamd convert --from bonding 'mode=active-backup miimon=100' --port eth0 --port eth1
    pyteamd convert --to keyfile /etc/pyteamd/team0.conf --output-dir /etc/NetworkManager/system-connections

What has no counterpart, and every setting that was not used, is said on stderr, one line each; the exit status is then still 0, with
--strict 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pyteamd.cli.convert.bonding import Bond, ConvertError, bond_to_team, team_to_bond
from pyteamd.cli.convert.formats import FORMATS, WRITABLE, joined
from pyteamd.cli.convert.ifcfg import Files
from pyteamd.cli.convert.reading import FoundTeam, normal
from pyteamd.cli.exit_status import FAILED, OK
from pyteamd.cli.given_file import text_of
from pyteamd.cli.pyteamd import help as helptext
from pyteamd.model.printable import printable, printable_lines
from pyteamd.schema import json_text


def main(arguments: Sequence[str], program: str) -> int:
    """The command. Returns the exit code."""
    options = _parser(program).parse_args(arguments)
    try:
        files, notes = _to_teams(options) if options.source else _from_team(options)
        if options.output_dir:
            mode = FORMATS[options.target].mode if options.target else 0o644
            for path in _write_all(Path(options.output_dir), files, mode, options.force):
                print(path)
        else:
            if options.source and len(files) > 1:
                names = ", ".join(name.removesuffix(".conf") for name in files)
                raise ConvertError(
                    f"there are several teams ({names}): give --output-dir DIR, or one of them with --device"
                )
            sys.stdout.write(joined(files))
    except ConvertError as error:
        print(printable_lines(f"{program}: {error}"), file=sys.stderr)
        return FAILED
    except OSError as error:
        print(printable(f"{program}: {error.filename}: {error.strerror}"), file=sys.stderr)
        return FAILED
    for note in notes:
        print(printable(f"note: {note}"), file=sys.stderr)
    return FAILED if notes and options.strict else OK


def _parser(program: str) -> argparse.ArgumentParser:
    parser = helptext.parser(
        program,
        "Turn bonds and teams of other programs' files into teams, or a team into a bond, and say what has no counterpart.",
        f"{program} --from ifcfg /etc/sysconfig/network-scripts/ifcfg-*",
        f"{program} --from netplan --output-dir /etc/pyteamd /etc/netplan/01-bond.yaml",
        f"{program} --to keyfile --team --output-dir /etc/NetworkManager/system-connections team0.conf",
        notes="formats: " + "; ".join(f"{name}: {format.help}" for name, format in FORMATS.items()),
    )
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument(
        "--from", dest="source", choices=FORMATS, help="read bonds or teams in this format, write teams' configurations"
    )
    way.add_argument(
        "--to", dest="target", choices=WRITABLE, help="read a team's configuration, write a bond in this format"
    )
    parser.add_argument("--team", action="store_true", help="with --to: write a team (ifcfg, keyfile), not a bond")
    parser.add_argument("--device", default="", metavar="DEVICE", help="only this one of the devices found")
    parser.add_argument("--name", default="", metavar="DEVICE", help="name of the new device")
    parser.add_argument(
        "--port", action="append", default=[], metavar="DEVICE", help="a port, in addition to those found"
    )
    parser.add_argument(
        "--link",
        action="append",
        default=[],
        metavar="MAC=DEVICE",
        help="the name of the link with this address, for files that tell ports by address alone",
    )
    parser.add_argument("--output-dir", metavar="DIR", help="write files there, list them, and replace none")
    parser.add_argument("--force", action="store_true", help="with --output-dir: replace files")
    parser.add_argument("--strict", action="store_true", help="status 1 when something has no counterpart")
    parser.add_argument(
        "inputs", nargs="+", metavar="FILE", help="what to read; with --from bonding the options themselves"
    )
    return parser


def _to_teams(options: argparse.Namespace) -> tuple[Files, list[str]]:
    source = FORMATS[options.source]
    if options.source == "bonding":
        reading = source.read({"options": " ".join(options.inputs)})
    else:
        reading = source.read(_read_all(options.inputs), dict(_link(text) for text in options.link))
    found = _chosen(reading.devices(), options)
    taken = {device.name for device in found}
    files: Files = {}
    notes: list[str] = []
    for device in found:
        name = options.name or _new_name(device.name, taken)
        tree, said = bond_to_team(device, name) if isinstance(device, Bond) else _tree(device, name)
        if name != device.name and options.source != "bonding":
            said.append(f"the device is called {name}, no longer {device.name}: what names it must follow")
        _names(name, tree.get("ports", ()))
        _check(tree, said)
        files[f"{name}.conf"] = json_text.dumps(tree) + "\n"
        notes += [f"{device.name}: {text}" for text in said] if len(found) > 1 else said
    return files, notes + reading.notes()


def _chosen(found: list[Bond | FoundTeam], options: argparse.Namespace) -> list[Bond | FoundTeam]:
    """The devices to be converted, with the ports of the command line. ConvertError."""
    names = ", ".join(device.name for device in found)
    if options.device:
        found = [device for device in found if device.name == options.device]
        if not found:
            raise ConvertError(f"--device {options.device}: there are {names}")
    if len(found) > 1 and (options.name or options.port):
        raise ConvertError(f"--name and --port are for one device, and there are {names}: choose with --device")
    for port in options.port:
        match found[0]:
            case Bond() as bond if port not in bond.ports:
                bond.ports.append(port)
            case FoundTeam() as team:
                team.ports.setdefault(port, {})
    return found


def _new_name(name: str, taken: set[str]) -> str:
    """bond0 becomes team0, unless there is one."""
    new = name.replace("bond", "team", 1)
    return name if new in taken else new


def _tree(team: FoundTeam, name: str) -> tuple[dict[str, Any], list[str]]:
    return {"device": name, **team.tree, **({"ports": team.ports} if team.ports else {})}, []


def _check(tree: dict[str, Any], said: list[str]) -> None:
    """Add the daemon's warnings about the configuration to the notes. ConvertError when it would not start with it."""
    from pyteamd.config.config import Config
    from pyteamd.linkwatch import WATCHERS
    from pyteamd.runners import RUNNERS
    from pyteamd.schema.problems import ConfigError

    try:
        config = Config.load(json_text.dumps(tree), runners=RUNNERS, watchers=WATCHERS)
    except ConfigError as error:
        raise ConvertError(str(error)) from None
    said += [str(problem) for problem in config.problems]


def _link(text: str) -> tuple[str, str]:
    address, sign, name = text.partition("=")
    if not sign or not name:
        raise ConvertError(f"--link {text}: MAC=DEVICE is expected")
    return normal(address), name


def _from_team(options: argparse.Namespace) -> tuple[Files, list[str]]:
    from pyteamd.config.config import Config
    from pyteamd.linkwatch import WATCHERS
    from pyteamd.runners import RUNNERS
    from pyteamd.schema.problems import ConfigError, Severity

    if len(options.inputs) != 1:
        raise ConvertError("--to reads one file, the team's configuration")
    (name,) = options.inputs
    try:
        config = Config.load(_read(name), runners=RUNNERS, watchers=WATCHERS, file=name)
    except ConfigError as error:
        raise ConvertError(str(error)) from None
    refused = [problem for problem in config.problems if problem.severity is Severity.PORT]
    if refused and not options.team:
        raise ConvertError("\n".join(problem.told(name) for problem in refused))
    said = [problem.told(name) for problem in config.problems]
    tree = config.dump()
    device = str(tree.get("device", "team0" if options.team else "bond0"))
    target = FORMATS[options.target]
    if options.team:
        return _team_files(options, tree, options.name or device), said
    bond, notes = team_to_bond(tree, options.name or device.replace("team", "bond", 1))
    bond.ports += [port for port in options.port if port not in bond.ports]
    assert target.write is not None
    _names(bond.name, bond.ports)
    return target.write(bond), said + notes + target.left_out(bond)


def _team_files(options: argparse.Namespace, tree: dict[str, Any], name: str) -> Files:
    write = FORMATS[options.target].write_team
    if write is None:
        there = ", ".join(known for known, format in FORMATS.items() if format.write_team)
        raise ConvertError(f"{options.target} knows no teams; with --team there are {there}")
    ports = {**tree.pop("ports", {}), **{port: {} for port in options.port}}
    tree.pop("device", None)
    _names(name, ports)
    return write(FoundTeam(name, tree, ports))


def _names(device: str, ports: Iterable[str]) -> None:
    """Check names, which become names of files and words in them. ConvertError when no link can have one, or the format cannot write it."""
    from pyteamd.schema.values import interface_name

    for name in (device, *ports):
        try:
            interface_name(name)
            name.encode()
        except UnicodeEncodeError:
            raise ConvertError(f"{name!r} is no UTF-8, and a configuration is") from None
        except ValueError as error:
            raise ConvertError(f"{name!r} {error}") from None


def _write_all(directory: Path, files: Files, mode: int, force: bool) -> list[Path]:
    """Write the files, or none where one exists already. The directory is made. Returns the paths."""
    there = [str(directory / name) for name in files if os.path.lexists(directory / name)]
    if there and not force:
        raise ConvertError(f"there already: {', '.join(there)}; nothing was written (--force replaces)")
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        _write(directory / name, text, mode)
    return [directory / name for name in files]


def _write(path: Path, text: str, mode: int) -> None:
    """Set the mode before the text is in it. NetworkManager reads no keyfile that others may read, and netplan warns."""
    path.write_text("", "utf-8")
    path.chmod(mode)
    path.write_text(text, "utf-8")


def _read_all(names: Sequence[str]) -> dict[str, str]:
    """File → text, by the last part of the name where that is enough; a drop-in (NAME.d/*.conf) keeps its directory."""
    short = {name: "/".join(Path(name).parts[-2 if Path(name).parent.suffix == ".d" else -1 :]) for name in names}
    unique = len(set(short.values())) == len(short)
    return {short[name] if unique else name: _read(name) for name in names}


def _read(name: str) -> str:
    """Text of a file, without the byte order mark of other systems' editors."""
    text = sys.stdin.read() if name == "-" else text_of(name, "surrogateescape")
    return text.removeprefix("\ufeff")
