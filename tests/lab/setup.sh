#!/bin/sh
# Installs what the project needs on this machine; says one line per thing it does; quick when all is there.
#
#   tests/lab/setup.sh [venv] [lab] [bench] [nm] [nm-trixie] [nm-sid] [package] [oldest] [newest] [selftests]      no word = venv lab bench
#
#   venv    .venv in the repository: the package itself, editable, with its "dev" extras
#   lab     Debian packages for the real-kernel tests: user-mode Linux, C teamd, and the tools the tests call; where the processor has
#           AMX, what user-mode Linux needs there (uml-xstate.c); and the newest user-mode Linux that Debian has, unpacked with its C
#           library into $LAB_CACHE/uml-new: nothing of the system is upgraded, and without it tests that need it are skipped;
#           where Debian's own does not boot, QEMU as in "bench"
#   nm      a Debian tree with systemd, D-Bus and NetworkManager in $LAB_CACHE/systemd-root, and the packages that pyteamd
#           depends on in $LAB_CACHE/wheels, for the tests in a whole Debian; only when named, needs root
#   nm-trixie, nm-sid  the same of Debian 13 and of sid, in systemd-root-trixie and wheels-trixie, …
#   package what makes and judges the Debian packages and RPMs (make deb, make rpm); only when named
#   oldest  .venv-oldest: exactly the lower bounds of pyproject.toml; only when named
#   newest  .venv-newest: the newest Python that Debian has, in $LAB_CACHE/python-new with the libraries it needs, and the newest of
#           the packages that pyteamd depends on; only when named
#   selftests  the kernel's own tests of the team driver and of teamd, of the newest kernel source that Debian has, in build/selftests,
#           and the tools they call; only when named
#   bench   QEMU, and Debian's kernel image unpacked (not installed) into $LAB_CACHE/kernel, or
#           ~/.cache/pyteamd-lab/kernel
#
# Packages need root and Debian (or a system with apt); without, the last lines say exactly what is missing.
# Exit status: 0 all there, 77 something cannot be installed here, 1 an installation failed.
set -eu
cd "$(dirname "$0")/../.."

lab_packages='user-mode-linux libteam-utils kmod iproute2 iputils-ping busybox-static tcpdump dbus procps
    openvswitch-switch frr tshark zsh fish lldpd openssh-client libwrap0'
bench_packages='qemu-system-x86 busybox-static kmod iproute2 libteam-utils procps'
# Looked for by name where there is no dpkg to ask.
lab_commands='linux.uml teamd modprobe ip ping busybox tcpdump dbus-daemon ps ovs-vswitchd tshark zsh fish lldpd ssh'
bench_commands='qemu-system-x86_64 busybox modprobe ip teamd ps'

cache=${LAB_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/pyteamd-lab}
kernel=$cache/kernel
tree_packages='systemd systemd-sysv dbus libpam-systemd network-manager iproute2 kmod python3 python3-venv libteam-utils
    iputils-ping procps busybox-static make man-db python3-trio python3-pyroute2 python3-jeepney python3-yaml
    ifupdown ifenslave'
package_packages='debhelper dh-python pybuild-plugin-pyproject python3-all python3-setuptools python3-pip python3-trio
    python3-pyroute2 python3-jeepney python3-yaml lintian rpm rpmlint netplan.io graphviz'
