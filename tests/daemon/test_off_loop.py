"""What takes long is done beside the event loop: a big configuration, a file that never answers. With the real clock and threads."""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import trio
from bus_kit import until
from daemon_kit import ACTIVE_BACKUP, Lab, quiet

from pyteamd.core.trace import Trace
from pyteamd.daemon import read_file
from pyteamd.daemon.control import http
from pyteamd.daemon.fault_file import keep_trace
from pyteamd.daemon.read_file import off_loop
from pyteamd.daemon.service import read_again
from pyteamd.daemon.snapshot_file import SnapshotFile
from pyteamd.model.desired import Outputs
from pyteamd.model.events import PortConfigUpdate
from pyteamd.runners.lacp.keys import LacpConfig
from pyteamd.runners.lacp.runner import Lacp

BIG = "ports:\n" + "".join(f"  eth{number}: {{prio: {number}}}\n" for number in range(2000))


@pytest.mark.slow
async def test_the_loop_runs_while_a_big_configuration_is_read(lab: Lab) -> None:
    daemon = await lab.start()
    rounds = 0

    async def heart() -> None:
        nonlocal rounds
        while True:
            await trio.sleep(0.001)
            rounds += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(heart)
        report = await daemon.call("ConfigApply", f"runner: {{name: activebackup}}\n{BIG}", "dry-run")
        nursery.cancel_scope.cancel()
    assert '"problems": []' in report
    assert rounds > 10, "the loop turned meanwhile; a reading on the loop leaves it two"


@pytest.mark.parametrize("kind", ["fifo", "directory", "device", "endless"])
async def test_what_is_no_configuration_file_holds_nothing_up(lab: Lab, kind: str) -> None:
    daemon = await lab.start()
    path = lab.directory / "team0.conf"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case "endless":
            path.write_bytes(b"{" * (read_file.MAXIMUM_OCTETS + 1))
    (pump,) = daemon.reader.pumps.values()
    with trio.fail_after(60):
        await read_again(pump, str(path), daemon.log)
    assert [line for line in daemon.lines if "cannot be read: " in line and "nothing changes" in line]
    assert not daemon.ended.is_set()


