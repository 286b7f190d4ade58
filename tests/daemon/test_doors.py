"""Whichever way a configuration comes in, the same is said of it: -c, -f file or pipe, check, config apply, SIGHUP, port config update."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
from pathlib import Path

import pytest
import trio
from daemon_kit import ACTIVE_BACKUP, Lab
from test_ctl_extra import say

from pyteamd.cli.pyteamd.check import check
from pyteamd.cli.pyteamd.main import load_config
from pyteamd.cli.pyteamd.options import Options, parse
from pyteamd.cli.pyteamdctl.verbs import is_among
from pyteamd.schema.problems import ConfigError

TEXTS = {
    "comma": ('{"runner": {"name": "activebackup"},}', "JSON has no comma before a closing brace or bracket"),
    "another program's": (
        '{"network": {"version": 2}}',
        "this is a netplan file; see: pyteamd convert --from netplan FILE",
    ),
    "no runner": ('{"runner": {"name": "activbackup"}}', "activebackup"),
    "type": ('{"runner": {"name": "activebackup"}, "ports": {"eth1": {"prio": "high"}}}', "ports.eth1.prio: "),
    "range": ('{"runner": {"name": "activebackup"}, "ports": {"eth1": {"queue_id": -1}}}', "ports.eth1.queue_id: "),
    "unknown": ('{"runner": {"name": "activebackup"}, "ports": {"eth1": {"stikcy": true}}}', "did you mean 'sticky'?"),
    "watcher": (
        '{"runner": {"name": "activebackup"}, "ports": {"eth1": {"link_watch": {"name": "arp_ping"}}}}',
        "ports.eth1.link_watch.target_host: missing",
    ),
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEAMD_RUN_DIR", str(tmp_path))


def options(*words: str) -> Options:
    """A command line."""
    return parse("pyteamd", list(words), "/nowhere/")


def loaded(*words: str) -> str:
    """What a start says of its configuration."""
    try:
        config = load_config(options(*words), logging.getLogger("doors"))
    except ConfigError as error:
        return "\n".join([str(error), *(problem.hint for problem in error.problems)])
    return "\n".join(problem.told("x") for problem in config.problems)


def piped(text: str) -> str:
    """`-f` on a pipe that has no name, as of `… | pyteamd -f /dev/stdin`."""
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    os.close(writer)
    try:
        return loaded("-f", f"/dev/fd/{reader}")
    finally:
        os.close(reader)


def named_pipe(text: str, place: Path) -> str:
    """`-f` on a FIFO."""
    os.mkfifo(place / "fifo")
    threading.Thread(target=(place / "fifo").write_text, args=(text,)).start()
    return loaded("-f", str(place / "fifo"))


@pytest.mark.parametrize("name", TEXTS)
def test_at_a_start(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, words = TEXTS[name]
    (tmp_path / "team0.conf").write_text(text)
    check([str(tmp_path / "team0.conf")], "pyteamd check")
    told = capsys.readouterr()
    said = {
        "-c": loaded("-c", text),
        "-f": loaded("-f", str(tmp_path / "team0.conf")),
        "-f pipe": piped(text),
        "-f FIFO": named_pipe(text, tmp_path),
        "check": told.out + told.err,
    }
    assert {door: words in what for door, what in said.items()} == dict.fromkeys(said, True), said


def test_a_directory_and_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert loaded("-f", str(tmp_path)) == ""
    with pytest.raises(ConfigError) as refused:
        load_config(options("-f", str(tmp_path)), logging.getLogger("doors"))
    assert refused.value.teamd_lines == [
        f"{tmp_path}: is a directory; all teams of its files at once: pyteamd serve {tmp_path}"
    ]
    assert check([str(tmp_path)], "pyteamd check") == 1
    assert capsys.readouterr().err == f"{tmp_path}: cannot be read: Is a directory\n"
    assert "there is nothing in it" in loaded("-f", "/dev/null")


@pytest.mark.parametrize("name", TEXTS)
async def test_while_it_runs(lab: Lab, name: str) -> None:
    text, words = TEXTS[name]
    file = lab.directory / "team0.conf"
    file.write_text(json.dumps(ACTIVE_BACKUP))
    daemon = await lab.start(lab.plan(config_file=str(file)))
    report = json.loads(await daemon.call("ConfigApply", text, "dry-run"))
    assert words in "\n".join([*report["problems"], *report["warnings"]]), report
    daemon.lines.clear()
    file.write_text(text)
    signal.raise_signal(signal.SIGHUP)
    await trio.sleep(0.1)
    assert words in "\n".join(daemon.lines), daemon.lines


@pytest.mark.parametrize("name", ["type", "range", "unknown", "watcher"])
async def test_port_config_update(lab: Lab, name: str) -> None:
    text, words = TEXTS[name]
    daemon = await lab.start()
    daemon.lines.clear()
    settings = json.dumps(json.loads(text)["ports"]["eth1"])
    await daemon.call("PortConfigUpdate", "eth1", settings)
    reason = json.loads(await daemon.call("Reason", "PortConfigUpdate", "eth1"))["reason"]
    assert words in "\n".join([*daemon.lines, reason]), daemon.lines


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"prio": 1,}', "JSON has no comma before a closing brace or bracket"), ("prio: 1", "JSON begins with a brace")],
)
async def test_port_config_update_that_is_no_json(lab: Lab, text: str, words: str) -> None:
    daemon = await lab.start()
    assert (await daemon.call("PortConfigUpdate", "eth1", text)).startswith("ConfigUpdateFail")
    assert words in json.loads(await daemon.call("Reason", "PortConfigUpdate", "eth1"))["reason"]


async def test_who_updates_a_port_reads_what_is_wrong_and_what_waits(lab: Lab) -> None:
    await lab.start()
    settings = ("team0", "port", "config", "update", "eth1", '{"prio": 10, "stikcy": true, "queue_id": 1}')
    code, out, err = await say(*settings)
    assert (code, out) == (0, "")
    assert "did you mean 'sticky'?" in err
    assert "queue_id" in err
    assert await say(*settings, program="teamdctl") == (0, "", "")
    unknown = await say("team0", "port", "config", "update", "nope", "{}")
    assert unknown == (1, "", "there is no link nope; ip link shows those that there are\n")


def test_a_port_is_present_under_each_of_its_names() -> None:
    """The state has the kernel's name and the number of the link; the loopback stands for a link with another name here."""
    ports: dict[str, object] = {"eth1": {"ifinfo": {"ifindex": socket.if_nametoindex("lo")}}, "eth2": {}, "z\\xe4": 5}
    found = {name: is_among(ports, name) for name in ("eth1", "lo", "z\udce4", "z\\xe4", "eth3", "y" * 40)}
    assert [name for name, there in found.items() if there] == ["eth1", "lo", "z\udce4", "z\\xe4"]


