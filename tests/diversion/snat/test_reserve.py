"""Reserved ports: one connection each, and no two that look alike to a decoy."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from diversion.proxy.loop import Loop
from diversion.snat.reserve import Mapping, Reservations, tell

PEER, DECOY = ("203.0.113.7", 65_535), ("127.0.0.1", 80)


def nothing(_: str | None) -> None:
    pass


def test_each_has_a_port_that_nobody_else_gets() -> None:
    reserved = Reservations()
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(300)]
        found = [
            reserved.reserve(sock, ("203.0.113.7", 1 + at), DECOY, nothing)
            for at, sock in enumerate(sockets)
        ]
        assert len({one.local for one in found}) == 300
        assert {one.local[0] for one in found} == {"127.0.0.1"}
        assert [one.local for one in found] == [sock.getsockname() for sock in sockets]
        assert reserved.port_changed == 0


def test_the_same_peer_twice_at_one_decoy_has_another_port_the_second_time() -> None:
    reserved = Reservations()
    with socket.socket() as one, socket.socket() as other, socket.socket() as third:
        first = reserved.reserve(one, PEER, DECOY, nothing)
        second = reserved.reserve(other, PEER, DECOY, nothing)
        assert first.peer == PEER
        assert second.peer == ("203.0.113.7", 1024), "behind the last port comes the first"
        assert reserved.port_changed == 1
        reserved.free(first)
        assert reserved.reserve(third, PEER, DECOY, nothing).peer == PEER


def test_both_versions() -> None:
    reserved = Reservations()
    with socket.socket(socket.AF_INET6) as sock:
        found = reserved.reserve(sock, ("2001:db8::7", 1), ("::1", 80), nothing)
        assert found.version == 6
        assert found.local[0] == "::1"


def test_one_that_fails_does_not_keep_the_others_from_going_on() -> None:
    loop = Loop()
    failed: list[Exception] = []
    loop.failed = failed.append
    told: list[str | None] = []

    def broken(_: str | None) -> None:
        raise ValueError

    tell(loop, [Mapping(DECOY, PEER, DECOY, go) for go in (broken, told.append)], "why")
    assert (len(failed), told) == (1, ["why"])
    loop.close()
