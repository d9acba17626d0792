"""The Debian package on clean systems: installed, measuring, in trouble, upgraded and purged.

The tests of a suite are steps on one machine: each goes on where the one before it has ended.
"""

import re

import pytest

from tests.package.conftest import LATER_VERSION
from tests.package.system import CLIENT, System

pytestmark = pytest.mark.timeout(900)
CONFIG = "/etc/nfszbx/nfszbx.toml"
MEGABYTES = 8
SMALL_BYTES = 200
"""A call of the procedure NULL, which does nothing, and its answer."""
OTHER_PORT = 20499
MAX_EXPOSURE = 3.2


def assert_counted(system: System) -> None:
    """nfszbx has counted what the kernel's socket has, to the byte, and stays with it."""
    system.wait_for_intervals(3)
    truth = system.read_sockets()
    assert min(truth.values()) > MEGABYTES << 20
    assert system.count() == truth


def test_installs_with_what_the_distribution_has(system: System) -> None:
    assert system.fails("id nfszbx")
    system.run("dpkg -i /src/nfszbx.deb")
    assert system.run("dpkg --audit") == ""
    assert system.run("id -u nfszbx") != "0"
    assert system.run("nfszbx --version").startswith("nfszbx ")
    assert system.run("ls /usr/share/man/man8/nfszbx.8.gz")
    assert "enabled" not in system.run("systemctl is-enabled nfszbx || :").split()
    assert system.run("systemctl is-active nfszbx || :") == "inactive"


def test_measures_nfs_to_the_byte(system: System) -> None:
    """Once the start has returned, everything is counted."""
    # Shorter than what is installed, so that this test is, too.
    system.run(
        "sed -i 's/^#interval_seconds = 10/interval_seconds = 1/; "
        f"s/^#audit_interval_seconds = 60/audit_interval_seconds = 5/' {CONFIG}"
    )
    system.run(
        "mkdir -p /run/systemd/system/nfszbx.service.d; cd /run/systemd/system/nfszbx.service.d; "
        "printf '[Service]\\nWatchdogSec=20\\nRestartSec=1\\n"
        "Environment=NFSZBX_OPERATIONS__INTERVAL_SECONDS=1\\n' >test.conf; systemctl daemon-reload"
    )
    system.run("systemctl enable --now nfszbx")
    assert system.run("systemctl is-active nfszbx") == "active"
    assert system.show("StatusText") == "measuring nfsd, smbd, ksmbd every 1 s"
    system.add_client()
    assert max(system.before.values()) < SMALL_BYTES
    system.move(MEGABYTES)
    assert_counted(system)


def test_restrictions_hide_nothing_that_is_needed(system: System) -> None:
    """The best way to count is used, all is measured, and the audit reads the sockets."""
    system.wait_for("an audit", lambda: system.scrape().get("nfszbx_audits_total"))
    found = system.scrape()
    assert found['nfszbx_way_info{direction="receive",way="function_exit"}'] == 1
    assert found["nfszbx_not_measured"] == 0
    assert found['nfszbx_drift_ratio{direction="receive",service="nfsd"}'] == 0
    assert system.run("journalctl -u nfszbx -p warning -o cat") in {"", "-- No entries --"}
    said = system.run("systemd-analyze security --no-pager nfszbx.service | tail -n 1")
    exposure = re.search(r"exposure level for nfszbx.service: ([0-9.]+)", said)
    assert exposure
    assert float(exposure[1]) <= MAX_EXPOSURE


def test_nfs_operations_are_told_by_client_and_export(system: System) -> None:
    """The unit lets the second bpftrace work, and the path of the export be found."""
    system.wait_for("operations", lambda: system.scrape().get("nfszbx_nfs_up"))
    labels = f'client="{CLIENT}",export="/srv",operation="WRITE",user="",version="3"'
    name = f"nfszbx_nfs_write_bytes_total{{{labels}}}"
    before = system.scrape().get(name, 0)
    system.move(MEGABYTES)
    expected = before + (MEGABYTES << 20)
    system.wait_for("the bytes", lambda: system.scrape().get(name) == expected)


