"""What importing trio does for things we never do, left out: it costs memory, and time at the start.

trio imports TLS, its hashes and the tables of international names of hosts; with OpenSSL these are a fifth of a daemon's memory. They
are run when something of them is asked for, if that ever comes. To give its threads names it asks Python where a library is, which
starts `ldconfig`: an ordinary process, for which a start with real-time scheduling would have to wait on a busy machine. The module that is
asked imports compression and temporary files.
"""

from __future__ import annotations

import ctypes
import sys
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any, Final

UNUSED: Final = ("ssl", "hmac", "idna")


def import_trio() -> None:
    """The first import of trio in a daemon."""
    for name in UNUSED:
        put_off(name)
    search = ModuleType("ctypes.util")
    search.find_library = "lib{}.so.0".format  # type: ignore[attr-defined]
    known = sys.modules.get("ctypes.util")
    sys.modules["ctypes.util"] = ctypes.util = search
    try:
        import trio  # noqa: F401 for others
    finally:
        del sys.modules["ctypes.util"], ctypes.util  # another import gets the real one
        if known is not None:
            sys.modules["ctypes.util"] = ctypes.util = known


def put_off(name: str) -> None:
    """Make `import name` cheap (PEP 562). Does nothing where it was imported already, or is not there."""
    spec = None if name in sys.modules else find_spec(name)
    if spec is None or spec.loader is None:
        return
    loader, module = spec.loader, module_from_spec(spec)
    lock, begun = RLock(), [False]

    def find(attribute: str) -> Any:
        """Run the module at last."""
        if attribute.startswith("__"):
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        with lock:  # other threads wait; the module itself may ask while it runs
            if not begun[0]:
                begun[0] = True
                try:
                    loader.exec_module(module)
                except BaseException:
                    begun[0] = False
                    raise
            if attribute in vars(module):
                return vars(module)[attribute]
        raise AttributeError(f"module {name!r} has no attribute {attribute!r}")

    module.__getattr__ = find  # type: ignore[method-assign]
    sys.modules[name] = module
