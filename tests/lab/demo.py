#!/usr/bin/env python3
"""The main job, seen: a team of two ports on the real driver fails over under a steady stream of datagrams.

    192.0.2.2                      namespace "peer"
    team0 ─┬─ em1 ───────── p1 ─┐
           └─ em2 ───────── p2 ─┴─ br0 192.0.2.1

Runs inside the lab as root (`make demo`). Every command that a user would type is shown before it runs. Exit status 0 when the team
did fail over and the stream went on.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

BIN = Path(sys.executable).parent
CONFIG = '{"device": "team0", "runner": {"name": "activebackup"}, "ports": {"em1": {}, "em2": {}}}'
PORT = 9999
PERIOD_S = 0.002
STAMP = struct.Struct("=Id")
ECHO_READY = "ready"


def shell(command: str, *, show: bool = False) -> str:
    """Run a command; its output, printed if `show`. A failing command ends the demonstration."""
    if show:
        print(f"\n$ {command}", flush=True)
    done = subprocess.run(command, shell=True, text=True, stdout=subprocess.PIPE, env={**os.environ, "PATH": path()})
    if show and done.stdout:
        print(done.stdout, end="", flush=True)
    if done.returncode:
        sys.exit(f"demo: `{command}` failed with status {done.returncode}")
    return done.stdout


def path() -> str:
    return f"{BIN}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def build_network() -> None:
    """Two cables into a bridge in a namespace of its own."""
    shell("ip netns add peer")
    shell(
        "ip -n peer link add br0 type bridge && ip -n peer link set br0 up && ip -n peer addr add 192.0.2.1/24 dev br0"
    )
    for number in (1, 2):
        shell(f"ip link add em{number} type veth peer name p{number} netns peer")
        shell(f"ip -n peer link set p{number} master br0 up")


@dataclass
class Stream:
    """A steady stream through the team, and what of it arrived."""

    sent: int = 0
    arrived: list[tuple[int, float]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin; returns when the first datagrams have arrived."""
        command = ["ip", "netns", "exec", "peer", sys.executable, "-B", __file__, "--receive"]
        self.receiver = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.receiver.stdout is not None
        assert self.receiver.stdout.readline().strip() == ECHO_READY
        self.thread = threading.Thread(target=self._send)
        self.thread.start()
        time.sleep(0.5)

    def _send(self) -> None:
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        next_at = time.monotonic()
        while not self.stop.is_set():
            with contextlib.suppress(OSError):  # no port carries traffic at this moment: it counts as lost
                sender.sendto(STAMP.pack(self.sent, time.monotonic()), ("192.0.2.1", PORT))
            self.sent += 1
            next_at += PERIOD_S
            time.sleep(max(0.0, next_at - time.monotonic()))

    def finish(self) -> None:
        """End the stream and collect what arrived."""
        self.stop.set()
        self.thread.join()
        out, _ = self.receiver.communicate("stop\n", timeout=30)
        self.arrived = [(int(n), float(at)) for n, at in (line.split() for line in out.splitlines())]

    def loss(self, after: float, before: float) -> tuple[int, float]:
        """Datagrams lost, and the longest silence in milliseconds, of what was sent in a span of time."""
        span = [(number, at) for number, at in self.arrived if after <= at <= before]
        numbers = [number for number, _ in span]
        gaps = [later - earlier for (_, earlier), (_, later) in pairwise(span)]
        return numbers[-1] - numbers[0] + 1 - len(numbers), max(gaps) * 1000


def receive() -> None:
    """In the peer's namespace: note number and time of each datagram until a line comes in."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("192.0.2.1", PORT))
    receiver.settimeout(0.1)
    notes: list[tuple[int, float]] = []
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    print(ECHO_READY, flush=True)
    while not stop.is_set():
        try:
            number, _ = STAMP.unpack(receiver.recv(64))
        except TimeoutError:
            continue
        notes.append((number, time.monotonic()))
    print("\n".join(f"{number} {at:.6f}" for number, at in notes))


def main() -> int:
    if "--receive" in sys.argv:
        receive()
        return 0
    print("Two cables, em1 and em2, lead into a bridge in another network namespace.")
    build_network()
    shell(f"pyteamd -d -c '{CONFIG}'", show=True)
    shell("ip addr add 192.0.2.2/24 dev team0 && ip link set team0 up", show=True)
    shell("ping -q -c 1 -W 5 192.0.2.1 > /dev/null")
    shell("pyteamdctl team0 state", show=True)
    shell("pyteamdctl team0 explain", show=True)
    stream = Stream()
    stream.start()
    print(f"\nA datagram leaves through team0 every {PERIOD_S * 1000:.0f} ms. Now the cable of the active port is cut:")
    began = time.monotonic()
    shell("ip -n peer link set p1 down", show=True)
    time.sleep(1)
    cut = (began, time.monotonic())
    shell("pyteamdctl team0 state", show=True)
    shell("pyteamdctl team0 explain", show=True)
    print("\nThe cable is back; em2 stays active, because em1 is not better:")
    shell("ip -n peer link set p1 up", show=True)
    time.sleep(1)
    back = (cut[1], time.monotonic())
    active = shell("pyteamdctl team0 state item get runner.active_port", show=True).strip()
    stream.finish()
    lost, silence_ms = stream.loss(*cut)
    lost_back, _ = stream.loss(*back)
    shell("pyteamd -k -t team0", show=True)
    shell("ip link del em1 && ip link del em2 && ip netns del peer")
    print(
        f"\ndemo: {stream.sent} datagrams sent; fail-over: {lost} lost, longest silence {silence_ms:.1f} ms; return: {lost_back} lost"
    )
    good = active == "em2" and lost * PERIOD_S < 1 and silence_ms < 1000
    print("demo: the team failed over and traffic went on" if good else "demo: THIS WAS NOT A FAIL-OVER")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
