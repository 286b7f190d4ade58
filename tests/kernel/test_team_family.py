"""The codec of the team family against an independent one, against a real kernel's messages, and against noise."""

from __future__ import annotations

import json
import logging
import random
import struct
from pathlib import Path

import pytest

from pyteamd.kernel import team_family
from pyteamd.kernel.framing import Malformed
from pyteamd.kernel.option_table import MAX_BINARY, OPTIONS, OptionKind, guess, problem_of
from pyteamd.model.desired import OptionKey, OptionValue
from pyteamd.model.events import OptionGone, OptionSeen, PortGone, PortSeen

GOLDEN = json.loads((Path(__file__).parents[1] / "kit/golden/netlink-6.1.json").read_text())
FAMILY, TEAM, ETH1, ETH2 = 25, 2, 3, 4


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute, padded."""
    octets = struct.pack("=HH", 4 + len(value), kind) + value
    return octets + bytes(-len(octets) % 4)


def item(key: OptionKey, kind: int, value: bytes | None, *, array: bool = False, flags: tuple[int, ...] = ()) -> bytes:
    """An option the way the kernel writes it: the value comes last."""
    octets = attribute(1, key.name.encode() + b"\0")
    octets += attribute(6, struct.pack("=I", key.port)) if key.port else b""
    octets += attribute(7, struct.pack("=I", key.index)) if array else b""
    octets += b"".join(attribute(flag, b"") for flag in flags)
    octets += attribute(3, bytes([kind]))
    return attribute(0x8001, octets + (b"" if value is None else attribute(4, value)))


def event(*items: bytes, command: int = 2, team: int = TEAM) -> bytes:
    """A message with these items."""
    lists = attribute(1, struct.pack("=I", team)) + attribute(command, b"".join(items))
    return struct.pack("=IHHIIBBH", 20 + len(lists), FAMILY, 2, 0, 0, command, 1, 0) + lists


SAMPLES: list[tuple[str, OptionValue, bytes | None]] = [
    ("mode", "activebackup", b"activebackup\0"),
    ("enabled", True, b""),
    ("enabled", False, None),
    ("user_linkup", True, b""),
    ("priority", -10, struct.pack("=i", -10)),
    ("queue_id", 4294967295, b"\xff" * 4),
    ("activeport", 7, struct.pack("=I", 7)),
    ("bpf_hash_func", b"", b""),
    ("bpf_hash_func", bytes(range(16)), bytes(range(16))),
    ("lb_tx_hash_to_port_mapping", 9, struct.pack("=I", 9)),
]


def key_of(name: str) -> OptionKey:
    """A key that fits the table."""
    return OptionKey(name, 5 if OPTIONS[name].per_port else 0, 0)


@pytest.mark.parametrize(("name", "value", "octets"), SAMPLES)
def test_encode_one_option(name: str, value: OptionValue, octets: bytes | None) -> None:
    """Byte for byte: name, type, value, port, index."""
    option, key = OPTIONS[name], key_of(name)
    expected = attribute(1, name.encode() + b"\0") + attribute(3, bytes([option.kind]))
    expected += b"" if octets is None else attribute(4, octets)
    expected += attribute(6, struct.pack("=I", key.port)) if option.per_port else b""
    expected += attribute(7, struct.pack("=I", 0)) if option.array_size else b""
    assert team_family.encode_option(key, value) == attribute(0x8001, expected)


def test_encode_a_message() -> None:
    """Ours is pyroute2's, of the same five options."""
    writes = [(key_of(name), value) for name, value, _ in SAMPLES[:5]]
    ours = team_family.set_options(FAMILY, TEAM, [team_family.encode_option(key, value) for key, value in writes])
    theirs = team_family.teammsg(ours)
    theirs.decode()
    again = team_family.teammsg()
    again["cmd"], again["version"] = theirs["cmd"], theirs["version"]
    again["attrs"] = [
        ("TEAM_ATTR_TEAM_IFINDEX", TEAM),
        ("TEAM_ATTR_LIST_OPTION", theirs.get_attr("TEAM_ATTR_LIST_OPTION")),
    ]
    again["header"].update(type=FAMILY, flags=5)
    again.encode()
    assert bytes(again.data) == ours
    assert ours[:20] == struct.pack("=IHHIIBBH", len(ours), FAMILY, 5, 0, 0, 1, 1, 0)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_round_trip(name: str) -> None:
    option = OPTIONS[name]
    values: dict[OptionKind, list[OptionValue]] = {
        OptionKind.U32: [0, 1, 0xFFFFFFFF],
        OptionKind.S32: [0, -1, -(1 << 31), (1 << 31) - 1],
        OptionKind.FLAG: [True, False],
        OptionKind.STRING: ["", "hash", "x" * 32],
        OptionKind.BINARY: [b"", b"12345678", bytes(MAX_BINARY)],
    }
    for value in values[option.kind]:
        key = OptionKey(name, 5 if option.per_port else 0, 255 if option.array_size else 0)
        octets = team_family.set_options(FAMILY, TEAM, [team_family.encode_option(key, value)])
        decoder = team_family.Decoder()
        for _ in range(2):  # the second time from memory
            assert decoder.decode(octets) == (TEAM, [OptionSeen(key, value)])
        assert decoder.malformed == 0


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("enabled", 1, "true or false"),
        ("priority", "high", "a number"),
        ("priority", True, "a number"),
        ("priority", 1 << 31, "-2147483648 to 2147483647"),
        ("queue_id", -1, "0 to 4294967295"),
        ("mode", "x" * 33, "32 octets"),
        ("mode", "a\0b", "32 octets"),
        ("mode", 5, "text"),
        ("bpf_hash_func", "text", "octets"),
        ("bpf_hash_func", bytes(MAX_BINARY + 1), "32768"),
    ],
)
def test_bad_values(name: str, value: OptionValue, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"^option {name}: .*allowed: .*{allowed}"):
        team_family.encode_option(OptionKey(name, 3), value)


