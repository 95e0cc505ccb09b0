"""The header that a proxy puts in front of a connection: PROXY v1, v2 and declared layouts.

Only written here; what comes from others is read by the core (`diversion.gateway.parse`). A layout
is what docs/codecs.md describes and `reassembly.layout` checks; the core writes the same bytes, and
tests/diversion/proxy/test_headers.py holds the two together.

An `Emitter` takes peer and destination and gives the header's bytes, or raises ValueError where the
format cannot carry them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, Union

from diversion.proxy.addresses import Ends

Emitter = Callable[[Ends, Ends], bytes]

V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
# Version 2, command PROXY; family and SOCK_STREAM; length of the addresses.
_V2_IPV4 = V2_SIGNATURE + b"\x21\x11\x00\x0c"
_V2_IPV6 = V2_SIGNATURE + b"\x21\x21\x00\x24"
_PORTS = struct.Struct("!HH")

_NUMBERS = {"u8": "!B", "u16be": "!H", "u16le": "<H", "u32be": "!I", "u32le": "<I"}


def emitter(codec: Mapping[str, Any]) -> Emitter:
    """Give the writer of a codec, an object as in the core's configuration.

    `{"kind": "proxy-v1"}`, `{"kind": "proxy-v2"}` or `{"kind": "layout", "layout": [...],
    "encoding": "binary"|"text"}`. Raises ValueError for what is none.
    """
    kind = codec.get("kind")
    if kind == "proxy-v2":
        return emit_v2
    if kind == "proxy-v1":
        return emit_v1
    if kind == "layout":
        fields = codec["layout"]
        write = _write_text if codec.get("encoding") == "text" else _write_binary

        def emit(peer: Ends, destination: Ends) -> bytes:
            try:
                return write(fields, {"peer": peer, "destination": destination})
            except (struct.error, OverflowError):
                raise ValueError("a field of the layout is too small for its value") from None

        _probe(emit)
        return emit
    raise ValueError(f"{kind!r} is no codec that can be sent: proxy-v1, proxy-v2 or a layout")


def magic_layout(value: str) -> list[dict[str, Any]]:
    """The layout of `magic`, as it ships with Peeltap; `value` is the site's own, in hex."""
    return [
        {"bytes": value},
        {"u8": "family"},
        {"ip": "peer"},
        {"u16be": "peer_port"},
        {"ip": "destination"},
        {"u16be": "destination_port"},
    ]


def emit_v1(peer: Ends, destination: Ends) -> bytes:
    """PROXY protocol 2.1: one line of text, at most 107 bytes."""
    if (":" in peer[0]) != (":" in destination[0]):
        raise ValueError("peer and destination are of two families")
    family = "TCP6" if ":" in peer[0] else "TCP4"
    return f"PROXY {family} {peer[0]} {destination[0]} {peer[1]} {destination[1]}\r\n".encode()


def emit_v2(peer: Ends, destination: Ends) -> bytes:
    """PROXY protocol 2.2: 28 bytes for IPv4, 52 for IPv6."""
    family, front = (AF_INET6, _V2_IPV6) if ":" in peer[0] else (AF_INET, _V2_IPV4)
    try:
        ends = inet_pton(family, peer[0]) + inet_pton(family, destination[0])
    except OSError:
        raise ValueError("peer and destination are of two families") from None
    return front + ends + _PORTS.pack(peer[1], destination[1])


def _probe(emit: Emitter) -> None:
    """Find a broken layout when it is configured, not when the first attacker comes."""
    tried = (("192.0.2.1", 0xFFFF), ("2001:db8::1", 0xFFFF))
    for ends in tried:
        try:
            emit(ends, ends)
            return
        except ValueError:
            continue
        except (KeyError, TypeError, AttributeError, StopIteration):
            break
    raise ValueError("the layout is broken; see docs/codecs.md for what a layout may hold")


_Address = Union[IPv4Address, IPv6Address]


def _addresses(ends: Mapping[str, Ends]) -> dict[str, _Address]:
    both = {side: ip_address(address) for side, (address, _) in ends.items()}
    if both["peer"].version != both["destination"].version:
        raise ValueError("peer and destination are of two families")
    return both


