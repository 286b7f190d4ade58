"""Talk to a running team daemon, pyteamd or teamd: connect, call a method, get its text.

    with Client.connect("team0") as daemon:
        state = json_text.loads(daemon.fetch("StateDump"))
        daemon.call("PortAdd", "eth1")

How it works: a request is one packet on a SOCK_SEQPACKET unix socket, `REQUEST`, the method and each argument on a
line of its own, backslash and newline escaped; the answer is one packet too, `REPLY_SUCCESS` and a payload taken as it
is, or `REPLY_ERROR`, a code and a message. The same methods exist on D-Bus (dbus.py), tried when there is no socket.

Text is str throughout; bytes that are no UTF-8 travel as surrogate escapes. Only what is needed is imported: a client
starts for every command typed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import time

from pyteamd.client.transport import CallFailed, ClientError, DaemonError, Transport
from pyteamd.model.limits import SOCKET_PATH_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

RUN_DIR = "/var/run/teamd"
REPLY_TIMEOUT_S = 5.0
CROWD_S = 0.02
"""How often connecting is tried again while the socket's queue is full."""
SUFFIX = ".sock"
TRANSPORTS = ("usock", "dbus")
"""In the order they are tried."""

_MALFORMED = ("cli_usock_process_msg", "usock: Incomplete message.\n")


class NoDaemon(ClientError):
    """No transport reaches a daemon for this team; `failures` has each transport's own error, in the order tried."""

    def __init__(self, team: str, failures: dict[str, ClientError], forced: str | None) -> None:
        reasons = "; ".join(f"{name}: {failure}" for name, failure in failures.items())
        if forced:
            final = f'Failed to connect using CLI "{forced}".'
            code = failures[forced].errno
        else:
            final = "Failed to connect using all CLIs."
            code = errno.EINVAL
        super().__init__(f"no daemon answers for {team} ({reasons})", code, [("teamdctl_connect", final)])
        self.failures = failures


