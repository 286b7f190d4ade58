"""The usual slips in a configuration's text, and files of other programs: a sentence for each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pyteamd.schema import json_text

_CONVERT = "see: pyteamd convert --from"
NO_OBJECT = "a configuration is one object, which begins with a brace"
NAMED_JSON = "the name ends in .json, and this is no JSON; name a file in YAML .yaml"
NO_MAPPING = "in YAML a line is a key, a colon, a blank and a value"

UTF_8 = "a configuration is UTF-8"
UNSPACED = "a blank is missing behind the colon"
COMMA = "JSON has no comma before a closing brace or bracket"

JSON_STRING = r'"(?:[^"\\]|\\[\s\S]?)*(?:"|\Z)'
"""Matches in one pass, also what is not closed."""
JSON_ERRORS = (
    (r"near '(True|False|None|TRUE|FALSE|NULL|yes|no|on|off)'", "JSON writes true, false and null, in small letters"),
    (r"near '='", "in JSON a colon stands between key and value"),
    (r"near '[‘’“”„«]", "these are typographic quotes; JSON has plain ones"),
    (
        r"near '(\+|0|\.)|'[}\]]' expected near '[xXoObB._]'",
        "JSON numbers are decimal, without + and without a 0 before them",
    ),
    (r"'\]' expected near ':'", "members with keys stand in braces"),
    (r"'[}\]]' expected near '[\"{\[]", "a comma is missing before it"),
    (r"'[}\]]' expected near ';'", "in JSON a comma stands between members"),
    (
        r"'[}\]]' expected near end of file|string or '}' expected near end of file",
        "a closing brace or bracket is missing",
    ),
    (r"end of file expected near '[}\]]'", "there is a closing brace or bracket too many"),
    (r"end of file expected", "a configuration is one object, and nothing follows it"),
    (r"'\[' or '\{' expected", "JSON begins with a brace"),
    (r"':' expected", "in JSON a colon stands between key and value"),
    (r"unexpected newline", "a string ends on the line on which it begins; is its closing quote missing?"),
    (r"premature end of input", "a string is not closed"),
    (r"control character", r"in a JSON string a tab is written \t, and a newline \n"),
    (r"unable to decode byte", UTF_8),
    (r"invalid escape", r"in a JSON string a backslash is written \\"),
)
"""jansson's messages, and what is probably wrong."""
JSON_TEXTS = (
    (r"(^|[\s{},\[])(//|/\*|#)", "JSON has no comments; in YAML they begin with #"),
    (r"^(?=[^\"]*')[^\"]*$", "JSON strings stand in double quotes"),
    (r"^\s*\{(?s:.)*[{,]\s*'", "JSON strings stand in double quotes"),
    (r"^\s*\{((?s:.)*[{,])?\s*[A-Za-z_][\w.-]*\s*[:=]", "JSON keys stand in double quotes"),
)
"""Patterns of wrong texts, without what stands in strings, and what is probably wrong; tried before JSON_ERRORS."""
YAML_TEXTS = (
    (r"(?m)^[ ]*\t", "YAML is indented with blanks, not with tabs"),
    (r"(?m)^[ \t]*[A-Za-z_]\w*:[^\s]", "in YAML a blank follows the colon behind a key"),
    (r"^\s*(//|/\*)", "JSON has no comments; in YAML they begin with #"),
    (r"(?m)^[ \t]*[A-Za-z_]\w*[ \t]*=", "in YAML a colon and a blank stand between key and value"),
    (r"^\s*-\s", "a configuration is no list: without the dash in front"),
    (r'^\s*"[^"\n]*"\s*:', "JSON begins with a brace"),
)
YAML_ERRORS = (
    (r"another document", "a configuration is one document: no line --- in the middle"),
    (r"expected <block end>", "keys of one level begin in the same column"),
    (r"unexpected end of stream", "a quote is not closed"),
    (r"stream end", "a brace or bracket is not closed"),
    (r"could not find expected ':'", "a key ends with a colon"),
    (r"cannot start any token", "a value that begins with this character stands in quotes"),
    (
        r"mapping values are not allowed",
        "keys of one level begin in the same column, and a value with a colon and a blank in it stands in quotes",
    ),
    (r"is no UTF-8", UTF_8),
)
PROGRAMS = (
    (r"\A(\udcff\udcfe|\udcfe\udcff)", f"UTF-16; {UTF_8}"),
    (r"\0", f"UTF-16, or no text at all; {UTF_8}"),
    (r"^\[(NetDev|Match|Network|Link)\]\s*$", f"a file of systemd-networkd; {_CONVERT} networkd FILE"),
    (r"^\[(connection|team|bond|ipv4|ipv6|ethernet)\]\s*$", f"a keyfile of NetworkManager; {_CONVERT} keyfile FILE"),
    (r"^\[[\w.: -]+\]\s*$", "a file in sections, which pyteamd does not read"),
    (r"^[A-Z][A-Z0-9_]*=", f"an ifcfg file; {_CONVERT} ifcfg FILE"),
    (r"^(iface|auto|allow-\w+|source)\s+\S", f"/etc/network/interfaces; {_CONVERT} ifupdown FILE"),
    (r"^<(\?xml|interface|network)\b", "XML, of libvirt or wicked, which pyteamd does not read"),
    (r"^#!", "a program"),
    (
        r"^(interfaces? \S|hostname \S|set interfaces \S|config interface |/interface )",
        "the configuration of a switch or router, which pyteamd does not read",
    ),
    (r"^(ip|nmcli|teamd|pyteamd|link add|link set) \S", "commands"),
    (r"^-\s+(name|hosts|import_playbook|include|tasks)\s*:", "an Ansible playbook, which pyteamd does not read"),
)
"""Patterns of lines in other programs' files that are neither JSON nor a mapping in YAML."""

