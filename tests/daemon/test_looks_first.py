"""A start, a `port add` and a reload look before they act: what is not ours stays as it is, what is in the way is said and waited for."""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio
from daemon_kit import ACTIVE_BACKUP, Lab, quiet
from test_ctl_extra import say

from pyteamd.daemon import team_server
from pyteamd.daemon.team_server import LOOK_INTERVAL_S, StartFailed
from pyteamd.daemon.writing import Done
from pyteamd.kernel.api import Kernel
from pyteamd.model.desired import OptionKey, SetMember, SetOption, Write
from pyteamd.model.errors import KernelRefused
from pyteamd.model.printable import printable
from pyteamd.sim.kernel import LINKS
from pyteamd.sim.link import SimLink, link_seen
from pyteamd.values import replace

OWNERS = ("br0", "bond7", "team1")


def owner_of(lab: Lab, kind: str) -> SimLink:
    """A device that others belong to."""
    if kind == "team1":
        return lab.kernel.links[lab.kernel.create_team("team1")]
    return lab.kernel.add_other(kind, "bridge" if kind == "br0" else "bond")


def owned(lab: Lab, name: str, kind: str) -> SimLink:
    """A link that serves in another device."""
    link = lab.link(name)
    lab.kernel.set_master(link.ifindex, owner_of(lab, kind).ifindex)
    lab.kernel.set_up(link.ifindex, True)
    return link


async def explained(lab: Lab) -> dict[str, str]:
    """Sentence by name of the last daemon."""
    rows = json.loads(await lab.daemons[-1].call("Explain"))
    return {row["port"]: row["text"] for row in rows}


@pytest.mark.parametrize("kind", OWNERS)
async def test_what_belongs_to_another_device_is_left_there_and_the_others_serve(lab: Lab, kind: str) -> None:
    link = owned(lab, "eth1", kind)
    before = link_seen(link)
    daemon = await lab.start()
    assert daemon.failure is None
    assert link_seen(link) == before
    assert list((await daemon.state())["ports"]) == ["eth2"]
    assert f"eth1: not added: it belongs to {kind}; it joins when it is free and down" in daemon.lines
    assert (await explained(lab))["eth1"] == f"eth1: belongs to {kind} (it joins when it is free and down)"


@pytest.mark.parametrize("kind", OWNERS)
async def test_what_was_of_another_device_joins_when_it_is_free_and_down(lab: Lab, kind: str) -> None:
    link = owned(lab, "eth1", kind)
    daemon = await lab.start()
    lab.kernel.set_master(link.ifindex, 0)
    lab.kernel.set_up(link.ifindex, False)
    await trio.sleep(1)
    assert list((await daemon.state())["ports"]) == ["eth1", "eth2"]


@pytest.mark.parametrize("kind", OWNERS)
async def test_a_port_of_another_device_is_taken_where_its_settings_ask_for_that(lab: Lab, kind: str) -> None:
    owned(lab, "eth1", kind)
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {"eth1": {"steal": True}, "eth2": {}}}))
    assert list((await daemon.state())["ports"]) == ["eth1", "eth2"]


async def test_a_port_that_was_taken_in_vain_is_given_back(lab: Lab) -> None:
    link = owned(lab, "eth1", "br0")
    link.hardware = 0xFFFE
    before = link_seen(link)
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {"eth2": {}, "eth1": {"steal": True}}}))
    await quiet()
    assert link_seen(link) == before
    assert list((await daemon.state())["ports"]) == ["eth2"]
    assert "Device is of different type" in (await explained(lab))["eth1"] or "br0" in (await explained(lab))["eth1"]


async def test_a_port_that_is_up_is_waited_for(lab: Lab) -> None:
    lab.kernel.set_up(lab.link("eth2").ifindex, True)
    daemon = await lab.start()
    assert daemon.failure is None
    assert "eth2: not added: it is up; it joins when it is down (ip link set eth2 down)" in daemon.lines
    assert (await explained(lab))["eth2"].startswith("eth2: is up")
    lab.kernel.set_up(lab.link("eth2").ifindex, False)
    await trio.sleep(1)
    assert list((await daemon.state())["ports"]) == ["eth1", "eth2"]


