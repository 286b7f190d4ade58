"""Many teams in one process: each for itself, with its own socket; they come and go with their files."""

from __future__ import annotations

import errno
import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from daemon_kit import Lab, quiet
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from serve_kit import break_team0, team

from pyteamd.daemon import read_file, team_server
from pyteamd.daemon.fleet import ALL_FILES_S, RESTART_S, Fleet, FleetSettings
from pyteamd.daemon.reader import Reader
from pyteamd.daemon.team_server import LOOK_INTERVAL_S
from pyteamd.model.events import LinkGone, Overrun


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


async def test_a_team_keeps_nothing_of_the_links_of_others(many: Any) -> None:
    for number in range(50):
        many.made.lab.kernel.add_pair(f"free{number}", f"f{number}")
    made = await many()
    for name, ports in (("team0", {"eth1"}), ("team1", {"eth2"})):
        facts, trace = (pump := made.fleet.members[name].server.pump).team.facts, pump.trace
        assert {link.name for link in facts.links.values()} == ports
        assert {facts.name_of(ifindex) for ifindex in facts.observed.macs} == {*ports, name}
        assert all("free" not in repr(entry) for entry in trace)


@pytest.mark.parametrize(
    ("teams", "events", "again"), [(1, 1024, False), (1, 1025, True), (256, 8000, False), (256, 8200, True)]
)
async def test_many_teams_may_hear_more_before_all_is_read_again(
    teams: int, events: int, again: bool, lab: Lab
) -> None:
    reader = Reader(lab.kernel)
    reader.pumps = dict.fromkeys(range(teams))  # type: ignore[assignment]
    assert (reader._bounded([(0, LinkGone(3))] * events) == [(0, Overrun())]) is again


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


