"""Bonds into teams and back: one table per direction, every format, and what is said about what has no counterpart."""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pyteamd.cli.convert.bonding import Bond, ConvertError, bond_to_team, team_to_bond
from pyteamd.cli.convert.formats import FORMATS, WRITABLE, write_options
from pyteamd.cli.convert.reading import Reading
from pyteamd.cli.pyteamd import convert as convert_command
from pyteamd.config.config import Config
from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS
from pyteamd.schema.problems import ConfigError

ETHTOOL = {"name": "ethtool"}
ARP = {"name": "arp_ping", "target_host": "192.0.2.1", "interval": 500, "missed_max": 2}

TO_TEAM: list[tuple[str, dict[str, Any], list[str]]] = [
    ("", {"runner": {"name": "roundrobin"}, "link_watch": ETHTOOL}, []),
    ("mode=0", {"runner": {"name": "roundrobin"}, "link_watch": ETHTOOL}, []),
    ("mode=3 use_carrier=1", {"runner": {"name": "broadcast"}, "link_watch": ETHTOOL}, []),
    (
        "mode=1 miimon=100 updelay=5 downdelay=7 fail_over_mac=1",
        {
            "runner": {"name": "activebackup", "hwaddr_policy": "by_active"},
            "link_watch": {"name": "ethtool", "delay_up": 5, "delay_down": 7},
        },
        [],
    ),
    (
        "mode=active-backup fail_over_mac=follow primary=eth1 primary_reselect=failure",
        {
            "runner": {"name": "activebackup", "hwaddr_policy": "only_active"},
            "link_watch": ETHTOOL,
            "ports": {"eth0": {"sticky": True}, "eth1": {"prio": 100, "sticky": True}},
        },
        [],
    ),
    (
        "mode=1 primary=eth0 primary_reselect=1",
        {
            "runner": {"name": "activebackup"},
            "link_watch": ETHTOOL,
            "ports": {"eth0": {"prio": 100}, "eth1": {}},
        },
        ["primary_reselect=better: the primary comes back always, not only when it is faster"],
    ),
    (
        "mode=4 lacp_rate=1 min_links=2 ad_select=count xmit_hash_policy=layer3+4 ad_actor_sys_prio=7 lacp_active=off",
        {
            "runner": {
                **{"name": "lacp", "tx_hash": ["l3", "l4"], "fast_rate": True, "min_ports": 2},
                **{"agg_select_policy": "count", "sys_prio": 7, "active": False},
            },
            "link_watch": ETHTOOL,
        },
        [],
    ),
    (
        "mode=2 xmit_hash_policy=encap2+3 all_slaves_active=1",
        {"runner": {"name": "loadbalance", "tx_hash": ["eth", "l3"]}, "link_watch": ETHTOOL},
        [
            "xmit_hash_policy=encap2+3: the hash does not look into tunnels",
            "all_slaves_active=1: no counterpart, left out",
        ],
    ),
    (
        "mode=5",
        {
            "runner": {"name": "loadbalance", "tx_hash": ["eth"], "tx_balancer": {"name": "basic"}},
            "link_watch": ETHTOOL,
        },
        ["mode=balance-tlb: by hash and a balancer that moves hash values; bonding moves flows"],
    ),
    (
        "mode=1 arp_interval=500 arp_ip_target=192.0.2.1,192.0.2.2 arp_validate=3 arp_all_targets=all num_grat_arp=3 resend_igmp=2",
        {
            "runner": {"name": "activebackup"},
            "link_watch": [
                {**ARP, "validate_active": True, "validate_inactive": True},
                {**ARP, "target_host": "192.0.2.2", "validate_active": True, "validate_inactive": True},
            ],
            "link_watch_policy": "all",
            "notify_peers": {"count": 3},
            "mcast_rejoin": {"count": 2},
        },
        ["arp_ip_target: set source_host, the address that the requests come from; bonding takes the bond's own"],
    ),
    (
        "mode=1 arp_interval=500",
        {"runner": {"name": "activebackup"}, "link_watch": ETHTOOL},
        ["ARP monitoring needs arp_interval and arp_ip_target; only the carrier is watched"],
    ),
    (
        "mode=1 updelay=soon fail_over_mac=x",
        {"runner": {"name": "activebackup"}, "link_watch": ETHTOOL},
        [
            "fail_over_mac=x: unknown, left out; known are none, active, follow",
            "updelay=soon: not a number, left out",
        ],
    ),
]


