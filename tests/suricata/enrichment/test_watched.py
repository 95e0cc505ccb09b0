from __future__ import annotations

from pathlib import Path

import pytest

from suricata.enrichment.watched import EnrichmentError, Watched


def number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        raise EnrichmentError(f"{path} holds no number") from None


def replace(path: Path, text: str) -> None:
    """As a careful updater does: another file takes the place."""
    other = path.with_suffix(".new")
    other.write_text(text)
    other.replace(path)


def test_a_changed_file_is_read_again_when_it_is_time(tmp_path: Path) -> None:
    path = tmp_path / "n"
    path.write_text("1")
    watched = Watched(path, number, look_seconds=10)
    assert not watched.refresh(0)
    replace(path, "22")
    assert not watched.refresh(5)
    assert watched.value == 1
    assert watched.refresh(10)
    assert watched.value == 22
    assert not watched.refresh(20)
    assert watched.loads == 2


def test_what_is_wrong_later_is_a_trouble_and_the_old_serves_on(tmp_path: Path) -> None:
    path = tmp_path / "n"
    path.write_text("1")
    watched = Watched(path, number, look_seconds=1)
    replace(path, "no number")
    assert not watched.refresh(1)
    assert watched.trouble == f"{path} holds no number; what was read from it before serves on"
    path.unlink()
    assert not watched.refresh(2)
    assert watched.trouble is not None
    assert "is gone" in watched.trouble
    assert watched.value == 1
    replace(path, "3")
    assert watched.refresh(3)
    assert (watched.value, watched.trouble) == (3, None)


def test_what_is_wrong_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EnrichmentError, match="holds no number"):
        Watched(tmp_path / "absent", number)
