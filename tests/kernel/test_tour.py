"""README's tour, typed again line by line: what it says is what comes, but for times, addresses and what `…` stands for."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest
from lab_kit import RUN_DIR, Bench, bench, wait_for
from lldp_kit import lldp_frame, lldpdu

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="what README says")]

README = Path(__file__).parents[2] / "README.md"
ELSEWHERE = {"Install.": "tests/lab/test_install.py", "NetworkManager": "tests/lab/systemd/nm_story.py"}
"""Chapters that change the system, and who types them."""
PLACE = Path("/run/tour")
SEND = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
    sender.bind((sys.argv[1], 0))
    sender.send(bytes.fromhex(sys.argv[2]))
"""
LACP = '{"device": "team0", "runner": {"name": "lacp", "fast_rate": true}, "ports": {"em1": {}, "em2": {}}}'
NEW = "device: team0\nrunner: {name: activebackup}\nports:\n  em1: {prio: 100}\n  em2: {prio: 200}\n  em3: {}\n"
BAD = "device: team0\nrunner: {name: activebackup}\nports: {em1: {prio: high}, em2: {stiky: 1}}\n"
STEPS: dict[str, Callable[[Bench], None]] = {}
"""What happens before the command of this beginning, and is told in prose."""


def before(command: str) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    """A row of STEPS."""

    def row(step: Callable[[Bench], None]) -> Callable[[Bench], None]:
        STEPS[command] = step
        return step

    return row


def typed() -> list[tuple[str, str, list[str]]]:
    """Chapter, command and the lines that README shows below it."""
    tour = README.read_text().split("## A tour\n")[1].split("\n## ")[0]
    chapter, found, inside = "", [], False
    for line in tour.splitlines():
        if bold := re.match(r"\*\*(.+?)\*\*", line):
            chapter = bold[1]
        if line and not line.startswith("    "):
            inside = False
        elif line[4:6] in ("# ", "$ "):
            inside = True
            found.append((chapter, line[6:], []))
        elif inside:
            found[-1][2].append(line[4:])
    return found


