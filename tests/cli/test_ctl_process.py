"""pyteamdctl as a process: what it imports, its name, and an output that cannot be written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ctl_cases import TEAM, WORLDS
from ctl_mock import MockDaemon

ROOT = Path(__file__).parents[2]
START = "import sys; from pyteamd.cli.pyteamdctl.main import main; sys.exit(main())"
SLOW_TO_IMPORT = {
    *("asyncio", "argparse", "dataclasses", "inspect", "jeepney", "json", "logging", "pyroute2", "rich", "subprocess"),
    *("trio", "typing", "yaml"),
}


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A daemon to ask, and the environment in which the client finds it and ourselves."""
    with MockDaemon(str(tmp_path / f"{TEAM}.sock"), WORLDS["ab"]):
        yield {"PYTEAMD_RUN_DIR": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}


def call(environment: dict[str, str], *args: str | bytes, code: str = START) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", code, *args]
    return subprocess.run(command, capture_output=True, env=environment, timeout=30, check=False)


def test_little_is_imported(environment: dict[str, str]) -> None:
    code = "import sys; from pyteamd.cli.pyteamdctl.main import main; main(); print(*sys.modules, file=sys.stderr)"
    ended = call(environment, TEAM, "state", code=code)
    assert ended.returncode == 0
    assert ended.stdout.startswith(b"setup:\n  runner: activebackup\n")
    loaded = {name.split(".")[0] for name in ended.stderr.decode().split()}
    assert not loaded & SLOW_TO_IMPORT
    assert "pyteamd" in loaded


@pytest.mark.parametrize(
    ("path", "program"),
    [("/opt/bin/teamdctl", b"teamdctl"), ("pyteamdctl", b"pyteamdctl"), ("/x/pyteamd/ctl.py", b"pyteamdctl")],
)
def test_its_name_is_the_last_part_of_its_path(environment: dict[str, str], path: str, program: bytes) -> None:
    code = f"import sys; sys.argv[0] = {path!r}; from pyteamd.cli.pyteamdctl.main import main; sys.exit(main())"
    ended = call(environment, "--bogus", code=code)
    assert ended.returncode == 1
    ours = program == b"pyteamdctl"
    last = b"pyteamdctl -h lists the commands\n" if ours else b"unknown option.\n"
    assert ended.stderr == program + b": unrecognized option '--bogus'\n" + last
    assert ended.stdout.startswith(b"" if ours else program + b" [options] teamdevname")
    assert not (ours and ended.stdout)


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "POSIX"])
def test_bytes_pass_unchanged_in_any_locale(environment: dict[str, str], locale: str) -> None:
    ended = call({**environment, "LC_ALL": locale}, TEAM, "bogus\u00e9".encode() + b"\xff")
    assert ended.stderr == b'Unknown command "bogus\xc3\xa9\xff".\n-c -h lists the commands\n'


def test_a_full_disk_is_told(environment: dict[str, str]) -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-c", START, TEAM, "state"]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment, timeout=30, check=False)
    assert ended.returncode == 1
    assert ended.stderr == b"-c: cannot write the output: No space left on device\n"


def test_a_reader_that_goes_away_ends_it_without_a_word(environment: dict[str, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", START, TEAM, "state"]
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment, timeout=30, check=False)
    os.close(writer)
    assert ended.returncode == -signal.SIGPIPE
    assert ended.stderr == b""


def test_closed_outputs(environment: dict[str, str]) -> None:
    script = f'exec "{sys.executable}" -c "{START}" {TEAM} config >&- 2>&-'
    ended = subprocess.run(["sh", "-c", script], env=environment, timeout=30, check=False)
    assert ended.returncode == 1
