"""Local ports, reserved before anything is said about them, and what each is translated to."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from diversion.proxy.addresses import Ends
from diversion.proxy.loop import Loop
from diversion.snat.claim import Claim
from diversion.snat.ports import Ports
from diversion.snat.source import Go, Tuples

FIRST, LAST = 1024, 65535

TRIES = 1024
"""Ports of other programs that are gone over for one connection."""


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
    """Gives each connection its local port, and sees to it that no two look alike to a decoy.

    Two sockets can be bound to one port in this way, as long as they do not connect to one decoy.
    Two processes that did it would not know of each other's: the second one of a network namespace
    asks the kernel for ports that are nobody else's, of which there are fewer.
    """

    def __init__(self) -> None:
        self._tuples = Tuples()
        self._routes: dict[str, str] = {}
        self._claim = Claim("ports")
        self._ports: Ports | None = None
        self.port_changed = 0

    def open(self) -> None:
        """Before the first reservation; OSError."""
        if self._claim.take():
            self._ports = Ports()

    def close(self) -> None:
        """After the last one."""
        self._claim.give()
        self._ports = None

    def reserve(self, sock: socket.socket, peer: Ends, decoy: Ends, go: Go) -> Mapping:
        """Bind the socket to a port that is nobody else's; OSError if there is none."""
        mapping = Mapping(self._bind(sock, decoy), peer, decoy, go)
        if not self._tuples.take(peer, decoy):
            try:
                mapping.peer = self._other_port(peer, decoy)
            except OSError:
                self._give_port(mapping)
                raise
            self.port_changed += 1
        return mapping

    def move(self, sock: socket.socket, mapping: Mapping) -> None:
        """Bind another socket for a connection, since its port cannot be had; OSError."""
        local = self._bind(sock, mapping.decoy)
        self._give_port(mapping)
        mapping.local = local

    def free(self, mapping: Mapping) -> None:
        """The connection is over."""
        self._tuples.give(mapping.peer, mapping.decoy)
        self._give_port(mapping)

    def _give_port(self, mapping: Mapping) -> None:
        if self._ports is not None:
            self._ports.give(mapping.local[1], mapping.decoy)

    def _bind(self, sock: socket.socket, decoy: Ends) -> Ends:
        try:
            return self._bind_to(sock, self._address_towards(decoy), decoy)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL or self._routes.pop(decoy[0], None) is None:
                raise
        # The address that was found before may be gone from this host.
        return self._bind_to(sock, self._address_towards(decoy), decoy)

    def _bind_to(self, sock: socket.socket, address: str, decoy: Ends) -> Ends:
        # With its address, not with any: only so the kernel keeps the port for this socket alone.
        if self._ports is None:
            sock.bind((address, 0))
            return address, sock.getsockname()[1]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for _ in range(TRIES):
            port = self._ports.take(decoy)
            try:
                sock.bind((address, port))
            except OSError as error:
                self._ports.give(port, decoy)
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
            else:
                return address, port
        raise OSError(errno.EADDRINUSE, "other programs have the local ports")

    def _other_port(self, peer: Ends, decoy: Ends) -> Ends:
        """The peer's address with the next port that it does not use."""
        port = peer[1]
        for _ in range(LAST):
            port = port + 1 if port < LAST else FIRST
            if self._tuples.take((peer[0], port), decoy):
                return peer[0], port
        raise OSError(errno.EADDRINUSE, "all ports of this peer are in use")

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
