"""Whatever partners said, and whatever settings, links and the kernel became meanwhile: with a partner that is well again all goes on.

Three ports hear LACPDUs of which only some bits are right, from several systems, while links flap and every option changes. Nothing may be
broken after any of these events, and once the partner is well the ports are in service as soon as waiting allows.
"""

from __future__ import annotations

import os
from dataclasses import replace
from random import Random

import pytest
from lacp_bench import Bench, FakePort
from test_lacp_hostile import said
from test_lacp_promises import PORT_CHANGES, RUNNER_CHANGES

from pyteamd.model.desired import OptionKey
from pyteamd.model.events import ConfigApply, OptionSeen
from pyteamd.runners.lacp.keys import POLICY_NAMES, LacpConfig

PORTS = (3, 4, 5)
LONGEST_S = 10.0
SEEDS = 2000 if os.environ.get("PYTEAMD_LONG") else 40


class Trouble:
    """One team, and all that happens to it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.bench = Bench(
            *map(FakePort, PORTS),
            agg_select_policy=self.random.choice(POLICY_NAMES),
            sys_prio=self.random.choice((1, 65535)),
            max_ports=self.random.choice((None, None, 1, 2)),
        )

    def happen(self) -> None:
        """One thing, and some time."""
        bench, ifindex = self.bench, self.random.choice(PORTS)
        match self.random.choice(("frame",) * 7 + ("link", "apply", "mode")):
            case "frame":
                bench.frame(ifindex, said(self.random, bench.actor(ifindex), False))
            case "link":
                bench.ports[ifindex].running = not bench.ports[ifindex].running
                bench.changed(ifindex)
            case "apply" if self.random.random() < 0.5:
                name, values = self.random.choice(list(RUNNER_CHANGES.items()))
                self.apply(replace(bench.runner.config, **{name: self.random.choice(values)}))
            case "apply":
                name, values = self.random.choice(list(PORT_CHANGES.items()))
                port = bench.ports[ifindex]
                port.config = replace(port.config, **{name: self.random.choice(values)})
                port.priority = port.config.prio
                self.apply(bench.runner.config)
            case "mode":
                self.change_mode(ifindex)
        self.look()
        bench.wait(self.random.choice((0.0, 0.01, 0.3, 1.0, 2.1)))
        self.look()

    def apply(self, config: LacpConfig) -> None:
        self.bench.runner.reconfigure(config, self.bench.view, self.bench.now)
        self.bench.handle(ConfigApply(""))

    def change_mode(self, ifindex: int) -> None:
        """The kernel can switch both directions, or can no longer."""
        options = self.bench.observed.options
        for name in ("rx_enabled", "tx_enabled"):
            if options.pop(OptionKey(name, ifindex), None) is None:
                options[OptionKey(name, ifindex)] = True
        self.bench.handle(OptionSeen(OptionKey("enabled", ifindex), True))

    def recover(self) -> None:
        """All links are up, we are active, and one partner speaks well on all of them."""
        bench = self.bench
        for port in bench.ports.values():
            if not port.running:
                port.running = True
                bench.changed(port.ifindex)
        self.apply(replace(bench.runner.config, active=True))
        alike = len({port.config.lacp_key for port in bench.ports.values()}) == 1
        wanted = min(len(PORTS) if alike else 1, bench.runner.config.max_ports or len(PORTS))
        until = bench.now + LONGEST_S + max(port.config.wait_to_restore for port in bench.ports.values())
        while len(bench.sending()) < wanted:
            for ifindex in PORTS:
                bench.hear(ifindex)
                self.look()
            bench.wait(0.5)
            blocked = {i: bench.state(i)["details"]["blocked_by"] for i in PORTS}
            assert bench.now < until, f"seed {self.seed}: {bench.sending()} in service, {wanted} could be: {blocked}"

    def look(self) -> None:
        broken = self.bench.runner.broken(self.bench.view)
        assert broken == [], f"seed {self.seed}, {self.bench.now:.2f} s: {broken}"


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, SEEDS))])
def test_a_partner_that_is_well_again_is_served(seed: int) -> None:
    trouble = Trouble(seed)
    for _ in range(trouble.random.randint(20, 120)):
        trouble.happen()
    trouble.recover()
