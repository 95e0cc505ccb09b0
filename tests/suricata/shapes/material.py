"""Events to shape: real ones, corrected, and what no Suricata would write."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

import orjson
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from suricata.enrich import Enricher

from ..samples import SEED, lines, store

Event = dict[str, Any]

ENRICHED = {
    "id": "3f2a.118",
    "session": "s-0123456789abcdef",
    "attacker": {
        "geo": {
            "country_iso_code": "SE",
            "country_name": "Sweden",
            "city_name": "Linköping",
            "continent_name": "Europe",
            "region_iso_code": "SE-E",
            "location": {"lat": 58.4167, "lon": 15.6167},
        },
        "as": {"number": 29518, "organization": {"name": "Bredband2 AB"}},
        "domain": "scan-7.example.net",
        "lists": ["scanner"],
    },
    "decoy": {"name": "web-1", "tags": ["prod"]},
    "segment": {"name": "dmz"},
    "agent": {"name": "agent-3"},
}


@lru_cache(maxsize=1)
def _corrected() -> list[Event]:
    enricher = Enricher(store(), community_id_seed=SEED, wait_events=0)
    out = enricher.feed(b"".join(line + b"\n" for line in lines()))
    return [orjson.loads(line) for line in out.splitlines()]


def corrected() -> list[Event]:
    """Every sample, as it comes out of the correction."""
    return copy.deepcopy(_corrected())


def of(kind: str, number: int = 0) -> Event:
    """The `number`th corrected sample of a type whose attacker is known."""
    found = [
        event
        for event in corrected()
        if event["event_type"] == kind and "direction" in event["peeltap"]
    ]
    return found[number]


def enriched() -> list[Event]:
    """The same, with all that enrichment can add."""
    events = [event for event in corrected() if "peeltap" in event]
    for event in events:
        event["peeltap"].update(copy.deepcopy(ENRICHED))
    return events


SUMMARY: Event = {
    "timestamp": "2026-01-01T00:20:00.000000+0000",
    "event_type": "peeltap_session",
    "src_ip": "203.0.113.7",
    "summary": {
        "state": "ended",
        "first": "2026-01-01T00:00:00.000000+0000",
        "last": "2026-01-01T00:05:00.000000+0000",
        "connections": 3,
        "decoys": [{"ip": "192.168.110.2", "name": "web-1", "ports": [80]}],
        "bytes_to_server": 10,
        "bytes_to_client": 20,
    },
    "peeltap": {"session": "s-0123456789abcdef", "id": "s-0123456789abcdef.2"},
}

# What stands in the place of a value: every type, and texts that look like another.
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(
        [
            "203.0.113.7",
            "::1",
            "fe80::1%eth0",
            "not an address",
            "2026-01-01T00:00:00.000000+0000",
            "2026-13-01T00:00:00.000000+0000",
            "2026-11-21T04:03:54",
            "to_client",
            "a." * 200,
            "/a?b#c",
            "<>",
            "TLS 1.3",
            "T1190",
        ]
    ),
)
ANYTHING = st.recursive(
    ODD,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


def _paths(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for name, inner in value.items():
            found += _paths(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += _paths(inner, (*path, index))
    return found


@st.composite
def broken(draw: st.DrawFn) -> Event:
    """A real event with some values replaced, or taken away."""
    event = copy.deepcopy(draw(st.sampled_from(_different())))
    for _ in range(draw(st.integers(1, 3))):
        paths = _paths(event)
        if not paths:
            break
        path = draw(st.sampled_from(paths))
        holder: Any = event
        for name in path[:-1]:
            holder = holder[name]
        if isinstance(holder, list) or draw(st.integers(0, 3)):
            holder[path[-1]] = draw(ANYTHING)
        else:
            del holder[path[-1]]
    return event


@lru_cache(maxsize=1)
def _different() -> list[Event]:
    by_members = {(event["event_type"], *event): event for event in enriched()}
    return [*by_members.values(), SUMMARY]


def different() -> list[Event]:
    """One event of each type and set of members, with all enrichment, and a session's summary."""
    return copy.deepcopy(_different())


# Few examples, the same ones each time; a busy machine is no failure.
some = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
