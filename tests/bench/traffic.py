"""Frames as the judge of a switch: numbered ones out of the device and into its ports, every 0.2 ms, and where they arrive.

The far ends of the ports are in a namespace of their own (PEERS), where nothing answers. A real-time process sends; what arrives is left
in the buffers of packet sockets and looked at now and then, so that reading does not compete with the daemon. A frame is where it
arrives when `send` returns, for a veth pair has no length: the time of a frame is that of its sending. The cut is made by another real-time
process, because the kernel keeps who sets a link down waiting.

A gap runs from the cut to the first frame that took the other port. It is known to one interval.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path

from cables import PEERS, BenchError, inside, ip, peer_of
from probe import Cutter

ETHERTYPE = 0x88B5
"""For local experiments."""
OURS = ETHERTYPE.to_bytes(2, "big")
INTERVAL_NS = 200_000
BEFORE = 10
"""Frames each way before the cut."""
LOOK_EVERY = 10
LONGEST_S, INWARD_S = 10.0, 3.0
"""How long the first frame out by the other port is waited for, and how much longer the first one in."""
FLOWS = 32
ETH_P_ALL = 3
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
SO_RCVBUFFORCE = 33
NUMBER = struct.Struct("=I")
HEADER = 14
GROUP = b"\x02\x00\x5e\x10\x00"
PRIORITY = 50


def packet_socket(name: str, hears: bool) -> socket.socket:
    """On one device: for sending only, or for hearing our frames."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    if hears:
        made.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
    made.bind((name, ETH_P_ALL if hears else 0))  # a bridge takes its ports' frames before those who ask for one type
    made.setblocking(False)
    return made


def numbers(heard: socket.socket) -> list[int]:
    """Numbers of the frames of ours that have arrived, in order."""
    found = []
    while True:
        try:
            frame = heard.recv(64)
        except BlockingIOError:
            return found
        except OSError:
            continue  # the device went down, which is told once
        if frame[HEADER - 2 : HEADER] == OURS:
            found.append(NUMBER.unpack_from(frame, HEADER)[0])


class Prober:
    """The two ways of one device with its ports. Make it when the device is there."""

    def __init__(self, device: str, ports: Sequence[str], cutter: Cutter) -> None:
        self.device = device
        self.ports = tuple(ports)
        self._cutter = cutter
        self._out = packet_socket(device, hears=False)
        self._heard_in = packet_socket(device, hears=True)
        with inside(PEERS):
            self._in = {port: packet_socket(peer_of(port), hears=False) for port in ports}
            self._heard_out = {port: packet_socket(peer_of(port), hears=True) for port in ports}
            self.peers = {port: socket.if_nametoindex(peer_of(port)) for port in ports}
        self._mac = bytes.fromhex(Path(f"/sys/class/net/{device}/address").read_text().replace(":", ""))

    def close(self) -> None:
        for one in (self._out, self._heard_in, *self._in.values(), *self._heard_out.values()):
            one.close()

    def ways(self) -> dict[int, str]:
        """Which port each flow leaves by now; a flow that arrives nowhere is left out."""
        self._drain()
        for flow in range(FLOWS):
            self._send(self._out, self._frame(flow, flow))
        time.sleep(0.01)
        return {flow: port for port, heard in self._heard_out.items() for flow in numbers(heard)}

    def cut(self, victim: str, flow: int = 0) -> tuple[float, float | None]:
        """Set the far end of `victim` down: ms until the flow left by another port, and, if any did, until one was taken in from there."""
        self._drain()
        (other,) = {*self.ports} - {victim}
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
        try:
            sent_ns, out, into = self._run(victim, other, flow)
        finally:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        began_ns = self._cutter.began_ns()
        gaps = [
            min((sent_ns[n] - began_ns for n in arrived if sent_ns[n] >= began_ns), default=None)
            for arrived in (out, into)
        ]
        if gaps[0] is None:
            raise BenchError(f"{self.device}: nothing left by {other} within {LONGEST_S:g} s")
        return gaps[0] / 1e6, None if gaps[1] is None else gaps[1] / 1e6

    def mend(self, port: str) -> None:
        """Set the far end up again."""
        ip(f"-n {PEERS} link set {peer_of(port)} up")

    def _run(self, victim: str, other: str, flow: int) -> tuple[list[int], list[int], list[int]]:
        sent_ns: list[int] = []
        out: list[int] = []
        into: list[int] = []
        clock, send_out, send_in = time.monotonic_ns, self._out.send, self._in[other].send
        frame, inward = bytearray(self._frame(flow, 0)), bytearray(self._inward(other))
        at = clock()
        end = at + int(LONGEST_S * 1e9)
        while at < end:
            number = len(sent_ns)
            NUMBER.pack_into(frame, HEADER, number)
            NUMBER.pack_into(inward, HEADER, number)
            sent_ns.append(clock())
            with contextlib.suppress(OSError):
                send_out(frame)
            with contextlib.suppress(OSError):
                send_in(inward)
            if number == BEFORE:
                self._cutter.cut(self.peers[victim])
            elif number > BEFORE and number % LOOK_EVERY == 0:
                out += numbers(self._heard_out[other])
                into += numbers(self._heard_in)
                if out and out[-1] > BEFORE:
                    if into and into[-1] > BEFORE:
                        break
                    end = min(end, at + int(INWARD_S * 1e9))
            at += INTERVAL_NS
            now = clock()
            if at <= now:  # too fast for this machine: as a real-time process it would leave the daemon no time
                at = now + INTERVAL_NS
            time.sleep((at - now) / 1e9)
        # What left by the victim or came in before the cut was heard elsewhere, or has a number too low to count.
        return sent_ns, out, into

    def _frame(self, flow: int, number: int) -> bytes:
        return GROUP + bytes([flow]) + self._mac + OURS + NUMBER.pack(number) + bytes(42)

    def _inward(self, port: str) -> bytes:
        return self._mac + b"\x02\0\0\0\0\x77" + OURS + NUMBER.pack(0) + bytes(42)

    def _send(self, where: socket.socket, frame: bytes) -> None:
        with contextlib.suppress(OSError):
            where.send(frame)

    def _drain(self) -> None:
        for heard in (self._heard_in, *self._heard_out.values()):
            numbers(heard)
