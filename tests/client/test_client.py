"""The client library: what a program gets from a daemon, and how it learns that it gets nothing."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Timer

import pytest
import trio
from ctl_cases import CONFIG, TEAM, WORLDS, daemon, success
from ctl_mock import HANG_UP, SILENT, MockDaemon, Reply

from pyteamd.client import connection as client
from pyteamd.client.client import Client
from pyteamd.client.connection import NoDaemon
from pyteamd.client.events import Events
from pyteamd.client.transport import CallFailed, ClientError, DaemonError, TransportMissing
from pyteamd.daemon.control.bus_line import let_in
from pyteamd.schema import json_text


@pytest.fixture
def run_dir(tmp_path: Path) -> str:
    return str(tmp_path)


def mock(run_dir: str, replies: dict[str, Reply]) -> MockDaemon:
    return MockDaemon(f"{run_dir}/{TEAM}.sock", replies)


def test_an_event_that_tells_of_missed_steps_has_the_form_of_the_others(run_dir: str) -> None:
    replies: dict[str, Reply] = {"Events": success('{"events":[],"missed":3,"next":9}')}
    with mock(run_dir, replies), Events(Client.connect(TEAM, run_dir=run_dir)) as events:
        missed = next(events)
    assert missed == {"age_s": 0.0, "level": "warning", "port": "", "text": "3 steps were missed.", "cause": "Missed"}


def test_a_conversation(run_dir: str) -> None:
    with mock(run_dir, WORLDS["refusing"]) as served, Client.connect(TEAM, run_dir=run_dir) as connected:
        assert connected.transport == "usock"
        assert (connected.config_text, connected.config_actual_text, connected.state_text) == ("", "", "")
        connected.refresh()
        assert json_text.loads(connected.config_text) == CONFIG
        with pytest.raises(DaemonError, match=r"No such device\. \(NoSuchDev\)") as refused:
            connected.call("PortAdd", "eth1")
        assert (refused.value.code, refused.value.message) == ("NoSuchDev", "No such device.")
        assert connected.fetch("ConfigDumpActual") == connected.config_actual_text, "the connection is still good"
    assert [packet.split(b"\n")[1].decode() for packet in served.packets] == [
        "ConfigDump",
        "ConfigDumpActual",
        "StateDump",
        "PortAdd",
        "ConfigDumpActual",
    ]


def test_a_large_reply_comes_whole(run_dir: str) -> None:
    large = "x" * 100_000
    with mock(run_dir, daemon({}, StateDump=success(large))), Client.connect(TEAM, run_dir=run_dir) as connected:
        assert connected.fetch("StateDump") == large


@pytest.mark.parametrize(
    ("reply", "code", "text"),
    [
        (SILENT, errno.ETIMEDOUT, "PortAdd: no reply"),
        (HANG_UP, errno.EPIPE, "PortAdd: the daemon closed the connection"),
        (b"", errno.EPIPE, "PortAdd: the daemon closed the connection"),
        (b"\n", errno.EINVAL, "an empty reply"),
        (b"\0REPLY_SUCCESS\n", errno.EINVAL, "an empty reply"),
        (b"REPLY_SUCCESS", errno.EINVAL, "a success reply without a payload"),
        (b"REPLY_ERROR\n", errno.EINVAL, "an error reply without a code"),
        (b"REPLY_ERROR\nCode\n", errno.EINVAL, "Code, without a message"),
        (b"REPLY\n", errno.EINVAL, "a reply that begins with 'REPLY'"),
    ],
)
def test_no_usable_answer(reply: Reply, code: int, text: str, run_dir: str) -> None:
    with (
        mock(run_dir, {"PortAdd": reply}),
        Client.connect(TEAM, "usock", run_dir=run_dir, timeout_s=0.05) as connected,
        pytest.raises(CallFailed) as failed,
    ):
        connected.fetch("PortAdd")
    assert (failed.value.errno, str(failed.value)) == (code, text)


def test_a_call_made_for_its_effect_needs_no_payload(run_dir: str) -> None:
    with mock(run_dir, {"PortAdd": b"REPLY_SUCCESS"}), Client.connect(TEAM, run_dir=run_dir) as connected:
        assert connected.call("PortAdd", "eth1") == ""


def test_a_daemon_gone_between_two_calls(run_dir: str) -> None:
    with mock(run_dir, {"PortAdd": HANG_UP}), Client.connect(TEAM, run_dir=run_dir) as connected:
        with pytest.raises(CallFailed):
            connected.call("PortAdd", "eth1")
        with pytest.raises(CallFailed) as failed:
            connected.call("PortAdd", "eth1")
    assert failed.value.errno == errno.EPIPE


def test_no_daemon(run_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={run_dir}/bus")
    with pytest.raises(NoDaemon) as none:
        Client.connect(TEAM, run_dir=run_dir)
    assert list(none.value.failures) == ["usock", "dbus"]
    assert none.value.errno == errno.EINVAL
    assert f"no daemon answers for {TEAM} (usock: {run_dir}/{TEAM}.sock: No such file or directory; " in str(none.value)
    with pytest.raises(NoDaemon) as forced:
        Client.connect(TEAM, "usock", run_dir=run_dir)
    assert forced.value.errno == errno.ENOENT


def test_a_transport_that_does_not_exist(run_dir: str) -> None:
    with pytest.raises(ValueError, match="transport 'zmq': allowed are usock, dbus"):
        Client.connect(TEAM, "zmq", run_dir=run_dir)


def test_the_socket_path_is_cut_as_in_c(tmp_path: Path) -> None:
    with pytest.raises(NoDaemon) as none:
        Client.connect("x" * 200, "usock", run_dir=str(tmp_path))
    reached = str(none.value.failures["usock"]).rsplit(":", 1)[0]
    assert len(reached) == 107


@contextmanager
def crowd(path: str) -> Iterator[socket.socket]:
    """A daemon that is stopped, so that nobody more can even wait for it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener, ExitStack() as waiting:
        listener.bind(path)
        listener.listen(0)
        with suppress(BlockingIOError):
            while True:
                one = waiting.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                one.setblocking(False)
                one.connect(path)
        yield listener


