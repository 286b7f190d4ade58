"""The story of NetworkManager, told with nmcli only; pyteamd is installed under teamd's name. Prints what it saw; fails loudly."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from guest import (
    BONDS,
    TOO_NEW,
    Ping,
    cables,
    command_line,
    daemon_pid,
    is_ours,
    is_real_time,
    item,
    must,
    not_applied,
    output_of,
    ports,
    run,
    say,
    wait_for,
)

AB = '{"runner": {"name": "activebackup", "hwaddr_policy": "by_active"}}'
GRACE_S = 6
"""A daemon that ends within its first 5 s fails NetworkManager's activation; later it is started again."""
LONGEST_TAKE_OVER_S = 0.5
"""In user-mode Linux, beside other guests."""
PATIENCE_S = 120
RUNNERS = {
    "broadcast": "",
    "roundrobin": "",
    "random": "",
    "activebackup": "team.runner-hwaddr-policy same_all",
    "loadbalance": "team.runner-tx-hash eth,ipv4,ipv6",
    "lacp": "team.runner-active yes team.runner-fast-rate yes team.runner-sys-prio 65535",
}


def up(name: str) -> None:
    """Activate a connection. NetworkManager gives a teamd 5 s, which is little on a busy machine: it tries again, so do we."""
    tried: list[str] = []

    def is_up() -> bool:
        code, out = run(f"nmcli --wait 30 connection up {name}")
        tried.append(out)
        return code == 0

    wait_for(is_up, f"{name} up", PATIENCE_S)
    if tried[1:]:
        say(f"{name} is up after {len(tried)} attempts: {tried[0].splitlines()[0]}")


def soon(condition: Callable[[], bool]) -> bool:
    """Whether it comes to be without help."""
    with contextlib.suppress(AssertionError):
        wait_for(condition, "soon")
    return condition()


def create() -> None:
    """team0 with two ports, both up."""
    must(
        f"nmcli connection add type team con-name team0 ifname team0 config '{AB}' ip4 192.0.2.2/24 ipv6.method disabled"
    )
    for number in (1, 2):
        must(f"nmcli connection add type team-slave con-name port{number} ifname em{number} master team0")
    up("port1")
    up("port2")
    wait_for(lambda: item("runner.active_port") in ("em1", "em2"), "a port is active")
    wait_for(lambda: "team0:connected" in must("nmcli -t -f DEVICE,STATE device"), "team0 connected")


def only_between_two_ports(ping: Ping, old: str, new: str) -> None:
    """No request is lost but those sent while the team had no port that carries: NetworkManager takes a port away, and then tells.

    They begin with the one whose answer was on its way when the port left, and end where the team has the address of the new one.
    """
    for before, change in ping.changes:
        say(f"after {before} pings: {change}")
    left = next(before for before, change in ping.changes if change.startswith(f"{old} ") and change.endswith(" in 0"))
    address = must(f"cat /sys/class/net/{new}/address")
    taken = next(before for before, change in ping.changes if change.startswith(f"team0 {address} "))
    lost = ping.lost()
    say(
        f"take-over from {old} to {new}: lost {lost or 'none'}; {old} left before ping {left}, address of {new} before {taken}"
    )
    assert all(left - 1 <= number < taken for number in lost), lost
    assert ping.seconds(lost) < LONGEST_TAKE_OVER_S, lost


