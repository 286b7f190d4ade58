"""Command lines that teach: a parser whose help ends with examples, one a line, ready to be copied."""

from __future__ import annotations

import argparse
import textwrap

COLUMNS = 79


def parser(program: str, description: str, *examples: str, notes: str = "") -> argparse.ArgumentParser:
    """A parser for one command."""
    shown = [textwrap.fill(notes, COLUMNS), ""] if notes else []
    shown += ["example:" if len(examples) == 1 else "examples:", *[f"  {example}" for example in examples]]
    return argparse.ArgumentParser(
        program,
        description=textwrap.fill(description, COLUMNS),
        epilog="\n".join(shown),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