class UnixSocket(Transport):
    """The unix socket of one team in `run_dir`. Raises CallFailed when there is none, or none may be opened."""

    name = "usock"

    def __init__(self, team: str, run_dir: str, timeout_s: float) -> None:
        path = to_bytes(f"{run_dir.rstrip('/')}/{team}{SUFFIX}")[:SOCKET_PATH_MAX]
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(timeout_s)
        try:
            self._connect(path, time.monotonic() + timeout_s)
        except OSError as error:
            self._socket.close()
            name = path.decode("utf-8", "surrogateescape")
            trail = ("cli_usock_init", f"usock: Failed to connect socket ({name}).")
            raise CallFailed(f"{name}: {error.strerror}", error.errno or errno.EINVAL, [trail]) from None

    def _connect(self, path: bytes, until: float) -> None:
        """Connect; while the socket's queue is full (the daemon is stopped, or many come at once), try again. OSError."""
        while True:
            try:
                self._socket.connect(path)
                return
            except BlockingIOError:
                if time.monotonic() > until:
                    raise OSError(errno.ETIMEDOUT, "too many wait for it already") from None
            time.sleep(CROWD_S)

    def call(self, method: str, args: tuple[str, ...], need_payload: bool) -> str:
        try:
            self._socket.send(encode_request(method, args), socket.MSG_NOSIGNAL)
            # A reply is one packet of any size: ask for its length first.
            length = self._socket.recv_into(bytearray(1), 1, socket.MSG_PEEK | socket.MSG_TRUNC)
            packet = self._socket.recv(length) if length else b""
        except TimeoutError:
            raise CallFailed(f"{method}: no reply", errno.ETIMEDOUT) from None
        except OSError as error:
            raise CallFailed(f"{method}: {error.strerror}", error.errno or errno.EINVAL) from None
        if not packet:
            raise CallFailed(f"{method}: the daemon closed the connection", errno.EPIPE)
        return decode_reply(packet, need_payload)

    def close(self) -> None:
        self._socket.close()

    def interrupt(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class Connection:
    """A connection to the daemon of one team. `team` is its name, `transport` the way taken: "usock" or "dbus".

    `config_text`, `config_actual_text` and `state_text` hold what the last `refresh` fetched, "" before the first.
    """

    def __init__(self, team: str, transport: Transport, run_dir: str, timeout_s: float) -> None:
        self.team = team
        self.run_dir = run_dir
        self.timeout_s = timeout_s
        self.transport = transport.name
        self.config_text = ""
        self.config_actual_text = ""
        self.state_text = ""
        self._transport = transport

    @classmethod
    def connect(
        cls, team: str, transport: str | None = None, *, run_dir: str | None = None, timeout_s: float | None = None
    ) -> Self:
        """Connect by `transport` ("usock" or "dbus"), or by the first that works. Raises NoDaemon.

        `run_dir` is where the sockets are (default: $PYTEAMD_RUN_DIR, else RUN_DIR); `timeout_s` (default
        REPLY_TIMEOUT_S) limits the wait for each reply.
        """
        failures: dict[str, ClientError] = {}
        place, limit_s = run_dir or default_run_dir(), timeout_s or REPLY_TIMEOUT_S
        for name in (transport,) if transport else TRANSPORTS:
            try:
                opened = _open(name, team, place, limit_s)
            except ClientError as error:
                failures[name] = error
            else:
                return cls(team, opened, place, limit_s)
        raise NoDaemon(team, failures, transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, method: str, *args: str) -> str:
        """Call a method; its payload, "" if there is none. Raises DaemonError, CallFailed."""
        return self._transport.call(method, args, need_payload=False)

    def fetch(self, method: str, *args: str) -> str:
        """Call a method whose payload matters: an answer without one raises CallFailed."""
        return self._transport.call(method, args, need_payload=True)

    def refresh(self) -> None:
        """Fetch configuration and state again. Raises as `fetch`."""
        self.config_text = self.fetch("ConfigDump")
        self.config_actual_text = self.fetch("ConfigDumpActual")
        self.state_text = self.fetch("StateDump")

    def close(self) -> None:
        """Close the connection; harmless when closed already."""
        self._transport.close()

    def interrupt(self) -> None:
        """End a call that another thread waits in, with CallFailed; the connection is of no use afterwards."""
        self._transport.interrupt()


def teams(run_dir: str | None = None) -> list[str]:
    """The teams whose daemon, pyteamd or teamd, has a control socket here, in order. `run_dir` as in Client.connect."""
    directory = run_dir or default_run_dir()
    try:
        names = [name for name in os.listdir(directory) if name.endswith(SUFFIX)]
    except OSError:
        return []
    return sorted(name.removesuffix(SUFFIX) for name in names if _is_socket(os.path.join(directory, name)))


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def has_socket(team: str) -> bool:
    """Whether there is a control socket of this name."""
    return os.path.exists(to_bytes(f"{default_run_dir()}/{team}{SUFFIX}"))


def default_run_dir() -> str:
    """$PYTEAMD_RUN_DIR, for daemons that run without root (simulated kernel, tests), else RUN_DIR."""
    return os.environ.get("PYTEAMD_RUN_DIR") or RUN_DIR


def to_bytes(text: str) -> bytes:
    """UTF-8, surrogate escapes as the bytes they stand for."""
    return text.encode("utf-8", "surrogateescape")


def encode_request(method: str, args: Iterable[str]) -> bytes:
    """The packet of a request; see the module's description."""
    escaped = [arg.replace("\\", "\\\\").replace("\n", "\\n") for arg in args]
    return to_bytes("".join(f"{line}\n" for line in ("REQUEST", method, *escaped)))


def decode_reply(packet: bytes, need_payload: bool = True) -> str:
    """The payload of a success packet. Raises DaemonError for an error packet, CallFailed for anything else."""
    # The C programs keep the packet in a C string: nothing after a NUL exists for them.
    text = packet.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
    first, rest = _next_line(text)
    match first:
        case "REPLY_SUCCESS":
            if rest is None and need_payload:
                raise _malformed("a success reply without a payload")
            return rest or ""
        case "REPLY_ERROR":
            raise _refusal(rest)
        case "":
            raise _malformed("an empty reply")
    trail = ("cli_usock_process_msg", "usock: Unsupported message type.\n")
    raise CallFailed(f"a reply that begins with {first!r}", errno.EINVAL, [trail])


def _open(name: str, team: str, run_dir: str, timeout_s: float) -> Transport:
    match name:
        case "usock":
            opened: Transport = UnixSocket(team, run_dir, timeout_s)
        case "dbus":
            from pyteamd.client.dbus import BusTransport

            opened = BusTransport(team, timeout_s)
        case _:
            raise ValueError(f"transport {name!r}: allowed are {', '.join(TRANSPORTS)}")
    if opened.probes:
        try:
            opened.call("ConfigDump", (), need_payload=False)
        except ClientError:
            opened.close()
            raise
    return opened


def _next_line(text: str | None) -> tuple[str, str | None]:
    """The next line that is not empty, and what follows its newline: None without a newline."""
    line, newline, rest = (text or "").lstrip("\n").partition("\n")
    return line, rest if newline else None


def _refusal(rest: str | None) -> ClientError:
    code, rest = _next_line(rest)
    if not code:
        return _malformed("an error reply without a code")
    trail = [("cli_usock_process_msg", f'usock: Error message received: "{code}"')]
    message, _ = _next_line(rest)
    if not message:
        return CallFailed(f"{code}, without a message", errno.EINVAL, [*trail, _MALFORMED])
    trail.append(("cli_usock_process_msg", f'usock: Error message content: "{message}"'))
    return DaemonError(code, message, trail)


def _malformed(what: str) -> CallFailed:
    return CallFailed(what, errno.EINVAL, [_MALFORMED])
