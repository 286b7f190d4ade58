"""What a Team must not forget, and what it must: links of other devices, wishes for ports, and switches that are due."""

from __future__ import annotations

import errno
import json
from dataclasses import fields, replace
from typing import Any

import pytest
from explain_kit import Told, again, apply, backup, begin, told

from pyteamd.core import wanted
from pyteamd.core.hosts import LONGEST_RETRY_S, Hosts
from pyteamd.core.port import Port
from pyteamd.core.reload import plan, unknown_hosts
from pyteamd.core.team import Team
from pyteamd.model.desired import OptionKey, SetMember, SetOption
from pyteamd.model.errors import UserError
from pyteamd.model.events import (
    Applied,
    CarrierSeen,
    ConfigApply,
    Event,
    HostsResolved,
    KernelEvent,
    LinkGone,
    LinkSeen,
    OptionSeen,
    PortGone,
    PortRemove,
    PortSeen,
    Refused,
    Resync,
    Stop,
    Tick,
    UserSet,
)
from pyteamd.model.setup import Setup
from pyteamd.runners.base import TeamView
from pyteamd.scenario.simulated import load_config
from pyteamd.views import state as statetree

BRIDGE = 77


def enslaved_elsewhere(made: Told, ifindex: int, name: str) -> None:
    """The link belongs to a bridge from now on, and then something about it changes."""
    for running in (True, False):
        hear(made, LinkSeen(ifindex, name, b"\2\0\0\0\3\1", BRIDGE, up=True, running=running))


def hear(made: Told, *events: LinkSeen | LinkGone) -> None:
    """Events as the daemon passes them on."""
    for event in events:
        if made.team.wants(event):
            made.world.running().feed(event, made.world.clock)


def test_a_switch_that_is_due_is_not_lost_when_a_request_comes_at_that_very_moment_and_fails() -> None:
    made = told({**backup(), "link_watch": {"name": "ethtool", "delay_down": 100}})
    made.world.pass_time(1.0)
    made.world.set_peer("eth1", False)
    made.world.clock = made.team.deadline() or 0.0
    with pytest.raises(UserError):
        made.world.running().feed(UserSet("runner.active_port", "nobody"), made.world.clock)
    made.world.pass_time(0.01)
    assert made.world.device().active == made.world.ifindex_of("eth2")


def test_links_that_come_join_another_device_and_go_leave_nothing_behind() -> None:
    made = told(backup())
    facts = made.team.facts
    before = len(facts.observed.macs), len(facts.observed.members), len(facts._unenslaved_macs)
    for ifindex in range(100, 120):
        hear(made, LinkSeen(ifindex, f"veth{ifindex}", b"\2\0\0\0\3\1"))
        enslaved_elsewhere(made, ifindex, f"veth{ifindex}")
        if ifindex % 2:
            hear(made, LinkGone(ifindex))
    dump = made.world.kernel.dump(made.team.view.ifindex)
    made.world.running().feed(Resync(dump.links, dump.ports, dump.options), made.world.clock)
    assert before == (len(facts.observed.macs), len(facts.observed.members), len(facts._unenslaved_macs))


def test_a_configured_port_that_was_taken_by_a_bridge_and_deleted_joins_when_it_is_made_again() -> None:
    made = told(backup())
    ifindex = made.world.ifindex_of("eth2")
    enslaved_elsewhere(made, ifindex, "eth2")
    assert made.team.ports.named("eth2") is None
    hear(made, LinkGone(ifindex))
    assert "eth2" in made.team.members.wanted


@pytest.mark.parametrize("heard", range(1, 8))
def test_a_port_that_is_deleted_is_told_of_once_whatever_is_heard_of_it(heard: int) -> None:
    """On a busy machine the last word about a link may have taken the place of the one before; the families may come in any order."""
    made = told(backup())
    ifindex = made.world.ifindex_of("eth2")
    free = replace(made.team.facts.links[ifindex], master=0)
    events = [PortGone(ifindex), free, LinkGone(ifindex)]
    made.team.take()
    for number, event in enumerate(events):
        if heard & 1 << number:
            made.team.handle(event, made.world.clock)
    told_of = [note.text for note in made.team.take().notes if "is no port of the team any more" in note.text]
    assert told_of == ["eth2: is no port of the team any more"] * (heard != 1)


def test_a_port_that_is_named_no_more_does_not_come_back_when_its_link_is_made_again() -> None:
    made = told(backup())
    made.world.set_master("eth2", "")
    apply(made, {**backup(), "ports": {"eth1": {}}})
    made.world.delete("eth2")
    made.world.make_port("eth2", 1000, 1)
    assert [port.name for port in made.team.ports.values()] == ["eth1"]


