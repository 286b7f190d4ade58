#!/usr/bin/env python3
"""Faults put into the LACP machines, one line each; the tests must catch every one, and it is said which lane did first.

    tests/runners/lacp/mutate.py [number…]      no number = all
    tests/runners/lacp/mutate.py --check        only whether every line is still there

Each fault goes into a copy of the tree in a temporary directory. The lanes run there one after the other until one fails: random
runs beside the reference, the unit tables, the conformance list, random networks. Exit status 0 when every fault was caught.
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
COPIED = (
    "pyteamd",
    "runners",
    "linkwatch",
    "docs",
    "tests/conftest.py",
    "tests/kit",
    "tests/runners",
    "pyproject.toml",
)
UNIT = (
    "fallback",
    "gated",
    "machines",
    "port",
    "selection",
    "runner",
    "never_stuck",
    "at_rest",
    "choice",
    "promises",
    "safety",
    "standby",
    "words",
    "snapshot",
    "quiet",
    "on_the_wire",
    "hostile",
)
LANES = {
    "reference": "tests/runners/lacp/test_lacp_reference.py",
    "unit": " ".join(f"tests/runners/lacp/test_lacp_{name}.py" for name in UNIT),
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
    # what findings of the past were: a port that waits without end, a cache without all its inputs, priority before ability
    Fault("who waits for a port that has gone waits on", "group",
          "if isinstance(one, Waiting) and one.lag in waits:\n                waits[one.lag].append((one.since, one.until))",
          "if isinstance(one, Waiting) and one.lag in waits:\n                waits[one.lag].append((one.since, one.until + 2.0))"),
    Fault("who waits for one that waits for another aggregate", "group",
          "times = {lag: ready_at(ones) for lag, ones in waits.items()}",
          "times = dict.fromkeys(waits, ready_at([one for ones in waits.values() for one in ones]))"),
    Fault("settling ends although the choice has just changed", "group",
          "if not stepped and before == (self.chosen, self._usable):", "if not stepped or before != (self.chosen, self._usable):"),
    Fault("nothing wakes a port that waits", "runner", "ready_at if ready_at > now else", "ready_at if ready_at > now + 9.0 else"),
    Fault("another priority is never said", "system",
          "news = self.said is not actor and self.said != actor",
          "news = self.said is None or self.said.state != actor.state or self.said.key != actor.key"),
    Fault("the partner means us whatever our priority", "port",
          'IDENTITY = ("system", "system_priority", "key", "port", "port_priority")',
          'IDENTITY = ("system", "system_priority", "key", "port")'),
    Fault("the partner means us whatever our key", "port",
          'IDENTITY = ("system", "system_priority", "key", "port", "port_priority")',
          'IDENTITY = ("system", "system_priority", "port", "port_priority")'),
    Fault("a partner port that moved is believed in twice", "log_lines",
          "if old is new or not old.partner_known() or not isinstance(old.receive, Disabled):", "if old:"),
    Fault("a partner port heard twice is torn from a link that is up", "log_lines",
          "if old is new or not old.partner_known() or not isinstance(old.receive, Disabled):",
          "if old is new or not old.partner_known():"),
    Fault("one in service is left for one that is not able", "choice",
          "able = [one.able_part() for one in others if one.able and one.lag not in self._disproved]\n        self._choose([used",
          "able = [one.whole for one in others if one.ready and one.lag not in self._disproved]\n        self._choose([used"),
    Fault("able is who is in sync with anyone", "group",
          "in_sync = look.in_sync - self.gated", "in_sync = {port.ifindex for port in ports if port.partner.state & 8} - self.gated"),
    Fault("one that is about to carry is left for one that is not able", "choice",
          "rivals = [one for one in (able if used.able else ready) if", "rivals = [one for one in ready if"),
    Fault("one that carries nothing never gives way", "choice", "if now >= gives_way_at:", "if now >= gives_way_at + 1e9:"),
    Fault("both ends give way at the same time", "choice",
          "return FOLLOWS_S if ours > theirs else LEADS_S", "return FOLLOWS_S"),
    Fault("one that was able and did not carry is tried again and again", "choice",
          "        if self._trial is Trial.ABLE:\n", "        if self._trial is None:\n"),
    Fault("none gets a turn where none is able", "choice",
          "gives_way_at = self._idle_since + (patience_s(used.lag) if able else self._turn_s(used.lag))",
          "gives_way_at = self._idle_since + (patience_s(used.lag) if able else 1e9)"),
    Fault("nobody wakes for giving way", "choice",
          "            self.gives_way_at = gives_way_at\n", "            self.gives_way_at = None\n"),
    Fault("an expired partner still counts", "group",
          "current = [port for port in self.ports.values() if isinstance(port.receive, Current)]",
          "current = [port for port in self.ports.values() if port.member_of(self.local)]"),
    Fault("a slower rate does not lengthen patience", "reload", "    if slower:\n", "    if slower is None:\n"),
    Fault("a slower rate shortens nothing it may not", "port",
          "self.receive = Current(max(self.receive.until, now + local.timeout_s))", "self.receive = Current(now + SHORT_TIMEOUT_S)"),
    Fault("passive beside a passive partner is no interruption", "reload",
          "return not config.active and any(", "return config.active and any("),
    Fault("a passive end falls silent without a word", "system",
          "return self.limit.free_at() if news and self.said is not None else None", "return None"),
    Fault("who never spoke has a last word", "system",
          "return self.limit.free_at() if news and self.said is not None else None", "return self.limit.free_at() if news else None"),
    Fault("a priority tag is a VLAN", "frames", "if frame.vlan:  #", "if frame.vlan is not None:  #"),
    Fault("VLANs are not looked at", "frames", "if frame.vlan:  #", "if frame.vlan == 4095:  #"),
    Fault("the first LACPDU does not say DEFAULTED", "port",
          "state |= lacpdu.EXPIRED | lacpdu.DEFAULTED if self.told is None else lacpdu.EXPIRED", "state |= lacpdu.EXPIRED"),
    Fault("a partner without identifier is another aggregate", "blocked",
          "    if not port.partner_known():\n        return Blocked(Obstacle.NO",
          "    if port is None:\n        return Blocked(Obstacle.NO"),
    Fault("a fault costs every port", "log_lines", "    for some in (named, in_hand(fault), about, due):", "    for some in ():"),
    Fault("a port in service that must not be is not noticed", "runner", "        self._group.check()\n", ""),
    Fault("a port with a fault comes back by itself", "system",
          "    if before is Link.FAULT:\n        return Link.FAULT\n", ""),
    Fault("who comes at the very moment a port is done is waited for", "selection",
          "begun = {until: bisect.bisect_left(", "begun = {until: bisect.bisect_right("),
    Fault("the aggregate that is tried is told at every turn", "choice",
          "new = IN_TURN if self.lag in self._tried else self.lag", "new = self.lag"),
    Fault("that none carries is told again and again", "choice",
          "        if lag is not None or self._told is not IN_TURN:\n            self._told = lag\n",
          "        self._told = lag\n"),
    Fault("churn is told every time", "churn", "return who not in told", "return True"),
    Fault("churn is told once for good", "churn",
          "        if actor_in_sync and partner_in_sync:\n", "        if not actor_in_sync and partner_in_sync:\n"),
    Fault("another speed does not make others look again", "runner", "                port.speed_mbps,\n", ""),
    Fault("where the mux machine stands does not make others look again", "runner", "                port.standing,\n", ""),
    # receive
    Fault("a partner that falls silent is given up at once", "machines",
          "(Current, Happening.TIMEOUT): Expired,", "(Current, Happening.TIMEOUT): Defaulted,"),
    Fault("an expired partner is never given up", "machines",
          "    (Expired, Happening.TIMEOUT): Defaulted,\n", ""),
    Fault("the partner is forgotten with the link", "port",
          "if what is Happening.MOVED:", "if what in (Happening.MOVED, Happening.LINK_DOWN):"),
    Fault("timeouts of the other rate", "system",
          "return (SHORT_TIMEOUT_S if self.fast else LONG_TIMEOUT_S) + LATE_ARRIVAL_S",
          "return (LONG_TIMEOUT_S if self.fast else SHORT_TIMEOUT_S) + LATE_ARRIVAL_S"),
    Fault("the third of three LACPDUs comes too late", "machines", "LATE_ARRIVAL_S = 0.03", "LATE_ARRIVAL_S = 0.0"),
    Fault("another partner on the link goes unnoticed", "port",
          "if self.hold_until is not None or not same_link(pdu.actor, self.partner):", "if self.hold_until is not None:"),
    Fault("a standstill of ours is the partner's silence", "port", "STALL_S = 0.5", "STALL_S = 500.0"),
    Fault("an LACPDU does not end the silence", "port", "self.receive = Current(now + local.timeout_s)", "self.receive = Current(now)"),
    # recordPDU
    Fault("the partner's SYNC counts although it means another system", "port",
          "if self.partner.state & lacpdu.AGGREGATION and not self.matched(local):", "if False:"),
    Fault("an individual partner must mean us", "port",
          "if self.partner.state & lacpdu.AGGREGATION and not self.matched(local):", "if not self.matched(local):"),
    Fault("the partner's SYNC counts after it fell silent", "port",
          "if not isinstance(self.receive, Current) or not self.partner.state & lacpdu.SYNCHRONIZATION:",
          "if isinstance(self.receive, Disabled) or not self.partner.state & lacpdu.SYNCHRONIZATION:"),
    Fault("two passive ends keep a link", "port",
          "return bool(self.partner.state & lacpdu.ACTIVITY or (local.active and told_active))", "return True"),
    Fault("the echo keeps SYNC that does not count", "port",
          "if state & lacpdu.SYNCHRONIZATION and not self.partner_sync(local):", "if not state:"),
    # transmission
    Fault("a wrong COLLECTING in the echo is answered, too", "port",
          "HEEDED_BITS = lacpdu.ACTIVITY |", "HEEDED_BITS = lacpdu.COLLECTING | lacpdu.ACTIVITY |"),
    Fault("a wrong SYNC in the echo is not answered", "port",
          "lacpdu.TIMEOUT | lacpdu.SYNCHRONIZATION | lacpdu.AGGREGATION\n", "lacpdu.TIMEOUT | lacpdu.AGGREGATION\n"),
    Fault("thirty LACPDUs a second", "system", "LACPDUS_PER_S = 3", "LACPDUS_PER_S = 30"),
    Fault("two LACPDUs a second", "system", "LACPDUS_PER_S = 3", "LACPDUS_PER_S = 2"),
    Fault("need to transmit is forgotten at the limit", "system",
          "        if news or self.ntt:\n            return self.limit.free_at()\n",
          "        if news or (self.ntt and self.limit.free_at() < 0):\n            return self.limit.free_at()\n"),
    Fault("we speak at our own rate, not at the partner's", "port",
          "short = isinstance(self.receive, Expired) or bool(self.partner.state & lacpdu.TIMEOUT)",
          "short = isinstance(self.receive, Expired) or local.fast"),
    Fault("an expired partner is not spoken to fast", "port",
          "short = isinstance(self.receive, Expired) or bool(self.partner.state & lacpdu.TIMEOUT)",
          "short = bool(self.partner.state & lacpdu.TIMEOUT)"),
    Fault("slow is slower than the partner's patience", "machines", "SLOW_PERIODIC_S = 30.0", "SLOW_PERIODIC_S = 95.0"),
    Fault("leaves without a word", "runner", "if link is not Link.UP and speaks:", "if link is Link.UP and speaks:"),
    Fault("markers without a limit", "frames", "if now < port.patience.markers.free_at():", "if now < 0:"),
    # selection and mux
    Fault("no wait_while", "machines", "AGGREGATE_WAIT_S = 2.0", "AGGREGATE_WAIT_S = 0.0"),
    Fault("everybody waits for the last comer", "selection",
          "max(until, latest[count - 1]) if count else until for", "max(until, latest[-1]) if count else until for"),
    Fault("priorities compared as text", "selection",
          "return (*member.rank, member.ifindex)",
          "return (*(ord(c) for n in member.rank for c in str(n)), member.ifindex)"),
    Fault("in service before the partner is in sync", "machines",
          "(Guard.PARTNER_SYNC, Mux.COLLECTING_DISTRIBUTING)", "(Guard.CHOSEN, Mux.COLLECTING_DISTRIBUTING)"),
    Fault("stays in service when the partner is no longer in sync", "machines",
          "return now.selection is not Selection.SELECTED or not now.partner_sync",
          "return now.selection is not Selection.SELECTED"),
    Fault("stays in service when it is no longer selected", "machines",
          "return now.selection is not Selection.SELECTED or not now.partner_sync", "return not now.partner_sync"),
    Fault("an expired port may come in", "port",
          "attached = isinstance(self.receive, Expired) and self.mux.in_sync",
          "attached = isinstance(self.receive, Expired)"),
    Fault("individual links are put together", "port",
          "alone = not partner.state & lacpdu.AGGREGATION", "alone = False"),
    Fault("sends before the partner collects", "machines",
          "(Guard.PARTNER_COLLECTING, Mux.DISTRIBUTING)", "(Guard.PARTNER_SYNC, Mux.DISTRIBUTING)"),
    Fault("goes on sending when the partner stops collecting", "machines",
          "    Mux.DISTRIBUTING: ((Guard.PARTNER_DEAF, Mux.COLLECTING),),", "    Mux.DISTRIBUTING: ((Guard.LOST, Mux.COLLECTING),),"),
    Fault("looped links form an aggregate", "port",
          "if not self.partner_known() or self.looped(local):", "if not self.partner_known():"),
    Fault("a link that is another's stays where it was", "group",
          "wrong = lag is None or (standing.state is not Mux.DETACHED and standing.lag != lag)", "wrong = lag is None"),
    Fault("an aggregate that is not in use does not stand by", "group",
          "wrong = lag is None or (standing.state is not Mux.DETACHED and standing.lag != lag)", "wrong = lag != self.chosen"),
    Fault("max_ports counts one too many", "selection",
          "best = [member.ifindex for member in ordered[:max_ports]]",
          "best = [member.ifindex for member in ordered[: max_ports and max_ports + 1]]"),
    Fault("a port that failed is used at once", "port",
          "return self.restore_at is not None and now < self.restore_at < FAILED", "return False"),
    Fault("wait_to_restore also keeps the last port out", "group",
          "return any(self._carries(other) for other in others)", "return bool(others)"),
    Fault("a port whose partner does not collect keeps another waiting", "group",
          "return any(self._carries(other) for other in others)", "return any(other.mux.distributing for other in others)"),
    Fault("a port waits to restore beside an aggregate that cannot serve", "group",
          "if any(self._carries(port) for port in current):", "if len(current) > 1:"),
    Fault("a link that flaps brings back what was given up", "choice",
          "if lag in ports and ports[lag] <= had}", "if ports.get(lag) == had}"),
    Fault("a link that comes up ends the fallback", "fallback",
          "case Expired() if port.partner_known() and not begun:", "case Expired() if port.partner_known():"),
    Fault("a successor waits for the fallback once more", "runner",
          "        self._fallback.resume(in_fallback_before(snapshot), now)\n", ""),
    Fault("takes leave as often as the team goes down", "runner", " and not port.transmitter.took_leave", ""),
    Fault("a port in its safe state says no last word", "runner", "if spoke and port.view.running:", "if False:"),
    Fault("one number for two ports", "selection", "if number and number not in used:", "if number:"),
    # the rest
    Fault("churn after ten minutes", "machines", "CHURN_DETECTION_S = 60.0", "CHURN_DETECTION_S = 600.0"),
    Fault("churn is not counted", "port", "self.counters.partner_churns += partner", "self.counters.partner_churns += False"),
    Fault("a successor begins with nothing", "membership",
          "if saved is not None and now - self._saved_at < saved.believed_for_s():", "if saved is not None and now < 0:"),
    Fault("a picture is believed however old", "membership",
          "if saved is not None and now - self._saved_at < saved.believed_for_s():", "if saved is not None:"),
    Fault("fallback beside a partner", "fallback", "            case Current():\n                return None\n", ""),
    Fault("min_ports is not looked at", "runner",
          "None if holding else len(serving) >= self._needed(self.config)", "None if holding else len(serving) >= 1"),
    # a watcher keeps a port out; what a change interrupts
    Fault("an aggregate whose ports are kept out counts as able", "group",
          "in_sync = look.in_sync - self.gated", "in_sync = look.in_sync"),
    Fault("a port that is kept out does not lend its place", "group",
          "port.ifindex in look.in_sync and port.ifindex not in self.gated", "port.ifindex in look.in_sync"),
    Fault("nobody looks again when a watcher lets a port in", "runner",
          "settle = settle or self._unsettled or gated != self._group.gated", "settle = settle or self._unsettled"),
    Fault("a carrier that a limit costs is not told", "runner",
          "self._carrier is not False and len(self._serving.intersection(ports)) < self._needed(config)", "False"),
    Fault("settings of ports never lead to another aggregate", "reload",
          "found.lost - itself or", "False or"),
    Fault("a partner that has to learn who a port is costs nothing", "group",
          "lost = self._loses(policy_name, max_ports, self.set_up_as(settings, heard=False), now) - self.renamed(settings)",
          "lost = set[int]()"),
    Fault("who still waits takes nothing over", "group", "return lost | later - lost_anyway", "return lost"),
    Fault("what comes about anyway is told of a change", "group", "return lost | later - lost_anyway", "return lost | later"),
    Fault("a port that stands by never takes a place", "group",
          "now, arrived=True)\n        return lost", "now)\n        return lost"),
    Fault("a successor that is passive says no last word", "snapshot", "    port.transmitter.said = saved.told", "    saved.told"),
    Fault("a carrier that another priority costs is not told", "runner",
          "self._too_few(config, ports.keys() - renamed)", "False"),
    Fault("who comes takes nobody's place", "reload", "if group.displaced_by(port, coming):", "if group is None:"),
    Fault("a configuration brings back what was given up", "choice",
          "        if name == self.policy_name:\n            return\n", ""),
    Fault("nothing wakes a port at the end of wait_to_restore", "port",
          "self.churn.deadline(), self.restore_at]", "self.churn.deadline()]"),
    Fault("whatever the partner says, it says the same again", "habits", "habit.heard == frame)", "habit.heard is not None)"),
    Fault("what is said again is what was said before something changed", "runner",
          "                    self._habits.forget()\n", "                    pass\n"),
    Fault("we go on saying the same however long the partner is silent", "habits",
          "self.until <= now or self.port.silent_at() <= now or (", "self.until <= now or ("),
    Fault("who speaks with another port speaks as often as that is due", "habits",
          " and habit.port.transmitter.limit.free_at() <= now:", ":"),
    Fault("another policy gives nothing a new trial", "choice",
          "        self._disproved, self._tried = {}, ()\n\n    @property", "\n    @property"),
    Fault("wait_to_restore is as long as when it began", "port",
          "self.well_since + self.view.config.wait_to_restore", "self.well_since + 100"),
)  # fmt: skip


def copy_tree(target: Path) -> None:
    """What the lanes need; the links between the packages stay links."""
    skip = shutil.ignore_patterns("__pycache__")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, symlinks=True, ignore=skip)
        else:
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copy(source, target / name)
    for path in (target / "tests").rglob("test_*.py"):
        if "lacp" not in path.name:
            path.unlink()


def insert(fault: Fault, tree: Path) -> None:
    """Make the line wrong. AssertionError when it is no longer there, or there twice."""
    path = tree / "runners/lacp" / f"{fault.file}.py"
    text = path.read_text()
    assert text.count(fault.right) == 1, f"{fault.what}: the line is {text.count(fault.right)} times in {path.name}"
    path.write_text(text.replace(fault.right, fault.wrong))


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


def first_to_catch(tree: Path) -> str:
    """The lane that fails first, "" when none does."""
    return next((lane for lane in LANES if caught(lane, tree)), "")


def main() -> int:
    if sys.argv[1:] == ["--check"]:
        return check()
    numbers = [int(word) for word in sys.argv[1:]] or list(range(1, len(FAULTS) + 1))
    totals = dict.fromkeys([*LANES, ""], 0)
    with tempfile.TemporaryDirectory(prefix="pyteamd-mutate-") as directory:
        sound = Path(directory, "sound")
        sound.mkdir()
        copy_tree(sound)
        assert not first_to_catch(sound), "the tests fail without a fault"
        for number in numbers:
            fault = FAULTS[number - 1]
            tree = Path(directory, str(number))
            shutil.copytree(sound, tree, symlinks=True)
            insert(fault, tree)
            lane = first_to_catch(tree)
            totals[lane] += 1
            print(f"{number:2} {fault.what}: {'caught by ' + lane if lane else 'MISSED'}", flush=True)
            shutil.rmtree(tree)
    missed = totals.pop("")
    counts = ", ".join(f"{lane} {count}" for lane, count in totals.items())
    print(f"{len(numbers)} faults, {missed} missed; caught first by {counts}")
    return 1 if missed else 0


def check() -> int:
    """Whether every line is still there, once; seconds instead of minutes."""
    with tempfile.TemporaryDirectory(prefix="pyteamd-mutate-") as directory:
        copy_tree(Path(directory))
        for fault in FAULTS:
            path = Path(directory, "runners/lacp", f"{fault.file}.py")
            text = path.read_text()
            insert(fault, Path(directory))
            path.write_text(text)
    print(f"{len(FAULTS)} faults, every line is there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
