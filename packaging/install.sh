#!/bin/sh
# make install, install-data, install-commands, install-compat and uninstall.
#
#   install           a program in an environment of its own, its commands, and the data: for an administrator. Needs the index, or wheels
#   install-data      units, run directory, D-Bus policy, manual pages, completions, examples, schema: all that is no Python. Needs nothing
#                     but a Python 3.11 to write the pages with; for packages, and beside pipx
#   install-commands  the commands pyteamd, pyteamdctl, pyteamnl, for a package `pyteamd` that the interpreter finds: for packages
#   install-compat    the same program and pages under the names of teamd
#   uninstall         takes back what install, install-data and install-compat made
#
#   PREFIX    where to (default /usr/local): PREFIX/lib/pyteamd is the environment, PREFIX/bin has the commands
#   DESTDIR   put before every path, for building packages; then nothing outside of it is touched or asked, and root is not needed
#   BINDIR    where the units find the commands (default PREFIX/bin)
#   UNITDIR, TMPFILESDIR, SYSCONFDIR, DBUSDIR, MANDIR, BASHDIR, ZSHDIR, FISHDIR, DOCDIR, DATADIR: where else things go; the defaults follow PREFIX
#   PYTHON    the interpreter to build on (default /usr/bin/python3, else python3): 3.11 or newer; install needs its venv module
#   PACKAGE   what pip installs (default: this directory); PIP_FLAGS are passed on to pip
#
# The commands start with the absolute path of the interpreter and its option -I, so that they work with an empty process
# environment (NetworkManager's) and nobody's PYTHONPATH gets in their way; -X utf8 because such an environment has no locale.
# Every file, new directory and diversion is noted in PREFIX/lib/pyteamd/installed; uninstall removes exactly these. A package
# manager keeps lists of its own: install-data and install-commands note nothing where there is a DESTDIR.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
PREFIX=${PREFIX:-/usr/local}
DESTDIR=${DESTDIR:-}
PACKAGE=${PACKAGE:-$here}
BINDIR=${BINDIR:-$PREFIX/bin}
UNITDIR=${UNITDIR:-$PREFIX/lib/systemd/system}
TMPFILESDIR=${TMPFILESDIR:-$PREFIX/lib/tmpfiles.d}
MANDIR=${MANDIR:-$PREFIX/share/man}
BASHDIR=${BASHDIR:-$PREFIX/share/bash-completion/completions}
ZSHDIR=${ZSHDIR:-$PREFIX/share/zsh/site-functions}
FISHDIR=${FISHDIR:-$PREFIX/share/fish/vendor_completions.d}
DOCDIR=${DOCDIR:-$PREFIX/share/doc/pyteamd}
DATADIR=${DATADIR:-$PREFIX/share/pyteamd}
sysconf=${SYSCONFDIR:-/etc} # where the policy goes, and a directory for configurations; the units know only /etc
[ "$PREFIX" = /usr ] && dbus=/usr/share/dbus-1/system.d || dbus=$sysconf/dbus-1/system.d
DBUSDIR=${DBUSDIR:-$dbus}
home=$PREFIX/lib/pyteamd
note=$DESTDIR$home/installed

say() { echo "install: $*"; }
stop() {
    echo "install: $*" >&2
    exit 1
}

put() { # PATH [MODE]: what comes on stdin; a program that reads the old file meanwhile reads it to its end
    directory "$(dirname "$1")"
    cat >"$DESTDIR$1.new"
    chmod "${2:-644}" "$DESTDIR$1.new"
    mv -f "$DESTDIR$1.new" "$DESTDIR$1"
    keep "$1"
}

directory() { # PATH, with what leads to it
    [ ! -d "$DESTDIR$1" ] && [ "$1" != / ] || return 0
    directory "$(dirname "$1")"
    [ -d "$DESTDIR$1" ] || mkdir -p "$DESTDIR$1"
    keep "directory $1"
}

keep() { # LINE
    [ -n "$note" ] || return 0
    if [ ! -d "$DESTDIR$home" ]; then # install-data before, or without, install
        made=$(missing "$home/installed")
        mkdir -p "$DESTDIR$home"
        echo "$made" >"$note"
    fi
    grep -qxF "$1" "$note" 2>/dev/null || echo "$1" >>"$note"
}

interpreter() { # MODULES WHAT-IS-MISSING: the first that is new enough and has the modules
    for candidate in ${PYTHON:-/usr/bin/python3 python3}; do
        if "$candidate" -c "import $1; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    stop "no Python 3.11 or newer$2; name one with PYTHON="
}

