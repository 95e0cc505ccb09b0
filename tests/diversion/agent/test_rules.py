"""The last good rules, on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from diversion.agent import rules
from diversion.agent.rules import restore, save
from diversion.proxy.listeners import Listener

RULES = (Listener("web", ("192.0.2.1", 80)), Listener("v6", ("::1", 1), "tproxy", "/run/netns/x"))


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    path = str(tmp_path / "rules.json")
    save(path, "abc", RULES)
    save(path, "def", RULES[:1])
    assert restore(path) == ("def", RULES[:1])
    assert [one.name for one in tmp_path.iterdir()] == ["rules.json"]


def test_what_is_kept_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "rules.json"
    save(str(path), "abc", RULES)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    (path.parent / "rules.json.new").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        save(str(path), "def", RULES)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("text", ["", "[]", '{"serial": 1}', '{"serial": "x", "listeners": [1]}'])
def test_what_is_no_set_of_rules(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rules.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"."):
        restore(str(path))


def test_a_file_that_is_hostile_is_a_file_that_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rules.json"
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        restore(str(path))
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match=r"."):
        restore(str(path))
    monkeypatch.setattr(rules, "MAX_BYTES", 100)
    path.write_text("x" * 101)
    with pytest.raises(ValueError, match="longer than 100 bytes"):
        restore(str(path))
