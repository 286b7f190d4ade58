"""The bench's part inside the lab: runs scenarios and writes the samples, and why a scenario has none, to $LAB_OUT/samples.json.

Called by bench.py with one argument, a JSON object: `candidates` (name → command), `scenarios` (names from SCENARIOS)
and `plan` (fields of failover.Plan). A new scenario is a module with `run(candidates, plan)` and one line in SCENARIOS.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import failover
import lacp
import many
import pings
import scale
from cables import BenchError
from probe import Candidate

SCENARIOS = {**failover.SCENARIOS, "pings": pings.run, "lacp": lacp.run, "many": many.run, "scale": scale.run}


def main(request: str) -> int:
    spec = json.loads(request)
    candidates = [Candidate(name, tuple(command)) for name, command in spec["candidates"].items()]
    plan = failover.Plan(**spec["plan"])
    answer: dict[str, Any] = {"where": failover.where(), "scenarios": {}, "failed": {}}
    for name in spec["scenarios"]:
        try:
            answer["scenarios"][name] = SCENARIOS[name](candidates, plan)
        except BenchError as problem:
            answer["failed"][name] = str(problem)
        Path(os.environ["LAB_OUT"], "samples.json").write_text(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
