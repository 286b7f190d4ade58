"""What a daemon tells `watch`: teams of any number of ports, in all the states a port may be in."""

from __future__ import annotations

import json
from typing import Any

from pyteamd.cli.pyteamdctl.watch_look import TeamLook

NO_CARRIER = "no carrier for 3.0 s (check the cable, and whether the other end is up)"
CARRIES = "carries traffic as the active port for 2.7 s"


def reason(name: str, carrying: bool = True, text: str = CARRIES, cause: str = "", doubt: str = "") -> dict[str, Any]:
    """A row of explain."""
    return {
        "port": name,
        "names": [name],
        "carrying": carrying,
        "text": f"{name}: {text}",
        "reason": text,
        "hint": "",
        "since_s": 2.7,
        "cause": cause,
        "doubt": doubt,
    }


def broken(name: str) -> dict[str, Any]:
    """A row of a port without carrier."""
    return reason(name, False, NO_CARRIER, "no_carrier")


def port(name: str, up: bool = True, **more: Any) -> dict[str, Any]:
    """Its part of the state."""
    watcher = {"name": "ethtool", "up": up, "down_count": 1, "delay_up": 0, "delay_down": 0}
    return {
        "ifinfo": {"ifindex": 3, "ifname": name, "dev_addr": "02:00:00:00:00:01", "dev_addr_len": 6},
        "link": {"up": up, "speed": 10000, "duplex": "full"},
        "link_watches": {"up": up, "list": {"link_watch_0": watcher}},
        **more,
    }


END = {"system_priority": 65535, "system": "02:bb:00:00:00:01", "key": 7, "port_priority": 255, "port": 1, "state": 63}
LACP = {
    "selected": True,
    "aggregator": {"id": 3, "selected": True},
    "state": "current",
    "key": 0,
    "prio": 255,
    "actor_lacpdu_info": {**END, "system": "02:00:00:00:00:01", "key": 0},
    "partner_lacpdu_info": END,
    "details": {
        "mux": {"state": "distributing", "mode": "independent"},
        "standby": False,
        "partner_in_sync": True,
        "actor_state": "active, short timeout, aggregatable, in sync, collecting, distributing",
        "partner_state": "active, long timeout, aggregatable, in sync, collecting, distributing",
        "churn": {"actor": "no_churn", "partner": "no_churn"},
        "blocked_by": "",
        "counters": {"lacpdus_received": 41, "lacpdus_sent": 40, "drops": {"version": 2}, "churns": 0},
    },
}
NEIGHBOUR = {
    "chassis": "02:bb:00:00:00:01",
    "port": "Ethernet3",
    "system_name": "sw1",
    "vlan": 42,
    "aggregation": {"capable": True, "enabled": True},
}
DAMPING = {"penalty": 800, "suppressed": False, "half_life": 15, "suppress": 2000, "reuse": 750, "max": 60}


def look(
    rows: list[dict[str, Any]],
    at_s: float = 100.0,
    octets: int = 0,
    team: str = "team0",
    ports: dict[str, dict[str, Any]] | None = None,
    events: int = 3,
    **more: Any,
) -> TeamLook:
    """A look; every link has received so many octets, and sent half of them."""
    return TeamLook(
        team,
        at_s,
        1_000_000_000 + at_s,
        state(rows, ports),
        rows,
        history(events),
        {row["port"]: (octets, octets // 2) for row in rows},
        **more,
    )


def state(rows: list[dict[str, Any]], ports: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """The state of such a team."""
    shown = {row["port"]: port(row["port"], row["carrying"]) for row in rows if row.get("cause") != "no_port"}
    return {
        "setup": {"runner_name": "activebackup"},
        "team_device": {"ifinfo": {"dev_addr": "02:00:00:00:00:01", "ifname": "team0"}},
        "runner": {"active_port": "em2"},
        "ports": shown | (ports or {}),
    }


def history(count: int) -> list[dict[str, Any]]:
    """This many events of em1, one a second."""
    return [
        {
            "age_s": float(count - n),
            "level": "warning",
            "port": "em1",
            "text": f"em1: event {n} of {count}.",
            "cause": "Tick",
        }
        for n in range(1, count + 1)
    ]


def replies(rows: list[dict[str, Any]], team: str = "team0") -> dict[str, bytes]:
    """What a daemon answers."""
    told = {
        "ConfigDump": {"device": team},
        "ConfigDumpActual": {"device": team},
        "StateDump": state(rows),
        "Explain": rows,
        "History": history(3),
    }
    return {method: b"REPLY_SUCCESS\n" + json.dumps(value).encode() for method, value in told.items()}
