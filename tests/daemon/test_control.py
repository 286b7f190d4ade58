"""The control socket: every method, hostile packets, slow and vanishing clients."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import socket
import stat

import pytest
import trio
from daemon_kit import Lab, Running, quiet

from pyteamd.daemon.control import usock
from pyteamd.daemon.control.desk import MAXIMUM_REQUEST_OCTETS
from pyteamd.daemon.control.usock import MAXIMUM_CONNECTIONS, SEND_TIMEOUT_S, Usock, split, unescape
from pyteamd.model.desired import SetMember
from pyteamd.model.errors import UserError

INVALID = b"REPLY_ERROR\nInvalidArgs\nDid not receive correct message arguments.\n"
NO_DEVICE = b"REPLY_ERROR\nNoSuchDev\nNo such device.\n"
NO_PATH = b"REPLY_ERROR\nPathDoesNotExist\nItem path does not exist.\n"
UPDATE_FAILED = b"REPLY_ERROR\nConfigUpdateFail\nFailed to update config.\n"
ADD_FAILED = b"REPLY_ERROR\nPortAddFail\nFailed to add port.\n"
SET_FAILED = b"REPLY_ERROR\nItemValueSetFail\nFailed to set item value.\n"
PORT = b'REPLY_SUCCESS\n{\n    "link_watch": {\n        "name": "ethtool"\n    }\n}'
DONE = b"REPLY_SUCCESS\n"
PID_FILE = b"REPLY_SUCCESS\n/run/teamd/team0.pid"

PACKETS: list[tuple[bytes, bytes | None]] = [
    # framing: fields are separated by any number of newlines, the packet ends at the first NUL
    (b"REQUEST\nPortConfigDump\neth1\n", PORT),
    (b"REQUEST\nPortConfigDump\neth1", PORT),
    (b"\n\nREQUEST\n\n\nPortConfigDump\n\neth1\n\n", PORT),
    (b"REQUEST\nPortConfigDump\neth1\nmore\\x\n", PORT),
    (b"REQUEST\nPortConfigDump\neth1\0junk", PORT),
    (b"REQ\0UEST\nPortConfigDump\neth1\n", None),
    # what is no request gets no answer; an empty packet is an end
    (b"", b""),
    (b"\n", None),
    (b"\0", None),
    (b"REQUEST\n", None),
    (b"REQUEST", None),
    (b"REQ\nConfigDump\n", None),
    (b"REQUESTX\nConfigDump\n", None),
    (b"REQUEST \nConfigDump\n", None),
    (b"REQUEST\nNope\n", None),
    (b"REQUEST\nconfigdump\n", None),
    (b"REQUEST\nConfigDump\r\n", None),
    (b"REQUEST\rConfigDump\n", None),
    (b"REPLY_SUCCESS\nConfigDump\n", None),
    (b"REQUEST\n" + b"A" * 100_000, None),
    # arguments
    (b"REQUEST\nPortConfigDump\n", INVALID),
    (b"REQUEST\nPortConfigDump\n\n", INVALID),
    (b"REQUEST\nPortConfigDump\neth1\\\n", NO_DEVICE),
    (b"REQUEST\nPortConfigDump\neth\\1\n", INVALID),
    (b"REQUEST\nPortConfigDump\neth\\\\1\n", NO_DEVICE),
    (b"REQUEST\nPortConfigUpdate\neth1\n", INVALID),
    (b"REQUEST\nPortConfigUpdate\n\n{}\n", INVALID),
    (b'REQUEST\nPortConfigUpdate\neth1\n{"prio":\\t5}\n', INVALID),
    (b'REQUEST\nPortConfigUpdate\neth1\n{"prio":5}\\\n', UPDATE_FAILED),
    (b"REQUEST\nStateItemValueGet\n", INVALID),
    (b"REQUEST\nStateItemValueSet\nsetup.debug_level\n\n", INVALID),
    # names
    (b"REQUEST\nPortConfigDump\nnope\n", NO_DEVICE),
    (b"REQUEST\nPortConfigDump\nlo\n", b"REPLY_ERROR\nConfigDumpFail\nFailed to dump config.\n"),
    (b"REQUEST\nPortConfigUpdate\nnope\n{}\n", NO_DEVICE),
    (b"REQUEST\nPortConfigUpdate\nlo\n{}\n", DONE),
    (b"REQUEST\nPortConfigUpdate\nlo\n{\n", UPDATE_FAILED),
    (b"REQUEST\nPortConfigUpdate\neth1\n[]\n", UPDATE_FAILED),
    (b"REQUEST\nPortAdd\nnope\n", NO_DEVICE),
    (b"REQUEST\nPortAdd\neth1\n", DONE),
    (b"REQUEST\nPortAdd\nlo\n", ADD_FAILED),
    (b"REQUEST\nPortAdd\nteam0\n", ADD_FAILED),
    (b"REQUEST\nPortAdd\n\xff\xfe\n", NO_DEVICE),
    (b"REQUEST\nPortAdd\n" + b"a" * 60_000 + b"\n", NO_DEVICE),
    (b"REQUEST\nPortRemove\nlo\n", NO_DEVICE),
    (b"REQUEST\nPortRemove\nnope\n", NO_DEVICE),
    (b"REQUEST\nPortRemove\neth1\n", DONE),
    # items
    (b"REQUEST\nStateItemValueGet\nsetup.pid_file\n", PID_FILE),
    (b"REQUEST\nStateItemValueGet\nnope\n", NO_PATH),
    (b"REQUEST\nStateItemValueGet\n.\n", NO_PATH),
    (b"REQUEST\nStateItemValueGet\nrunner.active_port\n", b"REPLY_SUCCESS\neth1"),
    (b"REQUEST\nStateItemValueSet\nsetup.debug_level\n1\n", DONE),
    (b"REQUEST\nStateItemValueSet\nsetup.debug_level\nx\n", SET_FAILED),
    (b"REQUEST\nStateItemValueSet\nsetup.pid\n1\n", b"REPLY_ERROR\nOpNotSupp\nOperation not supported.\n"),
    (b"REQUEST\nStateItemValueSet\nnope\n1\n", NO_PATH),
    (b"REQUEST\nStateItemValueSet\nrunner.active_port\neth2\n", DONE),
    (b"REQUEST\nStateItemValueSet\nrunner.active_port\nnope\n", SET_FAILED),
]
"""Request and reply; each reply was first seen from teamd 1.31 with the same request, but for the pid file's place."""


