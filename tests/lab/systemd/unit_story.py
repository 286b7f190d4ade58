"""The story of the units: teamd@ and pyteamd@ started, restarted, crashed and stopped by systemctl. Prints what it saw."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from functools import partial
from pathlib import Path

from guest import (
    BONDS,
    TOO_NEW,
    Ping,
    cables,
    command_line,
    daemon_pid,
    is_locked,
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

CONFIG = {"runner": {"name": "activebackup"}, "ports": {"em1": {}, "em2": {}}}
MAXIMUM_EXPOSURE = 5.0
WATCHDOG_S = 6


def show(unit: str, what: str) -> str:
    """A property of a unit."""
    return must(f"systemctl show -P {what} {unit}")


def timed_start(unit: str) -> float:
    """Start a unit; returns the seconds until systemctl came back, which for both types is readiness."""
    began = time.monotonic()
    must(f"systemctl start {unit}")
    return time.monotonic() - began


def carry() -> None:
    """Address on team0, and the peer answers."""
    run("ip addr add 192.0.2.2/24 dev team0; ip link set team0 up")
    wait_for(lambda: run("ping -c 1 -W 1 192.0.2.1")[0] == 0, "the peer answers")


def compat() -> None:
    """teamd@: D-Bus name is readiness; stop removes the device."""
    unit = "teamd@team0"
    Path("/run/teamd").mkdir(exist_ok=True)
    Path("/run/teamd/team0.conf").write_text(json.dumps(CONFIG))
    took_s = timed_start(unit)
    owner = must(
        "busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus "
        "GetConnectionUnixProcessID s org.libteam.teamd.team0"
    )
    assert owner == f"u {daemon_pid()}", (owner, daemon_pid())
    assert is_ours(daemon_pid())
    assert is_real_time(daemon_pid())
    assert is_locked(daemon_pid())
    say(f"teamd@team0: name owned {took_s:.2f} s after systemctl start (user-mode Linux)")
    carry()
    run("systemctl restart " + unit)
    assert show(unit, "ActiveState") == "active"
    pid = daemon_pid()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: daemon_pid() not in (0, pid) and show(unit, "ActiveState") == "active", "restarted after SIGKILL")
    wait_for(lambda: ports() == ["em1", "em2"], "ports kept")
    for question in ("state", "state dump", "config dump", "config dump actual", "state item get setup.dbus_enabled"):
        theirs, ours = (must(f"{program} -D team0 {question}") for program in ("teamdctl.distrib", "teamdctl"))
        assert theirs == ours, question
    for transport in ("-U", "-D"):
        for command in ("state", "port remove em1", "state item set setup.debug_level 1"):
            code, out = run(f"setpriv --reuid=65534 --regid=65534 --clear-groups teamdctl {transport} team0 {command}")
            assert (code, "em1" in out) == (1, False), f"nobody, {transport} {command}: {out}"
    say("a user who is not root gets nowhere, on neither transport")
    must(f"systemctl stop {unit}")
    assert "team0" not in must("ip -br link"), "stop removes the device"
    assert show(unit, "Result") == "success"
    Path("/run/teamd/team0.conf").write_text("{")
    assert run(f"systemctl start {unit}")[0] != 0
    time.sleep(1)
    assert (show(unit, "NRestarts"), show(unit, "ExecMainStatus")) == ("0", "78"), (
        "a wrong configuration does not restart"
    )
    must(f"systemctl reset-failed {unit}")
    Path("/run/teamd/team0.conf").unlink()
    say("teamd@team0: restart, SIGKILL, stop, bad configuration: as expected")


def reload_with_prio(unit: str) -> None:
    """systemctl reload reads the configuration file again."""
    file = Path("/etc/pyteamd/team0.yaml")
    file.write_text(file.read_text().replace("  em1:\n", "  em1:\n    prio: 7\n"))
    must(f"systemctl reload {unit}")
    wait_for(lambda: '"prio": 7' in must("teamdctl team0 port config dump em1"), "the new configuration")
    good = file.read_text()
    file.write_text(good.replace("prio: 7", "prio: high"))
    assert run(f"systemctl reload {unit}")[0] != 0, "a reload that is refused fails"
    told = must(f"journalctl -b -u {unit} -o cat")
    assert f"{file}:" in told, told
    assert "error: ports.em1.prio: must be an integer" in told, told
    assert '"prio": 7' in must("teamdctl team0 port config dump em1")
    file.write_text(good)
    must(f"systemctl reload {unit}")
    say("pyteamd@team0: systemctl reload, and one that is refused")


def native() -> None:
    """pyteamd@: notify is readiness; a restart loses nothing; the device stays."""
    unit = "pyteamd@team0"
    assert "\nWatchdogSec=30s\n" in must(f"systemctl cat {unit}")
    drop_in = Path(f"/run/systemd/system/{unit}.service.d/watchdog.conf")
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(f"[Service]\nWatchdogSec={WATCHDOG_S}s\n")  # the same thing in less time
    assert run(f"systemctl start {unit}")[0] != 0, "no configuration"
    assert show(unit, "ExecMainStatus") == "78"
    must(f"systemctl reset-failed {unit}")
    Path("/etc/pyteamd/team0.yaml").write_text("runner:\n  name: activebackup\nports:\n  em1:\n  em2:\n")
    took_s = timed_start(unit)
    say(f"pyteamd@team0: ready {took_s:.2f} s after systemctl start (user-mode Linux)")
    assert show(unit, "MainPID") == str(daemon_pid())
    assert is_real_time(daemon_pid())
    assert is_locked(daemon_pid())
    carry()
    ping = Ping()
    time.sleep(1)
    must(f"systemctl restart {unit}")
    time.sleep(1)
    sent, received = ping.stop()
    say(f"pyteamd@team0: restart under {sent} pings, {sent - received} lost")
    assert sent == received
    pid = daemon_pid()
    reload_with_prio(unit)
    assert daemon_pid() == pid
    active = item("runner.active_port")
    crashes(unit, active)
    standby = {"em1": "em2", "em2": "em1"}[active]
    must(f"ip netns exec peer ip link set p{active[2:]} down")
    wait_for(lambda: item("runner.active_port") == standby, "fail-over under the unit's restrictions")
    must(f"ip netns exec peer ip link set p{active[2:]} up")
    assert "pyteamd_team0" in must(f"journalctl -b --no-pager -u {unit} -o short")
    began = time.monotonic()
    must(f"systemctl stop {unit}")
    assert time.monotonic() - began < 5
    assert "team0" in must("ip -br link")
    assert show(unit, "Result") == "success"
    must("ip link del team0")
    every_runner(unit)
    drop_in.unlink()
    drop_in.parent.rmdir()
    must("systemctl daemon-reload")


def crashes(unit: str, active: str) -> None:
    """A daemon that is killed and one that hangs are started again, and take over what is there."""
    pid = daemon_pid()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: daemon_pid() not in (0, pid) and show(unit, "ActiveState") == "active", "restarted after SIGKILL")
    assert item("runner.active_port") == active
    hang = daemon_pid()
    os.kill(hang, signal.SIGSTOP)
    took_s = wait_for(lambda: daemon_pid() not in (0, hang), "the watchdog restarts a daemon that hangs", 60)
    wait_for(lambda: show(unit, "ActiveState") == "active", "active again")
    say(f"pyteamd@team0: SIGKILL and SIGSTOP end in a restart (watchdog after {took_s:.0f} s)")


def every_runner(unit: str) -> None:
    """Each runner starts and stops under the unit's restrictions."""
    for runner in ("broadcast", "roundrobin", "random", "loadbalance", "lacp"):
        more = {"loadbalance": "  tx_hash: [eth]\n", "lacp": "  tx_hash: [eth]\n"}.get(runner, "")
        text = f"runner:\n  name: {runner}\n{more}ports:\n  em1:\n  em2:\n"
        Path("/etc/pyteamd/team0.yaml").write_text(text)
        must(f"systemctl start {unit}")
        wait_for(lambda: ports() == ["em1", "em2"], runner)
        must(f"systemctl stop {unit} && ip link del team0")
    say("pyteamd@team0: all runners start under the restrictions")


