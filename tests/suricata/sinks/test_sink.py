"""Every sink keeps to the protocol."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from suricata.sinks import Sink
from suricata.sinks.file import FileSink
from suricata.sinks.stdout import StdoutSink


@pytest.mark.parametrize("kind", ["file", "stdout"])
def test_blocks_are_acknowledged_in_order(tmp_path: Path, kind: str) -> None:
    fd = os.open(tmp_path / "stdout", os.O_WRONLY | os.O_CREAT)
    sink: Sink = FileSink(tmp_path / "file") if kind == "file" else StdoutSink(fd)
    assert sink.acknowledged == 0
    for number, lines in enumerate((b"one\ntwo\n", b"three\n"), 1):
        assert sink.has_room
        sink.write(number, lines)
        assert sink.acknowledged == number
    sink.pump()
    sink.flush()
    sink.reopen()
    status = sink.status()
    assert (status["lines"], status["held"], status["trouble"]) == (3, 0, None)
    sink.close()
    os.close(fd)
    assert (tmp_path / kind).read_bytes() == b"one\ntwo\nthree\n"