async def test_a_port_that_is_up_is_set_down_where_its_settings_say_so(lab: Lab) -> None:
    lab.kernel.set_up(lab.link("eth2").ifindex, True)
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {"eth1": {}, "eth2": {"set_down": True}}}))
    assert list((await daemon.state())["ports"]) == ["eth1", "eth2"]


@pytest.mark.parametrize("order", [("eth1", "eth2", "eth3"), ("eth3", "eth2", "eth1"), ("eth2", "eth1", "eth3")])
async def test_a_start_as_teamd_that_cannot_succeed_touches_nothing(lab: Lab, order: tuple[str, ...]) -> None:
    lab.kernel.add_pair("eth3", "peer3")
    owned(lab, "eth1", "bond7")
    owned(lab, "eth2", "br0")
    before = [link_seen(link) for link in lab.kernel.links.values()]
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {name: {} for name in order}}, strict=True))
    assert daemon.failure is not None
    assert daemon.failure.errno == errno.EBUSY
    assert "eth2 cannot be added: it belongs to br0." in str(daemon.failure)
    assert [link_seen(link) for link in lab.kernel.links.values()] == before
    assert lab.kernel.performed == []
    assert not daemon.has_file()


async def test_a_start_as_teamd_ends_in_a_line_where_the_kernel_does_not_tell_what_there_is(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses() -> None:
        raise KernelRefused(errno.ENOBUFS, "list links")

    monkeypatch.setattr(lab.kernel, "all_links", refuses)
    daemon = await lab.start(lab.plan(strict=True))
    assert isinstance(daemon.failure, StartFailed)
    assert daemon.failure.errno == errno.ENOBUFS
    assert not daemon.has_file()


async def test_a_start_as_teamd_with_a_port_that_is_up_ends_as_teamd_does(lab: Lab) -> None:
    lab.kernel.set_up(lab.link("eth2").ifindex, True)
    daemon = await lab.start(lab.plan(strict=True))
    assert daemon.failure is not None
    assert daemon.failure.errno == errno.EBUSY
    assert lab.kernel.performed == []
    assert not lab.has("team0")


async def test_a_start_as_teamd_leaves_a_port_of_another_team_there(lab: Lab) -> None:
    link = owned(lab, "eth1", "team1")
    before = link_seen(link)
    daemon = await lab.start(lab.plan(strict=True))
    assert daemon.failure is None
    assert link_seen(link) == before


async def test_who_listens_at_the_control_socket_keeps_the_device(lab: Lab) -> None:
    daemon = await lab.start()
    there = lab.link("team0").ifindex
    second = await lab.start(lab.plan(recreate=True))
    assert isinstance(second.failure, StartFailed)
    assert lab.link("team0").ifindex == there
    assert daemon.code is None


def refuse_type(lab: Lab) -> None:
    lab.link("eth2").hardware = 0xFFFE


def refuse_for_now(lab: Lab) -> None:
    ifindex = lab.link("eth2").ifindex
    lab.kernel.refuse(lambda write: isinstance(write, SetMember) and write.ifindex == ifindex, errno.ENETDOWN, 2)


@pytest.mark.parametrize(("refuse", "joins"), [(refuse_type, False), (refuse_for_now, True)])
async def test_what_the_kernel_refuses_is_told_once_and_tried_again(
    lab: Lab, refuse: Callable[[Lab], None], joins: bool
) -> None:
    refuse(lab)
    daemon = await lab.start()
    assert daemon.failure is None
    import trio

    await trio.sleep(30)
    assert list((await daemon.state())["ports"]) == (["eth1", "eth2"] if joins else ["eth1"])
    told = [line for line in daemon.lines if "add port eth2" in line]
    words = "network is down" if joins else "device or resource busy: Device is of different type"
    assert told == [f"eth2: add port eth2: {words}; tried again from time to time"]
    assert len([write for write in lab.kernel.performed if isinstance(write, SetMember)]) < 10


@pytest.mark.parametrize("kind", OWNERS)
async def test_port_add_leaves_what_belongs_to_another_device(lab: Lab, kind: str) -> None:
    lab.kernel.add_pair("eth3", "peer3")
    link = owned(lab, "eth3", kind)
    before = link_seen(link)
    daemon = await lab.start()
    assert await daemon.call("PortAdd", "eth3") == "PortAddFail: Failed to add port."
    assert link_seen(link) == before
    assert (await explained(lab))["eth3"] == f"eth3: belongs to {kind}"
    assert any(f"eth3 belongs to {kind}" in line for line in daemon.lines)


@pytest.mark.parametrize("kind", OWNERS)
async def test_a_reload_that_names_a_port_of_another_device_explains_it(lab: Lab, kind: str) -> None:
    daemon = await lab.start()
    lab.kernel.add_pair("eth3", "peer3")
    link = owned(lab, "eth3", kind)
    before = link_seen(link)
    await quiet()
    config: dict[str, Any] = {**ACTIVE_BACKUP, "ports": {"eth1": {}, "eth2": {}, "eth3": {}}}
    assert json.loads(await daemon.call("ConfigApply", json.dumps(config), "apply"))["applied"]
    assert link_seen(link) == before
    assert (await explained(lab))["eth3"] == f"eth3: belongs to {kind} (it joins when it is free and down)"


async def test_a_link_is_known_by_all_its_names(lab: Lab) -> None:
    long = "enp3s0f0np0-" + "x" * 100
    lab.kernel.set_altnames(lab.link("eth1").ifindex, "enp3s0", long)
    config = {**ACTIVE_BACKUP, "ports": {long: {"prio": 9}, "eth2": {}}}
    daemon = await lab.start(lab.plan(config))
    assert list((await daemon.state())["ports"]) == ["eth1", "eth2"]
    assert lab.option("priority", "eth1") == 9
    assert json.loads(await daemon.call("PortConfigDump", "eth1"))["prio"] == 9
    assert await daemon.call("PortConfigUpdate", "enp3s0", '{"prio": 3}') == ""
    await quiet()
    assert lab.option("priority", "eth1") == 3
    assert set(json.loads(await daemon.call("ConfigDump"))["ports"]) == {long, "eth2"}
    assert set(json.loads(await daemon.call("ConfigDumpActual"))["ports"]) == {"eth1", "eth2"}
    assert await daemon.call("StateItemValueSet", "runner.active_port", long) == ""
    assert await daemon.call("PortRemove", "enp3s0") == ""
    assert "eth1: is no port: it was removed by command" in (await explained(lab))["eth1"]
    assert await daemon.call("PortAdd", long) == ""
    assert list((await daemon.state())["ports"]) == ["eth1", "eth2"]


@pytest.mark.parametrize("name", ["enp3s0", "x\ny"])
async def test_a_link_that_is_configured_under_two_names_is_told(lab: Lab, name: str) -> None:
    """The kernel lets an alternative name have every octet but zero."""
    lab.kernel.set_altnames(lab.link("eth1").ifindex, name)
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {name: {"prio": 1}, "eth1": {"prio": 9}}}))
    assert list((await daemon.state())["ports"]) == ["eth1"]
    assert lab.option("priority", "eth1") == 9
    line = f"eth1: is {printable(name)} too: the settings of eth1 count, and those of {printable(name)} do not"
    assert [told for told in daemon.lines if "eth1: is" in told] == [line]


