"""What one Suricata said, added up: the two sides of every comparison in the demo."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from reassembly.records import canonical_ip
from suricata.summary import AlertRow, AlertSummary

UNDERSTOOD = ("HTTP requests", "TLS server names", "SSH clients", "SMTP senders")
"""What Suricata can only know if it reads what the attacker sends.

Of most protocols it recognises the server's half even behind a header. Then there is an `http`
event whose method and URL are the header's bytes, an `ssh` event without a client.
"""

_METHOD = re.compile(r"[A-Z]+")


@dataclass
class Side:
    """What one Suricata said."""

    packets: int = 0
    types: Counter[str] = field(default_factory=Counter)
    understood: Counter[str] = field(default_factory=Counter)
    alerts: Sequence[AlertRow] = ()
    flows: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Connections by who it says connected to whom."""
    example: dict[str, Any] | None = None
    """The first event that tells of an attack."""

    def as_dict(self) -> dict[str, Any]:
        """Give the object that `--json` prints."""
        flows = [
            {"source": source, "destination": destination, "connections": count}
            for (source, destination), count in self.flows.most_common()
        ]
        return {
            "packets": self.packets,
            "understood": {name: self.understood[name] for name in UNDERSTOOD},
            "events": dict(self.types.most_common()),
            "alerts": [asdict(row) for row in self.alerts],
            "flows": flows,
        }


def read_side(eve: Path) -> Side:
    """Add up a file of events."""
    side, alerts = Side(), AlertSummary()
    with eve.open("rb") as stream:
        for line in stream:
            event = orjson.loads(line)
            kind = event.get("event_type", "")
            side.types[kind] += 1
            for name in understood(kind, event.get(kind)):
                side.understood[name] += 1
            if kind == "flow":
                side.flows[canonical_ip(event["src_ip"]), canonical_ip(event["dest_ip"])] += 1
            elif kind == "alert":
                alerts.add(event, None)
                side.example = side.example or event
    side.alerts = alerts.rows()
    return side


def understood(kind: str, said: Any) -> Iterator[str]:
    """Tell what of the attacker's own words an event holds."""
    if not isinstance(said, dict):
        return
    if kind == "http" and _METHOD.fullmatch(said.get("http_method", "")):
        yield "HTTP requests"
    elif kind == "tls" and "sni" in said:
        yield "TLS server names"
    elif kind == "ssh" and "client" in said:
        yield "SSH clients"
    elif kind == "smtp" and "helo" in said:
        yield "SMTP senders"
