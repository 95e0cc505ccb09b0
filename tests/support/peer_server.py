"""A service that answers every connection with the address of whoever made it, and ends it.

    python -m tests.support.peer_server [--destination] PORT...

With `--destination` it listens on loopback alone, and also says where that one had wanted to go
before a firewall rewrote it.
"""

from __future__ import annotations

import selectors
import socket
import struct
import sys

# linux/netfilter_ipv4.h
_SO_ORIGINAL_DST = 80


def main() -> None:
    """Serve for ever."""
    with selectors.DefaultSelector() as ready:
        diverted = "--destination" in sys.argv
        asked = [one for one in sys.argv[1:] if one != "--destination"]
        for port in map(int, asked):
            server = socket.create_server(("127.0.0.1" if diverted else "", port), backlog=64)
            ready.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                server = key.fileobj
                assert isinstance(server, socket.socket)
                connection, peer = server.accept()
                with connection:
                    more = f" {_destination(connection)}" if diverted else ""
                    connection.sendall(f"{peer[0]}{more}\n".encode())


def _destination(connection: socket.socket) -> str:
    raw = connection.getsockopt(socket.IPPROTO_IP, _SO_ORIGINAL_DST, 16)
    return f"{socket.inet_ntoa(raw[4:8])}:{struct.unpack_from('!H', raw, 2)[0]}"


if __name__ == "__main__":
    main()