async def test_a_link_joins_when_it_gets_the_name_that_is_wanted(lab: Lab) -> None:
    lab.kernel.add_pair("eth7", "peer7")
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {"eth1": {}, "wan": {}}}))
    assert (await explained(lab))["wan"].startswith("wan: there is no such interface")
    lab.kernel.set_altnames(lab.link("eth7").ifindex, "wan")
    await trio.sleep(2 * LOOK_INTERVAL_S)
    assert list((await daemon.state())["ports"]) == ["eth1", "eth7"]


async def test_new_settings_of_a_port_are_checked_as_those_of_a_file(lab: Lab) -> None:
    daemon = await lab.start()
    text = '{"prio": 10, "stikcy": true, "sticky": true}'
    unknown = "ports.eth1.stikcy: unknown key (did you mean 'sticky'?)"
    report = json.loads(await daemon.call("PortConfigCheck", "eth1", text))
    assert report["problems"] == [unknown]
    assert report["waiting"] == ["ports.eth1.sticky: from false to true when eth1 joins again"]
    assert json.loads(await daemon.call("PortConfigDump", "eth1")) == {"link_watch": {"name": "ethtool"}}
    assert await daemon.call("PortConfigUpdate", "eth1", text) == ""
    assert unknown in daemon.lines
    broken = json.loads(await daemon.call("PortConfigCheck", "eth1", "{"))
    assert broken["problems"]
    assert broken["waiting"] == []