def pattern(line: str) -> str:
    """What a line that was printed has to match."""
    told = re.escape(line.strip())
    told = re.sub(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", "(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", told)
    told = re.sub(r"\d+(\\\.\d+)?(?=(\\ )(s|ms|steps|events|min)\b)|\d+(?=ms)|(?<=key\\ )\d+", "[0-9.]+", told)
    told = re.sub(r"^\\\+[0-9.\\]+", r"\\+[0-9.]+", told)
    # A first choice waits for the carriers, the speeds and the driver's word of the links; which is read last is the kernel's.
    told = re.sub(r"\\\[(?:Carrier|Port)Seen\\\]", r"\\[(?:Carrier|Port|Option)Seen\\]", told)
    return re.sub(r"(\\ )+", r"\\s+", told).replace("…", ".*")


def links_first(lines: list[str]) -> list[str]:
    """Of what came in the same moment the links that are up, by name, then what was made of them: the order of that is the kernel's."""

    def age(line: str) -> str:
        return found[0] if (found := re.match(r" *[0-9.]+ s ", line)) else ""

    def place(line: str) -> str:
        return line if age(line) and "went up." in line else "~"

    return [line for _, moment in groupby(lines, key=age) for line in sorted(moment, key=place)]


def agrees(shown: list[str], printed: str) -> bool:
    """Whether it is what README shows; a line of `…` stands for any number of lines."""
    wanted = "\n".join(pattern(line) for line in shown).strip("\n")
    wanted = re.sub(r"(^|\n)\.\*(\n|$)", r"\1(?s:.*)\2", wanted)
    lines = "\n".join(line.strip() for line in links_first(printed.splitlines())).strip("\n")
    return re.fullmatch(wanted, lines) is not None


def nothing(on: Bench) -> None:
    """Most commands follow at once."""


@before("pyteamd check team0.yaml")
def _switch(on: Bench) -> None:
    on.on_switch("ip link add br0 type bridge && ip link set br0 up && ip addr add 192.0.2.1/24 dev br0")
    for number in (1, 2):
        on.on_switch(f"ip link set p{number} master br0")


@before("pyteamdctl team0 explain 2")
def _cut(on: Bench) -> None:
    on.cut(1)


@before("pyteamdctl team0 neighbours")
def _lldp(on: Bench) -> None:
    frame = lldp_frame(lldpdu("Ethernet3", "sw1", aggregates=False)).hex()
    on.on_switch(f"{sys.executable} -c '{SEND}' p2 {frame}")
    wait_for(lambda: "sw1" in on.pyteamdctl("team0 neighbours").out, 10.0)


@before("pyteamdctl team0 config apply new.yaml --dry-run")
def _files(on: Bench) -> None:
    (PLACE / "new.yaml").write_text(NEW)
    (PLACE / "bad.yaml").write_text(BAD)
    on.mend(1)


@before("pyteamdctl team0 explain 3")
def _lacp(on: Bench) -> None:
    on.on_host(f"cd {PLACE}; {PATH} pyteamd -k -t team0")
    on.on_switch("ip link del br0; ip link add bond0 type bond mode 802.3ad lacp_rate fast miimon 100")
    for number in (1, 2):
        on.on_switch(f"ip link set p{number} down && ip link set p{number} master bond0 && ip link set p{number} up")
    on.on_switch("ip link set bond0 up")
    on.on_host(f"{PATH} pyteamd -d -c '{LACP}'; ip link set team0 up")
    wait_for(lambda: on.pyteamdctl("team0 explain").out.count("distributing)") == 2, 20.0)


@before("pyteamd serve teams &")
def _serve(on: Bench) -> None:
    on.on_host(f"{PATH} pyteamd -k -t team0")
    (PLACE / "teams").mkdir()
    for number in (1, 2):
        text = f"device: team{number}\nrunner: {{name: activebackup}}\nports: {{em{number}: {{}}}}\n"
        (PLACE / f"teams/team{number}.yaml").write_text(text)


@before("pyteamdctl list")
def _served(on: Bench) -> None:
    wait_for(lambda: on.pyteamdctl("list").out.count("em") >= 4, 20.0)


PATH = f"export PATH={Path(sys.executable).parent}:$PATH;"


@pytest.mark.slow
def test_the_tour_is_true() -> None:
    PLACE.mkdir(exist_ok=True)
    times: dict[str, int] = {}
    wrong, chapters = [], set()
    with bench(3) as on:
        on.on_host("ip link set em1 down; ip link set em2 down; ip link set em3 down")
        for chapter, command, shown in typed():
            if chapter in ELSEWHERE:
                continue
            chapters.add(chapter)
            times[command] = times.get(command, 0) + 1
            for key in (command, f"{command} {times[command]}"):
                STEPS.get(key, nothing)(on)
            if found := re.fullmatch(r"cat (\S+)", command):
                (PLACE / found[1]).write_text("\n".join(shown) + "\n")
            if command.endswith("&"):
                on.on_host(f"cd {PLACE}; {PATH} {command[:-1]} >/dev/null 2>&1 & echo $! >{PLACE}/background")
                continue
            result = on.on_host(f"cd {PLACE}; {PATH} {command} 2>&1")
            if not agrees(shown, result.out):
                wrong.append(
                    f"[{chapter}] # {command}\n--- README\n" + "\n".join(shown) + f"\n--- printed\n{result.out}"
                )
        on.on_host(f"kill $(cat {PLACE}/background)")
        wait_for(lambda: not list(RUN_DIR.glob("*.sock")), 10.0)
    assert not wrong, "\n\n".join(wrong)
    assert {"First team.", "Reload.", "LACP", "Where do the cables lead?", "Failures that replay."} <= chapters


def test_what_is_compared_can_differ() -> None:
    shown = ["em1: carries traffic for 2.7 s", "…", "2 changes in force"]
    assert agrees(shown, "em1: carries traffic for 11 s\nx\ny\n2 changes in force\n")
    assert not agrees(shown, "em2: carries traffic for 11 s\n2 changes in force\n")
    assert not agrees(shown, "em1: carries traffic for 11 s\n3 changes in force\n")
    assert len(typed()) > 20