def _in_form(address: _Address, form: str) -> _Address:
    """The address as an `ip`, `ipv4` or `ipv6` field holds it."""
    if form == "ipv4" and address.version == 6:
        raise ValueError("the layout has no room for an IPv6 address")
    if form == "ipv6" and address.version == 4:
        return IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
    return address


def _write_binary(fields: Sequence[Mapping[str, Any]], ends: Mapping[str, Ends]) -> bytes:
    addresses = _addresses(ends)
    v6 = addresses["peer"].version == 6
    out = bytearray()
    length = checksum = None
    for field in fields:
        kind = next(kind for kind in _BINARY if kind in field)
        value = field[kind]
        if kind == "bytes":
            out += bytes.fromhex(value)
        elif kind in ("skip", "padding"):
            out += b"\0" * (0 if value == "rest" else value)
        elif kind in ("ip", "ipv4", "ipv6"):
            packed = _in_form(addresses[value], kind).packed
            out += packed.ljust(field.get("width", 0), b"\0")
        elif value == "length":
            length = len(out), field, kind
            out += struct.pack(_NUMBERS[kind], 0)
        elif value in _SUMS:
            checksum = len(out), field, kind
            out += struct.pack(_NUMBERS[kind], 0)
        else:
            out += struct.pack(_NUMBERS[kind], _number(value, field, ends, v6))
    if length is not None:
        at, field, kind = length
        width = struct.calcsize(_NUMBERS[kind])
        start = 0 if field.get("of", "rest") == "whole" else at + width
        struct.pack_into(_NUMBERS[kind], out, at, len(out) - start)
    if checksum is not None:
        at, field, kind = checksum
        # Its own four bytes are zeros so far, as they count in the sum over the whole.
        over = out[:at] if field.get("over", "whole") == "before" else out
        struct.pack_into(_NUMBERS[kind], out, at, _SUMS[field[kind]](bytes(over)))
    return bytes(out)


def _number(value: Any, field: Mapping[str, Any], ends: Mapping[str, Ends], v6: bool) -> int:
    if isinstance(value, int):
        return value
    if value == "family":
        return int(field.get("ipv6", 6) if v6 else field.get("ipv4", 4))
    if value.endswith("_port"):
        return ends[value[: -len("_port")]][1]
    return 0


def _write_text(fields: Sequence[Mapping[str, Any]], ends: Mapping[str, Ends]) -> bytes:
    addresses = _addresses(ends)
    v6 = addresses["peer"].version == 6
    out = []
    for field in fields:
        kind = next(kind for kind in _TEXT if kind in field)
        value = field[kind]
        if kind in ("literal", "terminator"):
            out.append(value)
        elif kind == "separator":
            out.append(value[0])
        elif kind == "word":
            out.append(field["ipv6"] if v6 else field["ipv4"])
        elif kind in ("decimal", "hex"):
            port = ends[value[: -len("_port")]][1]
            out.append(f"{port:x}" if kind == "hex" else str(port))
        elif kind == "text":
            out.append(field.get("emit", "-"))
        else:
            address = _in_form(addresses[value], kind)
            mapped = getattr(address, "ipv4_mapped", None)
            out.append(f"::ffff:{mapped}" if mapped else str(address))
    return "".join(out).encode()


def _crc32c_table() -> list[int]:
    """RFC 3720, appendix B.4: the reflected Castagnoli polynomial."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC32C = _crc32c_table()


def crc32c(data: bytes) -> int:
    """Cyclic redundancy check with the Castagnoli polynomial; a header's few bytes at a time."""
    value = 0xFFFFFFFF
    for byte in data:
        value = (value >> 8) ^ _CRC32C[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


_SUMS: dict[str, Callable[[bytes], int]] = {"crc32c": crc32c, "crc32": zlib.crc32}
# `ipv4` and `ipv6` are last: they are kinds of their own, and options of a family.
_BINARY = (*_NUMBERS, "bytes", "skip", "padding", "ip", "ipv4", "ipv6")
_TEXT = (
    "word",
    "literal",
    "separator",
    "terminator",
    "decimal",
    "hex",
    "text",
    "ip",
    "ipv4",
    "ipv6",
)
