"""What a scenario needs of a world: links, a kernel, a daemon and a clock, all by name.

The simulated world is in `scenario.simulated`. A world on a real kernel implements the same methods with `ip`, `teamnl` and the control
socket.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from pyteamd.model.desired import OptionKey, OptionValue
from pyteamd.values import dataclass

DEVICE = "team0"
"""The team, where no other is named."""
QUIET_S = 10.0
"""How long nothing must happen for it to be quiet."""


class CommandError(Exception):
    """The command is wrong or cannot be performed here; one line."""


@dataclass(frozen=True, slots=True)
class Happened:
    """One line of output. `kind`: write, refused, denied (a user's request), broken (an invariant), or the level of a note."""

    at: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A frame the daemon sent."""

    at: float
    port: str
    text: str


class Links(ABC):
    """Links of a network namespace, and people and programs who change them behind the back of a daemon.

    Interfaces are known by name. When a method returns, the change has been made.
    """

    team_name = DEVICE
    """The team that is meant, by its device: it is started, asked and told, and it is its options that are set."""

    @abstractmethod
    def set_peer(self, name: str, up: bool) -> None:
        """The far end of the link goes up or down, so the link gains or loses its carrier."""

    @abstractmethod
    def set_admin(self, name: str, up: bool) -> None:
        """`ip link set … up|down`."""

    @abstractmethod
    def set_mtu(self, name: str, octets: int) -> None:
        """`ip link set … mtu …`."""

    @abstractmethod
    def set_mac(self, name: str, mac: bytes) -> None:
        """`ip link set … address …`."""

    @abstractmethod
    def rename(self, name: str, new: str) -> None:
        """`ip link set … name …`, down and up again where the link is up."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """`ip link delete …`."""

    @abstractmethod
    def move_away(self, name: str) -> None:
        """`ip link set … netns …`: the link goes to another namespace."""

    @abstractmethod
    def set_master(self, name: str, team: str) -> None:
        """`ip link set … master …`; "" for nomaster."""

    @abstractmethod
    def set_option(self, key: OptionKey, value: OptionValue) -> None:
        """Another program sets an option of the team. Names: see `ifindex_of`."""

    @abstractmethod
    def make_other(self, name: str, kind: str) -> int:
        """Make a "bridge", "bond", "team" or "tun" (without Ethernet address). Returns its ifindex. LookupError where there is none."""

    @abstractmethod
    def make_upper(self, name: str, lower: str, kind: str) -> int:
        """Make a "vlan", "loose vlan", "macsec", "macvlan" or "ipvlan" on a link. Returns its ifindex. LookupError where there is none."""

    @abstractmethod
    def say(self, name: str, octets: bytes) -> None:
        """The other end of the link `name` sends this frame."""


class World(Links):
    """Links, a kernel, a daemon and a clock. Methods raise CommandError.

    What only a simulation can do has a default that says so.
    """

    @abstractmethod
    def now(self) -> float:
        """Seconds since the world began."""

    @abstractmethod
    def pass_time(self, seconds: float) -> None:
        """Let time pass."""

    @abstractmethod
    def until_quiet(self) -> None:
        """Let time pass until nothing has happened for `QUIET_S`, or nothing can happen any more."""

    @abstractmethod
    def happened(self) -> list[Happened]:
        """What happened since the last call, in order."""

    @abstractmethod
    def make_port(self, name: str, speed_mbps: int, duplex: int) -> None:
        """A link, administratively down, wired to a peer that is up."""

    def remake(self, name: str, times: int) -> None:
        """The link is deleted and made again as `make_port` makes it, as fast as can be."""
        for _ in range(times):
            self.delete(name)
            self.make_port(name, 10000, 1)

    @abstractmethod
    def ifindex_of(self, name: str) -> int:
        """Number of an interface. CommandError when there is none."""

    @abstractmethod
    def start(self, config: str, *, adopt: bool, enslave: bool, keep: bool) -> None:
        """Start the daemon; `adopt` as `-o`, not `enslave` as `-n`, `keep` as `-N`."""

    @abstractmethod
    def serve(self, configs: Mapping[str, str], *, adopt: bool, enslave: bool, keep: bool) -> None:
        """Start one process for many teams: device → configuration. What is wrong with one is reported as happened."""

    @abstractmethod
    def kill(self) -> None:
        """`kill -9` of the process."""

    @abstractmethod
    def stop(self) -> None:
        """Stop the process in good order."""

    @abstractmethod
    def set_item(self, path: str, value: str) -> None:
        """A user sets a state item; refusals are reported as happened."""

    @abstractmethod
    def add_port(self, name: str) -> None:
        """A user adds a port through the daemon."""

    @abstractmethod
    def remove_port(self, name: str) -> None:
        """A user removes a port through the daemon."""

    @abstractmethod
    def port_config(self, name: str, tree: Mapping[str, Any]) -> None:
        """A user updates the configuration of a port."""

    @abstractmethod
    def apply_config(self, config: str) -> None:
        """A user goes over to another configuration; a refusal is reported as happened."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """The daemon's state tree, ifindexes and addresses shown by name."""

    @abstractmethod
    def explain(self) -> list[str]:
        """Why each port carries traffic or does not, without times."""

    @abstractmethod
    def options(self) -> Mapping[tuple[str, str, int], str]:
        """The kernel's options: (name, port's name or "", index) → value in words."""

    @abstractmethod
    def carrier(self) -> bool:
        """Carrier of the team device."""

    def switch_apart(self) -> None:
        """Before all else: the driver has `rx_enabled` and `tx_enabled`."""
        raise CommandError("not in this world")

    def overrun(self) -> None:
        """The kernel loses messages for the daemon."""
        raise CommandError("only in the simulated world")

    def hold(self, family: str, held: bool) -> None:
        """Messages of one netlink family ("link", "team") are delayed."""
        raise CommandError("only in the simulated world")

    def read_in_batches(self, seed: int) -> None:
        """The daemon gets what waits to be read in parts of random sizes."""
        raise CommandError("only in the simulated world")

    def refuse(self, what: str, name: str, times: int | None, number: str) -> None:
        """The kernel refuses a kind of write for this port ("": any); `what` "": no more faults."""
        raise CommandError("only in the simulated world")

    def answer(self, name: str, address: str, on: bool, vlan: int | None) -> None:
        """A host behind this port answers, or no longer answers, for an address."""
        raise CommandError("not in this world")

    def wire(self, name: str, quality: str, amount: float) -> None:
        """The wire of this port: loss or duplicate (0 to 1), delay or jitter (seconds)."""
        raise CommandError("not in this world")

    def switch(self, names: Sequence[str]) -> None:
        """The wires of these ports lead to one switch; hosts of `answer` are then behind the switch."""
        raise CommandError("not in this world")

    def partner(self, name: str, kind: str, changes: Mapping[str, Any]) -> None:
        """A scripted partner at the far end of this port, or one more word to it: fields of LacpPartner ("lacp") or BfdPartner ("bfd")."""
        raise CommandError("not in this world")

    def host(self, name: str, address: str) -> None:
        """The resolver knows a name."""
        raise CommandError("not in this world")

    def sent(self) -> list[Sent]:
        """Frames the daemon sent since the last call."""
        return []

    def diff(self) -> list[str]:
        """Writes that would make the kernel as desired."""
        raise CommandError("not in this world")

    @abstractmethod
    def close(self) -> None:
        """Undo what was made."""
