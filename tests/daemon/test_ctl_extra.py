"""The verbs teamdctl does not have, from the command line to a daemon on the simulated kernel and back."""

from __future__ import annotations

import io
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
import trio
from ctl_mock import MockDaemon
from daemon_kit import ACTIVE_BACKUP, Lab, quiet
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from terminal import pyteamdctl

from pyteamd.cli import given_file
from pyteamd.cli.pyteamdctl import main as ctl
from pyteamd.cli.pyteamdctl.verbs import VERBS

WATCH_USAGE = "usage: watch [SECONDS], up to 86400   for instance: pyteamdctl team0 watch 0.5"
LACP = {"runner": {"name": "lacp", "fast_rate": True}, "ports": {"eth1": {}, "eth2": {}}}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(tmp_path))


async def say(*words: str, program: str = "pyteamdctl") -> tuple[int, str, str]:
    """`pyteamdctl WORDS…`: exit code, output, complaints."""
    out, err = io.StringIO(), io.StringIO()
    code = await trio.to_thread.run_sync(ctl.run, program, words, out, err)
    return code, out.getvalue(), err.getvalue()


def written(lab: Lab, name: str, config: Any) -> str:
    """A file."""
    path = lab.directory / name
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return str(path)


async def test_explain_diff_and_history(lab: Lab) -> None:
    await lab.start()
    await quiet()
    lab.kernel.set_up(lab.link("team0").ifindex, True)
    lab.cut("eth1")
    await quiet()
    assert (await say("team0", "explain", "eth2"))[1].startswith("eth2: carries traffic as the active port for ")
    code, _, err = await say("team0", "explain", "eth9")
    assert (code, "eth9 is neither a port nor to be one." in err) == (1, True)
    assert await say("team0", "diff") == (0, "the kernel is as wanted\n", "")
    history = (await say("team0", "history"))[1]
    assert 'Changed active port to "eth2".  [CarrierSeen]' in history
    assert (await say("team0", "explain", program="teamdctl"))[0] == 1


async def test_a_port_that_flapped_is_forgiven(lab: Lab) -> None:
    # The clock jumps while the client, a thread, is waited for: so what is looked at lasts for hours.
    await lab.start(
        lab.plan({**ACTIVE_BACKUP, "ports": {"eth1": {"damping": {"half_life": 3600}, "prio": 9}, "eth2": {}}})
    )
    await quiet()
    lab.kernel.set_up(lab.link("team0").ifindex, True)
    for up in (False, True) * 3:
        lab.cut("eth1", up)
        await quiet()
    assert "damping: the port flapped" in (await say("team0", "explain", "eth1"))[1]
    assert re.search(r"damping:\n(?: +.*\n)*? +penalty: (2[0-9]{3}|3000)\n", (await say("team0", "state"))[1])
    assert await say("team0", "damping", "clear", "eth1") == (0, "", "")
    assert "carries traffic as the active port" in (await say("team0", "explain", "eth1"))[1]
    code, _, err = await say("team0", "damping", "clear", "eth2")
    assert code == 1
    assert "eth2 is no port with damping.half_life" in err


async def test_config_apply(lab: Lab) -> None:
    await lab.start()
    await quiet()
    new = written(lab, "new.conf", {**ACTIVE_BACKUP, "ports": {"eth1": {}, "eth2": {"prio": 9}}})
    change = "ports.eth2.prio: 0 -> 9 (the team is interrupted)\n"
    dry = await say("team0", "config", "apply", new, "--dry-run")
    assert dry == (0, f"{change}1 change; apply with: pyteamdctl team0 config apply {new}\n", "")
    assert lab.option("priority", "eth2") == 0
    assert await say("team0", "config", "apply", new) == (0, f"{change}1 change in force\n", "")
    assert await say("team0", "config", "apply", new) == (0, "nothing differs\n", "")
    assert lab.option("priority", "eth2") == 9
    bad = written(lab, "bad.conf", '{"runner": {"name": "activebackup"},\n"ports": {"eth1": {"prio": "x"}}}')
    code, _, err = await say("team0", "config", "apply", bad)
    assert code == 1
    assert f"{bad}:2:20: error: ports.eth1.prio: must be an integer" in err
    assert f"nothing was changed; look at the file with: pyteamd check {bad}" in err
    for words in ((), ("a", "b"), ("--dry-run",), ("--force", "a"), (f"{lab.directory}/none",)):
        code, _, err = await say("team0", "config", "apply", *words)
        assert code == 1
        assert "usage: config apply FILE" in err or "No such file" in err


