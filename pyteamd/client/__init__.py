"""A library to talk to a running team daemon, pyteamd or libteam's teamd, over its socket or D-Bus.

    from pyteamd.client import Client

    with Client.connect("team0") as team:
        print(team.state()["runner"]["active_port"])

docs/client.md has the table of methods and examples. Names are imported when they are used: a client starts for every command typed.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyteamd.client.answers import Change as Change
    from pyteamd.client.answers import Compared as Compared
    from pyteamd.client.answers import Difference as Difference
    from pyteamd.client.answers import Event as Event
    from pyteamd.client.answers import Reason as Reason
    from pyteamd.client.answers import Report as Report
    from pyteamd.client.client import Client as Client
    from pyteamd.client.client import ConfigRefused as ConfigRefused
    from pyteamd.client.connection import NoDaemon as NoDaemon
    from pyteamd.client.connection import teams as teams
    from pyteamd.client.events import Events as Events
    from pyteamd.client.transport import CallFailed as CallFailed
    from pyteamd.client.transport import ClientError as ClientError
    from pyteamd.client.transport import DaemonError as DaemonError
    from pyteamd.client.transport import TransportMissing as TransportMissing

_HOME = {
    "CallFailed": "transport",
    "Change": "answers",
    "Client": "client",
    "ClientError": "transport",
    "Compared": "answers",
    "ConfigRefused": "client",
    "DaemonError": "transport",
    "Difference": "answers",
    "Event": "answers",
    "Events": "events",
    "NoDaemon": "connection",
    "Reason": "answers",
    "Report": "answers",
    "TransportMissing": "transport",
    "teams": "connection",
}
"""Name → module that has it."""

__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
