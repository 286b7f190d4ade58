"""What a daemon does while it runs: fail-over, packet sockets, host names, several teams."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import Any

import pytest
import trio
from daemon_kit import ACTIVE_BACKUP, Lab, RecordingKernel, quiet

from pyteamd.daemon.reader import Reader
from pyteamd.daemon.team_server import TeamServer
from pyteamd.model.desired import OptionKey, SetOption, Tap
from pyteamd.model.errors import KernelRefused
from pyteamd.model.events import CarrierSeen

ARP_PING = {"name": "arp_ping", "target_host": "192.0.2.1", "interval": 100, "missed_max": 3}


def with_watch(**watch: Any) -> dict[str, Any]:
    """activebackup with another link watcher."""
    return {**ACTIVE_BACKUP, "link_watch": watch}


async def test_a_cut_link_moves_the_team_at_once(lab: Lab) -> None:
    daemon = await lab.start()
    await quiet()
    began = trio.current_time()
    lab.cut("eth1")
    await quiet()
    assert lab.option("activeport") == lab.link("eth2").ifindex
    assert lab.option("enabled", "eth1") is False
    assert lab.option("enabled", "eth2") is True
    assert trio.current_time() == began
    assert daemon.lines[-2:] == ["eth1: ethtool-link went down.", 'Changed active port to "eth2".']


async def test_a_fail_over_that_was_thought_through_is_written_first_and_once(lab: Lab) -> None:
    daemon = await lab.start()
    await trio.sleep(1)
    lab.kernel.performed.clear()
    lab.cut("eth1")
    (pump,) = daemon.reader.pumps.values()
    assert daemon.reader.write_ahead(lab.kernel.take_events())
    eth1, eth2 = lab.link("eth1").ifindex, lab.link("eth2").ifindex
    written = [
        SetOption(OptionKey("activeport"), eth2),
        SetOption(OptionKey("enabled", eth2), True),
        SetOption(OptionKey("enabled", eth1), False),
        SetOption(OptionKey("user_linkup", eth1), False),
    ]
    assert lab.kernel.performed == written
    assert daemon.lines[-1] == "eth2: ethtool-link went up.", "nothing has been digested yet"
    pump.feed((CarrierSeen(eth1, False),), trio.current_time())
    assert daemon.lines[-1] == 'Changed active port to "eth2".'
    await trio.sleep(1)
    assert lab.kernel.performed == written
    assert [
        entry.writes
        for entry in daemon.reader.traces[lab.link("team0").ifindex]
        if entry.event == CarrierSeen(eth1, False)
    ] == [tuple(written)]


async def test_what_was_written_ahead_is_corrected_when_the_world_is_another(lab: Lab) -> None:
    """Both links go within the same moment: the forecast for the first one knew nothing of the second."""
    daemon = await lab.start()
    await trio.sleep(1)
    lab.cut("eth2")
    lab.cut("eth1")
    await trio.sleep(1)
    assert (await daemon.state())["runner"] == {"active_port": ""}
    assert [lab.option("enabled", name) for name in ("eth1", "eth2")] == [False, False]
    lab.cut("eth2", True)
    await trio.sleep(1)
    assert lab.option("activeport") == lab.link("eth2").ifindex


async def test_nothing_is_written_ahead_of_other_news(lab: Lab) -> None:
    """The cable of eth2 goes, then that of eth1, and both are heard of in one batch."""
    daemon = await lab.start()
    await trio.sleep(1)
    (pump,) = daemon.reader.pumps.values()
    eth1, eth2 = lab.link("eth1").ifindex, lab.link("eth2").ifindex
    lab.kernel.performed.clear()
    assert not pump.write_ahead([CarrierSeen(eth2, False), CarrierSeen(eth1, False)])
    assert not pump.write_ahead([CarrierSeen(99, False)])
    assert lab.kernel.performed == []
    assert pump.write_ahead([CarrierSeen(99, False), CarrierSeen(eth1, False)])
    pump.feed([CarrierSeen(99, False), CarrierSeen(eth1, False)], trio.current_time())


async def test_a_refusal_of_what_was_written_ahead_is_told(lab: Lab) -> None:
    daemon = await lab.start()
    await trio.sleep(1)
    enable = SetOption(OptionKey("enabled", lab.link("eth2").ifindex), True)
    lab.kernel.refuse(lambda write: write == enable, errno.EINVAL)
    lab.cut("eth1")
    await trio.sleep(1)
    assert any("enabled of eth2" in line for line in daemon.lines)
    assert lab.option("enabled", "eth2") is True


async def test_a_team_that_goes_while_it_fails_over_ends_well(lab: Lab) -> None:
    daemon = await lab.start()
    await trio.sleep(1)
    lab.cut("eth1")
    lab.kernel.delete_link(lab.link("team0").ifindex)
    await daemon.ended.wait()
    assert daemon.code == 0


async def test_the_clock_calls_when_a_delay_is_over(lab: Lab) -> None:
    await lab.start(lab.plan(with_watch(name="ethtool", delay_down=2000)))
    await quiet()
    lab.cut("eth1")
    await trio.sleep(1.99)
    assert lab.option("activeport") == lab.link("eth1").ifindex
    await trio.sleep(0.02)
    assert lab.option("activeport") == lab.link("eth2").ifindex


async def test_a_port_added_by_another_program_joins(lab: Lab) -> None:
    daemon = await lab.start(lab.plan({"runner": {"name": "activebackup"}}))
    lab.kernel.set_master(lab.link("eth2").ifindex, lab.link("team0").ifindex)
    await quiet()
    assert (await daemon.state())["runner"] == {"active_port": "eth2"}
    lab.kernel.set_master(lab.link("eth2").ifindex, 0)
    await quiet()
    assert "ports" not in await daemon.state()


async def test_packet_sockets_are_open_while_a_port_wants_them(lab: Lab) -> None:
    daemon = await lab.start(lab.plan(with_watch(**ARP_PING)))
    await quiet()
    eth1 = lab.link("eth1")
    assert {socket.link.name for socket in lab.kernel.net.sockets} == {"eth1", "eth2"}
    await daemon.call("PortRemove", "eth1")
    await quiet()
    assert {socket.link.name for socket in lab.kernel.net.sockets} == {"eth2"}
    lab.kernel.delete_link(lab.link("eth2").ifindex)
    await quiet()
    assert not lab.kernel.net.sockets
    assert eth1.master == 0
    assert await daemon.stop() == 0


async def test_probes_without_an_answer_take_the_link_down(lab: Lab) -> None:
    daemon = await lab.start(lab.plan(with_watch(**ARP_PING)))
    await trio.sleep(1)
    state = await daemon.state()
    assert state["ports"]["eth1"]["link_watches"]["up"] is False
    assert state["ports"]["eth1"]["link_watches"]["list"]["link_watch_0"]["missed"] > 3


async def test_a_packet_socket_the_kernel_refuses_is_tried_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    open_port = RecordingKernel.open_port

    def refuse(kernel: RecordingKernel, ifindex: int, tap: Tap) -> None:
        raise KernelRefused(errno.EPERM, f"open a packet socket on link {ifindex}", "CAP_NET_RAW is needed")

    monkeypatch.setattr(RecordingKernel, "open_port", refuse)
    daemon = await lab.start(lab.plan(with_watch(**ARP_PING)))
    await trio.sleep(1)
    assert len([line for line in daemon.lines if "CAP_NET_RAW is needed" in line]) == 4, "ARP and LLDP of two ports"
    assert await daemon.call("StateItemValueGet", "ports.eth1.link.up") == "true"
    monkeypatch.setattr(RecordingKernel, "open_port", open_port)
    await trio.sleep(5)
    assert len(lab.kernel.net.sockets) == 4


async def test_a_write_that_is_refused_again_and_again_is_no_storm(lab: Lab) -> None:
    daemon = await lab.start()
    await quiet()
    enable = SetOption(OptionKey("enabled", lab.link("eth2").ifindex), True)
    lab.kernel.refuse(lambda write: write == enable, errno.EINVAL, None)
    lab.kernel.performed.clear()
    lab.cut("eth1")
    await trio.sleep(60)
    assert lab.kernel.performed.count(enable) < 20
    assert any("enabled of eth2" in line for line in daemon.lines)
    lab.kernel.accept()
    await trio.sleep(60)
    assert lab.option("enabled", "eth2") is True


async def test_two_teams_in_one_process(lab: Lab) -> None:
    """What `serve` will do: one kernel, one reader, two lives."""
    first = lab.plan({"runner": {"name": "activebackup"}, "ports": {"eth1": {}}})
    second = lab.plan({"runner": {"name": "roundrobin"}, "ports": {"eth2": {}}})
    second.config.set_device("team1")
    second = replace(second, device="team1", usock_path=f"{lab.directory}/team1.sock")
    reader, log = Reader(lab.kernel), (await lab.start(lab.plan(enslave=False))).log
    await lab.daemons[0].stop()
    servers = [TeamServer(plan, reader, log) for plan in (first, second)]
    ready: list[TeamServer] = []
    codes: list[int] = []

    async def run(server: TeamServer) -> None:
        codes.append(await server.run(lambda: ready.append(server)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.read)
        nursery.start_soon(reader.read_frames)
        for server in servers:
            nursery.start_soon(run, server)
        await trio.sleep(0.1)
        assert {id(server) for server in ready} == {id(server) for server in servers}
        assert sorted(os.listdir(lab.directory)) == ["team0.sock", "team1.sock"]
        pumps = {pump.team.facts.team.name: pump for pump in reader.pumps.values()}
        assert list(pumps["team0"].team.ports) == [lab.link("eth1").ifindex]
        assert list(pumps["team1"].team.ports) == [lab.link("eth2").ifindex]
        lab.cut("eth2")
        await quiet()
        assert [port.up for port in pumps["team1"].team.ports.values()] == [False]
        assert [port.up for port in pumps["team0"].team.ports.values()] == [True]
        servers[1].stop()
        await trio.sleep(0.1)
        assert codes == [0]
        assert lab.has("team0")
        assert not lab.has("team1")
        servers[0].stop()
        await trio.sleep(0.1)
        assert codes == [0, 0]
        nursery.cancel_scope.cancel()
