"""Redis, where events and flow records pass through it: facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pipeline.doctor.finding import Finding, fail, ok, warn

OLDEST: Final = 7
"""Whose scripts may take events out of a memory that is full."""

MUCH: Final = 0.8
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Server:
    """A Redis or Valkey, as it answered. `key`: what names it in the configuration.

    `error`: why nothing is known of it, `hidden` why nothing but that it answers; sentences.
    `policy` is `maxmemory-policy`; `largest` and `used` are bytes, `largest` 0 without a bound.
    """

    key: str
    url: str
    error: str | None = None
    hidden: str | None = None
    name: str = "Redis"
    version: str = ""
    run_id: str | None = None
    loading: bool = False
    replica: bool = False
    clustered: bool = False
    cluster: bool = False
    used: int = 0
    largest: int = 0
    policy: str = "noeviction"
    append_only: bool = True
    append_failed: bool = False
    save_failed: bool = False


@dataclass(frozen=True, slots=True)
class Inbox:
    """Suricata's key and what workers made of it. `kind` is Redis' name of its type.

    `agreed`: the partitions that workers divided it into, None before the first. `pending`: events
    that a worker has read and not acknowledged, of those that wait.
    """

    name: str
    mode: str
    partitions: int
    error: str | None = None
    kind: str = "none"
    agreed: int | None = None
    waiting: int = 0
    pending: int = 0
    workers: int = 0


def findings(server: Server) -> Iterator[Finding]:
    """All about one."""
    topic, key, where = "redis", server.key, f"{server.key}: {server.url}"
    if server.error is not None:
        yield fail(topic, f"{key}: {server.error}", f"start it, or correct {key}")
        return
    if server.hidden is not None:
        yield warn(
            topic,
            f"{where} answers, but does not tell of itself: {server.hidden}",
            "let its user ask (ACL SETUSER ... +info); until then see yourself that its"
            " maxmemory-policy is noeviction, and appendonly yes",
        )
        return
    found = [*_usable(server, where), *_keeps(server, where)]
    yield from found
    if not any(one.state == "fail" for one in found):
        bound = f" of {server.largest // MIB:,}" if server.largest else ""
        yield ok(
            topic,
            f"{where} answers, {server.name} {server.version}, {server.used // MIB:,}{bound} MiB"
            " used",
        )


def _usable(server: Server, where: str) -> Iterator[Finding]:
    topic = "redis"
    major = server.version.partition(".")[0]
    if major.isdigit() and int(major) < OLDEST:
        yield fail(
            topic,
            f"{where} is {server.name} {server.version}: workers' scripts need {OLDEST} or later",
            f"install Redis {OLDEST} or Valkey, or name another under {server.key}",
        )
    if server.replica:
        yield fail(
            topic,
            f"{where} is a replica: nothing can be written to it",
            f"name its master under {server.key}",
        )
    if server.clustered and not server.cluster:
        yield fail(
            topic,
            f"{where} is a node of a cluster, and keys that are another's are refused",
            f"{server.key}: {{cluster: true}}",
        )
    if server.loading:
        yield warn(topic, f"{where} is still reading its file", "wait; events wait as well")


def _keeps(server: Server, where: str) -> Iterator[Finding]:
    """Whether what it has been given stays."""
    topic = "redis"
    if server.largest and server.policy != "noeviction":
        yield fail(
            topic,
            f"{where} has maxmemory-policy {server.policy}: once its memory is full it throws flow"
            " records and events away",
            "CONFIG SET maxmemory-policy noeviction, and the same in its redis.conf",
        )
    if server.largest and server.used > MUCH * server.largest:
        share = 100 * server.used / server.largest
        yield warn(
            topic,
            f"{where} has used {share:.0f} % of its maxmemory; Suricata drops what finds no room",
            "raise maxmemory, begin more workers, or lower flows.redis.ttl_seconds",
        )
    if server.append_failed:
        yield fail(
            topic,
            f"{where} cannot write its append-only file: it refuses writes, or loses them when it"
            " ends",
            "make room on its disk; its log says more",
        )
    elif not server.append_only:
        yield warn(
            topic,
            f"{where} has no append-only file: what it was given since its last snapshot is gone"
            " when it ends",
            "CONFIG SET appendonly yes, and the same in its redis.conf",
        )
    if server.save_failed:
        yield warn(
            topic,
            f"{where} could not write its last snapshot, and may refuse writes for that",
            'make room on its disk, or save nothing (save "") beside an append-only file',
        )


def written(own: Server, read: Server) -> Iterator[Finding]:
    """Of the Redis that Suricata writes to, asked as it asks, beside the one that workers read."""
    topic = "redis"
    if own.error is not None:
        yield fail(
            topic,
            f"Suricata cannot write there: {own.error}",
            f"correct {own.key}; Suricata 7 gives neither password nor TLS: a tunnel has both",
        )
    elif read.cluster or None in (own.run_id, read.run_id):
        # Of a cluster it is one node of many.
        yield ok(topic, f"{own.url}, which Suricata writes to, answers")
    elif own.run_id == read.run_id:
        yield ok(topic, f"{own.url}, which Suricata writes to, is the same")
    else:
        yield fail(
            topic,
            f"Suricata writes to {own.url}, and workers read {read.url}: these are two",
            f"let {own.key} and {read.key} lead to the same",
        )


def inbox(found: Inbox) -> Iterator[Finding]:
    """All about what waits there."""
    topic, key = "inbox", "events.redis"
    if found.error is not None:
        yield fail(topic, f"{found.name}: {found.error}", f"see {key}, and the rights of its user")
        return
    wanted = "stream" if found.mode == "stream" else "list"
    if found.kind not in ("none", wanted):
        yield fail(
            topic,
            f"{found.name} is a {found.kind}, and {key}.mode {found.mode} reads a {wanted}",
            f"let {key}.mode be as Suricata's, or name another {key}.inbox",
        )
    if found.agreed is not None and found.agreed != found.partitions:
        yield fail(
            topic,
            f"{found.name} is divided into {found.agreed} partitions, and {key}.partitions is"
            f" {found.partitions}: no worker with this file reads it",
            f"{key}: {{partitions: {found.agreed}}}",
        )
    if found.waiting and not found.workers:
        yield warn(
            topic,
            f"{found.waiting:,} events wait in {found.name}, and no worker is there",
            "peeltap enrich --config FILE --workers N, on whatever machine",
        )
    elif found.kind == "none" and found.agreed is None:
        yield ok(topic, f"{found.name} is empty, and no worker has been there yet")
    else:
        yield ok(
            topic,
            f"{found.waiting:,} events wait in {found.name}, {found.pending:,} of them with"
            f" {found.workers} workers",
        )