def rename(made: Told, old: str, new: str) -> None:
    """Give a link another name."""
    made.world.set_admin(old, False)
    made.world.rename(old, new)


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_port_that_left_under_another_name_stays_out_when_it_gets_its_own_back(by_hand: bool) -> None:
    made = told(backup())
    rename(made, "eth2", "lan2")
    (made.world.set_master("lan2", "") if by_hand else made.world.remove_port("lan2"))
    rename(made, "lan2", "eth2")
    made.world.pass_time(5.0)
    assert [port.name for port in made.team.ports.values()] == ["eth1"]
    assert ("another program took it out" if by_hand else "it was removed by command") in made.line("eth2")
    made.world.add_port("eth2")
    assert [port.name for port in made.team.ports.values()] == ["eth1", "eth2"]


@pytest.mark.parametrize("way", ["again", "reload"])
def test_a_link_that_was_taken_out_under_another_name_comes_back(way: str) -> None:
    made = told(backup())
    rename(made, "eth2", "lan2")
    made.world.remove_port("lan2")
    if way == "reload":
        apply(made, {**backup(), "ports": {"eth1": {}}})
        rename(made, "lan2", "eth2")
        apply(made, backup())
    else:
        made.world.delete("lan2")
        made.world.make_port("eth2", 1000, 1)
    assert [port.name for port in made.team.ports.values()] == ["eth1", "eth2"]


def call(made: Told, **names: tuple[str, ...]) -> None:
    """The links have these alternative names now, in this order."""
    for link, others in names.items():
        made.world.kernel.set_altnames(made.world.ifindex_of(link), *others)
        made.world.settle()
        seen = made.world.kernel.find_link(link)
        if seen is not None and not seen.up:
            made.world.running().feed(seen, made.world.clock)  # the kernel announces nothing; the daemon asks
            made.world.settle()


def test_a_port_whose_configured_name_another_link_gets_stays_and_says_so() -> None:
    """Both are ports then: to let the first one go, nobody has asked, and the second one may have no carrier. teamd lets none go either."""
    made = told(backup(uplink={}, eth2={}), "eth1", "eth2", "eth3", start=False)
    made.world.kernel.set_altnames(made.world.ifindex_of("eth1"), "uplink")
    begin(made, backup(uplink={}, eth2={}))
    made.world.happened()
    call(made, eth1=())
    assert "uplink" not in made.line("eth1"), "nobody has the name"
    call(made, eth3=("uplink",))
    assert [port.name for port in made.team.ports.values()] == ["eth1", "eth2", "eth3"]
    warnings = [happened.text for happened in made.world.happened() if happened.kind == "warning"]
    assert warnings == ["eth1: was configured as uplink, which is eth3 now; eth1 stays a port"]
    said = "; it was configured as uplink, which is eth3 now, and stays a port (to let it go: pyteamdctl team0 port remove eth1)"
    assert made.line("eth1").endswith(said), made.line("eth1")
    assert "uplink" not in made.line("eth3")
    for ports in ({"eth2": {}, "eth3": {}, "eth1": {}}, {"uplink": {}, "eth2": {}, "eth1": {}}):
        apply(made, {**backup(), "ports": ports})
        assert "uplink" not in made.line("eth1"), "it is configured by its own name now, or nothing by the other"
    apply(made, backup(uplink={}, eth2={}))
    made.world.remove_port("eth1")
    made.world.add_port("eth1")
    assert "uplink" not in made.line("eth1"), "now it was asked for"


def test_a_port_whose_own_name_another_link_gets_is_not_confused_with_it() -> None:
    made = told(backup(), "eth1", "eth2", "eth3")
    made.world.happened()
    rename(made, "eth2", "lan2")
    rename(made, "eth3", "eth2")
    warnings = [happened.text for happened in made.world.happened() if happened.kind == "warning"]
    assert "lan2: was configured as eth2, which is another link now; lan2 stays a port" in warnings
    assert "; it was configured as eth2, which is another link now, and stays a port" in made.line("lan2")


def test_a_port_that_was_removed_and_added_again_is_wanted_by_its_configured_name() -> None:
    """So it comes back when its link is made again under another name of the kernel's."""
    made = told(backup(uplink={}, eth2={}), start=False)
    made.world.kernel.set_altnames(made.world.ifindex_of("eth1"), "uplink")
    begin(made, backup(uplink={}, eth2={}))
    made.world.remove_port("eth1")
    made.world.add_port("eth1")
    made.world.delete("eth1")
    made.world.make_port("eth7", 1000, 1)
    assert made.team.ports.named("eth7") is None
    call(made, eth7=("uplink",))
    assert made.team.ports.named("uplink") is not None, made.lines()


