"""Links that another device owns, or that cannot be ports: a start, a reload, a request and a take-over leave them alone and say why.

Each case asserts that the links of others are as they were: master, admin state, addresses, MTU; pings go on over the bridge and the bond.

What is tried, by kind, each with other links in the picture (the contract is test_contract_joining.py, on both kernels):

looks, then acts: test_a_start J1, J2; test_every_door; test_serve; what_others_took; what_is_known_before; Open vSwitch.
a refusal is local: test_a_start J3, J5, J10; test_mtu; what_was_asked_for; links_of_other_kinds; the_kernels_own_words.
the kernel's own words: the_kernels_own_words (five); the contract (up, type, loopback, itself, MACsec, macvlan); test_explain_real.py.
explained as it is now: test_every_door; links_of_other_kinds; what_others_took (bridge, bond, VRF); ports_that_go_and_come (three).
all names: test_a_start J7; links_of_other_kinds; a_name_that_is_taken (the team's); ports_that_go_and_come (renamed, or named while down)
every door: test_every_door (seven and a pipe); test_serve; what_is_typed (a directory); a_name_that_is_taken (port config update).
advice that works: the_advice_of_explain (three commands); test_mtu; what_is_typed_and_read (check, netplan, commas, comments).
links that come and go: ports_that_go_and_come (z1, z2, z3); the_kernels_own_words (k1); test_short_lived_real.py; test_foreign_links.py.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from joining_scene import FREE, LONG_NAME, LONGEST_S, Scene, batch, build
from lab_kit import PYTEAMD, PYTEAMDCTL, RUN_DIR, Daemon, bench, chosen, daemon, run, state, wait_for

pytestmark = pytest.mark.kernel
LONG = bool(os.environ.get("PYTEAMD_LONG"))

BOND_P1 = "belongs to bond7 (it joins when it is free and down)"
BRIDGE_P0 = "belongs to br0 (it joins when it is free and down)"
UP_AND_BELOW = "is up, and has macvlan mv0 standing on it (it joins when that is gone, and it is down)"
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
            wait_for(lambda: state("team1")["runner"]["active_port"] == "t1", LONGEST_S)
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
    "J3: the lower link of a macvlan is up": (["m0", "f1"], "", {"m0": UP_AND_BELOW}),
    "J5: a VLAN over a link that is down": (
        ["d0.100", "f1"],
        "",
        {"d0.100": "stands on d0, which is down (ip link set d0 up)"},
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


LATER = (
    "J1: bridge first",
    "J1: free one first",
    "J2: the teams and the bond themselves",
    "J3: one is up",
    "J5: the team itself",
    "J7: under the longest name",
)
"""Long forms: they differ from others in the order, or in what the simulated world shows as well."""


@pytest.mark.parametrize("name", chosen(STARTS, LATER))
def test_a_start(scene: Scene, name: str) -> None:
    ports, before, explained = STARTS[name]
    scene.on.on_host(before or "true")
    done = scene.ours("pyteamd", "-d", "-c", backup(*ports))
    assert done.status == 0, done
    waiting = {port for port in explained if not explained[port].startswith("link watch")}
    joined = JOIN.get(name) or {port.split()[0] for port in ports} & set(FREE) - waiting
    scene.await_members(joined)
    scene.on.on_host("ip link set team0 up")
    scene.await_told(explained)
    for port in waiting - {"nx0", "team0"}:
        assert f"{port}: not added: it " in done.err
    assert scene.changed(FREE) == {}


UPON = """
link add link f1 name f1.7 type vlan id 7 loose_binding on
link add link f3 name f3.7 type vlan id 7 loose_binding on
link property add dev d0 altname other-name
"""


def test_what_is_known_before_is_not_tried(scene: Scene) -> None:
    """Settings of no use (of a link of a bridge, too), a port below another one in both orders, one link under two names."""
    on = scene.on
    batch(on.host, UPON)

    def carrier_changes() -> list[str]:
        """Of links that are not tried: to be added and released would set them up and down."""
        return on.on_host(
            "cd /sys/class/net && cat f2/carrier_changes d0/carrier_changes p0/carrier_changes"
        ).out.split()

    try:
        before = carrier_changes()
        assert len(before) == 3, before
        ports = (
            'f2 {"queue_id": 16}',
            'd0 {"link_watch": {"name": "arp_ping"}}',
            "other-name",
            "f1.7",
            "f1",
            "f3",
            "f3.7",
        )
        started = scene.ours(
            "pyteamd", "-d", "-c", backup(*ports, 'p0 {"prio": 2e9, "steal": true, "link_watch": {"name": "no"}}')
        )
        assert started.status == 0, started
        scene.await_members({"f1.7", "f3", "f3.7"})
        told = {
            "f1": "has f1.7, which is a port of team0, standing on it (it joins when that has left)",
            "f2": "cannot be a port with its settings: queue_id: 16 is none of the 16 transmit queues",
            "d0": "cannot be a port with its settings: ports.d0.link_watch.target_host: missing",
            "p0": "belongs to br0, and cannot be a port with its settings: ",
        }
        scene.await_told(told)
        for port in told:
            refused = scene.ours("pyteamdctl", "team0", "port", "add", port)
            assert refused.status == 1, refused
        assert scene.changed(("f1", "f3")) == {}
        assert carrier_changes() == before
        Daemon(PYTEAMD, on).end()
        assert "team0" not in scene.picture()
    finally:
        run("ip link del f1.7; ip link del f3.7; ip link property del dev d0 altname other-name", namespace=on.host)


def test_mtu(scene: Scene) -> None:
    """A team with large frames, and a link whose driver, or lower link, cannot carry them."""
    batch(scene.on.host, "link add team0 mtu 9000 type team\nlink set d0 up\nlink set f1 mtu 9000")
    # The VLAN follows; newer kernels set it up a moment later, and that must be over before it is set down.
    wait_for(lambda: int(scene.on.on_host("cat /sys/class/net/d0.100/flags").out, 16) & 1, 10.0)
    batch(scene.on.host, "link set d0.100 down")
    assert scene.ours("pyteamd", "-d", "-o", "-c", backup("f1", "d0.100")).status == 0
    scene.await_members({"f1"})
    words = "can have an MTU of at most 1500, and that of team0 is 9000 (ip link set team0 mtu 1500)"
    assert scene.explained()["d0.100"] == words
    assert scene.changed((*FREE, "d0")) == {}
    batch(scene.on.host, "link set team0 mtu 1500")
    scene.await_members({"f1", "d0.100"})


# -- doors -------------------------------------------------------------------------------------------------------------

FOREIGN = {"p0": BRIDGE_P0, "p1": BOND_P1, "t1": "belongs to team1", "u1": "belongs to team2", "m0": UP_AND_BELOW}


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
        "-f a pipe": [
            (
                "sh",
                f"mkfifo {folder}/pipe; (timeout 60 sh -c 'cat {folder}/team0.conf >{folder}/pipe'; rm {folder}/pipe) >/dev/null 2>&1 &",
            ),
            (*pyteamd, "-f", str(folder / "pipe")),
        ],
        "-r": [("sh", "ip link add team0 type dummy"), (*pyteamd, "-r", "-c", text)],
        "config apply": [(*pyteamd, "-c", backup("f1")), (*ctl, "config", "apply", str(folder / "team0.conf"))],
        "SIGHUP": [
            (*pyteamd, "-f", str(folder / "old.conf")),
            ("sh", f"cp {folder}/team0.conf {folder}/old.conf; kill -HUP $(cat {RUN_DIR}/team0.pid)"),
        ],
    }


DOORS = ("-c", "-f", "-f a pipe", "-o", "-o beside an active port", "-r", "config apply", "SIGHUP")


@pytest.mark.parametrize("door", DOORS)
def test_every_door(scene: Scene, door: str) -> None:
    for program, *words in doors(scene)[door]:
        done = scene.on.on_host(words[0]) if program == "sh" else scene.ours(program, *words)
        assert done.status == 0, (words, done)
    scene.await_told(FOREIGN)
    scene.await_members({"f1"})
    assert scene.changed(FREE) == {}


def test_serve(scene: Scene) -> None:
    """Two teams of one process: one finds all its links taken, and starts; the other serves."""
    folder = Path("/run/joining-serve")
    folder.mkdir(exist_ok=True)
    (folder / "a.conf").write_text(backup(*FOREIGN).replace("team0", "team3"))
    (folder / "b.conf").write_text(backup("p1", "f1"))
    run(f"{PYTEAMD} serve {folder} 2>/run/serve.log & echo $! >/run/serve.pid", namespace=scene.on.host)
    try:
        scene.await_members({"f1"})
        assert scene.explained("team3")["t1"].startswith("belongs to team1")
        assert scene.changed(FREE) == {}
    finally:
        run("kill $(cat /run/serve.pid)", namespace=scene.on.host)
        wait_for(lambda: "team0" not in scene.picture(), LONGEST_S)


@pytest.mark.parametrize("key", ["steal", "set_down"])
def test_what_was_asked_for(scene: Scene, key: str) -> None:
    """An explicit wish: one link is taken, or set down; the others of that owner stay."""
    on = scene.on
    batch(on.host, "link set f2 master br0\nlink set f2 up" if key == "steal" else "link set f2 up")
    settings = json.dumps({key: True})
    assert scene.ours("pyteamd", "-d", "-c", backup("p0", f"f2 {settings}", "p1")).status == 0
    scene.await_members({"f2"})
    assert scene.changed(FREE) == {}


# -- brothers: what nobody listed --------------------------------------------------------------------------------------

OF_OTHER_KINDS = {
    "e1": "has macsec ms1 standing on it (it joins when that is gone)",
    "ms1": "can have an MTU of at most 1468, and that of team0 is 1500 (ip link set team0 mtu 1468)",
    "g1": "has macvlan mv2 standing on it (it joins when that is gone)",
    "mv2": "belongs to br0 (it joins when it is free and down)",
    "i1": "has ipvlan iv1 standing on it (it joins when that is gone)",
    "iv1": "is of the kind ipvlan, which cannot be a port",
    "v1": "belongs to vrf5 (it joins when it is free and down)",
    "vrf5": "is of the kind vrf, which cannot be a port",
    "w1": "belongs to bond8 (it joins when it is free and down)",
    "br0": "is up (it joins when it is down)",
}

FREED = """
link del mv2
link del iv1
link set v1 nomaster
link set v1 down
link set w1 nomaster
link set w1 down
"""


def test_links_of_other_kinds(scene: Scene) -> None:
    """One start with all of them; then what was in the way goes, and they join."""
    with scene.more():
        waiting = dict(OF_OTHER_KINDS)
        if "ms1" not in scene.before:
            del waiting["ms1"], waiting["e1"]
        mine = {"x1", "d0.7", "f1"}
        assert scene.ours("pyteamd", "-d", "-c", backup(*waiting, "wan-é-%d", "d0.7", "f1")).status == 0
        scene.await_members(mine)
        scene.await_told(waiting)
        assert scene.changed(mine) == {}
        assert scene.ours("pyteamdctl", "team0", "port", "config", "update", "wan-é-%d", '{"prio": 7}').status == 0
        assert "prio" in scene.ours("pyteamdctl", "team0", "port", "config", "dump", "x1").out
        batch(scene.on.host, FREED)
        scene.await_members({*mine, "g1", "i1", "v1", "w1"})
        batch(scene.on.host, "link set team0 mtu 1468")  # as explain said
        scene.await_members({*mine, "g1", "i1", "v1", "w1", *({"ms1"} & waiting.keys())})
        Daemon(PYTEAMD, scene.on).end()


def test_a_team_that_serves_in_a_bridge_is_taken_over(scene: Scene) -> None:
    """Neither the bridge nor what stands on it can be its port, up or down, and it stays in the bridge."""
    batch(
        scene.on.host,
        "link add team0 type team\nlink add br9 type bridge\nlink set team0 master br9\nlink add link br9 name br9.5 type vlan id 5",
    )
    try:
        scene.before |= {name: facts for name, facts in scene.picture().items() if name in ("br9", "br9.5")}
        assert scene.ours("pyteamd", "-d", "-o", "-c", backup("br9", "br9.5", "f1")).status == 0
        told = {"br9": "has team0 as a port of its own", "br9.5": "stands on br9, which has team0 as a port"}
        scene.await_told(told)
        scene.await_members({"f1"})
        assert scene.picture()["team0"][0] == "br9"
        assert scene.changed((*FREE, "br9")) == {}
    finally:
        batch(scene.on.host, "link del br9")
        scene.before = {name: facts for name, facts in scene.before.items() if not name.startswith("br9")}


# -- one by one, as people type ----------------------------------------------------------------------------------------


def test_what_is_typed_and_read(scene: Scene) -> None:
    """J11 to J13: the person who typed reads what was wrong, and nothing starts or changes."""
    folder = Path("/run/joining-typed")
    folder.mkdir(exist_ok=True)
    texts = {
        "comma": ('{"ports": {"f1": {}},}', "JSON has no comma before a closing brace or bracket"),
        "comment": ('{"ports": {"f1": {}}} // mine', "JSON has no comments"),
        "netplan": ("network:\n  version: 2\n", "this is a netplan file; see: pyteamd convert --from netplan FILE"),
    }
    for name, (text, words) in texts.items():
        (folder / name).write_text(text)
        done = scene.ours("pyteamd", "-d", "-t", "team0", "-f", str(folder / name))
        assert (done.status, words in done.err) == (78, True), done
    done = scene.ours("pyteamd", "-d", "-t", "team0", "-f", str(folder))
    assert (done.status, "is a directory" in done.err) == (78, True), done
    advice = folder / "advice"
    advice.write_text('{"runner": {"name": "lacp", "agg_select_policy": 1}, "ports": {"f1": {}}}')
    checked = scene.ours("pyteamd", "check", str(advice))
    allowed = re.search(r"\(allowed: (\w+),", checked.out + checked.err)
    assert (checked.status, allowed is not None) == (1, True), checked
    assert allowed is not None
    advice.write_text(advice.read_text().replace(": 1", f': "{allowed[1]}"'))
    assert scene.ours("pyteamd", "check", str(advice)).status == 0


def test_a_name_that_is_taken_and_what_is_typed_then(scene: Scene) -> None:
    """J8, J9, J14: a team of that name, a bridge of that name; settings of a port, the team's other names, a full disk."""
    batch(scene.on.host, "link add team0 type team")
    taken = scene.ours("pyteamd", "-d", "-c", backup("f1"))
    assert taken.status == 1
    assert "a link of that name exists: -o takes it over, -r replaces it" in taken.err
    assert taken.err.splitlines()[-2:] == ["Daemon process failed.", "Failed: File exists"]
    for option, words in (
        ("-d", "exists, bridge and no team device: -t chooses another name"),
        ("-do", "not a team device"),
    ):
        foreign = scene.ours("pyteamd", option, "-t", "br0", "-c", backup("f1"))
        assert (foreign.status, words in foreign.err, "-r " in foreign.err) == (1, True, False), foreign
    assert scene.changed() == {}
    assert scene.ours("pyteamd", "-d", "-o", "-c", backup("f1")).status == 0
    settings = ("team0", "port", "config", "update", "f1", '{"prio": 10, "stikcy": true, "queue_id": 1}')
    updated = scene.ours("pyteamdctl", *settings)
    assert updated.status == 0
    assert "did you mean 'sticky'?" in updated.err
    assert "queue_id" in updated.err
    for other in ("to-the-core", "uplink-of-the-whole-host"):
        scene.on.on_host(f"ip link property add dev team0 altname {other}")
        assert "f1" in scene.ours("pyteamdctl", other, "state").out
    full = scene.on.on_host(f"{PYTEAMDCTL} team0 state >/dev/full")
    assert (full.status, len(full.err.splitlines())) == (1, 1), full
    assert scene.changed(FREE) == {}


