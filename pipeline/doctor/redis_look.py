"""Finds out how a Redis is. Asks, and changes nothing in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from redis.exceptions import NoPermissionError

from pipeline.doctor.redis_server import Inbox, Server
from suricata.event_settings import MOST_PARTITIONS, RedisEvents
from suricata.redis_link import RedisLink
from suricata.settings import EveRedis
from suricata.sinks.settings import RedisServer
from suricata.sources.redis import Keys

_ASK_SECONDS: Final = 5.0


def servers(named: Mapping[str, RedisServer | None]) -> list[Server]:
    """Each Redis that is named, once, under all its keys, in their order."""
    keys: dict[str, list[str]] = {}
    settings = {key: one for key, one in named.items() if one is not None}
    for key, one in settings.items():
        same = next((first for first in keys if _same(settings[first], one)), key)
        keys.setdefault(same, []).append(key)
    return [server(" and ".join(all_), settings[first]) for first, all_ in keys.items()]


def _same(one: RedisServer, other: RedisServer) -> bool:
    names = RedisServer.model_fields.keys() - {"timeout_seconds"}
    return all(getattr(one, name) == getattr(other, name) for name in names)


def server(key: str, settings: RedisServer) -> Server:
    """The Redis of `settings`, which `key` names; of a cluster one node."""
    unknown = Server(key, settings.url, cluster=settings.cluster)
    try:
        link = _link(settings)
    except ValueError as error:
        return replace(unknown, error=str(error))
    try:
        client = link.connected()
        try:
            told = client.info()
        except NoPermissionError as error:
            client.ping()
            return replace(unknown, hidden=link.clean(str(error)))
        return _known(unknown, told)
    except Exception as error:  # the library takes garbage for answers, and falls over it
        return replace(unknown, error=link.sentence(error))
    finally:
        link.close()


def _link(settings: RedisServer) -> RedisLink:
    seconds = min(_ASK_SECONDS, settings.timeout_seconds)
    return RedisLink(settings.model_copy(update={"timeout_seconds": seconds}))


def _known(unknown: Server, told: Mapping[str, Any]) -> Server:
    """What INFO says."""
    is_valkey = told.get("server_name") == "valkey"
    return replace(
        unknown,
        name="Valkey" if is_valkey else "Redis",
        version=str(told.get("valkey_version" if is_valkey else "redis_version", "")),
        run_id=told.get("run_id"),
        loading=bool(told.get("loading")),
        replica=told.get("role") == "slave",
        clustered=bool(told.get("cluster_enabled")),
        used=int(told.get("used_memory", 0)),
        largest=int(told.get("maxmemory", 0)),
        policy=str(told.get("maxmemory_policy", "noeviction")),
        append_only=bool(told.get("aof_enabled")),
        append_failed=told.get("aof_last_write_status", "ok") != "ok",
        save_failed=told.get("rdb_last_bgsave_status", "ok") != "ok",
    )


def suricatas(settings: EveRedis) -> Server | None:
    """The Redis that Suricata writes to, asked without a password; None for a socket's path."""
    if "/" in settings.server:
        return None
    host = f"[{settings.server}]" if ":" in settings.server else settings.server
    try:
        own = RedisServer(url=f"redis://{host}:{settings.port}")
    except ValueError as error:
        return Server("suricata.eve_redis", settings.server, error=str(error))
    return server("suricata.eve_redis", own)


def inbox(settings: RedisEvents) -> Inbox:
    """What is in Suricata's key and in its partitions."""
    unknown = Inbox(settings.inbox, settings.mode, settings.partitions)
    link = _link(settings)
    try:
        client = link.connected()
        kind = client.type(settings.inbox).decode()
        told = client.hget(Keys.of(settings).about, "partitions")
        agreed = None if told is None else int(told)
        # What there is counts, whatever this file asks for.
        keys = Keys.divided(settings, min(agreed or 0, MOST_PARTITIONS))
        # Where it is read as it is, it may be none.
        streams = keys.streams if kind in ("none", "stream") or not settings.is_direct else []
        pipe = client.pipeline(transaction=False)
        pipe.zcard(keys.workers)
        if kind == "list":
            pipe.llen(settings.inbox)
        elif kind == "stream" and settings.inbox not in streams:
            pipe.xlen(settings.inbox)
        for stream in streams:
            pipe.xlen(stream)
        for stream in streams:
            pipe.xpending(stream, settings.group)
        workers, *answers = pipe.execute(raise_on_error=False)
        for one in (workers, *answers):
            if isinstance(one, Exception) and "NOGROUP" not in str(one):
                raise one
    except Exception as error:  # as above
        return replace(unknown, error=link.sentence(error))
    finally:
        link.close()
    return replace(
        unknown,
        kind=kind,
        agreed=agreed,
        workers=int(workers),
        waiting=sum(one for one in answers if isinstance(one, int)),
        pending=sum(int(one["pending"]) for one in answers if isinstance(one, dict)),
    )
