"""C teamd and pyteamd with the same ping watchers: what C teamdctl says of them, at the start, when the target falls silent, afterwards.

Only configurations in which both follow the same definition; where they differ on purpose is in docs/differences.md. The numbers of missed
answers depend on the moment and are left out; when the verdict changes is measured in test_watchers.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import pytest
from lab_kit import PYTEAMD, Bench, bench, chosen, daemon, state, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="the answers of the daemon")]

PORTS = '"ports":{"em1":{"prio":10},"em2":{}}'
VALIDATED = '"validate_active":true,"validate_inactive":true,"send_always":true'
ARP = f'{{"name":"arp_ping","interval":100,"missed_max":3,"source_host":"192.0.2.2","target_host":"192.0.2.1",{VALIDATED}}}'
NSNA = '{"name":"nsna_ping","interval":100,"missed_max":2,"init_wait":50,"target_host":"2001:db8::1"}'
# `link_watch_policy` "all" is not here: it came with teamd 1.32, and the lab has Debian's 1.31, which ignores it. What it does is taken
# from 1.32's source and tested in test_watcher_stories.py and in tests/scenarios/link-watch-policy-all.txt.
CONFIGS = {
    "arp_ping": f'{{"runner":{{"name":"activebackup"}},"link_watch":{ARP},{PORTS}}}',
    "arp_ping in a VLAN": f'{{"runner":{{"name":"activebackup"}},"link_watch":{ARP[:-1]},"vlanid":7}},{PORTS}}}',
    "arp_ping and ethtool, any": f'{{"runner":{{"name":"activebackup"}},"link_watch":[{{"name":"ethtool"}},{ARP}],{PORTS}}}',
    "arp_ping of the port, nsna_ping of the team": f'{{"runner":{{"name":"roundrobin"}},"link_watch":{NSNA},'
    f'"ports":{{"em1":{{"link_watch":{ARP}}},"em2":{{}}}}}}',
    "nsna_ping": f'{{"runner":{{"name":"roundrobin"}},"link_watch":{NSNA},"ports":{{"em1":{{}},"em2":{{}}}}}}',
    "loadbalance": f'{{"runner":{{"name":"loadbalance"}},"link_watch":[{ARP},{NSNA}],"ports":{{"em1":{{}},"em2":{{}}}}}}',
    "defaults": '{"runner":{"name":"activebackup"},"link_watch":{"name":"arp_ping","target_host":"192.0.2.1"},"ports":{"em1":{}}}',
}
LATER = ("arp_ping and ethtool, any", "arp_ping of the port, nsna_ping of the team", "loadbalance")
QUESTIONS = (
    "state", "-v state", "state dump", "config dump", "config dump actual", "port config dump em1",
    "state item get ports.em1.link_watches.list.link_watch_0.missed_max",
    "state item get ports.em1.link_watches.list.link_watch_0.target_host",
    "state item get ports.em1.link_watches.list.link_watch_0.validate_active",
)  # fmt: skip
VARYING = ("-v state", "state dump")
"""Asked again when something has changed; the other answers are parts of these or do not change."""
VARIES = (
    (re.compile(r'("missed": |"pid": |PID: )\d+'), r"\1N"),
    (re.compile(r"missed packets: \d+"), "missed packets: N"),
)


def addresses(on: Bench) -> None:
    """Both ports lead to the targets, each by itself, in the VLAN too."""
    on.on_switch("echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore")
    for n in (1, 2):
        on.on_switch(
            f"ip addr add 192.0.2.1/24 dev p{n}; ip addr add 2001:db8::1/64 dev p{n} nodad;"
            f" ip link add link p{n} name v{n} type vlan id 7 && ip link set v{n} up && ip addr add 192.0.2.1/24 dev v{n}"
        )


def silence(on: Bench, silent: bool) -> None:
    """The targets behind em1 do not answer, or do again."""
    arp = "off" if silent else "on"
    v6 = "del" if silent else "add"
    nodad = "" if silent else " nodad"
    on.on_switch(f"ip link set p1 arp {arp}; ip link set v1 arp {arp}; ip addr {v6} 2001:db8::1/64 dev p1{nodad}")


def asked(on: Bench, questions: Sequence[str] = QUESTIONS) -> list[tuple[str, Any]]:
    """Every question with its answer."""
    answers: list[tuple[str, Any]] = []
    for question in questions:
        option, _, rest = question.partition(" ")
        result = on.on_host(f"teamdctl {option} team0 {rest}" if option == "-v" else f"teamdctl team0 {question}")
        texts = [result.out, result.err]
        for pattern, replacement in VARIES:
            texts = [pattern.sub(replacement, text) for text in texts]
        answers.append((question, (result.status, *texts)))
    watched = ("user_linkup", "user_linkup_enabled", "enabled", "activeport")
    options = {name: value for name, value in on.options().items() if name.split()[0] in watched}
    answers.append(("teamnl options", options))
    return answers


def verdicts() -> list[bool]:
    """Of every watcher of every port."""
    ports = state().get("ports", {})
    return [watcher["up"] for port in ports.values() for watcher in port["link_watches"]["list"].values()]


def settle() -> None:
    """Until three looks see the same verdicts."""
    seen: list[list[bool]] = []

    def calm() -> bool:
        time.sleep(0.1)
        seen.append(verdicts())
        return len(seen) > 2 and seen[-1] == seen[-2] == seen[-3]

    wait_for(calm, 10.0)


def record(program: str, config: str) -> list[tuple[str, Any]]:
    """The whole conversation."""
    found: list[tuple[str, Any]] = []
    with bench() as on:
        addresses(on)
        with daemon(program, on, config):
            on.on_host("ip link set team0 up")
            on.await_link(1, True)
            # teamd's nsna_ping has to wait until the kernel has given the port an address.
            wait_for(lambda: (seen := verdicts()) and all(seen), 10.0)
            settle()
            found += [(f"start: {question}", answer) for question, answer in asked(on)]
            if "validate" in config or "nsna" in config:
                for silent in (True, False):
                    silence(on, silent)
                    time.sleep(0.6)
                    settle()
                    found += [(f"silent {silent}: {question}", answer) for question, answer in asked(on, VARYING)]
    return found


@pytest.mark.parametrize("name", chosen(CONFIGS, LATER))
def test_same_answers(name: str) -> None:
    theirs, ours = record("teamd", CONFIGS[name]), record(PYTEAMD, CONFIGS[name])
    different = [
        f"{question}\n   teamd: {answer}\n pyteamd: {ours[n][1]}"
        for n, (question, answer) in enumerate(theirs)
        if answer != ours[n][1]
    ]
    assert len(theirs) == len(ours)
    assert not different, f"{CONFIGS[name]}\n" + "\n".join(different)
