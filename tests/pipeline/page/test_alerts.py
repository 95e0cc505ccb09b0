"""Events as the page shows them: who attacked whom, cut, plain, whatever they hold."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.page.alerts import MAX_LINE, MAX_TEXT, Touch, digest, shown
from tests.pipeline.page.parts import line

AT = "2026-01-01T00:00:00.005000+0000"


def test_an_alert_as_a_row() -> None:
    more = {
        "decoy": {"name": "web-1"},
        "attacker": {
            "domain": "scan.example",
            "geo": {"country_iso_code": "NL"},
            "as": {"number": 64496, "organization": {"name": "Example"}},
        },
        "session": "s-1",
    }
    found = digest([line(peeltap=more)])
    assert found.alerts == [
        {
            "id": "e-40000",
            "at": AT,
            "severity": 1,
            "signature": "HTTP path traversal",
            "category": "Web attack",
            "sid": 1000001,
            "attacker": {
                "ip": "203.0.113.7",
                "port": 40000,
                "name": "scan.example",
                "country": "NL",
                "owner": "Example",
            },
            "decoy": {"ip": "192.168.110.2", "port": 80, "name": "web-1"},
            "via": "172.16.23.1",
            "proto": "TCP",
            "app": "http",
            "confidence": "exact",
            "session": "s-1",
        }
    ]
    assert found.touches == [Touch("192.168.110.2", "203.0.113.7", AT, True)]


def test_the_attacker_is_told_by_role() -> None:
    [there], [back] = (digest([line(back=way)]).alerts for way in (False, True))
    assert there == back


def test_connections_touch_and_other_events_do_not() -> None:
    found = digest([line("flow") + line("http") + line("dns"), b"", b"\n", b"no json\n"])
    assert (found.alerts, found.passed) == ([], 0)
    assert found.touches == [Touch("192.168.110.2", "203.0.113.7", AT, False)]


def test_of_too_many_the_newest_are_looked_at() -> None:
    blocks = [b"".join(line(port=port) for port in range(n, n + 10)) for n in (1000, 1010, 1020)]
    found = digest(blocks, lines=15)
    assert [alert["attacker"]["port"] for alert in found.alerts] == list(range(1015, 1030))
    assert found.passed == 15


HOSTILE: dict[str, tuple[bytes, int]] = {
    "a line without end": (line(alert={"signature": "a" * MAX_LINE}), 1),
    "a list": (b'["event_type":"alert"]\n["\\"", {"event_type":"alert"}]\n', 0),
    "an event of another type that holds one": (
        b'{"event_type":"http","x":{"event_type":"alert"}}\n',
        0,
    ),
    "numbers for texts": (b'{"event_type":"alert","alert":7,"src_ip":8,"peeltap":[]}\n', 0),
    "depth": (b'{"event_type":"alert","a":' + b"[" * 5000 + b"]" * 5000 + b"}\n", 0),
}


@pytest.mark.parametrize(("block", "passed"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_lines_cost_nothing_but_themselves(block: bytes, passed: int) -> None:
    found = digest([block, line()])
    assert found.alerts[-1]["signature"] == "HTTP path traversal"
    assert found.passed == passed
    orjson.dumps(found.alerts)


def test_texts_are_cut_and_cannot_turn_what_is_beside_them() -> None:
    [row] = digest(
        [line(alert={"signature": "a" * 1000, "category": "x\u202ey\x1b[31m\u2066"})]
    ).alerts
    assert len(row["signature"]) == MAX_TEXT + 1
    assert row["category"] == "x\\u202ey\\x1b[31m\\u2066"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = ("alert", "peeltap", "flow", "src_ip", "dest_ip", "src_port", "proto", "timestamp")


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), JSON))
def test_any_event_can_be_shown(event: dict[str, Any]) -> None:
    orjson.dumps(shown({"event_type": "alert", **event}))
