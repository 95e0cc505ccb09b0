"""The few netlink messages that are on the way of every connection, written by hand.

libnftables reads a whole table back before each command, and pyroute2 takes milliseconds to encode
one message; these take tens of microseconds. Source: linux/netlink.h, linux/netfilter/nfnetlink.h.
"""

from __future__ import annotations

import os
import socket
import struct

NETLINK_NETFILTER = 12
NLMSG_ERROR = 2
NLM_F_REQUEST = 1
NLM_F_ACK = 4
NLM_F_CREATE = 0x400
NLA_F_NESTED = 0x8000

_HEADER = struct.Struct("=IHHII")
_NFGEN = struct.Struct(">BBH")
_ERROR = struct.Struct("=i")


class Netfilter:
    """A netlink socket to netfilter."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
        )
        self._socket.bind((0, 0))
        # Answers come within the call; this is for a kernel that gives none.
        self._socket.settimeout(5)
        self._sequence = 0

    def next(self) -> int:
        """A new sequence number."""
        self._sequence = self._sequence + 1 & 0x7FFFFFFF
        return self._sequence

    def ask(self, messages: bytes, last: int) -> dict[int, int]:
        """Send messages and wait for the answer to the one with the sequence number `last`.

        Gives the errors, by sequence number; OSError if nothing can be sent or no answer comes.
        """
        self._socket.send(messages)
        errors: dict[int, int] = {}
        while True:
            answer = self._socket.recv(1 << 18)
            at = 0
            while at + _HEADER.size <= len(answer):
                length, kind, _, sequence, _ = _HEADER.unpack_from(answer, at)
                if kind == NLMSG_ERROR:
                    number = -_ERROR.unpack_from(answer, at + _HEADER.size)[0]
                    if number:
                        errors.setdefault(sequence, number)
                    if sequence == last:
                        return errors
                at += max(length + 3 & ~3, _HEADER.size)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def message(kind: int, flags: int, sequence: int, family: int, resource: int, body: bytes) -> bytes:
    """One message to nfnetlink; `kind` has the subsystem in its upper byte."""
    length = _HEADER.size + _NFGEN.size + len(body)
    header = _HEADER.pack(length, kind, flags | NLM_F_REQUEST, sequence, 0)
    return header + _NFGEN.pack(family, 0, resource) + body


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute, padded to 4 bytes."""
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def nested(kind: int, data: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, data)


def error(number: int) -> OSError:
    """An error as the kernel numbers it; of the subclass that Python has for it."""
    return OSError(number, os.strerror(number))
