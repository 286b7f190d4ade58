"""`config apply --confirm`: taken back by itself unless confirmed, whatever happens to the connection or the daemon meanwhile."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest
import trio
import trio.testing
from daemon_kit import ACTIVE_BACKUP, Lab, Running, quiet

from pyteamd.daemon.control import reconfigure
from pyteamd.daemon.control.reconfigure import RETRY_S, TAKEN_BACK
from pyteamd.daemon.pump import Pump
from pyteamd.daemon.team_server import NAMES_INTERVAL_S, TeamPlan
from pyteamd.daemon.unconfirmed import STALE_S, Unconfirmed
from pyteamd.model.events import ConfigApply

BETTER = {**ACTIVE_BACKUP, "ports": {"eth1": {}, "eth2": {"prio": 9}}}
OTHER = {**ACTIVE_BACKUP, "ports": {"eth1": {"prio": 3}, "eth2": {"prio": 9}}}


def kept(lab: Lab, config: dict[str, Any] | None = None) -> TeamPlan:
    """A daemon that leaves its device and may take it over."""
    return lab.plan(config, take_over=True, keep=True, snapshot_stem=f"{lab.directory}/team0")


async def apply(daemon: Running, config: Any, how: str = "confirm 60") -> dict[str, Any]:
    """The report of ConfigApply."""
    report: dict[str, Any] = json.loads(await daemon.call("ConfigApply", json.dumps(config), how))
    return report


def file_of(lab: Lab) -> Path:
    """What is kept for the next daemon."""
    return lab.directory / "team0.unconfirmed.json"


async def test_not_confirmed_is_taken_back(lab: Lab) -> None:
    daemon = await lab.start(kept(lab))
    await quiet()
    before = await daemon.call("ConfigDump")
    assert (await apply(daemon, BETTER))["applied"]
    assert lab.option("activeport") == lab.link("eth2").ifindex
    await trio.sleep(59)
    assert lab.option("priority", "eth2") == 9
    await trio.sleep(2)
    assert lab.option("priority", "eth2") == 0
    assert lab.option("activeport") == lab.link("eth1").ifindex
    assert await daemon.call("ConfigDump") == before
    assert daemon.lines[-1] == TAKEN_BACK
    assert not file_of(lab).exists()
    assert (await daemon.call("ConfigConfirm", "keep")).startswith("NothingToConfirm")


@pytest.mark.parametrize("confirmed", [True, False], ids=["the confirmation waits in the socket", "nothing waits"])
async def test_after_a_standstill_what_waits_in_the_socket_is_read_first(
    confirmed: bool,
) -> None:
    trial = Unconfirmed("", logging.getLogger("nothing"), Clock())
    trial.begin(ConfigApply("{}", (), ""), 60.0)
    taken_back: list[ConfigApply] = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait() -> None:
            taken_back.append(await trial.due())

        await trio.testing.wait_all_tasks_blocked()
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.jump(70.0)
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        if confirmed:
            trial.end()
        await trio.sleep(1.0)
        assert bool(taken_back) is not confirmed
        nursery.cancel_scope.cancel()


async def test_confirmed_stays(lab: Lab) -> None:
    daemon = await lab.start(kept(lab))
    await apply(daemon, BETTER)
    assert json.loads(await daemon.call("ConfigConfirm", "keep")) == {"confirmed": True}
    await trio.sleep(100)
    assert lab.option("priority", "eth2") == 9
    assert not file_of(lab).exists()
    assert (await daemon.call("ConfigConfirm", "perhaps")).startswith("InvalidArgs")


async def test_a_user_may_take_it_back_at_once(lab: Lab) -> None:
    daemon = await lab.start(kept(lab))
    await apply(daemon, BETTER)
    assert json.loads(await daemon.call("ConfigConfirm", "revert")) == {"confirmed": False}
    assert lab.option("priority", "eth2") == 0


@pytest.mark.parametrize("crash", [False, True])
async def test_a_restart_in_between_does_not_save_it(lab: Lab, crash: bool) -> None:
    """The file that the next daemon starts with has the new configuration in it already."""
    daemon = await lab.start(kept(lab))
    await apply(daemon, BETTER)
    if crash:
        daemon.scope.cancel()
        await daemon.ended.wait()
    else:
        await daemon.stop()
    again = await lab.start(kept(lab, BETTER))
    await trio.sleep(30)
    assert lab.option("priority", "eth2") == 9
    await trio.sleep(31)
    assert lab.option("priority", "eth2") == 0
    assert again.lines[-1] == TAKEN_BACK


@pytest.mark.parametrize("renewed", [False, True])
@pytest.mark.parametrize("twice", [False, True])
async def test_a_port_that_came_on_trial_leaves_after_a_restart_with_either_file(
    lab: Lab, renewed: bool, twice: bool
) -> None:
    """The file at the restart may name it or not; one that was added by command before the trial stays."""
    for number in (3, 4, 5):
        lab.kernel.add_pair(f"eth{number}", f"peer{number}")
    daemon = await lab.start(kept(lab))
    assert await daemon.call("PortAdd", "eth5") == ""
    more: dict[str, Any] = {**ACTIVE_BACKUP, "ports": {"eth2": {}, "eth3": {}, "eth5": {}}}
    assert (await apply(daemon, more))["applied"]
    if twice:
        assert (await apply(daemon, {**more, "ports": {"eth2": {}, "eth4": {}, "eth5": {}}}))["applied"]
    await daemon.stop()
    again = await lab.start(kept(lab, more if renewed else None))
    await trio.sleep(61)
    assert TAKEN_BACK in again.lines
    assert set((await again.state())["ports"]) == {"eth1", "eth2", "eth5"}


@pytest.mark.parametrize("resumed", [False, True])
async def test_who_cleans_up_the_run_directory_does_not_save_it(lab: Lab, resumed: bool) -> None:
    daemon = await lab.start(kept(lab))
    await apply(daemon, BETTER)
    if resumed:
        await daemon.stop()
        daemon = await lab.start(kept(lab, BETTER))
        await trio.sleep(NAMES_INTERVAL_S + 0.1)
    assert [line for line in daemon.lines if "there again" in line] == []
    file_of(lab).unlink()
    file_of(lab).write_text("{}")
    await trio.sleep(NAMES_INTERVAL_S + 0.1)
    assert [line for line in daemon.lines if "there again" in line] == [
        f"{file_of(lab)} was removed or replaced; it is there again."
    ]
    await daemon.stop()
    daemon = await lab.start(kept(lab, BETTER))
    await trio.sleep(60)
    assert lab.option("priority", "eth2") == 0
    assert daemon.lines[-1] == TAKEN_BACK


async def test_a_second_one_waits_for_the_same_and_an_ordinary_one_is_refused(lab: Lab) -> None:
    daemon = await lab.start(kept(lab))
    await apply(daemon, BETTER)
    await trio.sleep(30)
    refused = await apply(daemon, OTHER, "apply")
    assert not refused["applied"]
    assert refused["problems"][0].startswith("another configuration waits for `config confirm`, for ")
    assert (await apply(daemon, OTHER))["applied"]
    await trio.sleep(59)
    assert lab.option("priority", "eth1") == 3
    await trio.sleep(2)
    assert (lab.option("priority", "eth1"), lab.option("priority", "eth2")) == (0, 0)


async def test_what_could_not_be_taken_back_is_not_applied(lab: Lab) -> None:
    (lab.directory / "team0.unconfirmed.json.new").mkdir()
    daemon = await lab.start(kept(lab))
    report = await apply(daemon, BETTER)
    assert not report["applied"]
    assert report["problems"] == ["what is in force cannot be kept for taking it back: Is a directory"]
    assert lab.option("priority", "eth2") == 0
    for how in ("confirm 0", "confirm -1", "confirm nan", "confirm inf", "confirm x", "confirm 99999999", "confirm "):
        assert (await daemon.call("ConfigApply", json.dumps(BETTER), how)).startswith("InvalidArgs")


async def test_a_refused_one_waits_for_nothing(lab: Lab) -> None:
    daemon = await lab.start(kept(lab))
    assert not (await apply(daemon, {**BETTER, "ports": {"eth1": {"prio": "high"}}}))["applied"]
    assert (await apply(daemon, ACTIVE_BACKUP))["changes"] == []
    assert not file_of(lab).exists()
    assert (await daemon.call("ConfigConfirm", "revert")).startswith("NothingToConfirm")


class Clock:
    """CLOCK_BOOTTIME of a test."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("text", "later_s", "waits"),
    [
        (None, 59.0, True),
        (None, 60.0 + STALE_S - 1, True),
        (None, 60.0 + STALE_S + 1, False),
        (None, -100000.0, False),
        ("", 0.0, False),
        ("[]", 0.0, False),
        ("{}", 0.0, False),
        ('{"text": "{}", "written": [], "choice": "", "kept": 1, "until_s": 1, "boot": ""}', 0.0, False),
        ('{"text": "{}", "written": [], "choice": "", "mac": "x", "until_s": 1, "boot": ""}', 0.0, False),
        ('{"text": "{}", "written": [], "choice": "", "out": [[1]], "until_s": 1, "boot": ""}', 0.0, False),
        ('{"text": "{}", "written": [], "choice": "", "former": 7, "until_s": 1, "boot": ""}', 0.0, False),
        ('{"text": "{}", "written": 3, "choice": "", "until_s": 1, "boot": ""}', 0.0, False),
        ('{"text": "{}", "written": [], "choice": "", "until_s": NaN, "boot": ""}', 0.0, False),
        ("[" * 100000, 0.0, False),
        ('{"text": "{}", "written": [], "choice": "", "until_s": 1' + "0" * 400 + ', "boot": ""}', 0.0, False),
    ],
)
def test_what_an_earlier_daemon_left(text: str | None, later_s: float, waits: bool, tmp_path: Path) -> None:
    path, clock, log = str(tmp_path / "team0.unconfirmed.json"), Clock(), logging.getLogger("nothing")
    log.addHandler(logging.NullHandler())
    first = Unconfirmed(path, log, clock)
    was = ConfigApply(
        "{}", ("eth1",), "", ("eth1",), "020000000901", ((5, "it was removed by command"),), ((7, "eth2"),)
    )
    first.begin(was, 60.0)
    if text is not None:
        Path(path).write_text(text)
    clock.now_s += later_s
    later = Unconfirmed(path, log, clock)
    later.resume()
    assert later.before == (was if waits else None)


