"""What the picture counts while the attacks go on: packets on wires, what both Suricatas say."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from diversion.namespaces import Space
from pipeline.demo import programs
from reassembly.records import canonical_ip

LATEST: Final = 6
"""Alerts that are shown on the screen."""


@dataclass
class Alert:
    """One alert as a line of the screen."""

    source: str
    decoy: str
    port: int
    signature: str


@dataclass
class Voice:
    """What one file of events says, followed while it grows."""

    path: Path
    events: int = 0
    alerts: int = 0
    named: Counter[str] = field(default_factory=Counter)
    """Alerts by who is named in them."""
    latest: deque[Alert] = field(default_factory=lambda: deque(maxlen=LATEST))
    _at: int = 0

    def read(self) -> None:
        """Take the whole lines that came since the last time."""
        if not self.path.exists():
            return
        with self.path.open("rb") as stream:
            stream.seek(self._at)
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                self._at += len(line)
                self._take(orjson.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        kind = event.get("event_type")
        if kind == "stats":
            return
        self.events += 1
        if kind == "alert":
            self.alerts += 1
            source, decoy = (canonical_ip(event[key]) for key in ("src_ip", "dest_ip"))
            self.named[source] += 1
            self.latest.append(
                Alert(source, decoy, event.get("dest_port", 0), event["alert"]["signature"])
            )


@dataclass
class Counters:
    """All of it, read together."""

    host: Space
    wires: tuple[str, ...]
    alone: Voice
    corrected: Voice
    packets: dict[str, int] = field(default_factory=dict)
    """Frames by interface, both directions."""
    stripped: int | None = None
    """Connections whose header Peeltap has taken out, as it says itself."""

    def read(self) -> None:
        """Look at everything once."""
        self.alone.read()
        self.corrected.read()
        said = programs.status()
        if said is not None:
            self.stripped = said["connections"].get("stripped", 0)
        with self.host.netlink() as netlink:
            for link in netlink.get_links():
                name, stats = link.get_attr("IFLA_IFNAME"), link.get_attr("IFLA_STATS64")
                if name in self.wires and stats is not None:
                    self.packets[name] = stats["rx_packets"] + stats["tx_packets"]
