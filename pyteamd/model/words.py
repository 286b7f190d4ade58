"""What a refused write means, in words: what was tried, on which port, and what a person can check."""

from __future__ import annotations

import errno
from collections.abc import Callable

from pyteamd.model.desired import OptionValue, SetCarrier, SetMac, SetMember, SetOption, Write
from pyteamd.model.errors import reason_for
from pyteamd.model.events import LinkSeen, Refused
from pyteamd.model.printable import after_set

VANISHED = frozenset((errno.ENODEV, errno.ENOENT, errno.ENXIO))
"""The port (or the option instance of the port) went away in the meantime; the event that says so is on its way."""

BELONGS = " belongs to "
"""In the refusal of a link that another device has: the kernel was not asked, and nothing was done to the link."""


def describe(refused: Refused, name_of: Callable[[int], str], link_of: Callable[[int], LinkSeen | None]) -> str:
    """One line for the log: what was refused and why, and a hint where what is known of the link (`link_of`) gives one."""
    others = BELONGS in refused.explanation  # to set it down would cut its owner off
    hint = "" if others else hint_for(refused.write, refused.errno, link_of, bool(refused.explanation))
    return refusal(refused, name_of) + (f" ({hint})" if hint else "")


def refusal(refused: Refused, name_of: Callable[[int], str]) -> str:
    """The write in words, the reason, and the kernel's own words where it gave any."""
    reason = ": ".join(filter(None, (reason_for(refused.errno), refused.explanation)))
    return f"{in_words(refused.write, name_of)}: {reason}"


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


def hint_for(write: Write, code: int, link_of: Callable[[int], LinkSeen | None], explained: bool = False) -> str:
    """What to do or to check, "" when nothing follows from what is known. `explained`: the kernel gave a reason of its own."""
    match write, code:
        case SetMember(ifindex=ifindex, member=True), errno.EBUSY:
            link = link_of(ifindex)
            free_and_up = link is not None and link.up and not link.master
            return f"ip link set {after_set(link.name)} down" if link is not None and free_and_up else ""
        case SetMac(), (errno.EBUSY | errno.EOPNOTSUPP | errno.EADDRNOTAVAIL | errno.EADDRINUSE):
            return 'the driver refuses another address; runner.hwaddr_policy "by_active" needs none'
        case SetOption(key=key), errno.EBUSY if key.name == "mode":
            return "the device has ports and runs in another mode; remove them or start with -r"
        case SetOption(key=key, value=str(mode)), errno.EINVAL if key.name == "mode":
            return f"the kernel has no such mode; is its module installed? try: modprobe team_mode_{mode}"
        case SetOption(key=key), errno.EINVAL if key.name == "queue_id":
            return "must be below the number of transmit queues of the team device"
        case _, errno.EPERM if not explained:
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
