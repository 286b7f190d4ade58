"""A team device as pyteamnl shows it: what the kernel dumped, the option the command line means, and lines and values in teamnl's form."""

from __future__ import annotations

import errno
import re

from pyteamd.model.printable import spelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyteamd.kernel.requests import Requests
    from pyteamd.model.desired import OptionKey, OptionValue
    from pyteamd.model.events import LinkSeen, OptionSeen, PortSeen

LINE_OCTETS = 119
"""Longest line of a list; TRUNCATED stands for what is cut off."""
TRUNCATED = " <trunc>"
NO_INDEX = -1

_NUMBER = re.compile(r"\s*([+-]?)0*(\d+)\Z", re.ASCII)
_DIGITS_MAX = 20
"""A number with more of them is beyond everything that an option or an array has."""
_OCTETS = re.compile(r"(?:\\[0-9a-fA-F]{2})*\Z")
INIT_FAILED = "Team init failed."


class Failed(Exception):
    """A command cannot be carried out: the reason as errno, and a sentence before it where there is one."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(text)
        self.errno = code


class Device:
    """One team device and what the command line says about its options. Failed when there is none."""

    def __init__(self, name: str, port: str, index_text: str | None) -> None:
        """`port` is "" and `index_text` None when not given."""
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
        self._selectors(port, index_text)

    def load(self) -> None:
        """Read everything. Failed."""
        from pyteamd.model.errors import KernelGone, KernelRefused

        try:
            seen = self.kernel.dump(self.ifindex)
        except KernelRefused as refusal:
            raise Failed(refusal.errno, INIT_FAILED) from None
        except KernelGone:
            raise Failed(errno.EINVAL, INIT_FAILED) from None
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
            raise Failed(refusal.errno, INIT_FAILED) from None
        except KernelGone:
            raise Failed(errno.ENOENT, INIT_FAILED) from None
        return link.ifindex

    def _selectors(self, port: str, index_text: str | None) -> None:
        if port:
            self.port = next((ifindex for ifindex, name in self.names.items() if name == spelled(port)), 0)
            if not self.port:
                raise Failed(errno.ENODEV, f'Netdevice "{port}" not found.')
            if all(listed.ifindex != self.port for listed in self.ports):
                raise Failed(errno.ENODEV, f'Netdevice "{port}" is not port of this team.')
        if index_text is not None:
            self.index = index_of(index_text)


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
    from pyteamd.kernel.option_table import OptionKind

    match kind:
        case OptionKind.STRING:
            return text
        case OptionKind.FLAG if text in ("true", "false"):
            return text == "true"
        case OptionKind.BINARY if _OCTETS.match(text):
            return bytes.fromhex(text.replace("\\", ""))
        case OptionKind.U32 | OptionKind.S32 if found := _NUMBER.match(text or "0"):
            number = int(found[1] + found[2][:_DIGITS_MAX])
            lowest, highest = (0, 2**32 - 1) if kind == OptionKind.U32 else (-(2**31), 2**31 - 1)
            if lowest <= number <= highest:
                return number
            raise Failed(errno.ERANGE)
    raise Failed(errno.EINVAL)
