"""The loadbalance runner: the kernel hashes each frame and sends it through the port the hash leads to.

Passive: the port is the hash modulo the number of enabled ports. Active (`tx_balancer`): the hash value's place in a map of 256 that the
balancer keeps even. Ports whose link watchers say down are kept disabled, whatever another program writes; all ports have the team's
address. `Spreader` is what the lacp runner shares: the hash program, the method, the map and the statistics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pyteamd.model.desired import Desired, OptionKey, OptionValue
from pyteamd.model.events import Event, OptionGone, OptionSeen
from pyteamd.runners.base import PortConfig, Runner, TeamView
from pyteamd.runners.spread.balancer import HASHES, Balancer, octets_in
from pyteamd.runners.spread.hash_keys import HashConfig, Numbering, insert_tx_hash
from pyteamd.runners.spread.hash_program import tx_hash
from pyteamd.schema.option import OnBad, option
from pyteamd.values import dataclass

SETTLE_S = 0.05
"""The counters of one interval come in several messages; so long after the first one they are judged."""
MAPPING = "lb_tx_hash_to_port_mapping"


@dataclass(frozen=True, slots=True)
class WeightedPortConfig(PortConfig):
    """Keys below `ports.NAME`."""

    weight: int = option(
        1,
        help="Share of the traffic the balancer aims at, relative to the other ports, for links of unequal speed.",
        minimum=1,
        maximum=1000,
        on_bad=OnBad.REFUSE_PORT,
    )


class Spreader:
    """Transmit hash and balancer of one team."""

    def __init__(self, config: HashConfig) -> None:
        self.config = config
        self.balancing = config.tx_balancer_name is not None
        self.balancer = Balancer()
        self.numbering = Numbering()
        self._judge_at: float | None = None
        self._usable: dict[int, float] | None = None
        self._rates_known = True
        """False while a map taken over from another daemon may carry flows we have not counted yet."""
        self._uneven = False

    def becomes_uneven(self, speeds: Iterable[int]) -> bool:
        """Whether ports of these speeds are unlike and those before were not: a hash gives each the same share."""
        before, self._uneven = self._uneven, len(set(speeds)) > 1
        return self._uneven and not before

    def settings(self) -> dict[OptionKey, OptionValue]:
        """Options written once, when the team is set up."""
        method = "hash_to_port_mapping" if self.balancing else "hash"
        written: dict[OptionKey, OptionValue] = {
            OptionKey("bpf_hash_func"): tx_hash(self.config.tx_hash),
            OptionKey("lb_tx_method"): method,
        }
        if self.balancing:
            written[OptionKey("lb_stats_refresh_interval")] = self.config.tx_balancer_interval
        return written

    def reconfigure(self, config: HashConfig) -> None:
        """Go on with other settings. Flows may change ports; the map begins with what the kernel has."""
        self.config = config
        balancing = config.tx_balancer_name is not None
        if balancing is not self.balancing:
            self.balancing = balancing
            self.balancer = Balancer()
            self._usable = self._judge_at = None

    def announcements(self) -> list[str]:
        """What to log when the team is set up."""
        if not self.balancing:
            return ["TX balancing disabled."]
        return ["TX balancing enabled.", f"Balancing interval {self.config.tx_balancer_interval}."]

    def handle(self, event: Event, usable: Mapping[int, float], team: TeamView, now: float) -> bool:
        """Learn from the event. `usable`: ports that may carry traffic, with their weights. Returns whether the map may be another one."""
        statistics_only = isinstance(event, OptionSeen) and event.key.name == "lb_hash_stats"
        if not statistics_only:
            self.numbering.learn(event, team.ports, team.observed)
        if not self.balancing:
            return False
        match event:
            case OptionSeen(key=OptionKey(name="lb_hash_stats", index=value), value=statistics):
                octets = octets_in(statistics)
                if octets is not None and 0 <= value < HASHES:
                    self.balancer.count(value, octets)
                    self._judge_at = self._judge_at or now + SETTLE_S
                return False
            case OptionSeen() | OptionGone() if self._usable == usable:
                return False
        placed = False
        if self._usable != usable:
            placed = True
            before = self._usable or {}
            if self._usable is None:
                self._take_over(team)
            self._usable = dict(usable)
            self.balancer.place(self._usable, spread_idle=self._rates_known and not usable.keys() <= before.keys())
        if self._judge_at is not None and now >= self._judge_at:
            self._judge_at = None
            self._rates_known = True
            self.balancer.judge(self._usable)
            return True
        return placed

    def deadline(self) -> float | None:
        """When the counters are to be judged."""
        return self._judge_at

    def options(self) -> dict[OptionKey, OptionValue]:
        """The map that the kernel is to have."""
        return {OptionKey(MAPPING, 0, value): port for value, port in self.balancer.mapping.items()}

    def _take_over(self, team: TeamView) -> None:
        """Begin with the map the kernel has: what another daemon placed stays."""
        for key, port in team.observed.options.items():
            if key.name == MAPPING and isinstance(port, int) and port:
                self.balancer.mapping[key.index] = port
                self._rates_known = False


class LoadBalance(Runner):
    """Spreads flows over all ports that are up."""

    name = "loadbalance"
    mode = "loadbalance"
    Config = HashConfig
    PortConfig = WeightedPortConfig
    summary = "Spreads flows over the ports by a hash; with tx_balancer by their load."

    def __init__(self, config: HashConfig) -> None:
        super().__init__(config)
        self.spreader = Spreader(config)

    @classmethod
    def normalise(cls, tree: dict[str, Any]) -> None:
        insert_tx_hash(tree)

    def settings(self) -> dict[OptionKey, OptionValue]:
        return self.spreader.settings()

    def announcements(self) -> Iterable[str]:
        return self.spreader.announcements()

    def handle(self, event: Event, team: TeamView, now: float) -> None:
        usable = {ifindex: float(port.config.weight) for ifindex, port in team.ports.items() if port.up}
        self.spreader.handle(event, usable, team, now)

    def deadline(self) -> float | None:
        return self.spreader.deadline()

    def reconfigure(self, config: HashConfig, team: TeamView, now: float) -> None:
        super().reconfigure(config, team, now)
        self.spreader.reconfigure(config)

    def desired(self, team: TeamView) -> Desired:
        options: dict[OptionKey, OptionValue] = {
            OptionKey("enabled", ifindex): port.up for ifindex, port in team.ports.items()
        }
        return Desired(options=options | self.spreader.options(), macs=dict.fromkeys(team.ports, team.mac))
