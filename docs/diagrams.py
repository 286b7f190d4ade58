#!/usr/bin/env python3
"""Draw the machines of LACP and BFD from the tables the program runs on: writes docs/lacp-machines.md and docs/bfd-machine.md.

    docs/diagrams.py [--check]     --check only says whether the files are up to date (exit status 1 when not)

The diagrams are Mermaid, which forges and editors show without any other tool.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pyteamd.linkwatch.bfd_session import TABLE  # noqa: E402
from pyteamd.runners.lacp.machines import CHURN, COUPLED, INDEPENDENT, RECEIVE, MuxTable  # noqa: E402

PAGE = ROOT / "docs/lacp-machines.md"
BFD_PAGE = ROOT / "docs/bfd-machine.md"

HEAD = """# The LACP machines

Made by `make diagrams` from the tables in `runners/lacp/machines.py`; do not edit. Clauses are those of IEEE 802.1AX-2014. An event
that has no arrow changes nothing.
"""

RECEIVE_TEXT = """## Receive (6.4.12)

One for each port. `disabled`: no link, or one that cannot be aggregated, or the team is down. The states have the names that
`teamdctl` shows. A port starts disabled.
"""

COUPLED_TEXT = """## Mux, coupled (6.4.15)

For kernels that switch a port as a whole. Guards are tried in the order drawn, until none holds. "Ready" means that wait_while (2 s)
is over, also for the other ports that began to wait meanwhile.
"""

INDEPENDENT_TEXT = """## Mux, independent (6.4.15)

For kernels with the options `rx_enabled` and `tx_enabled`.
"""

CHURN_TEXT = """## Churn detection (6.4.17)

Two for each port: is the actor, is the partner in sync? The timeout is one minute.
"""


def diagram(start: str, arrows: Iterable[tuple[str, str, str]]) -> str:
    """A Mermaid state diagram; arrows are (from, to, label)."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {start}"]
    lines += [f"    {source} --> {target}: {label}" for source, target, label in arrows]
    return "\n".join([*lines, "```", ""])


def by_event(table: Mapping[Any, Any]) -> list[tuple[str, str, str]]:
    """Arrows of a state × event table; several events between the same two states share one."""
    labels: dict[tuple[str, str], list[str]] = {}
    for (source, event), target in table.items():
        labels.setdefault((source.name, target.name), []).append(event.value)
    return [(source, target, ", ".join(events)) for (source, target), events in labels.items()]


def by_guard(table: MuxTable) -> list[tuple[str, str, str]]:
    """Arrows of a mux table."""
    return [(state.value, target.value, guard.value) for state, guards in table.items() for guard, target in guards]


def page() -> str:
    """The whole document."""
    parts = [
        HEAD,
        RECEIVE_TEXT,
        diagram("disabled", by_event(RECEIVE)),
        COUPLED_TEXT,
        diagram("detached", by_guard(COUPLED)),
        INDEPENDENT_TEXT,
        diagram("detached", by_guard(INDEPENDENT)),
        CHURN_TEXT,
        diagram("none", by_event(CHURN)),
    ]
    return "\n".join(parts)


BFD_HEAD = """# The BFD machine

Made by `make diagrams` from the table in `linkwatch/bfd_session.py`; do not edit. RFC 5880, 6.2 and 6.8.6. An arrow names the state
received from the peer, `detection time` means that nothing came for so long, `path` that the carrier went.
"""


def bfd_page() -> str:
    """The session's machine."""
    labels: dict[tuple[str, str], list[str]] = {}
    for (source, heard), target in TABLE.items():
        labels.setdefault((source.name.lower(), target.name.lower()), []).append(str(heard))
    for source in ("init", "up"):
        labels.setdefault((source, "down"), []).extend(("detection time", "path"))
    arrows = [(source, target, ", ".join(events)) for (source, target), events in labels.items()]
    return "\n".join([BFD_HEAD, diagram("down", arrows)])


def main() -> int:
    pages = {PAGE: page(), BFD_PAGE: bfd_page()}
    if "--check" in sys.argv[1:]:
        stale = [path.name for path, text in pages.items() if not path.exists() or path.read_text() != text]
        print(
            f"not what the tables say: {', '.join(stale)}; run make diagrams"
            if stale
            else "the diagrams are up to date"
        )
        return 1 if stale else 0
    for path, text in pages.items():
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
