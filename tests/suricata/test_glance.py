"""A glance at an event says what reading it whole says, or that it has to be read."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suricata.glance import Glance, glance, glance_at

from .samples import lines

ATTACKERS = [
    # a part of an event -> the address of the connection's client
    ({"src_ip": "203.0.113.7", "dest_ip": "192.168.110.2"}, "203.0.113.7"),
    (
        {"src_ip": "192.168.110.2", "dest_ip": "203.0.113.7", "direction": "to_client"},
        "203.0.113.7",
    ),
    ({"src_ip": "192.168.110.2", "flow": {"src_ip": "203.0.113.7"}}, "203.0.113.7"),
    (
        # What the flow record says goes before all.
        {
            "src_ip": "192.168.110.2",
            "dest_ip": "203.0.113.7",
            "flow": {"src_ip": "192.168.110.2"},
            "peeltap": {"direction": "to_client"},
        },
        "203.0.113.7",
    ),
    (
        {
            "src_ip": "203.0.113.7",
            "direction": "to_client",
            "peeltap": {"direction": "to_server"},
        },
        "203.0.113.7",
    ),
    ({"flow": {"src_ip": 7}, "src_ip": "203.0.113.7"}, "203.0.113.7"),
    ({"src_ip": ["203.0.113.7"]}, None),
    ({"event_type": "stats"}, None),
]


@pytest.mark.parametrize(("event", "address"), ATTACKERS)
def test_the_attacker_is_the_client_whatever_way_the_event_looks(
    event: dict[str, Any], address: str | None
) -> None:
    assert glance_at(event).attacker == address
    seen = glance(orjson.dumps(event))
    assert seen is None or seen.attacker == address


def told(one: Glance) -> tuple[object, ...]:
    return one.id, one.timestamp, one.event_type, one.severity, one.attacker


def test_of_every_sample_it_says_what_reading_says() -> None:
    seen = 0
    for line in lines():
        found = glance(line)
        if found is not None:
            seen += 1
            assert told(found) == told(glance_at(orjson.loads(line)))
    assert seen


ODD = {
    "beyond ASCII": '{"peeltap":{"id":"x.1"},"http":{"hostname":"bücher"}}'.encode(),
    "no UTF-8": b'{"peeltap":{"id":"x.1"},"a":"\xff"}',
    "half a pair": rb'{"peeltap":{"id":"x.1"},"a":"\ud800"}',
    "a list": b'[{"peeltap":{"id":"x.1"}}]',
    "cut": b'{"peeltap":{"id":"x.1"}',
    "two": b'{"peeltap":{"id":"x.1"}}{}',
    "an id that is no text": b'{"peeltap":{"id":7}}',
    "another type": b'{"peeltap":{"id":"x.1"},"flow":[]}',
    "deep": b'{"peeltap":{"id":"x.1"},"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nothing": b"",
}


@pytest.mark.parametrize("line", ODD.values(), ids=ODD)
def test_what_is_odd_has_to_be_read(line: bytes) -> None:
    assert glance(line) is None


NAMES = st.sampled_from(
    ["peeltap", "id", "flow", "src_ip", "dest_ip", "direction", "alert", "severity", "timestamp"]
)
PLAIN = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=4)
VALUES = PLAIN | st.lists(PLAIN, max_size=2) | st.dictionaries(NAMES, PLAIN, max_size=3)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_it_never_says_anything_else_than_reading(event: dict[str, Any]) -> None:
    found = glance(orjson.dumps(event))
    if found is not None:
        assert told(found) == told(glance_at(event))