def verify() -> None:
    """systemd's own opinion of the units."""
    for unit in ("teamd@team0.service", "pyteamd@team0.service"):
        code, out = run(f"systemd-analyze verify {unit}")
        assert (code, out) == (0, ""), f"{unit}: {out}"
    out = must("systemd-analyze security --no-pager pyteamd@team0.service || true")
    score = re.search(r"exposure level for \S+: ([0-9.]+)", out)
    assert score is not None, out
    say(f"systemd-analyze: verify clean, exposure {score[1]}")
    assert float(score[1]) <= MAXIMUM_EXPOSURE


def as_written(options: str) -> bool:
    """Whether bond0 has these options, as far as this systemd knows them."""
    return not_applied("bond0", options).keys() <= TOO_NEW


def networkd() -> None:
    """Teams written down as bonds: systemd-networkd understands every line and makes such bonds."""
    place, config = Path("/run/systemd/network"), Path("/tmp/team0.conf")
    place.mkdir(exist_ok=True)
    for tree in BONDS:
        config.write_text(json.dumps(tree))
        options = output_of(f"pyteamd convert --to bonding {config}").split()
        must(f"pyteamd convert --to networkd {config} --output-dir {place}")
        written = "".join(file.read_text() for file in place.iterdir())
        known = " ".join(word for word in options if f"no setting for {word}" not in written)
        must("systemctl restart systemd-networkd")
        wait_for(
            lambda: len(must("ip -br link show type veth master bond0 || true").splitlines()) == 2, "both in the bond"
        )
        # The primary is set after its link has joined.
        wait_for(partial(as_written, known), f"bond0 with {known}")
        say(f"networkd: bond up with {known}; not as written: {not_applied('bond0', known) or 'nothing'}")
        must("systemctl stop systemd-networkd.socket systemd-networkd && ip link del bond0")
        for file in place.iterdir():
            file.unlink()
    said = must("journalctl -b --no-pager -u systemd-networkd -p warning -o cat")
    lines = [line for line in said.splitlines() if str(place) in line]
    assert [line for line in lines if "'ARPMissedMax'" not in line] == [], lines


