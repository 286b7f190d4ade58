"""The active balancer, the queue override, take-over, and the driver's options beside C teamd's, on the real driver."""

from __future__ import annotations

import os
import re
import signal
import struct
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import bpf_machine
import pytest
from lab_kit import PYTEAMD, Bench, bench, chosen, daemon, runs, state, wait_for
from test_balanced import GATEWAY, Wires, flows, plain, runner, wires

from pyteamd.runners.spread.hash_program import fold, reference_hash

pytestmark = pytest.mark.kernel

INTERVAL_S = 0.3
ACTIVE = ', "tx_hash": ["eth"], "tx_balancer": {"name": "basic", "balancing_interval": 3}'
SLOW = ', "tx_hash": ["eth"], "tx_balancer": {"name": "basic", "balancing_interval": 600}'
MICE, ELEPHANT_FRAMES = 20, 8
MOUSE_OCTETS, ELEPHANT_OCTETS = 400, 1000
BURST_S = 0.025
MAPPED = "lb_tx_hash_to_port_mapping"


def mapping(on: Bench) -> dict[int, str]:
    """Bucket → port, as the driver has it."""
    found = {}
    for name, value in on.options().items():
        if name.startswith(MAPPED):
            found[int(re.findall(r"\d+", name)[-1])] = value
    return found


def flows_of_one_port(at: Wires, count: int) -> list[bytes]:
    """Headers of flows in different buckets that all leave through one port now: a load as skewed as can be."""
    places = mapping(at.on)
    victim = places[0]
    headers: dict[int, bytes] = {}
    for number in range(1, 1 << 16):
        header = plain(b"\x02\0\0\0" + struct.pack("!H", number))[:14]
        bucket = fold(reference_hash(("eth",), header))
        if places[bucket] == victim and bucket not in headers:
            headers[bucket] = header
        if len(headers) == count:
            return list(headers.values())
    raise AssertionError("not enough buckets on one port")


def send_for(at: Wires, frames: list[bytes], seconds: float) -> Counter[int]:
    """Bursts of these frames; returns the octets that came out of each port."""
    octets: Counter[int] = Counter()
    end_s = time.monotonic() + seconds
    while (began_s := time.monotonic()) < end_s:
        for frame in frames:
            at.mouth.say(frame)
        for port, ear in at.ears.items():
            octets[port] += sum(len(heard.octets) for heard in ear.hear())
        time.sleep(max(0.0, BURST_S - (time.monotonic() - began_s)))
    return octets


