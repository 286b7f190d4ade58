"""A fault of ours in a daemon that carries traffic costs one port: safe state, a trace in a file, one line in the log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trio
from daemon_kit import Lab, Running, quiet

from pyteamd.runners.base import Runner
from pyteamd.runners.lacp.group import Group, PortFault
from pyteamd.runners.lacp.port import LacpPort
from pyteamd.scenario.replay import Divergence, replay
from pyteamd.sim.lacp_partner import LacpPartner
from pyteamd.wire.lacpdu import SYNCHRONIZATION

LACP = {"runner": {"name": "lacp", "fast_rate": True}, "ports": {"eth1": {}, "eth2": {}}}


@pytest.fixture
def in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults are survived, as in the daemon of a user."""
    monkeypatch.setattr(Runner, "faults_are_fatal", False)


async def in_service(lab: Lab) -> tuple[Running, dict[int, LacpPartner]]:
    """A team with both ports in service, and what is at their other ends."""
    partners = {number: LacpPartner(number) for number in (1, 2)}
    for number, partner in partners.items():
        end = lab.link(f"eth{number}").peer
        assert end is not None
        lab.kernel.net.attach(end, partner)
    daemon = await lab.start(lab.plan(LACP, snapshot_stem=f"{lab.directory}/team0"))
    lab.kernel.set_up(lab.link("team0").ifindex, True)
    await trio.sleep(5)
    assert enabled(lab) == (True, True)
    return daemon, partners


def enabled(lab: Lab) -> tuple[object, object]:
    return lab.option("enabled", "eth1"), lab.option("enabled", "eth2")


def told_again(path: str) -> Divergence | None:
    """Where today's code without the fault decides otherwise than the trace has it."""
    _, difference = replay(Path(path).read_text().splitlines())
    return difference


def broken_machine(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> None:
    """An LACPDU on eth1 meets a fault, once."""
    hear, faults = LacpPort.hear, [ZeroDivisionError("on purpose")]

    def meets_it(port: LacpPort, *told: Any) -> bool:
        if port.name == "eth1" and faults:
            raise faults.pop()
        return hear(port, *told)

    monkeypatch.setattr(LacpPort, "hear", meets_it)


def broken_promise(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> None:
    """What must hold of eth1 does not, once."""
    settle, faults = Group._select, [PortFault("on purpose", [lab.link("eth1").ifindex])]

    def meets_it(group: Group, now: float) -> None:
        if faults:
            raise faults.pop()
        settle(group, now)

    monkeypatch.setattr(Group, "_select", meets_it)


@pytest.mark.slow
@pytest.mark.usefixtures("in_production")
@pytest.mark.parametrize("fault", [broken_machine, broken_promise])
async def test_it_costs_one_port_and_the_log_names_the_file_of_the_trace(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    daemon, partners = await in_service(lab)
    daemon.fault_expected = True
    fault(monkeypatch, lab)
    partners[1].state ^= 0x02  # news, so that all machines look
    await trio.sleep(2)
    assert enabled(lab) == (False, True)
    assert not partners[1].heard[-1][1].actor.state & SYNCHRONIZATION, "the partner does not count on it any more"
    assert lab.kernel.find_link("team0").carrier is True  # type: ignore[union-attr]
    (line,) = [line for line in daemon.lines if "bug" in line]
    path = f"{lab.directory}/team0.fault1.jsonl"
    assert line.startswith("eth1: out of service after a fault of this daemon (")
    assert line.endswith(f"this is a bug, please report it: what led to it is in {path}")
    assert os.stat(path).st_mode & 0o777 == 0o600
    difference = told_again(path)
    assert difference is not None, "told again without the fault, it ends differently"
    assert any(note.fault for note in difference.entry.outputs.notes), "and not before the fault"

    heard = len(partners[2].heard)
    await trio.sleep(10)
    assert len(partners[2].heard) >= heard + 9, "the daemon goes on, and the other port is spoken to"
    assert (await daemon.state())["ports"]["eth1"]["runner"]["details"]["blocked_by"] == "fault"
    assert enabled(lab) == (False, True)

    for up in (False, True):
        lab.cut("eth1", up)
        await trio.sleep(4)
    assert enabled(lab) == (True, True), "back when its link has been down"
    assert [line for line in daemon.lines if "bug" in line] == [line]


async def test_in_tests_it_ends_the_daemon(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon, partners = await in_service(lab)
    daemon.crash_expected = True
    broken_machine(monkeypatch, lab)
    partners[1].state ^= 0x02
    await trio.sleep(2)
    await quiet()
    assert daemon.crash is not None