# What a guest may need of the kernel's modules: all of them would be 400 MB. One tar pattern a word.
module_parts='modules.* kernel/net kernel/lib kernel/crypto kernel/arch kernel/fs/9p kernel/fs/netfs kernel/fs/fscache
    kernel/fs/overlayfs kernel/drivers/virtio kernel/drivers/char/virtio_console.ko* kernel/drivers/net/*.ko*
    kernel/drivers/net/team kernel/drivers/net/bonding kernel/drivers/net/ipvlan'

say() { echo "setup: $*"; }
stop() { # STATUS MESSAGE
    echo "setup: $2" >&2
    exit "$1"
}
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

logged() { # COMMAND…: its output only when it fails
    "$@" >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        return 1
    }
}

refresh_lists() { # once at most; a dead third-party source must not stop us, the installation itself decides
    [ -e "$work/refreshed" ] && return
    : >"$work/refreshed"
    say "refreshing the package lists"
    apt-get -q update >"$work/log" 2>&1 || true
}

absent_packages() { # PACKAGE…
    for package; do
        case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true) in
        installed) ;;
        *) echo "$package" ;;
        esac
    done
}

absent_commands() { # COMMAND…
    for command; do
        command -v "$command" >/dev/null || echo "$command"
    done
}

need_packages() { # WHAT-FOR "PACKAGES" "COMMANDS"
    if ! command -v apt-get >/dev/null; then
        absent=$(absent_commands $3 | tr '\n' ' ')
        [ -z "$absent" ] || stop 77 "$1: this is no Debian; please install what gives the commands: $absent"
        return 0
    fi
    absent=$(absent_packages $2 | tr '\n' ' ')
    [ -n "$absent" ] || return 0
    [ "$(id -u)" = 0 ] || stop 77 "$1: not root; please run: sudo apt-get install $absent"
    say "$1: installing $absent"
    install_packages $absent 2>/dev/null && return 0 # fails when the package lists are absent or old
    refresh_lists
    install_packages $absent || stop 1 "$1: apt-get could not install: $absent"
}

install_packages() {
    DEBIAN_FRONTEND=noninteractive logged apt-get -q -y --no-install-recommends install "$@"
}

usable_python() { # the first interpreter that is new enough and can make a virtual environment
    # The system's before another one in PATH: it is what users have, and often the only one that was built to be quick.
    for python in ${PYTHON:-} /usr/bin/python3 python3; do
        if "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
}

setup_venv() {
    want=$(cat pyproject.toml "$0" | cksum)
    if [ "$(cat .venv/.setup 2>/dev/null)" = "$want" ] && .venv/bin/python -c '' 2>/dev/null; then
        return
    fi
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        python=$(usable_python)
        if [ -z "$python" ] && command -v apt-get >/dev/null; then
            need_packages venv 'python3 python3-venv' ''
            python=$(usable_python)
        fi
        [ -n "$python" ] || stop 77 "venv: no Python 3.11 or newer that can make virtual environments; set PYTHON to one"
        say "venv: creating .venv with $("$python" --version)"
        logged "$python" -m venv --clear .venv || stop 1 "venv: could not be created"
    fi
    say "venv: installing the package and its development tools"
    logged .venv/bin/python -m pip install -q --disable-pip-version-check -e '.[dev]' || stop 1 "venv: pip failed"
    echo "$want" >.venv/.setup
}

setup_shim() { # only processors with AMX need it
    grep -qw amx_tile /proc/cpuinfo 2>/dev/null || return 0
    source=tests/lab/uml-xstate.c
    shim=$cache/uml-xstate.so
    want=$(cksum <"$source") # not its date: every clone has another
    [ -e "$shim" ] && [ "$(cat "$shim.source" 2>/dev/null)" = "$want" ] && return
    need_packages lab 'gcc libc6-dev' gcc
    say "lab: this processor has AMX: building what user-mode Linux needs there"
    mkdir -p "$cache"
    logged gcc -O2 -Wall -shared -fPIC -o "$work/shim.so" "$source" -ldl || stop 1 "lab: $source did not compile"
    mv "$work/shim.so" "$shim"
    echo "$want" >"$shim.source"
}

# Two programs out of packages whose services are not wanted: nothing is installed, and nothing starts.
setup_sshd() {
    { command -v sshd >/dev/null || [ -x build/openssh/usr/sbin/sshd ]; } && return
    if ! (cd "$work" && logged apt-get -q download openssh-server) ||
        ! dpkg-deb -x "$work"/openssh-server_*.deb build/openssh; then
        say "lab: no sshd (Debian: openssh-server) to be had; what asks through ssh is not tested with it"
    fi
}

setup_promtool() { # Prometheus' judge of metrics and rules
    { command -v promtool >/dev/null || [ -x build/promtool ]; } && return
    if ! (cd "$work" && logged apt-get -q download prometheus) ||
        ! dpkg-deb --fsys-tarfile "$work"/prometheus_*.deb | tar -xO ./usr/bin/promtool >build/promtool.new; then
        say "lab: no promtool (Debian: prometheus) to be had; its tests are skipped"
        return
    fi
    chmod +x build/promtool.new
    mv build/promtool.new build/promtool
}

setup_newest() { # a failure is said, and no more: the tests then run on one kernel
    want=$(sed -n '/^setup_newest/,/^}/p' "$0" | cksum)
    [ "$(cat "$cache/uml-new/.setup" 2>/dev/null)" = "$want" ] && return
    if ! command -v apt-get >/dev/null; then
        say "lab: no apt-get to fetch the newest user-mode Linux with; tests on a second kernel are skipped"
        return
    fi
    say "lab: fetching the newest user-mode Linux of Debian (60 MB)"
    private_apt
    new=$cache/uml-new.new
    rm -rf "$new" "$work/new"
    mkdir -p "$new" "$work/new"
    if ! (cd "$new" && logged private apt-get -q update && logged private apt-get -q download user-mode-linux libc6) ||
        ! for deb in "$new"/*.deb; do dpkg-deb -x "$deb" "$work/new" || exit; done; then
        say "lab: the newest user-mode Linux could not be fetched; tests on a second kernel are skipped"
        rm -rf "$new"
        return
    fi
    rm "$new"/*.deb
    mv "$work"/new/usr/lib/uml/modules "$new/modules"
    for library in ld-linux-x86-64.so.2 libc.so.6; do
        cp -L "$work/new/usr/lib/x86_64-linux-gnu/$library" "$new/"
    done
    # The loader is named in the program, with room for 27 letters: beside it, whatever this directory is called.
    sed 's|/lib64/ld-linux-x86-64.so.2\x00|./ld-linux-x86-64.so.2\x00\x00\x00\x00\x00\x00|' "$work/new/usr/bin/linux.uml" >"$new/linux.uml"
    chmod +x "$new/linux.uml"
    say "lab: a second kernel: user-mode Linux $(ls "$new/modules")"
    echo "$want" >"$new/.setup"
    rm -rf "$cache/uml-new"
    mv "$new" "$cache/uml-new"
}

setup_instead() { # QEMU, where no other kernel is of the kind that most users have
    python=.venv/bin/python
    [ -x $python ] || python=$(usable_python)
    [ -n "$python" ] && "$python" tests/lab/lab.py kinds >"$work/kinds" || return 0
    why=$(awk -F '\t' '$1 == "coupled" && $2 == "" { print $3 }' "$work/kinds")
    [ -n "$why" ] || return 0
    [ "$(cat "$kernel/.setup" 2>/dev/null)" = "$(echo "$module_parts" | cksum)" ] && return
    say "lab: no coupled kernel boots here yet: $why"
    (need_packages bench "$bench_packages" "$bench_commands" && setup_kernel) ||
        say "lab: no QEMU to be had; tests on a coupled kernel are skipped"
}

private_apt() { # an apt that knows the newest Debian and leaves this system's alone
    mirror=$(apt-get indextargets --format '$(SITE)' 'Origin: Debian' 'Identifier: Packages' 2>/dev/null | grep -v security | head -n 1)
    mkdir -p "$work/apt/parts" "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
    : >"$work/apt/status"
    cat >"$work/apt/parts/newest.sources" <<END
Types: deb
URIs: ${mirror:-http://deb.debian.org/debian}
Suites: sid testing
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
    cat >"$work/apt/apt.conf" <<END
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$work/apt/parts";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "$work/apt/lists";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt/cache";
APT::Sandbox::User "root";
Acquire::Languages "none";
END
}

private() { # COMMAND…
    APT_CONFIG="$work/apt/apt.conf" "$@"
}

pip_into() { # DIRECTORY ARGUMENT…: the pip of .venv installs into another environment
    target=$1
    shift
    logged .venv/bin/python -m pip --python "$target/bin/python" install -q --disable-pip-version-check "$@"
}

bounds() { # the lower bounds as exact versions, one a word; what only checks the code is left out
    sed -n '/^dependencies/,/^]/p;/^dev = /,/^]/p;/^requires = /p' pyproject.toml |
        sed -n 's/.*"\([a-zA-Z0-9_-]*\)>=\([0-9.]*\).*/\1==\2/p' | grep -Ev '^(mypy|ruff|build|sphinx|furo|myst-parser)='
}

