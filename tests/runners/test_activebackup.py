"""Port choice of activebackup: a total order, sticky ports, the user's word, and the three address policies."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import pytest

from pyteamd.model.desired import Observed, OptionKey
from pyteamd.model.errors import UserError
from pyteamd.model.events import PortSeen, Tick
from pyteamd.runners.activebackup import ActiveBackup, ActiveBackupConfig, ActiveBackupPortConfig
from pyteamd.runners.base import TeamView

TEAM = 9
TEAM_MAC = b"\x02\0\0\0\0\x09"


@dataclass(frozen=True)
class FakePort:
    """A PortView with nothing behind it."""

    ifindex: int
    up: bool = True
    priority: int = 0
    speed_mbps: int = 1000
    duplex: int = 1
    sticky: bool = False
    mac: bytes = b""
    running: bool = True
    original_mac: bytes = b""
    speed_unknown: bool = False
    gated: bool = False
    damped: bool = False
    settling: bool = False
    unmeasured: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def name(self) -> str:
        return f"eth{self.ifindex}"

    @property
    def config(self) -> ActiveBackupPortConfig:
        return ActiveBackupPortConfig(sticky=self.sticky)


@dataclass
class Bench:
    """A runner and the ports it sees."""

    policy: str = "same_all"
    ports: dict[int, FakePort] = field(default_factory=dict)
    observed: Observed = field(default_factory=Observed)
    adopted: bool = False
    order: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.runner = ActiveBackup(ActiveBackupConfig(hwaddr_policy=self.policy))

    @property
    def view(self) -> TeamView:
        ports = dict(sorted(self.ports.items()))
        return TeamView(TEAM, TEAM_MAC, True, ports, self.observed, self.adopted, order=self.order)

    def put(self, *ports: FakePort, now: float = 0.0) -> int | None:
        """Show the runner these ports (new or changed); returns the active one."""
        self.ports.update({port.ifindex: port for port in ports})
        self.runner.handle(Tick(), self.view, now)
        return self.runner.active

    def change(self, ifindex: int, **values: object) -> int | None:
        return self.put(replace(self.ports[ifindex], **values))  # type: ignore[arg-type]

    def drop(self, ifindex: int) -> int | None:
        del self.ports[ifindex]
        return self.put()


CANDIDATES = [
    FakePort(0, priority=prio, speed_mbps=speed, duplex=duplex)
    for prio, speed, duplex in itertools.product((-10, 0, 100), (0, 1000, 10000), (0, 1, 255))
]


def test_the_best_port_is_found_whatever_the_order() -> None:
    for left, right in itertools.permutations(CANDIDATES, 2):
        a, b = replace(left, ifindex=1), replace(right, ifindex=2)
        keys = [(p.priority, p.speed_mbps, p.duplex == 1) for p in (a, b)]
        if keys[0] == keys[1]:
            continue
        best = 1 if keys[0] > keys[1] else 2
        assert Bench().put(a, b) == best
        for first, second in ((a, b), (b, a)):
            bench = Bench()
            bench.put(first)
            assert bench.put(second) == best, (a, b)


@pytest.mark.parametrize(
    ("steps", "active"),
    [
        # the present port wins ties
        (["1", "2"], 1),
        (["2", "1"], 2),
        (["2", "1", "2 down"], 1),
        (["2", "1", "2 down", "2 up"], 1),
        # several equal ones: lowest ifindex
        (["1", "2", "3", "1 down"], 2),
        # a sticky port stays while it is up, and does not return by itself
        (["1 sticky", "2 prio 100"], 1),
        (["1 sticky", "2 prio 100", "1 down"], 2),
        (["1 sticky", "2 prio 100", "1 down", "1 up"], 2),
        (["2 prio 100", "1 sticky prio 200"], 1),
        (["2 prio 100", "1 sticky prio 200", "2 prio 300"], 1),
        # nobody up, nobody active
        (["1", "2", "1 down", "2 down"], None),
        (["1", "2", "1 down", "2 down", "2 up"], 2),
        (["1", "gone 1"], None),
        (["1", "2", "gone 1"], 2),
        # values that change
        (["1", "2", "2 prio 1"], 2),
        (["1 prio 1", "2", "1 prio -1"], 2),
    ],
)
def test_choice(steps: list[str], active: int | None) -> None:
    bench = Bench()
    for step in steps:
        words = step.split()
        if words[0] == "gone":
            bench.drop(int(words[1]))
            continue
        ifindex = int(words[0])
        values: dict[str, object] = {"ifindex": ifindex}
        values |= {"sticky": True} if "sticky" in words else {}
        values |= {"priority": int(words[words.index("prio") + 1])} if "prio" in words else {}
        values |= {"up": "down" not in words}
        bench.put(replace(bench.ports.get(ifindex, FakePort(ifindex)), **values))  # type: ignore[arg-type]
    assert bench.runner.active == active
    assert bench.runner.broken(bench.view) == []


def test_the_users_choice_stands_until_something_changes() -> None:
    bench = Bench()
    assert bench.put(FakePort(1, priority=10), FakePort(2), FakePort(3, up=False)) == 1
    bench.runner.set("active_port", "eth2", bench.view, 0.0)
    assert bench.put() == 2
    assert bench.change(3, speed_mbps=10) == 1
    bench.runner.set("active_port", "eth3", bench.view, 0.0)
    assert bench.put() == 3
    assert bench.runner.broken(bench.view) == []
    assert bench.change(2, up=False) == 1


@pytest.mark.parametrize("value", ["eth7", ""])
def test_bad_settings(value: str) -> None:
    bench = Bench()
    bench.put(FakePort(1))
    with pytest.raises(UserError) as caught:
        bench.runner.set("active_port", value, bench.view, 0.0)
    assert caught.value.code == "ItemValueSetFail"
    assert bench.runner.active == 1


@pytest.mark.parametrize(
    ("enabled", "up", "prio_of_other", "active"),
    [(True, True, 0, 2), (True, True, 5, 1), (False, True, 0, 1), (True, False, 0, 1)],
)
def test_take_over_keeps_the_kernels_port_if_it_is_as_good(
    enabled: bool, up: bool, prio_of_other: int, active: int
) -> None:
    observed = Observed(options={OptionKey("activeport"): 2, OptionKey("enabled", 2): enabled})
    bench = Bench(observed=observed, adopted=True)
    assert bench.put(FakePort(1, priority=prio_of_other), FakePort(2, up=up)) == active


def test_desired_options() -> None:
    bench = Bench()
    bench.put(FakePort(1), FakePort(2))
    options = bench.runner.desired(bench.view).options
    assert options == {OptionKey("enabled", 1): True, OptionKey("enabled", 2): False, OptionKey("activeport"): 1}
    bench.put(FakePort(1, up=False), FakePort(2, up=False))
    options = bench.runner.desired(bench.view).options
    assert options == {OptionKey("enabled", 1): False, OptionKey("enabled", 2): False}


OWN = {1: b"\x02\0\0\0\0\x01", 2: b"\x02\0\0\0\0\x02"}


@pytest.mark.parametrize(
    ("policy", "first", "second"),
    [
        ("same_all", {1: TEAM_MAC, 2: TEAM_MAC}, {1: TEAM_MAC, 2: TEAM_MAC}),
        ("by_active", {TEAM: OWN[1]}, {TEAM: OWN[2]}),
        ("only_active", {1: TEAM_MAC, 2: OWN[2]}, {1: OWN[1], 2: TEAM_MAC}),
    ],
)
def test_addresses_follow_the_policy(policy: str, first: dict[int, bytes], second: dict[int, bytes]) -> None:
    bench = Bench(policy=policy)
    bench.put(*(FakePort(i, mac=mac, up=False) for i, mac in OWN.items()))
    bench.put(FakePort(1, mac=OWN[1]), FakePort(2, mac=OWN[2]))
    assert bench.runner.active == 1
    assert bench.runner.desired(bench.view).macs == first
    lent = TEAM_MAC if policy == "only_active" else OWN[1]
    bench.put(FakePort(1, mac=lent, up=False))
    assert bench.runner.active == 2
    assert bench.runner.desired(bench.view).macs == second


def test_what_was_judged_is_only_what_counts() -> None:
    bench = Bench()
    bench.put(FakePort(1), FakePort(2))
    bench.runner.outbox.take()
    bench.change(2, mac=b"\x02\0\0\0\0\x77")
    assert bench.runner.outbox.take() == ([], [])


def test_speed_leads_to_nothing_unless_the_choice_changes() -> None:
    bench = Bench()
    bench.put(FakePort(1, speed_mbps=1000), FakePort(2, speed_mbps=100))
    seen = PortSeen(2, True, 100, 1)
    assert bench.runner.handle(seen, bench.view, 0.0) is False
    assert bench.runner.handle(Tick(), bench.view, 0.0) is not False, "anything else may have moved an address"
    bench.ports[2] = replace(bench.ports[2], speed_mbps=10_000)
    assert bench.runner.handle(replace(seen, speed_mbps=10_000), bench.view, 0.0) is not False
    assert bench.runner.active == 2


@pytest.mark.parametrize(("order", "wanted"), [(("eth1", "eth2"), 1), (("eth2", "eth1"), 2)])
def test_first_choice_of_equal_ports_is_the_configurations_whichever_comes_up_first(
    order: tuple[str, str], wanted: int
) -> None:
    one, two = (FakePort(number, up=False, running=False) for number in (1, 2))
    for quick, slow in ((one, two), (two, one)):
        made = Bench(order=order)
        assert made.put(replace(quick, settling=True), replace(slow, settling=True)) is None
        assert made.put(replace(quick, up=True), replace(slow, settling=True)) is None
        assert made.runner.broken(made.view) == []
        assert made.put(replace(quick, up=True), replace(slow, up=True)) == wanted
        assert made.runner.deadline() is None


def test_first_choice_does_not_wait_for_a_cable_nor_long() -> None:
    up, cut = FakePort(2), FakePort(1, up=False, running=False)
    assert Bench().put(up, cut) == 2
    made = Bench()
    assert made.put(up, replace(cut, settling=True)) is None
    until = made.runner.deadline()
    assert until is not None
    assert made.put(now=until - 0.001) is None
    assert made.put(now=until) == 2
    assert made.put(FakePort(1)) == 2, "the active port stays"


@pytest.mark.parametrize(("speed_mbps", "wanted"), [(1000, 2), (40000, 1)])
def test_after_a_standstill_what_waits_in_the_socket_is_read_before_the_first_choice(
    speed_mbps: int, wanted: int
) -> None:
    made = Bench(order=("eth2", "eth1"))
    assert made.put(FakePort(2), FakePort(1, speed_mbps=0, duplex=0, unmeasured=True)) is None
    assert made.put(now=9.0) is None
    assert made.put(FakePort(1, speed_mbps=speed_mbps), now=9.0) == wanted


def test_first_choice_wants_to_know_how_fast_ports_are_only_where_there_are_several() -> None:
    untold = FakePort(1, speed_mbps=0, duplex=0, unmeasured=True)
    assert Bench().put(untold) == 1
    made = Bench(order=("eth1", "eth2"))
    assert made.put(FakePort(2), untold) is None
    assert made.put(FakePort(1)) == 1


def test_nothing_is_awaited_when_a_team_is_taken_over() -> None:
    made = Bench(adopted=True)
    assert made.put(FakePort(2), FakePort(1, up=False, running=False, settling=True)) == 2


def test_a_wait_that_lost_its_port_asks_for_no_more_time() -> None:
    up, settling = FakePort(2), FakePort(1, up=False, running=False, settling=True)
    made = Bench()
    assert made.put(up, settling) is None
    assert made.put(replace(up, up=False), replace(settling, settling=False), now=0.2) is None
    assert made.runner.deadline() is None
    assert made.put(up, replace(settling), now=7.0) is None
    assert made.runner.deadline() == 7.5
    made.drop(1)
    made.drop(2)
    assert made.runner.deadline() is None


def test_what_a_user_sets_while_the_first_choice_waits_stands() -> None:
    made = Bench()
    assert made.put(FakePort(2), FakePort(1, priority=100), FakePort(3, up=False, running=False, settling=True)) is None
    made.runner.set("active_port", "eth2", made.view, 0.1)
    assert made.put(now=1.0) == 2
    assert made.runner.chosen_by_user


@pytest.mark.parametrize(("order", "wanted"), [(("eth1", "eth2", "eth3"), 1), (("eth2", "eth1", "eth3"), 3), ((), 1)])
def test_a_sticky_port_stays_only_before_those_that_the_configuration_names_later(
    order: tuple[str, ...], wanted: int
) -> None:
    made = Bench(order=order)
    sticky, better, best = FakePort(1, priority=-10, sticky=True), FakePort(2), FakePort(3, priority=100)
    assert made.put(sticky, better, best) == wanted
