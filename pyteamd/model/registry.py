"""The table of runners, and that of link watchers: names, and where the class of each is.

A class is imported when it is first looked up: a daemon pays, in time to start and in memory, for the one runner it runs. Asking
whether a name is known, or for all the names, imports nothing.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")


class Registry(Mapping[str, type[T]]):
    """Classes by their names in the configuration, from `name: "module:class"`, in that order."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self.places = dict(places)

    def __getitem__(self, name: str) -> type[T]:
        module, _, cls = self.places[name].partition(":")
        # Interned: each new string would stay in the interpreter's cache.
        found: type[T] = getattr(importlib.import_module(module), sys.intern(cls))
        return found

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)
