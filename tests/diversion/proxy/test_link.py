"""One connection from its first byte to its line, with everything that can go wrong in between."""

from __future__ import annotations

import select
import socket
from typing import Any

import pytest

from diversion.proxy.addresses import Ends
from diversion.proxy.hub import Hub
from diversion.proxy.link import HeadError, Link
from fixtures.netns import wait_until
from tests.diversion.running import Accept, assert_reset, forward, reset, running, server, through


def reading(to: Ends) -> Accept:
    """A service whose header is `HEAD` and one byte, which says what becomes of the connection."""

    def parse(stream: bytes) -> tuple[int, bytes] | None:
        if not b"HEAD".startswith(stream[:4]):
            raise HeadError("header_malformed", "not HEAD")
        return (5, stream[4:5]) if len(stream) >= 5 else None

    def then(link: Link, found: Any) -> None:
        if found == b"L":
            link.end("local")
        elif link.announce(("203.0.113.7", 1000), ("192.0.2.1", 80)):
            link.bring(link.hub.socket_to(to), to, b"NEXT")

    def accept(hub: Hub, sock: socket.socket, peer: Ends) -> None:
        Link(hub, sock, peer).read_head(parse, then)

    return accept


@pytest.mark.parametrize("pieces", [1, 2, 3, 100])
def test_a_header_in_pieces_and_what_stands_behind_it(pieces: int) -> None:
    with running() as relay, server() as (listening, to):
        with socket.create_connection(relay.serve(reading(to)), timeout=60) as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = b"HEAD+HEAD+ is payload now"
            for start in range(0, len(stream), pieces):
                peer.sendall(stream[start : start + pieces])
            peer.shutdown(socket.SHUT_WR)
            decoy, _ = listening.accept()
            got = b""
            while data := decoy.recv(100):
                got += data
            assert got == b"NEXTHEAD+ is payload now"
            decoy.close()
            assert peer.recv(1) == b""
        line = relay.line(end="closed")
        assert line["peer"] == "203.0.113.7:1000"
        assert line["destination"] == "192.0.2.1:80"
        assert line["bytes_to_decoy"] == 20


@pytest.mark.parametrize(
    ("said", "ends", "how"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", False, "header_malformed"),
        (b"HEA", True, "header_cut"),
        (b"", True, "closed"),
        (b"HEADL", False, "local"),
    ],
)
def test_what_is_no_header(said: bytes, ends: bool, how: str) -> None:
    with (
        running() as relay,
        server() as (_, to),
        socket.create_connection(relay.serve(reading(to)), timeout=60) as peer,
    ):
        peer.sendall(said)
        if ends:
            peer.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError) if how.startswith("header") else _nothing():
            assert peer.recv(1) == b""
        relay.line(end=how)


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


def test_a_header_that_takes_too_long_is_cut_off_however_much_it_drips() -> None:
    with running(header_seconds=1.0) as relay, server() as (_, to):
        with socket.create_connection(relay.serve(reading(to)), timeout=60) as peer:
            peer.sendall(b"HE")
            with pytest.raises(ConnectionResetError):
                peer.recv(1)
        relay.line(end="header_timeout")


def test_a_header_without_end_is_cut_off() -> None:
    def endless(hub: Hub, sock: socket.socket, peer: Ends) -> None:
        Link(hub, sock, peer).read_head(lambda stream: None, lambda link, found: None)

    with running(header_bytes=100) as relay:
        with socket.create_connection(relay.serve(endless), timeout=60) as peer:
            peer.sendall(b"x" * 100)
            with pytest.raises(ConnectionResetError):
                peer.recv(1)
        relay.line(end="header_malformed")


def test_a_decoy_that_listens_nowhere_is_a_closed_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        to = closed.getsockname()
    with running() as relay:
        assert_reset(relay.serve(forward(to)))
        assert relay.line(end="refused")["to"] == f"127.0.0.1:{to[1]}"


def test_a_decoy_without_a_route() -> None:
    # connect(2) itself refuses to go to everybody.
    with running() as relay:
        assert_reset(relay.serve(forward(("255.255.255.255", 80))))
        relay.line(end="unreachable")