INFINIBAND = 32


def odd_links(lab: Lab) -> None:
    """A VLAN over a link that is down, links below a macvlan or MACsec (of a bridge, too), one of another type, and some for no team."""
    lab.kernel.add_other("vlan5", "vlan", lab.kernel.add_pair("eth5", "peer5").ifindex)
    lab.kernel.add_other("mv6", "macvlan", lab.kernel.add_pair("eth6", "peer6").ifindex)
    upper = lab.kernel.add_other("ms7", "macsec", lab.kernel.add_pair("eth7", "peer7").ifindex)
    upper.overhead = 32
    lab.kernel.set_mtu(upper.ifindex, 1468)
    lab.kernel.set_master(
        lab.kernel.add_other("mv8", "macvlan", lab.kernel.add_pair("eth8", "peer8").ifindex).ifindex,
        lab.kernel.add_other("br8", "bridge").ifindex,
    )
    lab.kernel.add_other("iv0", "ipvlan")
    lab.kernel.add_other("tun0", "tun")
    lab.kernel.take_events()


@pytest.mark.parametrize(
    ("port", "number", "words"),
    [
        ("vlan5", errno.ENETDOWN, "it stands on eth5, which is down; ip link set eth5 up."),
        ("eth6", errno.EBUSY, "it has macvlan mv6 standing on it."),
        ("eth7", errno.EBUSY, "it has macsec ms7 standing on it."),
        ("eth8", errno.EBUSY, "it has macvlan mv8 standing on it."),
        (
            "ms7",
            errno.EINVAL,
            "it can have an MTU of at most 1468, and that of team0 is 1500; ip link set team0 mtu 1468.",
        ),
        ("iv0", errno.EINVAL, "it is of the kind ipvlan, which cannot be a port."),
        ("tun0", errno.EBUSY, "it is of another type than the ports there are."),
        ("lo", errno.EINVAL, "it is the loopback device, which cannot be a port."),
        ("team0", errno.EINVAL, "it is the team itself."),
    ],
)
async def test_a_start_as_teamd_fails_before_the_kernel_finds_out_half_way(
    lab: Lab, port: str, number: int, words: str
) -> None:
    odd_links(lab)
    before = [link_seen(link) for link in lab.kernel.links.values()]
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {"eth1": {}, port: {}}}, strict=True))
    assert daemon.failure is not None
    assert (daemon.failure.errno, str(daemon.failure)) == (number, f"{port} cannot be added: {words}")
    assert [link_seen(link) for link in lab.kernel.links.values()] == before
    assert lab.kernel.performed == []


@pytest.mark.parametrize("port", ["vlan5", "eth6", "eth7", "eth8", "ms7", "iv0", "tun0", "lo"])
async def test_what_the_kernel_would_find_half_way_is_not_asked_of_it(lab: Lab, port: str) -> None:
    odd_links(lab)
    before = link_seen(lab.link(port))
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {"eth1": {}, port: {}}}))
    assert list((await daemon.state())["ports"]) == ["eth1"]
    assert [line for line in daemon.lines if line.startswith(f"{port}: not added: it ")]
    assert [write for write in lab.kernel.performed if write == SetMember(before.ifindex, True)] == []
    after = link_seen(lab.link(port))
    assert (after.master, after.up, after.mac, after.mtu) == (before.master, before.up, before.mac, before.mtu)


