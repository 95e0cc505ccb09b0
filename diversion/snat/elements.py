"""Elements of an nftables map, put in and taken out by netlink.

Source: linux/netfilter/nf_tables.h (NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

from diversion.proxy.addresses import Ends
from diversion.snat.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    Netfilter,
    attribute,
    error,
    message,
    nested,
)

NFNL_SUBSYS_NFTABLES = 10
NFNL_MSG_BATCH_BEGIN = 0x10
NFNL_MSG_BATCH_END = 0x11
NFT_MSG_NEWSETELEM = 12
NFT_MSG_DELSETELEM = 14
NFPROTO_INET = 1

# Attributes: NFTA_SET_ELEM_LIST_*, NFTA_LIST_ELEM, NFTA_SET_ELEM_*, NFTA_DATA_VALUE.
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS, _ELEM, _KEY, _DATA, _VALUE = 1, 2, 3, 1, 1, 2, 1

MOST = 400
"""Elements a message; an attribute is at most 64 KiB long."""


def key(source: Ends, destination: Ends) -> bytes:
    """`ADDRESS . PORT . ADDRESS . PORT` as a map holds it: each field padded to 4 bytes."""
    return value(source) + value(destination)


def value(ends: Ends) -> bytes:
    """`ADDRESS . PORT` as a map holds it."""
    family = socket.AF_INET6 if ":" in ends[0] else socket.AF_INET
    return socket.inet_pton(family, ends[0]) + struct.pack(">HH", ends[1], 0)


class Elements:
    """Changes the maps of one table of the family inet."""

    def __init__(self, table: str) -> None:
        self._table = attribute(_LIST_TABLE, table.encode() + b"\0")
        self._netfilter = Netfilter()

    def add(self, name: str, elements: Sequence[tuple[bytes, bytes]]) -> None:
        """Put elements, keys with their values, into a map; OSError, and then none is in it."""
        bodies = [
            nested(_KEY, attribute(_VALUE, key)) + nested(_DATA, attribute(_VALUE, data))
            for key, data in elements
        ]
        self._change(NFT_MSG_NEWSETELEM, NLM_F_CREATE, name, bodies)

    def remove(self, name: str, keys: Sequence[bytes]) -> None:
        """Take elements out of a map; one that is not in it any more is no error."""
        bodies = [nested(_KEY, attribute(_VALUE, key)) for key in keys]
        try:
            self._change(NFT_MSG_DELSETELEM, 0, name, bodies)
        except FileNotFoundError:
            # One that is missing undoes the whole batch; somebody flushed the map.
            for body in bodies:
                try:
                    self._change(NFT_MSG_DELSETELEM, 0, name, [body])
                except FileNotFoundError:
                    continue

    def close(self) -> None:
        """Close the socket."""
        self._netfilter.close()

    def _change(self, kind: int, flags: int, name: str, bodies: Sequence[bytes]) -> None:
        for start in range(0, len(bodies), MOST):
            some = bodies[start : start + MOST]
            elements = b"".join(nested(_ELEM, body) for body in some)
            payload = self._table + attribute(_LIST_SET, name.encode() + b"\0")
            payload += nested(_LIST_ELEMENTS, elements)
            self._transact(kind, flags, payload)

    def _transact(self, kind: int, flags: int, payload: bytes) -> None:
        """One batch, which the kernel applies as a whole or not at all."""
        sequence = self._netfilter.next()
        subsystem = NFNL_SUBSYS_NFTABLES
        batch = (
            message(NFNL_MSG_BATCH_BEGIN, 0, sequence, 0, subsystem, b""),
            message(subsystem << 8 | kind, flags | NLM_F_ACK, sequence, NFPROTO_INET, 0, payload),
            message(NFNL_MSG_BATCH_END, 0, sequence, 0, subsystem, b""),
        )
        errors = self._netfilter.ask(b"".join(batch), sequence)
        if errors:
            raise error(errors[sequence])
