"""What a replay came to: one plain object, as a table for people or as JSON for machines."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from suricata.summary import AlertRow

VERDICTS = {
    "stripped": "header taken out",
    "plain": "no header: internal, passed as it is",
    "incomplete": "ended before its header did",
    "malformed": "header broken, or required and absent",
    "midstream": "its beginning was not captured",
    "untrusted": "header from an endpoint that no gateway names: not believed",
}
ALERT_ROWS = 20


@dataclass
class Suricata:
    """What came from Suricata."""

    version: str = ""
    events: Counter[str] = field(default_factory=Counter)
    confidence: Counter[str] = field(default_factory=Counter)
    alerts: list[AlertRow] = field(default_factory=list)
    """One row for each attacker, decoy and signature, the most frequent first."""
    more_alerts: int = 0
    """Alerts beyond those rows."""
    problems: Counter[str] = field(default_factory=Counter)
    """Lines of EVE that could not be treated, by reason."""


@dataclass
class Summary:
    """All that the table shows; `stats` is the core's own accounting (`Replay.stats`)."""

    inputs: list[str]
    outputs: dict[str, str]
    mode: str
    stats: dict[str, Any] = field(default_factory=dict)
    suricata: Suricata | None = None
    warnings: list[str] = field(default_factory=list)
    interrupted: bool = False
    failure: str | None = None
    """Why the run could not finish, as a sentence."""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Give the object that `--json` prints; docs/replay.md lists its keys."""
        stats = self.stats
        result: dict[str, Any] = {
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
            "suricata": None,
        }
        if self.suricata is not None:
            result["suricata"] = {
                "version": self.suricata.version,
                "events": dict(self.suricata.events.most_common()),
                "confidence": dict(self.suricata.confidence.most_common()),
                "problems": dict(self.suricata.problems.most_common()),
                "alerts": [asdict(row) for row in self.suricata.alerts],
                "more_alerts": self.suricata.more_alerts,
            }
        return result


def render(summary: Summary, console: Console) -> None:
    """Print the table; sections that have nothing to say are left out."""
    from rich.padding import Padding

    for title, body in _sections(summary):
        console.print(title, style="bold", highlight=False)
        console.print(Padding(body, (0, 0, 1, 2)))


def _sections(summary: Summary) -> list[tuple[str, RenderableType]]:
    stats = summary.stats
    sections: list[tuple[str, RenderableType]] = []
    connections = {name: n for name, n in stats.get("connections", {}).items() if n}
    if connections:
        sections.append(
            (
                f"Connections: {_n(sum(connections.values()))}",
                _counts([(_n(n), name, VERDICTS.get(name, "")) for name, n in connections.items()]),
            )
        )
    codecs = {name: n for name, n in stats.get("codecs", {}).items() if n}
    if codecs:
        sections.append(
            (
                f"Headers taken out: {_n(stats.get('bytes_removed', 0))} bytes",
                _counts([(_n(n), name, "") for name, n in codecs.items()]),
            )
        )
    sections.append(("Packets", _counts(_packet_rows(stats))))
    oddities = {name: n for name, n in stats.get("events", {}).items() if n}
    if oddities:
        sections.append(("Oddities", _counts([(_n(n), name, "") for name, n in oddities.items()])))
    if summary.suricata is not None:
        sections += _suricata_sections(summary.suricata)
    if summary.outputs:
        rows = [(what, name, "") for what, name in summary.outputs.items()]
        sections.append(("Written", _counts(rows, numbers=False)))
    return sections


def _packet_rows(stats: dict[str, Any]) -> list[tuple[str, str, str]]:
    packets = stats.get("packets", {})
    rows = [(_n(packets.get("in", 0)), "read", ""), (_n(packets.get("emitted", 0)), "emitted", "")]
    for what in ("merged", "dropped"):
        reasons = {name: n for name, n in stats.get(what, {}).items() if n}
        text = ", ".join(f"{name} {_n(n)}" for name, n in reasons.items())
        if packets.get(what) or what == "dropped":
            rows.append((_n(packets.get(what, 0)), what, text))
    if packets.get("held"):
        rows.append((_n(packets["held"]), "held", "not yet decided when the run ended"))
    skipped = {name: n for name, n in stats.get("capture", {}).get("skipped", {}).items() if n}
    for name, n in skipped.items():
        rows.append((_n(n), "not packets", name))
    return rows


def _suricata_sections(suricata: Suricata) -> list[tuple[str, RenderableType]]:
    events = suricata.events.most_common()
    sections: list[tuple[str, RenderableType]] = []
    matched = sum(n for name, n in suricata.confidence.items() if name != "none")
    unmatched = suricata.confidence.get("none", 0)
    title = f"Suricata {suricata.version}: {_n(sum(n for _, n in events))} events"
    rows = [(_n(n), name, "") for name, n in events]
    if rows:
        rows.append((_n(matched), "led to a connection", "of these events"))
    if unmatched:
        rows.append((_n(unmatched), "not led to one", "marked confidence: none"))
    for name, n in suricata.problems.items():
        rows.append((_n(n), "lines not treated", name))
    sections.append((title, _counts(rows) if rows else "nothing seen"))
    if suricata.alerts:
        total = sum(row.count for row in suricata.alerts) + suricata.more_alerts
        sections.append((f"Alerts: {_n(total)}", _alerts(suricata)))
    return sections


def _alerts(suricata: Suricata) -> RenderableType:
    table = _table("count", "attacker", "attacked", "signature", header=True)
    table.columns[0].justify = "right"
    table.columns[3].overflow = "fold"
    for row in suricata.alerts[:ALERT_ROWS]:
        attacker = row.attacker if row.true else f"{row.attacker} (on the wire)"
        attacked = endpoint(row.decoy, row.decoy_port)
        table.add_row(_n(row.count), attacker, attacked, f"{row.signature} [{row.signature_id}]")
    rest = suricata.alerts[ALERT_ROWS:]
    if rest or suricata.more_alerts:
        count = sum(row.count for row in rest) + suricata.more_alerts
        table.add_row(_n(count), "", "", "more; --json has the rows")
    return table


def endpoint(address: str, port: int | None) -> str:
    """Write an address and port as one: 192.0.2.1:80, [2001:db8::1]:80."""
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _counts(rows: list[tuple[str, str, str]], *, numbers: bool = True) -> RenderableType:
    table = _table("", "", "", header=False)
    if numbers:
        table.columns[0].justify = "right"
    for row in rows:
        table.add_row(*row)
    return table


def _table(*columns: str, header: bool) -> Any:
    from rich.table import Table
    from rich.text import Text

    class PlainTable(Table):
        """A table whose cells are text, whatever brackets an attacker put into them."""

        def add_row(self, *cells: str) -> None:  # type: ignore[override]
            super().add_row(*(Text(cell) for cell in cells))

    return PlainTable(
        *columns,
        box=None,
        show_header=header,
        header_style="dim",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )


def _n(number: int) -> str:
    """Group digits with thin marks that every terminal has."""
    return f"{number:,}"
