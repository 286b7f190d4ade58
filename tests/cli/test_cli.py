"""The command line against what the original answered to the same words (golden/cli.json, made by cli_record.py)."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_cases import CASES, DEVICE, FILES, Case

from pyteamd import __version__
from pyteamd.cli.pyteamd.main import main
from pyteamd.cli.pyteamd.options import COMMAND_OPTIONS
from pyteamd.runners import RUNNERS

GOLDEN = json.loads((Path(__file__).parents[1] / "kit/golden/cli.json").read_text())
ROOT_WARNING = "This program is not intended to be run as root.\n"
OWN_WORDS = {
    "'-e' '-f' 'number.json' '-t' 'x'": "",
    "'-e' '-f' 'array.json'": "DIR/array.json:1:1: must be an object, not a list\nFailed to load config.\n",
    "'-e' '-f' 'array.json' '-t' 'x'": "DIR/array.json:1:1: must be an object, not a list\nFailed to load config.\n",
}
"""Where the exit code is the original's and the text is ours: because it says what is wrong, or nothing is."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with the files of the cases; signals and logging are put back afterwards."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TEAM_LOG_OUTPUT", raising=False)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield tmp_path
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    logging.getLogger("pyteamd").handlers.clear()
    logging.raiseExceptions = True


@pytest.fixture(scope="module")
def teamd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that the kernel knows as teamd."""
    program = tmp_path_factory.mktemp("bin") / "teamd"
    shutil.copy("/bin/sleep", program)
    return program


@pytest.fixture
def live(case: Case, teamd: Path) -> Iterator[str]:
    """The number of a team daemon that runs, for the cases that want one."""
    if "{live}" not in (case.pid or ""):
        yield "(none)"
        return
    with subprocess.Popen([str(teamd), "60"]) as process:
        while Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")[:2] != [str(teamd).encode(), b"60"]:
            time.sleep(0.001)  # the new program's name and words appear a moment after its start, the words last
        yield str(process.pid)
        process.kill()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_same_as_the_original(
    case: Case,
    place: Path,
    live: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_dir = place / "run"
    run_dir.mkdir()
    pid_file = run_dir / f"{DEVICE}.pid"
    if case.pid is not None:
        pid_file.write_text(case.pid.replace("{live}", live))
    if case.output:
        monkeypatch.setenv("TEAM_LOG_OUTPUT", case.output)

    code = main(["teamd", *case.line], f"{run_dir}/")

    out, err = capfd.readouterr()
    err = err.replace(live, "LIVE").replace(f"{run_dir}/", "RUN/").replace(str(place), "DIR")
    expected = GOLDEN[case.name]
    assert code == expected["code"]
    assert pid_file.exists() == expected["pid_file"]
    assert err == OWN_WORDS.get(case.name, expected["err"].replace(ROOT_WARNING, ""))
    if expected["out"].startswith("teamd [options]"):
        assert_same_help(out, expected["out"])
    elif expected["out"]:
        assert expected["out"] == "teamd 1.31\n"
        assert out == f"teamd {__version__}\n"
    else:
        assert out == ""


def assert_same_help(ours: str, theirs: str) -> None:
    """The same options with the same arguments in the same order, and the runners we have in the same order."""

    def options(text: str) -> list[list[str]]:
        return [line.split()[:2] for line in text.splitlines() if line.startswith("    -")]

    assert [words[0] for words in options(ours)] == [words[0] for words in options(theirs)]
    named = {words[0]: words[1] for words in options(theirs)}
    for short, long in options(ours):
        # The original forgets to mention that -l takes an argument.
        assert long == named[short] or (short, long) == ("-l", "--log-output=OUTPUT")
    (line,) = [line for line in theirs.splitlines() if line.startswith("Available runners: ")]
    theirs_have = line.removeprefix("Available runners: ").split(", ")
    (line,) = [line for line in ours.splitlines() if line.startswith("Available runners: ")]
    we_have = line.removeprefix("Available runners: ").split(", ")
    assert we_have == list(RUNNERS)
    both = set(theirs_have) & set(we_have)
    assert [name for name in we_have if name in both] == [name for name in theirs_have if name in both]


def test_every_option_is_tried() -> None:
    typed = " ".join(word for case in CASES for word in case.line if word.startswith("-"))
    assert [option.short for option in COMMAND_OPTIONS if option.short not in typed] == []


@pytest.mark.slow
@pytest.mark.parametrize("line", ["-h", "-v", "-e -t team7", "-k -t team7", "-e -f ok.json"])
def test_small_commands_need_no_event_loop(line: str, place: Path) -> None:
    check = "import sys; from pyteamd.cli.pyteamd.main import main; main(['teamd', *sys.argv[2:]], sys.argv[1]);"
    check += "print([m for m in ('trio', 'asyncio', 'pyroute2', 'jeepney', 'yaml', 'ssl') if m in sys.modules])"
    run_dir = f"{place}/run/"
    done = subprocess.run(
        [sys.executable, "-c", check, run_dir, *line.split()], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_run_directory_comes_first(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["teamd", "-h"], f"{place}/no/run/") == 1
    assert capfd.readouterr().err == f'Failed to create directory "{place}/no/run/": No such file or directory\n'
    assert main(["pyteamd", "-v"], f"{place}/no/run/") == 0, "who only asks needs none"
    assert main(["pyteamd", "-k", "-t", "team0"], f"{place}/no/run/") == 1
    assert "Failed to create directory" in capfd.readouterr().err
    assert main(["teamd", "-v"], f"{place}/run/") == 0
    assert (place / "run").is_dir()
    assert main(["teamd", "-v"], f"{place}/run/") == 0


def test_a_stranger_is_not_killed(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """teamd kills whatever process has the number of a daemon that crashed; here it is another program's."""
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (place / f"{DEVICE}.pid").write_text(f"{stranger.pid}\n")
        assert main(["teamd", "-k", "-t", DEVICE], f"{place}/") == 1
        assert stranger.poll() is None
        stranger.kill()
    text = capfd.readouterr().err
    assert "its number belongs to another process; trying to remove PID file." in text
    assert text.endswith("Daemon not running\n")
    assert not (place / f"{DEVICE}.pid").exists()


def test_what_is_wrong_with_a_configuration_is_told_at_once(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (place / "wrong.json").write_text('{"device":"team7",\n "hwaddr":"x",\n "link_watch_policy":"some"}')
    assert main(["teamd", "-f", "wrong.json"], f"{place}/") == 1
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(" ")[0] for line in lines[:2]] == [f"{place}/wrong.json:2:2:", f"{place}/wrong.json:3:2:"]
    assert lines[2:] == [f"{place}/wrong.json: 2 errors: start fails, reload is refused", "Failed to load config."]


def test_an_unreadable_file_is_told_as_a_broken_one(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["teamd", "-e", "-f", "/proc/self/mem"], f"{place}/") == 1
    first = capfd.readouterr().err.splitlines()[0]
    assert first == f"Failed to parse config: unable to open /proc/{os.getpid()}/mem: Input/output error"


def test_serve_needs_no_address_for_metrics(tmp_path: Path) -> None:
    """A default is not checked as if it had been typed."""
    from pyteamd.cli.pyteamd.serve import parse

    assert parse([f"{tmp_path}/none"], "pyteamd serve").metrics_listen is None
    assert parse(["-m", "127.0.0.1:9700", "x"], "pyteamd serve").metrics_listen == "127.0.0.1:9700"
