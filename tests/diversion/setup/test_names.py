"""Addresses spread out, and what follows from them."""

from __future__ import annotations

import pytest

from diversion.setup.names import short, spread, spread_ports, stable_mac


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("192.0.2.10", ["192.0.2.10"]),
        ("192.0.2.10-192.0.2.10", ["192.0.2.10"]),
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