async def test_port_add_names_what_is_in_the_way(lab: Lab) -> None:
    odd_links(lab)
    daemon = await lab.start()
    for port, words in (
        ("vlan5", "vlan5 stands on eth5, which is down (ip link set eth5 up)"),
        ("eth6", "mv6 standing on it"),
    ):
        assert (await daemon.call("PortAdd", port)).startswith("PortAddFail")
        assert words in json.loads(await daemon.call("Reason", "PortAdd", port))["reason"]
    lab.kernel.set_up(lab.link("eth5").ifindex, True)
    assert await daemon.call("PortAdd", "vlan5") == ""


async def test_who_types_port_add_reads_who_has_the_link(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(lab.directory))
    await lab.start()
    lab.kernel.add_pair("eth5", "far")
    owned(lab, "eth5", "br0")
    assert await say("team0", "port", "add", "eth5") == (1, "", "Failed to add port.\neth5: belongs to br0\n")
    assert "belongs to" not in (await say("team0", "port", "add", "eth5", program="teamdctl"))[2]


async def test_a_team_of_another_type_than_ethernet_starts_as_with_teamd(lab: Lab) -> None:
    for name in ("ib0", "ib1"):
        lab.kernel.add_pair(name, f"far-{name}").hardware = INFINIBAND
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {"ib0": {}, "ib1": {}}}, strict=True))
    assert daemon.failure is None
    assert list((await daemon.state())["ports"]) == ["ib0", "ib1"]


async def test_a_vlan_that_is_bound_loosely_joins_over_a_link_that_is_down(lab: Lab) -> None:
    odd_links(lab)
    lab.kernel.add_other("vlan9", "vlan", lab.link("eth5").ifindex).loose_binding = True
    later = lab.kernel.add_other("vlan8", "vlan", lab.link("eth5").ifindex)
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {"vlan9": {}, "vlan5": {}, "vlan8": {}}}))
    assert list((await daemon.state())["ports"]) == ["vlan9"]
    later.loose_binding = True  # which is not announced of a link that is down
    await trio.sleep(2 * LOOK_INTERVAL_S)
    assert sorted((await daemon.state())["ports"]) == ["vlan8", "vlan9"]


async def test_what_stands_on_the_owner_of_the_team_cannot_be_its_port(lab: Lab) -> None:
    """A take-over of a team that serves in a bridge."""
    team, bridge = lab.kernel.create_team("team0"), lab.kernel.add_other("br0", "bridge").ifindex
    lab.kernel.set_master(team, bridge)
    lab.kernel.add_other("br0.5", "vlan", bridge)
    lab.kernel.take_events()
    config = {**ACTIVE_BACKUP, "ports": {"eth1": {}, "br0": {}, "br0.5": {}}}
    await lab.start(lab.plan(config, take_over=True))
    await quiet()
    told = await explained(lab)
    assert told["br0"] == "br0: has team0 as a port of its own"
    assert told["br0.5"] == "br0.5: stands on br0, which has team0 as a port"
    assert (lab.link("team0").master, lab.link("eth1").master) == (bridge, team)


async def test_the_first_port_brings_its_type_and_its_mtu(lab: Lab) -> None:
    """InfiniBand's largest MTU is below that of a team for large frames; the team takes that of the link then."""
    link = lab.kernel.add_pair("ib0", "far-ib0")
    link.hardware, link.max_mtu = INFINIBAND, 4092
    lab.kernel.set_mtu(lab.kernel.create_team("team0"), 9000)
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {"ib0": {}}}, take_over=True))
    assert list((await daemon.state())["ports"]) == ["ib0"]


