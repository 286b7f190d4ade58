"""pyteamnl: look at the team driver's ports and options, set options, watch them change; takes teamnl's place.

    pyteamnl [options] TEAM COMMAND…       for instance: pyteamnl team0 getoption activeport

How it works: one dump of the team (kernel.requests) answers everything but `monitor`, which then listens to the
family's events. Output and messages have teamnl's form, because scripts (the kernel's own tests among them) read them. Lists begin with
the newest entry, as libteam keeps them. Lines longer than LINE_OCTETS are cut.
"""

from __future__ import annotations

import errno
import os
import re
import sys

from pyteamd.cli.getopt_long import UNKNOWN, OptionReader
from pyteamd.model.printable import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from pyteamd.kernel.requests import Requests
    from pyteamd.model.desired import OptionKey, OptionValue
    from pyteamd.model.events import LinkSeen, OptionSeen, PortSeen

OK, FAILURE = 0, 1
LINE_OCTETS = 119
"""Longest line of a list; TRUNCATED stands for what is cut off."""
TRUNCATED = " <trunc>"
NO_INDEX = -1

OPTIONS = {"help": ("h", False), "port_name": ("p", True), "array_index": ("a", True)}
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
EXAMPLES = ("ports", "getoption activeport", "setoption -p eth1 priority 10", "monitor changed")
_NUMBER = re.compile(r"\s*([+-]?)0*(\d+)\Z", re.ASCII)
_DIGITS_MAX = 20
"""A number with more of them is beyond everything that an option or an array has."""
_OCTETS = re.compile(r"(?:\\[0-9a-fA-F]{2})*\Z")


class UsageError(Exception):
    """The command line asks for nothing that exists; the help follows the text."""


