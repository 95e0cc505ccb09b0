"""Community ID v1 against the specification's own values and against Suricata's."""

from __future__ import annotations

import json

import pytest

from suricata.community_id import community_id

from .samples import SEED, lines

# From the specification's baseline, and equal to what its own Python package computes:
# src, sport, dst, dport, proto, seed 0, seed 1.
BASELINE = [
    ("128.232.110.120", 34855, "66.35.250.204", 80, 6, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
     "1:3V71V58M3Ksw/yuFALMcW0LAHvc="),
    ("192.168.1.52", 54585, "8.8.8.8", 53, 17, "1:d/FP5EW3wiY1vCndhwleRRKHowQ=",
     "1:Q9We8WO3piVF8yEQBNJF4uiSVrI="),
]  # fmt: skip


@pytest.mark.parametrize("row", BASELINE, ids=["tcp", "udp"])
def test_the_specifications_values_in_both_directions(
    row: tuple[str, int, str, int, int, str, str],
) -> None:
    src, sport, dst, dport, proto, seed0, seed1 = row
    assert community_id(src, sport, dst, dport, 0, proto) == seed0
    assert community_id(dst, dport, src, sport, 0, proto) == seed0
    assert community_id(src, sport, dst, dport, 1, proto) == seed1


def test_suricatas_values_for_ipv4_and_ipv6() -> None:
    families = set()
    for line in lines():
        event = json.loads(line)
        if event.get("proto") == "TCP":
            ends = (event["src_ip"], event["src_port"], event["dest_ip"], event["dest_port"])
            assert community_id(*ends, SEED) == event["community_id"]
            families.add(":" in event["src_ip"])
    assert families == {True, False}


def test_equal_addresses_are_ordered_by_port() -> None:
    one, other = ("10.0.0.1", 256), ("10.0.0.1", 2)
    assert community_id(*one, *other) == community_id(*other, *one)


NO_TUPLES = [
    ("a", 1, "10.0.0.1", 2),
    ("10.0.0.1", 65536, "10.0.0.1", 2),
    ("10.0.0.1", -1, "::1", 2),
]


@pytest.mark.parametrize("ends", NO_TUPLES)
def test_what_is_no_tuple_is_a_value_error(ends: tuple[str, int, str, int]) -> None:
    with pytest.raises(ValueError, match="no 5-tuple"):
        community_id(*ends)
