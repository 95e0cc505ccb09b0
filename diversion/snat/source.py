"""What all ways of taking the peer's address as the source have in common."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import NamedTuple, Protocol

from diversion.proxy.addresses import Ends

Go = Callable[[str | None], None]
"""Called when the socket may connect, with what went wrong if it may not."""


class SourceError(Exception):
    """The source could not be set up; one sentence with the remedy."""


def _nothing() -> None:
    pass


def _no(_: socket.socket) -> bool:
    return False


class Lease(NamedTuple):
    """What a connection has of its source."""

    over: Callable[[], None] = _nothing
    """To be called at its end."""
    rebind: Callable[[socket.socket], bool] = _no
    """Prepares another socket with another port, after connect(2) has refused the first one's;
    False if that would not help."""


class Source(Protocol):
    """One way; all calls come from the loop's thread."""

    @property
    def port_changed(self) -> int:
        """Connections with the peer's address but another port, since its own was in use."""

    def open(self) -> None:
        """Set up, and remove what a killed process has left; SourceError."""

    def begin(self, sock: socket.socket, peer: Ends, decoy: Ends, go: Go) -> Lease:
        """Prepare a socket that shall connect to `decoy` as `peer`.

        Calls `go` now or later in the round.
        """

    def close(self) -> None:
        """Take down what `open` has set up; nothing where it was not called."""


class OwnSource:
    """The decoy sees gateway2."""

    port_changed = 0

    def open(self) -> None:
        """Nothing to do."""

    def begin(self, sock: socket.socket, peer: Ends, decoy: Ends, go: Go) -> Lease:
        """As of a `Source`."""
        go(None)
        return Lease()

    def close(self) -> None:
        """Nothing to do."""


class Tuples:
    """Which (peer, decoy) pairs are in use: two connections cannot have the same four values."""

    def __init__(self) -> None:
        self._used: set[tuple[Ends, Ends]] = set()

    def take(self, peer: Ends, decoy: Ends) -> bool:
        """Use a pair, unless it is in use."""
        if (peer, decoy) in self._used:
            return False
        self._used.add((peer, decoy))
        return True

    def give(self, peer: Ends, decoy: Ends) -> None:
        """It is free again."""
        self._used.discard((peer, decoy))