def test_a_daemon_that_many_wait_for_does_not_answer(run_dir: str) -> None:
    """It is there; the advice to start one would be wrong."""
    with crowd(f"{run_dir}/{TEAM}.sock"), pytest.raises(NoDaemon) as none:
        Client.connect(TEAM, "usock", run_dir=run_dir, timeout_s=0.01)
    failure = none.value.failures["usock"]
    assert failure.errno == errno.ETIMEDOUT
    assert str(failure).endswith(f"{TEAM}.sock: too many wait for it already")


def test_who_finds_a_crowd_waits_for_a_place(run_dir: str) -> None:
    with crowd(f"{run_dir}/{TEAM}.sock") as listener:
        soon = Timer(0.02, lambda: listener.accept()[0].close())
        soon.start()
        client.UnixSocket(TEAM, run_dir, timeout_s=60.0).close()
        soon.join()


async def test_the_bus_has_a_crowd_too(run_dir: str) -> None:
    path = f"{run_dir}/{TEAM}.sock"
    with crowd(path) as listener, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as ours:
        ours.setblocking(False)
        with trio.move_on_after(0.01) as patience:
            await let_in(ours, path)
        assert patience.cancelled_caught
        listener.accept()[0].close()
        with trio.fail_after(60):
            await let_in(ours, path)


@pytest.mark.parametrize(
    ("variable", "expected"), [(None, client.RUN_DIR), ("", client.RUN_DIR), ("/somewhere", "/somewhere")]
)
def test_the_run_directory(variable: str | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEAMD_RUN_DIR", raising=False)
    if variable is not None:
        monkeypatch.setenv("PYTEAMD_RUN_DIR", variable)
    assert client.default_run_dir() == expected


@pytest.mark.parametrize(
    ("args", "packet"),
    [
        ((), b"REQUEST\nM\n"),
        (("eth1", ""), b"REQUEST\nM\neth1\n\n"),
        (("a\nb\\n",), b"REQUEST\nM\na\\nb\\\\n\n"),
        (("\u00e9\udcff",), b"REQUEST\nM\n\xc3\xa9\xff\n"),
    ],
)
def test_requests(args: tuple[str, ...], packet: bytes) -> None:
    assert client.encode_request("M", args) == packet


def test_errors_are_of_one_family() -> None:
    assert all(issubclass(kind, ClientError) for kind in (NoDaemon, DaemonError, CallFailed, TransportMissing))