environment() { # made beside the old one, which a failure leaves as it was, and a running daemon has until the end
    base=$(interpreter 'ensurepip, sys, venv' ' with its venv module (Debian: python3-venv)')
    new=$DESTDIR$home.new
    made=$(missing "$home")
    rm -rf "$new"
    trap 'rm -rf "$new"' EXIT
    mkdir -p "$DESTDIR$PREFIX/lib"
    "$base" -m venv "$new"
    [ "$PACKAGE" != "$here" ] || rm -rf "$here/build/lib" # what an earlier build left there would be installed too
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

command_file() { # NAME MODULE INTERPRETER
    put "$PREFIX/bin/$1" 755 <<END
#!$3 -IXutf8
import sys

from $2 import main

sys.exit(main())
END
}

install_commands() { # INTERPRETER
    command_file pyteamd pyteamd.cli.pyteamd.main "$1"
    command_file pyteamdctl pyteamd.cli.pyteamdctl.main "$1"
    command_file pyteamnl pyteamd.cli.pyteamnl.main "$1"
}

unit() { sed "s|@bindir@|$2|g" "$here/systemd/$1.in" | put "$UNITDIR/$1"; }

from_tree() { # INTERPRETER WORDS…: ours of this directory, whatever else is installed; needs the standard library only
    interpreter=$1
    shift
    (cd / && PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1 "$interpreter" -X utf8 "$@")
}

completions() { # PAGES NAME…
    pages=$1
    shift
    for name; do
        put "$BASHDIR/$name" <"$pages/$name.bash"
        put "$ZSHDIR/_$name" <"$pages/$name.zsh"
        put "$FISHDIR/$name.fish" <"$pages/$name.fish"
    done
}

install_data() { # INTERPRETER
    unit pyteamd@.service "$BINDIR"
    put "$TMPFILESDIR/pyteamd.conf" <"$here/systemd/tmpfiles/pyteamd.conf"
    put "$DBUSDIR/pyteamd.conf" <"$here/systemd/dbus/pyteamd.conf"
    pages=$(mktemp -d)
    from_tree "$1" "$here/packaging/pages.py" "$pages"
    for page in "$pages"/*.[58]; do
        put "$MANDIR/man${page##*.}/${page##*/}" <"$page"
    done
    completions "$pages" pyteamd pyteamdctl pyteamnl
    rm -rf "$pages"
    for example in "$here"/examples/*; do
        put "$DOCDIR/examples/${example##*/}" <"$example"
    done
    from_tree "$1" -m pyteamd schema | put "$DATADIR/pyteamd.schema.json"
    directory $sysconf/pyteamd
    reload
}

install_program() {
    environment
    install_commands "$home/bin/python3"
    install_data "$base"
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
    if [ -e "$DESTDIR$target" ] && [ -n "$note" ] && ! grep -qxF "$target" "$note"; then
        stop "$target exists and is not ours: please move it away"
    fi
    ln -sf "$2" "$DESTDIR$target"
    keep "$target"
    say "$DESTDIR$target is pyteamd's"
}

install_compat() {
    [ -e "$note" ] || [ -n "$DESTDIR" ] || stop "first: make install"
    [ -e "$note" ] || note= # a package
    compat_name teamd pyteamd
    compat_name teamdctl pyteamdctl
    compat_name teamnl pyteamnl
    compat_name bond2team pyteamd # which knows it by this name
    where=$BINDIR
    [ ! -L "$DESTDIR/usr/bin/teamd" ] || where=/usr/bin
    unit teamd@.service "$where"
    for page in teamd.8 teamdctl.8 teamnl.8 teamd.conf.5; do
        echo ".so man${page##*.}/py$page" | put "$MANDIR/man${page##*.}/$page"
    done
    put "$MANDIR/man1/bond2team.1" <"$here/packaging/bond2team.1"
    pages=$(mktemp -d)
    from_tree "$(interpreter sys '')" "$here/packaging/pages.py" "$pages"
    completions "$pages" teamd teamdctl teamnl
    rm -rf "$pages"
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
install-data | install-commands)
    [ -z "$DESTDIR" ] || note=
    base=$(interpreter sys '')
    if [ "$1" = install-data ]; then install_data "$base"; else install_commands "$base"; fi
    ;;
install-compat) install_compat ;;
uninstall) uninstall ;;
*) stop "'${1:-}': allowed are install, install-data, install-commands, install-compat, uninstall" ;;
esac