def test_what_talks_to_the_network_has_no_rights(system: System) -> None:
    assert system.run("ps -C nfszbx-sinks -o user=") == "nfszbx"
    status = system.run("cat /proc/$(pgrep nfszbx-sinks)/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name], 16) == 0, name
    assert fields["NoNewPrivs"] == "1"
    assert fields["Groups"].strip() == ""
    folder = "/var/lib/nfszbx"
    assert system.run(f"stat -c '%U %a' {folder} {folder}/sinks") == "root 711\nnfszbx 700"


def test_hung_sinks_are_killed_and_started_again(system: System) -> None:
    """By a root without CAP_KILL, while bpftrace goes on."""
    main, bpftrace = system.main_pid(), system.run("pgrep bpftrace")
    pid = system.run("pgrep nfszbx-sinks")
    system.run(f"kill -STOP {pid}")
    system.wait_for("another one", lambda: system.run("pgrep nfszbx-sinks || :") not in {"", pid})
    system.wait_for("its port", lambda: system.scrape().get("nfszbx_child_up"))
    assert (system.main_pid(), system.run("pgrep bpftrace")) == (main, bpftrace)


def test_reload(system: System) -> None:
    pid, before = system.main_pid(), system.count()
    system.run(f"sed -i 's/^#port = 20490/port = {OTHER_PORT}/' {CONFIG}")
    system.run("systemctl reload nfszbx")
    system.port = OTHER_PORT
    system.wait_for("the new port", system.scrape)
    assert system.count() == before
    assert system.main_pid() == pid

    system.run(f"cp -a {CONFIG} /root/good; echo 'nonsense = 1' >>{CONFIG}")
    system.run("systemctl reload nfszbx")
    said = system.wait_for("the problem", lambda: "nonsense" in system.show("StatusText"))
    assert said
    assert "unknown key" in system.tell()
    assert system.run("systemctl is-active nfszbx") == "active"
    assert system.scrape()["nfszbx_child_up"] == 1
    system.run(f"cp -a /root/good {CONFIG}; systemctl reload nfszbx")
    system.wait_for("the end of it", lambda: "nonsense" not in system.show("StatusText"))
    assert system.main_pid() == pid


def wait_for_both(system: System) -> None:
    """The bpftrace of the traffic, and that of NFS operations, which starts after it."""
    system.wait_for("both", lambda: system.run("pgrep -c bpftrace || :") == "2")


def test_killed_it_is_started_again_and_goes_on_counting(system: System) -> None:
    pid = system.main_pid()
    system.run(f"kill -KILL {pid}")
    system.wait_for("another one", lambda: system.main_pid() not in {0, pid})
    system.wait_for("its start", lambda: system.show("ActiveState") == "active")
    wait_for_both(system)
    system.move(MEGABYTES)
    assert_counted(system)


def test_hung_it_is_killed_and_started_again(system: System) -> None:
    pid = system.main_pid()
    system.run(f"kill -STOP {pid}")
    system.wait_for("another one", lambda: system.main_pid() not in {0, pid})
    assert "Watchdog timeout" in system.run("journalctl -u nfszbx -o cat | tail -n 50")


def test_upgrade_keeps_configuration_and_counters(system: System) -> None:
    """The service, not yet ready again, is started anew, and its new version goes on counting."""
    pid = system.main_pid()
    system.run(f"md5sum {CONFIG} >/root/md5; dpkg -i /src/later.deb")
    assert system.run("dpkg-query -Wf '${Version}' nfszbx") == LATER_VERSION
    system.run("md5sum --check /root/md5")
    system.wait_for("its start", lambda: system.show("ActiveState") == "active")
    assert system.main_pid() not in {0, pid}
    system.move(MEGABYTES)
    assert_counted(system)


def test_stop_leaves_no_bpftrace(system: System) -> None:
    wait_for_both(system)
    system.run("systemctl stop nfszbx")
    assert system.run("pgrep -c bpftrace || :") == "0"
    assert system.show("Result") == "success"
    system.run("systemctl start --no-block nfszbx")  # to be removed while it runs


def test_removal_keeps_and_purge_removes(system: System) -> None:
    system.run("dpkg --remove nfszbx")
    assert system.run("pgrep -c bpftrace || :") == "0"
    system.run(f"ls {CONFIG} /var/lib/nfszbx/counters.sqlite3")
    system.run("dpkg --purge nfszbx; systemctl daemon-reload; rm -r /run/systemd/system/nfszbx*")
    assert system.fails("id nfszbx")
    found = "find / -xdev -name '*nfszbx*' -not -path '/var/log/journal/*' -not -path '/src/*'"
    assert system.run(found) == ""
    assert system.run("systemctl list-unit-files --no-legend 'nfszbx*' || :") == ""
