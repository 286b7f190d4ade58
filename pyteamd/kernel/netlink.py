"""The real kernel, as the daemon uses it: requests, events, packet sockets.

Three sockets hear events: rtnetlink's RTNLGRP_LINK twice, and the team family's group. All stand in one epoll set, and trio waits
for that. Filters in the kernel let through to the first only what is said of our teams and their ports, to the second the rest. A
fail-over begins at the first, so it is read first, and of each message at first only interface and flags: when IFF_RUNNING of a port is
not what it was, `events` returns a CarrierSeen at once and decodes on its next call. The second waits its turn (foreign_links.py). While it
is known what to write for the loss of a port, a thread waits for what is said of ours, and does it before trio hears of it (look_out.py).
Events of one link keep their order; between the sockets there is none. A link that becomes a port passes from one socket to the
other: for a moment both hear of it, then what the other has heard until then is told, and then what the first hears.

When the kernel had to drop messages (ENOBUFS), it goes on dropping until the receive buffer is empty, without another word.
So the buffers are emptied first, and only then is the Overrun reported that makes the shell dump everything again. What the kernel
says and we cannot read is a message lost, too.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from struct import Struct
from typing import Final, TypeAlias

import trio

from pyteamd.kernel import rtnl
from pyteamd.kernel.api import Batch, Kernel
from pyteamd.kernel.foreign_links import ForeignLinks
from pyteamd.kernel.framing import Malformed, Message, messages
from pyteamd.kernel.look_out import LookOut
from pyteamd.kernel.packet import Listening, PacketSocket
from pyteamd.kernel.requests import Requests
from pyteamd.kernel.sockets import (
    ADD_MEMBERSHIP,
    DATAGRAM,
    GENERIC,
    ROUTE,
    SOL_NETLINK,
    attach_filter,
    detach_filter,
    set_receive_buffer,
)
from pyteamd.kernel.team_family import TeamEvent
from pyteamd.model.desired import Tap, Write
from pyteamd.model.errors import KernelGone, KernelRefused
from pyteamd.model.events import (
    CarrierSeen,
    KernelEvent,
    LinkGone,
    LinkSeen,
    Overrun,
    PortGone,
    PortSeen,
    Refused,
    Resync,
)
from pyteamd.wire.bpf import KEEP_ALL, LD_WORD, RETURN, Op, assemble, or_skip

DEFAULT_BUFFER: Final = 1 << 21
SMALLEST_BUFFER: Final = 32768
"""What the C library's socket layer makes of a size of 0 or less."""

_LINKS_PER_ROUND: Final = 64
_TEAMS_PER_ROUND: Final = 16  # each is up to a page of options: decoding must not hold up the next carrier change
_HURRIED_ROUNDS: Final = 8  # then teams are read even if carriers keep changing
_DRAIN: Final = 100_000
_SHORT: Final = 256
_KEPT_SHORT: Final = 256

_MANY_TEAMS: Final = 16
_SHARED_S: Final = 3.0
"""Of more teams than that, how long a dump serves all: of a link that is down, the kernel announces only part of what changes."""
_DOUBT_INTERVAL_S: Final = 5.0  # a kernel that keeps saying what we cannot read must not keep us busy

_FOREIGN_INTERVAL_S: Final = 0.1
_FOREIGN_AT_ONCE: Final = 4096  # more than that in one interval waits for the next
_MOST_IN_FILTER: Final = 2000  # links; a program has at most 4,096 instructions
_IFINDEX_AT: Final = 20
_HEAD: Final = Struct("=IH10xBxxxiI4x")  # nlmsghdr and ifinfomsg: length, type, family, index, flags
_OF_LINKS: Final = (rtnl.NEWLINK, rtnl.DELLINK)

LinkWord: TypeAlias = tuple[int, int, bytes | None]
"""Number and flags of a link, and the message that describes it; None in place of that: it is gone."""


class _Lost(Exception):
    """Messages of the kernel were lost."""


