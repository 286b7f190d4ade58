"""A trace taken from a running daemon, fed through the code again: the same decisions, or the first difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from daemon_kit import ACTIVE_BACKUP, Lab, Running, quiet

from pyteamd.cli.pyteamd import check as commands
from pyteamd.scenario.replay import replay, retell
from pyteamd.views.timeline import timeline

BACKWARDS = {**ACTIVE_BACKUP, "ports": {"eth2": {}, "eth1": {}}}
LACP = {"runner": {"name": "lacp", "fast_rate": True}, "ports": {"eth1": {}, "eth2": {}}}
PINGED = {**ACTIVE_BACKUP, "link_watch": [{"name": "arp_ping", "target_host": "192.0.2.1", "interval": 100}]}


async def saved(daemon: Running) -> list[str]:
    """The lines of the trace, fetched piece by piece as `trace save` does it."""
    lines: list[str] = []
    start: int | None = 0
    while start is not None:
        piece = json.loads(await daemon.call("Trace", str(start)))
        lines += piece["lines"]
        start = piece["next"]
    return lines


async def eventful(lab: Lab, config: dict[str, Any]) -> list[str]:
    """A life with cuts, requests good and bad, ports that come and go, and lost messages."""
    daemon = await lab.start(lab.plan(config))
    await quiet()
    for up in (False, True, False):
        lab.cut("eth1", up)
        await trio.sleep(0.7)
    await daemon.call("StateItemValueSet", "runner.active_port", "eth1")
    await daemon.call("StateItemValueSet", "runner.active_port", "nothing")
    settings = {"prio": 7, "link_watch": [{"name": "ethtool", "delay_up": 10}]}
    await daemon.call("PortConfigUpdate", "eth2", json.dumps(settings))
    await daemon.call("PortRemove", "eth1")
    lab.kernel.add_pair("eth3", "peer3")
    await quiet()
    await daemon.call("PortAdd", "eth3")
    lab.kernel.lose_events()
    lab.kernel.delete_link(lab.link("eth2").ifindex)
    await trio.sleep(3)
    return await saved(daemon)


@pytest.mark.parametrize(
    "config", [ACTIVE_BACKUP, BACKWARDS, PINGED, LACP], ids=["activebackup", "backwards", "arp_ping", "lacp"]
)
async def test_the_same_code_decides_the_same(lab: Lab, config: dict[str, Any]) -> None:
    lines = await eventful(lab, config)
    steps, difference = replay(lines)
    assert difference is None, difference.text()
    assert steps == len(lines) - 1 > 30


async def test_a_doctored_trace_shows_the_first_difference(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = await eventful(lab, ACTIVE_BACKUP)
    at = next(n for n, line in enumerate(lines) if "ethtool-link went down" in line)
    lines[at] = lines[at].replace('"running":false', '"running":true')
    trace = tmp_path / "doctored.jsonl"
    trace.write_text("\n".join(lines) + "\n")
    assert commands.replay([str(trace)], "pyteamd replay") == 1
    told = capsys.readouterr().out
    assert f"{at - 1} steps the same, then a difference" in told
    assert "recorded only: says 'Changed active port to \"eth2\".'" in told


async def test_replay_says_that_nothing_changed(lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "good.jsonl"
    lines = await eventful(lab, ACTIVE_BACKUP)
    trace.write_text("\n".join(lines) + "\n")
    assert commands.replay([str(trace)], "pyteamd replay") == 0
    assert capsys.readouterr().out == f"{trace}: {len(lines) - 1} steps, the same decisions\n"


async def test_a_daemon_that_took_over(lab: Lab) -> None:
    await lab.start(lab.plan(keep=True))
    await lab.daemons[0].stop()
    daemon = await lab.start(lab.plan(take_over=True))
    lab.cut("eth1")
    await quiet()
    steps, difference = replay(await saved(daemon))
    assert difference is None, difference.text()
    assert steps > 5


async def test_a_trace_without_its_beginning(lab: Lab) -> None:
    daemon = await lab.start()
    lines = await saved(daemon)
    lines[0] = lines[0].replace('"dropped":0', '"dropped":12')
    with pytest.raises(ValueError, match="the first 12 steps fell out of the ring"):
        replay(lines)
    assert (await daemon.call("Trace", "x")).startswith("InvalidArgs")


async def test_a_running_daemon_says_when_it_was_and_how_all_is(lab: Lab) -> None:
    daemon = await lab.start(lab.plan(ACTIVE_BACKUP))
    await quiet()
    await trio.sleep(1.0)
    lab.cut("eth1")
    await trio.sleep(1.0)
    lines = await saved(daemon)
    told = json.loads(lines[0])["saved"]
    assert ["eth1", "carrier", "down", "bad"] in told["lanes"]
    assert told["unix"] > 1_600_000_000
    found = timeline(lines, retell)
    assert found.unix_offset_s == pytest.approx(told["unix"] - told["now"])
    assert [span.value.text for span in found.spans["eth1", "carrier"]] == ["up", "down"]
    assert [mark.kind for mark in found.marks if "carrier down" in mark.text] == ["event"]
    assert not found.remarks
