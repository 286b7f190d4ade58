"""What the control client is asked in the tests, and the daemons it asks; golden/teamdctl-1.31.json has the answers.

A world is a mock daemon: a name from WORLDS, with changes to its state after a bar: `ab|setup.pid=1.5` sets a member
of the state, `ab|-ports.eth1.link` removes one.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ctl_mock import HANG_UP, SILENT, Reply

TEAM = "team0"
NO_SOCKET = "no socket"
DEAD_SOCKET = "dead socket"
"""Worlds without a daemon: nothing there, and a file nobody listens at."""


@dataclass(frozen=True, slots=True)
class Case:
    """One call of the client: its arguments, the daemon it meets, what its environment has besides."""

    argv: tuple[str, ...]
    world: str = "ab"
    env: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        settings = "".join(f"{key}={value} " for key, value in self.env.items())
        return f"{settings}{json.dumps(list(self.argv))} {self.world}"


SETUP = {
    "runner_name": "activebackup",
    "kernel_team_mode_name": "activebackup",
    "dbus_enabled": False,
    "zmq_enabled": False,
    "debug_level": 0,
    "daemonized": True,
    "pid": 1234,
    "pid_file": "/var/run/teamd/team0.pid",
}
ETHTOOL = {"name": "ethtool", "up": True, "down_count": 0, "delay_up": 2500, "delay_down": 1000}
ARP_PING = {
    "name": "arp_ping",
    "up": False,
    "down_count": 7,
    "source_host": "192.0.2.1",
    "target_host": "192.0.2.254",
    "interval": 1000,
    "init_wait": 0,
    "validate_active": True,
    "validate_inactive": False,
    "send_always": True,
    "missed_max": 3,
    "missed": 4,
}
NSNA_PING = {
    "name": "nsna_ping",
    "up": True,
    "down_count": 1,
    "target_host": "fe80::210:18ff:feaa:bbcc%eth1",
    "interval": 200,
    "init_wait": 100,
    "missed_max": 15,
    "missed": 0,
}
TIPC = {"name": "tipc", "up": True, "down_count": 0, "tipc_bearer": "eth2"}


def port(ifindex: int, name: str, *watches: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The state of a port."""
    return {
        "ifinfo": {
            "dev_addr": f"52:54:00:12:34:{ifindex:02x}",
            "dev_addr_len": 6,
            "ifindex": ifindex,
            "ifname": name,
        },
        "link": {"duplex": "full", "speed": 1000, "up": True},
        "link_watches": {
            "list": {f"link_watch_{number}": watch for number, watch in enumerate(watches)},
            "up": True,
        },
        **more,
    }


def lacp_port(key: int, selected: bool) -> dict[str, Any]:
    """The runner's part of a LACP port's state."""
    side = {
        "system_priority": 65535,
        "system": "52:54:00:12:34:56",
        "key": key,
        "port_priority": 255,
        "port": key + 1,
        "state": 0x3D,
    }
    return {
        "actor_lacpdu_info": side,
        "aggregator": {"id": 3, "selected": selected},
        "key": key,
        "partner_lacpdu_info": {**side, "state": 0xFF},
        "prio": 255,
        "selected": selected,
        "state": "current" if selected else "expired",
    }


STATES: dict[str, dict[str, Any]] = {
    "ab": {
        "ports": {"eth1": port(3, "eth1", ETHTOOL), "eth2": port(4, "eth2", ARP_PING, NSNA_PING, TIPC)},
        "runner": {"active_port": "eth1"},
        "setup": SETUP,
        "team_device": {"ifinfo": {"ifname": TEAM}},
    },
    "lacp": {
        "ports": {
            "eth1": port(3, "eth1", ETHTOOL, runner=lacp_port(0, True)),
            "eth2": port(4, "eth2", runner=lacp_port(7, False)),
        },
        "runner": {"active": True, "fast_rate": False, "select_policy": "lacp_prio", "sys_prio": 65535},
        "setup": {**SETUP, "runner_name": "lacp", "kernel_team_mode_name": "loadbalance"},
    },
    "rr": {"setup": {**SETUP, "runner_name": "roundrobin", "dbus_enabled": True}},
}
CONFIG: dict[str, Any] = {
    "device": TEAM,
    "ports": {"eth2": {"prio": 5}, "eth1": {}},
    "runner": {"name": "activebackup"},
    "x": [1, 0.1, -1e300, None, True, [], {}, ["a"], '\u00e9\U0001f600\x7f\b/\\"'],
}


