"""Rules tried before they are loaded. The other side of the command socket is played here; with
the real Suricata on it: test_supervisor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from suricata import command
from suricata.engine_log import BadRule
from suricata.rule_keeper import RuleKeeper
from suricata.settings import SuricataSettings

GOOD = 'alert tcp any any -> any any (msg:"a"; content:"a"; sid:1;)\n'
BAD = 'alert tcp any any -> any any (msg:"a"; contents:"a"; sid:1;)\n'


class Asked:
    """Answers what Suricata would, and notes what was asked and told."""

    def __init__(self, directory: Path, rules: list[Path], **settings: Any) -> None:
        self.log: list[str] = []
        self.failed = 0
        self.answers = True
        self.wanted = True
        self.keeper = RuleKeeper(
            SuricataSettings(rules=rules, **settings),
            directory,
            ask=self.ask,
            write_config=self.write_config,
            tell=lambda kind, _level, text: self.log.append(f"{kind}: {text}"),
            wanted=lambda: self.wanted,
        )

    def ask(self, name: str, *, timeout: float = 5.0) -> Any:
        if not self.answers:
            raise command.NotAnswering("Suricata does not answer")
        if name == "reload-rules":
            self.log.append("reload")
            return "done"
        return [{"id": 0, "rules_loaded": 1, "rules_failed": self.failed}]

    def write_config(self, files: list[Path] | None) -> None:
        self.log.append("config: " + ("own" if files is None else files[0].name))

    def taken(self) -> list[str]:
        taken, self.log = self.log, []
        return taken


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my.rules"
    path.write_text(GOOD)
    return path


def test_a_first_start_keeps_what_was_taken(tmp_path: Path, file: Path) -> None:
    asked = Asked(tmp_path / "state", [file])
    (tmp_path / "state").mkdir()
    assert asked.keeper.begin() is None
    asked.keeper.started()
    assert asked.taken() == ["rules_loaded: 1 rules are loaded"]
    assert asked.keeper.begin() is None, "accepted before"
    file.write_text(BAD)
    assert asked.keeper.begin() == [tmp_path / "state/rules/001-my.rules"]


def test_a_first_start_with_a_broken_file_loads_the_rest_and_says_so(
    tmp_path: Path, file: Path
) -> None:
    asked = Asked(tmp_path, [file])
    asked.failed = 1
    asked.keeper.begin()
    asked.keeper.note_bad([BadRule(str(file), 1, "no such keyword", BAD)])
    asked.keeper.started()
    refused = f"{file}:1: Suricata refuses this rule: no such keyword"
    assert asked.taken() == [f"rules_refused: {refused}; the other rules are loaded"]
    assert asked.keeper.status["refused"] == [refused]
    asked.keeper.begin()
    asked.keeper.started()
    assert asked.taken() == ["rules_refused: Suricata refused 1 rules; the other rules are loaded"]


def test_many_refused_rules_are_told_in_part(tmp_path: Path, file: Path) -> None:
    asked = Asked(tmp_path, [file])
    asked.keeper.begin()
    for number in range(5000):
        asked.keeper.note_bad([BadRule(str(file), number, "no", BAD)])
    asked.keeper.started()
    told = asked.taken()
    assert len(told) == 11
    assert told[-1] == "rules_refused: and 990 more like these"


@pytest.mark.suricata
def test_tried_before_they_are_loaded(tmp_path: Path, file: Path) -> None:
    asked = Asked(tmp_path, [file])
    asked.keeper.reload("SIGHUP")
    assert asked.taken() == ["config: own", "reload", "rules_loaded: 1 rules are loaded: SIGHUP"]
    file.write_text(BAD)
    asked.keeper.reload("SIGHUP")
    [told] = asked.taken()
    assert told.startswith(f"rules_refused: {file}:1: Suricata refuses this rule: unknown rule")
    assert told.endswith("; the rules that were loaded stay")
    asked.wanted = False
    asked.keeper.reload("SIGHUP")
    assert asked.taken() == [], "nothing is begun in a service that stops"


def test_a_file_that_is_absent_is_not_taken_for_an_empty_one(tmp_path: Path, file: Path) -> None:
    file.unlink()
    asked = Asked(tmp_path, [file])
    asked.keeper.reload("SIGHUP")
    [told] = asked.taken()
    assert told == (
        f"rules_refused: {file} cannot be read: No such file or directory;"
        " the rules that were loaded stay"
    )


@pytest.mark.suricata
def test_a_suricata_that_does_not_answer(tmp_path: Path, file: Path) -> None:
    asked = Asked(tmp_path, [file])
    asked.answers = False
    asked.keeper.reload("SIGHUP")
    assert asked.taken()[1].startswith("rules_refused: the rules could not be loaded: Suricata")
    asked.keeper.begin()
    asked.keeper.started()
    assert asked.keeper.status["loaded"] is None, "nothing is made up"


@pytest.mark.suricata
def test_adopted_with_rules_that_changed_since(tmp_path: Path, file: Path) -> None:
    asked = Asked(tmp_path, [file])
    asked.keeper.reload("first")
    asked.taken()
    asked.keeper.adopted()
    assert asked.taken() == []
    file.write_text(GOOD + "# more\n")
    asked.keeper.begin()
    asked.keeper.adopted()
    assert asked.taken()[:2] == ["config: own", "reload"]


def test_changes_are_seen_once_the_writer_has_finished(tmp_path: Path, file: Path) -> None:
    keeper = Asked(tmp_path, [file]).keeper
    assert [keeper.changed(now) for now in (0.0, 2.0, 4.0)] == [False] * 3
    file.write_text(GOOD + GOOD)
    assert [keeper.changed(now) for now in (6.0, 6.5, 7.0, 8.0)] == [False, False, False, True]
    keeper.begin()
    assert not keeper.changed(10.0)
    unwatched = Asked(tmp_path, [file], watch_rules=False).keeper
    file.write_text(GOOD)
    assert not any(unwatched.changed(now) for now in (0.0, 2.0, 4.0))


def test_without_rule_files(tmp_path: Path) -> None:
    asked = Asked(tmp_path, [])
    assert asked.keeper.begin() is None
    asked.keeper.started()
    asked.keeper.reload("SIGHUP")
    assert not asked.keeper.changed(100.0)
    assert asked.taken() == []
    assert asked.keeper.status["from"] == "none"
