"""What follows from settings that were read again."""

from nfszbx.config import Config
from nfszbx.reload import SINK_KEYS, Changes, compare, keep

OLD = Config(sinks=("prometheus", "zabbix"))


def compare_with(**settings: object) -> Changes:
    return compare(OLD, Config.model_validate({**OLD.model_dump(exclude_unset=True), **settings}))


def test_nothing_has_changed() -> None:
    changes = compare(OLD, OLD)
    assert changes == Changes((), (), new_plan=False, new_sinks=False)


def test_keys_are_named_as_in_the_file() -> None:
    changes = compare_with(interval_seconds=5, services={"nfsd": {"ports": [20049]}})
    assert changes.keys == ("interval_seconds", "services.nfsd.ports")
    assert changes.new_plan
    assert not changes.at_restart


def test_without_audits_the_plan_is_another_one() -> None:
    """Connections that close are then of no interest."""
    assert compare_with(audit_interval_seconds=0).new_plan


def test_operations_change_without_touching_traffic() -> None:
    changes = compare_with(operations={"labels": ["client"], "interval_seconds": 5})
    assert changes.keys == ("operations.interval_seconds", "operations.labels")
    assert not changes.new_plan
    assert not changes.new_sinks
    assert not changes.at_restart


def test_what_waits_for_a_restart_is_named_and_kept() -> None:
    changes = compare_with(state_directory="/srv/state", bpftrace="/opt/bpftrace", max_clients=7)
    assert changes.at_restart == ("bpftrace", "state_directory")
    new = Config(
        sinks=OLD.sinks, state_directory="/srv/state", bpftrace="/opt/bpftrace", max_clients=7
    )
    assert keep(OLD, new, changes) == Config(sinks=OLD.sinks, max_clients=7)


def test_a_sink_with_other_settings_needs_a_new_process() -> None:
    assert compare_with(prometheus={"port": 9999}).new_sinks
    assert compare_with(spool={"replay_seconds": 0}).new_sinks


def test_sinks_come_and_go() -> None:
    assert compare_with(sinks=("prometheus",)).new_sinks
    assert compare_with(sinks=("prometheus", "zabbix", "console")).new_sinks


def test_settings_of_sinks_that_are_not_used_change_nothing() -> None:
    old = Config(sinks=("console",))
    new = Config.model_validate({"sinks": ["console"], "prometheus": {"port": 9999}})
    assert not compare(old, new).new_sinks
    assert not compare_with(max_clients=7, log_level="debug").new_sinks


def test_every_key_is_either_live_or_named() -> None:
    """A new key of the configuration has to be thought of in reload.py."""
    known = {"interval_seconds", "map_max_entries", "way", "services", "audit_interval_seconds"}
    known |= {"log_level", "max_clients", "client_idle_seconds", "sinks"}
    known |= {"state_directory", "bpftrace", "operations", "smb"}
    assert set(Config.model_fields) == known.union(*SINK_KEYS.values())
