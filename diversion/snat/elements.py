"""Elements of an nftables map, put in and taken out by netlink: tens of microseconds each.

Written by hand because it is on the way of every connection: libnftables reads the whole table back
before a command, and pyroute2 takes milliseconds to encode one. Only this one message is needed.

Source: linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h (NFT_MSG_NEWSETELEM).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence

from diversion.proxy.addresses import Ends

NETLINK_NETFILTER = 12
NFNL_SUBSYS_NFTABLES = 10
NFNL_MSG_BATCH_BEGIN = 0x10
NFNL_MSG_BATCH_END = 0x11
NFT_MSG_NEWSETELEM = 12
NFT_MSG_DELSETELEM = 14
NFPROTO_INET = 1
NLMSG_ERROR = 2
NLM_F_REQUEST = 1
NLM_F_ACK = 4
NLM_F_CREATE = 0x400
NLA_F_NESTED = 0x8000

# Attributes: NFTA_SET_ELEM_LIST_*, NFTA_LIST_ELEM, NFTA_SET_ELEM_*, NFTA_DATA_VALUE.
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS, _ELEM, _KEY, _DATA, _VALUE = 1, 2, 3, 1, 1, 2, 1

_HEADER = struct.Struct("=IHHII")
_NFGEN = struct.Struct(">BBH")
_ERROR = struct.Struct("=i")

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
    """A netlink socket that changes the maps of one table of the family inet."""

    def __init__(self, table: str) -> None:
        self._table = _attribute(_LIST_TABLE, table.encode() + b"\0")
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
        )
        self._socket.bind((0, 0))
        # An answer comes within the call; this is for a kernel that gives none.
        self._socket.settimeout(5)
        self._sequence = 0

    def add(self, name: str, elements: Sequence[tuple[bytes, bytes]]) -> None:
        """Put elements, keys with their values, into a map; OSError, and then none is in it."""
        self._change(
            NFT_MSG_NEWSETELEM,
            NLM_F_CREATE,
            name,
            [
                _nested(_KEY, _attribute(_VALUE, key)) + _nested(_DATA, _attribute(_VALUE, data))
                for key, data in elements
            ],
        )

    def remove(self, name: str, keys: Sequence[bytes]) -> None:
        """Take elements out of a map; one that is not in it any more is no error."""
        bodies = [_nested(_KEY, _attribute(_VALUE, key)) for key in keys]
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
        self._socket.close()

    def _change(self, kind: int, flags: int, name: str, bodies: Sequence[bytes]) -> None:
        for start in range(0, len(bodies), MOST):
            some = bodies[start : start + MOST]
            elements = b"".join(_nested(_ELEM, body) for body in some)
            payload = self._table + _attribute(_LIST_SET, name.encode() + b"\0")
            payload += _nested(_LIST_ELEMENTS, elements)
            self._transact(kind, flags, payload)

    def _transact(self, kind: int, flags: int, payload: bytes) -> None:
        """One batch, which the kernel applies as a whole or not at all."""
        self._sequence = sequence = (self._sequence + 1) & 0xFFFFFFFF
        begin = _message(NFNL_MSG_BATCH_BEGIN, 0, sequence, 0, NFNL_SUBSYS_NFTABLES, b"")
        change = _message(
            NFNL_SUBSYS_NFTABLES << 8 | kind, flags | NLM_F_ACK, sequence, NFPROTO_INET, 0, payload
        )
        end = _message(NFNL_MSG_BATCH_END, 0, sequence, 0, NFNL_SUBSYS_NFTABLES, b"")
        self._socket.send(begin + change + end)
        while True:
            answer = self._socket.recv(65536)
            at = 0
            while at + _HEADER.size <= len(answer):
                length, type_, _, seq, _ = _HEADER.unpack_from(answer, at)
                if type_ == NLMSG_ERROR and seq == sequence:
                    number = -_ERROR.unpack_from(answer, at + _HEADER.size)[0]
                    if number:
                        raise OSError(number, os.strerror(number))
                    return
                at += max(length + 3 & ~3, _HEADER.size)


def _message(
    kind: int, flags: int, sequence: int, family: int, resource: int, body: bytes
) -> bytes:
    length = _HEADER.size + _NFGEN.size + len(body)
    header = _HEADER.pack(length, kind, flags | NLM_F_REQUEST, sequence, 0)
    return header + _NFGEN.pack(family, 0, resource) + body


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _nested(kind: int, data: bytes) -> bytes:
    return _attribute(kind | NLA_F_NESTED, data)
