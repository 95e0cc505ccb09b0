"""What a topology file tells of addresses that attackers can reach: which segment they lie in.

A segment of the agent's is called by its name; virtual addresses on a bridge by the bridge's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from diversion.setup.settings import TopologySettings
from suricata.enrichment.settings import Named


def segments(topology: TopologySettings) -> list[Named]:
    """The names that `topology` has for networks and addresses."""
    found = [
        Named(name=segment.name, addresses=[*segment.network, *segment.held])
        for segment in topology.segments
    ]
    found += [
        Named(name=virtual.on, addresses=list(_networks(virtual.addresses)))
        for virtual in topology.virtual
    ]
    return found


def _networks(ranges: list[str]) -> Iterator[str]:
    for text in ranges:
        first, _, last = text.partition("-")
        low, high = ipaddress.ip_address(first), ipaddress.ip_address(last or first)
        for network in ipaddress.summarize_address_range(low, high):
            yield str(network)
