"""C teamd and pyteamd side by side: the same configuration, the same events, the same questions; the same answers.

Each daemon gets a fresh namespace, so interface indexes and addresses agree by themselves. What may differ is listed in ALLOWED, and
each entry is a row of docs/differences.md.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from typing import Any

import pytest
from lab_kit import PYTEAMD, Bench, bench, chosen, daemon, dump, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="the answers of the daemon")]

PORTS = '"ports":{"em1":{"prio":-10,"sticky":true},"em2":{"prio":100}}'
CONFIGS = {
    "by-active, no ports": '{"runner": {"name": "activebackup", "hwaddr_policy": "by_active"}}',
    "sticky and prio": '{"device":"team0","runner":{"name":"activebackup"},"link_watch":{"name":"ethtool"},'
    + PORTS
    + "}",
    "queue": '{"device":"team0","runner":{"name":"activebackup"},"link_watch":{"name":"ethtool"},'
    '"ports":{"em1":{"prio":-10,"sticky":true,"queue_id":4},"em2":{"prio":100}}}',
    # Without sticky: which of two delays that end together comes first is chance, with teamd too.
    "delays": '{"device":"team0","runner":{"name":"activebackup"},'
    '"link_watch":{"name":"ethtool","delay_up":150,"delay_down":50},'
    + '"ports":{"em1":{"prio":-10},"em2":{"prio":100}}}',
    "only-active, announcements": '{"runner":{"name":"activebackup","hwaddr_policy":"only_active"},'
    '"notify_peers":{"count":3,"interval":50},"mcast_rejoin":{"interval":20},"ports":{"em1":{},"em2":{"prio":5}}}',
    "all watchers must agree": '{"runner":{"name":"activebackup"},"link_watch_policy":"all","debug_level":1,'
    '"link_watch":[{"name":"ethtool"},{"name":"ethtool","delay_up":10}],"ports":{"em1":{},"em2":{}},"x":{"unknown":[1,2.5,"ä"]}}',
    "broadcast": '{"runner":{"name":"broadcast"},"ports":{"em1":{},"em2":{}}}',
    "random": '{"runner":{"name":"random"},"ports":{"em1":{},"em2":{"link_watch":{"name":"ethtool","delay_up":50}}}}',
    "nothing said": '{"ports":{"em1":{},"em2":{}}}',
    "loadbalance": '{"runner":{"name":"loadbalance","tx_hash":["eth","ipv4","ipv6"]},"ports":{"em1":{},"em2":{}}}',
    "loadbalance, odd fragments": '{"runner":{"name":"loadbalance","tx_hash":["nosuch",5,"l4"]},"ports":{"em1":{},"em2":{}}}',
    "missing port": '{"runner":{"name":"activebackup"},"ports":{"em9":{},"em1":{}}}',
    "wrong types": '{"runner":{"name":"activebackup","hwaddr_policy":5},"ports":{"em1":{"prio":"high","sticky":1},"em2":{}}}',
}

QUESTIONS = [
    "state", "state -v", "-v state", "state view", "state dump", "config dump", "config dump noports", "config dump actual",
    "-o config dump", "-o state dump", "port present em1", "port present em9", "port config dump em1", "port config dump em9",
    "port config dump lo", "state item get runner.active_port", "state item get setup.runner_name",
    "state item get ports.em1.link.up", "state item get ports.em1.link_watches.list.link_watch_0.down_count",
    'state item get \'ports."em2".ifinfo.ifname\'', "state item get ports.em1", "state item get nosuch",
    "state item get ports.em1.nosuch", "state item get ports.nosuch.link.up", "state item get team_device.ifinfo.dev_addr",
    "state item get setup", "state item get ports.em1.ifinfo.dev_addr_len",
]  # fmt: skip

MAIN_QUESTIONS = ["state -v", "config dump", "config dump actual"]
SHORT = ["cut 1", "mend 1", "ctl port remove em1", "ctl port add em1", "cut 2"]
LONG = [
    "cut 1",
    "mend 1",
    "ctl state item set runner.active_port em1",
    "ctl state item set runner.active_port nosuch",
    "ctl state item set setup.debug_level 2",
    "ctl state item set setup.debug_level -1",
    "ctl state item set setup.debug_level x",
    "ctl state item set setup.pid 5",
    "ctl state item set nosuch 5",
    "ctl state item set ports.em1.link.up false",
    "ctl port config update em1 '{\"prio\": 200}'",
    "ctl port config update em1 '{'",
    "ctl port config update em1 ''",
    "ctl port config update nosuch '{\"prio\": 1}'",
    'ctl port config update spare \'{"prio": 7, "x": "y"}\'',
    "ctl port remove nosuch",
    "ctl port remove lo",
    "ctl port remove em1",
    "ctl port add em1",
    "ctl port add em1",
    "ctl port add nosuch",
    "ctl port add lo",
    "ctl port add spare",
    "cut 2",
    "mend 2",
    "ctl port nosuch",
    "ctl nosuch",
    "host ip link set em2 nomaster",
    "host ip link set em2 down",
    "host ip link set em2 master team0",
]

ALLOWED = [
    (re.compile(r'("pid": |PID: )\d+'), r"\1N"),
    # an address the kernel made up for a team without ports; all others begin like this in these tests
    (re.compile(r"\b(?!02:00:00:00:0|00:00:00:00)[0-9a-f]{2}(:[0-9a-f]{2}){5}\b"), "GENERATED"),
]

LINK_FLAGS = re.compile(r"^\d+: ([^@:]+).*?<(.*?)>", re.MULTILINE)
LATER = ("only-active, announcements", "all watchers must agree", "random", "nothing said", "loadbalance")
QUIET_S = 0.1
DELAYED_S = 0.3
"""Longer than the delays in the configurations."""
FULL = chosen(("by-active, no ports", "sticky and prio"), ("sticky and prio",))
"""Configurations that go through every question and step; the others are asked the main ones."""


class Transcript(list[tuple[str, Any]]):
    """What was asked, and the answers."""

    def ask(self, on: Bench, about: str, full: bool) -> None:
        for question in QUESTIONS if full else MAIN_QUESTIONS:
            arguments = question if question.startswith("-") else f"team0 {question}"
            if question.startswith("-"):
                option, _, rest = question.partition(" ")
                arguments = f"{option} team0 {rest}"
            self.note(on, f"teamdctl {arguments}", about)
        if "loadbalance" not in on.on_host("teamnl team0 getoption mode").out:
            # teamd does not always write user_linkup, which has no effect while user_linkup_enabled is false
            options = {key: value for key, value in on.options().items() if not key.startswith("user_linkup (")}
            self.append((f"{about}: teamnl options", options))
        self.note(on, "ip -br link | sed 's/ *$//' | sort", about)

    def note(self, on: Bench, command: str, about: str) -> None:
        result = on.on_host(command)
        texts = [result.out, result.err]
        for pattern, replacement in ALLOWED:
            texts = [pattern.sub(replacement, text) for text in texts]
        self.append((f"{about}: {command}", (result.status, *texts)))


def settle(quiet_s: float) -> None:
    """Wait until nothing has changed for so long."""
    seen, since = "", time.monotonic()

    def calm() -> bool:
        nonlocal seen, since
        time.sleep(0.02)
        before, seen = seen, dump()
        since = since if seen == before else time.monotonic()
        return time.monotonic() >= since + quiet_s

    wait_for(calm, 10.0)


def await_carrier(on: Bench) -> None:
    """Give the driver, which looks at its ports' carriers once a second, the time to take up the team's; and the kernel, which looks at
    operational states as rarely, the time to see what carriers make of them."""
    give_up = time.monotonic() + 4.0

    def calm() -> bool:
        flags = {name: words.split(",") for name, words in LINK_FLAGS.findall(on.on_host("ip -o link").out)}
        seen = all(("LOWER_UP" in words) is not ("NO-CARRIER" in words) for words in flags.values() if "UP" in words)
        return seen and ("LOWER_UP" in flags.get("team0", ()) or time.monotonic() >= give_up)

    wait_for(calm, 10.0)


def perform(on: Bench, step: str, transcript: Transcript) -> None:
    """One step of the script."""
    kind, _, rest = step.partition(" ")
    match kind:
        case "cut":
            on.cut(int(rest))
        case "mend":
            on.mend(int(rest))
        case "ctl":
            transcript.note(on, f"teamdctl team0 {rest}", step)
        case _:
            on.on_host(rest)


def record(program: str, config: str, steps: list[str], full: bool) -> Transcript:
    """The whole conversation with one daemon."""
    transcript = Transcript()
    quiet_s = DELAYED_S if "delay" in config else QUIET_S
    with bench() as on:
        on.on_host("ip link add spare address 02:00:00:00:01:99 type veth peer name erapS address 02:00:00:00:02:99")
        with daemon(program, on, config) as started:
            on.on_host("ip link set team0 up")
            for port in (1, 2):
                if "master team0" in on.on_host(f"ip -o link show em{port}").out:
                    on.await_link(port, True)
            settle(quiet_s)
            await_carrier(on)
            transcript.ask(on, "start", full)
            for step in steps:
                perform(on, step, transcript)
                settle(quiet_s)
                if not step.startswith("ctl state item set setup"):
                    transcript.append((f"{step}: state", json.loads(normal(dump()))))
                    transcript.append((f"{step}: config", dump("ConfigDump")))
            await_carrier(on)
            transcript.ask(on, "end", full)
            stopped = started.stop()
            transcript.append(("-k", (stopped.status, stopped.out)))
        transcript.append(("links at the end", on.on_host("ip -br link | sed 's/ *$//' | sort").out))
    return transcript


def normal(text: str) -> str:
    for pattern, replacement in ALLOWED:
        text = pattern.sub(replacement, text)
    return text.replace('"pid": N', '"pid": 0')


@pytest.mark.parametrize("name", chosen(CONFIGS, LATER))
def test_same_answers(name: str) -> None:
    config = CONFIGS[name]
    steps = LONG if name in FULL else SHORT
    if "ports" not in json.loads(config):
        steps = ["ctl port add em1", "ctl port add em2", *steps]
    theirs = record("teamd", config, steps, name in FULL)
    ours = record(PYTEAMD, config, steps, name in FULL)
    assert [question for question, _ in theirs] == [question for question, _ in ours]
    different = [
        f"{question}\n   teamd: {answer}\n pyteamd: {ours[n][1]}"
        for n, (question, answer) in enumerate(theirs)
        if answer != ours[n][1]
    ]
    assert not different, f"{shlex.quote(config)}\n" + "\n".join(different)
