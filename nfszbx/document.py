"""The samples of one interval as a document, the same for every sink that takes documents.

Built from the catalogue's labels alone: a new metric finds its place by itself.
"""

from collections.abc import Mapping
from typing import Any

from nfszbx.catalog import CLIENT_LABELS, FLOW_LABELS
from nfszbx.samples import Sample, Samples
from nfszbx.traffic import FLOWS

_FLOW_NAMES: Mapping[tuple[str, ...], str] = {flow: flow.name for flow in FLOWS}


def make_document(samples: Samples) -> dict[str, Any]:
    """``time``, ``complete``, ``services`` by name, ``clients`` as a list, and ``health``."""
    services: dict[str, dict[str, float]] = {}
    clients: dict[tuple[str, ...], dict[str, Any]] = {}
    health: dict[str, Any] = {}
    for sample in samples.samples:
        field = sample.metric.field
        if sample.metric.labels == FLOW_LABELS:
            services.setdefault(_FLOW_NAMES[sample.labels], {})[field] = _number(sample)
        elif sample.metric.labels == CLIENT_LABELS:
            service, transport, client = sample.labels
            row = clients.get(sample.labels)
            if row is None:
                row = clients[sample.labels] = {
                    "id": f"{_FLOW_NAMES[service, transport]} {client}",
                    "service": service,
                    "transport": transport,
                    "client": client,
                }
            row[field] = _number(sample)
        elif sample.metric.labels:
            _place(health.setdefault(field, {}), sample)
        else:
            health[field] = _number(sample)
    return {
        "time": round(samples.unix_seconds, 3),
        "complete": samples.complete,
        "services": services,
        "clients": list(clients.values()),
        "health": health,
    }


def _place(table: dict[str, Any], sample: Sample) -> None:
    """Nest the value by its labels: ``{"exited": 2}``."""
    *above, last = sample.labels
    for label in above:
        table = table.setdefault(label, {})
    table[last] = _number(sample)


def _number(sample: Sample) -> float:
    """To the thousandth: of a byte per second, of a second."""
    return round(sample.value, 3)
