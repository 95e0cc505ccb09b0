"""Alerts added up: true attacker, attacked decoy, signature; bounded."""

from __future__ import annotations

from typing import Any

from suricata.enrich import Enricher
from suricata.summary import AlertSummary

from .samples import SEED, lines, record, store


def alert(sid: object = 1, **more: Any) -> dict[str, Any]:
    return {"timestamp": "t", "alert": {"signature_id": sid, "signature": "s"}, **more}


def test_the_samples_alerts() -> None:
    enricher = Enricher(store(), community_id_seed=SEED, wait_events=0)
    enricher.feed(b"\n".join(lines()) + b"\n")
    rows = {
        (row.attacker, row.decoy, row.decoy_port, row.signature, row.count, row.true)
        for row in enricher.alerts.rows()
    }
    assert rows >= {
        ("203.0.113.1", "192.168.110.2", 8000, "path", 1, True),
        ("203.0.113.1", "192.168.110.2", 8000, "answer", 1, True),
        ("2001:db8:203::3", "2001:db8:110::2", 8002, "path", 1, True),
        ("203.0.113.4", "192.168.110.2", 8003, "banner", 1, True),
        ("203.0.113.7", "192.168.110.2", 8006, "sni", 1, True),
    }
    assert enricher.alerts.alerts == sum(row.count for row in enricher.alerts.rows())


# event of no known connection | attacker, decoy, port
UNKNOWN = [
    ({"src_ip": "a", "dest_ip": "b", "dest_port": 1}, ("a", "b", 1)),
    ({"src_ip": "a", "dest_ip": "b", "flow": {"src_ip": "b", "dest_ip": "a", "dest_port": 2}},
     ("b", "a", 2)),
    ({}, ("?", "?", None)),
    ({"src_ip": 7, "dest_ip": [], "dest_port": "x"}, ("?", "?", None)),
]  # fmt: skip


def test_alerts_of_no_known_connection() -> None:
    for event, (attacker, decoy, port) in UNKNOWN:
        summary = AlertSummary()
        summary.add(alert(**event), None)
        (row,) = summary.rows()
        assert (row.attacker, row.decoy, row.decoy_port, row.true) == (attacker, decoy, port, False)


def test_a_rules_target_tells_the_decoy() -> None:
    summary = AlertSummary()
    event = alert(src_ip="a", dest_ip="b")
    event["alert"] |= {"source": {"ip": "b"}, "target": {"ip": "a", "port": 9}}
    summary.add(event, None)
    assert [(row.attacker, row.decoy, row.decoy_port) for row in summary.rows()] == [("b", "a", 9)]


def test_rows_are_bounded_and_the_most_frequent_come_first() -> None:
    summary = AlertSummary(max_rows=3)
    known = record("http")
    for sid in (1, 2, 2, 3, 4, 5, 3, 3):
        summary.add(alert(sid), known)
    summary.add({"alert": "none"}, known)
    assert [(row.signature_id, row.count) for row in summary.rows()] == [(3, 3), (2, 2), (1, 1)]
    assert (summary.alerts, summary.others) == (8, 2)


def test_odd_alerts_are_counted_all_the_same() -> None:
    summary = AlertSummary()
    summary.add({"alert": {"signature_id": "x", "signature": None}}, None)
    summary.add({"alert": {"signature": "\ud800" * 1000}}, None)
    assert summary.alerts == 2
    # Fit for a terminal and for JSON.
    for row in summary.rows():
        row.signature.encode()
        assert len(row.signature) <= 256
