#!/usr/bin/env python3
"""Run the test lanes, some parts at the same time, and end with one line that says what ran and what did not.

    tests/run.py [lane…]        no lane = all but those in brackets; lanes: [mypy], fast, lab, kernel, kernel-2, slow, oldest, newest

mypy      the types
fast      everything that needs no kernel driver, no root and under 0.25 s a test
slow      the long ones of the same kind: many seeds, whole conversations
lab       the launcher of the real-kernel lab itself
kernel    tests/kernel on a real team driver, inside the lab
kernel-2  the same on a kernel of the other kind (one switch for a port, or one for each direction), without what one kernel is enough for
oldest    the fast ones with the oldest libraries that pyproject.toml allows
newest    the fast ones on the newest Python that this machine can get

Exit status 0 when nothing failed and every lane asked for could run; with CI set in the environment a lane that cannot run here is a
failure, otherwise it is only said. A second kernel, an older library or a newer Python that cannot be had is only said.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_all
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTEST = [sys.executable, "-W", "error", "-m", "pytest", "-p", "no:cacheprovider"]
"""Byte code is kept: compiling a test module takes longer than most of its tests."""
LONG = bool(os.environ.get("PYTEAMD_LONG"))
"""Tests that have a long form run it: minutes instead of seconds, every configuration instead of one of a kind."""
SETUP = ROOT / "tests/lab/setup.sh"
LAB = [sys.executable, str(ROOT / "tests/lab/lab.py")]
PART_LIMIT_S = 7200 if LONG else 1500
"""Limit for the process that runs a part; a single test has one of its own (tests/conftest.py)."""
SLOWER = 3
"""In SLOW_WORLDS a test file takes so many times as long as the table says."""
LINGER_S = 60.0
STAYED = b"\n(its guest did not go away after the report and was ended)\n"
QUICKEST = ("host", "uml-new", "uml", "kvm", "qemu")
"""The same tests were measured to take less of the processor in uml-new than in uml; the rest is in the order of worlds.AUTO."""
SLOW_WORLDS = {"qemu": ("--counted",)}
"""Worlds that emulate everything → options for them. By a clock that counts instructions no time passes while other programs compute."""
FOR_SLOW_WORLDS = r'\bboth_kernels\b|\bkernel_kind\("{kind}"'
"""What `make test` runs there is in files with these markers; the others need no guest to be skipped."""
EXIT_NO_WORLD = 77
EXIT_TIMEOUT = 124
EXIT_NO_TESTS = 5
EXIT_INTERRUPTED, EXIT_TERMINATED = 130, 143
MOST_PROCESSES = 4
PARTS_EACH = {"kernel": 2, "kernel-2": 2}
"""Parts of these lanes for each guest that runs at the same time."""
BESIDE = ("nice", "-n", "4")
"""Put before the command of what needs no guest: it gets only the processor time that guests leave."""
TABLES = ("tests/durations.json", "build/durations.json")
"""Seconds of each test file by lane: as kept with the tests, and as measured here. Large ones are enough: the others count as SMALL_S."""
SMALL_S = 0.5
MOST_LINES, LONGEST_LINE = 25, 400
"""Of a failure, told again at the end."""
IN = ", in "
"""Text between the name of a part without a report and that of the test that ran at its end."""
DOTS = re.compile(r"[.sxFE]+ *\[ *\d+%\]\n")
PRINTING = threading.Lock()
STOPPED = threading.Event()
"""Set when a user stops the run: what runs is ended, and nothing more is begun."""
REAL_TIME = ("kernel", "kernel-2", "lab")
KERNELS = ("kernel", "kernel-2")
OPTIONAL = ("kernel-2", "oldest", "newest")
IN_BRACKETS = ("mypy",)
NOT_REPEATED = ("mypy",)
TREES = {"oldest": ".venv-oldest", "newest": ".venv-newest"}
"""Lanes with a virtual environment of their own, made by setup.sh."""
IN_WHOLE_DEBIANS = ("test_deb_system.py", "test_deb_trees.py", "test_systemd.py")
RUNS_IN_A_ROW = 3
"""A test that passes only when it is run again so many times in a row is a failure."""
MEMORY = ROOT / "build/repeated.json"
REPEATS = 2
MOST_REPEATS, MOST_LOST = 20, 2
"""Only so many failures, and so many parts without a report, are run again: more of them are no accident."""
LANES = {
    "mypy": "",
    "fast": "not slow and not kernel and not lab",
    "lab": "lab",
    "kernel": "kernel",
    "kernel-2": "kernel",
    "slow": "slow and not kernel and not lab",
    "oldest": "not slow and not kernel and not lab",
    "newest": "not slow and not kernel and not lab",
}


Words = tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """Test files, or single tests, of one lane that one process runs; for the kernel lane: one guest.

    `waits`: none of it runs in this world in `make test`; it is only counted, without a guest.
    """

    lane: str
    title: str
    files: list[str]
    waits: bool = False


@dataclass
class Outcome:
    """Counts of one lane."""

    lane: str
    status: int = 0
    """The exit status, of one part."""
    seconds: float = 0.0
    """Seconds of all parts together, also where they ran at the same time."""
    cpu_s: float = 0.0
    """Seconds of processor, guests included: they count where the machine has other work."""
    passed: int = 0
    skipped: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Why tests were skipped, and how many for this."""
    failures: list[str] = field(default_factory=list)
    """Node ids of the tests that failed."""
    texts: dict[str, str] = field(default_factory=dict)
    """What failed tests said, in short; also those that passed when they were run again."""
    files: Counter[str] = field(default_factory=Counter)
    """Milliseconds of each test file."""
    repeated: list[str] = field(default_factory=list)
    """Names of tests that passed only when they were run again, alone."""
    lost: list[Part] = field(default_factory=list)
    """Parts that failed and did not say which test: out of time, killed, not collected."""
    no_world: bool = False
    """There was no kernel to run them on."""
    why: str = ""
    """Why there was none."""
    where: str = ""
    """The kernel they ran on."""
    too_often: list[str] = field(default_factory=list)
    """Tests that needed a repetition, as in the runs before."""
    hung: str = ""
    """The test that ran when the process was ended."""

    def add(self, part: Part, done: Outcome) -> None:
        """Count a part."""
        self.no_world = self.no_world or done.status == EXIT_NO_WORLD
        if done.status and not done.failures:
            self.lost.append(replace(part, title=f"{part.title}{f'{IN}{done.hung}' if done.hung else ''}"))
        self.reasons += done.reasons
        self.failures += done.failures
        self.texts |= done.texts
        self.files += done.files
        self.seconds += done.seconds
        self.cpu_s += done.cpu_s
        self.passed += done.passed
        self.skipped += done.skipped

    def well(self) -> bool:
        """Nothing failed, and nothing is missing."""
        return not self.failures and not self.lost and not self.too_often


