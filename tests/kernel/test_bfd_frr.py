"""The bfd watcher on the real driver. The other end is FRR's bfdd: its single-hop port is turned into that of member links by tc."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from lab_kit import PYTEAMD, Bench, at_a_word, bench, chosen, daemon, run, state, wait_for

from pyteamd.scenario.replay import retell
from pyteamd.views.timeline import Timeline, timeline

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
COUNTED = bool(os.environ.get("PYTEAMD_COUNTED"))
LIMIT_S = 0.220 if COUNTED else 1.4
"""(multiplier + 1) x interval + 20 ms where the clock does not see the machine; else what no watcher of LACP can reach."""
CONFIG: dict[str, Any] = {
    "runner": {"name": "activebackup"},
    "ports": {"em1": {"prio": 10, "link_watch": WATCH}, "em2": {}},
}
REWRITE = (
    "tc filter add dev {link} {way} protocol ip u32 match ip protocol 17 0xff match ip dport {port} 0xffff"
    " action pedit ex munge udp dport set {new} pipe action csum udp"
)
PEER = """
 peer 192.0.2.2 local-address 192.0.2.1 interface {link}
  receive-interval {interval}
  transmit-interval {interval}
  detect-multiplier 3
"""


class Frr:
    """zebra and bfdd in the namespace of the switch, and what bfdd says of the session."""

    def __init__(self, on: Bench, place: Path, links: Sequence[str]) -> None:
        self.on, self.place, self.links = on, place, links
        self.common = f"--vty_socket {place} -z {place}/zserv.api -u frr -g frr"

    def start(self, program: str, config: str) -> None:
        path = self.place / f"{program}.conf"
        path.write_text(config)
        self.on.on_switch(f"{FRR}/{program} -d {self.common} -f {path} -i {self.place}/{program}.pid")

    def end(self, program: str) -> None:
        pid = int((self.place / f"{program}.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not Path(f"/proc/{pid}").exists())

    def hurry(self) -> None:
        """The switch is another machine: what our processor does is nothing to it."""
        pid = int((self.place / "bfdd.pid").read_text())
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setscheduler(int(thread), os.SCHED_RR, os.sched_param(3))

    def type(self, *lines: str) -> str:
        words = " ".join(f"-c '{line}'" for line in lines)
        return self.on.on_switch(f"vtysh --vty_socket {self.place} -d bfdd {words}")

    def peer(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self.type("show bfd peers json"))
        return found[0] if found else {}


@contextmanager
def frr(on: Bench, interval: int = 50, links: Sequence[str] = ("p1",)) -> Iterator[Frr]:
    """The other end of em1, and of others. `links`: where, in the namespace of the switch."""
    place = Path(tempfile.mkdtemp(prefix="pyteamd-frr-"))
    shutil.chown(place, "frr", "frr")
    on.on_switch("modprobe -a sch_ingress cls_u32 act_pedit act_csum sch_netem")
    for link in links:
        on.on_switch(f"ip addr add 192.0.2.1/24 dev {link} && tc qdisc add dev {link} clsact")
        on.on_switch(REWRITE.format(link=link, way="egress", port=3784, new=6784))
        on.on_switch(REWRITE.format(link=link, way="ingress", port=6784, new=3784))
    made = Frr(on, place, links)
    made.start("zebra", "")
    wait_for((place / "zserv.api").exists)
    made.start("bfdd", configuration(interval, links))
    try:
        yield made
    finally:
        for program in ("bfdd", "zebra"):
            made.end(program)
        shutil.rmtree(place)


def configuration(interval: int, links: Sequence[str]) -> str:
    """For bfdd: a session on each link."""
    return "bfd" + "".join(PEER.format(interval=interval, link=link) for link in links)


def session() -> dict[str, Any]:
    watches: dict[str, Any] = state()["ports"]["em1"]["link_watches"]["list"]["link_watch_0"]
    return watches


def up(on: Bench, there: Frr) -> None:
    """The team has its address, and the session is up at both ends."""
    on.on_host("ip addr add 192.0.2.2/24 dev team0 && ip link set team0 up")
    for link in there.links:
        on.on_switch(f"ip neigh replace 192.0.2.2 lladdr {on.mac('team0')} dev {link}")
    wait_for(lambda: session()["state"] == "up", 20.0, "our session")
    wait_for(lambda: there.peer()["status"] == "up", 10.0, "theirs")


def test_a_session_with_frr_and_a_path_that_is_cut_while_the_carrier_stays() -> None:
    with bench() as on, frr(on) as there, daemon(PYTEAMD, on, json.dumps(CONFIG)):
        up(on, there)
        assert session()["peer"]["interval_us"] == 50_000
        assert session()["detection_time_us"] == 150_000
        wait_for(lambda: on.active() == "em1")
        on.on_switch("tc qdisc add dev p1 root netem loss 100%")  # one way: we hear nothing, they hear us
        wait_for(lambda: on.active() == "em2", what="em1 out of service")
        wait_for(lambda: there.peer()["status"] != "up")  # down, and "init" by our next packet
        assert "silent" in on.pyteamdctl("team0 explain em1").out
        on.on_switch("tc qdisc del dev p1 root")
        wait_for(lambda: session()["state"] == "up", 20.0)
        wait_for(lambda: on.active() == "em1")


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
        wait_for(lambda: session()["peer"]["interval_us"] == 200_000)
        assert session()["down_count"] == downs, "a change of timers is no flap"
        there.type("configure terminal", "bfd", "peer 192.0.2.2 local-address 192.0.2.1 interface p1", "shutdown")
        wait_for(lambda: session()["peer"]["state"] == "admin down")
        assert state()["ports"]["em1"]["link_watches"]["up"], "no failure (RFC 5882, 3.2)"
        there.type("configure terminal", "bfd", "peer 192.0.2.2 local-address 192.0.2.1 interface p1", "no shutdown")
        wait_for(lambda: session()["state"] == "up", 20.0)
        there.end("bfdd")
        wait_for(lambda: session()["state"] == "down")
        there.start("bfdd", configuration(300, ("p1",)))
        wait_for(lambda: session()["state"] == "up", 20.0)
        os.kill(ours.pid, signal.SIGKILL)
        time.sleep(0.1)
        assert on.pyteamd(f"-d -o -t team0 -c '{json.dumps(CONFIG)}'").status == 0
        wait_for(lambda: session()["state"] == "up", 20.0)
        wait_for(lambda: there.peer()["status"] == "up")


LOSS = ("tc -n {switch} qdisc add dev {link} root netem loss 100%", "tc -n {switch} qdisc del dev {link} root")
CUTS = {
    "the bridge port between them is out": (
        ("ip -n {switch} link set m1 nomaster", "ip -n {switch} link set m1 master mid"),
    ),
    "what they send is lost": (tuple(words.replace("{link}", "f1") for words in LOSS),),
    "what we send is lost": (tuple(words.replace("{link}", "m1") for words in LOSS),),
    "both are lost": tuple(tuple(words.replace("{link}", link) for words in LOSS) for link in ("f1", "m1")),
}


@pytest.mark.parametrize("cut", chosen(CUTS, [*CUTS][1:]))
def test_a_path_behind_a_bridge_breaks_while_the_carrier_stays(cut: str) -> None:
    """em1 --- p1 [bridge mid] m1 --- f1 FRR. LACP at its fast rate would take 3 s for any of them; the last would stay hidden from ARP."""
    with bench() as on:
        on.on_switch("ip link add mid type bridge mcast_snooping 0 && ip link add m1 type veth peer name f1")
        on.on_switch("ip link set p1 master mid && ip link set m1 master mid")
        on.on_switch("ip link set mid up && ip link set m1 up && ip link set f1 up")
        with frr(on, links=("f1",)) as there, daemon(PYTEAMD, on, json.dumps(CONFIG)):
            up(on, there)
            wait_for(lambda: on.active() == "em1")
            breaks, mends = (
                [words.format(switch=on.switch) for words in side] for side in zip(*CUTS[cut], strict=True)
            )
            with at_a_word(*breaks) as go:
                began = go()
                wait_for(lambda: on.active() == "em2", 15.0, cut)
            took_s = switched_at(on) - began
            print(f"{cut}: {1000 * took_s:.0f} ms")
            assert took_s < LIMIT_S, cut
            assert on.on_host("cat /sys/class/net/em1/carrier").out.strip() == "1"
            with at_a_word(*mends) as go:
                go()
                wait_for(lambda: on.active() == "em1", 20.0)


def told(on: Bench) -> Timeline:
    """What the daemon has seen and done."""
    with tempfile.TemporaryDirectory() as place:
        assert on.pyteamdctl(f"team0 trace save {place}/trace").status == 0
        return timeline(Path(place, "trace").read_text().splitlines(), retell)


def switched_at(on: Bench) -> float:
    """When the daemon last wrote another active port, in seconds of the wall clock, out of its trace."""
    seen = told(on)
    assert seen.unix_offset_s is not None
    writes = [mark.at for mark in seen.marks if mark.kind == "write" and "set activeport" in mark.text]
    return writes[-1] + seen.unix_offset_s


def test_a_killed_daemon_and_its_successor_are_no_flap() -> None:
    """The successor speaks within the detection time of the peer: 30 x 1 s here, for the lab starts a program slowly."""
    slow = {**WATCH, "interval": 1000, "multiplier": 30}
    config = json.dumps({**CONFIG, "ports": {"em1": {"prio": 10, "link_watch": slow}, "em2": {}}})
    with bench() as on, frr(on, 1000) as there, daemon(PYTEAMD, on, config) as ours:
        up(on, there)
        downs = json.loads(there.type("show bfd peers counters json"))[0]["session-down"]
        for _ in range(3 if os.environ.get("PYTEAMD_LONG") else 1):
            os.kill(ours.pid, signal.SIGKILL)
            assert on.pyteamd(f"-d -o -t team0 -c '{config}'").status == 0
            wait_for(lambda: session()["state"] == "up")
            assert session()["down_count"] == 0
            assert on.active() == "em1"
            time.sleep(1.5)
        counters = json.loads(there.type("show bfd peers counters json"))[0]
        assert counters["session-down"] == downs, counters
        assert there.peer()["status"] == "up"


@pytest.mark.skipif(
    not COUNTED, reason="a false alarm is only one where the clock counts instructions (PYTEAMD_COUNTED=1)"
)
def test_eight_sessions_among_busy_loops() -> None:
    """Real-time scheduling keeps eight sessions at 50 ms alive while four programs want all of the processor."""
    watched_s = float(os.environ.get("PYTEAMD_SECONDS", "120" if os.environ.get("PYTEAMD_LONG") else "20"))
    with bench(ports=8) as on:
        links = [name.replace("em", "p") for name in on.ports]
        config = {"runner": {"name": "roundrobin"}, "link_watch": WATCH, "ports": {name: {} for name in on.ports}}
        with frr(on, links=links) as there, daemon(PYTEAMD, on, json.dumps(config)) as ours:
            there.hurry()
            up(on, there)
            wait_for(lambda: sessions_up() == len(on.ports), 20.0, "all sessions")
            busy = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(4)]
            try:
                time.sleep(0.5)
                before, until = downs(), time.monotonic() + watched_s
                began, spent_s = time.monotonic(), cpu_s(ours.pid)
                while (false_alarms := downs() - before) == 0 and time.monotonic() < until:
                    time.sleep(0.5)
                share = (cpu_s(ours.pid) - spent_s) / (time.monotonic() - began)
            finally:
                for loop in busy:
                    loop.kill()
                    loop.wait()
            print(
                f"eight sessions, four busy loops, {watched_s:g} s: {false_alarms} false alarms, {share:.0%} of the processor"
            )
            assert false_alarms == 0, what_happened(on)
            assert sessions_up() == len(on.ports)


def what_happened(on: Bench) -> str:
    """The alarms with their reasons, and the longest pauses of either side on the first port, in ms with their moments."""
    seen = told(on)
    alarms = [f"{mark.at:.3f} {mark.text}" for mark in seen.marks if "bfd-link went down" in mark.text]
    pauses = []
    for sent in (True, False):
        times = [frame.at for frame in seen.frames if frame.port == "em1" and frame.sent is sent]
        gaps = sorted(((after - at, at) for at, after in pairwise(times)), reverse=True)[:3]
        pauses += [f"{'ours' if sent else 'theirs'}: {1000 * gap:.0f} from {at:.3f}" for gap, at in gaps]
    return "\n".join([*alarms, *pauses])


def cpu_s(pid: int) -> float:
    """Processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watches() -> list[dict[str, Any]]:
    return [port["link_watches"]["list"]["link_watch_0"] for port in state()["ports"].values()]


def sessions_up() -> int:
    return sum(watch["state"] == "up" for watch in watches())


def downs() -> int:
    return sum(watch["down_count"] for watch in watches())


def test_the_stack_does_not_answer_with_icmp() -> None:
    with bench() as on, daemon(PYTEAMD, on, json.dumps(CONFIG)):
        on.on_host("ip addr add 192.0.2.2/24 dev team0 && ip link set team0 up")
        taken = run("ss -Huln sport = :6784", namespace=on.host).out
        assert taken.count("6784") >= 2, "IPv4 and IPv6"
