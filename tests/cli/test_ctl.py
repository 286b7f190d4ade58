"""pyteamdctl answers as teamdctl 1.31 does: text, messages, exit code, and the bytes on the socket.

The cases are in ctl_cases, the answers in golden/teamdctl-1.31.json, written by the C program itself (ctl_record).
"""

from __future__ import annotations

import io
import socket
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from ctl_cases import DEAD_SOCKET, NO_SOCKET, TEAM, Case, cases, replies
from ctl_mock import SILENT, MockDaemon
from ctl_record import SOCKET_ANSWERS, asks_the_kernel, load

from pyteamd import __version__
from pyteamd.cli.pyteamdctl import main as ctl
from pyteamd.cli.pyteamdctl.verbs import VERBS, Session, Verb
from pyteamd.client import connection as client

CASES = {case.name: case for case in cases()}
GOLDEN = load(SOCKET_ANSWERS)
REAL_RUN_DIR = "/var/run/teamd"


def answer(case: Case, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What our program does with the case; the run directory's name as it would be on a real system."""
    path = str(run_dir / f"{TEAM}.sock")
    for name in ("TEAMDCTL_LOG", "POSIXLY_CORRECT"):
        monkeypatch.delenv(name, raising=False)
    settings = {"PYTEAMD_RUN_DIR": str(run_dir), "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/run/no-bus", **case.env}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    if case.world.startswith("silent"):
        monkeypatch.setattr(client, "REPLY_TIMEOUT_S", 0.3)
    if case.world == DEAD_SOCKET:
        with MockDaemon(path, {}):
            pass
    out, err = io.StringIO(), io.StringIO()
    serving = case.world not in (NO_SOCKET, DEAD_SOCKET)
    with MockDaemon(path, replies(case.world)) if serving else nullcontext() as mock:
        code = ctl.run("teamdctl", case.argv, out, err)
    packets = [packet.decode("utf-8", "surrogateescape") for packet in mock.packets] if mock else []
    errors = err.getvalue().replace(str(run_dir), REAL_RUN_DIR)
    return {"code": code, "out": out.getvalue(), "err": errors, "packets": packets}


def test_every_case_has_an_answer_and_every_answer_its_case() -> None:
    assert set(CASES) == set(GOLDEN)


@pytest.mark.parametrize("name", [name for name in CASES if not asks_the_kernel(CASES[name], GOLDEN)])
def test_as_teamdctl(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(CASES[name], tmp_path, monkeypatch) == GOLDEN[name]


def test_an_interface_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the privilege to open the socket that is used to ask, teamdctl says that instead."""
    monkeypatch.delenv("PYTEAMD_RUN_DIR", raising=False)
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM).close()
        text = 'Device "nosuch0" does not exist\n'
    except PermissionError:
        text = 'Device "nosuch0" - failed to get interface index (Operation not permitted)\n'
    out, err = io.StringIO(), io.StringIO()
    assert ctl.run("teamdctl", ["nosuch0", "state"], out, err) == 1
    assert (out.getvalue(), err.getvalue()) == ("", text)


@pytest.mark.parametrize(("sign", "told"), [("", True), ("-", False)])
def test_a_level_of_the_log_beyond_all_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sign: str, told: bool
) -> None:
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(tmp_path))
    monkeypatch.setenv("TEAMDCTL_LOG", sign + "9" * 5000)
    err = io.StringIO()
    assert ctl.run("teamdctl", [TEAM, "state"], io.StringIO(), err) == 1
    assert ("libteamdctl: " in err.getvalue()) is told


def said(program: str, *words: str) -> tuple[int, str, list[str]]:
    """Exit code, output, and the lines of complaint."""
    out, err = io.StringIO(), io.StringIO()
    return ctl.run(program, words, out, err), out.getvalue(), err.getvalue().splitlines()


def test_the_help_has_all_that_teamdctls_has() -> None:
    ours, theirs = (said(program, "-h")[1].splitlines() for program in ("pyteamdctl", "teamdctl"))
    assert [line for line in theirs if line not in ours] == [theirs[0]]
    assert ours[0] == f"py{theirs[0]}"


WRONG = [
    (["--bogus"], "pyteamdctl: unrecognized option '--bogus'", "pyteamdctl -h lists the commands"),
    ([], "No team device specified.", "pyteamdctl -h lists the commands"),
    ([TEAM], "None or incomplete command", "pyteamdctl -h lists the commands"),
    ([TEAM, "stat", "dmp"], 'Unknown command "dmp".', f"did you mean: pyteamdctl {TEAM} state dump?"),
    (["state", TEAM], f'Unknown command "{TEAM}".', f"did you mean: pyteamdctl {TEAM} state?"),
    (["explain", TEAM, "eth1"], f'Unknown command "{TEAM}".', f"did you mean: pyteamdctl {TEAM} explain eth1?"),
    (["port", "add", TEAM, "eth1"], 'Unknown command "add".', f"did you mean: pyteamdctl {TEAM} port add eth1?"),
    (["config", "apply", TEAM, "f"], 'Unknown command "apply".', f"did you mean: pyteamdctl {TEAM} config apply f?"),
    (["watch", TEAM], f'Unknown command "{TEAM}".', f"did you mean: pyteamdctl {TEAM} watch?"),
    (["state"], "None or incomplete command", "which team? pyteamdctl TEAM state; pyteamdctl list shows them"),
    (["-H"], "option '-H' requires an argument", "pyteamdctl -h lists the commands"),
    (
        [TEAM, "state", "item", "get"],
        'Command line parameter "ITEMPATH" expected.',
        f"usage: pyteamdctl {TEAM} state item get ITEMPATH",
    ),
]


@pytest.mark.parametrize(("words", "error", "hint"), WRONG, ids=[" ".join(row[0]) for row in WRONG])
def test_a_wrong_command_line_is_one_error_and_one_hint(
    words: list[str], error: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(tmp_path))
    with MockDaemon(str(tmp_path / f"{TEAM}.sock"), {}):
        assert said("pyteamdctl", *words) == (1, "", [error, hint])
        assert said("teamdctl", *words)[1].startswith("teamdctl [options] teamdevname")


def test_versions() -> None:
    assert said("pyteamdctl", "--version") == (0, f"pyteamdctl {__version__}\n", [])
    assert said("pyteamdctl", "-V")[0] == 0
    assert said("teamdctl", "--version")[0] == 1


def test_lacp_states_in_words_except_under_teamdctls_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(tmp_path))
    told = {}
    with MockDaemon(str(tmp_path / f"{TEAM}.sock"), replies("lacp")):
        for program in ("teamdctl", "pyteamdctl"):
            out = io.StringIO()
            assert ctl.run(program, [TEAM, "state", "-v"], out, io.StringIO()) == 0
            told[program] = out.getvalue()
    ours, words = "state: 0x3d", " (active, long timeout, aggregatable, in sync, collecting, distributing)"
    theirs, more = "state: 0xff", ", collecting, distributing, defaulted, expired)"
    assert told["pyteamdctl"].count(ours + words) == 2
    assert told["pyteamdctl"].count(more) == 2
    lines = [line.partition(" (")[0] for line in told["pyteamdctl"].splitlines()]
    assert "\n".join([*lines, ""]) == told["teamdctl"]
    assert theirs in told["teamdctl"]


def test_verbs_that_teamdctl_lacks_are_hidden_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(session: Session) -> None:
        session.print("nothing")

    monkeypatch.setattr(ctl, "VERBS", (*VERBS, Verb("configuration", "", nothing, extra=True)))
    for program, shown in (("teamdctl", False), ("pyteamdctl", True)):
        out = io.StringIO()
        assert ctl.run(program, ["-h"], out, io.StringIO()) == 0
        assert ("configuration" in out.getvalue()) is shown
        err = io.StringIO()
        assert ctl.run(program, [TEAM, "configur", "x"], io.StringIO(), err) == 1
        hint = f"did you mean: {program} {TEAM} configuration?\n" if shown else ""
        assert err.getvalue() == f'Unknown command "{"x" if shown else "configur"}".\n{hint}'


def test_a_daemon_that_does_not_know_our_verbs_is_named_as_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(tmp_path))
    monkeypatch.setattr(client, "REPLY_TIMEOUT_S", 0.3)
    err = io.StringIO()
    with MockDaemon(str(tmp_path / f"{TEAM}.sock"), {**replies("lacp"), "Explain": SILENT}):
        assert ctl.run("pyteamdctl", [TEAM, "explain"], io.StringIO(), err) == 1
    assert err.getvalue() == (
        "Explain: no reply\nexplain is pyteamd's own; another daemon, such as C teamd, does not answer it\n"
    )
