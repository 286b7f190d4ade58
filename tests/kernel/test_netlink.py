"""NetlinkKernel on the real kernel: what the simulator cannot show (bridges, other programs, privileges, module reload)."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from threading import Thread

import pytest
import trio
import trio.testing
from facts import Facts
from real_world import RealWorld, run

from pyteamd.kernel import framing, netlink, rtnl
from pyteamd.kernel.netlink import NetlinkKernel
from pyteamd.kernel.requests import Requests
from pyteamd.model.desired import OptionKey, SetMac, SetMember, SetOption
from pyteamd.model.errors import KernelGone
from pyteamd.model.events import CarrierSeen, KernelEvent, LinkGone, LinkSeen, Overrun

pytestmark = pytest.mark.kernel

NO_PRIVILEGES = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]


@pytest.fixture
def real() -> Iterator[RealWorld]:
    """One real world."""
    world = RealWorld()
    yield world
    world.close()


def team_of(world: RealWorld, *ports: str) -> Facts:
    """A watched activebackup team with these links as ports."""
    team = world.kernel.create_team("team0")
    world.kernel.watch_team(team)
    assert world.kernel.apply(team, [SetOption(OptionKey("mode"), "activebackup")]) == ()
    for port in ports:
        assert world.kernel.apply(team, [SetMember(world.make_link(port), True)]) == ()
    return Facts(world.kernel, team)


async def test_a_lost_carrier_comes_alone_and_first(real: RealWorld) -> None:
    facts = team_of(real, "eth1")
    (port,) = facts.ports
    await facts.settle(lambda: facts.ports[port].linkup and facts.links[port].running)
    await facts.catch_up(real)
    real.set_peer("eth1", False)
    assert await real.kernel.events() == [(0, CarrierSeen(port, False))]
    (team, event), *_ = await real.kernel.events()
    assert team == 0
    assert isinstance(event, LinkSeen)
    assert (event.ifindex, event.running) == (port, False)


async def test_a_loss_is_answered_before_it_is_told(real: RealWorld) -> None:
    """By the look-out; what it wrote is told as ever, behind the loss, and is not written again by who wants it.

    On a machine that is slow enough the event loop may be asked first: then it is tried again.
    """
    facts = team_of(real, "eth1", "eth2")
    await facts.settle(lambda: all(port.linkup for port in facts.ports.values()) and len(facts.ports) == 2)
    watch = Thread(target=real.kernel.look_out, daemon=True)
    watch.start()
    while not real.kernel._look_out._manned:
        watch.join(0.01)
    ports = {facts.links[port].name: port for port in facts.ports}
    fired = 0
    for lost, other in (("eth1", "eth2"), ("eth2", "eth1")) * 10:
        if fired == 2:
            break
        await facts.catch_up(real)
        writes = (SetOption(OptionKey("activeport"), ports[other]), SetOption(OptionKey("priority", ports[other]), 7))
        heard: list[tuple[int, KernelEvent]] = []

        async def listen(heard: list[tuple[int, KernelEvent]] = heard) -> None:
            heard += await real.kernel.events()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()
            real.kernel.prepare(facts.team, {ports[lost]: writes})
            real.set_peer(lost, False)
        for team, event in heard:
            facts.hear(team, event)
        if real.kernel.is_done(facts.team, writes):
            fired += 1
            assert heard[0] == (0, CarrierSeen(ports[lost], False))
            assert real.get_option(writes[0].key) == ports[other]
        assert real.kernel.apply(facts.team, writes) == ()
        assert not real.kernel.is_done(facts.team, writes), "that was told"
        await facts.settle(lambda written=writes: all(facts.options[write.key] == write.value for write in written))  # type: ignore[misc]
        real.set_peer(lost, True)
        await facts.settle(lambda port=ports[lost]: facts.links[port].running and facts.ports[port].linkup)  # type: ignore[misc]
    assert fired == 2
    real.kernel.close()
    watch.join(60)
    assert not watch.is_alive()


async def test_events_of_one_link_keep_their_order(real: RealWorld) -> None:
    """A change of carrier overtakes the decoding of other links, never an earlier message about the same link."""
    facts = team_of(real, "eth1", "eth2")
    await facts.settle(lambda: all(port.linkup for port in facts.ports.values()) and len(facts.ports) == 2)
    await facts.catch_up(real)
    run("ip", "link", "set", "eth1", "alias", "one")
    for up in (False, True, False):
        real.set_peer("eth1", up)
        run("ip", "link", "set", "eth2", "alias", f"two {up}")
    (port,) = [link.ifindex for link in facts.links.values() if link.name == "eth1"]
    await facts.settle(lambda: not facts.links[port].running)
    known = True
    for event in facts.heard_of(CarrierSeen, LinkSeen):
        if event.ifindex == port:
            if isinstance(event, LinkSeen):
                assert event.running == known
            known = event.running
    assert [event.running for event in facts.heard_of(CarrierSeen) if event.ifindex == port] == [False, True, False]


async def test_leaving_a_bridge_is_not_leaving(real: RealWorld) -> None:
    facts = team_of(real)
    port = real.make_link("eth1")
    run("ip", "link", "add", "bridge0", "type", "bridge")
    await facts.settle(lambda: port in facts.links)
    real.set_master("eth1", "bridge0")
    await facts.settle(lambda: facts.links[port].master != 0)
    real.set_master("eth1", "")
    await facts.settle(lambda: facts.links[port].master == 0)
    assert not facts.heard_of(LinkGone)


def test_a_port_that_went_to_a_bridge_stays_there(real: RealWorld) -> None:
    facts = team_of(real, "eth1")
    (port,) = facts.ports
    run("ip", "link", "add", "bridge0", "type", "bridge")
    real.set_admin("eth1", False)
    real.set_master("eth1", "bridge0")
    assert real.kernel.apply(facts.team, [SetMember(port, False)]) == ()
    link = real.kernel.find_link("eth1")
    assert link
    assert link.master == socket.if_nametoindex("bridge0")


def test_alternative_names(real: RealWorld) -> None:
    ifindex = real.make_link("eth1")
    run("ip", "link", "property", "add", "dev", "eth1", "altname", "lan1")
    link = real.kernel.find_link("lan1")
    assert link
    assert (link.ifindex, link.name) == (ifindex, "eth1")


def test_refusals_carry_the_words_of_the_kernel(real: RealWorld) -> None:
    facts = team_of(real)
    (refused,) = real.kernel.apply(facts.team, [SetMember(socket.if_nametoindex("lo"), True)])
    assert "oopback" in refused.explanation
    (refused,) = real.kernel.apply(facts.team, [SetOption(OptionKey("priority"), 1 << 40)])
    assert (refused.errno, refused.explanation) == (
        errno.EINVAL,
        "option priority: 1099511627776 (allowed: -2147483648 to 2147483647)",
    )
    (refused,) = real.kernel.apply(facts.team, [SetMac(facts.team, b"\x02")])
    assert refused.errno == errno.EINVAL


async def test_other_programs_cannot_tell_us_anything(real: RealWorld) -> None:
    """A privileged program can send to the group, and to our socket; only what the kernel says counts."""
    facts = team_of(real, "eth1")
    (port,) = facts.ports
    await facts.settle(lambda: facts.links[port].running)
    lie = framing.HEADER.pack(32, rtnl.DELLINK, 0, 0, 0) + struct.pack("=BxHiII", 0, 1, port, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as liar:
        liar.sendto(lie, (0, 1 << (rtnl.GROUP_LINK - 1)))
    before = real.kernel.malformed
    await facts.catch_up(real)
    assert port in facts.links
    assert real.kernel.malformed == before + 1


async def test_apply_in_a_thread_while_events_are_awaited(real: RealWorld) -> None:
    facts = team_of(real)
    key = OptionKey("notify_peers_count")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(facts.until, lambda: facts.options[key] == 9)
        assert await trio.to_thread.run_sync(real.kernel.apply, facts.team, [SetOption(key, 9)]) == ()


async def test_close_ends_waiting() -> None:
    kernel = NetlinkKernel()

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await Facts.endless(kernel)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        kernel.close()


@pytest.mark.parametrize(("asked", "given"), [(-1, 65536), (0, 65536), (196608, 393216), (1 << 23, 1 << 24)])
def test_event_buffer_size(asked: int, given: int) -> None:
    """The kernel doubles what is asked, for its own bookkeeping; with privileges the system's limit is no limit."""
    kernel = NetlinkKernel(event_buffer_bytes=asked)
    sizes = set()
    for entry in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(entry))) as sock:
                if sock.family == socket.AF_NETLINK and any(sock.getsockname()):
                    sizes.add(sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
        except OSError:
            continue
    kernel.close()
    assert given in sizes


async def test_ports_that_come_and_go_leave_nothing(real: RealWorld) -> None:
    """They come as links of others, of which one socket tells, and are deleted as ports, of whose end the other one tells."""
    facts = team_of(real)
    for _ in range(3):
        port = real.make_link("eth9")
        assert real.kernel.apply(facts.team, [SetMember(port, True)]) == ()
        await facts.until(lambda port=port: port in facts.ports)  # type: ignore[misc]
        real.delete("eth9")
        await facts.until(lambda port=port: port not in facts.ports and port not in facts.links)  # type: ignore[misc]
    await facts.catch_up(real)
    kept = {name: set(value) - facts.links.keys() for name, value in vars(real.kernel._foreign).items()}
    kept |= {name: vars(real.kernel)[name].keys() - facts.links.keys() for name in ("_running", "_said", "_team_of")}
    assert not any(kept.values()), kept


async def test_overrun_of_a_full_buffer_is_said_once(real: RealWorld) -> None:
    facts = team_of(real)
    await facts.catch_up(real)
    real.lose_events(facts.team)
    assert await real.kernel.events() == [(0, Overrun())]
    heard: list[KernelEvent] = []
    real.set_mac("team0", bytes.fromhex("025e00000001"))
    while not any(isinstance(event, LinkSeen) and event.ifindex == facts.team for event in heard):
        heard += [event for _, event in await real.kernel.events()]
    assert Overrun() not in heard
    assert real.kernel.overruns == 1


async def test_buffers_that_fill_as_fast_as_they_are_emptied(real: RealWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """No event is believed before the buffers were empty once."""
    facts = team_of(real)
    await facts.catch_up(real)
    real.lose_events(facts.team)
    monkeypatch.setattr(netlink, "_DRAIN", 40)
    assert await real.kernel.events() == [(0, Overrun())]
    while not real.kernel._drained:
        assert await real.kernel.events() == [(0, Overrun())]
    assert real.kernel.overruns > 1
    real.set_mac("team0", bytes.fromhex("025e00000001"))
    facts.replace(real.kernel.dump(facts.team))
    await facts.catch_up(real)


def test_dump_while_links_change(real: RealWorld) -> None:
    """The kernel marks such dumps as inconsistent; they are repeated, and end in a usable one."""
    facts = team_of(real)
    numbers = range(300)
    steps = [f"link add d{n} type dummy" for n in numbers] + [f"link delete d{n}" for n in numbers]
    with subprocess.Popen(["ip", "-batch", "-"], stdin=subprocess.PIPE, text=True) as storm:
        assert storm.stdin
        storm.stdin.write("\n".join(steps))
        storm.stdin.close()
        while storm.poll() is None:
            links = [link.ifindex for link in real.kernel.dump(facts.team).links]
            assert links == sorted(set(links))
            assert facts.team in links
    assert len(real.kernel.dump(facts.team).links) == 2


ATTEMPT = """
from pyteamd.model.errors import KernelRefused
from pyteamd.kernel.requests import Requests
requests = Requests()
try:
    {statement}
except KernelRefused as refused:
    print(refused.errno, refused)
"""


def attempt(statement: str, *prefix: str) -> str:
    """Run a statement in a process of its own; what it printed."""
    return run(*prefix, sys.executable, "-B", "-c", ATTEMPT.format(statement=statement)).strip()


def test_without_privileges(real: RealWorld) -> None:
    facts = team_of(real)
    said = attempt("requests.create_team('team1')", *NO_PRIVILEGES)
    assert said.startswith(f"{errno.EPERM} create team device team1: operation not permitted (")
    assert "CAP_NET_ADMIN" in said
    said = attempt(f"requests.dump({facts.team})", *NO_PRIVILEGES)
    assert said.startswith(f"{errno.EPERM} read team device {facts.team}: operation not permitted (")
    assert "initial user namespace" in said
    said = attempt(
        "from pyteamd.kernel.packet import Listening, PacketSocket; from pyteamd.model.desired import Tap; from pyteamd.wire import arp;"
        f"PacketSocket({facts.team}, Tap(arp.frames(None)), Listening())",
        *NO_PRIVILEGES,
    )
    assert said.startswith(f"{errno.EPERM} ")
    assert "CAP_NET_RAW" in said


def test_in_a_user_namespace(real: RealWorld) -> None:
    """There a team device can be made, but not used."""
    said = attempt("requests.dump(requests.create_team('team1'))", "unshare", "-Urn")
    assert "initial user namespace" in said


def test_one_program_can_do_without_events() -> None:
    requests = Requests()
    assert requests.find_link("lo")
    requests.close()


@pytest.mark.skipif(os.environ.get("LAB_WORLD") in (None, "host"), reason="only in a guest may modules be removed")
async def test_the_module_is_loaded_again(real: RealWorld) -> None:
    """The family and its group of events have other numbers afterwards."""
    facts = team_of(real)
    before = real.kernel.family()
    real.delete("team0")
    modes = ("broadcast", "roundrobin", "random", "activebackup", "loadbalance")
    run("rmmod", *[f"team_mode_{mode}" for mode in modes], "team")
    try:
        with pytest.raises(KernelGone):
            real.kernel.family(fresh=True)
        with pytest.raises(KernelGone):
            real.kernel.apply(facts.team, [SetOption(OptionKey("notify_peers_count"), 1)])
        run("modprobe", "-a", "team", *[f"team_mode_{mode}" for mode in modes])
        again = team_of(real, "eth1")
        key = OptionKey("notify_peers_count")
        real.set_option(key, 5)
        await again.settle(lambda: again.options[key] == 5 and len(again.ports) == 1)
        assert real.kernel.family() != before
    finally:
        run("modprobe", "-a", "team", *[f"team_mode_{mode}" for mode in modes])
