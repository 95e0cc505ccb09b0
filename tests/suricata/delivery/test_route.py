"""Which events go where: a table of rules and events."""

from __future__ import annotations

from typing import Any

import pytest

from suricata.delivery.route import Route, decoy_names
from suricata.event_settings import WhenSettings

ALERT: dict[str, Any] = {
    "event_type": "alert",
    "src_ip": "203.0.113.7",
    "src_port": 4444,
    "dest_ip": "192.168.110.2",
    "dest_port": 80,
    "alert": {"signature_id": 2001, "gid": 1, "signature": "ET SCAN nmap", "severity": 2},
    "peeltap": {"decoy": {"name": "web-1"}, "direction": "to_server"},
}
# The server's answer gave the alert: the decoy is the source.
ANSWER = {
    **ALERT,
    "src_ip": "192.168.110.2",
    "src_port": 80,
    "dest_ip": "203.0.113.7",
    "dest_port": 4444,
    "peeltap": {"direction": "to_client"},
}
FLOW = {"event_type": "flow", "flow_id": 5, "src_ip": "203.0.113.7", "dest_ip": "192.168.110.2"}
ODD = {"event_type": ["alert"], "alert": "none", "peeltap": 7, "src_ip": 5}

# The rule | alert | answer | flow | odd
RULES: list[tuple[dict[str, Any], bool, bool, bool, bool]] = [
    ({}, True, True, True, True),
    ({"types": ["alert", "anomaly"]}, True, True, False, False),
    ({"severity": 2}, True, True, False, False),
    ({"severity": 1}, False, False, False, False),
    ({"decoys": ["web-*"]}, True, False, False, False),
    ({"decoys": ["192.168.110.?"]}, True, True, True, False),
    ({"decoys": ["web-2", "db"]}, False, False, False, False),
    ({"signatures": [2001]}, True, True, False, False),
    ({"signatures": ["ET SCAN *"]}, True, True, False, False),
    ({"signatures": ["SCAN"]}, False, False, False, False),
    ({"types": ["flow"], "decoys": ["192.*"]}, False, False, True, False),
]


@pytest.mark.parametrize(("rule", "alert", "answer", "flow", "odd"), RULES)
def test_what_a_rule_takes(
    rule: dict[str, Any], alert: bool, answer: bool, flow: bool, odd: bool
) -> None:
    route = Route([WhenSettings.model_validate(rule)])
    found = [route.takes(event) for event in (ALERT, ANSWER, FLOW, ODD)]
    assert found == [alert, answer, flow, odd]


def test_any_rule_suffices_and_none_is_all() -> None:
    both = Route([WhenSettings(severity=1), WhenSettings(types=["flow"])])
    assert [both.takes(event) for event in (ALERT, FLOW)] == [False, True]
    assert Route().is_open
    assert Route().takes(ODD)
    assert not both.is_open


def test_a_sample_is_of_whole_flows_and_stable() -> None:
    route = Route(sample={"flow": 10, "dns": 1})
    assert not route.is_open
    assert Route(sample={"dns": 1}).is_open
    flows = [{"event_type": "flow", "flow_id": n} for n in range(5000)]
    taken = [event["flow_id"] for event in flows if route.takes(event)]
    assert len(taken) == pytest.approx(500, rel=0.2)
    assert taken == [event["flow_id"] for event in flows if Route(sample={"flow": 10}).takes(event)]
    assert route.takes(ALERT)
    # Without a flow's number the connection's own, or whatever tells it.
    assert Route(sample={"flow": 1 << 30}).takes({"event_type": "flow", "timestamp": "x"}) is False


def test_a_decoy_is_called_by_its_address_and_its_name() -> None:
    assert decoy_names(ALERT) == ["192.168.110.2", "web-1"]
    assert decoy_names(ANSWER) == ["192.168.110.2"]
    assert decoy_names(ODD) == [""]
