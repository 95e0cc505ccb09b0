"""The events' file: turned over, its cut end mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from suricata import eve_file


def names(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_turned_over(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    for text in ("first", "second", "third", "fourth"):
        path.write_text(text)
        eve_file.turn_over(path, keep=2)
    assert names(tmp_path) == {"eve.json.1": "fourth", "eve.json.2": "third"}


def test_a_gap_in_the_row_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "eve.json").write_text("new")
    (tmp_path / "eve.json.2").write_text("old")
    eve_file.turn_over(tmp_path / "eve.json", keep=3)
    assert names(tmp_path) == {"eve.json.1": "new", "eve.json.3": "old"}


def test_files_of_threads_too(tmp_path: Path) -> None:
    for name in ("eve.json", "eve.1.json", "eve.12.json", "eve.json.1", "eve.x.json", "flows.json"):
        (tmp_path / name).touch()
    assert [path.name for path in eve_file.files(tmp_path)] == [
        "eve.1.json",
        "eve.12.json",
        "eve.json",
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", b""), (b"{}\n", b"{}\n"), (b'{}\n{"cut', b'{}\n{"cut\n'), (b"x", b"x\n")],
)
def test_mended(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / "eve.json"
    path.write_bytes(before)
    assert eve_file.mend_end(path) == (before != after)
    assert path.read_bytes() == after
