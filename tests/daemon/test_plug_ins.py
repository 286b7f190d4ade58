"""The runner and the watcher of docs/extending.md in a daemon, and the client, which has never heard of them, asks it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import trio
from daemon_kit import Lab, quiet
from test_extending import _plugged_in

from pyteamd.cli import complete
from pyteamd.cli.pyteamdctl import main as ctl

__all__ = ["_plugged_in"]

CONFIG = {
    "runner": {"name": "lowest"},
    "link_watch": {"name": "steady", "quiet": 0},
    "ports": {"eth1": {}, "eth2": {}},
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(tmp_path))


async def say(*words: str) -> str:
    """What `pyteamdctl WORDS…` prints."""
    out, err = io.StringIO(), io.StringIO()
    code = await trio.to_thread.run_sync(ctl.run, "pyteamdctl", words, out, err)
    assert (code, err.getvalue()) == (0, "")
    return out.getvalue()


async def offered(*words: str) -> list[str]:
    """What a shell is told may follow."""
    out = io.StringIO()
    await trio.to_thread.run_sync(complete.tell, "pyteamdctl", ["--complete", *words], out)
    return [line.partition("\t")[0] for line in out.getvalue().splitlines()[1:]]


async def test_state_explain_and_completion(lab: Lab) -> None:
    await lab.start(lab.plan(CONFIG))
    lab.kernel.set_up(lab.link("team0").ifindex, True)
    await trio.sleep(1)
    lab.cut("eth1")
    await quiet()
    shown = await say("-v", "team0", "state")
    assert "runner: lowest" in shown
    assert "name: steady\n        link: down\n        down count: 1\n        breaks: 1\n        quiet: 0\n" in shown
    assert shown.endswith("runner:\n  active_port: eth2\n")
    told = (await say("team0", "explain")).splitlines()
    assert [line.partition(" for ")[0] for line in told] == [
        "eth1: no carrier",
        "eth2: carries all traffic, the first port that is up",
    ]
    answer = json.loads(await say("team0", "explain", "--json"))["ports"]
    assert [port["carrying"] for port in answer] == [False, True]
    assert await say("team0", "state", "item", "get", "runner.active_port") == "eth2\n"
    place = "ports.eth1.link_watches.list.link_watch_0."
    assert await offered("team0", "state", "item", "get", place) == [
        f"{place}{member}" for member in ("breaks", "down_count", "name", "quiet", "up")
    ]