@pytest.mark.parametrize(("packet", "reply"), PACKETS, ids=[repr(packet[:60]) for packet, _ in PACKETS])
async def test_packet(lab: Lab, packet: bytes, reply: bytes | None) -> None:
    daemon = await lab.start()
    assert await daemon.ask(packet) == reply
    assert await daemon.ask(b"REQUEST\nStateItemValueGet\nsetup.pid_file\n") == PID_FILE


# -- methods -----------------------------------------------------------------------------------------------------------


async def test_the_reply_to_a_port_command_comes_when_the_state_shows_it(lab: Lab) -> None:
    daemon = await lab.start(lab.plan({"runner": {"name": "activebackup"}}))
    assert await daemon.call("PortAdd", "eth2") == ""
    assert list((await daemon.state())["ports"]) == ["eth2"]
    assert await daemon.call("PortRemove", "eth2") == ""
    assert "ports" not in await daemon.state()
    assert await daemon.call("PortAdd", "eth2") == ""
    assert (await daemon.state())["runner"] == {"active_port": "eth2"}


async def test_what_the_kernel_refuses_is_an_error_of_the_request(lab: Lab) -> None:
    daemon = await lab.start(lab.plan({"runner": {"name": "activebackup"}}))
    eth1 = lab.link("eth1").ifindex
    lab.kernel.set_up(eth1, True)
    assert await daemon.call("PortAdd", "eth1") == "PortAddFail: Failed to add port."
    lab.kernel.set_up(eth1, False)
    assert await daemon.call("PortAdd", "eth1") == ""
    lab.kernel.refuse(lambda write: write == SetMember(eth1, False), errno.EBUSY)
    assert await daemon.call("PortRemove", "eth1") == "PortRemoveFail: Failed to del port."
    lab.kernel.refuse(lambda write: type(write) is SetMember, errno.ENODEV)
    assert await daemon.call("PortAdd", "eth2") == "NoSuchDev: No such device."


async def test_configuration_is_dumped_as_stored_and_as_it_is(lab: Lab) -> None:
    daemon = await lab.start(lab.plan({"runner": {"name": "activebackup"}, "ports": {"eth1": {"prio": 5}, "eth9": {}}}))
    stored = json.loads(await daemon.call("ConfigDump"))
    assert stored["device"] == "team0"
    assert stored["ports"] == {"eth1": {"link_watch": {"name": "ethtool"}, "prio": 5}, "eth9": {}}
    assert list(json.loads(await daemon.call("ConfigDumpActual"))["ports"]) == ["eth1"]


async def test_a_new_configuration_of_a_port_is_stored_and_its_priority_written(lab: Lab) -> None:
    daemon = await lab.start()
    assert await daemon.call("PortConfigUpdate", "eth2", '{"prio":\n 7, "x": "a\\\\b"}') == ""
    assert json.loads(await daemon.call("PortConfigDump", "eth2")) == {"prio": 7, "x": "a\\b"}
    assert lab.option("priority", "eth2") == 7
    assert (
        await daemon.call("PortConfigUpdate", "eth2", '{"prio": "high"}')
        == "ConfigUpdateFail: Failed to update config."
    )
    assert any("must be an integer" in line for line in daemon.lines)
    assert lab.option("priority", "eth2") == 7