@pytest.mark.parametrize("again", ["eth1", "uplink"])
def test_both_configured_names_of_a_link_that_was_taken_out_are_wanted_when_it_is_gone(again: str) -> None:
    made = told(backup(eth1={}, uplink={}, eth2={}), start=False)
    made.world.kernel.set_altnames(made.world.ifindex_of("eth1"), "uplink")
    begin(made, backup(eth1={}, uplink={}, eth2={}))
    made.world.set_master("eth1", "")
    assert "another program took it out" in made.line("eth1")
    made.world.delete("eth1")
    made.world.make_port(again, 1000, 1)
    assert made.team.ports.named(again) is not None, made.lines()


def test_a_port_that_had_lost_its_configured_name_leaves_when_that_is_configured_no_more() -> None:
    made = told(backup(), "eth1", "eth2", "eth3")
    rename(made, "eth2", "lan2")
    rename(made, "eth3", "eth2")
    assert [port.name for port in made.team.ports.values()] == ["eth1", "lan2", "eth2"], made.lines()
    ready = plan(made.team, json.dumps(backup(eth1={})))
    assert [change.text() for change in ready.changes] == [
        "ports.eth2: removed, and with it lan2, which had this name (lan2 is interrupted)",
        "ports.eth2: removed (eth2 is interrupted)",
    ]
    apply(made, backup(eth1={}, lan2={}))
    assert [port.name for port in made.team.ports.values()] == ["eth1", "lan2"], "it is configured by its own name"
    rename(made, "lan2", "x2")
    apply(made, backup(eth1={}))
    assert [port.name for port in made.team.ports.values()] == ["eth1"], made.lines()
    assert made.line("x2").startswith("x2: is no port: the configuration does not name it any more"), made.lines()


@pytest.mark.parametrize("stored", [True, False])
def test_links_that_were_added_by_command_and_are_gone_are_remembered_up_to_a_number(
    stored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wanted, "REMEMBERED", 16)
    made = told(backup())
    names = [f"tmp{number}" for number in range(20)]
    for name in names:
        made.world.make_port(name, 1000, 1)
        if stored:
            made.world.port_config(name, {"prio": 1})
        made.world.add_port(name)
        assert made.team.ports.named(name) is not None, made.lines()
    went = [*names[8:], *names[:8]]
    for name in went:
        made.world.delete(name)
    assert {name for name in made.team.members.wanted if name.startswith("tmp")} == set(went[4:])
    assert {name for name in made.team.config.port_names() if name.startswith("tmp")} == set(went[4:])
    told_of = [happened.text.split(":")[0] for happened in made.world.happened() if "is forgotten" in happened.text]
    assert told_of == went[:4]
    made.world.make_port("tmp0", 1000, 1)
    assert made.team.ports.named("tmp0") is not None, "it was made again"


@pytest.mark.parametrize("stored", [True, False])
def test_all_ports_that_were_added_by_command_join_again_after_a_reset_of_their_driver(stored: bool) -> None:
    made = told({**backup(), "link_watch": {"name": "ethtool"}})
    names = [f"vf{number}" for number in range(20)]
    for name in names:
        made.world.make_port(name, 1000, 1)
        if stored and name < "vf5":
            made.world.port_config(name, {"prio": 1})
        made.world.add_port(name)
    for name in names:
        made.world.delete(name)
    for name in names:
        made.world.make_port(name, 1000, 1)
    assert {port.name for port in made.team.ports.values()} == {"eth1", "eth2", *names}


def test_the_settings_of_a_port_that_was_added_by_command_follow_it_to_its_new_name() -> None:
    made = told(backup(), "eth1", "eth2", "eth3")
    made.world.port_config("eth3", {"prio": 7, "link_watch": {"name": "ethtool", "delay_up": 1}})
    made.world.add_port("eth3")
    rename(made, "eth3", "lan3")
    assert plan(made.team, json.dumps(backup())).changes == ()
    apply(made, backup(eth1={"prio": 2}, eth2={}))
    made.world.delete("lan3")
    made.world.make_port("lan3", 1000, 1)
    assert (port := made.team.ports.named("lan3")) is not None, made.lines()
    assert port.config.prio == 7
    made.world.make_port("eth3", 1000, 1)
    made.world.add_port("eth3")
    assert (port := made.team.ports.named("eth3")) is not None, made.lines()
    assert port.config.prio == 0, "they are another link's"


