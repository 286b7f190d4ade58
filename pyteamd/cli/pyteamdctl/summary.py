"""A team on one line, for `list` and `watch`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def summary(state: Mapping[str, Any]) -> dict[str, object]:
    """What `list` says of a team."""
    return {
        "runner": str(state["setup"]["runner_name"]),
        "ports": {name: bool(port["link_watches"]["up"]) for name, port in state.get("ports", {}).items()},
        "active_port": state.get("runner", {}).get("active_port") or None,
    }


def in_a_line(team: str, told: Mapping[str, Any]) -> str:
    """A team on one line."""
    words = [f"{name} {'up' if up else 'down'}" for name, up in told["ports"].items()]
    shown = f"; active port {told['active_port']}" if told["active_port"] else ""
    return f"{team}: {told['runner']}; {', '.join(words) or 'no ports'}{shown}"
