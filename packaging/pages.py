#!/usr/bin/env python3
"""Write the manual pages and shell completions into a directory, from the same tables the programs read.

    python3 packaging/pages.py DIRECTORY

pyteamd.8, pyteamdctl.8, pyteamnl.8, pyteamd.conf.5, and for each command NAME.bash and NAME.zsh.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from pyteamd import __version__
from pyteamd.cli.pyteamd import main as cli
from pyteamd.cli.pyteamd import options
from pyteamd.cli.pyteamdctl import main as ctl
from pyteamd.cli.pyteamdctl import verbs
from pyteamd.cli.pyteamnl import main as nl
from pyteamd.config.document import reference
from pyteamd.linkwatch import WATCHERS
from pyteamd.runners import RUNNERS

FILES_TEXT = """\
.SH FILES
.TP
.I /run/teamd/DEVICE.pid, /run/teamd/DEVICE.sock
The daemon of a device and its control socket.
.TP
.I /run/teamd/DEVICE.lacp.json
With the runner lacp: what a daemon that takes the device over goes on from.
.TP
.I /etc/pyteamd/DEVICE.conf, .json, .yaml
What the unit pyteamd@DEVICE.service reads, the first that is there.
"""
EXIT_TEXT = """\
.SH EXIT STATUS
.TP
.B 0
Success; also the end by a signal, and when the device was deleted by somebody.
.TP
.B 1
Usage, configuration, or the start failed; \\-e: no daemon; \\-k: none, or it does not end.
.TP
.B 2
Failed after a good start.
"""
SIGNALS_TEXT = """\
.SH SIGNALS
.TP
.B SIGHUP
The configuration file is read again: all of it is taken over, or nothing and the log says why.
.TP
.B SIGTERM, SIGINT, SIGQUIT
The end in good order; a second one, at once.
"""
ENVIRONMENT_TEXT = """\
.SH ENVIRONMENT
.TP
.B TEAM_LOG_OUTPUT
stdout, stderr or syslog, unless \\-l says otherwise.
.TP
.B TEAM_EVENT_BUFSIZE
Octets of the receive buffers for events.
.TP
.B PYTEAMD_REALTIME
no leaves the scheduling of a daemon as it is. Otherwise it asks for SCHED_RR, priority 1, so that LACPDUs are sent in time on a busy
machine; that needs CAP_SYS_NICE, or LimitRTPRIO=1 in the unit of the service manager or of NetworkManager.
.TP
.B DBUS_SYSTEM_BUS_ADDRESS
Where the system bus is.
"""
NO_HELP = "See the help of pyteamdctl."
VERB_HELP = {
    "config dump": "The configuration that the daemon holds.",
    "config dump noports": "The same without the ports.",
    "config dump actual": "The configuration with the ports that are there now.",
    "config apply": "Go over to another configuration as a whole, or stay with the present one and say why.",
    "config confirm": "Keep what config apply --confirm brought; without it, it is taken back when the time is over.",
    "config revert": "Take it back at once.",
    "state": "The state of team and ports, for people.",
    "state view": "The same.",
    "state dump": "The state as JSON.",
    "state item get": "One item of the state, for instance runner.active_port.",
    "state item set": "Change an item of the state.",
    "port add": "Add a port.",
    "port remove": "Release a port.",
    "port present": "Exit status 0 if it is a port, else 1.",
    "port config update": "Replace the configuration of a port, or of a link that is to become one.",
    "port config dump": "The configuration of a port.",
    "explain": "Why each port, or one, carries traffic or does not.",
    "diff": "What the kernel shall have against what it has.",
    "history": "What happened lately, and why.",
    "metrics": "Counters and state in the text form that Prometheus reads.",
    "monitor": "Show what happens, as it happens.",
    "watch": "Show the state again and again.",
    "trace save": "Write the recorded steps to a file, for pyteamd replay.",
    "hash": "Bucket and port of a flow.",
    "balance": "What each port sent, and how even that is.",
    "neighbours": "The system at the other end of each cable, as LLDP tells.",
}
Row = tuple[str, str]
"""What is typed, and what it means."""
WITHOUT_TEAM: tuple[Row, ...] = (
    ("list", "All teams whose daemon runs here. (Not in teamdctl.)"),
    (
        "--all command",
        "The same command for each of them; status: the worst, and 0 with a line where none runs. (Not in teamdctl.)",
    ),
)


def roff(text: str) -> str:
    """Text in a manual page."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text[:1] in (".", "'") else text


