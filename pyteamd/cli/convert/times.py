"""Times as configurations write them, in milliseconds as the bonding driver takes them. Pure."""

from __future__ import annotations

import re

from pyteamd.cli.convert.bonding import ConvertError

TIMES = frozenset({"miimon", "updelay", "downdelay", "arp_interval", "peer_notif_delay"})
"""Milliseconds in the driver; networkd and netplan take units."""

_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1000.0),
    **dict.fromkeys(("ms", "msec"), 1.0),
    **dict.fromkeys(("us", "usec"), 0.001),
    **dict.fromkeys(("min", "m", "minute", "minutes"), 60_000.0),
}
_DIGITS_MAX = 20
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)\s*")


def milliseconds(option: str, value: str, bare_ms: float) -> str:
    """A value as the driver takes it; times in milliseconds (`1min 2s` too), a bare number being worth `bare_ms`. ConvertError."""
    if option not in TIMES:
        return ",".join(value.split()) if option == "arp_ip_target" else value
    text, at, total = value.strip().lower(), 0, 0.0
    while match := _PART.match(text, at):
        if match[2] and match[2] not in _UNITS:
            break
        if len(match[1]) > _DIGITS_MAX:
            raise ConvertError(f"{option}: {value!r} is longer than any time the driver takes")
        total += float(match[1]) * (_UNITS[match[2]] if match[2] else bare_ms)
        at = match.end()
    if not text or at != len(text):
        raise ConvertError(f"{option}: {value!r} is no time; for instance 100ms")
    return str(round(total))
