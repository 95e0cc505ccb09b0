"""The binding of the core's events: records go in and out by identity, whatever they hold."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from peeltap_core import FlowIndex, KnownEvents, count_lines

LEG = ("172.16.23.1", 40000, "172.16.23.2", 9000)
TRUE = ("203.0.113.7", 46421, "192.168.110.2", 80)
LINE = (
    b'{"timestamp":"2026-01-01T00:00:00.500000+0000","event_type":"alert","src_ip":"172.16.23.1",'
    b'"src_port":40000,"dest_ip":"172.16.23.2","dest_port":9000,"proto":"TCP","alert":{}}\n'
)
CORRECTED = (
    b'{"timestamp":"2026-01-01T00:00:00.500000+0000","event_type":"alert","src_ip":"203.0.113.7",'
    b'"src_port":46421,"dest_ip":"192.168.110.2","dest_port":80,"proto":"TCP","alert":{},'
    b'"peeltap":{"observed":{"src_ip":"172.16.23.1","src_port":40000,"dest_ip":"172.16.23.2",'
    b'"dest_port":9000},"direction":"to_server","flow":"f","codec":["magic"],'
    b'"verdict":"stripped","confidence":"time"}}\n'
)


def put(index: FlowIndex, record: object, **other: Any) -> None:
    value = {"observed": LEG, "true": TRUE, "id": "f", "vlan": (), "start": 0, "end": None}
    value |= {"codecs": ("magic",), "verdict": "stripped"} | other
    index.put(record, *value.values())


def corrected(index: FlowIndex, *, tells_alerts: bool = True) -> tuple[bytes, Any]:
    known = KnownEvents(index, seed=7, tells_alerts=tells_alerts)
    known.allow("alert")
    out, at, count = known.correct(LINE + LINE, 0)
    assert (at, count) in ((2 * len(LINE), 2), (0, 0))
    return out, known.take()


def test_a_record_goes_into_events_until_it_is_removed() -> None:
    index, record, other = FlowIndex(), object(), object()
    put(index, record)
    put(index, other, observed=("::1", 1, "::2", 2))
    assert len(index) == 2
    out, (exact, time, others, types, alerts, told) = corrected(index)
    assert out == CORRECTED * 2
    assert (exact, time, others, types, alerts) == (0, 2, 0, {"alert": 2}, 2)
    assert told == [(record, 0, len(LINE) - 1), (record, len(LINE), 2 * len(LINE) - 1)]
    assert corrected(index, tells_alerts=False)[1][4:] == (2, [])
    index.remove(other, LEG)
    assert len(index) == 2
    index.remove(record, LEG)
    assert len(index) == 1
    assert corrected(index)[0] == b""
    index.clear()
    assert len(index) == 0


# A record's | what no event is corrected by here
ODD = [
    ("id", 'a"b'),
    ("codecs", ("é",)),
    ("true", ("x", 1, "192.0.2.1", 2)),
    ("start", 1 << 64),
    ("end", 1 << 64),
    ("vlan", (1 << 64,)),
    ("vlan", None),
]


@pytest.mark.parametrize(("name", "value"), ODD)
def test_what_is_odd_leaves_its_ends_to_the_store(name: str, value: Any) -> None:
    index, odd = FlowIndex(), object()
    put(index, object())
    put(index, odd, **{name: value})
    assert len(index) == 2
    assert corrected(index)[0] == b""
    index.remove(odd, LEG)
    assert corrected(index)[0] == CORRECTED * 2
    index.put_odd(odd, LEG)
    assert corrected(index)[0] == b""


def test_what_has_no_addresses_is_not_kept() -> None:
    index, odd = FlowIndex(), object()
    ends = ("x", 1, "172.16.23.2", 9000)
    put(index, odd, observed=ends)
    index.put_odd(odd, ends)
    index.remove(odd, ends)
    assert len(index) == 0


def test_lines_are_counted() -> None:
    for data in (b"", b"a", b"a\n", b"\n\n", b"a\nb" * 1000):
        assert count_lines(data) == data.count(b"\n")


def test_one_thread_may_put_while_another_corrects() -> None:
    index, record = FlowIndex(), object()
    put(index, record)
    known = KnownEvents(index)
    known.allow("alert")
    ended = threading.Event()

    def change() -> None:
        for number in range(2000):
            other = object()
            put(index, other, observed=("172.16.23.1", number, "172.16.23.2", 1))
            index.remove(other, ("172.16.23.1", number, "172.16.23.2", 1))
        ended.set()

    thread = threading.Thread(target=change)
    thread.start()
    while not ended.is_set():
        assert known.correct(LINE, 0)[0] == CORRECTED
    thread.join()
    assert len(index) == 1