@dataclass(frozen=True)
class Kernel:
    """What a kernel lane runs on; `world` is "" where there is none, `words` says which, or why not."""

    kind: str
    world: str
    words: str


def kernels() -> dict[str, Kernel]:
    """Which kernel each of the two lanes runs on: the first, which runs everything, is the quicker one."""
    told = subprocess.run([*LAB, "kinds"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    found = [Kernel(*line.split("\t")) for line in told.splitlines()]
    found.sort(key=lambda kernel: (not kernel.world, QUICKEST.index(kernel.world) if kernel.world else 0))
    return dict(zip(KERNELS, found, strict=False))


def run_lanes(lanes: list[str]) -> list[Outcome]:
    """Run the parts of all lanes, some at the same time, and count what their reports say."""
    STOPPED.clear()
    outcomes = {lane: Outcome(lane) for lane in lanes}
    look_ahead({lane: outcome for lane, outcome in outcomes.items() if lane not in TREES})
    parts = longest_first([part for lane in lanes if lane not in TREES for part in parts_of(lane, outcomes)])
    wait = [part for part in parts if waits_for_a_tree(part)]
    guests = deque(part for part in parts if part.lane in REAL_TIME and part not in wait)
    plain = deque(part for part in parts if part.lane not in REAL_TIME)
    most, beside = processes(), BESIDE if guests else ()
    with ThreadPoolExecutor(most + 2) as pool:
        try:  # from here on something runs that has to be ended
            late = pool.submit(make_ready, outcomes, wait, guests, plain)
            workers = [pool.submit(work, (guests, plain), late, beside) for _ in range(most)]
            if guests:  # one more, for what needs none
                workers.append(pool.submit(work, (plain, guests), late, beside))
            late.result()
            pairs = [pair for worker in workers for pair in worker.result()]
        except BaseException:
            STOPPED.set()
            raise
        for part, done in sorted(pairs, key=lambda pair: pair[0].title):
            outcomes[part.lane].add(part, done)
    for lane in outcomes:
        if lane not in NOT_REPEATED and not outcomes[lane].no_world:
            repeat(outcomes[lane])
    remember(outcomes)
    measured(outcomes)
    return list(outcomes.values())


def waits_for_a_tree(part: Part) -> bool:
    """Whether it is told in a whole Debian, which the first run has to make."""
    return part.lane == "lab" and any(Path(file).name in IN_WHOLE_DEBIANS for file in part.files)


def make_ready(outcomes: dict[str, Outcome], wait: list[Part], guests: deque[Part], plain: deque[Part]) -> None:
    """Make the trees that some parts need, beside the others, and put these parts into the queues: the long ones of guests in front."""
    if wait:
        set_up("nm")
        guests.extendleft(reversed(wait))
    for lane in TREES:
        if lane in outcomes:
            set_up(lane)
            look_ahead({lane: outcomes[lane]})
            plain.extend(longest_first(parts_of(lane, outcomes)))


def work(queues: tuple[deque[Part], ...], late: Future[None], beside: Words) -> list[tuple[Part, Outcome]]:
    """Run the parts of these queues, those of the first before others, until there are none left and none to come."""
    done = []
    while True:
        last = late.done()
        part = next(filter(None, map(next_of, queues)), None)
        if part:
            done.append((part, run_part(part, beside)))
        elif last:
            late.result()  # a fault of it is no end like another
            return done
        else:
            wait_for_all((late,))


def next_of(parts: deque[Part]) -> Part | None:
    """Take the next part; None when none is left, or a user stopped the run."""
    try:
        return None if STOPPED.is_set() else parts.popleft()
    except IndexError:
        return None


def durations() -> dict[str, dict[str, float]]:
    """Seconds of each test file by lane."""
    tables: dict[str, dict[str, float]] = {}
    for name in TABLES:
        with contextlib.suppress(OSError, ValueError):
            for lane, files in json.loads((ROOT / name).read_text()).items():
                tables[lane] = tables.get(lane, {}) | files
    return tables


def longest_first(parts: list[Part]) -> list[Part]:
    """The longest parts come first, so that no part runs alone at the end for long."""
    known = durations()

    def lasts(part: Part) -> float:
        return sum(known.get(part.lane, {}).get(file, SMALL_S) for file in part.files) * (
            SLOWER if is_slow(part.lane) else 1
        )

    return sorted(parts, key=lambda part: -lasts(part))


def is_slow(lane: str) -> bool:
    """Whether it runs where everything is emulated."""
    return lane in PLACES and PLACES[lane].world in SLOW_WORLDS


def limit_s(lane: str) -> int:
    """Of a process that runs a part of it."""
    return PART_LIMIT_S * (SLOWER if is_slow(lane) else 1)


def dealt(lane: str, files: list[str], number: int) -> list[list[str]]:
    """The files in so many parts of about the same length."""
    known = durations().get("fast" if lane in TREES else lane, {})
    parts: list[list[str]] = [[] for _ in range(number)]
    lengths = [0.0] * number
    for file in sorted(files, key=lambda file: -known.get(file, SMALL_S)):
        shortest = lengths.index(min(lengths))
        parts[shortest].append(file)
        lengths[shortest] += known.get(file, SMALL_S)
    return [part for part in parts if part]


def measured(outcomes: dict[str, Outcome]) -> None:
    """Keep how long the files took, for the next run."""
    known = durations()
    for outcome in outcomes.values():
        files = {name: round(milliseconds / 1000, 1) for name, milliseconds in outcome.files.items()}
        if files and outcome.lane not in TREES:
            known[outcome.lane] = known.get(outcome.lane, {}) | files
    with contextlib.suppress(OSError):
        (ROOT / TABLES[-1]).parent.mkdir(exist_ok=True)
        (ROOT / TABLES[-1]).write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def set_up(part: str) -> None:
    """Let setup.sh make something; what it cannot make is told when what needs it does not run. When we are to end, all it started ends."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [SETUP, part],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        while process.poll() is None:
            if STOPPED.wait(0.1):
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
        output.seek(0)
        with PRINTING:
            print(output.read(), end="", flush=True)


def look_ahead(outcomes: dict[str, Outcome]) -> None:
    """Find out what cannot run here, and on which kernel the rest does."""
    if any(lane in KERNELS for lane in outcomes):
        PLACES.update(kernels())
    for lane, outcome in outcomes.items():
        kernel = PLACES.get(lane)
        if kernel:
            outcome.where = f"{kernel.words}, {kernel.kind}, {kernel.world}"
            outcome.no_world, outcome.why = not kernel.world, kernel.words
        if lane in TREES and not (ROOT / TREES[lane] / "bin/python").exists():
            outcome.no_world, outcome.why = True, f"tests/lab/setup.sh {lane} makes what it needs"


PLACES: dict[str, Kernel] = {}
"""What the kernel lanes run on."""


def remember(outcomes: dict[str, Outcome]) -> None:
    """Count in how many runs in a row a test passed only when it was run again."""
    try:
        before: dict[str, int] = json.loads(MEMORY.read_text())
    except (OSError, ValueError):
        before = {}
    for outcome in outcomes.values():
        if outcome.lane in NOT_REPEATED or outcome.no_world:
            continue
        names = {f"{outcome.lane} {name}" for name in outcome.repeated}
        others = {key: count for key, count in before.items() if key.split()[0] != outcome.lane}
        before = others | {name: before.get(name, 0) + 1 for name in names}
        outcome.too_often = sorted(name.partition(" ")[2] for name in names if before[name] >= RUNS_IN_A_ROW)
    with contextlib.suppress(OSError):
        MEMORY.parent.mkdir(exist_ok=True)
        MEMORY.write_text(json.dumps(before, indent=1, sort_keys=True) + "\n")


def repeat(outcome: Outcome) -> None:
    """Run again, alone, what failed beside others: the real kernel is a real-time world, and this machine has other masters too.

    Twice at most, and the last line names it. A part that ended without a report is run again as a whole, and named.
    """
    lost, outcome.lost = outcome.lost, []
    for part in lost[:MOST_LOST]:
        lost_again = len(outcome.lost)
        outcome.add(part, run_part(replace(part, title=f"{part.title}, again and alone")))
        name = part.title.rpartition(IN)[2]  # the test that hung, if one did
        if len(outcome.lost) == lost_again and name not in outcome.failures:
            outcome.repeated.append(name)
    outcome.lost += lost[MOST_LOST:]
    failures, outcome.failures = outcome.failures, []
    for number, name in enumerate(failures):
        for attempt in range(REPEATS if number < MOST_REPEATS else 0):
            again = run_part(Part(outcome.lane, f"{outcome.lane}, again and alone, {attempt + 1}: {name}", [name]))
            outcome.seconds += again.seconds
            outcome.cpu_s += again.cpu_s
            outcome.texts |= again.texts
            if again.status == 0 and again.passed:
                outcome.passed += again.passed
                outcome.repeated.append(name)
                break
        else:
            outcome.failures.append(name)


def run_part(part: Part, beside: Words = ()) -> Outcome:
    """Run one part, print what it said, count. `beside` stands before the command of what needs no guest."""
    outcome = Outcome(part.lane)
    with tempfile.TemporaryDirectory(prefix="pyteamd-tests-") as name:
        began = time.monotonic()
        running = Path(name) / "running"
        command = command_for(part, Path(name))
        if part.lane not in REAL_TIME:
            command = [*beside, *command]
        output, status, outcome.cpu_s = supervised(
            command, {**os.environ, "PYTEAMD_RUNNING": str(running)}, Path(name) / "report.xml", limit_s(part.lane)
        )
        outcome.seconds = time.monotonic() - began
        outcome.status = 0 if status == EXIT_NO_TESTS else status
        outcome.hung = running.read_text() if running.exists() else ""
        for report in sorted(Path(name).rglob("report.xml")):
            count(outcome, ElementTree.parse(report))
    took = f"{outcome.seconds:.0f} s, {outcome.cpu_s:.0f} s of processor"
    said = f"== {part.title}: {took}\n{DOTS.sub('', output.decode(errors='replace'))}"
    with PRINTING:
        print(said, flush=True)
    return outcome


def supervised(command: list[str], env: dict[str, str], report: Path, most_s: int) -> tuple[bytes, int, float]:
    """Output, exit status and seconds of processor of a process, which has a limit; one that is ended at the limit ends its guest.

    A guest that does not go away once the report is there is ended earlier; what the report says counts then.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=env
        )
        end_s, ended, stays, pid = time.monotonic() + most_s + 60, False, False, 0
        try:
            while not pid:
                time.sleep(0.1)
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                if not ended and not pid and (time.monotonic() > end_s or STOPPED.is_set()):
                    ended = True
                    process.terminate()
                if not pid and not stays and report.exists() and time.time() - report.stat().st_mtime > LINGER_S:
                    stays = True
                    process.terminate()
        except BaseException:  # we are asked to end
            process.terminate()
            process.wait()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read() + STAYED * stays
        return said, 0 if stays else process.returncode or ended * EXIT_TIMEOUT, usage.ru_utime + usage.ru_stime


def processes() -> int:
    """How many guests run at the same time: two more than processors, since a guest waits for two thirds of its time."""
    return min((os.cpu_count() or 1) + 2, MOST_PROCESSES)


def parts_of(lane: str, outcomes: dict[str, Outcome]) -> list[Part]:
    """The test files of a lane in parts, none where it cannot run. Where they are long, more than processors: none waits for the last."""
    if outcomes[lane].no_world:
        return []
    if lane == "mypy":
        return [Part(lane, lane, [])]
    places = ("tests/kernel",) if lane in KERNELS else ("tests/lab", "tests/bench") if lane == "lab" else ("tests",)
    paths = [path for place in places for path in (ROOT / place).rglob("test_*.py")]
    files = sorted(str(path.relative_to(ROOT)) for path in paths)
    most = len(files) if lane == "lab" else processes() * PARTS_EACH[lane] if lane in KERNELS else processes() - 1
    waiting: list[Part] = []
    if how_much(lane) == "few":
        markers = re.compile(FOR_SLOW_WORLDS.format(kind=PLACES[lane].kind))
        shown = [file for file in files if markers.search((ROOT / file).read_text())]
        waiting = [Part(lane, f"{lane}, what waits for make long", sorted({*files} - {*shown}), waits=True)]
        files, most = shown, processes()
    parts = dealt(lane, files, most)
    return [part for part in waiting if part.files] + [
        Part(lane, f"{lane}, part {number} of {len(parts)}", part) for number, part in enumerate(parts, start=1)
    ]


def how_much(lane: str) -> str:
    """What tests/kernel/conftest.py leaves of a kernel lane: `all`, `second` or `few`."""
    place = PLACES.get(lane)
    if LONG or place is None:
        return "all"
    return "few" if is_slow(lane) else "all" if lane == KERNELS[0] else "second"


def command_for(part: Part, directory: Path) -> list[str]:
    """The command that runs its files and leaves report.xml in the directory."""
    lane = part.lane
    inner = [*PYTEST, "-m", LANES[lane], "--durations=5", *part.files]
    if lane == "mypy":
        return [sys.executable, "-m", "mypy", f"--junit-xml={directory}/report.xml"]
    if lane in TREES:
        inner[0] = str(ROOT / TREES[lane] / "bin/python")
    if part.waits:
        inner = ["env", "PYTEAMD_KERNEL=none", f"LAB_KIND={PLACES[lane].kind}", *inner]
    if part.waits or lane not in KERNELS:
        return [*inner, f"--junitxml={directory}/report.xml"]
    shell = " ".join(quote(word) for word in [*inner, "--junitxml=$LAB_OUT/report.xml"])
    place, part_of = PLACES[lane], how_much(lane)
    env = [f"PYTEAMD_KERNEL={part_of}", "PYTEAMD_RUNNING=/run/lab/out/running", *(["PYTEAMD_LONG=1"] if LONG else [])]
    limits = ["--timeout", str(limit_s(lane)), "--world", place.world, *SLOW_WORLDS.get(place.world, ())]
    words = [word for assignment in env for word in ("--env", assignment)]
    return [*LAB, "run", *limits, *words, "--out", str(directory), "--", "sh", "-c", shell]


def quote(word: str) -> str:
    """Shell quoting that leaves $LAB_OUT to the shell in the lab."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`") + '"'


def count(outcome: Outcome, report: ElementTree.ElementTree[ElementTree.Element | None]) -> None:
    """Counts and reasons from a JUnit report."""
    for case in report.iter("testcase"):
        file = f"{case.get('classname', '').replace('.', '/')}.py"
        outcome.files[file] += int(1000 * float(case.get("time", 0)))
        skipped = case.find("skipped")
        wrong = case.find("failure") if case.find("error") is None else case.find("error")
        if skipped is not None:
            outcome.skipped += 1
            outcome.reasons[skipped.get("message", "no reason given")] += 1
        elif wrong is not None:
            outcome.failures.append(f"{file}::{case.get('name')}")
            outcome.texts[outcome.failures[-1]] = in_short(wrong.text or "")
        else:
            outcome.passed += 1


def in_short(text: str) -> str:
    """Of a failure, the lines that pytest marks as its explanation, and the place; where there are none, the end of its text."""
    lines = text.splitlines()
    marked = [line for line in lines if line.startswith("E  ")] or lines[-5:]
    if len(marked) > MOST_LINES:
        marked = [*marked[: MOST_LINES - 6], "  […]", *marked[-5:]]
    places = [line for line in lines if re.match(r"\S+\.py:\d+: ", line)]
    return "\n".join(line[:LONGEST_LINE] for line in (*marked, *places[-2:]))


def told_again(outcomes: list[Outcome]) -> str:
    """What each test said that failed, also where it passed later: of a long run only the end may be at hand."""
    said = []
    for outcome in outcomes:
        for name, text in outcome.texts.items():
            later = ", passed when it was run again" if name in outcome.repeated else ""
            said.append(f"-- {outcome.lane}: {name}{later}\n{text}\n")
    return "".join(["== what failed, in short\n", *said]) if said else ""


def summary(outcomes: list[Outcome]) -> tuple[str, bool]:
    """The last lines, and whether all is well."""
    well = True
    parts = []
    for outcome in outcomes:
        if outcome.no_world:
            well = well and (not os.environ.get("CI") or outcome.lane in OPTIONAL)
            why = outcome.why or "no kernel with the team driver to be had here, see above"
            parts.append(f"{outcome.lane} NOT RUN ({why})")
            continue
        well = well and outcome.well()
        text = f"{outcome.lane}{f' ({outcome.where})' if outcome.where else ''} {outcome.passed} passed in {outcome.seconds:.0f} s"
        text += f" ({outcome.cpu_s:.0f} s of processor)" if outcome.cpu_s else ""
        text += f", FAILED: {', '.join(outcome.failures)}" if outcome.failures else ""
        text += f" (only when run again, alone: {', '.join(outcome.repeated)})" if outcome.repeated else ""
        often = ", ".join(outcome.too_often)
        text += f", FAILED, FOR THE {RUNS_IN_A_ROW}RD TIME IN A ROW ONLY WHEN RUN AGAIN: {often}" if often else ""
        text += f", ENDED WITHOUT A REPORT: {'; '.join(part.title for part in outcome.lost)}" if outcome.lost else ""
        reasons = "; ".join(f"{count} {reason}" for reason, count in sorted(outcome.reasons.items()))
        text += f", {outcome.skipped} skipped ({reasons})" if outcome.skipped else ""
        parts.append(text)
    passed, skipped = (sum(getattr(outcome, key) for outcome in outcomes) for key in ("passed", "skipped"))
    failed = sum(len(outcome.failures) + len(outcome.too_often) for outcome in outcomes) or int(not well)
    return f"{passed} passed, {failed} failed, {skipped} skipped\nran: {' · '.join(parts)}", well


def main() -> int:
    lanes = sys.argv[1:] or [lane for lane in LANES if lane not in IN_BRACKETS]
    unknown = [lane for lane in lanes if lane not in LANES]
    if unknown:
        print(f"no lane {unknown[0]!r}; there are: {', '.join(LANES)}", file=sys.stderr)
        return 2
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))
    try:
        outcomes = run_lanes(lanes)
    except KeyboardInterrupt:
        print("interrupted: what ran was ended, its guests too", file=sys.stderr)
        return EXIT_INTERRUPTED
    print(told_again(outcomes), end="")
    text, well = summary(outcomes)
    if not LONG and {"slow", *KERNELS} & set(lanes):
        text += " · more seeds, configurations and longer forms: make long"
    print(f"{text} · {time.monotonic() - began:.0f} s in all")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