def test_ports_that_go_and_come(scene: Scene) -> None:
    """J15: deleted and made again; J4: of another type; moved to another namespace and back; renamed while the daemon starts."""
    on = scene.on
    batch(
        on.host,
        "".join(f"link add z{n} type veth peer name z{n}q\n" for n in (1, 2, 3, 5)),
    )
    try:
        rename = "for n in 1 2 3 4 5 6; do ip link set z3 name z4; ip link set z4 name z3; done"
        run(f"({rename}; touch /run/renamed) 2>/dev/null &", namespace=on.host)
        assert scene.ours("pyteamd", "-d", "-c", backup("z1", "z2", "z3", "tun0", "wan9")).status == 0
        wait_for(lambda: Path("/run/renamed").exists(), LONGEST_S)
        run(
            "ip link set z4 down && ip link set z4 name z3", namespace=on.host
        )  # this kernel does not rename what a team set up
        scene.await_members({"z1", "z2", "z3"})
        batch(on.host, "link property add dev z5 altname wan9")  # which is not announced of a link that is down
        scene.await_members({"z1", "z2", "z3", "z5"})
        batch(on.host, "link del z5")
        scene.await_told({"tun0": "is of another type than the ports there are"})
        batch(on.host, "link del z1\nlink add z1 type veth peer name z1q\n" * 40)
        scene.await_members({"z1", "z2", "z3"})
        batch(on.host, f"link set z2 netns {on.switch}")
        scene.await_told({"z2": "there is no such interface (it joins when it appears)"})
        batch(on.switch, f"link set z2 netns {on.host}")
        scene.await_members({"z1", "z2", "z3"})
        for _ in range(50 if LONG else 2):
            batch(on.host, "link set z2 nomaster")
            scene.await_told({"z2": "is no port: another program took it out"})
            assert scene.members() == {"z1", "z3"}
            assert scene.ours("pyteamdctl", "team0", "port", "add", "z2").status == 0
            scene.await_members({"z1", "z2", "z3"})
        batch(on.host, "link set z3 master br0")
        scene.await_told({"z3": "another program took it out, and it belongs to br0 now"})
        assert scene.changed() == {}
        Daemon(PYTEAMD, on).end()
    finally:
        run("for n in 1 2 3 4; do ip link del z$n; done", namespace=on.host)


