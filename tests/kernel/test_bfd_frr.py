"""The bfd watcher on the real driver. The other end is FRR's bfdd: its single-hop port is turned into that of member links by tc."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lab_kit import PYTEAMD, Bench, bench, daemon, run, state, wait_for

FRR = Path("/usr/lib/frr")
pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(
        not (FRR / "bfdd").exists() or shutil.which("nft") is None, reason="no FRR (Debian: frr, nftables)"
    ),
]

WATCH: dict[str, Any] = {
    "name": "bfd",
    "local_host": "192.0.2.2",
    "peer_host": "192.0.2.1",
    "interval": 50,
    "multiplier": 3,
}
CONFIG: dict[str, Any] = {
    "runner": {"name": "activebackup"},
    "ports": {"em1": {"prio": 10, "link_watch": WATCH}, "em2": {}},
}
REWRITE = (
    "tc filter add dev p1 {way} protocol ip u32 match ip protocol 17 0xff match ip dport {port} 0xffff"
    " action pedit ex munge udp dport set {new} pipe action csum udp"
)
PEER = """
bfd
 peer 192.0.2.2 local-address 192.0.2.1 interface p1
  receive-interval {interval}
  transmit-interval {interval}
  detect-multiplier 3
"""


class Frr:
    """zebra and bfdd in the name space of the switch, and what bfdd says of the session."""

    def __init__(self, on: Bench, place: Path) -> None:
        self.on, self.place = on, place
        self.common = f"--vty_socket {place} -z {place}/zserv.api -u frr -g frr"

    def start(self, program: str, config: str) -> None:
        path = self.place / f"{program}.conf"
        path.write_text(config)
        self.on.on_switch(f"{FRR}/{program} -d {self.common} -f {path} -i {self.place}/{program}.pid")

    def end(self, program: str) -> None:
        pid = int((self.place / f"{program}.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not Path(f"/proc/{pid}").exists(), 10.0)

    def type(self, *lines: str) -> str:
        words = " ".join(f"-c '{line}'" for line in lines)
        return self.on.on_switch(f"vtysh --vty_socket {self.place} -d bfdd {words}")

    def peer(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self.type("show bfd peers json"))
        return found[0] if found else {}


@contextmanager
def frr(on: Bench, interval: int = 50) -> Iterator[Frr]:
    """The other end of em1."""
    place = Path(tempfile.mkdtemp(prefix="pyteamd-frr-"))
    shutil.chown(place, "frr", "frr")
    on.on_switch("modprobe -a sch_ingress cls_u32 act_pedit act_csum sch_netem")
    on.on_switch("ip addr add 192.0.2.1/24 dev p1 && tc qdisc add dev p1 clsact")
    on.on_switch(REWRITE.format(way="egress", port=3784, new=6784))
    on.on_switch(REWRITE.format(way="ingress", port=6784, new=3784))
    made = Frr(on, place)
    made.start("zebra", "")
    wait_for((place / "zserv.api").exists, 10.0)
    made.start("bfdd", PEER.format(interval=interval))
    try:
        yield made
    finally:
        for program in ("bfdd", "zebra"):
            made.end(program)
        shutil.rmtree(place)


def session() -> dict[str, Any]:
    watches: dict[str, Any] = state()["ports"]["em1"]["link_watches"]["list"]["link_watch_0"]
    return watches


def up(on: Bench, there: Frr) -> None:
    """The team has its address, and the session is up at both ends."""
    on.on_host("ip addr add 192.0.2.2/24 dev team0 && ip link set team0 up")
    on.on_switch(f"ip neigh replace 192.0.2.2 lladdr {on.mac('team0')} dev p1")
    wait_for(lambda: session()["state"] == "up", 20.0, "our session")
    wait_for(lambda: there.peer()["status"] == "up", 10.0, "theirs")


def test_a_session_with_frr_and_a_path_that_is_cut_while_the_carrier_stays() -> None:
    with bench() as on, frr(on) as there, daemon(PYTEAMD, on, json.dumps(CONFIG)):
        up(on, there)
        assert session()["peer"]["interval_us"] == 50_000
        assert session()["detection_time_us"] == 150_000
        assert on.active() == "em1"
        on.on_switch("tc qdisc add dev p1 root netem loss 100%")  # one way: we hear nothing, they hear us
        wait_for(lambda: on.active() == "em2", 2.0, "LACP at its fast rate would need 3 s")
        wait_for(lambda: there.peer()["status"] == "down", 5.0)
        assert "silent" in on.pyteamdctl("team0 explain em1").out
        on.on_switch("tc qdisc del dev p1 root")
        wait_for(lambda: session()["state"] == "up", 20.0)
        wait_for(lambda: on.active() == "em1", 5.0)


def test_other_timers_a_restart_of_either_side_and_admin_down() -> None:
    with bench() as on, frr(on, 300) as there, daemon(PYTEAMD, on, json.dumps(CONFIG)) as ours:
        up(on, there)
        downs = session()["down_count"]
        there.type(
            "configure terminal",
            "bfd",
            "peer 192.0.2.2 local-address 192.0.2.1 interface p1",
            "receive-interval 200",
            "transmit-interval 200",
        )
        wait_for(lambda: session()["peer"]["interval_us"] == 200_000, 10.0)
        assert session()["down_count"] == downs, "a change of timers is no flap"
        there.type("configure terminal", "bfd", "peer 192.0.2.2 local-address 192.0.2.1 interface p1", "shutdown")
        wait_for(lambda: session()["peer"]["state"] == "admin down", 10.0)
        assert state()["ports"]["em1"]["link_watches"]["up"], "no failure (RFC 5882, 3.2)"
        there.type("configure terminal", "bfd", "peer 192.0.2.2 local-address 192.0.2.1 interface p1", "no shutdown")
        wait_for(lambda: session()["state"] == "up", 20.0)
        there.end("bfdd")
        wait_for(lambda: session()["state"] == "down", 10.0)
        there.start("bfdd", PEER.format(interval=300))
        wait_for(lambda: session()["state"] == "up", 20.0)
        os.kill(ours.pid, signal.SIGKILL)
        time.sleep(0.1)
        assert on.pyteamd(f"-d -o -t team0 -c '{json.dumps(CONFIG)}'").status == 0
        wait_for(lambda: session()["state"] == "up", 20.0)
        wait_for(lambda: there.peer()["status"] == "up", 10.0)


def test_the_stack_does_not_answer_with_icmp() -> None:
    with bench() as on, daemon(PYTEAMD, on, json.dumps(CONFIG)):
        on.on_host("ip addr add 192.0.2.2/24 dev team0 && ip link set team0 up")
        taken = run("ss -Huln sport = :6784", namespace=on.host).out
        assert taken.count("6784") >= 2, "IPv4 and IPv6"