class Late:
    """Answers after a while, as the writing thread does on a busy machine."""

    def __init__(self, kernel: Kernel, ifindex: int) -> None:
        self._kernel, self._ifindex = kernel, ifindex
        self._wanted, self._begun = trio.open_memory_channel[tuple[Sequence[Write], Done]](math.inf)

    def __call__(self, writes: Sequence[Write], done: Done) -> None:
        self._wanted.send_nowait((writes, done))

    async def report(self) -> None:
        async for writes, done in self._begun:
            await trio.sleep(0.3)
            done(writes, self._kernel.apply(self._ifindex, writes))


@pytest.mark.parametrize("strict", [True, False])
async def test_a_start_ends_when_the_kernel_has_answered(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, strict: bool
) -> None:
    """Else a start that fails says that it went well, and who typed it does not read why a port is missing."""
    monkeypatch.setattr(team_server, "Writer", lambda _, ifindex: Late(lab.kernel, ifindex))
    monkeypatch.setattr(type(lab.kernel), "may_stall", True)
    eth2 = lab.link("eth2").ifindex
    lab.kernel.refuse(lambda write: type(write) is SetMember and write.ifindex == eth2, errno.EPERM, times=None)
    daemon = await lab.start(lab.plan(strict=strict))
    if strict:
        assert daemon.failure is not None
        assert daemon.failure.errno == errno.EPERM
    else:
        assert daemon.failure is None
        assert list((await daemon.state())["ports"]) == ["eth1"]
        assert [line for line in daemon.lines if line.startswith("eth2: add port eth2: operation not permitted")]


NO_TARGET = {"link_watch": {"name": "arp_ping"}}
NO_QUEUE = {"queue_id": 16}


@pytest.mark.parametrize("settings", [NO_TARGET, NO_QUEUE], ids=["no target", "no such queue"])
async def test_a_link_with_settings_of_no_use_is_not_touched_by_any_door(lab: Lab, settings: dict[str, Any]) -> None:
    link = lab.link("eth2")
    before = link_seen(link)
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {"eth1": {}, "eth2": settings}}))
    text = (await explained(lab))["eth2"]
    assert text.startswith("eth2: cannot be a port with its settings: ")
    assert await daemon.call("PortAdd", "eth2") == "PortAddFail: Failed to add port."
    assert "cannot be a port with its settings" in json.loads(await daemon.call("Reason", "PortAdd", "eth2"))["reason"]
    report = json.loads(
        await daemon.call(
            "ConfigApply", json.dumps({**ACTIVE_BACKUP, "ports": {"eth1": {}, "eth2": settings}}), "apply"
        )
    )
    assert not report["applied"], report
    await trio.sleep(70)
    assert link_seen(link) == before
    assert not [write for write in lab.kernel.performed if write == SetMember(link.ifindex, True)]
    await daemon.call("PortConfigUpdate", "eth2", "{}")
    await quiet()
    assert list((await daemon.state())["ports"]) == ["eth1", "eth2"]


@pytest.mark.parametrize("steal", [True, False])
async def test_a_link_of_another_device_gets_its_configured_name_while_it_is_down(lab: Lab, steal: bool) -> None:
    """Which the kernel does not announce, and links of others are not known but by name."""
    link = owned(lab, "eth1", "br0")
    lab.kernel.set_up(link.ifindex, False)
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {"wan": {"steal": steal}, "eth2": {}}}))
    lab.kernel.set_altnames(link.ifindex, "wan")
    await trio.sleep(2 * LOOK_INTERVAL_S)
    assert list((await daemon.state())["ports"]) == (["eth1", "eth2"] if steal else ["eth2"])
    if not steal:
        assert "eth1: not added: it belongs to br0; it joins when it is free and down" in daemon.lines
        assert (await explained(lab))["eth1"] == "eth1: belongs to br0 (it joins when it is free and down)"


async def test_what_a_link_that_may_be_taken_waits_for_is_not_that_it_is_free(lab: Lab) -> None:
    link = owned(lab, "eth1", "br0")
    link.hardware = INFINIBAND
    lab.kernel.take_events()
    await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {"eth2": {}, "eth1": {"steal": True}}}))
    await quiet()
    why = "is of another type than the ports there are (it joins when they have left)"
    assert (await explained(lab))["eth1"] == f"eth1: belongs to br0, and {why}"


