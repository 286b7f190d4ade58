"""How a daemon starts and how it ends."""

from __future__ import annotations

import errno
import gc
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from daemon_kit import ACTIVE_BACKUP, Lab, RecordingKernel, quiet

from pyteamd.daemon.control.bus_line import ANSWER_TIMEOUT_S
from pyteamd.daemon.control.dbus import Bus
from pyteamd.daemon.service import (
    BUSY_INTERVAL_S,
    COLLECT_INTERVAL_S,
    LONG_S,
    WHOLE_EVERY,
    WORTH,
    collect,
    collect_now_and_then,
    settle_memory,
    worth_thawing,
)
from pyteamd.model.desired import OptionKey, SetMember, SetOption
from pyteamd.model.errors import KernelRefused
from pyteamd.model.events import Refused, Resync


async def test_who_comes_when_it_is_ready_sees_all_ports(lab: Lab) -> None:
    daemon = await lab.start()
    state = await daemon.state()
    assert sorted(state["ports"]) == ["eth1", "eth2"]
    assert state["runner"] == {"active_port": "eth1"}
    assert state["setup"]["pid"] == 4711
    assert lab.option("mode") == "activebackup"
    assert lab.option("activeport") == lab.link("eth1").ifindex


async def test_the_control_socket_is_there_before_the_ports(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    existed = []
    apply = RecordingKernel.apply

    def watch(kernel: RecordingKernel, team: int, writes: list[SetMember]) -> tuple[Refused, ...]:
        existed.extend(os.path.exists(f"{lab.directory}/team0.sock") for write in writes if type(write) is SetMember)
        return apply(kernel, team, writes)

    monkeypatch.setattr(RecordingKernel, "apply", watch)
    await lab.start()
    assert existed == [True, True]


async def test_sigterm_releases_the_ports_and_deletes_the_device(lab: Lab) -> None:
    daemon = await lab.start()
    assert await daemon.stop() == 0
    assert not lab.has("team0")
    assert lab.link("eth1").master == 0
    assert not daemon.has_file()
    assert SetMember(lab.link("eth1").ifindex, False) in lab.kernel.performed
    assert "Got SIGINT, SIGQUIT or SIGTERM." in daemon.lines


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
async def test_all_three_signals_end_it(lab: Lab, number: signal.Signals) -> None:
    daemon = await lab.start()
    signal.raise_signal(number)
    await daemon.ended.wait()
    assert daemon.code == 0


async def test_sighup_changes_nothing(lab: Lab) -> None:
    daemon = await lab.start()
    signal.raise_signal(signal.SIGHUP)
    await quiet()
    assert daemon.code is None
    assert (await daemon.state())["runner"] == {"active_port": "eth1"}


async def test_keeping_the_device_writes_nothing_at_the_end_and_nothing_at_the_next_start(lab: Lab) -> None:
    daemon = await lab.start(lab.plan(keep=True))
    lab.kernel.performed.clear()
    assert await daemon.stop() == 0
    assert lab.kernel.performed == []
    assert lab.link("eth1").master == lab.link("team0").ifindex

    successor = await lab.start(lab.plan(take_over=True, keep=True))
    assert (await successor.state())["runner"] == {"active_port": "eth1"}
    assert lab.kernel.performed == []


async def test_a_device_deleted_by_another_program_is_a_good_end(lab: Lab) -> None:
    daemon = await lab.start()
    lab.kernel.delete_link(lab.link("team0").ifindex)
    await daemon.ended.wait()
    assert daemon.code == 0
    assert daemon.lines[-1] == "Team device removal detected."
    assert not daemon.has_file()


async def test_a_second_signal_ends_it_at_once(lab: Lab) -> None:
    daemon = await lab.start()
    lab.kernel.refuse(lambda write: write == SetMember(lab.link("eth1").ifindex, False), errno.EBUSY, None)
    signal.raise_signal(signal.SIGTERM)
    await quiet()
    assert daemon.code is None
    began = trio.current_time()
    assert await daemon.stop() == 2
    assert trio.current_time() == began
    assert not lab.has("team0")


async def test_ports_that_do_not_leave_are_not_waited_for_without_end(lab: Lab) -> None:
    daemon = await lab.start()
    lab.kernel.refuse(lambda write: write == SetMember(lab.link("eth1").ifindex, False), errno.EBUSY, None)
    began = trio.current_time()
    assert await daemon.stop() == 0
    assert trio.current_time() - began == pytest.approx(5.0)
    assert "Ports did not leave within 5 s." in daemon.lines
    assert not lab.has("team0")


def signalled_while_resolving(lab: Lab, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, word: str) -> None:
    """The signal comes while the daemon looks a host up, which it does until it has said the word."""
    heard = threading.Event()

    def look_up(*_: object) -> None:
        if not heard.is_set():
            os.kill(os.getpid(), number)
            assert heard.wait(20)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def listen() -> None:
        while not any(word in line for daemon in lab.daemons for line in daemon.lines):
            await trio.lowlevel.checkpoint()
        heard.set()

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    lab.nursery.start_soon(listen)


async def test_a_signal_during_the_start_ends_it_after_the_start(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**ACTIVE_BACKUP, "link_watch": {"name": "arp_ping", "target_host": "host.invalid"}}
    signalled_while_resolving(lab, monkeypatch, signal.SIGTERM, "SIGTERM")
    daemon = await lab.start(lab.plan(config))
    await daemon.ended.wait()
    assert daemon.code == 0
    assert not lab.has("team0")


@pytest.mark.parametrize("silent", ["connect", "own_name"])
async def test_a_start_that_waits_for_a_silent_bus_is_abandoned(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, silent: str
) -> None:
    async def at_once(*_: object) -> None:
        await trio.lowlevel.checkpoint()

    async def never(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep(ANSWER_TIMEOUT_S)

    for name in ("connect", "own_name", "serve"):
        monkeypatch.setattr(Bus, name, never if name == silent else at_once)
    began = trio.current_time()
    daemon = await lab.start(lab.plan(dbus=True))
    await daemon.ended.wait()
    assert (daemon.code, trio.current_time() - began) == (0, 0.0)
    assert not lab.has("team0")


async def test_a_crash_of_any_task_ends_it_and_leaves_the_device(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = await lab.start()
    daemon.crash_expected = True

    def broken(kernel: RecordingKernel) -> None:
        raise AssertionError("broken on purpose")

    monkeypatch.setattr(RecordingKernel, "take_events", broken)
    lab.kernel.wake()
    await daemon.ended.wait()
    assert daemon.crash is not None
    assert daemon.crash.subgroup(AssertionError) is not None
    assert len(daemon.reader.traces) == 1
    assert not daemon.has_file()
    assert lab.link("eth1").master == lab.link("team0").ifindex


# -- starts that fail --------------------------------------------------------------------------------------------------


async def test_an_existing_device_is_an_error(lab: Lab) -> None:
    lab.kernel.create_team("team0")
    daemon = await lab.start()
    assert daemon.failure is not None
    assert daemon.failure.errno == errno.EEXIST
    assert str(daemon.failure).startswith("Failed to create team device.\n")
    assert lab.has("team0")


async def test_recreating_replaces_whatever_has_the_name(lab: Lab) -> None:
    other = lab.kernel.add_pair("team0", "peer3").ifindex
    daemon = await lab.start(lab.plan(recreate=True))
    assert daemon.failure is None
    assert lab.link("team0").kind == "team"
    assert lab.link("team0").ifindex != other


async def test_recreating_spares_a_link_that_only_has_another_name_like_it(lab: Lab) -> None:
    """teamd knows no alternative names; to take one for an order to delete that link would be new."""
    other = lab.kernel.add_pair("uplink", "peer3")
    lab.kernel.set_altnames(other.ifindex, "team0")
    daemon = await lab.start(lab.plan(recreate=True))
    assert daemon.failure is not None
    assert daemon.failure.errno == errno.EEXIST, daemon.failure
    assert lab.link("uplink").ifindex == other.ifindex


async def test_take_over_beats_recreate(lab: Lab) -> None:
    there = lab.kernel.create_team("team0")
    daemon = await lab.start(lab.plan(recreate=True, take_over=True))
    assert daemon.failure is None
    assert lab.link("team0").ifindex == there


async def test_only_a_team_can_be_taken_over(lab: Lab) -> None:
    lab.kernel.add_pair("team0", "peer3")
    daemon = await lab.start(lab.plan(take_over=True))
    assert daemon.failure is not None
    assert daemon.failure.errno == errno.EINVAL
    assert lab.has("team0")


async def test_a_missing_port_is_skipped(lab: Lab) -> None:
    lab.kernel.delete_link(lab.link("eth2").ifindex)
    daemon = await lab.start()
    assert "eth2: Skipped adding a missing port." in daemon.lines
    assert list((await daemon.state())["ports"]) == ["eth1"]


async def test_no_ports_means_no_ports(lab: Lab) -> None:
    daemon = await lab.start(lab.plan(enslave=False))
    assert "ports" not in await daemon.state()
    assert not [write for write in lab.kernel.performed if type(write) is SetMember]


async def test_a_mode_the_kernel_lacks_is_an_error(lab: Lab) -> None:
    lab.kernel.refuse(lambda write: type(write) is SetOption and write.key == OptionKey("mode"), errno.EINVAL, None)
    daemon = await lab.start()
    assert daemon.failure is not None
    assert daemon.failure.errno == errno.EINVAL
    assert not lab.has("team0")


async def test_no_driver_no_team(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kernel: RecordingKernel, name: str) -> int:
        raise KernelRefused(errno.EOPNOTSUPP, f"create team device {name}", "is the module installed?")

    monkeypatch.setattr(RecordingKernel, "create_team", refuse)
    daemon = await lab.start()
    assert daemon.failure is not None
    assert daemon.failure.errno == errno.EOPNOTSUPP
    assert "is the module installed?" in str(daemon.failure)


async def test_a_socket_that_cannot_be_made_is_an_error(lab: Lab) -> None:
    daemon = await lab.start(lab.plan(usock_path=f"{lab.directory}/missing/team0.sock"))
    assert daemon.failure is not None
    assert daemon.failure.errno == errno.ENOENT
    assert not lab.has("team0")


# -- service manager ---------------------------------------------------------------------------------------------------


async def test_the_service_manager_is_kept_informed(lab: Lab, tmp_path: Path) -> None:
    with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM) as manager:
        await manager.bind(f"{tmp_path}/notify")
        environ = {"NOTIFY_SOCKET": f"{tmp_path}/notify", "WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}
        daemon = await lab.start(environ=environ)
        assert await told(manager) == b"READY=1"
        assert await told(manager) == b"WATCHDOG=1"
        began = trio.current_time()
        assert await told(manager) == b"WATCHDOG=1"
        assert trio.current_time() - began == pytest.approx(10.0)
        await daemon.stop()
        assert await told(manager) == b"STOPPING=1"


async def told(manager: trio.socket.SocketType) -> bytes:
    """The next message but for what is shown to people."""
    while (text := await manager.recv(400)).startswith(b"STATUS="):
        pass
    return text


async def test_a_reload_during_the_start_does_not_say_that_it_is_ready(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**ACTIVE_BACKUP, "link_watch": {"name": "arp_ping", "target_host": "host.invalid"}}
    with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM) as manager:
        await manager.bind(f"{tmp_path}/notify")
        signalled_while_resolving(lab, monkeypatch, signal.SIGHUP, "SIGHUP")
        daemon = await lab.start(lab.plan(config), environ={"NOTIFY_SOCKET": f"{tmp_path}/notify"})
        assert [line for line in daemon.lines if "SIGHUP" in line]
        assert await told(manager) == b"READY=1"
        with trio.move_on_after(1) as patience:
            assert await told(manager) == b"nothing more"
        assert patience.cancelled_caught


# -- lost messages -----------------------------------------------------------------------------------------------------


async def test_after_an_overrun_everything_is_read_again(lab: Lab) -> None:
    daemon = await lab.start()
    await quiet()
    lab.kernel.lose_events()
    lab.cut("eth1")
    await quiet()
    assert (await daemon.state())["runner"] == {"active_port": "eth2"}
    assert lab.option("activeport") == lab.link("eth2").ifindex


async def test_more_events_than_are_worth_reading_are_an_overrun(lab: Lab) -> None:
    daemon = await lab.start()
    await quiet()
    before = lab.kernel.dumps
    lab.kernel.add_pair("eth3", "peer3")
    lab.kernel.hold("link")
    for number in range(1200):
        lab.kernel.set_mac(lab.link("eth3").ifindex, b"\x02\x00\x00\x00" + number.to_bytes(2, "big"))
    lab.cut("eth1")
    lab.kernel.hold("link", False)
    await quiet()
    assert lab.kernel.dumps == before + 1
    assert (await daemon.state())["runner"] == {"active_port": "eth2"}


async def test_a_dump_that_fails_is_tried_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = await lab.start()
    await quiet()
    dump, failed = RecordingKernel.dump, []

    def fail_once(kernel: RecordingKernel, team: int) -> Resync:
        if not failed:
            failed.append(True)
            raise KernelRefused(errno.ENOBUFS, "list links")
        return dump(kernel, team)

    monkeypatch.setattr(RecordingKernel, "dump", fail_once)
    lab.kernel.lose_events()
    lab.cut("eth1")
    await trio.sleep(1.5)
    assert any(line.startswith("list links: ") for line in daemon.lines)
    assert (await daemon.state())["runner"] == {"active_port": "eth2"}


@pytest.fixture
def thresholds() -> Iterator[None]:
    """The usual ones; the other tests have theirs."""
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("thresholds")
def test_what_is_there_at_the_start_is_left_alone_by_later_collections() -> None:
    before = gc.get_freeze_count()
    kept: list[list[int]] = [[] for _ in range(1000)]
    settle_memory()
    assert gc.get_freeze_count() >= before + len(kept)


@pytest.mark.usefixtures("thresholds")
async def test_garbage_is_collected_by_the_clock_mostly_among_what_is_new_and_not_among_events(
    autojump_clock: trio.testing.MockClock,
) -> None:
    seen: list[int] = []
    settle_memory()
    gc.callbacks.append(lambda phase, about: seen.append(about["generation"]) if phase == "start" else None)
    kept: list[list[int]] = []
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect_now_and_then)
            for number in range(WHOLE_EVERY):  # what a second of much traffic leaves
                kept += [[] for _ in range(3 * WORTH)]
                assert len(seen) == number, f"{seen}: among the events"
                await trio.sleep(BUSY_INTERVAL_S if number else COLLECT_INTERVAL_S + 0.5)
            assert seen == [1] * (WHOLE_EVERY - 1) + [2]
            await trio.sleep(10 * COLLECT_INTERVAL_S)
            assert len(seen) == WHOLE_EVERY, f"{seen}: nothing was new"
            nursery.cancel_scope.cancel()
    finally:
        gc.callbacks.pop()


@pytest.mark.usefixtures("thresholds")
def test_what_took_long_to_collect_is_not_walked_again() -> None:
    """With 256 teams it takes as long as LACPDUs may be late."""
    settle_memory()
    kept: list[list[int]] = [[] for _ in range(1000)]
    before = gc.get_freeze_count()
    collect(True, iter((0.0, LONG_S / 2)).__next__)
    assert gc.get_freeze_count() <= before, "it was quick"
    collect(True, iter((0.0, 2 * LONG_S)).__next__)
    assert gc.get_freeze_count() >= before + len(kept)


@pytest.mark.parametrize(("there", "ends"), [(1, 1), (2, 1), (8, 1), (9, 2), (256, 32)])
def test_of_many_teams_an_eighth_ends_before_all_is_walked_again(there: int, ends: int) -> None:
    assert next(ended for ended in range(1, there + 1) if worth_thawing(ended, there)) == ends
