"""The block path: what it takes, and that nothing else than its speed tells it from the others.

That all ways agree on real events, on odd ones and on mutated ones is in `test_fast`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reassembly.records import Endpoints, FlowRecord, HeaderSeen
from reassembly.store import MemoryStore
from suricata import blocks
from suricata.enrich import Enricher

from .samples import SEED, START, lines, record, store
from .test_enrich import EVENT, change
from .test_fast import STORE, Asked, Watched, agree, both


def test_it_takes_real_events_whose_connection_is_known() -> None:
    data = lines()
    usual = both(data).taken
    # The second time nearly all that the fast path takes has been learnt; of what has a record
    # here, nearly all is taken the first time.
    found = both([*data, *data])
    assert usual < found.taught < found.at_once <= 2 * usual


# What is done to the event | is it taken, once its connection is known?
TAKEN = [
    ("nothing", EVENT, True),
    ("a repeated key that is only passed on", change(b'"url":"/"', b'"url":"/","url":"/"'), True),
    ("a repeated end", EVENT[:-1] + b',"src_ip":"172.16.23.1"}', False),
    ("a key spelt otherwise", change(b'"dest_ip"', rb'"dest\u005fip"'), False),
    ("a space", change(b'{"url"', b'{ "url"'), False),
    ("a number with more digits", change(b'"flow_id":1', b'"flow_id":1.10'), True),
    ("a number beyond", change(b'"flow_id":1', b'"flow_id":18446744073709551616'), False),
    ("before its connection", change(b":00.500000+", b":00.500000+1"), False),
    ("after its connection", change(b":00.500000", b":59.500000"), False),
    ("corrected before", change(b'"http":{', b'"peeltap":null,"http":{'), False),
    ("two flows", change(b'"http":{', b'"flow":{},"flow":{},"http":{'), False),
    ("a flow of other ends", change(
        b'"http":{', b'"flow":{"src_ip":"192.0.2.1","src_port":1,"dest_ip":"172.16.23.2",'
        b'"dest_port":9000},"http":{'), False),
    ("half a pair", change(b'"url":"/"', rb'"url":"\ud800"'), False),
    ("no text", change(b'"url":"/"', b'"url":"\xff"'), False),
]  # fmt: skip


@pytest.mark.parametrize(("line", "taken"), [r[1:] for r in TAKEN], ids=[r[0] for r in TAKEN])
def test_what_it_takes(line: bytes, taken: bool) -> None:
    found = both([EVENT, line])
    # The first teaches that its type is known.
    assert found.at_once == found.taught == taken


@pytest.mark.parametrize("size", [1, 7, 100, 5000])
def test_lines_may_be_cut_anywhere_without_ids(size: int) -> None:
    text = b"".join(line + b"\n" for line in [EVENT, *lines()[:20], EVENT])
    enricher, general = Watched(STORE, blocks=True), Watched(STORE, fast=False)
    out = b"".join(enricher.feed(text[at : at + size]) for at in range(0, len(text), size))
    assert out == general.feed(text)
    assert enricher.stats() == general.stats()


def test_a_changed_store_is_asked_again() -> None:
    known = MemoryStore()
    known.add(record("http"))
    enricher = Watched(known, blocks=True)
    data = (EVENT + b"\n") * 3
    first = enricher.feed(data).splitlines()
    known.add(record("http")._replace(verdict="incomplete"))
    second = enricher.feed(data).splitlines()
    verdicts = [json.loads(line)["peeltap"]["verdict"] for line in (*first, *second)]
    assert verdicts == ["stripped"] * 3 + ["incomplete"] * 3
    # The first of its type alone is for the other paths: a record needs no asking.
    assert enricher.at_once == 5


def test_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_ANSWERS", 4)
    enricher = Watched(Asked(store()), blocks=True)
    for number in range(20):
        line = change(b'"http":{', b'"community_id":"%d","http":{' % number)
        enricher.feed((line + b"\n") * 2)
        assert len(enricher._fast.blocks._known) <= 4
    assert enricher.at_once == 20


def test_alerts_are_added_up_in_their_order() -> None:
    alerts = [line for line in lines() if json.loads(line)["event_type"] == "alert"]
    found = both(alerts * 3)
    assert min(found.at_once, found.taught) > len(alerts)


def test_alerts_that_nobody_wants_are_only_counted() -> None:
    text = b"".join(line + b"\n" for line in lines() * 2)
    told, counted = (
        Enricher(store(), community_id_seed=SEED, wait_events=0, summarize=summarize)
        for summarize in (True, False)
    )
    assert told.feed(text) == counted.feed(text)
    assert told.stats() == counted.stats()
    assert counted.alerts.alerts == counted.alerts.others > 0
    assert counted.alerts.rows() == []


def test_what_follows_an_event_that_waits_does_not_overtake_it() -> None:
    known = MemoryStore()
    known.add(record("http"))
    enricher = Watched(known, blocks=True, wait_events=10)
    enricher.feed((EVENT + b"\n") * 2)
    unknown = change(b"40000", b"40999")
    elsewhere = change(b'"flow_id":1', b'"flow_id":2')
    # Of one flow, as Suricata numbers them; the first waits.
    out = enricher.feed(b"".join(line + b"\n" for line in (unknown, EVENT, elsewhere)))
    assert [json.loads(line)["flow_id"] for line in out.splitlines()] == [2]
    assert enricher.at_once == 2
    flushed = [json.loads(line) for line in enricher.flush().splitlines()]
    assert [event["peeltap"]["confidence"] for event in flushed] == ["none", "time"]
    assert enricher.feed(EVENT + b"\n")
    assert enricher.at_once == 3


# Records and events around them: epochs, directions, VLANs, updates, what leaves.

SECOND = 1_000_000_000
BEGIN = START * SECOND
LEG = Endpoints("172.16.23.1", 40000, "172.16.23.2", 9000)
SIX = "fd00:0023:0000:0000:0000:0000:0000:000"


def mostly(usual: list[Any], odd: list[Any]) -> st.SearchStrategy[Any]:
    """One odd record leaves all of its tuple to the store."""
    return st.sampled_from(usual * (1 + 15 * len(odd) // len(usual)) + odd)


STARTS = mostly(
    [-SECOND, -1_000_001, 0, 999, 1000, 300_000_000, 300_000_999, 299_000_999, 301_000_000],
    [-BEGIN, -BEGIN - 1, 1 << 64, -(1 << 64)],
)
ENDS = mostly([None, 300_000_000, 299_999_999, 2 * SECOND], [-SECOND, -BEGIN - 1, 1 << 64])
RECORDS = st.fixed_dictionaries(
    {
        "id": mostly(["a", "b", "c", "d"], ['odd"', "é"]),
        "epoch": st.integers(0, 2),
        "proto": mostly(["TCP"], ["UDP"]),
        "vlan": st.sampled_from([(), (), (5,), (5, 6)]),
        "true": st.sampled_from(
            [
                Endpoints("203.0.113.1", 50000, "192.168.110.2", 8000),
                None,
                LEG.reverse(),
                Endpoints("2001:db8::1", 1, "192.0.2.1", 65535),
            ]
        ),
        "restored": mostly([False], [True]),
        "verdict": st.sampled_from(["stripped", "plain"]),
        "headers": mostly(
            [(), (HeaderSeen("a", 1, {}), HeaderSeen("b", 2, {}))], [(HeaderSeen('"', 1, {}),)]
        ),
        "observed": mostly(
            [LEG, LEG, LEG.reverse(), Endpoints("fd00:23::1", 40000, "fd00:23::2", 9000)],
            [Endpoints("172.16.23.1", 40000, "172.16.23.1", 40000)],
        ),
    },
)
ADDED = st.tuples(STARTS, ENDS, RECORDS)
SEEN = st.tuples(
    st.sampled_from([0, 1, 299_000, 300_000, 300_001, 999_999]),
    st.sampled_from(["http", "alert"]),
    mostly(["", '"vlan":[5],', '"vlan":[5,6],', '"vlan":[],'], ['"vlan":[5.0],', '"vlan":5,']),
    st.sampled_from(["", '"community_id":"1:x",']),
    mostly(
        [
            "",
            '"flow":{"start":"2026-01-01T00:00:00.300000+0000"},',
            '"flow":{"start":"2026-01-01T00:00:00.299000+0000","src_ip":"172.16.23.1",'
            '"src_port":40000,"dest_ip":"172.16.23.2","dest_port":9000},',
        ],
        ['"flow":{"src_ip":"172.16.23.1"},'],
    ),
    mostly(
        [LEG, LEG, LEG.reverse(), (f"{SIX}1", 40000, f"{SIX}2", 9000)],
        [
            ("172.16.23.1", 40000, "172.16.23.1", 40000),
            ("fd00:23::1", 40000, "FD00:23::2", 9000),
            ("x", 40000, "172.16.23.2", 9000),
        ],
    ),
    st.integers(1, 3),
)


def added(start: int, end: int | None, more: dict[str, Any]) -> FlowRecord:
    end = None if end is None else BEGIN + end
    return record("http")._replace(start=BEGIN + start, end=end, **more)


def seen(
    micros: int, kind: str, vlan: str, hash_: str, flow: str, ends: tuple[Any, ...], number: int
) -> bytes:
    src_ip, src_port, dest_ip, dest_port = ends
    return (
        f'{{"timestamp":"2026-01-01T00:00:00.{micros:06d}+0000","flow_id":{number},{vlan}'
        f'"event_type":"{kind}","src_ip":"{src_ip}","src_port":{src_port},"dest_ip":"{dest_ip}",'
        f'"dest_port":{dest_port},"proto":"TCP",{hash_}{flow}'
        f'"alert":{{"signature_id":1,"source":{{"ip":"{src_ip}","port":{src_port}}}}}}}\n'
    ).encode()


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.lists(ADDED, max_size=4), st.lists(SEEN, max_size=6)), max_size=5),
    st.sampled_from([0, 5]),
)
def test_records_in_the_core_are_found_as_the_store_finds_them(
    steps: list[Any], wait_events: int
) -> None:
    known = MemoryStore(max_records=4)
    general = Watched(known, fast=False, wait_events=wait_events)
    others = [
        Watched(store_, blocks=True, wait_events=wait_events) for store_ in (known, Asked(known))
    ]
    for enricher in others:
        for kind in ("http", "alert"):
            enricher._fast.blocks.allow(kind)
    for now, (records, events) in enumerate(steps):
        known.add_many(added(*one) for one in records)
        text = b"".join(seen(*one) for one in events)
        expected = general.feed(text, float(now))
        for enricher in others:
            agree(enricher, general, enricher.feed(text, float(now)), expected)
    expected = general.flush()
    for enricher in others:
        agree(enricher, general, enricher.flush(), expected)
