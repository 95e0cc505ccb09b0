"""Conversations between namespaces, from one process: sockets stay where they were made."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

# linux/netfilter_ipv4.h
_SO_ORIGINAL_DST = 80

_SECONDS = 60.0

Ends = tuple[str, int]
Inside = AbstractContextManager[None]
"""The calling thread inside a namespace, for as long as it lasts."""


def listen(inside: Inside, address: str, port: int) -> socket.socket:
    """A socket that accepts there."""
    with inside:
        opened = socket.create_server((address, port))
    opened.settimeout(_SECONDS)
    return opened


def connect(inside: Inside, to: Ends, port: int = 0) -> socket.socket:
    """A connection from there, out of `port`; OSError as the kernel says."""
    with inside:
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        opened.settimeout(_SECONDS)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind(("", port))
            opened.connect(to)
        except OSError:
            opened.close()
            raise
    return opened


def refusal(inside: Inside, to: Ends) -> str:
    """Why a connection from there cannot be; empty if it can."""
    try:
        connect(inside, to).close()
    except OSError as error:
        return _name(error)
    return ""


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))


@contextlib.contextmanager
def joined(
    listener: socket.socket, inside: Inside, to: Ends, port: int = 0
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection from there to a listener: the client's, the server's."""
    with connect(inside, to, port) as client:
        server, _ = listener.accept()
        with server:
            yield client, server


def exchange(client: socket.socket, server: socket.socket, word: bytes) -> bool:
    """Whether a word gets there, and back."""
    client.sendall(word)
    there = server.recv(len(word), socket.MSG_WAITALL)
    server.sendall(there[::-1])
    return client.recv(len(word), socket.MSG_WAITALL) == word[::-1]


def asked(listener: socket.socket, inside: Inside, to: Ends) -> dict[str, Any] | str:
    """Who the listener says came, and where to, when somebody there connects; or why nobody did."""
    try:
        with joined(listener, inside, to) as (client, server):
            exchange(client, server, b"decoy")
            return {"peer": server.getpeername()[0], "destination": _destination(server)}
    except OSError as error:
        return _name(error)


def _destination(connection: socket.socket) -> str:
    """Where it had wanted to go before a firewall rewrote it; empty where none did."""
    try:
        raw = connection.getsockopt(socket.IPPROTO_IP, _SO_ORIGINAL_DST, 16)
    except FileNotFoundError:
        return ""
    return f"{socket.inet_ntoa(raw[4:8])}:{struct.unpack_from('!H', raw, 2)[0]}"