def ifupdown() -> None:
    """Debian's own: ifup with ifenslave makes such bonds."""
    file, config = Path("/tmp/interfaces"), Path("/tmp/team0.conf")
    for tree in BONDS:
        config.write_text(json.dumps(tree))
        options = output_of(f"pyteamd convert --to bonding {config}").split()
        file.write_text(output_of(f"pyteamd convert --to ifupdown {config}") + "\n")
        known = " ".join(word for word in options if f"no word for {word}" not in file.read_text())
        must(f"ifup -i {file} bond0")
        assert Path("/sys/class/net/bond0/bonding/slaves").read_text().split() == ["em1", "em2"]
        wrong = not_applied("bond0", known)
        say(f"ifup: bond up with {known}; not as written: {wrong or 'nothing'}")
        assert not wrong
        must(f"ifdown -i {file} bond0; ip link del bond0 2>/dev/null; ip link set em1 down; ip link set em2 down")


def uninstall() -> None:
    """Nothing is left, and the distribution's programs are back."""
    Path("/etc/pyteamd/team0.yaml").unlink(missing_ok=True)
    must("cd /tmp && make -s uninstall")
    left = must("find / -xdev -not -path '/tmp/*' -not -path '/var/log/*' -iname '*pyteamd*' -print")
    assert left == "", left
    assert "libteam" in must("dpkg -S /usr/bin/teamd")
    assert not must("dpkg-divert --list '*team*'")
    must("dpkg -V libteam-utils | grep -v usr/share/ || true")
    must("teamd --version")
    say(f"uninstalled: {must('teamd --version')} is back")


def main() -> int:
    """Everything, or the parts named."""
    must("systemctl stop NetworkManager")
    cables(managed=False)
    parts = {"verify": verify, "compat": compat, "native": native, "networkd": networkd, "ifupdown": ifupdown}
    parts["uninstall"] = uninstall
    for name in sys.argv[1:] or parts:
        say(f"== {name}")
        try:
            parts[name]()
        except BaseException:
            say(command_line(daemon_pid()) if daemon_pid() else "no daemon")
            say(run("journalctl -b --no-pager -u teamd@team0 -u pyteamd@team0 -n 40")[1])
            raise
    say("all is well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
