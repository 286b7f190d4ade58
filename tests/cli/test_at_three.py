"""The programs as a user meets them who is tired and in a hurry: half a command, a wrong word, no permission, an output that is gone.

Each answer is short, says what to type next, and is never a traceback.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ctl_cases import TEAM, WORLDS
from ctl_mock import SILENT, MockDaemon

from pyteamd.cli.pyteamdctl import hints
from pyteamd.client import connection

ROOT = Path(__file__).parents[2]
START = "import sys; sys.argv[0] = {program!r}; from pyteamd.cli.{program}.main import main; sys.exit(main())"
PORT = "add PORTDEV, remove PORTDEV, present PORTDEV, config update PORTDEV PORTCONFIG, config dump PORTDEV"
LEADS = [
    ([TEAM, "port"], f"None or incomplete command\nwhat may follow: {PORT}\n"),
    (
        [TEAM, "port", "config"],
        "None or incomplete command\nwhat may follow: update PORTDEV PORTCONFIG, dump PORTDEV\n",
    ),
    ([TEAM, "port", "nonsense"], f'Unknown command "nonsense".\nwhat may follow: {PORT}\n'),
    ([TEAM, "explian"], f'Unknown command "explian".\ndid you mean: pyteamdctl {TEAM} explain?\n'),
    (["--all"], "None or incomplete command\npyteamdctl -h lists the commands\n"),
    (["--all", "nonsense"], 'Unknown command "nonsense".\npyteamdctl -h lists the commands\n'),
    (["--all", "port", "add"], 'Command line parameter "PORTDEV" expected.\npyteamdctl -h lists the commands\n'),
    (["-H", "one"], "No team device specified.\npyteamdctl -h lists the commands\n"),
    ([TEAM, "port", "add", "nope"], "there is no link nope; ip link shows those that there are\n"),
    ([TEAM, "port", "remove", "nope"], "nope is no port of this team; its ports: eth1, eth2\n"),
    ([TEAM, "port", "config", "dump", "nope"], "nope is no port of this team; its ports: eth1, eth2\n"),
    ([TEAM, "config", "apply", os.devnull], f"{os.devnull}: there is nothing in it; nothing was changed\n"),
    (
        ["nope", "state"],
        "no daemon answers for nope ({run_dir}/nope.sock: No such file or directory)\nis its daemon running? ",
    ),
]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A daemon to ask."""
    unknown = b"REPLY_ERROR\nNoSuchDev\nNo such device.\n"
    replies = {**WORLDS["ab"], "PortAdd": unknown, "PortRemove": unknown, "PortConfigDump": unknown}
    with MockDaemon(str(tmp_path / f"{TEAM}.sock"), replies):
        yield {"PYTEAMD_RUN_DIR": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}


def call(
    environment: dict[str, str], program: str, *words: str, **settings: object
) -> subprocess.CompletedProcess[str]:
    """The program, to its end."""
    command = [sys.executable, "-B", "-c", START.format(program=program), *words]
    settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **settings}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        command, stderr=subprocess.PIPE, env=environment, text=True, timeout=100, check=False, **settings
    )


def test_half_a_command_leads_on(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyteamd.cli.pyteamdctl.main import run

    monkeypatch.setenv("PYTEAMD_RUN_DIR", environment["PYTEAMD_RUN_DIR"])
    monkeypatch.setattr(hints, "REASON_S", 0.02)  # the mock serves one at a time
    for words, said in LEADS:
        code = run("pyteamdctl", words, sys.stdout, sys.stderr)
        out, err = capsys.readouterr()
        assert (code, out) == (1, ""), words
        assert err.startswith(said.format(run_dir=environment["PYTEAMD_RUN_DIR"])), (words, err)


def test_a_daemon_that_stands_still_is_not_called_absent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyteamd.cli.pyteamdctl.main import run

    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(tmp_path))
    monkeypatch.setattr(connection, "REPLY_TIMEOUT_S", 0.02)
    with MockDaemon(str(tmp_path / f"{TEAM}.sock"), {"ConfigDump": SILENT, "Explain": SILENT}):
        assert run("pyteamdctl", [TEAM, "explain"], sys.stdout, sys.stderr) == 1
        assert capsys.readouterr().err.startswith(
            f"the daemon of {TEAM} does not answer (ConfigDump: no reply)\nit is stopped, or"
        )
        assert run("pyteamdctl", ["--all", "explain", "--json"], sys.stdout, sys.stderr) == 1
        assert json.loads(capsys.readouterr().out)["errors"] == {
            TEAM: f"the daemon of {TEAM} does not answer (ConfigDump: no reply)"
        }