setup_oldest() { # what cannot be had is said; the lane is skipped then
    want=$(cat pyproject.toml "$0" | cksum)
    [ "$(cat .venv-oldest/.setup 2>/dev/null)" = "$want" ] && return
    say "oldest: installing" $(bounds)
    rm -rf .venv-oldest
    if ! logged .venv/bin/python -m venv .venv-oldest || ! pip_into .venv-oldest $(bounds) wheel ||
        ! pip_into .venv-oldest --no-deps --no-build-isolation -e .; then
        say "oldest: could not be installed; its tests are skipped"
        rm -rf .venv-oldest
        return
    fi
    echo "$want" >.venv-oldest/.setup
}

setup_newest_python() { # the same
    want=$(cat pyproject.toml "$0" | cksum)
    [ "$(cat .venv-newest/.setup 2>/dev/null)" = "$want" ] && return
    fetch_python || {
        say "newest: no newer Python could be fetched; its tests are skipped"
        return 0
    }
    rm -rf .venv-newest
    # The pip of .venv may be older than this Python can run.
    if ! logged "$cache"/python-new/usr/bin/python3 -m venv --without-pip .venv-newest ||
        ! logged .venv/bin/python -m pip install -q --disable-pip-version-check --target "$work/pip" pip ||
        ! logged .venv-newest/bin/python "$work/pip/pip" install -q --disable-pip-version-check \
            $(bounds | sed 's/==.*//') build -e .; then
        say "newest: the libraries could not be installed; its tests are skipped"
        rm -rf .venv-newest
        return
    fi
    say "newest: $(.venv-newest/bin/python --version), $(.venv-newest/bin/python -c 'import trio; print("trio", trio.__version__)')"
    echo "$want" >.venv-newest/.setup
}

