"""The usual slips and the files of other programs have a sentence; advice is run against the declaration it is given for."""

from __future__ import annotations

import time

import pytest
from config_kit import told

from pyteamd.schema.problems import ConfigError
from pyteamd.schema.text import read

COMMA = "JSON has no comma before a closing brace or bracket"
QUOTES = "JSON strings stand in double quotes"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"runner": {"name": "lacp",},}', COMMA),
        ('{"runner": {"tx_hash": ["eth",]}}', COMMA),
        ('// my team\n{"runner": {}}', "JSON has no comments; in YAML they begin with #"),
        ('{"runner": {} # mine\n}', "JSON has no comments; in YAML they begin with #"),
        ("{'runner': {'name': 'lacp'}}", QUOTES),
        ("{runner: {name: lacp}, }", "JSON keys stand in double quotes"),
        ('{"runner": {name = "lacp"}}', "JSON keys stand in double quotes"),
        ('{"ports": ["eth1": {}]}', "members with keys stand in braces"),
        ('{"device": "team0}', "a string is not closed"),
        ('{"device": "te\tam0"}', r"a tab is written \t"),
        ('{"debug_level": 1_000}', "JSON numbers are decimal"),
        ('{"device": "team\udce4"}', "a configuration is UTF-8"),
        ("device: team\udce4", "a configuration is UTF-8"),
        ('"device": "team0",\n"ports": {}', "JSON begins with a brace"),
        ("- runner: {name: lacp}\n", "a configuration is no list"),
        ("runner:\n  name: lacp\n   fast_rate: true\n", "keys of one level begin in the same column"),
        ("runner: {name:lacp}\n", "a blank is missing behind the colon"),
        ("runner: {name:lacp , fast_rate: true}\n", "a blank is missing behind the colon"),
        ('{"device": "x,}", "ports": 1]', "'}' expected near ']'"),
        ('{"device": "x, \'a" "ports": {}}', "a comma is missing before it"),
        ('{"device": "a #b" "ports": {}}', "a comma is missing before it"),
        ("ports:\n  eth1:\n    <<: {prio: 1}\n", "merge keys are not supported, repeat the values"),
        ('{runner: {"name": "lacp"}}', "JSON keys stand in double quotes"),
        ("device:team0\n", "in YAML a blank follows the colon behind a key"),
        ("runner:\n\tname: lacp\n", "YAML is indented with blanks, not with tabs"),
        ("# nothing\n\n# yet\n", "there are only comments in it"),
        ('{"device": "team0"\n "ports": {}}', "a comma is missing before it"),
        ('{"ports": {"a": {"sticky": True}}}', "JSON writes true, false and null, in small letters"),
        ('{"ports": None}', "JSON writes true, false and null, in small letters"),
        ('{"ports": {"a": {}}', "a closing brace or bracket is missing"),
        ('{"ports": {}}}', "a closing brace or bracket too many"),
        ("{“ports”: {}}", "typographic quotes"),
        ('{"ports" = {}}', "in JSON a colon stands between key and value"),
        ('{"debug_level": 010}', "JSON numbers are decimal"),
        ('{"debug_level": +1}', "JSON numbers are decimal"),
        ('{"debug_level": 0x1}', "JSON numbers are decimal"),
        ('{"device": "team0"; "ports": {}}', "in JSON a comma stands between members"),
        ('{"device": "te\nam0"}', "is its closing quote missing?"),
        ('{"device": "C:\\x"}', "a backslash is written"),
        ('{"device": "a"}\n{"device": "b"}', "a configuration is one object"),
        ("", "there is nothing in it"),
        ("device: a\nports:\n   a: {}\n  b: {}\n", "keys of one level begin in the same column"),
        ('device: "team0\nports: {}\n', "a quote is not closed"),
        ("ports: {a: {}\n", "a brace or bracket is not closed"),
        ("device: team0\nports\n  a: {}\n", "a key ends with a colon"),
        ("device: %team\n", "a value that begins with this character stands in quotes"),
        ("device: team0: x\n", "a value with a colon and a blank in it stands in quotes"),
        ("device: a\n---\ndevice: b\n", "a configuration is one document"),
        ("device = team0\n", "in YAML a colon and a blank stand between key and value"),
        ("device team0\n", "in YAML a line is a key, a colon, a blank and a value"),
        (
            "[NetDev]\nName=team0\n",
            "this looks like a file of systemd-networkd; see: pyteamd convert --from networkd FILE",
        ),
        ("auto team0\niface team0 inet dhcp\n", "see: pyteamd convert --from ifupdown FILE"),
        ("---\n- hosts: all\n  tasks: []\n", "this looks like an Ansible playbook"),
        ("<interface><name>team0</name></interface>", "XML, of libvirt or wicked"),
        ("#!/bin/sh\nteamd -d\n", "this looks like a program"),
        ("#cloud-config\nnetwork:\n  version: 2\n", "a netplan file"),
        (
            "network:\n  version: 1\n  config: []\n",
            "this is a file of cloud-init (version 1), which pyteamd does not read",
        ),
        ('{"DEVICE_METADATA": {}, "PORT": {}}', "this is a SONiC configuration"),
        ('{"team0": {"runner": {"name": "lacp"}}}', "the configuration stands one level too deep, below team0"),
        ('{"x": 1}', "this is no configuration of a team"),
        ("DEVICE=team0\nBONDING_OPTS=x\n", "this looks like an ifcfg file; see: pyteamd convert --from ifcfg FILE"),
        ("[connection]\nid=team0\n", "this looks like a keyfile of NetworkManager"),
        ("network:\n  version: 2\n", "this is a netplan file; see: pyteamd convert --from netplan FILE"),
        ("interfaces:\n- name: bond0\n", "this is an nmstate file; see: pyteamd convert --from nmstate FILE"),
        ("network_connections:\n- name: x\n", "this is variables of an Ansible role"),
        ('{"PORTCHANNEL": {}}', "this is a SONiC configuration"),
        (
            "apiVersion: nmstate.io/v1\nkind: X\nspec: {desiredState: {}}\n",
            "this is a manifest with an nmstate file in it",
        ),
        ("apiVersion: v1\nkind: Pod\nspec: {}\n", "this is a manifest of Kubernetes, which pyteamd does not read"),
        ("{\0}\0", "this looks like UTF-16, or no text at all; a configuration is UTF-8"),
        ("\x7fELF\0\0", "this looks like UTF-16, or no text at all"),
        ("[program:teamd]\ncommand=teamd\n", "this looks like a file in sections"),
        ("[ports.eth1]\nprio = 5\n", "this looks like a file in sections"),
        ("interfaces {\n    ae0 {\n    }\n}\n", "this looks like the configuration of a switch or router"),
        ("set interfaces ae0 mtu 9000\n", "this looks like the configuration of a switch or router"),
        ("!\ninterface Port-Channel1\n   mlag 1\n!\n", "this looks like the configuration of a switch or router"),
        ("config interface 'lan'\n\toption type 'bridge'\n", "the configuration of a switch or router"),
        ("ip link add team0 type team\n", "this looks like commands"),
        ('{"setup": {}, "team_device": {}, "runner": {"active_port": ""}}', "this is the state of a team"),
        ("\udcff\udcfe{\0}\0", "UTF-16; a configuration is UTF-8"),
        ('{"runner": {"name": "802.3ad"}}', "bonding's 802.3ad is the runner lacp"),
    ],
)
def test_a_sentence_for_each(text: str, sentence: str) -> None:
    lines = told(text)
    assert lines[0].startswith("! ")
    assert sentence in lines[0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"ports": ""}', "write"),
        ('{"device": "x,}", "ports": 1]', COMMA),
        ("ports: {aa:bb: }\n", "a blank is missing"),
        ("ports:\n  aa:bb:\n", "a blank is missing"),
    ],
)
def test_no_sentence_where_it_would_be_wrong(text: str, sentence: str) -> None:
    assert not any(sentence in line for line in told(text)), told(text)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("agg_select_policy", "1", "(allowed: lacp_prio, lacp_prio_stable, bandwidth, count, port_config)"),
        ("sys_prio", '"99999"', "(allowed: 0 to 65535)"),
        ("sys_prio", '"10"', "(write 10)"),
        ("sys_prio", '"10s"', "(allowed: 0 to 65535)"),
        ("tx_hash", '"layer3+4"', "(allowed: eth, vlan, ipv4, ipv6, ip, l3, tcp, udp, sctp, l4)"),
        ("active", '"yes"', "(write true)"),
    ],
)
def test_advice_is_taken(key: str, value: str, words: str) -> None:
    (line,) = told(f'{{"runner": {{"name": "lacp", "{key}": {value}}}}}')
    assert line.endswith(words)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("ports", '["eth1", "eth2"]'),
        ("ports", '["eth1", {"name": "eth2", "prio": 5}]'),
        ("ports", '"eth1"'),
        ("ports", '"eth1, eth2"'),
        ("ports", '["eth1 eth2"]'),
        ("tx_hash", '"eth, ipv4"'),
        ("tx_hash", '"eth"'),
    ],
)
def test_what_is_told_to_write_is_right(path: str, value: str) -> None:
    """A list of ports, or one; a list of words in one string."""

    def text(value: str) -> str:
        if path == "ports":
            return f'{{"link_watch": {{"name": "ethtool"}}, "ports": {value}}}'
        return f'{{"runner": {{"name": "lacp", "{path}": {value}}}}}'

    (line,) = told(text(value))
    advice = line.rpartition("(write ")[2].removesuffix(")")
    assert told(text(advice)) == []


