"""Local ports, reserved before anything is said about them, and what each is translated to."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass

from diversion.proxy.addresses import Ends
from diversion.proxy.loop import Loop
from diversion.snat.source import Go, Tuples

FIRST, LAST = 1024, 65535


@dataclass(eq=False)
class Mapping:
    """One connection: what it is here, what the decoy shall see."""

    local: Ends
    peer: Ends
    """The address and port that the decoy sees."""
    decoy: Ends
    go: Go
    made: bool = False
    """Whether the kernel may know of it."""
    over: bool = False

    @property
    def version(self) -> int:
        """The IP version, 4 or 6."""
        return 6 if ":" in self.decoy[0] else 4


def tell(loop: Loop, mappings: Iterable[Mapping], why: str | None) -> None:
    """Let them go on; one that fails at it does not keep the others from it."""
    for one in mappings:
        try:
            one.go(why)
        except Exception as error:
            loop.failed(error)


class Reservations:
    """Gives each connection its local port, and sees to it that no two look alike to a decoy."""

    def __init__(self) -> None:
        self._tuples = Tuples()
        self._routes: dict[str, str] = {}
        self.port_changed = 0

    def reserve(self, sock: socket.socket, peer: Ends, decoy: Ends, go: Go) -> Mapping:
        """Bind the socket to a port that is nobody else's; OSError if there is none."""
        # With its address, not with any: only so the kernel keeps the port for this socket alone.
        sock.bind((self._address_towards(decoy), 0))
        name = sock.getsockname()
        seen = peer
        if not self._tuples.take(peer, decoy):
            seen = self._other_port(peer, decoy)
            self.port_changed += 1
        return Mapping((name[0], name[1]), seen, decoy, go)

    def free(self, mapping: Mapping) -> None:
        """The connection is over."""
        self._tuples.give(mapping.peer, mapping.decoy)

    def _other_port(self, peer: Ends, decoy: Ends) -> Ends:
        """The peer's address with the next port that it does not use."""
        port = peer[1]
        for _ in range(LAST):
            port = port + 1 if port < LAST else FIRST
            if self._tuples.take((peer[0], port), decoy):
                return peer[0], port
        raise OSError(98, "all ports of this peer are in use")

    def _address_towards(self, decoy: Ends) -> str:
        """The local address from which the kernel would reach a decoy."""
        found = self._routes.get(decoy[0])
        if found is None:
            family = socket.AF_INET6 if ":" in decoy[0] else socket.AF_INET
            # Connecting a datagram socket asks for the route and sends nothing.
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(decoy)
                found = probe.getsockname()[0]
            if len(self._routes) > 4096:
                self._routes.clear()
            self._routes[decoy[0]] = found
        return found
