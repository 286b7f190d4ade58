"""Files in the shape of real ones: each becomes the devices its first lines name, and no setting of it is lost in silence.

A file of tests/cli/convert/FORMAT begins with what must come out (`DEVICE RUNNER: PORTS`, or `refused: PATTERN`), then holds the files of
one system, each under a line `---- NAME`. The rule about settings is tried, not believed: each setting is taken away in turn, and what is
converted or said must change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pyteamd.cli.convert.bonding import Bond, ConvertError, bond_to_team
from pyteamd.cli.convert.formats import FORMATS
from pyteamd.config.config import Config
from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS
from pyteamd.schema import json_text

PLACE = Path(__file__).parent / "convert"
FIXTURES = sorted(PLACE.glob("*/*.txt"))
LEAST = 10
Outcome = tuple[dict[str, dict[str, Any]], list[str]]

WITHOUT_EFFECT = {
    "BONDING_MASTER": "BONDING_OPTS says that it is a bond",
    "TYPE": "what the file is about is said twice",
    "DEVICETYPE": "what the file is about is said twice",
    "SLAVE": "MASTER says that it is a port",
    "MASTER": "MASTER_UUID says the same",
    "MASTER_UUID": "MASTER says the same",
    "UUID": "names a device to its ports",
    "uuid": "names a device to its ports",
    "mode": "roundrobin is the default of both, and the rows of test_convert hold each option",
    "Mode": "the same",
    "type": "an interface in the list of a device's ports is one",
    "state": "the same",
    "version": "the version of the language",
    "miimon": "a team watches the carrier without being asked",
    "MIIMonitorSec": "the same",
    "mii-monitor-interval": "the same",
    "bond-miimon": "the same",
    "bond_miimon": "the same",
    "use_carrier": "the same",
    "bond-use-carrier": "the same",
    "PrimaryReselectPolicy": "always is the default, and says nothing where there is no primary",
    "primary-reselect-policy": "the same",
    "arp_all_targets": "any is the default",
    "arp-all-targets": "any is the default",
    "bond-slaves": "none, or the ports say the same",
    "slaves": "bond-slaves says the same",
    "bond-primary": "two ports say the same",
    "bond-mode": "two families say the same",
    "permissions": "empty",
    "ETHTOOL_OPTIONS": "empty",
    "BONDING_MODULE_OPTS": "empty",
    "TEAM_LACP_MIN_PORTS": "the default of a team",
    "renderer": "told as a whole",
    "updelay": "0",
    "downdelay": "0",
}
"""Settings that may be taken away without a difference, and why."""


def read_fixture(path: Path) -> tuple[list[str], dict[str, str]]:
    """What must come out, and the files."""
    first, *parts = re.split(r"(?m)^---- (.*)\n", path.read_text())
    return first.splitlines(), dict(zip(parts[::2], parts[1::2], strict=True))


def convert(kind: str, files: dict[str, str]) -> Outcome:
    """The teams' configurations and all notes. ConvertError."""
    reading = FORMATS[kind].read(files)
    trees, notes = {}, []
    for device in reading.devices():
        if isinstance(device, Bond):
            tree, said = bond_to_team(device)
            notes += said
        else:
            tree = {"device": device.name, **device.tree, "ports": device.ports}
        trees[device.name] = tree
    return trees, notes + reading.notes()


def runner_of(tree: dict[str, Any]) -> str:
    """A team without a word about it has the first."""
    name: str = tree.get("runner", {}).get("name", "roundrobin")
    return name


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_file_becomes_what_it_describes(path: Path) -> None:
    expected, files = read_fixture(path)
    kind = path.parent.name
    if expected[0].startswith("refused: "):
        with pytest.raises(ConvertError, match=expected[0].removeprefix("refused: ")):
            convert(kind, files)
        return
    trees, notes = convert(kind, files)
    found = [f"{name} {runner_of(tree)}: {' '.join(tree['ports'])}" for name, tree in trees.items()]
    assert found == expected
    for tree in trees.values():
        config = Config.load(json_text.dumps(tree), runners=RUNNERS, watchers=WATCHERS)
        assert config.problems == []
    assert not [note for note in notes if "hunter2" in note], "a password is shown"


def test_there_are_enough_of_every_format() -> None:
    counts = {name: len(list((PLACE / name).glob("*.txt"))) for name in FORMATS if name != "bonding"}
    assert {name: count for name, count in counts.items() if count < LEAST} == {}


def without_lines(files: dict[str, str], pattern: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each setting and the files without its line."""
    for name, text in files.items():
        for match in re.finditer(pattern, text, re.MULTILINE):
            yield match["key"], {**files, name: text[: match.start()] + text[match.end() :]}


def without_leaves(files: dict[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each leaf of a YAML file and the files without it."""
    for name, text in files.items():
        for path, value in leaves(yaml.safe_load(text)):
            if value == {}:
                continue  # a link of which nothing is said
            tree = yaml.safe_load(text)
            place = tree
            for key in path[:-1]:
                place = place[key]
            del place[path[-1]]
            yield (
                str(next(key for key in reversed(path) if isinstance(key, str))),
                {**files, name: yaml.safe_dump(tree, sort_keys=False)},
            )


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Path and value of each."""
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    if not parts and path:
        yield path, tree
    for key, value in parts:
        yield from leaves(value, (*path, key))


ASSIGNMENT = r"""^(?P<key>\w+)=(?:\$?'[^']*'|"(?:\\.|[^"\\])*"|(?:\\.|[^\s'"\\])*)\n"""
SETTING = r"^(?P<key>[\w-]+)=.*(?:\\\n.*)*\n"
OPTION = r"^[ \t]+(?P<key>[\w-]+) .*(?:\\\n.*)*\n"
SETTINGS = {"ifcfg": ASSIGNMENT, "wicked": ASSIGNMENT, "keyfile": SETTING, "networkd": SETTING, "ifupdown": OPTION}


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_no_setting_is_lost_in_silence(path: Path) -> None:
    kind = path.parent.name
    expected, files = read_fixture(path)
    if expected[0].startswith("refused: "):
        return
    before = convert(kind, files)
    lost, seen = [], 0
    for key, fewer in without_lines(files, SETTINGS[kind]) if kind in SETTINGS else without_leaves(files):
        seen += 1
        try:
            after: Outcome | None = convert(kind, fewer)
        except ConvertError:
            after = None
        if after == before and key not in WITHOUT_EFFECT:
            lost.append(key)
    assert seen > 0
    assert lost == []
