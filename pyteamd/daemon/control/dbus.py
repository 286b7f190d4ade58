"""D-Bus, a second way to the control methods: the name org.libteam.teamd.<device> on the system bus, one object, one interface.

    org.libteam.teamd.team0   /org/libteam/teamd   org.libteam.teamd   ConfigDump() → s, PortAdd(s), …

The name is what NetworkManager and systemd wait for, so it is the last thing that a start acquires; not getting it is a failed start.
Later the daemon outlives its bus: when the connection breaks it says so once and tries again, at growing intervals, until the name is
its own again. Ports do not notice.

The conversation itself is in bus_line.py. Each call is a task of its own, at most MAXIMUM_CALLS for a client at a time. Errors are named as
teamd names them, the interface and the code with nothing between. What is not there is answered with libdbus's errors, where teamd
sends an empty success (see docs/differences.md).
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio
from jeepney import HeaderFields, MessageFlag, MessageType, new_error, new_method_return
from jeepney.bus_messages import message_bus

from pyteamd.client.dbus import DEFAULT_ADDRESS, NAME, PATH
from pyteamd.daemon.control import methods
from pyteamd.daemon.control.bus_line import BusError, BusLine, Call
from pyteamd.daemon.control.desk import TOO_LONG, Desk, guarded
from pyteamd.model.errors import INVALID_ARGUMENTS, UserError

MAXIMUM_CALLS = 32
"""In progress for one client; one more is refused at once, so that nobody can use up what others need."""
NO_QUEUE = 4
PRIMARY_OWNER = 1
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0

ERROR = "org.freedesktop.DBus.Error."
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
PEER = "org.freedesktop.DBus.Peer"
MACHINE_ID = ("/etc/machine-id", "/var/lib/dbus/machine-id")
DOCTYPE = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
    ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
)


class BusRefusal(UserError):
    """A call that gets an error with a name that is not teamd's: its full name and text."""


