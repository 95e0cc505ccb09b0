"""Lines of the log: their form, and what a flood of them comes to."""

import io
import json
import logging
import os
import threading
from typing import Any

import pytest
import structlog

from pipeline.logs import MAX_KINDS, MAX_LINES, Limit, Logs, Writer


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object() -> None:
    stream = io.StringIO()
    logs = Logs(stream=stream)
    logs.log.info("br1 is back", interface="br1", seconds=1.5)
    logs.log.debug("not said")
    # What the network brings ends no line and colours no terminal.
    logs.log.warning("odd", name="a\nb\x1b[31m")
    logs.close()
    first, second = lines(stream)
    assert {key: first[key] for key in ("event", "level", "interface", "seconds")} == {
        "event": "br1 is back",
        "level": "info",
        "interface": "br1",
        "seconds": 1.5,
    }
    assert first["timestamp"].endswith("Z")
    assert second["name"] == "a\nb\x1b[31m"
    assert "\x1b" not in stream.getvalue()


def test_text_is_for_people() -> None:
    stream = io.StringIO()
    logs = Logs("warning", "text", stream)
    logs.log.info("not said")
    logs.log.warning("br1 is gone", interface="br1")
    logs.close()
    [line] = stream.getvalue().splitlines()
    assert "br1 is gone" in line
    assert "interface=br1" in line


def test_an_exception_comes_with_its_traceback() -> None:
    stream = io.StringIO()
    logs = Logs(stream=stream)
    try:
        raise ValueError("why")
    except ValueError:
        logs.log.exception("failed")
    logs.close()
    [line] = lines(stream)
    assert "ValueError: why" in line["exception"]


def test_libraries_speak_in_the_same_lines() -> None:
    stream = io.StringIO()
    logs = Logs(stream=stream)
    logging.getLogger("some.library").warning("it is %s", "odd")
    logs.close()
    logging.getLogger("some.library").warning("too late")
    [line] = lines(stream)
    assert (line["event"], line["logger"]) == ("it is odd", "some.library")


def test_of_a_kind_one_line_in_a_time() -> None:
    now = 0.0
    limit = Limit(10.0, lambda: now)

    def passes(kind: str | None) -> dict[str, Any] | None:
        try:
            event = {"event": "x"} if kind is None else {"event": "x", "limit": kind}
            return dict(limit(None, "info", event))
        except structlog.DropEvent:
            return None

    assert passes("a") == {"event": "x"}
    assert passes("a") is None
    assert passes("b") == {"event": "x"}
    assert passes(None) == passes(None) == {"event": "x"}
    now = 9.9
    assert passes("a") is None
    assert limit.take_overdue() == []
    now = 10.0
    assert passes("a") == {"event": "x", "suppressed": 2}
    assert passes("a") is None
    now = 20.0
    assert limit.take_overdue() == [("a", 1)]
    assert limit.take_overdue() == []
    for number in range(2 * MAX_KINDS):
        passes(f"kind {number}")
    assert len(limit._kinds) == MAX_KINDS


def test_nobody_waits_for_a_reader_of_the_log() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        lines = Writer(stream)
        for _ in range(3 * MAX_LINES):
            lines.put("x" * 1000)
        # The pipe took 64 KiB, one batch is in the thread's hands, the queue is full.
        assert 0 < lines.lost < 3 * MAX_LINES
        os.close(reader)
        lines.close()


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_limit_is_not_in_the_line(form: Any) -> None:
    stream = io.StringIO()
    logs = Logs(form=form, stream=stream)
    logs.log.warning("dropped", limit="output")
    logs.log.warning("dropped", limit="output")
    logs.close()
    assert stream.getvalue().count("dropped") == 1
    assert "limit" not in stream.getvalue()


def test_a_thread_that_fails_is_told_of() -> None:
    stream = io.StringIO()
    before = threading.excepthook
    logs = Logs(stream=stream)
    failing = threading.Thread(target=lambda: {}["absent"], name="flow-records")
    failing.start()
    failing.join()
    logs.close()
    [line] = lines(stream)
    assert (line["event"], line["thread"]) == ("a thread has failed", "flow-records")
    assert "KeyError: 'absent'" in line["exception"]
    assert threading.excepthook is before
