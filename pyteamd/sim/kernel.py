"""A kernel that is a plain object: links, team devices, and the events a program would hear. No time, no sockets, no privileges.

How it works. Requests change the links and append what the kernel would announce to a queue; `take_events` empties it. As in the
kernel, the cable is looked at after the request (`linkwatch`): enslaving a link announces it up first and running a moment later.
rtnetlink and the team family are two sockets, so their messages can be held back from each other (`hold`), each in its own order.
Messages that would repeat the last one about a link word for word are left out. Faults: `refuse` and `lose_events`.

The asynchronous half of the Kernel interface (`events`, `readable`) is in `sim.waiting`, because it needs a runtime.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import TypeAlias

from pyteamd.model.desired import SetCarrier, SetMac, SetMember, SetOption, Tap, Write
from pyteamd.model.errors import KernelGone, KernelRefused
from pyteamd.model.events import ETHERNET, CarrierSeen, KernelEvent, LinkGone, LinkSeen, Overrun, Refused, Resync
from pyteamd.model.limits import NAME_MAX
from pyteamd.sim.link import NO_HARDWARE, SimLink, link_seen
from pyteamd.sim.net import SimNet, SimSocket
from pyteamd.sim.team import Refusal, SimTeam
from pyteamd.values import dataclass

BRIDGE, BOND, TUN = "bridge", "bond", "tun"
LINKS = "link"
TEAMS = "team"

Announced: TypeAlias = tuple[int, KernelEvent]


@dataclass(slots=True)
class Fault:
    """Writes that `matches` are refused with `number`, `left` more times (None: always)."""

    matches: Callable[[Write], bool]
    number: int
    left: int | None


@dataclass(slots=True)
class Inbox:
    """What one netlink family has announced and nobody has read yet."""

    waiting: list[tuple[int, Announced]] = field(default_factory=list)
    """Sequence number and event."""
    held: bool = False


class SimKernel:
    """Links and team devices of one namespace. `wake` is called whenever something becomes readable."""

    may_stall = False

    def __init__(self, net: SimNet | None = None) -> None:
        self.net = net or SimNet()
        self.independent = False
        """Team devices made from now on switch both directions of a port apart, as since Linux 7.1."""
        self.links: dict[int, SimLink] = {}
        self.teams: dict[int, SimTeam] = {}
        self.wake: Callable[[], None] = lambda: None
        self._watched: set[int] = set()
        self._inboxes = {LINKS: Inbox(), TEAMS: Inbox()}
        self._sequence = 0
        self._told: dict[int, LinkSeen] = {}
        self._faults: list[Fault] = []
        self._losing = self._overrun = False
        self._listening = True
        """The sockets are open: until `close`, and again after `watch_team`."""
        self._next_ifindex = 1
        self._new_link("lo", bytes(6), "", loopback=True)

    # The Kernel interface

    def find_link(self, name: str) -> LinkSeen | None:
        link = self._by_name(name)
        return link_seen(link) if link else None

    def get_link(self, ifindex: int) -> LinkSeen | None:
        link = self.links.get(ifindex)
        return link_seen(link) if link and link.here else None

    def all_links(self) -> tuple[LinkSeen, ...]:
        links = (link_seen(link) for link in self.links.values() if link.here)
        # As the real one: what is as it was is the same object.
        return tuple([self._told[link.ifindex] if self._told.get(link.ifindex) == link else link for link in links])

    def create_team(self, name: str) -> int:
        if self._by_name(name):
            raise KernelRefused(errno.EEXIST, f"create team device {name}")
        if not 0 < len(name) <= NAME_MAX or "/" in name or any(c.isspace() for c in name) or name in (".", ".."):
            raise KernelRefused(errno.EINVAL, f"create team device {name}")
        ifindex = self._next_ifindex
        link = self._new_link(name, b"\x02\x7e\xa0\x00" + ifindex.to_bytes(2, "big"), "team")
        self.teams[ifindex] = SimTeam(self, link)
        self.link_changed(link)
        return ifindex

    def delete_link(self, ifindex: int) -> None:
        """See kernel.api. The other end of a link goes with it."""
        link = self.links.get(ifindex)
        if link is None:
            raise KernelGone(f"interface {ifindex}")
        if link.loopback:
            raise KernelRefused(errno.EOPNOTSUPP, "delete the loopback interface")
        doomed = [link] if link.peer is None else [link, link.peer]
        for end in doomed:
            self.change_admin(end, False)
        for end in doomed:
            self._take_out(end)
            del self.links[end.ifindex]
            self.net.forget(end)
        self._linkwatch()

    def watch_team(self, ifindex: int) -> None:
        if ifindex not in self.teams:
            raise KernelRefused(errno.EINVAL, f"watch interface {ifindex}", "not a team device")
        self._watched.add(ifindex)
        self._listening = True

    def unwatch_team(self, ifindex: int) -> None:
        self._watched.discard(ifindex)

    def dump(self, team: int) -> Resync:
        device = self.teams.get(team)
        if device is None:
            raise KernelGone(f"team device {team}")
        ports = tuple(device.port_seen(port) for port in device.ports.values())
        return Resync(self.all_links(), ports, tuple(device.options()))

    def apply(self, team: int, writes: Sequence[Write]) -> tuple[Refused, ...]:
        device = self.teams.get(team)
        if device is None:
            raise KernelGone(f"team device {team}")
        refused = []
        for write in writes:
            try:
                self._fail_on_purpose(write)
                self._perform(device, write)
            except Refusal as refusal:
                refused.append(Refused(write, refusal.errno, refusal.explanation))
            self._linkwatch()
        return tuple(refused)

    def prepare(self, team: int, losses: Mapping[int, Sequence[Write]]) -> None:
        """See kernel.api: nothing to gain here."""

    def encode(self, writes: Iterable[Write]) -> None:
        """See kernel.api: nothing to gain here."""

    def is_done(self, team: int, writes: Sequence[Write]) -> bool:
        """See kernel.api."""
        return False

    def look_out(self) -> None:
        """See kernel.api."""

    def open_port(self, ifindex: int, tap: Tap) -> SimSocket:
        link = self.links.get(ifindex)
        if link is None or not link.here:
            raise KernelGone(f"interface {ifindex}")
        socket = SimSocket(self.net, link, tap)
        self.net.open(socket)
        return socket

    def close(self) -> None:
        self._watched.clear()
        self._listening = False
        for inbox in self._inboxes.values():
            inbox.waiting = []

    def take_events(self) -> list[Announced]:
        """What can be read now: (ifindex of the team or 0, event), oldest first; held families stay behind."""
        if self._overrun:
            self._overrun = self._losing = False
            return [(0, Overrun())]
        readable: list[tuple[int, Announced]] = []
        for inbox in self._inboxes.values():
            if not inbox.held:
                readable += inbox.waiting
                inbox.waiting = []
        readable.sort(key=sequence_of)
        return [event for _, event in readable]

    def pending(self) -> bool:
        """Whether something waits to be read, or is held."""
        return self._overrun or any(inbox.waiting or inbox.held for inbox in self._inboxes.values())

    # What others do to the links. Unknown ifindexes are a KeyError: the caller's mistake

    def add_pair(self, name: str, peer_name: str, **settings: object) -> SimLink:
        """A link wired to a peer that is up. `settings`: fields of SimLink for the first end."""
        peer = self._new_link(peer_name, self._free_mac(), "veth", here=False)
        link = self._new_link(name, self._free_mac(), "veth", **settings)
        link.peer, peer.peer = peer, link
        peer.up = True
        for end in (peer, link):
            self.link_changed(end)
        return link

    def set_up(self, ifindex: int, up: bool) -> None:
        """`ip link set … up|down`."""
        self.change_admin(self.links[ifindex], up)
        self._linkwatch()

    def set_mac(self, ifindex: int, mac: bytes) -> None:
        """`ip link set … address`. Raises Refusal."""
        link = self.links[ifindex]
        if len(mac) != 6 or mac[0] & 1 or not any(mac):
            raise Refusal(errno.EADDRNOTAVAIL)
        if link.up and not link.live_mac:
            raise Refusal(errno.EBUSY)
        self.change_mac(link, mac)
        if ifindex in self.teams:
            self.teams[ifindex].mac_changed()

    def rename(self, ifindex: int, name: str) -> None:
        """`ip link set … name`, as newer kernels do it: also while the link is up. Raises Refusal(EEXIST)."""
        if self._by_name(name):
            raise Refusal(errno.EEXIST)
        link = self.links[ifindex]
        link.name = name
        self.link_changed(link)

    def move_away(self, ifindex: int) -> None:
        """`ip link set … netns`: here it is as if it were deleted, but the other end stays. Raises Refusal for a team."""
        link = self.links[ifindex]
        if link.kind == "team" or link.loopback:
            raise Refusal(errno.EINVAL)
        self.change_admin(link, False)
        self._take_out(link)
        link.here = False
        self._linkwatch()

    def set_master(self, ifindex: int, master: int) -> None:
        """`ip link set … master|nomaster`: out of the old team first, then into the new one. Raises Refusal."""
        link = self.links[ifindex]
        if link.master == master:
            return
        self._leave_master(link)
        if master in self.teams:
            self.teams[master].add_port(link)
        elif master:
            if master not in self.links or self.links[master].kind not in (BRIDGE, BOND):
                raise Refusal(errno.EOPNOTSUPP if master in self.links else errno.EINVAL)
            self._join_other(link, self.links[master])
        self._linkwatch()

    def add_other(self, name: str, kind: str = BRIDGE, lower: int = 0) -> SimLink:
        """A device that is no team: a bridge, a bond (which opens its ports and closes them again), a tunnel, which has none, or
        something that stands on another link."""
        link = self._new_link(name, self._free_mac() if kind != TUN else b"", kind)
        link.hardware = NO_HARDWARE if kind == TUN else ETHERNET
        link.lower = lower
        self.link_changed(link)
        return link

    def set_mtu(self, ifindex: int, mtu: int) -> None:
        """`ip link set … mtu`, on a team for its ports too. Raises Refusal."""
        ports = self.teams[ifindex].ports if ifindex in self.teams else ()
        links = [self.links[each] for each in (ifindex, *ports)]
        if any(link.max_mtu and mtu > link.max_mtu for link in links):
            raise Refusal(errno.EINVAL)
        for link in links:
            link.mtu = mtu
            self.link_changed(link)

    def set_altnames(self, ifindex: int, *names: str) -> None:
        """`ip link property add … altname`, which is not announced of a link that is down."""
        self.links[ifindex].altnames = names
        if self.links[ifindex].up:
            self.link_changed(self.links[ifindex])

    def refuse(self, matches: Callable[[Write], bool], number: int, times: int | None = 1) -> None:
        """From now on refuse writes that match, `times` times (None: always)."""
        self._faults.append(Fault(matches, number, times))

    def accept(self) -> None:
        """No more faults."""
        self._faults.clear()

    def hold(self, family: str, held: bool = True) -> None:
        """Let messages of one family (LINKS or TEAMS) wait, or come again."""
        self._inboxes[family].held = held
        if not held:
            self.wake()

    def lose_events(self) -> None:
        """The receive buffers are full: what waits is lost, and so is all that comes until the Overrun was read."""
        for inbox in self._inboxes.values():
            inbox.waiting = []
        self._losing = self._overrun = True
        self.wake()

    # For SimTeam

    def announce(self, team: SimTeam, *events: KernelEvent) -> None:
        for event in events:
            if team.link.ifindex in self._watched:
                self._queue(TEAMS, (team.link.ifindex, event))

    def link_changed(self, link: SimLink) -> None:
        """Announce the link over rtnetlink, unless it is as it was when it was announced last."""
        if not link.here:
            return
        seen, before = link_seen(link), self._told.get(link.ifindex)
        if seen == before:
            return
        self._told[link.ifindex] = seen
        if before is not None and before.running != seen.running:
            self._queue(LINKS, (0, CarrierSeen(link.ifindex, seen.running)))
        self._queue(LINKS, (0, seen))

    def change_admin(self, link: SimLink, up: bool) -> None:
        """Open or close a link; the cable follows later."""
        if link.up == up:
            return
        link.up = up
        self.link_changed(link)
        self._tell_team(link)

    def change_mac(self, link: SimLink, mac: bytes) -> None:
        link.mac = mac
        self.link_changed(link)

    def change_carrier(self, link: SimLink, up: bool) -> None:
        if link.carrier != up:
            link.carrier = up
            self.link_changed(link)
            self._tell_team(link)

    # Inside

    def _perform(self, team: SimTeam, write: Write) -> None:
        match write:
            case SetOption(key=key, value=value):
                team.set_option(key, value)
            case SetCarrier(up=up):
                team.set_carrier(up)
            case SetMac(ifindex=ifindex, mac=mac):
                self._need(ifindex)
                self.set_mac(ifindex, mac)
            case SetMember(ifindex=ifindex, member=member):
                self._need(ifindex)
                if member:
                    self._add_member(team, write)
                elif self.links[ifindex].master == team.link.ifindex:  # the port of another team is not ours to release
                    self.set_master(ifindex, 0)

    def _add_member(self, team: SimTeam, write: SetMember) -> None:
        """As Requests does it on the real kernel: what belongs to another device is only taken on demand, a refused link put back."""
        link = self.links[write.ifindex]
        master, down = link.master, link.up and link.master != team.link.ifindex and (write.steal or write.set_down)
        if master not in (0, team.link.ifindex) and not write.steal:
            raise Refusal(errno.EBUSY, f"{link.name} belongs to {self.links[master].name}")
        if down:
            self.change_admin(link, False)
        try:
            self.set_master(write.ifindex, team.link.ifindex)
        except Refusal:
            if master:
                self.set_master(write.ifindex, master)
            if down:
                self.change_admin(link, True)
            raise

    def _leave_master(self, link: SimLink) -> None:
        if link.master in self.teams:
            self.teams[link.master].remove_port(link)
        elif link.master:
            bond = self.links[link.master].kind == BOND
            link.master = 0
            self.link_changed(link)
            if bond:
                self.change_admin(link, False)

    def owners(self, link: SimLink) -> list[SimLink]:
        """The device that the link belongs to, the one that this belongs to, and so on."""
        owners: list[SimLink] = []
        while link.master:
            link = self.links[link.master]
            owners.append(link)
        return owners

    def _join_other(self, link: SimLink, master: SimLink) -> None:
        if link in (master, *self.owners(master)):
            raise Refusal(errno.ELOOP, "")
        link.master = master.ifindex
        self.link_changed(link)
        if master.kind == BOND:
            self.change_admin(link, True)

    def _need(self, ifindex: int) -> None:
        link = self.links.get(ifindex)
        if link is None or not link.here:
            raise Refusal(errno.ENODEV)

    def _fail_on_purpose(self, write: Write) -> None:
        for fault in self._faults:
            if fault.matches(write):
                if fault.left is not None:
                    fault.left -= 1
                    if fault.left == 0:
                        self._faults.remove(fault)
                raise Refusal(fault.number)

    def _take_out(self, link: SimLink) -> None:
        """The link leaves the namespace: out of its team, or its ports out of it, then the announcement."""
        self._leave_master(link)
        for port in [
            port for port in self.links.values() if port.master == link.ifindex and link.ifindex not in self.teams
        ]:
            self._leave_master(port)
        if link.ifindex in self.teams:
            self.teams[link.ifindex].remove_all_ports()
            del self.teams[link.ifindex]
            self._watched.discard(link.ifindex)
        self._told.pop(link.ifindex, None)
        if link.here:
            self._queue(LINKS, (0, LinkGone(link.ifindex)))

    def _linkwatch(self) -> None:
        """Look at the cables after a request."""
        for link in list(self.links.values()):
            if link.kind != "team" and link.carrier != link.plugged():
                link.carrier = link.plugged()
                self.link_changed(link)
                self._tell_team(link)

    def _tell_team(self, link: SimLink) -> None:
        if link.master in self.teams:
            self.teams[link.master].port_link_changed(link)

    def _queue(self, family: str, event: Announced) -> None:
        if self._losing or not self._listening:
            return
        self._sequence += 1
        self._inboxes[family].waiting.append((self._sequence, event))
        self.wake()

    def _by_name(self, name: str) -> SimLink | None:
        return next((link for link in self.links.values() if link.here and name in (link.name, *link.altnames)), None)

    def _new_link(self, name: str, mac: bytes, kind: str, **settings: object) -> SimLink:
        link = SimLink(self._next_ifindex, name, mac, kind)
        for field_name, value in settings.items():
            setattr(link, field_name, value)
        self._next_ifindex += 1
        self.links[link.ifindex] = link
        return link

    def _free_mac(self) -> bytes:
        return b"\x02\x00\x00\x00" + self._next_ifindex.to_bytes(2, "big")


def sequence_of(item: tuple[int, Announced]) -> int:
    """Sort key: the order in which the kernel sent the messages."""
    return item[0]
