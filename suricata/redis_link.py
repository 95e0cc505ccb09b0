"""A connection to Redis or Valkey: made when it is needed, anew when it broke, and in words.

Used by a sink, by a source and, through `pipeline`, by the store of flow records.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha1
from typing import Any, Final
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,  # noqa: A004
    NoPermissionError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    TimeoutError,  # noqa: A004
)
from redis.retry import Retry

from .secrets import Redactor, SecretError, read_all
from .sinks.settings import RedisServer
from .sinks.tls import client_context

_PORT: Final = 6379


@lru_cache(maxsize=64)
def _name(script: str) -> str:
    # Redis' own name for it; no secret depends on it.
    return sha1(script.encode(), usedforsecurity=False).hexdigest()


class RedisLink:
    """One client of the server of `settings`. Used by one thread; `abort` by any.

    Raises ValueError for a file of `settings` that cannot be used.
    """

    def __init__(self, settings: RedisServer) -> None:
        self._settings = settings
        self.encrypted = settings.url.startswith("rediss:")
        if self.encrypted:
            # A file that cannot be used is told of now, not with the first event.
            client_context(settings)
        self._redactor = Redactor()
        self._redis: Any = None
        self._stale = False
        self._aborted = False

    @property
    def url(self) -> str:
        """Where it is."""
        return self._settings.url

    def connected(self) -> Any:
        """The library's client. Raises its errors, or ValueError where a secret cannot be had."""
        if self._aborted:
            raise ConnectionError("stopped")
        if self._stale:
            self._stale = False
            self.close()
        if self._redis is None:
            self._redis = self._connect()
        return self._redis

    def run(self, script: str, keys: Sequence[object], arguments: Sequence[object]) -> Any:
        """What `script`, in Lua, answers; its text travels once. Raises the library's errors."""
        client = self.connected()
        try:
            return client.evalsha(_name(script), len(keys), *keys, *arguments)
        except NoScriptError:
            return client.eval(script, len(keys), *keys, *arguments)

    def _connect(self) -> Any:
        settings = self._settings
        parts = urlsplit(settings.url)
        try:
            password = next(iter(read_all([settings.password], self._redactor)), None)
        except SecretError as error:
            raise ValueError(str(error)) from None
        options: dict[str, Any] = {
            "host": parts.hostname,
            "port": parts.port or _PORT,
            "username": settings.user,
            "password": password,
            "socket_timeout": settings.timeout_seconds,
            "socket_connect_timeout": min(10.0, settings.timeout_seconds),
            # Whoever waits between two tries tries again, as a whole.
            "retry": Retry(NoBackoff(), 0),
            # What follows from version 3 of the protocol is not needed, nor the right to HELLO.
            "protocol": 2,
        }
        if parts.scheme == "rediss":
            options |= {
                "ssl": True,
                "ssl_ca_certs": settings.ca and str(settings.ca),
                "ssl_certfile": settings.cert and str(settings.cert),
                "ssl_keyfile": (settings.key or settings.cert)
                and str(settings.key or settings.cert),
                "ssl_cert_reqs": "required" if settings.verify else "none",
                "ssl_check_hostname": settings.verify,
            }
        if settings.cluster:
            return redis.RedisCluster(**options)
        return redis.Redis(db=int(parts.path.removeprefix("/") or 0), **options)

    def broken(self, error: Exception) -> str:
        """The sentence of `error`; what comes next has a new connection, and the secret of then."""
        self._stale = True
        return self.sentence(error)

    def sentence(self, error: Exception) -> str:
        """`error`, with address, cause and remedy, and no secret."""
        settings = self._settings
        text = self.clean(str(error)) or type(error).__name__
        if self._aborted:
            words = "stopped amid a batch; it comes again"
        elif isinstance(error, AuthenticationError | NoPermissionError):
            place = settings.password.place if settings.password else "user and password"
            words = f"{text}; see {place} and the rights of its user"
        elif isinstance(error, TimeoutError):
            words = f"no answer within {settings.timeout_seconds:g} s; see whether it is overloaded"
        elif isinstance(error, ConnectionError | RedisClusterException | OSError):
            words = f"{text}; see whether it runs, and the address"
        else:
            words = f"{text}; see its state and its log"
        return f"redis {settings.url}: {words}"

    def clean(self, text: str) -> str:
        """`text` without secrets."""
        return self._redactor.clean(text)

    def abort(self) -> None:
        """From another thread: what waits for an answer fails soon, and so does all after."""
        self._aborted = True
        client = self._redis
        # Nodes of a cluster come and go meanwhile.
        with contextlib.suppress(RedisError, OSError, AttributeError, RuntimeError):
            if client is None or isinstance(client, redis.Redis):
                clients = [client]
            else:
                clients = [node.redis_connection for node in client.get_nodes()]
            for one in clients:
                if one is not None:
                    _hang_up(one.connection_pool)

    def reopen(self) -> None:
        """What comes next has a new connection."""
        self._stale = True

    def close(self) -> None:
        """Let go of the connection."""
        client, self._redis = self._redis, None
        if client is not None:
            # After an abort there is nothing whole left to close.
            with contextlib.suppress(RedisError, OSError, ValueError, AttributeError):
                client.close()


def _hang_up(pool: Any) -> None:
    """End the connections of `pool` for whoever reads them, who then lets go of them.

    The pool's own `disconnect` takes a connection apart under its reader, which falls over what is
    missing then, with errors that are nobody's.
    """
    for connection in (*pool._in_use_connections, *pool._available_connections):
        if isinstance(sock := connection._sock, socket.socket):
            # Not the method of an encrypted one, which takes that apart as well.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
