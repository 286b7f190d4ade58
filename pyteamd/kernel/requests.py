"""Requests to the real kernel: links, team devices, their options. Plain calls, no event loop.

A program without an event loop (`pyteamnl`) uses this class alone; the daemon uses NetlinkKernel, which adds events and packet
sockets. `apply` has sockets of its own, so that a thread stuck in a write does not hold up questions from another one.
Facts about the team family's answers: its first failure ends a message, and earlier options of that message
stay applied; ESRCH and ENOBUFS mean that the option was applied and its event had no listener, or an overrun one.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from pyteamd.kernel import rtnl, team_family
from pyteamd.kernel.framing import Malformed, Message
from pyteamd.kernel.sockets import GENERIC, ROUTE, NetlinkError, RequestSocket
from pyteamd.model.desired import SetCarrier, SetMac, SetMember, SetOption, Write
from pyteamd.model.errors import KernelGone, KernelRefused
from pyteamd.model.events import LinkSeen, OptionSeen, PortSeen, Refused, Resync
from pyteamd.model.limits import ALTNAME_MAX, NAME_MAX
from pyteamd.model.printable import spellings

_ITEM_OVERHEAD: Final = 96  # octets of an option beside its value, names of 32 octets included

_LONGEST_FORESEEN: Final = 2048  # octets; more is not what one fail-over writes
_MOST_FORESEEN: Final = 16  # for each team
_MOST_TEAMS: Final = 1024  # nobody says here that another program deleted one

_APPLIED: Final = frozenset((errno.ESRCH, errno.ENOBUFS))
_PRIVILEGE: Final = "CAP_NET_ADMIN is needed, for team options in the initial user namespace"
_HINTS: Final = {
    ("create", errno.EOPNOTSUPP): "the kernel has no team driver; is its module installed? try: modprobe team",
    ("create", errno.EINVAL): f"a name has 1 to {NAME_MAX} octets, without blanks, slashes and colons",
    ("delete", errno.EOPNOTSUPP): "hardware cannot be deleted",
}


class Requests:
    """The calls of the Kernel interface that need no event loop. Safe to use from several threads."""

    may_stall = True

    def __init__(self) -> None:
        self._links = RequestSocket(ROUTE)
        self._teams = RequestSocket(GENERIC)
        self._link_writes = RequestSocket(ROUTE)
        self._team_writes = RequestSocket(GENERIC)
        self._family: team_family.Family | None = None
        self._decoder = team_family.Decoder()
        self._malformed_links = 0
        self._foreseen: dict[int, dict[int, tuple[Sequence[Write], bytes]]] = {}
        """For each team: writes that are options alone, and the whole message for them."""

    @property
    def malformed(self) -> int:
        """How many messages or parts of messages could not be understood and were left out."""
        return self._malformed_links + self._decoder.malformed

    def option_kind(self, name: str) -> int:
        """Type number of an option that is not in the table, as last heard from the kernel; 0 when never heard of."""
        return self._decoder.kinds.get(name, 0)

    def find_link(self, name: str) -> LinkSeen | None:
        """See Kernel."""
        for octets in spellings(name):
            if 0 < len(octets) <= ALTNAME_MAX and (found := self._link(rtnl.find_link(octets), f"find link {name}")):
                return found
        return None

    def get_link(self, ifindex: int) -> LinkSeen | None:
        """See Kernel."""
        return self._link(rtnl.get_link(ifindex), f"find link {ifindex}") if ifindex > 0 else None

    def create_team(self, name: str) -> int:
        """See Kernel."""
        what = f"create team device {name}"
        octets = spellings(name)[0]
        if not 0 < len(octets) <= NAME_MAX:
            raise KernelRefused(errno.EINVAL, what, _HINTS["create", errno.EINVAL])
        try:
            self._links.request(rtnl.create(octets, "team"))
        except NetlinkError as refusal:
            if refusal.errno == errno.EEXIST and (there := self.find_link(name)) is not None:
                raise KernelRefused(refusal.errno, what, whose_name(there, name)) from refusal
            raise _refused(refusal, what, "create") from refusal
        made = self.find_link(name)
        if made is None:
            raise KernelGone(f"{what}: it was deleted or renamed at once")
        return made.ifindex

    def delete_link(self, ifindex: int) -> None:
        """See Kernel."""
        try:
            self._links.request(rtnl.delete(ifindex))
        except NetlinkError as refusal:
            if refusal.errno == errno.ENODEV:
                raise KernelGone(f"link {ifindex} does not exist") from refusal
            raise _refused(refusal, f"delete link {ifindex}", "delete") from refusal

    def family(self, fresh: bool = False) -> team_family.Family:
        """The team family's numbers now; `fresh`: ask again. KernelGone while the driver is not loaded."""
        if self._family is None or fresh:
            try:
                (answer,) = self._teams.request(team_family.get_family())
                self._family = team_family.family_of(answer.octets)
            except (NetlinkError, Malformed, ValueError) as problem:
                raise KernelGone(f"the team driver is not there: {problem}") from problem
        return self._family

    def dump(self, team: int) -> Resync:
        """See Kernel."""
        links = self._links_for(team)
        if not any(link.ifindex == team and link.kind == "team" for link in links):
            raise KernelGone(f"team device {team} does not exist")
        ports = self._read(team, team_family.get_ports)
        options = self._read(team, team_family.get_options)
        return Resync(
            links,
            tuple(port for port in ports if isinstance(port, PortSeen)),
            tuple(option for option in options if isinstance(option, OptionSeen)),
        )

    def apply(self, team: int, writes: Sequence[Write]) -> tuple[Refused, ...]:
        """See Kernel."""
        verdict = self._claim(team, writes)
        if verdict is None:
            verdict = self._at_once(team, writes)
        if verdict is not None:
            return verdict
        refused: list[Refused] = []
        for batch in _batches(writes):
            if isinstance(batch, list):
                refused += self._set_options(team, batch)
            else:
                refused += self._set_link(team, batch)
        if refused and self._is_gone(team):
            raise KernelGone(f"team device {team} does not exist")
        return tuple(refused)

    def prepare(self, team: int, losses: Mapping[int, Sequence[Write]]) -> None:
        """See Kernel."""
        known = self._foreseen.pop(team, {})
        for writes in losses.values():
            if foreseen := known.pop(id(writes), None) or self._foresee(team, writes):
                known[id(writes)] = foreseen  # which holds them, so that nothing else has this number
        for writes_id in list(known)[:-_MOST_FORESEEN]:
            del known[writes_id]
        if known:
            if len(self._foreseen) == _MOST_TEAMS:
                del self._foreseen[next(iter(self._foreseen))]
            self._foreseen[team] = known

    def encode(self, writes: Iterable[Write]) -> None:
        """See Kernel."""
        for write in writes:
            if isinstance(write, SetMac):
                rtnl.set_mac(write.ifindex, write.mac)
            elif isinstance(write, SetOption):
                with suppress(ValueError):  # apply will refuse it
                    self._encode(write)

    def _foresee(self, team: int, writes: Sequence[Write]) -> tuple[Sequence[Write], bytes] | None:
        """These writes and the message for them; None when they need more than one message, or another one than of options."""
        self.encode(writes)
        match list(_batches(writes)):
            case [list(options)]:
                with suppress(ValueError, KernelGone):
                    items = [self._encode(write) for write in options]
                    message = team_family.set_options(self.family().id, team, items)
                    return (writes, message) if len(message) <= _LONGEST_FORESEEN else None
        return None

    def _claim(self, team: int, writes: Sequence[Write]) -> tuple[Refused, ...] | None:
        """What came of these writes if they are done already."""
        return None

    def _at_once(self, team: int, writes: Sequence[Write]) -> tuple[Refused, ...] | None:
        """Send the message prepared for these very writes. None: there is none, or the kernel refused, and does not say which one."""
        foreseen = self._foreseen.get(team, {}).get(id(writes))
        return None if foreseen is None else self._send(*foreseen)

    def _send(self, writes: Sequence[Write], message: bytes) -> tuple[Refused, ...] | None:
        try:
            self._team_writes.request(message)
        except NetlinkError as problem:
            if _unanswered(problem):
                return tuple(refused for write in writes for refused in _verdict(write, problem))
            return None
        return ()

    def close(self) -> None:
        """Close every socket."""
        for sock in (self._links, self._teams, self._link_writes, self._team_writes):
            sock.close()

    def _link(self, request: bytes, what: str) -> LinkSeen | None:
        try:
            (answer,) = self._links.request(request)
            return rtnl.decode(answer.octets)
        except NetlinkError as refusal:
            if refusal.errno == errno.ENODEV:
                return None
            raise _refused(refusal, what, "find") from refusal
        except (Malformed, ValueError) as problem:
            raise KernelRefused(errno.EBADMSG, what, str(problem)) from problem

    def all_links(self) -> tuple[LinkSeen, ...]:
        """See Kernel."""
        try:
            answers = self._links.dump(rtnl.dump_links())
        except NetlinkError as refusal:
            raise _refused(refusal, "list links", "list") from refusal
        links: dict[int, LinkSeen] = {}
        for answer in answers:
            try:
                link = rtnl.decode(answer.octets)
            except Malformed:
                self._malformed_links += 1
            else:
                links[link.ifindex] = link
        return tuple([links[ifindex] for ifindex in sorted(links)])

    def _links_for(self, team: int) -> tuple[LinkSeen, ...]:
        """The links that a dump of this team names."""
        return self.all_links()

    def _read(self, team: int, question: Callable[[int, int], bytes]) -> list[team_family.TeamEvent]:
        """All events of a multi-part answer of the team family."""
        try:
            answers = self._with_family(self._teams, lambda family: question(family, team))
        except NetlinkError as refusal:
            if refusal.errno in (errno.EINVAL, errno.ENODEV, errno.ENOENT):
                raise KernelGone(f"team device {team} does not exist") from refusal
            raise _refused(refusal, f"read team device {team}", "read") from refusal
        events: list[team_family.TeamEvent] = []
        for answer in answers:
            events += self._decoder.decode(answer.octets)[1]
        return events

    def _with_family(self, sock: RequestSocket, request: Callable[[int], bytes]) -> list[Message]:
        """Send a request of the team family, once more when the number of the family has changed."""
        family = self.family()
        try:
            return sock.request(request(family.id))
        except NetlinkError as refusal:
            # The kernel says ENOENT also about a family that does not exist (any more).
            if refusal.errno != errno.ENOENT or self.family(fresh=True).id == family.id:
                raise
        return sock.request(request(self.family().id))

    def _set_options(self, team: int, writes: list[SetOption]) -> list[Refused]:
        items: list[bytes] = []
        try:
            items = [self._encode(write) for write in writes]
            self._with_family(self._team_writes, lambda family: team_family.set_options(family, team, items))
        except (NetlinkError, ValueError) as problem:
            if len(writes) == 1 or _unanswered(problem):
                return [refused for write in writes for refused in _verdict(write, problem)]
        else:
            return []
        # Which one it was, the kernel does not say. Those before it were applied, and applying them again changes
        # nothing: "mode", where it would, always travels alone.
        return [refused for write in writes for refused in self._set_options(team, [write])]

    def _encode(self, write: SetOption) -> bytes:
        return team_family.encode_option(write.key, write.value, self.option_kind(write.key.name))

    def _set_link(self, team: int, write: SetMac | SetMember | SetCarrier) -> list[Refused]:
        try:
            match write:
                case SetMac(ifindex=ifindex, mac=mac):
                    request = rtnl.set_mac(ifindex, mac)
                case SetCarrier(up=up):
                    request = rtnl.set_carrier(team, up)
                case SetMember(member=True):
                    return self._add_member(team, write)
                case SetMember(ifindex=ifindex):
                    (answer,) = self._link_writes.request(rtnl.get_link(ifindex))
                    if rtnl.decode(answer.octets).master != team:
                        return []  # another program took it: releasing it now would take it out of a bridge, say
                    request = rtnl.set_master(ifindex, 0)
            self._link_writes.request(request)
        except (NetlinkError, Malformed, ValueError) as problem:
            return _verdict(write, problem)
        return []

    def _add_member(self, team: int, write: SetMember) -> list[Refused]:
        """The kernel would take the link out of any device it belongs to before it looks whether it can be a port here."""
        (answer,) = self._link_writes.request(rtnl.get_link(write.ifindex))
        link = rtnl.decode(answer.octets)
        if link.master not in (0, team) and not write.steal:
            owner = None
            with suppress(KernelRefused):
                owner = self.get_link(link.master)
            return [Refused(write, errno.EBUSY, f"{link.name} belongs to {owner.name if owner else link.master}")]
        down = link.up and link.master != team and (write.set_down or write.steal)
        try:
            if down:
                self._link_writes.request(rtnl.set_admin(write.ifindex, False))
            self._link_writes.request(rtnl.set_master(write.ifindex, team))
        except NetlinkError as problem:
            self._put_back(link, down)
            if problem.errno == errno.EBUSY and not problem.explanation and link.up and not (down or link.master):
                return [Refused(write, errno.EBUSY, f"{link.name} is up")]  # which may be news
            raise
        return []

    def _put_back(self, link: LinkSeen, down: bool) -> None:
        """Undo what was done to a link that could not be added."""
        with suppress(NetlinkError):
            if link.master:
                self._link_writes.request(rtnl.set_master(link.ifindex, link.master))
            if down:
                self._link_writes.request(rtnl.set_admin(link.ifindex, True))

    def _is_gone(self, team: int) -> bool:
        try:
            link = self.get_link(team)
        except KernelRefused:
            return False  # the refusals say enough
        return link is None or link.kind != "team"


