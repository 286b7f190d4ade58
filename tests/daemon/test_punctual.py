"""lacp in a running daemon: LACPDUs keep their rhythm while the kernel stalls, and the next daemon goes on where one was killed."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import trio
from daemon_kit import Lab, RecordingKernel, Running, quiet

from pyteamd.daemon.snapshot_file import SnapshotFile
from pyteamd.daemon.team_server import TeamPlan
from pyteamd.model.desired import SetMember, Write
from pyteamd.model.events import FrameSeen, Refused
from pyteamd.sim.lacp_partner import LacpPartner
from pyteamd.sim.net import SimSocket
from pyteamd.wire import ethernet, lacpdu

LACP = {"runner": {"name": "lacp", "fast_rate": True}, "ports": {"eth1": {}, "eth2": {}}}
ROUNDS = 1000
ACTIVE_ALONE = lacpdu.ACTIVITY | lacpdu.TIMEOUT | lacpdu.AGGREGATION


class Stalling(RecordingKernel):
    """Takes no write while the gate is closed."""

    may_stall = True

    def __init__(self) -> None:
        super().__init__()
        self.gate = Event()
        self.gate.set()
        self.problem: Exception | None = None

    def apply(self, team: int, writes: Sequence[Write]) -> tuple[Refused, ...]:
        assert self.gate.wait(60)
        if self.problem is not None:
            raise self.problem
        return super().apply(team, writes)


@pytest.fixture
def kernel(lab: Lab) -> Stalling:
    """The lab's kernel, one that can stall."""
    lab.kernel = Stalling()
    for number in (1, 2):
        lab.kernel.add_pair(f"eth{number}", f"peer{number}")
    lab.nursery.start_soon(lab.run_net)
    return lab.kernel


def plan(lab: Lab, **changes: Any) -> TeamPlan:
    return lab.plan(LACP, snapshot_stem=f"{lab.directory}/team0", **changes)


def pauses(partner: LacpPartner, since: float) -> list[float]:
    """Times between the LACPDUs it heard."""
    moments = [at for at, _ in partner.heard if at >= since]
    return [later - earlier for earlier, later in pairwise(moments)]


def partners(lab: Lab) -> list[LacpPartner]:
    made = [LacpPartner(number, every=None) for number in (1, 2)]
    for partner in made:
        end = lab.link(f"eth{partner.number}").peer
        assert end is not None
        lab.kernel.net.attach(end, partner)
    return made


async def in_service(lab: Lab, **changes: Any) -> Running:
    """A team whose ports are both in service."""
    daemon = await lab.start(plan(lab, **changes))
    lab.kernel.set_up(lab.link("team0").ifindex, True)
    await trio.sleep(5)
    assert (lab.option("enabled", "eth1"), lab.option("enabled", "eth2")) == (True, True)
    assert lab.kernel.find_link("team0").carrier is True  # type: ignore[union-attr]
    return daemon


async def test_lacpdus_keep_their_rhythm_while_a_write_stalls(lab: Lab, kernel: Stalling) -> None:
    first, second = partners(lab)
    daemon = await in_service(lab)
    kernel.gate.clear()
    lab.cut("eth2")
    began = trio.current_time()
    await trio.sleep(60)
    assert len(pauses(first, began)) >= 58
    assert pauses(first, began) == pytest.approx([1.0] * len(pauses(first, began)), abs=0.05)
    assert lab.option("enabled", "eth2") is True, "the write is under way"
    assert (await daemon.state())["ports"]["eth2"]["runner"]["state"] == "disabled"
    kernel.gate.set()
    for _ in range(ROUNDS):
        if lab.option("enabled", "eth2") is False:
            break
        await trio.sleep(1)
    await quiet()
    assert lab.option("enabled", "eth2") is False
    lab.cut("eth2", up=True)
    await trio.sleep(5)
    assert lab.option("enabled", "eth2") is True
    assert second.heard[-1][1].actor.state == 0x3F


async def test_where_no_thread_can_be_had_the_event_loop_writes(lab: Lab, kernel: Stalling) -> None:
    partners(lab)
    usual = threading.stack_size(1 << 47)  # more than there are addresses
    try:
        await in_service(lab)
    finally:
        threading.stack_size(usual)
    lab.cut("eth2")
    await quiet()
    assert lab.option("enabled", "eth2") is False


