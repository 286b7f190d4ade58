"""The story of the Debian packages: in place of libteam-utils, on Debian's own libraries, upgraded under traffic, purged.

Between its first part and the others, the stories of NetworkManager and of the units run on what it installed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

from guest import Ping, cables, daemon_pid, must, run, say, wait_for

OUT = Path(os.environ["LAB_OUT"])
UNIT = "pyteamd@team0"
FILE = Path("/etc/pyteamd/team0.yaml")
APT = "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o APT::Sandbox::User=root"
CONFIG = "runner: {name: activebackup}\nports:\n  em1:\n  em2:\n"
NAME = "router.example"
BY_NAME = f"{CONFIG}link_watch: {{name: arp_ping, target_host: {NAME}, source_host: 192.0.2.2, interval: 200}}\n"
LATE_IMPORTS_S = 3
"""After that a daemon has imported what it may need later: see pyteamd/daemon/late_imports.py."""


def version_of(package: str) -> str:
    """Version of a package that is installed; the state of one that is removed and not purged; "" for none."""
    code, out = run(f"dpkg-query -W -f '${{db:Status-Status}} ${{Version}}' {package}")
    state, _, version = out.partition(" ")
    return version if code == 0 and state == "installed" else state if code == 0 else ""


def install(which: str) -> None:
    """The packages of one version, as an administrator does it; what they depend on is there."""
    must(f"{APT} install {OUT}/{which}/*.deb", timeout_s=400)


def installed() -> None:
    """The names are ours, and nothing of the other package is in the way; its client stays for the other stories."""
    assert version_of("libteam-utils").startswith("1."), "there is something to take the place of"
    shutil.copy("/usr/bin/teamdctl", "/usr/local/bin/teamdctl.distrib")
    install("old")
    assert not version_of("libteam-utils").startswith("1.")
    assert os.readlink("/usr/bin/teamd") == "pyteamd"
    say(f"pyteamd {version_of('pyteamd')} and pyteamd-teamd in place of libteam-utils")
    for name in ("pyteamd", "teamdctl", "teamd.conf"):
        assert "pyteamd" in must(f"man -w {name} && man {name} | head -5"), name
    assert run("bond2team --version")[0] == 0
    for name in ("teamd", "teamdctl", "teamnl"):
        must(f"bash -c '. /usr/share/bash-completion/completions/{name} && complete -p {name}'")


def names() -> None:
    """On Debian's libraries, longer than a start takes: names are looked up, and nothing that is imported late is missing."""
    must(f"echo 192.0.2.1 {NAME} >>/etc/hosts")
    FILE.write_text(BY_NAME)
    must(f"systemctl start {UNIT} && ip addr add 192.0.2.2/24 dev team0 && ip link set team0 up")
    wait_for(lambda: link_up("em1") and link_up("em2"), f"{NAME} was looked up, and answers")
    time.sleep(LATE_IMPORTS_S)
    FILE.write_text(CONFIG)
    must(f"systemctl reload {UNIT}")
    assert json.loads(must("pyteamdctl team0 config dump")).get("link_watch", {}).get("name") != "arp_ping"
    for question in ("explain", "history", "metrics", "neighbours", "trace save /tmp/trace.jsonl"):
        must(f"pyteamdctl team0 {question}")
    told = must(f"journalctl -b -u {UNIT} -o cat")
    assert not [word for word in ("Traceback", "Internal", "unexpected") if word in told], told
    must(f"systemctl stop {UNIT} && ip link del team0")
    say("on Debian's own libraries: a name looked up, a file applied, every verb answered, no fault in the journal")


def link_up(port: str) -> bool:
    return run(f"teamdctl team0 state item get ports.{port}.link.up")[1] == "true"


def upgraded() -> None:
    """The unit is restarted with the new files, and no packet is lost."""
    FILE.write_text(CONFIG)
    must(f"systemctl enable --now {UNIT}")
    must("ip addr add 192.0.2.2/24 dev team0; ip link set team0 up")
    wait_for(lambda: run("ping -c 1 -W 1 192.0.2.1")[0] == 0, "the peer answers")
    before, version = daemon_pid(), version_of("pyteamd")
    ping = Ping()
    install("new")
    wait_for(lambda: daemon_pid() not in (0, before), "restarted")
    wait_for(lambda: must(f"systemctl show -P ActiveState {UNIT}") == "active", "active")
    sent, received = ping.stop()
    assert version_of("pyteamd") != version
    assert sent == received, f"{sent - received} of {sent} lost"
    assert sent > 20
    say(f"from {version} to {version_of('pyteamd')} under {sent} pings: none lost")


def purged() -> None:
    """Nothing stays but the device, which the unit keeps, and what the administrator wrote."""
    pid = daemon_pid()
    assert pid
    for left_over in ("lacp.json", "unconfirmed.json", "fault1.jsonl"):
        Path(f"/run/teamd/team1.{left_over}").write_text("{}")
    must(f"{APT} purge pyteamd pyteamd-teamd", timeout_s=400)
    assert not Path(f"/proc/{pid}").exists(), "the daemon goes on"
    places = "/usr /etc /var/lib /lib /run/systemd /run/teamd"
    left = set(run(f"find {places} -xdev -name '*pyteamd*' -o -name 'teamd*'")[1].splitlines())
    others = {line for line in left if "/var/lib/dpkg" in line or "/var/lib/apt" in line or line.startswith("find:")}
    # The first: libteam-utils is removed, not purged. The second: `installed` put it there.
    libteam = {"/etc/dbus-1/system.d/teamd.conf", "/usr/local/bin/teamdctl.distrib"}
    assert left - others - libteam == {"/etc/pyteamd"}, left
    assert os.listdir("/etc/pyteamd") == [FILE.name]
    assert not Path("/run/teamd").exists()
    assert version_of("pyteamd") == version_of("pyteamd-teamd") == ""
    assert run(f"systemctl cat {UNIT}")[0] != 0
    assert "team0" in must("ip -br link"), "the unit's device stays"
    say(f"purged: no file, process or unit; team0 stays, and {FILE}")


def main() -> int:
    """The parts named, in their order."""
    parts = {"installed": installed, "names": names, "upgraded": upgraded, "purged": purged}
    chosen = sys.argv[1:] or list(parts)
    if chosen != ["installed"]:
        run("systemctl stop NetworkManager")
        cables(managed=False)
    for name in chosen:
        say(f"== {name}")
        try:
            parts[name]()
        except BaseException:
            say(run(f"journalctl -b --no-pager -u {UNIT} -n 60; ip -br link; systemctl status --no-pager {UNIT}")[1])
            raise
    say("all is well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