def entries(rows: Iterable[Row]) -> str:
    """A tagged list."""
    return "".join(f".TP\n.B {roff(typed)}\n{roff(meaning)}\n" for typed, meaning in rows)


def page(name: str, section: int, summary: str, synopsis: str, body: str, also: str) -> str:
    """A whole manual page."""
    head = f'.TH {name.upper()} {section} "" "pyteamd {__version__}" "pyteamd"\n'
    head += f".SH NAME\n{name} \\- {summary}\n"
    if synopsis:
        head += f".SH SYNOPSIS\n.B {name}\n{roff(synopsis)}\n"
    return f"{head}{body}.SH SEE ALSO\n{also}\n"


def daemon_rows() -> list[Row]:
    """Options of the daemon."""
    rows = []
    for flag in options.FLAGS:
        value = f" {flag.metavar}" if flag.metavar else ""
        rows.append((f"-{flag.short}{value}, --{flag.long}{value.replace(' ', '=')}", f"{flag.help}."))
    return rows


def ctl_rows() -> list[Row]:
    """Options of pyteamdctl, from its help."""
    lines = re.findall(r"^ +(-\w) (--\S+) +(.*)$", ctl._OPTIONS_HELP, re.MULTILINE)
    return [(f"{short}, {long}", f"{text}.") for short, long, text in lines]


def verb_rows() -> list[Row]:
    """What pyteamdctl can be told, one row per way to say it."""
    rows = []
    for verb in verbs.VERBS:
        text = VERB_HELP.get(" ".join(verb.words), NO_HELP)
        own = " (Not in teamdctl.)" if verb.extra else ""
        rows.append((" ".join(filter(None, (*verb.words, *verb.params, verb.tail))), text + own))
    return rows


def manuals() -> dict[str, str]:
    """Name → text."""
    also = ".BR pyteamd (8), .BR pyteamdctl (8), .BR pyteamnl (8), .BR pyteamd.conf (5)".replace(", .BR", ",\n.BR")
    commands = [(f"{name}", f"{row.help}.") for name, row in cli.SUBCOMMANDS.items()]
    daemon = (
        ".SH DESCRIPTION\nRuns one team device: watches the links of its ports and tells the kernel's team driver which of them "
        "carry traffic. It takes teamd's place; the command line is the same.\n"
        f".SH OPTIONS\n{entries(daemon_rows())}.SH COMMANDS\nInstead of options, a first word:\n{entries(commands)}"
        f"{SIGNALS_TEXT}{EXIT_TEXT}{ENVIRONMENT_TEXT}{FILES_TEXT}"
    )
    control = (
        ".SH DESCRIPTION\nAsks the daemon of a team device, or tells it something. Every word of a command may be shortened; those of "
        "hash, monitor, watch and config apply only where no argument follows.\n"
        f".SH OPTIONS\n{entries(ctl_rows())}.SH COMMANDS\n{entries(verb_rows())}"
        f".SH WITHOUT A TEAM\n{entries(WITHOUT_TEAM)}"
    )
    direct = (
        ".SH DESCRIPTION\nTalks to the kernel's team driver, past any daemon. Commands may be shortened.\n"
        f".SH OPTIONS\n{entries(nl.OPTION_HELP)}"
        f".SH COMMANDS\n{entries((f'{name} {words}'.strip(), text) for name, words, text in nl.COMMANDS)}"
    )
    config = (
        ".SH DESCRIPTION\nThe configuration of a team device, in JSON as teamd reads it or the same tree in YAML. "
        f"pyteamd example RUNNER prints a commented one.\n.SH KEYS\n{reference(RUNNERS, WATCHERS)}{FILES_TEXT}"
    )
    return {
        "pyteamd.8": page("pyteamd", 8, "team device daemon", "[options] | command [arguments]", daemon, also),
        "pyteamdctl.8": page("pyteamdctl", 8, "control a team daemon", "[options] team command", control, also),
        "pyteamnl.8": page("pyteamnl", 8, "talk to the team driver", "[options] team command", direct, also),
        "pyteamd.conf.5": page("pyteamd.conf", 5, "configuration of a team device", "", config, also),
    }


# -- completion --------------------------------------------------------------------------------------------------------