UNSEEN = "device or resource busy (nothing in its way was known here then; a macvlan or the like may stand on it, "
ODD_LINKS = """
link add link f1 name far1 type macvlan
link set far1 netns {switch}
link add link f2 name f2.7 type vlan id 7 loose_binding on
link add k1 type ifb
"""


def test_the_kernels_own_words(scene: Scene) -> None:
    """J4: in what -d says, in explain, and in the answer to who asks; where it has none, what may be the case."""
    on = scene.on
    batch(on.host, ODD_LINKS.format(switch=on.switch))
    try:
        started = scene.ours("pyteamd", "-d", "-c", backup("f1", "f2.7", "f2", "f3", "k1"))
        assert started.status == 0, started
        scene.await_members({"f2.7", "f3"})
        told = {
            "f1": f"add port f1: {UNSEEN}",
            "f2": "has f2.7, which is a port of team0, standing on it",
            "k1": "is no port: set address of k1 to ",
        }
        scene.await_told(told)
        assert [words for words in told.values() if words not in started.err] == [told["k1"]], started
        batch(
            on.host,
            "link set m0 up\nlink add link team0 name team0.9 type vlan id 9\nlink del k1\nlink add k1 type veth peer name k1q",
        )
        asked = {
            "team0.9": "Device is already an upper device of the team interface",
            "bond7": "Device is up. Set it down before adding it as a team port",
            "lo": "Loopback device can't be added as a team port",
            "m0": "is up, and has macvlan mv0 standing on it",
            "f2": "has f2.7, which is a port of team0, standing on it",
        }
        for port, words in asked.items():
            refused = scene.ours("pyteamdctl", "team0", "port", "add", port)
            assert (refused.status, words in refused.err, "set lo down" in refused.err) == (1, True, False), refused
        scene.await_members({"f2.7", "f3", "k1"})
        assert scene.changed(FREE) == {}
        batch(on.switch, "link del far1")
        again = scene.ours("pyteamdctl", "team0", "port", "add", "f1")  # by itself in up to a minute
        assert again.status == 0, again
        scene.await_members({"f1", "f2.7", "f3", "k1"})
        Daemon(PYTEAMD, on).end()
    finally:
        run("ip link del f2.7; ip link del k1", namespace=on.host)
        run("ip link del far1", namespace=on.switch)


