"""Addresses spread out, and the names and MACs that follow from them."""

from __future__ import annotations

import hashlib
import ipaddress
import zlib


def spread(text: str) -> list[str]:
    """Give the addresses of `192.0.2.10-192.0.2.20`, or of `192.0.2.10`."""
    first, dash, last = text.partition("-")
    low, high = (ipaddress.ip_address(one) for one in (first, last if dash else first))
    return [str(low + at) for at in range(int(high) - int(low) + 1)]


def spread_ports(text: str) -> list[str]:
    """Give `tcp:80` and so on for `tcp/80` or `tcp/8000-8010`."""
    protocol, _, ports = text.partition("/")
    first, dash, last = ports.partition("-")
    return [f"{protocol}:{one}" for one in range(int(first), int(last if dash else first) + 1)]


def stable_mac(address: str) -> str:
    """Give the MAC that an address keeps: neighbours remember it over a restart.

    It is locally administered (IEEE 802, the second bit of the first byte).
    """
    value = ipaddress.ip_address(address)
    kind = 0x50 if value.version == 4 else 0x51
    return ":".join(f"{one:02x}" for one in (0x02, kind, *_digest(address, 4)))


def mark_base(topology: str) -> int:
    """Give the first of the 256 marks, and routing tables, that are a topology's."""
    return 0x50000000 | (zlib.crc32(topology.encode()) & 0xFFFF) << 8


def short(prefix: str, address: str) -> str:
    """Give a name for an interface that belongs to an address: 10 or 12 characters."""
    return prefix + _digest(address, 5).hex()


def space_name(address: str) -> str:
    """Give the name of the namespace of a virtual address."""
    return f"vip-{address.replace(':', '-')}"


def _digest(address: str, size: int) -> bytes:
    """An IPv4 address's own four bytes; so many of a digest of an IPv6 address."""
    value = ipaddress.ip_address(address)
    if value.version == 4:
        return value.packed
    return hashlib.blake2b(value.packed, digest_size=size).digest()