ANSIBLE, SONIC = (
    "variables of an Ansible role, which pyteamd does not read",
    "a SONiC configuration, which pyteamd does not read",
)
FOREIGN_KEYS = {
    "network": f"a netplan file; {_CONVERT} netplan FILE",
    "interfaces": f"an nmstate file; {_CONVERT} nmstate FILE",
    "desiredState": f"a manifest with an nmstate file in it; {_CONVERT} nmstate FILE",
    "network_connections": ANSIBLE,
    "network_provider": ANSIBLE,
    "network_state": ANSIBLE,
    "PORTCHANNEL": SONIC,
    "PORTCHANNEL_MEMBER": SONIC,
    "PORTCHANNEL_INTERFACE": SONIC,
    "DEVICE_METADATA": SONIC,
    "setup": "the state of a team (state dump); its configuration is what config dump prints",
}
"""A key that names the kind of a file of another program."""
BONDING_MODES = {
    "802.3ad": "lacp",
    "active-backup": "activebackup",
    "balance-rr": "roundrobin",
    "balance-xor": "loadbalance",
    "balance-tlb": "loadbalance",
    "balance-alb": "loadbalance",
}
"""Modes of bonding, and the runners that do the same or nearly so."""


def in_json(text: str, error: str = "") -> str:
    """What is probably wrong with a text that is no JSON; "" when nothing comes to mind. `error`: what the parser said."""
    if kind := other_program(text):
        return f"this looks like {kind}"
    if not text.strip():
        return "there is nothing in it"
    bare = re.sub(JSON_STRING, '""', text)
    if re.search(r"near '[}\]]'", error) and re.search(r",\s*[}\]]", bare):
        return COMMA
    return _first(JSON_TEXTS, bare) or _first(JSON_ERRORS, error)


def in_yaml(text: str, error: str = "") -> str:
    """What is probably wrong with a text that is no YAML, or no mapping."""
    if kind := other_program(text):
        return f"this looks like {kind}"
    if not any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
        return "there are only comments in it"
    return _first(YAML_TEXTS, text) or _first(YAML_ERRORS, error)


def other_program(text: str) -> str:
    """Which other program's file this text is; "" for none that is known."""
    return next((kind for pattern, kind in PROGRAMS if re.search(pattern, text, re.MULTILINE)), "")


def ports_as_list(ports: Any) -> str:
    """How a list of ports, or names in a string, is written; "" for what names none."""
    found: list[dict[str, Any]] = []
    for each in ports if type(ports) is list else [ports]:
        if type(each) is str:
            found += [{"name": name} for name in each.replace(",", " ").split()]
        else:
            found.append({**each} if type(each) is dict else {})
    names = [each.pop("name", None) for each in found]
    if not names or not all(type(name) is str for name in names):
        return ""
    if any(":" in name for name in names):
        return UNSPACED
    return f"write {json_text.dumps_oneline(dict(zip(names, found, strict=True)))}"


def bonding_mode(name: str) -> str:
    """The runner that does what a mode of bonding does, "" for no such mode."""
    runner = BONDING_MODES.get(name.lower())
    return f"bonding's {name} is the runner {runner}" if runner else ""


def _first(rows: Iterable[tuple[str, str]], text: str) -> str:
    return next((sentence for pattern, sentence in rows if re.search(pattern, text)), "")


def foreign(tree: Mapping[str, Any], known: Iterable[str]) -> str:
    """What is wrong with a configuration without a known key, or with one that is a state; "" when one is known, or it is empty."""
    if "setup" in tree and "team_device" in tree:
        return f"this is {FOREIGN_KEYS['setup']}"
    unknown = tree and not any(key in known for key in tree)
    return f"no key of it is known; {_kind(tree, known)}" if unknown else ""


def _kind(tree: Mapping[str, Any], known: Iterable[str]) -> str:
    """What a file without a known key probably is."""
    if "apiVersion" in tree:
        inner = tree.get("spec")
        held = isinstance(inner, dict) and "desiredState" in inner
        return f"this is {FOREIGN_KEYS['desiredState'] if held else 'a manifest of Kubernetes, which pyteamd does not read'}"
    if isinstance(network := tree.get("network"), dict) and "config" in network:
        return "this is a file of cloud-init (version 1), which pyteamd does not read"
    kinds = [kind for key, kind in FOREIGN_KEYS.items() if key in tree]
    if kinds:
        return f"this is {kinds[0]}"
    inside = [key for key, value in tree.items() if isinstance(value, dict) and any(name in known for name in value)]
    if inside:
        return f"the configuration stands one level too deep, below {inside[0]}"
    return "this is no configuration of a team"