def only(reading: Reading) -> Bond:
    """The bond, where there is one."""
    (bond,) = reading.devices()
    assert isinstance(bond, Bond)
    return bond


def load(tree: dict[str, Any]) -> Config:
    """As the daemon would read it."""
    return Config.load(json.dumps(tree), runners=RUNNERS, watchers=WATCHERS)


@pytest.mark.parametrize(("options", "expected", "notes"), TO_TEAM, ids=[row[0] or "nothing" for row in TO_TEAM])
def test_bond_to_team(options: str, expected: dict[str, Any], notes: list[str]) -> None:
    bond = only(FORMATS["bonding"].read({"options": options}))
    bond.ports = ["eth0", "eth1"]
    tree, said = bond_to_team(bond, "team0")
    assert tree == {"device": "team0", "ports": {"eth0": {}, "eth1": {}}, **expected}
    assert said == notes
    load(tree)


@pytest.mark.parametrize("mode", ["6", "balance-alb", "7", "nope"])
def test_modes_without_a_counterpart(mode: str) -> None:
    with pytest.raises(ConvertError, match="mode"):
        bond_to_team(Bond("bond0", {"mode": mode}))


TO_BOND: list[tuple[dict[str, Any], str, list[str]]] = [
    ({"runner": {"name": "broadcast"}}, "mode=broadcast miimon=100", []),
    (
        {"runner": {"name": "activebackup", "hwaddr_policy": "by_active"}, "ports": {"a": {"prio": 5}, "b": {}}},
        "mode=active-backup fail_over_mac=active primary=a primary_reselect=always miimon=100",
        [],
    ),
    (
        {
            "runner": {"name": "lacp", "fast_rate": True, "tx_hash": ["l4", "l3"], "agg_select_policy": "count"},
            "ports": {"a": {"lacp_key": 4}},
        },
        "mode=802.3ad xmit_hash_policy=layer3+4 lacp_rate=fast ad_select=count miimon=100",
        ["ports.a.lacp_key: no counterpart, left out"],
    ),
    (
        {"runner": {"name": "loadbalance", "tx_hash": ["ipv4"], "tx_balancer": {"name": "basic"}}},
        "mode=balance-tlb xmit_hash_policy=layer3+4 miimon=100",
        [
            "runner.tx_hash ipv4: layer3+4 is the nearest",
            "runner.tx_balancer: bonding moves flows in mode balance-tlb, and not at all with LACP",
        ],
    ),
    (
        {
            "runner": {"name": "activebackup"},
            "link_watch": [ETHTOOL, {**ARP, "source_host": "192.0.2.9", "validate_active": True}],
        },
        "mode=active-backup fail_over_mac=none arp_interval=500 arp_missed_max=2 arp_ip_target=192.0.2.1 arp_validate=active",
        [
            "link_watch: bonding watches the carrier or sends requests, not both; it sends requests",
            "link_watch.source_host: no counterpart, left out",
        ],
    ),
    (
        {"runner": {"name": "lacp", "tx_hash": ["eth"]}, "link_watch": ARP},
        "mode=802.3ad xmit_hash_policy=layer2 lacp_rate=slow ad_select=stable miimon=100",
        [
            "runner.agg_select_policy lacp_prio: stable is the nearest",
            "link_watch: bonding sends no requests in mode 802.3ad; the carrier is watched",
        ],
    ),
    (
        {
            "runner": {"name": "activebackup"},
            "link_watch": {"name": "arp_ping", "target_hosts": ["192.0.2.1", "192.0.2.2"], "validate_inactive": True},
            "debug_level": 2,
        },
        "mode=active-backup fail_over_mac=none arp_interval=1000 arp_missed_max=3 arp_ip_target=192.0.2.1,192.0.2.2 arp_validate=backup",
        ["debug_level: no counterpart, left out"],
    ),
    (
        {"link_watch": {"name": "ethtool", "delay_up": 250, "delay_down": 80}},
        "mode=balance-rr miimon=10 updelay=250 downdelay=80",
        [],
    ),
    (
        {"link_watch": {"name": "ethtool", "delay_up": 7}, "notify_peers": {"count": 300, "interval": 30}},
        "mode=balance-rr miimon=10 updelay=10 num_grat_arp=255 peer_notif_delay=30",
        ["num_grat_arp=300: bonding has at most 255", "updelay=7: 10, a multiple of miimon"],
    ),
    (
        {"link_watch": ARP, "notify_peers": {"count": 3, "interval": 30}},
        "mode=balance-rr arp_interval=500 arp_missed_max=2 arp_ip_target=192.0.2.1 arp_validate=none num_grat_arp=3",
        ["notify_peers.interval: bonding has it only where it watches the carrier, left out"],
    ),
]