def test_a_port_without_its_configured_name_is_asked_for_its_settings_and_told_others() -> None:
    made = told(backup(eth1={"prio": 1}, eth2={"prio": 5}))
    rename(made, "eth2", "lan2")
    link = made.team.facts.called("lan2")
    assert link is not None
    assert made.team.joining.key(link) == "eth2"
    made.world.port_config("lan2", {"prio": 6, "queue_id": 1})
    assert made.team.config.port_names() == ["eth1", "eth2"]
    assert (port := made.team.ports.named("lan2")) is not None
    assert port.config.prio == 6


def test_who_adds_a_port_by_command_means_this_link_whatever_it_is_called_later() -> None:
    made = told(backup(), "eth1", "eth2", "eth3")
    made.world.add_port("eth3")
    rename(made, "eth3", "lan3")
    made.world.make_port("eth3", 1000, 1)
    assert [port.name for port in made.team.ports.values()] == ["eth1", "eth2", "lan3"], made.lines()
    made.world.delete("lan3")
    made.world.make_port("lan3", 1000, 1)
    assert made.team.ports.named("lan3") is not None, made.lines()


def test_a_refusal_without_a_word_is_told_with_what_was_known_and_explained_with_what_is_known() -> None:
    """The message about a macvlan on the link comes a moment later."""
    made = told(backup(), start=False)
    made.world.refuse("enslave", "eth2", 1, "EBUSY")
    begin(made, backup())
    assert any("nothing in its way was known here then" in happened.text for happened in made.world.happened())
    ifindex = made.world.ifindex_of("eth2")
    hear(made, LinkSeen(90, "mv0", b"\2\0\0\0\3\1", kind="macvlan", lower=ifindex))
    assert made.line("eth2") == "eth2: has macvlan mv0 standing on it (it joins when that is gone)"


def test_a_new_link_of_the_name_is_a_port_though_the_one_that_was_taken_out_has_another_name_now() -> None:
    made = told(backup())
    made.world.set_master("eth2", "")
    rename(made, "eth2", "lan2")
    made.world.make_port("eth2", 1000, 1)
    assert [port.name for port in made.team.ports.values()] == ["eth1", "eth2"], made.lines()
    assert made.line("lan2").startswith("lan2: is no port: another program took it out")


def test_a_new_link_of_a_name_that_was_removed_by_command_is_no_port_and_says_so() -> None:
    made = told(backup())
    made.world.remove_port("eth2")
    made.world.remake("eth2", 1)
    assert (
        made.line("eth2")
        == "eth2: is no port: one of this name was removed by command (pyteamdctl team0 port add eth2)"
    )


def test_hints_name_the_team_as_its_daemon_is_asked_for() -> None:
    """Its socket has the name that it was started with."""
    made = told(backup(), "eth1", "eth2", "eth3")
    made.world.remove_port("eth2")
    made.world.kernel.rename(made.team.view.ifindex, "lag0")
    made.world.settle()
    assert "(pyteamdctl team0 port add eth2)" in made.line("eth2")
    made.world.add_port("eth2")
    assert "pyteamdctl team0 state item set runner.active_port eth2" in made.line("eth2")
    assert made.team.facts.team.name == "lag0"


@pytest.mark.parametrize("back", [True, False])
def test_names_that_two_ports_exchange_are_nothing_to_tell(back: bool) -> None:
    made = told(backup(a={}, b={}), start=False)
    for link, name in (("eth1", "a"), ("eth2", "b")):
        made.world.kernel.set_altnames(made.world.ifindex_of(link), name)
    begin(made, backup(a={}, b={}))
    made.world.happened()
    call(made, eth1=(), eth2=("a",))
    assert "configured as a, which is eth2 now" in made.line("eth1"), made.line("eth1")
    call(made, **({"eth2": ("b",), "eth1": ("a",)} if back else {"eth1": ("b",)}))
    assert not [line for line in made.lines() if "configured as" in line]
    assert not [happened.text for happened in made.world.happened() if happened.kind == "warning"]


def eth3_of_team1(made: Told) -> Told:
    """eth3 is a port of another team."""
    made.world.kernel.create_team("team1")
    made.world.make_port("eth3", 1000, 1)
    made.world.set_admin("eth3", False)
    made.world.set_master("eth3", "team1")
    return made


def test_a_port_of_another_team_is_left_there_when_it_is_asked_for() -> None:
    made = eth3_of_team1(told(backup()))
    made.world.add_port("eth3")
    assert made.team.ports.named("eth3") is None
    assert made.line("eth3") == "eth3: belongs to team1"
    assert made.world.kernel.links[made.world.ifindex_of("eth3")].up
    made.world.add_port("team0")
    assert "team0" not in made.team.members.wanted


