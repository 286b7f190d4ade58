"""How the process was started, and the level of its log: what the state shows under `setup`."""

from __future__ import annotations

import re

from pyteamd.model.errors import SET_FAILED, UserError
from pyteamd.values import dataclass

MAXIMUM_LEVEL = 2**31 - 1
DECIMAL = re.compile(r"\s*(?:\+|-(?=0+\Z))?0*([0-9]{1,10})", re.ASCII)
"""What strtol takes as a whole and is not below 0: blanks before it, a sign, digits."""


@dataclass(slots=True)
class Setup:
    """The members of `setup` that are not the runner's."""

    pid: int = 0
    pid_file: str = ""
    daemonized: bool = False
    dbus_enabled: bool = False
    zmq_enabled: bool = False
    debug_level: int = 0

    def set_debug_level(self, text: str) -> None:
        """A user sets the level: a decimal integer from 0 to 2147483647; UserError otherwise."""
        found = DECIMAL.fullmatch(text)
        level = int(found[1]) if found else -1
        if not 0 <= level <= MAXIMUM_LEVEL:
            raise UserError(*SET_FAILED, f"setup.debug_level must be an integer from 0 to {MAXIMUM_LEVEL}")
        self.debug_level = level