@pytest.mark.parametrize("text", ["ports:\n  eth0:{}\n", "ports: [eth1, 'eth0:{}']\n", "runner: name:lacp\n"])
def test_a_missing_blank_is_told_where_it_makes_a_string(text: str) -> None:
    assert "(a blank is missing behind the colon)" in told(text)[0]


JSON, YAML = '{"device": "team0"}', "device: team0\n"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("team0.json", JSON, ""),
        ("team0.json", YAML, "the name ends in .json, and this is no JSON; name a file in YAML .yaml"),
        ("team0.JSON", YAML, "the name ends in .json"),
        ("team0.json", "DEVICE=team0\n", "an ifcfg file"),
        ("team0.json", '"device": "team0"', "a configuration is one object, which begins with a brace"),
        ("team0.json", "null", "a configuration is one object, which begins with a brace"),
        ("team0.yaml", YAML, ""),
        ("team0.yml", YAML, ""),
        ("team0.yaml", JSON, ""),
        ("team0.yaml", '{"ports":\t{}}', ""),
        ("team0.yaml", "{device: team0}", ""),
        ("team0.conf", "{device: team0}", "JSON keys stand in double quotes"),
        ("team0.conf", JSON, ""),
        ("team0.conf", YAML, ""),
        ("/run/teamd/team0", YAML, ""),
        ("/dev/stdin", JSON, ""),
    ],
)
def test_the_names_ending_says_what_it_is(name: str, text: str, sentence: str) -> None:
    """As teamd, JSON is read whatever the name."""
    if not sentence:
        assert read(text, name).tree in ({"device": "team0"}, {"ports": {}})
        return
    with pytest.raises(ConfigError) as refused:
        read(text, name)
    assert sentence in str(refused.value)


@pytest.mark.parametrize("filling", ["\n", " \n", ",", "{", "a", "a ", ", ", '"', '\\"'])
def test_no_text_takes_long(filling: str) -> None:
    """A search that goes over every line from every line holds the interpreter's lock, and with it the ports."""

    def steps(number: int) -> float:
        began = time.thread_time()
        with pytest.raises(ConfigError):
            read("- a\n" + filling * number + "- b")
        return time.thread_time() - began

    assert steps(40_000) < 8 * steps(10_000) + 0.2, "four times the text, four times the work"


def test_ports_with_nothing_behind_them_are_none_in_yaml() -> None:
    assert read("ports:\n", "team0.yaml").tree == {"ports": {}}
    assert read("ports: {eth1, eth2: }\n").tree == {"ports": {"eth1": {}, "eth2": {}}}
    assert read("ports:\n  'eth1:0':\n  eth2:0: {}\n").tree == {"ports": {"eth1:0": {}, "eth2:0": {}}}
    assert read("device: team0\n").tree == {"device": "team0"}
