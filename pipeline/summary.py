"""What a run came to: one plain object, as a table for people or as JSON for machines."""

# Plain classes: dataclasses imports inspect, a fifth of what a quiet replay takes to start.
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from suricata.streams import Report
    from suricata.summary import AlertRow

VERDICTS = {
    "stripped": "header taken out",
    "plain": "no header: internal, passed as it is",
    "incomplete": "ended before its header did",
    "malformed": "header broken, or required and absent",
    "midstream": "its beginning was not captured",
    "untrusted": "header from where no gateway is: not believed",
}
OUTCOMES = {
    "exact": "led to their connection by its start",
    "time": "led to their connection by their time",
    "late": "led to a connection that had ended",
    "none": "of no known connection, addresses as on the wire",
    "other_proto": "not TCP, addresses as on the wire",
    "no_tuple": "of no connection at all",
    "already": "corrected before",
}
ALERT_ROWS = 20

Section = tuple[str, "RenderableType"]
Row = tuple[str, str, str]


class Events:
    """What Suricata said and what became of it.

    `outcomes` says how sure each event's correction is, `rejected` how many lines are no events;
    `alerts` has one row for each attacker, decoy and signature, the most frequent first, and
    `more_alerts` counts those beyond the rows.
    """

    def __init__(
        self,
        version: str | None = None,
        types: dict[str, int] | None = None,
        outcomes: dict[str, int] | None = None,
        rejected: int = 0,
        alerts: Sequence[AlertRow] = (),
        more_alerts: int = 0,
    ) -> None:
        self.version = version
        self.types = types or {}
        self.outcomes = outcomes or {}
        self.rejected = rejected
        self.alerts = alerts
        self.more_alerts = more_alerts

    def take(self, report: Report) -> None:
        """Take over what the correction of events came to."""
        self.types = _most_first(report.stats["types"])
        self.outcomes = _most_first(report.stats["outcomes"])
        self.rejected = report.stats["rejected"]
        self.alerts = report.alerts.rows()
        self.more_alerts = report.alerts.others

    def as_dict(self) -> dict[str, Any]:
        """Give the object that `--json` prints."""
        from dataclasses import asdict

        return {
            "version": self.version,
            "events": self.types,
            "outcomes": self.outcomes,
            "rejected": self.rejected,
            "alerts": [asdict(row) for row in self.alerts],
            "more_alerts": self.more_alerts,
        }


