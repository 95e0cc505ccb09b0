"""Suricata's `stats` events as flat counters, for metrics.

    {"event_type": "stats", "stats": {"uptime": 8, "capture": {"kernel_packets": 4, ...}, ...}}
                            becomes   {"uptime": 8, "capture.kernel_packets": 4, ...}

The names are Suricata's own. They are many, and a hostile or broken file could make them more:
depth, number and length are bounded, and what lies beyond is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

MAX_COUNTERS: Final = 4096
MAX_DEPTH: Final = 8
MAX_NAME: Final = 128

HEADLINE: Final = (
    "capture.kernel_packets",
    "capture.kernel_drops",
    "decoder.pkts",
    "decoder.bytes",
    "decoder.invalid",
    "tcp.sessions",
    "tcp.reassembly_gap",
    "tcp.invalid_checksum",
    "flow.total",
    "flow.memuse",
    "detect.alert",
)
"""Those that a person looks at first."""


def fold(event: Mapping[str, Any]) -> dict[str, int | float]:
    """The counters of one `stats` event; empty for any other event."""
    stats = event.get("stats")
    if event.get("event_type") != "stats" or not isinstance(stats, dict):
        return {}
    counters: dict[str, int | float] = {}
    for name, value in _leaves(stats, "", 0):
        if len(counters) >= MAX_COUNTERS:
            break
        counters[name] = value
    return counters


def _leaves(node: Mapping[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, int | float]]:
    for key, value in node.items():
        name = prefix + key
        # `threads` repeats every counter for each thread; `detect.engines` is a list.
        if len(name) > MAX_NAME or name == "threads":
            continue
        if isinstance(value, dict):
            if depth < MAX_DEPTH:
                yield from _leaves(value, name + ".", depth + 1)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value
