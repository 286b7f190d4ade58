"""What the contract suite of the Kernel interface needs of a world beside links and people who change them.

One suite (test_contract.py) runs against the simulated kernel (sim_world.py) and, inside the lab, against the real team
driver (real_world.py). A ContractWorld owns the kernel under test, and does behind its back what administrators, switches and other
programs do. When a method returns, the change has been made; its events may still be on their way.
"""

from __future__ import annotations

from abc import abstractmethod

from pyteamd.kernel.api import Kernel
from pyteamd.model.desired import OptionKey, OptionValue
from pyteamd.scenario.world import Links


class ContractWorld(Links):
    """One network namespace, empty but for a loopback link "lo", and the kernel under test in it."""

    kernel: Kernel

    @abstractmethod
    def make_link(self, name: str) -> int:
        """Make a link, administratively down, wired to a peer that is up. Returns its ifindex.

        So it has IFF_RUNNING as soon as `set_admin(name, True)` was called or a team opened it. The peer is in no
        dump: it lives in another network namespace. The link's own address is unicast and different from all others.
        """

    @abstractmethod
    def set_altname(self, name: str, other: str) -> None:
        """`ip link property add dev NAME altname OTHER`."""

    @abstractmethod
    def get_option(self, key: OptionKey) -> OptionValue:
        """`teamnl team0 getoption …`: the option as another program sees it. LookupError when there is none."""

    @abstractmethod
    def lose_events(self, team: int) -> None:
        """Fill the receive buffers of the kernel under test until it loses messages.

        From then on everything that happens is lost too, until `kernel.events()` has been called again, which must
        report an Overrun. `team` is a watched team; afterwards its `notify_peers_interval` has an arbitrary value.
        """

    @abstractmethod
    def close(self) -> None:
        """Delete what was made, and close the kernel."""
