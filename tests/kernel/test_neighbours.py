"""LLDP on the real driver, from two senders that know nothing of us: lldpd as a switch has it, and scapy with what no switch sends."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lab_kit import Bench, bench, daemon, dump, state, wait_for, wait_to_be

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="LLDP is between a packet socket and us")]

CONFIG = '{"runner": {"name": "activebackup"}, "ports": {"em1": {}, "em2": {}}}'
CONTROL = Path("/run/lldpd.socket")
"""Where lldpcli may go, which is not root then."""
NO_LLDP = CONFIG.replace("{", '{"neighbours": false, ', 1)
SEND = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
    sender.bind((sys.argv[1], 0))
    for frame in sys.argv[2:]:
        sender.send(bytes.fromhex(frame))
"""


def heard(port: str) -> dict[str, Any]:
    """What the state says of the other end."""
    found: dict[str, Any] = state()["ports"][port].get("neighbour", {})
    return found


def sample(name: str) -> float:
    """A metric's value; 0 when there is none."""
    lines = [line for line in dump("Metrics").splitlines() if line.startswith(name)]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


def frames_sent(on: Bench, link: str) -> int:
    """How many lldpd counts."""
    shown = on.on_switch(f"lldpcli -u {CONTROL} -f keyvalue show statistics ports {link}")
    return sum(map(int, re.findall(r"\.tx\.tx=(\d+)", shown)))


@contextmanager
def lldpd(on: Bench, link: str) -> Iterator[subprocess.Popen[bytes]]:
    """Debian's lldpd on the switch, sending every second."""
    Path("/run/lldpd").mkdir(exist_ok=True)
    CONTROL.unlink(missing_ok=True)
    words = ["ip", "netns", "exec", on.switch, "lldpd", "-d", "-I", link, "-u", str(CONTROL)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(CONTROL.exists, 20.0)
        on.on_switch(f"lldpcli -u {CONTROL} configure lldp tx-interval 1")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


@pytest.mark.skipif(shutil.which("lldpd") is None, reason="no lldpd (Debian: lldpd)")
def test_lldpd_is_heard_and_its_leave_too() -> None:
    with bench() as on, daemon("pyteamd", on, CONFIG):
        on.on_host("ip link set team0 up")
        assert heard("em1") == {}
        with lldpd(on, "p1") as process:
            wait_for(lambda: heard("em1"), 20.0, "lldpd")
            said = heard("em1")
            assert said["chassis"] == "02:00:00:00:02:01"
            assert said["system_name"]
            assert said["port_description"] == "p1"
            assert said["aggregation"] == {"capable": True, "enabled": False}
            assert heard("em2") == {}
            shown = on.pyteamdctl("team0 neighbours").out.splitlines()
            assert shown[1].split()[:3] == ["em1", said["system_name"], said["port"]]
            assert shown[2].split() == ["em2", "nothing", "heard"]
            assert sample('pyteamd_port_neighbour_aggregation{team="team0",port="em1"}') == 0
            assert sample('pyteamd_port_neighbours{team="team0",port="em1"}') == 1
            # Ended just after its first frame it was seen to leave without a word.
            wait_for(lambda: frames_sent(on, "p1") >= 2, 20.0, "lldpd's second frame")
            process.terminate()
            wait_to_be(lambda: str(heard("em1")), "{}")


DROPS = 'pyteamd_port_neighbour_drops_total{team="team0",port="em2",reason="'


def test_scapys_lldpdus_expire_and_hostile_ones_are_counted() -> None:
    from scapy.contrib.lldp import (
        LLDPDUChassisID,
        LLDPDUEndOfLLDPDU,
        LLDPDUPortID,
        LLDPDUSystemName,
        LLDPDUTimeToLive,
    )
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw

    def lldpdu(ttl: int, name: bytes = b"sw1", tail: bytes = b"") -> str:
        head = Ether(dst="01:80:c2:00:00:0e", src="02:bb:00:00:00:09", type=0x88CC)
        told = LLDPDUChassisID(subtype=4, id="02:bb:00:00:00:09") / LLDPDUPortID(subtype=5, id=b"Ethernet3")
        told = told / LLDPDUTimeToLive(ttl=ttl) / LLDPDUSystemName(system_name=name)
        return bytes(head / told / (Raw(tail) if tail else LLDPDUEndOfLLDPDU())).hex()

    pvid = bytes.fromhex("fe06 0080c2 01 002a") + bytes.fromhex("fe09 0080c2 07 03 00000000 0000")
    cut = bytes.fromhex("fe60 0080c2")
    hostile = [lldpdu(120, tail=cut), lldpdu(120, tail=bytes.fromhex("fe02 0080")), lldpdu(120)[:28] + "0207"]
    with bench() as on, daemon("pyteamd", on, CONFIG):
        on.on_host("ip link set team0 up")

        def send(*frames: str) -> None:
            on.on_switch(f"{sys.executable} -c '{SEND}' p2 {' '.join(frames)}")

        send(*hostile)
        wait_for(lambda: sum(map(sample, (DROPS + "tlv_length", DROPS + "too_short"))) == 3, 10.0, "drops")
        assert heard("em2") == {}
        send(lldpdu(3, tail=pvid))
        wait_for(lambda: heard("em2"), 10.0)
        assert heard("em2")["vlan"] == 42
        assert heard("em2")["aggregation"] == {"capable": True, "enabled": True}
        assert (heard("em2")["system_name"], heard("em2")["port"]) == ("sw1", "Ethernet3")
        wait_for(lambda: not heard("em2"), 10.0, "its time to live is over")


def test_turned_off_nobody_listens() -> None:
    counts = []
    for config in (CONFIG, NO_LLDP):
        with bench() as on, daemon("pyteamd", on, config):
            counts.append(len(on.on_host("cat /proc/net/packet").out.splitlines()) - 1)
            groups = on.on_host("ip maddress show dev em1").out
            assert ("01:80:c2:00:00:0e" in groups) is (config == CONFIG)
    assert counts == [2, 0]
