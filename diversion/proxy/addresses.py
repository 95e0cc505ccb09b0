"""Addresses with ports, as they stand in configurations: `192.0.2.1:80`, `[2001:db8::1]:80`."""

from __future__ import annotations

import ipaddress
from socket import AF_INET6, inet_pton
from typing import NamedTuple, Union

Ends = tuple[str, int]
"""An address as text, in its shortest form, and a port."""

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


def parse_ends(text: object) -> Ends:
    """Read one address with its port; ValueError says what is wrong."""
    if not isinstance(text, str):
        raise ValueError("must be text: ADDRESS:PORT")
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise ValueError(f"{text!r} is not ADDRESS:PORT")
    return _address(host), _port(port, text)


def show_ends(ends: Ends) -> str:
    """Write an address with its port, IPv6 in brackets."""
    return f"[{ends[0]}]:{ends[1]}" if ":" in ends[0] else f"{ends[0]}:{ends[1]}"


def whose(address: str) -> str | bytes:
    """What stands for one host where connections are counted: an IPv6 host has a whole /64."""
    if ":" not in address:
        return address
    packed = inet_pton(AF_INET6, address)
    # IPv4 addresses in IPv6's form (RFC 4291, 2.5.5.2) are not all one host.
    return packed[12:] if packed[:12] == _MAPPED else packed[:8]


_MAPPED = b"\0" * 10 + b"\xff\xff"


class Range(NamedTuple):
    """A network and the ports in it: `198.51.100.0/24:1-1024`; no port is all of them."""

    network: Network
    first: int
    last: int

    def __contains__(self, ends: object) -> bool:
        address: str
        port: int
        address, port = ends  # type: ignore[misc]
        if not self.first <= port <= self.last:
            return False
        return ipaddress.ip_address(address) in self.network

    @property
    def single(self) -> Ends | None:
        """The one pair that is meant, if it is one."""
        if self.network.num_addresses == 1 and self.first == self.last:
            return str(self.network.network_address), self.first
        return None


def parse_range(text: object) -> Range:
    """Read `ADDRESS[/LENGTH][:PORT[-PORT]]`; ValueError says what is wrong."""
    if not isinstance(text, str):
        raise ValueError("must be text: ADDRESS, NETWORK/LENGTH or either with :PORT or :PORT-PORT")
    where, ports = text, ""
    if text.startswith("["):
        where, bracket, behind = text[1:].partition("]")
        if not bracket:
            raise ValueError(f"{text!r} lacks a closing bracket")
        length, _, ports = behind.partition(":")
        where += length
        if length and not length.startswith("/"):
            raise ValueError(f"{text!r} is not [ADDRESS]:PORT")
    elif text.count(":") == 1:
        where, _, ports = text.partition(":")
    try:
        network = ipaddress.ip_network(where)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    if not ports:
        return Range(network, 0, 0xFFFF)
    low, dash, high = ports.partition("-")
    first = _port(low, text)
    last = _port(high, text) if dash else first
    if first > last:
        raise ValueError(f"{text!r}: the first port is behind the last")
    return Range(network, first, last)


def parse_network(text: object) -> Network:
    """Read an address or a network; ValueError says what is wrong."""
    if not isinstance(text, str):
        raise ValueError("must be text: an address or NETWORK/LENGTH")
    return ipaddress.ip_network(text)


def _address(text: str) -> str:
    bracketed = text.startswith("[") and text.endswith("]")
    try:
        address = ipaddress.ip_address(text[1:-1] if bracketed else text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None
    if bracketed != (address.version == 6):
        raise ValueError(f"{text!r}: an IPv6 address before a port, and only such, has brackets")
    return str(address)


def _port(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 0xFFFF):
        raise ValueError(f"{whole!r}: {text!r} is not a port")
    return int(text)
