"""OpenMetrics text: an independent reader of the format, the values, and hostile HTTP requests."""

from __future__ import annotations

import logging

import pytest
from explain_kit import backup, lacp, told, two_partners
from lldp_kit import lldpdu
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pyteamd.core.trace import Trace
from pyteamd.daemon.control.http import MetricsPage
from pyteamd.model.desired import OptionKey, Outputs, SetOption
from pyteamd.model.events import CarrierSeen, Overrun
from pyteamd.schema.values import listen_address
from pyteamd.views.metrics import Gauges, escaped, text

LOG = logging.getLogger("test_metrics")


def read(exposition: str) -> dict[str, float]:
    """Samples by name and labels, as prometheus_client's strict parser reads them."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(exposition):
        assert family.documentation
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            key = f"{sample.name}{{{labels}}}"
            assert key not in found
            found[key] = sample.value
    return found


def test_a_team_without_anything() -> None:
    made = told({"runner": {"name": "roundrobin"}})
    found = read(text([(made.team, Trace({}), Gauges())], made.world.clock))
    assert found['pyteamd_ports{team="team0"}'] == 0
    assert found['pyteamd_team_info{team="team0",runner="roundrobin"}'] == 1


def test_ports_and_verdicts() -> None:
    made = told(backup(eth1={}, eth2={}, eth9={}))
    made.world.set_peer("eth1", False)
    found = read(text([(made.team, Trace({}), Gauges())], made.world.clock))
    carrying = {
        name: found[f'pyteamd_port_carrying{{team="team0",port="{name}"}}'] for name in ("eth1", "eth2", "eth9")
    }
    assert carrying == {"eth1": 0, "eth2": 1, "eth9": 0}
    blocked = {key for key in found if key.startswith("pyteamd_port_blocked")}
    assert blocked == {
        'pyteamd_port_blocked{team="team0",port="eth1",reason="no_carrier"}',
        'pyteamd_port_blocked{team="team0",port="eth9",reason="no_port"}',
    }
    assert found['pyteamd_port_link_up{team="team0",port="eth1"}'] == 0
    assert found['pyteamd_port_speed_bytes{team="team0",port="eth2"}'] == 125e6
    assert found['pyteamd_port_down_total{team="team0",port="eth1",watcher="ethtool",instance="link_watch_0"}'] == 1


def test_sessions_and_penalties() -> None:
    watch = {"name": "bfd", "local_host": "192.0.2.2", "peer_host": "192.0.2.1", "interval": 50}
    made = told(backup(eth1={"link_watch": watch}, eth2={"damping": {"half_life": 5}}))
    made.world.partner("eth1", "bfd", {})
    made.world.pass_time(3.0)
    made.world.set_peer("eth2", False)
    made.world.pass_time(5.0)
    found = read(text([(made.team, Trace({}), Gauges())], made.world.clock))
    session = 'team="team0",port="eth1",instance="link_watch_0"'
    assert found[f"pyteamd_port_bfd_up{{{session}}}"] == 1
    assert found[f"pyteamd_port_bfd_admin_down{{{session}}}"] == 0
    assert found[f"pyteamd_port_bfd_detection_seconds{{{session}}}"] == 0.15
    assert found['pyteamd_port_damping_penalty{team="team0",port="eth2"}'] == pytest.approx(500)
    assert found['pyteamd_port_damping_suppressed{team="team0",port="eth2"}'] == 0


def test_lacp_counters() -> None:
    made, _, _ = two_partners(lacp())
    found = read(text([(made.team, Trace({}), Gauges())], made.world.clock))
    assert found['pyteamd_port_lacp_lacpdus_received_total{team="team0",port="eth1"}'] >= 4
    (partner,) = [key for key in found if key.startswith('pyteamd_port_partner_info{team="team0",port="eth1"')]
    assert 'system="02:' in partner
    flags = {
        key: value
        for key, value in found.items()
        if key.startswith('pyteamd_port_partner_state{team="team0",port="eth1"')
    }
    assert len(flags) == 8
    assert flags['pyteamd_port_partner_state{team="team0",port="eth1",flag="synchronization"}'] == 1


def test_neighbours() -> None:
    made = told(backup(eth1={}, eth2={}))
    made.hears("eth1", lldpdu('Et"3', "sw\x1b1", aggregates=False))
    made.hears("eth2", b"\x02\x01x")
    found = read(text([(made.team, Trace({}), Gauges())], made.world.clock))
    (key,) = [key for key in found if key.startswith("pyteamd_port_neighbour_info")]
    assert 'port="eth1",chassis="02:00:00:00:00:' in key
    assert 'neighbour_port="Et"3",system="sw\\x1b1",vlan="42"' in key
    assert found['pyteamd_port_neighbour_aggregation{team="team0",port="eth1"}'] == 0
    assert found['pyteamd_port_neighbours{team="team0",port="eth2"}'] == 0
    assert found['pyteamd_port_neighbour_drops_total{team="team0",port="eth2",reason="tlv_type"}'] == 1
    made.world.pass_time(121.0)
    found = read(text([(made.team, Trace({}), Gauges())], made.world.clock))
    assert found['pyteamd_port_neighbours{team="team0",port="eth1"}'] == 0
    assert not any(key.startswith("pyteamd_port_neighbour_info") for key in found)


def test_a_port_without_place_in_the_team_has_a_cause_of_its_own() -> None:
    made, _, _ = two_partners(lacp(min_ports=3))
    found = read(text([(made.team, Trace({}), Gauges())], made.world.clock))
    assert found['pyteamd_port_blocked{team="team0",port="eth1",reason="team_carrier"}'] == 1


def test_what_is_counted() -> None:
    made, trace, gauges = told(backup()), Trace({}, 2), Gauges()
    switch = SetOption(OptionKey("activeport"), 3)
    trace.record(0.0, CarrierSeen(2, False), (switch,), Outputs())
    trace.record(0.0, Overrun(), (), Outputs())
    trace.record(0.0, Overrun(), (), Outputs())
    for seconds in (0.25, 0.001):
        gauges.writes.add(seconds)
        gauges.late.add(seconds)
    found = read(text([(made.team, trace, gauges)], made.world.clock))
    assert found['pyteamd_switches_total{team="team0"}'] == 1
    assert found['pyteamd_events_total{team="team0",kind="Overrun"}'] == 2
    assert found['pyteamd_write_seconds_count{team="team0"}'] == 2
    assert found['pyteamd_write_seconds_sum{team="team0"}'] == 0.251
    assert found['pyteamd_write_seconds_bucket{team="team0",le="0.0005"}'] == 0
    assert found['pyteamd_write_seconds_bucket{team="team0",le="0.001"}'] == 1
    assert found['pyteamd_write_seconds_bucket{team="team0",le="+Inf"}'] == 2
    assert found['pyteamd_loop_late_seconds_bucket{team="team0",le="0.1"}'] == 1
    assert found['pyteamd_trace_dropped_total{team="team0"}'] == 1


def test_names_that_are_no_text() -> None:
    assert escaped('a"b\\c\nd\udcff') == 'a\\"b\\\\c\\nd\\\\xff'


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"200 OK"),
        (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", b"200 OK"),
        (b"GET / HTTP/1.1\r\n\r\n", b"200 OK"),
        (b"GET /etc/passwd HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"\x00\xff" * 4096, b"400"),
        (b"", b"400"),
        (b"GET /metrics\r\n\r\n", b"400"),
    ],
)
def test_requests(request_: bytes, status: bytes) -> None:
    answer = MetricsPage(lambda: "# EOF\n", True, LOG).response(request_)
    assert answer.startswith(b"HTTP/1.1 " + status)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


@pytest.mark.parametrize(
    ("hosts", "good"),
    [
        (("127.0.0.1:9700",), True),
        (("127.0.0.53",), True),
        (("LocalHost:9700",), True),
        (("[::1]:9700",), True),
        ((), True),
        (("evil.example:9700",), False),
        (("127.0.0.1.evil.example",), False),
        (("localhost.evil.example:9700",), False),
        (("localhost", "evil.example"), False),
        (("evil.example", "localhost"), False),
        (("",), False),
        (("10.0.0.1:9700",), False),
    ],
)
def test_a_web_page_that_makes_its_name_lead_here_is_refused(hosts: tuple[str, ...], good: bool) -> None:
    request = "GET /metrics HTTP/1.1\r\n" + "".join(f"Host: {host}\r\n" for host in hosts) + "Accept: */*\r\n\r\n"
    answer = MetricsPage(lambda: "secret\n", True, LOG).response(request.encode())
    assert answer.startswith(b"HTTP/1.1 200 OK" if good else b"HTTP/1.1 421")
    assert (b"secret" in answer) is good
    assert b"secret" in MetricsPage(lambda: "secret\n", False, LOG).response(request.encode()), (
        "a unix socket has no name"
    )


def test_a_fault_of_ours_is_an_answer_too(caplog: pytest.LogCaptureFixture) -> None:
    def breaks() -> str:
        raise ZeroDivisionError("x")

    answer = MetricsPage(breaks, True, LOG).response(b"GET / HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert "This is a bug" in caplog.text


@pytest.mark.parametrize(
    ("text_", "good"),
    [
        ("/run/team0.metrics", True),
        ("127.0.0.1:9700", True),
        ("[::1]:9700", True),
        ("127.9.9.9:1024", True),
        ("127.0.0.1:1023", True),
        ("[::1]:80", True),
        ("0.0.0.0:9700", False),
        ("192.0.2.1:9700", False),
        ("localhost:9700", False),
        ("127.0.0.1:0", False),
        ("127.0.0.1:65536", False),
        ("127.0.0.1", False),
        ("", False),
        ("/" + "x" * 107, False),
    ],
)
def test_only_loopback_and_paths(text_: str, good: bool) -> None:
    if good:
        listen_address(text_)
        return
    with pytest.raises(ValueError, match=r"is |has "):
        listen_address(text_)


def test_who_asks_all_the_time_takes_no_time_from_the_ports() -> None:
    made, now = [], [0.0]

    def answer() -> str:
        made.append(now[0])
        return f"pyteamd_pages {len(made)}\n"

    page = MetricsPage(answer, True, LOG, lambda: now[0])
    for step in range(1000):
        now[0] = step / 1000
        text = page.response(b"GET /metrics HTTP/1.1\r\n\r\n")
    assert made == [0.0, 0.25, 0.5, 0.75]
    assert text.endswith(b"pyteamd_pages 4\n")
