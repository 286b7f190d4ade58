"""`bond2team`, under libteam's name and with its options: a bond's ifcfg files, or its options, into those of a team.

What libteam's program does is kept: ifcfg files by default, into a directory of their own unless told otherwise, with all settings that
are none of the bond's left as they are; --json writes a configuration for the daemon. What has no counterpart is said, as by
`pyteamd convert`, which reads and writes more.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyteamd import __version__
from pyteamd.cli.convert.bonding import Bond, ConvertError, bond_to_team
from pyteamd.cli.convert.ifcfg import MASTERS, NEEDED, Files, options_of, read_ifcfg
from pyteamd.cli.convert.shell import assignments, quoted
from pyteamd.cli.exit_status import FAILED, OK
from pyteamd.schema import json_text

CONFIG_DIR = "/etc/sysconfig/network-scripts"
NO_NAME = "<interface name>"
EXAMPLES = """\
bond2team --master bond0                        the bond of the system's ifcfg files, into a new directory
bond2team --master bond0 --rename team0 --outputdir DIR
bond2team --master bond0 --json --stdout        as the daemon reads it
bond2team --bonding_opts "mode=1 miimon=500 primary=eth1" --port eth1 --port eth2 --stdout
"""
_OF_THE_BOND = frozenset({"BONDING_OPTS", "BONDING_MASTER", "TYPE", "DEVICETYPE"})
_OF_A_PORT = frozenset({"MASTER", "SLAVE", "TYPE", "DEVICETYPE", "MASTER_UUID", "BONDING_SLAVE_OPTS"})


def main(arguments: Sequence[str] | None = None) -> int:
    """The program. Returns the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser()
    try:
        options = parser.parse_args(words)
    except SystemExit as ended:
        return FAILED if ended.code else OK
    if options.examples:
        print(EXAMPLES, end="")
        return OK
    if options.master is None and options.bonding_opts is None:
        parser.print_help()
        return FAILED
    try:
        return _convert(options)
    except (ConvertError, OSError) as error:
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        print(f"ERROR:  {text}", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "bond2team", description="Turn the configuration of a bond into a team's.", allow_abbrev=False
    )
    parser.add_argument("--master", metavar="INTERFACE", help="the bond, or its ifcfg file")
    parser.add_argument("--rename", metavar="INTERFACE", default="", help="name of the team")
    parser.add_argument("--ifcfg", dest="json", action="store_false", default=False, help="write ifcfg files (default)")
    parser.add_argument("--json", action="store_true", help="write a configuration of the daemon")
    parser.add_argument("--bonding_opts", metavar="OPTIONS", help="options of a bond, instead of ifcfg files")
    parser.add_argument("--port", metavar="INTERFACE", action="append", default=[], help="a port of the team")
    parser.add_argument(
        "--configdir", metavar="DIR", default=CONFIG_DIR, help=f"where the ifcfg files are ({CONFIG_DIR})"
    )
    parser.add_argument("--outputdir", metavar="DIR", help="where to write (default: a new directory)")
    parser.add_argument("--stdout", action="store_true", help="write to standard output")
    parser.add_argument("--debug", action="store_true", help="accepted, without effect")
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")
    parser.add_argument("--examples", action="store_true", help="show examples")
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def _convert(options: argparse.Namespace) -> int:
    sources: Files = {}
    if options.bonding_opts is not None:
        name = options.rename or ("team0" if options.json else NO_NAME)
        bond = Bond(name, options_of(options.bonding_opts))
    else:
        bond, sources = _bond_of(options)
    bond.ports += [port for port in options.port if port not in bond.ports]
    tree, notes = bond_to_team(bond, options.rename or bond.name)
    if options.json:
        files = {f"{tree['device']}.conf": json_text.dumps(tree) + "\n"}
    else:
        files = _ifcfg_files(tree, bond, sources, bool(options.rename))
    _deliver(files, options)
    if not options.quiet:
        for note in notes:
            print(f"NOTE:  {note}", file=sys.stderr)
    return OK


def _bond_of(options: argparse.Namespace) -> tuple[Bond, Files]:
    """The bond of --master and the texts of its files, by name. ConvertError."""
    given = Path(options.master)
    master = given if given.is_file() else Path(options.configdir, f"ifcfg-{given.name.removeprefix('ifcfg-')}")
    if not master.is_file():
        raise ConvertError(f"Can't find ifcfg file for {options.master}")
    texts = {master.name: master.read_text("utf-8", "surrogateescape")}
    values = assignments(master.name, texts[master.name], NEEDED)
    called = {values[key] for key in ("DEVICE", "UUID", "NAME") if values.get(key)}
    for path in sorted(master.parent.glob("ifcfg-*")):
        text = path.read_text("utf-8", "surrogateescape") if path != master and path.is_file() else ""
        if _masters(path.name, text) & called:
            texts[path.name] = text
    (bond,) = read_ifcfg(texts, {}).devices()
    if not isinstance(bond, Bond):
        raise ConvertError(f"{master.name} is a team already")
    return bond, texts


def _masters(file: str, text: str) -> set[str]:
    """The names by which the ifcfg file of a port calls its device; none for a file of anything else."""
    try:
        values = assignments(file, text, NEEDED)
    except ConvertError:
        # It may be of another device. What is wrong with a file of ours is told when it is read.
        return set(re.findall(r"""(?m)^\s*MASTER=["']?([^\s"']+)""", text))
    return {values[name] for name in MASTERS if name in values}


def _ifcfg_files(tree: dict[str, Any], bond: Bond, sources: Files, renamed: bool) -> Files:
    ports = tree.pop("ports", {})
    device = tree.pop("device")
    own = {"DEVICETYPE": "Team", "TEAM_CONFIG": json.dumps(tree)}
    name = device if renamed or not sources else bond.name
    if not sources:
        files = {f"ifcfg-{name}": _lines({**({"DEVICE": name} if name != NO_NAME else {}), **own})}
        return files | {f"ifcfg-{port}": _lines({"DEVICE": port, **_port(name, keys)}) for port, keys in ports.items()}
    files = {}
    for file, text in sources.items():
        values = assignments(file, text, NEEDED)
        if values.get("DEVICE") == bond.name:
            kept = {key: value for key, value in values.items() if key not in _OF_THE_BOND}
            files[f"ifcfg-{name}" if renamed else file] = _lines({**kept, "DEVICE": name, **own})
        else:
            kept = {key: value for key, value in values.items() if key not in _OF_A_PORT}
            files[file] = _lines({**kept, **_port(name, ports.get(values.get("DEVICE", ""), {}))})
    return files


def _port(team: str, keys: dict[str, Any]) -> dict[str, str]:
    config = {"TEAM_PORT_CONFIG": json.dumps(keys)} if keys else {}
    return {"DEVICETYPE": "TeamPort", "TEAM_MASTER": team, **config}


def _lines(values: dict[str, str]) -> str:
    return "".join(f"{name}={quoted(value)}\n" for name, value in values.items())


def _deliver(files: Files, options: argparse.Namespace) -> None:
    if options.stdout:
        for name, text in files.items():
            print(f"---8<--- {name} ---8<---\n{text}---8<--- {name} ---8<---\n")
        return
    directory = Path(options.outputdir or tempfile.mkdtemp(prefix="bond2team."))
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text, "utf-8", "surrogateescape")
    if not options.quiet:
        print(f"Resulting files in: {directory}")


if __name__ == "__main__":
    sys.exit(main())
