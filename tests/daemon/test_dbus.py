"""The methods on D-Bus, with a real dbus-daemon and the policy file that is shipped: answers, errors, name, loss of the bus, strangers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from bus_kit import INTERFACE, NAME, OTHER, PATH, Client, PrivateBus, client, private_bus, told, until
from daemon_kit import ACTIVE_BACKUP, Lab
from jeepney import DBusAddress, HeaderFields, MatchRule, MessageFlag, new_method_call, new_method_return, new_signal
from jeepney.bus_messages import message_bus
from test_doors import TEXTS

from pyteamd.daemon.control import methods
from pyteamd.daemon.control.dbus import MAXIMUM_CALLS
from pyteamd.daemon.pump import Pump
from pyteamd.daemon.team_server import TeamPlan

pytestmark = pytest.mark.skipif(not shutil.which("dbus-daemon"), reason="no dbus-daemon (Debian: dbus)")

MACHINE_ID = "".join(file.read_text().strip() for file in Path("/etc").glob("machine-id"))
ERROR = "org.freedesktop.DBus.Error."
CALLS: list[tuple[str, tuple[str, ...]]] = [
    ("ConfigDump", ()),
    ("ConfigDumpActual", ()),
    ("StateDump", ()),
    ("StateItemValueGet", ("runner.active_port",)),
    ("StateItemValueGet", ("setup.dbus_enabled",)),
    ("StateItemValueGet", ("nope",)),
    ("StateItemValueGet", ("..",)),
    ("StateItemValueSet", ("runner.active_port", "eth2")),
    ("StateItemValueSet", ("runner.active_port", "nope")),
    ("StateItemValueSet", ("setup.pid", "1")),
    ("PortConfigDump", ("eth1",)),
    ("PortConfigDump", ("nope",)),
    ("PortConfigUpdate", ("eth1", '{"prio": 7}')),
    ("PortConfigUpdate", ("eth1", "{}")),
    ("PortConfigUpdate", ("eth1", "{")),
    ("PortConfigUpdate", ("nope", "{}")),
    ("PortAdd", ("eth1",)),
    ("PortAdd", ("nope",)),
    ("PortAdd", ("",)),
    ("PortRemove", ("nope",)),
]


def with_dbus(lab: Lab, device: str = "team0") -> TeamPlan:
    """The usual team, on D-Bus too."""
    plan = lab.plan(dbus=True)
    return replace(plan, device=device, setup=replace(plan.setup, dbus_enabled=True))


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateBus]:
    with private_bus() as running:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", running.address)
        yield running


@pytest.fixture
async def user(bus: PrivateBus, lab: Lab) -> AsyncIterator[Client]:
    """A client of a daemon that runs."""
    await lab.start(with_dbus(lab))
    async with client(bus) as router:
        yield Client(router)


async def test_every_method_answers_as_on_the_socket(lab: Lab, user: Client) -> None:
    (daemon,) = lab.daemons
    for name, arguments in CALLS:
        expected = await daemon.call(name, *arguments)
        if "" in arguments:  # which the socket cannot express
            expected = "NoSuchDev: No such device."
        answer = (await user.call(name, *arguments)).removeprefix(INTERFACE)
        assert answer == expected, name
    for name in set(methods.BY_NAME) - {name for name, _ in CALLS}:  # our own, which show what changes all the time
        assert (await user.ask(name)).header.fields[HeaderFields.signature] == "s", name


@pytest.mark.parametrize("name", TEXTS)
async def test_a_configuration_is_checked_as_through_every_other_door(lab: Lab, user: Client, name: str) -> None:
    """See test_doors.py. Where D-Bus keeps teamd's word for an error, the log and Reason have ours."""
    (daemon,) = lab.daemons
    text, words = TEXTS[name]
    before = json.loads(await user.call("ConfigDump"))
    report = json.loads(await user.call("ConfigApply", text, "dry-run"))
    assert words in "\n".join([*report["problems"], *report["warnings"]]), report
    if name in ("type", "range", "unknown", "watcher"):
        daemon.lines.clear()
        settings = json.dumps(json.loads(text)["ports"]["eth1"])
        checked = json.loads(await user.call("PortConfigCheck", "eth1", settings))
        await user.call("PortConfigUpdate", "eth1", settings)
        reason = json.loads(await user.call("Reason", "PortConfigUpdate", "eth1"))["reason"]
        assert words in "\n".join([*daemon.lines, reason]), daemon.lines
        assert words in "\n".join(checked["problems"]), checked
        await user.call("PortConfigUpdate", "eth1", json.dumps(before["ports"]["eth1"]))
    assert json.loads(await user.call("ConfigDump")) == before


