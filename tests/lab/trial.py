"""Whether a world really boots here, and why a guest died: answers that only a boot gives.

That a kernel's file is there says little: user-mode Linux 6.1 panics where the processor has AMX, and /dev/kvm can be there where no
guest starts. So a world is ready when it has booted and made a team device. The answer is kept, for this kernel file, this
processor and this host's kernel, in the cache directory; when one of them changes, the next run tries again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import worlds

JOB = (
    "sh",
    "-c",
    "uname -r && ip link add name lab0 type team && ip link add name lab1 type veth && ip link set lab1 master lab0"
    " && { teamnl lab0 getoption -p lab1 rx_enabled >/dev/null 2>&1 && echo independent || echo coupled; }",
)
"""What a world must be able to do; it prints the kernel's release, and whether its driver switches receiving and sending apart."""
KINDS = ("coupled", "independent")
LIMIT_S = {"host": 30.0, "uml": 30.0, "uml-new": 30.0, "kvm": 40.0, "qemu": 240.0} | dict.fromkeys(worlds.WHOLE, 120.0)
CAUSES = (
    (
        r"ptrace set fp regs failed",
        "this processor has more registers (AMX) than this kernel saves",
        "tests/lab/setup.sh lab builds what helps",
    ),
    (
        r"symbol lookup error|error while loading shared libraries|version `GLIBC",
        "the kernel does not fit the C library that it was started with",
        "remove the directory 'uml-new' of the cache and run tests/lab/setup.sh lab",
    ),
    (r"Out of memory|oom-kill", "the guest's memory was used up", "give it more: --mem MIB"),
    (
        r"No space left on device|Bus error|[Mm]apping .* failed|Cannot allocate memory",
        "the machine has no room for the guest's memory",
        "free some memory, or set TMPDIR to a directory with room that is not mounted noexec",
    ),
    (
        r"Unable to mount root|No working init found|Requested init .* failed",
        "the guest does not see the machine's files",
        "the repository and its parents must be readable by you",
    ),
)
"""Patterns of console texts, what they mean, and what helps."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one boot: `why` is empty when it went well, `kernel` the release that ran, `kind` one of KINDS."""

    key: str
    why: str = ""
    kernel: str = ""
    kind: str = ""


def remembered(world: str) -> Answer | None:
    """The answer of an earlier boot of the same kernel on the same processor."""
    entry = _load().get(world)
    if not isinstance(entry, dict) or entry.get("key") != key_of(world):
        return None
    return Answer(**{name: str(entry.get(name, "")) for name in ("key", "why", "kernel", "kind")})


def remember(world: str, answer: Answer) -> None:
    """Keep an answer; where nothing can be written, the next run asks again."""
    entries = {**_load(), world: asdict(answer)}
    file = _file()
    new = file.with_name(f"{file.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps(entries, indent=1) + "\n")
        new.replace(file)


def key_of(world: str) -> str:
    """Names the kernel file, what is preloaded into it, the processor and this host's kernel."""
    files = [worlds.kernel_file(world), worlds.shim() if worlds.kernel_world(world) == "uml" else None]
    asked = hashlib.sha256(repr((JOB, worlds.QUICKER)).encode()).hexdigest()[:8]
    return "; ".join([*map(_identity, files), _processor(), os.uname().release, asked])


def cause(console: str, status: int | None) -> str:
    """One clause on why a guest died, with its remedy; `status` is the exit status of its process (negative: signal)."""
    for pattern, meaning, remedy in CAUSES:
        if re.search(pattern, console):
            return f"{meaning}; {remedy}"
    panic = re.search(r"Kernel panic - not syncing: (.*)", console)
    if panic:
        return f"its kernel panicked: {panic[1].strip()}"
    if status is not None and status < 0:
        return f"it was killed by signal {-status}; is the machine short of memory?"
    return "it said nothing of the reason"


def has_amx() -> bool:
    """Whether the processor has AMX, whose registers Debian's user-mode Linux 6.1 does not know."""
    return "amx_tile" in _cpuinfo("flags").split()


def _identity(file: Path | None) -> str:
    if file is None or not file.exists():
        return "none"
    state = file.stat()
    return f"{file} {state.st_size} {state.st_mtime_ns}"


def _processor() -> str:
    return f"{_cpuinfo('model name')}, {len(_cpuinfo('flags').split())} flags"


def _cpuinfo(name: str) -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            label, _, value = line.partition(":")
            if label.strip() == name:
                return value.strip()
    return ""


def _file() -> Path:
    return worlds.cache_dir() / "booted.json"


def _load() -> dict[str, object]:
    try:
        entries = json.loads(_file().read_text())
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def what_to_type(world: str) -> str:
    """The command that gives this machine what the world needs."""
    if world == "host":
        return "modprobe team (as root, where this kernel has the driver)"
    if world in worlds.WHOLE:
        return f"tests/lab/setup.sh lab nm{worlds.suite_of(world)}"
    return f"tests/lab/setup.sh {'bench' if world in ('qemu', 'kvm') else 'lab'}"


def listed(reasons: Sequence[tuple[str, str]]) -> str:
    """Why none of these worlds serves."""
    return "; ".join(f"{world}: {reason}" for world, reason in reasons)
