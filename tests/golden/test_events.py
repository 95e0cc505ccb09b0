"""Suricata's events, corrected: the alerts of the truth, and all else as without a proxy."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from fixtures.truth import Alert, Ends, Truth
from tests.golden.harness import (
    TRUTHS,
    Event,
    address,
    each,
    in_both_modes,
    known,
    replayed,
    suricata_on,
)

pytestmark = pytest.mark.suricata

# Fields in which the same conversation behind a proxy and without one may differ, and why.
MAY_DIFFER = {
    "timestamp": "two recordings, made one after the other",
    "flow_id": "Suricata draws it at random, and hashes addresses into it",
    "pcap_cnt": "counts packets of the whole capture; proxies acknowledge at other moments",
    "pcap_filename": "two files",
    "flow.start": "as timestamp",
    "flow.end": "as timestamp",
    "flow.age": "as timestamp; rounded to seconds",
    "flow.pkts_toserver": "proxies cut the stream into other segments and acknowledge separately",
    "flow.pkts_toclient": "as flow.pkts_toserver",
    "flow.bytes_toserver": "counts the segments' own headers; as flow.pkts_toserver",
    "flow.bytes_toclient": "as flow.bytes_toserver",
    "peeltap": "what peeltap adds",
}


def _without(event: Any, path: str = "") -> Any:
    if not isinstance(event, dict):
        return event
    return {
        key: _without(value, f"{path}{key}.")
        for key, value in event.items()
        if f"{path}{key}" not in MAY_DIFFER
    }


def _comparable(events: list[Event]) -> Counter[str]:
    return Counter(json.dumps(_without(event), sort_keys=True) for event in events)


def _directly_recorded() -> list[Truth]:
    return [one for one in TRUTHS if one.direct]


@each(_directly_recorded())
def test_events_on_the_restored_capture_equal_those_without_a_proxy(name: str) -> None:
    ours = _comparable(replayed(name, "restore").events)
    direct = _comparable(suricata_on(known(name).direct_capture))
    assert ours - direct == Counter()
    assert direct - ours == Counter()


def _matches(event: Event, alert: Alert) -> bool:
    source = (address(event["src_ip"]), event["src_port"])
    target = (address(event["dest_ip"]), event["dest_port"])
    wanted = alert.source
    return (
        event["alert"]["signature_id"] == alert.sid
        and target == alert.target
        and all(want in (None, have) for want, have in zip(wanted, source, strict=True))
    )


def _assert_alerts(events: list[Event], wanted: list[Alert]) -> None:
    seen = [event for event in events if event["event_type"] == "alert"]
    missing = []
    for alert in wanted:
        found = next((event for event in seen if _matches(event, alert)), None)
        if found is None:
            missing.append(alert)
        else:
            seen.remove(found)
    assert missing == []
    assert seen == []


@each()
@in_both_modes
def test_alerts_name_the_true_attacker_and_the_decoy(name: str, mode: str) -> None:
    wanted = [alert for alert in known(name).alerts if mode in alert.modes]
    _assert_alerts(replayed(name, mode).events, wanted)


@each(_directly_recorded())
def test_the_truth_about_alerts_holds_without_a_proxy(name: str) -> None:
    wanted = [alert for alert in known(name).alerts if "restore" in alert.modes]
    _assert_alerts(suricata_on(known(name).direct_capture), wanted)


@each(one for one in TRUTHS if one.alerts)
def test_without_peeltap_no_alert_names_an_attacker(name: str) -> None:
    attackers = {connection.true[0][0] for connection in known(name).connections if connection.true}
    for event in suricata_on(known(name).capture):
        assert address(event["src_ip"]) not in attackers if "src_ip" in event else True


@each()
@in_both_modes
def test_every_event_of_a_proxied_connection_has_true_ends(name: str, mode: str) -> None:
    truths = {connection.observed: connection.true for connection in known(name).connections}
    for event in replayed(name, mode).events:
        observed = event.get("peeltap", {}).get("observed")
        if event.get("proto") != "TCP" or observed is None:
            continue
        ends: tuple[Ends, Ends] = (
            (address(observed["src_ip"]), observed["src_port"]),
            (address(observed["dest_ip"]), observed["dest_port"]),
        )
        shown: tuple[Ends, Ends] = (
            (address(event["src_ip"]), event["src_port"]),
            (address(event["dest_ip"]), event["dest_port"]),
        )
        # A 5-tuple that was used again has one truth for each use; `test_flows` tells them apart.
        true = [
            connection.true or connection.observed
            for connection in known(name).connections
            if connection.observed == ends
        ]
        turned = [
            (pair[1], pair[0])
            for pair in (
                connection.true or connection.observed
                for connection in known(name).connections
                if connection.observed == (ends[1], ends[0])
            )
        ]
        assert shown in true + turned, (event, truths)
