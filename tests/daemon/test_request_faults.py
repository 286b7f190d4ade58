"""A request never shares fate with the ports: whatever goes wrong with one is an error reply, and the team goes on."""

from __future__ import annotations

import errno
import json
import logging
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import trio
from daemon_kit import ACTIVE_BACKUP, Lab, Running, quiet

from pyteamd.config.config import Config
from pyteamd.daemon import link_counters, service
from pyteamd.daemon.control import methods
from pyteamd.daemon.control.desk import MAXIMUM_FOLLOWERS, Desk, take_turn
from pyteamd.daemon.snapshot_file import SnapshotFile
from pyteamd.kernel.api import Kernel
from pyteamd.linkwatch import WATCHERS
from pyteamd.model.errors import KernelGone, KernelRefused
from pyteamd.runners import RUNNERS
from pyteamd.runners.lacp.runner import Lacp
from pyteamd.schema.json_text import CONFIG_DEPTH

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "PortConfigUpdate": ("eth1", "{}"),
    "PortConfigCheck": ("eth1", "{}"),
    "Reason": ("PortAdd", "eth1"),
    "PortConfigDump": ("eth1",),
    "PortAdd": ("spare",),
    "PortRemove": ("eth2",),
    "StateItemValueGet": ("setup.pid",),
    "StateItemValueSet": ("runner.active_port", "eth2"),
    "FlowHash": ("{}",),
    "Events": ("0",),
    "ConfigApply": (json.dumps({**ACTIVE_BACKUP, "ports": {"eth1": {"prio": 9}, "spare": {}}}), "apply"),
    "Trace": ("0",),
    "ConfigConfirm": ("keep",),
}
ERRORS: dict[str, Callable[[], Exception]] = {
    "KernelRefused": lambda: KernelRefused(errno.ENOBUFS, "ask the kernel"),
    "KernelGone": lambda: KernelGone("it is gone"),
}
UNDECLARED = (MemoryError(), RecursionError("deep"), ModuleNotFoundError("No module named 'x'"), OSError(5, "I/O"))


def declared() -> Iterator[tuple[str, str]]:
    """Every method of the kernel with every error that its words declare."""
    for name, member in vars(Kernel).items():
        for error in ERRORS:
            if error in (getattr(member, "__doc__", None) or "") and not name.startswith("_"):
                yield name, error


DECLARED = sorted(declared())


def test_the_table_is_whole() -> None:
    assert {name for name, _ in DECLARED} >= {"find_link", "dump", "apply", "open_port", "delete_link"}
    assert {method.name for method in methods.METHODS if method.arguments} == set(ARGUMENTS)


async def alive(daemon: Running) -> None:
    """It still answers, and the ports are served."""
    assert json.loads(await daemon.call("StateDump"))["setup"]["runner_name"] == "activebackup"
    assert not daemon.ended.is_set()


def name_of(value: object) -> str:
    """For the names of tests."""
    if isinstance(value, methods.Method):
        return str(value.name)
    return type(value).__name__ if isinstance(value, Exception) else str(value)


def crossed(others: Sequence[tuple[object, ...]]) -> list[Any]:
    """Every method with all of these; each of either side once in `make check`, the rest is slow."""
    count = max(len(methods.METHODS), len(others))
    fast = {(number % len(methods.METHODS), number % len(others)) for number in range(count)}
    return [
        pytest.param(method, *other, marks=() if (row, column) in fast else pytest.mark.slow)
        for row, method in enumerate(methods.METHODS)
        for column, other in enumerate(others)
    ]


@pytest.mark.parametrize(("method", "asked", "error"), crossed(DECLARED), ids=name_of)
async def test_an_error_that_the_kernel_may_raise(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, method: methods.Method, asked: str, error: str
) -> None:
    lab.kernel.add_pair("spare", "far")
    daemon = await lab.start()
    await quiet()

    def fails(*arguments: object, **settings: object) -> NoReturn:
        raise ERRORS[error]()

    with monkeypatch.context() as broken:
        broken.setattr(lab.kernel, asked, fails)
        reply = await daemon.call(method.name, *ARGUMENTS.get(method.name, ()))
        assert "InternalFailure" not in reply
        await quiet()
    if (asked, error) == ("apply", "KernelGone"):
        return  # the device is gone: the team ends in good order, which other tests hold
    await alive(daemon)
    lab.cut("eth1")
    await quiet()
    assert lab.option("activeport") == lab.link("eth2").ifindex or method.name in ("PortRemove", "ConfigApply")


