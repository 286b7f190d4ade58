"""The usual slips and the files of other programs have a sentence; advice is run against the declaration it is given for."""

from __future__ import annotations

import pytest
from config_kit import told

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
        ("{runner: {name: lacp}, }", COMMA),
        ('{runner: {"name": "lacp"}}', "JSON keys stand in double quotes"),
        ("device:team0\n", "in YAML a blank follows the colon behind a key"),
        ("runner:\n\tname: lacp\n", "YAML is indented with blanks, not with tabs"),
        ("# nothing\n\n# yet\n", "there are only comments in it"),
        ("DEVICE=team0\nBONDING_OPTS=x\n", "this looks like an ifcfg file; see: pyteamd convert --from ifcfg FILE"),
        ("[connection]\nid=team0\n", "this looks like a keyfile of NetworkManager"),
        ("network:\n  version: 2\n", "this is a netplan file; see: pyteamd convert --from netplan FILE"),
        ("interfaces:\n- name: bond0\n", "this is an nmstate file; see: pyteamd convert --from nmstate FILE"),
        ("network_connections:\n- name: x\n", "this is variables of an Ansible role"),
        ('{"PORTCHANNEL": {}}', "this is a SONiC configuration"),
    ],
)
def test_a_sentence_for_each(text: str, sentence: str) -> None:
    lines = told(text)
    assert lines[0].startswith("! ")
    assert sentence in lines[0]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("agg_select_policy", "1", "(allowed: lacp_prio, lacp_prio_stable, bandwidth, count, port_config)"),
        ("sys_prio", '"99999"', "(allowed: 0 to 65535)"),
        ("sys_prio", '"10"', "(write 10)"),
        ("active", '"yes"', "(write true)"),
    ],
)
def test_advice_is_taken(key: str, value: str, words: str) -> None:
    (line,) = told(f'{{"runner": {{"name": "lacp", "{key}": {value}}}}}')
    assert line.endswith(words)