def test_the_advice_of_explain_works(scene: Scene) -> None:
    """J5: what stands in brackets is typed as it is, and what it says then, and the link joins; it takes none from its owner."""
    batch(scene.on.host, "link set f2 up")
    scene.ours("pyteamd", "-d", "-c", backup("f1", "f2", "d0.100", "p0"))
    scene.await_members({"f1"})
    told = scene.await_told({"f2": "is up", "d0.100": "stands on d0, which is down", "p0": BRIDGE_P0})
    for port in ("f2", "d0.100"):
        scene.on.on_host(told[port].rpartition("(")[2].rstrip(")"))
    # The VLAN joins, or was set up with the link below it: Linux 7.2 does that a moment later, and the daemon may come before.
    wait_for(
        lambda: "d0.100" in scene.members() or scene.explained()["d0.100"].startswith("is up"), LONGEST_S, "it follows"
    )
    if (then := scene.explained()["d0.100"]).startswith("is up"):
        scene.on.on_host(then.rpartition("(")[2].rstrip(")"))
    scene.await_members({"f1", "f2", "d0.100"})
    batch(scene.on.host, "link set f1 nomaster")
    out = scene.await_told({"f1": "is no port: another program took it out"})["f1"]
    (words,) = re.findall(r"\(pyteamdctl (.*)\)", out)
    assert scene.ours("pyteamdctl", *words.split()).status == 0
    scene.await_members({"f1", "f2", "d0.100"})
    assert scene.changed((*FREE, "d0", "d0.100")) == {}