@pytest.mark.parametrize(("method", "fault"), crossed([(fault,) for fault in UNDECLARED]), ids=name_of)
async def test_a_fault_of_ours(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, method: methods.Method, fault: Exception
) -> None:
    async def breaks(*arguments: object) -> str:
        raise fault

    monkeypatch.setitem(methods.BY_NAME, method.name, replace(method, handler=breaks))
    daemon = await lab.start()
    await quiet()
    reply = await daemon.call(method.name, *ARGUMENTS.get(method.name, ()))
    assert reply.startswith(f"InternalFailure: {type(fault).__name__}")
    told = [line for line in daemon.lines if "This is a bug" in line]
    assert told == [f"{method.name}: This is a bug, please report it."]
    daemon.lines.clear()
    monkeypatch.setitem(methods.BY_NAME, method.name, method)
    await alive(daemon)


async def test_a_fault_whose_report_fails_too(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is without memory."""

    class Hopeless(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise MemoryError

    async def breaks(*arguments: object) -> str:
        raise MemoryError

    daemon = await lab.start()
    await quiet()
    handler = Hopeless(logging.ERROR)
    daemon.log.addHandler(handler)
    monkeypatch.setitem(methods.BY_NAME, "Diff", replace(methods.BY_NAME["Diff"], handler=breaks))
    assert (await daemon.call("Diff")).startswith("InternalFailure: MemoryError")
    daemon.log.removeHandler(handler)
    daemon.lines.clear()
    await alive(daemon)


async def test_an_error_with_words_that_are_no_text(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks(*arguments: object) -> str:
        raise KernelRefused(errno.EINVAL, "find link \udcff\x1b[2J")

    daemon = await lab.start()
    monkeypatch.setitem(methods.BY_NAME, "Diff", replace(methods.BY_NAME["Diff"], handler=breaks))
    assert await daemon.call("Diff") == r"KernelRefused: find link \xff\x1b[2J: invalid argument"
    await alive(daemon)


async def test_a_fault_in_what_only_tells_people(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The status that systemd shows, the look at counters: nobody asked for them, and the ports do not need them."""

    def breaks(*arguments: object) -> NoReturn:
        raise KeyError("eth1")

    monkeypatch.setattr(link_counters, "show", breaks)
    monkeypatch.setattr(service, "in_short", breaks)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{tmp_path}/manager")
        daemon = await lab.start(environ={"NOTIFY_SOCKET": f"{tmp_path}/manager"})
        await trio.sleep(3 * link_counters.INTERVAL_S)
        await alive(daemon)
        lab.cut("eth1")
        await quiet()
        assert lab.option("activeport") == lab.link("eth2").ifindex
    told = [line.partition(":")[0] for line in daemon.lines if "This is a bug" in line]
    assert set(told) == {"Counters of links", "Status for the service manager"}
    assert told.count("Counters of links") == 1
    daemon.lines.clear()


async def test_a_fault_in_what_is_kept_for_the_next_daemon(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def breaks(*arguments: object) -> NoReturn:
        raise KeyError("eth1")

    monkeypatch.setattr(Lacp, "snapshot", breaks)
    daemon = await lab.start(lab.plan({"runner": {"name": "lacp"}}, snapshot_stem=f"{tmp_path}/team0"))
    await trio.sleep(5)
    assert (await daemon.state())["setup"]["runner_name"] == "lacp"
    assert {line.partition(":")[0] for line in daemon.lines if "This is a bug" in line} == {
        "What is kept for the next daemon"
    }
    daemon.lines.clear()


def test_a_start_that_fails_at_what_was_kept_is_the_last_one(tmp_path: Path) -> None:
    class Runner:
        def resume(self, *arguments: object) -> NoReturn:
            raise KeyError("eth1")

    kept = tmp_path / "team0.lacp.json"
    kept.write_text(json.dumps({"boot": "b", "ifindex": 5, "snapshot": {"of": "a newer version"}}))
    runner: Any = Runner()
    with pytest.raises(KeyError):
        SnapshotFile(str(kept), 5, logging.getLogger("kept"), boot="b", clock=lambda: 1e10).hand_over(runner, 1.0)
    assert not kept.exists()


# -- many clients ------------------------------------------------------------------------------------------------------


async def test_between_two_requests_the_kernel_has_its_turn(nursery: trio.Nursery) -> None:
    happened: list[str] = []

    async def client() -> None:
        await take_turn()
        happened.append("request")

    async def reader() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            happened.append("reader")

    nursery.start_soon(reader)
    async with trio.open_nursery() as clients:
        for _ in range(50):
            clients.start_soon(client)
    assert happened.count("request") == 50
    assert not re.search("request request", " ".join(happened))
    nursery.cancel_scope.cancel()


async def test_what_many_ask_is_made_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[float] = []
    original = methods.BY_NAME["StateDump"].handler

    async def counted(*arguments: Any) -> str:
        made.append(trio.current_time())
        return await original(*arguments)

    monkeypatch.setitem(methods.BY_NAME, "StateDump", replace(methods.BY_NAME["StateDump"], handler=counted))
    daemon = await lab.start()
    await quiet()
    made.clear()
    clients = [await daemon.connect() for _ in range(40)]
    for client in clients:
        await client.send(b"REQUEST\nStateDump\n")
    replies = {await client.recv(1 << 20) for client in clients}
    assert (len(replies), len(made)) == (1, 1)
    assert await daemon.call("StateItemValueSet", "runner.active_port", "eth2") == ""
    assert json.loads(await daemon.call("StateDump"))["runner"]["active_port"] == "eth2", "never an old answer"
    for client in clients:
        client.close()


async def test_followers_are_bounded(lab: Lab) -> None:
    daemon = await lab.start()
    await quiet()
    start = json.loads(await daemon.call("Events", "now"))["next"]
    clients = [await daemon.connect() for _ in range(4 * MAXIMUM_FOLLOWERS)]
    for client in clients:
        await client.send(f"REQUEST\nEvents\n{start}\n".encode())
    await quiet()
    (pump,) = daemon.reader.pumps.values()
    assert len(pump._bell._waiting) <= MAXIMUM_FOLLOWERS + 2
    lab.cut("eth1")
    for client in clients:
        reply = await client.recv(1 << 20)
        assert b'Changed active port to \\"eth2\\".' in reply, "nobody is left out"
        client.close()


async def test_no_more_than_user_errors_leave(lab: Lab) -> None:
    daemon = await lab.start()
    (pump,) = daemon.reader.pumps.values()
    desk = Desk(pump, daemon.log)
    for given in ((), ("a",)):
        with pytest.raises(methods.UserError):
            await desk.call(methods.BY_NAME["PortConfigUpdate"], given)
    with pytest.raises(methods.UserError):
        await desk.call(methods.BY_NAME["Events"], ())


@pytest.mark.slow
async def test_a_configuration_as_deep_as_it_may_be(lab: Lab) -> None:
    """Nothing that copies, shows or compares it may fail for that."""
    depth = CONFIG_DEPTH - 2
    for deep in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
        text = json.dumps({**ACTIVE_BACKUP, "new": "deep"}).replace('"deep"', deep)
        loaded = Config.load(text, runners=RUNNERS, watchers=WATCHERS, device="team0")
        daemon = await lab.start(lab.plan(config=None, snapshot_stem=f"{lab.directory}/team0"))
        for how in ("dry-run", "apply", "confirm 60"):
            reply = await daemon.call("ConfigApply", text.replace('"eth2": {}', f'"eth2": {{"prio": {len(how)}}}'), how)
            assert json.loads(reply)["problems"] == []
        assert (await daemon.call("ConfigConfirm", "revert")) == '{"confirmed": false}'
        await daemon.stop()
        daemon = await lab.start(replace(lab.plan(), config=loaded))
        for method in ("ConfigDump", "ConfigDumpActual", "Diff", "Explain"):
            assert "InternalFailure" not in await daemon.call(method)
        assert json.loads(await daemon.call("Trace", "0"))["lines"][0].count(deep[0]) > depth
        await daemon.stop()


async def test_what_is_nested_deeper_than_a_configuration_may_be_is_refused(lab: Lab) -> None:
    """700 levels of one port's settings were let in, and ended the daemon when that step of the trace was packed or written."""
    daemon = await lab.start()
    deep = json.dumps({"new": "deep"}).replace('"deep"', "[" * 700 + "]" * 700)
    assert (await daemon.call("PortConfigUpdate", "eth1", deep)).startswith("ConfigUpdateFail")
    assert any(f"nested more than {CONFIG_DEPTH - 2} levels deep near '['" in line for line in daemon.lines), (
        daemon.lines
    )
    report = json.loads(await daemon.call("ConfigApply", deep, "apply"))
    assert f"nested more than {CONFIG_DEPTH} levels deep" in report["problems"][0], report
    deepest = deep.replace("[" * 700, "[" * (CONFIG_DEPTH - 3)).replace("]" * 700, "]" * (CONFIG_DEPTH - 3))
    assert (await daemon.call("PortConfigUpdate", "eth1", deepest)) == ""
    whole = await daemon.call("ConfigDump")
    assert json.loads(await daemon.call("ConfigApply", whole, "dry-run"))["problems"] == []
