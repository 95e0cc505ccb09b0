"""A hub in a thread of this process, on loopback; a connection seen from both of its ends."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from diversion.proxy.addresses import Ends
from diversion.proxy.hub import Hub, Limits
from diversion.proxy.link import Link
from diversion.proxy.loop import Loop

Accept = Callable[[Hub, socket.socket, Ends], None]


class Running:
    """A hub that serves; everything of it is touched in its own thread."""

    def __init__(self, limits: Limits) -> None:
        self.loop = Loop()
        self._read, self._write = os.pipe()
        self.hub = Hub(self.loop, limits, self._write)
        self._thread = threading.Thread(target=self.loop.run, daemon=True)
        self._text = b""

    def start(self) -> None:
        """Run the loop."""
        self._thread.start()

    def do(self, what: Callable[[], None]) -> None:
        """Do something in the loop's thread and wait for it."""
        done = threading.Event()

        def there() -> None:
            what()
            done.set()

        self.loop.call(there)
        assert done.wait(60)

    def serve(self, accept: Accept) -> Ends:
        """Accept on a port of loopback; returns where."""
        listener = _listener()
        self.do(lambda: self.hub.serve(listener, lambda sock, at: accept(self.hub, sock, at)))
        return "127.0.0.1", listener.getsockname()[1]

    def line(self, **wanted: Any) -> dict[str, Any]:
        """The first line that has these values, when it is there."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for line in self.lines():
                if wanted.items() <= line.items():
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no line with {wanted} in {self._text!r}")

    def lines(self) -> list[dict[str, Any]]:
        """All lines so far."""
        os.set_blocking(self._read, False)
        try:
            while more := os.read(self._read, 65536):
                self._text += more
        except BlockingIOError:
            pass
        return [json.loads(line) for line in self._text.splitlines()]

    def join(self) -> bool:
        """Wait for the loop's end."""
        self._thread.join(60)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Reset what is left and end."""
        self.loop.call(self.hub.drop_all)
        assert self.join()
        self.loop.close()
        os.close(self._read)
        os.close(self._write)


def _listener() -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    made.bind(("127.0.0.1", 0))
    made.listen(128)
    return made


@contextmanager
def running(**limits: Any) -> Iterator[Running]:
    """A hub that runs until the block ends, patient where no test asks for less."""
    made = Running(Limits(**{"header_seconds": 60.0, "connect_seconds": 60.0, **limits}))
    made.start()
    try:
        yield made
    finally:
        made.close()


def forward(to: Ends, header: bytes = b"") -> Accept:
    """Bring every connection to one place, behind a header."""

    def accept(hub: Hub, sock: socket.socket, peer: Ends) -> None:
        link = Link(hub, sock, peer)
        if link.announce(peer, ("192.0.2.1", 80)):
            link.bring(hub.socket_to(to), to, header)

    return accept


@contextmanager
def server() -> Iterator[tuple[socket.socket, Ends]]:
    """A listening socket, whose connections the test itself accepts; and where."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(60)
        yield made, made.getsockname()


@contextmanager
def through(relay: Running, header: bytes = b"") -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of one connection through a relay: the peer's and the decoy's."""
    with server() as (listening, to):
        at = relay.serve(forward(to, header))
        with socket.create_connection(at, timeout=60) as peer:
            decoy, _ = listening.accept()
            decoy.settimeout(60)
            with decoy:
                yield peer, decoy


def assert_reset(at: Ends) -> None:
    """A peer that connects there gets an RST, perhaps before its own connect(2) has returned."""
    with pytest.raises(ConnectionResetError), socket.create_connection(at, timeout=60) as peer:
        peer.recv(1)


def read_exactly(sock: socket.socket, count: int) -> bytes:
    """So many bytes, in however many pieces; fewer where the stream ends."""
    got = b""
    while len(got) < count and (more := sock.recv(count - len(got))):
        got += more
    return got


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    sock.close()