def _batches(writes: Sequence[Write]) -> Iterator[list[SetOption] | SetMac | SetMember | SetCarrier]:
    """Neighbouring options in lists, everything else alone; "mode" has a list of its own."""
    options: list[SetOption] = []
    octets = 0
    for write in writes:
        if isinstance(write, SetOption):
            size = _ITEM_OVERHEAD + len(write.value) if isinstance(write.value, str | bytes) else _ITEM_OVERHEAD
            alone = write.key.name == "mode" or (options and options[-1].key.name == "mode")
            if options and (alone or octets + size > team_family.MAX_LIST):
                yield options
                options, octets = [], 0
            options.append(write)
            octets += size
            continue
        if options:
            yield options
            options, octets = [], 0
        yield write
    if options:
        yield options


def _unanswered(problem: Exception) -> bool:
    """The kernel did not answer in time: asking again would hold up all teams once more."""
    return isinstance(problem, NetlinkError) and problem.errno == errno.ETIMEDOUT


def _verdict(write: Write, problem: Exception) -> list[Refused]:
    match problem:
        case NetlinkError(errno=code) if isinstance(write, SetOption) and code in _APPLIED:
            return []
        case NetlinkError(errno=code, explanation=explanation):
            return [Refused(write, code, explanation)]
    return [Refused(write, errno.EINVAL, str(problem))]


def whose_name(there: LinkSeen, name: str) -> str:
    """What helps where a link already has the name of a device to be made. A link that is no team device is left alone."""
    if there.kind == "team":
        return "a link of that name exists: -o takes it over" + (", -r replaces it" if there.name == name else "")
    return f"a link of that name exists, {there.kind or 'hardware'} and no team device: -t chooses another name"


def _refused(refusal: NetlinkError, what: str, verb: str) -> KernelRefused:
    """The exception for a person: the kernel's own words, and what to check."""
    hint = _HINTS.get((verb, refusal.errno), _PRIVILEGE if refusal.errno == errno.EPERM else "")
    return KernelRefused(refusal.errno, what, "; ".join(filter(None, (refusal.explanation, hint))))