def test_types_nobody_can_write() -> None:
    assert problem_of(4, 1) == "its type 4 cannot be written"
    with pytest.raises(ValueError, match="its type 4 cannot be written"):
        team_family.encode_option(OptionKey("new_option"), 1, 4)


@pytest.mark.parametrize(("value", "kind"), [(True, 6), (5, 3), (-5, 14), ("x", 5), (b"x", 11)])
def test_options_that_are_not_in_the_table(value: OptionValue, kind: int) -> None:
    """Written as their value looks, or as the kernel said; read as the kernel says."""
    assert guess(value) == kind
    octets = team_family.set_options(FAMILY, TEAM, [team_family.encode_option(OptionKey("brand_new", 3, 2), value)])
    decoder = team_family.Decoder()
    assert decoder.decode(octets) == (TEAM, [OptionSeen(OptionKey("brand_new", 3, 2), value)])
    assert decoder.kinds == {"brand_new": kind}
    signed = team_family.encode_option(OptionKey("brand_new"), 5, OptionKind.S32)
    assert signed == team_family.encode_option(OptionKey("brand_new"), 5)[: len(signed)].replace(
        b"\5\0\3\0\3", b"\5\0\3\0\x0e"
    )


def test_type_of_a_newer_kernel() -> None:
    """A 64-bit option, say: kept as octets."""
    decoder = team_family.Decoder()
    octets = event(item(OptionKey("octets_total"), 4, bytes(range(8))))
    assert decoder.decode(octets) == (TEAM, [OptionSeen(OptionKey("octets_total"), bytes(range(8)))])
    assert decoder.kinds == {"octets_total": 4}


def test_removed_and_changed() -> None:
    decoder = team_family.Decoder()
    key = OptionKey("enabled", 5)
    octets = event(item(key, 6, b"", flags=(5, 2)), item(key, 6, b"", flags=(2,)), item(key, 6, None))
    assert decoder.decode(octets)[1] == [OptionGone(key), OptionSeen(key, True), OptionSeen(key, False)]