async def test_what_was_settled_is_looked_at_when_a_team_has_ended(many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    thawed: list[int] = []
    made = await many()
    monkeypatch.setattr(gc, "unfreeze", lambda: thawed.append(len(made.fleet.members)))
    made.lab.kernel.add_pair("team9", "peer9")
    made.write("team9.json", team("eth1"))
    await made.hang_up()
    assert any("team9" in line for line in made.lines), made.lines
    assert thawed == [], f"a start that failed leaves nothing settled: {made.lines}"
    (made.directory / "team1.json").unlink()
    await made.hang_up()
    assert thawed == [1], made.lines


async def test_all_teams_together_ask_for_one_missing_link_at_a_time(
    many: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that holds the kernel's lock would take all threads, which files and the names of hosts need."""
    made = await many()
    made.write("team0.conf", {**team("eth1"), "ports": {"eth1": {}, "away0": {}}})
    made.write("team1.json", {**team("eth2"), "ports": {"eth2": {}, "away1": {}, "away2": {}}})
    await made.hang_up()
    asked: set[str] = set()
    asked_by: list[trio.CapacityLimiter | None] = []

    async def in_thread(work: Callable[..., Any], *args: str, limiter: trio.CapacityLimiter | None = None) -> None:
        asked.update(args)
        asked_by.append(limiter)

    monkeypatch.setattr(team_server, "in_thread", in_thread)
    monkeypatch.setattr(made.lab.kernel, "may_stall", True)
    await trio.sleep(2 * LOOK_INTERVAL_S)
    assert asked == {"away0", "away1", "away2"}, made.lines
    (limiter,) = set(asked_by)
    assert limiter is not None
    assert limiter.total_tokens == 1


async def test_a_file_that_became_bad_changes_nothing(many: Any) -> None:
    made = await many()
    made.write("team0.conf", "{")
    await made.hang_up()
    assert made.teams() == ["team0", "team1"]
    assert list((await made.client("team0").state())["ports"]) == ["eth1"]


async def test_each_file_has_its_own_time(many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading many files takes long where the machine is slow or busy, as at a boot; the limit of time is for one that does not answer."""
    read, off_loop = [0], read_file.off_loop
    plan = Fleet._plan

    def counted(fleet: Fleet, path: Path) -> Any:
        read[-1] += 1
        return plan(fleet, path)

    async def limited(work: Callable[[], Any]) -> Any:
        read.append(0)
        return await off_loop(work)

    monkeypatch.setattr(Fleet, "_plan", counted)
    monkeypatch.setattr(read_file, "off_loop", limited)
    for number in range(5):
        many.made.write(f"bad{number}.conf", "{")
    made = await many()
    assert made.teams() == ["team0", "team1"]
    assert (sum(read), max(read)) == (7, 1)


async def test_all_files_together_have_a_limit_of_time_too(many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made, off_loop = await many(), read_file.off_loop

    async def slowly(work: Callable[[], Any]) -> Any:
        await trio.sleep(read_file.TIMEOUT_S - 0.1)
        return await off_loop(work)

    monkeypatch.setattr(read_file, "off_loop", slowly)
    for number in range(20):
        made.write(f"bad{number}.conf", "{")
    await made.hang_up()
    await trio.sleep(ALL_FILES_S)
    told = [line for line in made.lines if line.startswith("Reading")]
    assert told == [f"Reading the configurations takes longer than {ALL_FILES_S:.0f} s; nothing changes."], made.lines
    assert not [line for line in made.lines if "refused" in line], made.lines
    assert made.teams() == ["team0", "team1"]


async def test_a_directory_that_cannot_be_read_ends_nothing(many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await many()

    def refused(path: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refused)
    await made.hang_up()
    assert made.teams() == ["team0", "team1"]
    assert any(line.startswith(f"{made.directory}: cannot be read: Permission denied") for line in made.lines), (
        made.lines
    )
    assert made.codes == []


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


async def test_the_end_comes_while_a_team_rests(many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await many()
    await break_team0(made, monkeypatch)
    signal.raise_signal(signal.SIGTERM)
    await trio.sleep(2 * RESTART_S)
    assert made.codes == [0]
    assert not made.lab.has("team0")
    assert made.fleet.reader.traces == {}


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


async def test_the_end_comes_during_the_start(many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    create = many.made.lab.kernel.create_team

    def signalled(name: str) -> int:
        signal.raise_signal(signal.SIGTERM)
        return int(create(name))

    monkeypatch.setattr(many.made.lab.kernel, "create_team", signalled)
    made = await many()
    assert made.codes == [0]
    assert not made.lab.has("team0")
    assert not [line for line in made.lines if "No team could be started" in line]


async def test_a_team_that_looks_up_a_host_holds_up_neither_the_others_nor_the_end(
    many: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [()] * answered.wait(60))
    made = await many()
    made.write("team0.conf", team("eth1", link_watch={"name": "arp_ping", "target_host": "slow.invalid"}))
    made.write("team1.json", team("eth2", notify_peers={"count": 7}))
    await made.hang_up()
    assert '"count": 7' in await made.client("team1").call("ConfigDump")
    began = trio.current_time()
    signal.raise_signal(signal.SIGTERM)
    await trio.sleep(0.1)
    answered.set()
    assert (made.codes, trio.current_time() - began) == ([0], pytest.approx(0.1))


async def test_nothing_to_serve_is_a_failure(many: Any) -> None:
    for file in many.made.directory.iterdir():
        file.unlink()
    made = await many()
    assert made.codes == [1]


async def test_one_listener_for_all_teams_that_name_an_address(many: Any) -> None:
    path = f"{many.made.lab.directory}/metrics"
    for name, port in (("team0.conf", "eth1"), ("team1.json", "eth2")):
        many.made.write(name, team(port, metrics_listen=path))
    made = await many()
    families = await scraped(path)
    assert {sample.labels["team"] for sample in families["pyteamd_ports"].samples} == {"team0", "team1"}
    (made.directory / "team0.conf").unlink()
    await made.hang_up()
    assert {sample.labels["team"] for sample in (await scraped(path))["pyteamd_ports"].samples} == {"team1"}
    (made.directory / "team1.json").unlink()
    await made.hang_up()
    assert "metrics" not in os.listdir(made.lab.directory)


async def test_the_metrics_of_all_teams_whatever_they_name(many: Any) -> None:
    made = await many()
    path = f"{made.lab.directory}/all"
    fleet = Fleet(
        [], FleetSettings(f"{made.lab.directory}/", metrics_listen=path), made.lab.kernel, logging.getLogger("none")
    )
    fleet.members = made.fleet.members
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fleet._listen, path, None)
            await quiet()
            families = await scraped(path)
            scope.cancel()
    assert {sample.labels["team"] for sample in families["pyteamd_ports"].samples} == {"team0", "team1"}


async def scraped(path: str) -> dict[str, Any]:
    """The metrics served there, by name."""
    with trio.socket.socket(trio.socket.AF_UNIX) as reader:
        await reader.connect(path)
        await reader.send(b"GET /metrics HTTP/1.1\r\n\r\n")
        told = b""
        while piece := await reader.recv(1 << 16):
            told += piece
    text = told.partition(b"\r\n\r\n")[2].decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


@pytest.mark.parametrize("stem", ["my team", "team%d", "a-name-of-more-than-15"])
async def test_a_file_whose_name_is_none_of_a_device(many: Any, stem: str) -> None:
    many.made.write(f"{stem}.conf", team("eth1"))
    made = await many()
    assert made.teams() == ["team0", "team1"]
    told = [line for line in made.lines if f"{stem}.conf: names no device, and {stem} is " in line]
    assert len(told) == 1, made.lines
