"""The reference of the site, made from the code: keys of the configuration, commands, metrics, lines of the log, the library."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/kit"))  # worlds with ports and partners, for metrics to look at

from pyteamd.cli.pyteamd import main as daemon_program  # noqa: E402
from pyteamd.cli.pyteamdctl import main as control_program  # noqa: E402
from pyteamd.cli.pyteamnl import main as driver_program  # noqa: E402
from pyteamd.config.document import json_schema  # noqa: E402
from pyteamd.linkwatch import WATCHERS  # noqa: E402
from pyteamd.runners import RUNNERS  # noqa: E402
from pyteamd.schema.option import INT_MAX, INT_MIN  # noqa: E402

LIBRARY = """\
# The library's names

The [guide](../client.md) has examples and the table of methods.

```{eval-rst}
.. autoclass:: pyteamd.client.client.Client()
   :members:
   :inherited-members:
   :exclude-members: refresh, interrupt
.. autofunction:: pyteamd.client.connection.teams
.. autoclass:: pyteamd.client.events.Events()
   :members: close
.. automodule:: pyteamd.client.answers
   :members:
.. autoexception:: pyteamd.client.transport.ClientError
.. autoexception:: pyteamd.client.connection.NoDaemon
.. autoexception:: pyteamd.client.transport.DaemonError
.. autoexception:: pyteamd.client.client.ConfigRefused
.. autoexception:: pyteamd.client.transport.CallFailed
.. autoexception:: pyteamd.client.transport.TransportMissing
```
"""


SAID = re.compile(r"^\+[\d.]+ (error|warning|info|debug) +(.*)$", re.MULTILINE)
NAMES = re.compile(
    r"\b(?:eth|em|en|team|port|peer|p|a|b)\d+\b|\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b|\b\d+(?:\.\d+)*\b|(?<=\")[\w.-]*(?=\")"
)


def pages() -> dict[str, str]:
    """Name of the file → its text."""
    return {
        "configuration.md": configuration(),
        "commands.md": commands(),
        "metrics.md": metrics(),
        "log.md": log_lines(),
        "library.md": LIBRARY,
        "files.md": files(),
    }


def files() -> str:
    """Every file of the program, by folder, with the first line of its docstring."""
    parts = [
        "# Files\n",
        "What each file is for, in its own first line. [Architecture](../architecture.md) says what the folders are for.\n",
    ]
    for top in ("linkwatch", "runners", "pyteamd"):
        for folder in sorted({path.parent for path in (ROOT / top).rglob("*.py")}):
            rows = [
                f"| `{path.name}` | {cell(first_line(path))} |"
                for path in sorted(folder.glob("*.py"))
                if path.name != "__init__.py"
            ]
            if rows:
                parts += [f"## {folder.relative_to(ROOT)}/\n", "| file | |", "|---|---|", *rows, ""]
    return "\n".join(parts)


def first_line(path: Path) -> str:
    """What a module says it is for."""
    return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]


def configuration() -> str:
    """Every key, from the declarations that the daemon reads."""
    schema = json_schema(RUNNERS, WATCHERS)
    parts = ["# Keys of the configuration\n", "## The team\n", *table(schema["properties"])]
    for name, runner in RUNNERS.items():
        parts += [
            f"## Runner {name}\n",
            f"{cell(runner.summary)}\n",
            *table(schema["$defs"][f"runner_{name}"]["properties"], "runner."),
        ]
        parts += ["Of each port:\n", *table(schema["$defs"][f"port_{name}"]["properties"], "ports.NAME.")]
    for name, watcher in WATCHERS.items():
        keys = schema["$defs"][f"watcher_{name}"]["properties"]
        parts += [f"## Link watcher {name}\n", f"{cell(watcher.summary)}\n", *table(keys, "link_watch.")]
    return "\n".join(parts)


def table(properties: dict[str, Any], below: str = "") -> list[str]:
    """Keys, types and what they mean."""
    return ["| key | type | |", "|---|---|---|", *rows(properties, below), ""]


def rows(properties: dict[str, Any], below: str) -> Iterator[str]:
    for name, value in properties.items():
        if "const" in value:
            continue
        kind = value.get("type", "string" if "enum" in value else "object or list of objects")
        text = " ".join([value.get("description", ""), *bounds(value)])
        yield f"| `{below}{name}` | {kind} | {cell(text)} |"
        yield from rows(value.get("properties", {}), f"{below}{name}.")


def bounds(value: dict[str, Any]) -> Iterator[str]:
    """What a value may be, and what it is when nothing is said."""
    if choices := value.get("enum") or value.get("items", {}).get("enum"):
        yield f"One of {', '.join(f'`{choice}`' for choice in choices)}."
    low, high = value.get("minimum"), value.get("maximum")
    if high not in (None, INT_MAX):
        yield f"{low} to {high}."
    elif low not in (None, INT_MIN):
        yield f"At least {low}."
    if "default" in value:
        yield f"Default: `{json.dumps(value['default'])}`."


def cell(text: str) -> str:
    """Text in a table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def commands() -> str:
    """What each program says of itself."""
    parts = ["# Commands\n"]
    for title, text in helps():
        parts += [f"## {title}\n", f"```text\n{text.rstrip()}\n```\n"]
    return "\n".join(parts)


