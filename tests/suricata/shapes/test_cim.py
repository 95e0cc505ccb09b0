from __future__ import annotations

import copy
from typing import Any

import orjson
from hypothesis import given

from suricata.shapes.cim import MODELS, cim

from .material import SUMMARY, broken, corrected, enriched, of, some
from .published import cim_models


def test_every_alert_has_what_the_model_of_intrusions_needs() -> None:
    needed = {"action", "category", "dvc", "ids_type", "severity", "signature", "vendor_product"}
    ends = {"src", "src_port", "dest", "dest_port", "transport"}
    for event in corrected():
        if event["event_type"] == "alert":
            shaped = cim(event)
            assert needed <= shaped.keys()
            assert ends <= shaped.keys() or "ICMP" in event["proto"]


def test_words_are_those_that_a_model_allows() -> None:
    for event in [*corrected(), *enriched()]:
        model = MODELS.get(event["event_type"], "Network_Traffic")
        shaped = cim(event)
        for name, allowed in cim_models()[model]["fields"].items():
            if allowed and name in shaped:
                assert shaped[name] in allowed, (model, name)


def test_the_names_that_we_say_are_names_of_the_models() -> None:
    known = {name for model in cim_models().values() for name in model["fields"]}
    ours = {"packet_direction", "ssl_issuer_organization"}
    for event in [*corrected(), *enriched()]:
        added = cim(event).keys() - event.keys()
        assert added <= known | ours, event["event_type"]


def test_the_attacker_is_the_source_and_the_leg_its_translation() -> None:
    event = of("fileinfo")
    shaped = cim(event)
    assert (shaped["src"], shaped["src_port"]) == ("203.0.113.1", 50000)
    assert (shaped["dest"], shaped["dest_port"]) == ("192.168.110.2", 8000)
    assert (shaped["src_translated_ip"], shaped["src_translated_port"]) == ("172.16.23.1", 40000)
    assert (shaped["dest_translated_ip"], shaped["dest_translated_port"]) == ("172.16.23.2", 9000)
    assert shaped["direction"] == "inbound"
    assert shaped["fileinfo"] == event["fileinfo"]
    assert shaped["peeltap"] == event["peeltap"]


def test_a_flow_adds_up() -> None:
    event = of("flow")
    shaped = cim(event)
    assert shaped["bytes"] == shaped["bytes_in"] + shaped["bytes_out"]
    assert shaped["bytes_out"] == event["flow"]["bytes_toserver"]
    assert shaped["action"] == "flow"


def test_http_and_tls_and_mail() -> None:
    web, certificate, mail = cim(of("http")), cim(of("tls")), cim(of("smtp"))
    assert web["url"] == "http://decoy.example/shell?ip=172.16.23.1&port=40000"
    assert (web["status"], web["http_method"], web["site"]) == ("200", "GET", "decoy.example")
    assert web["uri_path"] == "/shell"
    assert certificate["ssl_subject_common_name"] == "decoy.example"
    assert certificate["ssl_validity_window"] > 0
    assert (mail["src_user"], mail["recipient"]) == ("evil@example", ["root@decoy"])
    assert mail["recipient_domain"] == "decoy"


def test_dns_in_the_words_of_the_model() -> None:
    event = next(event for event in corrected() if event["event_type"] == "dns")
    shaped = cim(event)
    assert (shaped["message_type"], shaped["query"]) == ("Query", "decoy.example")
    answer = {
        "type": "answer",
        "rrname": "a.example",
        "rrtype": "A",
        "rcode": "NXDOMAIN",
        "id": 1,
        "answers": [{"rdata": "192.0.2.1"}],
    }
    shaped = cim({"event_type": "dns", "dns": answer})
    assert (shaped["reply_code"], shaped["reply_code_id"]) == ("Non-Existent Domain", "3")
    assert (shaped["answer"], shaped["answer_count"]) == (["192.0.2.1"], 1)


@some
@given(broken())
def test_it_takes_any_event_and_leaves_it_as_it_was(event: dict[str, Any]) -> None:
    before = copy.deepcopy(event)
    orjson.loads(orjson.dumps(cim(event)))
    assert event == before


def test_a_session_has_its_attacker() -> None:
    assert cim(SUMMARY)["src"] == "203.0.113.7"