def success(payload: str) -> bytes:
    return f"REPLY_SUCCESS\n{payload}".encode()


def daemon(state: object, config: object = CONFIG, **replies: Reply) -> dict[str, Reply]:
    """The replies of a daemon with that state; further ones by method."""
    usual = {
        "ConfigDump": success(json.dumps(config)),
        "ConfigDumpActual": success('{"device":"team0","ports":{}}'),
        "StateDump": success(json.dumps(state, ensure_ascii=False)),
        "StateItemValueGet": success("eth1"),
        "StateItemValueSet": success(""),
        "PortAdd": success(""),
        "PortRemove": success(""),
        "PortConfigUpdate": success(""),
        "PortConfigDump": success('{"prio":5,"a":[1,2]}'),
    }
    return {**usual, **replies}


AB = STATES["ab"]
NO_SUCH_DEVICE = b"REPLY_ERROR\nNoSuchDev\nNo such device.\n"
WORLDS: dict[str, dict[str, Reply]] = {
    **{name: daemon(state) for name, state in STATES.items()},
    "refusing": daemon(
        AB,
        PortAdd=NO_SUCH_DEVICE,
        PortRemove=b"REPLY_ERROR\nPortRemoveFail\nFailed to del port.\n",
        PortConfigUpdate=b"REPLY_ERROR\nConfigUpdateFail\nFailed to update config.\n",
        PortConfigDump=b"REPLY_ERROR\n\n\nConfigDumpFail\n\nFailed to dump config.",
        StateItemValueGet=b"REPLY_ERROR\nPathDoesNotExist\nItem path does not exist.\n",
        StateItemValueSet=b"REPLY_ERROR\nOpNotSupp\nOperation not supported.\n\0surplus\n",
    ),
    "malformed": daemon(
        AB,
        PortAdd=b"REPLY_ERROR\n",
        PortRemove=b"REPLY_ERROR\nCode",
        PortConfigUpdate=b"BOGUS\nx\n",
        PortConfigDump=success("{]"),
        StateItemValueGet=b"\n\nREPLY_SUCCESS\n\nspread\0hidden",
        StateItemValueSet=b"REPLY_SUCCESS",
    ),
    "newlines": daemon(AB, StateItemValueSet=b"\n\n\n", StateItemValueGet=b"REPLY_SUCCESS\n\xff\xc3\xa9"),
    "lost": daemon(AB, PortAdd=HANG_UP),
    "lost early": daemon(AB, ConfigDumpActual=HANG_UP),
    "silent": daemon(AB, PortAdd=SILENT),
    "silent early": daemon(AB, ConfigDump=SILENT),
    "refusing early": daemon(AB, StateDump=b"REPLY_ERROR\nStateDumpFail\nFailed to dump state.\n"),
    "other team": daemon(AB, {"device": "team1"}),
    "no device": daemon(AB, {}),
    "device number": daemon(AB, {"device": 1}),
    "config array": daemon(AB, [TEAM]),
    "config broken": daemon(AB, ConfigDump=success("{")),
    "config twice": daemon(AB, ConfigDump=success('{"device":"team0","a":1,"a":2}')),
    "actual broken": daemon(AB, ConfigDumpActual=success("")),
    "actual array": daemon(AB, ConfigDumpActual=success("[1, {}]")),
    "state broken": daemon(AB, StateDump=success("nonsense")),
    "state array": daemon(AB, StateDump=success("[]")),
}


