"""Who attacked what: alerts added up for a table, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from .flows import Record

MAX_ROWS: Final = 10_000

_Key = tuple[str, str, "int | None", int, str]


@dataclass(slots=True)
class AlertRow:
    """One attacker, one attacked decoy, one signature; `first` and `last` are EVE timestamps.

    `true`: both ends come from a proxy header (or were restored), not from the leg.
    """

    attacker: str
    decoy: str
    decoy_port: int | None
    signature_id: int
    signature: str
    count: int
    first: str
    last: str
    true: bool


class AlertSummary:
    """Adds alerts up by attacker, decoy, port and signature.

    At most `max_rows` of them are told apart; alerts beyond are only counted, in `others`. With 0
    nobody wants any, and alerts need not even be looked at: see `count`.
    """

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self._rows: dict[_Key, AlertRow] = {}
        self._max = max_rows
        self.alerts = 0
        self.others = 0

    @property
    def tells(self) -> bool:
        """Whether any alerts are told apart."""
        return self._max > 0

    def count(self, alerts: int) -> None:
        """Count so many of them without telling them apart."""
        self.alerts += alerts
        self.others += alerts

    def add(self, event: dict[str, Any], record: Record | None) -> None:
        """Count one `alert` event; its ends are `record`'s, or if it has none, as they stand."""
        alert = event.get("alert")
        if type(alert) is not dict:
            return
        if not self.tells:
            self.count(1)
            return
        self.alerts += 1
        attacker, decoy, port = _ends(event, record)
        sid, name = alert.get("signature_id"), alert.get("signature")
        key: _Key = (
            attacker,
            decoy,
            port,
            sid if type(sid) is int else 0,
            _clean(name, 256) if type(name) is str else "",
        )
        stamp = event.get("timestamp")
        at = _clean(stamp, 64) if type(stamp) is str else ""
        row = self._rows.get(key)
        if row is not None:
            row.count += 1
            row.last = at
        elif len(self._rows) < self._max:
            true = record is not None and record.true is not None
            self._rows[key] = AlertRow(*key, 1, at, at, true)
        else:
            self.others += 1

    def rows(self) -> list[AlertRow]:
        """The rows, the most frequent first; equal ones in the order in which they came."""
        return sorted(self._rows.values(), key=lambda row: -row.count)


def _ends(event: dict[str, Any], record: Record | None) -> tuple[str, str, int | None]:
    """Attacker, decoy and the decoy's port.

    A proxied connection's client is the attacker. Of any other the rule's own `target` tells, then
    the flow's orientation, then the packet's direction.
    """
    if record is not None:
        ends = record.true or record.observed
        return ends.src_ip, ends.dest_ip, ends.dest_port
    alert, flow = event["alert"], event.get("flow")
    source, target = alert.get("source"), alert.get("target")
    if type(source) is dict and type(target) is dict:
        return _shown(source.get("ip")), _shown(target.get("ip")), _port(target.get("port"))
    named = flow if type(flow) is dict and "src_ip" in flow else event
    return (
        _shown(named.get("src_ip")),
        _shown(named.get("dest_ip")),
        _port(named.get("dest_port")),
    )


def _shown(ip: object) -> str:
    return _clean(ip, 64) if type(ip) is str else "?"


def _clean(text: str, length: int) -> str:
    # Half a surrogate pair gets through a lenient parser, and through no terminal.
    text = text[:length]
    return text if text.isascii() else text.encode(errors="replace").decode()


def _port(port: object) -> int | None:
    return port if type(port) is int else None