async def test_the_active_port_and_the_log_can_be_set(lab: Lab) -> None:
    daemon = await lab.start()
    assert await daemon.call("StateItemValueSet", "runner.active_port", "eth2") == ""
    assert lab.option("activeport") == lab.link("eth2").ifindex
    assert await daemon.call("StateItemValueSet", "setup.debug_level", "2") == ""
    assert daemon.log.isEnabledFor(10)
    await daemon.call("ConfigDump")
    assert "Control socket: ConfigDump" in daemon.lines
    assert await daemon.call("StateItemValueSet", "setup.debug_level", "0") == ""
    assert not daemon.log.isEnabledFor(10)
    assert (await daemon.state())["setup"]["debug_level"] == 0


# -- clients -----------------------------------------------------------------------------------------------------------


async def fill(daemon: Running) -> trio.socket.SocketType:
    """A client that asks and asks and never reads, until the daemon waits for it."""
    client = await daemon.connect()
    while True:
        with trio.move_on_after(0.1) as patience:
            await client.send(b"REQUEST\nStateDump\n")
        if patience.cancelled_caught:
            return client


async def test_a_client_that_does_not_read_delays_nobody_and_is_cut_off(lab: Lab) -> None:
    daemon = await lab.start()
    with await fill(daemon):
        began = trio.current_time()
        lab.cut("eth1")
        await quiet()
        assert lab.option("activeport") == lab.link("eth2").ifindex
        assert await daemon.call("StateItemValueGet", "runner.active_port") == "eth2"
        assert trio.current_time() == began
        await trio.sleep(SEND_TIMEOUT_S)
        assert "Control socket: a client did not take its reply." in daemon.lines


async def test_a_client_that_vanishes_hurts_nobody(lab: Lab) -> None:
    daemon = await lab.start()
    for _ in range(20):
        with await daemon.connect() as client:
            await client.send(b"REQUEST\nStateDump\n")
    (await fill(daemon)).close()
    await quiet()
    assert await daemon.call("StateItemValueGet", "runner.active_port") == "eth1"


async def test_many_requests_on_one_connection_are_answered_in_order(lab: Lab) -> None:
    daemon = await lab.start()
    with await daemon.connect() as client:
        for number in range(1, 50):
            await client.send(b"REQUEST\nStateItemValueSet\nsetup.debug_level\n%d\n" % number)
            await client.send(b"REQUEST\nStateItemValueGet\nsetup.debug_level\n")
            assert await client.recv(1000) == b"REPLY_SUCCESS\n"
            assert await client.recv(1000) == b"REPLY_SUCCESS\n%d" % number


@pytest.mark.slow
async def test_with_too_many_connections_the_idlest_is_dropped(lab: Lab) -> None:
    daemon = await lab.start()
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(MAXIMUM_CONNECTIONS):
            clients.append(stack.enter_context(await daemon.connect()))
            if number % 50 == 49:  # the queue of connections not yet accepted is shorter than all of them
                await quiet()
        await clients[0].send(b"REQUEST\nConfigDump\n")
        assert await clients[0].recv(10000)
        assert await daemon.call("StateItemValueGet", "runner.active_port") == "eth1"
        assert await clients[1].recv(10) == b""
        await clients[0].send(b"REQUEST\nConfigDump\n")
        assert await clients[0].recv(10000)