ODD_NAMES = ("up", "-x", r"q\xe4", r"q\x5cxe4")
"""As they are shown: a word of ip, an option, an octet that is no UTF-8, and what is spelled like it elsewhere."""
IN_BASH = r"up -x $'q\xe4' $'q\\xe4'"


@pytest.mark.one_kernel(reason="names, and the limits of other drivers")
def test_advice_for_odd_names_works(scene: Scene) -> None:
    """Typed as it is told: to set a link down, to add one that was taken out, to give the team the MTU that a driver can have."""

    def bash(script: str) -> None:
        done = scene.on.on_host(f"bash -c {shlex.quote(script)}")
        assert done.status == 0, (script, done)

    def advice(command: str, name: str) -> str:
        told = scene.explained()[name]
        assert f"{command} " in told, told
        return command + told.partition(command)[2].partition(")")[0]

    bash(
        f"printf 'link add dev %s up type dummy\\n' {IN_BASH} | ip -batch -; ip link add vx3 type vxlan id 3 dstport 4790 dev f3"
    )
    try:
        started = scene.ours("pyteamd", "-d", "-c", backup("f1", "vx3", *ODD_NAMES))
        assert started.status == 0, started
        words = "add port vx3: invalid argument (a port gets the MTU of team0, 1500, and vx3 has one of 1450: "
        scene.await_told(dict.fromkeys(ODD_NAMES, "is up") | {"vx3": words})
        bash("; ".join(advice("ip link set", name) for name in (*ODD_NAMES, "vx3")))
        scene.await_told(dict.fromkeys(("f1", "vx3", *ODD_NAMES), "team0 is administratively down"))
        batch(scene.on.host, "link set dev -x nomaster")
        scene.await_told({"-x": "is no port: another program took it out"})
        added = scene.ours(*shlex.split(advice("pyteamdctl", "-x")))
        assert added.status == 0, added
        scene.await_told({"-x": "team0 is administratively down"})
    finally:
        bash(f"printf 'link del dev %s\\n' vx3 {IN_BASH} | ip -batch -")


