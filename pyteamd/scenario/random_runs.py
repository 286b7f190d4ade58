"""Random runs: a team on a simulated kernel, and whatever can happen to it, in an order that only the seed knows.

How it works. A seed gives a list of scenario commands (`generate`), which is performed in a simulated world (`perform`). After each
command the invariants must hold and, unless messages are held back, what the team observed must be what the kernel has. At the end
faults are taken away, time passes, and the kernel must be as the team desires; and a trace that is not too long, replayed, must lead to the
same decisions. A failing list is shortened and printed as a scenario, so a failure is a file that anybody can run. A command that makes no
sense at the time (a link that is not there) does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from pyteamd.config.config import Config
from pyteamd.core.reconcile import reconcile
from pyteamd.core.team import Team
from pyteamd.model.desired import Observed
from pyteamd.model.errors import KernelGone, KernelRefused, UserError
from pyteamd.runners.activebackup import ActiveBackup
from pyteamd.scenario import script as scenario
from pyteamd.scenario.actions import ACTIONS
from pyteamd.scenario.replay import replay
from pyteamd.scenario.session import ScenarioSession
from pyteamd.scenario.shrink import shrink
from pyteamd.scenario.simulated import SimulatedWorld, load_config
from pyteamd.scenario.world import DEVICE, CommandError
from pyteamd.sim.net import Dice
from pyteamd.sim.team import Refusal, SimTeam
from pyteamd.values import dataclass

STEPS = 40
EXTRA_PORTS = ("eth8", "eth9")
LONG_S = 200
"""Longer than every delay and back-off."""
REPLAYED = 1000
"""Longer traces than this, of hosts that are asked again and again, are not replayed: it takes as long as the run."""
CRASHES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    KernelGone,
    KernelRefused,
    Refusal,
    UserError,
)
"""Exceptions that mean a fault in the core."""

SPEEDS = ("10", "1000", "10000")
PAUSES = ("0", "0.001", "0.1", "0.5", "1", "2.6", "10")
REFUSABLE = ("enable", "disable", "activeport", "address", "enslave", "release", "user_linkup", "priority")
ERRNOS = ("EBUSY", "EINVAL", "EPERM", "ENODEV", "ENOENT")


class Broken(AssertionError):
    """Something that must hold does not."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed that failed, why, and the shortest scenario found that fails too."""

    seed: int
    problem: str
    script: str

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.problem}\n\n{self.script}"


def simulate_random(config: str, seeds: Iterable[int], steps: int = STEPS) -> Iterator[Failure]:
    """Run each seed with this configuration (JSON or YAML); yields the failures, shortened. ConfigError."""
    loaded = load_config(config)
    names = tuple(loaded.port_names()) or ("eth1", "eth2")
    targets = hosts_in(loaded, names)
    for seed in seeds:
        dice = Dice(seed)
        beginning = [f"port {name} speed {dice.choice(SPEEDS)}" for name in (*names, *EXTRA_PORTS)]
        beginning += [f"batches {seed}"]
        beginning += [f"arp {name} {target} on" for name in names for target in targets]
        happenings = list(generate(dice, (*names, *EXTRA_PORTS), steps, targets))
        problem = perform(config, beginning, happenings)
        if problem:
            shorter = shrink(happenings, lambda rest, first=beginning: bool(perform(config, first, rest)))  # type: ignore[misc]
            problem = perform(config, beginning, shorter) or problem
            yield Failure(seed, problem, script_of(config, beginning, shorter))


def script_of(config: str, beginning: Sequence[str], happenings: Sequence[str]) -> str:
    """The run as a scenario, settling down included."""
    indented = "\n  ".join(config.strip().splitlines())
    return (
        "\n\n".join(
            ("\n".join((f"config {indented}", *beginning, "start")), *happenings, "\n".join(SETTLE), "view", "diff")
        )
        + "\n"
    )


def hosts_in(config: Config, names: Sequence[str]) -> tuple[str, ...]:
    """The hosts that these ports' watchers ask."""
    watched = (keys for name in names for _, keys in config.port(name).watchers)
    return tuple(sorted({host for keys in watched for host in getattr(keys, "hosts", ())}))


