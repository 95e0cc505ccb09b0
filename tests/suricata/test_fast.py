"""The fast path: taken by what it is for, by nothing else, and never seen in what comes out."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reassembly.store import MemoryStore
from suricata import fast
from suricata.enrich import Enricher
from suricata.flows import FlowStore
from suricata.ids import Places

from .samples import SEED, lines, record, store
from .test_enrich import EVENT, TRUE, change

STORE = store()
TYPES = {json.loads(line)["event_type"] for line in lines()}


class Watched(Enricher):
    """Counts the lines that the fast path takes; with `fast=False` it takes none.

    With `blocks` the block path comes before it, and what that takes is counted in `at_once`.
    """

    def __init__(
        self, known: FlowStore, *, fast: bool = True, blocks: bool = False, wait_events: int = 0
    ) -> None:
        super().__init__(known, community_id_seed=SEED, wait_events=wait_events)
        self.at_once = 0
        at_once = self._fast.blocks.correct

        def run(data: bytes, at: int, ids: Places | None) -> tuple[bytes, int, int]:
            found = at_once(data, at, ids) if blocks else (b"", at, 0)
            self.at_once += found[2]
            return found

        self._fast.blocks.correct = run  # type: ignore[method-assign]
        self.taken = 0
        correct = self._fast.correct

        def watched(line: bytes, event: object, id_: bytes | None) -> bytes | None:
            written = correct(line, event, id_) if fast else None
            self.taken += written is not None
            return written

        self._fast.correct = watched  # type: ignore[method-assign]
        # The first event of a type takes the general way.
        self._types.update(dict.fromkeys(TYPES, 0))


class Asked:
    """The store behind it, for whoever has to ask it: the core knows nothing of it."""

    index = None

    def __init__(self, known: MemoryStore) -> None:
        self._known = known
        self.lookup = known.lookup

    @property
    def version(self) -> int:
        return self._known.version


class All(NamedTuple):
    """How many lines each way took."""

    taken: int
    at_once: int
    # By what it was taught, with no record in the core.
    taught: int


def both(data: list[bytes], known: MemoryStore = STORE) -> All:
    """Feed `data` on all ways, with ids and without; they must agree in all that they tell."""
    text = b"".join(line + b"\n" for line in data)
    for ids in (Places(b"f", 0xABC), None):
        general = Watched(known, fast=False)
        quick, blocks = Watched(known), Watched(known, blocks=True)
        taught = Watched(Asked(known), blocks=True)
        expected = general.feed(text, ids=ids) + general.flush()
        for enricher in (quick, blocks, taught):
            out = enricher.feed(text, ids=ids) + enricher.flush()
            agree(enricher, general, out, expected)
    return All(quick.taken, blocks.at_once, taught.at_once)


def agree(enricher: Enricher, general: Enricher, out: bytes, expected: bytes) -> None:
    """Both told the same so far."""
    assert out.splitlines() == expected.splitlines()
    assert enricher.stats() == general.stats()
    assert enricher.alerts.rows() == general.alerts.rows()
    assert enricher.warnings() == general.warnings()


def test_it_takes_every_sample_that_it_is_for() -> None:
    expected = 0
    for line in lines():
        event = json.loads(line)
        outcome, *_ = Watched(STORE, fast=False).feed(line + b"\n").splitlines()
        confidence = json.loads(outcome).get("peeltap", {}).get("confidence")
        usual = confidence in ("exact", "time") and "ICMP" not in event["proto"]
        expected += usual or event.get("proto") == "UDP"
    assert both(lines()).taken == expected
    assert expected > 100


# What is done to the event | does the fast path take it?
REFUSED = [
    ("nothing", EVENT, True),
    ("a repeated key", EVENT[:-1] + b',"src_ip":"172.16.23.1"}', False),
    ("a repeated key in an object", change(b'"url":"/"', b'"url":"/","url":"/"'), False),
    ("a key spelt otherwise", change(b'"dest_ip"', rb'"dest\u005fip"'), False),
    ("a space", change(b'{"url"', b'{ "url"'), False),
    ("a space at its end", EVENT + b" ", False),
    ("a number with more digits", change(b'"flow_id":1', b'"flow_id":1.10'), False),
    ("a number of 64 bits", change(b'"flow_id":1', b'"flow_id":18446744073709551615'), True),
    ("a number beyond", change(b'"flow_id":1', b'"flow_id":18446744073709551616'), False),
    ("port as bool", change(b"40000", b"true"), False),
    ("port as float", change(b"40000", b"40000.0"), False),
    ("address as array", change(b'"172.16.23.1"', b'["172.16.23.1"]'), False),
    ("hash as object", change(b'"http":{', b'"community_id":{},"http":{'), False),
    ("hash as null", change(b'"http":{', b'"community_id":null,"http":{'), False),
    ("a long hash", change(b'"http":{', b'"community_id":"%s","http":{' % (b"x" * 99)), False),
    ("start as number", change(b'"http":{', b'"flow":{"start":5},"http":{'), False),
    ("start as null", change(b'"http":{', b'"flow":{"start":null},"http":{'), True),
    ("flow as array", change(b'"http":{', b'"flow":[],"http":{'), True),
    ("corrected before", change(b'"http":{', b'"peeltap":null,"http":{'), False),
    ("no type", change(b'"event_type":"http",', b""), False),
    ("type as array", change(b'"http",', b'["http"],'), False),
    ("a type never seen", change(b'"http",', b'"new",'), False),
    ("before its connection", change(b":00.500000+", b":00.500000+1"), False),
    ("after its connection", change(b":00.500000", b":59.500000"), False),
    ("no time", change(b":00.500000", b":99.500000"), False),
    ("ends turned round", EVENT.replace(b"src_", b"x").replace(b"dest_", b"src_")
     .replace(b'"x', b'"dest_'), True),
    ("ends in another order", b'{"dest_ip":"172.16.23.2",' + change(
        b'"dest_ip":"172.16.23.2",', b"")[1:], True),
    ("too deep to be written", change(b'"url":"/"', b'"u":' + b"[" * 300 + b"]" * 300), False),
]  # fmt: skip


@pytest.mark.parametrize(("line", "taken"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_what_it_takes(line: bytes, taken: bool) -> None:
    # The second time an answer is known.
    assert both([line]).taken == taken
    assert both([EVENT, line]).taken == 1 + taken


KEYS = [
    b'","src_ip":"172.16.23.1","src_port":40000,"dest_ip":"172.16.23.2","dest_port":9000,"x":"',
    b'"},"src_ip":"172.16.23.1","proto":"TCP","flow":{"start":"2026-01-01T00:00:00.0+0000"}',
    b'"peeltap":{"confidence":"none"}',
    b'\\","community_id":"1:x","alert":{"source":{"ip":"172.16.23.1","port":40000}}\\',
]


@pytest.mark.parametrize("text", KEYS)
def test_what_an_attacker_writes_into_a_value_is_no_key(text: bytes) -> None:
    url = text.decode()
    line = change(b'"url":"/"', b'"url":' + orjson.dumps(url))
    enricher = Watched(STORE)
    after = json.loads(enricher.feed(line + b"\n"))
    assert enricher.taken == 1
    assert after["http"]["url"] == url
    assert {key: after[key] for key in TRUE} == TRUE
    assert list(after) == [*json.loads(EVENT), "peeltap"]
    both([EVENT, line, EVENT])


def test_a_changed_store_is_asked_again() -> None:
    known = MemoryStore()
    known.add(record("http"))
    enricher = Watched(known)
    first = json.loads(enricher.feed(EVENT + b"\n"))
    known.add(record("http")._replace(verdict="incomplete"))
    second = json.loads(enricher.feed(EVENT + b"\n"))
    assert [e["peeltap"]["verdict"] for e in (first, second)] == ["stripped", "incomplete"]


def test_after_a_change_elsewhere_an_answer_serves_again_and_a_later_epoch_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    make = fast.peeltap_object
    monkeypatch.setattr(fast, "peeltap_object", lambda *args: made.append(args) or make(*args))
    known = MemoryStore()
    one = record("http")._replace(end=None)
    known.add(one)
    enricher = Watched(known)
    # What the store is told | the flow that the event is of then | texts made up to then
    changes = [
        (None, one.id, 1),
        (one._replace(proto="UDP", id="elsewhere"), one.id, 1),
        (one._replace(epoch=1, id="later", start=one.start + 300_000_000), "later", 2),
        (one._replace(proto="UDP", id="elsewhere", epoch=1), "later", 2),
        (one._replace(epoch=2, id="after it", start=one.start + 600_000_000), "later", 2),
    ]
    for change_, flow, texts in changes:
        if change_ is not None:
            known.add(change_)
        assert json.loads(enricher.feed(EVENT + b"\n"))["peeltap"]["flow"] == flow
        assert len(made) == texts
    # The last change ended the time for which the answer holds.
    late = change(b"00.500000", b"00.700000")
    assert json.loads(enricher.feed(late + b"\n"))["peeltap"]["flow"] == "after it"
    assert enricher.taken == len(changes) + 1


def test_epochs_are_told_apart_although_an_answer_is_known() -> None:
    known = MemoryStore()
    one = record("http")
    start = one.start + 300_000_000
    known.add_many([one._replace(end=None), one._replace(epoch=1, id="next", start=start)])
    seconds = (0.1, 0.299999, 0.3, 0.5, 0.2)
    data = [change(b"00.500000", b"%09.6f" % second) for second in seconds]
    assert both(data, known).taken == len(data)
    out = Watched(known).feed(b"".join(line + b"\n" for line in data))
    flows = [json.loads(line)["peeltap"]["flow"] for line in out.splitlines()]
    assert flows == [one.id, one.id, "next", "next", one.id]


def test_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "MAX_ANSWERS", 4)
    starts = [b'"flow":{"start":"2026-01-01T00:00:00.%06d+0000"},"http":{' % n for n in range(20)]
    hashes = [b'"community_id":"%d","http":{' % n for n in range(20)]
    known = store()
    data = b"".join(change(b'"http":{', text) + b"\n" for text in starts + hashes)
    enricher = Watched(known)
    enricher.feed(data)
    assert enricher.taken == 40
    assert len(enricher._fast._answers) <= 4
    for _ in range(3):
        known.add(record("http"))
        enricher.feed(b"\n".join(change(b'"http":{', text) for text in hashes) + b"\n")
    assert len(enricher._fast._earlier) <= 4
    assert len(enricher._fast._moments) <= 4


# Real events, mutated.

VALUES = st.sampled_from(
    [
        None, True, 0, 9000, 40000, 40000.0, -1, 1 << 63, "", "x", "172.16.23.1", "172.16.23.2",
        "fd00:0023:0000:0000:0000:0000:0000:0001", "fd00:23::1", "TCP", "UDP", "ICMP", "http",
        "alert", [], {}, [1], [True], {"start": "2026-01-01T00:00:00.000000+0000"},
        {"start": 1}, {"ip": "172.16.23.2", "port": 9000}, {"source": {"ip": "172.16.23.1"}},
        "2026-01-01T00:00:00.500000+0000", "2026-01-01T02:00:00.500000+0200",
        "2026-01-01T00:00:00.+00001+0000", "2026-01-01T00:00:00.5+0000", "2026-02-30T00:00:00Z",
        "2025-12-31T23:59:59.999500+0000", "2026-01-01T00:59:00.000000+0000", "1:x", *map(
            bytes.decode, KEYS
        ),
    ]
)  # fmt: skip
ROOT = st.sampled_from(
    [
        *("timestamp", "event_type", "vlan", "src_ip", "src_port", "dest_ip", "dest_port"),
        *("proto", "community_id", "flow", "netflow", "alert", "tunnel", "peeltap", "http"),
    ]
)
INNER = st.sampled_from(["start", "src_ip", "src_port", "dest_ip", "source", "target", "url"])
EDITS = st.lists(
    st.tuples(st.just("set"), ROOT, VALUES)
    | st.tuples(st.just("drop"), ROOT, st.none())
    | st.tuples(st.just("inner"), st.tuples(ROOT, INNER), VALUES)
    | st.tuples(st.just("turn"), st.none(), st.none()),
    max_size=3,
)
ENDINGS = st.sampled_from(
    [b"}"] * 6
    + [
        b" }",
        b'\t,"x":1}',
        b',"src_ip":"172.16.23.1"}',
        b',"x":1.10}',
        b',"a":1,"a":1}',
        b"",
        b"}}",
    ]
    + [b',"x":"\xff"}', b',"x":"\0"}', b',"peeltap":{}}', b',"community_id":"1:x"}']
)


def mutated(line: bytes, edits: list[tuple[str, Any, Any]], ending: bytes) -> bytes:
    event = json.loads(line)
    for what, where, value in edits:
        if what == "set":
            event[where] = value
        elif what == "drop":
            event.pop(where, None)
        elif what == "inner" and isinstance(event.get(where[0]), dict):
            event[where[0]] = {**event[where[0]], where[1]: value}
        elif what == "turn":
            for name in ("ip", "port"):
                source, target = event.get(f"src_{name}"), event.get(f"dest_{name}")
                event[f"src_{name}"], event[f"dest_{name}"] = target, source
    return orjson.dumps(event)[:-1] + ending


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(lines()), EDITS, ENDINGS), min_size=1, max_size=6))
def test_both_ways_agree_on_mutated_real_events(parts: list[Any]) -> None:
    data = []
    for line, edits, ending in parts:
        # The real event before it, so that an answer is known; the same again, so that it is used.
        data += [line, mutated(line, edits, ending), mutated(line, edits, b"}")]
    both(data)
