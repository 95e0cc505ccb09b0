"""Reserved ports: one connection each, and no two that look alike to a decoy."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from diversion.proxy.loop import Loop
from diversion.snat import reserve as module
from diversion.snat.ports import Ports
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


HERE = "127.77.0.2"
"""Of loopback, and nobody else's on this machine."""


def naming(*ports: int) -> Reservations:
    """Reservations of these ports, as in the process that may name them."""
    reserved = Reservations()
    reserved._ports = Ports(lambda: ports)
    reserved._routes[DECOY[0]] = HERE
    return reserved


def test_one_port_for_two_decoys_and_none_twice_for_one() -> None:
    reserved = naming(20_001, 20_002)
    other = ("127.0.0.1", 81)
    with ExitStack() as stack:
        found = [
            reserved.reserve(stack.enter_context(socket.socket()), PEER, decoy, nothing)
            for decoy in (DECOY, other, DECOY, other)
        ]
        assert sorted(one.local[1] for one in found) == [20_001, 20_001, 20_002, 20_002]
        assert len({(one.local, one.decoy) for one in found}) == 4
        with pytest.raises(OSError, match="in use to this decoy"):
            reserved.reserve(stack.enter_context(socket.socket()), PEER, DECOY, nothing)
        reserved.free(found[0])
        moved = found[2].local
        reserved.move(stack.enter_context(socket.socket()), found[2])
        assert found[2].local == found[0].local
        again = reserved.reserve(stack.enter_context(socket.socket()), PEER, DECOY, nothing)
        assert again.local == moved


def test_a_port_of_another_program_is_gone_over() -> None:
    reserved = naming(20_003, 20_004)
    with ExitStack() as stack:
        stack.enter_context(socket.create_server((HERE, 20_003)))
        for _ in range(3):
            sock = stack.enter_context(socket.socket())
            one = reserved.reserve(sock, PEER, DECOY, nothing)
            assert one.local == (HERE, 20_004)
            reserved.free(one)


def test_an_address_that_is_gone_is_looked_for_again() -> None:
    reserved = Reservations()
    reserved._routes[DECOY[0]] = "192.0.2.99"
    with socket.socket() as sock:
        assert reserved.reserve(sock, PEER, DECOY, nothing).local[0] == "127.0.0.1"
    # One that is looked for and is wrong all the same is an error, not a loop.
    reserved._address_towards = lambda decoy: "192.0.2.99"  # type: ignore[method-assign]
    with socket.socket() as sock, pytest.raises(OSError, match="Cannot assign"):
        reserved.reserve(sock, PEER, DECOY, nothing)


def test_a_peer_without_a_free_port_keeps_no_local_one(monkeypatch: pytest.MonkeyPatch) -> None:
    reserved = naming(20_005, 20_006)
    with ExitStack() as stack:
        reserved.reserve(stack.enter_context(socket.socket()), PEER, DECOY, nothing)
        monkeypatch.setattr(module, "LAST", 0)  # it has no other port that could be tried
        for _ in range(3):
            sock = stack.enter_context(socket.socket())
            with pytest.raises(OSError, match="all ports of this peer are in use"):
                reserved.reserve(sock, PEER, DECOY, nothing)