def test_a_port_of_another_team_can_be_taken_on_purpose() -> None:
    made = eth3_of_team1(told(backup()))
    made.team.config.set_port("eth3", {"steal": True})
    made.world.add_port("eth3")
    assert made.team.ports.named("eth3") is not None


def test_why_a_link_was_refused_is_forgotten_with_the_link() -> None:
    made = told({**backup(), "ports": {"eth1": {}}}, "eth1", "eth3")
    made.world.refuse("address", "eth3", None, "EOPNOTSUPP")
    made.world.set_admin("eth3", False)
    made.world.set_master("eth3", "team0")
    assert "is no port" in made.line("eth3")
    made.world.delete("eth3")
    assert "eth3" not in made.reasons()


def test_a_name_with_a_dot_is_not_the_name_before_the_dot() -> None:
    made = told({"runner": {"name": "activebackup"}, "ports": {"eth0": {}, "eth0.100": {}}}, "eth0", "eth0.100")
    for name in ("eth0", "eth0.100"):
        assert statetree.get_item(made.team, f"ports.{name}.ifinfo.ifname") == name


@pytest.mark.parametrize("path", ["ports.up.link.ifinfo.ifname", 'ports."up.link".ifinfo.ifname'])
def test_an_item_is_found_by_each_name_of_its_port(path: str) -> None:
    made = told(backup())
    call(made, eth2=("up.link",))
    assert statetree.get_item(made.team, path) == "eth2"


