#!/usr/bin/env python3
"""Run the cases on the original and write down what it says. Needs root, for a /run/teamd and a network of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cli_cases import CASES, DEVICE, FILES, Case

GOLDEN = Path(__file__).parent / "golden" / "cli.json"
RUN_DIR = Path("/run/teamd")


def main() -> int:
    """Record every case, in a mount and network namespace of our own."""
    if "--inside" not in sys.argv:
        inside = ["unshare", "--mount", "--net", "--propagation", "private", sys.executable, __file__, "--inside"]
        return subprocess.run(inside, check=False).returncode
    RUN_DIR.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", str(RUN_DIR)], check=True)
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        for name, text in FILES.items():
            Path(name).write_text(text)
        found = {case.name: record(case, directory) for case in CASES}
    GOLDEN.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print(f"{len(found)} cases recorded")
    return 0


def record(case: Case, directory: str) -> dict[str, object]:
    """What the original says, what it returns, and whether the pid file is still there."""
    pid_file = RUN_DIR / f"{DEVICE}.pid"
    pid_file.unlink(missing_ok=True)
    # Something to be found alive, and to be killed: the original looks at the number only.
    live = subprocess.Popen(["sleep", "60"], executable="/bin/sleep")
    try:
        if case.pid is not None:
            pid_file.write_text(case.pid.replace("{live}", str(live.pid)))
        environment = {"PATH": os.environ["PATH"], **({"TEAM_LOG_OUTPUT": case.output} if case.output else {})}
        killing = case.line[0] == "-k" and case.pid == "{live}\n"
        if killing:
            # The original waits until the process is gone for good, which needs a parent that reaps it.
            program = subprocess.Popen(
                ["teamd", *case.line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
            )
            live.wait()
            out, err = program.communicate()
            code = program.returncode
        else:
            done = subprocess.run(["teamd", *case.line], capture_output=True, text=True, env=environment, check=False)
            out, err, code = done.stdout, done.stderr, done.returncode
    finally:
        live.kill()
        live.wait()
    err = err.replace(str(live.pid), "LIVE").replace(directory, "DIR").replace("/var/run/teamd/", "RUN/")
    return {"out": out, "err": err, "code": code, "pid_file": pid_file.exists()}


if __name__ == "__main__":
    sys.exit(main())
