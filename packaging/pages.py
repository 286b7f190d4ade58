#!/usr/bin/env python3
"""Write the manual pages and shell completions into a directory, from the same tables the programs read.

    python3 packaging/pages.py DIRECTORY

pyteamd.8, pyteamdctl.8, pyteamnl.8, pyteamd.conf.5, and for each command, teamd's names too, NAME.bash, NAME.zsh and NAME.fish.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from pyteamd import __version__
from pyteamd.cli.pyteamd import help as helptext
from pyteamd.cli.pyteamd import main as cli
from pyteamd.cli.pyteamd import options
from pyteamd.cli.pyteamdctl import verbs, watch_view
from pyteamd.cli.pyteamdctl import words as ctl_words
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
.I /run/teamd/DEVICE.unconfirmed.json
While a configuration waits for config confirm: the one before, and when it comes back.
.TP
.I /run/teamd/DEVICE.fault1.jsonl, 2, 3
After a fault of ours that cost a port: the trace, for the report.
.TP
.I /etc/pyteamd/DEVICE.conf, .json, .yaml
What the unit pyteamd@DEVICE.service reads, the first that is there.
"""
EXIT_ROWS = {
    "pyteamd": (
        ("0", "Success; also the end by a signal, and when another program deleted the device."),
        (
            "1",
            "Usage, or the start failed; -e: no daemon; -k: none, or it does not end. As teamd: a wrong configuration, too.",
        ),
        ("2", "Failed after a good start."),
        ("78", "The configuration is wrong; as teamd only with PYTEAMD_EXIT_STATUS=config in the environment."),
    ),
    "commands": (
        ("0", "Done, and nothing is wrong."),
        (
            "1",
            "check: an error, a file that cannot be read, with -s a warning. convert: not done, with --strict also what has no "
            "counterpart. "
            "simulate: a difference or a failed run. replay: another decision. timeline: the page cannot be "
            "written. serve: no team could be started.",
        ),
        ("2", "Usage. replay, timeline: no trace. serve: failed after a good start."),
    ),
    "pyteamdctl": (
        ("0", "Done. --all and list: for every team, or there is none."),
        (
            "1",
            "Usage, no daemon, or refused; port present: no port; diff: something differs. With --all the worst of all teams.",
        ),
        ("255", "With -H: ssh could not connect; else the status of the command there."),
    ),
    "pyteamnl": (("0", "Done."), ("1", "Usage, no such device or option, or the kernel refused.")),
    "pyteamd.conf": (),
}
EXAMPLES = {
    "pyteamd": (
        ("pyteamd example activebackup > team0.yaml", "A commented configuration to begin with."),
        ("pyteamd check team0.yaml", "All that is wrong with it, and what start and reload will do."),
        ("pyteamd -d -o -t team0 -f team0.yaml", "Run it in the background; take the device over if it is there."),
        ("pyteamd -k -t team0", "Stop it."),
        ("pyteamd timeline night.jsonl -o night.html", "Draw what pyteamdctl team0 trace save night.jsonl has kept."),
    ),
    "pyteamdctl": (
        ("pyteamdctl team0 explain", "Why each port carries traffic or does not."),
        (
            "pyteamdctl team0 config apply team0.yaml --confirm 60",
            "Another configuration, taken back unless confirmed within a minute.",
        ),
        ("pyteamdctl team0 config confirm", "Keep it."),
        ("pyteamdctl team0 state item set runner.active_port eth1", "Another active port."),
        (
            "pyteamdctl team0 hash --src 192.0.2.1 --dst 192.0.2.2 --sport 1024 --dport 80",
            "Which port that flow leaves by.",
        ),
        ("pyteamdctl team0 monitor --json | jq .text", "What happens, as it happens."),
        ("pyteamdctl --all metrics", "All teams for Prometheus."),
        ("pyteamdctl -H root@host1 -H root@host2 --all explain", "Two hosts at once."),
    ),
    "pyteamnl": (
        ("pyteamnl team0 getoption activeport", "The option as the kernel has it."),
        ("pyteamnl team0 setoption -p eth1 priority 10", "Set one of a port."),
    ),
    "pyteamd.conf": (
        (
            '{"device": "team0", "runner": {"name": "activebackup"}, "ports": {"eth1": {"prio": 100}, "eth2": {}}}',
            "Two ports, one of them preferred.",
        ),
    ),
}
FORMS_TEXT = """\
.SH ITEM PATHS
The state is a tree, and an item's path its keys with dots between them: runner.active_port, setup.debug_level,
ports.eth1.link.up, ports.eth1.runner.aggregator.selected. A name of a port that has dots stands in double quotes:
ports."eth1.100".link.up. What can be set: setup.debug_level; runner.active_port with activebackup;
ports.PORT.runner.aggregator.selected with lacp; ports.PORT.damping.penalty, to 0.
.SH FLOWS
What hash takes is a frame in hexadecimal, or what is known of one: \\-\\-src and \\-\\-dst (IPv4 or IPv6 addresses), \\-\\-sport
and \\-\\-dport, \\-\\-proto (tcp, udp, sctp or a number), \\-\\-vlan, \\-\\-smac, \\-\\-dmac.
.SH JSON
With \\-\\-json every verb that answers prints one document, with the team, the wall-clock time (UTC) and CLOCK_MONOTONIC;
\\-\\-all makes one of all teams. pyteamd schema NAME prints the schema of each, which is a promise: members stay, others
may come.
.SH MONITOR
Each line is an event: when it happened, what happened, and in brackets the kind of event it followed from. With
\\-\\-json it has the members team, time, monotonic_s, age_s (seconds since), level (debug to error), port (empty for the
team's own), text, cause; a line with missed says how many steps were lost because nobody read.
"""
WATCH_TEXT = """\
.SH WATCH
In a terminal, watch is a live view; into a pipe and with TERM=dumb it prints one picture. Broken ports come first. With \\-\\-all it begins
with the list of all teams. Its keys:
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
no leaves the scheduling of a daemon as it is. Otherwise it asks for SCHED_RR, priority 2, so that LACPDUs are sent in time on a busy
machine; that needs CAP_SYS_NICE, or LimitRTPRIO=2 in the unit of the service manager or of NetworkManager.
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
    "diff": "What the kernel is to have, against what it has.",
    "history": "What happened lately, and why.",
    "metrics": "Counters and state in the text form that Prometheus reads.",
    "monitor": "Show what happens, as it happens.",
    "watch": "A live view of the ports, every second or as often as is wanted; see WATCH.",
    "damping clear": "Forgive a port that flapped: its penalty is gone, and it is used again.",
    "trace save": "Write the recorded steps to a file, TEAM-DATE-TIME.jsonl when none is named, for pyteamd timeline and replay.",
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
    if EXIT_ROWS[name]:
        body += f".SH EXIT STATUS\n{entries(EXIT_ROWS[name])}"
        if name == "pyteamd":
            body += f"The commands, on the other hand:\n{entries(EXIT_ROWS['commands'])}"
    body += f".SH EXAMPLES\n{entries(EXAMPLES[name])}"
    return f"{head}{body}.SH SEE ALSO\n{also}\n"


def daemon_rows() -> list[Row]:
    """Options of the daemon."""
    rows = []
    for option in options.COMMAND_OPTIONS:
        value = f" {option.metavar}" if option.metavar else ""
        rows.append((f"-{option.short}{value}, --{option.long}{value.replace(' ', '=')}", f"{option.help}."))
    return rows


def ctl_rows() -> list[Row]:
    """Options of pyteamdctl, from its help."""
    both = ((ctl_words.OPTIONS_HELP, ""), (ctl_words.OWN_OPTIONS_HELP, " (Not in teamdctl.)"))
    return [
        (f"{short}, {long}", f"{text}.{own}")
        for help_text, own in both
        for short, long, text in re.findall(r"^ +(-\w) (--\S+) +(.*)$", help_text, re.MULTILINE)
    ]


def subcommands() -> str:
    """What each command of pyteamd does and takes, from its own parser."""
    text = ""
    for name in cli.SUBCOMMANDS:
        parser = helptext.parser_of(cli.command(name), f"pyteamd {name}")
        rows = []
        for action in parser._actions:
            value = (
                ""
                if action.nargs == 0
                else f" {action.metavar or '|'.join(map(str, action.choices or (action.dest,)))}"
            )
            typed = ", ".join(f"{option}{value}" for option in action.option_strings) or str(
                action.metavar or action.dest
            )
            rows.append((typed, action.help or ""))
        description = " ".join((parser.description or "").split())
        text += f".SS pyteamd {name}\n{roff(description)}\n{entries(rows)}"
    return f".SH THE COMMANDS IN FULL\n{text}"


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
        f"{subcommands()}{SIGNALS_TEXT}{ENVIRONMENT_TEXT}{FILES_TEXT}"
    )
    control = (
        ".SH DESCRIPTION\nAsks the daemon of a team device, or tells it something. Every word of a command may be shortened; those of "
        "hash, monitor, watch and config apply only where no argument follows.\n"
        f".SH OPTIONS\n{entries(ctl_rows())}.SH COMMANDS\n{entries(verb_rows())}"
        f".SH WITHOUT A TEAM\n{entries(WITHOUT_TEAM)}{FORMS_TEXT}{WATCH_TEXT}{entries(watch_view.HELP)}"
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
# The programs themselves know what may follow (cli/complete.py); a shell only asks, and adds files where it is told to.

BASH = """\
# bash completion for NAME
_NAME() {
    local line cur=${COMP_WORDS[COMP_CWORD]}
    local -a told
    mapfile -t told < <(ASK "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    COMPREPLY=()
    for line in "${told[@]:1}"; do printf -v line %q "${line%%$'\\t'*}"; COMPREPLY+=("$line"); done
    if [[ ${told[0]} == files ]]; then
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$cur")
        compopt -o filenames 2>/dev/null
    fi
    return 0
}
complete -F _NAME NAME
"""
ZSH = """\
#compdef NAME
local line
local -a told names shown
told=("${(@f)$(ASK "${(@)words[2,CURRENT]}" 2>/dev/null)}")
for line in "${(@)told[2,-1]}"; do
    names+=("${line%%$'\\t'*}")
    shown+=("${line/$'\\t'/  }")
done
(( $#names )) && compadd -l -d shown -a names
[[ $told[1] == files ]] && _files
return 0
"""
FISH = """\
# fish completion for NAME
function __NAME_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l told (ASK $words[2..-1] 2>/dev/null)
    string join \\n -- $told[2..-1]
    if test "$told[1]" = files
        __fish_complete_path (commandline -ct)
    end
end
complete -c NAME -f -a '(__NAME_complete)'
"""


def completions() -> dict[str, str]:
    """Name → text; teamd's programs answer no shell, ours answer for them."""
    shells = {"bash": BASH, "zsh": ZSH, "fish": FISH}
    asked = {name: f"{name} --complete" for name in ("pyteamd", "pyteamdctl", "pyteamnl")}
    asked |= {name: f"py{name} --complete={name}" for name in ("teamd", "teamdctl", "teamnl")}
    return {
        f"{name}.{shell}": text.replace("NAME", name).replace("ASK", ask)
        for name, ask in asked.items()
        for shell, text in shells.items()
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
