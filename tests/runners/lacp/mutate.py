#!/usr/bin/env python3
"""Faults put into the LACP machines, one line each; the tests must catch every one, and it is said which lane did.

    tests/runners/lacp/mutate.py [number…]      no number = all

Each fault goes into a copy of the tree in a temporary directory. Three lanes run there: the unit tables, the conformance list, and
30 random networks. Exit status 0 when every fault was caught by at least one of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
COPIED = ("pyteamd", "runners", "linkwatch", "docs", "tests/kit", "tests/runners", "pyproject.toml")
LANES = {
    "unit": "tests/runners",
    "conformance": "tests/runners/lacp/test_lacp_conformance.py tests/runners/lacp/test_lacp_conformance_more.py",
    "random": "tests/runners/lacp/test_lacp_random.py",
}
LIMIT_S = 300


@dataclass(frozen=True)
class Fault:
    """One line of one file, wrong."""

    what: str
    file: str
    right: str
    wrong: str


FAULTS = (
    Fault("a partner that falls silent is given up at once", "machines",
          "(Current, Happening.TIMEOUT): Expired,", "(Current, Happening.TIMEOUT): Defaulted,"),
    Fault("the partner's SYNC counts although it means somebody else", "port",
          "if self.partner.state & lacpdu.AGGREGATION and not self.matched(local):", "if False:"),
    Fault("the partner's SYNC counts after it fell silent", "port",
          "if not isinstance(self.receive, Current) or not self.partner.state & lacpdu.SYNCHRONIZATION:",
          "if isinstance(self.receive, Disabled) or not self.partner.state & lacpdu.SYNCHRONIZATION:"),
    Fault("a wrong COLLECTING in the echo is answered, too", "port",
          "HEEDED_BITS = lacpdu.ACTIVITY |", "HEEDED_BITS = lacpdu.COLLECTING | lacpdu.ACTIVITY |"),
    Fault("thirty LACPDUs a second", "system", "LACPDUS_PER_S = 3", "LACPDUS_PER_S = 30"),
    Fault("we speak at our own rate, not at the partner's", "port",
          "short = isinstance(self.receive, Expired) or bool(self.partner.state & lacpdu.TIMEOUT)",
          "short = isinstance(self.receive, Expired) or local.fast"),
    Fault("timeouts of the other rate", "system",
          "return (SHORT_TIMEOUT_S if self.fast else LONG_TIMEOUT_S) + LATE_ARRIVAL_S",
          "return (LONG_TIMEOUT_S if self.fast else SHORT_TIMEOUT_S) + LATE_ARRIVAL_S"),
    Fault("no wait_while", "machines", "AGGREGATE_WAIT_S = 2.0", "AGGREGATE_WAIT_S = 0.0"),
    Fault("another partner on the link goes unnoticed", "port",
          "if not same_link(pdu.actor, self.partner):", "if False:"),
    Fault("the partner is forgotten with the link", "port",
          "if what is Happening.MOVED:", "if what in (Happening.MOVED, Happening.LINK_DOWN):"),
    Fault("a partner port that moved is believed in twice", "log_lines",
          "if old is new or not old.partner_known() or not isinstance(old.receive, Disabled):", "if old:"),
    Fault("priorities compared as text", "selection",
          "return (*member.rank, member.ifindex)",
          "return (*(ord(c) for n in member.rank for c in str(n)), member.ifindex)"),
    Fault("in service before the partner is in sync", "machines",
          "(Guard.PARTNER_SYNC, Mux.COLLECTING_DISTRIBUTING)", "(Guard.CHOSEN, Mux.COLLECTING_DISTRIBUTING)"),
    Fault("stays in service when the partner is no longer in sync", "machines",
          "return now.selection is not Selection.SELECTED or not now.partner_sync",
          "return now.selection is not Selection.SELECTED"),
    Fault("an expired port may come in", "port",
          "attached = isinstance(self.receive, Expired) and self.mux.in_sync",
          "attached = isinstance(self.receive, Expired)"),
    Fault("individual links are put together", "port",
          "alone = not partner.state & lacpdu.AGGREGATION", "alone = False"),
    Fault("sends before the partner collects", "machines",
          "(Guard.PARTNER_COLLECTING, Mux.DISTRIBUTING)", "(Guard.PARTNER_SYNC, Mux.DISTRIBUTING)"),
    Fault("leaves without a word", "runner", "if link is not Link.UP and speaks:", "if link is Link.UP and speaks:"),
    Fault("the echo keeps SYNC that does not count", "port",
          "if state & lacpdu.SYNCHRONIZATION and not self.partner_sync(local):", "if not state:"),
    Fault("a successor begins anew", "joining",
          "if saved is not None and now - self._saved_at < saved.believed_for_s():", "if saved is not None and now < 0:"),
    Fault("churn after ten minutes", "machines", "CHURN_DETECTION_S = 60.0", "CHURN_DETECTION_S = 600.0"),
    Fault("looped links form an aggregate", "port",
          "if not self.partner_known() or self.looped(local):", "if not self.partner_known():"),
    Fault("markers without a limit", "frames", "if now < port.marker_limit.free_at():", "if now < 0:"),
    Fault("an aggregate that is not ready takes over", "group",
          "if aggregate.lag == self.chosen or all(one.lag != self.chosen for one in others):", "if aggregate:"),
    Fault("an aggregate that is not in use does not stand by", "group",
          "wrong = lag is None or (port.mux is not Mux.DETACHED and port.lag != lag)", "wrong = lag != self.chosen"),
    Fault("need to transmit is forgotten at the limit", "port",
          "return self.limit.free_at() if news else", "return now_or_never(self) if news else"),
)  # fmt: skip

FORGETFUL = """

