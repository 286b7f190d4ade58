"""Reload in a running daemon: the control method, SIGHUP, hosts to be looked up, a kernel that refuses a part."""

from __future__ import annotations

import errno
import json
import signal
import time
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
import trio
import trio.lowlevel
from daemon_kit import ACTIVE_BACKUP, Lab, Running, quiet

from pyteamd.daemon import read_file
from pyteamd.model.desired import OptionKey, SetMember, SetOption
from pyteamd.model.errors import KernelRefused


async def apply(daemon: Running, config: Any, how: str = "apply") -> dict[str, Any]:
    """The method's report."""
    text = config if isinstance(config, str) else json.dumps(config)
    report: dict[str, Any] = json.loads(await daemon.call("ConfigApply", text, how))
    return report


def with_prio(prio: int) -> dict[str, Any]:
    """eth2 with another priority."""
    return {**ACTIVE_BACKUP, "ports": {"eth1": {}, "eth2": {"prio": prio}}}


async def test_dry_run_shows_and_apply_does(lab: Lab) -> None:
    daemon = await lab.start()
    await quiet()
    dry = await apply(daemon, with_prio(100), "dry-run")
    assert dry == {
        "applied": False,
        "changes": [
            {
                "path": "ports.eth2.prio",
                "disruption": "team",
                "text": "ports.eth2.prio: 0 -> 100 (the team is interrupted)",
            }
        ],
        "problems": [],
        "warnings": [],
    }
    assert lab.option("activeport") == lab.link("eth1").ifindex
    assert (await apply(daemon, with_prio(100)))["applied"]
    assert lab.option("activeport") == lab.link("eth2").ifindex
    assert json.loads(await daemon.call("ConfigDump"))["ports"]["eth2"]["prio"] == 100
    assert (await daemon.call("ConfigApply", "{}", "at once")).startswith("InvalidArgs")


async def test_a_port_without_its_configured_name_is_asked_for_its_settings_and_told_others(lab: Lab) -> None:
    daemon = await lab.start(lab.plan(with_prio(5)))
    await quiet()
    lab.kernel.rename(lab.link("eth2").ifindex, "lan2")
    await quiet()
    assert '"prio": 5' in await daemon.call("PortConfigDump", "lan2")
    assert json.loads(await daemon.call("ConfigDumpActual"))["ports"]["lan2"]["prio"] == 5
    await daemon.call("PortConfigUpdate", "lan2", '{"prio": 7}')
    assert lab.option("priority", "lan2") == 7
    ports = json.loads(await daemon.call("ConfigDump"))["ports"]
    assert (set(ports), ports["eth2"]) == ({"eth1", "eth2"}, {"prio": 7})
    assert not (await apply(daemon, with_prio(7), "dry-run"))["changes"]


async def test_a_bad_one_says_all_and_changes_nothing(lab: Lab) -> None:
    daemon = await lab.start()
    await quiet()
    lab.kernel.performed.clear()
    before = await daemon.call("ConfigDump")
    report = await apply(
        daemon, '{"runner": {"name": "activebackup"},\n"ports": {"eth1": {"prio": "x"}, "eth2": {"pro": 1}}}'
    )
    assert not report["applied"]
    assert [problem.split(" ")[1:3] for problem in report["problems"]] == [
        ["error:", "ports.eth1.prio:"],
        ["warning:", "ports.eth2.pro:"],
    ]
    assert await daemon.call("ConfigDump") == before
    assert lab.kernel.performed == []