def test_what_others_took_stays_theirs(scene: Scene) -> None:
    """J6: its present owner is named; neither a configuration without it, nor `port remove`, nor the end takes it from there."""
    on = scene.on
    batch(on.host, "link add vrf6 type vrf table 6")
    try:
        assert scene.ours("pyteamd", "-d", "-c", backup("f1", "f2")).status == 0
        scene.await_members({"f1", "f2"})
        batch(on.host, "link set f2 master br0")
        for owner in ("br0", "vrf6", "bond7", "br0"):
            batch(on.host, f"link set f2 nomaster\nlink set f2 down\nlink set f2 master {owner}")
            scene.await_told({"f2": f"another program took it out, and it belongs to {owner} now"})
        less = Path("/run/joining-less.conf")
        less.write_text(backup("f1"))
        applied = scene.ours("pyteamdctl", "team0", "config", "apply", str(less))
        assert (applied.status, "ports.f2: removed (no interruption)" in applied.out) == (0, True), applied
        assert scene.ours("pyteamdctl", "team0", "port", "remove", "f2").status == 1
        Daemon(PYTEAMD, on).end()
        assert scene.picture()["f2"][0] == "br0"
        assert scene.changed(FREE) == {}
    finally:
        run("ip link del vrf6", namespace=on.host)


