"""Suricata's own log: sorted, and followed while it is written, cut and begun anew."""

from __future__ import annotations

import json
from pathlib import Path

from suricata import engine_log
from suricata.engine_log import BadRule, Entry, Follower

RULE = 'alert tcp any any -> any any (msg:"x"; contentx:"shell"; sid:2;)'


def line(level: str, text: str) -> str:
    return json.dumps({"log_level": level, "event_type": "engine", "engine": {"message": text}})


LOG = "\n".join(
    [
        line("Notice", "This is Suricata version 7.0.10 RELEASE running in SYSTEM mode"),
        line("Error", "unknown rule keyword 'contentx'."),
        line("Error", f'error parsing signature "{RULE}" from file /r/a b.rules at line 12'),
        line("Error", f'error parsing signature "{RULE}" from file /r/c.rules at line 1'),
        line("Warning", "1 rule files specified, but no rules were loaded!"),
        line("Warning", "1 rule files specified, but no rules were loaded!"),
        line("Error", "vtap0: failed to find interface: No such device"),
        line("Notice", "Threads created -> W: 1 FM: 1 FR: 1   Engine started."),
        '{"log_level": "Error", "eng',
    ]
)


def test_sorted() -> None:
    said = engine_log.sort(engine_log.entries(LOG))
    assert said.started
    assert said.bad == [
        BadRule("/r/a b.rules", 12, "unknown rule keyword 'contentx'.", RULE),
        BadRule("/r/c.rules", 1, "it does not say why", RULE),
    ]
    assert str(said.bad[0]).startswith("/r/a b.rules:12: Suricata refuses this rule: unknown")
    assert said.errors == ["vtap0: failed to find interface: No such device"]
    assert said.warnings == ["1 rule files specified, but no rules were loaded!"]


def test_lines_that_are_no_entries() -> None:
    junk = b'\xff\n[]\n{}\nnull\n{"log_level": 1, "engine": {"message": []}}\n{"engine": 3}\n'
    assert list(engine_log.entries(junk)) == []


def test_followed(tmp_path: Path) -> None:
    path = tmp_path / "engine.json"
    follower = Follower(path)
    assert follower.read() == []
    first, second = line("Info", "first"), line("Info", "second")
    path.write_text(first + "\n" + second[:10])
    assert follower.read() == [Entry("Info", "first")]
    with path.open("a") as log:
        log.write(second[10:] + "\n")
    assert follower.read() == [Entry("Info", "second")]
    assert follower.read() == []
    path.write_text(first + "\n")
    assert follower.read() == [Entry("Info", "first")], "cut"
    path.rename(tmp_path / "engine.json.1")
    path.write_text(second + "\n" + first + "\n")
    assert follower.read() == [Entry("Info", "second"), Entry("Info", "first")], "begun anew"


def test_a_long_log_comes_in_pieces_and_a_line_without_an_end_is_passed(tmp_path: Path) -> None:
    path = tmp_path / "engine.json"
    path.write_text("x" * (3 * engine_log.MAX_BYTES) + "\n" + line("Info", "at last") + "\n")
    follower = Follower(path)
    assert [entry for _ in range(4) for entry in follower.read()] == [Entry("Info", "at last")]


def test_what_was_there_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "engine.json"
    follower = Follower(path)
    follower.skip()
    path.write_text(line("Info", "old") + "\n")
    follower.skip()
    assert follower.read() == []
    with path.open("a") as log:
        log.write(line("Info", "new") + "\n")
    assert follower.read() == [Entry("Info", "new")]


def test_tail(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert engine_log.tail(path) == ""
    path.write_bytes(b"a" * engine_log.MAX_BYTES + b"end\xff")
    assert engine_log.tail(path).endswith("end�")
    assert len(engine_log.tail(path)) == engine_log.MAX_BYTES
