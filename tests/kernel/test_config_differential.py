"""C teamd and our loader, given the same configuration: who starts, which port is taken, what is stored.

Each row is given to a C teamd of its own, and to pyteamd.config.config. Left out are the rows of docs/differences.md: interface names
with dots, integers beyond 32 bits, `link_watch_policy` (newer than the teamd 1.31 of the lab), watchers we do not have. And a list
of watchers of which only a later one is bad: that leaves teamd in a state in which it answers nothing and does not end.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab_kit import must, wait_for

from pyteamd.config.config import Config
from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS
from pyteamd.schema import json_text
from pyteamd.schema.problems import ConfigError

pytestmark = [pytest.mark.kernel, pytest.mark.one_kernel(reason="what a configuration leads to")]

TEAM = "cfgteam"
PORT_OF_TEAM = Path(f"/sys/class/net/{TEAM}/lower_cfg0")
AB = {"name": "activebackup"}
CFG0: dict[str, Any] = {"ports": {"cfg0": {}}}
ROWS: list[Any] = [
    "",
    "{",
    "[]",
    "{} x",
    '{"a":1,"a":2}',
    '{"a":NaN}',
    '{"a":"\\ud800"}',
    '{"a":9223372036854775808}',
    {"device": 5},
    {"device": None},
    {"device": "a name too long for a device"},
    CFG0,
    {"ports": {"cfg9": {}, "cfg0": {"prio": 3}}},
    {"x": [1.5, "é\u20ac😀", {}, []], "ports": {"cfg0": {"x": None}}},
    *({"runner": runner, **CFG0} for runner in ("lacp", [], None, {}, {"name": 5}, {"name": "nope"}, {"addr": 5})),
    *({"runner": {"name": name}, **CFG0} for name in ("broadcast", "random", "roundrobin", "activebackup")),
    *({"runner": {"name": "loadbalance", "tx_hash": value}, **CFG0} for value in ("eth", [], ["eth", 5, "zzz"], None)),
    {"runner": {"name": "loadbalance"}, **CFG0},
    {"runner": {"name": "loadbalance", "tx_balancer": "basic"}, **CFG0},
    {"runner": {"name": "loadbalance", "tx_balancer": {"name": "zzz", "balancing_interval": -5}}, **CFG0},
    *({"runner": {"name": "lacp", key: -1}, **CFG0} for key in ("sys_prio", "min_ports", "fast_rate")),
    {"runner": {"name": "lacp", "agg_select_policy": "x"}, **CFG0},
    *({"runner": {**AB, "hwaddr_policy": policy}, **CFG0} for policy in ("by_active", "x", 5)),
    *({"runner": AB, key: value, **CFG0} for key in ("notify_peers", "mcast_rejoin") for value in (5, {}, {"count": -1})),
    *({"runner": AB, "notify_peers": value, **CFG0} for value in ({"count": "x"}, {"interval": -1}, {"count": None}, [])),
    {"runner": {"name": "roundrobin"}, "notify_peers": 5, **CFG0},
    *({"hwaddr": text, **CFG0} for text in ("2:3:4:5:6:7", " 2 : 3:4:5:6:7 ", "0x2:03:004:5:6:7", "zz", "1:2:3", "", 5)),
    *({"hwaddr": text, **CFG0} for text in ("1:0:5e:0:0:1", "0:0:0:0:0:0", "2:3:4:5:6:7:", "-2:3:4:5:6:7", "100:3:4:5:6:7")),
    *({"debug_level": value, **CFG0} for value in ("x", 1.0, None)),
    *({"ports": value} for value in (5, [], None, {"cfg0": 5}, {"cfg0": None}, {"cfg0": []})),
    {"ports": 5, "link_watch": {"name": "ethtool"}},
    {"ports": {"cfg0": 5}, "link_watch": {"name": "ethtool"}},
    *({"link_watch": value, **CFG0} for value in ("ethtool", None, [], {}, ["ethtool"], {"name": 5}, {"name": "nope"})),
    {"link_watch": [{"name": "ethtool"}, {"name": "ethtool", "delay_up": 5}], **CFG0},
    *({"link_watch": {"name": "ethtool", "delay_up": value}, **CFG0} for value in (0, -1, "5", 1.0, True)),
    *({"ports": {"cfg0": {"link_watch": value}}} for value in ({"name": "ethtool"}, [], {}, None, [{"name": "ethtool"}])),
    *({"ports": {"cfg0": {"link_watch": value}}, "link_watch": {"name": "ethtool"}} for value in ([], {}, {"name": "ethtool"})),
    *({"link_watch": {"name": "arp_ping", **more}, **CFG0} for more in (
        {}, {"target_host": 5}, {"target_host": "fe80::1"}, {"target_host": "192.0.2.1"},
        {"target_host": "192.0.2.1", "vlanid": 4096}, {"target_host": "192.0.2.1", "vlanid": 0},
        {"target_host": "192.0.2.1", "interval": -1}, {"target_host": "192.0.2.1", "init_wait": -1},
        {"target_host": "192.0.2.1", "missed_max": -1}, {"target_host": "192.0.2.1", "missed_max": "x", "validate_active": 1},
        {"target_host": "192.0.2.1", "source_host": "fe80::1"},
    )),
    *({"link_watch": {"name": "nsna_ping", **more}, **CFG0} for more in ({}, {"target_host": "fe80::1"}, {"target_host": "192.0.2.1"})),
    *({"runner": AB, "ports": {"cfg0": {key: value}}} for key in ("prio", "queue_id", "sticky") for value in (1, -1, "x")),
    *({"runner": {"name": "lacp"}, "link_watch": {"name": "ethtool"}, "ports": {"cfg0": {key: value}}}
      for key in ("lacp_prio", "lacp_key") for value in (65535, 65536, -1)),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a configuration."""

    starts: bool
    parse_error: str = ""
    taken: bool = False
    """cfg0 is a port."""
    refused: bool = False
    """It was made a port and released again."""
    stored: str = ""
    actual: str = ""


