"""`pyteamd convert`: a bond's configuration into a team's and back.

    pyteamd convert --from ifcfg ifcfg-bond0 ifcfg-eth0 ifcfg-eth1 > /etc/pyteamd/team0.conf
    pyteamd convert --from bonding 'mode=active-backup miimon=100' --port eth0 --port eth1
    pyteamd convert --to keyfile /etc/pyteamd/team0.conf --output-dir /etc/NetworkManager/system-connections

What has no counterpart is said on stderr, one line each; the exit status is then still 0, with --strict 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyteamd.cli.convert.bonding import Bond, ConvertError, bond_to_team, team_to_bond
from pyteamd.cli.convert.formats import FORMATS, Files, joined
from pyteamd.cli.pyteamd import help as helptext
from pyteamd.schema import json_text

OK, BAD = 0, 1


def main(arguments: Sequence[str], program: str) -> int:
    """The command. Returns the exit code."""
    options = _parser(program).parse_args(arguments)
    try:
        files, notes = _to_team(options) if options.source else _to_bond(options)
    except ConvertError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return BAD
    except OSError as error:
        print(f"{program}: {error.filename}: {error.strerror}", file=sys.stderr)
        return BAD
    if options.output_dir:
        for name, text in files.items():
            _write(Path(options.output_dir, name), text, FORMATS[options.target].mode if options.target else 0o644)
    else:
        sys.stdout.write(joined(files))
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    return BAD if notes and options.strict else OK


def _parser(program: str) -> argparse.ArgumentParser:
    parser = helptext.parser(
        program,
        "Turn the configuration of a bond into a team's, or a team's into a bond's, and say what has no counterpart.",
        f"{program} --from ifcfg /etc/sysconfig/network-scripts/ifcfg-bond0",
        f"{program} --from netplan --output-dir /etc/pyteamd /etc/netplan/01-bond.yaml",
        notes="formats: " + "; ".join(f"{name}: {format.help}" for name, format in FORMATS.items()),
    )
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument(
        "--from", dest="source", choices=FORMATS, help="read a bond in this format, write a team's configuration"
    )
    way.add_argument(
        "--to", dest="target", choices=FORMATS, help="read a team's configuration, write a bond in this format"
    )
    parser.add_argument("--name", default="", metavar="DEVICE", help="name of the new device")
    parser.add_argument(
        "--port", action="append", default=[], metavar="DEVICE", help="a port, in addition to those found"
    )
    parser.add_argument("--output-dir", metavar="DIR", help="write files there instead of all to standard output")
    parser.add_argument("--strict", action="store_true", help="status 1 when something has no counterpart")
    parser.add_argument(
        "inputs", nargs="+", metavar="FILE", help="what to read; with --from bonding the options themselves"
    )
    return parser


def _to_team(options: argparse.Namespace) -> tuple[Files, list[str]]:
    if options.source == "bonding":
        bond = FORMATS["bonding"].read({"options": " ".join(options.inputs)})
    else:
        bond = FORMATS[options.source].read({name: _read(name) for name in options.inputs})
    bond.ports += [port for port in options.port if port not in bond.ports]
    tree, notes = bond_to_team(bond, options.name or _team_name(bond))
    return {f"{tree['device']}.conf": json_text.dumps(tree) + "\n"}, notes


def _team_name(bond: Bond) -> str:
    return bond.name.replace("bond", "team", 1)


def _to_bond(options: argparse.Namespace) -> tuple[Files, list[str]]:
    from pyteamd.config.config import Config
    from pyteamd.linkwatch import WATCHERS
    from pyteamd.runners import RUNNERS
    from pyteamd.schema.problems import ConfigError

    if len(options.inputs) != 1:
        raise ConvertError("--to reads one file, the team's configuration")
    (name,) = options.inputs
    try:
        tree = Config.load(_read(name), runners=RUNNERS, watchers=WATCHERS, file=name).dump()
    except ConfigError as error:
        raise ConvertError(str(error)) from None
    team = str(tree.get("device", "bond0"))
    bond, notes = team_to_bond(tree, options.name or team.replace("team", "bond", 1))
    bond.ports += [port for port in options.port if port not in bond.ports]
    target = FORMATS[options.target]
    return target.write(bond), notes + target.left_out(bond)


def _write(path: Path, text: str, mode: int) -> None:
    """NetworkManager reads no keyfile that others may read, and netplan warns."""
    path.write_text("", "utf-8")
    path.chmod(mode)
    path.write_text(text, "utf-8")


def _read(name: str) -> str:
    return sys.stdin.read() if name == "-" else Path(name).read_text("utf-8", "surrogateescape")
