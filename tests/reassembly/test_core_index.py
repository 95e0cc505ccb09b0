"""What a store puts into the core it takes out again; which events find it: `test_blocks`."""

from __future__ import annotations

from typing import Any

import pytest
from peeltap_core import FlowIndex

from reassembly import core_index
from reassembly.records import Counters, Endpoints, FlowRecord, HeaderSeen

RECORD = FlowRecord(
    id="9f0c2a6e51d3b874",
    epoch=0,
    proto="TCP",
    observed=Endpoints("172.16.23.1", 40000, "172.16.23.2", 9000),
    vlan=(5,),
    true=Endpoints("203.0.113.7", 46421, "192.168.110.2", 80),
    headers=(HeaderSeen("magic", 28, {}),),
    start=0,
    end=None,
    verdict="stripped",
    restored=False,
    packets=Counters(0, 0),
    bytes=Counters(0, 0),
)

# A record's | its tuples in the core
RECORDS = [
    ({}, 1),
    ({"true": None, "end": 5, "headers": ()}, 1),
    ({"start": 1 << 70}, 1),
    ({"restored": True}, 2),
    ({"restored": True, "true": RECORD.observed}, 1),
    ({"proto": "UDP"}, 0),
    ({"proto": "UDP", "restored": True}, 0),
]


@pytest.mark.parametrize(("other", "tuples"), RECORDS)
def test_what_goes_in_comes_out(other: dict[str, Any], tuples: int) -> None:
    index = FlowIndex()
    record, same = RECORD._replace(**other), RECORD._replace(**other)
    core_index.put(index, record)
    assert len(index) == tuples
    core_index.remove(index, same)
    assert len(index) == tuples
    core_index.remove(index, record)
    assert len(index) == 0