def replies(world: str) -> dict[str, Reply]:
    """The replies of a world with the changes its name asks for."""
    name, *changes = world.split("|")
    if not changes:
        return WORLDS[name]
    state = copy.deepcopy(STATES[name])
    for change in changes:
        path, _, value = change.removeprefix("-").partition("=")
        *parents, last = path.split(".")
        place = state
        for parent in parents:
            place = place[parent]
        if change.startswith("-"):
            del place[last]
        else:
            place[last] = json.loads(value)
    return daemon(state)


WORDS = """
config dump|config dump noports|config dump actual|state|state dump|state view|state item get a.b
state item set runner.active_port eth1|port add eth9|port remove eth9|port present eth1|port present eth9
port config update eth1 {}|port config dump eth1
c d|co du no|config d a|s|st d|s v|s i g x|s i s x y|p a x|p r x|p p eth2|p p x|p c u x {}|p c d x
|config|state item|port|port config|config dump noports x|config dump extra|state extra|state view extra
state item get|state item get a b|state item set a|state item set a b c|port add|port add a b|port present
port config update eth1|port config update eth1 a b|port config dump|port config dump a b|bogus|dump|statex
config bogus|state bogus|port bogus|port config bogus|config dump noportsx|State|port addx y
port config dump abcdefghijklmnop|port config dump abcdefghijklmnopq
"""
LINES = """
-h|--help|--he|-h --bogus|-vh team0|-v|--version|--verb team0 state|--oneline team0 config dump
-o team0 config dump|-o team0 state dump|-o team0 c d a|-o team0 port config dump eth1|-o team0 state
-v team0 state|-vv team0 state|-vo team0 state|team0 -v state|team0 state -v|team0 state -v -- dump
-- team0 state|team0 -- state -v|team0 -- -v|-- -v state|- state|team0 - state|--verbose=1 team0 state
--verbose= team0 state|--force-d --force-u team0 state|-D -U team0 state|-DU|-UD team0|--force team0 state
--force=1 team0 state|--o=1|--= x|--f x|--h=|---|-x team0 state|-vx team0|-é team0|--é team0|-: team0|-; x|-W team0
-Z|-Zaddr team0 state|-Z addr team0|--force-zmq|--force-zmq=a team0 state|--force-zmq a|--force-z
-U team0 state|-UU team0 state|-U team0 port add eth1|--force-usock team0 state dump|-xZ|-Zx -y|-Z --help|-Zh
nosuch0 state|nosuch0|nosuch0 bogus|team|team0:1 state|waytoolonganinterfacename state|é state
-U nosuch0 state
"""
MUTATIONS = """
-setup|-setup.runner_name|setup.runner_name=1|-setup.kernel_team_mode_name|setup.dbus_enabled=1|setup.pid=1.5
setup.pid=4294967297|setup.pid=-1|setup.pid=2147483648|setup.debug_level=true|setup.daemonized="yes"
setup.pid_file=null|setup=[]|setup.runner_name="é😀\\t{x}%s"|setup.more={"a":1}|-ports|ports={}|ports=[]|ports=1
ports.eth1=1|-ports.eth1.ifinfo|-ports.eth1.link|-ports.eth1.link_watches|ports.eth1.link_watches=1
-ports.eth1.link_watches.up|-ports.eth1.link_watches.list|ports.eth1.link_watches.list=[]
ports.eth1.link_watches.list={}|ports.eth1.link_watches.list.link_watch_0=1
-ports.eth1.link_watches.list.link_watch_0.name|-ports.eth1.link_watches.list.link_watch_0.down_count
ports.eth1.link_watches.list.link_watch_0.name="bogus"|-ports.eth1.link_watches.list.link_watch_0.delay_up
ports.eth1.link_watches.list.link_watch_0.up=0|ports.eth1.link.speed=-1|ports.eth1.link.speed=4294967295
ports.eth1.link.duplex="half"|ports.eth1.link.up=false|-ports.eth1.ifinfo.dev_addr_len
ports.eth1.ifinfo.ifname=1|-ports.eth2.link_watches.list.link_watch_0.missed
-ports.eth2.link_watches.list.link_watch_1.interval|-ports.eth2.link_watches.list.link_watch_2.tipc_bearer
ports={"-v x":{}}|-runner|runner={}|runner.active_port=1|runner.active_port=""|runner=1
"""
LACP_MUTATIONS = """
-runner|-runner.active|runner.fast_rate=1|runner.sys_prio="1"|-ports.eth1.runner|-ports.eth1.runner.selected
-ports.eth1.runner.aggregator|ports.eth1.runner.aggregator.selected=1|ports.eth1.runner.aggregator.id=-1
-ports.eth1.runner.state|-ports.eth1.runner.actor_lacpdu_info|ports.eth1.runner.partner_lacpdu_info=1
-ports.eth1.runner.partner_lacpdu_info.system|ports.eth1.runner.actor_lacpdu_info.state=-1
-ports.eth1.runner.actor_lacpdu_info.port|ports.eth1.runner.actor_lacpdu_info.state=4294967361
"""
ARGUMENTS = (
    ("port", "config", "update", "eth1", '{"a":\n"x\\\\y"}'),
    ("port", "config", "update", "eth1", ""),
    ("port", "add", "\\n\n\n\\"),
    ("port", "add", "\u00e9\udcff"),
    ("state", "item", "set", "a", "multi\nline\n"),
    ("state", "item", "get", "ports.eth1.link.up"),
    ("", "", ""),
    ("port", "", "x"),
)


