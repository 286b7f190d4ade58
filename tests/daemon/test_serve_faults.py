"""Many teams in one process: a fault of ours in one of them is its own, wherever it happens; the others do not notice."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from daemon_kit import Lab, RecordingKernel, quiet
from serve_kit import Many, break_team0, team

from pyteamd.core.namespace_links import NamespaceLinks
from pyteamd.core.team import Team
from pyteamd.daemon import fleet
from pyteamd.daemon.control import inspection
from pyteamd.daemon.fleet import RESTART_S
from pyteamd.daemon.packet_sockets import PacketSockets
from pyteamd.daemon.pump import Pump
from pyteamd.daemon.team_server import RELEASE_TIMEOUT_S
from pyteamd.daemon.write_thread import WriteBatch
from pyteamd.model.desired import Write
from pyteamd.model.events import Refused
from pyteamd.wire import lldp


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


async def test_a_fault_while_frames_are_read_is_one_teams_own(many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await many()
    faulty, hear = made.fleet.members["team0"].server._taps, PacketSockets.hear

    def broken(taps: PacketSockets, *given: Any) -> Any:
        return 1 // 0 if taps is faulty else hear(taps, *given)

    monkeypatch.setattr(PacketSockets, "hear", broken)
    kernel = made.lab.kernel
    for number in (1, 2):
        peer = made.lab.link(f"eth{number}").peer
        kernel.net.transmit(peer, lldp.GROUP + bytes(6) + lldp.ETHERTYPE_LLDP.to_bytes(2) + bytes(50))
    await quiet()
    await trio.sleep(0.1)
    assert made.teams() == ["team1"]
    await trio.sleep(2 * RESTART_S)
    assert (made.teams(), made.codes) == (["team0", "team1"], [])
    assert only_bugs(made) == 1


async def test_a_fault_while_a_link_is_told_of_is_one_teams_own(many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await many()
    faulty, about = made.fleet.members["team0"].server.pump.team, NamespaceLinks.about

    def broken(links: NamespaceLinks, team: Team, *given: Any) -> Any:
        return 1 // 0 if team is faulty else about(links, team, *given)

    monkeypatch.setattr(NamespaceLinks, "about", broken)
    made.lab.cut("eth1")
    made.lab.cut("eth2")
    await quiet()
    assert made.teams() == ["team1"]
    assert (await made.client("team1").state())["runner"] == {"active_port": ""}
    await trio.sleep(2 * RESTART_S)
    assert (made.teams(), made.codes) == (["team0", "team1"], [])
    assert only_bugs(made) >= 1


def only_bugs(made: Many) -> int:
    """How many bugs the log tells of; they were meant."""
    told = [line for line in made.lines if "This is a bug" in line]
    made.lines[:] = [line for line in made.lines if line not in told]
    return len(told)


async def test_a_fault_in_a_reload_is_one_teams_own(many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await many()
    pump = made.fleet.members["team0"].server.pump
    request = Pump.request

    async def broken(asked: Pump, event: Any) -> tuple[Refused, ...]:
        return () if asked is pump and 1 // 0 else await request(asked, event)

    monkeypatch.setattr(Pump, "request", broken)
    for number in (0, 1):
        name = f"team{number}.{('conf', 'json')[number]}"
        made.write(name, team(f"eth{number + 1}", notify_peers={"count": 7}))
    await made.hang_up()
    assert made.teams() == ["team0", "team1"], "a client's fault would not end it either"
    assert '"count": 7' in await made.client("team1").call("ConfigDump")
    assert '"count": 7' not in await made.client("team0").call("ConfigDump"), "what it had works"
    assert (made.codes, only_bugs(made)) == ([], 1)


@pytest.mark.parametrize("all_of_them", [False, True])
async def test_a_fault_at_the_end_is_one_teams_own(
    many: Any, monkeypatch: pytest.MonkeyPatch, all_of_them: bool
) -> None:
    made = await many()
    pump = made.fleet.members["team0"].server.pump
    feed = Pump.feed
    monkeypatch.setattr(Pump, "feed", lambda fed, events, now: 1 // 0 if fed is pump else feed(fed, events, now))
    if all_of_them:
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep(2 * RESTART_S)
    else:
        (made.directory / "team0.conf").unlink()
        await made.hang_up()
        await trio.sleep(2 * RESTART_S)
    assert made.teams() == ([] if all_of_them else ["team1"])
    assert made.codes == ([0] if all_of_them else [])
    assert not all_of_them or not made.lab.has("team1")
    assert only_bugs(made) >= 1


async def test_a_fault_in_the_metrics_is_an_answer(many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{many.made.lab.directory}/metrics"
    many.made.write("team0.conf", team("eth1", metrics_listen=path))
    faults = [ZeroDivisionError("a fault of ours")]
    rows = inspection.metric_rows

    def broken(pump: Pump) -> Any:
        if faults:
            raise faults.pop()
        return rows(pump)

    monkeypatch.setattr(inspection, "metric_rows", broken)
    made = await many()
    with trio.socket.socket(trio.socket.AF_UNIX) as reader:
        await reader.connect(path)
        await reader.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await reader.recv(100)).startswith(b"HTTP/1.1 500 ")
    assert made.teams() == ["team0", "team1"]
    assert ("metrics" in os.listdir(many.made.lab.directory), made.codes, only_bugs(made)) == (True, [], 1)


async def test_a_fault_while_a_file_is_read_is_its_own(many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await many()
    load = fleet.Config.load

    def broken(text: bytes, **settings: Any) -> Any:
        return 1 // 0 if settings["file"].endswith("team0.conf") else load(text, **settings)

    monkeypatch.setattr(fleet.Config, "load", broken)
    made.write("team1.json", team("eth2", notify_peers={"count": 7}))
    await made.hang_up()
    assert made.teams() == ["team0", "team1"]
    assert made.lab.option("notify_peers_count") == 1, "as before"
    assert '"count": 7' in await made.client("team1").call("ConfigDump")
    assert (made.codes, only_bugs(made)) == ([], 1)


class Stalling(RecordingKernel):
    """Keeps the thread that writes waiting while the gate is closed."""

    may_stall = True

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.problem: Exception | None = None

    def apply(self, team: int, writes: Sequence[Write]) -> tuple[Refused, ...]:
        if threading.current_thread() is not threading.main_thread():
            assert self.gate.wait(60)
            if self.problem is not None:
                raise self.problem
        return super().apply(team, writes)


@pytest.fixture
def stalling(lab: Lab) -> Stalling:
    """The kernel of the lab, in which writes can stall."""
    lab.kernel = kernel = Stalling()
    for number in (1, 2):
        kernel.add_pair(f"eth{number}", f"peer{number}")
    lab.nursery.start_soon(lab.run_net)
    return kernel


async def begin_writing(made: Many, kernel: Stalling) -> None:
    """A write of team0 stalls."""
    made.lab.kernel.set_up(made.lab.link("team0").ifindex, True)
    await trio.sleep(5)
    kernel.gate.clear()
    made.lab.cut("eth1")
    await quiet()


async def written(made: Many) -> None:
    """The thread has done all there was."""
    last = WriteBatch(0, (), lambda *_: None, lambda _: None)
    made.fleet.reader.write_thread.submit(last)
    while not last.wait():
        await quiet()


@pytest.mark.slow
async def test_a_fault_in_a_writing_thread_is_one_teams_own(stalling: Stalling, many: Any) -> None:
    many.made.write("team0.conf", team("eth1", runner={"name": "lacp"}))
    made = await many()
    await begin_writing(made, stalling)
    stalling.problem = ZeroDivisionError("a fault of ours")
    stalling.gate.set()
    for _ in range(1000):
        if made.teams() == ["team1"]:
            break
        await trio.sleep(0.0001)
    assert made.teams() == ["team1"]
    stalling.problem = None
    await trio.sleep(2 * RESTART_S)
    assert made.teams() == ["team0", "team1"]
    assert (await made.client("team0").state())["setup"]["runner_name"] == "lacp"
    assert (made.codes, only_bugs(made)) == ([], 1)


@pytest.mark.slow
async def test_a_write_that_is_done_after_its_teams_end_is_told_nobody(
    stalling: Stalling, many: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    many.made.write("team0.conf", team("eth1", runner={"name": "lacp"}))
    made = await many()
    await begin_writing(made, stalling)
    (made.directory / "team0.conf").unlink()
    await made.hang_up()
    await trio.sleep(2 * RELEASE_TIMEOUT_S)
    assert made.teams() == ["team1"]
    feed, fed = Pump.feed, []

    def remembered(pump: Pump, events: Any, now: float) -> None:
        fed.append(pump.ifindex)
        feed(pump, events, now)

    monkeypatch.setattr(Pump, "feed", remembered)
    stalling.gate.set()
    await written(made)
    made.lab.cut("eth2")
    await quiet()
    assert set(fed) == {made.lab.link("team1").ifindex}
    assert (await made.client("team1").state())["runner"] == {"active_port": ""}
    assert (made.codes, only_bugs(made)) == ([], 0)


@pytest.mark.slow
async def test_a_reload_of_a_team_that_ends_meanwhile_is_abandoned(stalling: Stalling, many: Any) -> None:
    many.made.write("team0.conf", team("eth1", runner={"name": "lacp"}))
    made = await many()
    await begin_writing(made, stalling)
    made.write("team0.conf", team("eth1", runner={"name": "lacp", "min_ports": 2}))
    await made.hang_up()
    made.lab.kernel.delete_link(made.lab.link("team0").ifindex)
    await trio.sleep(1.0)
    assert made.teams() == ["team1"]
    made.write("team1.json", team("eth2", notify_peers={"count": 7}))
    (made.directory / "team0.conf").unlink()
    await made.hang_up()
    assert '"count": 7' in await made.client("team1").call("ConfigDump"), "this reload does not wait for that one"
    stalling.gate.set()
    await written(made)
    assert (made.codes, only_bugs(made)) == ([], 0)
