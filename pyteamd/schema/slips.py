"""The usual slips in a configuration's text, and files of other programs: a sentence for each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_TRAILING_COMMA = re.compile(r",\s*[}\]]")
_COMMENT = re.compile(r"(^|[\s{},\[])(//|/\*|#)")
_UNQUOTED_KEY = re.compile(r"[{,]\s*[A-Za-z_]\w*\s*:")
_GLUED_KEY = re.compile(r"^\s*[A-Za-z_]\w*:\S", re.MULTILINE)
_SECTION = re.compile(r"^\[[\w-]+\]\s*$", re.MULTILINE)
_ASSIGNMENT = re.compile(r"^[A-Z_]+=", re.MULTILINE)

FOREIGN_KEYS = {
    "network": "a netplan file; see: pyteamd convert --from netplan FILE",
    "interfaces": "an nmstate file; see: pyteamd convert --from nmstate FILE",
    "network_connections": "variables of an Ansible role, which pyteamd does not read",
    "PORTCHANNEL": "a SONiC configuration, which pyteamd does not read",
    "PORTCHANNEL_MEMBER": "a SONiC configuration, which pyteamd does not read",
}
"""A key that names the kind of a file of another program."""


def in_json(text: str) -> str:
    """What is probably wrong with a text that is no JSON; "" when nothing comes to mind."""
    if kind := other_program(text):
        return f"this looks like {kind}"
    if _TRAILING_COMMA.search(text):
        return "JSON has no comma before a closing brace or bracket"
    if _COMMENT.search(text):
        return "JSON has no comments; in YAML they begin with #"
    if "'" in text and '"' not in text:
        return "JSON strings stand in double quotes"
    if text.lstrip().startswith("{") and _UNQUOTED_KEY.search(text):
        return "JSON keys stand in double quotes"
    return ""


def in_yaml(text: str) -> str:
    """What is probably wrong with a text that is no YAML, or no mapping."""
    if kind := other_program(text):
        return f"this looks like {kind}"
    if any("\t" in line[: len(line) - len(line.lstrip())] for line in text.splitlines()):
        return "YAML is indented with blanks, not with tabs"
    if _GLUED_KEY.search(text):
        return "in YAML a blank follows the colon behind a key"
    if text.lstrip().startswith(("//", "/*")):
        return "JSON has no comments; in YAML they begin with #"
    if not any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
        return "there are only comments in it"
    return ""


def other_program(text: str) -> str:
    """The kind of file of another program that this text is; "" for none that is known."""
    if _SECTION.search(text):
        return "a keyfile of NetworkManager or a file of systemd-networkd; see: pyteamd convert --from keyfile FILE, --from networkd FILE"
    if _ASSIGNMENT.search(text):
        return "an ifcfg file; see: pyteamd convert --from ifcfg FILE"
    return ""


def foreign(tree: Mapping[str, Any], known: Iterable[str]) -> str:
    """What a configuration is of which no key is known; "" for one of ours, or an empty one."""
    if not tree or any(key in known for key in tree):
        return ""
    kinds = [kind for key, kind in FOREIGN_KEYS.items() if key in tree]
    return f"this is {kinds[0]}" if kinds else "this is no configuration of a team"