async def test_what_keeps_a_link_from_joining_is_said(lab: Lab, user: Client) -> None:
    lab.kernel.set_master(lab.kernel.add_pair("eth5", "far").ifindex, lab.kernel.add_other("br0", "bridge").ifindex)
    assert (await user.call("PortAdd", "eth5")).startswith(f"{INTERFACE}PortAddFail")
    assert "belongs to br0" in await user.call("Explain")
    more = {**ACTIVE_BACKUP, "ports": {"eth1": {}, "eth2": {}, "eth5": {}}}
    report = json.loads(await user.call("ConfigApply", json.dumps(more), "apply"))
    assert report["applied"]
    rows = {row["port"]: row["text"] for row in json.loads(await user.call("Explain"))}
    assert rows["eth5"] == "eth5: belongs to br0 (it joins when it is free and down)"


async def test_ports_come_and_go(lab: Lab, user: Client) -> None:
    assert await user.call("PortRemove", "eth1") == ""
    assert sorted(json.loads(await user.call("StateDump"))["ports"]) == ["eth2"]
    assert await user.call("PortAdd", "eth1") == ""
    assert sorted(json.loads(await user.call("StateDump"))["ports"]) == ["eth1", "eth2"]


REFUSED: list[tuple[str, str, tuple[Any, ...], dict[str, Any], str]] = [
    ("PortAdd", "", (), {}, f"{INTERFACE}InvalidArgs: Did not receive correct message arguments."),
    ("PortAdd", "u", (5,), {}, f"{INTERFACE}InvalidArgs: Did not receive correct message arguments."),
    ("PortAdd", "as", (["eth1"],), {}, f"{INTERFACE}InvalidArgs: Did not receive correct message arguments."),
    ("PortConfigUpdate", "sv", ("eth1", ("s", "{}")), {}, f"{INTERFACE}InvalidArgs"),
    ("Nope", "", (), {}, f'{ERROR}UnknownMethod: Method "Nope" with signature "" on interface "{INTERFACE}"'),
    ("ConfigDump", "", (), {"interface": None}, f"{ERROR}UnknownMethod"),
    ("ConfigDump", "", (), {"interface": "org.example"}, f"{ERROR}UnknownMethod"),
    ("GetAll", "s", (INTERFACE,), {"interface": "org.freedesktop.DBus.Properties"}, f"{ERROR}UnknownMethod"),
    ("ConfigDump", "", (), {"path": "/org/libteam"}, f"{ERROR}UnknownMethod"),
    ("ConfigDump", "", (), {"path": "/nowhere"}, f"{ERROR}UnknownObject: No such object path '/nowhere'"),
    ("Nope", "", (), {"interface": "org.freedesktop.DBus.Peer"}, f"{ERROR}UnknownMethod"),
]


async def test_what_is_not_there_is_an_error(user: Client) -> None:
    for member, signature, body, where, expected in REFUSED:
        reply = await user.ask(member, signature, body, **where)
        error = f"{reply.header.fields[4]}: {reply.body[0]}"
        assert error.startswith(expected), member


async def test_surplus_arguments_do_not_matter(user: Client) -> None:
    reply = await user.ask("PortConfigDump", "sa{sv}", ("eth1", {"more": ("u", 1)}))
    assert "link_watch" in reply.body[0]


async def test_ping_and_machine_id(user: Client) -> None:
    assert (await user.ask("Ping", interface="org.freedesktop.DBus.Peer", path="/any")).body == ()
    answer = await user.call("GetMachineId", interface="org.freedesktop.DBus.Peer")
    assert answer == (MACHINE_ID or f"{ERROR}FileNotFound: {answer.partition(': ')[2]}")


