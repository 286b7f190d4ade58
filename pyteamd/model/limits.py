"""Limits that several folders share."""

NAME_MAX = 15
"""Octets of an interface's name (IFNAMSIZ less the terminator)."""

ALTNAME_MAX = 127
"""Octets of an alternative name (ALTIFNAMSIZ less the terminator)."""

SOCKET_PATH_MAX = 107
"""Octets of a unix socket's path (sun_path less the terminator)."""

LONGEST_TRIAL_S = 86400.0
"""How long a configuration may be on trial before it is taken back."""
