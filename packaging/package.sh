#!/bin/sh
# make deb and make rpm: packages of the files in this directory, into build/deb and build/rpm.
#
#   VERSION   another one than the tree's, in Debian's spelling (1.0.0~rc1-1), for trying upgrades
#
# Debian: debhelper dh-python pybuild-plugin-pyproject python3-all python3-setuptools, what debian/control names, for make deb;
# rpm python3-pip for make rpm, which does not ask what else is installed.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
out=$here/build/$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The distribution's Python, whatever else is on this machine.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
python=/usr/bin/python3

stop() {
    echo "package: $*" >&2
    exit 1
}

need() { # COMMAND PACKAGES
    command -v "$1" >/dev/null || stop "no $1; on Debian: apt-get install $2"
}

copy() { # DIRECTORY: what git knows or would take; of an unpacked sdist, all
    mkdir -p "$1"
    cd "$here"
    if [ -e .git ]; then
        git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c 'for f; do [ -e "$f" ] || [ -L "$f" ] && printf "%s\0" "$f"; done' sh |
            tar -c --null -T - | tar -x -C "$1"
    else
        tar -c --exclude=./build --exclude=./.venv . | tar -x -C "$1"
    fi
}

logged() { # COMMAND…: its output only when it fails
    "$@" >"$work/log" 2>&1 || {
        tail -n 60 "$work/log" >&2
        exit 1
    }
}

build_deb() {
    need dh_python3 'debhelper dh-python pybuild-plugin-pyproject python3-all python3-setuptools'
    copy "$work/pyteamd"
    cd "$work/pyteamd"
    if [ -n "${VERSION:-}" ]; then
        { sed "1s/(.*)/($VERSION)/" debian/changelog && echo && cat debian/changelog; } >"$work/changelog"
        mv "$work/changelog" debian/changelog
    fi
    logged dpkg-buildpackage -us -uc -b
    rm -rf "$out"
    mkdir -p "$out"
    mv "$work"/*.deb "$work"/*.changes "$work"/*.buildinfo "$out"
}

build_rpm() {
    need rpmbuild 'rpm python3-pip python3-setuptools'
    version=$(sed -n 's/^Version: *//p' "$here/packaging/pyteamd.spec")
    copy "$work/pyteamd-$version"
    mkdir -p "$work/SOURCES"
    tar -c -z -C "$work" -f "$work/SOURCES/pyteamd-$version.tar.gz" "pyteamd-$version"
    logged rpmbuild -ba --nodeps --define "_topdir $work" --define "__python3 $python" "$here/packaging/pyteamd.spec"
    rm -rf "$out"
    mkdir -p "$out"
    mv "$work"/RPMS/noarch/*.rpm "$work"/SRPMS/*.rpm "$out"
}

case ${1:-} in
deb) build_deb ;;
rpm) build_rpm ;;
*) stop "'${1:-}': allowed are deb, rpm" ;;
esac
for file in "$out"/*.deb "$out"/*.rpm; do
    [ ! -e "$file" ] || echo "package: ${file#"$here/"}"
done
