"""The page of one port in `watch`: everything there is to know of it. Pure."""

from __future__ import annotations

from pyteamd.cli.pyteamdctl.watch_lines import Line, Style, aligned, folded, padded
from pyteamd.cli.pyteamdctl.watch_look import event_line, health, sentence, word
from pyteamd.cli.pyteamdctl.watch_rates import bits, graph

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyteamd.cli.pyteamdctl.watch_look import TeamLook
    from pyteamd.cli.pyteamdctl.watch_rates import Rates

GRAPH_LINES = 4
MOST_BARS = 120
MOST_EVENTS = 40
SPEEDS = ((1_000_000, "T"), (1000, "G"), (1, "M"))
PLAIN_MEMBERS = ("name", "up", "down_count")
"""Of a watcher: shown on its first line."""


def lines(look: TeamLook, row: dict[str, Any], rates: Rates, columns: int, now_s: float) -> list[Line]:
    """All of it; it may be longer than the screen. `row`: its row of explain."""
    name, kind = row["port"], health(row)
    told = [Line(), Line((name, Style.TITLE), "  ", (word(row), kind.style))]
    told += [Line((f"  {piece}", kind.style)) for piece in folded(sentence(row), columns - 2)]
    port = look.port(name)
    if port is not None:
        link_rows = [("link", link(port)), ("address", str(port["ifinfo"]["dev_addr"]))]
        told += section("link", aligned([*link_rows, ("ifindex", str(port["ifinfo"]["ifindex"]))], 2))
        told += traffic(rates, name, columns, now_s)
        told += section("link watchers", watchers(port))
        told += section("LACP", lacp(port))
        told += section("counters", counters(port))
        told += section("neighbour", members(port.get("neighbour") or {}))
        told += section("damping", members(port.get("damping") or {}))
    events = [event for event in look.history if event.get("port") == name][-MOST_EVENTS:]
    return told + section("events", [event_line(look.wall_s, event) for event in events])


def section(title: str, body: list[Line]) -> list[Line]:
    """With a heading, if there is anything."""
    return [Line(), Line((title, Style.FAINT)), *body] if body else []


def link(port: dict[str, Any]) -> str:
    """Speed and duplex in few characters."""
    if not port["link"]["up"]:
        return "no link"
    mbps = port["link"]["speed"]
    if mbps <= 0:
        return "up"  # the driver does not tell the speed
    speed = next(f"{mbps / size:g}{unit}" for size, unit in SPEEDS if mbps >= size)
    return f"{speed} {port['link']['duplex']}"


def traffic(rates: Rates, name: str, columns: int, now_s: float) -> list[Line]:
    """Both directions over the last minutes, on a scale of their own."""
    now = rates.now(name)
    if now is None:
        return []
    peak, count = rates.peak([name]), max(10, min(MOST_BARS, columns - 4))
    told = [Line(), Line((f"last 3 minutes, full height: {bits(peak)}bit/s", Style.FAINT))]
    for sent, what in ((False, "received"), (True, "sent")):
        told.append(Line(f"  {padded(what, 8)}  {bits(now[sent])}bit/s"))
        rows = graph(rates.cells(name, sent, count, now_s), peak, GRAPH_LINES)
        told += [Line((f"  {row}", Style.CARRYING)) for row in rows]
    return told


def watchers(port: dict[str, Any]) -> list[Line]:
    """Each link watcher with its members."""
    told = []
    for watcher in port["link_watches"]["list"].values():
        style = Style.PLAIN if watcher["up"] else Style.BROKEN
        state = f"{'up' if watcher['up'] else 'down'}, down count {watcher['down_count']}"
        told.append(Line(f"  {watcher['name']}  ", (state, style)))
        told += members({name: value for name, value in watcher.items() if name not in PLAIN_MEMBERS}, 4)
    return told


def lacp(port: dict[str, Any]) -> list[Line]:
    """Machines, and both ends in words."""
    runner = port.get("runner") or {}
    details = runner.get("details")
    if not details:
        return members(runner)
    mux = details["mux"]
    aggregator = runner["aggregator"]
    used = "in use" if aggregator["selected"] else "not in use"
    rows = [
        ("receive", str(runner["state"])),
        ("mux", f"{mux['state']}, {mux['mode']}"),
        ("aggregate", f"led by interface {aggregator['id']}, {used}" if aggregator["id"] else "none"),
        ("blocked by", str(details["blocked_by"]).replace("_", " ") or "nothing"),
        ("churn", f"actor {details['churn']['actor']}, partner {details['churn']['partner']}"),
    ]
    for who in ("actor", "partner"):
        end = runner[f"{who}_lacpdu_info"]
        rows += [
            (
                who,
                f"{end['system_priority']},{end['system']}  key {end['key']}  port {end['port_priority']},{end['port']}",
            ),
            ("", str(details[f"{who}_state"])),
        ]
    return aligned(rows, 2)


def counters(port: dict[str, Any]) -> list[Line]:
    """What LACP counted, all that is not zero."""
    counted = ((port.get("runner") or {}).get("details") or {}).get("counters", {})
    rows = []
    for name, value in counted.items():
        values = value.items() if isinstance(value, dict) else [("", value)]
        rows += [(f"{name} {reason}".strip().replace("_", " "), str(count)) for reason, count in values if count]
    return aligned(rows, 2)


def members(tree: dict[str, Any], by: int = 2) -> list[Line]:
    """An object by its members; those of an object in it on one line."""
    rows = []
    for name, value in tree.items():
        if isinstance(value, dict):
            value = ", ".join(f"{inner.replace('_', ' ')} {shown(told)}" for inner, told in value.items())
        rows.append((name.replace("_", " "), shown(value)))
    return aligned([row for row in rows if row[1]], by)


def shown(value: Any) -> str:
    """A plain value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


def leads_to(port: Mapping[str, Any]) -> str:
    """Where the cable goes, as far as LLDP tells; "" when nothing was heard."""
    said = port.get("neighbour")
    if not said:
        return ""
    return f"leads to {said['system_name'] or said['chassis']} {said['port']}"