async def test_a_frame_that_cannot_be_read_costs_no_port(
    lab: Lab, kernel: Stalling, monkeypatch: pytest.MonkeyPatch
) -> None:
    partners(lab)
    read, problems = SimSocket.read, [errno.ENOMEM, errno.EIO]

    def fails(socket: SimSocket) -> list[FrameSeen]:
        if len(problems) and trio.current_time() > begun + 5:
            raise OSError(problems.pop(), "no frame")
        return read(socket)

    begun = trio.current_time()
    monkeypatch.setattr(SimSocket, "read", fails)
    daemon = await in_service(lab)
    await trio.sleep(3)
    assert problems == []
    assert [line for line in daemon.lines if "cannot be read" in line] != []
    assert (lab.option("enabled", "eth1"), lab.option("enabled", "eth2")) == (True, True)


async def test_lost_messages_are_read_again_when_the_write_is_done(lab: Lab, kernel: Stalling) -> None:
    partners(lab)
    daemon = await in_service(lab)
    kernel.gate.clear()
    lab.cut("eth2")
    await quiet()
    kernel.dumps = 0
    kernel.lose_events()
    await quiet()
    assert kernel.dumps == 0
    kernel.gate.set()
    for _ in range(ROUNDS):
        if kernel.dumps:
            break
        await trio.sleep(1)
    assert kernel.dumps == 1
    assert (await daemon.state())["ports"]["eth2"]["link"]["up"] is False


async def test_a_fault_in_the_writing_thread_ends_the_daemon(lab: Lab, kernel: Stalling) -> None:
    partners(lab)
    daemon = await in_service(lab)
    daemon.crash_expected = True
    kernel.problem = ZeroDivisionError()
    lab.cut("eth2")
    await daemon.ended.wait()
    assert daemon.crash is not None
    assert daemon.crash.split(ZeroDivisionError)[0] is not None
    kernel.problem = None


async def test_a_fault_while_it_is_written_ahead_ends_the_daemon(lab: Lab) -> None:
    daemon = await lab.start()
    await trio.sleep(1)
    daemon.crash_expected = True
    (pump,) = daemon.reader.pumps.values()

    def broken(events: object) -> bool:
        raise ZeroDivisionError

    pump.write_ahead = broken  # type: ignore[method-assign]
    lab.cut("eth1")
    await daemon.ended.wait()
    assert daemon.crash is not None
    assert daemon.crash.split(ZeroDivisionError)[0] is not None


def saved_ports(path: str) -> set[str]:
    """Ports the file tells of."""
    return set(json.loads(Path(path).read_text())["snapshot"]["ports"])


async def crash(daemon: Running) -> None:
    """The daemon is gone without having done anything in good order."""
    daemon.scope.cancel()
    await daemon.ended.wait()


async def test_a_successor_writes_nothing_and_its_first_lacpdu_is_right(lab: Lab, kernel: Stalling) -> None:
    there = partners(lab)
    await crash(await in_service(lab))
    kernel.performed.clear()
    for partner in there:
        partner.heard.clear()
    successor = await lab.start(plan(lab, take_over=True))
    await trio.sleep(10)
    assert kernel.performed == []
    for partner in there:
        _, first = partner.heard[0]
        assert first.actor.state == 0x3F
        assert first.partner == partner.actor
    assert not [line for line in successor.lines if "Changed port state" in line or "out of service" in line]


async def test_the_file_goes_with_the_device_and_stays_with_it(lab: Lab, kernel: Stalling) -> None:
    path = f"{lab.directory}/team0.lacp.json"
    partners(lab)
    daemon = await in_service(lab, keep=True)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert await daemon.stop() == 0
    assert os.listdir(lab.directory) == ["team0.lacp.json"]
    successor = await lab.start(plan(lab, take_over=True))
    assert await successor.stop() == 0
    assert os.listdir(lab.directory) == []


async def test_a_touch_with_each_lacpdu_says_that_we_live(lab: Lab, kernel: Stalling) -> None:
    path = f"{lab.directory}/team0.lacp.json"
    partners(lab)
    daemon = await in_service(lab)
    written = os.stat(path)
    await trio.sleep(1.2)
    touched = os.stat(path)
    assert touched.st_ino == written.st_ino, "not written again"
    assert touched.st_mtime_ns > written.st_mtime_ns
    os.unlink(path)
    await trio.sleep(1.2)
    assert saved_ports(path) == {"eth1", "eth2"}
    assert await daemon.stop() == 0


