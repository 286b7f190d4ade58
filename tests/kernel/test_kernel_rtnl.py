"""Link messages against pyroute2's full decoder, a real kernel's messages, and noise."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from pyteamd.kernel import rtnl
from pyteamd.kernel.framing import Malformed, messages
from pyteamd.kernel.netlink import NetlinkKernel
from pyteamd.model.events import ETHERNET, LinkSeen

GOLDEN = json.loads((Path(__file__).parents[1] / "kit/golden/netlink-6.1.json").read_text())
RECORDED = [bytes.fromhex(octets) for name in ("links", "peer_down_links") for octets in GOLDEN[name]]
MAC = bytes.fromhex("025e00000001")


def oracle(octets: bytes) -> LinkSeen:
    """The same by pyroute2, all attributes decoded."""
    link = ifinfmsg(octets)
    link.decode()

    def mac(name: str) -> bytes:
        value = link.get_attr(name)
        return bytes.fromhex(value.replace(":", "")) if value else b""

    about = link.get_attr("IFLA_LINKINFO")
    carrier = link.get_attr("IFLA_CARRIER")
    kind = (about.get_attr("IFLA_INFO_KIND") if about else None) or ""
    elsewhere = kind == "veth" or link.get_attr("IFLA_LINK_NETNSID") is not None
    return LinkSeen(
        link["index"],
        link.get_attr("IFLA_IFNAME"),
        mac("IFLA_ADDRESS"),
        link.get_attr("IFLA_MASTER") or 0,
        bool(link["flags"] & 1),
        bool(link["flags"] & 0x40),
        mac("IFLA_PERM_ADDRESS"),
        kind,
        None if carrier is None else bool(carrier),
        lower=0 if elsewhere else link.get_attr("IFLA_LINK") or 0,
        hardware=link["ifi_type"],
        mtu=link.get_attr("IFLA_MTU"),
        max_mtu=link.get_attr("IFLA_MAX_MTU"),
        tx_queues=link.get_attr("IFLA_NUM_TX_QUEUES") if kind == "team" else 0,
    )


@pytest.mark.parametrize("octets", RECORDED)
def test_recorded_links(octets: bytes) -> None:
    link = rtnl.decode(octets)
    assert link == oracle(octets)
    assert (link.ifindex, rtnl.loss_in(octets[: rtnl.GLANCE])) == (
        oracle(octets).ifindex,
        0 if link.running else link.ifindex,
    )


def test_recorded_story() -> None:
    links = {link.name: link for link in map(rtnl.decode, RECORDED[:4])}
    assert links["team0"].kind == "team"
    assert links["eth1"].master == links["eth2"].master == links["team0"].ifindex
    assert links["eth1"].mac == bytes.fromhex("025e00000011")
    assert links["eth1"].running
    assert not rtnl.decode(RECORDED[-1]).running


def link(*attrs: tuple[str, Any], index: int = 7, flags: int = 0, family: int = 0) -> bytes:
    """A link made by pyroute2."""
    message = ifinfmsg()
    message["index"], message["flags"], message["family"], message["ifi_type"] = index, flags, family, ETHERNET
    message["attrs"] = list(attrs)
    message["header"]["type"] = rtnl.NEWLINK
    message.encode()
    return bytes(message.data)


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (link(("IFLA_IFNAME", "eth1")), LinkSeen(7, "eth1", b"")),
        (link(("IFLA_IFNAME", "eth1"), flags=0x41), LinkSeen(7, "eth1", b"", 0, True, True)),
        (link(("IFLA_IFNAME", "a"), ("IFLA_CARRIER", 0)), LinkSeen(7, "a", b"", carrier=False)),
        (link(("IFLA_IFNAME", "a"), ("IFLA_CARRIER", 1)), LinkSeen(7, "a", b"", carrier=True)),
        (link(("IFLA_MASTER", 9), ("IFLA_IFNAME", "a")), LinkSeen(7, "a", b"", 9)),
        (link(("IFLA_IFNAME", "a"), ("IFLA_LINK", 3), ("IFLA_MTU", 9000)), LinkSeen(7, "a", b"", lower=3, mtu=9000)),
        (link(("IFLA_IFNAME", "a"), ("IFLA_LINK", 3), ("IFLA_LINK_NETNSID", 0)), LinkSeen(7, "a", b"")),
        (link(("IFLA_IFNAME", "a"), ("IFLA_LINKINFO", {"attrs": []})), LinkSeen(7, "a", b"")),
    ],
)
def test_made_links(octets: bytes, expected: LinkSeen) -> None:
    assert rtnl.decode(octets) == expected


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        bytes(31),
        link(),  # without a name
        link(("IFLA_IFNAME", "a"), index=0),
        link(("IFLA_IFNAME", "a"), index=-1),
        link(("IFLA_IFNAME", "a"))[:-5],
        link(("IFLA_IFNAME", "a")) + struct.pack("=HHH", 6, 10, 1) + b"\0\0",  # a master of two octets
    ],
)
def test_broken_links(octets: bytes) -> None:
    with pytest.raises(Malformed):
        rtnl.decode(octets)


def test_messages_of_one_length_with_their_attributes_in_another_order() -> None:
    """Where the attributes stand is remembered."""
    mac = ("IFLA_ADDRESS", "02:00:00:00:00:07")
    name = ("IFLA_IFNAME", "eth1")
    first, second = link(name, mac), link(mac, name)
    assert len(first) == len(second)
    for octets in (first, second, second, first):
        assert rtnl.decode(octets) == LinkSeen(7, "eth1", bytes.fromhex("020000000007"))


def test_noise() -> None:
    dice = random.Random(3)
    answers = {True: 0, False: 0}
    for _ in range(2000):
        octets = bytearray(dice.choice(RECORDED))
        for _ in range(dice.randrange(1, 6)):
            octets[dice.randrange(len(octets))] = dice.randrange(256)
        try:
            found = rtnl.decode(bytes(octets[: dice.randrange(len(octets) // 2, len(octets) + 1)]))
        except Malformed:
            answers[False] += 1
        else:
            assert isinstance(found.name, str)
            answers[True] += 1
    assert min(answers.values()) > 10


@pytest.mark.parametrize(
    ("build", "kind", "flags", "index", "attrs"),
    [
        (rtnl.dump_links, 18, 0x301, 0, {"IFLA_EXT_MASK": 8}),
        (lambda: rtnl.get_link(5), 18, 1, 5, {"IFLA_EXT_MASK": 8}),
        (lambda: rtnl.find_link("eth1"), 18, 1, 0, {"IFLA_EXT_MASK": 8, "IFLA_IFNAME": "eth1"}),
        (lambda: rtnl.delete(5), 17, 5, 5, {}),
        (lambda: rtnl.set_master(5, 2), 16, 5, 5, {"IFLA_MASTER": 2}),
        (lambda: rtnl.set_master(5, 0), 16, 5, 5, {"IFLA_MASTER": 0}),
        (lambda: rtnl.set_mac(5, MAC), 16, 5, 5, {"IFLA_ADDRESS": MAC.hex(":")}),
        (lambda: rtnl.set_carrier(5, False), 16, 5, 5, {"IFLA_CARRIER": 0}),
        (lambda: rtnl.set_carrier(5, True), 16, 5, 5, {"IFLA_CARRIER": 1}),
        (lambda: rtnl.create(b"team0", "team"), 16, 0x605, 0, {"IFLA_IFNAME": "team0", "IFLA_LINKINFO": "team"}),
    ],
)
def test_requests(build: Callable[[], bytes], kind: int, flags: int, index: int, attrs: dict[str, Any]) -> None:
    """What we send, read by pyroute2: nothing of it may touch flags of the link (change 0)."""
    (message,) = messages(build())
    assert (message.type, message.flags, message.sequence) == (kind, flags, 0)
    read = ifinfmsg(message.octets)
    read.decode()
    assert (read["index"], read["flags"], read["change"], read["family"]) == (index, 0, 0, 0)
    found = dict(iter(read["attrs"]))
    if "IFLA_LINKINFO" in found:
        found["IFLA_LINKINFO"] = found["IFLA_LINKINFO"].get_attr("IFLA_INFO_KIND")
    assert found == attrs


def test_addresses_of_any_length() -> None:
    """InfiniBand has 20 octets."""
    octets = rtnl.set_mac(5, bytes(range(20)))
    assert octets[32:36] == struct.pack("=HH", 24, 1)
    assert octets[36:] == bytes(range(20))


def test_ports_whose_names_are_padded_to_one_length_do_not_push_each_other_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As eth9 and eth10: where the attributes stand is found out once for each."""
    body, made = next(octets for octets in RECORDED if len(rtnl.decode(octets).name) == 4), []
    at = body.index(struct.pack("=HH", 4 + 5, 3))  # IFLA_IFNAME of four letters
    links = [
        body[:at] + struct.pack("=HH", 5 + len(name), 3) + name.ljust(8, b"\0") + body[at + 12 :]
        for name in (b"eth9", b"eth10")
    ]
    found_out = rtnl._layout
    monkeypatch.setattr(rtnl, "_layout", lambda octets: made.append(octets) or found_out(octets))
    monkeypatch.setattr(rtnl, "_layouts", {})
    assert [rtnl.decode(octets).name for octets in links * 3] == ["eth9", "eth10"] * 3
    assert made == links


