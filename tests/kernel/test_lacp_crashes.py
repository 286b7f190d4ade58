"""LACP on the real driver: killed with SIGKILL under load and started again. The partner is kernel bonding at fast rate.

In a guest of user-mode Linux the ordinary command, `pyteamd -d -o`, needs two seconds until it is ready, several times as long as natively,
nearly all of it for the import of modules. So the hundred kills have successors that have their modules already and start at a word. With
PYTEAMD_LONG=1 in the environment it is a hundred of them, else a few; and then five hundred with the ordinary command beside a partner at
slow rate, which is patient for 90 s, a hundred beside one at fast rate, of which only those count that it bore with, C teamd, and the
longest pause that a partner bears follow.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread

import pytest
from lab_kit import PYTEAMD, Bench, Stream, bench, daemon, dump, wait_for
from lacp_kit import LONG, SHORT, config
from lacp_peers import Bond, bond, both_in_service, is_slow
from wire_kit import Ear, Writes

pytestmark = pytest.mark.kernel

IN_SERVICE = 0x3F
SERIES = 10 if LONG else 4
"""Kills in one series: one steady stream, one witness."""
KILLS = 100 if LONG else SERIES
KILLS_EACH = 50
"""Of the ordinary command, in one round."""
SLOW_ROUNDS, FAST_ROUNDS = 10, 2
SLOW_SERIES = 10
LIMIT_S = 1.0
"""A series in which a successor took longer to be ready does not count."""
PATIENCE_S, SLOW_PATIENCE_S = 3.0, 90.0
"""Of a partner at fast rate, and at slow rate."""
TICK_S = 0.1
"""Kernel bonding looks at its timers so often."""
RECOVERY_S = 60.0
BUSY_LOOPS, URGENT = 4, -20
BUSY_S = 30.0 if LONG else 4.0
ABOVE_THE_DAEMON = 3
"""Real-time priority of what looks on: on a guest's single processor an ordinary process would not come to its turn."""
LATE_S = 0.6
"""How much too late it may be, where the machine is busy; three ticks were seen."""


class Witness(Thread):
    """Looks at the bond's ports all the time, and hears our LACPDUs on the wire."""

    def __init__(self, on: Bench, partner: Bond) -> None:
        super().__init__()
        self.partner = partner
        self.states: set[int] = set()
        self.heard: dict[str, list[float]] = {link: [] for link in partner.links}
        self._ears = {link: Ear(on.switch, link, outgoing=False) for link in partner.links}
        self._ended = Event()
        self._began_s = time.monotonic()

    def run(self) -> None:
        while not self._ended.wait(0.03):
            self.states |= self.partner.states()
            for link, ear in self._ears.items():
                self.heard[link] += [heard.at_s for heard in ear.hear() if is_slow(heard)]

    def longest_silence(self) -> float:
        """On one link, without an LACPDU of ours."""
        whole = [(self._began_s, *moments, time.monotonic()) for moments in self.heard.values()]
        return max(later - earlier for moments in whole for earlier, later in pairwise(moments))

    @contextmanager
    def watching(self) -> Iterator[Witness]:
        """While the block runs."""
        self.start()
        try:
            yield self
        finally:
            self._ended.set()
            self.join()
            for ear in self._ears.values():
                ear.close()


@dataclass
class Found:
    """What was seen of kills and restarts."""

    kills: int = 0
    sent: int = 0
    lost: int = 0
    states: set[int] = field(default_factory=set)
    restarts_s: list[float] = field(default_factory=list)
    """From the signal until the successor said that it is ready."""
    silences_s: list[float] = field(default_factory=list)
    """Longest one of each series."""
    writes: Counter[str] = field(default_factory=Counter)
    """What was asked of the kernel meanwhile."""

    def __iadd__(self, other: Found) -> Found:
        self.kills += other.kills
        self.sent += other.sent
        self.lost += other.lost
        self.states |= other.states
        self.restarts_s += other.restarts_s
        self.silences_s += other.silences_s
        self.writes += other.writes
        return self

    def __str__(self) -> str:
        times = sorted(self.restarts_s)
        return (
            f"{self.kills} kills, ready again after {times[len(times) // 2]:.2f} s (median), {times[-1]:.2f} s (at most), "
            f"within 1 s {sum(one <= 1.0 for one in times)} times; "
            f"{self.lost} of {self.sent} packets lost, longest silence {max(self.silences_s):.2f} s, "
            f"states of the partner {sorted(map(hex, self.states))}, writes {dict(self.writes)}"
        )


