"""Findings on Redis, from facts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.doctor.finding import Finding
from pipeline.doctor.redis_server import Inbox, Server, findings, inbox, written

MIB = 1 << 20
WELL = Server("events.redis", "redis://10.0.0.5", version="7.0.15", run_id="a", used=12 * MIB)
QUIET = Inbox("suricata", "list", 16, kind="list", agreed=16, waiting=70, pending=9, workers=2)

OFF: list[tuple[dict[str, Any], str, str, str]] = [
    ({"error": "no answer"}, "fail", "events.redis: no answer", "correct events.redis"),
    ({"hidden": "NOPERM"}, "warn", "does not tell of itself: NOPERM", "+info"),
    ({"version": "6.2.1"}, "fail", "is Redis 6.2.1: workers' scripts need 7", "install Redis 7"),
    ({"replica": True}, "fail", "is a replica", "its master"),
    ({"clustered": True}, "fail", "a node of a cluster", "events.redis: {cluster: true}"),
    ({"loading": True}, "warn", "still reading its file", "wait"),
    (
        {"largest": 100 * MIB, "policy": "volatile-ttl"},
        "fail",
        "maxmemory-policy volatile-ttl: once its memory is full it throws flow records",
        "maxmemory-policy noeviction",
    ),
    ({"largest": 13 * MIB}, "warn", "has used 92 % of its maxmemory", "raise maxmemory"),
    ({"append_only": False}, "warn", "no append-only file", "appendonly yes"),
    ({"append_failed": True}, "fail", "cannot write its append-only file", "make room"),
    ({"save_failed": True}, "warn", "could not write its last snapshot", "make room"),
]


def bad(found: list[Finding]) -> list[Finding]:
    return [one for one in found if one.state != "ok"]


def test_well() -> None:
    [found] = findings(WELL)
    assert found.text == "events.redis: redis://10.0.0.5 answers, Redis 7.0.15, 12 MiB used"
    bounded = replace(WELL, largest=2048 * MIB, clustered=True, cluster=True, name="Valkey")
    [found] = findings(bounded)
    assert found.text.endswith("Valkey 7.0.15, 12 of 2,048 MiB used")
    # Without a bound nothing is thrown away, whatever it is told.
    assert not bad(list(findings(replace(WELL, policy="allkeys-lru"))))


@pytest.mark.parametrize(("facts", "state", "words", "remedy"), OFF, ids=[row[2] for row in OFF])
def test_off(facts: dict[str, Any], state: str, words: str, remedy: str) -> None:
    [found] = bad(list(findings(replace(WELL, **facts))))
    assert (found.topic, found.state) == ("redis", state)
    assert words in found.text
    assert remedy in str(found.remedy)


INBOXES: list[tuple[dict[str, Any], str, str]] = [
    ({}, "ok", "70 events wait in suricata, 9 of them with 2 workers"),
    ({"kind": "none", "agreed": None, "waiting": 0, "workers": 0}, "ok", "no worker has been"),
    ({"kind": "none", "waiting": 0}, "ok", "0 events wait"),
    ({"workers": 0}, "warn", "70 events wait in suricata, and no worker is there"),
    ({"kind": "stream"}, "fail", "is a stream, and events.redis.mode list reads a list"),
    ({"mode": "stream"}, "fail", "is a list, and events.redis.mode stream reads a stream"),
    ({"kind": "hash"}, "fail", "is a hash"),
    ({"agreed": 8}, "fail", "divided into 8 partitions, and events.redis.partitions is 16"),
    ({"error": "NOPERM"}, "fail", "suricata: NOPERM"),
]


@pytest.mark.parametrize(("facts", "state", "words"), INBOXES, ids=[row[2] for row in INBOXES])
def test_what_waits(facts: dict[str, Any], state: str, words: str) -> None:
    found = list(inbox(replace(QUIET, **facts)))
    [told] = bad(found) or found
    assert (told.topic, told.state) == ("inbox", state)
    assert words in told.text
    assert (told.remedy is None) == (state == "ok")


SURICATAS: list[tuple[Server, Server, str, str]] = [
    (WELL, WELL, "ok", "is the same"),
    (replace(WELL, run_id="b"), WELL, "fail", "these are two"),
    (replace(WELL, run_id="b"), replace(WELL, cluster=True), "ok", "answers"),
    (replace(WELL, hidden="NOPERM", run_id=None), WELL, "ok", "answers"),
    (replace(WELL, error="NOAUTH"), WELL, "fail", "cannot write there: NOAUTH"),
]


@pytest.mark.parametrize(("own", "read", "state", "words"), SURICATAS)
def test_where_suricata_writes(own: Server, read: Server, state: str, words: str) -> None:
    [found] = written(replace(own, key="suricata.eve_redis"), read)
    assert (found.state, words in found.text) == (state, True)
