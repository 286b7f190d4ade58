"""A host on which most links have an owner (a bridge, a bond, two teams, a macvlan), and how to tell that they were left alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lab_kit import PYTEAMD, RUN_DIR, Bench, Daemon, Result, Stream, must, run, run_ours, wait_for

FREE = ("f1", "f2", "f3")
LONG_NAME = "x" * 127
LONGEST_S = 30.0
"""Limit for everything that a test waits for; a busy machine may need much of it."""
HOST_LINKS = """
link add br0 address 02:00:00:00:0b:00 type bridge
link set p0 master br0
link set p0 up
link set br0 up
addr add 192.0.2.1/24 dev br0
link add bond7 type bond mode active-backup miimon 50
link set p1 master bond7
link set p2 master bond7
link set bond7 up
addr add 198.51.100.1/24 dev bond7
link add d0.100 link d0 type vlan id 100
link add mv0 link m0 type macvlan
link set m0 up
link set mv0 up
addr add 203.0.113.1/24 dev mv0
link add team2 type team
link set u1 master team2
link set team2 up
addr add 203.0.113.129/25 dev team2
link property add dev f1 altname enp3s0f0 altname {long}
"""
FOREIGN_TYPE = (
    "mkdir -p /dev/net; [ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200; ip tuntap add dev tun0 mode tun"
    " || ip link add tun0 type ipip local 127.0.0.1 remote 127.0.0.2 || ip link add tun0 type nlmon || ip link add tun0 type vcan"
)
"""A link that is no Ethernet, of the first kind that this kernel has."""
SWITCH_LINKS = """
addr add 192.0.2.2/24 dev q0
link add sw7 type bridge
link set q1 master sw7
link set q2 master sw7
link set sw7 up
addr add 198.51.100.2/24 dev sw7
"""
MORE = ("e1", "g1", "i1", "v1", "w1", "x1")
MORE_LINKS = """
link add link g1 name mv2 type macvlan
link set mv2 master br0
link add link i1 name iv1 type ipvlan
link add vrf5 type vrf table 5
link set v1 master vrf5
link set v1 up
link add bond8 type bond
link set w1 master bond8
link set w1 down
link add vx1 type vxlan id 5 dstport 4789 dev x1
link add link d0 name d0.7 type vlan id 7 loose_binding on
link property add dev x1 altname wan-é-%d
"""
"""Each of MORE has an upper link or an owner, which keeps it from a team; that of x1 does not."""
VETHS = ("p0", "p1", "p2", "d0", "m0", "t1", "u1", *FREE)


@dataclass
class Scene:
    """The host, and what it looked like before."""

    on: Bench
    before: dict[str, Any]

    def picture(self) -> dict[str, Any]:
        """Of each link by name: master, admin state, hardware address, MTU, and its addresses."""
        found = {}
        for link in json.loads(must("ip -j -d addr", namespace=self.on.host)):
            addresses = sorted(a["local"] for a in link.get("addr_info", ()) if a.get("scope") != "link")
            found[link["ifname"]] = (
                link.get("master"),
                "UP" in link["flags"],
                link.get("address"),
                link["mtu"],
                addresses,
            )
        return found

    def changed(self, but: Iterable[str] = ()) -> dict[str, Any]:
        """The links that may not change and did: name → before and now."""
        now = self.picture()
        others = {name: was for name, was in self.before.items() if name not in but}
        return {name: (was, now.get(name)) for name, was in others.items() if now.get(name) != was}

    @contextmanager
    def more(self) -> Iterator[None]:
        """Links of other kinds are there meanwhile, MACsec where the kernel has it."""
        veths = "".join(f"link add {name} type veth peer name q{name} netns {self.on.switch}\n" for name in MORE)
        batch(self.on.host, veths + MORE_LINKS)
        run("ip link add link e1 name ms1 type macsec", namespace=self.on.host)
        without, self.before = self.before, self.picture()
        yield
        gone = "".join(f"link del {name}\n" for name in (*MORE, "vrf5", "bond8", "d0.7"))
        batch(self.on.host, gone)
        self.before = without

    def reset(self) -> None:
        """End the daemons of the test, and put back what it may change of the links it may have."""
        for path in RUN_DIR.glob("*.pid"):
            if path.stem != "team1" and (daemon := Daemon(PYTEAMD, self.on, path.stem)).alive():
                daemon.end()
        lines = "".join(f"link set {name} nomaster\nlink set {name} down mtu 1500\n" for name in (*FREE, "d0.100"))
        run(f"ip link del team0 2>/dev/null; ip -batch - <<'END'\n{lines}link set d0 down\nEND", namespace=self.on.host)
        wait_for(lambda: not self.changed(), LONGEST_S, "all is as it was")

    def explained(self, team: str = "team0") -> dict[str, str]:
        """What explain says of each link."""
        text = self.on.pyteamdctl(f"{team} explain").out
        return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)

    def members(self, team: str = "team0") -> set[str]:
        """The ports the kernel has."""
        return {name for name, facts in self.picture().items() if facts[0] == team}

    def await_members(self, names: Iterable[str], team: str = "team0") -> None:
        """These links are the ports, soon."""
        expected = set(names)
        try:
            wait_for(lambda: self.members(team) == expected, LONGEST_S)
        except AssertionError:
            raise AssertionError(
                f"not {expected} but {self.members(team)}; explained: {self.explained(team)}"
            ) from None

    def await_told(self, words: Mapping[str, str], team: str = "team0") -> dict[str, str]:
        """What explain says of these links begins so, soon. Returns all that it says."""

        def missing(told: Mapping[str, str]) -> dict[str, str]:
            return {name: text for name, text in words.items() if not told.get(name, "").startswith(text)}

        try:
            wait_for(lambda: not missing(self.explained(team)), LONGEST_S)
        except AssertionError:
            told = self.explained(team)
            raise AssertionError(f"explain does not say {missing(told)} but {told}") from None
        return self.explained(team)

    def ours(self, program: str, *arguments: str) -> Result:
        """Run pyteamd, or pyteamd under the name teamd, or pyteamdctl."""
        return run_ours(program, arguments, namespace=self.on.host)

    @contextmanager
    def traffic(self) -> Iterator[None]:
        """Pings over the bridge and over the bond meanwhile; none may be lost."""
        with Stream(self.on, "192.0.2.2", 0.1) as bridge, Stream(self.on, "198.51.100.2", 0.1) as bond:
            yield
        assert (bridge.lost, bond.lost) == (0, 0)


def build(on: Bench) -> Scene:
    """Make the links; what a kernel cannot do is an error."""
    veths = "".join(f"link add {name} type veth peer name q{name[1:]}{name[0]}\n" for name in VETHS)
    ends = "".join(f"link set q{name[1:]}{name[0]} netns {on.switch}\n" for name in VETHS)
    batch(on.host, veths + ends + HOST_LINKS.format(long=LONG_NAME))
    run(FOREIGN_TYPE, namespace=on.host)
    renames = "".join(f"link set q{n}p name q{n}\n" for n in "012")
    names = [f"q{name[1:]}{name[0]}" if name[0] != "p" else f"q{name[1:]}" for name in VETHS]
    batch(on.switch, renames + "".join(f"link set {name} up\n" for name in names) + SWITCH_LINKS)
    made = Scene(on, {})
    made.before = made.picture()
    return made


def batch(namespace: str, lines: str) -> None:
    """Many `ip` commands as one process."""
    must(f"ip -batch - <<'END'\n{lines.strip()}\nEND", namespace=namespace)
