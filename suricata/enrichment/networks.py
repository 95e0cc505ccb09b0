"""Addresses and prefixes with a value each; the narrowest that holds an address counts."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Generic, TypeVar

T = TypeVar("T")


class Networks(Generic[T]):
    """Looks an address up in one step for each length of prefix that there is.

    `entries`: addresses and prefixes, of two equal ones the first counts; ValueError for another.
    """

    def __init__(self, entries: Iterable[tuple[str, T]] = ()) -> None:
        self._tables: dict[int, dict[int, dict[int, T]]] = {4: {}, 6: {}}
        for network, value in entries:
            self._add(network, value)
        # By the bits that are free: the narrowest first.
        self._tables = {
            version: dict(sorted(tables.items())) for version, tables in self._tables.items()
        }

    def _add(self, network: str, value: T) -> None:
        parsed = ipaddress.ip_network(network)
        host = parsed.max_prefixlen - parsed.prefixlen
        table = self._tables[parsed.version].setdefault(host, {})
        table.setdefault(int(parsed.network_address) >> host, value)

    def find(self, ip: str) -> T | None:
        """The value of the narrowest network that holds `ip`, None if none does."""
        version, number = _parsed(ip)
        for host, table in self._tables[version].items():
            if number >> host in table:
                return table[number >> host]
        return None

    def __len__(self) -> int:
        return sum(len(table) for tables in self._tables.values() for table in tables.values())


@lru_cache(maxsize=65_536)
def _parsed(ip: str) -> tuple[int, int]:
    address = ipaddress.ip_address(ip)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.version, int(address)