def test_an_item_costs_the_state_of_one_port_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many teams have many ports, and a script asks for item after item."""
    names = [f"eth{number}" for number in range(8)]
    made = told({"runner": {"name": "activebackup"}, "ports": {name: {} for name in names}}, *names)
    looked, port_state = [], statetree.port_state

    def look(team: Team, port: Port) -> Any:
        looked.append(port.name)
        return port_state(team, port)

    monkeypatch.setattr(statetree, "port_state", look)
    assert statetree.get_item(made.team, "ports.eth5.ifinfo.ifname") == "eth5"
    assert statetree.get_item(made.team, "setup.runner_name") == "activebackup"
    with pytest.raises(UserError):
        statetree.set_request(made.team, "ports.eth6.link.up", "true")
    with pytest.raises(UserError) as refused:
        statetree.get_item(made.team, "ports.eth9.link.up")
    assert refused.value.reason == f"there is no eth9 in ports; there are: {', '.join(names)}"
    assert looked == ["eth5", "eth6"]


@pytest.mark.parametrize(("text", "level"), [("0", 0), (" +7", 7), ("-0", 0), ("0" * 9999 + "2147483647", 2**31 - 1)])
def test_debug_levels(text: str, level: int) -> None:
    setup = Setup()
    setup.set_debug_level(text)
    assert setup.debug_level == level


@pytest.mark.parametrize("text", ["", " ", "5 ", "5x", "1_0", "\u0663", "-1", "2147483648", "9" * 9999, "0x1"])
def test_what_is_no_debug_level(text: str) -> None:
    with pytest.raises(UserError):
        Setup().set_debug_level(text)


NAMED = {"name": "arp_ping", "target_host": "gw.example", "interval": 100}


def named(*with_a_name: str) -> Told:
    """eth1 carries the traffic, and what watches some of the ports has to be looked up by each daemon."""
    settings = {
        name: {"link_watch": {**NAMED, "send_always": True}} if name in with_a_name else {} for name in ("eth1", "eth2")
    }
    settings["eth1"]["prio"] = 10
    made = told(backup(**settings), start=False)
    made.world.host("gw.example", "192.0.2.1")
    begin(made, backup(**settings))
    for name in with_a_name:
        made.world.answer(name, "192.0.2.1", True, None)
    made.world.pass_time(1.0)
    assert made.world.device().active == made.world.ifindex_of("eth1")
    return made


@pytest.mark.parametrize("with_a_name", [("eth1",), ("eth1", "eth2"), ("eth2",)])
def test_a_restart_keeps_the_active_port_while_names_are_looked_up(with_a_name: tuple[str, ...]) -> None:
    made = named(*with_a_name)
    assert again(made) == ['info Took over with active port "eth1".']
    made.world.pass_time(2.0)
    assert made.world.happened() == []


def test_a_restart_without_the_name_of_the_active_port_goes_on_with_another() -> None:
    made = named("eth1")
    made.world.host("gw.example", "")
    said = again(made)
    assert 'info Changed active port to "eth2".' in said
    assert "write release port eth1" not in said
    assert "cannot resolve host gw.example" in made.line("eth1")


def test_the_address_of_a_team_stays_when_its_only_port_is_looked_up_after_a_restart() -> None:
    made = named("eth1")
    made.world.kernel.links[made.world.ifindex_of("eth1")].permanent_mac = b"\2\xee\0\0\0\1"
    made.world.remove_port("eth2")
    made.world.set_mac("team0", b"\2\xaa\0\0\0\1")
    made.world.pass_time(1.0)
    again(made)
    assert made.team.view.mac == b"\2\xaa\0\0\0\1"


def test_an_active_port_that_fails_while_its_names_are_looked_up_is_replaced() -> None:
    made = named("eth1")
    one, two = map(made.world.ifindex_of, ("eth1", "eth2"))
    config, link = made.team.config, made.world.kernel.find_link("team0")
    assert link is not None
    made.world.kill()
    team = Team(config, link, adopted=True)
    team.handle(made.world.kernel.dump(link.ifindex), 0.0)
    assert team.writes(0.0) == ()
    team.rest(0.0)
    assert team.view.awaited == {one}
    team.handle(replace(team.facts.links[one], running=False), 0.1)
    assert SetOption(OptionKey("activeport"), two) in team.writes(0.1)


def test_a_name_without_an_address_is_looked_up_again_and_its_watchers_begin_then() -> None:
    made = told({**backup(), "link_watch": NAMED})
    assert made.line("eth1").startswith("eth1: link watch down: arp_ping: cannot resolve host gw.example")
    made.world.pass_time(2.0)
    assert [port.name for port in made.team.ports.values()] == ["eth1", "eth2"]
    made.world.host("gw.example", "192.0.2.1")
    for name in ("eth1", "eth2"):
        made.world.answer(name, "192.0.2.1", True, None)
    made.world.pass_time(2.0)
    assert made.line("eth1").startswith("eth1: carries traffic")


def test_a_name_is_looked_up_ever_less_often_but_at_least_once_a_minute() -> None:
    hosts, host = Hosts(), ("gw.example", "inet")
    asked, now = [], 0.0
    while now < 300:
        if hosts.to_look_up([host], now):
            asked.append(now)
            hosts.resolved({host: ""}, now)
        now += 0.5
    assert asked == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]


def test_a_running_team_answers_all_that_a_runner_may_ask_of_its_view() -> None:
    made = told(backup())
    assert {field.name: getattr(made.team.view, field.name) for field in fields(TeamView)}["worked_out"] is None


def test_a_look_up_that_lasts_is_waited_for_and_not_asked_about_again_and_again() -> None:
    """A name server that hangs for half a minute: nothing is due meanwhile, and one that has no address then is asked for later."""
    made = told({**backup(), "link_watch": NAMED})
    host = ("gw.example", "inet")
    for began in (100.0, 200.0):
        made.team.handle(HostsResolved({host: ""}), began)
        again_at = made.team.deadline()
        assert again_at is not None
        assert began < again_at <= began + LONGEST_RETRY_S
        made.team.handle(Tick(), again_at)
        assert made.team.unresolved(again_at) == [host]
        due = made.team.deadline()
        assert due is None or due > again_at, (due, again_at)


def test_a_configuration_refused_for_a_name_can_be_applied_when_the_name_is_known() -> None:
    made = told(backup())
    config = {**backup(), "link_watch": NAMED}
    for address, expected in (("", False), ("192.0.2.1", True)):
        hosts = unknown_hosts(made.team, made.team.config.again(json.dumps(config)))
        assert hosts == [("gw.example", "inet")]
        made.world.running().feed(HostsResolved(dict.fromkeys(hosts, address)), made.world.clock)
        if expected:
            apply(made, config)
        else:
            with pytest.raises(UserError):
                apply(made, config)
    assert made.team.config.dump()["link_watch"] == NAMED


@pytest.mark.parametrize("watch", [[NAMED, {**NAMED, "name": "nsna_ping"}], [{**NAMED, "name": "nsna_ping"}, NAMED]])
def test_one_name_in_two_address_families(watch: list[dict[str, object]]) -> None:
    config = {"runner": {"name": "activebackup"}, "ports": {"eth1": {"link_watch": watch}}}
    made = told(config, "eth1", start=False)
    made.world.host("gw.example", "192.0.2.1")
    made.world.host("gw.example", "2001:db8::1")
    begin(made, config)
    made.world.pass_time(1.0)
    shown = statetree.state(made.team)["ports"]["eth1"]["link_watches"]["list"].values()
    targets = {watcher["name"]: watcher["target_host"] for watcher in shown}
    assert targets == {"arp_ping": "192.0.2.1", "nsna_ping": "2001:db8::1"}


def test_a_new_configuration_takes_back_a_priority_that_was_stored_live() -> None:
    made = told(backup())
    made.world.port_config("eth2", {"prio": 10})
    assert made.line("eth2").startswith("eth2: carries traffic")
    apply(made, backup())
    assert [port.priority for port in made.team.ports.values()] == [0, 0]


def test_the_first_choice_waits_until_the_driver_has_told_how_fast_a_link_is() -> None:
    made = told(backup(), start=False)
    for name in ("eth1", "eth2"):
        made.world.set_peer(name, False)
    begin(made, backup())
    one, two = (made.team.ports[made.world.ifindex_of(name)].link for name in ("eth1", "eth2"))

    def say(*events: KernelEvent) -> str:
        for event in events:
            made.world.running().feed(event, made.world.clock)
        return statetree.get_item(made.team, "runner.active_port")

    # As seen on a busy machine: eth2 first, whole; of eth1 the early word, and the driver's last.
    opened = (replace(link, up=True, carrier=True) for link in (one, two))
    assert say(*opened) == ""
    assert say(CarrierSeen(two.ifindex, True), PortSeen(two.ifindex, True, 10_000, 1)) == ""
    assert say(CarrierSeen(one.ifindex, True)) == ""
    assert say(PortSeen(one.ifindex, True, 10_000, 1)) == "eth1"


@pytest.mark.parametrize("liberty", ["set_down", "steal"])
def test_a_free_link_that_may_be_set_down_is_tried_again_after_a_refusal(liberty: str) -> None:
    """Nothing had to be done to it, so the next try does nothing to it either."""
    made = told(backup(eth1={}, eth2={liberty: True}), start=False)
    made.world.refuse("enslave", "eth2", 1, "EBUSY")
    begin(made, backup(eth1={}, eth2={liberty: True}))
    made.world.pass_time(100.0)
    assert made.team.ports.named("eth2") is not None, made.lines()


STICKY = backup(eth1={}, eth2={"sticky": True})
OTHERS: dict[str, dict[str, Any]] = {
    "the port": STICKY,
    "the team": {**backup(), "mcast_rejoin": {"count": 3}},
    "the runner": {**backup(), "runner": {"name": "activebackup", "hwaddr_policy": "only_active"}},
}


@pytest.mark.parametrize("code", ["EOPNOTSUPP", "EBUSY"])
@pytest.mark.parametrize("others", OTHERS)
def test_what_the_kernel_refused_is_tried_again_at_once_with_other_settings(others: str, code: str) -> None:
    made = told(backup(), start=False)
    made.world.refuse("enslave", "eth2", None, code)
    begin(made, backup())
    made.world.pass_time(300.0)
    made.world.refuse("", "", None, code)
    apply(made, OTHERS[others])
    assert made.team.ports.named("eth2") is not None, made.lines()


@pytest.mark.parametrize("refused", [("enslave", "EOPNOTSUPP"), ("address", "EOPNOTSUPP"), ("enslave", "EBUSY")])
def test_settings_that_are_given_by_command_are_a_reason_to_try_it_again(refused: tuple[str, str]) -> None:
    what, code = refused
    made = told(backup(), start=False)
    made.world.refuse(what, "eth2", None, code)
    begin(made, backup())
    made.world.pass_time(300.0)
    assert code == "EBUSY" or "; it is tried again with other settings" in made.line("eth2"), made.line("eth2")
    made.world.refuse("", "", None, code)
    made.world.port_config("eth1", {"sticky": True})
    made.world.port_config("eth2", made.team.config.dump_port("eth2"))
    assert made.team.ports.named("eth2") is None, "nothing is other for it"
    made.world.port_config("eth2", {"sticky": True})
    assert made.team.ports.named("eth2") is not None, made.lines()


def test_what_only_a_command_asked_for_and_the_kernel_refused_is_not_tried_for_other_settings() -> None:
    """The user was told."""
    made = told(backup(), "eth1", "eth2", "eth3")
    made.world.refuse("enslave", "eth3", None, "EOPNOTSUPP")
    made.world.add_port("eth3")
    before = made.line("eth3")
    assert "tried again" not in before
    made.world.refuse("", "", None, "EOPNOTSUPP")
    made.world.port_config("eth3", {"sticky": True})
    assert made.team.ports.named("eth3") is None
    assert made.line("eth3") == before


def test_other_settings_of_one_port_are_no_reason_to_try_another_one() -> None:
    made = told(backup(), start=False)
    made.world.refuse("enslave", "eth2", None, "EOPNOTSUPP")
    begin(made, backup())
    made.world.refuse("", "", None, "EOPNOTSUPP")
    apply(made, backup(eth1={"sticky": True}, eth2={}))
    assert made.team.ports.named("eth2") is None


def test_what_is_wrong_with_the_settings_of_a_port_is_told_once_and_not_for_each_look_at_it() -> None:
    """Its watcher's host has first to be found, and meanwhile much is heard of the link."""
    made = told(backup())
    made.world.kill()
    config = backup(eth1={}, eth2={"queue_id": 99, "link_watch": NAMED})
    made.world.happened()
    made.world.start(json.dumps(config), adopt=True, enslave=True, keep=False)
    for running in (False, True, False, True):
        made.world.set_peer("eth2", running)
        made.world.settle()
    made.world.running().feed(HostsResolved({("gw.example", "inet"): "192.0.2.1"}), made.world.clock)
    made.world.settle()
    told_lines = [happened.text for happened in made.world.happened() if "stays one" in happened.text]
    assert len(told_lines) == 1, told_lines
    assert made.team.ports.named("eth2") is not None


