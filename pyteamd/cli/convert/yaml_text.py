"""The documents of a YAML file as the programs that it is for read them, where PyYAML's own way would lose something in silence. Pure.

`52:54:00:12:34:56` is an address and no number to the base 60, a date is its text, and a key that stands twice is an error. Aliases
and merged mappings stay: netplan's users write them.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"
_REPLACED = {
    f"{_TAG}int": r"[-+]?(?:0x[0-9a-fA-F]+|[0-9]+)\Z",
    f"{_TAG}float": r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?\Z",
    f"{_TAG}timestamp": "",
}


MOST_VALUES = 100_000
TOO_MANY = f"its aliases make more than {MOST_VALUES} values of it"


class _ForeignLoader(yaml.SafeLoader):
    """PyYAML's safe loader with other numbers, without dates and without doubled keys."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MOST_VALUES:
            raise yaml.YAMLError(TOO_MANY)

    def compose_mapping_node(self, anchor: Any) -> Any:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"{key.value!r} stands twice in one mapping; keep one of them"
                raise yaml.composer.ComposerError(None, None, problem, key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return node


_ForeignLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rows if tag not in _REPLACED]
    for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in _REPLACED.items():
    if _pattern:
        _ForeignLoader.add_implicit_resolver(_tag, re.compile(_pattern), list("-+.0123456789"))


def _number(loader: _ForeignLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 16 if "x" in text else 10)


_ForeignLoader.add_constructor(f"{_TAG}int", _number)


def documents(text: str) -> list[Any]:
    """Each document's value. yaml.YAMLError."""
    trees = list(yaml.load_all(text, _ForeignLoader))
    bounded(trees)
    return trees


def bounded(trees: list[Any]) -> None:
    """Refuse aliases that stand for more values than a machine has room for, or for themselves. yaml.YAMLError."""
    open_: list[Any] = [trees]
    count = 0
    while open_:
        value = open_.pop()
        parts = [*value.values()] if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
        count += len(parts)
        if count > MOST_VALUES:
            raise yaml.YAMLError(TOO_MANY)
        open_ += parts