def test_counters_are_remembered_without_their_values() -> None:
    decoder = team_family.Decoder()
    for count in range(3000):
        key = OptionKey("lb_hash_stats", 0, count % 256)
        value = struct.pack("=Q", count)
        octets = event(item(key, 11, value, array=True, flags=(2,)))
        assert decoder.decode(octets) == (TEAM, [OptionSeen(key, value)])
    assert len(decoder._counters) == 256
    assert [seen.value for seen in decoder._seen.values()] == [bytes(8)], (
        "only what counts nothing is the same for all teams"
    )


def test_memory_is_bounded() -> None:
    decoder = team_family.Decoder()
    for value in range(2100):
        decoder.decode(event(item(OptionKey("activeport"), 3, struct.pack("=I", value))))
    assert len(decoder._seen) <= 2048


KEY = OptionKey("activeport")
GOOD = item(KEY, 3, struct.pack("=I", 7))
SEEN = OptionSeen(KEY, 7)


@pytest.mark.parametrize(
    "broken",
    [
        attribute(0x8001, b""),
        attribute(0x8001, attribute(1, b"\0") + attribute(3, b"\6")),  # no name
        attribute(0x8001, attribute(1, b"activeport\0")),  # no type
        attribute(0x8001, attribute(1, b"\xff\xfe\0") + attribute(3, b"\6")),  # not text
        item(KEY, 3, None),  # no value
        item(KEY, 3, b"\7\0\0"),  # short
        item(KEY, 14, b"\7\0\0\0\0\0\0\0"),  # long
        item(KEY, 5, None),
        item(KEY, 5, b"\xff\0"),
        attribute(0x8001, attribute(1, b"x\0") + attribute(3, b"\6\0")),  # a type of two octets
        attribute(0x8001, attribute(1, b"x\0") + attribute(3, b"\6") + attribute(6, b"\0\0")),
        attribute(0x8001, attribute(1, b"x\0") + attribute(4, b"") + attribute(3, b"\6")),  # value before type
        attribute(0x8001, attribute(1, b"x\0") + attribute(3, b"\x0b") + attribute(4, b"1") + attribute(3, b"\3")),
        attribute(0x8001, attribute(1, b"x\0") + struct.pack("=HH", 99, 3)),
    ],
)
def test_broken_options_are_left_out(broken: bytes) -> None:
    decoder = team_family.Decoder()
    assert decoder.decode(event(GOOD, broken, GOOD)) == (TEAM, [SEEN, SEEN])
    assert decoder.malformed == 1


def test_broken_list_ends_the_message() -> None:
    decoder = team_family.Decoder()
    assert decoder.decode(event(GOOD, struct.pack("=HH", 99, 1))) == (TEAM, [SEEN])
    assert decoder.decode(event(GOOD)[:18]) == (0, [])
    assert decoder.malformed == 2


def port(*parts: bytes) -> bytes:
    """A port."""
    return attribute(0x8001, b"".join(parts))


def test_ports() -> None:
    index, speed, duplex = (
        attribute(1, struct.pack("=I", 3)),
        attribute(4, struct.pack("=I", 1000)),
        attribute(5, b"\1"),
    )
    up, changed, removed = attribute(3, b""), attribute(2, b""), attribute(6, b"")
    decoder = team_family.Decoder()
    octets = event(
        port(index, changed, up, speed, duplex),
        port(index, speed, duplex),
        port(index, removed, speed, duplex),
        port(index),
        port(speed),
        port(index, attribute(4, b"12")),
        command=3,
    )
    assert decoder.decode(octets) == (
        TEAM,
        [PortSeen(3, True, 1000, 1), PortSeen(3, False, 1000, 1), PortGone(3), PortSeen(3, False, 0, 0)],
    )
    assert decoder.malformed == 2


# Messages of a real kernel