async def test_introspection_lists_every_method(user: Client) -> None:
    introspectable = "org.freedesktop.DBus.Introspectable"
    found = ElementTree.fromstring(await user.call("Introspect", interface=introspectable))
    (ours,) = [part for part in found if part.get("name") == INTERFACE]
    shown = {
        method.get("name"): tuple(arg.get("name") for arg in method if arg.get("direction") == "in") for method in ours
    }
    assert shown == {method.name: method.arguments for method in methods.METHODS}
    assert {arg.get("type") for arg in ours.iter("arg")} == {"s"}
    path = ""
    for part in PATH.strip("/").split("/"):
        node = ElementTree.fromstring(await user.call("Introspect", interface=introspectable, path=path or "/"))
        assert [child.get("name") for child in node] == [part]
        path = f"{path}/{part}"


async def test_the_name_comes_when_everything_is_there(lab: Lab, bus: PrivateBus) -> None:
    async with client(bus) as router:
        user = Client(router)
        lab.nursery.start_soon(lab.start, with_dbus(lab))
        await until(user.owner)
        state = json.loads(await user.call("StateDump"))
    assert sorted(state["ports"]) == ["eth1", "eth2"]
    assert state["setup"]["dbus_enabled"] is True
    assert lab.daemons[0].ready.is_set()


async def test_no_reply_where_none_is_wanted(user: Client) -> None:
    message = new_method_call(DBusAddress(PATH, NAME, INTERFACE), "PortRemove", "s", ("eth2",))
    message.header.flags |= MessageFlag.no_reply_expected
    await user.router.send(message)
    state = json.loads(await user.call("StateDump"))
    assert sorted(state["ports"]) == ["eth1"]


# -- starts that fail --------------------------------------------------------------------------------------------------


async def test_a_name_that_is_taken_fails_the_start(lab: Lab, bus: PrivateBus) -> None:
    async with client(bus) as router:
        await router.send_and_get_reply(message_bus.RequestName(NAME))
        daemon = await lab.start(with_dbus(lab))
        assert daemon.failure is not None
        assert str(daemon.failure) == f"Failed to expose dbus name.\n{NAME} has an owner already"
        assert not lab.has("team0")
        assert not daemon.has_file()


async def test_no_bus_fails_the_start(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    for address, reason in (
        (f"unix:path={tmp_path}/none", "No such file or directory"),
        ("tcp:host=localhost", "is not understood"),
        ("SESSION", "is not understood"),
    ):
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        daemon = await lab.start(with_dbus(lab))
        assert daemon.failure is not None
        assert reason in str(daemon.failure)
        assert not lab.has("team0")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("1team", "org.freedesktop.DBus.Error.InvalidArgs"),
        ("t\x1b[2J", "org.freedesktop.DBus.Error.InvalidArgs"),
        ("t\udcff", "no text of D-Bus"),
    ],
)
async def test_a_device_whose_name_is_no_bus_name_fails_the_start(
    lab: Lab, bus: PrivateBus, name: str, said: str
) -> None:
    daemon = await lab.start(with_dbus(lab, name))
    assert daemon.failure is not None
    assert said in str(daemon.failure)


# -- a bus that goes ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_the_bus_goes_and_comes_back(lab: Lab, bus: PrivateBus) -> None:
    daemon = await lab.start(with_dbus(lab))
    bus.stop()

    async def said(words: str) -> bool:
        return any(words in line for line in daemon.lines)

    async def failed_over() -> bool:
        return await daemon.call("StateItemValueGet", "runner.active_port") == "eth2"

    await until(lambda: said("D-Bus"))
    lab.cut("eth1")
    await until(failed_over)
    bus.start()
    await until(lambda: said("is ours again"))
    async with client(bus) as router:
        assert await Client(router).call("StateItemValueGet", "runner.active_port") == "eth2"
    lost = [line for line in daemon.lines if "D-Bus" in line]
    assert lost == ["D-Bus: the bus closed the connection; trying to come back.", f"D-Bus: {NAME} is ours again."]


# -- strangers ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("dbus-send"), reason="not root, or no dbus-send")
async def test_only_root_gets_anywhere(bus: PrivateBus, user: Client) -> None:
    for method, arguments in [("ConfigDump", []), ("PortRemove", ["string:eth1"]), ("StateDump", [])]:
        command = ["dbus-send", f"--bus={bus.address}", f"--dest={NAME}", "--print-reply", PATH]
        command += [f"{INTERFACE}.{method}", *arguments]
        as_nobody = await trio.run_process(
            command, capture_stdout=True, capture_stderr=True, check=False, user=65534, group=65534, extra_groups=[]
        )
        assert as_nobody.returncode == 1
        assert b"AccessDenied" in as_nobody.stderr
    assert sorted(json.loads(await user.call("StateDump"))["ports"]) == ["eth1", "eth2"]