async def test_a_team_that_goes_over_to_lacp_is_punctual_from_then_on(lab: Lab, kernel: Stalling) -> None:
    path = f"{lab.directory}/team0.lacp.json"
    daemon = await lab.start(lab.plan({"runner": {"name": "roundrobin"}}, snapshot_stem=f"{lab.directory}/team0"))
    first, _ = partners(lab)
    assert json.loads(await daemon.call("ConfigApply", json.dumps(LACP), "apply"))["applied"]
    lab.kernel.set_up(lab.link("team0").ifindex, True)
    await trio.sleep(5)
    assert saved_ports(path) == {"eth1", "eth2"}
    kernel.gate.clear()
    lab.cut("eth2")
    began = trio.current_time()
    await trio.sleep(10)
    assert pauses(first, began) == pytest.approx([1.0] * len(pauses(first, began)), abs=0.05)
    kernel.gate.set()
    for _ in range(ROUNDS):
        if lab.option("enabled", "eth2") is False:
            break
        await trio.sleep(1)
    for port in ("eth1", "eth2"):
        await daemon.call("PortRemove", port)
    assert json.loads(await daemon.call("ConfigApply", '{"runner": {"name": "broadcast"}}', "apply"))["applied"]
    await trio.sleep(1)
    assert "team0.lacp.json" not in os.listdir(lab.directory)
    await daemon.call("PortAdd", "eth1")
    assert lab.option("mode") == "broadcast"
    assert await daemon.stop() == 0


class Clock:
    """CLOCK_BOOTTIME of a test."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Receiver:
    """A runner as far as files go."""

    revision = 1

    def __init__(self) -> None:
        self.resumed: list[tuple[object, float]] = []

    def snapshot(self, now: float) -> dict[str, Any]:
        return {"ports": {}}

    def resume(self, snapshot: object, age_s: float, now: float) -> None:
        self.resumed.append((snapshot, age_s))


DAMAGE = {
    "empty": "",
    "half": '{"boot": "b", "ifin',
    "not an object": "[]",
    "no snapshot": '{"boot": "b", "ifindex": 9}',
    "deep": "[" * 100_000,
    "too long": "x" * ((1 << 22) + 1),
    "other boot": '{"boot": "a", "ifindex": 9, "snapshot": {}}',
    "other device": '{"boot": "b", "ifindex": 8, "snapshot": {}}',
}
REASONS = {
    "too long": "too long",
    "other boot": "from before the machine was started",
    "other device": "about another device",
}


@pytest.mark.parametrize("what", list(DAMAGE))
async def test_a_bad_file_is_one_line_in_the_log(what: str, lab: Lab) -> None:
    log = (await lab.start()).log
    lines = lab.daemons[0].lines
    lines.clear()
    path = lab.directory / "file"
    path.write_text(DAMAGE[what])
    os.utime(path, (999, 999))
    receiver = Receiver()
    SnapshotFile(str(path), 9, log, clock=Clock(), boot="b").hand_over(receiver, 0.0)  # type: ignore[arg-type]
    assert lines == [f"{path} is ignored: {REASONS.get(what, 'damaged')}"]
    assert receiver.resumed == []


@pytest.mark.parametrize(("written", "boot"), [("", "b"), ("b", "")])
async def test_where_one_of_them_did_not_know_the_boot_the_file_is_good(
    written: str, boot: str, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unit that shows only processes in /proc, and a daemon without such a unit, follow each other."""
    monkeypatch.setattr("pyteamd.daemon.snapshot_file.boot_id", lambda: boot)
    path = lab.directory / "file"
    path.write_text(json.dumps({"boot": written, "ifindex": 9, "snapshot": {"a": 1}}))
    os.utime(path, (999, 999))
    receiver = Receiver()
    SnapshotFile(str(path), 9, (await lab.start()).log, clock=Clock()).hand_over(receiver, 0.0)  # type: ignore[arg-type]
    assert [snapshot for snapshot, _ in receiver.resumed] == [{"a": 1}]