OVS = "/run/joining-ovs"
OVS_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")


@pytest.mark.one_kernel(reason="the data path of Open vSwitch has no words of its own")
@pytest.mark.skipif(not LONG, reason="starts Open vSwitch; PYTEAMD_LONG=1")
@pytest.mark.skipif(not OVS_SCHEMA.exists() or not shutil.which("ovs-vswitchd"), reason="no Open vSwitch")
def test_a_port_of_open_vswitch_stays_there(scene: Scene) -> None:
    """Even where it is to be taken: the kernel does not. A link that Open vSwitch made can be had, as with teamd."""
    on, before = scene.on, scene.before
    here = f"export OVS_RUNDIR={OVS} OVS_DBDIR={OVS} OVS_LOGDIR={OVS}; exec >/dev/null 2>&1;"
    run(f"{here} mkdir -p {OVS}; ovsdb-tool create {OVS}/conf.db {OVS_SCHEMA}", namespace=on.host)
    run(f"{here} ovsdb-server {OVS}/conf.db --remote=punix:{OVS}/db.sock --pidfile --detach", namespace=on.host)
    run(f"{here} ovs-vsctl --no-wait init; ovs-vswitchd --pidfile --detach", namespace=on.host)
    try:
        batch(on.host, "link add o1 type veth peer name o1q")
        bridge = "add-br ovsbr0 -- add-port ovsbr0 o1 -- add-port ovsbr0 int1 -- set interface int1 type=internal"
        assert run(f"{here} ovs-vsctl --timeout=20 {bridge}", namespace=on.host).status == 0
        there = scene.picture()
        for steal in ("false", "true"):
            port = f'o1 {{"steal": {steal}}}'
            assert scene.ours("pyteamd", "-d", "-c", backup(port, "int1", "f1")).status == 0
            scene.await_told({"o1": "belongs to ovs-system"})
            scene.await_members({"int1", "f1"})
            now = scene.picture()
            assert {name: was for name, was in there.items() if now[name] != was and name not in ("int1", "f1")} == {}
            Daemon(PYTEAMD, on).end()
            batch(on.host, "link set f1 down")
    finally:
        run(
            f"{here} ovs-vsctl del-br ovsbr0; ovs-appctl exit --cleanup; ovs-appctl -t ovsdb-server exit",
            namespace=on.host,
        )
        run("ip link del o1", namespace=on.host)
        scene.before = before