async def test_what_the_kernel_refuses_takes_all_back(lab: Lab) -> None:
    daemon = await lab.start()
    await quiet()
    queue = SetOption(OptionKey("queue_id", lab.link("eth2").ifindex), 9)
    lab.kernel.refuse(lambda write: write == queue, errno.EINVAL, None)
    both = {**ACTIVE_BACKUP, "ports": {"eth1": {}, "eth2": {"prio": 100, "queue_id": 9}}}
    report = await apply(daemon, both)
    assert not report["applied"]
    assert "the kernel refuses: set queue_id of eth2 to 9" in report["problems"][0]
    assert lab.option("priority", "eth2") == 0
    assert lab.option("activeport") == lab.link("eth1").ifindex
    assert set((await daemon.state())["ports"]) == {"eth1", "eth2"}
    assert "queue_id" not in json.dumps(json.loads(await daemon.call("ConfigDump")))
    lab.kernel.set_up(lab.link("team0").ifindex, True)
    await daemon.call("StateItemValueSet", "runner.active_port", "eth2")
    both = {**ACTIVE_BACKUP, "ports": {"eth1": {"prio": 100}, "eth2": {"queue_id": 9}}}
    assert not (await apply(daemon, both))["applied"]
    assert lab.option("activeport") == lab.link("eth2").ifindex
    assert (
        "carries traffic as the active port for 0.0 s, chosen by a user"
        in json.loads(await daemon.call("Explain"))[1]["text"]
    )


async def test_sighup_reads_the_file_again(lab: Lab) -> None:
    file = lab.directory / "team0.conf"
    file.write_text(json.dumps(ACTIVE_BACKUP))
    daemon = await lab.start(lab.plan(config_file=str(file)))
    await quiet()
    file.write_text(json.dumps(with_prio(100)))
    signal.raise_signal(signal.SIGHUP)
    await trio.sleep(0.1)
    assert lab.option("activeport") == lab.link("eth2").ifindex
    assert daemon.lines[-1] == f"{file}: configuration of team0 in force, 1 changes."
    for text, words in (("{", "refused, nothing changes."), (None, "cannot be read: No such file or directory")):
        file.unlink() if text is None else file.write_text(text)
        signal.raise_signal(signal.SIGHUP)
        await trio.sleep(0.1)
        assert words in daemon.lines[-1]
    assert lab.option("priority", "eth2") == 100


