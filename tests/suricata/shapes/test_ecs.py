from __future__ import annotations

import copy
from typing import Any

import orjson
from hypothesis import given

from suricata.shapes.ecs import ecs

from .material import SUMMARY, broken, corrected, enriched, of, some
from .published import ecs_fields, ecs_troubles


def test_every_sample_keeps_to_the_published_schema() -> None:
    for event in [*corrected(), *enriched(), SUMMARY]:
        assert ecs_troubles(ecs(event)) == [], event


@some
@given(broken())
def test_so_does_any_event_and_it_is_left_as_it_was(event: dict[str, Any]) -> None:
    before = copy.deepcopy(event)
    shaped = ecs(event)
    assert ecs_troubles(shaped) == []
    orjson.loads(orjson.dumps(shaped))
    assert event == before


def test_the_check_sees_what_is_wrong() -> None:
    assert ecs_troubles({"source": {"prt": 1}}) == ["source.prt: no such field"]
    assert ecs_troubles({"event": {"severity": "1"}}) == ["event.severity: '1' is no long"]
    assert ecs_troubles({"event": {"category": "x"}}) == ["event.category: no array"]
    event = {"kind": "alarm", "category": ["web"], "type": ["denied", "new"], "outcome": "good"}
    assert ecs_troubles({"event": event}) == [
        "event.kind: 'alarm' is no word of it",
        "event.type: 'new' is no word of it",
        "event.outcome: 'good' is no word of it",
        "event.type: 'denied' is expected with none of its categories",
        "event.type: 'new' is expected with none of its categories",
    ]
    assert len(ecs_fields()) > 350


def test_an_answer_of_the_decoy_is_still_the_attackers_doing() -> None:
    """The file went from the decoy to the attacker; the attacker is the source all the same."""
    event = of("fileinfo")
    assert event["peeltap"]["direction"] == "to_client"
    shaped = ecs(event)
    assert shaped["source"]["ip"] == event["dest_ip"] == "203.0.113.1"
    assert shaped["source"]["nat"] == {"ip": "172.16.23.1", "port": 40000}
    assert shaped["destination"] == {
        "ip": "192.168.110.2",
        "address": "192.168.110.2",
        "port": 8000,
        "nat": {"ip": "172.16.23.2", "port": 9000},
    }
    assert shaped["network"]["direction"] == "inbound"
    assert shaped["network"]["community_id"] == event["community_id"]
    assert shaped["file"] == {"path": "/shell", "name": "shell", "size": 18}
    assert shaped["related"]["ip"] == [
        "203.0.113.1",
        "192.168.110.2",
        "172.16.23.1",
        "172.16.23.2",
    ]


def test_an_alert_is_an_alert_with_its_rule() -> None:
    event = of("alert")
    shaped = ecs(event)
    alert = event["alert"]
    assert shaped["event"]["kind"] == "alert"
    assert shaped["event"]["severity"] == alert["severity"]
    assert shaped["event"]["type"] == ["info", "allowed"]
    assert shaped["rule"]["id"] == str(alert["signature_id"])
    assert shaped["rule"]["name"] == shaped["message"] == alert["signature"]
    assert shaped["observer"]["type"] == "ids"
    assert shaped["suricata"]["eve"]["alert"].keys().isdisjoint({"signature", "severity"})


def test_alerts_that_became_one_say_from_when_to_when() -> None:
    event = of("alert")
    event["peeltap"] |= {
        "count": 40,
        "first": "2026-01-01T00:00:00.000000+0000",
        "last": "2026-01-01T00:00:50.000000+0000",
    }
    shaped = ecs(event)
    assert shaped["event"]["start"] == "2026-01-01T00:00:00.000000Z"
    assert shaped["event"]["duration"] == 50 * 10**9
    assert shaped["peeltap"]["count"] == 40
    assert ecs_troubles(shaped) == []