class Summary:
    """All that the table of a replay shows.

    `stats` is the core's own accounting; `failure` says in a sentence why the run could not finish.
    """

    def __init__(
        self,
        inputs: list[str],
        outputs: dict[str, str],
        mode: str,
        stats: dict[str, Any] | None = None,
        events: Events | None = None,
        warnings: Sequence[str] = (),
        failure: str | None = None,
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.mode = mode
        self.stats = stats or {}
        self.events = events
        self.warnings = list(warnings)
        self.failure = failure
        self.interrupted = False
        self.seconds = 0.0

    @property
    def truncated(self) -> bool:
        """Whether an input ended in the middle of a packet."""
        return bool(self.stats.get("capture", {}).get("truncated"))

    def as_dict(self) -> dict[str, Any]:
        """Give the object that `--json` prints; docs/replay.md lists its keys."""
        stats = self.stats
        return {
            "inputs": self.inputs,
            "outputs": self.outputs,
            "mode": self.mode,
            "interrupted": self.interrupted,
            "failure": self.failure,
            "seconds": round(self.seconds, 3),
            "packets": stats.get("packets", {}),
            "merged": stats.get("merged", {}),
            "dropped": stats.get("dropped", {}),
            "connections": stats.get("connections", {}),
            "codecs": stats.get("codecs", {}),
            "bytes_removed": stats.get("bytes_removed", 0),
            "oddities": stats.get("events", {}),
            "capture": stats.get("capture", {}),
            "warnings": self.warnings,
            "suricata": self.events.as_dict() if self.events is not None else None,
        }


def render(summary: Summary, console: Console) -> None:
    """Print the table; sections that have nothing to say are left out."""
    sections = _core_sections(summary.stats) if summary.stats else []
    if summary.events is not None and (summary.events.types or summary.failure is None):
        sections += event_sections(summary.events)
    if summary.outputs:
        rows = [(what, name, "") for what, name in summary.outputs.items()]
        sections.append(("Written", _table(rows, right=False)))
    print_sections(sections, console)


def print_sections(sections: Sequence[Section], console: Console) -> None:
    """Print titles, and what they head, indented."""
    from rich.padding import Padding

    for title, body in sections:
        console.print(title, style="bold", highlight=False, markup=False)
        console.print(Padding(body, (0, 0, 0, 2), expand=False), highlight=False)
        console.print()


def _core_sections(stats: dict[str, Any]) -> list[Section]:
    sections: list[Section] = []
    connections = _present(stats.get("connections"))
    if connections:
        rows = [(_n(n), name, VERDICTS.get(name, "")) for name, n in connections.items()]
        sections.append((f"Connections: {_n(sum(connections.values()))}", _table(rows)))
    elif stats.get("packets", {}).get("in"):
        none = "none is on a leg of the configuration; compare its from and to with the capture"
        sections.append(("Connections: 0", _table([(none,)], right=False)))
    codecs = _present(stats.get("codecs"))
    if codecs:
        rows = [(_n(n), name, "") for name, n in codecs.items()]
        title = f"Headers taken out: {_n(stats.get('bytes_removed', 0))} bytes"
        sections.append((title, _table(rows)))
    sections.append(("Packets", _table(_packet_rows(stats))))
    oddities = _present(stats.get("events"))
    if oddities:
        sections.append(("Oddities", _table([(_n(n), name, "") for name, n in oddities.items()])))
    return sections


def _packet_rows(stats: dict[str, Any]) -> list[Row]:
    packets = stats.get("packets", {})
    rows = [(_n(packets.get("in", 0)), "read", ""), (_n(packets.get("emitted", 0)), "emitted", "")]
    for what in ("merged", "dropped"):
        reasons = ", ".join(f"{name} {_n(n)}" for name, n in _present(stats.get(what)).items())
        if packets.get(what) or what == "dropped":
            rows.append((_n(packets.get(what, 0)), what, reasons))
    if packets.get("held"):
        rows.append((_n(packets["held"]), "held", "not yet decided when the run ended"))
    for name, n in _present(stats.get("capture", {}).get("skipped")).items():
        rows.append((_n(n), "left out", name))
    return rows


def event_sections(events: Events) -> list[Section]:
    """Show events by type, how they were corrected, and the alerts."""
    total = _n(sum(events.types.values()))
    title = f"Suricata {events.version}: {total} events" if events.version else f"Events: {total}"
    sections: list[Section] = [
        (title, _table([(_n(n), name, "") for name, n in events.types.items()]))
    ]
    outcomes = _present(events.outcomes)
    rows = [(_n(n), OUTCOMES.get(name, name), "") for name, n in outcomes.items()]
    if events.rejected:
        rows.append((_n(events.rejected), "lines that are no events, left out", ""))
    if rows:
        sections.append(("Correction", _table(rows)))
    if events.alerts:
        total = _n(sum(row.count for row in events.alerts) + events.more_alerts)
        sections.append((f"Alerts: {total}", _alerts(events)))
    return sections


def _alerts(events: Events) -> Table:
    rows = []
    for row in events.alerts[:ALERT_ROWS]:
        attacker = row.attacker if row.true else f"{row.attacker} (on the wire)"
        attacked = endpoint(row.decoy, row.decoy_port)
        rows.append((_n(row.count), attacker, attacked, f"{row.signature} [{row.signature_id}]"))
    rest = events.alerts[ALERT_ROWS:]
    if rest or events.more_alerts:
        count = sum(row.count for row in rest) + events.more_alerts
        rows.append((_n(count), "", "", "more; --json has the rows"))
    return _table(rows, "count", "attacker", "attacked", "signature")


def endpoint(address: str, port: int | None) -> str:
    """Write an address and port as one: 192.0.2.1:80, [2001:db8::1]:80."""
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _table(rows: Sequence[Sequence[str]], *header: str, right: bool = True) -> Table:
    """Make a table without lines; its first column holds numbers unless not `right`."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=bool(header), header_style="dim", pad_edge=False)
    for at in range(max(map(len, rows), default=0)):
        table.add_column(
            header[at] if header else "",
            justify="right" if right and at == 0 else "left",
            overflow="fold",
        )
    for row in rows:
        # As text, not markup, and without control characters: some of it an attacker may choose.
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def printable(text: str) -> str:
    """Show control characters instead of letting the terminal obey them."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _present(counts: dict[str, int] | None) -> dict[str, int]:
    """Leave out what was not seen."""
    return {name: n for name, n in (counts or {}).items() if n}


def _most_first(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _n(number: int) -> str:
    return f"{number:,}"