def basic() -> None:
    """Create, take over, take back, delete."""
    before = (must("ip -br link"), sorted(os.listdir("/run/teamd")) if Path("/run/teamd").exists() else [])
    create()
    pid = daemon_pid()
    assert is_ours(pid), command_line(pid)
    say(f"started by NetworkManager: {command_line(pid)}")
    environment = [word for word in Path(f"/proc/{pid}/environ").read_text().split("\0") if word]
    assert environment == ["TEAM_LOG_OUTPUT=syslog"], environment
    # NetworkManager's unit allows what it likes.
    refused = "No real-time scheduling" in must("journalctl -b --no-pager")
    assert is_real_time(pid) != refused
    state = json.loads(must("teamdctl team0 state dump"))
    assert sorted(state["ports"]) == ["em1", "em2"], state
    assert state["setup"]["runner_name"] == "activebackup"
    assert state["setup"]["dbus_enabled"] is True
    assert all(port["link"]["up"] for port in state["ports"].values()), state
    say(must("teamdctl team0 state"))
    must("ping -c 1 -W 5 192.0.2.1")
    active = item("runner.active_port")
    standby = {"em1": "em2", "em2": "em1"}[active]
    ping = Ping()
    run("sleep 1")
    must(f"nmcli connection down port{active[2:]}")
    wait_for(lambda: item("runner.active_port") == standby, "the other port takes over")
    run("sleep 1")
    ping.stop()
    only_between_two_ports(ping, active, standby)
    up(f"port{active[2:]}")
    wait_for(lambda: item(f"ports.{active}.link.up") == "true", "the first port is back")
    assert item("runner.active_port") == standby
    must("nmcli connection delete port1 port2 team0")
    wait_for(lambda: daemon_pid() == 0, "the daemon has ended")
    wait_for(lambda: "team0" not in must("ip -br link"), "the device is gone")
    after = must("ip -br link")
    assert [line.split()[0] for line in after.splitlines()] == [line.split()[0] for line in before[0].splitlines()]
    assert not any(Path("/run/teamd").iterdir()), os.listdir("/run/teamd")
    say("deleted: no device, no daemon, no file left")


def journal() -> str:
    """What NetworkManager said."""
    return must("journalctl -b --no-pager -u NetworkManager -o cat")


def gave_up() -> int:
    """How often the 5 s that NetworkManager gives a daemon were too few."""
    return journal().count("teamd timed out")


def served_again(old: int, before: int) -> str:
    """NetworkManager starts another daemon: how that came to serve. Where the 5 s it gives are too few, it is told to try again.

    `before`: how often they had been too few when the old daemon was killed.
    """

    def is_back() -> bool:
        return daemon_pid() not in (0, old) and item("runner.active_port") != ""

    try:
        took_s = wait_for(is_back, "respawned")
    except AssertionError:
        assert gave_up() > before, journal()[-3000:]
    else:
        # Of the bus and the process table, NetworkManager may hear either first. The one means another daemon and the same team; the
        # other an activation that failed, and is tried again with all that belongs to it.
        failed = "quit unexpectedly; failing activation" in journal()
        return f"{'activated again' if failed else 'respawned'} within {took_s:.1f} s"
    for name in ("team0", "port1", "port2"):
        up(name)
    took_s = wait_for(is_back, "activated by hand")
    return f"no daemon was ready within NetworkManager's 5 s ({gave_up() - before} tried); activated by hand, {took_s:.1f} s later"


def restarts() -> None:
    """NetworkManager restarts; the daemon is killed."""
    create()
    must("nmcli connection modify port2 team-port.config '{\"prio\": 10}'")
    up("port2")
    wait_for(lambda: '"prio": 10' in run("teamdctl.distrib team0 port config dump em2")[1], "prio is stored")
    wait_for(lambda: "em2" in ports(), "em2 is a port")
    run(f"sleep {GRACE_S}")
    old = daemon_pid()
    line = command_line(old)
    before = gave_up()
    os.kill(old, signal.SIGKILL)
    how = served_again(old, before)
    new = command_line(daemon_pid())
    assert new == line, (line, new)
    wait_for(lambda: ports() == ["em1", "em2"], "ports kept")
    wait_for(lambda: '"prio": 10' in run("teamdctl.distrib team0 port config dump em2")[1], "prio kept")
    wait_for(lambda: run("ping -c 1 -W 5 192.0.2.1")[0] == 0, "the peer answers")
    say(f"SIGKILL: {how}, with the same arguments, ports and prio kept")
    first = daemon_pid()
    ping = Ping()
    must("systemctl restart NetworkManager")
    wait_for(
        lambda: "team0:connected" in run("nmcli -t -f DEVICE,STATE device")[1], "team0 connected again", PATIENCE_S
    )
    wait_for(lambda: ports() == ["em1", "em2"], "both ports", PATIENCE_S)
    run("sleep 1")
    sent, received = ping.stop()
    say(f"NetworkManager restarted: daemon {first} → {daemon_pid()}, {sent} pings, {sent - received} lost")
    assert received > 0
    must("ping -c 1 -W 5 192.0.2.1")
    must("nmcli connection delete port1 port2 team0")
    wait_for(lambda: daemon_pid() == 0 and "team0" not in must("ip -br link"), "all is gone")


