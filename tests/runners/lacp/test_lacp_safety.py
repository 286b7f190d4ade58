"""A fault of ours costs a port, never the daemon: the port is out of service, the others go on, and the log is told where the trace is."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from lacp_bench import TEAM_MAC, Bench, FakePort

from pyteamd.core.trace import Trace, parse
from pyteamd.daemon.fault_file import MOST, keep_trace
from pyteamd.model.events import Tick
from pyteamd.runners.base import Runner
from pyteamd.runners.lacp.group import Group
from pyteamd.runners.lacp.machines import Attached, Link, Mux
from pyteamd.runners.lacp.membership import IN_SERVICE
from pyteamd.runners.lacp.port import LacpPort
from pyteamd.wire.lacpdu import LacpInfo


@pytest.fixture
def in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults are survived, as in the daemon."""
    monkeypatch.setattr(Runner, "faults_are_fatal", False)


def faults(bench: Bench) -> list[str]:
    return [note for note in bench.notes if "fault of this daemon" in note]


def flap(bench: Bench, ifindex: int) -> None:
    for running in (False, True):
        bench.ports[ifindex].running = running
        bench.changed(ifindex)


class Broken:
    """A partner that cannot be read."""

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError(name)


@pytest.mark.usefixtures("in_production")
def test_a_fault_in_one_port_leaves_the_others_in_service() -> None:
    bench = Bench(FakePort(3), FakePort(4))
    bench.serve()
    bench.runner._group.ports[3].partner = Broken()  # type: ignore[assignment]
    told = LacpInfo(65535, TEAM_MAC, 0, 255, 3, 0x3F)
    bench.said(3)
    bench.hear_about(3, told)
    assert bench.enabled() == {4}
    (last,) = bench.said(3)
    assert not last.actor.state & IN_SERVICE, "it falls silent with a last word"
    for _ in range(4):
        bench.wait(1.0)
        bench.hear(4)
        assert bench.enabled() == {4}
    assert len(faults(bench)) == 1
    assert bench.said(3) == []
    flap(bench, 3)
    bench.serve()


@pytest.mark.usefixtures("in_production")
def test_a_fault_in_speaking_costs_the_port_its_last_word_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(FakePort(3), FakePort(4))
    bench.serve()
    transmit = LacpPort.transmit

    def fails(port: LacpPort, *told: Any) -> bytes:
        if port.ifindex == 3:
            raise ZeroDivisionError("mute")
        return transmit(port, *told)

    monkeypatch.setattr(LacpPort, "transmit", fails)
    bench.wait(1.0)
    for _ in range(3):
        bench.hear(4)
        bench.wait(1.0)
        assert bench.enabled() == {4}
    assert len(faults(bench)) == 1


@pytest.mark.usefixtures("in_production")
def test_a_port_that_never_spoke_has_no_last_word() -> None:
    """Both ends passive: the partner is not told of a port that it has not heard of."""
    bench = Bench(FakePort(3), FakePort(4), active=False)
    bench.runner._group.ports[3].partner = Broken()  # type: ignore[assignment]
    bench.hear_about(3, LacpInfo(65535, TEAM_MAC, 0, 255, 3, 0x3E), state=0x3E)
    assert len(faults(bench)) == 1
    assert bench.said(3) == []


@pytest.mark.usefixtures("in_production")
def test_faults_in_two_ports_at_once_leave_the_third_in_service() -> None:
    """An LACPDU on eth5, which is well, lets all machines look, and those of two others fail one after the other."""
    bench = Bench(FakePort(3), FakePort(4), FakePort(5))
    bench.serve()
    for ifindex in (3, 4):
        bench.runner._group.ports[ifindex].partner = Broken()  # type: ignore[assignment]
    told = LacpInfo(65535, TEAM_MAC, 0, 255, 3, 0x3F)
    for ifindex in (3, 4):
        bench.hear_about(ifindex, told)
    assert bench.enabled() == {5}
    assert len(faults(bench)) == 2
    for ifindex in (3, 4):
        flap(bench, ifindex)
    bench.serve()


