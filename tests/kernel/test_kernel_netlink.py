"""The reader of events and messages that no kernel sends: it counts them, raises nothing, reads all again. Also links of others."""

from __future__ import annotations

import errno
import json
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from bpf_machine import run

from pyteamd.kernel import framing, netlink, rtnl, team_family
from pyteamd.kernel.foreign_links import ForeignLinks
from pyteamd.kernel.look_out import Shot
from pyteamd.kernel.netlink import NetlinkKernel
from pyteamd.kernel.requests import Requests
from pyteamd.kernel.sockets import NetlinkError
from pyteamd.model.desired import OptionKey, SetMember, SetOption
from pyteamd.model.errors import KernelRefused
from pyteamd.model.events import CarrierSeen, KernelEvent, LinkSeen, OptionSeen, Overrun, PortGone, PortSeen, Refused

GOLDEN = json.loads((Path(__file__).parents[1] / "kit/golden/netlink-6.1.json").read_text())
LINKS, TEAMS = (
    [bytes.fromhex(octets) for name in names for octets in GOLDEN[name]]
    for names in (("links", "peer_down_links"), ("options", "ports", "failover_events", "release_team"))
)
FAMILY = team_family.family_of(bytes.fromhex(GOLDEN["family"]))
TEAM = team_family.Decoder().decode(TEAMS[0])[0]
OVERRUN = (0, Overrun())


class Wire:
    """In place of a socket: says what it was given, in order. None: the kernel lost messages."""

    def __init__(self) -> None:
        self.datagrams: list[bytes | None] = []
        self.sender = 0
        self.filters = 0

    def recvfrom_into(self, buffer: bytearray, size: int = 0, flags: int = 0) -> tuple[int, tuple[int, int]]:
        """As a socket does it, MSG_TRUNC included."""
        if not self.datagrams:
            raise BlockingIOError
        datagram = self.datagrams.pop(0)
        if datagram is None:
            raise OSError(errno.ENOBUFS, "lost")
        fits = datagram[: len(buffer)]
        buffer[: len(fits)] = fits
        return len(datagram), (self.sender, 0)

    def recvfrom(self, size: int, flags: int) -> tuple[bytes, tuple[int, int]]:
        """As a socket does it with MSG_PEEK; what was lost is told once."""
        assert flags == socket.MSG_PEEK
        if not self.datagrams:
            raise BlockingIOError
        if self.datagrams[0] is None:
            del self.datagrams[0]
            raise OSError(errno.ENOBUFS, "lost")
        return self.datagrams[0][:size], (self.sender, 0)

    def recv_into(self, buffer: bytearray) -> int:
        """As a socket does it."""
        return self.recvfrom_into(buffer)[0]

    def setsockopt(self, *_: object) -> None:
        """A filter is for real messages."""
        self.filters += 1

    def close(self) -> None:
        """Nothing to do."""


class Ears:
    """A reader that watches one team, and the two wires it hears. `now_s` goes on when told."""

    def __init__(self) -> None:
        self.kernel = NetlinkKernel()
        self.links, self.teams = Wire(), Wire()
        for events, wire in ((self.kernel._link_events, self.links), (self.kernel._team_events, self.teams)):
            events.socket.close()
            events.socket = wire  # type: ignore[assignment]
        self.kernel._family = FAMILY
        self.kernel._watched.add(TEAM)
        self.now_s = 100.0
        self.kernel._clock = lambda: self.now_s

    def read(self) -> list[tuple[int, KernelEvent]]:
        """Everything that can be read now."""
        heard: list[tuple[int, KernelEvent]] = []
        while self.links.datagrams or self.teams.datagrams or self.kernel._peeked:
            heard += self.kernel.read()
        return heard


@pytest.fixture
def ears() -> Iterator[Ears]:
    """A reader."""
    made = Ears()
    yield made
    made.kernel.close()


def test_what_a_kernel_says(ears: Ears) -> None:
    ears.links.datagrams += LINKS
    ears.teams.datagrams += TEAMS
    kinds = {type(event) for _, event in ears.read()}
    assert {LinkSeen, PortSeen, OptionSeen} <= kinds
    assert Overrun not in kinds
    assert ears.kernel.malformed == 0


def test_what_a_port_said_is_forgotten_each_time_it_leaves(ears: Ears) -> None:
    """Its end has the same words each time: if they were remembered and not decoded, what was said before would stay."""
    there, gone = ([bytes.fromhex(octets) for octets in GOLDEN[name]] for name in ("peer_down_team", "release_team"))
    for _ in range(2):
        ears.teams.datagrams += [*there, *gone]
        heard = [event for _, event in ears.read()]
        assert type(heard[0]) is PortSeen
        assert heard[-1] == PortGone(heard[0].ifindex)
        kept = [*ears.kernel._decoder._seen.values(), *ears.kernel._told]
        assert kept == []


