"""`pyteamdctl -H HOST`: the words arrive there as they were typed; several hosts at once; hostile names of hosts."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from pyteamd.cli.pyteamdctl import main as ctl
from pyteamd.cli.schemas import SCHEMAS

ROOT = Path(__file__).parents[2]
SSH = """\
#!/bin/sh
# ssh [OPTION…] -- HOST COMMAND: a shell of that host
while [ "$1" != -- ]; do case $1 in -T | -t) shift ;; -o) shift 2 ;; *) exit 99 ;; esac; done
shift
host=$1
case $host in *down) echo "ssh: connect to host $host: No route to host" >&2; exit 255 ;; esac
HOST=$host exec sh -c "$2"
"""
THERE = """\
#!/bin/sh
[ "$1" != list ] || { echo "{\\"host\\": \\"$HOST\\"}"; exit 0; }
for word in "$@"; do printf '%s:<%s>\\n' "$HOST" "$word"; done
[ "$2" != diff ] || exit 1
"""


@pytest.fixture(autouse=True)
def _ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("ssh", SSH), ("pyteamdctl", THERE)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def said(*words: str) -> tuple[int, str, str]:
    """Exit code, output, complaints."""
    out, err = io.StringIO(), io.StringIO()
    return ctl.run("pyteamdctl", words, out, err), out.getvalue(), err.getvalue()


def test_one_host_gets_the_words_as_they_were_typed() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pyteamd.cli.pyteamdctl.main import main; sys.exit(main())"
    )
    words = ["-H", "root@one", "team0", "port", "config", "update", "em1", '{"prio": 1}; $(touch hacked)', "it's"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [f"root@one:<{word}>" for word in words[2:]]
    assert done.returncode == 0
    for host, words, status in (("one", ["team0", "diff"], 1), ("down", ["team0", "state"], 255)):
        run = [sys.executable, "-c", code, f"--host={host}", *words]
        assert subprocess.run(run, capture_output=True, check=False).returncode == status


def test_several_hosts_at_once() -> None:
    code, out, err = said("-H", "one", "-Htwo", "-H", "it-is-down", "--all", "explain")
    assert code == 255
    assert out == "== one\none:<--all>\none:<explain>\n== two\ntwo:<--all>\ntwo:<explain>\n== it-is-down\n"
    assert err == "it-is-down: ssh: connect to host it-is-down: No route to host\n"


def test_documents_of_several_hosts_are_one() -> None:
    code, out, _ = said("-H", "one", "-H", "it-is-down", "list", "--json")
    document = json.loads(out)
    jsonschema.Draft202012Validator(SCHEMAS["hosts"]).validate(document)
    assert document["hosts"] == {"one": {"host": "one"}}
    assert "No route" in document["errors"]["it-is-down"]
    assert code == 255


@pytest.mark.parametrize(
    "host",
    [
        *(
            "-oProxyCommand=touch hacked",
            "",
            "-",
            "root@-oProxyCommand=x",
            "-l@one",
            "one;id",
            "$(id)",
            "`id`",
            "one two",
        ),
        *("one\ntwo", "'one'", "@one", "root@", "ssh://one", "\x1b[2J", "hôte"),
    ],
)
def test_what_is_no_host(host: str) -> None:
    assert said("-H", host, "list") == (1, "", f"{host!r} is no host; allowed is [USER@]HOST, as ssh takes it\n")


@pytest.mark.parametrize(
    "host", ["one", "root@one.example", "2001:db8::7", "a_b@fe80::1%eth0", "[::1]", "DOM+user.x@10.0.0.1"]
)
def test_what_is_a_host(host: str) -> None:
    assert said("-H", host, "-H", "two", "team0", "explain")[:2] == (
        0,
        f"== {host}\n{host}:<team0>\n{host}:<explain>\n== two\ntwo:<team0>\ntwo:<explain>\n",
    )


def test_what_never_ends_looks_at_one_host() -> None:
    assert said("-H", "one", "-H", "two", "team0", "monitor")[2] == "monitor and watch look at one host at a time\n"


def test_teamdctl_knows_no_hosts() -> None:
    out, err = io.StringIO(), io.StringIO()
    assert ctl.run("teamdctl", ["-H", "one", "team0", "state"], out, err) == 1
    assert "invalid option -- 'H'" in err.getvalue()