class Bus:
    """One team on the system bus: `connect`, `own_name`, `serve`, `close`, in this order."""

    def __init__(self, device: str, log: logging.Logger) -> None:
        self.name = f"{NAME}.{device}"
        self._address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or DEFAULT_ADDRESS
        self._log = log
        self._line: BusLine | None = None
        self._calls: Counter[str] = Counter()
        """In progress, by the client's unique name."""

    async def connect(self) -> None:
        """Connect to the bus. BusError."""
        self._line = await BusLine.open(self._address)

    async def own_name(self) -> None:
        """Acquire the name of our device. BusError."""
        assert self._line is not None
        reply = await self._line.ask(message_bus.RequestName(self.name, NO_QUEUE))
        if reply.body[0] != PRIMARY_OWNER:
            raise BusError(f"{self.name} has an owner already")

    async def serve(self, desk: Desk) -> None:
        """Answer calls until cancelled; when the bus goes, wait for the next one."""
        while True:
            assert self._line is not None
            try:
                await self._answer_calls(self._line, desk)
            except BusError as error:
                self._log.warning("D-Bus: %s; trying to come back.", error)
            self.close()
            await self._come_back()

    def close(self) -> None:
        """Disconnect, which gives up the name."""
        if self._line is not None:
            self._line.close()

    async def _come_back(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            try:
                await self.connect()
                await self.own_name()
            except BusError as error:
                self._log.debug("D-Bus: %s", error)
                self.close()
            else:
                self._log.info("D-Bus: %s is ours again.", self.name)
                return

    async def _answer_calls(self, line: BusLine, desk: Desk) -> None:
        """Answer calls until the connection breaks: BusError."""
        broken: list[BusError] = []

        async def one(call: Call, client: str) -> None:
            try:
                await reply_to(line, call, desk, self._log)
            except BusError as error:
                broken.append(error)
                nursery.cancel_scope.cancel()
            finally:
                self._calls[client] -= 1
                if not self._calls[client]:
                    del self._calls[client]

        async with trio.open_nursery() as nursery:
            try:
                while True:
                    call = await line.receive()
                    client = call.field(HeaderFields.sender)
                    match call.kind:
                        case MessageType.method_call if call.too_long:
                            await answer(line, call, BusRefusal(f"{ERROR}LimitsExceeded", TOO_LONG[1]))
                        case MessageType.method_call if self._calls[client] < MAXIMUM_CALLS:
                            self._calls[client] += 1
                            nursery.start_soon(one, call, client)
                        case MessageType.method_call:
                            await answer(line, call, BusRefusal(f"{ERROR}LimitsExceeded", "Too many calls at once."))
                        case MessageType.signal if lost_name(call) == self.name:
                            raise BusError(f"{self.name} was taken away")
            except BusError as error:
                broken.append(error)
            nursery.cancel_scope.cancel()
        raise broken[0]


def lost_name(call: Call) -> str:
    """The name that the bus says we own no longer, "" for any other signal."""
    from_bus = call.field(HeaderFields.sender) == "org.freedesktop.DBus"
    if not from_bus or call.field(HeaderFields.member) != "NameLost":
        return ""
    return (call.strings(1) or [""])[0]


async def reply_to(line: BusLine, call: Call, desk: Desk, log: logging.Logger) -> None:
    """Do what was asked for and answer. BusError."""
    log.debug("D-Bus: %s.%s", call.field(HeaderFields.interface), call.field(HeaderFields.member))
    try:
        with guarded(call.field(HeaderFields.member), log):
            result: str | BusRefusal | None = await perform(call, desk)
    except BusRefusal as refusal:
        result = refusal
    except UserError as error:
        result = BusRefusal(NAME + error.code, error.text)
    await answer(line, call, result)


async def answer(line: BusLine, call: Call, result: str | BusRefusal | None) -> None:
    """Send the reply, unless none is wanted: a string, nothing, or an error. BusError."""
    if call.header.flags & MessageFlag.no_reply_expected:
        return
    match result:
        case BusRefusal():
            reply = new_error(call, result.code, "s", (clean(result.text),))
        case None:
            reply = new_method_return(call)
        case _:
            reply = new_method_return(call, "s", (clean(result),))
    await line.send(reply)


def clean(text: str) -> str:
    """As a string of D-Bus: no NUL, nothing that UTF-8 cannot say."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


async def perform(call: Call, desk: Desk) -> str | None:
    """The reply's string, None for an empty reply. BusRefusal."""
    member, path = call.field(HeaderFields.member), call.field(HeaderFields.path)
    match call.field(HeaderFields.interface):
        case "org.freedesktop.DBus.Peer":
            if member == "Ping":
                return None
            if member == "GetMachineId":
                return machine_id()
        case "org.freedesktop.DBus.Introspectable" if member == "Introspect" and is_node(path):
            return introspection(path)
        case "org.libteam.teamd" if path == PATH and (method := methods.BY_NAME.get(member)) is not None:
            return await run(method, call, desk)
    if not is_node(path):
        raise BusRefusal(f"{ERROR}UnknownObject", f"No such object path '{path}'")
    raise unknown_method(call)


async def run(method: methods.Method, call: Call, desk: Desk) -> str | None:
    """Run a control method with the arguments of the call. UserError."""
    arguments = call.strings(len(method.arguments))
    if arguments is None:
        raise UserError(*INVALID_ARGUMENTS)
    text = await desk.call(method, arguments)
    return text if method.reply else None


def unknown_method(call: Call) -> BusRefusal:
    """What libdbus says about a method that nobody has."""
    found: Callable[[Any], str] = call.field
    text = (
        f'Method "{found(HeaderFields.member)}" with signature "{found(HeaderFields.signature)}" '
        f'on interface "{found(HeaderFields.interface) or "(null)"}" doesn\'t exist\n'
    )
    return BusRefusal(f"{ERROR}UnknownMethod", text)


def machine_id() -> str:
    """The identity of this host. BusRefusal."""
    for name in MACHINE_ID:
        try:
            return Path(name).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
    raise BusRefusal(f"{ERROR}FileNotFound", f"No machine id in {' or '.join(MACHINE_ID)}")


# -- introspection -----------------------------------------------------------------------------------------------------


def is_node(path: str) -> bool:
    """Whether this is our object or one of the nodes that lead to it."""
    return path in (PATH, "/") or PATH.startswith(f"{path}/")


def introspection(path: str) -> str:
    """What there is at this path, as XML."""
    if path != PATH:
        child = PATH.removeprefix(path).strip("/").split("/")[0]
        return f'{DOCTYPE}<node>\n  <node name="{child}"/>\n</node>\n'
    lines = [f"{DOCTYPE}<node>"]
    lines += _interface(INTROSPECTABLE, [_method("Introspect", (), "data")])
    lines += _interface(PEER, [_method("Ping", (), ""), _method("GetMachineId", (), "machine_uuid")])
    rows = [_method(method.name, method.arguments, method.reply) for method in methods.METHODS]
    lines += _interface(NAME, rows)
    return "\n".join([*lines, "</node>\n"])


def _interface(name: str, rows: list[list[str]]) -> list[str]:
    return [f'  <interface name="{name}">', *(line for row in rows for line in row), "  </interface>"]


def _method(name: str, arguments: tuple[str, ...], reply: str) -> list[str]:
    lines = [f'      <arg name="{argument}" type="s" direction="in"/>' for argument in arguments]
    if reply:
        lines.append(f'      <arg name="{reply}" type="s" direction="out"/>')
    if not lines:
        return [f'    <method name="{name}"/>']
    return [f'    <method name="{name}">', *lines, "    </method>"]