BROKEN = [
    LINKS[0][:-1],
    LINKS[0][:15],
    b"\xff" * 40,
    bytes(16),
    framing.HEADER.pack(20, rtnl.NEWLINK, 0, 0, 0) + bytes(4),
    framing.HEADER.pack(32, rtnl.NEWLINK, 0, 0, 0) + bytes(16),
    framing.HEADER.pack(40, rtnl.NEWLINK, 0, 0, 0) + bytes(16) + struct.pack("=HH", 3, 3) + bytes(4),
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_link_message_is_counted_and_all_is_read_again(ears: Ears, broken: bytes) -> None:
    ears.links.datagrams += [LINKS[0] + broken, LINKS[1]]
    assert ears.read()[-1] == OVERRUN
    assert ears.kernel.malformed == 1
    ears.links.datagrams.append(LINKS[1])
    assert [type(event) for _, event in ears.read()] == [LinkSeen]


def test_a_broken_team_message_is_counted_and_all_is_read_again(ears: Ears) -> None:
    head = struct.unpack_from("=IHHII", TEAMS[0])
    ears.teams.datagrams += [framing.HEADER.pack(24, *head[1:]) + TEAMS[0][16:20] + b"\3\0\1\0", TEAMS[0]]
    assert ears.read() == [OVERRUN]
    assert ears.kernel.malformed == 1
    ears.teams.datagrams.append(TEAMS[0])
    assert len(ears.read()) > 5


def test_a_kernel_that_keeps_saying_what_cannot_be_read_does_not_keep_us_busy(ears: Ears) -> None:
    heard = []
    for step in range(1000):
        ears.now_s = 100.0 + step / 50
        octets = bytearray(LINKS[step % 4])
        octets[24] ^= step // 4 % 2  # IFF_UP: what changes nothing is not told
        ears.links.datagrams += [bytes(octets) + b"\1"]
        heard += ears.read()
    assert heard.count(OVERRUN) == 20 / netlink._DOUBT_INTERVAL_S
    assert len(heard) == 1000
    assert ears.kernel.malformed == 1000
    ears.now_s += netlink._DOUBT_INTERVAL_S
    ears.links.datagrams.append(LINKS[0])
    assert ears.read() == [OVERRUN], "what was broken last is made good, too"


def test_a_datagram_longer_than_any_is_a_loss(ears: Ears) -> None:
    ears.links.datagrams += [bytes(netlink.DATAGRAM + 1), LINKS[0]]
    assert ears.read() == [OVERRUN]


def test_both_are_emptied_when_one_overflows(ears: Ears) -> None:
    ears.links.datagrams += [LINKS[0], None, *LINKS]
    ears.teams.datagrams += [None, *TEAMS]
    assert ears.read() == [OVERRUN]
    assert ears.kernel.overruns == 1


def test_other_processes_are_not_believed(ears: Ears) -> None:
    ears.links.sender = ears.teams.sender = 4711
    ears.links.datagrams += [LINKS[0], b"\xff"]
    ears.teams.datagrams += TEAMS[:1]
    assert ears.read() == []
    assert ears.kernel.malformed == 3


@pytest.mark.parametrize("seed", range(4))
def test_noise(ears: Ears, seed: int) -> None:
    """Messages cut, glued and with octets changed; whatever comes out is an event."""
    dice = random.Random(seed)
    heard = []
    for _ in range(1500):
        wire, samples = dice.choice(((ears.links, LINKS), (ears.teams, TEAMS)))
        octets = bytearray(b"".join(dice.choices(samples, k=dice.choice([1, 1, 2, 3]))))
        for _ in range(dice.randrange(5)):
            octets[dice.randrange(len(octets))] = dice.choice([0, 1, 3, 4, 255, dice.randrange(256)])
        cut = dice.choice([len(octets), len(octets), dice.randrange(len(octets) + 1)])
        wire.datagrams.append(dice.choice([bytes(octets[:cut])] * 30 + [None]))
        ears.now_s += 0.05
        if dice.random() < 0.5:
            heard += ears.read()
    kinds = {type(event) for _, event in heard}
    assert {LinkSeen, OptionSeen, PortSeen, Overrun} <= kinds
    assert ears.kernel.malformed > 100


LOSS = framing.HEADER.pack(32, rtnl.NEWLINK, 0, 0, 0) + struct.pack("=BxHiII", 0, 1, 7, rtnl.IFF_UP, 0)


def test_a_glance_sees_the_loss_and_leaves_it_to_be_read(ears: Ears) -> None:
    ears.kernel._team_of[7], ears.kernel._running[7] = TEAM, True
    ears.links.datagrams += [LOSS]
    assert ears.kernel._link_events.loss() == 7
    assert ears.kernel.read() == [(0, CarrierSeen(7, False))]
    assert ears.kernel._link_events.loss() == 0


@pytest.mark.parametrize(
    ("begin", "octets"),
    [
        (4, struct.pack("=H", rtnl.DELLINK)),
        (16, b"\x07"),
        (24, struct.pack("=I", rtnl.IFF_UP | rtnl.IFF_RUNNING)),
    ],
    ids=["the end of a link", "of a bridge", "it runs"],
)
def test_a_glance_sees_nothing_else(ears: Ears, begin: int, octets: bytes) -> None:
    ears.links.datagrams += [LOSS[:begin] + octets + LOSS[begin + len(octets) :]]
    assert ears.kernel._link_events.loss() == 0


def test_a_glance_believes_the_kernel_only(ears: Ears) -> None:
    ears.links.datagrams += [LOSS]
    ears.links.sender = 4711
    assert ears.kernel._link_events.loss() == 0
    ears.links.sender = 0
    ears.links.datagrams[0] = LOSS[:31]
    assert ears.kernel._link_events.loss() == 0


def test_what_was_lost_at_a_glance_is_read_again(ears: Ears) -> None:
    ears.links.datagrams += [None]
    assert ears.kernel._link_events.loss() == 0
    assert ears.kernel.read() == [OVERRUN]


def test_a_loss_stands_before_what_the_look_out_wrote_because_of_it(
    ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The links were read already when the loss came, and the look-out was quicker than the reading of the teams."""
    late = [bytes.fromhex(GOLDEN["peer_down_links"][-1])]
    port = rtnl.loss_in(late[0][: rtnl.GLANCE])
    ears.kernel._team_of[port], ears.kernel._running[port] = TEAM, True
    ears.kernel._look_out.fired[TEAM] = shot = Shot(TEAM, WRITES, b"")
    shot.over(())

    def next_of_teams() -> bytes | None:
        ears.links.datagrams += late
        late.clear()
        return ears.teams.datagrams.pop(0) if ears.teams.datagrams else None

    monkeypatch.setattr(ears.kernel._team_events, "next", next_of_teams)
    ears.teams.datagrams += [bytes.fromhex(octets) for octets in GOLDEN["peer_down_team"]]
    told = [type(event) for _, event in ears.kernel.read()]
    assert told[0] is CarrierSeen
    assert PortSeen in told
    socket = Counted()
    monkeypatch.setattr(ears.kernel, "_team_writes", socket)
    assert ears.kernel.apply(TEAM, WRITES) == ()
    assert socket.asked == [], "it is done"
    ears.kernel.apply(TEAM, WRITES)
    assert len(socket.asked) == 1


def test_what_is_only_encoded_is_never_done(ears: Ears) -> None:
    ears.kernel.encode(WRITES)
    assert not ears.kernel._look_out._armed
    assert not ears.kernel._foreseen


def test_of_a_team_that_has_ended_nothing_stays(ears: Ears) -> None:
    ears.kernel._watched.add(TEAM)
    ears.kernel._foreseen[TEAM] = {}
    ears.kernel._look_out.fired[TEAM] = Shot(TEAM, WRITES, b"")
    ears.kernel._look_out.arm(TEAM, {7: (WRITES, b"")})
    ears.kernel.unwatch_team(TEAM)
    left = (ears.kernel._look_out._armed, ears.kernel._look_out.fired, ears.kernel._foreseen)
    assert left == ({}, {}, {})


@pytest.mark.parametrize("fired", [False, True])
def test_what_is_answered_already_is_told_with_all_that_followed(ears: Ears, fired: bool) -> None:
    loss = bytes.fromhex(GOLDEN["peer_down_links"][-1])
    port = rtnl.loss_in(loss[: rtnl.GLANCE])
    ears.links.datagrams += [LINKS[0]]
    ears.read()
    ears.kernel._team_of[port], ears.kernel._running[port] = TEAM, True
    ears.kernel._choose_links()
    if fired:
        ears.kernel._look_out.fired[TEAM] = Shot(TEAM, WRITES, b"")
    ears.links.datagrams += [loss, loss]
    ears.teams.datagrams += [bytes.fromhex(octets) for octets in GOLDEN["peer_down_team"]]
    told = [type(event) for _, event in ears.kernel.read()]
    assert told == ([CarrierSeen, LinkSeen, PortSeen] if fired else [CarrierSeen])


@pytest.mark.parametrize("lost", [False, True])
def test_who_waits_is_told_what_another_task_has_read(ears: Ears, lost: bool) -> None:
    """The dump of a team chooses other links, and empties the socket for that: the kernel announces nothing any more."""
    heard: list[tuple[int, KernelEvent]] = []

    async def listen() -> None:
        heard.extend(await ears.kernel.events())

    async def main() -> None:
        with trio.move_on_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                await trio.testing.wait_all_tasks_blocked()
                ears.links.datagrams += [None if lost else LINKS[0]]
                ears.kernel._list_ports(TEAM, [7])

    trio.run(main)
    assert [type(event) for _, event in heard] == [Overrun if lost else LinkSeen]


def test_who_waits_ends_with_the_close(ears: Ears) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ears.kernel.events)
            await trio.testing.wait_all_tasks_blocked()
            ears.kernel._drained = False
            ears.kernel.close()

    with pytest.raises(ExceptionGroup) as ended:
        trio.run(main, strict_exception_groups=True)
    assert ended.value.subgroup(trio.ClosedResourceError)


def link_message(ifindex: int, kind: int = rtnl.NEWLINK) -> framing.Message:
    """A message about a link, reduced to what is looked at without decoding."""
    octets = framing.HEADER.pack(32, kind, 0, 0, 0) + struct.pack("=BxHiII", 0, 1, ifindex, 0, 0)
    return framing.Message(kind, 0, 0, octets)


def told(links: ForeignLinks) -> list[tuple[int, bool]]:
    """(link, whether it is there) of all that is told."""
    return [(ifindex, message is not None) for ifindex, message in links.tell()]


def test_only_the_last_word_about_a_foreign_link_is_told() -> None:
    links = ForeignLinks()
    for ifindex in (5, 6, 5, 5):
        links.hear(ifindex, b"")
    assert told(links) == [(6, True), (5, True)]
    assert told(links) == []


def test_a_foreign_link_that_came_and_went_in_between_was_never_there() -> None:
    links = ForeignLinks()
    links.hear(5, b"")
    links.hear(5, None)
    assert told(links) == []


def test_the_end_of_a_link_that_was_told_is_told_even_if_there_is_a_new_one_of_its_number() -> None:
    links = ForeignLinks()
    links.known([5])
    links.hear(5, None)
    links.hear(5, b"")
    assert told(links) == [(5, False), (5, True)]
    links.hear(5, None)
    assert told(links) == [(5, False)]


@pytest.mark.parametrize("through", [True, False])
def test_each_filter_lets_its_links_through_and_no_others(through: bool) -> None:
    ours, others = [1, 7, 300, 70000], [2, 8, 255, 69999]
    program = netlink.filter_of_links(ours, through)
    heard = [ifindex for ifindex in sorted(ours + others) if run(program, link_message(ifindex).octets)]
    assert heard == (ours if through else others)
    assert len(netlink.filter_of_links(range(1, netlink._MOST_IN_FILTER + 1), through)) // 8 <= 4096


def test_filters_are_set_although_messages_were_lost_in_between(ears: Ears) -> None:
    ears.links.datagrams.append(None)
    ears.kernel._list_ports(TEAM, [4])
    assert ears.links.filters == 1
    assert ears.kernel.read() == [OVERRUN]


def test_with_too_many_links_for_a_filter_one_socket_hears_all_of_them() -> None:
    assert run(netlink._ALL, link_message(4711).octets)
    assert not run(netlink._NOTHING, link_message(4711).octets)


class Speechless(Requests):
    """A kernel whose answer about a link cannot be read."""

    def get_link(self, ifindex: int) -> LinkSeen | None:
        """See Requests."""
        raise KernelRefused(errno.EBADMSG, f"find link {ifindex}")


def test_a_refused_write_stays_one_when_nobody_says_whether_the_team_is_still_there() -> None:
    requests = Speechless()
    write = SetMember(2**31 - 1, True)
    (refused,) = requests.apply(2**31 - 2, [write])
    assert refused.write == write
    assert refused.errno in (errno.ENODEV, errno.EPERM)
    requests.close()


def test_what_changes_nothing_but_counters_is_told_once_until_all_is_read_again(ears: Ears) -> None:
    link = bytearray(LINKS[0])
    said = rtnl.decode(bytes(link))
    for number in range(3):
        link[-1] = number  # of a counter
        ears.links.datagrams.append(bytes(link))
    assert ears.read() == [(0, said)]
    link[24] ^= rtnl.IFF_UP
    ears.links.datagrams.append(bytes(link))
    assert [event for _, event in ears.read()] == [rtnl.decode(bytes(link))]
    ears.kernel._said.clear()  # as a dump does, which may have told something newer
    ears.links.datagrams.append(bytes(link))
    assert [event for _, event in ears.read()] == [rtnl.decode(bytes(link))]


class Counted:
    """In place of the socket for writes: how often it was asked, and its answer."""

    def __init__(self, code: int = 0) -> None:
        self.asked: list[bytes] = []
        self._code = code

    def request(self, message: bytes) -> list[framing.Message]:
        """As RequestSocket does it."""
        self.asked.append(message)
        if self._code:
            raise NetlinkError(self._code)
        return []


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Iterator[Requests]:
    """That know the numbers of the family."""
    found = Requests()
    monkeypatch.setattr(found, "family", lambda fresh=False: FAMILY)
    monkeypatch.setattr(found, "_is_gone", lambda team: False)
    yield found
    monkeypatch.undo()
    found.close()


WRITES = [SetOption(OptionKey("enabled", number), True) for number in (1, 2)]


@pytest.mark.parametrize("prepared", [False, True])
def test_what_is_not_answered_is_not_asked_again(
    prepared: bool, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writing thread of all teams has waited ten seconds already."""
    socket = Counted(errno.ETIMEDOUT)
    monkeypatch.setattr(requests, "_team_writes", socket)
    requests.prepare(7, {1: WRITES} if prepared else {})
    assert requests.apply(7, WRITES) == tuple(Refused(write, errno.ETIMEDOUT) for write in WRITES)
    assert len(socket.asked) == 1


def test_each_team_keeps_the_messages_made_for_it(requests: Requests, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {
        team: (SetOption(OptionKey("activeport"), team), SetOption(OptionKey("enabled", 3), True))
        for team in range(1, 300)
    }
    for team, writes in wanted.items():
        requests.prepare(team, {1: writes})
    socket = Counted()
    monkeypatch.setattr(requests, "_team_writes", socket)
    monkeypatch.setattr(requests, "_encode", None)  # what was not made ahead cannot be made now
    assert all(requests.apply(team, writes) == () for team, writes in wanted.items())
    assert len(set(socket.asked)) == len(wanted)


def test_of_what_was_prepared_the_latest_is_kept(requests: Requests, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [(SetOption(OptionKey("activeport"), number),) for number in range(20)]
    for writes in wanted:
        requests.prepare(5, {1: writes, 2: wanted[0]})
    monkeypatch.setattr(requests, "_team_writes", Counted())
    monkeypatch.setattr(requests, "_encode", None)
    requests.prepare(5, {1: wanted[-1]})
    assert [requests.apply(5, writes) for writes in (wanted[0], *wanted[-15:])] == [()] * 16
    with pytest.raises(TypeError):
        requests.apply(5, wanted[3])


class Busy:
    """In place of the socket for writes: knows a link, and says nothing but that it is busy."""

    def __init__(self, link: bytes, words: str = "") -> None:
        self._link, self._words = list(framing.messages(link)), words

    def request(self, message: bytes) -> list[framing.Message]:
        """As RequestSocket does it."""
        if rtnl.get_link(9)[4:6] == message[4:6]:
            return self._link
        raise NetlinkError(errno.EBUSY, self._words)


@pytest.mark.parametrize(
    ("flags", "words", "told"),
    [(0, "", ""), (rtnl.IFF_UP, "", "{} is up"), (rtnl.IFF_UP, "Device is up.", "Device is up.")],
)
def test_a_link_that_was_set_up_a_moment_ago_is_called_so(
    flags: int, words: str, told: str, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older kernel has no words for it, and the core may not have heard of it yet: it would suspect what cannot be seen."""
    octets = bytearray(next(octets for octets in LINKS if not rtnl.decode(octets).master))
    octets[24] = octets[24] & ~rtnl.IFF_UP | flags
    link = rtnl.decode(bytes(octets))
    assert link.up is bool(flags)
    monkeypatch.setattr(requests, "_link_writes", Busy(bytes(octets), words))
    write = SetMember(link.ifindex, True)
    (refused,) = requests.apply(link.ifindex + 1, [write])
    assert (refused.errno, refused.explanation) == (errno.EBUSY, told.format(link.name))