def test_what_an_earlier_version_left(tmp_path: Path) -> None:
    path, clock = tmp_path / "team0.unconfirmed.json", Clock()
    path.write_text('{"text": "{}", "written": ["eth1"], "choice": "", "until_s": 1001, "boot": ""}')
    later = Unconfirmed(str(path), logging.getLogger("nothing"), clock)
    later.resume()
    assert later.before == ConfigApply("{}", ("eth1",), "")


def test_what_an_earlier_start_of_the_machine_left_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, log = str(tmp_path / "team0.unconfirmed.json"), logging.getLogger("boots")
    monkeypatch.setattr("pyteamd.daemon.unconfirmed.boot_id", lambda: "before")
    Unconfirmed(path, log, Clock()).begin(ConfigApply("{}", (), ""), 60.0)
    monkeypatch.setattr("pyteamd.daemon.unconfirmed.boot_id", lambda: "now")
    later = Unconfirmed(path, log, Clock())
    later.resume()
    assert later.before is None
    assert caplog.messages == [f"{path} is ignored: from before the machine was started"]
    assert not os.path.exists(path)


def test_a_fifo_in_its_place_holds_no_start_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "team0.unconfirmed.json")
    left = Unconfirmed(f"{tmp_path}/team0.unconfirmed.json", logging.getLogger("nothing"), Clock())
    left.resume()
    assert left.before is None
    left.begin(ConfigApply("{}", (), ""), 60.0)
    assert (tmp_path / "team0.unconfirmed.json").is_file()


