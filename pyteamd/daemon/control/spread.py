"""Control methods about the spread of frames over the ports. Octets come from the kernel's link counters, everything else from the Team."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from pyteamd.daemon.pump import Pump
from pyteamd.model.printable import spellings
from pyteamd.schema import json_text

COUNTER = "/sys/class/net/{}/statistics/tx_bytes"


async def flow_hash(pump: Pump, flow: str) -> str:
    """Bucket and port of a flow."""
    from pyteamd.views import prediction as balance  # most daemons are never asked

    return json_text.dumps(balance.predict(pump.team, flow))


async def spread(pump: Pump) -> str:
    """What each port sent, and how even that is."""
    from pyteamd.views import prediction as balance

    octets = {ifindex: sent_by(port.name) for ifindex, port in pump.team.ports.items()}
    return json_text.dumps(balance.spread(pump.team, octets))


def sent_by(name: str) -> int | None:
    """Octets the link sent since it exists; None when /sys does not show this link (it shows one namespace)."""
    for octets in spellings(name):
        with contextlib.suppress(OSError, ValueError):
            return int(Path(COUNTER.format(os.fsdecode(octets))).read_text())
    return None