async def test_what_cannot_have_the_mtu_of_the_team_is_told_so_and_joins_when_it_fits(lab: Lab) -> None:
    """VXLAN over a device, and HSR: drivers with a limit that no attribute tells, and no words."""
    link = lab.link("eth2")
    lab.kernel.set_mtu(link.ifindex, 1450)
    lab.kernel.refuse(
        lambda write: isinstance(write, SetMember) and write.ifindex == link.ifindex and lab.link("team0").mtu > 1450,
        errno.EINVAL,
        times=None,
    )
    daemon = await lab.start()
    words = "a port gets the MTU of team0, 1500, and eth2 has one of 1450: ip link set team0 mtu 1450"
    assert f"eth2: add port eth2: invalid argument ({words}); tried again from time to time" in daemon.lines
    await trio.sleep(60)
    assert words in (await explained(lab))["eth2"]
    lab.kernel.set_mtu(lab.link("team0").ifindex, 1450)
    await trio.sleep(0.1)
    assert list((await daemon.state())["ports"]) == ["eth1", "eth2"]


async def test_another_name_of_the_team_is_no_missing_port(lab: Lab) -> None:
    lab.kernel.set_altnames(lab.kernel.create_team("team0"), "my-team")
    ports: dict[str, Any] = {"my-team": {}, "team0": {}, "eth1": {}}
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": ports}, take_over=True))
    told = [line for line in daemon.lines if "not added" in line or "missing" in line]
    assert told == [f"{name}: not added: it is the team itself" for name in ("my-team", "team0")]
    await trio.sleep(2 * LOOK_INTERVAL_S)
    assert list((await daemon.state())["ports"]) == ["eth1"]


async def test_what_a_port_without_its_link_is_told_helps(lab: Lab) -> None:
    """A VLAN cannot be set up over a link that is down; with that it is. And a link that is dormant has its cable."""
    daemon = await lab.start()
    lab.kernel.set_up(lab.link("team0").ifindex, True)
    lower = lab.kernel.add_pair("eth7", "peer7")
    await quiet()
    (pump,) = daemon.reader.pumps.values()
    link = link_seen(lab.link("eth1"))
    shapes = {
        "is administratively down": {"up": False, "kind": "vlan", "lower": lower.ifindex},
        "has carrier, and is not operational": {"carrier": True},
    }
    hints = ("ip link set eth7 up", "does 802.1X, or another program, hold it dormant?")
    for (words, shape), hint in zip(shapes.items(), hints, strict=True):
        changed = replace(link, running=False, **{"carrier": False, **shape})
        pump.feed(pump.with_others(changed), trio.current_time())
        told = (await explained(lab))["eth1"]
        assert told.startswith(f"eth1: {words} for ")
        assert told.endswith(f" ({hint})")


@pytest.mark.parametrize("later", [False, True])
async def test_who_removes_a_port_that_waits_is_not_surprised_by_it(lab: Lab, later: bool) -> None:
    """Whether it is up, or belongs to another device; and it may be asked for again."""
    link = owned(lab, "eth2", "br0")
    daemon = await lab.start()
    if later:
        lab.kernel.set_master(link.ifindex, 0)
        await quiet()
    assert await daemon.call("PortRemove", "eth2") == ""
    assert await daemon.call("PortRemove", "eth2") == "NoSuchDev: No such device."
    lab.kernel.set_master(link.ifindex, 0)
    lab.kernel.set_up(link.ifindex, False)
    await trio.sleep(10)
    assert list((await daemon.state())["ports"]) == ["eth1"]
    add = "pyteamdctl team0 port add eth2"
    assert (await explained(lab))["eth2"] == f"eth2: is no port: it was removed by command ({add})"
    assert await daemon.call("PortAdd", "eth2") == ""
    assert list((await daemon.state())["ports"]) == ["eth1", "eth2"]


