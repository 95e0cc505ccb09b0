from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suricata.shapes import values

from .material import ANYTHING, some

# What | asked for as | what comes back.
VALUES = [
    ("a", values.text, "a"),
    ("", values.text, None),
    (1, values.text, None),
    ("\ud800", values.text, "?"),
    (5, values.number, 5),
    (True, values.number, None),
    (-1, values.number, None),
    (1 << 63, values.number, None),
    ("5", values.number, None),
    (80, values.port, 80),
    (0, values.port, None),
    (65536, values.port, None),
    (7, values.digits, "7"),
    ("7", values.digits, "7"),
    (False, values.digits, None),
    (1 << 64, values.digits, None),
    (False, values.boolean, False),
    (0, values.boolean, None),
    ("203.0.113.7", values.ip, "203.0.113.7"),
    ("2001:0db8:0000:0000:0000:0000:0000:0001",) * 2,
    ("fe80::1%eth0", values.ip, None),
    ("203.0.113", values.ip, None),
    (3405803783, values.ip, None),
    (["a", 1, ""], values.texts, ["a"]),
    ("a", values.texts, ["a"]),
    ([1], values.texts, None),
    ("2026-01-01T00:00:00.000000+0000", values.date, "2026-01-01T00:00:00.000000Z"),
    ("2026-01-01T00:00:00.000000+0230", values.date, "2026-01-01T00:00:00.000000+02:30"),
    ("2026-01-01T00:00:00", values.date, "2026-01-01T00:00:00Z"),
    ("2026-13-01T00:00:00.000000+0000", values.date, None),
    ("2026-01-01", values.date, None),
    (1767225600, values.date, None),
    ("scan-7.example.net", values.host, "scan-7.example.net"),
    ("203.0.113.7", values.host, None),
    ("a b", values.host, None),
    ("a." * 200, values.host, None),
    ("a\n", values.host, None),
    (1, values.fraction, 1.0),
    (float("nan"), values.fraction, None),
    ({"city_name": "x", "location": {"lat": 1}}, values.geo, {"city_name": "x"}),
    ({"location": {"lat": 1, "lon": -2.5}}, values.geo, {"location": {"lat": 1.0, "lon": -2.5}}),
    ({"city_name": 5}, values.geo, None),
    ({"number": 5, "x": 1}, values.autonomous_system, {"number": 5}),
    ({"organization": "x"}, values.autonomous_system, None),
]
CASES = [case if len(case) == 3 else (case[0], values.ip, case[1]) for case in VALUES]
READERS = sorted({reader for _, reader, _ in CASES}, key=lambda reader: reader.__name__)


@pytest.mark.parametrize(("value", "reader", "expected"), CASES)
def test_a_value_is_of_the_type_that_was_asked_for_or_none(value, reader, expected) -> None:  # type: ignore[no-untyped-def]
    assert reader(value) == expected
    assert type(reader(value)) is type(expected)


@some
@given(st.one_of(ANYTHING, st.text(alphabet="0123456789.:TZ+-% /", max_size=40)))
def test_no_reader_raises(value: object) -> None:
    for reader in READERS:
        reader(value)


def test_put_makes_the_way_and_none_makes_nothing() -> None:
    out: values.Event = {}
    values.put(out, ("a", "b", "c"), 1)
    values.put(out, ("a", "d"), None)
    values.put(out, ("x", "y"), None)
    assert out == {"a": {"b": {"c": 1}}}
