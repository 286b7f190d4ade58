"""The scenario language: paragraphs, commands, errors with their lines, comparison."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from pyteamd.runners.basic import Broadcast
from pyteamd.scenario import script as scenario
from pyteamd.scenario.script import Paragraph, ScriptError
from pyteamd.scenario.session import ScenarioSession
from pyteamd.scenario.simulated import SimulatedWorld

SCRIPT = """worlds: sim kernel

Prose with a capital letter,
of two lines.

# so is this

config {"runner": {"name": "activebackup"},
  "ports": {"eth1": {}}
}
port eth1
start
----
+0.000 write   set mode to activebackup

state runner.active_port
----
"eth1"
"""


def test_the_example_of_the_document() -> None:
    document = (Path(__file__).parents[2] / "docs/scenarios.md").read_text()
    story = dedent(document[document.index("    worlds: sim kernel") : document.index("- Paragraphs are")]).strip()
    assert story.split("\n\n")[-1] == scenario.run(story, SimulatedWorld).strip().split("\n\n")[-1]


def test_paragraphs() -> None:
    script = scenario.parse(SCRIPT)
    assert script.worlds == {"sim", "kernel"}
    blocks = [part for part in script.parts if isinstance(part, Paragraph)]
    assert [[command.text.split()[0] for command in block.commands] for block in blocks] == [
        ["config", "port", "start"],
        ["state"],
    ]
    assert [[command.line for command in block.commands] for block in blocks] == [[8, 11, 12], [16]]
    assert blocks[0].commands[0].text.count("\n") == 2
    assert blocks[0].expected == ("+0.000 write   set mode to activebackup",)


def test_a_transcript_is_a_script_that_holds() -> None:
    transcript = scenario.run(SCRIPT, SimulatedWorld)
    assert scenario.run(transcript, SimulatedWorld) == transcript
    assert scenario.check(transcript, SimulatedWorld) == []
    assert transcript.startswith(
        "worlds: sim kernel\n\nProse with a capital letter,\nof two lines.\n\n# so is this\n\nconfig {"
    )


def test_differences_are_shown_with_their_place() -> None:
    transcript = scenario.run(SCRIPT, SimulatedWorld).replace('"eth1"\n', '"eth7"\n')
    assert scenario.check(transcript, SimulatedWorld)[-3:] == [
        "line 26: state runner.active_port",
        '  - "eth7"',
        '  + "eth1"',
    ]


def test_the_story_has_no_times_no_writes_and_no_counts() -> None:
    lines = (
        "+0.000 write   set mode to x",
        "+1.250 info    eth1: up.",
        "+9.000 denied  No: no.",
        '{"a": 1}',
        "sent 3 on eth1: x",
    )
    assert scenario.story(lines) == ("info eth1: up.", "denied No: no.", '{"a": 1}')


def test_how_many_ports_are_seen_to_leave_a_removed_device_is_no_story() -> None:
    """Batches of the kernel's messages end anywhere. Where the device stays, each port that leaves is told."""
    leaving = ("+0.000 warning eth1: is no port of the team any more", '+0.000 warning Changed active port to "eth2".')
    assert scenario.story((*leaving, "+0.000 warning Team device removal detected.")) == (scenario.REMOVED,)
    assert len(scenario.story(leaving)) == 2


def test_a_loose_comparison_forgives_writes_and_times_only() -> None:
    transcript = scenario.run(SCRIPT, SimulatedWorld)
    later = transcript.replace("+0.000", "+0.125").replace("set mode to", "change mode to")
    assert scenario.check(later, SimulatedWorld)
    assert scenario.check(later, SimulatedWorld, exact=False) == []
    assert scenario.check(later.replace("Changed active port", "Chose"), SimulatedWorld, exact=False)


def test_notes_of_several_teams_have_no_order_among_each_other() -> None:
    """Each team's own have."""
    mixed = (
        "+0.000 info    team1: c",
        "+0.000 warning team0: a",
        "+0.000 info    team0: b",
        "x",
        "+0.000 info    e: d",
    )
    told = scenario.story(mixed, {"team0", "team1"})
    assert told == ("warning team0: a", "info team0: b", "info team1: c", "x", "info e: d")
    assert scenario.story(mixed)[0] == "info team1: c"


TWO_TEAMS = """
port eth1
port eth2
config {"runner": {"name": "roundrobin"}, "ports": {"eth1": {}}}
team team1
config {"runner": {"name": "broadcast"}, "ports": {"eth2": {}}}
serve"""


def test_a_fault_of_one_team_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(self: Broadcast, *_: object) -> None:
        raise RuntimeError("a fault of ours")

    world = SimulatedWorld()
    session = ScenarioSession(world)
    for line in TWO_TEAMS.strip().splitlines():
        scenario.perform(session, scenario.Command(0, line))
    session.gather()
    session.begin()
    monkeypatch.setattr(Broadcast, "handle", crash)
    for line in ("link eth2 down", "link eth1 down"):
        scenario.perform(session, scenario.Command(0, line))
    told = session.end()
    assert [line for line in told if " write " not in line] == [
        "+0.000 broken  team1: RuntimeError('a fault of ours')",
        "+0.000 warning team1: eth2: ethtool-link went down.",
        "+0.000 warning team0: eth1: ethtool-link went down.",
    ], told
    assert not world.serves()
    world.team_name = "team0"
    assert world.serves()


