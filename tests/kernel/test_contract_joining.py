"""Links of others, links that are up, links that cannot be ports: what the kernel says, and that nothing has changed. Also: all names."""

from __future__ import annotations

import errno

import pytest
from contract_world import ContractWorld

from pyteamd.model.desired import OptionKey, SetMember, SetOption
from pyteamd.model.events import LinkSeen

pytestmark = pytest.mark.both_kernels
OWNERS = ("bridge", "bond", "team")


def team_of(world: ContractWorld, name: str = "team0") -> int:
    team = world.kernel.create_team(name)
    assert world.kernel.apply(team, [SetOption(OptionKey("mode"), "activebackup")]) == ()
    return team


def look(world: ContractWorld, name: str) -> LinkSeen:
    link = world.kernel.find_link(name)
    assert link is not None
    return link


def owned(world: ContractWorld, kind: str) -> LinkSeen:
    """eth1 serves in "owner" and is up."""
    world.make_link("eth1")
    if kind == "team":
        team_of(world, "owner")
    else:
        try:
            world.make_other("owner", kind)
        except LookupError:
            pytest.skip(f"this kernel has no {kind}")
    world.set_master("eth1", "owner")
    world.set_admin("eth1", True)
    return look(world, "eth1")


def tunnel(world: ContractWorld) -> int:
    """A link that is no Ethernet."""
    try:
        return world.make_other("tun0", "tun")
    except LookupError:
        pytest.skip("this kernel has no tun")


@pytest.mark.parametrize("kind", OWNERS)
def test_what_belongs_to_another_device_is_not_even_asked_for(world: ContractWorld, kind: str) -> None:
    before, team = owned(world, kind), team_of(world)
    (refused,) = world.kernel.apply(team, [SetMember(before.ifindex, True)])
    assert (refused.errno, refused.explanation) == (errno.EBUSY, "eth1 belongs to owner")
    after = look(world, "eth1")
    assert (after.master, after.up, after.mac) == (before.master, before.up, before.mac)


@pytest.mark.parametrize("kind", OWNERS)
def test_it_is_taken_on_demand(world: ContractWorld, kind: str) -> None:
    before, team = owned(world, kind), team_of(world)
    assert world.kernel.apply(team, [SetMember(before.ifindex, True, steal=True)]) == ()
    assert look(world, "eth1").master == team


@pytest.mark.parametrize("kind", OWNERS)
def test_it_is_given_back_when_it_was_taken_in_vain(world: ContractWorld, kind: str) -> None:
    before, team = owned(world, kind), team_of(world)
    assert world.kernel.apply(team, [SetMember(tunnel(world), True)]) == ()
    (refused,) = world.kernel.apply(team, [SetMember(before.ifindex, True, steal=True)])
    assert refused.errno == errno.EBUSY
    after = look(world, "eth1")
    assert (after.master, after.up) == (before.master, before.up)


def test_a_link_that_is_up(world: ContractWorld) -> None:
    team, port = team_of(world), world.make_link("eth1")
    world.set_admin("eth1", True)
    (refused,) = world.kernel.apply(team, [SetMember(port, True)])
    assert (refused.errno, refused.explanation) == (
        errno.EBUSY,
        "Device is up. Set it down before adding it as a team port",
    )
    assert look(world, "eth1").up
    assert world.kernel.apply(team, [SetMember(port, True, set_down=True)]) == ()
    assert look(world, "eth1").master == team


def test_a_link_of_another_type(world: ContractWorld) -> None:
    team = team_of(world)
    assert world.kernel.apply(team, [SetMember(tunnel(world), True)]) == ()
    port = world.make_link("eth1")
    (refused,) = world.kernel.apply(team, [SetMember(port, True)])
    assert refused.errno == errno.EBUSY
    assert refused.explanation in ("Device is of different type", "")  # older kernels say it in their log only
    world.set_admin("eth1", True)
    (refused,) = world.kernel.apply(team, [SetMember(port, True, set_down=True)])
    assert refused.errno == errno.EBUSY
    assert look(world, "eth1").up
    assert look(world, "eth1").master == 0


def test_loopback_and_the_team_itself(world: ContractWorld) -> None:
    team = team_of(world)
    (refused,) = world.kernel.apply(team, [SetMember(look(world, "lo").ifindex, True)])
    assert (refused.errno, refused.explanation) == (
        errno.EINVAL,
        "Loopback device can't be added as a team port",
    )
    (refused,) = world.kernel.apply(team, [SetMember(team, True)])
    assert (refused.errno, refused.explanation) == (errno.EINVAL, "Cannot enslave team device to itself")


def test_teams_in_a_circle(world: ContractWorld) -> None:
    """Also over a third one."""
    first, second, third = (team_of(world, f"team{number}") for number in range(3))
    assert world.kernel.apply(second, [SetMember(first, True)]) == ()
    world.set_admin("team1", False)
    assert world.kernel.apply(third, [SetMember(second, True)]) == ()
    for upper in (second, third):
        (refused,) = world.kernel.apply(first, [SetMember(upper, True, steal=True)])
        assert refused.errno == errno.EBUSY, refused
        assert refused.explanation == "Device is already an upper device of the team interface"


@pytest.mark.parametrize("other", ["enp3s0f0", "x" * 127])
def test_all_names(world: ContractWorld, other: str) -> None:
    team, port = team_of(world), world.make_link("eth1")
    world.set_altname("eth1", other)
    for name in ("eth1", other):
        link = look(world, name)
        assert (link.ifindex, link.name, link.names) == (port, "eth1", ("eth1", other))
    dumped = {link.ifindex: link for link in world.kernel.dump(team).links}
    assert dumped[port].altnames == (other,)
    assert world.kernel.get_link(port) == look(world, "eth1")
    assert world.kernel.find_link("y" * 127) is None
    assert world.kernel.find_link("y" * 128) is None


def upper(world: ContractWorld, kind: str) -> LinkSeen:
    """Something on top of eth1."""
    world.make_link("eth1")
    try:
        world.make_upper("up1", "eth1", kind)
    except LookupError:
        pytest.skip(f"this kernel has no {kind}")
    return look(world, "up1")


@pytest.mark.parametrize(
    ("kind", "number"), [("vlan", errno.ENETDOWN), ("loose vlan", 0), ("macvlan", 0), ("macsec", errno.ERANGE)]
)
def test_links_over_one_that_is_down(world: ContractWorld, kind: str, number: int) -> None:
    """A VLAN needs it up, unless it is bound loosely; the frames of MACsec must fit into those of the link below."""
    link, team = upper(world, kind), team_of(world)
    assert (link.lower, link.kind, link.loose_binding) == (
        look(world, "eth1").ifindex,
        kind.split()[-1],
        "loose" in kind,
    )
    assert (link.overhead, link.mtu) == ((32, 1468) if kind == "macsec" else (0, 1500))
    assert [refused.errno for refused in world.kernel.apply(team, [SetMember(link.ifindex, True)])] == [number] * bool(
        number
    )
    assert look(world, "up1").master == (0 if number else team)


@pytest.mark.parametrize("kind", ["macvlan", "macsec"])
def test_what_takes_all_frames_of_a_link_keeps_it_from_a_team(world: ContractWorld, kind: str) -> None:
    link, team = upper(world, kind), team_of(world)
    (refused,) = world.kernel.apply(team, [SetMember(link.lower, True)])
    assert refused.errno == errno.EBUSY
    assert not look(world, "eth1").up
