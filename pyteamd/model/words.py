"""What a refused write means, in words: what was tried, on which port, and what a person can check."""

from __future__ import annotations

import errno
from collections.abc import Callable

from pyteamd.model.desired import OptionValue, SetCarrier, SetMac, SetMember, SetOption, Write
from pyteamd.model.errors import reason_for

VANISHED = frozenset((errno.ENODEV, errno.ENOENT, errno.ENXIO))
"""The port (or the option instance of the port) went away in the meantime; the event that says so is on its way."""


def describe(write: Write, code: int, name_of: Callable[[int], str]) -> str:
    """One line for the log: the write in words, the reason, and a hint where one is known."""
    hint = hint_for(write, code, name_of)
    return f"{in_words(write, name_of)}: {reason_for(code)}" + (f" ({hint})" if hint else "")


def in_words(write: Write, name_of: Callable[[int], str]) -> str:
    """A write with interface names instead of numbers."""
    match write:
        case SetOption(key=key, value=value):
            place = f"[{key.index}]" if key.name == "lb_tx_hash_to_port_mapping" else ""
            shown = name_of(value) if key.name == "activeport" and isinstance(value, int) else shorten(value)
            owner = f" of {name_of(key.port)}" if key.port else ""
            return f"set {key.name}{place}{owner} to {shown}"
        case SetMac(ifindex=ifindex, mac=mac):
            return f"set address of {name_of(ifindex)} to {mac.hex(':')}"
        case SetMember(ifindex=ifindex, member=True):
            return f"add port {name_of(ifindex)}"
        case SetMember(ifindex=ifindex):
            return f"release port {name_of(ifindex)}"
        case SetCarrier(up=up):
            return f"set carrier {'up' if up else 'down'}"


def hint_for(write: Write, code: int, name_of: Callable[[int], str]) -> str:
    """What to check, "" when nothing special comes to mind."""
    match write, code:
        case SetMember(ifindex=ifindex, member=True), errno.EBUSY:
            return f"a port must be down when it is added: ip link set {name_of(ifindex)} down"
        case SetMac(), (errno.EBUSY | errno.EOPNOTSUPP | errno.EADDRNOTAVAIL):
            return 'the driver refuses another address; runner.hwaddr_policy "by_active" needs none'
        case SetOption(key=key), errno.EBUSY if key.name == "mode":
            return "the device has ports and runs in another mode; remove them or start with -r"
        case SetOption(key=key), errno.EINVAL if key.name == "queue_id":
            return "must be below the number of transmit queues of the team device"
        case _, errno.EPERM:
            return "CAP_NET_ADMIN in the initial user namespace is needed"
    return ""


def shorten(value: OptionValue) -> str:
    """An option's value for a log line."""
    match value:
        case bool():
            return "true" if value else "false"
        case bytes():
            return f"{len(value)} octets"
    return str(value)
