"""Who is at the other end of the cable: listens to LLDP on one port. It never sends, and has no say in anything.

What was heard last counts until its time to live is over, the neighbour takes its leave, or the link goes down. Several systems may be
heard through an unmanaged switch; the last word is shown, and that there are others.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from pyteamd.linkwatch.base import PortNow, Watcher
from pyteamd.model.desired import Tap
from pyteamd.model.events import FrameSeen
from pyteamd.model.standstill import Silence
from pyteamd.values import dataclass
from pyteamd.wire import PeerError, lldp
from pyteamd.wire.lldp import Neighbour

MOST_SYSTEMS = 8
"""How many are remembered at one port; of a flood of invented ones the others are passed over."""


TAPS = (Tap(lldp.FRAMES, address=lldp.GROUP),)


@dataclass(frozen=True, slots=True)
class ListenConfig:
    """Nothing: the team key `neighbours` says whether ports have a listener."""


class Listener(Watcher):
    """Made by the team key `neighbours`, not by `link_watch`."""

    name = "neighbour"
    Config = ListenConfig
    summary = "Listens to LLDP."
    only_vetoes: ClassVar[bool] = True

    def __init__(self, config: ListenConfig, hosts: Any, up: bool) -> None:
        super().__init__(config, hosts, True)
        self.heard: dict[tuple[str, str], tuple[Neighbour, Silence]] = {}
        """Chassis and port → what it said last, and the silence that ends it; the last word stands last."""
        self.drops: Counter[str] = Counter()

    def taps(self) -> tuple[Tap, ...]:
        return TAPS

    def carrier(self, port: PortNow, now: float) -> None:
        if not port.running:
            self.heard.clear()

    def frame(self, port: PortNow, frame: FrameSeen, now: float) -> None:
        if frame.ethertype != lldp.ETHERTYPE_LLDP or frame.source in port.own_macs:
            return
        try:
            said = lldp.parse(frame.payload)
        except PeerError as error:
            self.drops[error.reason.value] += 1
            return
        self.heard.pop((said.chassis, said.port), None)
        if said.ttl_s and len(self.heard) < MOST_SYSTEMS:
            self.heard[said.chassis, said.port] = (said, Silence(now + said.ttl_s))

    def tick(self, port: PortNow, now: float) -> None:
        judged = {key: (said, silence.judge(now)) for key, (said, silence) in self.heard.items()}
        self.heard = {key: (said, silence) for key, (said, silence) in judged.items() if silence is not None}

    def deadline(self) -> float | None:
        return min([silence.until for _, silence in self.heard.values()]) if self.heard else None

    def follows_link(self) -> bool:
        return True

    def now(self) -> Neighbour | None:
        """The last word."""
        return next((said for said, _ in reversed(self.heard.values())), None)

    def state(self) -> dict[str, Any]:
        said = self.now()
        if said is None:
            return {}
        shown: dict[str, Any] = {"chassis": said.chassis, "port": said.port, "system_name": said.system_name}
        if said.port_description:
            shown["port_description"] = said.port_description
        if said.vlan is not None:
            shown["vlan"] = said.vlan
        if said.aggregation_capable is not None:
            shown["aggregation"] = {"capable": said.aggregation_capable, "enabled": bool(said.aggregation_enabled)}
        if len(self.heard) > 1:
            shown["others"] = len(self.heard) - 1
        if self.drops:
            shown["drops"] = dict(sorted(self.drops.items()))
        return shown
