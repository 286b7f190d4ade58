"""What pyteamnl can be told: the same words for its help, the manual and the completions."""

from __future__ import annotations

OPTION_HELP = (
    ("-h --help", "Show this text"),
    ("-p --port_name=PORT", "The option of this port"),
    ("-a --array_index=N", "Element N of an option that is an array"),
)
COMMANDS = (
    ("ports", "", "List the ports"),
    ("options", "", "List the options and their values"),
    ("getoption", "NAME", "Show the value of an option"),
    ("setoption", "NAME VALUE", "Set an option"),
    ("monitor", "[changed|all]", "Show changes as they come; all: the whole lists each time"),
)
