"""A message bus for a test: dbus-daemon with a stock system bus's rules and the policy file that is shipped, nothing else."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from jeepney import DBusAddress, HeaderFields, Message, MessageType, new_method_call
from jeepney.io.trio import DBusRouter, open_dbus_router

POLICY = Path(__file__).resolve().parents[2] / "systemd/dbus/pyteamd.conf"
NAME = "org.libteam.teamd.team0"
OTHER = "org.example.Other"
"""Another program's service, which every user may call."""
PATH = "/org/libteam/teamd"
INTERFACE = "org.libteam.teamd"
RULES = """
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={directory}/bus</listen>
  <auth>EXTERNAL</auth>
  <limit name="max_connections_per_user">2000</limit>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow own="{other}"/>
    <allow send_destination="{other}"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Introspectable"/>
  </policy>
  <policy user="root">
    <allow send_destination="*" send_interface="org.freedesktop.DBus.Introspectable"/>
    <allow send_destination="*" send_interface="org.freedesktop.DBus.Peer"/>
    <allow send_destination="org.libteam.teamd.team0"/>
  </policy>
  <include>{policy}</include>
</busconfig>
"""


class PrivateBus:
    """A dbus-daemon that can be ended and started again at the same address."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "bus"
        self.address = f"unix:path={self.path}"
        self._rules = directory / "bus.conf"
        self._rules.write_text(RULES.format(directory=directory, policy=POLICY, other=OTHER))
        directory.chmod(0o755)
        self._daemon: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start and wait until it listens."""
        self.path.unlink(missing_ok=True)
        command = ["dbus-daemon", f"--config-file={self._rules}", "--nofork", "--nopidfile", "--print-address"]
        self._daemon = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._daemon.stdout is not None
        assert self._daemon.stdout.readline(), "dbus-daemon did not start"
        self.path.chmod(0o666)

    def stop(self) -> None:
        """End it; every connection breaks."""
        if self._daemon is not None:
            assert self._daemon.stdout is not None
            self._daemon.kill()
            self._daemon.wait()
            self._daemon.stdout.close()
            self._daemon = None


@contextmanager
def private_bus() -> Iterator[PrivateBus]:
    """A bus that runs, and is gone afterwards. Its socket is where other users can reach it, unlike pytest's directories."""
    with tempfile.TemporaryDirectory(prefix="pyteamd-bus-") as directory:
        bus = PrivateBus(Path(directory))
        bus.start()
        try:
            yield bus
        finally:
            bus.stop()


@dataclass(frozen=True, slots=True)
class Client:
    """A program on the bus that talks to the daemon of team0."""

    router: DBusRouter

    async def call(self, member: str, *arguments: str, **where: Any) -> str:
        """Call a method with strings: the payload, or "error name: text"."""
        return told(await self.ask(member, "s" * len(arguments), arguments, **where))

    async def ask(
        self,
        member: str,
        signature: str = "",
        body: tuple[Any, ...] = (),
        *,
        path: str = PATH,
        interface: str | None = INTERFACE,
    ) -> Message:
        """Call anything; returns the reply."""
        message = new_method_call(DBusAddress(path, NAME, interface), member, signature or None, body)
        with trio.fail_after(10):
            reply: Message = await self.router.send_and_get_reply(message)
        return reply

    async def owner(self) -> str:
        """Unique name of the process that has the daemon's name, "" for nobody."""
        bus = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
        with trio.fail_after(10):
            reply = await self.router.send_and_get_reply(new_method_call(bus, "GetNameOwner", "s", (NAME,)))
        return "" if reply.header.message_type is MessageType.error else str(reply.body[0])


def told(reply: Message) -> str:
    """A reply in one line."""
    text = str(reply.body[0]) if reply.body else ""
    if reply.header.message_type is MessageType.error:
        return f"{reply.header.fields[HeaderFields.error_name]}: {text}"
    return text


def client(bus: PrivateBus) -> Any:
    """`async with client(bus) as router`."""
    return open_dbus_router(bus.address)


async def until(condition: Callable[[], Awaitable[object]], timeout_s: float = 30, seen: object = "") -> None:
    """Ask again and again until the answer is yes: another process cannot set an event of ours. `seen` is told when it stays no."""
    with trio.move_on_after(timeout_s):
        while not await condition():  # noqa: ASYNC110
            await trio.sleep(0.002)
        return
    raise AssertionError(f"still not so after {timeout_s:g} s: {seen}")