def test_the_links_are_read_once_for_teams_that_ask_in_the_same_moments() -> None:
    """With 256 teams it took so long that after an overrun the next one came meanwhile."""
    kernel, read, now_s = NetlinkKernel(), [], [100.0]
    heard = {rtnl.decode(message.octets).ifindex: message.octets for octets in RECORDED for message in messages(octets)}
    links = tuple(rtnl.decode(octets) for _, octets in sorted(heard.items()))
    kernel.all_links = lambda: read.append(1) or links  # type: ignore[method-assign, func-returns-value]
    kernel._clock = lambda: now_s[0]
    assert [kernel._links_for(links[0].ifindex) for _ in range(2)] == [links] * 2
    assert len(read) == 2, "of few teams, each for itself"
    read.clear()
    now_s[0] += 3.1
    kernel._watched |= set(range(1000, 1017))
    there, gone = links[0].ifindex, 999_999
    try:
        assert [kernel._links_for(team) for team in (there, there, there)] == [links] * 3
        assert len(read) == 1, "once for all"
        kernel._said[there] = kernel._listed[there] = replace(links[0], mtu=1234)
        kernel._foreign.hear(there, heard[there])
        assert kernel._links_for(there) == links
        assert kernel.read() == [(0, links[0])], "what was heard meanwhile is told to all"
        assert kernel._links_for(gone) == links
        assert len(read) == 2, "once more for a team that was not there"
        kernel._read_again()
        assert [kernel._links_for(team) for team in (there, there)] == [links] * 2
        assert len(read) == 3, "all that was known is in doubt"
        now_s[0] += 3.1
        kernel._links_for(there)
        assert len(read) == 4, "not all that changes is announced"
    finally:
        kernel.close()
