"""What the programs answer to a shell that asks what may be typed next."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from ctl_cases import TEAM, WORLDS
from ctl_mock import MockDaemon

from pyteamd.cli import complete
from pyteamd.cli.pyteamd import main as cli
from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS


@pytest.fixture(autouse=True)
def _daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(tmp_path))
    monkeypatch.setattr(complete, "LINKS", str(tmp_path / "links"))
    for name in ("eth1", "eth9"):
        (tmp_path / "links" / name).mkdir(parents=True)
    with MockDaemon(str(tmp_path / f"{TEAM}.sock"), WORLDS["ab"]):
        yield


def told(*words: str) -> tuple[str, list[str]]:
    """Kind, and the words offered for the last one."""
    out = io.StringIO()
    program, *rest = words
    assert complete.tell(program, ["--complete", *rest], out) == 0
    kind, *lines = out.getvalue().splitlines()
    return kind, [line.partition("\t")[0] for line in lines]


CTL = [
    ("", [TEAM, "list"]),
    ("--all st", ["state"]),
    ("--a", ["--all"]),
    ("-H host tea", [TEAM]),
    ("-H ", []),
    (f"{TEAM} state item ", ["get", "set"]),
    (f"{TEAM} state item set ", ["runner.active_port", "setup.debug_level"]),
    (f"{TEAM} state item set runner.", ["runner.active_port"]),
    (f"{TEAM} state item get setup.p", ["setup.pid", "setup.pid_file"]),
    (f"{TEAM} port add ", ["eth9"]),
    (f"{TEAM} port remove eth", ["eth1", "eth2"]),
    (f"{TEAM} explain eth", ["eth1", "eth2"]),
    (f"{TEAM} state item set runner.active_port ", ["eth1", "eth2"]),
    (f"{TEAM} config apply -", ["--dry-run", "--confirm", "--json"]),
    (f"{TEAM} config apply f --confirm ", []),
    (f"{TEAM} hash --s", ["--src", "--sport", "--smac"]),
    (f"{TEAM} monitor -", ["--json"]),
    (f"{TEAM} explain --", ["--json"]),
    (f"{TEAM} port config update eth1 ", []),
    ("list -", ["--json"]),
]


@pytest.mark.parametrize(("line", "words"), CTL, ids=[row[0] for row in CTL])
def test_pyteamdctl(line: str, words: list[str]) -> None:
    assert told("pyteamdctl", *line.split(" ")) == ("words", words)


DAEMON = [
    ("example ", list(RUNNERS)),
    ("example lacp ", list(WATCHERS)),
    ("example lacp ethtool ", []),
    ("-l ", ["stdout", "stderr", "syslog"]),
    ("-t ", [TEAM]),
    ("check --s", ["--strict"]),
    ("schema con", ["config"]),
    ("schema config ", ["dump", "apply", "confirm"]),
    ("convert --from net", ["networkd", "netplan"]),
]


@pytest.mark.parametrize(("line", "words"), DAEMON, ids=[row[0] for row in DAEMON])
def test_pyteamd(line: str, words: list[str]) -> None:
    assert told("pyteamd", *line.split(" ")) == ("words", words)


@pytest.mark.parametrize(
    "line",
    [
        *("pyteamd check ", "pyteamd check a ", "pyteamd serve ", "pyteamd replay ", "pyteamd -f ", "pyteamd -p "),
        *("pyteamd simulate ", f"pyteamdctl {TEAM} config apply ", f"pyteamdctl {TEAM} trace save "),
    ],
)
def test_files_only_where_they_belong(line: str) -> None:
    assert told(*line.split(" "))[0] == "files"


def test_pyteamnl() -> None:
    assert told("pyteamnl", "")[1] == ["eth1", "eth9", TEAM]
    assert told("pyteamnl", TEAM, "getoption", "act")[1] == ["activeport"]
    assert told("pyteamnl", TEAM, "monitor", "")[1] == ["changed", "all"]
    assert told("pyteamnl", "-p", "")[1] == ["eth1", "eth9"]


@pytest.mark.parametrize("name", list(cli.SUBCOMMANDS))
def test_every_option_of_every_command(name: str) -> None:
    from pyteamd.cli.pyteamd import help as helptext

    actions = helptext.parser_of(cli.command(name), name)._actions
    wanted = {option for action in actions for option in action.option_strings if option.startswith("--")}
    assert set(told("pyteamd", name, "-")[1]) == wanted


def test_a_daemon_that_says_nothing_costs_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(complete, "ASK_S", 0.01)
    with MockDaemon(str(tmp_path / "team9.sock"), {}):
        assert told("pyteamdctl", "team9", "port", "remove", "") == ("words", [])


def test_what_is_offered_is_printable_and_a_line_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "links" / "\x1b]0;x\x07").mkdir()
    (tmp_path / "links" / "a\udce4").mkdir()
    monkeypatch.setattr(complete, "state_of", lambda team: {"ports": {"eth1": {"system": "a\neth1;reboot\tport\x9b"}}})
    out = io.StringIO()
    complete.tell("pyteamnl", ["--complete", "-p", ""], out)
    complete.tell("pyteamdctl", ["--complete", TEAM, "state", "item", "get", ""], out)
    lines = out.getvalue().split("\n")
    assert lines[1:5] == ["\\x1b]0;x\\x07\tlink", "a\\xe4\tlink", "eth1\tlink", "eth9\tlink"]
    assert lines[6:] == ["ports.eth1.system\ta\\neth1;reboot\\tport\\x9b", ""]
