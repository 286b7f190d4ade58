"""Reach a team daemon over D-Bus, the client's second way.

The daemon of team0 owns the name org.libteam.teamd.team0 on the system bus and offers every method of the unix socket
at one object, arguments and answers being strings. Opening a connection to the bus says nothing about the daemon, so
the client calls ConfigDump first.

The bus is at $DBUS_SYSTEM_BUS_ADDRESS, else at its usual place. Errors are named and worded as by libdbus, which is
what teamdctl shows. jeepney is imported here and nowhere else in the client.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket

from pyteamd.client.transport import CallFailed, ClientError, DaemonError, Transport, TransportMissing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "org.libteam.teamd"
PATH = "/org/libteam/teamd"
DEFAULT_ADDRESS = "unix:path=/run/dbus/system_bus_socket"

_ERROR = "org.freedesktop.DBus.Error"
_NAME_MAX = 255
_NO_REPLY = (
    "Did not receive a reply. Possible causes include: the remote application did not send a reply, the message bus "
    "security policy blocked the reply, the reply timeout expired, or the network connection was broken."
)
_DISCONNECTED = "Connection was disconnected before a reply was received"
_ERRNO_NAMES = {
    errno.ENOENT: "FileNotFound",
    errno.ECONNREFUSED: "NoServer",
    errno.EACCES: "AccessDenied",
    errno.EPERM: "AccessDenied",
}


class BusTransport(Transport):
    """The daemon of `team` on the system bus. Raises ClientError when the bus cannot be reached."""

    name = "dbus"
    probes = True

    def __init__(self, team: str, timeout_s: float) -> None:
        self._bus_name = f"{NAME}.{team}"
        _check_bus_name(self._bus_name)
        try:
            from jeepney import DBusAddress, HeaderFields, MessageType, new_method_call
        except ImportError:
            text = "dbus: the Python package jeepney is not installed."
            raise TransportMissing("jeepney is not installed", trail=[("cli_dbus_init", text)]) from None
        self._new_call = new_method_call
        self._address = DBusAddress(PATH, bus_name=self._bus_name, interface=NAME)
        self._error_type = MessageType.error
        self._error_name = HeaderFields.error_name
        self._connection = _connect_bus(timeout_s)

    def call(self, method: str, args: tuple[str, ...], need_payload: bool) -> str:
        call = self._new_call(self._address, method, "s" * len(args) or None, args)
        try:
            reply = self._connection.send_and_get_reply(call)
        except UnicodeEncodeError:
            # libdbus stops the whole program here: D-Bus strings are UTF-8.
            raise _failed("cli_dbus_method_call", "Failed to construct message.", errno.ENOMEM) from None
        except TimeoutError:
            raise _refusal(f"{_ERROR}.NoReply", (_NO_REPLY,)) from None
        except OSError:
            raise _refusal(f"{_ERROR}.Disconnected", (_DISCONNECTED,)) from None
        if reply.header.message_type == self._error_type:
            raise _refusal(reply.header.fields.get(self._error_name, ""), reply.body)
        payload = reply.body[0] if reply.body else None
        if isinstance(payload, str):
            return payload
        if need_payload and reply.body:
            raise _failed("cli_dbus_get_reply_str", "Received argument is not string as expected.")
        if need_payload:
            raise CallFailed("no data", trail=[("cli_dbus_get_reply_str", "Failed, no data received.")])
        return ""

    def close(self) -> None:
        self._connection.close()

    def interrupt(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.sock.shutdown(socket.SHUT_RDWR)


def _connect_bus(timeout_s: float) -> Any:
    """A jeepney connection to the bus. Raises CallFailed."""
    from jeepney.auth import AuthenticationError
    from jeepney.bus import get_bus
    from jeepney.io.blocking import DBusConnection, prep_socket

    class PatientConnection(DBusConnection):  # type: ignore[misc]
        """Waits for no reply longer than `timeout_s`, not even for the bus's first, which jeepney leaves open."""

        def send_and_get_reply(self, message: Any, *, timeout: float | None = None) -> Any:
            return super().send_and_get_reply(message, timeout=timeout_s)

    address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or DEFAULT_ADDRESS
    try:
        path = get_bus(address)
    except (ValueError, RuntimeError, KeyError):
        raise _no_bus("BadAddress", _bad_address(address)) from None
    try:
        bus_socket = prep_socket(path, timeout=timeout_s)
        try:
            return PatientConnection(bus_socket)
        except OSError:
            bus_socket.close()
            raise
    except (TimeoutError, ConnectionResetError, AuthenticationError):
        raise _no_bus("NoReply", _NO_REPLY) from None
    except OSError as error:
        name = _ERRNO_NAMES.get(error.errno or 0, "Failed")
        raise _no_bus(name, f"Failed to connect to socket {path.lstrip(chr(0))}: {error.strerror}") from None


def _check_bus_name(name: str) -> None:
    """Refuse what is no bus name: a team called 0team, or team0.10, cannot be reached over D-Bus."""
    elements = name.split(".")
    valid = len(name) <= _NAME_MAX and all(
        element.isascii() and element.replace("-", "_").isidentifier() for element in elements
    )
    if not valid:
        text = f"Bus name was not valid: '{name}'"
        raise _failed("cli_dbus_init", f"Could not validate bus name: {_ERROR}.InvalidArgs - {text}")


def _bad_address(address: str) -> str:
    if ":" not in address:
        return "Address does not contain a colon"
    return f"Only unix addresses with a path or an abstract name can be used, not {address}"


def _no_bus(name: str, text: str) -> ClientError:
    return _failed("cli_dbus_init", f"Could not acquire the system bus: {_ERROR}.{name} - {text}")


def _failed(function: str, text: str, code: int = errno.EINVAL) -> CallFailed:
    return CallFailed(text, code, [(function, f"dbus: {text}")])


def _refusal(name: str, body: tuple[object, ...]) -> ClientError:
    """The error of an error reply. The daemon's own names are the interface and the code, with nothing between."""
    function = "cli_dbus_check_error_msg"
    trail = [(function, f'dbus: Error message received: "{name}"')]
    if body and not isinstance(body[0], str):
        return CallFailed(
            name, errno.EINVAL, [*trail, (function, "dbus: Received argument is not string as expected.")]
        )
    message = str(body[0]) if body else ""
    if body:
        trail.append((function, f'dbus: Error message content: "{message}"'))
    code = name.removeprefix(NAME)
    return DaemonError(code or name, message or name, trail)