async def test_a_file_system_that_does_not_answer(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    silent, stop = os.pipe()
    monkeypatch.setattr(read_file, "TIMEOUT_S", 0.05)
    monkeypatch.setattr(read_file, "read_file", lambda path: os.read(silent, 1))
    daemon = await lab.start()
    (pump,) = daemon.reader.pumps.values()
    await read_again(pump, "/net/team0.conf", daemon.log)
    assert "/net/team0.conf: cannot be read: takes longer than 0 s; nothing changes." in daemon.lines
    os.close(stop)
    with trio.fail_after(60):  # the thread that was given up is done, and the next one has its turn
        assert await off_loop(lambda: 7) == 7


async def test_idle_connections_keep_nobody_from_the_metrics(lab: Lab) -> None:
    path = str(lab.directory / "metrics")
    await lab.start(lab.plan({**ACTIVE_BACKUP, "metrics_listen": path}))
    await quiet()
    idle = []
    for _ in range(3 * http.MAXIMUM_CONNECTIONS):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        await trio.to_thread.run_sync(client.connect, path)
        idle.append(client)
    with trio.fail_after(http.PATIENCE_S / 2):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        await trio.to_thread.run_sync(client.connect, path)
        with trio.socket.from_stdlib_socket(client) as asking:
            await asking.send(b"GET / HTTP/1.1\r\n\r\n")
            assert (await asking.recv(100)).startswith(b"HTTP/1.1 200 OK")
    for client in idle:
        client.close()


def test_files_are_read_whole_or_not(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert read_file.read_file(path, 3) == b"abc"
    with pytest.raises(OSError, match="longer than 2 octets"):
        read_file.read_file(path, 2)


async def test_no_thread_can_be_had(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under a limit of processes."""
    daemon = await lab.start()
    (pump,) = daemon.reader.pumps.values()

    async def refused(*arguments: object, **settings: object) -> NoReturn:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as scarce:
        scarce.setattr(trio.to_thread, "run_sync", refused)
        await read_again(pump, "/etc/team0.conf", daemon.log)
        reply = await daemon.call("ConfigApply", json.dumps(ACTIVE_BACKUP), "apply")
    assert daemon.lines[-1] == "/etc/team0.conf: cannot be read: can't start new thread; nothing changes."
    assert json.loads(reply)["problems"] == ["reading it can't start new thread"]
    assert not daemon.ended.is_set()


@pytest.mark.parametrize("number", [errno.EPERM, errno.EPROTO, errno.EMFILE])
async def test_a_connection_that_cannot_be_accepted_costs_no_port(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """By any of the errors of accept(2), a rule of the machine that forbids it among them."""
    with trio.socket.socket() as any_socket:
        kind = type(any_socket)
    accept, refused = kind.accept, [number] * 2

    async def refuses(listener: trio.socket.SocketType) -> Any:
        if refused:
            raise OSError(refused.pop(), "no connection")
        return await accept(listener)

    monkeypatch.setattr(kind, "accept", refuses)
    daemon = await lab.start()
    lab.nursery.start_soon(http.listen, f"{tmp_path}/metrics", lambda: "# EOF\n", logging.getLogger("metrics"))
    await quiet()
    await daemon.state()
    assert refused == []
    reader = await trio.open_unix_socket(f"{tmp_path}/metrics")
    async with reader:
        await reader.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert (await reader.receive_some(100)).startswith(b"HTTP/1.1 200")


async def test_no_socket_can_be_had_for_the_metrics(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    holes = [os.open("/dev/null", os.O_RDONLY) for _ in range(highest)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limit[1]))
    try:
        with trio.move_on_after(0.01):
            await http.listen(f"{tmp_path}/metrics", lambda: "", logging.getLogger("metrics"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        for descriptor in holes:
            os.close(descriptor)
    assert caplog.messages == [f"metrics_listen {tmp_path}/metrics: {os.strerror(errno.EMFILE)}"]


async def metrics(path: str) -> bytes:
    """How the answer at this socket begins; nothing where nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(path)
        except OSError:
            return b""
        asking = trio.socket.from_stdlib_socket(client.dup())
        with asking, trio.fail_after(60):
            await asking.send(b"GET / HTTP/1.1\r\n\r\n")
            return await asking.recv(15)


def opened(monkeypatch: pytest.MonkeyPatch) -> list[http.ListeningSocket]:
    """It grows with each try to open a place."""
    tries, opening = [], http.ListeningSocket.open

    def open_and_tell(self: http.ListeningSocket) -> socket.socket:
        tries.append(self)
        return opening(self)

    monkeypatch.setattr(http.ListeningSocket, "open", open_and_tell)
    return tries


@pytest.mark.parametrize("kind", ["removed", "left over", "a file", "a link", "a rival", "no directory"])
async def test_the_metrics_come_back(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody holds gives way; what another made stays until it is gone, and then the metrics are there."""
    monkeypatch.setattr(http, "LOOK_S", 0.005)
    tries = opened(monkeypatch)
    place = tmp_path / "run"
    path = place / "metrics"
    place.mkdir()

    async def served() -> bool:
        return await metrics(str(path)) == b"HTTP/1.1 200 OK"

    async def tried_thrice() -> bool:
        return len(tries) >= 3

    async with trio.open_nursery() as nursery:
        nursery.start_soon(http.listen, str(path), lambda: "", logging.getLogger("metrics"))
        await until(served, seen=caplog.messages)
        path.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            match kind:
                case "left over" | "a rival":
                    other.bind(str(path))
                case "a file":
                    path.write_text("mine\n")
                case "a link":
                    path.symlink_to("elsewhere")
                case "no directory":
                    place.rmdir()
            if kind == "a rival":
                other.listen()
            if kind not in ("removed", "left over"):
                tries.clear()
                await until(tried_thrice, seen=caplog.messages)
                assert kind != "a file" or path.read_text() == "mine\n"
                assert len(caplog.messages) == 1, f"told once: {caplog.messages}"
                assert "Address already in use" in caplog.text or kind == "no directory"
                place.mkdir(exist_ok=True)
                path.unlink(missing_ok=True)
        await until(served, seen=caplog.messages)
        assert caplog.messages[-1] == f"metrics_listen {path}: it is there again."
        nursery.cancel_scope.cancel()
    assert list(place.iterdir()) == []


async def test_metrics_that_never_were_there_do_not_come_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "LOOK_S", 0.005)
    path = tmp_path / "metrics"
    path.write_text("in the way\n")
    removed = 0

    async def told() -> bool:
        return len(caplog.messages) > removed

    async with trio.open_nursery() as nursery:
        nursery.start_soon(http.listen, str(path), lambda: "", logging.getLogger("metrics"))
        while removed < 3:
            await until(told, seen=caplog.messages)
            path.unlink()
            removed += 1
        nursery.cancel_scope.cancel()
    assert [message.removeprefix(f"metrics_listen {path}: ") for message in caplog.messages] == [
        "Address already in use",
        "it is there now.",
        "it is there again.",
    ]


@pytest.mark.parametrize("kind", ["removed", "an old copy", "a link"])
def test_a_snapshot_that_was_replaced_is_written_again(tmp_path: Path, kind: str) -> None:
    """Touched alone, an old copy would be made to look new, and a link's target would be touched."""
    path, old = tmp_path / "team0.lacp.json", tmp_path / "old"
    kept = SnapshotFile(str(path), 5, logging.getLogger("kept"), boot="b", clock=lambda: 1e10)
    runner = Lacp(LacpConfig())
    kept.update(runner, 1.0)
    good = path.read_text()
    path.unlink()
    old.write_text("{}")
    os.utime(old, (7, 7))
    match kind:
        case "an old copy":
            path.write_text("{}")
        case "a link":
            path.symlink_to(old)
    kept.update(runner, 1.0)
    assert path.read_text() == good
    assert not path.is_symlink()
    assert old.stat().st_mtime == 7


async def test_who_keeps_a_snapshot_does_not_look_again_and_again_after_its_removal(tmp_path: Path) -> None:
    """A condition that holds is not waited for, so no other task would run any more."""
    path = tmp_path / "team0.lacp.json"
    kept = SnapshotFile(str(path), 5, logging.getLogger("kept"), boot="b", clock=lambda: 1e10)
    asked = []

    class Pump:
        team = SimpleNamespace(runner=Lacp(LacpConfig()))

        async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
            kept.spoke()
            kept.remove()
            asked.append(condition())
            assert len(asked) < 3, asked
            return asked[-1]

    await kept.keep(Pump())  # type: ignore[arg-type]
    assert not path.exists()


def test_a_trace_that_cannot_be_told_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trace = Trace({})
    trace.record(1.0, PortConfigUpdate("eth1", {"new": lambda: 1}), (), Outputs())
    keep_trace("eth1: a fault", trace, f"{tmp_path}/team0", logging.getLogger("kept"))
    assert f"please report it: {tmp_path}/team0.fault1.jsonl: TypeError(" in caplog.text


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_what_stands_where_we_keep_something(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is waited for, and nothing is written elsewhere."""
    log = logging.getLogger("kept")
    names = ["team0.fault1.jsonl", "team0.fault2.jsonl", "team0.fault3.jsonl", "team0.lacp.json", "team0.lacp.json.new"]
    for name in names:
        os.mkfifo(tmp_path / name) if kind == "fifo" else (tmp_path / name).symlink_to(tmp_path / f"else.{name}")
    keep_trace("eth1: a fault", Trace({}), f"{tmp_path}/team0", log)
    kept = SnapshotFile(f"{tmp_path}/team0.lacp.json", 5, log, boot="b", clock=lambda: 1e10)
    kept.hand_over(Lacp(LacpConfig()), 1.0)
    kept.update(Lacp(LacpConfig()), 1.0)
    assert kept.handed_over is None
    assert [name for name in os.listdir(tmp_path) if name.startswith("else")] == []
    assert any("team0.fault3.jsonl: " in line for line in caplog.messages)


@pytest.mark.parametrize(
    ("address", "code", "told"),
    [
        ("127.0.0.1:80", errno.EACCES, "port_start is at most 80"),
        ("127.0.0.1:80", errno.EADDRINUSE, ""),
        ("127.0.0.1:9700", errno.EACCES, ""),
        ("/run/team0.metrics", errno.EACCES, ""),
    ],
)
def test_a_port_that_the_kernel_reserves_is_told_with_what_would_let_it_be_had(
    address: str, code: int, told: str
) -> None:
    assert told in http.why(OSError(code, ""), address)
    assert bool(http.why(OSError(code, ""), address)) is bool(told)
