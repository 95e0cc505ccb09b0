"""One request, bounded in time and size, whatever the other side does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest

from suricata.sinks.client import Unavailable
from suricata.sinks.http import Http, _seconds
from suricata.sinks.settings import Tls


class Raw:
    """Answers each request with `answer`, as it is, and goes on listening."""

    def __init__(self) -> None:
        self.answer = b""
        self.requests: list[bytes] = []
        self.connections = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/x"
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._threads.append(threading.Thread(target=self._talk, args=(peer,)))
            self._threads[-1].start()

    def _talk(self, peer: socket.socket) -> None:
        with peer:
            peer.settimeout(60)
            while (request := self._read(peer)) is not None:
                self.requests.append(request)
                peer.sendall(self.answer)
                if b"Content-Length" not in self.answer:
                    return

    def _read(self, peer: socket.socket) -> bytes | None:
        found = b""
        while b"\r\n\r\n" not in found:
            try:
                more = peer.recv(65536)
            except OSError:
                return None
            if not more:
                return None
            found += more
        return found

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(60)


@pytest.fixture
def raw() -> Iterator[Raw]:
    found = Raw()
    yield found
    found.close()


def http(raw: Raw, seconds: float = 60) -> Http:
    return Http("webhook", Tls(timeout_seconds=seconds), [raw.url], compress=False)


def test_a_connection_is_kept_and_an_answer_read_whole(raw: Raw) -> None:
    raw.answer = b"HTTP/1.1 418 x\r\nContent-Length: 2\r\nRetry-After: 7\r\n\r\nok"
    way = http(raw)
    for _ in range(3):
        assert way.request("GET", raw.url) == (418, b"ok", 7.0)
    assert raw.connections == 1
    # After a hangup a new one is made.
    way.reopen()
    way.request("GET", raw.url)
    assert raw.connections == 2
    assert way.status()["requests"] == 4
    way.close()


ANSWERS = {
    "nothing": (b"", "the connection broke off"),
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n", "the connection broke off"),
    "too many headers": (b"HTTP/1.1 200 x\r\n" + b"a: b\r\n" * 200 + b"\r\n", "broke off"),
    "a header without an end": (b"HTTP/1.1 200 x\r\na: " + b"b" * 100_000, "broke off"),
    "half an answer": (b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\nok", "no whole answer"),
    "chunks that are none": (
        b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok",
        "the connection broke off",
    ),
    "somewhere else": (
        b"HTTP/1.1 301 x\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n",
        "it sends us elsewhere",
    ),
}


@pytest.mark.parametrize(("answer", "words"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_none_is_told(raw: Raw, answer: bytes, words: str) -> None:
    raw.answer = answer
    # Only the rest of an answer is waited for in vain.
    way = http(raw, 0.5 if "whole" in words else 60)
    with pytest.raises(Unavailable, match=words) as told:
        way.request("POST", raw.url, b"x")
    assert str(told.value).startswith(f"webhook {raw.url}: ")
    raw.answer = b"HTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n"
    way._settings = Tls(timeout_seconds=60)
    assert way.request("POST", raw.url, b"x").status == 200
    way.close()


def test_an_answer_without_an_end_is_left(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suricata.sinks.http._MOST_BYTES", 1 << 16)
    raw.answer = b"HTTP/1.1 200 x\r\n\r\n" + b"x" * (1 << 20)
    way = http(raw)
    with pytest.raises(Unavailable, match="its answer is longer than"):
        way.request("GET", raw.url)
    way.close()


def test_a_compressed_answer_is_not_opened(raw: Raw) -> None:
    """It was not asked for, and what it becomes has no bound."""
    raw.answer = b"HTTP/1.1 200 x\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    way = http(raw)
    assert way.request("GET", raw.url).body == b"abc"
    way.close()
    assert b"Accept-Encoding: identity" in raw.requests[0]


def test_what_to_wait_for_is_seconds_or_a_date_within_reason() -> None:
    assert _seconds(None) is None
    assert _seconds(" 5 ") == 5
    assert _seconds("99999999999999999999") == 3600
    assert _seconds("-5") is None
    assert _seconds("soon") is None
    assert _seconds(formatdate(time.time() - 100, usegmt=True)) == 0
    later = _seconds(formatdate(time.time() + 100, usegmt=True))
    assert later is not None
    assert 0 < later <= 100


def test_a_proxy_of_the_environment_is_not_used(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:3128")
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:3128")
    raw.answer = b"HTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n"
    way = http(raw)
    assert way.request("GET", raw.url).status == 200
    way.close()
