"""A service that answers every connection with the address of whoever made it, and ends it.

    python -m tests.support.peer_server PORT...
"""

from __future__ import annotations

import selectors
import socket
import sys


def main() -> None:
    """Serve for ever."""
    with selectors.DefaultSelector() as ready:
        for port in map(int, sys.argv[1:]):
            server = socket.create_server(("0.0.0.0", port), backlog=64)
            ready.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                server = key.fileobj
                assert isinstance(server, socket.socket)
                connection, peer = server.accept()
                with connection:
                    connection.sendall(f"{peer[0]}\n".encode())


if __name__ == "__main__":
    main()