fetch_python() { # Debian's newest beside the system: loader and libraries are its own
    new=$cache/python-new
    command -v apt-get >/dev/null || return
    if [ ! -e "$new/.setup" ]; then
        need_packages newest patchelf patchelf
        say "newest: fetching the newest Python of Debian (25 MB)"
        private_apt
        rm -rf "$new"
        mkdir -p "$work/debs/partial" "$new"
        logged private apt-get -q update || return
        logged private apt-get -q -y -o Dir::Cache::archives="$work/debs" --no-install-recommends --download-only \
            install python3-venv || return
        for deb in "$work"/debs/*.deb; do
            dpkg-deb -x "$deb" "$new" || return
        done
        libraries=$new/usr/lib/x86_64-linux-gnu
        patchelf --set-interpreter "$libraries/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$libraries" \
            "$(readlink -f "$new/usr/bin/python3")" || return
        echo done >"$new/.setup"
    fi
    "$new/usr/bin/python3" -c 'import ssl, ctypes, venv'
}

setup_selftests() {
    [ -e build/selftests/.setup ] && [ -z "$(absent_commands mausezahn arping)" ] && return
    need_packages selftests 'iperf3 ethtool jq bc xz-utils netsniff-ng iputils-arping' 'iperf3 ethtool jq bc xz mausezahn arping'
    command -v apt-get >/dev/null || stop 77 "selftests: no apt-get to fetch the kernel's source with"
    private_apt
    logged private apt-get -q update || stop 1 "selftests: the package lists could not be fetched"
    source=$(APT_CONFIG="$work/apt/apt.conf" apt-cache depends linux-source | sed -n 's/.*Depends: \(linux-source-[0-9].*\)/\1/p' | head -n 1)
    [ -n "$source" ] || stop 1 "selftests: there is no linux-source in the package lists"
    say "selftests: fetching $source (160 MB, a minute to unpack)"
    mkdir "$work/source"
    (cd "$work/source" && logged private apt-get -q download "$source") || stop 1 "selftests: $source could not be fetched"
    dpkg-deb --fsys-tarfile "$work"/source/*.deb | tar -xO "./usr/src/$source.tar.xz" | tar -xJ -C "$work/source" --wildcards \
        '*/tools/testing/selftests/drivers/net/team/*' '*/tools/testing/selftests/drivers/net/bonding/lag_lib.sh' \
        '*/tools/testing/selftests/net/*.sh' ||
        stop 1 "selftests: $source could not be unpacked"
    rm -rf build/selftests
    mv "$work/source/$source/tools/testing/selftests" build/selftests
    echo "$source" >build/selftests/.setup
}

setup_kernel() {
    want=$(echo "$module_parts" | cksum)
    [ "$(cat "$kernel/.setup" 2>/dev/null)" = "$want" ] && return
    command -v apt-get >/dev/null || stop 77 "bench: no apt-get to download a kernel image with"
    image=$(kernel_package)
    if [ -z "$image" ]; then
        [ "$(id -u)" = 0 ] && refresh_lists
        image=$(kernel_package)
    fi
    [ -n "$image" ] || stop 77 "bench: the package lists have no linux-image-amd64; please run: sudo apt-get update"
    say "bench: downloading $image (70 MB)"
    mkdir "$work/deb"
    if ! (cd "$work/deb" && download "$image" 2>/dev/null); then
        [ "$(id -u)" = 0 ] && refresh_lists
        image=$(kernel_package)
        (cd "$work/deb" && download "$image") || stop 1 "bench: apt-get could not download $image"
    fi
    say "bench: unpacking it into $kernel"
    unpack "$work"/deb/*.deb "${image#linux-image-}"
    echo "$want" >"$kernel/.setup"
}

kernel_package() { # the real package behind the meta package
    apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1
}

download() { # the user "_apt" may not be able to write here
    logged apt-get -q -o APT::Sandbox::User=root download "$1"
}

unpack() { # DEB VERSION
    rm -rf "$kernel.new"
    mkdir -p "$kernel.new"
    patterns=
    set -f # the patterns are tar's to expand
    # Since Debian 13 modules are below /usr, and compressed.
    place=$(dpkg-deb --fsys-tarfile "$1" 2>/dev/null | tar -t 2>/dev/null | sed -n 's|^\(\./.*lib/modules\)/$|\1|p' | head -n 1)
    for part in $module_parts; do
        patterns="$patterns $place/$2/$part"
    done
    dpkg-deb --fsys-tarfile "$1" | tar -x -C "$kernel.new" --wildcards --no-wildcards-match-slash \
        ./boot/vmlinuz-"$2" $patterns || stop 1 "bench: $1 could not be unpacked"
    set +f
    [ "$place" = ./lib/modules ] || { mkdir -p "$kernel.new/lib" && mv "$kernel.new/$place" "$kernel.new/lib/modules"; }
    depmod -b "$kernel.new" "$2"
    rm -rf "$kernel"
    mv "$kernel.new" "$kernel"
}

setup_nmstate() { # its checks of a state are plain Python; what applies one is not fetched. The last version of that kind
    [ -e "$cache/nmstate" ] && return
    mkdir "$work/nmstate"
    if logged .venv/bin/python -m pip download -q --disable-pip-version-check --no-deps -d "$work/nmstate" nmstate==1.2.1; then
        mkdir -p "$cache"
        .venv/bin/python -m zipfile -e "$work"/nmstate/*.whl "$work/nmstate/all"
        mv "$work/nmstate/all" "$cache/nmstate"
    else
        say "package: nmstate could not be fetched; what is written for it is not checked"
    fi
}

setup_tree() { # SUITE "-SUITE" or "" MORE-PACKAGES
    tree=$cache/systemd-root$2
    packages="$tree_packages${3:+ $3}"
    wheels=$(sed -n '/^dependencies/,/^]/s/^ *"\([^"]*\)".*/\1/p' pyproject.toml)
    want=$(echo "$packages $wheels" | cksum)
    [ "$(cat "$tree/.setup" 2>/dev/null)" = "$want" ] && return
    need_packages nm 'debootstrap user-mode-linux busybox-static kmod' 'debootstrap linux.uml busybox modprobe'
    [ "$(id -u)" = 0 ] || stop 77 "nm: not root, and debootstrap needs to be"
    say "nm: building a tree of Debian $1 in $tree (a minute or a few)"
    rm -rf "$tree.new" "$cache/wheels$2"
    mkdir -p "$cache"
    logged debootstrap --variant=minbase --include="$(echo $packages | tr ' ' ,)" "$1" "$tree.new" ||
        stop 1 "nm: debootstrap failed"
    rm -rf "$tree.new"/var/lib/apt/lists/* "$tree.new"/var/cache/apt/archives/*.deb "$tree.new"/usr/share/doc/* \
        "$tree.new"/usr/share/locale/* "$tree.new"/usr/share/man/*
    : >"$tree.new/etc/machine-id"
    version=$(readlink "$tree.new/usr/bin/python3") # the wheels are for the Python in the tree
    logged .venv/bin/python -m pip download -q --disable-pip-version-check --only-binary=:all: --python-version "${version#python}" \
        -d "$cache/wheels$2" $wheels || stop 1 "nm: pip could not fetch: $wheels"
    echo "$want" >"$tree.new/.setup"
    rm -rf "$tree"
    mv "$tree.new" "$tree"
}

parts=${*:-venv lab bench}
allowed='venv lab bench nm nm-trixie nm-sid package oldest newest selftests'
for part in $parts; do
    case " $allowed " in
    *" $part "*) ;;
    *) stop 2 "'$part': allowed are $(echo $allowed | sed 's/ /, /g')" ;;
    esac
done
{ # read as a whole: a change of this file while it runs does no harm
    mkdir -p build
    exec 9>build/.setup.lock
    flock 9 2>/dev/null || true # two at once would trip over each other
    for part in $parts; do
        case $part in
        venv) setup_venv ;;
        lab)
            need_packages lab "$lab_packages" "$lab_commands"
            setup_shim
            setup_newest
            setup_promtool
            setup_sshd
            setup_instead
            ;;
        nm) setup_tree bookworm '' '' ;;
        nm-trixie) setup_tree trixie -trixie udev ;;
        nm-sid) setup_tree sid -sid 'udev network-manager-team' ;;
        oldest) setup_oldest ;;
        newest) setup_newest_python ;;
        selftests) setup_selftests ;;
        package)
            need_packages package "$package_packages" 'dh_python3 lintian rpmbuild rpmlint'
            setup_nmstate
            ;;
        bench)
            need_packages bench "$bench_packages" "$bench_commands"
            setup_kernel
            ;;
        esac
    done
    say "ready: $parts"
    exit
}
