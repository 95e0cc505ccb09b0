"""A stream of Redis or Valkey: an entry for each event, with the fields `id` and `event`.

Redis acknowledges what it has in memory; `replicas` waits until others have it, too. It has no
upsert: with `once_seconds` each id is remembered beside the stream for that long, and an event that
comes again within it is not added again, in one script and so in one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from ..redis_link import RedisLink
from .client import Outgoing, Rejected, Unavailable
from .parts import Outcome, in_parts
from .settings import Redis

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
        self._link = RedisLink(settings)
        name = settings.stream
        limit = () if settings.maxlen is None else ("MAXLEN", "~", settings.maxlen)
        # Each event's command but for the event: the library's `xadd` would check it anew.
        self._xadd = ("XADD", name, *limit, "*")
        # In a cluster the marks must lie where the stream does: the braces say so.
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
            self._link.reopen()
        return Outcome(again=again, sentence=self._link.sentence(failed[0]))

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
            pipe.execute_command(*self._xadd, "id", one.id, "event", one.line)

    def _replicated(self) -> None:
        wanted = self._settings.replicas
        seconds = self._settings.timeout_seconds
        found = self._connected().wait(wanted, int(seconds * 500))
        if found < wanted:
            raise ResponseError(f"{found} of {wanted} replicas have it")

    def _connected(self) -> Any:
        return self._link.connected()

    def _broken(self, error: Exception) -> Unavailable:
        return Unavailable(self._link.broken(error))

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
        return self._link.clean(
            f"{self._settings.url}: {name} {version}, stream {self._settings.stream}"
        )

    def abort(self) -> None:
        """See Client."""
        self._link.abort()

    def reopen(self) -> None:
        """See Client."""
        self._link.reopen()

    def status(self) -> dict[str, Any]:
        """See Client."""
        return {
            "kind": self.kind,
            "address": self._settings.url,
            "duplicates": self._duplicates,
            "tls_verified": self._link.encrypted and self._settings.verify,
        }

    def close(self) -> None:
        """See Client."""
        self._link.close()