def elephant_among(mice: Sequence[bytes], elephant: bytes) -> list[bytes]:
    """A burst in which both are mixed evenly, so that a part of it (the machine may stand still) is as skewed as the whole."""
    herd: list[bytes] = []
    for number, mouse in enumerate(mice):
        herd.append(mouse.ljust(MOUSE_OCTETS, b"m"))
        now, before = ((n * ELEPHANT_FRAMES) // len(mice) for n in (number + 1, number))
        herd += [elephant.ljust(ELEPHANT_OCTETS, b"e")] * (now - before)
    return herd


def test_an_elephant_and_many_mice() -> None:
    """All on one port at first; after three intervals within a tenth of the best split, and then nothing moves any more."""
    with wires(runner("loadbalance", ACTIVE)) as at:
        wait_for(lambda: len(mapping(at.on)) == 256 and "0" not in mapping(at.on).values())
        elephant, *mice = flows_of_one_port(at, MICE + 1)
        burst = elephant_among(mice, elephant)
        with at.on.option_events() as events:  # the interval may end at any moment, also in the middle of these
            began_s = time.monotonic()
            first = send_for(at, burst, 0.1)
        assert min(first[1], first[2]) == 0 or any(MAPPED in line for line in events), "the load was not skewed"
        send_for(at, burst, began_s + 3 * INTERVAL_S - time.monotonic())
        settled = send_for(at, burst, 2 * INTERVAL_S)
        total = sum(len(frame) for frame in burst)
        best = max(ELEPHANT_FRAMES * ELEPHANT_OCTETS, total / 2)
        share = max(settled.values()) / sum(settled.values())
        assert share <= 1.1 * best / total, settled
        with at.on.option_events() as events:
            send_for(at, burst, 5 * INTERVAL_S)
        assert any("lb_hash_stats" in line for line in events), "the driver counts nothing"
        assert not [line for line in events if MAPPED in line]


def test_a_port_of_less_weight_gets_less() -> None:
    text = f'{{"runner": {{"name": "loadbalance"{ACTIVE}}}, "ports": {{"em1": {{"weight": 3}}, "em2": {{}}}}}}'
    with wires(text) as at:
        wait_for(lambda: len(mapping(at.on)) == 256 and "0" not in mapping(at.on).values())
        burst = [flow.ljust(MOUSE_OCTETS, b"m") for flow in flows_of_one_port(at, 40)]
        send_for(at, burst, 3 * INTERVAL_S)
        settled = send_for(at, burst, 2 * INTERVAL_S)
        assert 0.675 <= settled[1] / sum(settled.values()) <= 0.825, settled


def kill(pid: int) -> None:
    """End a process as a crash does, and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not runs(pid))


@pytest.mark.parametrize("more", ["", SLOW])
def test_a_restart_after_a_crash_writes_nothing(more: str) -> None:
    config = runner("loadbalance", more)
    with wires(config) as at:
        at.cut(2)
        wait_for(lambda: at.on.options()["enabled (port:em2)"] == "false")
        at.mend(2)  # the map is now another one than a fresh daemon would make
        wait_for(lambda: at.on.options()["enabled (port:em2)"] == "true")
        time.sleep(0.3)
        before = at.on.options()
        with at.on.option_events() as events:
            kill(int(Path("/run/teamd/team0.pid").read_text()))
            assert len(at.counts()) == 1, "one flow leaves through one port, daemon or not"
            assert at.on.pyteamd(f"-d -o -t team0 -c '{config}'").status == 0
            wait_for(lambda: at.on.on_host("teamdctl team0 state").out.count("link summary: up") == 2)
            time.sleep(0.3)
        assert [line for line in events if "stats" not in line] == []
        assert unsteady_out(at.on.options()) == unsteady_out(before)


def unsteady_out(options: dict[str, str]) -> dict[str, str]:
    """Without the counters."""
    return {name: value for name, value in options.items() if "stats" not in name or "refresh" in name}


# Queue override


def to(address: str) -> bytes:
    """An IPv4 frame."""
    octets = bytes(int(part) for part in address.split("."))
    header = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 17, 0) + bytes((192, 168, 1, 1)) + octets
    return GATEWAY + b"\x02\0\0\0\x01\x01\x08\x00" + header + bytes(26)


@pytest.mark.parametrize("name", ["activebackup", "broadcast", "loadbalance", "random", "roundrobin"])
def test_traffic_to_one_address_leaves_through_the_port_of_its_queue(name: str) -> None:
    """The commands are those of docs/queues.md. The driver overrides towards ports in service; with activebackup that is one only."""
    text = f'{{"runner": {{"name": "{name}"}}, "ports": {{"em1": {{"prio": 10}}, "em2": {{"queue_id": 3}}}}}}'
    recipe = (Path(__file__).parents[2] / "docs/queues.md").read_text()
    commands = [line.strip() for line in recipe.splitlines() if line.startswith("    tc ")]
    assert len(commands) == 2
    with wires(text) as at:
        for command in commands:
            result = at.on.on_host(command)
            assert result.status == 0, result

        def through(*addresses: str) -> set[int]:
            came = at.sent([to(address) for address in addresses])
            assert all(len(ports) == 1 for ports in came) or name == "broadcast", "a frame was lost, or came twice"
            return {port for ports in came for port in ports}

        special = ["192.168.1.100"] * 50
        others = [f"192.168.1.{n}" for n in range(1, 51)]
        if name == "activebackup":
            assert (through(*special), through(*others)) == ({1}, {1})
            at.on.on_host("teamdctl team0 state item set runner.active_port em2")
            wait_for(lambda: at.on.active() == "em2")
            assert through(*special) == {2}
            return
        assert (through(*special), through(*others)) == ({2}, {1, 2})
        if name != "loadbalance":
            return  # a cable that is cut while the port is in service breaks kernels, see docs/queues.md
        at.cut(2)
        wait_for(lambda: at.on.options()["enabled (port:em2)"] == "false")
        assert through(*special) == {1}
        at.mend(2)
        wait_for(lambda: at.on.options()["enabled (port:em2)"] == "true")
        assert through(*special) == {2}


# The driver's options beside C teamd's

CONFIGS = {
    "broadcast": '{"runner":{"name":"broadcast"},"ports":{"em1":{"prio":-3},"em2":{"queue_id":2}}}',
    "random": '{"runner":{"name":"random"},"ports":{"em1":{},"em2":{}}}',
    "roundrobin": '{"runner":{"name":"roundrobin"},"ports":{"em1":{"queue_id":0},"em2":{"prio":7}}}',
    "roundrobin, watched": '{"runner":{"name":"roundrobin"},"link_watch":{"name":"arp_ping","interval":200,"target_host":"192.0.2.7"},'
    '"ports":{"em1":{},"em2":{}}}',
    "loadbalance": '{"runner":{"name":"loadbalance","tx_hash":["eth","ipv4","ipv6"]},"ports":{"em1":{},"em2":{}}}',
    "loadbalance, balanced": '{"runner":{"name":"loadbalance","tx_hash":["eth","ipv4","ipv6"],"tx_balancer":{"name":"basic"}},'
    '"ports":{"em1":{},"em2":{}}}',
    "loadbalance, other interval": '{"runner":{"name":"loadbalance","tx_balancer":{"name":"basic","balancing_interval":7}},'
    '"ports":{"em1":{},"em2":{}}}',
    "unknown balancer, empty tx_hash": '{"runner":{"name":"loadbalance","tx_hash":[],"tx_balancer":{"name":"clever"}},'
    '"ports":{"em1":{},"em2":{}}}',
    "bad entries of tx_hash, negative interval": '{"runner":{"name":"loadbalance","tx_hash":["eth","nosuch",7,null,"l4"],'
    '"tx_balancer":{"name":"basic","balancing_interval":-3}},"ports":{"em1":{},"em2":{}}}',
    "tx_hash that is no list, interval 0": '{"runner":{"name":"loadbalance","tx_hash":"eth",'
    '"tx_balancer":{"name":"basic","balancing_interval":0}},"ports":{"em1":{},"em2":{}}}',
    "balancer and interval of wrong types": '{"runner":{"name":"loadbalance","tx_hash":["l3","l3"],'
    '"tx_balancer":{"name":"basic","balancing_interval":"7"}},"ports":{"em1":{},"em2":{}}}',
}
LATER = (
    "random",
    "roundrobin, watched",
    "loadbalance",
    "loadbalance, other interval",
    "unknown balancer, empty tx_hash",
    "tx_hash that is no list, interval 0",
)
OUR_OWN = re.compile(r"bpf_hash_func|lb_(hash|port)_stats|lb_tx_hash_to_port_mapping")
"""The program is another one with the same results, counters differ from run to run, the first map is a row of docs/differences.md."""


def options_in_effect(on: Bench) -> dict[str, str]:
    """Without `user_linkup` where the driver does not look at it: teamd writes that at some moments only (docs/differences.md)."""
    found = {name: value for name, value in on.options().items() if not OUR_OWN.match(name)}
    for port in on.ports:
        if found.get(f"user_linkup_enabled (port:{port})") == "false":
            del found[f"user_linkup (port:{port})"]
    return found


PHASES = (None, True, False)
"""Port 1 cut; not for each of the configurations that differ by the balancer only."""


def hashes(on: Bench) -> list[int]:
    """What the hash program in the kernel makes of frames. Without TCP and UDP over IPv6, which is a row of docs/differences.md."""
    said = on.on_host("teamnl team0 getoption bpf_hash_func")
    program = bytes.fromhex(said.out.replace("\\", "")) if said.status == 0 else b""
    frames = [plain(), *(flow.frame(GATEWAY) for flow in flows(40, seed=6) if ":" not in flow.src)]
    frames += [frame[:12] + b"\x81\x00\x60\x07" + frame[12:] for frame in frames]
    return [bpf_machine.run(program, frame) for frame in frames] if program else []


def options_of(program: str, config: str) -> list[tuple[dict[str, str], str, str, list[int]]]:
    """Options, state, stored configuration and hashes, at the start, with a port cut, with the port back."""
    seen = []
    with bench() as on, daemon(program, on, config):
        on.on_host("ip link set team0 up")
        for cut in PHASES[: None if "tx_balancer" not in config else 1]:
            if cut is not None:
                (on.cut if cut else on.mend)(1)
            for number in (1, 2):
                on.await_driver(number, not (cut and number == 1))
            if "arp_ping" not in config:  # nobody answers those
                up = 1 if cut else 2
                wait_for(lambda up=up: [p["link_watches"]["up"] for p in state()["ports"].values()].count(True) == up)
            time.sleep(0.1)
            seen.append(
                (
                    options_in_effect(on),
                    on.on_host("teamdctl team0 state").out,
                    on.on_host("teamdctl team0 config dump").out,
                    hashes(on),
                )
            )
    return seen


@pytest.mark.parametrize("name", chosen(CONFIGS, LATER))
def test_options_are_those_of_teamd(name: str) -> None:
    assert options_of(PYTEAMD, CONFIGS[name]) == options_of("teamd", CONFIGS[name])
