"""What follows from the kernel's answer to our writes."""

from __future__ import annotations

import errno

from pyteamd.core.backoff import FREE_REPEATS, Backoff, port_of
from pyteamd.core.facts import KernelFacts
from pyteamd.core.joining import JoiningPorts
from pyteamd.core.set_once import MODE, SetOnce
from pyteamd.model.desired import Level, Note, OptionKey, SetMac, SetMember, SetOption, Write
from pyteamd.model.events import Applied, Refused
from pyteamd.model.incidents import Incident
from pyteamd.model.printable import after_set
from pyteamd.model.words import VANISHED, describe, in_words, refusal

UNSEEN = (
    "nothing in its way was known here then; a macvlan or the like may stand on it, just made or in another network namespace: "
    "ip -d link; ip -all netns exec ip -d link"
)


class Answers:
    """Takes accepted writes into what is known, and says what a refusal means for a port, the start, and the log."""

    def __init__(
        self, facts: KernelFacts, once: SetOnce, joining: JoiningPorts, backoff: Backoff, strict: bool
    ) -> None:
        """`strict`: see Team."""
        self.notes: list[Note] = []
        self._facts = facts
        self._once = once
        self._joining = joining
        self._backoff = backoff
        self._strict = strict

    def applied(self, event: Applied, now: float) -> None:
        """The kernel has these values now."""
        for write in event.writes:
            self._facts.applied(write, now)
            match write:
                case SetOption(key=OptionKey(name="priority", port=ifindex), value=int(value)) if (
                    ifindex in self._joining.ports
                ):
                    self._joining.ports[ifindex].kernel_priority = value
                case SetMember(ifindex=ifindex, member=True):
                    self._joining.entered(ifindex)
        if storms := self._backoff.applied(event.writes, now):
            write, why = storms[0]
            others = f" and {len(storms) - 1} more" if len(storms) > 1 else ""
            self._say(Level.ERROR, f"{in_words(write, self._facts.name_of)}{others}: {why}", write)

    def refused(self, event: Refused, now: float, starting: bool) -> str:
        """The kernel said no. Returns why the team cannot start, "" when it can.

        A setting refused at the start makes its port, or the team, unfit. What the runner wants is tried again.
        """
        write, vanished = event.write, event.errno in VANISHED
        why = describe(event, self._facts.name_of, self._facts.links.get)
        times = self._backoff.refused(write, now, refusal(event, self._facts.name_of))
        ports = self._joining.ports
        match write:
            case SetOption(key=key) if key == MODE and self._once.leave_mode:
                self._once.leave_mode = False
            case SetOption(key=key) if key == MODE and not starting:
                pass  # nothing else is written until the device has the runner's mode: half of a configuration is none
            case SetOption(key=key) if key in self._once.options and not (vanished and key.port):
                fatal = starting if not key.port else key.port in ports and not ports[key.port].written_once
                return self._setting_refused(key, why, fatal=fatal and not vanished)
            case SetMember(member=True):
                return self._member_refused(event, why, times, fatal=starting and self._strict)
            case SetMac(ifindex=ifindex) if ifindex == self._facts.team.ifindex and self._once.mac is not None:
                self._once.mac = None
                if starting:
                    return why
            case SetMac(ifindex=ifindex) if not vanished and ifindex in ports and not ports[ifindex].written_once:
                self._joining.reject(ifindex, why)
                return ""
        if not vanished and times == 1:
            self._say(Level.WARNING, why, write)
        elif not vanished and times == FREE_REPEATS:
            self._say(Level.ERROR, f"{why}; still trying, less and less often", write)
        return ""

    def _member_refused(self, event: Refused, why: str, times: int, fatal: bool) -> str:
        """A link that is to be a port is refused: told once, and tried again, less and less often, while it is wanted."""
        write = event.write
        assert isinstance(write, SetMember)
        if event.errno in VANISHED and not self._joining.members.is_new(write.ifindex):
            return ""
        hint = self._unseen(event)
        why += hint
        again = self._joining.refused(
            write, refusal(event, self._facts.name_of) + hint, for_good=event.errno == errno.EOPNOTSUPP
        )
        if fatal:
            return why
        if times == 1:
            self._say(Level.WARNING, f"{why}; tried again from time to time" if again else why, write)
        return ""

    def _unseen(self, event: Refused) -> str:
        """Advice where the kernel says no without a word, and nothing that can be seen here is in the way; else ""."""
        link = self._facts.links.get(event.write.ifindex) if isinstance(event.write, SetMember) else None
        if event.explanation or link is None or self._joining.hindrance(link):
            return ""
        team = self._facts.team
        if event.errno in (errno.EINVAL, errno.ERANGE) and 0 < link.mtu < team.mtu:  # limits of VXLAN, HSR and others
            why = f"a port gets the MTU of {team.name}, {team.mtu}, and {link.name} has one of {link.mtu}"
            return f" ({why}: ip link set {after_set(team.name)} mtu {link.mtu})"
        return f" ({UNSEEN})" if event.errno == errno.EBUSY else ""

    def _setting_refused(self, key: OptionKey, why: str, fatal: bool) -> str:
        """A setting written once: the end for a new port, fatal for a new team, else a warning: the daemon goes on without it."""
        del self._once.options[key]
        if not fatal:
            self.notes.append(Note(Level.WARNING, why))
            if key.name == "priority" and (port := self._joining.ports.get(key.port)) is not None:
                self._joining.ports.read_priority(port)  # the runner chooses again, by what the kernel has
        elif key.port:
            self._joining.reject(key.port, why)
        else:
            return why
        return ""

    def _say(self, level: Level, text: str, write: Write) -> None:
        ifindex = port_of(write)
        name = self._facts.name_of(ifindex) if ifindex else ""
        self.notes.append(Note(level, f"{name}: {text}" if name else text, name, Incident.KERNEL_REFUSED))
