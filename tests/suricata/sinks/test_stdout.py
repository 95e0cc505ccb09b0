"""Standard output: a reader that is slow, and one that went away."""

from __future__ import annotations

import os
import threading

import pytest

from suricata.sinks import Outgoing, Unavailable
from suricata.sinks.stdout import StdoutClient


def test_a_slow_reader_makes_it_wait_and_loses_nothing() -> None:
    reader, writer = os.pipe()
    client = StdoutClient(writer, patience=0.1)
    lines = b"".join(b"%07d\n" % n for n in range(30_000))
    # What was taken before it gave up is not taken again.
    with pytest.raises(Unavailable, match="takes nothing: whoever reads it is slow"):
        client.deliver_lines(lines)
    got: list[bytes] = []

    def read() -> None:
        while data := os.read(reader, 65_536):
            got.append(data)

    thread = threading.Thread(target=read)
    thread.start()
    client.deliver_lines(lines)
    assert client.deliver([Outgoing("1", b"{}", {})]) == []
    os.close(writer)
    thread.join()
    assert b"".join(got) == lines + b"{}\n"
    os.close(reader)


def test_a_stop_does_not_wait_for_a_reader() -> None:
    reader, writer = os.pipe()
    client = StdoutClient(writer, patience=60)
    client.abort()
    with pytest.raises(Unavailable):
        client.deliver_lines(b"x\n" * 100_000)
    os.close(reader)
    os.close(writer)


def test_a_reader_that_went_away_is_named() -> None:
    reader, writer = os.pipe()
    assert StdoutClient(writer).check() == "standard output is open"
    os.close(reader)
    with pytest.raises(Unavailable, match="standard output was closed by its reader"):
        StdoutClient(writer).deliver_lines(b"one\n")
    os.close(writer)
    with pytest.raises(Unavailable, match="Bad file descriptor"):
        StdoutClient(writer).check()
