"""A private message bus and a daemon on it that answers as a table says: what the client meets over D-Bus."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ctl_mock import HANG_UP
from jeepney import HeaderFields, Message, MessageType, new_error, new_method_return
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import open_dbus_connection

BUS_DIES = "the bus dies"
NAME = "org.libteam.teamd"
CONFIG = """
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={directory}/bus</listen>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
</busconfig>
"""

BusAnswer = tuple[str, str, tuple[Any, ...]]
BusReply = BusAnswer | str
"""Error name ("" = success), signature and body; or BUS_DIES, and what ctl_mock has."""


def success(payload: str | None) -> BusReply:
    return ("", "", ()) if payload is None else ("", "s", (payload,))


def refusal(code: str, message: str) -> BusReply:
    return (NAME + code, "s", (message,))


class PrivateBus:
    """A dbus-daemon of our own while the with block runs; its socket is in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.address = f"unix:path={directory}/bus"
        self._config = directory / "bus.conf"
        self._config.write_text(CONFIG.format(directory=directory))
        self._daemon: subprocess.Popen[str] | None = None

    def __enter__(self) -> PrivateBus:
        command = ["dbus-daemon", f"--config-file={self._config}", "--nofork", "--print-address"]
        self._daemon = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._daemon.stdout is not None
        assert self._daemon.stdout.readline(), "dbus-daemon did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the bus; every connection to it breaks."""
        assert self._daemon is not None
        assert self._daemon.stdout is not None
        self._daemon.kill()
        self._daemon.wait()
        self._daemon.stdout.close()


class BusDaemon:
    """Owns the bus name of `team` while the with block runs and answers calls from `replies`; `calls` has them."""

    def __init__(self, bus: PrivateBus, team: str, replies: Mapping[str, BusReply]) -> None:
        self.calls: list[tuple[str, tuple[str, ...]]] = []
        self._bus = bus
        self._replies = replies
        self._connection = open_dbus_connection(bus.address)
        self._connection.send_and_get_reply(message_bus.RequestName(f"{NAME}.{team}"))
        self._thread = threading.Thread(target=self._serve, name=f"mock daemon of {team} on D-Bus")

    def __enter__(self) -> BusDaemon:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hang_up()
        self._thread.join()
        self._connection.close()

    def _hang_up(self) -> None:
        """End the conversation with the bus; the thread's next receive fails."""
        with contextlib.suppress(OSError):
            self._connection.sock.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                message = self._connection.receive()
            except ConnectionResetError:
                return
            if message.header.message_type != MessageType.method_call:
                continue
            method = message.header.fields[HeaderFields.member]
            self.calls.append((method, message.body))
            reply = self._replies.get(method, refusal("NoMethod", "The mock has no such method."))
            if reply == HANG_UP:
                self._hang_up()
            elif reply == BUS_DIES:
                self._bus.stop()
            elif isinstance(reply, tuple):
                self._connection.send(self._message(message, reply))

    def _message(self, call: Message, reply: BusAnswer) -> Message:
        name, signature, body = reply
        if name:
            return new_error(call, name, signature or None, body)
        return new_method_return(call, signature or None, body)
