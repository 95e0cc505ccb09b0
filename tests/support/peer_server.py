"""A service that answers every connection with the address of whoever made it, and ends it.

    python -m tests.support.peer_server [--destination] PORT...

It serves both IP versions. With `--destination` it listens on loopback alone, over IPv4 and on the
address that the setup stage made there for IPv6 if there is one, and also says where that one had
wanted to go before a firewall rewrote it.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import sys
from collections.abc import Iterator

from diversion.setup.settings import LISTENER_6

# linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h
_SO_ORIGINAL_DST = 80


def main() -> None:
    """Serve for ever."""
    with selectors.DefaultSelector() as ready:
        diverted = "--destination" in sys.argv
        asked = [one for one in sys.argv[1:] if one != "--destination"]
        for port in map(int, asked):
            for server in _diverted(port) if diverted else (_open(port),):
                ready.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                server = key.fileobj
                assert isinstance(server, socket.socket)
                connection, peer = server.accept()
                with connection:
                    more = f" {_destination(connection)}" if diverted else ""
                    connection.sendall(f"{peer[0].removeprefix('::ffff:')}{more}\n".encode())


def _open(port: int) -> socket.socket:
    family = socket.AF_INET6
    return socket.create_server(("", port), family=family, backlog=64, dualstack_ipv6=True)


def _diverted(port: int) -> Iterator[socket.socket]:
    yield socket.create_server(("127.0.0.1", port), backlog=64)
    with contextlib.suppress(OSError):
        yield socket.create_server((LISTENER_6, port), family=socket.AF_INET6, backlog=64)


def _destination(connection: socket.socket) -> str:
    if connection.family == socket.AF_INET6:
        raw = connection.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, 28)
        address = socket.inet_ntop(socket.AF_INET6, raw[8:24])
        return f"[{address}]:{struct.unpack_from('!H', raw, 2)[0]}"
    raw = connection.getsockopt(socket.IPPROTO_IP, _SO_ORIGINAL_DST, 16)
    return f"{socket.inet_ntoa(raw[4:8])}:{struct.unpack_from('!H', raw, 2)[0]}"


if __name__ == "__main__":
    main()
