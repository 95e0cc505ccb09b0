"""What all sources have in common."""

from __future__ import annotations

import socket

from diversion.snat.source import OwnSource, Tuples

PEER, DECOY = ("203.0.113.7", 1), ("192.0.2.1", 80)


def test_own_source_is_always_ready() -> None:
    said: list[str | None] = []
    source = OwnSource()
    source.open()
    with socket.socket() as sock:
        lease = source.begin(sock, PEER, DECOY, said.append)
        assert not lease.rebind(sock)
        lease.over()
    source.close()
    assert said == [None]
    assert source.port_changed == 0


def test_a_pair_is_used_once_at_a_time() -> None:
    tuples = Tuples()
    assert tuples.take(PEER, DECOY)
    assert not tuples.take(PEER, DECOY)
    assert tuples.take(PEER, ("192.0.2.2", 80))
    tuples.give(PEER, DECOY)
    assert tuples.take(PEER, DECOY)
