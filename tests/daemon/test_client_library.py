"""The client library against a daemon on the simulated kernel: every method, and the examples of docs/client.md as they stand there."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from daemon_kit import ACTIVE_BACKUP, Lab, quiet

from pyteamd.client import CallFailed, Client, ConfigRefused, DaemonError, teams
from pyteamd.daemon.control.methods import BY_NAME

DOCUMENT = (Path(__file__).parents[2] / "docs/client.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
SAID = (
    "activebackup eth1\neth1 up\neth2 up\n",
    "['team0']\nteam0 ['eth1', 'eth2']\n",
    "eth1 True eth1: carries traffic as the active port",
    'Changed active port to "eth2".\n',
    'Changed active port to "eth1".\n',
    "ports.eth2.prio: 0 -> 50 (the team is interrupted) team\n[",
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(tmp_path))


async def in_thread(work: Callable[[], Any]) -> Any:
    """What a program does that knows nothing of trio."""
    return await trio.to_thread.run_sync(work)


def test_every_method_has_its_name_and_its_row() -> None:
    rows = [
        line.split("|")[1:3]
        for line in DOCUMENT.partition("## Methods")[2].partition("##")[0].splitlines()
        if line.startswith("| `")
    ]
    told = {
        method: re.findall(r"`(\w+)\(", ours) for ours, theirs in rows for method in re.findall(r"[A-Z]\w+", theirs)
    }
    assert set(told) == set(BY_NAME)
    for method, names in told.items():
        assert all(getattr(Client, name).__doc__ for name in names)
        assert any(re.search(rf"\b{method}\b", inspect.getsource(getattr(Client, name))) for name in names), method


async def test_the_examples_of_the_document_run(lab: Lab) -> None:
    await lab.start()
    await quiet()
    lab.kernel.set_up(lab.link("team0").ifindex, True)
    await quiet()
    assert len(EXAMPLES) == len(SAID)
    for example, said in zip(EXAMPLES, SAID, strict=True):
        out = io.StringIO()

        def run(example: str = example, out: io.StringIO = out) -> None:
            with contextlib.redirect_stdout(out):
                exec(compile(example, "docs/client.md", "exec"), {"__name__": "__main__"})

        await in_thread(run)
        assert out.getvalue().startswith(said), example
    assert out.getvalue().endswith("NoSuchDev\n")


async def test_ports_come_and_go(lab: Lab) -> None:
    await lab.start()
    await quiet()

    def work() -> None:
        with Client.connect("team0") as team:
            team.remove_port("eth2")
            assert list(team.ports()) == ["eth1"]
            team.update_port("eth2", {"prio": 7})
            team.add_port("eth2")
            assert team.port_config("eth2")["prio"] == 7
            assert list(team.config(actual=True)["ports"]) == ["eth1", "eth2"]
            assert team.diff()["missing"] == []
            assert team.metrics().endswith("# EOF\n")
            assert next(iter(team.trace())).startswith("{")
            assert team.balance()
            team.set("setup.debug_level", 1)
            assert team.get("setup.debug_level") == "1"
            with pytest.raises(DaemonError) as refused:
                team.get("no.such.item")
            assert refused.value.code

    await in_thread(work)


async def test_a_configuration_on_trial(lab: Lab) -> None:
    await lab.start()
    await quiet()

    def work() -> None:
        with Client.connect("team0") as team:
            with pytest.raises(DaemonError) as nothing:
                team.confirm()
            assert nothing.value.code == "NothingToConfirm"
            before = team.config()
            team.apply({**ACTIVE_BACKUP, "ports": {"eth1": {}, "eth2": {"prio": 3}}}, confirm_s=60)
            team.revert()
            assert team.config() == before
            with pytest.raises(ConfigRefused) as refused:
                team.apply("runner: {name: activebackup}\nports: {eth1: {prio: high}}\n")
            assert any("prio" in line for line in refused.value.problems)
            assert team.apply('{"runner": 5}', dry_run=True)["problems"]

    await in_thread(work)


async def test_a_task_that_is_cancelled_waits_no_longer(lab: Lab) -> None:
    await lab.start()
    await quiet()

    async def wait() -> None:
        with Client.connect("team0") as team, team.events() as events:
            async with asyncio.timeout(0.2):
                await anext(events)

    def work() -> None:
        with pytest.raises(TimeoutError):
            asyncio.run(wait())

    with trio.fail_after(2.5):  # the daemon itself would answer after 3 s
        await in_thread(work)


async def test_a_daemon_that_ends_ends_the_events(lab: Lab) -> None:
    daemon = await lab.start()
    await quiet()
    asked = trio.Event()

    def work() -> None:
        with Client.connect("team0") as team, team.events() as events:
            trio.from_thread.run_sync(asked.set)
            with pytest.raises(CallFailed):
                list(events)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_thread, work)
            await asked.wait()
            await daemon.stop()
    assert teams() == []