@pytest.mark.usefixtures("in_production")
def test_a_fault_that_names_nobody_costs_one_after_the_other_and_never_the_daemon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(FakePort(3), FakePort(4))
    bench.serve()
    select, left = Group._select, [3]

    def fails(group: Group, now: float) -> None:
        if left:
            left[0] -= 1
            if not left[0]:
                left.clear()
            raise ZeroDivisionError("somewhere")
        select(group, now)

    monkeypatch.setattr(Group, "_select", fails)
    left[0] = 2
    bench.hear(3, state=0x3D)
    assert bench.enabled() == set(), "the one that spoke, then the other"
    assert [line.split(":")[0] for line in faults(bench)] == ["eth3", "eth4"]
    for ifindex in (3, 4):
        flap(bench, ifindex)
    bench.serve()


@pytest.mark.usefixtures("in_production")
def test_a_fault_that_never_ends_is_not_tried_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(FakePort(3), FakePort(4))
    bench.serve()

    def fails(group: Group, now: float) -> None:
        raise ZeroDivisionError("always")

    monkeypatch.setattr(Group, "_select", fails)
    with pytest.raises(ZeroDivisionError):
        bench.hear(3, state=0x3D)


@pytest.mark.usefixtures("in_production")
def test_a_port_that_must_not_be_in_service_is_taken_out_and_comes_back_with_its_link() -> None:
    bench = Bench()
    bench.serve()
    port = bench.runner._group.ports[3]
    port.standing = Attached(None, Mux.COLLECTING_DISTRIBUTING)
    bench.runner._unsettled = True
    calls = []

    def settle(group: Group, now: float) -> None:
        calls.append(now)

    original, Group.settle = Group.settle, settle  # type: ignore[method-assign]
    try:
        bench.handle(Tick())
    finally:
        Group.settle = original  # type: ignore[method-assign]
    assert bench.enabled() == {4}
    assert port.link is Link.FAULT
    assert len(faults(bench)) == 1
    assert faults(bench)[0].startswith("eth3: out of service after a fault of this daemon (PortFault: in service, and")
    blocked = bench.runner.blocking(3)
    assert blocked is not None
    assert blocked.reason.value == "fault"
    bench.hear(4)
    bench.wait(2.0)
    assert port.link is Link.FAULT, "not before the link has been down"
    flap(bench, 3)
    bench.serve()


@pytest.mark.usefixtures("in_production")
def test_selection_that_does_not_come_to_rest_costs_the_ports_that_move(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(FakePort(3), FakePort(4))
    bench.serve()
    step = Group._step
    monkeypatch.setattr(
        Group, "_step", lambda group, port, now: step(group, port, now) or (port.ifindex == 3 and port.link is Link.UP)
    )
    bench.hear(3, state=0x3D)
    assert bench.enabled() == {4}
    assert (
        "eth3: out of service after a fault of this daemon (PortFault: LACP selection does not come to rest)"
        in bench.notes
    )


def test_in_tests_a_fault_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.serve()
    monkeypatch.setattr(Group, "_step", lambda group, port, now: True)
    with pytest.raises(AssertionError, match="does not come to rest"):
        bench.hear(3, state=0x3D)


def test_the_trace_is_kept_in_a_file_that_can_be_replayed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trace = Trace({"config": "{}"})
    log = logging.getLogger("test.lacp.safety")
    for _ in range(MOST + 2):
        keep_trace("eth1: out of service", trace, f"{tmp_path}/team0", log)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [f"team0.fault{number}.jsonl" for number in range(1, MOST + 1)]
    parse((tmp_path / files[0]).read_text().splitlines())
    assert f"what led to it is in {tmp_path}/team0.fault1.jsonl" in caplog.text
    keep_trace("eth1: out of service", trace, f"{tmp_path}/absent/team0", log)
    assert "absent/team0.fault1.jsonl: No such file or directory" in caplog.text
    keep_trace("eth1: out of service", trace, None, log)
    assert "trace save" in caplog.text
