"""The block path: what it takes, and that nothing else than its speed tells it from the others.

That all ways agree on real events, on odd ones and on mutated ones is in `test_fast`.
"""

from __future__ import annotations

import json

import pytest

from reassembly.store import MemoryStore
from suricata import blocks

from .samples import lines, record, store
from .test_enrich import EVENT, change
from .test_fast import STORE, Watched, both


def test_it_takes_real_events_whose_connection_is_known() -> None:
    data = lines()
    usual = both(data).taken
    # The second time nearly all that the fast path takes has been learnt.
    taken = both([*data, *data]).at_once
    assert usual < taken < 2 * usual


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
    assert both([EVENT, line]).at_once == taken


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
    assert enricher.at_once == 4


def test_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_ANSWERS", 4)
    enricher = Watched(store(), blocks=True)
    for number in range(20):
        line = change(b'"http":{', b'"community_id":"%d","http":{' % number)
        enricher.feed((line + b"\n") * 2)
        assert len(enricher._fast.blocks._known) <= 4
        assert len(enricher._fast.blocks._matches) <= 4
    assert enricher.at_once == 20


def test_alerts_are_added_up_in_their_order() -> None:
    alerts = [line for line in lines() if json.loads(line)["event_type"] == "alert"]
    enricher = both(alerts * 3)
    assert enricher.at_once > len(alerts)
