"""Files in the shape of real ones: each becomes the devices its first lines name, and no setting of it is lost in silence.

A file of tests/cli/convert/FORMAT begins with what must come out (`DEVICE RUNNER: PORTS`, or `refused: PATTERN`), then holds the files of
one system, each under a line `---- NAME`. The rule about settings is tried, not believed: each setting is taken away, and given another
value; what is converted or said must change.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pyteamd.cli.convert import netplan
from pyteamd.cli.convert.bonding import Bond, ConvertError, bond_to_team
from pyteamd.cli.convert.formats import FORMATS
from pyteamd.cli.convert.reading import Reading
from pyteamd.cli.pyteamd.convert import main as command
from pyteamd.config.config import Config
from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS
from pyteamd.schema import json_text

PLACE = Path(__file__).parent / "convert"
FIXTURES = sorted(PLACE.glob("*/*.txt"))
LEAST = 10
Outcome = tuple[dict[str, dict[str, Any]], list[str]]

WITHOUT_EFFECT = {
    "MASTER_UUID": "MASTER says the same, and no file has it",
}
"""Settings without which, and with another value of which, all is the same; and why."""


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


def other_lines(files: dict[str, str], pattern: str) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Each setting, and the files without it and with another value."""
    for name, text in files.items():
        for match in re.finditer(pattern, text, re.MULTILINE):
            without = text[: match.start()] + text[match.end() :]
            changed = text[: match.start("value")] + OTHER + text[match.end("value") :]
            yield match["key"], [{**files, name: without}, {**files, name: changed}]


def other_leaves(files: dict[str, str]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Each leaf of a YAML file, and the files without it and with another value."""
    for name, text in files.items():
        documents = [*yaml.safe_load_all(text)]
        for path, value in leaves(documents):
            if value == {}:
                continue  # a link of which nothing is said
            key = str(next(key for key in reversed(path) if isinstance(key, str)))
            yield key, [{**files, name: other_yaml(documents, path, change)} for change in (True, False)]


def other_yaml(documents: list[Any], path: tuple[Any, ...], change: bool) -> str:
    """The documents with another value there, or with none."""
    trees = copy.deepcopy(documents)
    place: Any = trees
    for key in path[:-1]:
        place = place[key]
    if change:
        place[path[-1]] = OTHER
    else:
        del place[path[-1]]
    return yaml.safe_dump_all(trees, sort_keys=False)


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Path and value of each."""
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    if not parts and path:
        yield path, tree
    for key, value in parts:
        yield from leaves(value, (*path, key))


OTHER = "other"
SINGLE, DOUBLE = r"""\$?'(?:\\.|[^'\\])*'""", r'\$?"(?:\\[\s\S]|[^"\\])*"'
BARE = r"""`[^`]*`|\$\{[^}]*\}|\\[\s\S]|[^\s'"\\]"""
ASSIGNMENT = rf"^(?:export )?(?P<key>\w+)\+?=(?P<value>(?:{SINGLE}|{DOUBLE}|{BARE})*)[ \t]*(?:\n|#.*\n)"
SETTING = r"^(?P<key>[^\s\[#;=][^=\n]*?)[ \t]*=[ \t]*(?P<value>(?:.*\\\n)*.*)\n"
OPTION = r"^[ \t]*(?P<key>[\w-]+)[ \t]+(?P<value>(?:.*\\\n)*.*)\n"
SETTINGS = {"ifcfg": ASSIGNMENT, "wicked": ASSIGNMENT, "keyfile": SETTING, "networkd": SETTING, "ifupdown": OPTION}
NOTHING = re.compile(r"\s*(?:[#;].*|\[.*\])?")
"""Lines without a setting."""


@functools.cache
def lost(path: Path) -> frozenset[str]:
    """Settings of a fixture without which, and with another value of which, the same comes out and is said."""
    expected, files = read_fixture(path)
    if expected[0].startswith("refused: "):
        return frozenset()
    kind = path.parent.name
    before = convert(kind, files)
    settings = [*other_lines(files, SETTINGS[kind])] if kind in SETTINGS else [*other_leaves(files)]
    assert settings
    return frozenset(key for key, others in settings if all(outcome(kind, other) == before for other in others))


def outcome(kind: str, files: dict[str, str]) -> Outcome | None:
    """What comes out; None when it is refused."""
    try:
        return convert(kind, files)
    except ConvertError:
        return None


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_no_setting_is_lost_in_silence(path: Path) -> None:
    assert lost(path) - WITHOUT_EFFECT.keys() == set()


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_line_is_tried(path: Path) -> None:
    """What the patterns above do not see would be lost unseen."""
    expected, files = read_fixture(path)
    if path.parent.name not in SETTINGS or expected[0].startswith("refused: "):
        return
    for text in files.values():
        left = re.sub(SETTINGS[path.parent.name], "", text, flags=re.MULTILINE).splitlines()
        assert [line for line in left if not NOTHING.fullmatch(line)] == []


def test_every_excuse_is_needed() -> None:
    """One that is not would hide what is lost one day."""
    assert WITHOUT_EFFECT.keys() - frozenset().union(*map(lost, FIXTURES)) == set()


def test_a_reader_that_loses_something_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers that do not tell what they did not use, and one that forgets an option."""
    paths = [PLACE / kind / "01-two-bonds.txt" for kind in ("keyfile", "networkd", "netplan")]
    monkeypatch.delitem(netplan.NETPLAN, "primary")
    monkeypatch.setattr(Reading, "notes", lambda reading: [])
    assert [path.parent.name for path in paths if not lost.__wrapped__(path) - WITHOUT_EFFECT.keys()] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [next(path for path in FIXTURES if path.parent.name == kind) for kind in sorted(FORMATS) if kind != "bonding"],
    ids=lambda path: path.parent.name,
)
def test_nothing_of_a_file_reaches_the_terminal_as_it_is(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = "\x1b]0;own\x07"
    for name, text in read_fixture(path)[1].items():
        file = tmp_path / Path(name).name
        for number, line in enumerate(text.splitlines()):
            lines = text.splitlines()
            file.write_text("\n".join([*lines[:number], f"{line}{own}", f"{own}={own}", *lines[number + 1 :], ""]))
            command(["--from", path.parent.name, str(file)], "pyteamd convert")
            assert [said for said in capsys.readouterr().err.split("\n") if not said.isprintable()] == [], (
                file.read_text()
            )