def helps() -> Iterator[tuple[str, str]]:
    yield "pyteamd", printed(lambda: daemon_program.main(["pyteamd", "-h"]))
    for name in daemon_program.SUBCOMMANDS:
        yield f"pyteamd {name}", printed(lambda name=name: daemon_program.main(["pyteamd", name, "-h"]))
    out = io.StringIO()
    control_program.run("pyteamdctl", ["-h"], out, out)
    yield "pyteamdctl", out.getvalue()
    sys.argv = ["pyteamnl", "-h"]
    yield "pyteamnl", printed(driver_program.main)


def printed(run: Any) -> str:
    """What a program prints when it is asked for help."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        run()
    return out.getvalue()


def metrics() -> str:
    """The metrics of two teams that have something to tell."""
    from explain_kit import backup, lacp, told, two_partners  # type: ignore[import-not-found]

    from pyteamd.core.trace import Trace
    from pyteamd.views.metrics import Gauges, text

    found: dict[str, list[str]] = {}
    watch = {"name": "arp_ping", "target_host": "192.0.2.1", "source_host": "192.0.2.2"}
    for made in (told({**backup(eth1={}, eth2={}), "link_watch": watch}), two_partners(lacp())[0]):
        for line in text([(made.team, Trace({}), Gauges())], made.world.clock).splitlines():
            if line.startswith(("# TYPE ", "# HELP ")):
                _, what, name, rest = line.split(" ", 3)
                row = found.setdefault(name, ["", ""])
                row[what == "HELP"] = rest
    lines = [f"| `{name}` | {kind} | {cell(help_text)} |" for name, (kind, help_text) in sorted(found.items())]
    head = "# Metrics\n\nA counter's samples end with `_total`. [Monitoring](../monitoring.md) says where they are served.\n"
    return "\n".join([head, "| metric | kind | meaning |", "|---|---|---|", *lines, ""])


def log_lines() -> str:
    """Every line that the core and the runners write: from the places in the code that have a text of their own, and from what the
    scenarios' transcripts say, which the tests hold to the code."""
    found: dict[str, set[str]] = {}
    for folder in ("pyteamd", "runners", "linkwatch"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.is_relative_to(ROOT / "pyteamd/scenario") or (ROOT / folder).is_symlink():
                continue
            for level, text in notes(ast.parse(path.read_text("utf-8"))):
                found.setdefault(level, set()).add(text)
    for path in sorted((ROOT / "tests/scenarios").glob("*.txt")):
        for level, text in SAID.findall(path.read_text("utf-8")):
            found.setdefault(level, set()).add(NAMES.sub("…", text))
    parts = ["# Lines of the log\n", "`…` stands for a name or a number. A line about a port begins with its name.\n"]
    for level in ("error", "warning", "info", "debug"):
        if found.get(level):
            parts += [f"## {level}\n", *[f"- {cell(text)}" for text in sorted(found[level])], ""]
    return "\n".join(parts)


def notes(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Level and text of each note that is made with a text of its own."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or len(node.args) < 2 or not isinstance(node.func, ast.Name):
            continue
        level = node.args[0]
        if node.func.id == "Note" and isinstance(level, ast.Attribute) and (text := literal(node.args[1])):
            yield level.attr.lower(), text


def literal(node: ast.expr) -> str:
    """The text of a string, with … for what is put in."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=values):
            text = "".join(literal(value) if isinstance(value, ast.Constant) else "…" for value in values)
            return text if text.strip("… :.") else ""
    return ""
