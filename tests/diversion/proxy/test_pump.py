"""Bytes, ends and resets through a real relay on loopback."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import threading

import pytest

from diversion.proxy import pump
from tests.diversion.running import forward, read_exactly, reset, running, server, through


def read_all(sock: socket.socket) -> bytes:
    got = bytearray()
    while data := sock.recv(1 << 20):
        got += data
    return bytes(got)


def test_each_direction_ends_by_itself() -> None:
    with running() as relay, through(relay) as (peer, decoy):
        peer.sendall(b"question")
        peer.shutdown(socket.SHUT_WR)
        assert read_all(decoy) == b"question"
        decoy.sendall(b"an answer, after the end of the question")
        decoy.close()
        assert read_all(peer) == b"an answer, after the end of the question"
        line = relay.line(end="closed")
        assert (line["bytes_to_decoy"], line["bytes_to_peer"]) == (8, 40)


def test_the_server_may_speak_first() -> None:
    with running() as relay, through(relay) as (peer, decoy):
        decoy.sendall(b"220 welcome\r\n")
        assert peer.recv(100) == b"220 welcome\r\n"
        peer.sendall(b"EHLO\r\n")
        assert decoy.recv(100) == b"EHLO\r\n"


def test_the_header_comes_first_and_is_not_counted() -> None:
    with running() as relay, through(relay, b"HEADER") as (peer, decoy):
        assert decoy.recv(6) == b"HEADER"
        peer.sendall(b"payload")
        peer.close()
        assert read_all(decoy) == b"payload"
        decoy.close()
        assert relay.line(end="closed")["bytes_to_decoy"] == 7


@pytest.mark.parametrize("side", ["peer", "decoy"])
def test_a_reset_is_passed_on_as_a_reset(side: str) -> None:
    with running() as relay, through(relay) as (peer, decoy):
        peer.sendall(b"x")
        assert decoy.recv(1) == b"x"
        first, second = (peer, decoy) if side == "peer" else (decoy, peer)
        reset(first)
        with pytest.raises(ConnectionResetError):
            second.recv(1)
        relay.line(end=f"reset_by_{side}")


def test_a_reset_after_the_end_of_the_other_direction_is_passed_on() -> None:
    with running() as relay, through(relay) as (peer, decoy):
        peer.shutdown(socket.SHUT_WR)
        assert decoy.recv(1) == b""
        reset(peer)
        # Whoever was told the end before is told EPIPE.
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            decoy.sendall(b"x" * (64 << 20))
        relay.line(end="reset_by_peer")


@pytest.mark.parametrize("splicing", [True, False], ids=["splice", "copy"])
@pytest.mark.parametrize("chunk", [1, 700, 65_536, 1 << 20])
def test_everything_arrives_in_order(
    monkeypatch: pytest.MonkeyPatch, splicing: bool, chunk: int
) -> None:
    """Both directions at once, with a reader that stops now and then."""
    if not splicing:
        monkeypatch.setattr(pump, "HAS_SPLICE", False)
    size = 300 if chunk == 1 else 24 << 20
    data = random.Random(chunk).randbytes(size)
    digests: dict[str, bytes] = {}

    def send(sock: socket.socket) -> None:
        for start in range(0, size, chunk):
            sock.sendall(data[start : start + chunk])
        sock.shutdown(socket.SHUT_WR)

    def receive(name: str, sock: socket.socket) -> None:
        found = hashlib.sha256()
        turns = random.Random(name)
        while got := sock.recv(turns.choice((100, 4096, 1 << 20))):
            found.update(got)
        digests[name] = found.digest()

    with running() as relay, through(relay) as (peer, decoy):
        threads = [
            threading.Thread(target=send, args=(peer,)),
            threading.Thread(target=send, args=(decoy,)),
            threading.Thread(target=receive, args=("peer", peer)),
            threading.Thread(target=receive, args=("decoy", decoy)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        relay.line(end="closed", bytes_to_decoy=size, bytes_to_peer=size)
    assert digests == dict.fromkeys(("peer", "decoy"), hashlib.sha256(data).digest())
    assert pump.waiting_bytes == 0


@pytest.mark.parametrize("splicing", [True, False], ids=["splice", "copy"])
@pytest.mark.parametrize("ends", [True, False], ids=["end", "no-end"])
def test_an_urgent_byte_is_one_of_the_stream(
    monkeypatch: pytest.MonkeyPatch, splicing: bool, ends: bool
) -> None:
    """Neither it nor what is behind it is lost or waits, whether a FIN follows or nothing."""
    if not splicing:
        monkeypatch.setattr(pump, "HAS_SPLICE", False)
    with running() as relay, through(relay) as (peer, decoy):
        for turn in range(4):
            data = random.Random(turn).randbytes(600_000)
            behind = data[: (0, 1, 3_000, 200_000)[turn]]

            def send(data: bytes = data, behind: bytes = behind, last: bool = turn == 3) -> None:
                peer.sendall(data)
                peer.send(b"!", socket.MSG_OOB)
                peer.sendall(behind)
                if last and ends:
                    peer.shutdown(socket.SHUT_WR)

            thread = threading.Thread(target=send)
            thread.start()
            wanted = data + b"!" + behind
            assert read_exactly(decoy, len(wanted)) == wanted
            thread.join(60)
        if ends:
            assert decoy.recv(1) == b""


def test_a_slow_reader_slows_the_sender() -> None:
    """What is between them is bounded by the sockets' buffers, one pipe and one buffer."""
    with running() as relay, through(relay) as (peer, decoy):
        for end in (peer, decoy):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        peer.settimeout(1)
        with pytest.raises(TimeoutError):
            peer.sendall(b"x" * (64 << 20))
        assert pump.waiting_bytes <= pump.BUFFER
        reset(decoy)
        relay.line(end="reset_by_decoy")
    assert pump.waiting_bytes == 0


