"""Counters from `stats` events: flat, bounded, Suricata's own names."""

from __future__ import annotations

from typing import Any

import pytest

from suricata import stats

EVENT = {
    "timestamp": "2026-01-01T00:00:00.000000+0000",
    "event_type": "stats",
    "stats": {
        "uptime": 8,
        "capture": {"kernel_packets": 4, "kernel_drops": 1, "errors": 0},
        "decoder": {"pkts": 4, "event": {"ipv4": {"pkt_too_small": 2}}},
        "tcp": {"sessions": 1, "rst": 0.5},
        "detect": {
            "alert": 3,
            "engines": [{"id": 0, "last_reload": "2026", "rules_loaded": 1}],
        },
        "threads": {"W#01-vtap0": {"decoder": {"pkts": 4}}},
        "flag": True,
        "word": "x",
    },
}


def test_folded() -> None:
    assert stats.fold(EVENT) == {
        "uptime": 8,
        "capture.kernel_packets": 4,
        "capture.kernel_drops": 1,
        "capture.errors": 0,
        "decoder.pkts": 4,
        "decoder.event.ipv4.pkt_too_small": 2,
        "tcp.sessions": 1,
        "tcp.rst": 0.5,
        "detect.alert": 3,
    }


@pytest.mark.parametrize(
    "event",
    [{}, {"event_type": "alert", "stats": {"a": 1}}, {"event_type": "stats", "stats": [1]}],
)
def test_other_events_have_none(event: dict[str, Any]) -> None:
    assert stats.fold(event) == {}


def test_bounded() -> None:
    many = {"event_type": "stats", "stats": {f"c{n}": n for n in range(10_000)}}
    assert len(stats.fold(many)) == stats.MAX_COUNTERS
    deep: dict[str, Any] = {"x": 1}
    for _ in range(500):
        deep = {"d": deep}
    assert stats.fold({"event_type": "stats", "stats": {**deep, "y": 1}}) == {"y": 1}
    assert stats.fold({"event_type": "stats", "stats": {"n" * 1000: 1}}) == {}
