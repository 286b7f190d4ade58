"""Those who look on: the stream of events, metrics by socket and by HTTP."""

from __future__ import annotations

import json
import resource
import socket
from typing import Any

import pytest
import trio
from daemon_kit import ACTIVE_BACKUP, Lab, Running, quiet


async def events(daemon: Running, start: object) -> dict[str, Any]:
    """One answer."""
    found: dict[str, Any] = json.loads(await daemon.call("Events", str(start)))
    return found


async def test_events_come_as_they_happen(lab: Lab) -> None:
    daemon = await lab.start()
    await quiet()
    start = (await events(daemon, "now"))["next"]

    async def cut() -> None:
        await trio.sleep(1)
        lab.cut("eth1")

    lab.nursery.start_soon(cut)
    began = trio.current_time()
    found = await events(daemon, start)
    assert 0.9 < trio.current_time() - began < 1.2
    assert [event["text"] for event in found["events"]] == [
        "eth1: ethtool-link went down.",
        'Changed active port to "eth2".',
    ]
    assert found["missed"] == 0
    nothing = await events(daemon, found["next"])
    assert nothing["events"] == []
    assert trio.current_time() - began > 3.9
    assert (await daemon.call("Events", "soon")).startswith("InvalidArgs")


@pytest.mark.slow
async def test_who_asks_too_rarely_is_told_what_was_missed(lab: Lab) -> None:
    daemon = await lab.start()
    await quiet()
    (pump,) = daemon.reader.pumps.values()
    ring = pump.trace._size
    lab.cut("eth1")
    await quiet()
    for _ in range(ring // 2):
        lab.cut("eth2", False)
        lab.cut("eth2", True)
        await quiet()
    found = await events(daemon, 0)
    assert found["missed"] == pump.trace.dropped > 0
    assert len(found["events"]) <= 200


async def test_metrics_by_socket_and_by_http(lab: Lab) -> None:
    path = str(lab.directory / "metrics")
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "metrics_listen": path}))
    await quiet()
    lab.cut("eth1")
    await quiet()
    told = await daemon.call("Metrics")
    assert 'pyteamd_switches_total{team="team0"} 2' in told
    assert told.endswith("# EOF\n")
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(path)
    with trio.socket.from_stdlib_socket(client) as asking:
        await asking.send(b"GET /metrics HTTP/1.1\r\n")
        await asking.send(b"Host: x\r\n\r\n")
        answer = b""
        while piece := await asking.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text")
    assert b"pyteamd_port_carrying" in answer
    assert await daemon.stop() == 0
    assert not (lab.directory / "metrics").exists()


@pytest.mark.parametrize("kind", ["file", "directory", "socket"])
async def test_metrics_leave_what_is_not_theirs(lab: Lab, kind: str) -> None:
    path = lab.directory / "metrics"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        match kind:
            case "file":
                path.write_text("mine")
            case "directory":
                path.mkdir()
            case "socket":
                other.bind(str(path))
                other.listen()
        before = path.stat().st_ino
        daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "metrics_listen": str(path)}))
        await quiet()
        assert f"metrics_listen {path}: Address already in use" in daemon.lines
        assert await daemon.stop() == 0
        assert path.stat().st_ino == before


async def test_metrics_take_the_place_of_a_socket_that_a_crash_left(lab: Lab) -> None:
    path = lab.directory / "metrics"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(path))
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "metrics_listen": str(path)}))
    await quiet()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(path))
    assert await daemon.stop() == 0


async def test_metrics_survive_a_lack_of_descriptors(lab: Lab) -> None:
    path = str(lab.directory / "metrics")
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "metrics_listen": path}))
    await quiet()
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, limits[1]))
    try:
        client.connect(path)
        await trio.sleep(0.05)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    with trio.socket.from_stdlib_socket(client) as asking:
        await asking.send(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert (await asking.recv(100)).startswith(b"HTTP/1.1 200 OK")
    assert daemon.lines[-1] == "metrics_listen: Too many open files"