# -- beside C teamd ----------------------------------------------------------------------------------------------------

STATUSES: dict[str, tuple[list[str], str]] = {
    "the team itself": (["team0"], ""),
    "another type": (["f1", "tun0"], ""),
    "there is a device": (["f1"], "link add team0 type team"),
    "free": (["f1"], ""),
    "missing": (["nx0"], ""),
    "up": (["f1", "f2"], "link set f2 up"),
    "loopback": (["lo"], ""),
    "a VLAN over a link that is down": (["f1", "d0.100"], ""),
}
"""Ports, and what is done before. None of it belongs to others: teamd's damage is to what the test may use."""
FOREIGN_STATUSES: dict[str, tuple[list[str], str]] = {
    "below a macvlan": (["m0"], "link set m0 down"),
    "of a bridge, up": (["p0"], ""),
    "of a bridge, down": (["p0"], "link set p0 down"),
    "of a bond": (["p1"], ""),
    "of a team": (["u1"], ""),
}
BROKEN = ('{"ports": {}', "[]", '{"runner": {"name": "nope"}}', '{"device": 5}', '{"ports": {"f1": {}, "f1": {}}}')
UNDONE = """
link set p0 nomaster
link set p0 master br0
link set p0 up
link set p1 nomaster
link set p1 down
link set p1 master bond7
link set u1 nomaster
link set u1 down
link set u1 master team2
link set m0 up
link set mv0 up
"""


def statuses(scene: Scene, cases: dict[str, tuple[list[str], str]], texts: Iterable[str], undo: str) -> None:
    """Under the name teamd, ours answers as C's, and leaves what belongs to others."""
    configured = {name: (backup(*ports), before) for name, (ports, before) in cases.items()}
    configured |= {text: (text, "") for text in texts}
    seen = {
        name: [status_of(scene, who, text, before, undo) for who in ("teamd", PYTEAMD)]
        for name, (text, before) in configured.items()
    }
    assert {name: both for name, both in seen.items() if both not in ([0, 0], [1, 1])} == {}
    assert len({both[0] for both in seen.values()}) == 2


def status_of(scene: Scene, who: str, text: str, before: str, undo: str) -> int:
    """What a start answers; nothing of it is left."""
    on = scene.on
    if before:
        batch(on.host, before)
    there = scene.picture()
    words = ("-d", "-t", "team0", "-c", text)
    done = scene.ours("teamd", *words) if who == PYTEAMD else on.on_host(f"teamd {shlex.join(words)}")
    now = scene.picture()
    if (RUN_DIR / "team0.pid").exists():
        Daemon(who, on).end()
    lines = "".join(f"link set {name} nomaster\nlink set {name} down\n" for name in FREE)
    run(f"ip link del team0; ip -force -batch - <<'END'\n{lines}{undo}\nEND", namespace=on.host)
    if who == PYTEAMD:
        assert {name: was for name, was in there.items() if now.get(name) != was and name not in (*FREE, "team0")} == {}
    return done.status


@pytest.mark.one_kernel(reason="exit statuses")
def test_exit_statuses_are_those_of_teamd(scene: Scene) -> None:
    few = list(STATUSES) if LONG else list(STATUSES)[:3]
    texts = BROKEN if LONG else ()
    statuses(scene, {name: STATUSES[name] for name in (*few, "free")}, texts, "")


@pytest.mark.one_kernel(reason="exit statuses")
@pytest.mark.skipif(not LONG, reason="a long form: PYTEAMD_LONG=1")
def test_exit_statuses_with_links_of_others_are_those_of_teamd() -> None:
    """C's takes them, so they are on a host of their own, and put back each time."""
    with bench(0) as on:
        statuses(build(on), FOREIGN_STATUSES, (), UNDONE)
