"""Roles: which end each place of an event names, and what does not name one."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from reassembly.store import Match
from suricata.community_id import community_id
from suricata.eve import (
    PLACES,
    Clock,
    corrections,
    eve_ip,
    flow_start,
    quoted_tuple,
    vlan_tags,
)

from .samples import lines, record

RECORD = record("http")
CLIENT, SERVER = ("203.0.113.1", 50000), ("192.168.110.2", 8000)


def root(*, reversed_: bool = False, **more: Any) -> dict[str, Any]:
    ends = RECORD.observed.reverse() if reversed_ else RECORD.observed
    return {**ends._asdict(), **more}


def corrected(event: dict[str, Any], *, reversed_: bool = False) -> dict[str, Any]:
    match = Match(RECORD, reversed_, "observed", "time")
    found: dict[str, Any] = {}
    for path, values in corrections(event, match, 0):
        found[".".join(path)] = values
    return found


TRUE = {"src_ip": CLIENT[0], "src_port": CLIENT[1], "dest_ip": SERVER[0], "dest_port": SERVER[1]}
BACK = {"src_ip": SERVER[0], "src_port": SERVER[1], "dest_ip": CLIENT[0], "dest_port": CLIENT[1]}
LEG = RECORD.observed._asdict()
GONE = RECORD.observed.reverse()._asdict()

# event | reversed | what changes, object by object
TABLE = [
    ("to server", root(), False, {"": TRUE}),
    ("to client", root(reversed_=True), True, {"": BACK}),
    ("flow keeps its orientation", root(reversed_=True, flow=LEG), True, {"": BACK, "flow": TRUE}),
    ("flow begun in the middle", root(flow=GONE), False, {"": TRUE, "flow": BACK}),
    ("flow without a tuple", root(flow={"start": "x"}), False, {"": TRUE}),
    ("flow of other addresses", root(flow={**LEG, "src_ip": "10.0.0.1"}), False, {"": TRUE}),
    ("flow that is none", root(flow="x"), False, {"": TRUE}),
    ("target is the server", root(alert={"source": {"ip": "172.16.23.1", "port": 40000},
                                         "target": {"ip": "172.16.23.2", "port": 9000}}), False,
     {"": TRUE, "alert.source": {"ip": CLIENT[0], "port": CLIENT[1]},
      "alert.target": {"ip": SERVER[0], "port": SERVER[1]}}),
    ("target is the client", root(alert={"target": {"ip": "172.16.23.1", "port": 40000}}), False,
     {"": TRUE, "alert.target": {"ip": CLIENT[0], "port": CLIENT[1]}}),
    ("target without a port", root(alert={"target": {"ip": "172.16.23.2"}}), False,
     {"": TRUE, "alert.target": {"ip": SERVER[0]}}),
    ("target is another", root(alert={"target": {"ip": "10.0.0.1", "port": 1}}), False, {"": TRUE}),
    ("target of wrong types", root(alert={"source": 7, "target": {"ip": [], "port": {}}}), False,
     {"": TRUE}),
    ("alert that is none", root(alert=[1]), False, {"": TRUE}),
    ("fragments", root(tunnel={**LEG, "src_port": 0, "dest_port": 0}), False,
     {"": TRUE, "tunnel": {"src_ip": CLIENT[0], "dest_ip": SERVER[0]}}),
    ("a tunnel", root(tunnel={**LEG, "dest_ip": "10.0.0.1", "src_port": 0}), False, {"": TRUE}),
    ("content", root(http={"hostname": "172.16.23.2", "xff": "172.16.23.1"}), False, {"": TRUE}),
    ("hash", root(community_id="1:x"), False,
     {"": {**TRUE, "community_id": community_id(*CLIENT, *SERVER)}}),
    ("ICMP from the server", {"src_ip": "172.16.23.2", "dest_ip": "172.16.23.1"}, False,
     {"": {"src_ip": SERVER[0], "dest_ip": CLIENT[0]}}),
    ("ICMP with a port", {"src_ip": "172.16.23.2", "src_port": None, "proto": "ICMP"}, False,
     {"": {"src_ip": SERVER[0]}}),
    ("ICMP from a router", {"src_ip": "10.9.9.9", "dest_ip": "172.16.23.1"}, False,
     {"": {"dest_ip": CLIENT[0]}}),
]  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_corrections(row: tuple[str, dict[str, Any], bool, dict[str, Any]]) -> None:
    _, event, reversed_, expected = row
    assert corrected(event, reversed_=reversed_) == expected


def test_true_addresses_are_left_as_they_are() -> None:
    assert corrections(root(), Match(RECORD, False, "true", "time"), 0) == []


STAMPS = [
    ("2026-01-01T00:00:00.500000+0000", 1767225600_500000000),
    ("2026-01-01T00:00:00.500001+0000", 1767225600_500001000),
    ("2026-01-01T05:30:00.500000+0530", 1767225600_500000000),
    ("2026-01-01T00:00:00+0000", 1767225600_000000000),
    ("2026-01-01T00:00:00.5Z", 1767225600_500000000),
    ("2026-01-01T00:00:00.500000", None),
    ("2026-01-01T00:00:00.5000x0+0000", None),
    ("2026-01-01T00:00:00.+00001+0000", None),
    ("2026-01-01T00:00:00. 00001+0000", None),
    ("2026-01-01T00:00:00.0_0001+0000", None),
    ("2026-01-01T00:00:00.00000\u0661+0000", None),
    ("2026-01-01T00:00:00x500000+0000", None),
    ("", None),
    (None, None),
    (5, None),
    ([1] * 31, None),
    ({}, None),
    # No flow store on disk can be asked for these.
    ("2999-01-01T00:00:00.000000+0000", None),
    ("9999-12-31T23:59:59.999999-2359", None),
    ("0001-01-01T00:00:00.000000+2359", None),
]


def test_clock_parses_first_and_later_stamps_of_a_second_alike() -> None:
    clock = Clock(max_seconds=2)
    for _ in range(3):
        assert [clock.parse(text) for text, _ in STAMPS] == [at for _, at in STAMPS]


def test_suricata_spells_addresses_so() -> None:
    assert eve_ip("192.0.2.1") == "192.0.2.1"
    assert eve_ip("2001:db8::1") == "2001:0db8:0000:0000:0000:0000:0000:0001"


def test_flow_start_and_vlan_of_wrong_types() -> None:
    assert flow_start({"flow": 3}) is None
    assert flow_start({"flow": {}, "netflow": {"start": "x"}}) == "x"
    assert vlan_tags({"vlan": [1, 2]}) == (1, 2)
    assert vlan_tags({"vlan": [1, "2"]}) == ()
    assert vlan_tags({"vlan": 7}) == ()


def icmp() -> dict[str, Any]:
    events = [json.loads(line) for line in lines()]
    (event,) = [event for event in events if event.get("proto") == "ICMP"]
    return dict(event)


def test_an_icmp_error_quotes_its_connection() -> None:
    assert quoted_tuple(icmp(), 7) == ("172.16.23.1", 40000, "172.16.23.2", 9000)


IPV6 = bytes.fromhex("6000000000140640") + bytes(15) + b"\1" + bytes(15) + b"\2" + b"\0\1\0\2"
QUOTES = [
    ("another hash", {"community_id": "1:x"}, None),
    ("another seed", {}, None),
    ("no payload", {"payload": None}, None),
    ("no base64", {"payload": "!!"}, None),
    ("empty", {"payload": ""}, None),
    ("cut", {"payload": base64.b64encode(IPV6[:-2]).decode()}, None),
    ("UDP", {"payload": base64.b64encode(IPV6[:6] + b"\x11" + IPV6[7:]).decode()}, None),
    ("no IP", {"payload": base64.b64encode(b"\x10" * 60).decode()}, None),
    ("IPv6", {"payload": base64.b64encode(IPV6).decode(), "community_id": None},
     ("::1", 1, "::2", 2)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "found"), [row[1:] for row in QUOTES], ids=[r[0] for r in QUOTES]
)
def test_quoted_tuple(change: dict[str, Any], found: object) -> None:
    assert quoted_tuple(icmp() | change, 8) == found


def test_every_place_has_a_reason() -> None:
    assert all(place.reason for place in PLACES)
    assert {place.corrected for place in PLACES} == {True, False}
