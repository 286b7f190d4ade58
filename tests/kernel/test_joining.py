"""Links that another device owns, or that cannot be ports: a start, a reload, a request and a take-over leave them alone and say why.

Each case asserts that the links of others are as they were: master, admin state, addresses, MTU; pings go on over the bridge and the bond.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joining_scene import FREE, LONG_NAME, Scene, batch, build
from lab_kit import PYTEAMD, RUN_DIR, bench, daemon, run, state, wait_for

pytestmark = pytest.mark.kernel

BOND_P1 = "belongs to bond7 (it joins when it is free and down)"
BRIDGE_P0 = "belongs to br0 (it joins when it is free and down)"
DOWN = "is up, and a port must be down when it is added (ip link set {} down)"


def backup(*ports: str, **more: Any) -> str:
    """A configuration; a port may have settings behind a colon."""
    named = dict(port.partition(" ")[::2] for port in ports)
    tree = {name: json.loads(settings or "{}") for name, settings in named.items()}
    return json.dumps({"device": "team0", "runner": {"name": "activebackup"}, "ports": tree, **more})


@pytest.fixture(scope="module")
def whole() -> Iterator[Scene]:
    """One host for all cases."""
    with bench(0) as on:
        made = build(on)
        with daemon(PYTEAMD, on, '{"runner":{"name":"activebackup"},"ports":{"t1":{}}}', team="team1"):
            on.on_host("ip link set team1 up; ip addr add 203.0.113.65/26 dev team1")
            wait_for(lambda: state("team1")["runner"]["active_port"] == "t1")
            made.before = made.picture()
            with made.traffic():
                yield made
            assert state("team1")["runner"]["active_port"] == "t1"


@pytest.fixture
def scene(whole: Scene) -> Iterator[Scene]:
    """The host as it was, before and after."""
    yield whole
    whole.reset()


# -- a start -----------------------------------------------------------------------------------------------------------

STARTS: dict[str, tuple[list[str], str, dict[str, str]]] = {
    # configured ports, what is done before, and what explain says of those that do not join
    "J1: bond, bridge, bond": (["p1", "p0", "p2", "f1"], "", {"p1": BOND_P1, "p0": BRIDGE_P0, "p2": BOND_P1}),
    "J1: bridge first": (["p0", "p1", "p2", "f1"], "", {"p0": BRIDGE_P0, "p1": BOND_P1}),
    "J1: free one first": (["f1", "p2", "p1", "p0"], "", {"p0": BRIDGE_P0, "p2": BOND_P1}),
    "J1: set_down is no leave to take": (['p0 {"set_down": true}', "f1"], "", {"p0": BRIDGE_P0}),
    "J2: a team with a daemon": (["t1", "f2"], "", {"t1": "belongs to team1 (it joins when it is free and down)"}),
    "J2: a team without one": (["u1", "f2"], "", {"u1": "belongs to team2 (it joins when it is free and down)"}),
    "J2: the teams and the bond themselves": (["u1", "team2", "f2"], "", {"u1": "belongs to team2", "team2": "is up"}),
    "J3: one is up": (["f1", "f2"], "ip link set f2 up", {"f2": DOWN.format("f2")}),
    "J3: two are up": (
        ["f1", "f2", "f3"],
        "ip link set f2 up; ip link set f3 up",
        {"f2": DOWN.format("f2"), "f3": DOWN.format("f3")},
    ),
    "J3: the lower link of a macvlan is up": (["m0", "f1"], "", {"m0": DOWN.format("m0")}),
    "J5: a VLAN over a link that is down": (
        ["d0.100", "f1"],
        "",
        {"d0.100": "stands on d0, which is down (ip link set d0 up; ip link set d0.100 down)"},
    ),
    "J5: loopback": (["lo", "f1"], "", {"lo": "is the loopback device, which cannot be a port"}),
    "J5: the team itself": (["team0", "f1"], "", {"team0": "is the team itself"}),
    "J7: under another name": (["enp3s0f0", "f2"], "", {}),
    "J7: under the longest name": ([LONG_NAME], "", {}),
    "J3: missing": (["nx0", "f1"], "", {"nx0": "there is no such interface (it joins when it appears)"}),
    "J10: a target without a name": (
        ['f1 {"link_watch": {"name": "arp_ping", "target_host": "gw.site.example"}}', "f2"],
        "",
        {"f1": "link watch down: arp_ping: cannot resolve host gw.site.example"},
    ),
}
JOIN = {"J7: under another name": {"f1", "f2"}, "J7: under the longest name": {"f1"}}


@pytest.mark.parametrize("name", STARTS)
def test_a_start(scene: Scene, name: str) -> None:
    ports, before, explained = STARTS[name]
    scene.on.on_host(before or "true")
    done = scene.ours("pyteamd", "-d", "-c", backup(*ports))
    assert done.status == 0, done
    waiting = {port for port in explained if not explained[port].startswith("link watch")}
    joined = JOIN.get(name) or {port.split()[0] for port in ports} & set(FREE) - waiting
    assert scene.members() == joined
    scene.on.on_host("ip link set team0 up")
    told = scene.explained()
    for port, words in explained.items():
        assert told[port].startswith(words), told
    for port in waiting - {"nx0", "team0"}:
        assert f"{port}: not added: it " in done.err
    assert scene.changed(FREE) == {}


def test_mtu(scene: Scene) -> None:
    """A team with large frames, and a link whose driver, or lower link, cannot carry them."""
    batch(
        scene.on.host, "link add team0 mtu 9000 type team\nlink set d0 up\nlink set d0.100 down\nlink set f1 mtu 9000"
    )
    assert scene.ours("pyteamd", "-d", "-o", "-c", backup("f1", "d0.100")).status == 0
    assert scene.members() == {"f1"}
    words = "can have an MTU of at most 1500, and that of team0 is 9000 (ip link set team0 mtu 1500)"
    assert scene.explained()["d0.100"] == words
    assert scene.changed((*FREE, "d0")) == {}
    batch(scene.on.host, "link set team0 mtu 1500")
    wait_for(lambda: scene.members() == {"f1", "d0.100"})


# -- doors -------------------------------------------------------------------------------------------------------------

FOREIGN = {"p0": BRIDGE_P0, "p1": BOND_P1, "t1": "belongs to team1", "u1": "belongs to team2", "m0": DOWN.format("m0")}


def doors(scene: Scene) -> dict[str, list[tuple[str, ...]]]:
    """Each way in for a configuration: what to run."""
    text = backup(*FOREIGN, "f1")
    folder = Path("/run/joining")
    folder.mkdir(exist_ok=True)
    (folder / "team0.conf").write_text(text)
    (folder / "old.conf").write_text(backup("f1"))
    pyteamd, ctl = ("pyteamd", "-d"), ("pyteamdctl", "team0")
    return {
        "-c": [(*pyteamd, "-c", text)],
        "-f": [(*pyteamd, "-f", str(folder / "team0.conf"))],
        "-o": [
            (
                "sh",
                "ip link add team0 type team; teamnl team0 setoption mode activebackup; ip link set f1 master team0",
            ),
            (*pyteamd, "-o", "-c", text),
        ],
        "-o beside an active port": [
            (*pyteamd, "-N", "-c", backup("f1")),
            ("pyteamd", "-k", "-t", "team0"),
            (*pyteamd, "-o", "-c", text),
        ],
        "-r": [("sh", "ip link add team0 type dummy"), (*pyteamd, "-r", "-c", text)],
        "config apply": [(*pyteamd, "-c", backup("f1")), (*ctl, "config", "apply", str(folder / "team0.conf"))],
        "SIGHUP": [
            (*pyteamd, "-f", str(folder / "old.conf")),
            ("sh", f"cp {folder}/team0.conf {folder}/old.conf; kill -HUP $(cat {RUN_DIR}/team0.pid)"),
        ],
    }


DOORS = ("-c", "-f", "-o", "-o beside an active port", "-r", "config apply", "SIGHUP")


@pytest.mark.parametrize("door", DOORS)
def test_every_door(scene: Scene, door: str) -> None:
    for program, *words in doors(scene)[door]:
        done = scene.on.on_host(words[0]) if program == "sh" else scene.ours(program, *words)
        assert done.status == 0, (words, done)
    wait_for(lambda: set(FOREIGN) <= set(scene.explained()), what=str(scene.explained()))
    told = scene.explained()
    for port, words in FOREIGN.items():
        assert told[port].startswith(words), told
    assert scene.members() == {"f1"}
    assert scene.changed(FREE) == {}


def test_serve(scene: Scene) -> None:
    """Two teams of one process: one finds all its links taken, and starts; the other serves."""
    folder = Path("/run/joining-serve")
    folder.mkdir(exist_ok=True)
    (folder / "a.conf").write_text(backup(*FOREIGN).replace("team0", "team3"))
    (folder / "b.conf").write_text(backup("p1", "f1"))
    run(f"{PYTEAMD} serve {folder} 2>/run/serve.log & echo $! >/run/serve.pid", namespace=scene.on.host)
    try:
        wait_for(lambda: scene.members() == {"f1"}, 20.0)
        assert scene.explained("team3")["t1"].startswith("belongs to team1")
        assert scene.changed(FREE) == {}
    finally:
        run("kill $(cat /run/serve.pid)", namespace=scene.on.host)
        wait_for(lambda: "team0" not in scene.picture(), 15.0)


@pytest.mark.parametrize("key", ["steal", "set_down"])
def test_what_was_asked_for(scene: Scene, key: str) -> None:
    """An explicit wish: one link is taken, or set down; the others of that owner stay."""
    on = scene.on
    batch(on.host, "link set f2 master br0\nlink set f2 up" if key == "steal" else "link set f2 up")
    settings = json.dumps({key: True})
    assert scene.ours("pyteamd", "-d", "-c", backup("p0", f"f2 {settings}", "p1")).status == 0
    assert scene.members() == {"f2"}
    assert scene.changed(FREE) == {}