def test_a_run_directory_that_takes_nothing_any_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Full or read-only from some moment on: what waits goes on waiting, and what is over is over."""
    path, clock = tmp_path / "run" / "team0.unconfirmed.json", Clock()
    path.parent.mkdir()
    waiting = Unconfirmed(str(path), logging.getLogger("taken"), clock)
    waiting.begin(ConfigApply("{}", (), ""), 60.0)
    path.unlink()
    path.mkdir()  # neither replaced by a file nor removed as one, by root either
    clock.now_s += 60.0
    waiting.postpone(10.0)
    assert waiting.left_s() == 10.0
    waiting.end()
    assert waiting.before is None
    assert [
        record.getMessage() for record in caplog.records if "a restart within the hour" in record.getMessage()
    ] != []
    with pytest.raises(OSError, match="directory"):
        waiting.begin(ConfigApply("{}", (), ""), 60.0)
    assert os.listdir(path.parent) == [path.name], "no half of it is left"


async def test_what_a_user_confirms_while_hosts_are_looked_up_stays(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = await lab.start(kept(lab))
    await quiet()
    await apply(daemon, BETTER)
    look_up, asked = reconfigure._look_up, []

    async def slowly(pump: Pump, plan: Any) -> None:
        asked.append(plan)
        pump.unconfirmed.end()  # as `config confirm` does
        pump.unconfirmed.postpone(0.1)  # as a taking back that fails then does
        await look_up(pump, plan)

    monkeypatch.setattr(reconfigure, "_look_up", slowly)
    await trio.sleep(100)
    assert len(asked) == 1
    assert lab.option("priority", "eth2") == 9
    assert TAKEN_BACK not in daemon.lines


async def test_a_fault_while_it_is_taken_back_costs_no_port(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object, **settings: object) -> NoReturn:
        raise ZeroDivisionError("a fault of ours")

    daemon = await lab.start(kept(lab))
    await quiet()
    await apply(daemon, BETTER)
    with monkeypatch.context() as broken:
        broken.setattr(reconfigure.reload, "plan", fails)
        await trio.sleep(61)
    assert [line for line in daemon.lines if "cannot be taken back yet" in line] != []
    daemon.lines.clear()
    await trio.sleep(RETRY_S)
    assert daemon.lines[-1] == TAKEN_BACK
    assert lab.option("priority", "eth2") == 0


async def test_what_can_never_be_taken_back_is_told_once_and_forgotten(lab: Lab) -> None:
    """Tried again without end it would fill the log, and keep every other configuration out."""
    first = Unconfirmed(str(file_of(lab)), logging.getLogger("nothing"))
    first.begin(ConfigApply("{", (), ""), 5.0)
    daemon = await lab.start(kept(lab))
    assert "near end of file" in await daemon.call("ConfigConfirm", "revert")
    assert file_of(lab).exists(), "what a user asks for may be refused, but nothing is lost by asking"
    await trio.sleep(5 * RETRY_S)
    told = [line for line in daemon.lines if "taken back" in line or "bug" in line]
    assert [line for line in told if line.startswith("The configuration cannot be taken back and stays: ")] == told
    assert len(told) == 1, told
    assert "near end of file" in told[0]
    assert not file_of(lab).exists()
    assert (await apply(daemon, BETTER, "apply"))["applied"]


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_is_in_the_way_of_taking_back_may_pass(lab: Lab, restarted: bool) -> None:
    """The driver changes no runner while there are ports: told once, tried until the port is gone, and a user's try loses nothing."""
    portless, other = {"runner": {"name": "activebackup"}}, {"runner": {"name": "roundrobin"}, "ports": {"eth1": {}}}
    daemon = await lab.start(kept(lab, portless))
    assert (await apply(daemon, other))["applied"]
    await quiet()
    if restarted:
        await daemon.stop()
        daemon = await lab.start(kept(lab, other))
    await trio.sleep(60 + 3 * RETRY_S)
    told = [line for line in daemon.lines if "taken back" in line]
    reason = "the driver cannot change from roundrobin to activebackup while the team has ports; remove eth1 first"
    assert len([line for line in told if "cannot be taken back yet: " in line and reason in line]) == 1, told
    assert len([line for line in told if "cannot" in line]) == 1, told
    assert reason in await daemon.call("ConfigConfirm", "revert")
    assert file_of(lab).exists()
    assert await daemon.call("PortRemove", "eth1") == ""
    await trio.sleep(RETRY_S + 1)
    assert daemon.lines[-1] == TAKEN_BACK, daemon.lines
    assert json.loads(await daemon.call("ConfigDump"))["runner"]["name"] == "activebackup"
    assert not file_of(lab).exists()


async def test_what_goes_on_trial_while_hosts_are_looked_up_is_in_the_way(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two users at once: what one applies for good must not go when the trial of the other ends."""
    daemon = await lab.start(kept(lab))
    look_up, begun = reconfigure._look_up, []

    async def slowly(pump: Pump, plan: Any) -> None:
        await look_up(pump, plan)
        monkeypatch.setattr(reconfigure, "_look_up", look_up)
        begun.append(await apply(daemon, BETTER))

    monkeypatch.setattr(reconfigure, "_look_up", slowly)
    refused = await apply(daemon, OTHER, "apply")
    assert begun[0]["applied"]
    assert not refused["applied"]
    assert refused["problems"][0].startswith("another configuration waits for `config confirm`, for ")
