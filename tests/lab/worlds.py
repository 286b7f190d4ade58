"""The worlds a lab job can run in, and what each needs.

`host`  this machine's own kernel, when it has the team driver and we are root: fresh network, mount and
        process namespaces, so nothing of the machine is touched and every daemon left behind dies with the job.
`uml`   user-mode Linux: a kernel that is an ordinary program and uses the machine's files read-only (hostfs). Debian's own.
`uml-new`  the same of the newest Debian there is, beside the system with a C library of its own.
`kvm`   QEMU's PC with the processor's help. Correctness only, never figures.
`qemu`  QEMU's emulated PC without KVM, root over 9p: slow, but computing and system calls are slowed down
        alike, so ratios between two programs hold. This is the world for measurements. Its clock can be made to
        count instructions, so that what else runs on the machine does not show.

`systemd`  user-mode Linux again, but with a whole Debian in it: systemd, D-Bus and NetworkManager as they come. The job is a
        service there and sees none of the machine's files but the repository. On the newest user-mode Linux where there is one.
`systemd-trixie`, `systemd-sid`  the same with Debian 13 and sid.

A world answers two questions: what is missing here, and which command boots it. Nothing is started from this
file but the question to the kernel whether it knows the team driver. Whether a guest really boots: trial.py.
"""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
INIT = HERE / "guest-init"
SYSTEMD_INIT = HERE / "systemd-init"
UML_MODULES = Path("/usr/lib/uml/modules")
WHOLE = ("systemd", "systemd-trixie", "systemd-sid")
"""Worlds with a Debian of their own."""
WORLDS = ("host", "uml", "uml-new", "kvm", "qemu", *WHOLE)
AUTO = ("host", "uml", "uml-new", "kvm", "qemu")
"""In the order in which `auto` tries them."""

QUICKER = "seccomp=auto"
"""Newer user-mode Linux reaches its processes with half of ptrace's context switches; where this host does not allow that, by ptrace."""

QEMU_MODULES = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p")
# With a counted clock the guest's time is its instructions: 2**shift ns for each, and real time only while it is idle.
COUNTED_SHIFT = 1
CPIO_FILE = 0o100644
CPIO_PROGRAM = 0o100755
CPIO_DIRECTORY = 0o040755


@dataclass(frozen=True, slots=True)
class Boot:
    """What a guest gets: `out_fd` and `err_fd` are the write ends of the pipes for the job's output."""

    ctl: Path
    out_dir: Path
    cpus: int
    mem_mb: int
    counted: bool
    out_fd: int
    err_fd: int


@dataclass(frozen=True, slots=True)
class Launch:
    """How a guest is started: the command, additional environment variables, and the directory."""

    argv: list[str]
    env: dict[str, str]
    cwd: Path | None = None


