"""Community ID, version 1: one hash of a 5-tuple, equal in both directions and in every tool.

Source: the Community ID Flow Hashing specification, version 1
(https://github.com/corelight/community-id-spec). Suricata 7 orders two equal addresses by their
ports in the machine's byte order instead of the specification's; this follows the specification.
"""

from __future__ import annotations

import socket
from binascii import b2a_base64
from functools import lru_cache
from hashlib import sha1

TCP = 6


@lru_cache(maxsize=65_536)
def community_id(
    src_ip: str, src_port: int, dest_ip: str, dest_port: int, seed: int = 0, proto: int = TCP
) -> str:
    """`1:` and the base64 of the hash, for a protocol with ports.

    `seed` is 16 bits wide, as Suricata's `community-id-seed`. Raises ValueError for what is no
    address or port.
    """
    try:
        source = _packed(src_ip), src_port.to_bytes(2, "big")
        target = _packed(dest_ip), dest_port.to_bytes(2, "big")
        head = seed.to_bytes(2, "big")
    except (OSError, OverflowError) as error:
        raise ValueError(f"no 5-tuple: {src_ip} {src_port} {dest_ip} {dest_port}") from error
    if target < source:
        source, target = target, source
    data = head + source[0] + target[0] + bytes((proto, 0)) + source[1] + target[1]
    digest = sha1(data, usedforsecurity=False).digest()
    return "1:" + b2a_base64(digest, newline=False).decode("ascii")


def _packed(ip: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)
