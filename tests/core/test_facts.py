"""What is believed of the kernel's messages while writes of our own are still to be announced."""

from __future__ import annotations

import pytest

from pyteamd.core.facts import KernelFacts
from pyteamd.model.desired import OptionKey, OptionValue, SetCarrier, SetMac, SetMember, SetOption
from pyteamd.model.events import LinkSeen, OptionSeen, PortSeen, Resync

NOW = 5.0
TEAM = LinkSeen(9, "team0", b"\x02\0\0\0\0\x09", kind="team", carrier=False)
ENABLED = OptionKey("enabled", 3)
MAC_A, MAC_B = b"\x02\0\0\0\0\x0a", b"\x02\0\0\0\0\x0b"

CASES: list[tuple[str, list[bool], list[bool], bool]] = [
    ("nothing written: every message counts", [], [True, False], False),
    ("an echo says what is known", [True], [True], True),
    ("a message from before the write is old", [True], [False], True),
    ("old, then the echo", [True], [False, True], True),
    ("after the echo others are heard", [True], [True, False], False),
    ("off and on: the first echo does not open the door for the second", [False, True, False], [False, True], False),
    ("off and on: all echoes came", [False, True, False], [False, True, False, True], True),
]


@pytest.mark.parametrize(("case", "written", "heard", "believed"), CASES, ids=[case[0] for case in CASES])
def test_options(case: str, written: list[bool], heard: list[bool], believed: bool) -> None:
    facts = KernelFacts(TEAM)
    for value in written:
        facts.applied(SetOption(ENABLED, value), NOW)
    for value in heard:
        facts.option_seen(OptionSeen(ENABLED, value), NOW)
    assert facts.observed.options[ENABLED] is believed


def test_a_write_that_changes_nothing_has_no_echo_to_wait_for() -> None:
    facts = KernelFacts(TEAM)
    facts.option_seen(OptionSeen(ENABLED, True), NOW)
    facts.applied(SetOption(ENABLED, True), NOW)
    assert facts.option_seen(OptionSeen(ENABLED, False), NOW)
    assert facts.observed.options[ENABLED] is False


def test_links() -> None:
    facts = KernelFacts(TEAM)
    facts.link_seen(LinkSeen(3, "eth1", MAC_A), NOW)
    facts.applied(SetMember(3, True), NOW)
    facts.applied(SetMac(3, MAC_B), NOW)
    facts.applied(SetCarrier(True), NOW)
    facts.link_seen(LinkSeen(3, "eth1", MAC_A, up=True), NOW)
    facts.team_seen(LinkSeen(9, "team0", b"\x02\0\0\0\0\x09", up=True, carrier=False), NOW)
    assert (facts.observed.members[3], facts.observed.macs[3], facts.observed.carrier) == (True, MAC_B, True)
    facts.link_seen(LinkSeen(3, "eth1", MAC_B, master=9), NOW)
    facts.link_seen(LinkSeen(3, "eth1", MAC_A, master=0), NOW)
    assert (facts.observed.members[3], facts.observed.macs[3]) == (False, MAC_A)


def test_links_announce_only_the_last_of_several_changes() -> None:
    facts = KernelFacts(TEAM)
    for up in (True, False, True):
        facts.applied(SetCarrier(up), NOW)
    facts.team_seen(LinkSeen(9, "team0", b"", carrier=True), NOW)
    facts.team_seen(LinkSeen(9, "team0", b"", carrier=False), NOW)
    assert facts.observed.carrier is False


def test_a_link_is_repeated_only_if_nothing_was_written_to_it_since() -> None:
    facts = KernelFacts(TEAM)
    port = LinkSeen(3, "eth1", MAC_A, master=9)
    assert not facts.repeats(port)
    facts.link_seen(port, NOW)
    assert facts.repeats(LinkSeen(3, "eth1", MAC_A, master=9))
    assert not facts.repeats(LinkSeen(3, "eth1", MAC_A, master=9, mtu=9000))
    facts.applied(SetMac(3, MAC_B), NOW)
    assert not facts.repeats(port)
    facts.link_seen(LinkSeen(3, "eth1", MAC_B, master=9), NOW)
    assert not facts.repeats(port)
    facts.observed.members[3] = False
    assert not facts.repeats(LinkSeen(3, "eth1", MAC_B, master=9))


def test_a_dump_ends_all_waiting() -> None:
    facts = KernelFacts(TEAM)
    facts.applied(SetOption(ENABLED, True), NOW)
    facts.replace_options(Resync((), (), (OptionSeen(ENABLED, True),)))
    assert facts.option_seen(OptionSeen(ENABLED, False), NOW)


