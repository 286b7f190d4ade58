"""What the lacp runner tells people: the reason of every port, in words, and its invariants; and the balancer it carries."""

from __future__ import annotations

from typing import Any

import pytest
from lacp_bench import PARTNER_MAC, Bench, FakePort

from pyteamd.model.desired import OptionKey
from pyteamd.runners.base import Reason
from pyteamd.runners.lacp.blocked import Obstacle
from pyteamd.runners.lacp.keys import LacpPortConfig
from pyteamd.runners.lacp.machines import Attached, Current, Detached, Expired, Mux
from pyteamd.runners.lacp.words import SENTENCES
from pyteamd.wire.lacpdu import Lacpdu, LacpInfo


def why(bench: Bench, ifindex: int) -> Reason:
    return bench.runner.explain(bench.ports[ifindex], bench.view, bench.now)


def test_every_reason_has_a_sentence() -> None:
    assert SENTENCES.keys() == set(Obstacle)


def test_in_service_and_since_when() -> None:
    bench = Bench(FakePort(3))
    bench.serve()
    reason = why(bench, 3)
    assert (reason.carrying, reason.hint) == (True, "")
    assert reason.text.startswith(
        "in service (partner 02:bb:00:00:00:01, key 7, active, short timeout, aggregatable, in sync"
    )
    assert reason.since == pytest.approx(1002.0)


def said_by(bench: Bench, **changes: Any) -> None:
    """P says something about port 3 that is wrong, twice in two seconds."""
    truth = bench.actor(3)
    told = LacpInfo(**({name: getattr(truth, name) for name in truth.__dataclass_fields__} | changes))
    for _ in range(3):
        bench.frame(3, Lacpdu(LacpInfo(100, PARTNER_MAC, 7, 255, 103, 0x3F), told).build())
        bench.wait(1.0)


def story(name: str) -> Bench:
    """A bench whose port 3 is not in service, for one reason."""
    match name:
        case "waiting":
            bench = Bench()
            bench.hear(3)
            bench.hear(4)
        case "silent":
            bench = Bench()
            bench.wait(5.0)
        case "expired":
            bench = Bench()
            bench.serve()
            bench.wait(3.0)
        case "mistaken":
            bench = Bench()
            said_by(bench, port=9)
        case "not in sync":
            bench = Bench()
            for _ in range(3):
                bench.hear(3, state=0x07)
                bench.wait(1.0)
        case "individual":
            bench = Bench(FakePort(3, config=LacpPortConfig(lacp_prio=300)), FakePort(4), sys_prio=1)
            for _ in range(3):
                bench.hear(3, state=0x3B)
                bench.hear(4)
                bench.wait(1.0)
        case "nobody":
            bench = Bench()
            bench.hear(3, mac=bytes(6))
        case "passive":
            bench = Bench(FakePort(3), active=False)
            bench.serve()
            bench.wait(10.0)
        case "fallback delay":
            bench = Bench(fallback="static", fallback_delay=60_000)
            bench.wait(5.0)
        case _:
            raise AssertionError(name)
    return bench


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("waiting", "not in service: waiting for other links to come up with it, 2.0 s left", ""),
        ("silent", "not in service: no LACPDU was ever heard", "runner.fallback would use the port without"),
        ("expired", "not in service: LACPDUs of partner 02:bb:00:00:00:01 stopped", "slow protocols"),
        ("mistaken", "it says our port is 9, it is 3", "the cable leads elsewhere"),
        ("not in sync", "has not set SYNC (active, short timeout, aggregatable, out of sync)", "its key is 7"),
        ("individual", "says that this link may not be aggregated", "check the switch port's LAG"),
        ("nobody", "the partner gives no system identifier (00:00:00:00:00:00)", "it may still be starting"),
        ("passive", "not in service: no partner speaks, and we are passive", "set runner.active to true"),
        ("fallback delay", "no partner, fallback begins soon, 58.0 s left", ""),
    ],
)
def test_the_first_reason_in_words(name: str, text: str, hint: str) -> None:
    reason = why(story(name), 3)
    assert not reason.carrying
    assert text in reason.text
    assert hint in reason.hint


def test_a_port_in_fallback_carries_traffic() -> None:
    bench = Bench(fallback="static")
    bench.wait(5.0)
    assert why(bench, 3) == Reason(
        True, "in service without a partner", "the first LACPDU ends it", 1003.0, " (fallback static)"
    )


def test_invariants_hold_in_service_and_say_what_is_broken() -> None:
    bench = Bench()
    bench.serve()
    assert bench.runner.broken(bench.view) == []
    ports = bench.runner._group.ports
    ports[3].receive = Expired(bench.now)
    assert bench.runner.broken(bench.view) == [
        "eth3: in service in the state expired",
        "eth3: collecting_distributing, and could be attached",
    ]
    ports[3].receive = Current(bench.now + 9)
    ports[3].partner = LacpInfo(100, b"\x02\xcc\0\0\0\x01", 7, 255, 103, 0x37)
    assert bench.runner.broken(bench.view) == [
        "eth3: in service, and the partner is not in sync",
        "ports in service have different partners or keys",
        "eth3: collecting_distributing, and could be attached",
    ]
    ports[3].standing = Detached()
    ports[4].standing = Attached(None, Mux.COLLECTING_DISTRIBUTING)
    assert "eth4: in service in an aggregate that is not in use" in bench.runner.broken(bench.view)


def test_hash_and_balancer_are_those_of_loadbalance() -> None:
    plain = Bench()
    assert plain.runner.settings()[OptionKey("lb_tx_method")] == "hash"
    assert list(plain.runner.announcements()) == ["TX balancing disabled."]
    bench = Bench(FakePort(3), FakePort(4, config=LacpPortConfig(weight=3)), tx_balancer_name="basic")
    assert bench.runner.settings()[OptionKey("lb_tx_method")] == "hash_to_port_mapping"
    bench.serve()
    options = bench.runner.desired(bench.view).options
    mapped = [port for key, port in options.items() if key.name == "lb_tx_hash_to_port_mapping"]
    assert len(mapped) == 256
    assert set(mapped) == {3, 4}
    assert mapped.count(4) > mapped.count(3)
    assert options[OptionKey("enabled", 3)] is True
    bench.ports[4].running = False
    bench.changed(4)
    options = bench.runner.desired(bench.view).options
    assert {port for key, port in options.items() if key.name == "lb_tx_hash_to_port_mapping"} == {3}