async def test_a_mode_that_the_kernel_does_not_have_is_told_with_its_module(lab: Lab) -> None:
    lab.kernel.refuse(lambda write: isinstance(write, SetOption) and write.key.name == "mode", errno.EINVAL, times=None)
    daemon = await lab.start()
    assert daemon.failure is not None
    assert str(daemon.failure).endswith("is its module installed? try: modprobe team_mode_activebackup)")


async def test_a_link_that_waits_is_looked_at_beside_ports_that_nobody_configured(lab: Lab) -> None:
    """A take-over finds more ports than are wanted, and one that is wanted is none."""
    odd_links(lab)
    team = lab.kernel.create_team("team0")
    lab.kernel.teams[team].set_option(OptionKey("mode"), "activebackup")
    for name in ("eth1", "eth2"):
        lab.kernel.set_master(lab.link(name).ifindex, team)
    lab.kernel.take_events()
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {"vlan5": {}}}, take_over=True))
    assert (await explained(lab))["vlan5"] == "vlan5: stands on eth5, which is down (ip link set eth5 up)"
    lab.kernel.set_up(lab.link("eth5").ifindex, True)
    await quiet()
    assert list((await daemon.state())["ports"]) == ["eth1", "eth2", "vlan5"]


async def test_what_is_told_of_a_link_that_is_out_is_so_now(lab: Lab) -> None:
    """Who had it when it was asked for has it no more; and what was removed could not be added as it is."""
    link = owned(lab, "eth2", "br0")
    odd_links(lab)
    lab.kernel.set_up(lab.link("eth5").ifindex, True)
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {"eth1": {}, "vlan5": {}}}))
    assert (await daemon.call("PortAdd", "eth2")).startswith("PortAddFail")
    lab.kernel.set_master(link.ifindex, 0)
    assert await daemon.call("PortRemove", "vlan5") == ""
    lab.kernel.set_up(lab.link("eth5").ifindex, False)
    await quiet()
    told = await explained(lab)
    refusal = "was refused: add port eth2: device or resource busy: eth2 belongs to br0; now it is up"
    assert told["eth2"] == f"eth2: {refusal} (ip link set eth2 down; pyteamdctl team0 port add eth2)"
    removed = "vlan5: is no port: it was removed by command; it stands on eth5, which is down (ip link set eth5 up)"
    assert told["vlan5"] == removed


async def test_what_another_program_takes_just_now_is_waited_for(lab: Lab) -> None:
    """Its new owner is not known yet when it is to be added. It was not touched, so it is no vain try, and no advice to set it down."""
    link, bridge = lab.link("eth2"), owner_of(lab, "br0")
    lab.kernel.set_up(link.ifindex, True)
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {"eth1": {}}}))
    lab.kernel.hold(LINKS)
    lab.kernel.set_master(link.ifindex, bridge.ifindex)
    more = {**ACTIVE_BACKUP, "ports": {"eth1": {}, "eth2": {"set_down": True}}}
    await daemon.call("ConfigApply", json.dumps(more), "apply")
    lab.kernel.hold(LINKS, held=False)
    await quiet()
    assert link.up
    assert (await explained(lab))["eth2"] == "eth2: belongs to br0 (it joins when it is free and down)"
    assert [line for line in daemon.lines if "link set eth2" in line] == []
    lab.kernel.set_master(link.ifindex, 0)
    await trio.sleep(70)
    assert list((await daemon.state())["ports"]) == ["eth1", "eth2"]


async def test_a_link_without_an_address_is_left_alone_until_it_has_one(lab: Lab) -> None:
    """As gretap0, which the module makes: the kernel finds that half-way, and has no words."""
    link = lab.link("eth2")
    link.mac = bytes(6)
    lab.kernel.take_events()
    before = link_seen(link)
    daemon = await lab.start()
    await trio.sleep(70)
    assert (await explained(lab))["eth2"] == "eth2: has no hardware address (it joins when it has one)"
    assert link_seen(link) == before
    lab.kernel.set_mac(link.ifindex, bytes.fromhex("020000000042"))
    await quiet()
    assert list((await daemon.state())["ports"]) == ["eth1", "eth2"]
