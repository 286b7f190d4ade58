"""pyroute2's message classes without the rest of pyroute2: import them from here.

`pyroute2/__init__.py` imports everything pyroute2 can do: asyncio, an in-memory database, sockets, 370 modules, 20 MB and
100 ms. The daemon needs only the classes that encode and decode messages, whose modules are complete in themselves. So
the package object is put into `sys.modules` without running its `__init__.py`; importing a submodule then finds it there.

A program that asks the package for anything else (`pyroute2.IPRoute`, `from pyroute2 import config`) still gets it: the first
such request imports the submodule of that name, or runs the real `__init__.py`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any


def install() -> ModuleType:
    """Make `import pyroute2.netlink…` cheap. Does nothing when pyroute2 was already imported. ImportError without it."""
    if "pyroute2" in sys.modules:
        return sys.modules["pyroute2"]
    spec = importlib.util.find_spec("pyroute2")
    if spec is None or spec.loader is None:
        raise ImportError("pyteamd needs the Python package pyroute2", name="pyroute2")
    loader = spec.loader
    package = importlib.util.module_from_spec(spec)  # has __path__, which is what submodule imports look at
    executed = False

    def find(name: str) -> Any:
        """What the package does not have yet: a submodule, else whatever its __init__.py defines (PEP 562)."""
        nonlocal executed
        if executed or name.startswith("__"):
            raise AttributeError(f"module 'pyroute2' has no attribute {name!r}")
        # Submodules first: ifinfmsg says `from pyroute2 import config`, and running __init__.py there would be circular.
        if importlib.util.find_spec(f"pyroute2.{name}") is not None:
            return importlib.import_module(f"pyroute2.{name}")
        executed = True
        loader.exec_module(package)
        return getattr(package, name)

    package.__getattr__ = find  # type: ignore[method-assign]
    sys.modules["pyroute2"] = package
    return package


install()

from pyroute2.netlink import ctrlmsg, genlmsg, nla, nlmsg  # noqa: E402 found in the package made above

__all__ = ["ctrlmsg", "genlmsg", "install", "nla", "nlmsg"]