class EventSocket:
    """A netlink socket that only hears; never blocks."""

    def __init__(self, protocol: int, buffer_bytes: int) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self.socket = socket.socket(socket.AF_NETLINK, kind, protocol)
        set_receive_buffer(self.socket, buffer_bytes if buffer_bytes > 0 else SMALLEST_BUFFER)
        self.socket.bind((0, 0))
        self._buffer = bytearray(DATAGRAM)
        self._view = memoryview(self._buffer)
        self.malformed = 0
        """How many messages of the kernel could not be read."""
        self.strangers = 0
        """How many datagrams came from other processes (privileged ones can send to a group)."""
        self._lost = False
        """An overrun was told to `glance`, which the look-out uses."""

    def join(self, group: int) -> None:
        """Hear a multicast group. Harmless when it is heard already."""
        self.socket.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, group)

    def words(self) -> list[LinkWord] | None:
        """What the next datagram says of links, None when there is none. _Lost on an overrun."""
        if (datagram := self.next()) is None:
            return None
        size, parts = len(datagram), [datagram]
        if size < _HEAD.size or _HEAD.unpack_from(datagram)[0] != size:  # of links the kernel says one thing at a time
            parts = [message.octets for message in self.split(datagram)]
        said: list[LinkWord] = []
        for octets in parts:
            if len(octets) < _HEAD.size:
                self.malformed += 1
                continue
            _, kind, family, ifindex, flags = _HEAD.unpack_from(octets)
            if not family and kind in _OF_LINKS:  # bridges tell of their ports in messages of a family of their own
                said.append((ifindex, flags, octets if kind == rtnl.NEWLINK else None))
        return said

    def next(self) -> bytes | None:
        """The next datagram from the kernel; None when there is none, b"" in place of a stranger's. _Lost on an overrun."""
        if self._lost:
            self._lost = False
            raise _Lost
        try:
            size, (port_id, _) = self.socket.recvfrom_into(self._buffer, 0, socket.MSG_TRUNC)
        except BlockingIOError:
            return None
        except OSError as problem:
            if problem.errno == errno.ENOBUFS:
                raise _Lost from problem
            raise
        if size > DATAGRAM:
            raise _Lost
        if port_id:
            self.strangers += 1
            return b""
        return self._view[:size].tobytes()

    def split(self, datagram: bytes) -> list[Message]:
        """The messages of a datagram, up to the first that cannot be read, which is counted."""
        heard: list[Message] = []
        try:
            heard.extend(messages(datagram))
        except Malformed:
            self.malformed += 1
        return heard

    def loss(self) -> int:
        """The link that the kernel's next datagram says is not running; 0 for none."""
        return rtnl.loss_in(self.glance(rtnl.GLANCE))

    def glance(self, size: int) -> bytes:
        """The first octets of the kernel's next datagram, which stays where it is; b"" when there is none."""
        try:
            beginning, (port_id, _) = self.socket.recvfrom(size, socket.MSG_PEEK)
        except OSError as problem:
            self._lost = self._lost or problem.errno == errno.ENOBUFS  # which is told only once
            return b""
        return beginning if not port_id else b""

    def drain(self) -> bool:
        """Throw away what is waiting; False when there is no end to it."""
        self._lost = False
        for _ in range(_DRAIN):
            try:
                self.socket.recv_into(self._buffer)
            except BlockingIOError:
                return True
            except OSError as problem:
                if problem.errno != errno.ENOBUFS:
                    raise
        return False

    def let_through(self, links: Collection[int]) -> bool:
        """Hear only what is said of these links, from now on. False: they are too many for a filter, and all is heard."""
        return self._attach(filter_of_links(links, True) if len(links) <= _MOST_IN_FILTER else _ALL)

    def keep_out(self, links: Collection[int]) -> None:
        """Hear nothing that is said of these links, from now on, unless they are too many for a filter."""
        self._attach(filter_of_links(links, False) if len(links) <= _MOST_IN_FILTER else _ALL)

    def hear_nothing(self) -> None:
        """Deaf from now on."""
        self._attach(_NOTHING)

    def _attach(self, program: bytes) -> bool:
        """Use this filter. False, and all is heard: the kernel has no room for it (net.core.optmem_max), even in place of the old."""
        for _ in range(2):
            with suppress(OSError):
                attach_filter(self.socket, program)
                return program is not _ALL
            detach_filter(self.socket)
        return False

    def close(self) -> None:
        """Close the socket."""
        self._view.release()
        self.socket.close()


