"""pyteamdctl and C teamdctl, asked the same of the same daemons: C teamd on the real driver, and mock ones.

Each client drives a C teamd of its own through one script, in fresh namespaces, so that interface indexes and addresses
agree; only process ids may differ.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from ctl_bus import PrivateBus
from lab_kit import Bench, Result, bench, daemon, dump, run, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="the words of the client")]

ROOT = Path(__file__).parents[2]
CONFIGS = {
    "activebackup": '{"runner":{"name":"activebackup"},"ports":{"em1":{"prio":5,"sticky":true},"em2":{}},'
    '"link_watch":[{"name":"ethtool","delay_up":10},{"name":"nsna_ping","target_host":"fe80::1","interval":3600000},'
    '{"name":"arp_ping","source_host":"192.0.2.1","target_host":"192.0.2.2","interval":3600000,"missed_max":30}]}',
    "lacp": '{"runner":{"name":"lacp","tx_hash":["eth"],"sys_prio":7},"ports":{"em1":{"lacp_key":3},"em2":{}}}',
    "roundrobin": '{"x":{"\\u00e9":[0.1,1e300,-5,null,"\\ud83d\\ude00\\u007f/\\\\"]}}',
}
QUESTIONS = (
    *("state", "state view", "-v {} state", "-vv {} st v", "state dump", "-o {} state dump", "config dump"),
    *("-o {} config dump", "config dump noports", "c d a", "-o {} config dump actual", "port present em1"),
    *("port present em9", "port present e", "port config dump em1", "-o {} port config dump em2", "p c d lo"),
    *("port config dump em9", "state item get setup.runner_name", "state item get runner.active_port"),
    *("state item get ports.em1.link.up", "state item get nosuch", "state item get ports", "s i g ''"),
    *("-U {} state item get setup.debug_level", "-D {} state", "-Zx {} state", "bogus", "port add", "state item set a"),
)
CHANGES = (
    *("port remove em2", "port remove em2", "port remove lo", "port add em2", "port add em2", "port add em9"),
    *("port config update em1 '{\"prio\": -3}'", "port config update em1 '{'", "port config update em9 '{}'"),
    'port config update em1 \'{"prio": 1, "x":\n"back\\\\\\\\slash \\u00e9"}\'',
    *("port config update em1 ''", "state item set runner.active_port em2", "state item set runner.active_port lo"),
    *("state item set setup.debug_level 1", "state item set setup.debug_level x", "state item set setup.pid 1"),
    *("state item set nosuch 1", "state item set ports.em2.runner.aggregator.selected true"),
    "state item set ports.em1.runner.aggregator.selected false",
)

LOOP = """
import io, json, os, sys
from pyteamd.cli.pyteamdctl import main as ctl
for line in sys.stdin:
    settings, argv = json.loads(line)
    os.environ.update(settings)
    out, err = io.StringIO(), io.StringIO()
    print(json.dumps([ctl.run("teamdctl", argv, out, err), out.getvalue(), err.getvalue()]), flush=True)