class Failed(Exception):
    """A command cannot be carried out: the reason as errno, and a sentence before it where there is one."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(text)
        self.errno = code


class Arguments:
    """The command line as understood. `port` is "" and `index` NO_INDEX when not given."""

    def __init__(self) -> None:
        self.help = False
        self.port = ""
        self.index_text: str | None = None
        self.operands: list[str] = []


def main() -> int:
    """The program: reads sys.argv, returns the exit code."""
    import signal

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    program = os.path.basename(sys.argv[0])
    return run("pyteamnl" if program.endswith(".py") else program, sys.argv[1:], sys.stdout, sys.stderr)


def run(program: str, argv: Sequence[str], out: TextIO, err: TextIO) -> int:
    """Do what the command line says, as the program of that name; returns the exit code."""
    try:
        arguments = read(program, argv, err)
        if arguments.help:
            out.write(help_text(program))
            return OK
        if not arguments.operands:
            raise UsageError("No team device specified.\n")
        if len(arguments.operands) == 1:
            raise UsageError("No command specified.\n")
        team, word, *rest = arguments.operands
        command = next((act for name, act in ACTIONS.items() if name.startswith(word)), None)
        if command is None:
            raise UsageError(f'Unknown command "{word}".\n')
    except UsageError as error:
        err.write(f"{error}\n{help_text(program)}")
        return FAILURE
    try:
        command(Device(team, arguments), rest, out)
    except Failed as failure:
        if str(failure):
            err.write(f"{failure}\n")
        err.write(f"Command failed: {os.strerror(failure.errno)}\n")
        return FAILURE
    out.flush()
    return OK


def read(program: str, argv: Sequence[str], err: TextIO) -> Arguments:
    """Read the words behind argv[0]. UsageError."""
    arguments = Arguments()
    reader = OptionReader(program, OPTIONS, argv, err.write)
    for letter, value in reader:
        match letter:
            case "h":
                arguments.help = True
                return arguments
            case "p":
                arguments.port = value
            case "a":
                arguments.index_text = value
            case _ if letter == UNKNOWN:
                raise UsageError("unknown option.")
    arguments.operands = reader.operands
    return arguments


def help_text(program: str) -> str:
    """What `-h` prints."""
    lines = [f"{program} [options] teamdevname command [arguments]"]
    lines += [f"    {option:<25}{text}" for option, text in OPTION_HELP]
    lines.append("Commands:")
    lines += [f"    {(name + ' ' + words).strip():<25}{text}" for name, words, text in COMMANDS]
    if program != "teamnl":
        lines += ["Examples:", *[f"    {program} team0 {example}" for example in EXAMPLES]]
    return "\n".join(lines) + "\n"


class Device:
    """One team device and what the command line says about its options. Failed when there is none."""

    def __init__(self, name: str, arguments: Arguments) -> None:
        import pyteamd.kernel.pyroute2_codec  # noqa: F401 before anything that imports pyroute2
        from pyteamd.kernel.requests import Requests

        self.kernel: Requests = Requests()
        self.ifindex = self._device(name)
        self.names: dict[int, str] = {}
        self.links: dict[int, LinkSeen] = {}
        self.ports: list[PortSeen] = []
        self.options: list[OptionSeen] = []
        self.port = 0
        self.index = NO_INDEX
        self.load()
        self._selectors(arguments)

    def load(self) -> None:
        """Read everything. Failed."""
        from pyteamd.model.errors import KernelGone, KernelRefused

        try:
            seen = self.kernel.dump(self.ifindex)
        except KernelRefused as refusal:
            raise Failed(refusal.errno, "Team init failed.") from None
        except KernelGone:
            raise Failed(errno.EINVAL, "Team init failed.") from None
        self.links = {link.ifindex: link for link in seen.links}
        self.names = {link.ifindex: link.name for link in seen.links}
        self.ports = list(reversed(seen.ports))
        self.options = list(reversed(seen.options))

    def find(self, name: str) -> OptionSeen:
        """The option that the command line means. Failed."""
        for option in self.options:
            key = option.key
            index = key.index if is_array(key) else NO_INDEX
            if (key.name, key.port, index) == (name, self.port, self.index):
                return option
        raise Failed(errno.ENOENT)

    def _device(self, name: str) -> int:
        from pyteamd.model.errors import KernelGone, KernelRefused

        try:
            link = self.kernel.find_link(name)
            if link is None:
                raise Failed(errno.ENODEV, f'Netdevice "{name}" not found.')
            self.kernel.family()
        except UnicodeEncodeError:
            raise Failed(errno.ENODEV, f"Netdevice {name!r} not found.") from None
        except KernelRefused as refusal:
            raise Failed(refusal.errno, "Team init failed.") from None
        except KernelGone:
            raise Failed(errno.ENOENT, "Team init failed.") from None
        return link.ifindex

    def _selectors(self, arguments: Arguments) -> None:
        if arguments.port:
            self.port = next((ifindex for ifindex, name in self.names.items() if name == arguments.port), 0)
            if not self.port:
                raise Failed(errno.ENODEV, f'Netdevice "{arguments.port}" not found.')
            if all(port.ifindex != self.port for port in self.ports):
                raise Failed(errno.ENODEV, f'Netdevice "{arguments.port}" is not port of this team.')
        if arguments.index_text is not None:
            self.index = index_of(arguments.index_text)


# -- commands ----------------------------------------------------------------------------------------------------------


def ports(team: Device, words: Sequence[str], out: TextIO) -> None:
    """List the ports."""
    for port in team.ports:
        out.write(shown(port_line(team, port), out) + "\n")


def options(team: Device, words: Sequence[str], out: TextIO) -> None:
    """List the options."""
    for option in team.options:
        out.write(shown(option_line(team, option), out) + "\n")


def getoption(team: Device, words: Sequence[str], out: TextIO) -> None:
    """Show one value."""
    if not words:
        raise Failed(errno.EINVAL, "getoption: Option name as a command line parameter expected.")
    out.write(shown(value_text(team.find(words[0]).value), out) + "\n")


def setoption(team: Device, words: Sequence[str], out: TextIO) -> None:
    """Set one value."""
    from pyteamd.kernel.option_table import OPTIONS as KNOWN
    from pyteamd.model.desired import SetOption
    from pyteamd.model.errors import KernelGone

    for position, what in enumerate(("name", "value")):
        if len(words) <= position:
            raise Failed(errno.EINVAL, f"setoption: Option {what} as a command line parameter expected.")
    key = team.find(words[0]).key
    known = KNOWN.get(key.name)
    value = value_of(known.kind if known else team.kernel.option_kind(key.name), words[1])
    try:
        refused = team.kernel.apply(team.ifindex, [SetOption(key, value)])
    except KernelGone:
        raise Failed(errno.ENODEV) from None
    if refused:
        raise Failed(refused[0].errno)


def monitor(team: Device, words: Sequence[str], out: TextIO) -> None:
    """Show what changes until somebody ends us."""
    word = words[0] if words else "changed"
    style = next((style for style in ("changed", "all") if style.startswith(word)), None)
    if style is None:
        raise Failed(errno.EINVAL, f'Unknown monitor style "{word}"')
    from pyteamd.cli.pyteamnl import monitor as nl_monitor

    nl_monitor.monitor(team, style == "all", out)


ACTIONS: dict[str, Callable[[Device, Sequence[str], TextIO], None]] = {
    "ports": ports,
    "options": options,
    "getoption": getoption,
    "setoption": setoption,
    "monitor": monitor,
}


# -- lines and values --------------------------------------------------------------------------------------------------


def is_array(key: OptionKey) -> bool:
    """Whether the option has elements, so that one of them is meant."""
    from pyteamd.kernel.option_table import OPTIONS as KNOWN

    known = KNOWN.get(key.name)
    return bool(known.array_size if known else key.index)


def port_line(team: Device, port: PortSeen, flag: str = " ") -> str:
    """One line of `ports`."""
    link, duplex = "up" if port.linkup else "down", "FD" if port.duplex else "HD"
    name = team.names.get(port.ifindex, str(port.ifindex))
    return cut(f"{flag}{port.ifindex}: {name}: {link} {port.speed_mbps}Mbit {duplex} ")


def option_line(team: Device, option: OptionSeen, flag: str = " ") -> str:
    """One line of `options`."""
    key = option.key
    line = f"{flag}{key.name} "
    if key.port:
        line += f"(port:{team.names.get(key.port, str(key.port))}) "
    if is_array(key):
        line += f"(arridx:{key.index}) "
    return cut(f"{line}{value_text(option.value)} {'changed' if flag == '*' else ''}")


def cut(line: str) -> str:
    """As much of a line as is shown."""
    return line if len(line) <= LINE_OCTETS else line[:LINE_OCTETS] + TRUNCATED


def value_text(value: OptionValue) -> str:
    """A value as it is shown."""
    match value:
        case bool():
            return "true" if value else "false"
        case bytes():
            return "".join(f"\\{octet:02x}" for octet in value)
    return str(value)


def index_of(text: str) -> int:
    """The number of an element. Failed."""
    if not text.isascii() or not text.isdigit():
        raise Failed(errno.EINVAL, "Failed to parse array index.")
    return int(text.lstrip("0")[:_DIGITS_MAX] or "0")


def value_of(kind: int, text: str) -> OptionValue:
    """What the text means for an option of this type. Failed."""
    from pyteamd.kernel.option_table import Kind

    match kind:
        case Kind.STRING:
            return text
        case Kind.FLAG if text in ("true", "false"):
            return text == "true"
        case Kind.BINARY if _OCTETS.match(text):
            return bytes.fromhex(text.replace("\\", ""))
        case Kind.U32 | Kind.S32 if found := _NUMBER.match(text or "0"):
            number = int(found[1] + found[2][:_DIGITS_MAX])
            lowest, highest = (0, 2**32 - 1) if kind == Kind.U32 else (-(2**31), 2**31 - 1)
            if lowest <= number <= highest:
                return number
            raise Failed(errno.ERANGE)
    raise Failed(errno.EINVAL)


if __name__ == "__main__":
    sys.exit(main())
