"""A stream of Redis or Valkey: an entry for each event, with the fields `id` and `event`.

Redis acknowledges what it has in memory; `replicas` waits until others have it, too. It has no
upsert: with `once_seconds` each id is remembered beside the stream for that long, and an event that
comes again within it is not added again, in one script and so in one step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,  # noqa: A004
    NoPermissionError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004
)
from redis.retry import Retry

from ..secrets import Redactor, SecretError, read_all
from .client import Outgoing, Rejected, Unavailable
from .parts import Outcome, in_parts
from .settings import Redis
from .tls import client_context

_PORT: Final = 6379
# How many commands are on their way at once.
_PIECE: Final = 1000

# Of those that go in one script, which holds up everybody else's commands.
_SCRIPT_EVENTS: Final = 50

# KEYS: stream, then each event's mark. ARGV: seconds, maxlen or "", then each event's id and text.
# The mark comes last: an event that could not be added is not taken for one that was.
_ONCE: Final = """
local added = 0
for at = 2, #KEYS do
  if redis.call('EXISTS', KEYS[at]) == 0 then
    local id, event = ARGV[2 * at - 1], ARGV[2 * at]
    if ARGV[2] == '' then redis.call('XADD', KEYS[1], '*', 'id', id, 'event', event)
    else redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'id', id, 'event', event) end
    redis.call('SET', KEYS[at], '1', 'EX', ARGV[1])
    added = added + 1
  end
end
return added
"""


class RedisClient:
    """Delivers to one stream."""

    kind = "redis"

    def __init__(self, settings: Redis) -> None:
        self._settings = settings
        self._encrypted = settings.url.startswith("rediss:")
        if self._encrypted:
            # A file that cannot be used is told of now, not with the first event.
            client_context(settings)
        self._redactor = Redactor()
        self._redis: Any = None
        self._stale = False
        self._aborted = False
        # In a cluster the marks must lie where the stream does: the braces say so.
        name = settings.stream
        self._mark = f"{name}:id:" if "{" in name else f"{{{name}}}:id:"
        self._duplicates = 0

    def deliver(self, batch: Sequence[Outgoing]) -> list[Rejected]:
        """See Client."""
        pieces = [range(at, min(at + _PIECE, len(batch))) for at in range(0, len(batch), _PIECE)]
        return in_parts(pieces, lambda part: self._send(batch, part))

    def _send(self, batch: Sequence[Outgoing], part: Sequence[int]) -> Outcome:
        settings = self._settings
        step = _SCRIPT_EVENTS if settings.once_seconds else 1
        pieces = [part[at : at + step] for at in range(0, len(part), step)]
        try:
            pipe = self._connected().pipeline(transaction=False)
            for piece in pieces:
                self._add(pipe, [batch[at] for at in piece])
            answers = pipe.execute(raise_on_error=False)
            failed = [one for one in answers if isinstance(one, Exception)]
            if not failed and settings.replicas:
                self._replicated()
        except Exception as error:  # the library takes garbage for answers, and falls over it
            raise self._broken(error) from None
        again: list[int] = []
        for piece, answer in zip(pieces, answers, strict=True):
            if isinstance(answer, Exception):
                again += piece
            elif settings.once_seconds:
                self._duplicates += len(piece) - int(answer)
        if not failed:
            return Outcome()
        if isinstance(failed[0], AuthenticationError | NoPermissionError):
            self._stale = True
        return Outcome(again=again, sentence=str(self._trouble(failed[0])))

    def _add(self, pipe: Any, events: Sequence[Outgoing]) -> None:
        settings = self._settings
        if settings.once_seconds:
            keys = [settings.stream, *(self._mark + one.id for one in events)]
            limit = "" if settings.maxlen is None else settings.maxlen
            rest = [part for one in events for part in (one.id, one.line)]
            # As the pipelines of both, of one server and of a cluster, take it.
            pipe.execute_command(
                "EVAL", _ONCE, len(keys), *keys, settings.once_seconds, limit, *rest
            )
        else:
            [one] = events
            fields: dict[Any, Any] = {"id": one.id, "event": one.line}
            pipe.xadd(settings.stream, fields, maxlen=settings.maxlen, approximate=True)

    def _replicated(self) -> None:
        wanted = self._settings.replicas
        seconds = self._settings.timeout_seconds
        found = self._connected().wait(wanted, int(seconds * 500))
        if found < wanted:
            raise ResponseError(f"{found} of {wanted} replicas have it")

    def _connected(self) -> Any:
        if self._aborted:
            raise ConnectionError("stopped")
        if self._stale:
            self._stale = False
            self.close()
        if self._redis is None:
            self._redis = self._connect()
        return self._redis

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
            # A batch is tried again as a whole, by whoever waits between two tries.
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

    def _broken(self, error: Exception) -> Unavailable:
        # The next batch begins with a connection of its own, and with the secret as it is then.
        self._stale = True
        return self._trouble(error)

    def _trouble(self, error: Exception) -> Unavailable:
        settings = self._settings
        text = self._redactor.clean(str(error)) or type(error).__name__
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
        return Unavailable(f"redis {settings.url}: {words}")

    def check(self) -> str:
        """See Client."""
        try:
            client = self._connected()
            told = client.info("server")
            if self._settings.cluster:
                told = next((one for one in told.values() if isinstance(one, dict)), told)
            version = told.get("valkey_version") or told.get("redis_version")
            client.xlen(self._settings.stream)
        except Exception as error:  # as above
            raise self._broken(error) from None
        name = "Valkey" if told.get("valkey_version") else "Redis"
        return self._redactor.clean(
            f"{self._settings.url}: {name} {version}, stream {self._settings.stream}"
        )

    def abort(self) -> None:
        """See Client."""
        self._aborted = True
        client = self._redis
        with contextlib.suppress(RedisError, OSError, AttributeError):
            if client is None or isinstance(client, redis.Redis):
                clients = [client]
            else:
                clients = [node.redis_connection for node in client.get_nodes()]
            for one in clients:
                if one is not None:
                    one.connection_pool.disconnect(inuse_connections=True)

    def reopen(self) -> None:
        """See Client."""
        self._stale = True

    def status(self) -> dict[str, Any]:
        """See Client."""
        return {
            "kind": self.kind,
            "address": self._settings.url,
            "duplicates": self._duplicates,
            "tls_verified": self._encrypted and self._settings.verify,
        }

    def close(self) -> None:
        """See Client."""
        client, self._redis = self._redis, None
        if client is not None:
            with contextlib.suppress(RedisError, OSError):
                client.close()