def cache_dir() -> Path:
    """What setup.sh keeps: $LAB_CACHE, else in the user's cache directory."""
    if chosen := os.environ.get("LAB_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyteamd-lab"


def kernel_dir() -> Path:
    """Where setup.sh unpacks the QEMU kernel."""
    return cache_dir() / "kernel"


def suite_of(world: str) -> str:
    """What setup.sh puts behind the names of this world's things: "" for Debian 12, else "-" and the suite."""
    return world.removeprefix("systemd")


def tree_dir(world: str = "systemd") -> Path:
    """Where setup.sh keeps the Debian tree of one of the worlds WHOLE."""
    return cache_dir() / f"systemd-root{suite_of(world)}"


def wheels_dir(world: str = "systemd") -> Path:
    """Where setup.sh keeps what pyteamd depends on, for the Python of that tree."""
    return cache_dir() / f"wheels{suite_of(world)}"


def kernel_world(world: str) -> str:
    """The world whose kernel boots. A whole Debian gets the newest, which is quicker; in `make long` Debian 12 has a kernel of its time."""
    if world not in WHOLE:
        return world
    older = world == "systemd" and os.environ.get("PYTEAMD_LONG")
    return "uml" if older or missing("uml-new") else "uml-new"


def uml_new_dir() -> Path:
    """Where setup.sh keeps the newest user-mode Linux: linux.uml, the C library it needs, modules."""
    return cache_dir() / "uml-new"


def shim() -> Path:
    """What setup.sh builds for a CPU whose registers are more than Debian's user-mode Linux knows: see uml-xstate.c."""
    return cache_dir() / "uml-xstate.so"


def missing(world: str) -> str:
    """Say in one phrase why `world` cannot run here; empty when it can."""
    match world:
        case "host":
            return _missing_host()
        case "uml":
            absent = _absent(("linux.uml", "busybox", "modprobe", "ip", "stty"))
            if not modules_dir("uml"):
                absent.append(f"{UML_MODULES}/VERSION")
        case "uml-new":
            absent = _absent(("busybox", "modprobe", "ip", "stty"))
            if not modules_dir("uml-new"):
                absent.append(f"a newer user-mode Linux in {uml_new_dir()}")
        case _ if world in WHOLE:
            if reason := missing(kernel_world(world)):
                return reason
            absent = []
            if not (tree_dir(world) / ".setup").exists():
                absent.append(f"a Debian tree in {tree_dir(world)} (tests/lab/setup.sh nm{suite_of(world)})")
        case "qemu" | "kvm":
            absent = _absent(("qemu-system-x86_64", "busybox", "modprobe", "ip", "stty"))
            if world == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
                absent.append("/dev/kvm (to read and write)")
            if not modules_dir("qemu"):
                absent.append(f"a kernel in {kernel_dir()}")
        case _:
            raise ValueError(f"world {world!r}: allowed are {', '.join(WORLDS)}")
    return f"not found: {', '.join(absent)}" if absent else ""


def modules_dir(world: str) -> Path | None:
    """The directory that holds VERSION/modules.dep for the world's kernel; None when there is none."""
    in_qemu = kernel_dir() / "lib/modules"
    places = {"uml": UML_MODULES, "uml-new": uml_new_dir() / "modules", "qemu": in_qemu, "kvm": in_qemu}
    parent = places.get(world if world in places or world == "host" else kernel_world(world))
    if parent is None or not any(parent.glob("*/modules.dep")):
        return None
    return parent


def kernel_file(world: str) -> Path | None:
    """The kernel that boots; None on the host, or when there is none."""
    if world == "host" or missing(world):
        return None
    if kernel_world(world) == "uml-new":
        return uml_new_dir() / "linux.uml"
    if world in ("qemu", "kvm"):
        return kernel_dir() / f"boot/vmlinuz-{_version(world)}"
    found = shutil.which("linux.uml", path=_path())
    return Path(found) if found else None


def launch(world: str, boot: Boot) -> Launch:
    """How `world` is started."""
    if world == "host":
        return Launch(_host(boot), {"LAB_MACHINE": "host", "LAB_CTL": str(boot.ctl)})
    if world in ("kvm", "qemu"):
        return Launch(_qemu(world, boot), {})
    whole = world in WHOLE
    words = [*_uml(boot, SYSTEMD_INIT), f"LAB_TREE={tree_dir(world)}"] if whole else _uml(boot, INIT)
    memory = {"TMPDIR": str(_memory_dir(boot.mem_mb))}
    if kernel_world(world) == "uml-new":
        # Its loader is named relative to the current directory: see setup.sh.
        return Launch(
            ["./linux.uml", QUICKER, *words[1:]], {**memory, "LD_LIBRARY_PATH": str(uml_new_dir())}, uml_new_dir()
        )
    preload = {"LD_PRELOAD": str(shim())} if shim().exists() else {}
    return Launch(words, {**memory, **preload})


def _missing_host() -> str:
    if os.geteuid() != 0:
        return "not root"
    if absent := _absent(("unshare", "ip")):
        return f"not found: {', '.join(absent)}"
    # The kernel loads the driver by itself when it can; the device goes away with the namespace.
    ask = ["unshare", "-n", "ip", "link", "add", "name", "lab0", "type", "team"]
    answer = subprocess.run(ask, capture_output=True, text=True, check=False)
    return "" if answer.returncode == 0 else f"no team driver ({' '.join(answer.stderr.split())})"


def _absent(programs: Sequence[str]) -> list[str]:
    return [name for name in programs if shutil.which(name, path=_path()) is None]


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _version(world: str) -> str:
    modules = modules_dir(world)
    assert modules is not None, "missing() was not asked"
    return max(modules.glob("*/modules.dep")).parent.name


def _host(boot: Boot) -> list[str]:
    return [
        *("unshare", "--net", "--mount", "--propagation", "private"),
        *("--pid", "--fork", "--kill-child", "--mount-proc", "sh", str(INIT)),
    ]


def _uml(boot: Boot, init: Path) -> list[str]:
    # con0 is the kernel's and guest-init's console; the job has the serial lines, one per stream.
    return [
        *("linux.uml", "rootfstype=hostfs", "rootflags=/", "ro", f"mem={boot.mem_mb}M", f"init={init}"),
        *("quiet", "panic=-1", "con=null", "con0=null,fd:1"),
        *(f"ssl0=null,fd:{boot.out_fd}", f"ssl1=null,fd:{boot.err_fd}"),
        *(f"uml_dir={boot.ctl}/", "umid=uml", "LAB_MACHINE=uml", f"LAB_CTL={boot.ctl}"),
    ]


def _memory_dir(mem_mb: int) -> Path:
    """Where UML keeps its memory: a file it maps executable, so /dev/shm only when that is large enough."""
    for name in ("/dev/shm", os.environ.get("TMPDIR", "/tmp"), "/var/tmp"):
        try:
            state = os.statvfs(name)
        except OSError:
            continue
        roomy = state.f_bavail * state.f_frsize >= mem_mb << 20
        if roomy and not state.f_flag & os.ST_NOEXEC and os.access(name, os.W_OK):
            return Path(name)
    return Path("/tmp")


def _qemu(world: str, boot: Boot) -> list[str]:
    version = _version(world)
    image = boot.ctl / "initramfs"
    image.write_bytes(_initramfs(kernel_dir() / "lib/modules", version))
    words = f"quiet panic=-1 console=ttyS0 LAB_INIT={INIT} LAB_MACHINE=qemu LAB_CTL={boot.ctl}"
    if world == "kvm":
        accelerator: tuple[str, ...] = ("-cpu", "host", "-accel", "kvm")
    elif boot.counted:
        accelerator = ("-cpu", "max", "-accel", "tcg,thread=single", "-icount", f"shift={COUNTED_SHIFT}")
    else:
        accelerator = ("-cpu", "max", "-accel", "tcg,thread=multi")
    return [
        *("qemu-system-x86_64", "-machine", "pc", *accelerator),
        *("-smp", str(boot.cpus), "-m", f"{boot.mem_mb}M", "-nodefaults", "-no-reboot", "-display", "none"),
        *("-kernel", str(kernel_dir() / f"boot/vmlinuz-{version}"), "-initrd", str(image), "-append", words),
        *("-serial", "stdio", "-device", "virtio-serial-pci"),
        *_console(1, boot.out_fd),
        *_console(2, boot.err_fd),
        *_shared("root", Path("/"), readonly=True),
        *_shared("ctl", boot.ctl),
        *_shared("out", boot.out_dir),
    ]


def _console(number: int, fd: int) -> list[str]:
    return [
        *("-chardev", f"file,id=c{number},path=/dev/fd/{fd}"),
        *("-device", f"virtconsole,chardev=c{number}"),
    ]


def _shared(name: str, directory: Path, *, readonly: bool = False) -> list[str]:
    options = f"local,id={name},path={directory},security_model=none,multidevs=remap"
    return [
        *("-fsdev", options + (",readonly=on" if readonly else "")),
        *("-device", f"virtio-9p-pci,fsdev={name},mount_tag={name}"),
    ]


def _initramfs(modules: Path, version: str) -> bytes:
    """A cpio archive: busybox, qemu-init and the modules that mounting the real root needs, in load order."""
    files: list[Path] = []
    for name in QEMU_MODULES:
        ask = ["modprobe", "-d", str(modules.parents[1]), "-S", version, "--show-depends", name]
        for line in subprocess.run(ask, capture_output=True, text=True, check=True).stdout.splitlines():
            verb, path = line.split(maxsplit=2)[:2]
            if verb == "insmod" and Path(path) not in files:
                files.append(Path(path))
    busybox = shutil.which("busybox")
    assert busybox is not None, "missing() was not asked"
    entries: list[tuple[str, int, bytes]] = [
        *((name, CPIO_DIRECTORY, b"") for name in ("bin", "dev", "proc", "machine", "modules")),
        ("bin/busybox", CPIO_PROGRAM, Path(busybox).read_bytes()),
        ("init", CPIO_PROGRAM, (HERE / "qemu-init").read_bytes()),
        ("modules/order", CPIO_FILE, "".join(f"{plain_name(file)}\n" for file in files).encode()),
        *((f"modules/{plain_name(file)}", CPIO_FILE, plain_module(file)) for file in files),
        ("TRAILER!!!", 0, b""),
    ]
    return b"".join(_cpio(number, *entry) for number, entry in enumerate(entries, start=1))


def plain_name(module: Path) -> str:
    """Its name without a mark of compression."""
    return module.name.removesuffix(".xz")


def plain_module(module: Path) -> bytes:
    """Its content: newer Debian compresses modules, and busybox's insmod takes plain ones."""
    content = module.read_bytes()
    return lzma.decompress(content) if module.suffix == ".xz" else content


def _cpio(number: int, name: str, mode: int, content: bytes) -> bytes:
    """One entry of an initramfs: "070701", thirteen fields of 8 hex digits, name and content padded to 4."""
    raw_name = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(raw_name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + raw_name
    return head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4)