def split(text: str) -> list[str]:
    return text.strip("\n").replace("\n", "|").split("|")


def cases() -> Iterator[Case]:
    """Every case, in a fixed order."""
    for line in split(WORDS):
        yield Case((TEAM, *line.split()))
    for line in split(LINES):
        yield Case(tuple(line.split()))
    yield Case(("",))
    for words in ARGUMENTS:
        yield Case((TEAM, *words))
    yield Case((TEAM, "state", "-v"), env={"POSIXLY_CORRECT": "1"})
    for world in ("ab", "lacp", "rr"):
        yield from (Case((*option, TEAM, "state"), world) for option in ((), ("-v",)))
    for base, mutations in (("ab", MUTATIONS), ("lacp", LACP_MUTATIONS)):
        yield from (Case(("-v", TEAM, "state"), f"{base}|{change}") for change in split(mutations))
    yield Case((TEAM, "state"), "ab|-ports.eth2.link_watches.list.link_watch_0.missed")
    yield from strange_daemons()


def strange_daemons() -> Iterator[Case]:
    """Daemons that refuse, break off, say nothing, or talk nonsense."""
    calls = "port add x|port remove x|port config update x {}|port config dump x|state item get x|state item set x y"
    for world in ("refusing", "malformed"):
        yield from (Case((TEAM, *words.split()), world) for words in split(calls))
    yield from (Case((TEAM, "state", "item", *rest), "newlines") for rest in (("get", "x"), ("set", "x", "y")))
    for world in ("lost", "silent"):
        yield Case((TEAM, "port", "add", "x"), world)
    early = ("lost early", "silent early", "refusing early", "other team", "no device", "device number")
    for world in (*early, "config array", "config broken", "config twice", NO_SOCKET, DEAD_SOCKET):
        yield Case((TEAM, "state"), world)
    for words in split("config dump actual|config dump|state|state dump|port present eth1"):
        for world in ("actual broken", "actual array", "state broken", "state array"):
            yield Case((TEAM, *words.split()), world)
    yield from (Case((TEAM, "port", "present", "x"), f"ab|{change}") for change in ("-ports", "ports=[]", "ports=1"))
    for level in ("debug", "7", " 7 x", "7x", "6", "info", "err", "3", "2", "", "0", "-1", "+8", "errx", " err"):
        yield Case((TEAM, "state"), NO_SOCKET, {"TEAMDCTL_LOG": level})
    for world in (NO_SOCKET, DEAD_SOCKET):
        yield Case(("-U", TEAM, "state"), world)
    yield Case(("-U", TEAM, "state"), NO_SOCKET, {"TEAMDCTL_LOG": "2"})
    yield Case((TEAM, "port", "add", "x"), "refusing", {"TEAMDCTL_LOG": "2"})
