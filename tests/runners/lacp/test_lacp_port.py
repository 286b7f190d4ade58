"""One LACP port: what it says, what it makes of what it hears, and when it speaks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from lacp_bench import Bench, FakePort

from pyteamd.model.events import Tick
from pyteamd.runners.lacp.habits import Habits
from pyteamd.runners.lacp.keys import LacpPortConfig
from pyteamd.runners.lacp.machines import (
    Attached,
    Current,
    Defaulted,
    Detached,
    Disabled,
    Expired,
    Link,
    Monitor,
    Mux,
    MuxInput,
    Receive,
    Selection,
    Waiting,
)
from pyteamd.runners.lacp.port import FAILED, NEVER, LacpPort, mismatch, same_link
from pyteamd.runners.lacp.system import LocalSystem, RateLimit, Transmitter
from pyteamd.wire import lacpdu
from pyteamd.wire.lacpdu import Lacpdu, LacpInfo

FAST = LocalSystem(65535, b"\x02\0\0\0\0\x01", active=True, fast=True)
SLOW = replace(FAST, fast=False)
PASSIVE = replace(SLOW, active=False)
PARTNER = LacpInfo(100, b"\x02\xbb\0\0\0\x01", 7, 255, 103, 0x3F)
US = LacpInfo(65535, b"\x02\0\0\0\0\x01", 0, 255, 3, 0x3F)
NOW = 1000.0
CURRENT, EXPIRED = Current(NOW + 3.03), Expired(NOW + 3.0)
SERVING = Mux.COLLECTING_DISTRIBUTING


def port(receive: Receive = CURRENT, mux: Mux = SERVING, local: LocalSystem = FAST, **settings: Any) -> LacpPort:
    """A port in this state that has just said what there is to say. `settings`: those of the port."""
    view = FakePort(3, config=LacpPortConfig(**settings))
    made = LacpPort(view, 3, b"\x02\0\0\0\0\x03", receive=receive, partner=PARTNER, told=US)
    put(made, mux, local)
    made.transmitter.said = made.actor(local)
    made.transmitter.spoke(NOW)
    return made


def put(made: LacpPort, mux: Mux, local: LocalSystem = FAST) -> None:
    """Bring the mux machine into this state."""
    lag = made.lag_id(local)
    match mux:
        case Mux.DETACHED:
            made.standing = Detached()
        case Mux.WAITING:
            made.standing = Waiting(lag, NOW, NOW + 2.0)
        case _:
            made.standing = Attached(lag, mux)


def fresh(made: LacpPort) -> LacpPort:
    """The same port, before it said anything."""
    return replace(made, transmitter=Transmitter())


@pytest.mark.parametrize(
    ("receive", "mux", "local", "octet"),
    [
        (CURRENT, SERVING, SLOW, 0x3D),
        (CURRENT, SERVING, FAST, 0x3F),
        (CURRENT, Mux.ATTACHED, SLOW, 0x0D),
        (CURRENT, Mux.COLLECTING, SLOW, 0x1D),
        (CURRENT, Mux.DISTRIBUTING, SLOW, 0x3D),
        (CURRENT, Mux.WAITING, SLOW, 0x05),
        (CURRENT, Mux.DETACHED, SLOW, 0x05),
        (CURRENT, Mux.DETACHED, PASSIVE, 0x04),
        (EXPIRED, Mux.DETACHED, SLOW, 0x85),
        (EXPIRED, Mux.ATTACHED, SLOW, 0x8D),
        (Defaulted(), Mux.DETACHED, SLOW, 0x45),
        (Disabled(), Mux.DETACHED, PASSIVE, 0x04),
    ],
)
def test_actor_state(receive: Receive, mux: Mux, local: LocalSystem, octet: int) -> None:
    made = port(receive, mux, local)
    assert made.actor(local).state == octet
    assert made.actor(local) == LacpInfo(65535, FAST.mac, 0, 255, 3, octet)


@pytest.mark.parametrize(
    "changed",
    [replace(FAST, mac=b"\x02\0\0\0\0\x02"), replace(FAST, priority=1), replace(FAST, active=False), SLOW],
)
def test_what_was_said_is_not_said_again_when_it_is_no_longer_true(changed: LocalSystem) -> None:
    made = port()
    assert made.actor(changed) == fresh(made).actor(changed) != made.transmitter.said
    due = made.due(changed)
    assert due is not None
    assert due <= NOW


@pytest.mark.parametrize(
    ("speed_mbps", "admin_key", "key"),
    [
        (0, 0, 1),
        (100, 0, 3 << 1 | 1),
        (1000, 1, 1 << 6 | 4 << 1 | 1),
        (10_000, 1023, 1023 << 6 | 7 << 1 | 1),
        (800_000, 1024, 17 << 1 | 1),
        (1234, 0, 31 << 1 | 1),
    ],
)
def test_keys_that_follow_speed(speed_mbps: int, admin_key: int, key: int) -> None:
    made = port(lacp_key=admin_key)
    made.speed_mbps = speed_mbps
    assert made.key(replace(FAST, keys_by_speed=True)) == key
    assert made.key(FAST) == admin_key


IDENTITY = [("system", b"\x02\xcc\0\0\0\x01"), ("system_priority", 1), ("key", 9), ("port", 9), ("port_priority", 9)]


@pytest.mark.parametrize(("field", "value"), IDENTITY)
def test_an_end_is_meant_only_if_all_its_names_are_right(field: str, value: Any) -> None:
    assert mismatch(replace(US, **{field: value}), US) == field
    assert not same_link(replace(US, **{field: value}), US)


@pytest.mark.parametrize("bit", [1 << n for n in range(8)])
def test_of_the_state_only_aggregation_is_part_of_who_is_meant(bit: int) -> None:
    assert mismatch(replace(US, state=US.state ^ bit), US) == ("aggregation" if bit == lacpdu.AGGREGATION else "")
    assert not mismatch(US, US)


# -- recordPDU -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("partner_state", "told", "local", "expected"),
    [
        (0x3F, US, FAST, True),
        (0x37, US, FAST, False),
        (0x3F, replace(US, port=9), FAST, False),
        (0x3F, replace(US, state=US.state & ~0x04), FAST, False),
        (0x3F, replace(US, state=0xC7), FAST, True),
        (0x3B, replace(US, port=9), FAST, True),
        (0x33, replace(US, port=9), FAST, False),
        (0x3E, US, FAST, True),
        (0x3E, US, replace(FAST, active=False), False),
        (0x3E, replace(US, state=0x3E), FAST, False),
        (0x3F, replace(US, state=0x3E), replace(FAST, active=False), True),
        (0x3F, None, FAST, False),
    ],
    ids=["right", "not in sync", "other port", "told individual", "only our state wrong", "individual partner",
         "individual, not in sync", "passive, we are active", "both passive", "passive, knows us passive",
         "active, we are passive", "never told"],
)  # fmt: skip
def test_when_the_partners_sync_counts(
    partner_state: int, told: LacpInfo | None, local: LocalSystem, expected: bool
) -> None:
    made = port()
    made.partner, made.told = replace(PARTNER, state=partner_state), told
    assert made.partner_sync(local) is expected
    in_sync = partner_state & lacpdu.SYNCHRONIZATION and expected
    assert made.partner_info(local).state == (partner_state if in_sync else partner_state & ~lacpdu.SYNCHRONIZATION)


@pytest.mark.parametrize(
    ("receive", "state", "repeated"),
    [(CURRENT, 0x3F, 0x3F), (EXPIRED, 0x3D, 0x37), (Disabled(), 0x3D, 0x35), (EXPIRED, 0x05, 0x07)],
)
def test_the_partner_as_it_is_repeated(receive: Receive, state: int, repeated: int) -> None:
    made = port(receive)
    made.partner = replace(PARTNER, state=state)
    assert made.partner_info(FAST) == replace(PARTNER, state=repeated)


# -- update_NTT and the transmit machine -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bit", "answers"),
    [
        (0x01, True),
        (0x02, True),
        (0x04, True),
        (0x08, True),
        (0x10, False),
        (0x20, False),
        (0x40, False),
        (0x80, False),
    ],
)
def test_a_wrong_bit_in_what_the_partner_says_of_us(bit: int, answers: bool) -> None:
    made = port()
    made.hear(Lacpdu(PARTNER, replace(US, state=US.state ^ bit)), b"", FAST, NOW + 0.5)
    assert made.transmitter.ntt is answers


@pytest.mark.parametrize(("field", "value"), IDENTITY)
def test_a_wrong_name_is_answered(field: str, value: Any) -> None:
    made = port()
    made.hear(Lacpdu(PARTNER, replace(US, **{field: value})), b"", FAST, NOW + 0.5)
    assert made.transmitter.ntt
    due = made.due(FAST)
    assert due is not None
    assert due <= NOW + 0.5


@pytest.mark.parametrize(
    ("receive", "partner_state", "local", "expected"),
    [
        (CURRENT, 0x3F, FAST, NOW + 1.0),
        (CURRENT, 0x3D, FAST, NOW + 30.0),
        (EXPIRED, 0x3D, FAST, NOW + 1.0),
        (Disabled(), 0x3F, FAST, None),
        (CURRENT, 0x3E, replace(FAST, active=False), None),
        (CURRENT, 0x3F, replace(FAST, active=False), NOW + 1.0),
    ],
)
def test_when_the_next_lacpdu_is_due(
    receive: Receive, partner_state: int, local: LocalSystem, expected: float | None
) -> None:
    made = port(receive)
    made.partner = replace(PARTNER, state=partner_state)
    made.transmitter.said = made.actor(local)
    assert made.due(local) == expected


def test_any_change_of_what_we_are_is_said_at_once() -> None:
    made = port()
    put(made, Mux.ATTACHED)
    due = made.due(FAST)
    assert due is not None
    assert due <= NOW


def test_three_a_second_and_the_fourth_is_kept() -> None:
    made = port()
    for offset in (0.0, 0.1, 0.2):
        made.transmitter.ntt = True
        made.transmit(FAST, NOW + offset)
        assert not made.transmitter.ntt
    assert made.due(FAST) == pytest.approx(NOW + 1.2), "nothing to say but the periodic one"
    made.transmitter.ntt = True
    assert made.due(FAST) == NOW + 1.0
    made.transmit(FAST, NOW + 1.0)
    made.transmitter.ntt = True
    assert made.due(FAST) == pytest.approx(NOW + 1.1)
    assert made.counters.lacpdus_sent == 4


def test_what_is_sent() -> None:
    octets = port().transmit(FAST, NOW)
    assert octets[:14] == b"\x01\x80\xc2\0\0\x02" + b"\x02\0\0\0\0\x03" + b"\x88\x09"
    assert lacpdu.parse(octets[14:], octets[:6]) == Lacpdu(US, PARTNER)


def test_a_port_on_hold_says_nothing() -> None:
    made = fresh(port(EXPIRED, Mux.DETACHED))
    made.standing = Detached(hold_until=NOW + 2.0)
    assert made.due(FAST) is None
    assert made.deadline() == NOW + 2.0
    made.expire(FAST, NOW + 2.0)
    assert made.due(FAST) is not None


def test_a_rate_limit_slides() -> None:
    limit = RateLimit(2)
    assert limit.free_at() == float("-inf")
    limit.use(1.0)
    limit.use(1.9)
    assert limit.free_at() == 2.0
    limit.use(2.0)
    assert limit.free_at() == pytest.approx(2.9)


# -- time ------------------------------------------------------------------------------------------------------------------


def test_the_deadline_is_the_first_of_all_timers() -> None:
    made = port(Current(NOW + 50), local=SLOW)
    made.partner = replace(PARTNER, state=0x3D)
    made.transmitter.said = made.actor(SLOW)

    def wakes_at() -> float:
        habits = Habits()
        habits.learn(made, None, made.due(SLOW), NEVER, None)
        return habits.wakes[made.ifindex]

    assert wakes_at() == NOW + 30
    made.churn.actor = Monitor(NOW + 20)
    assert wakes_at() == NOW + 20
    made.churn.partner = Monitor(NOW + 15)
    assert wakes_at() == NOW + 15
    made.well_since = NOW + 10
    assert wakes_at() == NOW + 10
    made.receive = Current(NOW + 5)
    assert wakes_at() == NOW + 5
    made.well_since = FAILED
    assert wakes_at() == NOW + 5


@pytest.mark.parametrize(
    ("late_s", "receive"), [(0.0, "expired"), (0.4, "expired"), (0.6, "current"), (60.0, "current")]
)
def test_after_a_standstill_what_is_in_the_socket_is_read_first(late_s: float, receive: str) -> None:
    made = port()
    now = CURRENT.until + late_s
    made.expire(FAST, now)
    assert made.receive.name == receive
    if receive == "current":
        assert made.silent_at() == now + 0.1
        made.expire(FAST, now + 0.1)
        assert made.receive.name == "expired"


def test_a_process_that_is_always_late_gives_a_silent_partner_up() -> None:
    bench = Bench(FakePort(3), FakePort(4))
    bench.serve()
    heard_at, states = bench.now, []
    while bench.now < heard_at + 20.0:
        bench.handle(Tick(), 0.7)
        states.append(bench.rx(3))
    assert bench.rx(3) == "defaulted", f"silent for {bench.now - heard_at:.1f} s: {states}"
    assert bench.enabled() == set()


@pytest.mark.parametrize("event", ["silence", "link"])
def test_wait_to_restore_begins_with_the_first_lacpdu_after_a_failure(event: str) -> None:
    made = port(wait_to_restore=10)
    if event == "silence":
        made.expire(FAST, CURRENT.until)
    else:
        made.set_link(Link.DOWN, FAST, NOW + 1)
        made.set_link(Link.UP, FAST, NOW + 2)
    assert (made.restore_at, made.mux, made.restoring(NOW + 5)) == (FAILED, Mux.DETACHED, False)
    made.hear(Lacpdu(PARTNER, US), b"", FAST, NOW + 5)
    assert made.restore_at == NOW + 15
    assert made.restoring(NOW + 14.9)
    made.set_link(Link.DOWN, FAST, NOW + 9)
    assert made.restore_at == FAILED, "a flap begins it again"
    made.set_link(Link.UP, FAST, NOW + 9)
    made.hear(Lacpdu(PARTNER, US), b"", FAST, NOW + 9.5)
    made.receive = Current(NOW + 99)
    made.expire(FAST, NOW + 19.5)
    assert made.restore_at is None


def test_a_port_that_was_never_in_use_need_not_wait_to_restore() -> None:
    made = port(mux=Mux.DETACHED, wait_to_restore=10)
    made.set_link(Link.DOWN, FAST, NOW)
    assert made.restore_at is None


def test_without_wait_to_restore_a_failure_keeps_the_place() -> None:
    made = port()
    made.set_link(Link.DOWN, FAST, NOW)
    assert (made.restore_at, made.mux.in_sync) == (None, True)


@pytest.mark.parametrize("link", [Link.TEAM_DOWN, Link.HALF_DUPLEX, Link.NO_SPEED, Link.LEAVING])
def test_a_link_that_is_there_but_of_no_use_gives_up_its_place(link: Link) -> None:
    made = port()
    made.set_link(link, FAST, NOW)
    assert (made.receive, made.link, made.mux) == (Disabled(link), link, Mux.DETACHED)
    assert made.actor(FAST).state == 0x07


def test_entering_wait_and_leaving_it() -> None:
    made = port(mux=Mux.DETACHED)
    selected = MuxInput(Selection.SELECTED, ready=False, partner_sync=True, partner_collecting=True)
    lag = made.lag_id(FAST)
    assert made.step_mux(selected, NOW, lag)
    assert (made.mux, made.standing) == (Mux.WAITING, Waiting(lag, NOW, NOW + 2.0))
    assert not made.step_mux(selected, NOW + 1, lag)
    made.well_since = NOW + 99
    assert made.step_mux(selected._replace(ready=True), NOW + 2, lag)
    assert (made.mux, made.well_since) == (Mux.ATTACHED, None)
    assert made.step_mux(selected, NOW + 2, lag)
    assert made.mux is SERVING
    assert made.step_mux(selected._replace(partner_sync=False), NOW + 3, lag)
    assert (made.mux, made.counters.flaps) == (Mux.ATTACHED, 1)
    assert made.step_mux(selected._replace(selection=Selection.UNSELECTED), NOW + 3, lag)
    assert (made.mux, made.lag, made.counters.flaps) == (Mux.DETACHED, None, 1)


def test_counters_of_silence_and_churn() -> None:
    made = port()
    made.expire(FAST, CURRENT.until)
    assert made.counters.timeouts == 1
    made.expire(FAST, CURRENT.until + 3.0)
    assert (made.receive, made.counters.timeouts) == (Defaulted(), 1)
    assert made.step_churn(FAST, NOW + 10) == (False, False)
    assert made.step_churn(FAST, NOW + 70) == (True, True)
    assert made.step_churn(FAST, NOW + 80) == (False, False)
    assert (made.counters.actor_churns, made.counters.partner_churns) == (1, 1)
