"""Lines that nobody waits for."""

from __future__ import annotations

import json
import os
import select
import time
from typing import Any

import pytest

from diversion.proxy.counters import Counters, Lines, timestamp


def test_lines_are_whole_and_in_order() -> None:
    read, write = os.pipe()
    lines = Lines(write, Counters())
    for number in range(500):
        lines.say("info", "event", number=number)
    assert lines.flush()
    said = os.read(read, 1 << 16).splitlines()
    assert [json.loads(line)["number"] for line in said] == list(range(500))
    os.close(read)
    os.close(write)


def test_a_reader_that_does_not_read_costs_lines_only() -> None:
    read, write = os.pipe()
    counters = Counters()
    lines = Lines(write, counters, room=100_000)
    for _ in range(3000):
        lines.put("x" * 99)
    assert counters.lines_lost == 2000
    assert not lines.flush()
    # As soon as somebody reads, the rest comes.
    got = b""
    while True:
        got += os.read(read, 1 << 16)
        if lines.flush():
            break
    os.close(write)
    while more := os.read(read, 1 << 16):
        got += more
    assert got == (b"x" * 99 + b"\n") * 1000
    os.close(read)


def test_a_reader_that_has_gone_costs_lines_only() -> None:
    read, write = os.pipe()
    counters = Counters()
    lines = Lines(write, counters)
    os.close(read)
    lines.put("x")
    assert lines.flush()
    assert counters.lines_lost == 1
    os.close(write)


def test_the_numbers_as_json_has_them() -> None:
    counters = Counters()
    counters.ends["closed"] += 1
    assert counters.as_dict()["ends"] == {"closed": 1}
    json.dumps(counters.as_dict())


def test_times_are_utc_to_the_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    for nanoseconds, text in (
        (1_767_225_600_000_000_000, "2026-01-01T00:00:00.000Z"),
        (1_767_225_600_999_999_999, "2026-01-01T00:00:00.999Z"),
        (1_767_225_661_007_000_000, "2026-01-01T00:01:01.007Z"),
    ):
        monkeypatch.setattr(time, "time_ns", lambda now=nanoseconds: now)
        assert timestamp() == text


@pytest.mark.parametrize(
    "more",
    [
        {"why": "x" * 100_000},
        {"why": "\0" * 100_000, "agent": "edge"},
        {"failed": ["\N{SNOWMAN}" * 200] * 20, "up": 3},
        {"failed": ("x" * 4000, {"y": "z" * 4000}), "why": "line\n" * 9000 + "the end"},
    ],
)
def test_a_line_is_one_write(more: dict[str, Any]) -> None:
    """Longer than PIPE_BUF, others' lines on the same pipe could stand in the middle of it."""
    read, write = os.pipe()
    counters = Counters()
    lines = Lines(write, counters)
    lines.say("error", "long", **more)
    assert lines.flush()
    os.close(write)
    said = os.read(read, 1 << 20)
    os.close(read)
    assert len(said) <= select.PIPE_BUF
    line = json.loads(said)
    assert set(line) == {"time", "level", "event", "cut", *more}
    assert counters.lines_lost == 0
    if "line" in str(more.get("why")):
        assert line["why"].endswith("the end")


def test_a_line_that_is_no_single_write_is_lost() -> None:
    counters = Counters()
    lines = Lines(1, counters)
    lines.put("x" * select.PIPE_BUF)
    assert counters.lines_lost == 1
