from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suricata.enrichment.networks import Networks

from ..shapes.material import some

TABLE = Networks(
    [
        ("192.0.2.0/24", "net"),
        ("192.0.2.0/28", "narrow"),
        ("192.0.2.5", "one"),
        ("192.0.2.5/32", "second"),
        ("0.0.0.0/0", "any"),
        ("2001:db8::/32", "six"),
    ]
)


@pytest.mark.parametrize(
    ("ip", "expected"),
    [
        ("192.0.2.5", "one"),
        ("192.0.2.6", "narrow"),
        ("192.0.2.16", "net"),
        ("198.51.100.1", "any"),
        ("2001:0db8:0000:0000:0000:0000:0000:0001", "six"),
        ("2001:db9::1", None),
        ("::ffff:192.0.2.5", "one"),
    ],
)
def test_the_narrowest_counts(ip: str, expected: str | None) -> None:
    assert TABLE.find(ip) == expected
    assert len(TABLE) == 5


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="has host bits set"):
        Networks([("192.0.2.1/24", 1)])


NETWORKS = st.builds(
    lambda number, bits: ipaddress.ip_network((number, bits), strict=False),
    st.integers(0, 255).map(lambda low: (192 << 24) + low),
    st.integers(20, 32),
)


@some
@given(st.lists(NETWORKS, unique=True, max_size=8), st.integers(0, 255))
def test_it_finds_what_a_search_through_all_finds(
    networks: list[ipaddress.IPv4Network], low: int
) -> None:
    ip = ipaddress.ip_address((192 << 24) + low)
    holding = [network for network in networks if ip in network]
    expected = str(max(holding, key=lambda one: one.prefixlen)) if holding else None
    assert Networks([(str(one), str(one)) for one in networks]).find(str(ip)) == expected
