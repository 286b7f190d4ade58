"""Which links a team is told of: its own, those it names, and those by which these are judged; of others nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from pyteamd.config.config import Config
from pyteamd.core.namespace_links import NamespaceLinks, Told
from pyteamd.core.team import Team
from pyteamd.linkwatch import WATCHERS
from pyteamd.model.events import ConfigApply, LinkGone, LinkSeen, Overrun, PortAdd, Resync
from pyteamd.runners import RUNNERS

TEAM, BRIDGE = 9, 7
OWN, OTHERS = b"\2\0\0\0\0\x09", b"\2\0\0\0\0\x55"


def link(ifindex: int, name: str = "", mac: bytes = OTHERS, **more: object) -> LinkSeen:
    return LinkSeen(ifindex, name or f"s{ifindex}", mac, **more)  # type: ignore[arg-type]


class Host:
    """Links that are talked about, and a team that hears what concerns it."""

    def __init__(self, *there: LinkSeen, master: int = 0) -> None:
        tree = json.dumps({"runner": {"name": "activebackup"}, "ports": {"eth1": {}, "eth2": {}}})
        device = link(TEAM, "team0", OWN, master=master, kind="team")
        self.team = Team(Config.load(tree, runners=RUNNERS, watchers=WATCHERS, device="team0"), device)
        self.links = NamespaceLinks()
        self.dump(*there, device)

    def dump(self, *there: LinkSeen) -> list[int]:
        """Everything is read. Returns which links the team is told of."""
        told = self.links.of(self.team, Resync(there, (), ()))
        for event in told:
            self.team.handle(event, 1.0)
        return [link.ifindex for event in told for link in (event.links if isinstance(event, Resync) else [event])]

    def say(self, *batch: LinkSeen | LinkGone) -> list[int]:
        """A batch of messages. Returns which links the team is told of, in order."""
        self.links.refresh({TEAM: self})
        told: Told = {}
        heard: list[LinkSeen | LinkGone] = []
        for event in batch:
            for _ in self.links.nearby(event, told):
                heard += self.links.about(self.team, event, told)
            self.links.hear(event)
        for event in heard:
            if self.team.wants(event):
                self.team.handle(event, 2.0)
        return [event.ifindex for event in heard]


OF_OTHERS = {
    "free": link(30),
    "of a bridge": link(31, master=BRIDGE),
    "on another link": link(32, lower=3, kind="macvlan"),
    "on the team": link(33, mac=OWN, lower=TEAM, kind="vlan"),
}


@pytest.mark.parametrize("what", OF_OTHERS)
def test_a_team_is_not_told_of_links_of_others(what: str) -> None:
    host = Host(link(3, "eth3"), link(BRIDGE, "br0", kind="bridge"), link(5, "eth1"))
    before = len(host.team.facts.known())
    assert host.say(OF_OTHERS[what]) == host.say(LinkGone(OF_OTHERS[what].ifindex)) == []
    assert host.dump(link(TEAM, "team0", OWN), link(5, "eth1"), OF_OTHERS[what]) == [5, TEAM]
    assert len(host.team.facts.known()) == before


VLAN = link(20, "eth1", kind="vlan", lower=3)
BESIDE: dict[str, tuple[list[LinkSeen], LinkSeen, list[int]]] = {
    "what it stands on": ([link(3)], VLAN, [3, 20]),
    "and that on": ([link(2), link(3, lower=2)], VLAN, [2, 3, 20]),
    "what stands on it": ([link(30, lower=20, kind="macvlan")], link(20, "eth2"), [30, 20]),
    "who has it": ([link(BRIDGE, "br0", kind="bridge")], link(20, "eth2", master=BRIDGE), [BRIDGE, 20]),
    "it has the name besides": ([link(3)], link(20, kind="vlan", lower=3, altnames=("eth2",)), [3, 20]),
}


@pytest.mark.parametrize("what", BESIDE)
def test_with_a_link_come_those_by_which_it_is_judged(what: str) -> None:
    there, named, told = BESIDE[what]
    assert Host(*there).say(named) == told
    assert Host().say(*there, named) == told
    host = Host(*there, named)
    assert host.team.facts.known().keys() == set(told)
    for other in (*there, LinkGone(there[0].ifindex)):
        assert host.say(other) == [other.ifindex]


@pytest.mark.parametrize("what", ["what it stands on", "and that on", "what stands on it"])
def test_they_may_come_behind_it(what: str) -> None:
    there, named, told = BESIDE[what]
    assert sorted(Host().say(named, *reversed(there))) == sorted(told)
    host = Host()
    assert sorted([*host.say(named), *(one for other in reversed(there) for one in host.say(other))]) == sorted(told)


@pytest.mark.parametrize("batches", [1, 2])
def test_what_stands_on_the_owner_of_a_link_is_not_told_however_messages_are_read(batches: int) -> None:
    host = Host(link(BRIDGE, "br0", kind="bridge"))
    said = [link(20, "eth1", master=BRIDGE), *(link(30 + n, lower=BRIDGE, kind="vlan") for n in range(3))]
    heard = [number for batch in ([said] if batches == 1 else [said[:1], said[1:]]) for number in host.say(*batch)]
    assert heard == [BRIDGE, 20]


@pytest.mark.parametrize("batches", [1, 2])
def test_what_stands_on_a_link_of_a_wanted_name_is_told_however_messages_are_read(batches: int) -> None:
    host = Host()
    said = [link(20, "eth1"), link(30, lower=20, kind="macvlan")]
    assert [
        number for batch in ([said] if batches == 1 else [[each] for each in said]) for number in host.say(*batch)
    ] == [20, 30]


def test_the_device_that_has_the_team_is_known_and_its_other_ports_are_not() -> None:
    host = Host(link(BRIDGE, "br0", OWN, kind="bridge"), master=BRIDGE)
    assert host.team.facts.name_of(BRIDGE) == "br0"
    assert host.say(link(30, master=BRIDGE)) == []
    assert host.say(link(BRIDGE, "br1", OWN, kind="bridge")) == [BRIDGE]


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("early", [False, True])
def test_the_address_of_a_link_that_joins_by_hand_is_the_one_it_had_before(batches: int, early: bool) -> None:
    """`early`: the driver has given it the team's address already when rtnetlink still names no master."""
    host = Host(link(30))
    said = [link(30, mac=OWN)] * early + [link(30, mac=OWN, master=TEAM)]
    for batch in [said] if batches == 1 else [[each] for each in said]:
        assert host.say(*batch)
    assert host.team.facts.original_mac(30) == OTHERS


