"""The correction of EVE lines: real samples of every type, bad lines, waiting, and any bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reassembly.store import MemoryStore, SqliteStore
from suricata.community_id import community_id
from suricata.enrich import LONG_LINE_BYTES, MAX_LINE_BYTES, Enricher

from .samples import SEED, lines, record, store

EVENT = (
    b'{"timestamp":"2026-01-01T00:00:00.500000+0000","flow_id":1,"event_type":"http",'
    b'"src_ip":"172.16.23.1","src_port":40000,"dest_ip":"172.16.23.2","dest_port":9000,'
    b'"proto":"TCP","http":{"url":"/"}}'
)
TRUE = {
    "src_ip": "203.0.113.1",
    "src_port": 50000,
    "dest_ip": "192.168.110.2",
    "dest_port": 8000,
}


def enrich(data: bytes, **options: Any) -> tuple[bytes, Enricher]:
    enricher = Enricher(store(), community_id_seed=SEED, **{"wait_events": 0, **options})
    return enricher.feed(data) + enricher.flush(), enricher


def balanced(enricher: Enricher) -> bool:
    stats = enricher.stats()
    whole = stats["events"] + stats["rejected"] + stats["waiting"]
    return stats["lines"] == whole and stats["events"] == sum(stats["outcomes"].values())


# Real samples.


def ends_of(event: dict[str, Any]) -> list[Any]:
    """Every end that an event names, by the place in which it names it."""
    places = [(event, "src_ip", "src_port"), (event, "dest_ip", "dest_port")]
    if "src_ip" in event.get("flow", {}):
        places += [(event["flow"], "src_ip", "src_port"), (event["flow"], "dest_ip", "dest_port")]
    for name in ("source", "target"):
        if name in event.get("alert", {}):
            places.append((event["alert"][name], "ip", "port"))
    return [(place[ip], place.get(port)) for place, ip, port in places if ip in place]


@pytest.mark.parametrize("line", lines(), ids=lambda line: json.loads(line)["event_type"])
def test_every_sample_is_corrected_by_role_and_else_untouched(line: bytes) -> None:
    before = json.loads(line)
    (out,) = enrich(line + b"\n")[0].splitlines()
    after = json.loads(out)
    if "src_ip" not in before:
        assert out == line
        return
    # 1. Keys are those of before, in order, and `peeltap`.
    assert [*before, "peeltap"] == list(after)
    if before["proto"] == "UDP":
        assert out == line[:-1] + b',"peeltap":{"confidence":"none"}}'
        return
    # 2. Each end stands where the observed one stood.
    number = int(after["peeltap"]["flow"], 16)
    six = ":" in before["src_ip"]
    leg = "fd00:0023:0000:0000:0000:0000:0000:000" if six else "172.16.23."
    client_ip, server_ip = f"203.0.113.{number + 1}", "192.168.110.2"
    if six:
        client_ip = f"2001:0db8:0203:0000:0000:0000:0000:{number + 1:04x}"
        server_ip = "2001:0db8:0110:0000:0000:0000:0000:0002"
    for (ip, port), (true_ip, true_port) in zip(ends_of(before), ends_of(after), strict=True):
        assert true_ip == {leg + "1": client_ip, leg + "2": server_ip}[ip]
        if port is not None:
            assert true_port == (50000 if port == 40000 + number else 8000) + number
    # 3. The hash fits.
    true = (client_ip, 50000 + number, server_ip, 8000 + number)
    assert after["community_id"] == community_id(*true, SEED)
    # 4. What stood there before is kept.
    observed = after["peeltap"]["observed"]
    assert observed == {key: before[key] for key in observed}
    assert {"src_ip", "dest_ip", "community_id"} <= set(observed)
    known = "start" in before.get("flow", before.get("netflow", {}))
    # SMB and DCERPC without an answer are logged when Suricata ends, long after their connection.
    over = before["timestamp"] > f"2026-01-01T00:00:{number + 1:02}"
    expected = "exact" if known else "late" if over else "time"
    assert after["peeltap"]["confidence"] == expected
    # 5. All the rest is as it was.
    for changed in (before, after):
        for place in (changed, changed.get("flow", {})):
            for key in ("src_ip", "src_port", "dest_ip", "dest_port", "community_id", "peeltap"):
                place.pop(key, None)
        for name in ("source", "target"):
            changed.get("alert", {}).pop(name, None)
    assert before == after


def test_the_samples_hold_every_kind_of_place() -> None:
    events = [json.loads(line) for line in lines()]
    types = {event["event_type"] for event in events}
    assert types >= {
        *("alert", "anomaly", "dcerpc", "dns", "fileinfo", "flow", "frame", "ftp", "http"),
        *("modbus", "mqtt", "netflow", "rdp", "rfb", "smb", "smtp", "snmp", "ssh", "stats"),
        *("tftp", "tls", "sip"),
    }
    assert any(event.get("proto") == "ICMP" for event in events)
    assert any("target" in event.get("alert", {}) for event in events)
    assert any(":" in event.get("src_ip", "") for event in events)


def test_correction_is_idempotent() -> None:
    once, _ = enrich(b"\n".join(lines()))
    twice, enricher = enrich(once)
    assert twice == once
    assert enricher.stats()["outcomes"]["already"] > 100


def test_both_ways_through_the_code_write_the_same() -> None:
    # A space makes a line one that must be spliced.
    plain, one = enrich(b"\n".join(lines()))
    spaced, other = enrich(b"\n".join(line.replace(b"{", b"{ ", 1) for line in lines()))
    assert spaced.replace(b"{ ", b"{") == plain.replace(b"{ ", b"{")
    assert one.stats() == other.stats()
    assert one.alerts.rows() == other.alerts.rows()


def test_restored_events_stay_and_tell_what_was_observed() -> None:
    known = MemoryStore()
    known.add(record("http", restored=True))
    event = json.loads(EVENT) | TRUE | {"community_id": "1:x"}
    event["src_ip"], event["dest_ip"] = event["dest_ip"], event["src_ip"]
    event["src_port"], event["dest_port"] = event["dest_port"], event["src_port"]
    enricher = Enricher(known, community_id_seed=SEED, wait_events=0)
    after = json.loads(enricher.feed(orjson.dumps(event) + b"\n"))
    leg = ("172.16.23.2", 9000, "172.16.23.1", 40000)
    assert after.pop("peeltap") == {
        "observed": dict(zip(TRUE, leg, strict=True)) | {"community_id": community_id(*leg, SEED)},
        "direction": "to_client",
        "flow": "0000000000000000",
        "codec": ["proxy-v2"],
        "verdict": "stripped",
        "confidence": "time",
    }
    assert after == event


def test_a_connection_without_header_keeps_its_addresses() -> None:
    known = MemoryStore()
    known.add(record("http")._replace(true=None, headers=(), verdict="plain"))
    enricher = Enricher(known, wait_events=0)
    after = json.loads(enricher.feed(EVENT + b"\n"))
    assert after["peeltap"]["verdict"] == "plain"
    assert after["peeltap"]["codec"] == []
    del after["peeltap"]
    assert after == json.loads(EVENT)


# Bad input: the line | how it is counted | is an event of it passed on?
def change(old: bytes, new: bytes) -> bytes:
    assert old in EVENT
    return EVENT.replace(old, new)


BAD = [
    ("words", b"hello", "not_json", False),
    ("NUL", b"\0\0\0\0", "not_json", False),
    ("cut", EVENT[:-5], "cut", False),
    ("cut in a string", EVENT[:30], "cut", False),
    ("a list", b"[1,2]", "not_an_object", False),
    ("null", b"null", "not_an_object", False),
    ("NaN", change(b'"flow_id":1', b'"flow_id":NaN'), "not_json", False),
    ("too deep", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep", False),
    ("too long", b'{"a":"' + b"x" * MAX_LINE_BYTES + b'"}', "too_long", False),
    ("10 MB", change(b'"/"', b'"/' + b"x" * 10_000_000 + b'"'), "long_line", True),
    ("invalid UTF-8", change(b'"/"', b'"/\xff\xfe"'), "invalid_utf8", True),
    ("NUL in a string", change(b'"/"', b'"/\0"'), "control_character", True),
    ("controls in a string", change(b'"/"', b'"/\x0b\x1f"'), "control_character", True),
    ("lone surrogate", change(b'"/"', rb'"/\ud800"'), "unusual_json", True),
    (
        "beyond 64 bits",
        change(b'"flow_id":1', b'"flow_id":123456789012345678901'),
        "big_number",
        True,
    ),
    ("beyond a double", change(b'"flow_id":1', b'"flow_id":1e999'), "unusual_json", True),
    ("two on a line", EVENT[:-9] + EVENT, "two_on_a_line", True),
    ("port as text", change(b"40000", b'"40000"'), "bad_address_field", True),
    ("port too large", change(b"40000", b"400000"), "bad_address_field", True),
    ("port of 64 bits", change(b"40000", b"18446744073709551615"), "bad_address_field", True),
    ("port as float", change(b"40000", b"40000.0"), "bad_address_field", True),
    ("port as bool", change(b"40000", b"true"), "bad_address_field", True),
    ("address as number", change(b'"172.16.23.1"', b"17"), "bad_address_field", True),
    ("address as object", change(b'"172.16.23.1"', b'{"a":[]}'), "bad_address_field", True),
    ("no port", change(b'"src_port":40000,', b""), "bad_address_field", True),
    ("no timestamp", change(b"2026-01-01T00", b"yesterday at 0"), "bad_timestamp", True),
    (
        "timestamp as number",
        change(b'"2026-01-01T00:00:00.500000+0000"', b"5"),
        "bad_timestamp",
        True,
    ),
]


@pytest.mark.parametrize(
    ("line", "name", "passes"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_a_bad_line_is_counted_once_and_its_neighbours_stay(
    line: bytes, name: str, passes: bool
) -> None:
    rejects: list[bytes] = []
    enricher = Enricher(store(), wait_events=0, rejects=rejects.append)
    data = EVENT + b"\n" + line + b"\n" + EVENT + b"\n"
    out = b"".join(enricher.feed(data[at : at + 65536]) for at in range(0, len(data), 65536))
    out += enricher.flush()
    events = [json.loads(each) for each in out.splitlines()]
    assert len(events) == 2 + passes
    assert events[0] == events[-1]
    assert events[0]["src_ip"] == "203.0.113.1"
    assert enricher.stats()["oddities"][name] == 1
    (sentence,) = [s for s in enricher.warnings() if name != "two_on_a_line" or "two events" in s]
    assert "(first: line 2)" in sentence
    assert balanced(enricher)
    assert len(rejects) == enricher.stats()["rejected"]


HOSTILE = {
    "a time beyond 64 bits": change(b"2026-01-01T00", b"2999-01-01T00"),
    "a time before all": change(b"2026-01-01T00:00:00.5", b"0001-01-01T00:00:00.5"),
    "half a surrogate pair in an address": change(b"172.16.23.1", rb"\ud800"),
    "the same in IPv6": change(b"172.16.23.2", rb"::\udfff"),
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_a_store_on_disk_is_asked_for_nothing_that_it_cannot_hold(
    line: bytes, tmp_path: Path
) -> None:
    with SqliteStore(tmp_path / "flows.sqlite") as on_disk:
        for wait_events in (0, 10):
            enricher = Enricher(on_disk, wait_events=wait_events)
            written = enricher.feed(line + b"\n") + enricher.flush()
            assert written.replace(b',"peeltap":{"confidence":"none"}', b"") == line + b"\n"
            assert balanced(enricher)


def test_what_cannot_be_written_again_survives_to_the_byte() -> None:
    odd = change(b'"flow_id":1', b'"flow_id":1,"x": 1.10,"x":123456789012345678901')
    out, _ = enrich(odd)
    assert b'"x": 1.10,"x":123456789012345678901,' in out
    assert json.loads(out)["src_ip"] == "203.0.113.1"


def test_mended_bytes_do_not_hide_an_alert() -> None:
    out, enricher = enrich(change(b'"/"', b'"/\xff\0"'))
    after = json.loads(out)
    assert after["http"]["url"] == "/\ufffd\0"
    assert after["src_ip"] == "203.0.113.1"
    assert enricher.stats()["oddities"] == {"invalid_utf8": 1, "control_character": 1}


def test_a_file_of_invented_types_grows_no_table() -> None:
    data = b"\n".join(change(b'"http",', b'"t%d",' % n) for n in range(500))
    _, enricher = enrich(data + b"\n" + change(b'"http",', b'["x"],'))
    assert len(enricher.stats()["types"]) <= 65
    assert sum(enricher.stats()["types"].values()) == 501


# Waiting: a transcript of (time, what happens, which events come out).


def waiting(**options: Any) -> tuple[MemoryStore, Enricher]:
    known = MemoryStore()
    return known, Enricher(known, community_id_seed=SEED, **options)


def outcomes(out: bytes) -> list[tuple[int, str]]:
    events = [json.loads(line) for line in out.splitlines()]
    return [(event["flow_id"], event["peeltap"]["confidence"]) for event in events]


def event(number: int) -> bytes:
    return change(b'"flow_id":1', b'"flow_id":%d' % number) + b"\n"


def test_an_event_waits_for_its_record() -> None:
    known, enricher = waiting(wait_seconds=5)
    assert outcomes(enricher.feed(event(1) + event(2), 10.0)) == []
    assert enricher.stats()["waiting"] == 2
    assert outcomes(enricher.tick(11.0)) == []
    known.add(record("http"))
    assert outcomes(enricher.tick(12.0)) == [(1, "time"), (2, "time")]
    assert balanced(enricher)


def test_a_flows_events_stay_in_their_order_while_one_waits() -> None:
    known, enricher = waiting(wait_seconds=5)
    # The second could go: its flow's start lies in a connection that is known.
    known.add(record("http")._replace(end=1767225600_300_000_000))
    first = EVENT.replace(b'"http":{"url":"/"}', b'"n":1')
    begun = b'"flow":{"start":"2026-01-01T00:00:00.100000+0000"}'
    second = EVENT.replace(b'"http":{"url":"/"}', begun + b',"n":2')
    other = second.replace(b'"flow_id":1', b'"flow_id":2')
    assert enricher.feed(first + b"\n", 0) == enricher.feed(second + b"\n", 1) == b""
    # Another flow's is held up by nothing.
    assert json.loads(enricher.feed(other + b"\n", 1))["flow_id"] == 2
    assert [json.loads(one)["n"] for one in enricher.tick(5).splitlines()] == [1]
    assert [json.loads(one)["n"] for one in enricher.tick(5.5).splitlines()] == [2]
    assert balanced(enricher)
    # And both go as soon as what the first waits for is there.
    assert enricher.feed(first + b"\n" + second + b"\n", 6) == b""
    known.add(record("http"))
    assert [json.loads(one)["n"] for one in enricher.tick(7).splitlines()] == [1, 2]
    assert balanced(enricher)


def test_an_event_waits_no_longer_than_allowed() -> None:
    _, enricher = waiting(wait_seconds=5)
    assert outcomes(enricher.feed(event(1), 10.0)) == []
    assert outcomes(enricher.feed(event(2), 14.9)) == []
    assert outcomes(enricher.feed(b"", 15.0)) == [(1, "none")]
    assert outcomes(enricher.tick(19.9)) == [(2, "none")]
    assert balanced(enricher)


def test_no_more_events_wait_than_allowed() -> None:
    _, enricher = waiting(wait_events=2)
    out = enricher.feed(event(1) + event(2) + event(3), 10.0)
    assert outcomes(out) == [(1, "none")]
    assert balanced(enricher)
    assert outcomes(enricher.flush()) == [(2, "none"), (3, "none")]
    assert balanced(enricher)


def test_an_event_of_the_next_epoch_waits_although_the_last_is_known() -> None:
    known, enricher = waiting(wait_seconds=5)
    known.add(record("http")._replace(end=record("http").start + 1))
    assert outcomes(enricher.feed(event(1), 10.0)) == []
    known.add(record("http")._replace(epoch=1, start=record("http").start + 1000))
    assert outcomes(enricher.tick(11.0)) == [(1, "time")]


def test_an_event_of_no_later_epoch_is_late_in_the_end() -> None:
    known, enricher = waiting(wait_seconds=5)
    known.add(record("http")._replace(end=record("http").start + 1))
    assert outcomes(enricher.feed(event(1), 10.0)) == []
    assert outcomes(enricher.tick(15.0)) == [(1, "late")]


def test_a_mended_event_waits_mended_and_is_counted_once() -> None:
    known, enricher = waiting(wait_seconds=5)
    assert enricher.feed(change(b'"/"', b'"/\xff"') + b"\n", 10.0) == b""
    known.add(record("http"))
    assert outcomes(enricher.tick(11.0)) == [(1, "time")]
    assert enricher.stats()["oddities"] == {"invalid_utf8": 1}


# Any bytes, any objects.

PIECES = [EVENT, EVENT[:40], b'{"timestamp":"', b"\n", b"\xef\xbb\xbf" + EVENT, b"\r", b" "]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60) | st.sampled_from(PIECES)), st.integers(1, 200))
def test_any_bytes_in_any_pieces(parts: list[bytes], size: int) -> None:
    data = b"\n".join(parts)
    whole, one = enrich(data)
    assert balanced(one)
    for line in whole.splitlines():
        json.loads(line)
    pieces = Enricher(store(), community_id_seed=SEED, wait_events=0)
    out = b"".join(pieces.feed(data[at : at + size]) for at in range(0, len(data), size))
    assert out + pieces.flush() == whole
    assert pieces.stats() == one.stats()


KEYS = st.text(max_size=4) | st.sampled_from(
    ["src_ip", "src_port", "flow", "alert", "source", "community_id", "tunnel", "vlan", "netflow"]
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["172.16.23.1", "172.16.23.2", 40000, 9000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)
CORRECTED = {
    *((name, key) for name in ("flow", "tunnel") for key in TRUE),
    *(("alert", name, key) for name in ("source", "target") for key in ("ip", "port")),
}


def differences(before: Any, after: Any, at: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Paths at which two objects differ; their keys are equal and in one order."""
    if isinstance(before, dict) and isinstance(after, dict):
        assert list(before) == list(after)
        return set().union(*(differences(before[k], after[k], (*at, k)) for k in before))
    return set() if repr(before) == repr(after) else {at}


@settings(deadline=None)
@given(st.dictionaries(KEYS, JSON, max_size=6), st.booleans())
def test_any_object_survives_outside_the_corrected_places(
    more: dict[str, Any], compact: bool
) -> None:
    before = json.loads(EVENT)
    before = {**{k: v for k, v in more.items() if k not in before}, **before}
    text = json.dumps(before, separators=(",", ":") if compact else None, ensure_ascii=not compact)
    after = json.loads(enrich(text.encode(errors="surrogatepass"))[0])
    assert after.pop("peeltap")["flow"] == "0000000000000000"
    changed = differences(json.loads(text), after)
    assert changed >= {(key,) for key in TRUE}
    assert changed <= CORRECTED | {(key,) for key in TRUE} | {("community_id",)}


def test_long_lines_are_worth_a_word_only_beyond_a_mebibyte() -> None:
    _, enricher = enrich(change(b'"/"', b'"' + b"x" * (LONG_LINE_BYTES - 1000) + b'"'))
    assert enricher.warnings() == []