"""

Answers = list[tuple[str, Result]]


class Theirs:
    """C teamdctl on a host."""

    def __init__(self, on: Bench, settings: dict[str, str]) -> None:
        self._on = on
        self._settings = settings

    def call(self, argv: list[str]) -> Result:
        settings = [f"{name}={value}" for name, value in self._settings.items()]
        return self._on.on_host(shlex.join(["env", *settings, "teamdctl", *argv]))

    def close(self) -> None:
        """Nothing stays."""


class Ours:
    """pyteamdctl on a host. One process for all calls: starting Python takes user-mode Linux half a second."""

    def __init__(self, on: Bench, settings: dict[str, str]) -> None:
        command = ["ip", "netns", "exec", on.host, sys.executable, "-B", "-c", LOOP]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self._settings = settings

    def call(self, argv: list[str]) -> Result:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([self._settings, argv]), file=self._process.stdin, flush=True)
        return Result(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate()


Client = Theirs | Ours
CLIENTS = (Theirs, Ours)


@contextmanager
def client(kind: type[Client], on: Bench, **settings: str) -> Iterator[Client]:
    """A client on a host, ended afterwards."""
    made = kind(on, settings)
    try:
        yield made
    finally:
        made.close()


def masked(result: Result) -> Result:
    """Without what differs between two runs of the same daemon."""
    texts = [re.sub(r'("pid": |PID: )\d+', r"\1N", text) for text in (result.out, result.err)]
    return Result(result.status, texts[0], texts[1])


def ask(asker: Client, question: str) -> tuple[str, Result]:
    """One call of the client, `{}` standing for the team."""
    arguments = question.replace("{}", "team0", 1) if "{} " in question else f"team0 {question}"
    return question, masked(asker.call(shlex.split(arguments)))


def questions(asker: Client) -> Answers:
    return [ask(asker, question) for question in QUESTIONS]


def ready(on: Bench, bus: str = "") -> None:
    """The daemon has seen both ports with their links."""
    for port in ("em1", "em2"):
        link = f"DBUS_SYSTEM_BUS_ADDRESS={bus} teamdctl team0 state item get ports.{port}.link.up"
        wait_for(partial(says, on, link, "true"), what=link)


def says(on: Bench, command: str, text: str) -> bool:
    return text in on.on_host(command).out


def settled() -> bool:
    """Nothing is going to change by itself: LACP has given up waiting for partners."""
    return '"expired"' not in dump()


@contextmanager
def c_teamd(config: str) -> Iterator[Bench]:
    """A host on which C teamd runs."""
    with bench() as host, daemon("teamd", host, config):
        ready(host)
        yield host


@pytest.mark.parametrize("name", ["activebackup", "lacp"])
def test_the_same_answers_throughout(name: str) -> None:
    runs: list[Answers] = []
    for kind in CLIENTS:
        with c_teamd(CONFIGS[name]) as host, client(kind, host) as asker:
            wait_for(settled)
            answers = questions(asker)
            for change in CHANGES:
                answers.append(ask(asker, change))
                # The daemon answers before it has worked through what the kernel then tells it.
                host.on_host("teamdctl team0 state && teamdctl team0 state")
                wait_for(settled)
            answers += [ask(asker, question) for question in ("-v {} state", "state dump", "config dump", "c d a")]
        runs.append(answers)
    theirs, ours = runs
    for one, other in zip(theirs, ours, strict=True):
        assert other == one
    assert {result.status for _, result in ours} == {0, 1}


def test_a_configuration_with_every_kind_of_value() -> None:
    answers = []
    with bench() as host, daemon("teamd", host, CONFIGS["roundrobin"]):
        for kind in CLIENTS:
            with client(kind, host) as asker:
                answers.append(questions(asker))
    assert answers[0] == answers[1]
    assert '"\\u00E9"' in dict(answers[1])["config dump"].out


def test_over_dbus(tmp_path: Path) -> None:
    with PrivateBus(tmp_path) as bus, bench() as host:
        setting = {"DBUS_SYSTEM_BUS_ADDRESS": bus.address}
        with client(Theirs, host, **setting) as theirs, client(Ours, host, **setting) as ours:
            teamd = f"DBUS_SYSTEM_BUS_ADDRESS={bus.address} teamd"
            with daemon(teamd, host, CONFIGS["activebackup"], flags="-D -u"):
                ready(host, bus.address)
                for question in (*QUESTIONS, *CHANGES[6:], "-D {} -v state", "-U {} state"):
                    assert ask(ours, question) == ask(theirs, question)
            assert ask(ours, "-D {} state") == ask(theirs, "-D {} state")
            assert ask(ours, "-D {} state")[1].status == 1


@pytest.mark.parametrize("mode", ["sample", "devices"])
def test_the_written_answers(mode: str) -> None:
    """`sample`: teamdctl still says what the unit tests expect of us. `devices`: so do we, about interfaces."""
    command = f"cd {ROOT} && unshare -nm --propagation private {sys.executable} -B tests/kit/ctl_record.py {mode}"
    result = run(command)
    assert result.status == 0, result.out + result.err
    assert "answers are as written" in result.out