async def test_a_file_of_another_user_is_not_read_again_and_what_helps_is_said(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon is root without the right to read everything."""

    def denied(path: object, *_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    file = lab.directory / "team0.conf"
    file.write_text(json.dumps(ACTIVE_BACKUP))
    daemon = await lab.start(lab.plan(config_file=str(file)))
    monkeypatch.setattr(read_file, "opened", denied)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    signal.raise_signal(signal.SIGHUP)
    await trio.sleep(0.1)
    assert f"{file}: cannot be read: Permission denied: the daemon gave up" in daemon.lines[-1]
    assert daemon.lines[-1].endswith(
        "make root the owner, or hand it over: pyteamdctl TEAM config apply FILE; nothing changes."
    )


async def test_sighup_without_a_file_says_what_to_do(lab: Lab) -> None:
    daemon = await lab.start()
    signal.raise_signal(signal.SIGHUP)
    await trio.sleep(0.1)
    assert daemon.lines[-1].endswith("use: pyteamdctl team0 config apply FILE")
    assert daemon.code is None


async def test_the_service_manager_is_told(lab: Lab) -> None:
    import socket

    address = str(lab.directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.setblocking(False)
        await lab.start(environ={"NOTIFY_SOCKET": address})
        signal.raise_signal(signal.SIGHUP)
        await trio.sleep(0.1)
        heard = [listener.recv(4096).decode() for _ in range(4)]
    told = [text for text in heard if not text.startswith("STATUS=")]
    assert [text.split("\n")[0] for text in told] == ["READY=1", "RELOADING=1", "READY=1"]
    when_s = int(told[1].partition("MONOTONIC_USEC=")[2]) / 1e6
    assert 0 <= time.monotonic() - when_s < 60, "the kernel's clock, not the event loop's"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (lambda: KernelRefused(errno.ENOBUFS, "find link"), "find link: No buffer space available; nothing changes."),
        (lambda: ZeroDivisionError("a fault of ours"), "the daemon's log has the trace.; nothing changes."),
    ],
    ids=["a refusal", "a fault"],
)
async def test_what_goes_wrong_at_a_sighup_costs_no_port(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception], words: str
) -> None:
    def fails(name: str) -> NoReturn:
        raise error()

    file = lab.directory / "team0.conf"
    file.write_text(json.dumps(ACTIVE_BACKUP))
    daemon = await lab.start(lab.plan(config_file=str(file)))
    await quiet()
    with monkeypatch.context() as broken:
        broken.setattr(lab.kernel, "find_link", fails)
        file.write_text(json.dumps({**ACTIVE_BACKUP, "ports": {"eth1": {}, "eth2": {}, "spare": {}}}))
        signal.raise_signal(signal.SIGHUP)
        await trio.sleep(0.1)
    assert daemon.lines[-1].lower().endswith(words.lower()), daemon.lines
    daemon.lines.clear()
    lab.cut("eth1")
    await quiet()
    assert lab.option("activeport") == lab.link("eth2").ifindex
    signal.raise_signal(signal.SIGHUP)
    await trio.sleep(0.1)
    assert "in force" in daemon.lines[-1]


async def test_a_storm_of_sighups_is_a_few_reloads(lab: Lab) -> None:
    file = lab.directory / "team0.conf"
    file.write_text(json.dumps(ACTIVE_BACKUP))
    daemon = await lab.start(lab.plan(config_file=str(file)))
    for number in range(100):
        file.write_text(json.dumps(with_prio(number)))
        signal.raise_signal(signal.SIGHUP)
        if number % 10 == 0:
            await trio.lowlevel.checkpoint()
    await trio.sleep(0.1)
    assert lab.option("priority", "eth2") == 99
    assert len([line for line in daemon.lines if "in force" in line]) <= 12


async def test_a_trial_ends_though_the_former_configuration_names_a_queue_that_the_team_does_not_have(lab: Lab) -> None:
    """A start lives with it, and so does going back."""
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {"eth1": {"queue_id": 99}, "eth2": {}}}))
    await quiet()
    mended = json.dumps({**ACTIVE_BACKUP, "ports": {"eth1": {}, "eth2": {"prio": 9}}})
    report = json.loads(await daemon.call("ConfigApply", mended, "confirm 60"))
    assert report["applied"], report
    assert lab.option("priority", "eth2") == 9
    await trio.sleep(61)
    assert lab.option("priority", "eth2") == 0, daemon.lines
    assert json.loads(await daemon.call("ConfigApply", mended, "confirm 60"))["applied"]
    assert json.loads(await daemon.call("ConfigConfirm", "revert")) == {"confirmed": False}
    assert lab.option("priority", "eth2") == 0


async def test_what_the_kernel_refuses_takes_all_back_to_a_queue_that_the_team_does_not_have(lab: Lab) -> None:
    daemon = await lab.start(lab.plan({**ACTIVE_BACKUP, "ports": {"eth1": {"queue_id": 99}, "eth2": {}}}))
    await quiet()
    queue = SetOption(OptionKey("queue_id", lab.link("eth2").ifindex), 9)
    lab.kernel.refuse(lambda write: write == queue, errno.EINVAL, None)
    report = await apply(daemon, {**ACTIVE_BACKUP, "ports": {"eth1": {}, "eth2": {"prio": 100, "queue_id": 9}}})
    assert "the kernel refuses: set queue_id of eth2 to 9" in report["problems"][0]
    assert lab.option("priority", "eth2") == 0
    assert json.loads(await daemon.call("ConfigDump"))["ports"]["eth1"]["queue_id"] == 99


async def test_a_link_that_could_not_be_had_before_does_not_refuse_another_configuration(lab: Lab) -> None:
    eth2 = lab.link("eth2").ifindex
    lab.kernel.refuse(lambda write: type(write) is SetMember and write.ifindex == eth2, errno.EOPNOTSUPP, None)
    daemon = await lab.start()
    await quiet()
    tries = len(lab.kernel.performed)
    both = {**ACTIVE_BACKUP, "mcast_rejoin": {"count": 3}}
    report = await apply(daemon, both)
    assert report["applied"], report
    assert SetMember(eth2, True) in lab.kernel.performed[tries:], "it is tried again"