class Ordinary:
    """Restarts by the ordinary command."""

    def __init__(self, on: Bench, program: str = PYTEAMD, text: str = "") -> None:
        self._on, self._program, self._text = on, program, text or config()

    def prepare(self) -> None:
        """Before the kill."""

    def start(self) -> None:
        """After the kill; returns when the successor is ready."""
        result = self._on.on_host(f"{self._program} -d -o -t team0 -c '{self._text}'")
        assert result.status == 0, result

    def close(self) -> None:
        """No more."""


class ReadyMade(Ordinary):
    """Restarts by a process that has loaded its modules already and starts at a word."""

    CODE = (
        "import sys, pyteamd.cli.pyteamd.run; from pyteamd.cli.pyteamd.main import main; "
        "print('ready', flush=True); sys.stdin.readline(); sys.exit(main())"
    )

    def __init__(self, on: Bench, urgency: int = 0) -> None:
        super().__init__(on)
        self._urgency = urgency
        """As `nice` has it: the lower the more urgent, until it has asked for real-time scheduling."""
        self._processes: list[subprocess.Popen[str]] = []

    def prepare(self) -> None:
        words = [
            "nice",
            "-n",
            str(self._urgency),
            "ip",
            "netns",
            "exec",
            self._on.host,
            sys.executable,
            "-B",
            "-c",
            self.CODE,
            "-g",
            "-o",
            "-t",
            "team0",
        ]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process = subprocess.Popen([*words, "-c", config()], text=True, **pipes)  # type: ignore[call-overload]
        self._processes.append(process)
        assert process.stdout.readline() == "ready\n"

    def start(self) -> None:
        *dead, successor = self._processes
        for one in dead:
            one.communicate()
        self._processes = [successor]
        assert successor.stdin is not None
        assert successor.stdout is not None
        successor.stdin.write("\n")
        successor.stdin.flush()
        said = []
        while not said or "successfully started" not in said[-1]:
            said.append(successor.stdout.readline())
            assert said[-1], "".join(said)

    def close(self) -> None:
        for process in self._processes:
            process.communicate(timeout=10)


def kill() -> float:
    """SIGKILL; the moment."""
    began = time.monotonic()
    os.kill(int(Path("/run/teamd/team0.pid").read_text()), 9)
    return began


def series(on: Bench, partner: Bond, restart: Ordinary, kills: int, chance: random.Random) -> Found:
    """Kill and restart, at random instants, while a stream goes through the team."""
    writes = Writes(on.host, f"nlmon{chance.randrange(1 << 20)}")
    found = Found(kills=kills)
    with Witness(on, partner).watching() as witness, Stream(on, "192.0.2.1") as stream:
        for _ in range(kills):
            restart.prepare()
            time.sleep(1.2 + chance.uniform(0.0, 1.0))
            began = kill()
            restart.start()
            found.restarts_s.append(time.monotonic() - began)
        time.sleep(1.5)
    found.sent, found.lost, found.states = stream.sent, stream.lost, witness.states
    found.silences_s.append(witness.longest_silence())
    found.writes.update(writes.seen())
    writes.close()
    return found


@contextmanager
def under_load(program: str, rate: str = "fast") -> Iterator[tuple[Bench, Bond]]:
    """A team in service, with an address, and its partner; both ends are as patient as the rate says."""
    with bench() as on, bond(on, rate) as partner, daemon(program, on, config(fast_rate=rate == "fast")):
        assert isinstance(partner, Bond)
        on.on_host("ip addr add 192.0.2.2/24 dev team0 && ip link set team0 up")
        settle(on, partner)
        yield on, partner