async def test_age_counts_from_the_last_sign_of_life(lab: Lab) -> None:
    log, clock, receiver = (await lab.start()).log, Clock(), Receiver()
    lines = lab.daemons[0].lines
    lines.clear()
    path = str(lab.directory / "file")
    snapshot = SnapshotFile(path, 9, log, clock=clock, boot="b")
    snapshot.hand_over(receiver, 0.0)  # type: ignore[arg-type]
    assert (lines, receiver.resumed) == ([], []), "no file is nothing to talk about"
    snapshot.update(receiver, 0.0)  # type: ignore[arg-type]
    clock.now_s += 2.0
    snapshot.update(receiver, 0.0)  # type: ignore[arg-type]
    clock.now_s += 1.5
    snapshot.hand_over(receiver, 0.0)  # type: ignore[arg-type]
    assert receiver.resumed == [({"ports": {}}, pytest.approx(1.5))]
    clock.now_s += 100.0
    snapshot.hand_over(receiver, 0.0)  # type: ignore[arg-type]
    assert lines == [f"{path} is 102 s old: partners are listened to again"]
    clock.now_s = 900.0
    snapshot.hand_over(receiver, 0.0)  # type: ignore[arg-type]
    assert lines[1:] == [f"{path} is ignored: from before the machine was started"]
    assert len(receiver.resumed) == 2


async def test_a_directory_that_takes_no_file_is_said_once(lab: Lab) -> None:
    log = (await lab.start()).log
    lines = lab.daemons[0].lines
    lines.clear()
    receiver = Receiver()
    snapshot = SnapshotFile(str(lab.directory / "nosuch" / "file"), 9, log, clock=Clock(), boot="b")
    for receiver.revision in (2, 3):
        snapshot.update(receiver, 0.0)  # type: ignore[arg-type]
    assert len(lines) == 1
    assert lines[0].endswith("a restart will interrupt traffic")


async def test_the_partner_is_told_before_the_port_is_released(
    lab: Lab, kernel: Stalling, monkeypatch: pytest.MonkeyPatch
) -> None:
    partners(lab)
    daemon = await in_service(lab)
    last: dict[int, int] = {}
    when_released: dict[int, int] = {}
    send = SimSocket.send

    def say(socket: SimSocket, octets: bytes) -> None:
        frame = ethernet.parse(octets)
        last[socket.link.ifindex] = lacpdu.parse(frame.payload, frame.destination).actor.state
        send(socket, octets)

    def release(kernel: Stalling, team: int, writes: Sequence[Write]) -> tuple[Refused, ...]:
        when_released.update({write.ifindex: last[write.ifindex] for write in writes if type(write) is SetMember})
        return RecordingKernel.apply(kernel, team, writes)

    monkeypatch.setattr(SimSocket, "send", say)
    monkeypatch.setattr(Stalling, "apply", release)
    ports = [lab.link(name).ifindex for name in ("eth1", "eth2")]
    await daemon.call("PortRemove", "eth1")
    await daemon.stop()
    assert when_released == dict.fromkeys(ports, ACTIVE_ALONE)


async def test_what_could_not_be_written_does_not_make_the_old_file_look_new(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(old: str, new: str) -> None:
        raise OSError(errno.ENOSPC, "")

    log, clock, receiver = (await lab.start()).log, Clock(), Receiver()
    path = lab.directory / "file"
    snapshot = SnapshotFile(str(path), 9, log, clock=clock, boot="b")
    snapshot.update(receiver, 0.0)  # type: ignore[arg-type]
    monkeypatch.setattr("pyteamd.daemon.snapshot_file.os.replace", no_space)
    receiver.revision = 2
    for _ in range(2):
        clock.now_s += 1.0
        snapshot.update(receiver, 0.0)  # type: ignore[arg-type]
    assert path.stat().st_mtime == 1000.0
    assert not path.with_name("file.new").exists()
    monkeypatch.undo()
    snapshot.update(receiver, 0.0)  # type: ignore[arg-type]
    assert path.stat().st_mtime == 1002.0


async def test_what_cannot_be_written_is_tried_again_when_there_is_something_to_tell(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []

    def no_space(old: str, new: str) -> None:
        tried.append(trio.current_time())
        raise OSError(errno.ENOSPC, "")

    monkeypatch.setattr("pyteamd.daemon.snapshot_file.os.replace", no_space)
    partners(lab)
    await in_service(lab)
    began = len(tried)
    await trio.sleep(60.0)
    assert began > 0
    assert 1 <= len(tried) - began <= 2 * 60 + 10, "two ports speak once a second"
