"""What the option declarations say, for people and editors: JSON schema, commented example, section of the manual.

Everything here is computed from the same declarations the loader reads, so it cannot be out of date. Pure; the
registries of runners and link watchers are arguments, as in pyteamd.config.config.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pyteamd.config.config import DEFAULT_RUNNER, TeamConfig
from pyteamd.schema import json_text
from pyteamd.schema.option import INT_MAX, INT_MIN, OptionSpec, ValueKind, options_of

if TYPE_CHECKING:
    from pyteamd.linkwatch.base import Watcher
    from pyteamd.runners.base import Runner

WIDTH = 100
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")
_NO_STRINGS = frozenset({"true", "false", "null", "on", "off", "yes", "no", "y", "n"})
"""Words that some version of YAML does not read as strings."""
_UNITS = {"ms": "milliseconds", "s": "seconds"}
_TYPE_WORDS = {
    ValueKind.BOOL: "boolean",
    ValueKind.INT: "integer",
    ValueKind.STRING: "string",
    ValueKind.LIST: "list of strings",
}
_JSON_TYPE = {ValueKind.BOOL: "boolean", ValueKind.INT: "integer", ValueKind.STRING: "string", ValueKind.LIST: "array"}
_LINK_WATCH = "How the link of a port is watched: one link watcher or a list of them."
_PORT_LINK_WATCH = "Link watchers of this port, in addition to those of every port."
_RUNNER = "The runner and its settings."
_RUNNER_ADDR = "Where teamd would listen for ZeroMQ; nothing uses it any more."
_PARENTS = {
    "notify_peers": "Announcements that tell peers where the team is now.",
    "mcast_rejoin": "Reports that join multicast groups again where the team is now.",
    "tx_balancer": "Moves hash values between ports by their load.",
}
SCHEMA_ID = "https://github.com/pyteamd/pyteamd/raw/main/pyteamd.schema.json"
_RUNNER_NAME = "Which runner decides about the ports."
_PORTS = "The ports, by name of the interface. Each holds an object, which may be empty."


# -- JSON schema -----------------------------------------------------------------------------------------------------


def json_schema(runners: Mapping[str, type[Runner]], watchers: Mapping[str, type[Watcher]]) -> dict[str, Any]:
    """A JSON schema (draft 2020-12) of the configuration. Keys nobody reads, which the daemon tolerates, are wrong in it."""
    one = {"$ref": "#/$defs/watcher"}
    definitions: dict[str, Any] = {
        "link_watch": {"oneOf": [one, {"type": "array", "items": one}]},
        "watcher": _any_watcher(watchers),
    }
    for name, watcher in watchers.items():
        definitions[f"watcher_{name}"] = _object(watcher.Config, {"name": {"const": name}}, watcher.summary)
    choices = []
    for name, runner in runners.items():
        known = {"name": {"const": name}, "addr": {"type": "string", "description": _RUNNER_ADDR}}
        definitions[f"runner_{name}"] = _object(runner.Config, known, runner.summary)
        links = {"link_watch": {"$ref": "#/$defs/link_watch", "description": _PORT_LINK_WATCH}}
        port = _object(runner.PortConfig, links, f"A port with the {name} runner.")
        definitions[f"port_{name}"] = port | {"type": ["object", "null"]}  # `eth0:` with nothing behind it, in YAML
        choices.append(_runner_choice(name))
    names = {"enum": list(runners), "default": DEFAULT_RUNNER, "description": _RUNNER_NAME}
    root = _object(
        TeamConfig,
        {
            "runner": {"type": "object", "description": _RUNNER, "properties": {"name": names}},
            "link_watch": {"$ref": "#/$defs/link_watch", "description": _LINK_WATCH},
            "ports": {"type": "object", "description": _PORTS},
        },
        "Configuration of a team device.",
    )
    start = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, "title": "pyteamd"}
    return {**start, **root, "allOf": choices, "$defs": definitions}


def _runner_choice(name: str) -> dict[str, Any]:
    """A condition of the schema: with this runner, these are its keys and those of the ports."""
    this: dict[str, Any] = {"properties": {"runner": {"properties": {"name": {"const": name}}}}}
    if name != DEFAULT_RUNNER:  # without `required` the condition holds also where no runner is named
        this["properties"]["runner"]["required"] = ["name"]
        this["required"] = ["runner"]
    ports = {"additionalProperties": {"$ref": f"#/$defs/port_{name}"}}
    return {"if": this, "then": {"properties": {"runner": {"$ref": f"#/$defs/runner_{name}"}, "ports": ports}}}


def _any_watcher(watchers: Mapping[str, type[Watcher]]) -> dict[str, Any]:
    cases = [
        {
            "if": {"properties": {"name": {"const": name}}, "required": ["name"]},
            "then": {"$ref": f"#/$defs/watcher_{name}"},
        }
        for name in watchers
    ]
    names = {"enum": list(watchers), "description": "Which link watcher."}
    return {"type": "object", "required": ["name"], "properties": {"name": names}, "allOf": cases}


def _object(cls: type, more: Mapping[str, Any], description: str) -> dict[str, Any]:
    """The schema of an object that a configuration class describes, with more properties."""
    schema: dict[str, Any] = {"type": "object", "description": description, "properties": dict(more)}
    for spec in options_of(cls).values():
        level = schema
        *parents, last = spec.path.split(".")
        for parent in parents:
            text = _PARENTS.get(parent, f"Settings of {parent}.")
            empty = {"type": "object", "description": text, "properties": {}, "additionalProperties": False}
            level = level["properties"].setdefault(parent, empty)
        level["properties"][last] = _value(spec)
        if spec.required:
            level.setdefault("required", []).append(last)
    schema["additionalProperties"] = False
    return schema


def _value(spec: OptionSpec) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": _JSON_TYPE[spec.kind], "description": _help(spec)}
    limits: dict[str, Any] = {}
    if spec.choices:
        limits["enum"] = list(spec.choices)
    if spec.pattern:
        limits["pattern"] = spec.pattern
    if spec.kind is ValueKind.LIST:
        schema["items"] = {"type": "string", **limits}
    else:
        schema |= limits
    if spec.kind is ValueKind.INT:
        schema |= {"minimum": spec.lowest, "maximum": spec.highest}
    if spec.default is not None and not spec.required:
        schema["default"] = list(spec.default) if spec.kind is ValueKind.LIST else spec.default
    return schema


# -- commented example -----------------------------------------------------------------------------------------------


def example(
    runner: type[Runner], watcher: type[Watcher], *, device: str = "team0", ports: Iterable[str] = ("eth0", "eth1")
) -> str:
    """A configuration in YAML that can be used as it is. Optional keys are there, commented out.

    Words of explanation begin with `# `, keys that are commented out with `#` and no blank.
    """
    words = f"{runner.summary} A # with no blank behind it hides a key that may be set: take the # away."
    lines = [*_comment(words), f"device: {device}"]
    lines += _options(TeamConfig, "")
    lines += ["", *_comment(_RUNNER_NAME), "runner:", f"  name: {runner.name}"]
    lines += _options(runner.Config, "  ")
    lines += ["", *_comment(f"{_LINK_WATCH} {watcher.name}: {watcher.summary}")]
    lines += ["link_watch:", f"  name: {watcher.name}"]
    lines += _options(watcher.Config, "  ")
    lines += ["", *_comment(_PORTS), "ports:"]
    for number, port in enumerate(ports):
        lines += [f"  {port}:"]
        if number == 0:
            lines += _options(runner.PortConfig, "    ")
    return "\n".join(lines) + "\n"


def _options(cls: type, margin: str) -> list[str]:
    lines = []
    section = ""
    needed = needed_keys(cls)
    for spec in options_of(cls).values():
        if spec.path == "device":
            continue  # shown already
        parent, _, key = spec.path.rpartition(".")
        if parent and parent != section:
            lines += [f"{margin}#{parent}:"]
        section = parent
        inner = margin + "  " if parent else margin
        lines += _comment(_in_full(spec), inner)
        lines += [f"{inner}{'' if spec.path in needed else '#'}{key}: {_in_yaml(_sample(spec))}"]
    return lines


def needed_keys(cls: type) -> set[str]:
    """Keys without which an object of this kind is refused: the required ones, and what the defaults lack."""
    missing: Iterable[tuple[str, str]] = getattr(cls(), "contradictions", tuple)()
    return {spec.path for spec in options_of(cls).values() if spec.required} | {path for path, _ in missing}


def _sample(spec: OptionSpec) -> Any:
    """A value to show: the default, or something that is allowed."""
    if spec.default not in (None, ""):
        return spec.default
    if spec.sample is not None:
        return spec.sample
    if spec.choices:
        return spec.choices[:1] if spec.kind is ValueKind.LIST else spec.choices[0]
    return {ValueKind.BOOL: True, ValueKind.INT: max(spec.lowest, 1), ValueKind.LIST: ["TEXT"]}.get(spec.kind, "TEXT")


def _in_yaml(value: Any) -> str:
    if isinstance(value, str) and _WORD.match(value) and value.lower() not in _NO_STRINGS:
        return value
    return json_text.dumps_oneline(value)


def _comment(text: str, margin: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=margin + "# ", subsequent_indent=margin + "# ")


# -- manual ----------------------------------------------------------------------------------------------------------


def reference(runners: Mapping[str, type[Runner]], watchers: Mapping[str, type[Watcher]]) -> str:
    """All keys, as the body of a section of a manual page (man macros)."""
    common = _common_port_keys(runners.values())
    text = ".SS Keys of the team\n" + _entries(options_of(TeamConfig).values())
    text += _entry("runner.name", "string", f"{_RUNNER_NAME} One of {', '.join(runners)}. Default: {DEFAULT_RUNNER}.")
    text += _entry("link_watch", "object or list of objects", _LINK_WATCH)
    text += _entry("ports", "object", _PORTS)
    text += ".SS Keys of every port\nBelow ports.NAME.\n" + _entries(common.values())
    text += _entry("link_watch", "object or list of objects", _PORT_LINK_WATCH)
    for name, runner in runners.items():
        own = [spec for spec in options_of(runner.PortConfig).values() if common.get(spec.path) != spec]
        team = _entries(options_of(runner.Config).values(), "runner.")
        text += f".SS Runner {name}\n{_roff(runner.summary)}\n{team}{_entries(own, 'ports.NAME.')}"
    for name, watcher in watchers.items():
        text += f".SS Link watcher {name}\n{_roff(watcher.summary)}\n{_entries(options_of(watcher.Config).values())}"
    return text


def _common_port_keys(runners: Iterable[type[Runner]]) -> dict[str, OptionSpec]:
    """The keys that every runner reads in the same way."""
    each = [{spec.path: spec for spec in options_of(runner.PortConfig).values()} for runner in runners]
    return {path: spec for path, spec in each[0].items() if all(other.get(path) == spec for other in each)}


def _entries(specs: Iterable[OptionSpec], below: str = "") -> str:
    return "".join(_entry(below + spec.path, _TYPE_WORDS[spec.kind], _in_full(spec)) for spec in specs)


def _entry(path: str, kind: str, text: str) -> str:
    return f'.TP\n.BR {_roff(path)} " ({kind})"\n{_roff(text)}\n'


def _roff(text: str) -> str:
    text = text.replace("\\", "\\e")
    return f"\\&{text}" if text[:1] in (".", "'") else text


# -- words -----------------------------------------------------------------------------------------------------------


def _help(spec: OptionSpec) -> str:
    return f"{spec.help} In {_UNITS.get(spec.unit, spec.unit)}." if spec.unit else spec.help


def _in_full(spec: OptionSpec) -> str:
    """What a key means, which values are allowed, and its default, in sentences."""
    text = _help(spec)
    if spec.choices:
        text += f" {'Any' if spec.kind is ValueKind.LIST else 'One'} of {', '.join(spec.choices)}."
    elif spec.kind is ValueKind.INT and spec.highest != INT_MAX:
        text += f" {spec.lowest} to {spec.highest}."
    elif spec.kind is ValueKind.INT and spec.lowest != INT_MIN:
        text += f" At least {spec.lowest}."
    if spec.required:
        return f"{text} Required."
    return text if spec.default is None else f"{text} Default: {_in_yaml(spec.default)}."