def filter_of_links(links: Iterable[int], through: bool) -> bytes:
    """The program that lets through messages of these links and no others, or of all others."""
    found, other = (
        assemble([Op(RETURN, KEEP_ALL if through else 0)]),
        assemble([Op(RETURN, 0 if through else KEEP_ALL)]),
    )
    tests = [or_skip(socket.ntohl(ifindex)) + found for ifindex in sorted(links)]
    return b"".join((assemble([Op(LD_WORD, _IFINDEX_AT)]), *tests, other))


_ALL: Final = assemble([Op(RETURN, KEEP_ALL)])
_NOTHING: Final = assemble([Op(RETURN, 0)])


class NetlinkKernel(Requests):
    """The Kernel interface on the real kernel, in the network namespace of the thread that makes it.

    `event_buffer_bytes`: receive buffer of each event socket (teamd's TEAM_EVENT_BUFSIZE), 0 or less: 32 KiB. Beyond the
    system's limit net.core.rmem_max it needs CAP_NET_ADMIN, without which the limit is taken.
    """

    def __init__(self, event_buffer_bytes: int = DEFAULT_BUFFER) -> None:
        super().__init__()
        self.overruns = 0
        self._link_events = EventSocket(ROUTE, event_buffer_bytes)
        self._team_events = EventSocket(GENERIC, event_buffer_bytes)
        self._watched: set[int] = set()
        self._running: dict[int, bool] = {}
        self._team_of: dict[int, int] = {}
        """Ports of the watched teams: CarrierSeen is given of these only."""
        self._other_links = EventSocket(ROUTE, event_buffer_bytes)
        self._foreign = ForeignLinks()
        self._foreign_at_s = 0.0
        """Not to be heard before."""
        self._owed: Batch = []
        self._ours: Set[int] = frozenset()
        """Links that the filter lets through to the first socket."""
        self._link_events.let_through(self._ours)
        self._link_events.join(rtnl.GROUP_LINK)
        self._other_links.join(rtnl.GROUP_LINK)
        self._ready = select.epoll()
        self._ready.register(self._other_links.socket, select.EPOLLIN)
        self._listening = Listening()
        links, teams = self._link_events, self._team_events
        self._look_out = LookOut(self._ready, links.socket, teams.socket, links.loss, self._send)
        self._deaf = False
        """The socket of other links is not in the epoll set for a moment."""
        self._waiting = False
        """`events` has given all that it had, and waits for the sockets."""
        self._peeked: list[tuple[int, bytes | None]] = []
        self._said: dict[int, LinkSeen] = {}
        """What was last said of each link since the last dump. For most changes the kernel says it several times, with other counters."""
        self._listed: dict[int, LinkSeen] = {}
        """What a dump read, with what was heard since, for other teams that start or read again in the same moments."""
        self._listed_until_s = 0.0
        self._told: dict[bytes, list[tuple[int, Sequence[TeamEvent]]]] = {}
        """What short datagrams of the team family say, by their octets."""
        self._drained = True
        self._unread_then = 0
        """How much could not be read up to the last dump; more than that puts all we know in doubt."""
        self._doubt_at_s = 0.0
        self._clock = time.monotonic
        self._hurried = 0

    @property
    def malformed(self) -> int:
        """How many messages or parts of messages could not be understood and were left out."""
        links = max(self._link_events.strangers, self._other_links.strangers)  # most are heard by both
        return self._unread() + self._malformed_links + links + self._team_events.strangers

    def watch_team(self, ifindex: int) -> None:
        """See Kernel."""
        link = self.get_link(ifindex)
        if link is None:
            raise KernelGone(f"team device {ifindex} does not exist")
        if link.kind != "team":
            raise KernelRefused(errno.EINVAL, f"watch {link.name}", "this link is not a team device")
        self._team_events.join(self.family(fresh=True).group)
        self._told.clear()  # the family may have another number than when it was read
        self._watched.add(ifindex)
        self._choose_links()

    def unwatch_team(self, ifindex: int) -> None:
        """See Kernel."""
        self._watched.discard(ifindex)
        self._list_ports(ifindex, ())
        self._look_out.forget(ifindex)
        self._foreseen.pop(ifindex, None)

    def dump(self, team: int) -> Resync:
        """See Kernel."""
        before = self._unread()
        resync = super().dump(team)
        self._unread_then += self._unread() - before  # another dump would not read it either
        for link in resync.links:
            self._running.setdefault(link.ifindex, link.running)
        self._foreign.known(self._running)
        self._list_ports(team, [port.ifindex for port in resync.ports])
        return resync

    def _links_for(self, team: int) -> tuple[LinkSeen, ...]:
        """Many teams that start, or read again after an overrun, would read all links each, which takes longer the more they are."""
        listed = self._listed
        shared = len(self._watched) > _MANY_TEAMS and self._drained and self._clock() < self._listed_until_s
        if shared and self._hear_all() and team in listed:
            return tuple([listed[ifindex] for ifindex in sorted(listed)])
        links = self.all_links()
        self._said.clear()  # it may tell something newer
        self._listed = {link.ifindex: link for link in links}
        self._listed_until_s = self._clock() + _SHARED_S
        return links

    def _hear_all(self) -> bool:
        """Take what waits in the sockets, to be told later. False: something was lost."""
        try:
            while self._peek(self._owed) or self._link_events.glance(1):
                pass
            self._listen_to_others()
        except _Lost:
            self._drained = False
            return False
        self._owe()
        return True

    def _owe(self) -> None:
        """Decode what was heard, and tell it when it is our turn."""
        self._owed += self._decode_peeked() + self._decode(self._foreign.tell())
        if self._waiting and self._at_hand:
            self._wake()  # another task has read what was to be read there

    async def events(self) -> Batch:
        """See Kernel."""
        batch: Batch = []
        while not batch:
            if self._peeked or self._owed:  # what is at hand is not worth a turn of the event loop
                await trio.lowlevel.checkpoint_if_cancelled()
            elif not self._drained:
                await trio.lowlevel.checkpoint()
            else:
                self._waiting = True
                self._look_out.watch()
                try:
                    await self._wait()
                except trio.ClosedResourceError:
                    if not self._at_hand:
                        raise
                finally:
                    self._waiting = False
            batch = self.read()
        return batch

    def look_out(self) -> None:
        """See Kernel."""
        self._look_out.man()

    def prepare(self, team: int, losses: Mapping[int, Sequence[Write]]) -> None:
        """See Kernel."""
        super().prepare(team, losses)
        known = self._foreseen.get(team, {})
        self._look_out.arm(team, {port: known[id(writes)] for port, writes in losses.items() if id(writes) in known})
        if self._waiting:
            self._look_out.watch()

    def is_done(self, team: int, writes: Sequence[Write]) -> bool:
        """See Kernel."""
        shot = self._look_out.fired.get(team)
        return shot is not None and shot.writes is writes and shot.outcome is not None

    def _claim(self, team: int, writes: Sequence[Write]) -> tuple[Refused, ...] | None:
        return self._look_out.claim(team, writes)

    def read(self) -> Batch:
        """What can be read now without waiting; [] also when something came and told nothing."""
        try:
            return self._round() if self._drained else self._overrun()
        except _Lost:
            return self._overrun()

    def open_port(self, ifindex: int, tap: Tap) -> PacketSocket:
        """See Kernel."""
        return PacketSocket(ifindex, tap, self._listening)

    async def readable(self) -> list[PacketSocket]:
        """See Kernel."""
        return await self._listening.readable()

    def close(self) -> None:
        """Close every socket; a waiting `events` ends with trio.ClosedResourceError."""
        self._owed.clear()
        self._drained = True
        self._wake()
        self._look_out.close()
        self._ready.close()
        self._listening.close()
        self._link_events.close()
        self._other_links.close()
        self._team_events.close()
        super().close()

    @property
    def _at_hand(self) -> bool:
        """Whether there is something to tell that no socket announces any more."""
        return bool(self._peeked or self._owed) or not self._drained

    def _wake(self) -> None:
        """Let a waiting `events` look again."""
        with suppress(RuntimeError):  # outside of trio nobody waits
            trio.lowlevel.notify_closing(self._ready)

    async def _wait(self) -> None:
        """Until there is something to read that may be read now."""
        if self._deaf and (left_s := self._foreign_at_s - self._clock()) > 0:
            with trio.move_on_after(left_s):
                await trio.lowlevel.wait_readable(self._ready)
                return
        if self._deaf:
            self._ready.register(self._other_links.socket, select.EPOLLIN)
            self._deaf = False
            return  # where much happens, something has come meanwhile: it is read in the same turn of the event loop
        await trio.lowlevel.wait_readable(self._ready)

    def _round(self) -> Batch:
        """Link messages up to the first change of a port's carrier, told at once; without one, all links decoded, and events of teams."""
        batch = self._tell_owed()
        port = self._peek(batch)
        if self._team_of.get(port) in self._look_out.fired:
            port = self._peek(batch)  # what that loss leads to is done: hurry for another one only
        self._hurried = self._hurried + 1 if port else 0
        if 0 < self._hurried < _HURRIED_ROUNDS:
            return batch
        batch += self._decode_peeked()
        batch += self._hear_others()
        said: Batch = []
        for _ in range(_TEAMS_PER_ROUND):
            if (datagram := self._team_events.next()) is None:
                break
            for team, events in self._told.get(datagram) or self._understand(datagram):
                if team in self._watched:
                    self._note_ports(team, events)
                    said += [(team, event) for event in events]
        if said and self._look_out.fired:
            self._peek(batch)  # the loss that the look-out has just seen stands before what came of its writes
        batch += said
        self._choose_links()
        batch += self._tell_owed()
        if self._unread() != self._unread_then and (now_s := self._clock()) >= self._doubt_at_s:
            self._doubt_at_s = now_s + _DOUBT_INTERVAL_S
            return self._read_again()
        return batch

    def _understand(self, datagram: bytes) -> list[tuple[int, Sequence[TeamEvent]]]:
        """The team and the events of each message. Short datagrams are remembered: nearly all of them come again and again."""
        before = self._unread()
        told = [
            self._decoder.decode(message.octets)
            for message in self._team_events.split(datagram)
            if self._family is not None and message.type == self._family.id
        ]
        gone = any(type(event) is PortGone for _, events in told for event in events)
        if gone or len(self._told) >= _KEPT_SHORT:
            self._told.clear()  # as the decoder forgets what is about a port, each time that it leaves
        if told and not gone and len(datagram) <= _SHORT and self._unread() == before:
            self._told[datagram] = told
        return told

    def _peek(self, batch: Batch) -> int:
        """Read link messages without decoding; stop behind a datagram that changed a port's carrier, and say whose. 0: read all."""
        for _ in range(_LINKS_PER_ROUND):
            if (said := self._link_events.words()) is None:
                return 0
            changed = 0
            for ifindex, flags, octets in said:
                running = bool(flags & rtnl.IFF_RUNNING)
                if octets is not None and self._flips(ifindex, running) and ifindex in self._team_of:
                    if self._peeked and any(ifindex == earlier for earlier, _ in self._peeked):
                        batch += self._decode_peeked()  # what was said before must be heard before
                        self._running[ifindex] = running
                    batch.append((0, CarrierSeen(ifindex, running)))
                    changed = ifindex
                self._peeked.append((ifindex, octets))
            if changed:
                return changed
        return 0

    def _choose_links(self) -> None:
        """Fit the filters to the teams and ports there are; what was said of links that pass from one socket to the other is kept."""
        ours = self._watched | self._team_of.keys()
        if ours == self._ours:
            return
        try:
            self._other_links.keep_out(self._ours & ours)
            while (said := self._link_events.words()) is not None:
                self._peeked += [(ifindex, octets) for ifindex, _, octets in said]
            filtered = self._link_events.let_through(ours)
            self._listen_to_others()
        except _Lost:
            filtered = self._link_events.let_through(ours)
            self._drained = False
        if filtered:
            self._other_links.keep_out(ours)
        else:
            self._other_links.hear_nothing()  # the first hears it all
        self._owe()
        self._foreign.known(self._running.keys() - ours)  # of those that are others now the first socket told
        self._ours = ours

    def _tell_owed(self) -> Batch:
        """What was said of links before they became ours, or ceased to be: to be told before anything newer."""
        owed, self._owed = self._owed, []
        return owed

    def _hear_others(self) -> Batch:
        """What became of links that are not ours; [] when that was told less than _FOREIGN_INTERVAL_S ago."""
        now_s = self._clock()
        if now_s < self._foreign_at_s or not self._listen_to_others():
            return []
        self._foreign_at_s = now_s + _FOREIGN_INTERVAL_S
        if now_s > self._listed_until_s:
            self._listed = {}
        if not self._deaf:
            self._ready.unregister(self._other_links.socket)
            self._deaf = True
        return self._decode(self._foreign.tell())

    def _listen_to_others(self) -> bool:
        """Read what is said of links that are not ours. Returns whether there was anything."""
        for number in range(_FOREIGN_AT_ONCE):
            if (said := self._other_links.words()) is None:
                return number > 0
            for ifindex, _, octets in said:
                if ifindex not in self._ours:
                    self._foreign.hear(ifindex, octets)
        return True

    def _list_ports(self, team: int, ports: Sequence[int]) -> None:
        """Replace what is known of a team's ports."""
        for ifindex in [ifindex for ifindex, owner in self._team_of.items() if owner == team]:
            del self._team_of[ifindex]
        self._team_of.update(dict.fromkeys(ports, team))
        self._choose_links()

    def _note_ports(self, team: int, events: Sequence[KernelEvent]) -> None:
        """Keep the list of ports up to date."""
        for event in events:
            match event:
                case PortSeen(ifindex=ifindex):
                    self._team_of[ifindex] = team
                case PortGone(ifindex=ifindex) if self._team_of.get(ifindex) == team:
                    del self._team_of[ifindex]

    def _flips(self, ifindex: int, running: bool) -> bool:
        before = self._running.get(ifindex, running)
        self._running[ifindex] = running
        return before != running

    def _decode_peeked(self) -> Batch:
        peeked, self._peeked = self._peeked, []
        return self._decode(peeked)

    def _decode(self, told: Iterable[tuple[int, bytes | None]]) -> Batch:
        """Events of links; None for the end of one."""
        batch: Batch = []
        for ifindex, octets in told:
            if octets is None:
                self._running.pop(ifindex, None)
                self._said.pop(ifindex, None)
                self._listed.pop(ifindex, None)
                batch.append((0, LinkGone(ifindex)))
                continue
            try:
                link = rtnl.decode(octets)
            except Malformed:
                self._link_events.malformed += 1
                continue
            self._running[ifindex] = link.running
            said = self._said.get(ifindex)
            if said is not link and said != link:
                self._said[ifindex] = link
                if self._listed:
                    self._listed[ifindex] = link
                batch.append((0, link))
        return batch

    def _overrun(self) -> Batch:
        """The kernel dropped messages for us."""
        self.overruns += 1
        return self._read_again()

    def _unread(self) -> int:
        """How much of what the kernel announced could not be read."""
        heard = sum(one.malformed for one in (self._link_events, self._other_links, self._team_events))
        return self._decoder.malformed + heard

    def _read_again(self) -> Batch:
        """Empty all three buffers, so that the dump that follows is newer than all that is read later."""
        self._peeked.clear()
        self._running.clear()
        self._said.clear()
        self._foreign.forget()
        self._owed.clear()
        self._unread_then = self._unread()
        sockets = (self._link_events, self._other_links, self._team_events)
        links, others, teams = [one.drain() for one in sockets]
        self._drained = links and others and teams
        self._listed = {}
        return [(0, Overrun())]


_complete: type[Kernel] = NetlinkKernel