def ours(text: str) -> Outcome:
    try:
        config = Config.load(text, runners=RUNNERS, watchers=WATCHERS, device=TEAM)
    except ConfigError as error:
        return Outcome(False, "".join(error.teamd_lines))
    configured = "cfg0" in config.port_names()
    taken = configured and not config.port("cfg0").refused
    if taken:
        config.ensure_watcher("cfg0")
    actual = json_text.dumps(config.dump_actual(["cfg0"] if taken else []))
    return Outcome(True, "", taken, configured and not taken, json_text.dumps(config.dump()), actual)


def teamd(text: str, log: Path, expected: Outcome) -> Outcome:
    """What C teamd makes of it. `expected` only says what to wait for before looking."""
    with log.open("w") as stderr:
        process = subprocess.Popen(["teamd", "-t", TEAM, "-c", text], stdin=subprocess.DEVNULL, stderr=stderr)
    try:
        return _outcome(process, log, expected)
    finally:
        process.terminate()
        process.wait(10)


def _outcome(process: subprocess.Popen[bytes], log: Path, expected: Outcome) -> Outcome:
    def settled() -> bool:
        """Ended; or started, and the port taken or released, which comes after that."""
        if process.poll() is not None:
            return True
        said = log.read_text()
        if "successfully started" not in said:
            return False
        if "callback failed" in said or expected.refused:
            return "callback failed" in said and not PORT_OF_TEAM.exists()
        return expected.taken is PORT_OF_TEAM.exists() and expected.actual == ask("ConfigDumpActual")

    # When it does not come to what is expected, the comparison shows what it came to.
    with suppress(AssertionError):
        wait_for(settled)
    said = log.read_text()
    if process.poll() is not None:
        assert process.returncode == 1, said
        return Outcome(
            False, "".join(line for line in said.splitlines() if line.startswith("Failed to parse config: "))
        )
    refused = "callback failed" in log.read_text()
    return Outcome(True, "", PORT_OF_TEAM.exists(), refused, ask("ConfigDump"), ask("ConfigDumpActual"))


def ask(method: str) -> str:
    """The answer of the running teamd, through its socket."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)) as connection:
        connection.settimeout(5)
        connection.connect(f"/run/teamd/{TEAM}.sock")
        connection.send(f"REQUEST\n{method}\n".encode())
        return connection.recv(1 << 16).decode().removeprefix("REPLY_SUCCESS\n")


@pytest.fixture(scope="module", autouse=True)
def cable() -> Iterator[None]:
    must("ip link add cfg0 type veth peer name cfg1 && ip link set cfg1 up")
    yield
    must("ip link del cfg0")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: json.dumps(row)[:90])
def test_the_same_configuration_leads_to_the_same(row: Any, tmp_path: Path) -> None:
    text = row if isinstance(row, str) else json.dumps(row)
    names = {"lacp", "loadbalance"} - set(RUNNERS)
    if not isinstance(row, str) and isinstance(row.get("runner"), dict) and row["runner"].get("name") in names:
        assert not ours(text).starts
        return
    expected = ours(text)
    assert teamd(text, tmp_path / "log", expected) == expected
