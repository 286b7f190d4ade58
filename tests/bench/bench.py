#!/usr/bin/env python3
"""Measure pyteamd against C teamd in one boot of the lab; print the ratios and write everything to a JSON file.

    python3 tests/bench/bench.py [--out build/bench.json] [--world qemu] [--cuts 240] …

QEMU is the world for this: it slows computing and system calls alike, so ratios carry over (see docs/lab.md). Its
clock counts instructions unless told otherwise (`--clock real`): two runs differ by a percent, on a busy machine too.
The candidates take turns on the same ports. The file has every sample, so a table can be made again.
Exit status: 0 measured, 1 a measurement failed, 3 `--strict` and a limit was missed, else the lab's own.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import failover
import guest
import report

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
DEFAULT_CANDIDATES = {
    "teamd": ["teamd"],
    "pyteamd": [".venv/bin/pyteamd"],
    "bonding 10": ["python3", "tests/bench/bond.py", "--miimon", "10"],
    "bonding 100": ["python3", "tests/bench/bond.py", "--miimon", "100"],
    "bare loop": ["python3", "tests/bench/floor.py"],
}


def main(argv: Sequence[str]) -> int:
    args = _arguments(argv)
    candidates = dict(args.candidate) or DEFAULT_CANDIDATES
    if args.reference not in candidates:
        print(f"bench: reference {args.reference!r} is not among {', '.join(candidates)}", file=sys.stderr)
        return 2
    plan = failover.Plan(cuts=args.cuts, blocks=args.blocks, idle_s=args.idle, quiet_s=args.quiet)
    usual = [name for name in guest.SCENARIOS if name != "pressed" or args.world == "uml"]  # see pressed.py
    spec = {"candidates": candidates, "scenarios": args.scenario or usual, "plan": asdict(plan)}
    with tempfile.TemporaryDirectory(prefix="bench.") as out_dir:
        status = _in_lab(args, spec, out_dir)
        samples = Path(out_dir, "samples.json")
        if not samples.exists():
            return status or 1
        measured = json.loads(samples.read_text())
    return _report(args, spec, measured) or status


def _in_lab(args: argparse.Namespace, spec: object, out_dir: str) -> int:
    command = [
        *(sys.executable, str(HERE.parent / "lab/lab.py"), "run", "--world", args.world, "--cpus", str(args.cpus)),
        *("--timeout", str(args.timeout), "--out", out_dir, "-v"),
        *(("--counted",) if _counted(args) else ()),
        "--",
        *("python3", str(HERE / "guest.py"), json.dumps(spec)),
    ]
    return subprocess.run(command, check=False).returncode


def _counted(args: argparse.Namespace) -> bool:
    return bool(args.clock == "counted" and args.world == "qemu" and args.cpus == 1)


def _report(args: argparse.Namespace, spec: dict[str, object], measured: dict[str, Any]) -> int:
    scenarios, failed = measured["scenarios"], measured["failed"]
    missed: list[str] = []
    summaries = {}
    where = {**measured["where"], "clock": "counted" if _counted(args) else "real"}
    print("\n" + ", ".join(f"{name} {value}" for name, value in where.items()))
    for name, samples in scenarios.items():
        print(f"\n{name}\n{report.table(name, samples, args.reference)}")
        summaries[name] = report.summarise(name, samples, args.reference)
        if args.judged in samples:
            missed += report.missed_limits(name, samples, args.reference, args.judged)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    answer = {**spec, "reference": args.reference, "where": where, "summary": summaries}
    args.out.write_text(
        json.dumps({**answer, "missed": missed, "failed": failed, "samples": scenarios}, indent=1) + "\n"
    )
    for line in [
        *(f"limit missed: {line}" for line in missed),
        *(f"{name} failed: {why}" for name, why in failed.items()),
    ]:
        print(f"bench: {line}")
    print(f"bench: written to {args.out}; {len(missed)} limits missed, {len(failed)} scenarios failed")
    return 1 if failed else 3 if missed and args.strict else 0


def _candidate(text: str) -> tuple[str, list[str]]:
    name, sign, command = text.partition("=")
    if not sign or not command:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=COMMAND")
    return name, shlex.split(command)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.py", description="Measure pyteamd against C teamd in the lab.")
    add = parser.add_argument
    add(
        "--candidate", type=_candidate, action="append", default=[], metavar="NAME=COMMAND", help="instead of the usual"
    )
    add("--reference", default="teamd", metavar="NAME", help="whose figures are 1.0 (default teamd)")
    add("--judged", default="pyteamd", metavar="NAME", help="who must keep the limits (default pyteamd)")
    add("--scenario", action="append", choices=list(guest.SCENARIOS), help="default: all that the world can")
    add("--world", choices=("qemu", "uml", "host"), default="qemu")
    add("--cpus", type=int, default=1)
    add("--clock", choices=("counted", "real"), default="counted", help="counted: qemu with one CPU only")
    add("--cuts", type=int, default=240, help="for each candidate, in all (default 240)")
    add("--blocks", type=int, default=5, help="starts of each candidate (default 5)")
    add("--idle", type=float, default=30.0, metavar="S", help="idle time watched for each candidate (default 30)")
    add("--quiet", type=float, default=0.05, metavar="S", help="silence that counts as settled (default 0.05)")
    add("--timeout", type=float, default=3600.0, metavar="S", help="for everything (default 3600)")
    add("--out", type=Path, default=REPO / "build/bench.json", metavar="FILE")
    add("--strict", action="store_true", help="exit status 3 when a limit is missed")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
