from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given

from suricata.shapes.ocsf import ocsf

from .material import broken, corrected, different, enriched, of, some
from .published import ocsf_troubles, ocsf_word


def test_every_sample_keeps_to_the_published_schema() -> None:
    seen = set()
    plain = {(event["event_type"], *event): event for event in corrected()}
    for event in [*plain.values(), *different()]:
        shaped = ocsf(event)
        seen.add(shaped["class_uid"])
        assert shaped["type_uid"] == shaped["class_uid"] * 100 + shaped["activity_id"]
        assert ocsf_troubles(shaped) == [], event
    assert seen == {0, 2004, 4001}


@pytest.mark.parametrize("version", ["1.8.0"])
def test_a_later_version_only_adds(version: str) -> None:
    kinds = {event["event_type"]: event for event in different()}
    for event in kinds.values():
        if "src_ip" in event:
            assert ocsf_troubles(ocsf(event), version) == [], event


@some
@given(broken())
def test_so_does_any_event_and_it_is_left_as_it_was(event: dict[str, Any]) -> None:
    before = copy.deepcopy(event)
    shaped = ocsf(event)
    assert ocsf_troubles(shaped) == []
    orjson.loads(orjson.dumps(shaped))
    assert event == before


def test_the_check_sees_what_is_wrong() -> None:
    shaped = ocsf(of("alert"))
    assert ocsf_troubles(shaped | {"severity_id": 17})
    assert ocsf_troubles(shaped | {"src_endpoint": {"ip": "203.0.113.7"}})
    assert ocsf_troubles({name: value for name, value in shaped.items() if name != "finding_info"})
    assert ocsf_troubles(ocsf(of("http")) | {"dst_endpoint": {"port": 5}})


# An event's type | class | its category | what it is an activity of, in the words of 1.3.0
MEANT = [
    ("alert", "Detection Finding", "Findings", "Create"),
    ("flow", "Network Activity", "Network Activity", "Close"),
    ("drop", "Network Activity", "Network Activity", "Refuse"),
    ("http", "Network Activity", "Network Activity", "Traffic"),
    ("stats", "Base Event", "Uncategorized", "Other"),
]


@pytest.mark.parametrize(("kind", "class_", "category", "activity"), MEANT)
def test_classes_and_activities_are_those_that_are_meant(
    kind: str, class_: str, category: str, activity: str
) -> None:
    event = {"event_type": "stats"} if kind == "stats" else of("flow" if kind == "drop" else kind)
    shaped = ocsf(event | {"event_type": kind})
    told = [ocsf_word(shaped, name) for name in ("class_uid", "category_uid", "activity_id")]
    assert told == [class_, category, activity]


def test_a_finding_has_its_connection_and_the_proxies_as_evidence() -> None:
    event = next(
        e for e in enriched() if e["event_type"] == "alert" and "direction" in e["peeltap"]
    )
    shaped = ocsf(event)
    assert shaped["class_uid"] == 2004
    assert shaped["metadata"]["uid"] == shaped["finding_info"]["uid"] == "3f2a.118"
    assert shaped["finding_info"]["analytic"]["uid"] == str(event["alert"]["signature_id"])
    assert (shaped["action_id"], shaped["disposition_id"]) == (1, 1)
    [evidence] = shaped["evidences"]
    source, target = evidence["src_endpoint"], evidence["dst_endpoint"]
    assert source["ip"].startswith("203.0.113.")
    assert source["proxy_endpoint"]["ip"] == "172.16.23.1"
    assert source["proxy_endpoint"]["proxy_endpoint"]["ip"] == "172.16.23.2"
    assert source["location"]["country"] == "SE"
    assert source["autonomous_system"] == {"number": 29518, "name": "Bredband2 AB"}
    assert (target["ip"], target["name"], target["zone"]) == ("192.168.110.2", "web-1", "dmz")


# A priority of Suricata | severity_id
SEVERITIES = [(1, 4), (2, 3), (3, 2), (4, 1), (200, 99), ("x", 0), (None, 0)]


@pytest.mark.parametrize(("priority", "expected"), SEVERITIES)
def test_severities(priority: object, expected: int) -> None:
    event = of("alert")
    event["alert"]["severity"] = priority
    shaped = ocsf(event)
    assert shaped["severity_id"] == expected
    assert ocsf_troubles(shaped) == []


def test_an_activity_names_the_proxy_between() -> None:
    event = of("fileinfo")
    shaped = ocsf(event)
    assert shaped["class_uid"] == 4001
    assert shaped["metadata"]["profiles"] == ["network_proxy"]
    assert shaped["src_endpoint"] == {"ip": "203.0.113.1", "port": 50000}
    assert shaped["dst_endpoint"] == {"ip": "192.168.110.2", "port": 8000}
    assert shaped["proxy_endpoint"] == {
        "ip": "172.16.23.1",
        "port": 40000,
        "proxy_endpoint": {"ip": "172.16.23.2", "port": 9000},
    }
    assert shaped["connection_info"]["direction_id"] == 1
    assert shaped["unmapped"]["flow_id"] == event["flow_id"]


def test_a_flow_is_the_close_of_its_connection() -> None:
    event = of("flow")
    shaped, flow = ocsf(event), event["flow"]
    assert shaped["activity_id"] == 2
    assert shaped["traffic"]["bytes_out"] == flow["bytes_toserver"]
    assert shaped["traffic"]["bytes_in"] == flow["bytes_toclient"]
    assert shaped["end_time"] - shaped["start_time"] == shaped["duration"]


def test_alerts_that_became_one_say_how_many_they_were() -> None:
    event = of("alert")
    event["peeltap"] |= {
        "count": 40,
        "first": "2026-01-01T00:00:00.000000+0000",
        "last": "2026-01-01T00:00:50.000000+0000",
    }
    shaped = ocsf(event)
    assert (shaped["count"], shaped["duration"]) == (40, 50_000)


def test_tactics_that_a_rule_names_are_attacks() -> None:
    event = of("alert")
    event["alert"]["metadata"] = {
        "mitre_technique_id": ["T1190", "nonsense"],
        "mitre_tactic_id": ["TA0001"],
    }
    shaped = ocsf(event)
    assert shaped["finding_info"]["attacks"] == [
        {"technique": {"uid": "T1190"}, "tactic": {"uid": "TA0001"}}
    ]
    assert ocsf_troubles(shaped) == []


@pytest.mark.parametrize("odd", ["", "\x00", "x" * 70_000, 5, None], ids=range(5))
def test_a_certificate_may_say_anything(odd: object) -> None:
    for name in ("issuerdn", "serial", "fingerprint", "subject", "sni", "version"):
        event = of("tls")
        event["tls"][name] = odd
        assert ocsf_troubles(ocsf(event)) == []
