"""Addresses spread out, and the names and MACs that follow from them."""

from __future__ import annotations

import ipaddress
import zlib


def spread(text: str) -> list[str]:
    """Give the addresses of `192.0.2.10-192.0.2.20`, or of `192.0.2.10`."""
    first, dash, last = text.partition("-")
    low, high = (int(ipaddress.IPv4Address(one)) for one in (first, last if dash else first))
    return [str(ipaddress.IPv4Address(one)) for one in range(low, high + 1)]


def spread_ports(text: str) -> list[str]:
    """Give `tcp:80` and so on for `tcp/80` or `tcp/8000-8010`."""
    protocol, _, ports = text.partition("/")
    first, dash, last = ports.partition("-")
    return [f"{protocol}:{one}" for one in range(int(first), int(last if dash else first) + 1)]


def stable_mac(address: str) -> str:
    """Give the MAC that an address keeps: neighbours remember it over a restart.

    It is locally administered (IEEE 802, the second bit of the first byte).
    """
    return ":".join(f"{one:02x}" for one in (0x02, 0x50, *ipaddress.IPv4Address(address).packed))


def mark_base(topology: str) -> int:
    """Give the first of the 256 marks, and routing tables, that are a topology's."""
    return 0x50000000 | (zlib.crc32(topology.encode()) & 0xFFFF) << 8


def short(prefix: str, address: str) -> str:
    """Give a name for an interface that belongs to an address: 10 characters."""
    return f"{prefix}{int(ipaddress.IPv4Address(address)):08x}"