async def test_config_apply_of_what_has_no_end(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others that read files: tests/cli/test_given_file.py."""
    await lab.start()
    await quiet()
    monkeypatch.setattr(given_file, "MOST_OCTETS", 1000)
    code, _, err = await say("team0", "config", "apply", "/dev/zero")
    assert (code, "cannot read /dev/zero: longer than 1000 octets" in err) == (1, True), err


async def test_list_and_all(lab: Lab) -> None:
    none = f"no team daemon has a socket in {lab.directory}; start one with: pyteamd -d -t team0 -f FILE\n"
    for words in (("list",), ("--all", "explain")):
        assert await say(*words) == (0, "", none)
    code, out, err = await say("--all", "state", "dump")
    assert (code, json.loads(out)["teams"], err) == (0, {}, none)
    await lab.start()
    await quiet()
    (lab.directory / "stale.sock").write_text("")
    assert await say("list") == (0, "team0: activebackup; eth1 up, eth2 up; active port eth1\n", "")
    assert await say("--all", "state", "item", "get", "runner.active_port") == (0, "== team0\neth1\n", "")
    assert (await say("--all", "state", "item", "get", "nothing"))[0] == 1
    with MockDaemon(f"{lab.directory}/team1.sock", {"StateDump": b"REPLY_SUCCESS\n[]\n"}):
        listed = await say("list")
    assert (listed[0], listed[2]) == (1, "team1: StateDump: what came is no JSON object\n")
    assert listed[1].startswith("team0: activebackup; ")


async def test_metrics_and_trace(lab: Lab) -> None:
    await lab.start()
    assert (await say("team0", "metrics"))[1].endswith("# EOF\n")
    trace = str(lab.directory / "t.jsonl")
    code, out, _ = await say("team0", "trace", "save", trace)
    assert code == 0
    assert f"pyteamd timeline {trace}" in out


async def test_a_name_that_was_foretold_leads_nowhere(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's link stands in /tmp, where root saves a trace."""
    await lab.start()
    monkeypatch.chdir(lab.directory)
    monkeypatch.setattr(time, "strftime", lambda form: "now")
    os.symlink("elsewhere", "team0-now.jsonl")
    code, _, err = await say("team0", "trace", "save")
    assert (code, err) == (1, "cannot write team0-now.jsonl: File exists\n")
    assert "elsewhere" not in os.listdir()
    os.unlink("team0-now.jsonl")
    assert (await say("team0", "trace", "save"))[0] == 0
    assert os.stat("team0-now.jsonl").st_size > 0


async def test_all_teams_are_one_text_one_document_one_stream(lab: Lab) -> None:
    one = await lab.start()
    await quiet()
    text = (await say("team0", "metrics"))[1]
    other = text.replace('team="team0"', 'team="team1"').encode()
    config = {"device": "team1"}
    answers = {
        "ConfigDump": b"REPLY_SUCCESS\n" + json.dumps(config).encode(),
        "ConfigDumpActual": b"REPLY_SUCCESS\n" + json.dumps(config).encode(),
        "StateDump": b"REPLY_SUCCESS\n{}",
        "Metrics": b"REPLY_SUCCESS\n" + other,
    }
    with MockDaemon(f"{lab.directory}/team1.sock", answers):
        code, out, _ = await say("--all", "metrics")
        families = list(text_string_to_metric_families(out))
        assert code == 0
        assert {family.name for family in families} == {family.name for family in text_string_to_metric_families(text)}
        ports = next(family for family in families if family.name == "pyteamd_ports")
        assert [sample.labels["team"] for sample in ports.samples] == ["team0", "team1"]
        code, out, _ = await say("--all", "config", "dump")
        assert json.loads(out)["teams"]["team1"] == config
        assert json.loads(out)["teams"]["team0"]["runner"] == {"name": "activebackup"}
    assert one.code is None


async def test_a_picture_for_a_pipe_fits_80_columns(lab: Lab) -> None:
    await lab.start(lab.plan(LACP))
    code, out, _ = await say("team0", "watch")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("team0: lacp, 02:")
    assert "\x1b" not in out
    assert max(map(len, lines)) <= 80
    assert any("eth1" in line for line in lines)
    assert "last transitions:" in lines
    for words in (["soon"], ["inf"], ["nan"], ["1e300"], ["-1"], ["9" * 5000], ["1", "2"]):
        assert await say("team0", "watch", *words) == (
            1,
            "",
            f"{WATCH_USAGE}\n",
        )


@pytest.mark.slow
async def test_watch_in_a_terminal(lab: Lab) -> None:
    await lab.start(lab.plan(LACP))
    await quiet()

    def look() -> None:
        with pyteamdctl(("team0", "watch", "0.1"), lab.directory) as terminal:
            terminal.shows("team0", "lacp", "eth1", "eth2", "last events", "q leave")
            terminal.type("\r")
            terminal.shows("receive ", "actor ", "partner ", "Esc back")
            terminal.type("q")
            assert terminal.ended() == 0
            assert terminal.restored()

    await trio.to_thread.run_sync(look)


async def test_help_has_an_example_of_every_verb_of_our_own() -> None:
    code, out, _ = await say("--help")
    assert code == 0
    examples = out.split("Examples:\n")[1]
    for verb in (verb for verb in VERBS if verb.extra):
        assert f"team0 {' '.join(verb.words)}" in examples
    assert "Examples" not in (await say("--help", program="teamdctl"))[1]


async def test_errors_say_what_to_type_next() -> None:
    code, _, err = await say("team0", "explain")
    assert code == 1
    assert err.splitlines()[-1].endswith("start one with: pyteamd -d -o -t team0 -f FILE")
    assert "start one" not in (await say("team0", "state", program="teamdctl"))[2]
