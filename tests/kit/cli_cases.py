"""Command lines that end before a kernel is needed; cli_record.py asks the original what it does with them.

python3 tests/kit/cli_record.py        (as root, with libteam's teamd installed; writes golden/cli.json)
"""

from __future__ import annotations

from dataclasses import dataclass

FILES = {
    "ok.json": '{"device":"team7"}',
    "bad.json": "{\n",
    "empty.json": "",
    "array.json": "[]\n",
    "number.json": '{"device":5}\n',
    "debug.json": '{"device":"team7","debug_level":1}\n',
    "blank.json": '{"device":""}',
}
"""In the working directory of every case."""

DEVICE = "team7"


@dataclass(frozen=True, slots=True)
class Case:
    """One command line. `pid` is put into the pid file of team7 first; `{live}` stands for a team daemon's number."""

    line: tuple[str, ...]
    pid: str | None = None
    output: str = ""
    """TEAM_LOG_OUTPUT."""

    @property
    def name(self) -> str:
        """Key in the recording."""
        parts = [repr(word) for word in self.line]
        return " ".join(parts) + (f" pid={self.pid!r}" if self.pid is not None else "") + self.output


def words(*lines: str) -> tuple[Case, ...]:
    """Cases from lines split at blanks; `''` is an empty word."""
    return tuple(Case(tuple("" if word == "''" else word for word in line.split())) for line in lines)


CASES = (
    *words(
        # getopt: unknown, ambiguous, missing and surplus arguments
        *("-q -x", "--bogus", "--bogus=1", "--help=1", "--he", "--d", "--conf x", "--conf=1", "--usock", "--no"),
        *("--no=1", "--deb=1", "--pid-file", "-c", "-t", "-gt", "-ge7", "--=", "--=x", "-l", "--log-output"),
        *("-hZ", "-e --team-dev", "--take-over=yes", "-ondq", "-h -q", "-q -h", "--version=", "---", "-e-"),
        # operands
        *("-- -h", "-h -- x", "-h x", "x -h", "''", "-e -", "x -q", "-", "-e -f ok.json extra"),
        # which command
        *("-h", "-v", "-hv", "-vh", "-ev", "-ve", "-ke", "-k", "-e", "--help", "--version", "--ver", "-gv"),
        # transports that are not there
        *("-Z a -h", "-h -Z a", "--zmq-enable=a", "-v --zmq=b", "-Z a -q"),
        # files
        *("-f missing.json -h", "-h -f missing.json", "-h -f .", "-f missing.json -q", "-q -f missing.json", "-f ''"),
        *("-e -f ok.json", "-e -f bad.json", "-e -f empty.json", "-e -f array.json", "-e -f array.json -t x"),
        *("-e -f number.json", "-e -f number.json -t x", "-e -f debug.json", "-e -f blank.json", "-e -f ."),
        *("-k -f ok.json", "-k -f bad.json", "-k -f number.json", "-e -f bad.json -f ok.json", "-e -f ok.json/x"),
        # configuration as text
        *("-e -c {}", "-e -c {} -t team7", "-e -c ''", "-e -c [", '-e -c {"device":"team7"} -f bad.json'),
        *('-e -c {"device":"team7"} -f missing.json', '-e -c {"device":"a","device":"b"}', "-e -c {} -c {"),
        *('-e -c {"device":"team7","runner":{"name":"bogus"}}', '-k -c {"device":"team7","hwaddr":"x"}'),
        # names and log
        *(
            "-e -t team7",
            "-k -t team7",
            "-k -t team7 -g",
            "-e -t ''",
            "-e -t team7 -t team8",
            "-e -tteam7",
            "-e -t a/b",
        ),
        *("-e -g -f ok.json", "-e -gg -t team7", "-e -l bogus -t team7", "-e -l stdout -f bad.json", "-k -p x.pid"),
        *(
            "-e -l syslog -f bad.json",
            "-e -g -t team7 -p other.pid",
            "-e --team-d=team7 --pid x.pid",
            "-k --team team7",
        ),
        # everything at once
        *("-rodNnUu -e -t team7", "-e -D -t team7 -f bad.json", "-k -t team7 -U -u -n -N -o -r -d"),
    ),
    Case(("-e", "-f", "bad.json"), output="stdout"),
    Case(("-e", "-f", "bad.json"), output="syslog"),
    Case(("-e", "-t", DEVICE), pid="junk\n"),
    Case(("-k", "-t", DEVICE), pid="junk\n"),
    Case(("-e", "-t", DEVICE), pid="1 2\n"),
    Case(("-e", "-t", DEVICE), pid="4194299\n"),
    Case(("-k", "-t", DEVICE), pid="4194299\n"),
    Case(("-e", "-t", DEVICE), pid="0\n"),
    Case(("-e", "-t", DEVICE), pid=""),
    Case(("-k", "-t", DEVICE), pid=""),
    Case(("-e", "-t", DEVICE), pid="{live}\n"),
    Case(("-e", "-t", DEVICE), pid="{live}"),
    Case(("-t", DEVICE), pid="{live}\n"),
    Case(("-d", "-t", DEVICE), pid="{live}\n"),
    Case(("-d", "-f", "ok.json"), pid="{live}\n"),
    Case(("-k", "-t", DEVICE), pid="{live}\n"),
    Case(("-f", "bad.json")),
    Case(("-d", "-f", "bad.json")),
    Case(("-d", "-c", "")),
)
