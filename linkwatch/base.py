"""What a link watcher is: it answers whether one port leads anywhere.

One instance per port and configured watcher. It is told of the port's raw link, of frames and of time, and holds a verdict.
The Team notices when the verdict changes, combines the watchers of a port and tells the runner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from pyteamd.model.desired import Frame, Level, Note, Tap, Verdict
from pyteamd.model.events import FrameSeen
from pyteamd.model.incidents import Incident
from pyteamd.model.outbox import Outbox
from pyteamd.values import dataclass


@dataclass(frozen=True, slots=True)
class PortNow:
    """What a watcher may know of its port at the time of a call."""

    ifindex: int
    name: str
    mac: bytes
    running: bool
    """Raw link."""
    enabled: bool
    """The port carries traffic: the kernel's `enabled` option (for activebackup: the active port)."""
    any_enabled: bool
    """Some port of the team carries traffic. When none does, every port probes."""
    original_mac: bytes = b""
    """Address before the port joined, b"" when unknown."""
    own_macs: frozenset[bytes] = frozenset()
    """Addresses of the team and all its ports, present and original; given with frames only."""
    carried: bool = False
    """Some port that carries traffic is being answered; given with frames only, to ports with a watcher that overrides `proven`."""


class Watcher:
    """Base class. `up` starts with the kernel's left-over verdict, so that a take-over changes nothing."""

    name: ClassVar[str]
    Config: ClassVar[type]
    summary: ClassVar[str] = ""
    """One sentence for help and documentation."""
    frees_kernel_link: ClassVar[bool] = False
    """The kernel is to use our verdict instead of the raw link (`user_linkup_enabled`, written when the port gets its watchers)."""
    gates_service: ClassVar[bool] = False
    """While this watcher says down the port carries no traffic, whatever the others say, and also under runners that heed no verdicts."""
    only_vetoes: ClassVar[bool] = False
    """It has no vote, and is not among the port's link watches: it can only gate service."""
    hides_link: ClassVar[bool] = False
    """While this watcher says down a runner that follows the raw link (lacp) counts it as down."""
    host_fields: ClassVar[Mapping[str, str]] = {}
    """Config field that holds host names → "inet" or "inet6"; resolved before the watcher is created."""

    def __init__(self, config: Any, hosts: Mapping[str, str], up: bool) -> None:
        """`hosts` maps each host name of the configuration to a numeric address."""
        self.config = config
        self.up = up
        self.down_count = 0
        self.outbox = Outbox()

    @property
    def kind(self) -> type[Watcher]:
        """What was configured: the class of this watcher, or of the one it stands in for."""
        return type(self)

    def start(self, port: PortNow, now: float) -> None:
        """First call, when the port has joined or gets other watchers: evaluate at once."""

    def carrier(self, port: PortNow, now: float) -> None:
        """The raw link of the port changed."""

    def went_down(self, port: PortNow, now: float) -> None:
        """Other watchers of the port say down from now on."""

    def clear(self, port: PortNow, now: float) -> None:
        """A user forgives what the port did."""

    def frame(self, port: PortNow, frame: FrameSeen, now: float) -> None:
        """A frame came in that one of `taps()` let through (this watcher's or another's: check before use)."""

    def tick(self, port: PortNow, now: float) -> None:
        """`now` has reached `deadline()`."""

    def deadline(self) -> float | None:
        """Next moment at which time alone changes something."""
        return None

    def taps(self) -> tuple[Tap, ...]:
        """Packet sockets this watcher wants on its port."""
        return ()

    def proven(self) -> bool:
        """Something behind the port answered lately, which a mere carrier does not show."""
        return False

    def follows_link(self) -> bool:
        """Whether what it would say of a lost link follows from its settings and what it says now."""
        return False

    def verdict(self) -> Verdict:
        """The answer now, with its reason in words."""
        return Verdict(self.up, "link up" if self.up else "link down")

    def state(self) -> dict[str, Any]:
        """Members of the state object besides `name`, `up` and `down_count`."""
        return {}

    def gauges(self, now: float) -> Iterable[tuple[str, str, float]]:
        """Numbers for monitoring: name with its unit, meaning, value now."""
        return ()

    def set_up(self, up: bool) -> None:
        """Change the verdict; counts transitions to down."""
        if self.up and not up:
            self.down_count += 1
        self.up = up

    def note(self, level: Level, text: str, port: str = "", incident: Incident | None = None) -> None:
        """Say something once."""
        self.outbox.notes.append(Note(level, text, port, incident))

    def send(self, ifindex: int, octets: bytes) -> None:
        """Queue a frame for this port."""
        self.outbox.frames.append(Frame(ifindex, octets))

    @classmethod
    def may_turn(cls, before: Any, after: Any) -> bool:
        """Whether with another configuration it may say down although the link stays as it is: it asks another host, for instance."""
        return False

    @classmethod
    def hosts_in(cls, config: Any) -> dict[str, str]:
        """Hosts in this configuration, names and addresses → address family."""
        wanted: dict[str, str] = {}
        for field_name, family in cls.host_fields.items():
            value = getattr(config, field_name)
            for host in (value,) if isinstance(value, str) else value or ():
                if host:
                    wanted[host] = family
        return wanted


class Unresolved(Watcher):
    """Stands in for a watcher while a host of it has no address: down, and says why."""

    frees_kernel_link: ClassVar[bool] = True

    def __init__(self, kind: type[Watcher], config: Any, hosts: list[str]) -> None:
        """`hosts`: those that cannot be resolved now."""
        super().__init__(config, {}, False)
        self.name = kind.name  # type: ignore[misc]  # of the one it stands in for
        self._kind = kind
        self._missing = ", ".join(hosts)

    @property
    def kind(self) -> type[Watcher]:
        return self._kind

    def verdict(self) -> Verdict:
        return Verdict(False, f"{self.name}: cannot resolve host {self._missing}; looked up again and again")
