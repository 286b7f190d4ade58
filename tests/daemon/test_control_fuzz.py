"""Both transports under thousands of hostile messages, clients that vanish, hang or come in crowds: others are served as ever."""

from __future__ import annotations

import os
import random
import shutil
import socket
from collections.abc import Iterator

import pytest
import trio
import trio.testing
from bus_kit import INTERFACE, NAME, PATH, Client, PrivateBus, client, private_bus, until
from daemon_kit import Lab, Running
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as some
from jeepney import DBusAddress, new_method_call

from pyteamd.daemon.control import methods
from pyteamd.daemon.control.usock import MAXIMUM_CONNECTIONS

pytestmark = pytest.mark.slow

MESSAGES = 3000
CONNECTIONS = 1000
TEXT = some.one_of(
    some.sampled_from(
        [
            *methods.BY_NAME,
            "eth1",
            "eth2",
            "lo",
            "team0",
            "nope",
            "{}",
            '{"prio": 5}',
            '{"prio": "x"}',
            "[",
            "null",
            "é",
        ]
    ),
    some.sampled_from(["runner.active_port", "setup.debug_level", "ports.eth1.link.up", "a..b", ".", "ports.nope.x"]),
    some.text(max_size=40),
    some.from_regex(r"[a-z.]{0,30}", fullmatch=True),
    some.builds(lambda depth: "[" * depth, some.integers(0, 5000)),
)
LINES = some.lists(some.one_of(TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")), some.binary(max_size=60)))
PACKETS = some.one_of(
    some.binary(max_size=300),
    some.builds(lambda lines: b"\n".join([b"REQUEST", *lines]), LINES),
    some.builds(
        lambda name, lines: b"\n".join([b"REQUEST", name.encode(), *lines]),
        some.sampled_from(list(methods.BY_NAME)),
        LINES,
    ),
)
BODIES = some.one_of(
    some.lists(TEXT.map(lambda text: text.replace("\0", "")), max_size=4).map(
        lambda words: ("s" * len(words), tuple(words))
    ),
    some.sampled_from(
        [
            ("u", (7,)),
            ("as", (["x"] * 50,)),
            ("a{sv}", ({"a": ("u", 1)},)),
            ("v", (("s", "x"),)),
            ("sv", ("a", ("b", True))),
        ]
    ),
    some.binary(max_size=2000).map(lambda octets: ("ay", (octets,))),
)
NAMES = some.one_of(
    some.sampled_from(list(methods.BY_NAME)), some.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
)
PATHS = some.sampled_from([PATH, "/", "/org", "/a/b"])
INTERFACES = some.sampled_from(
    [INTERFACE, None, "org.freedesktop.DBus.Introspectable", "org.freedesktop.DBus.Peer", "a.b"]
)


def samples(strategy: some.SearchStrategy[object], count: int) -> list[object]:
    """`count` examples, the same ones in every run."""
    found: list[object] = []

    @seed(6)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def take(example: object) -> None:
        found.append(example)

    take()
    return found


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateBus]:
    if not shutil.which("dbus-daemon"):
        pytest.skip("no dbus-daemon (Debian: dbus)")
    with private_bus() as running:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", running.address)
        yield running


def open_files() -> int:
    """Descriptors of this process, which is the daemon's too."""
    return len(os.listdir("/proc/self/fd"))


def ports(daemon: Running) -> set[str]:
    """Ports as the team sees them."""
    (pump,) = daemon.reader.pumps.values()
    return {port.name for port in pump.team.ports.values()}


async def test_thousands_of_packets_on_the_socket(lab: Lab) -> None:
    packets = samples(PACKETS, MESSAGES)
    assert len(packets) >= MESSAGES * 0.9
    daemon = await lab.start()
    await daemon.call("ConfigDump")
    before = open_files()
    for packet in packets:
        assert isinstance(packet, bytes)
        with await daemon.connect() as stranger:
            await stranger.send(packet or b"\0")
            if len(packet) % 3:
                with trio.move_on_after(0.002):
                    await stranger.recv(1 << 20)
    await until(lambda: served(daemon))
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert open_files() <= before


async def served(daemon: Running) -> bool:
    """Whether a new client gets its answer. One of hundreds that come at once may be cut off before it has said anything."""
    try:
        return "runner" in await daemon.call("ConfigDump")
    except OSError:
        return False


async def answered(client: trio.socket.SocketType) -> bool:
    """Whether a client that is connected gets its answer."""
    await client.send(b"REQUEST\nConfigDump\n")
    with trio.fail_after(60):
        return b"REPLY_SUCCESS\n" in await client.recv(1 << 20)


async def test_thousands_of_calls_on_the_bus(lab: Lab, bus: PrivateBus) -> None:
    cases = samples(some.tuples(NAMES, BODIES, PATHS, INTERFACES, some.booleans()), MESSAGES)
    daemon = await lab.start(lab.plan(dbus=True))
    before = open_files()
    async with client(bus) as router:
        for member, (signature, body), path, interface, wait in cases:  # type: ignore[misc]
            message = new_method_call(DBusAddress(path, NAME, interface), member, signature or None, body)
            if wait:
                with trio.move_on_after(5) as patience:
                    await router.send_and_get_reply(message)
                assert not patience.cancelled_caught, (member, signature, body)
            else:
                await router.send(message)
        assert "runner" in await Client(router).call("ConfigDump")
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert open_files() <= before
    assert [line for line in daemon.lines if "D-Bus" in line] == []


async def test_clients_that_vanish_in_the_middle_of_calls(lab: Lab, bus: PrivateBus) -> None:
    choose = random.Random(6)
    daemon = await lab.start(lab.plan(dbus=True))
    before = open_files()
    for _ in range(150):
        async with client(bus) as router:
            for _ in range(choose.randrange(1, 5)):
                await router.send(new_method_call(DBusAddress(PATH, NAME, INTERFACE), "StateDump"))
        with await daemon.connect() as stranger:
            await stranger.send(
                b"REQUEST\nPortRemove\neth2\n" if choose.random() < 0.5 else b"REQUEST\nPortAdd\neth2\n"
            )
    async with client(bus) as router:
        assert "runner" in await Client(router).call("ConfigDump")
    await daemon.call("PortAdd", "eth2")
    assert ports(daemon) == {"eth1", "eth2"}
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert open_files() <= before


async def test_a_thousand_connections_at_once(lab: Lab) -> None:
    daemon = await lab.start()
    before = open_files()
    crowd: list[socket.socket] = []
    regular = await daemon.connect()
    try:
        for number in range(CONNECTIONS):
            one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            one.setblocking(False)
            crowd.append(one)
            while True:
                try:
                    one.connect(daemon.path)
                    break
                except BlockingIOError:  # the backlog is full until the daemon had its turn
                    await trio.sleep(0.001)
            if number % 2:
                one.send(b"REQUEST\nStateDump\n")  # and never reads
            if number % 100 == 0:
                assert await answered(regular)
        assert await answered(regular)
        await until(lambda: served(daemon))
        assert open_files() - before - CONNECTIONS - 1 <= MAXIMUM_CONNECTIONS + 1
        lab.cut("eth1")
        await until(lambda: failed_over(daemon))
    finally:
        for one in crowd:
            one.close()
        regular.close()
    await until(lambda: served(daemon))
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert open_files() <= before + 1


async def test_a_thousand_connections_to_the_bus(lab: Lab, bus: PrivateBus) -> None:
    """Each with a question, half of them gone at once and the other half never reading."""
    daemon = await lab.start(lab.plan(dbus=True))
    before = open_files()
    hello = new_method_call(
        DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus"), "Hello"
    )
    question = new_method_call(DBusAddress(PATH, NAME, INTERFACE), "StateDump")
    login = b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\nBEGIN\r\n"
    words = login + hello.serialise(serial=1) + question.serialise(serial=2)
    crowd: list[socket.socket] = []
    try:
        async with client(bus) as router:
            regular = Client(router)
            for number in range(CONNECTIONS):
                one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                one.setblocking(False)
                while True:
                    try:
                        one.connect(str(bus.path))
                        break
                    except BlockingIOError:  # the backlog is full until the bus had its turn
                        await trio.sleep(0.001)
                one.send(words)
                if number % 2:
                    crowd.append(one)
                else:
                    one.close()
                if number % 100 == 0:
                    with trio.fail_after(60):
                        assert "runner" in await regular.call("ConfigDump")
            lab.cut("eth1")
            await until(lambda: failed_over(daemon))
            with trio.fail_after(60):
                assert await regular.call("StateItemValueGet", "runner.active_port") == "eth2"
            await until(lambda: all_answered(crowd[:: len(crowd) // 10]))
    finally:
        for one in crowd:
            one.close()
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert open_files() <= before


async def all_answered(clients: list[socket.socket]) -> bool:
    """Whether each of these has the reply to its Hello and to its question waiting."""
    waiting = [one.recv(1 << 20, socket.MSG_PEEK) for one in clients]
    return all(b"runner" in octets for octets in waiting)


async def failed_over(daemon: Running) -> bool:
    """Whether the other port carries traffic."""
    try:
        return await daemon.call("StateItemValueGet", "runner.active_port") == "eth2"
    except OSError:
        return False