TEAM0 = LinkSeen(9, "team0", b"\x02\0\0\0\0\x09", up=True, kind="team", mtu=1500)
ETH2 = LinkSeen(3, "eth2", b"\x02\0\0\0\0\x03", mtu=1500)


def being_added(mtu: int = 1500, set_down: bool = False) -> tuple[Team, SetMember]:
    """A team whose only port is just being added, and the write that does it. `set_down`: as it is up, it is set down for that."""
    team = Team(load_config(json.dumps(backup(eth2={"set_down": set_down}))), TEAM0)
    team.handle(Resync((TEAM0, replace(ETH2, mtu=mtu, up=set_down)), (), ()), 0.0)
    for _ in range(5):
        writes = team.writes(0.0)
        adding = [write for write in writes if isinstance(write, SetMember)]
        team.handle(Applied(tuple(write for write in writes if write not in adding)), 0.0)
        if adding:
            return team, adding[0]
    raise AssertionError(writes)


GIVEN_UP: dict[str, Event] = {
    "by command": PortRemove(3),
    "by configuration": ConfigApply(json.dumps({**backup(), "ports": {}})),
    "at the end": Stop(keep=False),
}


@pytest.mark.parametrize("answered_first", [False, True])
@pytest.mark.parametrize("way", GIVEN_UP)
def test_a_link_that_is_given_up_while_it_is_being_added_leaves_again(way: str, answered_first: bool) -> None:
    team, adding = being_added()
    seen: list[Event] = [
        replace(ETH2, master=9, up=True),
        PortSeen(3, False, 0, 0),
        OptionSeen(OptionKey("priority", 3), 0),
    ]
    answer: list[Event] = [Applied((adding,))]
    for event in (GIVEN_UP[way], *(answer + seen if answered_first else seen + answer)):
        team.handle(event, 0.1)
    assert not team.ports, team.members.out
    assert SetMember(3, False) in (writes := team.writes(0.2)), writes