def now_or_never(port: LacpPort) -> float:
    free = port.limit.free_at()
    port.ntt = port.ntt and free == float("-inf")
    return free if port.ntt or free == float("-inf") else port.said_at + 1.0
"""


def copy_tree(target: Path) -> None:
    """What the lanes need; the links between the packages stay links."""
    skip = shutil.ignore_patterns("__pycache__")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, symlinks=True, ignore=skip)
        else:
            shutil.copy(source, target / name)
    for path in (target / "tests").rglob("test_*.py"):
        if "lacp" not in path.name:
            path.unlink()


def insert(fault: Fault, tree: Path) -> None:
    """Make the line wrong. AssertionError when it is no longer there, or there twice."""
    path = tree / "runners/lacp" / f"{fault.file}.py"
    text = path.read_text()
    assert text.count(fault.right) == 1, f"{fault.what}: the line is {text.count(fault.right)} times in {path.name}"
    text = text.replace(fault.right, fault.wrong)
    path.write_text(text + (FORGETFUL if "now_or_never" in fault.wrong else ""))


def caught(lane: str, tree: Path) -> bool:
    """Whether this lane fails."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    try:
        outcome = subprocess.run(
            [*command, *LANES[lane].split()], cwd=tree, env=environment, capture_output=True, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return True
    assert outcome.returncode in (0, 1), outcome.stdout.decode()[-2000:]
    return outcome.returncode == 1


def main() -> int:
    numbers = [int(word) for word in sys.argv[1:]] or list(range(1, len(FAULTS) + 1))
    missed = 0
    with tempfile.TemporaryDirectory(prefix="pyteamd-mutate-") as directory:
        sound = Path(directory, "sound")
        sound.mkdir()
        copy_tree(sound)
        assert not any(caught(lane, sound) for lane in LANES), "the tests fail without a fault"
        totals = dict.fromkeys(LANES, 0)
        for number in numbers:
            fault = FAULTS[number - 1]
            tree = Path(directory, str(number))
            shutil.copytree(sound, tree, symlinks=True)
            insert(fault, tree)
            by = [lane for lane in LANES if caught(lane, tree)]
            for lane in by:
                totals[lane] += 1
            missed += not by
            print(f"{number:2} {fault.what}: {'caught by ' + ', '.join(by) if by else 'MISSED'}", flush=True)
            shutil.rmtree(tree)
    counts = ", ".join(f"{lane} {count}" for lane, count in totals.items())
    print(f"{len(numbers)} faults, {missed} missed; caught by lane: {counts}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
