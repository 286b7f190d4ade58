"""The activebackup runner: one port carries the traffic, the others wait.

Which one: the highest of (prio, speed, full duplex) among the ports whose link watchers say up; the present one wins ties, then
the lowest ifindex. That is a total order, so nothing depends on who is looked at first. A sticky active port stays while its link
is up. A choice is made when a port comes, goes, or changes in one of these values, and at no other time: what a user sets
through `runner.active_port` stands until then. A port that has lost its carrier but is still up (delay_down) keeps its speed.

The first choice is made as if the ports came up in the order of the configuration: of equal ports the first, and a sticky one stays
before a better one. The kernel names ports operational in any order (a link that it made just now at once, others a few milliseconds
after they were opened), so that choice waits for those that have a carrier already; and of several that are up it wants to know how
fast each is, which the driver tells after the link has told that it is up.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any

from pyteamd.model.desired import Desired, Level, OptionKey, OptionValue
from pyteamd.model.errors import SET_FAILED, UserError
from pyteamd.model.events import Event, PortSeen
from pyteamd.model.incidents import Incident
from pyteamd.model.printable import argument, in_shell
from pyteamd.model.standstill import Silence
from pyteamd.runners.base import PortConfig, PortView, Reason, Runner, Supposed, TeamView
from pyteamd.schema.option import OnBad, option
from pyteamd.values import dataclass

ACTIVEPORT = OptionKey("activeport")
SETTLE_S = 0.5
"""How long the first choice waits at most for ports that have a carrier and are not operational, or whose speed is not known yet."""
CHOOSING = frozenset(("prio", "sticky"))
"""Settings of a port that a choice depends on."""
POLICIES = ("same_all", "by_active", "only_active")


@dataclass(frozen=True, slots=True)
class ActiveBackupConfig:
    """Keys below `runner`."""

    hwaddr_policy: str = option(
        "same_all",
        help="same_all: every port has the team's address; by_active: the team takes the active port's; "
        "only_active: the active port takes the team's.",
        choices=POLICIES,
    )


@dataclass(frozen=True, slots=True)
class ActiveBackupPortConfig(PortConfig):
    """Keys below `ports.NAME`."""

    sticky: bool = option(
        False,
        help="Once active, stay active while the link is up, even when a better port comes.",
        on_bad=OnBad.USE_DEFAULT,
    )


class ActiveBackup(Runner):
    """One active port."""

    name = "activebackup"
    mode = "activebackup"
    Config = ActiveBackupConfig
    PortConfig = ActiveBackupPortConfig
    settable = ("runner.active_port",)
    summary = "Sends through one port; another takes over when its link fails."

    def __init__(self, config: ActiveBackupConfig) -> None:
        super().__init__(config)
        self.active: int | None = None
        self.chosen_by_user = False
        """The active port was set by hand; it may even be down."""
        self._settled = False
        """The first choice is made, or its time is up."""
        self._patience: Silence | None = None
        self._active_since: float | None = None
        self._judged: tuple[tuple[int, ...], ...] = ()
        """What the last choice was based on."""
        self._media: dict[int, tuple[int, int]] = {}
        """Speed and full duplex of a port when it last had a link: the kernel says 0 without one."""
        self._own_macs: dict[int, bytes] = {}
        """only_active: the address a port had before it became active, given back afterwards. by_active: addresses that ports still have
        to get back because another policy was in force."""

    @classmethod
    def normalise(cls, tree: dict[str, Any]) -> None:
        for key in ("notify_peers", "mcast_rejoin"):
            section = tree.setdefault(key, {})
            if isinstance(section, dict):
                section.setdefault("count", 1)

    def handle(self, event: Event, team: TeamView, now: float) -> bool | None:
        if self.config.hwaddr_policy == "only_active":
            self._learn_macs(team)
        elif self._own_macs:
            self._drop_returned(team)
        facts = self._facts(team.ports)
        if self._awaits(team) or self._settling(team, now):
            return None
        if facts == self._judged:
            return type(event) is not PortSeen  # speed and duplex count for nothing else
        if not self._judged and team.adopted:
            self._take_over(team)
        self._judged = facts
        for ifindex in self._media.keys() - team.ports.keys():
            del self._media[ifindex]
        self._choose(team, now)
        return True

    def _facts(self, ports: Mapping[int, PortView]) -> tuple[tuple[int, ...], ...]:
        """All that a choice depends on."""
        return tuple([(i, p.up, p.priority, p.config.sticky, *self._media_of(p)) for i, p in ports.items()])

    def deadline(self) -> float | None:
        return None if self._settled or self._patience is None else self._patience.until

    def desired(self, team: TeamView) -> Desired:
        options: dict[OptionKey, OptionValue] = {}
        for ifindex in () if self._awaits(team) else team.ports:
            options[OptionKey("enabled", ifindex)] = ifindex == self.active
        if self.active is not None and self.active in team.ports:
            options[ACTIVEPORT] = self.active
        return Desired(options=options, macs=self._macs(team))

    def situation(self, team: TeamView) -> Hashable:
        chosen = self.active, self.chosen_by_user, self._active_since is None, self._settled
        return chosen, self._facts(team.ports), self.config.hwaddr_policy, team.mac, *self._own_macs.items()

    def state(self, team: TeamView) -> dict[str, Any]:
        active = team.ports.get(self.active) if self.active is not None else None
        return {"active_port": active.name if active else ""}

    def explain(self, port: PortView, team: TeamView, now: float) -> Reason:
        active = team.ports.get(self.active) if self.active is not None else None
        if active is None:
            why = "the active port is joining" if self._awaits(team) else "no port is active"
            return Reason(False, "standby", rest=f": {why}")
        if port.ifindex == active.ifindex:
            chosen = ", chosen by a user" if self.chosen_by_user else ""
            return Reason(True, "carries traffic as the active port", since=self._active_since, rest=chosen)
        hint = (
            f"to use it now: pyteamdctl {in_shell(team.name)} state item set runner.active_port {argument(port.name)}"
        )
        return Reason(False, "standby", hint, self._active_since, f": {active.name} {self._merit(active, port)}")

    def _merit(self, active: PortView, port: PortView) -> str:
        """What puts the active port before an idle one that is up."""
        ours, theirs = rank(port, self._media_of(port), False), rank(active, self._media_of(active), True)
        if self.chosen_by_user:
            return "was chosen by a user"
        if active.config.sticky and ours[:3] > theirs[:3]:
            return "is sticky and stays while it is up"
        if ours[0] != theirs[0]:
            return f"is active with prio {theirs[0]} over {ours[0]}"
        if ours[1] != theirs[1]:
            return f"is active with {theirs[1]} Mbit/s over {ours[1]}"
        if ours[2] != theirs[2]:
            return "is active with full duplex over half"
        return f"is active with the same prio {theirs[0]} and speed, and the active port stays"

    def broken(self, team: TeamView) -> list[str]:
        if self.active is None and (self._awaits(team) or self.deadline() is not None):
            return []
        if self.active is None:
            return [f"{port.name} is up, yet no port is active" for port in team.ports.values() if port.up]
        active = team.ports.get(self.active)
        if active is None:
            return [f"active port {self.active} is not there"]
        return [] if active.up or self.chosen_by_user else [f"active port {active.name} is down"]

    def set(self, path: str, value: str, team: TeamView, now: float) -> None:
        port = next((port for port in team.ports.values() if value in port.names), None)
        if port is None:
            there = ", ".join(port.name for port in team.ports.values())
            raise UserError(*SET_FAILED, f"{value} is no port of this team; its ports: {there or 'none'}")
        self._activate(port, now)
        self.chosen_by_user = True
        self._settled, self._judged = True, self._facts(team.ports)

    def disruption(self, name: str, config: ActiveBackupConfig, ports: Mapping[int, Any], team: TeamView) -> str:
        return "team"  # the only field is hwaddr_policy, and peers have to learn another address

    def port_disruption(
        self, ifindex: int, name: str, config: ActiveBackupConfig, ports: Mapping[int, Any], team: TeamView
    ) -> str:
        return "team" if name in CHOOSING and self._would_change(ports, team) else "none"

    def verdict_disruption(self, moved: Collection[int], ports: Mapping[int, Any], team: TeamView) -> str:
        """A port that goes down is interrupted itself, one that comes may be better than the active one."""
        if self.active not in moved and self._would_change(ports, team, again=bool(moved)):
            return "team"
        return super().verdict_disruption(moved, ports, team)

    def arrival(
        self, port: Any, config: Any, ports: Mapping[int, Any], team: TeamView, coming: int = 1
    ) -> tuple[str, str]:
        staying = self._supposed(ports, team)
        unchanged = self._facts(staying) == self._judged
        best = self._best(staying, team)
        active = staying.get(self.active or 0) if unchanged else best
        if self.active is None or active is None or best is None or (best is active and best.config.sticky):
            return "none", ""
        if port.prio > best.priority:
            return "team", f"it is active then, not {active.name}"
        if best is not active:  # a user chose the other one, and a port that comes makes us choose again
            return "team", f"{best.name} is active then, not {active.name}"
        if port.prio < best.priority:
            return "none", ""
        return "none", f"it is active then if it is faster than {active.name}"

    def departure(self, ifindex: int, config: ActiveBackupConfig, ports: Mapping[int, Any], team: TeamView) -> str:
        """A port that leaves makes us choose again, and then a user's choice stands no longer."""
        return "team" if self._would_change(ports, team) else "port"

    def reconfigure(self, config: ActiveBackupConfig, team: TeamView, now: float) -> None:
        if config.hwaddr_policy != self.config.hwaddr_policy:
            whole = [port for port in team.ports.values() if len(port.original_mac) == len(team.mac)]
            match self.config.hwaddr_policy, config.hwaddr_policy:
                case _, "same_all":
                    self._own_macs = {}
                case "by_active", _:
                    self._own_macs = {port.ifindex: port.mac for port in team.ports.values()}
                case _:
                    self._own_macs = {port.ifindex: port.original_mac for port in whole}
        self.config = config

    def choice(self) -> str:
        return "" if self.active is None else f"{self.active} user" if self.chosen_by_user else str(self.active)

    def choose_again(self, choice: str, team: TeamView, now: float) -> None:
        ifindex, _, by_user = choice.partition(" ")
        port = team.ports.get(int(ifindex))
        if port is None or not port.up or port.ifindex == self.active:
            return
        # The priorities of the kernel are still those that are being taken back.
        merit = (port.config.prio, *self._media_of(port))
        others = [other for other in team.ports.values() if other.up and other is not port]
        if port.config.sticky or all((other.config.prio, *self._media_of(other)) <= merit for other in others):
            self._activate(port, now)
            self.chosen_by_user = bool(by_user)

    def _awaits(self, team: TeamView) -> bool:
        """The port that the predecessor used is still to join: until then it goes on carrying the traffic, and nothing is chosen."""
        if self._judged or not team.adopted or self.active is not None:
            return False
        active = team.observed.options.get(ACTIVEPORT)
        return isinstance(active, int) and active in team.awaited and team.observed.serves(active)

    def _settling(self, team: TeamView, now: float) -> bool:
        """Whether the first choice has to wait for a port that has a carrier already, or for what to compare ports by."""
        if not self._settled and not team.adopted and (up := [port for port in team.ports.values() if port.up]):
            self._patience = (self._patience or Silence(now + SETTLE_S)).judge(now)
            waits = any(port.settling for port in team.ports.values())
            waits = waits or (len(up) > 1 and any(port.unmeasured for port in up))
            self._settled = self._patience is None or not waits
            return not self._settled
        self._patience = None
        return False

    def _take_over(self, team: TeamView) -> None:
        """Keep the port the kernel already uses: a restart must not touch traffic."""
        active = team.observed.options.get(ACTIVEPORT)
        port = team.ports.get(active) if isinstance(active, int) else None
        if port and port.up and team.observed.serves(port.ifindex):
            self.active = port.ifindex
            self.note(Level.INFO, f'Took over with active port "{port.name}".')

    def _choose(self, team: TeamView, now: float) -> None:
        before = self.active
        best = self._best(team.ports, team)
        if self._current(team.ports) is None:
            self.active = None
            self.chosen_by_user = False
        if best is not None and best.ifindex != self.active:
            self._activate(best, now, lost=before is not None and self.active is None)

    def _current(self, ports: Mapping[int, PortView]) -> PortView | None:
        """The active port, if it may stay active."""
        port = ports.get(self.active) if self.active is not None else None
        return port if port is not None and port.up else None

    def _best(self, ports: Mapping[int, PortView], team: TeamView) -> PortView | None:
        """Which of these ports is to be the active one."""
        current = self._current(ports)
        if current is not None and current.config.sticky:
            return current
        candidates = [port for port in ports.values() if port.up]
        if self._active_since is None and not team.adopted:
            return self._one_after_the_other(candidates, team)
        return max(
            candidates,
            key=lambda port: (rank(port, self._media_of(port), port is current), -port.ifindex),
            default=None,
        )

    def _would_change(self, ports: Mapping[int, Any], team: TeamView, again: bool = False) -> bool:
        """With these settings another port would be active, although the one that is now stays.

        `again`: a choice is made for another reason, and a user's stands no longer.
        """
        supposed = self._supposed(ports, team)
        best = None if not again and self._facts(supposed) == self._judged else self._best(supposed, team)
        return self.active in supposed and best is not None and best.ifindex != self.active

    @staticmethod
    def _supposed(settings: Mapping[int, Any], team: TeamView) -> dict[int, PortView]:
        """The ports with these settings."""
        return {i: Supposed(port, settings[i]) if i in settings else port for i, port in team.ports.items()}

    def _one_after_the_other(self, candidates: Iterable[PortView], team: TeamView) -> PortView | None:
        """The first choice: as if the ports had come up in the order of the configuration, so a sticky one stays before a better one."""
        best: PortView | None = None
        for port in sorted(candidates, key=lambda port: (place(port, team), port.ifindex)):
            if best is None or (
                not best.config.sticky
                and rank(port, self._media_of(port), False) > rank(best, self._media_of(best), True)
            ):
                best = port
        return best

    def _activate(self, port: PortView, now: float, lost: bool = False) -> None:
        """`lost`: the port before can carry the traffic no longer."""
        self.active = port.ifindex
        self._active_since = now
        self.chosen_by_user = False
        level = Level.WARNING if lost else Level.INFO
        self.note(level, f'Changed active port to "{port.name}".', port.name, Incident.ACTIVE_PORT)

    def _media_of(self, port: PortView) -> tuple[int, int]:
        speed_mbps, duplex = port.speed_mbps, port.duplex
        if speed_mbps or duplex:
            self._media[port.ifindex] = known = (speed_mbps, int(duplex == 1))
            return known
        return self._media.get(port.ifindex, (0, 0))

    def _learn_macs(self, team: TeamView) -> None:
        """An idle port's address is its own unless it is still the one we lent it; a new port cannot have been lent one.

        What is observed counts, not the last message: one from before our own write would be learnt, written, announced, learnt …
        """
        in_use = (self.active, team.observed.options.get(ACTIVEPORT))  # a predecessor's, when a team is taken over
        for ifindex, port in team.ports.items():
            mac = team.observed.macs.get(ifindex, port.mac)
            idle = ifindex not in in_use
            if idle and mac != team.mac:
                self._own_macs[ifindex] = mac
            elif ifindex not in self._own_macs and (own := mac if idle else port.original_mac):
                self._own_macs[ifindex] = own
        for ifindex in self._own_macs.keys() - team.ports.keys():
            del self._own_macs[ifindex]

    def _drop_returned(self, team: TeamView) -> None:
        """by_active: an address that is back may be changed by anybody."""
        self._own_macs = {
            ifindex: mac
            for ifindex, mac in self._own_macs.items()
            if ifindex in team.ports and team.ports[ifindex].mac != mac
        }

    def _macs(self, team: TeamView) -> dict[int, bytes]:
        active = team.ports.get(self.active) if self.active is not None else None
        own = {ifindex: mac for ifindex, mac in self._own_macs.items() if ifindex in team.ports}
        match self.config.hwaddr_policy:
            case "same_all":
                return dict.fromkeys(team.ports, team.mac)
            case "by_active":
                own.pop(active.ifindex if active else 0, None)
                return own | ({team.ifindex: active.mac} if active else {})
            case _:
                return own | ({active.ifindex: team.mac} if active else {})


def place(port: PortView, team: TeamView) -> int:
    """Where the port stands among those that are to be; behind them if nobody names it."""
    return next((place for place, name in enumerate(team.order) if name in port.names), len(team.order))


def rank(port: PortView, media: tuple[int, int], is_current: bool) -> tuple[int, int, int, int]:
    """What a candidate with its speed and duplex is worth: larger is better."""
    return (port.priority, *media, int(is_current))
