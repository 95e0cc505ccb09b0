"""Suricata's events, corrected: the alerts of the truth, and all else as without a proxy."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
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

# Fields in which the same conversation behind a proxy and without one may differ, and why. With
# "TYPE:" in front, in events of that type only.
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
    "flow.bytes_toserver": "counts the packets' own headers; as flow.pkts_toserver",
    "flow.bytes_toclient": "as flow.bytes_toserver",
    "alert:pkt_src": "Suricata inspects when the other side acknowledges; proxies do so later",
    "alert:http.length": "how much of the answer had come when the alert was raised",
    "fileinfo:http.length": "as alert:http.length",
    "peeltap": "what peeltap adds",
}

# A client's hello holds random bytes and keys; they are another conversation's in any recording.
RANDOM_PAYLOAD = "tls"

# PSH ends a write of the sending program, and a proxy writes what it has read in its own pieces.
PSH = 0x08
TCP_FLAGS = ("tcp_flags", "tcp_flags_ts", "tcp_flags_tc")


def normal(event: Event) -> Event:
    """An event without what may differ between two recordings of the same conversation."""
    kind = event["event_type"]
    kept: Event = _without(event, kind)
    if event.get("app_proto") == RANDOM_PAYLOAD:
        kept.pop("payload", None)
    for field in TCP_FLAGS:
        if field in kept.get("tcp", {}):
            kept["tcp"][field] = int(kept["tcp"][field], 16) & ~PSH
    return kept


def _without(value: Any, kind: str, path: str = "") -> Any:
    if not isinstance(value, dict):
        return value
    return {
        key: _without(below, kind, f"{path}{key}.")
        for key, below in value.items()
        if f"{path}{key}" not in MAY_DIFFER and f"{kind}:{path}{key}" not in MAY_DIFFER
    }


def _comparable(events: list[Event]) -> Counter[str]:
    return Counter(json.dumps(normal(event), sort_keys=True) for event in events)


def _directly_recorded() -> list[Truth]:
    return [one for one in TRUTHS if one.direct]


@each(_directly_recorded())
def test_events_on_the_restored_capture_equal_those_without_a_proxy(name: str) -> None:
    ours = _comparable(replayed(name, "restore").events)
    direct = _comparable(suricata_on(known(name).direct_capture))
    assert ours - direct == Counter()
    assert direct - ours == Counter()


@each(one for one in TRUTHS if one.name.startswith("offloads-"))
@in_both_modes
def test_superframes_give_the_same_events_kept_or_segmented(name: str, mode: str) -> None:
    kept, segmented = (replayed(name, mode, form) for form in ("keep", "segment"))
    assert kept.summary["oddities"].get("superframe_segmented", 0) == 0
    assert segmented.summary["oddities"]["superframe_segmented"] > 0
    assert _comparable(kept.events) == _comparable(segmented.events)


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
def test_without_peeltap_no_event_names_an_attacker(name: str) -> None:
    attackers = {connection.true[0][0] for connection in known(name).connections if connection.true}
    named = {
        address(event[end])
        for event in suricata_on(known(name).capture)
        for end in ("src_ip", "dest_ip")
        if end in event
    }
    assert named != set()
    assert named & attackers == set()


def _shown(ends: dict[str, Any]) -> tuple[Ends, Ends]:
    return (
        (address(ends["src_ip"]), ends["src_port"]),
        (address(ends["dest_ip"]), ends["dest_port"]),
    )


@each()
@in_both_modes
def test_every_event_of_a_proxied_connection_has_true_ends(name: str, mode: str) -> None:
    # Observed pair -> true pairs, in both directions; a 5-tuple that was used again has several.
    truths: defaultdict[tuple[Ends, Ends], set[tuple[Ends, Ends]]] = defaultdict(set)
    for connection in known(name).connections:
        client, server = connection.observed
        true = connection.true or connection.observed
        truths[client, server].add(true)
        truths[server, client].add((true[1], true[0]))
    events = [event for event in replayed(name, mode).events if event.get("proto") == "TCP"]
    assert events != []
    for event in events:
        assert _shown(event) in truths[_shown(event["peeltap"]["observed"])], event