def runners() -> None:
    """Each runner by nmcli properties."""
    for name, more in RUNNERS.items():
        must(
            f"nmcli connection add type team con-name team0 ifname team0 team.runner {name} {more} "
            "ip4 192.0.2.2/24 ipv6.method disabled"
        )
        for number in (1, 2):
            must(f"nmcli connection add type team-slave con-name port{number} ifname em{number} master team0")
        if not soon(lambda: ports() == ["em1", "em2"]):  # connections are activated as soon as they can be, four times
            up("port1")
            up("port2")
        wait_for(lambda: ports() == ["em1", "em2"], name)
        assert item("setup.runner_name") == name
        assert is_ours(daemon_pid())
        say(f"runner {name}: {json.loads(must('teamdctl.distrib team0 config dump'))['runner']}")
        must("nmcli connection delete port1 port2 team0")
        wait_for(lambda: daemon_pid() == 0 and "team0" not in must("ip -br link"), "all is gone")


def bonds() -> None:
    """Teams written down as bonds: NetworkManager loads the keyfiles and makes such bonds."""
    place, config = "/etc/NetworkManager/system-connections", Path("/tmp/team0.conf")
    for tree in BONDS:
        config.write_text(json.dumps(tree))
        options = output_of(f"pyteamd convert --to bonding {config}")
        must(f"pyteamd convert --to keyfile {config} --output-dir {place}")
        said = must(
            f"nmcli connection load {place}/bond0.nmconnection {place}/em1.nmconnection {place}/em2.nmconnection"
        )
        assert said == "", said
        for name in ("em1", "em2"):
            up(name)
        wait_for(lambda: "em1 em2" in Path("/sys/class/net/bond0/bonding/slaves").read_text(), "both in the bond")
        wrong = not_applied("bond0", options)
        say(f"nmcli: keyfiles loaded, bond up with {options}; not as written: {wrong or 'nothing'}")
        assert wrong.keys() <= TOO_NEW
        must("nmcli connection delete em1 em2 bond0")
        wait_for(lambda: "bond0" not in must("ip -br link"), "the bond is gone")


def teams() -> None:
    """A team's configuration goes to NetworkManager as keyfiles, and comes back."""
    place, config = "/etc/NetworkManager/system-connections", Path("/tmp/team0.conf")
    tree = {"device": "team0", "runner": {"name": "activebackup"}, "ports": {"em1": {"prio": 5}, "em2": {}}}
    config.write_text(json.dumps(tree))
    files = must(f"pyteamd convert --to keyfile --team --output-dir {place} {config}").split()
    with Path(f"{place}/team0.nmconnection").open("a") as file:  # nobody gives addresses here
        file.write("\n[ipv4]\nmethod=disabled\n\n[ipv6]\nmethod=disabled\n")
    must(f"nmcli connection load {' '.join(files)}")
    for name in ("em1", "em2"):
        up(name)
    wait_for(
        lambda: '"prio": 5' in run("teamdctl.distrib team0 port config dump em1")[1], "the port's configuration arrived"
    )
    back = json.loads(output_of(f"pyteamd convert --from keyfile {' '.join(files)}"))
    assert (back["device"], back["ports"]["em1"]["prio"]) == ("team0", 5), back
    say("NetworkManager takes the keyfiles of a team that convert writes")
    must("nmcli connection delete em1 em2 team0")
    wait_for(lambda: daemon_pid() == 0 and "team0" not in must("ip -br link"), "all is gone")


def main() -> int:
    """Everything, or the parts named."""
    cables()
    parts = {"basic": basic, "restarts": restarts, "runners": runners, "bonds": bonds, "teams": teams}
    for name in sys.argv[1:] or parts:
        say(f"== {name}")
        try:
            parts[name]()
        except BaseException:
            say(run("journalctl -b --no-pager -n 80; nmcli device; ip -br link; teamdctl team0 state dump")[1])
            raise
    say("all is well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