def test_tactics_that_a_rule_names_are_the_threats() -> None:
    event = of("alert")
    event["alert"]["metadata"] = {"mitre_technique_id": ["T1190"], "mitre_tactic_id": "TA0001"}
    threat = ecs(event)["threat"]
    assert threat == {"technique": {"id": ["T1190"]}, "tactic": {"id": ["TA0001"]}}


def test_a_flow_has_its_sums() -> None:
    event = of("flow")
    shaped, flow = ecs(event), event["flow"]
    assert shaped["source"]["bytes"] == flow["bytes_toserver"]
    assert shaped["destination"]["packets"] == flow["pkts_toclient"]
    assert shaped["network"]["bytes"] == flow["bytes_toserver"] + flow["bytes_toclient"]
    assert shaped["event"]["duration"] >= 0
    assert shaped["event"]["type"] == ["connection", "end"]


def test_one_half_of_netflow_counts_for_the_side_that_sent_it() -> None:
    halves = [of("netflow", number) for number in range(2)]
    directions = {half["peeltap"]["direction"]: half for half in halves}
    for direction, side in (("to_server", "source"), ("to_client", "destination")):
        half = directions[direction]
        assert ecs(half)[side]["bytes"] == half["netflow"]["bytes"]


def test_what_enrichment_added_is_where_it_belongs() -> None:
    event = next(e for e in enriched() if e["event_type"] == "ssh")
    shaped = ecs(event)
    assert shaped["event"]["id"] == "3f2a.118"
    assert shaped["source"]["geo"]["country_iso_code"] == "SE"
    assert shaped["source"]["as"]["number"] == 29518
    assert shaped["source"]["domain"] == "scan-7.example.net"
    assert shaped["destination"]["domain"] == "web-1"
    assert shaped["related"]["hosts"] == ["scan-7.example.net", "web-1"]
    assert shaped["peeltap"]["attacker"] == {"lists": ["scanner"]}
    assert shaped["peeltap"]["session"] == "s-0123456789abcdef"
    assert shaped["peeltap"]["segment"] == {"name": "dmz"}


def test_what_has_no_field_is_kept_and_what_has_one_is_not_repeated() -> None:
    event = of("http")
    rest = ecs(event)["suricata"]["eve"]
    assert rest["flow_id"] == event["flow_id"]
    assert rest["http"] == {"xff": "172.16.23.1"}
    assert "proto" not in rest


def test_a_value_of_a_wrong_type_stays_where_eve_had_it() -> None:
    event = of("http")
    event["http"]["status"] = "abc"
    event["community_id"] = 5
    rest = ecs(event)["suricata"]["eve"]
    assert rest["http"]["status"] == "abc"
    assert rest["community_id"] == 5


def test_dns_answers_and_the_addresses_in_them() -> None:
    answer = {
        "type": "answer",
        "id": 7,
        "rrname": "decoy.example",
        "rrtype": "A",
        "rcode": "NOERROR",
        "rd": True,
        "ra": True,
        "opcode": 0,
        "answers": [
            {"rrname": "decoy.example", "rrtype": "A", "ttl": 60, "rdata": "192.0.2.5"},
            {"rrname": "decoy.example", "rrtype": "TXT", "ttl": 60, "rdata": "no address"},
            "odd",
        ],
    }
    shaped = ecs({"event_type": "dns", "dns": answer})
    assert shaped["dns"]["resolved_ip"] == shaped["related"]["ip"] == ["192.0.2.5"]
    assert shaped["dns"]["header_flags"] == ["RD", "RA"]
    assert len(shaped["dns"]["answers"]) == 2
    assert ecs_troubles(shaped) == []


def test_a_session_is_summed_up() -> None:
    shaped = ecs(SUMMARY)
    assert shaped["event"]["duration"] == 300 * 10**9
    assert shaped["source"] == {"ip": "203.0.113.7", "address": "203.0.113.7", "bytes": 10}
    assert shaped["related"]["ip"] == ["203.0.113.7", "192.168.110.2"]
    assert shaped["peeltap"]["summary"]["connections"] == 3
    assert shaped["suricata"]["eve"] == {"event_type": "peeltap_session"}