def test_after_an_overrun_too() -> None:
    host = Host(link(30))
    host.team.handle(Overrun(), 1.5)
    assert host.dump(link(30, mac=OWN, master=TEAM), link(TEAM, "team0", OWN)) == [30, TEAM, 30]
    assert host.team.facts.original_mac(30) == OTHERS


def text_with(ports: Iterable[str]) -> str:
    return json.dumps({"runner": {"name": "activebackup"}, "ports": {port: {} for port in ports}})


def test_what_a_user_names_is_told_before() -> None:
    host = Host(link(3), link(30, "eth5", kind="vlan", lower=3), link(31, "eth6"), link(32, "eth7"))
    for event, told in (
        (ConfigApply(text_with(("eth1", "eth2", "eth5"))), [3, 30]),
        (ConfigApply("{"), []),
        (PortAdd(31, link(31, "eth6")), [31]),
    ):
        before = host.links.before(host.team, event)
        assert [each.ifindex for each in before] == told
        for each in before:
            host.team.handle(each, 1.0)
        assert host.links.before(host.team, event) == []
        assert host.say(*(LinkGone(ifindex) for ifindex in told)) == told


def test_nothing_is_left_of_links_that_are_gone_nor_of_a_team() -> None:
    host = Host()
    for first in range(100, 1000, 30):
        links = [link(n, "eth1" if n % 30 == 0 else "", lower=n - 1 if n % 3 else 0) for n in range(first, first + 30)]
        host.say(*links)
        host.say(*(LinkGone(each.ifindex) for each in links))
    host.say(LinkGone(TEAM))
    host.links.refresh({})
    kept = [getattr(host.links, name) for name in vars(host.links)]
    assert not any(kept), kept