@pytest.mark.parametrize(("tree", "expected", "notes"), TO_BOND, ids=[row[1] for row in TO_BOND])
def test_team_to_bond(tree: dict[str, Any], expected: str, notes: list[str]) -> None:
    bond, said = team_to_bond(tree, "bond0")
    assert write_options(bond) == {"bond0": expected + "\n"}
    assert said == notes


def test_a_runner_without_a_counterpart() -> None:
    with pytest.raises(ConvertError, match="runner random"):
        team_to_bond({"runner": {"name": "random"}})


WRITTEN = Bond(
    "bond7",
    {
        **{"mode": "active-backup", "primary": "eth1", "primary_reselect": "failure", "arp_interval": "250"},
        **{"arp_ip_target": "192.0.2.1,192.0.2.2", "num_grat_arp": "2", "fail_over_mac": "active", "updelay": "30"},
    },
    ["eth0", "eth1"],
)


@pytest.mark.parametrize("name", [name for name in WRITABLE if name != "bonding"])
def test_what_a_format_writes_it_reads(name: str) -> None:
    write = FORMATS[name].write
    assert write
    found = only(FORMATS[name].read(write(WRITTEN)))
    assert (found.name, found.ports, found.options) == (WRITTEN.name, WRITTEN.ports, WRITTEN.options)


ODD = ["a$b", "a;b", "yes", "0x1", "1e3", "it's", 'a"b', "a=b", "-n", "#a", "a`id`", "a\\b", "{a", "~", "a,b"]


@pytest.mark.parametrize("name", [name for name in WRITABLE if name != "bonding"])
def test_odd_names_come_back_as_they_were(name: str) -> None:
    write = FORMATS[name].write
    assert write
    for port in ODD:
        bond = Bond("bond0", {"mode": "active-backup", "primary": port}, [port, "eth1"])
        found = only(FORMATS[name].read(write(bond)))
        assert (found.ports, found.options["primary"]) == (bond.ports, port)


@pytest.mark.parametrize("name", ["networkd", "ifupdown"])
def test_a_name_that_would_be_a_pattern_is_refused(name: str) -> None:
    write = FORMATS[name].write
    assert write
    with pytest.raises(ConvertError, match="is a pattern"):
        write(Bond("bond0", {"mode": "broadcast"}, ["eth*"]))


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_no_bond_is_refused(name: str) -> None:
    for text in ("nonsense", "[a\n", "a: [", "'"):
        with pytest.raises(ConvertError):
            FORMATS[name].read({"file": text}).devices()


