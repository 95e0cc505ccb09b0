from __future__ import annotations

from typing import Any

from suricata.enrichment.names import Names
from suricata.enrichment.settings import Named
from suricata.shapes.ends import ends

from ..shapes.material import corrected, of

NAMES = Names(
    decoys=[
        Named(name="web-1", addresses=["192.168.110.2"], tags=["prod"]),
        Named(name="all", addresses=["192.168.0.0/16"]),
    ],
    segments=[Named(name="dmz", addresses=["192.168.110.0/24"])],
    agents=[Named(name="agent-3", addresses=["172.16.23.1"])],
)


def test_decoy_segment_and_agent_are_told_by_role() -> None:
    event = of("fileinfo")  # from the decoy to the attacker
    added: dict[str, Any] = {}
    NAMES.add(added, ends(event))
    assert added == {
        "decoy": {"name": "web-1", "tags": ["prod"]},
        "segment": {"name": "dmz"},
        "agent": {"name": "agent-3"},
    }


def test_who_has_no_name_gets_none() -> None:
    added: dict[str, Any] = {}
    for event in corrected():
        if "dest_ip" not in event:
            NAMES.add(added, ends(event))
    assert added == {}
    assert NAMES.decoy("192.168.110.2") == "web-1"
    assert NAMES.decoy("192.168.1.1") == "all"
    assert NAMES.decoy("10.0.0.1") is None