def settle(on: Bench, partner: Bond) -> None:
    """Until both ends use both links."""
    wait_for(lambda: both_in_service(on, partner), 15.0)
    wait_for(lambda: on.on_host("ping -q -c 1 -W 1 192.0.2.1").status == 0, 10.0)


@contextmanager
def busy() -> Iterator[None]:
    """Programs that never wait, as urgent as an ordinary program can be."""
    program = ["nice", "-n", str(URGENT), sys.executable, "-S", "-c", "while True: pass"]
    with ExitStack() as stack:
        for _ in range(BUSY_LOOPS):
            stack.callback(end_at_once, subprocess.Popen(program))
        yield


def end_at_once(process: subprocess.Popen[bytes]) -> None:
    """And wait for it."""
    process.kill()
    process.wait()


@contextmanager
def real_time() -> Iterator[None]:
    """This process and what it starts come before the daemon."""
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(ABOVE_THE_DAEMON))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def test_no_port_leaves_service_among_busy_loops() -> None:
    """Nor when the daemon is killed there: its successor begins with a fifth of the processor, as a unit of systemd has a share."""
    with ExitStack() as last, under_load(PYTEAMD) as (on, partner):
        restart = ReadyMade(on, URGENT)
        last.callback(restart.close)
        restart.prepare()
        with busy(), real_time():
            with Witness(on, partner).watching() as before, Stream(on, "192.0.2.1") as stream:
                time.sleep(BUSY_S)
            heard = [len(moments) for moments in before.heard.values()]
            with Witness(on, partner).watching() as after, Stream(on, "192.0.2.1") as later:
                began = kill()
                restart.start()
                ready_s = time.monotonic() - began
                time.sleep(2.0)
    for name, witness, pings in (("undisturbed", before, stream), ("killed", after, later)):
        states = sorted(map(hex, witness.states))
        print(
            f"{BUSY_LOOPS} busy loops, {name}: {pings.lost} of {pings.sent} lost, silent for {witness.longest_silence():.2f} s, {states}"
        )
    assert min(heard) >= BUSY_S - 1, heard
    assert (before.states, stream.lost) == ({IN_SERVICE}, 0)
    if ready_s > LIMIT_S:
        pytest.skip(f"this machine restarted the daemon in {ready_s:.1f} s only")
    assert (after.states, later.lost) == ({IN_SERVICE}, 0)


