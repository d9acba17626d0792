# What users and developers do with nfszbx, as root on Debian 12 or later.
#   make run    install what is missing and measure this machine
#   make demo   the same, with a throw-away Samba server and clients that move data
#   make test   install what the tests need, check the code and run them all but those in virtual machines
#   make test-vm [KERNEL=6.1,6.12]  those in virtual machines, on every kernel or on some
#   make vm KERNEL=6.12          a shell in such a machine
#   make deb                     the Debian package, in dist/
#   make test-deb                install it in virtual machines with Debian 12 and 13, and try it there
#   make accuracy                measure nfszbx and other tools on every kernel, for docs/accuracy.md
#   make bench                   measure what nfszbx costs, for docs/performance.md
#   make faults                  inject every fault and measure what it costs, for docs/reliability.md
# ARGS are passed on: make run ARGS="--sink zabbix --zabbix-server 192.0.2.7"
VENV := .venv
PYTHON ?= python3

RUN_PACKAGES := bpftrace mount
DEMO_PACKAGES := $(RUN_PACKAGES) samba smbclient iproute2
TEST_PACKAGES := $(DEMO_PACKAGES) prometheus \
	postgresql zabbix-server-pgsql zabbix-frontend-php php-cli php-pgsql \
	mmdebstrap debian-archive-keyring cron openssl gcc libssl-dev python3-dev
DEB_PACKAGES := debhelper gcc libssl-dev python3-dev git
BENCH_PACKAGES := $(DEMO_PACKAGES) python3-samba nethogs libbpf-tools mmdebstrap \
	debian-archive-keyring clang gcc libbpf-dev libelf-dev zlib1g-dev
VM_PACKAGES := mmdebstrap qemu-system-x86 e2fsprogs debian-archive-keyring git

.PHONY: run demo deb test soak test-fast test-vm test-deb vm vm-images accuracy bench faults lint root tracefs \
	run-packages demo-packages test-packages vm-packages deb-packages bench-packages constraints

run: root run-packages tracefs $(VENV)/installed
	@$(VENV)/bin/nfszbx run --sink console --sink prometheus $(ARGS)

demo: root demo-packages tracefs $(VENV)/installed
	@$(VENV)/bin/python -m tests.live.demo $(ARGS)

deb: root deb-packages $(VENV)/installed
	@PYTHON=$(VENV)/bin/python packaging/build-deb

test: root test-packages tracefs lint
	@$(VENV)/bin/pip install --quiet --constraint packaging/constraints.txt --editable '.[psk]'
	$(VENV)/bin/python -m pytest --ignore tests/vm --ignore tests/package $(ARGS)

soak: $(VENV)/installed-dev
	$(VENV)/bin/python -m pytest tests/soak $(ARGS)

test-fast: $(VENV)/installed-dev
	$(VENV)/bin/python -m pytest tests/unit $(ARGS)

accuracy: root vm-packages $(VENV)/installed-dev
	$(VENV)/bin/python -m pytest tests/vm/test_exact.py --kernel=$(KERNEL) --other-tools \
		-k 'nfs_ipv4 or tls or short_connections and nfs or cifs or smbclient' \
		--vm-results=benchmarks/results/accuracy $(ARGS)
	$(VENV)/bin/python -m benchmarks.accuracy

faults: root test-packages tracefs $(VENV)/installed-dev
	$(VENV)/bin/python -m pytest tests/live/test_faults*.py \
		--fault-results=benchmarks/results/faults $(ARGS)
	$(VENV)/bin/python -m benchmarks.faults

test-vm: root vm-packages $(VENV)/installed-dev
	$(VENV)/bin/python -m pytest tests/vm --kernel=$(KERNEL) $(ARGS)

test-deb: root vm-packages deb-packages $(VENV)/installed-dev
	$(VENV)/bin/python -m pytest tests/package $(ARGS)

vm-images: root vm-packages $(VENV)/installed-dev
	@$(VENV)/bin/python -m tests.vm.image

vm: root vm-packages $(VENV)/installed-dev
	@$(VENV)/bin/python -m tests.vm.shell $(KERNEL)

bench: root tracefs run-packages vm-packages bench-packages $(VENV)/installed-dev
	$(VENV)/bin/python -m benchmarks.kernel
	$(VENV)/bin/python -m benchmarks.kernel lab
	$(VENV)/bin/python -m benchmarks.service
	$(VENV)/bin/python -m benchmarks.impact
	$(VENV)/bin/python -m benchmarks.impact lab
	$(VENV)/bin/python -m benchmarks.bpftrace_memory
	$(VENV)/bin/python -m benchmarks.performance

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

root:
	@[ "$$(id -u)" -eq 0 ] || { echo "nfszbx: run make as root" >&2; exit 1; }

# systemd mounts it at boot; without it bpftrace finds no tracepoints.
tracefs:
	@[ -d /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing

run-packages:
	@packaging/install-packages $(RUN_PACKAGES)
demo-packages:
	@packaging/install-packages $(DEMO_PACKAGES)
test-packages:
	@packaging/install-packages $(TEST_PACKAGES)

deb-packages:
	@packaging/install-packages $(DEB_PACKAGES)
bench-packages:
	@packaging/install-packages $(BENCH_PACKAGES)
vm-packages:
	@packaging/install-packages $(VM_PACKAGES)

# Made anew when it is not whole. Debian keeps what makes environments in a package of its own.
$(VENV)/installed: pyproject.toml
	@echo "nfszbx: making a virtual environment in $(VENV)" >&2
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || packaging/install-packages python3-venv
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/pip install --quiet --upgrade 'pip>=25.1'
	@$(VENV)/bin/pip install --quiet --constraint packaging/constraints.txt --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed packaging/constraints.txt
	@$(VENV)/bin/pip install --quiet --constraint packaging/constraints.txt --group dev
	@touch $@

# Pins what is installed now; run it in a fresh environment to move to the newest versions.
constraints: $(VENV)/installed-dev
	$(VENV)/bin/pip freeze --exclude-editable | grep -v '^pip==' >packaging/constraints.txt