def test_a_decoy_that_does_not_answer() -> None:
    # A full accept queue: loopback drops the SYN, as a host that is down would.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        with running(connect_seconds=1.0) as relay:
            assert_reset(relay.serve(forward(full.getsockname())))
            relay.line(end="connect_timeout")
        for filler in fillers:
            filler.close()


def test_an_error_that_is_not_its_own_does_not_end_a_connection() -> None:
    """What epoll says of a number may be of the socket that had it before."""
    links: list[Link] = []
    with running() as relay, server() as (listening, to):

        def accept(hub: Hub, sock: socket.socket, peer: Ends) -> None:
            link = Link(hub, sock, peer)
            links.append(link)
            link.bring(hub.socket_to(to), to)
            link._on_left(select.EPOLLERR | select.EPOLLHUP)
            link._on_right(select.EPOLLERR | select.EPOLLHUP)

        with socket.create_connection(relay.serve(accept), timeout=60) as peer:
            decoy, _ = listening.accept()
            with decoy:
                peer.sendall(b"x")
                assert decoy.recv(1) == b"x"
                assert links[0].is_open


def test_silence_ends_a_connection_and_speech_does_not() -> None:
    # Long enough for four words, however busy the machine is.
    with running(idle_seconds=3.0) as relay, through(relay) as (peer, decoy):
        for _ in range(4):
            peer.sendall(b"x")
            assert decoy.recv(1) == b"x"
        for end in (peer, decoy):
            with pytest.raises(ConnectionResetError):
                end.recv(1)
        assert relay.line(end="idle")["bytes_to_decoy"] == 4


def test_no_more_than_so_many_of_one_peer() -> None:
    with running(per_peer=2) as relay, server() as (_, to):
        at = relay.serve(forward(to))
        allowed = [socket.create_connection(at, timeout=60) for _ in range(2)]
        assert_reset(at)
        relay.line(end="limit_peer")
        reset(allowed[0])
        relay.line(end="reset_by_peer")
        with socket.create_connection(at, timeout=60) as again:
            again.settimeout(0.2)
            with pytest.raises(TimeoutError):
                again.recv(1)
        allowed[1].close()


def test_no_more_than_so_many_in_all() -> None:
    with running(connections=2) as relay, server() as (_, to):
        at = relay.serve(forward(to))
        allowed = [socket.create_connection(at, timeout=60) for _ in range(2)]
        assert_reset(at)
        relay.do(lambda: None)  # it counts after it has closed
        assert relay.hub.counters.ends["limit_total"] == 1
        assert relay.hub.counters.open == 2
        for sock in allowed:
            sock.close()


def test_a_link_that_is_handed_over_is_over_and_its_socket_is_not() -> None:
    taken: list[tuple[Any, bytes]] = []

    def accept(hub: Hub, sock: socket.socket, peer: Ends) -> None:
        link = Link(hub, sock, peer)
        link.read_head(
            lambda stream: (4, None) if len(stream) >= 6 else None,
            lambda link, _: taken.append(link.hand_over()),
        )

    with running() as relay, socket.create_connection(relay.serve(accept), timeout=60) as peer:
        peer.sendall(b"HEADxy")
        wait_until(lambda: bool(taken), "the link to be handed over")
        relay.do(lambda: None)
        peer.settimeout(0.3)
        with pytest.raises(TimeoutError):
            peer.recv(1)
        [(end, rest)] = taken
        assert rest == b"xy"
        assert relay.hub.counters.open == 0
        end.close()


def test_no_more_than_so_many_of_one_address_without_a_header() -> None:
    """Whoever sends none does not keep those from it who do."""
    with running(unheaded=2) as relay, server() as (listening, to):
        at = relay.serve(reading(to))
        silent = [socket.create_connection(at, timeout=60) for _ in range(2)]
        assert_reset(at)
        relay.do(lambda: None)  # it counts after it has closed
        assert relay.hub.counters.ends["limit_source"] == 1
        silent[0].sendall(b"HEAD+")
        listening.accept()[0].close()
        # It owes no header any more; a third may come.
        with socket.create_connection(at, timeout=60) as third:
            third.sendall(b"HEAD+")
            listening.accept()[0].close()
        silent[1].close()
        relay.line(end="closed")
        assert all(line["end"] != "limit_source" for line in relay.lines())
        silent[0].close()
