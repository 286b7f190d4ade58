"""pyteamnl and C teamnl, asked the same of the same team on the real driver."""

from __future__ import annotations

import itertools
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

import pytest
from lab_kit import Bench, Result, bench, daemon, must, run, wait_for

pytestmark = pytest.mark.kernel

OURS = f"{sys.executable} -B -m pyteamd.cli.pyteamnl.main"
SERVER = """
import io, json, shlex, sys
from pyteamd.cli.pyteamnl.main import run
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    status = run("teamnl", shlex.split(line), out, err)
    print(json.dumps([status, out.getvalue(), err.getvalue()]), flush=True)
"""
"""Many command lines in one process: starting Python is what takes long here. The tests below start it as users do; this goes under the
name that promises the words of C."""
AB = '{"runner":{"name":"activebackup"},"ports":{"em1":{"prio":-7},"em2":{}}}'
LB = '{"runner":{"name":"loadbalance","tx_hash":["eth"]},"ports":{"em1":{},"em2":{}}}'

COMMON = [
    *("team0 ports", "team0 options", "team0 p", "team0 o", "team0 getoption mode", "team0 g mode extra"),
    *("team0 getoption enabled", "team0 getoption enabled -p em1", "-p em1 team0 getoption priority"),
    *("--port=em2 team0 getoption priority", "team0 getoption nope", "team0 getoption", "team0 setoption"),
    *("team0 setoption mcast_rejoin_count", "-p nope team0 getoption enabled", "-p lo team0 getoption enabled"),
    *("-a 0 team0 getoption mode", "-a 5 team0 getoption mode", "-a x team0 getoption mode"),
    *("-a 0 -p em1 team0 getoption enabled", "nope ports", "lo ports", "team0 monitor bogus"),
    *("-a 3 team0 getoption lb_tx_hash_to_port_mapping", "team0 getoption lb_tx_hash_to_port_mapping"),
    *("-a 300 team0 getoption lb_tx_hash_to_port_mapping", "-p em1 team0 getoption lb_port_stats"),
    *("team0 getoption bpf_hash_func", "-a 3 team0 getoption lb_hash_stats", "team0 getoption lb_tx_method"),
]
CHANGES = [
    *("mcast_rejoin_count 3", "mcast_rejoin_count 0x10", "mcast_rejoin_count x"),
    *("mcast_rejoin_count 5000000000", "mcast_rejoin_count 4294967295", "mcast_rejoin_count ''", "mode roundrobin"),
    *(
        "priority 5 -p em1",
        "priority -- -5",
        "-p em1 priority -- -5",
        "-p em1 priority 2147483648",
        "enabled yes -p em2",
    ),
    *("enabled true -p em2", "enabled TRUE -p em2", "enabled false -p em1", "user_linkup false -p em1", "nope 1"),
    *(
        "lb_tx_method hash",
        "lb_tx_method bogus",
        "-a 3 lb_tx_hash_to_port_mapping 3",
        "-a 3 lb_tx_hash_to_port_mapping 77",
    ),
    *("bpf_hash_func '\\06\\00\\00\\00\\05\\00\\00\\00'", "bpf_hash_func xx", "bpf_hash_func '\\6\\0'"),
]
USAGE = ["", "team0", "team0 bogus", "-x", "team0 setoption a -1"]


def told(result: Result) -> tuple[int, str, list[str]]:
    """Exit code, output, messages; libteam's own log lines are not ours."""
    return result.status, result.out, [line for line in result.err.splitlines() if not line.startswith("libteam:")]


@pytest.fixture(params=[AB, LB], ids=["activebackup", "loadbalance"])
def team(request: pytest.FixtureRequest) -> Bench:
    with bench() as made, daemon("teamd", made, request.param):
        made.on_host("pid=$(cat /run/teamd/team0.pid); kill -9 $pid")  # nobody sets the options back
        yield made
        must("ip link del team0; rm -f /run/teamd/team0.*", namespace=made.host)


@pytest.fixture
def ours(team: Bench) -> Iterator[Callable[[str], Result]]:
    """Runs a command line of ours as teamnl."""
    words = ["ip", "netns", "exec", team.host, sys.executable, "-B", "-c", SERVER]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def command(line: str) -> Result:
            stdin.write(line + "\n")
            return Result(*json.loads(stdout.readline()))

        yield command
        stdin.close()


