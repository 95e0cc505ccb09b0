"""Rule files: seen to change, kept when accepted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from suricata import rules
from suricata.rules import Accepted


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    found = []
    for place, text in (("one", "first"), ("other", "second")):
        (tmp_path / place).mkdir()
        path = tmp_path / place / "my.rules"
        path.write_text(text)
        found.append(path)
    return found


def test_every_change_shows(files: list[Path]) -> None:
    seen = [rules.fingerprint(files)]
    files[0].write_text("longer than before")
    seen.append(rules.fingerprint(files))
    os.utime(files[0], ns=(1, 1))
    seen.append(rules.fingerprint(files))
    files[1].with_suffix(".new").write_text("second")
    files[1].with_suffix(".new").rename(files[1])
    seen.append(rules.fingerprint(files))
    files[1].unlink()
    seen.append(rules.fingerprint(files))
    assert len(set(seen)) == 5
    assert seen[-1] == rules.fingerprint(files)


def test_unreadable(files: list[Path], tmp_path: Path) -> None:
    gone = tmp_path / "gone.rules"
    assert rules.unreadable(files) == []
    assert rules.unreadable([*files, gone, tmp_path]) == [
        f"{gone} cannot be read: No such file or directory",
        f"{tmp_path} is a directory, not a rule file",
    ]


def test_accepted_files_are_kept_and_known_again(files: list[Path], tmp_path: Path) -> None:
    place = tmp_path / "state"
    accepted = Accepted(place, files)
    assert accepted.copies() is None
    assert not accepted.is_loaded(rules.fingerprint(files))
    accepted.keep(rules.fingerprint(files))
    again = Accepted(place, files)
    copies = again.copies()
    assert copies is not None
    assert [copy.read_text() for copy in copies] == ["first", "second"]
    assert again.is_loaded(rules.fingerprint(files))
    files[0].write_text("other")
    assert not again.is_loaded(rules.fingerprint(files))
    assert [copy.read_text() for copy in copies] == ["first", "second"]
    again.keep(rules.fingerprint(files))
    assert [copy.read_text() for copy in copies] == ["other", "second"]
    assert Accepted(place, [*files, tmp_path / "third.rules"]).copies() is None


@pytest.mark.parametrize("note", [b"", b"[]", b"\xff", b'{"loaded": 1}'])
def test_a_note_that_says_nothing(files: list[Path], tmp_path: Path, note: bytes) -> None:
    (tmp_path / "rules.json").write_bytes(note)
    assert not Accepted(tmp_path, files).is_loaded(rules.fingerprint(files))


def test_without_files_there_is_nothing_to_keep(tmp_path: Path) -> None:
    assert Accepted(tmp_path, []).copies() is None
