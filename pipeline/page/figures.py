"""The service's report as figures for the page: rates, drops, sinks, and what to look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pipeline.status import connection_rows, packet_rows, warnings
from pipeline.summary import printable

MAX_ROWS: Final = 50
MAX_TEXT: Final = 400

_SINK: Final = ("lines", "backlog", "dropped", "rejected", "retries")

Report = Mapping[str, Any]


def figures(report: Report) -> dict[str, Any]:
    """What the page shows of a report of the whole service; raises nothing for parts missing."""
    service, events = _part(report, "service"), _part(report, "events")
    rates = _part(report, "rates")
    return {
        "service": {key: _plain(service.get(key)) for key in ("version", "state", "mode")}
        | {"uptime": service.get("uptime_seconds"), "from": _plain(_interface(report))},
        "suricata": _plain(_part(report, "suricata").get("state")),
        "rates": {name: value for name, value in rates.items() if _is_number(value)},
        "tracked": _part(report, "table").get("tracked"),
        "lag": events.get("lag_seconds"),
        "unread": events.get("backlog_bytes"),
        "drops": [
            {"n": n, "why": _plain(why)}
            for n, what, why in packet_rows(report)[:MAX_ROWS]
            if what == "dropped"
        ],
        "connections": [
            {"n": n, "what": _plain(what)} for n, what, _ in connection_rows(report)[:MAX_ROWS]
        ],
        "sinks": [
            {
                "name": _plain(name),
                "kind": _plain(told.get("kind")),
                "trouble": _plain(told.get("trouble")),
                **{key: told.get(key) for key in _SINK if _is_number(told.get(key))},
            }
            for name, told in list(_part(events, "sinks").items())[:MAX_ROWS]
            if isinstance(told, Mapping)
        ],
        "warnings": [_plain(one) for one in warnings(report)[:MAX_ROWS]],
    }


def _interface(report: Report) -> str:
    return f"{_part(report, 'capture').get('interface', '?')}"


def _part(report: Report, name: str) -> Report:
    part = report.get(name)
    return part if isinstance(part, Mapping) else {}


def _plain(value: object) -> str | None:
    return None if value is None else printable(str(value)[:MAX_TEXT])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