async def test_a_client_that_is_dropped_while_it_asks_hurts_nobody(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its packet and the connection too many are there at the same time; which the daemon sees first is left to chance."""
    monkeypatch.setattr(usock, "MAXIMUM_CONNECTIONS", 1)
    daemon = await lab.start()
    for _ in range(20):
        with connected(daemon.path) as first:
            await quiet()
            first.send(b"REQUEST\nConfigDump\n")
            with connected(daemon.path):
                await quiet()
            assert daemon.code is None
            assert first.recv(10) in (b"", b"REPLY_SUCC")
    assert await daemon.call("StateItemValueGet", "runner.active_port") == "eth1"


def connected(path: str) -> socket.socket:
    """A client that does not wait for the event loop."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.settimeout(1)
    client.connect(path)
    return client


async def test_a_large_reply_is_one_packet(lab: Lab) -> None:
    daemon = await lab.start()
    for number in range(8):
        lab.kernel.add_pair(f"more{number}", f"far{number}")
    text = json.dumps({"prio": 0, "comment": "x" * 60_000})
    with await daemon.connect() as client:
        for number in range(8):
            await client.send(f"REQUEST\nPortConfigUpdate\nmore{number}\n{text}\n".encode())
            assert await client.recv(100) == DONE
        await client.send(b"REQUEST\nConfigDump\n")
        reply = await client.recv(1 << 21)
    assert len(reply) > 480_000
    assert json.loads(reply.partition(b"\n")[2])["ports"]["more7"]["comment"] == "x" * 60_000


async def test_the_longest_request(lab: Lab) -> None:
    """teamd takes requests of any length; here they are read while LACPDUs wait."""
    daemon = await lab.start()
    head = b"REQUEST\nPortAdd\n"
    assert await daemon.ask(head + b"a" * (MAXIMUM_REQUEST_OCTETS - len(head))) == NO_DEVICE
    reply = await daemon.ask(head + b"a" * (MAXIMUM_REQUEST_OCTETS - len(head) + 1))
    assert reply == b"REPLY_ERROR\nRequestTooLong\nA request has at most 65536 octets.\n"


# -- the file ----------------------------------------------------------------------------------------------------------


async def test_the_socket_is_for_root_only(lab: Lab) -> None:
    daemon = await lab.start()
    status = os.stat(daemon.path)
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o700
    assert os.listdir(lab.directory) == ["team0.sock"]


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
async def test_another_user_is_not_let_in(lab: Lab) -> None:
    await lab.start()
    lab.directory.chmod(0o755)
    place = os.open(lab.directory, os.O_PATH)  # with this no way is needed through the directories above
    become = ctypes.CDLL(None).setfsuid  # for this thread's file accesses, and without root's capabilities for them
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
            become(65534)
            with pytest.raises(PermissionError):
                stranger.connect(f"/proc/self/fd/{place}/team0.sock")
            become(0)
            stranger.connect(f"/proc/self/fd/{place}/team0.sock")
    finally:
        become(0)
        os.close(place)


async def test_a_stale_file_is_replaced(lab: Lab) -> None:
    (lab.directory / "team0.sock").write_text("left behind")
    daemon = await lab.start()
    assert await daemon.call("StateItemValueGet", "runner.active_port") == "eth1"


async def test_the_file_of_a_successor_is_left_alone(lab: Lab) -> None:
    daemon = await lab.start()
    os.unlink(daemon.path)
    successor = Usock(daemon.path, daemon.log)
    await daemon.stop()
    assert daemon.has_file()
    successor.close()
    assert not daemon.has_file()


async def test_a_file_that_cannot_be_removed_does_not_hinder_the_end(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def unlink(path: str) -> None:
        raise OSError(errno.EROFS, "")

    daemon = await lab.start()
    monkeypatch.setattr("pyteamd.daemon.control.usock.os.unlink", unlink)
    assert await daemon.stop() == 0
    monkeypatch.undo()
    assert not lab.has("team0")
    assert f"Control socket: {daemon.path} is left behind: Read-only file system" in daemon.lines
    assert await (await lab.start()).stop() == 0, "and a successor replaces it"


async def test_the_socket_of_a_running_daemon_is_left_alone(lab: Lab) -> None:
    """`serve` has no pid file that would keep a second daemon away."""
    daemon = await lab.start()
    second = await lab.start(lab.plan(take_over=True))
    assert second.failure is not None
    assert "Address already in use" in str(second.failure)
    assert list((await daemon.state())["ports"]) == ["eth1", "eth2"]
    assert lab.has("team0")


@pytest.mark.parametrize("method", ["Events", "Trace"])
@pytest.mark.parametrize("start", ["", "x", "-1", "²", "9" * 21, "9" * 5000])
async def test_a_step_is_a_number_within_reason(lab: Lab, method: str, start: str) -> None:
    daemon = await lab.start()
    assert (await daemon.call(method, start)).startswith("InvalidArgs")


async def test_without_a_socket_there_is_no_file(lab: Lab) -> None:
    daemon = await lab.start(lab.plan(usock_path=None))
    assert os.listdir(lab.directory) == []
    assert await daemon.stop() == 0


# -- fields ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "fields"),
    [
        (b"", []),
        (b"\n\n", []),
        (b"a", ["a"]),
        (b"\na\n\nb c\n", ["a", "b c"]),
        (b"a\nb\0c\nd", ["a", "b"]),
        (b"\xff\n", ["\udcff"]),
    ],
)
def test_split(packet: bytes, fields: list[str]) -> None:
    assert split(packet) == fields


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("plain", "plain"),
        ("a\\nb", "a\nb"),
        ("a\\\\n", "a\\n"),
        ("a\\", "a\\"),
        ("\\\\\\n", "\\\n"),
        ("\\\\\\", "\\\\"),
    ],
)
def test_unescape(field: str, text: str) -> None:
    assert unescape(field) == text


@pytest.mark.parametrize("field", ["\\t", "a\\ b", "\\N", "\\\\\\0"])
def test_unescape_refuses(field: str) -> None:
    with pytest.raises(UserError):
        unescape(field)
