#!/bin/sh
# make install, install-compat and uninstall: a program in an environment of its own, and nothing of the distribution's overwritten.
#
#   PREFIX    where to (default /usr/local): PREFIX/lib/pyteamd is the environment, PREFIX/bin has the commands
#   DESTDIR   put before every path, for building packages; then nothing outside of it is touched or asked
#   PYTHON    the interpreter to build on (default /usr/bin/python3, else python3): 3.11 or newer, with its venv module
#   PACKAGE   what pip installs (default: this directory); PIP_FLAGS are passed on to pip
#
# The commands start with the absolute path of the environment's interpreter and its option -I, so that they work with an empty
# process environment (NetworkManager's) and nobody's PYTHONPATH gets in their way; -X utf8 because such an environment has no locale.
# Every file, new directory and diversion is noted in PREFIX/lib/pyteamd/installed; uninstall removes exactly these.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
PREFIX=${PREFIX:-/usr/local}
DESTDIR=${DESTDIR:-}
PACKAGE=${PACKAGE:-$here}
home=$PREFIX/lib/pyteamd
python=$home/bin/python3
note=$DESTDIR$home/installed
sysconf=/etc
[ "$PREFIX" = /usr ] && dbus=/usr/share/dbus-1/system.d || dbus=$sysconf/dbus-1/system.d

say() { echo "install: $*"; }
stop() {
    echo "install: $*" >&2
    exit 1
}

put() { # PATH [MODE]: what comes on stdin
    directory "$(dirname "$1")"
    install -m "${2:-644}" /dev/stdin "$DESTDIR$1"
    keep "$1"
}

directory() { # PATH, with what leads to it
    [ ! -d "$DESTDIR$1" ] && [ "$1" != / ] || return 0
    directory "$(dirname "$1")"
    mkdir "$DESTDIR$1"
    keep "directory $1"
}

keep() { grep -qxF "$1" "$note" 2>/dev/null || echo "$1" >>"$note"; }

interpreter() {
    for candidate in ${PYTHON:-/usr/bin/python3 python3}; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    stop "no Python 3.11 or newer with its venv module (Debian: python3-venv); name one with PYTHON="
}

environment() { # made beside the old one, which a failure leaves as it was, and a running daemon has until the end
    base=$(interpreter)
    new=$DESTDIR$home.new
    made=$(missing "$home")
    rm -rf "$new"
    trap 'rm -rf "$new"' EXIT
    mkdir -p "$DESTDIR$PREFIX/lib"
    "$base" -m venv "$new"
    "$new/bin/python3" -I -m pip install -q --disable-pip-version-check --no-compile --no-warn-script-location \
        ${PIP_FLAGS:-} "$PACKAGE"
    # pip, what came with it, and what it made for a shell have done their work.
    for part in pip setuptools pkg_resources _distutils_hack distutils-precedence.pth; do
        rm -rf "$new"/lib/python3*/site-packages/"$part" "$new"/lib/python3*/site-packages/"$part"-*
    done
    find "$new/bin" ! -type d ! -name 'python*' -exec rm -f {} +
    "$new/bin/python3" -I -m compileall -q -s "$new" -p "$home" "$new/lib"
    if [ -e "$note" ]; then cat "$note"; else echo "$made"; fi >"$new/installed"
    rm -rf "$DESTDIR$home"
    mv "$new" "$DESTDIR$home"
    trap - EXIT
}

missing() { # PATH: the directories above it that are not there yet
    above=$(dirname "$1")
    [ ! -d "$DESTDIR$above" ] && [ "$above" != / ] || return 0
    echo "directory $above"
    missing "$above"
}

command_file() { # NAME MODULE
    put "$PREFIX/bin/$1" 755 <<END
#!$python -IXutf8
import sys

from $2 import main

sys.exit(main())
END
}

unit() { sed "s|@bindir@|$2|g" "$here/systemd/$1.in" | put "$PREFIX/lib/systemd/system/$1"; }

