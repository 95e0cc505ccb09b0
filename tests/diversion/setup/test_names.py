"""Addresses spread out, and what follows from them."""

from __future__ import annotations

import pytest

from diversion.setup.names import short, space_name, spread, spread_ports, stable_mac


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("192.0.2.10", ["192.0.2.10"]),
        ("192.0.2.10-192.0.2.10", ["192.0.2.10"]),
        ("2001:db8::fe-2001:db8::100", ["2001:db8::fe", "2001:db8::ff", "2001:db8::100"]),
        ("192.0.2.255-192.0.3.1", ["192.0.2.255", "192.0.3.0", "192.0.3.1"]),
    ],
)
def test_addresses(text: str, addresses: list[str]) -> None:
    assert spread(text) == addresses


@pytest.mark.parametrize(
    ("text", "ports"),
    [("tcp/80", ["tcp:80"]), ("tcp/8000-8002", ["tcp:8000", "tcp:8001", "tcp:8002"])],
)
def test_ports(text: str, ports: list[str]) -> None:
    assert spread_ports(text) == ports


def test_names_fit_and_macs_are_our_own_to_give() -> None:
    assert short("pv", "203.0.113.10") == "pvcb00710a"
    assert len(short("pv", "255.255.255.255")) <= 15
    assert stable_mac("203.0.113.10") == "02:50:cb:00:71:0a"
    # Locally administered, and no group address.
    assert int(stable_mac("203.0.113.10")[:2], 16) & 0b11 == 0b10


def test_names_and_macs_of_ipv6_addresses() -> None:
    several = [f"2001:db8::{at:x}" for at in range(1, 300)]
    assert len({short("pv", one) for one in several}) == len(several)
    assert max(len(short("pv", one)) for one in several) <= 15
    macs = {stable_mac(one) for one in several}
    assert len(macs) == len(several)
    assert all(one.startswith("02:51:") for one in macs)
    assert space_name("2001:db8::30") == "vip-2001-db8--30"
    assert space_name("192.0.2.1") == "vip-192.0.2.1"
