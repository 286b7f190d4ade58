"""Lock memory, then give up what a team does not need of root's power, however the daemon was started: by a unit, NetworkManager, by hand.

Capabilities belong to threads, so this comes before the first one is started. What is left: NET_ADMIN for links and options, NET_RAW
for frames, SYS_NICE to be on time on a busy machine. Nothing that the process may ever execute gets more. Where a unit has bounded the
capabilities already, they are left alone.
"""

from __future__ import annotations

import logging
import os
import resource
import struct
from contextlib import suppress
from typing import Any, Final

NET_ADMIN, NET_RAW, SYS_NICE = 12, 13, 23
KEPT: Final = 1 << NET_ADMIN | 1 << NET_RAW | 1 << SYS_NICE
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
_OTHER_FLAGS: Final = 13
"""Bits by which MCL_CURRENT (1 elsewhere) and the others are further left on some machines (asm/mman.h)."""
_VERSION_3: Final = 0x20080522
_DATA: Final = struct.Struct("=6I")
"""Effective, permitted and inheritable capabilities: 0 to 31, then 32 to 63."""


def drop(log: logging.Logger) -> None:
    """Keep the three capabilities, as far as they are there; one warning when that is refused."""
    try:
        _drop(log)
    except (OSError, ImportError, AttributeError, MemoryError) as error:
        log.warning("Privileges of root that are not needed cannot be given up: %s", error)


def _drop(log: logging.Logger) -> None:
    import ctypes  # takes 3 ms, and only a daemon needs it

    library = ctypes.CDLL(None, use_errno=True)
    if not lock_memory(library, os.uname().machine):
        log.debug("Memory cannot be locked here: pages of ours may have to be read again when memory is short.")

    def call(name: str, *arguments: object) -> None:
        if getattr(library, name)(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")

    call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = struct.pack("=Ii", _VERSION_3, 0)
    data = ctypes.create_string_buffer(_DATA.size)
    call("capget", header, data)
    _, low, _, _, high, _ = _DATA.unpack(data.raw)
    permitted = low | high << 32
    if not permitted & ~KEPT:
        return
    number = 0
    while library.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) == 0 if not KEPT >> number & 1 else number < 64:
        number += 1
    kept = permitted & KEPT
    library.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    call("capset", header, _DATA.pack(kept, kept, 0, 0, 0, 0))


def lock_memory(library: Any, machine: str) -> bool:
    """What was used once stays: under pressure a fail-over waited 0.1 s for 1,600 pages. MemoryMin in a slice without it is void.

    Returns whether it is locked. It is not where a limit stays: nothing beyond that could be allocated.
    """
    shift = _OTHER_FLAGS if machine.startswith(("ppc", "sparc", "alpha")) else 0
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)
    with suppress(OSError):
        if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
            return bool(library.mlockall(0b111 << shift) == 0)  # MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT
    return False