def decode(name: str) -> list[team_family.TeamEvent]:
    """Everything in the recorded messages of that name."""
    decoder = team_family.Decoder()
    events: list[team_family.TeamEvent] = []
    for octets in GOLDEN[name]:
        team, found = decoder.decode(bytes.fromhex(octets))
        assert team == TEAM
        events += found
    assert decoder.malformed == 0
    assert not decoder.kinds
    return events


def test_recorded_family() -> None:
    family = team_family.family_of(bytes.fromhex(GOLDEN["family"]))
    assert family.id == struct.unpack_from("=H", bytes.fromhex(GOLDEN["options"][0]), 4)[0]
    assert family.group > 1


@pytest.mark.parametrize("octets", [b"", bytes(20), bytes.fromhex(GOLDEN["family"])[:40], bytes(19) + b"\xff" * 9])
def test_broken_family(octets: bytes) -> None:
    with pytest.raises(Malformed):
        team_family.family_of(octets)


def test_recorded_options() -> None:
    found = {event.key: event.value for event in decode("options") if isinstance(event, OptionSeen)}
    table = {option.name for option in OPTIONS.values() if not option.modes and not option.recent}
    assert {key.name for key in found} == table | {"activeport"}
    assert found[OptionKey("mode")] == "activebackup"
    assert found[OptionKey("activeport")] == ETH1
    assert found[OptionKey("priority", ETH2)] == -10
    assert (found[OptionKey("enabled", ETH1)], found[OptionKey("enabled", ETH2)]) == (True, False)


def test_recorded_ports() -> None:
    assert sorted(decode("ports"), key=lambda port: getattr(port, "ifindex", 0)) == [
        PortSeen(ETH1, True, 10000, 1),
        PortSeen(ETH2, True, 10000, 1),
    ]


def test_recorded_events() -> None:
    assert decode("failover_events") == [
        OptionSeen(OptionKey("enabled", ETH2), True),
        OptionSeen(OptionKey("activeport"), ETH2),
        OptionSeen(OptionKey("enabled", ETH1), False),
    ]
    assert decode("peer_down_team") == [PortSeen(ETH1, False, 0, 0)]
    gone = ("enabled", "user_linkup", "user_linkup_enabled", "priority", "queue_id")
    assert decode("release_team") == [*(OptionGone(OptionKey(name, ETH1)) for name in gone), PortGone(ETH1)]


def test_noise(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever arrives: no exception, no log line, and what is understood has the right types."""
    dice = random.Random(2)
    samples = [bytes.fromhex(octets) for name in ("options", "ports", "release_team") for octets in GOLDEN[name]]
    decoder = team_family.Decoder()
    with caplog.at_level(logging.DEBUG):
        for _ in range(1000):
            octets = bytearray(dice.choice(samples))
            for _ in range(dice.randrange(1, 4)):
                octets[dice.randrange(16, len(octets))] = dice.choice([0, 1, 4, 8, 255, dice.randrange(256)])
            for found in decoder.decode(bytes(octets[: dice.choice([len(octets), dice.randrange(20, len(octets))])]))[
                1
            ]:
                if isinstance(found, OptionSeen):
                    assert isinstance(found.value, bool | int | str | bytes)
                    assert isinstance(found.key.name, str)
                    assert isinstance(found.key.port, int)
    assert decoder.malformed > 100
    assert not caplog.records


def test_what_was_read_of_a_port_is_forgotten_with_it() -> None:
    """Ports that come and go all day would fill what is kept, with what is never said again."""
    decoder = team_family.Decoder()
    for port in range(3, 53):
        decoder.decode(event(item(OptionKey("enabled", port), OptionKind.FLAG, None)))
        decoder.decode(event(item(OptionKey("lb_port_stats", port), OptionKind.BINARY, b"12345678")))
        decoder.decode(event(item(OptionKey("mcast_rejoin_count"), OptionKind.U32, struct.pack("=I", 1))))
        gone = attribute(1 | 0x8000, attribute(1, struct.pack("=I", port)) + attribute(6, b""))
        _, events = decoder.decode(event(gone, command=3))
        assert events == [PortGone(port)]
    assert (len(decoder._seen), decoder._counters) == (1, {})
