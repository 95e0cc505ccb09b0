"""What holds of every script; what each does, `test_redis` says."""

from __future__ import annotations

from collections import Counter

import orjson
import pytest
import redis

from suricata.sources import redis_scripts
from tests.support.programs import Program

SCRIPTS = {name: text for name, text in vars(redis_scripts).items() if name.isupper()}
PARTS = 16


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
def test_each_works_when_memory_is_full_and_says_what_it_takes(text: str) -> None:
    head, *rest = text.splitlines()
    assert head == "#!lua flags=allow-oom"
    assert rest[0].startswith("-- KEYS: ")
    assert "ARGV: " in text


@pytest.fixture
def server(server: Program, port: int) -> redis.Redis:
    return redis.Redis("127.0.0.1", port)


def divide(server: redis.Redis, lines: list[bytes]) -> list[list[bytes]]:
    """The lines of each partition."""
    server.flushall()
    server.rpush("in", *lines)
    streams = [f"p{number}" for number in range(PARTS)]
    keys = ["in", *streams, *(f"l{number}" for number in range(PARTS))]
    arguments = ("g", "me", 1000, "rpush", len(lines), 0, PARTS)
    moved = server.eval(redis_scripts.TAKE, len(keys), *keys, *arguments)
    assert moved == [len(lines)]
    return [[entry[b"eve"] for _, entry in server.xrange(name)] for name in streams]


@pytest.mark.tool("redis-server")
def test_flows_are_told_by_their_numbers_wherever_these_stand(server: redis.Redis) -> None:
    stamp = '"timestamp":"2026-01-01T00:00:00.000000+0000"'
    forms = [
        f'{{{stamp},"flow_id":%d,"event_type":"http"}}',
        f'{{{stamp},"host":"sensor","flow_id": %d}}',
        f'{{"flow_id":%d,{stamp}}}',
        # An attacker's text, in which a quote is escaped.
        '{"http":{"url":' + orjson.dumps('/"flow_id":1').decode() + '},"flow_id":%d}',
    ]
    for number in (0, 9, 123_456_789, 1_018_699_280_182_164, (1 << 63) - 1):
        lines = [(form % number).encode() for form in forms]
        assert [len(one) for one in divide(server, lines) if one] == [len(forms)]
    without = [b"{}", b"", b'"flow_id"', b'{"flow_id":null}', b'{"flow_id":-1}', b"\xff"]
    assert divide(server, without)[0] == without


@pytest.mark.tool("redis-server")
@pytest.mark.parametrize("step", [1, 16, 1 << 16, 1 << 32, 1_000_000_000], ids=str)
def test_partitions_have_about_the_same_number_of_flows(server: redis.Redis, step: int) -> None:
    lines = [b'{"flow_id":%d}' % (number * step) for number in range(1, 3201)]
    counts = Counter({at: len(one) for at, one in enumerate(divide(server, lines))})
    assert counts.total() == len(lines)
    assert max(counts.values()) < 2 * len(lines) / PARTS
