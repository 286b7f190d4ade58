"""Which port a flow takes and how even the ports are used: descriptions of flows, the driver's numbering, the verbs of the client."""

from __future__ import annotations

import io
import json
import re
import socket
import struct
from typing import Any

import pytest
from ctl_cases import STATES, TEAM, daemon, success
from ctl_mock import MockDaemon

from pyteamd.cli.pyteamdctl import main as ctl
from pyteamd.cli.pyteamdctl.balance import flow_of
from pyteamd.cli.pyteamdctl.verbs import VerbError
from pyteamd.model.desired import OptionKey
from pyteamd.model.errors import UserError
from pyteamd.runners.spread.hash_program import fold, reference_hash
from pyteamd.scenario.simulated import SimulatedWorld
from pyteamd.schema import json_text
from pyteamd.views import prediction as balance

MAC = bytes.fromhex("020000000001")
GATEWAY = "02:00:00:00:00:fe"


def world(more: str = "", ports: int = 3) -> SimulatedWorld:
    """A loadbalance team whose ports are up."""
    made = SimulatedWorld()
    names = [f"eth{number}" for number in range(1, ports + 1)]
    for name in names:
        made.make_port(name, 1000, 1)
    config = {"runner": {"name": "loadbalance", **json.loads(f"{{{more}}}")}, "ports": {name: {} for name in names}}
    made.start(json.dumps(config), adopt=False, enslave=True, keep=False)
    return made


def predicted(made: SimulatedWorld, **flow: str) -> dict[str, Any]:
    return balance.predict(made.running().team, json.dumps(flow))


IPV4 = {"src": "192.0.2.1", "dst": "198.51.100.2"}


def test_the_frame_made_of_a_flow() -> None:
    frame, tci = balance.read_flow(
        json.dumps(IPV4 | {"sport": "1234", "dport": "80", "vlan": "7", "dmac": GATEWAY}), MAC, True
    )
    assert frame[:14] == bytes.fromhex("0200000000fe") + MAC + b"\x08\x00"
    assert (frame[23], frame[26:30], frame[30:34]) == (
        6,
        socket.inet_aton("192.0.2.1"),
        socket.inet_aton("198.51.100.2"),
    )
    assert struct.unpack_from("!HH", frame, 34) == (1234, 80)
    assert (tci, len(frame)) == (7, 60)


def test_the_frame_made_of_an_ipv6_flow() -> None:
    flow = {
        "src": "2001:db8::1",
        "dst": "2001:db8::2",
        "proto": "udp",
        "sport": "5",
        "dport": "53",
        "smac": "02:00:00:00:00:09",
    }
    frame, tci = balance.read_flow(json.dumps(flow), MAC, False)
    assert frame[:14] == bytes(6) + bytes.fromhex("020000000009") + b"\x86\xdd"
    assert (frame[20], struct.unpack_from("!HH", frame, 54), tci) == (17, (5, 53), None)


@pytest.mark.parametrize(
    ("dst", "mac"),
    [("224.1.2.3", "01005e010203"), ("239.129.2.3", "01005e010203")],
)
def test_a_group_has_its_own_address(dst: str, mac: str) -> None:
    frame, _ = balance.read_flow(json.dumps({"src": "192.0.2.1", "dst": dst}), MAC, True)
    assert frame[:6].hex() == mac


