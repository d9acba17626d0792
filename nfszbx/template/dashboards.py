"""What one looks at: the server as a whole, its clients, and nfszbx itself."""

from collections.abc import Sequence

from nfszbx.template.parts import TEMPLATE, Node, Version, make_uuid

Figures = Sequence[tuple[str, str, int]]
Place = tuple[int, int, int, int]

_WIDTH = {Version.V6_0: 24, Version.V7_0: 72}
_TYPES = {
    Version.V6_0: {"item": "ITEM", "graphs": "GRAPH_PROTOTYPE", "text": "PLAIN_TEXT"},
    Version.V7_0: {"item": "item", "graphs": "graphprototype", "text": "itemhistory"},
}
_TEXT_ITEM = {Version.V6_0: "itemids", Version.V7_0: "columns.0.itemid"}
_LIST_SETTINGS: dict[Version, list[Node]] = {
    Version.V6_0: [],
    Version.V7_0: [
        {"type": "STRING", "name": "columns.0.name", "value": "Busiest clients"},
        {"type": "INTEGER", "name": "show_column_header", "value": "0"},
    ],
}
_FIGURES = (
    ("Measuring", "nfszbx.child_up", 0),
    ("Active clients", "nfszbx.clients.active", 0),
    ("Received per second", "nfszbx.clients.receive_bytes_per_second", 1),
    ("Sent per second", "nfszbx.clients.transmit_bytes_per_second", 1),
    ("Values that wait", "nfszbx.sink_queue_length", 0),
    ("Map of clients", "nfszbx.map_fill", 1),
)
"""Title, item, and decimal places."""
_OPERATION_FIGURES = (
    ("Operations per second", "nfszbx.nfs.operations_per_second", 0),
    ("Failed per second", "nfszbx.nfs.errors_per_second", 1),
    ("Read per second", "nfszbx.nfs.read_bytes_per_second", 1),
    ("Written per second", "nfszbx.nfs.write_bytes_per_second", 1),
    ("Busy threads", "nfszbx.nfs.threads_busy", 1),
    ("Wait for a thread, 95 %", "nfszbx.nfs.thread_wait_p95_seconds", 1),
)
_SHOW_VALUE = "2"
_TOP, _BOTTOM = 2, 10
"""Rows; with the menu they fit on a screen of 1920 x 1080."""


def make_dashboards(version: Version) -> list[Node]:
    """One dashboard of pages that follow each other."""
    name = "Linux file server"
    return [
        {
            "uuid": make_uuid("dashboard", name),
            "name": name,
            "auto_start": "NO",
            "pages": [
                {"name": "Overview", "widgets": _make_overview(version)},
                {
                    "name": "Clients",
                    "widgets": [
                        _make_graphs(version, "{#ID}: Traffic", (0, 0, 24, _TOP + _BOTTOM), (3, 3))
                    ],
                },
                {"name": "NFS operations", "widgets": _make_operations(version)},
            ],
        }
    ]


def _make_overview(version: Version) -> list[Node]:
    return [
        *_make_figures(version, _FIGURES),
        _make_graphs(version, "{#SERVICE}: Traffic", (0, _TOP, 16, _BOTTOM), (2, 2)),
        _make_list(version, "nfszbx.clients.top", (16, _TOP, 8, _BOTTOM)),
    ]


def _make_operations(version: Version) -> list[Node]:
    half = _BOTTOM // 2
    return [
        *_make_figures(version, _OPERATION_FIGURES),
        _make_graphs(
            version, "NFS {#ID}: Operations", (0, _TOP, 8, _BOTTOM), (1, 2), reference="NFSZO"
        ),
        _make_graphs(
            version, "NFS {#ID}: Time of requests", (8, _TOP, 8, _BOTTOM), (1, 2), reference="NFSZT"
        ),
        _make_graphs(
            version, "NFS export {#EXPORT}: Bytes", (16, _TOP, 8, half), (1, 1), reference="NFSZE"
        ),
        _make_list(version, "nfszbx.nfs.clients.top", (16, _TOP + half, 8, half)),
    ]


def _make_figures(version: Version, figures: Figures) -> list[Node]:
    width = 24 // len(figures)
    return [
        _make_widget(
            version,
            "item",
            title,
            (number * width, 0, width, _TOP),
            [
                _item(_field(version, "itemid"), key),
                _integer(_field(version, "show"), _SHOW_VALUE),
                _integer("decimal_places", decimals),
                _integer("value_size", 30),
                _integer("units_size", 20),
            ],
        )
        for number, (title, key, decimals) in enumerate(figures)
    ]


def _make_list(version: Version, key: str, place: Place) -> Node:
    return _make_widget(
        version,
        "text",
        "Busiest clients",
        place,
        [
            _item(_TEXT_ITEM[version], key),
            _integer("show_lines", 1),
            *_LIST_SETTINGS[version],
        ],
    )


def _make_graphs(
    version: Version,
    graph: str,
    place: Place,
    grid: tuple[int, int],
    *,
    reference: str = "NFSZB",
) -> Node:
    """One graph for each discovered thing, so many columns and rows at a time."""
    columns, rows = grid
    fields: list[Node] = [
        {
            "type": "GRAPH_PROTOTYPE",
            "name": _field(version, "graphid"),
            "value": {"name": graph, "host": TEMPLATE},
        },
        _integer("columns", columns),
        _integer("rows", rows),
    ]
    if version is not Version.V6_0:  # the single graphs take their time from it by this name
        fields.append({"type": "STRING", "name": "reference", "value": reference})
    return _make_widget(version, "graphs", "", place, fields)


def _field(version: Version, name: str) -> str:
    """Since 7.0 such fields are lists."""
    return name if version is Version.V6_0 else f"{name}.0"


def _item(field: str, key: str) -> Node:
    return {"type": "ITEM", "name": field, "value": {"key": key, "host": TEMPLATE}}


def _integer(field: str, value: object) -> Node:
    return {"type": "INTEGER", "name": field, "value": str(value)}


def _make_widget(version: Version, kind: str, name: str, place: Place, fields: list[Node]) -> Node:
    """``place`` is on a grid of 24 columns, which is what 6.0 has."""
    x, y, width, height = place
    scale = _WIDTH[version] // 24
    return {
        "type": _TYPES[version][kind],
        **({"name": name} if name else {}),
        "x": str(x * scale),
        "y": str(y),
        "width": str(width * scale),
        "height": str(height),
        "fields": fields,
    }