install_program() {
    environment
    command_file pyteamd pyteamd.cli.pyteamd.main
    command_file pyteamdctl pyteamd.cli.pyteamdctl.main
    command_file pyteamnl pyteamd.cli.pyteamnl.main
    unit pyteamd@.service "$PREFIX/bin"
    put "$PREFIX/lib/tmpfiles.d/pyteamd.conf" <"$here/systemd/tmpfiles/pyteamd.conf"
    put "$dbus/pyteamd.conf" <"$here/systemd/dbus/pyteamd.conf"
    # Before there is a unit: run from /, so that the installed package is described and not this directory.
    pages=$(mktemp -d)
    (cd / && "$DESTDIR$python" -I -X utf8 "$here/packaging/pages.py" "$pages")
    for page in "$pages"/*.[58]; do
        put "$PREFIX/share/man/man${page##*.}/${page##*/}" <"$page"
    done
    for name in pyteamd pyteamdctl pyteamnl; do
        put "$PREFIX/share/bash-completion/completions/$name" <"$pages/$name.bash"
        put "$PREFIX/share/zsh/site-functions/_$name" <"$pages/$name.zsh"
    done
    rm -rf "$pages"
    directory $sysconf/pyteamd
    reload
    say "pyteamd, pyteamdctl and pyteamnl are in $DESTDIR$PREFIX/bin"
}

packaged() { # PATH: does it belong to a package?
    [ -z "$DESTDIR" ] && command -v dpkg-query >/dev/null && dpkg-query -S "$1" >/dev/null 2>&1
}

compat_name() { # NAME OURS
    for place in /usr/sbin /usr/bin; do # where NetworkManager looks before it looks in /usr/local
        if [ "$place" != "$PREFIX/bin" ] && [ -L "$DESTDIR$place/$1" ] && [ "$(readlink "$place/$1")" = "$PREFIX/bin/$2" ]; then
            return
        fi
        if packaged "$place/$1"; then
            dpkg-divert --local --rename --quiet --divert "$place/$1.distrib" --add "$place/$1"
            ln -s "$PREFIX/bin/$2" "$place/$1"
            keep "$place/$1"
            keep "divert $place/$1"
            say "$place/$1 is pyteamd's now; the distribution's is $place/$1.distrib (dpkg-divert)"
            return
        fi
        [ -n "$DESTDIR" ] || [ ! -e "$place/$1" ] || [ "$place" = "$PREFIX/bin" ] ||
            stop "$place/$1 exists and belongs to no package known here: please move it away"
    done
    target=$PREFIX/bin/$1
    if [ -e "$DESTDIR$target" ] && ! grep -qxF "$target" "$note"; then
        stop "$target exists and is not ours: please move it away"
    fi
    ln -sf "$2" "$DESTDIR$target"
    keep "$target"
    say "$DESTDIR$target is pyteamd's"
}

install_compat() {
    [ -e "$note" ] || stop "first: make install"
    compat_name teamd pyteamd
    compat_name teamdctl pyteamdctl
    compat_name teamnl pyteamnl
    where=$PREFIX/bin
    [ ! -L "$DESTDIR/usr/bin/teamd" ] || where=/usr/bin
    unit teamd@.service "$where"
    reload
}

reload() {
    [ -z "$DESTDIR" ] && [ -d /run/systemd/system ] || return 0
    systemctl daemon-reload
    busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig >/dev/null || true
}

uninstall() {
    [ -e "$note" ] || stop "nothing is installed in $DESTDIR$PREFIX"
    while read -r line; do
        case $line in
        divert\ * | directory\ *) ;;
        *) rm -f "$DESTDIR$line" ;;
        esac
    done <"$note"
    sed -n 's/^divert //p' "$note" | while read -r path; do
        dpkg-divert --local --rename --quiet --remove "$path"
        say "$path is the distribution's again"
    done
    directories=$(sed -n 's/^directory //p' "$note" | sort -r) # what is below another one comes first
    rm -rf "$DESTDIR$home"
    echo "$directories" | while read -r path; do
        [ -z "$path" ] || rmdir --ignore-fail-on-non-empty "$DESTDIR$path" 2>/dev/null || true
    done
    reload
    say "removed from $DESTDIR$PREFIX; what is in $sysconf/pyteamd stays"
}

case ${1:-} in
install) install_program ;;
install-compat) install_compat ;;
uninstall) uninstall ;;
*) stop "'${1:-}': allowed are install, install-compat, uninstall" ;;
esac