def test_pipes_are_used_again_and_never_with_something_in_them() -> None:
    pipes = pump.Pipes()
    first = pipes.take()
    pipes.give(first, empty=True)
    assert pipes.take() == first
    os.write(first[1], b"left")
    pipes.give(first, empty=False)
    second = pipes.take()
    with pytest.raises(BlockingIOError):
        os.read(second[0], 10)
    pipes.give(second, empty=True)


def test_only_so_many_pipes_are_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "MOST_PIPES", 1)
    pipes = pump.Pipes()
    only = pipes.take()
    with pytest.raises(OSError, match="24"):
        pipes.take()
    pipes.give(only, empty=True)
    pipes.give(pipes.take(), empty=False)
    # Whoever gets none copies.
    monkeypatch.setattr(pump, "MOST_PIPES", 0)
    with running() as relay, through(relay) as (peer, decoy):
        thread = threading.Thread(target=peer.sendall, args=(b"x" * 1_000_000,))
        thread.start()
        assert len(read_exactly(decoy, 1_000_000)) == 1_000_000
        thread.join(60)


def test_what_waits_is_taken_in_small_pieces_when_much_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pump, "ROOMY", -1)
    monkeypatch.setattr(pump, "HAS_SPLICE", False)
    with running() as relay, through(relay) as (peer, decoy):
        peer.sendall(b"x" * 100_000)
        peer.shutdown(socket.SHUT_WR)
        assert len(read_all(decoy)) == 100_000


def test_many_connections_at_once() -> None:
    with running() as relay, server() as (listening, to):
        listening.listen(512)
        at = relay.serve(forward(to))
        peers = [socket.create_connection(at, timeout=60) for _ in range(200)]
        decoys = [listening.accept()[0] for _ in peers]
        for number, peer in enumerate(peers):
            peer.sendall(b"%d\n" % number)
        said = sorted(int(decoy.recv(10)) for decoy in decoys)
        assert said == list(range(200))
        assert relay.hub.counters.open == 200
        for sock in (*peers, *decoys):
            sock.close()
        relay.line(end="closed")


@pytest.mark.parametrize("side", ["peer", "decoy"])
def test_last_words_before_a_reset_are_passed_on(side: str) -> None:
    """Also where the other side has something to say at the same moment, which nobody can have."""
    with running() as relay, through(relay) as (peer, decoy):
        peer.sendall(b"x")
        assert decoy.recv(1) == b"x"
        first, second = (peer, decoy) if side == "peer" else (decoy, peer)

        def together() -> None:
            # The relay sees all of it in one look.
            second.sendall(b"in vain")
            first.sendall(b"last words")
            reset(first)

        relay.do(together)
        assert read_exactly(second, 10) == b"last words"
        with pytest.raises(ConnectionResetError):
            second.recv(1)
        assert relay.line(end=f"reset_by_{side}")[f"bytes_to_{second_of(side)}"] >= 10


def second_of(side: str) -> str:
    return "decoy" if side == "peer" else "peer"