def test_a_link_that_was_out_is_out_again_though_the_configuration_is_taken_back_while_it_is_being_added() -> None:
    team, adding = being_added()
    text = json.dumps(backup(eth2={}))
    team.handle(ConfigApply(text, written=("eth2",), kept=("eth2",), out=((3, wanted.TAKEN),)), 0.1)
    team.handle(Applied((adding,)), 0.2)
    assert SetMember(3, False) in (writes := team.writes(0.2)), writes


def test_a_link_that_another_device_took_while_it_was_being_added_is_left_there_at_the_end() -> None:
    team, adding = being_added()
    for event in (Applied((adding,)), replace(ETH2, master=BRIDGE), Stop(keep=False)):
        team.handle(event, 0.1)
    assert not team.writes(0.2)


def test_a_link_that_is_given_up_while_it_is_being_refused_is_not_said_to_be_tried_again() -> None:
    team, adding = being_added()
    team.handle(GIVEN_UP["by command"], 0.1)
    team.take()
    team.handle(Refused(adding, errno.EBUSY), 0.2)
    texts = [note.text for note in team.take().notes]
    assert len(texts) == 1, texts
    assert "tried again" not in texts[0], texts


@pytest.mark.parametrize("set_down", [False, True])
def test_what_is_refused_for_its_mtu_is_tried_again_with_another_mtu_of_the_team(set_down: bool) -> None:
    team, adding = being_added(mtu=1450, set_down=set_down)
    assert adding.set_down is set_down
    team.handle(Refused(adding, errno.EINVAL), 1.0)
    assert "ip link set team0 mtu 1450" in team.take().notes[0].text
    assert not team.writes(1.01)
    team.handle(replace(TEAM0, mtu=1450), 5.0)
    assert team.writes(5.0) == (adding,)
