"""Alert rules and dashboard: promtool judges the rules, and every metric they name is one that we have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from explain_kit import backup, lacp, told, two_partners
from lldp_kit import lldpdu
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pyteamd.core.silence import LinkCounters
from pyteamd.core.trace import Trace
from pyteamd.model.events import Overrun
from pyteamd.views.metrics import Gauges, text

HERE = Path(__file__).parents[2] / "packaging/prometheus"
PROMTOOL = shutil.which("promtool") or str(HERE.parents[1] / "build/promtool")
NAME = re.compile(r"\bpyteamd_[a-z_]+")


def known() -> dict[str, set[str]]:
    """Names of all samples, and the labels of each."""
    made, _, _ = two_partners(lacp())
    trace = Trace({})
    trace.counted[Overrun.__name__] += 1
    made.hears("eth1", lldpdu(aggregates=True))
    made.hears("eth1", b"")
    spare = told(backup(eth1={}, eth2={}, eth9={}))
    found: dict[str, set[str]] = {}
    ping = told({**backup(), "link_watch": {"name": "arp_ping", "target_host": "192.0.2.1"}})
    counters = {ifindex: LinkCounters(1, 1, 0) for ifindex in made.team.ports}
    made.team.facts.silence.look(counters, {}, lambda ifindex: True, made.world.clock)
    for one in (made, spare, ping):
        for family in text_string_to_metric_families(text([(one.team, trace, Gauges())], one.world.clock)):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_every_metric_that_is_named_exists() -> None:
    names = set(known())
    dashboard = json.loads((HERE / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [str(variable.get("query")) for variable in dashboard["templating"]["list"]]
    assert len(queries) > 12
    for query in queries:
        assert set(NAME.findall(query)) <= names, query
    rules = (HERE / "pyteamd.rules.yml").read_text()
    assert set(NAME.findall(rules)) <= names
    names.add("pyteamd_port_drops_total")  # there once a frame was dropped
    for family in NAME.findall((HERE / "README.md").read_text()):
        assert any(name.startswith(family) for name in names), family


def test_every_label_of_the_dashboard_exists() -> None:
    labels = set().union(*known().values()) | {"instance"}
    for word in re.findall(r"\{\{(\w+)\}\}", (HERE / "dashboard.json").read_text()):
        assert word in labels


@pytest.mark.slow
@pytest.mark.skipif(not Path(PROMTOOL).exists(), reason="no promtool (Debian: prometheus)")
def test_the_rules_alert_when_they_should_and_only_then() -> None:
    for words in (["check", "rules", "pyteamd.rules.yml"], ["test", "rules", "pyteamd.rules.test.yml"]):
        done = subprocess.run([PROMTOOL, *words], cwd=HERE, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not Path(PROMTOOL).exists(), reason="no promtool (Debian: prometheus)")
def test_promtool_reads_our_metrics() -> None:
    made, _, _ = two_partners(lacp())
    shown = text([(made.team, Trace({}), Gauges())], made.world.clock)
    plain = re.sub(r"# (UNIT|EOF).*\n", "", shown)
    for name, kind in re.findall(
        r"# TYPE (\S+) (counter|info)\n", plain
    ):  # promtool knows only the older form of the text
        suffix = "_total" if kind == "counter" else "_info"
        plain = plain.replace(f"# TYPE {name} {kind}\n", f"# TYPE {name}{suffix} {kind.replace('info', 'gauge')}\n")
        plain = plain.replace(f"# HELP {name} ", f"# HELP {name}{suffix} ")
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=plain, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
