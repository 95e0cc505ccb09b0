"""Flow records: parse, emit, and flows files with garbage in them."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reassembly.records import (
    MAX_RECORD_BYTES,
    VERDICTS,
    Counters,
    Endpoints,
    FlowRecord,
    Garbage,
    HeaderSeen,
    RecordError,
    canonical_ip,
    emit_record,
    emit_time,
    parse_record,
    parse_time,
    read_records,
)

LINE = (
    b'{"id":"00000000000000a1","epoch":2,"observed":{"src_ip":"172.16.23.1","src_port":40001,'
    b'"dest_ip":"172.16.23.2","dest_port":9000,"proto":"TCP","vlan":[7]},'
    b'"true":{"src_ip":"203.0.113.7","src_port":46421,"dest_ip":"192.168.110.2","dest_port":80},'
    b'"headers":[{"codec":"proxy-v2","length":28,"tlvs":{"alpn":"h2"}}],'
    b'"start":"2026-01-01T00:00:00.000001+0000","end":null,"verdict":"stripped","restored":true,'
    b'"packets":{"to_server":3,"to_client":2},"bytes":{"to_server":300,"to_client":200},'
    b'"reason":"x"}'
)
RECORD = FlowRecord(
    id="00000000000000a1",
    epoch=2,
    proto="TCP",
    observed=Endpoints("172.16.23.1", 40001, "172.16.23.2", 9000),
    vlan=(7,),
    true=Endpoints("203.0.113.7", 46421, "192.168.110.2", 80),
    headers=(HeaderSeen("proxy-v2", 28, {"alpn": "h2"}),),
    start=1767225600_000001000,
    end=None,
    verdict="stripped",
    restored=True,
    packets=Counters(3, 2),
    bytes=Counters(300, 200),
    reason="x",
)


def test_parse_and_emit_are_a_pair() -> None:
    assert parse_record(LINE) == RECORD
    assert emit_record(RECORD) == LINE
    assert RECORD.codecs == ("proxy-v2",)


TIMES = [
    ("1970-01-01T00:00:00.000000+0000", 0),
    ("2026-01-01T00:00:00.000001+0000", 1767225600_000001000),
    ("2026-01-01T00:00:00.000000001+0000", 1767225600_000000001),
    ("2026-01-01T01:30:00.5+0130", 1767225600_500000000),
    ("2025-12-31T19:00:00.000000-0500", 1767225600_000000000),
    ("2026-01-01T00:00:00+00:00", 1767225600_000000000),
    ("2026-01-01T00:00:00Z", 1767225600_000000000),
    ("1969-12-31T23:59:59.750000+0000", -250000000),
]


@pytest.mark.parametrize(("text", "at"), TIMES)
def test_parse_time(text: str, at: int) -> None:
    assert parse_time(text) == at


NO_TIMES = [
    "",
    "yesterday",
    "2026-01-01T00:00:00.+0000",
    "2026-01-01T00:00:00.5",
    "2026-13-01T00:00:00+0000",
]


@pytest.mark.parametrize("text", NO_TIMES)
def test_parse_time_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"timestamp|isoformat|offset|month"):
        parse_time(text)


@given(st.integers(min_value=0, max_value=4_000_000_000_000_000_000))
def test_times_survive_to_the_nanosecond(at: int) -> None:
    assert parse_time(emit_time(at)) == at


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"),
        ("::FFFF:192.0.2.1", "::ffff:192.0.2.1"),
    ],
)
def test_canonical_ip(text: str, canonical: str) -> None:
    assert canonical_ip(text) == canonical


@pytest.mark.parametrize("text", ["", "a", "1.2.3", "1.2.3.4.5", ":", "1::2::3", "1.2.3.4\x00"])
def test_canonical_ip_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="not an IP address"):
        canonical_ip(text)


GARBAGE = [
    (b"hello", "not_json"),
    (LINE[:-9], "not_json"),
    (LINE.replace(b"proxy", b"pro\xffxy"), "not_json"),
    (LINE.replace(b"proxy", b"pro\x00xy"), "not_json"),
    (b"[]", "not_an_object"),
    (b"7", "not_an_object"),
    (b"{}", "missing_key"),
    (LINE.replace(b'"epoch":2,', b""), "missing_key"),
    (LINE.replace(b'"src_port":40001', b'"src_port":"40001"'), "bad_value"),
    (LINE.replace(b'"src_port":40001', b'"src_port":70000'), "bad_value"),
    (LINE.replace(b'"src_port":40001', b'"src_port":true'), "bad_value"),
    (LINE.replace(b'"epoch":2', b'"epoch":99999999999999999999'), "bad_value"),
    (LINE.replace(b"203.0.113.7", b"203.0.113.777"), "bad_value"),
    (LINE.replace(b'"stripped"', b'"peeled"'), "bad_value"),
    (LINE.replace(b"2026-01-01", b"2026-01-41"), "bad_value"),
    (LINE.replace(b'"vlan":[7]', b'"vlan":7'), "bad_value"),
    (LINE.replace(b'"headers":[', b'"headers":[[],'), "bad_value"),
    (LINE.replace(b'"observed":{', b'"observed":[],"x":{'), "bad_value"),
    (b" " * MAX_RECORD_BYTES + LINE, "too_long"),
]


@pytest.mark.parametrize(("line", "name"), GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_counted_and_its_neighbours_stay(line: bytes, name: str) -> None:
    garbage = Garbage()
    stream = io.BytesIO(LINE + b"\n" + line + b"\n\n" + LINE)
    assert list(read_records(stream, garbage)) == [RECORD, RECORD]
    assert garbage.counts == {name: 1}
    (sentence,) = garbage.sentences("flows.jsonl")
    assert sentence.startswith(f"flows.jsonl: 1 line left out as {name} (first: line 2: ")


def test_garbage_is_reported_once_a_name() -> None:
    garbage = Garbage()
    assert list(read_records(io.BytesIO(b"x\n{}\nx\nx\n"), garbage)) == []
    assert [s.split(" (")[0] for s in garbage.sentences("f")] == [
        "f: 1 line left out as missing_key",
        "f: 3 lines left out as not_json",
    ]


def named(line: bytes) -> str:
    """The verdict of a record, or the name under which its line is counted."""
    try:
        return parse_record(line).verdict
    except RecordError as error:
        return error.name


NAMES = {*VERDICTS, "not_json", "not_an_object", "missing_key", "bad_value"}


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_a_named_error(line: bytes) -> None:
    assert named(line) in NAMES


SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.sampled_from(list(json.loads(LINE))), JSON)
def test_any_value_under_a_known_key_is_a_record_or_a_named_error(key: str, value: object) -> None:
    document = json.loads(LINE)
    document[key] = value
    assert named(json.dumps(document).encode()) in NAMES
