"""What every way to a daemon has in common: the interface of a transport, and the errors that come through it.

Every error keeps what libteamdctl would have logged about it and the errno it would have returned, because teamdctl prints both.
"""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class ClientError(Exception):
    """A call or a connection that failed.

    `errno` is what libteamdctl returns for it; `trail` is what it logs, as (function, text) per line.
    """

    hint = ""
    """What a person is told besides."""

    def __init__(self, text: str, errno_: int = errno.EINVAL, trail: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(text)
        self.errno = errno_
        self.trail = tuple(trail)


class DaemonError(ClientError):
    """The daemon refused the call, with a code such as NoSuchDev and a message."""

    def __init__(self, code: str, message: str, trail: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(f"{message} ({code})", errno.EINVAL, trail)
        self.code = code
        self.message = message


class CallFailed(ClientError):
    """No usable answer came: time-out (ETIMEDOUT), the daemon closed the connection (EPIPE), a malformed reply."""


class TransportMissing(ClientError):
    """This installation lacks what the transport needs."""


class Transport:
    """One way to reach a daemon."""

    name = ""
    probes = False
    """True when opening says nothing about the daemon, so that a first call has to."""

    def call(self, method: str, args: tuple[str, ...], need_payload: bool) -> str:
        """Call and wait; the payload is "" where none came. `need_payload`: raise CallFailed instead."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def interrupt(self) -> None:
        """End a call that another thread waits in."""
        raise NotImplementedError
