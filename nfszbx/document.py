"""The samples of one interval as a document, the same for every sink that takes documents.

Built from the catalogue's labels alone: a new metric finds its place by itself.
"""

from collections.abc import Mapping
from typing import Any

from nfszbx import catalog_smb
from nfszbx.catalog import CLIENT_LABELS, FLOW_LABELS
from nfszbx.catalog_operations import LATENCY_LABELS, OPERATION_LABELS
from nfszbx.metric import Kind, Metric, Unit
from nfszbx.samples import Sample, Samples
from nfszbx.traffic import FLOWS

_FLOW_NAMES: Mapping[tuple[str, ...], str] = {flow: flow.name for flow in FLOWS}


def make_document(samples: Samples) -> dict[str, Any]:
    """``time``, ``complete``, ``services`` by name, ``clients`` as a list, and ``health``.

    Where Samba's sessions are known, ``smb``. With news of NFS operations also ``operations`` and
    ``latency``, both lists, and ``nfs``.
    """
    services: dict[str, dict[str, float]] = {}
    clients: dict[tuple[str, ...], dict[str, Any]] = {}
    health: dict[str, Any] = {}
    smb: dict[str, Any] = {}
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
        elif sample.metric in catalog_smb.METRICS:
            _place(smb, sample._replace(labels=(field, *sample.labels)))
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
        **({"smb": smb} if smb else {}),
        **(_make_operations(samples.operations) if samples.operations is not None else {}),
    }


def _make_operations(samples: tuple[Sample, ...]) -> dict[str, Any]:
    """Rows without the labels that are switched off, and what is told of the whole server.

    Of the times, percentiles: histograms are for those who compute with them.
    """
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    latency: dict[tuple[str, ...], dict[str, Any]] = {}
    server: dict[str, Any] = {}
    width = len(OPERATION_LABELS)
    for sample in samples:
        labels, field = sample.metric.labels, sample.metric.field
        if sample.metric.kind is Kind.HISTOGRAM:
            continue
        if labels == LATENCY_LABELS:
            _find_row(latency, labels, sample.labels)[field] = _number(sample)
        elif labels[:width] == OPERATION_LABELS:
            row = _find_row(rows, OPERATION_LABELS, sample.labels[:width])
            _place(row, sample._replace(labels=(field, *sample.labels[width:])))
        else:
            _place(server, sample._replace(labels=(field, *sample.labels)))
    return {"operations": list(rows.values()), "latency": list(latency.values()), "nfs": server}


def _find_row(
    rows: dict[tuple[str, ...], dict[str, Any]], names: tuple[str, ...], labels: tuple[str, ...]
) -> dict[str, Any]:
    row = rows.get(labels)
    if row is None:
        row = rows[labels] = {
            name: label for name, label in zip(names, labels, strict=True) if label
        }
    return row


def _place(table: dict[str, Any], sample: Sample) -> None:
    """Nest the value by its labels: ``{"exited": 2}``."""
    *above, last = sample.labels
    for label in above:
        table = table.setdefault(label, {})
    table[last] = _number(sample)


def round_value(metric: Metric, value: float) -> float:
    """To the thousandth of a byte per second; to the millionth of a second."""
    return round(value, 6 if metric.unit is Unit.SECONDS else 3)


def _number(sample: Sample) -> float:
    return round_value(sample.metric, sample.value)