def test_a_hundred_kills_are_seen_by_nobody() -> None:
    """A series in which this machine was once too slow does not count; as many as are asked for must."""
    chance = random.Random(5)
    total, late = Found(), Found()
    with under_load(PYTEAMD) as (on, partner):
        restart = ReadyMade(on)
        for _ in range(2 * KILLS // SERIES):
            settle(on, partner)
            found = series(on, partner, restart, SERIES, chance)
            if max(found.restarts_s) <= LIMIT_S:
                total += found
            else:
                late += found
            if total.kills == KILLS:
                break
    restart.close()
    for name, some in (("pyteamd", total), (f"pyteamd, series with a restart of more than {LIMIT_S} s", late)):
        if some.kills:
            print(f"{name}: {some}")
    if total.kills < KILLS:
        pytest.skip(f"this machine restarted the daemon in time only {total.kills} times of {total.kills + late.kills}")
    assert total.states == {IN_SERVICE}
    assert total.lost == 0
    assert total.writes == Counter(), "nothing is asked of the kernel"
    assert max(total.silences_s) < PATIENCE_S


@pytest.mark.skipif(not LONG, reason="minutes; PYTEAMD_LONG=1")
@pytest.mark.parametrize("round_", range(SLOW_ROUNDS))
def test_the_ordinary_command_beside_a_patient_partner(round_: int) -> None:
    """Slow as a start is in a guest, a partner at slow rate bears with it: every kill counts."""
    chance, total = random.Random(100 + round_), Found()
    with under_load(PYTEAMD, "slow") as (on, partner):
        while total.kills < KILLS_EACH:
            settle(on, partner)
            total += series(on, partner, Ordinary(on, text=config(fast_rate=False)), SLOW_SERIES, chance)
            assert total.writes == Counter(), (str(total), dump("History"))
    print(f"pyteamd -d -o, partner at slow rate: {total}")
    assert max(total.silences_s) < SLOW_PATIENCE_S
    assert total.states == {IN_SERVICE & ~SHORT}, total.states
    assert total.lost == 0
    assert total.writes == Counter()


@pytest.mark.skipif(not LONG, reason="minutes; PYTEAMD_LONG=1")
@pytest.mark.parametrize("round_", range(FAST_ROUNDS))
def test_the_ordinary_command(round_: int) -> None:
    """Slow as it is in a guest: what counts is whether the partner had to wait for longer than it is patient."""
    chance, total, late = random.Random(round_), Found(), Found()
    with under_load(PYTEAMD) as (on, partner):
        while total.kills < KILLS_EACH and late.kills < KILLS_EACH:
            settle(on, partner)
            found = series(on, partner, Ordinary(on), 1, chance)
            if found.silences_s[0] < PATIENCE_S - TICK_S:
                total += found
            else:
                late += found
    for name, some in (("in time", total), ("too late", late)):
        if some.kills:
            print(f"pyteamd -d -o, partner at fast rate, {name}: {some}")
    assert total.states <= {IN_SERVICE}
    assert total.lost == 0
    assert total.writes == Counter()
    if total.kills < KILLS_EACH:
        pytest.skip(f"this machine restarted the daemon in time only {total.kills} times of {total.kills + late.kills}")


@pytest.mark.skipif(not LONG, reason="minutes; PYTEAMD_LONG=1")
def test_c_teamd_beside_it() -> None:
    """No demand on C teamd, only its figure, under the same stream; a fresh team for each kill, as it does not always recover."""
    chance, found, outages = random.Random(5), Found(), []
    for _ in range(KILLS // 20):
        with under_load("teamd") as (on, partner):
            restart = Ordinary(on, "teamd")
            with Witness(on, partner).watching() as witness, Stream(on, "192.0.2.1") as stream:
                time.sleep(1.2 + chance.uniform(0.0, 1.0))
                began = kill()
                restart.start()
                found.restarts_s.append(time.monotonic() - began)
                time.sleep(1.5)
                while not (both_in_service(on, partner) or time.monotonic() > began + RECOVERY_S):
                    time.sleep(0.1)
                outages.append(f"{time.monotonic() - began:.0f} s" if both_in_service(on, partner) else "never")
            found += Found(1, stream.sent, stream.lost, witness.states, silences_s=[witness.longest_silence()])
    print(
        f"C teamd: {found}; both ends use both links again after {', '.join(outages)} (watched for {RECOVERY_S:.0f} s)"
    )
    assert found.kills == KILLS // 20


@pytest.mark.skipif(not LONG, reason="minutes; PYTEAMD_LONG=1")
def test_the_longest_pause_is_what_the_partner_bears() -> None:
    """Killed at the worst instant, when the next LACPDU is nearly due: what counts is the silence on the wire, to a tenth of a second."""
    with under_load(PYTEAMD) as (on, partner), Ear(on.switch, "p1", outgoing=False) as ear:
        restart = ReadyMade(on)
        for pause_s in (0.5, 1.0, 1.5, 1.8, 2.0, 2.8):
            settle(on, partner)
            restart.prepare()
            with Witness(on, partner).watching() as witness, Stream(on, "192.0.2.1") as stream:
                time.sleep(1.0)
                ear.hear()
                while not any(is_slow(heard) for heard in ear.hear()):
                    time.sleep(0.002)
                time.sleep(0.9)
                kill()
                time.sleep(pause_s)
                restart.start()
                time.sleep(2.0)
            silence_s = witness.longest_silence()
            print(
                f"started {pause_s} s after a kill: silence {silence_s:.2f} s, {stream.lost} of {stream.sent} packets lost, "
                f"states of the partner {sorted(map(hex, witness.states))}"
            )
            if silence_s < PATIENCE_S - TICK_S:
                assert witness.states == {IN_SERVICE}
                assert stream.lost == 0
            elif silence_s > PATIENCE_S + LATE_S:
                assert witness.states != {IN_SERVICE}
    restart.close()