@pytest.mark.slow
def test_an_empty_input_is_no_configuration(environment: dict[str, str]) -> None:
    ended = call(environment, "pyteamdctl", TEAM, "config", "apply", "-")
    assert (ended.returncode, ended.stderr) == (1, "standard input had nothing in it; nothing was changed\n")


OUTPUTS = [
    ("pyteamdctl", [TEAM, "config", "dump"]),
    ("pyteamdctl", ["-h"]),
    ("pyteamd", ["schema"]),
    ("pyteamd", ["example", "lacp"]),
    ("pyteamnl", ["-h"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "words"), OUTPUTS, ids=lambda part: part if isinstance(part, str) else " ".join(part)
)
def test_an_output_that_is_full_closed_or_gone_is_no_fault_of_ours(
    program: str, words: list[str], environment: dict[str, str]
) -> None:
    with open("/dev/full", "wb") as full:
        ended = call(environment, program, *words, stdout=full)
    assert (ended.returncode, ended.stderr) == (1, f"{program}: cannot write the output: No space left on device\n")
    ended = call(environment, program, *words, stdout=None, preexec_fn=lambda: os.close(1))
    assert ended.stderr == ""
    reader, writer = os.pipe()
    os.close(reader)
    ended = call(environment, program, *words, stdout=writer)
    os.close(writer)
    assert ended.stderr == ""


PYTHON = "/usr/bin/python3"
"""One that everybody may run; that of the tests may be in a home directory."""


def usable() -> bool:
    """Whether it is new enough."""
    words = [PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    return Path(PYTHON).exists() and subprocess.run(words, check=False).returncode == 0


def importable() -> bool:
    """Whether it has what a daemon needs."""
    words = [PYTHON, "-c", "import trio, pyroute2, yaml"]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv") or not usable(), reason="no root, setpriv or Python"
)
def test_who_may_not_ask_is_told_who_may(environment: dict[str, str], tmp_path: Path) -> None:
    """From a directory that others may look into; the socket is root's."""
    import socket

    place = Path("/dev/shm") / tmp_path.name
    source = shutil.copytree(ROOT / "pyteamd", place / "pyteamd", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (place, *source.rglob("*")):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(place / f"{TEAM}.sock"))
    (place / f"{TEAM}.sock").chmod(0o755)
    nobody = {**environment, "PYTEAMD_RUN_DIR": str(place), "PYTHONPATH": str(place)}
    try:
        found = {}
        for words in ([TEAM, "state"], ["list"]):
            command = [
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "/usr/bin/env",
                "python3",
                "-B",
                "-c",
            ]
            line = [*command, START.format(program="pyteamdctl"), *words]
            found[words[-1]] = subprocess.run(
                line, env=nobody, capture_output=True, text=True, timeout=100, check=False
            )
        if importable():  # a daemon needs trio, and the system may have none
            words = ["-t", TEAM, "-c", "{}", "-p", str(place / "team0.pid")]
            line = [*command, START.format(program="pyteamd"), *words]
            started = subprocess.run(line, env=nobody, capture_output=True, text=True, timeout=100, check=False)
            assert started.returncode == 1, started
            assert "a daemon is started by root; try it with sudo" in started.stderr, started
        for ended in found.values():
            assert ended.returncode == 1, ended
            assert ended.stderr.splitlines()[-1] == "only root may ask a team's daemon; try it with sudo", ended
    finally:
        listener.close()
        shutil.rmtree(place)
