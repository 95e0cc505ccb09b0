"""The connection to a syslog receiver, byte for byte, against sockets of our own."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from suricata.sinks.client import Unavailable
from suricata.sinks.settings import Syslog
from suricata.sinks.syslog_link import Link, TooLong


def link(address: str, **more: Any) -> Link:
    return Link(Syslog.model_validate({"address": address, "timeout_seconds": 60, **more}))


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(60)
        yield sock


def address(sock: socket.socket) -> str:
    host, port = sock.getsockname()
    return f"tcp://{host}:{port}"


def read(peer: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = peer.recv(count - len(found))
        assert more
        found += more
    return found


def accept(sock: socket.socket) -> socket.socket:
    peer, _ = sock.accept()
    peer.settimeout(60)
    return peer


def test_a_message_is_framed_by_its_length(listening: socket.socket) -> None:
    way = link(address(listening))
    way.send([b"<134>1 one", "<134>1 \u00fc".encode()])
    with accept(listening) as peer:
        assert read(peer, 24) == b"10 <134>1 one9 <134>1 \xc3\xbc"
    way.close()


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_where_a_connection_broke_off_the_last_messages_come_again(
    listening: socket.socket, how: str
) -> None:
    way = link(address(listening))
    way.send([b"one"])
    way.send([b"two"])
    peer = accept(listening)
    if how == "closed":
        assert read(peer, 10) == b"3 one3 two"
        peer.close()
    else:
        # With what it has not read: the kernel makes a reset of it.
        peer.close()
    way.send([b"three"])
    with accept(listening) as peer:
        assert read(peer, 17) == b"3 one3 two5 three"
    assert (way.connections, way.resent) == (2, 2)
    way.close()


def test_after_a_close_in_order_only_young_ones_come_again(
    listening: socket.socket,
) -> None:
    way = link(address(listening))
    way.send([b"old"])
    way._kept[0] = (way._kept[0][0] - 100, way._kept[0][1])
    way.send([b"young"])
    with accept(listening) as peer:
        read(peer, 12)
    way.send([b"next"])
    with accept(listening) as peer:
        assert read(peer, 13) == b"5 young4 next"
    way.close()


def test_what_is_kept_is_bounded(listening: socket.socket) -> None:
    way = link(address(listening), resend_kb=1)
    way.send([b"x" * 600])
    way.send([b"y" * 600])
    assert [sent for _, sent in way._kept] == [[b"y" * 600]]
    way.send([b"z" * 2000])
    assert not way._kept
    way.close()


def test_a_batch_goes_on_where_it_stopped(listening: socket.socket) -> None:
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    way = link(address(listening))
    # The kernel gives up what takes nothing for four times as long as was said when it connected.
    way._ready()
    way._settings = way._settings.model_copy(update={"timeout_seconds": 0.2})
    batch = [b"a" * 60_000 for _ in range(100)]
    with pytest.raises(Unavailable, match=r"not all taken within 0\.2 s"):
        way.send(batch)
    peer = accept(listening)
    found: list[bytes] = []

    def drain() -> None:
        left = 100 * 60_006 + 6
        while left:
            found.append(peer.recv(1 << 20))
            left -= len(found[-1])

    thread = threading.Thread(target=drain)
    thread.start()
    # Another batch meanwhile: the end of the first one goes before it.
    for _ in range(500):
        with contextlib.suppress(Unavailable):
            way.send([b"next"])
            break
    thread.join(60)
    assert b"".join(found) == b"60000 " + b"60000 ".join(batch) + b"4 next"
    assert way.connections == 1
    peer.close()
    way.close()


def test_a_receiver_that_takes_nothing_is_left(listening: socket.socket) -> None:
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    way = link(address(listening), timeout_seconds=0.2)
    batch = [b"a" * 60_000 for _ in range(100)]
    deadline = time.monotonic() + 120
    while way.connections < 2:
        assert time.monotonic() < deadline
        with pytest.raises(Unavailable, match=r"not all taken|Connection timed out"):
            way.send(batch)
    way.close()


def test_what_a_receiver_says_is_not_minded(listening: socket.socket) -> None:
    way = link(address(listening))
    way.send([b"one"])
    with accept(listening) as peer:
        peer.sendall(b"\xff" * 100_000)
        for _ in range(3):
            way.send([b"two"])
        assert read(peer, 20) == b"3 one3 two3 two3 two"
    assert way.connections == 1
    way.close()


def test_a_receiver_that_accepts_and_says_nothing_to_tls_is_told(
    listening: socket.socket,
) -> None:
    way = link(address(listening).replace("tcp", "tls"), timeout_seconds=0.2)
    with pytest.raises(Unavailable, match="it does not answer; see whether it runs"):
        way.send([b"one"])


def test_a_receiver_that_answers_garbage_to_tls_is_told(listening: socket.socket) -> None:
    def serve() -> None:
        with accept(listening) as peer:
            peer.recv(1000)
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    way = link(address(listening).replace("tcp", "tls"))
    with pytest.raises(Unavailable, match=r"no TLS \(.*\); see ca, cert and key"):
        way.send([b"one"])
    thread.join()


def test_a_name_that_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for scheme in ("tcp", "udp"):
        with pytest.raises(Unavailable, match="its name is not known; see the address"):
            link(f"{scheme}://siem.example:601").send([b"one"])


def test_a_stream_of_this_machine_has_a_message_a_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "log"))
        sock.listen()
        sock.settimeout(60)
        way = link(f"unix:{tmp_path}/log", timeout_seconds=0.2)
        # Nobody reads: here that is known.
        with pytest.raises(Unavailable, match="not all taken"):
            way.send([b"one", b"two"])
        with accept(sock) as peer:
            assert read(peer, 8) == b"one\ntwo\n"
            way.send([b"one", b"two"])
    way.close()


def test_a_datagram_that_is_too_long_is_named(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "log"))
        way = link(f"unix:{tmp_path}/log")
        with pytest.raises(TooLong, match="1"):
            way.send([b"one", b"x" * 10_000_000])
        way.close()


def test_certificates_are_read_anew(tmp_path: Path, listening: socket.socket) -> None:
    way = link(address(listening))
    way.send([b"one"])
    way.reopen()
    way.send([b"two"])
    assert way.connections == 2
    # An end of ours loses nothing, so that nothing comes again.
    assert way.resent == 0
    way.close()