@pytest.mark.slow
async def test_a_client_that_never_reads_delays_nobody(bus: PrivateBus, user: Client) -> None:
    async with client(bus) as greedy:
        message = new_method_call(DBusAddress(PATH, NAME, INTERFACE), "StateDump")
        with trio.move_on_after(2):
            for _ in range(3000):
                await greedy.send(message)
    with trio.fail_after(10):
        assert await user.call("StateItemValueGet", "setup.dbus_enabled") == "true"


async def test_too_many_calls_at_once_are_refused_not_queued(user: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    go, replies = trio.Event(), Counter[str]()

    async def slow(pump: Pump) -> str:
        await go.wait()
        return "done"

    async def one() -> None:
        reply = await user.call("ConfigDump")
        replies[reply] += 1
        if replies.total() == 20:  # the refused ones; all others wait
            go.set()

    monkeypatch.setitem(methods.BY_NAME, "ConfigDump", replace(methods.BY_NAME["ConfigDump"], handler=slow))
    async with trio.open_nursery() as nursery:
        for _ in range(MAXIMUM_CALLS + 20):
            nursery.start_soon(one)
    assert replies == {"done": MAXIMUM_CALLS, f"{ERROR}LimitsExceeded: Too many calls at once.": 20}


@pytest.mark.parametrize(("offset", "value"), [(2, 0xF8), (1, 9)], ids=["unknown flags", "unknown type"])
async def test_messages_of_the_future_are_skipped(bus: PrivateBus, user: Client, offset: int, value: int) -> None:
    message = new_method_call(DBusAddress(PATH, NAME, INTERFACE), "ConfigDump")
    async with client(bus) as other:
        octets = bytearray(message.serialise(77))
        octets[offset] = value
        await other._conn._send_data(bytes(octets), None)
        assert await user.call("StateItemValueGet", "setup.dbus_enabled") == "true"


async def test_programs_of_others_understand_us(bus: PrivateBus, user: Client) -> None:
    busctl = shutil.which("busctl")
    if busctl is None:
        pytest.skip("no busctl (Debian: systemd)")
    command = [
        busctl,
        f"--address={bus.address}",
        "call",
        NAME,
        PATH,
        INTERFACE,
        "StateItemValueGet",
        "s",
        "setup.dbus_enabled",
    ]
    done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.DEVNULL, check=False)
    assert done.stdout.strip() == b's "true"'
    listing = await trio.run_process(
        [busctl, f"--address={bus.address}", "introspect", NAME, PATH], capture_stdout=True, check=False
    )
    assert listing.stdout.count(b" method ") >= len(methods.METHODS)


@pytest.mark.parametrize("interface", ["org.example.Other", "org.libteam.teamd", None])
async def test_the_policy_is_about_nobody_else(bus: PrivateBus, interface: str | None) -> None:
    """An interface is optional in a message; a rule that denies one denies every message that names none."""
    async with client(bus) as service, client(bus) as caller:
        await service.send_and_get_reply(message_bus.RequestName(OTHER))
        call = new_method_call(DBusAddress("/", OTHER, interface), "Hello")
        with service.filter(MatchRule(type="method_call", member="Hello")) as calls, trio.fail_after(10):
            async with trio.open_nursery() as asking:
                asking.start_soon(caller.send_and_get_reply, call)
                received = await calls.receive()
                await service.send(new_method_return(received))
    assert received.header.fields.get(HeaderFields.interface) == interface


async def test_a_message_as_long_as_the_bus_takes_is_not_kept(user: Client, lab: Lab) -> None:
    """Anybody may send a signal to anybody."""
    long = "x" * 8_000_000
    reply = await user.ask("ConfigApply", "ss", (long, "apply"))
    assert told(reply) == f"{ERROR}LimitsExceeded: A request has at most 65536 octets."
    reply = await user.ask("StateItemValueGet", "s", ("x" * 70_000,))
    assert told(reply) == f"{ERROR}LimitsExceeded: A request has at most 65536 octets."
    signal = new_signal(DBusAddress(PATH, NAME, INTERFACE), "Noise", "s", (long,))
    signal.header.fields[HeaderFields.destination] = NAME
    await user.router.send(signal)
    assert await user.call("StateItemValueGet", "runner.active_port") == "eth1"
