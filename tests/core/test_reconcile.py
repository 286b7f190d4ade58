"""Desired against Observed: which writes, in which order."""

from __future__ import annotations

import pytest

from pyteamd.core.reconcile import reconcile
from pyteamd.model.desired import (
    Desired,
    Observed,
    OptionKey,
    OptionValue,
    SetCarrier,
    SetMac,
    SetMember,
    SetOption,
    Write,
)

OLD, NEW, TEAM = 11, 12, 9
MAC, OTHER = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"


def option(name: str, value: OptionValue, port: int = 0, index: int = 0) -> SetOption:
    return SetOption(OptionKey(name, port, index), value)


def wanted(*writes: SetOption) -> dict[OptionKey, OptionValue]:
    return {write.key: write.value for write in writes}


def test_make_before_break() -> None:
    desired = Desired(
        options=wanted(
            option("enabled", False, OLD),
            option("user_linkup", False, OLD),
            option("activeport", NEW),
            option("enabled", True, NEW),
            option("user_linkup", True, NEW),
        ),
        macs={TEAM: MAC, NEW: MAC, OLD: OTHER},
    )
    assert reconcile(desired, Observed()) == (
        option("activeport", NEW),
        SetMac(TEAM, MAC),
        SetMac(NEW, MAC),
        option("enabled", True, NEW),
        option("enabled", False, OLD),
        option("user_linkup", False, OLD),
        option("user_linkup", True, NEW),
        SetMac(OLD, OTHER),
    )


def test_the_whole_order() -> None:
    desired = Desired(
        options=wanted(
            option("user_linkup_enabled", True, NEW),
            option("lb_tx_hash_to_port_mapping", NEW, index=3),
            option("priority", 5, NEW),
            option("rx_enabled", True, NEW),
            option("tx_enabled", False, OLD),
            option("bpf_hash_func", b"x"),
            option("mode", "loadbalance"),
        ),
        macs={},
        members={OLD: False, NEW: True},
        carrier=True,
    )
    observed = Observed(members={OLD: True}, carrier=False)
    assert reconcile(desired, observed) == (
        option("mode", "loadbalance"),
        option("bpf_hash_func", b"x"),
        SetMember(NEW, True),
        option("priority", 5, NEW),
        option("rx_enabled", True, NEW),
        option("tx_enabled", False, OLD),
        option("lb_tx_hash_to_port_mapping", NEW, index=3),
        SetCarrier(True),
        option("user_linkup_enabled", True, NEW),
        SetMember(OLD, False),
    )


@pytest.mark.parametrize(
    ("desired", "observed", "writes"),
    [
        (Desired(), Observed(options={OptionKey("enabled", 1): True}, carrier=True), ()),
        (Desired(options={OptionKey("enabled", 1): True}), Observed(options={OptionKey("enabled", 1): True}), ()),
        # True == 1 in Python, but a flag is not a number
        (Desired(options={OptionKey("x"): True}), Observed(options={OptionKey("x"): 1}), (option("x", True),)),
        (Desired(members={4: False}), Observed(), ()),
        (Desired(members={4: True}), Observed(members={4: True}), ()),
        (Desired(macs={4: MAC}), Observed(macs={4: MAC}), ()),
        (Desired(carrier=False), Observed(), (SetCarrier(False),)),
        (Desired(carrier=None), Observed(carrier=False), ()),
    ],
)
def test_only_differences_are_written(desired: Desired, observed: Observed, writes: tuple[Write, ...]) -> None:
    assert reconcile(desired, observed) == writes


def test_ports_to_enslave_keep_the_configured_order() -> None:
    assert reconcile(Desired(members={30: True, 20: True}), Observed()) == (SetMember(30, True), SetMember(20, True))


def test_nothing_that_traffic_waits_for_stands_behind_what_starts_a_worker() -> None:
    """Enabling a port does: the driver queues announcements, whose worker may stop our call for a tick of the scheduler."""
    observed = Observed(options=wanted(option("enabled", True, OLD), option("enabled", False, NEW)))
    writes = reconcile(
        Desired(options=wanted(option("enabled", False, OLD), option("enabled", True, NEW), option("activeport", NEW))),
        observed,
    )
    assert writes[:2] == (option("activeport", NEW), option("enabled", True, NEW))


def test_a_port_out_of_many_is_disabled_before_another_is_enabled() -> None:
    """Its flows move to the third with that alone; enabling the new one may take a tick."""
    third = 13
    observed = Observed(
        options=wanted(option("enabled", True, OLD), option("enabled", False, NEW), option("enabled", True, third))
    )
    desired = Desired(options=wanted(option("enabled", True, NEW), option("enabled", False, OLD)))
    assert reconcile(desired, observed) == (option("enabled", False, OLD), option("enabled", True, NEW))


def test_the_last_port_in_service_is_disabled_after_its_successor_is_enabled() -> None:
    observed = Observed(options=wanted(option("enabled", True, OLD), option("enabled", False, NEW)))
    desired = Desired(options=wanted(option("enabled", False, OLD), option("enabled", True, NEW)))
    assert reconcile(desired, observed) == (option("enabled", True, NEW), option("enabled", False, OLD))


def test_a_port_that_is_down_is_disabled_first_even_if_it_is_the_last() -> None:
    """While both are enabled half of the flows would go to the dead one."""
    observed = Observed(options=wanted(option("enabled", True, OLD), option("enabled", False, NEW)))
    down, up = option("enabled", False, OLD), option("enabled", True, NEW)
    verdict = option("user_linkup", False, OLD)
    assert reconcile(Desired(options=wanted(up, verdict, down)), observed) == (down, up, verdict)
