"""Standard output: a reader that is slow, and one that went away."""

from __future__ import annotations

import os

import pytest

from suricata.sinks import SinkError
from suricata.sinks.stdout import StdoutSink


def test_a_slow_reader_makes_it_wait_and_loses_nothing() -> None:
    reader, writer = os.pipe()
    sink = StdoutSink(writer)
    lines = b"".join(b"%07d\n" % n for n in range(30_000))
    sink.write(1, lines)
    assert not sink.has_room
    assert sink.acknowledged == 0
    got = b""
    while len(got) < len(lines):
        got += os.read(reader, 65_536)
        sink.pump()
    assert got == lines
    assert sink.acknowledged == 1
    os.close(reader)
    os.close(writer)


def test_a_reader_that_went_away_is_named() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    sink = StdoutSink(writer)
    sink.write(1, b"one\n")
    assert not sink.has_room
    with pytest.raises(SinkError, match="standard output was closed by its reader"):
        sink.pump()
    assert sink.status()["trouble"] is not None
    os.close(writer)
