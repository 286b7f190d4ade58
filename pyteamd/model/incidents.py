"""The incidents that matter to an operator, each with the MESSAGE_ID that the journal finds it by (`journalctl MESSAGE_ID=…`).

The numbers are a promise; docs/log.md lists them.
"""

from __future__ import annotations

from enum import Enum


class Incident(Enum):
    """What happened. The value is the MESSAGE_ID: 128 bits, made once at random."""

    STARTED = "7b3ab85d4da54c279d9c0efa96a2d0b4"
    """The daemon is ready."""
    STOPPING = "35fbf1e84a4344b3b3f96c8ccdae97f4"
    """The daemon was told to end."""
    LINK_LOST = "69c99a1a57064aea87444cf1d152b021"
    """A link watcher says down."""
    LINK_BACK = "780b90e437724bc587e2fce7c3e6ac94"
    """A link watcher says up again."""
    ACTIVE_PORT = "4cc1f4dcaef94c02993fd44bc2a30307"
    """Another port is the active one."""
    CARRIER_LOST = "59df8924912d420b8ae9b36b6e3d63d9"
    """The team has no carrier any more: nothing goes through it."""
    CARRIER_BACK = "a4e1c3c1de7a4ad7bf0bef3bfa740dda"
    """It has carrier again."""
    PORT_LOST = "3b50b89e16404e9387f08909798e7b29"
    """Another program took a port out, or it went away."""
    PORT_REFUSED = "8524dc5a828547dc80a08ea3089ff44b"
    """A link cannot be a port."""
    KERNEL_REFUSED = "015b268f9b8d4cd9ae8851dca5cf3464"
    """The kernel refuses what the team needs."""
    PARTNER_LOST = "f09ed35d14444f4d90435d6b09986d15"
    """The LACP partner is silent."""
    PARTNER_FOUND = "9aeef71ab2be43eea4e5757ed095ce41"
    """The LACP partner is heard."""
    IN_SERVICE = "8c34865d9fe8439a909145237cfd2ca6"
    """An LACP port carries traffic from now on."""
    OUT_OF_SERVICE = "1e28a053a5494661b53f9c7950a0eb7b"
    """An LACP port carries no traffic any more."""
    CONFIG_APPLIED = "29d4d19d67464efd8fc93c2b67ad7ae2"
    """Another configuration is in force."""
    CONFIG_REFUSED = "30eb2002cc994db0af7f316d22e3eec0"
    """A configuration was refused, nothing has changed."""
    CONFIG_TAKEN_BACK = "c18fe3a2d6c04f59bdcbc694e2342dcb"
    """A configuration was not confirmed in time."""
    SILENCE = "e735b8348353417baf8e85a1decc769a"
    """A port that carries traffic receives nothing while others do."""
    ERRORS = "e4f316cd1aa849b4ae8ef7719e040c84"
    """The driver of a port counts errors; told at most once an hour for each port."""
