"""Many teams in one process: each for itself, with its own socket; they come and go with their files."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
from daemon_kit import Lab, Lines, Running, quiet

from pyteamd.host import Host
from pyteamd.notify import Notifier
from pyteamd.pump import Pump
from pyteamd.service_many import RESTART_S, Fleet, Settings, serve_many


@dataclass
class Many:
    """The process."""

    lab: Lab
    directory: Path
    fleet: Fleet
    lines: list[str]
    codes: list[int] = field(default_factory=list)

    def write(self, name: str, config: Any) -> None:
        """A configuration file."""
        (self.directory / name).write_text(config if isinstance(config, str) else json.dumps(config))

    def client(self, team: str) -> Running:
        """Somebody who asks a team."""
        path = str(self.lab.directory / f"{team}.sock")
        return Running(Host(self.lab.kernel), path, logging.getLogger("client"), [])

    async def hang_up(self) -> None:
        """SIGHUP."""
        signal.raise_signal(signal.SIGHUP)
        await trio.sleep(0.5)

    def teams(self) -> list[str]:
        """Those with a control socket."""
        return sorted(name.removesuffix(".sock") for name in os.listdir(self.lab.directory) if name.endswith(".sock"))


def team(port: str, **more: Any) -> dict[str, Any]:
    """activebackup with one port."""
    return {"runner": {"name": "activebackup"}, "ports": {port: {}}, **more}


@pytest.fixture
async def many(lab: Lab) -> Callable[[], Any]:
    """Starts the process with what is in the directory."""
    directory = lab.directory / "teams"
    directory.mkdir()
    log, handler = logging.getLogger("many"), Lines()
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
    fleet = Fleet([str(directory)], Settings(f"{lab.directory}/"), lab.kernel, log)
    made = Many(lab, directory, fleet, handler.lines)
    made.write("team0.conf", team("eth1"))
    made.write("team1.json", team("eth2"))

    async def run() -> None:
        made.codes.append(await serve_many(fleet, log, Notifier({}), ready.set))
        ready.set()

    ready = trio.Event()

    async def start() -> Many:
        lab.nursery.start_soon(run)
        await ready.wait()
        await quiet()
        return made

    start.made = made  # type: ignore[attr-defined]
    return start


async def test_each_team_has_its_socket_and_its_ports(many: Any) -> None:
    made = await many()
    assert made.teams() == ["team0", "team1"]
    assert list((await made.client("team0").state())["ports"]) == ["eth1"]
    assert list((await made.client("team1").state())["ports"]) == ["eth2"]
    made.lab.cut("eth2")
    await quiet()
    assert (await made.client("team1").state())["runner"] == {"active_port": ""}
    assert (await made.client("team0").state())["runner"] == {"active_port": "eth1"}
    signal.raise_signal(signal.SIGTERM)
    await trio.sleep(1)
    assert made.codes == [0]
    assert made.teams() == []
    assert not made.lab.has("team0")
    assert not made.lab.has("team1")


async def test_teams_come_and_go_with_their_files(many: Any) -> None:
    made = await many()
    made.lab.kernel.add_pair("eth3", "peer3")
    made.write("late.yaml", "device: team7\nrunner: {name: roundrobin}\nports: {eth3: {}}\n")
    (made.directory / "team1.json").unlink()
    made.write("team0.conf", team("eth1", notify_peers={"count": 7}))
    await made.hang_up()
    assert made.teams() == ["team0", "team7"]
    assert not made.lab.has("team1")
    assert made.lab.option("notify_peers_count") == 7
    assert list((await made.client("team7").state())["ports"]) == ["eth3"]


async def test_a_file_that_became_bad_changes_nothing(many: Any) -> None:
    made = await many()
    made.write("team0.conf", "{")
    await made.hang_up()
    assert made.teams() == ["team0", "team1"]
    assert list((await made.client("team0").state())["ports"]) == ["eth1"]


async def test_a_team_that_cannot_start_does_not_hinder_the_others(many: Any) -> None:
    many.made.write("bad.conf", '{"runner": {"name": "nonsense"}}')
    many.made.write("again.conf", team("eth2", device="team0"))
    (many.made.directory / "team1.json").unlink()
    many.made.write("eth1.conf", team("eth2"))
    made = await many()
    assert made.teams() == ["team0"]
    told = "\n".join(made.lines)
    assert '"nonsense" is unknown' in told
    assert "team0 is configured in" in told
    assert "eth1: Failed to create team device." in told


async def test_a_device_that_is_deleted_ends_its_team_only(many: Any) -> None:
    made = await many()
    made.lab.kernel.delete_link(made.lab.link("team0").ifindex)
    await trio.sleep(0.5)
    assert made.teams() == ["team1"]
    assert made.codes == []
    await made.hang_up()
    assert made.teams() == ["team0", "team1"]


async def break_team0(made: Many, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours: team0 rests before its next life."""
    feed = Pump.feed
    faulty = made.fleet.members["team0"].server.pump

    def broken(pump: Pump, events: Any, now: float) -> None:
        if pump is faulty and list(events):
            raise ZeroDivisionError("a fault of ours")
        feed(pump, events, now)

    monkeypatch.setattr(Pump, "feed", broken)
    made.lab.cut("eth1")
    await quiet()
    monkeypatch.setattr(Pump, "feed", feed)
    assert made.teams() == ["team1"]


