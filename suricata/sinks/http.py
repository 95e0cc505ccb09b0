"""What the sinks that speak HTTP share: one request, bounded in time and size, over urllib3.

The whole request has a deadline, not only each of its reads, so that an answer that drips cannot
hold a sink; nor can one without an end, or a redirect to somewhere else.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

import urllib3
from urllib3 import exceptions

from ..secrets import Redactor, SecretError
from .client import Unavailable
from .settings import Tls
from .tls import client_context

CONNECT_SECONDS: Final = 10.0
_MOST_BYTES: Final = 32 << 20
_PIECE_BYTES: Final = 1 << 16
_LONGEST_WAIT: Final = 3600.0
# More costs more than it saves on a local network.
_GZIP_LEVEL: Final = 1


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes
    retry_after: float | None


class Http:
    """Connections of one sink, `kind`. One thread uses them; `abort` is for another.

    Raises ValueError where a certificate cannot be used.
    """

    def __init__(self, kind: str, settings: Tls, urls: Sequence[str], *, compress: bool) -> None:
        self._kind = kind
        self._encrypted = any(url.startswith("https:") for url in urls)
        self._settings = settings
        self._compress = compress
        self.redactor = Redactor()
        self._aborted = threading.Event()
        self._cut = False
        self._stale = False
        # Shared with the connections, which put theirs here.
        self._socket: list[socket.socket | None] = [None]
        self._manager = self._connect()
        self.requests = 0
        self.bytes = 0

    def _connect(self) -> urllib3.PoolManager:
        if not self._settings.verify:
            # Said once in `status`, not with each request.
            urllib3.disable_warnings(exceptions.InsecureRequestWarning)
        # The system's authorities take a while to load.
        context = client_context(self._settings) if self._encrypted else None
        manager = urllib3.PoolManager(num_pools=8, maxsize=1, ssl_context=context)
        manager.pool_classes_by_scheme = _watched_pools(self._socket)
        return manager

    def request(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask, and give the whole answer, whatever its status. Raises Unavailable."""
        sent = {"Accept-Encoding": "identity", "User-Agent": "peeltap", **(headers or {})}
        if body and self._compress:
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
            sent["Content-Encoding"] = "gzip"
        try:
            if self._stale:
                self._stale = False
                self.close()
                self._manager = self._connect()
            with self._deadline():
                answer = self._exchange(method, url, body, sent)
        except (exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            raise self.trouble(url, self._words(error)) from None
        self.requests += 1
        self.bytes += len(body)
        if 300 <= answer.status < 400:
            raise self.trouble(url, "it sends us elsewhere; name the address where it really is")
        return answer

    def _exchange(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        seconds = self._settings.timeout_seconds
        response = self._manager.request(
            method,
            url,
            body=body or None,
            headers=headers,
            preload_content=False,
            decode_content=False,
            redirect=False,
            retries=False,
            timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, seconds), read=seconds),
        )
        found = bytearray()
        whole = False
        try:
            for piece in response.stream(_PIECE_BYTES, decode_content=False):
                found += piece
                if len(found) > _MOST_BYTES:
                    raise ValueError(f"its answer is longer than {_MOST_BYTES >> 20} MiB")
            whole = True
        finally:
            if not whole:
                # What is left of it would be taken for the next answer.
                response.close()
            response.release_conn()
        after = _seconds(response.headers.get("Retry-After"))
        return Answer(response.status, bytes(found), after)

    @contextlib.contextmanager
    def _deadline(self) -> Iterator[None]:
        if self._aborted.is_set():
            raise ValueError("it was stopped")
        self._cut = False
        timer = threading.Timer(self._settings.timeout_seconds, self._cut_off)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self._socket[0] = None

    def _cut_off(self) -> None:
        self._cut = True
        found = self._socket[0]
        if found is not None:
            with contextlib.suppress(OSError):
                # Not the method of SSLSocket, which takes TLS away from under the reading thread.
                socket.socket.shutdown(found, socket.SHUT_RDWR)

    def _words(self, error: Exception) -> str:
        """What went wrong, and what to do; never what was sent."""
        seconds = self._settings.timeout_seconds
        if self._aborted.is_set():
            return "stopped amid a request; it comes again"
        text = self.redactor.clean(str(error))
        if isinstance(error, exceptions.NameResolutionError):
            return "its name is not known; see the address, or the resolver"
        if isinstance(error, exceptions.NewConnectionError):
            cause = error.__cause__ or error.__context__
            # Which urllib3 takes for a time-out.
            text = getattr(cause, "strerror", None) or text
            return f"no connection ({text}); see whether it runs, and the address"
        if self._cut or isinstance(error, exceptions.TimeoutError | TimeoutError):
            return f"no whole answer within {seconds:g} s; see whether it is overloaded"
        if isinstance(error, exceptions.SSLError):
            return f"no TLS ({text}); name its authority under ca, and see the address"
        if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
            return text
        return f"the connection broke off ({text}); tried again"

    def trouble(self, url: str, words: str, retry_after: float | None = None) -> Unavailable:
        """The exception for `words`: what is wrong, and the remedy."""
        return Unavailable(
            f"{self._kind} {url.partition('?')[0]}: {words}", retry_after=retry_after
        )

    def said(self, answer: Answer, remedy: str, url: str) -> Unavailable:
        """The exception for an answer that is a refusal."""
        words = self.redactor.clean(answer.body[:4096].decode(errors="replace"), 200)
        told = f"it answers {answer.status}" + (f" ({words})" if words else "")
        return self.trouble(url, f"{told}; {remedy}", answer.retry_after)

    def secret_missing(self, error: SecretError, url: str) -> Unavailable:
        """The exception for a secret that cannot be read."""
        return self.trouble(url, str(error))

    def wait(self, seconds: float) -> bool:
        """Wait; True if it is to stop instead."""
        return self._aborted.wait(seconds)

    def abort(self) -> None:
        """See Client."""
        self._aborted.set()
        self._cut_off()

    def reopen(self) -> None:
        """Connect anew with the next request, with what the files of certificates hold then."""
        self._stale = True

    def status(self) -> dict[str, Any]:
        """The counters."""
        return {
            "requests": self.requests,
            "sent_bytes": self.bytes,
            "tls_verified": self._encrypted and self._settings.verify,
        }

    def close(self) -> None:
        """Let go."""
        # Dropped alone, pools live as long as an exception that was raised in them.
        for key in self._manager.pools.keys():  # noqa: SIM118 - it is no mapping to iterate
            pool = self._manager.pools.get(key)
            if pool is not None:
                pool.close()
        self._manager.clear()


def _seconds(text: str | None) -> float | None:
    """Retry-After: seconds or a date (RFC 9110, 10.2.3)."""
    if text is None:
        return None
    try:
        if text.strip().isdigit():
            seconds = float(text)
        else:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), _LONGEST_WAIT)


def _watched_pools(place: list[socket.socket | None]) -> dict[str, Any]:
    """Pools whose connections put the socket in use into `place`."""

    class Watched(urllib3.connection.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            place[0] = self.sock

        def request(self, *args: Any, **more: Any) -> None:
            place[0] = self.sock
            super().request(*args, **more)

    class Encrypted(Watched, urllib3.connection.HTTPSConnection):
        pass

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Watched

    class EncryptedPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}
