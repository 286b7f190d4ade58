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
        SetMac(TEAM, MAC),
        SetMac(NEW, MAC),
        option("enabled", True, NEW),
        option("activeport", NEW),
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