@pytest.mark.parametrize(
    ("flow", "problem"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "object of strings"),
        ('{"src": 5}', "object of strings"),
        ('{"source": "192.0.2.1"}', "'source' does not describe a flow (allowed: frame, src"),
        ('{"src": "192.0.2.1"}', "both src and dst"),
        ('{"src": "x", "dst": "192.0.2.1"}', "src: 'x' is not an IPv4 or IPv6 address"),
        ('{"src": "::1", "dst": "192.0.2.1"}', "not of the same kind"),
        ('{"src": "192.0.2.2", "dst": "192.0.2.1"}', "dmac is missing"),
        ('{"src": "192.0.2.2", "dst": "192.0.2.1", "dmac": "1"}', "hardware address"),
        (
            '{"src": "192.0.2.2", "dst": "192.0.2.1", "sport": "65536"}',
            "sport: '65536' is not a number from 0 to 65535",
        ),
        ('{"src": "192.0.2.2", "dst": "192.0.2.1", "dport": "-1"}', "dport: '-1' is not a number"),
        (f'{{"src": "192.0.2.2", "dst": "192.0.2.1", "dport": "{"9" * 5000}"}}', "is not a number from 0 to 65535"),
        ('{"src": "192.0.2.2", "dst": "192.0.2.1", "proto": "gre"}', "proto: 'gre' is unknown (allowed: icmp, tcp"),
        ('{"sport": "5"}', "sport needs src and dst"),
        ('{"frame": "zz"}', "written in hex"),
        ('{"frame": "00", "src": "192.0.2.1"}', "a frame, or src, not both"),
        ('{"frame": "00", "vlan": "4095"}', "vlan: '4095' is not a number from 0 to 4094"),
    ],
)
def test_wrong_descriptions(flow: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        balance.read_flow(flow, MAC, True)


def test_bucket_modulo_ports_in_the_order_they_were_enabled() -> None:
    made = world()
    order = ["eth1", "eth2", "eth3"]

    def check() -> None:
        for byte in range(40):
            frame = bytes.fromhex("0200000000fe0200000001") + bytes([byte]) + b"\x88\xb5" + bytes(46)
            bucket = fold(reference_hash(("eth", "ipv4", "ipv6"), frame))
            answer = predicted(made, frame=frame.hex())
            assert (answer["bucket"], answer["ports"], answer["certain"]) == (bucket, len(order), True)
            assert answer["port"] == order[bucket % len(order)]

    check()
    made.set_peer("eth1", False)
    order = ["eth2", "eth3"]
    check()
    made.set_peer("eth1", True)
    order = ["eth2", "eth3", "eth1"]
    check()
    made.remove_port("eth3")
    order = ["eth2", "eth1"]
    check()
    made.add_port("eth3")
    made.pass_time(0.1)
    order = ["eth2", "eth1", "eth3"]
    check()


def test_what_happened_before_we_looked_is_a_guess() -> None:
    made = world()
    made.kill()
    made.start(made_config(made), adopt=True, enslave=True, keep=False)
    assert predicted(made, **IPV4, dmac=GATEWAY)["certain"] is False
    for name in ("eth1", "eth2"):
        made.set_peer(name, False)
        made.set_peer(name, True)
    assert predicted(made, **IPV4, dmac=GATEWAY)["certain"] is True


def made_config(made: SimulatedWorld) -> str:
    return '{"runner": {"name": "loadbalance"}, "ports": {"eth1": {}, "eth2": {}, "eth3": {}}}'


def test_the_map_decides_where_there_is_one() -> None:
    made = world('"tx_balancer": {"name": "basic"}')
    team = made.running().team
    answer = predicted(made, **IPV4, dmac=GATEWAY)
    key = OptionKey("lb_tx_hash_to_port_mapping", 0, answer["bucket"])
    assert answer["method"] == "hash_to_port_mapping"
    assert answer["port"] == team.facts.name_of(int(team.facts.observed.options[key]))


def test_no_port_and_other_runners() -> None:
    made = world(ports=1)
    made.set_peer("eth1", False)
    assert predicted(made, **IPV4, dmac=GATEWAY)["port"] is None
    other = SimulatedWorld()
    other.start('{"runner": {"name": "roundrobin"}}', adopt=False, enslave=True, keep=False)
    with pytest.raises(UserError, match="roundrobin does not choose ports by a hash"):
        predicted(other, **IPV4)


def test_a_strange_program_in_the_driver_is_not_predicted() -> None:
    made = world()
    made.set_option(OptionKey("bpf_hash_func"), b"\x06\0\0\0\0\0\0\0")
    with pytest.raises(UserError, match="not the one of tx_hash"):
        predicted(made, **IPV4, dmac=GATEWAY)


def test_spread() -> None:
    made = world(ports=2)
    team = made.running().team
    ifindexes = list(team.ports)
    shown = balance.spread(team, dict(zip(ifindexes, (3000, 1000), strict=True)))
    assert shown["ports"]["eth1"] == {"octets": 3000, "weight": 1, "buckets": 128}
    assert shown["evenness"] == pytest.approx(2000 / 3000, abs=1e-4)
    assert balance.spread(team, {})["evenness"] is None
    assert balance.evenness({"a": (3000, 3), "b": (1000, 1)}) == 1.0


# The client


@pytest.mark.parametrize(
    ("words", "flow"),
    [
        (["--src", "a", "--dst=b"], {"src": "a", "dst": "b"}),
        (["0200", "00fe"], {"frame": "020000fe"}),
        (["0200", "--vlan", "7"], {"frame": "0200", "vlan": "7"}),
    ],
)
def test_words_of_a_flow(words: list[str], flow: dict[str, str]) -> None:
    assert flow_of(words) == flow


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "Which flow"),
        (["--port", "5"], "--port does not describe a flow"),
        (["--src"], "--src needs a value"),
        (["--src", "a", "--src", "b"], "--src is given twice"),
    ],
)
def test_wrong_words(words: list[str], problem: str) -> None:
    with pytest.raises(VerbError, match=problem):
        flow_of(words)


HASHED = {"hash": 1154, "bucket": 134, "method": "hash", "ports": 2, "port": "eth1", "certain": True, "frame": "00"}
SPREAD = {"runner": "loadbalance", "method": "hash", "evenness": 0.5,
          "ports": {"eth1": {"octets": 10, "weight": 1, "buckets": 128}, "eth2": {"octets": None, "weight": 2}}}  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "reply", "text"),
    [
        (
            ["hash", "--src", "a", "--dst", "b"],
            HASHED,
            "hash: 0x00000482\nbucket: 134\nport: eth1 (bucket modulo 2 ports)\n",
        ),
        (
            ["hash", "00"],
            HASHED | {"method": "hash_to_port_mapping"},
            "hash: 0x00000482\nbucket: 134\nport: eth1 (by the map)\n",
        ),
        (
            ["-v", "hash", "00"],
            HASHED,
            "hash: 0x00000482\nbucket: 134\nport: eth1 (bucket modulo 2 ports)\nframe: 00\n",
        ),
        (
            ["balance"],
            SPREAD,
            "method: hash\neth1: 10 octets, 100.0%, 128 of 256 buckets\neth2: octets unknown, weight 2\nevenness: 0.500 (1 is perfect)\n",
        ),
    ],
)
def test_verbs(
    argv: list[str], reply: dict[str, Any], text: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(tmp_path))
    answers = {name: success(json_text.dumps(reply)) for name in ("FlowHash", "Balance")}
    out, err = io.StringIO(), io.StringIO()
    options = [word for word in argv if word == "-v"]
    words = [word for word in argv if word != "-v"]
    with MockDaemon(f"{tmp_path}/{TEAM}.sock", daemon(STATES["ab"], **answers)):
        code = ctl.run("pyteamdctl", [*options, TEAM, *words], out, err)
    assert (code, out.getvalue(), err.getvalue()) == (0, text, "")