async def test_config_apply_says_what_a_new_port_waits_for(lab: Lab) -> None:
    daemon = await lab.start()
    bridge = lab.kernel.add_other("br0", "bridge")
    link = lab.kernel.add_pair("eth5", "far")
    lab.kernel.set_master(link.ifindex, bridge.ifindex)
    more = {**ACTIVE_BACKUP, "ports": {"eth1": {}, "eth2": {}, "eth5": {}, "lo": {}, "eth9": {}}}
    report = json.loads(await daemon.call("ConfigApply", json.dumps(more), "dry-run"))
    assert [change["text"] for change in report["changes"]] == [
        "ports.eth5: added, but it belongs to br0; it joins when it is free and down (no interruption)",
        "ports.lo: added, but it is the loopback device, which cannot be a port (no interruption)",
        "ports.eth9: added, joins when it is there and down; it is active then if it is faster than eth1 (no interruption otherwise)",
    ]


async def test_config_apply_knows_a_port_by_each_of_its_names(lab: Lab) -> None:
    long = "enp3s0f0np0:" + "x" * 100
    lab.kernel.set_altnames(lab.link("eth1").ifindex, long)
    daemon = await lab.start()
    config = json.dumps({**ACTIVE_BACKUP, "ports": {long: {"prio": 6}, "eth2": {}}})
    report = json.loads(await daemon.call("ConfigApply", config, "apply"))
    assert [change["text"] for change in report["changes"]] == [
        f"ports.{long}: another name of eth1, which stays (no interruption)",
        "ports.eth1.prio: 0 -> 6 (no interruption)",
    ]
    assert list((await daemon.state())["ports"]) == ["eth1", "eth2"]
