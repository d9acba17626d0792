# What a user and a developer do with nfszbx. As root on Debian 12 or later.
#   make run    install what is missing and measure this machine
#   make demo   the same, with a throw-away Samba server and clients that move data
#   make test   install what the tests need and run them all
SHELL := /bin/bash
VENV := .venv
PYTHON ?= python3

RUN_PACKAGES := bpftrace
DEMO_PACKAGES := $(RUN_PACKAGES) samba smbclient iproute2 util-linux
TEST_PACKAGES := $(DEMO_PACKAGES) prometheus tmux \
	postgresql zabbix-server-pgsql zabbix-frontend-php php-cli php-pgsql

.PHONY: run demo test test-fast lint tracefs packages-run packages-demo packages-test clean

run: packages-run tracefs $(VENV)/installed
	$(VENV)/bin/nfszbx run --sink console --sink prometheus $(ARGS)

demo: packages-demo tracefs $(VENV)/installed
	$(VENV)/bin/python tests/live/demo.py $(ARGS)

test: packages-test tracefs lint
	$(VENV)/bin/python -m pytest $(ARGS)

test-fast: $(VENV)/installed-dev
	$(VENV)/bin/python -m pytest tests/unit tests/golden $(ARGS)

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo

# tracefs is there already under systemd; bpftrace finds no tracepoints without it.
tracefs:
	@[ -d /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing

packages-run: PACKAGES = $(RUN_PACKAGES)
packages-demo: PACKAGES = $(DEMO_PACKAGES)
packages-test: PACKAGES = $(TEST_PACKAGES)
packages-run packages-demo packages-test:
	@packaging/install-packages $(PACKAGES)

$(VENV)/installed: pyproject.toml
	packaging/make-venv $(VENV) $(PYTHON)
	$(VENV)/bin/pip install --quiet --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed packaging/constraints.txt
	$(VENV)/bin/pip install --quiet --constraint packaging/constraints.txt --group dev
	touch $@

clean:
	rm -rf $(VENV)
