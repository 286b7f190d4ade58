#!/usr/bin/env python3
"""make docs: the site in build/docs, from the Markdown of docs/, the README, and what reference.py makes of the code.

    .venv/bin/python docs/site/build.py [DIRECTORY]

Every warning of Sphinx is an error: a link that leads nowhere, a page that no table of contents names.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import reference
from sphinx.cmd.build import main as sphinx

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
EDGE = re.compile(r"\s*(\S+)\s*-->\s*(?:\|([^|]*)\|\s*)?([^\s:]+)(?:\s*:\s*(.*))?$")
NODE = re.compile(r"(\w+)\[\"?(.*?)\"?\]")
STYLE = 'node [shape=box, style=rounded, fontname="sans-serif", fontsize=11]; edge [fontname="sans-serif", fontsize=9];'


def drawn(match: re.Match[str]) -> str:
    """A mermaid diagram as one for graphviz, which is drawn now: mermaid would be fetched when the page is read."""
    lines = match[1].splitlines()
    names, edges = {}, []
    for line in lines[1:]:
        for node in NODE.finditer(line):
            names[node[1]] = node[2].replace("<br>", "\\n")
        plain = NODE.sub(r"\1", line)
        if edge := EDGE.match(plain):
            start, above, end, behind = edge.groups()
            edges.append((start, end, above or behind or ""))
    ends = {"[*]": "begin"}
    text = [f'  {ends.get(a, a)} -> {ends.get(b, b)} [label="{label}"];' for a, b, label in edges]
    text += [f'  {name} [label="{label}"];' for name, label in names.items()]
    if any("[*]" in edge for edge in edges):
        text.append('  begin [shape=point, width=0.12, label=""];')
    rank = "LR" if lines[0].endswith("LR") else "TB"
    return f"```{{graphviz}}\ndigraph {{\n  rankdir={rank}; {STYLE}\n" + "\n".join(text) + "\n}\n```\n"


def page(text: str, drawing: bool) -> str:
    """A page of the repository as one of the site."""
    if drawing:
        text = re.sub(r"```mermaid\n(.*?)```\n", drawn, text, flags=re.DOTALL)
    return text


def with_the_rest(index: str, pages: set[str]) -> str:
    """The table of contents with the pages that it does not name: a new document needs no line there."""
    missing = sorted(pages - set(index.split()) - {"index"})
    return f"{index}\n```{{toctree}}\n:caption: More\n" + "\n".join(missing) + "\n```\n" if missing else index


def sources(place: Path) -> None:
    """Everything Sphinx reads."""
    shutil.rmtree(place, ignore_errors=True)
    (place / "reference").mkdir(parents=True)
    drawing = shutil.which("dot") is not None
    for file in sorted([*(ROOT / "docs").glob("*.md"), *HERE.glob("*.md")]):
        (place / file.name).write_text(page(file.read_text("utf-8"), drawing), "utf-8")
    for file in sorted(
        [*(ROOT / "docs").glob("*.conf"), *(ROOT / "docs").glob("*.png"), *(ROOT / "docs").glob("*.svg")]
    ):
        shutil.copy(file, place)
    readme = (ROOT / "README.md").read_text("utf-8")
    tour = readme[readme.index("## A tour") :].partition("\n## More")[0]
    tour = re.sub(r"\]\(\S*?/?docs/([\w-]+\.md)\)", r"](\1)", tour)
    (place / "tour.md").write_text("# " + tour.removeprefix("## ").replace("\n## ", "\n## "), "utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    (place / "changelog.md").write_text(changes, "utf-8")
    index = (place / "index.md").read_text("utf-8")
    (place / "index.md").write_text(with_the_rest(index, {file.stem for file in place.glob("*.md")}), "utf-8")
    for name, text in reference.pages().items():
        (place / "reference" / name).write_text(text, "utf-8")
    shutil.copy(HERE / "conf.py", place)


def main() -> int:
    """Build. Returns the exit code."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/docs"
    place = out.parent / f"{out.name}-source"
    sources(place)
    shutil.rmtree(out, ignore_errors=True)
    code = sphinx(
        ["-q", "-W", "--keep-going", "-b", "html", "-d", str(out.parent / f"{out.name}-cache"), str(place), str(out)]
    )
    if code == 0:
        print(f"docs: {out}/index.html")
    return code


if __name__ == "__main__":
    sys.exit(main())
