"""What the lacp runner says in the log; and which port a moved partner, a request of a user, or a fault of ours is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyteamd.model.errors import NOT_SUPPORTED, SET_FAILED, UserError
from pyteamd.model.events import CarrierSeen, Event, FrameSeen, PortSeen
from pyteamd.runners.lacp.group import PortFault
from pyteamd.runners.lacp.machines import Disabled, Receive
from pyteamd.runners.lacp.port import LacpPort
from pyteamd.runners.lacp.selection import LagId
from pyteamd.wire.ethernet import format_mac


def state_line(port: LacpPort, before: Receive) -> str:
    """The receive machine moved; teamd's words."""
    return f'{port.name}: Changed port state: "{before.name}" -> "{port.receive.name}"'


def service_line(port: LacpPort, serving: bool, fallback: bool) -> str:
    """The port carries traffic from now on, or no longer."""
    if not serving:
        return f"{port.name}: out of service"
    if fallback:
        return f"{port.name}: in service without a partner (fallback)"
    return f"{port.name}: in service (partner {format_mac(port.partner.system)}, key {port.partner.key})"


def speeds_line(ports: Iterable[LacpPort]) -> str:
    """Unlike links share the load evenly, so the slowest sets the pace."""
    speeds = ", ".join(f"{port.name} {port.speed_mbps} Mbit/s" for port in ports)
    return f"Ports of different speed in one aggregator: {speeds}"


def choice_line(lead: LacpPort | None, lag: LagId | str) -> str:
    """Another aggregate is used; IN_TURN: none carries, and which one is used from now on is told only when it does."""
    if isinstance(lag, str):
        return "No aggregator carries traffic; they are tried in turn, the next line names the one that does."
    led_by = f" led by {lead.name}" if lead else ""
    return f"Selected aggregator{led_by} (partner {format_mac(lag.partner_system)}, key {lag.partner_key})"


def identifier_line(before: bytes, now: bytes) -> str:
    """The team has another address, so the partner sees another system."""
    return f"LACP system identifier changed from {format_mac(before)} to {format_mac(now)}."


def loop_line(port: LacpPort, echo: str, now: float) -> str:
    """The partner has our own identifier; "" when that was said a moment ago: where several ports meet, each hears all the others.

    `echo`: the port of ours whose frames come back, "" when it is none.
    """
    more = port.patience.complain("loop", now)
    if more is None:
        return ""
    told = more and f" ({more})"
    if echo:
        return f"{port.name}: loopback: our own LACPDUs, sent through {echo}, come back{told}"
    source = format_mac(port.heard_from)
    return f"{port.name}: another system ({source}) has our system identifier {format_mac(port.partner.system)}{told}"


def moved(old: LacpPort, new: LacpPort) -> bool:
    """The partner port that `old` knows now speaks to `new` (port_moved, 6.4.7).

    Only a disabled port is asked. One that is up keeps its partner until it times out: two switches may share a system
    identifier, a key and their port numbers (EVPN multihoming), and both links are well.
    """
    if old is new or not old.partner_known() or not isinstance(old.receive, Disabled):
        return False
    theirs, ours = old.partner, new.partner
    return (theirs.system, theirs.system_priority, theirs.port) == (ours.system, ours.system_priority, ours.port)


def selected_port(path: str, value: str) -> int:
    """Ifindex in the path of `aggregator.selected`, the one item that can be set. UserError: another item, or not true."""
    head, _, rest = path.removeprefix("ports.").partition(".")
    if not path.startswith("ports.") or rest.removeprefix("runner.") != "aggregator.selected" or not head.isdecimal():
        raise UserError(*NOT_SUPPORTED, "with lacp, only ports.PORT.runner.aggregator.selected can be set")
    match value.lower():
        case "true":
            return int(head)
        case "false":
            raise UserError(*NOT_SUPPORTED, "an aggregator cannot be deselected; select another one")
    raise UserError(*SET_FAILED, "aggregator.selected can be set to true, nothing else")


def suspects(fault: Exception, event: Event, ports: Iterable[int], wakes: Mapping[int, float], now: float) -> list[int]:
    """Ports that a fault of ours came from: those it names, the one in hand, the one the event is about, those that were due, or all."""
    named = list(fault.ports) if isinstance(fault, PortFault) else []
    about = [event.ifindex] if isinstance(event, FrameSeen | CarrierSeen | PortSeen) else []
    due = [ifindex for ifindex, wake in wakes.items() if wake <= now]
    for some in (named, in_hand(fault), about, due):
        if found := [ifindex for ifindex in ports if ifindex in some]:
            return found
    return list(ports)


def in_hand(fault: Exception) -> list[int]:
    """The port that the innermost function was about."""
    found: list[int] = []
    trace = fault.__traceback__
    while trace is not None:
        held = trace.tb_frame.f_locals
        found = [one.ifindex for name in ("port", "self") if isinstance(one := held.get(name), LacpPort)][:1] or found
        trace = trace.tb_next
    return found
