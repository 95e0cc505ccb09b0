"""What a sink will never take is kept, and bounded."""

from __future__ import annotations

import json
from pathlib import Path

from suricata.delivery.dead_letters import DeadLetters, Letter


def test_a_letter_says_what_and_why(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "dead", "elasticsearch https://siem:9200/x")
    letters.add(
        [Letter("f-1", "mapper_parsing_exception", b'{"a":1}'), Letter("f-2", "b", b"\xff")]
    )
    one, two = (json.loads(line) for line in letters.path.read_text().splitlines())
    assert (one["id"], one["reason"], json.loads(one["line"])) == (
        "f-1",
        "mapper_parsing_exception",
        {"a": 1},
    )
    assert two["line"] == "\ufffd"
    assert letters.count == 2
    assert letters.path.parent == tmp_path / "dead"
    assert letters.path.stat().st_mode & 0o007 == 0


def test_sinks_have_files_of_their_own_whatever_they_are_called(tmp_path: Path) -> None:
    names = ["a/b", "a-b", "../../etc/passwd", "..", "x" * 300]
    paths = {DeadLetters(tmp_path, name).path for name in names}
    assert len(paths) == len(names)
    assert all(path.parent == tmp_path and len(path.name) < 100 for path in paths)


def test_what_is_long_is_cut_and_the_file_is_bounded(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path, "a", max_bytes=100_000)
    for number in range(20):
        letters.add([Letter(str(number), "r" * 5000, b"x" * 100_000)])
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == [letters.path.name, letters.path.name + ".1"]
    assert all(path.stat().st_size <= 100_000 for path in files)
    assert json.loads(letters.path.read_text().splitlines()[-1])["id"] == "19"
