"""A fault of ours that cost a port: the trace is kept in a file, and one line of the log says where.

The file is written at once: the trace is a ring and forgets. A team has at most MOST of them; then the last one is written over, because
the first fault tells most.
"""

from __future__ import annotations

import logging
import os
from typing import Final

from pyteamd.core.trace import Trace
from pyteamd.daemon.read_file import owned

MOST: Final = 3


def keep_trace(text: str, trace: Trace, stem: str | None, log: logging.Logger) -> None:
    """Log the fault, with the name of the file that was made. `stem`: how the team's files in the run directory begin; None for none."""
    where = "pyteamdctl TEAM trace save FILE shows what led to it"
    if stem is not None:
        paths = [f"{stem}.fault{number}.jsonl" for number in range(1, MOST + 1)]
        path = next((path for path in paths if not os.path.lexists(path)), paths[-1])
        try:
            with open(owned(path), "w", encoding="ascii") as file:
                file.writelines(line + "\n" for line in trace.lines())
            where = f"what led to it is in {path}"
        except Exception as problem:  # what cannot be told of one port ends no other
            why = os.strerror(problem.errno or 0) if isinstance(problem, OSError) else repr(problem)
            where = f"{path}: {why}"
    log.error("%s; this is a bug, please report it: %s", text, where)
