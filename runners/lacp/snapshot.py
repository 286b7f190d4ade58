"""What one lacp daemon leaves to the next after a crash, so that the partner never notices.

How it works: `save` makes a small JSON-ready picture of the ports: identity, what the partner said last, the states of the
machines. `load` reads it back. It holds no moments, which would mean nothing to another process; the caller says how long ago the
predecessor was last known to live. The partner goes on believing in us for the timeout it chose itself (3 or 90 seconds); a
picture older than that is of use only for what does not age: the port's number and the source address of its frames. A younger one
is believed, and the partner is given our full timeout to be heard, because the moments at which the predecessor heard it are not saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pyteamd.runners.lacp.machines import (
    LONG_TIMEOUT_S,
    SHORT_TIMEOUT_S,
    Attached,
    Current,
    Defaulted,
    Disabled,
    Expired,
    Mux,
)
from pyteamd.runners.lacp.port import FAILED, LacpPort
from pyteamd.runners.lacp.selection import LagId
from pyteamd.runners.lacp.system import LocalSystem
from pyteamd.wire import lacpdu
from pyteamd.wire.ethernet import MAC_LENGTH, format_mac
from pyteamd.wire.lacpdu import LacpInfo

VERSION = 1
LONGEST_RESTORE_S = 32767
"""The longest wait_to_restore that can be configured."""
STATES = {kind.name: kind for kind in (Disabled, Current, Expired, Defaulted)}


@dataclass(frozen=True, slots=True)
class SavedPort:
    """One port of the predecessor."""

    ifindex: int
    number: int
    source: bytes
    state: str
    partner: LacpInfo
    told: LacpInfo | None
    heard_from: bytes
    mux: Mux
    selected: bool
    """It was in the aggregate in use."""
    speed_mbps: int
    failed: bool
    restore_s: float | None
    """What was left of wait_to_restore."""

    def believed_for_s(self) -> float:
        """How long the partner goes on without hearing from us."""
        return SHORT_TIMEOUT_S if self.partner.state & lacpdu.TIMEOUT else LONG_TIMEOUT_S


def save(ports: Iterable[LacpPort], chosen: LagId | None, now: float, in_fallback: bool = False) -> dict[str, Any]:
    """The picture, JSON-ready. `in_fallback`: ports carry traffic without a partner."""
    saved = {port.name: _save_port(port, chosen, now) for port in ports}
    return {"version": VERSION, "in_fallback": in_fallback, "ports": saved}


def in_fallback_before(snapshot: Mapping[str, Any]) -> bool:
    """Whether ports carried traffic without a partner; False where that is not told."""
    return isinstance(snapshot, Mapping) and snapshot.get("in_fallback") is True


def load(snapshot: Mapping[str, Any]) -> dict[str, SavedPort]:
    """Ports by name; {} for what is no picture of ours or is damaged."""
    try:
        if snapshot["version"] != VERSION:
            return {}
        return {str(name): _load_port(saved) for name, saved in snapshot["ports"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return {}


def restore(port: LacpPort, saved: SavedPort, local: LocalSystem, now: float) -> None:
    """Bring a new port into the saved state; timers start again, so that the partner has time to be heard."""
    port.partner, port.told, port.heard_from = saved.partner, saved.told, saved.heard_from
    port.transmitter.said = saved.told  # what it counts on: passive now, we say a last word if that is no longer true
    port.independent = saved.mux in (Mux.COLLECTING, Mux.DISTRIBUTING)
    port.speed_mbps = saved.speed_mbps
    if saved.failed:
        port.well_since = FAILED
    elif saved.restore_s is not None:
        port.well_since = now - max(0.0, port.view.config.wait_to_restore - saved.restore_s)
    match saved.state:
        case Current.name:
            port.receive = Current(now + local.timeout_s)
        case Expired.name:
            port.receive = Expired(now + SHORT_TIMEOUT_S)
        case Defaulted.name:
            port.receive = Defaulted()
    if not isinstance(port.receive, Disabled):
        port.churn.watch(now)
    lag = port.lag_id(local)
    if saved.mux.in_sync and lag is not None:
        port.standing = Attached(lag, saved.mux)


def _save_port(port: LacpPort, chosen: LagId | None, now: float) -> dict[str, Any]:
    return {
        "ifindex": port.ifindex,
        "number": port.number,
        "source": format_mac(port.source),
        "state": port.receive.name,
        "partner": _save_end(port.partner),
        "told": None if port.told is None else _save_end(port.told),
        "heard_from": format_mac(port.heard_from),
        "mux": port.mux.value,
        "selected": port.lag is not None and port.lag == chosen,
        "speed_mbps": port.speed_mbps,
        "failed": port.well_since == FAILED,
        "restore_s": _left_s(port.restore_at, now),
    }


def _left_s(until: float | None, now: float) -> float | None:
    return None if until is None or until == FAILED else round(max(0.0, until - now), 3)


def _load_port(saved: Mapping[str, Any]) -> SavedPort:
    restore_s = None if saved["restore_s"] is None else float(saved["restore_s"])
    state = saved["state"]
    number = int(saved["number"])
    if state not in STATES or not 0 < number <= 0xFFFF:
        raise ValueError(f"state {state}, port number {number}")
    if restore_s is not None and not 0 <= restore_s <= LONGEST_RESTORE_S:
        raise ValueError(f"{restore_s} s of wait_to_restore left")
    return SavedPort(
        ifindex=int(saved["ifindex"]),
        number=number,
        source=_mac(saved["source"]),
        state=state,
        partner=_load_end(saved["partner"]),
        told=None if saved["told"] is None else _load_end(saved["told"]),
        heard_from=bytes.fromhex(saved["heard_from"].replace(":", "")),
        mux=Mux(saved["mux"]),
        selected=bool(saved["selected"]),
        speed_mbps=int(saved["speed_mbps"]),
        failed=bool(saved["failed"]),
        restore_s=restore_s,
    )


def _save_end(end: LacpInfo) -> dict[str, Any]:
    return {item.name: getattr(end, item.name) for item in fields(end)} | {"system": format_mac(end.system)}


def _load_end(saved: Mapping[str, Any]) -> LacpInfo:
    numbers = {item.name: int(saved[item.name]) for item in fields(LacpInfo) if item.name != "system"}
    end = LacpInfo(system=_mac(saved["system"]), **numbers)
    limits = {"state": 0xFF}
    for name, number in numbers.items():
        if not 0 <= number <= limits.get(name, 0xFFFF):
            raise ValueError(f"{name} {number}")
    return end


def _mac(text: str) -> bytes:
    mac = bytes.fromhex(text.replace(":", ""))
    if len(mac) != MAC_LENGTH:
        raise ValueError(f"{text!r} is not a hardware address")
    return mac
