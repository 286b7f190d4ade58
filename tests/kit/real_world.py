"""The world of the contract suite on the real kernel: veth pairs, `ip`, C teamnl.

For the lab's guests only: it works in the network namespace it finds. What the outsiders do is done with other people's
programs, so that our own netlink code is not its own witness.
"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from contract_world import ContractWorld

from pyteamd.kernel.netlink import NetlinkKernel
from pyteamd.kernel.option_table import OPTIONS, OptionKind
from pyteamd.kernel.requests import Requests
from pyteamd.model.desired import OptionKey, OptionValue, SetOption

EVENT_BUFFER = 1 << 17
TUN = Path("/dev/net/tun")
STORM = 200
"""Changes at once while events are being lost."""


def run(*command: str, text: str = "") -> str:
    """Run a program that must succeed; its output."""
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}"
    return done.stdout


class RealWorld(ContractWorld):
    """Links named like the test wants, their peers ("p" and a number) in a namespace of their own."""

    kernel: NetlinkKernel

    def __init__(self) -> None:
        self.kernel = NetlinkKernel(event_buffer_bytes=EVENT_BUFFER)
        self._outsider = Requests()
        self.others = f"others{os.getpid()}"
        self._numbers = count(1)
        self._peers: dict[int, str] = {}
        self._before = set(links())
        run("ip", "netns", "add", self.others)

    def make_link(self, name: str) -> int:
        peer = f"p{next(self._numbers)}"
        run("ip", "link", "add", name, "type", "veth", "peer", "name", peer, "netns", self.others)
        run("ip", "-n", self.others, "link", "set", peer, "up")
        ifindex = socket.if_nametoindex(name)
        self._peers[ifindex] = peer
        return ifindex

    def set_admin(self, name: str, up: bool) -> None:
        run("ip", "link", "set", name, "up" if up else "down")

    def set_mtu(self, name: str, octets: int) -> None:
        run("ip", "link", "set", name, "mtu", str(octets))

    def set_peer(self, name: str, up: bool) -> None:
        run("ip", "-n", self.others, "link", "set", self.peer(name), "up" if up else "down")

    def say(self, name: str, octets: bytes) -> None:
        program = "import socket, sys; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((sys.argv[1], 0)); "
        program += "s.send(bytes.fromhex(sys.argv[2]))"
        run("ip", "netns", "exec", self.others, sys.executable, "-c", program, self.peer(name), octets.hex())

    def peer(self, name: str) -> str:
        """Name of the other end, in the namespace `others`."""
        return self._peers[socket.if_nametoindex(name)]

    def set_mac(self, name: str, mac: bytes) -> None:
        run("ip", "link", "set", name, "address", mac.hex(":"))

    def rename(self, name: str, new: str) -> None:
        up = int(Path(f"/sys/class/net/{name}/flags").read_text(), 16) & 1
        steps = [f"link set {name} down"] * up + [f"link set {name} name {new}"] + [f"link set {new} up"] * up
        run("ip", "-batch", "-", text="\n".join(steps))

    def delete(self, name: str) -> None:
        run("ip", "link", "delete", name)

    def move_away(self, name: str) -> None:
        run("ip", "link", "set", name, "netns", self.others)

    def set_master(self, name: str, team: str) -> None:
        run("ip", "link", "set", name, *(["master", team] if team else ["nomaster"]))

    def make_other(self, name: str, kind: str) -> int:
        if kind == "tun" and not TUN.exists():
            TUN.parent.mkdir(exist_ok=True)
            os.mknod(TUN, 0o600 | stat.S_IFCHR, os.makedev(10, 200))
        words = ["tuntap", "add", "dev", name, "mode", "tun"] if kind == "tun" else ["link", "add", name, "type", kind]
        if subprocess.run(["ip", *words], capture_output=True).returncode:
            raise LookupError(kind)
        return socket.if_nametoindex(name)

    def make_upper(self, name: str, lower: str, kind: str) -> int:
        words = {"vlan": "vlan id 5", "loose vlan": "vlan id 5 loose_binding on"}.get(kind, kind)
        if subprocess.run(
            ["ip", "link", "add", "link", lower, "name", name, "type", *words.split()], capture_output=True
        ).returncode:
            raise LookupError(kind)
        return socket.if_nametoindex(name)

    def set_altname(self, name: str, other: str) -> None:
        run("ip", "link", "property", "add", "dev", name, "altname", other)

    def set_option(self, key: OptionKey, value: OptionValue) -> None:
        run("teamnl", *_where(key), "--", self.team_name, "setoption", key.name, _text(value))

    def get_option(self, key: OptionKey) -> OptionValue:
        command = ["teamnl", *_where(key), self.team_name, "getoption", key.name]
        done = subprocess.run(command, capture_output=True, encoding="latin-1")
        if done.returncode:
            raise LookupError(done.stderr)
        shown = done.stdout.strip()
        match OPTIONS[key.name].kind:
            case OptionKind.FLAG:
                return {"true": True, "false": False}[shown]
            case OptionKind.U32 | OptionKind.S32:
                return int(shown)
            case OptionKind.BINARY:
                # For an empty value C teamnl 1.31 prints whatever its buffer held.
                return bytes.fromhex(shown.replace("\\", "")) if shown.startswith("\\") else b""
        return shown

    def lose_events(self, team: int) -> None:
        numbers = count(1)
        before = drops()
        while any(lost == before.get(inode, 0) for inode, lost in drops().items()):
            # Links of the team and others are heard through sockets of their own. An alias is announced only of a link that is up.
            names = ("lo", socket.if_indextoname(team))
            lengths = [f"link set {name} txqueuelen {next(numbers)}" for name in names for _ in range(STORM)]
            run("ip", "-batch", "-", text="\n".join(lengths))
            key = OptionKey("notify_peers_interval")
            assert not self._outsider.apply(team, [SetOption(key, next(numbers)) for _ in range(STORM)])

    def close(self) -> None:
        self.kernel.close()
        self._outsider.close()
        for name in sorted(set(links()) - self._before):
            subprocess.run(["ip", "link", "delete", name], capture_output=True)
        run("ip", "netns", "delete", self.others)


def links() -> Iterator[str]:
    """Names of all links."""
    return (name for _, name in socket.if_nameindex())


def drops() -> dict[str, int]:
    """Messages lost so far, of this process's netlink sockets that are in a group, by inode."""
    ours = {os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()}
    lost = {}
    for line in Path("/proc/net/netlink").read_text().splitlines()[1:]:
        _, _, _, groups, _, _, _, _, dropped, inode = line.split()
        if int(groups, 16) and f"socket:[{inode}]" in ours:
            lost[inode] = int(dropped)
    return lost


def _where(key: OptionKey) -> list[str]:
    where = ["-p", socket.if_indextoname(key.port)] if key.port else []
    return [*where, "-a", str(key.index)] if OPTIONS[key.name].array_size else where


def _text(value: OptionValue) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case bytes():
            return "".join(f"\\{octet:02x}" for octet in value)
    return str(value)