def generate(dice: Dice, names: Sequence[str], steps: int, targets: Sequence[str] = ()) -> Iterator[str]:
    """Scenario commands by chance. `targets`: hosts that answer, or do not."""
    kinds = [kind for kind, weight in KINDS for _ in range(weight)]
    kinds += [lambda dice, name: f"arp {name} {dice.choice(targets)} {dice.choice(('on', 'off'))}"] * (
        8 * bool(targets)
    )
    for _ in range(steps):
        yield dice.choice(kinds)(dice, dice.choice(names))


def _link(dice: Dice, name: str) -> str:
    return f"link {name} {dice.choice(('up', 'down'))}"


def _admin(dice: Dice, name: str) -> str:
    return f"admin {name} {dice.choice(('up', 'down'))}"


def _pause(dice: Dice, name: str) -> str:
    return f"at +{dice.choice(PAUSES)}"


def _option(dice: Dice, name: str) -> str:
    switch = dice.choice(("enabled", "enabled", "user_linkup", "user_linkup_enabled"))
    return dice.choice(
        (
            f"option {switch} of {name} {dice.choice(('true', 'false'))}",
            f"option activeport {name}",
            f"option priority of {name} {dice.below(5) - 2}",
            f"option queue_id of {name} {dice.below(3)}",
        )
    )


def _user(dice: Dice, name: str) -> str:
    return dice.choice(
        (
            f"set runner.active_port {name}",
            f"add {name}",
            f"remove {name}",
            f'portconfig {name} {{"prio": {dice.below(5)}}}',
            f'portconfig {name} {{"prio": {dice.below(5)}, "sticky": true}}',
        )
    )


def _address(dice: Dice, name: str) -> str:
    return f"mac {dice.choice((name, name, DEVICE))} 02:aa:00:00:00:0{dice.below(10)}"


def _existence(dice: Dice, name: str) -> str:
    gone = dice.choice((f"delete {name}", f"delete {name}", f"move {name}", f"rename {name} old-{name}"))
    back = dice.choice((f"port {name}", f"port {name}", f"rename old-{name} {name}"))
    return dice.choice((gone, back, f"remake {name} {1 + dice.below(5)}"))


def _master(dice: Dice, name: str) -> str:
    return f"master {name} {dice.choice((DEVICE, ''))}".strip()


def _messages(dice: Dice, name: str) -> str:
    family = dice.choice(("link", "team"))
    return dice.choice((f"hold {family}", f"release {family}", f"release {family}", "overrun"))


def _fault(dice: Dice, name: str) -> str:
    what, times = dice.choice(REFUSABLE), dice.choice(("once", "once", "always"))
    return dice.choice((f"kernel-refuses {what} {name} {times} {dice.choice(ERRNOS)}", "kernel-accepts"))


def _restart(dice: Dice, name: str) -> str:
    return dice.choice(("restart", "restart", "kill", "start -o"))


KINDS: Sequence[tuple[Callable[[Dice, str], str], int]] = (
    (_link, 12),
    (_pause, 8),
    (_option, 5),
    (_user, 4),
    (_messages, 4),
    (_admin, 2),
    (_address, 2),
    (_existence, 3),
    (_master, 2),
    (_fault, 2),
    (_restart, 1),
)
"""What can happen, and how often."""

SETTLE = ("kernel-accepts", "release link", "release team", f"at +{LONG_S}")


def perform(config: str, beginning: Sequence[str], happenings: Sequence[str]) -> str:
    """Run the commands in a new world; returns what went wrong, "" when nothing did."""
    world = SimulatedWorld()
    session = ScenarioSession(world)
    session.configs[world.team_name] = config
    try:
        for command in (*beginning, "start"):
            scenario.perform(session, scenario.Command(0, command))
        for command in (*happenings, *SETTLE):
            attempt(session, command)
            look(world)
        if not world.serves():
            for name in {line.split()[1] for line in beginning if line.startswith("port ")}:
                attempt(session, f"admin {name} down")  # up, a configured port would fail the start
            attempt(session, "start -o")
            attempt(session, f"at +{LONG_S}")
        look(world)
        look_at_the_end(world)
    except CRASHES as problem:
        return f"{type(problem).__name__}: {problem}"
    return ""


def attempt(session: ScenarioSession, command: str) -> None:
    """Run a command that may make no sense now."""
    word, rest = [*command.split(None, 1), ""][:2]
    try:
        ACTIONS[word](session, rest)
    except CommandError:
        return


