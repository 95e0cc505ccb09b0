"""Headers that others send, read by the core; a listener's configuration says which."""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import peeltap_core

from diversion.proxy.addresses import Ends
from diversion.proxy.headers import V2_SIGNATURE
from diversion.proxy.link import HeadError, Parse


class Header(NamedTuple):
    """Who came, and where to."""

    peer: Ends
    destination: Ends


def reader(codecs: Sequence[Mapping[str, Any]]) -> Parse:
    """Read one header of any of the codecs, objects as in the core's configuration.

    What it finds is a `Header`, or None of one that names nobody. Raises ValueError for what is no
    codec; when reading, HeadError for what is none of these headers.
    """
    configured = [json.dumps(codec).encode() for codec in codecs]
    for codec in configured:
        peeltap_core.parse_header(codec, b"")

    v2 = any(codec.get("kind") == "proxy-v2" for codec in codecs)

    def parse(stream: bytes) -> tuple[int, Header | None] | None:
        if v2 and stream[:16] == _PLAIN_V2 and len(stream) >= _PLAIN_V2_LENGTH:
            return _PLAIN_V2_LENGTH, _plain_v2(stream)
        more = False
        for codec in configured:
            try:
                found = peeltap_core.parse_header(codec, stream)
            except peeltap_core.MalformedHeaderError as error:
                raise HeadError("header_malformed", str(error)) from None
            if found is None:
                continue
            if not found["complete"]:
                more = True
                continue
            if found["tlvs"].get("transport") == "dgram":
                raise HeadError("header_malformed", "it is of datagrams, not of a connection")
            return found["start"] + found["length"], _header(found["true"])
        if more:
            return None
        raise HeadError("header_malformed", "none of the headers that are accepted here")

    return parse


# Version 2, PROXY, TCP over IPv4, 12 bytes of addresses and nothing else: what nearly every
# connection begins with. The core is made to read anything, for twenty times the cost.
_PLAIN_V2 = V2_SIGNATURE + b"\x21\x11\x00\x0c"
_PLAIN_V2_LENGTH = 28
_PORTS = struct.Struct("!HH")


def _plain_v2(stream: bytes) -> Header:
    peer_port, destination_port = _PORTS.unpack_from(stream, 24)
    peer = socket.inet_ntoa(stream[16:20]), peer_port
    header = Header(peer, (socket.inet_ntoa(stream[20:24]), destination_port))
    if peer_port and destination_port and stream[16] in _UNICAST and stream[20] in _UNICAST:
        return header
    return _fit(header)


_UNICAST = range(1, 224)
"""First bytes of IPv4 addresses with which a connection can have them, without looking further."""


def _header(true: Mapping[str, Any] | None) -> Header | None:
    if true is None:
        return None
    ends = (true["src_ip"], true["src_port"]), (true["dest_ip"], true["dest_port"])
    return _fit(Header(*ends))


def _fit(header: Header) -> Header:
    """The header, if a TCP connection can have its addresses and ports; HeadError."""
    for whose, (address, port) in zip(header._fields, header, strict=True):
        value = ipaddress.ip_address(address)
        mapped = getattr(value, "ipv4_mapped", None) or value
        if mapped.is_unspecified or mapped.is_multicast or mapped == _BROADCAST or not port:
            raise HeadError("header_malformed", f"no connection has the {whose} {address} {port}")
    return header


_BROADCAST = ipaddress.IPv4Address("255.255.255.255")
