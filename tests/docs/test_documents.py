"""What is written: links lead somewhere, the site builds without a warning and needs no network, a tag agrees with the tree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HOME = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Homepage"]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")


def links(path: Path) -> list[str]:
    """Targets of a document's links, those in code left out."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL)
    return LINK.findall(text)


def target(path: Path, link: str) -> Path | None:
    """The file of ours that a link leads to."""
    if link.startswith(f"{HOME}/"):
        return ROOT / re.sub(r"^(blob|tree|raw)/main/", "", link.removeprefix(f"{HOME}/")).partition("#")[0]
    return None if "://" in link or link.startswith("#") else path.parent / link.partition("#")[0]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    if path.is_relative_to(ROOT / "docs/site"):
        return  # they are links between pages of the site, which Sphinx checks
    found = {link: target(path, link) for link in links(path)}
    gone = [link for link, place in found.items() if place and not place.exists()]
    assert [link for link in gone if link != f"{HOME}/issues"] == []
    for link in found:
        part, place = link.partition("#")[2], path if link.startswith("#") else found[link]
        assert not part or place is None or place.suffix != ".md" or part in anchors(place), link


def anchors(path: Path) -> set[str]:
    """What links may name in a document: its headings in small letters, with - for a blank and without marks."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"(?m)^#+ (.*)$", text)
    }


def test_the_readme_reads_well_where_there_is_no_tree() -> None:
    assert [link for link in links(ROOT / "README.md") if "://" not in link] == []


def test_the_changelog_has_the_form_people_know() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert text.startswith("# Changelog\n")
    assert "## [Unreleased]\n" in text
    sections = re.findall(r"^### (.*)$", text, re.MULTILINE)
    assert set(sections) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_pre_commit_runs_what_make_check_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    check = re.search(r"^check: .*?\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert check
    for hook in hooks:
        tool = hook["entry"].split()[0]
        assert Path(tool).name in check[1] or "pytest" in hook["entry"]


@pytest.mark.slow
def test_the_site_builds_and_needs_no_network(tmp_path: Path) -> None:
    words = [sys.executable, "docs/site/build.py", str(tmp_path / "site")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 20
    named = (tmp_path / "site/reference/files.html").read_text()
    for path in (ROOT / "pyteamd").rglob("*.py"):
        assert path.name == "__init__.py" or path.name in named, path
    fetched = re.compile(
        r'<(?:script|img|iframe)[^>]*\bsrc="(?:https?:)?//|<link[^>]*rel="stylesheet"[^>]*href="(?:https?:)?//'
    )
    assert [page.name for page in pages if fetched.search(page.read_text())] == []


def test_a_release_agrees_with_itself(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "packaging"))
    try:
        import tag
    finally:
        sys.path.pop(0)
    for name in ("pyteamd/__init__.py", "debian/changelog", "packaging/pyteamd.spec", "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    version, told = tag.problems(tmp_path)
    assert [line for line in told if not line.startswith("CHANGELOG.md")] == []
    changes = (tmp_path / "CHANGELOG.md").read_text()
    (tmp_path / "CHANGELOG.md").write_text(
        changes.replace("## [Unreleased]", f"## [Unreleased]\n\n## [{version}] - 2026-12-01")
    )
    assert tag.problems(tmp_path) == (version, [])
    (tmp_path / "pyteamd/__init__.py").write_text('__version__ = "1.2.3"\n')
    assert len(tag.problems(tmp_path)[1]) == 3


@pytest.mark.parametrize(
    ("name", "columns", "lines"), [("two", 80, 24), ("port", 80, 64), ("forty", 80, 24), ("forty, wide", 200, 50)]
)
def test_captures_fit_the_terminal_they_were_made_on(name: str, columns: int, lines: int) -> None:
    text = (ROOT / "docs/watch.md").read_text().split(f"<!-- capture: {name} -->\n```\n")[1].split("\n```")[0]
    shown = text.splitlines()
    assert shown[0].startswith("team")
    assert len(shown) == lines
    assert max(map(len, shown)) <= columns
    assert shown[-1].startswith("q leave")
