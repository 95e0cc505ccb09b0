"""A strict HTTP server for sinks to be tested against, with faults on demand.

No Elasticsearch, OpenSearch or Splunk can be installed here. These servers follow the published
APIs as far as a sink uses them, refuse what those would refuse, and keep what they took: a test of
what we say and how we take answers, not of those programs.

A fault is used up by one request that carries events:

    reset     the connection is reset before anything is read
    lost      the events are taken, and the connection is reset instead of an answer
    busy      429 with Retry-After
    failing   503
    garbage   200 with what is no JSON
    other     200 with JSON that is somebody else's
    half      the events are taken, and the answer ends in its middle
    slow      answered after a while
    drip      an answer that never ends, a byte at a time
    denied    401
"""

from __future__ import annotations

import abc
import contextlib
import gzip
import socket
import ssl
import struct
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

from .programs import free_port

SLOW_SECONDS = 0.2


class Siem(abc.ABC):
    """A server on a port of its own, which stays the same through `kill` and `start`."""

    def __init__(self, papers: Path | None = None) -> None:
        self.faults: deque[str] = deque()
        self.headers: list[dict[str, str]] = []
        self.complaints: list[str] = []
        self.requests = 0
        self._papers = papers
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self.port = free_port()
        self.lock = threading.Lock()

    def __enter__(self) -> Siem:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        scheme = "http" if self._papers is None else "https"
        return f"{scheme}://localhost:{self.port}"

    def start(self) -> None:
        """Listen."""
        self._server = _Server(("127.0.0.1", self.port), self._papers, self)
        # Its own poll is half a second, which each stop would wait for.
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        )
        self._thread.start()

    def kill(self) -> None:
        """Be gone at once, connections reset."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.end()
            self._server = None

    def restart(self) -> None:
        """As a crash and a start."""
        self.kill()
        self.start()

    # For those who know an API.

    @abc.abstractmethod
    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        """The API's answer; called with the lock held."""

    def carries_events(self, path: str) -> bool:
        """Whether a request to `path` may meet a fault."""
        return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, at: tuple[str, int], papers: Path | None, siem: Siem) -> None:
        super().__init__(at, _Handler)
        self.siem = siem
        self.open: dict[int, socket.socket] = {}
        self.context = None
        if papers is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(papers / "server.pem")

    def process_request(self, request: Any, client_address: Any) -> None:
        # Noted before the next one is accepted, so that `end` misses none.
        self.open[id(request)] = request
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        key, sock = id(request), request
        try:
            if self.context is not None:
                sock.settimeout(60)
                sock = self.open[key] = self.context.wrap_socket(sock, server_side=True)
            self.RequestHandlerClass(sock, client_address, self)
        except (OSError, ValueError):
            # The other side went away, or we did.
            return
        finally:
            self.shutdown_request(sock)
            del self.open[key]

    def end(self) -> None:
        """Cut all connections, and wait until nobody serves them any more."""
        self.server_close()
        deadline = time.monotonic() + 60
        while self.open:
            for sock in list(self.open.values()):
                # Wakes whoever reads it, who then lets go of it.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
            assert time.monotonic() < deadline
            time.sleep(0.002)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def _any(self) -> None:
        siem = self.server.siem
        fault = ""
        with siem.lock:
            siem.requests += 1
            if siem.carries_events(self.path) and siem.faults:
                fault = siem.faults.popleft()
            siem.headers.append(dict(self.headers))
        if fault == "reset":
            self._reset()
            return
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size)
        if len(body) < size:
            # The other side was killed amid its request: it is none.
            self.close_connection = True
            return
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if fault == "slow":
            time.sleep(SLOW_SECONDS)
        status, answer = 200, b""
        if fault == "busy":
            status, answer = 429, b'{"text":"busy"}'
        elif fault == "failing":
            status, answer = 503, b'{"text":"Server is busy","code":9}'
        elif fault == "denied":
            # As a careless server may: what it was told, in its answer.
            status, answer = 401, f"no: {self.headers.get('Authorization')}".encode()
        elif fault == "garbage":
            answer = b"<html>\x00\xff\x1b[31m</html>"
        elif fault == "other":
            answer = b'{"items":[],"code":"x","acks":7}'
        elif fault == "drip":
            self._drip()
            return
        else:
            with siem.lock:
                status, answer = siem.answer(self.command, self.path, self.headers, body)
        if fault == "lost":
            self._reset()
            return
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        if fault == "half":
            self.wfile.write(answer[: len(answer) // 2])
            self._reset()
            return
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_OPTIONS = _any  # noqa: N815

    def _reset(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Past `shutdown_request`, which would end it in order.
        for file in (self.rfile, self.wfile):
            with contextlib.suppress(OSError):
                file.close()
        self.connection.close()

    def _drip(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            for _ in range(3000):
                self.wfile.write(b" ")
                time.sleep(0.02)


def papers(directory: Path) -> Path:
    """ca.pem, server.pem for localhost, client.pem, and other.pem of an authority unknown here."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(directory / "ca.pem")
    server = ca.issue_cert("localhost", "127.0.0.1")
    server.private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
    client = ca.issue_cert("sensor.example", common_name="sensor")
    client.private_key_and_cert_chain_pem.write_to_path(directory / "client.pem")
    trustme.CA().cert_pem.write_to_path(directory / "other.pem")
    return directory