async def test_a_fault_in_one_team_is_its_own(many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await many()
    await break_team0(made, monkeypatch)
    assert (await made.client("team1").state())["runner"] == {"active_port": "eth2"}
    await trio.sleep(2 * RESTART_S)
    assert made.teams() == ["team0", "team1"]
    assert made.lab.has("team0")
    made.lab.cut("eth1", True)
    await trio.sleep(0.1)
    assert (await made.client("team0").state())["runner"] == {"active_port": "eth1"}
    made.lines[:] = [line for line in made.lines if "This is a bug" not in line]


async def test_a_fault_ahead_of_the_events_is_one_teams_own(many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await many()
    faulty = made.fleet.members["team0"].server.pump

    def broken(pump: Pump, events: Any) -> bool:
        if pump is faulty:
            raise ZeroDivisionError("a fault of ours")
        return False

    monkeypatch.setattr(Pump, "write_ahead", broken)
    made.lab.cut("eth1")
    await quiet()
    assert made.teams() == ["team1"]
    await trio.sleep(2 * RESTART_S)
    assert made.teams() == ["team0", "team1"]
    assert made.codes == []
    made.lines[:] = [line for line in made.lines if "This is a bug" not in line]


async def test_the_end_comes_while_a_team_rests(many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await many()
    await break_team0(made, monkeypatch)
    signal.raise_signal(signal.SIGTERM)
    await trio.sleep(2 * RESTART_S)
    assert made.codes == [0]
    assert not made.lab.has("team0")
    assert made.fleet.host.traces == {}


@pytest.mark.parametrize("wanted", [True, False])
async def test_the_files_change_while_a_team_rests(many: Any, monkeypatch: pytest.MonkeyPatch, wanted: bool) -> None:
    made = await many()
    await break_team0(made, monkeypatch)
    if wanted:
        made.write("team0.conf", team("eth1", notify_peers={"count": 7}))
    else:
        (made.directory / "team0.conf").unlink()
    await made.hang_up()
    await trio.sleep(2 * RESTART_S)
    assert made.lab.has("team0") == wanted
    assert made.teams() == (["team0", "team1"] if wanted else ["team1"])
    assert not wanted or made.lab.option("notify_peers_count") == 7
    assert [line for line in made.lines if "file exists" in line] == []


async def test_a_second_signal_ends_all_at_once(many: Any) -> None:
    made = await many()
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    await trio.sleep(1)
    assert made.codes == [2]
    assert made.teams() == []


async def test_nothing_to_serve_is_a_failure(many: Any) -> None:
    for file in many.made.directory.iterdir():
        file.unlink()
    made = await many()
    assert made.codes == [1]
