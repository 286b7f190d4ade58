"""lacp in C teamd and in pyteamd side by side: the same configuration against the same partner; the same answers.

The partner is kernel bonding on the other ends, so both daemons negotiate for real; what is compared is what users see when it is over.
`state dump` of pyteamd may have more members (below `details`). Spoken text and everything else agree to the letter.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from lab_kit import PYTEAMD, Bench, bench, chosen, daemon, dump, wait_for
from lacp_peers import bond
from test_differential import ALLOWED

pytestmark = pytest.mark.kernel

CONFIGS = {
    "as the issue has it": '{"device":"team0","runner":{"name":"lacp","active":true,"fast_rate":true,'
    '"tx_hash":["eth","ipv4","ipv6"]},"link_watch":{"name":"ethtool"},"ports":{"em1":{},"em2":{}}}',
    "with a balancer": '{"device":"team0","runner":{"name":"lacp","active":true,"fast_rate":true,"tx_hash":["eth","ipv4","ipv6"],'
    '"tx_balancer":{"name":"basic"}},"link_watch":{"name":"ethtool"},"ports":{"em1":{},"em2":{}}}',
    "every key": '{"runner":{"name":"lacp","active":true,"fast_rate":true,"sys_prio":100,"min_ports":2,'
    '"agg_select_policy":"port_config","tx_hash":["l4"],"tx_balancer":{"balancing_interval":20}},'
    '"ports":{"em1":{"lacp_prio":10,"lacp_key":3,"prio":5,"sticky":true},"em2":{"lacp_prio":20,"lacp_key":3}}}',
    "nothing said": '{"runner":{"name":"lacp"},"ports":{"em1":{},"em2":{}}}',
    "key apart": '{"runner":{"name":"lacp","fast_rate":true,"agg_select_policy":"port_config"},'
    '"ports":{"em1":{"lacp_key":1,"prio":10},"em2":{"lacp_key":2}}}',
}
QUESTIONS = [
    "state", "-v state", "state view", "config dump", "config dump noports", "config dump actual", "port config dump em1",
    "state item get runner.active", "state item get runner.fast_rate", "state item get runner.sys_prio",
    "state item get runner.select_policy", "state item get ports.em1.runner.aggregator.id",
    "state item get ports.em1.runner.aggregator.selected", "state item get ports.em2.runner.state",
    "state item get ports.em2.runner.key", "state item get ports.em2.runner.prio",
    "state item get ports.em1.runner.actor_lacpdu_info.state", "state item get ports.em1.runner.partner_lacpdu_info.system",
    "state item set ports.em1.runner.aggregator.selected nosuch", "state item set runner.active false",
]  # fmt: skip
BOTH_CHOOSE = (
    "lb_stats",
    "lb_port_stats",
    "lb_hash_stats",
    "lb_tx_hash_to_port_mapping",
    "user_linkup (",
    "bpf_hash_func",
)
"""Options that count, that the balancer fills by its own rule, or that hold another program for the same hash (docs/differences.md)."""


PARTNER = (
    "key",
    "port",
    "port_priority",
    "state",
    "system",
    "system_priority",
)
FORGOTTEN = {
    ".ports.em2.runner.actor_lacpdu_info.state",
    *(f".ports.em2.runner.partner_lacpdu_info.{name}" for name in PARTNER),
}
"""After a link loss: teamd forgets the partner, and pyteamd keeps it and its place in the aggregate (docs/differences.md)."""


LATER = ("nothing said", "with a balancer")
AFTER = "dump, em2 cut"


def record(program: str, text: str, one_by_one: bool = False) -> list[tuple[str, Any]]:
    """Questions and answers, once both links are negotiated. `one_by_one`: em2 gets its link when em1 is in service."""
    with bench() as on, bond(on):
        if one_by_one:
            on.cut(2)
            # A link that never was up has the operational state "unknown", which the driver takes for up until the kernel looks again;
            # whether a daemon counts that is chance. Now it is known to be down.
            on.on_host("ip link set em2 up")
            wait_for(lambda: on.on_host("cat /sys/class/net/em2/operstate").out.strip() == "lowerlayerdown")
            on.on_host("ip link set em2 down")
        with daemon(program, on, text):
            on.on_host("ip link set team0 up")
            if one_by_one:
                wait_for(lambda: on.on_host("teamnl team0 getoption -p em1 enabled").out.strip() == "true", 15.0)
                on.mend(2)
            return conversation(on)


def conversation(on: Bench) -> list[tuple[str, Any]]:
    """Everything that is asked, and em2 cut in between."""
    settle(on)
    found = [ask(on, question) for question in QUESTIONS]
    found.append(("options", options(on)))
    found.append(("dump", json.loads(dump())))
    found.append(("carrier", on.on_host("cat /sys/class/net/team0/carrier").out))
    on.cut(2)
    settle(on)
    found += [ask(on, "state"), ("carrier, em2 cut", on.on_host("cat /sys/class/net/team0/carrier").out)]
    found.append((AFTER, json.loads(dump())))
    return found


def ask(on: Bench, question: str) -> tuple[str, Any]:
    option, rest = ("-v ", question[3:]) if question.startswith("-v ") else ("", question)
    result = on.on_host(f"teamdctl {option}team0 {rest}")
    texts = [result.out, result.err]
    for pattern, replacement in ALLOWED:
        texts = [pattern.sub(replacement, text) for text in texts]
    return question, (result.status, *texts)


def options(on: Bench) -> dict[str, str]:
    return {name: value for name, value in on.options().items() if not name.startswith(BOTH_CHOOSE)}


def settle(on: Bench) -> None:
    """What users see has been the same for longer than the wait of the standard takes."""
    seen, since = "", time.monotonic()

    def calm() -> bool:
        nonlocal seen, since
        time.sleep(0.2)
        before, seen = seen, on.on_host("teamdctl team0 state; teamnl team0 getoption -p em1 enabled").out
        since = since if seen == before else time.monotonic()
        return time.monotonic() >= since + 2.5

    wait_for(calm, 20.0)


def leaves(tree: Any, path: str = "") -> dict[str, Any]:
    """Values by path."""
    if not isinstance(tree, dict):
        return {path: tree}
    return {deep: value for name, below in tree.items() for deep, value in leaves(below, f"{path}.{name}").items()}


def dumps_differ(wanted: Any, got: Any, allowed: set[str]) -> list[str]:
    """Members of teamd's dump that are not the same in ours; more may be there."""
    ours = leaves(got)
    return [
        f"{path}: teamd {value}, pyteamd {ours.get(path)}"
        for path, value in leaves(wanted).items()
        if path not in allowed | {".setup.pid"} and ours.get(path) != value
    ]


BONDING = pytest.mark.kernel_kind("coupled", reason="bonding of newer kernels is in sync on its active aggregator only")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=BONDING if name == "key apart" else ()) for name in chosen(CONFIGS, LATER)]
)
def test_same_answers_of_lacp(name: str) -> None:
    # Bonding uses the aggregate that is ready first and stays with it. When a daemon uses the other one, nobody is served: so one
    # after the other here, and by a policy that knows no ties (for those see docs/differences.md).
    theirs, ours = (record(program, CONFIGS[name], one_by_one=name == "key apart") for program in ("teamd", PYTEAMD))
    different = []
    for (question, wanted), (_, got) in zip(theirs, ours, strict=True):
        if "dump" in question and isinstance(wanted, dict):
            different += dumps_differ(wanted, got, FORGOTTEN if question == AFTER else set())
        elif got != wanted:
            different.append(f"{question}\n   teamd: {wanted}\n pyteamd: {got}")
    assert not different, "\n".join(different)
