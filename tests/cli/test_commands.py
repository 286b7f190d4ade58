"""check, schema, example and replay, as they are called from a shell."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from schema_kit import wrong

from pyteamd.cli.pyteamd import main as cli
from pyteamd.config.config import Config
from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*"))
GOOD = '{"runner": {"name": "activebackup"}, "ports": {"eth1": {"prio": 10}}}\n'
BAD = """\
{
    "runner": {"name": "activbackup"},
    "ports": {
        "eth1": {"prio": 99999999999},
        "eth2": {"link_watch": {"name": "ethtol"}}
    }
}
"""
WARNED = '{"runner": {"name": "roundrobin"}, "prots": {}}\n'
"""A key nobody knows is a warning: teamd starts with it."""
GOOD_VERDICT = "good: start and reload take it"
VERDICTS = [
    ("{}", 0, GOOD_VERDICT),
    (WARNED, 0, "1 warning: start and reload take it without these keys"),
    ('{"metrics_listen": "127.0.0.1:80"}', 0, "1 warning: start and reload take it"),
    (
        '{"ports": {"eth1": {"prio": "high"}}}',
        1,
        "1 error: start goes on without these values, as teamd does; reload is refused",
    ),
    (
        '{"x": 1, "ports": {"eth1": {"queue_id": -1}}}',
        1,
        "1 error, 1 warning: start leaves the refused ports out, reload is refused",
    ),
    (BAD, 1, "1 error: start fails, reload is refused"),
]


def run(*words: str) -> int:
    """`pyteamd WORDS…`; returns the exit code, argparse's included."""
    try:
        return cli.main(["pyteamd", *words])
    except SystemExit as ended:
        return int(ended.code or 0)


def file(directory: Path, name: str, text: str) -> str:
    """Write a file; returns its path."""
    path = directory / name
    path.write_text(text)
    return str(path)


def test_a_good_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = file(tmp_path, "good.json", GOOD)
    assert run("check", good) == 0
    assert capsys.readouterr().out == f"{good}: {GOOD_VERDICT}\n"


@pytest.mark.parametrize(("text", "status", "told"), VERDICTS)
def test_one_verdict(text: str, status: int, told: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What check says is what a reload does, and the log of a start says it in the same words."""
    from explain_kit import backup
    from explain_kit import told as team_of

    from pyteamd.core.reload import plan

    name = file(tmp_path, "team0.json", text)
    assert run("check", name) == status
    *lines, last = capfd.readouterr().out.splitlines()
    assert last == f"{name}: {told}"
    assert {line.split(" ")[1] for line in lines} <= {"error:", "warning:"}
    refused = plan(team_of(backup()).team, text, name).refusals
    assert (list(refused) == lines) if status else refused == () or "runner.name" in refused[0]
    if "start fails" in told:
        assert run("-t", "team0", "-f", name) == 78
        assert capfd.readouterr().err.splitlines()[:-1] == [*lines, last]


def test_every_problem_of_every_file_with_line_and_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, good = file(tmp_path, "bad.json", BAD), file(tmp_path, "good.json", GOOD)
    assert run("check", bad, good) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{good}: {GOOD_VERDICT}"
    assert all(line.startswith(bad) for line in lines[:-1])
    told = "\n".join(lines)
    assert re.search(r'bad\.json:2:\d+: .*runner\.name: "activbackup" is unknown.*did you mean.*activebackup', told), (
        told
    )


def test_port_problems_are_all_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = file(tmp_path, "bad.json", BAD.replace("activbackup", "activebackup"))
    assert run("check", bad) == 1
    told = capsys.readouterr().out
    assert re.search(r"bad\.json:4:\d+: .*ports\.eth1\.prio", told), told
    assert re.search(r'bad\.json:5:\d+: .*ports\.eth2\.link_watch\.name: "ethtol" is unknown.*ethtool', told), told


@pytest.mark.parametrize(("flags", "status"), [((), 0), (("--strict",), 1), (("-s",), 1)])
def test_warnings_fail_only_when_strict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], status: int
) -> None:
    assert run("check", *flags, file(tmp_path, "warned.json", WARNED)) == status
    assert "ports" in capsys.readouterr().out


def test_every_example_file_passes(capsys: pytest.CaptureFixture[str]) -> None:
    for path in EXAMPLES:
        assert run("check", "--strict", str(path)) == 0
        assert capsys.readouterr().out == f"{path}: {GOOD_VERDICT}\n"


def test_the_example_for_tipc_is_refused_as_its_explanation_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", str(ROOT / "docs/activebackup_tipc.conf")) == 1
    *told, _ = capsys.readouterr().out.splitlines()
    assert all("not supported here" in line for line in told)


def test_what_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = str(tmp_path / "nothing.json")
    assert run("check", nothing) == 1
    hint = "begin one with: pyteamd example activebackup > FILE"
    assert capsys.readouterr().err == f"{nothing}: cannot be read: No such file or directory; {hint}\n"
    binary = tmp_path / "binary.json"
    binary.write_bytes(b'{"device": "\xff"}')
    assert run("check", str(binary)) == 1
    assert "binary.json" in "".join(capsys.readouterr())


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(GOOD.encode())))
    assert run("check", "-") == 0
    assert capsys.readouterr().out == "-: good: start and reload take it\n"


def test_schema_accepts_what_the_loader_accepts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("schema") == 0
    schema = json.loads(capsys.readouterr().out)
    assert wrong(json.loads(GOOD), schema) == []
    assert wrong(json.loads(BAD), schema) != []


@pytest.mark.parametrize("watcher", list(WATCHERS))
@pytest.mark.parametrize("runner", list(RUNNERS))
def test_examples_are_good_configurations(runner: str, watcher: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("example", runner, watcher) == 0
    text = capsys.readouterr().out
    assert "#" in text
    config = Config.load(text, runners=RUNNERS, watchers=WATCHERS, device="team0")
    assert config.runner_name == runner
    assert config.problems == []


def test_an_unknown_runner_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("example", "bond") == 2
    assert "activebackup" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "not the beginning of a trace"),
        ('{"format": 1}\n', "line 1: no 'config'"),
        ('{"format": 1, "config": {"runner": {"name": "x"}}}\n', "x"),
        ("\x00\n", "line 1"),
    ],
)
def test_replay_of_what_is_no_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, what: str) -> None:
    assert run("replay", file(tmp_path, "trace.jsonl", text)) == 2
    assert what in capsys.readouterr().err


def test_replay_of_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("replay", str(tmp_path / "nothing")) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"{tmp_path}/nothing: No such file or directory; a trace is written by: pyteamdctl")


@pytest.mark.parametrize("command", sorted(cli.SUBCOMMANDS))
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    told = capsys.readouterr().out
    assert f"pyteamd {command}" in told
    assert "example" in told


@pytest.mark.parametrize(
    ("word", "meant"),
    [("chek", "did you mean: pyteamd check?"), ("frobnicate", "pyteamd -h lists the commands")],
)
def test_a_word_that_is_no_command_says_what_to_type(
    word: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["pyteamd", word], f"{tmp_path}/") == 1
    assert capsys.readouterr().err == f'"{word}" is no command; {meant}\n'