def bash(
    name: str,
    flags: Sequence[str],
    valued: Sequence[str],
    first: Sequence[str],
    team_first: bool,
    words: Sequence[Sequence[str]],
) -> str:
    """A completion for bash: options (`valued` have an argument), names of devices, then the words of the commands one by one."""
    function = f"_{name}"
    tree = "\n".join(
        f'        "{" ".join(prefix)}") words="{" ".join(follow)}" ;;' for prefix, follow in branches(words)
    )
    teams = '$(for link in /sys/class/net/*; do [ -e "$link/device" ] || echo "${link##*/}"; done)'
    return f"""# bash completion for {name}
{function}() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} words="" said="" team="" skip="" word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        if [ -n "$skip" ]; then skip=""; continue; fi
        case $word in
        {"|".join(valued) or "--"}) skip=yes ;;
        -*) ;;
        *) if [ -z "$team" ] && {"true" if team_first else "false"}; then team=$word; else said="${{said:+$said }}$word"; fi ;;
        esac
    done
    if [ -n "$skip" ]; then
        :  # the argument of an option
    elif [[ $cur == -* ]]; then
        words="{" ".join(flags)}"
    elif [ -z "$team" ] && {"true" if team_first else "false"}; then
        words="{teams}"
    else
        case $said in
{tree}
        esac
        [ -n "$said" ] || words="$words {" ".join(first)}"
    fi
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    [ ${{#COMPREPLY[@]}} -gt 0 ] || [[ $cur == -* ]] || COMPREPLY=($(compgen -f -- "$cur"))
}}
complete -F {function} {name}
"""


def branches(words: Sequence[Sequence[str]]) -> list[tuple[tuple[str, ...], list[str]]]:
    """For every beginning of a command the words that may follow."""
    found: dict[tuple[str, ...], dict[str, None]] = {}
    for command in words:
        for depth, word in enumerate(command):
            found.setdefault(tuple(command[:depth]), {})[word] = None
    return [(prefix, list(follow)) for prefix, follow in found.items()]


def zsh(
    name: str,
    flags: Sequence[str],
    valued: Sequence[str],
    first: Sequence[str],
    team_first: bool,
    words: Sequence[Sequence[str]],
) -> str:
    """The same for zsh, in its own words: bash's completions do not all run under bashcompinit."""
    tree = "\n".join(f'    ("{" ".join(prefix)}") follow=({" ".join(follow)}) ;;' for prefix, follow in branches(words))
    return f"""#compdef {name}
local -a said follow
local team= skip= word
for word in "${{(@)words[2,CURRENT-1]}}"; do
    if [[ -n $skip ]]; then skip=; continue; fi
    case $word in
    ({"|".join(valued) or "--"}) skip=yes ;;
    (-*) ;;
    (*) if [[ -z $team ]] && {"true" if team_first else "false"}; then team=$word; else said+=("$word"); fi ;;
    esac
done
if [[ -n $skip ]]; then
    _files
    return
elif [[ $PREFIX == -* ]]; then
    follow=({" ".join(flags)})
elif [[ -z $team ]] && {"true" if team_first else "false"}; then
    for word in /sys/class/net/*(N); do
        [[ -e $word/device ]] || follow+=("${{word:t}}")
    done
else
    case "${{said[*]}}" in
{tree}
    esac
    (( $#said )) || follow+=({" ".join(first)})
fi
compadd -a follow || [[ $PREFIX == -* ]] || _files
"""


def completions() -> dict[str, str]:
    """Name → text."""
    daemon = [word for flag in options.FLAGS for word in (f"-{flag.short}", f"--{flag.long}")]
    with_value = [word for flag in options.FLAGS if flag.metavar for word in (f"-{flag.short}", f"--{flag.long}")]
    control = [word.partition("=")[0] for typed, _ in ctl_rows() for word in typed.split(", ")]
    direct = [word.partition("=")[0] for typed, _ in nl.OPTION_HELP for word in typed.split()]
    programs: dict[str, tuple[list[str], list[str], list[str], bool, list[tuple[str, ...]]]] = {
        "pyteamd": (daemon, with_value, list(cli.SUBCOMMANDS), False, []),
        "pyteamdctl": (control, ["-Z"], [], True, [verb.words for verb in verbs.VERBS]),
        "pyteamnl": (direct, ["-p", "-a"], [], True, [(name,) for name, _, _ in nl.COMMANDS]),
    }
    return {
        f"{name}.{shell.__name__}": shell(name, *known) for name, known in programs.items() for shell in (bash, zsh)
    }


def main() -> int:
    """Write everything."""
    if len(sys.argv) != 2:
        print("usage: pages.py DIRECTORY", file=sys.stderr)
        return 1
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in {**manuals(), **completions()}.items():
        (directory / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
