"""What `from pyteamd.client import …` costs and gives."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pyteamd.client

DEAR = {"typing", "json", "asyncio", "trio", "jeepney", "dataclasses", "inspect", "re"}


def imported(code: str) -> set[str]:
    """Modules that are loaded after it, in a process without site packages' own start-up files."""
    words = [
        sys.executable,
        "-I",
        "-c",
        f"import sys; before = set(sys.modules); {code}; print(*set(sys.modules) - before)",
    ]
    return set(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.slow
def test_importing_it_costs_little() -> None:
    assert not imported("import pyteamd.client") & DEAR
    assert not [name for name in imported("import pyteamd.client") if name.startswith("pyteamd.client.")]
    assert not imported("from pyteamd.client import Client") & DEAR


@pytest.mark.parametrize("name", pyteamd.client.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    thing = getattr(pyteamd.client, name)
    assert thing.__doc__
    assert name in dir(pyteamd.client)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        pyteamd.client.Nothing  # noqa: B018
