"""The `simulate` command: files in, transcripts, differences and exit codes out."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pyteamd.cli.pyteamd.simulate import main

SCRIPT = "worlds: sim\n\nOne port.\n\nport eth1\nstart\n\nadd eth1\n\nstate runner\n"
CONFIG = '{"runner": {"name": "activebackup"}, "ports": {"eth1": {}, "eth2": {}}}'


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "one.txt"
    path.write_text(SCRIPT)
    return path


def test_the_transcript_is_printed(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(script)], "pyteamd simulate") == 0
    printed = capsys.readouterr().out
    assert 'state runner\n----\n{"active_port": "eth1"}\n' in printed
    assert script.read_text() == SCRIPT


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(SCRIPT))
    assert main(["-"], "pyteamd simulate") == 0
    assert "+0.000 write   add port eth1" in capsys.readouterr().out


def test_check_and_rewrite(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(script)], "pyteamd simulate") == 1
    assert '  + {"active_port": "eth1"}' in capsys.readouterr().out
    assert main(["--rewrite", str(script)], "pyteamd simulate") == 0
    assert capsys.readouterr().out == f"{script}: rewritten\n"
    assert main(["--check", str(script)], "pyteamd simulate") == 0
    assert main(["--rewrite", str(script)], "pyteamd simulate") == 0
    assert capsys.readouterr().out == ""


def test_a_script_that_cannot_be_run(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script.write_text("Prose.\n\nlink eth1 up\n")
    assert main([str(script)], "pyteamd simulate") == 1
    assert capsys.readouterr().err == f"{script}: line 3: link: there is no interface 'eth1'\n"


def test_no_such_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.txt")], "pyteamd simulate") == 1
    assert "No such file" in capsys.readouterr().err


def test_random_runs(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script.write_text(CONFIG)
    assert main(["--random", "2", "--first", "7", "--steps", "10", str(script)], "pyteamd simulate") == 0
    assert capsys.readouterr().out == "2 random runs of 10 steps (seeds 7 to 8): none failed\n"
    script.write_text('{"runner": {"name": "nonsense"}}')
    assert main(["--random", "2", str(script)], "pyteamd simulate") == 1
    assert "nonsense" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["--random", "0", "x"], ["--random", "1"], ["--rewrite", "-"], ["--rewrite", "--check", "x"]]
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments, "pyteamd simulate")
    assert caught.value.code == 2
    told = capsys.readouterr().err.splitlines()
    assert (len(told), told[1]) == (2, "pyteamd simulate -h explains the options")


def test_commands_are_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--commands"], "pyteamd simulate") == 0
    printed = capsys.readouterr().out
    assert "\nlink NAME up|down: the far end, so the carrier.\n" in printed
    assert "\nstate [PATH]: " in printed
