"""The story of the Debian packages: in place of libteam-utils, a team by nmcli, upgraded under traffic, purged. Prints what it saw."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path

from guest import Ping, cables, command_line, daemon_pid, is_ours, must, run, say, wait_for

OUT = Path(os.environ["LAB_OUT"])
UNIT = "pyteamd@team0"
APT = "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o APT::Sandbox::User=root"
CONFIG = "runner: {name: activebackup}\nports:\n  em1:\n  em2:\n"


def installed(package: str) -> str:
    """Version of a package, "" for none; what is removed and not purged counts as its state."""
    code, out = run(f"dpkg-query -W -f '${{db:Status-Status}} ${{Version}}' {package}")
    state, _, version = out.partition(" ")
    return version if code == 0 and state == "installed" else state if code == 0 else ""


def install(which: str) -> None:
    """The packages of one version, as an administrator does it; what they depend on is there."""
    must(f"{APT} install {OUT}/{which}/*.deb", timeout_s=400)


def in_place_of_libteam() -> None:
    """The names are ours, and nothing of the other package is in the way."""
    assert installed("libteam-utils").startswith("1."), "there is something to take the place of"
    install("old")
    assert not installed("libteam-utils").startswith("1.")
    assert os.readlink("/usr/bin/teamd") == "pyteamd"
    say(f"pyteamd {installed('pyteamd')} and pyteamd-teamd in place of libteam-utils")
    for name in ("pyteamd", "teamdctl", "teamd.conf"):
        assert "pyteamd" in must(f"man -w {name} && man {name} | head -5"), name
    assert run("bond2team --version")[0] == 0


def by_nmcli() -> None:
    """NetworkManager starts /usr/bin/teamd, which is ours."""
    must(
        'nmcli connection add type team con-name team0 ifname team0 config \'{"runner": {"name": "activebackup"}}\' ip4 192.0.2.2/24'
    )
    for port in ("em1", "em2"):
        must(f"nmcli connection add type team-slave con-name {port} ifname {port} master team0")
        must(f"nmcli connection up {port}")
    wait_for(lambda: run("ping -c 1 -W 1 192.0.2.1")[0] == 0, "the peer answers")
    assert is_ours(daemon_pid())
    assert "/usr/bin/teamd" in command_line(daemon_pid())
    state = must("teamdctl team0 state")
    assert "active port: em" in state, state
    say(f"a team by nmcli: {command_line(daemon_pid())}")
    for name in ("em1", "em2", "team0"):
        run(f"nmcli connection delete {name}")
    wait_for(lambda: not daemon_pid() and "team0" not in must("ip -br link"), "NetworkManager's team is gone")


def by_converted_keyfiles() -> None:
    """A team's configuration goes to NetworkManager as keyfiles, and comes back."""
    config = Path("/tmp/team0.conf")
    tree = {"device": "team0", "runner": {"name": "activebackup"}, "ports": {"em1": {"prio": 5}, "em2": {}}}
    config.write_text(json.dumps(tree))
    files = must(
        f"pyteamd convert --to keyfile --team --output-dir /etc/NetworkManager/system-connections {config}"
    ).split()
    must(f"nmcli connection load {' '.join(files)}")
    must("nmcli connection modify team0 ipv4.method disabled ipv6.method disabled")  # nobody gives addresses here
    must("nmcli connection up em1 && nmcli connection up em2")
    wait_for(lambda: '"prio": 5' in run("teamdctl team0 port config dump em1")[1], "the port's configuration arrived")
    back = json.loads(must(f"pyteamd convert --from keyfile {' '.join(files)} 2>/dev/null"))
    assert (back["device"], back["ports"]["em1"]["prio"]) == ("team0", 5), back
    say("NetworkManager takes the keyfiles of a team that convert writes")
    for name in ("em1", "em2", "team0"):
        must(f"nmcli connection delete {name}")
    wait_for(lambda: not daemon_pid() and "team0" not in must("ip -br link"), "NetworkManager's team is gone")


def upgraded_under_traffic() -> None:
    """The unit is restarted with the new files, and no packet is lost."""
    run("nmcli device set em1 managed no; nmcli device set em2 managed no; ip link set em1 down; ip link set em2 down")
    Path("/etc/pyteamd/team0.yaml").write_text(CONFIG)
    must(f"systemctl enable --now {UNIT}")
    must("nmcli device set team0 managed no; ip addr add 192.0.2.2/24 dev team0; ip link set team0 up")
    wait_for(lambda: run("ping -c 1 -W 1 192.0.2.1")[0] == 0, "the peer answers")
    before, version = daemon_pid(), installed("pyteamd")
    ping = Ping()
    install("new")
    wait_for(lambda: daemon_pid() not in (0, before), "restarted")
    wait_for(lambda: must(f"systemctl show -P ActiveState {UNIT}") == "active", "active")
    sent, received = ping.stop()
    assert installed("pyteamd") != version
    assert sent == received, f"{sent - received} of {sent} lost"
    assert sent > 20
    say(f"from {version} to {installed('pyteamd')} under {sent} pings: none lost")


def purged() -> None:
    """Nothing stays but the device, which the unit keeps, and what the administrator wrote."""
    pid = daemon_pid()
    must(f"{APT} purge pyteamd pyteamd-teamd", timeout_s=400)
    assert not Path(f"/proc/{pid}").exists(), "the daemon goes on"
    places = "/usr /etc /var/lib /lib /run/systemd /run/teamd"
    left = set(run(f"find {places} -xdev -name '*pyteamd*' -o -name 'teamd*'")[1].splitlines())
    others = {line for line in left if "/var/lib/dpkg" in line or "/var/lib/apt" in line or line.startswith("find:")}
    libteam = {
        line for line in left if line.startswith("/etc/dbus-1/system.d/teamd.conf")
    }  # it was removed, not purged
    assert left - others - libteam == {"/etc/pyteamd"}, left
    assert sorted(os.listdir("/etc/pyteamd")) == ["team0.yaml"]
    assert not Path("/run/teamd").exists()
    assert installed("pyteamd") == installed("pyteamd-teamd") == ""
    assert run(f"systemctl cat {UNIT}")[0] != 0
    assert "team0" in must("ip -br link"), "the unit's device stays"
    say("purged: no file, process or unit; team0 stays, and /etc/pyteamd/team0.yaml")


def main() -> int:
    """Tell it."""
    wait_for(lambda: run("nmcli general status")[0] == 0, "NetworkManager is there")
    for chapter in (
        in_place_of_libteam,
        partial(cables, 2),
        by_nmcli,
        by_converted_keyfiles,
        upgraded_under_traffic,
        purged,
    ):
        chapter()
    say("all is well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