def test_units_of_time() -> None:
    netdev = "[NetDev]\nName=b\nKind=bond\n[Bond]\nMIIMonitorSec={}\n"
    for text, expected in (("1s", "1000"), ("0.5", "500"), ("20ms", "20"), ("2 s", "2000"), ("1min 2s 5ms", "62005")):
        assert only(FORMATS["networkd"].read({"b.netdev": netdev.format(text)})).options == {"miimon": expected}
    with pytest.raises(ConvertError, match="no time"):
        FORMATS["networkd"].read({"b.netdev": netdev.format("soon")})
    with pytest.raises(ConvertError, match="longer than any time"):
        FORMATS["networkd"].read({"b.netdev": netdev.format("9" * 400 + "ms")})


def test_every_example_goes_to_a_bond_and_back_into_a_valid_team() -> None:
    examples = sorted((Path(__file__).parents[2] / "examples").glob("*.conf"))
    assert len(examples) >= 16
    for file in examples:
        tree = load(json.loads(file.read_text())).dump()
        if tree["runner"]["name"] == "random":
            continue
        bond, _ = team_to_bond(tree)
        again, _ = bond_to_team(bond)
        assert again["runner"]["name"] == tree["runner"]["name"]
        assert sorted(again.get("ports", {})) == sorted(tree.get("ports", {}))
        load(again)


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of each value."""
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [leaf for key, part in parts for leaf in leaves(part, (*path, key))] if parts else [path]


@pytest.mark.parametrize("number", range(len(TO_BOND)), ids=[row[1] for row in TO_BOND])
def test_no_key_of_a_team_is_lost_on_the_way_to_a_bond(number: int) -> None:
    """Without it another bond comes out, or something else is said."""
    tree = load(
        {**TO_BOND[number][0], "mcast_rejoin": {"count": 2, "interval": 5}, "hwaddr": "02:00:5e:00:53:01"}
    ).dump()
    before = team_to_bond(tree)
    lost = []
    for path in leaves(tree):
        fewer = copy.deepcopy(tree)
        place: Any = fewer
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        try:
            again = load(fewer)
        except ConfigError:
            continue
        if again.problems or again.dump() == tree:
            continue  # refused, or what is so without being said
        as_a_whole = any(note.startswith("link_watch: bonding sends no requests") for note in before[1])
        if team_to_bond(again.dump()) == before and not (as_a_whole and path[0] == "link_watch"):
            lost.append(".".join(map(str, path)))
    assert lost == []


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        code = convert_command.main(words, "pyteamd convert")
        return (code, *capsys.readouterr())

    code, out, err = run("--from", "bonding", "mode=1", "all_slaves_active=1", "--port", "eth0")
    assert (code, json.loads(out)["ports"], err) == (
        0,
        {"eth0": {}},
        "note: all_slaves_active=1: no counterpart, left out\n",
    )
    assert run("--strict", "--from", "bonding", "mode=1 all_slaves_active=1")[0] == 1
    config = tmp_path / "team3.conf"
    config.write_text(out)
    written = "".join(f"{tmp_path}/ifcfg-{name}\n" for name in ("bond0", "eth0"))
    assert run("--to", "ifcfg", str(config), "--output-dir", str(tmp_path))[:2] == (0, written)
    code, out, err = run("--to", "ifcfg", str(config), "--output-dir", str(tmp_path))
    assert (code, out) == (1, "")
    assert "there already: " in err
    assert "nothing was written" in err
    assert run("--to", "ifcfg", str(config), "--output-dir", str(tmp_path), "--force")[:2] == (0, written)
    assert sorted(path.name for path in tmp_path.glob("ifcfg-*")) == ["ifcfg-bond0", "ifcfg-eth0"]
    code, out, _ = run(
        "--from", "ifcfg", str(tmp_path / "ifcfg-bond0"), str(tmp_path / "ifcfg-eth0"), "--name", "team9"
    )
    assert (code, json.loads(out)["device"]) == (0, "team9")
    made = tmp_path / "not/there/yet"
    assert run("--to", "ifcfg", str(config), "--output-dir", str(made))[0] == 0
    (made / "ifcfg-bond0").unlink()
    (made / "ifcfg-bond0").symlink_to("nowhere")
    assert "there already: " in run("--to", "ifcfg", str(config), "--output-dir", str(made))[2]
    config.write_text('{"runner": {"name": "lacp", "active": false, "agg_select_policy": "count"}}')
    for target, mode in (("keyfile", 0o600), ("networkd", 0o644), ("netplan", 0o600)):
        place = tmp_path / target
        place.mkdir()
        said = run("--to", target, str(config), "--output-dir", str(place))[2].splitlines()
        assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {mode}
        wordless = ["note: lacp_active=off: this format has no word for it"] if target != "keyfile" else []
        assert [line for line in said if "lacp_active" in line] == wordless


def test_what_convert_does_not_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        code = convert_command.main(words, "pyteamd convert")
        return (code, *capsys.readouterr())

    config = tmp_path / "team3.conf"
    assert run("--to", "netplan", str(tmp_path / "none"))[0] == 1
    config.write_text('{"link_watch": {"delay_up": 5}, "nonsense": 1, "ports": {"eth0": {}}}')
    code, out, err = run("--to", "netplan", str(config))
    assert (code, out) == (1, "")
    assert "team3.conf:1:2: error: link_watch.name: missing" in err
    config.write_text('{"ports": {"../../x": {}}}')
    for words in (["--to", "keyfile"], ["--to", "keyfile", "--team"]):
        assert run(*words, "--output-dir", str(tmp_path / "keyfile"), "--force", str(config))[0] == 1, (
            "no file elsewhere"
        )
    config.write_text('{"nonsense": 1, "ports": {"eth0": {}}}')
    code, out, err = run("--to", "ifcfg", str(config))
    assert code == 0
    assert f"note: {config}:1:2: warning: nonsense: unknown key\n" in err
    config.write_text("{")
    code, out, err = run("--to", "netplan", str(config))
    assert (code, out) == (1, "")
    assert "team3.conf" in err


@pytest.mark.parametrize(
    "text",
    [
        "&a [*a]",
        "network: &a {version: *a}",
        "a: &a [x, x]\n"
        + "".join(
            f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n"
            for old, new in pairwise("abcdefghij")
        ),
    ],
    ids=["itself", "itself in a mapping", "a few lines for hundreds of millions of values"],
)
@pytest.mark.parametrize("format_", ["netplan", "nmstate"])
def test_aliases_without_an_end(text: str, format_: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert convert_command.main(["--from", format_, f"{tmp_path}/a.yaml"], "pyteamd convert") == 1
    assert "a.yaml: its aliases make more than 100000 values of it" in capsys.readouterr().err


def test_several_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for bond, port in (("bond0", "eth0"), ("bond1", "eth1"), ("team1", "")):
        (tmp_path / f"ifcfg-{bond}").write_text(f"DEVICE={bond}\nTYPE=Bond\nBONDING_OPTS=mode=1\n")
        if port:
            (tmp_path / f"ifcfg-{port}").write_text(f"DEVICE={port}\nMASTER={bond}\nSLAVE=yes\n")
    files = sorted(map(str, tmp_path.glob("ifcfg-*")))
    words = ["--from", "ifcfg", *files]
    assert convert_command.main(words, "pyteamd convert") == 1
    assert "there are several teams (team0, bond1, team1): give --output-dir" in capsys.readouterr().err
    assert convert_command.main([*words, "--name", "x"], "pyteamd convert") == 1
    assert "choose with --device" in capsys.readouterr().err
    assert convert_command.main([*words, "--device", "bond1", "--port", "eth9"], "pyteamd convert") == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["device"], list(json.loads(out)["ports"])) == ("team1", ["eth1", "eth9"])
    assert "the device is called team1, no longer bond1" in err
    assert convert_command.main([*words, "--output-dir", str(tmp_path)], "pyteamd convert") == 0
    assert capsys.readouterr().out.splitlines() == [f"{tmp_path}/{name}.conf" for name in ("team0", "bond1", "team1")]


def test_a_port_told_by_its_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ifcfg-bond0").write_text("DEVICE=bond0\nTYPE=Bond\n")
    (tmp_path / "ifcfg-p").write_text("HWADDR=00:00:5E:00:53:01\nMASTER=bond0\n")
    words = ["--from", "ifcfg", *map(str, sorted(tmp_path.glob("ifcfg-*")))]
    assert convert_command.main([*words, "--link", "00:00:5e:00:53:01=eth5"], "pyteamd convert") == 0
    assert list(json.loads(capsys.readouterr().out)["ports"]) == ["eth5"]


@pytest.mark.parametrize("target", ["ifcfg", "keyfile"])
def test_a_team_goes_home_and_comes_back(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Quotes of every kind are in the values."""
    tree = {
        "device": "team7",
        "runner": {"name": "activebackup"},
        "link_watch": {"name": "arp_ping", "target_host": 'it\'s "a" \\ host'},
        "ports": {"eth0": {"prio": -5, "sticky": True}, "eth1": {}},
    }
    config = tmp_path / "team7.conf"
    config.write_text(json.dumps(tree))
    home = tmp_path / "home"
    home.mkdir()
    words = ["--to", target, "--team", "--output-dir", str(home), str(config)]
    assert convert_command.main(words, "pyteamd convert") == 0
    files = capsys.readouterr().out.split()
    assert convert_command.main(["--from", target, *files], "pyteamd convert") == 0
    assert load(json.loads(capsys.readouterr().out)).dump() == load(tree).dump()
    assert convert_command.main(["--to", "netplan", "--team", str(config)], "pyteamd convert") == 1
    assert "netplan knows no teams; with --team there are ifcfg, keyfile" in capsys.readouterr().err