def test_questions_and_changes_get_the_same_answers(team: Bench, ours: Callable[[str], Result]) -> None:
    def theirs(line: str) -> Result:
        return team.on_host(f"teamnl {line}")

    for command in COMMON:
        assert told(ours(command)) == told(theirs(command)), command
    for change in CHANGES:
        results = []
        before = {key: value for key, value in team.options().items() if "stats" not in key}
        for program in (theirs, ours):
            told_now = told(program(f"team0 setoption {change}"))
            results.append((*told_now, {key: value for key, value in team.options().items() if "stats" not in key}))
            after = results[-1][3]
            for key, value in before.items():
                if after.get(key) != value:
                    restore(team, key, value)
        assert results[0] == results[1], change


def restore(team: Bench, key: str, value: str) -> None:
    """Set an option as it was, with C teamnl."""
    name, _, where = key.partition(" ")
    flag = ""
    if where:
        kind, _, which = where.strip("()").partition(":")
        flag = f"-p {which}" if kind == "port" else f"-a {which}"
    if value and "trunc" not in value and "stats" not in name:
        team.on_host(f"teamnl {flag} team0 setoption {name} -- {shlex.quote(value.strip())}")


def test_usage_errors_end_alike() -> None:
    for command in USAGE:
        ours, theirs = run(f"{OURS} {command}"), run(f"teamnl {command}")
        assert ours.status == theirs.status == 1
        assert ours.err.splitlines()[:1] == [
            line.replace("teamnl:", "pyteamnl:") for line in theirs.err.splitlines()[:1]
        ]


def paragraphs(text: str, titles: Sequence[str]) -> list[list[str]]:
    """The paragraphs of `monitor` that have one of these titles."""
    found: list[list[str]] = []
    for line in text.splitlines():
        if not line.startswith(" "):
            found.append([])
        found[-1].append(line)
    return [paragraph for paragraph in found if paragraph[0].rstrip(":") in titles]


def test_monitor_shows_changes() -> None:
    with bench() as made, daemon("teamd", made, AB):
        for style in ("changed", "all"):
            made.on_host(f"{OURS} team0 monitor {style} >/run/ours-{style} & echo $! >>/run/monitors")
            made.on_host(f"stdbuf -oL teamnl team0 monitor {style} >/run/theirs-{style} & echo $! >>/run/monitors")

        def told(who: str, style: str) -> str:
            return run(f"cat /run/{who}-{style}").out

        everybody = [(who, style) for who in ("ours", "theirs") for style in ("changed", "all")]
        count = itertools.count(1)

        def all_listen() -> bool:
            made.on_host(f"teamnl team0 setoption mcast_rejoin_interval {next(count)}")
            return all("options:" in told(*one) for one in everybody)

        wait_for(all_listen)
        number = made.on_host("cat /sys/class/net/em2/ifindex").out.strip()
        made.on_host("teamnl team0 setoption mcast_rejoin_count 9")
        made.cut(1)
        made.on_host("ip link set em2 nomaster")

        def heard(words: str, listeners: Sequence[tuple[str, str]]) -> None:
            what = f"all tell {words!r}"
            try:
                wait_for(lambda: all(words in told(*one) for one in listeners), 60.0, what)
            except AssertionError as silence:
                raise AssertionError({one: told(*one)[-500:] for one in listeners}) from silence

        heard(f"  -{number}: em2", everybody)
        heard(f"  *{number}: em2: *", everybody[:2])
        run("kill $(cat /run/monitors)")
        ours, theirs = (set(told(who, "changed").splitlines()) for who in ("ours", "theirs"))
        late = {line for line in theirs if "em2: *" in line or "mcast_rejoin_interval" in line}
        assert theirs - late <= ours
        for title in ("options", "ports"):
            lists = [paragraphs(told(who, "all"), [title]) for who in ("ours", "theirs")]
            assert lists[0][-1] == lists[1][-1]
            lines = [{line for part in parts for line in part if "rejoin_interval" not in line} for parts in lists]
            assert lines[0] == lines[1]