def test_a_configuration_may_be_yaml() -> None:
    script = (
        "config\n  runner:\n    name: broadcast\n  ports: {eth1: {}}\nport eth1\nstart\n\nstate setup.runner_name\n"
    )
    assert scenario.run(script, SimulatedWorld).endswith('state setup.runner_name\n----\n"broadcast"\n')


WITHOUT_ARGUMENTS = ("kill", "restart", "stop", "overrun", "kernel-accepts", "view", "options", "diff", "notes")
ERRORS = [
    ("stat", "line 1: unknown command 'stat' (known: add, admin, apply, arp, "),
    ("Prose.\n\nport eth1\nport eth1", "line 4: port: eth1 exists"),
    ("port", "line 1: port: write: port NAME [speed MBPS] [half]"),
    ("port eth1 fast 100", "line 1: port: write: port NAME"),
    ("port eth1 speed fast", "line 1: port: 'fast' is not a whole number"),
    ("link eth1 up", "line 1: link: there is no interface 'eth1'"),
    ("port eth1\nlink eth1 sideways", "line 2: link: 'sideways' is neither 'up' nor 'down'"),
    ("port eth1\nmac eth1 zz", "line 2: mac: 'zz' is not a hardware address"),
    ("port eth1\nmac eth1 01:00:00:00:00:01", "line 2: mac: the kernel refuses: EADDRNOTAVAIL"),
    ("at 5", "line 1: at: write: at +SECONDS"),
    ("at +soon", "line 1: at: 'soon' is not a number"),
    ("at +inf", "line 1: at: 'inf' is not a number from 0 on"),
    ("at +-1", "line 1: at: '-1' is not a number from 0 on"),
    ("port eth1\ndelay eth1 nan", "line 2: delay: 'nan' is not a number from 0 on"),
    ("start\noption notify_peers_count --5", "line 2: option: the kernel refuses: ENOENT"),
    ("start\noption notify_peers_count \u00b2", "line 2: option: the kernel refuses: ENOENT"),
    (f"start\noption notify_peers_count {'9' * 5000}", "line 2: option: the kernel refuses: ENOENT"),
    ("until noon", "line 1: until: write: until quiet"),
    ("state", "line 1: state: the daemon does not run"),
    ("options", "line 1: options: there is no team0"),
    ("start -x", "line 1: start: write: start [-o] [-n] [-N]"),
    ("serve -x", "line 1: serve: write: serve [-o] [-n] [-N]"),
    ("start\nteam team1\nstate", "line 3: state: the daemon does not run"),
    ("config {}\nserve\nserve", "line 3: serve: the daemon runs already"),
    ("device br0 switch", "line 1: device: write: device NAME KIND [on LINK]"),
    ("device br0 bridge on eth1", "line 1: device: write: device NAME KIND [on LINK]"),
    ("port eth1\nsay eth1 xyz", "line 2: say: 'xyz' is not hexadecimal"),
    ("start\nstart", "line 2: start: the daemon runs already"),
    ("start\nkill\nstart", "line 3: start: team0 exists already; use start -o"),
    ("config {\nstart", "line 2: start: "),
    ('config {"runner": {"name": "nonsense"}}\nstart', "line 2: start: "),
    ("start\noption nonsense 5", "line 2: option: the kernel refuses: ENOENT"),
    ("start\noption priority of eth1", "line 2: option: write: option NAME [of PORT] [at INDEX] VALUE"),
    ("start\nkernel-refuses everything", "line 2: kernel-refuses: write: kernel-refuses WHAT"),
    ("start\nkernel-refuses mode once ENOSUCH", "line 2: kernel-refuses: 'ENOSUCH' is not the name of an error"),
    ("start\nset runner", "line 2: set: write: set PATH VALUE"),
    *((f"start\n{word} eth1", f"line 2: {word}: write: {word}") for word in WITHOUT_ARGUMENTS),
    ("portconfig eth1 {", "line 1: portconfig: not JSON: "),
    ("port eth1\narp eth1 somewhere on", "line 2: arp: 'somewhere' is not an address"),
    ("hold everything", "line 1: hold: 'everything' is neither 'link' nor 'team'"),
]


@pytest.mark.parametrize(("text", "message"), ERRORS, ids=[error[0].replace("\n", " ; ")[:60] for error in ERRORS])
def test_errors_are_one_line_with_the_place(text: str, message: str) -> None:
    with pytest.raises(ScriptError) as caught:
        scenario.run(text, SimulatedWorld)
    assert str(caught.value).startswith(message)