@pytest.mark.parametrize("gone", ["option", "port", "link"])
def test_what_is_gone_has_no_echo(gone: str) -> None:
    facts = KernelFacts(TEAM)
    facts.applied(SetOption(ENABLED, True), NOW)
    facts.applied(SetMac(3, MAC_B), NOW)
    match gone:
        case "option":
            facts.option_gone(ENABLED)
        case "port":
            facts.port_gone(3)
        case _:
            facts.link_gone(3)
            facts.link_seen(LinkSeen(3, "eth1", MAC_A, master=9), NOW)
            assert facts.observed.macs.get(3) == MAC_A
    facts.option_seen(OptionSeen(ENABLED, False), NOW)
    assert facts.observed.options[ENABLED] is False


def test_a_port_is_complete_when_three_sources_agree() -> None:
    sources: list[tuple[str, OptionValue]] = [("link", 0), ("port", 0), ("option", 0)]
    for missing, _ in sources:
        facts = KernelFacts(TEAM)
        if missing != "link":
            facts.link_seen(LinkSeen(3, "eth1", MAC_A, master=9), NOW)
        if missing != "port":
            facts.port_list[3] = PortSeen(3, True, 1000, 1)
        if missing != "option":
            facts.option_seen(OptionSeen(OptionKey("priority", 3), 0), NOW)
        assert not facts.complete(3), missing
    facts.option_seen(OptionSeen(OptionKey("priority", 3), 0), NOW)
    facts.link_seen(LinkSeen(3, "eth1", MAC_A, master=9), NOW)
    facts.port_list[3] = PortSeen(3, True, 1000, 1)
    assert facts.complete(3)


RECEIVES, TRANSMITS = OptionKey("rx_enabled", 3), OptionKey("tx_enabled", 3)
SWITCH_KEYS = (ENABLED, RECEIVES, TRANSMITS)


def independent(**values: bool) -> KernelFacts:
    """A port of a driver that has all three switches, read by a dump."""
    facts = KernelFacts(TEAM)
    told = {RECEIVES: values.get("receives", True), TRANSMITS: values.get("transmits", True)}
    told[ENABLED] = all(told.values())
    facts.replace_options(Resync((), (), tuple(OptionSeen(key, value) for key, value in told.items())))
    return facts


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize(
    ("before", "key", "value", "after"),
    [
        ((True, True), ENABLED, False, (False, False)),
        ((False, False), ENABLED, True, (True, True)),
        ((True, False), ENABLED, False, (False, False)),  # `enabled` read false before: nothing new but for the others
        ((True, True), TRANSMITS, False, (True, False)),
        ((True, False), TRANSMITS, True, (True, True)),
        ((True, True), RECEIVES, False, (False, True)),
        ((False, False), RECEIVES, True, (True, False)),
    ],
)
def test_one_switch_is_named_and_the_others_follow(
    before: tuple[bool, bool], key: OptionKey, value: bool, after: tuple[bool, bool], ours: bool
) -> None:
    facts = independent(receives=before[0], transmits=before[1])
    if ours:
        facts.applied(SetOption(key, value), NOW)
    else:
        assert facts.option_seen(OptionSeen(key, value), NOW)
    assert tuple(facts.observed.options[switch] for switch in SWITCH_KEYS) == (all(after), *after)
    assert facts.observed.serves(3) is all(after)
    assert facts.observed.transmits(3) is after[1]


@pytest.mark.parametrize(("old", "ours"), [(ENABLED, TRANSMITS), (TRANSMITS, ENABLED), (RECEIVES, ENABLED)])
def test_a_switch_that_was_written_before_ours_is_old(old: OptionKey, ours: OptionKey) -> None:
    """A user switched off, then we switched on; the announcements come in that order, ours is not there yet."""
    facts = independent(transmits=False)
    facts.applied(SetOption(ours, True), NOW)
    facts.option_seen(OptionSeen(old, False), NOW)
    assert facts.observed.transmits(3)
    facts.option_seen(OptionSeen(ours, True), NOW)
    assert facts.observed.transmits(3)


def test_a_driver_with_one_switch() -> None:
    facts = KernelFacts(TEAM)
    facts.option_seen(OptionSeen(ENABLED, True), NOW)
    assert facts.observed.transmits(3)
    assert set(facts.observed.options) == {ENABLED}
