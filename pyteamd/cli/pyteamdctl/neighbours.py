"""`neighbours`: the system at the other end of each port's cable, as LLDP tells."""

from __future__ import annotations

from pyteamd.cli.pyteamdctl.verbs import Session, load_json
from pyteamd.model.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEADS = ("PORT", "SYSTEM", "ITS PORT", "VLAN", "AGGREGATION")


def neighbours(session: Session) -> None:
    """A line for each port; as JSON the objects of the state."""
    state: Any = load_json(session.client.state_text)
    ports = {name: port.get("neighbour") for name, port in state.get("ports", {}).items()}
    if session.json:
        session.print_document(ports=[{"port": name, "neighbour": said} for name, said in ports.items()])
        return
    if session.oneline:
        session.print_json([{"port": name, "neighbour": said} for name, said in ports.items()])
        return
    rows = [HEADS, *(row(name, said) for name, said in ports.items())]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(HEADS))]
    for cells in rows:
        session.print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def row(name: str, said: dict[str, Any] | None) -> tuple[str, ...]:
    """Cells of one port."""
    if not said:
        return (printable(name), "nothing heard", "", "", "")
    system = said["system_name"] or said["chassis"]
    others = f" and {said['others']} more" if "others" in said else ""
    aggregation = said.get("aggregation")
    words = "" if aggregation is None else "enabled" if aggregation["enabled"] else "disabled"
    vlan = str(said.get("vlan", ""))
    return (printable(name), printable(system) + others, printable(said["port"]), vlan, words)
