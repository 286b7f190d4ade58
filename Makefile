# Every target ends with one line that says what ran. `make` alone prints this menu.
PYTHON := .venv/bin/python
SEEDS ?= 1000
S ?=

export PREFIX DESTDIR PACKAGE PIP_FLAGS BINDIR UNITDIR TMPFILESDIR DBUSDIR MANDIR BASHDIR ZSHDIR DOCDIR DATADIR SYSCONFDIR

MINUTES ?= 10

.PHONY: fuzz help setup demo test check sim scenario rewrite kernel long mutate diagrams pictures bench fmt install docs tag deb rpm install-data install-commands install-compat uninstall clean

help:  ## this menu
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' Makefile

setup:  ## install what development and tests need (Debian packages as root, .venv)
	@tests/lab/setup.sh

venv:
	@tests/lab/setup.sh venv

lab:
	@tests/lab/setup.sh venv lab

demo: lab  ## the main job, seen: fail-over on the real driver
	@$(PYTHON) tests/lab/lab.py run --counted -- $(PYTHON) -B tests/lab/demo.py

test: lab  ## all tests, the real-kernel lane included
	@tests/lab/setup.sh package || echo "without it the tests of the packages are skipped"
	@$(PYTHON) tests/run.py

check: venv  ## format, lint, types, architecture, unit, scenarios, some seeds; half a minute on two quiet processors
	@.venv/bin/ruff format --check -q . || { echo "run: make fmt"; exit 1; }
	@.venv/bin/ruff check -q .
	@$(PYTHON) tests/run.py mypy fast

sim: venv  ## random simulation: make sim SEEDS=10000
	@.venv/bin/pyteamd simulate --random $(SEEDS) examples/activebackup_ethtool_1.conf

scenario: venv  ## one scenario: make scenario S=tests/scenarios/x.txt
	@.venv/bin/pyteamd simulate $(S)

rewrite: venv  ## write the transcripts of all scenarios again; review the diff
	@.venv/bin/pyteamd simulate --rewrite tests/scenarios/*.txt

fuzz: venv  ## coverage-guided fuzzers over all that reads what others wrote: make fuzz MINUTES=10
	@$(PYTHON) -m pip install -q --disable-pip-version-check 'atheris>=2.3' || echo "no atheris for this Python: mutants are chosen blindly"
	@$(PYTHON) tests/fuzz/fuzz.py --minutes $(MINUTES)

mutate: venv  ## faults put into the LACP machines one by one; the tests must catch each; half an hour
	@$(PYTHON) tests/runners/lacp/mutate.py

diagrams: venv  ## draw the LACP machines from their tables: docs/lacp-machines.md
	@$(PYTHON) docs/diagrams.py

kernel: lab  ## only the real-kernel lanes, on both kernels
	@$(PYTHON) tests/run.py kernel kernel-2

long: lab  ## every seed and configuration; minutes and a hundred kills where make test has seconds; an hour or two
	@tests/lab/setup.sh nm package || echo "without them the packages are not tried in whole systems"
	@tests/lab/setup.sh nm-trixie || echo "without it nothing is tried in a whole Debian 13"
	@tests/lab/setup.sh nm-sid || echo "without it nothing is tried in a whole Debian sid"
	@tests/lab/setup.sh selftests || echo "without it the kernel's own tests are skipped"
	@PYTEAMD_LONG=1 $(PYTHON) tests/run.py lab slow kernel kernel-2

pictures: lab  ## make the pictures in docs: a timeline in a real browser (chromium), watch on the real driver
	@$(PYTHON) docs/pictures.py
	@$(PYTHON) docs/captures.py

bench:  ## pyteamd beside C teamd in the same QEMU boot (writes build/bench.json), and its instructions of Python
	@tests/lab/setup.sh
	@$(PYTHON) -m compileall -q pyteamd runners linkwatch  # as an installation does; the lab sees the tree read-only
	@$(PYTHON) tests/bench/bench.py
	@$(PYTHON) -B tests/bench/start.py
	@$(PYTHON) -B tests/bench/opcodes.py

install:  ## the commands, units, manual pages: PREFIX=/usr/local DESTDIR= PYTHON=/usr/bin/python3
	@packaging/install.sh install

install-data:  ## units, manual pages, completion, policy, without the program: BINDIR=/usr/bin DESTDIR=…
	@packaging/install.sh install-data

install-commands:  ## the commands, for a package that the interpreter finds: PYTHON=/usr/bin/python3
	@packaging/install.sh install-commands

install-compat:  ## after install: also under the names teamd, teamdctl, teamnl, teamd@.service
	@packaging/install.sh install-compat

uninstall:  ## remove what install and install-compat made
	@packaging/install.sh uninstall

docs: venv  ## the site: build/docs/index.html
	@$(PYTHON) docs/site/build.py

tag: venv  ## the version of the tree as a tag, when all that names it agrees
	@$(PYTHON) packaging/tag.py

deb:  ## Debian packages pyteamd and pyteamd-teamd, on Debian's own Python: build/deb
	@packaging/package.sh deb

rpm:  ## the same as RPMs: build/rpm
	@packaging/package.sh rpm

fmt: venv  ## format the code
	@.venv/bin/ruff format -q . && .venv/bin/ruff check -q --fix .

clean:  ## remove what was built
	@rm -rf build dist *.egg-info .venv .venv-oldest .venv-newest .mypy_cache .ruff_cache .pytest_cache
