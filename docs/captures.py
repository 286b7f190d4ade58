#!/usr/bin/env python3
"""Capture `pyteamdctl watch` from teams on a real driver: the blocks of docs/watch.md, and docs/watch.svg.

Without arguments it boots the lab and writes the files; with `--here` it is the job there, and prints the screens as JSON. pyte reads
what the program writes, so the blocks are what stands on a terminal.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE, PICTURE = ROOT / "docs/watch.md", ROOT / "docs/watch.svg"
LACP = {"device": "team0", "runner": {"name": "lacp", "fast_rate": True}, "ports": {"em1": {}, "em2": {}}}
MANY = {"device": "team1", "runner": {"name": "roundrobin"}, "ports": {f"em{n}": {} for n in range(1, 41)}}
LOOKS_S = 25.0
COLOURS = {"default": "#d0d0d0", "red": "#ff6b68", "green": "#7ec97e", "brown": "#e5c07b", "cyan": "#6cc6cb"}
WIDE, HIGH = 8.4, 18
LLDPDU = (
    bytes.fromhex("0207 04 02bb00000001 0404 05")
    + b"Et3"
    + bytes.fromhex("0602 0078 0a03")
    + b"sw1"
    + bytes.fromhex("0000")
)
"""Chassis 02:bb:00:00:00:01, port Et3, 120 s, system sw1."""


def main() -> int:
    """See the module's description."""
    if "--here" in sys.argv:
        print(json.dumps(captured()))
        return 0
    job = [str(Path(__file__).relative_to(ROOT)), "--here"]
    launch = [sys.executable, "tests/lab/lab.py", "run", "--timeout", "300", "--", ".venv/bin/python", "-B", *job]
    done = subprocess.run(launch, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(f"captures: status {done.returncode}; nothing was written", file=sys.stderr)
        return 1
    screens = json.loads(done.stdout.splitlines()[-1])
    text = PAGE.read_text()
    for name, cells in screens.items():
        block = "\n".join("".join(run for run, *_ in line).rstrip() for line in cells).rstrip()
        mark = f"<!-- capture: {name} -->\n```\n"
        start = text.index(mark) + len(mark)
        text = text[:start] + block + text[text.index("\n```", start) :]
    PAGE.write_text(text)
    PICTURE.write_text(drawn(screens["two"]))
    print(f"captures: {', '.join(screens)} in {PAGE.relative_to(ROOT)}, {PICTURE.relative_to(ROOT)}")
    return 0


def drawn(lines: list[list[Any]]) -> str:
    """A screen as SVG."""
    columns = sum(len(run) for run, *_ in lines[0])
    rows = []
    for number, line in enumerate(lines):
        at, spans = 0, ""
        for text, colour, bold in line:
            weight = ' font-weight="bold"' if bold else ""
            if text.strip():
                place = f'x="{8 + at * WIDE:.1f}" textLength="{len(text) * WIDE:.1f}"'
                spans += (
                    f'<tspan {place} fill="{COLOURS.get(colour, COLOURS["default"])}"{weight}>{escape(text)}</tspan>'
                )
            at += len(text)
        rows.append(f'<text y="{(number + 1) * HIGH}" xml:space="preserve">{spans}</text>')
    size = f'width="{columns * WIDE + 16:.0f}" height="{len(lines) * HIGH + 12}"'
    style = 'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14"'
    body = "\n".join(rows)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n<rect width="100%" height="100%" fill="#1e1e1e"/>\n{body}\n</svg>\n'


# -- in the lab --------------------------------------------------------------------------------------------------------


def captured() -> dict[str, Any]:
    """Every screen: a list of lines of runs (text, colour, bold)."""
    sys.path.insert(0, str(ROOT / "tests/kit"))
    shell("ip netns add peer")
    screens = {}
    with lacp_with_a_bond(), traffic("192.0.2.1"), watching("team0", 80, 24) as terminal:
        wait(terminal, LOOKS_S)
        shell("ip -n peer link set p2 down")
        wait(terminal, 3.0)
        screens["two"] = cells(terminal)
        terminal.type("\x1bOB\r")
        terminal.resize(80, 64)
        terminal.shows("neighbour", "partner")
        wait(terminal, 2.0)
        screens["port"] = cells(terminal)
    with forty_ports(), traffic("198.51.100.1"), watching("team1", 80, 24) as terminal:
        wait(terminal, LOOKS_S)
        screens["forty"] = cells(terminal)
        terminal.resize(200, 50)
        wait(terminal, 2.0)
        screens["forty, wide"] = cells(terminal)
    return screens


@contextlib.contextmanager
def lacp_with_a_bond() -> Iterator[None]:
    """team0, with a bond of the kernel at the other end, which speaks LLDP on one port."""
    for number in (1, 2):
        shell(f"ip link add em{number} type veth peer name p{number} netns peer")
    shell("ip -n peer link add bond0 type bond mode 802.3ad lacp_rate fast miimon 100")
    for number in (1, 2):
        shell(f"ip -n peer link set p{number} master bond0")
        shell(f"ip -n peer link set p{number} up")
    shell("ip -n peer link set bond0 up && ip -n peer addr add 192.0.2.1/24 dev bond0")
    daemon(LACP, "192.0.2.2/24")
    told = subprocess.Popen([*IN_PEER, sys.executable, "-B", "-c", SPEAK, LLDPDU.hex()])
    told.wait(20)
    yield
    shell("pyteamd -k -t team0 && ip link del em1 && ip link del em2")


IN_PEER = ("ip", "netns", "exec", "peer")
SPEAK = """
import socket, sys
for number in 1, 2:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as speaker:
        speaker.bind((f"p{number}", 0))
        speaker.send(bytes.fromhex("0180c200000e 02bb00000001 88cc") + bytes.fromhex(sys.argv[1]))
"""


@contextlib.contextmanager
def forty_ports() -> Iterator[None]:
    """team1, into a bridge; some cables are cut."""
    shell(
        "ip -n peer link add br0 type bridge && ip -n peer link set br0 up && ip -n peer addr add 198.51.100.1/24 dev br0"
    )
    for number in range(1, 41):
        shell(f"ip link add em{number} type veth peer name p{number} netns peer")
        shell(f"ip -n peer link set p{number} master br0 up")
    daemon(MANY, "198.51.100.2/24")
    for number in (7, 19, 33):
        shell(f"ip -n peer link set p{number} down")
    yield
    shell("pyteamd -k -t team1")


def daemon(config: dict[str, Any], address: str) -> None:
    """Start one; its device is up."""
    place = Path(tempfile.mkdtemp(), "team.conf")
    place.write_text(json.dumps(config))
    shell(f"pyteamd -d -f {place} && ip link set {config['device']} up && ip addr add {address} dev {config['device']}")


@contextlib.contextmanager
def traffic(host: str) -> Iterator[None]:
    """Bursts of datagrams to this host until the end."""
    stop = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for turn in range(100_000):
                if stop.wait(0.05):
                    return
                for _ in range(abs(turn % 80 - 40)):
                    with contextlib.suppress(OSError):
                        sender.sendto(bytes(1200), (host, 9))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def watching(team: str, columns: int, lines: int) -> Iterator[Any]:
    """`pyteamdctl TEAM watch` in a terminal of this size."""
    from terminal import Terminal

    with Terminal(("pyteamdctl", team, "watch", "1"), columns, lines) as terminal:
        terminal.shows(team, "q leave")
        yield terminal
        terminal.type("q")
        terminal.ended()


def wait(terminal: Any, seconds: float) -> None:
    """Let it run."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        terminal.read(0.2)


def cells(terminal: Any) -> list[list[Any]]:
    """The screen by runs of equal look."""
    screen, told = terminal.screen, []
    for row in range(screen.lines):
        line: list[Any] = []
        for column in range(screen.columns):
            cell = screen.buffer[row][column]
            if line and line[-1][1:] == [cell.fg, cell.bold]:
                line[-1][0] += cell.data
            else:
                line.append([cell.data, cell.fg, cell.bold])
        told.append(line)
    return told


def shell(command: str) -> None:
    """A command that has to succeed; what it says goes to standard error."""
    subprocess.run(command, shell=True, check=True, stdout=sys.stderr, env={**os.environ})


if __name__ == "__main__":
    sys.exit(main())
