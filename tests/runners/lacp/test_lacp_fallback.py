"""Ports that carry traffic without a partner: only an LACPDU ends it, not a link that comes up, and not a restart of the daemon."""

from __future__ import annotations

import json

import pytest
from lacp_bench import Bench, FakePort

from pyteamd.model.events import Resync

DELAY_MS = 10_000


def turn(bench: Bench, ifindex: int, running: bool) -> None:
    bench.ports[ifindex].running = running
    bench.changed(ifindex)


def each_second(bench: Bench, seconds: int) -> list[set[int]]:
    """What carries traffic at the end of each."""
    seen = []
    for _ in range(seconds):
        bench.wait(1.0)
        seen.append(bench.enabled())
    return seen


@pytest.mark.parametrize("kind", ["static", "individual"])
def test_a_link_that_comes_back_to_a_partner_that_is_silent_does_not_end_it(kind: str) -> None:
    """A switch that spoke LACP is started again as one that does not, and its links come up one after the other."""
    bench = Bench(FakePort(3), FakePort(4), fallback=kind, fallback_delay=DELAY_MS)
    bench.serve()
    for ifindex in (3, 4):
        turn(bench, ifindex, running=False)
    bench.wait(1.0)
    turn(bench, 4, running=True)
    assert each_second(bench, 14)[-1] == {4}
    turn(bench, 3, running=True)
    carried = each_second(bench, 20)
    assert all(carried), f"nothing carried traffic for a while: {carried}"
    assert carried[-1] == ({3} if kind == "individual" else {3, 4})
    bench.hear(3)
    assert bench.enabled() == set(), "an LACPDU ends it"


def test_a_partner_that_was_heard_lately_is_waited_for_before_it_begins() -> None:
    bench = Bench(FakePort(3), FakePort(4), fallback="static")
    bench.serve()
    turn(bench, 3, running=False)
    bench.wait(4.0)
    turn(bench, 3, running=True)
    seen = each_second(bench, 4)
    assert seen[:2] == [set(), set()], "link 4 is given up, the partner of link 3 may speak yet"
    assert seen[-1] == {3, 4}


@pytest.mark.parametrize(("age_s", "goes_on"), [(0.3, True), (60.0, False)])
def test_a_successor_does_not_wait_for_what_has_begun(age_s: float, goes_on: bool) -> None:
    before = Bench(FakePort(3), FakePort(4), fallback="static", fallback_delay=DELAY_MS)
    before.wait(20.0)
    assert before.enabled() == {3, 4}
    left = json.loads(json.dumps(before.runner.snapshot(before.now)))
    bench = Bench(FakePort(3), FakePort(4), start=False, adopted=True, fallback="static", fallback_delay=DELAY_MS)
    bench.runner.resume(left, age_s, bench.now)
    bench.handle(Resync((), (), ()))
    assert (bench.enabled() == {3, 4}) is goes_on, "an old picture is not believed, and silence has to be seen first"
    assert each_second(bench, 14)[-1] == {3, 4}
    assert bench.runner.deadline() is not None


@pytest.mark.parametrize(
    ("first", "awaited"), [((3, 4), ()), ((), (3, 4)), ((), ()), ((4,), (3,))], ids=["known", "both", "none yet", "one"]
)
def test_a_successor_goes_on_whatever_its_ports_are_like_at_first(
    first: tuple[int, ...], awaited: tuple[int, ...]
) -> None:
    """A port that comes back to a partner that is silent, and ports that wait for the name of a host, made it wait once more."""
    before = Bench(FakePort(3), FakePort(4), fallback="static", fallback_delay=DELAY_MS)
    before.serve()
    turn(before, 4, running=False)
    before.wait(30.0)
    turn(before, 4, running=True)
    assert before.enabled() == {3}
    left = json.loads(json.dumps(before.runner.snapshot(before.now)))
    assert left["ports"]["eth4"]["state"] == "expired"
    bench = Bench(FakePort(3), FakePort(4), start=False, adopted=True, fallback="static", fallback_delay=DELAY_MS)
    bench.runner.resume(left, 0.3, bench.now)
    bench.view.ports, bench.view.awaited = {i: bench.ports[i] for i in first}, awaited
    bench.handle(Resync((), (), ()))
    if 3 not in first:
        bench.wait(1.0)
        assert bench.runner.snapshot(bench.now)["in_fallback"], "one more restart goes on, too"
        deadline = bench.runner.deadline()
        assert deadline is None or deadline > bench.now
        bench.view.awaited = ()
        bench.present(3, 4)
    assert 3 in bench.enabled()
    assert all(3 in carried for carried in each_second(bench, 6))
    assert bench.enabled() == {3, 4}
    bench.hear(3)
    assert bench.enabled() == set(), "an LACPDU ends it"
