"""Names of which a network namespace has each once, whoever runs in it.

An abstract unix socket belongs to the network namespace, as tables, chains and ports do, and is
gone with the process that has it, however that ends (unix(7)).
"""

from __future__ import annotations

import errno
import socket


class Claim:
    """One name."""

    def __init__(self, name: str) -> None:
        self._address = f"\0peeltap/{name}"
        self._socket: socket.socket | None = None

    def take(self) -> bool:
        """Have it from now on; False if somebody else has it. OSError."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            made.bind(self._address)
        except OSError as error:
            made.close()
            if error.errno == errno.EADDRINUSE:
                return False
            raise
        self._socket = made
        return True

    @property
    def held(self) -> bool:
        """Whether it is taken here."""
        return self._socket is not None

    def give(self) -> None:
        """Have it no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
