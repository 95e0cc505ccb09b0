"""The EVE samples that real Suricata made, and flow records for their connections."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reassembly.records import Counters, Endpoints, FlowRecord, HeaderSeen
from reassembly.store import MemoryStore

SAMPLES = Path(__file__).parents[2] / "fixtures" / "eve"
SEED = 7
START = 1767225600
DECOY = {4: "192.168.110.2", 6: "2001:db8:110::2"}


def lines() -> list[bytes]:
    """Each event of the samples, as Suricata wrote it."""
    return (SAMPLES / "events.json").read_bytes().splitlines()


def record(name: str, *, restored: bool = False) -> FlowRecord:
    """What the engine would have remembered of the samples' connection `name`."""
    names: dict[str, Any] = json.loads((SAMPLES / "names.json").read_text())
    ends = names[name]
    number = list(names).index(name)
    family = 6 if ":" in ends["client"] else 4
    attacker = f"203.0.113.{number + 1}" if family == 4 else f"2001:db8:203::{number + 1}"
    return FlowRecord(
        id=f"{number:016x}",
        epoch=0,
        proto="TCP",
        observed=Endpoints(
            ends["client"], ends["client_port"], ends["server"], ends["server_port"]
        ),
        vlan=(),
        true=Endpoints(attacker, 50000 + number, DECOY[family], 8000 + number),
        headers=(HeaderSeen("proxy-v2", 28, {}),),
        start=(START + number) * 1_000_000_000,
        end=(START + number + 1) * 1_000_000_000,
        verdict="stripped",
        restored=restored,
        packets=Counters(0, 0),
        bytes=Counters(0, 0),
    )


def store() -> MemoryStore:
    """A store that knows every connection of the samples."""
    names = json.loads((SAMPLES / "names.json").read_text())
    found = MemoryStore()
    found.add_many(record(name) for name in names)
    return found