def look(world: SimulatedWorld) -> None:
    """The invariants were checked by the daemon; what it knows and observed must be what the kernel has. Raises Broken.

    A team that is served beside others is not told of links that are of no concern to it.
    """
    for item in world.happened():
        if item.kind == "broken":
            raise Broken(item.text)
    if not world.serves() or world.kernel.pending():
        return
    team = world.running().team
    facts, ours = team.facts, {*team.ports, team.view.ifindex}
    alone = len(world.running().daemon.served) == 1
    if ghosts := [ifindex for ifindex in facts.links if ifindex not in world.kernel.links]:
        raise Broken(f"links are known that are no more: {ghosts}")
    observed, real = facts.observed, really(world)
    for what in ("options", "macs", "members"):
        seen, there = getattr(observed, what), getattr(real, what)
        for key in seen.keys() | (there.keys() if what == "options" else set()):
            if seen.get(key) != there.get(key) and (alone or what == "options" or key in ours):
                raise Broken(f"{what}: {key} is {there.get(key)!r}, but observed is {seen.get(key)!r}")
    if observed.carrier is not None and observed.carrier != real.carrier:
        raise Broken(f"carrier is {real.carrier}, but observed is {observed.carrier}")


def look_at_the_end(world: SimulatedWorld) -> None:
    """With nothing in the way, the kernel must be as desired, and every port of the kernel one of ours. Raises Broken."""
    if not world.serves():
        raise Broken("the daemon does not run")
    team, trace = world.running().team, world.running().pump.trace
    if len(trace) < REPLAYED and (difference := replay(trace.lines())[1]):
        raise Broken(f"the trace says something else than it did: {difference.text()}")
    left = reconcile(team.desired(), really(world))
    if left:
        raise Broken(f"at the end there is still to write: {', '.join(map(str, left))}")
    device = world.device()
    for ifindex in device.ports.keys() ^ team.ports.keys():
        raise Broken(f"{world.name_of(ifindex)}: kernel and team do not agree whether it is a port")
    for ifindex, port in device.ports.items():
        ours = team.ports[ifindex]
        if (ours.name, ours.mac, ours.running) != (port.link.name, port.link.mac, port.link.running):
            raise Broken(f"{port.link.name}: the team has an old picture of it")
    if isinstance(team.runner, ActiveBackup) and not team.runner.chosen_by_user:
        look_at_active_port(world, device, team)


def look_at_active_port(world: SimulatedWorld, device: SimTeam, team: Team) -> None:
    """Judged by the kernel alone: the best port whose link is up carries the traffic, and no other. Raises Broken.

    Whether the hosts answer that a port asks is not the kernel's knowledge; there the verdict it was told counts.
    """
    enabled = [ifindex for ifindex, port in device.ports.items() if port.enabled]
    asking = {i for i, port in team.ports.items() if any(watcher.frees_kernel_link for watcher in port.watchers)}
    usable = {
        i: (port.priority, port.link.speed_mbps)
        for i, port in device.ports.items()
        if (port.user_linkup if i in asking else port.link.running)
    }
    if not usable:
        if enabled:
            raise Broken(f"no link is up, yet {', '.join(map(world.name_of, enabled))} is enabled")
        return
    if enabled != [device.active]:
        raise Broken(
            f"active is {world.name_of(device.active)}, enabled {', '.join(map(world.name_of, enabled)) or 'none'}"
        )
    if device.active not in usable:
        raise Broken(f"active port {world.name_of(device.active)} has no link, another has")
    better = [i for i, rank in usable.items() if rank > usable[device.active]]
    if better and not team.ports[device.active].config.sticky:
        raise Broken(f"{world.name_of(better[0])} is better than the active {world.name_of(device.active)}")


def really(world: SimulatedWorld) -> Observed:
    """The kernel as it is, in the team's terms."""
    device = world.device()
    links = [link for link in world.kernel.links.values() if link.here]
    return Observed(
        options={seen.key: seen.value for seen in device.options()},
        macs={link.ifindex: link.mac for link in links},
        members={link.ifindex: link.master == device.link.ifindex for link in links if link is not device.link},
        carrier=device.link.carrier,
    )