def test_a_port_of_a_bond_keeps_what_a_team_knows_too() -> None:
    bond = Bond("bond0", {"mode": "1"}, ["a", "b"], {"hwaddr": "02:00:5e:00:53:01"}, {"a": {"prio": 7, "queue_id": 2}})
    tree, notes = bond_to_team(bond)
    assert (tree["hwaddr"], tree["ports"], notes) == (
        "02:00:5e:00:53:01",
        {"a": {"prio": 7, "queue_id": 2}, "b": {}},
        [],
    )
    again, _ = team_to_bond(load(tree).dump())
    assert again.extra == {"hwaddr": "02:00:5e:00:53:01"}


def test_files_that_other_systems_editors_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mark in front, ends of line of their own, octets that are no UTF-8; an address in any spelling."""
    bond, port = tmp_path / "ifcfg-bond0", tmp_path / "ifcfg-port"
    bond.write_bytes(b'\xef\xbb\xbfDEVICE=bond0\r\nBONDING_OPTS="mode=1"\r\n# caf\xe9\r\n')
    port.write_text("HWADDR=02:00:00:00:00:AA\r\nMASTER=bond0\r\n")
    words = ["--from", "ifcfg", "--link", "02-00-00-00-00-aa=eth7", str(bond), str(port)]
    assert convert_command.main(words, "pyteamd convert") == 0
    assert json.loads(capsys.readouterr().out)["ports"] == {"eth7": {}}
    bond.write_bytes(b'DEVICE=b\xe9\nBONDING_OPTS="mode=1"\n')
    assert convert_command.main(["--from", "ifcfg", str(bond)], "pyteamd convert") == 1
    assert "is no UTF-8" in capsys.readouterr().err


def test_pairs_hide_no_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """YAML's !!pairs and !!omap make tuples."""
    for tag in ("pairs", "omap"):
        lines = [f"- {name}: &{name} [{', '.join([f'*{before}'] * 8)}]" for before, name in pairwise("abcdefgh")]
        (tmp_path / "a.yaml").write_text("\n".join([f"network: !!{tag}", "- a: &a [1, 2, 3, 4]", *lines]))
        assert convert_command.main(["--from", "netplan", f"{tmp_path}/a.yaml"], "pyteamd convert") == 1
        assert "a.yaml: its aliases make more than 100000 values of it" in capsys.readouterr().err
